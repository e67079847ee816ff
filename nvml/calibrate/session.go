package calibrate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/vramsim/vramsim/nvml/profile"
	"github.com/vramsim/vramsim/scheduler"
)

// pending is a command that was started.
type pending struct {
	scheduler.Command
	began time.Time
	took  scheduler.Time
	held  scheduler.DeviceMemory // afterwards, as the executor says
	err   error
	done  bool
}

// do carries out one command and returns what it took.
func (s *session) do(ctx context.Context, c scheduler.Command) (scheduler.Time, error) {
	p := &pending{Command: c}
	s.start(p)
	if err := s.wait(ctx, p); err != nil {
		return 0, err
	}
	s.holds(p)
	return p.took, nil
}

// holds notes the memory of a model that is alone on the device: the most of
// what was ever said.
func (s *session) holds(p *pending) {
	switch p.Op {
	case scheduler.OpLoad:
		s.resident++
	case scheduler.OpEvict:
		s.resident--
	}
	if p.held == (scheduler.DeviceMemory{}) {
		return
	}
	o := s.memory[p.Model]
	if o == nil {
		o = &profile.Memory{}
		s.memory[p.Model] = o
	}
	switch {
	case p.Op == scheduler.OpEvict && s.resident == 0:
		o.Residue = max(o.Residue, p.held.Allocated)
	case s.resident != 1 || p.Op == scheduler.OpEvict:
	case p.Op == scheduler.OpLoad:
		o.Weights, o.LoadPeak = max(o.Weights, p.held.Allocated), max(o.LoadPeak, p.held.PeakAllocated)
	default:
		if o.RunPeak == nil {
			o.RunPeak = map[int]scheduler.Bytes{}
		}
		if peak := p.held.PeakAllocated; peak > 0 {
			o.RunPeak[len(p.Items)] = max(o.RunPeak[len(p.Items)], peak)
		}
	}
}

// beside starts a second command some time after the first, which runs then,
// waits for both and returns what the second took.
func (s *session) beside(ctx context.Context, first, second scheduler.Command, after scheduler.Time) (scheduler.Time, error) {
	a, b := &pending{Command: first}, &pending{Command: second}
	s.start(a)
	pause := time.NewTimer(time.Duration(after))
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done(): // wait tells
	}
	s.start(b)
	if err := s.wait(ctx, a, b); err != nil {
		return 0, err
	}
	s.resident--
	return b.took, nil
}

func (s *session) start(p *pending) {
	p.began = time.Now()
	if err := s.executor.Start(p.Command); err != nil {
		p.done, p.err = true, err
	}
}

// grace is how long a cancelled command has to end.
const grace = 10 * time.Second

// wait returns when all commands have ended. One that takes too long, or whose
// context ends, is cancelled and given some time.
func (s *session) wait(ctx context.Context, all ...*pending) error {
	timer := time.NewTimer(s.cfg.Timeout)
	defer timer.Stop()
	var late error
	over := ctx.Done()
	for !ended(all) {
		select {
		case o, open := <-s.executor.Outcomes():
			if !open {
				return errors.New("the executor closed its outcomes")
			}
			if err := s.settle(all, &o); err != nil {
				return err
			}
			continue
		case <-timer.C:
			if late != nil {
				return s.failed(all, late)
			}
			late = fmt.Errorf("%w: %v", ErrTimeout, s.cfg.Timeout)
		case <-over:
			late, over = context.Cause(ctx), nil
		}
		for _, p := range all {
			if !p.done {
				s.executor.Cancel(p.Seq)
			}
		}
		timer.Reset(grace)
	}
	return s.failed(all, late)
}

func ended(all []*pending) bool {
	return !slices.ContainsFunc(all, func(p *pending) bool { return !p.done })
}

// failed returns the reason of the first command that failed, or why they were
// waited for no longer.
func (s *session) failed(all []*pending, late error) error {
	for _, p := range all {
		err := p.err
		if late != nil && (err != nil || !p.done) {
			err = late
		}
		if err != nil {
			return &CommandFailure{Model: s.cfg.Plan.Models[p.Model].Name, Op: p.Op, Err: err}
		}
	}
	return late
}

// settle ends the command of an outcome.
func (s *session) settle(all []*pending, o *scheduler.Outcome) error {
	i := slices.IndexFunc(all, func(p *pending) bool { return p.Seq == o.Seq && !p.done })
	if i < 0 {
		return fmt.Errorf("the executor reports the end of command %d, which was not running", o.Seq)
	}
	p := all[i]
	p.took, p.held, p.done = scheduler.Time(time.Since(p.began)), o.Memory, true
	if o.Failure != nil {
		p.err = o.Failure
	}
	if s.cfg.Told == nil {
		return nil
	}
	return s.cfg.Told(fact(p, s.began))
}

// fact is the end of a command as the scheduler would tell it.
func fact(p *pending, began time.Time) scheduler.Event {
	ends := map[scheduler.Operation][2]scheduler.Kind{scheduler.OpLoad: {scheduler.LoadFinished, scheduler.LoadFailed},
		scheduler.OpEvict: {scheduler.EvictFinished, scheduler.EvictFailed}, scheduler.OpRun: {scheduler.BatchFinished, scheduler.BatchFailed}}
	kind := ends[p.Op][0]
	if p.err != nil {
		kind = ends[p.Op][1]
	}
	return scheduler.Event{At: scheduler.Time(p.began.Sub(began)) + p.took, Kind: kind, ID: int64(p.Seq), Model: p.Model, Device: p.Device}
}

// close gives the device back, whatever became of the context.
func (s *session) close(ctx context.Context) error {
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), scheduler.DefaultStopTimeout)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- s.executor.Close(closing) }()
	outcomes := s.executor.Outcomes()
	for { // they are read until Close has returned
		select {
		case _, open := <-outcomes:
			if !open {
				outcomes = nil
			}
		case err := <-closed:
			return err
		}
	}
}

// medianInterval returns the width of the 95 % interval of a median relative to
// it, by order statistics: the k-th from either end with the largest k for
// which the binomial distribution leaves at most 2.5 % on each side. Five
// samples leave 3.1 % at their ends, which has to do for them.
func medianInterval(samples []scheduler.Time) float64 {
	sorted := slices.Sorted(slices.Values(samples))
	n := len(sorted)
	k, tail, p := 0, 0.0, math.Pow(.5, float64(n)) // P(exactly i of n lie below the median)
	for i := 0; i < n/2; i++ {
		if tail += p; tail > .025 {
			break
		}
		k = i
		p = p * float64(n-i) / float64(i+1)
	}
	middle := median(sorted)
	if middle == 0 {
		return 0
	}
	return float64(sorted[n-1-k]-sorted[k]) / float64(middle)
}

// outliers counts samples more than five median absolute deviations, scaled to
// standard deviations of a normal distribution, from the median.
func outliers(samples []scheduler.Time) int {
	if len(samples) == 0 {
		return 0
	}
	middle := median(samples)
	deviations := make([]scheduler.Time, len(samples))
	for i, v := range samples {
		deviations[i] = max(v-middle, middle-v)
	}
	limit := 5 * 1.4826 * float64(median(deviations))
	n := 0
	for _, d := range deviations {
		if float64(d) > limit {
			n++
		}
	}
	return n
}
