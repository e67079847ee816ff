package policies

import (
	"slices"

	"github.com/vramsim/vramsim/scheduler"
)

// symphony defers batches (Chen et al., Symphony, arXiv 2308.07470): a batch
// starts when one more item could no longer join it without its head missing
// the deadline. Of the models that wait so, as many as devices are idle are
// candidates, those first that can wait least; a head is dropped at its
// deadline.
//
// The paper keeps all models on all devices. Here an absent one begins to load
// at the instant at which its batch would have started, as the least recently
// used leaves, and runs when it is there if that is still in time. What has no
// deadline is never dropped or deferred and comes after everything that has
// one.
type symphony struct {
	waiting []deferral // scratch, like the rest
	cramped []bool     // by device: a batch waits for room
}

// deferral is a batch that waits for its instant.
type deferral struct {
	model  scheduler.ModelID
	n      int
	fire   scheduler.Time // no item that comes later could join
	latest scheduler.Time // start with which the head meets its deadline
}

func newSymphony(env *Env) *symphony {
	return &symphony{waiting: make([]deferral, 0, len(env.Models)), cramped: make([]bool, len(env.Devices))}
}

// Next implements scheduler.Policy.
func (s *symphony) Next(v *scheduler.View) scheduler.Decision {
	s.waiting = s.waiting[:0]
	again := scheduler.Never
	for m := v.NextReady(0); m != noModel; m = v.NextReady(m + 1) {
		head, _ := v.Head(m)
		if head.Deadline <= v.Now() {
			return scheduler.Reject(head.ID, RejectLate)
		}
		again = min(again, head.Deadline)
		if b, ok := deferTo(v, m, head.Deadline); ok {
			s.waiting = append(s.waiting, b)
		}
	}
	dec, fire := s.start(v)
	if dec.Kind != scheduler.DecideIdle {
		return dec
	}
	return wake(v, min(again, fire))
}

// deferTo returns the longest batch from the front of m's queue that is done
// by its head's deadline if it starts now, and when it has to.
func deferTo(v *scheduler.View, m scheduler.ModelID, deadline scheduler.Time) (deferral, bool) {
	b := deferral{model: m, n: min(v.Ready(m), v.BatchMax(m)), fire: v.Now(), latest: scheduler.Never}
	if deadline == scheduler.Never {
		return b, true
	}
	for b.n > 0 && v.BatchEstimate(m, b.n) > deadline-v.Now() {
		b.n--
	}
	if b.n < v.BatchMax(m) {
		b.fire = max(b.fire, deadline-v.BatchEstimate(m, b.n+1))
	}
	b.latest = deadline - v.BatchEstimate(m, b.n)
	return b, b.n > 0
}

// start finds what to do for the candidates, or when the first of them fires.
func (s *symphony) start(v *scheduler.View) (scheduler.Decision, scheduler.Time) {
	idle := 0
	for d := range scheduler.DeviceID(v.Devices()) {
		if v.FreeSlots(d) == 0 {
			continue
		}
		idle++
		for i := range s.waiting { // what was loaded for its instant
			if b := &s.waiting[i]; b.fire <= v.Now() && awaited(v, d, b.model) && v.Fits(d, b.model) > 0 {
				return scheduler.Run(d, b.model, min(b.n, v.Fits(d, b.model))), scheduler.Never
			}
		}
	}
	fire := scheduler.Never
	clear(s.cramped)
	for range idle {
		next := s.first(v)
		if next < 0 {
			break
		}
		b := s.waiting[next]
		s.waiting = slices.Delete(s.waiting, next, next+1)
		if b.fire > v.Now() {
			fire = min(fire, b.fire)
		} else if dec := s.begin(v, &b); dec.Kind != scheduler.DecideIdle {
			return dec, scheduler.Never
		}
	}
	return scheduler.Decision{}, fire
}

// first returns the place of the batch that can wait least among those that an
// idle device takes, -1 if there is none.
func (s *symphony) first(v *scheduler.View) int {
	best := -1
	for i := range s.waiting {
		if (best < 0 || s.waiting[i].latest < s.waiting[best].latest) && welcome(v, s.waiting[i].model) {
			best = i
		}
	}
	return best
}

// welcome reports whether some idle device can take m.
func welcome(v *scheduler.View, m scheduler.ModelID) bool {
	for d := range scheduler.DeviceID(v.Devices()) {
		if v.FreeSlots(d) > 0 && takes(v, d, m) {
			return true
		}
	}
	return false
}

// begin runs b on the first idle device that holds its model, or loads it on
// the first that can, unless a candidate before it waits for room there: what
// is loaded would take that.
func (s *symphony) begin(v *scheduler.View, b *deferral) scheduler.Decision {
	held := false
	for d := range scheduler.DeviceID(v.Devices()) {
		if v.FreeSlots(d) == 0 || v.State(d, b.model) != scheduler.Resident || !takes(v, d, b.model) {
			continue
		}
		if n := min(b.n, v.Fits(d, b.model)); n > 0 {
			return scheduler.Run(d, b.model, n)
		}
		if dec := makeRoom(v, d, b.model); dec.Kind != scheduler.DecideIdle {
			return dec
		}
		held, s.cramped[d] = true, true
	}
	if held || coming(v, b.model) {
		return scheduler.Decision{}
	}
	for d := range scheduler.DeviceID(v.Devices()) {
		if v.FreeSlots(d) > 0 && !s.cramped[d] && takes(v, d, b.model) && v.Loadable(d, b.model) {
			return scheduler.Load(d, b.model)
		}
	}
	return scheduler.Decision{}
}

// Victim implements scheduler.Evictor.
func (s *symphony) Victim(v *scheduler.View, d scheduler.DeviceID, _ scheduler.Bytes, incoming scheduler.ModelID) (scheduler.ModelID, bool) {
	return leastUsed(v, d, incoming)
}
