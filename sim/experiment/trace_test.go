package experiment

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/scheduler"
)

// shared returns a path below the folder of recorded traces and reference
// values; a test that needs it is skipped where it is not, unless
// VRAMSIM_TRACES_REQUIRED says that it must be there.
func shared(t *testing.T, traces bool, name string) string {
	t.Helper()
	dir := os.Getenv("VRAMSIM_TRACES")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "traces")
	}
	if !traces {
		dir = filepath.Join(dir, "..", "reference")
	}
	path, err := filepath.Abs(filepath.Join(dir, name))
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		if os.Getenv("VRAMSIM_TRACES_REQUIRED") != "" {
			t.Fatal("recorded traces not found:", err)
		}
		t.Skip("recorded traces not found:", err)
	}
	return path
}

// outcome is what a run came to.
type outcome struct {
	loads, switches, items int64
	makespan, latency      scheduler.Time // of all items together
	latencies              []scheduler.Time
	arrived                map[int64]scheduler.Time
	members                []int64
	running                map[int64][]int64
	last                   map[scheduler.DeviceID]scheduler.ModelID
}

func (o *outcome) Append(events []scheduler.Event) error {
	for i := range events {
		switch ev := &events[i]; ev.Kind {
		case scheduler.ItemArrived:
			o.arrived[ev.ID] = ev.At
		case scheduler.MemberDispatched:
			o.members = append(o.members, ev.ID)
		case scheduler.BatchStarted:
			o.running[ev.ID], o.members = o.members, nil
			if last, ok := o.last[ev.Device]; ok && last != ev.Model {
				o.switches++
			}
			o.last[ev.Device] = ev.Model
		case scheduler.LoadStarted:
			o.loads++
		case scheduler.BatchFinished:
			for _, id := range o.running[ev.ID] {
				o.items++
				o.latency += ev.At - o.arrived[id]
				o.latencies = append(o.latencies, ev.At-o.arrived[id])
			}
			delete(o.running, ev.ID)
			o.makespan = ev.At
		}
	}
	return nil
}

func run(t *testing.T, c *Cell, policy, replicate int) *outcome {
	t.Helper()
	s, err := c.Setup(policy, replicate, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	core, err := scheduler.New(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	o := &outcome{arrived: map[int64]scheduler.Time{}, running: map[int64][]int64{}, last: map[scheduler.DeviceID]scheduler.ModelID{}}
	if err := scheduler.Drive(context.Background(), core, s.World, o); err != nil {
		t.Fatal(err)
	}
	slices.Sort(o.latencies)
	return o
}

// The workload on which eleven independent simulators agree to the nanosecond.
func TestW1(t *testing.T) {
	const text = `version: 1
seed: 1
hardware: {host_memory: 0B, gpus: [{memory: 16GB}]}
models:
  whisper:  {memory: 4.5GB, load: 5s,  batch: {max: 8, base: 200ms, per_item: 50ms}}
  videomae: {memory: 5GB,   load: 8s,  batch: {max: 8, base: 300ms, per_item: 80ms}}
  clap:     {memory: 2GB,   load: 4s,  batch: {max: 8, base: 50ms,  per_item: 20ms}}
  qwen3:    {memory: 1.5GB, load: 10s, batch: {max: 8, base: 100ms, per_item: 40ms}}
  dinov3:   {memory: 1GB,   load: 6s,  batch: {max: 8, base: 40ms,  per_item: 10ms}}
workload: {trace: FILE}
policies: [{use: seed, params: {ties: lowest}}]
`
	for _, c := range []struct {
		file            string
		mean, p99       scheduler.Time
		loads, switches int64
		makespan        scheduler.Time
	}{
		{"heavy", 41708779870, 159686306000, 473, 472, 10082232841911},
		{"light", 9501530299, 39864823642, 59891, 59890, 499720153926448},
	} {
		path := shared(t, false, "w1/"+c.file+".jsonl.gz")
		e := parse(t, strings.Replace(text, "FILE", path, 1), Options{})
		if e.Replicates != 1 || !e.Deterministic() || e.Inputs[path] == "" {
			t.Errorf("%d replicates, inputs %v", e.Replicates, e.Inputs)
		}
		o := run(t, e.Cells[0], 0, 0)
		p99 := o.latencies[(99*len(o.latencies)+99)/100-1]
		if mean := (o.latency + scheduler.Time(o.items)/2) / scheduler.Time(o.items); mean != c.mean || p99 != c.p99 || o.loads != c.loads || o.switches != c.switches || o.makespan != c.makespan {
			t.Errorf("%s: mean %v p99 %v loads %d switches %d makespan %v, want %+v", c.file, mean, p99, o.loads, o.switches, o.makespan, c)
		}
	}
}

const miniTrace = `{"vramsim":"trace","version":1}
{"id":"a","model":"x","at_ns":0,"service_ns":2000000000}
{"id":"b","model":"y","at_ns":1000000000,"after":["a"],"tenant":"t"}
{"id":"c","model":"x","at_ns":4000000000,"priority":3}
`

func traceExperiment(t *testing.T, trace, workload string) (dir, text string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "t.jsonl"), []byte(trace), 0o666); err != nil {
		t.Fatal(err)
	}
	return dir, "version: 1\nseed: 1\nhardware: {gpus: [{memory: 12GB}]}\nmodels:\n  whisper: {memory: 1GB, load: 1s, batch: {max: 1, per_item: 1s}}\n  qwen3: {memory: 1GB, load: 1s, batch: {max: 1, per_item: 1s}}\n  x: {memory: 1GB, load: 1s, batch: {max: 1, per_item: 1s}}\n  y: {memory: 1GB, load: 1s, batch: {max: 1, per_item: 1s}}\n" +
		"workload: " + workload + "\npolicies: [{use: sticky}, {use: fifo, evict: belady}]\n"
}

func TestNativeTrace(t *testing.T) {
	for workload, want := range map[string]scheduler.Time{
		"{trace: t.jsonl}":                                                  6e9,
		"{trace: {file: t.jsonl, rate: 2x}}":                                6e9,
		"{trace: {file: t.jsonl, limit: 1}}":                                3e9,
		"{trace: {file: t.jsonl, rate: 0.5x}}":                              9e9,
		"{trace: {file: t.jsonl, models: {names: {x: qwen3}, default: y}}}": 6e9,
		"{trace: {file: t.jsonl, models: {rule: stripe, onto: [whisper]}}}": 5e9,
		"{horizon: 2s, trace: t.jsonl}":                                     0,
	} {
		dir, text := traceExperiment(t, miniTrace, workload)
		e, err := Parse("x.yaml", dir, []byte(text), policies.Builtin(), Options{})
		if err != nil {
			t.Fatal(workload, err)
		}
		if got := run(t, e.Cells[0], 0, 0).makespan; got != want {
			t.Errorf("%s: makespan %v, want %v", workload, got, want)
		}
		if c := e.Cells[0]; c.Replicates != 1 || c.Workload == "" {
			t.Errorf("%+v", c)
		}
		sameRuns(t, e)
	}
}

func TestTraceErrors(t *testing.T) {
	for _, c := range []struct{ trace, workload, want string }{
		{strings.Replace(miniTrace, `"model":"y"`, `"model":"qwen"`, 1), "{trace: t.jsonl}", `t.jsonl:3:19: the model "qwen" is not in the catalogue; the nearest name is "qwen3"`}, // config-01
		{"", "{trace: t.jsonl}", `the file is empty`},
		{strings.Replace(miniTrace, `"id":"b"`, `"id":"a"`, 1), "{trace: t.jsonl}", `t.jsonl:3:`},
		{miniTrace, "{trace: none.jsonl}", `x.yaml:9:19: workload.trace.file: there is no file none.jsonl`},
		{miniTrace, "{trace: {file: t.jsonl, format: gentd27}}", `workload.trace.format is "gentd27"; expected one of native,`},
		{miniTrace, "{trace: {file: t.jsonl, rate: 2}}", `workload.trace.rate is "2"; expected a positive factor like 2x`},
		{miniTrace, "{trace: {file: t.jsonl, models: {names: {x: wisper}}}}", `there is no model "wisper"; did you mean "whisper"?`},
		{miniTrace, "{trace: {file: t.jsonl, models: {rule: stripe, s: 2}}}", `workload.trace.models.s does not belong to stripe`},
		{miniTrace, "{trace: t.jsonl, duration: 1h}", `workload.duration does not go with a trace`},
		{miniTrace, "{trace: t.jsonl, warmup: 1h}", `workload.warmup is 3600s, after the last arrival at 4s`},
		{miniTrace, "{trace: {file: t.jsonl, service: exec}}", `workload.trace.service does not belong to a native trace`},
	} {
		dir, text := traceExperiment(t, c.trace, c.workload)
		_, err := Parse("x.yaml", dir, []byte(text), policies.Builtin(), Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got\n%v\nwant\n%s", c.workload, err, c.want)
		}
	}
}

// The worked example: exact counts on 1, 2, 3, 5 and 10 models' room.
func TestGenTD26(t *testing.T) {
	e := templateWithTraces(t, "gentd26-one-gpu", "gentd26/lora_request_trace_before_2024-12-01.csv.gz")
	lru, belady := []int64{10674, 8290, 6396, 3969, 1720}, []int64{10674, 6442, 4410, 2508, 966}
	for i, c := range e.Cells {
		a, b := run(t, c, 0, 0), run(t, c, 1, 0)
		if a.loads != lru[i] || b.loads != belady[i] || a.switches != 10673 || b.switches != 10673 || a.items != 14266 {
			t.Errorf("%v: lru %d loads %d switches, belady %d loads %d switches, %d items; want %d and %d loads", c.Set, a.loads, a.switches, b.loads, b.switches, a.items, lru[i], belady[i])
		}
		if testing.Short() {
			return
		}
	}
}

func templateWithTraces(t *testing.T, name, trace string) *Experiment {
	t.Helper()
	path := shared(t, true, trace)
	folder := strings.TrimSuffix(path, filepath.FromSlash(trace))
	dir := t.TempDir()
	tpl, ok := TemplateNamed(name)
	if !ok {
		t.Fatal("no template", name)
	}
	for _, f := range tpl.Files {
		if err := os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	e, err := Load(filepath.Join(dir, name+".yaml"), policies.Builtin(), Options{Search: []string{folder}})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestTemplatesOfRecordedTraces(t *testing.T) {
	for name, trace := range map[string]string{
		"gentd26-three-gpus": "gentd26/lora_request_trace_before_2024-12-01.csv.gz",
		"disb-real":          "disb/REAL.json",
		"arena27":            "arena27/vtc_real_trace_0-300s.csv",
	} {
		t.Run(name, func(t *testing.T) {
			e := templateWithTraces(t, name, trace)
			for p := range e.Cells[0].Policies {
				o := run(t, e.Cells[0], p, 0)
				t.Logf("%s: %d items, %d loads, makespan %v", e.Cells[0].Policies[p].Name, o.items, o.loads, o.makespan)
				if o.items == 0 || len(o.running) > 0 {
					t.Errorf("%s: %d items", e.Cells[0].Policies[p].Name, o.items)
				}
			}
			sameResolved(t, e)
		})
	}
}

func sameResolved(t *testing.T, e *Experiment) {
	t.Helper()
	if again := reload(t, e); string(again.Resolved()) != string(e.Resolved()) || again.RunID("v") != e.RunID("v") {
		t.Error("resolving again differs")
	}
}

func TestTemplates(t *testing.T) {
	list := Templates()
	if list[0].Name != DefaultTemplate || len(list) < 7 {
		t.Fatalf("%d templates, first %s", len(list), list[0].Name)
	}
	for _, tpl := range list {
		if tpl.About == "" || tpl.Files[0].Name != tpl.Name+".yaml" {
			t.Errorf("%s: %+v", tpl.Name, tpl)
		}
	}
	e := parse(t, string(list[0].Files[0].Data), Options{})
	if len(e.Cells) != 3 || len(e.Cells[0].Policies) < 10 || e.Replicates != 10 || e.Baseline != "seed" || e.Name != DefaultTemplate {
		t.Errorf("%d cells, %d policies, %d replicates, baseline %s", len(e.Cells), len(e.Cells[0].Policies), e.Replicates, e.Baseline)
	}
	sameRuns(t, e)
	// On 16 GB everything fits at once: a policy that keeps what is resident loads each model once.
	for p, row := range e.Cells[0].Policies {
		o := run(t, e.Cells[0], p, 0)
		if alone := row.Use == "seed" || row.Use == "semaphore"; alone == (o.loads == 5) {
			t.Errorf("%s: %d loads on 16GB", row.Name, o.loads)
		}
	}
	for _, name := range []string{"batch-memory", "mm1"} {
		tpl, _ := TemplateNamed(name)
		sameResolved(t, parse(t, string(tpl.Files[0].Data), Options{Quick: true}))
	}
}

// The published costs of ResNet50 under Clockwork: of five cold items at once
// four end at 15.867 ms and one at 19.189 ms. Batches have the sizes for which
// times are given.
func TestClockworkResNet50(t *testing.T) {
	const text = `version: 1
seed: 1
hardware: {host_memory: 0B, gpus: [{memory: 1GB}]}
models:
  resnet50: {memory: 100MB, load: 8.372ms, batch: {max: 16, times: {1: 3.322ms, 2: 5.271ms, 4: 7.495ms, 8: 12.439ms, 16: 21.729ms}}}
workload: {trace: t.jsonl}
policies: [{use: clockwork}, {use: clockwork, as: spelled, admit: late}]
`
	trace := `{"vramsim":"trace","version":1}` + "\n"
	for i := range 5 {
		trace += fmt.Sprintf(`{"id":"%d","model":"resnet50","at_ns":0,"deadline_ns":100000000}`+"\n", i)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "t.jsonl"), []byte(trace), 0o666); err != nil {
		t.Fatal(err)
	}
	e, err := Parse("x.yaml", dir, []byte(text), policies.Builtin(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if b := e.Cells[0].Models[0].Batch; !slices.Equal(b.Sizes, []int{1, 2, 4, 8, 16}) || len(b.Times) != 16 {
		t.Errorf("sizes %v of %d times", b.Sizes, len(b.Times))
	}
	four, one := 15867*scheduler.Microsecond, 19189*scheduler.Microsecond
	for p := range e.Cells[0].Policies {
		if o := run(t, e.Cells[0], p, 0); !slices.Equal(o.latencies, []scheduler.Time{four, four, four, four, one}) {
			t.Errorf("latencies %v", o.latencies)
		}
	}
	sameRuns(t, e)
	if !strings.Contains(string(e.Resolved()), "admit: late") {
		t.Errorf("what is resolved does not say what clockwork rejects:\n%s", e.Resolved())
	}
}
