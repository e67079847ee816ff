package worker_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vramsim/vramsim/nvml/worker"
	"github.com/vramsim/vramsim/scheduler"
)

// python returns the interpreter, that of VRAMSIM_PYTHON if it is set, and the
// reference worker written out; without an interpreter the test is skipped.
func python(t *testing.T, arguments ...string) worker.Config {
	t.Helper()
	interpreter := []string{"python3"}
	if text := os.Getenv("VRAMSIM_PYTHON"); text != "" {
		var err error
		if interpreter, err = worker.SplitCommand(text); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := exec.LookPath(interpreter[0]); err != nil {
		t.Skipf("there is no %s", interpreter[0])
	}
	path := filepath.Join(t.TempDir(), "worker.py")
	if err := os.WriteFile(path, worker.Script(), 0o666); err != nil {
		t.Fatal(err)
	}
	cfg := worker.Config{Command: slices.Concat(interpreter, []string{path}, arguments), Environ: os.Environ(), Timeouts: worker.Timeouts{Kill: 200 * time.Millisecond}}
	return cfg
}

// TestReferenceKeepsTheContract runs the contract of executors on the reference
// worker without torch.
func TestReferenceKeepsTheContract(t *testing.T) {
	for _, c := range []struct {
		name     string
		mode     worker.Mode
		tier     worker.HostTier
		slots, n int
		options  []string
	}{
		{"shared", worker.Shared, worker.Pinned, 1, 8, nil},
		{"three at once", worker.Shared, worker.PageCache, 3, 5, []string{"--concurrent=3"}},
		{"isolated", worker.Isolated, worker.PageCache, 1, 4, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := python(t, append([]string{"--backend=fake"}, c.options...)...)
			cfg.Mode, cfg.HostTier, cfg.Timeouts = c.mode, c.tier, brief()
			cfg.Timeouts.Load, cfg.Timeouts.Run, cfg.Timeouts.Unload = 2*time.Second, 2*time.Second, 2*time.Second
			checks(t, c.n)
			contract(t, cfg, c.slots, func(address string) []string {
				return append(slices.Clone(cfg.Command), "--fake-device="+address)
			})
		})
	}
}

// TestReferenceFaults: what the reference worker says when something is wrong.
func TestReferenceFaults(t *testing.T) {
	b := open(t, python(t, "--backend=fake", "--memory=1015", "--heartbeat=0.05"), plan())
	o := b.does(load(0))
	if o.Bytes != 1000 || o.Memory.Free != 15 || !slices.Contains(phases(o), "h2d") || !slices.Contains(phases(o), worker.PhaseFirst) {
		t.Errorf("load: %+v", o)
	}
	if why := b.fails(load(1), scheduler.FailureOOM); !strings.Contains(why.Text, "2000 bytes wanted, 15 free") {
		t.Errorf("%v", why)
	}
	if o := b.does(batch(0, 1)); o.DeviceTime < scheduler.Millisecond || o.Memory.PeakAllocated != 1010 {
		t.Errorf("run: %+v", o)
	}
	b.does(evict(0))
	if why := b.fails(batch(0, 1), scheduler.FailureUnknown); !strings.Contains(why.Text, worker.CodeNotLoaded) {
		t.Errorf("%v", why)
	}
}

// TestReferenceEndsWithItsInput: also while it computes.
func TestReferenceEndsWithItsInput(t *testing.T) {
	cfg := python(t, "--backend=fake", "--load=60000")
	c := exec.CommandContext(t.Context(), cfg.Command[0], cfg.Command[1:]...)
	c.Stdin = strings.NewReader(`{"op":"prepare","id":1,"model":"a","bytes":1}` + "\n" + `{"op":"load","id":3,"model":"a","tier":"disk"}` + "\n")
	began := time.Now()
	out, err := c.Output()
	if err != nil || !strings.Contains(string(out), `"ev":"hello"`) || time.Since(began) > 30*time.Second {
		t.Errorf("ended with %v after %v: %s", err, time.Since(began), out)
	}
}

// TestReferenceOnTorch runs the reference worker's own model on the CPU where
// torch is: no hardware figure, but the same code.
func TestReferenceOnTorch(t *testing.T) {
	cfg := python(t, "--device=cpu", "--models=tiny")
	script := cfg.Command[len(cfg.Command)-3]
	probe := exec.CommandContext(t.Context(), cfg.Command[0], append(slices.Clone(cfg.Command[1:len(cfg.Command)-3]), "-c", "import torch; torch.zeros(1)")...)
	probe.Dir = t.TempDir() // not beside a folder of that name
	if out, err := probe.CombinedOutput(); err != nil {
		t.Skipf("no torch for %s: %v: %s", script, err, out[max(0, len(out)-200):])
	}
	cfg.Timeouts = worker.Timeouts{}
	cfg.HostTier = worker.Pinned
	cfg.Dir = t.TempDir()
	p := plan()
	p.Models = []scheduler.Model{{Name: "tiny", Bytes: 2e6, Batch: scheduler.BatchCost{Max: 4}}}
	p.HostMemory = 1e9
	b := open(t, cfg, p)
	if h := b.Hello(); h.Versions["torch"] == "" || !strings.Contains(h.GPU.Name, "no hardware figure") {
		t.Errorf("hello: %+v", h)
	}
	var moved scheduler.Bytes
	for i, tier := range []scheduler.Tier{scheduler.TierDisk, scheduler.TierHost, scheduler.TierDisk} {
		c := load(0)
		c.Tier = tier
		o := b.does(c)
		if o.Bytes < 500_000 || i > 0 && o.Bytes != moved || slices.Contains(phases(o), worker.PhaseFirst) != (i == 0) ||
			!slices.Contains(phases(o), "build") || !slices.Contains(phases(o), "warmup") {
			t.Errorf("load %d: %+v", i, o)
		}
		moved = o.Bytes
		if o := b.does(batch(0, 3)); o.DeviceTime <= 0 {
			t.Errorf("run: %+v", o)
		}
		b.does(evict(0))
	}
	if told := append(b.told(worker.WorkerTime), b.told(worker.WentLost)...); len(told) > 0 {
		t.Errorf("%+v", told)
	}
	b.comesAgain()
}

// comesAgain restarts a worker that has prepared its weights before.
func (b *bench) comesAgain() {
	b.t.Helper()
	if err := b.Restart(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	b.does(load(0))
	b.does(batch(0, 1))
}
