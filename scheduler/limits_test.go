package scheduler_test

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vramsim/vramsim/scheduler"
)

// restless never idles.
type restless struct {
	decide func(v *scheduler.View) scheduler.Decision
}

func (p restless) Next(v *scheduler.View) scheduler.Decision { return p.decide(v) }

// TestLivelock: a policy may decide 64 + 4·models·devices times at one instant
// without progress, over however many steps, and not once more.
func TestLivelock(t *testing.T) {
	for _, steps := range []int{1, 3} {
		holds, limit := 0, 64+4*3*3
		more := 0
		r := newRig(t, nil)
		r.resident(0)
		cfg := r.core.Config()
		cfg.Policy = restless{func(v *scheduler.View) scheduler.Decision {
			if v.State(0, 0) == scheduler.Absent {
				return scheduler.Load(0, 0)
			}
			if v.State(0, 0) != scheduler.Resident || more == 0 {
				return scheduler.Decision{}
			}
			more--
			holds++
			return scheduler.Hold(0, 0, scheduler.Never)
		}}
		core, err := scheduler.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		load := func(at scheduler.Time) {
			if err := core.Step([]scheduler.Event{at0(tick(), at)}); err != nil {
				t.Fatal(err)
			}
			id := core.Ready()[1].ID
			core.Advance()
			more = limit / steps
			if err := core.Step([]scheduler.Event{{At: at + 1, Kind: scheduler.LoadFinished, ID: id}}); err != nil {
				t.Fatalf("%d decisions: %v", holds, err)
			}
		}
		load(1)
		for range steps - 1 {
			more = limit / steps
			if err := core.Step([]scheduler.Event{at0(tick(), 2)}); err != nil {
				t.Fatalf("%d decisions: %v", holds, err)
			}
		}
		more = limit - holds // what division left over
		if err := core.Step([]scheduler.Event{at0(tick(), 2)}); err != nil || holds != limit {
			t.Fatalf("%d decisions: %v", holds, err)
		}
		more = 1
		err = core.Step([]scheduler.Event{at0(tick(), 2)})
		var livelock *scheduler.LivelockError
		if !errors.As(err, &livelock) || livelock.At != 2 || len(livelock.Cycle) == 0 || !strings.Contains(err.Error(), "hold(device 0, model 0, until never)") {
			t.Errorf("after %d decisions: %v", holds, err)
		}
	}
}

func at0(ev scheduler.Event, at scheduler.Time) scheduler.Event {
	ev.At = at
	return ev
}

// TestLivelockForgives: progress and time start the count anew.
func TestLivelockForgives(t *testing.T) {
	r := newRig(t, nil)
	r.resident(0)
	hold := scheduler.Hold(0, 0, 1000)
	many := make([]scheduler.Decision, 90)
	for i := range many {
		many[i] = hold
	}
	r.must(10, []scheduler.Event{arrived(0, 0)}, many...)
	r.must(10, []scheduler.Event{arrived(1, 0)}, many...)
	r.must(10, []scheduler.Event{tick()}, scheduler.Run(0, 0, 1))
	batch := r.end(scheduler.BatchStarted, scheduler.BatchFinished)
	r.must(10, []scheduler.Event{tick()}, many...)
	r.must(10, batch, many...)
	r.must(11, []scheduler.Event{tick()}, many...)
	var livelock *scheduler.LivelockError
	if err := r.step(11, []scheduler.Event{tick()}, many...); !errors.As(err, &livelock) {
		t.Errorf("180 decisions at one instant: %v", err)
	}
}

// TestLivelockOfEvictions: evictions that fail as soon as they begin, again and
// again under a claim, are one too.
func TestLivelockOfEvictions(t *testing.T) {
	r := newRig(t, func(cfg *scheduler.Config) { cfg.Evictor = inTurn{0} })
	r.resident(0)
	r.must(10, []scheduler.Event{arrived(0, 2)}, scheduler.Load(0, 2))
	for range 200 {
		if err := r.step(10, r.end(scheduler.EvictStarted, scheduler.EvictFailed)); err != nil {
			var livelock *scheduler.LivelockError
			if !errors.As(err, &livelock) {
				t.Fatal(err)
			}
			return
		}
	}
	t.Error("200 failed evictions at one instant are no livelock")
}

// TestLostWakeup: work that could run or load, nothing in flight and no timer.
func TestLostWakeup(t *testing.T) {
	for _, c := range []struct {
		name   string
		waits  bool
		before func(*rig)
		device scheduler.DeviceID // of the error; NoDevice: none
		model  scheduler.ModelID
	}{
		{"could load", false, func(r *rig) { r.must(1, []scheduler.Event{arrived(0, 1)}) }, 0, 1},
		{"could run", false, func(r *rig) { r.resident(0); r.must(9, []scheduler.Event{arrived(0, 0)}) }, 0, 0},
		{"waits", true, func(r *rig) { r.must(1, []scheduler.Event{arrived(0, 1)}) }, scheduler.NoDevice, 0},
		{"nothing ready", false, func(r *rig) { r.resident(0) }, scheduler.NoDevice, 0},
		{"no device is up", false, func(r *rig) {
			r.must(1, []scheduler.Event{{Kind: scheduler.DeviceDown, Device: 0}, {Kind: scheduler.DeviceDown, Device: 2}, arrived(0, 1)})
		}, scheduler.NoDevice, 0},
		{"would have to evict what it may not", false, func(r *rig) {
			r.resident(0)
			r.must(9, []scheduler.Event{{Kind: scheduler.DeviceDown, Device: 2}, arrived(0, 2)})
		}, scheduler.NoDevice, 0},
		{"while an eviction is in flight", false, func(r *rig) {
			r.resident(0)
			r.resident(1)
			r.must(8, []scheduler.Event{tick()}, scheduler.Evict(0, 1))
			r.must(9, []scheduler.Event{arrived(0, 2)}, scheduler.Load(0, 2))
			evicts := r.core.View().State(0, 1)
			if evicts != scheduler.Evicting {
				t.Fatal(evicts)
			}
		}, scheduler.NoDevice, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, func(cfg *scheduler.Config) {
				cfg.Waits = c.waits
				if strings.HasPrefix(c.name, "while") {
					cfg.Evictor = inTurn{0}
				}
			})
			c.before(r)
			err := r.core.End()
			var lost *scheduler.LostWakeupError
			switch {
			case c.device == scheduler.NoDevice && err != nil:
				t.Errorf("unexpected: %v", err)
			case c.device != scheduler.NoDevice && (!errors.As(err, &lost) || lost.Device != c.device || lost.Model != c.model || lost.Ready != 1):
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestStuckClaimIsNoExcuse: a claim that nothing serves is not in flight; what
// could run beside it was forgotten.
func TestStuckClaimIsNoExcuse(t *testing.T) {
	r := newRig(t, func(cfg *scheduler.Config) {
		cfg.Evictor, cfg.Devices[0].Budget, cfg.Models[1].Batch.Memory = inTurn{0}, 12, 0
	})
	r.resident(0)
	r.resident(1)
	r.must(9, []scheduler.Event{arrived(0, 2), arrived(1, 1)}, scheduler.Load(0, 2))
	left := r.end(scheduler.EvictStarted, scheduler.EvictFinished)
	r.must(10, []scheduler.Event{{Kind: scheduler.MemoryObserved, Value: 9}})
	r.must(11, left)
	if got := r.core.View().State(0, 2); got != scheduler.Claimed {
		t.Fatalf("model 2 is %v", got)
	}
	var lost *scheduler.LostWakeupError
	if err := r.core.End(); !errors.As(err, &lost) || lost.Model != 1 || lost.Device != 0 {
		t.Errorf("got %v", err)
	}
}

// TestDependencyErrors: what can never be resolved is refused by name.
func TestDependencyErrors(t *testing.T) {
	for _, c := range []struct {
		name string
		keep int64
		do   func(*rig) error
		want scheduler.DependencyError
	}{
		{"self", 0, func(r *rig) error { return r.step(1, dependent(0, 0, 0)) }, scheduler.DependencyError{Item: 0, On: 0, What: "self"}},
		{"negative", 0, func(r *rig) error { return r.step(1, dependent(0, 0, -1)) }, scheduler.DependencyError{Item: 0, On: -1, What: "unknown"}},
		{"never arrives", 0, func(r *rig) error {
			r.must(1, dependent(0, 0, 9))
			r.must(1, dependent(1, 0, 8))
			r.must(1, dependent(2, 0, 8))
			return r.core.End()
		}, scheduler.DependencyError{Item: 1, On: 8, What: "unknown"}},
		{"forgotten", 3, func(r *rig) error {
			r.resident(0)
			r.must(9, []scheduler.Event{arrived(0, 0)}, scheduler.Run(0, 0, 1))
			r.must(9, r.end(scheduler.BatchStarted, scheduler.BatchFinished))
			r.must(10, []scheduler.Event{arrived(1, 0), arrived(2, 0)})
			r.must(10, dependent(3, 1, 1)) // in the window
			return r.step(11, dependent(4, 0, 0))
		}, scheduler.DependencyError{Item: 4, On: 0, What: "unknown"}},
		{"pair", 0, func(r *rig) error {
			r.must(1, dependent(0, 0, 1))
			r.must(1, dependent(1, 0, 0))
			return r.core.End()
		}, scheduler.DependencyError{Item: 0, On: 1, What: "cyclic"}},
		{"cycle behind ready work", 0, func(r *rig) error {
			r.must(1, dependent(0, 0, 1))
			r.must(1, dependent(1, 0, 0))
			r.must(1, dependent(2, 0, 0))
			r.must(1, []scheduler.Event{arrived(3, 0)})
			return r.core.End()
		}, scheduler.DependencyError{Item: 0, On: 1, What: "cyclic"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.do(newRig(t, func(cfg *scheduler.Config) { cfg.KeepDone = c.keep }))
			var got *scheduler.DependencyError
			if !errors.As(err, &got) || *got != c.want {
				t.Errorf("got %v, want %v", err, &c.want)
			}
		})
	}
}

// TestFinishedWindow: within KeepDone a finished dependency is resolved; one
// still in flight is known however old it is.
func TestFinishedWindow(t *testing.T) {
	r := newRig(t, func(cfg *scheduler.Config) { cfg.KeepDone = 2 })
	r.resident(0)
	r.must(9, []scheduler.Event{arrived(0, 1), arrived(1, 0)}, scheduler.Run(0, 0, 1))
	r.must(9, r.end(scheduler.BatchStarted, scheduler.BatchFinished))
	r.must(10, dependent(2, 0, 1))
	r.must(11, []scheduler.Event{arrived(3, 0), arrived(4, 0), arrived(5, 0)})
	r.must(12, dependent(6, 0, 0))
	if got := r.core.Counts(); got.Ready != 5 || got.Blocked != 1 {
		t.Errorf("%+v", got)
	}
}

// TestFailedWindow: with KeepFailed only the last ids that ended badly cancel
// later dependants; without, all do.
func TestFailedWindow(t *testing.T) {
	for keep, want := range map[int]int64{0: 6, 1: 5} {
		r := newRig(t, func(cfg *scheduler.Config) { cfg.KeepFailed = keep })
		r.must(1, []scheduler.Event{arrived(0, 0), arrived(1, 0), arrived(2, 0)})
		for id := range int64(3) {
			r.must(2, []scheduler.Event{{Kind: scheduler.ItemCancelled, ID: id, Model: scheduler.NoModel}})
		}
		r.must(3, dependent(3, 0, 2)) // 2 is remembered in both; 3 is the last from then on
		r.must(3, dependent(4, 0, 3))
		r.must(3, dependent(5, 0, 0))
		if got := r.core.Counts().Cancelled; got != want {
			t.Errorf("KeepFailed %d: %d cancelled, want %d", keep, got, want)
		}
	}
}

// TestFactErrors: facts that contradict the state are refused and leave the log.
func TestFactErrors(t *testing.T) {
	none := []scheduler.Event(nil)
	for _, c := range []struct {
		name  string
		at    scheduler.Time
		facts []scheduler.Event
		what  string
	}{
		{"time goes back", 4, []scheduler.Event{tick()}, "invariant 3"},
		{"a decision", 9, []scheduler.Event{{Kind: scheduler.ItemReadied}}, "is no fact"},
		{"no kind", 9, []scheduler.Event{{}}, "is no fact"},
		{"out of order", 9, []scheduler.Event{arrived(2, 0), tick()}, "out of order"},
		{"a gap in the ids", 9, []scheduler.Event{arrived(3, 0)}, "numbered in the order"},
		{"an id again", 9, []scheduler.Event{arrived(1, 0)}, "numbered in the order"},
		{"unknown model", 9, []scheduler.Event{arrived(2, 3)}, "no such model"},
		{"unknown device", 9, []scheduler.Event{{Kind: scheduler.DeviceUp, Device: 3}}, "no such device"},
		{"negative memory", 9, []scheduler.Event{{Kind: scheduler.MemoryObserved, Value: -1}}, "negative"},
		{"unknown timer", 9, []scheduler.Event{{Kind: scheduler.TimerFired, ID: 2}}, "no such timer"},
		{"timer that nobody set", 9, []scheduler.Event{{Kind: scheduler.TimerFired}}, "not due"},
		{"timer too early", 9, []scheduler.Event{{Kind: scheduler.TimerFired, ID: scheduler.TimerHold}}, "not due"},
		{"cancellation of the future", 9, []scheduler.Event{{Kind: scheduler.ItemCancelled, ID: 2}}, "not in the system"},
		{"batch that never began", 9, []scheduler.Event{{Kind: scheduler.BatchFinished, ID: 1}}, "no such batch"},
		{"load that never began", 9, []scheduler.Event{{Kind: scheduler.LoadFinished, ID: 0}}, "no such load"},
		{"eviction that never began", 9, []scheduler.Event{{Kind: scheduler.EvictFailed, ID: 0}}, "no such eviction"},
		{"attribute of nothing", 9, []scheduler.Event{{Kind: scheduler.ItemWork, ID: 1, Value: 5}}, "without its arrival"},
		{"attributes missing", 9, []scheduler.Event{{Kind: scheduler.ItemArrived, ID: 2, Value: scheduler.PackArrival(0, 1)}}, "missing"},
		{"attribute of another", 9, []scheduler.Event{{Kind: scheduler.ItemArrived, ID: 2, Value: scheduler.PackArrival(0, 1)}, {Kind: scheduler.ItemJob, ID: 1}}, "must follow"},
		{"negative job", 9, []scheduler.Event{{Kind: scheduler.ItemArrived, ID: 2, Value: scheduler.PackArrival(0, 1)}, {Kind: scheduler.ItemJob, ID: 2, Value: -1}}, "negative job"},
		{"no work", 9, []scheduler.Event{{Kind: scheduler.ItemArrived, ID: 2, Value: scheduler.PackArrival(0, 1)}, {Kind: scheduler.ItemWork, ID: 2}}, "positive"},
		{"negative attributes", 9, []scheduler.Event{{Kind: scheduler.ItemArrived, ID: 2, Value: scheduler.PackArrival(0, -1)}}, "negative number"},
		{"another load's model", 9, none, "no such load"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, nil)
			r.must(1, []scheduler.Event{arrived(0, 0), arrived(1, 0)})
			r.resident(0)
			r.must(5, []scheduler.Event{tick()}, scheduler.Load(0, 1), scheduler.Hold(0, 0, 100))
			if c.facts == nil {
				c.facts = r.end(scheduler.LoadStarted, scheduler.LoadFinished)
				c.facts[0].Model = 0
			}
			err := r.step(c.at, c.facts)
			var fact *scheduler.FactError
			if !errors.As(err, &fact) || !strings.Contains(err.Error(), c.what) {
				t.Fatalf("got %v, want something about %q", err, c.what)
			}
			for _, ev := range r.seen {
				if ev.Kind == fact.Event.Kind && ev.ID == fact.Event.ID && c.name != "attributes missing" {
					t.Errorf("the refused fact stands in the log: %v", r.seen)
				}
			}
		})
	}
}

// TestNoFactsNothingHappens: a step without facts is none.
func TestNoFactsNothingHappens(t *testing.T) {
	r := newRig(t, nil)
	if err := r.step(0, nil, scheduler.Load(0, 0)); err != nil || len(r.seen) != 0 {
		t.Errorf("%v, %v", r.seen, err)
	}
}

// greedyOne runs one item at a time of the only model on the only device.
func greedyOne(v *scheduler.View) scheduler.Decision {
	if n := v.Fits(0, 0); n > 0 {
		return scheduler.Run(0, 0, n)
	}
	if v.Ready(0) > 0 && v.Loadable(0, 0) {
		return scheduler.Load(0, 0)
	}
	return scheduler.Decision{}
}

func oneModel(batch int) scheduler.Config {
	return scheduler.Config{Models: []scheduler.Model{{Name: "a", Bytes: 1, Batch: scheduler.BatchCost{Max: batch}}},
		Devices: []scheduler.Device{{Budget: 1, Slots: 1}}, Policy: restless{greedyOne}}
}

// drain steps a core until nothing is in flight any more, all effects of no
// duration, and calls each with every event.
func drain(t testing.TB, core *scheduler.Core, facts []scheduler.Event, each func(scheduler.Event)) {
	t.Helper()
	var next []scheduler.Event
	for len(facts) > 0 {
		if err := core.Step(facts); err != nil {
			t.Fatal(err)
		}
		next = next[:0]
		for _, ev := range core.Ready() {
			switch ev.Kind {
			case scheduler.BatchStarted, scheduler.LoadStarted, scheduler.EvictStarted:
				finished, _ := outcome(ev.Kind)
				next = append(next, scheduler.Event{At: ev.At, Kind: finished, ID: ev.ID, Model: ev.Model, Device: ev.Device})
			}
			if each != nil {
				each(ev)
			}
		}
		core.Advance()
		facts = append(facts[:0], next...)
	}
}

// TestWaitedSaturates: waits are added up exactly while the sum can be told,
// and then said to be as long as a time can be.
func TestWaitedSaturates(t *testing.T) {
	const year = 365 * 24 * scheduler.Hour
	r := newRig(t, func(c *scheduler.Config) { c.Waits = true })
	r.must(100*year, []scheduler.Event{arrived(0, 0)})
	r.must(200*year, []scheduler.Event{arrived(1, 0), arrived(2, 1)})
	for _, c := range []struct{ at, a, b scheduler.Time }{{230 * year, 160 * year, 30 * year}, {245 * year, 190 * year, 45 * year}, {280 * year, scheduler.MaxTime, 80 * year}} {
		r.must(c.at, []scheduler.Event{tick()})
		if a, b := r.core.View().Waited(0), r.core.View().Waited(1); a != c.a || b != c.b {
			t.Errorf("after %v the items of a have waited for %v, those of b for %v; want %v and %v", c.at, a, b, c.a, c.b)
		}
	}
}

// TestDeepChain: a chain of a million dependencies takes time in proportion,
// whether it finishes or fails, in either order of arrival.
func TestDeepChain(t *testing.T) {
	const depth = 1_000_000
	for _, c := range []struct {
		name     string
		forward  bool // each item depends on one that arrives after it
		cancel   bool
		wantDone int64
	}{{"finishes", false, false, depth}, {"fails", false, true, 0}, {"finishes, last first", true, false, depth}, {"fails, last first", true, true, 0}} {
		t.Run(c.name, func(t *testing.T) {
			core, err := scheduler.New(oneModel(1))
			if err != nil {
				t.Fatal(err)
			}
			facts := make([]scheduler.Event, 0, 2*depth)
			root := int64(0)
			if c.forward {
				root = depth - 1
			}
			for id := range int64(depth) {
				switch {
				case id == root:
					facts = append(facts, arrived(id, 0))
				case c.forward:
					facts = append(facts, dependent(id, 0, id+1)...)
				default:
					facts = append(facts, dependent(id, 0, id-1)...)
				}
			}
			if c.cancel { // in the step before the load has finished
				if err := core.Step(facts); err != nil {
					t.Fatal(err)
				}
				core.Advance()
				facts = []scheduler.Event{{Kind: scheduler.ItemCancelled, ID: root, Model: scheduler.NoModel}}
			}
			start := time.Now()
			drain(t, core, facts, nil)
			if took := time.Since(start); took > 30*time.Second {
				t.Errorf("took %v", took)
			}
			got := core.Counts()
			if got.Done != c.wantDone || got.Done+got.Cancelled != depth {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestManyAtOneInstant: a million items of no duration end at one instant.
func TestManyAtOneInstant(t *testing.T) {
	const items = 1_000_000
	core, err := scheduler.New(oneModel(4))
	if err != nil {
		t.Fatal(err)
	}
	facts := make([]scheduler.Event, 0, items)
	for id := range int64(items) {
		facts = append(facts, arrived(id, 0))
	}
	drain(t, core, facts, nil)
	if got := core.Counts(); got.Done != items || core.Now() != 0 {
		t.Errorf("%+v at %v", got, core.Now())
	}
	if err := core.End(); err != nil {
		t.Error(err)
	}
}

// heap returns the bytes in use after a collection.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestMemoryFollowsWhatIsInFlight: a million items, few at a time, with
// dependencies, some that stay for a while and one for ever: ids, slots, edges and jobs are
// recycled.
func TestMemoryFollowsWhatIsInFlight(t *testing.T) {
	cfg := oneModel(4)
	cfg.Models = append(cfg.Models, scheduler.Model{Name: "b", Bytes: 1, Batch: scheduler.BatchCost{Max: 1}})
	core, err := scheduler.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	feed := func(from, to int64) {
		facts := make([]scheduler.Event, 0, 64)
		for id := from; id < to; id += 4 {
			facts = append(facts[:0], arrived(id, 0), arrived(id+1, 0))
			facts[1].Value = scheduler.PackArrival(0, 1)
			facts = append(facts, scheduler.Event{Kind: scheduler.ItemJob, ID: id + 1, Value: id})
			facts = append(facts, dependent(id+2, 0, id, id+1)...)
			if id%512 > 0 {
				facts = append(facts, dependent(id+3, 0, id+2)...)
			} else { // one that stays for a while
				facts = append(facts, arrived(id+3, 1))
				facts = slices.Insert(facts, 0, scheduler.Event{Kind: scheduler.ItemCancelled, ID: max(4, id-5000)/512*512 + 3})
			}
			drain(t, core, facts, nil)
		}
	}
	drain(t, core, []scheduler.Event{arrived(0, 1)}, nil) // b is never run
	drain(t, core, []scheduler.Event{arrived(1, 0), arrived(2, 0), arrived(3, 0)}, nil)
	feed(4, 10_000)
	before := heap()
	feed(10_000, 1_000_000)
	if grown := heap() - before; grown > 100_000 { // one pointer for each 1,024 ids, while item 0 stays
		t.Errorf("990,000 items left %d bytes behind", grown)
	}
	if got := core.Counts(); got.Done+got.Cancelled+got.Ready != 1_000_000 || got.Ready > 12 || got.Cancelled < 1900 {
		t.Errorf("%+v", got)
	}
	if _, ok := core.View().ItemByID(0); !ok {
		t.Error("the item that stays is lost")
	}
	runtime.KeepAlive(core)
}

// TestNoAllocationPerItem: in steady state an item costs no memory, with and
// without dependencies.
func TestNoAllocationPerItem(t *testing.T) {
	for _, c := range []struct {
		name    string
		chained bool
		order   scheduler.Order
	}{{"plain", false, nil}, {"chained", true, nil}, {"ordered", false, scheduler.OrderFunc(byDeadline)}} {
		t.Run(c.name, func(t *testing.T) {
			cfg := oneModel(2)
			cfg.Order = c.order
			core, err := scheduler.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			id := int64(0)
			facts, next := make([]scheduler.Event, 0, 64), make([]scheduler.Event, 0, 64)
			round := func() {
				facts = facts[:0]
				for range 8 {
					facts = append(facts, arrived(id, 0))
					if c.chained && id > 0 {
						facts[len(facts)-1].Value = scheduler.PackArrival(0, 1)
						facts = append(facts, scheduler.Event{Kind: scheduler.ItemDependsOn, ID: id, Value: id - 1, Model: scheduler.NoModel})
					}
					id++
				}
				for len(facts) > 0 {
					if err := core.Step(facts); err != nil {
						t.Fatal(err)
					}
					next = next[:0]
					for _, ev := range core.Ready() {
						if ev.Kind == scheduler.BatchStarted {
							next = append(next, scheduler.Event{Kind: scheduler.BatchFinished, ID: ev.ID, Model: ev.Model, Device: ev.Device})
						}
						if ev.Kind == scheduler.LoadStarted {
							next = append(next, scheduler.Event{Kind: scheduler.LoadFinished, ID: ev.ID, Model: ev.Model, Device: ev.Device})
						}
					}
					core.Advance()
					facts = append(facts[:0], next...)
				}
			}
			for range 2000 { // past the first pages of ids
				round()
			}
			if n := testing.AllocsPerRun(1000, round); n > 0 {
				t.Errorf("%v allocations for 8 items", n)
			}
		})
	}
}

// BenchmarkCore measures the core alone: arrivals, a batch each, no world.
func BenchmarkCore(b *testing.B) {
	core, err := scheduler.New(oneModel(1))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	facts := make([]scheduler.Event, 0, 4)
	finish := scheduler.Event{}
	for id := range int64(b.N) {
		facts = facts[:0]
		if finish.Kind != 0 {
			facts = append(facts, finish)
		}
		facts = append(facts, arrived(id, 0))
		for i := range facts {
			facts[i].At = scheduler.Time(id)
		}
		if err := core.Step(facts); err != nil {
			b.Fatal(err)
		}
		for _, ev := range core.Ready() {
			if ev.Kind == scheduler.BatchStarted || ev.Kind == scheduler.LoadStarted {
				finished, _ := outcome(ev.Kind)
				finish = scheduler.Event{Kind: finished, ID: ev.ID, Model: ev.Model, Device: ev.Device}
			}
		}
		core.Advance()
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "items/s")
}
