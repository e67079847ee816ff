//go:build linux && cgo && nvml

package cuda

import (
	"context"
	"errors"
	"time"

	"github.com/vramsim/vramsim/scheduler"
)

// Check makes a context, compiles and tries the kernels and pins memory, and
// tells what it took; all of it is given back. Of the configuration it uses
// Library, UUID and PinLimit. Errors are those of
// Executor.Open; the report then has what was found out before.
func Check(ctx context.Context, cfg Config) (Report, error) {
	var r Report
	cfg, err := cfg.withDefaults()
	if err != nil {
		return r, err
	}
	d, v, err := connect(ctx, &cfg)
	if err != nil {
		return r, err
	}
	r.Device, r.UUID, r.Compute, r.SMs = v.name, v.uuid, v.compute, v.sms
	if r.Driver, err = d.version(); err != nil {
		return r, err
	}
	found := make(chan Report, 1) // what hangs in the driver keeps its own
	err = onThread(ctx, func() error {
		r := r
		err := checkDevice(ctx, &r, &session{drv: d, dev: v, cfg: &cfg, plan: &scheduler.Plan{}, weights: &weights{}, rates: &rates{}})
		found <- r
		return err
	})
	select {
	case r = <-found:
	default:
	}
	return r, err
}

// checkDevice fills in what takes a context.
func checkDevice(ctx context.Context, r *Report, s *session) (err error) {
	s.lost = make(chan struct{})
	defer func() { err = errors.Join(err, s.teardown()) }()
	timed := func(took *time.Duration, step func() error) {
		if err != nil {
			return
		}
		if err = ctx.Err(); err != nil {
			return
		}
		begin := time.Now()
		err = step()
		*took = time.Since(begin)
	}
	var ignored time.Duration
	timed(&r.Context, s.makeContext)
	timed(&ignored, func() error {
		free, total, err := s.drv.memory()
		r.Free, r.Total = scheduler.Bytes(free), scheduler.Bytes(total)
		return err
	})
	timed(&r.JIT, s.compile)
	r.Target = s.target
	timed(&ignored, s.makeLanes)
	timed(&ignored, s.selfTest)
	timed(&ignored, func() (err error) { r.Launch, err = s.launchTime(); return err })
	timed(&ignored, func() (err error) { r.Pinned, r.PinTime, err = s.pinLimit(ctx); return err })
	return err
}

// launchTime returns the shortest of some rounds of a launch that does nothing.
func (s *session) launchTime() (time.Duration, error) {
	l, least := s.link(), time.Duration(1<<62)
	for range 20 {
		begin, t := time.Now(), within(openLimit)
		if err := s.spin(l, 0); err != nil {
			return 0, err
		}
		if err := s.drv.record(l.done, l.stream); err != nil {
			return 0, err
		}
		if err := s.wait(l.done, &t); err != nil {
			return 0, err
		}
		least = min(least, time.Since(begin))
	}
	return least, nil
}

// pinLimit tries how much memory can be pinned at once, twice as much each time,
// and how long the most took.
func (s *session) pinLimit(ctx context.Context) (most scheduler.Bytes, took time.Duration, err error) {
	for n := min(64*scheduler.MiB, s.cfg.PinLimit); ctx.Err() == nil; n = min(2*n, s.cfg.PinLimit) {
		begin := time.Now()
		memory, err := s.drv.pin(int64(n))
		if isOutOfMemory(err) {
			return most, took, nil
		}
		if err != nil {
			return most, took, err
		}
		most, took = n, time.Since(begin)
		if err := s.drv.unpin(memory); err != nil || n == s.cfg.PinLimit {
			return most, took, err
		}
	}
	return most, took, ctx.Err()
}
