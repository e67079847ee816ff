//go:build linux && cgo && nvml

package cuda

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vramsim/vramsim/scheduler"
)

// Executor carries out commands on one device: see the package documentation.
// It is a scheduler.Restarter.
type Executor struct {
	cfg      Config
	outcomes chan scheduler.Outcome
	deserted chan struct{}  // closed when nobody reads outcomes any more
	commands sync.WaitGroup // whose outcome has not been taken

	// What follows is set by Open and Restart, or under mu.
	drv     *driver
	dev     device
	plan    scheduler.Plan
	weights *weights
	rates   rates

	mu      sync.Mutex
	session *session // nil unless open
	closed  bool
	flying  map[uint64]*command
	summed  map[scheduler.ModelID]bool // whose contents have been checked in this session
}

// command is one that has been started.
type command struct {
	scheduler.Command
	tolerance
	session *session
	began   time.Time
}

// lostGrace is how long a command is given to notice the loss of its context
// before it is answered for: it may hang in the driver. Past its own limit, too.
const lostGrace = 500 * time.Millisecond

// New returns an executor that has to be opened.
func New(cfg Config) *Executor {
	return &Executor{cfg: cfg, outcomes: make(chan scheduler.Outcome), deserted: make(chan struct{}),
		flying: map[uint64]*command{}, summed: map[scheduler.ModelID]bool{}}
}

// Open finds the device, makes its context, writes the files of weights, pins
// memory and takes the ballast, which can take minutes. What is wrong with the
// configuration is a *ConfigError; an error wraps nvml.ErrUnavailable if there is
// no driver, symbol or device, and nvml.ErrNoDevice if there is none of the UUID.
func (e *Executor) Open(ctx context.Context, plan scheduler.Plan) (scheduler.Capabilities, error) {
	var none scheduler.Capabilities
	cfg, err := e.cfg.withDefaults()
	if err != nil {
		return none, err
	}
	e.cfg, e.plan = cfg, plan
	if e.drv, e.dev, err = connect(ctx, &cfg); err != nil {
		return none, err
	}
	if e.weights, err = prepareWeights(ctx, &e.cfg, &e.plan); err != nil {
		return none, errors.Join(err, e.weights.close())
	}
	free, err := e.open(ctx)
	if err != nil {
		return none, errors.Join(err, e.weights.close())
	}
	return scheduler.Capabilities{Name: e.name(), Memory: scheduler.Bytes(free)}, nil
}

// connect opens the driver and finds the device, which may hang in it.
func connect(ctx context.Context, cfg *Config) (*driver, device, error) {
	type connected struct {
		drv *driver
		dev device
	}
	made, library, uuid := make(chan connected, 1), cfg.Library, cfg.UUID
	err := onThread(ctx, func() error {
		drv, err := openDriver(library)
		if err != nil {
			return err
		}
		dev, err := drv.find(uuid)
		if err == nil {
			made <- connected{drv, dev}
		}
		return err
	})
	if err != nil {
		return nil, device{}, err
	}
	c := <-made
	return c.drv, c.dev, nil
}

// name says what results of this executor are results of.
func (e *Executor) name() string {
	name := fmt.Sprintf("cuda (%s, %s", e.cfg.Work, e.cfg.HostTier)
	if e.cfg.Ballast {
		name += ", ballast"
	}
	return name + ")"
}

// open makes a session and returns what is free then.
func (e *Executor) open(ctx context.Context) (free int64, err error) {
	s := &session{drv: e.drv, dev: e.dev, cfg: &e.cfg, plan: &e.plan, weights: e.weights, rates: &e.rates}
	err = onThread(ctx, func() error {
		if err := openSession(ctx, s); err != nil {
			return err
		}
		var err error
		free, _, err = s.drv.memory()
		return errors.Join(err, s.drv.enter(nil))
	})
	if err != nil {
		return 0, fmt.Errorf("CUDA: %w", err)
	}
	e.mu.Lock()
	e.session = s
	clear(e.summed)
	e.mu.Unlock()
	return free, nil
}

// onThread calls f on an OS thread of its own and waits for it, at most until
// ctx ends: f may hang in the driver then.
func onThread(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		done <- f()
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	noticed := time.NewTimer(lostGrace / 2)
	defer noticed.Stop()
	select {
	case err := <-done:
		return errors.Join(err, context.Cause(ctx))
	case <-noticed.C:
		return fmt.Errorf("the driver does not answer: %w", context.Cause(ctx))
	}
}

// Start begins a command; it fails after Close and, until Restart, after a loss.
func (e *Executor) Start(c scheduler.Command) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.closed || e.session == nil:
		return &scheduler.CommandError{Code: scheduler.FailureLost, Text: "the executor is not open"}
	case e.session.isLost():
		return e.session.lostError()
	case int(c.Model) < 0 || int(c.Model) >= len(e.plan.Models) || c.Op == scheduler.OpRun && (c.Slot < 0 || c.Slot >= e.plan.Slots):
		return &scheduler.CommandError{Text: fmt.Sprintf("%v of model %d in slot %d is not of the plan", c.Op, c.Model, c.Slot)}
	}
	now := time.Now()
	cmd := &command{Command: c, session: e.session, began: now,
		tolerance: tolerance{stop: new(int32), until: now.Add(e.cfg.limit(c.Estimate))}}
	e.flying[c.Seq] = cmd
	e.commands.Add(1)
	e.session.workers.Add(1)
	go e.answer(cmd)
	return nil
}

// answer carries out a command and sends its outcome, whatever happens.
func (e *Executor) answer(c *command) {
	defer e.commands.Done()
	done := make(chan scheduler.Outcome, 1)
	go func() {
		defer c.session.workers.Done()
		done <- e.carryOut(c)
	}()
	o := e.await(c, done)
	e.mu.Lock()
	delete(e.flying, c.Seq)
	e.mu.Unlock()
	select {
	case e.outcomes <- o:
	case <-e.deserted:
	}
}

// await returns a command's outcome: its own, or one in its place if it does not
// come in time.
func (e *Executor) await(c *command, done <-chan scheduler.Outcome) scheduler.Outcome {
	late := time.NewTimer(time.Until(c.until) + e.cfg.drainLimit() + lostGrace)
	defer late.Stop()
	select {
	case o := <-done:
		return o
	case <-late.C:
		c.session.lose(errLate)
		return failed(c.Seq, &scheduler.CommandError{Code: scheduler.FailureTimeout, Text: "the driver does not answer"})
	case <-c.session.lost:
	}
	grace := time.NewTimer(lostGrace)
	defer grace.Stop()
	select {
	case o := <-done:
		return o
	case <-grace.C:
		return failed(c.Seq, c.session.lostError())
	}
}

func failed(seq uint64, why *scheduler.CommandError) scheduler.Outcome {
	return scheduler.Outcome{Seq: seq, Failure: why}
}

// carryOut does what a command says, with the context current.
func (e *Executor) carryOut(c *command) scheduler.Outcome {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s, o := c.session, scheduler.Outcome{Seq: c.Seq}
	err := s.drv.enter(s.ctx)
	if err == nil {
		switch c.Op {
		case scheduler.OpLoad:
			err = e.load(c, &o)
		case scheduler.OpEvict:
			err = s.evict(c, &o)
		case scheduler.OpRun:
			err = s.run(c, &o)
		default:
			err = &scheduler.CommandError{Text: fmt.Sprintf("%v is no operation", c.Op)}
		}
	}
	if err == nil {
		err = s.tellMemory(&o)
	}
	o.Failure = s.failure(c, err)
	if !s.isLost() {
		if err := s.drv.enter(nil); err != nil && o.Failure == nil {
			o.Failure = s.failure(c, err)
		}
	}
	return o
}

// failure says why a command failed; what is fatal loses the session.
func (s *session) failure(c *command, err error) *scheduler.CommandError {
	if err == nil {
		return nil
	}
	if fatal(err) {
		s.lose(err)
	}
	switch e, ok := errors.AsType[*scheduler.CommandError](err); {
	case ok:
		return e
	case errors.Is(err, errLate), errors.Is(err, errSlow):
		return &scheduler.CommandError{Code: scheduler.FailureTimeout, Retryable: true,
			Text: fmt.Sprintf("%v: given up after %v", err, time.Since(c.began).Round(time.Millisecond))}
	case s.isLost():
		return s.lostError()
	}
	return &scheduler.CommandError{Text: err.Error()}
}

// tellMemory notes what the device has free.
func (s *session) tellMemory(o *scheduler.Outcome) error {
	free, total, err := s.drv.memory()
	o.Memory.Free, o.Memory.Total = scheduler.Bytes(free), scheduler.Bytes(total)
	s.mu.Lock()
	o.Memory.Allocated = scheduler.Bytes(s.held)
	s.mu.Unlock()
	return err
}

// Outcomes returns the channel of outcomes.
func (e *Executor) Outcomes() <-chan scheduler.Outcome { return e.outcomes }

// Cancel ends a load or a batch as soon as what the device is at is over: a
// launch or the copy of a few slots. An eviction goes on.
func (e *Executor) Cancel(seq uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.flying[seq]; c != nil {
		atomic.StoreInt32(c.stop, 1)
	}
}

// Restart gives up a lost context and makes another one. It may fail: after some
// errors the driver wants another process.
func (e *Executor) Restart(ctx context.Context) error {
	e.mu.Lock()
	s, closed := e.session, e.closed
	e.mu.Unlock()
	switch {
	case closed || s == nil:
		return errors.New("CUDA: the executor is not open")
	case !s.isLost():
		return ctx.Err()
	}
	if err := e.endSession(ctx, s); err != nil {
		return err
	}
	_, err := e.open(ctx)
	return err
}

// endSession waits until all commands are over and gives back what the session
// has.
func (e *Executor) endSession(ctx context.Context, s *session) error {
	if err := awaitGroup(ctx, &e.commands); err != nil {
		return fmt.Errorf("CUDA: some commands did not end: %w", err)
	}
	return s.end(ctx)
}

// end gives back what a session has. What still hangs in the driver then may
// return when the context is reset. After ctx it goes on by itself.
func (s *session) end(ctx context.Context) error {
	err := onThread(ctx, func() error {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), lostGrace)
		defer cancel()
		if err := awaitGroup(grace, &s.workers); err != nil {
			s.lose(errLate)
		}
		return s.teardown()
	})
	if err != nil {
		return fmt.Errorf("CUDA: %w", err)
	}
	return nil
}

func awaitGroup(ctx context.Context, g *sync.WaitGroup) error {
	done := make(chan struct{})
	go func() {
		g.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close cancels what is in flight, waits for its outcomes to be taken, gives
// memory, handles and context back and closes the files of weights.
func (e *Executor) Close(ctx context.Context) error {
	e.mu.Lock()
	s, again := e.session, e.closed
	e.closed, e.session = true, nil
	for _, c := range e.flying {
		atomic.StoreInt32(c.stop, 1)
	}
	e.mu.Unlock()
	if again || s == nil {
		return nil
	}
	if err := awaitGroup(ctx, &e.commands); err != nil {
		close(e.deserted)
	}
	return errors.Join(s.end(ctx), e.weights.close())
}

var _ scheduler.Restarter = (*Executor)(nil)
