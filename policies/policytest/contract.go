package policytest

import (
	"fmt"
	"slices"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/scheduler"
)

// breaches are where a log first breaks what a policy may declare, by
// property; nothing stands for what it keeps. Contracts count as declared
// here, for whoever asks knows whether they are.
type breaches map[Property]string

// add keeps the first breach.
func (b breaches) add(p Property, format string, args ...any) {
	if _, known := b[p]; !known {
		b[p] = fmt.Sprintf(format, args...)
	}
}

// audit follows a log and holds it to every contract at once.
type audit struct {
	found    breaches
	bound    policies.Bound // of visits: as declared, or else as many as models
	state    *scheduler.StateReplay
	visits   map[scheduler.ItemID]int // to others while the item waits
	last     scheduler.ModelID
	noted    int64
	latest   int64 // Seq of the batch being put together
	devices  []auditDevice
	choosing scheduler.DeviceID // where victims of a claim are being chosen
	memory   bool               // batches need some of their own
	foreign  []scheduler.Bytes  // that others hold, by device
}

// auditDevice is what an audit remembers of a device.
type auditDevice struct {
	left  []departure       // since the last load there
	claim scheduler.ModelID // the load that victims leave for
	// promised to the claim: what was free or leaving, and what its victims leave.
	promised scheduler.Bytes
	victims  []scheduler.ModelID // of the claim, while they are chosen
	// loaded has the head of the queue for which a model was loaded.
	loaded map[scheduler.ModelID]scheduler.ItemID
}

// departure is an eviction that no load asked for yet.
type departure struct {
	model scheduler.ModelID
	room  scheduler.Bytes // that would have been free without it
	at    scheduler.Time
}

// follow audits a whole log of w under a fresh policy, which observes it so that
// its evictor can be asked who could leave.
func follow(w *World, set *policies.Set, spec policies.Spec, events []scheduler.Event) (found breaches, err error) {
	defer caught(&err)
	cfg, built, err := w.Config(set, spec)
	if err != nil {
		return nil, err
	}
	policy := newTwice(built.Policy, nil)
	state, err := scheduler.NewStateReplay(cfg)
	if err != nil {
		return nil, err
	}
	a := &audit{found: breaches{}, bound: built.Contracts.Bound, state: state,
		visits: map[scheduler.ItemID]int{}, last: scheduler.NoModel, latest: -1, choosing: scheduler.NoDevice, devices: make([]auditDevice, len(w.Devices)), foreign: make([]scheduler.Bytes, len(w.Devices))}
	if k := a.bound.Kind; k != policies.Visits && k != policies.VisitsAfter {
		a.bound = policies.Bound{Kind: policies.Visits, N: len(w.Models)}
	}
	for d := range a.devices {
		a.devices[d] = auditDevice{claim: scheduler.NoModel, loaded: map[scheduler.ModelID]scheduler.ItemID{}}
	}
	for i := range w.Models {
		a.memory = a.memory || w.Models[i].Batch.Memory > 0
	}
	for i, ev := range events {
		if i > 0 && ev.First() {
			a.atRest()
		}
		a.before(ev)
		if err := state.Append([]scheduler.Event{ev}); err != nil {
			return a.found, err
		}
		policy.Observe(state.Core.View(), ev)
		a.saw(ev)
	}
	a.atRest()
	return a.found, nil
}

// before looks at the state that an event changes.
func (a *audit) before(ev scheduler.Event) {
	v := a.state.Core.View()
	if a.choosing >= 0 && ev.Kind != scheduler.EvictStarted {
		a.claimed(v, a.choosing)
		a.choosing = scheduler.NoDevice
	}
	switch ev.Kind {
	case scheduler.LoadClaimed:
		if dev := &a.devices[ev.Device]; dev.claim != ev.Model { // else more bytes for the same claim
			a.arriving(v, ev)
			dev.claim, dev.promised, dev.victims = ev.Model, a.room(v, ev.Device), nil
			a.choosing = ev.Device
		}
	case scheduler.LoadStarted:
		if a.devices[ev.Device].claim != ev.Model {
			a.arriving(v, ev)
		}
	case scheduler.EvictStarted:
		a.leaving(v, ev)
	}
}

// room is what is free on d or will be once all that leaves has left.
func (a *audit) room(v *scheduler.View, d scheduler.DeviceID) scheduler.Bytes {
	room := v.Headroom(d)
	for _, m := range v.Residents(d) {
		if v.State(d, m) == scheduler.Evicting {
			room += v.Bytes(m)
		}
	}
	return room
}

// elsewhere reports whether m is resident on another device than d, too.
func elsewhere(v *scheduler.View, d scheduler.DeviceID, m scheduler.ModelID) bool {
	for other := range scheduler.DeviceID(v.Devices()) {
		if other != d && v.State(other, m) == scheduler.Resident {
			return true
		}
	}
	return false
}

// waits reports whether an item is in its queue.
func waits(v *scheduler.View, item *scheduler.Item) (found bool) {
	v.Each(item.Model, func(it scheduler.Item) bool {
		found = it.ID == item.ID
		return !found
	})
	return found
}

// leaving: no model goes before its first batch that was loaded for an item
// which still waits, and none for nothing.
func (a *audit) leaving(v *scheduler.View, ev scheduler.Event) {
	d, m, dev := ev.Device, ev.Model, &a.devices[ev.Device]
	if id, wanted := dev.loaded[m]; wanted && v.BatchesSinceLoad(d, m) == 0 {
		if item, there := v.ItemByID(id); there && waits(v, &item) && !elsewhere(v, d, m) {
			a.found.add(FirstBatch, "at %v model %s leaves device %d without a batch since its load, for which item %d still waits", ev.At, v.Model(m).Name, d, id)
		}
	}
	if a.choosing == d && dev.promised < v.Bytes(dev.claim) {
		dev.victims = append(dev.victims, m)
		dev.promised += v.Bytes(m)
		return // what leaves once enough is promised does so for another reason
	}
	dev.left = append(dev.left, departure{model: m, room: a.room(v, d), at: ev.At})
}

// arriving: the load that now begins needs every byte that was freed before.
// Activation memory is a reason of its own to make room.
func (a *audit) arriving(v *scheduler.View, ev scheduler.Event) {
	dev := &a.devices[ev.Device]
	for _, gone := range dev.left {
		if gone.model != ev.Model && gone.room >= v.Bytes(ev.Model) && !a.memory {
			a.found.add(Superfluous, "at %v model %s left device %d although %s had room beside it", gone.at, v.Model(gone.model).Name, ev.Device, v.Model(ev.Model).Name)
		}
	}
	dev.left = dev.left[:0]
	delete(dev.loaded, ev.Model)
	if head, any := v.Head(ev.Model); any && a.noted != scheduler.ReasonPrefetch {
		dev.loaded[ev.Model] = head.ID
	}
}

// claimed: without any of the victims the load would not fit.
func (a *audit) claimed(v *scheduler.View, d scheduler.DeviceID) {
	dev := &a.devices[d]
	for _, m := range dev.victims {
		if dev.promised-v.Bytes(m) >= v.Bytes(dev.claim) {
			a.found.add(ClaimVictims, "at %v model %s leaves device %d for %s, which fits without that", v.Now(), v.Model(m).Name, d, v.Model(dev.claim).Name)
		}
	}
}

func (a *audit) saw(ev scheduler.Event) {
	v := a.state.Core.View()
	switch ev.Kind {
	case scheduler.Note:
		a.noted = ev.ID
		return
	case scheduler.MemberDispatched:
		item, _ := v.ItemByID(ev.Item())
		a.latest = max(a.latest, item.Seq)
		return
	case scheduler.BatchStarted:
		a.inOrder(v, ev)
		if fill := a.noted == scheduler.ReasonFill; !fill {
			if ev.Model != a.last {
				a.visited(v, ev)
			}
			a.last = ev.Model
		}
		a.latest = -1
	case scheduler.LoadStarted:
		a.devices[ev.Device].claim = scheduler.NoModel
	case scheduler.MemoryObserved:
		a.foreign[ev.Device] = scheduler.Bytes(ev.Value)
	case scheduler.DeviceDown:
		a.devices[ev.Device] = auditDevice{claim: scheduler.NoModel, loaded: map[scheduler.ModelID]scheduler.ItemID{}}
	}
	if !ev.Kind.Fact() {
		a.noted = 0
	}
}

// inOrder: bypass 0, no younger item of another model starts first.
func (a *audit) inOrder(v *scheduler.View, ev scheduler.Event) {
	for m := v.NextReady(0); m != scheduler.NoModel; m = v.NextReady(m + 1) {
		if m != ev.Model && v.OldestSeq(m) < a.latest {
			a.found.add(InOrder, "at %v an item of model %s starts before an older one of %s", ev.At, v.Model(ev.Model).Name, v.Model(m).Name)
		}
	}
}

// visited: at most so many visits to others while an item waits.
func (a *audit) visited(v *scheduler.View, ev scheduler.Event) {
	for m := v.NextReady(0); m != scheduler.NoModel; m = v.NextReady(m + 1) {
		v.Each(m, func(item scheduler.Item) bool {
			switch {
			case m == ev.Model:
				a.visits[item.ID] = 0
			case a.bound.Kind == policies.Visits || ev.At-item.ReadyAt > a.bound.After:
				if a.visits[item.ID]++; a.visits[item.ID] > a.bound.N {
					a.found.add(Starvation, "at %v item %d of model %s waits since %v while others were visited %d times", ev.At, item.ID, v.Model(m).Name, item.ReadyAt, a.visits[item.ID])
				}
			}
			return true
		})
	}
}

// atRest: no slot idles beside work that could run, or load, and nothing waits
// for a wake-up that never comes.
func (a *audit) atRest() {
	v := a.state.Core.View()
	for d := range scheduler.DeviceID(v.Devices()) {
		if v.FreeSlots(d) == 0 || v.Running(d) > 0 {
			continue // a model may wait for the busy ones to leave
		}
		for m := v.NextReady(0); m != scheduler.NoModel; m = v.NextReady(m + 1) {
			if v.Fits(d, m) > 0 {
				a.found.add(WorkConserving, "at %v device %d idles beside %d items for the resident model %s", v.Now(), d, v.Ready(m), v.Model(m).Name)
			}
			if v.Loadable(d, m) && !underWay(v, d) {
				a.found.add(LoadConserving, "at %v device %d idles while model %s with %d items could load", v.Now(), d, v.Model(m).Name, v.Ready(m))
			}
		}
	}
	a.asleep(v)
}

// asleep: with nothing under way and no timer set, a ready item cannot be served.
func (a *audit) asleep(v *scheduler.View) {
	if _, set := v.Timer(); set || v.TotalReady() == 0 {
		return
	}
	for d := range scheduler.DeviceID(v.Devices()) {
		if v.Running(d) > 0 || len(v.Residents(d)) > 0 && (underWay(v, d) || held(v, d)) {
			return
		}
		if _, _, busy := v.Link(d); busy || a.foreign[d] > 0 {
			return // what others hold is observed again
		}
	}
	for m := v.NextReady(0); m != scheduler.NoModel; m = v.NextReady(m + 1) {
		for d := range scheduler.DeviceID(v.Devices()) {
			if v.Fits(d, m) > 0 || v.Loadable(d, m) {
				a.found.add(Wakeup, "at %v nothing is under way and no timer set, and %d items of model %s could be served on device %d", v.Now(), v.Ready(m), v.Model(m).Name, d)
			}
		}
	}
}

// held reports whether a hold on d is going to expire.
func held(v *scheduler.View, d scheduler.DeviceID) bool {
	return slices.ContainsFunc(v.Residents(d), func(m scheduler.ModelID) bool {
		return v.HeldUntil(d, m) > v.Now() && v.HeldUntil(d, m) != scheduler.Never
	})
}

// underWay reports whether something leaves so that the chosen model can come.
func underWay(v *scheduler.View, d scheduler.DeviceID) bool {
	return slices.ContainsFunc(v.Residents(d), func(m scheduler.ModelID) bool { return v.State(d, m) == scheduler.Evicting })
}
