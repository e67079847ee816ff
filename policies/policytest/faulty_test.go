package policytest_test

import (
	"strings"
	"testing"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/policies/policytest"
	"github.com/vramsim/vramsim/scheduler"
)

// plain is the least that drains everything: on each device the model with the
// oldest item, in full batches, and whoever is in the way leaves. The fields
// make it faulty.
type plain struct {
	declared policies.Contracts

	starves   bool // nobody serves the last model unless it is the only one
	neglects  bool // nor at all
	impatient bool // what was loaded may leave before it has run
	drowsy    bool // after an eviction nothing is done until something else happens
	wasteful  bool // one leaves before each load, needed or not
	idles     bool // waits a while before each batch
	clocked   bool // every other 10 seconds the youngest comes first
	greedy    bool // batches are larger than allowed
	restless  bool // wakes up for ever
	panics    bool // at the third item
	shuffled  bool // of equal models any may be chosen
	moody     bool // each question changes the answer
	named     bool // long names come first
	crowded   bool // with many models the youngest comes first

	ran    map[scheduler.ModelID]bool // since it was loaded, on any device
	asleep bool
	asked  int
}

func (p *plain) entry(name string) policies.Entry {
	return policies.Entry{Name: name, Kind: policies.KindWhole, Doc: "for tests", Declared: p.declared, New: func(*policies.Args) (any, error) {
		fresh := *p
		fresh.ran = map[scheduler.ModelID]bool{}
		return &fresh, nil
	}}
}

func (p *plain) Observe(v *scheduler.View, ev scheduler.Event) {
	switch ev.Kind {
	case scheduler.BatchStarted:
		p.ran[ev.Model] = true
	case scheduler.LoadStarted:
		p.ran[ev.Model] = false
	}
	p.asleep = p.drowsy && ev.Kind == scheduler.EvictFinished
}

// Victim implements scheduler.Evictor: nobody leaves that has yet to run.
func (p *plain) Victim(v *scheduler.View, d scheduler.DeviceID, _ scheduler.Bytes, incoming scheduler.ModelID) (scheduler.ModelID, bool) {
	for _, m := range v.Residents(d) {
		if m != incoming && v.Evictable(d, m) && (p.impatient || p.ran[m] || v.Ready(m) == 0) {
			return m, true
		}
	}
	return scheduler.NoModel, false
}

func (p *plain) Next(v *scheduler.View) scheduler.Decision {
	p.asked++
	if p.panics && v.InSystem() > 2 {
		panic("three are a crowd")
	}
	if p.asleep {
		return scheduler.Decision{}
	}
	for d := range scheduler.DeviceID(v.Devices()) {
		if dec := p.turn(v, d); dec.Kind != scheduler.DecideIdle {
			return dec
		}
	}
	if timer, set := v.Timer(); p.restless && (!set || timer > v.Now()+scheduler.Second) {
		return scheduler.Wake(v.Now() + scheduler.Second)
	}
	return scheduler.Decision{}
}

func (p *plain) turn(v *scheduler.View, d scheduler.DeviceID) scheduler.Decision {
	m := p.choose(v, d)
	if m == scheduler.NoModel {
		return scheduler.Decision{}
	}
	if n := v.Fits(d, m); n > 0 {
		if until := v.Oldest(m) + scheduler.Second; p.idles && until > v.Now() {
			if timer, set := v.Timer(); set && timer <= until {
				return scheduler.Decision{}
			}
			return scheduler.Wake(until)
		}
		if p.greedy {
			n = v.BatchMax(m) + 1
		}
		return scheduler.Run(d, m, n)
	}
	if v.State(d, m) == scheduler.Resident && v.FreeSlots(d) > 0 { // its batch has no room
		if victim, ok := p.Victim(v, d, 1, m); ok {
			return scheduler.Evict(d, victim)
		}
	}
	if !v.Loadable(d, m) {
		return scheduler.Decision{}
	}
	if p.wasteful {
		if victim, ok := p.Victim(v, d, 1, m); ok {
			return scheduler.Evict(d, victim)
		}
	}
	return scheduler.Load(d, m)
}

// choose returns the model whose oldest item is oldest, of those that the
// device can do something for.
func (p *plain) choose(v *scheduler.View, d scheduler.DeviceID) scheduler.ModelID {
	for _, m := range v.Residents(d) { // first what was loaded runs
		if !p.impatient && !p.ran[m] && v.Ready(m) > 0 && v.State(d, m) != scheduler.Evicting {
			return m
		}
	}
	var able []scheduler.ModelID
	for m := v.NextReady(0); m != scheduler.NoModel; m = v.NextReady(m + 1) {
		last := int(m) == v.Models()-1 && m > 0
		if p.neglects && last || v.Fits(d, m) == 0 && !v.Loadable(d, m) && v.State(d, m) != scheduler.Resident {
			continue
		}
		able = append(able, m)
	}
	if len(able) == 0 {
		return scheduler.NoModel
	}
	best := able[0]
	for _, m := range able[1:] {
		older := v.OldestSeq(m) < v.OldestSeq(best)
		if p.clocked && v.Now()/(10*scheduler.Second)%2 == 1 {
			older = !older
		}
		if p.named && len(v.Model(m).Name) > 4 || p.crowded && v.Models() > 4 {
			older = !older
		}
		if older && !p.starves {
			best = m
		}
	}
	switch {
	case p.shuffled:
		set := map[scheduler.ModelID]bool{}
		for _, m := range able {
			set[m] = true
		}
		for m := range set { // in no order
			return m
		}
	case p.moody:
		return able[p.asked%len(able)]
	}
	return best
}

// Each faulty policy is found out, in the property that it breaks.
func TestFaulty(t *testing.T) {
	pure := policies.Contracts{Pure: true}
	bounded := policies.Contracts{Pure: true, Bound: policies.Bound{Kind: policies.Visits, N: 1}}
	inOrder := policies.Contracts{Pure: true, Bound: policies.Bound{Kind: policies.InOrder}}
	for name, c := range map[string]struct {
		p     plain
		broke policytest.Property
	}{
		"starves":                      {plain{declared: bounded, starves: true}, policytest.Starvation},
		"neglects":                     {plain{declared: policies.Contracts{Pure: true, Waits: true}, neglects: true}, policytest.Drains},
		"leaves before its batch":      {plain{declared: pure, impatient: true}, policytest.FirstBatch},
		"declares a false bound":       {plain{declared: inOrder}, policytest.InOrder},
		"loses a wake-up":              {plain{declared: pure, drowsy: true}, policytest.Wakeup},
		"evicts for nothing":           {plain{declared: pure, wasteful: true}, policytest.Superfluous},
		"idles":                        {plain{declared: policies.Contracts{Pure: true, WorkConserving: true}, idles: true}, policytest.WorkConserving},
		"idles before a load":          {plain{declared: policies.Contracts{Pure: true, LoadWorkConserving: true}, idles: true, wasteful: true}, policytest.LoadConserving},
		"decides what is illegal":      {plain{declared: pure, greedy: true}, policytest.Invariants},
		"panics":                       {plain{declared: pure, panics: true}, policytest.Invariants},
		"never sleeps":                 {plain{declared: pure, restless: true}, policytest.Drains},
		"depends on the order of maps": {plain{declared: pure, shuffled: true}, policytest.Pure},
		"has a hidden state":           {plain{declared: pure, moody: true}, policytest.Pure},
		"looks at the clock":           {plain{declared: pure, clocked: true}, policytest.Shifted},
		"has a time of its own":        {plain{declared: pure, idles: true}, policytest.Scaled},
		"looks at names":               {plain{declared: pure, named: true}, policytest.Renamed},
		"counts the models":            {plain{declared: pure, crowded: true}, policytest.UnusedModel},
		"loads again what had room":    {plain{declared: pure, wasteful: true}, policytest.AllFit},
		"idles, saying it does not":    {plain{declared: policies.Contracts{Pure: true, WorkConserving: true, LoadWorkConserving: true}, idles: true}, policytest.NoLoads},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			row := find(t, check(t, c.p, 400), c.broke)
			if row.Status != policytest.Broken {
				t.Fatalf("%s: %s: %s", row.Property, row.Status, row.What)
			}
			if row.What == "" || row.World == nil || len(row.Runs) == 0 || row.Cases == 0 {
				t.Errorf("nothing shows it: %+v", row)
			}
			if n := len(row.World.Items); n > 8 && c.broke != policytest.Pure { // what is not pure does not shrink
				t.Errorf("the counterexample has %d items: %v", n, row.World)
			}
			if c.p.moody && !strings.HasPrefix(row.What, "asked twice at ") {
				t.Errorf("it is not asked twice: %s", row.What)
			}
			if c.p.panics && !strings.Contains(row.What, "panic: three are a crowd at faulty_test.go:69") {
				t.Errorf("it is not said where: %s", row.What)
			}
			t.Logf("%s in %v", row.What, row.World)
		})
	}
}

func check(t *testing.T, p plain, cases int) *policytest.Report {
	t.Helper()
	set := policies.Builtin()
	if err := set.Add(p.entry("plain")); err != nil {
		t.Fatal(err)
	}
	r, err := policytest.Check(policytest.Config{Set: set, Spec: policies.Spec{Use: "plain"}, Cases: cases, Evaluations: -1})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func find(t *testing.T, r *policytest.Report, p policytest.Property) policytest.Result {
	t.Helper()
	for _, row := range r.Results {
		if row.Property == p {
			return row
		}
	}
	t.Fatalf("no row of %s", p)
	return policytest.Result{}
}

// Without a fault it is found to be without.
func TestFaultless(t *testing.T) {
	for _, row := range check(t, plain{declared: policies.Contracts{Pure: true}}, 2000).Results {
		if row.Status == policytest.Broken {
			t.Errorf("%s: %s in %v", row.Property, row.What, row.World)
		}
	}
}
