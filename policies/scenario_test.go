package policies_test

import (
	"slices"
	"testing"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/policies/policytest"
	"github.com/vramsim/vramsim/scheduler"
)

// three models of 4 GB that load in 5 s and take 1 s an item.
func abc() []scheduler.Model {
	return []scheduler.Model{model("a", 4, 5*sec, 8, 0, sec), model("b", 4, 5*sec, 8, 0, sec), model("c", 4, 5*sec, 8, 0, sec)}
}

func ones(models []scheduler.Model) []scheduler.Model {
	for i := range models {
		models[i].Batch.Max = 1
	}
	return models
}

func TestOrderOfBatches(t *testing.T) {
	later := func(items ...arrival) []arrival { return items }
	for _, c := range []struct {
		name   string
		spec   policies.Spec
		gb     float64
		models []scheduler.Model
		items  []arrival
		want   string
	}{
		// mostlygeek/llama-swap#612: A B A A C A B C at once.
		{"sticky groups", use("sticky"), 4, ones(abc()), burst(0, "ABAACABC"), "AAAABBCC"},
		{"seed groups", use("seed", "ties", "lowest"), 4, ones(abc()), burst(0, "ABAACABC"), "AAAABBCC"},
		{"fifo does not", use("fifo"), 4, ones(abc()), burst(0, "ABAACABC"), "ABAACABC"},
		{"fifo batches its run at the front", use("fifo"), 4, abc(), burst(0, "ABAACABC"), "ABA2CABC"},
		{"fifo exhaustive stays", policies.Spec{Use: "fifo", Visit: axis("exhaustive")}, 4, ones(abc()), burst(0, "ABAACABC"), "AAAABBCC"},
		{"fifo bypass prefers residents", use("fifo", "bypass", true), 8, ones(abc()), burst(0, "ABCAB"), "AABBC"},
		{"semaphore is fifo one by one", use("semaphore"), 4, abc(), burst(0, "AABAC"), "AABAC"},
		{"longest anew", use("longest"), 4, ones(abc()), burst(0, "ABBBAAB"), "BBAABBA"},
		{"longest resident first", use("longest", "prefer", "resident"), 4, ones(abc()), burst(0, "ABBBAAB"), "BBBBAAA"},
		{"hysteresis stays", use("hysteresis", "h", 2), 4, ones(abc()), burst(0, "ABBBAAB"), "BBBAAAB"},
		{"oldest is gated", use("oldest"), 4, ones(abc()), append(burst(0, "AAB"), burst(6*sec, "A")...), "AABA"},
		{"polling goes round", policies.Spec{Use: "polling", Visit: axis("limited")}, 4, ones(abc()), burst(0, "CCBBAA"), "ABCABC"},
		{"polling in a given order", policies.Spec{Use: "polling", Params: map[string]any{"order": []any{"c", "a", "b"}}}, 4, ones(abc()), burst(0, "AABBCC"), "CCAABB"},
		{"polling limited to two batches", policies.Spec{Use: "polling", Visit: axis("limited", "batches", 2)}, 4, ones(abc()), burst(0, "AAABB"), "AABBA"},
		{"polling limited to three items cuts batches", policies.Spec{Use: "polling", Visit: axis("limited", "items", 3)}, 4, abc(), burst(0, "AAAAAB"), "A3BA2"},
		{"polling timed", policies.Spec{Use: "polling", Visit: axis("timed", "quantum", "1.5s")}, 4, ones(abc()), burst(0, "AAABB"), "AABBA"},
		{"polling gated leaves newcomers", policies.Spec{Use: "polling", Visit: axis("gated")}, 4, ones(abc()), append(burst(0, "AAB"), burst(5500*ms, "A")...), "AABA"},
		{"polling exhaustive takes them along", use("polling"), 4, ones(abc()), append(burst(0, "AAB"), burst(5500*ms, "A")...), "AAAB"},
		{"priority", use("priority"), 4, ones(abc()), later(arrival{model: 0}, arrival{model: 1, priority: 5}, arrival{model: 0}, arrival{model: 1}), "BAAB"},
		{"edf-setup", use("edf-setup"), 4, ones(abc()), later(arrival{model: 0, deadline: 100 * sec}, arrival{model: 1, deadline: 40 * sec}, arrival{model: 1}), "BBA"},
		{"accumulate", policies.Spec{Use: "fifo", Batch: axis("accumulate", "items", 3, "timeout", "60s")}, 4, abc(), append(burst(0, "A"), append(burst(10*sec, "A"), burst(20*sec, "AA")...)...), "A4"},
		{"seed freezes its batch before the load", use("seed"), 4, abc(), append(burst(0, "A"), burst(2*sec, "AAA")...), "AA3"},
		{"edf-setup stays", use("edf-setup", "fill", false, "h", "0s"), 8, ones(abc()), later(arrival{model: 1, deadline: 50 * sec}, arrival{model: 1, deadline: 60 * sec}, arrival{deadline: 65 * sec}), "BBA"},
		{"edf-setup leaves for less", use("edf-setup", "fill", false, "h", "2s"), 8, ones(abc()), later(arrival{model: 1, deadline: 50 * sec}, arrival{model: 1, deadline: 90 * sec}, arrival{deadline: 65 * sec}), "BAB"},
		{"edf-setup stays for h", use("edf-setup", "fill", false, "h", "30s"), 8, ones(abc()), later(arrival{model: 1, deadline: 50 * sec}, arrival{model: 1, deadline: 90 * sec}, arrival{deadline: 65 * sec}), "BBA"},
		{"delay prefers a size", policies.Spec{Use: "fifo", Batch: axis("delay", "wait", "30s", "prefer", []any{int64(2), int64(4)})}, 4, abc(), append(burst(0, "AAA"), burst(20*sec, "AA")...), "A4A"},
		{"slo-largest", policies.Spec{Use: "fifo", Batch: axis("slo-largest")}, 4, abc(), later(arrival{model: 0, deadline: 8 * sec}, arrival{model: 0}, arrival{model: 0}, arrival{model: 0}, arrival{model: 0}), "A3A2"},
		{"order deadline", policies.Spec{Use: "fifo", Order: axis("deadline")}, 4, ones(abc()), later(arrival{model: 0, deadline: 90 * sec}, arrival{model: 0, deadline: 80 * sec}, arrival{model: 0}), "AAA"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := scenario{models: c.models, devices: gpu(c.gb), items: c.items, spec: c.spec}
			if got := s.run(t).order(); got != c.want {
				t.Errorf("batches %s, want %s", got, c.want)
			}
		})
	}
}

func TestOrderInsideAQueue(t *testing.T) {
	for _, c := range []struct {
		order string
		items []arrival
		want  []scheduler.ItemID
	}{
		{"deadline", []arrival{{deadline: 90 * sec}, {deadline: 80 * sec}, {}, {deadline: 85 * sec}}, []scheduler.ItemID{1, 3, 0, 2}},
		{"work", []arrival{{work: 3e6}, {work: 2e6}, {}, {work: 5e5}}, []scheduler.ItemID{3, 2, 1, 0}},
		{"fifo", []arrival{{priority: 1}, {priority: 2}, {priority: 1}}, []scheduler.ItemID{1, 0, 2}},
	} {
		s := scenario{models: ones(abc()), devices: gpu(4), items: c.items, spec: policies.Spec{Use: "fifo", Order: axis(c.order)}}
		var got []scheduler.ItemID
		for _, b := range s.run(t).Batches {
			got = append(got, b.Items...)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("order %s: items %v, want %v", c.order, got, c.want)
		}
	}
}

// Reference strings of the residency literature: one item a second, no load
// takes longer than the gap.
func TestLoadsOfReferenceStrings(t *testing.T) {
	belady := []int{1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5}
	sizes := []float64{4.5, 5, 2, 1.5, 1}
	for _, c := range []struct {
		evict string
		seq   []int
		sizes []float64
		gb    float64
		want  int
	}{
		{"fifo", belady, nil, 3, 9}, {"fifo", belady, nil, 4, 10},
		{"lru", belady, nil, 3, 10}, {"lru", belady, nil, 4, 8},
		{"belady", belady, nil, 3, 7}, {"belady", belady, nil, 4, 6},
		{"fifo", []int{1, 0, 1, 2, 1, 0, 2}, sizes, 8, 5}, {"fifo", []int{1, 0, 1, 2, 1, 0, 2}, sizes, 10, 6},
		{"lru", []int{3, 0, 1, 3}, sizes, 7, 3}, {"lru", []int{3, 0, 1, 3}, sizes, 10.5, 4},
		{"single", []int{0, 1, 0, 0, 2}, nil, 4, 4}, {"count", []int{0, 1, 2, 0, 3, 1}, nil, 9, 5},
		{"largest", []int{1, 0, 2, 1, 0}, sizes, 10, 5}, {"lfu", []int{0, 0, 1, 2, 0}, nil, 2, 3},
	} {
		s := scenario{devices: gpu(c.gb), spec: policies.Spec{Use: "fifo", Evict: axis(c.evict)}}
		for i := range 6 {
			size := 1.0
			if c.sizes != nil && i < len(c.sizes) {
				size = c.sizes[i]
			}
			s.models = append(s.models, model(string(rune('a'+i)), size, 10*ms, 1, ms, 0))
		}
		for i, m := range c.seq {
			s.items = append(s.items, arrival{at: scheduler.Time(i) * sec, model: scheduler.ModelID(m)})
		}
		if o := s.run(t); o.Loads != c.want {
			t.Errorf("%s on %v of %v GB: %d loads, want %d", c.evict, c.seq, c.gb, o.Loads, c.want)
		}
	}
}

// More memory, later end: the case of the reference values.
func TestMemoryAnomaly(t *testing.T) {
	sizes, loads := []float64{4.5, 5, 2, 1.5, 1}, []scheduler.Time{5, 8, 4, 10, 6}
	for _, c := range []struct {
		gb    float64
		end   scheduler.Time
		order []scheduler.ItemID
	}{{6, 42 * sec, []scheduler.ItemID{0, 1, 3, 4, 2}}, {10, 44 * sec, []scheduler.ItemID{0, 1, 2, 3, 4}}} {
		s := scenario{devices: gpu(c.gb), spec: policies.Spec{Use: "longest", Params: map[string]any{"prefer": "resident", "fill": false}, Evict: axis("lru")},
			items: []arrival{{model: 1, work: 2e6}, {model: 3, work: 3e6}, {model: 1, work: 3e6, after: []int{1}}, {model: 0, after: []int{1}}, {model: 3, work: 2e6, after: []int{1, 3}}}}
		for i := range sizes {
			s.models = append(s.models, model(string(rune('a'+i)), sizes[i], loads[i]*sec, 1, 0, sec))
		}
		o := s.run(t)
		var order []scheduler.ItemID
		for _, b := range o.Batches {
			order = append(order, b.Items...)
		}
		if o.End != c.end || o.Loads != 4 || !slices.Equal(order, c.order) {
			t.Errorf("%v GB: end %v, %d loads, order %v; want %v, 4, %v", c.gb, o.End, o.Loads, order, c.end, c.order)
		}
	}
}

// Graham's anomalies: list scheduling in slots, priorities as the list.
func TestGrahamAnomaly(t *testing.T) {
	times := []int64{3, 2, 2, 2, 4, 4, 4, 4, 9}
	for _, c := range []struct {
		slots int
		less  int64
		want  scheduler.Time
	}{{3, 0, 12}, {4, 0, 15}, {3, 1, 13}} {
		s := scenario{models: []scheduler.Model{model("a", 1, 0, 1, 0, sec)}, devices: gpu(2), spec: use("fifo")}
		s.devices[0].Slots = c.slots
		for i, w := range times {
			it := arrival{priority: int32(9 - i), work: (w - c.less) * 1e6}
			switch {
			case i == 8:
				it.after = []int{0}
			case i >= 4:
				it.after = []int{3}
			}
			s.items = append(s.items, it)
		}
		if o := s.run(t); o.End != c.want*sec {
			t.Errorf("%d slots, times less %d: end %v, want %ds", c.slots, c.less, o.End, c.want)
		}
	}
}

// The model is unloaded the moment it has nothing to do, and after a time.
func TestTTL(t *testing.T) {
	for _, c := range []struct {
		idle  string
		loads int
		end   scheduler.Time
	}{{"0s", 3, 106 * sec}, {"10s", 2, 106 * sec}, {"5m", 1, 101 * sec}} {
		s := scenario{models: abc(), devices: gpu(8), spec: policies.Spec{Use: "fifo", Evict: axis("ttl", "idle", c.idle)},
			items: append(burst(0, "A"), append(burst(10*sec, "A"), burst(100*sec, "A")...)...)}
		o := s.run(t)
		if o.Loads != c.loads || o.End != c.end {
			t.Errorf("idle %s: %d loads until %v, want %d until %v", c.idle, o.Loads, o.End, c.loads, c.end)
		}
		if c.idle == "0s" && o.Evicts != 3 {
			t.Errorf("idle 0s: %d evictions, want one after each batch", o.Evicts)
		}
	}
}

func TestVisitsThatWait(t *testing.T) {
	// A's visit ends at 6 s; B is there from 5.5 s; A's next item comes at 7 s.
	items := append(burst(0, "A"), append(burst(5500*ms, "B"), burst(7*sec, "A")...)...)
	for _, c := range []struct {
		visit policies.Axis
		use   string
		want  string
		end   scheduler.Time
	}{
		{axis("exhaustive"), "sticky", "ABA", 18 * sec},
		{axis("linger", "wait", "2s"), "sticky", "AAB", 16 * sec},
		{axis("linger", "wait", "500ms"), "sticky", "ABA", 19 * sec},
		{axis("residency", "min", "4s", "factor", 0), "fifo", "AAB", 15 * sec},
		{axis("residency", "min", "1s", "factor", 1), "fifo", "AAB", 16 * sec},
	} {
		s := scenario{models: abc(), devices: gpu(4), items: items, spec: policies.Spec{Use: c.use, Visit: c.visit}}
		o := s.run(t)
		if o.order() != c.want || o.End != c.end {
			t.Errorf("%s %v: %s until %v, want %s until %v", c.use, c.visit, o.order(), o.End, c.want, c.end)
		}
		if want := c.visit.Name != "exhaustive"; o.Built.Waits != want || o.Built.Contracts.Waits != want {
			t.Errorf("%v: waits %v, want %v", c.visit, o.Built.Waits, want)
		}
	}
}

func TestMaxWait(t *testing.T) {
	var items []arrival
	for i := range 60 {
		items = append(items, arrival{at: scheduler.Time(i) * sec})
	}
	items = slices.Insert(items, 1, arrival{model: 1})
	start := func(spec policies.Spec) scheduler.Time {
		s := scenario{models: ones(abc()), devices: gpu(4), items: items, spec: spec}
		for _, b := range s.run(t).Batches {
			if b.Model == 1 {
				return b.At
			}
		}
		t.Fatal("b never ran")
		return 0
	}
	if at := start(use("sticky")); at < 60*sec {
		t.Errorf("sticky served b at %v, before the stream of a ended", at)
	}
	// The batch that runs at 20 s ends at 21 s, then b loads.
	if at := start(use("max-wait", "wait", "20s")); at != 26*sec {
		t.Errorf("max-wait served b at %v, want 26s", at)
	}
	if a, b := start(use("max-wait", "wait", "1h")), start(use("sticky")); a != b {
		t.Errorf("max-wait with an endless wait served b at %v, sticky at %v", a, b)
	}
}

// A forced visit serves what was ready when it opened, or one batch.
func TestForcedVisits(t *testing.T) {
	items := append(burst(0, "AAAAAAAAAABBB"), burst(15500*ms, "BB")...)
	for _, c := range []struct {
		gated bool
		want  string
	}{{true, "AAAAABBBAAAAABB"}, {false, "AAAAABABABAAABB"}} {
		s := scenario{models: ones(abc()), devices: gpu(8), items: items, spec: use("max-wait", "wait", "9s", "gated", c.gated, "fill", false)}
		if o := s.run(t); o.order() != c.want {
			t.Errorf("gated %v: %s, want %s", c.gated, o.order(), c.want)
		}
	}
}

// Of several that waited too long the longest waiting one is first.
func TestUrgentOldestFirst(t *testing.T) {
	items := append(burst(0, "AAAAAAAAAAAAAAAAAAAA"), append(burst(sec, "C"), burst(2*sec, "B")...)...)
	s := scenario{models: ones(abc()), devices: gpu(4), items: items, spec: use("max-wait", "wait", "10s")}
	if o := s.run(t); o.firstOf(2) > o.firstOf(1) {
		t.Errorf("b ran at %v, before c at %v", o.firstOf(1), o.firstOf(2))
	}
}

// A batcher that waits gives way to what becomes urgent meanwhile.
func TestUrgentWhileTheBatcherWaits(t *testing.T) {
	s := scenario{models: abc(), devices: gpu(8), items: append(burst(0, "AAA"), append(burst(9*sec, "A"), burst(10*sec, "B")...)...),
		spec: policies.Spec{Use: "max-wait", Params: map[string]any{"wait": "20s"}, Batch: axis("accumulate", "items", 3, "timeout", "60s")}}
	if at := s.run(t).loaded(1); at != 30*sec+1 {
		t.Errorf("b was loaded at %v, want right after its 20s", at)
	}
}

func TestAccumulateNoMoreThanABatch(t *testing.T) {
	s := scenario{models: abc(), devices: gpu(8), items: burst(0, "AAAAAAAA"), spec: policies.Spec{Use: "fifo", Batch: axis("accumulate", "items", 10, "timeout", "60s")}}
	if o := s.run(t); o.Batches[0].At != 5*sec {
		t.Errorf("a full batch of 8 started at %v", o.Batches[0].At)
	}
}

// What was loaded is served first, whatever ran or arrived meanwhile.
func TestTargetIsServedFirst(t *testing.T) {
	items := append(burst(0, "A"), append(burst(5500*ms, "ABB"), burst(8*sec, "AAAAAAAAA")...)...)
	s := scenario{models: ones(abc()), devices: gpu(8), items: items, spec: use("longest")}
	if o := s.run(t); o.firstOf(1) != 11*sec {
		t.Errorf("b was loaded at 11s and ran at %v", o.firstOf(1))
	}
	// The same after a device was lost in the middle of a claim.
	s = scenario{models: ones(abc()), devices: gpu(4), spec: use("longest"), items: append(burst(0, "A"), append(burst(5500*ms, "BB"), burst(22*sec, "AAAAA")...)...),
		outages: []policytest.Outage{{From: 7 * sec, Until: 20 * sec}}}
	s.models[0].Unload = 3 * sec
	if o := s.run(t); o.firstOf(1) != 25*sec {
		t.Errorf("b was loaded at 25s and ran at %v", o.firstOf(1))
	}
}

// A model that was loaded and waits for its batch is no victim.
func TestTargetIsNoVictim(t *testing.T) {
	s := scenario{models: abc(), devices: gpu(8), items: burst(0, "A"), horizon: 10 * sec, spec: policies.Spec{Use: "fifo", Batch: axis("accumulate", "items", 5, "timeout", "60s")}}
	cfg, built := s.config(t)
	core, err := scheduler.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := scheduler.Drive(t.Context(), core, s.world().Machine()); err != nil {
		t.Fatal(err)
	}
	if v := core.View(); v.State(0, 0) != scheduler.Resident || !v.Evictable(0, 0) {
		t.Fatal("a is not resident and idle")
	}
	if m, ok := built.Evictor.Victim(core.View(), 0, 1, 1); ok {
		t.Errorf("model %d is offered", m)
	}
}

func TestFill(t *testing.T) {
	// A is resident with work; C is loaded beside it: A runs meanwhile.
	items := append(burst(0, "A"), burst(5500*ms, "BAAA")...)
	for _, fill := range []bool{true, false} {
		s := scenario{models: ones(abc()), devices: gpu(8), items: items, spec: use("fifo", "fill", fill)}
		o := s.run(t)
		want, end := "ABAAA", 15*sec
		if fill {
			want, end = "AAAAB", 12*sec
		}
		if o.order() != want || o.End != end {
			t.Errorf("fill %v: %s until %v, want %s until %v", fill, o.order(), o.End, want, end)
		}
	}
}

// A model that waits for busy ones to leave is not starved by filling.
func TestNoFillWhileWaitingForTheBusy(t *testing.T) {
	s := scenario{models: ones(abc()), devices: gpu(4), spec: use("fifo", "fill", true), items: append(burst(0, "AAA"), burst(0, "BA")...)}
	s.devices[0].Slots = 2
	if o := s.run(t); o.order() != "AAABA" {
		t.Errorf("%s, want AAABA", o.order())
	}
	// The same where a limit, not memory, keeps b out.
	s = scenario{models: ones(abc()), devices: gpu(12), spec: policies.Spec{Use: "fifo", Params: map[string]any{"fill": true}, Evict: axis("single")},
		items: []arrival{{work: 10e6}, {at: 6 * sec, model: 1}, {at: 7 * sec}}}
	s.devices[0].Slots = 2
	if o := s.run(t); o.order() != "ABA" {
		t.Errorf("%s, want ABA", o.order())
	}
}

// What the prefetcher loads must not stand in the way of a model that waits,
// to be evicted and loaded again for ever.
func TestPrefetchKeepsOutOfTheWay(t *testing.T) {
	s := scenario{models: []scheduler.Model{model("a", 1, ms, 1, 0, sec), model("k", 5, sec, 1, 0, sec), model("m", 8, sec, 1, 0, sec)}, devices: gpu(12),
		items: []arrival{{model: 1, work: 30e6}, {model: 0, after: []int{0}}, {at: 5 * sec, model: 2}},
		spec:  policies.Spec{Use: "fifo", Evict: axis("groups", "exclusive", false), Prefetch: axis("dag")}}
	s.models[0].Group, s.models[2].Group = "x", "x"
	s.devices[0].Slots = 2
	if o := s.run(t); o.Loads > 4 {
		t.Errorf("%d loads of three models", o.Loads)
	}
}

// The seed keeps to the model for which it evicted.
func TestSeedKeepsItsChoice(t *testing.T) {
	s := scenario{models: abc(), devices: gpu(4), items: append(burst(0, "A"), append(burst(5500*ms, "B"), burst(7*sec, "CC")...)...), spec: use("seed")}
	s.models[0].Unload = 3 * sec
	if o := s.run(t); o.order() != "ABC2" {
		t.Errorf("%s, want ABC2", o.order())
	}
}

// With one model at a time the next comes when the last has left, though both
// would fit.
func TestSingleWaitsForTheEviction(t *testing.T) {
	s := scenario{models: abc(), devices: gpu(12), items: append(burst(0, "A"), burst(sec, "B")...), spec: policies.Spec{Use: "sticky", Evict: axis("single")}}
	s.models[0].Unload = 3 * sec
	if o := s.run(t); o.firstOf(1) != 14*sec {
		t.Errorf("b ran at %v, want 14s", o.firstOf(1))
	}
}

func TestPrefetch(t *testing.T) {
	items := append(burst(0, "AAAA"), burst(5500*ms, "B")...)
	for _, c := range []struct {
		prefetch string
		end      scheduler.Time
	}{{"none", 15 * sec}, {"next", 11500 * ms}} {
		s := scenario{models: ones(abc()), devices: gpu(8), items: items, spec: policies.Spec{Use: "sticky", Prefetch: axis(c.prefetch)}}
		if o := s.run(t); o.End != c.end || o.Loads != 2 {
			t.Errorf("prefetch %s: end %v after %d loads, want %v after 2", c.prefetch, o.End, o.Loads, c.end)
		}
	}
	// dag: b's item waits for a's, and is loaded while a's runs.
	s := scenario{models: ones(abc()), devices: gpu(8), items: []arrival{{work: 20e6}, {model: 1, after: []int{0}}}, spec: policies.Spec{Use: "sticky", Prefetch: axis("dag")}}
	if o := s.run(t); o.End != 26*sec {
		t.Errorf("dag: end %v, want 26s", o.End)
	}
}

func TestAdmit(t *testing.T) {
	s := scenario{models: ones(abc()), devices: gpu(4), items: append(burst(0, "AAAAB"), burst(5*sec, "AA")...), spec: policies.Spec{Use: "sticky", Admit: axis("queue-cap", "items", 2)}}
	if o := s.run(t); !slices.Equal(o.Rejected, []scheduler.ItemID{3, 2, 6, 5}) {
		t.Errorf("queue-cap rejected %v", o.Rejected)
	}
	items := []arrival{{deadline: 5 * sec}, {deadline: 7 * sec}, {deadline: 6500 * ms}, {}}
	s = scenario{models: ones(abc()), devices: gpu(4), items: items, spec: policies.Spec{Use: "sticky", Admit: axis("deadline")}}
	if o := s.run(t); !slices.Equal(o.Rejected, []scheduler.ItemID{0, 2}) {
		t.Errorf("deadline rejected %v", o.Rejected)
	}
	s.spec.Admit = axis("late")
	if o := s.run(t); !slices.Equal(o.Rejected, []scheduler.ItemID{0, 2}) {
		t.Errorf("late rejected %v, want those that cannot be in time", o.Rejected)
	}
}

func TestPins(t *testing.T) {
	items := append(burst(0, "A"), append(burst(10*sec, "B"), append(burst(20*sec, "C"), burst(30*sec, "A")...)...)...)
	s := scenario{models: abc(), devices: gpu(8), items: items, spec: policies.Spec{Use: "sticky", Pin: []string{"a"}}}
	if o := s.run(t); o.Loads != 3 || o.Evicts != 1 {
		t.Errorf("%d loads and %d evictions, want 3 and 1: a stays", o.Loads, o.Evicts)
	}
}

// Each model has its own time; who has to go for others goes by that, then by
// name, however lately it was used.
func TestKeepAlive(t *testing.T) {
	one := func(letters string) []arrival {
		var items []arrival
		for i, l := range letters {
			items = append(items, arrival{at: scheduler.Time(i) * 20 * sec, model: scheduler.ModelID(l - 'A')})
		}
		return items
	}
	type gone struct {
		m  scheduler.ModelID
		at scheduler.Time
	}
	for _, c := range []struct {
		what  string
		names string
		gb    float64
		evict policies.Axis
		items []arrival
		gone  []gone
	}{
		{"after each one's time", "abc", 12, axis("keep-alive", "idle", map[string]any{"a": "10s", "b": "0s", "c": "-1s"}), one("ABC"), []gone{{0, 16 * sec}, {1, 26 * sec}}},
		{"5 minutes where nothing is said", "abc", 12, axis("keep-alive", "idle", map[string]any{"c": "1m"}), one("ABC"), []gone{{2, 106 * sec}, {0, 306 * sec}, {1, 326 * sec}}},
		{"the shortest time, not the least recently used", "abc", 8, axis("keep-alive", "idle", map[string]any{"a": "-1s", "b": "200s", "c": "-1s"}), one("ABC"), []gone{{1, 40 * sec}}},
		{"who stays for ever goes last, but goes", "abc", 4, axis("keep-alive", "idle", "-1s"), one("AB"), []gone{{0, 20 * sec}}},
		{"of equals by name", "zyx", 8, axis("keep-alive", "idle", "-1s"), one("ABC"), []gone{{1, 40 * sec}}},
		{"at most two", "zyx", 12, axis("keep-alive", "idle", "-1s", "max", 2), one("ABC"), []gone{{1, 40 * sec}}},
		{"no limit", "zyx", 12, axis("keep-alive", "idle", "-1s"), one("ABC"), nil},
	} {
		s := scenario{models: abc(), devices: gpu(c.gb), items: c.items, spec: policies.Spec{Use: "fifo", Evict: c.evict}}
		for i := range s.models {
			s.models[i].Name = c.names[i : i+1]
		}
		var got []gone
		for _, ev := range s.run(t).Events {
			if ev.Kind == scheduler.EvictStarted {
				got = append(got, gone{ev.Model, ev.At})
			}
		}
		if !slices.Equal(got, c.gone) {
			t.Errorf("%s: %v left, want %v", c.what, got, c.gone)
		}
	}
}

// Models are together as a set allows it. Of those with the model that comes,
// the set costs least for which least has to leave.
func TestMatrix(t *testing.T) {
	set := func(letters string) []any {
		var names []any
		for _, l := range letters {
			names = append(names, string(l))
		}
		return names
	}
	for _, c := range []struct {
		what  string
		sets  []any
		costs map[string]any
		seq   string
		gone  []scheduler.ModelID
	}{
		{"all together", []any{set("abcd")}, nil, "ABCD", nil},
		{"in no set: alone", []any{set("ab")}, nil, "ABCA", []scheduler.ModelID{0, 1, 2}},
		{"no sets", []any{}, nil, "ABA", []scheduler.ModelID{0, 1}},
		{"the set for which least leaves", []any{set("ad"), set("bcd")}, nil, "BCD", nil},
		{"a costs more than b", []any{set("bd"), set("ad")}, map[string]any{"a": 5}, "ABD", []scheduler.ModelID{0}}, // a left for b
		{"with costs of those who are there", []any{set("abc"), set("ad"), set("bcd")}, map[string]any{"a": 3}, "ABCD", []scheduler.ModelID{1, 2}},
		{"and without", []any{set("abc"), set("ad"), set("bcd")}, nil, "ABCD", []scheduler.ModelID{0}},
		{"of equals the first", []any{set("ab"), set("bd"), set("ad")}, nil, "ABD", []scheduler.ModelID{0}},
		{"of equals the first, the other way round", []any{set("ab"), set("ad"), set("bd")}, nil, "ABD", []scheduler.ModelID{1}},
	} {
		costs := c.costs
		if costs == nil {
			costs = map[string]any{}
		}
		s := scenario{models: append(abc(), model("d", 4, 5*sec, 8, 0, sec)), devices: gpu(16), spec: policies.Spec{Use: "fifo", Evict: axis("matrix", "sets", c.sets, "costs", costs)}}
		for i, l := range c.seq {
			s.items = append(s.items, arrival{at: scheduler.Time(i) * 20 * sec, model: scheduler.ModelID(l - 'A')})
		}
		var gone []scheduler.ModelID
		for _, ev := range s.run(t).Events {
			if ev.Kind == scheduler.EvictStarted {
				gone = append(gone, ev.Model)
			}
		}
		if !slices.Equal(gone, c.gone) {
			t.Errorf("%s: %v left, want %v", c.what, gone, c.gone)
		}
	}
	// While a leaves for c, d comes first: a leaves anyway, and b may stay.
	s := scenario{models: append(abc(), model("d", 4, 5*sec, 8, 0, sec)), devices: gpu(16), items: append(burst(0, "A"), append(burst(20*sec, "B"), append(burst(40*sec, "C"), arrival{at: 42 * sec, model: 3, priority: 5})...)...),
		spec: policies.Spec{Use: "priority", Evict: axis("matrix", "sets", []any{set("cb"), set("ab"), set("da"), set("db")})}}
	s.models[0].Unload = 10 * sec
	if o := s.run(t); o.order() != "ABDC" || o.firstOf(3) != 55*sec || o.Evicts != 2 {
		t.Errorf("%s with %d evictions, d at %v; want ABDC with 2, 55s", o.order(), o.Evicts, o.firstOf(3))
	}
}

func TestGroups(t *testing.T) {
	models := abc()
	models[0].Group, models[1].Group, models[2].Group = "x", "x", "y"
	items := append(burst(0, "A"), append(burst(10*sec, "C"), append(burst(20*sec, "B"), burst(30*sec, "C")...)...)...)
	for _, c := range []struct {
		evict policies.Axis
		loads int
	}{
		{axis("groups"), 4},                     // one at a time
		{axis("groups", "exclusive", false), 3}, // b drives out a only
		{axis("groups", "persistent", []any{"y"}), 3},
		{axis("groups", "swap", false, "exclusive", false), 3},
	} {
		s := scenario{models: models, devices: gpu(12), items: items, spec: policies.Spec{Use: "fifo", Evict: c.evict}}
		if o := s.run(t); o.Loads != c.loads {
			t.Errorf("%v: %d loads, want %d", c.evict, o.Loads, c.loads)
		}
	}
}

// Activation memory: a model that has no room for one item makes an idle one
// leave, and only as many as needed.
func TestActivationMemoryMakesRoom(t *testing.T) {
	models := abc()
	models[2].Batch.Memory = scheduler.GB
	s := scenario{models: models, devices: gpu(12.5), spec: use("sticky"), items: append(burst(0, "A"), append(burst(10*sec, "B"), burst(20*sec, "CC")...)...)}
	o := s.run(t)
	if o.Evicts != 1 || o.order() != "ABC2" {
		t.Errorf("%s with %d evictions, want ABC2 with one", o.order(), o.Evicts)
	}
}

func TestBackoff(t *testing.T) {
	failures := 2
	s := scenario{models: abc(), devices: gpu(4), items: burst(0, "A"), spec: use("sticky", "backoff", "3s"), failed: nil}
	s.failed = func(ev scheduler.Event) bool {
		failures--
		return failures >= 0
	}
	// 0+5 fails, +3 = 8, +5 = 13 fails, +6 = 19, loaded at 24.
	if o := s.run(t); o.End != 25*sec {
		t.Errorf("end %v, want 25s", o.End)
	}
	failures = 1
	s.failed = func(ev scheduler.Event) bool {
		if ev.Kind == scheduler.BatchStarted {
			failures--
		}
		return failures >= 0 && ev.Kind == scheduler.BatchStarted
	}
	if o := s.run(t); o.End != 10*sec || len(o.Batches) != 2 {
		t.Errorf("end %v after %d batches, want 10s after 2", o.End, len(o.Batches))
	}
}

// Waits double for batches too.
func TestBackoffOfBatches(t *testing.T) {
	failures := 2
	s := scenario{models: abc(), devices: gpu(4), items: burst(0, "A"), spec: use("sticky", "backoff", "3s"), failed: func(ev scheduler.Event) bool {
		if ev.Kind != scheduler.BatchStarted {
			return false
		}
		failures--
		return failures >= 0
	}}
	// 5+1 fails, +3 = 9, 10 fails, +6 = 16.
	if o := s.run(t); o.End != 17*sec {
		t.Errorf("end %v, want 17s", o.End)
	}
}

// Polling of theory goes round for ever, paying for empty queues too.
func TestPollingOfTheory(t *testing.T) {
	s := scenario{models: ones(abc()), devices: gpu(4), items: burst(7*sec, "B"), horizon: 60 * sec,
		spec: policies.Spec{Use: "polling", Params: map[string]any{"skip_empty": false}, Evict: axis("single")}}
	o := s.run(t)
	// It begins with the first fact: a 7…12, b 12…17, 1 s of work, then a load every 5 s.
	if o.Loads != 11 || o.order() != "B" || o.Batches[0].At != 17*sec {
		t.Errorf("%d loads, batches %v; want 11 and b's at 17s", o.Loads, o.Batches)
	}
}

func TestPlacement(t *testing.T) {
	two := append(gpu(8), gpu(8)...)
	two[1].Name = "gpu1"
	for _, c := range []struct {
		place policies.Axis
		items []arrival
		want  []scheduler.DeviceID
	}{
		{axis("affinity"), burst(0, "AB"), []scheduler.DeviceID{0, 1}},
		{axis("first"), append(burst(0, "A"), burst(20*sec, "B")...), []scheduler.DeviceID{0, 0}},
		{axis("most-free"), append(burst(0, "A"), burst(20*sec, "B")...), []scheduler.DeviceID{0, 1}},
		{axis("best-fit"), append(burst(0, "A"), burst(20*sec, "B")...), []scheduler.DeviceID{0, 0}},
		{axis("lru-age"), append(burst(0, "A"), burst(20*sec, "B")...), []scheduler.DeviceID{0, 0}},
		{axis("planned", "map", map[string]any{"a": "gpu1", "b": "gpu0", "c": "gpu0"}), burst(0, "AB"), []scheduler.DeviceID{0, 1}},
	} {
		s := scenario{models: abc(), devices: two, items: c.items, spec: policies.Spec{Use: "fifo", Place: c.place}}
		var got []scheduler.DeviceID
		for _, b := range s.run(t).Batches {
			got = append(got, b.Device)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: devices %v, want %v", c.place.Name, got, c.want)
		}
	}
}

// Of two devices on which b could start as soon, the one with room takes it.
func TestAffinityPrefersRoom(t *testing.T) {
	two := append(gpu(4), gpu(4)...)
	two[1].Name = "gpu1"
	s := scenario{models: abc(), devices: two, items: append(burst(0, "A"), burst(20*sec, "B")...), spec: use("sticky")}
	if o := s.run(t); o.Evicts != 0 || o.Batches[1].Device != 1 {
		t.Errorf("b ran on device %d after %d evictions", o.Batches[1].Device, o.Evicts)
	}
}

func TestLostDevice(t *testing.T) {
	two := append(gpu(4), gpu(4)...)
	two[1].Name = "gpu1"
	for _, name := range policies.Builtin().Policies() {
		s := scenario{models: abc(), devices: two, items: burst(0, "ABCABCAB"), spec: use(name),
			outages: []policytest.Outage{{From: 5500 * ms, Until: 30 * sec}}}
		if o := s.run(t); o.Counts.Done != 8 {
			t.Errorf("%s: %d of 8 items done", name, o.Counts.Done)
		}
	}
}

// a needs the memory of b and c for its batch. They leave one after the other,
// and what has left is not loaded ahead of its work meanwhile.
func TestPrefetchLeavesRoomThatIsMade(t *testing.T) {
	models := []scheduler.Model{model("a", 4, sec, 1, 0, sec), model("b", 1, sec, 1, 0, sec), model("c", 1, sec, 1, 0, sec)}
	models[0].Batch.Memory = 2 * scheduler.GB
	models[1].Unload, models[2].Unload = sec, 2*sec
	items := append(burst(0, "BC"), arrival{at: 10 * sec}, arrival{at: 10 * sec, model: 1, after: []int{2}}, arrival{at: 10 * sec, model: 2, after: []int{2}})
	s := scenario{models: models, devices: gpu(6), items: items, spec: policies.Spec{Use: "sticky", Prefetch: axis("dag")}}
	if at := s.run(t).firstOf(0); at != 13*sec { // 1 to load, 2 until both are gone
		t.Errorf("a ran at %v, want 13s", at)
	}
}

// Devices that can never take a model are not asked to.
func TestUnequalDevices(t *testing.T) {
	models := []scheduler.Model{model("a", 8, sec, 1, 0, sec), model("b", 8, sec, 1, 0, sec), model("c", 2, sec, 1, 0, sec)}
	for i := range models {
		models[i].Batch.Memory = scheduler.GB
	}
	for _, small := range []float64{1, 2.5, 4, 8.5} { // weights may fit that cannot run
		devices := append(gpu(small), gpu(10)...)
		devices[0].Name = "small"
		for _, name := range policies.Builtin().Policies() {
			specs := []policies.Spec{use(name)}
			if name == "polling" {
				specs = append(specs, policies.Spec{Use: name, Params: map[string]any{"skip_empty": false}, Evict: axis("single")})
			}
			for _, spec := range specs {
				s := scenario{models: models, devices: devices, items: burst(0, "ABCABCAC"), spec: spec, horizon: 200 * sec}
				if o := s.run(t); o.Counts.Done != 8 {
					t.Errorf("%v beside %v GB: %d of 8 done", spec, small, o.Counts.Done)
				}
			}
		}
	}
}

// cmu-setup weighs what a visit serves against what it takes: the load, what
// arrives meanwhile and, with aging, how long the oldest has waited.
func TestCmuSetup(t *testing.T) {
	second := func(spec policies.Spec, loadB, loadC scheduler.Time, items []arrival) scheduler.ModelID {
		models := ones(abc())
		models[1].Load, models[2].Load = [scheduler.Tiers]scheduler.Time{loadB, loadB}, [scheduler.Tiers]scheduler.Time{loadC, loadC}
		s := scenario{models: models, devices: gpu(4), items: append(burst(0, "A"), items...), spec: spec}
		return s.run(t).Batches[1].Model
	}
	aging := func(d string) policies.Spec { return use("cmu-setup", "aging", d) }
	for _, c := range []struct {
		what         string
		spec         policies.Spec
		loadB, loadC scheduler.Time
		items        []arrival
		want         scheduler.ModelID
	}{
		{"2 in 8 s, not 3 in 13 s", use("cmu-setup"), 10 * sec, 6 * sec, burst(2*sec, "BBBCC"), 2},
		{"3 in 11 s, not 2 in 8 s", use("cmu-setup"), 8 * sec, 6 * sec, burst(2*sec, "BBBCC"), 1},
		{"ties go to the lowest id", use("cmu-setup"), 6 * sec, 6 * sec, burst(2*sec, "CCBB"), 1},
		// c's items come every second: 8 more while it loads.
		{"arrivals during the load", use("cmu-setup"), 5 * sec, 8 * sec, append(burst(2*sec, "BBC"), append(burst(3*sec, "C"), burst(4*sec, "C")...)...), 2},
		{"age does not matter", aging("0s"), 6 * sec, 6 * sec, append(burst(sec, "B"), burst(5*sec, "CC")...), 2},
		{"age matters", aging("1s"), 6 * sec, 6 * sec, append(burst(sec, "B"), burst(5*sec, "CC")...), 1},
	} {
		if got := second(c.spec, c.loadB, c.loadC, c.items); got != c.want {
			t.Errorf("%s: model %d is visited, want %d", c.what, got, c.want)
		}
	}
}

// waste weighs how long all items of a model have waited against its load.
func TestWaste(t *testing.T) {
	for _, c := range []struct {
		what         string
		loadB, loadC scheduler.Time
		floor        string
		items        []arrival
		order        string
	}{
		// At 6 s b's item has waited 5 s, c's two 1.5 s each.
		{"5 s, not 3 s", 5 * sec, 5 * sec, "250ms", append(burst(sec, "B"), burst(4500*ms, "CC")...), "ABCC"},
		{"3 s for a load of 2 s, not 5 s for one of 10 s", 10 * sec, 2 * sec, "250ms", append(burst(sec, "B"), burst(4500*ms, "CC")...), "ACCB"},
		{"by wait alone where the floor is above both loads", 10 * sec, 2 * sec, "20s", append(burst(sec, "B"), burst(4500*ms, "CC")...), "ABCC"},
		{"ties go to the lowest id", 5 * sec, 5 * sec, "250ms", append(burst(sec, "C"), burst(sec, "B")...), "ABC"},
	} {
		models := ones(abc())
		models[1].Load, models[2].Load = [scheduler.Tiers]scheduler.Time{c.loadB, c.loadB}, [scheduler.Tiers]scheduler.Time{c.loadC, c.loadC}
		s := scenario{models: models, devices: gpu(4), items: append(burst(0, "A"), c.items...), spec: use("waste", "floor", c.floor)}
		if o := s.run(t); o.order() != c.order {
			t.Errorf("%s: %s, want %s", c.what, o.order(), c.order)
		}
	}
}

// Under a stream for a that never pauses b is visited once its items have
// waited beta times its load, as many as are there by then.
func TestWasteForcesVisits(t *testing.T) {
	for _, c := range []struct {
		beta  any
		items []arrival
		at    scheduler.Time // b's first batch
	}{
		{2, burst(sec, "B"), 16 * sec},                               // 10 s of one item are over at 11 s
		{2, burst(sec, "BB"), 11 * sec},                              // 5 s of two at 6 s
		{1.5, burst(sec, "B"), 14 * sec},                             // 7.5 s at 8.5 s, when a batch runs until 9 s
		{1.6, burst(sec, "B"), 14 * sec},                             // 8 s at 9 s: a tie is enough
		{1.600001, burst(sec, "B"), 15 * sec},                        // and a little less is not
		{2, append(burst(sec, "B"), burst(6*sec, "B")...), 14 * sec}, // 7.5 s and 2.5 s at 8.5 s
	} {
		s := scenario{models: ones(abc()), devices: gpu(4), spec: use("waste", "beta", c.beta)}
		for i := range 60 {
			s.items = append(s.items, arrival{at: scheduler.Time(i) * sec})
		}
		s.items = append(s.items, c.items...)
		slices.SortStableFunc(s.items, func(a, b arrival) int { return int(a.at - b.at) })
		if at := s.run(t).firstOf(1); at != c.at {
			t.Errorf("beta %v, %d items: b ran at %v, want %v", c.beta, len(c.items), at, c.at)
		}
	}
	// Gated: b's items have waited 20 s together at 10 s and run from 15 s; a
	// third one comes meanwhile and waits for the next visit.
	s := scenario{models: ones(abc()), devices: gpu(8), items: append(burst(0, "AAAAAAAAAAAABB"), burst(15500*ms, "B")...), spec: use("waste", "beta", 4, "fill", false)}
	if o := s.run(t); o.order() != "AAAAABBAAAAAAAB" {
		t.Errorf("gated: %s", o.order())
	}
	// While a's batch waits for more items, what becomes urgent is not missed.
	s = scenario{models: abc(), devices: gpu(8), items: append(burst(0, "AAA"), append(burst(9*sec, "A"), burst(10*sec, "BBB")...)...),
		spec: policies.Spec{Use: "waste", Params: pairs([]any{"beta", 2}), Batch: axis("accumulate", "items", 3, "timeout", "60s")}}
	if at := s.run(t).loaded(1); at != 10*sec+(10*sec+2)/3 {
		t.Errorf("b was loaded at %v, want when three items have waited 10 s together", at)
	}
	// Of a fraction of a nanosecond too much of it is waited for.
	s.models[1].Load[scheduler.TierDisk] = sec + 1
	s.spec.Params["beta"] = 1.000001
	s.items = s.items[:5]
	if at := s.run(t).loaded(1); at != 11*sec+1002 {
		t.Errorf("b was loaded at %v, want after ⌈1.000001 · (1 s + 1 ns)⌉", at)
	}
}

// The model that can run most before its head is due, its load included.
func TestLargestFeasible(t *testing.T) {
	due := func(m scheduler.ModelID, at scheduler.Time, n int) (items []arrival) {
		for range n {
			items = append(items, arrival{at: sec, model: m, deadline: at})
		}
		return items
	}
	for _, c := range []struct {
		what  string
		items []arrival
		order string
	}{
		{"both feasible: the larger", append(due(1, 60*sec, 2), due(2, 60*sec, 3)...), "AC3B2"},
		// At 6 s c's three would end at 14 s.
		{"as many as are in time", append(due(1, 60*sec, 2), due(2, 14*sec, 3)...), "AC3B2"},
		{"two are in time, a tie goes to the lowest id", append(due(1, 60*sec, 2), due(2, 14*sec-1, 3)...), "AB2CCC"},
		{"one is in time", append(due(1, 60*sec, 2), due(2, 12*sec, 3)...), "AB2CCC"},
		{"the batch is cut to what is in time", append(due(1, 60*sec, 1), due(2, 13*sec, 3)...), "AC2BC"},
		{"without deadline", append(due(1, 60*sec, 2), due(2, 0, 3)...), "AC3B2"},
		{"all late: the lowest id, one by one", append(due(1, 2*sec, 2), due(2, 2*sec, 3)...), "ABBCCC"},
	} {
		s := scenario{models: abc(), devices: gpu(4), items: append(burst(0, "A"), c.items...), spec: use("largest-feasible")}
		if o := s.run(t); o.order() != c.order {
			t.Errorf("%s: %s, want %s", c.what, o.order(), c.order)
		}
	}
}

// Evictors that weigh what a return would cost against lru, one item at a time.
func TestCostlyEvictions(t *testing.T) {
	run := func(evict, use string, items []arrival) *outcome {
		models := ones(abc())
		for i, load := range []scheduler.Time{10, 1, 1} {
			models[i].Bytes, models[i].Load = scheduler.GB, [scheduler.Tiers]scheduler.Time{load * sec, load * sec}
		}
		s := scenario{models: models, devices: gpu(2), items: items, spec: policies.Spec{Use: use, Evict: axis(evict)}}
		return s.run(t)
	}
	one := func(letters string) []arrival {
		var items []arrival
		for i, l := range letters {
			items = append(items, arrival{at: scheduler.Time(i) * 20 * sec, model: scheduler.ModelID(l - 'A')})
		}
		return items
	}
	reloads := func(o *outcome, m scheduler.ModelID) int {
		n := -1
		for _, ev := range o.Events {
			if ev.Kind == scheduler.LoadStarted && ev.Model == m {
				n++
			}
		}
		return n
	}
	// a costs ten times what b and c do: ten evictions pass it over.
	for _, evict := range []string{"landlord", "gdsf"} {
		if n := reloads(run(evict, "fifo", one("ABCA")), 0); n != 0 {
			t.Errorf("%s: a is loaded %d times more", evict, n)
		}
		if n := reloads(run(evict, "fifo", one("ABCBCBCBCBCA")), 0); n != 0 {
			t.Errorf("%s after 8 evictions: a is loaded %d times more", evict, n)
		}
		if n := reloads(run(evict, "fifo", one("ABCBCBCBCBCBCBCBCBCBCA")), 0); n != 1 {
			t.Errorf("%s after many evictions: a is loaded %d times more, want once", evict, n)
		}
	}
	if n := reloads(run("lru", "fifo", one("ABCA")), 0); n != 1 {
		t.Errorf("lru: a is loaded %d times more", n)
	}
	// b is used often and c is new: frequency keeps b.
	if l, f := reloads(run("landlord", "fifo", one("BBBBCCAB")), 1), reloads(run("gdsf", "fifo", one("BBBBCCAB")), 1); l != 1 || f != 0 {
		t.Errorf("b is loaded %d times more by landlord, %d by gdsf; want 1 and 0", l, f)
	}
	// c comes first; of b, used last, and a it is b that has items waiting.
	items := append(one("BA"), arrival{at: 60 * sec, model: 2, priority: 9}, arrival{at: 60 * sec, model: 1}, arrival{at: 60 * sec, model: 1})
	if d, l := reloads(run("demand", "priority", items), 1), reloads(run("lru", "priority", items), 1); d != 0 || l != 1 {
		t.Errorf("b is loaded %d times more by demand, %d by lru; want 0 and 1", d, l)
	}
}

// A deferred batch starts when one item more could no longer join it.
func TestDeferredBatches(t *testing.T) {
	due := func(at, deadline scheduler.Time) arrival { return arrival{at: at, deadline: deadline} }
	for _, c := range []struct {
		what  string
		items []arrival
		order string
		start scheduler.Time
	}{
		{"one item, two would take 2 s", []arrival{due(0, 20*sec)}, "A", 18 * sec},
		{"a second one joins, a third could until 17 s", []arrival{due(0, 20*sec), due(10*sec, 90*sec)}, "A2", 17 * sec},
		{"full", []arrival{due(0, 60*sec), due(0, 60*sec), due(0, 60*sec), due(0, 60*sec)}, "A4", 5 * sec},
		{"no deadline", []arrival{{}}, "A", 5 * sec},
		{"late", []arrival{due(0, 2*sec), due(0, 90*sec)}, "AA", 5 * sec},
	} {
		models := abc()
		models[0].Batch.Max = 4
		s := scenario{models: models, devices: gpu(4), items: c.items, spec: policies.Spec{Use: "fifo", Batch: axis("deferred")}}
		if o := s.run(t); o.order() != c.order || o.Batches[0].At != c.start {
			t.Errorf("%s: %s from %v, want %s from %v", c.what, o.order(), o.Batches[0].At, c.order, c.start)
		}
	}
}

// min-cost lets those go whose return takes least together.
func TestMinCost(t *testing.T) {
	for _, c := range []struct {
		e    scheduler.Time // load of the 2 GB model
		need float64
		want []scheduler.ModelID
	}{{5 * sec, 2, []scheduler.ModelID{1, 2}}, {1500 * ms, 2, []scheduler.ModelID{3}}, {5 * sec, 1, []scheduler.ModelID{1}}, {1500 * ms, 3, []scheduler.ModelID{1, 3}},
		{20 * sec, 3, []scheduler.ModelID{0, 1, 2}}, {20 * sec, 5, []scheduler.ModelID{0, 1, 2, 3}}} {
		models := []scheduler.Model{model("a", 1, 10*sec, 1, 0, sec), model("b", 1, sec, 1, 0, sec), model("c", 1, sec, 1, 0, sec), model("e", 2, c.e, 1, 0, sec), model("f", c.need, sec, 1, 0, sec)}
		s := scenario{models: models, devices: gpu(5), spec: policies.Spec{Use: "fifo", Evict: axis("min-cost")}}
		for i := range models {
			s.items = append(s.items, arrival{at: scheduler.Time(i) * 30 * sec, model: scheduler.ModelID(i)})
		}
		var gone []scheduler.ModelID
		for _, ev := range s.run(t).Events {
			if ev.Kind == scheduler.EvictStarted {
				gone = append(gone, ev.Model)
			}
		}
		if !slices.Equal(gone, c.want) {
			t.Errorf("%v GB with e loading in %v: %v leave, want %v", c.need, c.e, gone, c.want)
		}
	}
}
