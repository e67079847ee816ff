package metrics

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/vramsim/vramsim/scheduler"
)

// truncatedShare is which share of unfinished items makes a run too short:
// from there on the 99th percentile is no more than a bound.
const truncatedShare = 0.01

// MaxTenants is how many tenants, those with the most items, have results of
// their own: a recorded trace may name thousands of users, most of whom sent a
// request or two. The others are described together as OtherTenants.
const (
	MaxTenants   = 32
	OtherTenants = "(others)"
)

// censored are the times so far of what did not end.
type censored [3][]int64

// closed is a fold brought to its end: open intervals are added to copies.
type closed struct {
	*Fold
	end     scheduler.Time // of the run: the last item's end if everything ended
	drained bool
	window  scheduler.Time // length; 0: use the makespan
	models  []model
	devices []device
	left    map[*cell]*censored
	count   map[*cell]int64 // unfinished items
	scratch []int64
	sorted  []int64 // see inOrder
	buffers buffers
}

// Result returns the figures of the events so far. It may be called more than
// once, and between events.
func (f *Fold) Result() *Result {
	f.endStretch()
	c := &closed{Fold: f, drained: f.items.n == 0, end: f.now, scratch: make([]int64, lastChunk),
		models: append([]model(nil), f.models...), devices: append([]device(nil), f.devices...),
		left: map[*cell]*censored{}, count: map[*cell]int64{}}
	if c.drained {
		c.end = f.lastEnd
	}
	c.closeDevices()
	c.closeItems()
	from, to := c.windowEnds()
	c.window = max(0, to-from)
	r := &Result{Distributions: map[string]Stat{}}
	r.PerModel, r.IdleModel = c.perModel(r)
	r.PerTenant = c.perTenant()
	c.total(r)
	r.Invalid = c.invalid(r, from, to)
	if f.recorder != nil {
		r.Timeline = f.recorder.timeline(f.cfg.Models, f.now)
	}
	return r
}

// windowEnds returns the window; a run that was cut earlier ends it.
func (c *closed) windowEnds() (from, to scheduler.Time) {
	to = c.cfg.WindowEnd
	if to <= 0 {
		to = c.lastArrival
	}
	if !c.drained {
		to = min(to, c.now)
	}
	return c.cfg.Warmup, to
}

// closeDevices accounts for what still runs or loads. The copies share slices
// with the fold, which are only read.
func (c *closed) closeDevices() {
	open := *c.Fold
	open.models, open.devices = c.models, c.devices
	for d := range open.devices {
		dev := &open.devices[d]
		open.settle(dev)
		if dev.load.counted {
			open.loadTime(&open.models[dev.load.model].loadTime, dev.load.since)
		}
		for m := range open.models {
			if s := open.seat(scheduler.DeviceID(d), scheduler.ModelID(m)); s.running > 0 {
				open.spend(&open.models[m].busy, s.since)
			}
		}
	}
}

// closeItems collects what has not ended, with its times so far.
func (c *closed) closeItems() {
	started := map[int64]scheduler.Time{}
	for d := range c.devices {
		for _, b := range c.devices[d].batches {
			for id := b.head; id >= 0; id = c.items.at(id).next {
				started[id] = b.start
			}
		}
	}
	c.items.each(func(id int64, it *item) {
		if !it.counted {
			return
		}
		cell := c.cellOf(it)
		c.count[cell]++
		left := c.leftOf(cell)
		age := int64(c.now - it.arrival)
		left[latency] = append(left[latency], age)
		switch it.state {
		case waiting:
			left[wait] = append(left[wait], int64(c.now-it.ready))
		case running:
			at, ok := started[id]
			if !ok { // its batch has not begun
				at = c.now
			}
			left[wait] = append(left[wait], int64(at-it.ready))
			left[service] = append(left[service], int64(c.now-at))
		}
		if it.job < 0 && c.jobCell != nil {
			jobs := c.leftOf(c.jobsOf(it.tenant))
			jobs[latency] = append(jobs[latency], age)
		}
	})
	for i := range c.jobs {
		if j := &c.jobs[i]; j.unfinished > 0 && j.counted && !j.spoilt {
			left := c.leftOf(c.jobsOf(j.tenant))
			left[latency] = append(left[latency], int64(c.now-j.arrival))
		}
	}
}

func (c *closed) leftOf(cell *cell) *censored {
	l := c.left[cell]
	if l == nil {
		l = new(censored)
		c.left[cell] = l
	}
	return l
}

// valuesOf returns one column of several cells, unfinished items included, of
// which there are open.
func (c *closed) valuesOf(cells []*cell, col column) (all values, n, open int) {
	for _, cell := range cells {
		n += cell.exact.len()
		if l := c.left[cell]; l != nil {
			open += len(l[col])
		}
	}
	return func(f func([]int64)) {
		for _, cell := range cells {
			cell.exact.each(col, c.scratch, f)
			if l := c.left[cell]; l != nil {
				f(l[col])
			}
		}
	}, n + open, open
}

// distributions describes one column of groups of cells, and of all of them
// together.
func (c *closed) distributions(groups [][]*cell, col column) (parts []Stat, total Stat, sum *digest) {
	parts = make([]Stat, len(groups))
	digests := make([]*digest, len(groups)) // nil: described already
	sum = newDigest()
	for i, cells := range groups {
		mine, n, open := c.valuesOf(cells, col)
		if n <= c.few && !c.sketched {
			few := c.inOrder(mine)
			parts[i] = exactStat(few)
			sum.count(few)
		} else {
			digests[i] = newDigest()
			digests[i].look(mine)
			if c.sketched {
				for _, cell := range cells {
					cell.sketches[col].addTo(digests[i])
				}
				parts[i] = digests[i].sketched()
			}
			sum.merge(digests[i])
		}
		parts[i].Censored = int64(open)
	}
	all, _, open := c.valuesOf(slices.Concat(groups...), col)
	if c.sketched {
		total = sum.sketched()
	} else {
		overall := sum.finder(&c.buffers)
		for i, cells := range groups {
			mine, _, open := c.valuesOf(cells, col)
			if digests[i] == nil {
				gather(mine, nil, overall)
				continue
			}
			part := digests[i].finder(&c.buffers)
			gather(mine, part, overall)
			parts[i] = part.stat(mine)
			c.buffers.give(part)
			parts[i].Censored = int64(open)
		}
		total = overall.stat(all)
		c.buffers.give(overall)
	}
	total.Censored = int64(open)
	return parts, total, sum
}

// inOrder returns all values in order. They are valid until the next call.
func (c *closed) inOrder(all values) []int64 {
	c.sorted = c.sorted[:0]
	all(func(vs []int64) { c.sorted = append(c.sorted, vs...) })
	slices.Sort(c.sorted)
	return c.sorted
}

// group is a part of the items that has a result of its own.
type group struct {
	cells  []*cell
	result *Result
}

// latencies fills in the distributions of groups, and of all of them together
// where total is not nil; it returns what is known of all latencies.
func (c *closed) latencies(groups []group, total *Result) (curve *digest) {
	cells := make([][]*cell, len(groups))
	for i, g := range groups {
		cells[i] = g.cells
		g.result.Distributions = map[string]Stat{}
	}
	for col, name := range [...]string{latency: ItemLatency, wait: ItemWait, service: ItemService} {
		parts, all, d := c.distributions(cells, column(col))
		for i, g := range groups {
			g.result.Distributions[name] = parts[i]
		}
		if total != nil {
			total.Distributions[name] = all
		}
		if column(col) == latency {
			curve = d
		}
	}
	return curve
}

// itemsOf fills in the counts of the items of cells.
func (c *closed) itemsOf(r *Result, cells []*cell) {
	r.Values = map[string]float64{}
	var arrived, due, met, left, inWindow int64
	var ended [outcomes]int64
	var last scheduler.Time
	for _, cell := range cells {
		arrived += cell.arrived
		due += cell.due
		met += cell.met
		left += c.count[cell]
		inWindow += cell.inWindow.at(c.arrivals, c.cfg.WindowEnd <= 0)
		last = max(last, cell.lastEnd)
		for how := range ended {
			ended[how] += cell.ended[how]
		}
	}
	v := r.Values
	v[ItemsArrived], v[ItemsCompleted] = float64(arrived), float64(ended[completed])
	v[ItemsRejected], v[ItemsFailed], v[ItemsCancelled] = float64(ended[rejected]), float64(ended[failed]), float64(ended[cancelled])
	v[ItemsLeft] = float64(left)
	if left > 0 {
		last = c.end
	}
	v[Makespan] = last.Seconds()
	switch {
	case due > 0:
		v[Goodput] = float64(met) / float64(due)
	case arrived > 0:
		v[Goodput] = float64(ended[completed]) / float64(arrived)
	}
	switch {
	case c.window > 0:
		v[Throughput] = float64(inWindow) / c.window.Seconds()
	case c.end > 0:
		v[Throughput] = float64(ended[completed]) / c.end.Seconds()
	}
}

// jobLatency fills in the latency of jobs, from their cells.
func (c *closed) jobLatency(r *Result, cells []*cell) {
	if c.jobCell == nil {
		r.Distributions[JobLatency] = r.Distributions[ItemLatency]
		return
	}
	_, r.Distributions[JobLatency], _ = c.distributions([][]*cell{cells}, latency)
}

// total fills in what all models and devices together did.
func (c *closed) total(r *Result) {
	c.itemsOf(r, c.cells)
	c.jobLatency(r, c.jobCells)
	var sum model
	var most, bypass int64
	for d := range c.devices {
		most = max(most, c.devices[d].peak.at(c.ended, c.drained))
	}
	for m := range c.models {
		sum.add(&c.models[m], c)
		bypass = max(bypass, c.models[m].bypass)
	}
	sum.over.sum += c.strayOver.at(c.ended, c.drained)
	sum.bypass = bypass
	c.modelValues(r, &sum)
	r.Values[PeakBytes] = float64(most)
	c.deviceTimes(r)
}

// add adds the final sums of another model.
func (m *model) add(o *model, c *closed) {
	for _, pair := range [...]struct{ to, from *tally }{
		{&m.switches, &o.switches}, {&m.loads, &o.loads}, {&m.evictions, &o.evictions},
		{&m.loadTime, &o.loadTime}, {&m.over, &o.over},
	} {
		pair.to.sum += pair.from.at(c.ended, c.drained)
		pair.to.epoch = -1
	}
}

// groupOf returns the items of one model.
func (c *closed) groupOf(m scheduler.ModelID) group {
	cells := []*cell{c.untagged[m]}
	for i := range c.tenants {
		if cell := c.tenants[i].cells[m]; cell != nil {
			cells = append(cells, cell)
		}
	}
	return group{cells: cells, result: new(Result)}
}

// perModel returns the results of the models that something happened to and, if
// there are others, the one that they all have. It fills in the distributions
// and the curve of total.
func (c *closed) perModel(total *Result) (parts map[string]*Result, idle *Result) {
	var models []scheduler.ModelID
	var groups []group
	idleModel := scheduler.NoModel
	for m := range c.models {
		id := scheduler.ModelID(m)
		g := c.groupOf(id)
		if c.idle(id, g.cells) {
			if idleModel != scheduler.NoModel {
				continue
			}
			idleModel = id
		}
		models, groups = append(models, id), append(groups, g)
	}
	total.CCDF = c.latencies(groups, total).ccdf()
	parts = map[string]*Result{}
	for i, g := range groups {
		r, of := g.result, &c.models[models[i]]
		c.itemsOf(r, g.cells)
		c.modelValues(r, of)
		r.Values[PeakBytes] = float64(of.peak.at(c.ended, c.drained))
		c.ratio(r, BusyRatio, c.inWindow(of.busy))
		c.ratio(r, LoadingRatio, c.inWindow(of.loading))
		if models[i] == idleModel {
			idle = r
		} else {
			parts[c.cfg.Models[models[i]].Name] = r
		}
	}
	return parts, idle
}

// idle reports whether nothing happened to a model: no item came or is left,
// and it never held memory.
func (c *closed) idle(m scheduler.ModelID, cells []*cell) bool {
	for _, cell := range cells {
		if cell.arrived > 0 || c.count[cell] > 0 || cell.ended != [outcomes]int64{} || cell.lastEnd > 0 {
			return false
		}
	}
	of := &c.models[m]
	return of.peak.at(c.ended, c.drained) == 0 && of.loads.at(c.ended, c.drained) == 0 && of.evictions.at(c.ended, c.drained) == 0 && of.bypass == 0
}

// perTenant returns the results of the tenants with the most items and of all
// others together, nil if there are none.
func (c *closed) perTenant() map[string]*Result {
	if len(c.tenants) == 0 {
		return nil
	}
	parts := map[string]*Result{}
	own, rest := c.rankTenants()
	for _, t := range own {
		parts[c.tenantName(t)] = c.tenantsResult([]*tenant{t})
	}
	if len(rest) > 0 {
		name := OtherTenants
		for parts[name] != nil {
			name += "'"
		}
		parts[name] = c.tenantsResult(rest)
	}
	return parts
}

// rankTenants parts the tenants that have results of their own from the rest.
// Both depend on what arrived alone, and so are the same for every policy.
func (c *closed) rankTenants() (own, rest []*tenant) {
	arrived := make([]int64, len(c.tenants))
	byItems := make([]int, len(c.tenants))
	for i := range c.tenants {
		byItems[i] = i
		for _, cell := range c.tenants[i].cells {
			if cell != nil {
				arrived[i] += cell.arrived
			}
		}
	}
	slices.SortFunc(byItems, func(a, b int) int {
		return cmp.Or(cmp.Compare(arrived[b], arrived[a]), cmp.Compare(c.tenants[a].id, c.tenants[b].id))
	})
	for rank, i := range byItems {
		t := &c.tenants[i]
		if rank < MaxTenants || len(c.cfg.KeepTenants) > 0 && slices.Contains(c.cfg.KeepTenants, c.tenantName(t)) {
			own = append(own, t)
		} else {
			rest = append(rest, t)
		}
	}
	return own, rest
}

// tenantsResult returns the result of some tenants together.
func (c *closed) tenantsResult(of []*tenant) *Result {
	g := group{result: new(Result)}
	var jobs []*cell
	var bypass int64
	for _, t := range of {
		for _, cell := range t.cells {
			if cell != nil {
				g.cells = append(g.cells, cell)
			}
		}
		jobs = append(jobs, t.jobs)
		bypass = max(bypass, t.bypass)
	}
	c.latencies([]group{g}, nil)
	c.itemsOf(g.result, g.cells)
	c.jobLatency(g.result, jobs)
	g.result.Values[MaxBypass] = float64(bypass)
	return g.result
}

// modelValues fills in what models do on devices.
func (c *closed) modelValues(r *Result, m *model) {
	v := r.Values
	v[Switches] = float64(m.switches.at(c.ended, c.drained))
	v[Loads] = float64(m.loads.at(c.ended, c.drained))
	v[Evictions] = float64(m.evictions.at(c.ended, c.drained))
	v[LoadSeconds] = scheduler.Time(m.loadTime.at(c.ended, c.drained)).Seconds()
	v[OverBudget] = float64(m.over.at(c.ended, c.drained))
	v[MaxBypass] = float64(m.bypass)
	if done := v[ItemsCompleted]; done > 0 {
		v[SwitchesPer] = 1000 * v[Switches] / done
	}
}

// inWindow returns the time of a share that ratios are made of.
func (c *closed) inWindow(s share) scheduler.Time {
	if c.window > 0 {
		return c.spent(s)
	}
	return scheduler.Time(s.whole.at(c.ended, c.drained))
}

// length returns what ratios are relative to, for one device.
func (c *closed) length() scheduler.Time {
	if c.window > 0 {
		return c.window
	}
	return c.end
}

func (c *closed) ratio(r *Result, name string, t scheduler.Time) {
	if l := c.length(); l > 0 {
		r.Values[name] = t.Seconds() / (l.Seconds() * float64(len(c.devices)))
	}
}

func (c *closed) deviceTimes(r *Result) {
	var busy, loading scheduler.Time
	for d := range c.devices {
		b, l := c.inWindow(c.devices[d].busy), c.inWindow(c.devices[d].loading)
		busy, loading = busy+b, loading+l
		r.Devices = append(r.Devices, DeviceTime{Name: c.cfg.Devices[d].Name, Busy: b.Seconds(), Loading: l.Seconds(), Idle: (c.length() - b - l).Seconds()})
	}
	c.ratio(r, BusyRatio, busy)
	c.ratio(r, LoadingRatio, loading)
}

// oneFigure formats a rate to one figure, which replicates often share.
func oneFigure(v float64) string {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	return strconv.FormatFloat(math.Round(v/power)*power, 'f', max(0, -int(math.Floor(math.Log10(v)))), 64)
}

// invalid says why the run shows no steady state.
func (c *closed) invalid(r *Result, from, to scheduler.Time) []string {
	var reasons []string
	if c.cfg.Generated {
		if slope, grows := c.backlog.unstable(from, to); grows {
			reasons = append(reasons, fmt.Sprintf("unstable: the backlog still grows by about %s items/s over the last half of the window", oneFigure(slope)))
		}
		if r.Values[ItemsCompleted] == 0 {
			reasons = append(reasons, "too few samples: no item that arrived in the window finished")
		}
	}
	if left, arrived := r.Values[ItemsLeft], r.Values[ItemsArrived]; left > truncatedShare*arrived {
		reasons = append(reasons, fmt.Sprintf("truncated: %.2g %% of the items were unfinished at the end", 100*left/arrived))
	}
	return reasons
}
