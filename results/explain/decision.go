package explain

import (
	"fmt"
	"io"

	"github.com/vramsim/vramsim/scheduler"
)

// Decision writes what the policy saw before the decision at sequence number
// seq of the log, and what it decided. Of an event that follows from an earlier
// decision it writes from which, and the state before it. A seq that is neither
// is an error that names the next decision.
func Decision(w io.Writer, r *Run, seq int64) error {
	c := causes{claims: map[scheduler.DeviceID]int64{}, foreign: map[scheduler.DeviceID]scheduler.Bytes{}}
	var found []scheduler.Event
	next, cause := int64(-1), ""
	core, err := r.foldParts(begins, func(core *scheduler.Core, last int64, part []scheduler.Event) bool {
		ev := part[len(part)-1]
		if last >= seq && made(ev.Kind) {
			cause = c.of(core.View(), part)
			if last == seq || cause == "" {
				found, next = append(found, part...), last
				return false
			}
		}
		c.see(last, ev)
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
	p.decided(core.View(), seq, found, cause)
	return p.err
}

// decided writes a decision, of which the events are a part of the log that
// ends at seq, or what followed from one, and the state v before all of them.
func (p *printer) decided(v *scheduler.View, seq int64, part []scheduler.Event, cause string) {
	ev := part[len(part)-1]
	if cause != "" {
		p.linef("Event %d, at %v: %s", seq, ev.At, p.words().Event(ev))
		p.linef("  not decided by the policy: %s", cause)
		p.linef("The state before that:")
	} else {
		p.linef("Event %d, at %v: the policy decided to %s", seq, ev.At, p.words().Event(ev))
		if part[0].Kind == scheduler.Note {
			p.linef("  its reason: %s", reason(v, part[0]))
		}
		p.linef("It saw, before that:")
	}
	p.state(v, ev.At)
}

// begins reports whether a decision goes on after an event of kind k: a reason
// and the members of a batch stand in the log before what is done.
func begins(k scheduler.Kind) bool {
	return k == scheduler.Note || k == scheduler.MemberDispatched
}

// made reports whether policies decide on events of kind k. Some follow from
// earlier decisions all the same: see causes.
func made(k scheduler.Kind) bool {
	switch k {
	case scheduler.BatchStarted, scheduler.LoadStarted, scheduler.LoadClaimed, scheduler.EvictStarted, scheduler.ItemRejected, scheduler.ModelHeld, scheduler.TimerSet:
		return true
	}
	return false
}

// causes is what has to be known of the past to tell decisions of the policy
// from what the core does about them of itself.
type causes struct {
	claims  map[scheduler.DeviceID]int64           // the load_claimed by which a claim began
	foreign map[scheduler.DeviceID]scheduler.Bytes // held by other processes
}

func (c *causes) see(seq int64, ev scheduler.Event) {
	switch {
	case ev.Kind == scheduler.LoadClaimed && ev.ID == 0:
		c.claims[ev.Device] = seq
	case ev.Kind == scheduler.MemoryObserved:
		c.foreign[ev.Device] = scheduler.Bytes(ev.Value)
	}
}

// of returns from what the last event of a part follows; "" if the policy
// decided it. v is the state before the part.
func (c *causes) of(v *scheduler.View, part []scheduler.Event) string {
	ev := part[len(part)-1]
	if part[0].Kind == scheduler.Note { // only policies give reasons
		return ""
	}
	switch ev.Kind {
	case scheduler.LoadStarted:
		if v.State(ev.Device, ev.Model) == scheduler.Claimed {
			return fmt.Sprintf("event %d claimed room for it, and now there is enough", c.claims[ev.Device])
		}
	case scheduler.LoadClaimed:
		if ev.ID != 0 {
			return fmt.Sprintf("%v more for the claim that event %d began", scheduler.Bytes(ev.Value), c.claims[ev.Device])
		}
	case scheduler.EvictStarted:
		if m, _, busy := v.Link(ev.Device); busy && v.State(ev.Device, m) == scheduler.Claimed && c.owed(v, ev.Device, m) > 0 {
			return fmt.Sprintf("the evictor chose it, to make room for %s, which event %d claimed", v.Model(m).Name, c.claims[ev.Device])
		}
	case scheduler.TimerSet:
		if ev.ID == scheduler.TimerHold {
			return "a hold ends then, of which the core keeps the time"
		}
	}
	return ""
}

// owed returns how many bytes the claim of m on d still lacks when all that is
// being evicted has left: while it is positive the core asks for victims.
func (c *causes) owed(v *scheduler.View, d scheduler.DeviceID, m scheduler.ModelID) scheduler.Bytes {
	claimed, evicting := v.Reserved(d), scheduler.Bytes(0)
	for o := range scheduler.ModelID(v.Models()) {
		switch v.State(d, o) {
		case scheduler.Evicting:
			evicting += v.Bytes(o)
			claimed -= v.Bytes(o)
		case scheduler.Resident, scheduler.Loading:
			claimed -= v.Bytes(o)
		}
	}
	for i := range v.Running(d) {
		b := v.RunningBatch(d, i)
		claimed -= v.BatchMemory(b.Model) * scheduler.Bytes(b.N)
	}
	free := v.Budget(d) - min(c.foreign[d], v.Budget(d)) - v.Reserved(d)
	return v.Bytes(m) - claimed - evicting - min(0, free)
}
