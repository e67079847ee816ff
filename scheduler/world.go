package scheduler

import (
	"context"
	"errors"
	"io"
)

// Source says what arrives.
type Source interface {
	// Next returns the arrivals of the next instant, each followed by its
	// attribute and dependency events, all At that time, or io.EOF after the
	// last. The slice is valid until the next call.
	Next() ([]Event, error)
}

// Recorded is a Source that knows true service times. They are for the World;
// no View shows them.
type Recorded interface {
	Source
	// Service returns the recorded service time of an item that the last call
	// of Next returned, and whether it has one.
	Service(item ItemID) (Time, bool)
}

// Reactive is a Source whose arrivals depend on what happens (closed loops).
// The world shows it every event and asks for arrivals only when they are due.
type Reactive interface {
	Source
	Sink
	// NextAt returns when Next has something, or false while that depends on
	// events still to come.
	NextAt() (Time, bool)
}

// Namer gives the names behind dense ids, for logs and messages.
type Namer interface {
	// ItemName returns the name of an item that one of the last two calls of
	// the source's Next returned; "" if it has none but its number.
	ItemName(item ItemID) string
	JobName(job JobID) string
	TenantName(tenant int64) string
}

// World carries out effects and tells what happened: a simulated GPU, a
// physical one, or a log.
type World interface {
	// Next returns all facts of the next instant in the order of
	// CompareFacts, arrivals by source order. It returns io.EOF when nothing
	// will happen any more, ErrHorizon when the run was cut. The slice is
	// valid until the next call.
	Next() ([]Event, error)
	// Start begins to carry out one event whose Kind.Effect is true; it must
	// not block. MemberDispatched events precede their BatchStarted.
	Start(effect Event) error
}

// Sink receives events in order. It must not keep the slice. A World that is
// also a Sink sees events before their effects are started.
type Sink interface {
	Append(events []Event) error
}

// Late is a Sink that sees events some steps later than others do, many at a
// time, which keeps its code and data close at hand: for folds that nobody asks
// in between, and for the log of a simulated run. Where effects are real the
// log must hold an event before its effect starts.
type Late struct{ Sink }

// lateEvents is how many events the late sinks of Drive get at once.
const lateEvents = 512

// ErrHorizon is returned by a World whose run ends with work left over.
var ErrHorizon = errors.New("the horizon was reached")

// Drive runs core in world until the world ends, the context is done or
// something fails. It hands every event to the sinks before the world starts
// the effects among them, and to those that are Late before it returns.
func Drive(ctx context.Context, core *Core, world World, sinks ...Sink) error {
	var prompt, late []Sink
	if s, ok := world.(Sink); ok {
		prompt = append(prompt, s)
	}
	for _, s := range sinks {
		if l, ok := s.(Late); ok {
			late = append(late, l.Sink)
		} else {
			prompt = append(prompt, s)
		}
	}
	err := drive(ctx, core, world, prompt, late)
	if lateErr := core.handOn(late); err == nil {
		err = lateErr
	}
	return err
}

func drive(ctx context.Context, core *Core, world World, prompt, late []Sink) error {
	for steps := 0; ; steps++ {
		if steps%64 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		facts, err := world.Next()
		if err != nil {
			return finish(core, err)
		}
		stepErr := core.Step(facts)
		events := core.Ready()
		for _, s := range prompt {
			if err := s.Append(events); err != nil {
				return err
			}
		}
		core.handed = len(core.out)
		if stepErr != nil {
			return stepErr
		}
		for i := len(facts); i < len(events); i++ { // decisions follow the facts
			if events[i].Kind.Effect() {
				if err := world.Start(events[i]); err != nil {
					return err
				}
			}
		}
		if core.handed >= lateEvents || len(late) == 0 {
			if err := core.handOn(late); err != nil {
				return err
			}
		}
	}
}

// handOn advances, and gives what the other sinks have seen to the late ones.
func (c *Core) handOn(late []Sink) error {
	events := c.out[:c.handed]
	c.Advance()
	if len(events) == 0 {
		return nil
	}
	for _, s := range late {
		if err := s.Append(events); err != nil {
			return err
		}
	}
	return nil
}

// finish says how a run ends whose world returned err.
func finish(core *Core, err error) error {
	switch err {
	case io.EOF:
		return core.End()
	case ErrHorizon:
		return nil
	}
	return err
}
