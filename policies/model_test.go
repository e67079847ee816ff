package policies_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/coretest"
)

// shipped are the policies of the catalogue with the parameters that each is
// tried with.
var shipped = map[string][]policies.Spec{
	"seed":             {use("seed"), use("seed", "ties", "lowest")},
	"semaphore":        {use("semaphore"), use("semaphore", "k", 1), use("semaphore", "k", 100)},
	"sticky":           {use("sticky"), use("sticky", "prefer", "resident"), use("sticky", "fill", false)},
	"fifo":             {use("fifo"), use("fifo"), use("fifo", "skip", true), use("fifo", "bypass", true), use("fifo", "fill", true), use("fifo", "skip", true, "bypass", true)},
	"longest":          {use("longest"), use("longest", "by", "work"), use("longest", "prefer", "resident"), use("longest", "fill", false)},
	"oldest":           {use("oldest"), use("oldest", "fill", false)},
	"max-wait":         {use("max-wait", "wait", "3s"), use("max-wait", "wait", "0s"), use("max-wait", "wait", "20s", "prefer", "resident"), use("max-wait", "wait", "2s", "gated", false)},
	"polling":          {use("polling"), use("polling", "fill", false), use("polling", "skip_empty", false)},
	"priority":         {use("priority"), use("priority", "fill", false)},
	"hysteresis":       {use("hysteresis"), use("hysteresis", "h", 1)},
	"cmu-setup":        {use("cmu-setup"), use("cmu-setup", "aging", "3s")},
	"waste":            {use("waste"), use("waste", "beta", 0.5), use("waste", "beta", 0, "floor", "1ns"), use("waste", "fill", false)},
	"drr":              {use("drr"), use("drr", "quantum", "1ns"), use("drr", "quantum", "3s"), use("drr", "fill", false)},
	"wfq":              {use("wfq"), use("wfq", "turns", true), use("wfq", "fill", false)},
	"cost-aware":       {use("cost-aware"), use("cost-aware", "min_active", "0s", "window", "0s", "factor", 0), use("cost-aware", "max_wait", "2s", "min_active", "1s")},
	"time-slice":       {use("time-slice"), use("time-slice", "min_active", "0s"), use("time-slice", "max_wait", "2s", "min_active", "1s"), use("time-slice", "max_wait", "0s")},
	"largest-feasible": {use("largest-feasible"), use("largest-feasible", "fill", false)},
	"edf-setup":        {use("edf-setup"), use("edf-setup", "h", "4s"), use("edf-setup", "virtual", "1s")},
	"qlm":              {use("qlm"), use("qlm", "bucket", "1ns"), use("qlm", "bucket", "1d", "fill", false)},
	"nexus":            {use("nexus"), use("nexus", "epoch", "2s"), use("nexus", "epoch", "1ns")},
	"symphony":         {use("symphony")},
	"clockwork":        {use("clockwork"), use("clockwork", "window", "1ns"), use("clockwork", "window", "100d")},
}

// whole reports whether the named policy decides everything itself.
func whole(name string) bool {
	return slices.Contains(policies.Builtin().Names(policies.KindWhole), name)
}

// drawVariant draws a composition of the named policy: one of its parameters,
// mostly with the axes that it has by default, else with any.
func drawVariant(r *rapid.T, name string, cfg *scheduler.Config) policies.Spec {
	s := rapid.SampledFrom(shipped[name]).Draw(r, "use")
	if whole(name) {
		return s
	}
	some := func(label string, list []policies.Axis) policies.Axis {
		if rapid.IntRange(0, 2).Draw(r, label+" given") > 0 {
			return policies.Axis{}
		}
		return drawAxis(r, label, list...)
	}
	s.Visit, s.Batch, s.Prefetch = some("visit", someVisits), some("batch", someBatchers), some("prefetch", somePrefetchers)
	s.Place, s.Admit, s.Order = some("place", somePlacers), some("admit", someAdmitters), some("order", someOrders)
	if rapid.IntRange(0, 9).Draw(r, "planned") == 0 {
		plan := map[string]any{} // the first device can take them all
		for i := range cfg.Models {
			plan[cfg.Models[i].Name] = cfg.Devices[0].Name
		}
		s.Place = policies.Axis{Name: "planned", Params: map[string]any{"map": plan}}
	}
	s.Evict = drawAxis(r, "evict", someEvictors...)
	complete(r, &s, cfg.Models)
	if s.Params["skip_empty"] == false {
		s.Evict = axis("single")
	}
	if len(cfg.Devices) == 1 && rapid.IntRange(0, 5).Draw(r, "pinned") == 0 { // with several, copies of it may fill them all
		s.Pin = []string{rapid.SampledFrom([]string{"m0", "x"}).Draw(r, "pin")}
	}
	return s
}

// against is one case: a composition of the named policy in a random world.
func against(r *rapid.T, name string, reached *coretest.Reach) {
	scale := coretest.Scale{Bytes: 500 * scheduler.MB, Time: sec}
	cfg := coretest.DrawConfig(r, scale)
	env := policies.Env{Seed: rapid.Uint64Range(0, 3).Draw(r, "seed"), Models: cfg.Models, Devices: cfg.Devices, HostMemory: cfg.HostMemory, Horizon: scheduler.MaxTime}
	spec := drawVariant(r, name, &cfg)
	if _, err := policies.Builtin().New(spec, env); err != nil {
		// What cannot be for these models, like pins that leave no room.
		spec = policies.Spec{Use: name}
	}
	learns := rapid.Bool().Draw(r, "learns")
	c := coretest.Case{Scale: scale, Drains: true}
	var arrivals []scheduler.Event
	if spec.Evict.Name == "belady" {
		c.Models = coretest.DrawModels(r, &cfg, 40)
		for id, m := range c.Models {
			arrivals = append(arrivals, scheduler.Event{Kind: scheduler.ItemArrived, ID: int64(id), Model: m, Device: scheduler.NoDevice})
		}
	}
	r.Logf("%+v", spec)
	c.Config = func() scheduler.Config {
		built, err := policies.Builtin().New(spec, env)
		if err != nil {
			r.Fatal(err)
		}
		if oracle, ok := built.Policy.(scheduler.Clairvoyant); ok {
			oracle.Foresee(arrivals)
		}
		live := cfg
		live.Policy, live.Evictor, live.Order, live.Waits = built.Policy, built.Evictor, built.Order, built.Waits
		if learns {
			live.Estimator, _ = scheduler.NewEstimator(scheduler.EstimatorConfig{Kind: "last"}, cfg.Models)
		}
		return live
	}
	c.Run(r, reached)
}

// TestPoliciesAgainstModel drives the core and a naive model of it under every
// shipped policy: models, budgets, dependencies, priorities, failures and
// cancellations are random, every numbered invariant holds after each step and
// both replays agree with the run.
func TestPoliciesAgainstModel(t *testing.T) {
	coretest.Cases(t, 200)
	for _, name := range policies.Builtin().Policies() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if len(shipped[name]) == 0 {
				t.Fatal("nothing says with which parameters it is to be tried")
			}
			var reached coretest.Reach
			rapid.Check(t, func(r *rapid.T) { against(r, name, &reached) })
			if !t.Failed() {
				reached.Require(t, shares(name))
			}
		})
	}
}

// shares are the least shares of cases that must come to what is rare.
func shares(name string) []coretest.Share {
	all := []coretest.Share{
		{What: "an eviction", Of: func(r *coretest.Reach) int { return r.Evict }, Percent: 30},
		{What: "a retry", Of: func(r *coretest.Reach) int { return r.Retry }, Percent: 25},
		{What: "a last attempt", Of: func(r *coretest.Reach) int { return r.Exhausted }, Percent: 5},
		{What: "a cancelled item", Of: func(r *coretest.Reach) int { return r.Cancel }, Percent: 40},
		{What: "a cancelled dependant", Of: func(r *coretest.Reach) int { return r.Orphan }, Percent: 40},
		{What: "a second device", Of: func(r *coretest.Reach) int { return r.SecondDevice }, Percent: 20},
		{What: "ties at one instant", Of: func(r *coretest.Reach) int { return r.Tie }, Percent: 60},
		{What: "a load from the host tier", Of: func(r *coretest.Reach) int { return r.HostLoad }, Percent: 3},
	}
	switch name {
	case "seed", "semaphore":
		return all // these let models leave before they ask for a load
	case "symphony", "clockwork":
		for i := range all {
			all[i].Percent = (all[i].Percent + 2) / 3 // what it drops loads nothing
		}
	}
	return append(all, coretest.Share{What: "an eviction under a claim", Of: func(r *coretest.Reach) int { return r.EvictUnderClaim }, Percent: 10})
}
