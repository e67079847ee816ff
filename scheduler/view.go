package scheduler

// Residency is where a model stands on a device.
type Residency uint8

// The residencies of a model on a device.
const (
	Absent Residency = iota
	Claimed
	Loading
	Resident
	Evicting
)

// String returns the residency's name.
func (r Residency) String() string {
	return [...]string{"absent", "claimed", "loading", "resident", "evicting"}[r]
}

// Item is what a policy sees of an item in the system.
type Item struct {
	ID       ItemID
	Model    ModelID
	Job      JobID // -1 for an item that is its own job
	Tenant   int64 // -1 for none
	Priority int32
	Arrival  Time
	ReadyAt  Time  // when it became ready
	Deadline Time  // Never for none
	Work     int64 // millionths
	Seq      int64 // place in the order in which items became ready
	Attempts int   // batches of it that failed
}

// Batch is what a policy sees of a running batch.
type Batch struct {
	Model ModelID
	N     int
	Start Time
	End   Time // estimated
}

// Job is what a policy sees of a job that has items in the system.
type Job struct {
	Arrival    Time // of the first of its items since it last had none
	Deadline   Time // the earliest of those items, Never for none
	Unfinished int  // items in the system
}

// View is what a policy may know: state and estimates, never true durations
// or the future. It is valid during the call it is passed to and read-only;
// ids outside their range panic.
type View struct{ c *Core }

// Now returns the time of this instant.
func (v *View) Now() Time { return v.c.now }

// InSystem returns how many items have arrived and not ended.
func (v *View) InSystem() int { return v.c.blocked + v.c.ready + v.c.running }

// ArrivedNow returns how many items arrived with the facts of this step.
func (v *View) ArrivedNow() int { return v.c.arrivedNow }

// ArrivedItem returns the i-th (from 0) item that arrived with the facts of
// this step and whether it is still in the system.
func (v *View) ArrivedItem(i int) (Item, bool) {
	return v.ItemByID(ItemID(v.c.arrivals) - ItemID(v.c.arrivedNow) + ItemID(i))
}

// ItemByID returns a blocked, ready or running item.
func (v *View) ItemByID(id ItemID) (Item, bool) {
	slot, ok := v.c.items.lookup(id)
	if !ok || v.c.items.at(slot).state == itemPlaceholder {
		return Item{}, false
	}
	return v.c.items.at(slot).view(), true
}

// Timer returns the policy's pending timer, if there is one.
func (v *View) Timer() (Time, bool) { return v.c.timer, v.c.timer != Never }

// Models returns the number of models; ids run from 0.
func (v *View) Models() int { return len(v.c.cfg.Models) }

// Devices returns the number of devices; ids run from 0.
func (v *View) Devices() int { return len(v.c.devices) }

// Model returns the catalogue entry of m; it must not be changed.
func (v *View) Model(m ModelID) *Model { return &v.c.cfg.Models[m] }

// Bytes returns the weights of m.
func (v *View) Bytes(m ModelID) Bytes { return v.c.cfg.Models[m].Bytes }

// BatchMax returns the largest batch of m.
func (v *View) BatchMax(m ModelID) int { return v.c.cfg.Models[m].Batch.Max }

// BatchMemory returns the activation memory per item of a batch of m.
func (v *View) BatchMemory(m ModelID) Bytes { return v.c.cfg.Models[m].Batch.Memory }

// LoadEstimate returns how long loading m would take now, from the tier it
// would come from, and 0 if m is resident on d.
func (v *View) LoadEstimate(d DeviceID, m ModelID) Time {
	if v.State(d, m) == Resident {
		return 0
	}
	return v.c.loadEstimate(m, v.c.tierOf(m))
}

// ReloadEstimate returns how long loading m would take now on a device where
// it is not: what an eviction would cost if m is needed again.
func (v *View) ReloadEstimate(m ModelID) Time { return v.c.loadEstimate(m, v.c.tierOf(m)) }

// UnloadEstimate returns the declared time of an eviction of m.
func (v *View) UnloadEstimate(m ModelID) Time { return v.c.cfg.Models[m].Unload }

// Tier returns where a load of m would read from now.
func (v *View) Tier(m ModelID) Tier { return v.c.tierOf(m) }

// BatchEstimate returns the expected duration of a batch of the first n items
// of m's queue, their work included; beyond the queue, items of ordinary work
// are assumed.
func (v *View) BatchEstimate(m ModelID, n int) Time {
	q := &v.c.queues[m]
	work := int64(0)
	if q.plainWork() {
		work = int64(n) * WorkUnit
	} else {
		slot := q.first(&v.c.items)
		for i := 0; i < n; i++ {
			if slot < 0 {
				work += WorkUnit
				continue
			}
			work += v.c.items.at(slot).work
			slot = q.next(&v.c.items, slot)
		}
	}
	return v.c.cfg.Models[m].Batch.Time(n, work)
}

// Up reports whether d can be used.
func (v *View) Up(d DeviceID) bool { return v.c.devices[d].up }

// Budget returns the bytes that d may use.
func (v *View) Budget(d DeviceID) Bytes { return v.c.devices[d].budget }

// Reserved returns the bytes reserved on d: loading, resident and evicting
// weights, claims and the activation memory of batches.
func (v *View) Reserved(d DeviceID) Bytes { return v.c.devices[d].reserved }

// Headroom returns the bytes of d that are free for loads and batches, 0 if
// other processes hold more than that.
func (v *View) Headroom(d DeviceID) Bytes { return v.c.devices[d].headroom() }

// Slots returns how many batches may run at once on d.
func (v *View) Slots(d DeviceID) int { return v.c.devices[d].slots }

// FreeSlots returns how many more batches d can run now; 0 while it is down.
func (v *View) FreeSlots(d DeviceID) int {
	dev := &v.c.devices[d]
	if !dev.up {
		return 0
	}
	return dev.slots - len(dev.batches)
}

// Running returns how many batches run on d.
func (v *View) Running(d DeviceID) int { return len(v.c.devices[d].batches) }

// RunningBatch returns the i-th batch that runs on d, oldest first.
func (v *View) RunningBatch(d DeviceID, i int) Batch {
	b := &v.c.devices[d].batches[i]
	return Batch{Model: b.model, N: b.n, Start: b.start, End: later(b.start, b.estimate)}
}

// Link returns the model for which d's link is taken, loading or with a
// claim, and when that load is expected to end (Never while it is a claim);
// false if the link is idle.
func (v *View) Link(d DeviceID) (m ModelID, end Time, busy bool) {
	dev := &v.c.devices[d]
	switch {
	case dev.claim.active():
		return dev.claim.model, Never, true
	case dev.loading != NoModel:
		r := v.c.residency(d, dev.loading)
		return dev.loading, later(r.since, r.estimate), true
	}
	return NoModel, 0, false
}

// LastModel returns the model of the batch that started last on d, NoModel
// before the first.
func (v *View) LastModel(d DeviceID) ModelID { return v.c.devices[d].last }

// LastSince returns when d's present series of batches of one model began.
func (v *View) LastSince(d DeviceID) Time { return v.c.devices[d].lastSince }

// Batches returns how many batches have started on d.
func (v *View) Batches(d DeviceID) int64 { return v.c.devices[d].started }

// State returns where m stands on d. While victims are chosen for a load,
// those promised already read as Evicting.
func (v *View) State(d DeviceID, m ModelID) Residency {
	r := v.c.residency(d, m)
	if r.promised {
		return Evicting
	}
	return r.state
}

// Residents returns the models that are claimed, loading, resident or
// evicting on d, by id. The slice must not be changed or kept.
func (v *View) Residents(d DeviceID) []ModelID { return v.c.devices[d].residents }

// Busy reports whether batches of m run on d.
func (v *View) Busy(d DeviceID, m ModelID) bool { return v.c.residency(d, m).running > 0 }

// Evictable reports whether m may be evicted from d now: it is resident,
// idle, not held and not promised.
func (v *View) Evictable(d DeviceID, m ModelID) bool {
	r := v.c.residency(d, m)
	return r.state == Resident && r.running == 0 && !r.promised && r.heldUntil <= v.c.now
}

// LoadedAt returns when m's load on d finished, if it is resident.
func (v *View) LoadedAt(d DeviceID, m ModelID) Time { return v.c.residency(d, m).loadedAt }

// LastUsed returns when m last began or ended a batch on d, or when it was
// loaded if it has not run since.
func (v *View) LastUsed(d DeviceID, m ModelID) Time { return v.c.residency(d, m).lastUsed }

// UseOrder returns a number that grows with each use as LastUsed means it, so
// that uses at one instant have an order.
func (v *View) UseOrder(d DeviceID, m ModelID) int64 { return v.c.residency(d, m).useOrder }

// BatchesSinceLoad returns how many batches of m have started on d since it
// was loaded.
func (v *View) BatchesSinceLoad(d DeviceID, m ModelID) int64 { return v.c.residency(d, m).batches }

// HeldUntil returns until when m is held on d; a time not after now means it
// is not.
func (v *View) HeldUntil(d DeviceID, m ModelID) Time { return v.c.residency(d, m).heldUntil }

// Foreign returns the bytes that other processes hold on d, as last observed.
func (v *View) Foreign(d DeviceID) Bytes { return v.c.devices[d].foreign }

// Kept returns the bytes of models other than m that are held on d for ever:
// they leave d only with the device.
func (v *View) Kept(d DeviceID, m ModelID) (kept Bytes) {
	if !v.c.keeps {
		return 0
	}
	for _, other := range v.c.devices[d].residents {
		if other != m && v.c.residency(d, other).heldUntil == Never {
			kept += v.Bytes(other)
		}
	}
	return kept
}

// Fits returns the largest batch of m that may start on d now: bounded by its
// queue, its maximum and the ledger, 0 if m is not resident or no slot is free.
func (v *View) Fits(d DeviceID, m ModelID) int {
	if v.FreeSlots(d) == 0 || v.State(d, m) != Resident {
		return 0
	}
	return v.c.fits(d, m)
}

// Loadable reports whether Load(d, m) is legal now: d is up, its link idle, m
// absent, and the evictor offers enough victims.
func (v *View) Loadable(d DeviceID, m ModelID) bool {
	_, rule := v.c.planLoad(d, m)
	return rule == 0
}

// Victims returns whom Load(d, m) would evict, appended to dst, and whether
// that load is legal now.
func (v *View) Victims(dst []ModelID, d DeviceID, m ModelID) ([]ModelID, bool) {
	victims, rule := v.c.planLoad(d, m)
	return append(dst, victims...), rule == 0
}

// EvictionOrdinal returns how many evictions have started in the run, those
// promised while victims are being chosen included.
func (v *View) EvictionOrdinal() int64 { return v.c.evictions + int64(v.c.promised) }

// Ready returns how many items of m are ready.
func (v *View) Ready(m ModelID) int { return v.c.queues[m].n }

// NextReady returns the first model from m on that has ready items, or
// NoModel: for m := v.NextReady(0); m != NoModel; m = v.NextReady(m+1).
func (v *View) NextReady(m ModelID) ModelID { return v.c.active.next(m) }

// TotalReady returns how many items are ready.
func (v *View) TotalReady() int { return v.c.ready }

// Blocked returns how many items of m wait for dependencies.
func (v *View) Blocked(m ModelID) int { return v.c.queues[m].blocked }

// Near returns how many items of m wait for one last dependency.
func (v *View) Near(m ModelID) int { return v.c.queues[m].near }

// Oldest returns since when the longest waiting ready item of m has been
// ready, Never if there is none.
func (v *View) Oldest(m ModelID) Time {
	slot := v.c.queues[m].oldest(&v.c.items)
	if slot < 0 {
		return Never
	}
	return v.c.items.at(slot).readyAt
}

// Waited returns how long the ready items of m have waited since they became
// ready, all together; MaxTime if it could be more, were all as old as the oldest.
func (v *View) Waited(m ModelID) Time {
	q := &v.c.queues[m]
	if q.n == 0 {
		return 0
	}
	// The sum modulo 2⁶⁴ is exact as long as the sum itself cannot be larger.
	if most := times(v.c.now-v.Oldest(m), int64(q.n)); most == MaxTime {
		return MaxTime
	}
	return Time(uint64(q.n)*uint64(v.c.now) - q.readied)
}

// OldestSeq returns the smallest Item.Seq in m's queue, or the largest int64
// if it is empty.
func (v *View) OldestSeq(m ModelID) int64 {
	slot := v.c.queues[m].oldest(&v.c.items)
	if slot < 0 {
		return int64(Never)
	}
	return v.c.items.at(slot).seq
}

// Work returns the work of m's ready items in millionths.
func (v *View) Work(m ModelID) int64 { return v.c.queues[m].work }

// WorkEstimate returns the expected time of all ready items of m, in batches
// as large as allowed.
func (v *View) WorkEstimate(m ModelID) Time {
	q, cost := &v.c.queues[m], v.c.cfg.Models[m].Batch
	if q.n == 0 {
		return 0
	}
	full, rest, mean := q.n/cost.Max, q.n%cost.Max, int64(WorkUnit)
	if !q.plainWork() {
		mean = q.work / int64(q.n)
	}
	return later(times(cost.Time(cost.Max, int64(cost.Max)*mean), int64(full)), cost.Time(rest, int64(rest)*mean))
}

// Arrivals returns how many items of m have arrived.
func (v *View) Arrivals(m ModelID) int64 { return v.c.queues[m].arrivals }

// MeanGap returns the mean time between arrivals of m, 0 before the second.
func (v *View) MeanGap(m ModelID) Time {
	q := &v.c.queues[m]
	if q.arrivals < 2 {
		return 0
	}
	return (q.lastArrival - q.firstArrival) / Time(q.arrivals-1)
}

// Head returns the first item of m's queue; false if it is empty.
func (v *View) Head(m ModelID) (Item, bool) {
	slot := v.c.queues[m].first(&v.c.items)
	if slot < 0 {
		return Item{}, false
	}
	return v.c.items.at(slot).view(), true
}

// HeadSeq returns Item.Seq of the first item of m's queue, or the largest
// int64 if it is empty: what Head(m) would tell, at less cost.
func (v *View) HeadSeq(m ModelID) int64 {
	slot := v.c.queues[m].first(&v.c.items)
	if slot < 0 {
		return int64(Never)
	}
	return v.c.items.at(slot).seq
}

// Each calls f with the ready items of m in queue order until it returns false.
func (v *View) Each(m ModelID, f func(Item) bool) {
	q := &v.c.queues[m]
	for slot := q.first(&v.c.items); slot >= 0; slot = q.next(&v.c.items, slot) {
		if !f(v.c.items.at(slot).view()) {
			return
		}
	}
}

// Job returns what is known of a job that has items in the system.
func (v *View) Job(j JobID) (Job, bool) {
	job, ok := v.c.jobs[j]
	return job, ok
}

// LoadFailures returns how many loads of m have failed in a row, on any device.
func (v *View) LoadFailures(m ModelID) int { return v.c.loadFailures[m] }
