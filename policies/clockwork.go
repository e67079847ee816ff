package policies

import (
	"math"
	"math/bits"

	"github.com/vramsim/vramsim/scheduler"
)

// clockwork runs, of the batches that still meet their head's deadline, the one
// with least slack, and loads by unmet demand (Gujarati et al., Clockwork, OSDI
// 2020; the rule for loads as in the ERDOS port, erdos-scheduling-simulator,
// schedulers/clockwork_scheduler.py). Items that would be late are rejected.
//
// With w the window and L a load, the demand of an item is t(1)·w over what its
// deadline leaves of the time since its arrival after t(1) and L, that of a
// model the sum s over its items:
//
//	D(g) = demand without L that device g is allotted, model by model; holders
//	       share a model's by x(g) ∝ 1/D(g) so far, those without any alone
//	p(m) = s if nobody holds m, else s·(1 − Σ x(g)·w/D(g)) with the final D
//
// The absent model of largest p > 0 is loaded, if what must leave for it has
// less. The port evicts the least recently used, and loads without demand too;
// here the least p leaves. What was loaded is not evicted for another load
// before it has run, and what is on its way counts as held.
//
// Demands are integers: units of a 1024th of a nanosecond, each item's rounded
// up and at least 1, sums and quotients cut off at 2⁶². A share is rounded down,
// and so is what a device serves of it. An item without a deadline has the latest there is: its demand is
// small but never 0, so that its model comes once no other has more.
type clockwork struct {
	window   uint64   // in units
	loading  []uint64 // by model: demand with the load; these are scratch
	running  []uint64 // by model: demand without
	allotted []uint64 // by device
	share    []uint64 // by device, of one model
	unmet    []int64  // by model
	cramped  []bool   // by device: a batch waits for room
}

const (
	demandUnit = 1 << 10 // per nanosecond
	mostDemand = 1 << 62
)

func newClockwork(env *Env, window scheduler.Time) *clockwork {
	models, devices := len(env.Models), len(env.Devices)
	return &clockwork{window: scale(uint64(window), demandUnit, 1), loading: make([]uint64, models), running: make([]uint64, models),
		allotted: make([]uint64, devices), share: make([]uint64, devices), unmet: make([]int64, models), cramped: make([]bool, devices)}
}

// Next implements scheduler.Policy.
func (s *clockwork) Next(v *scheduler.View) scheduler.Decision {
	if v.TotalReady() == 0 {
		return scheduler.Decision{}
	}
	if item, why, ok := (late{}).Refuse(v); ok {
		return scheduler.Reject(item, why)
	}
	for d := range scheduler.DeviceID(len(s.allotted)) {
		var dec scheduler.Decision
		if dec, s.cramped[d] = leastSlack(v, d); dec.Kind != scheduler.DecideIdle {
			return dec
		}
	}
	for d := range scheduler.DeviceID(len(s.allotted)) {
		if _, _, busy := v.Link(d); busy || !v.Up(d) || s.cramped[d] {
			continue
		}
		if m := s.wanted(v, d); m != noModel && v.Loadable(d, m) {
			return scheduler.Load(d, m)
		}
	}
	return wake(v, (late{}).next(v))
}

// leastSlack returns the batch of a model resident on d that is in time with
// the least to spare, the larger one of equals; if there is none for want of
// room, who should leave. It also reports whether one waits for that: what is
// loaded meanwhile would take the room.
func leastSlack(v *scheduler.View, d scheduler.DeviceID) (scheduler.Decision, bool) {
	if v.FreeSlots(d) == 0 {
		return scheduler.Decision{}, false
	}
	best, least := scheduler.Decision{}, scheduler.MaxTime
	cramped, tight := noModel, scheduler.MaxTime
	for _, m := range v.Residents(d) {
		if v.State(d, m) != scheduler.Resident || v.Ready(m) == 0 || !takes(v, d, m) {
			continue
		}
		head, _ := v.Head(m)
		left := head.Deadline - v.Now()
		fits := v.Fits(d, m)
		if fits == 0 {
			if slack := left - v.BatchEstimate(m, 1); cramped == noModel || slack < tight {
				cramped, tight = m, slack
			}
			continue
		}
		for i, n := 0, 1; n <= fits; i++ {
			if slack := left - v.BatchEstimate(m, n); slack >= 0 && (slack < least || slack == least && n > best.N) {
				best, least = scheduler.Run(d, m, n), slack
			}
			if n = nextSize(v.Model(m).Batch.Sizes, i, n); n == 0 {
				break
			}
		}
	}
	if best.N == 0 && cramped != noModel {
		return makeRoom(v, d, cramped), true
	}
	return best, false
}

// nextSize returns the batch size after n, the i-th, of a model's table; 0 if
// there is none.
func nextSize(sizes []int, i, n int) int {
	if sizes == nil {
		return n + 1
	}
	if i+1 < len(sizes) {
		return sizes[i+1]
	}
	return 0
}

// wanted returns the model absent from d that has the largest unmet demand of
// those that d can take, scheduler.NoModel if none has any.
func (s *clockwork) wanted(v *scheduler.View, d scheduler.DeviceID) scheduler.ModelID {
	best, rated := noModel, false
	for m := v.NextReady(0); m != noModel; m = v.NextReady(m + 1) {
		if v.State(d, m) != scheduler.Absent || !takes(v, d, m) {
			continue
		}
		if !rated {
			s.rate(v)
			rated = true
		}
		if s.unmet[m] > 0 && (best == noModel || s.unmet[m] > s.unmet[best]) {
			best = m
		}
	}
	return best
}

// rate works out the demand of every model that no device meets.
func (s *clockwork) rate(v *scheduler.View) {
	clear(s.allotted)
	clear(s.unmet)
	for m := v.NextReady(0); m != noModel; m = v.NextReady(m + 1) {
		s.count(v, m)
		if s.divide(v, m, s.running[m]) {
			for d := range s.allotted {
				s.allotted[d] = min(s.allotted[d]+s.share[d], mostDemand)
			}
		}
	}
	for m := v.NextReady(0); m != noModel; m = v.NextReady(m + 1) {
		s.unmet[m] = int64(s.loading[m])
		if s.loading[m] > 0 && s.divide(v, m, s.loading[m]) {
			s.unmet[m] -= int64(s.served(v, m))
		}
	}
}

// count adds up the demand of m's items.
func (s *clockwork) count(v *scheduler.View, m scheduler.ModelID) {
	load, cost := v.ReloadEstimate(m), &v.Model(m).Batch
	with, without := uint64(0), uint64(0)
	v.Each(m, func(item scheduler.Item) bool {
		t, left := cost.Time(1, item.Work), item.Deadline-item.Arrival
		if left > t {
			with = min(with+s.demand(t, left-t-load), mostDemand)
			without = min(without+s.demand(t, left-t), mostDemand)
		}
		return true
	})
	s.loading[m], s.running[m] = with, without
}

// demand returns ⌈t·window/left⌉, 0 without slack.
func (s *clockwork) demand(t, left scheduler.Time) uint64 {
	if left <= 0 {
		return 0
	}
	high, low := bits.Mul64(uint64(t), s.window)
	if high >= uint64(left) {
		return mostDemand
	}
	quotient, rest := bits.Div64(high, low, uint64(left))
	if rest > 0 || quotient == 0 {
		quotient++
	}
	return min(quotient, mostDemand)
}

// holds reports whether m is on d or on its way there, and can run there.
func holds(v *scheduler.View, d scheduler.DeviceID, m scheduler.ModelID) bool {
	switch v.State(d, m) {
	case scheduler.Claimed, scheduler.Loading, scheduler.Resident:
		return takes(v, d, m)
	}
	return false
}

// divide shares a demand of m out among its holders; false if there is none.
func (s *clockwork) divide(v *scheduler.View, m scheduler.ModelID, demand uint64) bool {
	clear(s.share)
	least, held := uint64(math.MaxUint64), false
	for d := range s.allotted {
		if holds(v, scheduler.DeviceID(d), m) {
			least, held = min(least, s.allotted[d]), true
		}
	}
	if !held {
		return false
	}
	sum := uint64(0)
	for d := range s.allotted {
		if holds(v, scheduler.DeviceID(d), m) {
			s.share[d] = weight(least, s.allotted[d])
			sum += s.share[d]
		}
	}
	for d := range s.share {
		s.share[d] = scale(demand, s.share[d], sum)
	}
	return true
}

// weight returns least/allotted in 2³²-ths: those with nothing allotted have
// it all.
func weight(least, allotted uint64) uint64 {
	if allotted == least {
		return 1 << 32
	}
	return scale(least, 1<<32, allotted)
}

// served returns how much of m's demand, as it was divided, its holders meet:
// all there could be if one of them has nothing else.
func (s *clockwork) served(v *scheduler.View, m scheduler.ModelID) uint64 {
	sum := uint64(0)
	for d := range s.share {
		switch {
		case !holds(v, scheduler.DeviceID(d), m):
		case s.allotted[d] == 0:
			return mostDemand
		default:
			sum = min(sum+scale(s.share[d], s.window, s.allotted[d]), mostDemand)
		}
	}
	return sum
}

// Victim implements scheduler.Evictor: the one of least unmet demand leaves, of
// equals the least recently used, if it has less than the newcomer. A newcomer
// that has been promised its place takes it from anyone.
func (s *clockwork) Victim(v *scheduler.View, d scheduler.DeviceID, _ scheduler.Bytes, incoming scheduler.ModelID) (scheduler.ModelID, bool) {
	if v.State(d, incoming) == scheduler.Claimed {
		return leastUsed(v, d, incoming)
	}
	s.rate(v)
	best := noModel
	for _, m := range v.Residents(d) {
		if m == incoming || !v.Evictable(d, m) || awaited(v, d, m) || s.unmet[m] >= s.unmet[incoming] {
			continue
		}
		if best == noModel || s.unmet[m] < s.unmet[best] || s.unmet[m] == s.unmet[best] && v.UseOrder(d, m) < v.UseOrder(d, best) {
			best = m
		}
	}
	return best, best != noModel
}
