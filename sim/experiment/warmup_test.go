package experiment

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/workloads"
)

// queueText is one model with random arrivals and services of a second, in the
// given windows of ten minutes, each with a mean count.
func queueText(warmup string, policies string, counts ...int) string {
	return fmt.Sprintf(`version: 1
name: q
seed: 7
replicates: 2
hardware: {gpus: [{name: g, memory: 2GB}]}
models: {a: {memory: 1GB, load: 1s, batch: {max: 1, time: {exp: {mean: 1s}}}}}
workload: {warmup: %s, arrivals: {piecewise: {window: 10m, counts: %s}}, streams: {models: [a]}}
policies: [%s]
`, warmup, strings.ReplaceAll(fmt.Sprint(counts), " ", ", "), policies)
}

// TestWarmupIsFound: a queue that begins with a rush settles some time after
// it, one without at once; what is found is the same for all policies.
func TestWarmupIsFound(t *testing.T) {
	rush := slices.Concat([]int{1200}, slices.Repeat([]int{300}, 60))
	for _, c := range []struct {
		counts   []int
		from, to scheduler.Time
	}{
		{rush, 15 * 60 * scheduler.Time(1e9), 60 * 60 * scheduler.Time(1e9)},
		{rush[1:], 0, 10 * 60 * scheduler.Time(1e9)},
	} {
		cell := parse(t, queueText("auto", "{use: fifo}, {use: sticky}, {use: longest}", c.counts...), Options{}).Cells[0]
		w, err := cell.Warmup(t.Context())
		if err != nil || slices.Contains(w.Unsteady, true) || len(w.Unsteady) != 3 || w.From < c.from || w.From > c.to {
			t.Errorf("%v…: %+v, %v", c.counts[:2], w, err)
		}
		for p := range cell.Policies {
			setup, err := cell.Setup(p, 1, "v")
			if err != nil || setup.Window.Warmup != w.From || setup.Close() != nil {
				t.Errorf("policy %d: %+v, %v", p, setup.Window, err)
			}
		}
	}
}

// TestLatestWarmupCounts: that of a cell is the latest that one of its policies
// alone would have.
func TestLatestWarmupCounts(t *testing.T) {
	text := func(use ...string) string {
		return fmt.Sprintf(`version: 1
name: q
seed: 7
replicates: 1
hardware: {gpus: [{name: g, memory: 12GB}]}
models: {a: {memory: 7GB, load: 4s, batch: {max: 8, base: 100ms, per_item: 60ms}}, b: {memory: 7GB, load: 5s, batch: {max: 8, base: 150ms, per_item: 80ms}}}
workload: {warmup: auto, arrivals: {piecewise: {window: 10m, counts: [9000, 900, 900, 900, 900, 900, 900, 900, 900, 900]}}, streams: {models: [a, b]}}
policies: [{use: %s}]
baseline: %s
`, strings.Join(use, "}, {use: "), use[0])
	}
	warmup := func(use ...string) scheduler.Time {
		w, err := parse(t, text(use...), Options{}).Cells[0].Warmup(t.Context())
		if err != nil || slices.Contains(w.Unsteady, true) {
			t.Fatalf("%v: %+v, %v", use, w, err)
		}
		return w.From
	}
	sticky, oldest := warmup("sticky"), warmup("oldest")
	if sticky == oldest {
		t.Fatalf("both settle at %v", sticky)
	}
	for _, use := range [][]string{{"sticky", "oldest"}, {"oldest", "sticky"}} {
		if from := warmup(use...); from != max(sticky, oldest) {
			t.Errorf("%v: %v, alone %v and %v", use, from, sticky, oldest)
		}
	}
}

// TestNoSteadyState: what grows throughout, and what is too short, does not
// settle, and has no say in where the others do.
func TestNoSteadyState(t *testing.T) {
	cell := parse(t, queueText("auto", "{use: fifo}, {use: sticky}", slices.Repeat([]int{900}, 20)...), Options{}).Cells[0]
	if w, err := cell.Warmup(t.Context()); err != nil || !slices.Equal(w.Unsteady, []bool{true, true}) || w.From != 0 {
		t.Errorf("overloaded: %+v, %v", w, err)
	}
	cell = parse(t, queueText("auto", "{use: fifo}", 5), Options{}).Cells[0]
	if w, err := cell.Warmup(t.Context()); err != nil || !slices.Equal(w.Unsteady, []bool{true}) {
		t.Errorf("a few items: %+v, %v", w, err)
	}
}

// TestBacklogUpToTheEndOfTime: the looks stay few, and their steps within the
// clock, however long the run.
func TestBacklogUpToTheEndOfTime(t *testing.T) {
	b := backlog{step: 1}
	for _, at := range []scheduler.Time{0, 1, mostLooks, mostLooks + 1, 1 << 62, 1<<62 + 1, scheduler.MaxTime - 1} {
		if b.look(at); len(b.looks) > mostLooks || at > 0 && scheduler.Time(len(b.looks)) != (at-1)/b.step+1 {
			t.Fatalf("%d looks in steps of %d until %d", len(b.looks), b.step, at)
		}
	}
	if err := b.Append(nil); err != nil || len(b.looks) > mostLooks {
		t.Errorf("no events: %v, %d looks", err, len(b.looks))
	}
}

// TestPrepareFindsNoWarmup: it is not asked for what nobody measures, and one
// that was found elsewhere is taken.
func TestPrepareFindsNoWarmup(t *testing.T) {
	cell := parse(t, queueText("auto", "{use: fifo}", 300), Options{}).Cells[0]
	setup, err := cell.Prepare(0, 1, "v")
	if err != nil || setup.Window != (Window{}) || cell.settling.found != nil || setup.Close() != nil {
		t.Errorf("prepared: %+v, %v; found %+v", setup.Window, err, cell.settling.found)
	}
	cell.Settle(Warmup{From: 7, Unsteady: []bool{false, true}})
	if setup, err := cell.Setup(0, 1, "v"); err != nil || setup.Window.Warmup != 7 || setup.Close() != nil {
		t.Errorf("settled: %+v, %v", setup.Window, err)
	}
	cell = parse(t, queueText("90s", "{use: fifo}", 300), Options{}).Cells[0]
	cell.Settle(Warmup{From: 7})
	if w, err := cell.Warmup(t.Context()); err != nil || w.From != 90e9 {
		t.Errorf("a stated one is settled: %+v, %v", w, err)
	}
}

// TestWrongWarmupOfATrace: it is told once, and one that leaves nothing is wrong.
func TestWrongWarmupOfATrace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "t.jsonl")
	if err := os.WriteFile(file, []byte(workloads.Header+"\n"+`{"id":"a","model":"m","at_ns":7}`+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	text := func(warmup string) string {
		return "version: 1\nhardware: {gpus: [{memory: 2GB}]}\nmodels: {m: {memory: 1GB, load: 1s, batch: {max: 1, base: 1s}}}\nworkload: {warmup: " + warmup + ", trace: " + file + "}\npolicies: [{use: fifo}]\n"
	}
	for warmup, want := range map[string]string{"automatic": "or auto", "1s": "nothing would be measured"} {
		if err := parseError(t, text(warmup)); !strings.Contains(err, want) || strings.Count(err, "workload.warmup is") != 1 {
			t.Errorf("%s: %s", warmup, err)
		}
	}
	parse(t, text("7ns"), Options{})
	parse(t, text("auto"), Options{})
}

// TestStatedWarmup: nothing is simulated to find it.
func TestStatedWarmup(t *testing.T) {
	cell := parse(t, queueText("90s", "{use: fifo}", 300), Options{}).Cells[0]
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if w, err := cell.Warmup(cancelled); err != nil || w.Unsteady != nil || w.From != 90e9 {
		t.Errorf("%+v, %v", w, err)
	}
}

// TestWarmupInterrupted: an interruption is no answer, and the next one who
// asks gets one.
func TestWarmupInterrupted(t *testing.T) {
	cell := parse(t, queueText("auto", "{use: fifo}", 300), Options{}).Cells[0]
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if w, err := cell.Warmup(cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %+v, %v", w, err)
	}
	if w, err := cell.Warmup(t.Context()); err != nil || w.Unsteady == nil {
		t.Errorf("asked again: %+v, %v", w, err)
	}
}

// TestAutoWarmupIsSimulated: it is in the resolved experiment as it was given,
// and hardware refuses it.
func TestAutoWarmupIsSimulated(t *testing.T) {
	e := parse(t, queueText("auto", "{use: fifo}", 300), Options{})
	if !strings.Contains(string(e.Resolved()), "warmup: auto") {
		t.Errorf("resolved:\n%s", e.Resolved())
	}
	if err := e.Cells[0].OnHardware(); err == nil || !strings.Contains(err.Error(), "workload.warmup") {
		t.Errorf("on hardware: %v", err)
	}
	if err := parseError(t, queueText("automatic", "{use: fifo}", 300)); !strings.Contains(err, "or auto") {
		t.Errorf("a wrong word: %s", err)
	}
}
