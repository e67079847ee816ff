package nvml_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vramsim/vramsim/nvml"
	"github.com/vramsim/vramsim/nvml/executortest"
	"github.com/vramsim/vramsim/scheduler"
)

// sleeperOf makes a sleeper that goes wrong as the script says.
func sleeperOf(script executortest.Script) *nvml.Sleeper {
	started := -1
	return nvml.NewSleeper(nvml.SleeperConfig{Memory: script.Memory,
		Took: func(c scheduler.Command) scheduler.Time { return c.Estimate / 10 },
		Fail: func(scheduler.Command) *scheduler.CommandError {
			if started++; started != script.At {
				return nil
			}
			if script.Fault == executortest.Lost {
				return &scheduler.CommandError{Code: scheduler.FailureLost, Text: "off the bus"}
			}
			return &scheduler.CommandError{Code: scheduler.FailureFault, Text: "as the script says"}
		}})
}

// TestSleeperKeepsTheContract runs the contract of executors on the one that
// sleeps.
func TestSleeperKeepsTheContract(t *testing.T) {
	executortest.Test(t, executortest.Fixture{
		Faults:   []executortest.Fault{executortest.OOM, executortest.Failure, executortest.Lost},
		Patience: time.Minute, Slots: 3, Host: true,
		New: func(_ testing.TB, _ scheduler.Plan, script executortest.Script) executortest.Bench {
			s := sleeperOf(script)
			return executortest.Bench{Executor: s, Held: func() (scheduler.Bytes, error) { return s.Held(), nil }}
		}})
}

// TestLeaseKeepsTheContract runs it on an executor that is kept beneath: what
// a lease leaves resident is evicted when it is closed.
func TestLeaseKeepsTheContract(t *testing.T) {
	executortest.Test(t, executortest.Fixture{
		Faults:   []executortest.Fault{executortest.OOM, executortest.Failure, executortest.Lost},
		Patience: time.Minute, Slots: 3, Host: true,
		New: func(_ testing.TB, _ scheduler.Plan, script executortest.Script) executortest.Bench {
			s := sleeperOf(script)
			k := nvml.NewKeeper(func() (scheduler.Executor, error) { return s, nil })
			return executortest.Bench{Executor: k.Lease(), Held: func() (scheduler.Bytes, error) { return s.Held(), nil }}
		}})
}

// TestKeeperKeeps: the same plan is not opened again, another one is.
func TestKeeperKeeps(t *testing.T) {
	opened := 0
	k := nvml.NewKeeper(func() (scheduler.Executor, error) {
		opened++
		return nvml.NewSleeper(nvml.SleeperConfig{}), nil
	})
	plan := scheduler.Plan{Name: "gpu0", Models: []scheduler.Model{{Name: "a", Bytes: scheduler.MiB}}, Slots: 1}
	for i, memory := range []scheduler.Bytes{8, 8, 9, 9, 8} {
		plan.Memory = memory * scheduler.MiB
		l := k.Lease()
		if _, err := l.Open(t.Context(), plan); err != nil {
			t.Fatal(err)
		}
		if err := l.Start(scheduler.Command{Seq: uint64(i), Op: scheduler.OpLoad}); err != nil {
			t.Fatal(err)
		}
		if o := <-l.Outcomes(); o.Failure != nil {
			t.Errorf("run %d: what was loaded before is still there: %v", i, o.Failure)
		}
		if err := l.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if opened != 3 {
		t.Errorf("opened %d times, want 3", opened)
	}
	if err := k.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestKeeperDropsWhatIsLost: an executor that was lost and not brought back is
// not handed on, and one that was brought back knows that nothing is resident.
func TestKeeperDropsWhatIsLost(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		opened := 0
		k := nvml.NewKeeper(func() (scheduler.Executor, error) {
			opened++
			return sleeperOf(executortest.Script{At: 1, Fault: executortest.Lost}), nil
		})
		plan := scheduler.Plan{Name: "gpu0", Models: []scheduler.Model{{Name: "a", Bytes: scheduler.MiB}}, Slots: 1}
		l := k.Lease()
		if _, err := l.Open(t.Context(), plan); err != nil {
			t.Fatal(err)
		}
		for seq, op := range []scheduler.Operation{scheduler.OpLoad, scheduler.OpRun} {
			if err := l.Start(scheduler.Command{Seq: uint64(seq), Op: op, Items: make([]scheduler.CommandItem, 1)}); err != nil {
				t.Fatal(err)
			}
			<-l.Outcomes()
		}
		if restarted {
			if err := l.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := k.Lease().Open(t.Context(), plan); err != nil {
			t.Fatal(err)
		}
		if want := map[bool]int{false: 2, true: 1}[restarted]; opened != want {
			t.Errorf("restarted %v: opened %d times, want %d", restarted, opened, want)
		}
	}
}

// TestLeaseForgetsOnRestart: what was resident when an idle device was lost is
// not evicted at the end.
func TestLeaseForgetsOnRestart(t *testing.T) {
	s, opened := nvml.NewSleeper(nvml.SleeperConfig{}), 0
	k := nvml.NewKeeper(func() (scheduler.Executor, error) { opened++; return s, nil })
	plan := scheduler.Plan{Name: "gpu0", Models: []scheduler.Model{{Name: "a", Bytes: scheduler.MiB}}, Slots: 1}
	l := k.Lease()
	if _, err := l.Open(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	if err := l.Start(scheduler.Command{Op: scheduler.OpLoad}); err != nil {
		t.Fatal(err)
	}
	<-l.Outcomes()
	s.Lose(time.Now())
	if err := l.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Lease().Open(t.Context(), plan); err != nil || opened != 1 {
		t.Errorf("opened %d times (%v): an eviction of what was not there failed", opened, err)
	}
}

// TestLeaseOfABelatedLoss: what is told of a loss after the restart changes
// nothing: what was loaded since is evicted at the end.
func TestLeaseOfABelatedLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, opened := nvml.NewSleeper(nvml.SleeperConfig{}), 0
		k := nvml.NewKeeper(func() (scheduler.Executor, error) { opened++; return newBelated(s, time.Second), nil })
		plan := scheduler.Plan{Name: "gpu0", Models: []scheduler.Model{{Name: "a", Bytes: scheduler.MiB}}, Slots: 1}
		l := k.Lease()
		if _, err := l.Open(t.Context(), plan); err != nil {
			t.Fatal(err)
		}
		start := func(seq uint64, took scheduler.Time) {
			if err := l.Start(scheduler.Command{Seq: seq, Op: scheduler.OpLoad, Estimate: took}); err != nil {
				t.Fatal(err)
			}
		}
		start(0, scheduler.Minute)
		synctest.Wait()
		s.Lose(time.Now())
		if err := l.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		start(1, 0)
		for _, seq := range []uint64{1, 0} {
			if o := <-l.Outcomes(); o.Seq != seq || (o.Failure != nil) != (seq == 0) {
				t.Errorf("outcome %+v", o)
			}
		}
		if err := l.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		next := k.Lease()
		if _, err := next.Open(t.Context(), plan); err != nil || opened != 1 || s.Held() != 0 {
			t.Errorf("opened %d times (%v), %v are held", opened, err, s.Held())
		}
		if err := errors.Join(next.Close(t.Context()), k.Close(t.Context())); err != nil {
			t.Fatal(err)
		}
	})
}
