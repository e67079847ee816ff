package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/results/eventlog"
	"github.com/vramsim/vramsim/results/fidelity"
	"github.com/vramsim/vramsim/results/metrics"
	"github.com/vramsim/vramsim/results/rundir"
	"github.com/vramsim/vramsim/scheduler"
)

// fidelityBase is an experiment with room for errors: three models on a device
// that holds two, with costs that a profile corrects.
const fidelityBase = `version: 1
name: fid
seed: 5
replicates: 20
hardware:
  PROFILE
  gpus: [{name: gpu0, memory: 2GB, safety: 0.9}]
models:
  asr:    {memory: 800MB, batch: {max: 4, memory: 20MB, base: 300ms, per_item: 200ms}, load: 300ms, unload: 20ms}
  vision: {memory: 700MB, batch: {max: 4, memory: 20MB, base: 350ms, per_item: 150ms}, load: 250ms, unload: 20ms}
  text:   {memory: 600MB, batch: {max: 2, memory: 20MB, base: 400ms, per_item: 100ms}, load: 200ms, unload: 20ms}
workload: {trace: t.jsonl}
policies: [{use: sticky}, {use: fifo}]
output: {report: [], charts: []}
`

const fidelityProfile = `version: 1 # invented numbers
tiers: {disk: {base: 400ms, per_GB: 1s}, pinned: {base: 400ms, per_GB: 1s}}
models:
  asr: {memory: {weights: 800MB}, load: {disk: {empirical: {values: [1.1s, 1.2s, 1.3s, 1.4s]}}}, batch: {memory: 20MB, base: 350ms, per_item: 230ms}}
  vision: {memory: {weights: 700MB}, load: {disk: {empirical: {values: [1s, 1.1s, 1.2s]}}}, batch: {memory: 20MB, base: 400ms, per_item: 170ms}}
  text: {memory: {weights: 600MB}, load: {disk: {empirical: {values: [900ms, 1s, 1.1s]}}}, batch: {memory: 20MB, base: 500ms, per_item: 120ms}}
`

// laboratory is a folder with the experiment, a trace and the profile.
func laboratory(t *testing.T, profiled bool) string {
	t.Helper()
	dir := t.TempDir()
	trace := `{"vramsim":"trace","version":1}` + "\n"
	for i := range 40 {
		item := map[string]any{"id": string(rune('a'+i%26)) + strings.Repeat("x", i/26), "model": []string{"asr", "vision", "text"}[i*i%7%3], "at_ns": int64(i) * 333_333_333}
		line, err := json.Marshal(item)
		if err != nil {
			t.Fatal(err)
		}
		trace += string(line) + "\n"
	}
	use := ""
	if profiled {
		use = "profile: p.yaml"
	}
	for name, text := range map[string]string{"x.yaml": strings.Replace(fidelityBase, "PROFILE", use, 1), "t.jsonl": trace, "p.yaml": fidelityProfile} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// simulate runs the experiment of a folder and returns its run directory.
func simulate(t *testing.T, dir string, args ...string) *rundir.Dir {
	t.Helper()
	out := t.TempDir()
	code, _, stderr := vramsim(t, append([]string{"run", filepath.Join(dir, "x.yaml"), "-q", "-o", out}, args...)...)
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	run, err := rundir.Open(filepath.Join(out, "fid", "latest"))
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// carriedOut says of a simulation that it was made on a machine: what a card
// would leave, without waiting for it.
func carriedOut(t *testing.T, run *rundir.Dir) *rundir.Dir {
	t.Helper()
	m, err := run.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	m.Hardware = &rundir.Hardware{Executor: "sleep", Label: "no hardware figures"}
	if err := run.WriteJSON("manifest.json", m); err != nil {
		t.Fatal(err)
	}
	return run
}

// compared runs the command and returns its result.
func compared(t *testing.T, want int, sim, hw *rundir.Dir, args ...string) (r *fidelity.Result, stderr string) {
	t.Helper()
	code, stdout, stderr := vramsim(t, append([]string{"fidelity", sim.Path, hw.Path, "--format", "json", "-q"}, args...)...)
	if code != want {
		t.Fatalf("exit %d, want %d: %s", code, want, stderr)
	}
	r, err := fidelity.Read(strings.NewReader(stdout))
	if err != nil {
		t.Fatal(err)
	}
	return r, stderr
}

func errorOf(t *testing.T, list []fidelity.Error, name string) float64 {
	t.Helper()
	for _, e := range list {
		if e.Figure == name {
			return float64(e.Error)
		}
	}
	t.Fatalf("there is no %s: %+v", name, list)
	return 0
}

// TestFidelity: a machine that does as the profile says. Knowing less costs
// more, recorded durations nothing; coverage is what it says.
func TestFidelity(t *testing.T) {
	lab := laboratory(t, true)
	sim, hw := simulate(t, lab), carriedOut(t, simulate(t, lab, "--replicates", "5"))
	out := t.TempDir()
	// Twenty runs do not have the mean of five of them: the sticky policy makes
	// much of little. Its targets are missed, closure holds.
	r, _ := compared(t, exitThreshold, sim, hw, "--targets", "worker", "-o", out)
	if r.Status != fidelity.Missed || r.Targets != "worker" || r.Closure.Decisions.Logs != 10 || !r.Closure.Events.Holds() {
		t.Errorf("status %s, closure %+v, misses %+v", r.Status, r.Closure, r.Misses())
	}
	for _, p := range r.Cells[0].Policies {
		if p.Simulated != 20 || p.Measured != 5 || p.Items.N != 40 || len(p.Ablation) != 5 || p.Items.Coverage.N != 200 {
			t.Errorf("%s: %d simulated, %d measured, %d items, %d covered", p.Policy, p.Simulated, p.Measured, p.Items.N, p.Items.Coverage.N)
		}
		var errs []float64
		for i, a := range p.Ablation {
			if a.Level != fidelity.Levels()[i] || a.Absent != "" {
				t.Fatalf("level %d is %+v", i, a)
			}
			errs = append(errs, math.Abs(errorOf(t, a.Figures, fidelity.LatencyMean)))
		}
		if !(errs[0] > errs[1] && errs[1] > errs[2]) || errs[4] != 0 {
			t.Errorf("%s: errors by knowledge %v", p.Policy, errs)
		}
	}
	for _, name := range []string{"fidelity.json", "charts/" + r.Cells[0].Measured + "-predicted.svg", "charts/" + r.Cells[0].Measured + "-phase-errors.png"} {
		if _, err := os.Stat(filepath.Join(out, filepath.FromSlash(name))); err != nil {
			t.Error(err)
		}
	}
}

// TestFidelityHeld: a machine that does as simulated has no errors.
func TestFidelityHeld(t *testing.T) {
	lab := laboratory(t, false)
	sim, hw := simulate(t, lab), carriedOut(t, simulate(t, lab))
	r, stderr := compared(t, exitOK, sim, hw)
	if r.Status != fidelity.Held || r.Targets != "sleep" || stderr != "" {
		t.Errorf("status %s, targets %s: %s", r.Status, r.Targets, stderr)
	}
	for _, p := range r.Cells[0].Policies {
		for _, e := range p.Figures {
			if e.Error != 0 {
				t.Errorf("%s: %+v", p.Policy, e)
			}
		}
		if p.Items.MAPE != 0 || p.Decisions.Identical != 1 || p.Decisions.Tau != 1 || p.Decisions.First != nil {
			t.Errorf("%s: %+v %+v", p.Policy, p.Items, p.Decisions)
		}
	}
	if _, err := os.Stat(hw.Join("fidelity", "fidelity.json")); err != nil {
		t.Error(err)
	}
}

// TestFidelityMissed: a machine that is slower than simulated misses its
// targets, and the exit code says so.
func TestFidelityMissed(t *testing.T) {
	lab := laboratory(t, false)
	sim, hw := simulate(t, lab, "--policy", "fifo", "--policy", "{use: fifo, evict: belady, as: belady}"), carriedOut(t, simulate(t, lab, "--set", "models.asr.load=600ms", "--policy", "fifo"))
	r, stderr := compared(t, exitThreshold, sim, hw)
	if r.Status != fidelity.Missed || r.Targets != "sleep" || !strings.Contains(stderr, "makespan_seconds: the error is") {
		t.Errorf("%s, targets %s: %s", r.Status, r.Targets, stderr)
	}
	p := r.Cells[0].Policies[0]
	if e := errorOf(t, p.Figures, fidelity.LatencyMean); e >= 0 {
		t.Errorf("a slower machine has latency error %v", e)
	}
	for _, e := range p.Phases {
		want := 0.0
		if e.Model == "asr" && e.Phase == fidelity.PhaseLoadDisk {
			want = -0.5
		}
		if math.Abs(float64(e.Error)-want) > 1e-9 {
			t.Errorf("%s, %s: error %v, want %v", e.Model, e.Phase, e.Error, want)
		}
	}
	if len(r.Unmatched) != 1 || !strings.Contains(r.Unmatched[0], "belady") {
		t.Errorf("not compared: %v", r.Unmatched)
	}
	if code, stdout, _ := vramsim(t, "fidelity", sim.Path, hw.Path, "-q", "--ablation=false"); code != exitThreshold || !strings.Contains(stdout, "no hardware figures") || strings.Contains(stdout, "declared") {
		t.Errorf("exit %d:\n%s", code, stdout)
	}
	if code, stdout, _ := vramsim(t, "fidelity", hw.Path, carriedOut(t, sim).Path); code != exitUsage {
		t.Errorf("sides exchanged: exit %d:\n%s", code, stdout)
	}
}

// rewrite changes the events of a log.
func rewrite(t *testing.T, path string, change func([]scheduler.Event)) {
	t.Helper()
	r, err := eventlog.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	var events []scheduler.Event
	for ev, err := range eventsOf(r) {
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, ev)
	}
	h := r.Header()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	change(events)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	w, err := eventlog.Create(path, h, eventlog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Append(events); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestFidelityBroken: a log whose decisions do not follow from its facts breaks
// closure at that event, and nothing else counts.
func TestFidelityBroken(t *testing.T) {
	lab := laboratory(t, false)
	sim, hw := simulate(t, lab), carriedOut(t, simulate(t, lab))
	m, err := hw.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	at, log := -1, ""
	for name := range m.Logs {
		if strings.Contains(name, "/sticky/") {
			log = name
		}
	}
	rewrite(t, hw.Join(filepath.FromSlash(log)), func(events []scheduler.Event) {
		for i := range events {
			if events[i].Kind == scheduler.LoadStarted && at < 0 {
				events[i].Value++ // another estimate
				at = i
			}
		}
	})
	r, stderr := compared(t, exitInvariant, sim, hw)
	for _, half := range []fidelity.Check{r.Closure.Decisions, r.Closure.Events} {
		if len(half.Broken) != 1 || half.Broken[0].Seq != int64(at) || half.Broken[0].Log != log || half.Logs != 2 || !strings.Contains(half.Broken[0].Logged.What, "load ") {
			t.Errorf("%+v, want a break at event %d", half, at)
		}
	}
	if r.Status != fidelity.Broken || !strings.Contains(stderr, "closure is broken: "+log) {
		t.Errorf("%s: %s", r.Status, stderr)
	}
}

// TestFidelityExcludes: a run that does not count is named with its reason and
// is part of no figure.
func TestFidelityExcludes(t *testing.T) {
	lab := laboratory(t, true)
	sim, hw := simulate(t, lab, "--replicates", "2"), carriedOut(t, simulate(t, lab, "--replicates", "3"))
	all, _ := compared(t, exitOK, sim, hw) // of three runs, of which two are simulated
	name := filepath.Join(rundir.Replicate(all.Cells[0].Measured, "sticky", 1), "result.json")
	var out map[string]any
	if err := hw.ReadJSON(name, &out); err != nil {
		t.Fatal(err)
	}
	out["hardware"] = map[string]any{"invalid": []string{"throttled"}}
	if err := hw.WriteJSON(name, out); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(hw.Join(rundir.Replicate(all.Cells[0].Measured, "sticky", 2), "events.log"), 3000); err != nil {
		t.Fatal(err)
	}
	r, _ := compared(t, exitOK, sim, hw) // the one that is left is simulated as it was
	p := r.Cells[0].Policies[0]
	if p.Measured != 1 || len(p.LeftOut) != 2 || p.LeftOut[0].Replicate != 1 || p.LeftOut[0].Reasons[0] != "throttled" || p.LeftOut[1].Reasons[0] != "it was cut short" {
		t.Errorf("%d measured, left out %+v", p.Measured, p.LeftOut)
	}
	if !r.Closure.Events.Holds() || r.Closure.Events.Logs != 6 {
		t.Errorf("what is left of a log does not close: %+v", r.Closure.Events)
	}
	if a, b := errorOf(t, all.Cells[0].Policies[0].Figures, metrics.Makespan), errorOf(t, p.Figures, metrics.Makespan); a == b {
		t.Error("what was left out still counts")
	}
}

// TestFidelityRefuses: runs that cannot be compared are refused in plain words.
func TestFidelityRefuses(t *testing.T) {
	lab := laboratory(t, false)
	sim := simulate(t, lab)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--seed", "6"}, "different seeds: 5 was simulated, 6 was measured"},
		{[]string{"--set", "workload.trace={file: t.jsonl, limit: 30}"}, "different workloads"},
		{[]string{"--set", "hardware.gpus[0].memory=3GB"}, "different GPUs"},
		{[]string{"--set", "output.events=none"}, "no event logs"},
	} {
		hw := carriedOut(t, simulate(t, lab, c.args...))
		if code, _, stderr := vramsim(t, "fidelity", sim.Path, hw.Path); code != exitUsage || !strings.Contains(stderr, c.want) {
			t.Errorf("%v: exit %d: %s", c.args, code, stderr)
		}
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{sim.Path, sim.Path}, "is no hardware run"},
		{[]string{sim.Path}, "a simulation and a hardware run"},
		{[]string{sim.Path, lab}, "no run directory"},
		{[]string{sim.Path, sim.Path, "--targets", "sleeep"}, "did you mean sleep?"},
		{[]string{sim.Path, sim.Path, "--format", "yaml"}, "no format"},
	} {
		if code, _, stderr := vramsim(t, append([]string{"fidelity"}, c.args...)...); code != exitUsage || !strings.Contains(stderr, c.want) {
			t.Errorf("%v: exit %d: %s", c.args, code, stderr)
		}
	}
}
