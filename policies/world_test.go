package policies_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/scheduler"
)

const sec = scheduler.Second

// arrival is an item of a scenario; at and the rest are in what units they say.
type arrival struct {
	at       scheduler.Time
	model    scheduler.ModelID
	priority int32
	deadline scheduler.Time // 0: none
	work     int64          // 0: ordinary
	tenant   int64          // 0: none
	after    []int          // positions of earlier arrivals
}

// scenario is a small run whose durations are the declared ones.
type scenario struct {
	models  []scheduler.Model
	devices []scheduler.Device
	items   []arrival
	spec    policies.Spec
	env     policies.Env // seed, replicate
	horizon scheduler.Time
	failed  func(start scheduler.Event) bool // which loads and batches fail
	policy  func() scheduler.Policy          // instead of spec
	facts   []scheduler.Event                // besides: devices lost, memory observed
	truth   []scheduler.Model                // durations other than the declared
	watch   func(*scheduler.View, scheduler.Decision)
}

// model returns a model of gb gigabytes that loads in load seconds and takes
// base + n·per milliseconds for n of at most max items.
func model(name string, gb float64, load scheduler.Time, max int, base, per scheduler.Time) scheduler.Model {
	return scheduler.Model{Name: name, Bytes: scheduler.Bytes(gb * 1e9), Load: [scheduler.Tiers]scheduler.Time{load, load},
		Batch: scheduler.BatchCost{Max: max, Base: base, PerItem: per}}
}

// gpu returns a device of gb gigabytes, all of them its budget.
func gpu(gb float64) []scheduler.Device {
	return []scheduler.Device{{Name: "gpu0", Memory: scheduler.Bytes(gb * 1e9), Budget: scheduler.Bytes(gb * 1e9), Slots: 1}}
}

// burst returns one item of each model named by a letter, all at t.
func burst(t scheduler.Time, letters string) []arrival {
	var items []arrival
	for _, l := range letters {
		items = append(items, arrival{at: t, model: scheduler.ModelID(l - 'A')})
	}
	return items
}

// world carries effects out in virtual time.
type world struct {
	s        *scenario
	next     int
	future   []scheduler.Event
	timers   [2]scheduler.Time
	members  []scheduler.ItemID
	work     int64
	facts    []scheduler.Event
	arrivals []scheduler.Event // every one, for Foresee
	planned  []scheduler.Event
}

func newWorld(s *scenario) *world {
	w := &world{s: s, timers: [2]scheduler.Time{scheduler.Never, scheduler.Never}, planned: slices.Clone(s.facts)}
	for i := range s.items {
		w.arrivals = append(w.arrivals, s.arrival(i)...)
	}
	return w
}

func (s *scenario) arrival(i int) []scheduler.Event {
	it := s.items[i]
	var follow []scheduler.Event
	attribute := func(k scheduler.Kind, v int64) {
		follow = append(follow, scheduler.Event{At: it.at, Kind: k, ID: int64(i), Value: v, Model: it.model, Device: scheduler.NoDevice})
	}
	if it.deadline > 0 {
		attribute(scheduler.ItemDeadline, int64(it.deadline))
	}
	if it.work > 0 {
		attribute(scheduler.ItemWork, it.work)
	}
	if it.tenant > 0 {
		attribute(scheduler.ItemTenant, it.tenant)
	}
	for _, on := range it.after {
		attribute(scheduler.ItemDependsOn, int64(on))
	}
	first := scheduler.Event{At: it.at, Kind: scheduler.ItemArrived, ID: int64(i), Model: it.model, Device: scheduler.NoDevice,
		Value: scheduler.PackArrival(it.priority, len(follow))}
	return append([]scheduler.Event{first}, follow...)
}

func (w *world) Next() ([]scheduler.Event, error) {
	at := min(w.timers[0], w.timers[1])
	for _, ev := range w.future {
		at = min(at, ev.At)
	}
	if len(w.planned) > 0 {
		at = min(at, w.planned[0].At)
	}
	if w.next < len(w.s.items) {
		at = min(at, w.s.items[w.next].at)
	}
	if at == scheduler.Never {
		return nil, io.EOF
	}
	if w.s.horizon > 0 && at > w.s.horizon {
		return nil, scheduler.ErrHorizon
	}
	w.facts = w.facts[:0]
	w.future = slices.DeleteFunc(w.future, func(ev scheduler.Event) bool {
		if ev.At == at {
			w.facts = append(w.facts, ev)
		}
		return ev.At == at
	})
	for len(w.planned) > 0 && w.planned[0].At == at {
		w.plan()
	}
	slices.SortStableFunc(w.facts, func(a, b scheduler.Event) int {
		return cmp.Or(cmp.Compare(a.Kind.Class(), b.Kind.Class()), cmp.Compare(a.ID, b.ID))
	})
	for ; w.next < len(w.s.items) && w.s.items[w.next].at == at; w.next++ {
		w.facts = append(w.facts, w.s.arrival(w.next)...)
	}
	for id := range w.timers {
		if w.timers[id] == at {
			w.timers[id] = scheduler.Never
			w.facts = append(w.facts, scheduler.Event{At: at, Kind: scheduler.TimerFired, ID: int64(id), Model: scheduler.NoModel, Device: scheduler.NoDevice})
		}
	}
	return w.facts, nil
}

// plan makes the next planned fact happen; a lost device takes its effects along.
func (w *world) plan() {
	ev := w.planned[0]
	w.planned = w.planned[1:]
	if ev.Kind == scheduler.DeviceDown {
		lost := func(f scheduler.Event) bool { return f.Device == ev.Device && f.Kind.Class() <= 2 }
		w.future = slices.DeleteFunc(w.future, lost)
		w.facts = slices.DeleteFunc(w.facts, lost)
	}
	w.facts = append(w.facts, ev)
}

func (w *world) Start(ev scheduler.Event) error {
	m := &w.s.models[max(ev.Model, 0)]
	if w.s.truth != nil {
		m = &w.s.truth[max(ev.Model, 0)]
	}
	end := scheduler.Event{ID: ev.ID, Model: ev.Model, Device: ev.Device}
	switch ev.Kind {
	case scheduler.MemberDispatched:
		w.members = append(w.members, ev.Item())
		work := w.s.items[ev.ID].work
		if work == 0 {
			work = scheduler.WorkUnit
		}
		w.work += work
		return nil
	case scheduler.TimerSet:
		w.timers[ev.ID] = scheduler.Time(ev.Value)
		return nil
	case scheduler.BatchStarted:
		end.At, end.Kind = ev.At+m.Batch.Time(len(w.members), w.work), scheduler.BatchFinished
		w.members, w.work = w.members[:0], 0
	case scheduler.LoadStarted:
		end.At, end.Kind = ev.At+m.Load[ev.Tier()], scheduler.LoadFinished
	case scheduler.EvictStarted:
		end.At, end.Kind = ev.At+m.Unload, scheduler.EvictFinished
	default:
		return fmt.Errorf("%v is no effect", ev.Kind)
	}
	if end.Kind != scheduler.EvictFinished && w.s.failed != nil && w.s.failed(ev) {
		end.Kind++ // the failure follows the success
	}
	w.future = append(w.future, end)
	return nil
}

// log is a Sink that keeps everything.
type log []scheduler.Event

func (l *log) Append(events []scheduler.Event) error {
	*l = append(*l, events...)
	if len(*l) > 100_000 {
		return errors.New("the run does not end")
	}
	return nil
}

// config builds a fresh policy for a run of s.
func (s *scenario) config(t testing.TB) (scheduler.Config, policies.Built) {
	t.Helper()
	cfg := scheduler.Config{Models: s.models, Devices: s.devices, Checked: true}
	if s.policy != nil {
		cfg.Policy = s.policy()
		return cfg, policies.Built{}
	}
	env := s.env
	env.Models, env.Devices, env.Horizon = s.models, s.devices, s.horizon
	b, err := policies.Builtin().New(s.spec, env)
	if err != nil {
		t.Fatal(err)
	}
	if oracle, ok := b.Policy.(scheduler.Clairvoyant); ok {
		oracle.Foresee(newWorld(s).arrivals)
	}
	cfg.Policy, cfg.Evictor, cfg.Order, cfg.Waits = &twice{b.Policy, t, s.watch}, b.Evictor, b.Order, b.Waits
	return cfg, b
}

// twice asks a policy two times for each decision: asking changes nothing. What
// it decides may be watched.
type twice struct {
	scheduler.Policy
	t     testing.TB
	watch func(*scheduler.View, scheduler.Decision)
}

func (p *twice) Next(v *scheduler.View) scheduler.Decision {
	first := p.Policy.Next(v)
	if second := p.Policy.Next(v); second != first {
		p.t.Errorf("asked twice, decided %v, then %v", first, second)
	}
	if p.watch != nil {
		p.watch(v, first)
	}
	return first
}

func (p *twice) Observe(v *scheduler.View, ev scheduler.Event) {
	if o, ok := p.Policy.(scheduler.Observer); ok {
		o.Observe(v, ev)
	}
}

// started is a batch of a log.
type started struct {
	at     scheduler.Time
	device scheduler.DeviceID
	model  scheduler.ModelID
	items  []scheduler.ItemID
	fill   bool
}

// outcome is what a run did.
type outcome struct {
	events                  log
	loads, evicts, switches int
	batches                 []started
	end                     scheduler.Time // of the last batch
	rejected, failed        []scheduler.ItemID
	counts                  scheduler.Counts
	built                   policies.Built
	done                    map[scheduler.ItemID]scheduler.Time
}

// order names the models of the batches, with their size if it is not 1.
func (o *outcome) order() string {
	s := ""
	for _, b := range o.batches {
		s += string(rune('A' + b.model))
		if len(b.items) > 1 {
			s += fmt.Sprint(len(b.items))
		}
	}
	return s
}

// run executes s with every invariant checked after each step and both
// replays afterwards.
func (s *scenario) run(t testing.TB) *outcome {
	t.Helper()
	o, err := s.try(t)
	if err != nil {
		t.Fatalf("%v\n%s", err, o.dump())
	}
	return o
}

func (s *scenario) try(t testing.TB) (*outcome, error) {
	t.Helper()
	cfg, built := s.config(t)
	core, err := scheduler.New(cfg)
	if err != nil {
		return &outcome{}, err
	}
	o := &outcome{built: built}
	err = scheduler.Drive(context.Background(), core, newWorld(s), &o.events)
	o.read()
	o.counts = core.Counts()
	if err != nil {
		return o, err
	}
	decisions, _ := s.config(t)
	states, _ := s.config(t)
	return o, scheduler.Replay(decisions, states, o.events)
}

func (o *outcome) read() {
	last := map[scheduler.DeviceID]scheduler.ModelID{}
	running := map[int64][]scheduler.ItemID{}
	o.done = map[scheduler.ItemID]scheduler.Time{}
	var members []scheduler.ItemID
	fill := false
	for seq, ev := range o.events {
		switch ev.Kind {
		case scheduler.Note:
			fill = ev.ID == scheduler.ReasonFill
		case scheduler.MemberDispatched:
			members = append(members, ev.Item())
		case scheduler.BatchStarted:
			if m, ok := last[ev.Device]; ok && m != ev.Model {
				o.switches++
			}
			last[ev.Device] = ev.Model
			o.batches = append(o.batches, started{ev.At, ev.Device, ev.Model, members, fill})
			running[int64(seq)] = members
			members, fill = nil, false
		case scheduler.BatchFinished:
			o.end = ev.At
			for _, id := range running[ev.ID] {
				o.done[id] = ev.At
			}
		case scheduler.LoadStarted:
			o.loads++
		case scheduler.EvictStarted:
			o.evicts++
		case scheduler.ItemRejected:
			o.rejected = append(o.rejected, ev.Item())
		case scheduler.ItemFailed:
			o.failed = append(o.failed, ev.Item())
		}
	}
}

// loaded returns when the last load of m started, -1 if none did.
func (o *outcome) loaded(m scheduler.ModelID) scheduler.Time {
	at := scheduler.Time(-1)
	for _, ev := range o.events {
		if ev.Kind == scheduler.LoadStarted && ev.Model == m {
			at = ev.At
		}
	}
	return at
}

func (o *outcome) dump() string {
	s := ""
	for i, ev := range o.events[max(0, len(o.events)-60):] {
		s += fmt.Sprintf("%4d %v %v id %d value %d model %d device %d\n", i, ev.At, ev.Kind, ev.ID, ev.Value, ev.Model, ev.Device)
	}
	return s
}

// use is a Spec of a policy and its parameters: use("fifo", "skip", true).
func use(name string, params ...any) policies.Spec {
	return policies.Spec{Use: name, Params: pairs(params)}
}

func axis(name string, params ...any) policies.Axis {
	return policies.Axis{Name: name, Params: pairs(params)}
}

func pairs(params []any) map[string]any {
	if len(params) == 0 {
		return nil
	}
	m := map[string]any{}
	for i := 0; i < len(params); i += 2 {
		v := params[i+1]
		if n, ok := v.(int); ok {
			v = int64(n)
		}
		m[params[i].(string)] = v
	}
	return m
}
