package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vramsim/vramsim/workloads"
)

const arrivals = "model,arrival_s,prompt_tokens,output_tokens\nb,1,1,2\na,0.5,3,4\nb,0.5,5,6\n"

func csvFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "in.csv")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// readTrace returns a native trace as the importer wrote it, uncompressed.
func readTrace(t *testing.T, path string) (lines []string) {
	t.Helper()
	trace, err := workloads.OpenFile(path, workloads.TraceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	err = trace.Each(func(item *workloads.Item) error {
		lines = append(lines, fmt.Sprintf("%s at %d", item.Model, item.At))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// Every form of output holds the same trace, the report stands where it is
// promised, and the digest is that of the source.
func TestImportOutputs(t *testing.T) {
	in := csvFile(t, arrivals)
	want := []string{"a at 0", "b at 0", "b at 500000000"}
	var reports []string
	for _, name := range []string{"x.jsonl", "x.jsonl.gz", "x.jsonl.zst"} {
		out := filepath.Join(t.TempDir(), name)
		for range 2 { // the second time over the first
			if code, stdout, stderr := vramsim(t, "import", in, "--as", "arena27", "-o", out); code != 0 || stdout != "" {
				t.Fatalf("%s: exit %d: %s%s", name, code, stdout, stderr)
			}
		}
		if got := readTrace(t, out); !slices.Equal(got, want) {
			t.Errorf("%s holds %v", name, got)
		}
		report, err := os.ReadFile(out + ".source.json")
		if err != nil {
			t.Fatal(err)
		}
		reports = append(reports, string(report))
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(out), ".*")); len(left) > 0 {
			t.Errorf("%v is left", left)
		}
	}
	code, trace, report := vramsim(t, "import", in, "--as", "arena27", "-o", "-", "-q")
	if code != 0 || strings.Count(trace, "\n") != 4 || !strings.HasPrefix(trace, workloads.Header) {
		t.Errorf("-o -: exit %d, %q", code, trace)
	}
	code, only, _ := vramsim(t, "import", in, "--as", "arena27", "--format", "json")
	if code != 0 {
		t.Errorf("--format json: exit %d", code)
	}
	for _, r := range append(reports, only) {
		if r != report {
			t.Errorf("the reports differ: %s and %s", r, report)
		}
	}
	var keys map[string]any
	digest := fmt.Sprintf("%x", sha256.Sum256([]byte(arrivals)))
	if err := json.Unmarshal([]byte(report), &keys); err != nil || keys["rows_read"] != 3.0 || keys["sha256"] != digest {
		t.Errorf("the report is %s, %v", report, err)
	}
}

func TestImportFromStandardInput(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run(context.Background(), []string{"import", "-", "--as", "arena27"}, strings.NewReader(arrivals), &out, &errs); code != 0 || strings.Count(out.String(), "\n") != 4 {
		t.Errorf("exit %d: %s%s", code, out.String(), errs.String())
	}
	out.Reset()
	errs.Reset()
	code := run(context.Background(), []string{"import", "-", "--as", "arena27"}, strings.NewReader(arrivals+"b,x,1,1\n"), &out, &errs)
	if code != exitUsage || out.Len() > 0 || !strings.Contains(errs.String(), "stdin:5:3: arrival_s") {
		t.Errorf("exit %d: %s%s", code, out.String(), errs.String())
	}
}

// What cannot be written is an error that names the file, and nothing else is
// touched.
func TestImportRefusals(t *testing.T) {
	in, dir := csvFile(t, arrivals), t.TempDir()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-o", dir}, "is a folder"},
		{[]string{"-o", in}, "is the input"},
		{[]string{"-o", filepath.Join(dir, "none", "x.jsonl")}, filepath.Join("none", "x.jsonl") + ": no such file"},
		{[]string{"-o", "-", "--format", "json"}, "cannot both go"},
		{[]string{"--format", "yaml"}, "it is json"},
		{[]string{"--map", filepath.Join(dir, "none.yaml")}, "none.yaml"},
		{[]string{"--status", "x"}, "no option status"},
		{[]string{"--max-bytes", "-1"}, "at least 0"},
	} {
		code, stdout, stderr := vramsim(t, append([]string{"import", in, "--as", "arena27"}, c.args...)...)
		if code != exitUsage || stdout != "" || !strings.Contains(stderr, c.want) {
			t.Errorf("%v: exit %d: %s%s", c.args, code, stdout, stderr)
		}
	}
	if data, err := os.ReadFile(in); err != nil || string(data) != arrivals {
		t.Errorf("the input is %q, %v", data, err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("%s is left", left[0].Name())
	}
	old := filepath.Join(dir, "old.jsonl")
	if err := os.WriteFile(old, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, _ := vramsim(t, "import", csvFile(t, arrivals+"b,x,1,1\n"), "--as", "arena27", "-o", old); code != exitUsage {
		t.Errorf("exit %d", code)
	}
	if data, err := os.ReadFile(old); err != nil || string(data) != "old" {
		t.Errorf("a failed import left %q, %v", data, err)
	}
}

func TestImportMapAndCatalogue(t *testing.T) {
	in, dir := csvFile(t, "t;m\n1500;b\n500;a\n"), t.TempDir()
	mapFile := filepath.Join(dir, "map.yaml")
	if err := os.WriteFile(mapFile, []byte("delimiter: ;\ntime: {column: t, unit: ms}\nmodel: {column: m}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, names := filepath.Join(dir, "x.jsonl"), filepath.Join(dir, "models.csv")
	if code, _, stderr := vramsim(t, "import", in, "--as", "csv", "--map", mapFile, "-o", out, "--catalogue", names); code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	if got := readTrace(t, out); !slices.Equal(got, []string{"a at 0", "b at 1000000000"}) {
		t.Errorf("the trace holds %v", got)
	}
	if data, err := os.ReadFile(names); err != nil || string(data) != "name\na\nb\n" {
		t.Errorf("the catalogue is %q, %v", data, err)
	}
}

// slowly gives rows out of order, n in all, without holding them.
type slowly struct {
	n, at int
	width int // of ids
	text  []byte
	rand  *rand.Rand
}

func (s *slowly) Read(p []byte) (int, error) {
	for len(s.text) == 0 {
		if s.at > s.n {
			return 0, io.EOF
		}
		if s.at == 0 {
			s.text = append(s.text, "id,model,arrival_s\n"...)
		} else {
			s.text = fmt.Appendf(s.text, "r%0*d,m%d,%d.%03d\n", s.width, s.at, s.at%97, s.rand.IntN(1_000_000), s.at%1000)
		}
		s.at++
	}
	n := copy(p, s.text)
	s.text = s.text[:copy(s.text, s.text[n:])]
	return n, nil
}

// peakHeap returns the most bytes of live heap that a call reaches, sampled.
func peakHeap(call func()) (most uint64) {
	runtime.GC()
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	read := func() uint64 {
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	before := read()
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-done:
				return
			case <-time.After(2 * time.Millisecond):
				most = max(most, read())
			}
		}
	}()
	call()
	close(done)
	<-stopped
	return most - min(most, before)
}

// A large file that is not sorted is imported in bounded memory, and leaves no
// temporary file behind; VRAMSIM_LONG=1 makes it ten million rows.
func TestImportInBoundedMemory(t *testing.T) {
	rows, width, limit := 300_000, 200, uint64(90<<20)
	if os.Getenv("VRAMSIM_LONG") == "1" {
		rows, width, limit = 10_000_000, 1, 256<<20
	}
	temporary, dir := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", temporary)
	mapFile, out := filepath.Join(dir, "map.yaml"), filepath.Join(dir, "x.jsonl.zst")
	if err := os.WriteFile(mapFile, []byte("time: {column: arrival_s, unit: s}\nmodel: {column: model}\nid: id\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"import", "-", "--as", "csv", "--map", mapFile, "-o", out}
	in := &slowly{n: rows, width: width, rand: rand.New(rand.NewPCG(1, 2))}
	var errs bytes.Buffer
	code := -1
	if most := peakHeap(func() { code = run(context.Background(), args, in, io.Discard, &errs) }); most > limit {
		t.Errorf("%d rows took %d MiB of heap, more than %d", rows, most>>20, limit>>20)
	} else {
		t.Logf("%d rows, %d MiB", rows, most>>20)
	}
	if code != 0 {
		t.Fatalf("exit %d: %s", code, errs.String())
	}
	if left, _ := os.ReadDir(temporary); len(left) > 0 {
		t.Errorf("%s is left", left[0].Name())
	}
	defer frugal()()
	var trace *workloads.Trace
	var err error
	if most := peakHeap(func() { trace, err = workloads.OpenFile(out, workloads.TraceOptions{}) }); err != nil || most > limit {
		t.Errorf("reading it back took %d MiB of heap, %v", most>>20, err)
	} else if trace.Items() != int64(rows) || len(trace.Models()) != 97 {
		t.Errorf("%d items of %d models", trace.Items(), len(trace.Models()))
	}
}

// Interrupted while it reads or while it waits for input, the command ends with
// its code and leaves no file behind.
func TestImportInterrupted(t *testing.T) {
	temporary, dir := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", temporary)
	text := strings.Builder{}
	if _, err := io.Copy(&text, &slowly{n: 20_000, rand: rand.New(rand.NewPCG(1, 2))}); err != nil {
		t.Fatal(err)
	}
	mapFile, out := filepath.Join(dir, "map.yaml"), filepath.Join(dir, "x.jsonl")
	if err := os.WriteFile(mapFile, []byte("time: {column: arrival_s, unit: s}\nmodel: {column: model}\nid: id\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	waits, writer := io.Pipe()
	defer writer.Close()
	for name, in := range map[string]io.Reader{"file": nil, "input": waits} {
		ctx, cancel := context.WithCancel(context.Background())
		path := "-"
		if in == nil {
			path = csvFile(t, text.String())
			cancel()
		} else {
			time.AfterFunc(20*time.Millisecond, cancel)
		}
		var errs bytes.Buffer
		if code := run(ctx, []string{"import", path, "--as", "csv", "--map", mapFile, "-o", out}, in, io.Discard, &errs); code != exitInterrupted {
			t.Errorf("%s: exit %d: %s", name, code, errs.String())
		}
		cancel()
		left, _ := os.ReadDir(temporary)
		beside, _ := os.ReadDir(dir)
		if len(left) > 0 || len(beside) != 1 {
			t.Errorf("%s: %v and %v are left", name, left, beside)
		}
	}
}
