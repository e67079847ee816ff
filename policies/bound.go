package policies

import (
	"cmp"
	"container/heap"
	"math"
	"slices"

	"github.com/vramsim/vramsim/scheduler"
)

// LeastCost is the least that a model can cost, whatever is drawn.
type LeastCost struct {
	Load scheduler.Time // the first load, from disk
	// Batch are the times of batches to which what is recorded or drawn for
	// their items is added. A batch takes at least Whole.
	Batch scheduler.BatchCost
	Whole scheduler.Time
	// Item is drawn for each item of ordinary work; Drawn says that it is, so
	// that Batch's times per item do not apply.
	Item  scheduler.Time
	Drawn bool
}

// BoundConfig is what the bounds of one replicate are computed from.
type BoundConfig struct {
	Devices []scheduler.Device
	Models  []LeastCost // by ModelID
	// Warmup and End are the window of the metrics; End 0 is the last arrival.
	Warmup, End scheduler.Time

	leastWork []int64      // of the items of each model
	ordinary  []leastTimes // of those without work or service of their own
}

// leastTimes are what an item costs at least.
type leastTimes struct {
	share float64 // ns
	alone scheduler.Time
}

// BoundItem is one arrival.
type BoundItem struct {
	Model   scheduler.ModelID
	Arrival scheduler.Time
	Work    int64          // in millionths
	Service scheduler.Time // recorded; -1 if it is not
	Deps    []scheduler.ItemID
}

// Bounds are limits that no policy can beat which finishes every item, from a
// cold start.
type Bounds struct {
	Makespan scheduler.Time
	Loads    int64
	Switches int64
	// MeanLatency is in seconds, of the items of the window; NaN if there are none.
	MeanLatency float64
}

// boundItem is an item with what it costs at least: share of a batch's time,
// alone the time from its start to its end.
type boundItem struct {
	leastTimes
	start   scheduler.Time // earliest
	changes int64          // of models along the chains that lead to it
}

// LowerBounds computes lower bounds from the arrivals, which are numbered in their
// order. With M models used, G devices and K slots, an item's share c of a
// batch, its time e in one and its earliest start E (after its arrival, its
// model's load and what it depends on):
//
//	loads       ≥ M
//	switches    ≥ M − G, and on one device the changes of model along any chain
//	makespan    ≥ max(max(first arrival, least load) + Σc/K, max(E+e), Σload/G + least e)
//	Σ latencies ≥ max(Σ(E+e − arrival), SRPT of works c at speed K − Σ arrivals)
//
// where SRPT, the preemptive shortest remaining processing time first, is
// optimal for one machine. After a warm-up loads and switches have the bound 0:
// everything may be resident by then.
func LowerBounds(cfg BoundConfig, items []BoundItem) Bounds {
	b := Bounds{MeanLatency: math.NaN()}
	if len(items) == 0 {
		return b
	}
	cfg.prepare(items)
	all := make([]boundItem, len(items))
	done := make([]bool, len(items))
	for i := range items {
		cfg.earliest(items, all, done, i)
	}
	used := make([]bool, len(cfg.Models))
	first, shares, ends, changes := items[0].Arrival, 0.0, scheduler.Time(0), int64(0)
	leastLoad, loads, shortest := scheduler.Time(math.MaxInt64), 0.0, scheduler.Time(math.MaxInt64)
	for i := range items {
		if m := items[i].Model; !used[m] {
			used[m] = true
			b.Loads++
			loads += float64(cfg.Models[m].Load)
			leastLoad = min(leastLoad, cfg.Models[m].Load)
		}
		shares += all[i].share
		ends = max(ends, all[i].start+all[i].alone)
		shortest = min(shortest, all[i].alone)
		changes = max(changes, all[i].changes)
	}
	slots := 0
	for _, d := range cfg.Devices {
		slots += d.Slots
	}
	b.Switches = max(0, b.Loads-int64(len(cfg.Devices)))
	if len(cfg.Devices) == 1 {
		b.Switches = max(b.Switches, changes)
	}
	b.Makespan = max(ends, max(first, leastLoad)+scheduler.Time(shares/float64(slots)), scheduler.Time(loads/float64(len(cfg.Devices)))+shortest)
	if cfg.Warmup > 0 {
		b.Loads, b.Switches = 0, 0
	}
	b.MeanLatency = cfg.meanLatency(items, all, float64(slots))
	return b
}

// prepare computes what the items of a model share.
func (cfg *BoundConfig) prepare(items []BoundItem) {
	cfg.ordinary, cfg.leastWork = make([]leastTimes, len(cfg.Models)), make([]int64, len(cfg.Models))
	for m := range cfg.leastWork {
		cfg.leastWork[m] = math.MaxInt64
	}
	for i := range items {
		work := items[i].Work
		if items[i].Service >= 0 || cfg.Models[items[i].Model].Drawn {
			work = 0 // it adds its time to what the others take
		}
		cfg.leastWork[items[i].Model] = min(cfg.leastWork[items[i].Model], work)
	}
	for m := range cfg.ordinary {
		cfg.ordinary[m] = cfg.Models[m].least(&BoundItem{Work: scheduler.WorkUnit, Service: -1}, cfg.leastWork[m])
	}
}

// earliest fills in all[i], after what it depends on.
func (cfg *BoundConfig) earliest(items []BoundItem, all []boundItem, done []bool, i int) {
	stack := []int{i}
	for len(stack) > 0 {
		top := stack[len(stack)-1]
		if done[top] {
			stack = stack[:len(stack)-1]
			continue
		}
		pending := len(stack)
		for _, d := range items[top].Deps {
			if d >= 0 && int(d) < len(items) && !done[d] && len(stack) <= len(items) {
				stack = append(stack, int(d))
			}
		}
		if len(stack) > pending {
			continue
		}
		done[top] = true
		all[top] = cfg.leastOf(items, all, top)
	}
}

func (cfg *BoundConfig) leastOf(items []BoundItem, all []boundItem, i int) boundItem {
	it := &items[i]
	cost := &cfg.Models[it.Model]
	b := boundItem{leastTimes: cfg.ordinary[it.Model], start: max(it.Arrival, cost.Load)}
	if it.Work != scheduler.WorkUnit || it.Service >= 0 {
		b.leastTimes = cost.least(it, cfg.leastWork[it.Model])
	}
	for _, d := range it.Deps {
		if d < 0 || int(d) >= len(items) {
			continue
		}
		on := &all[d]
		b.start = max(b.start, on.start+on.alone)
		change := int64(0)
		if items[d].Model != it.Model {
			change = 1
		}
		b.changes = max(b.changes, on.changes+change)
	}
	return b
}

// least returns an item's share of the time of any batch, in ns, and the time
// that any batch with it takes. A batch of n takes a part that does not depend
// on work, of which each member has a share, and one that each item
// adds; the other members have at least the given work each.
func (c *LeastCost) least(it *BoundItem, others int64) leastTimes {
	share, alone := math.Inf(1), scheduler.Time(math.MaxInt64)
	work, added := it.Work, scheduler.Time(0)
	switch {
	case it.Service >= 0:
		work, added = 0, it.Service
	case c.Drawn:
		work, added = 0, (&scheduler.BatchCost{PerItem: c.Item}).Time(1, it.Work)
	}
	sizes := []int{1, max(1, c.Batch.Max)}
	for n := 2; n <= len(c.Batch.Times)+1 && n < c.Batch.Max; n++ {
		sizes = append(sizes, n)
	}
	for _, n := range sizes {
		fixed := c.Batch.Time(n, 0)
		perItem := float64(c.Batch.Time(n, int64(n)*scheduler.WorkUnit)-fixed) / float64(n)
		share = min(share, float64(fixed)/float64(n)+perItem*float64(work)/scheduler.WorkUnit)
		alone = min(alone, c.Batch.Time(n, work+min(others, 1<<32)*int64(n-1)))
	}
	if work != scheduler.WorkUnit && work != 0 {
		share = max(0, share-1) // the time of a batch is rounded down
	}
	share, alone = share+float64(added), alone+added
	return leastTimes{max(share, float64(c.Whole)/float64(max(1, c.Batch.Max))), max(alone, c.Whole)}
}

func (cfg *BoundConfig) meanLatency(items []BoundItem, all []boundItem, speed float64) float64 {
	var window []int
	alone, arrivals := 0.0, 0.0
	for i := range items {
		at := items[i].Arrival
		if at < cfg.Warmup || cfg.End > 0 && at > cfg.End {
			continue
		}
		window = append(window, i)
		alone += float64(all[i].start + all[i].alone - at)
		arrivals += float64(at)
	}
	if len(window) == 0 {
		return math.NaN()
	}
	slices.SortStableFunc(window, func(a, b int) int { return cmp.Compare(all[a].start, all[b].start) })
	return max(alone, srpt(window, all, speed)-arrivals) / float64(len(window)) / 1e9
}

// srpt returns the sum of the completion times, in ns, of preemptive SRPT with
// the items' shares as works, released at their earliest starts.
func srpt(order []int, all []boundItem, speed float64) (sum float64) {
	var left works
	now := 0.0
	for i := 0; i < len(order) || len(left) > 0; {
		if len(left) == 0 {
			now = max(now, float64(all[order[i]].start))
		}
		for ; i < len(order) && float64(all[order[i]].start) <= now; i++ {
			heap.Push(&left, all[order[i]].share/speed)
		}
		next := math.Inf(1)
		if i < len(order) {
			next = float64(all[order[i]].start)
		}
		if now+left[0] <= next {
			now += left[0]
			sum += now
			heap.Pop(&left)
			continue
		}
		left[0] -= next - now
		now = next
	}
	return sum
}

// works is a heap of what is left to do.
type works []float64

func (w works) Len() int           { return len(w) }
func (w works) Less(i, j int) bool { return w[i] < w[j] }
func (w works) Swap(i, j int)      { w[i], w[j] = w[j], w[i] }
func (w *works) Push(x any)        { *w = append(*w, x.(float64)) }
func (w *works) Pop() any {
	old := *w
	x := old[len(old)-1]
	*w = old[:len(old)-1]
	return x
}
