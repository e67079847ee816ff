package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// badInput is one form of an input of the reference list bad_inputs.json; the
// same id may have several. check runs it through the command.
type badInput struct {
	id, form string
	exits    []int // that the command may end with here; each must be right by the list. None: what the list makes an exception of
	check    func(t *testing.T)
}

// TestBadInput runs every form of every input that the list has for traces,
// experiments, logs, outputs and workers.
func TestBadInput(t *testing.T) {
	for _, group := range [][]badInput{badTraces(), badNumbers(), badGraphs(), badConfigs(), badSizes(), badLogs(), badOutputs(), badStatistics(), badNetwork(), badWorkers()} {
		for _, c := range group {
			t.Run(strings.TrimSpace(c.id+" "+c.form), c.check)
		}
	}
}

// elsewhere says which groups of the list are no part of this command yet.
func elsewhere() map[string]string {
	return map[string]string{
		"policy-script": "policies are not scripts in this build; experiments with one are refused",
	}
}

// listedInput is an input of bad_inputs.json.
type listedInput struct {
	ID, Group, Verdict, Expected string
	Exit                         []int
}

// TestBadInputIsComplete holds the tests against the list: no id without a
// test, no test without an id, and no exit code that the list does not allow.
func TestBadInputIsComplete(t *testing.T) {
	data, err := os.ReadFile(shared(t, "reference", "bad_inputs.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list struct{ Cases []listedInput }
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Cases) < 80 {
		t.Fatalf("the list has %d inputs", len(list.Cases))
	}
	tests := map[string][]badInput{}
	for _, c := range slices.Concat(badTraces(), badNumbers(), badGraphs(), badConfigs(), badSizes(), badLogs(), badOutputs(), badStatistics(), badNetwork(), badWorkers()) {
		tests[c.id] = append(tests[c.id], c)
	}
	for _, in := range list.Cases {
		if why := elsewhere()[in.Group]; why != "" {
			t.Logf("%s: not in this part: %s", in.ID, why)
			continue
		}
		if len(tests[in.ID]) == 0 {
			t.Errorf("%s has no test: %s", in.ID, in.Expected)
		}
		for _, c := range tests[in.ID] {
			for _, exit := range c.exits {
				if !slices.Contains(in.Exit, exit) {
					t.Errorf("%s %s ends with exit %d; the list allows %v", c.id, c.form, exit, in.Exit)
				}
			}
		}
		delete(tests, in.ID)
	}
	for id := range tests {
		t.Errorf("%s is not on the list", id)
	}
}

// goodExperiment is what the inputs break. It has no chance in it.
const goodExperiment = `version: 1
name: bad
seed: 7
hardware: {host_memory: 0B, gpus: [{name: gpu0, memory: 12GB, safety: 0.9}]}
models:
  whisper: {memory: 4.5GB, batch: {max: 8, base: 300ms, per_item: 1.5s}, load: 5s}
  qwen3: {memory: 7.5GB, batch: {max: 4, base: 200ms, per_item: 500ms}, load: 10s}
workload: {trace: t.jsonl}
replicates: 1
policies: [{use: seed}, {use: sticky}]
output: {report: [], charts: []}
`

const traceHead = `{"vramsim":"trace","version":1}` + "\n"

// item returns a line of a trace, with more fields if given.
func item(id string, at, more string) string {
	return `{"id":"` + id + `","model":"whisper","at_ns":` + at + more + "}\n"
}

// goodTrace has dependencies, ties and two models.
var goodTrace = traceHead + item("a", "0", "") + item("b", "1000000000", `,"priority":2`) +
	`{"id":"c","model":"qwen3","at_ns":1000000000,"after":["a"]}` + "\n" + item("d", "9000000000", `,"work":2.5`)

// given is the folder that a command runs in.
type given struct {
	edits  []string // pairs: a text of goodExperiment, and what stands there instead
	trace  string   // t.jsonl
	files  map[string]string
	args   []string // of the command; run bad.yaml if there are none
	noLine bool     // the message has no line to show
}

// place makes the folder and goes there.
func (g given) place(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	text := goodExperiment
	for i := 0; i < len(g.edits); i += 2 {
		if strings.Count(text, g.edits[i]) != 1 {
			t.Fatalf("%q stands %d times in the experiment", g.edits[i], strings.Count(text, g.edits[i]))
		}
		text = strings.Replace(text, g.edits[i], g.edits[i+1], 1)
	}
	write(t, "bad.yaml", text)
	write(t, "t.jsonl", g.trace)
	for name, content := range g.files {
		write(t, name, content)
	}
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
}

// tree lists what lies below the present folder, with sizes.
func tree(t *testing.T) (names []string) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, entry os.DirEntry, err error) error {
		if err == nil {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func (g given) command() []string {
	if len(g.args) > 0 {
		return g.args
	}
	return []string{"run", "bad.yaml", "-o", "out"}
}

// refused is an input that ends with exit 2, with all of says on standard
// error, a line shown where a place is named, nothing on standard output and
// nothing written.
func refused(id, form string, g given, says ...string) badInput {
	return badInput{id, form, []int{exitUsage}, func(t *testing.T) {
		g.place(t)
		before := tree(t)
		code, stdout, stderr := vramsim(t, g.command()...)
		if code != exitUsage {
			t.Fatalf("exit %d: %s%s", code, stdout, stderr)
		}
		if after := tree(t); !slices.Equal(before, after) {
			t.Errorf("something was written: %v, before %v", after, before)
		}
		if stdout != "" {
			t.Errorf("on standard output: %s", stdout)
		}
		checkMessage(t, stderr, says, !g.noLine)
	}}
}

var placeForm = regexp.MustCompile(`^error: [^ ]+:[0-9]+:[0-9]+: `)

// checkMessage reads a message as a person would.
func checkMessage(t *testing.T, stderr string, says []string, line bool) {
	t.Helper()
	for _, part := range says {
		if !strings.Contains(stderr, part) {
			t.Errorf("the message lacks %q:\n%s", part, stderr)
		}
	}
	if !strings.HasPrefix(stderr, "error: ") || strings.Contains(stderr, "goroutine ") || strings.Contains(stderr, "panic") {
		t.Errorf("no message for a person:\n%s", stderr)
	}
	for _, c := range stderr {
		if c < ' ' && c != '\n' && c != '\t' || c == 0x7f {
			t.Errorf("a raw control character in %q", stderr)
			break
		}
	}
	if line && (!placeForm.MatchString(stderr) || !regexp.MustCompile(`\n  .*\n *\^`).MatchString(stderr)) {
		t.Errorf("no place, or no line with a mark below it:\n%s", stderr)
	}
	if len(stderr) > 20_000 {
		t.Errorf("a message of %d bytes", len(stderr))
	}
}

// accepted is an input that ends with exit 0 and passes what is checked then.
func accepted(id, form string, g given, then func(t *testing.T, stdout, stderr string)) badInput {
	return badInput{id, form, []int{exitOK}, func(t *testing.T) {
		g.place(t)
		code, stdout, stderr := vramsim(t, g.command()...)
		if code != exitOK {
			t.Fatalf("exit %d: %s%s", code, stdout, stderr)
		}
		if then != nil {
			then(t, stdout, stderr)
		}
	}}
}

// same is a trace whose logs are those of another one.
func same(id, form, trace, as string) badInput {
	return badInput{id, form, []int{exitOK}, func(t *testing.T) {
		got, want := digests(t, given{trace: trace}), digests(t, given{trace: as})
		if len(want) != 2 || !slices.Equal(got, want) {
			t.Errorf("logs %v, want %v", got, want)
		}
	}}
}

// digests runs the experiment and returns the digests of its logs.
func digests(t *testing.T, g given) (all []string) {
	t.Helper()
	g.place(t)
	for _, c := range runJSON(t, exitOK, "bad.yaml").Cells {
		for _, p := range c.Policies {
			all = append(all, p.LogDigests...)
		}
	}
	return all
}

// TestWrongArguments: what is wrong on the command line is told like what is
// wrong in a file.
func TestWrongArguments(t *testing.T) {
	for _, c := range []struct {
		args string
		says []string
	}{
		{"run nope.yaml", []string{"error: there is no file or folder nope.yaml"}},
		{"replay nope --verify", []string{"error: there is no file or folder nope"}},
		{"replay . --verify", []string{"error: . is no run directory", "hint: replay takes a run directory"}},
		{"compare nope nope", []string{"error: there is no file or folder nope", "hint: vramsim run leaves"}},
		{"import t.jsonl --as cvs", []string{`error: --as "cvs": there is no such format`, `hint: did you mean "csv"?`}},
		{"import t.jsonl --as nothing-like-it", []string{`hint: formats: csv, disb, gentd26`}},
		{"import t.jsonl --as csv", []string{"error: csv needs a map or a preset", "hint: "}},
		{"import t.jsonl --as csv --map bad.yaml", []string{"error: bad.yaml: map: "}},
		{"import t.jsonl --as disb --status x", []string{"error: disb has no option status"}},
		{"import nope --as disb", []string{"error: there is no file or folder nope"}},
		{"run bad.yaml --set hardware.gpus[0].memroy=8GB", []string{"error: --set:1:1: ", `did you mean "memory"?`}},
		{"run bad.yaml --seed -3", []string{`error: invalid argument "-3" for --seed: expected an integer from 0 to 18446744073709551615`, "hint: "}},
		{"run bad.yaml --seed 18446744073709551616", []string{"expected an integer from 0 to 18446744073709551615; this is out of range"}},
		{"run bad.yaml --jobs x", []string{`error: invalid argument "x" for --jobs: expected an integer`}},
		{"run bad.yaml --quick=x", []string{`error: invalid argument "x" for --quick: expected true or false`}},
		{"run bad.yaml --replicates 0", []string{"error: --replicates 0: at least 1"}},
		{"check bad.yaml --replicates -1", []string{"error: --replicates -1: at least 1"}},
		{"run bad.yaml --jobs 0", []string{"error: --jobs 0: at least 1"}},
		{"plot bad.yaml --chart x", []string{"is no run directory"}},
	} {
		refused("", "", bare(given{trace: goodTrace, args: strings.Fields(c.args)}), c.says...).check(t)
	}
}
