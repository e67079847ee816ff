package policies

import (
	"slices"

	"github.com/vramsim/vramsim/scheduler"
)

// nexus serves models in duty cycles that are planned by squishy bin packing
// (Shen et al., Nexus, SOSP 2019; uwsampl/nexus). A plan is made from the mean
// gaps between arrivals and the shortest times from arrival to deadline seen so
// far, and is made anew with the first event after an epoch, when a model's
// first or second item arrives, and when a device goes or comes or other
// processes take or give back its memory.
//
// A model whose rate is that of its largest batch within half its time, or
// more, gets a device of its own as often as that goes, while every other model
// keeps one that it can share. The rest share the other devices: as many as fit
// into the least of their duty cycles on the first, the model of the longest
// batch moving on until they do; a model alone stays, and the last device that
// can take a model keeps it. Until the next plan the models of a device have a
// batch each in turn, of at most the planned size, the one that is being loaded
// first; idle slots do not wait for a batch to fill up.
//
// The paper splits the times of whole queries among their models, shares
// prefixes and drops early; none of that is here. It finds the batch of
// greatest throughput within half the time, here the largest.
//
// Times to the deadline without any seen are endless. A rate before the second
// item is 0, and that of items that came all at once is one a nanosecond. What
// is left of a rate is kept as a gap, rounded down to a nanosecond.
type nexus struct {
	models  []scheduler.Model
	devices []scheduler.Device
	epoch   scheduler.Time

	slo     []scheduler.Time  // by model, the least seen
	planned scheduler.Time    // when the loads to plan for were taken
	loads   []demandSeen      // by model
	up      []bool            // by device
	room    []scheduler.Bytes // by device: the budget less what other processes have

	stale  bool      // the plan is not that for these loads; scratch from here
	plan   [][]share // by device, by model
	own    []bool    // by device: has one model only
	rest   []scheduler.Time
	shared []share // models that have yet to be placed
	next   []share
}

// demandSeen is what a plan knows of a model.
type demandSeen struct {
	known bool
	gap   scheduler.Time // mean time between arrivals; Never before the second
	slo   scheduler.Time // Never: none
	load  scheduler.Time
	own   int // devices that it has alone
}

// share is a model's part in a device's duty cycle.
type share struct {
	model scheduler.ModelID
	gap   scheduler.Time
	duty  scheduler.Time // the longest cycle that is in time
	n     int            // items in a cycle
	t     scheduler.Time // for these
}

func newNexus(env *Env, epoch scheduler.Time) *nexus {
	models, devices := len(env.Models), len(env.Devices)
	s := &nexus{models: env.Models, devices: env.Devices, epoch: epoch, planned: -1, stale: true,
		slo: make([]scheduler.Time, models), loads: make([]demandSeen, models), rest: make([]scheduler.Time, models),
		up: make([]bool, devices), room: make([]scheduler.Bytes, devices), own: make([]bool, devices), plan: make([][]share, devices)}
	for m := range s.slo {
		s.slo[m] = scheduler.Never
	}
	return s
}

// declares returns the contracts: the turns bound the wait where a model has
// one device only.
func (s *nexus) declares() Contracts {
	c := Contracts{Pure: true, Waits: true, Withdraws: true}
	if len(s.devices) == 1 {
		c.Bound = Bound{Kind: Visits, N: len(s.models)}
	}
	return c
}

// Observes implements scheduler.Selective.
func (s *nexus) Observes() scheduler.KindSet {
	return scheduler.Kinds(scheduler.ItemArrived, scheduler.ItemDeadline, scheduler.ItemReadied, scheduler.BatchFinished, scheduler.BatchFailed,
		scheduler.LoadFinished, scheduler.LoadFailed, scheduler.EvictFinished, scheduler.TimerFired, scheduler.MemoryObserved, scheduler.DeviceUp, scheduler.DeviceDown)
}

// Observe implements scheduler.Observer: it keeps what the plan is made from.
// What arrives at the instant of a plan belongs to it.
func (s *nexus) Observe(v *scheduler.View, ev scheduler.Event) {
	if shown := s.Observes(); !shown.Has(ev.Kind) {
		return // shown by an observer that is not selective
	}
	anew := s.planned < 0 || ev.At-s.planned >= s.epoch
	arrived := noModel
	switch ev.Kind {
	case scheduler.ItemDeadline:
		item, _ := v.ItemByID(ev.Item()) // the event need not name its model
		arrived = item.Model
		s.slo[arrived] = min(s.slo[arrived], max(0, scheduler.Time(ev.Value)-ev.At))
	case scheduler.ItemArrived:
		arrived = ev.Model
		anew = anew || v.Arrivals(arrived) <= 2
	case scheduler.MemoryObserved, scheduler.DeviceUp, scheduler.DeviceDown:
		anew = true
	}
	switch {
	case anew:
		s.planned, s.stale = ev.At, true
		for m := range s.loads {
			s.see(v, scheduler.ModelID(m))
		}
		for d := range s.up {
			s.up[d] = v.Up(scheduler.DeviceID(d))
			s.room[d] = s.devices[d].Budget - v.Foreign(scheduler.DeviceID(d))
		}
	case ev.At == s.planned && arrived != noModel:
		s.stale = true
		s.see(v, arrived)
	}
}

func (s *nexus) see(v *scheduler.View, m scheduler.ModelID) {
	l := demandSeen{known: v.Arrivals(m) > 0, gap: scheduler.Never, slo: s.slo[m], load: v.ReloadEstimate(m)}
	if v.Arrivals(m) > 1 {
		l.gap = max(1, v.MeanGap(m))
	}
	s.loads[m] = l
}

// Next implements scheduler.Policy.
func (s *nexus) Next(v *scheduler.View) scheduler.Decision {
	if v.TotalReady() == 0 {
		return scheduler.Decision{}
	}
	if s.stale {
		s.pack()
	}
	for d := range scheduler.DeviceID(len(s.plan)) {
		if v.FreeSlots(d) == 0 {
			continue
		}
		part, ok := s.turn(v, d)
		if !ok {
			continue
		}
		if dec := serve(v, d, &part); dec.Kind != scheduler.DecideIdle {
			return dec
		}
	}
	return scheduler.Decision{}
}

// turn returns whose turn it is on d: of a model that is on its way there or
// has not run since, else of the next one with items.
func (s *nexus) turn(v *scheduler.View, d scheduler.DeviceID) (share, bool) {
	part, found, next := share{}, false, false
	for _, p := range s.plan[d] {
		if v.Ready(p.model) == 0 {
			continue
		}
		switch v.State(d, p.model) {
		case scheduler.Claimed, scheduler.Loading:
			return p, true
		case scheduler.Resident:
			if v.BatchesSinceLoad(d, p.model) == 0 {
				return p, true
			}
		}
		if after := p.model > v.LastModel(d); !found || after && !next {
			part, found, next = p, true, after
		}
	}
	return part, found
}

// serve runs a batch of a part of d's cycle or makes its model come.
func serve(v *scheduler.View, d scheduler.DeviceID, p *share) scheduler.Decision {
	switch v.State(d, p.model) {
	case scheduler.Resident:
		if n := min(p.n, v.Fits(d, p.model)); n > 0 {
			return scheduler.Run(d, p.model, n)
		}
		return makeRoom(v, d, p.model)
	case scheduler.Absent:
		if v.Loadable(d, p.model) {
			return scheduler.Load(d, p.model)
		}
	}
	return scheduler.Decision{}
}

// Victim implements scheduler.Evictor.
func (s *nexus) Victim(v *scheduler.View, d scheduler.DeviceID, _ scheduler.Bytes, incoming scheduler.ModelID) (scheduler.ModelID, bool) {
	return leastUsed(v, d, incoming)
}

// pack makes the plan.
func (s *nexus) pack() {
	s.stale = false
	clear(s.own)
	for d := range s.plan {
		s.plan[d] = s.plan[d][:0]
	}
	s.shared = s.shared[:0]
	for m := range s.loads {
		s.loads[m].own, s.rest[m] = 0, s.loads[m].gap
		if s.loads[m].known {
			s.saturate(scheduler.ModelID(m))
		}
	}
	for m := range s.loads {
		if l := &s.loads[m]; l.known && (l.own == 0 || s.rest[m] > 0) {
			s.shared = append(s.shared, s.residue(scheduler.ModelID(m)))
		}
	}
	for d := range scheduler.DeviceID(len(s.plan)) {
		if s.up[d] && !s.own[d] {
			s.fill(d)
		}
	}
}

// time returns how long n ordinary items of m take.
func (s *nexus) time(m scheduler.ModelID, n int) scheduler.Time {
	return s.models[m].Batch.Time(n, int64(n)*scheduler.WorkUnit)
}

// saturate gives m devices of its own while its rate is that of its largest
// batch within half its time.
func (s *nexus) saturate(m scheduler.ModelID) {
	l := &s.loads[m]
	n := s.models[m].Batch.Max
	for n > 0 && l.slo != scheduler.Never && s.time(m, n) > l.slo/2 {
		n--
	}
	t := s.time(m, n)
	if n == 0 || t == 0 || l.gap == scheduler.Never {
		return
	}
	// A rate of 1/gap, less k times n/t: (t − k·n·gap)/(gap·t).
	for times(l.gap, int64(n)*int64(l.own+1)) <= t {
		d := s.spare(m)
		if d == scheduler.NoDevice {
			break
		}
		l.own++
		s.own[d] = true
		s.plan[d] = append(s.plan[d], share{model: m, gap: l.gap, n: n, t: t})
	}
	if l.own == 0 {
		return
	}
	s.rest[m] = 0
	if left := t - times(l.gap, int64(n)*int64(l.own)); left > 0 {
		s.rest[m] = max(1, scheduler.Time(scale(uint64(l.gap), uint64(t), uint64(left))))
	}
}

// spare returns the first device that m can have alone, so that there is still
// one for every other model, scheduler.NoDevice if there is none.
func (s *nexus) spare(m scheduler.ModelID) scheduler.DeviceID {
	for d := range scheduler.DeviceID(len(s.plan)) {
		if !s.open(d, m) {
			continue
		}
		s.own[d] = true
		enough := true
		for other := range s.loads {
			k := scheduler.ModelID(other)
			if k != m && s.loads[k].known && s.loads[k].own == 0 && s.fits(k) && !s.anywhere(k, 0) {
				enough = false
			}
		}
		s.own[d] = false
		if enough {
			return d
		}
	}
	return scheduler.NoDevice
}

// open reports whether m can be on d, which nobody has alone.
func (s *nexus) open(d scheduler.DeviceID, m scheduler.ModelID) bool {
	return s.up[d] && !s.own[d] && s.models[m].Bytes <= s.room[d]-s.models[m].Batch.Memory
}

// anywhere reports whether m can share some device from d on.
func (s *nexus) anywhere(m scheduler.ModelID, d scheduler.DeviceID) bool {
	for ; int(d) < len(s.plan); d++ {
		if s.open(d, m) {
			return true
		}
	}
	return false
}

// fits reports whether m can be on some device that is up.
func (s *nexus) fits(m scheduler.ModelID) bool {
	for d := range s.devices {
		if s.up[d] && s.models[m].Bytes <= s.room[d]-s.models[m].Batch.Memory {
			return true
		}
	}
	return false
}

// residue returns what m wants of a shared device: the largest batch that is
// in time though its first item waits for the last, and the cycle for it.
func (s *nexus) residue(m scheduler.ModelID) share {
	p := share{model: m, gap: s.rest[m], n: s.models[m].Batch.Max}
	slo := s.loads[m].slo
	for p.n > 1 && slo != scheduler.Never {
		if all, ok := scheduler.AddTime(times(p.gap, int64(p.n-1)), s.time(m, p.n)); ok && all <= slo {
			break
		}
		p.n--
	}
	p.duty = times(p.gap, int64(p.n))
	if slo != scheduler.Never {
		p.duty = min(p.duty, max(0, slo-s.time(m, p.n)))
	}
	return p
}

// fill makes the cycle of d: all that have yet to be placed and can be there,
// less those that have to move on.
func (s *nexus) fill(d scheduler.DeviceID) {
	here, later := s.plan[d], s.next[:0]
	for _, p := range s.shared {
		if s.open(d, p.model) {
			here = append(here, p)
		} else {
			later = append(later, p)
		}
	}
	for len(here) > 1 && !s.feasible(d, here) {
		longest := -1
		for i := range here {
			if (longest < 0 || here[i].t > here[longest].t) && s.anywhere(here[i].model, d+1) {
				longest = i
			}
		}
		if longest < 0 {
			break
		}
		later = append(later, here[longest])
		here = slices.Delete(here, longest, longest+1)
	}
	s.feasible(d, here)
	slices.SortFunc(later, func(a, b share) int { return int(a.model) - int(b.model) })
	s.plan[d], s.shared, s.next = here, later, s.shared
}

// feasible sizes the batches of a cycle and reports whether they are done
// within it, with their loads unless all are on d at once.
func (s *nexus) feasible(d scheduler.DeviceID, cycle []share) bool {
	duty := scheduler.Never
	for i := range cycle {
		duty = min(duty, cycle[i].duty)
	}
	weights, batch := scheduler.Bytes(0), scheduler.Bytes(0)
	for i := range cycle {
		p := &cycle[i]
		m := &s.models[p.model]
		n := int64(duty / p.gap)
		if duty%p.gap > 0 {
			n++
		}
		p.n = int(max(1, min(n, int64(m.Batch.Max))))
		p.t = s.time(p.model, p.n)
		weights += m.Bytes
		batch = max(batch, scheduler.Bytes(times(scheduler.Time(m.Batch.Memory), int64(p.n))))
	}
	together, sum := weights <= s.room[d]-batch, scheduler.Time(0)
	for i := range cycle {
		sum, _ = scheduler.AddTime(sum, cycle[i].t)
		if !together {
			sum, _ = scheduler.AddTime(sum, s.loads[cycle[i].model].load)
		}
	}
	return sum <= duty
}
