package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/nvml/binding"
	"github.com/vramsim/vramsim/nvml/doctor"
	"github.com/vramsim/vramsim/nvml/nvmltest"
	"github.com/vramsim/vramsim/nvml/worker/fakeworker"
)

// ran is a command that has run in a process of its own.
type ran struct {
	code           int
	stdout, stderr string
}

func process(t *testing.T, env []string, args ...string) ran {
	t.Helper()
	c := child(t, env, args...)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run()
	if err != nil {
		if _, ok := errors.AsType[*exec.ExitError](err); !ok {
			t.Fatal(err)
		}
	}
	return ran{c.ProcessState.ExitCode(), out.String(), errs.String()}
}

// TestDoctorWithoutNVML: a default build says which build is missing where a
// card is needed, and is content where none is.
func TestDoctorWithoutNVML(t *testing.T) {
	if binding.Linked {
		t.Skip("this build has NVML in it")
	}
	for executor, want := range map[string]int{"cuda": 6, "worker": 0, "http": 0, "sleep": 0} {
		code, out, errs := vramsim(t, "gpu", "doctor", "--executor", executor, "--folder", t.TempDir())
		if code != want || !strings.Contains(out, "this build has no NVML in it") {
			t.Errorf("%s: exit %d\n%s%s", executor, code, out, errs)
		}
		if hint := "hint: build it with NVML, on Linux with a C compiler: go build -tags nvml -ldflags='-extldflags=-Wl,-z,lazy' ./cmd/vramsim\n"; want == 6 &&
			!strings.HasSuffix(errs, hint) {
			t.Errorf("%s", errs)
		}
	}
	if code, _, errs := vramsim(t, "gpu", "doctor", "--executor", "cudda"); code != 2 || !strings.Contains(errs, "did you mean cuda?") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if code, _, errs := vramsim(t, "gpu", "doctor", "--executor", "sleep", "--selftest"); code != 6 || !strings.Contains(errs, "there is no card to test") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

// fakeDriver compiles both libraries of a driver.
func fakeDriver(t *testing.T) (nvmlDir, cudaDir string) {
	t.Helper()
	return nvmltest.Library(t, "fake_nvml.c", "libnvidia-ml.so.1"), nvmltest.Library(t, "fake_cuda.c", "libcuda.so.1")
}

// TestDoctorOnFakes: what the command says of each kind of machine, with the
// driver's library replaced by a fake one.
func TestDoctorOnFakes(t *testing.T) {
	if !binding.Linked {
		t.Skip("this build has no NVML in it: go test -tags nvml")
	}
	nvmlDir, cudaDir := fakeDriver(t)
	worker := []string{"--executor", "worker"} // tries nothing on the card
	for _, c := range []struct {
		name    string
		without []string
		env     []string
		args    []string
		code    int
		out     string // on standard output
		errs    string // on standard error
	}{
		{name: "healthy", args: worker, out: "Fake GPU 0, compute capability 9.0, 24GiB"},
		{name: "no CUDA", env: []string{nvmltest.LibraryPath(nvmlDir)}, code: 6, errs: "libcuda.so.1"},
		{name: "no context", env: []string{"FAKE_CUDA_BROKEN=1"}, code: 6, errs: "context: "},
		{name: "little to pin", env: []string{"FAKE_CUDA_PINNED=100000000"}, code: 6, errs: "pinned memory: ", out: "- pinned memory: loads need 256MiB"},
		{name: "what CUDA tells", out: "compiled for sm_70"},
		{name: "own PID", env: []string{"FAKE_GPU_LEDGER=" + t.TempDir()}, out: "it takes 64 MiB"},
		{name: "no driver", env: []string{"LD_LIBRARY_PATH=/nonexistent"}, code: 6, errs: "no NVIDIA driver"},
		{name: "no driver, worker", env: []string{"LD_LIBRARY_PATH=/nonexistent"}, args: []string{"--executor", "worker"}, out: "no NVIDIA driver"},
		{name: "no worker", args: worker, out: "- worker: --worker COMMAND starts it"},
		{name: "no server", args: []string{"--executor", "http"}, out: "- server: --server KIND=URL asks it"},
		{name: "driver not loaded", env: []string{"FAKE_NVML_INIT=9"}, code: 6, errs: "hint: load it (modprobe nvidia)"},
		{name: "no device", env: []string{"FAKE_NVML_DEVICES=0"}, code: 6, errs: "has no device for this process"},
		{name: "another device", args: []string{"--gpu", "GPU-x"}, code: 6, errs: "no such device: GPU-x"},
		{name: "old driver", without: []string{"nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetFieldValues", "nvmlDeviceGetCurrentClocksEventReasons", "nvmlErrorString"}, args: worker,
			out: "- call energy: a newer driver may have it; without, there are no figures of energy"},
		{name: "nothing but a name", without: []string{"nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetComputeRunningProcesses_v3",
			"nvmlEventSetWait_v2", "nvmlDeviceGetClockInfo", "nvmlDeviceGetTemperature"}, code: 6, errs: "the driver has no nvmlDeviceGetMemoryInfo"},
		{name: "foreign process", env: []string{"FAKE_NVML_PROCESSES=31337:1073741824"}, code: 5, out: "used by 31337 (1024 MiB)", errs: "hint: wait for them"},
		{name: "shared", env: []string{"FAKE_NVML_PROCESSES=31337:unknown"}, args: []string{"--executor", "worker", "--shared"}, out: "used by 31337 (bytes not told)"},
		{name: "own process", env: []string{"FAKE_NVML_PROCESSES=self:1073741824"}, args: worker, out: "nobody else"},
		{name: "MIG", env: []string{"FAKE_NVML_MIG=1"}, code: 5, errs: "cut into instances (MIG)"},
		{name: "lost", env: []string{"FAKE_NVML_LOST=0"}, code: 6, errs: "the device is lost"},
		{name: "hangs", env: []string{"FAKE_NVML_HANG=0"}, code: 6, errs: "its call for the list of devices has not returned in 5s"},
		{name: "hangs, worker", env: []string{"FAKE_NVML_HANG=0"}, args: worker, code: 6, out: "nvidia-smi will hang, too"},
		{name: "hangs, but no card is needed", env: []string{"FAKE_NVML_HANG=0"}, args: []string{"--executor", "http"}, out: "its call for the list of devices has not returned in 5s"},
		{name: "throttled", env: []string{"FAKE_NVML_REASONS=0:0x40"}, args: worker, out: "slowed down by hardware thermal slowdown"},
		{name: "busy, but no card is needed", env: []string{"FAKE_NVML_PROCESSES=31337:1"}, args: []string{"--executor", "http"}, out: "used by 31337"},
		{name: "self-test that must fail", args: []string{"--executor", "sleep", "--selftest"}, code: 6, out: "a running batch ends", errs: "self-test kill -9: 1024 MiB used before another process took 256 MiB"},
		{name: "self-test left out", env: []string{"FAKE_NVML_MIG=1"}, args: []string{"--selftest"}, code: 5, errs: "the self-test is left out"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			driver := nvmlDir
			if c.without != nil {
				driver = nvmltest.Library(t, "fake_nvml.c", "libnvidia-ml.so.1", c.without...)
			}
			env := append([]string{nvmltest.LibraryPath(driver, cudaDir)}, c.env...)
			r := process(t, env, append([]string{"gpu", "doctor", "--folder", t.TempDir()}, c.args...)...)
			if r.code != c.code || !strings.Contains(r.stdout, c.out) || !strings.Contains(r.stderr, c.errs) {
				t.Errorf("exit %d, want %d with %q and %q\n%s%s", r.code, c.code, c.out, c.errs, r.stdout, r.stderr)
			}
		})
	}
}

// TestDoctorWorker: what a worker says of itself, or why it says nothing.
func TestDoctorWorker(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"LD_LIBRARY_PATH=/nonexistent"}
	r := process(t, env, "gpu", "doctor", "--folder", t.TempDir(), "--worker", "'"+self+"' "+fakeworker.Argument)
	for _, want := range []string{"worker ", "worker device", "worker libraries", "started in"} {
		if r.code != 0 || !strings.Contains(r.stdout, want) {
			t.Errorf("exit %d, %q in\n%s%s", r.code, want, r.stdout, r.stderr)
		}
	}
	for command, want := range map[string]struct {
		code int
		text string
	}{"/nonexistent/python worker.py": {6, "run the command by hand"}, "'": {2, "within quotes"}} {
		if r := process(t, env, "gpu", "doctor", "--folder", t.TempDir(), "--worker", command); r.code != want.code || !strings.Contains(r.stderr, want.text) {
			t.Errorf("%s: exit %d\n%s%s", command, r.code, r.stdout, r.stderr)
		}
	}
}

// TestDoctorWorkerOnACard: a worker is shown the first card that is free, and has
// to compute there.
func TestDoctorWorkerOnACard(t *testing.T) {
	if !binding.Linked {
		t.Skip("this build has no NVML in it: go test -tags nvml")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	driver := nvmltest.LibraryPath(nvmltest.Library(t, "fake_nvml.c", "libnvidia-ml.so.1"))
	const first, second = "GPU-fa4e0000-0000-4000-8000-000000000000", "GPU-fa4e0000-0000-4000-8000-000000000001"
	for _, c := range []struct {
		env, args []string
		uuid      string
		code      int
		text      string
	}{
		{nil, nil, first, 0, first + ", which is GPU 0"},
		{nil, []string{"--gpu", second}, second, 0, second + ", which is GPU 1"},
		{nil, nil, second, 6, "it computes on " + second + ", where CUDA_VISIBLE_DEVICES shows it " + first + " (GPU 0)"},
		{[]string{"FAKE_NVML_DEVICES=0"}, nil, second, 0, "no hardware figures) " + second},
	} {
		env := append([]string{driver, "FAKE_NVML_DEVICES=2"}, c.env...)
		args := append([]string{"gpu", "doctor", "--folder", t.TempDir(), "--worker", "'" + self + "' " + fakeworker.Argument + " environ=true uuid=" + c.uuid}, c.args...)
		r := process(t, env, args...)
		flat := strings.Join(strings.Fields(r.stdout+r.stderr), " ")
		if r.code != c.code || !strings.Contains(flat, c.text) || strings.Contains(flat, "CUDA_VISIBLE_DEVICES") != (len(c.env) == 0) {
			t.Errorf("%s %q: exit %d, want %q in\n%s%s", c.uuid, c.args, r.code, c.text, r.stdout, r.stderr)
		}
	}
}

// TestDoctorBeforeGPURun: a run that would use a card which is not free does not
// begin.
func TestDoctorBeforeGPURun(t *testing.T) {
	if !binding.Linked {
		t.Skip("this build has no NVML in it: go test -tags nvml")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := template(t) + "/" + small
	nvmlDir, cudaDir := fakeDriver(t)
	both := nvmltest.LibraryPath(nvmlDir, cudaDir)
	worker := []string{"--executor", "worker", "--worker", "'" + self + "' " + fakeworker.Argument}
	for _, c := range []struct {
		env, args []string
		code      int
		text      string
	}{
		{[]string{both, "FAKE_NVML_PROCESSES=31337:1073741824"}, worker, 5, "processes: used by 31337 (1024 MiB)"},
		{[]string{both, "FAKE_NVML_MIG=1"}, worker, 5, "instances (MIG)"},
		{[]string{both, "FAKE_NVML_HANG=0"}, worker, 6, "its call for the list of devices has not returned in 5s"},
		{[]string{both, "FAKE_CUDA_BROKEN=1"}, []string{"--executor", "cuda"}, 6, "error: CUDA: "},
		{[]string{nvmltest.LibraryPath(nvmlDir)}, []string{"--executor", "cuda"}, 6, "libcuda.so.1"},
		{[]string{"LD_LIBRARY_PATH=/nonexistent"}, []string{"--executor", "cuda"}, 6, "no NVIDIA driver"},
	} {
		runs := t.TempDir()
		r := process(t, c.env, append([]string{"gpu", "run", file, "-o", runs}, c.args...)...)
		left, err := os.ReadDir(runs)
		if r.code != c.code || !strings.Contains(r.stderr, c.text) || !strings.Contains(r.stderr, "hint: ") || err != nil || len(left) > 0 {
			t.Errorf("%q: exit %d, %d entries left, %v\n%s%s", c.env, r.code, len(left), err, r.stdout, r.stderr)
		}
	}
}

// TestDoctorJSON: everything, in the documented form, alone on standard output.
func TestDoctorJSON(t *testing.T) {
	env, devices := []string{"NO_COLOR=1"}, 0
	if binding.Linked {
		env, devices = append(env, nvmltest.LibraryPath(nvmltest.Library(t, "fake_nvml.c", "libnvidia-ml.so.1")), "FAKE_NVML_DEVICES=2",
			"FAKE_NVML_ENERGY_STEP=1"), 2 // so that a busy machine sees it step
	}
	r := process(t, env, "gpu", "doctor", "--json", "--executor", "worker", "--folder", t.TempDir())
	var report doctor.Report
	d := json.NewDecoder(strings.NewReader(r.stdout))
	d.DisallowUnknownFields()
	if err := d.Decode(&report); err != nil || d.More() {
		t.Fatalf("%v\n%s", err, r.stdout)
	}
	if r.code != 0 || report.Schema != doctor.Schema || len(report.Devices) != devices || report.Needs.Card != doctor.AnyCard || len(report.Findings) < 2 {
		t.Errorf("exit %d, %+v", r.code, report)
	}
	if binding.Linked && report.Devices[1].Capabilities.Energy.Period == 0 {
		t.Errorf("%+v", report.Devices[1])
	}
}

// TestSimulationNeedsNoDriver: run is the same in each build, with no driver at
// all and with one that lacks everything.
func TestSimulationNeedsNoDriver(t *testing.T) {
	dir := template(t)
	env := [][]string{{"LD_LIBRARY_PATH=/nonexistent"}}
	if _, err := exec.LookPath("gcc"); err == nil && binding.Linked {
		env = append(env, []string{nvmltest.LibraryPath(nvmltest.Library(t, "fake_nvml.c", "libnvidia-ml.so.1", "nvmlInit_v2", "nvmlInit", "nvmlShutdown"))})
	}
	if !binding.Linked && os.Getenv("LD_BIND_NOW") == "" {
		env = append(env, []string{"LD_BIND_NOW=1"})
	}
	for _, e := range env {
		r := process(t, e, "run", dir+"/"+small, "--quick", "-q", "-o", t.TempDir(), "--policy", "seed", "--set", "output.charts=[]", "--set", "output.report=[]")
		if r.code != 0 {
			t.Errorf("%q: exit %d: %s", e, r.code, r.stderr)
		}
	}
}
