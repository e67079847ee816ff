package scheduler

// What can be wrong with the place of an event in the log.
const (
	earlier      = "lies before its predecessor (invariant 3)"
	notAttribute = "stands where an attribute of the last arrival must follow"
	notMember    = "stands where the batch of the last member must follow"
)

// Apply changes the state by one event, fact or decision; nothing else does.
// It returns a *FactError or *DependencyError, and leaves the state of a core
// that returned one undefined.
func (c *Core) Apply(ev Event) error {
	if ev.At < c.now {
		return c.factError(&ev, earlier)
	}
	if ev.At > c.now {
		c.now = ev.At
		c.progressed()
	}
	if ev.First() {
		c.arrivedNow = 0
	}
	switch {
	case c.arriving >= 0 && !c.attributes(&ev):
		return c.factError(&ev, notAttribute)
	case c.staged >= 0 && ev.Kind != MemberDispatched && ev.Kind != BatchStarted:
		return c.factError(&ev, notMember)
	}
	if err := c.apply(&ev); err != nil {
		return err
	}
	c.seq++
	return nil
}

// attributes reports whether an event is an attribute of the item that arrives.
func (c *Core) attributes(ev *Event) bool {
	return ev.Kind >= ItemJob && ev.Kind <= ItemDependsOn && ItemID(ev.ID) == c.items.at(c.arriving).id
}

// progressed says that this is no livelock.
func (c *Core) progressed() {
	c.progress = 0
	if len(c.recent) > 0 {
		c.recent = c.recent[:0]
	}
}

// apply changes the state by an event that may stand where it does.
func (c *Core) apply(ev *Event) error {
	switch ev.Kind {
	case ItemArrived:
		return c.applyArrival(ev)
	case ItemJob, ItemDeadline, ItemWork, ItemTenant, ItemDependsOn:
		return c.applyAttribute(ev)
	case ItemCancelled, ItemReadied, ItemRejected, DependantCancelled, ItemFailed, MemberDispatched:
		return c.applyItem(ev)
	case BatchStarted:
		return c.applyBatchStarted(ev)
	case BatchFinished, BatchFailed:
		return c.applyBatchEnded(ev)
	case LoadClaimed:
		return c.applyClaim(ev)
	case LoadStarted:
		return c.applyLoadStarted(ev)
	case LoadFinished, LoadFailed:
		return c.applyLoadEnded(ev)
	case EvictStarted:
		return c.applyEvictStarted(ev)
	case EvictFinished, EvictFailed:
		return c.applyEvictEnded(ev)
	case ModelHeld:
		return c.applyHeld(ev)
	case DeviceUp, DeviceDown, MemoryObserved:
		return c.applyDevice(ev)
	case TimerFired, TimerSet:
		return c.applyTimer(ev)
	case Note:
		return nil
	}
	return c.factError(ev, "is of an unknown kind")
}

// placed reports whether there are the device and the model of an event.
func (c *Core) placed(ev *Event) bool {
	return uint(ev.Device) < uint(len(c.devices)) && uint(ev.Model) < uint(len(c.queues))
}

const noModel = "no such model"

// nowhere says what an event lacks that is not placed.
func (c *Core) nowhere(ev *Event) error {
	if uint(ev.Device) >= uint(len(c.devices)) {
		return c.factError(ev, "no such device")
	}
	return c.factError(ev, noModel)
}

func (c *Core) applyHeld(ev *Event) error {
	if !c.placed(ev) {
		return c.nowhere(ev)
	}
	r := c.residency(ev.Device, ev.Model)
	if r.state != Resident {
		return c.factError(ev, "the model is not resident")
	}
	r.heldUntil = Time(ev.Value)
	if r.heldUntil != Never {
		c.lastHold = max(c.lastHold, r.heldUntil)
	} else {
		c.keeps = true
	}
	return nil
}

func (c *Core) applyItem(ev *Event) error {
	slot, ok := c.items.lookup(ItemID(ev.ID))
	switch {
	case ev.Kind != ItemCancelled && uint(ev.Model) >= uint(len(c.queues)):
		return c.factError(ev, noModel)
	case !ok && ev.Kind == ItemCancelled && ev.ID >= 0 && ev.ID < c.arrivals:
		return nil // it has ended already
	case !ok:
		return c.factError(ev, "the item is not in the system")
	}
	it := c.items.at(slot)
	if it.model != ev.Model && ev.Kind != ItemCancelled {
		return c.factError(ev, "the item is of another model")
	}
	switch ev.Kind {
	case MemberDispatched:
		return c.applyDispatch(ev, slot)
	case ItemReadied:
		return c.applyReadied(ev, it, slot)
	case ItemCancelled:
		if it.state == itemRunning {
			it.cancelled = true
			return nil
		}
		c.cancelled++
	case ItemRejected:
		c.rejected++
	case DependantCancelled:
		if it.state != itemBlocked {
			return c.factError(ev, "the item is not blocked")
		}
		c.cancelled++
	case ItemFailed:
		c.failed++
	}
	if it.state == itemRunning {
		return c.factError(ev, "the item is running")
	}
	c.leaveQueue(slot)
	c.endBadly(slot)
	return nil
}

func (c *Core) applyReadied(ev *Event, it *item, slot slotID) error {
	if it.state != itemBlocked || it.waiting != 0 {
		return c.factError(ev, "the item has unfinished dependencies (invariant 4)")
	}
	c.forgetReleased(it.id)
	c.blocked--
	c.queues[it.model].blocked--
	c.enqueue(it, slot)
	return nil
}

func (c *Core) applyArrival(ev *Event) error {
	switch {
	case uint(ev.Model) >= uint(len(c.queues)):
		return c.factError(ev, noModel)
	case ev.ID != c.arrivals:
		return c.factError(ev, "items must be numbered in the order of their arrival")
	case ev.Follow() < 0:
		return c.factError(ev, "a negative number of attributes")
	}
	c.arrivals++
	c.arrivedNow++
	c.progressed()
	slot := c.items.add(ItemID(ev.ID))
	it := c.items.at(slot)
	it.model, it.arrival, it.priority = ev.Model, ev.At, ev.Priority()
	q := &c.queues[ev.Model]
	if q.arrivals == 0 {
		q.firstArrival = ev.At
	}
	q.arrivals++
	q.lastArrival = ev.At
	if c.follow = ev.Follow(); c.follow > 0 {
		c.arriving = slot
		return nil
	}
	c.place(it, slot)
	return nil
}

func (c *Core) applyAttribute(ev *Event) error {
	if c.arriving < 0 {
		return c.factError(ev, "is an attribute without its arrival")
	}
	it := c.items.at(c.arriving)
	switch ev.Kind {
	case ItemJob:
		if ev.Value < 0 {
			return c.factError(ev, "a negative job")
		}
		it.tag().job = JobID(ev.Value)
	case ItemDeadline:
		it.tag().deadline = Time(ev.Value)
	case ItemWork:
		if ev.Value <= 0 {
			return c.factError(ev, "work must be positive")
		}
		it.work = ev.Value
	case ItemTenant:
		it.tag().tenant = ev.Value
	case ItemDependsOn:
		if err := c.applyDependency(it.id, ItemID(ev.Value)); err != nil {
			return err
		}
	}
	if c.follow--; c.follow == 0 {
		slot := c.arriving
		c.arriving = -1
		c.place(c.items.at(slot), slot)
	}
	return nil
}

func (c *Core) applyDependency(id, on ItemID) error {
	slot, inFlight := c.items.lookup(on)
	switch {
	case on == id:
		return &DependencyError{Item: id, On: on, What: "self"}
	case on < 0, c.cfg.KeepDone > 0 && int64(on) < c.arrivals-c.cfg.KeepDone && !inFlight:
		return &DependencyError{Item: id, On: on, What: "unknown"}
	case int64(on) >= c.arrivals:
		slot = c.items.placeholder(on)
	case !inFlight:
		if _, bad := c.ended[on]; bad {
			c.items.at(c.arriving).waiting++
			c.orphans.push(ended{item: id, cause: on})
		}
		return nil
	}
	if c.items.depend(slot, id) {
		c.items.at(c.arriving).waiting++
	}
	return nil
}

// place puts a complete arrival where it belongs.
func (c *Core) place(it *item, slot slotID) {
	if it.tagged && it.tags.job >= 0 {
		c.enterJob(it)
	}
	if it.waiting == 0 {
		c.enqueue(it, slot)
		return
	}
	it.state = itemBlocked
	c.blocked++
	q := &c.queues[it.model]
	q.blocked++
	if it.waiting == 1 {
		q.near++
	}
}

func (c *Core) enterJob(it *item) {
	j, known := c.jobs[it.tags.job]
	if !known {
		j = Job{Arrival: it.arrival, Deadline: Never}
	}
	j.Unfinished++
	j.Deadline = min(j.Deadline, it.tags.deadline)
	c.jobs[it.tags.job] = j
}

func (c *Core) enqueue(it *item, slot slotID) {
	it.readyAt, it.seq = c.now, c.readySeq
	c.readySeq++
	if c.cfg.Order != nil {
		it.key = c.cfg.Order.Key(it.view())
	}
	c.toQueue(it, slot)
}

func (c *Core) toQueue(it *item, slot slotID) {
	it.state = itemReady
	q := &c.queues[it.model]
	q.push(&c.items, slot)
	if q.n == 1 {
		c.active.add(it.model)
	}
	c.ready++
}

// leaveQueue takes a blocked or ready item from where it waits.
func (c *Core) leaveQueue(slot slotID) {
	it := c.items.at(slot)
	q := &c.queues[it.model]
	if it.state == itemBlocked {
		c.blocked--
		q.blocked--
		if it.waiting == 1 {
			q.near--
		}
		return
	}
	q.remove(&c.items, slot)
	if q.n == 0 {
		c.active.remove(it.model)
	}
	c.ready--
}

// endBadly ends an item that is not done: its dependants can never start.
func (c *Core) endBadly(slot slotID) {
	it := c.items.at(slot)
	c.ended[it.id] = struct{}{}
	if keep := c.cfg.KeepFailed; keep > 0 {
		c.endedIDs = append(c.endedIDs, it.id)
		if len(c.endedIDs) > keep {
			delete(c.ended, c.endedIDs[0])
			c.endedIDs = c.endedIDs[1:]
		}
	}
	c.items.takeDependants(slot, func(to ItemID) {
		c.orphans.push(ended{item: to, cause: it.id})
	})
	c.endItem(slot)
	for c.doomed.n() > 0 && c.gone(c.doomed.first()) {
		c.doomed.drop()
	}
	for c.orphans.n() > 0 && c.gone(c.orphans.first().item) {
		c.orphans.drop()
	}
}

// forgetReleased takes an item that became ready, and those before it that
// have ended meanwhile, from the consequences to be decided.
func (c *Core) forgetReleased(id ItemID) {
	for c.released.n() > 0 && (c.released.first() == id || c.gone(c.released.first())) {
		c.released.drop()
	}
}

func (c *Core) gone(id ItemID) bool {
	_, inFlight := c.items.lookup(id)
	return !inFlight
}

func (c *Core) endItem(slot slotID) {
	it := c.items.at(slot)
	if it.tagged && it.tags.job >= 0 {
		c.leaveJob(it.tags.job)
	}
	c.progressed()
	c.items.remove(slot)
}

func (c *Core) leaveJob(id JobID) {
	j := c.jobs[id]
	if j.Unfinished--; j.Unfinished > 0 {
		c.jobs[id] = j
	} else {
		delete(c.jobs, id)
	}
}

func (c *Core) applyDispatch(ev *Event, slot slotID) error {
	q := &c.queues[ev.Model]
	switch {
	case c.items.at(slot).state != itemReady:
		return c.factError(ev, "the item is not ready (invariant 7)")
	case q.first(&c.items) != slot:
		return c.factError(ev, "the item is not the first of its queue (invariant 8)")
	case c.staged >= 0 && (ev.Model != c.stagedModel || ev.Device != c.stagedDevice):
		return c.factError(ev, "the batch is of another model or device")
	}
	c.dispatch(q, c.items.at(slot), slot, ev.Model, ev.Device)
	return nil
}

// dispatch makes the first item of its queue a member of the batch being put
// together.
func (c *Core) dispatch(q *queue, it *item, slot slotID, m ModelID, d DeviceID) {
	if c.watcher != nil {
		c.watcher.Dispatched(it.view(), it.key)
	}
	q.pop(&c.items, slot)
	if q.n == 0 {
		c.active.remove(m)
	}
	c.ready--
	it.state = itemRunning
	if c.staged < 0 {
		c.staged, c.stagedN, c.stagedWork = slot, 0, 0
		c.stagedModel, c.stagedDevice = m, d
	} else {
		c.items.at(c.stagedTail).next = slot
	}
	it.next, it.prev = -1, -1
	c.stagedTail = slot
	c.stagedN++
	c.stagedWork += it.work
	c.running++
	c.progressed()
}

func (c *Core) applyBatchStarted(ev *Event) error {
	if !c.placed(ev) {
		return c.nowhere(ev)
	}
	dev, r, model := &c.devices[ev.Device], c.residency(ev.Device, ev.Model), &c.cfg.Models[ev.Model]
	switch {
	case ev.ID != c.seq:
		return c.factError(ev, "an effect's id is its own sequence number")
	case c.staged < 0 || ev.Members() != c.stagedN || ev.Model != c.stagedModel || ev.Device != c.stagedDevice:
		return c.factError(ev, "the members before it are not its own")
	case r.state != Resident:
		return c.factError(ev, "the model is not resident (invariant 6)")
	case !dev.up || len(dev.batches) >= dev.slots:
		return c.factError(ev, "no slot is free (invariant 5)")
	case model.Batch.Memory > 0 && model.Batch.Memory > (dev.budget-dev.reserved)/Bytes(ev.Members()):
		return c.factError(ev, "the budget does not allow it (invariant 2)")
	}
	c.startBatch(ev, dev, r)
	return nil
}

func (c *Core) startBatch(ev *Event, dev *device, r *residency) {
	memory := c.cfg.Models[ev.Model].Batch.Memory * Bytes(c.stagedN)
	dev.reserved += memory
	dev.batches = append(dev.batches, batch{})
	b := &dev.batches[len(dev.batches)-1]
	b.seq, b.model, b.n, b.head = ev.ID, ev.Model, c.stagedN, c.staged
	b.start, b.estimate, b.memory = ev.At, ev.Estimate(), memory
	c.staged, c.stagedTail = -1, -1
	if dev.last != ev.Model {
		dev.last, dev.lastSince = ev.Model, ev.At
	}
	dev.started++
	r.running++
	r.batches++
	c.use(r)
}

func (c *Core) use(r *residency) {
	r.lastUsed, r.useOrder = c.now, c.uses
	c.uses++
}

func (c *Core) applyBatchEnded(ev *Event) error {
	if !c.placed(ev) {
		return c.nowhere(ev)
	}
	dev := &c.devices[ev.Device]
	for i := range dev.batches {
		b := &dev.batches[i]
		if b.seq != ev.ID {
			continue
		}
		if b.model != ev.Model {
			return c.factError(ev, "the batch is of another model")
		}
		head := b.head
		dev.reserved -= b.memory
		if last := len(dev.batches) - 1; i < last {
			dev.batches = append(dev.batches[:i], dev.batches[i+1:]...)
		} else {
			dev.batches = dev.batches[:last]
		}
		r := c.residency(ev.Device, ev.Model)
		r.running--
		c.use(r)
		c.endMembers(head, ev.Kind == BatchFinished)
		return nil
	}
	return c.factError(ev, "no such batch is running")
}

func (c *Core) endMembers(head slotID, finished bool) {
	for slot := head; slot >= 0; {
		it := c.items.at(slot)
		next := it.next
		c.running--
		switch {
		case it.cancelled:
			c.cancelled++
			c.endBadly(slot)
		case finished:
			c.done++
			if it.dependants >= 0 {
				c.items.takeDependants(slot, c.release)
			}
			c.endItem(slot)
		default:
			it.attempts++
			c.toQueue(it, slot)
			if int(it.attempts) >= c.cfg.Attempts {
				c.doomed.push(it.id)
			}
		}
		slot = next
	}
}

// release tells a blocked item that one of its dependencies finished.
func (c *Core) release(id ItemID) {
	slot, ok := c.items.lookup(id)
	if !ok {
		return // cancelled meanwhile
	}
	it := c.items.at(slot)
	it.waiting--
	switch it.waiting {
	case 1:
		c.queues[it.model].near++
	case 0:
		c.queues[it.model].near--
		c.released.push(id)
	}
}

func (c *Core) applyClaim(ev *Event) error {
	if !c.placed(ev) {
		return c.nowhere(ev)
	}
	dev, r := &c.devices[ev.Device], c.residency(ev.Device, ev.Model)
	bytes := Bytes(ev.Value)
	switch {
	case bytes < 0 || bytes > dev.budget-dev.reserved:
		return c.factError(ev, "the budget does not allow it (invariant 2)")
	case dev.claim.active() && dev.claim.model == ev.Model && ev.ID == 1:
	case r.state != Absent:
		return c.factError(ev, "the model is not absent (invariant 12)")
	case dev.claim.active() || dev.loading != NoModel:
		return c.factError(ev, "the link is taken (invariant 5)")
	default:
		dev.claim.model = ev.Model
		c.claims++
		r.state, r.since = Claimed, ev.At
		c.settleIn(ev.Device, ev.Model)
	}
	dev.claim.got += bytes
	dev.reserved += bytes
	return nil
}

func (c *Core) applyLoadStarted(ev *Event) error {
	if !c.placed(ev) {
		return c.nowhere(ev)
	}
	dev, r := &c.devices[ev.Device], c.residency(ev.Device, ev.Model)
	need := c.cfg.Models[ev.Model].Bytes
	claimed := dev.claim.active() && dev.claim.model == ev.Model
	switch {
	case ev.ID != c.seq:
		return c.factError(ev, "an effect's id is its own sequence number")
	case !claimed && r.state != Absent:
		return c.factError(ev, "the model is not absent (invariant 12)")
	case !dev.up || dev.loading != NoModel || dev.claim.active() != claimed:
		return c.factError(ev, "the link is taken (invariant 5)")
	case claimed && dev.claim.got < need, !claimed && need > dev.budget-dev.reserved:
		return c.factError(ev, "the budget does not allow it (invariant 2)")
	case ev.Tier() != c.tierOf(ev.Model):
		return c.factError(ev, "the weights are in another tier")
	}
	c.beginLoad(ev, dev, r)
	return nil
}

func (c *Core) beginLoad(ev *Event, dev *device, r *residency) {
	if dev.claim.active() {
		dev.claim = claim{model: NoModel}
		c.claims--
	} else {
		dev.reserved += c.cfg.Models[ev.Model].Bytes
		c.settleIn(ev.Device, ev.Model)
	}
	// Whatever was known of an earlier stay was forgotten when it ended.
	r.state, r.seq, r.since, r.estimate, r.tier, r.ordinal = Loading, ev.ID, ev.At, ev.Estimate(), ev.Tier(), c.loads[ev.Model]
	dev.loading = ev.Model
	c.loads[ev.Model]++
	if c.inHost[ev.Model] {
		c.touchHost(ev.Model)
	}
}

func (c *Core) applyLoadEnded(ev *Event) error {
	if !c.placed(ev) {
		return c.nowhere(ev)
	}
	dev, r := &c.devices[ev.Device], c.residency(ev.Device, ev.Model)
	if r.state != Loading || r.seq != ev.ID {
		return c.factError(ev, "no such load is in flight")
	}
	dev.loading = NoModel
	if ev.Kind == LoadFinished {
		r.state, r.loadedAt = Resident, ev.At
		c.use(r)
		c.loadFailures[ev.Model] = 0
		if c.cfg.Estimator != nil {
			c.cfg.Estimator.Observe(ev.Model, r.tier, r.ordinal, ev.At-r.since)
		}
		return nil
	}
	dev.reserved -= c.cfg.Models[ev.Model].Bytes
	c.settleOut(ev.Device, ev.Model)
	if c.loadFailures[ev.Model]++; c.loadFailures[ev.Model] >= c.cfg.Attempts {
		c.loadFailures[ev.Model] = 0
		q := &c.queues[ev.Model]
		for s := q.first(&c.items); s >= 0; s = q.next(&c.items, s) {
			c.doomed.push(c.items.at(s).id)
		}
	}
	return nil
}

func (c *Core) applyEvictStarted(ev *Event) error {
	if !c.placed(ev) {
		return c.nowhere(ev)
	}
	r := c.residency(ev.Device, ev.Model)
	switch {
	case ev.ID != c.seq:
		return c.factError(ev, "an effect's id is its own sequence number")
	case r.state != Resident || r.running > 0 || r.heldUntil > ev.At:
		return c.factError(ev, "the model is busy, held or not resident (invariant 6)")
	}
	c.beginEvict(ev, &c.devices[ev.Device], r)
	return nil
}

func (c *Core) beginEvict(ev *Event, dev *device, r *residency) {
	r.state, r.seq, r.since = Evicting, ev.ID, ev.At
	dev.evicting += c.cfg.Models[ev.Model].Bytes
	c.evictions++
}

func (c *Core) applyEvictEnded(ev *Event) error {
	if !c.placed(ev) {
		return c.nowhere(ev)
	}
	dev, r := &c.devices[ev.Device], c.residency(ev.Device, ev.Model)
	if r.state != Evicting || r.seq != ev.ID {
		return c.factError(ev, "no such eviction is in flight")
	}
	bytes := c.cfg.Models[ev.Model].Bytes
	dev.evicting -= bytes
	if ev.Kind == EvictFailed {
		r.state = Resident
		return nil
	}
	dev.reserved -= bytes
	c.settleOut(ev.Device, ev.Model)
	c.enterHost(ev.Model)
	if dev.claim.active() {
		taken := min(bytes, c.cfg.Models[dev.claim.model].Bytes-dev.claim.got, dev.headroom())
		dev.claim.got += taken
		dev.reserved += taken
	}
	return nil
}

// settleIn adds m to the models of d, settleOut removes it.
func (c *Core) settleIn(d DeviceID, m ModelID) {
	dev := &c.devices[d]
	i := len(dev.residents)
	dev.residents = append(dev.residents, m)
	for ; i > 0 && dev.residents[i-1] > m; i-- {
		dev.residents[i] = dev.residents[i-1]
	}
	dev.residents[i] = m
}

func (c *Core) settleOut(d DeviceID, m ModelID) {
	dev := &c.devices[d]
	for i, r := range dev.residents {
		if r == m {
			if last := len(dev.residents) - 1; i < last {
				dev.residents = append(dev.residents[:i], dev.residents[i+1:]...)
			} else {
				dev.residents = dev.residents[:last]
			}
			break
		}
	}
	*c.residency(d, m) = residency{}
}

// enterHost keeps evicted weights in the host tier, the least recently used
// making room.
func (c *Core) enterHost(m ModelID) {
	bytes := c.cfg.Models[m].Bytes
	if bytes > c.cfg.HostMemory {
		return
	}
	if c.inHost[m] {
		c.touchHost(m)
		return
	}
	for c.hostUsed+bytes > c.cfg.HostMemory {
		out := c.hostOrder[0]
		c.hostOrder = append(c.hostOrder[:0], c.hostOrder[1:]...)
		c.inHost[out] = false
		c.hostUsed -= c.cfg.Models[out].Bytes
	}
	c.hostOrder = append(c.hostOrder, m)
	c.inHost[m] = true
	c.hostUsed += bytes
}

func (c *Core) touchHost(m ModelID) {
	if !c.inHost[m] {
		return
	}
	for i, o := range c.hostOrder {
		if o == m {
			copy(c.hostOrder[i:], c.hostOrder[i+1:])
			c.hostOrder[len(c.hostOrder)-1] = m
			return
		}
	}
}

func (c *Core) applyTimer(ev *Event) error {
	timer := &c.timer
	switch ev.ID {
	case TimerPolicy:
	case TimerHold:
		timer = &c.holdTimer
	default:
		return c.factError(ev, "no such timer")
	}
	if ev.Kind == TimerSet {
		*timer = Time(ev.Value)
		return nil
	}
	if *timer > ev.At {
		return c.factError(ev, "the timer is not due")
	}
	*timer = Never
	return nil
}

func (c *Core) applyDevice(ev *Event) error {
	if uint(ev.Device) >= uint(len(c.devices)) {
		return c.nowhere(ev)
	}
	dev := &c.devices[ev.Device]
	switch ev.Kind {
	case MemoryObserved:
		if ev.Value < 0 {
			return c.factError(ev, "a negative amount of memory")
		}
		dev.foreign = min(Bytes(ev.Value), dev.budget) // more takes nothing more
	case DeviceUp:
		dev.up = true
	case DeviceDown:
		dev.up = false
		for len(dev.batches) > 0 {
			b := dev.batches[0]
			dev.batches = append(dev.batches[:0], dev.batches[1:]...)
			c.endMembers(b.head, false)
		}
		for _, m := range dev.residents {
			*c.residency(ev.Device, m) = residency{}
		}
		dev.residents = dev.residents[:0]
		if dev.claim.active() {
			c.claims--
		}
		dev.reserved, dev.evicting, dev.loading, dev.claim = 0, 0, NoModel, claim{model: NoModel}
	}
	return nil
}
