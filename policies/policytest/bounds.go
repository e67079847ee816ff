package policytest

import (
	"fmt"
	"math"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/scheduler"
)

// Bounds are what no policy can beat in w.
func (w *World) Bounds() policies.Bounds {
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

// Latencies returns the sum of the latencies.
func (o *Outcome) Latencies(w *World) (sum scheduler.Time) {
	for id, at := range o.Done {
		sum += at - w.Items[id].At
	}
	return sum
}

// belowBound says how an outcome in which everything was done beats the
// bounds; "" if it does not.
func belowBound(w *World, o *Outcome) string {
	b := w.Bounds()
	mean := float64(o.Latencies(w)) / float64(len(w.Items)) / 1e9
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

// judgeOptimum runs w and holds the outcome against the best possible.
func judgeOptimum(t *trial, w *World) []verdict {
	o, ok := t.run(w, t.spec)
	if !ok || !o.complete(w) {
		return nil
	}
	v := must(BelowOptimum, "")
	for _, goal := range []struct {
		of   policies.Goal
		got  int64
		what string
	}{{policies.FewestLoads, int64(o.Loads), "loads"}, {policies.ShortestMakespan, int64(o.End), "ns of makespan"}, {policies.LeastLatency, int64(o.Latencies(w)), "ns of latency"}} {
		least, err := w.optimum(goal.of)
		if err != nil {
			return nil
		}
		if goal.got < least && v.breach == "" {
			v.breach = fmt.Sprintf("%d %s, optimum %d", goal.got, goal.what, least)
		}
	}
	return []verdict{v}
}
