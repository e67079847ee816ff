package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/results/eventlog"
	"github.com/vramsim/vramsim/results/explain"
	"github.com/vramsim/vramsim/scheduler"
)

// witness is a policy that notes what it sees when it decides.
type witness struct {
	scheduler.Policy
	seq  int64           // of the next event
	seen map[int64]sight // by the first event of a decision
}

// sight is what a policy saw, as explain writes it, and why it decided so.
type sight struct {
	queues, device string
	why            bool
}

// Next implements scheduler.Policy.
func (w *witness) Next(v *scheduler.View) scheduler.Decision {
	d := w.Policy.Next(v)
	if d.Kind != scheduler.DecideIdle {
		items := "items"
		if v.TotalReady() == 1 {
			items = "item"
		}
		w.seen[w.seq] = sight{why: d.Why.Code != 0,
			queues: fmt.Sprintf("  queues: %d ready %s of %d in the system\n", v.TotalReady(), items, v.InSystem()),
			device: fmt.Sprintf("  gpu0: %v reserved of %v, %d of 1 slots free\n", v.Reserved(0), v.Budget(0), v.FreeSlots(0))}
	}
	return d
}

// Observe implements scheduler.Observer.
func (w *witness) Observe(v *scheduler.View, ev scheduler.Event) {
	if o, ok := w.Policy.(scheduler.Observer); ok {
		o.Observe(v, ev)
	}
	w.seq++
}

// logged reads a whole log.
func logged(t *testing.T, path string) (eventlog.Header, []scheduler.Event) {
	t.Helper()
	r, err := eventlog.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var all []scheduler.Event
	for ev, err := range eventsOf(r) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, ev)
	}
	return r.Header(), all
}

// TestExplainDecisions: of every event that decides something explain tells
// what the policy saw when it was asked, its reason if it had one, and that the
// others are not the policy's.
func TestExplainDecisions(t *testing.T) {
	out := t.TempDir()
	var foreign []string // other processes take and give back memory
	for s := range 480 {
		foreign = append(foreign, fmt.Sprintf("{gpu: gpu0, at: %ds, memory: %dGB}", s, s/8%2*9))
	}
	faults := "{load_failure: 0.02, foreign: [" + strings.Join(foreign, ", ") + "]}"
	if code, _, stderr := vramsim(t, "run", filepath.Join(template(t), small), "-q", "-o", out, "--set", "replicates=1", "--set", "workload.duration=6m", "--set", "workload.warmup=0s",
		"--set", "hardware.gpus[0].memory=12GB", "--set", "output={charts: [], report: []}", "--set", "attempts=9", "--set", "models.clap.unload=3s", "--set", "models.videomae.unload=5s", "--set", "models.whisper.unload=6s", "--set", "faults="+faults,
		"--set", "policies=[{use: seed}, {use: max-wait, params: {wait: 20s}}, {use: sticky, prefetch: next, evict: largest}, {use: semaphore}]"); code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	logs, err := filepath.Glob(filepath.Join(out, "video-pipeline", "latest", "cells", "*", "*", "0", "events.log"))
	if err != nil || len(logs) != 4 {
		t.Fatal(logs, err)
	}
	total := map[string]int{}
	for _, log := range logs {
		h, events := logged(t, log)
		if len(events) > 3000 {
			t.Fatalf("%s: %d events", log, len(events))
		}
		cfg, err := configOf(h)
		if err != nil {
			t.Fatal(err)
		}
		w := &witness{Policy: cfg[0].Policy, seen: map[int64]sight{}}
		cfg[0].Policy = w
		replay, err := scheduler.NewDecisionReplay(cfg[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(replay.Append(events), replay.Close()); err != nil {
			t.Fatal(err)
		}
		for kind, n := range explainAll(t, h, events, w.seen) {
			total[kind] += n
		}
	}
	for _, kind := range []string{"decided", "reasons", "chosen by the evictor", "claimed before", "further claims"} {
		if total[kind] == 0 {
			t.Errorf("no %s: %v", kind, total)
		}
	}
}

// explainAll holds what is told of each event of a log against what was seen.
func explainAll(t *testing.T, h eventlog.Header, events []scheduler.Event, seen map[int64]sight) map[string]int {
	t.Helper()
	met := map[string]int{}
	told := 0
	for seq, ev := range events {
		switch ev.Kind {
		case scheduler.Note, scheduler.MemberDispatched, scheduler.ItemReadied, scheduler.ItemFailed, scheduler.DependantCancelled:
			continue // a part of a decision, or of none
		}
		if ev.Kind.Fact() {
			continue
		}
		cfg, err := configOf(h)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		err = explain.Decision(&b, &explain.Run{Config: cfg[0], Events: func(yield func(scheduler.Event, error) bool) {
			for _, ev := range events {
				if !yield(ev, nil) {
					return
				}
			}
		}}, int64(seq))
		if err != nil {
			t.Fatal(err)
		}
		first := int64(seq)
		for first > 0 && slices.Contains([]scheduler.Kind{scheduler.Note, scheduler.MemberDispatched}, events[first-1].Kind) {
			first--
		}
		text := b.String()
		saw, asked := seen[first]
		if claims := strings.Contains(text, "the policy decided to"); claims != asked {
			t.Fatalf("%s, event %d: the policy was asked: %v\n%s", h.Policy, seq, asked, text)
		}
		switch {
		case asked:
			told++
			met["decided"]++
			if !strings.Contains(text, saw.queues) || !strings.Contains(text, saw.device) || strings.Contains(text, "  its reason: ") != saw.why {
				t.Fatalf("%s, event %d: the policy saw\n%+v\n%s", h.Policy, seq, saw, text)
			}
			if saw.why {
				met["reasons"]++
			}
		case strings.Contains(text, "the evictor chose it"):
			met["chosen by the evictor"]++
		case strings.Contains(text, "claimed room for it, and now there is enough"):
			met["claimed before"]++
		case strings.Contains(text, "more for the claim"):
			met["further claims"]++
		}
		if strings.Contains(text, "until never") {
			t.Fatalf("%s, event %d:\n%s", h.Policy, seq, text)
		}
	}
	if told != len(seen) {
		t.Fatalf("%s: %d of %d decisions explained", h.Policy, told, len(seen))
	}
	return met
}
