package scheduler_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/scheduler"
)

// rig is a core under test with a policy that does what it is told once.
type rig struct {
	t     *testing.T
	core  *scheduler.Core
	next  []scheduler.Decision
	asked [32]byte // the state when it last decided
	seen  []scheduler.Event
}

func (r *rig) Next(*scheduler.View) scheduler.Decision {
	if len(r.next) == 0 {
		return scheduler.Decision{}
	}
	d := r.next[0]
	r.next, r.asked = r.next[1:], r.core.StateDigest()
	return d
}

// newRig returns a core for two models of 4 bytes with one byte of batch
// memory and one device of 8 bytes, unless change says otherwise.
func newRig(t *testing.T, change func(*scheduler.Config)) *rig {
	t.Helper()
	r := &rig{t: t}
	cfg := scheduler.Config{Policy: r, Checked: true,
		Models: []scheduler.Model{
			{Name: "a", Bytes: 4, Batch: scheduler.BatchCost{Max: 2, Memory: 1}},
			{Name: "b", Bytes: 4, Batch: scheduler.BatchCost{Max: 2, Memory: 1}},
			{Name: "c", Bytes: 7, Batch: scheduler.BatchCost{Max: 2, Memory: 1}}},
		Devices: []scheduler.Device{{Budget: 8, Slots: 1}, {Budget: 8, Slots: 1, Down: true}, {Budget: 7, Slots: 1}}}
	if change != nil {
		change(&cfg)
	}
	var err error
	if r.core, err = scheduler.New(cfg); err != nil {
		t.Fatal(err)
	}
	return r
}

func arrived(id int64, m scheduler.ModelID) scheduler.Event {
	return scheduler.Event{Kind: scheduler.ItemArrived, ID: id, Model: m, Device: scheduler.NoDevice}
}

// dependent returns an arrival with its dependencies.
func dependent(id int64, m scheduler.ModelID, on ...int64) []scheduler.Event {
	evs := []scheduler.Event{arrived(id, m)}
	evs[0].Value = scheduler.PackArrival(0, len(on))
	for _, other := range on {
		evs = append(evs, scheduler.Event{Kind: scheduler.ItemDependsOn, ID: id, Value: other, Model: scheduler.NoModel, Device: scheduler.NoDevice})
	}
	return evs
}

// tick is a fact that changes nothing.
func tick() scheduler.Event {
	return scheduler.Event{Kind: scheduler.DeviceUp, Model: scheduler.NoModel}
}

// step gives facts at a time, lets the policy decide, and ends what began.
func (r *rig) step(at scheduler.Time, facts []scheduler.Event, decisions ...scheduler.Decision) error {
	r.next = decisions
	for i := range facts {
		facts[i].At = at
	}
	err := r.core.Step(facts)
	r.seen = append(r.seen[:0], r.core.Ready()...)
	r.core.Advance()
	return err
}

func (r *rig) must(at scheduler.Time, facts []scheduler.Event, decisions ...scheduler.Decision) {
	r.t.Helper()
	if err := r.step(at, facts, decisions...); err != nil {
		r.t.Fatal(err)
	}
}

// end makes the fact that ends the last effect of a kind that was begun.
func (r *rig) end(begun, how scheduler.Kind) []scheduler.Event {
	r.t.Helper()
	for i := len(r.seen) - 1; i >= 0; i-- {
		if ev := r.seen[i]; ev.Kind == begun {
			return []scheduler.Event{{Kind: how, ID: ev.ID, Model: ev.Model, Device: ev.Device}}
		}
	}
	r.t.Fatalf("no %v among %v", begun, r.seen)
	return nil
}

// resident loads a model on device 0.
func (r *rig) resident(m scheduler.ModelID) {
	r.t.Helper()
	now := r.core.Now()
	r.must(now+1, []scheduler.Event{tick()}, scheduler.Load(0, m))
	r.must(now+2, r.end(scheduler.LoadStarted, scheduler.LoadFinished))
}

// TestIllegalDecisions provokes each rule: the error names it, nothing is
// logged and the state stays as it was.
func TestIllegalDecisions(t *testing.T) {
	idle := func(*rig) {}
	item := func(r *rig) { r.must(1, []scheduler.Event{arrived(0, 0), arrived(1, 0), arrived(2, 0)}) }
	ready := func(r *rig) { item(r); r.resident(0) }
	running := func(r *rig) {
		ready(r)
		r.must(5, []scheduler.Event{tick()}, scheduler.Run(0, 0, 1))
	}
	loading := func(r *rig) { r.must(1, []scheduler.Event{tick()}, scheduler.Load(0, 0)) }
	waking := func(r *rig) { r.must(1, []scheduler.Event{tick()}, scheduler.Wake(20)) }
	held := func(r *rig) {
		r.resident(0)
		r.must(5, []scheduler.Event{tick()}, scheduler.Hold(0, 0, 100))
	}
	claimed := func(r *rig) {
		r.resident(0)
		r.must(5, []scheduler.Event{tick()}, scheduler.Load(0, 2))
	}
	for _, c := range []struct {
		name    string
		before  func(*rig)
		d       scheduler.Decision
		rule    scheduler.Rule
		evictor scheduler.Evictor
	}{
		{"unknown device", idle, scheduler.Load(3, 0), scheduler.RuleKnown, nil},
		{"negative device", idle, scheduler.Load(-1, 0), scheduler.RuleKnown, nil},
		{"unknown model", idle, scheduler.Run(0, 3, 1), scheduler.RuleKnown, nil},
		{"no model", idle, scheduler.Evict(0, scheduler.NoModel), scheduler.RuleKnown, nil},
		{"unknown item", item, scheduler.Reject(3, 0), scheduler.RuleKnown, nil},
		{"negative item", item, scheduler.Reject(-1, 0), scheduler.RuleKnown, nil},
		{"unknown decision", idle, scheduler.Decision{Kind: 99}, scheduler.RuleKnown, nil},
		{"device that is down", idle, scheduler.Load(1, 0), scheduler.RuleUp, nil},
		{"taken slot", running, scheduler.Run(0, 0, 1), scheduler.RuleSlot, nil},
		{"run of an absent model", item, scheduler.Run(0, 0, 1), scheduler.RuleResident, nil},
		{"run of a loading model", func(r *rig) { item(r); loading(r) }, scheduler.Run(0, 0, 1), scheduler.RuleResident, nil},
		{"eviction of an absent model", idle, scheduler.Evict(0, 0), scheduler.RuleResident, nil},
		{"hold of an absent model", idle, scheduler.Hold(0, 0, 9), scheduler.RuleResident, nil},
		{"eviction of a loading model", loading, scheduler.Evict(0, 0), scheduler.RuleResident, nil},
		{"eviction of an evicting model", claimed, scheduler.Evict(0, 0), scheduler.RuleResident, inTurn{0}},
		{"eviction of a claimed model", claimed, scheduler.Evict(0, 2), scheduler.RuleResident, inTurn{0}},
		{"empty batch", ready, scheduler.Run(0, 0, 0), scheduler.RuleBatchSize, nil},
		{"negative batch", ready, scheduler.Run(0, 0, -1), scheduler.RuleBatchSize, nil},
		{"batch too large", ready, scheduler.Run(0, 0, 3), scheduler.RuleBatchSize, nil},
		{"batch of more than is ready", func(r *rig) { r.must(1, []scheduler.Event{arrived(0, 0)}); r.resident(0) }, scheduler.Run(0, 0, 2), scheduler.RuleReady, nil},
		{"rejection of a running item", running, scheduler.Reject(0, 0), scheduler.RuleReady, nil},
		{"batch beyond the budget", func(r *rig) { ready(r); r.resident(1) }, scheduler.Run(0, 0, 1), scheduler.RuleBudget, nil},
		{"batch one item beyond the budget", func(r *rig) {
			ready(r)
			r.must(9, []scheduler.Event{{Kind: scheduler.MemoryObserved, Model: scheduler.NoModel, Value: 3}})
		}, scheduler.Run(0, 0, 2), scheduler.RuleBudget, nil},
		{"load that can never run there", idle, scheduler.Load(2, 2), scheduler.RuleBudget, inTurn{0, 1}},
		{"load on a taken link", loading, scheduler.Load(0, 1), scheduler.RuleLink, nil},
		{"load beside a claim", claimed, scheduler.Load(0, 1), scheduler.RuleLink, inTurn{0}},
		{"second load", loading, scheduler.Load(0, 0), scheduler.RuleAbsent, nil},
		{"load of a claimed model", claimed, scheduler.Load(0, 2), scheduler.RuleAbsent, inTurn{0}},
		{"load of a resident model", ready, scheduler.Load(0, 0), scheduler.RuleAbsent, nil},
		{"load without an evictor", ready, scheduler.Load(0, 2), scheduler.RuleVictim, nil},
		{"load with too few victims", ready, scheduler.Load(0, 2), scheduler.RuleVictim, inTurn{1}},
		{"load with a busy victim", running, scheduler.Load(0, 2), scheduler.RuleVictim, always(0)},
		{"load with a held victim", held, scheduler.Load(0, 2), scheduler.RuleVictim, always(0)},
		{"load with an unknown victim", ready, scheduler.Load(0, 2), scheduler.RuleVictim, always(7)},
		{"load with an absent victim", ready, scheduler.Load(0, 2), scheduler.RuleVictim, always(1)},
		{"eviction of a busy model", running, scheduler.Evict(0, 0), scheduler.RuleBusy, nil},
		{"eviction of a held model", held, scheduler.Evict(0, 0), scheduler.RuleHeld, nil},
		{"wake-up now", waking, scheduler.Wake(1), scheduler.RuleWakeTime, nil},
		{"wake-up in the past", waking, scheduler.Wake(0), scheduler.RuleWakeTime, nil},
		{"wake-up at the pending one", waking, scheduler.Wake(20), scheduler.RuleWakeTime, nil},
		{"wake-up after the pending one", waking, scheduler.Wake(21), scheduler.RuleWakeTime, nil},
		{"wake-up never", idle, scheduler.Wake(scheduler.Never), scheduler.RuleWakeTime, nil},
		{"hold until now", ready, scheduler.Hold(0, 0, 3), scheduler.RuleHoldTime, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, func(cfg *scheduler.Config) { cfg.Evictor = c.evictor })
			c.before(r)
			r.must(r.core.Now(), []scheduler.Event{tick()})
			r.provoke(c.d, c.rule)
		})
	}
}

// always offers one model, whatever it is.
type always scheduler.ModelID

func (e always) Victim(*scheduler.View, scheduler.DeviceID, scheduler.Bytes, scheduler.ModelID) (scheduler.ModelID, bool) {
	return scheduler.ModelID(e), true
}

// provoke decides d, which must break a rule.
func (r *rig) provoke(d scheduler.Decision, rule scheduler.Rule) {
	t := r.t
	t.Helper()
	d = d.Because(5, 5)
	err := r.step(r.core.Now(), []scheduler.Event{tick()}, d)
	var illegal *scheduler.IllegalDecision
	switch {
	case !errors.As(err, &illegal) || illegal.Rule != rule:
		t.Fatalf("%v: got %v, want the rule %q", d, err, rule)
	case illegal.Decision != d:
		t.Errorf("the error names %v instead of %v", illegal.Decision, d)
	case r.asked != r.core.StateDigest():
		t.Error("the state has changed")
	case len(r.seen) != 1:
		t.Errorf("logged %v beside the fact", r.seen)
	case !strings.Contains(err.Error(), rule.String()) || !strings.Contains(err.Error(), d.String()):
		t.Errorf("%q names neither decision nor rule", err)
	}
	if again := r.step(99, []scheduler.Event{tick()}); again != err {
		t.Errorf("a spent core returns %v", again)
	}
	if err := r.core.End(); err != illegal {
		t.Errorf("a spent core ends with %v", err)
	}
}

func TestEveryRuleHasText(t *testing.T) {
	for rule := scheduler.RuleKnown; rule <= scheduler.RuleHoldTime; rule++ {
		if strings.HasPrefix(rule.String(), "rule ") {
			t.Errorf("rule %d has no text", rule)
		}
	}
	if got := scheduler.Rule(200).String(); got != "rule 200" {
		t.Errorf("an unknown rule prints as %q", got)
	}
}

// TestFirstIsTheCores: which fact begins a step says the core, whatever flag a
// fact comes with.
func TestFirstIsTheCores(t *testing.T) {
	r := newRig(t, nil)
	facts := []scheduler.Event{arrived(0, 0), arrived(1, 0)}
	facts[1].Flags = scheduler.FlagFirst
	if err := r.core.Step(facts); err != nil {
		t.Fatal(err)
	}
	if out := r.core.Ready(); len(out) != 2 || !out[0].First() || out[1].First() {
		t.Errorf("%+v", out)
	}
}
