package sim_test

import (
	"slices"
	"testing"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/random"
	"github.com/vramsim/vramsim/sim"
)

// took returns how long each effect of a kind took, in the order of their ends.
func (b *bench) took(begin, end scheduler.Kind) []scheduler.Time {
	begun := map[int64]scheduler.Time{}
	var took []scheduler.Time
	for _, ev := range b.events {
		switch ev.Kind {
		case begin:
			begun[ev.ID] = ev.At
		case end:
			took = append(took, ev.At-begun[ev.ID])
		}
	}
	return took
}

// TestFirstUse: it is added to the first load of each model on each device,
// once more after the device was lost, and never otherwise.
func TestFirstUse(t *testing.T) {
	var instants [][]scheduler.Event
	for i, m := range []scheduler.ModelID{0, 1, 0, 1, 0} {
		instants = append(instants, item(scheduler.Time(i)*1000, int64(i), m))
	}
	b := newBench(&list{instants: instants}, sim.Cost{FirstUse: 7}, sim.Cost{})
	b.core.Devices[0].Budget, b.core.Evictor = 1, firstIdle{}
	b.world.Faults = sim.Faults{Outages: []sim.Outage{{From: 3500, Until: 3600}}}
	truth := sim.LoadTruth(b.world)
	if err := b.run(t); err != nil {
		t.Fatal(err)
	}
	got := b.took(scheduler.LoadStarted, scheduler.LoadFinished)
	if want := []scheduler.Time{17, 10, 10, 10, 17}; !slices.Equal(got, want) {
		t.Errorf("loads take %v, want %v", got, want)
	}
	expect(t, "the true first load", truth(0, scheduler.TierDisk, 0), scheduler.Time(17))
	expect(t, "the true second load", truth(0, scheduler.TierDisk, 1), scheduler.Time(10))
	expect(t, "the true first load of the other", truth(1, scheduler.TierDisk, 0), scheduler.Time(10))
}

// On a device of its own every first load is one.
func TestFirstUseOnEachDevice(t *testing.T) {
	b := newBench(&list{instants: [][]scheduler.Event{append(item(0, 0, 0), item(0, 1, 0)...)}}, sim.Cost{FirstUse: 7, Batch: scheduler.BatchCost{Base: 100}})
	b.core.Devices = []scheduler.Device{{Budget: 100, Slots: 1}, {Budget: 100, Slots: 1}}
	if err := b.run(t); err != nil {
		t.Fatal(err)
	}
	if got := b.took(scheduler.LoadStarted, scheduler.LoadFinished); !slices.Equal(got, []scheduler.Time{17, 17}) {
		t.Errorf("loads take %v", got)
	}
}

// leaver evicts model 1 when it has run.
type leaver struct{}

func (leaver) Next(v *scheduler.View) scheduler.Decision {
	if v.Evictable(0, 1) && v.BatchesSinceLoad(0, 1) > 0 {
		return scheduler.Evict(0, 1)
	}
	return plain{}.Next(v)
}

// TestUnloadBusy: a model leaves a device on which a batch runs in another time
// than an idle one.
func TestUnloadBusy(t *testing.T) {
	for name, busy := range map[string]random.Dist{"constant": random.Constant(6), "drawn": random.Must(random.Between(6, 6.4))} {
		// The batch of model 0 runs from 10 to 1010.
		b := newBench(&list{instants: [][]scheduler.Event{item(0, 0, 0), item(100, 1, 1), item(5000, 2, 1)}},
			sim.Cost{Batch: scheduler.BatchCost{Base: 1000}}, sim.Cost{Unload: random.Constant(2), UnloadBusy: busy, Batch: scheduler.BatchCost{Base: 1}})
		b.core.Devices[0].Slots, b.core.Policy = 2, leaver{}
		if err := b.run(t); err != nil {
			t.Fatal(err)
		}
		if got := b.took(scheduler.EvictStarted, scheduler.EvictFinished); !slices.Equal(got, []scheduler.Time{6, 2}) {
			t.Errorf("%s: evictions take %v", name, got)
		}
	}
}

// TestTimingOfDevices: what an executor sleeps is what the world takes, first
// uses and busy evictions included.
func TestTimingOfDevices(t *testing.T) {
	timing := sim.NewTiming(sim.Config{Models: []sim.Cost{{Name: "a", FirstUse: 7, UnloadBusy: random.Constant(6), Unload: random.Constant(2),
		Load: [scheduler.Tiers]random.Dist{random.Constant(10), random.Constant(1)}, Batch: scheduler.BatchCost{Max: 1, Base: 5}}}})
	seq := uint64(0)
	of := func(op scheduler.Operation) scheduler.Time {
		seq++
		took, fails, err := timing.Of(scheduler.Command{Seq: seq, Op: op, Items: []scheduler.CommandItem{{ID: 0}}})
		if err != nil || fails {
			t.Fatal(err)
		}
		return took
	}
	tell := func(k scheduler.Kind) {
		if err := timing.Append([]scheduler.Event{{Kind: k, ID: int64(seq)}}); err != nil {
			t.Fatal(err)
		}
	}
	got := []scheduler.Time{of(scheduler.OpLoad), of(scheduler.OpEvict), of(scheduler.OpLoad), of(scheduler.OpRun)}
	got = append(got, of(scheduler.OpEvict)) // beside the batch
	seq--
	tell(scheduler.BatchFinished)
	got = append(got, of(scheduler.OpEvict))
	tell(scheduler.DeviceDown)
	got = append(got, of(scheduler.OpLoad))
	if want := []scheduler.Time{17, 2, 10, 5, 6, 2, 17}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
