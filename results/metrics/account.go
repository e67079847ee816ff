package metrics

import "github.com/vramsim/vramsim/scheduler"

// tally is a sum that can be taken as it was when the last item ended.
type tally struct {
	sum   int64
	tail  int64 // part of sum since the end of item number epoch
	epoch int64
}

func (t *tally) add(k, ended int64) {
	if t.epoch != ended {
		t.epoch, t.tail = ended, 0
	}
	t.sum += k
	t.tail += k
}

// at returns the sum, without what came after the last of ended items if the
// run drained.
func (t tally) at(ended int64, drained bool) int64 {
	if drained && t.epoch == ended {
		return t.sum - t.tail
	}
	return t.sum
}

// peak is a maximum that can be taken as it was when the last item ended.
type peak struct {
	most  int64
	tail  int64
	epoch int64
}

func (p *peak) raise(v, ended int64) {
	if p.epoch != ended {
		p.most = max(p.most, p.tail)
		p.epoch, p.tail = ended, 0
	}
	p.tail = max(p.tail, v)
}

func (p peak) at(ended int64, drained bool) int64 {
	if drained && p.epoch == ended {
		return p.most
	}
	return max(p.most, p.tail)
}

// share is time spent within the window, whose end may be unknown yet: what
// lies after the last arrival so far is kept apart.
type share struct {
	inside scheduler.Time
	after  scheduler.Time // after the last arrival
	until  scheduler.Time // end of what is in after
	whole  tally          // without a window
}

// spend adds the time from one event to the present one.
func (f *Fold) spend(s *share, from scheduler.Time) {
	to := f.now
	if !f.windowed {
		f.spendWhole(s, from)
	}
	if from = max(from, f.cfg.Warmup); from >= to {
		return
	}
	if end := f.cfg.WindowEnd; end > 0 {
		s.inside += max(0, min(to, end)-from)
		return
	}
	last := f.lastArrival
	if s.until <= last {
		s.inside += s.after
		s.after = 0
	}
	switch s.until = to; {
	case last <= from:
		s.after += to - from
	case last >= to:
		s.inside += to - from
	default:
		s.inside += last - from
		s.after += to - last
	}
}

// spendWhole adds to what counts while there is no window.
func (f *Fold) spendWhole(s *share, from scheduler.Time) {
	end := f.cfg.WindowEnd
	if end <= 0 {
		end = f.lastArrival
	}
	f.windowed = end > f.cfg.Warmup && f.now > f.cfg.Warmup
	s.whole.add(int64(f.now-from), f.ended)
	s.whole.tail -= int64(max(0, f.lastEnd-from))
}

// spent returns the time within the window, once nothing is open any more.
func (f *Fold) spent(s share) scheduler.Time {
	if f.cfg.WindowEnd <= 0 && s.until <= f.lastArrival {
		return s.inside + s.after
	}
	return s.inside
}

// seat is what one model does on one device.
type seat struct {
	running  int32 // batches
	loaded   bool
	since    scheduler.Time // when running left 0
	reserved scheduler.Bytes
}

// load is a load in flight.
type load struct {
	model   scheduler.ModelID // NoModel: none
	since   scheduler.Time
	counted bool
}

type batch struct {
	seq     int64
	head    int64 // first member
	start   scheduler.Time
	model   scheduler.ModelID
	members int32
}

type device struct {
	last     scheduler.ModelID // of the previous batch
	running  int32
	since    scheduler.Time // when running or loading last changed
	load     load
	batches  []batch // ascending in seq
	busy     share
	loading  share // and nothing ran
	reserved scheduler.Bytes
	foreign  scheduler.Bytes
	claim    scheduler.ModelID // NoModel: none
	claimed  scheduler.Bytes
	over     bool
	peak     peak
}

// model is what is kept of one model, over all devices.
type model struct {
	ranks     ranks
	bypass    int64
	switches  tally
	loads     tally
	evictions tally
	loadTime  tally
	over      tally
	busy      share
	loading   share
	peak      peak
}

// settle accounts for the time since the device last changed.
func (f *Fold) settle(d *device) {
	if f.now > d.since {
		switch {
		case d.running > 0:
			f.spend(&d.busy, d.since)
		case d.load.model != scheduler.NoModel:
			f.spend(&d.loading, d.since)
			f.spend(&f.models[d.load.model].loading, d.since)
		}
	}
	d.since = f.now
}

func (f *Fold) seat(d scheduler.DeviceID, m scheduler.ModelID) *seat {
	return &f.seats[int(d)*len(f.models)+int(m)]
}

// reserve changes what m holds on d.
func (f *Fold) reserve(ev *scheduler.Event, bytes scheduler.Bytes) {
	d, s := &f.devices[ev.Device], f.seat(ev.Device, ev.Model)
	d.reserved += bytes
	s.reserved += bytes
	if f.recorder != nil {
		f.recorder.reserve(ev.Device, f.now, d.reserved)
	}
	if bytes <= 0 {
		d.over = d.over && d.reserved > f.cfg.Devices[ev.Device].Budget
		return
	}
	d.peak.raise(int64(d.reserved), f.ended)
	f.models[ev.Model].peak.raise(int64(s.reserved), f.ended)
	if budget := f.cfg.Devices[ev.Device].Budget; budget > 0 && d.reserved > budget && !d.over {
		d.over = true
		f.models[ev.Model].over.add(1, f.ended)
	}
}

// startBatch takes a BatchStarted event, whose members were dispatched before.
func (f *Fold) startBatch(ev *scheduler.Event, d *device, s *seat) error {
	if f.staged < 0 || int(f.stagedN) != ev.Members() {
		return f.fault(ev, "the members before it are not its own")
	}
	f.settle(d)
	d.running++
	if s.running++; s.running == 1 {
		s.since = f.now
		f.enter(ev, Running)
	}
	if d.last != ev.Model {
		if d.last != scheduler.NoModel && f.now >= f.cfg.Warmup {
			f.models[ev.Model].switches.add(1, f.ended)
		}
		d.last = ev.Model
	}
	d.batches = append(d.batches, batch{})
	b := &d.batches[len(d.batches)-1]
	b.seq, b.head, b.start, b.model, b.members = ev.ID, f.staged, f.now, ev.Model, f.stagedN
	if memory := f.cfg.Models[ev.Model].Batch.Memory; memory > 0 {
		f.reserve(ev, memory*scheduler.Bytes(f.stagedN))
	}
	f.staged, f.stagedN = -1, 0
	return nil
}

// endBatch takes a BatchFinished or BatchFailed event.
func (f *Fold) endBatch(ev *scheduler.Event, d *device, s *seat) error {
	for i := range d.batches {
		if d.batches[i].seq != ev.ID {
			continue
		}
		b := d.batches[i]
		if b.model != ev.Model {
			return f.fault(ev, "the batch is of another model")
		}
		if last := len(d.batches) - 1; i < last {
			d.batches = append(d.batches[:i], d.batches[i+1:]...)
		} else {
			d.batches = d.batches[:last]
		}
		f.stopBatch(ev, d, s, &b, ev.Kind == scheduler.BatchFinished)
		if s.running == 0 {
			f.enter(ev, Resident)
		}
		return nil
	}
	return f.fault(ev, "no such batch is running")
}

func (f *Fold) stopBatch(ev *scheduler.Event, d *device, s *seat, b *batch, finished bool) {
	f.settle(d)
	d.running--
	if s.running--; s.running == 0 {
		f.spend(&f.models[b.model].busy, s.since)
	}
	if memory := f.cfg.Models[b.model].Batch.Memory; memory > 0 {
		f.reserve(ev, -memory*scheduler.Bytes(b.members))
	}
	if !finished && f.stretch.model != scheduler.NoModel {
		f.endStretch()
	}
	for id := b.head; id >= 0; {
		it := f.items.at(id)
		next := it.next
		switch {
		case it.cancelled:
			f.endItem(id, it, f.cellOf(it), cancelled)
		case finished:
			f.finish(id, it, b.start)
		default:
			it.state = waiting
			f.ranks.waiting.add(it.rank.all)
			f.models[it.model].ranks.waiting.add(it.rank.own)
		}
		id = next
	}
}

func (f *Fold) claim(ev *scheduler.Event) {
	d := &f.devices[ev.Device]
	if d.claim != ev.Model {
		d.claim, d.claimed = ev.Model, 0
	}
	d.claimed += scheduler.Bytes(ev.Value)
	f.reserve(ev, scheduler.Bytes(ev.Value))
}

func (f *Fold) startLoad(ev *scheduler.Event, d *device) error {
	if d.load.model != scheduler.NoModel {
		return f.fault(ev, "the link is taken (invariant 5)")
	}
	f.settle(d)
	d.load = load{model: ev.Model, since: f.now, counted: f.now >= f.cfg.Warmup}
	need := f.cfg.Models[ev.Model].Bytes
	if d.claim == ev.Model {
		need -= d.claimed
		d.claim, d.claimed = scheduler.NoModel, 0
	}
	if need != 0 {
		f.reserve(ev, need)
	}
	if d.load.counted {
		f.models[ev.Model].loads.add(1, f.ended)
	}
	f.enter(ev, Loading)
	return nil
}

func (f *Fold) endLoad(ev *scheduler.Event, d *device, s *seat) error {
	if d.load.model != ev.Model {
		return f.fault(ev, "no such load is in flight")
	}
	f.stopLoad(d)
	if ev.Kind == scheduler.LoadFinished {
		s.loaded = true
		f.enter(ev, Resident)
		return nil
	}
	f.reserve(ev, -f.cfg.Models[ev.Model].Bytes)
	f.leave(ev)
	return nil
}

// stopLoad accounts for the load in flight on d.
func (f *Fold) stopLoad(d *device) {
	f.settle(d)
	if d.load.counted {
		f.loadTime(&f.models[d.load.model].loadTime, d.load.since)
	}
	d.load = load{model: scheduler.NoModel}
}

// loadTime adds the time since a load began, of which the part before the
// last item ended counts in any case.
func (f *Fold) loadTime(t *tally, since scheduler.Time) {
	t.add(int64(f.now-since), f.ended)
	t.tail -= max(0, int64(f.lastEnd-since))
}

func (f *Fold) endEvict(ev *scheduler.Event, d *device, s *seat) error {
	if !s.loaded {
		return f.fault(ev, "the model is not resident")
	}
	if ev.Kind == scheduler.EvictFailed {
		f.enter(ev, Resident)
		return nil
	}
	s.loaded = false
	bytes := f.cfg.Models[ev.Model].Bytes
	f.reserve(ev, -bytes)
	f.leave(ev)
	if m := d.claim; m != scheduler.NoModel {
		free := f.cfg.Devices[ev.Device].Budget - d.foreign - d.reserved
		taken := max(0, min(bytes, f.cfg.Models[m].Bytes-d.claimed, free))
		d.claimed += taken
		f.reserve(&scheduler.Event{Model: m, Device: ev.Device}, taken)
	}
	return nil
}

func (f *Fold) loseDevice(ev *scheduler.Event) {
	d := &f.devices[ev.Device]
	for len(d.batches) > 0 {
		b := d.batches[0]
		d.batches = append(d.batches[:0], d.batches[1:]...)
		f.stopBatch(&scheduler.Event{Model: b.model, Device: ev.Device}, d, f.seat(ev.Device, b.model), &b, false)
	}
	if d.load.model != scheduler.NoModel {
		f.stopLoad(d)
	}
	f.settle(d)
	for m := range f.models {
		gone := scheduler.Event{Model: scheduler.ModelID(m), Device: ev.Device}
		s := f.seat(ev.Device, gone.Model)
		s.loaded = false
		f.reserve(&gone, -s.reserved)
		f.leave(&gone)
	}
	d.claim, d.claimed = scheduler.NoModel, 0
}

func (f *Fold) enter(ev *scheduler.Event, s State) {
	if f.recorder != nil {
		f.recorder.enter(ev.Device, ev.Model, s, f.now)
	}
}

func (f *Fold) leave(ev *scheduler.Event) {
	if f.recorder != nil {
		f.recorder.leave(ev.Device, ev.Model, f.now)
	}
}
