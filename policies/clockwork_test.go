package policies_test

import (
	"math/big"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/coretest"
)

// The published costs of ResNet50: five cold items at once, due after 100 ms.
func TestClockworkResNet50(t *testing.T) {
	us := scheduler.Microsecond
	times := make([]scheduler.Time, 16)
	for i := range times { // between the sizes of the table: on straight lines
		n := scheduler.Time(i + 1)
		switch {
		case n <= 2:
			times[i] = 3322*us + (n-1)*1949*us
		case n <= 4:
			times[i] = 5271*us + (n-2)*1112*us
		case n <= 8:
			times[i] = 7495*us + (n-4)*1236*us
		default:
			times[i] = 12439*us + (n-8)*9290*us/8
		}
	}
	load := 8372 * us
	resnet := scheduler.Model{Name: "resnet50", Bytes: 100 * scheduler.MB, Load: [scheduler.Tiers]scheduler.Time{load, load},
		Batch: scheduler.BatchCost{Max: 16, Times: times, Sizes: []int{1, 2, 4, 8, 16}}}
	s := scenario{models: []scheduler.Model{resnet}, devices: gpu(1), spec: use("clockwork")}
	for range 5 {
		s.items = append(s.items, due(0, 0, 100*ms))
	}
	o := s.run(t)
	if o.order() != "A4A" || !slices.Equal(o.starts(0), []scheduler.Time{8372 * us, 15867 * us}) || o.End != 19189*us {
		t.Errorf("%s from %v until %v", o.order(), o.starts(0), o.End)
	}
	// Without a table every size may run.
	s.models[0].Batch.Sizes = nil
	if o = s.run(t); o.order() != "A5" || o.End != (8372+8731)*us {
		t.Errorf("without a table: %s until %v", o.order(), o.End)
	}
}

// Of the batches that are in time the one with least to spare runs. a and b are
// resident, a runs until 20 s.
func TestClockworkRunsLeastSlack(t *testing.T) {
	for _, c := range []struct {
		what  string
		items []arrival
		order string
	}{
		{"the earlier deadline", []arrival{due(12*sec, 0, 40*sec), due(12*sec, 1, 30*sec)}, "BA"},
		{"the longer batch", []arrival{due(12*sec, 0, 40*sec), due(12*sec, 1, 41*sec), due(12*sec, 1, 41*sec), due(12*sec, 1, 41*sec)}, "B3A"},
		{"equal slack: the larger batch", []arrival{due(12*sec, 0, 40*sec), due(12*sec, 1, 41*sec), due(12*sec, 1, 41*sec)}, "B2A"},
		{"equal in all: the lowest id", []arrival{due(12*sec, 1, 40*sec), due(12*sec, 0, 40*sec)}, "AB"},
		{"no more than are in time", []arrival{due(12*sec, 1, 22*sec), due(12*sec, 1, 60*sec), due(12*sec, 1, 60*sec)}, "B2B"},
		{"without a deadline after those with one", []arrival{due(12*sec, 0, 0), due(12*sec, 1, 900*sec)}, "BA"},
		{"exactly in time", []arrival{due(12*sec, 0, 60*sec), due(12*sec, 1, 21*sec)}, "BA"},
		{"1 ns late", []arrival{due(12*sec, 0, 60*sec), due(12*sec, 1, 21*sec-1)}, "A"},
	} {
		s := scenario{models: abc(), devices: gpu(8), spec: use("clockwork"), items: append([]arrival{{work: 9e6, at: 2 * sec}, {model: 1}}, c.items...)}
		slices.SortStableFunc(s.items, func(a, b arrival) int { return int(a.at - b.at) })
		// b loads until 5 s and runs until 6 s, a loads until 10 s.
		s.items[1].at, s.items[1].work = 2*sec, 10e6
		o := s.run(t)
		if got := o.order()[2:]; got != c.order || o.Batches[2].At != 20*sec {
			t.Errorf("%s: %s at %v, want %s", c.what, got, o.Batches[2].At, c.order)
		}
	}
}

// Items are rejected when they cannot be in time any more, at that instant.
func TestClockworkRejects(t *testing.T) {
	s := scenario{models: ones(abc()), devices: gpu(8), spec: use("clockwork"), items: []arrival{{work: 20e6}, due(6*sec, 0, 9*sec), due(6*sec, 0, 30*sec), due(7*sec, 0, 26*sec)}}
	o := s.run(t)
	// The last could run at 25 s if the one before it did not.
	if !slices.Equal(o.Rejected, []scheduler.ItemID{1, 3}) || !slices.Equal(o.rejections(), []scheduler.Time{8*sec + 1, 25*sec + 1}) || o.order() != "AA" {
		t.Errorf("%s, rejected %v at %v", o.order(), o.Rejected, o.rejections())
	}
	for _, c := range []struct {
		deadline scheduler.Time
		rejected []scheduler.Time
		loads    int
	}{
		{6 * sec, []scheduler.Time{5*sec + 1}, 0}, // no slack: not even loaded
		{6*sec + 1, nil, 1},                       // 1 ns
		{6*sec + 500*ms, nil, 1}, {0, nil, 1},
	} {
		s = scenario{models: abc(), devices: gpu(8), spec: use("clockwork"), items: []arrival{due(0, 0, c.deadline)}}
		if o = s.run(t); o.Loads != c.loads || !slices.Equal(o.rejections(), c.rejected) {
			t.Errorf("deadline %v: %d loads, rejected at %v", c.deadline, o.Loads, o.rejections())
		}
	}
}

// The model of most demand is loaded: of t(1) over what its deadline leaves.
func TestClockworkLoadsByDemand(t *testing.T) {
	first := func(gb float64, items ...arrival) string {
		s := scenario{models: abc(), devices: gpu(gb), spec: use("clockwork"), items: items}
		o := s.run(t)
		for _, ev := range o.Events {
			if ev.Kind == scheduler.LoadStarted {
				return string(rune('a' + ev.Model))
			}
		}
		return ""
	}
	for _, c := range []struct {
		what  string
		items []arrival
		want  string
	}{
		{"two items before one", []arrival{due(0, 0, 100*sec), due(0, 1, 100*sec), due(0, 1, 100*sec)}, "b"},
		{"one of 4 s slack before two of 94 s", []arrival{due(0, 0, 10*sec), due(0, 1, 100*sec), due(0, 1, 100*sec)}, "a"},
		{"two of 6 s before one of 4 s", []arrival{due(0, 0, 10*sec), due(0, 1, 12*sec), due(0, 1, 12*sec)}, "b"},
		{"two of 8 s are one of 4 s: the lowest id", []arrival{due(0, 1, 10*sec), due(0, 0, 14*sec), due(0, 0, 14*sec)}, "a"},
		{"those without slack count for nothing", []arrival{due(0, 0, 6*sec), due(0, 0, 6*sec), due(0, 1, 900*sec)}, "b"},
		{"twice the work is twice the demand", []arrival{due(0, 0, 100*sec), {model: 1, deadline: 101 * sec, work: 2e6}}, "b"},
		{"without a deadline there is a little", []arrival{due(0, 0, 0), due(0, 0, 0), due(0, 1, 900*sec)}, "b"},
	} {
		if got := first(8, c.items...); got != c.want {
			t.Errorf("%s: %s is loaded first, want %s", c.what, got, c.want)
		}
	}
}

// What is resident leaves for a model of more unmet demand only. a runs from
// 10 s to 30 s beside b, whose items wait; c has one of demand 1/4 of the window,
// or 1/5.
func TestClockworkEvictsByDemand(t *testing.T) {
	for _, c := range []struct {
		waiting int            // items of b, 1/10 each without the load, 1/5 with it
		slo     scheduler.Time // of c: 10 s leave 4 s, 11 s leave 5 s
		loaded  bool
	}{{1, 10 * sec, true}, {10, 10 * sec, true}, {11, 10 * sec, true}, {11, 11 * sec, false}, {12, 10 * sec, false}, {25, 10 * sec, false}} {
		// Held by one device, b's unmet demand is n/5·(1 − 10/n): 1/5 for 11, 2/5 for 12.
		items := append(burst(0, "B"), arrival{at: 5 * sec, work: 20e6})
		for range c.waiting {
			items = append(items, due(11*sec, 1, 22*sec))
		}
		items = append(items, due(12*sec, 2, 12*sec+c.slo))
		s := scenario{models: ones(abc()), devices: gpu(8), spec: use("clockwork"), items: items}
		o := s.run(t)
		loaded := scheduler.Time(0)
		for _, ev := range o.Events {
			if ev.Kind == scheduler.LoadStarted && ev.Model == 2 {
				loaded = ev.At
			}
		}
		if got := loaded == 12*sec; got != c.loaded {
			t.Errorf("%d items of b wait: c is loaded at %v", c.waiting, loaded)
		}
	}
}

// The room that is made for a's batch is not taken by the loads of b and c, to
// be made again for ever.
func TestClockworkKeepsRoomForABatch(t *testing.T) {
	models := ones(abc())
	for i := range models {
		models[i].Bytes, models[i].Batch.Memory = scheduler.GB, scheduler.GB
	}
	models[0].Bytes = 3 * scheduler.GB
	s := scenario{models: models, devices: gpu(4), spec: use("clockwork"), items: append(burst(0, "ABC"), arrival{at: 7 * sec})}
	// a loads and runs until 6 s, b loads until 11 s and leaves for a's batch.
	o := s.run(t)
	if o.order() != "AABC" || !slices.Equal(o.starts(1), []scheduler.Time{11 * sec, 17 * sec, 22 * sec}) {
		t.Errorf("%s from %v after %d loads", o.order(), o.starts(1), o.Loads)
	}
}

// A second device gets a copy when the first cannot meet the demand.
func TestClockworkReplicates(t *testing.T) {
	two := append(gpu(8), gpu(8)...)
	two[1].Name = "gpu1"
	for _, c := range []struct{ waiting, loads int }{{10, 1}, {11, 2}} { // 1/10 each
		s := scenario{models: ones(abc()), devices: two, spec: use("clockwork"), items: []arrival{{work: 20e6}}}
		for range c.waiting {
			s.items = append(s.items, due(6*sec, 0, 17*sec))
		}
		if o := s.run(t); o.Loads != c.loads {
			t.Errorf("%d items wait: %d loads, want %d", c.waiting, o.Loads, c.loads)
		}
	}
}

// demands works out the rule for loads in fractions.
type demands struct {
	v       *scheduler.View
	holders [][]int    // by model
	load    []*big.Rat // by model
	d       []*big.Rat // by device
	unmet   []*big.Rat // by model
}

const window = 100 * scheduler.Millisecond

func unmetDemands(v *scheduler.View) *demands {
	r := &demands{v: v}
	for range v.Devices() {
		r.d = append(r.d, new(big.Rat))
	}
	for m := range scheduler.ModelID(v.Models()) {
		var holders []int
		for d := range r.d {
			switch v.State(scheduler.DeviceID(d), m) {
			case scheduler.Claimed, scheduler.Loading, scheduler.Resident:
				holders = append(holders, d)
			}
		}
		r.holders = append(r.holders, holders)
		r.load = append(r.load, r.sum(m, v.ReloadEstimate(m)))
		run := r.sum(m, 0)
		x := r.shares(m)
		for i, d := range holders {
			r.d[d].Add(r.d[d], new(big.Rat).Mul(run, x[i]))
		}
	}
	for m := range scheduler.ModelID(v.Models()) {
		left := big.NewRat(1, 1)
		for i, x := range r.shares(m) {
			if d := r.d[r.holders[m][i]]; d.Sign() > 0 {
				x.Mul(x, big.NewRat(int64(window), 1))
				left.Sub(left, x.Quo(x, d))
			}
		}
		r.unmet = append(r.unmet, left.Mul(left, r.load[m]))
	}
	return r
}

func (r *demands) sum(m scheduler.ModelID, load scheduler.Time) *big.Rat {
	sum := new(big.Rat)
	r.v.Each(m, func(item scheduler.Item) bool {
		t := r.v.Model(m).Batch.Time(1, item.Work)
		if slack := item.Deadline - item.Arrival - t - load; slack > 0 {
			one := big.NewRat(int64(t), int64(slack))
			sum.Add(sum, one.Mul(one, big.NewRat(int64(window), 1)))
		}
		return true
	})
	return sum
}

func (r *demands) shares(m scheduler.ModelID) []*big.Rat {
	var x []*big.Rat
	idle := false
	for _, d := range r.holders[m] {
		idle = idle || r.d[d].Sign() == 0
	}
	sum := new(big.Rat)
	for _, d := range r.holders[m] {
		one := new(big.Rat)
		switch {
		case r.d[d].Sign() == 0:
			one.SetInt64(1)
		case !idle:
			one.Inv(r.d[d])
		}
		x = append(x, one)
		sum.Add(sum, one)
	}
	for i := range x {
		x[i].Quo(x[i], sum)
	}
	return x
}

// Every decision is the one of the rule, worked out in fractions: models of one
// size, so that one leaves for one.
func TestClockworkFollowsItsRule(t *testing.T) {
	seen := map[string]int{}
	coretest.Check(t, 100, func(r *rapid.T) {
		s := scenario{spec: use("clockwork")}
		for i := range rapid.IntRange(3, 5).Draw(r, "models") {
			s.models = append(s.models, model(string(rune('a'+i)), 4, rapid.SampledFrom([]scheduler.Time{sec, 3 * sec}).Draw(r, "load"), rapid.IntRange(1, 4).Draw(r, "max"), sec/2, sec))
		}
		for i := range rapid.IntRange(1, 3).Draw(r, "devices") {
			s.devices = append(s.devices, gpu(rapid.SampledFrom([]float64{8, 12}).Draw(r, "gb"))[0])
			s.devices[i].Name = string(rune('0' + i))
		}
		at := scheduler.Time(0)
		for range rapid.IntRange(10, 50).Draw(r, "items") {
			at += rapid.SampledFrom([]scheduler.Time{0, 0, sec / 3, sec}).Draw(r, "gap")
			it := due(at, scheduler.ModelID(rapid.IntRange(0, len(s.models)-1).Draw(r, "model")), at+rapid.SampledFrom([]scheduler.Time{3 * sec, 7 * sec, 12 * sec, 40 * sec}).Draw(r, "slo"))
			it.work = rapid.SampledFrom([]int64{0, 0, 3e6}).Draw(r, "work")
			s.items = append(s.items, it)
		}
		s.watch = func(v *scheduler.View, dec scheduler.Decision) {
			if dec.Kind != scheduler.DecideReject {
				followsRun(r, v, dec)
			}
			if dec.Kind != scheduler.DecideReject && dec.Kind != scheduler.DecideRun {
				followsLoad(r, v, dec, seen)
			}
		}
		s.run(t)
	})
	for _, what := range []string{"load", "eviction", "copy", "unmet though held", "nothing less demanded"} {
		if seen[what] == 0 {
			t.Errorf("no %s: %v", what, seen)
		}
	}
}

// followsRun: nothing in time has less slack on the first device that is free.
func followsRun(r *rapid.T, v *scheduler.View, dec scheduler.Decision) {
	for d := range scheduler.DeviceID(v.Devices()) {
		best, least := scheduler.Decision{}, scheduler.MaxTime
		for m := v.NextReady(0); m != scheduler.NoModel; m = v.NextReady(m + 1) {
			head, _ := v.Head(m)
			for n := 1; n <= v.Fits(d, m); n++ {
				if slack := head.Deadline - v.BatchEstimate(m, n) - v.Now(); slack >= 0 && (slack < least || slack == least && n > best.N) {
					best, least = scheduler.Run(d, m, n), slack
				}
			}
		}
		if best.N > 0 {
			if best != dec {
				r.Fatalf("at %v %+v, want %+v", v.Now(), dec, best)
			}
			return
		}
	}
	if dec.Kind == scheduler.DecideRun {
		r.Fatalf("at %v %+v, want nothing", v.Now(), dec)
	}
}

// followsLoad: the absent model of most unmet demand is loaded, if that of
// least, which has run, has less.
func followsLoad(r *rapid.T, v *scheduler.View, dec scheduler.Decision, seen map[string]int) {
	rule := unmetDemands(v)
	if rule.close() {
		return // rounding decides
	}
	for d := range scheduler.DeviceID(v.Devices()) {
		if _, _, busy := v.Link(d); busy {
			continue
		}
		m, victim := rule.most(d), scheduler.NoModel
		if m == scheduler.NoModel {
			continue
		}
		if v.Headroom(d) < v.Bytes(m) {
			if victim = rule.least(d); victim == scheduler.NoModel {
				continue
			}
			if rule.unmet[victim].Cmp(rule.unmet[m]) >= 0 {
				seen["nothing less demanded"]++
				continue
			}
			seen["eviction"]++
			if rule.unmet[m].Sign() > 0 && len(rule.holders[victim]) > 0 && rule.unmet[victim].Sign() > 0 {
				seen["unmet though held"]++
			}
		}
		if len(rule.holders[m]) > 0 {
			seen["copy"]++
		}
		seen["load"]++
		victims, _ := v.Victims(nil, d, m)
		if dec.Kind != scheduler.DecideLoad || dec.Device != d || dec.Model != m || (victim == scheduler.NoModel) != (len(victims) == 0) || victim != scheduler.NoModel && victims[0] != victim {
			r.Fatalf("at %v %+v for %v, want model %d to be loaded on %d for %d; unmet %v", v.Now(), dec, victims, m, d, victim, rule.unmet)
		}
		return
	}
	if dec.Kind == scheduler.DecideLoad {
		r.Fatalf("at %v %+v, want nothing; unmet %v", v.Now(), dec, rule.unmet)
	}
}

// close reports whether two models, or one and 0, differ by less than 10 us
// without being the same.
func (r *demands) close() bool {
	near := big.NewRat(int64(10*scheduler.Microsecond), 1)
	for i, a := range r.unmet {
		for _, b := range append([]*big.Rat{new(big.Rat)}, r.unmet[:i]...) {
			if diff := new(big.Rat).Sub(a, b); r.load[i].Sign() > 0 && diff.Abs(diff).Cmp(near) < 0 {
				return true
			}
		}
	}
	return false
}

func (r *demands) most(d scheduler.DeviceID) scheduler.ModelID {
	best := scheduler.NoModel
	for m := range scheduler.ModelID(r.v.Models()) {
		if r.v.State(d, m) == scheduler.Absent && r.unmet[m].Sign() > 0 && (best == scheduler.NoModel || r.unmet[m].Cmp(r.unmet[best]) > 0) {
			best = m
		}
	}
	return best
}

func (r *demands) least(d scheduler.DeviceID) scheduler.ModelID {
	best := scheduler.NoModel
	for _, m := range r.v.Residents(d) {
		if !r.v.Evictable(d, m) || r.v.BatchesSinceLoad(d, m) == 0 && r.v.Ready(m) > 0 {
			continue
		}
		if best == scheduler.NoModel || r.unmet[m].Cmp(r.unmet[best]) < 0 || r.unmet[m].Cmp(r.unmet[best]) == 0 && r.v.UseOrder(d, m) < r.v.UseOrder(d, best) {
			best = m
		}
	}
	return best
}

// The longest times there are do not overflow. b and c have a slack of 1 ns to
// load: c has a little more demand, unless both are more than is counted.
func TestClockworkAtTheEndOfTime(t *testing.T) {
	for _, c := range []struct{ window, order string }{{"1ns", "CCA"}, {"100d", "BA"}, {"106751d", "BA"}} {
		long := scheduler.MaxTime / 4
		models := abc()
		models[0].Batch.PerItem, models[1].Load = long, [scheduler.Tiers]scheduler.Time{long, long}
		s := scenario{models: models, devices: gpu(8), spec: use("clockwork", "window", c.window), horizon: scheduler.MaxTime / 2,
			items: []arrival{due(0, 0, scheduler.MaxTime-1), due(0, 1, long+sec+1), due(0, 2, 6*sec+1), due(0, 0, 1), due(0, 2, 0)}}
		if o := s.run(t); o.order() != c.order || o.Counts.Rejected != 2 {
			t.Errorf("window %s: %s, %+v; want %s", c.window, o.order(), o.Counts, c.order)
		}
	}
}
