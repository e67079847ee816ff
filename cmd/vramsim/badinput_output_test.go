package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vramsim/vramsim/results/charts"
	"github.com/vramsim/vramsim/results/rundir"
)

func badOutputs() []badInput {
	name := func(text string) given { return given{trace: goodTrace, edits: []string{"name: bad", "name: " + text}} }
	model := func(text string) given {
		return given{trace: goodTrace, edits: []string{"  qwen3: {", "  " + text + ": {"}}
	}
	return []badInput{
		{"output-01", "", []int{exitOK}, testHostileModel(`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`)},
		{"output-02", "", []int{exitOK}, testHostileModel(`javascript:alert(1)`, `javascript&colon;alert(1)`)},
		refused("output-03", "model", model(`"qwen\x1b3"`), `error: bad.yaml:7:3: a model's name contains the control character \x1b`),
		refused("output-03", "raw", model("qwen\x1b3"), `error: bad.yaml:7:7: control character U+001B`),
		refused("output-03", "trace", given{trace: traceHead + item(`a\u001b]0;x\u0007`, "0", "")}, `error: t.jsonl:2:7: `, `holds the control character '\x1b'`),
		{"output-03", "library", nil, testEscapeInChart},
		refused("output-04", "name", name(`"a\x1b[31mb"`), `error: bad.yaml:2:7: name contains the control character \x1b`),
		refused("output-04", "newline", name(`"a\nb"`), `error: bad.yaml:2:7: name contains the control character \n`),
		refused("output-04", "policy", given{trace: goodTrace, edits: []string{"{use: sticky}", `{use: sticky, as: "s\x9b31m"}`}}, `error: bad.yaml:10:`, `contains the control character`),
		refused("output-04", "tenant", given{trace: traceHead + item("a", "0", `,"tenant":"t\nu"`)}, `error: t.jsonl:2:48: `, `holds the control character '\n'`),
		refused("output-04", "argument", bare(given{trace: goodTrace, args: []string{"run", "no\x1b[31m.yaml"}}), `no\x1b[31m.yaml`),
		{"output-05", "", []int{exitOK}, testFormulas},
		{"output-06", "", []int{exitOK}, testExisting},
		{"output-06", "not a folder", []int{exitUsage}, testUnwritable},
		{"output-07", "", []int{exitOK}, testEmptyCharts},
		{"output-08", "", []int{exitOK}, testManyPoints},
		{"output-09", "", []int{exitOK}, testOffline},
		{"output-10", "closed", []int{exitUsage}, testClosedOutput},
		{"output-10", "closed pipe", []int{exitUsage}, testClosedPipe},
		{"output-10", "full disk", []int{exitUsage}, testFullReport},
	}
}

// quoted is a name in YAML.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// reported runs the experiment with two models and a policy renamed, with report
// and charts, and returns its run directory.
func reported(t *testing.T, one, two, policy string) *rundir.Dir {
	t.Helper()
	given{trace: strings.ReplaceAll(strings.ReplaceAll(goodTrace, `"whisper"`, fmt.Sprintf("%q", one)), `"qwen3"`, fmt.Sprintf("%q", two)),
		edits: []string{"  whisper:", "  " + quoted(one) + ":", "  qwen3:", "  " + quoted(two) + ":", "{use: sticky}", "{use: sticky, as: " + quoted(policy) + "}",
			"{report: [], charts: []}", "{report: [html, md], charts: [svg]}", "name: bad", "name: bad\nquestion: " + quoted(one)}}.place(t)
	if code, _, stderr := vramsim(t, "run", "bad.yaml", "-o", "out"); code != exitOK {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	dir, err := rundir.Open("out/bad/latest")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var (
	linked  = regexp.MustCompile(`(?i)(src|href|action|url)\s*[=(]\s*["']?([^"'>\s)]*)`)
	handler = regexp.MustCompile(`(?i)<[a-z]+[^>]*\son[a-z]+\s*=`)
)

// harmless fails on a page or picture that a name has got into as markup or as
// the target of a link.
func harmless(t *testing.T, path string, names ...string) {
	t.Helper()
	text := string(contents(t, path))
	if strings.Contains(strings.ToLower(text), "<script") || strings.Contains(text, "<img src=x") || handler.MatchString(text) {
		t.Errorf("%s: text of the user as markup", path)
	}
	for _, m := range linked.FindAllStringSubmatch(text, -1) {
		for _, n := range names {
			if strings.Contains(m[2], n[:10]) {
				t.Errorf("%s: text of the user in %s", path, m[0])
			}
		}
	}
}

func testHostileModel(one, two string) func(t *testing.T) {
	return func(t *testing.T) {
		dir := reported(t, one, two, one)
		files, err := filepath.Glob(dir.Join("charts", "*.svg"))
		if err != nil || len(files) < 3 {
			t.Fatalf("charts %v, %v", files, err)
		}
		for _, path := range append(files, dir.Join("report.html")) {
			harmless(t, path, one, two)
		}
		page := string(contents(t, dir.Join("report.html")))
		escaped := strings.NewReplacer("<", "&lt;", ">", "&gt;", `"`, "&#34;", "&", "&amp;").Replace(one)
		if !strings.Contains(page, escaped) {
			t.Errorf("the page does not show %s", one)
		}
		if !strings.Contains(page, `content="default-src 'none'`) {
			t.Error("the page has no content policy")
		}
		if markdown := string(contents(t, dir.Join("report.md"))); strings.Contains(markdown, "](javascript") {
			t.Error("text of the user as a link in the Markdown")
		}
		code, stdout, stderr := vramsim(t, "replay", dir.Path, "--verify")
		if code != exitOK {
			t.Errorf("verify: exit %d: %s%s", code, stdout, stderr)
		}
	}
}

// testEscapeInChart: a library call does not check names; the picture has no
// control characters all the same.
func testEscapeInChart(t *testing.T) {
	var b bytes.Buffer
	c := charts.Switches(charts.Head{Title: "t\x1b[31m\x00\n"}, []charts.Bar{{Name: "a\x1b", Value: 1}}, 0)
	if err := c.Write(&b, charts.SVG); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(b.String(), "\x1b\x00") || b.Len() < 500 {
		t.Errorf("%q", &b)
	}
}

// testFormulas: no spreadsheet runs a name, and numbers stay numbers.
func testFormulas(t *testing.T) {
	const formula = `=cmd|' /C calc'!A0`
	dir := reported(t, formula, "@SUM(1)", "-x")
	code, items, stderr := vramsim(t, "export", dir.Path, "--to", "csv", "--policy", "-x")
	if code != exitOK {
		t.Fatal(stderr)
	}
	code, table, stderr := vramsim(t, "compare", dir.Path, dir.Path, "--format", "csv")
	if code != exitOK {
		t.Fatal(stderr)
	}
	number := regexp.MustCompile(`^-?[0-9.e+-]+$`)
	for what, text := range map[string]string{"results.csv": string(contents(t, dir.Join("results.csv"))), "export": items, "compare": table} {
		rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
		if err != nil || len(rows) < 2 {
			t.Fatal(what, err)
		}
		guarded := false
		for _, row := range rows {
			for _, cell := range row {
				if cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r") && !number.MatchString(cell) {
					t.Fatalf("%s: a spreadsheet would run %q", what, cell)
				}
				guarded = guarded || strings.HasPrefix(cell, "'"+formula) || strings.HasPrefix(cell, "'-x")
				if strings.HasPrefix(cell, "'") && number.MatchString(cell[1:]) {
					t.Errorf("%s: the number %s is text", what, cell[1:])
				}
			}
		}
		if !guarded {
			t.Errorf("%s: the name is not there, guarded", what)
		}
	}
}

// testExisting: a run never uses a directory again, files are replaced as a
// whole, and what init would overwrite stays.
func testExisting(t *testing.T) {
	given{trace: goodTrace}.place(t)
	for range 3 {
		if code, _, stderr := vramsim(t, "run", "bad.yaml", "-o", "out", "-q"); code != exitOK {
			t.Fatal(stderr)
		}
	}
	if runs, err := filepath.Glob("out/bad/2*"); err != nil || len(runs) != 3 {
		t.Errorf("runs %v, %v", runs, err)
	}
	write(t, "trace.jsonl", "old")
	if code, _, stderr := vramsim(t, "gen", "bad.yaml", "-o", "trace.jsonl", "-q"); code != exitOK {
		t.Fatal(stderr)
	}
	if got := contents(t, "trace.jsonl"); !bytes.HasPrefix(got, []byte(traceHead)) {
		t.Errorf("%q", got)
	}
	write(t, "trace.jsonl", "old")
	write(t, "bad.yaml", strings.Replace(string(contents(t, "bad.yaml")), "t.jsonl", "none.jsonl", 1))
	if code, _, _ := vramsim(t, "gen", "bad.yaml", "-o", "trace.jsonl"); code != exitUsage || string(contents(t, "trace.jsonl")) != "old" {
		t.Errorf("a file that could not be replaced is %q", contents(t, "trace.jsonl"))
	}
	write(t, "templates/mm1.yaml", "mine")
	code, _, stderr := vramsim(t, "init", "templates")
	if code != exitUsage || string(contents(t, "templates/mm1.yaml")) != "mine" {
		t.Errorf("init: exit %d: %s", code, stderr)
	}
}

// testUnwritable: an output directory that is none, or that may not be written.
func testUnwritable(t *testing.T) {
	given{trace: goodTrace, files: map[string]string{"file": "mine", "locked/x": ""}}.place(t)
	outs := []string{"file", "file/below"}
	if runtime.GOOS == "linux" {
		outs = append(outs, "/proc/none") // not even by root
	}
	if os.Geteuid() > 0 {
		if err := os.Chmod("locked", 0o500); err != nil {
			t.Fatal(err)
		}
		outs = append(outs, "locked/below")
	}
	before := tree(t)
	for _, out := range outs {
		code, stdout, stderr := vramsim(t, "run", "bad.yaml", "-o", out)
		if code != exitUsage || stdout != "" || string(contents(t, "file")) != "mine" {
			t.Errorf("--out %s: exit %d: %s%s", out, code, stdout, stderr)
		}
		checkMessage(t, lastError(stderr), []string{"error: mkdir ", "hint: --out names the folder that run directories are made in"}, false)
	}
	for _, args := range [][]string{{"gen", "bad.yaml", "-o", "file/t.jsonl"}, {"gen", "bad.yaml", "-o", "none/t.jsonl"}, {"gen", "bad.yaml", "-o", "locked"}} {
		code, _, stderr := vramsim(t, args...)
		if code != exitUsage {
			t.Errorf("%v: exit %d", args, code)
		}
		checkMessage(t, lastError(stderr), []string{filepath.Dir(args[3])}, false)
	}
	if after := tree(t); !slices.Equal(before, after) {
		t.Errorf("something was written: %v, before %v", after, before)
	}
}

// testEmptyCharts draws every chart of a run that gives it nothing to show.
func testEmptyCharts(t *testing.T) {
	for what, g := range map[string]given{
		"one item, all of it zero": {trace: traceHead + item("a", "0", `,"service_ns":0`), edits: []string{"base: 300ms, per_item: 1.5s", "base: 0s, per_item: 0s", "load: 5s", "load: 0s"}},
		"one item":                 {trace: traceHead + item("a", "0", "")},
		"nothing measured":         {trace: goodTrace, edits: []string{"{trace: t.jsonl}", "{trace: t.jsonl, warmup: 9s, horizon: 9s}"}},
	} {
		g.place(t)
		if code, _, stderr := vramsim(t, "run", "bad.yaml", "-o", "out", "--set", "output.charts=[svg, png]", "--set", "output.report=[html, md]"); code != exitOK && code != exitInvalid {
			t.Errorf("%s: exit %d: %s", what, code, stderr)
			continue
		}
		for _, name := range namesOf(charts.All()) {
			for _, format := range []string{"svg", "pdf"} {
				if code, _, stderr := vramsim(t, "plot", "out/bad/latest", "--chart", name, "-o", name+"."+format); code != exitOK {
					t.Errorf("%s, %s.%s: exit %d: %s", what, name, format, code, stderr)
				} else if format == "svg" && !bytes.Contains(contents(t, name+".svg"), []byte("</svg>")) {
					t.Errorf("%s: %s is no picture", what, name)
				}
			}
		}
		for _, name := range slices.Concat(namesOf(charts.Hardware()), namesOf(charts.Compared())) {
			if code, _, stderr := vramsim(t, "plot", "out/bad/latest", "--chart", name); code != exitUsage || !strings.Contains(stderr, "is a simulation") {
				t.Errorf("%s, %s: exit %d: %s", what, name, code, stderr)
			}
		}
		if what == "one item, all of it zero" && !bytes.Contains(contents(t, "ccdf.svg"), []byte("no data")) {
			t.Errorf("%s: a logarithmic axis from 0 does not say that there is no data", what)
		}
	}
}

// testManyPoints: a chart of ten million points is thinned and says so.
func testManyPoints(t *testing.T) {
	points := make([]charts.Point, 10_000_000)
	for i := range points {
		points[i] = charts.Point{X: float64(i+1) / 1e3, Y: 1 - float64(i)/float64(len(points))}
	}
	var b bytes.Buffer
	if err := charts.CCDF(charts.Head{Title: "latency"}, []charts.Curve{{Name: "a", Points: points}}).Write(&b, charts.SVG); err != nil {
		t.Fatal(err)
	}
	if b.Len() > 5_000_000 || !strings.Contains(b.String(), "of 10,000,000 points") {
		t.Errorf("%d bytes, or no word of what is left out", b.Len())
	}
}

// testOffline: nothing on the page is fetched from elsewhere.
func testOffline(t *testing.T) {
	dir := reported(t, "http://example.com/a.png", "//example.com", "https://example.com")
	page := string(contents(t, dir.Join("report.html")))
	for _, m := range linked.FindAllStringSubmatch(page, -1) {
		if !strings.HasPrefix(m[2], "#") && !strings.HasPrefix(m[2], "data:image/") {
			t.Errorf("the page refers to %s", m[0])
		}
	}
	if strings.Contains(page, "@import") || strings.Contains(page, "<link") || strings.Contains(page, "<iframe") {
		t.Error("the page fetches something")
	}
}

// brokenPipe fails each write after the first n bytes.
type brokenPipe struct{ n int }

func (p *brokenPipe) Write(b []byte) (int, error) {
	if len(b) > p.n {
		n := p.n
		p.n = 0
		return n, syscall.EPIPE
	}
	p.n -= len(b)
	return len(b), nil
}

// testClosedOutput: every verb that prints says so when it cannot, with exit 2,
// and leaves its run as it would be.
func testClosedOutput(t *testing.T) {
	dir := reported(t, "one", "two", "three")
	for _, n := range []int{0, 10} {
		for _, args := range [][]string{
			{"run", "bad.yaml", "-o", "again"}, {"run", "bad.yaml", "-o", "again", "--format", "json"}, {"run", "bad.yaml", "--dry-run"}, {"compare", dir.Path, dir.Path}, {"compare", dir.Path, dir.Path, "--format", "md"},
			{"export", dir.Path, "--to", "csv"}, {"export", dir.Path, "--to", "jsonl"}, {"export", dir.Path, "--to", "perfetto"}, {"list", "policies"}, {"schema"}, {"gen", "bad.yaml"},
			{"check", "bad.yaml"}, {"replay", dir.Path, "--verify"}, {"version"}, {"--help"},
		} {
			var stderr bytes.Buffer
			code := run(context.Background(), args, strings.NewReader(""), &brokenPipe{n}, &stderr)
			if code != exitUsage || !strings.Contains(stderr.String(), "error: broken pipe") {
				t.Errorf("%v: exit %d: %s", args, code, &stderr)
			}
		}
	}
	if code, stdout, stderr := vramsim(t, "replay", "again/bad/latest", "--verify"); code != exitOK {
		t.Errorf("the logs of a run without output: exit %d: %s%s", code, stdout, stderr)
	}
}

// testClosedPipe is the same in a process: no signal ends it.
func testClosedPipe(t *testing.T) {
	given{trace: goodTrace}.place(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer w.Close()
	c := child(t, nil, "run", "bad.yaml", "-o", "out", "-q")
	var stderr bytes.Buffer
	c.Stdout, c.Stderr = w, &stderr
	var exit *exec.ExitError
	if err := c.Run(); !errors.As(err, &exit) || exit.ExitCode() != exitUsage {
		t.Errorf("%v: %s", err, &stderr)
	}
	checkMessage(t, stderr.String(), nil, false)
	if code, _, stderr := vramsim(t, "replay", "out/bad/latest", "--verify"); code != exitOK {
		t.Errorf("verify: exit %d: %s", code, stderr)
	}
}

// testFullReport: the disk fills up while the report is written. No half of it
// stays, the logs are whole, and it can be built later.
func testFullReport(t *testing.T) {
	dir := reported(t, "one", "two", "three")
	report := dir.Join("report.html")
	size := len(contents(t, report))
	largest := 0
	err := filepath.WalkDir(dir.Path, func(path string, entry os.DirEntry, err error) error {
		if info, infoErr := entry.Info(); err == nil && infoErr == nil && !entry.IsDir() && path != report {
			largest = max(largest, int(info.Size()))
		}
		return err
	})
	if err != nil || size < 4*1024 {
		t.Fatal(size, err)
	}
	blocks := size/512 - 2
	if blocks*512 < largest {
		t.Fatalf("the report of %d bytes is not the largest file; %d", size, largest)
	}
	var stderr bytes.Buffer
	c := limited(t, blocks, "run", "bad.yaml", "-o", "full", "-q")
	c.Stderr = &stderr
	var exit *exec.ExitError
	if err := c.Run(); !errors.As(err, &exit) || exit.ExitCode() != exitUsage {
		t.Fatalf("%v: %s", err, &stderr)
	}
	checkMessage(t, stderr.String(), []string{"report.html", "file too large"}, false)
	full, err := rundir.Open("full/bad/latest")
	if err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(full.Join("*report*"))
	hidden, hiddenErr := filepath.Glob(full.Join(".*"))
	if err != nil || hiddenErr != nil || len(left)+len(hidden) > 0 {
		t.Errorf("left over: %v %v", left, hidden)
	}
	if code, _, stderr := vramsim(t, "replay", full.Path, "--verify"); code != exitOK {
		t.Errorf("verify: exit %d: %s", code, stderr)
	}
	if code, _, stderr := vramsim(t, "report", full.Path); code != exitOK || len(contents(t, full.Join("report.html"))) < 4*1024 {
		t.Errorf("report: exit %d: %s", code, stderr)
	}
}

func badStatistics() []badInput {
	return []badInput{
		{"statistics-01", "", []int{exitInvalid}, testUnstable},
		{"statistics-02", "", []int{exitInvalid}, testNoSteadyState},
		{"statistics-03", "", []int{exitOK}, testFewSamples},
		{"statistics-04", "", []int{exitOK, exitInvalid}, testUnfinished},
	}
}

// queue is an experiment of one model with random arrivals and services.
func oneQueue(rate, rest string) given {
	return given{edits: []string{"replicates: 1", "replicates: 2", "workload: {trace: t.jsonl}", "workload: {" + rest + ", arrivals: {poisson: {rate: " + rate + "}}, streams: {models: [whisper]}}",
		"batch: {max: 8, base: 300ms, per_item: 1.5s}", "batch: {max: 1, time: {exp: {mean: 1s}}}", "[{use: seed}, {use: sticky}]", "[{use: fifo}]"}}
}

// invalid runs an experiment that shows no steady state and checks that no mean
// of a latency is printed; reason must stand in the table, the summary and the
// manifest.
func invalid(t *testing.T, g given, reason *regexp.Regexp) {
	t.Helper()
	g.place(t)
	code, stdout, stderr := vramsim(t, "run", "bad.yaml", "-o", "out")
	if code != exitInvalid || !reason.MatchString(stderr) || !strings.Contains(stdout, "INVALID") {
		t.Errorf("exit %d: %s\n%s", code, stderr, stdout)
	}
	for _, name := range []string{"manifest.json", "summary.json"} {
		if text := contents(t, "out/bad/latest/"+name); !reason.Match(text) || !bytes.Contains(text, []byte(`"status": "INVALID"`)) {
			t.Errorf("%s does not say why", name)
		}
	}
	f := runJSON(t, exitInvalid, "bad.yaml")
	latency := f.Cells[0].Policies[0].Metrics["item_latency_seconds"]
	for _, stat := range []string{"mean", "p50", "p99"} {
		if s, ok := latency[stat].(map[string]any); !ok || s["value"] != nil {
			t.Errorf("%s of an invalid run is %v", stat, latency[stat])
		}
	}
}

func testUnstable(t *testing.T) {
	invalid(t, oneQueue("1.5/s", "duration: 3000s"), regexp.MustCompile(`unstable: the backlog still grows by about 0\.[0-9]+ items/s over the last half`))
}

// testNoSteadyState: where the warm-up is to be found and is not, the answer is
// at its boundary; with a stated one, a run that never settles is found by its
// backlog, and one that shows next to nothing by its samples.
func testNoSteadyState(t *testing.T) {
	invalid(t, oneQueue("1.3/s", "duration: 20000s, warmup: auto"), regexp.MustCompile(`no steady state found`))
	invalid(t, oneQueue("1/s", "items: 6, warmup: auto"), regexp.MustCompile(`no steady state found`))
	invalid(t, oneQueue("1.3/s", "duration: 20000s, warmup: 10000s"), regexp.MustCompile(`unstable: the backlog still grows`))
	invalid(t, oneQueue("1/s", "duration: 100s, warmup: 99.9999s"), regexp.MustCompile(`too few samples`))
}

// testFewSamples: one replicate with few items gives no interval for p99, and
// says that the figure is of this trace.
func testFewSamples(t *testing.T) {
	given{trace: goodTrace}.place(t)
	f := runJSON(t, exitOK, "bad.yaml")
	p99 := f.Cells[0].Policies[0].Metrics["item_latency_seconds"]["p99"].(map[string]any)
	if ci, has := p99["ci95"]; !has || ci != nil {
		t.Errorf("p99 of four items is %v", p99)
	}
	code, stdout, _ := vramsim(t, "run", "bad.yaml", "-o", "out")
	if code != exitOK || !strings.Contains(stdout, "one replicate") && !strings.Contains(stdout, "1 replicate") && !strings.Contains(stdout, "this trace") {
		t.Errorf("nothing says that there is one replicate:\n%s", stdout)
	}
}

// testUnfinished: a horizon cuts the run; what is left is counted and withheld.
func testUnfinished(t *testing.T) {
	given{trace: goodTrace, edits: []string{"{trace: t.jsonl}", "{trace: t.jsonl, horizon: 10s}"}}.place(t)
	code, stdout, stderr := vramsim(t, "run", "bad.yaml", "-o", "out", "--format", "json")
	if code != exitInvalid || !strings.Contains(stderr, "truncated: ") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	f := decoded(t, stdout)
	m := f.Cells[0].Policies[0].Metrics
	sum := 0.0
	for _, name := range []string{"items_completed", "items_unfinished"} {
		v := value(t, f, 0, name, "value")
		if sum += v; math.IsNaN(v) || v == 0 {
			t.Errorf("%s is %v", name, v)
		}
	}
	if sum != 4 || m["item_latency_seconds"]["mean"].(map[string]any)["value"] != nil {
		t.Errorf("%v items; the mean latency is %v", sum, m["item_latency_seconds"]["mean"])
	}
	// One unfinished item of many is censored: the mean stands, over more than
	// those that finished.
	given{edits: []string{"{trace: t.jsonl}", "{trace: t.jsonl, horizon: 1000s}", "[{use: seed}, {use: sticky}]", "[{use: fifo}]"}}.place(t)
	many(t, 500, func(b []byte, i int) []byte {
		return appendItem(b, i, fmt.Sprintf(`,"at_ns":%d,"service_ns":1`, i*2_000_000_000))
	})
	data := contents(t, "t.jsonl")
	write(t, "t.jsonl", string(data)+item("late", "999000000000", `,"service_ns":900000000000`))
	f = runJSON(t, exitOK, "bad.yaml")
	if left := value(t, f, 0, "items_unfinished", "value"); left != 1 {
		t.Errorf("%v unfinished", left)
	}
	if n := value(t, f, 0, "item_latency_seconds", "n"); n != 501 {
		t.Errorf("the latencies are of %v items; the censored one is left out", n)
	}
}
