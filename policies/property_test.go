package policies_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/policies/policytest"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/coretest"
)

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

// Every composition keeps what every policy must, and what it declares itself.
func TestCompositions(t *testing.T) {
	checked := map[policytest.Property]int{}
	coretest.Check(t, 100, func(r *rapid.T) {
		spec := drawComposition(r)
		if rapid.Bool().Draw(r, "bounded") {
			spec = drawBounded(r)
		}
		if spec.Evict.Name == "matrix" {
			spec.Evict = policies.Axis{} // its sets name models; TestPoliciesAgainstModel has it
		}
		report, err := policytest.Check(policytest.Config{Set: policies.Builtin(), Spec: spec, Seed: rapid.Uint64().Draw(r, "seed"), Cases: 8, Evaluations: -1})
		if err != nil {
			r.Fatalf("%+v: %v", spec, err)
		}
		for _, row := range report.Results {
			if row.Status == policytest.Broken {
				r.Fatalf("%+v: %s: %s\nin %v", spec, row.Property, row.What, row.World)
			}
			checked[row.Property] += row.Cases
		}
	})
	for property, cases := range checked {
		if cases == 0 && property != policytest.MoreMemory { // of few compositions; policytest has fifo
			t.Errorf("no case of %s", property)
		}
	}
}
