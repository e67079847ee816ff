package sim_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/random"
	"github.com/vramsim/vramsim/sim"
)

// list is a source of given instants, some items with recorded service times.
type list struct {
	instants [][]scheduler.Event
	service  map[scheduler.ItemID]scheduler.Time
}

func (l *list) Next() ([]scheduler.Event, error) {
	if len(l.instants) == 0 {
		return nil, io.EOF
	}
	next := l.instants[0]
	l.instants = l.instants[1:]
	return next, nil
}

func (l *list) Service(item scheduler.ItemID) (scheduler.Time, bool) {
	t, ok := l.service[item]
	return t, ok
}

func item(at scheduler.Time, id int64, m scheduler.ModelID, attributes ...scheduler.Event) []scheduler.Event {
	evs := []scheduler.Event{{At: at, Kind: scheduler.ItemArrived, ID: id, Model: m, Device: scheduler.NoDevice, Value: scheduler.PackArrival(0, len(attributes))}}
	for _, a := range attributes {
		a.At, a.ID, a.Model, a.Device = at, id, scheduler.NoModel, scheduler.NoDevice
		evs = append(evs, a)
	}
	return evs
}

func work(v int64) scheduler.Event { return scheduler.Event{Kind: scheduler.ItemWork, Value: v} }

// plain runs what it can on the lowest device and loads what could run there.
type plain struct{}

func (plain) Next(v *scheduler.View) scheduler.Decision {
	for m := v.NextReady(0); m != scheduler.NoModel; m = v.NextReady(m + 1) {
		for d := range scheduler.DeviceID(v.Devices()) {
			if n := v.Fits(d, m); n > 0 {
				return scheduler.Run(d, m, n)
			}
			if v.FreeSlots(d) > 0 && v.Loadable(d, m) {
				return scheduler.Load(d, m)
			}
		}
	}
	return scheduler.Decision{}
}

// bench is a simulated machine of one device and models that all fit.
type bench struct {
	world  sim.Config
	core   scheduler.Config
	events []scheduler.Event
}

func (b *bench) Append(events []scheduler.Event) error {
	b.events = append(b.events, events...)
	return nil
}

func newBench(source scheduler.Source, costs ...sim.Cost) *bench {
	b := &bench{world: sim.Config{Models: costs, Source: source, Seed: 1}}
	b.core = scheduler.Config{Policy: plain{}, Checked: true, Devices: []scheduler.Device{{Budget: 100, Slots: 1}}}
	for i := range costs {
		c := &b.world.Models[i]
		if c.Name == "" {
			c.Name = fmt.Sprint("m", i)
		}
		if c.Load[0] == nil {
			c.Load = [scheduler.Tiers]random.Dist{random.Constant(10), random.Constant(1)}
		}
		if c.Unload == nil {
			c.Unload = random.Constant(0)
		}
		c.Batch.Max = max(c.Batch.Max, 1)
		b.core.Models = append(b.core.Models, scheduler.Model{Name: c.Name, Bytes: 1, Batch: c.Batch})
	}
	return b
}

// run drives the machine to its end and replays what happened both ways.
func (b *bench) run(t testing.TB) error {
	t.Helper()
	core, err := scheduler.New(b.core)
	if err != nil {
		t.Fatal(err)
	}
	runErr := scheduler.Drive(context.Background(), core, sim.New(b.world), b)
	if runErr == nil {
		if err := scheduler.Replay(b.core, b.core, b.events); err != nil {
			t.Fatal(err)
		}
	}
	return runErr
}

// times returns when events of a kind happened.
func (b *bench) times(k scheduler.Kind) []scheduler.Time {
	var at []scheduler.Time
	for _, ev := range b.events {
		if ev.Kind == k {
			at = append(at, ev.At)
		}
	}
	return at
}

func expect(t *testing.T, what string, got any, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// TestBatchTimes: what a batch takes, by declared times, work and records.
func TestBatchTimes(t *testing.T) {
	const unit = scheduler.WorkUnit
	linear := scheduler.BatchCost{Max: 4, Base: 100, PerItem: 30}
	table := scheduler.BatchCost{Max: 4, Base: 100, PerItem: 30, Times: []scheduler.Time{107, 113, 131}}
	recorded := map[scheduler.ItemID]scheduler.Time{0: 1000, 1: 2000}
	for _, c := range []struct {
		name    string
		cost    scheduler.BatchCost
		works   []int64 // of the items of the one batch
		service map[scheduler.ItemID]scheduler.Time
		want    scheduler.Time
	}{
		{"linear", linear, []int64{unit, unit, unit}, nil, 190},
		{"linear with work", linear, []int64{unit / 2, 2 * unit}, nil, 175},
		{"table", table, []int64{unit, unit, unit}, nil, 131},
		{"table with work", table, []int64{2 * unit, unit, 3 * unit}, nil, 162},
		{"beyond the table", table, []int64{unit, unit, unit, unit}, nil, 220},
		{"recorded", linear, []int64{unit, unit}, recorded, 3100},
		{"recorded, work apart", linear, []int64{unit, unit, 2 * unit}, recorded, 3160},
		{"recorded, table", table, []int64{unit, unit}, recorded, 3100},
	} {
		t.Run(c.name, func(t *testing.T) {
			var arrivals []scheduler.Event
			for id, w := range c.works {
				arrivals = append(arrivals, item(5, int64(id), 0, work(w))...)
			}
			b := newBench(&list{[][]scheduler.Event{arrivals}, c.service}, sim.Cost{Batch: c.cost})
			if err := b.run(t); err != nil {
				t.Fatal(err)
			}
			expect(t, "begins", b.times(scheduler.BatchStarted), []scheduler.Time{15})
			expect(t, "ends", b.times(scheduler.BatchFinished), []scheduler.Time{15 + c.want})
		})
	}
}

// TestBatchTimeIsItsOwn: what waits beside a batch does not change its time.
func TestBatchTimeIsItsOwn(t *testing.T) {
	cost := scheduler.BatchCost{Max: 3, Base: 100, Times: []scheduler.Time{101, 103, 107}}
	alone := item(0, 0, 0)
	alone = append(append(alone, item(0, 1, 0)...), item(0, 2, 0)...)
	ends := func(arrivals []scheduler.Event) scheduler.Time {
		b := newBench(&list{instants: [][]scheduler.Event{arrivals}}, sim.Cost{Batch: cost}, sim.Cost{Batch: cost})
		if err := b.run(t); err != nil {
			t.Fatal(err)
		}
		return b.times(scheduler.BatchFinished)[0]
	}
	crowded := append(slices.Clone(alone), item(0, 3, 1, work(7))...)
	if a, c := ends(alone), ends(crowded); a != c {
		t.Errorf("alone the batch ends at %d, beside another model's item at %d", a, c)
	}
}

// TestDrawnTimes: drawn times are keyed: by item, batch and load, not by when
// or beside what they run.
func TestDrawnTimes(t *testing.T) {
	exponential := random.Must(random.Exponential(1000))
	took := func(seed uint64, replicate int, cost sim.Cost, late scheduler.Time) []scheduler.Time {
		b := newBench(&list{instants: [][]scheduler.Event{item(0, 0, 0), item(1_000_000+late, 1, 0)}}, cost)
		b.world.Seed, b.world.Replicate = seed, replicate
		if err := b.run(t); err != nil {
			t.Fatal(err)
		}
		begun, ended := b.times(scheduler.BatchStarted), b.times(scheduler.BatchFinished)
		return []scheduler.Time{b.times(scheduler.LoadFinished)[0], ended[0] - begun[0], ended[1] - begun[1]}
	}
	for name, cost := range map[string]sim.Cost{
		"per batch": {BatchTime: exponential, Load: [scheduler.Tiers]random.Dist{exponential, exponential}},
		"per item":  {ItemTime: exponential, Load: [scheduler.Tiers]random.Dist{exponential, exponential}},
	} {
		base := took(1, 0, cost, 0)
		expect(t, name+", again", took(1, 0, cost, 0), base)
		expect(t, name+", later", took(1, 0, cost, 77), base)
		if slices.Equal(base, took(2, 0, cost, 0)) || slices.Equal(base, took(1, 1, cost, 0)) || base[1] == base[2] {
			t.Errorf("%s: other seeds, replicates and items draw the same: %v", name, base)
		}
		other := cost
		other.Name = "another"
		if renamed := took(1, 0, other, 0); renamed[0] == base[0] || renamed[1] != base[1] {
			t.Errorf("%s: loads are keyed by name and items are not: %v, %v", name, renamed, base)
		}
	}
}

// TestLoadTruth: what an oracle is told is what happens.
func TestLoadTruth(t *testing.T) {
	between := random.Must(random.Between(100, 200))
	b := newBench(&list{instants: [][]scheduler.Event{item(0, 0, 0), item(10_000, 1, 1), item(20_000, 2, 0)}},
		sim.Cost{Load: [scheduler.Tiers]random.Dist{between, between}}, sim.Cost{Load: [scheduler.Tiers]random.Dist{between, between}})
	b.core.Devices[0].Budget = 1
	b.core.Evictor = firstIdle{}
	truth, ordinals, checked := sim.LoadTruth(b.world), map[scheduler.ModelID]int64{}, 0
	if err := b.run(t); err != nil {
		t.Fatal(err)
	}
	begun := map[int64]scheduler.Time{}
	for _, ev := range b.events {
		switch ev.Kind {
		case scheduler.LoadStarted:
			begun[ev.ID] = ev.At
		case scheduler.LoadFinished:
			expect(t, "a load", ev.At-begun[ev.ID], truth(ev.Model, scheduler.TierDisk, ordinals[ev.Model]))
			ordinals[ev.Model]++
			checked++
		}
	}
	expect(t, "loads", checked, 3)
}

type firstIdle struct{}

func (firstIdle) Victim(v *scheduler.View, d scheduler.DeviceID, _ scheduler.Bytes, _ scheduler.ModelID) (scheduler.ModelID, bool) {
	for _, m := range v.Residents(d) {
		if v.Evictable(d, m) {
			return m, true
		}
	}
	return scheduler.NoModel, false
}

// TestCancellations: at the time given, or right after the arrival if that is
// later; what never arrives cannot be given up.
func TestCancellations(t *testing.T) {
	source := func() *list {
		return &list{instants: [][]scheduler.Event{append(item(0, 0, 0), item(0, 1, 0)...), item(50, 2, 0), item(60, 3, 0)}}
	}
	b := newBench(source(), sim.Cost{Batch: scheduler.BatchCost{PerItem: 100}})
	b.world.Faults.Cancellations = []sim.Cancellation{{Item: 1, At: 20}, {Item: 2, At: 50}, {Item: 3, At: 5}}
	if err := b.run(t); err != nil {
		t.Fatal(err)
	}
	expect(t, "cancelled at", b.times(scheduler.ItemCancelled), []scheduler.Time{20, 50, 60})
	expect(t, "done at", b.times(scheduler.BatchFinished), []scheduler.Time{110})

	b = newBench(source(), sim.Cost{})
	b.world.Faults.Cancellations = []sim.Cancellation{{Item: 9, At: 5}}
	if err := b.run(t); err == nil || !strings.Contains(err.Error(), "item 9") {
		t.Errorf("cancelling what never arrives: %v", err)
	}
}

// TestOutages: overlapping outages are one; what was in flight is heard of no
// more, and its items are tried again.
func TestOutages(t *testing.T) {
	b := newBench(&list{instants: [][]scheduler.Event{item(0, 0, 0)}}, sim.Cost{Batch: scheduler.BatchCost{PerItem: 100}})
	b.world.Faults.Outages = []sim.Outage{{Device: 0, From: 60, Until: 80}, {Device: 0, From: 50, Until: 70}, {Device: 0, From: 65, Until: 90}}
	if err := b.run(t); err != nil {
		t.Fatal(err)
	}
	expect(t, "down", b.times(scheduler.DeviceDown), []scheduler.Time{50})
	expect(t, "up", b.times(scheduler.DeviceUp), []scheduler.Time{90})
	expect(t, "loads", b.times(scheduler.LoadFinished), []scheduler.Time{10, 100})
	expect(t, "done", b.times(scheduler.BatchFinished), []scheduler.Time{200})

	b = newBench(&list{instants: [][]scheduler.Event{item(0, 0, 0)}}, sim.Cost{Batch: scheduler.BatchCost{PerItem: 100}})
	b.world.Faults.Outages = []sim.Outage{{Device: 0, From: 50, Until: scheduler.Never}}
	if err := b.run(t); err != nil {
		t.Fatal(err)
	}
	expect(t, "up again", len(b.times(scheduler.DeviceUp)), 0)
}

// TestFailures: certain failures use up the attempts, at every instant keyed.
func TestFailures(t *testing.T) {
	b := newBench(&list{instants: [][]scheduler.Event{item(0, 0, 0)}}, sim.Cost{Batch: scheduler.BatchCost{PerItem: 5}})
	b.world.Faults.BatchFailure = 1
	if err := b.run(t); err != nil {
		t.Fatal(err)
	}
	expect(t, "failed batches", b.times(scheduler.BatchFailed), []scheduler.Time{15, 20, 25})
	expect(t, "failed items", b.times(scheduler.ItemFailed), []scheduler.Time{25})

	b = newBench(&list{instants: [][]scheduler.Event{item(0, 0, 0)}}, sim.Cost{})
	b.world.Faults.LoadFailure = 1
	if err := b.run(t); err != nil {
		t.Fatal(err)
	}
	expect(t, "failed loads", b.times(scheduler.LoadFailed), []scheduler.Time{10, 20, 30})
}

// TestHorizon: nothing after it happens, and what is left is no error.
func TestHorizon(t *testing.T) {
	b := newBench(&list{instants: [][]scheduler.Event{item(0, 0, 0), item(30, 1, 0)}}, sim.Cost{Batch: scheduler.BatchCost{PerItem: 20}})
	b.world.Horizon = 29
	if err := b.run(t); err != nil {
		t.Fatal(err)
	}
	expect(t, "last event", b.events[len(b.events)-1].At, scheduler.Time(10))
	b = newBench(&list{instants: [][]scheduler.Event{item(0, 0, 0), item(30, 1, 0)}}, sim.Cost{Batch: scheduler.BatchCost{PerItem: 20}})
	b.world.Horizon = 30
	if err := b.run(t); err != nil {
		t.Fatal(err)
	}
	expect(t, "arrivals", b.times(scheduler.ItemArrived), []scheduler.Time{0, 30})
}

// TestOverflow: time never wraps; the error names the item.
func TestOverflow(t *testing.T) {
	for _, service := range []scheduler.Time{scheduler.MaxTime, scheduler.MaxTime - 10} {
		b := newBench(&list{[][]scheduler.Event{item(5, 0, 0)}, map[scheduler.ItemID]scheduler.Time{0: service}}, sim.Cost{})
		var overflow *sim.OverflowError
		if err := b.run(t); !errors.As(err, &overflow) || !strings.Contains(err.Error(), "item 0") {
			t.Errorf("service of %d: %v", service, err)
		}
	}
	b := newBench(&list{instants: [][]scheduler.Event{item(5, 0, 0)}}, sim.Cost{Load: [scheduler.Tiers]random.Dist{random.Constant(9e18 * 2), random.Constant(1)}})
	var overflow *sim.OverflowError
	if err := b.run(t); !errors.As(err, &overflow) || !strings.Contains(err.Error(), `"m0"`) {
		t.Errorf("a long load: %v", err)
	}
}

// TestOneInstant: ends, devices, memory, cancellations, arrivals and timers of
// one instant come in one step in that order; what takes no time ends in a
// later step of the same instant.
func TestOneInstant(t *testing.T) {
	b := newBench(&list{instants: [][]scheduler.Event{item(0, 0, 0), append(item(20, 1, 0), item(20, 2, 1)...)}},
		sim.Cost{Batch: scheduler.BatchCost{PerItem: 10}}, sim.Cost{Load: [scheduler.Tiers]random.Dist{random.Constant(0), random.Constant(0)}})
	b.world.Faults = sim.Faults{Foreign: []sim.Foreign{{At: 20, Bytes: 3}}, Outages: []sim.Outage{{Device: 1, From: 20, Until: 20}},
		Cancellations: []sim.Cancellation{{Item: 0, At: 20}}}
	b.core.Devices = []scheduler.Device{{Budget: 100, Slots: 2}, {Budget: 1, Slots: 1}}
	if err := b.run(t); err != nil {
		t.Fatal(err)
	}
	var kinds []string
	steps := 0
	for _, ev := range b.events {
		if ev.At == 20 && ev.Kind.Fact() {
			kinds = append(kinds, ev.Kind.String())
			if ev.First() {
				steps++
			}
		}
	}
	expect(t, "facts", kinds, []string{"batch_finished", "device_down", "device_up", "memory_observed", "item_cancelled", "item_arrived", "item_arrived", "load_finished", "load_finished", "batch_finished"})
	expect(t, "steps", steps, 3)
}

// TestTiesBySequence: of what ends at one time, what began first ends first.
func TestTiesBySequence(t *testing.T) {
	var arrivals []scheduler.Event
	for id := range int64(6) {
		arrivals = append(arrivals, item(0, id, 0)...)
	}
	b := newBench(&list{instants: [][]scheduler.Event{arrivals}}, sim.Cost{Batch: scheduler.BatchCost{PerItem: 10}})
	b.core.Devices[0].Slots = 6
	if err := b.run(t); err != nil {
		t.Fatal(err)
	}
	var begun, ended []int64
	for _, ev := range b.events {
		switch ev.Kind {
		case scheduler.BatchStarted:
			begun = append(begun, ev.ID)
		case scheduler.BatchFinished:
			ended = append(ended, ev.ID)
		}
	}
	expect(t, "ends", ended, begun)
	expect(t, "at", b.times(scheduler.BatchFinished)[5], scheduler.Time(20))
}

// TestAnyRun: random machines with random faults end, conserve their items and
// replay both ways, and do the same again.
func TestAnyRun(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dists := []random.Dist{random.Constant(0), random.Constant(7), random.Must(random.Exponential(20)), random.Must(random.Between(0, 30))}
		draw := func(what string) random.Dist { return rapid.SampledFrom(dists).Draw(t, what) }
		var costs []sim.Cost
		for range rapid.IntRange(1, 3).Draw(t, "models") {
			c := sim.Cost{Load: [scheduler.Tiers]random.Dist{draw("disk"), draw("host")}, Unload: draw("unload"),
				Batch: scheduler.BatchCost{Max: rapid.IntRange(1, 3).Draw(t, "batch"), Base: 3, PerItem: 2}}
			if rapid.Bool().Draw(t, "by item") {
				c.ItemTime = draw("item")
			} else if rapid.Bool().Draw(t, "by batch") {
				c.BatchTime = draw("batch")
			}
			costs = append(costs, c)
		}
		var instants [][]scheduler.Event
		service := map[scheduler.ItemID]scheduler.Time{}
		at, n := scheduler.Time(0), rapid.Int64Range(0, 30).Draw(t, "items")
		for id := range n {
			at += scheduler.Time(rapid.SampledFrom([]int{0, 1, 10}).Draw(t, "gap"))
			var attributes []scheduler.Event
			if rapid.Bool().Draw(t, "worked") {
				attributes = append(attributes, work(rapid.Int64Range(1, 5e6).Draw(t, "work")))
			}
			if id > 0 && rapid.IntRange(0, 3).Draw(t, "after") == 0 {
				attributes = append(attributes, scheduler.Event{Kind: scheduler.ItemDependsOn, Value: rapid.Int64Range(0, id-1).Draw(t, "on")})
			}
			if rapid.IntRange(0, 5).Draw(t, "recorded") == 0 {
				service[scheduler.ItemID(id)] = 9
			}
			instants = append(instants, item(at, id, scheduler.ModelID(rapid.IntRange(0, len(costs)-1).Draw(t, "model")), attributes...))
		}
		faults := sim.Faults{LoadFailure: rapid.SampledFrom([]float64{0, 0.3}).Draw(t, "load failures"), BatchFailure: rapid.SampledFrom([]float64{0, 0.3}).Draw(t, "batch failures")}
		for id := range n {
			if rapid.IntRange(0, 5).Draw(t, "cancelled") == 0 {
				faults.Cancellations = append(faults.Cancellations, sim.Cancellation{Item: scheduler.ItemID(id), At: scheduler.Time(rapid.IntRange(0, 100).Draw(t, "when"))})
			}
		}
		for range rapid.IntRange(0, 2).Draw(t, "outages") {
			from := scheduler.Time(rapid.IntRange(0, 100).Draw(t, "from"))
			faults.Outages = append(faults.Outages, sim.Outage{Device: scheduler.DeviceID(rapid.IntRange(0, 1).Draw(t, "device")), From: from, Until: from + 40})
		}
		seed := rapid.Uint64().Draw(t, "seed")
		budget := scheduler.Bytes(rapid.IntRange(1, 3).Draw(t, "budget"))
		run := func() []scheduler.Event {
			b := newBench(&list{instants, service}, costs...)
			b.world.Seed, b.world.Faults = seed, faults
			b.core.Devices = []scheduler.Device{{Budget: budget, Slots: 2}, {Budget: 1, Slots: 1}}
			b.core.Evictor, b.core.HostMemory = firstIdle{}, 2
			core, err := scheduler.New(b.core)
			if err != nil {
				t.Fatal(err)
			}
			if err := scheduler.Drive(context.Background(), core, sim.New(b.world), b); err != nil {
				t.Fatal(err)
			}
			if err := scheduler.Replay(b.core, b.core, b.events); err != nil {
				t.Fatal(err)
			}
			if c := core.Counts(); c.Arrived != n || c.Blocked+c.Ready+c.Running != 0 {
				t.Fatalf("left over: %+v", c)
			}
			return b.events
		}
		if first, again := run(), run(); !slices.Equal(first, again) {
			t.Fatal("the same run twice differs")
		}
	})
}

// waker wakes at 20 and does nothing else.
type waker struct{}

func (waker) Next(v *scheduler.View) scheduler.Decision {
	if _, set := v.Timer(); !set && v.Now() < 20 {
		return scheduler.Wake(20)
	}
	return scheduler.Decision{}
}

// TestTimerAmongArrivals: a timer that is due when items arrive, and nothing
// ends, fires in the same step.
func TestTimerAmongArrivals(t *testing.T) {
	b := newBench(&list{instants: [][]scheduler.Event{item(0, 0, 0), item(20, 1, 0)}}, sim.Cost{})
	b.core.Policy, b.core.Waits = waker{}, true
	if err := b.run(t); err != nil {
		t.Fatal(err)
	}
	last := b.events[len(b.events)-1]
	expect(t, "the last event", []any{last.Kind, last.At, last.First()}, []any{scheduler.TimerFired, scheduler.Time(20), false})
	expect(t, "before it", b.events[len(b.events)-2].Kind, scheduler.ItemArrived)
}

// TestOutsideOrder: facts from outside at one instant come as in every World,
// whatever order they were given in: by device, by item.
func TestOutsideOrder(t *testing.T) {
	b := newBench(&list{instants: [][]scheduler.Event{append(append(item(0, 0, 0), item(0, 1, 0)...), item(0, 2, 0)...), item(50, 3, 0)}},
		sim.Cost{Batch: scheduler.BatchCost{PerItem: 30}})
	b.core.Devices = append(b.core.Devices, b.core.Devices[0])
	b.world.Faults = sim.Faults{
		Foreign:       []sim.Foreign{{Device: 1, At: 20, Bytes: 7}, {Device: 0, At: 20, Bytes: 5}, {Device: 1, At: 20, Bytes: 3}},
		Cancellations: []sim.Cancellation{{Item: 2, At: 20}, {Item: 1, At: 20}},
		Outages:       []sim.Outage{{Device: 1, From: 10, Until: 20}, {Device: 0, From: 20, Until: 40}},
	}
	if err := b.run(t); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, ev := range b.events {
		if ev.At == 20 && ev.Kind.Fact() {
			got = append(got, fmt.Sprintf("%v %d %d %d", ev.Kind, ev.Device, ev.ID, ev.Value))
		}
	}
	expect(t, "at 20", got, []string{"device_down 0 0 0", "device_up 1 0 0", "memory_observed 0 0 5", "memory_observed 1 0 7", "memory_observed 1 0 3",
		"item_cancelled -1 1 0", "item_cancelled -1 2 0"})
}

// TestRecordingRefuses: what no World can have told is no recording.
func TestRecordingRefuses(t *testing.T) {
	fired := scheduler.Event{Kind: scheduler.TimerFired, ID: scheduler.TimerPolicy}
	set := scheduler.Event{Kind: scheduler.TimerSet, ID: scheduler.TimerPolicy, Value: 5}
	ended := scheduler.Event{Kind: scheduler.LoadFinished, ID: 0}
	for name, log := range map[string][]scheduler.Event{
		"a timer that was not set": {fired}, "a timer that fires twice": {set, fired, fired}, "no such timer": {{Kind: scheduler.TimerSet, ID: 2}},
		"ends before it began": {{Kind: scheduler.LoadFinished, ID: 3}}, "ends twice": {set, ended, ended},
	} {
		if err := sim.NewRecording().Append(log); err == nil {
			t.Errorf("%s was recorded", name)
		}
	}
	rec := sim.NewRecording()
	if err := rec.Append([]scheduler.Event{set, ended, set}); err != nil || rec.Events() != 3 {
		t.Fatal(err)
	}
	w := sim.New(sim.Config{Recording: rec})
	for _, effect := range []scheduler.Event{{Kind: scheduler.EvictStarted, ID: 0}, {Kind: scheduler.LoadStarted, ID: 0, Model: 1}, {At: 9, Kind: scheduler.LoadStarted, ID: 0}} {
		if w.Start(effect) == nil {
			t.Errorf("%+v began as command 0", effect)
		}
	}
	if err := w.Start(set); err != nil {
		t.Fatal(err)
	}
	if err := w.Start(set); err != nil {
		t.Fatal(err)
	}
	if w.Start(set) == nil {
		t.Error("a timer was set more often than recorded")
	}
}
