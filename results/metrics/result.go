package metrics

import (
	"fmt"

	"github.com/vramsim/vramsim/scheduler"
)

// truncatedShare is which share of unfinished items makes a run too short:
// from there on the 99th percentile is no more than a bound.
const truncatedShare = 0.01

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
	r := c.total()
	r.Invalid = c.invalid(r, from, to)
	r.PerModel = map[string]*Result{}
	for m := range f.models {
		r.PerModel[f.cfg.Models[m].Name] = c.ofModel(scheduler.ModelID(m))
	}
	if len(f.tenants) > 0 {
		r.PerTenant = map[string]*Result{}
		for i := range f.tenants {
			r.PerTenant[f.tenantName(&f.tenants[i])] = c.ofTenant(&f.tenants[i])
		}
	}
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

// distribution describes one column of several cells.
func (c *closed) distribution(cells []*cell, col column) (Stat, *digest) {
	open := int64(0)
	all := func(f func([]int64)) {
		for _, cell := range cells {
			cell.exact.each(col, c.scratch, f)
			if l := c.left[cell]; l != nil {
				f(l[col])
			}
		}
	}
	for _, cell := range cells {
		if l := c.left[cell]; l != nil {
			open += int64(len(l[col]))
		}
	}
	var s Stat
	var d *digest
	if c.sketched {
		d = digestOf(all)
		for _, cell := range cells {
			cell.sketches[col].addTo(d)
		}
		s = d.sketched()
	} else {
		s, d = exact(all)
	}
	s.Censored = open
	return s, d
}

// items fills in what is known of the items of cells.
func (c *closed) itemsOf(r *Result, cells []*cell) *digest {
	var curve *digest
	r.Distributions, r.Values = map[string]Stat{}, map[string]float64{}
	r.Distributions[ItemLatency], curve = c.distribution(cells, latency)
	r.Distributions[ItemWait], _ = c.distribution(cells, wait)
	r.Distributions[ItemService], _ = c.distribution(cells, service)
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
	return curve
}

func (c *closed) total() *Result {
	r := new(Result)
	r.CCDF = c.itemsOf(r, c.cells).ccdf()
	if c.jobCell == nil {
		r.Distributions[JobLatency] = r.Distributions[ItemLatency]
	} else {
		r.Distributions[JobLatency], _ = c.distribution(c.jobCells, latency)
	}
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
	return r
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

func (c *closed) ofModel(m scheduler.ModelID) *Result {
	r := new(Result)
	cells := []*cell{c.untagged[m]}
	for i := range c.tenants {
		if cell := c.tenants[i].cells[m]; cell != nil {
			cells = append(cells, cell)
		}
	}
	c.itemsOf(r, cells)
	of := &c.models[m]
	c.modelValues(r, of)
	r.Values[PeakBytes] = float64(of.peak.at(c.ended, c.drained))
	c.ratio(r, BusyRatio, c.inWindow(of.busy))
	c.ratio(r, LoadingRatio, c.inWindow(of.loading))
	return r
}

func (c *closed) ofTenant(t *tenant) *Result {
	r := new(Result)
	var cells []*cell
	for _, cell := range t.cells {
		if cell != nil {
			cells = append(cells, cell)
		}
	}
	c.itemsOf(r, cells)
	if t.jobs == nil {
		r.Distributions[JobLatency] = r.Distributions[ItemLatency]
	} else {
		r.Distributions[JobLatency], _ = c.distribution([]*cell{t.jobs}, latency)
	}
	r.Values[MaxBypass] = float64(t.bypass)
	return r
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

// invalid says why the run shows no steady state.
func (c *closed) invalid(r *Result, from, to scheduler.Time) []string {
	var reasons []string
	if c.cfg.Generated {
		if slope, grows := c.backlog.unstable(from, to); grows {
			reasons = append(reasons, fmt.Sprintf("unstable: the backlog still grows by %.2g items/s over the last half of the window", slope))
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
