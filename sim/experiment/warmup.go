package experiment

import (
	"context"
	"errors"
	"sync"

	"github.com/vramsim/vramsim/results/stats"
	"github.com/vramsim/vramsim/scheduler"
)

// autoWarmup is the warm-up that is to be found.
const autoWarmup = "auto"

// Warmup is where the measured part of the runs of a cell begins.
type Warmup struct {
	From scheduler.Time // items that arrive before it do not count
	// Unsteady holds, by policy, whether no steady state was found; it is nil
	// if the experiment states its warm-up.
	Unsteady []bool
}

// settling is the warm-up of a cell, once it was found.
type settling struct {
	mutex sync.Mutex
	found *Warmup
}

// Warmup returns the warm-up that the experiment states, or finds it: the first
// replicate of each policy is simulated, and MSER-5 (White 1997) says how long
// the number of items in the system, looked at in equal steps until the last
// arrival, is not yet what it is later. The latest of the policies' answers is
// that of the cell, so that all are measured over the same time. A policy whose
// answer is half of that time or more has no steady state, or too few items to
// show one, and no say in it. Warmup may be called concurrently, and simulates
// once.
func (c *Cell) Warmup(ctx context.Context) (Warmup, error) {
	if !c.workload.settles {
		return Warmup{From: c.workload.warmup}, nil
	}
	c.settling.mutex.Lock()
	defer c.settling.mutex.Unlock()
	if c.settling.found == nil {
		found, err := c.findWarmup(ctx)
		if err != nil {
			return Warmup{}, err
		}
		c.settling.found = &found
	}
	return *c.settling.found, nil
}

// Settle makes a warm-up that of the cell, as if it had been found: of the same
// cell with other policies, so that theirs are measured over the same time. It
// does nothing where the experiment states one.
func (c *Cell) Settle(w Warmup) {
	c.settling.mutex.Lock()
	defer c.settling.mutex.Unlock()
	c.settling.found = &w
}

func (c *Cell) findWarmup(ctx context.Context) (Warmup, error) {
	w := Warmup{Unsteady: make([]bool, len(c.policies))}
	for p := range c.policies {
		from, steady, err := c.settlesAt(ctx, p)
		if err != nil {
			return w, err
		}
		if w.Unsteady[p] = !steady; steady {
			w.From = max(w.From, from)
		}
	}
	return w, nil
}

// settlesAt simulates the first replicate of a policy and returns from when on
// it is steady. A run that fails is not; those that are measured say why.
func (c *Cell) settlesAt(ctx context.Context, policy int) (at scheduler.Time, steady bool, err error) {
	setup, err := c.Prepare(policy, 0, "")
	if err != nil {
		return 0, false, err
	}
	defer func() { err = errors.Join(err, setup.Close()) }()
	core, err := scheduler.New(setup.Config)
	if err != nil {
		return 0, false, err
	}
	b := backlog{core: core, step: 1}
	if err := scheduler.Drive(ctx, core, setup.World, &b); err != nil {
		return 0, false, ctx.Err()
	}
	at, steady = b.steadyFrom()
	return at, steady, nil
}

// mostLooks is up to how often a backlog is looked at.
const mostLooks = 4096

// backlog is a Sink that looks at the number of items in the system in equal
// steps of time, which double as the run grows longer.
type backlog struct {
	core     *scheduler.Core
	step     scheduler.Time
	looks    []float64 // at 0, step, 2·step …
	now      int       // items in the system
	arrivals int
	settled  int // looks up to the last arrival
}

// Append implements scheduler.Sink. The events are those of one step.
func (b *backlog) Append(events []scheduler.Event) error {
	if len(events) == 0 { // the step has failed before its first event
		return nil
	}
	b.look(events[0].At)
	b.now = b.core.View().InSystem()
	if n := b.core.View().ArrivedNow(); n > 0 {
		b.arrivals += n
		b.settled = len(b.looks)
	}
	return nil
}

// look notes what there was until the present event.
func (b *backlog) look(at scheduler.Time) {
	before := at - 1 // no product of a step reaches the end of time
	for before/b.step >= mostLooks {
		b.thin()
	}
	for at > 0 && scheduler.Time(len(b.looks)) <= before/b.step {
		b.looks = append(b.looks, float64(b.now))
	}
}

// thin leaves out every second look.
func (b *backlog) thin() {
	kept := b.looks[:0]
	for i := 0; i < len(b.looks); i += 2 {
		kept = append(kept, b.looks[i])
	}
	b.looks, b.settled = kept, (b.settled+1)/2
	b.step *= 2
}

// steadyFrom returns from when on MSER-5 keeps what was seen; no more looks
// count than there were items to change what they see.
func (b *backlog) steadyFrom() (at scheduler.Time, steady bool) {
	b.looks = b.looks[:b.settled]
	for len(b.looks) > b.arrivals {
		b.thin()
	}
	found, ok := stats.MSER5(b.looks)
	if !ok || found.AtBoundary {
		return 0, false
	}
	return scheduler.Time(found.Observations()) * b.step, true
}
