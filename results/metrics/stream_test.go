package metrics

import (
	"math/rand/v2"

	"github.com/vramsim/vramsim/scheduler"
)

// A stream makes random events that a core could have made: several devices
// with slots, items picked in any order, failures, losses, cancellations,
// jobs, tenants, deadlines, dependencies.
type stream struct {
	*rand.Rand
	models  []scheduler.Model
	devices []scheduler.Device
	events  []scheduler.Event
	now     scheduler.Time
	items   []streamItem
	dev     []streamDevice
	tenants bool
	jobs    bool
}

type streamItem struct {
	model   scheduler.ModelID
	state   state
	ended   bool
	on      []int64
	running int64 // batch
}

type streamDevice struct {
	loaded, evicting map[scheduler.ModelID]int64
	loading          scheduler.ModelID
	loadSeq          int64
	claim            scheduler.ModelID
	claimed          scheduler.Bytes
	batches          []streamBatch
	reserved         scheduler.Bytes
}

type streamBatch struct {
	seq   int64
	model scheduler.ModelID
	items []int64
}

func newStream(seed uint64) *stream {
	s := &stream{Rand: rand.New(rand.NewPCG(seed, 7))}
	for i := range 1 + s.IntN(4) {
		m := scheduler.Model{Name: string(rune('a' + i)), Bytes: scheduler.Bytes(10 + s.IntN(50))}
		m.Batch.Memory = scheduler.Bytes(s.IntN(3))
		s.models = append(s.models, m)
	}
	for i := range 1 + s.IntN(3) {
		s.devices = append(s.devices, scheduler.Device{Name: string(rune('A' + i)), Budget: 100, Slots: 1 + s.IntN(2)})
		s.dev = append(s.dev, streamDevice{loaded: map[scheduler.ModelID]int64{}, evicting: map[scheduler.ModelID]int64{}, loading: scheduler.NoModel, claim: scheduler.NoModel})
	}
	s.tenants, s.jobs = s.IntN(2) == 0, s.IntN(2) == 0
	return s
}

func (s *stream) emit(ev scheduler.Event) int64 {
	ev.At = s.now
	s.events = append(s.events, ev)
	return int64(len(s.events)) - 1
}

func (s *stream) effect(ev scheduler.Event) int64 {
	ev.ID = int64(len(s.events))
	return s.emit(ev)
}

func (s *stream) arrive() {
	id := int64(len(s.items))
	it := streamItem{model: scheduler.ModelID(s.IntN(len(s.models))), state: waiting}
	var attrs []scheduler.Event
	if s.jobs && s.IntN(3) > 0 {
		attrs = append(attrs, scheduler.Event{Kind: scheduler.ItemJob, Value: id / 4})
	}
	if s.tenants && s.IntN(4) > 0 {
		attrs = append(attrs, scheduler.Event{Kind: scheduler.ItemTenant, Value: int64(s.IntN(3))})
	}
	if s.IntN(3) == 0 {
		attrs = append(attrs, scheduler.Event{Kind: scheduler.ItemDeadline, Value: int64(s.now) + s.Int64N(200)})
	}
	if id > 0 && s.IntN(4) == 0 {
		on := max(0, id-1-s.Int64N(6))
		attrs = append(attrs, scheduler.Event{Kind: scheduler.ItemDependsOn, Value: on})
		if !s.items[on].ended {
			it.on, it.state = []int64{on}, blocked
		}
	}
	s.emit(scheduler.Event{Kind: scheduler.ItemArrived, ID: id, Model: it.model, Device: scheduler.NoDevice, Value: scheduler.PackArrival(0, len(attrs))})
	for _, a := range attrs {
		a.ID, a.Model, a.Device = id, it.model, scheduler.NoDevice
		s.emit(a)
	}
	s.items = append(s.items, it)
}

// end settles what waits for an item.
func (s *stream) end(id int64, well bool) {
	s.items[id].ended = true
	for other := range s.items {
		it := &s.items[other]
		if it.ended || len(it.on) == 0 || it.on[0] != id {
			continue
		}
		if well {
			it.on, it.state = nil, waiting
			s.emit(scheduler.Event{Kind: scheduler.ItemReadied, ID: int64(other), Model: it.model, Device: scheduler.NoDevice})
			continue
		}
		s.emit(scheduler.Event{Kind: scheduler.DependantCancelled, ID: int64(other), Value: id, Model: it.model, Device: scheduler.NoDevice})
		s.end(int64(other), false)
	}
}

func (s *stream) waitingOf(m scheduler.ModelID) (ids []int64) {
	for id, it := range s.items {
		if !it.ended && it.state == waiting && (m < 0 || it.model == m) {
			ids = append(ids, int64(id))
		}
	}
	return ids
}

func (s *stream) run(d int) {
	dev := &s.dev[d]
	for m := range s.models {
		m := scheduler.ModelID(m)
		ids := s.waitingOf(m)
		_, here := dev.loaded[m]
		if _, leaving := dev.evicting[m]; !here || leaving || len(ids) == 0 || len(dev.batches) >= s.devices[d].Slots || s.IntN(3) == 0 {
			continue
		}
		if s.IntN(2) == 0 { // mostly, but not always, first in, first out
			s.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
		}
		n := 1 + s.IntN(min(4, len(ids)))
		need := s.models[m].Batch.Memory * scheduler.Bytes(n)
		if dev.reserved+need > s.devices[d].Budget && s.IntN(4) > 0 {
			continue
		}
		dev.reserved += need
		for _, id := range ids[:n] {
			s.items[id].state = running
			s.emit(scheduler.Event{Kind: scheduler.MemberDispatched, ID: id, Model: m, Device: scheduler.DeviceID(d)})
		}
		seq := s.effect(scheduler.Event{Kind: scheduler.BatchStarted, Model: m, Device: scheduler.DeviceID(d), Value: scheduler.PackBatch(n, 5)})
		dev.batches = append(dev.batches, streamBatch{seq, m, ids[:n]})
		return
	}
}

func (s *stream) stop(d int, how scheduler.Kind) {
	dev := &s.dev[d]
	i := s.IntN(len(dev.batches))
	b := dev.batches[i]
	dev.batches = append(dev.batches[:i:i], dev.batches[i+1:]...)
	dev.reserved -= s.models[b.model].Batch.Memory * scheduler.Bytes(len(b.items))
	if how != scheduler.DeviceDown {
		s.emit(scheduler.Event{Kind: how, ID: b.seq, Model: b.model, Device: scheduler.DeviceID(d)})
	}
	var done []int64
	for _, id := range b.items {
		switch it := &s.items[id]; {
		case it.running == -1: // cancelled
			it.ended = true
			done = append(done, ^id)
		case how == scheduler.BatchFinished:
			it.ended = true
			done = append(done, id)
		default:
			it.state = waiting
		}
	}
	for _, id := range done {
		if id < 0 {
			s.end(^id, false)
		} else {
			s.end(id, true)
		}
	}
}

func (s *stream) load(d int) {
	dev := &s.dev[d]
	m := scheduler.ModelID(s.IntN(len(s.models)))
	if _, here := dev.loaded[m]; here || dev.loading != scheduler.NoModel || dev.claim != scheduler.NoModel {
		return
	}
	free := max(0, s.devices[d].Budget-dev.reserved)
	if need := s.models[m].Bytes; need > free && s.IntN(5) > 0 {
		dev.claim, dev.claimed = m, free
		dev.reserved += free
		s.emit(scheduler.Event{Kind: scheduler.LoadClaimed, Value: int64(free), Model: m, Device: scheduler.DeviceID(d)})
		return
	}
	s.startLoad(d, m)
}

func (s *stream) startLoad(d int, m scheduler.ModelID) {
	dev := &s.dev[d]
	dev.reserved += s.models[m].Bytes - dev.claimed
	dev.claim, dev.claimed, dev.loading = scheduler.NoModel, 0, m
	dev.loadSeq = s.effect(scheduler.Event{Kind: scheduler.LoadStarted, Model: m, Device: scheduler.DeviceID(d), Value: 9})
}

func (s *stream) endLoad(d int) {
	dev := &s.dev[d]
	if dev.loading == scheduler.NoModel {
		return
	}
	kind := scheduler.LoadFinished
	if s.IntN(5) == 0 {
		kind = scheduler.LoadFailed
		dev.reserved -= s.models[dev.loading].Bytes
	} else {
		dev.loaded[dev.loading] = 1
	}
	s.emit(scheduler.Event{Kind: kind, ID: dev.loadSeq, Model: dev.loading, Device: scheduler.DeviceID(d)})
	dev.loading = scheduler.NoModel
}

func (s *stream) evict(d int) {
	dev := &s.dev[d]
	for m := range s.models {
		m := scheduler.ModelID(m)
		if _, leaving := dev.evicting[m]; leaving {
			seq := dev.evicting[m]
			delete(dev.evicting, m)
			if s.IntN(5) == 0 {
				s.emit(scheduler.Event{Kind: scheduler.EvictFailed, ID: seq, Model: m, Device: scheduler.DeviceID(d)})
				return
			}
			delete(dev.loaded, m)
			dev.reserved -= s.models[m].Bytes
			s.emit(scheduler.Event{Kind: scheduler.EvictFinished, ID: seq, Model: m, Device: scheduler.DeviceID(d)})
			if c := dev.claim; c != scheduler.NoModel {
				taken := max(0, min(s.models[m].Bytes, s.models[c].Bytes-dev.claimed, s.devices[d].Budget-dev.reserved))
				dev.claimed += taken
				dev.reserved += taken
				if dev.claimed == s.models[c].Bytes {
					s.startLoad(d, c)
				}
			}
			return
		}
		busy := false
		for _, b := range dev.batches {
			busy = busy || b.model == m
		}
		if _, here := dev.loaded[m]; here && !busy && s.IntN(2) == 0 {
			dev.evicting[m] = s.effect(scheduler.Event{Kind: scheduler.EvictStarted, Model: m, Device: scheduler.DeviceID(d), Value: int64(s.models[m].Bytes)})
			return
		}
	}
}

func (s *stream) lose(d int) {
	s.emit(scheduler.Event{Kind: scheduler.DeviceDown, Model: scheduler.NoModel, Device: scheduler.DeviceID(d)})
	for len(s.dev[d].batches) > 0 {
		s.stop(d, scheduler.DeviceDown)
	}
	s.dev[d] = streamDevice{loaded: map[scheduler.ModelID]int64{}, evicting: map[scheduler.ModelID]int64{}, loading: scheduler.NoModel, claim: scheduler.NoModel}
	s.emit(scheduler.Event{Kind: scheduler.DeviceUp, Model: scheduler.NoModel, Device: scheduler.DeviceID(d)})
}

func (s *stream) drop() {
	id := int64(s.IntN(len(s.items)))
	it := &s.items[id]
	if it.ended {
		s.emit(scheduler.Event{Kind: scheduler.ItemCancelled, ID: id, Model: it.model, Device: scheduler.NoDevice})
		return
	}
	if it.state == running {
		s.emit(scheduler.Event{Kind: scheduler.ItemCancelled, ID: id, Model: it.model, Device: scheduler.NoDevice})
		it.running = -1
		return
	}
	kinds := []scheduler.Kind{scheduler.ItemCancelled, scheduler.ItemRejected, scheduler.ItemFailed}
	s.emit(scheduler.Event{Kind: kinds[s.IntN(3)], ID: id, Model: it.model, Device: scheduler.NoDevice})
	s.end(id, false)
}

// next makes the events of one small thing; arrivals only if arriving.
func (s *stream) next(arriving bool) {
	if s.IntN(3) > 0 {
		s.now += scheduler.Time(s.IntN(20))
	}
	d := s.IntN(len(s.devices))
	switch r := s.IntN(100); {
	case r < 30 && arriving:
		s.arrive()
	case r < 50:
		s.run(d)
	case r < 75 && len(s.dev[d].batches) > 0:
		s.stop(d, scheduler.BatchFinished)
	case r < 78 && len(s.dev[d].batches) > 0:
		s.stop(d, scheduler.BatchFailed)
	case r < 86:
		s.load(d)
	case r < 92:
		s.endLoad(d)
	case r < 96:
		s.evict(d)
	case r < 97 && s.IntN(5) == 0:
		s.lose(d)
	case r < 98 && len(s.items) > 0:
		s.drop()
	case r < 99:
		s.emit(scheduler.Event{Kind: scheduler.Note, ID: scheduler.ReasonOverBudget, Model: scheduler.ModelID(s.IntN(len(s.models)+1) - 1), Device: 0})
	default:
		s.emit(scheduler.Event{Kind: scheduler.TimerSet, Value: int64(s.now) + 1, Model: scheduler.NoModel, Device: scheduler.NoDevice})
	}
}

// drain ends whatever still can end.
func (s *stream) drain() {
	for range 3000 {
		s.next(false)
	}
}
