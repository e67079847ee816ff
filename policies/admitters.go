package policies

import "github.com/vramsim/vramsim/scheduler"

// Admitter refuses items.
type Admitter interface {
	// Refuse returns an item to reject and why, or false. It is asked again
	// after each rejection and changes nothing.
	Refuse(v *scheduler.View) (item scheduler.ItemID, why int64, ok bool)
}

// queueCap refuses arrivals to a queue that is full, the last first.
type queueCap int

func (k queueCap) Refuse(v *scheduler.View) (scheduler.ItemID, int64, bool) {
	for i := range v.ArrivedNow() {
		item, ok := v.ArrivedItem(i)
		if !ok || v.Ready(item.Model) <= int(k) {
			continue
		}
		if last, ok := lastArrived(v, item.Model); ok {
			return last, RejectQueueCap, true
		}
	}
	return 0, 0, false
}

// lastArrived returns the last item of m's queue that arrived at this instant.
func lastArrived(v *scheduler.View, m scheduler.ModelID) (scheduler.ItemID, bool) {
	last := scheduler.ItemID(-1)
	v.Each(m, func(item scheduler.Item) bool {
		if item.Arrival == v.Now() {
			last = max(last, item.ID)
		}
		return true
	})
	return last, last >= 0
}

// projected refuses arrivals that would end after their deadline: after the
// least wait for a slot, the load, and all of their queue up to them.
type projected struct{}

func (projected) Refuse(v *scheduler.View) (scheduler.ItemID, int64, bool) {
	for i := range v.ArrivedNow() {
		arrived, ok := v.ArrivedItem(i)
		if !ok || arrived.Deadline == scheduler.Never {
			continue
		}
		late, place, found := false, 0, false
		v.Each(arrived.Model, func(item scheduler.Item) bool {
			place++
			found = item.ID == arrived.ID
			return !found
		})
		if found {
			late = arrived.Deadline-v.Now() < outlook(v, arrived.Model, place)
		}
		if late {
			return arrived.ID, RejectProjected, true
		}
	}
	return 0, 0, false
}

// outlook returns how long it takes until the first n items of m are done, on
// the device where that is soonest.
func outlook(v *scheduler.View, m scheduler.ModelID, n int) scheduler.Time {
	best := scheduler.Never
	for d := range scheduler.DeviceID(v.Devices()) {
		if v.Up(d) && v.Bytes(m) <= v.Budget(d)-v.BatchMemory(m) { // other processes may give back what they have
			best = min(best, slotWait(v, d)+v.LoadEstimate(d, m))
		}
	}
	full, rest := n/v.BatchMax(m), n%v.BatchMax(m)
	work := times(v.BatchEstimate(m, v.BatchMax(m)), int64(full))
	sum, _ := scheduler.AddTime(best, work)
	sum, _ = scheduler.AddTime(sum, v.BatchEstimate(m, rest))
	return sum
}

// late refuses what could not meet its deadline even if it started alone now,
// as it comes within reach of a batch.
type late struct{}

func (late) Refuse(v *scheduler.View) (scheduler.ItemID, int64, bool) {
	for m := v.NextReady(0); m != noModel; m = v.NextReady(m + 1) {
		left, found := v.BatchMax(m), scheduler.ItemID(-1)
		v.Each(m, func(item scheduler.Item) bool {
			if item.Deadline-v.Now() < v.Model(m).Batch.Time(1, item.Work) {
				found = item.ID
			}
			left--
			return left > 0 && found < 0
		})
		if found >= 0 {
			return found, RejectLate, true
		}
	}
	return 0, 0, false
}

// next returns when the first of those it looks at becomes late, scheduler.Never
// if none does.
func (late) next(v *scheduler.View) scheduler.Time {
	at := scheduler.Never
	for m := v.NextReady(0); m != noModel; m = v.NextReady(m + 1) {
		left := v.BatchMax(m)
		v.Each(m, func(item scheduler.Item) bool {
			if item.Deadline != scheduler.Never {
				at = min(at, item.Deadline-v.Model(m).Batch.Time(1, item.Work)+1)
			}
			left--
			return left > 0
		})
	}
	return at
}
