package scheduler

// Policy chooses what to do next. It is asked again and again at one instant
// until it idles, and returns one decision at a time. Next must be a pure
// function of the view and of what the policy observed.
type Policy interface {
	Next(v *View) Decision
}

// Decider is implemented by policies that can fill in the decision, zero
// before, where it is wanted; the core then calls Decide instead of Next. A
// Decision is too wide for registers, and copying it up level by level costs
// more than a simple rule does.
type Decider interface {
	Decide(v *View, d *Decision)
}

// Observer is implemented by policies with state. Observe is called after each
// event has been applied; it must not keep v.
type Observer interface {
	Observe(v *View, ev Event)
}

// Selective is implemented by observers that need to see some kinds of events
// only; they are shown no others.
type Selective interface {
	Observes() KindSet
}

// Evictor chooses victims for a load that lacks need bytes on device d: a
// model that is resident, idle, unheld and not yet promised (v.Evictable), or
// false if it offers none. It is asked once a victim, also speculatively:
// it must change nothing.
type Evictor interface {
	Victim(v *View, d DeviceID, need Bytes, incoming ModelID) (ModelID, bool)
}

// Clairvoyant policies know the future. They are labelled in every table and
// refused on hardware and with closed loops.
type Clairvoyant interface {
	// Foresee is called once before the run with every arrival to come.
	Foresee(arrivals []Event)
}

// DecisionKind says what a policy wants.
type DecisionKind uint8

// Decisions of a policy.
const (
	DecideIdle DecisionKind = iota
	DecideRun
	DecideLoad
	DecideEvict
	DecideWake
	DecideReject
	DecideHold
)

// Decision is one thing a policy wants done; the zero value idles. Use the
// constructors Run, Load, Evict, Wake, Reject and Hold.
type Decision struct {
	Kind   DecisionKind
	Device DeviceID
	Model  ModelID
	N      int
	Item   ItemID
	At     Time
	// Why is logged as a Note before the decision if Code is not 0.
	Why Reason
}

// Reason is why a policy decided so: a code of its own and an integer.
type Reason struct {
	Code  int64
	Value int64
}

// Run starts the first n items of m's queue as one batch on d.
func Run(d DeviceID, m ModelID, n int) Decision {
	return Decision{Kind: DecideRun, Device: d, Model: m, N: n}
}

// Load loads m on d; if d lacks headroom the evictor chooses who leaves.
func Load(d DeviceID, m ModelID) Decision { return Decision{Kind: DecideLoad, Device: d, Model: m} }

// Evict makes m leave d.
func Evict(d DeviceID, m ModelID) Decision { return Decision{Kind: DecideEvict, Device: d, Model: m} }

// Wake asks to be asked again at the given time, after now and before the
// pending timer.
func Wake(at Time) Decision { return Decision{Kind: DecideWake, At: at} }

// Reject refuses a blocked or ready item; why is logged.
func Reject(item ItemID, why int64) Decision {
	return Decision{Kind: DecideReject, Item: item, At: Time(why)}
}

// Hold keeps m on d from being evicted before until; Never pins it.
func Hold(d DeviceID, m ModelID, until Time) Decision {
	return Decision{Kind: DecideHold, Device: d, Model: m, At: until}
}

// Because returns the decision with a reason for the log.
func (d Decision) Because(code, value int64) Decision {
	d.Why = Reason{Code: code, Value: value}
	return d
}

// Reason codes. Policies of one's own number theirs from ReasonUser.
const (
	ReasonOverBudget = 1 // the ledger refused a run the rule wanted; value: bytes missing
	ReasonUrgent     = 2 // a forced visit; value: how long the oldest item had waited, ns
	ReasonFill       = 3 // a batch while another model is on its way; value: that model
	ReasonPrefetch   = 4 // a load ahead of need; value: 0
	ReasonUser       = 1000
)
