package main

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/results/rundir"
)

// vramsim runs the command in a folder of its own and returns what it prints.
func vramsim(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(context.Background(), args, strings.NewReader(""), &out, &err)
	return code, out.String(), err.String()
}

// shared returns a file of the reference values or traces that stand beside
// the module, or skips; where they are required it fails.
func shared(t *testing.T, elem ...string) string {
	t.Helper()
	path := filepath.Join(append([]string{"..", "..", "..", "shared"}, elem...)...)
	if dir := os.Getenv("VRAMSIM_TRACES"); dir != "" {
		path = filepath.Join(append([]string{dir, ".."}, elem...)...)
	}
	if _, err := os.Stat(path); err == nil {
		abs, err := filepath.Abs(path)
		if err != nil {
			t.Fatal(err)
		}
		return abs
	}
	if os.Getenv("VRAMSIM_TRACES_REQUIRED") == "1" {
		t.Fatalf("recorded traces not found: %s", path)
	}
	t.Skipf("recorded traces not found: %s", path)
	return ""
}

type figures struct {
	Status string `json:"status"`
	RunID  string `json:"run_id"`
	Cells  []struct {
		Policies []struct {
			Policy     string                    `json:"policy"`
			Metrics    map[string]map[string]any `json:"metrics"`
			LogDigests []string                  `json:"log_digests"`
		} `json:"policies"`
	} `json:"cells"`
}

func runJSON(t *testing.T, wantCode int, args ...string) figures {
	t.Helper()
	code, stdout, stderr := vramsim(t, append([]string{"run", "--format", "json", "-q", "-o", t.TempDir()}, args...)...)
	if code != wantCode {
		t.Fatalf("exit %d, want %d: %s", code, wantCode, stderr)
	}
	return decoded(t, stdout)
}

func decoded(t *testing.T, summary string) (f figures) {
	t.Helper()
	if err := json.Unmarshal([]byte(summary), &f); err != nil {
		t.Fatalf("%v in %s", err, summary)
	}
	return f
}

func value(t *testing.T, f figures, policy int, metric, stat string) float64 {
	t.Helper()
	m := f.Cells[0].Policies[policy].Metrics[metric]
	if stat != "value" {
		if nested, ok := m[stat].(map[string]any); ok {
			return nested["value"].(float64)
		}
	}
	v, ok := m["value"].(float64)
	if !ok {
		t.Fatalf("no %s.%s in %v", metric, stat, m)
	}
	return v
}

// TestW1 holds the results that eleven other simulators agree on.
func TestW1(t *testing.T) {
	for _, c := range []struct {
		trace               string
		mean, p99, makespan float64
		loads, switches     float64
	}{
		{"heavy", 41.708779870, 159.686306000, 10082.232841911, 473, 472},
		{"light", 9.501530299, 39.864823642, 499720.153926448, 59891, 59890},
	} {
		t.Run(c.trace, func(t *testing.T) {
			trace := shared(t, "reference", "w1", c.trace+".jsonl.gz")
			f := runJSON(t, 0, "testdata/w1.yaml", "--set", "workload.trace="+trace)
			for _, v := range []struct {
				metric, stat string
				want         float64
			}{{"item_latency_seconds", "mean", c.mean}, {"item_latency_seconds", "p99", c.p99}, {"makespan_seconds", "value", c.makespan},
				{"model_loads", "value", c.loads}, {"model_switches", "value", c.switches}} {
				if got := value(t, f, 0, v.metric, v.stat); math.Abs(got-v.want) >= 1e-9*max(1, v.want/1e6) {
					t.Errorf("%s.%s = %.9f, want %.9f", v.metric, v.stat, got, v.want)
				}
			}
		})
	}
}

const small = "video-pipeline.yaml"

// template writes the built-in experiments into a folder and returns it.
func template(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if code, _, stderr := vramsim(t, "init", dir); code != 0 {
		t.Fatalf("init: exit %d: %s", code, stderr)
	}
	return dir
}

// TestSameBytes: the same experiment gives the same digests however many run
// at once, and other ones under another seed.
func TestSameBytes(t *testing.T) {
	file := filepath.Join(template(t), small)
	digests := func(args ...string) (all []string) {
		for _, c := range runJSON(t, 0, append([]string{file, "--quick", "--set", "output.charts=[]", "--set", "output.report=[]"}, args...)...).Cells {
			for _, p := range c.Policies {
				all = append(all, p.LogDigests...)
			}
		}
		return all
	}
	one, four := digests("-j", "1"), digests("-j", "4")
	if len(one) < 90 || !slices.Equal(one, four) {
		t.Errorf("%d digests with one job, %d with four; they differ", len(one), len(four))
	}
	if slices.Equal(one, digests("--seed", "7")) {
		t.Error("another seed gives the same logs")
	}
}

// TestRunDirectory: a run leaves everything the contract names, the logs
// verify, a damaged or shortened one does not, and the report can be rebuilt.
func TestRunDirectory(t *testing.T) {
	out := t.TempDir()
	file := filepath.Join(template(t), small)
	code, stdout, stderr := vramsim(t, "run", file, "--quick", "--policy", "seed", "--policy", "sticky", "-o", out, "--set", "output.charts=[svg]")
	if code != 0 || !strings.Contains(stdout, "sticky") {
		t.Fatalf("exit %d: %s%s", code, stdout, stderr)
	}
	dir, err := rundir.Open(filepath.Join(out, "video-pipeline", "latest"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"manifest.json", "experiment.yaml", "resolved.yaml", "summary.json", "results.csv", "bench.txt", "report.html", "report.md"} {
		if info, err := os.Stat(dir.Join(name)); err != nil || info.Size() == 0 {
			t.Errorf("%s is missing or empty (%v)", name, err)
		}
	}
	if code, stdout, stderr := vramsim(t, "replay", dir.Path, "--verify"); code != 0 {
		t.Fatalf("verify: exit %d: %s%s", code, stdout, stderr)
	}
	if err := os.Remove(dir.Join("report.html")); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := vramsim(t, "report", dir.Path); code != 0 {
		t.Errorf("report: exit %d: %s", code, stderr)
	}
	if page, err := os.ReadFile(dir.Join("report.md")); err != nil || !strings.Contains(string(page), " --set 'output.charts=[svg]'\n") {
		t.Errorf("the report tells another command: %v", err)
	}
	for _, to := range []string{"perfetto", "csv", "jsonl", "benchfmt"} {
		if code, stdout, stderr := vramsim(t, "export", dir.Path, "--to", to); code != 0 || len(stdout) < 1000 {
			t.Errorf("export --to %s: exit %d, %d bytes: %s", to, code, len(stdout), stderr)
		}
	}
	if code, _, stderr := vramsim(t, "compare", dir.Path, dir.Path); code != 0 {
		t.Errorf("compare: exit %d: %s", code, stderr)
	}
	damage(t, dir)
}

func damage(t *testing.T, dir *rundir.Dir) {
	m, err := dir.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	for name := range m.Logs {
		data, err := os.ReadFile(dir.Join(name))
		if err != nil {
			t.Fatal(err)
		}
		flipped := slices.Clone(data)
		flipped[len(data)/2] ^= 8
		for what, bad := range map[string][]byte{"a flipped bit": flipped, "a lost tail": data[:len(data)*2/3]} {
			if err := os.WriteFile(dir.Join(name), bad, 0o644); err != nil {
				t.Fatal(err)
			}
			if code, _, _ := vramsim(t, "replay", dir.Path, "--verify"); code != exitInvariant {
				t.Errorf("%s: exit %d, want %d", what, code, exitInvariant)
			}
		}
		return
	}
}

// TestResume: what is done is not done again, and the result is the same.
func TestResume(t *testing.T) {
	out := t.TempDir()
	file := filepath.Join(template(t), small)
	args := []string{"--quick", "--policy", "seed", "--policy", "fifo", "-o", out, "--format", "json", "-q"}
	code, whole, stderr := vramsim(t, append([]string{"sweep", file}, args...)...)
	if code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	dir, err := rundir.Open(filepath.Join(out, "video-pipeline", "latest"))
	if err != nil {
		t.Fatal(err)
	}
	removed, err := filepath.Glob(dir.Join("cells", "*", "fifo", "1", "result.json"))
	if err != nil || len(removed) == 0 {
		t.Fatal("no results to remove", err)
	}
	for _, path := range removed {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	code, resumed, stderr := vramsim(t, "sweep", "--resume", dir.Path, "--format", "json", "-q")
	if code != 0 || resumed != whole {
		t.Errorf("resumed: exit %d: %s; the summaries are equal: %v", code, stderr, resumed == whole)
	}
}

func TestExitCodes(t *testing.T) {
	dir := template(t)
	file := filepath.Join(dir, small)
	bad := filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(bad, []byte("version: 1\nname: x\nmodles: {}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	quick := []string{"--quick", "-o", t.TempDir(), "--policy", "seed", "--set", "output.charts=[]", "--set", "output.report=[]"}
	for _, c := range []struct {
		want int
		says string
		args []string
	}{
		{exitUsage, "bad.yaml:3:1", []string{"run", bad}},
		{exitUsage, "no command", []string{"rnu"}},
		{exitUsage, "unknown flag", []string{"run", "--sed", "3"}},
		{exitUsage, "sticky", append([]string{"run", file, "--policy", "stikcy"}, quick...)},
		{exitUsage, "no-such-file", []string{"run", "no-such-file.yaml"}},
		{exitUsage, "manifest.json", []string{"compare", dir, dir}},
		{exitThreshold, "threshold", append([]string{"run", file, "--set", `thresholds={model_switches: ["value < 1"]}`}, quick...)},
		{exitOK, "", append([]string{"run", file, "--set", `thresholds={model_switches: ["value < 100000"]}`}, quick...)},
	} {
		code, _, stderr := vramsim(t, c.args...)
		if code != c.want || !strings.Contains(stderr, c.says) {
			t.Errorf("vramsim %s: exit %d, want %d, and %q in: %s", strings.Join(c.args, " "), code, c.want, c.says, stderr)
		}
	}
}

// TestShards: three parts of a sweep, brought together, are the sweep.
func TestShards(t *testing.T) {
	out := t.TempDir()
	file := filepath.Join(template(t), small)
	args := []string{"sweep", file, "--quick", "--policy", "seed", "--policy", "fifo", "--format", "json", "-q", "-o"}
	code, whole, stderr := vramsim(t, append(args, filepath.Join(out, "whole"))...)
	if code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	merge := []string{"sweep", "--format", "json", "-q"}
	for _, part := range []string{"1/3", "2/3", "3/3"} {
		folder := filepath.Join(out, part[:1])
		code, stdout, stderr := vramsim(t, append(args, folder, "--shard", part)...)
		if code != 0 || !strings.Contains(stdout, `"INCOMPLETE"`) || !strings.Contains(stdout, "12 of 18 simulations are missing") {
			t.Fatalf("shard %s: exit %d: %s", part, code, stderr)
		}
		merge = append(merge, "--resume", filepath.Join(folder, "video-pipeline", "latest"))
	}
	code, merged, stderr := vramsim(t, merge...)
	if code != 0 || merged != whole {
		t.Errorf("merged: exit %d: %s; the summaries are equal: %v", code, stderr, merged == whole)
	}
	for _, bad := range [][]string{{"--shard", "0/3"}, {"--shard", "4/3"}, {"--shard", "x"}} {
		if code, _, _ := vramsim(t, append([]string{"sweep", file, "--dry-run"}, bad...)...); code != exitUsage {
			t.Errorf("%v: exit %d", bad, code)
		}
	}
	if code, _, stderr := vramsim(t, append(merge, "--seed", "3")...); code != exitUsage || !strings.Contains(stderr, "--seed does not go with --resume") {
		t.Errorf("another seed: exit %d: %s", code, stderr)
	}
}

// TestOneCellIsNotRandom: a sweep may have cells in which nothing varies; they
// run once and are complete.
func TestOneCellIsNotRandom(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mixed.yaml")
	text := `version: 1
name: mixed
seed: 1
replicates: 4
hardware: {gpus: [{memory: 12GB}]}
models:
  a: {memory: 8GB, batch: {max: 1, base: 1s}, load: 2s}
  b: {memory: 8GB, batch: {max: 1, base: 1s}, load: 2s}
workload: {items: 30, arrivals: {constant: {rate: 0.5/s}}, pipelines: [{name: p, stages: [{id: x, model: a}, {id: y, model: b, after: [x]}]}]}
policies: [{use: fifo, params: {skip: true}}, {use: sticky}]
sweep: {axes: {models.a.load: [2s, {exp: {mean: 2s}}]}}
output: {charts: [], report: []}
`
	if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	f := runJSON(t, 0, file)
	if f.Status != "VALID" || len(f.Cells[0].Policies[0].LogDigests) != 1 || len(f.Cells[1].Policies[0].LogDigests) != 4 {
		t.Errorf("status %s, %d and %d replicates", f.Status, len(f.Cells[0].Policies[0].LogDigests), len(f.Cells[1].Policies[0].LogDigests))
	}
}
