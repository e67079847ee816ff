package experiment

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/scheduler"
)

const disbMini = `{"time": 2, "tasks": [
 {"id": "rt", "load": {"type": "trace", "trace": [500, 600, 650, 700, 3000]}, "client": {"model_name": "x"}},
 {"id": "be", "load": {"type": "continuous", "priority": -1}, "client": {"model_name": "y"}}]}`

func disbExperiment(t *testing.T, file, trace string) (*Experiment, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "t.json"), []byte(file), 0o666); err != nil {
		t.Fatal(err)
	}
	text := "version: 1\nseed: 1\nhardware: {gpus: [{memory: 12GB}]}\nmodels:\n" +
		"  x: {memory: 1GB, load: 0s, batch: {max: 1, base: 0s, per_item: 1s}}\n  y: {memory: 1GB, load: 0s, batch: {max: 1, base: 0s, per_item: 1s}}\n" +
		"workload: {trace: {file: t.json, format: disb" + trace + "}}\npolicies: [{use: fifo, params: {fill: false}}, {use: sticky}]\n"
	return Parse("x.yaml", dir, []byte(text), policies.Builtin(), Options{})
}

// Worked by hand for items of a second. Client "be" sends at 0, and again when
// its item ends, until 2 s. All five of "rt" come, or with stale: drop the one
// at .5 is followed, at 2 s, by that at .7 and then by the last.
func TestClosedDISB(t *testing.T) {
	for trace, want := range map[string]struct {
		items, makespan int64
	}{
		"":                                {7, 7},
		", continuous: run":               {7, 7},
		", stale: drop":                   {5, 5},
		", rate: 0.5x":                    {8, 8}, // rt at 1, 1.2, 1.3, 1.4, 6 s; be at 0, 1, 3, until 4
		", continuous: skip":              {5, 5}, // the clock begins with the first arrival, at .5
		", continuous: skip, stale: drop": {3, 0},
		", limit: 2":                      {3, 3}, // clients end with the last arrival of the trace
	} {
		e, err := disbExperiment(t, disbMini, trace)
		if err != nil {
			t.Fatal(trace, err)
		}
		o := run(t, e.Cells[0], 0, 0)
		if int64(o.items) != want.items || want.makespan > 0 && o.makespan != scheduler.Time(want.makespan)*scheduler.Second {
			t.Errorf("%s: %d items, makespan %v, want %+v", trace, o.items, o.makespan, want)
		}
		if o.loads != 2 && !strings.Contains(trace, "skip") {
			t.Errorf("%s: %d loads", trace, o.loads)
		}
		sameRuns(t, e)
	}
}

// What is left out of a run is said once, in words of the experiment file, also
// where clients of other tasks run.
func TestSkippedTasksAreTold(t *testing.T) {
	two := strings.Replace(disbMini, "\n {\"id\": \"be\"", "\n {\"id\": \"be2\", \"load\": {\"type\": \"continuous\"}, \"client\": {\"model_name\": \"y\"}},\n {\"id\": \"be\"", 1)
	for trace, skips := range map[string]bool{"": false, ", continuous: run": false, ", continuous: skip": true, ", continuous: skip, stale: drop": true} {
		e, err := disbExperiment(t, two, trace)
		if err != nil {
			t.Fatal(trace, err)
		}
		var told []string
		for _, w := range e.Cells[0].Warnings {
			if strings.Contains(w, "continuous") {
				told = append(told, w)
			}
		}
		if skips != (len(told) == 1) || skips && !strings.Contains(told[0], "left out, as \"continuous: skip\" says (be2, be)") || !skips && len(told) > 0 {
			t.Errorf("%s: %q", trace, told)
		}
	}
}

// Clients alone keep the card busy; nobody foresees them, and no trace holds them.
func TestDISBOfClientsAlone(t *testing.T) {
	only := strings.Replace(disbMini, `"type": "trace", "trace": [500, 600, 650, 700, 3000]`, `"type": "continuous"`, 1)
	e, err := disbExperiment(t, only, "")
	if err != nil {
		t.Fatal(err)
	}
	if o := run(t, e.Cells[0], 0, 0); o.items != 3 || o.makespan != 3*scheduler.Second { // rt, be at 0; one of them at 1
		t.Errorf("%d items, makespan %v", o.items, o.makespan)
	}
	if _, err := e.Cells[0].Arrivals(0); err == nil || !strings.Contains(err.Error(), "closed loop") {
		t.Errorf("its arrivals were listed: %v", err)
	}
	for _, c := range []struct{ file, trace, want string }{
		{only, ", continuous: skip", "none of the 0 rows"},
		{disbMini, ", stale: keep", "drop"},
		{strings.Replace(disbMini, "model_name\": \"y", "model_name\": \"z", 1), "", `the model "z" is not in the catalogue`},
		{`{"time": 2, "tasks": [{"id": "a", "load": {"type": "trace", "trace": [1]}, "client": {"model_name": "x"}},
			{"id": "b", "load": {"type": "dependent", "prev_task_ids": ["a"]}, "client": {"model_name": "x"}}]}`, ", stale: drop", `the task "b" is dependent`},
	} {
		if _, err := disbExperiment(t, c.file, c.trace); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.trace, err, c.want)
		}
	}
	text := "version: 1\nseed: 1\nhardware: {gpus: [{memory: 12GB}]}\nmodels: {x: {memory: 1GB, load: 0s, batch: {max: 1, per_item: 1s}}, y: {memory: 1GB, load: 0s, batch: {max: 1, per_item: 1s}}}\nworkload: {trace: {file: t.json, format: disb}}\npolicies: [{use: fifo, evict: belady}]\n"
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "t.json"), []byte(disbMini), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Parse("x.yaml", dir, []byte(text), policies.Builtin(), Options{}); err == nil || !strings.Contains(err.Error(), "clairvoyant") {
		t.Errorf("belady foresees a closed loop: %v", err)
	}
}

// The recorded DISB workloads run as they are: A, B and C with their closed
// loops, REAL with them and with stale requests dropped.
func TestRecordedDISB(t *testing.T) {
	catalogue := "models:\n"
	for _, m := range []string{"vgg19-imagenet", "resnet152-imagenet", "densenet201-imagenet", "inceptionv3-imagenet", "distilbert"} {
		catalogue += "  " + m + ": {memory: 100MB, load: 0s, batch: {max: 1, base: 0s, per_item: 10ms}}\n"
	}
	for _, c := range []struct {
		file, more string
		busy       scheduler.Time // at most the makespan
		least      int
	}{
		{"A", "", 61200 * scheduler.Millisecond, 6000},
		{"B", "", 60010 * scheduler.Millisecond, 6001},
		{"C", "", 62600 * scheduler.Millisecond, 6200},
		{"REAL", "", 39 * scheduler.Second, 3800},
		{"REAL", ", continuous: skip, stale: drop", 39 * scheduler.Second, 1200},
	} {
		path := shared(t, true, "disb/"+c.file+".json")
		text := "version: 1\nseed: 1\nhardware: {gpus: [{memory: 1GB}]}\n" + catalogue + "workload: {trace: {file: " + path + ", format: disb" + c.more + "}}\npolicies: [{use: fifo, params: {fill: false}}]\n"
		e := parse(t, text, Options{})
		o := run(t, e.Cells[0], 0, 0)
		t.Logf("%s%s: %d items, makespan %v", c.file, c.more, o.items, o.makespan)
		if o.makespan > c.busy || int(o.items) < c.least || scheduler.Time(o.items)*10*scheduler.Millisecond > o.makespan {
			t.Errorf("%s%s: %d items, makespan %v", c.file, c.more, o.items, o.makespan)
		}
	}
}
