package experiment

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/policies"
)

// base is a correct experiment with a line for everything that a case breaks.
const base = `version: 1
name: base
seed: 7
hardware:
  gpus:
    - {name: gpu0, memory: 12GB, safety: 0.9}
models:
  whisper: {memory: 4.5GB, batch: {max: 8, base: 300ms, per_item: 1.5s}, load: {disk: 5s, host: 800ms}}
  qwen3: {memory: 1.5GB, batch: {max: 4, base: 200ms, per_item: 500ms}, load: 10s, group: llm}
workload:
  duration: 1h
  arrivals: {poisson: {rate: 40/h}}
  pipelines:
    - name: video
      stages:
        - {id: asr, model: whisper, items: {uniform: [4, 30]}}
        - {id: summary, model: qwen3, after: [asr]}
policies:
  - {use: seed}
  - {use: max-wait, params: {wait: 30s}, evict: lru}
baseline: seed
thresholds:
  item_latency_seconds: ["p99 < 60"]
`

// broken replaces one text of base by another.
func broken(t *testing.T, old, new string) string {
	t.Helper()
	if strings.Count(base, old) != 1 {
		t.Fatalf("%q stands %d times in the base", old, strings.Count(base, old))
	}
	return strings.Replace(base, old, new, 1)
}

func parseError(t *testing.T, text string) string {
	t.Helper()
	_, err := Parse("bad.yaml", t.TempDir(), []byte(text), policies.Builtin(), Options{})
	var errs *Errors
	if err == nil || !errors.As(err, &errs) {
		t.Fatalf("error %v for\n%s", err, text)
	}
	for _, e := range errs.List {
		if e.File == "" || e.Line < 1 || e.Column < 1 {
			t.Errorf("no place: %+v", e)
		}
	}
	return err.Error()
}

func TestBaseIsRight(t *testing.T) { parse(t, base, Options{}) }

// TestBadInput has the cases config-* of the reference list and what
// EXPERIMENT.md names besides; those that are accepted stand in other tests.
func TestBadInput(t *testing.T) {
	for _, c := range []struct{ id, old, new, want string }{
		{"config-02", "memory: 12GB", "memory: 4GB", `bad.yaml:8:21: model "whisper" needs 4500000000 bytes (4.5GB of weights and 0B for one item), but the largest budget of a GPU is 3600000000 bytes (3.6GB)`},
		{"config-02 batch", "max: 8,", "max: 8, memory: 6.5GB,", `needs 11000000000 bytes`},
		{"config-03 zero", "safety: 0.9", "safety: 0", `bad.yaml:6:42: hardware.gpus[0].safety is "0"; it must be above 0 and at most 1`},
		{"config-03 negative", "safety: 0.9", "safety: -0.1", `bad.yaml:6:42: hardware.gpus[0].safety is "-0.1"; it must be above 0`},
		{"config-03 nan", "safety: 0.9", "safety: .nan", `bad.yaml:6:42: hardware.gpus[0].safety is ".nan", which is not finite`},
		{"config-03 NaN", "safety: 0.9", "safety: NaN", `bad.yaml:6:42: hardware.gpus[0].safety is "NaN", which is not finite`},
		{"config-03 above 1", "safety: 0.9", "safety: 1.01", `bad.yaml:6:42: hardware.gpus[0].safety is "1.01"; it must be above 0`},
		{"config-03 tiny", "safety: 0.9", "safety: 1e-12", `bad.yaml:6:42: hardware.gpus[0].safety`},
		{"config-04 zero", "max: 8,", "max: 0,", `bad.yaml:8:41: models.whisper.batch.max is "0"; it must be an integer from 1 to`},
		{"config-04 negative", "max: 8,", "max: -1,", `models.whisper.batch.max is "-1"; it must be an integer from 1 to`},
		{"config-06", ", load: 10s", "", `bad.yaml:9:10: models.qwen3.load is missing; expected a load time`},
		{"config-07", "load: 10s", "load: {lognormal: {p50: 10s, p95: 4s}}", `bad.yaml:9:107: models.qwen3.load.disk.lognormal.p95 is "4s"; it must be at least p50, which is 10s`},
		{"config-08", "use: max-wait", "use: max-wiat", `bad.yaml:20:11: policies[1].use: unknown policy "max-wiat"`},
		{"config-08 nearest", "use: max-wait", "use: max-wiat", `did you mean "max-wait"?`},
		{"config-09", "version: 1", "version: 2", `bad.yaml:1:10: version is 2; this build reads version 1: a newer vramsim is needed`},
		{"config-10", "version: 1", "version: 0", `bad.yaml:1:10: version is 0; there is no such version, the first is 1`},
		{"no version", "version: 1\n", "", `version is missing; this build reads version: 1`},
		{"unknown key", "name: base", "nmae: base", `bad.yaml:2:1: unknown key "nmae" in the experiment; did you mean "name"?`},
		{"duplicate key", "seed: 7", "name: again", `bad.yaml:3:1: key "name" stands twice; the first is at line 2`},
		{"duplicate model", "qwen3: {memory", "whisper: {memory", `bad.yaml:9:3: key "whisper" stands twice; the first is at line 8`},
		{"bare size", "memory: 12GB", "memory: 12", `bad.yaml:6:28: hardware.gpus[0].memory is "12" without a unit; expected an amount of memory`},
		{"unit of time for size", "memory: 12GB", "memory: 12s", `hardware.gpus[0].memory is "12s"; expected an amount of memory`},
		{"bare time", "load: 10s", "load: 10", `models.qwen3.load.disk is "10" without a unit; expected a length of time`},
		{"negative time", "load: 10s", "load: -10s", `models.qwen3.load.disk is "-10s" and must not be negative`},
		{"nan time", "load: 10s", "load: .nan", `which is not finite`},
		{"infinite mean", "load: 10s", "load: {exp: {mean: .inf}}", `models.qwen3.load.disk.exp.mean is ".inf", which is not finite`},
		{"no mean", "load: 10s", "load: {pareto: {min: 1s, alpha: 0.5}}", `models.qwen3.load.disk has no finite mean`},
		{"vanishing time", "load: 10s", "load: 1e-12s", `models.qwen3.load.disk is "1e-12s"`},
		{"rounded to nothing", "load: 10s", "load: 0.0000000000001s", `less than a nanosecond`},
		{"huge time", "load: 10s", "load: 99999999999999999999s", `which is too large`},
		{"bare rate", "rate: 40/h", "rate: 40", `workload.arrivals.poisson.rate is "40" without a unit; expected a rate`},
		{"zero rate", "rate: 40/h", "rate: 0/h", `bad.yaml:12:30: workload.arrivals.poisson.rate: must be positive`},
		{"cycle", "- {id: asr, model: whisper,", "- {id: asr, after: [summary], model: whisper,", `workload.pipelines[0].stages: stages wait for each other: asr after summary after asr`},
		{"unknown stage", "after: [asr]", "after: [asrr]", `bad.yaml:17:47: workload.pipelines[0].stages[1].after[0]: there is no stage "asrr"`},
		{"unknown model", "model: qwen3", "model: qwen", `bad.yaml:17:32: workload.pipelines[0].stages[1].model: there is no model "qwen"; did you mean "qwen3"?`},
		{"unknown metric", "item_latency_seconds:", "item_latncy_seconds:", `bad.yaml:23:3: thresholds: unknown metric "item_latncy_seconds"; did you mean "item_latency_seconds"?`},
		{"unknown statistic", `"p99 < 60"`, `"p98 < 60"`, `bad.yaml:23:26: thresholds: item_latency_seconds has no statistic "p98"`},
		{"unknown axis value", "evict: lru", "evict: lri", `bad.yaml:20:49: policies[1].evict: unknown evict "lri"`},
		{"unknown axis", "evict: lru", "evcit: lru", `bad.yaml:20:42: unknown key "evcit" in policies[1]; did you mean "evict"?`},
		{"unknown parameter", "{wait: 30s}", "{wiat: 30s}", `bad.yaml:20:30: policies[1].params.wiat: unknown parameter "wiat"`},
		{"parameter without unit", "{wait: 30s}", "{wait: 30}", `bad.yaml:20:36: policies[1].params.wait: 30 is not accepted; expected a length of time`},
		{"two policies of one name", "use: max-wait, params: {wait: 30s}, evict: lru", "use: seed", `policies[1] is named "seed" like the policy at line 19`},
		{"baseline", "baseline: seed", "baseline: sede", `bad.yaml:21:11: baseline: there is no policy named "sede"; did you mean "seed"?`},
		{"script", "{use: seed}", "{script: a.star}", `policies[0].script: scripts are not supported by this build`},
		{"escape in a name", "whisper: {memory: 4.5GB", `"whis\x1bper": {memory: 4.5GB`, `bad.yaml:8:3: a model's name contains the control character \x1b`},
		{"raw control character", "name: base", "name: ba\x1bse", `bad.yaml:2:9: control character U+001B`},
		{"newline in a name", "name: base", `name: "a\nb"`, `bad.yaml:2:7: name contains the control character \n`},
		{"two kinds of workload", "  pipelines:\n", "  streams: {models: [qwen3]}\n  pipelines:\n", `workload has 2 of trace, pipelines and streams; expected exactly one`},
		{"no workload kind", "duration: 1h", "duration: 1h, x: 2", `bad.yaml:11:18: YAML: ":" is not expected here`},
		{"warmup", "duration: 1h", "duration: 1h\n  warmup: 1h", `workload.warmup is 3600s, the whole duration of 3600s`},
		{"no end", "  duration: 1h\n", "", `workload.duration: neither duration nor items says when arrivals stop`},
		{"uniform reversed", "[4, 30]", "[30, 4]", `bad.yaml:16:59: workload.pipelines[0].stages[0].items.uniform[1] is "4"; it must be at least 30`},
		{"two arrivals", "{poisson: {rate: 40/h}}", "{poisson: {rate: 40/h}, gamma: {rate: 1/h, cv: 2}}", `workload.arrivals has 2 keys; expected exactly one of poisson`},
		{"unknown arrivals", "poisson:", "possion:", `bad.yaml:12:14: unknown key "possion" in workload.arrivals; did you mean "poisson"?`},
		{"tab", "  duration", "\tduration", `bad.yaml:11:1`},
		{"anchor", "name: base", "name: &x base", `bad.yaml:2:7: YAML anchors are not used`},
		{"alias", "name: base", "name: *x", `bad.yaml:2:7: YAML aliases are not used`},
		{"tag", "name: base", "name: !!str base", `bad.yaml:2:7: YAML tags are not used`},
		{"merge key", "name: base", "<<: {name: base}", `bad.yaml:2:1: YAML merge keys are not used`},
		{"explicit key", "name: base", "? name", `bad.yaml:2:1: YAML explicit keys are not used`},
		{"unclosed", "{use: seed}", "{use: seed", `bad.yaml:20:3: YAML`},
		{"empty value", "seed: 7", "question:", `bad.yaml:3:1: question is empty`},
		{"missing hardware", "hardware:\n  gpus:\n    - {name: gpu0, memory: 12GB, safety: 0.9}\n", "", `hardware is missing`},
		{"no gpu", "\n    - {name: gpu0, memory: 12GB, safety: 0.9}", " []", `hardware.gpus has 0 entries`},
		{"profile missing", "  gpus:\n", "  profile: nothing.yaml\n  gpus:\n", `hardware.profile: there is no file nothing.yaml`},
		{"attempts", "baseline: seed", "attempts: 0", `attempts is "0"; it must be an integer from 1`},
		{"output", "baseline: seed", "output: {report: [pdf]}", `output.report[0] is "pdf"; expected one of html, md`},
		{"sweep path", "baseline: seed", "sweep: {axes: {\"hardware.gpus[1].memory\": [8GB]}}", `hardware.gpus has 1 entries; hardware.gpus[1] is not among them`},
		{"sweep unknown key", "baseline: seed", "sweep: {axes: {\"hardware.gpus[0].memroy\": [8GB]}}", `unknown key "memroy" in hardware.gpus[0]; did you mean "memory"?`},
		{"sweep of what no cell has", "baseline: seed", "sweep: {axes: {nmae: [a]}}", `"nmae" cannot be swept`},
		{"sweep value", "baseline: seed", "sweep: {axes: {\"hardware.gpus[0].memory\": [12GB, 4GB]}}", `but the largest budget of a GPU is 3600000000 bytes`},
	} {
		t.Run(c.id, func(t *testing.T) {
			if got := parseError(t, broken(t, c.old, c.new)); !strings.Contains(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestNoModels(t *testing.T) { // config-05
	start := strings.Index(base, "models:")
	end := strings.Index(base, "workload:")
	for _, models := range []string{"models: {}\n", "models:\n", ""} {
		got := parseError(t, base[:start]+models+base[end:])
		if !strings.Contains(got, "an experiment has between 1 and") && !strings.Contains(got, "models is ") {
			t.Errorf("%q: %s", models, got)
		}
	}
}

func TestManyModels(t *testing.T) { // config-05
	var b strings.Builder
	b.WriteString("version: 1\nseed: 1\nhardware: {gpus: [{memory: 12GB}]}\nmodels:\n")
	for i := range 100_000 {
		fmt.Fprintf(&b, "  m%05d: {memory: 1GB, batch: {max: 4, base: 10ms, per_item: 1s}, load: 5s}\n", i)
	}
	b.WriteString("workload: {items: 10, arrivals: {poisson: {rate: 1/s}}, streams: {popularity: {zipf: {s: 1}}}}\npolicies: [{use: sticky}]\n")
	e := parse(t, b.String(), Options{})
	if len(e.Cells[0].Models) != 100_000 {
		t.Fatal(len(e.Cells[0].Models))
	}
}

func TestEmptyFile(t *testing.T) {
	for _, text := range []string{"", "\n", "# nothing\n", "---\n", "a", "[]", "5\n"} {
		if got := parseError(t, text); !strings.Contains(got, "bad.yaml:1:1") && !strings.Contains(got, "bad.yaml:2:1") {
			t.Errorf("%q: %s", text, got)
		}
	}
}

func TestAtMostTwentyErrors(t *testing.T) {
	var b strings.Builder
	for i := range 50 {
		fmt.Fprintf(&b, "  - {use: nothing%d}\n", i)
	}
	got := parseError(t, broken(t, "  - {use: seed}\n", b.String()))
	if strings.Count(got, "unknown policy") != maxErrors || !strings.Contains(got, "and 31 more errors") { // 50 and the baseline
		t.Error(got)
	}
}

func TestHostileYAML(t *testing.T) {
	for _, text := range []string{
		strings.Repeat("[", 1_000_000), strings.Repeat("{a: ", 300_000), strings.Repeat("- ", 500_000), strings.Repeat("? ", 100_000),
		"a: " + strings.Repeat("\"", 99_999), strings.Repeat("a:\n", 100_000), "\xff\xfea\x00", "\x00", "a: b: c", "a: 'x", "%YAML 9\n---\na: 1", "a: |\n", "a: >-\n  x\n b",
		"{", "}", "]", ": 1", ":", "-", "- -", "a: !!binary x", "<<: {a: 1}", "a: *b", "--- 1\n--- 2", "a: [1, 2\nb: 3", "? a\n: b", "a:\n  - b\n c: d", "\"\\ud800\": 1",
	} {
		if got := parseError(t, text); len(got) > 4000 {
			t.Errorf("message of %d bytes: %.200s", len(got), got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(base)
	f.Add(mm1)
	for _, s := range []string{"a: [1, {b: c}]\n", "- - a\n  - b: |\n      c\n", "a: \"\\x41\"\nb: 'it''s'\n? c\n"} {
		f.Add(s)
	}
	set := policies.Builtin()
	f.Fuzz(func(t *testing.T, text string) {
		e, err := Parse("fuzz.yaml", "testdata/none", []byte(text), set, Options{})
		if err != nil || e.NeedSeed {
			return
		}
		again, err := Parse("fuzz.yaml", "testdata/none", e.Resolved(), set, Options{})
		if err != nil {
			t.Fatalf("what was accepted is written so that it is refused: %v\n%s", err, e.Resolved())
		}
		if string(again.Resolved()) != string(e.Resolved()) {
			t.Fatalf("resolving again changes\n%s\ninto\n%s", e.Resolved(), again.Resolved())
		}
	})
}
