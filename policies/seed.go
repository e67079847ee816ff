package policies

import (
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/random"
)

// seed is the rule of the seed document, its faults included: the current
// model while its queue has items, else the most ready; one resident model; the
// batch is counted before the load. It knows no memory, ages or estimates.
//
// The document takes a batch's items out of their queue before it loads. Here
// their number is frozen when the load starts and the members are the head of
// the queue when the batch starts.
type seed struct {
	rank    []int32 // by model: of equal queues the highest is taken; nil: the lowest id
	pending []order // by device
	frozen  int     // items that are spoken for, over all devices
}

// order is what a device was told to switch to.
type order struct {
	model scheduler.ModelID
	n     int // fixed once the load has started, else 0
}

func newSeed(env *Env, permuted bool) *seed {
	s := &seed{pending: make([]order, len(env.Devices))}
	for d := range s.pending {
		s.pending[d].model = noModel
	}
	if permuted {
		s.rank = permutation(random.Key(env.Seed, uint64(env.Replicate), random.Hash("policy seed: ties")), len(env.Models))
	}
	return s
}

// permutation returns the places of 0…n−1 in a random order.
func permutation(key uint64, n int) []int32 {
	rank := make([]int32, n)
	for i := range rank {
		rank[i] = int32(i)
	}
	stream := random.NewStream(key)
	for i := n - 1; i > 0; i-- {
		j := int(stream.Uint64() % uint64(i+1))
		rank[i], rank[j] = rank[j], rank[i]
	}
	return rank
}

// Next implements scheduler.Policy.
func (s *seed) Next(v *scheduler.View) (dec scheduler.Decision) {
	s.Decide(v, &dec)
	return dec
}

// Decide implements scheduler.Decider.
func (s *seed) Decide(v *scheduler.View, dec *scheduler.Decision) {
	for d := range s.pending {
		if d := scheduler.DeviceID(d); v.FreeSlots(d) > 0 {
			if s.turn(v, d, dec); dec.Kind != scheduler.DecideIdle {
				return
			}
		}
	}
}

// turn finds what d should do, if anything.
func (s *seed) turn(v *scheduler.View, d scheduler.DeviceID, dec *scheduler.Decision) {
	dec.Device = d
	there := v.Residents(d)
	if len(there) == 0 {
		s.load(v, d, dec)
		return
	}
	current := there[0]
	dec.Model = current
	if v.State(d, current) != scheduler.Resident {
		return // on its way
	}
	if n := v.Ready(current); n > 0 {
		if p := &s.pending[d]; p.n > 0 && p.model == current {
			run(v, min(p.n, n), dec)
			return
		}
		if n = s.available(v, d, current); n > 0 {
			run(v, min(n, v.BatchMax(current)), dec)
			return
		}
	}
	if !v.Busy(d, current) && v.TotalReady() > 0 && s.mostReady(v, d) != noModel {
		dec.Kind = scheduler.DecideEvict
	}
}

// load brings the model that was chosen when the last one had to leave.
func (s *seed) load(v *scheduler.View, d scheduler.DeviceID, dec *scheduler.Decision) {
	m := s.pending[d].model
	if m == noModel || s.available(v, d, m) == 0 {
		m = s.mostReady(v, d)
	}
	if m != noModel && v.Headroom(d) >= v.Bytes(m) {
		dec.Kind, dec.Model = scheduler.DecideLoad, m
	}
}

// run starts n items of the decision's model, or what the ledger lets of them.
func run(v *scheduler.View, n int, dec *scheduler.Decision) {
	fits := n
	if memory := v.BatchMemory(dec.Model); memory > 0 {
		if fits = v.Fits(dec.Device, dec.Model); fits == 0 {
			return
		}
		if fits < n {
			missing := memory*scheduler.Bytes(n) - v.Headroom(dec.Device)
			dec.Why = scheduler.Reason{Code: scheduler.ReasonOverBudget, Value: int64(missing)}
		}
	}
	dec.Kind, dec.N = scheduler.DecideRun, min(n, fits)
}

// mostReady returns the model with the most items for d.
func (s *seed) mostReady(v *scheduler.View, d scheduler.DeviceID) scheduler.ModelID {
	best, most := noModel, 0
	for m := v.NextReady(0); m != noModel; m = v.NextReady(m + 1) {
		if !takes(v, d, m) {
			continue // another device is larger
		}
		n := s.available(v, d, m)
		if n > most || n == most && n > 0 && s.rank != nil && s.rank[m] > s.rank[best] {
			best, most = m, n
		}
	}
	return best
}

// available returns how many items of m are ready and not spoken for by the
// load of another device.
func (s *seed) available(v *scheduler.View, d scheduler.DeviceID, m scheduler.ModelID) int {
	n := v.Ready(m)
	if s.frozen == 0 || len(s.pending) == 1 {
		return n
	}
	for other := range s.pending {
		if p := &s.pending[other]; scheduler.DeviceID(other) != d && p.model == m {
			n -= p.n
		}
	}
	return max(n, 0)
}

// Observes implements scheduler.Selective.
func (s *seed) Observes() scheduler.KindSet {
	return scheduler.Kinds(scheduler.EvictStarted, scheduler.LoadStarted, scheduler.BatchStarted, scheduler.LoadFailed, scheduler.DeviceDown)
}

// Observe implements scheduler.Observer: it keeps what devices switch to.
func (s *seed) Observe(v *scheduler.View, ev scheduler.Event) {
	switch ev.Kind {
	case scheduler.EvictStarted:
		s.drop(ev.Device)
		s.pending[ev.Device].model = s.mostReady(v, ev.Device)
	case scheduler.LoadStarted:
		s.drop(ev.Device)
		n := min(s.available(v, ev.Device, ev.Model), v.BatchMax(ev.Model))
		s.pending[ev.Device] = order{model: ev.Model, n: n}
		s.frozen += n
	case scheduler.BatchStarted, scheduler.LoadFailed, scheduler.DeviceDown:
		s.drop(ev.Device)
	}
}

func (s *seed) drop(d scheduler.DeviceID) {
	s.frozen -= s.pending[d].n
	s.pending[d] = order{model: noModel}
}
