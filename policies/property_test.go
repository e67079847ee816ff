package policies_test

import (
	"slices"
	"testing"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/results/metrics"
	"github.com/vramsim/vramsim/scheduler"
	"pgregory.net/rapid"
)

// drawModels draws up to six models that fit a device of 10 GB, times and
// sizes biased to ties and to the boundary.
func drawModels(r *rapid.T) []scheduler.Model {
	var models []scheduler.Model
	for i := range rapid.IntRange(1, 6).Draw(r, "models") {
		m := model(string(rune('a'+i)), float64(rapid.SampledFrom([]int{1, 2, 3, 4, 5, 8}).Draw(r, "gb")),
			rapid.SampledFrom([]scheduler.Time{0, 1, sec, 5 * sec}).Draw(r, "load"), rapid.IntRange(1, 4).Draw(r, "max"),
			rapid.SampledFrom([]scheduler.Time{0, sec}).Draw(r, "base"), rapid.SampledFrom([]scheduler.Time{1, sec, 2 * sec}).Draw(r, "per"))
		m.Unload = rapid.SampledFrom([]scheduler.Time{0, 0, sec, 3 * sec}).Draw(r, "unload")
		m.Group = rapid.SampledFrom([]string{"", "x", "y"}).Draw(r, "group")
		if rapid.IntRange(0, 3).Draw(r, "memory") == 0 {
			m.Batch.Memory = scheduler.GB
		}
		models = append(models, m)
	}
	return models
}

func drawItems(r *rapid.T, models int, plain bool) []arrival {
	var items []arrival
	at := scheduler.Time(0)
	for i := range rapid.IntRange(1, 30).Draw(r, "items") {
		at += rapid.SampledFrom([]scheduler.Time{0, 0, 0, 1, sec / 2, sec, 7 * sec}).Draw(r, "gap")
		it := arrival{at: at, model: scheduler.ModelID(rapid.IntRange(0, models-1).Draw(r, "model"))}
		if !plain {
			it.priority = int32(rapid.IntRange(-1, 1).Draw(r, "priority"))
			it.work = rapid.SampledFrom([]int64{0, 0, 1, 2_500_000}).Draw(r, "work")
			it.tenant = rapid.Int64Range(0, 2).Draw(r, "tenant")
			if rapid.IntRange(0, 2).Draw(r, "due") == 0 {
				it.deadline = at + rapid.SampledFrom([]scheduler.Time{1, 3 * sec, 20 * sec}).Draw(r, "slo")
			}
		}
		if i > 0 && rapid.IntRange(0, 3).Draw(r, "dependency") == 0 {
			it.after = []int{rapid.IntRange(0, i-1).Draw(r, "after")}
		}
		items = append(items, it)
	}
	return items
}

func drawAxis(r *rapid.T, label string, values ...policies.Axis) policies.Axis {
	return rapid.SampledFrom(values).Draw(r, label)
}

var (
	someUses = []policies.Spec{use("sticky"), use("sticky", "prefer", "resident"), use("fifo"), use("fifo", "fill", true), use("fifo", "skip", true),
		use("fifo", "bypass", true), use("longest"), use("longest", "by", "work"), use("longest", "prefer", "resident"), use("oldest"),
		use("max-wait", "wait", "3s"), use("max-wait", "wait", "0s"), use("max-wait", "wait", "2s", "gated", false), use("polling"), use("priority"),
		use("hysteresis"), use("edf-setup"), use("edf-setup", "h", "4s"), use("cmu-setup"), use("cmu-setup", "aging", "2s"),
		use("waste"), use("waste", "beta", 0.3), use("waste", "beta", 1, "floor", "3s"), use("largest-feasible"),
		use("drr"), use("drr", "quantum", "3s"), use("drr", "quantum", "1ns"), use("wfq"), use("wfq", "turns", true),
		use("cost-aware"), use("cost-aware", "max_wait", "4s", "min_active", "1s", "factor", 0.25), use("time-slice"), use("time-slice", "max_wait", "4s", "min_active", "0s"), use("qlm"), use("qlm", "bucket", "5s")}
	someWholes = []policies.Spec{use("seed"), use("seed", "ties", "lowest"), use("semaphore"), use("semaphore", "k", 1), use("symphony"),
		use("clockwork"), use("clockwork", "window", "1ns"), use("nexus"), use("nexus", "epoch", "1s")}
	someVisits = []policies.Axis{{}, {}, axis("exhaustive"), axis("gated"), axis("limited", "items", 2), axis("limited", "batches", 1), axis("timed", "quantum", "2s"),
		axis("linger", "wait", "1s"), axis("residency", "min", "3s")}
	someBatchers = []policies.Axis{{}, {}, {}, axis("delay", "wait", "2s", "prefer", []any{int64(2)}), axis("accumulate", "items", 3, "timeout", "4s"), axis("slo-largest"), axis("deferred")}
	someEvictors = []policies.Axis{{}, axis("fifo"), axis("lfu"), axis("largest"), axis("random"), axis("single"), axis("count", "max", 2), axis("ttl", "idle", "0s"),
		axis("ttl", "idle", "2s"), axis("belady"), axis("groups"), axis("groups", "exclusive", false), axis("demand"), axis("landlord"), axis("gdsf"), axis("min-cost"),
		axis("keep-alive", "idle", "1s"), axis("keep-alive", "idle", "0s", "max", 2), axis("keep-alive", "idle", "-1s"), axis("matrix"), axis("matrix")}
	somePrefetchers = []policies.Axis{{}, {}, axis("next"), axis("dag")}
	somePlacers     = []policies.Axis{{}, axis("first"), axis("best-fit"), axis("most-free"), axis("lru-age")}
	someAdmitters   = []policies.Axis{{}, {}, axis("queue-cap", "items", 2), axis("deadline"), axis("late")}
	someOrders      = []policies.Axis{{}, {}, axis("deadline"), axis("work"), axis("aging", "step", "2s"), axis("tenant-drr")}
)

func drawComposition(r *rapid.T) policies.Spec {
	if rapid.IntRange(0, 9).Draw(r, "whole") < 2 {
		return rapid.SampledFrom(someWholes).Draw(r, "use")
	}
	s := rapid.SampledFrom(someUses).Draw(r, "use")
	s.Visit, s.Batch, s.Evict = drawAxis(r, "visit", someVisits...), drawAxis(r, "batch", someBatchers...), drawAxis(r, "evict", someEvictors...)
	s.Prefetch, s.Place = drawAxis(r, "prefetch", somePrefetchers...), drawAxis(r, "place", somePlacers...)
	s.Admit, s.Order = drawAxis(r, "admit", someAdmitters...), drawAxis(r, "order", someOrders...)
	return s
}

// complete gives spec the parameters that depend on the models.
func complete(r *rapid.T, spec *policies.Spec, models []scheduler.Model) {
	if spec.Evict.Name != "matrix" {
		return
	}
	sets, costs := []any{}, map[string]any{}
	for range rapid.IntRange(0, 3).Draw(r, "sets") {
		set := []any{}
		for i := range models {
			if rapid.Bool().Draw(r, "in") {
				set = append(set, models[i].Name)
			}
		}
		sets = append(sets, set)
	}
	for i := range models {
		costs[models[i].Name] = rapid.IntRange(1, 3).Draw(r, "cost")
	}
	spec.Evict = axis("matrix", "sets", sets, "costs", costs)
}

// drawBounded draws one of the compositions that bound waiting on one device.
func drawBounded(r *rapid.T) policies.Spec {
	s := rapid.SampledFrom([]policies.Spec{use("fifo"), {Use: "fifo", Visit: axis("limited")}, use("semaphore"), use("nexus"), use("nexus", "epoch", "1s"), use("oldest"), {Use: "oldest", Visit: axis("exhaustive")},
		{Use: "oldest", Visit: axis("linger", "wait", "1s")}, use("max-wait", "wait", "3s"), use("max-wait", "wait", "0s"), use("max-wait", "wait", "20s", "prefer", "resident"),
		use("waste", "beta", 0), use("waste", "beta", 0.3), use("waste", "beta", 1, "floor", "1s"), use("waste", "beta", 2, "fill", false),
		use("time-slice"), use("time-slice", "max_wait", "3s", "min_active", "1s"), use("time-slice", "max_wait", "0s", "min_active", "0s"),
		use("cost-aware"), use("cost-aware", "max_wait", "3s", "min_active", "1s"), use("cost-aware", "max_wait", "6s", "min_active", "0s", "window", "0s", "factor", 0),
		use("drr"), use("drr", "quantum", "1ns"), {Use: "drr", Params: map[string]any{"quantum": "3s"}, Visit: axis("gated")},
		use("polling"), {Use: "polling", Visit: axis("gated")}, {Use: "polling", Visit: axis("limited")}, {Use: "polling", Visit: axis("timed", "quantum", "2s")}}).Draw(r, "use")
	if !whole(s.Use) {
		s.Batch, s.Evict, s.Prefetch = drawAxis(r, "batch", someBatchers...), drawAxis(r, "evict", someEvictors...), drawAxis(r, "prefetch", somePrefetchers...)
	}
	return s
}

func drawDevices(r *rapid.T, most int) []scheduler.Device {
	var devices []scheduler.Device
	for i := range rapid.IntRange(1, most).Draw(r, "devices") {
		d := gpu(12)[0]
		d.Name = string(rune('0' + i))
		d.Budget = scheduler.GB * rapid.SampledFrom([]scheduler.Bytes{9, 10, 12}).Draw(r, "budget")
		d.Slots = rapid.SampledFrom([]int{1, 1, 2}).Draw(r, "slots")
		devices = append(devices, d)
	}
	return devices
}

// Every composition drains every world: all invariants hold after each step,
// both replays agree, and once nothing more fails everything ends.
func TestEveryCompositionDrains(t *testing.T) {
	var witnessed struct{ retries, rejections, claims, elsewhere int }
	rapid.Check(t, func(r *rapid.T) {
		s := scenario{models: drawModels(r), devices: drawDevices(r, 3), spec: drawComposition(r), env: policies.Env{Seed: rapid.Uint64().Draw(r, "seed")}}
		complete(r, &s.spec, s.models)
		s.items = drawItems(r, len(s.models), false)
		failing := rapid.IntRange(0, 3).Draw(r, "failing")
		count := 0
		s.failed = func(scheduler.Event) bool {
			count++
			return failing > 0 && count%(failing+1) == 0
		}
		o, err := s.try(t)
		if err != nil {
			r.Fatalf("%+v: %v\n%s", s.spec, err, o.dump())
		}
		c := o.counts
		if c.Done+c.Failed+c.Rejected+c.Cancelled != int64(len(s.items)) {
			r.Fatalf("%+v: not drained: %+v\n%s", s.spec, c, o.dump())
		}
		for _, ev := range o.events {
			switch {
			case ev.Kind == scheduler.BatchFailed:
				witnessed.retries++
			case ev.Kind == scheduler.ItemRejected:
				witnessed.rejections++
			case ev.Kind == scheduler.LoadClaimed:
				witnessed.claims++
			case ev.Kind == scheduler.BatchStarted && ev.Device > 0:
				witnessed.elsewhere++
			}
		}
	})
	if witnessed.retries == 0 || witnessed.rejections == 0 || witnessed.claims == 0 || witnessed.elsewhere == 0 {
		t.Errorf("the worlds do not reach what they are for: %+v", witnessed)
	}
}

// contract follows a log and holds it to what was declared.
type contract struct {
	fail   func(format string, args ...any)
	built  policies.Built
	state  *scheduler.StateReplay
	visits map[scheduler.ItemID]int // to others while the item waits
	last   scheduler.ModelID
	fill   bool
	latest int64 // Seq of the batch being put together
}

func (c *contract) follow(events []scheduler.Event) {
	for i, ev := range events {
		if i > 0 && ev.First() {
			c.atRest()
		}
		if err := c.state.Append([]scheduler.Event{ev}); err != nil {
			c.fail("%v", err)
		}
		c.saw(ev)
	}
}

func (c *contract) saw(ev scheduler.Event) {
	v := c.state.Core.View()
	switch ev.Kind {
	case scheduler.Note:
		c.fill = ev.ID == scheduler.ReasonFill
	case scheduler.MemberDispatched:
		item, _ := v.ItemByID(ev.Item())
		c.latest = max(c.latest, item.Seq)
	case scheduler.BatchStarted:
		c.inOrder(v, ev)
		if !c.fill && ev.Model != c.last {
			c.visited(v, ev)
		}
		if !c.fill {
			c.last = ev.Model
		}
		c.fill, c.latest = false, -1
	case scheduler.LoadClaimed, scheduler.LoadStarted, scheduler.EvictStarted:
		c.fill = false
	}
}

// inOrder: bypass 0, no younger item of another model starts first.
func (c *contract) inOrder(v *scheduler.View, ev scheduler.Event) {
	if c.built.Contracts.Bound.Kind != policies.InOrder {
		return
	}
	for m := v.NextReady(0); m != scheduler.NoModel; m = v.NextReady(m + 1) {
		if m != ev.Model && v.OldestSeq(m) < c.latest {
			c.fail("at %v an item of model %d started before an older one of model %d", ev.At, ev.Model, m)
		}
	}
}

// visited: at most N visits to others while an item waits.
func (c *contract) visited(v *scheduler.View, ev scheduler.Event) {
	bound := c.built.Contracts.Bound
	if bound.Kind != policies.Visits && bound.Kind != policies.VisitsAfter {
		return
	}
	for m := v.NextReady(0); m != scheduler.NoModel; m = v.NextReady(m + 1) {
		v.Each(m, func(item scheduler.Item) bool {
			switch {
			case m == ev.Model:
				c.visits[item.ID] = 0
			case bound.Kind == policies.Visits || ev.At-item.ReadyAt > bound.After:
				if c.visits[item.ID]++; c.visits[item.ID] > bound.N {
					c.fail("at %v item %d of model %d waits since %v while others were visited %d times", ev.At, item.ID, m, item.ReadyAt, c.visits[item.ID])
				}
			}
			return true
		})
	}
}

// atRest: no slot idles beside work that could run, or load.
func (c *contract) atRest() {
	v, declared := c.state.Core.View(), c.built.Contracts
	if !declared.WorkConserving {
		return
	}
	for d := range scheduler.DeviceID(v.Devices()) {
		if v.FreeSlots(d) == 0 || v.Running(d) > 0 {
			continue // a model may wait for the busy ones to leave
		}
		for m := v.NextReady(0); m != scheduler.NoModel; m = v.NextReady(m + 1) {
			if v.Fits(d, m) > 0 {
				c.fail("at %v device %d idles beside %d items for the resident model %d", v.Now(), d, v.Ready(m), m)
			}
			if declared.LoadWorkConserving && v.Loadable(d, m) && !c.underWay(v, d) {
				c.fail("at %v device %d idles while model %d with %d items could load", v.Now(), d, m, v.Ready(m))
			}
		}
	}
}

// underWay reports whether something leaves so that the chosen model can come.
func (c *contract) underWay(v *scheduler.View, d scheduler.DeviceID) bool {
	return slices.ContainsFunc(v.Residents(d), func(m scheduler.ModelID) bool { return v.State(d, m) == scheduler.Evicting })
}

// Declared contracts hold.
func TestContracts(t *testing.T) {
	checked := map[string]int{}
	rapid.Check(t, func(r *rapid.T) {
		s := scenario{models: drawModels(r), devices: drawDevices(r, 2), spec: drawComposition(r)}
		s.spec.Admit = policies.Axis{}
		if rapid.Bool().Draw(r, "bounded") {
			s.devices, s.spec = s.devices[:1], drawBounded(r)
		}
		complete(r, &s.spec, s.models)
		s.items = drawItems(r, len(s.models), true)
		o, err := s.try(t)
		if err != nil {
			r.Fatalf("%+v: %v\n%s", s.spec, err, o.dump())
		}
		cfg, built := s.config(t)
		state, err := scheduler.NewStateReplay(cfg)
		if err != nil {
			r.Fatal(err)
		}
		c := contract{fail: r.Fatalf, built: built, state: state, visits: map[scheduler.ItemID]int{}, last: scheduler.NoModel, latest: -1}
		c.follow(o.events)
		if bypass := maxBypass(r, &cfg, o.events); built.Contracts.Bound.Kind == policies.InOrder && bypass != 0 {
			r.Fatalf("%+v declares %v, max_bypass is %v", s.spec, built.Contracts.Bound, bypass)
		} else if bypass > 0 {
			checked["overtaking"]++
		}
		checked[boundKinds[built.Contracts.Bound.Kind]]++
		if built.Contracts.WorkConserving {
			checked["work-conserving"]++
		}
		if built.Contracts.LoadWorkConserving {
			checked["load-work-conserving"]++
		}
	})
	for _, name := range append(boundKinds, "overtaking", "work-conserving", "load-work-conserving") {
		if checked[name] == 0 {
			t.Errorf("no case with %s: %v", name, checked)
		}
	}
}

// boundKinds are the names of the forms of a bound.
var boundKinds = []string{policies.Unbounded: "no bound", policies.InOrder: "bypass 0", policies.Visits: "a bound of visits", policies.VisitsAfter: "a bound of visits after a wait"}

// maxBypass is the metric of that name.
func maxBypass(r *rapid.T, cfg *scheduler.Config, events []scheduler.Event) float64 {
	fold, err := metrics.New(metrics.Config{Models: cfg.Models, Devices: cfg.Devices})
	if err != nil {
		r.Fatal(err)
	}
	if err := fold.Append(events); err != nil {
		r.Fatal(err)
	}
	return fold.Result().Values[metrics.MaxBypass]
}

// Contracts that are not declared are broken where the check can see it: the
// checks can fail.
func TestUndeclaredContractsHaveWitnesses(t *testing.T) {
	for _, c := range []struct {
		name  string
		s     scenario
		claim policies.Contracts
	}{
		{"sticky is not in order", scenario{models: ones(abc()), devices: gpu(4), items: burst(0, "ABA"), spec: use("sticky")},
			policies.Contracts{Bound: policies.Bound{Kind: policies.InOrder}}},
		{"longest starves", scenario{models: ones(abc()), devices: gpu(12), items: burst(0, "AAAAAAABBBBBBBC"), spec: use("longest", "fill", false)},
			policies.Contracts{Bound: policies.Bound{Kind: policies.Visits, N: 3}}},
		{"fifo without fill idles", scenario{models: ones(abc()), devices: gpu(8), items: append(burst(0, "A"), burst(5500*scheduler.Millisecond, "BA")...), spec: use("fifo")},
			policies.Contracts{WorkConserving: true}},
		{"lingering idles", scenario{models: ones(abc()), devices: gpu(8), items: append(burst(0, "A"), burst(5500*scheduler.Millisecond, "B")...), spec: policies.Spec{Use: "sticky", Visit: axis("linger", "wait", "5s")}},
			policies.Contracts{WorkConserving: true, LoadWorkConserving: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := c.s.run(t)
			cfg, _ := c.s.config(t)
			state, err := scheduler.NewStateReplay(cfg)
			if err != nil {
				t.Fatal(err)
			}
			breaches := 0
			check := contract{fail: func(string, ...any) { breaches++ }, built: policies.Built{Contracts: c.claim}, state: state,
				visits: map[scheduler.ItemID]int{}, last: scheduler.NoModel, latest: -1}
			check.follow(o.events)
			if breaches == 0 {
				t.Error("the contract that is not declared held")
			}
		})
	}
}
