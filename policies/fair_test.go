package policies_test

import (
	"strings"
	"testing"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/policies/policytest"
	"github.com/vramsim/vramsim/scheduler"
)

func TestDeficitRoundRobin(t *testing.T) {
	drr := func(quantum string) policies.Spec { return use("drr", "quantum", quantum, "fill", false) }
	slower := ones(abc())
	for i := range slower {
		slower[i].Batch.PerItem = 2 * sec
	}
	for _, c := range []struct {
		what  string
		spec  policies.Spec
		gb    float64
		max   int
		truth []scheduler.Model
		items []arrival
		order string
	}{
		// Of 8 s the load takes 5. With a alone its visits follow each other.
		{"3 s remain of a quantum", drr("8s"), 4, 1, nil, burst(0, "AAAAAAAAAABBBB"), "AAABBBAAABAAAA"},
		{"what is over is saved", drr("8500ms"), 4, 1, nil, burst(0, "AAAAAAABBBBBBB"), "AAABBBAAAABBBB"},
		{"batches are cut to it", drr("8s"), 4, 8, nil, burst(0, "AAAAAABBBB"), "A3B3A3B"},
		{"less than a load: one item", drr("4s"), 4, 1, nil, burst(0, "AAABBB"), "ABABAB"},
		{"no savings from before it was idle", drr("8s"), 4, 1, nil, append(burst(0, "A"), burst(20*sec, "AAAAABBBBB")...), "ABBBAAABBAA"},
		// b pays for its load with 2 s of the next visit, a's debt is forgotten.
		{"nor debts", drr("4s"), 8, 1, nil, append(burst(0, "A"), burst(20*sec, "AAAAAABBBBBB")...), "ABAAAABBAABBB"},
		{"what batches took is paid, not what they should have", drr("8s"), 4, 1, slower, burst(0, "AAAABBBB"), "AABBABAB"},
		{"savings are kept while the last item runs", drr("8s"), 8, 1, nil, append(burst(0, "A"), burst(5500*ms, "AAAAB")...), "AAABAA"},
	} {
		models := abc()
		for i := range models {
			models[i].Batch.Max = c.max
		}
		s := scenario{models: models, devices: gpu(c.gb), items: c.items, spec: c.spec, truth: c.truth}
		if o := s.run(t); o.order() != c.order {
			t.Errorf("%s: %s, want %s", c.what, o.order(), c.order)
		}
	}
}

func TestFairQueueing(t *testing.T) {
	wfq := use("wfq", "fill", false)
	slow := ones(abc())
	slow[0].Batch.PerItem = 3 * sec
	raised := []arrival{}
	for range 3 {
		raised = append(raised, arrival{model: 1, priority: 2})
	}
	for _, c := range []struct {
		what  string
		spec  policies.Spec
		slots int
		truth []scheduler.Model
		items []arrival
		order string
	}{
		{"items of a take three times as long", wfq, 1, slow, burst(0, "AAAABBBBBB"), "ABBBABBBAA"},
		// From 12.5 s on b has had as much as a, which is 8 s.
		{"who was idle starts from the others", wfq, 1, nil, append(burst(0, "AAAAAAAAAAAAAA"), burst(12500*ms, "BBBB")...), "AAAAAAAAABABABABAA"},
		{"nobody else was busy", wfq, 1, nil, append(burst(0, "AAA"), burst(30*sec, "BBBBBA")...), "AAABBBABB"},
		{"what runs has been had", wfq, 2, nil, burst(0, "AAAABBBB"), "ABABABAB"},
		{"by turns", use("wfq", "turns", true, "fill", false), 1, slow, burst(0, "AAABBB"), "ABABAB"},
		{"a priority of 2 halves them", use("wfq", "turns", true, "fill", false), 1, nil, append(burst(0, "AAAAAA"), raised...), "ABAABAABA"},
		{"one below 1 is 1", use("wfq", "turns", true, "fill", false), 1, nil, append(burst(0, "AAA"), arrival{model: 1, priority: -4}, arrival{model: 1, priority: -4}), "ABABA"},
		{"turns are not made up for", use("wfq", "turns", true, "fill", false), 1, nil, append(burst(0, "AAAAA"), burst(8500*ms, "BBB")...), "AAAABBBA"},
	} {
		s := scenario{models: ones(abc()), devices: gpu(8), items: c.items, spec: c.spec, truth: c.truth}
		s.devices[0].Slots = c.slots
		if o := s.run(t); o.order() != c.order {
			t.Errorf("%s: %s, want %s", c.what, o.order(), c.order)
		}
	}
}

// Who was idle starts from the one of the others that has had least; an item
// that joins others, attributes following, moves nobody.
func TestFairQueueingOfThree(t *testing.T) {
	models := ones(abc())
	models[1].Batch.PerItem = 3 * sec
	s := scenario{models: models, devices: gpu(12), spec: use("wfq", "fill", false), items: append(burst(0, "AAAABBB"), burst(11500*ms, "CC")...)}
	if o := s.run(t); o.order() != "ABACACABB" { // a has had 1 s, b 3 s when c's come
		t.Errorf("%s, want ABACACABB", o.order())
	}
	s = scenario{models: ones(abc()), devices: gpu(12), spec: use("wfq", "fill", false), items: append(burst(0, "AAAAB"), arrival{at: 8 * sec, model: 1, deadline: 90 * sec})}
	if o := s.run(t); o.order() != "ABABAA" {
		t.Errorf("%s, want ABABAA", o.order())
	}
}

// Attributes of an arrival, dependencies and failures do not make a model idle
// that is busy: over a long run both have as much.
func TestFairQueueingOverTime(t *testing.T) {
	s := scenario{models: ones(abc()), devices: gpu(8), spec: use("wfq")}
	for i := range 200 {
		it := arrival{at: scheduler.Time(i) * 400 * ms, model: scheduler.ModelID(i % 2), deadline: 1000 * sec, work: 1_500_000, tenant: 3}
		if i > 10 && i%7 == 0 {
			it.after = []int{i - 3, i - 2}
		}
		s.items = append(s.items, it)
	}
	fails := 0
	s.failed = func(ev scheduler.Event) bool {
		fails++
		return ev.Kind == scheduler.BatchStarted && fails%9 == 0
	}
	order := s.run(t).order()
	if worst := imbalance(order[10:]); worst > 3 {
		t.Errorf("one model was %d batches ahead: %s", worst, order)
	}
}

// imbalance returns by how many batches one of two models was ahead of the other
// at most while both had some left.
func imbalance(order string) int {
	worst, ahead := 0, 0
	both := min(strings.LastIndex(order, "A"), strings.LastIndex(order, "B"))
	for _, m := range order[:both] {
		if m == 'A' {
			ahead++
		} else {
			ahead--
		}
		worst = max(worst, ahead, -ahead)
	}
	return worst
}

// What was charged for batches that a lost device took along is what they used.
func TestFairQueueingAfterALoss(t *testing.T) {
	s := scenario{models: ones(abc()), devices: gpu(8), spec: use("wfq", "fill", false, "backoff", "0s"), items: append(burst(0, "AAAA"), burst(0, "BBBB")...),
		truth: ones(abc()), outages: []policytest.Outage{{From: 7 * sec, Until: 8 * sec}}}
	s.models[0].Batch.PerItem, s.truth[0].Batch.PerItem = 3*sec, 3*sec
	// a's first batch ran for 2 of its 3 s: b runs for 2 s until it has had as much.
	if o := s.run(t); o.order() != "ABBABBAAA" {
		t.Errorf("%s, want ABBABBAAA", o.order())
	}
}
