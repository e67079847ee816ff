package policytest_test

import (
	"testing"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/policies/policytest"
	"github.com/vramsim/vramsim/scheduler"
)

// Every shipped policy passes.
func TestShipped(t *testing.T) {
	set := policies.Builtin()
	for _, name := range set.Policies() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			policytest.Test(t, policytest.Config{Set: set, Spec: policies.Spec{Use: name}, Cases: 300, Evaluations: -1})
		})
	}
}

// What is not declared has a witness where there is one.
func TestWitnesses(t *testing.T) {
	for _, c := range []struct {
		spec  policies.Spec
		lacks policytest.Property
	}{
		{policies.Spec{Use: "sticky"}, policytest.InOrder},
		{policies.Spec{Use: "longest"}, policytest.Starvation},
		{policies.Spec{Use: "fifo"}, policytest.WorkConserving},
		{policies.Spec{Use: "sticky", Visit: policies.Axis{Name: "linger"}}, policytest.LoadConserving},
		{policies.Spec{Use: "clockwork"}, policytest.FirstBatch},
		{policies.Spec{Use: "symphony"}, policytest.FirstBatch},
		{policies.Spec{Use: "nexus"}, policytest.FirstBatch},
	} {
		r, err := policytest.Check(policytest.Config{Set: policies.Builtin(), Spec: c.spec, Cases: 300, Evaluations: -1})
		if err != nil {
			t.Fatal(err)
		}
		if row := find(t, r, c.lacks); row.Status != policytest.NotDeclared || row.World == nil || row.Cases != 0 {
			t.Errorf("%s: %s: %+v", c.spec.Use, c.lacks, row)
		}
	}
}

// The random worlds come to what they are for.
func TestWorldsReach(t *testing.T) {
	count := map[string]int{}
	set := policies.Builtin()
	for key := range uint64(300) {
		w := policytest.Draw(key, policytest.Hostile())
		o, err := w.Run(set, policies.Spec{Use: "sticky", Admit: policies.Axis{Name: "late"}})
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, ev := range o.Events {
			switch {
			case ev.Kind == scheduler.LoadStarted && ev.Tier() == scheduler.TierHost:
				seen["a load from the host tier"] = true
			case ev.Kind == scheduler.BatchStarted && ev.Device > 0:
				seen["a second device"] = true
			default:
				seen[ev.Kind.String()] = true
			}
		}
		for what := range seen {
			count[what]++
		}
	}
	for _, what := range []string{"batch_failed", "load_failed", "item_failed", "item_rejected", "load_claimed", "evict_finished", "item_readied", "device_down",
		"memory_observed", "item_cancelled", "dependant_cancelled", "a load from the host tier", "a second device"} {
		if count[what] < 5 {
			t.Errorf("%s in %d worlds of 300", what, count[what])
		}
	}
}
