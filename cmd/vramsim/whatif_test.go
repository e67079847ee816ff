package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/results/eventlog"
	"github.com/vramsim/vramsim/results/rundir"
)

// whatIfOf returns the two columns of a what-if, by metric.
func whatIfOf(t *testing.T, args ...string) (was, forked map[string]string) {
	t.Helper()
	code, text, stderr := vramsim(t, append([]string{"replay"}, args...)...)
	if code != 0 {
		t.Fatalf("%v: exit %d: %s", args, code, stderr)
	}
	was, forked = map[string]string{}, map[string]string{}
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) == 4 && fields[0] != "metric" {
			was[fields[0]], forked[fields[0]] = fields[1], fields[2]
		}
	}
	if len(was) < 20 {
		t.Fatalf("%v: %s", args, text)
	}
	return was, forked
}

// TestWhatIf: a policy that takes over at the start does what it does alone,
// one that takes over at the end changes nothing, and one in between does
// something else than either.
func TestWhatIf(t *testing.T) {
	run := explainedRun(t)
	seed, early := whatIfOf(t, run, "--from", "seed", "--policy", "sticky", "--at", "0s")
	sticky, same := whatIfOf(t, run, "--from", "sticky", "--policy", "sticky", "--at", "3m")
	_, late := whatIfOf(t, run, "--from", "seed", "--policy", "sticky", "--at", "640.079745139s")
	_, between := whatIfOf(t, run, "--from", "seed", "--policy", "sticky", "--at", "5m")
	for metric := range seed {
		if early[metric] != sticky[metric] || same[metric] != sticky[metric] || late[metric] != seed[metric] {
			t.Errorf("%s: seed %s, sticky %s; from the start %s, as itself %s, after the end %s", metric, seed[metric], sticky[metric], early[metric], same[metric], late[metric])
		}
	}
	const mean = "item_latency_seconds.mean"
	if between[mean] == seed[mean] || between[mean] == sticky[mean] || seed[mean] == sticky[mean] {
		t.Errorf("mean latency: seed %s, sticky %s, what if %s", seed[mean], sticky[mean], between[mean])
	}
	for _, bad := range [][]string{{}, {"--policy", "sticky"}, {"--at", "1s"}, {"--verify", "--at", "1s", "--policy", "sticky"}, {"--policy", "stick", "--at", "1s"}, {"--policy", "sticky", "--at", "soon"},
		{"--from", "seed", "--policy", "sticky", "--at", "640.079745140s"}} {
		if code, _, stderr := vramsim(t, append([]string{"replay", run}, bad...)...); code != exitUsage {
			t.Errorf("%v: exit %d: %s", bad, code, stderr)
		}
	}
}

// TestWhatIfOrders: a policy with an order of its own does from the start what
// it does alone, and cannot take over queues that another order has made.
func TestWhatIfOrders(t *testing.T) {
	out := t.TempDir()
	if code, _, stderr := vramsim(t, "run", "testdata/orders.yaml", "-q", "-o", out); code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	run := filepath.Join(out, "orders", "latest")
	plain, early := whatIfOf(t, run, "--from", "plain", "--policy", "deadline", "--at", "0s")
	deadline, back := whatIfOf(t, run, "--from", "deadline", "--policy", "plain", "--at", "0s")
	for metric := range plain {
		if early[metric] != deadline[metric] || back[metric] != plain[metric] {
			t.Errorf("%s: plain %s, deadline %s; from the start %s and %s", metric, plain[metric], deadline[metric], early[metric], back[metric])
		}
	}
	const wait = "item_wait_seconds.mean"
	if plain[wait] == deadline[wait] {
		t.Errorf("the order changes nothing: %s", plain[wait])
	}
	whatIfOf(t, run, "--from", "plain", "--policy", "fifo", "--at", "3m") // the same order
	whatIfOf(t, run, "--from", "aging", "--policy", "minute", "--at", "3m")
	for _, bad := range [][3]string{{"plain", "deadline", "orders queues by deadline, not fifo"}, {"deadline", "plain", "orders queues by fifo, not deadline"}, {"aging", "ten", "orders queues by aging step=10s, not aging step=60s"}} {
		code, _, stderr := vramsim(t, "replay", run, "--from", bad[0], "--policy", bad[1], "--at", "3m")
		if code != exitUsage || !strings.Contains(stderr, bad[2]) || !strings.Contains(stderr, "hint: ") {
			t.Errorf("%v: exit %d: %s", bad, code, stderr)
		}
	}
}

// TestWhatIfHoldsTheLog: a log that the simulation does not repeat is no
// ground for a what-if.
func TestWhatIfHoldsTheLog(t *testing.T) {
	run := explainedRun(t)
	dir, err := rundir.Open(run)
	if err != nil {
		t.Fatal(err)
	}
	logs, err := filepath.Glob(dir.Join("cells", "*", "seed", "0", "events.log"))
	if err != nil || len(logs) != 1 {
		t.Fatal(logs, err)
	}
	r, err := eventlog.Open(logs[0])
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	altered := filepath.Join(t.TempDir(), "events.log")
	w, err := eventlog.Create(altered, r.Header(), eventlog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for seq := 0; ; {
		events, err := r.Next()
		if err != nil {
			break
		}
		events = slices.Clone(events)
		for i := range events {
			if seq++; seq == 20 {
				events[i].Value++
			}
		}
		if err := w.Append(events); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := vramsim(t, "replay", altered, "--policy", "sticky", "--at", "10m"); code != exitInvariant || !strings.Contains(stderr, "differs at event 19") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}
