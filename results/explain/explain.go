// Package explain answers questions about one run from its event log alone:
// what the state was at a time, what a policy saw when it decided, why an item
// waited, and where two runs first decided differently. The log is refolded
// from its start by state replay.
package explain

import (
	"errors"
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
	alone := func(scheduler.Kind) bool { return false }
	return r.foldParts(alone, func(core *scheduler.Core, seq int64, part []scheduler.Event) bool { return before(core, seq, part[0]) })
}

// foldParts is fold for parts of the log at once, each of which ends with the
// first event whose kind does not go on; before is called with the sequence
// number of that one. The slice is good during the call.
func (r *Run) foldParts(goesOn func(scheduler.Kind) bool, before func(core *scheduler.Core, last int64, part []scheduler.Event) bool) (*scheduler.Core, error) {
	replay, err := scheduler.NewStateReplay(r.Config)
	if err != nil {
		return nil, err
	}
	var part []scheduler.Event
	seq := int64(-1)
	for ev, err := range r.Events {
		if err != nil {
			return nil, err
		}
		part = append(part, ev)
		if seq++; goesOn(ev.Kind) {
			continue
		}
		if !before(replay.Core, seq, part) {
			break
		}
		if err := replay.Append(part); err != nil {
			return nil, err
		}
		part = part[:0]
	}
	return replay.Core, nil
}

// At writes the state after everything that happened up to time t; after the
// end of the log it is the state at its end, and says so.
func At(w io.Writer, r *Run, t scheduler.Time) error {
	last, ended := int64(-1), true
	core, err := r.fold(func(_ *scheduler.Core, seq int64, ev scheduler.Event) bool {
		if ended = ev.At <= t; ended {
			last = seq
		}
		return ended
	})
	if err != nil {
		return err
	}
	p := &printer{w: w, run: r}
	end := core.Now()
	switch {
	case last < 0:
		p.linef("At %v, before the first event:", t)
	case ended && t > end:
		p.linef("The log ends at %v, before %v. At its end, after event %d:", end, t, last)
		t = end
	default:
		p.linef("At %v, after event %d:", t, last)
	}
	p.state(core.View(), t)
	return p.err
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
	p.linef("  %-12s %s", names[0], p.eventOrEnd(mine, same))
	p.linef("  %-12s %s", names[1], p.eventOrEnd(other, otherEnded))
	p.linef("Both saw, before that:")
	p.state(v, core.Now())
	return p.err
}
