package sim

import (
	"context"
	"fmt"
	"io"

	"github.com/vramsim/vramsim/scheduler"
)

// Recording is what the log of a run tells of the world in which it ran: what
// came from outside (arrivals with their attributes, devices lost and back,
// memory of other processes, cancellations), when and how each command ended,
// and when each timer became a fact. A World of a Config with a Recording lets
// the same happen again. It is a scheduler.Sink, to be shown the whole log
// before that World is made; it serves any number of Worlds.
//
// The log's instants must be those of a clock, strictly increasing from one
// Step to the next, or those of a simulated world without closed loops.
type Recording struct {
	seq      int64
	arrivals []scheduler.Event
	outside  []scheduler.Event
	ends     map[int64]scheduler.Event // of commands, by the sequence number of their decision
	fired    [2][]scheduler.Time       // of each timer, by the ordinal of its TimerSet; Never if it did not fire
}

// NewRecording returns an empty recording.
func NewRecording() *Recording { return &Recording{ends: map[int64]scheduler.Event{}} }

// Append takes the next events of the log.
func (r *Recording) Append(events []scheduler.Event) error {
	for _, ev := range events {
		if err := r.add(ev); err != nil {
			return fmt.Errorf("sim: event %d cannot be recorded: %w", r.seq, err)
		}
		r.seq++
	}
	return nil
}

func (r *Recording) add(ev scheduler.Event) error {
	ev.Flags &^= scheduler.FlagFirst
	switch ev.Kind {
	case scheduler.ItemArrived, scheduler.ItemJob, scheduler.ItemDeadline, scheduler.ItemWork, scheduler.ItemTenant, scheduler.ItemDependsOn:
		r.arrivals = append(r.arrivals, ev)
	case scheduler.DeviceUp, scheduler.DeviceDown, scheduler.MemoryObserved, scheduler.ItemCancelled:
		r.outside = append(r.outside, ev)
	case scheduler.BatchFinished, scheduler.BatchFailed, scheduler.LoadFinished, scheduler.LoadFailed, scheduler.EvictFinished, scheduler.EvictFailed:
		if _, twice := r.ends[ev.ID]; twice || ev.ID < 0 || ev.ID >= r.seq {
			return fmt.Errorf("%v of command %d", ev.Kind, ev.ID)
		}
		r.ends[ev.ID] = ev
	case scheduler.TimerSet, scheduler.TimerFired:
		return r.addTimer(ev)
	}
	return nil
}

func (r *Recording) addTimer(ev scheduler.Event) error {
	if ev.ID < 0 || ev.ID >= int64(len(r.fired)) {
		return fmt.Errorf("no timer has number %d", ev.ID)
	}
	fired := &r.fired[ev.ID]
	if ev.Kind == scheduler.TimerSet {
		*fired = append(*fired, scheduler.Never)
		return nil
	}
	last := len(*fired) - 1
	if last < 0 || (*fired)[last] != scheduler.Never {
		return fmt.Errorf("timer %d fires and was not set", ev.ID)
	}
	(*fired)[last] = ev.At
	return nil
}

// Events returns how many events were recorded.
func (r *Recording) Events() int64 { return r.seq }

// source returns the recorded arrivals.
func (r *Recording) source() scheduler.Source { return &recorded{left: r.arrivals} }

// recorded is the Source of a Recording.
type recorded struct{ left []scheduler.Event }

// Next returns the arrivals of the next instant.
func (s *recorded) Next() ([]scheduler.Event, error) {
	if len(s.left) == 0 {
		return nil, io.EOF
	}
	n := 1
	for n < len(s.left) && s.left[n].At == s.left[0].At {
		n++
	}
	instant := s.left[:n:n]
	s.left = s.left[n:]
	return instant, nil
}

// startRecorded begins to carry out an effect of a recorded run: it ends as it
// did there. What was in flight at the end of the log, or on a device that was
// lost, does not end.
func (w *World) startRecorded(ev scheduler.Event) error {
	r := w.cfg.Recording
	switch ev.Kind {
	case scheduler.MemberDispatched:
		return nil
	case scheduler.TimerSet:
		n := w.timersSet[ev.ID]
		w.timersSet[ev.ID]++
		if n >= len(r.fired[ev.ID]) {
			return fmt.Errorf("sim: timer %d is set a %d. time, which was not recorded", ev.ID, n+1)
		}
		w.setTimer(ev.ID, r.fired[ev.ID][n])
		return nil
	}
	end, ok := r.ends[ev.ID]
	if !ok {
		return nil
	}
	if end.Model != ev.Model || end.Device != ev.Device || !ends(end.Kind, ev.Kind) || end.At < ev.At {
		return fmt.Errorf("sim: command %d is a %v of model %d on device %d; a %v of model %d on device %d was recorded",
			ev.ID, ev.Kind, ev.Model, ev.Device, end.Kind, end.Model, end.Device)
	}
	w.push(end)
	return nil
}

// ends reports whether a fact of one kind ends a command of the other.
func ends(fact, command scheduler.Kind) bool {
	switch command {
	case scheduler.BatchStarted:
		return fact == scheduler.BatchFinished || fact == scheduler.BatchFailed
	case scheduler.LoadStarted:
		return fact == scheduler.LoadFinished || fact == scheduler.LoadFailed
	case scheduler.EvictStarted:
		return fact == scheduler.EvictFinished || fact == scheduler.EvictFailed
	}
	return false
}

// Closure drives a core of the given configuration in the World of a
// recording and hands what happens to the sinks. A *scheduler.Comparison with
// the log among them tells whether the simulated World gives the same events.
// The configuration needs a policy, evictor, order and estimator of its own.
func Closure(ctx context.Context, cfg scheduler.Config, r *Recording, sinks ...scheduler.Sink) error {
	core, err := scheduler.New(cfg)
	if err != nil {
		return err
	}
	return scheduler.Drive(ctx, core, New(Config{Recording: r}), sinks...)
}
