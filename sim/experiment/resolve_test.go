package experiment

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/scheduler"
)

func reload(t *testing.T, e *Experiment) *Experiment {
	t.Helper()
	again, err := Parse("resolved.yaml", "/nowhere", e.Resolved(), policies.Builtin(), Options{})
	if err != nil {
		t.Fatalf("%v\n%s", err, e.Resolved())
	}
	return again
}

// sameRuns checks that the resolved experiment is the experiment: same bytes
// when resolved again, same cells, ids and events.
func sameRuns(t *testing.T, e *Experiment) {
	t.Helper()
	again := reload(t, e)
	if string(again.Resolved()) != string(e.Resolved()) {
		t.Fatalf("resolving again gives\n%s\ninstead of\n%s", again.Resolved(), e.Resolved())
	}
	if len(again.Cells) != len(e.Cells) || again.RunID("v") != e.RunID("v") || again.Replicates != e.Replicates || again.Baseline != e.Baseline {
		t.Fatalf("%d cells, run %v, baseline %s; want %d, %v, %s", len(again.Cells), again.RunID("v"), again.Baseline, len(e.Cells), e.RunID("v"), e.Baseline)
	}
	for i, c := range e.Cells {
		d := again.Cells[i]
		if d.ID != c.ID || d.Workload != c.Workload || d.Replicates != c.Replicates || !slices.Equal(d.Set, c.Set) || !slices.Equal(d.names(), c.names()) {
			t.Fatalf("cell %d is %+v, want %+v", i, d, c)
		}
		for p := range c.Policies {
			a, err := c.Setup(p, 1, "v")
			if err != nil {
				t.Fatal(err)
			}
			b, err := d.Setup(p, 1, "v")
			if err != nil {
				t.Fatal(err)
			}
			if a.RunID != b.RunID {
				t.Errorf("%s in cell %d: run id %v, want %v", c.Policies[p].Name, i, b.RunID, a.RunID)
			}
			a.Close()
			b.Close()
		}
	}
	last := len(e.Cells) - 1
	for p := range e.Cells[last].Policies {
		if drive(t, e.Cells[last], p, 0) != drive(t, again.Cells[last], p, 0) {
			t.Errorf("%s runs differently", e.Cells[last].Policies[p].Name)
		}
	}
}

// everything uses most keys of the format once.
const everything = `version: 1
name: all
question: Does everything survive?
seed: 18446744073709551615
replicates: 3
hardware:
  host_memory: 64GiB
  gpus:
    - {memory: 12GB}
    - {name: big, memory: 16000MB, safety: 0.87654321, slots: 2}
  estimates: {use: quantile, window: 7}
models:
  whisper: {memory: 4.5GB, batch: {max: 8, memory: 224MB, base: 300ms, per_item: 1.5s}, load: {disk: 5s, host: 800ms}, unload: 10ms, group: asr}
  "a b: {c}": {memory: 1.5GB, load: {lognormal: {p50: 2s, p95: 4s}}, batch: {max: 5, base: 200ms, times: {1: 700ms, 2: 1.2s, 4: 2.1s}}}
  "true": {memory: 1GB, load: {disk: {mixture: [{weight: 0.3, exp: {mean: 1s}}, {weight: 0.7, value: 2s}]}}, batch: {max: 1, time: {gamma: {mean: 1s, cv: 0.5}}}}
  d: {memory: 1GB, load: {disk: {pareto: {min: 1s, alpha: 2.5}}, host: {empirical: {values: [1s, 2s, 3s]}}}, batch: {item_time: {weibull: {scale: 1s, shape: 0.7}}}}
  e: {memory: 1GB, load: {normal: {mean: 1s, sd: 300ms}}, unload: {uniform: [1ms, 2ms]}, batch: {max: 2, base: 1ms, item_time: {lognormal: {mean: 1s, cv: 2}}}}
workload:
  duration: 20m
  warmup: 1m
  horizon: 1h
  arrivals: {gamma: {rate: 2/m, cv: 1.5}}
  pipelines:
    - name: video
      weight: 2
      stages:
        - {id: asr, model: whisper, items: {uniform: [1, 3]}}
        - {id: each, model: {choose: {"true": 0.75, d: 0.25}}, each: asr, chance: 0.5}
        - {id: sum, model: "a b: {c}", after: [asr, each], priority: -5, slo: 2m}
    - name: other
      stages: [{id: only, model: e, items: {exp: {mean: 1.5}}}]
policies:
  - use: seed
  - {use: max-wait, as: mw, params: {wait: 30s}, visit: {limited: {items: 8}}, evict: {ttl: {idle: 1m}}, prefetch: next, place: best-fit, pin: [asr]}
  - {use: fifo, evict: belady, order: deadline, admit: {queue-cap: {items: 100}}}
  - {use: polling, params: {order: [d, e, whisper, "a b: {c}", "true"]}, batch: {delay: {wait: 10ms, prefer: [2, 4]}}}
baseline: mw
attempts: 2
faults:
  load_failure: 0.01
  batch_failure: 0.02
  outages: [{gpu: big, from: 3m, until: 5m}]
  foreign: [{gpu: gpu0, at: 2m, memory: 1GB}]
  cancellations: [{item: 3, at: 4m}]
sweep:
  axes:
    hardware.gpus[0].memory: [12GB, 16GB]
    workload.arrivals: [{gamma: {rate: 2/m, cv: 1.5}}, {poisson: {rate: 1/m}}]
    "models.a b: {c}.load": [{lognormal: {p50: 2s, p95: 4s}}, 3s]
    policies[1].params.wait: [30s, 45s]
thresholds:
  item_latency_seconds{policy=mw}: ["p99 < 600", "mean < 300"]
  vram_over_budget_events: "value == 0"
output: {events: jsonl, report: [md], charts: []}
`

func TestResolved(t *testing.T) {
	for name, text := range map[string]string{"mm1": mm1, "base": base, "everything": everything} {
		t.Run(name, func(t *testing.T) { sameRuns(t, parse(t, text, Options{})) })
	}
}

func TestSweep(t *testing.T) {
	e := parse(t, everything, Options{})
	if len(e.Cells) != 16 {
		t.Fatalf("%d cells", len(e.Cells))
	}
	ids := map[string]bool{}
	for _, c := range e.Cells {
		ids[c.ID] = true
	}
	if len(ids) != 16 {
		t.Errorf("%d different ids of 16 cells", len(ids))
	}
	want := []Setting{{"hardware.gpus[0].memory", "12GB"}, {"workload.arrivals", "{poisson: {rate: 1/m}}"}, {"models.a b: {c}.load", "3s"}, {"policies[1].params.wait", "30s"}}
	if got := e.Cells[6].Set; !slices.Equal(got, want) {
		t.Errorf("cell 6 is %v, want %v", got, want)
	}
	if c := e.Cells[6]; c.Models[1].Load[0] != 3e9 || c.Devices[0].Memory != 12e9 || e.Cells[8].Devices[0].Memory != 16e9 {
		t.Errorf("%+v %+v", c.Models[1], c.Devices)
	}
	if e.Cells[0].Workload != e.Cells[1].Workload || e.Cells[0].Workload == e.Cells[6].Workload {
		t.Error("cells with the same arrivals are not told from those with others")
	}
}

// Values that are written differently and mean the same are the same.
func TestIdentityIsOfMeaning(t *testing.T) {
	one := parse(t, base, Options{}).Cells[0]
	other := strings.NewReplacer("memory: 12GB", "memory: 12000MB", "duration: 1h", "duration: 60m", "base: 300ms, per_item: 1.5s", "per_item: 1500ms, base: 0.3s",
		"load: 10s", "load: {disk: 10s}", "safety: 0.9", "safety: 0.90, slots: 1").Replace(base)
	if got := parse(t, other, Options{}).Cells[0]; got.ID != one.ID || got.Workload != one.Workload {
		t.Errorf("ids %s, %s of equal cells", got.ID, one.ID)
	}
	for _, change := range []string{"memory: 13GB", "memory: 12GB, slots: 2"} {
		if got := parse(t, broken(t, "memory: 12GB", change), Options{}).Cells[0]; got.ID == one.ID {
			t.Errorf("%s leaves the id %s", change, got.ID)
		}
	}
	if got := parse(t, broken(t, "name: base", "name: other\nquestion: why"), Options{}).Cells[0]; got.ID != one.ID {
		t.Error("the name of the experiment changes the cell")
	}
}

func TestOptions(t *testing.T) {
	seed := uint64(99)
	e := parse(t, base, Options{Set: []string{"hardware.gpus[0].memory=8GB", "workload.arrivals={constant: {rate: 1/m}}", "models.qwen3.batch.memory=10MB", "workload.warmup=1m"},
		Policies: []string{"max-wait", "sticky", "{use: fifo, as: f, params: {skip: true}}"}, Seed: &seed, Replicates: 4})
	c := e.Cells[0]
	if c.Devices[0].Memory != 8e9 || c.Models[1].Batch.Memory != 10e6 || e.Seed != 99 || e.Replicates != 4 || c.workload.warmup != 60e9 {
		t.Errorf("%+v %+v", e, c)
	}
	if got := c.names(); !slices.Equal(got, []string{"max-wait", "sticky", "f"}) || e.Baseline != "max-wait" {
		t.Errorf("policies %v, baseline %s", got, e.Baseline)
	}
	if !slices.Contains(c.Policies[0].Settings, Setting{"params.wait", "30s"}) {
		t.Errorf("the policy of the file was not taken: %v", c.Policies[0].Settings)
	}
	for set, want := range map[string]string{
		"hardware.gpus[0].memroy=8GB": `--set:1:1: unknown key "memroy" in hardware.gpus[0]; did you mean "memory"?`,
		"hardware.gpus[3].memory=8GB": `hardware.gpus has 1 entries`,
		"models.qwen.memory=1GB":      `there is no "qwen" in models; did you mean "qwen3"?`,
		"hardware.gpus[0].memory=8":   `--set:1:25: hardware.gpus[0].memory is "8" without a unit`,
		"seed":                        `is not of the form path=value`,
		"hardware..gpus=1":            `is no path`,
		"name.x=1":                    `name is "base", not a mapping`,
		"hardware.gpus[0].memory={":   `--set:1:25: "{"`,
	} {
		_, err := Parse("x.yaml", ".", []byte(base), policies.Builtin(), Options{Set: []string{set}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("--set %s: %v", set, err)
		}
	}
	_, err := Parse("x.yaml", ".", []byte(base), policies.Builtin(), Options{Policies: []string{"stciky"}})
	if err == nil || !strings.Contains(err.Error(), `--policy:1:1: policies[0].use: unknown policy "stciky"`) {
		t.Error(err)
	}
}

// TestOneMistakeIsOneError: what is wrong with a flag is said once, in all
// cells together, and not followed by what else would be wrong then.
func TestOneMistakeIsOneError(t *testing.T) {
	swept := base + "sweep: {axes: {\"hardware.gpus[0].memory\": [8GB, 12GB, 16GB]}}\n"
	for _, c := range []struct{ set, policy, want string }{
		{"workload.arrivals.poisson.rate=40", "", `--set:1:32: workload.arrivals.poisson.rate is "40" without a unit`},
		{"thresholds=[a", "", `--set:1:12: "[a": this [ is not closed`},
		{"workload={", "", `--set:1:10: "{": this { is not closed`},
		{"", "{use: [", `--policy:1:1: "{use: [": this [ is not closed`},
	} {
		opts := Options{}
		if c.set != "" {
			opts.Set = []string{c.set}
		}
		if c.policy != "" {
			opts.Policies = []string{"seed", c.policy}
		}
		_, err := Parse("x.yaml", ".", []byte(swept), policies.Builtin(), opts)
		var errs *Errors
		if !errors.As(err, &errs) || errs.Total != 1 || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s%s: %v", c.set, c.policy, err)
		}
	}
}

func TestQuick(t *testing.T) {
	e := parse(t, broken(t, "duration: 1h", "duration: 1h\n  warmup: 10m\n  horizon: 2h"), Options{Quick: true})
	w := e.Cells[0].workload
	if w.generated.Duration != 180e9 || w.warmup != 30e9 || w.horizon != 360e9 || e.Replicates != 3 {
		t.Errorf("%+v %d", w, e.Replicates)
	}
	sameRuns(t, e)
}

func TestSeedIsAsked(t *testing.T) { // config-11
	e := parse(t, broken(t, "seed: 7\n", ""), Options{})
	if !e.NeedSeed {
		t.Fatal("nobody asks for the seed")
	}
	e, err := e.WithSeed(12345)
	if err != nil || e.NeedSeed || e.Seed != 12345 || !strings.Contains(string(e.Resolved()), "\nseed: 12345\n") {
		t.Fatalf("%v %+v", err, e)
	}
	sameRuns(t, e)
}

func TestNothingRandom(t *testing.T) {
	text := strings.NewReplacer("{poisson: {rate: 40/h}}", "{constant: {rate: 40/h}}", "items: {uniform: [4, 30]}", "items: 7", "use: seed", "use: seed, params: {ties: lowest}").Replace(base)
	e := parse(t, text, Options{})
	if e.Replicates != 1 || !e.Deterministic() {
		t.Errorf("%d replicates of one run", e.Replicates)
	}
	for _, change := range [][2]string{{"ties: lowest", "ties: permuted"}, {"load: 10s", "load: {exp: {mean: 10s}}"}, {"evict: lru", "evict: random"}, {"{constant:", "{poisson:"}, {"items: 7", "items: {uniform: [7, 8]}"}} {
		if e := parse(t, strings.Replace(text, change[0], change[1], 1), Options{}); e.Replicates != 10 || e.Deterministic() {
			t.Errorf("%s: %d replicates", change[1], e.Replicates)
		}
	}
}

// Two policies meet the same arrivals, and a replicate others than another.
func TestCommonRandomNumbers(t *testing.T) {
	c := parse(t, base, Options{}).Cells[0]
	arrivals := func(policy, replicate int) string {
		var b strings.Builder
		for _, l := range strings.Split(drive(t, c, policy, replicate), "\n") {
			if strings.HasPrefix(l, scheduler.ItemArrived.String()+" ") {
				b.WriteString(l + "\n")
			}
		}
		return b.String()
	}
	a, b, other := arrivals(0, 0), arrivals(1, 0), arrivals(0, 1)
	if len(a) < 1000 || a != b || a == other {
		t.Errorf("arrivals: equal for two policies %v, for two replicates %v, %d bytes", a == b, a == other, len(a))
	}
}

func TestClairvoyant(t *testing.T) {
	text := broken(t, "use: max-wait, params: {wait: 30s}, evict: lru", "use: fifo, evict: belady")
	c := parse(t, text, Options{}).Cells[0]
	if !c.Policies[1].Clairvoyant || c.Policies[0].Clairvoyant {
		t.Errorf("%+v", c.Policies)
	}
	drive(t, c, 1, 0)
	_, err := Parse("x.yaml", ".", []byte(strings.Replace(text, "{poisson: {rate: 40/h}}", "{closed: {clients: 3, think: 10s}}", 1)), policies.Builtin(), Options{})
	if err == nil || !strings.Contains(err.Error(), `"fifo" is clairvoyant; the arrivals of a closed loop depend on the policy`) {
		t.Error(err)
	}
}

func TestOverload(t *testing.T) {
	c := parse(t, broken(t, "rate: 40/h", "rate: 400/h"), Options{}).Cells[0]
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "overloaded") || !strings.Contains(c.Warnings[0], "whisper") {
		t.Error(c.Warnings)
	}
	if o := c.Offered[0]; o.PerSecond < 1.88 || o.PerSecond > 1.89 { // 17 items of 400 jobs an hour
		t.Errorf("%+v", o)
	}
	if c := parse(t, base, Options{}).Cells[0]; len(c.Warnings) != 0 {
		t.Error(c.Warnings)
	}
	// With room for one model only, loads count.
	c = parse(t, strings.NewReplacer("rate: 40/h", "rate: 100/h", "memory: 12GB", "memory: 6GB", "load: 10s", "load: 60s").Replace(base), Options{}).Cells[0]
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "with a load before every full batch") {
		t.Error(c.Warnings, c.Offered)
	}
}

func TestCatalogueFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	head := "version: 1\nseed: 1\nhardware: {gpus: [{memory: 12GB}]}\nmodels:\n  from: models.csv\n  defaults: {memory: 7GB, batch: {max: 2, base: 1s}, load: 5s}\nworkload: {items: 100, arrivals: {poisson: {rate: 1/m}}, streams: {}}\npolicies: [{use: sticky}]\n"
	write("x.yaml", head)
	write("models.csv", "name,memory,load.disk,batch.per_item\na,,,\nb,3GB,{exp: {mean: 2s}},1s\n\"c,d\",,7s,\n")
	e, err := Load(filepath.Join(dir, "x.yaml"), policies.Builtin(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	m := e.Cells[0].Models
	if len(m) != 3 || m[0].Bytes != 7e9 || m[1].Bytes != 3e9 || m[1].Load[0] != 2e9 || m[1].Batch.PerItem != 1e9 || m[2].Name != "c,d" || m[2].Load[0] != 7e9 {
		t.Errorf("%+v", m)
	}
	sameRuns(t, e)
	for csv, want := range map[string]string{
		"name,memroy\na,1GB\n":    `column "memroy" is no key of a model; did you mean "memory"?`,
		"model,memory\na,1GB\n":   `there is no column name`,
		"name,memory\na,1\n":      `:2:3: models.a.memory is "1" without a unit`,
		"name,memory\na,1GB,2\n":  `wrong number of fields`,
		"name\na\na\n":            `model "a" stands twice; the first is at line 2`,
		"name,load\na,\"{exp: \"": `models.csv:2:3`,
		"":                        `no header`,
		"name\n":                  `an experiment has between 1 and`,
	} {
		write("models.csv", csv)
		_, err := Load(filepath.Join(dir, "x.yaml"), policies.Builtin(), Options{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", csv, err)
		}
	}
}

func TestProfile(t *testing.T) {
	dir := t.TempDir()
	profile := `version: 1 # invented numbers
machine: {gpu: Example, memory: 24GB}
measured: {at: 2026-01-01T00:00:00Z, status: VALID}
process: {spawn: 8s}
tiers:
  pinned: {base: 1ms, per_GB: 20ms, n: 60, residual: {p5: -1%, p95: 2%}}
  disk: {base: 100ms, per_GB: 2s}
overlap: {copy: 1.05, compute: 1.02}
models:
  whisper:
    memory: {declared: 4.5GB, weights: 3.1GB, load_peak: 3.3GB, run_peak: {1: 3.4GB, 8: 4.2GB}, residue: 20MB}
    load: {disk: {empirical: {values: [1.2s, 1.4s]}}, host: {lognormal: {p50: 190ms, p95: 210ms}}}
    first_use: 450ms
    unload: {idle: 2ms, busy: 6ms}
    batch: {max: 16, memory: 110MB, base: 9ms, per_item: 40ms, times: {1: 49ms, 2: 89ms, 16: 700ms}}
energy: {idle_W: 40}
`
	if err := os.WriteFile(filepath.Join(dir, "p.yaml"), []byte(profile), 0o666); err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("  gpus:\n", "  profile: p.yaml\n  gpus:\n", ", load: 10s", "").Replace(base)
	e, err := Parse("x.yaml", dir, []byte(text), policies.Builtin(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	w, q := e.Cells[0].Models[0], e.Cells[0].Models[1]
	if w.Bytes != 31e8 || w.Load[0] != 13e8 || w.Unload != 2e6 || w.Batch.Max != 8 || w.Batch.Memory != 110e6 || len(w.Batch.Times) != 8 || w.Batch.Times[1] != 89e6 || w.Batch.Times[7] != 89e6+6*40e6 || !slices.Equal(w.Batch.Sizes, []int{1, 2}) {
		t.Errorf("%+v", w)
	}
	if q.Load[0] != 31e8 || q.Load[1] != 31e6 { // 1.5 GB: 100 ms + 3 s, 1 ms + 30 ms
		t.Errorf("%+v", q)
	}
	sameRuns(t, e)
	lessKnown(t, strings.Replace(base, "  gpus:\n", "  profile: p.yaml\n  gpus:\n", 1), dir)
}

// lessKnown reads the experiment of TestProfile knowing less and less.
func lessKnown(t *testing.T, text, dir string) {
	t.Helper()
	for _, c := range []struct {
		what        Knowledge
		bytes       scheduler.Bytes
		load        scheduler.Time
		random      bool
		unload, two scheduler.Time // of a batch of two
	}{
		{KnowAll, 31e8, 13e8, true, 2e6, 89e6},
		{KnowMeans, 31e8, 13e8, false, 2e6, 89e6},
		{KnowTiers, 45e8, 91e8, false, 0, 33e8}, // 4.5 GB: 100 ms + 9 s
		{KnowDeclared, 45e8, 5e9, false, 0, 33e8},
	} {
		e, err := Parse("x.yaml", dir, []byte(text), policies.Builtin(), Options{Knowledge: c.what})
		if err != nil {
			t.Fatal(err)
		}
		w := &e.Cells[0].models[0]
		got := [...]int64{int64(w.core.Bytes), int64(w.core.Load[0]), int64(w.core.Unload), int64(w.core.Batch.Time(2, 2*scheduler.WorkUnit)), int64(w.cost.Load[0].Mean())}
		want := [...]int64{int64(c.bytes), int64(c.load), int64(c.unload), int64(c.two), int64(c.load)}
		if got != want || w.random != c.random || !e.Profiled {
			t.Errorf("knowledge %d: %v, varies %v; want %v, %v", c.what, got, w.random, want, c.random)
		}
	}
}

func TestInputsArePinned(t *testing.T) {
	dir := t.TempDir()
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(dir, "loads.csv"), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write("x,ms\n1,1500\n2,2500\n")
	text := broken(t, "load: 10s", "load: {empirical: {file: loads.csv, column: ms, unit: ms}}")
	e, err := Parse("x.yaml", dir, []byte(text), policies.Builtin(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := e.Cells[0].Models[1].Load[0]; got != 2e9 {
		t.Errorf("mean load %v", got)
	}
	sameRuns(t, e)
	id := e.Cells[0].ID
	write("x,ms\n1,1500\n2,2501\n")
	if _, err := Parse("r.yaml", "/nowhere", e.Resolved(), policies.Builtin(), Options{}); err == nil || !strings.Contains(err.Error(), "but the experiment was resolved with") {
		t.Errorf("a changed input is taken: %v", err)
	}
	if e, err = Parse("x.yaml", dir, []byte(text), policies.Builtin(), Options{}); err != nil || e.Cells[0].ID == id {
		t.Errorf("another content, the same id (%v)", err)
	}
	other := t.TempDir()
	os.WriteFile(filepath.Join(other, "loads.csv"), []byte("x,ms\n1,1500\n2,2500\n"), 0o666)
	if f, err := Parse("x.yaml", other, []byte(text), policies.Builtin(), Options{}); err != nil || f.Cells[0].ID != id {
		t.Errorf("the same content elsewhere, another id (%v)", err)
	}
}

func TestSchema(t *testing.T) {
	var doc map[string]any
	if err := json.Unmarshal(Schema(), &doc); err != nil {
		t.Fatal(err)
	}
	if first, again := Schema(), Schema(); string(first) != string(again) {
		t.Error("not deterministic")
	}
	for _, key := range []string{"host_memory", "per_item", "popularity", "load_failure", "lognormal", "axes"} {
		if !strings.Contains(string(Schema()), fmt.Sprintf("%q: {", key)) {
			t.Errorf("no property %s", key)
		}
	}
	defs := doc["$defs"].(map[string]any)
	var refs func(any)
	refs = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if r, ok := v["$ref"].(string); ok && defs[strings.TrimPrefix(r, "#/$defs/")] == nil {
				t.Errorf("%s leads nowhere", r)
			}
			for _, e := range v {
				refs(e)
			}
		case []any:
			for _, e := range v {
				refs(e)
			}
		}
	}
	refs(doc)
}

// TestSetWinsOverSweep: a value from the command line is the one that is run,
// also where the file sweeps over the same path.
func TestSetWinsOverSweep(t *testing.T) {
	const swept = base + "sweep: {axes: {\"hardware.gpus[0].memory\": [12GB, 16GB], \"workload.duration\": [1h, 2h]}}\n"
	e := parse(t, swept, Options{Set: []string{"hardware.gpus[0].memory=24GB", "workload.duration=40m"}, Quick: true})
	if len(e.Cells) != 1 || e.Cells[0].Devices[0].Memory != 24e9 || e.Cells[0].workload.generated.Duration != 120e9 {
		t.Errorf("%d cells, %v, %v", len(e.Cells), e.Cells[0].Devices, e.Cells[0].workload.generated.Duration)
	}
	if _, err := Parse("x.yaml", ".", []byte(swept), policies.Builtin(), Options{Set: []string{"hardware.gpus[0].memory=24"}}); err == nil || !strings.Contains(err.Error(), "without a unit") {
		t.Errorf("a value without a unit: %v", err)
	}
	resolved := parse(t, swept, Options{}).Resolved()
	if _, err := Parse("x.yaml", ".", resolved, policies.Builtin(), Options{Set: []string{"hardware.gpus[0].memory=24GB"}}); err == nil || !strings.Contains(err.Error(), "nothing would change") {
		t.Errorf("a resolved experiment: %v", err)
	}
	if _, err := Parse("x.yaml", ".", []byte(base), policies.Builtin(), Options{Policies: []string{"sticky", "fifo", "sticky"}}); err == nil || !strings.Contains(err.Error(), `--policy:1:1: policy "sticky" is given twice`) {
		t.Errorf("a policy given twice: %v", err)
	}
}

// TestMovedInput: a resolved experiment finds a file that is not where it was
// in a folder that is searched, if it is still the same.
func TestMovedInput(t *testing.T) {
	old, there := t.TempDir(), t.TempDir()
	trace := []byte(`{"vramsim":"trace","version":1}` + "\n" + `{"id":"a","model":"m","at_ns":1}` + "\n")
	if err := os.WriteFile(filepath.Join(old, "t.jsonl"), trace, 0o666); err != nil {
		t.Fatal(err)
	}
	text := "version: 1\nname: moved\nhardware: {gpus: [{memory: 2GB}]}\nmodels: {m: {memory: 1GB, batch: {max: 1, base: 1s}, load: 1s}}\nworkload: {trace: t.jsonl}\npolicies: [{use: seed}]\nbaseline: seed\n"
	exp, err := Parse("moved.yaml", old, []byte(text), policies.Builtin(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	resolved := exp.Resolved()
	if err := os.Rename(filepath.Join(old, "t.jsonl"), filepath.Join(there, "t.jsonl")); err != nil {
		t.Fatal(err)
	}
	if _, err := Parse("resolved.yaml", old, resolved, policies.Builtin(), Options{}); err == nil {
		t.Error("the file was found nowhere")
	}
	again, err := Parse("resolved.yaml", old, resolved, policies.Builtin(), Options{Search: []string{there}})
	if err != nil {
		t.Fatal(err)
	}
	if len(again.Inputs) != 1 || again.RunID("v") != exp.RunID("v") {
		t.Errorf("inputs %v, run %v, was %v", again.Inputs, again.RunID("v"), exp.RunID("v"))
	}
	if err := os.WriteFile(filepath.Join(there, "t.jsonl"), append(trace, trace[len(trace)/2:]...), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Parse("resolved.yaml", old, resolved, policies.Builtin(), Options{Search: []string{there}}); err == nil || !strings.Contains(err.Error(), "SHA-256") {
		t.Errorf("another file was taken: %v", err)
	}
}
