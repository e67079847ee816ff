package worker_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vramsim/vramsim/nvml/executortest"
	"github.com/vramsim/vramsim/nvml/worker"
	"github.com/vramsim/vramsim/nvml/worker/fakeworker"
	"github.com/vramsim/vramsim/scheduler"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case fakeworker.Argument:
			os.Exit(fakeworker.Main(os.Args[2:], os.Stdin, os.Stdout, os.Environ()))
		case victimArgument:
			os.Exit(victim(os.Args[2:]))
		}
	}
	os.Exit(m.Run())
}

// fake returns a configuration whose worker is this binary.
func fake(tb testing.TB, options ...string) worker.Config {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	return worker.Config{Command: append([]string{self, fakeworker.Argument}, options...), Environ: os.Environ(), Timeouts: worker.Timeouts{Kill: 200 * time.Millisecond}}
}

// brief is for workers that hang: a busy machine can still start a process and
// answer within it. None hangs before its hello, so that nothing waits for that.
func brief() worker.Timeouts {
	return worker.Timeouts{Hello: 2 * time.Minute, Prepare: 10 * time.Second, Stage: 10 * time.Second, Load: time.Second,
		Run: time.Second, Unload: time.Second, Other: 5 * time.Second, Kill: 200 * time.Millisecond}
}

// serve lets workers reach a device over a loopback socket until the test ends.
func serve(tb testing.TB, device *fakeworker.Device) (address string) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { device.Close() })
	return device.Serve(l)
}

// plan is two models on a device.
func plan() scheduler.Plan {
	model := func(name string, bytes scheduler.Bytes) scheduler.Model {
		return scheduler.Model{Name: name, Bytes: bytes, Batch: scheduler.BatchCost{Max: 4, Memory: 10}}
	}
	return scheduler.Plan{Name: "gpu0", Models: []scheduler.Model{model("a", 1000), model("b", 2000)}, Slots: 1, Memory: 1e6, Seed: 7,
		Tiers: []scheduler.Tier{scheduler.TierDisk, scheduler.TierHost}, HostMemory: 2500}
}

// bench is an opened executor.
type bench struct {
	*worker.Executor
	t   *testing.T
	seq uint64

	mu      sync.Mutex
	notices []worker.Notice
}

// open opens an executor; what is left after Close is an error.
func open(t *testing.T, cfg worker.Config, p scheduler.Plan) *bench {
	t.Helper()
	b := &bench{t: t}
	cfg.Notice = func(n worker.Notice) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.notices = append(b.notices, n)
	}
	var err error
	if b.Executor, err = worker.New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.close)
	if _, err := b.Open(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := b.Close(ctx); err != nil {
		b.t.Errorf("close: %v", err)
	}
	for _, n := range b.told(worker.Spawned) {
		if left := group(n.PID); len(left) > 0 {
			b.t.Errorf("processes %v of the group of worker %d are left", left, n.PID)
		}
	}
}

func (b *bench) told(kind worker.NoticeKind) (found []worker.Notice) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range b.notices {
		if n.Kind == kind {
			found = append(found, n)
		}
	}
	return found
}

// start starts a command on model a (0) or b (1).
func (b *bench) start(c scheduler.Command) uint64 {
	b.t.Helper()
	b.seq++
	c.Seq = b.seq
	if err := b.Start(c); err != nil {
		b.t.Fatalf("start: %v", err)
	}
	return c.Seq
}

func load(m scheduler.ModelID) scheduler.Command {
	return scheduler.Command{Op: scheduler.OpLoad, Model: m}
}
func evict(m scheduler.ModelID) scheduler.Command {
	return scheduler.Command{Op: scheduler.OpEvict, Model: m}
}
func batch(m scheduler.ModelID, n int) scheduler.Command {
	c := scheduler.Command{Op: scheduler.OpRun, Model: m}
	for i := range n {
		c.Items = append(c.Items, scheduler.CommandItem{ID: scheduler.ItemID(i), Work: scheduler.WorkUnit, Seed: uint64(i) << 60})
	}
	return c
}

// next returns the next outcome.
func (b *bench) next() scheduler.Outcome {
	b.t.Helper()
	select {
	case o := <-b.Outcomes():
		return o
	case <-time.After(20 * time.Second):
		b.t.Fatal("no outcome")
	}
	panic("unreachable")
}

// does carries out a command that has to succeed.
func (b *bench) does(c scheduler.Command) scheduler.Outcome {
	b.t.Helper()
	b.start(c)
	o := b.next()
	if o.Failure != nil {
		b.t.Fatalf("%v: %v", c.Op, o.Failure)
	}
	return o
}

// fails carries out a command that has to fail.
func (b *bench) fails(c scheduler.Command, code scheduler.Failure) *scheduler.CommandError {
	b.t.Helper()
	b.start(c)
	o := b.next()
	if o.Failure == nil || o.Failure.Code != code {
		b.t.Fatalf("%v: %v; want %v", c.Op, o.Failure, code)
	}
	return o.Failure
}

func phases(o scheduler.Outcome) (names []string) {
	for _, p := range o.Phases {
		names = append(names, p.Name)
	}
	return names
}

// checks sets how many cases rapid tries.
func checks(t *testing.T, n int) {
	t.Helper()
	if os.Getenv("VRAMSIM_LONG") != "" {
		n *= 20
	}
	f := flag.Lookup("rapid.checks")
	before := f.Value.String()
	t.Cleanup(func() { f.Value.Set(before) })
	if err := f.Value.Set(fmt.Sprint(n)); err != nil {
		t.Fatal(err)
	}
}

// contract runs the contract of executors on a worker of which command returns
// the arguments for a device at an address.
func contract(t *testing.T, cfg worker.Config, slots int, command func(address string) []string) {
	t.Helper()
	names := map[executortest.Fault]fakeworker.Fault{executortest.OOM: fakeworker.None, executortest.Failure: fakeworker.Failure,
		executortest.Hang: fakeworker.Hang, executortest.Crash: fakeworker.Crash, executortest.Garbage: fakeworker.Garbage,
		executortest.HugeLine: fakeworker.HugeLine, executortest.Lost: fakeworker.Lost,
		"partial": fakeworker.Partial, "wrong id": fakeworker.WrongID, "wrong event": fakeworker.WrongEvent}
	var faults []executortest.Fault
	for f := range names {
		faults = append(faults, f)
	}
	slices.Sort(faults)
	executortest.Test(t, executortest.Fixture{Faults: faults, Patience: 3 * time.Minute, Slots: slots, Host: true,
		New: func(tb testing.TB, _ scheduler.Plan, script executortest.Script) executortest.Bench {
			device := fakeworker.NewDevice(int64(script.Memory), names[script.Fault], script.At)
			address := serve(tb, device)
			var mu sync.Mutex
			var pids []int
			cfg := cfg
			if script.Fault != executortest.Hang { // nobody waits for these, and a busy machine may take longer than for a hang
				cfg.Timeouts.Load, cfg.Timeouts.Run, cfg.Timeouts.Unload = time.Minute, time.Minute, time.Minute
			}
			cfg.Command = command(address)
			cfg.Notice = func(n worker.Notice) {
				mu.Lock()
				defer mu.Unlock()
				if n.Kind == worker.Spawned {
					pids = append(pids, n.PID)
				}
			}
			e, err := worker.New(cfg)
			if err != nil {
				tb.Fatal(err)
			}
			return executortest.Bench{Executor: e,
				Held: func() (scheduler.Bytes, error) {
					held, err := device.Held(10 * time.Second)
					return scheduler.Bytes(held), err
				},
				Left: func() string {
					device.Close()
					mu.Lock()
					defer mu.Unlock()
					for _, pid := range pids {
						if left := group(pid); len(left) > 0 {
							return fmt.Sprintf("processes %v of the group of worker %d", left, pid)
						}
					}
					return ""
				}}
		}})
}

// TestTheContract runs the contract of executors on the fake worker in each
// mode, with processes that the worker starts itself.
func TestTheContract(t *testing.T) {
	for _, c := range []struct {
		name     string
		mode     worker.Mode
		tier     worker.HostTier
		slots, n int
		options  []string
	}{
		{"shared", worker.Shared, worker.PageCache, 1, 40, nil},
		{"shared with offspring", worker.Shared, worker.PageCache, 1, 15, []string{"offspring=true"}},
		{"three at once", worker.Shared, worker.PageCache, 3, 30, []string{"concurrent=3"}},
		{"pinned", worker.Shared, worker.Pinned, 1, 30, nil},
		{"isolated", worker.Isolated, worker.PageCache, 1, 30, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			checks(t, c.n)
			cfg := fake(t, c.options...)
			cfg.Mode, cfg.HostTier, cfg.Timeouts = c.mode, c.tier, brief()
			contract(t, cfg, c.slots, func(address string) []string {
				return append(slices.Clone(cfg.Command), "device="+address)
			})
		})
	}
}

// TestOutcomes: what a worker tells comes out in scheduler's words.
func TestOutcomes(t *testing.T) {
	b := open(t, fake(t), plan())
	o := b.does(load(0))
	if o.Bytes != 1000 || o.Memory.Allocated != 1000 || o.Memory.Total != 1e12 || !slices.Contains(phases(o), "h2d") || !slices.Contains(phases(o), worker.PhaseFirst) {
		t.Errorf("load: %+v", o)
	}
	o = b.does(batch(0, 3))
	if o.DeviceTime < 3*scheduler.Millisecond || o.Memory.PeakAllocated != 1030 || slices.Contains(phases(o), worker.PhaseFirst) {
		t.Errorf("run: %+v", o)
	}
	if o = b.does(evict(0)); o.Memory.Allocated != 0 {
		t.Errorf("unload: %+v", o)
	}
	if why := b.fails(batch(0, 1), scheduler.FailureUnknown); !strings.Contains(why.Text, worker.CodeNotLoaded) {
		t.Errorf("a batch of what is not loaded: %v", why)
	}
	if h := b.Hello(); h.Worker != "fake" || h.Versions["fake"] != "1" {
		t.Errorf("hello: %+v", h)
	}
	if all := append(b.told(worker.WorkerTime), b.told(worker.WentLost)...); len(all) > 0 {
		t.Errorf("notices: %+v", all)
	}
}

// TestOrder: commands of one worker are carried out in the order of Start, and
// one that waits can be cancelled.
func TestOrder(t *testing.T) {
	b := open(t, fake(t, "load=20ms"), plan())
	var want []uint64
	for _, c := range []scheduler.Command{load(0), batch(0, 1), load(1), batch(0, 2), evict(0)} {
		want = append(want, b.start(c))
	}
	b.Cancel(want[3])
	got := map[uint64]*scheduler.CommandError{}
	var order []uint64
	for range want {
		o := b.next()
		got[o.Seq] = o.Failure
		order = append(order, o.Seq)
	}
	for _, seq := range want {
		if failed := got[seq] != nil; failed != (seq == want[3]) {
			t.Errorf("command %d: %v", seq, got[seq])
		}
	}
	order = slices.DeleteFunc(order, func(s uint64) bool { return s == want[3] })
	if !slices.IsSorted(order) {
		t.Errorf("outcomes in the order %v", order)
	}
}

// TestCancelOfWhatRuns: the worker is asked, and answers for the command
// itself.
func TestCancelOfWhatRuns(t *testing.T) {
	device := fakeworker.NewDevice(1e9, fakeworker.None, -1)
	cfg := fake(t, "item=1h", "device="+serve(t, device))
	b := open(t, cfg, plan())
	b.does(load(0))
	seq := b.start(batch(0, 1))
	within(t, 10*time.Second, func() bool { return device.Begun() == 2 }, "the batch does not begin")
	b.Cancel(seq)
	b.Cancel(seq)
	b.Cancel(seq + 1)
	if o := b.next(); o.Failure == nil || !strings.Contains(o.Failure.Text, "cancelled: while it ran") {
		t.Errorf("%+v", o.Failure)
	}
	b.does(evict(0))
	if len(b.told(worker.WentLost)) > 0 {
		t.Error("the worker was lost")
	}
}

// TestPinned: what fits is staged from the start, later what an eviction brings
// into the tier, and what the core threw out makes room.
func TestPinned(t *testing.T) {
	cfg := fake(t)
	cfg.HostTier = worker.Pinned
	p := plan()
	b := open(t, cfg, p) // a (1000) is staged; b (2000) does not fit beside it into 2500
	host := func(m scheduler.ModelID) scheduler.Command {
		c := load(m)
		c.Tier = scheduler.TierHost
		return c
	}
	if o := b.does(host(0)); slices.Contains(phases(o), worker.PhaseStage) {
		t.Errorf("a was staged again: %v", phases(o))
	}
	b.does(load(1))
	if o := b.does(evict(1)); !slices.Contains(phases(o), worker.PhaseStage) {
		t.Errorf("b was not staged when it entered the tier: %v", phases(o))
	}
	if o := b.does(host(1)); slices.Contains(phases(o), worker.PhaseStage) {
		t.Errorf("b was staged again: %v", phases(o))
	}
	if o := b.does(evict(0)); !slices.Contains(phases(o), worker.PhaseStage) {
		t.Errorf("a had made room for b: %v", phases(o))
	}
	if late := b.told(worker.StagedLate); len(late) > 0 {
		t.Errorf("staged late: %+v", late)
	}
}

// TestProcessesAreOursFromTheStart: before a worker says hello, when it may have
// taken memory already.
func TestProcessesAreOursFromTheStart(t *testing.T) {
	cfg := fake(t, "hello=1s")
	cfg.Mode = worker.Isolated
	b := open(t, cfg, plan())
	before := len(b.told(worker.Started))
	b.start(load(0))
	began := time.Now()
	for len(b.told(worker.Started)) == before {
		if time.Since(began) > 20*time.Second {
			t.Fatal("no process is told of")
		}
		time.Sleep(time.Millisecond)
	}
	pid := b.told(worker.Started)[before].PID
	if pids := b.Pids(); !slices.Equal(pids, []int{pid}) || len(b.told(worker.Spawned)) != before {
		t.Errorf("process %d was told of after its hello, or is none of %v", pid, pids)
	}
	if o := b.next(); o.Failure != nil {
		t.Error(o.Failure)
	}
	if spawned := b.told(worker.Spawned); len(spawned) != before+1 || spawned[before].PID != pid {
		t.Errorf("process %d said hello as %+v", pid, spawned)
	}
	b.does(evict(0))
	if pids := b.Pids(); len(pids) > 0 {
		t.Errorf("processes %v for no model", pids)
	}
}

// TestIsolated: a load starts a process, an eviction ends it.
func TestIsolated(t *testing.T) {
	cfg := fake(t)
	cfg.Mode = worker.Isolated
	b := open(t, cfg, plan())
	before := len(b.told(worker.Spawned))
	if pids := b.Pids(); len(pids) != 0 {
		t.Errorf("processes %v for no model", pids)
	}
	if o := b.does(load(0)); !slices.Contains(phases(o), worker.PhaseSpawn) {
		t.Errorf("phases %v", phases(o))
	}
	if o := b.does(load(1)); o.Memory.Allocated != 3000 || o.Memory.PeakAllocated < 3000 {
		t.Errorf("models of 1000 and 2000 bytes in processes of their own are told as %+v", o.Memory)
	}
	spawned := b.told(worker.Spawned)[before:]
	if len(spawned) != 2 {
		t.Fatalf("%d processes for two models", len(spawned))
	}
	if pids := b.Pids(); len(pids) != 2 {
		t.Errorf("processes %v for two models", pids)
	}
	b.does(batch(1, 2))
	if o := b.does(evict(0)); o.Memory.Allocated != 2000 {
		t.Errorf("the other model's 2000 bytes are told as %+v", o.Memory)
	}
	if left := group(spawned[0].PID); len(left) > 0 {
		t.Errorf("an evicted model's process is there: %v", left)
	}
	b.does(batch(1, 1))
	if why := b.fails(batch(0, 1), scheduler.FailureUnknown); !strings.Contains(why.Text, worker.CodeNotLoaded) {
		t.Errorf("%v", why)
	}
	if len(b.told(worker.WentLost)) > 0 {
		t.Error("an eviction counts as a loss")
	}
}

// TestOpenRefuses: what cannot work is told by Open, in words.
func TestOpenRefuses(t *testing.T) {
	for _, c := range []struct {
		name    string
		options []string
		change  func(*worker.Config)
		says    string
	}{
		{"no such program", nil, func(c *worker.Config) { c.Command = []string{"./no-such-worker"} }, "cannot be started"},
		{"no hello", []string{"hello=1h"}, func(c *worker.Config) { c.Timeouts.Hello = 100 * time.Millisecond }, "timeout"},
		{"another version", []string{"proto=2"}, nil, "speaks version 2"},
		{"another device", nil, func(c *worker.Config) { c.Device = "GPU-1" }, `computes on "GPU-fake"`},
		{"no such model", []string{"models=a,c"}, nil, `has no model "b"; it has a, c`},
		{"cannot stage", []string{"nostage=true"}, func(c *worker.Config) { c.HostTier = worker.Pinned }, "cannot stage"},
		{"bad option", []string{"nonsense=1"}, nil, "exit status 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := fake(t, c.options...)
			if c.change != nil {
				c.change(&cfg)
			}
			e, err := worker.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			_, err = e.Open(t.Context(), plan())
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("open: %v; want %q", err, c.says)
			}
			if err := e.Close(t.Context()); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
}

// TestConfig: what is wrong in a configuration.
func TestConfig(t *testing.T) {
	for name, cfg := range map[string]worker.Config{
		"command":  {},
		"mode":     {Command: []string{"x"}, Mode: "both"},
		"tier":     {Command: []string{"x"}, HostTier: "disk"},
		"pinned":   {Command: []string{"x"}, HostTier: worker.Pinned, Mode: worker.Isolated},
		"timeout":  {Command: []string{"x"}, Timeouts: worker.Timeouts{Run: -1}},
		"seed":     {Command: []string{"x"}, Seed: -1},
		"stderr":   {Command: []string{"x"}, StderrLimit: -1},
		"accepted": {Command: []string{"x"}},
	} {
		if _, err := worker.New(cfg); errors.Is(err, worker.ErrConfig) == (name == "accepted") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSplitCommand: words as a shell has them.
func TestSplitCommand(t *testing.T) {
	for text, want := range map[string][]string{
		`python3 worker.py  --x`:     {"python3", "worker.py", "--x"},
		`"/a b/c" 'd "e"' f\ g ""`:   {"/a b/c", `d "e"`, "f g", ""},
		`'C:\bin\w.exe' "a\"b" c'd'`: {`C:\bin\w.exe`, `a"b`, "cd"},
		``:                           nil, `"x`: nil, `x\`: nil,
	} {
		got, err := worker.SplitCommand(text)
		if (err != nil) != (want == nil) || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

// TestCheck: what the doctor asks.
func TestCheck(t *testing.T) {
	r, err := worker.Check(t.Context(), fake(t, "memory=12GB"))
	if err != nil {
		t.Fatal(err)
	}
	if r.Hello.Worker != "fake" || r.Hello.GPU.Total != 12e9 || r.Memory == nil || r.Memory.Free != 12e9 || r.Spawned <= 0 {
		t.Errorf("%+v", r)
	}
	if left := group(int(r.Hello.PID)); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if _, err := worker.Check(t.Context(), fake(t, "proto=9")); err == nil {
		t.Error("another protocol is accepted")
	}
}

// within waits until something holds. What it waits for is another process,
// which tells nobody when it is gone.
func within(t *testing.T, limit time.Duration, holds func() bool, what string) {
	t.Helper()
	for end := time.Now().Add(limit); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

// closing closes with commands in flight, whose outcomes it takes.
func (b *bench) closing() {
	b.t.Helper()
	closed := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		closed <- b.Close(ctx)
	}()
	for {
		select {
		case o := <-b.Outcomes():
			if o.Failure == nil {
				b.t.Errorf("a command succeeded while closing")
			}
		case err := <-closed:
			if err != nil {
				b.t.Error(err)
			}
			return
		}
	}
}
