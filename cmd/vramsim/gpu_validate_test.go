package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/nvml/binding"
	"github.com/vramsim/vramsim/nvml/nvmltest"
	"github.com/vramsim/vramsim/nvml/worker/fakeworker"
	"github.com/vramsim/vramsim/results/rundir"
)

// TestValidationRehearsal goes through nvml/validate/run.sh on fake drivers and
// a fake worker: every stage runs, and what it leaves is what is published and
// verified of a card.
func TestValidationRehearsal(t *testing.T) {
	if !binding.Linked {
		t.Skip("this build has no NVML in it: go test -tags nvml")
	}
	if amount(1, 0) == 0 {
		t.Skip("VRAMSIM_LONG is not set: the stages take minutes")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	fakes := nvmltest.LibraryPath(nvmltest.Library(t, "fake_nvml.c", "libnvidia-ml.so.1"), nvmltest.Library(t, "fake_cuda.c", "libcuda.so.1"))
	out := validate(t, 0, fakes, "FAKE_NVML_USED=0", "FAKE_NVML_RESERVED=0", "FAKE_GPU_LEDGER="+t.TempDir(),
		"VRAMSIM_WORKER='"+self+"' "+fakeworker.Argument+" uuid=GPU-fa4e0000-0000-4000-8000-000000000000", "VRAMSIM_EXPERIMENTS="+smaller(t))
	for name, s := range stagesOf(t, out) {
		switch {
		case s.Status == "ok":
		case (s.Status == "invalid" || s.Status == "missed") && (name == "cuda" || name == "sampler" || name == "torch"): // this host may be late
		case s.Status == "partial": // or slow
			t.Logf("stage %s was cut short", name)
		default:
			t.Errorf("stage %s is %s (exit %d)", name, s.Status, s.Exit)
		}
	}
	if stagesOf(t, out)["sampler"].Status != "partial" {
		checkSampling(t, out)
	}
	for _, name := range []string{"doctor.json", "link.yaml", "profile.yaml", "energy.yaml", "selftest.json"} {
		if data, err := os.ReadFile(filepath.Join(out, name)); err != nil || len(data) == 0 {
			t.Errorf("%s is empty (%v)", name, err)
		}
	}
	if n := checkPublished(t, out); n != 4 {
		t.Errorf("%d runs were published, want 4", n)
	}
	if t.Failed() {
		log, _ := os.ReadFile(filepath.Join(out, "log.txt"))
		t.Logf("%s", log)
	}
}

// checkSampling looks at what telemetry was found to cost: a cell without it is
// compared with the same one with it, replicate by replicate, and only the one
// with it was sampled.
func checkSampling(t *testing.T, out string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(out, "sampling.json"))
	if err != nil {
		t.Error(err)
		return
	}
	f := decoded(t, string(data))
	if len(f.Cells) != 1 || len(f.Cells[0].Policies) != 2 || f.Cells[0].Policies[0].Policy != "seed@off" || f.Cells[0].Policies[1].Policy != "seed@on" {
		t.Errorf("compared: %s", data)
	}
	if !strings.Contains(string(data), `"vs_baseline"`) {
		t.Errorf("no difference is told: %s", data)
	}
	unpacked := t.TempDir()
	if text, err := exec.CommandContext(t.Context(), "tar", "-xzf", filepath.Join(out, "runs.tgz"), "-C", unpacked).CombinedOutput(); err != nil {
		t.Fatalf("runs.tgz: %v: %s", err, text)
	}
	for name, sampled := range map[string]bool{"off": false, "on": true} {
		dir, err := rundir.Open(filepath.Join(unpacked, "sampler", name, "cuda-steady", "latest"))
		if err != nil {
			t.Error(err)
			continue
		}
		for _, o := range outcomes(t, dir) {
			if got := o.Hardware.Devices[0].Samples > 0; got != sampled {
				t.Errorf("telemetry is %s, and there are %d samples", name, o.Hardware.Devices[0].Samples)
			}
		}
	}
}

// TestValidationWithoutCard: the script says what is missing and leaves the
// rest out.
func TestValidationWithoutCard(t *testing.T) {
	probe := binding.New()
	defer probe.Close()
	if _, err := probe.List(); err == nil {
		t.Skip("there is a card")
	}
	out := validate(t, exitHardware)
	for name, s := range stagesOf(t, out) {
		if s.Status != "skipped" || s.Exit != exitHardware {
			t.Errorf("stage %s is %s (exit %d)", name, s.Status, s.Exit)
		}
	}
}

// TestPublished verifies what was measured on cards.
func TestPublished(t *testing.T) {
	found, err := filepath.Glob(filepath.Join("..", "..", "results", "published", "*", "runs.tgz"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range found {
		t.Run(filepath.Base(filepath.Dir(path)), func(t *testing.T) {
			if checkPublished(t, filepath.Dir(path)) == 0 {
				t.Error("no run was published")
			}
		})
	}
}

// validate runs the script with this binary as the command.
func validate(t *testing.T, code int, env ...string) (out string) {
	t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("there is no bash")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := filepath.Join(t.TempDir(), "vramsim-gpu")
	if err := os.WriteFile(command, []byte("#!/bin/sh\n"+asCommand+"=1 exec '"+self+"' \"$@\"\n"), 0o777); err != nil {
		t.Fatal(err)
	}
	out = filepath.Join(t.TempDir(), "out")
	c := exec.CommandContext(t.Context(), bash, "../../nvml/validate/run.sh", out)
	c.Env = append(append(os.Environ(), "VRAMSIM_GPU="+command, "VRAMSIM="+command), env...)
	text, _ := c.CombinedOutput()
	if got := c.ProcessState.ExitCode(); got != code {
		log, _ := os.ReadFile(filepath.Join(out, "log.txt"))
		t.Fatalf("exit %d, want %d: %s\n%s", got, code, text, log)
	}
	return out
}

// smaller writes the experiments of the validation with a sixteenth of the
// memory for synthetic models, a third of the items and one replicate.
func smaller(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	files, err := filepath.Glob("../../nvml/validate/*.yaml")
	if err != nil || len(files) != 5 {
		t.Fatalf("%d experiments (%v)", len(files), err)
	}
	size := regexp.MustCompile(`(memory: )([0-9]+)MiB`)
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		small := size.ReplaceAllStringFunc(string(data), func(s string) string {
			parts := size.FindStringSubmatch(s)
			n, err := strconv.Atoi(parts[2])
			if err != nil {
				t.Fatal(err)
			}
			return fmt.Sprintf("%s%dKiB", parts[1], n*1024/16)
		})
		small = strings.NewReplacer("memory: 4GiB", "memory: 336MiB", "replicates: 3", "replicates: 1", "items: 24", "items: 8", "items: 20", "items: 7").Replace(small)
		if err := os.WriteFile(filepath.Join(folder, filepath.Base(path)), []byte(small), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// stage is a line of stages.jsonl.
type stageLine struct {
	Stage, Status string
	Exit          int
}

func stagesOf(t *testing.T, out string) map[string]stageLine {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(out, "stages.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]stageLine{}
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		var s stageLine
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			t.Fatal(err)
		}
		all[s.Stage] = s
	}
	for _, name := range []string{"doctor", "link", "prepare", "models", "cuda", "sampler", "torch", "energy", "selftest"} {
		if _, ok := all[name]; !ok {
			t.Errorf("there is no stage %s", name)
		}
	}
	return all
}

// checkPublished verifies the logs of published runs, and derives their figures
// again: what the command says of them now is what was published. It returns
// how many runs there are.
func checkPublished(t *testing.T, folder string) int {
	t.Helper()
	folder, err := filepath.Abs(folder)
	if err != nil {
		t.Fatal(err)
	}
	unpacked := t.TempDir()
	t.Chdir(unpacked) // names of traces and profiles are relative to it
	if text, err := exec.CommandContext(t.Context(), "tar", "-xzf", filepath.Join(folder, "runs.tgz"), "-C", unpacked).CombinedOutput(); err != nil {
		t.Fatalf("runs.tgz: %v: %s", err, text)
	}
	data, err := os.ReadFile(filepath.Join(folder, "fidelity.json"))
	if err != nil {
		t.Fatal(err)
	}
	var published []json.RawMessage
	if err := json.Unmarshal(data, &published); err != nil {
		t.Fatalf("fidelity.json: %v", err)
	}
	runs, err := filepath.Glob(filepath.Join(unpacked, "runs", "*", "latest"))
	if err != nil {
		t.Fatal(err)
	}
	for _, run := range runs {
		for _, path := range []string{run, filepath.Join(run, "simulation")} {
			if code, stdout, stderr := vramsim(t, "replay", "--verify", path); code != exitOK {
				t.Errorf("%s: exit %d: %s%s", path, code, stdout, stderr)
			}
		}
		_, stdout, stderr := vramsim(t, "fidelity", filepath.Join(run, "simulation"), run, "--format", "json", "-o", t.TempDir())
		if !sameAsOneOf([]byte(stdout), published) {
			t.Errorf("%s: its figures are not those that were published: %s", run, stderr)
		}
	}
	return len(runs)
}

func sameAsOneOf(data []byte, all []json.RawMessage) bool {
	compact := func(data []byte) string {
		var b bytes.Buffer
		if json.Compact(&b, data) != nil {
			return ""
		}
		return b.String()
	}
	for _, other := range all {
		if text := compact(data); text != "" && text == compact(other) {
			return true
		}
	}
	return false
}
