package sim

import (
	"slices"

	"github.com/vramsim/vramsim/scheduler"
)

// Timing tells what commands take, and which fail, as the simulated World of
// the same configuration has it: the same costs, draws and injected failures.
// It is for executors that only sleep. As a Sink it follows the run that it is
// asked about; it belongs to one goroutine.
type Timing struct{ w *World }

// NewTiming returns the timing of a run at its start. Of the configuration's
// source it only asks for recorded service times.
func NewTiming(cfg Config) *Timing {
	w := New(cfg)
	w.running = map[int64][]scheduler.ItemID{} // whatever fails: others may inject failures too
	return &Timing{w}
}

// Outside returns what the configuration lets happen to devices, memory and
// items, and when, in order of time.
func (t *Timing) Outside() []scheduler.Event { return slices.Clone(t.w.faults.future) }

// Append follows the events of a step.
func (t *Timing) Append(events []scheduler.Event) error {
	for i := range events {
		switch ev := &events[i]; ev.Kind {
		case scheduler.BatchFinished, scheduler.BatchFailed:
			t.w.devices.ran(ev.Device, -1)
			t.w.settleMembers(*ev)
		case scheduler.DeviceDown:
			t.w.devices.lose(ev.Device)
		case scheduler.ItemCancelled, scheduler.ItemRejected, scheduler.DependantCancelled, scheduler.ItemFailed:
			t.w.forget(ev.Item())
		}
	}
	return t.w.admit(events)
}

// Of returns what a command takes, and whether it then fails on purpose. Each
// command is asked about once, in the order in which they start.
func (t *Timing) Of(c scheduler.Command) (took scheduler.Time, fails bool, err error) {
	ev := scheduler.Event{Kind: scheduler.EvictStarted, ID: int64(c.Seq), Model: c.Model, Device: c.Device}
	switch c.Op {
	case scheduler.OpRun:
		ev.Kind = scheduler.BatchStarted
		t.w.members = t.w.members[:0]
		for i := range c.Items {
			t.w.members = append(t.w.members, c.Items[i].ID)
		}
		err = t.w.startBatch(&ev)
	case scheduler.OpLoad:
		ev.Kind = scheduler.LoadStarted
		ev = ev.WithTier(c.Tier)
		err = t.w.startLoad(&ev)
	default:
		err = t.w.startEvict(&ev)
	}
	if err != nil {
		return 0, false, err
	}
	end := t.w.future[0]
	t.w.future = t.w.future[:0]
	return end.At, end.Kind == scheduler.LoadFailed || end.Kind == scheduler.BatchFailed, nil
}
