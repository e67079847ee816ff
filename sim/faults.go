package sim

import (
	"cmp"
	"slices"

	"github.com/vramsim/vramsim/scheduler"
)

// Faults are what goes wrong in a simulated world, on purpose. The zero value
// is a world without.
type Faults struct {
	LoadFailure  float64 // probability that a load fails, in [0, 1]
	BatchFailure float64 // probability that a batch fails, in [0, 1]
	// Outages are times at which devices are lost.
	Outages []Outage
	// Foreign are times at which other processes take or return memory.
	Foreign []Foreign
	// Cancellations are times at which items are given up.
	Cancellations []Cancellation
}

// Outage is a device that is lost at From, with all in flight and resident,
// and can be used again at Until (Never: not any more).
type Outage struct {
	Device      scheduler.DeviceID
	From, Until scheduler.Time
}

// Foreign says that from At on other processes hold Bytes of a device.
type Foreign struct {
	Device scheduler.DeviceID
	At     scheduler.Time
	Bytes  scheduler.Bytes
}

// Cancellation gives up an item at a time at or after its arrival.
type Cancellation struct {
	Item scheduler.ItemID
	At   scheduler.Time
}

func (f *Faults) active() bool {
	return f.LoadFailure > 0 || f.BatchFailure > 0 || len(f.Outages)+len(f.Foreign)+len(f.Cancellations) > 0
}

// faultState holds the facts that faults will bring, in order.
type faultState struct {
	cfg    Faults
	future []scheduler.Event
}

func (s *faultState) init(cfg Faults) {
	s.cfg = cfg
	for _, o := range cfg.Outages {
		s.future = append(s.future, scheduler.Event{At: o.From, Kind: scheduler.DeviceDown, Device: o.Device, Model: scheduler.NoModel})
		if o.Until != scheduler.Never {
			s.future = append(s.future, scheduler.Event{At: o.Until, Kind: scheduler.DeviceUp, Device: o.Device, Model: scheduler.NoModel})
		}
	}
	for _, f := range cfg.Foreign {
		s.future = append(s.future, scheduler.Event{At: f.At, Kind: scheduler.MemoryObserved, Device: f.Device, Value: int64(f.Bytes), Model: scheduler.NoModel})
	}
	for _, c := range cfg.Cancellations {
		s.future = append(s.future, scheduler.Event{At: c.At, Kind: scheduler.ItemCancelled, ID: int64(c.Item), Model: scheduler.NoModel, Device: scheduler.NoDevice})
	}
	slices.SortStableFunc(s.future, func(a, b scheduler.Event) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Kind.Class(), b.Kind.Class()))
	})
}

func (s *faultState) pending() bool { return len(s.future) > 0 }

func (s *faultState) nextAt() scheduler.Time {
	if len(s.future) == 0 {
		return scheduler.Never
	}
	return s.future[0].At
}

// due appends the faults of one instant.
func (s *faultState) due(at scheduler.Time, facts []scheduler.Event, lose func(scheduler.DeviceID)) []scheduler.Event {
	for len(s.future) > 0 && s.future[0].At == at {
		ev := s.future[0]
		s.future = s.future[1:]
		if ev.Kind == scheduler.DeviceDown {
			lose(ev.Device)
		}
		facts = append(facts, ev)
	}
	return facts
}

// loseDevice fails everything in flight on a device without a fact of its
// own: DeviceDown says it all.
func (w *World) loseDevice(d scheduler.DeviceID) {
	w.future.dropDevice(d, func(ev scheduler.Event) {
		if ev.Kind.Class() == 0 {
			ev.Kind = scheduler.BatchFailed
			w.settleMembers(ev)
		}
	})
}

func (s *faultState) load(d *draws, m scheduler.ModelID, ordinal int64) bool {
	return s.cfg.LoadFailure > 0 && d.uniform(drawLoadFault, d.names[m], uint64(ordinal)) < s.cfg.LoadFailure
}

func (s *faultState) batch(d *draws, lowest scheduler.ItemID, attempt int) bool {
	return s.cfg.BatchFailure > 0 && d.uniform(drawBatchFault, uint64(lowest), uint64(attempt)) < s.cfg.BatchFailure
}
