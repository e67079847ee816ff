package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vramsim/vramsim/scheduler"
)

func badGraphs() []badInput {
	b := func(more string) given { return given{trace: traceHead + item("a", "0", "") + item("b", "5", more)} }
	return []badInput{
		refused("graph-01", "", given{trace: goodTrace + item("b", "9000000000", "")}, `error: t.jsonl:6:7: the id "b" is taken by line 3`),
		refused("graph-01", "CSV", fromMapped("t,m,id\n1,x,a\n2,x,b\n3,x,a\n", `{time: {column: t, unit: s}, model: {column: m}, id: id}`), `error: in.csv:4:1: the id "a" is taken by row 1`),
		refused("graph-01", "DISB", fromDISB(`{"time": 9, "tasks": [{"id": "t", "load": {"type": "trace", "trace": [1]}, "client": {"model_name": "m"}},
 {"id": "t", "load": {"type": "trace", "trace": [2]}, "client": {"model_name": "m"}}]}`), `error: in.json:2:9: the id "t" is that of task 0, too`),
		refused("graph-02", "", b(`,"after":["a","ghost"]`), `error: t.jsonl:3:52: the item "b" waits for "ghost", which is not in the trace`),
		refused("graph-02", "beyond the limit", given{trace: traceHead + item("a", "0", `,"after":["b"]`) + item("b", "5", ""), edits: []string{"{trace: t.jsonl}", "{trace: {file: t.jsonl, limit: 1}}"}},
			`error: t.jsonl:2:48: the item "a" waits for "b", which is not among the first 1 items`),
		refused("graph-02", "DISB", fromDISB(`{"time": 9, "tasks": [{"id": "t", "load": {"type": "dependent", "prev_task_ids": ["u"]}, "client": {"model_name": "m"}}]}`),
			`error: in.json:1:83: the task "t" waits for "u", which is not there`),
		refused("graph-03", "", b(`,"after":["a","b"]`), `error: t.jsonl:3:52: the item "b" waits for itself`),
		refused("graph-03", "in a circle", given{noLine: true, trace: traceHead + item("a", "0", `,"after":["b"]`) + item("b", "5", `,"after":["a"]`)},
			`error: t.jsonl:2:1: items wait for each other: "a" (line 2) after "b" (line 3) after "a" (line 2)`),
		refused("graph-03", "DISB", fromDISB(`{"time": 9, "tasks": [{"id": "t", "load": {"type": "dependent", "prev_task_ids": ["t"]}, "client": {"model_name": "m"}}]}`), `error: in.json:1:83: tasks wait for each other: t after t`),
		refused("graph-04", "", b(`,"after":["a","a"]`), `error: t.jsonl:3:52: after names "a" twice`),
		refused("graph-04", "DISB", fromDISB(`{"time": 9, "tasks": [{"id": "s", "load": {"type": "trace", "trace": [1]}, "client": {"model_name": "m"}},
 {"id": "t", "load": {"type": "dependent", "prev_task_ids": ["s", "s"]}, "client": {"model_name": "m"}}]}`), `error: in.json:2:67: the task "t" waits for "s" twice`),
		{"graph-05", "library", []int{exitOK}, testDependencyDone},
		{"graph-06", "backward", []int{exitOK}, testChain(-1)},
		{"graph-06", "forward", []int{exitOK}, testChain(+1)},
		{"graph-07", "", []int{exitOK}, testFailedDependency},
		{"graph-08", "", []int{exitOK}, testConfusableNames},
	}
}

// testDependencyDone: an item whose dependency finished before it was submitted
// runs; it does not wait for what is over.
func testDependencyDone(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	gpu := scheduler.NewCallExecutor(func(context.Context, scheduler.Command) error { return nil })
	live, err := scheduler.NewLive(ctx, scheduler.LiveConfig{Executors: []scheduler.Executor{gpu}, Core: scheduler.Config{
		Models:  []scheduler.Model{{Name: "m", Bytes: 1, Batch: scheduler.BatchCost{Max: 1, PerItem: 1}}},
		Devices: []scheduler.Device{{Name: "gpu0", Memory: 10, Budget: 10, Slots: 1}},
		Policy:  loadAndRun{}}})
	if err != nil {
		t.Fatal(err)
	}
	submit := func(after ...*scheduler.Ticket) *scheduler.Ticket {
		ticket, err := live.Submit(ctx, scheduler.Request{Model: "m", After: after})
		if err != nil {
			t.Fatal(err)
		}
		if result, err := ticket.Wait(ctx); err != nil || result.Status != scheduler.StatusDone {
			t.Errorf("%+v, %v", result, err)
		}
		return ticket
	}
	submit(submit())
	if err := live.Close(ctx); err != nil {
		t.Error(err)
	}
}

// loadAndRun loads the only model and runs its items one by one.
type loadAndRun struct{}

func (loadAndRun) Next(v *scheduler.View) scheduler.Decision {
	switch {
	case v.Ready(0) > 0 && v.Fits(0, 0) > 0:
		return scheduler.Run(0, 0, 1)
	case v.Ready(0) > 0 && v.Loadable(0, 0):
		return scheduler.Load(0, 0)
	}
	return scheduler.Decision{}
}

func appendItem(b []byte, i int, more string) []byte {
	b = append(b, `{"id":"i`...)
	b = strconv.AppendInt(b, int64(i), 10)
	return append(append(append(b, `","model":"whisper"`...), more...), '}')
}

// amount returns how many: the whole number where VRAMSIM_LONG is set, as .ci/run
// does, else a part of it.
func amount(whole, part int) int {
	if os.Getenv("VRAMSIM_LONG") == "1" {
		return whole
	}
	return part
}

// testChain: a chain of items, each waiting for the one before (-1) or after it
// (+1), is neither recursion nor quadratic.
func testChain(direction int) func(t *testing.T) {
	return func(t *testing.T) {
		n := amount(1_000_000, 50_000)
		took := func(n int) time.Duration {
			noLog(t)
			many(t, n, func(b []byte, i int) []byte {
				if on := i + direction; on >= 0 && on < n {
					return appendItem(b, i, fmt.Sprintf(`,"at_ns":0,"after":["i%d"]`, on))
				}
				return appendItem(b, i, `,"at_ns":0`)
			})
			start := cpuTime()
			f := runJSON(t, exitOK, "bad.yaml")
			if got := value(t, f, 0, "items_completed", "value"); got != float64(n) {
				t.Errorf("%v of %d items", got, n)
			}
			return cpuTime() - start
		}
		whole := took(n)
		t.Logf("%d items in %v", n, whole)
		if whole > most {
			t.Errorf("%d items took %v, more than %v", n, whole, most)
		}
	}
}

// most is how much processor time the large inputs may take: it tells linear
// from quadratic, also where the machine is shared.
const most = 20 * time.Second

// testFailedDependency: what waits for an item that fails for good is cancelled,
// and everything is accounted for.
func testFailedDependency(t *testing.T) {
	given{trace: traceHead + item("a", "0", "") + item("b", "0", `,"after":["a"]`) + item("c", "0", `,"after":["b"]`) + item("d", "0", `,"after":["a"]`),
		edits: []string{"policies:", "attempts: 2\nfaults: {batch_failure: 1}\npolicies:"}}.place(t)
	f := runJSON(t, exitOK, "bad.yaml", "-o", "out")
	got := map[string]float64{}
	for _, name := range []string{"items_arrived", "items_failed", "items_cancelled", "items_completed", "items_unfinished"} {
		got[name] = value(t, f, 0, name, "value")
	}
	if got["items_arrived"] != 4 || got["items_failed"] != 1 || got["items_cancelled"] != 3 || got["items_completed"] != 0 || got["items_unfinished"] != 0 {
		t.Errorf("%v", got)
	}
	if code, _, stderr := vramsim(t, "replay", "out/bad/latest", "--verify"); code != exitOK {
		t.Errorf("verify: exit %d: %s", code, stderr)
	}
}

// testConfusableNames: ids are bytes; what looks alike is not the same.
func testConfusableNames(t *testing.T) {
	lines := traceHead
	for _, id := range []string{"e\u0301", "\u00e9", "a", "A", "\u0430", "\uff41", "ss", "\u00df", "K", "\u212a"} {
		lines += item(id, "0", "")
	}
	given{trace: lines}.place(t)
	if got := value(t, runJSON(t, exitOK, "bad.yaml"), 0, "items_completed", "value"); got != 10 {
		t.Errorf("%v items", got)
	}
}

func badConfigs() []badInput {
	edit := func(old, new string) given { return given{trace: goodTrace, edits: []string{old, new}} }
	return []badInput{
		refused("config-01", "", given{trace: traceHead + item("a", "0", "") + strings.ReplaceAll(item("b", "0", "")+item("c", "0", ""), "whisper", "whispr")},
			`error: t.jsonl:3:19: the model "whispr" is not in the catalogue; the nearest name is "whisper"`),
		refused("config-01", "CSV in an experiment", given{noLine: true, files: map[string]string{"in.csv": csvHead + "0,whispr,0,1,1\n"},
			edits: []string{"{trace: t.jsonl}", "{trace: {file: in.csv, format: csv, preset: arena27}}"}}, `the model "whispr" is not in the catalogue; the nearest name is "whisper"`),
		refused("config-01", "map to no model", edit("{trace: t.jsonl}", "{trace: {file: t.jsonl, models: {names: {whisper: qwen}}}}"), `error: bad.yaml:8:61: `, `there is no model "qwen"; did you mean "qwen3"?`),
		refused("config-02", "", edit("memory: 12GB", "memory: 4GB"), `error: bad.yaml:6:21: model "whisper" needs 4500000000 bytes`, `but the largest budget of a GPU is 3600000000 bytes`),
		refused("config-02", "by a batch of one", edit("max: 8,", "max: 8, memory: 9GB,"), `needs 13500000000 bytes`, `is 10800000000 bytes`),
		refused("config-03", "zero", edit("safety: 0.9", "safety: 0"), `error: bad.yaml:4:71: hardware.gpus[0].safety is "0"; it must be above 0 and at most 1`),
		refused("config-03", "negative", edit("safety: 0.9", "safety: -0.5"), `error: bad.yaml:4:71: hardware.gpus[0].safety is "-0.5"; it must be above 0 and at most 1`),
		refused("config-03", "NaN", edit("safety: 0.9", "safety: .nan"), `error: bad.yaml:4:71: hardware.gpus[0].safety is ".nan", which is not finite`),
		refused("config-03", "above 1", edit("safety: 0.9", "safety: 1.0000001"), `error: bad.yaml:4:71: hardware.gpus[0].safety is "1.0000001"; it must be above 0 and at most 1`),
		refused("config-03", "by a flag", given{trace: goodTrace, args: []string{"run", "bad.yaml", "-o", "out", "--set", "hardware.gpus[0].safety=2"}}, `error: --set`, `hardware.gpus[0].safety is "2"; it must be above 0 and at most 1`),
		refused("config-04", "zero", edit("max: 8", "max: 0"), `error: bad.yaml:6:41: models.whisper.batch.max is "0"; it must be an integer from 1 to`),
		refused("config-04", "negative", edit("max: 8", "max: -3"), `error: bad.yaml:6:41: models.whisper.batch.max is "-3"; it must be an integer from 1 to`),
		refused("config-05", "no models", edit(goodExperiment[strings.Index(goodExperiment, "  whisper"):strings.Index(goodExperiment, "workload:")], "  {}\n"), `error: bad.yaml:6:3: `, `an experiment has between 1 and`),
		{"config-05", "100,000 models", []int{exitOK}, testManyModels},
		refused("config-06", "", edit(", load: 10s", ""), `error: bad.yaml:7:10: models.qwen3.load is missing; expected a load time`),
		refused("config-06", "a tier", edit("load: 10s", "load: {host: 1s}"), `error: bad.yaml:7:`, `models.qwen3.load`, `disk`),
		refused("config-07", "", edit("load: 10s", "load: {lognormal: {p50: 10s, p95: 4s}}"), `error: bad.yaml:7:107: models.qwen3.load.disk.lognormal.p95 is "4s"; it must be at least p50, which is 10s`),
		refused("config-08", "", edit("use: sticky", "use: stikcy"), `error: bad.yaml:10:31: policies[1].use: unknown policy "stikcy"; accepted: `, `did you mean "sticky"?`),
		refused("config-08", "by a flag", given{trace: goodTrace, args: []string{"run", "bad.yaml", "-o", "out", "--policy", "stikcy"}}, `error: --policy`, `unknown policy "stikcy"; accepted: `, `did you mean "sticky"?`),
		refused("config-09", "", edit("version: 1", "version: 2"), `error: bad.yaml:1:10: version is 2; this build reads version 1: a newer vramsim is needed`),
		refused("config-09", "trace", given{trace: strings.Replace(goodTrace, `"version":1`, `"version":2`, 1)}, `error: t.jsonl:1:1: version 2 of the trace format is not known; this reads version 1`),
		refused("config-10", "", edit("version: 1", "version: 0"), `error: bad.yaml:1:10: version is 0; there is no such version, the first is 1`),
		{"config-11", "", []int{exitOK}, testSeedIsTold},
	}
}

// testManyModels: a catalogue of 100,000 models is read and run in time that
// grows with it, not with its square.
func testManyModels(t *testing.T) {
	n := amount(100_000, 5_000)
	t.Chdir(t.TempDir())
	b := []byte("version: 1\nname: bad\nseed: 1\nreplicates: 1\nhardware: {gpus: [{memory: 12GB}]}\nmodels:\n")
	for i := range n {
		b = fmt.Appendf(b, "  m%05d: {memory: 1GB, batch: {max: 4, base: 10ms, per_item: 1s}, load: 5s}\n", i)
	}
	b = append(b, "workload: {items: 200, arrivals: {poisson: {rate: 0.1/s}}, streams: {popularity: {zipf: {s: 1}}}}\npolicies: [{use: sticky}]\noutput: {report: [], charts: []}\n"...)
	write(t, "many.yaml", string(b))
	var f figures
	took := time.Duration(math.MaxInt64)
	for range 3 { // other work on the machine makes a run slower, nothing makes it faster
		start := cpuTime()
		f = runJSON(t, exitOK, "many.yaml")
		if took = min(took, cpuTime()-start); took <= most {
			break
		}
	}
	t.Logf("%d models in %v", n, took)
	if took > most {
		t.Errorf("%d models took %v, more than %v", n, took, most)
	}
	if got := value(t, f, 0, "items_completed", "value"); got != 200 {
		t.Errorf("%v items", got)
	}
}

// testSeedIsTold: a seed that is drawn is printed and kept, and repeats the run.
func testSeedIsTold(t *testing.T) {
	given{trace: goodTrace, edits: []string{"seed: 7\n", "", "load: 5s", "load: {exp: {mean: 5s}}", "replicates: 1", "replicates: 2"}}.place(t)
	code, stdout, stderr := vramsim(t, "run", "bad.yaml", "-o", "out", "--format", "json")
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	_, told, found := strings.Cut(stderr, "seed: ")
	seed, _, _ := strings.Cut(told, " ")
	resolved, err := os.ReadFile("out/bad/latest/resolved.yaml")
	if !found || err != nil || !strings.Contains(string(resolved), "\nseed: "+seed+"\n") {
		t.Fatalf("seed %q in %s and\n%s (%v)", seed, stderr, resolved, err)
	}
	logs := func(text string) (all []string) {
		var f figures
		if err := json.Unmarshal([]byte(text), &f); err != nil {
			t.Fatal(err)
		}
		for _, p := range f.Cells[0].Policies {
			all = append(all, p.LogDigests...)
		}
		return all
	}
	_, again, _ := vramsim(t, "run", "bad.yaml", "-o", "out", "--format", "json", "--seed", seed)
	_, other, _ := vramsim(t, "run", "bad.yaml", "-o", "out", "--format", "json", "--seed", seed+"1")
	if first := logs(stdout); len(first) != 4 || !slices.Equal(first, logs(again)) || slices.Equal(first, logs(other)) {
		t.Errorf("logs %v, again %v, with another seed %v", first, logs(again), logs(other))
	}
}

func gzipped(t *testing.T, content string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// zstdFrame begins a frame with the given window descriptor, or with a content
// size that is its window.
func zstdFrame(window byte, size uint64) string {
	b := []byte{0x28, 0xb5, 0x2f, 0xfd}
	if size > 0 {
		b = append(b, 0xe0) // 8 bytes of size, a single segment
		b = binary.LittleEndian.AppendUint64(b, size)
	} else {
		b = append(b, 0, window)
	}
	b = append(b, 0x09, 0, 0, 'x') // a last, raw block of one byte
	return string(b)
}

func badSizes() []badInput {
	native := func(text string) given { return given{trace: text} }
	return []badInput{
		refused("size-01", "", native(zstdFrame(21<<3, 0)), `t.jsonl: limit exceeded: the zstd frame wants a window above 64 MiB`),
		refused("size-01", "import", bare(fromCSV(zstdFrame(21<<3, 0))), `error: in.csv: `, `the zstd frame wants a window above 64 MiB`),
		{"size-02", "members", []int{exitOK}, func(t *testing.T) {
			got := digests(t, given{trace: gzipped(t, goodTrace[:90]) + gzipped(t, goodTrace[90:])})
			if want := digests(t, given{trace: goodTrace}); len(want) != 2 || !slices.Equal(got, want) {
				t.Errorf("logs %v, want %v", got, want)
			}
		}},
		{"size-02", "nested", []int{exitUsage}, func(t *testing.T) {
			refused("", "", native(gzipped(t, gzipped(t, goodTrace))), `t.jsonl: an archive inside an archive is not opened`).check(t)
			refused("", "", bare(fromCSV(gzipped(t, gzipped(t, csvHead)))), `error: in.csv: an archive inside an archive is not opened`).check(t)
		}},
		{"size-03", "", []int{exitOK}, testStreaming},
		refused("size-04", "zstd", native(zstdFrame(0, 1<<60)), `t.jsonl: limit exceeded: the zstd frame claims more than may come out of it`),
		{"size-04", "tar", []int{exitUsage}, testHugeMember},
		{"size-04", "bomb", []int{exitUsage}, testBomb},
	}
}

// testHugeMember: a member that claims 2⁶⁰ bytes is cut off, whatever it says.
func testHugeMember(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "in.csv", Size: 1 << 60, Mode: 0o644, Format: tar.FormatGNU}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(csvHead + "0,m,1,1,1\n")); err != nil {
		t.Fatal(err)
	}
	bytes := allocated(func() { refused("", "", bare(fromCSV(b.String())), `error: in.csv`).check(t) })
	if bytes > 64<<20 {
		t.Errorf("%d bytes were allocated for a file of %d", bytes, b.Len())
	}
}

// testBomb: a megabyte that becomes a gigabyte is stopped.
func testBomb(t *testing.T) {
	zeros := gzipped(t, traceHead+strings.Repeat("\n", 72<<20))
	bytes := allocated(func() {
		refused("", "", given{trace: zeros}, `t.jsonl`, `the gzip stream expands more than 500 times`).check(t)
	})
	if bytes > 64<<20 {
		t.Errorf("%d bytes were allocated for a file of %d", bytes, len(zeros))
	}
}

// testStreaming: items come and go; what is kept does not grow with the trace
// beyond 16 bytes an item for its ids and the times that quantiles need.
func testStreaming(t *testing.T) {
	n := amount(2_000_000, 300_000)
	noLog(t)
	many(t, n, func(b []byte, i int) []byte {
		return appendItem(b, i, fmt.Sprintf(`,"at_ns":%d,"service_ns":1000`, i*1_000_000_000))
	})
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	c := child(t, []string{peakFile + "=" + filepath.Join(dir, "peak")}, "run", filepath.Join(dir, "bad.yaml"), "-o", filepath.Join(dir, "out"), "-q", "--format", "json", "-j", "1")
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("peak")
	if errors.Is(err, os.ErrNotExist) {
		t.Log("this system does not tell the peak of memory")
		return
	}
	kilobytes, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	peak := kilobytes << 10
	t.Logf("%d items: at most %d MB", n, peak>>20)
	if limit := int64(128<<20 + 64*n); peak > limit {
		t.Errorf("%d items took %d bytes, more than %d", n, peak, limit)
	}
}
