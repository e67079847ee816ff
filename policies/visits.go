package policies

import (
	"math"

	"github.com/vramsim/vramsim/scheduler"
)

// Visit says how long a device stays at a model's queue while it has items.
type Visit interface {
	// Left returns how many more items the visit may dispatch; at 0 it is
	// over. It is also asked of visits that would open now.
	Left(v *scheduler.View, s *Stay) int
}

// Lingerer is implemented by visits that stay at an empty queue.
type Lingerer interface {
	// Until returns when the visit, its queue being empty, is over; a time not
	// after now ends it.
	Until(v *scheduler.View, s *Stay) scheduler.Time
}

type gated struct{}

func (gated) Left(_ *scheduler.View, s *Stay) int { return s.Gate - s.Items }

type limitedItems int

func (k limitedItems) Left(_ *scheduler.View, s *Stay) int { return int(k) - s.Items }

type limitedBatches int

func (k limitedBatches) Left(_ *scheduler.View, s *Stay) int {
	if s.Batches >= int(k) {
		return 0
	}
	return math.MaxInt
}

type timedVisit scheduler.Time

func (q timedVisit) Left(v *scheduler.View, s *Stay) int {
	if v.Now()-s.Opened >= scheduler.Time(q) {
		return 0
	}
	return math.MaxInt
}

// linger is exhaustive and then stays for a while at the empty queue.
type linger scheduler.Time

func (w linger) Left(*scheduler.View, *Stay) int { return math.MaxInt }

func (w linger) Until(v *scheduler.View, s *Stay) scheduler.Time {
	until, _ := scheduler.AddTime(v.LastUsed(s.Device, s.Model), scheduler.Time(w))
	return until
}

// residency stays until the load of the next model would be worth it.
type residency struct {
	least  scheduler.Time
	factor int64
}

func (r residency) Left(v *scheduler.View, s *Stay) int {
	if v.Now() < r.Until(v, s) {
		return math.MaxInt
	}
	return 0
}

func (r residency) Until(v *scheduler.View, s *Stay) scheduler.Time {
	next := s.Next(v)
	if next == noModel {
		return scheduler.Never
	}
	until, _ := scheduler.AddTime(s.Opened, max(r.least, times(v.LoadEstimate(s.Device, next), r.factor)))
	return until
}
