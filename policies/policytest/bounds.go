package policytest

import (
	"fmt"
	"math"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/scheduler"
)

// bounds are what no policy can beat in w.
func (w *World) bounds() policies.Bounds {
	cfg := policies.BoundConfig{Devices: w.Devices}
	for i := range w.Models {
		cfg.Models = append(cfg.Models, policies.LeastCost{Load: w.Models[i].Load[scheduler.TierDisk], Batch: w.Models[i].Batch})
	}
	items := make([]policies.BoundItem, len(w.Items))
	for i := range w.Items {
		it := &w.Items[i]
		items[i] = policies.BoundItem{Model: it.Model, Arrival: it.At, Work: it.ordinary(), Service: -1}
		for _, on := range it.After {
			items[i].Deps = append(items[i].Deps, scheduler.ItemID(on))
		}
	}
	return policies.LowerBounds(cfg, items)
}

// latencies returns the sum of the latencies.
func (o *Outcome) latencies(w *World) (sum scheduler.Time) {
	for id, at := range o.Done {
		sum += at - w.Items[id].At
	}
	return sum
}

// belowBound says how an outcome in which everything was done beats the
// bounds; "" if it does not.
func belowBound(w *World, o *Outcome) string {
	b := w.bounds()
	mean := float64(o.latencies(w)) / float64(len(w.Items)) / 1e9
	switch {
	case int64(o.Loads) < b.Loads:
		return fmt.Sprintf("%d loads, bound %d", o.Loads, b.Loads)
	case int64(o.Switches) < b.Switches:
		return fmt.Sprintf("%d switches, bound %d", o.Switches, b.Switches)
	case o.End < b.Makespan:
		return fmt.Sprintf("makespan %v, bound %v", o.End, b.Makespan)
	case mean < b.MeanLatency-1e-9*math.Max(1, b.MeanLatency):
		return fmt.Sprintf("mean latency %v s, bound %v s", mean, b.MeanLatency)
	}
	return ""
}
