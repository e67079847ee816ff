package policies

import (
	"cmp"
	"math"
	"math/bits"

	"github.com/vramsim/vramsim/scheduler"
)

// Selector chooses the model a device turns to when no visit, load or urgency
// decides it: one of the candidates, or scheduler.NoModel if there is none. It
// changes nothing; one with state also implements scheduler.Observer.
type Selector interface {
	Select(v *scheduler.View, c *Candidates) scheduler.ModelID
}

// Urger is implemented by selectors that end the visits of others.
type Urger interface {
	// Urgent returns a candidate that must be visited now and for how long
	// its oldest item has waited, or scheduler.NoModel.
	Urgent(v *scheduler.View, c *Candidates) (scheduler.ModelID, scheduler.Time)
	// UrgentAt returns the first time after now at which Urgent would return a
	// model if nothing happened until then, scheduler.Never if none.
	UrgentAt(v *scheduler.View, c *Candidates) scheduler.Time
	// Forced returns how long a visit lasts that Urgent asked for; nothing is
	// urgent while it does.
	Forced() Visit
}

// Patient is implemented by selectors that stay with a model for a time before
// they turn to the next.
type Patient interface {
	// Until returns when the device may turn to next, the choice of Select; a
	// time not after now lets it. Where it is already it may stay at any time.
	Until(v *scheduler.View, c *Candidates, next scheduler.ModelID) scheduler.Time
}

// allotter is implemented by selectors that limit visits by what they allot to
// models, besides what the axis visit says.
type allotter interface {
	// left is Visit.Left of visits that were not forced; of one that would open
	// now, without batches, it is at least 1.
	left(v *scheduler.View, s *Stay) int
	// opened is told of a visit whose first batch has started, and whether its
	// model was loaded for it.
	opened(s *Stay, loaded bool)
}

// runCapper is implemented by selectors whose batches end where their order
// comes to another model.
type runCapper interface {
	cap(v *scheduler.View, c *Candidates, m scheduler.ModelID, limit int) int
}

// wanderer is implemented by selectors that visit empty queues too.
type wanderer interface {
	wander(v *scheduler.View, d scheduler.DeviceID) scheduler.ModelID
}

// most returns the candidate with the most ready items, or the most among the
// resident ones.
func most(v *scheduler.View, c *Candidates, resident bool) scheduler.ModelID {
	best, n := noModel, 0
	for m := c.Next(0); m != noModel; m = c.Next(m + 1) {
		if k := v.Ready(m); k > n && (!resident || c.Resident(m)) {
			best, n = m, k
		}
	}
	return best
}

// sticky is the seed's rule with its faults mended: the visit stays while the
// queue has items, then the longest queue is next.
type sticky struct{ resident bool }

func (s *sticky) Select(v *scheduler.View, c *Candidates) scheduler.ModelID {
	if s.resident {
		if m := most(v, c, true); m != noModel {
			return m
		}
	}
	return most(v, c, false)
}

// maxWait is sticky, but visits a model whose oldest item has waited too long
// (llama-swap #612).
type maxWait struct {
	sticky
	wait   scheduler.Time
	forced Visit
}

func (s *maxWait) Urgent(v *scheduler.View, c *Candidates) (scheduler.ModelID, scheduler.Time) {
	best, oldest := noModel, v.Now()-s.wait
	if oldest <= 0 {
		return noModel, 0
	}
	for m := c.Next(0); m != noModel; m = c.Next(m + 1) {
		if since := v.Oldest(m); since < oldest && m != c.Current() {
			best, oldest = m, since
		}
	}
	return best, v.Now() - oldest
}

func (s *maxWait) UrgentAt(v *scheduler.View, c *Candidates) scheduler.Time {
	first := scheduler.Never
	for m := c.Next(0); m != noModel; m = c.Next(m + 1) {
		if m == c.Current() {
			continue
		}
		if at, ok := scheduler.AddTime(v.Oldest(m), s.wait+1); ok && at > v.Now() {
			first = min(first, at)
		}
	}
	return first
}

func (s *maxWait) Forced() Visit { return s.forced }

func (s *maxWait) bound(_ Axis, models int) Bound {
	if _, ok := s.forced.(gated); !ok {
		return Bound{}
	}
	return Bound{Kind: VisitsAfter, N: models, After: s.wait}
}

// fifo takes the model whose head became ready first. With skip one that can
// do nothing now is passed over, with bypass resident models go first.
type fifo struct{ skip, bypass bool }

func (s *fifo) Select(v *scheduler.View, c *Candidates) scheduler.ModelID {
	best, first := noModel, int64(math.MaxInt64)
	resident, firstResident := noModel, int64(math.MaxInt64)
	for m := c.Next(0); m != noModel; m = c.Next(m + 1) {
		seq := v.HeadSeq(m)
		if seq < first {
			best, first = m, seq
		}
		if s.bypass && seq < firstResident && c.Resident(m) {
			resident, firstResident = m, seq
		}
	}
	if resident != noModel {
		return resident
	}
	if s.skip && best != noModel && !c.Startable(best) {
		return s.next(v, c, best)
	}
	return best
}

// next returns the first model that can do something now, else the head's.
func (s *fifo) next(v *scheduler.View, c *Candidates, head scheduler.ModelID) scheduler.ModelID {
	best, first := head, int64(math.MaxInt64)
	for m := c.Next(0); m != noModel; m = c.Next(m + 1) {
		if seq := v.HeadSeq(m); m != head && seq < first && c.Startable(m) {
			best, first = m, seq
		}
	}
	return best
}

// cap ends the batch where the merged order comes to another model: only the
// items of m ready before the next head after m's own.
func (s *fifo) cap(v *scheduler.View, c *Candidates, m scheduler.ModelID, limit int) int {
	own, next := v.HeadSeq(m), int64(math.MaxInt64)
	for j := c.Next(0); j != noModel; j = c.Next(j + 1) {
		if seq := v.HeadSeq(j); seq > own && seq < next {
			next = seq
		}
	}
	if next == math.MaxInt64 || limit <= 1 {
		return limit
	}
	run := 0
	v.Each(m, func(item scheduler.Item) bool {
		if item.Seq >= next || run == limit {
			return false
		}
		run++
		return true
	})
	return run
}

// inOrder reports whether models are served strictly in the merged order.
func (s *fifo) inOrder() bool { return !s.skip && !s.bypass }

func (s *fifo) bound(visit Axis, _ int) Bound {
	if s.inOrder() && visit.Name == "limited" && (visit.Params["batches"] == int64(1) || visit.Params["items"] == int64(1)) {
		return Bound{Kind: InOrder}
	}
	return Bound{}
}

// longest takes the largest queue by items or by expected time.
type longest struct{ work, resident bool }

func (s *longest) Select(v *scheduler.View, c *Candidates) scheduler.ModelID {
	if s.resident {
		if m := s.best(v, c, true); m != noModel {
			return m
		}
	}
	best := s.best(v, c, false)
	if cur := c.Current(); !s.resident && best != noModel && c.Has(cur) && s.size(v, cur) == s.size(v, best) {
		return cur
	}
	return best
}

func (s *longest) best(v *scheduler.View, c *Candidates, resident bool) scheduler.ModelID {
	best, size := noModel, int64(-1)
	for m := c.Next(0); m != noModel; m = c.Next(m + 1) {
		if k := s.size(v, m); k > size && (!resident || c.Resident(m)) {
			best, size = m, k
		}
	}
	return best
}

func (s *longest) size(v *scheduler.View, m scheduler.ModelID) int64 {
	if s.work {
		return int64(v.WorkEstimate(m))
	}
	return int64(v.Ready(m))
}

// oldest takes the model whose oldest item has waited longest.
type oldest struct{}

func (oldest) Select(v *scheduler.View, c *Candidates) scheduler.ModelID {
	best, since := noModel, scheduler.Never
	for m := c.Next(0); m != noModel; m = c.Next(m + 1) {
		if t := v.Oldest(m); t < since {
			best, since = m, t
		}
	}
	return best
}

// bound holds for visits after which everything that remains is younger.
func (oldest) bound(visit Axis, models int) Bound {
	switch visit.Name {
	case "gated", "exhaustive", "linger":
		return Bound{Kind: Visits, N: models}
	}
	return Bound{}
}

// priority takes the highest head priority, then the oldest head.
type priority struct{}

func (priority) Select(v *scheduler.View, c *Candidates) scheduler.ModelID {
	best := noModel
	var first scheduler.Item
	for m := c.Next(0); m != noModel; m = c.Next(m + 1) {
		head, _ := v.Head(m)
		if best == noModel || head.Priority > first.Priority || head.Priority == first.Priority && head.Seq < first.Seq {
			best, first = m, head
		}
	}
	return best
}

// hysteresis leaves a queue with items only for one longer by h.
type hysteresis struct{ h int }

func (s *hysteresis) Select(v *scheduler.View, c *Candidates) scheduler.ModelID {
	best, cur := most(v, c, false), c.Current()
	if c.Has(cur) && v.Ready(best) < v.Ready(cur)+s.h {
		return cur
	}
	return best
}

// edfSetup takes the least head deadline less load and batch time, and leaves
// the model of the last visit only for one less by more than h.
type edfSetup struct{ h, virtual scheduler.Time }

func (s *edfSetup) Select(v *scheduler.View, c *Candidates) scheduler.ModelID {
	best, least := noModel, int64(math.MaxInt64)
	for m := c.Next(0); m != noModel; m = c.Next(m + 1) {
		if k := s.latest(v, c.Device(), m); best == noModel || k < least {
			best, least = m, k
		}
	}
	cur := c.Current()
	if best == noModel || !c.Has(cur) {
		return best
	}
	if now := s.latest(v, c.Device(), cur); least >= now-int64(s.h) {
		return cur
	}
	return best
}

// latest returns when the load of m must start for its head to be in time.
func (s *edfSetup) latest(v *scheduler.View, d scheduler.DeviceID, m scheduler.ModelID) int64 {
	head, _ := v.Head(m)
	due := head.Deadline
	if due == scheduler.Never {
		due, _ = scheduler.AddTime(head.Arrival, s.virtual)
	}
	t := v.BatchEstimate(m, min(v.Ready(m), v.BatchMax(m)))
	return int64(due) - int64(v.LoadEstimate(d, m)) - int64(t)
}

// cmuSetup takes the model that finishes most items per time of its visit, the
// load and the items that arrive during the load included: the largest
// (n + λL)/(L + T).
type cmuSetup struct{ aging scheduler.Time }

func (s *cmuSetup) Select(v *scheduler.View, c *Candidates) scheduler.ModelID {
	best := noModel
	var gain, time uint64
	for m := c.Next(0); m != noModel; m = c.Next(m + 1) {
		g, t := s.index(v, c.Device(), m)
		if best == noModel || compareRatios(g, t, gain, time) > 0 {
			best, gain, time = m, g, t
		}
	}
	return best
}

// itemUnit is what one item counts in the numerator of an index.
const itemUnit = 1 << 20

// index returns the items that a visit of m would serve, in itemUnits, and how
// long it would take, at least 1. With aging they count for more the longer the
// oldest has waited.
func (s *cmuSetup) index(v *scheduler.View, d scheduler.DeviceID, m scheduler.ModelID) (gain, time uint64) {
	load := v.LoadEstimate(d, m)
	gain = uint64(v.Ready(m)) * itemUnit
	if gap := v.MeanGap(m); gap > 0 {
		gain += scale(uint64(load), itemUnit, uint64(gap))
	}
	if s.aging > 0 {
		gain += scale(gain, uint64(v.Now()-v.Oldest(m)), uint64(s.aging))
	}
	all, _ := scheduler.AddTime(load, v.WorkEstimate(m))
	return gain, uint64(max(all, 1))
}

// compareRatios returns the sign of a/b − c/d for b and d above 0.
func compareRatios(a, b, c, d uint64) int {
	high, low := bits.Mul64(a, d)
	otherHigh, otherLow := bits.Mul64(c, b)
	return cmp.Or(cmp.Compare(high, otherHigh), cmp.Compare(low, otherLow))
}

// scale returns ⌊x·num/den⌋ for den > 0, at most 2⁶²: sums of two do not
// overflow.
func scale(x, num, den uint64) uint64 {
	high, low := bits.Mul64(x, num)
	if high >= den {
		return 1 << 62
	}
	quotient, _ := bits.Div64(high, low, den)
	return min(quotient, 1<<62)
}

// waste visits the model whose items have waited longest, all together, for each
// second that its load takes; and at once, the oldest first, whoever has come to
// beta. It is the time form of Bounded Waste: what waits costs w·n·dt, 0 once a
// visit has served it.
type waste struct {
	floor scheduler.Time // what a load counts at least
	beta  uint64         // millionths
	most  scheduler.Time // an item has waited that long before its model is urgent, by declared loads
}

func newWaste(a *Args) (any, error) {
	s := &waste{floor: a.Time("floor"), beta: uint64(a.Millionths("beta"))}
	longest := s.floor
	for i := range a.Env.Models {
		for _, load := range a.Env.Models[i].Load {
			longest = max(longest, load)
		}
	}
	s.most = s.threshold(longest)
	return s, nil
}

// cost is what the load of m counts on d.
func (s *waste) cost(v *scheduler.View, d scheduler.DeviceID, m scheduler.ModelID) scheduler.Time {
	return max(v.LoadEstimate(d, m), s.floor)
}

// threshold returns from which wait on a model is urgent whose load costs so
// much: ⌈beta·cost⌉.
func (s *waste) threshold(cost scheduler.Time) scheduler.Time {
	high, low := bits.Mul64(uint64(cost), s.beta)
	low, carry := bits.Add64(low, million-1, 0)
	if high += carry; high >= million {
		return scheduler.MaxTime
	}
	wait, _ := bits.Div64(high, low, million)
	return scheduler.Time(min(wait, uint64(scheduler.MaxTime)))
}

func (s *waste) Select(v *scheduler.View, c *Candidates) scheduler.ModelID {
	best := noModel
	var waited, cost scheduler.Time
	for m := c.Next(0); m != noModel; m = c.Next(m + 1) {
		w, l := v.Waited(m), s.cost(v, c.Device(), m)
		if best == noModel || compareRatios(uint64(w), uint64(l), uint64(waited), uint64(cost)) > 0 {
			best, waited, cost = m, w, l
		}
	}
	return best
}

func (s *waste) Urgent(v *scheduler.View, c *Candidates) (scheduler.ModelID, scheduler.Time) {
	best, oldest := noModel, scheduler.Never
	for m := c.Next(0); m != noModel; m = c.Next(m + 1) {
		if m == c.Current() || v.Waited(m) < s.threshold(s.cost(v, c.Device(), m)) {
			continue
		}
		if since := v.Oldest(m); since < oldest {
			best, oldest = m, since
		}
	}
	return best, v.Now() - oldest
}

func (s *waste) UrgentAt(v *scheduler.View, c *Candidates) scheduler.Time {
	first := scheduler.Never
	for m := c.Next(0); m != noModel; m = c.Next(m + 1) {
		if m == c.Current() {
			continue
		}
		missing := s.threshold(s.cost(v, c.Device(), m)) - v.Waited(m)
		if missing <= 0 {
			continue
		}
		n := scheduler.Time(v.Ready(m)) // of them wait n nanoseconds in each
		at, _ := scheduler.AddTime(v.Now(), missing/n+min(1, missing%n))
		first = min(first, at)
	}
	return first
}

func (s *waste) Forced() Visit { return gated{} }

func (s *waste) bound(_ Axis, models int) Bound {
	return Bound{Kind: VisitsAfter, N: models, After: s.most}
}

// largestFeasible takes the model that can run the most items at once and still
// meet the deadline of its head, its load included: Flex of Shepherd (NSDI 2023)
// without preemption. Of what is late one item runs.
type largestFeasible struct{}

func (s largestFeasible) Select(v *scheduler.View, c *Candidates) scheduler.ModelID {
	best, most := noModel, -1
	for m := c.Next(0); m != noModel; m = c.Next(m + 1) {
		if n := s.feasible(v, c.Device(), m, v.BatchMax(m)); n > most {
			best, most = m, n
		}
	}
	return best
}

// feasible returns how many of the first items of m, at most limit, would end
// together before the deadline of the first were they to start, or load, now.
func (largestFeasible) feasible(v *scheduler.View, d scheduler.DeviceID, m scheduler.ModelID, limit int) int {
	head, _ := v.Head(m)
	n := min(v.Ready(m), limit)
	if head.Deadline == scheduler.Never {
		return n
	}
	left := head.Deadline - v.Now() - v.LoadEstimate(d, m)
	for n > 0 && v.BatchEstimate(m, n) > left {
		n--
	}
	return n
}

func (s largestFeasible) cap(v *scheduler.View, c *Candidates, m scheduler.ModelID, limit int) int {
	return min(limit, max(1, s.feasible(v, c.Device(), m, limit)))
}

// polling visits the models in a cycle.
type polling struct {
	order []scheduler.ModelID // the cycle
	place []int               // of each model in it
}

func newPolling(order []scheduler.ModelID, models int) polling {
	if order == nil {
		for m := range models {
			order = append(order, scheduler.ModelID(m))
		}
	}
	s := polling{order: order, place: make([]int, models)}
	for i, m := range order {
		s.place[m] = i
	}
	return s
}

func (s *polling) after(m scheduler.ModelID) scheduler.ModelID {
	if m == noModel {
		return s.order[0]
	}
	return s.order[(s.place[m]+1)%len(s.order)]
}

func (s *polling) Select(v *scheduler.View, c *Candidates) scheduler.ModelID {
	start, best, least := 0, noModel, len(s.order)
	if cur := c.Current(); cur != noModel {
		start = s.place[cur] + 1
	}
	for m := c.Next(0); m != noModel; m = c.Next(m + 1) {
		if ahead := (s.place[m] - start + len(s.order)) % len(s.order); ahead < least {
			best, least = m, ahead
		}
	}
	return best
}

func (s *polling) bound(_ Axis, models int) Bound { return Bound{Kind: Visits, N: models} }

// roaming is polling of theory (Takagi): the device goes round for ever, loads
// for empty queues too and never parks.
type roaming struct {
	polling
	at []scheduler.ModelID // by device: the model loaded last
}

func (s *roaming) Observe(_ *scheduler.View, ev scheduler.Event) {
	if ev.Kind == scheduler.LoadStarted {
		s.at[ev.Device] = ev.Model
	}
}

func (s *roaming) wander(v *scheduler.View, d scheduler.DeviceID) scheduler.ModelID {
	at := s.at[d]
	if at != noModel {
		switch v.State(d, at) {
		case scheduler.Claimed, scheduler.Loading:
			return at
		}
	}
	next := at
	for range s.order {
		if next = s.after(next); takes(v, d, next) {
			return next
		}
	}
	return noModel // other devices are larger
}
