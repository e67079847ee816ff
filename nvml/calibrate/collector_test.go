package calibrate

import (
	"reflect"
	"testing"

	"github.com/vramsim/vramsim/scheduler"
)

// script makes events out of lines of a run; ids are positions.
type script []scheduler.Event

func (s *script) add(at scheduler.Time, k scheduler.Kind, m scheduler.ModelID, d scheduler.DeviceID, id, value int64, flags uint8) int64 {
	*s = append(*s, scheduler.Event{At: at, Kind: k, Model: m, Device: d, ID: id, Value: value, Flags: flags})
	return int64(len(*s) - 1)
}

// start adds a decision that begins an effect and returns its number.
func (s *script) start(at scheduler.Time, k scheduler.Kind, m scheduler.ModelID, value int64, flags uint8) int64 {
	return s.add(at, k, m, 0, int64(len(*s)), value, flags)
}

func (s *script) end(at scheduler.Time, k scheduler.Kind, id int64) {
	s.add(at, k, (*s)[id].Model, (*s)[id].Device, id, 0, 0)
}

const fromHost = uint8(scheduler.TierHost) << 4

// TestCollector: first loads apart from others, again so after the device was
// lost; busy evictions apart; batches by size without items of odd work;
// failures count nowhere.
func TestCollector(t *testing.T) {
	var s script
	load := s.start(0, scheduler.LoadStarted, 0, 0, 0)
	s.end(10, scheduler.LoadFinished, load)
	evict := s.start(10, scheduler.EvictStarted, 0, 0, 0)
	s.end(12, scheduler.EvictFinished, evict)
	load = s.start(20, scheduler.LoadStarted, 0, 0, fromHost)
	s.end(23, scheduler.LoadFinished, load)
	s.start(23, scheduler.LoadStarted, 1, 0, 0)
	s.end(30, scheduler.LoadFailed, s[len(s)-1].ID)
	load = s.start(30, scheduler.LoadStarted, 1, 0, 0) // its kernels came with the failed one
	s.end(37, scheduler.LoadFinished, load)
	s.add(40, scheduler.ItemArrived, 0, -1, 0, 0, 0)
	s.add(40, scheduler.ItemArrived, 0, -1, 1, 0, 0)
	s.add(40, scheduler.ItemWork, -1, -1, 1, 2_000_000, 0)
	s.add(40, scheduler.MemberDispatched, 0, 0, 0, 0, 0)
	s.add(40, scheduler.MemberDispatched, 0, 0, 2, 0, 0)
	batch := s.start(40, scheduler.BatchStarted, 0, scheduler.PackBatch(2, 5), 0)
	evict = s.start(41, scheduler.EvictStarted, 1, 0, 0)
	s.end(47, scheduler.EvictFinished, evict)
	s.end(50, scheduler.BatchFinished, batch)
	for i := range 2 { // an odd item, whose first batch fails
		s.add(50, scheduler.MemberDispatched, 0, 0, 1, 0, 0)
		batch = s.start(50, scheduler.BatchStarted, 0, scheduler.PackBatch(1, 5), 0)
		s.end(60, []scheduler.Kind{scheduler.BatchFailed, scheduler.BatchFinished}[i], batch)
	}
	s.add(60, scheduler.TimerSet, -1, -1, scheduler.TimerPolicy, 65, 0)
	s.add(66, scheduler.TimerFired, -1, -1, scheduler.TimerPolicy, 0, 0)
	s.add(70, scheduler.MemberDispatched, 0, 0, 3, 0, 0)
	batch = s.start(70, scheduler.BatchStarted, 0, scheduler.PackBatch(1, 5), 0)
	s.add(71, scheduler.DeviceDown, -1, 0, 0, 0, 0)
	s.end(75, scheduler.BatchFailed, batch)
	s.add(80, scheduler.DeviceUp, -1, 0, 0, 0, 0)
	load = s.start(80, scheduler.LoadStarted, 0, 0, 0)
	s.end(91, scheduler.LoadFinished, load)
	evict = s.start(91, scheduler.EvictStarted, 0, 0, 0)
	s.end(95, scheduler.EvictFinished, evict)

	var c Collector
	models := []scheduler.Model{{Name: "a", Bytes: 5, Batch: scheduler.BatchCost{Max: 4, Memory: 1}}, {Name: "b"}}
	c.Run(models)
	if err := c.Append(s); err != nil {
		t.Fatal(err)
	}
	c.Run([]scheduler.Model{models[1], {Name: "unused"}}) // another run, other ids
	again := script{{At: 0, Kind: scheduler.LoadStarted, ID: 0}, {At: 9, Kind: scheduler.LoadFinished, ID: 0}}
	if err := c.Append(again); err != nil {
		t.Fatal(err)
	}
	type times = []scheduler.Time
	want := []Observations{
		{Name: "a", Bytes: 5, MaxBatch: 4, BatchMemory: 1, FirstLoad: [2]times{{10, 11}}, Load: [2]times{nil, {3}}, Unload: times{2, 4}, Batches: map[int]times{2: {10}}},
		{Name: "b", Load: [2]times{{7}}, FirstLoad: [2]times{{9}}, UnloadBusy: times{6}},
	}
	if got := c.Models(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if c.Skipped != 1 || !reflect.DeepEqual(c.Lateness(), times{1}) || len(c.odd) != 0 {
		t.Errorf("%d skipped, %v late, %v", c.Skipped, c.Lateness(), c.odd)
	}
}

// TestModelOfObservations: what goes into the profile, and what stays out.
func TestModelOfObservations(t *testing.T) {
	ms := func(values ...scheduler.Time) []scheduler.Time {
		for i := range values {
			values[i] *= scheduler.Millisecond
		}
		return values
	}
	o := Observations{Name: "a", Bytes: 2e9, MaxBatch: 8, BatchMemory: 5,
		Load: [2][]scheduler.Time{ms(100, 102, 101, 99, 98), nil}, FirstLoad: [2][]scheduler.Time{ms(150), nil},
		Unload: ms(2, 2, 2), Batches: map[int][]scheduler.Time{1: ms(50, 51, 49), 2: ms(90, 91, 89), 4: ms(170, 171, 400)}}
	m, told, err := o.Model(Empirical)
	if err != nil {
		t.Fatal(err)
	}
	if m.FirstUse != 50*scheduler.Millisecond || m.Unload.String() != "2ms" || m.UnloadBusy.Given() || m.Load[scheduler.TierHost].Given() || m.Memory.Declared != 2e9 {
		t.Errorf("%+v", m)
	}
	if b := m.Batch; b.Max != 8 || (b.Base-10*scheduler.Millisecond).Seconds() < -1e-3 || b.Base > 11*scheduler.Millisecond || (b.PerItem-40*scheduler.Millisecond).Seconds() < -1e-3 || b.PerItem > 41*scheduler.Millisecond || b.Times[4] != 171*scheduler.Millisecond || b.Memory != 5 {
		t.Errorf("%+v", m.Batch)
	}
	if len(told) != 2 || told[0].Summary.Fit.Family != Lognormal {
		t.Errorf("%v", told)
	}
	first := Observations{Name: "c", FirstLoad: [2][]scheduler.Time{ms(150)}}
	if m, told, err = first.Model(Empirical); err != nil || m.FirstUse != 0 || m.Load[0].String() != "150ms" || told[0].What != "load from disk, first uses only" {
		t.Errorf("%+v, %v, %v", m, told, err)
	}
	// Only one size: all of it scales.
	one := Observations{Name: "b", Batches: map[int][]scheduler.Time{4: ms(100)}}
	if m, _, err = one.Model(Empirical); err != nil || m.Batch.Base != 0 || m.Batch.PerItem != 25*scheduler.Millisecond || m.Batch.Times != nil || m.Batch.Max != 4 {
		t.Errorf("%+v, %v", m.Batch, err)
	}
}

// TestTiers: the line comes back through a third of wild points, by tier, and
// only where sizes differ.
func TestTiers(t *testing.T) {
	var models []Observations
	for i, gb := range []scheduler.Bytes{1, 2, 5} {
		var took []scheduler.Time
		for r := range 9 {
			v := 100*scheduler.Millisecond + scheduler.Time(gb)*400*scheduler.Millisecond
			if r%4 == 3 {
				v *= 3 // something was in the way
			}
			took = append(took, v)
		}
		models = append(models, Observations{Name: string(rune('a' + i)), Bytes: gb * scheduler.GB, Load: [2][]scheduler.Time{took, took[:1:1]}})
	}
	for host, want := range map[string][2]bool{"pinned": {true, false}, "pagecache": {false, true}} {
		tiers := Tiers(models, host)
		if got := [2]bool{tiers.Pinned != nil, tiers.Pagecache != nil}; got != want {
			t.Errorf("%s: %+v", host, tiers)
		}
		d := tiers.Disk
		if d == nil || d.Base != 100*scheduler.Millisecond || d.PerGB != 400*scheduler.Millisecond || d.N != 27 || d.Residual.P5 != 0 || d.Residual.P95 != 2 {
			t.Errorf("%+v", d)
		}
	}
	if tiers := Tiers(models[:1], "pinned"); tiers.Disk != nil || tiers.Pinned != nil {
		t.Errorf("a line through one size: %+v", tiers)
	}
	// A line that would begin below 0 goes through the origin.
	if l := theilSen([]point{{1, 1}, {2, 4}, {3, 9}}); l.base != 0 || l.slope != 2 {
		t.Errorf("%+v", l)
	}
}
