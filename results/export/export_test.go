package export

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/scheduler"
)

type traceFile struct {
	TraceEvents []struct {
		Name, Cat, Ph, ID string
		TS, Dur           float64
		PID, TID          int
		Args              map[string]any
	}
}

func perfetto(t *testing.T, events []scheduler.Event) traceFile {
	t.Helper()
	var out bytes.Buffer
	if err := Perfetto(&out, config(), sequence(events)); err != nil {
		t.Fatal(err)
	}
	var file traceFile
	if err := json.Unmarshal(out.Bytes(), &file); err != nil {
		t.Fatal(err)
	}
	return file
}

func count(events []scheduler.Event, kind scheduler.Kind) (n int) {
	for _, ev := range events {
		if ev.Kind == kind {
			n++
		}
	}
	return n
}

func TestPerfetto(t *testing.T) {
	events, core := run(t, 100)
	if err := core.Check(); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []scheduler.Kind{scheduler.BatchFailed, scheduler.LoadFailed, scheduler.EvictFinished, scheduler.LoadClaimed, scheduler.DeviceDown, scheduler.DependantCancelled, scheduler.ItemReadied} {
		if count(events, kind) == 0 {
			t.Fatalf("the run has no %v", kind)
		}
	}
	var batches, loads, begun, ended int
	busy := map[[2]int]float64{} // end of the last slice of a thread
	reserved := map[int]float64{}
	for _, e := range perfetto(t, events).TraceEvents {
		switch e.Ph {
		case "X":
			if e.Cat == "batch" {
				batches++
			} else {
				loads++
			}
			if e.TS < busy[[2]int{e.PID, e.TID}] || e.Dur < 0 {
				t.Errorf("slices overlap in thread %d of %d at %g", e.TID, e.PID, e.TS)
			}
			busy[[2]int{e.PID, e.TID}] = e.TS + e.Dur
		case "b":
			begun++
		case "e":
			ended++
		case "C":
			if e.Name == "reserved" {
				reserved[e.PID] = e.Args["value"].(float64)
				if reserved[e.PID] < 0 || reserved[e.PID] > 9e9 {
					t.Errorf("%g bytes reserved of a budget of 9 GB", reserved[e.PID])
				}
			}
		}
	}
	if batches != count(events, scheduler.BatchStarted) || loads != count(events, scheduler.LoadStarted) {
		t.Errorf("%d batches and %d loads drawn", batches, loads)
	}
	if begun != ended || begun < count(events, scheduler.EvictStarted)+1 {
		t.Errorf("%d stays and evictions begin, %d end", begun, ended)
	}
	for d := range scheduler.DeviceID(2) {
		if want := float64(core.View().Reserved(d)); reserved[devicesPID+int(d)] != want {
			t.Errorf("device %d ends with %g bytes reserved, want %g", d, reserved[devicesPID+int(d)], want)
		}
	}
}

// A log that was cut anywhere must still give a whole trace and table.
func TestCutLogs(t *testing.T) {
	events, _ := run(t, 60)
	for n := 0; n <= len(events); n += 7 {
		for n < len(events) && n > 0 && (events[n].Kind == scheduler.BatchStarted || events[n].Kind == scheduler.MemberDispatched) {
			n++
		}
		perfetto(t, events[:n])
		if rows := items(t, events[:n], nil); len(rows)-1 != count(events[:n], scheduler.ItemArrived) {
			t.Fatalf("%d rows after %d events", len(rows)-1, n)
		}
	}
}

func TestExactTimes(t *testing.T) {
	for at, want := range map[scheduler.Time]string{0: "0.000", 1: "0.001", 1_234_567: "1234.567", 9_000_000_000_000_001: "9000000000000.001"} {
		if got := string(micros(at)); got != want {
			t.Errorf("micros(%d) = %s", at, got)
		}
	}
}

func items(t *testing.T, events []scheduler.Event, n Names) [][]string {
	t.Helper()
	var out bytes.Buffer
	if err := Items(&out, config(), n, sequence(events)); err != nil {
		t.Fatal(err)
	}
	records, err := csv.NewReader(&out).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return records
}

func TestItems(t *testing.T) {
	events, core := run(t, 100)
	records := items(t, events, names{})
	column := map[string]int{}
	for i, name := range records[0] {
		column[name] = i
	}
	statuses := map[string]int64{}
	dependent := 0
	for _, r := range records[1:] {
		number := func(name string) int64 {
			n, err := strconv.ParseInt(r[column[name]], 10, 64)
			if err != nil {
				t.Fatalf("%s: %v in %v", name, err, r)
			}
			return n
		}
		status := r[column["status"]]
		statuses[status]++
		id := number("item")
		if r[column["id"]] != "'-item/"+strconv.FormatInt(id, 10) || (r[column["model"]] == "'=qwen") != (id*5%3 == 1) {
			t.Errorf("names of item %d: %v", id, r)
		}
		if id%3 == 0 && (r[column["job"]] != "video "+strconv.FormatInt(id/3, 10) || r[column["tenant"]] != "1" || r[column["work"]] != "1.5" || number("deadline_ns") != number("arrival_ns")+int64(20*second)) {
			t.Errorf("attributes of item %d: %v", id, r)
		}
		if status != "completed" {
			continue
		}
		arrival, ready, start, finish := number("arrival_ns"), number("ready_ns"), number("start_ns"), number("finish_ns")
		if arrival != id*1300*int64(scheduler.Millisecond)+1 || ready < arrival || start < ready || finish <= start ||
			number("wait_ns") != start-ready || number("latency_ns") != finish-arrival || number("attempts") < 1 || number("batch_size") < 1 {
			t.Errorf("times of item %d: %v", id, r)
		}
		if ready > arrival {
			dependent++
			if id%4 != 3 {
				t.Errorf("item %d depends on nothing and was ready late", id)
			}
		}
	}
	c := core.Counts()
	if statuses["completed"] != c.Done || statuses["cancelled"] != c.Cancelled || statuses["failed"] != c.Failed || statuses["rejected"] != c.Rejected ||
		int64(len(records)-1) != c.Arrived || dependent == 0 || statuses["cancelled"] == 0 {
		t.Errorf("%v against %+v, %d dependent", statuses, c, dependent)
	}
}

func TestErrorsEndTheExport(t *testing.T) {
	events, _ := run(t, 20)
	broken := errors.New("frame 7 is damaged")
	damaged := func(yield func(scheduler.Event, error) bool) {
		for _, ev := range events[:10] {
			if !yield(ev, nil) {
				return
			}
		}
		yield(scheduler.Event{}, broken)
	}
	if err := Perfetto(io.Discard, config(), damaged); !errors.Is(err, broken) {
		t.Errorf("perfetto: %v", err)
	}
	if err := Items(io.Discard, config(), nil, damaged); !errors.Is(err, broken) {
		t.Errorf("items: %v", err)
	}
	swapped := append([]scheduler.Event{events[len(events)-1]}, events...)
	if err := Perfetto(io.Discard, config(), sequence(swapped)); err == nil || !strings.Contains(err.Error(), "event 0") {
		t.Errorf("a log that contradicts itself: %v", err)
	}
	if err := Items(io.Discard, config(), nil, sequence(swapped)); err == nil {
		t.Error("a log that contradicts itself became a table")
	}
	if err := Perfetto(full{}, config(), sequence(events)); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("a full disk: %v", err)
	}
	if err := Items(full{}, config(), nil, sequence(events)); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("a full disk: %v", err)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }
