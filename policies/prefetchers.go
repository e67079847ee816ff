package policies

import "github.com/vramsim/vramsim/scheduler"

// Prefetcher says which model to load ahead of need, into headroom only.
type Prefetcher interface {
	// Prefetch returns a model, or scheduler.NoModel. The candidates leave out
	// the model of the device's visit. It changes nothing.
	Prefetch(v *scheduler.View, c *Candidates) scheduler.ModelID
}

// upNext is the selector's choice were the running queue empty.
type upNext struct{ selector Selector }

func (p upNext) Prefetch(v *scheduler.View, c *Candidates) scheduler.ModelID {
	return p.selector.Select(v, c)
}

// dag is the model with the most items that wait for one last dependency.
type dag struct{}

func (dag) Prefetch(v *scheduler.View, c *Candidates) scheduler.ModelID {
	best, near := noModel, 0
	for m := range scheduler.ModelID(v.Models()) {
		if n := v.Near(m); n > near && v.State(c.Device(), m) == scheduler.Absent && c.Here(m) {
			best, near = m, n
		}
	}
	return best
}
