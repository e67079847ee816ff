package nvml

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/vramsim/vramsim/scheduler"
)

// SleeperConfig describes a Sleeper.
type SleeperConfig struct {
	// Took returns how long a command takes; nil means as long as is expected,
	// Command.Estimate. It is called once a command, in the order of Start.
	Took func(scheduler.Command) scheduler.Time
	// Fail returns why a command fails when its time is over, nil if it does
	// not; Fail itself may be nil. FailureLost loses the device at once.
	Fail func(scheduler.Command) *scheduler.CommandError
	// Memory of the device that it stands for; what does not fit runs out of
	// memory. 0: no limit.
	Memory scheduler.Bytes
}

// Sleeper is the executor of a machine without a card: each command sleeps on
// the real clock and keeps a ledger of memory. Its figures are no hardware
// figures.
type Sleeper struct {
	*scheduler.CallExecutor
	cfg    SleeperConfig
	models []scheduler.Model

	mu       sync.Mutex
	held     scheduler.Bytes
	resident map[scheduler.ModelID]bool
	planned  map[uint64]slept
	lost     chan struct{} // closed while the device is lost
	back     time.Time     // when it can be restarted
	calls    sync.WaitGroup
}

// slept is what a command does, drawn when it starts.
type slept struct {
	took    scheduler.Time
	failure *scheduler.CommandError
	lost    chan struct{} // closed when the device is lost that it was started on
}

// NewSleeper returns an executor that has to be opened.
func NewSleeper(cfg SleeperConfig) *Sleeper {
	s := &Sleeper{cfg: cfg, resident: map[scheduler.ModelID]bool{}, planned: map[uint64]slept{}, lost: make(chan struct{})}
	s.CallExecutor = scheduler.NewCallExecutor(s.call)
	return s
}

// Open takes the catalogue from the plan.
func (s *Sleeper) Open(ctx context.Context, plan scheduler.Plan) (scheduler.Capabilities, error) {
	s.models = plan.Models
	return scheduler.Capabilities{Name: "sleep", Memory: s.cfg.Memory}, ctx.Err()
}

// Start begins to sleep. After a loss it fails until Restart.
func (s *Sleeper) Start(c scheduler.Command) error {
	do := slept{took: c.Estimate}
	if s.cfg.Took != nil {
		do.took = s.cfg.Took(c)
	}
	if s.cfg.Fail != nil {
		do.failure = s.cfg.Fail(c)
	}
	s.mu.Lock()
	select {
	case <-s.lost:
		s.mu.Unlock()
		return lostError()
	default:
	}
	do.lost = s.lost
	s.planned[c.Seq] = do
	s.calls.Add(1)
	s.mu.Unlock()
	if err := s.CallExecutor.Start(c); err != nil {
		s.calls.Done()
		return err
	}
	return nil
}

func lostError() *scheduler.CommandError {
	return &scheduler.CommandError{Code: scheduler.FailureLost, Retryable: true, Text: "the device was lost"}
}

// call is one command.
func (s *Sleeper) call(ctx context.Context, c scheduler.Command) error {
	defer s.calls.Done()
	s.mu.Lock()
	do := s.planned[c.Seq]
	delete(s.planned, c.Seq)
	taken, err := s.take(&c, do.lost)
	s.mu.Unlock()
	if err == nil {
		err = sleep(ctx, do.lost, do.took)
	}
	if err == nil && do.failure != nil {
		err = do.failure
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if do.failure != nil && err == error(do.failure) && do.failure.Code == scheduler.FailureLost {
		s.lose()
	}
	if !isClosed(do.lost) {
		s.settle(&c, taken, err == nil)
	}
	return err
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// sleep returns after a time, or earlier with the reason.
func sleep(ctx context.Context, lost <-chan struct{}, took scheduler.Time) error {
	timer := time.NewTimer(time.Duration(took))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("cancelled: %w", ctx.Err())
	case <-lost:
		return lostError()
	}
}

// take reserves what a command needs, as a device does. The lock is held.
func (s *Sleeper) take(c *scheduler.Command, lost chan struct{}) (scheduler.Bytes, error) {
	if isClosed(lost) {
		return 0, lostError()
	}
	m := &s.models[c.Model]
	if here := s.resident[c.Model]; here != (c.Op != scheduler.OpLoad) {
		what := map[bool]string{false: "not loaded", true: "loaded already"}[here]
		return 0, &scheduler.CommandError{Text: fmt.Sprintf("model %s is %s", m.Name, what)}
	}
	var need scheduler.Bytes
	switch c.Op {
	case scheduler.OpLoad:
		need = m.Bytes
	case scheduler.OpRun:
		need = m.Batch.Memory * scheduler.Bytes(len(c.Items))
	}
	if s.cfg.Memory > 0 && need > s.cfg.Memory-s.held {
		return 0, &scheduler.CommandError{Code: scheduler.FailureOOM, Retryable: true,
			Text: fmt.Sprintf("%v wanted, %v free", need, s.cfg.Memory-s.held)}
	}
	s.held += need
	return need, nil
}

// settle gives back what a command does not keep. The lock is held.
func (s *Sleeper) settle(c *scheduler.Command, taken scheduler.Bytes, done bool) {
	switch {
	case c.Op == scheduler.OpLoad && done:
		s.resident[c.Model] = true
	case c.Op == scheduler.OpEvict && done:
		delete(s.resident, c.Model)
		s.held -= s.models[c.Model].Bytes
	default:
		s.held -= taken
	}
}

// lose drops the device with all that is on it. The lock is held.
func (s *Sleeper) lose() {
	if !isClosed(s.lost) {
		close(s.lost)
	}
	clear(s.resident)
	s.held = 0
}

// Lose loses the device, which cannot be restarted before back.
func (s *Sleeper) Lose(back time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.back = back
	s.lose()
}

// Restart brings a lost device back.
func (s *Sleeper) Restart(ctx context.Context) error {
	s.calls.Wait() // they end at once when the device is lost
	s.mu.Lock()
	back := s.back
	s.mu.Unlock()
	if err := sleep(ctx, nil, scheduler.Time(time.Until(back))); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if isClosed(s.lost) {
		s.lost = make(chan struct{})
	}
	return ctx.Err()
}

// Close ends what sleeps and forgets what is resident.
func (s *Sleeper) Close(ctx context.Context) error {
	err := s.CallExecutor.Close(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.resident)
	s.held = 0
	return err
}

// Held returns the memory in use.
func (s *Sleeper) Held() scheduler.Bytes {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held
}

var _ scheduler.Restarter = (*Sleeper)(nil)
