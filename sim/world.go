package sim

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/vramsim/vramsim/scheduler"
)

// Config describes a simulated world.
type Config struct {
	Models    []Cost // in catalogue order
	Source    scheduler.Source
	Seed      uint64
	Replicate int
	// Horizon, if positive, ends the run: nothing after it happens.
	Horizon scheduler.Time
	Faults  Faults
	// Recording, if not nil, takes the place of all of the above: the world is
	// that of a recorded run, cut where its log ends.
	Recording *Recording
}

// World is the simulated GPU machine: a scheduler.World in virtual time. It is
// deterministic and single-threaded.
type World struct {
	cfg     Config
	draws   draws
	future  future
	fixed   []fixedTimes
	timers  [2]scheduler.Time
	timerAt scheduler.Time // the earlier of them
	facts   []scheduler.Event
	started []int64
	evicts  []int64 // like started: ordinals of each model's loads and evictions
	devices devices

	reactive  scheduler.Reactive
	recorded  scheduler.Recorded
	arrivals  []scheduler.Event // of the next instant; empty when the source ended or must be asked when due
	arrivalAt scheduler.Time    // Never when nothing is known to come
	drained   bool

	keeps    bool                                // something of items: one of the maps may hold some
	work     map[scheduler.ItemID]int64          // other than ordinary
	service  map[scheduler.ItemID]scheduler.Time // recorded
	attempts map[scheduler.ItemID]int            // of items whose batch failed
	members  []scheduler.ItemID                  // of the batch being put together
	running  map[int64][]scheduler.ItemID        // kept only where faults can happen
	faults   faultState

	timersSet [2]int // of a recorded run: how often each was
}

// New returns a world at time 0.
func New(cfg Config) *World {
	if cfg.Recording != nil {
		cfg = Config{Recording: cfg.Recording, Source: cfg.Recording.source()}
	}
	w := &World{cfg: cfg, draws: newDraws(cfg.Seed, cfg.Replicate, cfg.Models),
		timers:  [2]scheduler.Time{scheduler.Never, scheduler.Never},
		timerAt: scheduler.Never,
		started: make([]int64, len(cfg.Models)),
		evicts:  make([]int64, len(cfg.Models)),
		work:    map[scheduler.ItemID]int64{}, attempts: map[scheduler.ItemID]int{}}
	w.reactive, _ = cfg.Source.(scheduler.Reactive)
	if w.recorded, _ = cfg.Source.(scheduler.Recorded); w.recorded != nil {
		w.service = map[scheduler.ItemID]scheduler.Time{}
	}
	for i := range cfg.Models {
		w.fixed = append(w.fixed, constants(&cfg.Models[i]))
		w.devices.expect(&cfg.Models[i])
	}
	w.faults.init(cfg.Faults)
	if cfg.Recording != nil {
		w.faults.future = slices.Clone(cfg.Recording.outside)
		inOrder(w.faults.future)
	}
	if cfg.Faults.active() {
		w.running = map[int64][]scheduler.ItemID{}
	}
	return w
}

// Append shows the events to a source that reacts to them, and forgets what
// is kept of items that will not start any more.
func (w *World) Append(events []scheduler.Event) error {
	if w.keeps {
		for i := range events {
			switch events[i].Kind {
			case scheduler.ItemCancelled, scheduler.ItemRejected, scheduler.DependantCancelled, scheduler.ItemFailed:
				w.forget(events[i].Item())
			}
		}
	}
	if w.reactive == nil {
		return nil
	}
	return w.reactive.Append(events)
}

// Next returns the facts of the next instant at which anything happens.
func (w *World) Next() ([]scheduler.Event, error) {
	if len(w.arrivals) == 0 && !w.drained {
		if err := w.peek(); err != nil {
			return nil, err
		}
	}
	at, ends := min(w.timerAt, w.arrivalAt), false
	if len(w.future) > 0 && w.future[0].At <= at {
		at, ends = w.future[0].At, true
	}
	faults := w.faults.pending()
	if faults {
		at = min(at, w.faults.nextAt())
	}
	switch {
	case at == scheduler.Never:
		return nil, w.end()
	case w.cfg.Horizon > 0 && at > w.cfg.Horizon:
		return nil, scheduler.ErrHorizon
	case !ends && !faults && w.timerAt != at && w.reactive == nil: // only arrivals
		facts := w.arrivals
		w.arrivals = nil
		return facts, nil
	}
	w.facts = w.facts[:0]
	for len(w.future) > 0 && w.future[0].At == at {
		w.complete()
	}
	if faults {
		w.facts = w.faults.due(at, w.facts, w.loseDevice)
	}
	if w.arrivalAt == at {
		if err := w.arrive(); err != nil {
			return nil, err
		}
		if w.faults.pending() {
			w.faults.arrive(at, w.facts)
		}
	}
	if w.timerAt == at {
		w.fire(at)
	}
	return w.facts, nil
}

// end says that nothing will happen any more.
func (w *World) end() error {
	if w.cfg.Recording != nil {
		return scheduler.ErrHorizon
	}
	if early := w.faults.early; len(early) > 0 {
		return fmt.Errorf("sim: item %d is to be cancelled and has not arrived", early[0].ID)
	}
	return io.EOF
}

func (w *World) fire(at scheduler.Time) {
	for id := range w.timers {
		if w.timers[id] == at {
			w.timers[id] = scheduler.Never
			w.facts = append(w.facts, scheduler.Event{At: at, Kind: scheduler.TimerFired, ID: int64(id), Model: scheduler.NoModel, Device: scheduler.NoDevice})
		}
	}
	w.timerAt = min(w.timers[0], w.timers[1])
}

// peek learns when the next arrivals are due, and fetches them from a source
// that does not react.
func (w *World) peek() error {
	if w.reactive != nil {
		w.arrivalAt = scheduler.Never
		if t, ok := w.reactive.NextAt(); ok {
			w.arrivalAt = t
		}
		return nil
	}
	events, err := w.cfg.Source.Next()
	switch {
	case err == io.EOF:
		w.drained, w.arrivalAt = true, scheduler.Never
		return nil
	case err != nil:
		return err
	case len(events) == 0:
		return errors.New("sim: the source returned no arrivals")
	}
	w.arrivals, w.arrivalAt = events, events[0].At
	return w.admit(events)
}

// arrive adds the arrivals that are due to the facts.
func (w *World) arrive() error {
	if w.reactive != nil {
		events, err := w.reactive.Next()
		if err != nil {
			return err
		}
		w.facts = append(w.facts, events...)
		return w.admit(events)
	}
	w.facts = append(w.facts, w.arrivals...)
	w.arrivals = nil
	return nil
}

// admit keeps what only the world knows of arriving items.
func (w *World) admit(events []scheduler.Event) error {
	for i := range events {
		ev := &events[i]
		switch ev.Kind {
		case scheduler.ItemWork:
			if ev.Value != scheduler.WorkUnit {
				w.work[ev.Item()], w.keeps = ev.Value, true
			}
		case scheduler.ItemArrived:
			if w.cfg.Recording == nil && (ev.Model < 0 || int(ev.Model) >= len(w.cfg.Models)) {
				return fmt.Errorf("sim: item %d arrives for model %d of %d", ev.ID, ev.Model, len(w.cfg.Models))
			}
			if w.recorded != nil {
				if t, ok := w.recorded.Service(ev.Item()); ok {
					w.service[ev.Item()], w.keeps = t, true
				}
			}
		}
	}
	return nil
}

// Start begins to carry out an effect: its end becomes a future fact.
func (w *World) Start(ev scheduler.Event) error {
	if w.cfg.Recording != nil {
		return w.startRecorded(ev)
	}
	switch ev.Kind {
	case scheduler.MemberDispatched:
		w.members = append(w.members, ev.Item())
		return nil
	case scheduler.TimerSet:
		w.setTimer(ev.ID, scheduler.Time(ev.Value))
		return nil
	case scheduler.BatchStarted:
		return w.startBatch(&ev)
	case scheduler.LoadStarted:
		return w.startLoad(&ev)
	case scheduler.EvictStarted:
		return w.startEvict(&ev)
	}
	return fmt.Errorf("sim: %v is no effect", ev.Kind)
}

func (w *World) setTimer(id int64, at scheduler.Time) {
	w.timers[id] = at
	w.timerAt = min(w.timers[0], w.timers[1])
}

func (w *World) startLoad(ev *scheduler.Event) error {
	n := w.started[ev.Model]
	w.started[ev.Model]++
	took := w.fixed[ev.Model].load[ev.Tier()]
	if took < 0 {
		took = w.draws.load(ev.Model, n, w.cfg.Models[ev.Model].Load[ev.Tier()])
	}
	if w.devices.first(ev.Device, ev.Model) {
		took, _ = scheduler.AddTime(took, w.cfg.Models[ev.Model].FirstUse)
	}
	if w.faults.load(&w.draws, ev.Model, n) {
		return w.schedule(ev, took, scheduler.LoadFailed)
	}
	return w.schedule(ev, took, scheduler.LoadFinished)
}

func (w *World) startEvict(ev *scheduler.Event) error {
	n := w.evicts[ev.Model]
	w.evicts[ev.Model]++
	took, dist := w.fixed[ev.Model].unload, w.cfg.Models[ev.Model].Unload
	if busy := w.cfg.Models[ev.Model].UnloadBusy; busy != nil && w.devices.busy(ev.Device) {
		took, dist = w.fixed[ev.Model].unloadBusy, busy
	}
	if took < 0 {
		took = drawn(dist, w.draws.uniform(drawUnload, w.draws.names[ev.Model], uint64(n)))
	}
	return w.schedule(ev, took, scheduler.EvictFinished)
}

func (w *World) startBatch(ev *scheduler.Event) error {
	took, end := w.batchTime(ev.Model), scheduler.BatchFinished
	if w.running != nil {
		lowest, attempt := w.lowestMember()
		if w.faults.batch(&w.draws, lowest, attempt) {
			end = scheduler.BatchFailed
		}
		w.running[ev.ID] = append([]scheduler.ItemID(nil), w.members...)
	} else if w.keeps {
		w.forgetAll(w.members)
	}
	if _, ok := scheduler.AddTime(ev.At, took); !ok {
		lowest, _ := w.lowestMember()
		return &OverflowError{At: ev.At, Duration: took, Item: lowest, What: fmt.Sprintf("batch of item %d", lowest)}
	}
	w.members = w.members[:0]
	w.devices.ran(ev.Device, 1)
	return w.schedule(ev, took, end)
}

func (w *World) lowestMember() (scheduler.ItemID, int) {
	lowest := w.members[0]
	for _, id := range w.members {
		lowest = min(lowest, id)
	}
	if len(w.attempts) == 0 {
		return lowest, 0
	}
	return lowest, w.attempts[lowest]
}

// forgetAll drops what is kept of items that have started for good.
func (w *World) forgetAll(items []scheduler.ItemID) {
	for _, id := range items {
		w.forget(id)
	}
	w.keeps = len(w.work)+len(w.service)+len(w.attempts) > 0
}

func (w *World) forget(id scheduler.ItemID) {
	delete(w.work, id)
	delete(w.service, id)
	delete(w.attempts, id)
}

// batchTime returns what the members being put together take.
func (w *World) batchTime(m scheduler.ModelID) scheduler.Time {
	cost := &w.cfg.Models[m]
	n := len(w.members)
	switch {
	case cost.BatchTime != nil:
		lowest, attempt := w.lowestMember()
		return drawn(cost.BatchTime, w.draws.uniform(drawBatch, uint64(lowest), uint64(attempt)))
	case cost.ItemTime == nil && !w.keeps:
		return cost.Batch.Time(n, int64(n)*scheduler.WorkUnit)
	}
	// What is known item by item adds up; the rest takes what the model says
	// for its work.
	var known scheduler.Time
	var work int64
	fits := true
	for _, id := range w.members {
		if t, ok := w.itemTime(cost, id); !ok {
			work += w.workOf(id)
		} else if fits {
			known, fits = scheduler.AddTime(known, t)
		}
	}
	total, _ := scheduler.AddTime(cost.Batch.Time(n, work), known)
	return total
}

// itemTime returns an item's share, as recorded or drawn, if it has one.
func (w *World) itemTime(cost *Cost, id scheduler.ItemID) (scheduler.Time, bool) {
	if t, ok := w.service[id]; ok {
		return t, true
	}
	if cost.ItemTime == nil {
		return 0, false
	}
	t := drawn(cost.ItemTime, w.draws.uniform(drawItem, uint64(id), uint64(w.attempts[id])))
	return (&scheduler.BatchCost{PerItem: t}).Time(1, w.workOf(id)), true
}

func (w *World) workOf(id scheduler.ItemID) int64 {
	if work, ok := w.work[id]; ok {
		return work
	}
	return scheduler.WorkUnit
}

// schedule makes the end of an effect a future fact.
func (w *World) schedule(ev *scheduler.Event, took scheduler.Time, how scheduler.Kind) error {
	at, ok := scheduler.AddTime(ev.At, took)
	if !ok {
		return &OverflowError{At: ev.At, Duration: took, Item: -1, What: fmt.Sprintf("%v of model %q", ev.Kind, w.cfg.Models[ev.Model].Name)}
	}
	w.future = append(w.future, scheduler.Event{})
	end := &w.future[len(w.future)-1]
	end.At, end.Kind, end.ID, end.Model, end.Device = at, how, ev.ID, ev.Model, ev.Device
	if how == scheduler.LoadFailed || how == scheduler.BatchFailed {
		end.Value = int64(scheduler.FailureFault)
	}
	if len(w.future) > 1 {
		w.future.raise()
	}
	return nil
}

// push makes a fact one of the future.
func (w *World) push(fact scheduler.Event) {
	w.future = append(w.future, fact)
	w.future.raise()
}

// complete turns the next completion into a fact.
func (w *World) complete() {
	w.facts = append(w.facts, w.future[0])
	if len(w.future) == 1 {
		w.future = w.future[:0]
	} else {
		w.future.drop()
	}
	end := &w.facts[len(w.facts)-1]
	if w.devices.runs && end.Kind.Class() == batchClass {
		w.devices.ran(end.Device, -1)
	}
	if w.running != nil {
		w.settleMembers(*end)
	}
}

// settleMembers keeps what failed items need for their next attempt.
func (w *World) settleMembers(ev scheduler.Event) {
	members, ok := w.running[ev.ID]
	if !ok {
		return
	}
	delete(w.running, ev.ID)
	if ev.Kind == scheduler.BatchFinished {
		w.forgetAll(members)
		return
	}
	for _, id := range members {
		w.attempts[id]++
		w.keeps = true
	}
}

// before orders facts by time and then as every World does.
func before(a, b *scheduler.Event) bool {
	if a.At != b.At {
		return a.At < b.At
	}
	return scheduler.CompareFacts(a, b) < 0
}

// future is a binary heap of the ends of effects.
type future []scheduler.Event

// raise puts the last into its place.
func (f future) raise() {
	i := len(f) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !before(&f[i], &f[parent]) {
			break
		}
		f[i], f[parent] = f[parent], f[i]
		i = parent
	}
}

// drop removes the first.
func (f *future) drop() {
	h := *f
	last := len(h) - 1
	h[0] = h[last]
	h = h[:last]
	for i := 0; last > 1; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < last; child++ {
			if before(&h[child], &h[least]) {
				least = child
			}
		}
		if least == i {
			break
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
	*f = h
}

// dropDevice removes the completions of a lost device.
func (f *future) dropDevice(d scheduler.DeviceID, dropped func(scheduler.Event)) {
	var kept future
	for _, ev := range *f {
		if ev.Device == d {
			dropped(ev)
		} else {
			kept = append(kept, ev)
			kept.raise()
		}
	}
	*f = kept
}
