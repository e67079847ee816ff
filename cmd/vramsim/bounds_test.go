package main

import (
	"encoding/json"
	"path/filepath"
	"testing"
)

// TestNoPolicyBeatsTheBounds: in worlds of pipelines, streams, drawn times and
// several devices no replicate of any policy is below its bound, and one that
// has nothing to decide reaches it.
func TestNoPolicyBeatsTheBounds(t *testing.T) {
	file := filepath.Join(template(t), small)
	for name, args := range map[string][]string{
		"pipelines":             {},
		"from the first second": {"--set", "workload.warmup=0s"},
		"two cards":             {"--set", "workload.warmup=0s", "--set", "hardware.gpus=[{name: a, memory: 8GB}, {name: b, memory: 8GB, slots: 2}]", "--set", "sweep.axes={seed: [1, 2]}"},
		"drawn loads and items": {"--set", "workload.warmup=0s", "--set", "models.whisper.load={lognormal: {p50: 5s, p95: 9s}}", "--set", "models.clap.batch={max: 4, item_time: {uniform: [100ms, 300ms]}}"},
		"all at once":           {"--set", "workload={items: 4000, arrivals: {constant: {rate: 100/s}}, streams: {models: [whisper, clap]}}"},
		"streams in a burst":    {"--set", "workload={duration: 4h, arrivals: {gamma: {rate: 600/h, cv: 3}}, streams: {models: [whisper, clap, qwen3]}}"},
	} {
		args = append([]string{"run", file, "--quick", "-q", "--format", "json", "-o", t.TempDir(), "--set", "output={events: none, charts: [], report: []}"}, args...)
		code, stdout, stderr := vramsim(t, args...)
		if code != 0 {
			t.Fatalf("%s: exit %d: %s", name, code, stderr)
		}
		checkBounds(t, name, stdout)
	}
}

type boundedRun struct {
	Cells []struct {
		Bounds map[string]struct {
			PerReplicate []float64 `json:"per_replicate"`
		} `json:"bounds"`
		Policies []struct {
			Policy  string `json:"policy"`
			Metrics map[string]struct {
				PerReplicate json.RawMessage `json:"per_replicate"`
			} `json:"metrics"`
		} `json:"policies"`
	} `json:"cells"`
}

func checkBounds(t *testing.T, name, summary string) {
	t.Helper()
	var run boundedRun
	if err := json.Unmarshal([]byte(summary), &run); err != nil {
		t.Fatal(err)
	}
	for _, cell := range run.Cells {
		if len(cell.Bounds) != 4 {
			t.Fatalf("%s: bounds %v", name, cell.Bounds)
		}
		for _, p := range cell.Policies {
			for figure, metric := range map[string]string{"makespan_seconds": "makespan_seconds", "model_loads": "model_loads", "model_switches": "model_switches", "item_latency_seconds.mean": "item_latency_seconds"} {
				var values []float64
				raw := p.Metrics[metric].PerReplicate
				if metric == "item_latency_seconds" {
					var all map[string][]float64
					if err := json.Unmarshal(raw, &all); err != nil {
						t.Fatal(err)
					}
					values = all["mean"]
				} else if err := json.Unmarshal(raw, &values); err != nil {
					t.Fatal(err)
				}
				for r, v := range values {
					if bound := cell.Bounds[figure].PerReplicate[r]; v < bound*(1-1e-9) {
						t.Errorf("%s: %s, replicate %d: %s is %v, below the bound %v", name, p.Policy, r, figure, v, bound)
					}
				}
			}
		}
	}
}

func TestBoundsAreReached(t *testing.T) {
	const set = "workload={duration: 1s, items: 1, arrivals: {constant: {rate: 1/s}}, streams: {models: [whisper]}}"
	code, stdout, stderr := vramsim(t, "run", filepath.Join(template(t), small), "-q", "--policy", "fifo", "--format", "json", "-o", t.TempDir(), "--set", set, "--set", "output={events: none, charts: [], report: []}")
	if code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	var run struct {
		Cells []struct {
			Bounds   map[string]struct{ Value float64 }
			Policies []struct {
				Metrics map[string]struct{ Value float64 }
			}
		}
	}
	if err := json.Unmarshal([]byte(stdout), &run); err != nil {
		t.Fatal(err)
	}
	cell := run.Cells[0]
	for _, metric := range []string{"model_loads", "model_switches"} {
		if got, want := cell.Policies[0].Metrics[metric].Value, cell.Bounds[metric].Value; got != want {
			t.Errorf("%s is %v, the bound %v", metric, got, want)
		}
	}
	if got, want := cell.Policies[0].Metrics["makespan_seconds"].Value, cell.Bounds["makespan_seconds"].Value; got < want || got > want+1 {
		t.Errorf("the makespan is %v, the bound %v", got, want)
	}
}
