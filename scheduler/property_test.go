package scheduler_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/coretest"
)

// mix is a portable hash, for decisions that look random and are pure.
func mix(parts ...uint64) uint64 {
	h := uint64(0x9e3779b97f4a7c15)
	for _, p := range parts {
		h ^= p
		h *= 0xff51afd7ed558ccd
		h ^= h >> 32
		h *= 0xc4ceb9fe1a85ec53
		h ^= h >> 29
	}
	return h
}

// choosers are the evictors of the property test, in the form that core and model share.
func choosers(seed uint64) []coretest.Chooser {
	least := func(less func(a, b coretest.Candidate) bool) coretest.Chooser {
		return func(_ int64, _ scheduler.Bytes, cs []coretest.Candidate) (scheduler.ModelID, bool) {
			if len(cs) == 0 {
				return scheduler.NoModel, false
			}
			best := cs[0]
			for _, c := range cs[1:] {
				if less(c, best) {
					best = c
				}
			}
			return best.Model, true
		}
	}
	return []coretest.Chooser{
		nil,
		least(func(a, b coretest.Candidate) bool { return a.UseOrder < b.UseOrder }),
		least(func(a, b coretest.Candidate) bool { return a.Bytes < b.Bytes }), // smallest first: many victims, some spared
		least(func(a, b coretest.Candidate) bool { return a.Bytes > b.Bytes }),
		func(ordinal int64, need scheduler.Bytes, cs []coretest.Candidate) (scheduler.ModelID, bool) {
			r := mix(seed, uint64(ordinal), uint64(need))
			if len(cs) == 0 || r%16 == 0 {
				return scheduler.NoModel, false
			}
			return cs[r/16%uint64(len(cs))].Model, true
		},
		// One that offers whatever it likes, legal or not.
		func(ordinal int64, need scheduler.Bytes, _ []coretest.Candidate) (scheduler.ModelID, bool) {
			return scheduler.ModelID(mix(seed, uint64(ordinal), uint64(need))%5) - 1, true
		},
	}
}

// wanderer decides at random among what is legal, as a pure function of its
// seed, the view and the number of events observed.
type wanderer struct {
	seed     uint64
	idle     uint64 // chance in 16 of idling
	tricks   uint64 // chance in 16 of evicting, rejecting, holding or waking
	hoards   bool   // loads what nobody asks for
	observed uint64
	calm     bool // since an item of coretest.LastTenant arrived: only what makes progress
}

func (w *wanderer) Observe(v *scheduler.View, ev scheduler.Event) {
	w.observed++
	w.calm = w.calm || ev.Kind == scheduler.ItemTenant && ev.Value == coretest.LastTenant
	// Asking for plans while things happen must change nothing.
	v.Loadable(scheduler.DeviceID(w.observed%uint64(v.Devices())), scheduler.ModelID(w.observed/2%uint64(v.Models())))
}

func (w *wanderer) Next(v *scheduler.View) scheduler.Decision {
	r := mix(w.seed, w.observed, uint64(v.Now()))
	if w.calm {
		return w.onward(v)
	}
	if r%16 < w.idle {
		return scheduler.Decision{}
	}
	r /= 16
	options := w.work(v, r)
	if r%16 < w.tricks || len(options) == 0 {
		if more := w.tricksOf(v, r); r/16%3 > 0 || len(options) > 0 {
			options = append(options, more...)
		}
	}
	if len(options) == 0 {
		return scheduler.Decision{}
	}
	d := options[mix(r, 1)%uint64(len(options))]
	if r%5 == 0 {
		return d.Because(int64(r%7), int64(r%1000)-500)
	}
	return d
}

// onward runs what fits, loads what is asked for, or else makes room.
func (w *wanderer) onward(v *scheduler.View) scheduler.Decision {
	room := scheduler.Decision{}
	for m := v.NextReady(0); m != scheduler.NoModel; m = v.NextReady(m + 1) {
		for d := range scheduler.DeviceID(v.Devices()) {
			if n := v.Fits(d, m); n > 0 {
				return scheduler.Run(d, m, n)
			}
			if v.Loadable(d, m) {
				return scheduler.Load(d, m)
			}
			for _, other := range v.Residents(d) {
				if v.FreeSlots(d) == v.Slots(d) && other != m && v.Evictable(d, other) {
					room = scheduler.Evict(d, other)
				}
			}
		}
	}
	return room
}

func (w *wanderer) work(v *scheduler.View, r uint64) []scheduler.Decision {
	var options []scheduler.Decision
	for d := range scheduler.DeviceID(v.Devices()) {
		for m := range scheduler.ModelID(v.Models()) {
			if n := v.Fits(d, m); n > 0 {
				options = append(options, scheduler.Run(d, m, n), scheduler.Run(d, m, 1+int(r%uint64(n))))
			}
			if v.Loadable(d, m) && (v.Ready(m) > 0 || w.hoards || r%8 == 0) {
				options = append(options, scheduler.Load(d, m))
			}
		}
	}
	return options
}

func (w *wanderer) tricksOf(v *scheduler.View, r uint64) []scheduler.Decision {
	var options []scheduler.Decision
	for d := range scheduler.DeviceID(v.Devices()) {
		for _, m := range v.Residents(d) {
			if v.Evictable(d, m) {
				options = append(options, scheduler.Evict(d, m))
			}
			if v.State(d, m) == scheduler.Resident {
				until := v.Now() + 1 + scheduler.Time(r%5)
				if r%11 == 0 {
					until = scheduler.Never
				}
				options = append(options, scheduler.Hold(d, m, until))
			}
		}
	}
	if at, pending := v.Timer(); !pending || at > v.Now()+1 {
		options = append(options, scheduler.Wake(v.Now()+1))
	}
	m := scheduler.ModelID(r % uint64(v.Models()))
	if it, ok := v.Head(m); ok && r%3 == 0 {
		options = append(options, scheduler.Reject(it.ID, int64(r%9)))
	}
	if n := v.ArrivedNow(); n > 0 {
		it, ok := v.ArrivedItem(int(r % uint64(n)))
		if ok && slices.Contains(everyReady(v), it.ID) {
			options = append(options, scheduler.Reject(it.ID, 77))
		}
	}
	return options
}

func everyReady(v *scheduler.View) []scheduler.ItemID {
	var ids []scheduler.ItemID
	for m := v.NextReady(0); m != scheduler.NoModel; m = v.NextReady(m + 1) {
		v.Each(m, func(it scheduler.Item) bool { ids = append(ids, it.ID); return true })
	}
	return ids
}

func byDeadline(it scheduler.Item) int64 { return int64(it.Deadline) }
func byWork(it scheduler.Item) int64     { return it.Work }

// TestCoreAgainstModel drives the core and a naive model of it through the
// same random facts and decisions and compares all that can be seen, with
// every invariant checked after every step and both replays after every run.
func TestCoreAgainstModel(t *testing.T) {
	var reached coretest.Reach
	coretest.Check(t, 300, func(rt *rapid.T) { wander(rt, &reached) })
	if t.Failed() {
		return
	}
	reached.Require(t, []coretest.Share{
		{What: "an eviction under a claim", Of: func(r *coretest.Reach) int { return r.EvictUnderClaim }, Percent: 15},
		{What: "a retry", Of: func(r *coretest.Reach) int { return r.Retry }, Percent: 25},
		{What: "a cancelled dependant", Of: func(r *coretest.Reach) int { return r.Orphan }, Percent: 15},
		{What: "a cancelled item", Of: func(r *coretest.Reach) int { return r.Cancel }, Percent: 15},
		{What: "a second device", Of: func(r *coretest.Reach) int { return r.SecondDevice }, Percent: 15},
		{What: "ties at one instant", Of: func(r *coretest.Reach) int { return r.Tie }, Percent: 60},
		{What: "an effect of no duration", Of: func(r *coretest.Reach) int { return r.Zero }, Percent: 30},
		{What: "a spared victim", Of: func(r *coretest.Reach) int { return r.Spared }, Percent: 1},
		{What: "a claim lost with its device", Of: func(r *coretest.Reach) int { return r.Revoked }, Percent: 1},
		{What: "a load from the host tier", Of: func(r *coretest.Reach) int { return r.HostLoad }, Percent: 10},
		{What: "victims sought again", Of: func(r *coretest.Reach) int { return r.Reclaim }, Percent: 1},
		{What: "a hold that expired", Of: func(r *coretest.Reach) int { return r.Hold }, Percent: 15},
		{What: "a last attempt", Of: func(r *coretest.Reach) int { return r.Exhausted }, Percent: 5},
		{What: "more than 64 priorities", Of: func(r *coretest.Reach) int { return r.Crowded }, Percent: 2},
	})
}

// wander is one case under a policy that decides at random.
func wander(t *rapid.T, reached *coretest.Reach) {
	scale := coretest.Scale{Bytes: 1, Time: 1}
	cfg := coretest.DrawConfig(t, scale)
	cfg.Waits = true
	order := rapid.IntRange(0, 4).Draw(t, "order")
	seed := rapid.Uint64().Draw(t, "seed")
	evictor := rapid.IntRange(0, len(choosers(0))-1).Draw(t, "evictor")
	choose := choosers(seed)[evictor]
	if choose != nil {
		cfg.Evictor = choose
	}
	walk := wanderer{seed: seed, idle: uint64(rapid.IntRange(1, 8).Draw(t, "idle")), tricks: uint64(rapid.SampledFrom([]int{0, 0, 1, 3, 6}).Draw(t, "tricks")),
		hoards: rapid.Bool().Draw(t, "hoards")}
	learns := rapid.Bool().Draw(t, "learns")
	c := coretest.Case{Scale: scale, Choose: choose, Drains: evictor >= 1 && evictor <= 3, Crowds: true, Config: func() scheduler.Config {
		c, w := cfg, walk
		c.Policy = &w
		c.Order = []scheduler.Order{nil, nil, scheduler.OrderFunc(byDeadline), scheduler.OrderFunc(byWork), &takingTurns{}}[order]
		if learns {
			c.Estimator, _ = scheduler.NewEstimator(scheduler.EstimatorConfig{Kind: "last"}, cfg.Models)
		}
		return c
	}}
	c.Run(t, reached)
}

// takingTurns is an order with state: an item stands behind as many as were
// dispatched when it came, every other one of these in front of all.
type takingTurns struct{ dispatched, came int64 }

func (o *takingTurns) Key(scheduler.Item) int64 {
	o.came++
	return o.dispatched * (1 - 2*(o.came%2))
}

func (o *takingTurns) Dispatched(_ scheduler.Item, key int64) { o.dispatched += 1 + key&1 }

func outcome(k scheduler.Kind) (finished, failed scheduler.Kind) {
	switch k {
	case scheduler.BatchStarted:
		return scheduler.BatchFinished, scheduler.BatchFailed
	case scheduler.LoadStarted:
		return scheduler.LoadFinished, scheduler.LoadFailed
	}
	return scheduler.EvictFinished, scheduler.EvictFailed
}
