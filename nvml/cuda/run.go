//go:build linux && cgo && nvml

package cuda

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/vramsim/vramsim/scheduler"
)

// over says whether a command has been cancelled, its context lost, or its time
// is over.
func (t *tolerance) over(s *session) error {
	switch {
	case s.isLost():
		return errLost
	case atomic.LoadInt32(t.stop) != 0:
		return errStopped
	case !time.Now().Before(t.until):
		return errSlow
	}
	return nil
}

// batch is one run under way.
type batch struct {
	*command
	session *session
	lane    *lane
	model   *resident
	memory  address // of activations; 0: none
	bytes   int64   // of it
	// What the kernels have to have done in the end.
	sum   uint64
	iters uint64
	ns    scheduler.Time
}

// run allocates the batch's memory, computes and gives it back.
func (s *session) run(c *command, o *scheduler.Outcome) error {
	m, err := s.use(c.Model)
	if err != nil {
		return err
	}
	defer s.unuse(m)
	w := watch(o)
	b := &batch{command: c, session: s, lane: s.lanes[c.Slot], model: m,
		bytes: int64(s.plan.Models[c.Model].Batch.Memory) * int64(len(c.Items))}
	if b.bytes > 0 {
		if b.memory, err = s.allocate(b.bytes, o); err != nil {
			return err
		}
	}
	w.lap("alloc")
	o.DeviceTime, err = b.compute()
	if err != nil && !fatal(err) {
		if left := s.drain(b.lane); left != nil {
			err = left
		}
	}
	w.lap("compute")
	if b.memory != 0 && (err == nil || !fatal(err)) {
		if left := s.release(b.memory, b.bytes); left != nil && err == nil {
			err = left
		}
		w.lap("free")
	}
	return err
}

// use keeps a model from being evicted until unuse.
func (s *session) use(id scheduler.ModelID) (*resident, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, err := s.here(id)
	if err != nil {
		return nil, err
	}
	m.users++
	return m, nil
}

func (s *session) unuse(m *resident) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m.users--
}

// compute does the batch's work and returns the device's time.
func (b *batch) compute() (scheduler.Time, error) {
	s := b.session
	if err := b.tolerance.over(s); err != nil {
		return 0, err
	}
	if err := s.begin(b.lane); err != nil {
		return 0, err
	}
	work := b.spin
	if s.cfg.Work == Fit {
		work = b.fit
	}
	if err := work(); err != nil {
		return 0, err
	}
	took, err := s.finish(b.lane, &b.tolerance)
	if err != nil {
		return 0, err
	}
	return took, b.verify()
}

// left is how much of the estimate is not over yet.
func (b *batch) left() scheduler.Time {
	return max(b.Estimate-scheduler.Time(time.Since(b.began)), 0)
}

// launch starts one kernel of the batch.
func (b *batch) launch(start func() error) error {
	return b.session.launch(b.lane, &b.tolerance, start)
}

// touch writes all of the batch's memory.
func (b *batch) touch() error {
	for at := int64(0); at+wordBytes <= b.bytes; at += pieceBytes {
		n := min(pieceBytes, b.bytes-at)
		if err := b.launch(func() error { return b.session.fill(b.lane, b.memory+uint64(at), n/wordBytes) }); err != nil {
			return err
		}
	}
	return nil
}

// spin keeps a thread of the device busy until the estimate is over, counted
// from the start of the command, on the device's clock. Each launch adds a
// quantum to where the one before ended, so gaps between them add up to nothing.
func (b *batch) spin() error {
	step := func(ns scheduler.Time) error {
		return b.launch(func() error { return b.session.spin(b.lane, ns) })
	}
	b.ns = b.left()
	if err := step(0); err != nil { // the device's clock starts here
		return err
	}
	if err := b.touch(); err != nil {
		return err
	}
	quantum := scheduler.Time(b.session.cfg.Quantum)
	for at := scheduler.Time(0); at < b.ns; {
		at += min(quantum, b.ns-at)
		if err := step(at); err != nil {
			return err
		}
	}
	return nil
}

// fit does the work that took the estimate's time when the rates were measured:
// the Base of the model's batches reading weights, the rest multiply-adds.
func (b *batch) fit() error {
	left := b.left()
	if err := b.touch(); err != nil {
		return err
	}
	base := min(b.session.plan.Models[b.Model].Batch.Base, left)
	if b.session.rates.stream[b.Model] == 0 {
		base = 0
	}
	if err := b.readWeights(base); err != nil {
		return err
	}
	return b.burn(left - base)
}

// readWeights passes over the model's pieces, in turn, for a time.
func (b *batch) readWeights(t scheduler.Time) error {
	s := b.session
	rate := s.rates.stream[b.Model]
	sums := s.weights.sums[b.Model]
	quantum := rate * float64(s.cfg.Quantum)
	for left, k := rate*float64(t), 0; ; k = (k + 1) % len(sums) {
		at := int64(k) * pieceBytes
		n := min(pieceBytes, b.model.size-at)
		passes := int64(math.Round(min(left, quantum) / float64(n)))
		if passes = max(passes, 1); left < float64(n)/2 {
			return nil
		}
		if err := b.launch(func() error { return s.sum(b.lane, b.model.address+uint64(at), n, passes, atSum) }); err != nil {
			return err
		}
		b.sum += uint64(passes) * sums[k]
		left -= float64(passes) * float64(n)
	}
}

// burn does multiply-adds for a time.
func (b *batch) burn(t scheduler.Time) error {
	rate := b.session.rates.burn
	most := max(int64(rate*float64(b.session.cfg.Quantum)), 1)
	for left := int64(math.Round(rate * float64(t))); left > 0; {
		n := min(left, most)
		if err := b.launch(func() error { return b.session.burn(b.lane, n) }); err != nil {
			return err
		}
		b.iters += uint64(n)
		left -= n
	}
	return nil
}

// verify compares what the kernels did with what they were to do.
func (b *batch) verify() error {
	l := b.lane
	if l.at(atSum) == b.sum && l.at(atBurn) == b.iters && l.at(atSpin+8) >= uint64(b.ns) {
		return nil
	}
	return &scheduler.CommandError{Text: fmt.Sprintf("the device computed something else: sum %#x instead of %#x, %d iterations of %d, %d ns of %d",
		l.at(atSum), b.sum, l.at(atBurn), b.iters, l.at(atSpin+8), b.ns)}
}
