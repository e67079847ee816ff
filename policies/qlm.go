package policies

import (
	"cmp"
	"math"
	"math/bits"
	"slices"

	"github.com/vramsim/vramsim/scheduler"
)

// qlm orders groups of items of one model and of like deadlines (Patke et al.,
// QLM, SoCC 2024, arXiv 2407.00047): by the least deadline of each, unless a
// group would end after its own; then, if there are few, in the order in which
// the fewest do and the sum of the ends is least. It takes the model of the
// first group and no more items at once than that has.
//
// Times are estimates: that for a group's items, in batches as large as
// allowed, and the load wherever the model changes, from the one present on. The
// paper solves an integer program over all queues and has preemption; here each
// device decides for itself. What has no deadline is a group for each model that
// is never late.
type qlm struct {
	bucket scheduler.Time
	groups []group       // scratch, like the rest
	places map[int64]int // in groups, of one model, by bucket
	order  []int         // places in groups
	sorted [maxOrdered]int
	path   [maxOrdered]int
	used   [maxOrdered]bool
	now    scheduler.Time
	least  lateness
}

// maxOrdered is of how many groups every order is considered.
const maxOrdered = 8

// group is items of one model whose times from arrival to deadline lie in one
// bucket.
type group struct {
	model scheduler.ModelID
	n     int
	work  int64
	due   scheduler.Time // the least deadline
	took  scheduler.Time // expected for all
	load  scheduler.Time
}

// Select implements Selector.
func (s *qlm) Select(v *scheduler.View, c *Candidates) scheduler.ModelID {
	s.arrange(v, c)
	if len(s.order) == 0 {
		return noModel
	}
	return s.groups[s.order[0]].model
}

// cap ends the batch where the first group of m does.
func (s *qlm) cap(v *scheduler.View, c *Candidates, m scheduler.ModelID, limit int) int {
	s.arrange(v, c)
	for _, i := range s.order {
		if s.groups[i].model == m {
			return min(limit, s.groups[i].n)
		}
	}
	return limit
}

// arrange puts the groups of the candidates in order.
func (s *qlm) arrange(v *scheduler.View, c *Candidates) {
	s.groups, s.order, s.now = s.groups[:0], s.order[:0], v.Now()
	for m := c.Next(0); m != noModel; m = c.Next(m + 1) {
		s.collect(v, c.Device(), m)
	}
	// They are in the order of ids, and of the queue within a model.
	slices.SortStableFunc(s.groups, func(a, b group) int { return cmp.Compare(a.due, b.due) })
	for i := range s.groups {
		s.order = append(s.order, i)
	}
	if len(s.groups) <= maxOrdered && s.breaks(c.Current()) {
		s.reorder(c.Current())
	}
}

// collect adds the groups of m.
func (s *qlm) collect(v *scheduler.View, d scheduler.DeviceID, m scheduler.ModelID) {
	first := len(s.groups)
	clear(s.places)
	v.Each(m, func(item scheduler.Item) bool {
		bucket := s.bucketOf(item)
		i, known := s.places[bucket]
		if !known {
			i = len(s.groups)
			s.places[bucket] = i
			s.groups = append(s.groups, group{model: m, due: item.Deadline})
		}
		g := &s.groups[i]
		g.n++
		g.work += item.Work
		g.due = min(g.due, item.Deadline)
		return true
	})
	load := v.LoadEstimate(d, m)
	for i := first; i < len(s.groups); i++ {
		g := &s.groups[i]
		g.load, g.took = load, timeForAll(&v.Model(m).Batch, g.n, g.work)
	}
}

// bucketOf returns ⌊(deadline − arrival)/bucket⌋, the largest int64 without a
// deadline.
func (s *qlm) bucketOf(item scheduler.Item) int64 {
	if item.Deadline == scheduler.Never {
		return math.MaxInt64
	}
	slo := int64(item.Deadline - item.Arrival)
	bucket := slo / int64(s.bucket)
	if slo%int64(s.bucket) < 0 {
		bucket--
	}
	return bucket
}

// timeForAll returns the expected time of n items of that much work in batches
// as large as allowed.
func timeForAll(cost *scheduler.BatchCost, n int, work int64) scheduler.Time {
	mean := work / int64(n)
	full, rest := int64(n/cost.Max), n%cost.Max
	sum, _ := scheduler.AddTime(times(cost.Time(cost.Max, int64(cost.Max)*mean), full), cost.Time(rest, int64(rest)*mean))
	return sum
}

// after returns when g ends, from now, after a group of another or the same
// model that ends so.
func (g *group) after(end scheduler.Time, model scheduler.ModelID) scheduler.Time {
	if g.model != model {
		end, _ = scheduler.AddTime(end, g.load)
	}
	end, _ = scheduler.AddTime(end, g.took)
	return end
}

// late reports whether g is, if it ends so long from now.
func (s *qlm) late(g *group, end scheduler.Time) bool { return end > g.due-s.now }

// breaks reports whether some group ends too late in the order of deadlines.
func (s *qlm) breaks(model scheduler.ModelID) bool {
	end := scheduler.Time(0)
	for i := range s.groups {
		g := &s.groups[i]
		if end = g.after(end, model); s.late(g, end) {
			return true
		}
		model = g.model
	}
	return false
}

// lateness is what an order of groups costs: how many end too late, then the
// sum of the ends.
type lateness struct {
	groups    int
	high, low uint64
}

func (l lateness) less(than lateness) bool {
	return cmp.Or(cmp.Compare(l.groups, than.groups), cmp.Compare(l.high, than.high), cmp.Compare(l.low, than.low)) < 0
}

// with returns l with one group more, which ends so.
func (l lateness) with(end scheduler.Time, late bool) lateness {
	if late {
		l.groups++
	}
	carry := uint64(0)
	l.low, carry = bits.Add64(l.low, uint64(end), 0)
	l.high += carry
	return l
}

// reorder finds the order of least lateness, of equals the first one in the
// order of deadlines.
func (s *qlm) reorder(model scheduler.ModelID) {
	n := len(s.groups)
	for i := range n {
		s.sorted[i], s.used[i] = i, false
	}
	slices.SortStableFunc(s.sorted[:n], func(a, b int) int { return cmp.Compare(s.groups[a].took, s.groups[b].took) })
	s.least = lateness{groups: math.MaxInt}
	s.search(0, model, 0, lateness{})
}

// search continues an order that has come to the i-th place.
func (s *qlm) search(i int, model scheduler.ModelID, end scheduler.Time, cost lateness) {
	if !s.atBest(end, cost).less(s.least) {
		return
	}
	if i == len(s.groups) {
		s.least = cost
		copy(s.order, s.path[:i])
		return
	}
	for next := range s.groups {
		if s.used[next] {
			continue
		}
		g := &s.groups[next]
		ends := g.after(end, model)
		s.used[next], s.path[i] = true, next
		s.search(i+1, g.model, ends, cost.with(ends, s.late(g, ends)))
		s.used[next] = false
	}
}

// atBest returns the least that the order can cost: as if the rest needed no
// loads and came shortest first, each in time if it would be as the next.
func (s *qlm) atBest(end scheduler.Time, cost lateness) lateness {
	sum := end
	for _, i := range s.sorted[:len(s.groups)] {
		if s.used[i] {
			continue
		}
		g := &s.groups[i]
		alone, _ := scheduler.AddTime(end, g.took)
		sum, _ = scheduler.AddTime(sum, g.took)
		cost = cost.with(sum, s.late(g, alone))
	}
	return cost
}
