package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vramsim/vramsim/scheduler"
)

// handExecutor keeps its commands until the test ends them.
type handExecutor struct {
	plan      scheduler.Plan
	able      scheduler.Capabilities
	opened    error
	refuse    error // what Start returns
	started   []scheduler.Command
	cancelled []uint64
	closed    int
	outcomes  chan scheduler.Outcome
}

func newHandExecutor() *handExecutor {
	return &handExecutor{able: scheduler.Capabilities{Name: "hand"}, outcomes: make(chan scheduler.Outcome)}
}

func (e *handExecutor) Open(_ context.Context, p scheduler.Plan) (scheduler.Capabilities, error) {
	e.plan = p
	return e.able, e.opened
}

func (e *handExecutor) Start(c scheduler.Command) error {
	if e.refuse != nil {
		return e.refuse
	}
	e.started = append(e.started, c)
	return nil
}

func (e *handExecutor) Outcomes() <-chan scheduler.Outcome { return e.outcomes }
func (e *handExecutor) Cancel(seq uint64)                  { e.cancelled = append(e.cancelled, seq) }
func (e *handExecutor) Close(context.Context) error        { e.closed++; return nil }

// last returns the command that was started last.
func (e *handExecutor) last() scheduler.Command { return e.started[len(e.started)-1] }

func (e *handExecutor) end(seq uint64) { e.outcomes <- scheduler.Outcome{Seq: seq} }

// anyReady runs what is ready where it is resident, in batches as large as
// allowed, and otherwise loads it on the first device that can.
type anyReady struct{}

func (anyReady) Next(v *scheduler.View) scheduler.Decision {
	for m := v.NextReady(0); m != scheduler.NoModel; m = v.NextReady(m + 1) {
		for d := range scheduler.DeviceID(v.Devices()) {
			if n := v.Fits(d, m); n > 0 {
				return scheduler.Run(d, m, n)
			}
		}
	}
	for m := v.NextReady(0); m != scheduler.NoModel; m = v.NextReady(m + 1) {
		if onSomeDevice(v, m) {
			continue
		}
		for d := range scheduler.DeviceID(v.Devices()) {
			if v.Loadable(d, m) {
				return scheduler.Load(d, m)
			}
		}
	}
	return scheduler.Decision{}
}

func onSomeDevice(v *scheduler.View, m scheduler.ModelID) bool {
	for d := range scheduler.DeviceID(v.Devices()) {
		if s := v.State(d, m); s != scheduler.Absent && s != scheduler.Evicting {
			return true
		}
	}
	return false
}

// idleFirst evicts the first model that nobody waits for, else the first.
type idleFirst struct{}

func (idleFirst) Victim(v *scheduler.View, d scheduler.DeviceID, _ scheduler.Bytes, _ scheduler.ModelID) (scheduler.ModelID, bool) {
	victim := scheduler.NoModel
	for _, m := range v.Residents(d) {
		if v.Evictable(d, m) && (victim == scheduler.NoModel || v.Ready(m) == 0 && v.Ready(victim) > 0) {
			victim = m
		}
	}
	return victim, victim != scheduler.NoModel
}

type policyFunc func(*scheduler.View) scheduler.Decision

func (f policyFunc) Next(v *scheduler.View) scheduler.Decision { return f(v) }

// catalogue returns a configuration of models of one gigabyte each and devices
// of two slots that hold two of them.
func catalogue(models, devices int) scheduler.Config {
	cfg := scheduler.Config{Policy: anyReady{}, Evictor: idleFirst{}, Checked: true}
	for i := range models {
		cfg.Models = append(cfg.Models, scheduler.Model{Name: fmt.Sprintf("m%d", i), Bytes: scheduler.GB,
			Batch: scheduler.BatchCost{Max: 4, PerItem: scheduler.Millisecond}, Unload: scheduler.Millisecond,
			Load: [scheduler.Tiers]scheduler.Time{10 * scheduler.Millisecond, scheduler.Millisecond}})
	}
	for i := range devices {
		cfg.Devices = append(cfg.Devices, scheduler.Device{Name: fmt.Sprintf("gpu%d", i), Memory: 2 * scheduler.GB, Budget: 2 * scheduler.GB, Slots: 2})
	}
	return cfg
}

// listSource returns prepared arrivals.
type listSource [][]scheduler.Event

func (s *listSource) Next() ([]scheduler.Event, error) {
	if len(*s) == 0 {
		return nil, io.EOF
	}
	next := (*s)[0]
	*s = (*s)[1:]
	return next, nil
}

func arrivalOf(at scheduler.Time, id int64, m scheduler.ModelID) scheduler.Event {
	return scheduler.Event{At: at, Kind: scheduler.ItemArrived, ID: id, Model: m, Device: scheduler.NoDevice}
}

// inboxRun drives a core by hand.
type inboxRun struct {
	t    *testing.T
	core *scheduler.Core
	*scheduler.Inbox
}

func openInbox(t *testing.T, cfg scheduler.Config, in scheduler.InboxConfig, executors ...*handExecutor) *inboxRun {
	t.Helper()
	core, err := scheduler.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	in.Core = core
	for _, e := range executors {
		in.Executors = append(in.Executors, e)
	}
	inbox, err := scheduler.OpenInbox(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := inbox.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return &inboxRun{t, core, inbox}
}

// step does what Drive does for one instant and returns its facts.
func (r *inboxRun) step() []scheduler.Event {
	r.t.Helper()
	facts, err := r.Next()
	if err != nil {
		r.t.Fatal(err)
	}
	facts = slices.Clone(facts)
	if err := r.core.Step(facts); err != nil {
		r.t.Fatal(err)
	}
	for _, ev := range r.core.Ready() {
		if ev.Kind.Effect() {
			if err := r.Start(ev); err != nil {
				r.t.Fatal(err)
			}
		}
	}
	r.core.Advance()
	return facts
}

func describe(facts []scheduler.Event) string {
	var words []string
	for _, ev := range facts {
		words = append(words, fmt.Sprintf("%v:%d:%d:%d", ev.Kind, ev.ID, ev.Device, ev.Value))
	}
	return strings.Join(words, " ")
}

func TestInboxOrdersAnInstant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		executors := []*handExecutor{newHandExecutor(), newHandExecutor(), newHandExecutor()}
		a, b := executors[0], executors[1]
		cfg := catalogue(3, 3)
		woken := false
		cfg.Policy = policyFunc(func(v *scheduler.View) scheduler.Decision {
			if !woken {
				woken = true
				return scheduler.Wake(5 * scheduler.Millisecond)
			}
			return anyReady{}.Next(v)
		})
		const ms = scheduler.Millisecond
		source := &listSource{{arrivalOf(0, 0, 0), arrivalOf(0, 1, 1)}, {arrivalOf(4*ms, 2, 0), arrivalOf(4*ms, 3, 1)}, {arrivalOf(5*ms, 4, 2)}}
		type lateness struct {
			kind scheduler.Kind
			late scheduler.Time
		}
		var late []lateness
		r := openInbox(t, cfg, scheduler.InboxConfig{Source: source, Late: func(ev scheduler.Event, due scheduler.Time) {
			late = append(late, lateness{ev.Kind, ev.At - due})
		}}, executors...)

		if got, want := describe(r.step()), "item_arrived:0:-1:0 item_arrived:1:-1:0"; got != want {
			t.Fatalf("first %s", got)
		}
		load0, load1 := a.last(), b.last()
		// Everything is told late and in the worst order.
		time.Sleep(6 * time.Millisecond)
		post := func(k scheduler.Kind, id int64, d scheduler.DeviceID, value int64) {
			if err := r.Post(scheduler.Event{Kind: k, ID: id, Model: scheduler.NoModel, Device: d, Value: value}); err != nil {
				t.Fatal(err)
			}
		}
		post(scheduler.ItemCancelled, 1, scheduler.NoDevice, 0)
		post(scheduler.ItemCancelled, 0, scheduler.NoDevice, 0)
		post(scheduler.MemoryObserved, 0, 2, 7)
		post(scheduler.MemoryObserved, 0, 1, 9)
		post(scheduler.MemoryObserved, 0, 1, 5)
		post(scheduler.DeviceDown, 0, 2, 0)
		post(scheduler.DeviceUp, 0, 2, 0)
		b.end(load1.Seq)
		a.end(load0.Seq)
		synctest.Wait()

		facts := r.step()
		want := fmt.Sprintf("load_finished:%d:0:0 load_finished:%d:1:0 device_down:0:2:0 device_up:0:2:0"+
			" memory_observed:0:1:9 memory_observed:0:1:5 memory_observed:0:2:7 item_cancelled:0:-1:0 item_cancelled:1:-1:0"+
			" item_arrived:2:-1:0 item_arrived:3:-1:0 item_arrived:4:-1:0 timer_fired:0:-1:0", load0.Seq, load1.Seq)
		if got := describe(facts); got != want {
			t.Errorf("facts\n%s, want\n%s", got, want)
		}
		for _, ev := range facts {
			if ev.At != 6*ms {
				t.Errorf("%v at %v", ev.Kind, ev.At)
			}
		}
		if want := []lateness{{scheduler.ItemArrived, 0}, {scheduler.ItemArrived, 0}, {scheduler.ItemArrived, 2 * ms},
			{scheduler.ItemArrived, 2 * ms}, {scheduler.ItemArrived, 1 * ms}, {scheduler.TimerFired, 1 * ms}}; !slices.Equal(late, want) {
			t.Errorf("lateness %v", late)
		}
		if load0.Seq >= load1.Seq {
			t.Errorf("loads %d and %d do not test the order", load0.Seq, load1.Seq)
		}
	})
}

func TestInboxInstantsIncrease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newHandExecutor()
		r := openInbox(t, catalogue(1, 1), scheduler.InboxConfig{}, e)
		for i := range 3 {
			if err := r.Post(scheduler.Event{Kind: scheduler.MemoryObserved, Model: scheduler.NoModel}); err != nil {
				t.Fatal(err)
			}
			if at := r.step()[0].At; at != scheduler.Time(i) {
				t.Errorf("instant %d is at %v although the clock stands", i, at)
			}
		}
	})
}

func TestInboxSleepsUntilDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newHandExecutor()
		source := &listSource{{arrivalOf(scheduler.Hour, 0, 0)}}
		r := openInbox(t, catalogue(1, 1), scheduler.InboxConfig{Source: source}, e)
		r.Drain()
		go func() {
			time.Sleep(time.Minute)
			_ = r.Post(scheduler.Event{Kind: scheduler.DeviceUp, Model: scheduler.NoModel})
		}()
		if at := r.step()[0].At; at != scheduler.Minute {
			t.Errorf("what was posted came at %v", at)
		}
		if at := r.step()[0].At; at != scheduler.Hour {
			t.Errorf("the arrival came at %v", at)
		}
		go func() { e.end(e.last().Seq) }()
		r.step()
		go func() { e.end(e.last().Seq) }()
		r.step()
		if _, err := r.Next(); err != io.EOF {
			t.Errorf("in the end: %v", err)
		}
	})
}

func TestInboxTimersAreOnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := catalogue(1, 1)
		cfg.Policy = policyFunc(func(v *scheduler.View) scheduler.Decision {
			if _, set := v.Timer(); !set {
				return scheduler.Wake(v.Now() + scheduler.Second)
			}
			return scheduler.Decision{}
		})
		r := openInbox(t, cfg, scheduler.InboxConfig{Source: &listSource{{arrivalOf(0, 0, 0)}},
			Late: func(ev scheduler.Event, due scheduler.Time) {
				if ev.At != due {
					t.Errorf("%v at %v was due at %v", ev.Kind, ev.At, due)
				}
			}}, newHandExecutor())
		r.step()
		for i := range scheduler.Time(3) {
			if facts := r.step(); facts[0].Kind != scheduler.TimerFired || facts[0].At != (i+1)*scheduler.Second {
				t.Errorf("%s at %v", describe(facts), facts[0].At)
			}
		}
	})
}

// The order of arrivals is the source's: one that misnumbers items is found
// out, not put right.
func TestInboxKeepsTheOrderOfArrivals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := openInbox(t, catalogue(1, 1), scheduler.InboxConfig{Source: &listSource{{arrivalOf(0, 1, 0), arrivalOf(0, 0, 0)}}}, newHandExecutor())
		facts, err := r.Next()
		if err != nil || describe(facts) != "item_arrived:1:-1:0 item_arrived:0:-1:0" {
			t.Errorf("%s, %v", describe(facts), err)
		}
	})
}

func TestInboxCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newHandExecutor()
		cfg := catalogue(3, 1)
		cfg.HostMemory = 8 * scheduler.GB
		first := arrivalOf(0, 0, 0)
		first.Value = scheduler.PackArrival(0, 1)
		work := scheduler.Event{Kind: scheduler.ItemWork, ID: 0, Value: 2_000_000, Model: 0, Device: scheduler.NoDevice}
		source := &listSource{{first, work}, {arrivalOf(1, 1, 0)}, {arrivalOf(2, 2, 1)}, {arrivalOf(3, 3, 2)}, {arrivalOf(scheduler.Second, 4, 0)}}
		var ended []scheduler.Operation
		r := openInbox(t, cfg, scheduler.InboxConfig{Source: source, Seed: 7,
			Payload: func(id scheduler.ItemID) any { return int(id) * 10 },
			Ended:   func(_ scheduler.Time, c scheduler.Command, _ scheduler.Outcome) { ended = append(ended, c.Op) }}, e)
		p := e.plan
		if p.Name != "gpu0" || p.Slots != 2 || p.Memory != 2*scheduler.GB || len(p.Models) != 3 || p.Seed != 7 ||
			p.HostMemory != 8*scheduler.GB || !slices.Equal(p.Tiers, []scheduler.Tier{scheduler.TierDisk, scheduler.TierHost}) {
			t.Errorf("plan %+v", p)
		}
		next := func() scheduler.Command {
			t.Helper()
			n := len(e.started)
			for len(e.started) == n {
				r.step()
			}
			return e.last()
		}
		finish := func(c scheduler.Command) {
			go e.end(c.Seq)
			synctest.Wait()
		}
		load0 := next()
		if load0.Op != scheduler.OpLoad || load0.Model != 0 || load0.Tier != scheduler.TierDisk || load0.Estimate != 10*scheduler.Millisecond {
			t.Errorf("first %+v", load0)
		}
		time.Sleep(time.Microsecond) // all but the last item are there
		finish(load0)
		r.step()
		run, load1 := e.started[1], e.started[2]
		if run.Op != scheduler.OpRun || run.Slot != 0 || len(run.Items) != 2 || run.Items[0].Work != 2_000_000 || run.Items[1].Work != scheduler.WorkUnit ||
			run.Items[1].Payload != 10 || run.Items[0].Seed == run.Items[1].Seed {
			t.Errorf("then %+v", run)
		}
		if load1.Op != scheduler.OpLoad || load1.Model != 1 {
			t.Errorf("then %+v", load1)
		}
		finish(load1)
		run1 := next()
		if run1.Slot != 1 {
			t.Errorf("the second batch got slot %d", run1.Slot)
		}
		finish(run)
		evict := next()
		if evict.Op != scheduler.OpEvict || evict.Model != 0 || evict.Estimate != scheduler.Millisecond {
			t.Errorf("for model 2 %+v", evict)
		}
		finish(evict)
		load2 := next()
		finish(load2)
		run2 := next()
		if run2.Slot != 0 {
			t.Errorf("the third batch got slot %d", run2.Slot)
		}
		finish(run1)
		finish(run2)
		next() // item 4 wants model 0 again
		if c := e.last(); c.Op != scheduler.OpEvict {
			t.Errorf("for item 4 %+v", c)
		}
		finish(e.last())
		if c := next(); c.Op != scheduler.OpLoad || c.Tier != scheduler.TierHost {
			t.Errorf("evicted weights are loaded by %+v", c)
		}
		if want := []scheduler.Operation{scheduler.OpLoad, scheduler.OpLoad, scheduler.OpRun, scheduler.OpEvict, scheduler.OpLoad,
			scheduler.OpRun, scheduler.OpRun, scheduler.OpEvict}; !slices.Equal(ended, want) {
			t.Errorf("ended %v", ended)
		}
	})
}

func TestInboxForgetsLostDevices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newHandExecutor()
		r := openInbox(t, catalogue(1, 1), scheduler.InboxConfig{Source: &listSource{{arrivalOf(0, 0, 0)}}}, e)
		r.Drain()
		r.step()
		lost := e.last()
		if err := r.Post(scheduler.Event{Kind: scheduler.DeviceDown, Model: scheduler.NoModel}); err != nil {
			t.Fatal(err)
		}
		r.step()
		if !slices.Equal(e.cancelled, []uint64{lost.Seq}) {
			t.Errorf("cancelled %v", e.cancelled)
		}
		go func() {
			e.end(lost.Seq) // no fact
			time.Sleep(time.Second)
			_ = r.Post(scheduler.Event{Kind: scheduler.DeviceUp, Model: scheduler.NoModel})
		}()
		// Although nothing is in flight, the world has not ended: a device is
		// down and an item waits for it.
		if facts := r.step(); facts[0].Kind != scheduler.DeviceUp || len(facts) != 1 || facts[0].At != scheduler.Second {
			t.Errorf("after the loss %s", describe(facts))
		}
		if c := e.last(); c.Op != scheduler.OpLoad || c.Seq == lost.Seq {
			t.Errorf("then %+v", c)
		}
	})
}

func TestInboxCancelsBeforeArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newHandExecutor()
		r := openInbox(t, catalogue(1, 1), scheduler.InboxConfig{Source: &listSource{{arrivalOf(scheduler.Second, 0, 0)}}}, e)
		for range 2 {
			if err := r.Post(scheduler.Event{Kind: scheduler.ItemCancelled, ID: 0, Model: scheduler.NoModel, Device: scheduler.NoDevice}); err != nil {
				t.Fatal(err)
			}
		}
		if got := describe(r.step()); got != "item_arrived:0:-1:0" {
			t.Errorf("first %s", got)
		}
		if facts := r.step(); describe(facts) != "item_cancelled:0:-1:0 item_cancelled:0:-1:0" || facts[0].At != scheduler.Second+1 {
			t.Errorf("then %s at %v", describe(facts), facts[0].At)
		}
	})
}

func TestInboxHorizon(t *testing.T) {
	const s = scheduler.Second
	cases := map[string]struct {
		source listSource
		steps  int
	}{
		"arrival beyond it": {listSource{{arrivalOf(s, 0, 0)}, {arrivalOf(2*s+1, 1, 0)}}, 1},
		"arrival at it":     {listSource{{arrivalOf(s, 0, 0)}, {arrivalOf(2*s, 1, 0)}, {arrivalOf(3*s, 2, 0)}}, 2},
		"nothing to come":   {listSource{{arrivalOf(s, 0, 0)}}, 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := openInbox(t, catalogue(1, 1), scheduler.InboxConfig{Source: &c.source, Horizon: 2 * s}, newHandExecutor())
				for range c.steps {
					r.step()
				}
				if facts, err := r.Next(); err != scheduler.ErrHorizon {
					t.Errorf("%s, %v", describe(facts), err)
				}
				if now := r.Now(); now != 2*s+1 {
					t.Errorf("it was noticed at %v", now)
				}
			})
		})
	}
}

func TestInboxEnds(t *testing.T) {
	cause := errors.New("power cut")
	cases := map[string]struct {
		end  func(r *inboxRun, e *handExecutor, cancel context.CancelFunc)
		want error
	}{
		"Stop":    {func(r *inboxRun, _ *handExecutor, _ context.CancelFunc) { r.Stop(cause); r.Stop(io.EOF) }, cause},
		"Close":   {func(r *inboxRun, _ *handExecutor, _ context.CancelFunc) { r.Close(context.Background()) }, scheduler.ErrClosed},
		"context": {func(_ *inboxRun, _ *handExecutor, cancel context.CancelFunc) { cancel() }, context.Canceled},
		"Drain":   {func(r *inboxRun, _ *handExecutor, _ context.CancelFunc) { r.Drain() }, io.EOF},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				core, _ := scheduler.New(catalogue(1, 1))
				e := newHandExecutor()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				inbox, err := scheduler.OpenInbox(ctx, scheduler.InboxConfig{Core: core, Executors: []scheduler.Executor{e}})
				if err != nil {
					t.Fatal(err)
				}
				go func() {
					time.Sleep(time.Second)
					c.end(&inboxRun{t, core, inbox}, e, cancel)
				}()
				if _, err := inbox.Next(); err != c.want {
					t.Errorf("%v, want %v", err, c.want)
				}
				for range 2 {
					if err := inbox.Close(context.Background()); err != nil {
						t.Error(err)
					}
				}
				if e.closed != 1 {
					t.Errorf("the executor was closed %d times", e.closed)
				}
				if err := inbox.Post(scheduler.Event{Kind: scheduler.DeviceUp}); err != scheduler.ErrClosed {
					t.Errorf("Post after the end: %v", err)
				}
			})
		})
	}
}

func TestInboxExecutorsBreakingTheirContract(t *testing.T) {
	cases := map[string]func(e *handExecutor){
		"unknown command":    func(e *handExecutor) { e.end(12345) },
		"a second outcome":   func(e *handExecutor) { e.end(e.last().Seq); e.end(e.last().Seq) },
		"outcomes at an end": func(e *handExecutor) { close(e.outcomes) },
	}
	for name, misbehave := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newHandExecutor()
				r := openInbox(t, catalogue(1, 1), scheduler.InboxConfig{Source: &listSource{{arrivalOf(0, 0, 0)}}}, e)
				r.step()
				misbehave(e)
				synctest.Wait()
				_, err := r.Next()
				var broken *scheduler.ExecutorError
				if !errors.As(err, &broken) || broken.Device != "gpu0" {
					t.Errorf("%v", err)
				}
			})
		})
	}
}

func TestInboxRefusedCommandsFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newHandExecutor()
		e.refuse = &scheduler.CommandError{Code: scheduler.FailureOOM, Text: "full"}
		r := openInbox(t, catalogue(1, 1), scheduler.InboxConfig{Source: &listSource{{arrivalOf(0, 0, 0)}}}, e)
		r.Drain()
		r.step()
		for i := range scheduler.DefaultAttempts {
			if facts := r.step(); facts[0].Kind != scheduler.LoadFailed || facts[0].Value != int64(scheduler.FailureOOM) {
				t.Errorf("attempt %d: %s", i, describe(facts))
			}
		}
		if _, err := r.Next(); err != io.EOF {
			t.Errorf("in the end: %v", err)
		}
		if c := r.core.Counts(); c.Failed != 1 {
			t.Errorf("counts %+v", c)
		}
	})
}

func TestOpenInboxRefuses(t *testing.T) {
	broken := errors.New("no driver")
	cases := map[string]struct {
		change func(cfg *scheduler.Config, e *handExecutor)
		want   string
	}{
		"open":   {func(_ *scheduler.Config, e *handExecutor) { e.opened = broken }, "no driver"},
		"slots":  {func(_ *scheduler.Config, e *handExecutor) { e.able.Slots = 1 }, "runs 1 batches at once, 2 are wanted"},
		"memory": {func(_ *scheduler.Config, e *handExecutor) { e.able.Memory = scheduler.GB }, "has 1000000000 bytes of memory, 2000000000 are wanted"},
		"tier": {func(cfg *scheduler.Config, e *handExecutor) {
			cfg.HostMemory, e.able.Tiers = 1, []scheduler.Tier{scheduler.TierDisk}
		}, "cannot load from the host tier"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			cfg, fine, e := catalogue(1, 2), newHandExecutor(), newHandExecutor()
			c.change(&cfg, e)
			core, err := scheduler.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			if name == "tier" {
				fine.able.Tiers = []scheduler.Tier{scheduler.TierHost, scheduler.TierDisk}
			}
			_, err = scheduler.OpenInbox(t.Context(), scheduler.InboxConfig{Core: core, Executors: []scheduler.Executor{fine, e}})
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), `"gpu1"`) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if fine.closed != 1 || e.closed != 1 {
				t.Errorf("closed %d and %d times", fine.closed, e.closed)
			}
		})
	}
	core, _ := scheduler.New(catalogue(1, 2))
	for _, executors := range [][]scheduler.Executor{nil, {newHandExecutor(), nil}} {
		var wrong *scheduler.ConfigError
		if _, err := scheduler.OpenInbox(t.Context(), scheduler.InboxConfig{Core: core, Executors: executors}); !errors.As(err, &wrong) {
			t.Errorf("%v executors: %v", executors, err)
		}
	}
}

func TestInboxPostRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := openInbox(t, catalogue(1, 1), scheduler.InboxConfig{}, newHandExecutor())
		for _, ev := range []scheduler.Event{
			{Kind: scheduler.DeviceDown, Device: 1}, {Kind: scheduler.DeviceUp, Device: -1},
			{Kind: scheduler.MemoryObserved, Value: -1}, {Kind: scheduler.ItemCancelled, ID: -1},
			{Kind: scheduler.ItemArrived}, {Kind: scheduler.TimerFired}, {Kind: scheduler.LoadStarted},
		} {
			var wrong *scheduler.FactError
			if err := r.Post(ev); !errors.As(err, &wrong) {
				t.Errorf("Post(%v): %v", ev.Kind, err)
			}
		}
	})
}

// closedLoop brings an item whenever the last one ended, for a while.
type closedLoop struct {
	due       scheduler.Time
	id, limit int64
	seen      int
}

func (s *closedLoop) NextAt() (scheduler.Time, bool) {
	return s.due, s.due != scheduler.Never && s.id < s.limit
}

func (s *closedLoop) Next() ([]scheduler.Event, error) {
	ev := arrivalOf(s.due, s.id, 0)
	s.id++
	s.due = scheduler.Never
	return []scheduler.Event{ev}, nil
}

func (s *closedLoop) Append(events []scheduler.Event) error {
	for _, ev := range events {
		s.seen++
		if ev.Kind == scheduler.BatchFinished {
			s.due = ev.At + scheduler.Second
		}
	}
	return nil
}

func TestInboxReactiveSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, err := scheduler.New(catalogue(1, 1))
		if err != nil {
			t.Fatal(err)
		}
		e := scheduler.NewCallExecutor(func(context.Context, scheduler.Command) error {
			time.Sleep(100 * time.Millisecond)
			return nil
		})
		source := &closedLoop{limit: 3}
		inbox, err := scheduler.OpenInbox(t.Context(), scheduler.InboxConfig{Core: core, Executors: []scheduler.Executor{e}, Source: source})
		if err != nil {
			t.Fatal(err)
		}
		inbox.Drain()
		if err := scheduler.Drive(t.Context(), core, inbox); err != nil {
			t.Error(err)
		}
		if err := inbox.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if c := core.Counts(); c.Done != 3 || source.seen == 0 {
			t.Errorf("%+v after %d events", c, source.seen)
		}
		// A load, and for each item its batch and the second before the next.
		if want := 2*scheduler.Second + 4*100*scheduler.Millisecond; core.Now() != want {
			t.Errorf("it took %v, want %v", core.Now(), want)
		}
	})
}
