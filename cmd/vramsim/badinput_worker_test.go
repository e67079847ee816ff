package main

import (
	"context"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vramsim/vramsim/nvml"
	"github.com/vramsim/vramsim/nvml/binding"
	"github.com/vramsim/vramsim/nvml/worker"
	"github.com/vramsim/vramsim/nvml/worker/fakeworker"
	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/scheduler"
)

// badWorkers are workers that do what they may not, under the hardware world.
func badWorkers() []badInput {
	survived := func(id, form string, fault fakeworker.Fault, at int, says string) badInput {
		return badInput{id, form, nil, func(t *testing.T) { survives(t, fault, at, says) }}
	}
	return []badInput{
		survived("worker-protocol-01", "no JSON", fakeworker.Garbage, 1, "(protocol): the line is no JSON"),
		survived("worker-protocol-01", "part of a frame", fakeworker.Partial, 1, "(it ended)"),
		survived("worker-protocol-01", "a line without end", fakeworker.HugeLine, 0, "(protocol): the line is longer than 8 MiB"),
		survived("worker-protocol-01", "an answer twice", fakeworker.DoubleID, 0, "(protocol): no request"),
		survived("worker-protocol-02", "exits in a load", fakeworker.Crash, 0, "(it ended): exit status 3"),
		survived("worker-protocol-02", "exits in a batch", fakeworker.Crash, 1, "(it ended): exit status 3"),
		survived("worker-protocol-02", "is killed in a batch", fakeworker.Killed, 1, "(it ended): "),
		survived("worker-protocol-02", "hangs in a load", fakeworker.Hang, 0, "(timeout): load a had no answer"),
		survived("worker-protocol-02", "hangs in a batch", fakeworker.Hang, 1, "(timeout): run a had no answer"),
		survived("worker-protocol-02", "loses the context", fakeworker.Lost, 1, "(the context was lost)"),
		{"worker-protocol-02", "runs out of memory in a batch", nil, outOfMemory},
		{"worker-protocol-03", "negative", nil, func(t *testing.T) { wrongTime(t, fakeworker.NegativeTime) }},
		{"worker-protocol-03", "ten times", nil, func(t *testing.T) { wrongTime(t, fakeworker.LongTime) }},
		{"worker-protocol-04", "", nil, lessMemory},
		{"worker-protocol-05", "", nil, secrets},
		{"worker-protocol-06", "NVML absent", []int{exitHardware}, noNVML},
	}
}

// workerRun is a run of six items of two models, of which one fits, on a fake
// worker.
type workerRun struct {
	cfg    worker.Config
	device *fakeworker.Device
	strict bool
	given  bool // the items

	mu      sync.Mutex
	notices []worker.Notice
	events  []scheduler.Event
	report  nvml.Report
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

func newWorkerRun(t *testing.T, fault fakeworker.Fault, at int) *workerRun {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r := &workerRun{device: fakeworker.NewDevice(1e9, fault, at)}
	r.cfg = worker.Config{Command: []string{self, fakeworker.Argument, "device=" + serve(t, r.device)}, Environ: os.Environ(), Dir: t.TempDir(),
		Timeouts: worker.Timeouts{Kill: 200 * time.Millisecond},
		Notice: func(n worker.Notice) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.notices = append(r.notices, n)
		}}
	if fault == fakeworker.Hang {
		r.cfg.Timeouts.Load, r.cfg.Timeouts.Run = 2*time.Second, 2*time.Second
	}
	return r
}

func (r *workerRun) told(kind worker.NoticeKind) (found []worker.Notice) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.notices {
		if n.Kind == kind {
			found = append(found, n)
		}
	}
	return found
}

func (r *workerRun) of(kind scheduler.Kind) (found []scheduler.Event) {
	for _, ev := range r.events {
		if ev.Kind == kind {
			found = append(found, ev)
		}
	}
	return found
}

// Next gives three items of each model, all at once.
func (r *workerRun) Next() ([]scheduler.Event, error) {
	if r.given {
		return nil, io.EOF
	}
	r.given = true
	var all []scheduler.Event
	for i := range 6 {
		all = append(all, scheduler.Event{Kind: scheduler.ItemArrived, ID: int64(i), Model: scheduler.ModelID(i / 3), Device: scheduler.NoDevice})
	}
	return all, nil
}

// Append keeps the log.
func (r *workerRun) Append(events []scheduler.Event) error {
	r.events = append(r.events, events...)
	return nil
}

// drive runs it to the end; both replays hold, nothing of the worker is left.
func (r *workerRun) drive(t *testing.T) {
	t.Helper()
	model := func(name string) scheduler.Model {
		return scheduler.Model{Name: name, Bytes: 100 * scheduler.MB, Batch: scheduler.BatchCost{Max: 3, Memory: 10 * scheduler.MB, PerItem: scheduler.Millisecond},
			Load: [scheduler.Tiers]scheduler.Time{scheduler.Millisecond, scheduler.Millisecond}}
	}
	cfg := scheduler.Config{Models: []scheduler.Model{model("a"), model("b")}, Attempts: 3,
		Devices: []scheduler.Device{{Name: "gpu0", Budget: 150 * scheduler.MB, Slots: 1}}}
	core := func() scheduler.Config {
		built, err := policies.Builtin().New(policies.Spec{Use: "fifo"}, policies.Env{Models: cfg.Models, Devices: cfg.Devices})
		if err != nil {
			t.Fatal(err)
		}
		c := cfg
		c.Policy, c.Evictor, c.Waits = built.Policy, built.Evictor, built.Waits
		return c
	}
	c, err := scheduler.New(core())
	if err != nil {
		t.Fatal(err)
	}
	e, err := worker.New(r.cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w, err := nvml.Open(ctx, nvml.Config{StrictVRAM: r.strict, Pids: e.Pids,
		Inbox: scheduler.InboxConfig{Core: c, Executors: []scheduler.Executor{e}, Source: r}})
	if err != nil {
		t.Fatal(err)
	}
	w.Drain()
	err = scheduler.Drive(ctx, c, w, r)
	var closing error
	if r.report, closing = w.Close(ctx); err != nil || closing != nil {
		t.Fatalf("%v, %v", err, closing)
	}
	if err := scheduler.Replay(core(), core(), r.events); err != nil {
		t.Error(err)
	}
	if held, err := r.device.Held(10 * time.Second); held != 0 || err != nil {
		t.Errorf("%d bytes are held at the end: %v", held, err)
	}
	if pids := e.Pids(); len(pids) > 0 {
		t.Errorf("workers %v are left", pids)
	}
}

// finished returns how many items of the log were in batches that finished.
func (r *workerRun) finished() int {
	members, done := map[int64]int{}, 0
	n := 0
	for _, ev := range r.events {
		switch ev.Kind {
		case scheduler.MemberDispatched:
			n++
		case scheduler.BatchStarted:
			members[ev.ID], n = n, 0
		case scheduler.BatchFinished:
			done += members[ev.ID]
		}
	}
	return done
}

// survives: the worker's group is ended, what was in flight fails as lost, the
// device is down and up again with its memory read anew, the attempt is an
// event, and every item is done in the end.
func survives(t *testing.T, fault fakeworker.Fault, at int, says string) {
	r := newWorkerRun(t, fault, at)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r.drive(t)
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 10*worker.MaxLine {
		t.Errorf("%d bytes were allocated", grown)
	}
	lost, back := r.told(worker.WentLost), r.told(worker.Respawned)
	if len(lost) != 1 || !strings.Contains(lost[0].Text, says) {
		t.Errorf("the loss was told as %+v; want %q", lost, says)
	}
	if len(back) != 1 || back[0].Seen != 1e9 || back[0].PID == lost[0].PID {
		t.Errorf("the worker was started again as %+v: its memory has to be read again", back)
	}
	if down, up := r.of(scheduler.DeviceDown), r.of(scheduler.DeviceUp); len(down) != 1 || len(up) != 1 || down[0].At >= up[0].At {
		t.Errorf("down %v, up %v", down, up)
	}
	if r.report.Devices[0].Restarts != 1 || r.report.Devices[0].RestartTime <= 0 {
		t.Errorf("the report knows of %+v", r.report.Devices[0])
	}
	if loads := r.of(scheduler.LoadStarted); len(loads) != 3 {
		t.Errorf("%d loads were started: two models, and again what was lost", len(loads))
	}
	if done := r.finished(); done != 6 {
		t.Errorf("%d of 6 items are done", done)
	}
}

// outOfMemory: a batch that does not fit fails, the worker goes on, and each
// attempt is an event.
func outOfMemory(t *testing.T) {
	r := newWorkerRun(t, fakeworker.Oversized, 1)
	r.drive(t)
	failed := r.of(scheduler.BatchFailed)
	if len(failed) != 1 || scheduler.Failure(failed[0].Value) != scheduler.FailureOOM {
		t.Errorf("failed: %v", failed)
	}
	if started := r.of(scheduler.BatchStarted); len(started) != len(r.of(scheduler.BatchFinished))+1 || r.finished() != 6 {
		t.Errorf("%d batches started, %d items are done", len(started), r.finished())
	}
	if len(r.told(worker.WentLost)) > 0 || len(r.of(scheduler.DeviceDown)) > 0 {
		t.Error("the worker was ended")
	}
}

// wrongTime: the host's clock decides, what the worker says is told.
func wrongTime(t *testing.T, fault fakeworker.Fault) {
	r := newWorkerRun(t, fault, 1)
	began := time.Now()
	r.drive(t)
	took := scheduler.Time(time.Since(began))
	told := r.told(worker.WorkerTime)
	if len(told) == 0 || told[0].Seq == 0 {
		t.Fatalf("told as %+v", told)
	}
	for _, ev := range r.of(scheduler.BatchFinished) {
		start := r.of(scheduler.BatchStarted)[slices.IndexFunc(r.of(scheduler.BatchStarted), func(s scheduler.Event) bool { return s.ID == ev.ID })]
		if d := ev.At - start.At; d < scheduler.Millisecond || d > took {
			t.Errorf("a batch took %v of %v", d, took)
		}
	}
	if r.finished() != 6 {
		t.Errorf("%d of 6 items are done", r.finished())
	}
}

// lessMemory: what the driver sees counts, with StrictVRAM against the run.
func lessMemory(t *testing.T) {
	for _, strict := range []bool{false, true} {
		r := newWorkerRun(t, fakeworker.None, -1)
		asked := 0
		r.strict = strict
		r.cfg.Observed = func() (scheduler.Bytes, error) { // it tells the truth of a, and of b's load a third
			if asked++; asked <= 3 {
				return 0, nil
			}
			return 300 * scheduler.MB, nil
		}
		r.drive(t)
		if told := r.told(worker.VRAMMismatch); len(told) == 0 || told[0].Model != "b" || told[0].Seen != 300e6 || told[0].Reported != 100e6 {
			t.Errorf("told as %+v", told)
		}
		says := slices.ContainsFunc(r.report.Invalid, func(what string) bool {
			return strings.Contains(what, "model b: weights of 100MB were declared, 300MB measured")
		})
		if says != strict {
			t.Errorf("strict %v: the run is INVALID for %q", strict, r.report.Invalid)
		}
	}
}

// secrets: only an allow-list of variables is passed on.
func secrets(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", "s")
	t.Setenv("HF_TOKEN", "s")
	report, err := worker.Check(t.Context(), worker.Config{Command: []string{self, fakeworker.Argument, "environ=true"}, Environ: os.Environ()})
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Fields(report.Hello.Versions["environ"])
	if !slices.Contains(names, "PATH") || slices.Contains(names, "HF_TOKEN") || slices.Contains(names, "AWS_SECRET_ACCESS_KEY") {
		t.Errorf("the worker has %v", names)
	}
}

// noNVML: exit 6 with what to do about it, never the 127 of a symbol that is
// not there; simulation needs none of it.
func noNVML(t *testing.T) {
	if binding.Linked {
		t.Skip("this build has NVML in it: TestDoctorOnFakes has this case and the others")
	}
	given{trace: goodTrace}.place(t)
	code, stdout, stderr := vramsim(t, "gpu", "doctor")
	if code != exitHardware || !strings.Contains(stdout, "this build has no NVML in it") || !strings.Contains(stderr, "hint: build it with NVML") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	if code, _, stderr := vramsim(t, "run", "bad.yaml", "-o", "out"); code != exitOK {
		t.Errorf("a simulation: exit %d: %s", code, stderr)
	}
}

// TestGPURunSurvivesItsWorker: the command itself, with a worker that crashes
// in its first batch: what happened is said, the logs hold, nothing is left.
func TestGPURunSurvivesItsWorker(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	device := fakeworker.NewDevice(2e9, fakeworker.Crash, 1)
	t.Setenv("TMPDIR", t.TempDir())
	out := t.TempDir()
	code, stdout, stderr := vramsim(t, "gpu", "run", miniature, "-o", out, "--policy", "seed", "--set", "workload.items=4", "--executor", "worker",
		"--worker", "'"+self+"' "+fakeworker.Argument+" load=20ms item=100ms device="+serve(t, device))
	if code != exitOK && code != exitInvalid { // a busy host makes it INVALID
		t.Fatalf("exit %d: %s", code, stderr)
	}
	if !strings.Contains(stderr, "worker: lost: worker lost (it ended): exit status 3") || !strings.Contains(stdout, "no hardware figures") {
		t.Errorf("on standard output:\n%s\non standard error:\n%s", stdout, stderr)
	}
	dir := newest(t, out)
	if code, _, stderr := vramsim(t, "replay", "--verify", dir.Path); code != exitOK {
		t.Errorf("replay --verify: exit %d: %s", code, stderr)
	}
	if held, err := device.Held(10 * time.Second); held != 0 || err != nil {
		t.Errorf("%d bytes are held at the end: %v", held, err)
	}
	if left, _ := os.ReadDir(os.Getenv("TMPDIR")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestGPUWorkersAreOurs: what a process of a worker has of a card counts as the
// run's own before the worker says hello, and so does what its wrapper started,
// until a little after they are gone: another process may get their PIDs.
func TestGPUWorkersAreOurs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{cards: &cards{}, tell: func(text string) { t.Errorf("told people %q", text) }}
		told := func(kind worker.NoticeKind, pid int, want ...int) {
			t.Helper()
			b.notice(worker.Notice{Kind: kind, PID: pid})
			if pids := slices.Sorted(slices.Values(b.cards.ours.list())); !slices.Equal(pids, want) {
				t.Errorf("ours are %v after %d is told of as %s, want %v", pids, pid, kind, want)
			}
		}
		told(worker.Started, 41, 41)
		told(worker.Spawned, 42, 41, 42)
		told(worker.Gone, 41, 41, 42)
		told(worker.Gone, 99, 41, 42) // nobody's
		time.Sleep(lingering)
		told(worker.Respawned, 43, 41, 42)
		time.Sleep(time.Nanosecond)
		told(worker.Respawned, 43, 42)
		told(worker.Gone, 42, 42)
		told(worker.Started, 42, 42) // the same PID once more
		time.Sleep(2 * lingering)
		told(worker.Respawned, 43, 42)
	})
}
