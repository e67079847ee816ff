package calibrate

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vramsim/vramsim/nvml/profile"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/random"
)

// card is a device whose times are known, on the bubble's clock.
type card struct {
	*scheduler.CallExecutor
	models   []scheduler.Model
	jitter   float64
	wild     int // every so manieth command takes three times as long
	oom      int // batches from this size on run out of memory
	hang     scheduler.Operation
	calls    []scheduler.Command
	resident map[scheduler.ModelID]bool
	used     map[string]bool
	running  int
	opened   bool
	closed   int
	stream   random.Stream
	slots    chan struct{} // one: guards what follows
}

func newCard(models ...scheduler.Model) *card {
	c := &card{models: models, resident: map[scheduler.ModelID]bool{}, used: map[string]bool{}, stream: random.NewStream(7), slots: make(chan struct{}, 1)}
	c.CallExecutor = scheduler.NewCallExecutor(c.call)
	return c
}

func (c *card) Open(ctx context.Context, p scheduler.Plan) (scheduler.Capabilities, error) {
	c.opened = true
	return c.CallExecutor.Open(ctx, p)
}

func (c *card) Close(ctx context.Context) error {
	c.closed++
	return c.CallExecutor.Close(ctx)
}

// plan reserves and draws; the time is slept outside the lock.
func (c *card) plan(cmd scheduler.Command) (time.Duration, error) {
	c.slots <- struct{}{}
	defer func() { <-c.slots }()
	c.calls = append(c.calls, cmd)
	took := 2 * time.Millisecond
	switch cmd.Op {
	case scheduler.OpLoad:
		if c.resident[cmd.Model] {
			return 0, errors.New("loaded already")
		}
		if cmd.Tier == scheduler.TierHost && !c.used[fmt.Sprint("evicted", cmd.Model)] {
			return 0, errors.New("not in the host tier")
		}
		gb := float64(c.models[cmd.Model].Bytes) / 1e9
		took = time.Duration(1e8 + gb*[2]float64{1e9, 1e8}[cmd.Tier])
		took += c.first(fmt.Sprint("load", cmd.Model), 500*time.Millisecond)
		c.resident[cmd.Model] = true
	case scheduler.OpEvict:
		if !c.resident[cmd.Model] {
			return 0, errors.New("not loaded")
		}
		if c.running > 0 {
			took *= 3
		}
		delete(c.resident, cmd.Model)
		c.used[fmt.Sprint("evicted", cmd.Model)] = true
	case scheduler.OpRun:
		if c.oom > 0 && len(cmd.Items) >= c.oom {
			return 0, &scheduler.CommandError{Code: scheduler.FailureOOM, Text: "no room"}
		}
		took = 10*time.Millisecond + time.Duration(len(cmd.Items))*40*time.Millisecond
		took += c.first(fmt.Sprint("batch", cmd.Model, len(cmd.Items)), 300*time.Millisecond)
		c.running++
	}
	took = time.Duration(float64(took) * (1 + c.jitter*(c.stream.Uniform()-.5)))
	if c.wild > 0 && len(c.calls)%c.wild == 0 {
		took *= 3
	}
	return took, nil
}

func (c *card) first(what string, more time.Duration) time.Duration {
	if c.used[what] {
		return 0
	}
	c.used[what] = true
	return more
}

func (c *card) call(ctx context.Context, cmd scheduler.Command) error {
	took, err := c.plan(cmd)
	if err != nil {
		return err
	}
	if cmd.Op == c.hang && len(c.calls) > 20 {
		took = time.Hour
	}
	select {
	case <-time.After(took):
	case <-ctx.Done():
		return ctx.Err()
	}
	if cmd.Op == scheduler.OpRun {
		c.slots <- struct{}{}
		c.running--
		<-c.slots
	}
	return nil
}

func catalogue() []scheduler.Model {
	return []scheduler.Model{
		{Name: "a", Bytes: 1e9, Batch: scheduler.BatchCost{Max: 6, Memory: 1e8}},
		{Name: "b", Bytes: 3e9, Batch: scheduler.BatchCost{Max: 2, Memory: 1e8}},
	}
}

func planOf(models []scheduler.Model) scheduler.Plan {
	return scheduler.Plan{Name: "gpu0", Models: models, Slots: 1, Tiers: []scheduler.Tier{scheduler.TierDisk, scheduler.TierHost}, HostMemory: 10e9, Memory: 5e9, Seed: 3}
}

// TestMeasure: what a device takes comes back, by tier and size, first uses
// and busy evictions apart.
func TestMeasure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCard(catalogue()...)
		told := map[scheduler.Kind]int{}
		r, err := Measure(t.Context(), c, Config{Plan: planOf(c.models), Told: func(ev scheduler.Event) error {
			told[ev.Kind]++
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		if !c.opened || c.closed == 0 || len(c.resident) != 0 {
			t.Errorf("opened %v, closed %d times, resident %v", c.opened, c.closed, c.resident)
		}
		for i, o := range r.Models {
			gb := scheduler.Time(c.models[i].Bytes / 1e9)
			m, _, err := o.Model(Empirical)
			if err != nil {
				t.Fatal(err)
			}
			disk, host := 100*scheduler.Millisecond+gb*scheduler.Second, 100*scheduler.Millisecond+gb*100*scheduler.Millisecond
			if m.Load[0].String() != disk.String() || m.Load[1].String() != host.String() || m.FirstUse != 500*scheduler.Millisecond ||
				m.Unload.String() != "2ms" || m.UnloadBusy.String() != "6ms" {
				t.Errorf("%+v", m)
			}
			want := map[int]scheduler.Time{1: 50 * scheduler.Millisecond, 2: 90 * scheduler.Millisecond}
			if o.Name == "a" {
				want[4], want[6] = 170*scheduler.Millisecond, 250*scheduler.Millisecond
			}
			if b := m.Batch; !reflect.DeepEqual(b.Times, want) || b.Base != 10*scheduler.Millisecond || b.PerItem != 40*scheduler.Millisecond {
				t.Errorf("%s: %+v", o.Name, b)
			}
		}
		tiers := Tiers(r.Models, "pinned")
		if tiers.Disk.Base != 100*scheduler.Millisecond || tiers.Disk.PerGB != scheduler.Second || tiers.Pinned.PerGB != 100*scheduler.Millisecond {
			t.Errorf("%+v %+v", tiers.Disk, tiers.Pinned)
		}
		for _, s := range r.Series {
			if len(s.Samples) < DefaultLeast || !s.Settled || s.Outliers != 0 {
				t.Errorf("%s, %s: %d samples, settled %v, %d outliers", s.Model, s.What, len(s.Samples), s.Settled, s.Outliers)
			}
		}
		if r.WarmUp != DefaultLeast+1 { // the first batch is slow
			t.Errorf("%d batches of warm-up", r.WarmUp)
		}
		if told[scheduler.LoadFinished]+told[scheduler.EvictFinished]+told[scheduler.BatchFinished] != len(c.calls) {
			t.Errorf("told %v of %d", told, len(c.calls))
		}
		interleaved(t, c.calls)
	})
}

// interleaved checks that no model has all its commands in one go.
func interleaved(t *testing.T, calls []scheduler.Command) {
	t.Helper()
	changes := 0
	for i := 1; i < len(calls); i++ {
		if calls[i].Model != calls[i-1].Model {
			changes++
		}
	}
	if changes < DefaultLeast {
		t.Errorf("the model changes %d times in %d commands", changes, len(calls))
	}
}

// TestMeasureNoise: series are repeated until their medians are known, wild
// times are kept and tagged, and the same seed gives the same order.
func TestMeasureNoise(t *testing.T) {
	measure := func(t *testing.T, jitter float64, cfg Config) (*Result, *card) {
		c := newCard(catalogue()...)
		c.jitter, c.wild = jitter, 7
		cfg.Plan = planOf(c.models)
		r, err := Measure(t.Context(), c, cfg)
		if err != nil {
			t.Fatal(err)
		}
		return r, c
	}
	synctest.Test(t, func(t *testing.T) {
		r, c := measure(t, .02, Config{})
		wild := 0
		for _, s := range r.Series {
			wild += s.Outliers
			if n := len(s.Samples); n < DefaultLeast || s.Settled != (medianInterval(s.Samples) <= DefaultWidth) || !s.Settled && n < DefaultMost {
				t.Errorf("%s, %s: %d samples, settled %v", s.Model, s.What, n, s.Settled)
			}
		}
		if wild < len(c.calls)/15 {
			t.Errorf("%d of %d commands are tagged", wild, len(c.calls))
		}
		again, d := measure(t, .02, Config{})
		if r.RawSHA256() != again.RawSHA256() || len(c.calls) != len(d.calls) {
			t.Error("the same seed measures otherwise")
		}
		// Less is wanted, or there is no time for more: fewer repetitions.
		if few, e := measure(t, .5, Config{Least: 2, Most: 3}); len(e.calls) >= len(c.calls) || few.Series[0].Settled && medianInterval(few.Series[0].Samples) > DefaultWidth {
			t.Errorf("%d commands", len(e.calls))
		}
		if short, e := measure(t, .5, Config{Budget: time.Millisecond}); len(e.calls) >= len(c.calls) || len(short.Series) != len(r.Series) {
			t.Errorf("%d commands, %d series", len(e.calls), len(short.Series))
		}
	})
}

// TestMeasureLimits: what does not fit is said, not measured.
func TestMeasureLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCard(catalogue()...)
		c.oom = 4
		plan := planOf(c.models)
		plan.Memory, plan.HostMemory = 3.5e9, 2e9
		r, err := Measure(t.Context(), c, Config{Plan: plan})
		if err != nil {
			t.Fatal(err)
		}
		notes := strings.Join(r.Notes, "\n")
		for _, want := range []string{"a: batches of", "run out of memory", "a: no other model fits beside it"} {
			if !strings.Contains(notes, want) {
				t.Errorf("the notes are %s", notes)
			}
		}
		if a, b := r.Models[0], r.Models[1]; len(a.Batches[4]) != 0 || len(a.Batches[2]) == 0 || len(a.Load[1]) == 0 || len(b.Load[1]) != 0 {
			t.Errorf("%+v", r.Models)
		}
	})
}

// speaking is a card that says what it holds.
type speaking struct {
	*card
	outcomes chan scheduler.Outcome
	stop     chan struct{}
}

func newSpeaking(c *card) *speaking {
	s := &speaking{card: c, outcomes: make(chan scheduler.Outcome), stop: make(chan struct{})}
	go func() {
		for {
			select {
			case o := <-c.Outcomes():
				o.Memory = s.held(o.Seq)
				s.outcomes <- o
			case <-s.stop:
				return
			}
		}
	}()
	return s
}

func (s *speaking) Outcomes() <-chan scheduler.Outcome { return s.outcomes }

// held is the weights of what is resident and a megabyte that stays, with
// peaks of another and one per item.
func (s *speaking) held(seq uint64) scheduler.DeviceMemory {
	s.slots <- struct{}{}
	defer func() { <-s.slots }()
	m := scheduler.DeviceMemory{Allocated: scheduler.MB, Total: 10e9}
	for id := range s.resident {
		m.Allocated += s.models[id].Bytes
	}
	m.PeakAllocated = m.Allocated + scheduler.MB
	for _, c := range s.calls {
		if c.Seq == seq {
			m.PeakAllocated += scheduler.Bytes(len(c.Items)) * scheduler.MB
		}
	}
	return m
}

// TestMeasureMemory: what a model holds is what it holds alone.
func TestMeasureMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSpeaking(newCard(catalogue()...))
		defer close(c.stop)
		r, err := Measure(t.Context(), c, Config{Plan: planOf(c.models)})
		if err != nil {
			t.Fatal(err)
		}
		const mb = scheduler.MB
		want := profile.Memory{Weights: 1001 * mb, LoadPeak: 1002 * mb, Residue: mb, RunPeak: map[int]scheduler.Bytes{1: 1003 * mb, 2: 1004 * mb, 4: 1006 * mb, 6: 1008 * mb}}
		if got := r.Models[0].Memory; !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, want %+v", got, want)
		}
		m, _, err := r.Models[0].Model(Empirical)
		if want.Declared = 1e9; err != nil || !reflect.DeepEqual(m.Memory, want) {
			t.Errorf("%+v, %v", m.Memory, err)
		}
		if r.Models[1].Memory.Weights != 3001*mb {
			t.Errorf("%+v", r.Models[1].Memory)
		}
	})
}

// TestMeasureFailures: hangs, cancellations and failures end with the command's
// name, and the device is given back.
func TestMeasureFailures(t *testing.T) {
	for name, c := range map[string]struct {
		hang scheduler.Operation
		ctx  time.Duration
		oom  int
		want error
		op   scheduler.Operation
	}{
		"hang":      {hang: scheduler.OpEvict, want: ErrTimeout, op: scheduler.OpEvict},
		"cancelled": {hang: scheduler.OpLoad, ctx: 40 * time.Second, want: context.DeadlineExceeded, op: scheduler.OpLoad},
		"no room":   {oom: 1, op: scheduler.OpRun},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if c.ctx > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.ctx)
					defer cancel()
				}
				on := newCard(catalogue()...)
				on.hang, on.oom = c.hang, c.oom
				_, err := Measure(ctx, on, Config{Plan: planOf(on.models)})
				var failed *CommandFailure
				if !errors.As(err, &failed) || failed.Op != c.op || c.want != nil && !errors.Is(err, c.want) || on.closed == 0 {
					t.Errorf("%v, closed %d times", err, on.closed)
				}
			})
		})
	}
	if _, err := Measure(t.Context(), newCard(), Config{}); err == nil {
		t.Error("nothing is measured without an error")
	}
}

func TestMedianInterval(t *testing.T) {
	upTo := func(n int) (all []scheduler.Time) {
		for i := range n {
			all = append(all, scheduler.Time(1000+i))
		}
		return all
	}
	// From tables of the sign test: n = 5, 6: all; 9: the 2nd; 25: the 8th.
	for n, k := range map[int]int{5: 1, 6: 1, 9: 2, 10: 2, 15: 4, 25: 8} {
		all := upTo(n)
		want := float64(all[n-k]-all[k-1]) / float64(median(all))
		if got := medianInterval(all); got != want {
			t.Errorf("of %d: %v, want %v", n, got, want)
		}
	}
}
