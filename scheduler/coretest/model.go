package coretest

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/vramsim/vramsim/scheduler"
)

type modelItem struct {
	id              scheduler.ItemID
	model           scheduler.ModelID
	job             scheduler.JobID
	tenant          int64
	priority        int32
	arrival         scheduler.Time
	readyAt         scheduler.Time
	deadline        scheduler.Time
	work, key, seq  int64
	waitsFor        map[scheduler.ItemID]bool
	state           string // "arriving", "blocked", "ready", "running"
	attempts        int
	cancelled       bool
	missing, bereft int // attributes to come; dependencies that ended badly
}

type modelResidence struct {
	state     scheduler.Residency
	seq       int64
	since     scheduler.Time
	estimate  scheduler.Time
	tier      scheduler.Tier
	batches   int64
	loadedAt  scheduler.Time
	lastUsed  scheduler.Time
	useOrder  int64
	heldUntil scheduler.Time
}

type modelBatch struct {
	seq      int64
	model    scheduler.ModelID
	members  []*modelItem
	start    scheduler.Time
	estimate scheduler.Time
}

type modelDevice struct {
	up        bool
	foreign   scheduler.Bytes
	models    map[scheduler.ModelID]*modelResidence
	batches   []*modelBatch
	claimant  scheduler.ModelID
	claimed   scheduler.Bytes
	last      scheduler.ModelID
	lastSince scheduler.Time
	started   int64
}

// model is a second, naive implementation of the core, written from the design
// rather than from core.go: maps and slices, sums recomputed from scratch, no
// clever structure.
type model struct {
	cfg     scheduler.Config
	choose  Chooser   // if the model knows how victims are chosen
	asked   *recorder // else, what the core's evictor answered; nil: loads never evict
	strange string    // a question that the core did not ask in this way

	now        scheduler.Time
	events     []scheduler.Event
	seq        int64
	arrivals   int64
	arrivedNow int
	readySeq   int64
	uses       int64
	evictions  int64

	items   map[scheduler.ItemID]*modelItem
	bad     []scheduler.ItemID // kept
	jobs    map[scheduler.JobID]scheduler.Job
	devices []*modelDevice

	done, failed, rejected, cancelled int64

	arrivedOf       []int64
	firstOf         []scheduler.Time
	lastOf          []scheduler.Time
	loads           []int64
	loadFailures    []int
	learned         map[[2]int]scheduler.Time // by the estimator "last"
	host            []scheduler.ModelID       // least recently used first
	timer           scheduler.Time
	holdTimer       scheduler.Time
	toFail          []scheduler.ItemID
	toCancel        [][2]scheduler.ItemID // item, cause
	toReady         []scheduler.ItemID
	arriving        *modelItem
	claimedEvicts   int // evictions begun under a claim
	retries         int
	orphans         int
	cancels         int
	spared          int
	revoked         int // claims lost with their device
	secondDevice    bool
	hostLoads       int
	reclaims        int // victims sought again after a failed eviction
	heldExpired     int
	pastLastAttempt int
}

func newModel(cfg scheduler.Config, choose Chooser, asked *recorder) *model {
	n := len(cfg.Models)
	m := &model{cfg: cfg, choose: choose, asked: asked, items: map[scheduler.ItemID]*modelItem{}, jobs: map[scheduler.JobID]scheduler.Job{},
		arrivedOf: make([]int64, n), firstOf: make([]scheduler.Time, n), lastOf: make([]scheduler.Time, n),
		loads: make([]int64, n), loadFailures: make([]int, n), learned: map[[2]int]scheduler.Time{},
		timer: scheduler.Never, holdTimer: scheduler.Never}
	if m.cfg.Attempts == 0 {
		m.cfg.Attempts = 3
	}
	for _, d := range cfg.Devices {
		m.devices = append(m.devices, &modelDevice{up: !d.Down, claimant: scheduler.NoModel, last: scheduler.NoModel,
			models: map[scheduler.ModelID]*modelResidence{}})
	}
	return m
}

// res returns where a model stands; a fresh absent residence if nowhere.
func (m *model) res(d scheduler.DeviceID, id scheduler.ModelID) *modelResidence {
	if r := m.devices[d].models[id]; r != nil {
		return r
	}
	return &modelResidence{}
}

func (m *model) bytes(id scheduler.ModelID) scheduler.Bytes { return m.cfg.Models[id].Bytes }

func (m *model) reserved(d scheduler.DeviceID) scheduler.Bytes {
	dev := m.devices[d]
	sum := dev.claimed
	for id, r := range dev.models {
		if r.state != scheduler.Claimed {
			sum += m.bytes(id)
		}
	}
	for _, b := range dev.batches {
		sum += m.cfg.Models[b.model].Batch.Memory * scheduler.Bytes(len(b.members))
	}
	return sum
}

// slack is what is free, negative if other processes hold more than that.
func (m *model) slack(d scheduler.DeviceID) scheduler.Bytes {
	return m.cfg.Devices[d].Budget - m.devices[d].foreign - m.reserved(d)
}

func (m *model) headroom(d scheduler.DeviceID) scheduler.Bytes { return max(0, m.slack(d)) }

func (m *model) evicting(d scheduler.DeviceID) scheduler.Bytes {
	sum := scheduler.Bytes(0)
	for id, r := range m.devices[d].models {
		if r.state == scheduler.Evicting {
			sum += m.bytes(id)
		}
	}
	return sum
}

func (m *model) busy(d scheduler.DeviceID, id scheduler.ModelID) bool {
	for _, b := range m.devices[d].batches {
		if b.model == id {
			return true
		}
	}
	return false
}

func (m *model) evictable(d scheduler.DeviceID, id scheduler.ModelID) bool {
	r := m.res(d, id)
	return r.state == scheduler.Resident && !m.busy(d, id) && r.heldUntil <= m.now
}

func (m *model) linkTaken(d scheduler.DeviceID) bool {
	for _, r := range m.devices[d].models {
		if r.state == scheduler.Loading || r.state == scheduler.Claimed {
			return true
		}
	}
	return false
}

// queue returns the ready items of a model in the order in which they run.
func (m *model) queue(id scheduler.ModelID) []*modelItem {
	var q []*modelItem
	for _, it := range m.items {
		if it.state == "ready" && it.model == id {
			q = append(q, it)
		}
	}
	slices.SortFunc(q, func(a, b *modelItem) int {
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(b.priority, a.priority), cmp.Compare(a.seq, b.seq))
	})
	return q
}

// priorities counts the distinct priorities in a queue.
func (m *model) priorities(id scheduler.ModelID) int {
	seen := map[int32]bool{}
	for _, it := range m.queue(id) {
		seen[it.priority] = true
	}
	return len(seen)
}

// summary tells who stands where, for messages.
func (m *model) summary() string {
	text := fmt.Sprintf("at %d", m.now)
	for id := range m.cfg.Models {
		text += fmt.Sprintf("; model %d of %d bytes: %d ready", id, m.bytes(scheduler.ModelID(id)), len(m.queue(scheduler.ModelID(id))))
	}
	for d, dev := range m.devices {
		text += fmt.Sprintf("; device %d up=%v, budget %d, of others %d, reserved %d, %d batches:", d, dev.up, m.cfg.Devices[d].Budget, dev.foreign, m.reserved(scheduler.DeviceID(d)), len(dev.batches))
		for id := range m.cfg.Models {
			if r := dev.models[scheduler.ModelID(id)]; r != nil {
				text += fmt.Sprintf(" %d %v (held until %d)", id, r.state, r.heldUntil)
			}
		}
	}
	return text
}

// pinned reports whether a model is held for ever.
func (m *model) pinned() bool {
	for _, dev := range m.devices {
		for _, r := range dev.models {
			if r.heldUntil == scheduler.Never {
				return true
			}
		}
	}
	return false
}

// fits returns the largest legal batch of a model with so many ready items.
func (m *model) fits(d scheduler.DeviceID, id scheduler.ModelID, ready int) int {
	dev, batch := m.devices[d], m.cfg.Models[id].Batch
	if !dev.up || m.res(d, id).state != scheduler.Resident || len(dev.batches) >= m.cfg.Devices[d].Slots {
		return 0
	}
	n, free := 0, m.headroom(d)
	for n < ready && n < batch.Max && free >= batch.Memory {
		n++
		free -= batch.Memory
	}
	return n
}

// plan returns whom a load would evict and whether it is legal.
func (m *model) plan(d scheduler.DeviceID, id scheduler.ModelID) ([]scheduler.ModelID, bool) {
	spec := m.cfg.Models[id]
	if !m.devices[d].up || m.res(d, id).state != scheduler.Absent || m.linkTaken(d) {
		return nil, false
	}
	if spec.Bytes+spec.Batch.Memory > m.cfg.Devices[d].Budget {
		return nil, false
	}
	victims, _, ok := m.victims(d, id, spec.Bytes-m.slack(d)-m.evicting(d))
	return victims, ok
}

// victims asks for models until need bytes are promised, then spares those
// without which it still holds, in the order of choice.
func (m *model) victims(d scheduler.DeviceID, incoming scheduler.ModelID, need scheduler.Bytes) (kept []scheduler.ModelID, spared int, ok bool) {
	var chosen []scheduler.ModelID
	promised := scheduler.Bytes(0)
	for promised < need {
		v, offered := m.victim(d, incoming, need-promised, chosen)
		if !offered || v < 0 || int(v) >= len(m.cfg.Models) || !m.evictable(d, v) || slices.Contains(chosen, v) {
			return nil, 0, false
		}
		chosen = append(chosen, v)
		promised += m.bytes(v)
	}
	for _, v := range chosen {
		if promised-m.bytes(v) >= need {
			promised -= m.bytes(v)
			spared++
		} else {
			kept = append(kept, v)
		}
	}
	return kept, spared, true
}

// victim asks for one model more than those chosen already.
func (m *model) victim(d scheduler.DeviceID, incoming scheduler.ModelID, need scheduler.Bytes, chosen []scheduler.ModelID) (scheduler.ModelID, bool) {
	ordinal := m.evictions + int64(len(chosen))
	if m.choose != nil {
		var candidates []Candidate
		for id := range scheduler.ModelID(len(m.cfg.Models)) {
			if m.evictable(d, id) && !slices.Contains(chosen, id) {
				candidates = append(candidates, Candidate{id, m.bytes(id), m.res(d, id).useOrder})
			}
		}
		return m.choose(ordinal, need, candidates)
	}
	if m.asked == nil {
		return scheduler.NoModel, false
	}
	v, offered, same := m.asked.answer(ask{device: d, incoming: incoming, need: need, ordinal: ordinal})
	if !same && m.strange == "" {
		m.strange = fmt.Sprintf("for a victim on device %d, %d bytes for model %d, eviction %d", d, need, incoming, ordinal)
	}
	return v, offered
}

func (m *model) tier(id scheduler.ModelID) scheduler.Tier {
	if slices.Contains(m.host, id) {
		return scheduler.TierHost
	}
	return scheduler.TierDisk
}

func (m *model) loadEstimate(id scheduler.ModelID) scheduler.Time {
	tier := m.tier(id)
	if t, ok := m.learned[[2]int{int(id), int(tier)}]; ok {
		return t
	}
	return m.cfg.Models[id].Load[tier]
}

// batchTime is what a batch of ordinary or other work is expected to take.
func batchTime(c scheduler.BatchCost, members []*modelItem) scheduler.Time {
	work := int64(0)
	for _, it := range members {
		work += it.work
	}
	n := int64(len(members))
	if len(members) <= len(c.Times) {
		total := c.Times[n-1]
		base := min(c.Base, total)
		return base + scheduler.Time(int64(total-base)*work/(n*scheduler.WorkUnit))
	}
	return c.Base + scheduler.Time(int64(c.PerItem)*work/scheduler.WorkUnit)
}

func (m *model) emit(ev scheduler.Event) {
	ev.At = m.now
	m.events = append(m.events, ev)
	m.seq++
}

func (m *model) emitItem(kind scheduler.Kind, it *modelItem, value int64) {
	m.emit(scheduler.Event{Kind: kind, ID: int64(it.id), Value: value, Model: it.model, Device: scheduler.NoDevice})
}

// facts applies the facts of one step and what follows of itself.
func (m *model) facts(facts []scheduler.Event) {
	m.events, m.arrivedNow = nil, 0
	m.now = facts[0].At
	for i, ev := range facts {
		ev.Flags = 0
		if i == 0 {
			ev.Flags = scheduler.FlagFirst
		}
		m.fact(ev)
		m.events = append(m.events, ev)
		m.seq++
	}
	m.settle()
}

func (m *model) fact(ev scheduler.Event) {
	switch ev.Kind {
	case scheduler.ItemArrived:
		m.arrive(ev)
	case scheduler.ItemJob, scheduler.ItemDeadline, scheduler.ItemWork, scheduler.ItemTenant, scheduler.ItemDependsOn:
		m.attribute(ev)
	case scheduler.ItemCancelled:
		if m.items[scheduler.ItemID(ev.ID)] != nil {
			m.cancels++
		}
		if it := m.items[scheduler.ItemID(ev.ID)]; it != nil && it.state == "running" {
			it.cancelled = true
		} else if it != nil {
			m.cancelled++
			m.endBadly(it)
		}
	case scheduler.BatchFinished, scheduler.BatchFailed:
		dev := m.devices[ev.Device]
		for i, b := range dev.batches {
			if b.seq == ev.ID {
				dev.batches = slices.Delete(dev.batches, i, i+1)
				m.use(m.res(ev.Device, b.model))
				m.endBatch(b, ev.Kind == scheduler.BatchFinished)
				break
			}
		}
	case scheduler.LoadFinished, scheduler.LoadFailed:
		m.endLoad(ev)
	case scheduler.EvictFinished, scheduler.EvictFailed:
		m.endEvict(ev)
	case scheduler.DeviceUp:
		m.devices[ev.Device].up = true
	case scheduler.DeviceDown:
		m.loseDevice(m.devices[ev.Device])
	case scheduler.MemoryObserved:
		m.devices[ev.Device].foreign = min(scheduler.Bytes(ev.Value), m.cfg.Devices[ev.Device].Budget)
	case scheduler.TimerFired:
		if ev.ID == scheduler.TimerPolicy {
			m.timer = scheduler.Never
		} else {
			m.holdTimer = scheduler.Never
			m.heldExpired++
		}
	}
}

func (m *model) arrive(ev scheduler.Event) {
	it := &modelItem{id: scheduler.ItemID(ev.ID), model: ev.Model, job: -1, tenant: -1, priority: ev.Priority(), arrival: m.now,
		deadline: scheduler.Never, work: scheduler.WorkUnit, waitsFor: map[scheduler.ItemID]bool{}, state: "arriving", missing: ev.Follow()}
	m.items[it.id] = it
	m.arrivals++
	m.arrivedNow++
	if m.arrivedOf[it.model] == 0 {
		m.firstOf[it.model] = m.now
	}
	m.arrivedOf[it.model]++
	m.lastOf[it.model] = m.now
	m.arriving = it
	m.complete(it)
}

func (m *model) attribute(ev scheduler.Event) {
	it := m.arriving
	switch ev.Kind {
	case scheduler.ItemJob:
		it.job = scheduler.JobID(ev.Value)
	case scheduler.ItemDeadline:
		it.deadline = scheduler.Time(ev.Value)
	case scheduler.ItemWork:
		it.work = ev.Value
	case scheduler.ItemTenant:
		it.tenant = ev.Value
	case scheduler.ItemDependsOn:
		on := scheduler.ItemID(ev.Value)
		switch {
		case int64(on) >= m.arrivals || m.items[on] != nil:
			it.waitsFor[on] = true
		case slices.Contains(m.bad, on):
			it.bereft++
			m.toCancel = append(m.toCancel, [2]scheduler.ItemID{it.id, on})
		}
	}
	it.missing--
	m.complete(it)
}

// complete puts an arrival with all its attributes where it belongs.
func (m *model) complete(it *modelItem) {
	if it.missing > 0 {
		return
	}
	if it.job >= 0 {
		j, ok := m.jobs[it.job]
		if !ok {
			j = scheduler.Job{Arrival: m.now, Deadline: scheduler.Never}
		}
		j.Unfinished++
		j.Deadline = min(j.Deadline, it.deadline)
		m.jobs[it.job] = j
	}
	if len(it.waitsFor)+it.bereft == 0 {
		m.ready(it)
		return
	}
	it.state = "blocked"
}

func (m *model) ready(it *modelItem) {
	it.state, it.readyAt, it.seq = "ready", m.now, m.readySeq
	m.readySeq++
	if m.cfg.Order != nil {
		it.key = m.cfg.Order.Key(m.view(it))
	}
}

func (m *model) view(it *modelItem) scheduler.Item {
	return scheduler.Item{ID: it.id, Model: it.model, Job: it.job, Tenant: it.tenant, Priority: it.priority, Arrival: it.arrival,
		ReadyAt: it.readyAt, Deadline: it.deadline, Work: it.work, Seq: it.seq, Attempts: it.attempts}
}

func (m *model) leave(it *modelItem) {
	delete(m.items, it.id)
	if it.job >= 0 {
		j := m.jobs[it.job]
		if j.Unfinished--; j.Unfinished == 0 {
			delete(m.jobs, it.job)
		} else {
			m.jobs[it.job] = j
		}
	}
}

// endBadly ends an item that is not done; those that wait for it follow.
func (m *model) endBadly(it *modelItem) {
	m.leave(it)
	m.bad = append(m.bad, it.id)
	if keep := m.cfg.KeepFailed; keep > 0 && len(m.bad) > keep {
		m.bad = m.bad[1:]
	}
	for _, other := range m.dependants(it.id) {
		m.toCancel = append(m.toCancel, [2]scheduler.ItemID{other.id, it.id})
	}
}

// dependants returns who waits for an item, in order of arrival.
func (m *model) dependants(id scheduler.ItemID) []*modelItem {
	var found []*modelItem
	for _, it := range m.items {
		if it.waitsFor[id] {
			found = append(found, it)
		}
	}
	slices.SortFunc(found, func(a, b *modelItem) int { return cmp.Compare(a.id, b.id) })
	return found
}

func (m *model) endBatch(b *modelBatch, finished bool) {
	for _, it := range b.members {
		switch {
		case it.cancelled:
			m.cancelled++
			m.endBadly(it)
		case finished:
			m.done++
			m.leave(it)
			for _, other := range m.dependants(it.id) {
				delete(other.waitsFor, it.id)
				if len(other.waitsFor)+other.bereft == 0 {
					m.toReady = append(m.toReady, other.id)
				}
			}
		default:
			it.attempts++
			it.state = "ready"
			m.retries++
			if it.attempts >= m.cfg.Attempts {
				m.toFail = append(m.toFail, it.id)
				m.pastLastAttempt++
			}
		}
	}
}

func (m *model) use(r *modelResidence) {
	r.lastUsed, r.useOrder = m.now, m.uses
	m.uses++
}

func (m *model) endLoad(ev scheduler.Event) {
	r := m.res(ev.Device, ev.Model)
	if ev.Kind == scheduler.LoadFinished {
		r.state, r.loadedAt = scheduler.Resident, m.now
		m.use(r)
		m.loadFailures[ev.Model] = 0
		if m.cfg.Estimator != nil {
			m.learned[[2]int{int(ev.Model), int(r.tier)}] = m.now - r.since
		}
		return
	}
	delete(m.devices[ev.Device].models, ev.Model)
	if m.loadFailures[ev.Model]++; m.loadFailures[ev.Model] >= m.cfg.Attempts {
		m.loadFailures[ev.Model] = 0
		for _, it := range m.queue(ev.Model) {
			m.toFail = append(m.toFail, it.id)
		}
	}
}

func (m *model) endEvict(ev scheduler.Event) {
	dev, r := m.devices[ev.Device], m.res(ev.Device, ev.Model)
	if ev.Kind == scheduler.EvictFailed {
		r.state = scheduler.Resident
		return
	}
	delete(dev.models, ev.Model)
	m.enterHost(ev.Model)
	if dev.claimant != scheduler.NoModel {
		missing := m.bytes(dev.claimant) - dev.claimed
		dev.claimed += min(m.bytes(ev.Model), missing, m.headroom(ev.Device))
	}
}

func (m *model) enterHost(id scheduler.ModelID) {
	if m.bytes(id) > m.cfg.HostMemory {
		return
	}
	m.host = slices.DeleteFunc(m.host, func(h scheduler.ModelID) bool { return h == id })
	m.host = append(m.host, id)
	for {
		sum := scheduler.Bytes(0)
		for _, h := range m.host {
			sum += m.bytes(h)
		}
		if sum <= m.cfg.HostMemory {
			return
		}
		m.host = m.host[1:]
	}
}

func (m *model) loseDevice(dev *modelDevice) {
	batches := dev.batches
	if dev.claimant != scheduler.NoModel {
		m.revoked++
	}
	dev.up, dev.batches, dev.models = false, nil, map[scheduler.ModelID]*modelResidence{}
	dev.claimant, dev.claimed = scheduler.NoModel, 0
	for _, b := range batches {
		m.endBatch(b, false)
	}
}

// settle is what follows of itself: failures, then cancelled dependants, then
// readied items, then claims, then the timer of holds.
func (m *model) settle() {
	for len(m.toFail)+len(m.toCancel)+len(m.toReady) > 0 {
		switch {
		case len(m.toFail) > 0:
			id := m.toFail[0]
			m.toFail = m.toFail[1:]
			if it := m.items[id]; it != nil {
				m.emitItem(scheduler.ItemFailed, it, 0)
				m.failed++
				m.endBadly(it)
			}
		case len(m.toCancel) > 0:
			o := m.toCancel[0]
			m.toCancel = m.toCancel[1:]
			if it := m.items[o[0]]; it != nil {
				m.emitItem(scheduler.DependantCancelled, it, int64(o[1]))
				m.cancelled++
				m.orphans++
				m.endBadly(it)
			}
		default:
			id := m.toReady[0]
			m.toReady = m.toReady[1:]
			if it := m.items[id]; it != nil {
				m.emitItem(scheduler.ItemReadied, it, 0)
				m.ready(it)
			}
		}
	}
	for d := range m.devices {
		m.settleClaim(scheduler.DeviceID(d))
	}
	m.settleHolds()
}

func (m *model) settleClaim(d scheduler.DeviceID) {
	dev := m.devices[d]
	if dev.claimant == scheduler.NoModel {
		return
	}
	id := dev.claimant
	missing := m.bytes(id) - dev.claimed
	if missing > 0 && m.evicting(d)+min(0, m.slack(d)) < missing {
		if free := m.headroom(d); free > 0 {
			m.emit(scheduler.Event{Kind: scheduler.LoadClaimed, ID: 1, Value: int64(min(free, missing)), Model: id, Device: d})
			dev.claimed += min(free, missing)
			m.settleClaim(d)
			return
		}
		victims, _, ok := m.victims(d, id, missing-m.evicting(d)-m.slack(d))
		if ok {
			m.reclaims++
			m.startEvicts(d, victims)
		}
		return
	}
	if missing <= 0 {
		dev.claimant, dev.claimed = scheduler.NoModel, 0
		m.startLoad(d, id)
	}
}

func (m *model) settleHolds() {
	if m.holdTimer != scheduler.Never {
		return
	}
	next := scheduler.Never
	for _, dev := range m.devices {
		for _, r := range dev.models {
			if r.heldUntil > m.now {
				next = min(next, r.heldUntil)
			}
		}
	}
	if next != scheduler.Never {
		m.setTimer(scheduler.TimerHold, next)
	}
}

func (m *model) setTimer(id int64, at scheduler.Time) {
	m.emit(scheduler.Event{Kind: scheduler.TimerSet, ID: id, Value: int64(at), Model: scheduler.NoModel, Device: scheduler.NoDevice})
	if id == scheduler.TimerPolicy {
		m.timer = at
	} else {
		m.holdTimer = at
	}
}

func (m *model) startLoad(d scheduler.DeviceID, id scheduler.ModelID) {
	tier, estimate := m.tier(id), m.loadEstimate(id)
	m.devices[d].models[id] = &modelResidence{state: scheduler.Loading, seq: m.seq, since: m.now, estimate: estimate, tier: tier}
	m.emit(scheduler.Event{Kind: scheduler.LoadStarted, ID: m.seq, Value: int64(estimate), Model: id, Device: d, Flags: uint8(tier) << 4})
	m.loads[id]++
	if tier == scheduler.TierHost {
		m.hostLoads++
		m.host = append(slices.DeleteFunc(m.host, func(h scheduler.ModelID) bool { return h == id }), id)
	}
	m.secondDevice = m.secondDevice || d > 0
}

func (m *model) startEvicts(d scheduler.DeviceID, ids []scheduler.ModelID) {
	for _, id := range ids {
		r := m.res(d, id)
		r.state, r.seq, r.since = scheduler.Evicting, m.seq, m.now
		m.emit(scheduler.Event{Kind: scheduler.EvictStarted, ID: m.seq, Value: int64(m.bytes(id)), Model: id, Device: d})
		m.evictions++
		if m.devices[d].claimant != scheduler.NoModel {
			m.claimedEvicts++
		}
	}
}

// decide carries out a legal decision and what follows of itself.
func (m *model) decide(d scheduler.Decision) {
	if d.Why.Code != 0 {
		m.emit(scheduler.Event{Kind: scheduler.Note, ID: d.Why.Code, Value: d.Why.Value, Model: d.Model, Device: d.Device})
	}
	switch d.Kind {
	case scheduler.DecideRun:
		m.run(d.Device, d.Model, d.N)
	case scheduler.DecideLoad:
		m.load(d.Device, d.Model)
	case scheduler.DecideEvict:
		m.startEvicts(d.Device, []scheduler.ModelID{d.Model})
	case scheduler.DecideWake:
		m.setTimer(scheduler.TimerPolicy, d.At)
	case scheduler.DecideReject:
		it := m.items[d.Item]
		m.emitItem(scheduler.ItemRejected, it, int64(d.At))
		m.rejected++
		m.endBadly(it)
	case scheduler.DecideHold:
		m.emit(scheduler.Event{Kind: scheduler.ModelHeld, Value: int64(d.At), Model: d.Model, Device: d.Device})
		m.res(d.Device, d.Model).heldUntil = d.At
		if d.At < m.holdTimer {
			m.setTimer(scheduler.TimerHold, d.At)
		}
	}
	m.settle()
}

func (m *model) run(d scheduler.DeviceID, id scheduler.ModelID, n int) {
	dev, members := m.devices[d], m.queue(id)[:n]
	for _, it := range members {
		m.emit(scheduler.Event{Kind: scheduler.MemberDispatched, ID: int64(it.id), Model: id, Device: d})
		if o, ok := m.cfg.Order.(scheduler.DispatchObserver); ok {
			o.Dispatched(m.view(it), it.key)
		}
		it.state = "running"
	}
	b := &modelBatch{seq: m.seq, model: id, members: members, start: m.now, estimate: batchTime(m.cfg.Models[id].Batch, members)}
	m.emit(scheduler.Event{Kind: scheduler.BatchStarted, ID: m.seq, Value: scheduler.PackBatch(n, b.estimate), Model: id, Device: d})
	dev.batches = append(dev.batches, b)
	dev.started++
	if dev.last != id {
		dev.last, dev.lastSince = id, m.now
	}
	r := m.res(d, id)
	r.batches++
	m.use(r)
}

func (m *model) load(d scheduler.DeviceID, id scheduler.ModelID) {
	victims, spared, _ := m.victims(d, id, m.bytes(id)-m.slack(d)-m.evicting(d))
	m.spared += spared
	free := m.headroom(d)
	if free >= m.bytes(id) {
		m.startLoad(d, id)
		return
	}
	dev := m.devices[d]
	dev.models[id] = &modelResidence{state: scheduler.Claimed, since: m.now}
	dev.claimant, dev.claimed = id, free
	m.emit(scheduler.Event{Kind: scheduler.LoadClaimed, Value: int64(free), Model: id, Device: d})
	m.startEvicts(d, victims)
}
