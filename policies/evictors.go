package policies

import (
	"cmp"
	"math"
	"slices"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/random"
)

// ranker orders those who may leave: the least key goes, of equals the least
// recently used. It changes nothing.
type ranker interface {
	key(v *scheduler.View, d scheduler.DeviceID, m scheduler.ModelID) int64
}

// limiter is implemented by evictors that limit who may be on a device
// together.
type limiter interface {
	// exceeds reports whether others must be evicted before m may load on d,
	// and else whether m has to wait for evictions in flight.
	exceeds(v *scheduler.View, d scheduler.DeviceID, m scheduler.ModelID) (evict, wait bool)
	// leaves reports whether other is one that must leave d for m.
	leaves(v *scheduler.View, d scheduler.DeviceID, other, m scheduler.ModelID) bool
}

// keeper is implemented by evictors that protect some models from others.
type keeper interface {
	keeps(m, incoming scheduler.ModelID) bool
}

// grouper is implemented by evictors that choose several who leave together.
type grouper interface {
	// first returns one of those of who that should leave to free need bytes;
	// asked again without it, for the rest, it returns another one of them.
	first(v *scheduler.View, need scheduler.Bytes, who []scheduler.ModelID) scheduler.ModelID
}

// timed is implemented by evictors that evict models that have been idle.
type timed interface {
	// idle returns after which time m leaves; a negative one is never.
	idle(m scheduler.ModelID) scheduler.Time
}

// evictor is what the core asks for victims: the policy's ranker among those
// who may go.
type evictor struct {
	policy  *composed
	keeper  keeper
	grouper grouper
	custom  scheduler.Evictor   // one of the user's own instead of a ranker
	who     []scheduler.ModelID // scratch
}

// Victim implements scheduler.Evictor.
func (e *evictor) Victim(v *scheduler.View, d scheduler.DeviceID, need scheduler.Bytes, incoming scheduler.ModelID) (scheduler.ModelID, bool) {
	switch {
	case e.custom != nil:
		m, ok := e.custom.Victim(v, d, need, incoming)
		return m, ok && m != incoming && e.policy.mayGo(v, d, m)
	case e.grouper != nil:
		e.who = e.who[:0]
		for _, m := range v.Residents(d) {
			if m != incoming && e.policy.mayGo(v, d, m) {
				e.who = append(e.who, m)
			}
		}
		if len(e.who) == 0 {
			return noModel, false
		}
		return e.grouper.first(v, need, e.who), true
	}
	return e.choose(v, d, incoming, false)
}

// choose returns who of d leaves for incoming; limited leaves only those that
// the limiter wants gone.
func (e *evictor) choose(v *scheduler.View, d scheduler.DeviceID, incoming scheduler.ModelID, limited bool) (scheduler.ModelID, bool) {
	p := e.policy
	best, least, used := noModel, int64(0), int64(0)
	for _, m := range v.Residents(d) {
		if m == incoming || !p.mayGo(v, d, m) || e.keeper != nil && e.keeper.keeps(m, incoming) {
			continue
		}
		if limited && !p.limiter.leaves(v, d, m, incoming) {
			continue
		}
		k, u := p.ranker.key(v, d, m), v.UseOrder(d, m)
		if best == noModel || k < least || k == least && u < used {
			best, least, used = m, k, u
		}
	}
	return best, best != noModel
}

// lru evicts the least recently used.
type lru struct{}

func (lru) key(*scheduler.View, scheduler.DeviceID, scheduler.ModelID) int64 { return 0 }

// firstLoaded is fifo: the one loaded first.
type firstLoaded struct{}

func (firstLoaded) key(v *scheduler.View, d scheduler.DeviceID, m scheduler.ModelID) int64 {
	return int64(v.LoadedAt(d, m))
}

// lfu evicts the one with the fewest batches since its load.
type lfu struct{}

func (lfu) key(v *scheduler.View, d scheduler.DeviceID, m scheduler.ModelID) int64 {
	return v.BatchesSinceLoad(d, m)
}

// largest evicts the largest.
type largest struct{}

func (largest) key(v *scheduler.View, _ scheduler.DeviceID, m scheduler.ModelID) int64 {
	return -int64(v.Bytes(m))
}

// demand evicts the one whose ready items would wait least for its return:
// their number times the load.
type demand struct{}

func (demand) key(v *scheduler.View, _ scheduler.DeviceID, m scheduler.ModelID) int64 {
	return int64(times(v.ReloadEstimate(m), int64(v.Ready(m))))
}

// credits give a model, at each use, what its return would cost per byte, on
// top of what the last victim had left: landlord, or GreedyDual-Size with
// frequency if the cost counts once for each batch since the load.
type credits struct {
	frequency bool
	floor     []int64   // by device: the last victim's
	of        [][]int64 // by device and model
}

func newCredits(env *Env, frequency bool) *credits {
	e := &credits{frequency: frequency, floor: make([]int64, len(env.Devices)), of: make([][]int64, len(env.Devices))}
	for d := range e.of {
		e.of[d] = make([]int64, len(env.Models))
	}
	return e
}

func (e *credits) key(_ *scheduler.View, d scheduler.DeviceID, m scheduler.ModelID) int64 {
	return e.of[d][m]
}

// costUnit is a nanosecond per byte.
const costUnit = 1 << 20

// Observe implements scheduler.Observer.
func (e *credits) Observe(v *scheduler.View, ev scheduler.Event) {
	switch ev.Kind {
	case scheduler.LoadFinished, scheduler.BatchStarted:
		cost := int64(scale(uint64(v.ReloadEstimate(ev.Model)), costUnit, uint64(v.Bytes(ev.Model))))
		if e.frequency {
			cost = int64(times(scheduler.Time(cost), max(1, v.BatchesSinceLoad(ev.Device, ev.Model))))
		}
		sum, _ := scheduler.AddTime(scheduler.Time(e.floor[ev.Device]), scheduler.Time(cost))
		e.of[ev.Device][ev.Model] = int64(sum)
	case scheduler.EvictStarted:
		e.floor[ev.Device] = e.of[ev.Device][ev.Model]
	}
}

// minCost evicts those who together free enough and whose return would take
// least; of equals the first in the order of ids.
type minCost struct{ lru }

// maxGroup is among how many models the cheapest are sought: the first ones.
const maxGroup = 16

func (minCost) first(v *scheduler.View, need scheduler.Bytes, who []scheduler.ModelID) scheduler.ModelID {
	who = who[:min(len(who), maxGroup)]
	s := subset{v: v, who: who, need: need, best: noModel, least: scheduler.Never}
	for i := len(who) - 1; i >= 0; i-- {
		s.rest[i] = s.rest[i+1] + v.Bytes(who[i])
	}
	s.search(0, noModel, 0, 0)
	if s.best == noModel {
		return who[0] // all of them are not enough
	}
	return s.best
}

// subset is a search among all subsets for the one of least cost that frees
// need bytes; best is the first of its members.
type subset struct {
	v     *scheduler.View
	who   []scheduler.ModelID
	need  scheduler.Bytes
	rest  [maxGroup + 1]scheduler.Bytes // from a place on
	best  scheduler.ModelID
	least scheduler.Time
}

func (s *subset) search(i int, first scheduler.ModelID, freed scheduler.Bytes, cost scheduler.Time) {
	switch {
	case cost >= s.least:
	case freed >= s.need:
		s.best, s.least = first, cost
	case freed+s.rest[i] < s.need:
	default:
		m := s.who[i]
		with, _ := scheduler.AddTime(cost, s.v.ReloadEstimate(m))
		if first == noModel {
			s.search(i+1, m, freed+s.v.Bytes(m), with)
		} else {
			s.search(i+1, first, freed+s.v.Bytes(m), with)
		}
		s.search(i+1, first, freed, cost)
	}
}

// anyone evicts at random, by a hash of the seed, the ordinal of the eviction
// and the model.
type anyone struct{ seed uint64 }

func (e anyone) key(v *scheduler.View, _ scheduler.DeviceID, m scheduler.ModelID) int64 {
	return int64(random.Key(e.seed, uint64(v.EvictionOrdinal()), uint64(m)) >> 1)
}

// count keeps at most max models on a device; single is count of one.
type count struct {
	lru
	max int
}

func (e count) exceeds(v *scheduler.View, d scheduler.DeviceID, m scheduler.ModelID) (evict, wait bool) {
	staying, leaving := 0, 0
	for _, other := range v.Residents(d) {
		switch v.State(d, other) {
		case scheduler.Evicting:
			leaving++
		default:
			staying++
		}
	}
	return staying+1 > e.max, staying+leaving+1 > e.max
}

func (count) leaves(_ *scheduler.View, _ scheduler.DeviceID, other, m scheduler.ModelID) bool {
	return other != m
}

func (e count) atMost() int { return e.max }

// expiring is ttl: lru, and out after a time without use.
type expiring struct {
	lru
	after scheduler.Time
}

func (e expiring) idle(scheduler.ModelID) scheduler.Time { return e.after }

// keepAlive is Ollama's: each model leaves after its own time without use, and
// for others the one of the shortest time goes first, then by name. Who stays
// for ever may still have to go.
type keepAlive struct {
	after []scheduler.Time // by model, negative for ever
	place []int64          // by model, in the order in which they go
}

func newKeepAlive(a *Args) (any, error) {
	e := keepAlive{after: a.value("idle").(spans), place: make([]int64, len(a.Env.Models))}
	order := make([]int, len(a.Env.Models))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(x, y int) int {
		// As unsigned numbers the negative ones are longest.
		return cmp.Or(cmp.Compare(uint64(e.after[x]), uint64(e.after[y])), cmp.Compare(a.Env.Models[x].Name, a.Env.Models[y].Name))
	})
	for place, m := range order {
		e.place[m] = int64(place)
	}
	if most := a.Int("max"); most > 0 {
		return fewKeptAlive{e, count{max: int(most)}}, nil
	}
	return e, nil
}

func (e keepAlive) key(_ *scheduler.View, _ scheduler.DeviceID, m scheduler.ModelID) int64 {
	return e.place[m]
}

func (e keepAlive) idle(m scheduler.ModelID) scheduler.Time { return e.after[m] }

// fewKeptAlive also keeps at most so many on a device.
type fewKeptAlive struct {
	keepAlive
	count
}

// groups are llama-swap's: of a group that swaps one member is there at a
// time, members of an exclusive one drive out other groups, and a persistent
// group gives way to nobody else. Models without a group are one group.
type groups struct {
	lru
	of                          []string // by model
	swap, exclusive, persistent []bool   // by model
}

func newGroups(env *Env, swap, exclusive, persistent []string) *groups {
	g := &groups{}
	in := func(list []string, group string) bool { return list == nil || slices.Contains(list, group) }
	for i := range env.Models {
		group := env.Models[i].Group
		g.of = append(g.of, group)
		g.swap = append(g.swap, in(swap, group))
		g.exclusive = append(g.exclusive, in(exclusive, group))
		g.persistent = append(g.persistent, in(persistent, group))
	}
	return g
}

func (g *groups) exceeds(v *scheduler.View, d scheduler.DeviceID, m scheduler.ModelID) (evict, wait bool) {
	for _, other := range v.Residents(d) {
		if g.leaves(v, d, other, m) {
			if v.State(d, other) != scheduler.Evicting {
				evict = true
			}
			wait = true
		}
	}
	return evict, wait
}

func (g *groups) leaves(_ *scheduler.View, _ scheduler.DeviceID, other, m scheduler.ModelID) bool {
	switch {
	case other == m:
		return false
	case g.of[other] == g.of[m]:
		return g.swap[m]
	}
	return g.exclusive[m] && !g.persistent[other]
}

func (g *groups) keeps(m, incoming scheduler.ModelID) bool {
	return g.persistent[m] && g.of[m] != g.of[incoming]
}

// kept returns the most that persistent groups may keep from m, of the models
// that can lie beside it.
func (g *groups) kept(env *Env, m scheduler.ModelID, beside func(scheduler.ModelID) bool) scheduler.Bytes {
	sum := scheduler.Bytes(0)
	for _, name := range append(groupNames(env), "") {
		most, all, one := scheduler.Bytes(0), scheduler.Bytes(0), false
		for other := range env.Models {
			if g.of[other] == name && g.keeps(scheduler.ModelID(other), m) && beside(scheduler.ModelID(other)) {
				most, all, one = max(most, env.Models[other].Bytes), all+env.Models[other].Bytes, g.swap[other]
			}
		}
		if one {
			all = most
		}
		sum += all
	}
	return sum
}

// matrix is llama-swap's: models may be together that are in a set. Of the sets
// with the incoming model the one is taken for which those who must leave cost
// least, the first of equals. A model in no set is alone.
type matrix struct {
	lru
	sets [][]bool // by set and model
	cost []int64  // by model
}

func newMatrix(a *Args) (any, error) {
	e := &matrix{cost: a.value("costs").(costs)}
	for _, set := range a.value("sets").([][]scheduler.ModelID) {
		in := make([]bool, len(a.Env.Models))
		for _, m := range set {
			in[m] = true
		}
		e.sets = append(e.sets, in)
	}
	return e, nil
}

// with returns the set that m comes with, nil if it is alone.
func (e *matrix) with(v *scheduler.View, d scheduler.DeviceID, m scheduler.ModelID) []bool {
	var best []bool
	least := int64(math.MaxInt64)
	for _, set := range e.sets {
		if !set[m] {
			continue
		}
		sum := int64(0)
		for _, other := range v.Residents(d) {
			if !set[other] && v.State(d, other) != scheduler.Evicting {
				sum += e.cost[other]
			}
		}
		if sum < least {
			best, least = set, sum
		}
	}
	return best
}

func (e *matrix) exceeds(v *scheduler.View, d scheduler.DeviceID, m scheduler.ModelID) (evict, wait bool) {
	set := e.with(v, d, m)
	for _, other := range v.Residents(d) {
		if other != m && (set == nil || !set[other]) {
			evict = evict || v.State(d, other) != scheduler.Evicting
			wait = true
		}
	}
	return evict, wait
}

func (e *matrix) leaves(v *scheduler.View, d scheduler.DeviceID, other, m scheduler.ModelID) bool {
	set := e.with(v, d, m)
	return other != m && (set == nil || !set[other])
}

// belady is clairvoyant: the one whose next item lies farthest ahead in the
// order of arrival, which is optimal for equal sizes and items served in that
// order.
type belady struct {
	uses    [][]scheduler.ItemID // by model, items to come in order of arrival
	started []uint64             // a bit per item
}

// Foresee implements scheduler.Clairvoyant.
func (e *belady) Foresee(arrivals []scheduler.Event) {
	last := scheduler.ItemID(-1)
	for _, ev := range arrivals {
		if ev.Kind == scheduler.ItemArrived {
			e.uses[ev.Model] = append(e.uses[ev.Model], ev.Item())
			last = max(last, ev.Item())
		}
	}
	e.started = make([]uint64, (last+64)/64)
}

// Observe forgets uses that are past: items that started or ended unserved.
func (e *belady) Observe(_ *scheduler.View, ev scheduler.Event) {
	switch ev.Kind {
	case scheduler.MemberDispatched, scheduler.ItemRejected, scheduler.DependantCancelled, scheduler.ItemFailed, scheduler.ItemCancelled:
	default:
		return
	}
	id := ev.Item()
	if id < 0 || int(id>>6) >= len(e.started) {
		return
	}
	e.started[id>>6] |= 1 << (id & 63)
	if ev.Model < 0 {
		return // passed over when its model's next use is advanced
	}
	for uses := e.uses[ev.Model]; len(uses) > 0 && e.past(uses[0]); uses = uses[1:] {
		e.uses[ev.Model] = uses[1:]
	}
}

func (e *belady) past(id scheduler.ItemID) bool { return e.started[id>>6]&(1<<(id&63)) != 0 }

func (e *belady) key(_ *scheduler.View, _ scheduler.DeviceID, m scheduler.ModelID) int64 {
	for _, id := range e.uses[m] {
		if !e.past(id) {
			return -int64(id)
		}
	}
	return -int64(scheduler.Never)
}
