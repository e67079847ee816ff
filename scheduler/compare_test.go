package scheduler_test

import (
	"fmt"
	"slices"

	"github.com/vramsim/vramsim/scheduler"
)

// differ collects the first difference between core and model.
type differ struct{ first string }

func (d *differ) same(core, model any, what string, args ...any) {
	if d.first == "" && core != model {
		d.first = fmt.Sprintf("%s: core %v, model %v", fmt.Sprintf(what, args...), core, model)
	}
}

// compare returns the first difference between what a view shows and a model.
func compare(v *scheduler.View, m *model) string {
	var d differ
	d.same(v.Now(), m.now, "now")
	d.same(v.InSystem(), len(m.items), "items in the system")
	d.same(v.ArrivedNow(), m.arrivedNow, "arrived now")
	d.same(v.TotalReady(), len(m.inOrder("ready")), "ready")
	d.same(v.EvictionOrdinal(), m.evictions, "evictions")
	timer, pending := v.Timer()
	d.same(timer, m.timer, "timer")
	d.same(pending, m.timer != scheduler.Never, "timer pending")
	compareItems(&d, v, m)
	for id := range scheduler.ModelID(v.Models()) {
		compareQueue(&d, v, m, id)
	}
	for dev := range scheduler.DeviceID(v.Devices()) {
		compareDevice(&d, v, m, dev)
		for id := range scheduler.ModelID(v.Models()) {
			compareResidence(&d, v, m, dev, id)
		}
	}
	return d.first
}

func compareItems(d *differ, v *scheduler.View, m *model) {
	for id := range scheduler.ItemID(m.arrivals + 3) {
		got, ok := v.ItemByID(id)
		it := m.items[id]
		d.same(ok, it != nil, "item %d in the system", id)
		if ok && it != nil {
			d.same(got, m.view(it), "item %d", id)
			if it.job >= 0 {
				job, known := v.Job(it.job)
				d.same(known, true, "job %d known", it.job)
				d.same(job, m.jobs[it.job], "job %d", it.job)
			}
		}
	}
	_, known := v.Job(scheduler.JobID(m.arrivals + 1))
	d.same(known, false, "a job of no item known")
}

func compareQueue(d *differ, v *scheduler.View, m *model, id scheduler.ModelID) {
	queue := m.queue(id)
	d.same(v.Ready(id), len(queue), "ready items of model %d", id)
	var order, want []scheduler.ItemID
	v.Each(id, func(it scheduler.Item) bool { order = append(order, it.ID); return true })
	work, oldest := int64(0), (*modelItem)(nil)
	for _, it := range queue {
		want = append(want, it.id)
		work += it.work
		if oldest == nil || it.seq < oldest.seq {
			oldest = it
		}
	}
	d.same(fmt.Sprint(order), fmt.Sprint(want), "queue of model %d", id)
	d.same(v.Work(id), work, "work of model %d", id)
	head, ok := v.Head(id)
	d.same(ok, oldest != nil, "head of model %d", id)
	if oldest == nil {
		d.same(v.Oldest(id), scheduler.Never, "oldest of empty model %d", id)
		d.same(v.OldestSeq(id), int64(scheduler.Never), "oldest of empty model %d", id)
		d.same(v.HeadSeq(id), int64(scheduler.Never), "head of empty model %d", id)
		d.same(v.WorkEstimate(id), scheduler.Time(0), "work estimate of empty model %d", id)
	} else {
		d.same(head, m.view(queue[0]), "head of model %d", id)
		d.same(v.HeadSeq(id), queue[0].seq, "head of model %d", id)
		d.same(v.Oldest(id), oldest.readyAt, "oldest of model %d", id)
		d.same(v.OldestSeq(id), oldest.seq, "oldest of model %d", id)
	}
	blocked, near := 0, 0
	for _, it := range m.inOrder("blocked") {
		if it.model == id {
			blocked++
			if len(it.waitsFor)+it.bereft == 1 {
				near++
			}
		}
	}
	d.same(v.Blocked(id), blocked, "blocked items of model %d", id)
	d.same(v.Near(id), near, "items of model %d one dependency away", id)
	d.same(v.Arrivals(id), m.arrivedOf[id], "arrivals of model %d", id)
	gap := scheduler.Time(0)
	if n := m.arrivedOf[id]; n > 1 {
		gap = (m.lastOf[id] - m.firstOf[id]) / scheduler.Time(n-1)
	}
	d.same(v.MeanGap(id), gap, "mean gap of model %d", id)
	d.same(v.LoadFailures(id), m.loadFailures[id], "load failures of model %d", id)
	next := scheduler.NoModel
	for other := id; int(other) < len(m.cfg.Models) && next == scheduler.NoModel; other++ {
		if len(m.queue(other)) > 0 {
			next = other
		}
	}
	d.same(v.NextReady(id), next, "next ready model from %d", id)
}

func compareDevice(d *differ, v *scheduler.View, m *model, id scheduler.DeviceID) {
	dev := m.devices[id]
	d.same(v.Up(id), dev.up, "device %d up", id)
	d.same(v.Reserved(id), m.reserved(id), "bytes reserved on device %d", id)
	d.same(v.Headroom(id), m.headroom(id), "headroom of device %d", id)
	d.same(v.Running(id), len(dev.batches), "batches on device %d", id)
	free := 0
	if dev.up {
		free = v.Slots(id) - len(dev.batches)
	}
	d.same(v.FreeSlots(id), free, "free slots of device %d", id)
	d.same(v.LastModel(id), dev.last, "last model of device %d", id)
	d.same(v.LastSince(id), dev.lastSince, "last model of device %d since", id)
	d.same(v.Batches(id), dev.started, "batches begun on device %d", id)
	for i := range min(v.Running(id), len(dev.batches)) {
		b := dev.batches[i]
		d.same(v.RunningBatch(id, i), scheduler.Batch{Model: b.model, N: len(b.members), Start: b.start, End: b.start + b.estimate}, "batch %d of device %d", i, id)
	}
	var residents []scheduler.ModelID
	link, end := scheduler.NoModel, scheduler.Time(0)
	for other, r := range dev.models {
		residents = append(residents, other)
		switch r.state {
		case scheduler.Claimed:
			link, end = other, scheduler.Never
		case scheduler.Loading:
			link, end = other, r.since+r.estimate
		}
	}
	slices.Sort(residents)
	d.same(fmt.Sprint(v.Residents(id)), fmt.Sprint(residents), "models of device %d", id)
	gotLink, gotEnd, busy := v.Link(id)
	d.same(fmt.Sprint(gotLink, gotEnd, busy), fmt.Sprint(link, end, link != scheduler.NoModel), "link of device %d", id)
}

func compareResidence(d *differ, v *scheduler.View, m *model, dev scheduler.DeviceID, id scheduler.ModelID) {
	r := m.res(dev, id)
	where := fmt.Sprintf("model %d on device %d", id, dev)
	d.same(v.State(dev, id), r.state, "state of %s", where)
	d.same(v.Busy(dev, id), m.busy(dev, id), "busy %s", where)
	d.same(v.Evictable(dev, id), m.evictable(dev, id), "evictable %s", where)
	d.same(v.LoadedAt(dev, id), r.loadedAt, "loading time of %s", where)
	d.same(v.LastUsed(dev, id), r.lastUsed, "last use of %s", where)
	d.same(v.UseOrder(dev, id), r.useOrder, "order of use of %s", where)
	d.same(v.BatchesSinceLoad(dev, id), r.batches, "batches of %s", where)
	d.same(v.HeldUntil(dev, id), r.heldUntil, "hold of %s", where)
	d.same(v.Fits(dev, id), m.fits(dev, id), "largest batch of %s", where)
	victims, legal := m.plan(dev, id)
	d.same(v.Loadable(dev, id), legal, "loadable %s", where)
	got, ok := v.Victims(nil, dev, id)
	d.same(ok, legal, "victims for %s offered", where)
	if ok && legal {
		d.same(fmt.Sprint(got), fmt.Sprint(victims), "victims for %s", where)
	}
	estimate := m.loadEstimate(id)
	if r.state == scheduler.Resident {
		estimate = 0
	}
	d.same(v.LoadEstimate(dev, id), estimate, "load estimate of %s", where)
}

// counts compares the conservation law's terms.
func counts(core *scheduler.Core, m *model) string {
	var d differ
	d.same(core.Counts(), scheduler.Counts{Arrived: m.arrivals, Blocked: int64(len(m.inOrder("blocked"))), Ready: int64(len(m.inOrder("ready"))),
		Running: int64(len(m.inOrder("running"))), Done: m.done, Failed: m.failed, Rejected: m.rejected, Cancelled: m.cancelled}, "counts")
	return d.first
}

// stuck returns the items that no finishing of others can release.
func (m *model) stuck() []scheduler.ItemID {
	resolved := map[scheduler.ItemID]bool{}
	for changed := true; changed; {
		changed = false
		for id, it := range m.items {
			open := 0
			for on := range it.waitsFor {
				if !resolved[on] {
					open++
				}
			}
			if open == 0 && !resolved[id] {
				resolved[id], changed = true, true
			}
		}
	}
	var left []scheduler.ItemID
	for id := range m.items {
		if !resolved[id] {
			left = append(left, id)
		}
	}
	slices.Sort(left)
	return left
}

// reaches reports whether from waits for to, over any number of dependencies.
func (m *model) reaches(from, to scheduler.ItemID) bool {
	seen := map[scheduler.ItemID]bool{}
	next := []scheduler.ItemID{from}
	for len(next) > 0 {
		id := next[0]
		next = next[1:]
		if id == to {
			return true
		}
		if it := m.items[id]; it != nil && !seen[id] {
			seen[id] = true
			for on := range it.waitsFor {
				next = append(next, on)
			}
		}
	}
	return false
}
