package policies_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/policies/policytest"
	"github.com/vramsim/vramsim/scheduler"
)

var goals = []policies.Goal{policies.FewestLoads, policies.ShortestMakespan, policies.LeastLatency}

func optimum(t testing.TB, w *policytest.World, goal policies.Goal) int64 {
	t.Helper()
	v, err := policies.Optimum(policies.OptimumConfig{Models: w.Models, Devices: w.Devices, HostMemory: w.HostMemory}, w.Arrivals(), goal)
	if err != nil {
		t.Fatalf("%v in %v", err, w)
	}
	return v
}

// trying is a policy that makes the choices it is told, one of all legal
// decisions and idling each time, and counts what there was to choose from.
type trying struct {
	script  []int
	options []int
	loads   int // at most
}

func (p *trying) Next(v *scheduler.View) scheduler.Decision {
	all := []scheduler.Decision{}
	for m := range scheduler.ModelID(v.Models()) {
		for n := v.Fits(0, m); n > 0; n-- {
			all = append(all, scheduler.Run(0, m, n))
		}
		// More loads than items serve nobody.
		if p.loads > 0 && v.Loadable(0, m) {
			all = append(all, scheduler.Load(0, m))
		}
		if v.Evictable(0, m) && v.BatchesSinceLoad(0, m) > 0 {
			all = append(all, scheduler.Evict(0, m))
		}
	}
	all = append(all, scheduler.Decision{})
	choice := 0
	if i := len(p.options); i < len(p.script) {
		choice = p.script[i]
	}
	p.options = append(p.options, len(all))
	if all[choice].Kind == scheduler.DecideLoad {
		p.loads--
	}
	return all[choice]
}

// bruteForce tries all that any policy could decide in w, with every order of
// the queues, through the core itself; false if that is too much.
func bruteForce(t *testing.T, w *policytest.World) (least [3]int64, ok bool) {
	t.Helper()
	for i := range least {
		least[i] = 1 << 62
	}
	runs := 0
	permute(len(w.Items), func(order []int) {
		script := []int{}
		for ; runs < 5000; runs++ {
			p := &trying{script: script, loads: len(w.Items)}
			core, err := scheduler.New(scheduler.Config{Models: w.Models, Devices: w.Devices, Policy: p, Waits: true,
				Order: scheduler.OrderFunc(func(item scheduler.Item) int64 { return int64(order[item.ID]) })})
			if err != nil {
				t.Fatal(err)
			}
			o := &policytest.Outcome{}
			if err := scheduler.Drive(context.Background(), core, w.Machine(), (*events)(&o.Events)); err != nil {
				t.Fatal(err)
			}
			if core.Counts().Done == int64(len(w.Items)) {
				loads, end, sum := int64(0), int64(0), int64(0)
				sizes := map[int64]int{}
				for seq, ev := range o.Events {
					switch ev.Kind {
					case scheduler.LoadStarted:
						loads++
					case scheduler.BatchStarted:
						sizes[int64(seq)] = ev.Members()
					case scheduler.BatchFinished:
						end = int64(ev.At)
						sum += int64(ev.At) * int64(sizes[ev.ID])
					}
				}
				for i := range w.Items {
					sum -= int64(w.Items[i].At)
				}
				least = [3]int64{min(least[0], loads), min(least[1], end), min(least[2], sum)}
			}
			// The next script in the order of an odometer.
			script = append(script, make([]int, len(p.options)-len(script))...)
			i := len(script) - 1
			for i >= 0 && script[i]+1 == p.options[i] {
				i--
			}
			if i < 0 {
				return
			}
			script = append(script[:i:i], script[i]+1)
		}
	})
	return least, runs < 5000
}

type events []scheduler.Event

func (e *events) Append(more []scheduler.Event) error {
	*e = append(*e, more...)
	return nil
}

// permute calls f with every order of n places.
func permute(n int, f func(order []int)) {
	order := make([]int, n)
	used := make([]bool, n)
	var place func(i int)
	place = func(i int) {
		if i == n {
			f(order)
			return
		}
		for k := range n {
			if !used[k] {
				used[k], order[i] = true, k
				place(i + 1)
				used[k] = false
			}
		}
	}
	place(0)
}

// The optimum is the least of everything that can be decided.
func TestOptimumIsTheLeast(t *testing.T) {
	shape := policytest.Small()
	shape.Models, shape.Items, shape.Memory, shape.Tags = 3, 3, true, true
	compared := 0
	for key := range uint64(60) {
		w := policytest.Draw(key, shape)
		least, ok := bruteForce(t, w)
		if !ok {
			continue
		}
		compared++
		for i, goal := range goals {
			if got := optimum(t, w, goal); got != least[i] {
				t.Errorf("goal %d: %d, the least is %d in %v", goal, got, least[i], w)
			}
		}
	}
	if compared < 30 {
		t.Errorf("only %d worlds are small enough", compared)
	}
}

// bound ≤ opt ≤ every policy.
func TestOptimumIsBetween(t *testing.T) {
	set := policies.Builtin()
	shape := policytest.Small()
	shape.Items, shape.Memory, shape.Tags = 7, true, true
	tight := 0
	for key := range uint64(150) {
		w := policytest.Draw(key, shape)
		var best [3]int64
		for i, goal := range goals {
			best[i] = optimum(t, w, goal)
		}
		b := w.Bounds()
		if best[0] < b.Loads || best[1] < int64(b.Makespan) || float64(best[2]) < b.MeanLatency*1e9*float64(len(w.Items))-float64(len(w.Items)) {
			t.Errorf("the optimum %v is below the bounds %+v in %v", best, b, w)
		}
		for _, name := range set.Policies() {
			o, err := w.Run(set, use(name))
			if err != nil {
				t.Fatal(err)
			}
			if o.Counts.Done < int64(len(w.Items)) {
				continue // what is rejected takes no time
			}
			got := [3]int64{int64(o.Loads), int64(o.End), int64(o.Latencies(w))}
			for i := range goals {
				if got[i] < best[i] {
					t.Errorf("%s: %v, below the optimum %v in %v", name, got, best, w)
				}
				if got[i] == best[i] {
					tight++
				}
			}
		}
	}
	if tight < 1000 {
		t.Errorf("a policy reaches the optimum %d times", tight)
	}
}

// Two models fit beside each other, but not with a batch of the first, which
// the second has to leave for; only when it is needed again is it loaded again.
func TestFewestLoads(t *testing.T) {
	a, b := model("a", 2, sec, 1, 0, sec), model("b", 2, sec, 1, 0, sec)
	a.Batch.Memory = scheduler.GB
	w := &policytest.World{Models: []scheduler.Model{a, b}, Devices: gpu(4),
		Items: []policytest.Item{{Model: 0}, {Model: 1, After: []int{0}}, {Model: 0, After: []int{1}}}}
	if got := optimum(t, w, policies.FewestLoads); got != 2 {
		t.Errorf("%d loads, want 2", got)
	}
	w.Items = append(w.Items, policytest.Item{Model: 1, After: []int{2}})
	if got := optimum(t, w, policies.FewestLoads); got != 3 {
		t.Errorf("%d loads, want 3", got)
	}
}

// The largest that is allowed is found in seconds.
func TestOptimumOfTheLargest(t *testing.T) {
	shape := policytest.Small()
	for key := range uint64(20) {
		w := policytest.Draw(key, shape)
		for i := 0; len(w.Items) < policies.MaxOptimumItems; i++ {
			w.Items = append(w.Items, policytest.Item{At: w.Items[len(w.Items)-1].At + scheduler.Time(i%3)*sec, Model: scheduler.ModelID(i % len(w.Models))})
		}
		for _, goal := range goals {
			optimum(t, w, goal)
		}
	}
}

func TestOptimumRefuses(t *testing.T) {
	w := policytest.Draw(1, policytest.Small())
	many := *w
	many.Items = slices.Repeat(w.Items[:1], policies.MaxOptimumItems+1)
	models := *w
	models.Models = slices.Repeat(w.Models[:1], policies.MaxOptimumModels+1)
	devices := *w
	devices.Devices = slices.Repeat(w.Devices, 2)
	slots := *w
	slots.Devices = slices.Clone(w.Devices)
	slots.Devices[0].Slots = 2
	host := *w
	host.HostMemory = 1
	never := *w
	never.Items = slices.Clone(w.Items)
	never.Items[0].After = []int{0}
	for name, w := range map[string]*policytest.World{"items": &many, "models": &models, "devices": &devices, "slots": &slots, "host": &host, "never": &never} {
		for _, goal := range goals {
			if _, err := policies.Optimum(policies.OptimumConfig{Models: w.Models, Devices: w.Devices, HostMemory: w.HostMemory}, w.Arrivals(), goal); !errors.Is(err, policies.ErrNoOptimum) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if v, err := policies.Optimum(policies.OptimumConfig{Models: w.Models, Devices: w.Devices}, nil, policies.FewestLoads); v != 0 || err != nil {
		t.Errorf("of nothing: %d, %v", v, err)
	}
}
