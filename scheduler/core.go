package scheduler

// residency is where one model stands on one device.
type residency struct {
	state     Residency
	promised  bool  // while victims are being chosen
	running   int32 // batches
	tier      Tier  // of the load
	batches   int64 // since the load
	seq       int64 // of the load or eviction in flight
	ordinal   int64 // of the load among the model's
	since     Time  // when the load or eviction began
	estimate  Time  // of the load
	loadedAt  Time
	lastUsed  Time
	useOrder  int64
	heldUntil Time
}

type claim struct {
	model ModelID // NoModel: none
	got   Bytes
}

func (c *claim) active() bool { return c.model != NoModel }

type batch struct {
	seq      int64
	model    ModelID
	n        int
	head     slotID
	start    Time
	estimate Time
	memory   Bytes
}

type device struct {
	up        bool
	slots     int
	budget    Bytes
	reserved  Bytes
	foreign   Bytes // held by other processes
	evicting  Bytes // will return
	batches   []batch
	loading   ModelID
	claim     claim
	last      ModelID
	lastSince Time
	started   int64
	residents []ModelID
}

// free returns the bytes that nobody holds, negative where other processes
// hold what is reserved.
func (d *device) free() Bytes { return d.budget - d.foreign - d.reserved }

func (d *device) headroom() Bytes { return max(0, d.free()) }

// ended is an item or dependency whose consequences are still to be decided.
type ended struct {
	item  ItemID
	cause ItemID
}

// Core is the scheduler: a single-threaded state machine without clock,
// goroutines, input or output. Facts go in by Step, events come out by Ready.
// Its invariants are numbered in the package documentation.
type Core struct {
	cfg      Config
	view     View
	decider  Decider          // the policy, if it is one
	observer Observer         // nil: the policy needs none
	watched  KindSet          // what the observer wants to see
	watcher  DispatchObserver // the order, if it follows what is dispatched

	now        Time
	seq        int64 // of the next event
	arrivals   int64 // the next item's id
	arrivedNow int
	readySeq   int64
	uses       int64
	evictions  int64
	promised   int

	blocked, ready, running           int
	done, failed, rejected, cancelled int64

	items     itemTable
	queues    []queue
	active    modelSet
	devices   []device
	residence []residency // device by device
	jobs      map[JobID]Job
	ended     map[ItemID]struct{} // failed, rejected, cancelled
	endedIDs  []ItemID            // the same in order, when KeepFailed bounds them

	loads        []int64 // started, per model
	loadFailures []int   // in a row, per model

	hostUsed  Bytes
	hostOrder []ModelID // least recently used first
	inHost    []bool

	timer     Time
	claims    int // active
	holdTimer Time
	lastHold  Time // the latest expiry that any hold was given
	keeps     bool // a model was once held for ever

	// An arrival being put together.
	arriving slotID
	follow   int
	// A batch being put together.
	staged       slotID
	stagedTail   slotID
	stagedN      int
	stagedWork   int64
	stagedModel  ModelID
	stagedDevice DeviceID

	// Consequences that settle decides, in order.
	released fifo[ItemID]
	doomed   fifo[ItemID]
	orphans  fifo[ended]

	out      []Event
	handed   int       // those of out that Drive keeps for late sinks only
	victims  []ModelID // being chosen
	leaving  []ModelID // chosen by a decision being carried out
	progress int       // decisions since an item last arrived, was dispatched or ended
	patience int       // how many of those are no livelock yet
	recent   []Decision
	decision Decision // being carried out
	err      error
}

// New returns a core in its initial state, or what is wrong with its
// configuration: a *ConfigError or *TooBigError.
func New(cfg Config) (*Core, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Attempts == 0 {
		cfg.Attempts = DefaultAttempts
	}
	models, devices := len(cfg.Models), len(cfg.Devices)
	c := &Core{
		cfg:       cfg,
		queues:    make([]queue, models),
		active:    make(modelSet, (models+63)/64),
		devices:   make([]device, devices),
		residence: make([]residency, models*devices),
		jobs:      map[JobID]Job{},
		ended:     map[ItemID]struct{}{},
		loads:     make([]int64, models), loadFailures: make([]int, models),
		inHost: make([]bool, models),
		timer:  Never, holdTimer: Never,
		arriving: -1, staged: -1, stagedTail: -1,
	}
	c.patience = 64 + 4*models*devices - (cycleLength - 1)
	c.view = View{c: c}
	c.items.init()
	for i := range c.queues {
		c.queues[i].init(cfg.Order != nil)
	}
	for i, d := range cfg.Devices {
		c.devices[i] = device{up: !d.Down, slots: d.Slots, budget: d.Budget, loading: NoModel, claim: claim{model: NoModel}, last: NoModel}
	}
	c.decider, _ = cfg.Policy.(Decider)
	if c.observer, _ = cfg.Policy.(Observer); c.observer != nil {
		c.watched = KindSet{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}
		if s, ok := cfg.Policy.(Selective); ok {
			c.watched = s.Observes()
		}
	}
	c.watcher, _ = cfg.Order.(DispatchObserver)
	return c, nil
}

// Config returns the configuration with its defaults filled in.
func (c *Core) Config() Config { return c.cfg }

// View returns the read-only view that policies get; it always shows the
// present state.
func (c *Core) View() *View { return &c.view }

// Now returns the time of the last step.
func (c *Core) Now() Time { return c.now }

// Ready returns the events since the last Advance, in order. The slice is
// valid until the next Advance.
func (c *Core) Ready() []Event { return c.out[c.handed:] }

// Advance forgets the events that Ready returned: they are logged and their
// effects started.
func (c *Core) Advance() { c.out, c.handed = c.out[:0], 0 }

// Counts are how many items there are of each kind (invariant 1).
type Counts struct {
	Arrived, Blocked, Ready, Running, Done, Failed, Rejected, Cancelled int64
}

// Counts returns how many items are where.
func (c *Core) Counts() Counts {
	return Counts{Arrived: c.arrivals, Blocked: int64(c.blocked), Ready: int64(c.ready), Running: int64(c.running),
		Done: c.done, Failed: c.failed, Rejected: c.rejected, Cancelled: c.cancelled}
}

// Step takes all facts of one instant in the order of World.Next, applies
// them, and asks the policy for decisions until it idles; without facts
// nothing happens. After an error the core is spent: every later Step returns
// the same error.
func (c *Core) Step(facts []Event) error {
	if c.err != nil {
		return c.err
	}
	err := c.step(facts)
	if err != nil {
		c.err = err
	}
	return err
}

func (c *Core) step(facts []Event) error {
	if len(facts) == 0 {
		return nil
	}
	if err := c.take(facts); err != nil {
		return err
	}
	for {
		if c.unsettled() {
			if err := c.settle(); err != nil {
				return err
			}
		}
		d := &c.decision
		if c.decider != nil {
			*d = Decision{}
			c.decider.Decide(&c.view, d)
		} else {
			*d = c.cfg.Policy.Next(&c.view)
		}
		if d.Kind == DecideIdle {
			break
		}
		if c.progress++; c.progress > c.patience {
			if err := c.lose(*d); err != nil {
				return err
			}
		}
		if rule, err := c.decide(d); err != nil {
			return err
		} else if rule != 0 {
			return &IllegalDecision{At: c.now, Decision: *d, Rule: rule}
		}
	}
	if c.cfg.Checked {
		return c.Check()
	}
	return nil
}

// take logs and applies the facts of a step.
func (c *Core) take(facts []Event) error {
	at, class, first := facts[0].At, 0, FlagFirst
	if at > c.now {
		c.now = at
		c.progressed()
	}
	c.arrivedNow = 0
	for i := range facts {
		fact := &facts[i]
		c.out = append(c.out, *fact)
		ev := &c.out[len(c.out)-1]
		ev.Flags = fact.Flags&^FlagFirst | first
		first = 0
		k := fact.Kind.Class()
		if k < class || k == noClass || fact.At != at || at < c.now {
			return c.refuse(ev, class)
		}
		class = k
		if c.arriving >= 0 && !c.attributes(ev) {
			return c.undo(c.factError(ev, notAttribute))
		}
		if err := c.apply(ev); err != nil {
			return c.undo(err)
		}
		if c.seq++; c.watched.Has(ev.Kind) {
			c.show(ev)
		}
	}
	if c.arriving >= 0 {
		return c.factError(&facts[len(facts)-1], "attributes of an arrival are missing")
	}
	return nil
}

// cycleLength is how many decisions a LivelockError shows.
const cycleLength = 16

// lose remembers a decision without progress, and reports a livelock when
// patience ends.
func (c *Core) lose(d Decision) error {
	if c.recent = append(c.recent, d); len(c.recent) < cycleLength {
		return nil
	}
	return &LivelockError{At: c.now, Cycle: c.recent}
}

// undo takes the last event, with which something is wrong, out of the log.
func (c *Core) undo(err error) error {
	c.out = c.out[:len(c.out)-1]
	return err
}

// refuse takes the last event, a fact that may not follow one of the given
// class, back out of the log.
func (c *Core) refuse(ev *Event, class int) error {
	what := "is not of the instant of its step"
	switch k := ev.Kind.Class(); {
	case k == noClass:
		what = "is no fact"
	case k < class:
		what = "is out of order within its instant"
	case ev.At < c.now && ev.First():
		what = earlier
	}
	return c.undo(c.factError(ev, what))
}

// decided logs and applies a decision of this instant.
func (c *Core) decided(kind Kind, id, value int64, m ModelID, d DeviceID) error {
	ev := c.log(kind, id, value, m, d)
	if err := c.apply(ev); err != nil {
		return c.undo(err)
	}
	c.applied(ev)
	return nil
}

// log appends a decision of this instant. The pointer is good until the next
// one.
func (c *Core) log(kind Kind, id, value int64, m ModelID, d DeviceID) *Event {
	c.out = append(c.out, Event{})
	ev := &c.out[len(c.out)-1]
	ev.At, ev.Kind, ev.ID, ev.Value, ev.Model, ev.Device = c.now, kind, id, value, m, d
	return ev
}

// applied counts an event that changed the state and shows it to the policy.
func (c *Core) applied(ev *Event) {
	if c.seq++; c.watched.Has(ev.Kind) {
		c.show(ev)
	}
}

func (c *Core) show(ev *Event) { c.observer.Observe(&c.view, *ev) }

// decide validates a policy's decision and emits its events. A rule other
// than 0 means that the decision is illegal and nothing happened.
func (c *Core) decide(d *Decision) (Rule, error) {
	switch d.Kind {
	case DecideRun, DecideLoad, DecideEvict, DecideHold:
		if uint(d.Device) >= uint(len(c.devices)) || uint(d.Model) >= uint(len(c.queues)) {
			return RuleKnown, nil
		}
		if !c.devices[d.Device].up {
			return RuleUp, nil
		}
	}
	switch d.Kind {
	case DecideRun:
		return c.decideRun(d)
	case DecideLoad:
		return c.decideLoad(d)
	case DecideEvict:
		return c.decideEvict(d)
	case DecideWake:
		return c.decideWake(d)
	case DecideReject:
		return c.decideReject(d)
	case DecideHold:
		return c.decideHold(d)
	}
	return RuleKnown, nil
}

func (c *Core) decideEvict(d *Decision) (Rule, error) {
	if rule := c.evictRule(d.Device, d.Model); rule != 0 {
		return rule, nil
	}
	if err := c.note(d); err != nil {
		return 0, err
	}
	c.startEvict(d.Device, d.Model)
	return 0, nil
}

func (c *Core) decideWake(d *Decision) (Rule, error) {
	if d.At <= c.now || d.At >= c.timer {
		return RuleWakeTime, nil
	}
	if err := c.note(d); err != nil {
		return 0, err
	}
	return 0, c.decided(TimerSet, TimerPolicy, int64(d.At), NoModel, NoDevice)
}

func (c *Core) decideReject(d *Decision) (Rule, error) {
	slot, ok := c.items.lookup(d.Item)
	if !ok {
		return RuleKnown, nil
	}
	it := c.items.at(slot)
	if it.state != itemBlocked && it.state != itemReady {
		return RuleReady, nil
	}
	if err := c.note(d); err != nil {
		return 0, err
	}
	return 0, c.decided(ItemRejected, int64(d.Item), int64(d.At), it.model, NoDevice)
}

func (c *Core) note(d *Decision) error {
	if d.Why.Code == 0 {
		return nil
	}
	return c.decided(Note, d.Why.Code, d.Why.Value, d.Model, d.Device)
}

// The three that follow skip what Apply verifies of an event: they have just
// found it legal. What they change is the same code.

func (c *Core) decideRun(d *Decision) (Rule, error) {
	dev, r, q, model := &c.devices[d.Device], c.residency(d.Device, d.Model), &c.queues[d.Model], &c.cfg.Models[d.Model]
	switch {
	case r.state != Resident:
		return RuleResident, nil
	case len(dev.batches) >= dev.slots:
		return RuleSlot, nil
	case d.N < 1 || d.N > model.Batch.Max:
		return RuleBatchSize, nil
	case d.N > q.n:
		return RuleReady, nil
	case model.Batch.Memory > 0 && d.N > c.fits(d.Device, d.Model):
		return RuleBudget, nil
	}
	if err := c.note(d); err != nil {
		return 0, err
	}
	for range d.N {
		slot := q.first(&c.items)
		it := c.items.at(slot)
		ev := c.log(MemberDispatched, int64(it.id), 0, d.Model, d.Device)
		c.dispatch(q, it, slot, d.Model, d.Device)
		c.applied(ev)
	}
	estimate := model.Batch.Time(d.N, c.stagedWork)
	ev := c.log(BatchStarted, c.seq, PackBatch(d.N, estimate), d.Model, d.Device)
	c.startBatch(ev, dev, r)
	c.applied(ev)
	return 0, nil
}

func (c *Core) startEvict(d DeviceID, m ModelID) {
	ev := c.log(EvictStarted, c.seq, int64(c.cfg.Models[m].Bytes), m, d)
	c.beginEvict(ev, &c.devices[d], c.residency(d, m))
	c.applied(ev)
}

func (c *Core) startLoad(d DeviceID, m ModelID) {
	tier := c.tierOf(m)
	ev := c.log(LoadStarted, c.seq, int64(c.loadEstimate(m, tier)), m, d)
	ev.Flags = uint8(tier) << tierShift
	c.beginLoad(ev, &c.devices[d], c.residency(d, m))
	c.applied(ev)
}

func (c *Core) decideLoad(d *Decision) (Rule, error) {
	victims, rule := c.planLoad(d.Device, d.Model)
	if rule != 0 {
		return rule, nil
	}
	if len(victims) > 0 {
		victims = c.keepVictims(victims)
	}
	if err := c.note(d); err != nil {
		return 0, err
	}
	if free := c.devices[d.Device].headroom(); free < c.cfg.Models[d.Model].Bytes {
		if err := c.decided(LoadClaimed, 0, int64(free), d.Model, d.Device); err != nil {
			return 0, err
		}
		c.startEvicts(d.Device, victims)
		return 0, nil
	}
	c.startLoad(d.Device, d.Model)
	return 0, nil
}

func (c *Core) decideHold(d *Decision) (Rule, error) {
	switch {
	case c.residency(d.Device, d.Model).state != Resident:
		return RuleResident, nil
	case d.At <= c.now:
		return RuleHoldTime, nil
	}
	if err := c.note(d); err != nil {
		return 0, err
	}
	if err := c.decided(ModelHeld, 0, int64(d.At), d.Model, d.Device); err != nil {
		return 0, err
	}
	if d.At < c.holdTimer {
		return 0, c.decided(TimerSet, TimerHold, int64(d.At), NoModel, NoDevice)
	}
	return 0, nil
}

func (c *Core) evictRule(d DeviceID, m ModelID) Rule {
	switch r := c.residency(d, m); {
	case r.state != Resident || r.promised:
		return RuleResident
	case r.running > 0:
		return RuleBusy
	case r.heldUntil > c.now:
		return RuleHeld
	}
	return 0
}

// keepVictims copies planned victims: observers and policies may ask for other
// plans while these leave.
func (c *Core) keepVictims(victims []ModelID) []ModelID {
	c.leaving = append(c.leaving[:0], victims...)
	return c.leaving
}

func (c *Core) startEvicts(d DeviceID, victims []ModelID) {
	for _, m := range victims {
		c.startEvict(d, m)
	}
}

// planLoad returns whom a load of m on d would evict, or the rule that
// forbids it. Victims are asked for one by one until the newcomer fits; then,
// in the order of choice, one without which it still fits is spared. The
// slice is valid until the next call.
func (c *Core) planLoad(d DeviceID, m ModelID) ([]ModelID, Rule) {
	dev, model := &c.devices[d], &c.cfg.Models[m]
	need := model.Bytes - dev.free() - dev.evicting
	switch {
	case !dev.up:
		return nil, RuleUp
	case c.residency(d, m).state != Absent:
		return nil, RuleAbsent
	case dev.loading != NoModel || dev.claim.active():
		return nil, RuleLink
	case model.Bytes > dev.budget || model.Batch.Memory > dev.budget-model.Bytes:
		return nil, RuleBudget
	case need <= 0:
		return nil, 0
	}
	return c.chooseVictims(d, m, need)
}

func (c *Core) chooseVictims(d DeviceID, m ModelID, need Bytes) ([]ModelID, Rule) {
	c.victims = c.victims[:0]
	rule := Rule(0)
	surplus := -need
	for surplus < 0 && rule == 0 {
		v, ok := NoModel, false
		if c.cfg.Evictor != nil {
			v, ok = c.cfg.Evictor.Victim(&c.view, d, -surplus, m)
		}
		if !ok || v < 0 || int(v) >= len(c.cfg.Models) || !c.view.Evictable(d, v) {
			rule = RuleVictim
			break
		}
		c.residency(d, v).promised = true
		c.promised++
		c.victims = append(c.victims, v)
		surplus += c.cfg.Models[v].Bytes
	}
	for _, v := range c.victims {
		c.residency(d, v).promised = false
	}
	c.promised = 0
	if rule != 0 {
		return nil, rule
	}
	kept := c.victims[:0]
	for _, v := range c.victims {
		if b := c.cfg.Models[v].Bytes; b <= surplus {
			surplus -= b
		} else {
			kept = append(kept, v)
		}
	}
	return kept, 0
}

// unsettled reports whether something may follow of itself, before the policy
// is asked.
func (c *Core) unsettled() bool {
	return len(c.doomed.list)|len(c.orphans.list)|len(c.released.list)|c.claims != 0 || c.lastHold > c.now
}

// settle decides what follows of itself.
func (c *Core) settle() error {
	for c.doomed.n()+c.orphans.n()+c.released.n() > 0 {
		if err := c.settleItems(); err != nil {
			return err
		}
	}
	for d := 0; d < len(c.devices) && c.claims > 0; d++ {
		if c.devices[d].claim.active() {
			if err := c.settleClaim(DeviceID(d)); err != nil {
				return err
			}
		}
	}
	if c.holdTimer == Never && c.lastHold > c.now {
		return c.settleHolds()
	}
	return nil
}

func (c *Core) settleItems() error {
	for c.doomed.n() > 0 {
		id := c.doomed.first()
		if slot, ok := c.items.lookup(id); !ok {
			c.doomed.drop()
		} else if err := c.decided(ItemFailed, int64(id), 0, c.items.at(slot).model, NoDevice); err != nil {
			return err
		}
	}
	for c.orphans.n() > 0 {
		o := c.orphans.first()
		if slot, ok := c.items.lookup(o.item); !ok {
			c.orphans.drop()
		} else if err := c.decided(DependantCancelled, int64(o.item), int64(o.cause), c.items.at(slot).model, NoDevice); err != nil {
			return err
		}
	}
	for c.released.n() > 0 && c.orphans.n() == 0 {
		id := c.released.first()
		if slot, ok := c.items.lookup(id); !ok {
			c.released.drop()
		} else if err := c.decided(ItemReadied, int64(id), 0, c.items.at(slot).model, NoDevice); err != nil {
			return err
		}
	}
	return nil
}

// fifo is a short-lived list that keeps its memory. Its list is empty when it
// is.
type fifo[T any] struct {
	list []T
	head int
}

func (f *fifo[T]) n() int   { return len(f.list) - f.head }
func (f *fifo[T]) first() T { return f.list[f.head] }
func (f *fifo[T]) push(v T) { f.list = append(f.list, v) }

func (f *fifo[T]) drop() {
	if f.head++; 2*f.head >= len(f.list) {
		f.list, f.head = f.list[:copy(f.list, f.list[f.head:])], 0
	}
}

// settleClaim starts a claimed load once it has its bytes, and looks for
// further victims when evictions failed it.
func (c *Core) settleClaim(d DeviceID) error {
	dev := &c.devices[d]
	m := dev.claim.model
	need := c.cfg.Models[m].Bytes - dev.claim.got
	if need <= 0 {
		c.startLoad(d, m)
		return nil
	}
	if dev.evicting+min(0, dev.free()) >= need {
		return nil
	}
	if free := dev.headroom(); free > 0 {
		if err := c.decided(LoadClaimed, 1, int64(min(free, need)), m, d); err != nil {
			return err
		}
		return c.settleClaim(d)
	}
	victims, rule := c.chooseVictims(d, m, need-dev.evicting-dev.free())
	if rule != 0 {
		return nil // asked again after the next facts
	}
	// Evictions that fail at once, again and again, are a livelock too.
	if c.progress++; c.progress > c.patience {
		if err := c.lose(Load(d, m)); err != nil {
			return err
		}
	}
	c.startEvicts(d, c.keepVictims(victims))
	return nil
}

// settleHolds sets the core's own timer to the next expiry of a hold.
func (c *Core) settleHolds() error {
	next := Never
	for i := range c.residence {
		if h := c.residence[i].heldUntil; h > c.now && h < next {
			next = h
		}
	}
	if next == Never {
		return nil
	}
	return c.decided(TimerSet, TimerHold, int64(next), NoModel, NoDevice)
}

// End says that no facts will come any more. It returns an error if items
// were left that can never run (a *DependencyError) or that could have run (a
// *LostWakeupError).
func (c *Core) End() error {
	if c.err != nil {
		return c.err
	}
	if len(c.items.placeholders) > 0 {
		return c.unknownDependency()
	}
	if c.blocked > 0 {
		if err := c.cycle(); err != nil {
			return err
		}
	}
	if c.ready > 0 && !c.cfg.Waits {
		return c.lostWakeup()
	}
	return nil
}

func (c *Core) unknownDependency() error {
	err := &DependencyError{Item: -1, On: -1, What: "unknown"}
	for id, slot := range c.items.placeholders {
		if err.On < 0 || id < err.On {
			err.On = id
			err.Item = c.items.edges[c.items.at(slot).dependants].to
		}
	}
	return err
}

// cycle returns a dependency on a cycle, nil if there is none: what no chain
// of finishing items can release lies on a cycle or behind one.
func (c *Core) cycle() error {
	waiting := map[ItemID]int32{}
	var free []slotID
	for s := range c.items.slots {
		switch it := &c.items.slots[s]; it.state {
		case itemBlocked:
			waiting[it.id] = it.waiting
		case itemReady, itemRunning:
			free = append(free, slotID(s))
		}
	}
	for len(free) > 0 {
		s := free[len(free)-1]
		free = free[:len(free)-1]
		for e := c.items.at(s).dependants; e >= 0; e = c.items.edges[e].next {
			to := c.items.edges[e].to
			switch waiting[to] { // 0: it has ended meanwhile
			case 0:
			case 1:
				delete(waiting, to)
				next, _ := c.items.lookup(to)
				free = append(free, next)
			default:
				waiting[to]--
			}
		}
	}
	return c.nameCycle(waiting)
}

// nameCycle walks from the lowest stuck item to what it waits for until it
// comes to an item again.
func (c *Core) nameCycle(stuck map[ItemID]int32) error {
	if len(stuck) == 0 {
		return nil
	}
	lowest, waitsFor := ItemID(Never), map[ItemID]ItemID{}
	for id := range stuck {
		lowest = min(lowest, id)
		slot, _ := c.items.lookup(id)
		for e := c.items.at(slot).dependants; e >= 0; e = c.items.edges[e].next {
			to := c.items.edges[e].to
			if on, ok := waitsFor[to]; !ok || id < on {
				waitsFor[to] = id
			}
		}
	}
	seen := map[ItemID]bool{}
	id := lowest
	for !seen[id] {
		seen[id] = true
		id = waitsFor[id]
	}
	return &DependencyError{Item: id, On: waitsFor[id], What: "cyclic"}
}

func (c *Core) lostWakeup() error {
	if c.timer != Never || c.holdTimer != Never {
		return nil
	}
	for i := range c.devices {
		d := &c.devices[i]
		if len(d.batches) > 0 || d.loading != NoModel || d.evicting > 0 {
			return nil
		}
	}
	for m := c.active.next(0); m != NoModel; m = c.active.next(m + 1) {
		for i := range c.devices {
			d := DeviceID(i)
			if c.devices[i].up && (c.residency(d, m).state == Resident && c.fits(d, m) > 0 || c.view.Loadable(d, m)) {
				return &LostWakeupError{At: c.now, Ready: c.ready, Device: d, Model: m}
			}
		}
	}
	return nil
}

func (c *Core) residency(d DeviceID, m ModelID) *residency {
	return &c.residence[int(d)*len(c.cfg.Models)+int(m)]
}

// fits returns the largest batch of m that the queue, its maximum and d's
// ledger allow.
func (c *Core) fits(d DeviceID, m ModelID) int {
	b := &c.cfg.Models[m].Batch
	n := min(c.queues[m].n, b.Max)
	if b.Memory > 0 {
		n = int(min(Bytes(n), c.devices[d].headroom()/b.Memory))
	}
	return n
}

func (c *Core) tierOf(m ModelID) Tier {
	if c.inHost[m] {
		return TierHost
	}
	return TierDisk
}

func (c *Core) loadEstimate(m ModelID, tier Tier) Time {
	if c.cfg.Estimator == nil {
		return c.cfg.Models[m].Load[tier]
	}
	return c.cfg.Estimator.Load(m, tier, c.loads[m])
}

func (c *Core) factError(ev *Event, what string) error {
	return &FactError{Event: *ev, Seq: c.seq, What: what}
}
