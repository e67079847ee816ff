package policies_test

import (
	"cmp"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/coretest"
)

// Groups go by their deadlines; if one would be late, in the best order there
// is. a is present from 6 s on, b and c take 5 s to load, items 1 s each.
func TestQLMOrdersGroups(t *testing.T) {
	far := func(n int) []arrival { // groups of a that are never late
		var items []arrival
		for i := range n {
			items = append(items, due(6*sec, 0, scheduler.Time(1000+10*i)*sec))
		}
		return items
	}
	for _, c := range []struct {
		what  string
		items []arrival
		order string
	}{
		{"by deadline", []arrival{due(6*sec, 0, 900*sec), due(6*sec, 1, 800*sec), due(6*sec, 2, 700*sec)}, "CBA"},
		{"the lowest id of equals", []arrival{due(6*sec, 2, 800*sec), due(6*sec, 1, 800*sec)}, "BC"},
		{"both in time: b ends at 12 s, a after its load at 18 s", []arrival{due(6*sec, 1, 12*sec), due(6*sec, 0, 18*sec)}, "BA"},
		// b, a ends at 12 s and 13 s by what is known at 6 s: nothing loads a again.
		{"a late behind b, b late behind a: the lesser sum", []arrival{due(6*sec, 1, 12*sec), due(6*sec, 0, 12500*ms)}, "AB"},
		{"b is late anyway", []arrival{due(6*sec, 1, 11*sec), due(6*sec, 0, 11500*ms)}, "AB"},
		{"in time to the nanosecond", []arrival{due(6*sec, 1, 12*sec), due(6*sec, 0, 13*sec)}, "BA"},
		{"late by a nanosecond", []arrival{due(6*sec, 1, 12*sec), due(6*sec, 0, 13*sec-1)}, "AB"},
		{"eight groups: what is late anyway comes last", append(far(6), due(6*sec, 1, 11*sec), due(6*sec, 0, 11500*ms)), "AAAAAAAB"},
		{"nine groups: by deadline", append(far(7), due(6*sec, 1, 11*sec), due(6*sec, 0, 11500*ms)), "BA"},
		{"without a deadline last", []arrival{due(6*sec, 0, 0), due(6*sec, 1, 800*sec)}, "BA"},
		{"without a deadline nothing is late", []arrival{due(6*sec, 1, 0), due(6*sec, 0, 0)}, "AB"},
		{"half a second is one bucket", []arrival{due(6*sec, 0, 800*sec), due(6*sec, 0, 800500*ms)}, "A2"},
		{"a second is another one", []arrival{due(6*sec, 0, 800*sec), due(6*sec, 0, 801*sec)}, "AA"},
		{"before the arrival is another one", []arrival{due(6*sec, 0, 5500*ms), due(6*sec, 0, 6500*ms)}, "AA"},
		{"the bucket is of the time from arrival", []arrival{due(6*sec, 0, 800*sec), due(6500*ms, 1, 5000*sec), due(7*sec, 0, 801*sec)}, "AAB"},
	} {
		items := append(burst(0, "A"), c.items...)
		slices.SortStableFunc(items, func(a, b arrival) int { return cmp.Compare(a.at, b.at) })
		s := scenario{models: abc(), devices: gpu(4), spec: use("qlm"), items: items}
		if got := s.run(t).order()[1:]; got[:len(c.order)] != c.order {
			t.Errorf("%s: %s, want %s", c.what, got, c.order)
		}
	}
}

// Sums of ends are counted beyond 64 bits: a, b and c are late in any order, b
// has the earliest deadline, and the sum is least if a, which is short, comes
// first.
func TestQLMAtTheEndOfTime(t *testing.T) {
	models := ones(abc())
	models[1].Batch.PerItem, models[2].Batch.PerItem = scheduler.MaxTime/2+1, scheduler.MaxTime/2+1
	s := scenario{models: models, devices: gpu(12), spec: use("qlm"), horizon: 100 * sec, items: []arrival{due(0, 1, sec/2), due(0, 0, sec), due(0, 2, 2*sec)}}
	if o := s.run(t); len(o.Batches) == 0 || o.Batches[0].Model != 0 {
		t.Errorf("batches %v", o.Batches)
	}
}

// Queues are ordered by deadline unless the policy says otherwise.
func TestQLMOrdersQueues(t *testing.T) {
	for _, c := range []struct {
		order policies.Axis
		want  []scheduler.ItemID
	}{{policies.Axis{}, []scheduler.ItemID{1, 0}}, {axis("fifo"), []scheduler.ItemID{0, 1}}} {
		s := scenario{models: ones(abc()), devices: gpu(4), items: []arrival{due(0, 0, 90*sec), due(0, 0, 80*sec)}, spec: policies.Spec{Use: "qlm", Order: c.order}}
		var got []scheduler.ItemID
		for _, b := range s.run(t).Batches {
			got = append(got, b.Items...)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("order %q: %v, want %v", c.order.Name, got, c.want)
		}
	}
}

// oneGroup is a group as the rule has it.
type oneGroup struct {
	model     scheduler.ModelID
	bucket    int64
	n         int
	work      int64
	due, took scheduler.Time
}

// bestOrder tries every order: the rule without any shortcut.
func bestOrder(v *scheduler.View, bucket scheduler.Time) (groups []oneGroup, reordered bool) {
	for m := v.NextReady(0); m != scheduler.NoModel; m = v.NextReady(m + 1) {
		v.Each(m, func(item scheduler.Item) bool {
			b := int64(-1)
			if item.Deadline != scheduler.Never {
				b = int64((item.Deadline - item.Arrival) / bucket)
			}
			i := slices.IndexFunc(groups, func(g oneGroup) bool { return g.model == m && g.bucket == b })
			if i < 0 {
				i = len(groups)
				groups = append(groups, oneGroup{model: m, bucket: b, due: scheduler.Never})
			}
			groups[i].n, groups[i].work, groups[i].due = groups[i].n+1, groups[i].work+item.Work, min(groups[i].due, item.Deadline)
			return true
		})
	}
	for i := range groups {
		g := &groups[i]
		cost, mean := v.Model(g.model).Batch, g.work/int64(g.n)
		for left := g.n; left > 0; left -= cost.Max {
			n := min(left, cost.Max)
			g.took += cost.Time(n, int64(n)*mean)
		}
	}
	slices.SortStableFunc(groups, func(a, b oneGroup) int { return cmp.Or(cmp.Compare(a.due, b.due), cmp.Compare(a.model, b.model)) })
	least, sum := costOf(v, groups)
	if least == 0 || len(groups) > 8 {
		return groups, false
	}
	best := groups
	allOrders(slices.Clone(groups), 0, func(order []oneGroup) {
		if late, ends := costOf(v, order); late < least || late == least && ends < sum {
			least, sum, best, reordered = late, ends, slices.Clone(order), true
		}
	})
	return best, reordered
}

func costOf(v *scheduler.View, order []oneGroup) (late int, sum scheduler.Time) {
	end, model := v.Now(), v.LastModel(0)
	for _, g := range order {
		if g.model != model {
			end += v.LoadEstimate(0, g.model)
		}
		end += g.took
		if g.due != scheduler.Never && end > g.due {
			late++
		}
		sum, model = sum+end, g.model
	}
	return late, sum
}

// allOrders calls f with every order of what is from place i on, first those
// that begin with the earlier ones.
func allOrders(order []oneGroup, i int, f func([]oneGroup)) {
	if i == len(order) {
		f(order)
		return
	}
	for j := i; j < len(order); j++ {
		g := order[j]
		copy(order[i+1:j+1], order[i:j])
		order[i] = g
		allOrders(order, i+1, f)
		copy(order[i:j], order[i+1:j+1])
		order[j] = g
	}
}

// Every choice is that of the best order, found by trying all.
func TestQLMFollowsItsRule(t *testing.T) {
	seen := map[string]int{}
	coretest.Check(t, 100, func(r *rapid.T) {
		bucket := rapid.SampledFrom([]string{"1s", "10s"}).Draw(r, "bucket")
		s := scenario{spec: use("qlm", "bucket", bucket, "fill", false), devices: gpu(8)}
		size, _ := scheduler.ParseTime(bucket)
		for i := range 4 {
			s.models = append(s.models, model(string(rune('a'+i)), 4, rapid.SampledFrom([]scheduler.Time{sec, 3 * sec}).Draw(r, "load"), rapid.IntRange(1, 3).Draw(r, "max"), sec/2, sec))
		}
		at := scheduler.Time(0)
		for range rapid.IntRange(3, 30).Draw(r, "items") {
			at += rapid.SampledFrom([]scheduler.Time{0, 0, sec, 3 * sec}).Draw(r, "gap")
			it := due(at, scheduler.ModelID(rapid.IntRange(0, 3).Draw(r, "model")), 0)
			if slo := rapid.SampledFrom([]scheduler.Time{0, 4 * sec, 9 * sec, 30 * sec}).Draw(r, "slo"); slo > 0 {
				it.deadline = at + slo
			}
			it.work = rapid.SampledFrom([]int64{0, 0, 2e6}).Draw(r, "work")
			s.items = append(s.items, it)
		}
		s.watch = func(v *scheduler.View, dec scheduler.Decision) {
			if dec.Kind != scheduler.DecideLoad && (dec.Kind != scheduler.DecideRun || v.BatchesSinceLoad(0, dec.Model) == 0) {
				return // what was loaded runs first, whatever comes meanwhile
			}
			groups, reordered := bestOrder(v, size)
			first := groups[0]
			if dec.Model != first.model || dec.Kind == scheduler.DecideRun && dec.N != min(first.n, v.BatchMax(first.model)) {
				r.Fatalf("at %v %+v of %+v", v.Now(), dec, groups)
			}
			if reordered {
				seen["better order"]++
			} else if len(groups) > 8 {
				seen["too many"]++
			}
		}
		s.run(t)
	})
	if seen["better order"] == 0 || seen["too many"] == 0 {
		t.Errorf("not seen enough: %v", seen)
	}
}
