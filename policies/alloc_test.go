package policies_test

import (
	"testing"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/scheduler"
)

// Asking allocates nothing: while a device is busy, loads, or has to choose.
func TestNextAllocatesNothing(t *testing.T) {
	specs := []policies.Spec{use("seed"), use("semaphore"), {Use: "sticky", Evict: axis("single")}, {Use: "fifo", Prefetch: axis("next"), Evict: axis("ttl")},
		{Use: "fifo", Params: map[string]any{"skip": true}, Batch: axis("delay"), Visit: axis("residency")}, {Use: "sticky", Admit: axis("late")}, {Use: "fifo", Evict: axis("min-cost")}, {Use: "fifo", Order: axis("tenant-drr"), Evict: axis("gdsf")}}
	for _, name := range policies.Builtin().Policies() {
		specs = append(specs, use(name))
	}
	for _, spec := range specs {
		s := scenario{models: abc(), devices: gpu(8), spec: spec, items: burst(0, "AABBBCAB")}
		cfg, built := s.config(t)
		cfg.Checked, cfg.Policy = false, built.Policy
		core, err := scheduler.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		w := s.world().Machine()
		for range 6 {
			facts, err := w.Next()
			if err != nil {
				t.Fatal(err)
			}
			if err := core.Step(facts); err != nil {
				t.Fatal(err)
			}
			for _, ev := range core.Ready() {
				if ev.Kind.Effect() {
					if err := w.Start(ev); err != nil {
						t.Fatal(err)
					}
				}
			}
			core.Advance()
			if n := testing.AllocsPerRun(20, func() { built.Policy.Next(core.View()) }); n != 0 {
				t.Errorf("%+v: %v allocations at %v", spec, n, core.Now())
			}
		}
	}
}
