package experiment

import (
	"testing"

	"github.com/vramsim/vramsim/policies"
)

// A value that is left out after its key is an error at its place, or stands
// for the default, wherever it is: here it is left out at each place of an
// experiment in turn.
func TestEmptyValues(t *testing.T) {
	texts := []string{
		"version: 1\nseed: 1\nhardware: {gpus: [{memory: 12GB}]}\nmodels: {x: {memory: 1GB, load: {disk: {lognormal: {p50: 1s, p95: 2s}}, host: 1s}, batch: {max: 1, time: {empirical: {values: [1s]}}}}}\nworkload: {trace: {file: t.jsonl, limit: 1, models: {names: {x: x}, default: x}}}\npolicies: [{use: fifo, as: f}]\nsweep: {axes: {workload.trace.rate: [1x]}}\n",
		"version: 1\nseed: 1\nhardware: {gpus: [{memory: 12GB}]}\nmodels: {x: {memory: 1GB, load: {mixture: [{weight: 1, exp: {mean: 1s}}]}, batch: {max: 2, times: {1: 1s, 2: 2s}}}}\nworkload: {trace: {file: t.jsonl, models: {rule: zipf, s: 1, onto: [x]}}}\npolicies: [{use: sticky, place: most-free}]\n",
		"version: 1\nseed: 1\nhardware: {gpus: [{memory: 12GB}]}\nmodels: {x: {memory: 1GB, load: 1s, batch: {max: 2, base: 1s, per_item: 1s}}}\nworkload: {items: 3, arrivals: {diurnal: {rate: 1/s, amplitude: 0.5, period: 1h, peak: 1m}}, streams: {popularity: {zipf: {s: 1}}, models: [x]}}\npolicies: [{use: sticky}]\noutput: {events: none}\nthresholds: {model_switches: [\"value < 3\"]}\n",
	}
	texts = append(texts, string(Templates()[0].Files[0].Data))
	dir, _ := traceExperiment(t, "{\"vramsim\":\"trace\",\"version\":1}\n{\"id\":\"a\",\"model\":\"x\",\"at_ns\":0}\n", "")
	n := 0
	for _, text := range texts {
		var errs Errors
		root := parseYAML("x.yaml", []byte(text), &errs)
		if root == nil {
			t.Fatal(errs.asError())
		}
		blanked(root, func(path string) {
			n++
			defer func() {
				if r := recover(); r != nil {
					t.Errorf("%s empty: %v", path, r)
				}
			}()
			Parse("x.yaml", dir, []byte(flow(root)), policies.Builtin(), Options{Quick: true})
		})
	}
	if n < 200 {
		t.Errorf("only %d places", n)
	}
}

// blanked calls try with each value below n empty in turn.
func blanked(n *node, try func(path string)) {
	for i := range n.values {
		path := indexed("", i)
		if n.kind == mappingNode {
			path = n.keys[i]
		}
		old := n.values[i]
		n.values[i] = &node{at: old.at}
		try(path)
		n.values[i] = old
		blanked(old, func(below string) { try(path + " " + below) })
	}
}
