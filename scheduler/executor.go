package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Executor carries out commands on one device: a framework in the same
// process, a worker, a server, or something that only sleeps. Live and the
// hardware world use the same interface. Its methods are called from one
// goroutine, but for Cancel and Close, which may be called from any.
type Executor interface {
	// Open makes the device ready for the plan and says what the executor can
	// do there. It is called once, before anything else; the context bounds
	// the opening only.
	Open(context.Context, Plan) (Capabilities, error)
	// Start begins a command and returns at once. Exactly one Outcome with
	// its Seq follows, even after a hang, a crash or Cancel; none does if
	// Start returns an error: that is then why the command failed.
	Start(Command) error
	// Outcomes returns the channel of outcomes, the same one at each call. It
	// is read until Close has returned.
	Outcomes() <-chan Outcome
	// Cancel asks to end a command early; its Outcome still follows. Commands
	// that have ended or were never started are ignored.
	Cancel(seq uint64)
	// Close ends what still runs, frees everything and ends children, at the
	// latest when the context ends. Further calls do nothing.
	Close(context.Context) error
}

// Restarter is an Executor that can go on after the device was lost, which it
// tells by outcomes of FailureLost. Until it is restarted, further commands
// fail with FailureLost too.
type Restarter interface {
	Executor
	// Restart makes the device ready again with nothing resident; it may take
	// long. Outcomes of what was in flight still come, before or soon after it
	// returns.
	Restart(context.Context) error
}

// Plan is what an executor is opened for. The slices are shared and must not
// be changed.
type Plan struct {
	Device     DeviceID
	Name       string  // of the device
	Models     []Model // the catalogue, in the order of ModelID
	Slots      int     // batches that will run at once
	Tiers      []Tier  // where loads will read from
	HostMemory Bytes   // of the host tier, 0 if there is none
	Memory     Bytes   // that may be used, weights and batches together
	Seed       uint64  // of whatever the executor makes up, like weights
}

// Capabilities are what an executor can do on the device it was opened for.
// A plan that asks for more is refused with a *CapabilityError.
type Capabilities struct {
	Name   string // of the executor, like "sleep"
	Slots  int    // batches at once; 0: any number
	Tiers  []Tier // it can load from; nil: all
	Memory Bytes  // of the device; 0: unknown
}

// CapabilityError says what a plan asks of an executor that it cannot do.
type CapabilityError struct {
	Device   string
	Executor string
	What     string
}

func (e *CapabilityError) Error() string {
	return fmt.Sprintf("device %q: executor %q %s", e.Device, e.Executor, e.What)
}

// check returns what p asks for beyond c.
func (c *Capabilities) check(p *Plan) error {
	fail := func(format string, args ...any) error {
		return &CapabilityError{Device: p.Name, Executor: c.Name, What: fmt.Sprintf(format, args...)}
	}
	if c.Slots > 0 && c.Slots < p.Slots {
		return fail("runs %d batches at once, %d are wanted", c.Slots, p.Slots)
	}
	if c.Memory > 0 && c.Memory < p.Memory {
		return fail("has %d bytes of memory, %d are wanted", c.Memory, p.Memory)
	}
	for _, t := range p.Tiers {
		if c.Tiers != nil && !slices.Contains(c.Tiers, t) {
			return fail("cannot load from the %v tier", t)
		}
	}
	return nil
}

// Operation is what a Command wants done.
type Operation uint8

// The operations.
const (
	OpLoad  Operation = iota + 1 // bring Model from Tier to the device
	OpEvict                      // make Model leave the device, its bytes free again
	OpRun                        // run Items as one batch of Model
)

// String returns the operation's name.
func (o Operation) String() string {
	switch o {
	case OpLoad:
		return "load"
	case OpEvict:
		return "evict"
	case OpRun:
		return "run"
	}
	return fmt.Sprintf("operation(%d)", uint8(o))
}

// Command is one effect of the core, as an executor gets it. The executor
// owns it, Items included.
type Command struct {
	Seq      uint64 // sequence number of its decision in the log
	Op       Operation
	Device   DeviceID
	Model    ModelID
	Tier     Tier // of a load
	Slot     int  // of a run: the device's slot, from 0, that is its own until the outcome
	Items    []CommandItem
	Estimate Time // what the core expects it to take
}

// CommandItem is a member of a batch.
type CommandItem struct {
	ID   ItemID
	Work int64 // in millionths; WorkUnit is ordinary
	// Seed is the item's own, the same at each attempt and in each run of one
	// seed.
	Seed uint64
	// Payload is what Request.Payload was, nil for items that were not
	// submitted to a Live.
	Payload any
}

// Outcome tells that a command ended. All but Seq and Failure is side data,
// for telemetry: what is unknown stays zero.
type Outcome struct {
	Seq        uint64
	Failure    *CommandError // nil: the command succeeded
	Phases     []Phase       // in order
	DeviceTime Time          // that the device itself was busy
	Bytes      Bytes         // that were moved
	Memory     DeviceMemory  // afterwards
}

// Phase is a named part of a command, like "read" or "copy".
type Phase struct {
	Name string
	Took Time
}

// DeviceMemory is what a device and the framework on it say of its memory.
// Peaks are those of the command.
type DeviceMemory struct {
	Free, Total, Allocated, Reserved, PeakAllocated, PeakReserved Bytes
}

// CommandError is why a command failed.
type CommandError struct {
	Code      Failure
	Retryable bool // the same command may succeed later
	Text      string
}

func (e *CommandError) Error() string { return fmt.Sprintf("%v: %s", e.Code, e.Text) }

// String returns the failure's name.
func (f Failure) String() string {
	switch f {
	case FailureUnknown:
		return "failed"
	case FailureOOM:
		return "out of memory"
	case FailureLost:
		return "lost"
	case FailureTimeout:
		return "timeout"
	case FailureFault:
		return "injected fault"
	}
	return fmt.Sprintf("failure(%d)", int64(f))
}

// commandError returns err as the reason of a failed command.
func commandError(err error) *CommandError {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*CommandError](err); ok {
		return e
	}
	code := FailureUnknown
	if errors.Is(err, context.DeadlineExceeded) {
		code = FailureTimeout
	}
	return &CommandError{Code: code, Text: err.Error()}
}

// ExecutorError says that an executor broke its contract or could not be
// used; it ends the run.
type ExecutorError struct {
	Device string
	What   string
	Err    error // may be nil
}

func (e *ExecutorError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("executor of device %q: %s: %v", e.Device, e.What, e.Err)
	}
	return fmt.Sprintf("executor of device %q: %s", e.Device, e.What)
}

// Unwrap returns the executor's own error.
func (e *ExecutorError) Unwrap() error { return e.Err }

// itemSeed derives an item's seed: the SplitMix64 generator (Steele, Lea,
// Flood 2014) started at seed, at the item's position.
func itemSeed(seed uint64, id ItemID) uint64 {
	z := seed + (uint64(id)+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// CallExecutor is an Executor made of one function, for services whose models
// live in the same process: each command is a call on a goroutine of its own.
type CallExecutor struct {
	call     func(context.Context, Command) error
	outcomes chan Outcome
	ctx      context.Context
	stop     context.CancelFunc
	calls    sync.WaitGroup
	deserted chan struct{} // closed when nobody reads outcomes any more

	mu      sync.Mutex
	closed  bool
	cancels map[uint64]context.CancelFunc
}

// NewCallExecutor returns an executor whose commands call f. A nil error is
// success, a *CommandError tells why a command failed, any other error is
// FailureUnknown or, past a deadline, FailureTimeout. The context ends with
// Cancel and Close; f must then return.
func NewCallExecutor(f func(context.Context, Command) error) *CallExecutor {
	ctx, stop := context.WithCancel(context.Background())
	return &CallExecutor{call: f, outcomes: make(chan Outcome), deserted: make(chan struct{}),
		ctx: ctx, stop: stop, cancels: map[uint64]context.CancelFunc{}}
}

// Open accepts any plan.
func (e *CallExecutor) Open(ctx context.Context, _ Plan) (Capabilities, error) {
	return Capabilities{Name: "call"}, ctx.Err()
}

// Start calls the function; it returns an error after Close.
func (e *CallExecutor) Start(c Command) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return &CommandError{Code: FailureLost, Text: "the executor is closed"}
	}
	ctx, cancel := context.WithCancel(e.ctx)
	e.cancels[c.Seq] = cancel
	e.calls.Go(func() { e.carryOut(ctx, c) })
	return nil
}

func (e *CallExecutor) carryOut(ctx context.Context, c Command) {
	begin := time.Now()
	failure := commandError(e.call(ctx, c))
	took := Time(time.Since(begin))
	e.mu.Lock()
	e.cancels[c.Seq]()
	delete(e.cancels, c.Seq)
	e.mu.Unlock()
	select {
	case e.outcomes <- Outcome{Seq: c.Seq, Failure: failure, Phases: []Phase{{Name: "call", Took: took}}}:
	case <-e.deserted:
	}
}

// Outcomes returns the channel of outcomes.
func (e *CallExecutor) Outcomes() <-chan Outcome { return e.outcomes }

// Cancel ends the context of a command's call.
func (e *CallExecutor) Cancel(seq uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if cancel := e.cancels[seq]; cancel != nil {
		cancel()
	}
}

// Close ends the contexts of all calls and waits until they have returned and
// their outcomes were taken, or until ctx ends.
func (e *CallExecutor) Close(ctx context.Context) error {
	e.mu.Lock()
	again := e.closed
	e.closed = true
	e.mu.Unlock()
	if again {
		return nil
	}
	e.stop()
	returned := make(chan struct{})
	go func() {
		e.calls.Wait()
		close(returned)
	}()
	select {
	case <-returned:
		return nil
	case <-ctx.Done():
		close(e.deserted)
		return fmt.Errorf("some calls did not return: %w", context.Cause(ctx))
	}
}

var _ Executor = (*CallExecutor)(nil)
