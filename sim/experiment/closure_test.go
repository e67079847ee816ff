package experiment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/results/eventlog"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/sim"
)

// closurePolicies are those of the random experiments: with timers, holds,
// prefetches, placements, orders and admission.
var closurePolicies = []string{
	"{use: seed}",
	"{use: sticky}",
	"{use: fifo}",
	"{use: longest, evict: {ttl: {idle: 40ms}}}",
	"{use: max-wait, params: {wait: 80ms}, evict: lru, prefetch: next}",
	"{use: hysteresis, visit: {linger: {wait: 30ms}}}",
	"{use: sticky, visit: {residency: {min: 50ms}}, prefetch: dag}",
	"{use: fifo, batch: {accumulate: {items: 3, timeout: 60ms}}}",
	"{use: longest, batch: {delay: {wait: 25ms}}, evict: gdsf}",
	"{use: polling, visit: gated, evict: random, place: most-free}",
	"{use: oldest, admit: {queue-cap: {items: 6}}, evict: single}",
	"{use: priority, order: {aging: {step: 20ms}}, evict: largest}",
	"{use: time-slice, params: {max_wait: 90ms, min_active: 20ms}, evict: {keep-alive: {idle: 50ms, max: 2}}}",
	"{use: llmux-cost-aware, params: {max_wait: 90ms, min_active: 20ms}}",
	"{use: drr, params: {quantum: 40ms}, prefetch: next}",
	"{use: waste, params: {floor: 5ms, beta: 2.5}}",
}

// closureText returns a small random experiment under all policies. Times are
// multiples of 5 ms where that can be, so that facts meet.
func closureText(rng *rand.Rand) string {
	var b strings.Builder
	ms := func(most int) string { return fmt.Sprintf("%dms", 5*rng.IntN(most/5+1)) }
	fmt.Fprintf(&b, "version: 1\nname: closure\nseed: %d\nattempts: 3\nhardware:\n  host_memory: %s\n  gpus:\n", rng.Uint64N(1000), []string{"0B", "4GB", "64GB"}[rng.IntN(3)])
	for d := range 1 + rng.IntN(2) {
		fmt.Fprintf(&b, "    - {name: gpu%d, memory: %dGB, safety: 1.0, slots: %d}\n", d, 4+rng.IntN(4), 1+rng.IntN(2))
	}
	b.WriteString("models:\n")
	models := 2 + rng.IntN(3)
	for m := range models {
		fmt.Fprintf(&b, "  m%d: {memory: %dGB, load: {disk: %s, host: %s}, unload: %s, batch: {max: %d, memory: 100MB, base: %s, per_item: %s}}\n",
			m, 1+rng.IntN(3), ms(60), ms(20), ms(10), 1+rng.IntN(4), ms(10), ms(20))
	}
	arrivals := []string{"poisson: {rate: 40/s}", "constant: {rate: 100/s}", "poisson: {rate: 10/s}"}[rng.IntN(3)]
	if rng.IntN(2) == 0 {
		fmt.Fprintf(&b, "workload: {items: 40, arrivals: {%s}, streams: {}}\n", arrivals)
	} else {
		fmt.Fprintf(&b, "workload: {items: 40, arrivals: {%s}, pipelines: [{name: p, stages: [{id: a, model: m0, items: 2}, {id: b, model: m1, after: [a], priority: 3, slo: 500ms}, {id: c, model: m%d, after: [a, b]}]}]}\n", arrivals, models-1)
	}
	b.WriteString("policies:\n")
	for i, p := range closurePolicies {
		fmt.Fprintf(&b, "  - {as: p%d, %s\n", i, p[1:])
	}
	b.WriteString("output: {events: none, report: [], charts: []}\n")
	return b.String()
}

// liveRun is a run on a real clock: executors that take their time and fail,
// devices that are lost, memory that others hold, items that are given up, a
// log that is slow to write.
type liveRun struct {
	seed  uint64
	setup *Setup
	core  *scheduler.Core
	inbox *scheduler.Inbox
}

// carryOut is the executors' function: what a command takes depends on the
// seed and its number only.
func (r *liveRun) carryOut(ctx context.Context, c scheduler.Command) error {
	rng := rand.New(rand.NewPCG(r.seed, c.Seq))
	took := time.Duration(rng.IntN(12)) * 5 * time.Millisecond
	if rng.IntN(2) == 0 {
		took += time.Duration(rng.IntN(1000)) * time.Microsecond
	}
	select {
	case <-time.After(took):
	case <-ctx.Done():
		return ctx.Err()
	}
	if rng.IntN(12) == 0 {
		return &scheduler.CommandError{Code: scheduler.Failure(rng.IntN(5)), Retryable: true, Text: "invented"}
	}
	return nil
}

// trouble sends facts from outside until the context ends, then heals.
func (r *liveRun) trouble(ctx context.Context, rng *rand.Rand) {
	devices := len(r.setup.Config.Devices)
	post := func(kind scheduler.Kind, d int, id, value int64) {
		ev := scheduler.Event{Kind: kind, Device: scheduler.DeviceID(d), ID: id, Value: value, Model: scheduler.NoModel}
		if kind == scheduler.ItemCancelled {
			ev.Device = scheduler.NoDevice
		}
		_ = r.inbox.Post(ev) // after the end it is refused
	}
	for range 12 {
		select {
		case <-time.After(time.Duration(rng.IntN(24)) * 5 * time.Millisecond):
		case <-ctx.Done():
		}
		switch d := rng.IntN(devices); rng.IntN(8) {
		case 0, 1:
			post(scheduler.MemoryObserved, d, 0, rng.Int64N(4e9))
		case 2:
			post(scheduler.DeviceDown, d, 0, 0)
		case 3, 4:
			post(scheduler.DeviceUp, d, 0, 0)
		default:
			for range 3 {
				post(scheduler.ItemCancelled, 0, rng.Int64N(40), 0)
			}
		}
	}
	for d := range devices {
		post(scheduler.MemoryObserved, d, 0, 0)
		post(scheduler.DeviceUp, d, 0, 0)
	}
}

// slow is a sink that now and then takes its time, which makes facts late.
type slow struct{ rng *rand.Rand }

func (s slow) Append([]scheduler.Event) error {
	if s.rng.IntN(2) == 0 {
		time.Sleep(time.Duration(s.rng.IntN(8000)) * time.Microsecond)
	}
	return nil
}

// recordLive runs the experiment on the real clock and returns its log, read back.
func recordLive(t *testing.T, seed uint64, cell *Cell, policy int) []scheduler.Event {
	t.Helper()
	setup, err := cell.Setup(policy, 0, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer setup.Close()
	r := &liveRun{seed: seed, setup: setup}
	if r.core, err = scheduler.New(setup.Config); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(seed, 1))
	cfg := scheduler.InboxConfig{Core: r.core, Source: setup.Source, Seed: setup.Seed}
	for range setup.Config.Devices {
		cfg.Executors = append(cfg.Executors, scheduler.NewCallExecutor(r.carryOut))
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	switch rng.IntN(5) {
	case 0:
		cfg.Horizon = scheduler.Time(rng.Int64N(1e9))
	case 1:
		stop := time.AfterFunc(time.Duration(rng.Int64N(1e9)), cancel)
		defer stop.Stop()
	}
	if r.inbox, err = scheduler.OpenInbox(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	r.inbox.Drain()
	path := filepath.Join(t.TempDir(), "events.log")
	log, err := eventlog.Create(path, eventlog.Header{}, eventlog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var outside sync.WaitGroup
	outside.Go(func() { r.trouble(ctx, rand.New(rand.NewPCG(seed, 2))) })
	err = scheduler.Drive(ctx, r.core, r.inbox, log, slow{rng})
	// A policy may insist for ever on a model that memory of others keeps out, the
	// seed's rule on a device that was lost: one more way in which a log ends.
	if _, waits := errors.AsType[*scheduler.LostWakeupError](err); waits || errors.Is(err, context.Canceled) {
		err = nil
	}
	cancel()
	outside.Wait()
	if err := errors.Join(err, r.inbox.Close(context.Background()), log.Close()); err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	return readLog(t, path)
}

func readLog(t *testing.T, path string) []scheduler.Event {
	t.Helper()
	r, err := eventlog.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var all []scheduler.Event
	for {
		events, err := r.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, events...)
	}
}

// config returns a fresh configuration of a run of the cell.
func config(t *testing.T, cell *Cell, policy int) scheduler.Config {
	t.Helper()
	setup, err := cell.Setup(policy, 0, "test")
	if err != nil {
		t.Fatal(err)
	}
	setup.Config.Checked = true
	if err := setup.Close(); err != nil {
		t.Fatal(err)
	}
	return setup.Config
}

// closureB holds the simulated World of the log's recording against the log.
func closureB(t *testing.T, cfg scheduler.Config, log []scheduler.Event) error {
	t.Helper()
	rec := sim.NewRecording()
	if err := rec.Append(log); err != nil {
		t.Fatal(err)
	}
	same := scheduler.NewComparison(log)
	return same.Close(sim.Closure(t.Context(), cfg, rec, same))
}

// met counts what the logs of the property had in them.
type met struct{ late, failed, down, lost, foreign, cancelled, inBatch, replaced, ties, unfinished int }

func (m *met) count(log []scheduler.Event) {
	one := func(n *int, has bool) {
		if has {
			*n++
		}
	}
	var late, failed, down, lost, foreign, cancelled, inBatch, replaced, ties bool
	pending := map[int64]int64{} // timers
	flying := map[int64]scheduler.DeviceID{}
	running := map[int64]bool{}
	for i, ev := range log {
		switch ev.Kind {
		case scheduler.TimerSet:
			_, twice := pending[ev.ID]
			replaced = replaced || twice
			pending[ev.ID] = ev.Value
		case scheduler.TimerFired:
			late = late || int64(ev.At) > pending[ev.ID]
			delete(pending, ev.ID)
		case scheduler.BatchStarted, scheduler.LoadStarted, scheduler.EvictStarted:
			flying[ev.ID] = ev.Device
		case scheduler.BatchFinished, scheduler.BatchFailed, scheduler.LoadFinished, scheduler.LoadFailed, scheduler.EvictFinished, scheduler.EvictFailed:
			delete(flying, ev.ID)
			failed = failed || ev.Kind == scheduler.LoadFailed || ev.Kind == scheduler.BatchFailed || ev.Kind == scheduler.EvictFailed
		case scheduler.DeviceDown:
			down = true
			for seq, d := range flying {
				if d == ev.Device {
					lost = true
					delete(flying, seq)
				}
			}
		case scheduler.MemoryObserved:
			foreign = true
		case scheduler.MemberDispatched:
			running[ev.ID] = true
		case scheduler.ItemCancelled:
			cancelled = true
			inBatch = inBatch || running[ev.ID]
		}
		ties = ties || i > 0 && ev.Kind.Fact() && !ev.First() && log[i-1].Kind.Class() != ev.Kind.Class()
	}
	one(&m.late, late)
	one(&m.failed, failed)
	one(&m.down, down)
	one(&m.lost, lost)
	one(&m.foreign, foreign)
	one(&m.cancelled, cancelled)
	one(&m.inBatch, inBatch)
	one(&m.replaced, replaced)
	one(&m.ties, ties)
	one(&m.unfinished, len(flying) > 0)
}

// TestClosure: whatever happens on the real clock, the recorded facts give the
// recorded decisions (a), and the recorded outside facts, durations and timers
// give in the simulated World the recorded events (b), byte for byte.
func TestClosure(t *testing.T) {
	var m met
	seeds := uint64(100)
	if os.Getenv("VRAMSIM_LONG") == "1" {
		seeds = 2000
	}
	for seed := range seeds {
		cell := parse(t, closureText(rand.New(rand.NewPCG(seed, 0))), Options{}).Cells[0]
		policy := int(seed) % len(cell.Policies)
		var log []scheduler.Event
		synctest.Test(t, func(t *testing.T) { log = recordLive(t, seed, cell, policy) })
		m.count(log)
		if err := scheduler.Replay(config(t, cell, policy), config(t, cell, policy), log); err != nil {
			t.Errorf("seed %d, %s, closure a: %v", seed, closurePolicies[policy], err)
		}
		if err := closureB(t, config(t, cell, policy), log); err != nil {
			t.Errorf("seed %d, %s, closure b: %v", seed, closurePolicies[policy], err)
		}
	}
	t.Logf("%+v", m)
	for what, n := range map[string]int{"late timers": m.late, "failures": m.failed, "devices down": m.down, "commands lost": m.lost, "foreign memory": m.foreign,
		"cancellations": m.cancelled, "cancellations of what runs": m.inBatch, "ties": m.ties, "ends with work in flight": m.unfinished} {
		if n < int(seeds)/20 {
			t.Errorf("only %d of %d runs had %s", n, seeds, what)
		}
	}
}

// TestClosureBreaks: a duration, a timer or an outside fact that is another by
// a nanosecond breaks closure b, at the fact that differs.
func TestClosureBreaks(t *testing.T) {
	cell := parse(t, closureText(rand.New(rand.NewPCG(4, 0))), Options{}).Cells[0]
	const policy = 7 // waits
	var log []scheduler.Event
	synctest.Test(t, func(t *testing.T) { log = recordLive(t, 7, cell, policy) })
	tried := map[scheduler.Kind]bool{}
	for i, ev := range log {
		if !ev.Kind.Fact() || !ev.First() || tried[ev.Kind] || i+1 < len(log) && log[i+1].Kind.Fact() {
			continue // alone in its step, so that its step can move
		}
		tried[ev.Kind] = true
		rec := sim.NewRecording()
		moved := append([]scheduler.Event(nil), log...)
		moved[i].At++
		if err := rec.Append(moved); err != nil {
			t.Fatal(err)
		}
		same := scheduler.NewComparison(log)
		err := same.Close(sim.Closure(t.Context(), config(t, cell, policy), rec, same))
		var found *scheduler.Divergence
		if !errors.As(err, &found) || found.Seq != int64(i) || found.Want != ev || found.Got.At != ev.At+1 {
			t.Errorf("event %d, %v moved by 1 ns: %v", i, ev.Kind, err)
		}
	}
	for _, k := range []scheduler.Kind{scheduler.BatchFinished, scheduler.LoadFinished, scheduler.TimerFired, scheduler.ItemCancelled} {
		if !tried[k] {
			t.Errorf("no %v stood alone in its step", k)
		}
	}
}

// TestClosureOfSimulations: a simulated run is its own recording too.
func TestClosureOfSimulations(t *testing.T) {
	for seed := range uint64(40) {
		cell := parse(t, closureText(rand.New(rand.NewPCG(seed, 0))), Options{}).Cells[0]
		policy := int(seed) % len(cell.Policies)
		setup, err := cell.Setup(policy, 0, "test")
		if err != nil {
			t.Fatal(err)
		}
		core, err := scheduler.New(setup.Config)
		if err != nil {
			t.Fatal(err)
		}
		var log kept
		if err := errors.Join(scheduler.Drive(t.Context(), core, setup.World, &log), setup.Close()); err != nil {
			t.Fatal(err)
		}
		if err := closureB(t, config(t, cell, policy), log); err != nil {
			t.Errorf("seed %d, %s: %v", seed, closurePolicies[policy], err)
		}
	}
}

// kept is a sink that keeps everything.
type kept []scheduler.Event

func (k *kept) Append(events []scheduler.Event) error { *k = append(*k, events...); return nil }

// TestMiniatureIsRobust: in the experiment that tests carry out on the real
// clock no two instants are so close that a host late by milliseconds could
// exchange them, under any policy.
func TestMiniatureIsRobust(t *testing.T) {
	for _, set := range [][]string{nil, {"workload.items=4"}} {
		e, err := Load("templates/gpu-miniature.yaml", policies.Builtin(), Options{Set: set})
		if err != nil {
			t.Fatal(err)
		}
		for p := range e.Cells[0].Policies {
			keepsApart(t, e.Cells[0], p)
		}
	}
}

func keepsApart(t *testing.T, cell *Cell, policy int) {
	t.Helper()
	setup, err := cell.Setup(policy, 0, "test")
	if err != nil {
		t.Fatal(err)
	}
	core, err := scheduler.New(setup.Config)
	if err != nil {
		t.Fatal(err)
	}
	var log kept
	if err := errors.Join(scheduler.Drive(t.Context(), core, setup.World, &log), setup.Close()); err != nil {
		t.Fatal(err)
	}
	for i := 1; i < len(log); i++ {
		if gap := log[i].At - log[i-1].At; gap > 0 && gap < 20*scheduler.Millisecond {
			t.Errorf("%s: events %d and %d are %v apart", cell.Policies[policy].Name, i-1, i, gap)
		}
	}
}
