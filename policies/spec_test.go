package policies_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/coretest"
	"pgregory.net/rapid"
)

func twoGPUs() policies.Env {
	models := abc()
	models[0].Group, models[1].Group = "x", "y"
	devices := append(gpu(8), gpu(8)...)
	devices[1].Name = "gpu1"
	return policies.Env{Models: models, Devices: devices}
}

// What is wrong with a policy is told with its place, what would be right and
// the nearest name.
func TestSpecErrors(t *testing.T) {
	theory := policies.Spec{Use: "polling", Params: map[string]any{"skip_empty": false}, Evict: axis("single")}
	for _, c := range []struct {
		spec policies.Spec
		path string
		says string
		near string
	}{
		{use(""), "use", "needs a name", ""},
		{use("stiky"), "use", `unknown policy "stiky"`, "sticky"},
		{use("max_wait"), "use", "accepted: sticky, fifo", "max-wait"},
		{use("quantum-annealing"), "use", "unknown policy", ""},
		{use("max-wait", "wiat", "1s"), "params.wiat", "accepted: wait, gated, prefer, fill, backoff", "wait"},
		{use("max-wait", "wait", "60"), "params.wait", "a length of time with its unit", ""},
		{use("max-wait", "wait", 60), "params.wait", "60 is not accepted", ""},
		{use("max-wait", "wait", "-1s"), "params.wait", "not accepted", ""},
		{use("max-wait", "gated", "yes"), "params.gated", "true or false", ""},
		{use("hysteresis", "h", -1), "params.h", "an integer from 0", ""},
		{use("waste", "beta", -0.5), "params.beta", "a number from 0 with at most six decimals", ""},
		{use("waste", "beta", 0.1234567), "params.beta", "0.1234567 is not accepted", ""},
		{use("waste", "beta", "6s"), "params.beta", "not accepted", ""},
		{use("waste", "beta", 1e13), "params.beta", "not accepted", ""},
		{use("waste", "floor", "0s"), "params.floor", "at least 1ns", ""},
		{use("drr", "quantum", "0s"), "params.quantum", "at least 1ns", ""},
		{use("wfq", "turns", 1), "params.turns", "true or false", ""},
		{use("time-slice", "factor", 1), "params.factor", "accepted: max_wait, min_active, fill, backoff", ""},
		{use("cost-aware", "factor", "half"), "params.factor", "a number from 0", ""},
		{use("hysteresis", "h", 1.5), "params.h", "an integer from 0", ""},
		{use("sticky", "prefer", "residents"), "params.prefer", "accepted: current, resident", "resident"},
		{use("seed", "fill", true), "params.fill", "accepted: ties", ""},
		{use("semaphore", "k", 0), "params.k", "an integer from 1", ""},
		{policies.Spec{Use: "seed", Visit: axis("gated")}, "visit", "decides everything itself", ""},
		{policies.Spec{Use: "clockwork", Admit: axis("all")}, "admit", "takes no admit but late", ""},
		{policies.Spec{Use: "clockwork", Admit: axis("late", "by", "1s")}, "admit", "takes no admit but late", ""},
		{policies.Spec{Use: "clockwork", Order: axis("deadline")}, "order", "takes no order", ""},
		{use("clockwork", "window", "0s"), "params.window", "at least 1ns", ""},
		{policies.Spec{Use: "symphony", Admit: axis("late")}, "admit", "takes no admit", ""},
		{policies.Spec{Use: "seed", Pin: []string{"a"}}, "pin", "takes no pin", ""},
		{policies.Spec{Use: "fifo", Visit: axis("exhaustiv")}, "visit", "unknown visit", "exhaustive"},
		{policies.Spec{Use: "fifo", Visit: axis("limited", "items", 1, "batches", 1)}, "visit.limited", "not both", ""},
		{policies.Spec{Use: "fifo", Visit: axis("limited", "items", 0)}, "visit.limited", "never serves", ""},
		{policies.Spec{Use: "fifo", Visit: axis("timed", "quantum", "0s")}, "visit.timed.quantum", "at least 1ns", ""},
		{policies.Spec{Use: "fifo", Batch: axis("accumulate", "items", 3)}, "batch.accumulate.timeout", "must be given", ""},
		{policies.Spec{Use: "fifo", Batch: axis("delay", "prefer", []any{"two"})}, "batch.delay.prefer", "list of positive integers", ""},
		{policies.Spec{Use: "fifo", Evict: axis("LRU")}, "evict", "unknown evict", "lru"},
		{policies.Spec{Use: "fifo", Evict: axis("lru", "idle", "1s")}, "evict.lru.idle", "none is accepted", ""},
		{policies.Spec{Use: "fifo", Evict: axis("groups", "swap", []any{"z"})}, "evict.groups.swap", `unknown group "z"`, ""},
		{policies.Spec{Use: "fifo", Evict: axis("keep-alive", "idle", "-0s")}, "evict.keep-alive.idle", `"-0s" is not accepted`, ""},
		{policies.Spec{Use: "fifo", Evict: axis("keep-alive", "idle", 5)}, "evict.keep-alive.idle", "a length of time with its unit, negative for ever", ""},
		{policies.Spec{Use: "fifo", Evict: axis("keep-alive", "idle", map[string]any{"bb": "1s"})}, "evict.keep-alive.idle.bb", `unknown model "bb"`, "b"},
		{policies.Spec{Use: "fifo", Evict: axis("keep-alive", "idle", map[string]any{"a": "1s", "b": true})}, "evict.keep-alive.idle.b", "true is not accepted", ""},
		{policies.Spec{Use: "fifo", Evict: axis("matrix")}, "evict.matrix.sets", "must be given: a list of lists of models", ""},
		{policies.Spec{Use: "fifo", Evict: axis("matrix", "sets", []any{"a", "b"})}, "evict.matrix.sets", "a list of lists", ""},
		{policies.Spec{Use: "fifo", Evict: axis("matrix", "sets", []any{[]any{"a", "bb"}})}, "evict.matrix.sets", "unknown model", "b"},
		{policies.Spec{Use: "fifo", Evict: axis("matrix", "sets", []any{[]any{"a", "a"}})}, "evict.matrix.sets", "named twice", ""},
		{policies.Spec{Use: "fifo", Evict: axis("matrix", "sets", []any{}, "costs", map[string]any{"a": 0})}, "evict.matrix.costs.a", "from 1 to", ""},
		{policies.Spec{Use: "fifo", Evict: axis("matrix", "sets", []any{}, "costs", 3)}, "evict.matrix.costs", "a map from models", ""},
		{policies.Spec{Use: "fifo", Evict: axis("matrix", "sets", []any{}), Pin: []string{"a"}}, "pin", "matrix takes no pin", ""},
		{policies.Spec{Use: "fifo", Pin: []string{"d"}}, "pin", "unknown model or group", ""},
		{policies.Spec{Use: "fifo", Place: axis("planned")}, "place.planned.map", "must be given", ""},
		{policies.Spec{Use: "fifo", Place: axis("planned", "map", map[string]any{"a": "gpu0", "b": "gpu1"})}, "place.planned.map", `"c" is missing`, ""},
		{policies.Spec{Use: "fifo", Place: axis("planned", "map", map[string]any{"a": "gpu2"})}, "place.planned.map.a", "unknown device", "gpu0"},
		{use("polling", "order", []any{"a", "b"}), "params.order", `"c" is missing`, ""},
		{use("polling", "order", []any{"a", "b", "a"}), "params.order", "named twice", ""},
		{use("polling", "order", "random"), "params.order", "ids, or a list", ""},
		{use("polling", "skip_empty", false), "params.skip_empty", "single", ""},
		{theory, "params.skip_empty", "horizon", ""},
	} {
		_, err := policies.Builtin().New(c.spec, twoGPUs())
		var e *policies.SpecError
		if !errors.As(err, &e) {
			t.Errorf("%+v: error %v, want a SpecError", c.spec, err)
			continue
		}
		if got := strings.Join(e.Path, "."); got != c.path || !strings.Contains(e.What, c.says) || e.Nearest != c.near {
			t.Errorf("%+v: %q (nearest %q), want %s … %s (nearest %q)", c.spec, e.Error(), e.Nearest, c.path, c.says, c.near)
		}
	}
}

func TestPollingOfTheoryNeedsLoadsAndNoFill(t *testing.T) {
	env := twoGPUs()
	env.Horizon = sec
	spec := policies.Spec{Use: "polling", Params: map[string]any{"skip_empty": false, "fill": true}, Evict: axis("single")}
	if _, err := policies.Builtin().New(spec, env); err == nil || !strings.Contains(err.Error(), "params.fill") {
		t.Errorf("fill: %v", err)
	}
	spec.Params["fill"] = false
	if _, err := policies.Builtin().New(spec, env); err != nil {
		t.Error(err)
	}
	env.Models[1].Load[scheduler.TierDisk] = 0
	if _, err := policies.Builtin().New(spec, env); err == nil || !strings.Contains(err.Error(), `"b" loads in no time`) {
		t.Errorf("load of 0: %v", err)
	}
}

// Models that never leave must not keep others out for ever.
func TestPinsThatLeaveNoRoom(t *testing.T) {
	env := policies.Env{Models: abc(), Devices: gpu(10)}
	for _, c := range []struct {
		spec policies.Spec
		ok   bool
	}{
		{policies.Spec{Use: "fifo", Pin: []string{"a"}}, true},
		{policies.Spec{Use: "fifo", Pin: []string{"a", "b"}}, false},
		{policies.Spec{Use: "fifo", Pin: []string{"a"}, Evict: axis("single")}, false},
		{policies.Spec{Use: "fifo", Pin: []string{"a"}, Evict: axis("count", "max", 2)}, true},
		{policies.Spec{Use: "fifo", Pin: []string{"a"}, Evict: axis("keep-alive", "max", 1)}, false},
		{policies.Spec{Use: "fifo", Pin: []string{"a"}, Evict: axis("keep-alive")}, true},
	} {
		if _, err := policies.Builtin().New(c.spec, env); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c.spec, err)
		}
	}
	env.Models[0].Group, env.Models[1].Group = "x", "x"
	for _, c := range []struct {
		swap any
		ok   bool
	}{{true, true}, {false, false}} {
		spec := policies.Spec{Use: "fifo", Evict: axis("groups", "swap", c.swap, "persistent", []any{"x"})}
		if _, err := policies.Builtin().New(spec, env); (err == nil) != c.ok {
			t.Errorf("persistent group, swap %v: %v", c.swap, err)
		}
	}
}

// The resolved composition spells every default out and builds itself again.
func TestSettingsResolve(t *testing.T) {
	set := policies.Builtin()
	coretest.Check(t, 100, func(r *rapid.T) {
		spec := drawComposition(r)
		complete(r, &spec, abc())
		built, err := set.New(spec, twoGPUs())
		if err != nil {
			r.Fatal(err)
		}
		again, err := set.New(built.Spec, twoGPUs())
		if err != nil {
			r.Fatalf("%+v: %v", built.Spec, err)
		}
		if a, b := built.Settings(), again.Settings(); !reflect.DeepEqual(a, b) {
			r.Fatalf("settings %v, then %v", a, b)
		}
	})
	built, err := set.New(use("max-wait", "wait", "90s"), twoGPUs())
	if err != nil {
		t.Fatal(err)
	}
	want := []policies.Setting{{Key: "use", Value: "max-wait"}, {Key: "as", Value: "max-wait"}, {Key: "params.backoff", Value: "1s"},
		{Key: "params.fill", Value: true}, {Key: "params.gated", Value: true}, {Key: "params.prefer", Value: "current"}, {Key: "params.wait", Value: "90s"},
		{Key: "visit", Value: "exhaustive"}, {Key: "batch", Value: "greedy"}, {Key: "evict", Value: "lru"}, {Key: "prefetch", Value: "none"},
		{Key: "place", Value: "affinity"}, {Key: "admit", Value: "all"}, {Key: "order", Value: "fifo"}}
	if got := built.Settings(); !slices.Equal(got, want) {
		t.Errorf("settings %v, want %v", got, want)
	}
}

func TestDeclaredContracts(t *testing.T) {
	env := policies.Env{Models: abc(), Devices: gpu(8)}
	for _, c := range []struct {
		spec policies.Spec
		want string
	}{
		{use("fifo"), "pure, bound: bypass 0"},
		{policies.Spec{Use: "fifo", Admit: axis("late")}, "pure, bound: none"},
		{policies.Spec{Use: "fifo", Admit: axis("deadline")}, "pure, bound: bypass 0"},
		{use("fifo", "fill", true), "work-conserving, load-work-conserving, pure, bound: none"},
		{use("fifo", "skip", true), "work-conserving, load-work-conserving, pure, bound: none"},
		{policies.Spec{Use: "fifo", Visit: axis("limited", "batches", 2)}, "pure, bound: none"},
		{use("qlm"), "work-conserving, load-work-conserving, pure, bound: none"},
		{use("clockwork"), "waits, withdraws loads, times of its own, pure, bound: none"},
		{use("nexus"), "waits, withdraws loads, pure, bound: 3 visits"},
		{use("symphony"), "waits, withdraws loads, pure, bound: none"},
		{use("semaphore"), "waits, evicts by rule, pure, bound: bypass 0"},
		{use("seed"), "evicts by rule, pure, bound: none"},
		{use("sticky"), "work-conserving, load-work-conserving, pure, bound: none"},
		{use("oldest"), "work-conserving, load-work-conserving, pure, bound: 3 visits"},
		{policies.Spec{Use: "oldest", Visit: axis("limited")}, "work-conserving, load-work-conserving, pure, bound: none"},
		{use("max-wait", "wait", "30s"), "work-conserving, load-work-conserving, pure, bound: 3 visits after 30s"},
		{use("max-wait", "gated", false), "work-conserving, load-work-conserving, pure, bound: none"},
		{use("waste"), "work-conserving, load-work-conserving, pure, bound: 3 visits after 30s"},
		{use("waste", "beta", 0.01, "floor", "7s"), "work-conserving, load-work-conserving, pure, bound: 3 visits after 70ms"},
		{use("drr"), "work-conserving, load-work-conserving, pure, bound: 3 visits"},
		{use("wfq"), "work-conserving, load-work-conserving, pure, bound: none"},
		{use("time-slice"), "waits, pure, bound: 3 visits after 15s"},
		{use("cost-aware", "max_wait", "1m"), "waits, times of its own, pure, bound: 3 visits after 60s"},
		{use("largest-feasible"), "work-conserving, load-work-conserving, pure, bound: none"},
		{policies.Spec{Use: "polling", Evict: axis("ttl")}, "work-conserving, evicts by rule, pure, bound: 3 visits"},
		{policies.Spec{Use: "longest", Batch: axis("delay")}, "waits, pure, bound: none"},
	} {
		b, err := policies.Builtin().New(c.spec, env)
		if err != nil {
			t.Fatal(err)
		}
		if got := b.Contracts.String(); got != c.want {
			t.Errorf("%s: %s, want %s", c.spec.Use, got, c.want)
		}
	}
}

func TestClairvoyance(t *testing.T) {
	env := policies.Env{Models: abc(), Devices: gpu(8)}
	for _, evict := range []string{"lru", "belady"} {
		b, err := policies.Builtin().New(policies.Spec{Use: "fifo", Evict: axis(evict)}, env)
		if err != nil {
			t.Fatal(err)
		}
		_, foresees := b.Policy.(scheduler.Clairvoyant)
		if want := evict == "belady"; b.Clairvoyant != want || foresees != want {
			t.Errorf("%s: clairvoyant %v, foresees %v", evict, b.Clairvoyant, foresees)
		}
	}
}

func TestList(t *testing.T) {
	var names []string
	for _, e := range policies.Builtin().List() {
		names = append(names, e.Name)
		if e.Doc == "" || (e.Kind == policies.KindSelector || e.Kind == policies.KindWhole) && e.Contracts == "" {
			t.Errorf("%s %s says too little of itself", e.Kind, e.Name)
		}
		if (e.Kind == policies.KindPreset) != (e.Deviations != "") {
			t.Errorf("%s %s: deviations %q", e.Kind, e.Name, e.Deviations)
		}
		for _, p := range e.Params {
			if p.Doc == "" || p.Accepts() == "" {
				t.Errorf("%s %s: parameter %s says too little of itself", e.Kind, e.Name, p.Name)
			}
		}
	}
	for _, want := range []string{"seed", "semaphore", "sticky", "fifo", "longest", "oldest", "max-wait", "polling", "priority", "edf-setup", "hysteresis", "cmu-setup", "waste", "largest-feasible", "time-slice", "cost-aware", "drr", "wfq", "qlm", "symphony", "clockwork", "nexus"} {
		if !slices.Contains(names, want) {
			t.Errorf("there is no %s", want)
		}
	}
}

// stubborn is a selector of one's own: always the highest id.
type stubborn struct{}

func (stubborn) Select(_ *scheduler.View, c *policies.Candidates) scheduler.ModelID {
	last := scheduler.NoModel
	for m := c.Next(0); m != scheduler.NoModel; m = c.Next(m + 1) {
		last = m
	}
	return last
}

func TestAdd(t *testing.T) {
	set := policies.Builtin()
	e := policies.Entry{Name: "stubborn", Kind: policies.KindSelector, Doc: "the highest id", New: func(*policies.Args) (any, error) { return stubborn{}, nil }}
	if err := set.Add(e); err != nil {
		t.Fatal(err)
	}
	if set.Add(e) == nil {
		t.Error("a name was taken twice")
	}
	for _, kind := range []policies.Kind{"", "selectors"} {
		if err := set.Add(policies.Entry{Name: "kindless", Kind: kind, New: e.New}); err == nil || !strings.Contains(err.Error(), "selector, whole, preset") {
			t.Errorf("a kind of %q: %v", kind, err)
		}
	}
	s := scenario{models: ones(abc()), devices: gpu(8), items: burst(0, "ABCAB"), set: set, spec: policies.Spec{Use: "stubborn", Evict: axis("single")}}
	if o := s.run(t); o.order() != "CBBAA" {
		t.Errorf("batches %s, want CBBAA", o.order())
	}
	wrong := policies.Entry{Name: "wrong", Kind: policies.KindVisit, New: func(*policies.Args) (any, error) { return 42, nil }}
	if err := set.Add(wrong); err != nil {
		t.Fatal(err)
	}
	if _, err := set.New(policies.Spec{Use: "fifo", Visit: axis("wrong")}, policies.Env{Models: abc(), Devices: gpu(8)}); err == nil {
		t.Error("an int passed for a visit")
	}
}
