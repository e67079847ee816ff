package policies

import (
	"math"

	"github.com/vramsim/vramsim/scheduler"
)

// Placer says on which device a model belongs when there are several. A model
// may besides be served wherever it is already resident.
type Placer interface {
	// Place returns the device for m, or scheduler.NoDevice while none can
	// ever take it. It changes nothing.
	Place(v *scheduler.View, m scheduler.ModelID) scheduler.DeviceID
}

// takes reports whether d is up and m with one item of a batch can be there,
// beside what is held there for ever and what other processes have now.
func takes(v *scheduler.View, d scheduler.DeviceID, m scheduler.ModelID) bool {
	return v.Up(d) && v.Bytes(m) <= v.Budget(d)-v.Foreign(d)-v.BatchMemory(m)-v.Kept(d, m)
}

func slotWait(v *scheduler.View, d scheduler.DeviceID) scheduler.Time {
	if v.FreeSlots(d) > 0 {
		return 0
	}
	wait := scheduler.Never
	for i := range v.Running(d) {
		wait = min(wait, max(0, v.RunningBatch(d, i).End-v.Now()))
	}
	return wait
}

// linkWait returns when d's link is expected to be free; for m itself, when
// its load is expected to end.
func linkWait(v *scheduler.View, d scheduler.DeviceID) scheduler.Time {
	loading, end, busy := v.Link(d)
	switch {
	case !busy:
		return 0
	case end == scheduler.Never:
		return v.LoadEstimate(d, loading)
	}
	return max(0, end-v.Now())
}

// affinity takes the device on which m could start soonest: the least wait for
// a slot and the link, plus the load. Of equals one that need not evict.
type affinity struct{}

func (affinity) Place(v *scheduler.View, m scheduler.ModelID) scheduler.DeviceID {
	best, least, tight := scheduler.NoDevice, scheduler.Never, false
	for d := range scheduler.DeviceID(v.Devices()) {
		if !takes(v, d, m) {
			continue
		}
		cost, evicts := slotWait(v, d), false
		switch v.State(d, m) {
		case scheduler.Resident:
		case scheduler.Claimed, scheduler.Loading:
			cost += linkWait(v, d)
		default:
			cost += linkWait(v, d) + v.LoadEstimate(d, m)
			evicts = v.Headroom(d) < v.Bytes(m)
		}
		if best == scheduler.NoDevice || cost < least || cost == least && tight && !evicts {
			best, least, tight = d, cost, evicts
		}
	}
	return best
}

// scored keeps a model where it is; else it takes the device of the best
// class (0 fits into headroom, 1 can be loaded by evicting, 2 later), and
// within it of the least score, then of the lowest id.
type scored struct {
	score func(v *scheduler.View, d scheduler.DeviceID, class int) int64
}

func (p scored) Place(v *scheduler.View, m scheduler.ModelID) scheduler.DeviceID {
	best, class, least := scheduler.NoDevice, 3, int64(0)
	for d := range scheduler.DeviceID(v.Devices()) {
		if !takes(v, d, m) {
			continue
		}
		switch v.State(d, m) {
		case scheduler.Claimed, scheduler.Loading, scheduler.Resident:
			return d
		}
		c := 2
		if v.Loadable(d, m) {
			c = 1
			if v.Headroom(d) >= v.Bytes(m) {
				c = 0
			}
		}
		if s := p.score(v, d, c); c < class || c == class && s < least {
			best, class, least = d, c, s
		}
	}
	return best
}

func firstDevice(*scheduler.View, scheduler.DeviceID, int) int64 { return 0 }

func bestFit(v *scheduler.View, d scheduler.DeviceID, _ int) int64 { return int64(v.Headroom(d)) }

func mostFree(v *scheduler.View, d scheduler.DeviceID, _ int) int64 { return -int64(v.Headroom(d)) }

// lruAge takes one that is not full, else the one whose least recently used
// model has been unused for longest (ModelMesh).
func lruAge(v *scheduler.View, d scheduler.DeviceID, class int) int64 {
	if class == 0 {
		return 0
	}
	age := int64(math.MaxInt64)
	for _, m := range v.Residents(d) {
		if v.State(d, m) == scheduler.Resident {
			age = min(age, int64(v.LastUsed(d, m)))
		}
	}
	return age
}

// planned is a fixed map from models to devices.
type planned []scheduler.DeviceID

func (p planned) Place(_ *scheduler.View, m scheduler.ModelID) scheduler.DeviceID { return p[m] }
