package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const genTD26 = "lora_request_trace_before_2024-12-01.csv.gz"

// recordedTemplates writes the templates where a user would, with the folder
// of recorded traces named as a user would, and works there.
func recordedTemplates(t *testing.T) {
	t.Helper()
	traces := filepath.Dir(shared(t, "traces", "MANIFEST.json"))
	dir := template(t)
	t.Setenv("VRAMSIM_TRACES", traces)
	t.Chdir(dir)
}

// figure returns a figure of a policy in a cell.
func (f figures) figure(t *testing.T, cell int, policy, metric, stat string) float64 {
	t.Helper()
	for i, p := range f.Cells[cell].Policies {
		if p.Policy == policy {
			f.Cells = f.Cells[cell : cell+1]
			return value(t, f, i, metric, stat)
		}
	}
	t.Fatalf("no policy %s", policy)
	return 0
}

var noPictures = []string{"--set", "output.charts=[]", "--set", "output.report=[]"}

// TestGenTD26OneGPU: the worked example. In strict arrival order neither rate
// nor service nor load times change what is loaded: the counts are exact.
func TestGenTD26OneGPU(t *testing.T) {
	recordedTemplates(t)
	want := map[string][]float64{"lru": {10674, 8290, 6396, 3969, 1720}, "belady": {10674, 6442, 4410, 2508, 966}}
	f := runJSON(t, 0, append([]string{"gentd26-one-gpu.yaml", "--policy", "lru", "--policy", "belady", "--replicates", "1"}, noPictures...)...)
	if len(f.Cells) != 5 {
		t.Fatalf("%d cells", len(f.Cells))
	}
	for policy, loads := range want {
		for cell := range loads {
			if got := f.figure(t, cell, policy, "model_loads", "value"); got != loads[cell] {
				t.Errorf("%s loads %v times in cell %d, want %v", policy, got, cell, loads[cell])
			}
			if got := f.figure(t, cell, policy, "model_switches", "value"); got != 10673 {
				t.Errorf("%s switches %v times in cell %d", policy, got, cell)
			}
			if got := 14266 * f.figure(t, cell, policy, "item_service_seconds", "mean"); math.Abs(got-377308) > 1e-6 {
				t.Errorf("%s serves %v s in cell %d", policy, got, cell)
			}
		}
	}
}

// documented returns the commands that the comments of a file show, without
// "vramsim".
func documented(t *testing.T, file string) (commands [][]string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(data), "\\\n#", "")
	for _, line := range strings.Split(text, "\n") {
		_, command, found := strings.Cut(line, "vramsim ")
		if !found || !strings.HasPrefix(line, "#  ") {
			continue
		}
		var args []string
		for i, part := range strings.Split(command, "'") {
			if i%2 == 1 { // quoted
				args = append(args, part)
			} else {
				args = append(args, strings.Fields(part)...)
			}
		}
		commands = append(commands, args)
	}
	return commands
}

// What the templates of recorded workloads tell a newcomer to type works, and
// the imported trace gives the same results as the recorded file.
func TestDocumentedCommands(t *testing.T) {
	for file, policy := range map[string]string{"gentd26-one-gpu.yaml": "lru", "gentd26-three-gpus.yaml": "fifo", "disb-real.yaml": "seed", "arena27.yaml": "seed"} {
		t.Run(file, func(t *testing.T) {
			recordedTemplates(t)
			commands := documented(t, file)
			verbs := "run import run"
			if strings.HasPrefix(file, "gentd26") {
				verbs += " calibrate"
			}
			if got := verbsOf(commands); got != verbs {
				t.Fatalf("documented are %v", commands)
			}
			more := append([]string{"--policy", policy, "--replicates", "2", "--set", "output.events=none", "--set", "hardware.gpus[0].memory=24GB"}, noPictures...)
			if file == "disb-real.yaml" {
				more[len(more)-5] = "hardware.gpus[0].memory=1GB"
			}
			recorded := runJSON(t, 0, append(commands[0][1:], more...)...)
			traces := os.Getenv("VRAMSIM_TRACES")
			commands[1][1] = strings.Replace(commands[1][1], "../shared/traces", traces, 1)
			if code, _, stderr := vramsim(t, commands[1]...); code != 0 {
				t.Fatalf("%v: exit %d: %s", commands[1], code, stderr)
			}
			imported := runJSON(t, 0, append(commands[2][1:], more...)...)
			if !reflect.DeepEqual(recorded.Cells[0].Policies[0].Metrics, imported.Cells[0].Policies[0].Metrics) {
				t.Errorf("the imported trace gives other figures")
			}
			if len(commands) == 3 {
				return
			}
			// The profile that the comment shows holds the load times of the template.
			commands[3][2] = strings.Replace(commands[3][2], "../shared/traces", traces, 1)
			if code, _, stderr := vramsim(t, commands[3]...); code != 0 {
				t.Fatalf("%v: exit %d: %s", commands[3], code, stderr)
			}
			profiled := append(append([]string{}, commands[0][1:]...), "--set", "hardware.profile=gentd26-loads.yaml", "--set", "models.defaults.load=1s")
			under := runJSON(t, 0, append(profiled, more...)...)
			if !reflect.DeepEqual(recorded.Cells[0].Policies[0].Metrics, under.Cells[0].Policies[0].Metrics) {
				t.Errorf("the calibrated profile gives other figures than the template")
			}
		})
	}
}

func verbsOf(commands [][]string) string {
	var verbs []string
	for _, c := range commands {
		verbs = append(verbs, c[0])
	}
	return strings.Join(verbs, " ")
}

// The figures that the worked example states for 24 GB, under its two lognormal
// modes of load times: within one unit of their last digit.
func TestGenTD26Waits(t *testing.T) {
	recordedTemplates(t)
	const loads = "models.defaults.load.disk={mixture: [{weight: 0.358, lognormal: {p50: 2.96s, p95: 5.12s}}, {weight: 0.642, lognormal: {p50: 31s, p95: 52.2s}}]}"
	for _, c := range []struct {
		rate       string
		wait, unit float64
	}{{"0.25x", 78, 1}, {"0.5x", 2000, 100}, {"1x", 8600, 100}} {
		f := runJSON(t, 0, append([]string{"gentd26-one-gpu.yaml", "--policy", "lru", "--set", loads, "--set", "workload.trace.rate=" + c.rate, "--replicates", "4",
			"--set", "sweep={axes: {\"hardware.gpus[0].memory\": [24GB]}}"}, noPictures...)...)
		if got := f.figure(t, 0, "lru", "item_wait_seconds", "mean"); math.Abs(got-c.wait) > c.unit {
			t.Errorf("at %s the mean wait is %v s, want %v", c.rate, got, c.wait)
		}
		if got := f.figure(t, 0, "lru", "load_seconds_total", "value"); math.Abs(got-1.41e5) > 0.01e5 {
			t.Errorf("at %s loads take %v s", c.rate, got)
		}
		if c.rate != "1x" {
			continue
		}
		busy, loading := f.figure(t, 0, "lru", "gpu_busy_ratio", "value"), f.figure(t, 0, "lru", "gpu_loading_ratio", "value")
		if math.Abs(busy-.286) > .0005 || math.Abs(loading-.107) > .001 {
			t.Errorf("at 1x busy %v, loading %v", busy, loading)
		}
	}
}

// The other recorded workloads run as they are shipped, with every policy, on
// all devices; every item is served.
func TestRecordedTemplates(t *testing.T) {
	recordedTemplates(t)
	for _, c := range []struct {
		file  string
		items float64
		args  []string
	}{
		{"gentd26-three-gpus.yaml", 14266, nil},
		{"disb-real.yaml", 1684, nil},
		{"arena27.yaml", 713, nil},
	} {
		t.Run(c.file, func(t *testing.T) {
			f := runJSON(t, 0, append([]string{c.file, "--replicates", "1", "--set", "output.events=none"}, noPictures...)...)
			if n := len(f.Cells[0].Policies); n < 10 || f.Status != "VALID" {
				t.Errorf("%d policies, status %s", n, f.Status)
			}
			for _, p := range f.Cells[0].Policies {
				got := f.figure(t, 0, p.Policy, "items_completed", "value")
				loads := f.figure(t, 0, p.Policy, "model_loads", "value")
				switches := f.figure(t, 0, p.Policy, "model_switches", "value")
				if got != c.items || loads <= 0 || switches <= 0 || switches >= c.items {
					t.Errorf("%s: %v items, %v loads, %v switches", p.Policy, got, loads, switches)
				}
			}
		})
	}
}

// Where the traces are not, a template says what is missing and where they are from.
func TestTemplateWithoutTraces(t *testing.T) {
	dir := template(t)
	t.Setenv("VRAMSIM_TRACES", filepath.Join(dir, "none"))
	t.Chdir(dir)
	code, _, stderr := vramsim(t, "run", "gentd26-one-gpu.yaml")
	if code != exitUsage || !strings.Contains(stderr, "there is no file gentd26/"+genTD26) || !strings.Contains(stderr, "none") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

// Every golden statistic comes out of the command, of the file as it was
// recorded and of the native trace.
func TestTraceStatsGolden(t *testing.T) {
	recordedTemplates(t)
	data, err := os.ReadFile(shared(t, "traces", "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	var golden map[string]struct{ Features map[string]float64 }
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	for file, as := range map[string]string{"gentd26/" + genTD26: "gentd26", "azure/AzureLLMInferenceTrace_code.csv": "azure-llm", "burstgpt/burstgpt_1_first400.csv": "burstgpt",
		"arena27/vtc_real_trace_0-300s.csv": "arena27", "disb/REAL.json": "disb"} {
		path := shared(t, "traces", filepath.FromSlash(file))
		if code, _, stderr := vramsim(t, "import", path, "--as", as, "-o", as+".jsonl.zst"); code != 0 {
			t.Fatalf("import %s: exit %d: %s", file, code, stderr)
		}
		code, recorded, stderr := vramsim(t, "trace", "stats", path, "--as", as, "--format", "json")
		_, native, _ := vramsim(t, "trace", "stats", as+".jsonl.zst", "--format", "json")
		if code != 0 || native != recorded {
			t.Errorf("%s: exit %d: %s; of the native trace: %s", file, code, stderr, native)
		}
		var got map[string]float64
		if err := json.Unmarshal([]byte(recorded), &got); err != nil {
			t.Fatal(err)
		}
		want := golden[file].Features
		if len(want) < 10 {
			t.Errorf("%s has %d golden statistics", file, len(want))
		}
		for name, w := range want {
			if g, has := got[name]; !has || math.Abs(g-w) > 1e-6 {
				t.Errorf("%s: %s is %v, want %v", file, name, g, w)
			}
		}
	}
}

func TestTraceLint(t *testing.T) {
	in := csvFile(t, arrivals+"b,0.5,5,6\n")
	code, stdout, _ := vramsim(t, "trace", "lint", in, "--as", "arena27")
	if code != 0 || !strings.Contains(stdout, "only 4 items") || !strings.Contains(stdout, "1 rows are the same") {
		t.Errorf("exit %d: %s", code, stdout)
	}
	broken := csvFile(t, "{\"vramsim\":\"trace\",\"version\":1}\n{\"id\":\"a\",\"model\":\"m\",\"at_ns\":-1}\n")
	if code, _, stderr := vramsim(t, "trace", "lint", broken); code != exitUsage || !strings.Contains(stderr, ":2:") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	for _, args := range [][]string{{"trace", "transfrm", in}, {"trace", "stats", in, "--as", "arena27", "--format", "csv"}, {"trace", "stats"}} {
		if code, _, _ := vramsim(t, args...); code != exitUsage {
			t.Errorf("%v: exit %d", args, code)
		}
	}
}

func TestCheckTraces(t *testing.T) {
	good := "{\"vramsim\":\"trace\",\"version\":1}\n{\"id\":\"a\",\"model\":\"m\",\"at_ns\":5}\n"
	file := csvFile(t, good)
	code, stdout, stderr := vramsim(t, "check", file)
	if code != 0 || !strings.Contains(stdout, "1 items, 1 models") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.jsonl")
	if err := os.WriteFile(bad, []byte(good+"{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr = vramsim(t, "check", bad, file)
	if code != exitUsage || !strings.Contains(stderr, "bad.jsonl:3:") || !strings.Contains(stdout, "valid") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
}
