package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/results/summary"
	"github.com/vramsim/vramsim/sim/experiment"
)

// TestAutoWarmup: a rush at the start is left out of the figures, as if its
// length had been stated, and the table and the summary say how long it was.
func TestAutoWarmup(t *testing.T) {
	t.Chdir(t.TempDir())
	write := func(name, warmup string) {
		text := `version: 1
name: rush
seed: 7
replicates: 3
hardware: {gpus: [{name: g, memory: 12GB}]}
models: {a: {memory: 5GB, load: 4s, batch: {max: 8, base: 100ms, per_item: 60ms}}, b: {memory: 9GB, load: 5s, batch: {max: 8, base: 150ms, per_item: 80ms}}}
workload: {warmup: ` + warmup + `, arrivals: {piecewise: {window: 10m, counts: [9000, 600, 600, 600, 600, 600, 600, 600, 600, 600, 600, 600]}}, streams: {models: [a, b]}}
policies: [{use: seed}, {use: sticky}]
output: {report: [], charts: []}
`
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("auto.yaml", "auto")
	code, stdout, stderr := vramsim(t, "run", "auto.yaml", "-o", "auto")
	if code != exitOK || !regexp.MustCompile(`Warm-up: the first [0-9.]+ (s|min) are left out, as MSER-5 says`).MatchString(stdout) {
		t.Fatalf("exit %d: %s\n%s", code, stdout, stderr)
	}
	found := summaryOf(t, "auto")
	from := found.Cells[0].Warmup
	if from == nil || *from < 600 || *from > 3600 {
		t.Fatalf("warm-up of %v", from)
	}
	write("stated.yaml", strconv.FormatFloat(*from, 'f', 9, 64)+"s")
	if code, stdout, stderr = vramsim(t, "run", "stated.yaml", "-o", "stated"); code != exitOK {
		t.Fatalf("exit %d: %s\n%s", code, stdout, stderr)
	}
	stated := summaryOf(t, "stated")
	if stated.Cells[0].Warmup != nil {
		t.Errorf("a stated warm-up is called found: %v", *stated.Cells[0].Warmup)
	}
	for p := range found.Cells[0].Policies {
		for _, stat := range []string{"n", "mean", "p99"} {
			got, want := found.Cells[0].Policies[p].Figure("item_latency_seconds", stat), stated.Cells[0].Policies[p].Figure("item_latency_seconds", stat)
			if got.Value != want.Value {
				t.Errorf("policy %d, %s: %v where it is found, %v where it is stated", p, stat, got.Value, want.Value)
			}
		}
	}
	if code, _, stderr := vramsim(t, "replay", filepath.Join("auto", "rush", "latest"), "--verify"); code != exitOK {
		t.Errorf("replay: exit %d: %s", code, stderr)
	}
}

// TestWhatIfKeepsTheFoundWarmup: both sides of a what-if are measured from where
// the run was, whatever the two policies alone would need.
func TestWhatIfKeepsTheFoundWarmup(t *testing.T) {
	t.Chdir(t.TempDir())
	text := `version: 1
name: rush
seed: 7
hardware: {gpus: [{name: g, memory: 12GB}]}
models: {a: {memory: 5GB, load: 4s, batch: {max: 8, base: 100ms, per_item: 60ms}}, b: {memory: 9GB, load: 5s, batch: {max: 8, base: 150ms, per_item: 80ms}}}
workload: {warmup: auto, arrivals: {piecewise: {window: 10m, counts: [9000, 600, 600, 600, 600, 600, 600, 600, 600, 600, 600, 600]}}, streams: {models: [a, b]}}
policies: [{use: seed}, {use: sticky}, {use: longest}]
output: {report: [], charts: []}
`
	if err := os.WriteFile("rush.yaml", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := vramsim(t, "run", "rush.yaml", "-o", "runs"); code != exitOK {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	run := filepath.Join("runs", "rush", "latest")
	if s := summaryOf(t, "runs"); *s.Cells[0].Warmup < 600 || s.Cells[0].Policies[2].Status != summary.Invalid {
		t.Fatalf("warm-up of %v s, longest is %s", *s.Cells[0].Warmup, s.Cells[0].Policies[2].Status)
	}
	seed, _ := whatIfOf(t, run, "--from", "seed", "--policy", "seed", "--at", "0s")
	longest, sooner := whatIfOf(t, run, "--from", "longest", "--policy", "seed", "--at", "0s")
	for metric, want := range seed {
		if sooner[metric] != want {
			t.Errorf("%s: %s of seed, %s where it takes over at once", metric, want, sooner[metric])
		}
	}
	if longest["items_arrived"] != seed["items_arrived"] {
		t.Errorf("%s items arrive as it was, %s under seed", longest["items_arrived"], seed["items_arrived"])
	}
}

// TestWarmupsUntilAnInterruption: those that were found are noted, whichever
// cells they are of.
func TestWarmupsUntilAnInterruption(t *testing.T) {
	exp, err := experiment.Parse("x", ".", []byte(`version: 1
name: x
hardware: {gpus: [{name: g, memory: 2GB}]}
models: {a: {memory: 1GB, load: 1s, batch: {max: 1, base: 1s}}}
workload: {warmup: auto, items: 300, arrivals: {poisson: {rate: 0.5/s}}, streams: {models: [a]}}
policies: [{use: fifo}]
sweep: {axes: {'hardware.gpus[0].memory': [2GB, 3GB, 4GB]}}
`), policies.Builtin(), experiment.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := newRunner(&app{}, exp, nil)
	if _, err := exp.Cells[1].Warmup(t.Context()); err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, jobs := range []int{1, 2, 8} {
		if err := r.settle(cancelled, jobs); !errors.Is(err, context.Canceled) || r.warmups[0] != nil || r.warmups[1] == nil || r.warmups[2] != nil {
			t.Errorf("%d jobs: %v, %v", jobs, err, r.warmups)
		}
	}
	if err := r.settle(t.Context(), 2); err != nil || slices.Contains(r.warmups, nil) {
		t.Errorf("%v, %v", err, r.warmups)
	}
}

// summaryOf reads the summary of the newest run in a folder.
func summaryOf(t *testing.T, folder string) (s summary.Summary) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(folder, "rush", "latest", "summary.json"))
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}
