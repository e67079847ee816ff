package doctor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vramsim/vramsim/nvml"
	"github.com/vramsim/vramsim/scheduler"
)

// SelfTest makes happen what runs have to survive, on a device that nobody else
// uses, and looks from outside whether all memory comes back.
type SelfTest struct {
	Device    nvml.DeviceInfo
	Telemetry nvml.Telemetry
	Executor  NewExecutor
	// Hold starts another process that calls Occupy on the device, and returns
	// when that calls during. nil: the steps that need one are left out, and say
	// so.
	Hold func(context.Context, nvml.DeviceInfo) (Holder, error)
}

// Holder is another process that holds memory of a device.
type Holder interface {
	PID() int
	Stop() error // lets it end by itself and waits
	Kill() error // kills it at once (SIGKILL) and waits
}

// The sizes and times of the self-test.
const (
	// Tolerance is how far from the baseline used bytes may be afterwards:
	// drivers keep a little, and give it back late.
	Tolerance = 64 * scheduler.MiB
	// comeBack is how long bytes may take to show or to come back.
	comeBack = 5 * time.Second
	// testLimit bounds one step, and each trial of a Rig.
	testLimit = time.Minute
	// pollMemory is the time between looks; they cost tens of microseconds.
	pollMemory = 20 * time.Millisecond
)

// errUntested says that a step cannot be made here.
var errUntested = errors.New("not tested")

// errBusy says that others were in the way.
var errBusy = errors.New("others use the device")

// Add makes the steps and counts them in the report, those until the context
// ends.
func (s *SelfTest) Add(ctx context.Context, r *Report) {
	if s.Executor == nil {
		r.NoSelfTest("this build has no executor that uses a card", "build it with NVML and CUDA, as the README's part on GPUs says")
		return
	}
	for _, step := range []struct {
		name, advice string
		do           func(context.Context) (string, error)
	}{
		{"baseline", "what a load takes and an eviction gives back must show in the used bytes: see what else uses the device", s.baseline},
		{"oom", "a batch that does not fit must fail alone: use a smaller budget (safety) until it does", s.oom},
		{"abort", "a batch that is cancelled must end soon: Ctrl-C may take long, too", s.abort},
		{"foreign child", "memory of other processes must be seen: runs on this device cannot tell whether they were alone", s.foreignChild},
		{"kill -9", "the driver must free what a killed process held: look for processes that are left (nvidia-smi)", s.kill},
	} {
		done := made(ctx, step.name, step.advice, step.do)
		if ctx.Err() != nil {
			break // a step that was interrupted says nothing of the device
		}
		done.Device = s.Device.UUID
		r.SelfTest = append(r.SelfTest, done)
	}
	r.conclude()
}

// NoSelfTest counts in the report that there is nothing to test, and why.
func (r *Report) NoSelfTest(why, advice string) {
	r.SelfTest = append(r.SelfTest, Step{Name: "needs", Level: Fail, Cause: Missing, Found: why, Advice: advice})
	r.conclude()
}

func made(ctx context.Context, name, advice string, do func(context.Context) (string, error)) Step {
	ctx, cancel := context.WithTimeout(ctx, testLimit)
	defer cancel()
	begin := time.Now()
	found, err := do(ctx)
	step := Step{Name: name, Level: OK, Found: found, Took: time.Since(begin)}
	switch {
	case errors.Is(err, errUntested):
		step.Level, step.Found, step.Advice = Warn, err.Error(), "an executor that can run in another process is needed"
	case errors.Is(err, errBusy):
		step.Level, step.Cause, step.Found, step.Advice = Fail, Busy, err.Error(), advice
	case err != nil:
		step.Level, step.Cause, step.Found, step.Advice = Fail, Missing, err.Error(), advice
	}
	return step
}

// with opens an executor, does the step and closes it; the memory must then be
// what it was.
func (s *SelfTest) with(ctx context.Context, kinds []kind, do func(context.Context, *bench) error) (err error) {
	before, err := s.Telemetry.Memory()
	if err != nil {
		return err
	}
	exec, err := s.Executor(s.Device)
	if err != nil {
		return err
	}
	if err := run(ctx, exec, s.Device, kinds, do); err != nil {
		return err
	}
	if m, ok := s.until(ctx, func(used scheduler.Bytes) bool { return used <= before.Used+Tolerance }); !ok {
		return fmt.Errorf("%s used after everything was closed, %s before", mebibytes(m), mebibytes(before.Used))
	}
	return nil
}

// until looks at the used bytes until they are as wanted, or for comeBack.
func (s *SelfTest) until(ctx context.Context, wanted func(used scheduler.Bytes) bool) (scheduler.Bytes, bool) {
	used := scheduler.Bytes(nvml.Unknown)
	for end := time.Now().Add(comeBack); ; {
		if m, err := s.Telemetry.Memory(); err == nil {
			if used = m.Used; wanted(used) {
				return used, true
			}
		}
		if ctx.Err() != nil || !time.Now().Before(end) {
			return used, false
		}
		select {
		case <-ctx.Done():
		case <-time.After(pollMemory):
		}
	}
}

// baseline: a load takes its bytes, an eviction gives them back.
func (s *SelfTest) baseline(ctx context.Context) (string, error) {
	err := s.with(ctx, []kind{small()}, func(ctx context.Context, b *bench) error {
		open, err := s.Telemetry.Memory()
		if err != nil {
			return err
		}
		if err := b.do(ctx, scheduler.OpLoad, 0); err != nil {
			return err
		}
		if used, ok := s.until(ctx, func(used scheduler.Bytes) bool { return used >= open.Used+testWeights-Tolerance }); !ok {
			return fmt.Errorf("%s used before a load of %s, %s after", mebibytes(open.Used), mebibytes(testWeights), mebibytes(used))
		}
		if err := b.do(ctx, scheduler.OpEvict, 0); err != nil {
			return err
		}
		if used, ok := s.until(ctx, func(used scheduler.Bytes) bool { return used <= open.Used+Tolerance }); !ok {
			return fmt.Errorf("%s used before a load, %s after the eviction", mebibytes(open.Used), mebibytes(used))
		}
		return nil
	})
	return "a load and its eviction show in the used bytes, and all is back in the end", err
}

// oom: a batch that cannot fit runs out of memory, and what follows works.
func (s *SelfTest) oom(ctx context.Context) (string, error) {
	err := s.with(ctx, []kind{small(), huge(s.Device)}, func(ctx context.Context, b *bench) error {
		if err := errors.Join(b.do(ctx, scheduler.OpLoad, 0), b.do(ctx, scheduler.OpLoad, 1)); err != nil {
			return err
		}
		err := b.do(ctx, scheduler.OpRun, 1)
		if err == nil {
			return fmt.Errorf("a batch of %s did not run out of memory", mebibytes(s.Device.Memory))
		}
		if failed, ok := errors.AsType[*scheduler.CommandError](err); !ok || failed.Code != scheduler.FailureOOM {
			return fmt.Errorf("a batch of %s did not run out of memory but failed: %w", mebibytes(s.Device.Memory), err)
		}
		if err := b.do(ctx, scheduler.OpRun, 0); err != nil {
			return fmt.Errorf("after running out of memory: %w", err)
		}
		return nil
	})
	return "a batch that does not fit fails as out of memory, the next one works", err
}

// abort: a batch of minutes that is cancelled ends within seconds.
func (s *SelfTest) abort(ctx context.Context) (string, error) {
	var took time.Duration
	err := s.with(ctx, []kind{long()}, func(ctx context.Context, b *bench) error {
		if err := b.do(ctx, scheduler.OpLoad, 0); err != nil {
			return err
		}
		seq, err := b.start(scheduler.OpRun, 0, 10*scheduler.Minute)
		if err != nil {
			return err
		}
		running, cancel := context.WithTimeout(ctx, 10*pollMemory)
		defer cancel()
		if o, err := b.outcome(running, seq); err == nil {
			return fmt.Errorf("a batch of ten minutes ended at once: %v", o.Failure)
		}
		begin := time.Now()
		b.exec.Cancel(seq)
		ending, cancel := context.WithTimeout(ctx, comeBack)
		defer cancel()
		o, err := b.outcome(ending, seq)
		if took = time.Since(begin); err != nil {
			return err
		}
		if o.Failure == nil {
			return errors.New("a cancelled batch said that it had succeeded")
		}
		return nil
	})
	return fmt.Sprintf("a running batch ends %v after it is cancelled", rounded(took)), err
}

// held starts a holder and waits until its memory shows.
func (s *SelfTest) held(ctx context.Context) (h Holder, before scheduler.Bytes, err error) {
	if s.Hold == nil {
		return nil, 0, errUntested
	}
	m, err := s.Telemetry.Memory()
	if err != nil {
		return nil, 0, err
	}
	if h, err = s.Hold(ctx, s.Device); err != nil {
		return nil, 0, err
	}
	if used, ok := s.until(ctx, func(used scheduler.Bytes) bool { return used >= m.Used+testWeights-Tolerance }); !ok {
		return nil, 0, errors.Join(fmt.Errorf("%s used before another process took %s, %s after", mebibytes(m.Used), mebibytes(testWeights), mebibytes(used)), h.Kill())
	}
	return h, m.Used, nil
}

// back waits until a holder's memory is free again.
func (s *SelfTest) back(ctx context.Context, before scheduler.Bytes) error {
	if used, ok := s.until(ctx, func(used scheduler.Bytes) bool { return used <= before+Tolerance }); !ok {
		return fmt.Errorf("%w: %s used after the other process ended, %s before it began", errBusy, mebibytes(used), mebibytes(before))
	}
	return nil
}

// foreignChild: another process is seen, by its bytes and by its PID.
func (s *SelfTest) foreignChild(ctx context.Context) (string, error) {
	h, before, err := s.held(ctx)
	if err != nil {
		return "", err
	}
	list, err := s.Telemetry.Processes()
	named := "its PID is not listed, as in a container"
	for _, p := range list {
		if p.PID == h.PID() {
			named = "it is listed as " + processText(p)
		}
	}
	if errors.Is(err, nvml.ErrUnsupported) {
		named, err = "processes are not told", nil
	}
	if err := errors.Join(err, h.Stop()); err != nil {
		return "", err
	}
	return "another process shows in the used bytes; " + named, s.back(ctx, before)
}

// kill: the driver frees what a killed process held.
func (s *SelfTest) kill(ctx context.Context) (string, error) {
	h, before, err := s.held(ctx)
	if err != nil {
		return "", err
	}
	begin := time.Now()
	if err := h.Kill(); err != nil {
		return "", err
	}
	err = s.back(ctx, before)
	return fmt.Sprintf("what a killed process held is free again after %v", rounded(time.Since(begin))), err
}
