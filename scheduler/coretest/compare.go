package coretest

import (
	"fmt"
	"slices"

	"github.com/vramsim/vramsim/scheduler"
)

// differ collects the first difference between core and model.
type differ struct{ first string }

// same holds a value that the core shows against the model's; a and b are the
// ids that what speaks of.
func same[T comparable](d *differ, core, model T, what string, a, b int) {
	if core != model && d.first == "" {
		d.first = fmt.Sprintf("%s (%d, %d): core %v, model %v", what, a, b, core, model)
	}
}

func sameList[T comparable](d *differ, core, model []T, what string, a, b int) {
	if !slices.Equal(core, model) && d.first == "" {
		d.first = fmt.Sprintf("%s (%d, %d): core %v, model %v", what, a, b, core, model)
	}
}

// compare returns the first difference between what a view shows and a model.
func compare(v *scheduler.View, m *model) string {
	var d differ
	queues := make([][]*modelItem, v.Models())
	ready := 0
	for id := range queues {
		queues[id] = m.queue(scheduler.ModelID(id))
		ready += len(queues[id])
	}
	same(&d, v.Now(), m.now, "now", 0, 0)
	same(&d, v.InSystem(), len(m.items), "items in the system", 0, 0)
	same(&d, v.ArrivedNow(), m.arrivedNow, "arrived now", 0, 0)
	same(&d, v.TotalReady(), ready, "ready", 0, 0)
	same(&d, v.EvictionOrdinal(), m.evictions, "evictions", 0, 0)
	timer, pending := v.Timer()
	same(&d, timer, m.timer, "timer", 0, 0)
	same(&d, pending, m.timer != scheduler.Never, "timer pending", 0, 0)
	compareItems(&d, v, m)
	for id := range scheduler.ModelID(v.Models()) {
		compareQueue(&d, v, m, id, queues)
	}
	for dev := range scheduler.DeviceID(v.Devices()) {
		compareDevice(&d, v, m, dev)
		for id := range scheduler.ModelID(v.Models()) {
			compareResidence(&d, v, m, dev, id, len(queues[id]))
		}
	}
	return d.first
}

func compareItems(d *differ, v *scheduler.View, m *model) {
	for id := range scheduler.ItemID(m.arrivals + 3) {
		got, ok := v.ItemByID(id)
		it := m.items[id]
		same(d, ok, it != nil, "item in the system", int(id), 0)
		if ok && it != nil {
			same(d, got, m.view(it), "item", int(id), 0)
			if it.job >= 0 {
				job, known := v.Job(it.job)
				same(d, known, true, "job known", int(it.job), 0)
				same(d, job, m.jobs[it.job], "job", int(it.job), 0)
			}
		}
	}
	_, known := v.Job(scheduler.JobID(m.arrivals + 1))
	same(d, known, false, "a job of no item known", 0, 0)
}

func compareQueue(d *differ, v *scheduler.View, m *model, id scheduler.ModelID, queues [][]*modelItem) {
	queue, at := queues[id], int(id)
	same(d, v.Ready(id), len(queue), "ready items of model", at, 0)
	i, work, waited, oldest := 0, int64(0), scheduler.Time(0), (*modelItem)(nil)
	v.Each(id, func(it scheduler.Item) bool {
		if i >= len(queue) || it.ID != queue[i].id {
			same(d, it.ID, -1, "place in the queue of model, which is not the model's", i, at)
			return false
		}
		i++
		return true
	})
	same(d, i, len(queue), "items listed in the queue of model", at, 0)
	for _, it := range queue {
		work += it.work
		waited += m.now - it.readyAt
		if oldest == nil || it.seq < oldest.seq {
			oldest = it
		}
	}
	same(d, v.Work(id), work, "work of model", at, 0)
	same(d, v.Waited(id), waited, "wait of all items of model", at, 0)
	head, ok := v.Head(id)
	same(d, ok, oldest != nil, "head of model", at, 0)
	if oldest == nil {
		same(d, v.Oldest(id), scheduler.Never, "oldest of empty model", at, 0)
		same(d, v.OldestSeq(id), int64(scheduler.Never), "oldest of empty model", at, 0)
		same(d, v.HeadSeq(id), int64(scheduler.Never), "head of empty model", at, 0)
		same(d, v.WorkEstimate(id), scheduler.Time(0), "work estimate of empty model", at, 0)
	} else {
		same(d, head, m.view(queue[0]), "head of model", at, 0)
		same(d, v.HeadSeq(id), queue[0].seq, "head of model", at, 0)
		same(d, v.Oldest(id), oldest.readyAt, "oldest of model", at, 0)
		same(d, v.OldestSeq(id), oldest.seq, "oldest of model", at, 0)
	}
	compareBlocked(d, v, m, id)
	next := scheduler.NoModel
	for other := id; int(other) < len(queues) && next == scheduler.NoModel; other++ {
		if len(queues[other]) > 0 {
			next = other
		}
	}
	same(d, v.NextReady(id), next, "next ready model from", at, 0)
}

func compareBlocked(d *differ, v *scheduler.View, m *model, id scheduler.ModelID) {
	blocked, near, at := 0, 0, int(id)
	for _, it := range m.items {
		if it.model == id && it.state == "blocked" {
			blocked++
			if len(it.waitsFor)+it.bereft == 1 {
				near++
			}
		}
	}
	same(d, v.Blocked(id), blocked, "blocked items of model", at, 0)
	same(d, v.Near(id), near, "items one dependency away of model", at, 0)
	same(d, v.Arrivals(id), m.arrivedOf[id], "arrivals of model", at, 0)
	gap := scheduler.Time(0)
	if n := m.arrivedOf[id]; n > 1 {
		gap = (m.lastOf[id] - m.firstOf[id]) / scheduler.Time(n-1)
	}
	same(d, v.MeanGap(id), gap, "mean gap of model", at, 0)
	same(d, v.LoadFailures(id), m.loadFailures[id], "load failures of model", at, 0)
}

func compareDevice(d *differ, v *scheduler.View, m *model, id scheduler.DeviceID) {
	dev, at := m.devices[id], int(id)
	same(d, v.Up(id), dev.up, "device up", at, 0)
	same(d, v.Reserved(id), m.reserved(id), "bytes reserved on device", at, 0)
	same(d, v.Headroom(id), m.headroom(id), "headroom of device", at, 0)
	same(d, v.Running(id), len(dev.batches), "batches on device", at, 0)
	free := 0
	if dev.up {
		free = v.Slots(id) - len(dev.batches)
	}
	same(d, v.FreeSlots(id), free, "free slots of device", at, 0)
	same(d, v.LastModel(id), dev.last, "last model of device", at, 0)
	same(d, v.LastSince(id), dev.lastSince, "since when the last model of device", at, 0)
	same(d, v.Batches(id), dev.started, "batches begun on device", at, 0)
	for i := range min(v.Running(id), len(dev.batches)) {
		b := dev.batches[i]
		same(d, v.RunningBatch(id, i), scheduler.Batch{Model: b.model, N: len(b.members), Start: b.start, End: b.start + b.estimate}, "batch, of device", i, at)
	}
	var residents []scheduler.ModelID
	link, end := scheduler.NoModel, scheduler.Time(0)
	for other := range scheduler.ModelID(len(m.cfg.Models)) {
		r := dev.models[other]
		if r == nil {
			continue
		}
		residents = append(residents, other)
		switch r.state {
		case scheduler.Claimed:
			link, end = other, scheduler.Never
		case scheduler.Loading:
			link, end = other, r.since+r.estimate
		}
	}
	sameList(d, v.Residents(id), residents, "models of device", at, 0)
	gotLink, gotEnd, busy := v.Link(id)
	same(d, busy, link != scheduler.NoModel, "link of device taken", at, 0)
	if busy {
		same(d, gotLink, link, "link of device", at, 0)
		same(d, gotEnd, end, "end of the load of device", at, 0)
	}
}

func compareResidence(d *differ, v *scheduler.View, m *model, dev scheduler.DeviceID, id scheduler.ModelID, ready int) {
	r, a, b := m.res(dev, id), int(id), int(dev)
	same(d, v.State(dev, id), r.state, "state of model on device", a, b)
	same(d, v.Busy(dev, id), m.busy(dev, id), "busy model on device", a, b)
	same(d, v.Evictable(dev, id), m.evictable(dev, id), "evictable model on device", a, b)
	same(d, v.LoadedAt(dev, id), r.loadedAt, "loading time of model on device", a, b)
	same(d, v.LastUsed(dev, id), r.lastUsed, "last use of model on device", a, b)
	same(d, v.UseOrder(dev, id), r.useOrder, "order of use of model on device", a, b)
	same(d, v.BatchesSinceLoad(dev, id), r.batches, "batches of model on device", a, b)
	same(d, v.HeldUntil(dev, id), r.heldUntil, "hold of model on device", a, b)
	same(d, v.Fits(dev, id), m.fits(dev, id, ready), "largest batch of model on device", a, b)
	got, ok := v.Victims(nil, dev, id)
	victims, legal := m.plan(dev, id)
	same(d, ok, legal, "victims offered for model on device", a, b)
	if ok && legal {
		sameList(d, got, victims, "victims for model on device", a, b)
	}
	estimate := m.loadEstimate(id)
	if r.state == scheduler.Resident {
		estimate = 0
	}
	same(d, v.LoadEstimate(dev, id), estimate, "load estimate of model on device", a, b)
	same(d, v.ReloadEstimate(id), m.loadEstimate(id), "reload estimate of model", a, 0)
}

// counts compares the conservation law's terms.
func counts(core *scheduler.Core, m *model) string {
	want := scheduler.Counts{Arrived: m.arrivals, Done: m.done, Failed: m.failed, Rejected: m.rejected, Cancelled: m.cancelled}
	for _, it := range m.items {
		switch it.state {
		case "blocked":
			want.Blocked++
		case "ready":
			want.Ready++
		case "running":
			want.Running++
		}
	}
	var d differ
	same(&d, core.Counts(), want, "counts", 0, 0)
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
