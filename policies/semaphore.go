package policies

import (
	"math"

	"github.com/vramsim/vramsim/scheduler"
)

// semaphore is the seed document's other mode: one queue for all, one item at a
// time in the order of becoming ready. The head takes permits for its model,
// loads it, runs and returns them; a model without permits is evicted. Permits
// are counted as the document does: whole units of a gigabyte's k-th part, cut
// off, of the device's total memory and not of its budget.
type semaphore struct {
	units  []int64 // by model
	total  []int64 // by device
	noted  bool    // this refusal stands in the log
	budget []scheduler.Bytes
}

func newSemaphore(env *Env, k int64) *semaphore {
	s := &semaphore{}
	units := func(b scheduler.Bytes) int64 { return int64(float64(float64(b)/1e9) * float64(k)) }
	for i := range env.Models {
		s.units = append(s.units, units(env.Models[i].Bytes))
	}
	for i := range env.Devices {
		s.total = append(s.total, units(env.Devices[i].Memory))
		s.budget = append(s.budget, env.Devices[i].Budget)
	}
	return s
}

// Next implements scheduler.Policy.
func (s *semaphore) Next(v *scheduler.View) scheduler.Decision {
	m := s.head(v)
	d := scheduler.NoDevice
	if m != noModel {
		d = s.device(v, m)
	}
	if d != scheduler.NoDevice && v.State(d, m) == scheduler.Resident && v.FreeSlots(d) > 0 && v.Fits(d, m) > 0 {
		return scheduler.Run(d, m, 1)
	}
	if dec, ok := s.evict(v, d, m); ok {
		return dec
	}
	if d == scheduler.NoDevice || v.FreeSlots(d) == 0 && v.State(d, m) == scheduler.Resident {
		return scheduler.Decision{}
	}
	return s.serve(v, d, m)
}

// head returns the model of the item that became ready first.
func (s *semaphore) head(v *scheduler.View) scheduler.ModelID {
	best, first := noModel, int64(math.MaxInt64)
	for m := v.NextReady(0); m != noModel; m = v.NextReady(m + 1) {
		if seq := v.HeadSeq(m); seq < first {
			best, first = m, seq
		}
	}
	return best
}

// device returns where the head of m gets its permits: where its model already
// is, else the first device that has them; scheduler.NoDevice while none has.
func (s *semaphore) device(v *scheduler.View, m scheduler.ModelID) scheduler.DeviceID {
	best, there := scheduler.NoDevice, false
	for d := range scheduler.DeviceID(len(s.total)) {
		if !v.Up(d) || v.Bytes(m) > s.budget[d]-v.BatchMemory(m) || s.free(v, d) < s.units[m] {
			continue
		}
		switch v.State(d, m) {
		case scheduler.Claimed, scheduler.Loading, scheduler.Resident:
			if !there {
				best, there = d, true
			}
		}
		if best == scheduler.NoDevice {
			best = d
		}
	}
	return best
}

// free returns d's permits that no running item holds.
func (s *semaphore) free(v *scheduler.View, d scheduler.DeviceID) int64 {
	free := s.total[d]
	for i := range v.Running(d) {
		free -= s.units[v.RunningBatch(d, i).Model]
	}
	return free
}

// evict evicts a model without permits: idle, and not the head's on its device.
func (s *semaphore) evict(v *scheduler.View, d scheduler.DeviceID, m scheduler.ModelID) (scheduler.Decision, bool) {
	for on := range scheduler.DeviceID(len(s.total)) {
		if !v.Up(on) {
			continue
		}
		for _, idle := range v.Residents(on) {
			if (on != d || idle != m) && v.Evictable(on, idle) {
				return scheduler.Evict(on, idle), true
			}
		}
	}
	return scheduler.Decision{}, false
}

// serve loads the head's model, or waits for the ledger, which refused it.
func (s *semaphore) serve(v *scheduler.View, d scheduler.DeviceID, m scheduler.ModelID) scheduler.Decision {
	missing := v.BatchMemory(m) - v.Headroom(d)
	switch v.State(d, m) {
	case scheduler.Absent:
		if _, _, busy := v.Link(d); busy {
			return scheduler.Decision{}
		}
		if missing = v.Bytes(m) - v.Headroom(d); missing <= 0 {
			return scheduler.Load(d, m)
		}
	case scheduler.Resident:
	default:
		return scheduler.Decision{}
	}
	return s.refused(v, d, missing)
}

// refused notes once that the permits allowed what the ledger does not; the
// note goes with a wake-up, for nothing else happens.
func (s *semaphore) refused(v *scheduler.View, d scheduler.DeviceID, missing scheduler.Bytes) scheduler.Decision {
	if s.noted {
		return scheduler.Decision{}
	}
	at := scheduler.Never
	for i := range v.Running(d) {
		at = min(at, v.RunningBatch(d, i).End)
	}
	if at == scheduler.Never {
		return scheduler.Decision{} // an eviction is under way
	}
	return wake(v, max(at, v.Now()+1)).Because(scheduler.ReasonOverBudget, int64(missing))
}

// Observe implements scheduler.Observer: it remembers that a refusal was noted.
func (s *semaphore) Observe(_ *scheduler.View, ev scheduler.Event) {
	switch ev.Kind {
	case scheduler.Note:
		s.noted = true
	case scheduler.LoadStarted, scheduler.BatchStarted:
		s.noted = false
	}
}
