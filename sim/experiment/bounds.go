package experiment

import (
	"errors"
	"io"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/random"
)

// maxBoundItems is up to how many items bounds are computed: they need all
// arrivals at once, some 100 bytes for each.
const maxBoundItems = 200_000

// ErrNoBounds says that nothing can be said of what no policy could beat: the
// arrivals depend on the policy, not everything finishes, or there is too much.
var ErrNoBounds = errors.New("no bounds: a closed loop, a run that is cut, faults, or more than 200,000 items")

// Bounds returns the lower bounds of a replicate; random times are taken at
// their least. It wraps ErrNoBounds where there are none.
func (c *Cell) Bounds(replicate int) (policies.Bounds, error) {
	f := &c.faults
	if c.workload.horizon > 0 || f.LoadFailure > 0 || f.BatchFailure > 0 || len(f.Cancellations) > 0 {
		return policies.Bounds{}, ErrNoBounds
	}
	source, closer, err := c.workload.open(c.seed, replicate)
	if err != nil {
		return policies.Bounds{}, err
	}
	if closer != nil {
		defer closer.Close()
	}
	if _, reacts := source.(scheduler.Reactive); reacts {
		return policies.Bounds{}, ErrNoBounds
	}
	items, err := c.boundItems(source)
	if err != nil {
		return policies.Bounds{}, err
	}
	w, err := c.window()
	if err != nil {
		return policies.Bounds{}, err
	}
	return policies.LowerBounds(policies.BoundConfig{Devices: c.Devices, Models: c.leastCosts(), Warmup: w.Warmup, End: w.End}, items), nil
}

// leastCosts are the costs of the models with every draw at its least.
func (c *Cell) leastCosts() []policies.LeastCost {
	least := func(d random.Dist) scheduler.Time {
		if d == nil {
			return 0
		}
		return scheduler.Time(random.Least(d)) // rounded down
	}
	costs := make([]policies.LeastCost, len(c.models))
	for i := range c.models {
		cost := &c.models[i].cost
		costs[i] = policies.LeastCost{Load: least(cost.Load[scheduler.TierDisk]), Batch: cost.Batch,
			Whole: least(cost.BatchTime), Item: least(cost.ItemTime), Drawn: cost.ItemTime != nil}
		if cost.BatchTime != nil {
			costs[i].Batch = scheduler.BatchCost{Max: cost.Batch.Max}
		}
	}
	return costs
}

// boundItems collects the items of a source by their ids.
func (c *Cell) boundItems(source scheduler.Source) ([]policies.BoundItem, error) {
	recorded, _ := source.(scheduler.Recorded)
	var items []policies.BoundItem
	for {
		events, err := source.Next()
		if err == io.EOF {
			return items, nil
		}
		if err != nil {
			return nil, err
		}
		for _, ev := range events {
			switch ev.Kind {
			case scheduler.ItemArrived:
				if len(items) == maxBoundItems {
					return nil, ErrNoBounds
				}
				it := policies.BoundItem{Model: ev.Model, Arrival: ev.At, Work: scheduler.WorkUnit, Service: -1}
				if recorded != nil && c.models[ev.Model].cost.BatchTime == nil {
					if t, ok := recorded.Service(ev.Item()); ok {
						it.Service = t
					}
				}
				items = append(items, it)
			case scheduler.ItemWork:
				if c.models[items[len(items)-1].Model].cost.BatchTime == nil {
					items[len(items)-1].Work = ev.Value
				}
			case scheduler.ItemDependsOn:
				last := &items[len(items)-1]
				last.Deps = append(last.Deps, scheduler.ItemID(ev.Value))
			}
		}
	}
}
