package policies_test

import (
	"fmt"
	"testing"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/policies/policytest"
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
	set     *policies.Set // nil: the policies of the catalogue
	seed    uint64
	horizon scheduler.Time
	failed  func(start scheduler.Event) bool // which loads and batches fail
	outages []policytest.Outage
	foreign []policytest.Foreign
	truth   []scheduler.Model                         // durations other than the declared
	watch   func(*scheduler.View, scheduler.Decision) // sees what is decided
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

// world is the scenario as package policytest runs it.
func (s *scenario) world() *policytest.World {
	w := &policytest.World{Models: s.models, Devices: s.devices, Outages: s.outages, Foreign: s.foreign, Seed: s.seed, Horizon: s.horizon, Truth: s.truth, Fails: s.failed}
	for _, it := range s.items {
		w.Items = append(w.Items, policytest.Item{At: it.at, Model: it.model, Priority: it.priority, Deadline: it.deadline, Work: it.work, Tenant: it.tenant, After: it.after})
	}
	return w
}

// catalogue is where the policy comes from.
func (s *scenario) catalogue() *policies.Set {
	if s.set != nil {
		return s.set
	}
	return policies.Builtin()
}

// config builds a fresh policy for a run of s.
func (s *scenario) config(t testing.TB) (scheduler.Config, policies.Built) {
	t.Helper()
	cfg, b, err := s.world().Config(s.catalogue(), s.spec)
	if err != nil {
		t.Fatal(err)
	}
	return cfg, b
}

// outcome is what a run did.
type outcome struct{ *policytest.Outcome }

// order names the models of the batches, with their size if it is not 1.
func (o *outcome) order() string {
	s := ""
	for _, b := range o.Batches {
		s += string(rune('A' + b.Model))
		if len(b.Items) > 1 {
			s += fmt.Sprint(len(b.Items))
		}
	}
	return s
}

// loaded returns when m's last load started, -1 if it never did.
func (o *outcome) loaded(m scheduler.ModelID) scheduler.Time {
	at := scheduler.Time(-1)
	for _, ev := range o.Events {
		if ev.Kind == scheduler.LoadStarted && ev.Model == m {
			at = ev.At
		}
	}
	return at
}

// run executes s with every invariant checked after each step and both
// replays afterwards.
func (s *scenario) run(t testing.TB) *outcome {
	t.Helper()
	o, err := s.try()
	if err != nil {
		t.Fatalf("%v\n%s", err, o.Dump())
	}
	if o.Impure != "" {
		t.Error(o.Impure)
	}
	if s.watch != nil {
		s.again(t)
	}
	return o
}

// again runs s once more for who watches.
func (s *scenario) again(t testing.TB) {
	t.Helper()
	cfg, _ := s.config(t)
	cfg.Policy = watched{cfg.Policy, s.watch}
	core, err := scheduler.New(cfg)
	if err == nil {
		err = scheduler.Drive(t.Context(), core, s.world().Machine())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// watched is a policy with one who sees what it decides.
type watched struct {
	scheduler.Policy
	by func(*scheduler.View, scheduler.Decision)
}

func (w watched) Next(v *scheduler.View) scheduler.Decision {
	dec := w.Policy.Next(v)
	w.by(v, dec)
	return dec
}

// Observe implements scheduler.Observer.
func (w watched) Observe(v *scheduler.View, ev scheduler.Event) {
	if o, ok := w.Policy.(scheduler.Observer); ok {
		o.Observe(v, ev)
	}
}

func (s *scenario) try() (*outcome, error) {
	o, err := s.world().Run(s.catalogue(), s.spec)
	return &outcome{o}, err
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
