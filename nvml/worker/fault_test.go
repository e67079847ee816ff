package worker_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vramsim/vramsim/nvml/worker"
	"github.com/vramsim/vramsim/nvml/worker/fakeworker"
	"github.com/vramsim/vramsim/scheduler"
)

// TestLosses: whatever a worker does that it may not ends it, the command in
// flight and the one behind it fail, and after Restart everything works, with
// memory read again and nothing resident.
func TestLosses(t *testing.T) {
	for _, c := range []struct {
		fault fakeworker.Fault
		says  string
	}{
		{fakeworker.Hang, "(timeout): run a had no answer in 2s"},
		{fakeworker.Crash, "(it ended): exit status 3"},
		{fakeworker.Killed, "(it ended): signal: killed"},
		{fakeworker.Partial, "(it ended): exit status 0"},
		{fakeworker.Garbage, "(protocol): the line is no JSON"},
		{fakeworker.HugeLine, "(protocol): the line is longer than 8 MiB"},
		{fakeworker.Lost, "(the context was lost): off the bus"},
		{fakeworker.DoubleKey, `(protocol): the key "id" stands twice`},
		{fakeworker.SecondHello, "(protocol): no request 0 is open"},
		{fakeworker.WrongID, "(protocol): no request 10"},
		{fakeworker.WrongEvent, "(protocol): staged is no answer to run"},
	} {
		t.Run(string(c.fault), func(t *testing.T) {
			device := fakeworker.NewDevice(1e9, c.fault, 1)
			cfg := fake(t, "device="+serve(t, device))
			if c.fault == fakeworker.Hang {
				cfg.Timeouts.Run = 2 * time.Second
			}
			b := open(t, cfg, plan())
			first := b.told(worker.Spawned)[0].PID
			b.does(load(0))
			b.start(batch(0, 2))
			b.start(load(1))
			for range 2 {
				o := b.next()
				if o.Failure == nil || o.Failure.Code != scheduler.FailureLost || !strings.Contains(o.Failure.Text, c.says) {
					t.Errorf("command %d: %v; want %q", o.Seq, o.Failure, c.says)
				}
				if o.Failure != nil && strings.Contains(o.Failure.Text, "\x1b") {
					t.Errorf("a control character in %q", o.Failure.Text)
				}
			}
			if left := group(first); len(left) > 0 {
				t.Errorf("the lost worker's group is there when its commands have failed: %v", left)
			}
			var why *scheduler.CommandError
			if err := b.Start(scheduler.Command{Seq: 99, Op: scheduler.OpLoad}); !errors.As(err, &why) || why.Code != scheduler.FailureLost {
				t.Errorf("a command after the loss: %v", err)
			}
			b.comesBack()
		})
	}
}

// comesBack restarts a lost executor.
func (b *bench) comesBack() {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := b.Restart(ctx); err != nil {
		b.t.Fatalf("restart: %v", err)
	}
	back := b.told(worker.Respawned)
	if len(back) != 1 || back[0].Took <= 0 || back[0].Seen != 1e9 {
		b.t.Errorf("the restart was told as %+v", back)
	}
	if why := b.fails(batch(0, 1), scheduler.FailureUnknown); !strings.Contains(why.Text, worker.CodeNotLoaded) {
		b.t.Errorf("something is resident: %v", why)
	}
	b.does(load(0))
	b.does(batch(0, 1))
}

// TestDoubleAnswer: a second answer to a request ends the worker although
// nothing is in flight, and the next command says so.
func TestDoubleAnswer(t *testing.T) {
	b := open(t, fake(t, "fault=double id", "at=0"), plan())
	b.does(load(0))
	within(t, 10*time.Second, func() bool { return len(b.told(worker.WentLost)) > 0 }, "a double id is taken")
	if err := b.Start(scheduler.Command{Seq: 9, Op: scheduler.OpRun}); err == nil || !strings.Contains(err.Error(), "no request") {
		t.Errorf("start: %v", err)
	}
}

// TestSilence: a worker without a heartbeat is ended.
func TestSilence(t *testing.T) {
	cfg := fake(t, "fault=silent", "at=1", "heartbeat=20ms")
	cfg.Timeouts.Heartbeat = 2 * time.Second
	b := open(t, cfg, plan())
	b.does(load(0))
	if why := b.fails(batch(0, 1), scheduler.FailureLost); !strings.Contains(why.Text, "(no heartbeat): none in 2s") {
		t.Errorf("%v", why)
	}
}

// TestHeartbeats: they keep a worker alive that is busy for longer than it may
// be silent.
func TestHeartbeats(t *testing.T) {
	cfg := fake(t, "item=2500ms", "heartbeat=20ms")
	cfg.Timeouts.Heartbeat = 2 * time.Second
	b := open(t, cfg, plan())
	b.does(load(0))
	b.does(batch(0, 1))
}

// TestOutOfMemory: what does not fit fails, may be tried again, and the worker
// goes on.
func TestOutOfMemory(t *testing.T) {
	b := open(t, fake(t, "memory=1015B"), plan())
	b.does(load(0))
	for _, c := range []scheduler.Command{load(1), batch(0, 2)} {
		if why := b.fails(c, scheduler.FailureOOM); !why.Retryable || !strings.Contains(why.Text, "wanted") {
			t.Errorf("%+v", why)
		}
	}
	b.does(batch(0, 1))
}

// TestWorkerTime: durations that cannot be are dropped and told; the outcome
// is a success all the same.
func TestWorkerTime(t *testing.T) {
	for _, fault := range []fakeworker.Fault{fakeworker.NegativeTime, fakeworker.LongTime} {
		b := open(t, fake(t, "fault="+string(fault), "at=1"), plan())
		b.does(load(0))
		o := b.does(batch(0, 2))
		if o.DeviceTime != 0 || slices.ContainsFunc(o.Phases, func(p scheduler.Phase) bool { return p.Took < 0 || p.Took > scheduler.Second*60 }) {
			t.Errorf("%s: %+v", fault, o)
		}
		told := b.told(worker.WorkerTime)
		if len(told) < 2 || told[0].Seq != o.Seq || told[0].Model != "a" || told[0].Seen <= 0 {
			t.Errorf("%s: told as %+v", fault, told)
		}
	}
}

// TestVRAMMismatch: where the worker tells of less memory in use than the
// driver sees, the driver counts.
func TestVRAMMismatch(t *testing.T) {
	cfg := fake(t, "memory=1GB", "fault=few bytes", "at=0")
	var seen scheduler.Bytes = 300e6
	cfg.Observed = func() (scheduler.Bytes, error) { return seen, nil }
	b := open(t, cfg, plan())
	o := b.does(load(0))
	if told := b.told(worker.VRAMMismatch); len(told) != 1 || told[0].Reported != 0 || told[0].Seen != 300e6 || told[0].Seq != o.Seq {
		t.Errorf("told as %+v", told)
	}
	if o.Memory.Free != 700e6 || o.Memory.Allocated != 0 {
		t.Errorf("%v free; the driver sees 300 MB of 1 GB in use", o.Memory.Free)
	}
	seen = 1000 + 64<<20 // what the worker tells, and as much as contexts may differ by
	if o := b.does(batch(0, 1)); len(b.told(worker.VRAMMismatch)) != 1 {
		t.Errorf("a difference within reason is told: %+v", o.Memory)
	}
}

// TestEnvironment: secrets do not reach a worker.
func TestEnvironment(t *testing.T) {
	cfg := fake(t, "environ=true")
	cfg.Environ = []string{"PATH=/bin", "HOME=/", "LC_ALL=C", "AWS_SECRET_ACCESS_KEY=s", "HF_TOKEN=s", "GITHUB_TOKEN=s", "CUDA_HOME=/c", "EXTRA=1", "LD_PRELOAD=x"}
	cfg.Pass, cfg.Device = []string{"EXTRA"}, "GPU-fake"
	b := open(t, cfg, plan())
	got := strings.Fields(b.Hello().Versions["environ"])
	for _, want := range []string{"PATH", "HOME", "LC_ALL", "CUDA_HOME", "EXTRA", "HF_HUB_OFFLINE", "CUDA_VISIBLE_DEVICES", worker.DirVariable} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is not passed on: %v", want, got)
		}
	}
	for _, name := range got {
		if strings.Contains(name, "TOKEN") || strings.Contains(name, "SECRET") || name == "LD_PRELOAD" {
			t.Errorf("%s is passed on", name)
		}
	}
}

// TestStandardError: a file gets a bounded part of it, the worker goes on, and
// its last words stand in the error.
func TestStandardError(t *testing.T) {
	cfg := fake(t, "print=1MB", "fault=crash", "at=0")
	cfg.Stderr, cfg.StderrLimit = filepath.Join(t.TempDir(), "stderr"), 1000
	b := open(t, cfg, plan())
	if why := b.fails(load(0), scheduler.FailureLost); !strings.Contains(why.Text, "its last words: noise") {
		t.Errorf("%v", why)
	}
	text, err := os.ReadFile(cfg.Stderr)
	if err != nil || len(text) < 1000 || len(text) > 1100 || !strings.Contains(string(text), "left out") {
		t.Errorf("%d bytes were kept: %v", len(text), err)
	}
}

// TestHugeLineIsNotKept: of a line without end no more is held than a line may
// have.
func TestHugeLineIsNotKept(t *testing.T) {
	b := open(t, fake(t, "fault=huge line", "at=0"), plan())
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	b.fails(load(0), scheduler.FailureLost)
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 8*worker.MaxLine {
		t.Errorf("%d bytes were allocated for a line that may have %d", grown, worker.MaxLine)
	}
}

// TestTemporaryFolder: the folder of an executor without one goes with it.
func TestTemporaryFolder(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("TMP", os.Getenv("TMPDIR"))
	b := open(t, fake(t), plan())
	if entries, _ := os.ReadDir(os.Getenv("TMPDIR")); len(entries) != 1 {
		t.Errorf("%d folders", len(entries))
	}
	b.close()
	if entries, _ := os.ReadDir(os.Getenv("TMPDIR")); len(entries) != 0 {
		t.Errorf("left: %v", entries)
	}
}

// TestSweep: a temporary folder that a kill has left goes with the next
// executor; one that is in use, or has only just been made, does not.
func TestSweep(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("folders cannot be claimed here")
	}
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	long := time.Now().Add(-time.Hour)
	inUse := open(t, fake(t), plan())
	used, _ := filepath.Glob(filepath.Join(temp, "*"))
	left, young := filepath.Join(temp, "vramsim-worker-left"), filepath.Join(temp, "vramsim-worker-young")
	for _, path := range []string{left, young} {
		if err := os.Mkdir(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{left, used[0]} {
		if err := os.Chtimes(path, long, long); err != nil {
			t.Fatal(err)
		}
	}
	open(t, fake(t), plan())
	for path, want := range map[string]bool{left: false, young: true, used[0]: true} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s: %v", filepath.Base(path), err)
		}
	}
	inUse.close()
}

// TestCloseInTheMidst: Close ends a worker that is busy, one that hangs, and
// one that is only being started.
func TestCloseInTheMidst(t *testing.T) {
	b := open(t, fake(t, "item=1h", "load=1ms"), plan())
	b.does(load(0))
	b.start(batch(0, 1))
	b.closing()

	e, err := worker.New(fake(t, "hello=1h"))
	if err != nil {
		t.Fatal(err)
	}
	opened := make(chan error, 1)
	go func() {
		_, err := e.Open(t.Context(), plan())
		opened <- err
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for err := error(nil); err == nil; { // before Open or in its midst, both have to end
		if err := e.Close(ctx); err != nil {
			t.Error(err)
		}
		err = <-opened
		if err == nil {
			t.Fatal("Open succeeds although Close was called")
		}
	}
}

// TestRestartOfTheHealthy: a restart does not need a loss.
func TestRestartOfTheHealthy(t *testing.T) {
	b := open(t, fake(t, "memory=1GB"), plan())
	b.does(load(0))
	b.comesBack()
}
