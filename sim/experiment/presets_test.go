package experiment

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/policies"
)

// A preset is resolved to the composition it stands for, under its own name, and
// runs as that does.
func TestPresetsResolve(t *testing.T) {
	const seed = "  - {use: seed}\n"
	var rows strings.Builder
	for _, name := range policies.Builtin().Names(policies.KindPreset) {
		row := "  - {use: " + name + "}\n"
		switch name {
		case "alpaserve":
			row = "  - {use: alpaserve, place: {planned: {map: {whisper: gpu0, qwen3: gpu0}}}}\n"
		case "llama-swap-matrix":
			row = "  - {use: llama-swap-matrix, evict: {matrix: {sets: [[whisper], [qwen3, whisper]], costs: {whisper: 3}}}}\n"
		case "llmux-cost-aware":
			row = "  - {use: llmux-cost-aware, params: {factor: 0.25}}\n"
		}
		rows.WriteString(row)
	}
	rows.WriteString("  - {use: ollama, as: mine, evict: {keep-alive: {idle: {whisper: 30s, qwen3: -1s}}}}\n")
	e := parse(t, broken(t, seed, seed+rows.String()), Options{})
	resolved := string(e.Resolved())
	for _, want := range []string{
		"as: llmux-time-slice", "use: time-slice", "max_wait: 15s", "use: cost-aware", "factor: 0.25", "costs: {whisper: 3}", "sets: [[whisper], [qwen3, whisper]]",
		"keep-alive: {idle: 300s, max: 3}", `keep-alive: {idle: {qwen3: "-1s", whisper: 30s}, max: 3}`, "queue-cap: {items: 512}", "as: mine",
	} {
		if !strings.Contains(resolved, want) {
			t.Errorf("resolved without %q:\n%s", want, resolved)
		}
	}
	for _, never := range []string{"use: ollama", "use: llmux-time-slice"} {
		if strings.Contains(resolved, never) {
			t.Errorf("resolved says %q", never)
		}
	}
	sameRuns(t, e)
	for _, c := range []struct{ row, want string }{
		{"{use: olama}", `bad.yaml:19:11: policies[0].use: unknown policy "olama"`},
		{"{use: olama}", `did you mean "ollama"?`},
		{"{use: alpaserve}", `bad.yaml:19:5: policies[0].place.planned.map: must be given`},
		{"{use: llama-swap-matrix, evict: {matrix: {sets: [[whisper, qwen]]}}}", `bad.yaml:19:47: policies[0].evict.matrix.sets: unknown model "qwen"`},
		{"{use: ollama, evict: {keep-alive: {idle: {whisper: 30}}}}", `bad.yaml:19:56: policies[0].evict.keep-alive.idle.whisper: 30 is not accepted`},
		{"{use: ollama, params: {bypas: true}}", `bad.yaml:19:28: policies[0].params.bypas: unknown parameter "bypas"`},
	} {
		if got := parseError(t, broken(t, "{use: seed}", c.row)); !strings.Contains(got, c.want) {
			t.Errorf("%s: %s, want %s", c.row, got, c.want)
		}
	}
}

// The workload profiles of llmux (doublewordai/llmux 18d8c72, fuzz/benchmark.sh)
// with items of 0.3 s. Who waits there for answers is a closed client here, without
// the tenth of a second between the two requests of a round; the requests that do
// not wait come to a model that is awake. Recorded are the switches of two models
// on an L40. Those of fifo and cost-aware stand beside ours in the log: they depend
// on which of two requests comes first, and on how fast the card serves.
func TestLlmuxBenchmark(t *testing.T) {
	const text = `version: 1
seed: 1
hardware: {host_memory: 0B, gpus: [{memory: 48GB}]}
models:
  gpt:   {memory: 16GB, load: 4.84s, batch: {max: 1, base: 0s, per_item: 300ms}}
  gemma: {memory: 24GB, load: 4.84s, batch: {max: 1, base: 0s, per_item: 300ms}}
workload: WORKLOAD
policies: [{use: llmux-time-slice}, {use: llmux-fifo}, {use: llmux-cost-aware}]
`
	var requests strings.Builder
	requests.WriteString("{\"vramsim\":\"trace\",\"version\":1}\n{\"id\":\"warm\",\"model\":\"gpt\",\"at_ns\":0}\n")
	for i := range 50 { // from 20 s on one every 50 ms, every fifth for gemma
		model := "gpt"
		if i%5 == 4 {
			model = "gemma"
		}
		fmt.Fprintf(&requests, "{\"id\":\"r%d\",\"model\":%q,\"at_ns\":%d}\n", i, model, 20_000_000_000+i*50_000_000)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "dominant.jsonl"), []byte(requests.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	closed := func(items int, stages string) string {
		return fmt.Sprintf("{items: %d, arrivals: {closed: {clients: 1, think: 0s}}, pipelines: [{name: p, stages: [%s]}]}", items, stages)
	}
	for _, c := range []struct {
		profile, workload string
		items             int64
		recorded          [3]int64 // time-slice, fifo, cost-aware; -1: not recorded
	}{
		{"balanced", closed(40, "{id: a, model: gpt, items: 1}, {id: b, model: gemma, items: 1}"), 40, [3]int64{20, 37, 20}},
		{"bursty", closed(40, "{id: a, model: gpt, items: 10}, {id: b, model: gemma, items: 10, after: [a]}, {id: c, model: gpt, items: 10, after: [b]}, {id: d, model: gemma, items: 10, after: [c]}"), 40, [3]int64{3, 4, -1}},
		{"dominant", "{trace: " + filepath.Join(dir, "dominant.jsonl") + "}", 51, [3]int64{1, 3, -1}},
		{"interleave", closed(60, "{id: a, model: gpt, items: 30}, {id: b, model: gemma, items: 30}"), 60, [3]int64{1, 2, -1}},
	} {
		e := parse(t, strings.Replace(text, "WORKLOAD", c.workload, 1), Options{})
		for p, row := range e.Cells[0].Policies {
			o := run(t, e.Cells[0], p, 0)
			if o.items != c.items {
				t.Errorf("%s: %d items, want %d", c.profile, o.items, c.items)
			}
			if p == 0 && o.switches != c.recorded[p] {
				t.Errorf("%s: %s makes %d switches, want %d", c.profile, row.Name, o.switches, c.recorded[p])
			}
			t.Logf("%s, %s: %d switches, recorded %d; %v for them", c.profile, row.Name, o.switches, c.recorded[p], o.makespan)
		}
	}
}
