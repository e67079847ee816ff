package coretest

import (
	"fmt"

	"github.com/vramsim/vramsim/scheduler"
)

// broken returns the first numbered invariant about a state that the model,
// and so the core that agrees with it, breaks; "" if none.
func (m *model) broken() string {
	ready := 0
	for _, it := range m.items {
		if it.state == "ready" || it.state == "running" {
			ready++
			if len(it.waitsFor)+it.bereft > 0 {
				return fmt.Sprintf("invariant 4: item %d is %s and waits for others", it.id, it.state)
			}
			if it.attempts >= m.cfg.Attempts {
				return fmt.Sprintf("invariant 7: item %d is %s after %d attempts", it.id, it.state, it.attempts)
			}
		}
	}
	if in := m.arrivals - m.done - m.failed - m.rejected - m.cancelled; in != int64(len(m.items)) {
		return fmt.Sprintf("invariant 1: %d items are in the system, expected %d", len(m.items), in)
	}
	for d := range scheduler.DeviceID(len(m.devices)) {
		if wrong := m.brokenDevice(d); wrong != "" {
			return wrong
		}
	}
	return ""
}

func (m *model) brokenDevice(d scheduler.DeviceID) string {
	dev, budget := m.devices[d], m.cfg.Devices[d].Budget
	if got := m.reserved(d); got > budget {
		return fmt.Sprintf("invariant 2: %d bytes of %d are reserved on device %d", got, budget, d)
	}
	if n := len(dev.batches); n > m.cfg.Devices[d].Slots {
		return fmt.Sprintf("invariant 5: %d batches run on device %d", n, d)
	}
	links := 0
	for _, r := range dev.models {
		if r.state == scheduler.Loading || r.state == scheduler.Claimed {
			links++
		}
	}
	if links > 1 {
		return fmt.Sprintf("invariant 5: %d loads on the link of device %d", links, d)
	}
	for _, b := range dev.batches {
		if s := m.res(d, b.model).state; s != scheduler.Resident {
			return fmt.Sprintf("invariant 6: model %d runs on device %d and is %v", b.model, d, s)
		}
	}
	return ""
}

// lostWakeup returns how invariant 9 is broken after a step: nothing is under
// way and no timer set, and yet a ready item could run or its model load.
func (m *model) lostWakeup() string {
	if m.cfg.Waits || m.timer != scheduler.Never || m.holdTimer != scheduler.Never {
		return ""
	}
	for d := range scheduler.DeviceID(len(m.devices)) {
		if len(m.devices[d].batches) > 0 || m.linkTaken(d) || m.evicting(d) > 0 || m.devices[d].foreign > 0 {
			return "" // what others hold is observed again
		}
	}
	for id := range scheduler.ModelID(len(m.cfg.Models)) {
		n := len(m.queue(id))
		if n == 0 {
			continue
		}
		for d := range scheduler.DeviceID(len(m.devices)) {
			if m.fits(d, id, n) > 0 || m.loadable(d, id) {
				return fmt.Sprintf("invariant 9: nothing is under way at %d, and %d items of model %d could be served on device %d: %s", m.now, n, id, d, m.summary())
			}
		}
	}
	return ""
}

// loadable reports whether a model can be loaded into what is free, the link
// being so.
func (m *model) loadable(d scheduler.DeviceID, id scheduler.ModelID) bool {
	free := m.devices[d].up && m.headroom(d) >= m.bytes(id) && m.res(d, id).state == scheduler.Absent
	return free && m.bytes(id)+m.cfg.Models[id].Batch.Memory <= m.cfg.Devices[d].Budget
}

// audit holds a log to the numbered invariants that speak of more than one
// state, from its events alone.
type audit struct {
	cfg     *scheduler.Config
	seq     int64
	at      scheduler.Time
	items   map[int64]*auditItem
	staged  []int64
	batches map[int64][]int64            // members by the number of the batch
	devices map[int64]scheduler.DeviceID // of running batches
	present map[[2]int]scheduler.Kind    // by device and model: the last of what made it come or go
}

type auditItem struct {
	needs     []int64 // dependencies that were not resolved when it arrived
	tries     int     // batches that it was in
	failures  int     // of those, failed ones
	running   bool
	cancelled bool
	ended     scheduler.Kind // 0: not yet
}

func newAudit(cfg *scheduler.Config) *audit {
	return &audit{cfg: cfg, items: map[int64]*auditItem{}, batches: map[int64][]int64{}, devices: map[int64]scheduler.DeviceID{}, present: map[[2]int]scheduler.Kind{}}
}

// next returns which invariant the next event of the log breaks, and how.
func (a *audit) next(ev scheduler.Event) string {
	a.seq++
	if ev.At < a.at {
		return fmt.Sprintf("invariant 3: event %d lies before %d", a.seq-1, a.at)
	}
	a.at = ev.At
	switch ev.Kind {
	case scheduler.ItemArrived:
		a.items[ev.ID] = &auditItem{}
	case scheduler.ItemDependsOn:
		on := a.items[ev.Value]
		if on == nil || on.ended == 0 || on.ended != scheduler.BatchFinished && a.cfg.KeepFailed == 0 {
			a.items[ev.ID].needs = append(a.items[ev.ID].needs, ev.Value)
		}
	case scheduler.MemberDispatched:
		a.staged = append(a.staged, ev.ID)
		return a.dispatched(ev.ID)
	case scheduler.ItemRejected, scheduler.ItemFailed, scheduler.DependantCancelled:
		return a.ends(ev.ID, ev.Kind)
	case scheduler.ItemCancelled:
		if it := a.items[ev.ID]; it.running {
			it.cancelled = true
		} else if it.ended == 0 {
			return a.ends(ev.ID, ev.Kind)
		}
	case scheduler.BatchStarted:
		a.batches[a.seq-1], a.devices[a.seq-1], a.staged = a.staged, ev.Device, nil
	case scheduler.BatchFinished, scheduler.BatchFailed:
		return a.endBatch(ev.ID, ev.Kind == scheduler.BatchFinished)
	}
	return a.residency(ev)
}

// dispatched: 4 all dependencies finished, 7 an item runs once or its retries
// are counted.
func (a *audit) dispatched(id int64) string {
	it := a.items[id]
	for _, on := range it.needs {
		if a.items[on] == nil || a.items[on].ended != scheduler.BatchFinished {
			return fmt.Sprintf("invariant 4: item %d starts before %d, which it depends on, is done", id, on)
		}
	}
	if it.ended != 0 || it.running || it.tries != it.failures || it.tries >= a.attempts() {
		return fmt.Sprintf("invariant 7: item %d starts again after %d batches, %d of them failed", id, it.tries, it.failures)
	}
	it.tries++
	it.running = true
	return ""
}

func (a *audit) attempts() int {
	if a.cfg.Attempts == 0 {
		return scheduler.DefaultAttempts
	}
	return a.cfg.Attempts
}

func (a *audit) ends(id int64, how scheduler.Kind) string {
	it := a.items[id]
	if it.ended != 0 || it.running {
		return fmt.Sprintf("invariant 7: item %d ends by %v; running %v, ended %v", id, how, it.running, it.ended)
	}
	it.ended = how
	return ""
}

func (a *audit) endBatch(seq int64, finished bool) string {
	wrong := ""
	for _, id := range a.batches[seq] {
		it := a.items[id]
		it.running = false
		switch {
		case it.cancelled:
			wrong += a.ends(id, scheduler.ItemCancelled)
		case finished:
			wrong += a.ends(id, scheduler.BatchFinished)
		default:
			it.failures++
		}
	}
	delete(a.batches, seq)
	delete(a.devices, seq)
	return wrong
}

// residency: 12 a model comes to a device once, however many ask for it.
func (a *audit) residency(ev scheduler.Event) string {
	where := [2]int{int(ev.Device), int(ev.Model)}
	switch was := a.present[where]; ev.Kind {
	case scheduler.LoadClaimed, scheduler.LoadStarted:
		again := ev.Kind == scheduler.LoadClaimed && ev.ID == 1 // more bytes for a claim
		if was != 0 && was != scheduler.LoadClaimed || again != (was == scheduler.LoadClaimed) && ev.Kind == scheduler.LoadClaimed {
			return fmt.Sprintf("invariant 12: %v of model %d on device %d after %v", ev.Kind, ev.Model, ev.Device, was)
		}
		a.present[where] = ev.Kind
	case scheduler.LoadFinished, scheduler.EvictStarted, scheduler.EvictFailed:
		a.present[where] = ev.Kind
	case scheduler.LoadFailed, scheduler.EvictFinished:
		delete(a.present, where)
	case scheduler.DeviceDown:
		return a.lose(ev.Device)
	}
	return ""
}

func (a *audit) lose(d scheduler.DeviceID) string {
	for where := range a.present {
		if where[0] == int(d) {
			delete(a.present, where)
		}
	}
	wrong := ""
	for seq, on := range a.devices {
		if on == d {
			wrong += a.endBatch(seq, false)
		}
	}
	return wrong
}
