package experiment

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/scheduler"
)

// family is an experiment of the reference cases: mm1 with other sections.
type family struct {
	name, hardware, models, workload, policies string
	trace                                      string // lines after the header, if any
	loads, items                               int64  // exact, where they are known
	makespan                                   scheduler.Time
}

func (f family) text() string {
	pick := func(s, def string) string {
		if s == "" {
			return def
		}
		return s
	}
	return "version: 1\nname: " + f.name + "\nseed: 1\nreplicates: 20\nhardware: {host_memory: 0B, gpus: [" + pick(f.hardware, "{name: gpu0, memory: 12GB, safety: 1.0, slots: 1}") +
		"]}\nmodels:\n" + f.models + "workload: " + f.workload + "\npolicies:\n" + pick(f.policies, "  - {use: fifo, params: {fill: false}}\n") + "output: {events: none, report: [], charts: []}\n"
}

func modelLine(name, memory, load, batch string) string {
	return fmt.Sprintf("  %s: {memory: %s, batch: {%s}, load: %s, unload: 0s}\n", name, memory, batch, load)
}

const (
	streams   = "{items: 300, arrivals: {poisson: {rate: %s}}, streams: {models: [%s]%s}}"
	exp1      = "max: 1, time: {exp: {mean: 1s}}"
	twoGPUs   = "{name: gpu0, memory: 12GB, safety: 1.0}, {name: gpu1, memory: 12GB, safety: 1.0}"
	planned   = "  - {use: fifo, params: {fill: false}, place: {planned: {map: {m0: gpu0, m1: gpu1}}}}\n"
	theory    = "{duration: 400s, horizon: 500s, warmup: 10s, arrivals: {poisson: {rate: %s}}, streams: {models: [%s], popularity: {weights: [%s]}}}"
	threeWays = `  - {use: polling, as: exhaustive, evict: single, visit: exhaustive, params: {skip_empty: false, fill: false}}
  - {use: polling, as: gated, evict: single, visit: gated, params: {skip_empty: false, fill: false}}
  - {use: polling, as: limited, evict: single, visit: {limited: {items: 1}}, params: {skip_empty: false, fill: false}}
`
)

func items(lines ...string) string { return strings.Join(lines, "\n") + "\n" }

func families() []family {
	single := modelLine("m0", "1GB", "0s", exp1)
	five := modelLine("whisper", "4.5GB", "5s", "max: 1, per_item: 1s") + modelLine("videomae", "5GB", "8s", "max: 1, per_item: 1s") + modelLine("clap", "2GB", "4s", "max: 1, per_item: 1s") +
		modelLine("qwen3", "1.5GB", "10s", "max: 1, per_item: 1s") + modelLine("dinov3", "1GB", "6s", "max: 1, per_item: 1s")
	polled := modelLine("m0", "10GB", "500ms", exp1) + modelLine("m1", "10GB", "500ms", exp1)
	anomaly := func(seq ...int) string {
		var lines []string
		for i, m := range seq {
			lines = append(lines, fmt.Sprintf(`{"id":"%d","model":"%s","at_ns":%d}`, i, [...]string{"whisper", "videomae", "clap", "qwen3", "dinov3"}[m], int64(i)*1e9))
		}
		return items(lines...)
	}
	belady := ""
	var refs []string
	for i, m := range []int{1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5} {
		refs = append(refs, fmt.Sprintf(`{"id":"%d","model":"m%d","at_ns":%d}`, i, m, int64(i)*1e9))
	}
	for m := 1; m <= 5; m++ {
		belady += modelLine(fmt.Sprintf("m%d", m), "1GB", "0s", "max: 1, time: 1ms")
	}
	graham := items(`{"id":"1","model":"m0","at_ns":0,"priority":9,"service_ns":3000000000}`, `{"id":"2","model":"m0","at_ns":0,"priority":8,"service_ns":2000000000}`,
		`{"id":"3","model":"m0","at_ns":0,"priority":7,"service_ns":2000000000}`, `{"id":"4","model":"m0","at_ns":0,"priority":6,"service_ns":2000000000}`,
		`{"id":"5","model":"m0","at_ns":0,"priority":5,"service_ns":4000000000,"after":["4"]}`, `{"id":"6","model":"m0","at_ns":0,"priority":4,"service_ns":4000000000,"after":["4"]}`,
		`{"id":"7","model":"m0","at_ns":0,"priority":3,"service_ns":4000000000,"after":["4"]}`, `{"id":"8","model":"m0","at_ns":0,"priority":2,"service_ns":4000000000,"after":["4"]}`,
		`{"id":"9","model":"m0","at_ns":0,"priority":1,"service_ns":9000000000,"after":["1"]}`)
	one := func(rate string) string { return fmt.Sprintf(streams, rate, "m0", "") }
	gpu := func(memory string, slots int) string {
		return fmt.Sprintf("{name: gpu0, memory: %s, safety: 1.0, slots: %d}", memory, slots)
	}
	instant := func(n int) string { return modelLine(fmt.Sprintf("m%d", n), "1GB", "0s", "max: 1, time: 1ms") }
	return []family{
		{name: "mm1", models: single, workload: one("0.5/s"), items: 300},
		{name: "mmc", hardware: gpu("12GB", 2), models: single, workload: one("1.5/s"), items: 300},
		{name: "md1", models: modelLine("m0", "1GB", "0s", "max: 1, time: 1s"), workload: one("0.5/s")},
		{name: "mg1", models: modelLine("m0", "1GB", "0s", "max: 1, time: {gamma: {mean: 1s, cv: 0.57735026919}}"), workload: one("0.7/s")},
		{name: "priority", models: modelLine("m0", "1GB", "0s", "max: 1"), workload: "{trace: t.jsonl}", items: 2,
			trace: items(`{"id":"a","model":"m0","at_ns":0,"priority":1,"tenant":"low","service_ns":1500000000}`, `{"id":"b","model":"m0","at_ns":0,"priority":2,"tenant":"high","service_ns":500000000}`)},
		{name: "sjf", models: modelLine("m0", "1GB", "0s", "max: 1, per_item: 1s"), workload: "{trace: t.jsonl}", policies: "  - {use: fifo, order: work}\n", items: 2, makespan: 1.75e9,
			trace: items(`{"id":"a","model":"m0","at_ns":0,"work":1.5}`, `{"id":"b","model":"m0","at_ns":0,"work":0.25}`)},
		{name: "setup", models: modelLine("m0", "1GB", "5s", exp1), workload: one("0.1/s"), policies: "  - {use: fifo, evict: {ttl: {idle: 0s}}}\n"},
		{name: "keepalive", models: modelLine("m0", "1GB", "8s", "max: 1, time: 2s"), workload: one("0.05/s"), policies: "  - {use: fifo, evict: {ttl: {idle: 10s}}}\n"},
		{name: "vacation", models: modelLine("m0", "10GB", "1us", exp1) + modelLine("m1", "10GB", "5s", exp1), workload: fmt.Sprintf(theory, "0.1/s", "m0, m1", "1, 0"), policies: threeWays},
		{name: "batch-constant", models: modelLine("m0", "1GB", "0s", "max: 4, base: 1s, per_item: 0s"), workload: one("2/s"), items: 300},
		{name: "batch-linear", models: modelLine("m0", "1GB", "0s", "max: 8, base: 1s, per_item: 200ms"), workload: one("0.5/s")},
		{name: "batch-take-all", models: modelLine("m0", "1GB", "0s", "max: 100000, base: 1s, per_item: 200ms"), workload: one("0.5/s")},
		{name: "batch-at-least", models: modelLine("m0", "1GB", "0s", "max: 4, base: 1s"), workload: one("2/s"), policies: "  - {use: fifo, batch: {accumulate: {items: 2, timeout: 100s}}}\n"},
		{name: "polling-symmetric", models: polled, workload: fmt.Sprintf(theory, "0.6/s", "m0, m1", "0.3, 0.3"), policies: threeWays},
		{name: "polling-limited-law", models: polled, workload: fmt.Sprintf(theory, "0.15/s", "m0, m1", "0.1, 0.05"), policies: threeWays},
		{name: "closed", models: single, workload: "{items: 300, arrivals: {closed: {clients: 5, think: {exp: {mean: 10s}}}}, streams: {models: [m0]}}", items: 300},
		{name: "closed-network", hardware: twoGPUs, models: modelLine("m0", "1GB", "0s", "max: 1, time: {exp: {mean: 500ms}}") + modelLine("m1", "1GB", "0s", exp1), policies: planned,
			workload: "{items: 300, arrivals: {closed: {clients: 5, think: {exp: {mean: 2s}}}}, pipelines: [{name: n, stages: [{id: s0, model: m0}, {id: s1, model: m1, after: [s0]}]}]}"},
		{name: "tandem", hardware: twoGPUs, models: single + modelLine("m1", "1GB", "0s", exp1), policies: planned,
			workload: "{items: 300, arrivals: {poisson: {rate: 0.5/s}}, pipelines: [{name: n, stages: [{id: s0, model: m0}, {id: s1, model: m1, after: [s0]}]}]}", items: 300},
		{name: "fork-join", hardware: twoGPUs, models: single + modelLine("m1", "1GB", "0s", exp1), policies: planned,
			workload: "{items: 300, arrivals: {poisson: {rate: 0.5/s}}, pipelines: [{name: n, stages: [{id: s0, model: m0}, {id: s1, model: m1}]}]}", items: 300},
		{name: "residency", hardware: gpu("2GB", 1), models: instant(0) + instant(1) + instant(2) + instant(3) + instant(4), policies: "  - {use: fifo, evict: lru, params: {fill: false}}\n  - {use: fifo, as: out, evict: fifo, params: {fill: false}}\n",
			workload: "{items: 300, arrivals: {constant: {rate: 10/s}}, streams: {models: [m0, m1, m2, m3, m4], popularity: {zipf: {s: 0.8}}}}"},
		{name: "residency-sizes", hardware: gpu("8GB", 1), models: strings.ReplaceAll(five, "per_item: 1s", "time: 1ms"), policies: "  - {use: fifo, evict: lru}\n",
			workload: "{items: 300, arrivals: {constant: {rate: 1/m}}, streams: {popularity: {weights: [0.2, 0.2, 0.2, 0.2, 0.2]}}}"},
		{name: "all-fit", hardware: "{name: gpu0, memory: 16GB, safety: 0.9}", models: five, workload: "{items: 300, arrivals: {poisson: {rate: 1/m}}, streams: {}}", policies: "  - {use: sticky}\n", loads: 5},
		{name: "two-models", models: modelLine("m0", "10GB", "{exp: {mean: 2s}}", exp1) + modelLine("m1", "10GB", "{exp: {mean: 2s}}", exp1), workload: fmt.Sprintf(streams, "0.4/s", "m0, m1", ", popularity: {weights: [0.2, 0.2]}"),
			policies: "  - {use: sticky, evict: single}\n  - {use: longest, evict: single}\n  - {use: hysteresis, evict: single}\n  - {use: priority, evict: single}\n"},
		{name: "belady-anomaly-lru", hardware: gpu("3GB", 1), models: belady, workload: "{trace: t.jsonl}", trace: items(refs...), policies: "  - {use: fifo, evict: lru}\n", loads: 10},
		{name: "belady-anomaly-fifo", hardware: gpu("3GB", 1), models: belady, workload: "{trace: t.jsonl}", trace: items(refs...), policies: "  - {use: fifo, evict: fifo}\n", loads: 9},
		{name: "belady-anomaly-fifo-more", hardware: gpu("4GB", 1), models: belady, workload: "{trace: t.jsonl}", trace: items(refs...), policies: "  - {use: fifo, evict: fifo}\n", loads: 10},
		{name: "belady-anomaly-best", hardware: gpu("4GB", 1), models: belady, workload: "{trace: t.jsonl}", trace: items(refs...), policies: "  - {use: fifo, evict: belady}\n", loads: 6},
		{name: "fifo-size-anomaly", hardware: gpu("8GB", 1), models: five, workload: "{trace: t.jsonl}", trace: anomaly(1, 0, 1, 2, 1, 0, 2), policies: "  - {use: fifo, evict: fifo}\n", loads: 5},
		{name: "fifo-size-anomaly-more", hardware: gpu("10GB", 1), models: five, workload: "{trace: t.jsonl}", trace: anomaly(1, 0, 1, 2, 1, 0, 2), policies: "  - {use: fifo, evict: fifo}\n", loads: 6},
		{name: "graham-anomaly", hardware: gpu("12GB", 3), models: modelLine("m0", "1GB", "0s", "max: 1"), workload: "{trace: t.jsonl}", trace: graham, makespan: 12e9},
		{name: "graham-anomaly-more", hardware: gpu("12GB", 4), models: modelLine("m0", "1GB", "0s", "max: 1"), workload: "{trace: t.jsonl}", trace: graham, makespan: 15e9},
	}
}

// Every family of the reference cases can be written down, runs with all
// invariants checked, and gives what is known exactly.
func TestReferenceFamilies(t *testing.T) {
	for _, f := range families() {
		t.Run(f.name, func(t *testing.T) {
			dir := t.TempDir()
			if f.trace != "" {
				if err := os.WriteFile(filepath.Join(dir, "t.jsonl"), []byte(`{"vramsim":"trace","version":1}`+"\n"+f.trace), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			e, err := Parse("x.yaml", dir, []byte(f.text()), policies.Builtin(), Options{})
			if err != nil {
				t.Fatalf("%v\n%s", err, f.text())
			}
			sameRuns(t, e)
			for p := range e.Cells[0].Policies {
				o := run(t, e.Cells[0], p, 0)
				if f.loads > 0 && o.loads != f.loads || f.items > 0 && o.items != f.items || f.makespan > 0 && o.makespan != f.makespan {
					t.Errorf("%s: %d loads, %d items, makespan %v; want %d, %d, %v", e.Cells[0].Policies[p].Name, o.loads, o.items, o.makespan, f.loads, f.items, f.makespan)
				}
			}
		})
	}
}
