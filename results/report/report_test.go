package report

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/results/charts"
	"github.com/vramsim/vramsim/results/fidelity"
	"github.com/vramsim/vramsim/results/metrics"
	"github.com/vramsim/vramsim/results/summary"
)

func policy(name string, latency float64) summary.PolicyInput {
	p := summary.PolicyInput{Policy: name, Clairvoyant: name == "belady"}
	if name == "fifo" {
		p.Invalid = []string{"the backlog still grows"}
	}
	for i := range 10 {
		mean := latency * (1 + 0.05*float64(i%5) + 0.004*float64(i*i%7))
		dist := metrics.Stat{N: 900, Mean: mean, P50: mean / 2, P90: 2 * mean, P95: 3 * mean, P99: 4 * mean, Max: 9 * mean}
		p.Results = append(p.Results, &metrics.Result{
			Distributions: map[string]metrics.Stat{"item_latency_seconds": dist, "item_wait_seconds": dist},
			Values: map[string]float64{"model_switches": float64(int(9 * mean)), "model_loads": float64(int(9*mean) + 1),
				"makespan_seconds": 14400 + mean, "max_bypass": float64(i)},
		})
	}
	return p
}

func input(names ...string) Input {
	in := summary.Input{Name: "video-pipeline", Question: "Which policy keeps p99 below 60 s?", RunID: "0190-aa", Baseline: names[0], Replicates: 10}
	for i, memory := range []string{"8GB", "12GB", "16GB"} {
		cell := summary.CellInput{ID: []string{"a1", "b2", "c3"}[i], Set: map[string]string{"hardware.gpus[0].memory": memory}}
		for j, n := range names {
			latency := float64(40-30*i/2) - float64(j%5)*2
			if i == 2 {
				latency = 6
			}
			cell.Policies = append(cell.Policies, policy(n, latency))
		}
		in.Cells = append(in.Cells, cell)
	}
	threshold, err := summary.ParseThreshold("item_latency_seconds", "p99 < 190")
	if err != nil {
		panic(err)
	}
	in.Thresholds = []summary.Threshold{threshold}
	s := summary.Build(in)
	var svg bytes.Buffer
	var bars []charts.Bar
	for i, n := range names {
		bars = append(bars, charts.Bar{Name: n, Value: float64(300 - i), Low: float64(290 - i), High: float64(310 - i), Baseline: i == 0})
	}
	if err := charts.Switches(charts.Head{Title: "Model switches", Subtitle: "gpus[0].memory = 8GB"}, bars, 0).Write(&svg, charts.SVG); err != nil {
		panic(err)
	}
	return Input{Summary: s, Figures: []Figure{{Name: "switches", Cell: "a1", Title: "Model switches of each policy", Format: charts.SVG, Data: svg.Bytes(), Path: "charts/a1 switches.svg"}},
		Resolved: []byte("version: 1\nname: video-pipeline\n"), Command: "vramsim run experiment.yaml --seed 42", Facts: []Fact{{"seed", "42"}, {"log digest", "sha256:0badc0de"}}}
}

var names = []string{"seed", "sticky", "max-wait-30s", "longest", "belady", "fifo"}

func page1(t *testing.T, in Input) string {
	t.Helper()
	var out bytes.Buffer
	if err := HTML(&out, in); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestPage(t *testing.T) {
	text := page1(t, input(names...))
	at := 0
	for _, part := range []string{"<h1>video-pipeline", "Which policy keeps p99", `class="verdict"`, "Over all: ", "<h2>Thresholds <span", `href="#cell-1"`, `id="cell-1"`,
		"gpus[0].memory = 8GB</h2>", "longest", "INVALID fifo: the backlog still grows", "data:image/svg&#43;xml;base64,", `id="cell-3"`, "vramsim run experiment.yaml", "sha256:0badc0de", "name: video-pipeline"} {
		i := strings.Index(text[at:], part)
		if i < 0 {
			t.Fatalf("%q is missing or out of order", part)
		}
		at += i
	}
	for _, tag := range []string{"html", "head", "body", "main", "section", "table", "tbody", "tr", "td", "p", "div", "h2", "pre", "dl", "details"} {
		opened := len(regexp.MustCompile(`<`+tag+`[\s>]`).FindAllString(text, -1))
		if closed := strings.Count(text, "</"+tag+">"); opened != closed {
			t.Errorf("<%s> is opened %d times and closed %d times", tag, opened, closed)
		}
	}
}

// Nothing may be fetched: no address but fragments and data.
func TestPageFetchesNothing(t *testing.T) {
	text := page1(t, input(names...))
	for _, m := range regexp.MustCompile(`(?i)(src|href|action|url)\s*[=(]\s*["']?([^"'>\s)]*)`).FindAllStringSubmatch(text, -1) {
		if !strings.HasPrefix(m[2], "#cell-") && !strings.HasPrefix(m[2], "data:image/") {
			t.Errorf("the page refers to %s", m[0])
		}
	}
	if strings.Contains(text, "<script") || !strings.Contains(text, `content="default-src 'none'; style-src 'unsafe-inline'; img-src data:`) {
		t.Error("a script, or no content policy")
	}
}

func TestHostileText(t *testing.T) {
	evil := `"><script>alert(1)</script><img src=x onerror=alert(1)> javascript:alert(1) {{.}}`
	in := input(evil, "javascript:alert(1)", "fifo")
	in.Summary.Name, in.Summary.Question, in.Summary.RunID = evil, evil, evil
	in.Summary.Reasons, in.Summary.Notes, in.Summary.Varied = []string{evil}, []string{evil}, evil
	in.Summary.Cells[0].Set = map[string]string{"a." + evil: evil}
	in.Command, in.Resolved, in.Facts = evil, []byte("</pre>"+evil+"```\n# x"), []Fact{{evil, evil}}
	in.Figures[0].Title, in.Figures[0].Path = evil, "../"+evil
	text := page1(t, in)
	if strings.Contains(text, "<script>") || strings.Contains(text, "<img src=x") || strings.Contains(text, `"javascript`) {
		t.Error("raw text of the user in the page")
	}
	if regexp.MustCompile(`href="[^#]`).MatchString(text) {
		t.Error("text of the user in a link")
	}
	var out bytes.Buffer
	if err := Markdown(&out, in); err != nil {
		t.Fatal(err)
	}
	outside := regexp.MustCompile("(?s)````yaml.*````").ReplaceAllString(out.String(), "")
	outside = regexp.MustCompile("(?s)```sh.*?```").ReplaceAllString(outside, "")
	outside = regexp.MustCompile("`[^`\n]*`").ReplaceAllString(outside, "")
	if strings.Contains(outside, "<script>") || strings.Contains(outside, "<img") || strings.Contains(outside, "](javascript") {
		t.Errorf("raw text of the user in Markdown:\n%s", outside)
	}
}

func TestStatusIsSeen(t *testing.T) {
	in := input(names...)
	in.Summary.Status, in.Summary.Reasons = summary.Incomplete, []string{"interrupted"}
	if text := page1(t, in); !strings.Contains(text, `badge bad">INCOMPLETE`) || !strings.Contains(text, `class="warn">interrupted`) {
		t.Error("an incomplete run looks complete")
	}
}

func TestMarkdown(t *testing.T) {
	var out bytes.Buffer
	if err := Markdown(&out, input(names...)); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"# video-pipeline\n", "![Model switches of each policy](charts/a1_switches.svg)", "```sh\nvramsim run experiment.yaml --seed 42\n```", "- seed: `42`", "```yaml\nversion: 1\n"} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("missing %q in\n%s", part, out.String())
		}
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestErrors(t *testing.T) {
	if err := HTML(io.Discard, Input{}); !errors.Is(err, ErrNoSummary) {
		t.Errorf("no summary: %v", err)
	}
	if err := Markdown(io.Discard, Input{}); !errors.Is(err, ErrNoSummary) {
		t.Errorf("no summary: %v", err)
	}
	in := input(names...)
	if !errors.Is(HTML(full{}, in), io.ErrShortWrite) || !errors.Is(Markdown(full{}, in), io.ErrShortWrite) {
		t.Error("a full disk is no error")
	}
}

// TestCompared: a run on a card stands beside its simulation, with signed
// errors, what its figures are, and what is not as it should be.
func TestCompared(t *testing.T) {
	in := input("seed", "sticky")
	run := func(latency, switches float64) *fidelity.Run {
		return &fidelity.Run{Workload: "w", Figures: map[string]float64{fidelity.LatencyMean: latency, "model_switches": switches}}
	}
	in.Fidelity = fidelity.Compute(fidelity.Input{Hardware: fidelity.Side{Executor: "sleep", Label: "no <hardware> figures"},
		Closure: fidelity.Closure{Decisions: fidelity.Check{Logs: 2}, Events: fidelity.Check{Logs: 2, Broken: []fidelity.Break{{Log: "cells/x", Seq: 7}}}},
		Cells: []fidelity.CellInput{{Set: map[string]string{"hardware.gpus[0].memory": "8GB"}, Policies: []fidelity.PolicyInput{
			{Policy: "sticky", Simulated: []*fidelity.Run{run(1.02, 7)}, Measured: []*fidelity.Run{run(1, 8)}}}}}})
	var page, md bytes.Buffer
	if err := errors.Join(HTML(&page, in), Markdown(&md, in)); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"Simulated and measured", "<h3>gpus[0].memory = 8GB</h3>", "no &lt;hardware&gt; figures", "<td class=\"num\">&#43;2%</td>", "<td class=\"num\">7</td><td class=\"num\">8</td>", "in 1 of 2 logs", "cells/x differs at event 7"} {
		if !strings.Contains(page.String(), part) {
			t.Errorf("the page lacks %q", part)
		}
	}
	for _, part := range []string{"## Simulated and measured", "| sticky |", "+2%", "cells/x differs at event 7"} {
		if !strings.Contains(md.String(), part) {
			t.Errorf("Markdown lacks %q", part)
		}
	}
	in.Fidelity = nil
	page.Reset()
	if err := HTML(&page, in); err != nil || strings.Contains(page.String(), "Simulated and measured") {
		t.Errorf("a simulation stands beside nothing (%v)", err)
	}
}
