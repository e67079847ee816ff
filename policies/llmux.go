package policies

import (
	"math"
	"math/bits"
	"slices"

	"github.com/vramsim/vramsim/scheduler"
)

// active is what the policies of llmux share: a model is served for at least
// min_active, and one whose oldest item has waited for max_wait is visited then.
type active struct{ wait, least scheduler.Time }

func newActive(a *Args) active { return active{wait: a.Time("max_wait"), least: a.Time("min_active")} }

// leave returns when the present model of c's device, if it still is there, has
// been served for long enough.
func (s active) leave(c *Candidates) scheduler.Time {
	since, there := c.Since()
	if !there {
		return 0
	}
	at, _ := scheduler.AddTime(since, s.least)
	return at
}

// due returns when the oldest item of m will have waited for too long.
func (s active) due(v *scheduler.View, m scheduler.ModelID) scheduler.Time {
	at, _ := scheduler.AddTime(v.Oldest(m), s.wait)
	return at
}

func (s active) Urgent(v *scheduler.View, c *Candidates) (scheduler.ModelID, scheduler.Time) {
	best, oldest := noModel, scheduler.Never
	if s.leave(c) > v.Now() {
		return noModel, 0
	}
	for m := c.Next(0); m != noModel; m = c.Next(m + 1) {
		if since := v.Oldest(m); m != c.Current() && since < oldest && s.due(v, m) <= v.Now() {
			best, oldest = m, since
		}
	}
	return best, v.Now() - oldest
}

func (s active) UrgentAt(v *scheduler.View, c *Candidates) scheduler.Time {
	first, leave := scheduler.Never, s.leave(c)
	for m := c.Next(0); m != noModel; m = c.Next(m + 1) {
		if at := max(s.due(v, m), leave); m != c.Current() && at > v.Now() {
			first = min(first, at)
		}
	}
	return first
}

func (active) Forced() Visit { return gated{} }

func (s active) bound(_ Axis, models int) Bound {
	return Bound{Kind: VisitsAfter, N: models, After: s.wait}
}

// timeSlice stays with a model until its queue is drained and nothing of it
// runs, then turns to the longest queue (llmux).
type timeSlice struct{ active }

func (s *timeSlice) Select(v *scheduler.View, c *Candidates) scheduler.ModelID {
	if cur := c.Current(); c.Has(cur) {
		return cur
	}
	return most(v, c, false)
}

// Until implements Patient.
func (s *timeSlice) Until(v *scheduler.View, c *Candidates, _ scheduler.ModelID) scheduler.Time {
	if _, there := c.Since(); there && v.Busy(c.Device(), c.Current()) {
		return scheduler.Never // asked again when that has ended
	}
	return s.leave(c)
}

// costAware leaves a model, drained or not, once another queue is worth the
// switch, as switches from one to the other have been measured (llmux).
type costAware struct {
	active
	window   scheduler.Time
	factor   uint64 // millionths of an item per second
	models   int
	cost     []scheduler.Time // from model · models + to model
	measured []bool           // likewise: cost is no guess
	switches []switching      // by device
}

// switching is what a device is known to do.
type switching struct {
	at    scheduler.ModelID // the model of its last visit
	began scheduler.Time    // when the last load began, or the evictions that it waited for
	took  scheduler.Time    // from there until it was over

	leaving        int            // evictions in flight
	clear, cleared scheduler.Time // when the last evictions in a row began and ended
}

// What switches cost: before one was measured, and at most.
const (
	guessedSwitch = 10 * scheduler.Second
	longestSwitch = 60 * scheduler.Second
)

func newCostAware(a *Args) (any, error) {
	n := len(a.Env.Models)
	s := &costAware{active: newActive(a), window: a.Time("window"), factor: uint64(a.Millionths("factor")), models: n,
		cost: slices.Repeat([]scheduler.Time{guessedSwitch}, n*n), measured: make([]bool, n*n), switches: make([]switching, len(a.Env.Devices))}
	for d := range s.switches {
		s.reset(scheduler.DeviceID(d))
	}
	return s, nil
}

func (s *costAware) reset(d scheduler.DeviceID) {
	s.switches[d] = switching{at: noModel, cleared: -1}
}

// Observe measures how long it takes until a model is loaded, evictions that
// its load follows at once included.
func (s *costAware) Observe(_ *scheduler.View, ev scheduler.Event) {
	if ev.Device < 0 {
		return
	}
	k := &s.switches[ev.Device]
	switch ev.Kind {
	case scheduler.EvictStarted:
		if k.leaving == 0 {
			k.clear = ev.At
		}
		k.leaving++
	case scheduler.EvictFinished, scheduler.EvictFailed:
		k.leaving--
		k.cleared = ev.At
	case scheduler.LoadStarted:
		if k.began = ev.At; k.cleared == ev.At {
			k.began = k.clear
		}
	case scheduler.LoadFinished:
		k.took = ev.At - k.began
	case scheduler.DeviceDown:
		s.reset(ev.Device)
	}
}

// opened learns from a switch. One to a model that was there took no time.
func (s *costAware) opened(stay *Stay, loaded bool) {
	k := &s.switches[stay.Device]
	from := k.at
	k.at = stay.Model
	if from == noModel || from == stay.Model {
		return
	}
	took := scheduler.Time(0)
	if loaded {
		took = min(k.took, longestSwitch)
	}
	i := int(from)*s.models + int(stay.Model)
	if s.measured[i] {
		took = (3*took + 7*s.cost[i]) / 10
	}
	s.cost[i], s.measured[i] = took, true
}

// enough returns how many items are worth a switch of that cost: ⌈factor·cost
// in seconds⌉, at least 1.
func (s *costAware) enough(cost scheduler.Time) uint64 {
	const unit = million * uint64(scheduler.Second)
	high, low := bits.Mul64(s.factor, uint64(cost))
	low, carry := bits.Add64(low, unit-1, 0)
	if high += carry; high >= unit {
		return 1 << 63
	}
	n, _ := bits.Div64(high, low, unit)
	return max(n, 1)
}

// goes returns when the device turns to m, which is not its present model, if
// nothing happens until then; a time not after now means at once.
func (s *costAware) goes(v *scheduler.View, c *Candidates, m scheduler.ModelID) scheduler.Time {
	since, there := c.Since()
	if !there {
		return 0
	}
	cost := s.cost[int(c.Current())*s.models+int(m)]
	served, _ := scheduler.AddTime(since, cost)
	at := served
	if oldest := v.Oldest(m); oldest >= served {
		if at = oldest; uint64(v.Ready(m)) < s.enough(cost) {
			at, _ = scheduler.AddTime(oldest, s.window)
		}
	}
	return max(min(at, s.due(v, m)), s.leave(c))
}

// first returns the model to turn to: of those it is time for the oldest, else
// the one for which it will be first.
func (s *costAware) first(v *scheduler.View, c *Candidates) (scheduler.ModelID, scheduler.Time) {
	best, at := noModel, scheduler.Never
	for m := c.Next(0); m != noModel; m = c.Next(m + 1) {
		if m == c.Current() {
			continue
		}
		t := max(s.goes(v, c, m), v.Now())
		if best == noModel || t < at || t == at && v.Oldest(m) < v.Oldest(best) {
			best, at = m, t
		}
	}
	return best, at
}

func (s *costAware) Select(v *scheduler.View, c *Candidates) scheduler.ModelID {
	next, at := s.first(v, c)
	if cur := c.Current(); c.Has(cur) && (next == noModel || at > v.Now()) {
		return cur
	}
	return next
}

// Until implements Patient.
func (s *costAware) Until(v *scheduler.View, c *Candidates, next scheduler.ModelID) scheduler.Time {
	return s.goes(v, c, next)
}

// left ends a visit when it is time for another model.
func (s *costAware) left(v *scheduler.View, stay *Stay) int {
	if stay.Batches > 0 {
		if next, at := s.first(v, stay.policy.candidates(v, stay.Device)); next != noModel && at <= v.Now() {
			return 0
		}
	}
	return math.MaxInt
}

// UrgentAt also returns when a visit ends.
func (s *costAware) UrgentAt(v *scheduler.View, c *Candidates) scheduler.Time {
	first := scheduler.Never
	for m := c.Next(0); m != noModel; m = c.Next(m + 1) {
		if m == c.Current() {
			continue
		}
		if at := s.goes(v, c, m); at > v.Now() {
			first = min(first, at)
		}
	}
	return first
}
