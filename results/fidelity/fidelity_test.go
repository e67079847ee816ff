package fidelity

import (
	"bytes"
	"math"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/vramsim/vramsim/results/explain"
	"github.com/vramsim/vramsim/results/metrics"
	"github.com/vramsim/vramsim/results/table"
	"github.com/vramsim/vramsim/scheduler"
)

// TestEditDistance: known values, and the textbook table on any sequences.
func TestEditDistance(t *testing.T) {
	word := func(s string) (list []uint64) {
		for _, b := range []byte(s) {
			list = append(list, uint64(b))
		}
		return list
	}
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"abc", "abc", 0}, {"abc", "", 3}, {"", "xy", 2}, {"abcabba", "cbabac", 5}, {"a", "b", 2}} {
		if got := EditDistance(word(c.a), word(c.b), MaxDistance); got != (Distance{Edits: c.want}) {
			t.Errorf("%q to %q: %+v, want %d", c.a, c.b, got, c.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(rapid.Uint64Range(0, 3), 0, 40)
		a, b := list.Draw(t, "a"), list.Draw(t, "b")
		most := rapid.IntRange(0, 90).Draw(t, "most")
		want := Distance{Edits: naiveDistance(a, b)}
		if want.Edits > most {
			want = Distance{min(most, len(a)+len(b)) + 1, true}
		}
		if got := EditDistance(a, b, most); got != want {
			t.Fatalf("%v to %v within %d: %+v, want %+v", a, b, most, got, want)
		}
	})
}

func naiveDistance(a, b []uint64) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range a {
		diagonal := row[0]
		row[0] = i + 1
		for j := range b {
			best := min(row[j], row[j+1]) + 1
			if a[i] == b[j] {
				best = diagonal
			}
			diagonal, row[j+1] = row[j+1], best
		}
	}
	return row[len(b)]
}

// TestPredictionInterval: one more draw of the same kind falls inside with
// probability 0.9, whatever the number of draws; the expectation of what a
// uniform interval covers is exact.
func TestPredictionInterval(t *testing.T) {
	if _, ok := predictionInterval(make([]float64, intervalRuns-1)); ok {
		t.Error("an interval of too few runs")
	}
	for _, n := range []int{19, 20, 50, 333} {
		xs := make([]float64, n) // at the expected order statistics of uniform draws
		for i := range xs {
			xs[n-1-i] = float64(i+1) / float64(n+1)
		}
		iv, ok := predictionInterval(xs)
		if !ok || math.Abs(iv.Low-0.05) > 1e-12 || math.Abs(iv.High-0.95) > 1e-12 {
			t.Errorf("%d runs: %+v", n, iv)
		}
	}
}

var (
	models  = []scheduler.Model{{Name: "a", Bytes: 5}, {Name: "b", Bytes: 7}}
	devices = []scheduler.Device{{Name: "gpu0", Budget: 20, Slots: 1}}
)

// logOf is a small log: two items of a, one of b that is refused, one of a that
// is cancelled while it runs. Loads and batches take what is given.
func logOf(load, batch scheduler.Time) []scheduler.Event {
	arrival := func(at scheduler.Time, id int64, m scheduler.ModelID) scheduler.Event {
		return scheduler.Event{At: at, Kind: scheduler.ItemArrived, ID: id, Model: m, Device: scheduler.NoDevice}
	}
	loaded, first := load, load+batch
	return []scheduler.Event{
		arrival(0, 0, 0), arrival(0, 1, 0), arrival(0, 2, 1), arrival(0, 3, 0),
		{At: 0, Kind: scheduler.ItemRejected, ID: 2, Model: 1, Device: scheduler.NoDevice},
		{At: 0, Kind: scheduler.LoadStarted, ID: 5, Value: 10},
		{At: loaded, Kind: scheduler.LoadFinished, ID: 5},
		{At: loaded, Kind: scheduler.MemberDispatched, ID: 0},
		{At: loaded, Kind: scheduler.MemberDispatched, ID: 1},
		{At: loaded, Kind: scheduler.BatchStarted, ID: 9, Value: scheduler.PackBatch(2, 4)},
		{At: first, Kind: scheduler.BatchFinished, ID: 9},
		{At: first, Kind: scheduler.MemberDispatched, ID: 3},
		{At: first, Kind: scheduler.BatchStarted, ID: 12, Value: scheduler.PackBatch(1, 4)},
		{At: first + 1, Kind: scheduler.ItemCancelled, ID: 3, Model: scheduler.NoModel, Device: scheduler.NoDevice},
		{At: first + batch, Kind: scheduler.BatchFinished, ID: 12},
		{At: first + batch, Kind: scheduler.EvictStarted, ID: 15, Value: 5},
		{At: first + batch + 3, Kind: scheduler.EvictFinished, ID: 15},
	}
}

func fold(t *testing.T, log []scheduler.Event, replicate int, workload string) *Run {
	t.Helper()
	f, err := NewFold(metrics.Config{Models: models, Devices: devices})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Append(log); err != nil {
		t.Fatal(err)
	}
	r := f.Run()
	r.Replicate, r.Workload = replicate, workload
	return r
}

// TestFold: items, durations, decisions and figures of a log.
func TestFold(t *testing.T) {
	r := fold(t, logOf(100, 20), 0, "w")
	never := scheduler.Never
	if want := []Item{{0, 0, 120}, {0, 0, 120}, {1, 0, never}, {0, 0, never}}; !reflect.DeepEqual(r.Items, want) {
		t.Errorf("items %v, want %v", r.Items, want)
	}
	if want := []Duration{{0, PhaseLoadDisk, 0, 100}, {0, PhaseBatch, 2, 20}, {0, PhaseBatch, 1, 20}, {0, PhaseUnload, 0, 3}}; !reflect.DeepEqual(r.Durations, want) {
		t.Errorf("durations %v, want %v", r.Durations, want)
	}
	var seqs []int64
	for _, d := range r.Decisions {
		seqs = append(seqs, d.Seq)
	}
	if want := []int64{4, 5, 9, 12, 15}; !reflect.DeepEqual(seqs, want) {
		t.Errorf("decisions at %v, want %v", seqs, want)
	}
	if r.Figures[BytesLoaded] != 5 || r.Figures[metrics.Loads] != 1 || r.Figures[LatencyMean] != 120e-9 {
		t.Errorf("figures %v", r.Figures)
	}
	again := fold(t, logOf(77, 13), 0, "w")
	if !reflect.DeepEqual(keys(r), keys(again)) {
		t.Error("the same choices at other times have other keys")
	}
}

// result compares hand-made sides: the loads of the card take a tenth less.
func result(t *testing.T, targets *Targets) *Result {
	t.Helper()
	throttled := fold(t, logOf(500, 90), 2, "w")
	throttled.Excluded = []string{"throttled for 3 s"}
	in := Input{
		Simulation: Side{RunID: "11111111-2", Name: "x"}, Hardware: Side{RunID: "22222222-3", Name: "x", Executor: "sleep", Label: "no hardware figure"},
		Closure: Closure{Check{Logs: 3}, Check{Logs: 3}}, Targets: targets, Unmatched: []string{"policy oracle: clairvoyant"},
		Cells: []CellInput{{Simulated: "c1", Measured: "c2", Models: models, Set: map[string]string{"hardware.gpus[0].memory": "8GB"}, Policies: []PolicyInput{
			{Policy: "good", Simulated: []*Run{fold(t, logOf(99, 20), 0, "w"), fold(t, logOf(1, 1), 7, "other")},
				Measured: []*Run{fold(t, logOf(90, 20), 0, "w"), fold(t, logOf(90, 20), 1, "w"), throttled}},
			{Policy: "bad", Simulated: []*Run{fold(t, logOf(50, 20), 0, "w")}, Measured: []*Run{fold(t, logOf(200, 20), 0, "w")},
				Ablation: []LevelInput{{Level: Declared, Runs: []*Run{fold(t, logOf(10, 20), 0, "w")}}, {Level: Bandwidth, Absent: "there is no profile"}}},
		}}},
	}
	return Compute(in)
}

func figureOf(t *testing.T, p Policy, name string) Error {
	t.Helper()
	for _, e := range p.Figures {
		if e.Figure == name {
			return e
		}
	}
	t.Fatalf("%s has no %s: %+v", p.Policy, name, p.Figures)
	return Error{}
}

func near(got Number, want float64) bool { return math.Abs(float64(got)-want) < 1e-12 }

// TestCompute: signed errors, noise, items, phases, ranking; what is excluded
// or of another workload does not count.
func TestCompute(t *testing.T) {
	sleep, _ := TargetsOf("sleep")
	r := result(t, &sleep)
	good, bad := r.Cells[0].Policies[0], r.Cells[0].Policies[1]
	if good.Simulated != 1 || good.Measured != 2 || len(good.LeftOut) != 1 || good.LeftOut[0].Replicate != 2 {
		t.Errorf("runs: %+v", good)
	}
	latency := figureOf(t, good, LatencyMean)
	if !near(latency.Predicted, 119e-9) || !near(latency.Measured, 110e-9) || !near(latency.Error, 119.0/110-1) || latency.Noise != 0 {
		t.Errorf("latency %+v", latency)
	}
	if s := figureOf(t, good, metrics.Switches); s.Error != 0 || s.Exact != 1 {
		t.Errorf("switches %+v", s)
	}
	if good.Items.N != 2 || !near(good.Items.MAPE, 9.0/110) || good.Decisions.Identical != 2 || good.Decisions.Runs != 2 {
		t.Errorf("items %+v, decisions %+v", good.Items, good.Decisions)
	}
	if len(good.Phases) != 3 || good.Phases[0].Phase != PhaseLoadDisk || good.Phases[0].N != 2 || !near(good.Phases[0].Error, 99.0/90-1) || good.Phases[1].Error != 0 {
		t.Errorf("phases %+v", good.Phases)
	}
	if e := bad.Ablation[0].Figures; len(e) != 4 || bad.Ablation[1].Absent == "" {
		t.Errorf("ablation %+v", bad.Ablation)
	}
	ranking := r.Cells[0].Rankings[0]
	if ranking.Pick != "bad" || ranking.Best != "good" || ranking.Top1 || !near(ranking.Regret, 220.0/110-1) || ranking.Tau != -1 {
		t.Errorf("ranking %+v", ranking)
	}
	if r.Status != Missed || len(r.Misses()) == 0 {
		t.Errorf("status %s, %+v", r.Status, r.Judgements)
	}
}

// TestStatus: broken closure outweighs everything; without targets nothing is
// missed; what cannot be judged is not held against the simulation.
func TestStatus(t *testing.T) {
	if r := result(t, nil); r.Status != NoTarget || len(r.Misses()) != 0 {
		t.Errorf("without targets: %s", r.Status)
	}
	loose := Targets{Name: "loose", Makespan: 9, Mean: 9, P99: 9, Coverage: [2]float64{0.85, 0.95}, Regret: 9}
	r := result(t, &loose)
	if r.Status != Held {
		t.Errorf("loose targets: %s %+v", r.Status, r.Misses())
	}
	var unjudged []string
	for _, j := range r.Judgements {
		if !j.Judged {
			unjudged = append(unjudged, j.What)
		}
	}
	if !reflect.DeepEqual(unjudged, []string{"coverage of the 90 % interval"}) {
		t.Errorf("not judged: %v", unjudged)
	}
	if r := Compute(Input{Unranked: "the server moves models", Closure: r.Closure, Targets: &loose, Cells: []CellInput{{Models: models, Policies: []PolicyInput{
		{Policy: "a", Simulated: []*Run{fold(t, logOf(9, 2), 0, "w")}, Measured: []*Run{fold(t, logOf(9, 2), 0, "w")}},
		{Policy: "b", Simulated: []*Run{fold(t, logOf(8, 2), 0, "w")}, Measured: []*Run{fold(t, logOf(7, 2), 0, "w")}}}}}}); r.Ranking.Cells != 0 || r.Status != Held {
		t.Errorf("an unranked run is ranked: %+v, %s", r.Ranking, r.Status)
	}
	r.Closure.Events.Broken = []Break{{Log: "l", Seq: 4}}
	if r.status(&loose) != Broken {
		t.Error("a broken closure is not broken")
	}
}

// TestCoverage: with enough simulated runs the shares inside the intervals are
// counted, of items and of figures.
func TestCoverage(t *testing.T) {
	var sim []*Run
	for i := range 19 {
		sim = append(sim, fold(t, logOf(scheduler.Time(100+i), 20), i, "w"))
	}
	in := Input{Cells: []CellInput{{Models: models, Policies: []PolicyInput{{Policy: "p", Simulated: sim,
		Measured: []*Run{fold(t, logOf(105, 20), 0, "w"), fold(t, logOf(99, 20), 1, "w"), fold(t, logOf(118, 20), 2, "w"), fold(t, logOf(119, 20), 3, "w")}}}}}}
	r := Compute(in)
	if r.Coverage.N != 8 || r.Coverage.Share != 0.5 {
		t.Errorf("items: %+v", r.Coverage)
	}
	if e := figureOf(t, r.Cells[0].Policies[0], metrics.Makespan); e.Covered != 0.5 {
		t.Errorf("makespan: %+v", e)
	}
	// Each is predicted by the mean of the other three.
	noise := (math.Abs(132.0/125-1) + math.Abs(134.0/119-1) + math.Abs(383.0/3/138-1) + math.Abs(382.0/3/139-1)) / 4
	if e := figureOf(t, r.Cells[0].Policies[0], LatencyMean); !near(e.Noise, noise) {
		t.Errorf("noise %v, want %v", e.Noise, noise)
	}
}

// TestDiverge: the first decision that differs, and the fact before it whose
// order does.
func TestDiverge(t *testing.T) {
	w := &explain.Words{Models: models, Devices: devices}
	a := logOf(100, 20)
	if d := Diverge(w, fold(t, a, 0, "w"), fold(t, logOf(90, 10), 0, "w"), a, logOf(90, 10)); d != nil {
		t.Errorf("equal decisions diverge: %+v", d)
	}
	b := logOf(100, 20)
	b[7], b[8] = b[8], b[7] // members in another order
	d := Diverge(w, fold(t, a, 0, "w"), fold(t, b, 0, "w"), a, b)
	if d == nil || d.Index != 2 || d.Predicted.Seq != 9 || !strings.Contains(d.Predicted.What, "run 2 of a on gpu0") || !strings.Contains(d.Cause, "times or estimates") {
		t.Errorf("other members: %+v", d)
	}
	c := append(append([]scheduler.Event{}, a[:6]...), scheduler.Event{At: 50, Kind: scheduler.ItemCancelled, ID: 0, Model: scheduler.NoModel, Device: scheduler.NoDevice})
	d = Diverge(w, fold(t, a, 0, "w"), fold(t, c, 0, "w"), a, c)
	if d == nil || d.Measured != nil || !strings.Contains(d.Cause, "in the simulation next the load of a") || !strings.Contains(d.Cause, "on the card next item 0 is cancelled (50") {
		t.Errorf("another fact: %+v", d)
	}
}

// TestShown: tables, Markdown and JSON of a result say the same, and JSON reads
// back.
func TestShown(t *testing.T) {
	sleep, _ := TargetsOf("sleep")
	r := result(t, &sleep)
	r.Closure.Events.Broken = []Break{{Log: "cells/x/events.log", Seq: 4, Logged: &Moment{4, 7, "load a"}}}
	var text, md, data bytes.Buffer
	for _, err := range []error{Write(&text, r, table.Options{}), Markdown(&md, r), r.Write(&data)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"no hardware figure", "replicate 2 is left out: throttled for 3 s", "+8.18%", "MISSED", "not compared: policy oracle", "bandwidth is left out: there is no profile",
		"gpus[0].memory = 8GB", "cells/x/events.log differs at event 4"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, text.String())
		}
	}
	if !strings.Contains(md.String(), "| policy") || !strings.Contains(md.String(), "## Verdict") {
		t.Errorf("Markdown:\n%s", md.String())
	}
	got, err := Read(&data)
	if err != nil {
		t.Fatal(err)
	}
	var again, first bytes.Buffer
	if err := got.Write(&again); err != nil {
		t.Fatal(err)
	}
	if err := r.Write(&first); err != nil || again.String() != first.String() {
		t.Errorf("read back it is\n%s\ninstead of\n%s", again.String(), first.String())
	}
	if _, err := Read(strings.NewReader(`{"schema":"vramsim/summary/1"}`)); err == nil {
		t.Error("another schema was read")
	}
}
