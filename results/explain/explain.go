// Package explain answers questions about one run from its event log alone:
// what the state was at a time, what a policy saw when it decided, why an item
// waited, and where two runs first decided differently. The log is refolded
// from its start by state replay.
package explain

import (
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/vramsim/vramsim/scheduler"
)

// Run is a log and the configuration of the core that wrote it.
type Run struct {
	Config scheduler.Config
	Names  scheduler.Namer // of items; filled while Events are read
	Events iter.Seq2[scheduler.Event, error]
}

// ErrNotThere is wrapped by the errors for what a log does not hold.
var ErrNotThere = errors.New("the log does not have it")

// fold applies events to a core, calling before for each until it returns
// false; it returns the core in the state before that event.
func (r *Run) fold(before func(core *scheduler.Core, seq int64, ev scheduler.Event) bool) (*scheduler.Core, error) {
	replay, err := scheduler.NewStateReplay(r.Config)
	if err != nil {
		return nil, err
	}
	seq := int64(0)
	for ev, err := range r.Events {
		if err != nil {
			return nil, err
		}
		if !before(replay.Core, seq, ev) {
			break
		}
		if err := replay.Append([]scheduler.Event{ev}); err != nil {
			return nil, err
		}
		seq++
	}
	return replay.Core, nil
}

// At writes the state after everything that happened up to time t.
func At(w io.Writer, r *Run, t scheduler.Time) error {
	last := int64(-1)
	core, err := r.fold(func(_ *scheduler.Core, seq int64, ev scheduler.Event) bool {
		if ev.At <= t {
			last = seq
		}
		return ev.At <= t
	})
	if err != nil {
		return err
	}
	p := &printer{w: w, run: r}
	p.linef("At %v, after event %d:", t, last)
	p.state(core.View(), t)
	return p.err
}

// Decision writes what the policy saw before the decision at sequence number
// seq of the log, and what it decided. A seq that is no decision is an error
// that names the next one.
func Decision(w io.Writer, r *Run, seq int64) error {
	var found, note scheduler.Event
	next, noted := int64(-1), false
	core, err := r.fold(func(core *scheduler.Core, at int64, ev scheduler.Event) bool {
		if at == seq-1 && ev.Kind == scheduler.Note {
			note, noted = ev, true
		}
		if at >= seq && made(ev.Kind) {
			found, next = ev, at
			return false
		}
		return true
	})
	switch {
	case err != nil:
		return err
	case next < 0:
		return fmt.Errorf("event %d, or any decision after it: %w", seq, ErrNotThere)
	case next != seq:
		return fmt.Errorf("event %d is no decision of the policy; the next one is event %d", seq, next)
	}
	p := &printer{w: w, run: r}
	v := core.View()
	p.linef("Event %d, at %v: the policy decided to %s", seq, found.At, p.decision(v, found))
	if noted {
		p.linef("  its reason: %s", reason(note))
	}
	p.linef("It saw, before that:")
	p.state(v, found.At)
	return p.err
}

// made reports whether the policy makes events of kind k; the others follow
// from them.
func made(k scheduler.Kind) bool {
	switch k {
	case scheduler.BatchStarted, scheduler.LoadStarted, scheduler.LoadClaimed, scheduler.EvictStarted, scheduler.ItemRejected, scheduler.ModelHeld, scheduler.TimerSet:
		return true
	}
	return false
}

// Divergence writes the first event in which two logs differ and the state
// before it. names says what the runs are called.
func Divergence(w io.Writer, a, b *Run, names [2]string) error {
	next, stop := iter.Pull2(b.Events)
	defer stop()
	var mine, other scheduler.Event
	var pullErr error
	at, same, otherEnded := int64(0), true, false
	core, err := a.fold(func(_ *scheduler.Core, seq int64, ev scheduler.Event) bool {
		var ok bool
		if other, pullErr, ok = next(); !ok {
			otherEnded = true
		}
		at, mine = seq, ev
		same = pullErr == nil && ok && ev == other
		return same
	})
	if err = errors.Join(err, pullErr); err != nil {
		return err
	}
	p := &printer{w: w, run: a}
	if same {
		if other, pullErr, _ = next(); pullErr != nil {
			return pullErr
		} else if other == (scheduler.Event{}) {
			p.linef("%s and %s do the same: %d events", names[0], names[1], at+1)
			return p.err
		}
		at, mine = at+1, scheduler.Event{}
	}
	v := core.View()
	p.linef("%s and %s first differ at event %d:", names[0], names[1], at)
	p.linef("  %-12s %s", names[0], p.eventOrEnd(v, mine, same))
	p.linef("  %-12s %s", names[1], p.eventOrEnd(v, other, otherEnded))
	p.linef("Both saw, before that:")
	p.state(v, core.Now())
	return p.err
}
