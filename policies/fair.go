package policies

import (
	"slices"

	"github.com/vramsim/vramsim/scheduler"
)

// meter adds up what models have used: their batches, by the estimate while
// one runs and by what it took once it has ended, and their loads where those
// count.
type meter struct {
	loads bool
	used  []scheduler.Time // by model
	going []use            // in flight
}

// use is a batch or load in flight.
type use struct {
	id            int64 // sequence number of its start
	device        scheduler.DeviceID
	model         scheduler.ModelID
	start, charge scheduler.Time
}

func newMeter(env *Env, loads bool) meter {
	return meter{loads: loads, used: make([]scheduler.Time, len(env.Models))}
}

func (k *meter) observe(ev scheduler.Event) {
	switch ev.Kind {
	case scheduler.BatchStarted:
		k.begin(ev, ev.Estimate())
	case scheduler.LoadStarted:
		if k.loads {
			k.begin(ev, 0)
		}
	case scheduler.BatchFinished, scheduler.BatchFailed, scheduler.LoadFinished, scheduler.LoadFailed:
		k.end(ev.At, func(u *use) bool { return u.id == ev.ID })
	case scheduler.DeviceDown:
		k.end(ev.At, func(u *use) bool { return u.device == ev.Device })
	}
}

func (k *meter) begin(ev scheduler.Event, charge scheduler.Time) {
	k.going = append(k.going, use{id: ev.ID, device: ev.Device, model: ev.Model, start: ev.At, charge: charge})
	k.used[ev.Model] += charge
}

// end replaces what was charged for some uses by what they took until now.
func (k *meter) end(now scheduler.Time, which func(*use) bool) {
	k.going = slices.DeleteFunc(k.going, func(u use) bool {
		ended := which(&u)
		if ended {
			k.used[u.model] += now - u.start - u.charge
		}
		return ended
	})
}

// busy reports whether m has items ready or running.
func busy(v *scheduler.View, m scheduler.ModelID) bool { return v.Ready(m) > 0 || runs(v, m) }

func runs(v *scheduler.View, m scheduler.ModelID) bool {
	for d := range scheduler.DeviceID(v.Devices()) {
		if v.Busy(d, m) {
			return true
		}
	}
	return false
}

// wakes returns the model that ev made busy by an item that became ready,
// scheduler.NoModel if it was busy before or ev is none of that.
func wakes(v *scheduler.View, ev scheduler.Event) scheduler.ModelID {
	switch ev.Kind {
	case scheduler.ItemArrived, scheduler.ItemJob, scheduler.ItemDeadline, scheduler.ItemWork, scheduler.ItemTenant, scheduler.ItemDependsOn, scheduler.ItemReadied:
	default:
		return noModel
	}
	item, ok := v.ItemByID(ev.Item())
	if !ok || v.Ready(item.Model) != 1 || runs(v, item.Model) {
		return noModel
	}
	// The attributes of an arrival may still follow: it is not in its queue then.
	if head, _ := v.Head(item.Model); head.ID != item.ID {
		return noModel
	}
	return item.Model
}

// drr is deficit round robin among models. A visit adds a quantum to what its
// model has, and lasts while that pays for a batch; batches and loads are paid
// by what they take. The first batch of a visit runs in any case: else a model
// whose load takes longer than a quantum would never come to it. With nothing
// to do a model keeps neither savings nor debts.
type drr struct {
	polling
	meter
	quantum scheduler.Time
	models  []scheduler.Model
	granted []scheduler.Time // by model
}

func newDRR(a *Args) (any, error) {
	n := len(a.Env.Models)
	return &drr{polling: newPolling(nil, n), meter: newMeter(a.Env, true), quantum: a.Time("quantum"), models: a.Env.Models, granted: make([]scheduler.Time, n)}, nil
}

func (s *drr) Observe(v *scheduler.View, ev scheduler.Event) {
	s.meter.observe(ev)
	if m := wakes(v, ev); m != noModel {
		s.granted[m] = s.used[m]
	}
}

func (s *drr) opened(stay *Stay, _ bool) {
	s.granted[stay.Model], _ = scheduler.AddTime(s.granted[stay.Model], s.quantum)
}

func (s *drr) left(_ *scheduler.View, stay *Stay) int {
	m, least := stay.Model, 0
	has := s.granted[m]
	if stay.Batches == 0 {
		has, _ = scheduler.AddTime(has, s.quantum)
		least = 1
	}
	has -= s.used[m]
	batch := &s.models[m].Batch
	for n := batch.Max; n > least; n-- {
		if batch.Time(n, int64(n)*scheduler.WorkUnit) <= has {
			return n
		}
	}
	return least
}

// wfq takes the model that was served for the least time. Who has been idle
// starts from the least of those that have been busy meanwhile.
type wfq struct{ meter }

func (s *wfq) Observe(v *scheduler.View, ev scheduler.Event) {
	s.meter.observe(ev)
	m := wakes(v, ev)
	if m == noModel {
		return
	}
	least, found := scheduler.Never, false
	for other := range scheduler.ModelID(v.Models()) {
		if other != m && busy(v, other) {
			least, found = min(least, s.used[other]), true
		}
	}
	if found {
		s.used[m] = max(s.used[m], least)
	}
}

func (s *wfq) Select(_ *scheduler.View, c *Candidates) scheduler.ModelID {
	best := noModel
	for m := c.Next(0); m != noModel; m = c.Next(m + 1) {
		if best == noModel || s.used[m] < s.used[best] {
			best = m
		}
	}
	return best
}

// turns is wfq by turns, as Triton's rate limiter takes them: the model with the
// fewest batches times the priority of its head, that of 2 getting half the
// turns of 1 and less counting as 1.
type turns struct{ batches []int64 } // by model

func (s *turns) Observe(_ *scheduler.View, ev scheduler.Event) {
	if ev.Kind == scheduler.BatchStarted {
		s.batches[ev.Model]++
	}
}

func (s *turns) Select(v *scheduler.View, c *Candidates) scheduler.ModelID {
	best, least := noModel, scheduler.Never
	for m := c.Next(0); m != noModel; m = c.Next(m + 1) {
		head, _ := v.Head(m)
		if k := times(scheduler.Time(s.batches[m]), int64(max(head.Priority, 1))); best == noModel || k < least {
			best, least = m, k
		}
	}
	return best
}

func newWFQ(a *Args) (any, error) {
	if a.Bool("turns") {
		return &turns{batches: make([]int64, len(a.Env.Models))}, nil
	}
	return &wfq{meter: newMeter(a.Env, false)}, nil
}
