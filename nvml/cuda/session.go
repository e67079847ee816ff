//go:build linux && cgo && nvml

package cuda

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vramsim/vramsim/scheduler"
)

// session is one life of a context, from its making to its loss or end. Its
// methods want the context to be current on the calling thread, but for lose.
type session struct {
	drv     *driver
	dev     device
	cfg     *Config
	plan    *scheduler.Plan
	weights *weights
	rates   *rates

	shared  bool // holds a share in the primary context
	ctx     primary
	mod     module
	target  string
	fn      [kernels]function
	lanes   []*lane // of the slots, then the link's
	ring    []*piece
	arena   []byte // the stream, pinned; nil without that tier
	ballast []address

	copying sync.Mutex // held by the load that uses ring and link lane
	reading sync.Mutex // held while a file is read into pinned memory, and while that is given back
	workers sync.WaitGroup

	mu     sync.Mutex
	models map[scheduler.ModelID]*resident
	held   int64 // by models and batches
	why    error // of the loss

	lostFlag int32         // the same as lost, for the shim
	lost     chan struct{} // closed
}

// resident is a model on the device, or on its way there or away.
type resident struct {
	address address
	size    int64
	moving  bool // loading or evicting
	users   int  // batches
}

// lane is a stream with what belongs to it.
type lane struct {
	stream     stream
	turns      [2]event // of launches, alternately
	launched   int
	begin, end event
	done       event
	scratch    address // what kernels write their results to
	result     []byte  // the same, pinned
}

// piece is a pinned slot that a load fills and copies from.
type piece struct {
	memory     []byte
	begin, end event
	used       bool // begin and end are of a copy
}

// Where the kernels of batches write in their lane's scratch.
const (
	atSpin = 0
	atSum  = 16
	atBurn = 32
)

// ringSlots is how many pinned slots there are: one is filled while others are
// copied.
const ringSlots = 4

// tolerance says how long work is waited for, and what may end that early.
type tolerance struct {
	stop  *int32 // set with package atomic
	until time.Time
}

// never is a stop that does not come.
var never int32

// openLimit bounds each wait while a session is made.
const openLimit = 30 * time.Second

// drainLimit bounds the wait for what is in flight when a command was cancelled or
// took too long: launches and slots are short.
func (c *Config) drainLimit() time.Duration { return min(2*time.Second, c.Patience) }

func within(d time.Duration) tolerance { return tolerance{stop: &never, until: time.Now().Add(d)} }

// openSession makes a context and all that commands need. The thread has to be
// locked; the context is current on it until the session is torn down or left.
func openSession(ctx context.Context, s *session) (err error) {
	s.lost, s.models = make(chan struct{}), map[scheduler.ModelID]*resident{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.teardown())
		}
	}()
	steps := []func() error{s.makeContext, s.compile, s.makeLanes, s.makeRing, s.selfTest, s.calibrate,
		func() error { return s.makeArena(ctx) }, s.takeBallast}
	for _, step := range steps {
		if err = step(); err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *session) makeContext() (err error) {
	if s.ctx, err = s.drv.retain(s.dev); err != nil {
		return err
	}
	s.shared = true
	return s.drv.enter(s.ctx)
}

// compile makes the kernels, for another target if the driver refuses theirs.
func (s *session) compile() (err error) {
	s.target = kernelTarget
	if s.mod, err = s.drv.compile(kernelSource); err != nil {
		var again error
		s.target = kernelRetry
		if s.mod, again = s.drv.compile(kernelsFor(kernelRetry)); again != nil {
			return fmt.Errorf("kernels for %s: %w; for %s: %w", kernelTarget, err, kernelRetry, again)
		}
	}
	for k, name := range kernelNames {
		if s.fn[k], err = s.drv.function(s.mod, name); err != nil {
			return fmt.Errorf("kernel %s: %w", name, err)
		}
	}
	return nil
}

// makeLanes makes a lane for each slot and one for the link.
func (s *session) makeLanes() (err error) {
	for range s.plan.Slots + 1 {
		l := &lane{}
		s.lanes = append(s.lanes, l)
		if l.stream, err = s.drv.newStream(); err != nil {
			return err
		}
		for _, e := range []*event{&l.turns[0], &l.turns[1], &l.begin, &l.end, &l.done} {
			if *e, err = s.drv.newEvent(); err != nil {
				return err
			}
		}
		if l.scratch, err = s.drv.alloc(scratchBytes); err != nil {
			return err
		}
		if l.result, err = s.drv.pin(scratchBytes); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) link() *lane { return s.lanes[len(s.lanes)-1] }

func (s *session) makeRing() (err error) {
	for range ringSlots {
		p := &piece{}
		s.ring = append(s.ring, p)
		if p.memory, err = s.drv.pin(int64(s.cfg.Slot)); err != nil {
			return fmt.Errorf("%v of pinned memory: %w", s.cfg.Slot, err)
		}
		for _, e := range []*event{&p.begin, &p.end} {
			if *e, err = s.drv.newEvent(); err != nil {
				return err
			}
		}
	}
	return nil
}

// makeArena pins the stream, if there is a host tier of pinned memory.
func (s *session) makeArena(ctx context.Context) (err error) {
	if s.cfg.HostTier != Pinned || s.plan.HostMemory == 0 {
		return nil
	}
	n := s.weights.pinnedBytes(s.plan.HostMemory)
	if n == 0 {
		return nil
	}
	if s.arena, err = s.drv.pin(n); err != nil {
		return fmt.Errorf("%v of pinned memory for the host tier: %w", scheduler.Bytes(n), err)
	}
	return s.weights.fill(ctx, s.arena, 0)
}

// blockThreads is the size of a block; blocksPerSM of them fit a multiprocessor
// of every device at once.
const (
	blockThreads = 256
	blocksPerSM  = 4
)

// blocks is the grid that fills the device once.
func (s *session) blocks() int { return s.dev.sms * blocksPerSM }

// launch starts work on a lane once at most one launch before it is under way.
func (s *session) launch(l *lane, t *tolerance, start func() error) error {
	turn := l.turns[l.launched%len(l.turns)]
	if l.launched >= len(l.turns) {
		if err := s.wait(turn, t); err != nil {
			return err
		}
	}
	if err := start(); err != nil {
		return err
	}
	l.launched++
	return s.drv.record(turn, l.stream)
}

// wait returns when an event has happened. What is late may only be slow: drain
// tells whether the device has stopped.
func (s *session) wait(e event, t *tolerance) error {
	err := s.drv.wait(e, t.stop, &s.lostFlag, time.Until(t.until))
	if errors.Is(err, errLate) {
		return errSlow
	}
	return err
}

// begin clears a lane's scratch and notes the device's time.
func (s *session) begin(l *lane) error {
	l.launched = 0
	if err := s.drv.zero(l.scratch, scratchBytes, l.stream); err != nil {
		return err
	}
	return s.drv.record(l.begin, l.stream)
}

// finish waits for a lane, fetches its results and returns the device's time
// since begin.
func (s *session) finish(l *lane, t *tolerance) (took scheduler.Time, err error) {
	if err = s.drv.record(l.end, l.stream); err != nil {
		return 0, err
	}
	if err = s.drv.copyOut(l.result, l.scratch, l.stream); err != nil {
		return 0, err
	}
	if err = s.drv.record(l.done, l.stream); err != nil {
		return 0, err
	}
	if err = s.wait(l.done, t); err != nil {
		return 0, err
	}
	return s.drv.elapsed(l.begin, l.end)
}

// at returns a result that finish fetched.
func (l *lane) at(offset int) uint64 { return binary.LittleEndian.Uint64(l.result[offset:]) }

// drain waits until nothing is in flight on a lane: a failed command is not over
// before. What does not end now hangs.
func (s *session) drain(l *lane) error {
	if err := s.drv.record(l.done, l.stream); err != nil {
		return err
	}
	return s.drv.wait(l.done, &never, &s.lostFlag, s.cfg.drainLimit())
}

// selfTest runs each kernel once on a little memory and compares it with what
// the host makes of it.
func (s *session) selfTest() (err error) {
	const words, spin, iters = 1 << 16, 10_000, 3
	l, t, seed := s.link(), within(openLimit), s.weights.seed
	a, err := s.drv.alloc(words * wordBytes)
	if err != nil {
		return err
	}
	if err = s.begin(l); err != nil {
		return err
	}
	for _, start := range []func() error{
		func() error { return s.fill(l, a, words) },
		func() error { return s.sum(l, a, words*wordBytes, 2, atSum) },
		func() error { return s.burn(l, iters) },
		func() error { return s.spin(l, spin) },
	} {
		if err = s.launch(l, &t, start); err != nil {
			return err
		}
	}
	if _, err = s.finish(l, &t); err != nil {
		return err
	}
	if sum := 2 * streamSum(seed, 0, words); l.at(atSum) != sum || l.at(atBurn) != iters || l.at(atSpin) == 0 || l.at(atSpin+8) < spin {
		return fmt.Errorf("the kernels compute something else than the host: sum %#x instead of %#x, %d iterations of %d, %d ns of %d",
			l.at(atSum), sum, l.at(atBurn), iters, l.at(atSpin+8), spin)
	}
	return s.drv.free(a)
}

func (s *session) fill(l *lane, a address, words int64) error {
	return launch(s.drv, s.fn[fillU32], s.blocks(), blockThreads, l.stream, fillParams{a, uint64(words), uint64(s.weights.seed)})
}

// sum adds the words at a, passes times, to the lane's scratch at out.
func (s *session) sum(l *lane, a address, bytes, passes int64, out int) error {
	return launch(s.drv, s.fn[sumU32], s.blocks(), blockThreads, l.stream,
		sumParams{a, uint64(bytes / vectorBytes), uint64(passes), l.scratch + uint64(out)})
}

func (s *session) burn(l *lane, iters int64) error {
	return launch(s.drv, s.fn[burnFMA], s.blocks(), blockThreads, l.stream, burnParams{uint64(iters), l.scratch + atBurn})
}

// spin is over ns after the first one since begin began.
func (s *session) spin(l *lane, ns scheduler.Time) error {
	return launch(s.drv, s.fn[spinNS], 1, 32, l.stream, spinParams{uint64(max(ns, 0)), l.scratch + atSpin})
}

// takeBallast takes what the plan may not use, down to the 2 MiB that drivers
// allocate by.
func (s *session) takeBallast() error {
	if !s.cfg.Ballast {
		return nil
	}
	const grain, most = int64(2 * scheduler.MiB), int64(scheduler.GiB)
	free, total, err := s.drv.memory()
	if err != nil {
		return err
	}
	leave := int64(s.plan.Memory)
	if s.cfg.Memory > 0 {
		leave = int64(s.cfg.Memory) - (total - free)
	}
	if leave <= 0 || leave > free {
		return &ConfigError{Field: "Memory", What: fmt.Sprintf("a card that leaves %v cannot be emulated on one of %v with %v free",
			scheduler.Bytes(leave), scheduler.Bytes(total), scheduler.Bytes(free))}
	}
	for n := most; n >= grain && free-leave >= grain; {
		a, err := s.drv.alloc(min(n, (free-leave)/grain*grain))
		switch {
		case isOutOfMemory(err):
			n /= 2
			continue
		case err != nil:
			return err
		}
		s.ballast = append(s.ballast, a)
		was := free
		if free, _, err = s.drv.memory(); err != nil {
			return err
		}
		if free >= was {
			return errors.New("memory that was allocated is free all the same")
		}
	}
	return nil
}

func isOutOfMemory(err error) bool {
	e, ok := errors.AsType[*DriverError](err)
	return ok && e.Code == codeOutOfMemory
}

// fatal says that a context answers no more.
func fatal(err error) bool {
	e, ok := errors.AsType[*DriverError](err)
	return errors.Is(err, errLate) || errors.Is(err, errLost) || ok && sticky[e.Code]
}

// lose says that the context is gone, and why. Only the first time counts.
func (s *session) lose(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.why == nil {
		s.why = why
		atomic.StoreInt32(&s.lostFlag, 1)
		close(s.lost)
	}
}

func (s *session) isLost() bool { return atomic.LoadInt32(&s.lostFlag) != 0 }

// lostError is why commands fail after a loss.
func (s *session) lostError() *scheduler.CommandError {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &scheduler.CommandError{Code: scheduler.FailureLost, Retryable: true, Text: fmt.Sprintf("the context is lost: %v", s.why)}
}

// teardown gives everything back. It may be called on what is half made.
func (s *session) teardown() error {
	if !s.shared {
		return nil
	}
	s.shared = false
	s.reading.Lock()
	defer s.reading.Unlock()
	var err error
	if !s.isLost() {
		if err = s.drv.enter(s.ctx); err == nil {
			err = s.freeAll()
		}
	}
	left := s.drv.enter(nil)
	released := s.drv.release(s.dev)
	if err == nil && !s.isLost() {
		return errors.Join(left, released)
	}
	// What is lost or could not be freed goes with the context; the last share
	// destroyed it already unless somebody else in this process has one.
	if reset := s.drv.reset(s.dev); reset != nil {
		return errors.Join(err, released, reset)
	}
	return nil
}

// freeAll gives back what this session has in its context.
func (s *session) freeAll() error {
	var errs []error
	add := func(err error) { errs = append(errs, err) }
	for _, m := range s.models {
		if m.address != 0 {
			add(s.drv.free(m.address))
		}
	}
	for _, a := range s.ballast {
		add(s.drv.free(a))
	}
	for _, l := range s.lanes {
		add(s.freeLane(l))
	}
	for _, p := range s.ring {
		add(s.freeEvents(p.begin, p.end))
		add(s.freePinned(p.memory))
	}
	add(s.freePinned(s.arena))
	if s.mod != nil {
		add(s.drv.unload(s.mod))
	}
	return errors.Join(errs...)
}

func (s *session) freeLane(l *lane) error {
	errs := []error{s.freeEvents(l.turns[0], l.turns[1], l.begin, l.end, l.done), s.freePinned(l.result)}
	if l.scratch != 0 {
		errs = append(errs, s.drv.free(l.scratch))
	}
	if l.stream != nil {
		errs = append(errs, s.drv.destroyStream(l.stream))
	}
	return errors.Join(errs...)
}

func (s *session) freeEvents(events ...event) error {
	var errs []error
	for _, e := range events {
		if e != nil {
			errs = append(errs, s.drv.destroyEvent(e))
		}
	}
	return errors.Join(errs...)
}

func (s *session) freePinned(memory []byte) error {
	if memory == nil {
		return nil
	}
	return s.drv.unpin(memory)
}
