package scheduler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"
)

// LiveConfig describes a Live.
type LiveConfig struct {
	// Core says which devices and models there are and by which policy they
	// are scheduled. KeepDone and KeepFailed, if 0, become DefaultKeepDone and
	// the sum of KeepDone and MaxPending, below which KeepFailed must not lie.
	Core Config
	// Executors carry out what the core decides, one for each device.
	Executors []Executor
	// Sinks, if not nil, is called once, before anything happens, and returns
	// who gets every event: a log, metrics. They are called from one goroutine
	// and may look at the core, in the state after the events; names gives the
	// names of items, jobs and tenants.
	Sinks func(core *Core, names Namer) ([]Sink, error)
	// MaxPending bounds how many items may be submitted and not ended; who
	// submits more waits. 0 means DefaultMaxPending.
	MaxPending int
	// StopTimeout is how long executors are given to close. 0 means
	// DefaultStopTimeout.
	StopTimeout time.Duration
	// Seed is what executors and items derive their seeds from.
	Seed uint64
	// Ended, if not nil, is told of each outcome of an executor: device times
	// and memory for telemetry. It is called from the sinks' goroutine.
	Ended func(at Time, c Command, o Outcome)
}

// The defaults of LiveConfig.
const (
	DefaultKeepDone   = 1 << 16
	DefaultMaxPending = 1 << 16
)

func (c *LiveConfig) fill() error {
	if c.Core.KeepDone == 0 {
		c.Core.KeepDone = DefaultKeepDone
	}
	if c.MaxPending == 0 {
		c.MaxPending = DefaultMaxPending
	}
	if c.StopTimeout == 0 {
		c.StopTimeout = DefaultStopTimeout
	}
	if c.Core.KeepDone < 0 || c.MaxPending < 0 || c.StopTimeout < 0 {
		return &ConfigError{Field: "KeepDone, MaxPending, StopTimeout", What: "must not be negative"}
	}
	least := int(c.Core.KeepDone) + c.MaxPending
	if c.Core.KeepFailed == 0 {
		c.Core.KeepFailed = least
	}
	if c.Core.KeepFailed < least {
		return &ConfigError{Field: "KeepFailed", What: fmt.Sprintf("%d; must be at least %d (KeepDone and MaxPending), or failed dependencies could pass for done", c.Core.KeepFailed, least)}
	}
	return nil
}

// Request is an item to be submitted. Only Model is required.
type Request struct {
	Model    string
	Priority int32     // higher first
	Deadline time.Time // zero: none
	Work     int64     // in millionths of the model's unit; 0: WorkUnit
	Tenant   string    // empty: none. Each name is kept for ever.
	// Job groups items: those submitted under one name while any of them is
	// unfinished are one job. Empty: the item is its own.
	Job string
	// After are items that must be done before this one starts. If one of
	// them fails, is rejected or cancelled, this one is cancelled. Their numbers
	// must lie less than Config.KeepDone below its own.
	After []*Ticket
	// Name is the item's in logs; it need not be unique. Empty: its number.
	Name string
	// Payload is handed to the executor. What the item produces may be
	// written to where it points: it is the executor's until the item ended.
	Payload any
}

// RequestError says which part of a Request is wrong.
type RequestError struct {
	Field string
	What  string
}

func (e *RequestError) Error() string { return "request: " + e.Field + ": " + e.What }

// Status is how an item ended.
type Status uint8

// The ways in which an item ends.
const (
	StatusDone      Status = iota + 1
	StatusFailed           // after the last of its attempts
	StatusRejected         // by the policy
	StatusCancelled        // by its ticket, or for a dependency that was not done
)

// String returns the status in words.
func (s Status) String() string {
	switch s {
	case StatusDone:
		return "done"
	case StatusFailed:
		return "failed"
	case StatusRejected:
		return "rejected"
	case StatusCancelled:
		return "cancelled"
	}
	return fmt.Sprintf("status(%d)", uint8(s))
}

// Result is what became of an item. Times are on the run's clock.
type Result struct {
	Status   Status
	Arrived  Time
	Started  Time // of its last batch, -1 if it never ran
	Ended    Time
	Device   DeviceID // of its last batch, NoDevice if it never ran
	Attempts int      // batches it was a member of
	Reason   int64    // of the policy, if it was rejected
	Cause    ItemID   // the dependency for which it was cancelled, or -1
	// Failure is why the last of its batches that failed did so, or for an
	// item that failed without running, the last load of its model. Nil: none.
	Failure *CommandError
}

// Ticket stands for a submitted item. Its methods may be called from several
// goroutines.
type Ticket struct {
	id      ItemID
	live    *Live
	name    string
	job     *liveJob
	payload any
	release func()
	cancel  sync.Once
	done    chan struct{}

	// Written by the scheduling goroutine, read once done is closed.
	result    Result
	err       error
	running   bool
	cancelled bool // while running: ends with its batch
}

// ID returns the item's number in the log.
func (t *Ticket) ID() ItemID { return t.id }

// Done returns a channel that is closed when the item has ended.
func (t *Ticket) Done() <-chan struct{} { return t.done }

// Wait waits until the item has ended and returns what became of it. The error
// is the context's cause if that ends first, and wraps ErrClosed if the
// service ended before the item did; an item that failed is no error.
func (t *Ticket) Wait(ctx context.Context) (Result, error) {
	select {
	case <-t.done:
		return t.result, t.err
	default:
	}
	select {
	case <-t.done:
		return t.result, t.err
	case <-ctx.Done():
		return Result{}, context.Cause(ctx)
	}
}

// Cancel says that nobody wants the item any more; it does not wait. A running
// item ends with its batch, which is ended early if all of it is cancelled; an
// item that has ended stays as it ended.
func (t *Ticket) Cancel() {
	t.cancel.Do(func() {
		select {
		case <-t.done:
		default:
			// After the end there is nothing left to cancel.
			_ = t.live.inbox.Post(Event{Kind: ItemCancelled, ID: int64(t.id), Model: NoModel, Device: NoDevice})
		}
	})
}

type liveJob struct {
	id    JobID
	name  string
	items int // in the system
}

// Live schedules a service's items as they come: a Core driven on the real
// clock, with an Executor for each device. Its methods may be called from
// several goroutines.
type Live struct {
	cfg    LiveConfig
	models map[string]ModelID
	inbox  *Inbox
	room   *VRAMSemaphore // of one unit for each pending item
	done   chan struct{}
	// refusing ends when nothing can be submitted any more.
	refusing context.Context
	refuse   context.CancelFunc

	mu       sync.Mutex
	closed   bool
	err      error
	next     ItemID
	pending  int
	tickets  map[ItemID]*Ticket
	jobs     map[string]*liveJob
	jobNames map[JobID]string
	nextJob  JobID
	tenants  map[string]int64
	names    []string // of tenants

	fold liveFold
}

// NewLive opens the executors and starts to schedule. The context bounds the
// opening; the service runs until Close. It returns a *ConfigError,
// *TooBigError, *ExecutorError or *CapabilityError, or what Sinks returned.
func NewLive(ctx context.Context, cfg LiveConfig) (*Live, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	core, err := New(cfg.Core)
	if err != nil {
		return nil, err
	}
	l := &Live{cfg: cfg, models: map[string]ModelID{}, room: NewVRAMSemaphore(Bytes(cfg.MaxPending)), done: make(chan struct{}),
		tickets: map[ItemID]*Ticket{}, jobs: map[string]*liveJob{}, jobNames: map[JobID]string{}, tenants: map[string]int64{}}
	for i, m := range cfg.Core.Models {
		if _, twice := l.models[m.Name]; twice {
			return nil, &ConfigError{Field: fmt.Sprintf("Models[%d].Name", i), What: fmt.Sprintf("%q is taken", m.Name)}
		}
		l.models[m.Name] = ModelID(i)
	}
	l.fold = liveFold{live: l, batches: map[int64]*liveBatch{}, runs: map[uint64]*CommandError{}, loads: map[ModelID]*CommandError{}}
	l.refusing, l.refuse = context.WithCancel(context.Background())
	var sinks []Sink
	if cfg.Sinks != nil {
		if sinks, err = cfg.Sinks(core, l); err != nil {
			return nil, err
		}
	}
	if err := l.open(ctx, core, append(slices.Clone(sinks), &l.fold)); err != nil {
		return nil, err
	}
	return l, nil
}

// open starts the scheduling goroutine.
func (l *Live) open(ctx context.Context, core *Core, sinks []Sink) error {
	inbox, err := OpenInbox(ctx, InboxConfig{Core: core, Executors: l.cfg.Executors, Seed: l.cfg.Seed,
		Payload: l.payload, Ended: l.fold.ended})
	if err != nil {
		return err
	}
	inbox.ctx = context.Background() // from here on Stop ends it
	l.inbox = inbox
	go func() {
		err := Drive(inbox.ctx, core, inbox, sinks...)
		closing, cancel := context.WithTimeout(context.Background(), l.cfg.StopTimeout)
		defer cancel()
		l.end(err, inbox.Close(closing))
	}()
	return nil
}

// errStopped is why a service ended whose Close could wait no longer.
var errStopped = errors.New("stopped")

// end tells everyone that the service has ended.
func (l *Live) end(err, closeErr error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	switch {
	case l.pending > 0 && err == nil:
		err = fmt.Errorf("%d items were left that could not run", l.pending)
	case l.pending > 0:
		err = fmt.Errorf("with %d items unfinished: %w", l.pending, err)
	case errors.Is(err, errStopped):
		err = nil
	}
	l.err = errors.Join(err, closeErr)
	for _, t := range l.tickets {
		if t.result.Status == 0 {
			t.err = l.closedError()
			l.finish(t)
		}
	}
	clear(l.tickets)
	l.refuse()
	close(l.done)
}

// closedError is ErrClosed with its cause. The lock is held.
func (l *Live) closedError() error {
	if l.err == nil {
		return ErrClosed
	}
	return fmt.Errorf("%w: %w", ErrClosed, l.err)
}

// Submit hands in an item and returns its ticket without waiting for it to
// run. While MaxPending items are pending it waits for room, first come first
// served, and returns the context's cause if that ends first. It returns a
// *RequestError or a *DependencyError for a request that can never be served,
// and an error that wraps ErrClosed, with the reason if there is one, when the
// service is closing or has ended.
func (l *Live) Submit(ctx context.Context, r Request) (*Ticket, error) {
	m, err := l.check(&r)
	if err != nil {
		return nil, err
	}
	release, err := l.enter(ctx)
	if err != nil {
		return nil, err
	}
	t := &Ticket{live: l, name: r.Name, payload: r.Payload, release: release, done: make(chan struct{}),
		result: Result{Started: -1, Device: NoDevice, Cause: -1}}
	if err := l.admit(t, m, &r); err != nil {
		release()
		return nil, err
	}
	return t, nil
}

// check returns the request's model and what is wrong with it.
func (l *Live) check(r *Request) (ModelID, error) {
	m, ok := l.models[r.Model]
	if !ok {
		return NoModel, &RequestError{Field: "Model", What: fmt.Sprintf("%q is not in the catalogue", r.Model)}
	}
	if r.Work < 0 {
		return NoModel, &RequestError{Field: "Work", What: fmt.Sprintf("%d; must not be negative", r.Work)}
	}
	for i, t := range r.After {
		if t == nil || t.live != l {
			return NoModel, &RequestError{Field: fmt.Sprintf("After[%d]", i), What: "is no ticket of this service"}
		}
	}
	return m, nil
}

// enter waits for room for one more item.
func (l *Live) enter(ctx context.Context) (release func(), err error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if release, ok := l.room.TryAcquire(1); ok {
		return release, nil
	}
	waiting, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(l.refusing, func() { cancel(ErrClosed) })()
	if release, err = l.room.Acquire(waiting, 1); err == ErrClosed {
		l.mu.Lock()
		defer l.mu.Unlock()
		err = l.closedError()
	}
	return release, err
}

// admit numbers an item and posts its arrival: numbers follow the order of
// the inbox.
func (l *Live) admit(t *Ticket, m ModelID, r *Request) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return l.closedError()
	}
	for _, on := range r.After {
		if int64(l.next-on.id) >= l.cfg.Core.KeepDone {
			return &DependencyError{Item: l.next, On: on.id, What: "unknown"}
		}
	}
	t.id = l.next
	if err := l.inbox.post(l.arrival(t, m, r)); err != nil {
		return l.closedError()
	}
	l.next++
	l.pending++
	l.tickets[t.id] = t
	return nil
}

// arrival returns the facts of an item's arrival. The lock is held.
func (l *Live) arrival(t *Ticket, m ModelID, r *Request) []Event {
	facts := make([]Event, 1, 5+len(r.After))
	add := func(k Kind, value int64) {
		facts = append(facts, Event{Kind: k, ID: int64(t.id), Value: value, Model: m, Device: NoDevice})
	}
	if r.Job != "" {
		t.job = l.join(r.Job)
		add(ItemJob, int64(t.job.id))
	}
	if !r.Deadline.IsZero() {
		add(ItemDeadline, max(0, int64(r.Deadline.Sub(l.inbox.Opened()))))
	}
	if r.Work != 0 {
		add(ItemWork, r.Work)
	}
	if r.Tenant != "" {
		add(ItemTenant, l.tenant(r.Tenant))
	}
	for _, on := range r.After {
		add(ItemDependsOn, int64(on.id))
	}
	facts[0] = Event{Kind: ItemArrived, ID: int64(t.id), Value: PackArrival(r.Priority, len(facts)-1), Model: m, Device: NoDevice}
	return facts
}

// join adds an item to the job of that name. The lock is held.
func (l *Live) join(name string) *liveJob {
	j := l.jobs[name]
	if j == nil {
		j = &liveJob{id: l.nextJob, name: name}
		l.nextJob++
		l.jobs[name] = j
		l.jobNames[j.id] = name
	}
	j.items++
	return j
}

// tenant numbers tenants as they come. The lock is held.
func (l *Live) tenant(name string) int64 {
	id, ok := l.tenants[name]
	if !ok {
		id = int64(len(l.names))
		l.tenants[name] = id
		l.names = append(l.names, name)
	}
	return id
}

// Report tells the scheduler what happened to a device: facts DeviceUp,
// DeviceDown and MemoryObserved. After DeviceDown all that was in flight or
// resident there is lost, and nothing runs there until DeviceUp. It returns a
// *FactError for other facts and ErrClosed after the end.
func (l *Live) Report(fact Event) error {
	if fact.Kind == ItemCancelled {
		return &FactError{Event: fact, Seq: -1, What: "cannot be reported; cancel the ticket"}
	}
	return l.inbox.Post(fact)
}

// Pending returns how many items were submitted and have not ended.
func (l *Live) Pending() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pending
}

// Now returns the time on the run's clock, which started when the service did.
func (l *Live) Now() Time { return l.inbox.Now() }

// Opened returns when that clock stood at 0.
func (l *Live) Opened() time.Time { return l.inbox.Opened() }

// Config returns the configuration of the core, defaults filled in: what a
// log's header must say for the log to be replayed.
func (l *Live) Config() Config { return l.cfg.Core }

// Done returns a channel that is closed when the service has ended: after
// Close, or because something failed.
func (l *Live) Done() <-chan struct{} { return l.done }

// Err returns why the service ended: nil while it runs and when it was closed
// with nothing left, otherwise what Drive returned (an *IllegalDecision of the
// policy, an *ExecutorError, what a sink returned), or that items were left.
func (l *Live) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Close refuses further items, waits until those pending have ended, closes the
// executors and returns Err. When the context ends first, it stops at once:
// executors have StopTimeout to end what runs, and whoever waits for an
// unfinished item gets an error. Further calls wait likewise.
func (l *Live) Close(ctx context.Context) error {
	l.mu.Lock()
	l.closed = true
	idle := l.pending == 0
	l.mu.Unlock()
	l.refuse()
	l.inbox.Drain()
	if idle {
		l.inbox.Stop(io.EOF)
	}
	select {
	case <-l.done:
	case <-ctx.Done():
		l.inbox.Stop(fmt.Errorf("%w: %w", errStopped, context.Cause(ctx)))
		<-l.done
	}
	return l.Err()
}

// ItemName returns the name of an item that ended at this or the last step or
// has not ended.
func (l *Live) ItemName(id ItemID) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.tickets[id]; t != nil && t.name != "" {
		return t.name
	}
	return strconv.FormatInt(int64(id), 10)
}

// JobName returns the name of a job of which an item ended at this or the last
// step or has not ended.
func (l *Live) JobName(id JobID) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.jobNames[id]
}

// TenantName returns the name of a tenant.
func (l *Live) TenantName(id int64) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if id < 0 || id >= int64(len(l.names)) {
		return ""
	}
	return l.names[id]
}

func (l *Live) payload(id ItemID) any {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tickets[id].payload
}

// finish ends a ticket whose result or error has been set. The lock is held.
func (l *Live) finish(t *Ticket) {
	l.pending--
	if j := t.job; j != nil {
		if j.items--; j.items == 0 {
			delete(l.jobs, j.name)
		}
	}
	t.payload = nil
	t.release()
	close(t.done)
}

// liveFold is the last sink: it learns from the events how items end, after
// the log has them. It belongs to the scheduling goroutine.
type liveFold struct {
	live    *Live
	staged  []*Ticket
	batches map[int64]*liveBatch
	ends    []*Ticket // of this step; the last step's are forgotten
	before  []*Ticket
	// runs are the failures of batches since the last step, loads of the last
	// load of each model.
	runs  map[uint64]*CommandError
	loads map[ModelID]*CommandError
}

type liveBatch struct {
	device  DeviceID
	members []*Ticket
}

// ended keeps why commands failed: the log has only codes.
func (f *liveFold) ended(at Time, c Command, o Outcome) {
	switch c.Op {
	case OpRun:
		f.runs[c.Seq] = o.Failure
	case OpLoad:
		f.loads[c.Model] = o.Failure
	}
	if hook := f.live.cfg.Ended; hook != nil {
		hook(at, c, o)
	}
}

// Append follows the events of one step.
func (f *liveFold) Append(events []Event) error {
	l := f.live
	l.mu.Lock()
	defer l.mu.Unlock()
	f.forget()
	for i := range events {
		f.follow(&events[i])
	}
	clear(f.runs)
	if l.closed && l.pending == 0 {
		l.inbox.Stop(io.EOF)
	}
	return nil
}

// forget drops the tickets that ended in the step before the last.
func (f *liveFold) forget() {
	for _, t := range f.before {
		delete(f.live.tickets, t.id)
		if t.job != nil && t.job.items == 0 {
			delete(f.live.jobNames, t.job.id)
		}
	}
	f.before, f.ends = f.ends, f.before[:0]
}

func (f *liveFold) follow(ev *Event) {
	switch ev.Kind {
	case BatchStarted:
		f.start(ev)
		return
	case BatchFinished, BatchFailed:
		f.endBatch(ev, ev.ID, f.runs[uint64(ev.ID)])
		return
	case DeviceDown:
		lost := &CommandError{Code: FailureLost, Retryable: true, Text: "the device was lost"}
		for _, seq := range slices.Sorted(maps.Keys(f.batches)) {
			if f.batches[seq].device == ev.Device {
				f.endBatch(ev, seq, lost)
			}
		}
		return
	}
	if t := f.live.tickets[ev.Item()]; t != nil && t.result.Status == 0 {
		f.followItem(ev, t)
	}
}

// followItem follows an event about an item that has not ended. Events about
// other things come here too and are none of its kinds.
func (f *liveFold) followItem(ev *Event, t *Ticket) {
	switch ev.Kind {
	case ItemArrived:
		t.result.Arrived = ev.At
	case MemberDispatched:
		f.staged = append(f.staged, t)
	case ItemCancelled:
		if t.running {
			t.cancelled = true
			return
		}
		f.end(ev, t, StatusCancelled)
	case DependantCancelled:
		t.result.Cause = ItemID(ev.Value)
		f.end(ev, t, StatusCancelled)
	case ItemRejected:
		t.result.Reason = ev.Value
		f.end(ev, t, StatusRejected)
	case ItemFailed:
		if t.result.Failure == nil {
			t.result.Failure = f.loads[ev.Model]
		}
		f.end(ev, t, StatusFailed)
	}
}

func (f *liveFold) start(ev *Event) {
	for _, t := range f.staged {
		t.running = true
		t.result.Started, t.result.Device = ev.At, ev.Device
		t.result.Attempts++
	}
	f.batches[ev.ID] = &liveBatch{device: ev.Device, members: f.staged}
	f.staged = nil
}

// endBatch ends the batch that began at seq. Members of a failed one are tried
// again unless they were cancelled; the core says if it was their last attempt.
func (f *liveFold) endBatch(ev *Event, seq int64, failure *CommandError) {
	members := f.batches[seq].members
	delete(f.batches, seq)
	for _, t := range members {
		t.running = false
		if failure != nil {
			t.result.Failure = failure
		}
		switch {
		case t.cancelled:
			f.end(ev, t, StatusCancelled)
		case ev.Kind == BatchFinished:
			f.end(ev, t, StatusDone)
		}
	}
}

func (f *liveFold) end(ev *Event, t *Ticket, s Status) {
	t.result.Status, t.result.Ended = s, ev.At
	f.ends = append(f.ends, t)
	f.live.finish(t)
}

var (
	_ Namer = (*Live)(nil)
	_ Sink  = (*liveFold)(nil)
)
