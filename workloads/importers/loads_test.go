package importers

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/workloads"
)

func TestLoads(t *testing.T) {
	for _, c := range []struct {
		file, format string
		want         []Loads
		rows         int64
		dropped      map[string]int64
		rounded      int64
	}{
		{"mini_update_latency.csv", "gentd26-loads", []Loads{{"mini_update_latency", false, []scheduler.Time{2000500 * scheduler.Microsecond, 4 * scheduler.Second, 1500 * scheduler.Millisecond}}},
			5, map[string]int64{"missing": 2}, 0},
		{"mini.json", "serverlessllm-loads", []Loads{{"org/tiny_7b", true, []scheduler.Time{1250 * scheduler.Millisecond, 1500 * scheduler.Millisecond}},
			{"small", true, []scheduler.Time{100 * scheduler.Millisecond}}}, 3, map[string]int64{}, 1},
	} {
		got, report, err := ReadLoads(filepath.Join("testdata", "loads", c.file), c.format, LoadOptions{})
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Fatalf("%s: %v, %v", c.file, got, err)
		}
		if report.RowsRead != c.rows || !reflect.DeepEqual(report.Dropped, c.dropped) || report.Rounded != c.rounded || report.Models != len(c.want) {
			t.Errorf("%s: %+v", c.file, report)
		}
		if data, err := json.Marshal(report); err != nil || strings.Contains(string(data), "arrival") || !strings.Contains(string(data), `"sha256":"`) {
			t.Errorf("the report is %s (%v)", data, err)
		}
	}
}

// The originals are in archives with extended headers.
func TestLoadsInArchive(t *testing.T) {
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	w := tar.NewWriter(z)
	text := "timestamp_anon,value,container_ip\n1.0,3000.0,a\n"
	for _, name := range []string{"._x_update_latency.csv", "x_update_latency.csv", "y_update_latency.csv"} {
		if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(text)), Mode: 0o600, Typeflag: tar.TypeReg, PAXRecords: map[string]string{"LIBARCHIVE.xattr.x": "eA"}}); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, text)
	}
	w.Close()
	z.Close()
	path := filepath.Join(t.TempDir(), "x.tar.gz")
	if err := os.WriteFile(path, buf.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	got, _, err := ReadLoads(path, "gentd26-loads", LoadOptions{})
	if err != nil || len(got) != 2 || got[1].Name != "y_update_latency" || got[1].Times[0] != 3*scheduler.Second {
		t.Errorf("%v, %v", got, err)
	}
	path = strings.Replace(path, "x.tar.gz", "cut.tar.gz", 1)
	if err := os.WriteFile(path, buf.Bytes()[:buf.Len()/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ReadLoads(path, "gentd26-loads", LoadOptions{}); err == nil {
		t.Error("half an archive is read")
	}
}

// Everything wrong is said with its line and column.
func TestBadLoads(t *testing.T) {
	const head = "timestamp_anon,value,container_ip\n"
	for _, c := range []struct{ format, name, text, want string }{
		{"gentd26-loads", "x.csv", "", "the file is empty"},
		{"gentd26-loads", "x.csv", "timestamp_anon,value\n1,2\n", `x.csv:1:1: the column "container_ip" is missing`},
		{"gentd26-loads", "x.csv", head + "1.0,2000,a\n2.0,-3,a\n", `x.csv:3:5: value is -3; it must not be negative`},
		{"gentd26-loads", "x.csv", head + "1.0,NaN,a\n", `x.csv:2:5: value is "NaN", which is not a finite number`},
		{"gentd26-loads", "x.csv", head + "1.0,null,a\n", `x.csv:2:5: value is "null"; a decimal number is expected`},
		{"gentd26-loads", "x.csv", head + "soon,1,a\n", `x.csv:2:1: timestamp_anon is "soon"`},
		{"gentd26-loads", "x.csv", head + "1,1\n", `x.csv:2:3: the row has 2 columns`},
		{"gentd26-loads", "x.csv", head + "1,NULL,a\n", `none of the 1 rows is a load time`},
		{"gentd26-loads", "x.csv", head + "1,1e16,a\n", `x.csv:2:3: value is 1e16, which is too large`},
		{"gentd26-loads", "x.csv", head + "1,9e12,a\n", `takes longer than there is time`},
		{"gentd26-loads", "pod_gpu_memory_used_bytes.csv", head + "1,5,a\n", `memory of containers in bytes, not load times`},
		{"serverlessllm-loads", "x.json", "", "the file is empty"},
		{"serverlessllm-loads", "x.json", "{}", "x.json:1:1: this is {; a list of loads is expected"},
		{"serverlessllm-loads", "x.json", "[]", "none of the 0 rows is a load time"},
		{"serverlessllm-loads", "x.json", "[\n {\"model_name\": \"a_1\", \"loading_time\": 1},\n {\"model_name\": \"a\", \"loading_time\": 1}]", `x.json:3:17: model_name is "a"; a model and the number of its copy`},
		{"serverlessllm-loads", "x.json", "[\n {\"model_name\": \"a_1\",\n  \"loading_time\": \"1\"}]", `x.json:3:19: loading_time is "\"1\""`},
		{"serverlessllm-loads", "x.json", "[\n {\"model_name\": \"a_1\"}]", `x.json:2:2: loading_time is ""`},
		{"serverlessllm-loads", "x.json", "[{\"model_name\": \"a_1\", \"loading_time\": -1}]", `x.json:1:40: loading_time is "-1"`},
		{"serverlessllm-loads", "x.json", "[{\"model_name\": 3}]", `x.json:1:17: model_name is a number; string is expected`},
		{"serverlessllm-loads", "x.json", "[{\"model_name\": \"a_1\", \"model_name\": \"b_1\", \"loading_time\": 1}]", `x.json:1:24: the key "model_name" stands there twice`},
		{"serverlessllm-loads", "x.json", "[{\"model_name\": \"a_1\", \"loading_time\": 1}", `the JSON is cut off`},
		{"serverlessllm-loads", "x.json", "[{\"model_name\": \"a_1\",\n\"loading_time\" 1}]", `x.json:2:16: invalid character '1' after object key`},
		{"serverlessllm-loads", "x.json", "[{\"model_name\": \"a_1\", \"loading_time\": 1}] 5", `something stands after the end of the list`},
		{"serverlessllm-loads", "x.json", "[3]", `x.json:1:2: the element is a number`},
		{"serverlessllm-loads", "x.json", "[{\"model_name\": \"" + strings.Repeat("m", 300) + "_1\", \"loading_time\": 1}]", `x.json:1:2: model "mmm`},
		{"serverlessllm-loads", "x.json", "[{\"model_name\": \"" + strings.Repeat("m", 1<<21), `x.json:1:2: an element is longer than 1048576 bytes`},
		{"loads", "x.json", "[]", `there are no recorded load times of format "loads"`},
	} {
		path := filepath.Join(t.TempDir(), c.name)
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := ReadLoads(path, c.format, LoadOptions{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %.60q: %v, want %s", c.format, c.text, err, c.want)
		}
		var placed *workloads.TraceError
		var format *FormatError
		if !errors.As(err, &placed) && !errors.As(err, &format) {
			t.Errorf("%.60q: the error is a %T", c.text, err)
		}
	}
}

// A file of many lines is read one element at a time, and errors far into it
// are at their line.
func TestLoadsStream(t *testing.T) {
	var text strings.Builder
	text.WriteString("[\n")
	for i := range 50_000 {
		fmt.Fprintf(&text, "{\"model_name\": \"a_%d\",\n\"loading_time\": 1},\n", i)
	}
	text.WriteString("{\"model_name\": \"a_1\",\n\"loading_time\": x}]\n")
	s := serverless{r: &recording{decoding: decoding{report: newReport("x", "", Options{}, "")}}, file: "x", text: &lines{in: strings.NewReader(text.String())}}
	most := 0
	s.r.sample = func(string, bool, scheduler.Time) error {
		most = max(most, cap(s.text.starts))
		return nil
	}
	if err := s.list(); err == nil || !strings.HasPrefix(err.Error(), "x:100003:17:") {
		t.Errorf("%v", err)
	}
	if most == 0 || most > 4096 {
		t.Errorf("up to %d lines are remembered", most)
	}
	stop := errors.New("stop")
	if _, _, err := ReadLoads(filepath.Join("testdata", "loads", "mini.json"), "serverlessllm-loads", LoadOptions{Interrupted: func() error { return stop }}); err != stop {
		t.Errorf("an interrupted import ends with %v", err)
	}
}

// genTD26Golden is what golden.json says of a time series.
type genTD26Golden struct {
	Member     string
	Rows       int64
	Columns    []string
	Containers int
	Sum        json.Number
	Min        json.Number
	P50        json.Number `json:"p50_nearest"`
	P99        json.Number `json:"p99_nearest"`
	Max        json.Number
	Zeros      int
}

// Every key of golden.json about the time series, read as values of their kind.
func TestLoadsGolden(t *testing.T) {
	dir := recorded(t)
	var golden map[string]json.RawMessage
	readJSON(t, filepath.Join(dir, "golden.json"), &golden)
	series := 0
	for file, data := range golden {
		var want genTD26Golden
		if json.Unmarshal(data, &want) != nil || want.Containers == 0 {
			continue
		}
		series++
		t.Run(file, func(t *testing.T) { compareSeries(t, filepath.Join(dir, filepath.FromSlash(file)), &want) })
	}
	if series != 6 {
		t.Errorf("%d time series", series)
	}
}

func compareSeries(t *testing.T, path string, want *genTD26Golden) {
	q := quantityOf(want.Member)
	rat := func(n json.Number) *big.Rat {
		v, ok := new(big.Rat).SetString(n.String())
		if !ok {
			t.Fatalf("%s is no number", n)
		}
		return v.Mul(v, new(big.Rat).SetInt(new(big.Int).SetUint64(q.scale)))
	}
	var values []int64
	containers := map[string]bool{}
	sum := new(big.Int)
	r := &recording{decoding: decoding{path: path, report: newReport(path, "", Options{}, "")}}
	err := r.each(func(member string, in io.Reader) error {
		if member != want.Member {
			t.Errorf("the member is %s", member)
		}
		var head bytes.Buffer
		err := genTD26Series(r, member, io.TeeReader(in, &head), q.scale, func(v int64) error {
			values = append(values, v)
			sum.Add(sum, big.NewInt(v))
			return nil
		})
		rows := strings.Split(strings.TrimSuffix(head.String(), "\n"), "\n")
		if columns := strings.Split(rows[0], ","); !slices.Equal(columns, want.Columns) {
			t.Errorf("the columns are %v", columns)
		} else {
			at := slices.Index(columns, "container_ip")
			for _, row := range rows[1:] {
				containers[strings.Split(row, ",")[at]] = true
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(values)
	zeros, _ := slices.BinarySearch(values, 1)
	if r.report.RowsRead != want.Rows || len(containers) != want.Containers || zeros != want.Zeros {
		t.Errorf("%d rows, %d containers, %d zeros; want %+v", r.report.RowsRead, len(containers), zeros, want)
	}
	// The golden sum is a binary number; thirds of a unit were rounded on the way.
	off := new(big.Rat).Sub(new(big.Rat).SetInt(sum), rat(want.Sum))
	if relative := off.Quo(off, rat(want.Sum)); relative.Abs(relative).Cmp(big.NewRat(1, 1e9)) > 0 {
		t.Errorf("the sum is %v, want %v", sum, want.Sum)
	}
	rank := func(p int) int64 { return values[(len(values)-1)*p/100] }
	for name, c := range map[string]struct {
		got  int64
		want json.Number
	}{"min": {values[0], want.Min}, "p50": {rank(50), want.P50}, "p99": {rank(99), want.P99}, "max": {values[len(values)-1], want.Max}} {
		if new(big.Rat).SetInt64(c.got).Cmp(rat(c.want)) != 0 {
			t.Errorf("%s is %d, want %v", name, c.got, c.want)
		}
	}
}

func TestServerlessLLMGolden(t *testing.T) {
	dir := recorded(t)
	var golden map[string]struct {
		N      int
		Mean   float64 `json:"mean_s"`
		Min    float64 `json:"min_s"`
		Max    float64 `json:"max_s"`
		Models int
	}
	data, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	files := 0
	for file, want := range golden {
		if want.Mean == 0 {
			continue
		}
		files++
		got, report, err := ReadLoads(filepath.Join(dir, filepath.FromSlash(file)), "serverlessllm-loads", LoadOptions{})
		if err != nil || len(got) != 1 || len(got[0].Times) != want.N || report.Emitted != int64(want.N) {
			t.Errorf("%s: %v, %v", file, got, err)
			continue
		}
		var sum scheduler.Time
		for _, v := range got[0].Times {
			sum += v
		}
		near := func(a scheduler.Time, b float64) bool { d := a.Seconds() - b; return d < 2e-9 && d > -2e-9 }
		if !near(sum/scheduler.Time(want.N), want.Mean) || !near(slices.Min(got[0].Times), want.Min) || !near(slices.Max(got[0].Times), want.Max) {
			t.Errorf("%s: %v", file, got)
		}
	}
	if files != 4 {
		t.Errorf("%d files", files)
	}
}

func FuzzServerlessLLM(f *testing.F) {
	f.Add([]byte(`[{"model_name": "a_1", "loading_time": 1.5}]`))
	f.Add([]byte("[\n{\"loading_time\": 1e3, \"model_name\": \"b_2\"}, 3]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		n := 0
		r := &recording{decoding: decoding{report: newReport("x", "", Options{}, "")}}
		r.sample = func(name string, _ bool, took scheduler.Time) error {
			if n++; name == "" || took < 0 {
				t.Errorf("%q takes %v", name, took)
			}
			return nil
		}
		s := serverless{r: r, file: "x", text: &lines{in: bytes.NewReader(data)}}
		err := s.list()
		if err == nil && !json.Valid(bytes.TrimPrefix(data, []byte("\ufeff"))) {
			t.Errorf("%q is read", data)
		}
		if int64(n) != r.report.Emitted {
			t.Errorf("%d of %d", n, r.report.Emitted)
		}
	})
}
