package nvml

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"

	"github.com/vramsim/vramsim/scheduler"
)

// Keeper keeps one device's executor open from run to run: starting a worker or
// writing weights takes longer than many a run. Each run gets a Lease, which is
// an executor of its own; when that is closed everything is evicted, and the
// executor beneath stays. Its methods belong to one goroutine.
type Keeper struct {
	open  func() (scheduler.Executor, error)
	inner scheduler.Executor // nil until the first run, and after a failure
	able  scheduler.Capabilities
	plan  scheduler.Plan
}

// NewKeeper returns a keeper of executors that open makes.
func NewKeeper(open func() (scheduler.Executor, error)) *Keeper { return &Keeper{open: open} }

// Lease returns an executor for one run. The one before must have been closed.
func (k *Keeper) Lease() scheduler.Restarter {
	return &lease{keeper: k, outcomes: make(chan scheduler.Outcome), quit: make(chan struct{}),
		resident: map[scheduler.ModelID]bool{}, flying: map[uint64]leased{}, quiet: make(chan struct{})}
}

// Close closes the executor. Further calls do nothing.
func (k *Keeper) Close(ctx context.Context) error {
	if k.inner == nil {
		return nil
	}
	inner := k.inner
	k.inner = nil
	return inner.Close(ctx)
}

// acquire opens the executor for the plan, unless it is open for the same.
func (k *Keeper) acquire(ctx context.Context, plan scheduler.Plan) error {
	if k.inner != nil && reflect.DeepEqual(k.plan, plan) {
		return nil
	}
	if err := k.Close(ctx); err != nil {
		return err
	}
	inner, err := k.open()
	if err != nil {
		return err
	}
	k.inner, k.plan = inner, plan
	k.able, err = inner.Open(ctx, plan)
	return err
}

// lease is a Keeper's executor for one run.
type lease struct {
	keeper   *Keeper
	inner    scheduler.Executor // set once, when it is opened
	outcomes chan scheduler.Outcome
	quit     chan struct{}
	forwards sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	resident map[scheduler.ModelID]bool
	flying   map[uint64]leased
	life     int           // restarts that are over
	quiet    chan struct{} // closed when nothing is in flight while it is being closed
	broken   error         // why the executor is not kept
	lost     bool          // it has not been restarted since it was lost
}

// leased is a command in flight.
type leased struct {
	scheduler.Command
	life int // in which it was started
}

// Open opens the executor if it is not open yet for the same plan.
func (l *lease) Open(ctx context.Context, plan scheduler.Plan) (scheduler.Capabilities, error) {
	k := l.keeper
	if err := k.acquire(ctx, plan); err != nil {
		l.broken = err
		return scheduler.Capabilities{}, err
	}
	l.inner = k.inner
	l.forwards.Go(func() { l.forward(l.inner.Outcomes()) })
	return k.able, nil
}

// forward passes outcomes on, but those of the evictions at the end.
func (l *lease) forward(from <-chan scheduler.Outcome) {
	for {
		select {
		case o, ok := <-from:
			if !ok {
				close(l.outcomes)
				return
			}
			if l.note(&o) {
				select {
				case l.outcomes <- o:
				case <-l.quit:
					return
				}
			}
			l.landed(o.Seq)
		case <-l.quit:
			return
		}
	}
}

// ownSeq is above the sequence numbers of commands: evictions at the end.
const ownSeq = 1 << 63

// note keeps what an outcome says of the device, and reports whether it is one
// that the run waits for.
func (l *lease) note(o *scheduler.Outcome) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	c, ok := l.flying[o.Seq]
	if !ok {
		return true // not ours to judge
	}
	switch {
	case c.life != l.life: // told late: the restart has been since
	case o.Failure != nil && o.Failure.Code == scheduler.FailureLost:
		clear(l.resident)
		l.lost = true
	case o.Failure != nil && c.Seq >= ownSeq:
		l.broken = o.Failure
	case o.Failure == nil && c.Op == scheduler.OpLoad:
		l.resident[c.Model] = true
	case o.Failure == nil && c.Op == scheduler.OpEvict:
		delete(l.resident, c.Model)
	}
	return c.Seq < ownSeq
}

// landed says that a command's outcome was handed on.
func (l *lease) landed(seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.flying, seq)
	if l.closed && len(l.flying) == 0 {
		close(l.quiet)
		l.quiet = make(chan struct{})
	}
}

// Start passes a command on.
func (l *lease) Start(c scheduler.Command) error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return &scheduler.CommandError{Code: scheduler.FailureLost, Text: "the executor is closed"}
	}
	l.mu.Unlock()
	return l.start(c)
}

func (l *lease) start(c scheduler.Command) error {
	l.mu.Lock()
	life := l.life
	l.flying[c.Seq] = leased{c, life}
	l.mu.Unlock()
	err := l.inner.Start(c)
	if err != nil {
		l.mu.Lock()
		delete(l.flying, c.Seq)
		if isLost(err) && life == l.life {
			clear(l.resident)
			l.lost = true
		}
		l.mu.Unlock()
	}
	return err
}

// Outcomes returns the channel of outcomes.
func (l *lease) Outcomes() <-chan scheduler.Outcome { return l.outcomes }

// Cancel passes the wish on.
func (l *lease) Cancel(seq uint64) {
	if l.inner != nil {
		l.inner.Cancel(seq)
	}
}

// Restart restarts the executor.
func (l *lease) Restart(ctx context.Context) error {
	r, ok := l.inner.(scheduler.Restarter)
	if !ok {
		return fmt.Errorf("executor %s cannot be restarted", l.keeper.able.Name)
	}
	err := r.Restart(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.resident)
	l.life++
	l.lost = err != nil
	return err
}

// Close cancels what runs and evicts what is there. If that fails, the
// executor is closed, too.
func (l *lease) Close(ctx context.Context) error {
	l.mu.Lock()
	again := l.closed
	l.closed = true
	l.mu.Unlock()
	if again {
		return nil
	}
	err := l.clear(ctx)
	l.mu.Lock()
	keep := err == nil && l.broken == nil && !l.lost
	l.mu.Unlock()
	if !keep {
		err = l.keeper.Close(ctx)
	}
	close(l.quit)
	l.forwards.Wait()
	return err
}

// clear ends what is in flight and evicts what is resident.
func (l *lease) clear(ctx context.Context) error {
	if l.inner == nil {
		return nil
	}
	l.mu.Lock()
	for _, seq := range slices.Sorted(maps.Keys(l.flying)) {
		l.inner.Cancel(seq)
	}
	l.mu.Unlock()
	if err := l.wait(ctx); err != nil {
		return err
	}
	l.mu.Lock()
	there := slices.Sorted(maps.Keys(l.resident))
	l.mu.Unlock()
	for i, m := range there {
		c := scheduler.Command{Seq: ownSeq + uint64(i), Op: scheduler.OpEvict, Device: l.keeper.plan.Device, Model: m, Estimate: l.keeper.plan.Models[m].Unload}
		if err := l.start(c); err != nil {
			return err
		}
		if err := l.wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// wait returns when nothing is in flight.
func (l *lease) wait(ctx context.Context) error {
	l.mu.Lock()
	quiet, n := l.quiet, len(l.flying)
	l.mu.Unlock()
	if n == 0 {
		return nil
	}
	select {
	case <-quiet:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
