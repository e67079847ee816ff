package policies

import (
	"fmt"

	"github.com/vramsim/vramsim/scheduler"
)

// Contracts are what a built policy declares of itself, for the composition
// and the hardware it was built for. Tests and `vramsim check` hold it to them.
type Contracts struct {
	// WorkConserving: no slot idles beside a resident model with a runnable
	// batch, unless the model chosen waits for busy ones to leave or failed
	// lately.
	WorkConserving bool
	// LoadWorkConserving: nor while a model with ready items could be loaded.
	LoadWorkConserving bool
	// Waits: the policy may let work and a free slot wait for a time or for
	// more items.
	Waits bool
	// Evicts: models may be evicted by a rule, for a limit or after a time, also
	// where what comes next would have room beside them.
	Evicts bool
	// Withdraws: a model may be evicted before the batch that it was loaded for,
	// for the batch of another one.
	Withdraws bool
	// OwnTimes: there are times in the rule that no parameter changes, be it the
	// end of time for what has no deadline.
	OwnTimes bool
	// Pure: decisions depend on the view and the observed events alone.
	Pure bool
	// Bound limits how long a waiting item's model goes unvisited if visits
	// end, all items have one priority, and without pins and faults.
	Bound Bound
}

// BoundKind is the form of a Bound.
type BoundKind uint8

// Forms of a Bound.
const (
	Unbounded   BoundKind = iota
	InOrder               // bypass 0: no younger item of another model starts first
	Visits                // at most N visits to others before the model is visited
	VisitsAfter           // the same once the item has waited for After
)

// Bound is a starvation bound.
type Bound struct {
	Kind  BoundKind
	N     int            // of Visits and VisitsAfter
	After scheduler.Time // of VisitsAfter
}

// String writes the bound as in the catalogue.
func (b Bound) String() string {
	switch b.Kind {
	case InOrder:
		return "bypass 0"
	case Visits:
		return fmt.Sprintf("%d visits", b.N)
	case VisitsAfter:
		return fmt.Sprintf("%d visits after %v", b.N, b.After)
	}
	return "none"
}

// String lists what is declared, for tables.
func (c Contracts) String() string {
	s := ""
	if c.WorkConserving {
		s += "work-conserving, "
	}
	if c.LoadWorkConserving {
		s += "load-work-conserving, "
	}
	if c.Waits {
		s += "waits, "
	}
	if c.Evicts {
		s += "evicts by rule, "
	}
	if c.Withdraws {
		s += "withdraws loads, "
	}
	if c.OwnTimes {
		s += "times of its own, "
	}
	if c.Pure {
		s += "pure, "
	}
	return s + "bound: " + c.Bound.String()
}

// declare works out the contracts of a composition.
func (p *composed) declare(env *Env, parts *parts) Contracts {
	c := Contracts{Pure: true, Waits: parts.waits, OwnTimes: parts.ownTimes, Evicts: p.limiter != nil || p.timed != nil}
	oneSlot, memory := true, false
	for i := range env.Devices {
		oneSlot = oneSlot && env.Devices[i].Slots == 1
	}
	for i := range env.Models {
		memory = memory || env.Models[i].Batch.Memory > 0
	}
	c.WorkConserving = p.fill && !c.Waits && !memory && p.wander == nil
	c.LoadWorkConserving = c.WorkConserving && oneSlot && len(env.Devices) == 1 && p.timed == nil && len(parts.spec.Pin) == 0
	if b, ok := p.selector.(bounded); ok && parts.spec.Order.Name == "fifo" && (len(env.Devices) == 1 || parts.spec.Place.Name == "planned") {
		c.Bound = b.bound(parts.spec.Visit, len(env.Models))
	}
	if c.Bound.Kind == InOrder && (p.fill || p.refusesLater()) {
		c.Bound = Bound{}
	}
	return c
}

// refusesLater reports whether items that wait may be rejected: then a model may
// be there for one of them, and what is left of its queue starts first.
func (p *composed) refusesLater() bool {
	switch p.admit.(type) {
	case nil, queueCap, projected:
		return false
	}
	return true
}

// declarer is implemented by whole policies whose contracts depend on the
// hardware.
type declarer interface{ declares() Contracts }

// bounded is implemented by selectors that bound waiting under some visits.
type bounded interface {
	bound(visit Axis, models int) Bound
}
