package importers

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/workloads"
	"github.com/vramsim/vramsim/workloads/tracestats"
)

// recorded returns the folder of recorded traces, or skips.
func recorded(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("VRAMSIM_TRACES")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "traces")
	}
	if _, err := os.Stat(filepath.Join(dir, "MANIFEST.json")); err != nil {
		if os.Getenv("VRAMSIM_TRACES_REQUIRED") == "1" {
			t.Fatalf("recorded traces not found: %v", err)
		}
		t.Skipf("recorded traces not found: %v", err)
	}
	return dir
}

func readJSON(t *testing.T, name string, into any) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	in := json.NewDecoder(bytes.NewReader(data))
	in.UseNumber()
	if err := in.Decode(into); err != nil {
		t.Fatal(err)
	}
}

var golden = []struct {
	file, format string
	opt          Options
}{
	{"gentd26/lora_request_trace_before_2024-12-01.csv.gz", "gentd26", Options{}},
	{"azure/AzureLLMInferenceTrace_code.csv", "azure-llm", Options{}},
	{"burstgpt/burstgpt_1_first400.csv", "burstgpt", Options{}},
	{"arena27/vtc_real_trace_0-300s.csv", "csv", Options{Preset: "arena27"}},
	{"disb/REAL.json", "disb", Options{}},
	{"disb/A.json", "disb", Options{}},
	{"disb/B.json", "disb", Options{}},
	{"disb/C.json", "disb", Options{}},
}

// Every key of golden.json, exactly; features to 10⁻⁶.
func TestGolden(t *testing.T) {
	dir := recorded(t)
	var all map[string]map[string]any
	readJSON(t, filepath.Join(dir, "golden.json"), &all)
	var manifest []struct{ File, SHA256 string }
	readJSON(t, filepath.Join(dir, "MANIFEST.json"), &manifest)
	for _, test := range golden {
		t.Run(test.file, func(t *testing.T) {
			path := filepath.Join(dir, filepath.FromSlash(test.file))
			report, err := Inspect(path, test.format, test.opt)
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(manifest, func(m struct{ File, SHA256 string }) bool { return m.File == test.file })
			if i < 0 || report.SHA256 != manifest[i].SHA256 {
				t.Errorf("the SHA-256 is %s", report.SHA256)
			}
			compare(t, report, all[test.file])
			if features, has := all[test.file]["features"]; has {
				compareFeatures(t, path, test.format, test.opt, features.(map[string]any))
			}
		})
	}
}

func compare(t *testing.T, report *Report, want map[string]any) {
	t.Helper()
	data, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	in := json.NewDecoder(bytes.NewReader(data))
	in.UseNumber()
	if err := in.Decode(&got); err != nil {
		t.Fatal(err)
	}
	for key, w := range want {
		if key == "features" {
			continue
		}
		if g, has := got[key]; !has || spell(g) != spell(w) {
			t.Errorf("%s is %v, want %v", key, spell(g), spell(w))
		}
	}
}

// spell makes 377308.0 and 377308 the same text.
func spell(v any) string {
	data, _ := json.Marshal(v)
	return strings.TrimSuffix(string(data), ".0")
}

// features computes the statistics of what an import gives as a source.
func features(t *testing.T, path, format string, opt Options) tracestats.Features {
	t.Helper()
	trace, _, err := Open(path, format, opt, workloads.TraceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var catalogue []string
	for _, m := range trace.Models() {
		catalogue = append(catalogue, m.Name)
	}
	source, err := trace.Source(catalogue, nil)
	if err != nil {
		t.Fatal(err)
	}
	var times []scheduler.Time
	var models []int
	for {
		events, err := source.Next()
		if err == io.EOF {
			return tracestats.Of(times, models)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, ev := range events {
			if ev.Kind == scheduler.ItemArrived {
				times, models = append(times, ev.At), append(models, int(ev.Model))
			}
		}
	}
}

func compareFeatures(t *testing.T, path, format string, opt Options, want map[string]any) {
	t.Helper()
	got := features(t, path, format, opt)
	for name, value := range want {
		w, _ := value.(json.Number).Float64()
		g, has := got.Value(name)
		if !has || math.Abs(g-w) > 1e-6 {
			t.Errorf("%s is %v, want %v", name, g, w)
		}
	}
	for _, f := range got {
		if _, has := want[f.Name]; !has && !strings.HasPrefix(f.Name, "wcv") {
			t.Errorf("%s is %v, and not in the golden file", f.Name, f.Value)
		}
	}
}

// The statistic of the contract's table that is no golden key.
func TestWindowCV(t *testing.T) {
	dir := recorded(t)
	for _, test := range []struct {
		file, format, name string
		want               float64
	}{
		{"gentd26/lora_request_trace_before_2024-12-01.csv.gz", "gentd26", "wcv600", .886},
		{"arena27/vtc_real_trace_0-300s.csv", "arena27", "wcv60", 1.07},
		{"azure/AzureLLMInferenceTrace_code.csv", "azure-llm", "wcv60", 3.16},
	} {
		got, has := features(t, filepath.Join(dir, test.file), test.format, Options{}).Value(test.name)
		if !has || math.Abs(got/test.want-1) > 0.005 {
			t.Errorf("%s of %s is %v, want %v", test.name, test.format, got, test.want)
		}
	}
}

func mini(parts ...string) string { return filepath.Join(append([]string{"testdata"}, parts...)...) }

// The miniatures hold every quirk of their format; beside each lies the trace
// that it must give.
func TestMiniatures(t *testing.T) {
	tests := []struct {
		name, file, format string
		opt                Options
	}{
		{"gentd26", "mini.csv", "gentd26", Options{}},
		{"gentd26", "mini.csv", "gentd26", Options{Service: Service{Exec: true}, Status: "succeed", ModelKey: "base+nlora"}},
		{"csv", "burstgpt.csv", "burstgpt", Options{}},
		{"csv", "azure.csv", "csv", Options{Preset: "azure-llm", Service: Service{Base: 50e6, In: 2e5, Out: 2e7}}},
		{"csv", "clockwork.tsv", "clockwork-tsv", Options{}},
		{"csv", "novita", "novita-dir", Options{}},
		{"csv", "mapped.csv", "csv", Options{Map: mapped(t)}},
		{"disb", "mini.json", "disb", Options{Seed: 7}},
	}
	for i, test := range tests {
		var out bytes.Buffer
		report, err := Import(&out, mini(test.name, test.file), test.format, test.opt)
		if err != nil {
			t.Errorf("%s: %v", test.file, err)
			continue
		}
		text, err := json.Marshal(report)
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprintf("%s%s\n", out.String(), text)
		name := mini(test.name, fmt.Sprintf("expected.%d.txt", i))
		if os.Getenv("VRAMSIM_REWRITE") == "1" {
			if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s gives\n%s\nwant\n%s", test.file, got, want)
		}
		checkImport(t, test.file, out.Bytes(), report)
	}
}

// checkImport holds of every import: it reads back, starts at 0, and the
// report says what is in it.
func checkImport(t *testing.T, name string, data []byte, report *Report) {
	t.Helper()
	trace, err := workloads.Open(name, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }, workloads.TraceOptions{})
	if err != nil {
		t.Errorf("%s does not read back: %v", name, err)
		return
	}
	first, last := trace.Span()
	if first != 0 || last != report.LastAt || trace.Items() != report.Emitted || len(trace.Models()) != report.Models {
		t.Errorf("%s: from %v to %v, %d items, report %+v", name, first, last, trace.Items(), report)
	}
}

func mapped(t *testing.T) *Map {
	t.Helper()
	data, err := os.ReadFile(mini("csv", "mapped.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := ParseMap(data)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Broken inputs: what is refused, where, and what the message says.
func TestBroken(t *testing.T) {
	const head = "req_id,model,arrival_s,prompt_tokens,output_tokens\n"
	tests := []struct {
		name, format, text string
		line, column       int
		says               string
	}{
		{"empty", "arena27", "", 0, 0, "empty"},
		{"trace-syntax-10", "arena27", head + "0,\"m,0.5,1,1\n1,m,0.6,1,1\n", 2, 3, "does not end"},
		{"trace-syntax-11 missing", "arena27", head + "0,m,0.5,1,1\n1,m,0.6,1\n", 3, 9, "4 columns"},
		{"trace-syntax-11 extra", "arena27", head + "0,m,0.5,1,1,9\n", 2, 11, "6 columns"},
		{"trace-syntax-12 missing", "arena27", "model,prompt_tokens,output_tokens\nm,1,1\n", 1, 1, `"arrival_s" is missing; found "model", "prompt_tokens"`},
		{"trace-syntax-12 twice", "arena27", "model,arrival_s,model\n", 1, 17, "twice"},
		{"trace-syntax-13 semicolon", "arena27", strings.ReplaceAll(head, ",", ";") + "0;m;0;1;1\n", 1, 1, "semicolons"},
		{"trace-syntax-13 tab", "arena27", strings.ReplaceAll(head, ",", "\t") + "0\tm\t0\t1\t1\n", 1, 1, "tabs"},
		{"trace-syntax-14", "arena27", "\xff\xfer\x00", 1, 1, "UTF-16"},
		{"trace-syntax-09", "arena27", head + "0,m\x01,0.5,1,1\n", 2, 1, `\x01`},
		{"numbers-01", "arena27", head + "0,m,nan,1,1\n", 2, 5, "not a finite"},
		{"numbers-01 inf", "arena27", head + "0,m,+Infinity,1,1\n", 2, 5, "not a finite"},
		{"numbers-01 large", "arena27", head + "0,m,1e400,1,1\n", 2, 5, "too large"},
		{"numbers-01 hex", "arena27", head + "0,m,0x1p-2,1,1\n", 2, 5, "decimal number"},
		{"numbers-02", "arena27", head + "0,m,-1,1,1\n", 2, 5, "negative"},
		{"numbers-09", "arena27", head + "0,m,\"1,000\",1,1\n", 2, 5, "decimal number"},
		{"numbers-09 full-width", "arena27", head + "0,m,１,1,1\n", 2, 5, "decimal number"},
		{"bad quote", "arena27", head + "0,m\"x\",0,1,1\n", 2, 3, "quote"},
		{"after quote", "arena27", head + "0,\"m\"x,0,1,1\n", 2, 3, "after the end of a quote"},
		{"no model", "arena27", head + "0,,0,1,1\n", 2, 1, "no model"},
		{"nothing left", "arena27", head, 0, 0, "none of the 0 rows"},
		{"bad date", "azure-llm", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-13-16 18:17:03.97,1,1\n", 2, 1, "a date like"},
		{"too fine a date", "azure-llm", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.1234567891,1,1\n", 2, 1, "a date like"},
		{"cut JSON", "disb", `{"time": 3, "tasks": [`, 1, 23, "cut off"},
		{"trailing", "disb", `{"time": 3, "tasks": [{"load":{"type":"continuous"},"client":{"model_name":"m"}}]} x`, 1, 84, "after the end"},
		{"fractional ms", "disb", `{"time": 3, "tasks": [{"load":{"type":"trace","trace":[1.5]},"client":{"model_name":"m"}}]}`, 1, 56, "integer milliseconds"},
		{"numbers-09 quoted", "disb", `{"time": 3, "tasks": [{"load":{"type":"trace","trace":[1,"2"]},"client":{"model_name":"m"}}]}`, 1, 58, `has "2" at trace[1]`},
		{"numbers-09 quoted time", "disb", `{"time": "3", "tasks": [{"load":{"type":"trace","trace":[1]},"client":{"model_name":"m"}}]}`, 1, 10, "a number of seconds"},
		{"trace-syntax-07", "disb", "{\"time\": 3,\n \"Time\": 4, \"tasks\": []}", 2, 2, `"Time" stands there twice`},
		{"trace-syntax-07 below", "disb", `{"time": 3, "tasks": [{"id": "a", "load": {"type": "trace", "trace": [1], "trace": [2]}}]}`, 1, 75, `"trace" stands there twice`},
		{"trace-syntax-14 JSON", "disb", "\xff\xfe{\x00", 1, 1, "UTF-16"},
		{"disb no tasks", "disb", `{"time": 3, "tasks": []}`, 1, 22, "no tasks"},
		{"graph-01 disb", "disb", `{"time":3,"tasks":[{"id":"a","load":{"type":"trace","trace":[1]},"client":{"model_name":"m"}},
			{"id":"a","load":{"type":"trace","trace":[1]},"client":{"model_name":"m"}}]}`, 2, 10, "task 0"},
		{"graph-02 disb", "disb", `{"time":3,"tasks":[{"id":"a","load":{"type":"dependent","prev_task_ids":["b"]},"client":{"model_name":"m"}}]}`, 1, 74, `waits for "b", which is not there`},
		{"control character", "disb", `{"time":3,"tasks":[{"id":"a\u0007","load":{"type":"trace","trace":[1]},"client":{"model_name":"m"}}]}`, 1, 20, `\a`},
		{"disb cycle", "disb", `{"time":3,"tasks":[{"id":"a","load":{"type":"dependent","prev_task_ids":["b"]},"client":{"model_name":"m"}},
			{"id":"b","load":{"type":"dependent","prev_task_ids":["a"]},"client":{"model_name":"m"}}]}`, 2, 58, "a after b after a"},
		{"only closed", "disb", `{"time": 3, "tasks": [{"load":{"type":"continuous"},"client":{"model_name":"m"}}]}`, 0, 0, "none of the 0 rows"},
		{"unknown load", "disb", `{"time": 3, "tasks": [{"load":{"type":"bursty"},"client":{"model_name":"m"}}]}`, 1, 39, "bursty"},
	}
	for _, test := range tests {
		name := filepath.Join(t.TempDir(), "broken")
		if err := os.WriteFile(name, []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		_, err := Import(&out, name, test.format, Options{})
		var e *workloads.TraceError
		if !errors.As(err, &e) || e.Line != test.line || e.Column != test.column || !strings.Contains(e.What, test.says) || e.File != name {
			t.Errorf("%s: got %v, want line %d, column %d and %q", test.name, err, test.line, test.column, test.says)
		}
		if out.Len() > 0 {
			t.Errorf("%s: something was written: %q", test.name, out.String())
		}
	}
}

// Reordered columns, byte order marks, CRLF and a missing last newline change
// nothing; numbers-10.
func TestVariants(t *testing.T) {
	base := "model,arrival_s,prompt_tokens,output_tokens\nm,0,1,2\n\"n\",1.5,3,4\n"
	var want string
	for _, text := range []string{base, "\ufeff" + base, strings.ReplaceAll(base, "\n", "\r\n"), strings.TrimSuffix(base, "\n"),
		"x,arrival_s,model,output_tokens,prompt_tokens\n1,-0,m,2,1\n2,1.5,n,4,3\n", strings.Replace(base, "m,0", "m,1e-400", 1)} {
		name := filepath.Join(t.TempDir(), "v.csv")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		trace, report, err := Open(name, "arena27", Options{}, workloads.TraceOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprint(report.Extra)
		trace.Each(func(item *workloads.Item) error {
			item.ID = ""
			got += fmt.Sprintf("%+v", *item)
			return nil
		})
		if want == "" {
			want = got
		}
		if got != want {
			t.Errorf("%q gives\n%s\nwant\n%s", text, got, want)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for name, opt := range map[string]Options{
		"nothing": {}, "csv": {}, "gentd26": {Seed: 1}, "disb": {Status: "x"}, "vidur": {Preset: "vidur"},
	} {
		var e *FormatError
		if _, err := Inspect(mini("csv", "azure.csv"), name, opt); !errors.As(err, &e) {
			t.Errorf("%s %+v: %v", name, opt, err)
		}
	}
	for text, want := range map[string]Service{"exec": {Exec: true}, "base=50ms,in=0.2ms,out=20ms": {Base: 50e6, In: 2e5, Out: 2e7}, "out=1s": {Out: 1e9}} {
		got, err := ParseService(text)
		if again, _ := ParseService(got.String()); err != nil || got != want || again != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "in", "in=1", "in=1s,in=2s", "idle=1s"} {
		if _, err := ParseService(text); err == nil {
			t.Errorf("%q was read", text)
		}
	}
	for _, text := range []string{"time: {column: t}", "time: {column: t, unit: s}", "time: {column: t, unit: parsec}\nmodel: {const: m}",
		"time: {column: t, unit: s}\nmodel: {const: m}\ncolour: red", "time: {column: t, unit: s}\nmodel: {const: m}\ndrop: [{column: t, when: big, reason: r}]"} {
		if _, err := ParseMap([]byte(text)); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}

func TestMembersAreNamed(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x.csv"), []byte("a\n1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Inspect(dir, "arena27", Options{})
	var e *workloads.TraceError
	if !errors.As(err, &e) || e.File != filepath.ToSlash(dir)+"/x.csv" {
		t.Errorf("got %v", err)
	}
}

func TestFolderDigest(t *testing.T) {
	report, err := Inspect(mini("csv", "novita"), "novita-dir", Options{})
	if err != nil {
		t.Fatal(err)
	}
	lines := ""
	for _, name := range []string{"a.csv", "b.csv"} {
		data, err := os.ReadFile(mini("csv", "novita", name))
		if err != nil {
			t.Fatal(err)
		}
		digest := fmt.Sprintf("%x", sha256.Sum256(data))
		lines += digest + "  " + name + "\n"
		if report.Files[name] != digest {
			t.Errorf("%s has the digest %s, want %s", name, report.Files[name], digest)
		}
	}
	if want := fmt.Sprintf("%x", sha256.Sum256([]byte(lines))); report.SHA256 != want {
		t.Errorf("digest %s, want %s", report.SHA256, want)
	}
}

// fuzz imports what the fuzzer writes: errors must have a place, results must
// be traces.
func fuzz(f *testing.F, format string, opt Options, seeds ...string) {
	for _, s := range seeds {
		data, err := os.ReadFile(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		name := filepath.Join(t.TempDir(), "fuzz")
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		opt := opt
		opt.MaxBytes = 1 << 20
		report, err := Import(&out, name, format, opt)
		if err != nil {
			if out.Len() > 0 {
				t.Fatalf("%v after %d bytes", err, out.Len())
			}
			return
		}
		checkImport(t, "fuzz", out.Bytes(), report)
	})
}

func FuzzCSV(f *testing.F) { fuzz(f, "burstgpt", Options{}, mini("csv", "burstgpt.csv")) }
func FuzzDates(f *testing.F) {
	fuzz(f, "azure-llm", Options{Service: Service{In: 1, Out: 1e18}}, mini("csv", "azure.csv"))
}
func FuzzGenTD26(f *testing.F) {
	fuzz(f, "gentd26", Options{Service: Service{Exec: true}}, mini("gentd26", "mini.csv"))
}
func FuzzDISB(f *testing.F) { fuzz(f, "disb", Options{}, mini("disb", "mini.json")) }

// numbers-08: what is rounded is counted and told, here and in the report.
func TestRoundedTimesAreTold(t *testing.T) {
	const head = "model,arrival_s,prompt_tokens,output_tokens\n"
	for text, want := range map[string]int64{"m,0.5,1,1\n": 0, "m,1e-12,1,1\nm,0.5,1,1\nm,0.6000000005,1,1\n": 2, "m,0.1000000000,1,1\n": 0, "m,-0,1,1\n": 0} {
		name := filepath.Join(t.TempDir(), "rounded.csv")
		if err := os.WriteFile(name, []byte(head+text), 0o600); err != nil {
			t.Fatal(err)
		}
		report, err := Inspect(name, "arena27", Options{})
		if err != nil || report.Rounded != want || (len(report.Warnings()) > 0) != (want > 0) {
			t.Errorf("%q: %+v, %v, want %d rounded", text, report, err, want)
			continue
		}
		data, err := json.Marshal(report)
		if err != nil || strings.Contains(string(data), "rounded_times") != (want > 0) {
			t.Errorf("%q: the report is %s, %v", text, data, err)
		}
	}
}

// FuzzMap: a map that is accepted is written, as the report shows it, so that it
// reads back as the same.
func FuzzMap(f *testing.F) {
	data, err := os.ReadFile(mini("csv", "mapped.yaml"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte("time: {end: {column: e, unit: s}, duration: {column: d, unit: ms}}\nmodel: {file_name: true}\ndelimiter: \"\\t\"\ndrop: [{column: a, when: \"!= 3\", reason: r}]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseMap(data)
		if err != nil {
			return
		}
		text, err := yaml.MarshalWithOptions(m, yaml.JSON())
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseMap(text)
		if err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		if !reflect.DeepEqual(m, again) {
			t.Fatalf("%+v becomes %+v by %s", m, again, text)
		}
	})
}
