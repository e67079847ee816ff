package policies_test

import (
	"strings"
	"testing"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/scheduler"
)

// steadyA is one item of a each second until a minute is over, and others.
func steadyA(others ...arrival) []arrival {
	var items []arrival
	for at := scheduler.Time(0); at < 60*sec; at += sec {
		for len(others) > 0 && others[0].at < at {
			items, others = append(items, others[0]), others[1:]
		}
		items = append(items, arrival{at: at})
	}
	return append(items, others...)
}

// A model is left when its queue is drained and it was served for 5 s, or when
// another one's item has waited for 15 s.
func TestTimeSlice(t *testing.T) {
	for _, c := range []struct {
		what  string
		spec  policies.Spec
		gb    float64
		slots int
		items []arrival
		order string // how it begins
		b     scheduler.Time
	}{
		// c from 10 s to 17 s, and no shorter than until 20 s.
		{"the longest queue", use("time-slice"), 4, 1, append(burst(0, "A"), append(burst(5500*ms, "B"), burst(7*sec, "CC")...)...), "ACCB", 25 * sec},
		{"not while it has items", use("time-slice"), 4, 1, steadyA(burst(sec, "B")...), "AAAAAAAAAAAB", 21 * sec},
		{"not before it was served", use("time-slice", "max_wait", "2s"), 4, 1, steadyA(burst(sec, "B")...), "AAAAAB", 15 * sec},
		{"forced visits are gated", use("time-slice", "max_wait", "10s", "min_active", "0s"), 4, 1, steadyA(append(burst(sec, "BB"), burst(16500*ms, "B")...)...), "AAAAAABBA", 16 * sec},
		{"what runs is drained first", use("time-slice"), 8, 2, []arrival{{work: 10e6}, {at: 6 * sec, model: 1}}, "AB", 20 * sec},
		{"or until another one is urgent", use("time-slice"), 8, 2, []arrival{{work: 40e6}, {at: 6 * sec, model: 1}}, "AB", 26 * sec},
		{"what has left needs no time", policies.Spec{Use: "time-slice", Evict: axis("ttl", "idle", "1s")}, 4, 1, append(burst(0, "A"), burst(7500*ms, "B")...), "AB", 12500 * ms},
		{"loaded ahead while it waits", policies.Spec{Use: "time-slice", Prefetch: axis("next")}, 8, 1, append(burst(0, "A"), burst(5500*ms, "B")...), "AB", 10500 * ms},
		// Two visits of one item each, from 5 s on.
		{"visits in a row are one stay", policies.Spec{Use: "time-slice", Visit: axis("limited")}, 4, 1, append(burst(0, "AA"), burst(5500*ms, "B")...), "AAB", 15 * sec},
	} {
		s := scenario{models: ones(abc()), devices: gpu(c.gb), items: c.items, spec: c.spec}
		s.devices[0].Slots = c.slots
		o := s.run(t)
		if at := o.firstOf(1); !strings.HasPrefix(o.order(), c.order) || at != c.b {
			t.Errorf("%s: %s, b at %v; want %s, b at %v", c.what, o.order(), at, c.order, c.b)
		}
	}
}

// A model is left, drained or not, once another queue is worth the switch.
func TestCostAware(t *testing.T) {
	// A switch is taken for 10 s: a is served until 15 s, 5 items are worth it.
	for _, c := range []struct {
		what  string
		spec  policies.Spec
		items []arrival
		order string // how it begins
		b     scheduler.Time
	}{
		{"served for as long as the switch takes", use("cost-aware"), append(burst(0, "A"), burst(5500*ms, "B")...), "AB", 20 * sec},
		{"however many wait", use("cost-aware"), append(burst(0, "A"), burst(5500*ms, "BBBBBBB")...), "AB", 20 * sec},
		{"after that for the window", use("cost-aware"), append(burst(0, "A"), burst(16*sec, "B")...), "AB", 23 * sec},
		{"4 are not worth it", use("cost-aware"), append(burst(0, "A"), burst(16*sec, "BBBB")...), "AB", 23 * sec},
		{"5 are", use("cost-aware"), append(burst(0, "A"), burst(16*sec, "BBBBB")...), "AB", 21 * sec},
		{"the fifth comes within the window", use("cost-aware"), append(burst(0, "A"), append(burst(16*sec, "BBBB"), burst(17*sec, "B")...)...), "AB", 22 * sec},
		{"a factor of .3: 3 are", use("cost-aware", "factor", 0.3), append(burst(0, "A"), burst(16*sec, "BBB")...), "AB", 21 * sec},
		{"a factor of .31: 4", use("cost-aware", "factor", 0.31), append(burst(0, "A"), burst(16*sec, "BBB")...), "AB", 23 * sec},
		{"a factor of 0: one", use("cost-aware", "factor", 0), append(burst(0, "A"), burst(16*sec, "B")...), "AB", 21 * sec},
		{"though its own queue has items", use("cost-aware"), steadyA(burst(5500*ms, "B")...), "AAAAAAAAAAB", 20 * sec},
		{"waited too long", use("cost-aware", "max_wait", "6s"), steadyA(burst(5500*ms, "B")...), "AAAAAAAB", 17 * sec},
		{"but not before min_active", use("cost-aware", "max_wait", "3s"), append(burst(0, "A"), burst(5500*ms, "B")...), "AB", 15 * sec},
		{"a visit that is forced is served", use("cost-aware", "max_wait", "3s", "min_active", "0s"), append(burst(0, "A"), append(burst(5500*ms, "BB"), burst(6*sec, "C")...)...), "ABBC", 13500 * ms},
		{"nor goes who is worth it", use("cost-aware", "min_active", "14s"), append(burst(0, "A"), burst(16*sec, "BBBBB")...), "AB", 24 * sec},
		{"the oldest of two", use("cost-aware"), append(burst(0, "A"), append(burst(5200*ms, "C"), burst(5500*ms, "B")...)...), "ACB", 30 * sec},
		{"what has left needs no time", policies.Spec{Use: "cost-aware", Evict: axis("ttl", "idle", "1s")}, append(burst(0, "A"), burst(7500*ms, "B")...), "AB", 12500 * ms},
	} {
		s := scenario{models: ones(abc()), devices: gpu(4), items: c.items, spec: c.spec}
		o := s.run(t)
		if at := o.firstOf(1); !strings.HasPrefix(o.order(), c.order) || at != c.b {
			t.Errorf("%s: %s, b at %v; want %s, b at %v", c.what, o.order(), at, c.order, c.b)
		}
	}
	// A batch that waits for more items gives way.
	s := scenario{models: abc(), devices: gpu(8), items: append(burst(0, "AAA"), append(burst(9*sec, "A"), burst(9500*ms, "B")...)...),
		spec: policies.Spec{Use: "cost-aware", Batch: axis("accumulate", "items", 3, "timeout", "60s")}}
	if at := s.run(t).loaded(1); at != 15*sec {
		t.Errorf("b was loaded at %v, want 15s", at)
	}
}

// What a switch costs is learnt from those that were made.
func TestCostAwareLearns(t *testing.T) {
	at := func(at scheduler.Time, letter string, n int) []arrival { return burst(at, strings.Repeat(letter, n)) }
	for _, c := range []struct {
		what   string
		evict  string
		gb     float64
		load   scheduler.Time // of b
		unload scheduler.Time // of a
		items  [][]arrival
		factor int
		enough int
		last   scheduler.Time // when b's last items come, worth it from enough on
		took   scheduler.Time // from there until they run
	}{
		// b from 18 s to 23 s, a again from 42 s.
		{"5 s: 3 items", "lru", 4, 5 * sec, 0, [][]arrival{at(0, "A", 1), at(16*sec, "B", 1), at(40*sec, "A", 1)}, 0, 3, 60 * sec, 5 * sec},
		{"and an unload of 3 s: 4", "lru", 4, 5 * sec, 3 * sec, [][]arrival{at(0, "A", 1), at(16*sec, "B", 1), at(40*sec, "A", 1)}, 0, 4, 60 * sec, 8 * sec},
		{"an unload that the policy asks for", "single", 9, 5 * sec, 3 * sec, [][]arrival{at(0, "A", 1), at(16*sec, "B", 1), at(40*sec, "A", 1)}, 0, 4, 60 * sec, 8 * sec},
		{"no more than 60 s: 30", "lru", 4, 90 * sec, 0, [][]arrival{at(0, "A", 1), at(16*sec, "B", 1), at(120*sec, "A", 1)}, 0, 30, 300 * sec, 90 * sec},
		// 5 s, then nothing: .3·0 + .7·5 = 3.5 s.
		{"both are there: 2", "lru", 8, 5 * sec, 0, [][]arrival{at(0, "A", 1), at(16*sec, "B", 1), at(40*sec, "A", 1), at(60*sec, "B", 1), at(80*sec, "A", 1)}, 0, 2, 100 * sec, 0},
		{"or 4, one for each second", "lru", 8, 5 * sec, 0, [][]arrival{at(0, "A", 1), at(16*sec, "B", 1), at(40*sec, "A", 1), at(60*sec, "B", 1), at(80*sec, "A", 1)}, 1, 4, 100 * sec, 0},
	} {
		for _, short := range []int{0, 1} {
			s := scenario{models: ones(abc()), devices: gpu(c.gb), spec: policies.Spec{Use: "cost-aware", Evict: axis(c.evict)}}
			if c.factor > 0 {
				s.spec.Params = pairs([]any{"factor", c.factor})
			}
			s.models[1].Load = [scheduler.Tiers]scheduler.Time{c.load, c.load}
			s.models[0].Unload = c.unload
			for _, some := range c.items {
				s.items = append(s.items, some...)
			}
			first := scheduler.ItemID(len(s.items))
			s.items = append(s.items, at(c.last, "B", c.enough-short)...)
			want := c.last + c.took + sec
			if short > 0 {
				want += 2 * sec
			}
			if got := s.run(t).Done[first]; got != want {
				t.Errorf("%s: the first of %d ended at %v, want %v", c.what, c.enough-short, got, want)
			}
		}
	}
}
