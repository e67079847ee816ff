package scheduler

import (
	"fmt"
	"strings"
)

// TooBigError says that a model can never run: its weights and the activation
// memory of one item exceed every device's budget.
type TooBigError struct {
	Model  string
	Need   Bytes
	Budget Bytes // of the largest device
}

func (e *TooBigError) Error() string {
	return fmt.Sprintf("model %q needs %d bytes (weights and one item), the largest budget is %d bytes", e.Model, e.Need, e.Budget)
}

// Rule is what an illegal decision broke.
type Rule uint8

// The rules of decisions.
const (
	RuleKnown     Rule = iota + 1 // device, model, item and kind exist
	RuleUp                        // the device is up
	RuleSlot                      // a slot is free
	RuleResident                  // only resident models run, are evicted or held
	RuleBatchSize                 // 1 ≤ n ≤ the model's largest batch
	RuleReady                     // n ≤ ready items; only blocked or ready items are rejected
	RuleBudget                    // reserved ≤ budget
	RuleLink                      // one load at a time per link
	RuleAbsent                    // only absent models are loaded
	RuleVictim                    // the evictor offers enough evictable models, and only those
	RuleBusy                      // busy models are not evicted
	RuleHeld                      // held models are not evicted
	RuleWakeTime                  // a wake-up lies after now and before the pending timer
	RuleHoldTime                  // a hold ends after now
)

var ruleTexts = [...]string{
	RuleKnown: "device, model, item and kind must exist", RuleUp: "the device must be up", RuleSlot: "a slot must be free",
	RuleResident: "the model must be resident", RuleBatchSize: "a batch has 1 to the model's largest number of items",
	RuleReady: "the items must be in the queue", RuleBudget: "reserved bytes must stay within the budget",
	RuleLink: "one load at a time per link", RuleAbsent: "only absent models are loaded; joining a load means waiting in its queue",
	RuleVictim: "the evictor must offer enough evictable models", RuleBusy: "busy models are not evicted",
	RuleHeld: "held models are not evicted", RuleWakeTime: "a wake-up lies after now and before the pending timer",
	RuleHoldTime: "a hold ends after now",
}

// String says the rule in words.
func (r Rule) String() string {
	if int(r) < len(ruleTexts) && ruleTexts[r] != "" {
		return ruleTexts[r]
	}
	return fmt.Sprintf("rule %d", uint8(r))
}

// IllegalDecision is a policy's decision that broke a rule. The core's state
// is as it was before.
type IllegalDecision struct {
	At       Time
	Decision Decision
	Rule     Rule
}

func (e *IllegalDecision) Error() string {
	return fmt.Sprintf("illegal decision at %v: %v: %v", e.At, e.Decision, e.Rule)
}

// String prints the decision as it would be written in a policy.
func (d Decision) String() string {
	switch d.Kind {
	case DecideIdle:
		return "idle"
	case DecideRun:
		return fmt.Sprintf("run(device %d, model %d, %d items)", d.Device, d.Model, d.N)
	case DecideLoad:
		return fmt.Sprintf("load(device %d, model %d)", d.Device, d.Model)
	case DecideEvict:
		return fmt.Sprintf("evict(device %d, model %d)", d.Device, d.Model)
	case DecideWake:
		return fmt.Sprintf("wake(%v)", d.At)
	case DecideReject:
		return fmt.Sprintf("reject(item %d, %d)", d.Item, int64(d.At))
	case DecideHold:
		return fmt.Sprintf("hold(device %d, model %d, until %v)", d.Device, d.Model, d.At)
	}
	return fmt.Sprintf("decision %d", d.Kind)
}

// FactError is a fact or logged decision that contradicts the state: a defect
// of the world or a damaged log.
type FactError struct {
	Event Event
	Seq   int64 // its sequence number
	What  string
}

func (e *FactError) Error() string {
	return fmt.Sprintf("event %d (%v at %v, id %d, model %d, device %d): %s", e.Seq, e.Event.Kind, e.Event.At, e.Event.ID, e.Event.Model, e.Event.Device, e.What)
}

// DependencyError is a dependency that can never be resolved.
type DependencyError struct {
	Item ItemID
	On   ItemID
	What string // "unknown", "self" or "cyclic"
}

func (e *DependencyError) Error() string {
	return fmt.Sprintf("item %d depends on item %d: %s dependency", e.Item, e.On, e.What)
}

// LivelockError says that a policy kept deciding at one instant without
// anything arriving, being dispatched or ending.
type LivelockError struct {
	At    Time
	Cycle []Decision // the last decisions
}

func (e *LivelockError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "livelock at %v; the last decisions were:", e.At)
	for _, d := range e.Cycle {
		fmt.Fprintf(&b, "\n  %v", d)
	}
	return b.String()
}

// LostWakeupError says that the run would wait for ever although Model could
// run or load on Device (invariant 9).
type LostWakeupError struct {
	At     Time
	Ready  int
	Device DeviceID
	Model  ModelID
}

func (e *LostWakeupError) Error() string {
	return fmt.Sprintf("lost wake-up at %v: %d items are ready, nothing is in flight, no timer is set, and yet model %d could run or load on device %d", e.At, e.Ready, e.Model, e.Device)
}

// InvariantError says which numbered invariant of the package does not hold.
type InvariantError struct {
	Number int
	What   string
}

func (e *InvariantError) Error() string { return fmt.Sprintf("invariant %d: %s", e.Number, e.What) }
