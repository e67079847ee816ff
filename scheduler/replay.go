package scheduler

import (
	"errors"
	"fmt"
)

// Divergence is where a replay first differs from its log.
type Divergence struct {
	Seq  int64 // of the first event that differs
	Want Event // as logged; the zero Event if the log has none there
	Got  Event // as replayed; the zero Event if the replay has none there
	Err  error // what stopped the replay, if it was no mere difference
}

func (e *Divergence) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("replay stopped at event %d: %v", e.Seq, e.Err)
	}
	return fmt.Sprintf("replay differs at event %d: the log has %v (id %d, value %d, model %d, device %d, at %v), replay %v (id %d, value %d, model %d, device %d, at %v)",
		e.Seq, e.Want.Kind, e.Want.ID, e.Want.Value, e.Want.Model, e.Want.Device, e.Want.At,
		e.Got.Kind, e.Got.ID, e.Got.Value, e.Got.Model, e.Got.Device, e.Got.At)
}

// Unwrap returns what stopped the replay.
func (e *Divergence) Unwrap() error { return e.Err }

// StateReplay is a Sink that applies every event to a core of its own: state
// replay. After the same events Core is in the same state as the one that
// made them.
type StateReplay struct {
	Core *Core
}

// NewStateReplay returns a state replay for a log of the given configuration.
// The configuration needs an estimator of its own.
func NewStateReplay(cfg Config) (*StateReplay, error) {
	core, err := New(cfg)
	if err != nil {
		return nil, err
	}
	return &StateReplay{Core: core}, nil
}

// Append applies events; a *Divergence says which of them contradicts the state.
func (r *StateReplay) Append(events []Event) error {
	for _, ev := range events {
		if err := r.Core.Apply(ev); err != nil {
			return &Divergence{Seq: r.Core.seq, Want: ev, Err: err}
		}
	}
	return nil
}

// DecisionReplay is a Sink that steps a core of its own through the facts of a
// log, under a policy, and compares what it decides with what the log says.
type DecisionReplay struct {
	Core    *Core
	seq     int64
	pending []Event // of the step being collected
	facts   []Event
}

// NewDecisionReplay returns a decision replay. The configuration needs a
// policy, evictor and estimator of its own.
func NewDecisionReplay(cfg Config) (*DecisionReplay, error) {
	core, err := New(cfg)
	if err != nil {
		return nil, err
	}
	return &DecisionReplay{Core: core}, nil
}

// Append takes the next events of the log; each step is compared once the
// next one begins. A difference is a *Divergence.
func (r *DecisionReplay) Append(events []Event) error {
	for _, ev := range events {
		if ev.Kind.Fact() && ev.First() && len(r.pending) > 0 {
			if err := r.Close(); err != nil {
				return err
			}
		}
		r.pending = append(r.pending, ev)
	}
	return nil
}

// Close compares the last step.
func (r *DecisionReplay) Close() error {
	if len(r.pending) == 0 {
		return nil
	}
	want := r.pending
	r.facts = r.facts[:0]
	for _, ev := range want {
		if !ev.Kind.Fact() {
			break
		}
		r.facts = append(r.facts, ev)
	}
	if len(r.facts) == 0 {
		return &Divergence{Seq: r.seq, Want: want[0], Err: fmt.Errorf("a step without facts")}
	}
	stepErr := r.Core.Step(r.facts)
	got := r.Core.Ready()
	for i := range max(len(want), len(got)) {
		var w, g Event
		if i < len(want) {
			w = want[i]
		}
		if i < len(got) {
			g = got[i]
		}
		if w != g {
			return &Divergence{Seq: r.seq + int64(i), Want: w, Got: g, Err: stepErr}
		}
	}
	if stepErr != nil {
		return &Divergence{Seq: r.seq + int64(len(got)), Err: stepErr}
	}
	r.Core.Advance()
	r.seq += int64(len(want))
	r.pending = r.pending[:0]
	return nil
}

// Comparison is a Sink that holds events against a log. The first that differ
// are a *Divergence.
type Comparison struct {
	want []Event
	seq  int64
}

// NewComparison returns a comparison with the given events, which it keeps and
// does not change.
func NewComparison(log []Event) *Comparison { return &Comparison{want: log} }

// Append compares the next events.
func (c *Comparison) Append(events []Event) error {
	for _, ev := range events {
		if c.seq >= int64(len(c.want)) {
			return &Divergence{Seq: c.seq, Got: ev}
		}
		if want := c.want[c.seq]; want != ev {
			return &Divergence{Seq: c.seq, Want: want, Got: ev}
		}
		c.seq++
	}
	return nil
}

// Close says whether the log has more events; err is why no more came, if
// that was an error.
func (c *Comparison) Close(err error) error {
	if _, ok := errors.AsType[*Divergence](err); ok {
		return err
	}
	if c.seq < int64(len(c.want)) {
		return &Divergence{Seq: c.seq, Want: c.want[c.seq], Err: err}
	}
	return err
}

// Replay steps a core of cfg through the facts of events and applies all of
// them to another one of stateCfg; it returns the first *Divergence, nil if
// decisions and states agree. The configurations must not share a policy,
// evictor, estimator or order with state.
func Replay(cfg, stateCfg Config, events []Event) error {
	decisions, err := NewDecisionReplay(cfg)
	if err != nil {
		return err
	}
	states, err := NewStateReplay(stateCfg)
	if err != nil {
		return err
	}
	if err := decisions.Append(events); err != nil {
		return err
	}
	if err := decisions.Close(); err != nil {
		return err
	}
	if err := states.Append(events); err != nil {
		return err
	}
	if decisions.Core.StateDigest() != states.Core.StateDigest() {
		return &Divergence{Seq: int64(len(events)), Err: fmt.Errorf("the two replays end in different states")}
	}
	return nil
}
