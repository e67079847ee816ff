package scheduler_test

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/coretest"
)

// TestStateTellsApart: histories that differ in one thing that matters later
// end in different states, the same history in the same.
func TestStateTellsApart(t *testing.T) {
	type history struct {
		name string
		make func(r *rig)
	}
	attribute := func(kind scheduler.Kind, value int64) func(*rig) {
		return func(r *rig) {
			evs := dependent(0, 0, 0)
			evs[1] = scheduler.Event{Kind: kind, ID: 0, Value: value, Model: scheduler.NoModel, Device: scheduler.NoDevice}
			r.must(1, evs)
		}
	}
	priority := func(p int32) func(*rig) {
		return func(r *rig) {
			ev := arrived(0, 0)
			ev.Value = scheduler.PackArrival(p, 0)
			r.must(1, []scheduler.Event{ev})
		}
	}
	evictedInTurn := func(first, second scheduler.ModelID) func(*rig) {
		return func(r *rig) {
			r.resident(0)
			r.resident(1)
			for _, m := range []scheduler.ModelID{first, second} {
				r.must(9, []scheduler.Event{tick()}, scheduler.Evict(0, m))
				r.must(9, r.end(scheduler.EvictStarted, scheduler.EvictFinished))
			}
		}
	}
	// cancelled ends two items badly, in an order: the first is forgotten first.
	cancelled := func(first, second int64) func(*rig) {
		return func(r *rig) {
			r.must(1, []scheduler.Event{arrived(0, 0), arrived(1, 0)})
			for _, id := range []int64{first, second} {
				r.must(2, []scheduler.Event{{Kind: scheduler.ItemCancelled, ID: id}})
			}
		}
	}
	// jobOf leaves a job whose first item, gone by now, arrived early or late.
	jobOf := func(first scheduler.Time) func(*rig) {
		return func(r *rig) {
			evs := []scheduler.Event{arrived(1, 0), {Kind: scheduler.ItemJob, ID: 1, Value: 5}}
			evs[0].Value = scheduler.PackArrival(0, 1)
			r.must(1, []scheduler.Event{arrived(0, 0)})
			r.must(first, evs)
			evs[0].ID, evs[1].ID = 2, 2
			r.must(3, evs)
			r.must(3, []scheduler.Event{tick()}, scheduler.Reject(1, 1))
		}
	}
	histories := []history{
		{"empty", func(*rig) {}},
		{"time", func(r *rig) { r.must(1, []scheduler.Event{tick()}) }},
		{"item", func(r *rig) { r.must(1, []scheduler.Event{arrived(0, 0)}) }},
		{"item of another model", func(r *rig) { r.must(1, []scheduler.Event{arrived(0, 1)}) }},
		{"priority 1", priority(1)}, {"priority -1", priority(-1)},
		{"tenant 1", attribute(scheduler.ItemTenant, 1)}, {"tenant 2", attribute(scheduler.ItemTenant, 2)},
		{"work 1", attribute(scheduler.ItemWork, 1)}, {"work 2", attribute(scheduler.ItemWork, 2)},
		{"due 1", attribute(scheduler.ItemDeadline, 1)}, {"due 2", attribute(scheduler.ItemDeadline, 2)},
		{"job 1", attribute(scheduler.ItemJob, 1)}, {"job 2", attribute(scheduler.ItemJob, 2)},
		{"job begun at 1", jobOf(1)}, {"job begun at 2", jobOf(2)},
		{"waits for 1", func(r *rig) { r.must(1, dependent(0, 0, 1)) }},
		{"waits for 2", func(r *rig) { r.must(1, dependent(0, 0, 2)) }},
		{"waits for both", func(r *rig) { r.must(1, dependent(0, 0, 1, 2)) }},
		{"cancelled 0, 1", cancelled(0, 1)}, {"cancelled 1, 0", cancelled(1, 0)},
		{"foreign memory", func(r *rig) { r.must(1, []scheduler.Event{{Kind: scheduler.MemoryObserved, Value: 1}}) }},
		{"device down", func(r *rig) { r.must(1, []scheduler.Event{{Kind: scheduler.DeviceDown}}) }},
		{"timer", func(r *rig) { r.must(1, []scheduler.Event{tick()}, scheduler.Wake(9)) }},
		{"later timer", func(r *rig) { r.must(1, []scheduler.Event{tick()}, scheduler.Wake(10)) }},
		{"evicted 0, 1", evictedInTurn(0, 1)}, {"evicted 1, 0", evictedInTurn(1, 0)},
		{"held", func(r *rig) { r.resident(0); r.must(5, []scheduler.Event{tick()}, scheduler.Hold(0, 0, 9)) }},
		{"held for ever", func(r *rig) {
			r.resident(0)
			r.must(5, []scheduler.Event{tick()}, scheduler.Hold(0, 0, scheduler.Never))
		}},
		{"claim", func(r *rig) {
			r.resident(0)
			r.must(5, []scheduler.Event{tick()}, scheduler.Load(0, 2))
		}},
		{"attempt", func(r *rig) {
			r.must(1, []scheduler.Event{arrived(0, 0)})
			r.resident(0)
			r.must(5, []scheduler.Event{tick()}, scheduler.Run(0, 0, 1))
			r.must(6, r.end(scheduler.BatchStarted, scheduler.BatchFailed))
		}},
		{"cancelled while running", func(r *rig) {
			r.must(1, []scheduler.Event{arrived(0, 0)})
			r.resident(0)
			r.must(5, []scheduler.Event{tick()}, scheduler.Run(0, 0, 1))
			r.must(6, []scheduler.Event{{Kind: scheduler.ItemCancelled}})
		}},
	}
	states := map[string]string{}
	for _, h := range histories {
		var first []byte
		for range 2 {
			r := newRig(t, func(cfg *scheduler.Config) {
				cfg.Evictor, cfg.HostMemory, cfg.KeepFailed = inTurn{0}, 8, 5
			})
			h.make(r)
			state := r.core.AppendState(nil)
			if first != nil && !bytes.Equal(first, state) {
				t.Errorf("%s: the same history twice ends in two states", h.name)
			}
			first = state
		}
		if other, taken := states[string(first)]; taken {
			t.Errorf("%s ends in the state of %s", h.name, other)
		}
		states[string(first)] = h.name
	}
}

// TestFork: a core refolded from a log goes on as the one that made it.
func TestFork(t *testing.T) {
	made := func() *rig {
		r := newRig(t, func(cfg *scheduler.Config) { cfg.Attempts = 1 })
		r.must(1, append([]scheduler.Event{arrived(0, 0)}, dependent(1, 0, 0)...))
		return r
	}
	r := made()
	var log []scheduler.Event
	keep := func() { log = append(log, r.seen...) }
	keep()
	r.must(2, []scheduler.Event{tick()}, scheduler.Load(0, 0))
	keep()
	load := r.end(scheduler.LoadStarted, scheduler.LoadFinished)
	r.must(3, load, scheduler.Run(0, 0, 1))
	keep()
	failed := r.end(scheduler.BatchStarted, scheduler.BatchFailed)
	r.must(4, failed)
	keep()

	fork := newRig(t, func(cfg *scheduler.Config) { cfg.Attempts = 1 })
	for _, ev := range log {
		if err := fork.core.Apply(ev); err != nil {
			t.Fatal(err)
		}
	}
	if fork.core.StateDigest() != r.core.StateDigest() {
		t.Fatal("the fork is in another state")
	}
	for _, each := range []*rig{r, fork} {
		each.must(5, dependent(2, 0, 0))
		if len(each.seen) != 3 || each.seen[2].Kind != scheduler.DependantCancelled || each.seen[2].ID != 2 {
			t.Errorf("%v", each.seen)
		}
	}
	if fork.core.StateDigest() != r.core.StateDigest() {
		t.Error("the fork goes on otherwise")
	}
}

// damagedLog is a log with some of everything, and configurations to replay it.
func damagedLog(t testing.TB) ([]scheduler.Event, func() scheduler.Config) {
	config := func() scheduler.Config {
		return scheduler.Config{Waits: true, Checked: true, Attempts: 2, HostMemory: 5,
			Policy: &wanderer{seed: 7, idle: 2, tricks: 4}, Evictor: choosers(7)[1],
			Models: []scheduler.Model{{Name: "a", Bytes: 3, Batch: scheduler.BatchCost{Max: 2, Memory: 1}}, {Name: "b", Bytes: 4, Batch: scheduler.BatchCost{Max: 2}},
				{Name: "c", Bytes: 5, Batch: scheduler.BatchCost{Max: 1}}},
			Devices: []scheduler.Device{{Budget: 9, Slots: 1}, {Budget: 6, Slots: 2}}}
	}
	core, err := scheduler.New(config())
	if err != nil {
		t.Fatal(err)
	}
	var log, flights []scheduler.Event
	id := int64(0)
	for at := scheduler.Time(1); at < 90; at++ {
		var facts []scheduler.Event
		for _, class := range []int{0, 1, 2} {
			for i, f := range flights {
				finished, failed := outcome(f.Kind)
				if f.Kind == 0 || finished.Class() != class || mix(uint64(at), uint64(f.ID))%2 > 0 {
					continue
				}
				ev := scheduler.Event{At: at, Kind: finished, ID: f.ID, Model: f.Model, Device: f.Device}
				if mix(uint64(f.ID))%5 == 0 {
					ev.Kind = failed
				}
				facts = append(facts, ev)
				flights[i].Kind = 0
			}
		}
		if at%17 == 0 {
			facts = append(facts, scheduler.Event{At: at, Kind: scheduler.ItemCancelled, ID: id / 2})
		}
		model := scheduler.ModelID(mix(uint64(id)) % 3)
		facts = append(facts, arrived(id, model))
		facts = append(facts, dependent(id+1, model, id)...)
		id += 2
		for i := range facts {
			facts[i].At = at
		}
		if err := core.Step(facts); err != nil {
			t.Fatal(err)
		}
		for _, ev := range core.Ready() {
			switch ev.Kind {
			case scheduler.BatchStarted, scheduler.LoadStarted, scheduler.EvictStarted:
				flights = append(flights, ev)
			}
		}
		log = append(log, core.Ready()...)
		core.Advance()
	}
	return log, config
}

// TestDamageIsFound: whatever happens to one event of a log, replaying it never
// panics, and a decision that is not the one that was made is always found.
func TestDamageIsFound(t *testing.T) {
	log, config := damagedLog(t)
	if err := scheduler.Replay(config(), config(), log); err != nil {
		t.Fatal(err)
	}
	kinds := map[scheduler.Kind]bool{}
	for _, ev := range log {
		kinds[ev.Kind] = true
	}
	for _, k := range []scheduler.Kind{scheduler.LoadClaimed, scheduler.EvictStarted, scheduler.BatchFailed, scheduler.ItemReadied, scheduler.ItemRejected, scheduler.ModelHeld, scheduler.Note} {
		if !kinds[k] {
			t.Fatalf("the log has no %v", k)
		}
	}
	coretest.Check(t, 3000, func(t *rapid.T) {
		damaged := append([]scheduler.Event(nil), log...)
		i := rapid.IntRange(0, len(log)-1).Draw(t, "event")
		switch how := rapid.IntRange(0, 8).Draw(t, "how"); how {
		case 0: // removed
			damaged = append(damaged[:i], damaged[i+1:]...)
		case 1: // twice
			damaged = append(damaged[:i+1], damaged[i:]...)
		case 2: // swapped
			if i+1 == len(log) {
				return
			}
			damaged[i], damaged[i+1] = damaged[i+1], damaged[i]
		default:
			flip(&damaged[i], how, rapid.IntRange(0, 63).Draw(t, "bit"))
		}
		if i < len(damaged) && damaged[i] == log[i] && len(damaged) == len(log) {
			return
		}
		states, err := scheduler.NewStateReplay(config())
		if err != nil {
			t.Fatal(err)
		}
		if states.Append(damaged) == nil {
			states.Core.StateDigest()
		}
		err = scheduler.Replay(config(), config(), damaged)
		var divergence *scheduler.Divergence
		if err != nil && !errors.As(err, &divergence) {
			t.Fatalf("%T: %v", err, err)
		}
		if err == nil && (len(damaged) != len(log) || !log[i].Kind.Fact()) {
			t.Fatalf("event %d, %+v, became %+v and nobody sees it", i, log[i], damaged[i])
		}
	})
}

// flip changes one bit of one field.
func flip(ev *scheduler.Event, field, bit int) {
	switch field {
	case 3:
		ev.At ^= 1 << bit
	case 4:
		ev.ID ^= 1 << bit
	case 5:
		ev.Value ^= 1 << bit
	case 6:
		ev.Model ^= 1 << (bit % 32)
	case 7:
		ev.Device ^= 1 << (bit % 16)
	case 8:
		if bit < 32 {
			ev.Kind ^= 1 << (bit % 8)
		} else {
			ev.Flags ^= 1 << (bit % 8)
		}
	}
}

// TestConfigErrors: each mistake is named by its place.
func TestConfigErrors(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*scheduler.Config)
		field  string // empty: a *TooBigError
	}{
		{"no models", func(c *scheduler.Config) { c.Models = nil }, "Models"},
		{"no devices", func(c *scheduler.Config) { c.Devices = nil }, "Devices"},
		{"no policy", func(c *scheduler.Config) { c.Policy = nil }, "Policy"},
		{"no bytes", func(c *scheduler.Config) { c.Models[1].Bytes = 0 }, "Models[1].Bytes"},
		{"no batch", func(c *scheduler.Config) { c.Models[0].Batch.Max = 0 }, "Models[0].Batch.Max"},
		{"batch too large", func(c *scheduler.Config) { c.Models[0].Batch.Max = scheduler.MaxBatch + 1 }, "Models[0].Batch.Max"},
		{"negative memory", func(c *scheduler.Config) { c.Models[0].Batch.Memory = -1 }, "Models[0].Batch.Memory"},
		{"negative time", func(c *scheduler.Config) { c.Models[2].Unload = -1 }, "Models[2]"},
		{"sizes without 1", func(c *scheduler.Config) { c.Models[2].Batch.Sizes = []int{2} }, "Models[2].Batch.Sizes[0]"},
		{"sizes that do not ascend", func(c *scheduler.Config) { c.Models[0].Batch.Sizes = []int{1, 1} }, "Models[0].Batch.Sizes[1]"},
		{"a size above the largest", func(c *scheduler.Config) { c.Models[0].Batch.Max, c.Models[0].Batch.Sizes = 4, []int{1, 2, 5} }, "Models[0].Batch.Sizes[2]"},
		{"negative batch time", func(c *scheduler.Config) { c.Models[2].Batch.Times = []scheduler.Time{1, -1} }, "Models[2].Batch.Times[1]"},
		{"no budget", func(c *scheduler.Config) { c.Devices[1].Budget = 0 }, "Devices[1].Budget"},
		{"no slots", func(c *scheduler.Config) { c.Devices[0].Slots = 0 }, "Devices[0].Slots"},
		{"negative attempts", func(c *scheduler.Config) { c.Attempts = -1 }, "Attempts"},
		{"negative host memory", func(c *scheduler.Config) { c.HostMemory = -1 }, "HostMemory"},
		{"weights one byte too large", func(c *scheduler.Config) { c.Models[0].Bytes, c.Models[0].Batch.Memory = 9, 0 }, ""},
		{"one item one byte too large", func(c *scheduler.Config) { c.Models[0].Batch.Memory = 5 }, ""},
		{"beyond counting", func(c *scheduler.Config) { c.Models[0].Batch.Memory = 1<<63 - 1 }, ""},
	} {
		cfg := newRig(t, nil).core.Config()
		cfg.Models = append([]scheduler.Model(nil), cfg.Models...)
		cfg.Devices = append([]scheduler.Device(nil), cfg.Devices...)
		c.change(&cfg)
		_, err := scheduler.New(cfg)
		var field *scheduler.ConfigError
		var big *scheduler.TooBigError
		switch {
		case c.field == "" && (!errors.As(err, &big) || big.Budget != 8 || big.Model != "a"):
			t.Errorf("%s: %v", c.name, err)
		case c.field != "" && (!errors.As(err, &field) || field.Field != c.field):
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if cfg := newRig(t, nil).core.Config(); cfg.Attempts != scheduler.DefaultAttempts {
		t.Errorf("%d attempts by default", cfg.Attempts)
	}
}
