package workloads

import (
	"math"
	"slices"
	"sort"
	"strconv"

	"github.com/vramsim/vramsim/scheduler"
)

// maker turns jobs into their items.
type maker interface {
	// jobs appends the items of jobs that arrive at these times, up to the last
	// item there may be. The draws of a job depend on who (a client or 0)
	// starts it and its ordinal there; that of the first is given.
	jobs(at []scheduler.Time, who, ordinal uint64, out *batch) error
	// addRates adds the items per second of each model that jobs per second make.
	addRates(jobs float64, rates []float64)
	itemName(made *made, item scheduler.ItemID) string
	jobName(job scheduler.JobID) string
	// whole reports whether each item is a job of its own.
	whole() bool
}

func newMaker(c *Config, k keys) (maker, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	if c.Streams != nil {
		return newStreams(c.Streams, k), nil
	}
	return newPipelines(c.Pipelines, k)
}

// batch collects the events of one instant, or of some.
type batch struct {
	items    int64 // after so many no further job starts; 0: there is no limit
	events   []scheduler.Event
	nextItem scheduler.ItemID
	nextJob  scheduler.JobID
	// The jobs of this and the last call of Next, for names.
	now, before []made
}

// made remembers where the items of a job begin.
type made struct {
	first    scheduler.ItemID
	job      scheduler.JobID
	pipeline int
	counts   []int // items of each stage, in the order they were made
}

// left returns after how many items more no further job starts.
func (b *batch) left() int64 {
	if b.items == 0 {
		return math.MaxInt64
	}
	return max(0, b.items-int64(b.nextItem))
}

// turn begins the next instant.
func (b *batch) turn() {
	b.events = b.events[:0]
	b.now, b.before = b.before[:0], b.now
}

// arrive appends an item with its attributes to come.
func (b *batch) arrive(at scheduler.Time, m scheduler.ModelID, priority int32, follow int) scheduler.ItemID {
	id := b.nextItem
	b.nextItem++
	b.events = append(b.events, scheduler.Event{})
	ev := &b.events[len(b.events)-1]
	ev.At, ev.Kind, ev.ID, ev.Model, ev.Device = at, scheduler.ItemArrived, int64(id), m, scheduler.NoDevice
	ev.Value = scheduler.PackArrival(priority, follow)
	return id
}

// arrivals appends items without attributes and returns them; their models
// are to be filled in.
func (b *batch) arrivals(at []scheduler.Time) []scheduler.Event {
	from, id := len(b.events), int64(b.nextItem)
	b.events = slices.Grow(b.events, len(at))[:from+len(at)]
	added := b.events[from:]
	for i := range added {
		ev := &added[i]
		ev.At, ev.Kind, ev.ID, ev.Value, ev.Device, ev.Flags = at[i], scheduler.ItemArrived, id+int64(i), 0, scheduler.NoDevice, 0
	}
	b.nextItem += scheduler.ItemID(len(at))
	return added
}

func (b *batch) attribute(at scheduler.Time, kind scheduler.Kind, item scheduler.ItemID, value int64) {
	b.events = append(b.events, scheduler.Event{At: at, Kind: kind, ID: int64(item), Value: value,
		Model: scheduler.NoModel, Device: scheduler.NoDevice})
}

// remember appends a record of a job, reusing its memory.
func (b *batch) remember() *made {
	if len(b.now) < cap(b.now) {
		b.now = b.now[:len(b.now)+1]
	} else {
		b.now = append(b.now, made{})
	}
	m := &b.now[len(b.now)-1]
	m.first, m.job, m.counts = b.nextItem, b.nextJob, m.counts[:0]
	return m
}

// find returns the job of an item of the last two instants.
func (b *batch) find(item scheduler.ItemID) *made {
	for _, jobs := range [][]made{b.now, b.before} {
		i := sort.Search(len(jobs), func(i int) bool { return jobs[i].first > item }) - 1
		if i >= 0 {
			return &jobs[i]
		}
	}
	return nil
}

// named is what sources of both kinds share: the names.
type named struct {
	maker maker
	out   batch
}

func newNamed(c *Config, m maker) named { return named{maker: m, out: batch{items: c.Items}} }

// ItemName returns the name of an item of the last two instants, like
// "video/7/asr/0". Those of streams have none but their number.
func (n *named) ItemName(item scheduler.ItemID) string {
	if n.maker.whole() {
		return ""
	}
	m := n.out.find(item)
	if m == nil {
		return strconv.FormatInt(int64(item), 10)
	}
	return n.maker.itemName(m, item)
}

// JobName returns the name of a job, like "video/7".
func (n *named) JobName(job scheduler.JobID) string { return n.maker.jobName(job) }

// TenantName returns "": generated items have no tenants.
func (n *named) TenantName(int64) string { return "" }
