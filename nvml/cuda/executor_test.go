//go:build linux && cgo && nvml

package cuda

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vramsim/vramsim/nvml/executortest"
	"github.com/vramsim/vramsim/nvml/internal/fakegpu"
	"github.com/vramsim/vramsim/nvml/pagecache"
	"github.com/vramsim/vramsim/scheduler"
)

// TestExecutor runs everything that needs the fake library in this process.
func TestExecutor(t *testing.T) {
	f := fakegpu.OpenCUDA(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *fakegpu.CUDA)
	}{
		{"Contract", testContract},
		{"LoadRunEvict", testLoadRunEvict},
		{"SpinIsExact", testSpinIsExact},
		{"FitTakesWhatWasMeasured", testFitTakesWhatWasMeasured},
		{"BatchesOverlapWithLoads", testBatchesOverlapWithLoads},
		{"CancelIsPrompt", testCancelIsPrompt},
		{"OutOfMemory", testOutOfMemory},
		{"Checksum", testChecksum},
		{"IllegalCommands", testIllegalCommands},
		{"Loss", testLoss},
		{"Slow", testSlow},
		{"SlowLink", testSlowLink},
		{"RestartFails", testRestartFails},
		{"CloseInFlight", testCloseInFlight},
		{"CloseDeserted", testCloseDeserted},
		{"Ballast", testBallast},
		{"FilesAreRemoved", testFilesAreRemoved},
		{"PageCache", testPageCache},
		{"TemporaryFolder", testTemporaryFolder},
		{"Devices", testDevices},
		{"Check", testCheck},
		{"JIT", testJIT},
		{"OpenFails", testOpenFails},
		{"NoPinnedMemory", testNoPinnedMemory},
		{"OpenInterrupted", testOpenInterrupted},
		{"Deaf", testDeaf},
	} {
		t.Run(test.name, func(t *testing.T) {
			f.Reset()
			test.run(t, f)
		})
		for _, what := range []string{"HELD", "LIVE", "CONTEXTS"} {
			if n := f.Get(t, what); n != 0 {
				t.Errorf("%s: %s is %d at the end", test.name, what, n)
			}
		}
	}
}

const (
	mib = scheduler.MiB
	// contextBytes is what a context takes in the contract's tests.
	contextBytes = 3 * mib
)

// overhead is what an executor of that many slots holds beside models and
// batches.
func overhead(slots int) scheduler.Bytes { return contextBytes + scheduler.Bytes(slots+1)*scratchBytes }

// armed is an executor whose fake goes wrong at one of the commands.
type armed struct {
	*Executor
	arm func(started int)
	n   int
}

func (a *armed) Start(c scheduler.Command) error {
	a.arm(a.n)
	a.n++
	return a.Executor.Start(c)
}

// testContract runs the contract of executors, over each kind of work and tier.
func testContract(t *testing.T, f *fakegpu.CUDA) {
	const slots = 3
	executortest.Test(t, executortest.Fixture{
		Faults:   []executortest.Fault{executortest.OOM, executortest.Failure, executortest.Hang, executortest.Lost},
		Patience: time.Minute, Slots: slots, Host: true, Overhead: overhead(slots),
		New: func(_ testing.TB, plan scheduler.Plan, script executortest.Script) executortest.Bench {
			work := []Work{Spin, Fit}[plan.Seed%2]
			tier := []HostTier{PageCache, Pinned}[plan.Seed/2%2]
			return bench(t, f, work, tier, plan, script)
		}})
}

func bench(t *testing.T, f *fakegpu.CUDA, work Work, tier HostTier, plan scheduler.Plan, script executortest.Script) executortest.Bench {
	f.Reset()
	f.Set(t, "CONTEXT", uint64(contextBytes))
	f.Set(t, "BURN", 1000) // 1 ns
	if script.Memory > 0 {
		f.Set(t, "TOTAL", uint64(script.Memory))
	}
	setting := map[executortest.Fault]string{executortest.Failure: "FAIL_AT", executortest.Lost: "STICKY_AT", executortest.Hang: "HANG_AT"}[script.Fault]
	dir, patience := t.TempDir(), time.Minute
	if script.Fault == executortest.Hang {
		patience = time.Second // of other commands, too, on a machine that is busy
	}
	e := New(Config{Library: f.Path, Work: work, HostTier: tier, Dir: dir, Slot: mib, Patience: patience, Quantum: time.Millisecond})
	return executortest.Bench{
		Executor: &armed{Executor: e, arm: func(started int) {
			if setting != "" && started == script.At {
				f.Set(t, setting, 1)
			}
		}},
		Held: func() (scheduler.Bytes, error) {
			held := scheduler.Bytes(f.Get(t, "HELD"))
			if held > 0 { // the scratch of slots that the plan has not
				held += scheduler.Bytes(3-plan.Slots) * scratchBytes
			}
			return held, nil
		},
		Left: func() string {
			var left []string
			if n := f.Get(t, "LIVE") + f.Get(t, "CONTEXTS"); n > 0 {
				left = append(left, fmt.Sprintf("%d handles", n))
			}
			files, err := os.ReadDir(dir)
			if err != nil || len(files) > 0 {
				left = append(left, fmt.Sprintf("%d files (%v)", len(files), err))
			}
			return strings.Join(left, ", ")
		},
	}
}

// plan is one of models of those sizes, whose batches of one take 20 ms.
func plan(memory scheduler.Bytes, sizes ...scheduler.Bytes) scheduler.Plan {
	p := scheduler.Plan{Name: "gpu0", Slots: 2, Tiers: []scheduler.Tier{scheduler.TierDisk, scheduler.TierHost},
		HostMemory: scheduler.GiB, Memory: memory, Seed: 7}
	for i, size := range sizes {
		p.Models = append(p.Models, scheduler.Model{Name: fmt.Sprintf("m%d", i), Bytes: size,
			Batch: scheduler.BatchCost{Max: 4, Memory: mib, Base: 10 * scheduler.Millisecond, PerItem: 10 * scheduler.Millisecond}})
	}
	return p
}

// opened returns an executor that is open and will be closed.
func opened(t *testing.T, f *fakegpu.CUDA, cfg Config, p scheduler.Plan) (*Executor, scheduler.Capabilities) {
	t.Helper()
	cfg.Library = f.Path
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	if cfg.Slot == 0 {
		cfg.Slot = mib
	}
	e := New(cfg)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	able, err := e.Open(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNow(t, e) })
	return e, able
}

func closeNow(t *testing.T, e *Executor) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			select {
			case <-e.Outcomes():
			case <-ctx.Done():
				return
			}
		}
	})
	if err := e.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
	cancel()
	reading.Wait()
}

// do carries one command out and returns its outcome.
func do(t *testing.T, e *Executor, c scheduler.Command) scheduler.Outcome {
	t.Helper()
	start(t, e, c)
	return outcome(t, e)
}

func start(t *testing.T, e *Executor, c scheduler.Command) {
	t.Helper()
	if err := e.Start(c); err != nil {
		t.Fatal(err)
	}
}

func outcome(t *testing.T, e *Executor) scheduler.Outcome {
	t.Helper()
	select {
	case o := <-e.Outcomes():
		return o
	case <-time.After(20 * time.Second):
		t.Fatal("no outcome")
		panic("unreachable")
	}
}

func must(t *testing.T, o scheduler.Outcome) scheduler.Outcome {
	t.Helper()
	if o.Failure != nil {
		t.Fatalf("command %d: %v", o.Seq, o.Failure)
	}
	return o
}

func load(seq uint64, m scheduler.ModelID, tier scheduler.Tier) scheduler.Command {
	return scheduler.Command{Seq: seq, Op: scheduler.OpLoad, Model: m, Tier: tier, Estimate: scheduler.Millisecond}
}

func evict(seq uint64, m scheduler.ModelID) scheduler.Command {
	return scheduler.Command{Seq: seq, Op: scheduler.OpEvict, Model: m, Estimate: scheduler.Millisecond}
}

func batchOf(seq uint64, m scheduler.ModelID, slot int, estimate scheduler.Time, n int) scheduler.Command {
	return scheduler.Command{Seq: seq, Op: scheduler.OpRun, Model: m, Slot: slot, Estimate: estimate, Items: make([]scheduler.CommandItem, n)}
}

func phaseNames(o scheduler.Outcome) string {
	var names []string
	for _, p := range o.Phases {
		names = append(names, p.Name)
	}
	return strings.Join(names, " ")
}

// testLoadRunEvict: one model's way through the device, from each tier, with
// what is told beside the outcome.
func testLoadRunEvict(t *testing.T, f *fakegpu.CUDA) {
	for _, c := range []struct {
		host   HostTier
		tier   scheduler.Tier
		phases string
	}{
		{PageCache, scheduler.TierDisk, "alloc drop read h2d"}, {PageCache, scheduler.TierHost, "alloc read h2d"},
		{Pinned, scheduler.TierDisk, "alloc drop read h2d"}, {Pinned, scheduler.TierHost, "alloc h2d"},
	} {
		t.Run(fmt.Sprintf("%s, from %v", c.host, c.tier), func(t *testing.T) {
			f.Reset()
			e, able := opened(t, f, Config{HostTier: c.host}, plan(scheduler.GiB, 9*mib+16))
			if want := fmt.Sprintf("cuda (spin, %s)", c.host); able.Name != want {
				t.Errorf("name %q, want %q", able.Name, want)
			}
			base := f.Get(t, "HELD")
			first := must(t, do(t, e, load(1, 0, c.tier)))
			if got := phaseNames(first); got != c.phases+" checksum" || first.Bytes != 9*mib+16 || first.DeviceTime <= 0 {
				t.Errorf("first load: %s, %v moved, %v busy", got, first.Bytes, first.DeviceTime)
			}
			if got := first.Memory; got.Total != 24*scheduler.GiB || got.Allocated != 9*mib+16 || got.Free != got.Total-scheduler.Bytes(f.Get(t, "HELD")) {
				t.Errorf("memory after the load: %+v", got)
			}
			run := must(t, do(t, e, batchOf(2, 0, 1, 15*scheduler.Millisecond, 3)))
			if phaseNames(run) != "alloc compute free" || run.Memory.PeakAllocated != 12*mib+16 || run.Memory.Allocated != 9*mib+16 {
				t.Errorf("batch: %s, %+v", phaseNames(run), run.Memory)
			}
			if gone := must(t, do(t, e, evict(3, 0))); phaseNames(gone) != "free" || f.Get(t, "HELD") != base {
				t.Errorf("eviction: %s, %d held of %d", phaseNames(gone), f.Get(t, "HELD"), base)
			}
			if again := must(t, do(t, e, load(4, 0, c.tier))); phaseNames(again) != c.phases {
				t.Errorf("second load: %s", phaseNames(again))
			}
		})
	}
}

// testSpinIsExact: a batch is over when its estimate is, launches and memory
// included, whatever the number of launches.
func testSpinIsExact(t *testing.T, f *fakegpu.CUDA) {
	e, _ := opened(t, f, Config{}, plan(scheduler.GiB, mib))
	must(t, do(t, e, load(1, 0, scheduler.TierDisk)))
	const want = 43 * scheduler.Millisecond
	best := scheduler.Never
	for seq := uint64(2); seq < 40 && best > want+5*scheduler.Millisecond; seq++ { // this machine may be busy
		begin := time.Now()
		o := must(t, do(t, e, batchOf(seq, 0, 0, want, 4)))
		took := scheduler.Time(time.Since(begin))
		if took < want || o.DeviceTime > took {
			t.Errorf("took %v of %v, the device %v", took, want, o.DeviceTime)
		}
		best = min(best, took)
	}
	if best > want+5*scheduler.Millisecond {
		t.Errorf("took %v or more instead of %v", best, want)
	}
}

// testFitTakesWhatWasMeasured: on a device that does what it did when it was
// measured, work takes about its estimate; on a slower one it takes longer.
func testFitTakesWhatWasMeasured(t *testing.T, f *fakegpu.CUDA) {
	const estimate, base = 40 * scheduler.Millisecond, 10 * scheduler.Millisecond
	var e *Executor
	var share float64 // of the estimate's multiply-adds that will be done
	for range 20 {    // this machine may be busy
		if e, _ = opened(t, f, Config{Work: Fit}, plan(scheduler.GiB, mib)); e.rates.burn > 0 {
			share = e.rates.burn * float64(f.Get(t, "BURN")) / 1000
		}
		if share > 0.6 {
			break
		}
		closeNow(t, e)
	}
	if share <= 0.6 || share > 1.01 {
		t.Fatalf("the rate measured is %.2f of what it is", share)
	}
	must(t, do(t, e, load(1, 0, scheduler.TierDisk)))
	took, seq := scheduler.Never, uint64(2)
	for ; seq < 40 && took > 2*estimate; seq++ {
		took = must(t, do(t, e, batchOf(seq, 0, 0, estimate, 1))).DeviceTime
	}
	if least := scheduler.Time(float64(estimate-base) * share / 2); took < least || took > 2*estimate {
		t.Errorf("%v of work took %v, at least %v were to be", estimate, took, least)
	}
	f.Set(t, "BURN", 5*f.Get(t, "BURN"))
	if slower := must(t, do(t, e, batchOf(seq, 0, 0, estimate, 1))).DeviceTime; slower < 2*estimate {
		t.Errorf("%v of work took %v, and %v on a slower device", estimate, took, slower)
	}
}

// testBatchesOverlapWithLoads: slots and the link have streams of their own.
func testBatchesOverlapWithLoads(t *testing.T, f *fakegpu.CUDA) {
	f.Set(t, "BANDWIDTH", 200) // MB/s: 16 MiB take 84 ms
	f.Set(t, "FREE_WAITS", 0)  // or the batches would wait for each other at their ends
	e, _ := opened(t, f, Config{}, plan(scheduler.GiB, mib, 16*mib))
	must(t, do(t, e, load(1, 0, scheduler.TierDisk)))
	seq := uint64(2)
	for ; seq < 40; seq += 4 { // this machine may be busy
		begin := time.Now()
		start(t, e, load(seq, 1, scheduler.TierHost))
		start(t, e, batchOf(seq+1, 0, 0, 100*scheduler.Millisecond, 1))
		start(t, e, batchOf(seq+2, 0, 1, 100*scheduler.Millisecond, 1))
		sum := scheduler.Time(0)
		for range 3 {
			for _, p := range must(t, outcome(t, e)).Phases {
				sum += p.Took
			}
		}
		took := scheduler.Time(time.Since(begin))
		must(t, do(t, e, evict(seq+3, 1)))
		if took < 200*scheduler.Millisecond && sum > 260*scheduler.Millisecond {
			return
		}
	}
	t.Error("two batches of 100ms and a load of 84ms never took less than 200ms together")
}

// testCancelIsPrompt: a batch of a minute and a slow load end soon after they are
// cancelled, and leave nothing.
func testCancelIsPrompt(t *testing.T, f *fakegpu.CUDA) {
	f.Set(t, "BANDWIDTH", 5) // MB/s: 64 MiB take 13 s
	e, _ := opened(t, f, Config{}, plan(scheduler.GiB, mib, 64*mib))
	must(t, do(t, e, load(1, 0, scheduler.TierDisk)))
	held := f.Get(t, "HELD")
	for seq, c := range map[uint64]scheduler.Command{2: batchOf(2, 0, 0, scheduler.Minute, 2), 3: load(3, 1, scheduler.TierDisk)} {
		start(t, e, c)
		begin := time.Now()
		e.Cancel(seq)
		o := outcome(t, e)
		if o.Failure == nil || o.Failure.Code != scheduler.FailureUnknown || !strings.Contains(o.Failure.Text, "cancelled") {
			t.Errorf("%v: %v", c.Op, o.Failure)
		}
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("%v ended after %v", c.Op, took)
		}
		if f.Get(t, "HELD") != held {
			t.Errorf("%v left memory", c.Op)
		}
	}
	must(t, do(t, e, batchOf(4, 0, 0, scheduler.Millisecond, 1)))
}

// testOutOfMemory: a load and a batch say what they wanted and what was free, may
// be tried again, and keep nothing.
func testOutOfMemory(t *testing.T, f *fakegpu.CUDA) {
	e, _ := opened(t, f, Config{}, plan(scheduler.GiB, 10*mib, 6*mib))
	must(t, do(t, e, load(1, 0, scheduler.TierDisk)))
	f.Set(t, "OTHERS", f.Get(t, "TOTAL")-f.Get(t, "HELD")-uint64(3*mib))
	for _, c := range []scheduler.Command{load(2, 1, scheduler.TierDisk), batchOf(3, 0, 0, scheduler.Millisecond, 4)} {
		o := do(t, e, c)
		if o.Failure == nil || o.Failure.Code != scheduler.FailureOOM || !o.Failure.Retryable || !strings.HasSuffix(o.Failure.Text, "wanted, 3MiB free") || o.Memory.Free != 3*mib {
			t.Errorf("%v: %v, %+v", c.Op, o.Failure, o.Memory)
		}
	}
	f.Set(t, "OTHERS", 0)
	must(t, do(t, e, load(4, 1, scheduler.TierDisk)))
	must(t, do(t, e, batchOf(5, 0, 0, scheduler.Millisecond, 4)))
}

// testChecksum: a bit that a copy gets wrong fails the load, and the next one is
// checked again.
func testChecksum(t *testing.T, f *fakegpu.CUDA) {
	e, _ := opened(t, f, Config{}, plan(scheduler.GiB, 4*mib))
	f.Set(t, "CORRUPT_AT", 3)
	if o := do(t, e, load(1, 0, scheduler.TierDisk)); o.Failure == nil || !strings.Contains(o.Failure.Text, "other contents than the weights of m0") {
		t.Fatalf("corrupted: %v", o.Failure)
	}
	if o := must(t, do(t, e, load(2, 0, scheduler.TierDisk))); phaseNames(o) != "alloc drop read h2d checksum" {
		t.Errorf("after it: %s", phaseNames(o))
	}
}

// testIllegalCommands are refused and change nothing.
func testIllegalCommands(t *testing.T, f *fakegpu.CUDA) {
	e, _ := opened(t, f, Config{}, plan(scheduler.GiB, mib, mib))
	must(t, do(t, e, load(1, 0, scheduler.TierDisk)))
	for what, c := range map[string]scheduler.Command{
		"loaded already": load(2, 0, scheduler.TierDisk), "not loaded": evict(3, 1), "m1 is not loaded": batchOf(4, 1, 0, scheduler.Millisecond, 1), "no operation": {Seq: 5, Op: 9},
	} {
		if o := do(t, e, c); o.Failure == nil || !strings.Contains(o.Failure.Text, what) {
			t.Errorf("%s: %v", what, o.Failure)
		}
	}
	for _, c := range []scheduler.Command{load(6, 2, scheduler.TierDisk), batchOf(7, 0, 2, scheduler.Millisecond, 1)} {
		if err := e.Start(c); err == nil {
			t.Errorf("%+v was started", c)
		}
	}
	start(t, e, batchOf(8, 0, 0, 100*scheduler.Millisecond, 1))
	waitBusy(t, f)
	start(t, e, evict(9, 0))
	for range 2 {
		if o := outcome(t, e); (o.Failure != nil) != (o.Seq == 9) {
			t.Errorf("command %d beside a batch: %v", o.Seq, o.Failure)
		}
	}
}

// waitBusy waits until the fake has been given something more to do.
func waitBusy(t *testing.T, f *fakegpu.CUDA) {
	t.Helper()
	before := f.Get(t, "OPERATIONS")
	waitUntil(t, func() bool { return f.Get(t, "OPERATIONS") >= before+2 })
}

func waitUntil(t *testing.T, done func() bool) {
	t.Helper()
	for until := time.Now().Add(20 * time.Second); !done(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(until) {
			t.Fatal("nothing happens")
		}
	}
}

// testLoss: an error that sticks fails what is in flight; until Restart commands
// are refused, after it nothing is resident and everything works, pinned memory
// included.
func testLoss(t *testing.T, f *fakegpu.CUDA) {
	for setting, code := range map[string]scheduler.Failure{"STICKY_AT": scheduler.FailureLost, "HANG_AT": scheduler.FailureTimeout} {
		t.Run(setting, func(t *testing.T) {
			f.Reset()
			e, _ := opened(t, f, Config{HostTier: Pinned, Patience: 2 * time.Second}, plan(scheduler.GiB, mib, 2*mib))
			must(t, do(t, e, load(1, 0, scheduler.TierHost)))
			start(t, e, batchOf(2, 0, 0, 200*scheduler.Millisecond, 1))
			waitBusy(t, f)
			f.Set(t, setting, 1)
			start(t, e, load(3, 1, scheduler.TierHost))
			codes := map[scheduler.Failure]int{}
			for range 2 {
				if o := outcome(t, e); o.Failure != nil {
					codes[o.Failure.Code]++
				}
			}
			if codes[code] < 1 || codes[code]+codes[scheduler.FailureLost] < 1 {
				t.Errorf("failures %v, want %v", codes, code)
			}
			if err := e.Start(evict(4, 0)); err == nil || !strings.Contains(err.Error(), "lost") {
				t.Errorf("started after the loss: %v", err)
			}
			if err := e.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			if o := do(t, e, batchOf(5, 0, 0, scheduler.Millisecond, 1)); o.Failure == nil {
				t.Error("a model was resident after the restart")
			}
			if o := must(t, do(t, e, load(6, 0, scheduler.TierHost))); phaseNames(o) != "alloc h2d checksum" {
				t.Errorf("load after the restart: %s", phaseNames(o))
			}
			must(t, do(t, e, batchOf(7, 0, 1, scheduler.Millisecond, 1)))
		})
	}
}

// testSlow: a load that takes too long on a device that goes on times out, and the
// context is not lost.
func testSlow(t *testing.T, f *fakegpu.CUDA) {
	f.Set(t, "BANDWIDTH", 20) // MB/s: 64 MiB take 3 s, no slot takes long
	e, _ := opened(t, f, Config{Patience: time.Second}, plan(scheduler.GiB, 64*mib, 16))
	held := f.Get(t, "HELD")
	o := do(t, e, load(1, 0, scheduler.TierDisk))
	if o.Failure == nil || o.Failure.Code != scheduler.FailureTimeout || f.Get(t, "HELD") != held {
		t.Errorf("%v, %d held of %d", o.Failure, f.Get(t, "HELD"), held)
	}
	must(t, do(t, e, load(2, 1, scheduler.TierDisk)))
}

// testSlowLink: the last slots of a load may take as long as the load may, also if
// that is longer than what has failed is waited for.
func testSlowLink(t *testing.T, f *fakegpu.CUDA) {
	e, _ := opened(t, f, Config{}, plan(scheduler.GiB, 4*mib))
	f.Set(t, "BANDWIDTH", 1) // MB/s: the four slots, all in flight at once, take 4 s
	must(t, do(t, e, load(1, 0, scheduler.TierDisk)))
}

// testRestartFails: a driver that gives no other context says so; Close works.
func testRestartFails(t *testing.T, f *fakegpu.CUDA) {
	e, _ := opened(t, f, Config{}, plan(scheduler.GiB, mib))
	f.Set(t, "STICKY_AT", 1)
	if o := do(t, e, load(1, 0, scheduler.TierDisk)); o.Failure == nil || o.Failure.Code != scheduler.FailureLost || !strings.Contains(o.Failure.Text, "CUDA_ERROR_LAUNCH_FAILED") {
		t.Errorf("loss: %v", o.Failure)
	}
	f.Set(t, "BROKEN", 1)
	if err := e.Restart(t.Context()); err == nil || !strings.Contains(err.Error(), "cuDevicePrimaryCtxRetain") {
		t.Errorf("restart: %v", err)
	}
	if err := e.Start(load(2, 0, scheduler.TierDisk)); err == nil {
		t.Error("started without a context")
	}
	f.Set(t, "BROKEN", 0)
	if err := e.Restart(t.Context()); err != nil {
		t.Errorf("second restart: %v", err)
	}
	must(t, do(t, e, load(3, 0, scheduler.TierDisk)))
}

// testCloseInFlight: Close ends what runs and hangs, answers for it, and leaves
// nothing.
func testCloseInFlight(t *testing.T, f *fakegpu.CUDA) {
	e, _ := opened(t, f, Config{Patience: 2 * time.Second}, plan(scheduler.GiB, mib, mib))
	must(t, do(t, e, load(1, 0, scheduler.TierDisk)))
	start(t, e, batchOf(2, 0, 0, scheduler.Minute, 1))
	waitBusy(t, f)
	f.Set(t, "HANG_AT", 1)
	start(t, e, load(3, 1, scheduler.TierDisk))
	waitUntil(t, func() bool { return f.Get(t, "HANG_AT") == 0 })
	closed := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	go func() { closed <- e.Close(ctx) }()
	for range 2 {
		if o := outcome(t, e); o.Failure == nil && o.Seq == 2 { // the load may have got ahead of the hang
			t.Errorf("command %d succeeded", o.Seq)
		}
	}
	if err := <-closed; err != nil || f.Get(t, "LIVE")+f.Get(t, "HELD")+f.Get(t, "CONTEXTS") != 0 {
		t.Errorf("close: %v, %d handles and %d bytes left", err, f.Get(t, "LIVE"), f.Get(t, "HELD"))
	}
}

// testCloseDeserted: when nobody takes outcomes, Close ends with its context.
func testCloseDeserted(t *testing.T, f *fakegpu.CUDA) {
	e, _ := opened(t, f, Config{}, plan(scheduler.GiB, mib))
	start(t, e, load(1, 0, scheduler.TierDisk))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := e.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("close: %v", err)
	}
	waitUntil(t, func() bool { return f.Get(t, "CONTEXTS") == 0 })
}

// testBallast leaves what the plan may use, or what a smaller card would have
// left, within the 2 MiB that drivers allocate by; memory then runs out there.
func testBallast(t *testing.T, f *fakegpu.CUDA) {
	e, able := opened(t, f, Config{Ballast: true}, plan(100*mib, 60*mib, 60*mib))
	if able.Name != "cuda (spin, pagecache, ballast)" || able.Memory < 100*mib || able.Memory >= 102*mib {
		t.Errorf("capabilities %+v", able)
	}
	must(t, do(t, e, load(1, 0, scheduler.TierDisk)))
	if o := do(t, e, load(2, 1, scheduler.TierDisk)); o.Failure == nil || o.Failure.Code != scheduler.FailureOOM {
		t.Errorf("120 MiB fit 100: %v", o.Failure)
	}
	closeNow(t, e)

	f.Set(t, "OTHERS", uint64(500*mib))
	e, able = opened(t, f, Config{Ballast: true, Memory: 12 * scheduler.GiB}, plan(scheduler.GiB, mib))
	used := scheduler.Bytes(f.Get(t, "CONTEXT")+f.Get(t, "OTHERS")) + 3*scratchBytes
	if left := 12*scheduler.GiB - used; able.Memory < left || able.Memory >= left+2*mib {
		t.Errorf("of 12 GiB with %v in use, %v are left", used, able.Memory)
	}
	closeNow(t, e)

	bad := New(Config{Library: f.Path, Dir: t.TempDir(), Ballast: true, Memory: 25 * scheduler.GiB})
	if _, err := bad.Open(t.Context(), plan(scheduler.GiB, mib)); err == nil || !strings.Contains(err.Error(), "cannot be emulated") {
		t.Errorf("a larger card: %v", err)
	}
}

// testPageCache: what was written is out of the page cache before the first load;
// loads from disk leave it there only for a host tier that is made of it.
func testPageCache(t *testing.T, f *fakegpu.CUDA) {
	dir := t.TempDir()
	if c, err := pagecache.Try(dir); err != nil || !c.Drops {
		t.Skipf("the page cache cannot be controlled here: %s (%v)", c.Why, err)
	}
	for _, tier := range []HostTier{PageCache, Pinned} {
		e, _ := opened(t, f, Config{Dir: dir, HostTier: tier}, plan(scheduler.GiB, 4*mib))
		resident := func() scheduler.Bytes {
			r, err := pagecache.Resident(e.weights.files[0])
			if err != nil {
				t.Fatal(err)
			}
			return r.Resident
		}
		if n := resident(); n != 0 {
			t.Errorf("%s: %v are in the cache before the first load", tier, n)
		}
		must(t, do(t, e, load(1, 0, scheduler.TierDisk)))
		if tier == PageCache && resident() != 4*mib {
			t.Errorf("only %v are in the cache after a load", resident())
		}
		if tier == Pinned {
			waitUntil(t, func() bool { return resident() == 0 })
		}
		closeNow(t, e)
	}
}

// testTemporaryFolder: without a folder there is nothing to see of the files, not
// even while they are used.
func testTemporaryFolder(t *testing.T, f *fakegpu.CUDA) {
	t.Setenv("TMPDIR", t.TempDir())
	e := New(Config{Library: f.Path, Slot: mib, Keep: true})
	if _, err := e.Open(t.Context(), plan(scheduler.GiB, mib)); err != nil {
		t.Fatal(err)
	}
	if made := names(t, os.TempDir()); len(made) != 0 {
		t.Errorf("made %v", made)
	}
	must(t, do(t, e, load(1, 0, scheduler.TierDisk)))
	closeNow(t, e)
}

// testFilesAreRemoved, unless they are to be kept.
func testFilesAreRemoved(t *testing.T, f *fakegpu.CUDA) {
	for _, keep := range []bool{false, true} {
		f.Reset()
		dir := t.TempDir()
		e, _ := opened(t, f, Config{Dir: dir, Keep: keep}, plan(scheduler.GiB, mib))
		closeNow(t, e)
		if left := names(t, dir); (len(left) == 1) != keep {
			t.Errorf("keep %v: %v", keep, left)
		}
	}
}

// long says that tests are to try everything.
func long() bool { return os.Getenv("VRAMSIM_LONG") == "1" }
