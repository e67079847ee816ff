package workloads

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/vramsim/vramsim/scheduler"
)

func bytesOf(data []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
}

func openText(text string) (*Trace, error) {
	return Open("t.jsonl", bytesOf([]byte(text)), TraceOptions{})
}

func mustOpen(t testing.TB, text string, opt TraceOptions) *Trace {
	t.Helper()
	trace, err := Open("t.jsonl", bytesOf([]byte(text)), opt)
	if err != nil {
		t.Fatal(err)
	}
	return trace
}

func item(fields string) string { return "{" + fields + "}\n" }

// simple is a line with an id and a time.
func simple(id string, at int64) string {
	return fmt.Sprintf("{\"id\":%q,\"model\":\"m\",\"at_ns\":%d}\n", id, at)
}

func waiting(id string, after ...string) string {
	quoted := ""
	for i, a := range after {
		if i > 0 {
			quoted += ","
		}
		quoted += fmt.Sprintf("%q", a)
	}
	return fmt.Sprintf("{\"id\":%q,\"model\":\"m\",\"at_ns\":0,\"after\":[%s]}\n", id, quoted)
}

// The cases of bad_inputs.json that concern native traces, and more of their
// kind: what is refused, where, and what the message says.
func TestBadTraces(t *testing.T) {
	const h = Header + "\n"
	ok := simple("a", 0)
	field := func(extra string) string { return h + `{"id":"a","model":"m","at_ns":0,` + extra + "}\n" }
	at := func(v string) string { return h + `{"id":"a","model":"m","at_ns":` + v + "}\n" }
	utf16 := func(s string) string {
		b := []byte{0xff, 0xfe}
		for _, c := range []byte(s) {
			b = append(b, c, 0)
		}
		return string(b)
	}
	tests := []struct {
		name, text   string
		line, column int
		says         string
	}{
		{"trace-syntax-01", "", 0, 0, "empty"},
		{"trace-syntax-02", "\n  \n# comment\n\t\n", 0, 0, "empty"},
		{"trace-syntax-02 header only", h, 0, 0, "no items"},
		{"trace-syntax-05", h + ok + `{"id":"b","model":"m","at_`, 3, 23, "cut off"},
		{"trace-syntax-05 value", h + ok + `{"id":"b","model":"m"`, 3, 22, "cut off"},
		{"trace-syntax-06", "[\n" + ok + "]", 1, 1, "one object a line"},
		{"trace-syntax-06 later", h + "[" + ok + "]", 2, 1, "one object a line"},
		{"trace-syntax-07", h + `{"id":"a","id":"b","model":"m","at_ns":0}`, 2, 11, "twice"},
		{"trace-syntax-07 escaped", h + `{"id":"a","\u0069d":"b","model":"m","at_ns":0}`, 2, 11, "twice"},
		{"trace-syntax-08", field(`"prio":1`), 2, 33, `did you mean "priority"`},
		{"trace-syntax-08", field(`"zzzz":1`), 2, 33, `unknown field "zzzz"; there are id, `},
		{"trace-syntax-09", h + "{\"id\":\"a\\u0000b\",\"model\":\"m\",\"at_ns\":0}", 2, 7, `\x00`},
		{"trace-syntax-09 raw", h + "{\"id\":\"a\x01b\",\"model\":\"m\",\"at_ns\":0}", 2, 9, `\x01`},
		{"trace-syntax-09 model", h + "{\"id\":\"a\",\"model\":\"m\\n\",\"at_ns\":0}", 2, 19, `\n`},
		{"trace-syntax-09 DEL", h + "{\"id\":\"a\x7f\",\"model\":\"m\",\"at_ns\":0}", 2, 7, `\x7f`},
		{"trace-syntax-09 C1", h + "{\"id\":\"a\u0085\",\"model\":\"m\",\"at_ns\":0}", 2, 7, `\u0085`},
		{"trace-syntax-14", utf16(h + ok), 1, 1, "UTF-16"},
		{"trace-syntax-14 without mark", utf16(h + ok)[2:], 1, 1, "UTF-16"},
		{"not UTF-8", h + "{\"id\":\"a\xff\",\"model\":\"m\",\"at_ns\":0}", 2, 7, "0xff"},
		{"garbage after", h + `{"id":"a","model":"m","at_ns":0} x`, 2, 34, "after the end"},
		{"two objects", h + `{"id":"a","model":"m","at_ns":0}{}`, 2, 33, "after the end"},
		{"lone surrogate", h + `{"id":"\ud800","model":"m","at_ns":0}`, 2, 8, "escape"},
		{"no header", ok, 1, 2, "unknown field"},
		{"other kind", `{"vramsim":"log","version":1}`, 1, 1, "first line"},
		{"other version", `{"vramsim":"trace","version":2}`, 1, 1, "version 2"},
		{"binary", "\x80\x02}q", 1, 1, "expected"},

		{"numbers-01", at("NaN"), 2, 31, "not a finite number"},
		{"numbers-01 text", at(`"nan"`), 2, 31, "string"},
		{"numbers-01 Inf", at("Inf"), 2, 31, "not a finite number"},
		{"numbers-01 +Infinity", at("+Infinity"), 2, 31, "not a finite number"},
		{"numbers-01 1e400", at("1e400"), 2, 31, "integer"},
		{"numbers-01 work", field(`"work":1e400`), 2, 40, "too large"},
		{"numbers-01 hex", at("0x1p-2"), 2, 31, "integer"},
		{"numbers-01 underscore", at("1_000"), 2, 31, "integer"},
		{"numbers-02", at("-1"), 2, 31, "negative"},
		{"numbers-03 at", at("9223372036854775807"), 2, 31, "too large"},
		{"numbers-03 far", at("99999999999999999999999"), 2, 31, "too large"},
		{"numbers-04", h + simple("a", 5) + simple("b", 4) + simple("c", 3), 3, 31, "sorted"},
		{"numbers-07", field(`"service_ns":-1`), 2, 46, "negative"},
		{"numbers-07 work", field(`"work":-1.5`), 2, 40, "positive"},
		{"numbers-08", field(`"service_ns":0.001`), 2, 46, "integer"},
		{"numbers-08 work", field(`"work":1e-12`), 2, 40, "millionth"},
		{"numbers-09", at(`"12.5"`), 2, 31, "string"},
		{"numbers-09 separator", at("1,000"), 2, 33, "expected"},
		{"numbers-09 full-width", at("１２"), 2, 31, "integer"},
		{"numbers-09 leading zero", at("012"), 2, 31, "leading zero"},
		{"priority", field(`"priority":2147483648`), 2, 44, "too large"},
		{"priority low", field(`"priority":-2147483649`), 2, 44, "too small"},
		{"null time", at("null"), 2, 31, "integer"},
		{"bool", at("true"), 2, 31, "integer"},

		{"graph-01", h + ok + "\n" + simple("b", 1) + simple("a", 2), 5, 7, "line 2"},
		{"graph-02", h + ok + waiting("b", "a", "ghost"), 3, 46, `"ghost"`},
		{"graph-03", h + ok + waiting("b", "b"), 3, 42, "itself"},
		{"graph-04", h + ok + waiting("b", "a", "a"), 3, 46, "twice"},
		{"cycle of two", h + waiting("a", "b") + waiting("b", "a"), 2, 0, `"a" (line 2) after "b" (line 3) after "a" (line 2)`},
		{"cycle of three with a tail", h + waiting("t", "c") + waiting("a", "c") + waiting("b", "a") + waiting("c", "b") + waiting("u", "a"),
			3, 0, `"a" (line 3) after "c" (line 5) after "b" (line 4) after "a" (line 3)`},
		{"after is no array", field(`"after":"x"`), 2, 41, "array"},
		{"after of numbers", field(`"after":[1]`), 2, 42, "string"},
		{"open array", field(`"after":["x"`), 2, 45, "expected"},

		{"no id", h + `{"model":"m","at_ns":0}`, 2, 1, "no id"},
		{"empty id", h + `{"id":"","model":"m","at_ns":0}`, 2, 1, "no id"},
		{"no model", h + `{"id":"a","at_ns":0}`, 2, 1, "no model"},
		{"no time", h + `{"id":"a","model":"m"}`, 2, 1, "no at_ns"},
		{"long name", h + simple(strings.Repeat("x", 257), 0), 2, 7, "256"},
		{"long line", h + strings.Repeat(" ", 1<<20) + ok, 2, 0, "longer than"},
	}
	for _, test := range tests {
		_, err := openText(test.text)
		var e *TraceError
		if !errors.As(err, &e) {
			t.Errorf("%s: got %v, want a TraceError", test.name, err)
			continue
		}
		if e.Line != test.line || e.Column != test.column || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: got %v, want line %d, column %d and %q", test.name, err, test.line, test.column, test.says)
		}
	}
}

// What must be read as if nothing were odd about it.
func TestGoodTraces(t *testing.T) {
	const h = Header + "\n"
	plain := h + simple("a", 0) + simple("b", 5) + waiting("c", "a")[:0] + item(`"id":"c","model":"n","at_ns":5,"after":["a"],"priority":-3,"work":2.5,"job":"j","tenant":"u","deadline_ns":9,"service_ns":7`)
	want := events(t, mustOpen(t, plain, TraceOptions{}))
	var gz bytes.Buffer
	w := gzip.NewWriter(&gz)
	io.WriteString(w, plain[:40])
	w.Close()
	w.Reset(&gz)
	io.WriteString(w, plain[40:])
	w.Close()
	encoder, _ := zstd.NewWriter(nil)
	for name, text := range map[string]string{
		"trace-syntax-03 mark":     "\ufeff" + plain,
		"trace-syntax-04 no end":   strings.TrimSuffix(plain, "\n"),
		"CRLF":                     strings.ReplaceAll(plain, "\n", "\r\n"),
		"comments and blank lines": "# a trace\n\n" + strings.ReplaceAll(plain, "\n", "\n\n# x\n"),
		"spaces":                   strings.ReplaceAll(strings.ReplaceAll(plain, ",", " ,\t"), ":", " : "),
		"numbers-10 -0":            strings.Replace(plain, `"at_ns":0`, `"at_ns":-0`, 1),
		"exponent in work":         strings.Replace(plain, `2.5`, `0.25e1`, 1),
		"escapes":                  strings.Replace(plain, `"model":"n"`, `"model":"\u006E"`, 1),
		"nulls":                    strings.Replace(plain, `"id":"a",`, `"id":"a","job":null,"tenant":null,"after":null,"deadline_ns":null,"service_ns":null,`, 1),
		"size-02 gzip members":     gz.String(),
		"zstd":                     string(encoder.EncodeAll([]byte(plain), nil)),
	} {
		trace, err := openText(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := events(t, trace); !slices.Equal(got, want) {
			t.Errorf("%s: events differ:\n%v\n%v", name, got, want)
		}
	}
	distinct := h + simple("é", 0) + simple("e\u0301", 0) + simple("E", 0) + simple("e", 0)
	if _, err := openText(distinct); err != nil {
		t.Errorf("graph-08: %v", err)
	}
}

func events(t *testing.T, trace *Trace) []scheduler.Event {
	t.Helper()
	s, err := trace.Source([]string{"m", "n"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return drain(t, s)
}

func TestTraceEvents(t *testing.T) {
	text := Header + "\n" +
		item(`"id":"a","model":"n","at_ns":3,"after":["c"],"job":"j"`) +
		item(`"id":"b","model":"m","at_ns":3,"tenant":"u","service_ns":0`) +
		item(`"id":"c","model":"m","at_ns":8,"job":"j","deadline_ns":100,"work":0.5,"tenant":"v","after":["b"],"priority":7,"service_ns":12`)
	trace := mustOpen(t, text, TraceOptions{})
	s, err := trace.Source([]string{"m", "n"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	none := func(at scheduler.Time, kind scheduler.Kind, id, value int64) scheduler.Event {
		return scheduler.Event{At: at, Kind: kind, ID: id, Value: value, Model: scheduler.NoModel, Device: scheduler.NoDevice}
	}
	arrived := func(at scheduler.Time, id int64, m scheduler.ModelID, priority int32, follow int) scheduler.Event {
		e := none(at, scheduler.ItemArrived, id, scheduler.PackArrival(priority, follow))
		e.Model = m
		return e
	}
	first, err := s.Next()
	want := []scheduler.Event{arrived(3, 0, 1, 0, 2), none(3, scheduler.ItemJob, 0, 0), none(3, scheduler.ItemDependsOn, 0, 2),
		arrived(3, 1, 0, 0, 1), none(3, scheduler.ItemTenant, 1, 0)}
	if err != nil || !slices.Equal(first, want) {
		t.Errorf("first instant: %v, %v", first, err)
	}
	if service, ok := s.Service(1); !ok || service != 0 {
		t.Errorf("service of b: %v, %v", service, ok)
	}
	if _, ok := s.Service(0); ok {
		t.Error("a has a service time")
	}
	second, err := s.Next()
	want = []scheduler.Event{arrived(8, 2, 0, 7, 5), none(8, scheduler.ItemJob, 2, 0), none(8, scheduler.ItemDeadline, 2, 100),
		none(8, scheduler.ItemWork, 2, 500_000), none(8, scheduler.ItemTenant, 2, 1), none(8, scheduler.ItemDependsOn, 2, 1)}
	if err != nil || !slices.Equal(second, want) {
		t.Errorf("second instant: %v, %v", second, err)
	}
	if service, _ := s.Service(2); service != 12 {
		t.Errorf("service of c: %v", service)
	}
	if got := s.ItemName(0) + s.ItemName(1) + s.ItemName(2) + s.JobName(0) + s.TenantName(0) + s.TenantName(1); got != "abcjuv" {
		t.Errorf("names: %s", got)
	}
	if _, err := s.Next(); err != io.EOF {
		t.Errorf("after the last: %v", err)
	}
}

func TestRateAndLimit(t *testing.T) {
	text := Header + "\n" + simple("a", 0) + simple("b", 3) + item(`"id":"c","model":"m","at_ns":5,"deadline_ns":25`) + simple("d", 1000)
	for rate, want := range map[string][]scheduler.Time{"1x": {0, 3, 5, 1000}, "2x": {0, 2, 2, 500}, "0.5x": {0, 6, 10, 2000}, "0.25x": {0, 12, 20, 4000}, "3x": {0, 1, 2, 333}} {
		factor, err := ParseFactor(rate)
		if err != nil {
			t.Fatal(err)
		}
		got := events(t, mustOpen(t, text, TraceOptions{Rate: factor}))
		if times := arrivalTimes(got); !slices.Equal(times, want) {
			t.Errorf("%v: %v, want %v", factor, times, want)
		}
		for _, ev := range got {
			if ev.Kind == scheduler.ItemDeadline && ev.Value != int64(want[2])+20 {
				t.Errorf("%s: deadline %d", rate, ev.Value)
			}
		}
	}
	for _, bad := range []string{"2", "x", "0x", "-1x", "1e3x", "nanx", "0.0000000001x", "1x ", ""} {
		if f, err := ParseFactor(bad); err == nil && bad != "1e3x" {
			t.Errorf("%q was read as %v", bad, f)
		}
	}
	limited := mustOpen(t, text, TraceOptions{Limit: 2})
	if limited.Items() != 2 || len(events(t, limited)) != 2 {
		t.Errorf("limit 2 left %d items", limited.Items())
	}
	_, err := Open("t", bytesOf([]byte(Header+"\n"+waiting("a", "b")+waiting("b"))), TraceOptions{Limit: 1})
	if err == nil || !strings.Contains(err.Error(), "not among the first 1 items") {
		t.Errorf("a dependency beyond the limit: %v", err)
	}
	slow, _ := ParseFactor("0.001x")
	_, err = Open("t", bytesOf([]byte(Header+"\n"+simple("a", 9e18))), TraceOptions{Rate: slow})
	if err == nil || !strings.Contains(err.Error(), "end of time") {
		t.Errorf("an arrival after the end of time: %v", err)
	}
}

func TestUnknownModel(t *testing.T) {
	trace := mustOpen(t, Header+"\n"+simple("a", 0)+item(`"id":"b","model":"whispr","at_ns":0`), TraceOptions{})
	_, err := trace.Source([]string{"m", "qwen", "whisper"}, nil)
	if err == nil || !strings.Contains(err.Error(), "t.jsonl:3:") || !strings.Contains(err.Error(), `"whisper"`) {
		t.Errorf("config-01: %v", err)
	}
	if _, err := trace.Source([]string{"m", "whisper"}, func(m string) string { return strings.Replace(m, "spr", "sper", 1) }); err != nil {
		t.Errorf("renamed: %v", err)
	}
}

func TestChangedFileIsNoticed(t *testing.T) {
	long, short := Header+"\n"+simple("a", 0)+simple("b", 1), Header+"\n"+simple("a", 0)
	texts := []string{long, short}
	trace, err := Open("t", func() (io.ReadCloser, error) {
		text := texts[0]
		texts = texts[1:]
		return io.NopCloser(strings.NewReader(text)), nil
	}, TraceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := trace.Source([]string{"m"}, nil)
	for err == nil {
		_, err = s.Next()
	}
	if !errors.Is(err, ErrChanged) {
		t.Errorf("got %v", err)
	}
}

// A chain of a million items, each waiting for the next line, and one the other
// way round, in linear time and memory.
func TestLongChains(t *testing.T) {
	n := 1_000_000
	if testing.Short() {
		n = 100_000
	}
	start := time.Now()
	for name, links := range map[string]struct{ n, step int }{"forward": {n, 1}, "backward": {n / 5, -1}} {
		text := []byte(Header + "\n")
		for i := range links.n {
			text = strconv.AppendInt(append(text, `{"id":"`...), int64(i), 10)
			text = append(text, `","model":"m","at_ns":0`...)
			if on := i + links.step; on >= 0 && on < links.n {
				text = strconv.AppendInt(append(text, `,"after":["`...), int64(on), 10)
				text = append(text, `"]`...)
			}
			text = append(text, "}\n"...)
		}
		trace, err := Open(name, bytesOf(text), TraceOptions{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := trace.Source([]string{"m"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		all, err := s.Next()
		if err != nil || len(all) != 2*links.n-1 {
			t.Fatalf("%s: %d events, %v", name, len(all), err)
		}
		if last := s.ItemName(scheduler.ItemID(links.n - 1)); last != strconv.Itoa(links.n-1) {
			t.Errorf("%s: the last is called %s", name, last)
		}
	}
	if took := time.Since(start); took > 2*time.Minute {
		t.Errorf("took %v", took)
	}
}

func TestCycleThroughEverything(t *testing.T) {
	const n = 20_000
	var text bytes.Buffer
	text.WriteString(Header + "\n")
	for i := range n {
		text.WriteString(waiting(strconv.Itoa(i), strconv.Itoa((i+1)%n)))
	}
	_, err := Open("ring", bytesOf(text.Bytes()), TraceOptions{})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("after %d more", n-8)) {
		t.Errorf("got %v", err)
	}
}

// generated yields a trace of n lines without holding it.
type generated struct {
	n, at  int
	line   []byte
	buffer [128]byte
}

func (g *generated) Read(p []byte) (int, error) {
	if len(g.line) == 0 {
		g.line = g.buffer[:0]
		if g.at > g.n {
			return 0, io.EOF
		}
		if g.at == 0 {
			g.line = append(g.line, Header+"\n"...)
		} else {
			g.line = strconv.AppendInt(append(g.line, `{"id":"r`...), int64(g.at), 10)
			g.line = strconv.AppendInt(append(g.line, `","model":"m","at_ns":`...), int64(g.at), 10)
			g.line = append(g.line, "}\n"...)
		}
		g.at++
	}
	n := copy(p, g.line)
	g.line = g.line[n:]
	return n, nil
}

func (g *generated) Close() error { return nil }

// A row costs at most 25 bytes while ids are checked, nothing afterwards.
func TestMemoryPerRow(t *testing.T) {
	const n = 1_000_000
	peak, base := uint64(0), heap()
	trace, err := Open("generated", func() (io.ReadCloser, error) { return &watched{generated{n: n}, &peak}, nil }, TraceOptions{})
	if err != nil || trace.Items() != n {
		t.Fatal(err)
	}
	if perRow := float64(peak-base) / n; perRow > 26.8 { // 256 MiB for ten million
		t.Errorf("%.1f bytes a row", perRow)
	}
	if after := heap(); after > base+1<<20 {
		t.Errorf("%d bytes stay", after-base)
	}
	runtime.KeepAlive(trace)
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// watched measures the heap near the end.
type watched struct {
	generated
	peak *uint64
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.generated.Read(p)
	if err == io.EOF {
		*w.peak = max(*w.peak, heap())
	}
	return n, err
}

func TestTraceNextDoesNotAllocate(t *testing.T) {
	trace, err := Open("generated", func() (io.ReadCloser, error) { return &generated{n: 100_000}, nil }, TraceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := trace.Source([]string{"m"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	next := func() {
		if _, err := s.Next(); err != nil {
			t.Fatal(err)
		}
	}
	for range 10_000 {
		next()
	}
	if n := testing.AllocsPerRun(10_000, next); n > 0.01 {
		t.Errorf("%v allocations an instant", n)
	}
}

func TestWriterReadsBack(t *testing.T) {
	items := []Item{
		{ID: "a/1", Model: "m", At: 0, Deadline: scheduler.Never, Work: scheduler.WorkUnit, Service: NoService},
		{ID: `quote " and \ é`, Job: "j", Model: "n", Tenant: "t", At: 7, Priority: -5, Deadline: 8, Work: 1_500_000, Service: 0, After: []string{"a/1", "c"}},
		{ID: "c", Job: "j", Model: "n", At: 7, Deadline: 0, Work: 1, Service: 9},
	}
	var out bytes.Buffer
	w := NewWriter(&out)
	for i := range items {
		if err := w.Write(&items[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	want := Header + `
{"id":"a/1","model":"m","at_ns":0}
{"id":"quote \" and \\ é","job":"j","model":"n","at_ns":7,"priority":-5,"deadline_ns":8,"work":1.5,"service_ns":0,"after":["a/1","c"],"tenant":"t"}
{"id":"c","job":"j","model":"n","at_ns":7,"deadline_ns":0,"work":0.000001,"service_ns":9}
`
	if out.String() != want {
		t.Errorf("wrote\n%s", out.String())
	}
	trace := mustOpen(t, out.String(), TraceOptions{})
	i := 0
	err := trace.Each(func(got *Item) error {
		if fmt.Sprintf("%+v", *got) != fmt.Sprintf("%+v", items[i]) {
			t.Errorf("read back %+v, want %+v", *got, items[i])
		}
		i++
		return nil
	})
	if err != nil || i != len(items) {
		t.Error(i, err)
	}
	for _, bad := range []Item{{}, {ID: "x"}, {ID: "x", Model: "m\n", Work: 1}, {ID: "x", Model: "m", At: -1, Work: 1}, {ID: "x", Model: "m", At: 1, Work: 1},
		{ID: "x", Model: "m", At: 9}, {ID: "x", Model: "m", At: 9, Work: 1, After: []string{"x"}}} {
		bad.Deadline = scheduler.Never
		var e *ItemError
		if err := w.Write(&bad); !errors.As(err, &e) {
			t.Errorf("%+v was written: %v", bad, err)
		}
	}
}

// A generated workload written as a trace and read again is the same workload.
func TestRecordedGeneratorIsTheSame(t *testing.T) {
	c := Config{Arrivals: Arrivals{Kind: Poisson, Rate: Rate{40, scheduler.Hour}}, Pipelines: []Pipeline{video()}, Items: 2000}
	catalogue := []string{"m0", "m1", "m2", "m3", "m4"}
	var first, second bytes.Buffer
	if _, err := Record(&first, source(t, c, 3, 1), catalogue); err != nil {
		t.Fatal(err)
	}
	trace := mustOpen(t, first.String(), TraceOptions{})
	s, err := trace.Source(catalogue, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := drain(t, s), drain(t, source(t, c, 3, 1)); !slices.Equal(got, want) {
		t.Error("the trace gives other events than the generator")
	}
	if s, err = trace.Source(catalogue, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := Record(&second, s, catalogue); err != nil || first.String() != second.String() {
		t.Errorf("recording a trace does not give it back: %v", err)
	}
	c = Config{Arrivals: Arrivals{Kind: Closed, Clients: 1}, Streams: oneModel, Items: 5}
	if _, err := Record(io.Discard, source(t, c, 1, 0), catalogue); err != ErrReactive {
		t.Errorf("a closed loop: %v", err)
	}
}

func TestOpenFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "t.jsonl")
	if err := os.WriteFile(name, []byte(Header+"\n"+simple("a", 0)), 0o600); err != nil {
		t.Fatal(err)
	}
	trace, err := OpenFile(name, TraceOptions{})
	if err != nil || trace.Items() != 1 {
		t.Error(err)
	}
	if _, err := OpenFile(name+".missing", TraceOptions{}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// FuzzTrace: what is accepted can be written and gives the same items again.
func FuzzTrace(f *testing.F) {
	f.Add(Header + "\n" + simple("a", 0) + waiting("b", "a")[:0] + item(`"id":"c","model":"n","at_ns":5,"after":["a"],"priority":-3,"work":2.5,"job":"j","tenant":"u","deadline_ns":9,"service_ns":7`))
	f.Add(Header + "\n" + waiting("a", "b") + waiting("b", "a"))
	f.Add(Header + "\n" + waiting("a", "b") + waiting("b"))
	f.Add("\ufeff" + Header + "\r\n{\"id\":\"\\ud83d\\ude00\",\"model\":\"m\",\"at_ns\":-0,\"work\":1e-3}")
	f.Add("[")
	f.Fuzz(func(t *testing.T, text string) {
		trace, err := openText(text)
		if err != nil {
			var e *TraceError
			if !errors.As(err, &e) && !strings.Contains(err.Error(), "t.jsonl") {
				t.Fatalf("an error without its place: %v", err)
			}
			return
		}
		copied := func(trace *Trace) string {
			var out bytes.Buffer
			w := NewWriter(&out)
			if err := trace.Each(w.Write); err != nil {
				t.Fatal(err)
			}
			w.Close()
			return out.String()
		}
		first := copied(trace)
		again, err := openText(first)
		if err != nil {
			t.Fatalf("%v in\n%s", err, first)
		}
		if second := copied(again); second != first {
			t.Fatalf("%s\n%s", first, second)
		}
		var catalogue []string
		for _, m := range trace.Models() {
			catalogue = append(catalogue, m.Name)
		}
		s, err := trace.Source(catalogue, nil)
		if err != nil {
			t.Fatal(err)
		}
		drain(t, s)
	})
}

func BenchmarkTrace(b *testing.B) {
	trace, err := Open("generated", func() (io.ReadCloser, error) { return &generated{n: b.N + 1}, nil }, TraceOptions{})
	if err != nil {
		b.Fatal(err)
	}
	s, err := trace.Source([]string{"m"}, nil)
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; i < b.N; i++ {
		if _, err := s.Next(); err != nil {
			b.Fatal(err)
		}
	}
}

// Long lines are shown around the place that is meant.
func TestExcerpt(t *testing.T) {
	long := strings.Repeat("é", 300) + "\x1b" + strings.Repeat("x", 300)
	for _, test := range []struct {
		line   string
		column int
		want   string
	}{
		{`{"a":1}`, 0, "{\"a\":1}\n^"},
		{`{"é":x}`, 6, "{\"é\":x}\n     ^"},
		{"a\tb\r\n", 2, "a\\tb\n   ^"},
		{"ab", 9, "ab\n  ^"},
		{"", 3, "\n^"},
		{long, 600, "…" + strings.Repeat("é", 50) + `\x1b` + strings.Repeat("x", 99) + "…\n" + strings.Repeat(" ", 51) + "^"},
	} {
		if got := Excerpt([]byte(test.line), test.column); got != test.want {
			t.Errorf("%q at %d gives\n%s\nwant\n%s", test.line, test.column, got, test.want)
		}
	}
}
