package doctor

import (
	"context"
	"errors"
	"fmt"

	"github.com/vramsim/vramsim/nvml"
	"github.com/vramsim/vramsim/scheduler"
)

// NewExecutor returns an executor for a device that has not been opened.
type NewExecutor func(nvml.DeviceInfo) (scheduler.Executor, error)

// testWeights is the size of the models that are loaded to see what happens.
const testWeights = 256 * scheduler.MiB

// kind is a model that is tried.
type kind struct {
	name    string
	weights scheduler.Bytes
	item    scheduler.Bytes // that a batch of one takes
	takes   scheduler.Time
}

func small() kind { return kind{"small", testWeights, scheduler.MiB, 5 * scheduler.Millisecond} }
func long() kind  { return kind{"long", testWeights, scheduler.MiB, 10 * scheduler.Minute} }

// huge has batches that no device of that memory can run.
func huge(device nvml.DeviceInfo) kind {
	return kind{"huge", testWeights, device.Memory, 5 * scheduler.Millisecond}
}

// tiny is for executors of which only the context is wanted.
func tiny() kind { return kind{"tiny", scheduler.MiB, scheduler.MiB, 5 * scheduler.Millisecond} }

// planOf is what executors are opened for: those models, numbered in that order.
func planOf(device nvml.DeviceInfo, kinds []kind) scheduler.Plan {
	p := scheduler.Plan{Name: device.UUID, Slots: 1, Tiers: []scheduler.Tier{scheduler.TierHost}, Memory: device.Memory, Seed: 1}
	for _, k := range kinds {
		p.Models = append(p.Models, scheduler.Model{Name: k.name, Bytes: k.weights, Batch: scheduler.BatchCost{Max: 1, Memory: k.item, PerItem: k.takes}})
		p.HostMemory += k.weights
	}
	return p
}

// bench is an executor under test.
type bench struct {
	exec  scheduler.Executor
	seq   uint64
	ended map[uint64]scheduler.Outcome
}

// run opens an executor, does what is to be done and closes it.
func run(ctx context.Context, exec scheduler.Executor, device nvml.DeviceInfo, kinds []kind, do func(context.Context, *bench) error) error {
	_, err := exec.Open(ctx, planOf(device, kinds))
	if err == nil {
		err = do(ctx, &bench{exec: exec, ended: map[uint64]scheduler.Outcome{}})
	}
	return errors.Join(err, closeExecutor(ctx, exec))
}

// closeExecutor reads the outcomes of what still runs, as the contract of
// executors asks. The step's context may be over: closing has its own bound.
func closeExecutor(ctx context.Context, exec scheduler.Executor) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), comeBack)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- exec.Close(ctx) }()
	for outcomes := exec.Outcomes(); ; {
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

// start begins a command on a model.
func (b *bench) start(op scheduler.Operation, m scheduler.ModelID, takes scheduler.Time) (seq uint64, err error) {
	b.seq++
	c := scheduler.Command{Seq: b.seq, Op: op, Model: m, Tier: scheduler.TierHost, Estimate: takes}
	if op == scheduler.OpRun {
		c.Items = []scheduler.CommandItem{{ID: scheduler.ItemID(b.seq), Work: scheduler.WorkUnit, Seed: b.seq}}
	}
	return b.seq, b.exec.Start(c)
}

// outcome waits for the end of a command.
func (b *bench) outcome(ctx context.Context, seq uint64) (scheduler.Outcome, error) {
	for {
		if o, ok := b.ended[seq]; ok {
			return o, nil
		}
		select {
		case o := <-b.exec.Outcomes():
			b.ended[o.Seq] = o
		case <-ctx.Done():
			return scheduler.Outcome{}, fmt.Errorf("command %d did not end: %w", seq, ctx.Err())
		}
	}
}

// do carries a short command out.
func (b *bench) do(ctx context.Context, op scheduler.Operation, m scheduler.ModelID) error {
	seq, err := b.start(op, m, 5*scheduler.Millisecond)
	if err != nil {
		return err
	}
	o, err := b.outcome(ctx, seq)
	if err != nil {
		return err
	}
	if o.Failure != nil {
		return o.Failure
	}
	return nil
}

// RigOf is the rig of executors whose contexts are held by the process pid (0:
// it is not known).
func RigOf(executor NewExecutor, pid int) Rig {
	return Rig{
		Context: func(ctx context.Context, device nvml.DeviceInfo, during func(int)) error {
			exec, err := executor(device)
			if err != nil {
				return err
			}
			return run(ctx, exec, device, []kind{tiny()}, func(context.Context, *bench) error {
				during(pid)
				return nil
			})
		},
		Copy: func(ctx context.Context, device nvml.DeviceInfo, during func()) error {
			exec, err := executor(device)
			if err != nil {
				return err
			}
			return run(ctx, exec, device, []kind{small()}, func(ctx context.Context, b *bench) error { return b.copy(ctx, during) })
		},
	}
}

// Occupy loads a model of 256 MiB, calls during and gives everything back: what
// the other process of a self-test does.
func Occupy(ctx context.Context, executor NewExecutor, device nvml.DeviceInfo, during func() error) error {
	exec, err := executor(device)
	if err != nil {
		return err
	}
	return run(ctx, exec, device, []kind{small()}, func(ctx context.Context, b *bench) error {
		if err := b.do(ctx, scheduler.OpLoad, 0); err != nil {
			return err
		}
		return during()
	})
}

// copy loads a model again and again while during runs, from before it begins.
func (b *bench) copy(ctx context.Context, during func()) error {
	if err := b.do(ctx, scheduler.OpLoad, 0); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		during()
	}()
	var failed error
	for failed == nil && !isClosed(done) {
		if failed = b.do(ctx, scheduler.OpEvict, 0); failed == nil {
			failed = b.do(ctx, scheduler.OpLoad, 0)
		}
	}
	<-done
	return failed
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
