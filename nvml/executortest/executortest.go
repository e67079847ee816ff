// Package executortest is the contract of scheduler.Executor as a property
// test. Every executor passes it, on a fake device, faults included:
//
//   - exactly one outcome follows each command that was started, whatever
//     happens, within the fixture's patience; none follows one that Start refused;
//   - Start returns at once;
//   - no batch runs of a model that is not loaded;
//   - bytes are conserved: what is resident is what is held, and nothing is
//     after Close;
//   - Cancel of anything at any time is harmless; Close works with commands in
//     flight, which then have their outcomes, and works twice;
//   - after a loss all in flight fails, commands fail until Restart, and
//     nothing is resident then.
package executortest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/vramsim/vramsim/scheduler"
)

// Fault is something that happens to a device or to what drives it.
type Fault string

// The faults that a fixture may be able to show. All but OOM happen at one
// command. Hang and those after it lose the device: everything in flight fails
// with FailureLost, but for a command that hung, which may say FailureTimeout.
const (
	OOM      Fault = "oom"       // beyond Script.Memory bytes, allocation fails
	Failure  Fault = "failure"   // the command fails and nothing else does
	Hang     Fault = "hang"      // the command never ends by itself
	Crash    Fault = "crash"     // what carries it out dies
	Garbage  Fault = "garbage"   // what carries it out talks nonsense
	HugeLine Fault = "huge line" // the same without end
	Lost     Fault = "lost"      // the device reports that it is gone
)

// Script says what goes wrong.
type Script struct {
	Memory scheduler.Bytes // of the device, for OOM; 0: enough
	At     int             // which of the commands started, from 0; -1: none
	Fault  Fault
}

// Bench is an executor over a fresh fake device.
type Bench struct {
	Executor scheduler.Executor
	// Held returns the bytes that the executor holds on the device, as the
	// device tells; nil if it cannot. Rounding up to Grain for each model and
	// batch is allowed.
	Held func() (scheduler.Bytes, error)
	// Left says after Close what was left behind: processes, files, handles.
	Left func() string
}

// Fixture makes benches.
type Fixture struct {
	Faults   []Fault       // that it can show; any but OOM and Failure may also be survived
	Patience time.Duration // within which an outcome comes, hangs included
	Slots    int           // most batches at once; 0: 1
	Host     bool          // can load from the host tier
	Grain    scheduler.Bytes
	// Overhead is what the executor holds on the device beside models and batches.
	Overhead scheduler.Bytes
	// Unchecked says that running an unloaded model is not refused but loads
	// it, as observe-only servers do.
	Unchecked bool
	New       func(tb testing.TB, plan scheduler.Plan, script Script) Bench
}

// Test checks the contract over random plans, commands and faults.
func Test(t *testing.T, f Fixture) {
	t.Helper()
	rapid.Check(t, func(rt *rapid.T) {
		r := &rig{t: rt, f: &f, state: map[scheduler.ModelID]state{}, flying: map[uint64]scheduler.Command{},
			cancelled: map[uint64]bool{}, illegal: map[uint64]bool{}}
		r.open(t)
		r.act()
		r.close()
	})
}

// state is what the rig knows of a model: it is told by outcomes only.
type state int

const (
	absent state = iota
	loading
	resident
	evicting
)

// rig drives one bench.
type rig struct {
	t      *rapid.T
	f      *Fixture
	plan   scheduler.Plan
	script Script
	bench  Bench

	seq    uint64
	state  map[scheduler.ModelID]state
	flying map[uint64]scheduler.Command
	// cancelled holds commands that Cancel was called for; illegal those that
	// have to fail.
	cancelled, illegal map[uint64]bool
	failures           int // of others, that lost nothing
	lost, closing      bool
	hung               bool // since the last restart: the device may be lost, which nothing said yet
}

const mib = scheduler.Bytes(1 << 20)

func (r *rig) open(tb testing.TB) {
	t := r.t
	r.plan = scheduler.Plan{Name: "gpu0", Slots: rapid.IntRange(1, max(1, r.f.Slots)).Draw(t, "slots"),
		Tiers: []scheduler.Tier{scheduler.TierDisk}, Seed: rapid.Uint64().Draw(t, "seed")}
	if r.f.Host {
		r.plan.Tiers = append(r.plan.Tiers, scheduler.TierHost)
		r.plan.HostMemory = 64 * mib
	}
	var all scheduler.Bytes
	for i := range rapid.IntRange(1, 4).Draw(t, "models") {
		m := scheduler.Model{Name: fmt.Sprintf("m%d", i), Bytes: scheduler.Bytes(rapid.IntRange(1, 8).Draw(t, "MiB")) * mib,
			Batch: scheduler.BatchCost{Max: 4, Memory: scheduler.Bytes(rapid.IntRange(0, 2).Draw(t, "item MiB")) * mib,
				Base: scheduler.Millisecond, PerItem: scheduler.Millisecond},
			Load: [scheduler.Tiers]scheduler.Time{scheduler.Millisecond, scheduler.Millisecond}, Unload: scheduler.Millisecond}
		all += m.Bytes + m.Batch.Memory*4*scheduler.Bytes(r.plan.Slots)
		r.plan.Models = append(r.plan.Models, m)
	}
	r.plan.Memory = all
	r.script = Script{At: -1}
	if len(r.f.Faults) > 0 && rapid.Bool().Draw(t, "faulty") {
		r.script.Fault = rapid.SampledFrom(r.f.Faults).Draw(t, "fault")
		if r.script.Fault == OOM {
			r.script.Memory = r.f.Overhead + rapid.Custom(func(t *rapid.T) scheduler.Bytes {
				return scheduler.Bytes(rapid.IntRange(1, int(max(1, all/mib-1))).Draw(t, "n")) * mib
			}).Draw(t, "memory")
			r.plan.Memory = r.script.Memory
		} else {
			r.script.At = rapid.IntRange(0, 8).Draw(t, "at")
		}
	}
	r.bench = r.f.New(tb, r.plan, r.script)
	ctx, cancel := context.WithTimeout(context.Background(), r.f.Patience)
	defer cancel()
	able, err := r.bench.Executor.Open(ctx, r.plan)
	if err != nil {
		r.close()
		t.Fatalf("open: %v", err)
	}
	if able.Name == "" {
		t.Errorf("the executor has no name")
	}
}

func (r *rig) act() {
	for range rapid.IntRange(0, 20).Draw(r.t, "actions") {
		switch rapid.SampledFrom([]string{"load", "load", "run", "run", "run", "evict", "run absent", "cancel", "await", "await"}).Draw(r.t, "action") {
		case "load":
			r.load()
		case "run":
			r.run(resident)
		case "run absent":
			if !r.f.Unchecked {
				r.run(absent)
			}
		case "evict":
			r.evict()
		case "cancel":
			seq := rapid.Uint64Range(0, r.seq+2).Draw(r.t, "seq")
			r.cancelled[seq] = seq <= r.seq
			r.bench.Executor.Cancel(seq)
		case "await":
			r.await()
		}
	}
	if rapid.Bool().Draw(r.t, "finish") {
		for len(r.flying) > 0 {
			r.await()
		}
		r.conserved()
	}
}

// pick returns a model in a state that no command in flight uses.
func (r *rig) pick(want state, idle bool) (scheduler.ModelID, bool) {
	var found []scheduler.ModelID
	for i := range r.plan.Models {
		m := scheduler.ModelID(i)
		if r.state[m] == want && (!idle || !r.running(m)) {
			found = append(found, m)
		}
	}
	if len(found) == 0 {
		return 0, false
	}
	return rapid.SampledFrom(found).Draw(r.t, "model"), true
}

func (r *rig) running(m scheduler.ModelID) bool {
	for _, c := range r.flying {
		if c.Model == m {
			return true
		}
	}
	return false
}

// on reports whether an operation is in flight: a link carries one load.
func (r *rig) on(op scheduler.Operation) int {
	n := 0
	for _, c := range r.flying {
		if c.Op == op {
			n++
		}
	}
	return n
}

func (r *rig) load() {
	m, ok := r.pick(absent, true)
	if !ok || r.on(scheduler.OpLoad) > 0 {
		return
	}
	r.start(scheduler.Command{Op: scheduler.OpLoad, Model: m, Tier: rapid.SampledFrom(r.plan.Tiers).Draw(r.t, "tier")}, loading)
}

func (r *rig) evict() {
	if m, ok := r.pick(resident, true); ok {
		r.start(scheduler.Command{Op: scheduler.OpEvict, Model: m}, evicting)
	}
}

func (r *rig) run(want state) {
	m, ok := r.pick(want, want == absent)
	slot := r.freeSlot()
	if !ok || slot < 0 {
		return
	}
	c := scheduler.Command{Op: scheduler.OpRun, Model: m, Slot: slot}
	for i := range rapid.IntRange(1, r.plan.Models[m].Batch.Max).Draw(r.t, "n") {
		c.Items = append(c.Items, scheduler.CommandItem{ID: scheduler.ItemID(int(r.seq)*8 + i), Work: scheduler.WorkUnit, Seed: uint64(i)})
	}
	r.illegal[r.seq+1] = want == absent
	r.start(c, want)
}

func (r *rig) freeSlot() int {
	taken := make([]bool, r.plan.Slots)
	for _, c := range r.flying {
		if c.Op == scheduler.OpRun {
			taken[c.Slot] = true
		}
	}
	for s := range taken {
		if !taken[s] {
			return s
		}
	}
	return -1
}

func (r *rig) start(c scheduler.Command, then state) {
	r.seq++
	c.Seq, c.Device, c.Estimate = r.seq, r.plan.Device, scheduler.Millisecond
	began := time.Now()
	err := r.bench.Executor.Start(c)
	if took := time.Since(began); took > r.f.Patience/2 {
		r.t.Errorf("Start took %v; it returns at once", took)
	}
	if err != nil {
		var why *scheduler.CommandError
		if !errors.As(err, &why) || why.Code != scheduler.FailureLost {
			r.t.Errorf("Start of %v refused: %v", c.Op, err)
		}
		return
	}
	r.flying[c.Seq] = c
	r.state[c.Model] = then
}

// await takes one outcome.
func (r *rig) await() {
	if len(r.flying) == 0 {
		return
	}
	select {
	case o := <-r.bench.Executor.Outcomes():
		r.take(o)
	case <-time.After(r.f.Patience):
		r.t.Fatalf("no outcome of %d commands in %v", len(r.flying), r.f.Patience)
	}
	if r.lost {
		r.restart()
	}
}

func (r *rig) take(o scheduler.Outcome) {
	c, ok := r.flying[o.Seq]
	if !ok {
		r.t.Fatalf("an outcome of command %d, which is not in flight", o.Seq)
	}
	delete(r.flying, o.Seq)
	done := o.Failure == nil
	if !done {
		r.failed(&c, o.Failure)
	}
	switch {
	case !done && o.Failure.Code == scheduler.FailureLost:
		r.lost = true
	case c.Op == scheduler.OpRun && done && r.state[c.Model] == absent:
		r.t.Fatalf("a batch of %s ran, which is not loaded", r.plan.Models[c.Model].Name)
	case c.Op == scheduler.OpLoad:
		r.state[c.Model] = map[bool]state{true: resident, false: absent}[done]
	case c.Op == scheduler.OpEvict:
		r.state[c.Model] = map[bool]state{true: absent, false: resident}[done]
	}
}

// failed checks that a command had a reason to fail.
func (r *rig) failed(c *scheduler.Command, why *scheduler.CommandError) {
	if why.Text == "" {
		r.t.Errorf("%v failed (%v) and does not say why", c.Op, why.Code)
	}
	r.hung = r.hung || why.Code == scheduler.FailureTimeout
	most := 0
	if r.script.Fault == Failure || r.script.Fault == Hang {
		most = 1
	}
	if why.Code == scheduler.FailureLost || r.cancelled[c.Seq] || r.illegal[c.Seq] || r.closing || r.script.Fault == OOM {
		return
	}
	if r.failures++; r.failures > most {
		r.t.Fatalf("%v of %s failed for nothing: %v", c.Op, r.plan.Models[c.Model].Name, why)
	}
}

// restart goes on after a loss, as the hardware world does.
func (r *rig) restart() {
	again, ok := r.bench.Executor.(scheduler.Restarter)
	if !ok {
		r.t.Fatalf("the device was lost and the executor cannot be restarted")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*r.f.Patience)
	defer cancel()
	restarted := make(chan error, 1)
	go func() { restarted <- again.Restart(ctx) }()
	for back := false; !back || len(r.flying) > 0; {
		select {
		case o := <-r.bench.Executor.Outcomes():
			r.take(o)
		case err := <-restarted:
			if back = true; err != nil {
				r.t.Fatalf("restart: %v", err)
			}
		case <-ctx.Done():
			r.t.Fatalf("restarted: %v; %d commands that were in flight had no outcome", back, len(r.flying))
		}
	}
	clear(r.state)
	r.lost, r.hung = false, false
}

// conserved compares what is held with what is resident.
func (r *rig) conserved() {
	if r.bench.Held == nil || r.hung {
		return
	}
	held, err := r.bench.Held()
	if err != nil {
		r.t.Fatalf("held: %v", err)
	}
	want, models := r.f.Overhead, scheduler.Bytes(0)
	for m, s := range r.state {
		if s == resident {
			want += r.plan.Models[m].Bytes
			models++
		}
	}
	if held < want || held > want+models*r.f.Grain {
		r.t.Fatalf("%v are held where models of %v are resident", held, want)
	}
}

// close ends the executor with whatever is in flight; each command still has
// its outcome, and nothing is left.
func (r *rig) close() {
	r.closing = true
	ctx, cancel := context.WithTimeout(context.Background(), 2*r.f.Patience)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- r.bench.Executor.Close(ctx) }()
	for open := true; open; {
		select {
		case o, ok := <-r.bench.Executor.Outcomes():
			if !ok {
				r.t.Fatalf("outcomes are closed; they stay open")
			}
			r.take(o)
		case err := <-closed:
			if err != nil {
				r.t.Fatalf("close: %v", err)
			}
			open = false
		}
	}
	if len(r.flying) > 0 {
		r.t.Fatalf("%d commands had no outcome when Close returned", len(r.flying))
	}
	if err := r.bench.Executor.Close(ctx); err != nil {
		r.t.Fatalf("close again: %v", err)
	}
	if err := r.bench.Executor.Start(scheduler.Command{Seq: r.seq + 1, Op: scheduler.OpLoad}); err == nil {
		r.t.Fatalf("a command was started after Close")
	}
	if r.bench.Held != nil {
		if held, err := r.bench.Held(); err != nil || held != 0 {
			r.t.Fatalf("%v are held after Close (%v)", held, err)
		}
	}
	if r.bench.Left != nil {
		if left := r.bench.Left(); left != "" {
			r.t.Fatalf("left behind: %s", left)
		}
	}
}
