package main

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vramsim/vramsim/nvml/binding"
	"github.com/vramsim/vramsim/nvml/nvmltest"
	"github.com/vramsim/vramsim/nvml/worker/fakeworker"
	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/results/eventlog"
	"github.com/vramsim/vramsim/results/rundir"
	"github.com/vramsim/vramsim/results/telemetry"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/sim/experiment"
)

// miniature is the shipped experiment for the real clock.
const miniature = "../../sim/experiment/templates/gpu-miniature.yaml"

// brief makes the miniature short: what it takes is its services' time.
func brief() []string {
	args := []string{miniature, "--executor", "sleep", "-q"}
	if amount(1, 0) == 0 {
		args = append(args, "--set", "workload.items=4", "--policy", "seed", "--policy", "sticky")
	}
	return args
}

// lengthy makes the miniature last for minutes, for what ends it before.
func lengthy() []string {
	return []string{miniature, "--executor", "sleep", "-q", "--set", "workload.items=600", "--policy", "seed"}
}

// logOf waits until a run below out has begun its first log, and returns that
// log's path. The run's process is a child, which tells nobody.
func logOf(t *testing.T, out string) string {
	t.Helper()
	pattern := filepath.Join(out, "gpu-miniature", "*", "cells", "*", "*", "0", "events.log")
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if logs, _ := filepath.Glob(pattern); len(logs) > 0 {
			return logs[0]
		}
		if time.Since(began) > time.Minute {
			t.Fatal("no run is begun")
		}
	}
}

// newest returns the newest run below out.
func newest(t *testing.T, out string) *rundir.Dir {
	t.Helper()
	dir, err := rundir.Open(filepath.Join(out, "gpu-miniature", "latest"))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestGPURun carries the miniature out on the real clock, whole under
// VRAMSIM_LONG: the run directory is complete, says what it is, its logs hold,
// and switches are those of the simulation.
func TestGPURun(t *testing.T) {
	out := t.TempDir()
	code, stdout, stderr := vramsim(t, append([]string{"gpu", "run", "-o", out}, brief()...)...)
	if code != exitOK && code != exitInvalid { // a busy host makes it INVALID
		t.Fatalf("exit %d: %s", code, stderr)
	}
	if !strings.Contains(stdout, "no hardware figures") {
		t.Errorf("the table does not say what its figures are:\n%s", stdout)
	}
	dir := newest(t, out)
	for _, name := range []string{"report.html", "report.md", "results.csv", "bench.txt", "resolved.yaml", "simulation/summary.json", "charts"} {
		if _, err := os.Stat(dir.Join(filepath.FromSlash(name))); err != nil {
			t.Errorf("the run directory is not complete: %v", err)
		}
	}
	for _, path := range []string{dir.Path, dir.Join("simulation")} {
		if code, _, stderr := vramsim(t, "replay", "--verify", path); code != exitOK {
			t.Errorf("replay --verify %s: exit %d: %s", path, code, stderr)
		}
	}
	m, err := dir.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	checkHardware(t, dir, m)
	sameSwitches(t, dir)
	// Whether targets are held is up to the host, closure is not.
	code, stdout, stderr = vramsim(t, "fidelity", dir.Join("simulation"), dir.Path, "--ablation=false")
	if (code != exitOK && code != exitThreshold) || !strings.Contains(stdout, "held: closure a") || !strings.Contains(stdout, "held: closure b") {
		t.Errorf("fidelity: exit %d: %s%s", code, stdout, stderr)
	}
}

func checkHardware(t *testing.T, dir *rundir.Dir, m *rundir.Manifest) {
	t.Helper()
	if m.Hardware == nil || m.Hardware.Executor != "sleep" || m.Hardware.Label == "" || len(m.Hardware.Devices) != 1 || len(m.Hardware.Telemetry) != len(m.Logs) {
		t.Fatalf("the manifest knows of the hardware %+v, and of %d logs", m.Hardware, len(m.Logs))
	}
	for name, digest := range m.Hardware.Telemetry {
		_, status, err := telemetry.Read(dir.Join(filepath.FromSlash(name)))
		if err != nil || !status.Complete || status.Digest != digest || status.Records == 0 {
			t.Errorf("%s: %v, %+v, in the manifest %s", name, err, status, digest)
		}
	}
}

func sameSwitches(t *testing.T, dir *rundir.Dir) {
	t.Helper()
	read := func(path string) figures {
		data, err := os.ReadFile(filepath.Join(path, "summary.json"))
		if err != nil {
			t.Fatal(err)
		}
		return decoded(t, string(data))
	}
	real, simulated := read(dir.Path), read(dir.Join("simulation"))
	for p := range real.Cells[0].Policies {
		if a, b := value(t, real, p, "model_switches", "value"), value(t, simulated, p, "model_switches", "value"); a != b {
			t.Errorf("%s: %v switches, %v in the simulation", real.Cells[0].Policies[p].Policy, a, b)
		}
	}
}

// hostLate is how late the host has to have been, at least once, for that to be
// why a run of the miniature misses a target: the fifteen or so commands that a
// policy goes through one after the other, all as late, make the 0.5 % by which
// its makespan of some six seconds may be off.
const hostLate = 2 * scheduler.Millisecond

// late returns how late the host was at most in the units of a run, whether that
// makes some of them INVALID, and for what else they are.
func late(t *testing.T, dir *rundir.Dir) (most scheduler.Time, spoilt bool, others []string) {
	t.Helper()
	for _, out := range outcomes(t, dir) {
		most, spoilt = max(most, out.Hardware.Late.Max), spoilt || out.Hardware.HostLate
		for _, why := range out.invalid() {
			if !out.Hardware.HostLate || !strings.HasPrefix(why, "the host was late: ") {
				others = append(others, why)
			}
		}
	}
	return most, spoilt, others
}

// outcomes returns what each unit of a run on hardware left.
func outcomes(t *testing.T, dir *rundir.Dir) (all []outcome) {
	t.Helper()
	m, err := dir.Manifest()
	if err != nil || len(m.Logs) == 0 {
		t.Fatalf("the manifest: %v, %+v", err, m)
	}
	for log := range m.Logs {
		var out outcome
		if err := dir.ReadJSON(filepath.Join(filepath.Dir(filepath.FromSlash(log)), "result.json"), &out); err != nil {
			t.Fatal(err)
		}
		if out.Hardware == nil {
			t.Fatalf("%s has no report of the hardware", log)
		}
		all = append(all, out)
	}
	return all
}

// TestMiniatureGoesAsSimulated: one run of the shipped miniature on the real
// clock keeps the targets of sleep. A host that was late by the run's own
// figures may spoil it twice, and is reported the third time; a host that was
// punctual has no excuse.
func TestMiniatureGoesAsSimulated(t *testing.T) {
	if amount(1, 0) == 0 {
		t.Skip("VRAMSIM_LONG is not set: it takes twenty seconds of a host with little else to do")
	}
	for try := 1; ; try++ {
		out := t.TempDir()
		ran, _, stderr := vramsim(t, "gpu", "run", miniature, "--executor", "sleep", "-q", "-o", out)
		dir := newest(t, out)
		most, spoilt, others := late(t, dir)
		code, stdout, missed := vramsim(t, "fidelity", dir.Join("simulation"), dir.Path, "--targets", "sleep")
		switch {
		case ran == exitOK && code == exitOK && !spoilt:
			return
		case code == exitInvariant:
			t.Fatalf("closure: %s%s", stdout, missed)
		case ran != exitOK && ran != exitInvalid || code != exitOK && code != exitThreshold || len(others) > 0:
			t.Fatalf("exit %d, fidelity %d, INVALID for %q: %s%s%s", ran, code, others, stderr, stdout, missed)
		case most <= hostLate:
			t.Fatalf("exit %d, fidelity %d, although the host was late by %v at most: %s%s%s", ran, code, time.Duration(most), stderr, stdout, missed)
		case try == 3:
			t.Skipf("the host was late three times, by %v the last: %s%s", time.Duration(most), stderr, missed)
		}
		t.Logf("try %d: the host was late by %v: exit %d, fidelity %d: %s", try, time.Duration(most), ran, code, missed)
	}
}

// TestGPURunRefuses: what hardware cannot do is said before anything is begun.
func TestGPURunRefuses(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--executor", "slep"}, exitUsage, "did you mean sleep?"},
		{[]string{"--executor", "sleep", "--set", "policies[1].evict=belady"}, exitUsage, "knows the future"},
		{[]string{"--executor", "sleep", "--set", "hardware.estimates.use=oracle"}, exitUsage, "oracle"},
	} {
		out := t.TempDir()
		code, _, stderr := vramsim(t, append([]string{"gpu", "run", miniature, "-o", out}, c.args...)...)
		if code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%v: exit %d: %s", c.args, code, stderr)
		}
		if left, _ := os.ReadDir(out); len(left) > 0 {
			t.Errorf("%v: something was begun", c.args)
		}
	}
}

// onRecord is a world that holds what is on the disk against each effect that
// starts.
type onRecord struct {
	performance
	t    *testing.T
	path string
	seen int
}

func (o *onRecord) Next() ([]scheduler.Event, error) { return o.world().Next() }
func (o *onRecord) Append(events []scheduler.Event) error {
	return o.world().(scheduler.Sink).Append(events)
}

func (o *onRecord) Start(ev scheduler.Event) error {
	if ev.Kind != scheduler.TimerSet && ev.Kind != scheduler.MemberDispatched {
		o.seen++
		if !slices.Contains(eventsAt(o.t, o.path), ev) {
			o.t.Errorf("%v starts and is not in the log", ev.Kind)
		}
	}
	return o.world().Start(ev)
}

// eventsAt reads a log that may still be written.
func eventsAt(t *testing.T, path string) (all []scheduler.Event) {
	t.Helper()
	log, err := eventlog.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	for {
		events, err := log.Next()
		if err != nil {
			return all
		}
		all = append(all, events...)
	}
}

// TestEffectsAreOnRecord: when an effect starts, the system has the decision,
// so that no kill -9 can lose it.
func TestEffectsAreOnRecord(t *testing.T) {
	exp, err := experiment.Load(miniature, policies.Builtin(), experiment.Options{Set: []string{"workload.items=4"}})
	if err != nil {
		t.Fatal(err)
	}
	setup, err := exp.Cells[0].Setup(0, 0, "test")
	if err != nil {
		t.Fatal(err)
	}
	core, err := scheduler.New(setup.Config)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	stage := &machine{flags: &hardwareFlags{executorFlags: executorFlags{name: "sleep"}}, manifest: &rundir.Manifest{Hardware: &rundir.Hardware{Telemetry: map[string]string{}}}, root: folder, cards: &cards{}}
	on, err := stage.begin(t.Context(), setup, core, folder)
	if err != nil {
		t.Fatal(err)
	}
	world := &onRecord{performance: on, t: t, path: filepath.Join(folder, "events.log")}
	log, sink, err := on.openLog(world.path, eventlog.Header{}, eventlog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := scheduler.Drive(t.Context(), core, world, sink); err != nil {
		t.Error(err)
	}
	if err := errors.Join(on.end(&outcome{}), log.Close()); err != nil {
		t.Error(err)
	}
	if world.seen < 6 {
		t.Errorf("%d effects were seen", world.seen)
	}
}

// TestGPURunBesideAHangingDriver: the run ends soon, keeps what was measured and
// says what hangs.
func TestGPURunBesideAHangingDriver(t *testing.T) {
	if !binding.Linked {
		t.Skip("this build has no NVML in it: go test -tags nvml")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, worker := t.TempDir(), "'"+self+"' "+fakeworker.Argument+" item=300ms uuid=GPU-fa4e0000-0000-4000-8000-000000000000"
	hang := filepath.Join(t.TempDir(), "hang")
	c := child(t, []string{nvmltest.LibraryPath(nvmltest.Library(t, "fake_nvml.c", "libnvidia-ml.so.1")), "FAKE_NVML_HANG=" + hang}, "gpu", "run", miniature, "-q",
		"-o", out, "--policy", "seed", "--set", "workload.items=8", "--executor", "worker", "--worker", worker)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	log := logOf(t, out)
	finished := func(e scheduler.Event) bool { return e.Kind == scheduler.BatchFinished }
	for began := time.Now(); !slices.ContainsFunc(eventsAt(t, log), finished); time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatalf("no batch ends: %s", &stderr)
		}
	}
	if err := os.WriteFile(hang, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	c.Wait() // its child's context bounds it
	if code := c.ProcessState.ExitCode(); code != exitInvalid || !strings.Contains(stderr.String(), "the driver does not answer: its call for ") {
		t.Errorf("exit %d\n%s%s", code, &stdout, &stderr)
	}
	dir := newest(t, out)
	kept := outcomes(t, dir)[0]
	if kept.Failed != "" || kept.Hardware.Devices[0].Samples < 1 || !strings.Contains(strings.Join(kept.Hardware.Invalid, "; "), "does not answer") {
		t.Errorf("the result %+v of hardware %+v", kept, kept.Hardware)
	}
	if code, _, stderr := vramsim(t, "replay", "--verify", dir.Path); code != exitOK {
		t.Errorf("replay --verify: exit %d: %s", code, stderr)
	}
}

// TestGPURunKilled: after a kill -9 at any moment the logs that are there hold.
func TestGPURunKilled(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	cut := 0
	for i := range amount(20, 3) {
		out := t.TempDir()
		c := child(t, nil, append([]string{"gpu", "run", "-o", out}, lengthy()...)...)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if i%3 > 0 { // else at any moment from its start
			logOf(t, out)
		}
		time.Sleep(time.Duration(random.IntN(2000)) * time.Millisecond)
		c.Process.Kill()
		if c.Wait() == nil {
			t.Fatal("it ended before it was killed")
		}
		if _, err := os.Stat(filepath.Join(out, "gpu-miniature")); errors.Is(err, fs.ErrNotExist) {
			continue // before it began
		}
		code, stdout, stderr := vramsim(t, "replay", "--verify", newest(t, out).Path)
		if code != exitOK && !strings.Contains(stderr, "no event logs") {
			t.Errorf("exit %d: %s%s", code, stdout, stderr)
		}
		if strings.Contains(stdout, "INCOMPLETE") {
			cut++
		}
	}
	if cut == 0 {
		t.Error("no log was cut: nothing was tested")
	}
}

// TestGPURunInterrupted: Ctrl-C ends the run soon, cleans up and keeps what
// there is.
func TestGPURunInterrupted(t *testing.T) {
	out := t.TempDir()
	c := child(t, nil, append([]string{"gpu", "run", "-o", out}, lengthy()...)...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	logOf(t, out)
	time.Sleep(time.Second) // into the first batch
	began := time.Now()
	if err := c.Process.Signal(syscall.SIGINT); err != nil {
		t.Skip("this system has no such signal")
	}
	c.Wait()
	// Left alone it would go on for minutes; on a machine that is not busy it ends within the second.
	if code := c.ProcessState.ExitCode(); code != exitInterrupted || time.Since(began) > 30*time.Second {
		t.Errorf("exit %d after %v: %s", code, time.Since(began), &stderr)
	}
	if strings.Contains(stderr.String(), "--resume") {
		t.Errorf("a run on hardware cannot be resumed: %s", &stderr)
	}
	dir := newest(t, out)
	m, err := dir.Manifest()
	if err != nil || m.Status != rundir.Incomplete {
		t.Errorf("status %v (%v)", m.Status, err)
	}
	if code, _, stderr := vramsim(t, "replay", "--verify", dir.Path); code != exitOK {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if code, _, stderr := vramsim(t, "sweep", "--resume", dir.Path); code != exitUsage || !strings.Contains(stderr, "cannot be resumed") {
		t.Errorf("resumed: exit %d: %s", code, stderr)
	}
}

// TestGPURunTerminated: SIGTERM cleans up as Ctrl-C does, also when it comes
// twice as timeout(1) sends it, and a worker takes its time to end.
func TestGPURunTerminated(t *testing.T) {
	for range 5 {
		if terminated(t) {
			return
		}
	}
	t.Skip("this host is too busy to send two signals within half a second")
}

// terminated sends a run two signals; it reports false if they were too far
// apart to be one.
func terminated(t *testing.T) bool {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	temporary, out := t.TempDir(), t.TempDir()
	c := child(t, []string{"TMPDIR=" + temporary}, "gpu", "run", miniature, "-q", "-o", out, "--executor", "worker",
		"--worker", "'"+self+"' "+fakeworker.Argument+" load=1s deaf=true")
	var stderr bytes.Buffer
	c.Stderr = &stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	logOf(t, out)
	time.Sleep(500 * time.Millisecond) // into the first load
	left := func() []os.DirEntry {
		entries, err := os.ReadDir(temporary)
		if err != nil {
			t.Fatal(err)
		}
		return entries
	}
	if len(left()) != 1 {
		t.Fatalf("the worker's folder is not there: %v", left())
	}
	first := time.Now()
	for i := range 2 {
		time.Sleep(time.Duration(i) * 100 * time.Millisecond)
		if err := c.Process.Signal(syscall.SIGTERM); err != nil {
			t.Skip("this system has no such signal")
		}
	}
	apart := time.Since(first)
	c.Wait()
	if apart > oneSignal-100*time.Millisecond {
		return false
	}
	if code := c.ProcessState.ExitCode(); code != exitInterrupted || len(left()) > 0 {
		t.Errorf("exit %d, left %v: %s", code, left(), &stderr)
	}
	return true
}
