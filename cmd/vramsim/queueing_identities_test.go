package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/results/metrics"
	"github.com/vramsim/vramsim/results/summary"
)

// identityRun is a run of which every item is looked at.
type identityRun struct {
	dir     string
	summary *summary.Summary
}

func (f queueFile) kept(t *testing.T) identityRun {
	t.Helper()
	f.log = true
	s, dir := f.runIn(t, t.TempDir(), exitOK)
	return identityRun{dir, s}
}

func (r identityRun) rows(t *testing.T, policy string) []queueRow {
	t.Helper()
	return byArrival(exported(t, r.dir, r.summary.Cells[0].ID, policy, 0, 0))
}

// oneQueue is a queue at 80 % of its capacity, whose service varies.
func onlyQueue(rate float64, slots int) queueFile {
	return queueFile{gpus: gpu("gpu0", 12, slots), models: []string{queueModel("m0", "1GB", "0s", exponential(1))}, workload: streams(rate, 1), items: 4000}
}

// TestLindley: with one server in order of arrival each wait follows from the
// one before, W' = max(0, W + S − A), to the nanosecond.
func TestLindley(t *testing.T) {
	rows := onlyQueue(0.8, 1).kept(t).rows(t, "fifo")
	waiting := 0
	for i := 1; i < len(rows); i++ {
		last, r := rows[i-1], rows[i]
		want := max(0, last.wait+(last.finish-last.start)-(r.arrival-last.arrival))
		if r.wait != want {
			t.Fatalf("item %s waits %d ns, want %d", r.id, r.wait, want)
		}
		if want > 0 {
			waiting++
		}
	}
	if len(rows) != 4000 || waiting < 1000 {
		t.Errorf("%d items, of which %d wait: too few to say anything", len(rows), waiting)
	}
}

// TestKieferWolfowitz: with c servers in order of arrival the wait is the least
// of the vector of remaining work, to the nanosecond.
func TestKieferWolfowitz(t *testing.T) {
	rows := onlyQueue(2.4, 3).kept(t).rows(t, "fifo")
	work, last := make([]int64, 3), int64(0)
	for _, r := range rows {
		for i := range work {
			work[i] = max(0, work[i]-(r.arrival-last))
		}
		slices.Sort(work)
		if r.wait != work[0] {
			t.Fatalf("item %s waits %d ns, want %d", r.id, r.wait, work[0])
		}
		work[0] += r.finish - r.start
		last = r.arrival
	}
	if len(rows) != 4000 {
		t.Errorf("%d items", len(rows))
	}
}

// TestLittleOfARun: on a run that starts and ends empty Σ(finish − arrival) =
// ∫N dt; the integral is taken over the events of the log, the sum from the
// exported items and from the summary.
func TestLittleOfARun(t *testing.T) {
	r := onlyQueue(0.8, 1).kept(t)
	sum := int64(0)
	rows := r.rows(t, "fifo")
	for _, row := range rows {
		sum += row.latency
		if row.wait+(row.finish-row.start) != row.latency {
			t.Fatalf("item %s: %d ns of wait and %d of service in %d", row.id, row.wait, row.finish-row.start, row.latency)
		}
	}
	if integral := numberInSystem(t, r.dir); integral != sum || sum == 0 {
		t.Errorf("∫N dt = %d ns, Σ(finish − arrival) = %d ns", integral, sum)
	}
	m := r.summary.Cells[0].Policies[0].Metrics
	mean := func(name string) float64 { return float64(m[name].Stats["mean"].Value) }
	if got := mean("item_latency_seconds") * float64(len(rows)) * 1e9; math.Abs(got-float64(sum)) > 1e-12*got {
		t.Errorf("the summary's latencies add up to %.0f ns, want %d", got, sum)
	}
	if got := mean("item_wait_seconds") + mean("item_service_seconds"); math.Abs(got-mean("item_latency_seconds")) > 1e-12*got {
		t.Errorf("wait and service are %.12f s, the latency %.12f s", got, mean("item_latency_seconds"))
	}
}

// logEvent is a line of vramsim export --to jsonl.
type logEvent struct {
	Kind   string `json:"kind"`
	At     int64  `json:"at_ns"`
	Device int    `json:"device"`
}

func logEvents(t *testing.T, dir string) (events []logEvent) {
	t.Helper()
	code, stdout, stderr := vramsim(t, "export", dir, "--to", "jsonl")
	if code != exitOK {
		t.Fatalf("export: exit %d: %s", code, stderr)
	}
	for line := range strings.Lines(stdout) {
		var ev logEvent
		if err := json.Unmarshal([]byte(line), &ev); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if ev.Kind != "" { // else the header or a name
			events = append(events, ev)
		}
	}
	return events
}

// numberInSystem integrates the number of items in the system over the events
// of the log, batches being of one.
func numberInSystem(t *testing.T, dir string) (integral int64) {
	t.Helper()
	n, last := int64(0), int64(0)
	for _, ev := range logEvents(t, dir) {
		change := map[string]int64{"item_arrived": 1, "batch_finished": -1}[ev.Kind]
		integral += n * (ev.At - last)
		n, last = n+change, ev.At
	}
	if n != 0 {
		t.Errorf("%d items are left", n)
	}
	return integral
}

// TestTimeOfDevices: busy + loading + idle is all of a device's time, and each
// is what the events of the log say.
func TestTimeOfDevices(t *testing.T) {
	f := queueFile{gpus: gpu("gpu0", 12, 1) + ", " + gpu("gpu1", 12, 1), workload: streams(0.4, 3), items: 2000, warmup: 100, policies: "  - {use: sticky}\n"}
	for _, name := range []string{"m0", "m1", "m2"} {
		f.models = append(f.models, queueModel(name, "10GB", "2s", exponential(1)))
	}
	r := f.kept(t)
	paths, err := filepath.Glob(filepath.Join(r.dir, "cells", "*", "*", "0", "result.json"))
	if err != nil || len(paths) != 1 {
		t.Fatal(paths, err)
	}
	data, err := os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	out := outcome{Result: &metrics.Result{}}
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	if len(out.Result.Devices) != 2 {
		t.Fatalf("%d devices", len(out.Result.Devices))
	}
	events := logEvents(t, r.dir)
	for d, got := range out.Result.Devices {
		want := timesOf(events, d, int64(f.warmup*1e9))
		for i, pair := range [][2]float64{{got.Busy, want[0]}, {got.Loading, want[1]}, {got.Idle, want[2]}} {
			if math.Abs(pair[0]-pair[1]) > 1e-6 || pair[0] <= 0 {
				t.Errorf("%s: %v s %s, want %v", got.Name, pair[0], [...]string{"busy", "loading", "idle"}[i], pair[1])
			}
		}
	}
}

// timesOf returns how long a device ran batches, only loaded, and did nothing,
// in seconds, from the end of the warm-up to the last arrival.
func timesOf(events []logEvent, device int, from int64) (times [3]float64) {
	to := int64(0)
	for _, ev := range events {
		if ev.Kind == "item_arrived" {
			to = ev.At
		}
	}
	running, loading, last := 0, 0, from
	for _, ev := range append(events, logEvent{At: to, Device: -1}) {
		at := min(max(ev.At, from), to)
		state := 2
		switch {
		case running > 0:
			state = 0
		case loading > 0:
			state = 1
		}
		times[state] += float64(max(0, at-last)) / 1e9
		last = max(last, at)
		if ev.Device != device {
			continue
		}
		switch ev.Kind {
		case "batch_started":
			running++
		case "batch_finished":
			running--
		case "load_started":
			loading++
		case "load_finished":
			loading--
		}
	}
	return times
}

// TestUnfinishedWork: where everything fits, loads take no time and batches are
// of one, all work-conserving policies leave the same work undone at any time:
// they are busy in the same intervals, whatever the order.
func TestUnfinishedWork(t *testing.T) {
	f := queueFile{workload: streams(0.8, 3, 0.5, 0.3, 0.2), items: 3000}
	for _, name := range []string{"m0", "m1", "m2"} {
		f.models = append(f.models, queueModel(name, "1GB", "0s", exponential(1)))
	}
	names := []string{"fifo", "sticky", "longest", "oldest", "max-wait", "polling", "priority", "hysteresis", "edf-setup", "waste", "drr", "wfq", "largest-feasible"}
	for _, name := range names {
		f.policies += "  - {use: " + name + "}\n"
	}
	r := f.kept(t)
	first, orders := busyPeriods(r.rows(t, names[0])), map[string]bool{}
	if len(first) < 100 {
		t.Fatalf("%d busy periods: too few to say anything", len(first))
	}
	for _, name := range names {
		rows := r.rows(t, name)
		if got := busyPeriods(rows); !slices.Equal(got, first) {
			t.Errorf("%s is busy in other intervals than %s", name, names[0])
		}
		orders[order(rows)] = true
	}
	if len(orders) < 3 {
		t.Errorf("the policies serve in only %d different orders", len(orders))
	}
}

func busyPeriods(rows []queueRow) (periods [][2]int64) {
	for _, r := range slices.SortedFunc(slices.Values(rows), byStart) {
		if n := len(periods); n > 0 && periods[n-1][1] == r.start {
			periods[n-1][1] = r.finish
		} else {
			periods = append(periods, [2]int64{r.start, r.finish})
		}
	}
	return periods
}

func order(rows []queueRow) string {
	var ids []string
	for _, r := range slices.SortedFunc(slices.Values(rows), byStart) {
		ids = append(ids, r.id)
	}
	return strings.Join(ids, " ")
}

// TestTemplateIsTheReference: the reference's own text of mm1, the template
// that init writes and the file that the tests make are one experiment.
func TestTemplateIsTheReference(t *testing.T) {
	data, err := os.ReadFile(shared(t, "reference", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindSubmatch(data)
	if block == nil {
		t.Fatal("the reference shows no experiment")
	}
	dir := template(t)
	written := filepath.Join(dir, "written.yaml")
	if err := os.WriteFile(written, block[1], 0o666); err != nil {
		t.Fatal(err)
	}
	made := mm1(loadReference(t).named(t, "mm1"))[0].queueFile
	made.name, made.replicates, made.items = "mm1", 20, 100_000
	files := map[string]string{"the reference": written, "the template": filepath.Join(dir, "mm1.yaml"), "the test's": made.write(t)}
	ids := map[string]bool{}
	for _, path := range files {
		s := runJSON(t, exitOK, path, "--set", "workload.items=2000")
		ids[s.RunID] = true
	}
	if len(ids) != 1 {
		t.Errorf("%d different experiments: %v", len(ids), ids)
	}
	if s := runJSON(t, exitOK, written, "--set", "workload.items=2000", "--set", "models.m0.load=1s"); ids[s.RunID] {
		t.Error("another load, the same experiment")
	}
}
