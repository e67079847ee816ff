package policies_test

import (
	"math"
	"runtime"
	"slices"
	"testing"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/scheduler"
)

// served returns the items of a log in the order in which they were dispatched.
func (o *outcome) served() []scheduler.ItemID {
	var ids []scheduler.ItemID
	for _, b := range o.Batches {
		ids = append(ids, b.Items...)
	}
	return ids
}

// An item of low priority under a stream of higher ones: with aging what waits
// long enough goes first, and of items of one age the higher priority.
func TestAging(t *testing.T) {
	// One item of priority 0 at 0; one of priority 1 each second from then on.
	items := []arrival{{}}
	for i := range 40 {
		items = append(items, arrival{at: scheduler.Time(i) * sec, priority: 1})
	}
	place := func(order policies.Axis) int {
		s := scenario{models: ones(abc()), devices: gpu(4), items: items, spec: policies.Spec{Use: "sticky", Order: order}}
		return slices.Index(s.run(t).served(), 0)
	}
	// The item of priority 1 that becomes ready at t stands before it until t = step.
	for _, c := range []struct {
		order policies.Axis
		want  int
	}{{axis("fifo"), 40}, {axis("aging", "step", "10s"), 11}, {axis("aging", "step", "500ms"), 1}, {axis("aging", "step", "1h"), 40}} {
		if got := place(c.order); got != c.want {
			t.Errorf("%s %v: served as number %d, want %d", c.order.Name, c.order.Params, got, c.want)
		}
	}
}

// Keys keep their order at the ends of the ranges of priorities and times.
func TestAgingSaturates(t *testing.T) {
	built := func(step string) scheduler.Order {
		b, err := policies.Builtin().New(policies.Spec{Use: "fifo", Order: axis("aging", "step", step)}, policies.Env{Models: abc(), Devices: gpu(8)})
		if err != nil {
			t.Fatal(err)
		}
		return b.Order
	}
	for _, step := range []string{"1ns", "1s", "100000h"} {
		order := built(step)
		for _, at := range []scheduler.Time{0, sec, scheduler.MaxTime} {
			before := int64(math.MinInt64)
			for _, p := range []int32{math.MaxInt32, 7, 1, 0, -1, math.MinInt32} {
				key := order.Key(scheduler.Item{ReadyAt: at, Priority: p})
				if key < before {
					t.Errorf("step %s at %v: priority %d has key %d, before %d of a higher one", step, at, p, key, before)
				}
				before = key
			}
		}
	}
}

// A tenant with many items and one with few, of one second each: the few are
// not behind the many, by rounds of the quantum.
func TestTenantRounds(t *testing.T) {
	var items []arrival
	for range 20 {
		items = append(items, arrival{tenant: 1})
	}
	items = append(items, arrival{tenant: 2}, arrival{tenant: 2}, arrival{tenant: 2})
	for _, c := range []struct {
		quantum string
		want    []int // places of tenant 2's items
	}{{"1s", []int{1, 3, 5}}, {"2s", []int{2, 3, 6}}, {"1h", []int{20, 21, 22}}} {
		s := scenario{models: ones(abc()), devices: gpu(4), items: items, spec: policies.Spec{Use: "fifo", Order: axis("tenant-drr", "quantum", c.quantum)}}
		var got []int
		for i, id := range s.run(t).served() {
			if id >= 20 {
				got = append(got, i)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("quantum %s: tenant 2 served at places %v, want %v", c.quantum, got, c.want)
		}
	}
}

// Who had nothing queued for long has saved nothing: the rounds that passed
// are not made up for.
func TestTenantSavesNoRounds(t *testing.T) {
	var items []arrival
	for range 10 {
		items = append(items, arrival{tenant: 1})
	}
	// At 11 s six of tenant 1's are served (the load takes 5 s): tenant 2 comes.
	for range 10 {
		items = append(items, arrival{at: 10500 * ms, tenant: 2})
	}
	s := scenario{models: ones(abc()), devices: gpu(4), items: items, spec: policies.Spec{Use: "fifo", Order: axis("tenant-drr")}}
	got := s.run(t).served()
	// From then on they alternate, as long as tenant 1 has items left.
	for i := 6; i < 13; i++ {
		if (got[i] >= 10) == (got[i+1] >= 10) {
			t.Errorf("served %v: places %d and %d are of one tenant", got, i, i+1)
		}
	}
}

// Tenants share by time, not by number of items; failed batches are paid once.
func TestTenantsShareTime(t *testing.T) {
	var items []arrival
	for range 30 {
		items = append(items, arrival{tenant: 1, work: 3 * scheduler.WorkUnit})
	}
	for range 90 {
		items = append(items, arrival{tenant: 2})
	}
	fails := 0
	s := scenario{models: ones(abc()), devices: gpu(4), items: items, spec: policies.Spec{Use: "fifo", Params: map[string]any{"backoff": "0s"}, Order: axis("tenant-drr", "quantum", "3s")},
		failed: func(ev scheduler.Event) bool {
			fails++
			return ev.Kind == scheduler.BatchStarted && fails%7 == 0
		}}
	o := s.run(t)
	if o.Counts.Done != 120 {
		t.Fatalf("%d of 120 done", o.Counts.Done)
	}
	one, two, seen := int64(0), int64(0), map[scheduler.ItemID]bool{}
	for _, id := range o.served()[:60] {
		switch {
		case seen[id]: // tried again
		case id < 30:
			one += 3
		default:
			two++
		}
		seen[id] = true
	}
	if d := one - two; d < -3 || d > 3 {
		t.Errorf("after 60 batches tenant 1 has had %d s, tenant 2 %d s", one, two)
	}
}

// What is known of tenants does not grow with how many there ever were.
func TestTenantsAreForgotten(t *testing.T) {
	b, err := policies.Builtin().New(policies.Spec{Use: "fifo", Order: axis("tenant-drr")}, policies.Env{Models: abc(), Devices: gpu(8)})
	if err != nil {
		t.Fatal(err)
	}
	watch := b.Order.(scheduler.DispatchObserver)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for tenant := range int64(200_000) { // each comes once
		item := scheduler.Item{Tenant: tenant, Work: 2 * scheduler.WorkUnit}
		watch.Dispatched(item, b.Order.Key(item))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 1<<20 {
		t.Errorf("%d bytes are kept of 200,000 tenants that are gone", grown)
	}
	runtime.KeepAlive(b)
}
