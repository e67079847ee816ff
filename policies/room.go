package policies

import "github.com/vramsim/vramsim/scheduler"

// missing returns how many bytes m, resident on d, lacks for one item of a
// batch after the evictions under way; 0 while a claim would take what gets
// free.
func missing(v *scheduler.View, d scheduler.DeviceID, m scheduler.ModelID) scheduler.Bytes {
	need := v.BatchMemory(m) - v.Headroom(d)
	for _, other := range v.Residents(d) {
		switch v.State(d, other) {
		case scheduler.Claimed:
			return 0
		case scheduler.Evicting:
			need -= v.Bytes(other)
		}
	}
	return max(0, need)
}

// awaited reports whether m was loaded on d for items that are there and has
// not run since.
func awaited(v *scheduler.View, d scheduler.DeviceID, m scheduler.ModelID) bool {
	return v.State(d, m) == scheduler.Resident && v.BatchesSinceLoad(d, m) == 0 && v.Ready(m) > 0
}

// coming reports whether m is on its way to some device.
func coming(v *scheduler.View, m scheduler.ModelID) bool {
	for d := range scheduler.DeviceID(v.Devices()) {
		switch v.State(d, m) {
		case scheduler.Claimed, scheduler.Loading:
			return true
		}
	}
	return false
}

// leastUsed returns the least recently used model that may leave d for
// incoming: of those that have run since they were loaded or have nothing to
// do, else of all.
func leastUsed(v *scheduler.View, d scheduler.DeviceID, incoming scheduler.ModelID) (scheduler.ModelID, bool) {
	best, kept, used := noModel, false, int64(0)
	for _, m := range v.Residents(d) {
		if m == incoming || !v.Evictable(d, m) {
			continue
		}
		k, u := awaited(v, d, m), v.UseOrder(d, m)
		if best == noModel || kept && !k || k == kept && u < used {
			best, kept, used = m, k, u
		}
	}
	return best, best != noModel
}

// makeRoom evicts for one item of the resident m, unless enough is already on
// its way out.
func makeRoom(v *scheduler.View, d scheduler.DeviceID, m scheduler.ModelID) scheduler.Decision {
	if missing(v, d, m) > 0 {
		if victim, ok := leastUsed(v, d, m); ok {
			return scheduler.Evict(d, victim)
		}
	}
	return scheduler.Decision{}
}
