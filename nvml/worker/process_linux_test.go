package worker_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vramsim/vramsim/nvml/worker"
	"github.com/vramsim/vramsim/nvml/worker/fakeworker"
	"github.com/vramsim/vramsim/scheduler"
)

// group lists the living processes of a group. Dead ones that nobody has
// reaped, as where the first process of a container does not, are not left
// behind by us.
func group(id int) (living []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		f := strings.Fields(rest) // state, parent, group, …, threads
		if len(f) > 17 && f[2] == strconv.Itoa(id) && (f[0] != "Z" && f[0] != "X" || f[17] != "0" && f[17] != "1") {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			living = append(living, pid)
		}
	}
	return living
}

const victimArgument = "victim"

// victim opens an executor, tells the worker's PID and waits to be killed.
func victim(options []string) int {
	self, _ := os.Executable()
	e, err := worker.New(worker.Config{Command: append([]string{self, fakeworker.Argument}, options...), Environ: os.Environ(),
		Dir: os.TempDir()})
	if err == nil {
		_, err = e.Open(context.Background(), plan())
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(e.Pids()[0])
	time.Sleep(time.Minute) // bounded, should nobody kill it
	return 1
}

// TestKillOfTheParent: a kill -9 of the process that has the executor ends its
// worker, even one that neither reads its input nor minds signals.
func TestKillOfTheParent(t *testing.T) {
	for _, options := range [][]string{nil, {"deaf=true"}} {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		c := exec.CommandContext(t.Context(), self, append([]string{victimArgument}, options...)...)
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		line, _ := bufio.NewReader(out).ReadString('\n')
		pid, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil || len(group(pid)) == 0 {
			c.Process.Kill()
			t.Fatalf("the victim said %q, its worker's group is %v", line, group(pid))
		}
		c.Process.Signal(syscall.SIGKILL)
		c.Wait()
		within(t, 10*time.Second, func() bool { return len(group(pid)) == 0 }, "the worker outlives a kill -9 of its parent")
	}
}

// TestEndOfInput: a worker ends with its input, without any signal.
func TestEndOfInput(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), self, fakeworker.Argument)
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	if err := c.Wait(); err != nil {
		t.Errorf("the worker ended with %v", err)
	}
}

// TestStubborn: a worker that minds nothing is killed, and with it what it
// started.
func TestStubborn(t *testing.T) {
	b := open(t, fake(t, "deaf=true", "offspring=true", "item=1h"), plan())
	pid := b.told(worker.Spawned)[0].PID
	if len(group(pid)) != 2 {
		t.Fatalf("the group is %v", group(pid))
	}
	b.does(load(0))
	b.start(batch(0, 1))
	b.closing()
	if left := group(pid); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestOffspringOfTheDead: what a worker started ends with it when it crashes,
// however long the kernel takes to take its memory apart.
func TestOffspringOfTheDead(t *testing.T) {
	b := open(t, fake(t, "offspring=true", "ballast=150MB", "fault=crash", "at=0"), plan())
	pid := b.told(worker.Spawned)[0].PID
	b.fails(load(0), scheduler.FailureLost)
	if left := group(pid); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestGone: every process that is told of is told to be gone, once and after
// that: one that is closed, one that crashes, that of an evicted model, and what a
// wrapper started.
func TestGone(t *testing.T) {
	isolated, crashing, wrapped := fake(t), fake(t, "fault=crash", "at=0"), fake(t)
	isolated.Mode = worker.Isolated
	wrapped.Command = append([]string{"/bin/sh", "-c", `"$@"; true`, "sh"}, wrapped.Command...)
	for name, c := range map[string]struct {
		cfg  worker.Config
		pids int
		do   func(*bench)
	}{
		"closed":   {fake(t), 1, func(b *bench) { b.does(load(0)) }},
		"crashes":  {crashing, 1, func(b *bench) { b.fails(load(0), scheduler.FailureLost) }},
		"isolated": {isolated, 3, func(b *bench) { b.does(load(0)); b.does(evict(0)); b.does(load(1)) }},
		"wrapped":  {wrapped, 2, func(b *bench) { b.does(load(0)) }},
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t, c.cfg, plan())
			c.do(b)
			b.close()
			within(t, 20*time.Second, func() bool { return len(b.told(worker.Gone)) >= c.pids }, "what is gone is not told of")
			b.mu.Lock()
			defer b.mu.Unlock()
			there := map[int]bool{}
			for _, n := range b.notices {
				switch n.Kind {
				case worker.Started, worker.Spawned:
					there[n.PID] = true
				case worker.Gone:
					if !there[n.PID] {
						t.Errorf("%d is told to be gone and is none that is there: %v", n.PID, there)
					}
					delete(there, n.PID)
				}
			}
			if len(there) > 0 {
				t.Errorf("%v are not told to be gone", there)
			}
		})
	}
}
