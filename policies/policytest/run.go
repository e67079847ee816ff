package policytest

import (
	"context"
	"errors"
	"fmt"
	"path"
	"runtime/debug"
	"strings"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/scheduler"
)

// Batch is a batch of a run.
type Batch struct {
	At, End scheduler.Time // End is Never if the run was cut or the device lost
	Device  scheduler.DeviceID
	Model   scheduler.ModelID
	Items   []scheduler.ItemID
	Fill    bool // it filled the time until another model was there
}

// Outcome is what a policy made of a world.
type Outcome struct {
	Events                  []scheduler.Event
	Loads, Evicts, Switches int
	Batches                 []Batch        // in the order of their start
	End                     scheduler.Time // of the last batch
	Rejected, Failed        []scheduler.ItemID
	Done                    map[scheduler.ItemID]scheduler.Time
	Counts                  scheduler.Counts
	Built                   policies.Built
	// Impure says where the policy, asked twice, decided differently; "" if it
	// did not.
	Impure string
}

// ErrEndless is returned for a run that goes on for so long that it will not end.
var ErrEndless = errors.New("the run does not end")

// limit is how many events a run of w may have: some hundred for each item, and
// more if it goes on until a horizon.
func (w *World) limit() int {
	if w.Horizon > 0 {
		return 100_000
	}
	return 2000 + 300*len(w.Items)
}

// PanicError is a panic of a policy, or of the core below it.
type PanicError struct {
	Value any
	Stack string
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v%s", e.Value, e.place()) }

// place is where in the source it was, " at file.go:12": the first place below
// the last panic that is not of the runtime.
func (e *PanicError) place() string {
	lines := strings.Split(e.Stack, "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if !strings.HasPrefix(lines[i], "panic(") {
			continue
		}
		for _, line := range lines[i+2:] {
			file, _, _ := strings.Cut(strings.TrimSpace(line), " ")
			if strings.HasPrefix(line, "\t") && !strings.Contains(file, "/runtime/") {
				return " at " + path.Base(file)
			}
		}
	}
	return ""
}

// Run runs w under a policy of the set with every numbered invariant checked
// after each step, and then both replays. The error is that of package
// scheduler, ErrEndless, a *PanicError or a *policies.SpecError; there is an
// outcome besides, up to where the run came.
func (w *World) Run(set *policies.Set, spec policies.Spec) (*Outcome, error) {
	o, err := w.drive(set, spec, true)
	if err != nil {
		return o, err
	}
	return o, w.replay(set, spec, o.Events)
}

// Config returns what w is run with under a fresh policy. A clairvoyant one
// has been told the arrivals.
func (w *World) Config(set *policies.Set, spec policies.Spec) (scheduler.Config, policies.Built, error) {
	cfg := scheduler.Config{Models: w.Models, Devices: w.Devices, HostMemory: w.HostMemory}
	built, err := set.New(spec, policies.Env{Seed: w.Seed, Models: w.Models, Devices: w.Devices, HostMemory: w.HostMemory, Horizon: w.Horizon})
	if err != nil {
		return cfg, built, err
	}
	if oracle, ok := built.Policy.(scheduler.Clairvoyant); ok {
		oracle.Foresee(w.Arrivals())
	}
	cfg.Policy, cfg.Evictor, cfg.Order, cfg.Waits = built.Policy, built.Evictor, built.Order, built.Waits
	return cfg, built, nil
}

// drive runs w; checked looks at every invariant and asks the policy twice for
// each decision.
func (w *World) drive(set *policies.Set, spec policies.Spec, checked bool) (o *Outcome, err error) {
	o = &Outcome{}
	defer caught(&err)
	cfg, built, err := w.Config(set, spec)
	if err != nil {
		return o, err
	}
	o.Built = built
	if cfg.Checked = checked; checked {
		cfg.Policy = newTwice(built.Policy, &o.Impure)
	}
	core, err := scheduler.New(cfg)
	if err != nil {
		return o, err
	}
	defer func() { // also after a panic
		o.read()
		o.Counts = core.Counts()
	}()
	return o, scheduler.Drive(context.Background(), core, w.Machine(), &kept{&o.Events, w.limit()})
}

func (w *World) replay(set *policies.Set, spec policies.Spec, events []scheduler.Event) (err error) {
	defer caught(&err)
	decisions, _, err := w.Config(set, spec)
	if err != nil {
		return err
	}
	states, _, err := w.Config(set, spec)
	if err != nil {
		return err
	}
	return scheduler.Replay(decisions, states, events)
}

// caught turns a panic into an error.
func caught(err *error) {
	if v := recover(); v != nil {
		*err = &PanicError{Value: v, Stack: string(debug.Stack())}
	}
}

// kept is a Sink that keeps everything, within reason.
type kept struct {
	events *[]scheduler.Event
	limit  int
}

func (k *kept) Append(events []scheduler.Event) error {
	*k.events = append(*k.events, events...)
	if len(*k.events) > k.limit {
		return ErrEndless
	}
	return nil
}

// twice asks a policy two times for each decision: asking changes nothing.
type twice struct {
	policy   scheduler.Policy
	decider  scheduler.Decider  // the policy, if it fills decisions in
	observer scheduler.Observer // the policy, if it has state
	observes *scheduler.KindSet // what it wants to see; nil: everything
	impure   *string
}

func newTwice(p scheduler.Policy, impure *string) *twice {
	t := &twice{policy: p, impure: impure}
	t.decider, _ = p.(scheduler.Decider)
	t.observer, _ = p.(scheduler.Observer)
	if s, ok := p.(scheduler.Selective); ok {
		kinds := s.Observes()
		t.observes = &kinds
	}
	return t
}

// Next asks by Next and, of a Decider, by Decide, as the core does.
func (t *twice) Next(v *scheduler.View) scheduler.Decision {
	first := t.policy.Next(v)
	second := scheduler.Decision{}
	if t.decider != nil {
		t.decider.Decide(v, &second)
	} else {
		second = t.policy.Next(v)
	}
	if second != first && *t.impure == "" {
		*t.impure = fmt.Sprintf("asked twice at %v, it decides %v, then %v", v.Now(), first, second)
	}
	return second
}

func (t *twice) Observe(v *scheduler.View, ev scheduler.Event) {
	if t.observer != nil && (t.observes == nil || t.observes.Has(ev.Kind)) {
		t.observer.Observe(v, ev)
	}
}

// read makes out what happened.
func (o *Outcome) read() {
	last := map[scheduler.DeviceID]scheduler.ModelID{}
	running := map[int64]int{}
	o.Done = map[scheduler.ItemID]scheduler.Time{}
	var members []scheduler.ItemID
	fill := false
	for seq, ev := range o.Events {
		switch ev.Kind {
		case scheduler.Note:
			fill = ev.ID == scheduler.ReasonFill
		case scheduler.MemberDispatched:
			members = append(members, ev.Item())
		case scheduler.BatchStarted:
			if m, ok := last[ev.Device]; ok && m != ev.Model {
				o.Switches++
			}
			last[ev.Device] = ev.Model
			running[int64(seq)] = len(o.Batches)
			o.Batches = append(o.Batches, Batch{At: ev.At, End: scheduler.Never, Device: ev.Device, Model: ev.Model, Items: members, Fill: fill})
			members, fill = nil, false
		case scheduler.BatchFinished:
			o.End = ev.At
			b := &o.Batches[running[ev.ID]]
			b.End = ev.At
			for _, id := range b.Items {
				o.Done[id] = ev.At
			}
		case scheduler.BatchFailed:
			o.Batches[running[ev.ID]].End = ev.At
		case scheduler.LoadStarted:
			o.Loads++
		case scheduler.EvictStarted:
			o.Evicts++
		case scheduler.ItemRejected:
			o.Rejected = append(o.Rejected, ev.Item())
		case scheduler.ItemFailed:
			o.Failed = append(o.Failed, ev.Item())
		}
	}
}

// Dump lists the last events, for messages.
func (o *Outcome) Dump() string {
	s := ""
	for i, ev := range o.Events[max(0, len(o.Events)-60):] {
		s += fmt.Sprintf("%4d %v %v id %d value %d model %d device %d\n", i, ev.At, ev.Kind, ev.ID, ev.Value, ev.Model, ev.Device)
	}
	return s
}
