package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/nvml/calibrate"
	"github.com/vramsim/vramsim/nvml/profile"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/sim/experiment"
)

func writeFiles(t *testing.T, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func loadProfile(t *testing.T, path string) *profile.Profile {
	t.Helper()
	p, err := experiment.LoadProfile(path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// recordedSeconds reads load times without the code under test: a column of
// the CSV in an archive, or loading_time of JSON.
func recordedSeconds(t *testing.T, path string) []float64 {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var values []float64
	if strings.HasSuffix(path, ".json") {
		var loads []struct {
			Took float64 `json:"loading_time"`
		}
		if err := json.Unmarshal(data, &loads); err != nil {
			t.Fatal(err)
		}
		for _, l := range loads {
			values = append(values, l.Took)
		}
	} else {
		z, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		archive := tar.NewReader(z)
		if _, err := archive.Next(); err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(archive).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		column := slices.Index(rows[0], "value")
		for _, row := range rows[1:] {
			v, err := strconv.ParseFloat(row[column], 64)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, v/1000)
		}
	}
	slices.Sort(values)
	return values
}

// statistics of sorted seconds: mean, p50, p90, p99.
func statisticsOf(sorted []float64) [4]float64 {
	sum := 0.0
	for _, v := range sorted {
		sum += v
	}
	n := len(sorted)
	return [4]float64{sum / float64(n), sorted[n/2], sorted[n*9/10], sorted[n*99/100]}
}

// reproduces checks that a distribution has the statistics of samples.
func reproduces(t *testing.T, d profile.Dist, sorted []float64) {
	t.Helper()
	want := statisticsOf(sorted)
	got := [4]float64{d.Mean(), d.Quantile(.5), d.Quantile(.9), d.Quantile(.99)}
	for i, name := range []string{"mean", "p50", "p90", "p99"} {
		if off := got[i]/1e9/want[i] - 1; math.Abs(off) > .03 {
			t.Errorf("%s is %v s, want %v s", name, got[i]/1e9, want[i])
		}
	}
}

// drawsAs checks that loads drawn in a simulation come from samples: the mean
// within four standard errors, and as large a share below each quantile as a
// binomial draw of so many gives, plus what 101 values round away.
func drawsAs(t *testing.T, drawn []scheduler.Time, sorted []float64) {
	t.Helper()
	want, n := statisticsOf(sorted), float64(len(drawn))
	mean, squares := 0.0, 0.0
	for _, v := range drawn {
		mean += v.Seconds() / n
	}
	for _, v := range sorted {
		squares += (v - want[0]) * (v - want[0]) / float64(len(sorted))
	}
	if off := math.Abs(mean - want[0]); off > 4*math.Sqrt(squares/n)+.001*want[0] {
		t.Errorf("the mean of %v draws is %v, want %v", n, mean, want[0])
	}
	for i, p := range []float64{.5, .9, .99} {
		below := 0.0
		for _, v := range drawn {
			if v.Seconds() <= want[i+1] {
				below++
			}
		}
		if off := math.Abs(below/n - p); off > 4*math.Sqrt(p*(1-p)/n)+1/float64(min(101, len(sorted)))+1e-9 {
			t.Errorf("%v of the draws are at most %v s, want %v", below/n, want[i+1], p)
		}
	}
}

// loadsOfRun returns what all loads of a run took.
func loadsOfRun(t *testing.T, dir string) (all []scheduler.Time) {
	t.Helper()
	r := &logReader{app: &app{stdout: io.Discard, stderr: io.Discard}, catalogues: map[string][]scheduler.Model{}}
	if err := r.source(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	for _, o := range r.collector.Models() {
		all = append(append(all, o.Load[scheduler.TierDisk]...), o.FirstLoad[scheduler.TierDisk]...)
	}
	return all
}

// TestCalibrateGenTD26: the recorded loads of base models, two modes. The
// figures of the mixture are those that are known of it; it is more than 3 %
// off and gives way. Of LoRAs it is not.
func TestCalibrateGenTD26(t *testing.T) {
	recordedTemplates(t)
	for _, c := range []struct {
		file, fit  string
		n          int
		stats      [4]float64
		says       []string
		lognormals bool
	}{
		{"basemodel", "mixture:2", 7531, [4]float64{22.0, 22.7, 42.0, 51.9},
			[]string{"mixture:2: KS 0.090", "p50 +6.94 %", "p99 +18.44 %", "more than 3 % off: empirical: mean +0.00 %"}, false},
		{"basemodel", "lognormal", 7531, [4]float64{22.0, 22.7, 42.0, 51.9}, []string{"lognormal: KS 0.24", "more than 3 % off"}, false},
		{"lora", "mixture:2", 27415, [4]float64{4.40, 4.38, 6.14, 8.21}, []string{"mixture:2: KS 0.016", "p99 -2.05 %"}, true},
		{"lora", "empirical", 27415, [4]float64{4.40, 4.38, 6.14, 8.21}, []string{"empirical: mean +0.00 %"}, false},
	} {
		path := shared(t, "traces", "gentd26", c.file+"_update_latency_anon.tar.gz")
		code, _, stderr := vramsim(t, "calibrate", "--from", path, "--as", "gentd26-loads", "--fit", c.fit, "-o", "p.yaml")
		if code != 0 {
			t.Fatalf("exit %d: %s", code, stderr)
		}
		for _, want := range append(c.says, fmt.Sprintf("%d rows, %d load times", c.n, c.n)) {
			if !strings.Contains(stderr, want) {
				t.Errorf("%s, %s: %s; want %s", c.file, c.fit, stderr, want)
			}
		}
		samples := recordedSeconds(t, path)
		if stats := statisticsOf(samples); len(samples) != c.n || math.Abs(stats[0]-c.stats[0]) > .05 || math.Abs(stats[1]-c.stats[1]) > .05 || math.Abs(stats[2]-c.stats[2]) > .05 || math.Abs(stats[3]-c.stats[3]) > .05 {
			t.Errorf("%d samples, %v", len(samples), stats)
		}
		p := loadProfile(t, "p.yaml")
		if len(p.Models) != 1 || p.Models[0].Name != c.file+"_update_latency_anon" {
			t.Fatalf("%+v", p.Models)
		}
		d := p.Models[0].Load[scheduler.TierDisk]
		if values := strings.Count(d.String(), ",") + 1; strings.Contains(d.String(), "mixture") != c.lognormals || !c.lognormals && values > 101 {
			t.Errorf("%s with %d values", d, values)
		}
		if !c.lognormals { // of a mixture, Quantile chooses a part
			reproduces(t, d, samples)
		}
	}
}

// TestCalibratedSimulation: a simulation under the profile draws loads with the
// statistics of the records, one mode and two.
func TestCalibratedSimulation(t *testing.T) {
	recordedTemplates(t)
	for _, c := range []struct{ file, fit string }{{"basemodel", "empirical"}, {"lora", "mixture:2"}} {
		path := shared(t, "traces", "gentd26", c.file+"_update_latency_anon.tar.gz")
		code, _, stderr := vramsim(t, "calibrate", "--from", path, "--as", "gentd26-loads", "--fit", c.fit, "--models", "gentd26-models.csv", "-o", "loads.yaml")
		if code != 0 {
			t.Fatalf("exit %d: %s", code, stderr)
		}
		if n := len(loadProfile(t, "loads.yaml").Models); n != 76 {
			t.Fatalf("%d models", n)
		}
		runJSON(t, 0, append([]string{"gentd26-one-gpu.yaml", "--policy", "lru", "--replicates", "1", "--set", "output.events=log", "--set", "hardware.profile=loads.yaml",
			"--set", "models.defaults.load=1s", "--set", "sweep={axes: {\"hardware.gpus[0].memory\": [8GB]}}", "-o", c.file}, noPictures...)...)
		drawn := loadsOfRun(t, filepath.Join(c.file, "gentd26-one-gpu", "latest"))
		if len(drawn) != 10674 {
			t.Errorf("%d loads", len(drawn))
		}
		drawsAs(t, drawn, recordedSeconds(t, path))
	}
}

// TestCalibrateServerlessLLM: thirty loads each, on two machines and with two
// loaders; a simulation under each profile draws from them.
func TestCalibrateServerlessLLM(t *testing.T) {
	recordedTemplates(t)
	for _, c := range []struct {
		file, model string
		mean        float64
	}{
		{"a5000_2024__facebook_opt-6.7b_safetensors_30_random", "facebook/opt-6.7b", 5.09},
		{"a5000_2024__facebook_opt-6.7b_phantom_30_random", "facebook/opt-6.7b", 1.175},
		{"h100_2025__random__meta-llama_Llama-3.1-8B-Instruct_safetensors_30_random", "meta-llama/Llama-3.1-8B-Instruct", 4.437},
		{"h100_2025__random__meta-llama_Llama-3.1-8B-Instruct_sllm_30_random", "meta-llama/Llama-3.1-8B-Instruct", .678},
	} {
		path := shared(t, "traces", "load_times_serverlessllm", c.file+".json")
		code, stdout, stderr := vramsim(t, "calibrate", "--from", path, "--as", "serverlessllm-loads")
		if code != 0 {
			t.Fatalf("exit %d: %s", code, stderr)
		}
		writeFiles(t, map[string]string{"llm.yaml": stdout, "llm-experiment.yaml": fmt.Sprintf(`version: 1
seed: 1
replicates: 1
hardware: {profile: llm.yaml, gpus: [{memory: 24GB}]}
models:
  %s: {memory: 16GB, batch: {max: 1, base: 1s}}
  other: {memory: 16GB, batch: {max: 1, base: 1s}, load: 1s}
workload: {items: 4000, arrivals: {constant: {rate: 1/m}}, streams: {weights: [1, 1], models: [%s, other]}}
policies: [{use: fifo, params: {fill: false}}]
`, c.model, c.model)})
		p := loadProfile(t, "llm.yaml")
		if len(p.Models) != 1 || p.Models[0].Name != c.model {
			t.Fatalf("%+v", p.Models)
		}
		samples := recordedSeconds(t, path)
		if stats := statisticsOf(samples); len(samples) != 30 || math.Abs(stats[0]-c.mean) > .005 {
			t.Errorf("%d samples, %v", len(samples), stats)
		}
		reproduces(t, p.Models[0].Load[scheduler.TierDisk], samples)
		runJSON(t, 0, append([]string{"llm-experiment.yaml", "-o", c.file}, noPictures...)...)
		r := &logReader{app: &app{stdout: io.Discard, stderr: io.Discard}, catalogues: map[string][]scheduler.Model{}}
		if err := r.source(t.Context(), filepath.Join(c.file, "llm-experiment", "latest")); err != nil {
			t.Fatal(err)
		}
		drawn := r.collector.Models()[0].Load[scheduler.TierDisk]
		if len(drawn) < 800 {
			t.Errorf("%d loads", len(drawn))
		}
		drawsAs(t, drawn, samples)
	}
}

// recordedMiniature is a source of loads of our own, with every quirk.
func recordedMiniature() map[string]string {
	csv := "value,container_ip,timestamp_anon\r\n"
	for i := range 40 {
		csv += fmt.Sprintf("%d.0,a,1662859290.0\r\n", 1000+i)
	}
	return map[string]string{"loads.csv": csv + "NULL,b,1662859291.0\r\n", "models.csv": "memory,name,group\n2GB,m1,x\n,m2,y\n",
		"named.json": `[{"model_name": "a_0", "loading_time": 1}, {"model_name": "a_1", "loading_time": 1}, {"model_name": "b_0", "loading_time": 2}]`,
		"named.csv":  "name,recorded,memory\nsmall,a,1GB\nlarge,b,2GB\n"}
}

// TestCalibrateRecords: what is written, where, and what is told.
func TestCalibrateRecords(t *testing.T) {
	t.Chdir(t.TempDir())
	writeFiles(t, recordedMiniature())
	code, stdout, stderr := vramsim(t, "calibrate", "--from", "loads.csv", "--as", "gentd26-loads", "--models", "models.csv")
	if code != 0 || !strings.Contains(stderr, "loads.csv: 41 rows, 40 load times, 1 missing") {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	for _, want := range []string{"# Load times recorded elsewhere: loads.csv", "  m1:\n    memory: {declared: 2GB}\n    load: {disk: {empirical: {values: [1s, 1.001s,", "  m2:\n    load:", "executor: gentd26-loads", "raw_sha256: "} {
		if !strings.Contains(stdout, want) {
			t.Errorf("written is\n%s\nwant %s", stdout, want)
		}
	}
	again := func(want string) {
		t.Helper()
		code, stdout, stderr := vramsim(t, "calibrate", "--from", "loads.csv", "--as", "gentd26-loads", "--models", "models.csv", "-o", "p.yaml")
		if code != 0 || stdout != "" || strings.Contains(stderr, "is replaced") != (want != "") {
			t.Errorf("exit %d: %s%s", code, stdout, stderr)
		}
	}
	again("")
	before, err := os.ReadFile("p.yaml")
	if err != nil {
		t.Fatal(err)
	}
	again("p.yaml was there and is replaced")
	if after, _ := os.ReadFile("p.yaml"); !bytes.Equal(before, after) {
		t.Error("the same records give another profile")
	}
	if code, stdout, stderr := vramsim(t, "check", "p.yaml"); code != 0 || stdout != "p.yaml: valid: a profile, 2 models, 2 of them with load times\n" {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	// Two sizes of named models make a line; several sources are one.
	code, stdout, stderr = vramsim(t, "calibrate", "--from", "named.json", "named.json", "--as", "serverlessllm-loads", "--models", "named.csv")
	if code != 0 || !strings.Contains(stdout, "disk: {base: 0s, per_GB: 1s, n: 6, residual: {p5: 0%, p95: 0%}}") || !strings.Contains(stdout, "  large:\n    memory: {declared: 2GB}\n    load: {disk: 2s}") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
}

// TestCalibrateMistakes: every mistake is exit 2 and says where and what.
func TestCalibrateMistakes(t *testing.T) {
	t.Chdir(t.TempDir())
	writeFiles(t, recordedMiniature())
	writeFiles(t, map[string]string{"bad.csv": "timestamp_anon,value,container_ip\n1,2,a\n1,x,a\n", "noname.csv": "model\nx\n", "twice.csv": "name\nm\nm\n", "unit.csv": "name,memory\nm,5\n",
		"stranger.csv": "name\na\nc\n", "ragged.csv": "name,memory\nm\n", "empty.csv": "", "head.csv": "name\n", "other.csv": "name,recorded\nm,elsewhere\n", "one.csv": "name\na\n",
		"broken.yaml": "version: 1\nmodels: {a: {load: {disk: 5}}}\n", "profile.yaml": "version: 1\nmodels: {a: {load: {disk: 5s}}}\n"})
	records := []string{"calibrate", "--from", "loads.csv", "--as", "gentd26-loads"}
	named := []string{"calibrate", "--from", "named.json", "--as", "serverlessllm-loads"}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"calibrate"}, "needs --from FILE, or --executor NAME"},
		{[]string{"calibrate", "--as", "gentd26-loads"}, "needs --from FILE"},
		{[]string{"calibrate", "--from", "loads.csv", "--executor", "sleep"}, "--from needs no device"},
		{[]string{"calibrate", "--executor", "sleep", "--as", "gentd26-loads"}, "--from is, which is missing"},
		{[]string{"calibrate", "--from", "loads.csv", "--as", "gentd26"}, `there is no format of recorded load times "gentd26"`},
		{[]string{"calibrate", "--from", "loads.csv", "--models", "models.csv"}, "--models maps the names"},
		{[]string{"calibrate", "--from", "loads.csv"}, "loads.csv is no event log"},
		{[]string{"calibrate", "--from", "bad.csv", "--as", "gentd26-loads"}, `bad.csv:3:3: value is "x"`},
		{[]string{"calibrate", "--from", "nothing.csv", "--as", "gentd26-loads"}, "nothing.csv"},
		{append(records, "--fit", "gamma"), `--fit: the fit "gamma" is none of empirical, lognormal`},
		{append(records, "--host-tier", "pinned"), "leave out --host-tier"},
		{append(records, "-o", "loads.csv"), "-o loads.csv is the input"},
		{append(records, "-o", "."), "-o . is a folder"},
		{append(records, "-o", "no/such/folder.yaml"), "no/such"},
		{append(records, "--models", "noname.csv"), "noname.csv:1:1: there is no column name"},
		{append(records, "--models", "twice.csv"), `twice.csv:3:1: model "m" stands twice; the first is at line 2`},
		{append(records, "--models", "unit.csv"), `unit.csv:2:3: "5" is not an amount of memory with its unit`},
		{append(records, "--models", "ragged.csv"), "ragged.csv:2:1: wrong number of fields"},
		{append(records, "--models", "empty.csv"), "empty.csv: the file is empty"},
		{append(records, "--models", "head.csv"), "head.csv: there are no models"},
		{append(records, "--models", "other.csv"), `other.csv:2:3: there are no recorded loads of "elsewhere"; there are those of "loads"`},
		{append(named, "--models", "stranger.csv"), `stranger.csv:3:1: there are no recorded loads of "c"; there are those of "a", "b"`},
		{[]string{"calibrate", "--executor", "sleep"}, "needs an experiment"},
		{[]string{"calibrate", "--executor", "slep", "profile.yaml"}, "there is no executor"},
		{[]string{"calibrate", "--executor", "sleep", "--stages", "models,power", "profile.yaml"}, `there is no stage "power"`},
		{[]string{"import", "loads.csv", "--as", "gentd26-loads"}, "these are load times, no trace"},
		{[]string{"check", "broken.yaml"}, `broken.yaml:2:27: profile.models.a.load.disk is "5" without a unit`},
	} {
		code, stdout, stderr := vramsim(t, c.args...)
		if code != exitUsage || stdout != "" || !strings.Contains(stderr, c.want) {
			t.Errorf("%v: exit %d: %s%s; want %s", c.args, code, stdout, stderr, c.want)
		}
	}
	if code, _, stderr := vramsim(t, append(named, "--models", "one.csv")...); code != 0 || !strings.Contains(stderr, `the recorded loads of "b" are of no model of --models`) {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if code, _, stderr := vramsim(t, "check", "profile.yaml"); code != 0 {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if code, stdout, _ := vramsim(t, "list", "formats"); code != 0 || !strings.Contains(stdout, "gentd26-loads") || !strings.Contains(stdout, "serverlessllm-loads") {
		t.Errorf("exit %d: %s", code, stdout)
	}
}

const measurable = `version: 1
name: measurable
seed: 1
replicates: 2
hardware: {host_memory: 10GB, gpus: [{memory: 4GB}]}
models:
  a: {memory: 1GB, batch: {max: 2, base: 4ms, per_item: 8ms}, load: {disk: 40ms, host: 20ms}, first_use: 60ms, unload: {idle: 4ms, busy: 12ms}}
  b: {memory: 2GB, batch: {max: 1, base: 10ms, per_item: 10ms}, load: {disk: 60ms, host: 30ms}, unload: 4ms}
workload: {items: 60, arrivals: {poisson: {rate: 5/s}}, streams: {weights: [1, 1], models: [a, b]}}
policies: [{use: fifo, params: {fill: false}}, {use: sticky}]
output: {events: log, report: [], charts: []}
`

// TestCalibrateLogs: what a simulation was told to take is what its logs are
// found to take; a run under the profile found is the same run.
func TestCalibrateLogs(t *testing.T) {
	t.Chdir(t.TempDir())
	// One GPU for one model: every switch is a load from the host tier.
	text := strings.Replace(measurable, "memory: 4GB", "memory: 2.4GB", 1)
	writeFiles(t, map[string]string{"measurable.yaml": text})
	first := runJSON(t, 0, "measurable.yaml", "-o", "runs")
	code, _, stderr := vramsim(t, "calibrate", "--from", "runs/measurable/latest", "--host-tier", "pinned", "-o", "p.yaml")
	if code != 0 || !strings.Contains(stderr, "a, load from disk, first uses only: n 4, mean 0.1 s") {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	p := loadProfile(t, "p.yaml")
	a := p.Model("a")
	if p.Measured.Executor != "simulation" || p.Measured.HostTier != "pinned" || p.Measured.Status != "VALID" || len(p.Measured.RawSHA256) != 64 ||
		a.Load[scheduler.TierDisk].String() != "100ms" || a.Load[scheduler.TierHost].String() != "20ms" || a.Unload.String() != "4ms" ||
		a.Batch.Base != 4*scheduler.Millisecond || a.Batch.PerItem != 8*scheduler.Millisecond || a.Batch.Times[2] != 20*scheduler.Millisecond || p.Tiers.Pinned.PerGB != 10*scheduler.Millisecond {
		t.Errorf("%+v, %+v", a, a.Batch)
	}
	// All first loads are from disk, so that they may hold the first use.
	second := runJSON(t, 0, "measurable.yaml", "--set", "hardware.profile=p.yaml", "--set", "models.a.first_use=0s")
	for i, policy := range first.Cells[0].Policies {
		for _, metric := range []string{"load_seconds_total", "makespan_seconds", "item_latency_seconds"} {
			if fmt.Sprint(policy.Metrics[metric]) != fmt.Sprint(second.Cells[0].Policies[i].Metrics[metric]) {
				t.Errorf("%s of %s is %v, want %v", metric, policy.Policy, second.Cells[0].Policies[i].Metrics[metric], policy.Metrics[metric])
			}
		}
	}
	// A single log, and one that is cut short.
	logs, err := logsAt("runs/measurable/latest")
	if err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := vramsim(t, "calibrate", "--from", logs[0].path); code != 0 {
		t.Errorf("exit %d: %s", code, stderr)
	}
	data, err := os.ReadFile(logs[0].path)
	if err != nil {
		t.Fatal(err)
	}
	writeFiles(t, map[string]string{"cut.log": string(data[:len(data)-20]), "broken.log": string(data[:200]) + "x" + string(data[201:])})
	if code, stdout, stderr := vramsim(t, "calibrate", "--from", "cut.log"); code != 0 || !strings.Contains(stderr, "INCOMPLETE") || !strings.Contains(stdout, "status: INCOMPLETE") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	if code, stdout, stderr := vramsim(t, "calibrate", "--from", "broken.log"); code != exitInvariant || stdout != "" {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
}

// TestCalibrateSleep: on the real clock, what the experiment says is what is
// measured: never less, and no more than a busy host adds.
func TestCalibrateSleep(t *testing.T) {
	t.Chdir(t.TempDir())
	writeFiles(t, map[string]string{"measurable.yaml": measurable})
	code, _, stderr := vramsim(t, "calibrate", "--executor", "sleep", "--budget", "1s", "measurable.yaml", "-o", "p.yaml")
	if code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	p := loadProfile(t, "p.yaml")
	a, b := p.Model("a"), p.Model("b")
	for _, c := range []struct {
		what string
		got  float64
		want float64 // ms
	}{
		{"a from disk", a.Load[0].Mean(), 40}, {"a from host", a.Load[1].Mean(), 20}, {"b from disk", b.Load[0].Mean(), 60},
		{"a leaves", a.Unload.Mean(), 4}, {"a leaves, busy", a.UnloadBusy.Mean(), 12}, {"a batch of a", float64(a.Batch.Times[1]), 12}, {"two of a", float64(a.Batch.Times[2]), 20},
		{"a batch of b", float64(b.Batch.PerItem), 20},
	} {
		if got := c.got / 1e6; got < c.want*.999 || got > 3*c.want+50 {
			t.Errorf("%s takes %v ms, want %v", c.what, got, c.want)
		}
	}
	if a.FirstUse < 20*scheduler.Millisecond || p.Measured.Executor != "sleep" || p.Measured.At.IsZero() || p.Machine != nil {
		t.Errorf("%+v, %+v", a, p.Measured)
	}
	if text, _ := os.ReadFile("p.yaml"); !strings.Contains(string(text), "# No hardware figures: the executor only sleeps.") {
		t.Errorf("it is not labelled:\n%s", text)
	}
}

// TestCalibrateLink: models that only have a size give the line that predicts
// others. The sleeping executor stands in for one that makes them up.
func TestCalibrateLink(t *testing.T) {
	plan := scheduler.Plan{Memory: 300 * scheduler.MB, HostMemory: scheduler.GB, Seed: 3}
	exp, err := linkExperiment(scheduler.GB, plan)
	if err != nil {
		t.Fatal(err)
	}
	cell := exp.Cells[0]
	if len(cell.Models) != 3 || cell.Models[2].Bytes != 256*scheduler.MiB || cell.Devices[0].Budget != plan.Memory || cell.HostMemory != plan.HostMemory {
		t.Fatalf("%+v on %+v", cell.Models, cell.Devices)
	}
	in := &calibrateFlags{card: cardFlags{executorFlags: executorFlags{name: "sleep"}, budget: 1}}
	b := &measuring{in: in, exp: exp, cards: &cards{}, plan: plan}
	if err := b.link(t.Context()); err != nil {
		t.Fatal(err)
	}
	disk := calibrate.Tiers(b.sized, "pinned").Disk
	if disk == nil || math.Abs(disk.PerGB.Seconds()-1) > .2 || disk.Base > 30*scheduler.Millisecond {
		t.Errorf("%+v", disk)
	}
	if _, err := linkExperiment(scheduler.GB, scheduler.Plan{Memory: scheduler.MB}); err == nil {
		t.Error("models that do not fit")
	}
}

// TestCalibrateWithoutCard: what is missing is said, and nothing is written.
func TestCalibrateWithoutCard(t *testing.T) {
	t.Chdir(t.TempDir())
	writeFiles(t, map[string]string{"measurable.yaml": measurable})
	code, stdout, stderr := vramsim(t, "calibrate", "--executor", "sleep", "--stages", "energy", "measurable.yaml", "-o", "p.yaml")
	if _, err := os.Stat("p.yaml"); code != exitHardware || stdout != "" || !strings.Contains(stderr, "NVML is unavailable, and with it the energy counter") || err == nil {
		t.Errorf("exit %d: %s%s (%v)", code, stdout, stderr, err)
	}
	if code, _, stderr := vramsim(t, "calibrate", "--executor", "cuda", "measurable.yaml", "-o", "p.yaml"); code != exitHardware || !strings.Contains(stderr, "unavailable") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}
