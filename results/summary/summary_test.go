package summary

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/vramsim/vramsim/results/metrics"
	"github.com/vramsim/vramsim/results/stats"
)

// result is a run with the given mean latency and switches.
func result(latency, switches float64) *metrics.Result {
	part := func() *metrics.Result {
		return &metrics.Result{
			Distributions: map[string]metrics.Stat{"item_latency_seconds": {N: 100, Mean: latency, P50: latency / 2, P90: 2 * latency, P95: 3 * latency, P99: 4 * latency, Max: 5 * latency}},
			Values:        map[string]float64{"model_switches": switches, "model_loads": switches + 1},
		}
	}
	r := part()
	r.Values["throughput_items_per_second"] = 10 / latency
	r.Values["items_arrived"] = 100
	r.Distributions["job_latency_seconds"] = metrics.Stat{}
	r.PerModel = map[string]*metrics.Result{"whisper": part(), "=qwen": part()}
	r.PerTenant = map[string]*metrics.Result{"acme": part()}
	return r
}

func series(latency, switches []float64) (results []*metrics.Result) {
	for i := range latency {
		results = append(results, result(latency[i], switches[i]))
	}
	return results
}

// wobble is a workload whose replicates differ much more than the policies.
var wobble = []float64{10, 14, 8, 12, 20, 9, 13, 11}

func shifted(by float64, jitter bool) []float64 {
	out := slices.Clone(wobble)
	for i := range out {
		out[i] += by
		if jitter {
			out[i] += 0.001 * float64(i%3)
		}
	}
	return out
}

func input() Input {
	same := []float64{40, 42, 41, 40, 44, 40, 41, 42}
	return Input{Name: "test", RunID: "r", Baseline: "seed", Replicates: len(wobble), Cells: []CellInput{{
		ID: "aaaa", Set: map[string]string{"hardware.gpus[0].memory": "8GB"}, Workload: "w1",
		Bounds: map[string][]float64{"makespan_seconds": {90, 91}},
		Policies: []PolicyInput{
			{Policy: "seed", Results: series(wobble, same), Digests: []string{"sha256:00"}},
			{Policy: "faster", Results: series(shifted(-1, true), same)},
			{Policy: "slower", Results: series(shifted(2, false), same)},
			{Policy: "oracle", Clairvoyant: true, Results: series(shifted(-3, true), same)},
		},
	}}}
}

func verdict(t *testing.T, s *Summary, policy, key string) Comparison {
	t.Helper()
	p, ok := s.Cells[0].Named(policy)
	if !ok {
		t.Fatalf("no policy %s", policy)
	}
	c, ok := p.VsBaseline[key]
	if !ok {
		t.Fatalf("%s has no comparison of %s", policy, key)
	}
	return c
}

func TestPairedVerdicts(t *testing.T) {
	s := Build(input())
	if s.Status != Valid || len(s.Reasons) != 0 {
		t.Fatalf("status %s %v", s.Status, s.Reasons)
	}
	faster := verdict(t, s, "faster", "item_latency_seconds.mean")
	if faster.Verdict != Better || faster.PValue > 0.01 || faster.CI95[0] > faster.Diff || faster.CI95[1] >= 0 {
		t.Errorf("a second less in every pair: %+v", faster)
	}
	if c := verdict(t, s, "faster", "throughput_items_per_second"); c.Verdict != Better || c.Diff <= 0 {
		t.Errorf("throughput is better when higher: %+v", c)
	}
	slower := verdict(t, s, "slower", "item_latency_seconds.mean")
	if slower.Verdict != Worse || slower.PValue.Known() || *slower.CI95 != [2]Number{2, 2} || slower.Diff != 2 {
		t.Errorf("a constant difference: %+v", slower)
	}
	if c := verdict(t, s, "slower", "model_switches"); c.Verdict != Indistinguishable || c.Diff != 0 || c.Ratio != 1 {
		t.Errorf("no difference: %+v", c)
	}
	baseline, _ := s.Cells[0].Named("seed")
	if len(baseline.VsBaseline) != 0 {
		t.Error("the baseline was compared with itself")
	}
	if p, _ := s.Cells[0].Named("faster"); p.Metrics["items_arrived"].Stats["value"].Value != 100 {
		t.Error("a metric without direction is lost")
	} else if _, ok := p.VsBaseline["items_arrived"]; ok {
		t.Error("a metric without direction has a verdict")
	}
}

func TestIndistinguishableAndUnderpowered(t *testing.T) {
	in := input()
	noise := func(scale float64) []float64 {
		out := slices.Clone(wobble)
		for i := range out {
			out[i] += scale * float64(i%2*2-1)
		}
		return out
	}
	in.Cells[0].Policies[1].Results = series(noise(0.1), wobble)
	in.Cells[0].Policies[2].Results = series(noise(6), wobble)
	s := Build(in)
	if c := verdict(t, s, "faster", "item_latency_seconds.mean"); c.Verdict != Indistinguishable {
		t.Errorf("a tenth of a second of noise: %+v", c)
	}
	if c := verdict(t, s, "slower", "item_latency_seconds.mean"); c.Verdict != Underpowered {
		t.Errorf("noise as large as the latency: %+v", c)
	}
}

// A difference may matter on one side only: then it is not settled.
func TestMarginHasTwoSides(t *testing.T) {
	for _, c := range []struct {
		low, high float64
		want      string
	}{{-0.4, 0.4, Indistinguishable}, {-3, 0.4, Underpowered}, {-0.4, 3, Underpowered}} {
		m := measured{base: 10, test: stats.Test{Interval: stats.Interval{Low: c.low, High: c.high}}}
		if got := m.verdict(0.3, -1, false); got != c.want {
			t.Errorf("[%g, %g]: %s", c.low, c.high, got)
		}
	}
}

// Means of integer nanoseconds differ in their last bits: that is no difference.
func TestRoundingIsNoDifference(t *testing.T) {
	in := input()
	noisy := slices.Clone(wobble)
	for i := range noisy {
		noisy[i] *= 1 - 1e-15
	}
	in.Cells[0].Policies[1].Results = series(noisy, wobble)
	if c := verdict(t, Build(in), "faster", "item_latency_seconds.mean"); c.Verdict != Indistinguishable || c.Diff != 0 {
		t.Errorf("%+v", c)
	}
}

// One borderline policy among many must not become better by company.
func TestHolmOverThePoliciesOfACell(t *testing.T) {
	in := input()
	borderline := slices.Clone(wobble)
	for i := range borderline {
		borderline[i] += []float64{-1.1, -1, -0.5, -1.7, -0.8, 0.8, -1.5, -0.1}[i]
	}
	in.Cells[0].Policies = in.Cells[0].Policies[:1]
	one := PolicyInput{Policy: "p0", Results: series(borderline, wobble)}
	in.Cells[0].Policies = append(in.Cells[0].Policies, one)
	single := verdict(t, Build(in), "p0", "item_latency_seconds.mean")
	for i := 1; i < 5; i++ {
		one.Policy = fmt.Sprintf("p%d", i)
		in.Cells[0].Policies = append(in.Cells[0].Policies, one)
	}
	many := verdict(t, Build(in), "p0", "item_latency_seconds.mean")
	if single.Verdict != Better || many.Verdict == Better || math.Abs(float64(many.PValue/single.PValue)-5) > 1e-9 {
		t.Errorf("alone %+v, among five %+v", single, many)
	}
}

func TestOneReplicate(t *testing.T) {
	in := input()
	in.Replicates = 1
	for i := range in.Cells[0].Policies {
		in.Cells[0].Policies[i].Results = in.Cells[0].Policies[i].Results[:1]
	}
	s := Build(in)
	c := verdict(t, s, "faster", "item_latency_seconds.mean")
	if c.Verdict != Underpowered || c.CI95 != nil || c.PValue.Known() || c.Scope != ThisTrace || s.Scope != ThisTrace {
		t.Errorf("one random replicate: %+v", c)
	}
	if p, _ := s.Cells[0].Named("seed"); p.Figure("item_latency_seconds", "mean").CI95 != nil {
		t.Error("one replicate has an interval")
	}
	in.Deterministic = true
	if c := verdict(t, Build(in), "faster", "item_latency_seconds.mean"); c.Verdict != Better || c.Scope != ThisTrace {
		t.Errorf("one exact replicate: %+v", c)
	}
}

func TestStatuses(t *testing.T) {
	in := input()
	in.Cells[0].Policies[1].Results[2].Invalid = []string{"the backlog still grows"}
	s := Build(in)
	p, _ := s.Cells[0].Named("faster")
	if s.Status != Valid || p.Status != Invalid || p.Reasons[0] != "the backlog still grows (1 of 8 replicates)" || len(p.VsBaseline) != 0 {
		t.Errorf("run %s, policy %+v", s.Status, p)
	}
	if f := p.Figure("item_latency_seconds", "mean"); f.Value.Known() {
		t.Error("an unstable policy has a steady-state mean")
	}
	in.Cells[0].Policies[0].Invalid = []string{"card shared"}
	if s := Build(in); s.Status != Invalid || !strings.Contains(s.Reasons[0], "baseline seed is INVALID: card shared") {
		t.Errorf("an invalid baseline: %s %v", s.Status, s.Reasons)
	}
	in.Cells[0].Policies[3].Results[0] = nil
	if s := Build(in); s.Status != Incomplete || s.Reasons[0] != "1 of 32 simulations are missing" {
		t.Errorf("a missing replicate: %s %v", s.Status, s.Reasons)
	}
	in.Cells[0].Policies[0], in.Cells[0].Policies[3] = in.Cells[0].Policies[3], in.Cells[0].Policies[0]
	if s := Build(in); s.Status != Incomplete || len(s.Reasons) != 2 {
		t.Errorf("incomplete first and then invalid: %s %v", s.Status, s.Reasons)
	}
	in = input()
	in.Interrupted = "interrupted"
	if s := Build(in); s.Status != Incomplete || s.Reasons[0] != "interrupted" {
		t.Errorf("interrupted: %s %v", s.Status, s.Reasons)
	}
}

// With a replicate missing, the others must still be paired with their own.
func TestMissingReplicateKeepsPairs(t *testing.T) {
	in := input()
	in.Cells[0].Policies[2].Results[0] = nil
	if c := verdict(t, Build(in), "slower", "item_latency_seconds.mean"); c.Diff != 2 || c.PValue.Known() {
		t.Errorf("%+v", c)
	}
}

func TestJSON(t *testing.T) {
	in := input()
	in.Thresholds = []Threshold{must(ParseThreshold("item_latency_seconds{policy=faster}", "p99 < 1"))}
	s := Build(in)
	var first, second bytes.Buffer
	if err := s.Write(&first); err != nil {
		t.Fatal(err)
	}
	back, err := Read(bytes.NewReader(first.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if err := back.Write(&second); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("reading and writing changes the file")
	}
	var tree map[string]any
	if err := json.Unmarshal(first.Bytes(), &tree); err != nil {
		t.Fatal(err)
	}
	policy := tree["cells"].([]any)[0].(map[string]any)["policies"].([]any)[1].(map[string]any)
	latency := policy["metrics"].(map[string]any)["item_latency_seconds"].(map[string]any)
	if latency["kind"] != "distribution" || latency["unit"] != "s" || latency["replicates"] != 8.0 ||
		len(latency["mean"].(map[string]any)["ci95"].([]any)) != 2 || len(latency["per_replicate"].(map[string]any)["p99"].([]any)) != 8 {
		t.Errorf("distribution: %v", latency)
	}
	switches := policy["metrics"].(map[string]any)["model_switches"].(map[string]any)
	if switches["value"] != 41.25 || len(switches["per_replicate"].([]any)) != 8 {
		t.Errorf("value: %v", switches)
	}
	if jobs := policy["metrics"].(map[string]any)["job_latency_seconds"].(map[string]any); jobs["mean"].(map[string]any)["value"] != nil {
		t.Errorf("a mean of no jobs: %v", jobs)
	}
	if bound := tree["cells"].([]any)[0].(map[string]any)["bounds"].(map[string]any)["makespan_seconds"].(map[string]any); bound["value"] != 90.5 {
		t.Errorf("bound: %v", bound)
	}
	for _, line := range strings.Split(first.String(), "\n") {
		if strings.HasSuffix(line, " ") {
			t.Errorf("trailing space: %q", line)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	if _, err := Read(strings.NewReader(`{"schema":"vramsim/summary/9"}`)); !errors.Is(err, ErrSchema) {
		t.Errorf("another schema: %v", err)
	}
	if _, err := Read(strings.NewReader(`{"schema":`)); err == nil {
		t.Error("half a file was read")
	}
	if s, err := Read(strings.NewReader(`{"schema":"vramsim/summary/1","added_later":1,"cells":[]}`)); err != nil || len(s.Cells) != 0 {
		t.Errorf("a newer file: %v", err)
	}
}

// layout must not change what the JSON says, whatever is in it.
func TestLayoutKeepsTheValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		leaf := rapid.OneOf(rapid.Map(rapid.String(), func(s string) any { return s }),
			rapid.Map(rapid.Float64Range(-1e9, 1e9), func(f float64) any { return f }), rapid.Just[any](nil))
		list := rapid.Map(rapid.SliceOfN(leaf, 0, 20), func(l []any) any { return l })
		node := rapid.Map(rapid.MapOfN(rapid.String(), rapid.OneOf(leaf, list), 0, 8), func(m map[string]any) any { return m })
		value := rapid.Map(rapid.SliceOfN(node, 0, 5), func(l []any) any { return l }).Draw(t, "value")
		compact := encode(value)
		var out, again bytes.Buffer
		layout(&out, compact, "")
		if err := json.Compact(&again, out.Bytes()); err != nil || !bytes.Equal(again.Bytes(), compact) {
			t.Fatalf("%v: %s became %s", err, compact, again.Bytes())
		}
	})
}

func TestCSV(t *testing.T) {
	in := input()
	in.Cells[0].Policies[1].Policy = `@evil,"quoted"`
	var out bytes.Buffer
	if err := Build(in).WriteCSV(&out); err != nil {
		t.Fatal(err)
	}
	records, err := csv.NewReader(&out).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(records[0], csvHeader) {
		t.Errorf("header %v", records[0])
	}
	found := map[string]bool{}
	for _, r := range records[1:] {
		found[strings.Join([]string{r[2], r[4], r[5], r[6], r[7], r[9], r[10]}, "|")] = true
		for _, cell := range r[:9] {
			if cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r") {
				t.Errorf("a spreadsheet would run %q", cell)
			}
		}
	}
	for _, want := range []string{
		"seed|all||model_switches|value|1|40", "seed|all||model_switches|value||41.25", "slower|all||item_latency_seconds|mean|2|16",
		"seed|model|'=qwen|model_loads|value||42.25", "seed|tenant|acme|model_loads|value||42.25", `'@evil,"quoted"|all||model_loads|value|1|41`,
	} {
		if !found[want] {
			t.Errorf("no row %s", want)
		}
	}
}

func TestGuardKeepsNumbersAndText(t *testing.T) {
	for in, want := range map[string]string{"": "", "a-b": "a-b", "-1": "'-1", "\tx": "'\tx", "@x": "'@x", "é": "é"} {
		if got := Guard(in); got != want {
			t.Errorf("Guard(%q) = %q", in, got)
		}
	}
}

// The grammar of Go's benchmark format, design 14313.
var (
	benchConfig = regexp.MustCompile(`^[a-z][^\p{Lu}\s]*: \S.*$`)
	benchMeta   = regexp.MustCompile(`^Unit \S+ better=(lower|higher)$`)
	benchLine   = regexp.MustCompile(`^Benchmark(\S+) [1-9][0-9]*((?:\t[-+.e0-9]+ \S+)+)$`)
)

func TestBench(t *testing.T) {
	in := input()
	in.Name = "two\nlines"
	in.Cells[0].Policies[1].Policy = "with space/and-30"
	var out bytes.Buffer
	if err := Build(in).WriteBench(&out); err != nil {
		t.Fatal(err)
	}
	lines := map[string]int{}
	for line := range strings.Lines(out.String()) {
		line = strings.TrimSuffix(line, "\n")
		match := benchLine.FindStringSubmatch(line)
		if match == nil {
			if !benchConfig.MatchString(line) && !benchMeta.MatchString(line) {
				t.Errorf("neither configuration nor unit nor result: %q", line)
			}
			continue
		}
		lines[match[1]]++
		if lines["Run/policy=slower/cell=aaaa"] == 1 && !strings.Contains(match[2], "\t12 item_latency_seconds.mean\t") && match[1] == "Run/policy=slower/cell=aaaa" {
			t.Errorf("first replicate: %s", match[2])
		}
	}
	if lines["Run/policy=slower/cell=aaaa"] != 8 || lines["Run/policy=with_space_and-30/cell=aaaa"] != 8 {
		t.Errorf("lines %v", lines)
	}
	for _, want := range []string{"Unit throughput_items_per_second better=higher\n", "Unit item_latency_seconds.p99 better=lower\n", "\nset: hardware.gpus[0].memory=8GB\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("missing %q", want)
		}
	}
}

func TestCompareRuns(t *testing.T) {
	old := Build(input())
	in := input()
	in.Cells[0].Policies[0].Results = series(shifted(-2, true), wobble)
	in.Cells[0].Policies = append(in.Cells[0].Policies[:2], PolicyInput{Policy: "fresh", Results: series(shifted(-2, true), wobble)})
	recent := Build(in)
	s, err := Compare([]Labelled{{"old", old}, {"new", recent}}, false)
	if err != nil {
		t.Fatal(err)
	}
	if c := verdict(t, s, "seed@new", "item_latency_seconds.mean"); c.Against != "seed@old" || c.Verdict != Better {
		t.Errorf("the same policy in both: %+v", c)
	}
	if c := verdict(t, s, "fresh@new", "item_latency_seconds.mean"); c.Against != "seed@old" {
		t.Errorf("a new policy: %+v", c)
	}
	if c := verdict(t, s, "faster@new", "item_latency_seconds.mean"); c.Against != "faster@old" || c.Diff != 0 {
		t.Errorf("an unchanged policy: %+v", c)
	}
	if p, _ := old.Cells[0].Named("seed"); p.Policy != "seed" || len(p.VsBaseline) != 0 {
		t.Error("the compared run was changed")
	}
	recent.Cells[0].Workload = "w2"
	if _, err := Compare([]Labelled{{"old", old}, {"new", recent}}, false); !errors.Is(err, ErrUnpaired) {
		t.Errorf("different workloads: %v", err)
	}
	s, err = Compare([]Labelled{{"old", old}, {"new", recent}}, true)
	if err != nil {
		t.Fatal(err)
	}
	if c := verdict(t, s, "seed@new", "item_latency_seconds.mean"); c.Verdict != Underpowered || c.PValue < 0.1 {
		t.Errorf("unpaired, two seconds drown in the wobble: %+v", c)
	}
	recent.Cells[0].Set = map[string]string{"x": "y"}
	if _, err := Compare([]Labelled{{"old", old}, {"new", recent}}, true); !errors.Is(err, ErrNothingInCommon) {
		t.Errorf("other cells: %v", err)
	}
}

// TestCompareKeepsCommonBounds: what bounds the first run need not bound a run
// on other hardware, with faults or with less work.
func TestCompareKeepsCommonBounds(t *testing.T) {
	in := input()
	in.Cells[0].Bounds = map[string][]float64{"makespan_seconds": {90, 91}, "model_loads": {5, 5}, "model_switches": {4, 6}, "item_latency_seconds.mean": {1, 1}}
	other := input()
	other.Cells[0].Bounds = map[string][]float64{"makespan_seconds": {90, 91}, "model_loads": {3, 3}, "model_switches": {5, 5}}
	first := Build(in)
	s, err := Compare([]Labelled{{"old", first}, {"new", Build(other)}}, false)
	if err != nil {
		t.Fatal(err)
	}
	if b := s.Cells[0].Bounds; len(b) != 1 || b["makespan_seconds"].Value != 90.5 {
		t.Errorf("bounds of both runs: %v", b)
	}
	if len(first.Cells[0].Bounds) != 4 {
		t.Errorf("the compared run lost bounds: %v", first.Cells[0].Bounds)
	}
}

// TestCompareKeepsTheCommonWarmup: it is that of the figures only if all runs
// found the same.
func TestCompareKeepsTheCommonWarmup(t *testing.T) {
	built := func(warmup float64) *Summary {
		in := input()
		in.Cells[0].Warmup = &warmup
		return Build(in)
	}
	for _, c := range []struct {
		other *Summary
		kept  bool
	}{{built(7), true}, {built(8), false}, {Build(input()), false}} {
		s, err := Compare([]Labelled{{"old", built(7)}, {"new", c.other}}, true)
		if err != nil {
			t.Fatal(err)
		}
		if w := s.Cells[0].Warmup; (w != nil) != c.kept || w != nil && *w != 7 {
			t.Errorf("7 s and %v: %v", c.other.Cells[0].Warmup, w)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestIdleModels: a replicate in which a model was idle counts as zero, not as
// missing, and a model that was idle in all is not listed.
func TestIdleModels(t *testing.T) {
	busy, idle := result(4, 40), result(4, 40)
	busy.PerModel = map[string]*metrics.Result{"m": {Values: map[string]float64{"model_loads": 6}}}
	busy.IdleModel = &metrics.Result{Values: map[string]float64{"model_loads": 0}}
	idle.PerModel, idle.IdleModel = map[string]*metrics.Result{}, busy.IdleModel
	in := input()
	in.Cells[0].Policies = []PolicyInput{{Policy: "seed", Results: []*metrics.Result{busy, idle, idle}}}
	p := Build(in).Cells[0].Policies[0]
	loads := p.PerModel["m"]["model_loads"]
	if len(p.PerModel) != 1 || float64(loads.Stats["value"].Value) != 2 {
		t.Errorf("%v models; the loads are %+v", len(p.PerModel), loads)
	}
}
