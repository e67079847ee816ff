package policies

import (
	"slices"

	"github.com/vramsim/vramsim/scheduler"
)

// numbered is a limiter of the number of models on a device.
type numbered interface{ atMost() int }

// checkRoom refuses models kept for ever that can keep another one out: on one
// device, on the device that a plan names, or by lying on all of them.
func (p *composed) checkRoom(parts *parts, path []string) error {
	env := parts.env
	groups, grouped := p.limiter.(*groups)
	if grouped && p.pinned != nil {
		return at(path, "evict: groups takes no pin; its persistent groups are the same")
	}
	if p.pinned == nil && !grouped {
		return nil
	}
	plan, planned := parts.made[KindPlace].(planned)
	for m := range scheduler.ModelID(len(env.Models)) {
		r := room{need: env.Models[m].Bytes + env.Models[m].Batch.Memory, most: len(env.Models)}
		if limit, ok := p.limiter.(numbered); ok {
			r.most = limit.atMost()
		}
		devices := env.Devices
		beside := func(scheduler.ModelID) bool { return true }
		if planned {
			devices = env.Devices[plan[m] : plan[m]+1]
			beside = func(other scheduler.ModelID) bool { return plan[other] == plan[m] }
		}
		for i := range devices {
			r.budgets = append(r.budgets, devices[i].Budget)
		}
		if grouped {
			// Members of persistent groups are not held: each may lie on every device.
			if kept := groups.kept(env, m, beside); kept > 0 && r.need > slices.Max(r.budgets)-kept {
				return r.none(path, env.Models[m].Name, kept)
			}
			continue
		}
		item := scheduler.Bytes(0)
		for other := range scheduler.ModelID(len(env.Models)) {
			if other != m && p.pinned[other] && beside(other) {
				r.kept = append(r.kept, env.Models[other].Bytes)
				item = max(item, env.Models[other].Batch.Memory)
			}
		}
		if p.pinned[m] { // it stays, and those beside it need room too
			r.need += max(0, item-env.Models[m].Batch.Memory)
		}
		if !r.mayBeFull() {
			continue
		}
		if len(r.kept) >= r.most*len(devices) {
			return at(path, "%d pinned models and at most %d on a device leave no room for %q", len(r.kept), r.most, env.Models[m].Name)
		}
		return r.none(path, env.Models[m].Name, r.sum())
	}
	return nil
}

// room is what models that are kept, each on one device, leave for another.
type room struct {
	need    scheduler.Bytes   // of the other: weights and one item
	most    int               // models that a device may have
	budgets []scheduler.Bytes // by device
	kept    []scheduler.Bytes // by model that is kept

	steps int
}

// none says that there may be none.
func (r *room) none(path []string, model string, kept scheduler.Bytes) error {
	budget := slices.Max(r.budgets)
	if len(r.budgets) > 1 {
		return at(path, "the models that never leave (%v together) can come to lie so that no device has room for %q and one item of a batch (%v in a budget of at most %v); place: planned says where each lies",
			kept, model, r.need, budget)
	}
	return at(path, "beside the models that never leave (%v) there is no room for %q and one item of a batch (%v) in the budget of %v",
		kept, model, r.need, budget)
}

func (r *room) sum() (sum scheduler.Bytes) {
	for _, b := range r.kept {
		sum += b
	}
	return sum
}

// mayBeFull reports whether the kept models can lie so that no device has room.
// That is a covering of bins, hard in general: beyond a million steps the
// answer is no.
func (r *room) mayBeFull() bool {
	slices.Sort(r.kept)
	slices.Reverse(r.kept)
	return r.fill(0, 0, 0, 0)
}

// fill tries to leave no room on the devices from d on, which may be too small
// for the other anyway; on d there are so many
// models of so many bytes, chosen from those before the one given.
func (r *room) fill(d, from, models int, bytes scheduler.Bytes) bool {
	if r.steps++; r.steps > 1e6 {
		return false
	}
	if bytes > r.budgets[d]-r.need || models >= r.most {
		if d+1 == len(r.budgets) || r.fill(d+1, 0, 0, 0) {
			return true
		}
	}
	for i := from; i < len(r.kept); i++ {
		b := r.kept[i]
		if b < 0 || bytes+b > r.budgets[d] {
			continue // it lies on a device already, or has no room itself
		}
		r.kept[i] = -1
		full := r.fill(d, i+1, models+1, bytes+b)
		r.kept[i] = b
		if full {
			return true
		}
	}
	return false
}

// place returns the device for m: the placer's, unless m can never come there
// for what is held there for ever, or could not be held there itself, and
// another device has room. A placer knows the view, and neither pins nor what
// the evictor allows.
func (p *composed) place(v *scheduler.View, m scheduler.ModelID) scheduler.DeviceID {
	placed := p.placer.Place(v, m)
	if placed == scheduler.NoDevice || p.pinned == nil || p.hasPlace(v, placed, m) {
		return placed
	}
	for d := range scheduler.DeviceID(len(p.stays)) {
		if p.hasPlace(v, d, m) {
			return d
		}
	}
	return placed
}

// hasPlace reports whether d is up and m can be there beside what is held
// there for ever, for ever itself if it is pinned and held nowhere.
func (p *composed) hasPlace(v *scheduler.View, d scheduler.DeviceID, m scheduler.ModelID) bool {
	if !takes(v, d, m) {
		return false
	}
	if limit, limited := p.limiter.(numbered); limited && heldBeside(v, d, m) >= limit.atMost() {
		return false
	}
	return !p.pinned[m] || p.heldElsewhere(v, d, m) || mayKeep(v, d, m)
}

// heldBeside returns how many models other than m are held on d for ever.
func heldBeside(v *scheduler.View, d scheduler.DeviceID, m scheduler.ModelID) (held int) {
	for _, other := range v.Residents(d) {
		if other != m && v.HeldUntil(d, other) == scheduler.Never {
			held++
		}
	}
	return held
}

// mayKeep reports whether m, held on d for ever, leaves room there for an item
// of its own and of each model that is held there.
func mayKeep(v *scheduler.View, d scheduler.DeviceID, m scheduler.ModelID) bool {
	item := v.BatchMemory(m)
	for _, other := range v.Residents(d) {
		if v.HeldUntil(d, other) == scheduler.Never {
			item = max(item, v.BatchMemory(other))
		}
	}
	return v.Bytes(m)+v.Kept(d, m)+item <= v.Budget(d)
}
