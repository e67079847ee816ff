package explain_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/results/explain"
	"github.com/vramsim/vramsim/scheduler"
)

// script is a policy that says its lines, one after the other.
type script []scheduler.Decision

func (s *script) Next(*scheduler.View) scheduler.Decision {
	if len(*s) == 0 {
		return scheduler.Decision{}
	}
	d := (*s)[0]
	*s = (*s)[1:]
	return d
}

// lowest is an evictor that offers the first model it may.
type lowest struct{}

func (lowest) Victim(v *scheduler.View, d scheduler.DeviceID, _ scheduler.Bytes, _ scheduler.ModelID) (scheduler.ModelID, bool) {
	for m := range scheduler.ModelID(v.Models()) {
		if v.Evictable(d, m) {
			return m, true
		}
	}
	return scheduler.NoModel, false
}

// config has a policy and four models a, b, c and d of 4 bytes each on a device of 12.
func config(policy scheduler.Policy) scheduler.Config {
	cfg := scheduler.Config{Policy: policy, Devices: []scheduler.Device{{Name: "gpu0", Budget: 12, Slots: 1}}, Evictor: lowest{}, Waits: true}
	for _, name := range []string{"a", "b", "c", "d"} {
		cfg.Models = append(cfg.Models, scheduler.Model{Name: name, Bytes: 4, Load: [scheduler.Tiers]scheduler.Time{5, 5}, Batch: scheduler.BatchCost{Max: 2, Base: 1}})
	}
	return cfg
}

// TestWhoDecided: what the core does about a decision is not the policy's, what
// the policy decides in the midst of that is.
func TestWhoDecided(t *testing.T) {
	says := script{}
	core, err := scheduler.New(config(&says))
	if err != nil {
		t.Fatal(err)
	}
	var log []scheduler.Event
	step := func(fact scheduler.Event, lines ...scheduler.Decision) {
		t.Helper()
		says = append(says, lines...)
		if err := core.Step([]scheduler.Event{fact}); err != nil {
			t.Fatal(err)
		}
		log = append(log, core.Ready()...)
		core.Advance()
	}
	ends := func(at scheduler.Time, kind scheduler.Kind, began scheduler.Kind, m scheduler.ModelID) scheduler.Event {
		i := len(log) - 1
		for log[i].Kind != began || log[i].Model != m {
			i--
		}
		return scheduler.Event{At: at, Kind: kind, ID: int64(i), Model: m}
	}
	step(scheduler.Event{Kind: scheduler.ItemArrived, Model: 3}, scheduler.Load(0, 0))
	step(ends(5, scheduler.LoadFinished, scheduler.LoadStarted, 0), scheduler.Load(0, 1))
	step(ends(10, scheduler.LoadFinished, scheduler.LoadStarted, 1), scheduler.Load(0, 2))
	step(ends(15, scheduler.LoadFinished, scheduler.LoadStarted, 2), scheduler.Hold(0, 2, 40), scheduler.Load(0, 3), scheduler.Evict(0, 1), scheduler.Wake(50))
	step(ends(20, scheduler.EvictFinished, scheduler.EvictStarted, 0))
	want := []string{
		"the policy decided to load a on gpu0 from disk", "the policy decided to load b on gpu0 from disk", "the policy decided to load c on gpu0 from disk",
		"the policy decided to hold c on gpu0 until 40ns", "wake at 40ns\n  not decided by the policy: a hold ends then",
		"the policy decided to load d on gpu0 once there is room", "evict a from gpu0, 4B\n  not decided by the policy: the evictor chose it, to make room for d, which event 9 claimed",
		"the policy decided to evict b from gpu0", "the policy decided to wake at 50ns",
		"load d on gpu0 from disk, estimated to take 5ns\n  not decided by the policy: event 9 claimed room for it, and now there is enough",
	}
	for seq, ev := range log {
		if ev.Kind.Fact() {
			continue
		}
		var b strings.Builder
		if err := explain.Decision(&b, &explain.Run{Config: config(&script{}), Events: events(log)}, int64(seq)); err != nil {
			t.Fatalf("event %d, %v: %v", seq, ev.Kind, err)
		}
		if len(want) == 0 || !strings.Contains(b.String(), want[0]) {
			t.Fatalf("event %d, %v: want %q\n%s", seq, ev.Kind, want, b.String())
		}
		want = want[1:]
	}
	if len(want) > 0 {
		t.Errorf("never: %q", want)
	}
}

// events is a log in memory.
func events(log []scheduler.Event) func(func(scheduler.Event, error) bool) {
	return func(yield func(scheduler.Event, error) bool) {
		for _, ev := range slices.Clone(log) {
			if !yield(ev, nil) {
				return
			}
		}
	}
}
