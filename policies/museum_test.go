package policies_test

import (
	"errors"
	"testing"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/policies/policytest"
	"github.com/vramsim/vramsim/scheduler"
)

// Bugs that other schedulers had, named owner/repository#issue. Every shipped
// policy passes them, or those that declare what the bug breaks.
func TestMuseum(t *testing.T) {
	for _, c := range []struct {
		name string
		test func(*testing.T)
	}{
		{"ollama/ollama#17408", victimGetsAnItem}, {"ollama/ollama#14407", neverPausing}, {"ollama/ollama#17309", evictionsEndInAnotherOrder},
		{"ollama/ollama#14578", residentRunsDuringLoad}, {"mostlygeek/llama-swap#281", manyItemsOneColdModel},
		{"mostlygeek/llama-swap#946", arrivalDuringTimedEviction}, {"mostlygeek/llama-swap#612", groupedByModel}, {"ollama/ollama#18282", neverFits}, {"kserve/modelmesh-serving#455", fewVictims},
		{"ggml-org/llama.cpp#21678", endsBeforeLeaving}, {"ggml-org/llama.cpp#28698", runsBeforeLeaving},
	} {
		t.Run(c.name, c.test)
	}
}

// every runs s under every policy, and the composed ones with some evictors.
func every(t *testing.T, s scenario, check func(t *testing.T, spec policies.Spec, o *outcome)) {
	t.Helper()
	for _, name := range policies.Builtin().Policies() {
		specs := []policies.Spec{use(name)}
		if !whole(name) {
			specs = append(specs, policies.Spec{Use: name, Evict: axis("single")}, policies.Spec{Use: name, Evict: axis("ttl", "idle", "1s")}, policies.Spec{Use: name, Prefetch: axis("next")})
		}
		for _, spec := range specs {
			s.spec = spec
			check(t, spec, s.run(t))
		}
	}
}

// The victim of b's load gets an item while it leaves: b still starts, and the
// victim comes back. It had been there long enough for policies that wait.
func victimGetsAnItem(t *testing.T) {
	s := scenario{models: abc(), devices: gpu(4), items: append(burst(0, "A"), append(burst(17*sec, "B"), burst(19500*ms, "A")...)...)}
	s.models[0].Unload = 3 * sec
	every(t, s, func(t *testing.T, spec policies.Spec, o *outcome) {
		// With evict: single the choice is made again once a has left.
		if o.order() != "ABA" && spec.Evict.Name != "single" || o.Counts.Done != 3 {
			t.Errorf("%+v: %s", spec, o.order())
		}
	})
}

// alone is a set of one policy without state, twin: one that has the bug.
func alone(t *testing.T, p scheduler.Policy) *policies.Set {
	set := &policies.Set{}
	if err := set.Add(policies.Entry{Name: "twin", Kind: policies.KindWhole, New: func(*policies.Args) (any, error) { return p, nil }}); err != nil {
		t.Fatal(err)
	}
	return set
}

// The items of a never pause; whoever declares a bound visits b within it.
func neverPausing(t *testing.T) {
	s := scenario{models: ones(abc()), devices: gpu(4), items: burst(0, "AB")}
	for i := range 300 {
		s.items = append(s.items, arrival{at: scheduler.Time(i) * 500 * ms})
	}
	every(t, s, func(t *testing.T, spec policies.Spec, o *outcome) {
		// Exhaustive visits do not end here: the bound of polling is void.
		if o.Built.Contracts.Bound.Kind == policies.Unbounded || spec.Use == "polling" {
			return
		}
		if at := o.firstOf(1); at > 80*sec {
			t.Errorf("%s declares %v, b ran at %v", spec.Use, o.Built.Contracts.Bound, at)
		}
	})
}

// Two victims, the first chosen leaves last: the load starts when both are gone.
func evictionsEndInAnotherOrder(t *testing.T) {
	s := scenario{models: abc(), devices: gpu(9), spec: use("sticky"), items: append(burst(0, "A"), append(burst(10*sec, "B"), burst(20*sec, "C")...)...)}
	s.models[2].Bytes = 8 * scheduler.GB
	s.models[0].Unload, s.models[1].Unload = 5*sec, sec
	if o := s.run(t); o.Evicts != 2 || o.firstOf(2) != 30*sec {
		t.Errorf("%d evictions, c ran at %v; want 2 and 30s", o.Evicts, o.firstOf(2))
	}
}

// Items for the resident c while a leaves and b loads: work-conserving
// policies run them at once.
func residentRunsDuringLoad(t *testing.T) {
	items := append(burst(0, "C"), append(burst(10*sec, "A"), append(burst(17*sec, "C"), append(burst(20*sec, "B"), burst(21*sec, "C")...)...)...)...)
	s := scenario{models: ones(abc()), devices: gpu(8), items: items}
	s.models[0].Unload = 2 * sec
	every(t, s, func(t *testing.T, spec policies.Spec, o *outcome) {
		if !o.Built.Contracts.WorkConserving || spec.Evict.Name != "" {
			return
		}
		if last := o.Batches[3]; last.Model != 2 || last.At != 21*sec || !last.Fill {
			t.Errorf("%s: batches %v, want c's last at 21s while b comes", spec.Use, o.Batches)
		}
	})
}

func manyItemsOneColdModel(t *testing.T) {
	s := scenario{models: abc(), devices: gpu(8), items: append(burst(0, "AAA"), append(burst(sec, "AAA"), burst(4*sec, "AAA")...)...)}
	every(t, s, func(t *testing.T, spec policies.Spec, o *outcome) {
		if o.Loads != 1 || o.Counts.Done != 9 {
			t.Errorf("%+v: %d loads, %d done", spec, o.Loads, o.Counts.Done)
		}
	})
}

// A full card, a load of 1 GB and slow unloads: no more leave than needed,
// however often the policy is asked meanwhile.
func fewVictims(t *testing.T) {
	s := scenario{devices: gpu(6)}
	for i := range 6 {
		s.models = append(s.models, model(string(rune('a'+i)), 1, sec, 1, 0, sec))
		s.models[i].Unload = 10 * sec
		s.items = append(s.items, arrival{at: scheduler.Time(i) * 3 * sec, model: scheduler.ModelID(i)})
	}
	s.models = append(s.models, model("g", 1, sec, 1, 0, sec))
	for i := range 8 {
		s.items = append(s.items, arrival{at: 30*sec + scheduler.Time(i)*sec, model: 6})
	}
	every(t, s, func(t *testing.T, spec policies.Spec, o *outcome) {
		if spec.Evict.Name != "" || spec.Use == "seed" || spec.Use == "semaphore" {
			return // these keep one at a time, or let all go
		}
		if o.Evicts != 1 {
			t.Errorf("%+v: %d victims for 1 GB", spec, o.Evicts)
		}
	})
}

// One at a time, b arrives while a loads or runs: a ends first.
func endsBeforeLeaving(t *testing.T) {
	for _, at := range []scheduler.Time{2 * sec, 5500 * ms} {
		s := scenario{models: abc(), devices: gpu(12), items: append(burst(0, "A"), burst(at, "B")...)}
		for _, use := range []string{"sticky", "fifo", "oldest", "max-wait", "polling", "priority", "longest"} {
			s.spec = policies.Spec{Use: use, Evict: axis("count", "max", 1)}
			if o := s.run(t); o.order() != "AB" || o.Evicts != 1 || o.firstOf(1) != 11*sec {
				t.Errorf("%s, b at %v: %s, b ran at %v", use, at, o.order(), o.firstOf(1))
			}
		}
	}
}

// b arrives 100 ms after a: a runs before it leaves.
func runsBeforeLeaving(t *testing.T) {
	s := scenario{models: abc(), devices: gpu(4), items: append(burst(0, "A"), append(burst(100*ms, "BBB"), arrival{at: 200 * ms, model: 1, priority: 9, deadline: sec})...)}
	every(t, s, func(t *testing.T, spec policies.Spec, o *outcome) {
		if o.Batches[0].Model != 0 || o.Loads != 2 {
			t.Errorf("%+v: %s with %d loads", spec, o.order(), o.Loads)
		}
	})
}

// An arrival while its model is evicted by time is served by a load that follows
// the eviction.
func arrivalDuringTimedEviction(t *testing.T) {
	s := scenario{models: abc(), devices: gpu(8), items: append(burst(0, "A"), burst(8*sec, "A")...)}
	s.models[0].Unload = 3 * sec // 7 s … 10 s
	for _, evict := range []policies.Axis{axis("ttl", "idle", "1s"), axis("keep-alive", "idle", "1s")} {
		for _, name := range policies.Builtin().Names(policies.KindSelector) {
			s.spec = policies.Spec{Use: name, Evict: evict}
			if o := s.run(t); o.End != 16*sec || o.Loads != 2 {
				t.Errorf("%s, %s: end %v after %d loads, want 16s after 2", name, evict.Name, o.End, o.Loads)
			}
		}
	}
	s.set, s.spec = alone(t, loadsOnArrival{}), use("twin")
	var lost *scheduler.LostWakeupError
	if _, err := s.try(); !errors.As(err, &lost) {
		t.Errorf("who loads when an item arrives, and only then: %v", err)
	}
}

// loadsOnArrival forgets what arrives while its model leaves.
type loadsOnArrival struct{}

func (loadsOnArrival) Next(v *scheduler.View) scheduler.Decision {
	switch v.State(0, 0) {
	case scheduler.Absent:
		if v.ArrivedNow() > 0 {
			return scheduler.Load(0, 0)
		}
	case scheduler.Resident:
		until := v.LastUsed(0, 0) + sec
		switch {
		case v.Ready(0) > 0 && v.FreeSlots(0) > 0:
			return scheduler.Run(0, 0, 1)
		case v.Busy(0, 0):
		case v.Now() >= until:
			return scheduler.Evict(0, 0)
		default:
			if at, ok := v.Timer(); !ok || at > until {
				return scheduler.Wake(until)
			}
		}
	}
	return scheduler.Decision{}
}

// What waits is served model by model, not in the order of arrival.
func groupedByModel(t *testing.T) {
	s := scenario{models: ones(abc()), devices: gpu(4), items: burst(0, "ABAACABC")}
	for _, name := range []string{"sticky", "max-wait", "oldest", "polling", "time-slice", "llama-swap-612"} {
		s.spec = use(name)
		if o := s.run(t); o.order() != "AAAABBCC" || o.Switches != 2 {
			t.Errorf("%s: %s with %d switches, want AAAABBCC with 2", name, o.order(), o.Switches)
		}
	}
	s.spec = use("fifo")
	if o := s.run(t); o.Switches != 6 {
		t.Errorf("fifo: %s with %d switches, want 6", o.order(), o.Switches)
	}
}

// A model that can never fit is an error before anything runs. One that does not
// fit while others hold the memory drives nobody out in vain.
func neverFits(t *testing.T) {
	s := scenario{models: abc(), devices: gpu(8), items: burst(0, "AB"), spec: use("fifo")}
	s.models[1].Bytes = 8*scheduler.GB + 1
	var bad *scheduler.TooBigError
	if _, err := s.try(); !errors.As(err, &bad) {
		t.Errorf("8 GB and a byte on 8 GB: %v", err)
	}
	s.models[1].Bytes = 7 * scheduler.GB
	s.items = append(burst(0, "A"), burst(10*sec, "B")...)
	for at := scheduler.Time(11); at < 70; at += 2 {
		s.items = append(s.items, burst(at*sec, "A")...)
	}
	s.foreign = []policytest.Foreign{{At: 9 * sec, Bytes: 2 * scheduler.GB}, {At: 60 * sec}}
	every(t, s, func(t *testing.T, spec policies.Spec, o *outcome) {
		if o.Counts.Done != int64(len(s.items)) {
			t.Errorf("%+v: %d of %d done", spec, o.Counts.Done, len(s.items))
		}
		if at := o.loaded(1); at < 60*sec {
			t.Errorf("%+v: b was loaded at %v, where there was no room", spec, at)
		}
		if spec.Evict.Name != "" || spec.Use == "seed" || spec.Use == "semaphore" {
			return // these let models leave before they ask for a load
		}
		if n := evictedBefore(o, 60*sec); n > 0 {
			t.Errorf("%+v: %d evictions in vain", spec, n)
		}
	})
	s.set, s.spec = alone(t, makesRoom{}), use("twin")
	if o := s.run(t); evictedBefore(o, 60*sec) < 2 {
		t.Errorf("who evicts before asking whether that is enough makes %d evictions in vain", evictedBefore(o, 60*sec))
	}
}

func evictedBefore(o *outcome, end scheduler.Time) int {
	n := 0
	for _, ev := range o.Events {
		if ev.Kind == scheduler.EvictStarted && ev.At < end {
			n++
		}
	}
	return n
}

// makesRoom evicts whoever is idle for whoever waits, which may not be enough.
type makesRoom struct{}

func (makesRoom) Next(v *scheduler.View) scheduler.Decision {
	if v.FreeSlots(0) == 0 {
		return scheduler.Decision{}
	}
	for m := v.NextReady(0); m != scheduler.NoModel; m = v.NextReady(m + 1) {
		switch {
		case v.Fits(0, m) > 0:
			return scheduler.Run(0, m, 1)
		case v.Loadable(0, m):
			return scheduler.Load(0, m)
		}
	}
	for _, m := range v.Residents(0) {
		if v.TotalReady() > 0 && v.Evictable(0, m) {
			return scheduler.Evict(0, m)
		}
	}
	return scheduler.Decision{}
}
