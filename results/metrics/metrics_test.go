package metrics

import (
	"errors"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/scheduler"
)

const second = scheduler.Second

func catalogue(models, devices int) Config {
	var c Config
	for i := range models {
		c.Models = append(c.Models, scheduler.Model{Name: string(rune('a' + i)), Bytes: 10})
	}
	for i := range devices {
		c.Devices = append(c.Devices, scheduler.Device{Name: string(rune('A' + i)), Budget: 15, Slots: 1})
	}
	return c
}

func newFold(t testing.TB, c Config) *Fold {
	t.Helper()
	f, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// script turns short lines into events; effects get their own position as ID.
type script struct{ events []scheduler.Event }

func (s *script) at(t scheduler.Time, kind scheduler.Kind, id, value int64, m scheduler.ModelID) int64 {
	seq := int64(len(s.events))
	switch kind {
	case scheduler.BatchStarted, scheduler.LoadStarted, scheduler.EvictStarted:
		id = seq
	}
	s.events = append(s.events, scheduler.Event{At: t, Kind: kind, ID: id, Value: value, Model: m})
	return seq
}

func (s *script) run(t scheduler.Time, m scheduler.ModelID, items ...int64) int64 {
	for _, id := range items {
		s.at(t, scheduler.MemberDispatched, id, 0, m)
	}
	return s.at(t, scheduler.BatchStarted, 0, scheduler.PackBatch(len(items), 0), m)
}

// Two models of which one fits: a arrives at 0 and 1, b at 2. a loads 0–4,
// runs both 4–6, leaves 6–7, b loads 7–10 and runs 10–13. Everything below is
// computed by hand.
func handmade() *script {
	s := new(script)
	s.at(0, scheduler.ItemArrived, 0, 0, 0)
	load := s.at(0, scheduler.LoadStarted, 0, 0, 0)
	s.at(1*second, scheduler.ItemArrived, 1, scheduler.PackArrival(0, 1), 0)
	s.at(1*second, scheduler.ItemDeadline, 1, int64(5*second), 0)
	s.at(2*second, scheduler.ItemArrived, 2, scheduler.PackArrival(0, 1), 1)
	s.at(2*second, scheduler.ItemDeadline, 2, int64(13*second), 1)
	s.at(4*second, scheduler.LoadFinished, load, 0, 0)
	batch := s.run(4*second, 0, 0, 1)
	s.at(6*second, scheduler.BatchFinished, batch, 0, 0)
	s.at(6*second, scheduler.LoadClaimed, 0, 5, 1)
	evict := s.at(6*second, scheduler.EvictStarted, 0, 10, 0)
	s.at(7*second, scheduler.EvictFinished, evict, 0, 0)
	load = s.at(7*second, scheduler.LoadStarted, 0, 0, 1)
	s.at(10*second, scheduler.LoadFinished, load, 0, 1)
	batch = s.run(10*second, 1, 2)
	s.at(13*second, scheduler.BatchFinished, batch, 0, 1)
	return s
}

func wants(t *testing.T, r *Result, want map[string]float64) {
	t.Helper()
	for name, w := range want {
		if g, ok := r.Values[name]; !ok || !close9(g, w) {
			t.Errorf("%s = %v, want %v", name, g, w)
		}
	}
}

func TestByHand(t *testing.T) {
	f := newFold(t, catalogue(2, 1))
	if err := f.Append(handmade().events); err != nil {
		t.Fatal(err)
	}
	r := f.Result()
	wants(t, r, map[string]float64{ItemsArrived: 3, ItemsCompleted: 3, ItemsLeft: 0, Switches: 1, Loads: 2, Evictions: 1,
		LoadSeconds: 7, Makespan: 13, PeakBytes: 15, OverBudget: 0, Goodput: 0.5, SwitchesPer: 1000. / 3,
		// The window is 0–2 s, of which nothing ran and all was loading.
		BusyRatio: 0, LoadingRatio: 1, Throughput: 0, MaxBypass: 0})
	// latencies 6, 5, 11; waits 4, 3, 8; services 2, 2, 3
	if s := r.Distributions[ItemLatency]; s.N != 3 || !close9(s.Mean, 22./3) || s.P50 != 6 || s.P90 != 11 || s.Max != 11 {
		t.Errorf("latency %+v", s)
	}
	if s := r.Distributions[ItemWait]; s.Mean != 5 || s.P50 != 4 || s.Max != 8 {
		t.Errorf("wait %+v", s)
	}
	if s := r.Distributions[ItemService]; !close9(s.Mean, 7./3) || s.P50 != 2 || s.P99 != 3 {
		t.Errorf("service %+v", s)
	}
	if r.Distributions[JobLatency] != r.Distributions[ItemLatency] {
		t.Error("items without a job are their own")
	}
	wants(t, r.PerModel["a"], map[string]float64{ItemsCompleted: 2, Switches: 0, Loads: 1, Evictions: 1, LoadSeconds: 4, Makespan: 6, Goodput: 0, PeakBytes: 10})
	wants(t, r.PerModel["b"], map[string]float64{ItemsCompleted: 1, Switches: 1, Loads: 1, Evictions: 0, LoadSeconds: 3, Makespan: 13, Goodput: 1, PeakBytes: 10})
	if _, ok := r.PerModel["a"].Distributions[JobLatency]; ok {
		t.Error("jobs have no model")
	}
}

func TestWindow(t *testing.T) {
	c := catalogue(2, 1)
	c.Warmup, c.WindowEnd = 1*second, 11*second
	f := newFold(t, c)
	if err := f.Append(handmade().events); err != nil {
		t.Fatal(err)
	}
	r := f.Result()
	// Item 0 came before the window and does not count, nor does the load it caused.
	wants(t, r, map[string]float64{ItemsArrived: 2, ItemsCompleted: 2, Loads: 1, Switches: 1, LoadSeconds: 3,
		BusyRatio: 0.3, LoadingRatio: 0.6, Throughput: 0.2, PeakBytes: 15, Makespan: 13})
	d := r.Devices[0]
	if d.Busy != 3 || d.Loading != 6 || d.Idle != 1 {
		t.Errorf("device %+v", d)
	}
}

func TestHorizonAfterDrainChangesNothing(t *testing.T) {
	c := catalogue(2, 1)
	long := handmade()
	short := slices.Clone(long.events)
	evict := long.at(20*second, scheduler.EvictStarted, 0, 10, 1)
	long.at(20*second, scheduler.EvictFinished, evict, 0, 1)
	load := long.at(20*second, scheduler.LoadStarted, 0, 0, 0)
	long.at(24*second, scheduler.LoadFinished, load, 0, 0)
	long.at(25*second, scheduler.LoadStarted, 0, 0, 1)
	f, g := newFold(t, c), newFold(t, c)
	if err := errors.Join(f.Append(short), g.Append(long.events)); err != nil {
		t.Fatal(err)
	}
	compare(t, "longer", g.Result(), f.Result())
	if r := g.Result(); r.Values[PeakBytes] != 15 {
		t.Errorf("a load after the drain raised the peak to %v", r.Values[PeakBytes])
	}
}

func TestUnfinishedAreCensored(t *testing.T) {
	f := newFold(t, catalogue(2, 1))
	events := handmade().events
	if err := f.Append(events[:len(events)-1]); err != nil { // cut while b runs, at 10 s
		t.Fatal(err)
	}
	r := f.Result()
	wants(t, r, map[string]float64{ItemsLeft: 1, ItemsCompleted: 2, Makespan: 10})
	if s := r.Distributions[ItemLatency]; s.N != 3 || s.Censored != 1 || s.Max != 8 {
		t.Errorf("latency %+v", s)
	}
	if s := r.Distributions[ItemWait]; s.N != 3 || s.Censored != 1 || s.Max != 8 {
		t.Errorf("wait %+v", s)
	}
	if len(r.Invalid) != 1 || !strings.HasPrefix(r.Invalid[0], "truncated: 33 %") {
		t.Errorf("invalid: %q", r.Invalid)
	}
}

func TestBypass(t *testing.T) {
	s := new(script)
	load := s.at(0, scheduler.LoadStarted, 0, 0, 0)
	s.at(0, scheduler.LoadFinished, load, 0, 0)
	load = s.at(0, scheduler.LoadStarted, 0, 0, 1)
	s.at(0, scheduler.LoadFinished, load, 0, 1)
	s.at(0, scheduler.ItemArrived, 0, 0, 1) // is overtaken
	for id := int64(1); id <= 5; id++ {
		s.at(0, scheduler.ItemArrived, id, 0, 0)
	}
	b := s.run(1, 0, 1, 2, 3)
	s.at(2, scheduler.BatchFailed, b, 0, 0) // three come back
	b = s.run(3, 0, 1, 2)                   // two start again
	s.at(4, scheduler.BatchFinished, b, 0, 0)
	s.at(4, scheduler.ItemCancelled, 4, 0, 0) // never starts
	b = s.run(5, 1, 0)
	s.at(6, scheduler.BatchFinished, b, 0, 1)
	b = s.run(6, 0, 3, 5)
	s.at(7, scheduler.BatchFinished, b, 0, 0)
	f := newFold(t, catalogue(2, 1))
	if err := f.Append(s.events); err != nil {
		t.Fatal(err)
	}
	r := f.Result()
	wants(t, r, map[string]float64{MaxBypass: 2})
	wants(t, r.PerModel["a"], map[string]float64{MaxBypass: 0})
	wants(t, r.PerModel["b"], map[string]float64{MaxBypass: 2})
}

// Bit sets over many blocks, with members that wait for long.
func TestBypassFarBack(t *testing.T) {
	f := newFold(t, catalogue(2, 1))
	s := new(script)
	for m := range 2 {
		load := s.at(0, scheduler.LoadStarted, 0, 0, scheduler.ModelID(m))
		s.at(0, scheduler.LoadFinished, load, 0, scheduler.ModelID(m))
	}
	s.at(0, scheduler.ItemArrived, 0, 0, 1)
	const others = 20_000
	for id := int64(1); id <= others; id++ {
		s.at(scheduler.Time(id), scheduler.ItemArrived, id, 0, 0)
		b := s.run(scheduler.Time(id), 0, id)
		s.at(scheduler.Time(id), scheduler.BatchFinished, b, 0, 0)
		if id == 9000 {
			s.at(scheduler.Time(id), scheduler.ItemArrived, others+1, 0, 1) // out of order: refused
		}
	}
	if err := f.Append(s.events); err == nil {
		t.Fatal("an item out of order is accepted")
	}
	f = newFold(t, catalogue(2, 1))
	s.events = slices.DeleteFunc(s.events, func(ev scheduler.Event) bool { return ev.Kind == scheduler.ItemArrived && ev.ID > others })
	for i := range s.events { // positions moved by one
		if s.events[i].Kind == scheduler.BatchStarted {
			s.events[i].ID = int64(i)
		} else if s.events[i].Kind == scheduler.BatchFinished {
			s.events[i].ID = int64(i - 1)
		}
	}
	b := s.run(others+1, 1, 0)
	s.at(others+1, scheduler.BatchFinished, b, 0, 1)
	if err := f.Append(s.events); err != nil {
		t.Fatal(err)
	}
	wants(t, f.Result(), map[string]float64{MaxBypass: others})
}

func TestQuantilesAreOrderStatistics(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	shapes := map[string]func() int64{
		"constant":  func() int64 { return 123_456_789 },
		"few":       func() int64 { return 1e9 + rng.Int64N(3) },
		"narrow":    func() int64 { return 1e12 + rng.Int64N(1e6) },
		"wide":      func() int64 { return int64(math.Exp(rng.Float64() * 43)) },
		"small":     func() int64 { return rng.Int64N(300) },
		"enormous":  func() int64 { return math.MaxInt64 - rng.Int64N(1e18) },
		"two peaks": func() int64 { return 5 + 1e15*rng.Int64N(2) },
	}
	for name, draw := range shapes {
		for _, n := range []int{1, 2, 10, 99, 100, 101, 5000, 200_000} {
			var s samples
			all, sum := make([]int64, n), new(big.Int)
			for i := range all {
				all[i] = draw()
				sum.Add(sum, big.NewInt(all[i]))
				s.add(all[i], 0, all[i])
			}
			values := func(f func([]int64)) { s.each(latency, nil, f) }
			d := newDigest()
			d.look(values)
			find, twice := d.finder(&buffers{}), d.finder(&buffers{})
			gather(values, find, twice)
			got := find.stat(values)
			if twice.stat(values) != got {
				t.Errorf("%s, n = %d: the second finder found something else", name, n)
			}
			if want, _ := new(big.Rat).SetFrac(sum, big.NewInt(1e9*int64(n))).Float64(); math.Abs(got.Mean-want) > 4e-16*want {
				t.Errorf("%s, n = %d: mean %v, want %v", name, n, got.Mean, want)
			}
			slices.Sort(all)
			for _, q := range []struct{ got, q float64 }{{got.P50, .5}, {got.P90, .9}, {got.P95, .95}, {got.P99, .99}, {got.Max, 1}} {
				if want := order(all, q.q); q.got != want {
					t.Errorf("%s, n = %d: %v-quantile %v, want %v", name, n, q.q, q.got, want)
				}
			}
			checkCCDF(t, name, d.ccdf(), all)
			rough := d.sketched()
			for _, q := range []struct{ got, want float64 }{{rough.P50, got.P50}, {rough.P90, got.P90}, {rough.P95, got.P95}, {rough.P99, got.P99}} {
				if math.Abs(q.got-q.want) > q.want/256+1e-15 {
					t.Errorf("%s, n = %d: sketched %v, exact %v", name, n, q.got, q.want)
				}
			}
		}
	}
}

func checkCCDF(t *testing.T, name string, points []Point, sorted []int64) {
	t.Helper()
	if len(points) == 0 || len(points) > ccdfPoints {
		t.Fatalf("%s: %d points of %d values", name, len(points), len(sorted))
	}
	for i, p := range points {
		above := 0
		for j := len(sorted) - 1; j >= 0 && float64(sorted[j])/1e9 > p.X; j-- {
			above++
		}
		if len(sorted) > 5000 && i%50 > 0 {
			continue
		}
		if want := float64(above) / float64(len(sorted)); math.Abs(p.Y-want) > 1e-12 && sorted[len(sorted)-1] < 1<<53 {
			t.Errorf("%s: %v of the values exceed %v, not %v", name, want, p.X, p.Y)
		}
		if i > 0 && p.X <= points[i-1].X {
			t.Errorf("%s: points are not ascending: %v", name, points)
		}
	}
	if points[len(points)-1].Y != 0 {
		t.Errorf("%s: the last share is %v", name, points[len(points)-1].Y)
	}
}

func TestBuckets(t *testing.T) {
	next := int64(0)
	for b := range buckets {
		low, high := bucketRange(b)
		if low != next || bucketOf(low) != b || bucketOf(high) != b || high < low {
			t.Fatalf("bucket %d is %d to %d after %d", b, low, high, next-1)
		}
		if high > low && float64(high-low+1) > float64(low)/128 {
			t.Fatalf("bucket %d is %d wide at %d", b, high-low+1, low)
		}
		next = high + 1
	}
	if next != math.MinInt64 { // past the largest
		t.Errorf("the last bucket ends at %d", next-1)
	}
}

// busyRun makes events like those of a long run: two models that take turns,
// each turn a load, a batch of four and an eviction.
type busyRun struct {
	rng    *rand.Rand
	events []scheduler.Event
	seq    int64
	item   int64
	now    scheduler.Time
}

func (b *busyRun) emit(kind scheduler.Kind, id, value int64, m scheduler.ModelID) int64 {
	b.events = append(b.events, scheduler.Event{At: b.now, Kind: kind, ID: id, Value: value, Model: m})
	b.seq++
	return b.seq - 1
}

func (b *busyRun) turn(m scheduler.ModelID, members int) {
	b.events = b.events[:0]
	for i := range members {
		b.now += scheduler.Time(b.rng.Int64N(int64(second)))
		b.emit(scheduler.ItemArrived, b.item+int64(i), 0, m)
	}
	load := b.emit(scheduler.LoadStarted, b.seq, 0, m)
	b.now += second
	b.emit(scheduler.LoadFinished, load, 0, m)
	for i := range members {
		b.emit(scheduler.MemberDispatched, b.item+int64(i), 0, m)
	}
	batch := b.emit(scheduler.BatchStarted, b.seq, scheduler.PackBatch(members, 0), m)
	b.now += second / 2
	b.emit(scheduler.BatchFinished, batch, 0, m)
	evict := b.emit(scheduler.EvictStarted, b.seq, 10, m)
	b.emit(scheduler.EvictFinished, evict, 0, m)
	b.item += int64(members)
}

func TestNoAllocationPerItem(t *testing.T) {
	for _, sketch := range []bool{false, true} {
		c := catalogue(2, 1)
		c.Sketch = sketch
		f := newFold(t, c)
		b := &busyRun{rng: rand.New(rand.NewPCG(1, 1))}
		turn := func() {
			b.turn(scheduler.ModelID(b.item/4%2), 4)
			if err := f.Append(b.events); err != nil {
				t.Fatal(err)
			}
		}
		for range 5000 {
			turn()
		}
		// Exact samples take a chunk for each 4096 items: 2 allocations, and the
		// list of chunks grows.
		limit := 4. / 4096 * 4
		if sketch {
			limit = 0
		}
		const turns = 20_000
		per := testing.AllocsPerRun(1, func() {
			for range turns {
				turn()
			}
		}) / turns
		if per > limit {
			t.Errorf("sketch %v: %v allocations for four items", sketch, per)
		}
	}
}

func TestSketchedFromTheStartAndLater(t *testing.T) {
	c := catalogue(2, 1)
	exactly, later := newFold(t, c), newFold(t, c)
	c.Sketch = true
	early := newFold(t, c)
	b := &busyRun{rng: rand.New(rand.NewPCG(2, 2))}
	for i := range 3000 {
		b.turn(scheduler.ModelID(i%2), 1+i%4)
		if err := errors.Join(exactly.Append(b.events), later.Append(b.events), early.Append(b.events)); err != nil {
			t.Fatal(err)
		}
		if i == 1000 {
			later.toSketches()
		}
	}
	want, r1, r2 := exactly.Result(), early.Result(), later.Result()
	for name, w := range want.Distributions {
		a, b := r1.Distributions[name], r2.Distributions[name]
		if a != b || !a.Sketched || w.Sketched {
			t.Errorf("%s: early %+v, later %+v", name, a, b)
		}
		if a.N != w.N || a.Mean != w.Mean || a.Max != w.Max || math.Abs(a.P99-w.P99) > w.P99/256 {
			t.Errorf("%s: sketched %+v, exact %+v", name, a, w)
		}
	}
	compare(t, "values", &Result{Values: r1.Values, Devices: r1.Devices}, &Result{Values: want.Values, Devices: want.Devices})
}

// Little's law as an identity: the area under the number of items in the
// system is the sum of the latencies, if the run starts and ends empty.
func TestLittle(t *testing.T) {
	checked := 0
	for seed := range uint64(300) {
		s := newStream(seed)
		s.jobs = false
		for range 150 {
			s.next(true)
		}
		s.drain()
		f := newFold(t, Config{Models: s.models, Devices: s.devices})
		var area, inSystem int64
		var now scheduler.Time
		for i, ev := range s.events {
			area += int64(ev.At-now) * inSystem
			now = ev.At
			if err := f.Append(s.events[i : i+1]); err != nil {
				t.Fatal(err)
			}
			inSystem = f.items.n
		}
		r := f.Result()
		if done := r.Values[ItemsCompleted]; inSystem == 0 && done == r.Values[ItemsArrived] && done > 0 {
			if l := r.Distributions[ItemLatency]; !close9(l.Mean*float64(l.N)*1e9, float64(area)) {
				t.Errorf("seed %d: Σ latency %v, ∫N %v", seed, l.Mean*float64(l.N)*1e9, area)
			}
			checked++
		}
	}
	if checked < 5 {
		t.Errorf("only %d runs ended empty and well", checked)
	}
}

func TestFaultyEvents(t *testing.T) {
	valid := handmade().events
	for i, ev := range valid {
		for _, change := range []func(*scheduler.Event){
			func(e *scheduler.Event) { e.At = -1 },
			func(e *scheduler.Event) { e.Model = 7 },
			func(e *scheduler.Event) { e.Model = -7 },
			func(e *scheduler.Event) { e.Device = 7 },
			func(e *scheduler.Event) { e.Device = -7 },
			func(e *scheduler.Event) { e.Kind = 200 },
			func(e *scheduler.Event) { e.ID = -1 },
			func(e *scheduler.Event) { e.ID = 1 << 62 },
			func(e *scheduler.Event) { e.Value = -1 },
			func(e *scheduler.Event) { e.Value = math.MaxInt64 },
		} {
			bad := slices.Clone(valid)
			change(&bad[i])
			f := newFold(t, catalogue(2, 1))
			err := f.Append(bad)
			var fault *EventError
			if err != nil && (!errors.As(err, &fault) || fault.Seq < int64(i)) {
				t.Errorf("event %d (%v): %v", i, ev.Kind, err)
			}
			if err != nil && f.Append(valid) != err {
				t.Error("a spent fold goes on")
			}
			f.Result() // does not panic
		}
		// Any event left out, or doubled.
		for _, bad := range [][]scheduler.Event{slices.Delete(slices.Clone(valid), i, i+1), slices.Insert(slices.Clone(valid), i, ev)} {
			f := newFold(t, catalogue(2, 1))
			f.Append(bad)
			f.Result()
		}
	}
}

func TestConfigErrors(t *testing.T) {
	for field, change := range map[string]func(*Config){
		"Models":    func(c *Config) { c.Models = nil },
		"Devices":   func(c *Config) { c.Devices = nil },
		"Warmup":    func(c *Config) { c.Warmup = -1 },
		"WindowEnd": func(c *Config) { c.Warmup, c.WindowEnd = 5, 4 },
	} {
		c := catalogue(1, 1)
		change(&c)
		var e *ConfigError
		if _, err := New(c); !errors.As(err, &e) || e.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestAllAreComputed(t *testing.T) {
	f := newFold(t, catalogue(2, 1))
	if err := f.Append(handmade().events); err != nil {
		t.Fatal(err)
	}
	r := f.Result()
	seen := map[string]bool{}
	for _, m := range All() {
		_, dist := r.Distributions[m.Name]
		_, value := r.Values[m.Name]
		if want := m.Kind == KindDistribution; m.Name != Energy && (dist != want || value == want) {
			t.Errorf("%s is declared as %s", m.Name, m.Kind)
		}
		if m.Unit == "" || m.Formula == "" || seen[m.Name] {
			t.Errorf("%+v", m)
		}
		seen[m.Name] = true
	}
	for name := range r.Values {
		if !seen[name] {
			t.Errorf("%s is not listed", name)
		}
	}
}

// manyTenants is n tenants, the i-th of which sends i%3+1 items.
func manyTenants(n int) *script {
	s := new(script)
	id := int64(0)
	load := s.at(0, scheduler.LoadStarted, 0, 0, 0)
	s.at(0, scheduler.LoadFinished, load, 0, 0)
	for i := range n {
		for range i%3 + 1 {
			now := scheduler.Time(id) * second
			s.at(now, scheduler.ItemArrived, id, scheduler.PackArrival(0, 1), 0)
			s.at(now, scheduler.ItemTenant, id, int64(i), 0)
			batch := s.run(now, 0, id)
			s.at(now+second, scheduler.BatchFinished, batch, 0, 0)
			id++
		}
	}
	return s
}

// Only the tenants with most items have results of their own, those that were
// asked for have them too, and nothing is lost.
func TestManyTenants(t *testing.T) {
	const n = 4*MaxTenants + 1
	c := catalogue(1, 1)
	c.KeepTenants = []string{"3", "none"}
	f := newFold(t, c)
	if err := f.Append(manyTenants(n).events); err != nil {
		t.Fatal(err)
	}
	r := f.Result()
	if len(r.PerTenant) != MaxTenants+2 || r.PerTenant["3"] == nil || r.PerTenant["6"] != nil || r.PerTenant["2"] == nil {
		t.Errorf("results of %d tenants", len(r.PerTenant))
	}
	items, latencies := 0.0, int64(0)
	for _, part := range r.PerTenant {
		items += part.Values[ItemsCompleted]
		latencies += part.Distributions[ItemLatency].N
	}
	if want := r.Values[ItemsCompleted]; items != want || latencies != int64(want) || want != 2*n {
		t.Errorf("%v items and %d latencies by tenant, %v items in all", items, latencies, want)
	}
	if rest := r.PerTenant[OtherTenants]; rest.Values[ItemsCompleted] != items-3*MaxTenants-1 || rest.Distributions[ItemLatency].Mean != 1 {
		t.Errorf("the others: %+v", rest)
	}
}

func TestOneFigure(t *testing.T) {
	for v, want := range map[float64]string{24: "20", 0.0361: "0.04", 7: "7", 960: "1000", 0.5: "0.5"} {
		if got := oneFigure(v); got != want {
			t.Errorf("oneFigure(%v) = %s, want %s", v, got, want)
		}
	}
}
