package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
)

// utf16Text encodes a text with its mark.
func utf16Text(s string, order binary.AppendByteOrder) string {
	b := order.AppendUint16(nil, 0xfeff)
	for _, u := range utf16.Encode([]rune(s)) {
		b = order.AppendUint16(b, u)
	}
	return string(b)
}

const csvHead = "req_id,model,arrival_s,prompt_tokens,output_tokens\n"

// fromCSV is an import of a CSV file by a preset.
func fromCSV(text string) given {
	return given{files: map[string]string{"in.csv": text}, args: []string{"import", "in.csv", "--as", "csv", "--preset", "arena27", "-o", "out.jsonl"}}
}

const gentd26Head = "gmt_create,predict_status,exec_time_seconds,groupId,checkpoint_model_version_id,num_lora\n"

func fromGenTD26(text string) given {
	return given{files: map[string]string{"in.csv": text}, args: []string{"import", "in.csv", "--as", "gentd26", "--service", "exec", "-o", "out.jsonl"}}
}

func fromDISB(text string) given {
	return given{files: map[string]string{"in.json": text}, args: []string{"import", "in.json", "--as", "disb", "-o", "out.jsonl"}}
}

// disbTrace has one task with recorded times.
func disbTrace(times string) string {
	return `{"time": 9, "tasks": [{"id": "t", "load": {"type": "trace", "trace": [` + times + `]}, "client": {"model_name": "m"}}]}`
}

// exception is what the list lets pass by words, not by its exit codes.
func exception(c badInput) badInput {
	c.exits = nil
	return c
}

// bare is g for messages about a file as a whole.
func bare(g given) given {
	g.noLine = true
	return g
}

func badTraces() []badInput {
	native := func(text string) given { return given{trace: text} }
	return []badInput{
		refused("trace-syntax-01", "", native(""), `error: bad.yaml:8:19: workload.trace.file: t.jsonl: the file is empty`),
		refused("trace-syntax-01", "CSV", bare(fromCSV("")), `error: in.csv: the file is empty`),
		refused("trace-syntax-01", "GenTD26", bare(fromGenTD26("")), `error: in.csv: the file is empty`),
		refused("trace-syntax-01", "DISB", bare(fromDISB("")), `error: in.json: the file is empty`),
		refused("trace-syntax-02", "", native("\n  \n\r\n# a comment\n\t\n"), `t.jsonl: the file is empty`),
		refused("trace-syntax-02", "head only", native(traceHead+"\n# nothing\n"), `t.jsonl: the trace holds no items`),
		refused("trace-syntax-02", "CSV", bare(fromCSV("\n\n\r\n")), `in.csv: the file is empty`),
		refused("trace-syntax-02", "DISB", bare(fromDISB(" \n\n")), `in.json: the file is empty`),
		same("trace-syntax-03", "", "\ufeff"+goodTrace, goodTrace),
		sameImport("trace-syntax-03", "CSV", fromCSV("\ufeff"+csvHead+"0,m,1.5,1,1\n"), fromCSV(csvHead+"0,m,1.5,1,1\n")),
		sameImport("trace-syntax-03", "DISB", fromDISB("\ufeff"+disbTrace("1")), fromDISB(disbTrace("1"))),
		same("trace-syntax-04", "", strings.TrimSuffix(goodTrace, "\n"), goodTrace),
		sameImport("trace-syntax-04", "CSV", fromCSV(csvHead+"0,m,1.5,1,1"), fromCSV(csvHead+"0,m,1.5,1,1\n")),
		sameImport("trace-syntax-04", "GenTD26", fromGenTD26(gentd26Head+"2024-11-15 16:57:50,SUCCEED,30,g,m,1"), fromGenTD26(gentd26Head+"2024-11-15 16:57:50,SUCCEED,30,g,m,1\n")),
		refused("trace-syntax-05", "in a key", native(goodTrace+`{"id":"e","mod`), `error: t.jsonl:6:11: the string does not end; is the line cut off?`, `  {"id":"e","mod`),
		refused("trace-syntax-05", "in a value", native(goodTrace+`{"id":"e","model":"whis`), `error: t.jsonl:6:19: the string does not end; is the line cut off?`),
		refused("trace-syntax-05", "after a value", native(goodTrace+`{"id":"e","model":"whisper"`), `error: t.jsonl:6:28: the line ends where ',' is expected or '}' after a value; is it cut off?`),
		refused("trace-syntax-05", "in a number", native(goodTrace+`{"id":"e","model":"whisper","at_ns":90000000`), `error: t.jsonl:6:45: the line ends where`),
		refused("trace-syntax-05", "DISB", fromDISB(disbTrace("1")[:60]), `error: in.json:1:61: the JSON is cut off`),
		refused("trace-syntax-06", "", native(`[{"id":"a","model":"whisper","at_ns":0}]`), `error: t.jsonl:1:1: an array; one object a line is expected`),
		refused("trace-syntax-06", "below the head", native(traceHead+`[{"id":"a","model":"whisper","at_ns":0}]`), `error: t.jsonl:2:1: an array; one object a line is expected`),
		{"trace-syntax-06", "is not read whole", []int{exitUsage}, testArrayIsNotRead},
		refused("trace-syntax-07", "", native(traceHead+`{"id":"a","id":"b","model":"whisper","at_ns":0}`), `error: t.jsonl:2:11: the field "id" stands there twice`),
		refused("trace-syntax-07", "DISB", fromDISB(`{"time": 9, "time": 8, "tasks": []}`), `error: in.json:1:13: the key "time" stands there twice`),
		refused("trace-syntax-08", "", native(traceHead+`{"id":"a","modle":"whisper","at_ns":0}`), `error: t.jsonl:2:11: unknown field "modle"; did you mean "model"?`),
		refused("trace-syntax-09", "escaped", native(traceHead+item(`a\u0000`, "0", "")), `error: t.jsonl:2:7: id "a\x00" holds the control character '\x00'`),
		refused("trace-syntax-09", "raw", native(traceHead+item("a\x1b", "0", "")), `error: t.jsonl:2:9: the control character '\x1b' stands in a string`, `  {"id":"a\x1b"`),
		refused("trace-syntax-09", "model", native(traceHead+`{"id":"a","model":"whis\u009bper","at_ns":0}`), `error: t.jsonl:2:19: model "whis\u009bper" holds the control character '\u009b'`),
		refused("trace-syntax-09", "CSV", fromCSV(csvHead+"0,m\x01,0.5,1,1\n"), `error: in.csv:2:1: model "m\x01" holds the control character '\x01'`),
		refused("trace-syntax-09", "GenTD26", fromGenTD26(gentd26Head+"2024-11-15 16:57:50,SUCCEED,30,g,m\x7f,1\n"), `error: in.csv:2:1: model "m\x7f" holds the control character '\x7f'`),
		refused("trace-syntax-09", "DISB", fromDISB(strings.Replace(disbTrace("1"), `"m"`, `"m\u0007"`, 1)), `error: in.json:1:23: model "m\a" holds the control character '\a'`),
		refused("trace-syntax-10", "", fromCSV(csvHead+"0,\"m,0.5,1,1\n1,m,0.6,1,1\n"), `error: in.csv:2:3: the quote does not end`, `  0,"m,0.5,1,1`),
		refused("trace-syntax-10", "mapped", fromMapped("t,m\n1,\"x\n", `{time: {column: t, unit: s}, model: {column: m}}`), `error: in.csv:2:3: the quote does not end`),
		refused("trace-syntax-10", "GenTD26", fromGenTD26(gentd26Head+"\"2024-11-15 16:57:50,SUCCEED,30,g,m,1\n"), `error: in.csv:2:1: the quote does not end`),
		refused("trace-syntax-11", "missing", fromCSV(csvHead+"0,m,0.5,1,1\n1,m,0.6,1\n"), `error: in.csv:3:9: the row has 4 columns, the header 5`),
		refused("trace-syntax-11", "extra", fromCSV(csvHead+"0,m,0.5,1,1,9\n"), `error: in.csv:2:11: the row has 6 columns, the header 5`),
		refused("trace-syntax-11", "GenTD26", fromGenTD26(gentd26Head+"2024-11-15 16:57:50,SUCCEED,30,g,m\n"), `the row has 5 columns, the header 6`),
		refused("trace-syntax-12", "missing", fromCSV("model,prompt_tokens,output_tokens\nm,1,1\n"), `error: in.csv:1:1: the column "arrival_s" is missing; found "model", "prompt_tokens", "output_tokens"`),
		refused("trace-syntax-12", "twice", fromCSV("model,arrival_s,model,prompt_tokens,output_tokens\nm,1,m,1,1\n"), `error: in.csv:1:17: the column "model" stands there twice; found "model", "arrival_s", "model"`),
		sameImport("trace-syntax-12", "reordered", fromCSV("output_tokens,arrival_s,model,prompt_tokens,req_id\n3,1.5,m,2,0\n4,2.5,n,5,1\n"), fromCSV(csvHead+"0,m,1.5,2,3\n1,n,2.5,5,4\n")),
		refused("trace-syntax-13", "semicolons", fromCSV(strings.ReplaceAll(csvHead+"0,m,0,1,1\n", ",", ";")), `error: in.csv:1:1: the column`, `separated by semicolons, not ','`),
		refused("trace-syntax-13", "tabs", fromCSV(strings.ReplaceAll(csvHead+"0,m,0,1,1\n", ",", "\t")), `error: in.csv:1:1: the column`, `separated by tabs, not ','`),
		exception(sameImport("trace-syntax-13", "named", fromMapped("t;m\n1;x\n", `{delimiter: ";", time: {column: t, unit: s}, model: {column: m}}`), fromMapped("t,m\n1,x\n", `{time: {column: t, unit: s}, model: {column: m}}`))),
		refused("trace-syntax-14", "little-endian", bare(native(utf16Text(goodTrace, binary.LittleEndian))), `error: t.jsonl:1:1: this is UTF-16; UTF-8 is expected`),
		refused("trace-syntax-14", "big-endian", bare(native(utf16Text(goodTrace, binary.BigEndian))), `t.jsonl:1:1: this is UTF-16`),
		refused("trace-syntax-14", "without mark", bare(native(utf16Text(goodTrace, binary.LittleEndian)[2:])), `t.jsonl:1:1: this is UTF-16`),
		refused("trace-syntax-14", "CSV", bare(fromCSV(utf16Text(csvHead, binary.BigEndian))), `error: in.csv:1:1: this is UTF-16`),
		refused("trace-syntax-14", "DISB", bare(fromDISB(utf16Text(disbTrace("1"), binary.LittleEndian))), `error: in.json:1:1: this is UTF-16`),
	}
}

// fromMapped is an import of a CSV file by a map.
func fromMapped(text, columns string) given {
	return given{files: map[string]string{"in.csv": text, "map.yaml": columns}, args: []string{"import", "in.csv", "--as", "csv", "--map", "map.yaml", "-o", "out.jsonl"}}
}

// imported runs an import and returns the items that it wrote, without ids:
// those that stand for none depend on the bytes of the source.
func imported(t *testing.T, g given) (items []map[string]any) {
	t.Helper()
	g.place(t)
	if code, _, stderr := vramsim(t, g.args...); code != exitOK {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	data, err := os.ReadFile("out.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range bytes.Split(bytes.TrimSpace(data), []byte("\n"))[1:] {
		fields := map[string]any{}
		if err := json.Unmarshal(line, &fields); err != nil {
			t.Fatal(err)
		}
		delete(fields, "id")
		items = append(items, fields)
	}
	return items
}

// sameImport is a foreign trace that gives the same items as another one.
func sameImport(id, form string, g, as given) badInput {
	return badInput{id, form, []int{exitOK}, func(t *testing.T) {
		got, err := json.Marshal(imported(t, g))
		if err != nil {
			t.Fatal(err)
		}
		want, err := json.Marshal(imported(t, as))
		if err != nil {
			t.Fatal(err)
		}
		if len(want) < 10 || !bytes.Equal(got, want) {
			t.Errorf("items %s, want %s", got, want)
		}
	}}
}

// testArrayIsNotRead: a large array is refused at its first byte.
func testArrayIsNotRead(t *testing.T) {
	given{trace: "[" + strings.Repeat(`{"id":"a","model":"whisper","at_ns":0},`, 500_000)}.place(t)
	var code int
	var stderr string
	bytes := allocated(func() { code, _, stderr = vramsim(t, "run", "bad.yaml", "-o", "out") })
	if code != exitUsage || !strings.Contains(stderr, "t.jsonl:1:1: an array; one object a line is expected") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if bytes > 15<<20 {
		t.Errorf("%d bytes were allocated for a file of 20 MB", bytes)
	}
}

func badNumbers() []badInput {
	at := func(text string) given { return given{trace: traceHead + item("a", text, "")} }
	field := func(more string) given { return given{trace: traceHead + item("a", "0", more)} }
	all := []badInput{
		refused("numbers-02", "", at("-1"), `error: t.jsonl:2:37: at_ns is -1; it must not be negative`),
		refused("numbers-02", "CSV", fromCSV(csvHead+"0,m,-0.5,1,1\n"), `error: in.csv:2:5: arrival_s is -0.5; it must not be negative`),
		refused("numbers-02", "DISB", fromDISB(disbTrace("-1")), `error: in.json:1:71: the task "t" has -1 at trace[0]; integer milliseconds are expected`),
		refused("numbers-02", "date before 1970", fromMapped("t,m\n1969-12-31,x\n", `{time: {column: t, layout: "2006-01-02"}, model: {column: m}}`), `error: in.csv:2:1: t is "1969-12-31"; dates from 1970 to 2262 are expected`),
		{"numbers-03", "in a batch", []int{exitUsage}, testOverflow(item("a", "9000000000000000000", `,"service_ns":9000000000000000000`), `batch of item 0`, `(item "a")`)},
		{"numbers-03", "in a load", []int{exitUsage}, testOverflow(item("a", "9223372036854775800", ""), `load_started of model "whisper"`)},
		refused("numbers-03", "in the trace", at("9223372036854775807"), `error: t.jsonl:2:37: at_ns is`, `too large`),
		refused("numbers-03", "by the rate", given{trace: traceHead + item("a", "9000000000000000000", ""), edits: []string{"{trace: t.jsonl}", "{trace: {file: t.jsonl, rate: 0.001x}}"}},
			`error: t.jsonl:2:37: at_ns is 9000000000000000000, which at 0.001x passes the end of time`),
		refused("numbers-04", "", given{trace: traceHead + item("a", "5", "") + item("b", "4", "")}, `error: t.jsonl:3:37: at_ns is 4, before the 5 of the item above: a trace is sorted by at_ns`),
		sameImport("numbers-04", "CSV is sorted", fromCSV(csvHead+"0,m,9,1,1\n1,n,2,1,1\n2,o,9,1,1\n3,p,2,1,1\n"), fromCSV(csvHead+"1,n,2,1,1\n3,p,2,1,1\n0,m,9,1,1\n2,o,9,1,1\n")),
		{"numbers-05", "", []int{exitOK}, testTies},
		{"numbers-06", "", []int{exitOK}, testZeroDurations},
		refused("numbers-07", "service", field(`,"service_ns":-1`), `error: t.jsonl:2:52: service_ns is -1; it must not be negative`),
		refused("numbers-07", "work", field(`,"work":-1`), `error: t.jsonl:2:46: work is -1; it must be positive`),
		refused("numbers-07", "load", given{trace: goodTrace, edits: []string{"load: 5s", "load: -5s"}}, `error: bad.yaml:6:80: models.whisper.load.disk is "-5s" and must not be negative`),
		refused("numbers-07", "batch", given{trace: goodTrace, edits: []string{"per_item: 1.5s", "per_item: -1.5s"}}, `error: bad.yaml:6:`, `is "-1.5s" and must not be negative`),
		refused("numbers-07", "mapped", fromMapped("t,m,d\n1,x,-3\n", `{time: {column: t, unit: s}, model: {column: m}, service: {column: d, unit: s}}`), `error: in.csv:2:5: d is -3; it must not be negative`),
		refused("numbers-07", "GenTD26", fromGenTD26(gentd26Head+"2024-11-15 16:57:50,SUCCEED,-30,g,m,1\n"), `error: in.csv:2:29: exec_time_seconds is -30; it must not be negative`),
		refused("numbers-08", "", field(`,"service_ns":0.001`), `error: t.jsonl:2:52: service_ns is "0.001"; it must be an integer number of nanoseconds`),
		refused("numbers-08", "experiment", given{trace: goodTrace, edits: []string{"load: 5s", "load: 1e-12s"}}, `error: bad.yaml:6:80: models.whisper.load.disk is "1e-12s"`),
		accepted("numbers-08", "CSV is rounded", fromCSV(csvHead+"0,m,1e-12,1,1\n1,m,0.0000000025,1,1\n"), func(t *testing.T, _, stderr string) {
			if !strings.Contains(stderr, "warning: 2 times have parts below a nanosecond and were rounded half to even") {
				t.Errorf("no warning: %s", stderr)
			}
			if data, err := os.ReadFile("out.jsonl.source.json"); err != nil || !strings.Contains(string(data), `"rounded_times": 2`) {
				t.Errorf("the report is %s, %v", data, err)
			}
		}),
		accepted("numbers-08", "in an experiment", given{files: map[string]string{"in.csv": csvHead + "0,whisper,0,1,1\n1,whisper,1e-12,1,1\n"},
			edits: []string{"{trace: t.jsonl}", "{trace: {file: in.csv, format: csv, preset: arena27}}"}, args: []string{"run", "bad.yaml", "-o", "out"}}, func(t *testing.T, _, stderr string) {
			if !strings.Contains(stderr, "warning: workload.trace: 1 times have parts below a nanosecond and were rounded half to even") {
				t.Errorf("no warning: %s", stderr)
			}
		}),
		refused("numbers-09", "string", at(`"12.5"`), `error: t.jsonl:2:37: at_ns is a string; it must be an integer number of nanoseconds`),
		refused("numbers-09", "separator", at("1,000"), `error: t.jsonl:2:39: '0' stands where`),
		refused("numbers-09", "full-width digit", at("１２"), `error: t.jsonl:2:37: at_ns is "１２"; it must be an integer number of nanoseconds`),
		refused("numbers-09", "CSV separator", fromCSV(csvHead+"0,m,\"1,000\",1,1\n"), `error: in.csv:2:5: arrival_s is "1,000"; a decimal number is expected`),
		refused("numbers-09", "CSV full-width digit", fromCSV(csvHead+"0,m,１,1,1\n"), `error: in.csv:2:5: arrival_s is "１"; a decimal number is expected`),
		refused("numbers-09", "DISB string", fromDISB(disbTrace(`"12"`)), `error: in.json:1:71: the task "t" has "12" at trace[0]; integer milliseconds are expected`),
		sameImport("numbers-10", "minus zero", fromCSV(csvHead+"0,m,-0,1,1\n1,m,-0.00e3,1,1\n"), fromCSV(csvHead+"0,m,0,1,1\n1,m,0,1,1\n")),
		sameImport("numbers-10", "underflow", fromCSV(csvHead+"0,m,1e-400,1,1\n1,m,1e-400,1,1\n"), fromCSV(csvHead+"0,m,0,1,1\n1,m,0,1,1\n")),
		{"numbers-10", "same logs", []int{exitOK}, testImportedZero},
	}
	for _, v := range []struct{ text, says string }{
		{"NaN", "is NaN, which is not a finite number"}, {`"nan"`, "is a string; it must be an integer"}, {"Inf", "is Inf, which is not a finite number"},
		{"Infinity", "which is not a finite number"}, {"+Infinity", "which is not a finite number"}, {"-Infinity", "not"}, {"1e400", `is "1e400"; it must be an integer`}, {"0x1p-2", "integer"}, {"1_000", "integer"},
	} {
		all = append(all, refused("numbers-01", v.text, at(v.text), "error: t.jsonl:2:37: at_ns ", v.says))
	}
	for _, v := range []struct{ text, says string }{
		{"NaN", "not a finite number"}, {"nan", "not a finite number"}, {"Inf", "not a finite number"}, {"+Infinity", "not a finite number"}, {"-inf", "finite"},
		{"1e400", "too large"}, {"0x1p-2", "a decimal number is expected"}, {"1_000", "a decimal number is expected"},
	} {
		all = append(all, refused("numbers-01", "CSV "+v.text, fromCSV(csvHead+"0,m,"+v.text+",1,1\n"), "error: in.csv:2:5: arrival_s is ", v.says))
	}
	for text, column := range map[string]string{"NaN": "71", "1e400": "71", "Infinity": "71", "0x1": "72", "1_000": "72"} {
		all = append(all, refused("numbers-01", "DISB "+text, fromDISB(disbTrace(text)), "error: in.json:1:"+column+": "))
	}
	return all
}

// testOverflow: time never wraps; the run stops, says where, and leaves what it
// had written before as an incomplete run.
func testOverflow(line string, says ...string) func(t *testing.T) {
	return func(t *testing.T) {
		given{trace: traceHead + line}.place(t)
		code, _, stderr := vramsim(t, "run", "bad.yaml", "-o", "out")
		if code != exitUsage {
			t.Fatalf("exit %d: %s", code, stderr)
		}
		checkMessage(t, lastError(stderr), append(says, "error: policy ", "time overflow: "), false)
		manifest, err := os.ReadFile("out/bad/latest/manifest.json")
		if err != nil || !strings.Contains(string(manifest), `"status": "INCOMPLETE"`) || !strings.Contains(string(manifest), "time overflow") {
			t.Errorf("the manifest is %s, %v", manifest, err)
		}
	}
}

// lastError is the part of standard error from its last error on.
func lastError(stderr string) string {
	return stderr[max(0, strings.LastIndex(stderr, "error: ")):]
}

// testTies: file order decides, and exchanging two lines of one instant
// exchanges their items and nothing else.
func testTies(t *testing.T) {
	first, second := item("x", "0", `,"service_ns":1000`), item("y", "0", `,"service_ns":5000`)
	var starts []string
	var counts []float64
	for _, trace := range []string{first + second, second + first} {
		given{trace: traceHead + trace, edits: []string{"max: 8", "max: 1", "[{use: seed}, {use: sticky}]", "[{use: fifo}]"}}.place(t)
		f := runJSON(t, exitOK, "bad.yaml", "-o", "out")
		counts = append(counts, value(t, f, 0, "items_completed", "value"), value(t, f, 0, "makespan_seconds", "value"))
		code, rows, stderr := vramsim(t, "export", "out/bad/latest", "--to", "csv")
		if code != exitOK {
			t.Fatal(stderr)
		}
		lines := strings.Split(strings.TrimSpace(rows), "\n")[1:]
		slices.SortFunc(lines, strings.Compare)
		starts = append(starts, strings.Join(lines, "\n"))
	}
	if starts[0] == starts[1] {
		t.Errorf("the order of the lines changes nothing:\n%s", starts[0])
	}
	if counts[0] != 2 || counts[0] != counts[2] || counts[1] != counts[3] {
		t.Errorf("items and makespan %v", counts)
	}
}

// many writes n lines to t.jsonl.
func many(t *testing.T, n int, line func(b []byte, i int) []byte) {
	t.Helper()
	b := []byte(traceHead)
	for i := range n {
		b = append(line(b, i), '\n')
	}
	if err := os.WriteFile("t.jsonl", b, 0o666); err != nil {
		t.Fatal(err)
	}
}

// noLog is an experiment of one policy that keeps no log, and charges nothing.
func noLog(t *testing.T) {
	t.Helper()
	given{edits: []string{"{report: []", "{events: none, report: []", "[{use: seed}, {use: sticky}]", "[{use: seed}]", "base: 300ms, per_item: 1.5s", "base: 0s, per_item: 0s"}}.place(t)
}

// testZeroDurations: a million items at one instant are no livelock.
func testZeroDurations(t *testing.T) {
	n := amount(1_000_000, 100_000)
	noLog(t)
	many(t, n, func(b []byte, i int) []byte {
		return appendItem(b, i, `,"at_ns":0,"service_ns":0`)
	})
	start := cpuTime()
	f := runJSON(t, exitOK, "bad.yaml")
	if got := value(t, f, 0, "items_completed", "value"); got != float64(n) {
		t.Errorf("%v of %d items", got, n)
	}
	t.Logf("%d items in %v", n, cpuTime()-start)
}

// testImportedZero: underflow and minus zero give the logs of 0.
func testImportedZero(t *testing.T) {
	var want []string
	for _, zero := range []string{"0", "-0", "1e-400"} {
		write := csvHead + "0,whisper," + zero + ",1,1\n1,qwen3," + zero + ",1,1\n"
		got := digests(t, given{files: map[string]string{"in.csv": write}, edits: []string{"{trace: t.jsonl}", "{trace: {file: in.csv, format: csv, preset: arena27}}"}})
		got = slices.Clone(got)
		if want == nil {
			want = got
		}
		if len(got) != 2 || !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", zero, got, want)
		}
	}
}
