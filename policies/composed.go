package policies

import (
	"math"

	"github.com/vramsim/vramsim/scheduler"
)

// Reasons of rejections.
const (
	RejectQueueCap  = 1 // the queue was full
	RejectProjected = 2 // projected to finish after its deadline
	RejectLate      = 3 // could not meet its deadline any more
)

const noModel = scheduler.NoModel

// composed is the decision block that all composed policies share; the fields
// of the second group are a fold of what it observed.
type composed struct {
	selector Selector
	urger    Urger      // the selector, if it forces visits
	capper   runCapper  // the selector, if it bounds batches
	wander   wanderer   // the selector, if it goes to empty queues
	patient  Patient    // the selector, if it stays for a time
	allotter allotter   // the selector, if it limits visits
	visit    Visit      // nil: exhaustive
	lingerer Lingerer   // the visit, if it stays at an empty queue
	batcher  Batcher    // nil: greedy
	ranker   ranker     // the evictor
	limiter  limiter    // the evictor, if it limits who may be together
	timed    timed      // the evictor, if it evicts by time
	evictor  *evictor   // what the core asks
	prefetch Prefetcher // nil: none
	placer   Placer     // nil: one device
	admit    Admitter   // nil: all
	fill     bool
	backoff  scheduler.Time
	pinned   []bool // by model; nil: none
	restless bool   // something may have to be done although no slot is free
	parts    []scheduler.Observer

	stays    []Stay   // by device
	targets  []target // by device
	noted    []int64  // by device: the reason of the decision that follows
	claimed  []scheduler.ModelID
	failures []failures // by model; nil until something fails
	retry    scheduler.Time
	unheld   int // resident copies of pinned models that are held nowhere

	wake  scheduler.Time // scratch: the earliest wake-up that this call wants
	cands Candidates     // scratch
	fresh Stay           // scratch
}

// target is a model that is loaded, or on its way, for a visit and has not run.
type target struct {
	model  scheduler.ModelID
	forced bool
}

// Next returns the first decision that applies: a refusal, what a device
// should do, a load ahead, a timed eviction, the earliest wake-up.
func (p *composed) Next(v *scheduler.View) scheduler.Decision {
	p.wake = scheduler.Never
	if p.unheld > 0 {
		if dec, ok := p.hold(v); ok {
			return dec
		}
	}
	if p.admit != nil {
		if item, why, ok := p.admit.Refuse(v); ok {
			return scheduler.Reject(item, why)
		}
	}
	for d := range scheduler.DeviceID(len(p.stays)) {
		if v.FreeSlots(d) == 0 {
			continue
		}
		if dec := p.turn(v, d); dec.Kind != scheduler.DecideIdle {
			return dec
		}
	}
	if !p.restless && p.wake == scheduler.Never && v.Now() >= p.retry {
		return scheduler.Decision{}
	}
	return p.rest(v)
}

// rest is what follows when no device has anything to do.
func (p *composed) rest(v *scheduler.View) scheduler.Decision {
	if p.prefetch != nil {
		if dec, ok := p.ahead(v); ok {
			return dec
		}
	}
	if p.timed != nil {
		if dec, ok := p.expire(v); ok {
			return dec
		}
	}
	if v.Now() < p.retry {
		p.awaitRetries(v)
	}
	return wake(v, p.wake)
}

// wake asks for a wake-up at a time after now, unless a timer is due before.
func wake(v *scheduler.View, at scheduler.Time) scheduler.Decision {
	if at <= v.Now() || at == scheduler.Never {
		return scheduler.Decision{}
	}
	if timer, ok := v.Timer(); ok && timer <= at {
		return scheduler.Decision{}
	}
	return scheduler.Wake(at)
}

// wakeAt keeps the earliest wake-up that this call wants.
func (p *composed) wakeAt(at scheduler.Time) { p.wake = min(p.wake, at) }

// turn finds what d should do, d being up with a free slot.
func (p *composed) turn(v *scheduler.View, d scheduler.DeviceID) scheduler.Decision {
	if v.TotalReady() == 0 && p.wander == nil {
		return scheduler.Decision{}
	}
	m, why := p.choose(v, d)
	if m == noModel {
		return scheduler.Decision{}
	}
	alone := 0
	switch v.State(d, m) {
	case scheduler.Resident:
		return p.serve(v, d, m, why)
	case scheduler.Absent:
		dec, waits := p.bring(v, d, m, why)
		if waits || dec.Kind != scheduler.DecideIdle {
			return dec
		}
	default:
		alone = 1
	}
	if !p.fill || len(v.Residents(d)) == alone {
		return scheduler.Decision{}
	}
	return p.between(v, d, m)
}

// choose returns the model that d should be at: the one loaded for a visit,
// else an urgent one, else that of the visit, else the selector's choice.
func (p *composed) choose(v *scheduler.View, d scheduler.DeviceID) (scheduler.ModelID, scheduler.Reason) {
	if m := p.targets[d].model; m != noModel && v.Ready(m) > 0 && !p.failed(v, m) {
		return m, scheduler.Reason{}
	}
	stay := &p.stays[d]
	stays := p.goesOn(v, d)
	if p.urger != nil && !(stays && stay.forced) {
		if m, waited := p.urger.Urgent(v, p.candidates(v, d)); m != noModel {
			return m, scheduler.Reason{Code: scheduler.ReasonUrgent, Value: int64(waited)}
		}
	}
	if stays {
		return stay.Model, scheduler.Reason{}
	}
	if p.wander != nil {
		return p.wander.wander(v, d), scheduler.Reason{}
	}
	c := p.candidates(v, d)
	m := p.selector.Select(v, c)
	if p.patient != nil && m != noModel && m != c.Current() {
		if until := p.patient.Until(v, c, m); until > v.Now() {
			p.wakeAt(until)
			p.awaitUrgent(v, d)
			return noModel, scheduler.Reason{}
		}
	}
	return m, scheduler.Reason{}
}

// goesOn reports whether the visit of d stays at its model, and notes the
// wake-up if it does so only for a time.
func (p *composed) goesOn(v *scheduler.View, d scheduler.DeviceID) bool {
	s := &p.stays[d]
	if s.Model == noModel || s.gone || p.failed(v, s.Model) {
		return false
	}
	if v.Ready(s.Model) > 0 {
		return p.left(v, s) > 0
	}
	if p.lingerer == nil || s.forced {
		return false
	}
	until := p.lingerer.Until(v, s)
	if until <= v.Now() {
		return false
	}
	p.wakeAt(until)
	p.awaitUrgent(v, d)
	return true
}

// awaitUrgent notes when a visit that waits must give way.
func (p *composed) awaitUrgent(v *scheduler.View, d scheduler.DeviceID) {
	if p.urger != nil {
		p.wakeAt(p.urger.UrgentAt(v, p.candidates(v, d)))
	}
}

// left returns how many more items the visit may dispatch.
func (p *composed) left(v *scheduler.View, s *Stay) int {
	visit := p.visit
	if s.forced {
		visit = p.urger.Forced()
	}
	left := math.MaxInt
	if visit != nil {
		left = visit.Left(v, s)
	}
	if p.allotter != nil && !s.forced {
		left = min(left, p.allotter.left(v, s))
	}
	return left
}

// serve runs a batch of the resident m, or makes room for one.
func (p *composed) serve(v *scheduler.View, d scheduler.DeviceID, m scheduler.ModelID, why scheduler.Reason) scheduler.Decision {
	fits := v.Fits(d, m)
	n := p.size(v, d, m, p.allowed(v, d, m, why))
	if n == 0 {
		p.awaitUrgent(v, d)
		return scheduler.Decision{}
	}
	if fits > 0 {
		dec := scheduler.Run(d, m, min(n, fits))
		dec.Why = why
		return dec
	}
	return p.makeRoom(v, d, m)
}

// allowed returns how many items the visit lets the next batch of m have: what
// is left of the visit, or what a new one may take.
func (p *composed) allowed(v *scheduler.View, d scheduler.DeviceID, m scheduler.ModelID, why scheduler.Reason) int {
	if p.visit == nil && p.urger == nil && p.allotter == nil {
		return math.MaxInt
	}
	s := &p.stays[d]
	if s.Model == m && !s.gone && why.Code == 0 {
		if n := p.left(v, s); n > 0 {
			return n
		}
	}
	p.fresh = Stay{Model: m, Device: d, Opened: v.Now(), Gate: v.Ready(m), policy: p,
		forced: why.Code == scheduler.ReasonUrgent || p.targets[d].model == m && p.targets[d].forced}
	return p.left(v, &p.fresh)
}

// size returns how many items of m the next batch on d should have, at most
// limit, regardless of the ledger; 0 if the batcher waits.
func (p *composed) size(v *scheduler.View, d scheduler.DeviceID, m scheduler.ModelID, limit int) int {
	if v.Ready(m) == 0 {
		return 0
	}
	limit = min(limit, v.BatchMax(m))
	if p.capper != nil {
		limit = p.capper.cap(v, p.candidates(v, d), m, limit)
	}
	if p.batcher == nil {
		return min(limit, v.Ready(m))
	}
	n, again := p.batcher.Size(v, m, limit)
	if n == 0 {
		p.wakeAt(again)
	}
	return n
}

// makeRoom evicts for the activation memory of one item of m, unless enough
// is already on its way out or claimed by a load.
func (p *composed) makeRoom(v *scheduler.View, d scheduler.DeviceID, m scheduler.ModelID) scheduler.Decision {
	need := missing(v, d, m)
	if need == 0 {
		return scheduler.Decision{}
	}
	if victim, ok := p.evictor.Victim(v, d, need, m); ok {
		return scheduler.Evict(d, victim)
	}
	return scheduler.Decision{}
}

// bring makes the absent m come to d. It also reports whether m waits for busy
// models to leave.
func (p *composed) bring(v *scheduler.View, d scheduler.DeviceID, m scheduler.ModelID, why scheduler.Reason) (scheduler.Decision, bool) {
	if p.limiter != nil {
		switch victim, verdict := p.limit(v, d, m); verdict {
		case mustEvict:
			return scheduler.Evict(d, victim), false
		case mustWait:
			return scheduler.Decision{}, v.Running(d) > 0
		}
	}
	if _, _, busy := v.Link(d); busy {
		return scheduler.Decision{}, false
	}
	if v.Headroom(d) < v.Bytes(m) && !v.Loadable(d, m) {
		return scheduler.Decision{}, v.Running(d) > 0
	}
	dec := scheduler.Load(d, m)
	dec.Why = why
	return dec, false
}

type verdict uint8

const (
	mayLoad verdict = iota
	mustEvict
	mustWait
)

// limit asks the limiting evictor whether m may come to d, and who has to
// leave first.
func (p *composed) limit(v *scheduler.View, d scheduler.DeviceID, m scheduler.ModelID) (scheduler.ModelID, verdict) {
	switch evict, wait := p.limiter.exceeds(v, d, m); {
	case evict:
		if victim, ok := p.evictor.choose(v, d, m, true); ok {
			return victim, mustEvict
		}
		return noModel, mustWait
	case wait:
		return noModel, mustWait
	}
	return noModel, mayLoad
}

// between runs a batch of another resident model while m is on its way.
func (p *composed) between(v *scheduler.View, d scheduler.DeviceID, m scheduler.ModelID) scheduler.Decision {
	c := p.candidates(v, d)
	c.resident, c.plain = true, false
	f := p.selector.Select(v, c)
	if f == noModel {
		return scheduler.Decision{}
	}
	limit := v.BatchMax(f)
	if p.capper != nil {
		limit = p.capper.cap(v, c, f, limit)
	}
	n, again := min(limit, v.Ready(f)), scheduler.Never
	if p.batcher != nil {
		n, again = p.batcher.Size(v, f, limit)
	}
	if n == 0 {
		p.wakeAt(again)
		return scheduler.Decision{}
	}
	return scheduler.Run(d, f, min(n, v.Fits(d, f))).Because(scheduler.ReasonFill, int64(m))
}

// ahead loads what the prefetcher wants into the headroom of a device whose
// link is idle, leaving room for a full batch of the model that runs there.
func (p *composed) ahead(v *scheduler.View) (scheduler.Decision, bool) {
	for d := range scheduler.DeviceID(len(p.stays)) {
		if _, _, busy := v.Link(d); busy || !v.Up(d) || p.awaits(v, d) {
			continue
		}
		m := p.prefetch.Prefetch(v, p.others(v, d))
		if m == noModel || v.State(d, m) != scheduler.Absent || p.failed(v, m) {
			continue
		}
		if p.limiter != nil {
			if evict, wait := p.limiter.exceeds(v, d, m); evict || wait {
				continue
			}
		}
		if v.Headroom(d)-p.unused(v, d) >= v.Bytes(m) {
			return scheduler.Load(d, m).Because(scheduler.ReasonPrefetch, 0), true
		}
	}
	return scheduler.Decision{}, false
}

// awaits reports whether d has chosen a model that has yet to begin to come, or
// one that lacks room for a batch; what is loaded ahead might stand in its way.
func (p *composed) awaits(v *scheduler.View, d scheduler.DeviceID) bool {
	if v.FreeSlots(d) == 0 {
		return false
	}
	m, _ := p.choose(v, d)
	if m == noModel {
		return false
	}
	switch v.State(d, m) {
	case scheduler.Absent, scheduler.Evicting:
		return true
	case scheduler.Resident:
		return v.Ready(m) > 0 && v.Fits(d, m) == 0
	}
	return false
}

// unused returns what the running batches of d's present model leave of the
// activation memory of a full one.
func (p *composed) unused(v *scheduler.View, d scheduler.DeviceID) scheduler.Bytes {
	m := p.stays[d].Model
	if m == noModel || v.State(d, m) != scheduler.Resident {
		return 0
	}
	n := v.BatchMax(m)
	for i := range v.Running(d) {
		if b := v.RunningBatch(d, i); b.Model == m {
			n -= b.N
		}
	}
	return v.BatchMemory(m) * scheduler.Bytes(max(n, 0))
}

// expire evicts a model that has been idle, with nothing to do, for as long as
// the evictor allows.
func (p *composed) expire(v *scheduler.View) (scheduler.Decision, bool) {
	for d := range scheduler.DeviceID(len(p.stays)) {
		if !v.Up(d) {
			continue
		}
		for _, m := range v.Residents(d) {
			if !p.mayGo(v, d, m) || v.Ready(m) > 0 || p.prefetch != nil && v.Near(m) > 0 {
				continue
			}
			after := p.timed.idle(m)
			if after < 0 {
				continue
			}
			at, _ := scheduler.AddTime(v.LastUsed(d, m), after)
			if at <= v.Now() {
				return scheduler.Evict(d, m), true
			}
			p.wakeAt(at)
		}
	}
	return scheduler.Decision{}, false
}

// hold pins what is pinned and resident, on one device: further copies, for
// more work than one device can do, come and go like any other model, or pinned
// models would fill all devices.
func (p *composed) hold(v *scheduler.View) (scheduler.Decision, bool) {
	for d := range scheduler.DeviceID(len(p.stays)) {
		if !v.Up(d) {
			continue
		}
		for _, m := range v.Residents(d) {
			if p.lacksHold(v, d, m) {
				return scheduler.Hold(d, m, scheduler.Never), true
			}
		}
	}
	return scheduler.Decision{}, false
}

// lacksHold reports whether m is to be held on d: it is pinned, held nowhere
// yet, and would leave room for batches.
func (p *composed) lacksHold(v *scheduler.View, d scheduler.DeviceID, m scheduler.ModelID) bool {
	return p.pinned[m] && v.State(d, m) == scheduler.Resident && v.HeldUntil(d, m) != scheduler.Never && !p.heldElsewhere(v, d, m) && mayKeep(v, d, m)
}

func (p *composed) heldElsewhere(v *scheduler.View, d scheduler.DeviceID, m scheduler.ModelID) bool {
	for other := range scheduler.DeviceID(len(p.stays)) {
		if other != d && v.State(other, m) == scheduler.Resident && v.HeldUntil(other, m) == scheduler.Never {
			return true
		}
	}
	return false
}

// mayGo reports whether m may be evicted from d: it is idle, unheld, as a pinned
// one is not where it is kept, and no target that has yet to run.
func (p *composed) mayGo(v *scheduler.View, d scheduler.DeviceID, m scheduler.ModelID) bool {
	if !v.Evictable(d, m) {
		return false
	}
	return p.targets[d].model != m || v.Ready(m) == 0
}

// failed reports whether m failed lately and is not to be tried yet.
func (p *composed) failed(v *scheduler.View, m scheduler.ModelID) bool {
	return v.Now() < p.retry && v.Now() < p.failures[m].until
}

// awaitRetries notes when models with work may be tried again.
func (p *composed) awaitRetries(v *scheduler.View) {
	for m := v.NextReady(0); m != noModel; m = v.NextReady(m + 1) {
		if until := p.failures[m].until; until > v.Now() {
			p.wakeAt(until)
		}
	}
}
