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
// and can be used again at Until (Never: not any more). Outages that overlap
// are one.
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

// Cancellation gives up an item at a time, or right after its arrival if that
// is later.
type Cancellation struct {
	Item scheduler.ItemID
	At   scheduler.Time
}

func (f *Faults) active() bool {
	return f.LoadFailure > 0 || f.BatchFailure > 0 || len(f.Outages)+len(f.Foreign)+len(f.Cancellations) > 0
}

// faultState holds the facts that faults will bring, in order.
type faultState struct {
	cfg     Faults
	future  []scheduler.Event
	arrived scheduler.ItemID  // items below it have
	early   []scheduler.Event // cancellations of items that have not
}

func (s *faultState) init(cfg Faults) {
	s.cfg = cfg
	for _, o := range merged(cfg.Outages) {
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
	inOrder(s.future)
}

// inOrder sorts facts from outside by time and then as every World does.
func inOrder(facts []scheduler.Event) {
	slices.SortStableFunc(facts, func(a, b scheduler.Event) int {
		return cmp.Or(cmp.Compare(a.At, b.At), scheduler.CompareFacts(&a, &b))
	})
}

// merged returns outages in order, those that overlap or touch as one.
func merged(outages []Outage) []Outage {
	sorted := slices.Clone(outages)
	slices.SortStableFunc(sorted, func(a, b Outage) int {
		return cmp.Or(cmp.Compare(a.Device, b.Device), cmp.Compare(a.From, b.From))
	})
	kept := sorted[:0]
	for _, o := range sorted {
		if n := len(kept); n > 0 && kept[n-1].Device == o.Device && o.From <= kept[n-1].Until {
			kept[n-1].Until = max(kept[n-1].Until, o.Until)
			continue
		}
		kept = append(kept, o)
	}
	return kept
}

func (s *faultState) pending() bool { return len(s.future)+len(s.early) > 0 }

// arrive notes arrivals: cancellations that came too early for them are due.
func (s *faultState) arrive(at scheduler.Time, facts []scheduler.Event) {
	for i := range facts {
		if facts[i].Kind == scheduler.ItemArrived {
			s.arrived = facts[i].Item() + 1
		}
	}
	var now, early []scheduler.Event
	for _, ev := range s.early {
		if ev.Item() < s.arrived {
			ev.At = at
			now = append(now, ev)
		} else {
			early = append(early, ev)
		}
	}
	inOrder(now)
	s.future, s.early = append(now, s.future...), early
}

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
		switch {
		case ev.Kind == scheduler.DeviceDown:
			lose(ev.Device)
		case ev.Kind == scheduler.ItemCancelled && ev.Item() >= s.arrived:
			s.early = append(s.early, ev)
			continue
		}
		facts = append(facts, ev)
	}
	return facts
}

// loseDevice fails everything in flight on a device without a fact of its
// own: DeviceDown says it all.
func (w *World) loseDevice(d scheduler.DeviceID) {
	w.future.dropDevice(d, func(ev scheduler.Event) {
		if ev.Kind.Class() == batchClass {
			ev.Kind = scheduler.BatchFailed
			w.settleMembers(ev)
		}
	})
	w.devices.lose(d)
}

func (s *faultState) load(d *draws, m scheduler.ModelID, ordinal int64) bool {
	return s.cfg.LoadFailure > 0 && d.uniform(drawLoadFault, d.names[m], uint64(ordinal)) < s.cfg.LoadFailure
}

func (s *faultState) batch(d *draws, lowest scheduler.ItemID, attempt int) bool {
	return s.cfg.BatchFailure > 0 && d.uniform(drawBatchFault, uint64(lowest), uint64(attempt)) < s.cfg.BatchFailure
}
