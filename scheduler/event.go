package scheduler

import (
	"cmp"
	"fmt"
)

// ItemID numbers items densely in arrival order, from 0. Names and UUIDs
// belong to the log, not to the core.
type ItemID int64

// ModelID is the position of a model in Config.Models.
type ModelID int32

// DeviceID is the position of a device in Config.Devices.
type DeviceID int16

// JobID numbers jobs densely in the order of their first item.
type JobID int64

// NoModel stands where no model is meant.
const NoModel ModelID = -1

// NoDevice stands where no device is meant.
const NoDevice DeviceID = -1

// Kind says what an Event tells. The numbers are part of the log format:
// they are never reused, new ones are added at the end of their block.
type Kind uint8

// Facts: what the world says.
const (
	// ItemArrived: item ID of Model enters. Value packs its priority and how
	// many attribute and dependency events follow it at once (PackArrival).
	ItemArrived Kind = 1
	// ItemJob: item ID belongs to job Value. Items without one are their own job.
	ItemJob Kind = 2
	// ItemDeadline: item ID is due at Value.
	ItemDeadline Kind = 3
	// ItemWork: item ID has Value millionths of the model's unit of work.
	ItemWork Kind = 4
	// ItemTenant: item ID belongs to tenant Value.
	ItemTenant Kind = 5
	// ItemDependsOn: item ID may start only after item Value has finished.
	ItemDependsOn Kind = 6
	// ItemCancelled: whoever submitted item ID no longer wants it. A running
	// item ends with its batch, one that has ended stays as it ended. The model
	// need not be named.
	ItemCancelled Kind = 7
	// BatchFinished and BatchFailed end the batch that the BatchStarted event
	// at sequence number ID began; Value is the Failure.
	BatchFinished Kind = 8
	BatchFailed   Kind = 9
	// LoadFinished and LoadFailed end the load begun at sequence number ID.
	LoadFinished Kind = 10
	LoadFailed   Kind = 11
	// EvictFinished and EvictFailed end the eviction begun at sequence number ID.
	EvictFinished Kind = 12
	EvictFailed   Kind = 13
	// DeviceUp and DeviceDown: Device can be used again, or was lost with
	// everything in flight and resident there.
	DeviceUp   Kind = 14
	DeviceDown Kind = 15
	// MemoryObserved: processes other than ours hold Value bytes of Device.
	MemoryObserved Kind = 16
	// TimerFired: the timer numbered ID (TimerPolicy or TimerHold) is due.
	TimerFired Kind = 17
)

// Decisions: what the core says.
const (
	// ItemReadied: the last dependency of item ID finished. Items that arrive
	// without unfinished dependencies are ready by their arrival and have no
	// such event.
	ItemReadied Kind = 64
	// ItemRejected: the policy refused item ID; Value is its reason.
	ItemRejected Kind = 65
	// DependantCancelled: item ID can never start, for item Value, on which it
	// depends, failed, was rejected or cancelled.
	DependantCancelled Kind = 66
	// ItemFailed: item ID failed for good after its last attempt.
	ItemFailed Kind = 67
	// MemberDispatched: item ID leaves its queue to be a member of the batch
	// whose BatchStarted follows.
	MemberDispatched Kind = 68
	// BatchStarted: the members dispatched just before run as one batch of
	// Model on Device. ID is this event's own sequence number; Value packs
	// their number and the estimated duration (PackBatch).
	BatchStarted Kind = 69
	// LoadClaimed: a load of Model lacks headroom on Device; Value bytes are
	// free and claimed at once, the rest follows as victims leave.
	LoadClaimed Kind = 70
	// LoadStarted: Model begins to load on Device from the event's Tier. ID is
	// this event's own sequence number, Value the estimated duration.
	LoadStarted Kind = 71
	// EvictStarted: Model begins to leave Device. ID is this event's own
	// sequence number, Value the bytes that will return.
	EvictStarted Kind = 72
	// ModelHeld: Model is not evicted from Device before Value.
	ModelHeld Kind = 73
	// TimerSet: the timer numbered ID fires at Value; it replaces a pending
	// timer of that number.
	TimerSet Kind = 74
	// Note: the policy's reason for its next decision: code ID, integer Value.
	Note Kind = 75
)

// Timers.
const (
	TimerPolicy = 0 // asked for by Wake
	TimerHold   = 1 // the core's own: the next hold expires
)

// Flags of an Event.
const (
	// FlagFirst marks the first fact of a Step, so that replay groups the
	// facts as they were.
	FlagFirst uint8 = 1 << 0
	tierShift       = 4
)

// Tier is where weights are loaded from.
type Tier uint8

// Tiers, slowest first.
const (
	TierDisk Tier = 0
	TierHost Tier = 1
	Tiers         = 2
)

// String returns the tier's name in files and tables.
func (t Tier) String() string {
	switch t {
	case TierDisk:
		return "disk"
	case TierHost:
		return "host"
	}
	return fmt.Sprintf("tier(%d)", uint8(t))
}

// Failure is why an effect failed, the Value of a LoadFailed, EvictFailed or
// BatchFailed fact.
type Failure int64

// Failures.
const (
	FailureUnknown Failure = 0
	FailureOOM     Failure = 1 // out of memory
	FailureLost    Failure = 2 // worker, context or device lost
	FailureTimeout Failure = 3
	FailureFault   Failure = 4 // injected
)

// Event is one entry of the log: a fact of the world or a decision of the
// core. It has a fixed size and no pointers; its position in the log is its
// sequence number. What ID and Value mean is said at each Kind.
type Event struct {
	At     Time
	ID     int64
	Value  int64
	Model  ModelID
	Device DeviceID
	Kind   Kind
	Flags  uint8
}

// Tier returns where the load of a LoadStarted event reads from.
func (e Event) Tier() Tier { return Tier(e.Flags >> tierShift) }

// WithTier returns the LoadStarted event with another tier.
func (e Event) WithTier(t Tier) Event {
	e.Flags = e.Flags&(1<<tierShift-1) | uint8(t)<<tierShift
	return e
}

// First reports whether e is the first fact of its Step.
func (e Event) First() bool { return e.Flags&FlagFirst != 0 }

// Item returns the item that an item event or MemberDispatched is about.
func (e Event) Item() ItemID { return ItemID(e.ID) }

// Fact reports whether the world says events of kind k.
func (k Kind) Fact() bool { return k > 0 && k < 64 }

// Effect reports whether the world has to carry out events of kind k.
func (k Kind) Effect() bool {
	const first = ItemReadied
	const effects = 1<<(MemberDispatched-first) | 1<<(BatchStarted-first) | 1<<(LoadStarted-first) | 1<<(EvictStarted-first) | 1<<(TimerSet-first)
	return k >= first && effects>>(k-first)&1 != 0
}

// KindSet is a set of kinds of events.
type KindSet [4]uint64

// Kinds returns the set of the given kinds.
func Kinds(kinds ...Kind) KindSet {
	var s KindSet
	for _, k := range kinds {
		s[k>>6] |= 1 << (k & 63)
	}
	return s
}

// Has reports whether k is in the set.
func (s *KindSet) Has(k Kind) bool { return s[k>>6]>>(k&63)&1 != 0 }

// ranks are the classes of the kinds from 0 on.
const ranks = "8" + // no kind
	"666666" + // arrivals, their attributes and dependencies
	"5" + // cancellations
	"00" + "11" + "22" + // ends of batches, loads, evictions
	"33" + "4" + // devices, memory
	"7" // timers

const noClass = 8

// Class is the rank of a fact among those of one instant: what frees
// resources comes first. Attributes and dependencies share their arrival's.
// Decisions have none and come last.
func (k Kind) Class() int {
	if int(k) < len(ranks) {
		return int(ranks[k] - '0')
	}
	return noClass
}

// CompareFacts is the order of facts at one instant, the same in every World:
// by class; then completions by the sequence number of their decision,
// cancellations by item, what is said of devices by device, timers by number.
// What is left equal keeps the order in which it came: arrivals that of their
// source, and what is said of one device.
func CompareFacts(a, b *Event) int {
	class := a.Kind.Class()
	if c := cmp.Compare(class, b.Kind.Class()); c != 0 {
		return c
	}
	switch class {
	case ItemArrived.Class():
		return 0
	case DeviceUp.Class(), MemoryObserved.Class():
		return cmp.Compare(a.Device, b.Device)
	}
	return cmp.Compare(a.ID, b.ID)
}

var kindNames = [...]string{
	ItemArrived: "item_arrived", ItemJob: "item_job", ItemDeadline: "item_deadline", ItemWork: "item_work",
	ItemTenant: "item_tenant", ItemDependsOn: "item_depends_on", ItemCancelled: "item_cancelled",
	BatchFinished: "batch_finished", BatchFailed: "batch_failed", LoadFinished: "load_finished", LoadFailed: "load_failed",
	EvictFinished: "evict_finished", EvictFailed: "evict_failed", DeviceUp: "device_up", DeviceDown: "device_down",
	MemoryObserved: "memory_observed", TimerFired: "timer_fired",
	ItemReadied: "item_readied", ItemRejected: "item_rejected", DependantCancelled: "dependant_cancelled",
	ItemFailed: "item_failed", MemberDispatched: "member_dispatched", BatchStarted: "batch_started",
	LoadClaimed: "load_claimed", LoadStarted: "load_started", EvictStarted: "evict_started", ModelHeld: "model_held",
	TimerSet: "timer_set", Note: "note",
}

// String returns the kind's name in the JSON Lines twin of the log.
func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return fmt.Sprintf("kind_%d", uint8(k))
}

// KindByName is the inverse of Kind.String for known kinds.
func KindByName(name string) (Kind, bool) {
	for k, n := range kindNames {
		if n == name && n != "" {
			return Kind(k), true
		}
	}
	return 0, false
}

// PackArrival packs the Value of an ItemArrived event: the item's priority and
// the number of attribute and dependency events that follow it at once.
func PackArrival(priority int32, follow int) int64 {
	return int64(follow)<<32 | int64(uint32(priority))
}

// Priority returns the priority that an ItemArrived event carries.
func (e Event) Priority() int32 { return int32(uint32(e.Value)) }

// Follow returns how many events after an ItemArrived event belong to it.
func (e Event) Follow() int { return int(e.Value >> 32) }

// MaxBatch is the largest batch that a model may declare.
const MaxBatch = 1 << 20

const (
	batchShift  = 43
	batchEstMax = 1<<batchShift - 1
)

// PackBatch packs the Value of a BatchStarted event: the number of members
// (at most MaxBatch) and the estimated duration, of which at most 2⁴³−1 ns
// (2.4 hours) are kept.
func PackBatch(n int, estimate Time) int64 {
	return int64(n)<<batchShift | int64(min(estimate, batchEstMax))
}

// Members returns the number of members of a BatchStarted event.
func (e Event) Members() int { return int(uint64(e.Value) >> batchShift) }

// Estimate returns the duration that was expected when the load or batch
// that e started began.
func (e Event) Estimate() Time {
	if e.Kind == BatchStarted {
		return Time(e.Value & batchEstMax)
	}
	return Time(e.Value)
}

// WorkUnit is the Value of an ItemWork event for an item of ordinary size.
const WorkUnit = 1_000_000
