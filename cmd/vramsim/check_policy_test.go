package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/policies/policytest"
	"github.com/vramsim/vramsim/results/metrics"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/sim/experiment"
)

// TestCheckPolicy: a shipped policy passes, with the same output at any -j.
func TestCheckPolicy(t *testing.T) {
	t.Chdir(t.TempDir())
	outputs := map[string]string{}
	for _, jobs := range []string{"1", "4"} {
		code, stdout, stderr := vramsim(t, "check", "--policy", "{use: max-wait, as: mw, params: {wait: 3s}}", "--quick", "--seed", "5", "-j", jobs)
		if code != 0 || stderr != "" {
			t.Fatalf("exit %d: %s%s", code, stdout, stderr)
		}
		outputs[jobs] = stdout
	}
	if outputs["1"] != outputs["4"] {
		t.Errorf("-j 1 and -j 4 differ:\n%s\n%s", outputs["1"], outputs["4"])
	}
	for _, want := range []string{"mw declares, for one GPU and", "visits after 3s", "PROPERTY", "drains", "bypass 0", "not declared  witness: ", "n/a", "The worst found in 500 worlds each:", "max bypass: "} {
		if !strings.Contains(outputs["1"], want) {
			t.Errorf("%q is missing in\n%s", want, outputs["1"])
		}
	}
	code, stdout, _ := vramsim(t, "check", "--policy", "fifo", "--quick", "--format", "json")
	var report policyJSON
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || code != 0 {
		t.Fatalf("exit %d: %v in %s", code, err, stdout)
	}
	results := map[string]int{}
	for _, p := range report.Properties {
		results[p.Result]++
	}
	if report.Schema != "vramsim/check/1" || report.Policy != "fifo" || results["holds"] < 10 || results["BROKEN"] != 0 || results["not declared"] < 2 || results["n/a"] < 2 || len(report.Worst) != 3 {
		t.Errorf("%+v", report)
	}
	if files, _ := os.ReadDir("."); len(files) > 0 {
		t.Errorf("%v was written although nothing is broken", files)
	}
}

// TestCheckPolicyOfAnExperiment: the policies of a file by their names there,
// and one in a file of its own.
func TestCheckPolicyOfAnExperiment(t *testing.T) {
	dir := template(t)
	t.Chdir(dir)
	if err := os.WriteFile("mine.yaml", []byte("use: oldest\nas: mine\nvisit: exhaustive\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := vramsim(t, "check", small, "--policy", "sticky", "--quick")
	if code != 0 || !strings.HasPrefix(stdout, "sticky declares") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	code, stdout, stderr = vramsim(t, "check", "--policy", "mine.yaml", "--quick")
	if code != 0 || !strings.HasPrefix(stdout, "mine declares") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
}

func TestCheckPolicyErrors(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{"bad.yaml": "use: sticky\nvist: gated\n", "e.yaml": "version: 1\npolicies: [{use: sticky}]\n"} {
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args string
		want string
	}{
		{"--policy stikcy", `did you mean "sticky"?`},
		{"--policy {use: max-wait, params: {wiat: 3s}}", `--policy:1:26: policy.params.wiat: unknown parameter "wiat"`},
		{"--policy bad.yaml", `bad.yaml:2:1: unknown key "vist" in policy; did you mean "visit"?`},
		{"--policy e.yaml", "e.yaml:2:11: this is an experiment"},
		{"--policy none.yaml", "none.yaml: no such file"},
		{"--policy mine.star", "scripts are not supported by this build"},
		{"--policy {use: sticky, pin: [a]}", "pin: names models of an experiment"},
		{"--policy {use: sticky, place: {planned: {map: {whisper: gpu0}}}}", "policy.place.planned.map"},
		{"--policy sticky --format md", `there is no format "md"; it is one of table, json`},
		{"--policy sticky -j 0", "--jobs 0: at least 1"},
		{"--policy sticky --set seed=1", "--set goes with a file only"},
		{"--policy sticky a.yaml b.yaml", "--policy takes one experiment, not 2"},
		{"e.yaml --format json", "--format goes with --policy only"},
		{"", "check needs a file, or --policy and a policy"},
	} {
		args := []string{"check"}
		if rest, ok := strings.CutPrefix(c.args, "--policy {"); ok {
			args = append(args, "--policy", "{"+rest)
		} else {
			args = append(args, strings.Fields(c.args)...)
		}
		code, stdout, stderr := vramsim(t, args...)
		if code != exitUsage || stdout != "" || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit %d: %s%s, want %s", c.args, code, stdout, stderr, c.want)
		}
	}
}

// dishonest is the catalogue with a policy that declares what it does not keep.
func dishonest(t *testing.T, name string, change func(*policies.Entry)) *policies.Set {
	t.Helper()
	set := &policies.Set{}
	for _, e := range policies.Builtin().List() {
		if e.Name == name {
			change(&e)
		}
		if err := set.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	return set
}

// checked runs the verb with a set of the test's own.
func checked(t *testing.T, set *policies.Set, use, out, format string) (stdout string, err error) {
	t.Helper()
	one, err := experiment.ParsePolicy("--policy", use)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	a := &app{stdout: &b, stderr: &b}
	err = a.checkPolicies(context.Background(), set, []*experiment.Single{one}, &experimentFlags{quick: true}, &policyFlags{jobs: 2, out: out, format: format})
	return b.String(), err
}

// TestCounterexample: what is broken is written as a whole, never over another,
// and the command that is printed shows it.
func TestCounterexample(t *testing.T) {
	t.Chdir(t.TempDir())
	set := dishonest(t, "seed", func(e *policies.Entry) { e.Declared.Bound = policies.Bound{Kind: policies.InOrder} })
	if err := os.MkdirAll(filepath.Join("out", "counterexample"), 0o777); err != nil {
		t.Fatal(err)
	}
	stdout, err := checked(t, set, "seed", "out", "table")
	if codeOf(err) != exitInvariant || err.Error() != "1 property is broken" {
		t.Fatalf("%v\n%s", err, stdout)
	}
	folder := filepath.Join("out", "counterexample-2") // the other is not ours
	line := "vramsim run " + filepath.Join(folder, "experiment.yaml")
	if !strings.Contains(stdout, "bypass 0 is BROKEN: ") || !strings.Contains(stdout, "  "+line+"\n") {
		t.Errorf("no %q in\n%s", line, stdout)
	}
	for _, name := range []string{"experiment.yaml", "trace.jsonl"} {
		if _, err := os.Stat(filepath.Join(folder, name)); err != nil {
			t.Error(err)
		}
	}
	if left, _ := filepath.Glob("out/.counter*"); len(left) > 0 {
		t.Errorf("%v was left", left)
	}
	if empty, _ := os.ReadDir(filepath.Join("out", "counterexample")); len(empty) > 0 {
		t.Errorf("%v was written into a folder that was there", empty)
	}
	code, stdout, stderr := vramsim(t, append(strings.Fields(line)[1:], "-q", "--format", "json")...)
	if code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	if v := value(t, decoded(t, stdout), 0, "max_bypass", "value"); v < 1 {
		t.Errorf("max_bypass is %v in the counterexample of bypass 0", v)
	}

	stdout, err = checked(t, set, "seed", "out", "json")
	var report policyJSON
	if jsonErr := json.Unmarshal([]byte(stdout), &report); jsonErr != nil || codeOf(err) != exitInvariant {
		t.Fatalf("%v, %v in %s", err, jsonErr, stdout)
	}
	found := false
	for _, p := range report.Properties {
		if p.Result == "BROKEN" {
			found = true
			if p.Property != "bypass 0" || p.Counterexample != filepath.Join("out", "counterexample-3") || len(p.Run) != 1 || p.World == "" {
				t.Errorf("%+v", p)
			}
		}
	}
	if !found {
		t.Error("nothing is broken")
	}
}

// fickle is a selector that chooses by the time of day.
type fickle struct{}

func (fickle) Select(v *scheduler.View, c *policies.Candidates) scheduler.ModelID {
	first := c.Next(0)
	if next := c.Next(first + 1); first != scheduler.NoModel && next != scheduler.NoModel && v.Now()/(3*scheduler.Second)%2 == 0 {
		return next
	}
	return first
}

// TestCounterexampleOfTwo: a broken relation comes with both its worlds.
func TestCounterexampleOfTwo(t *testing.T) {
	t.Chdir(t.TempDir())
	set := dishonest(t, "oldest", func(e *policies.Entry) {
		e.New = func(*policies.Args) (any, error) { return fickle{}, nil }
	})
	stdout, err := checked(t, set, "oldest", ".", "table")
	if codeOf(err) != exitInvariant || !strings.Contains(stdout, "shifted arrivals is BROKEN: ") || !strings.Contains(stdout, "/changed.yaml   # everything arrives ") {
		t.Fatalf("%v\n%s", err, stdout)
	}
	changed, err := filepath.Glob("counterexample*/changed.yaml")
	if err != nil || len(changed) == 0 {
		t.Fatal(changed, err)
	}
	for _, path := range changed {
		code, _, stderr := vramsim(t, "check", path, filepath.Join(filepath.Dir(path), "experiment.yaml"))
		if code != 0 {
			t.Errorf("%s: exit %d: %s", path, code, stderr)
		}
	}
}

// TestReproduce: the lines to type are what a shell takes, and what differs
// only when a run is replayed is replayed.
func TestReproduce(t *testing.T) {
	row := policytest.Result{Property: policytest.Pure, Runs: []policytest.Run{{}}}
	want := []string{"vramsim run 'my files/counterexample/experiment.yaml'", "vramsim replay runs/counterexample/latest --verify"}
	if got := reproduce(filepath.Join("my files", "counterexample"), &row); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if row.Property = policytest.Drains; len(reproduce("x", &row)) != 1 {
		t.Errorf("%q", reproduce("x", &row))
	}
}

// TestCheckPolicyUnwritable: a folder that cannot be made is an error of the
// user's.
func TestCheckPolicyUnwritable(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("file", nil, 0o666); err != nil {
		t.Fatal(err)
	}
	set := dishonest(t, "seed", func(e *policies.Entry) { e.Declared.Bound = policies.Bound{Kind: policies.InOrder} })
	for _, format := range []string{"table", "json"} {
		if out, err := checked(t, set, "seed", filepath.Join("file", "out"), format); codeOf(err) != exitUsage || !strings.Contains(out, "BROKEN") {
			t.Errorf("exit %d: %v\n%s", codeOf(err), err, out)
		}
	}
}

// TestCheckPolicyInterrupted: nothing is said of a test that was not finished.
func TestCheckPolicyInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var stdout, stderr bytes.Buffer
	if code := run(ctx, []string{"check", "--policy", "sticky"}, strings.NewReader(""), &stdout, &stderr); code != exitInterrupted || stdout.Len() > 0 {
		t.Errorf("exit %d: %s", code, stdout.String())
	}
}

// TestWorstBypass: the adversary's figure is the metric of that name.
func TestWorstBypass(t *testing.T) {
	set := policies.Builtin()
	for _, spec := range []policies.Spec{{Use: "sticky"}, {Use: "max-wait", Params: map[string]any{"wait": "5s"}}, {Use: "seed"}} {
		r, err := policytest.Check(policytest.Config{Set: set, Spec: spec, Cases: 8, Evaluations: 300})
		if err != nil {
			t.Fatal(err)
		}
		worst := r.Worst[0]
		o, err := worst.World.Run(set, spec)
		if err != nil {
			t.Fatal(err)
		}
		fold, err := metrics.New(metrics.Config{Models: worst.World.Models, Devices: worst.World.Devices})
		if err != nil {
			t.Fatal(err)
		}
		if err := fold.Append(o.Events); err != nil {
			t.Fatal(err)
		}
		if got := fold.Result().Values[metrics.MaxBypass]; worst.Num < 3 || got != float64(worst.Num) {
			t.Errorf("%s: the worst %s is %d, the metric %v", spec.Use, worst.Objective, worst.Num, got)
		}
	}
}
