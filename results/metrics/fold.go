package metrics

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/vramsim/vramsim/scheduler"
)

// Config says what a fold needs to know beside the events.
type Config struct {
	// Models and Devices are the catalogue of the run. Of models the names,
	// bytes and batch memory are used, of devices the names and budgets.
	Models  []scheduler.Model
	Devices []scheduler.Device
	// Warmup is where the window begins. WindowEnd is the configured end of
	// arrivals; 0 means the last arrival.
	Warmup    scheduler.Time
	WindowEnd scheduler.Time
	// Generated says that the workload could have gone on: a backlog that
	// still grows is then no steady state. A recorded trace is finite.
	Generated bool
	// Sketch bounds memory from the start: quantiles are approximate.
	Sketch bool
	// Timeline records what was where, for charts.
	Timeline bool
	// Tenants returns the name of a tenant; nil: its number.
	Tenants func(int64) string
	// KeepTenants names tenants that have results of their own however few
	// items they sent.
	KeepTenants []string
}

// ConfigError says which part of a Config is wrong.
type ConfigError struct {
	Field string
	What  string
}

func (e *ConfigError) Error() string { return "metrics: " + e.Field + ": " + e.What }

// EventError is an event that contradicts those before it or the catalogue.
// A Fold that returned one is spent.
type EventError struct {
	Event scheduler.Event
	Seq   int64 // its sequence number
	What  string
}

func (e *EventError) Error() string {
	return fmt.Sprintf("metrics: event %d (%v at %v, id %d, model %d, device %d): %s",
		e.Seq, e.Event.Kind, e.Event.At, e.Event.ID, e.Event.Model, e.Event.Device, e.What)
}

type state uint8

const (
	arriving state = iota // its attributes follow
	blocked
	waiting
	running
)

// outcome is how an item ended.
type outcome int

const (
	completed outcome = iota
	rejected
	failed
	cancelled
	outcomes
)

// item is one in flight.
type item struct {
	arrival   scheduler.Time
	ready     scheduler.Time
	deadline  scheduler.Time
	rank      place
	next      int64 // member of its batch; -1: the last
	model     scheduler.ModelID
	tenant    int32 // index; -1: none
	job       int32 // slot; -1: none
	state     state
	counted   bool
	cancelled bool // while running: ends with its batch
}

// job is one with unfinished items, or a free slot.
type job struct {
	id         int64
	arrival    scheduler.Time
	unfinished int32
	tenant     int32
	counted    bool
	spoilt     bool // an item did not finish
}

type tenant struct {
	id     int64
	bypass int64
	first  place // of the stretch numbered stamp
	stamp  int64
	cells  []*cell // by model
	jobs   *cell
}

// cell holds what is kept of the items of one model and tenant, or of jobs.
type cell struct {
	arrived  int64
	ended    [outcomes]int64
	due, met int64 // items with a deadline, and finished by it
	inWindow tally // finished in the window; its epoch counts arrivals
	lastEnd  scheduler.Time
	exact    samples
	sketches *[3]sketch // nil: exact
}

func (c *cell) add(took, waited, served int64) {
	if c.sketches == nil {
		c.exact.add(took, waited, served)
		return
	}
	c.sketches[latency].add(took, 1)
	if !c.exact.single {
		c.sketches[wait].add(waited, 1)
		c.sketches[service].add(served, 1)
	}
}

// Fold computes a Result from the events of one run. It is a scheduler.Sink
// and keeps nothing of an item that ended but its times.
type Fold struct {
	cfg Config
	err error
	seq int64
	now scheduler.Time

	items   itemTable
	jobs    []job
	jobOf   map[int64]int32
	freeJob []int32

	windowed    bool // there is a window that has begun
	arrivals    int64
	lastArrival scheduler.Time
	ended       int64 // items
	lastEnd     scheduler.Time
	finished    int64 // counted items

	arriving int64 // the item whose attributes follow
	follow   int
	blocked  bool // it depends on an unfinished item

	staged  int64 // first member of the batch being put together; -1: none
	tail    int64 // its last
	stagedN int32

	ranks   ranks
	stretch stretch

	models    []model
	devices   []device
	seats     []seat // device by device
	strayOver tally  // over-budget notes that name no model
	cells     []*cell
	untagged  []*cell // by model: of items without a tenant
	tenants   []tenant
	tenantOf  map[int64]int32
	jobCells  []*cell
	jobCell   *cell // of jobs without a tenant; nil: there are no jobs
	sketched  bool
	few       int // values that are sorted rather than counted by bucket

	backlog  backlog
	recorder *recorder
}

// New returns a fold at time 0, or a *ConfigError. The catalogue is kept and
// must not change.
func New(cfg Config) (*Fold, error) {
	switch {
	case len(cfg.Models) == 0:
		return nil, &ConfigError{"Models", "there are no models"}
	case len(cfg.Devices) == 0:
		return nil, &ConfigError{"Devices", "there are no devices"}
	case cfg.Warmup < 0:
		return nil, &ConfigError{"Warmup", "is negative"}
	case cfg.WindowEnd > 0 && cfg.WindowEnd < cfg.Warmup:
		return nil, &ConfigError{"WindowEnd", fmt.Sprintf("%v lies before the end of the warm-up, %v", cfg.WindowEnd, cfg.Warmup)}
	}
	f := &Fold{cfg: cfg, sketched: cfg.Sketch, few: fewValues, arriving: -1, staged: -1,
		models:  make([]model, len(cfg.Models)),
		devices: make([]device, len(cfg.Devices)),
		seats:   make([]seat, len(cfg.Models)*len(cfg.Devices)),
		jobOf:   map[int64]int32{}, tenantOf: map[int64]int32{}}
	f.stretch.model = scheduler.NoModel
	for i := range f.devices {
		f.devices[i].last, f.devices[i].claim, f.devices[i].load.model = scheduler.NoModel, scheduler.NoModel, scheduler.NoModel
	}
	for range cfg.Models {
		f.untagged = append(f.untagged, f.newCell())
	}
	f.backlog.init()
	if cfg.Timeline {
		f.recorder = newRecorder(cfg.Devices, len(cfg.Models))
	}
	return f, nil
}

func (f *Fold) newCell() *cell {
	c := new(cell)
	if f.sketched {
		c.sketches = new([3]sketch)
	}
	f.cells = append(f.cells, c)
	return c
}

func (f *Fold) fault(ev *scheduler.Event, what string) error {
	return &EventError{Event: *ev, Seq: f.seq, What: what}
}

// Append takes the next events of the run. It returns an *EventError for
// events that no core could have made; the fold is then spent.
func (f *Fold) Append(events []scheduler.Event) error {
	if f.err != nil {
		return f.err
	}
	for i := range events {
		ev := &events[i]
		if ev.At != f.now {
			if ev.At < f.now {
				f.err = f.fault(ev, "lies before its predecessor (invariant 3)")
				return f.err
			}
			if ev.At > f.backlog.next {
				f.backlog.sample(ev.At, f.items.n)
			}
			f.now = ev.At
		}
		if err := f.take(ev); err != nil {
			f.err = err
			return err
		}
		f.seq++
	}
	return nil
}

func (f *Fold) take(ev *scheduler.Event) error {
	if f.follow > 0 && (ev.Kind < scheduler.ItemJob || ev.Kind > scheduler.ItemDependsOn || ev.ID != f.arriving) {
		return f.fault(ev, "stands where an attribute of the last arrival must follow")
	}
	switch ev.Kind {
	case scheduler.ItemArrived:
		return f.arrive(ev)
	case scheduler.ItemJob, scheduler.ItemDeadline, scheduler.ItemWork, scheduler.ItemTenant, scheduler.ItemDependsOn:
		return f.attribute(ev)
	case scheduler.MemberDispatched:
		return f.dispatch(ev)
	case scheduler.ItemReadied:
		return f.readied(ev)
	case scheduler.ItemCancelled, scheduler.ItemRejected, scheduler.ItemFailed, scheduler.DependantCancelled:
		return f.drop(ev)
	case scheduler.TimerSet, scheduler.TimerFired:
		return nil
	case scheduler.Note:
		f.note(ev)
		return nil
	case scheduler.DeviceUp, scheduler.DeviceDown, scheduler.MemoryObserved:
		return f.takeDevice(ev)
	}
	if uint(ev.Device) >= uint(len(f.devices)) {
		return f.fault(ev, noDevice)
	}
	if uint(ev.Model) >= uint(len(f.models)) {
		return f.fault(ev, noModel)
	}
	d, s := &f.devices[ev.Device], f.seat(ev.Device, ev.Model)
	switch ev.Kind {
	case scheduler.BatchStarted:
		return f.startBatch(ev, d, s)
	case scheduler.BatchFinished, scheduler.BatchFailed:
		return f.endBatch(ev, d, s)
	case scheduler.LoadClaimed:
		f.claim(ev)
	case scheduler.LoadStarted:
		return f.startLoad(ev, d)
	case scheduler.LoadFinished, scheduler.LoadFailed:
		return f.endLoad(ev, d, s)
	case scheduler.EvictStarted:
		if f.now >= f.cfg.Warmup {
			f.models[ev.Model].evictions.add(1, f.ended)
		}
		f.enter(ev, Evicting)
	case scheduler.EvictFinished, scheduler.EvictFailed:
		return f.endEvict(ev, d, s)
	case scheduler.ModelHeld:
	default:
		return f.fault(ev, "is of an unknown kind")
	}
	return nil
}

// What an event lacks that names none of the catalogue.
const (
	noDevice = "no such device"
	noModel  = "no such model"
)

// takeDevice takes events of a device as a whole.
func (f *Fold) takeDevice(ev *scheduler.Event) error {
	if uint(ev.Device) >= uint(len(f.devices)) {
		return f.fault(ev, noDevice)
	}
	switch ev.Kind {
	case scheduler.DeviceDown:
		f.loseDevice(ev)
	case scheduler.MemoryObserved:
		f.devices[ev.Device].foreign = scheduler.Bytes(ev.Value)
	}
	return nil
}

func (f *Fold) note(ev *scheduler.Event) {
	switch {
	case ev.ID != scheduler.ReasonOverBudget:
	case uint(ev.Model) < uint(len(f.models)):
		f.models[ev.Model].over.add(1, f.ended)
	default:
		f.strayOver.add(1, f.ended)
	}
}

func (f *Fold) arrive(ev *scheduler.Event) error {
	switch {
	case ev.ID != f.arrivals:
		return f.fault(ev, "items must be numbered in the order of their arrival")
	case uint(ev.Model) >= uint(len(f.models)):
		return f.fault(ev, noModel)
	case ev.Follow() < 0:
		return f.fault(ev, "a negative number of attributes")
	}
	f.arrivals++
	f.lastArrival = ev.At
	it := f.items.add(ev.ID)
	it.arrival, it.ready, it.deadline, it.next = ev.At, ev.At, scheduler.Never, -1
	it.model, it.tenant, it.job, it.state, it.cancelled = ev.Model, -1, -1, arriving, false
	it.counted = ev.At >= f.cfg.Warmup && (f.cfg.WindowEnd <= 0 || ev.At <= f.cfg.WindowEnd)
	if f.follow = ev.Follow(); f.follow > 0 {
		f.arriving, f.blocked = ev.ID, false
		return nil
	}
	if it.counted {
		f.untagged[ev.Model].arrived++
	}
	f.enqueue(it)
	return nil
}

func (f *Fold) attribute(ev *scheduler.Event) error {
	if f.follow == 0 {
		return f.fault(ev, "is an attribute without its arrival")
	}
	it := f.items.at(f.arriving)
	switch ev.Kind {
	case scheduler.ItemJob:
		f.joinJob(it, ev.Value)
	case scheduler.ItemDeadline:
		it.deadline = scheduler.Time(ev.Value)
	case scheduler.ItemTenant:
		it.tenant = f.tenantIndex(ev.Value)
	case scheduler.ItemDependsOn:
		f.blocked = f.blocked || ev.Value >= f.arrivals || f.items.at(ev.Value) != nil
	}
	if f.follow--; f.follow == 0 {
		if f.blocked {
			it.state = blocked
		}
		f.settleArrival(it)
	}
	return nil
}

// settleArrival takes an item whose attributes are complete.
func (f *Fold) settleArrival(it *item) {
	if it.counted {
		c := f.cellOf(it)
		c.arrived++
		if it.deadline != scheduler.Never {
			c.due++
		}
	}
	if it.job >= 0 {
		if j := &f.jobs[it.job]; j.unfinished == 1 {
			j.tenant = it.tenant
		}
	}
	if it.state != blocked {
		f.enqueue(it)
	}
}

func (f *Fold) enqueue(it *item) {
	it.state = waiting
	it.rank.all = f.ranks.enter()
	it.rank.own = f.models[it.model].ranks.enter()
}

func (f *Fold) joinJob(it *item, id int64) {
	if f.jobCell == nil {
		f.beginJobs()
	}
	slot, ok := f.jobOf[id]
	if !ok {
		if n := len(f.freeJob); n > 0 {
			slot, f.freeJob = f.freeJob[n-1], f.freeJob[:n-1]
		} else {
			slot = int32(len(f.jobs))
			f.jobs = append(f.jobs, job{})
		}
		f.jobs[slot] = job{id: id, arrival: it.arrival, tenant: -1, counted: it.counted}
		f.jobOf[id] = slot
	}
	if it.job < 0 {
		it.job = slot
		f.jobs[slot].unfinished++
	}
}

func (f *Fold) tenantIndex(id int64) int32 {
	if i, ok := f.tenantOf[id]; ok {
		return i
	}
	i := int32(len(f.tenants))
	t := tenant{id: id, cells: make([]*cell, len(f.models)), stamp: -1}
	if f.jobCell != nil {
		t.jobs = f.newJobCell()
	}
	f.tenants = append(f.tenants, t)
	f.tenantOf[id] = i
	return i
}

func (f *Fold) cellOf(it *item) *cell {
	if it.tenant < 0 {
		return f.untagged[it.model]
	}
	c := &f.tenants[it.tenant].cells[it.model]
	if *c == nil {
		*c = f.newCell()
	}
	return *c
}

// beginJobs makes cells for jobs. Items without one are their own: those that
// finished before the first job came are taken over.
func (f *Fold) beginJobs() {
	f.jobCell = f.newJobCell()
	for _, c := range f.untagged {
		c.copyLatency(f.jobCell)
	}
	for i := range f.tenants {
		t := &f.tenants[i]
		t.jobs = f.newJobCell()
		for _, c := range t.cells {
			if c != nil {
				c.copyLatency(t.jobs)
			}
		}
	}
}

func (f *Fold) newJobCell() *cell {
	c := &cell{exact: samples{single: true}}
	if f.sketched {
		c.sketches = new([3]sketch)
	}
	f.jobCells = append(f.jobCells, c)
	return c
}

func (c *cell) copyLatency(to *cell) {
	c.exact.each(latency, nil, func(vs []int64) {
		for _, v := range vs {
			to.add(v, 0, 0)
		}
	})
	if c.sketches == nil {
		return
	}
	for o, page := range c.sketches[latency].counts {
		if page == nil {
			continue
		}
		for i, n := range page {
			if low, high := bucketRange(o<<octaveBits + i); n > 0 {
				to.sketches[latency].add(low+(high-low)/2, n)
			}
		}
	}
	s := &to.sketches[latency]
	s.sum, s.max = c.sketches[latency].sum, c.sketches[latency].max
}

func (f *Fold) dispatch(ev *scheduler.Event) error {
	it := f.items.at(ev.ID)
	switch {
	case it == nil || it.state != waiting:
		return f.fault(ev, "the item is not ready (invariant 7)")
	case it.model != ev.Model:
		return f.fault(ev, "the item is of another model")
	}
	f.started(it)
	f.ranks.waiting.remove(it.rank.all)
	f.models[it.model].ranks.waiting.remove(it.rank.own)
	it.state, it.next = running, -1
	if f.staged < 0 {
		f.staged = ev.ID
	} else {
		f.items.at(f.tail).next = ev.ID
	}
	f.tail = ev.ID
	f.stagedN++
	return nil
}

func (f *Fold) readied(ev *scheduler.Event) error {
	it := f.items.at(ev.ID)
	if it == nil || it.state != blocked {
		return f.fault(ev, "the item is not blocked")
	}
	it.ready = ev.At
	f.enqueue(it)
	return nil
}

// drop takes the end of an item that did not finish.
func (f *Fold) drop(ev *scheduler.Event) error {
	it := f.items.at(ev.ID)
	if it == nil {
		if ev.Kind == scheduler.ItemCancelled && ev.ID >= 0 && ev.ID < f.arrivals {
			return nil // it has ended already
		}
		return f.fault(ev, "the item is not in the system")
	}
	if it.state == running {
		if ev.Kind != scheduler.ItemCancelled {
			return f.fault(ev, "the item is running")
		}
		it.cancelled = true
		return nil
	}
	if it.state == waiting {
		f.ranks.drop(it.rank.all)
		f.models[it.model].ranks.drop(it.rank.own)
	}
	how := cancelled
	switch ev.Kind {
	case scheduler.ItemRejected:
		how = rejected
	case scheduler.ItemFailed:
		how = failed
	}
	f.endItem(ev.ID, it, f.cellOf(it), how)
	return nil
}

// finish ends an item whose batch began at start.
func (f *Fold) finish(id int64, it *item, start scheduler.Time) {
	c := f.cellOf(it)
	if f.now >= f.cfg.Warmup {
		switch end := f.cfg.WindowEnd; {
		case end <= 0 && f.now > f.lastArrival:
			c.inWindow.add(1, f.arrivals)
		case end <= 0 || f.now <= end:
			c.inWindow.sum++
		}
	}
	if it.counted {
		f.count(c, it, start)
	}
	f.endItem(id, it, c, completed)
}

// count keeps the times of an item that finished.
func (f *Fold) count(c *cell, it *item, start scheduler.Time) {
	took := int64(f.now - it.arrival)
	c.add(took, int64(start-it.ready), int64(f.now-start))
	if it.job < 0 && f.jobCell != nil {
		f.jobsOf(it.tenant).add(took, 0, 0)
	}
	if it.deadline != scheduler.Never && f.now <= it.deadline {
		c.met++
	}
	if f.finished++; f.finished > ExactItems && !f.sketched {
		f.toSketches()
	}
}

func (f *Fold) jobsOf(tenant int32) *cell {
	if tenant < 0 {
		return f.jobCell
	}
	return f.tenants[tenant].jobs
}

// endItem forgets an item.
func (f *Fold) endItem(id int64, it *item, c *cell, how outcome) {
	c.lastEnd = f.now
	if it.counted {
		c.ended[how]++
	}
	if it.job >= 0 {
		f.leaveJob(it, how)
	}
	f.ended++
	f.lastEnd = f.now
	f.items.remove(id)
}

func (f *Fold) leaveJob(it *item, how outcome) {
	j := &f.jobs[it.job]
	j.spoilt = j.spoilt || how != completed
	if j.unfinished--; j.unfinished > 0 {
		return
	}
	if j.counted && !j.spoilt {
		f.jobsOf(j.tenant).add(int64(f.now-j.arrival), 0, 0)
	}
	delete(f.jobOf, j.id)
	f.freeJob = append(f.freeJob, it.job)
}

// toSketches gives up exactness to bound memory.
func (f *Fold) toSketches() {
	f.sketched = true
	scratch := make([]int64, lastChunk)
	for _, c := range slices.Concat(f.cells, f.jobCells) {
		c.sketches = new([3]sketch)
		for col := range c.sketches {
			if c.exact.single && column(col) != latency {
				break
			}
			c.exact.each(column(col), scratch, func(vs []int64) {
				for _, v := range vs {
					c.sketches[col].add(v, 1)
				}
			})
		}
		c.exact = samples{single: c.exact.single}
	}
}

func (f *Fold) tenantName(t *tenant) string {
	if f.cfg.Tenants != nil {
		return f.cfg.Tenants(t.id)
	}
	return strconv.FormatInt(t.id, 10)
}
