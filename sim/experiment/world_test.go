package experiment

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/policies/policytest"
	"github.com/vramsim/vramsim/scheduler"
)

// recorder is a Sink that keeps all.
type recorder []scheduler.Event

func (r *recorder) Append(events []scheduler.Event) error {
	*r = append(*r, events...)
	return nil
}

// A world written as an experiment and simulated makes the same events: the
// machine of package policytest against that of package sim.
func TestWorldsAsExperiments(t *testing.T) {
	set := policies.Builtin()
	names := set.Policies()
	dir := t.TempDir()
	lost, failed := 0, 0
	for key := range uint64(400) {
		w := policytest.Draw(key, policytest.Hostile())
		spec := policies.Spec{Use: names[key%uint64(len(names))], Order: policies.Axis{}}
		if key%3 == 0 {
			spec = policies.Spec{Use: "max-wait", Params: map[string]any{"wait": "3s"}, Evict: policies.Axis{Name: "ttl", Params: map[string]any{"idle": "2s"}},
				Order: policies.Axis{Name: "tenant-drr"}, Place: policies.Axis{Name: "lru-age"}, Admit: policies.Axis{Name: "late"}}
		}
		want, err := w.Run(set, spec)
		if err != nil {
			t.Fatal(err)
		}
		got := simulated(t, dir, w, spec)
		if !slices.Equal(got, want.Events) {
			i := 0
			for i < min(len(got), len(want.Events)) && got[i] == want.Events[i] {
				i++
			}
			t.Fatalf("%d %+v in %v: event %d of %d and %d differs:\n%+v\n%+v", key, spec, w, i, len(got), len(want.Events), got[i:min(i+3, len(got))], want.Events[i:min(i+3, len(want.Events))])
		}
		for _, ev := range got {
			switch ev.Kind {
			case scheduler.DeviceDown:
				lost++
			case scheduler.LoadFailed, scheduler.BatchFailed:
				failed++
			}
		}
	}
	if lost < 50 || failed < 50 {
		t.Errorf("%d devices lost, %d failures", lost, failed)
	}
}

func simulated(t *testing.T, dir string, w *policytest.World, spec policies.Spec) []scheduler.Event {
	t.Helper()
	text, trace, err := OfWorld(w, "counterexample", "Is it so?", "trace.jsonl", []policies.Spec{spec})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "trace.jsonl"), trace, 0o666); err != nil {
		t.Fatal(err)
	}
	exp, err := Parse("experiment.yaml", dir, text, policies.Builtin(), Options{})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	setup, err := exp.Cells[0].Setup(0, 0, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer setup.Close()
	core, err := scheduler.New(setup.Config)
	if err != nil {
		t.Fatal(err)
	}
	var log recorder
	if err := scheduler.Drive(context.Background(), core, setup.World, &log); err != nil {
		t.Fatal(err)
	}
	return log
}

func TestParsePolicy(t *testing.T) {
	for text, want := range map[string]string{
		"sticky": "sticky", "{use: max-wait, as: mw, params: {wait: 30s}}": "max-wait", "use: fifo\nparams:\n  skip: true\n": "fifo",
	} {
		p, err := ParsePolicy("--policy", text)
		if err != nil || p.Spec.Use != want {
			t.Errorf("%s: %+v, %v", text, p, err)
		}
	}
	for text, want := range map[string]string{
		"{use: sticky, vist: gated}":         "--policy:1:15: unknown key \"vist\" in policy; did you mean \"visit\"?",
		"{as: x}":                            "--policy:1:1: policy.use is missing",
		"{script: mine.star}":                "scripts are not supported by this build",
		"policies: [{use: sticky}]":          "this is an experiment",
		"{use: sticky":                       "--policy:1:",
		"# nothing":                          "expected a policy like {use: sticky}",
		"- use: sticky":                      "expected a policy like {use: sticky}",
		"{use: sticky, params: [wait, 30s]}": "policy.params",
	} {
		if _, err := ParsePolicy("--policy", text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// What is wrong with a policy is told at its place.
func TestPlaced(t *testing.T) {
	for text, want := range map[string]string{
		"stikcy":                               `--policy:1:1: policy.use: unknown policy "stikcy"`,
		"{use: max-wait, params: {wiat: 30s}}": `--policy:1:26: policy.params.wiat: unknown parameter "wiat"`,
	} {
		p, err := ParsePolicy("--policy", text)
		if err != nil {
			t.Fatal(err)
		}
		_, err = policytest.New(policytest.Config{Set: policies.Builtin(), Spec: p.Spec})
		if err = p.Placed(err); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "did you mean") {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
