package table

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/olekukonko/tablewriter/pkg/twwidth"

	"github.com/vramsim/vramsim/results/metrics"
	"github.com/vramsim/vramsim/results/summary"
)

// run is a replicate with a mean latency; all else follows from it.
func run(latency float64) *metrics.Result {
	dist := func(mean float64) metrics.Stat {
		return metrics.Stat{N: 1000, Mean: mean, P50: mean * 0.7, P90: mean * 2.3, P95: mean * 3, P99: mean * 4.6, Max: mean * 8}
	}
	return &metrics.Result{
		Distributions: map[string]metrics.Stat{"item_latency_seconds": dist(latency), "item_wait_seconds": dist(latency * 0.8)},
		Values: map[string]float64{"model_switches": float64(int(latency * 9)), "model_loads": float64(int(latency*9) + 1),
			"makespan_seconds": 14400 + latency, "max_bypass": float64(int(latency) % 40)},
	}
}

func policy(name string, latency float64, replicates int) summary.PolicyInput {
	p := summary.PolicyInput{Policy: name}
	for i := range replicates {
		p.Results = append(p.Results, run(latency*(1+0.05*float64(i%5))+0.01*float64(i*i%7)*latency/20))
	}
	return p
}

func input(replicates int) summary.Input {
	in := summary.Input{Name: "video-pipeline", Question: "Which policy?", RunID: "r", Baseline: "seed", Replicates: replicates}
	for i, memory := range []string{"8GB", "12GB"} {
		scale := float64(3 - i)
		oracle := policy("belady", 10*scale, replicates)
		oracle.Clairvoyant = true
		broken := policy("fifo", 500*scale, replicates)
		broken.Invalid = []string{"the backlog still grows"}
		in.Cells = append(in.Cells, summary.CellInput{ID: fmt.Sprintf("cell%d", i), Set: map[string]string{"hardware.gpus[0].memory": memory},
			Policies: []summary.PolicyInput{policy("seed", 40*scale, replicates), policy("sticky", 21*scale, replicates),
				policy("max-wait-30s", 18*scale, replicates), policy("longest", 70*scale, replicates), oracle, broken}})
	}
	return in
}

func written(t *testing.T, s *summary.Summary, o Options) string {
	t.Helper()
	var out bytes.Buffer
	if err := Write(&out, s, o); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func wants(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("missing %q in:\n%s", p, text)
		}
	}
}

func TestWrite(t *testing.T) {
	text := written(t, summary.Build(input(10)), Options{})
	wants(t, text, "video-pipeline\n", "\ngpus[0].memory = 8GB\n", "belady (clairvoyant)", "seed (baseline)", "mean latency [s]", "INVALID fifo: the backlog still grows\n",
		"Over all: max-wait-30s", "left out as not VALID: fifo", "belady, which knows the future", "better −55%", "worse +75%")
	first := text[strings.Index(text, "8GB"):strings.Index(text, "12GB")]
	order := []string{"\n   belady", "\n → max-wait-30s", "\n   sticky", "\n   seed", "\n   longest", "\n   fifo"}
	for i := 1; i < len(order); i++ {
		if strings.Index(first, order[i]) < strings.Index(first, order[i-1]) {
			t.Errorf("%q stands above %q:\n%s", order[i], order[i-1], first)
		}
	}
	fifo := first[strings.Index(first, "fifo"):]
	if line, _, _ := strings.Cut(fifo, "\n"); strings.ContainsAny(line, "0123456789") {
		t.Errorf("an INVALID policy has figures: %s", line)
	}
}

func TestWidth(t *testing.T) {
	s := summary.Build(input(10))
	for _, width := range []int{80, 100, 130} {
		for line := range strings.Lines(written(t, s, Options{Width: width})) {
			if n := twwidth.Width(strings.TrimRight(line, "\n")); n > width && !strings.Contains(line, ": ") {
				t.Errorf("%d columns where there are %d: %q", n, width, line)
			}
		}
	}
	narrow := written(t, s, Options{Width: 80})
	if strings.Contains(narrow, "max bypass") || !strings.Contains(narrow, "switches") {
		t.Errorf("the wrong columns were left out:\n%s", narrow)
	}
}

func TestColor(t *testing.T) {
	s := summary.Build(input(10))
	plain := written(t, s, Options{})
	colored := written(t, s, Options{Color: true})
	if strings.Contains(plain, "\x1b") {
		t.Error("colours without being asked")
	}
	if !strings.Contains(colored, "\x1b[32m") || !strings.Contains(colored, "\x1b[31m") {
		t.Error("no colours")
	}
	for _, code := range []string{"0", "1", "31", "32", "33"} {
		colored = strings.ReplaceAll(colored, "\x1b["+code+"m", "")
	}
	if colored != plain {
		t.Errorf("colours move the columns:\n%s\n%s", colored, plain)
	}
}

func TestHostileNames(t *testing.T) {
	in := input(3)
	in.Name = "a\x1b[31mb\nc"
	in.Cells[0].Policies[1].Policy = "x\x07|<b>`*\u202e"
	s := summary.Build(in)
	if text := written(t, s, Options{}); strings.ContainsAny(text, "\x1b\x07\u202e") || !strings.Contains(text, `x\x07|<b>`) {
		t.Errorf("raw control characters:\n%q", text)
	}
	var out bytes.Buffer
	if err := Markdown(&out, s); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); strings.ContainsAny(text, "\x1b\x07\u202e") || strings.Contains(text, "<b>") || !strings.Contains(text, "\\|") {
		t.Errorf("raw text in Markdown:\n%s", text)
	}
}

func TestMarkdown(t *testing.T) {
	in := input(10)
	threshold, err := summary.ParseThreshold("model_switches{policy=sticky}", "value < 1")
	if err != nil {
		t.Fatal(err)
	}
	in.Thresholds = []summary.Threshold{threshold}
	var out bytes.Buffer
	if err := Markdown(&out, summary.Build(in)); err != nil {
		t.Fatal(err)
	}
	wants(t, out.String(), "# video-pipeline\n", "## gpus\\[0\\].memory = 8GB", "**max-wait-30s**", "**failed**: model\\_switches")
	var pipesOf []int
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "|") {
			pipesOf = append(pipesOf, strings.Count(line, "|"))
		}
	}
	if len(pipesOf) != 16 { // two tables of six policies, head and rule
		t.Errorf("%d lines of tables", len(pipesOf))
	}
	for _, n := range pipesOf {
		if n != 10 {
			t.Errorf("a row of %d columns", n-1)
		}
	}
}

func verdict(in summary.Input) string { return strings.Join(Verdict(summary.Build(in)), " ") }

func TestVerdicts(t *testing.T) {
	tie := input(10)
	for i := range tie.Cells {
		for j := range tie.Cells[i].Policies {
			tie.Cells[i].Policies[j] = policy(tie.Cells[i].Policies[j].Policy, 20, 10)
		}
	}
	wants(t, verdict(tie), "the choice does not matter", "keep seed", "so are")

	one := input(1)
	one.Cells = one.Cells[:1]
	text := verdict(one)
	wants(t, text, "choose max-wait-30s", "One replicate was run")
	if strings.Contains(text, "±") {
		t.Errorf("an interval from one replicate: %s", text)
	}

	none := input(3)
	for j := range none.Cells[0].Policies {
		none.Cells[0].Policies[j].Invalid = []string{"unstable"}
	}
	wants(t, verdict(none), "no policy is VALID, so none can be recommended; left out as not VALID: seed, sticky, max-wait-30s, longest, belady and fifo")

	ahead := input(10) // others may reorder, the oracle in order of arrival does not
	ahead.Cells[0].Policies[4] = policy("belady", 90, 10)
	ahead.Cells[0].Policies[4].Clairvoyant = true
	wants(t, verdict(ahead), "belady, which knows the future, does no better")

	split := input(10)
	split.Cells[1].Policies[2] = policy("max-wait-30s", 60, 10)
	wants(t, verdict(split), "no policy is best everywhere; sticky loses least (best or tied in 1 of 2 cells, at worst +17% at gpus[0].memory = 8GB)")
}

func TestPercent(t *testing.T) {
	for change, want := range map[float64]string{-0.45: "−45%", 0.003: "+0.3%", 0: "±0%", 1.5: "+150%", -0.00001: "±0%", 0.0996: "+10%"} {
		if got := Percent(change); got != want {
			t.Errorf("Percent(%g) = %s", change, got)
		}
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("closed") }

func TestClosedOutput(t *testing.T) {
	s := summary.Build(input(2))
	if Write(broken{}, s, Options{}) == nil || Markdown(broken{}, s) == nil {
		t.Error("a closed output is no error")
	}
}

// TestUnfinished: what was not run leaves no table, and its absence is said
// once for all policies.
func TestUnfinished(t *testing.T) {
	in := input(3)
	in.Interrupted = "interrupted"
	for j := range in.Cells[1].Policies {
		in.Cells[1].Policies[j].Results = make([]*metrics.Result, 3)
		in.Cells[1].Policies[j].Invalid = nil
	}
	in.Cells[0].Policies[1].Results[2] = nil
	text := written(t, summary.Build(in), Options{})
	wants(t, text, "INCOMPLETE: interrupted; 19 of 36 simulations are missing", "INCOMPLETE seed, sticky, max-wait-30s, longest, belady and fifo: 3 of 3 replicates are missing",
		"INCOMPLETE sticky: 1 of 3 replicates are missing", "At gpus[0].memory = 12GB: not finished, so that nothing can be recommended.")
	if n := strings.Count(text, "────"); strings.Count(text, "\n─") != 1 || n == 0 {
		t.Errorf("a table of nothing:\n%s", text)
	}
}

// TestComparedRuns: a gain is stated against what it was measured against.
func TestComparedRuns(t *testing.T) {
	old := summary.Build(input(10))
	in := input(10)
	for i := range in.Cells {
		in.Cells[i].Workload = "w"
		old.Cells[i].Workload = "w"
		in.Cells[i].Policies[2] = policy("max-wait-30s", 9*float64(3-i), 10)
	}
	s, err := summary.Compare([]summary.Labelled{{Label: "old", Run: old}, {Label: "new", Run: summary.Build(in)}}, false)
	if err != nil {
		t.Fatal(err)
	}
	text := written(t, s, Options{})
	wants(t, text, "better −50% than max-wait-30s@old", "same as sticky@old", "latency vs seed@old")
	wants(t, strings.Join(Verdict(s), " "), "−50% against max-wait-30s@old")
	if strings.Contains(text, "−50% against seed@old") {
		t.Errorf("a gain over one policy is said to be over another:\n%s", text)
	}
}

func TestThresholdsNameCellAndUnit(t *testing.T) {
	in := input(3)
	for selector, condition := range map[string]string{"item_latency_seconds{policy=sticky}": "p99 < 1", "makespan_seconds{policy=seed}": "value < 1", "item_latency_seconds{policy=seed}": "n < 1"} {
		threshold, err := summary.ParseThreshold(selector, condition)
		if err != nil {
			t.Fatal(err)
		}
		in.Thresholds = append(in.Thresholds, threshold)
	}
	text := written(t, summary.Build(in), Options{})
	wants(t, text, "(sticky at gpus[0].memory = 8GB: 304.5 s)", "(seed at gpus[0].memory = 12GB: 14484 s)", "n < 1 (seed at gpus[0].memory = 8GB: 1000)")
}

func TestCensoredIsSaid(t *testing.T) {
	in := input(2)
	for _, r := range in.Cells[0].Policies[1].Results {
		d := r.Distributions["item_latency_seconds"]
		d.Censored = 4
		r.Distributions["item_latency_seconds"] = d
	}
	wants(t, written(t, summary.Build(in), Options{}), "sticky: 4 items had not finished at the end (mean over replicates)")
}

// TestRefusedItemsAreSaid: a policy that refuses the work is neither chosen nor
// better nor measured by the bound, and where it is the only one its share is told.
func TestRefusedItemsAreSaid(t *testing.T) {
	in := input(10)
	in.Cells = in.Cells[:1]
	in.Cells[0].Bounds = map[string][]float64{"item_latency_seconds.mean": {6, 6}}
	refuse := func(p *summary.PolicyInput) {
		for _, r := range p.Results {
			r.Values["items_arrived"], r.Values["items_rejected"] = 200, 170
		}
	}
	refuse(&in.Cells[0].Policies[2])
	text := written(t, summary.Build(in), Options{})
	wants(t, text, "→ sticky", "finishes 15%", "max-wait-30s: 85% of the items were rejected, failed or cancelled")
	wants(t, verdict(in), "choose sticky", "left out as finishing less: max-wait-30s (85% of its items not finished)", "sticky is", "above the bound")
	if strings.Contains(text, "better −55%") || strings.Index(text, "   max-wait-30s") < strings.Index(text, "   longest") {
		t.Errorf("refusing is a gain:\n%s", text)
	}
	in.Cells[0].Policies = []summary.PolicyInput{in.Cells[0].Policies[0], in.Cells[0].Policies[2]}
	refuse(&in.Cells[0].Policies[0])
	text = verdict(in)
	wants(t, text, "choose max-wait-30s", ", 85% of its items not finished")
	if strings.Contains(text, "bound") {
		t.Errorf("the bound is of policies that finish everything: %s", text)
	}
}

// TestUnranked: figures that nothing may be chosen by recommend nothing.
func TestUnranked(t *testing.T) {
	in := input(4)
	in.Unranked = "the server moves models by itself"
	s := summary.Build(in)
	if lines := Verdict(s); len(lines) != 1 || lines[0] != "No policy is recommended: the server moves models by itself." {
		t.Errorf("verdict %q", lines)
	}
	for _, c := range s.Choices() {
		if c.Best != nil || c.Clairvoyant != nil {
			t.Errorf("%s was chosen", c.Best.Policy)
		}
	}
	var b bytes.Buffer
	if err := Write(&b, s, Options{}); err != nil || strings.Contains(b.String(), "→") {
		t.Errorf("a row is marked (%v):\n%s", err, b.String())
	}
}

// TestFoundWarmupIsSaid: under the figures of its cell, and none where it was
// stated.
func TestFoundWarmupIsSaid(t *testing.T) {
	for seconds, want := range map[float64]string{990: "Warm-up: the first 990 s are left out", 9900: "Warm-up: the first 165 min are left out", 0: "Warm-up: none has to be left out", -1: ""} {
		in := input(3)
		if seconds >= 0 {
			in.Cells[0].Warmup = &seconds
		}
		var out bytes.Buffer
		if err := Write(&out, summary.Build(in), Options{Width: 200}); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(out.String(), "Warm-up: "); want == "" && n != 0 || want != "" && (n != 1 || !strings.Contains(out.String(), want)) {
			t.Errorf("%v s:\n%s", seconds, out.String())
		}
	}
}
