package main

import (
	"encoding/csv"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/scheduler"
)

// explainedRun is a short run whose logs are explained.
func explainedRun(t *testing.T) string {
	t.Helper()
	out := t.TempDir()
	code, _, stderr := vramsim(t, "run", filepath.Join(template(t), small), "--quick", "-q", "-o", out, "--policy", "seed", "--policy", "sticky", "--policy", "max-wait",
		"--set", "hardware.gpus[0].memory=12GB", "--set", "output={charts: [], report: []}")
	if code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	return filepath.Join(out, "video-pipeline", "latest")
}

// TestExplainItem: what is told of items is what their rows in the CSV say.
func TestExplainItem(t *testing.T) {
	run := explainedRun(t)
	_, table, _ := vramsim(t, "export", run, "--to", "csv", "--policy", "seed")
	rows, err := csv.NewReader(strings.NewReader(table)).ReadAll()
	if err != nil || len(rows) < 100 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	at := func(row []string, name string) scheduler.Time {
		ns, err := strconv.ParseInt(row[column[name]], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return scheduler.Time(ns)
	}
	for i := 1; i < len(rows); i += len(rows) / 12 {
		row := rows[i]
		id := row[column["id"]]
		code, text, stderr := vramsim(t, "explain", run, "--policy", "seed", "--item", id)
		if code != 0 {
			t.Fatalf("%s: exit %d: %s", id, code, stderr)
		}
		wait := at(row, "start_ns") - at(row, "ready_ns")
		for _, want := range []string{
			fmt.Sprintf("Item %s (number %s), model %s\n", id, row[column["item"]], row[column["model"]]),
			fmt.Sprintf("arrived   %v\n", at(row, "arrival_ns")), fmt.Sprintf("ready     %v,", at(row, "ready_ns")),
			fmt.Sprintf("started   %v on gpu0, in a batch of %s, after a wait of %v", at(row, "start_ns"), row[column["batch_size"]], wait),
			fmt.Sprintf("finished  %v,", at(row, "finish_ns")),
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in\n%s", id, want, text)
			}
		}
		if told := meanwhile(t, text); told > wait || wait > 0 && told == 0 {
			t.Errorf("%s: %v of activity in a wait of %v:\n%s", id, told, wait, text)
		}
	}
}

// TestExplainSaysOfWhat: the first line names what is explained, whether it was
// asked for or not.
func TestExplainSaysOfWhat(t *testing.T) {
	run := explainedRun(t)
	for _, question := range [][]string{{"--at", "1m"}, {"--item", "video/0/sound/0"}, {"--decision", "105"}} {
		for _, c := range []struct {
			args []string
			want string
		}{
			{nil, " hardware.gpus[0].memory=12GB, policy sticky, replicate 0:"},
			{[]string{"--policy", "seed", "--replicate", "0"}, " hardware.gpus[0].memory=12GB, policy seed, replicate 0:"},
		} {
			code, text, stderr := vramsim(t, slices.Concat([]string{"explain", run}, question, c.args)...)
			first, _, _ := strings.Cut(text, "\n")
			if code != 0 || !strings.HasPrefix(first, "Cell ") || !strings.HasSuffix(first, c.want) {
				t.Errorf("%v %v: exit %d: %s%s", question, c.args, code, text, stderr)
			}
		}
	}
	if _, text, _ := vramsim(t, "explain", run, "--policy", "seed", "--divergence", "sticky", "--replicate", "1"); !strings.Contains(text, "memory=12GB, replicate 1:\nseed and sticky first differ") {
		t.Errorf("divergence: %s", text)
	}
}

func TestExplainCountsInWords(t *testing.T) {
	run := explainedRun(t)
	code, text, _ := vramsim(t, "explain", run, "--policy", "sticky", "--item", "video/0/sound/0")
	if code != 0 || !strings.Contains(text, ", 1 batch of 7 items\n") || strings.Contains(text, " 1 batches") {
		t.Errorf("exit %d: %s", code, text)
	}
	if _, help, _ := vramsim(t, "explain", "--help"); strings.Contains(help, "default -1") {
		t.Errorf("%s", help)
	}
}

// meanwhile adds up what the one device did, each stretch once: loads and
// evictions may lie over batches of other models, but not in these runs.
func meanwhile(t *testing.T, text string) (sum scheduler.Time) {
	t.Helper()
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 4 || fields[0] != "gpu0" {
			continue
		}
		took, err := scheduler.ParseTime(strings.TrimSuffix(fields[3], ","))
		if err != nil {
			t.Fatal(err)
		}
		sum += took
	}
	return sum
}

func TestExplainStateAndDecisions(t *testing.T) {
	run := explainedRun(t)
	explain := func(args ...string) (int, string) {
		code, stdout, stderr := vramsim(t, append([]string{"explain", run}, args...)...)
		return code, stdout + stderr
	}
	if code, text := explain("--policy", "seed", "--at", "0s"); code != 0 || !strings.Contains(text, "0B reserved of 10.8GB") || !strings.Contains(text, "0 ready items of 0") {
		t.Errorf("at the start: exit %d: %s", code, text)
	}
	if code, text := explain("--policy", "sticky", "--at", "5m"); code != 0 || !strings.Contains(text, "resident: ") {
		t.Errorf("later: exit %d: %s", code, text)
	}
	// The first decision is named by the error for the event before it.
	_, text := explain("--policy", "seed", "--decision", "0")
	_, next, ok := strings.Cut(strings.TrimSpace(text), "the next one is event ")
	if !ok {
		t.Fatalf("event 0: %s", text)
	}
	if code, text := explain("--policy", "seed", "--decision", next); code != 0 || !strings.Contains(text, "decided to load dinov3 on gpu0 from disk, estimated to take 6s") || !strings.Contains(text, "0B reserved") {
		t.Errorf("the first decision: exit %d: %s", code, text)
	}
	if code, text := explain("--policy", "seed", "--divergence", "sticky"); code != 0 || !strings.Contains(text, "seed and sticky first differ at event ") || !strings.Contains(text, "evict dinov3 from gpu0") {
		t.Errorf("divergence: exit %d: %s", code, text)
	}
	if code, text := explain("--policy", "seed", "--divergence", "seed"); code != 0 || !strings.Contains(text, "do the same") {
		t.Errorf("divergence from itself: exit %d: %s", code, text)
	}
	if code, text := explain("--policy", "seed", "--at", "0s"); code != 0 || !strings.Contains(text, "At 0s, before the first event:") {
		t.Errorf("before anything: exit %d: %s", code, text)
	}
	if code, text := explain("--policy", "seed", "--at", "99h"); code != 0 || !strings.Contains(text, "The log ends at 640.079745139s, before 356400s. At its end, after event ") || strings.Contains(text, "idle for 35") {
		t.Errorf("after the end: exit %d: %s", code, text)
	}
	for _, bad := range [][]string{{"--item", "nope"}, {"--at", "soon"}, {"--at", "-1s"}, {"--decision", "999999999"}, {"--divergence", "nope"}, {}, {"--at", "1s", "--item", "x"}, {"--at", "1s", "--replicate", "77"}} {
		if code, text := explain(bad...); code != exitUsage {
			t.Errorf("%v: exit %d: %s", bad, code, text)
		}
	}
}
