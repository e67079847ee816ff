package scheduler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"
)

// InboxConfig describes an Inbox.
type InboxConfig struct {
	// Core is the core that will be driven: its configuration says which
	// devices and models there are, its view what is in the system. The world
	// never changes it.
	Core *Core
	// Executors carry out the commands, one for each device, in their order.
	Executors []Executor
	// Source, if not nil, is replayed on the real clock: what it says is due
	// at t arrives t after the world was opened, or as soon as it can.
	Source Source
	// Horizon, if positive, ends the run: nothing after it happens.
	Horizon Time
	// Seed is what executors and items derive their seeds from.
	Seed uint64
	// Payload, if not nil, gives CommandItem.Payload.
	Payload func(ItemID) any
	// Late, if not nil, is told of each arrival of the source and each timer:
	// it became a fact at fact.At and had been due at due.
	Late func(fact Event, due Time)
	// Ended, if not nil, is told of each outcome, also of commands that were
	// in flight on a device that was lost.
	Ended func(at Time, c Command, o Outcome)
}

// Inbox is the World on a real clock, package time's: executors carry out the
// effects, and whatever happens outside is sent to one inbox. One goroutine
// (Drive's) owns the core, the world and the log, and calls Next, Start and
// Append; the other methods may be called from any.
//
// Next sleeps until something is in the inbox or an arrival or timer is due.
// All that is due then becomes facts of one instant, now = max(clock, last+1):
// instants strictly increase, so that replay groups facts as they were. Facts
// are ordered as World says, whatever order they came in.
type Inbox struct {
	cfg     InboxConfig
	core    *Core
	ctx     context.Context
	able    []Capabilities
	start   time.Time
	wake    chan struct{} // holds one token while there may be something new
	quit    chan struct{}
	readers sync.WaitGroup
	closing sync.Once
	failed  error // of Close

	mu       sync.Mutex
	outcomes []posted
	posts    []Event
	drained  bool
	stopped  error

	// What follows belongs to Drive's goroutine.
	last     Time
	timers   [2]Time
	inFlight map[uint64]*flight
	busy     int      // commands in flight whose outcome will be a fact
	slots    [][]bool // taken, by device
	members  []CommandItem
	early    []Event // cancellations of items that have yet to arrive
	facts    []Event

	reactive  Reactive
	arrivals  []Event // of the source's next instant
	exhausted bool    // the source has ended
}

// posted is an outcome and the device whose executor sent it.
type posted struct {
	Outcome
	device DeviceID
}

// flight is a command that has been started.
type flight struct {
	Command
	wanted []ItemID // members that were not cancelled
	lost   bool     // its device went down: the core has forgotten it
}

// ErrClosed is returned by what has been closed.
var ErrClosed = errors.New("closed")

// OpenInbox opens the executors and starts the clock at 0. Next returns the
// context's error once it ends. Whoever opened an inbox has to Close it.
func OpenInbox(ctx context.Context, cfg InboxConfig) (*Inbox, error) {
	devices := cfg.Core.cfg.Devices
	if len(cfg.Executors) != len(devices) {
		return nil, &ConfigError{Field: "Executors", What: fmt.Sprintf("%d executors for %d devices", len(cfg.Executors), len(devices))}
	}
	if d := slices.Index(cfg.Executors, nil); d >= 0 {
		return nil, &ConfigError{Field: fmt.Sprintf("Executors[%d]", d), What: "there is no executor"}
	}
	w := &Inbox{cfg: cfg, core: cfg.Core, ctx: ctx, wake: make(chan struct{}, 1), quit: make(chan struct{}),
		last: -1, timers: [2]Time{Never, Never}, inFlight: map[uint64]*flight{}, exhausted: cfg.Source == nil}
	w.reactive, _ = cfg.Source.(Reactive)
	for d := range devices {
		w.slots = append(w.slots, make([]bool, devices[d].Slots))
		if err := w.open(DeviceID(d)); err != nil {
			closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), DefaultStopTimeout)
			defer cancel()
			return nil, errors.Join(err, closeAll(closing, devices, cfg.Executors[:d+1]))
		}
	}
	for d, e := range cfg.Executors {
		w.readers.Go(func() { w.read(DeviceID(d), e.Outcomes()) })
	}
	w.start = time.Now()
	return w, nil
}

// DefaultStopTimeout is how long executors are given to end.
const DefaultStopTimeout = 5 * time.Second

func (w *Inbox) open(d DeviceID) error {
	cfg := &w.core.cfg
	dev := &cfg.Devices[d]
	plan := Plan{Device: d, Name: dev.Name, Models: cfg.Models, Slots: dev.Slots, Tiers: []Tier{TierDisk},
		HostMemory: cfg.HostMemory, Memory: dev.Budget, Seed: w.cfg.Seed}
	if plan.HostMemory > 0 {
		plan.Tiers = append(plan.Tiers, TierHost)
	}
	able, err := w.cfg.Executors[d].Open(w.ctx, plan)
	if err != nil {
		return &ExecutorError{Device: dev.Name, What: "cannot be opened", Err: err}
	}
	w.able = append(w.able, able)
	return able.check(&plan)
}

func closeAll(ctx context.Context, devices []Device, executors []Executor) error {
	errs := make([]error, len(executors))
	var closing sync.WaitGroup
	for d, e := range executors {
		closing.Go(func() {
			if err := e.Close(ctx); err != nil {
				errs[d] = &ExecutorError{Device: devices[d].Name, What: "cannot be closed", Err: err}
			}
		})
	}
	closing.Wait()
	return errors.Join(errs...)
}

// read sends an executor's outcomes to the inbox.
func (w *Inbox) read(d DeviceID, outcomes <-chan Outcome) {
	for {
		select {
		case o, ok := <-outcomes:
			if !ok {
				w.Stop(&ExecutorError{Device: w.core.cfg.Devices[d].Name, What: "closed its outcomes"})
				return
			}
			w.send(posted{o, d})
		case <-w.quit:
			return
		}
	}
}

func (w *Inbox) send(o posted) {
	w.mu.Lock()
	w.outcomes = append(w.outcomes, o)
	w.mu.Unlock()
	w.signal()
}

func (w *Inbox) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Now returns the time since the world was opened.
func (w *Inbox) Now() Time { return Time(time.Since(w.start)) }

// Opened returns when the clock stood at 0.
func (w *Inbox) Opened() time.Time { return w.start }

// Capabilities returns what d's executor said when it was opened.
func (w *Inbox) Capabilities(d DeviceID) Capabilities { return w.able[d] }

// Post sends facts from outside, whose At the world sets: DeviceUp, DeviceDown,
// MemoryObserved and ItemCancelled. Those of one device keep their order. It
// returns a *FactError for any other and ErrClosed after the end.
//
// After DeviceDown, outcomes of what was in flight there are no facts any more.
func (w *Inbox) Post(facts ...Event) error {
	for i := range facts {
		if what := w.unpostable(&facts[i]); what != "" {
			return &FactError{Event: facts[i], Seq: -1, What: what}
		}
	}
	return w.post(facts)
}

func (w *Inbox) unpostable(ev *Event) string {
	switch ev.Kind {
	case DeviceUp, DeviceDown, MemoryObserved:
		if ev.Device < 0 || int(ev.Device) >= len(w.core.cfg.Devices) {
			return "no such device"
		}
		if ev.Kind == MemoryObserved && ev.Value < 0 {
			return "a negative amount of memory"
		}
		return ""
	case ItemCancelled:
		if ev.ID < 0 {
			return "no such item"
		}
		return ""
	}
	return "cannot be posted"
}

func (w *Inbox) post(facts []Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped != nil {
		return ErrClosed
	}
	w.posts = append(w.posts, facts...)
	w.signal()
	return nil
}

// Drain says that nobody but the source will bring items any more. Next then
// returns io.EOF once the source has ended, nothing is in flight, no timer is
// pending, and no item waits for a device that is down or for memory that
// other processes hold.
func (w *Inbox) Drain() {
	w.mu.Lock()
	w.drained = true
	w.mu.Unlock()
	w.signal()
}

// Stop makes Next return err instead of further facts. Only the first call
// counts.
func (w *Inbox) Stop(err error) {
	w.mu.Lock()
	if w.stopped == nil {
		w.stopped = err
	}
	w.mu.Unlock()
	w.signal()
}

// Close stops the world, if it has not ended, closes the executors and waits
// for them, at most until the context ends. Further calls return the same.
func (w *Inbox) Close(ctx context.Context) error {
	w.Stop(ErrClosed)
	w.closing.Do(func() {
		w.failed = closeAll(ctx, w.core.cfg.Devices, w.cfg.Executors)
		close(w.quit)
		w.readers.Wait()
	})
	return w.failed
}

// Append shows the events to a source that reacts to them.
func (w *Inbox) Append(events []Event) error {
	if w.reactive == nil {
		return nil
	}
	return w.reactive.Append(events)
}

// Next returns what World.Next does. Besides io.EOF and ErrHorizon it returns
// the context's error, that of Stop or the source, an *ExecutorError, or a
// *LostWakeupError when it would sleep for ever although work could run.
func (w *Inbox) Next() ([]Event, error) {
	for {
		outcomes, posts, drained, err := w.take()
		if err != nil {
			return nil, err
		}
		due, err := w.nextDue()
		if err != nil {
			return nil, err
		}
		clock := w.Now()
		if len(outcomes)+len(posts) == 0 && due > clock {
			if err := w.sleep(due, drained); err != nil {
				return nil, err
			}
			continue
		}
		now := max(clock, w.last+1)
		if err := w.collect(now, outcomes, posts); err != nil {
			return nil, err
		}
		if len(w.facts) == 0 {
			continue
		}
		if w.cfg.Horizon > 0 && now > w.cfg.Horizon {
			return nil, ErrHorizon
		}
		w.last = now
		w.settle()
		return w.facts, nil
	}
}

// take empties the inbox.
func (w *Inbox) take() (outcomes []posted, posts []Event, drained bool, err error) {
	if err := w.ctx.Err(); err != nil {
		return nil, nil, false, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped != nil {
		return nil, nil, false, w.stopped
	}
	outcomes, posts = w.outcomes, w.posts
	w.outcomes, w.posts = nil, nil
	for i := 0; i < len(w.early); {
		if w.early[i].ID >= w.core.arrivals {
			i++
			continue
		}
		posts = append(posts, w.early[i])
		w.early = slices.Delete(w.early, i, i+1)
	}
	return outcomes, posts, w.drained, nil
}

// nextDue returns when the next arrival or timer is due, Never if none is.
func (w *Inbox) nextDue() (Time, error) {
	arrival, err := w.arrivalDue()
	return min(arrival, w.timers[TimerPolicy], w.timers[TimerHold]), err
}

// arrivalDue returns when the source's next arrivals are due; it fetches those
// of a source that does not react.
func (w *Inbox) arrivalDue() (Time, error) {
	if w.reactive != nil && !w.exhausted {
		if at, ok := w.reactive.NextAt(); ok {
			return at, nil
		}
		return Never, nil
	}
	if len(w.arrivals) == 0 && !w.exhausted {
		if err := w.fetch(); err != nil {
			return Never, err
		}
	}
	if len(w.arrivals) == 0 {
		return Never, nil
	}
	return w.arrivals[0].At, nil
}

// fetch asks the source for its next instant.
func (w *Inbox) fetch() error {
	events, err := w.cfg.Source.Next()
	switch {
	case err == io.EOF:
		w.exhausted = true
		return nil
	case err != nil:
		return err
	case len(events) == 0:
		return errors.New("the source returned no arrivals")
	}
	w.arrivals = append(w.arrivals[:0], events...)
	return nil
}

// sleep waits until something is in the inbox, due or over; the error says
// that nothing more will happen.
func (w *Inbox) sleep(due Time, drained bool) error {
	switch {
	case due != Never || w.busy > 0:
	case drained && (w.core.View().InSystem() == 0 || w.unhindered()):
		return io.EOF
	case w.core.ready > 0 && !w.core.cfg.Waits && w.unhindered():
		if err := w.core.lostWakeup(); err != nil {
			return err
		}
	}
	if h := w.cfg.Horizon; h > 0 && due > h {
		if w.Now() > h {
			return ErrHorizon
		}
		due = h + 1
	}
	var alarm <-chan time.Time
	if due != Never {
		timer := time.NewTimer(time.Duration(due - w.Now()))
		defer timer.Stop()
		alarm = timer.C
	}
	select {
	case <-w.wake:
	case <-alarm:
	case <-w.ctx.Done():
	}
	return nil
}

// unhindered reports whether every device is up and has all its memory to
// itself: what cannot run now will not later, unless something else comes.
func (w *Inbox) unhindered() bool {
	for d := range w.core.devices {
		if dev := &w.core.devices[d]; !dev.up || dev.foreign > 0 {
			return false
		}
	}
	return true
}

// collect makes facts of all that is due, in order.
func (w *Inbox) collect(now Time, outcomes []posted, posts []Event) error {
	w.facts = w.facts[:0]
	for i := range outcomes {
		if err := w.finish(now, &outcomes[i]); err != nil {
			return err
		}
	}
	for _, ev := range posts {
		if ev.Kind == ItemCancelled && ev.ID >= w.core.arrivals {
			w.early = append(w.early, ev)
			continue
		}
		ev.At, ev.Flags = now, 0
		w.facts = append(w.facts, ev)
	}
	if err := w.arrive(now); err != nil {
		return err
	}
	for id, due := range w.timers {
		if due <= now {
			w.timers[id] = Never
			w.facts = append(w.facts, Event{At: now, Kind: TimerFired, ID: int64(id), Model: NoModel, Device: NoDevice})
			w.late(due)
		}
	}
	slices.SortStableFunc(w.facts, func(a, b Event) int { return CompareFacts(&a, &b) })
	return nil
}

// finish makes a fact of an outcome.
func (w *Inbox) finish(now Time, o *posted) error {
	f, ok := w.inFlight[o.Seq]
	if !ok {
		return &ExecutorError{Device: w.core.cfg.Devices[o.device].Name, What: fmt.Sprintf("sent an outcome of command %d, which is not in flight", o.Seq)}
	}
	delete(w.inFlight, o.Seq)
	if w.cfg.Ended != nil {
		w.cfg.Ended(now, f.Command, o.Outcome)
	}
	if f.lost {
		return nil
	}
	w.busy--
	ev := Event{At: now, ID: int64(f.Seq), Model: f.Model, Device: f.Device}
	switch f.Op {
	case OpRun:
		ev.Kind = BatchFinished
		w.slots[f.Device][f.Slot] = false
	case OpLoad:
		ev.Kind = LoadFinished
	case OpEvict:
		ev.Kind = EvictFinished
	}
	if o.Failure != nil {
		ev.Kind++ // each Failed follows its Finished
		ev.Value = int64(o.Failure.Code)
	}
	w.facts = append(w.facts, ev)
	return nil
}

// arrive adds the source's arrivals that are due.
func (w *Inbox) arrive(now Time) error {
	for {
		due, err := w.arrivalDue()
		if err != nil {
			return err
		}
		if due > now || due == Never {
			return nil
		}
		if w.reactive != nil {
			if err := w.fetch(); err != nil {
				return err
			}
		}
		for _, ev := range w.arrivals {
			ev.At = now
			w.facts = append(w.facts, ev)
			if ev.Kind == ItemArrived {
				w.late(due)
			}
		}
		w.arrivals = w.arrivals[:0]
	}
}

// late tells how late the last fact is.
func (w *Inbox) late(due Time) {
	if w.cfg.Late != nil {
		w.cfg.Late(w.facts[len(w.facts)-1], due)
	}
}

// settle draws the consequences of this instant's facts for what is in flight.
func (w *Inbox) settle() {
	for i := range w.facts {
		switch ev := &w.facts[i]; ev.Kind {
		case DeviceDown:
			w.lose(ev.Device)
		case ItemCancelled:
			w.unwant(ev.Item())
		}
	}
}

// lose forgets what is in flight on a device, as the core does; the executor
// is asked to end it.
func (w *Inbox) lose(d DeviceID) {
	clear(w.slots[d])
	for _, seq := range slices.Sorted(maps.Keys(w.inFlight)) {
		if f := w.inFlight[seq]; f.Device == d && !f.lost {
			f.lost = true
			w.busy--
			w.cfg.Executors[d].Cancel(seq)
		}
	}
}

// unwant ends a batch early once all its members have been cancelled.
func (w *Inbox) unwant(id ItemID) {
	for seq, f := range w.inFlight {
		i := slices.Index(f.wanted, id)
		if i < 0 || f.lost {
			continue
		}
		if f.wanted = slices.Delete(f.wanted, i, i+1); len(f.wanted) == 0 {
			w.cfg.Executors[f.Device].Cancel(seq)
		}
		return
	}
}

// Start hands an effect to its device's executor or sets a timer; it never
// blocks. What an executor refuses to start has failed.
func (w *Inbox) Start(ev Event) error {
	switch ev.Kind {
	case MemberDispatched:
		w.members = append(w.members, w.member(ev.Item()))
	case TimerSet:
		w.timers[ev.ID] = Time(ev.Value)
	case BatchStarted:
		slot := slices.Index(w.slots[ev.Device], false)
		w.slots[ev.Device][slot] = true
		f := &flight{Command: Command{Op: OpRun, Slot: slot, Items: w.members}}
		for i := range w.members {
			f.wanted = append(f.wanted, w.members[i].ID)
		}
		w.members = nil
		w.begin(ev, f)
	case LoadStarted:
		w.begin(ev, &flight{Command: Command{Op: OpLoad, Tier: ev.Tier()}})
	case EvictStarted:
		w.begin(ev, &flight{Command: Command{Op: OpEvict}})
	default:
		return fmt.Errorf("%v is no effect", ev.Kind)
	}
	return nil
}

func (w *Inbox) member(id ItemID) CommandItem {
	item, _ := w.core.View().ItemByID(id)
	m := CommandItem{ID: id, Work: item.Work, Seed: itemSeed(w.cfg.Seed, id)}
	if w.cfg.Payload != nil {
		m.Payload = w.cfg.Payload(id)
	}
	return m
}

func (w *Inbox) begin(ev Event, f *flight) {
	f.Seq, f.Device, f.Model, f.Estimate = uint64(ev.ID), ev.Device, ev.Model, ev.Estimate()
	if f.Op == OpEvict {
		f.Estimate = w.core.cfg.Models[ev.Model].Unload
	}
	w.inFlight[f.Seq] = f
	w.busy++
	if err := w.cfg.Executors[ev.Device].Start(f.Command); err != nil {
		w.send(posted{Outcome{Seq: f.Seq, Failure: commandError(err)}, ev.Device})
	}
}

var (
	_ World = (*Inbox)(nil)
	_ Sink  = (*Inbox)(nil)
)
