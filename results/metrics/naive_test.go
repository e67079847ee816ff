package metrics

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/vramsim/vramsim/scheduler"
)

// naive computes everything from the whole list of events, the long way.
type naive struct {
	cfg    Config
	events []scheduler.Event
	items  []*naiveItem
	end    scheduler.Time // last item's end, or of the log
	endPos int            // events from here on do not count
	left   int
	last   scheduler.Time // arrival
}

type naiveItem struct {
	id            int64
	model         scheduler.ModelID
	tenant, job   int64
	arrival       scheduler.Time
	deadline      scheduler.Time
	ready         scheduler.Time
	readyPos      int
	dispatched    []int // positions
	returned      []int
	start, finish scheduler.Time
	endPos        int
	outcome       scheduler.Kind // 0: unfinished
	running       bool
	cancelled     bool
}

func recompute(cfg Config, events []scheduler.Event) *naive {
	n := &naive{cfg: cfg, events: events}
	members := map[int64][]int64{}
	started := map[int64]scheduler.Event{}
	var staged []int64
	end := func(it *naiveItem, pos int, kind scheduler.Kind) {
		it.outcome, it.endPos, it.finish = kind, pos, events[pos].At
	}
	giveBack := func(seq int64, pos int) {
		for _, id := range members[seq] {
			it := n.items[id]
			it.running = false
			if it.cancelled {
				end(it, pos, scheduler.ItemCancelled)
			} else {
				it.returned = append(it.returned, pos)
			}
		}
		delete(started, seq)
	}
	for pos, ev := range events {
		switch ev.Kind {
		case scheduler.ItemArrived:
			it := &naiveItem{id: ev.ID, model: ev.Model, tenant: -1, job: -1, arrival: ev.At, ready: ev.At, readyPos: pos, deadline: scheduler.Never}
			n.items = append(n.items, it)
			n.last = ev.At
		case scheduler.ItemJob:
			n.items[ev.ID].job = ev.Value
		case scheduler.ItemTenant:
			n.items[ev.ID].tenant = ev.Value
		case scheduler.ItemDeadline:
			n.items[ev.ID].deadline = scheduler.Time(ev.Value)
		case scheduler.ItemDependsOn:
			if n.items[ev.Value].outcome == 0 {
				n.items[ev.ID].readyPos = -1
			}
		case scheduler.ItemReadied:
			n.items[ev.ID].ready, n.items[ev.ID].readyPos = ev.At, pos
		case scheduler.MemberDispatched:
			staged = append(staged, ev.ID)
			n.items[ev.ID].dispatched = append(n.items[ev.ID].dispatched, pos)
			n.items[ev.ID].running = true
		case scheduler.BatchStarted:
			members[ev.ID], staged = staged, nil
			started[ev.ID] = ev
			for _, id := range members[ev.ID] {
				n.items[id].start = ev.At
			}
		case scheduler.BatchFinished:
			for _, id := range members[ev.ID] {
				it := n.items[id]
				it.running = false
				kind := scheduler.BatchFinished
				if it.cancelled {
					kind = scheduler.ItemCancelled
				}
				end(it, pos, kind)
			}
			delete(started, ev.ID)
		case scheduler.BatchFailed:
			giveBack(ev.ID, pos)
		case scheduler.DeviceDown:
			for seq, b := range started {
				if b.Device == ev.Device {
					giveBack(seq, pos)
				}
			}
		case scheduler.ItemCancelled, scheduler.ItemRejected, scheduler.ItemFailed, scheduler.DependantCancelled:
			switch it := n.items[ev.ID]; {
			case it.outcome != 0:
			case it.running:
				it.cancelled = true
			default:
				end(it, pos, ev.Kind)
			}
		}
	}
	n.endPos = len(events)
	if len(events) > 0 {
		n.end = events[len(events)-1].At
	}
	lastEnd, at := -1, scheduler.Time(0)
	for _, it := range n.items {
		if it.outcome == 0 {
			n.left++
		} else if it.endPos > lastEnd {
			lastEnd, at = it.endPos, it.finish
		}
	}
	if n.left == 0 {
		n.endPos, n.end = lastEnd+1, at
	}
	return n
}

func (n *naive) now() scheduler.Time { return n.events[len(n.events)-1].At }

func (n *naive) window() (from, to scheduler.Time) {
	to = n.cfg.WindowEnd
	if to <= 0 {
		to = n.last
	}
	if n.left > 0 {
		to = min(to, n.now())
	}
	return n.cfg.Warmup, to
}

func (n *naive) counted(it *naiveItem) bool {
	return it.arrival >= n.cfg.Warmup && (n.cfg.WindowEnd <= 0 || it.arrival <= n.cfg.WindowEnd)
}

func order(vs []int64, q float64) float64 {
	return float64(vs[max(1, int(math.Ceil(q*float64(len(vs))-1e-9)))-1]) / 1e9
}

func statOf(vs []int64, censored int) Stat {
	s := Stat{N: int64(len(vs)), Censored: int64(censored)}
	if len(vs) == 0 {
		return s
	}
	slices.Sort(vs)
	sum := int64(0)
	for _, v := range vs {
		sum += v
	}
	s.Mean = float64(sum) / float64(len(vs)) / 1e9
	s.P50, s.P90, s.P95, s.P99 = order(vs, .5), order(vs, .9), order(vs, .95), order(vs, .99)
	s.Max = float64(vs[len(vs)-1]) / 1e9
	return s
}

// result computes the part of the items that keep accepts.
func (n *naive) result(keep func(*naiveItem) bool) *Result {
	r := &Result{Distributions: map[string]Stat{}, Values: map[string]float64{}}
	var times [3][]int64
	var open [3]int
	var due, met, inWindow float64
	var last scheduler.Time
	from, to := n.window()
	unfinished := false
	v := r.Values
	for _, name := range []string{ItemsArrived, ItemsCompleted, ItemsCancelled, ItemsRejected, ItemsFailed, ItemsLeft, MaxBypass} {
		v[name] = 0
	}
	for _, it := range n.items {
		if !keep(it) {
			continue
		}
		if it.outcome != 0 {
			last = max(last, it.finish)
		}
		if it.outcome == scheduler.BatchFinished && it.finish >= from && it.finish <= to && !n.afterLastArrival(it) {
			inWindow++
		}
		if !n.counted(it) {
			continue
		}
		v[ItemsArrived]++
		if it.deadline != scheduler.Never {
			due++
		}
		v[MaxBypass] = max(v[MaxBypass], float64(n.bypass(it)))
		switch it.outcome {
		case 0:
			unfinished = true
			v[ItemsLeft]++
			times[latency] = append(times[latency], int64(n.now()-it.arrival))
			open[latency]++
			if it.running {
				times[wait] = append(times[wait], int64(it.start-it.ready))
				times[service] = append(times[service], int64(n.now()-it.start))
				open[wait]++
				open[service]++
			} else if it.readyPos >= 0 {
				times[wait] = append(times[wait], int64(n.now()-it.ready))
				open[wait]++
			}
		case scheduler.BatchFinished:
			v[ItemsCompleted]++
			if it.deadline != scheduler.Never && it.finish <= it.deadline {
				met++
			}
			times[latency] = append(times[latency], int64(it.finish-it.arrival))
			times[wait] = append(times[wait], int64(it.start-it.ready))
			times[service] = append(times[service], int64(it.finish-it.start))
		case scheduler.ItemRejected:
			v[ItemsRejected]++
		case scheduler.ItemFailed:
			v[ItemsFailed]++
		default:
			v[ItemsCancelled]++
		}
	}
	r.Distributions[ItemLatency] = statOf(times[latency], open[latency])
	r.Distributions[ItemWait] = statOf(times[wait], open[wait])
	r.Distributions[ItemService] = statOf(times[service], open[service])
	if unfinished {
		last = n.end
	}
	v[Makespan] = last.Seconds()
	if due > 0 {
		v[Goodput] = met / due
	} else if v[ItemsArrived] > 0 {
		v[Goodput] = v[ItemsCompleted] / v[ItemsArrived]
	}
	if to > from {
		v[Throughput] = inWindow / (to - from).Seconds()
	} else if n.end > 0 {
		v[Throughput] = v[ItemsCompleted] / n.end.Seconds()
	}
	return r
}

// afterLastArrival: with an open window it ends with the last arrival.
func (n *naive) afterLastArrival(it *naiveItem) bool {
	return n.cfg.WindowEnd <= 0 && it.finish > n.last
}

func (n *naive) bypass(x *naiveItem) int {
	most := 0
	for _, p := range x.dispatched {
		count := 0
		for _, y := range n.items {
			if y.model == x.model || y.readyPos <= x.readyPos || y.readyPos < 0 {
				continue
			}
			// y has started if it was dispatched before p more often than it came back.
			balance := 0
			for _, q := range y.dispatched {
				if q < p {
					balance++
				}
			}
			for _, q := range y.returned {
				if q < p {
					balance--
				}
			}
			count += balance
		}
		most = max(most, count)
	}
	return most
}

func (n *naive) jobs(keep func(tenant int64) bool) Stat {
	type job struct {
		tenant     int64
		arrival    scheduler.Time
		unfinished int
		bad        bool
		counted    bool
	}
	var done []int64
	open := 0
	jobs := map[int64]*job{}
	byArrival, byEnd := map[int][]*naiveItem{}, map[int][]*naiveItem{}
	for _, it := range n.items {
		byArrival[n.positionOf(it)] = append(byArrival[n.positionOf(it)], it)
		if it.outcome != 0 {
			byEnd[it.endPos] = append(byEnd[it.endPos], it)
		}
		if it.job >= 0 || !n.counted(it) || !keep(it.tenant) {
			continue
		}
		switch it.outcome {
		case scheduler.BatchFinished:
			done = append(done, int64(it.finish-it.arrival))
		case 0:
			done = append(done, int64(n.now()-it.arrival))
			open++
		}
	}
	for pos := range n.events {
		for _, it := range byArrival[pos] {
			if it.job < 0 {
				continue
			}
			j := jobs[it.job]
			if j == nil || j.unfinished == 0 {
				j = &job{tenant: it.tenant, arrival: it.arrival, counted: n.counted(it)}
				jobs[it.job] = j
			}
			j.unfinished++
		}
		for _, it := range byEnd[pos] {
			if it.job < 0 {
				continue
			}
			j := jobs[it.job]
			j.unfinished--
			j.bad = j.bad || it.outcome != scheduler.BatchFinished
			if j.unfinished == 0 && !j.bad && j.counted && keep(j.tenant) {
				done = append(done, int64(it.finish-j.arrival))
			}
		}
	}
	for _, j := range jobs {
		if j.unfinished > 0 && !j.bad && j.counted && keep(j.tenant) {
			done = append(done, int64(n.now()-j.arrival))
			open++
		}
	}
	return statOf(done, open)
}

func (n *naive) positionOf(it *naiveItem) int {
	return slices.IndexFunc(n.events, func(ev scheduler.Event) bool {
		return ev.Kind == scheduler.ItemArrived && ev.ID == it.id
	})
}

// devices computes what depends on the state of devices, nanosecond by
// nanosecond if need be: the state between two events is constant.
func (n *naive) devices(r *Result, only scheduler.ModelID) {
	v := r.Values
	for _, name := range []string{Switches, Loads, Evictions, LoadSeconds, OverBudget, PeakBytes} {
		v[name] = 0
	}
	from, to := n.window()
	length, whole := to-from, false
	if length <= 0 {
		length, whole = n.end, true
	}
	var busy, loading scheduler.Time
	for d := range n.cfg.Devices {
		b, l := n.device(v, scheduler.DeviceID(d), only, from, to, whole)
		busy, loading = busy+b, loading+l
		if only == scheduler.NoModel {
			r.Devices = append(r.Devices, DeviceTime{Name: n.cfg.Devices[d].Name, Busy: b.Seconds(), Loading: l.Seconds(), Idle: (length - b - l).Seconds()})
		}
	}
	if only == scheduler.NoModel {
		for _, ev := range n.events[:n.endPos] {
			if ev.Kind == scheduler.Note && ev.ID == scheduler.ReasonOverBudget {
				v[OverBudget]++
			}
		}
	}
	if length > 0 {
		v[BusyRatio] = busy.Seconds() / (length.Seconds() * float64(len(n.cfg.Devices)))
		v[LoadingRatio] = loading.Seconds() / (length.Seconds() * float64(len(n.cfg.Devices)))
	}
	if v[ItemsCompleted] > 0 {
		v[SwitchesPer] = 1000 * v[Switches] / v[ItemsCompleted]
	}
}

func (n *naive) device(v map[string]float64, d scheduler.DeviceID, only scheduler.ModelID, from, to scheduler.Time, whole bool) (busy, loading scheduler.Time) {
	is := func(m scheduler.ModelID) bool { return only == scheduler.NoModel || m == only }
	batches := map[int64]scheduler.Event{}
	loads := map[int64]scheduler.Event{}
	held := map[scheduler.ModelID]scheduler.Bytes{}
	claim := scheduler.NoModel
	previous := scheduler.NoModel
	over := false
	var now scheduler.Time
	reserved := func() (all scheduler.Bytes) {
		for _, b := range held {
			all += b
		}
		return all
	}
	grow := func(m scheduler.ModelID, by scheduler.Bytes, pos int) {
		held[m] += by
		if pos >= n.endPos {
			return
		}
		if only == scheduler.NoModel {
			v[PeakBytes] = max(v[PeakBytes], float64(reserved()))
		} else if m == only {
			v[PeakBytes] = max(v[PeakBytes], float64(held[m]))
		}
		if by > 0 && reserved() > n.cfg.Devices[d].Budget && !over {
			over = true
			if is(m) {
				v[OverBudget]++
			}
		}
	}
	endLoad := func(ev scheduler.Event, at scheduler.Time) {
		if n.left == 0 {
			at = max(ev.At, min(at, n.end))
		}
		if is(ev.Model) && ev.At >= n.cfg.Warmup {
			v[LoadSeconds] += float64(at - ev.At)
		}
		delete(loads, ev.ID)
	}
	for pos := 0; pos <= len(n.events); pos++ {
		at := now
		var ev scheduler.Event
		if pos < len(n.events) {
			ev = n.events[pos]
			at = ev.At
		}
		a, b := max(now, from), min(at, to)
		if whole {
			a, b = now, min(at, n.end)
		}
		if b > a {
			runs, mine, loadsHere := false, false, false
			for _, batch := range batches {
				runs = true
				mine = mine || is(batch.Model)
			}
			for _, l := range loads {
				loadsHere = loadsHere || is(l.Model)
			}
			if mine {
				busy += b - a
			}
			if loadsHere && !runs {
				loading += b - a
			}
		}
		now = at
		if pos == len(n.events) {
			break
		}
		if ev.Kind == scheduler.Note && ev.ID == scheduler.ReasonOverBudget && d == 0 && only >= 0 && ev.Model == only && pos < n.endPos {
			v[OverBudget]++
		}
		if ev.Device != d {
			continue
		}
		counts := ev.At >= n.cfg.Warmup && pos < n.endPos && is(ev.Model)
		switch ev.Kind {
		case scheduler.BatchStarted:
			batches[ev.ID] = ev
			if previous != scheduler.NoModel && previous != ev.Model && counts {
				v[Switches]++
			}
			previous = ev.Model
			grow(ev.Model, n.cfg.Models[ev.Model].Batch.Memory*scheduler.Bytes(ev.Members()), pos)
		case scheduler.BatchFinished, scheduler.BatchFailed:
			held[ev.Model] -= n.cfg.Models[ev.Model].Batch.Memory * scheduler.Bytes(batches[ev.ID].Members())
			delete(batches, ev.ID)
		case scheduler.LoadClaimed:
			claim = ev.Model
			grow(ev.Model, scheduler.Bytes(ev.Value), pos)
		case scheduler.LoadStarted:
			if counts {
				v[Loads]++
			}
			claim = scheduler.NoModel
			loads[ev.ID] = ev
			grow(ev.Model, n.cfg.Models[ev.Model].Bytes-held[ev.Model], pos)
		case scheduler.LoadFinished, scheduler.LoadFailed:
			endLoad(loads[ev.ID], ev.At)
			if ev.Kind == scheduler.LoadFailed {
				held[ev.Model] = 0
			}
		case scheduler.EvictStarted:
			if counts {
				v[Evictions]++
			}
		case scheduler.EvictFinished:
			held[ev.Model] = 0
			over = over && reserved() > n.cfg.Devices[d].Budget
			if claim != scheduler.NoModel {
				grow(claim, max(0, min(n.cfg.Models[ev.Model].Bytes, n.cfg.Models[claim].Bytes-held[claim], n.cfg.Devices[d].Budget-reserved())), pos)
			}
		case scheduler.DeviceDown:
			for _, l := range loads {
				endLoad(l, ev.At)
			}
			clear(batches)
			clear(held)
			claim = scheduler.NoModel
		}
		over = over && reserved() > n.cfg.Devices[d].Budget
	}
	for _, l := range loads {
		if l.ID < int64(n.endPos) {
			endLoad(l, now)
		}
	}
	return busy, loading
}

func close9(a, b float64) bool { return math.Abs(a-b) <= 1e-9*max(1e-9, math.Abs(a), math.Abs(b)) }

func compare(t *testing.T, what string, got, want *Result) {
	t.Helper()
	for name, w := range want.Values {
		if g, ok := got.Values[name]; !ok || !close9(g, w) {
			t.Errorf("%s: %s = %v, naively %v", what, name, g, w)
		}
	}
	for name := range got.Values {
		if _, ok := want.Values[name]; !ok {
			t.Errorf("%s: %s = %v is undefined", what, name, got.Values[name])
		}
	}
	for name, w := range want.Distributions {
		g := got.Distributions[name]
		if !close9(g.Mean, w.Mean) {
			t.Errorf("%s: mean of %s = %v, naively %v", what, name, g.Mean, w.Mean)
		}
		g.Mean = w.Mean
		if g != w {
			t.Errorf("%s: %s = %+v, naively %+v", what, name, g, w)
		}
	}
	if len(got.Distributions) != len(want.Distributions) {
		t.Errorf("%s: %d distributions, naively %d", what, len(got.Distributions), len(want.Distributions))
	}
	if len(got.Devices) != len(want.Devices) {
		t.Fatalf("%s: %d devices", what, len(got.Devices))
	}
	for i, w := range want.Devices {
		g := got.Devices[i]
		if g.Name != w.Name || !close9(g.Busy, w.Busy) || !close9(g.Loading, w.Loading) || math.Abs(g.Idle-w.Idle) > 1e-15 {
			t.Errorf("%s: device %+v, naively %+v", what, g, w)
		}
	}
}

func TestAgainstNaive(t *testing.T) {
	streams := 600
	if testing.Short() {
		streams = 150
	}
	var drained, bypassed, over, returned, jobs, whole int
	for seed := range uint64(streams) {
		s := newStream(seed)
		burst := s.IntN(8) == 0
		if burst { // everything arrives at once: no window
			for range 1 + s.IntN(20) {
				s.arrive()
			}
		}
		for range s.IntN(400) {
			s.next(!burst)
		}
		if s.IntN(2) == 0 {
			s.drain()
		}
		if len(s.events) == 0 {
			continue
		}
		cfg := Config{Models: s.models, Devices: s.devices, Tenants: func(id int64) string { return fmt.Sprint("t", id) }}
		if s.IntN(2) == 0 && !burst {
			cfg.Warmup = s.Int64N2(s.now)
		}
		if s.IntN(2) == 0 && !burst {
			cfg.WindowEnd = cfg.Warmup + 1 + s.Int64N2(s.now)
		}
		f, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		f.few = []int{fewValues, 0, 20}[s.IntN(3)] // both ways to find quantiles
		for rest := s.events; len(rest) > 0; {     // pieces of any length
			n := 1 + s.IntN(min(len(rest), 9))
			if err := f.Append(rest[:n]); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if rest = rest[n:]; s.IntN(50) == 0 {
				f.Result() // changes nothing
			}
		}
		n := recompute(cfg, s.events)
		got, want := f.Result(), n.result(func(*naiveItem) bool { return true })
		want.Distributions[JobLatency] = n.jobs(func(int64) bool { return true })
		n.devices(want, scheduler.NoModel)
		want.Values[LoadSeconds] /= 1e9
		compare(t, fmt.Sprintf("seed %d", seed), got, want)
		for m := range s.models {
			part := n.result(func(it *naiveItem) bool { return int(it.model) == m })
			n.devices(part, scheduler.ModelID(m))
			part.Values[LoadSeconds] /= 1e9
			part.Devices = nil
			r := got.PerModel[s.models[m].Name]
			if r == nil {
				r = got.IdleModel
			}
			compare(t, fmt.Sprintf("seed %d model %d", seed, m), r, part)
		}
		for i := range int64(3) {
			if r := got.PerTenant[fmt.Sprint("t", i)]; r != nil {
				part := n.result(func(it *naiveItem) bool { return it.tenant == i })
				part.Distributions[JobLatency] = n.jobs(func(tenant int64) bool { return tenant == i })
				compare(t, fmt.Sprintf("seed %d tenant %d", seed, i), r, part)
			}
		}
		if t.Failed() {
			t.FailNow()
		}
		drained += btoi(n.left == 0)
		bypassed += btoi(got.Values[MaxBypass] > 2)
		over += btoi(got.Values[OverBudget] > 0)
		jobs += btoi(s.jobs)
		from, to := n.window()
		whole += btoi(from == to)
		for _, it := range n.items {
			if len(it.returned) > 0 {
				returned++
				break
			}
		}
	}
	for what, n := range map[string]int{"drained": drained, "bypass": bypassed, "over budget": over, "retries": returned, "jobs": jobs, "no window": whole} {
		if n < streams/50 {
			t.Errorf("only %d of %d streams reach: %s", n, streams, what)
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (s *stream) Int64N2(limit scheduler.Time) scheduler.Time {
	return scheduler.Time(s.Int64N(int64(limit) + 1))
}
