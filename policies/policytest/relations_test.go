package policytest

import (
	"testing"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/scheduler"
)

// broken reports whether a judge finds a breach in one of so many worlds of a
// shape.
func broken(t *trial, s Shape, worlds uint64, judge func(*trial, *World) []verdict) bool {
	for key := range worlds {
		for _, v := range judge(t, Draw(key, s)) {
			if v.breach != "" {
				return true
			}
		}
	}
	return false
}

func on(spec policies.Spec) *trial { return &trial{set: policies.Builtin(), spec: spec} }

// The relations that no policy of the catalogue breaks can be broken: under
// policies to which they do not apply.
func TestRelationsCanBreak(t *testing.T) {
	if !broken(on(policies.Spec{Use: "fifo", Evict: policies.Axis{Name: "belady"}}), Alone(), 1000, judgeCut) {
		t.Error("what knows the future decides the same without it")
	}
	anomaly := Draw(0, Alone()) // Belady, Nelson and Shedler, CACM 12:6 (1969)
	anomaly.Models, anomaly.Items = nil, nil
	for i := range 5 {
		anomaly.Models = append(anomaly.Models, scheduler.Model{Name: name(i), Bytes: gb, Batch: scheduler.BatchCost{Max: 1, PerItem: sec}})
	}
	for _, m := range []scheduler.ModelID{0, 1, 2, 3, 0, 1, 4, 0, 1, 2, 3, 4} {
		anomaly.Items = append(anomaly.Items, Item{Model: m})
	}
	anomaly.resize(0, 3*gb)
	for evict, breaks := range map[string]bool{"fifo": true, "lru": false} {
		vs := judgeMemory(on(policies.Spec{Use: "fifo", Evict: policies.Axis{Name: evict}}), anomaly)
		if got := len(vs) == 1 && vs[0].breach != ""; got != breaks {
			t.Errorf("%s: %+v", evict, vs)
		}
	}
	if !broken(on(policies.Spec{Use: "seed"}), Alone(), 1000, judgeUnused) {
		t.Error("a permutation of more models is the same")
	}
	if !broken(on(policies.Spec{Use: "sticky", Evict: policies.Axis{Name: "count"}}), Alone(), 1000, judgeAllFit) {
		t.Error("at most three models are loaded once each")
	}
}

// Runs are told apart by all that matters of them.
func TestUnlike(t *testing.T) {
	limited := policies.Spec{Use: "sticky", Visit: policies.Axis{Name: "limited"}}
	for _, other := range []policies.Spec{limited, {Use: "max-wait", Params: map[string]any{"wait": "1s"}}, {Use: "sticky", Evict: policies.Axis{Name: "ttl", Params: map[string]any{"idle": "0s"}}}} {
		if !broken(on(policies.Spec{Use: "sticky"}), Alone(), 200, func(t *trial, w *World) []verdict {
			return t.compare(LimitedAll, w, t.spec, w, other, "", exactly)
		}) {
			t.Errorf("%+v is the same as sticky", other)
		}
	}
}
