package policies

import (
	"math"
	"testing"

	"github.com/vramsim/vramsim/scheduler"
)

const second = scheduler.Time(1e9)

func boundWorld(devices, slots int) BoundConfig {
	cfg := BoundConfig{Models: []LeastCost{
		{Load: 5 * second, Batch: scheduler.BatchCost{Max: 4, Base: second, PerItem: second}},
		{Load: 3 * second, Batch: scheduler.BatchCost{Max: 2, Times: []scheduler.Time{2 * second, 3 * second}}},
		{Load: 2 * second, Batch: scheduler.BatchCost{Max: 1}, Whole: 4 * second},
		{Load: second, Batch: scheduler.BatchCost{Max: 2, Base: second}, Item: 3 * second, Drawn: true},
	}}
	for range devices {
		cfg.Devices = append(cfg.Devices, scheduler.Device{Slots: slots})
	}
	return cfg
}

func boundItemAt(m scheduler.ModelID, at scheduler.Time, deps ...scheduler.ItemID) BoundItem {
	return BoundItem{Model: m, Arrival: at, Work: scheduler.WorkUnit, Service: -1, Deps: deps}
}

// Each case is worked out by hand from the formulas of LowerBounds.
func TestLowerBounds(t *testing.T) {
	plain := boundItemAt
	half := plain(0, 0)
	half.Work = scheduler.WorkUnit / 2
	recorded := plain(0, 0)
	recorded.Service = 7 * second
	for name, c := range map[string]struct {
		cfg      BoundConfig
		items    []BoundItem
		makespan float64
		loads    int64
		switches int64
		latency  float64
	}{
		"one item: load and run":                  {boundWorld(1, 1), []BoundItem{plain(0, 0)}, 7, 1, 0, 7},
		"after the load there is only the run":    {boundWorld(1, 1), []BoundItem{plain(0, 10*second)}, 12, 1, 0, 2},
		"half the work":                           {boundWorld(1, 1), []BoundItem{half}, 6.5, 1, 0, 6.5},
		"a recorded service comes after the base": {boundWorld(1, 1), []BoundItem{recorded}, 13, 1, 0, 13},
		// c = 1/4 + 1 each, SRPT from 5 s on: 6.25, 7.5, 8.75, 10; alone 7 each.
		"four in a batch": {boundWorld(1, 1), []BoundItem{plain(0, 0), plain(0, 0), plain(0, 0), plain(0, 0)}, 10, 1, 0, (6.25 + 7.5 + 8.75 + 10) / 4},
		// On two slots half of that time, so that alone is worse for the first two.
		"two slots": {boundWorld(1, 2), []BoundItem{plain(0, 0), plain(0, 0), plain(0, 0), plain(0, 0)}, 7.5, 1, 0, 7},
		// A table: e = 2, c = 1.5. Chain 0 → 1 → 0: starts 5, 7, 9; ends 11.
		"a chain changes models":            {boundWorld(1, 1), []BoundItem{plain(0, 0), plain(1, 0, 0), plain(0, 0, 1)}, 11, 2, 2, (7 + 9 + 11) / 3.0},
		"on two devices it need not switch": {boundWorld(2, 1), []BoundItem{plain(0, 0), plain(1, 0, 0), plain(0, 0, 1)}, 11, 2, 0, (7 + 9 + 11) / 3.0},
		// Loads 5+3+2+1 on one device, then the shortest batch of 2. SRPT beats alone.
		"four models":                   {boundWorld(1, 1), []BoundItem{plain(0, 0), plain(1, 0), plain(2, 0), plain(3, 0)}, 13, 4, 3, (7.25 + 6 + 11.25 + 4.5) / 4.0},
		"a drawn batch takes all of it": {boundWorld(1, 1), []BoundItem{plain(2, 0)}, 6, 1, 0, 6},
		"a drawn item adds to the base": {boundWorld(1, 1), []BoundItem{plain(3, 0)}, 5, 1, 0, 5},
		"a dependency that comes later": {boundWorld(1, 1), []BoundItem{plain(1, 0, 1), plain(0, second)}, 10, 2, 1, (9 + 6) / 2.0},
	} {
		b := LowerBounds(c.cfg, c.items)
		if b.Makespan.Seconds() != c.makespan || b.Loads != c.loads || b.Switches != c.switches || math.Abs(b.MeanLatency-c.latency) > 1e-9 {
			t.Errorf("%s: %v %d %d %v, want %v %d %d %v", name, b.Makespan.Seconds(), b.Loads, b.Switches, b.MeanLatency, c.makespan, c.loads, c.switches, c.latency)
		}
	}
}

// A batch takes whole nanoseconds: two halves of one take none.
func TestLowerBoundsRoundDown(t *testing.T) {
	cfg := BoundConfig{Devices: []scheduler.Device{{Slots: 1}}, Models: []LeastCost{{Load: second, Batch: scheduler.BatchCost{Max: 1, PerItem: 1}}}}
	half := boundItemAt(0, 0)
	half.Work = scheduler.WorkUnit / 2
	if b := LowerBounds(cfg, []BoundItem{half, half}); b.Makespan != second {
		t.Errorf("makespan %v", b.Makespan)
	}
}

func TestLowerBoundsOfAWindow(t *testing.T) {
	cfg := boundWorld(1, 1)
	cfg.Warmup, cfg.End = 8*second, 20*second
	b := LowerBounds(cfg, []BoundItem{boundItemAt(0, 0), boundItemAt(0, 10*second), boundItemAt(0, 30*second)})
	if b.Loads != 0 || b.Switches != 0 || b.MeanLatency != 2 || b.Makespan != 32*second {
		t.Errorf("%+v", b)
	}
	if b := LowerBounds(cfg, nil); !math.IsNaN(b.MeanLatency) || b.Makespan != 0 {
		t.Errorf("of nothing: %+v", b)
	}
}
