package policies

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/vramsim/vramsim/scheduler"
)

// Goal is what an optimum is the least of.
type Goal uint8

// Goals.
const (
	FewestLoads      Goal = iota // loads until every item has finished
	ShortestMakespan             // when the last item finishes, ns
	LeastLatency                 // the sum of the latencies, ns
)

// Limits of what an optimum is found of.
const (
	MaxOptimumItems  = 12
	MaxOptimumModels = 4
)

// ErrNoOptimum is wrapped by the errors that say why no optimum is sought.
var ErrNoOptimum = errors.New("no optimum is sought")

// OptimumConfig is the machine that an optimum is found for: one device with
// one slot, without a host tier. Everything takes the declared times.
type OptimumConfig struct {
	Models     []scheduler.Model
	Devices    []scheduler.Device
	HostMemory scheduler.Bytes
}

// validate refuses a machine that is too large.
func (c *OptimumConfig) validate() error {
	switch {
	case len(c.Models) > MaxOptimumModels:
		return fmt.Errorf("%w for %d models; at most %d", ErrNoOptimum, len(c.Models), MaxOptimumModels)
	case len(c.Devices) != 1 || c.Devices[0].Slots != 1:
		return fmt.Errorf("%w for more than one device with one slot", ErrNoOptimum)
	case c.HostMemory > 0:
		return fmt.Errorf("%w with a host tier", ErrNoOptimum)
	}
	return nil
}

// Optimum returns the least that any policy can achieve which finishes all
// items from a cold start, knowing every arrival: branch and bound over what may
// be decided whenever something arrives or ends. To decide between such times
// would only be later. Whatever the policy, a batch may have any of a model's
// ready items, and loads, evictions and a batch may overlap as the ledger lets
// them. Errors wrap ErrNoOptimum.
func Optimum(cfg OptimumConfig, arrivals []scheduler.Event, goal Goal) (int64, error) {
	if err := cfg.validate(); err != nil {
		return 0, err
	}
	s := optSearch{models: cfg.Models, budget: cfg.Devices[0].Budget, goal: goal, best: math.MaxInt64, seen: map[optKey][]optFront{}}
	if err := s.read(arrivals); err != nil || len(s.items) == 0 {
		return 0, err
	}
	if goal == FewestLoads {
		return s.fewestLoads()
	}
	// Nobody is asked before the first arrival.
	s.visit(optState{now: s.items[0].at, left: s.all, loading: none, running: none, leaving: [MaxOptimumModels]scheduler.Time{none, none, none, none}})
	if s.best == math.MaxInt64 {
		return 0, errNeverEnds
	}
	if goal == LeastLatency {
		for i := range s.items {
			s.best -= int64(s.items[i].at)
		}
	}
	return s.best, nil
}

var errNeverEnds = fmt.Errorf("%w: not every item can finish", ErrNoOptimum)

const none = -1

// itemSet is a set of items by their ids.
type itemSet uint16

func (s itemSet) has(id int) bool { return s>>id&1 != 0 }

// modelSet is a set of models by their ids.
type modelSet uint8

func (s modelSet) has(m int) bool { return s>>m&1 != 0 }

// optItem is an item as far as an optimum depends on it.
type optItem struct {
	at    scheduler.Time
	model int
	deps  itemSet
	work  int64
	// class is the first item that is as good as this one once both are ready:
	// of the same model and work, and waited for by the same others.
	class int
	share float64 // of the time of a batch, at least
	alone scheduler.Time
}

// read makes items of arrivals.
func (s *optSearch) read(arrivals []scheduler.Event) error {
	for _, ev := range arrivals {
		switch ev.Kind {
		case scheduler.ItemArrived:
			if len(s.items) == MaxOptimumItems {
				return fmt.Errorf("%w for more than %d items", ErrNoOptimum, MaxOptimumItems)
			}
			if ev.Model < 0 || int(ev.Model) >= len(s.models) {
				return fmt.Errorf("%w: item %d is for model %d of %d", ErrNoOptimum, ev.ID, ev.Model, len(s.models))
			}
			s.items = append(s.items, optItem{at: ev.At, model: int(ev.Model), work: scheduler.WorkUnit})
		case scheduler.ItemWork:
			s.items[ev.ID].work = ev.Value
		case scheduler.ItemDependsOn:
			if ev.Value >= MaxOptimumItems {
				return fmt.Errorf("%w for more than %d items", ErrNoOptimum, MaxOptimumItems)
			}
			s.items[ev.ID].deps |= 1 << ev.Value
		}
	}
	s.all = itemSet(1)<<len(s.items) - 1
	waiting := make([]itemSet, len(s.items)) // for each
	for i := range s.items {
		for on := range s.items {
			if s.items[i].deps.has(on) {
				waiting[on] |= 1 << i
			}
		}
	}
	least := make([]int64, len(s.models))
	for i := range s.items {
		it := &s.items[i]
		if least[it.model] == 0 || it.work < least[it.model] {
			least[it.model] = it.work
		}
		for it.class < i && !(s.items[it.class].model == it.model && s.items[it.class].work == it.work && waiting[it.class] == waiting[i]) {
			it.class++
		}
	}
	for i := range s.items {
		it := &s.items[i]
		cost := LeastCost{Batch: s.models[it.model].Batch}
		times := cost.least(&BoundItem{Work: it.work, Service: -1}, least[it.model])
		it.share, it.alone = times.share, times.alone
	}
	return nil
}

// optSearch is a search among all schedules.
type optSearch struct {
	models []scheduler.Model
	budget scheduler.Bytes
	items  []optItem
	all    itemSet
	goal   Goal

	best int64 // of the goal; the sum of the ends, for latencies
	seen map[optKey][]optFront
}

// optState is where a schedule stands at an instant, before it decides.
type optState struct {
	now      scheduler.Time
	left     itemSet // not yet begun
	done     itemSet
	running  int // model of the batch; none
	batch    int // its size
	ends     scheduler.Time
	resident modelSet
	loading  int // none
	loaded   scheduler.Time
	leaving  [MaxOptimumModels]scheduler.Time // when an eviction ends; none
	sum      scheduler.Time                   // of the ends of all items begun
}

// optKey is all of a state but how late it is and what it cost. What has
// arrived tells a state from the one that only waits for it.
type optKey struct {
	left, done, arrived itemSet
	running             int8
	resident            modelSet
	loading             int8
	ends                scheduler.Time // from now
	loaded              scheduler.Time
	leaving             [MaxOptimumModels]scheduler.Time
}

// optFront is a state that was seen. One with the same key that is neither
// earlier nor cheaper leads to nothing better: the earlier can do all it does.
type optFront struct{ now, sum scheduler.Time }

// known reports whether a state as good was seen, and remembers this one.
func (s *optSearch) known(st *optState) bool {
	k := optKey{left: st.left, done: st.done, running: int8(st.running), resident: st.resident, loading: int8(st.loading)}
	for i := range s.items {
		if s.items[i].at <= st.now {
			k.arrived |= 1 << i
		}
	}
	if st.running != none {
		k.ends = st.ends - st.now
	}
	if st.loading != none {
		k.loaded = st.loaded - st.now
	}
	for m, end := range st.leaving {
		if k.leaving[m] = none; end != none {
			k.leaving[m] = end - st.now
		}
	}
	front := s.seen[k]
	for _, f := range front {
		if f.now <= st.now && f.sum <= st.sum {
			return true
		}
	}
	front = slices.DeleteFunc(front, func(f optFront) bool { return f.now >= st.now && f.sum >= st.sum })
	s.seen[k] = append(front, optFront{st.now, st.sum})
	return false
}

// visit decides on from a state at which all that ends or arrives at its
// instant has done so.
func (s *optSearch) visit(st optState) {
	if st.left == 0 {
		value := int64(st.ends)
		if s.goal == LeastLatency {
			value = int64(st.sum)
		}
		s.best = min(s.best, value)
		return
	}
	if s.bound(&st) >= s.best || s.known(&st) {
		return
	}
	s.evict(st, 0)
}

// evict tries all sets of models from one on that may leave now.
func (s *optSearch) evict(st optState, from int) {
	s.run(st)
	if !s.crowded(&st) {
		return
	}
	for m := from; m < len(s.models); m++ {
		if !st.resident.has(m) || st.running == m {
			continue
		}
		next := st
		next.resident &^= 1 << m
		next.leaving[m], _ = scheduler.AddTime(st.now, s.models[m].Unload)
		s.evict(next, m+1)
	}
}

// crowded reports whether not everything that is still needed has room: else
// nobody has to leave.
func (s *optSearch) crowded(st *optState) bool {
	need, activation := scheduler.Bytes(0), scheduler.Bytes(0)
	for m := range s.models {
		wanted := s.wanted(st, m)
		if wanted || st.resident.has(m) || st.loading == m {
			need += s.models[m].Bytes
		}
		if wanted {
			activation = max(activation, s.models[m].Batch.Memory*scheduler.Bytes(s.models[m].Batch.Max))
		}
	}
	return need+activation > s.budget
}

// wanted reports whether items of m have yet to begin.
func (s *optSearch) wanted(st *optState, m int) bool {
	for i := range s.items {
		if st.left.has(i) && s.items[i].model == m {
			return true
		}
	}
	return false
}

// free returns the bytes that nothing holds.
func (s *optSearch) free(st *optState) scheduler.Bytes {
	free := s.budget
	for m := range s.models {
		if st.resident.has(m) || st.loading == m || st.leaving[m] != none {
			free -= s.models[m].Bytes
		}
	}
	if st.running != none {
		free -= s.models[st.running].Batch.Memory * scheduler.Bytes(st.batch)
	}
	return free
}

// run tries every batch that may begin now, the largest first, and none.
func (s *optSearch) run(st optState) {
	if st.running == none {
		for m := range s.models {
			if st.resident.has(m) {
				s.batches(st, m)
			}
		}
	}
	s.load(st)
}

// batches tries every batch of m.
func (s *optSearch) batches(st optState, m int) {
	cost := &s.models[m].Batch
	most := cost.Max
	if cost.Memory > 0 {
		most = min(most, int(s.free(&st)/cost.Memory))
	}
	ready := itemSet(0)
	for i := range s.items {
		it := &s.items[i]
		if st.left.has(i) && it.model == m && it.at <= st.now && it.deps&^st.done == 0 {
			ready |= 1 << i
		}
	}
	for n := min(most, bits.OnesCount16(uint16(ready))); n > 0; n-- {
		s.choose(st, m, ready, 0, n)
	}
}

// choose adds n more of the ready items to a batch; of those that are as good as
// each other the first.
func (s *optSearch) choose(st optState, m int, ready, batch itemSet, n int) {
	if n == 0 {
		s.begin(st, m, batch)
		return
	}
	passed := itemSet(0) // classes
	for i := range s.items {
		class := s.items[i].class
		if !ready.has(i) || passed.has(class) {
			continue
		}
		rest := ready &^ (itemSet(1)<<(i+1) - 1)
		for j := range s.items { // of a class that was passed over, none follows
			if passed.has(s.items[j].class) {
				rest &^= 1 << j
			}
		}
		s.choose(st, m, rest, batch|1<<i, n-1)
		passed |= 1 << class
	}
}

// begin starts a batch.
func (s *optSearch) begin(st optState, m int, batch itemSet) {
	work, n := int64(0), bits.OnesCount16(uint16(batch))
	for i := range s.items {
		if batch.has(i) {
			work += s.items[i].work
		}
	}
	st.left &^= batch
	st.running, st.batch = m, n
	st.ends, _ = scheduler.AddTime(st.now, s.models[m].Batch.Time(n, work))
	st.sum += st.ends * scheduler.Time(n)
	s.load(st)
}

// load tries every load that may begin now, and none, and lets time pass.
func (s *optSearch) load(st optState) {
	if st.loading == none {
		free := s.free(&st)
		for m := range s.models {
			if st.resident.has(m) || st.leaving[m] != none || s.models[m].Bytes > free || !s.wanted(&st, m) {
				continue
			}
			next := st
			next.loading = m
			next.loaded, _ = scheduler.AddTime(st.now, s.models[m].Load[scheduler.TierDisk])
			s.pass(next)
		}
	}
	s.pass(st)
}

// pass goes on when next something ends or arrives.
func (s *optSearch) pass(st optState) {
	if st.left == 0 {
		s.visit(st)
		return
	}
	next := scheduler.Never
	if st.running != none {
		next = st.ends
	}
	if st.loading != none {
		next = min(next, st.loaded)
	}
	for _, end := range st.leaving {
		if end != none {
			next = min(next, end)
		}
	}
	for i := range s.items {
		if st.left.has(i) && s.items[i].at > st.now {
			next = min(next, s.items[i].at)
		}
	}
	if next == scheduler.Never {
		return // nothing more can happen
	}
	st.now = next
	if st.running != none && st.ends == next {
		st.running, st.batch = none, 0
		st.done = s.all &^ st.left
	}
	if st.loading != none && st.loaded == next {
		st.resident |= 1 << st.loading
		st.loading = none
	}
	for m, end := range st.leaving {
		if end == next {
			st.leaving[m] = none
		}
	}
	s.visit(st)
}

// bound returns what the goal cannot fall below from a state.
func (s *optSearch) bound(st *optState) int64 {
	slot, link := st.now, st.now
	if st.running != none {
		slot = st.ends
	}
	if st.loading != none {
		link = st.loaded
	}
	var ends [MaxOptimumItems]scheduler.Time // at the earliest
	s.earliest(st, slot, link, &ends)
	shares := make([]float64, 0, MaxOptimumItems)
	last, alone := scheduler.Time(0), scheduler.Time(0)
	for i := range s.items {
		if st.left.has(i) {
			last, alone = max(last, ends[i]), alone+ends[i]
			shares = append(shares, s.items[i].share)
		}
	}
	slices.Sort(shares)
	work, one := 0.0, 0.0 // all of it; the ends if the shortest go first
	for _, share := range shares {
		work += share
		one += float64(slot) + work
	}
	if s.goal == LeastLatency {
		return int64(st.sum + max(alone, scheduler.Time(one)))
	}
	return int64(max(last, slot+scheduler.Time(work), s.afterLoads(st, link)))
}

// earliest returns when each item that is left could end if it had the device
// to itself, once its model is there and what it depends on has ended.
func (s *optSearch) earliest(st *optState, slot, link scheduler.Time, ends *[MaxOptimumItems]scheduler.Time) {
	var there [MaxOptimumModels]scheduler.Time
	for m := range s.models {
		switch load := s.models[m].Load[scheduler.TierDisk]; {
		case st.resident.has(m):
			there[m] = st.now
		case st.loading == m:
			there[m] = st.loaded
		default:
			there[m] = max(link, st.leaving[m]) + load
		}
	}
	for range s.items { // at most as often as a chain is long
		changed := false
		for i := range s.items {
			if !st.left.has(i) {
				continue
			}
			it := &s.items[i]
			start := max(slot, it.at, there[it.model])
			for on := range s.items {
				if it.deps.has(on) && st.left.has(on) {
					start = max(start, ends[on])
				}
			}
			if end := start + it.alone; end > ends[i] {
				ends[i], changed = end, true
			}
		}
		if !changed {
			break
		}
	}
}

// afterLoads returns when the last model that has yet to be loaded could have
// served an item: loads follow one another.
func (s *optSearch) afterLoads(st *optState, link scheduler.Time) scheduler.Time {
	least := scheduler.Never
	for i := range s.items {
		if m := s.items[i].model; st.left.has(i) && !st.resident.has(m) && st.loading != m {
			least = min(least, s.items[i].alone)
		}
	}
	if least == scheduler.Never {
		return 0
	}
	for m := range s.models {
		if !st.resident.has(m) && st.loading != m && s.wanted(st, m) {
			link += s.models[m].Load[scheduler.TierDisk]
		}
	}
	return link + least
}

// fewState is where a schedule stands whose times do not matter: a policy may
// wait for whatever has yet to arrive.
type fewState struct {
	done     itemSet
	resident modelSet
}

// fewestLoads searches level by level, a level having one load more.
func (s *optSearch) fewestLoads() (int64, error) {
	seen := map[fewState]bool{}
	add := func(level []fewState, st fewState) []fewState {
		if seen[st] {
			return level
		}
		seen[st] = true
		return append(level, st)
	}
	for level, loads := []fewState{{}}, int64(0); len(level) > 0; loads++ {
		var next []fewState
		for i := 0; i < len(level); i++ {
			st := level[i]
			if st.done == s.all {
				return loads, nil
			}
			for keep := st.resident; ; keep = (keep - 1) & st.resident { // every subset
				stays := s.runAll(fewState{st.done, keep})
				level = add(level, stays) // there may be room for other batches
				for m := range s.models {
					if !keep.has(m) && s.models[m].Bytes <= s.room(stays) {
						next = add(next, s.runAll(fewState{stays.done, keep | 1<<m}))
					}
				}
				if keep == 0 {
					break
				}
			}
		}
		level = next
	}
	return 0, errNeverEnds
}

// room returns the bytes that no resident model holds.
func (s *optSearch) room(st fewState) scheduler.Bytes {
	room := s.budget
	for m := range s.models {
		if st.resident.has(m) {
			room -= s.models[m].Bytes
		}
	}
	return room
}

// runAll runs all that can run where it stands.
func (s *optSearch) runAll(st fewState) fewState {
	room := s.room(st)
	for ran := true; ran; {
		ran = false
		for i := range s.items {
			it := &s.items[i]
			if !st.done.has(i) && st.resident.has(it.model) && it.deps&^st.done == 0 && s.models[it.model].Batch.Memory <= room {
				st.done |= 1 << i
				ran = true
			}
		}
	}
	return st
}
