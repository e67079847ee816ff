package coretest

import (
	"bytes"
	"errors"
	"fmt"

	"pgregory.net/rapid"

	"github.com/vramsim/vramsim/scheduler"
)

// Case is what is driven through a random world.
type Case struct {
	// Config makes a configuration with a policy, evictor, order and estimator
	// of its own, the same each time; an estimator is of kind "last".
	Config func() scheduler.Config
	Scale  Scale
	// Models are those of the first items, nil if nobody has to know them.
	Models []scheduler.ModelID
	// Choose is how the evictor chooses, if the model is to do the same; else
	// the model is told what the core was answered.
	Choose Chooser
	// Drains: once nothing fails any more, everything must end.
	Drains bool
	// Crowds: there may be many priorities.
	Crowds bool
}

// lockstep is the policy of the live run. The model is one decision behind the
// core: before the policy is asked, it carries out what came before, and core
// and model are compared.
type lockstep struct {
	policy   scheduler.Policy
	observer scheduler.Observer
	recorder *recorder // nil: the model asks for itself
	model    *model
	facts    []scheduler.Event
	last     scheduler.Decision
	wrong    string
}

func (l *lockstep) Observe(v *scheduler.View, ev scheduler.Event) {
	if l.observer == nil {
		return
	}
	l.deafen(1)
	l.observer.Observe(v, ev)
	l.deafen(-1)
}

func (l *lockstep) deafen(by int) {
	if l.recorder != nil {
		l.recorder.deaf += by
	}
}

func (l *lockstep) Next(v *scheduler.View) scheduler.Decision {
	l.follow()
	if l.wrong == "" {
		l.wrong = compare(v, l.model)
	}
	if l.wrong == "" {
		l.wrong = l.model.broken()
	}
	if l.wrong != "" {
		return scheduler.Decision{} // Step ends, and the case fails
	}
	l.deafen(1)
	l.last = l.policy.Next(v)
	if again := l.policy.Next(v); again != l.last {
		l.wrong = fmt.Sprintf("asked twice at %d, the policy decides %+v, then %+v", v.Now(), l.last, again)
	}
	l.deafen(-1)
	return l.last
}

// follow lets the model carry out the facts of the step, or the last decision.
func (l *lockstep) follow() {
	if l.facts != nil {
		l.model.facts(l.facts)
		l.facts = nil
	} else {
		l.model.decide(l.last)
	}
	switch {
	case l.wrong != "":
	case l.model.strange != "":
		l.wrong = "the model asked " + l.model.strange + "; the core did not"
	case l.recorder != nil && len(l.recorder.asks) > 0:
		l.wrong = fmt.Sprintf("the core asked for victims, the model did not: %+v", l.recorder.asks)
	}
}

// run is one case on its way.
type run struct {
	t      *rapid.T
	c      *Case
	cfg    scheduler.Config
	core   *scheduler.Core
	lock   *lockstep
	world  *world
	states *scheduler.StateReplay
	log    []scheduler.Event
	audit  *audit
	crowd  int

	live, replayed []byte // encoded states
}

// Run drives the case through a random world: core and model must agree before
// each decision, all numbered invariants hold after each step, a replayed state
// be the same, and in the end the decisions too.
func (c *Case) Run(t *rapid.T, reached *Reach) {
	r := c.start(t)
	w := r.world
	if len(w.keys) > 64 && w.chance("burst", 60) {
		r.step(w.burst())
	}
	for range rapid.IntRange(5, 40).Draw(t, "steps") {
		r.step(w.next(r.lock.model))
	}
	w.quiet = true
	m := r.lock.model
	for i := 0; i < 300 && len(m.items) > len(m.stuck()); i++ {
		r.step(w.next(m))
	}
	if left := len(m.items) - len(m.stuck()); left > 0 && c.Drains && !(c.Choose != nil && m.pinned()) {
		t.Fatalf("%d items never end although nothing fails any more: %s\n%s", left, m.summary(), r.tail(40))
	}
	r.end()
	decisions, err := scheduler.NewDecisionReplay(c.Config())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(decisions.Append(r.log), decisions.Close()); err != nil {
		t.Fatalf("invariants 10 and 11: %v", err)
	}
	reached.count(m, w, r.crowd)
}

func (c *Case) start(t *rapid.T) *run {
	r := &run{t: t, c: c, cfg: c.Config()}
	live := r.cfg
	r.lock = &lockstep{policy: live.Policy}
	r.lock.observer, _ = live.Policy.(scheduler.Observer)
	live.Policy = r.lock
	if c.Choose == nil && live.Evictor != nil {
		r.lock.recorder = &recorder{Evictor: live.Evictor}
		live.Evictor = r.lock.recorder
	}
	r.lock.model = newModel(c.Config(), c.Choose, r.lock.recorder)
	var err error
	if r.core, err = scheduler.New(live); err != nil {
		t.Fatal(err)
	}
	if r.states, err = scheduler.NewStateReplay(c.Config()); err != nil {
		t.Fatal(err)
	}
	r.audit = newAudit(&r.cfg)
	r.world = &world{t: t, cfg: live, scale: c.Scale, models: c.Models, timers: [2]scheduler.Time{scheduler.Never, scheduler.Never}, promised: -1,
		forward: rapid.IntRange(0, 3).Draw(t, "forward") == 0, keys: drawPriorities(t, c.Crowds)}
	for _, d := range live.Devices {
		r.world.down = append(r.world.down, d.Down)
	}
	return r
}

func (r *run) step(facts []scheduler.Event) {
	if len(facts) == 0 {
		return
	}
	l, m := r.lock, r.lock.model
	l.facts = facts
	err := r.core.Step(facts)
	switch {
	case l.wrong != "":
		r.t.Fatal(l.wrong)
	case err != nil:
		r.t.Fatalf("step at %d: %v", r.world.now, err)
	}
	got := r.core.Ready()
	for i := range max(len(got), len(m.events)) {
		if i >= len(got) || i >= len(m.events) || got[i] != m.events[i] {
			r.t.Fatalf("event %d of the step at %d differs:\n core  %+v\n model %+v", i, r.world.now, got, m.events)
		}
	}
	r.crowd = max(r.crowd, m.priorities(0))
	r.check(got)
	r.log = append(r.log, got...)
	r.world.start(got)
	r.core.Advance()
}

// check holds the state after a step, and the events of the step, to the
// numbered invariants; the core has checked its own (Config.Checked).
func (r *run) check(events []scheduler.Event) {
	if diff := counts(r.core, r.lock.model); diff != "" {
		r.t.Fatalf("invariant 1: %s", diff)
	}
	for _, ev := range events {
		if wrong := r.audit.next(ev); wrong != "" {
			r.t.Fatalf("%s, at %d", wrong, ev.At)
		}
	}
	if wrong := r.lock.model.lostWakeup(); wrong != "" {
		r.t.Fatal(wrong)
	}
	if err := r.states.Append(events); err != nil {
		r.t.Fatalf("invariant 10: %v", err)
	}
	r.live, r.replayed = r.core.AppendState(r.live[:0]), r.states.Core.AppendState(r.replayed[:0])
	if !bytes.Equal(r.live, r.replayed) {
		r.t.Fatalf("invariant 10: state replay is in another state after the step at %d", r.world.now)
	}
}

// end says that nothing comes any more, at a point where all has arrived:
// cycles and only cycles are dependency errors.
func (r *run) end() {
	if r.world.arrived <= r.world.promised {
		return
	}
	err := r.core.End()
	var dep *scheduler.DependencyError
	m := r.lock.model
	on := m.stuck()
	switch {
	case len(on) == 0 && err != nil:
		r.t.Fatalf("end: %v", err)
	case len(on) > 0 && (!errors.As(err, &dep) || dep.What != "cyclic"):
		r.t.Fatalf("end: %v, but items %v wait for each other", err, on)
	case len(on) > 0 && (m.items[dep.Item] == nil || !m.items[dep.Item].waitsFor[dep.On] || !m.reaches(dep.On, dep.Item)):
		r.t.Fatalf("end: %v is no edge of a cycle", err)
	}
}

// tail tells the last events, for messages.
func (r *run) tail(n int) string {
	text := ""
	for _, ev := range r.log[max(0, len(r.log)-n):] {
		text += fmt.Sprintf("%d %v id %d value %d model %d device %d\n", ev.At, ev.Kind, ev.ID, ev.Value, ev.Model, ev.Device)
	}
	return text
}
