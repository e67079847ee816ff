package nvml_test

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vramsim/vramsim/nvml"
	"github.com/vramsim/vramsim/nvml/nvmltest"
	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/scheduler"
)

// arrivals is a source of items of models in turn, one after each gap.
type arrivals struct {
	n, models, given int
	gap              scheduler.Time
}

func (s *arrivals) Next() ([]scheduler.Event, error) {
	if s.given == s.n {
		return nil, io.EOF
	}
	at := scheduler.Time(s.given+1) * s.gap
	ev := scheduler.Event{At: at, Kind: scheduler.ItemArrived, ID: int64(s.given), Model: scheduler.ModelID(s.given % s.models), Device: scheduler.NoDevice}
	s.given++
	return []scheduler.Event{ev}, nil
}

// events keeps a copy of the log.
type events struct {
	all  []scheduler.Event
	slow func([]scheduler.Event) time.Duration // how long to write those down takes; nil: no time
}

func (e *events) Append(batch []scheduler.Event) error {
	e.all = append(e.all, batch...)
	if e.slow != nil {
		time.Sleep(e.slow(batch))
	}
	return nil
}

func (e *events) of(kinds ...scheduler.Kind) (found []scheduler.Event) {
	for _, ev := range e.all {
		if slices.Contains(kinds, ev.Kind) {
			found = append(found, ev)
		}
	}
	return found
}

// stageRun is a run in a bubble: two models of which one fits, on a scripted
// card.
type stageRun struct {
	card     *nvmltest.Card
	gap      scheduler.Time // between arrivals; at least a second
	sleeper  *nvml.Sleeper
	world    *nvml.World
	belated  time.Duration // how late the executor tells of losses
	wrap     func(*nvml.Sleeper) scheduler.Executor
	slow     time.Duration // how long an observation takes to be taken down
	config   nvml.Config   // Inbox is filled in
	sleep    nvml.SleeperConfig
	seen     []nvml.Observation
	events   events
	report   nvml.Report
	err      error
	ended    time.Time // before Close
	closeErr error
}

func coreConfig(t *testing.T) scheduler.Config {
	t.Helper()
	model := func(name string) scheduler.Model {
		return scheduler.Model{Name: name, Bytes: scheduler.GB, Batch: scheduler.BatchCost{Max: 1, PerItem: 2 * scheduler.Second},
			Load: [scheduler.Tiers]scheduler.Time{scheduler.Second, scheduler.Second}, Unload: 100 * scheduler.Millisecond}
	}
	config := scheduler.Config{Models: []scheduler.Model{model("a"), model("b")}, Attempts: 3,
		Devices: []scheduler.Device{{Name: "gpu0", Budget: 1500 * scheduler.MB, Slots: 1}}}
	built, err := policies.Builtin().New(policies.Spec{Use: "fifo"}, policies.Env{Models: config.Models, Devices: config.Devices})
	if err != nil {
		t.Fatal(err)
	}
	config.Policy, config.Evictor, config.Waits = built.Policy, built.Evictor, built.Waits
	return config
}

// run drives the core for the items; meanwhile runs beside it.
func (r *stageRun) run(t *testing.T, items int, meanwhile func()) {
	t.Helper()
	config := coreConfig(t)
	core, err := scheduler.New(config)
	if err != nil {
		t.Fatal(err)
	}
	r.sleeper = nvml.NewSleeper(r.sleep)
	var executor scheduler.Executor = r.sleeper
	if r.belated > 0 {
		executor = newBelated(r.sleeper, r.belated)
	}
	if r.wrap != nil {
		executor = r.wrap(r.sleeper)
	}
	r.config.Inbox = scheduler.InboxConfig{Core: core, Executors: []scheduler.Executor{executor}, Source: &arrivals{n: items, models: 2, gap: max(scheduler.Second, r.gap)}}
	if r.card != nil && r.config.Telemetry == nil {
		r.config.Telemetry = []nvml.Telemetry{r.card}
	}
	r.config.Observe = func(o nvml.Observation) {
		time.Sleep(r.slow)
		r.seen = append(r.seen, o)
	}
	w, err := nvml.Open(context.Background(), r.config)
	if err != nil {
		t.Fatal(err)
	}
	w.Drain()
	r.world = w
	var beside sync.WaitGroup
	defer beside.Wait()
	if meanwhile != nil {
		beside.Go(meanwhile)
	}
	r.err = scheduler.Drive(context.Background(), core, w, &r.events)
	r.ended = time.Now()
	r.report, r.closeErr = w.Close(context.Background())
	again, err := w.Close(context.Background())
	if err != r.closeErr || len(again.Invalid) != len(r.report.Invalid) {
		t.Errorf("a second Close says something else")
	}
	r.replay(t)
}

// replay steps the facts again: the same decisions have to come out. Instants
// strictly increase, so that the facts group as they did.
func (r *stageRun) replay(t *testing.T) {
	t.Helper()
	last := scheduler.Time(-1)
	for _, ev := range r.events.all {
		if ev.First() {
			if ev.At <= last {
				t.Fatalf("two steps at %v", ev.At)
			}
			last = ev.At
		}
	}
	if err := scheduler.Replay(coreConfig(t), coreConfig(t), r.events.all); err != nil {
		t.Fatal(err)
	}
}

func (r *stageRun) marks() (codes []string) {
	for _, o := range r.seen {
		if o.Mark != nil {
			codes = append(codes, o.Mark.Code)
		}
	}
	return codes
}

func (r *stageRun) invalid() string { return strings.Join(r.report.Invalid, "; ") }

// TestWorldOfAHealthyCard: everything runs, nothing is foreign, the energy
// counter and the integral of the power agree.
func TestWorldOfAHealthyCard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &stageRun{card: nvmltest.NewCard(nvmltest.Healthy(0))}
		r.run(t, 6, nil)
		if r.err != nil || r.closeErr != nil || r.invalid() != "" {
			t.Fatalf("%v, %v, invalid: %s", r.err, r.closeErr, r.invalid())
		}
		if done := r.events.of(scheduler.BatchFinished); len(done) != 6 {
			t.Errorf("%d batches finished", len(done))
		}
		d := r.report.Devices[0]
		if d.Executor != "sleep" || d.Info.Name != "Scripted GPU" || d.Baseline != 100*scheduler.MiB || d.Residue != 0 {
			t.Errorf("report %+v", d)
		}
		if took := r.events.all[len(r.events.all)-1].At.Seconds(); d.Joules < 39*took || d.Joules > 41*took || d.Integrated < 0.98*d.Compared || d.Integrated > 1.02*d.Compared || d.Compared < 0.95*d.Joules || d.Compared > d.Joules || d.EnergyDiffers || d.CounterFalls > 0 {
			t.Errorf("%.1f J by the counter, %.1f J by the samples, of 40 W for %.1f s", d.Joules, d.Integrated, took)
		}
		if r.report.Late.N != 6 {
			t.Errorf("lateness of %d arrivals", r.report.Late.N)
		}
	})
}

// TestWorldSeesForeignMemory: what other processes take becomes a fact and,
// unless the card is shared, spoils the run.
func TestWorldSeesForeignMemory(t *testing.T) {
	for _, shared := range []bool{false, true} {
		for _, listed := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				state := nvmltest.Healthy(0)
				if listed {
					state.Processes = []nvml.Process{{PID: os.Getpid(), Bytes: nvml.Unknown}}
				} else {
					state.ProcessesErr = nvml.ErrUnsupported
				}
				r := &stageRun{card: nvmltest.NewCard(state), gap: 10 * scheduler.Second, config: nvml.Config{Shared: shared}}
				r.sleep.Took = func(c scheduler.Command) scheduler.Time {
					switch c.Op { // what is ours moves too
					case scheduler.OpLoad:
						r.card.Use(scheduler.GB)
					case scheduler.OpEvict:
						r.card.Use(-scheduler.GB)
					}
					return c.Estimate
				}
				r.run(t, 2, func() {
					time.Sleep(500 * time.Millisecond) // before the first arrival: nothing runs
					r.card.Set(func(s *nvmltest.State) {
						s.Memory.Used += 100 * scheduler.MiB
						if listed {
							s.Processes = append(s.Processes, nvml.Process{PID: 1, Bytes: 100 * scheduler.MiB})
						}
					})
					time.Sleep(3 * time.Second)
					r.card.Set(func(s *nvmltest.State) {
						s.Memory.Used -= 100 * scheduler.MiB
						s.Processes = s.Processes[:min(1, len(s.Processes))]
					})
				})
				seen := r.events.of(scheduler.MemoryObserved)
				if len(seen) != 2 || seen[0].Value != int64(100*scheduler.MiB) || seen[1].Value != 0 {
					t.Fatalf("facts %+v", seen)
				}
				if got := strings.Contains(r.invalid(), "other processes hold"); got == shared {
					t.Errorf("shared %v, invalid: %q", shared, r.invalid())
				}
			})
		}
	}
}

// TestWorldRestartsALostDevice: the core hears of the device, and goes on when
// it is back.
func TestWorldRestartsALostDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		commands := 0
		r := &stageRun{card: nvmltest.NewCard(nvmltest.Healthy(0))}
		r.sleep.Fail = func(scheduler.Command) *scheduler.CommandError {
			if commands++; commands == 2 {
				return &scheduler.CommandError{Code: scheduler.FailureLost, Text: "the worker died"}
			}
			return nil
		}
		r.run(t, 3, nil)
		if r.err != nil || r.invalid() != "" {
			t.Fatalf("%v, invalid: %s", r.err, r.invalid())
		}
		if len(r.events.of(scheduler.DeviceDown)) != 1 || len(r.events.of(scheduler.DeviceUp)) != 1 || len(r.events.of(scheduler.BatchFinished)) != 3 {
			t.Errorf("events %+v", r.events.all)
		}
		if r.report.Devices[0].Restarts != 1 || !slices.Equal(r.marks(), []string{"device lost", "device back"}) {
			t.Errorf("report %+v, marks %v", r.report.Devices[0], r.marks())
		}
	})
}

// TestWorldDoesNotWaitForItsObserver: one that is slow delays nothing and is told
// all; one that is too slow makes the run invalid, which says what was dropped.
func TestWorldDoesNotWaitForItsObserver(t *testing.T) {
	carriedOut := func(slow time.Duration, backlog int) (r *stageRun) {
		synctest.Test(t, func(t *testing.T) {
			r = &stageRun{card: nvmltest.NewCard(nvmltest.Healthy(0)), gap: 1010 * scheduler.Millisecond, slow: slow, config: nvml.Config{Backlog: backlog}} // no two things are due at once
			r.run(t, 6, nil)
		})
		return r
	}
	quick := carriedOut(0, 0)
	for backlog, invalid := range map[int]string{0: "", 5: "observations were dropped"} {
		slow := carriedOut(time.Second, backlog)
		if slow.err != nil || slow.closeErr != nil || !slices.Equal(slow.events.all, quick.events.all) {
			t.Errorf("backlog %d: %v, %v; the observer delays the run", backlog, slow.err, slow.closeErr)
		}
		told, dropped := len(slow.seen), slow.report.Dropped
		if dropped > 0 {
			told-- // the last says so
			if last := slow.seen[told].Mark; last == nil || last.Code != "dropped" {
				t.Errorf("backlog %d: the last observation is %+v", backlog, slow.seen[told])
			}
		}
		if told+dropped != len(quick.seen) || (dropped == 0) != (invalid == "") || (invalid == "") != (slow.invalid() == "") || !strings.Contains(slow.invalid(), invalid) {
			t.Errorf("backlog %d: %d told and %d dropped of %d; invalid: %q", backlog, told, dropped, len(quick.seen), slow.invalid())
		}
	}
}

// belated is a sleeper that tells late of what was lost, as one does whose
// process takes its time to die.
type belated struct {
	*nvml.Sleeper
	outcomes chan scheduler.Outcome
	quit     chan struct{}
}

func newBelated(s *nvml.Sleeper, by time.Duration) *belated {
	b := &belated{Sleeper: s, outcomes: make(chan scheduler.Outcome), quit: make(chan struct{})}
	go func() {
		for {
			select {
			case o := <-s.Outcomes():
				if o.Failure != nil && o.Failure.Code == scheduler.FailureLost {
					time.AfterFunc(by, func() { b.outcomes <- o })
					continue
				}
				b.outcomes <- o
			case <-b.quit:
				return
			}
		}
	}()
	return b
}

func (b *belated) Outcomes() <-chan scheduler.Outcome { return b.outcomes }

func (b *belated) Close(ctx context.Context) error {
	defer close(b.quit)
	return b.Sleeper.Close(ctx)
}

// TestWorldRestartsOnceForALoss: a loss that is told twice, also one that is
// told again after the restart, is one.
func TestWorldRestartsOnceForALoss(t *testing.T) {
	for _, belated := range []time.Duration{0, 300 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			r := &stageRun{card: nvmltest.NewCard(nvmltest.Healthy(0)), belated: belated}
			r.run(t, 3, func() {
				time.Sleep(2500 * time.Millisecond) // in the first batch
				r.sleeper.Lose(time.Now().Add(200 * time.Millisecond))
				r.world.Lose(0)
				time.Sleep(100 * time.Millisecond)
				r.world.Lose(0)
			})
			if r.err != nil || r.invalid() != "" {
				t.Fatalf("%v, invalid: %s", r.err, r.invalid())
			}
			if down, up := r.events.of(scheduler.DeviceDown), r.events.of(scheduler.DeviceUp); len(down) != 1 || len(up) != 1 || down[0].At >= up[0].At {
				t.Errorf("told %v late: down %+v, up %+v", belated, down, up)
			}
			if done := r.events.of(scheduler.BatchFinished); len(done) != 3 || r.report.Devices[0].Restarts != 1 {
				t.Errorf("told %v late: %d batches, %d restarts", belated, len(done), r.report.Devices[0].Restarts)
			}
		})
	}
}

// TestWorldLosesForGoodWhileItRestarts: the run ends, and does not hear of the
// loss twice.
func TestWorldLosesForGoodWhileItRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &stageRun{card: nvmltest.NewCard(nvmltest.Healthy(0))}
		r.run(t, 3, func() {
			time.Sleep(2500 * time.Millisecond)
			r.sleeper.Lose(time.Now().Add(time.Minute))
			r.world.Lose(0)
			time.Sleep(time.Second)
			r.card.Fault(nvml.Fault{Xid: 79, Text: "GPU has fallen off the bus"})
		})
		if !errors.Is(r.err, nvml.ErrDeviceLost) || !strings.Contains(r.invalid(), "Xid 79") {
			t.Errorf("%v, invalid: %q", r.err, r.invalid())
		}
		if r.ended.Sub(r.world.Opened()) != 3500*time.Millisecond || len(r.events.of(scheduler.DeviceDown)) != 1 || len(r.events.of(scheduler.DeviceUp)) != 0 {
			t.Errorf("it ended after %v: %+v", r.ended.Sub(r.world.Opened()), r.events.of(scheduler.DeviceDown, scheduler.DeviceUp))
		}
	})
}

// restarting is a sleeper during whose restart something else happens.
type restarting struct {
	*nvml.Sleeper
	meanwhile func()
}

func (r *restarting) Restart(ctx context.Context) error {
	err := r.Sleeper.Restart(ctx)
	r.meanwhile()
	return err
}

// TestWorldStaysLost: a device that is lost for good while its executor is
// restarted does not come back with it, also if nobody has heard of any of this
// yet: the log's disk holds the run up from before the loss until after the
// restart.
func TestWorldStaysLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &stageRun{card: nvmltest.NewCard(nvmltest.Healthy(0))}
		r.events.slow = func(batch []scheduler.Event) time.Duration {
			if batch[0].At == 3*scheduler.Second { // the last arrival, in the midst of the first batch
				return 10 * time.Second
			}
			return 0
		}
		r.wrap = func(s *nvml.Sleeper) scheduler.Executor {
			return &restarting{s, func() { r.world.LoseForGood(0, "the card is gone") }}
		}
		r.run(t, 3, func() {
			time.Sleep(3500 * time.Millisecond)
			r.world.Lose(0)
		})
		if !errors.Is(r.err, nvml.ErrDeviceLost) || !strings.Contains(r.invalid(), "the card is gone") {
			t.Errorf("%v, invalid: %q", r.err, r.invalid())
		}
		if took := r.ended.Sub(r.world.Opened()); took != 13*time.Second {
			t.Errorf("it was held up until %v", took)
		}
		if down, up := r.events.of(scheduler.DeviceDown), r.events.of(scheduler.DeviceUp); len(down) != 1 || len(up) != 0 {
			t.Errorf("down %+v, up %+v", down, up)
		}
		if r.report.Devices[0].Restarts != 1 || !slices.Equal(r.marks(), []string{"device lost", "device lost"}) {
			t.Errorf("report %+v, marks %v", r.report.Devices[0], r.marks())
		}
	})
}

// TestWorldEndsWithTheCard: an Xid ends the run, after the fact is in the log.
func TestWorldEndsWithTheCard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &stageRun{card: nvmltest.NewCard(nvmltest.Healthy(0))}
		r.run(t, 5, func() {
			time.Sleep(2500 * time.Millisecond)
			r.card.Fault(nvml.Fault{Xid: 79, Text: "GPU has fallen off the bus"})
		})
		if !errors.Is(r.err, nvml.ErrDeviceLost) || !strings.Contains(r.invalid(), "Xid 79") {
			t.Errorf("%v, invalid: %q", r.err, r.invalid())
		}
		if down := r.events.of(scheduler.DeviceDown); len(down) != 1 || r.events.all[len(r.events.all)-1].Kind.Fact() && r.events.all[len(r.events.all)-1] != down[0] {
			t.Errorf("the log ends with %+v", r.events.all[len(r.events.all)-1])
		}
	})
}

// TestWorldDistrustsARun: what makes figures worthless is said.
func TestWorldDistrustsARun(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*nvmltest.State)
		want   string
	}{
		"throttled":         {func(s *nvmltest.State) { s.Sample.Reasons = nvml.ReasonThermal }, "throttled in"},
		"memory left":       {func(s *nvmltest.State) { s.Memory.Used += scheduler.GiB; s.Processes = nil }, "more in use than before"},
		"samples fail":      {func(s *nvmltest.State) { s.SampleErr = errors.New("busy") }, "was not sampled"},
		"no end of its own": {func(s *nvmltest.State) { s.MemoryErr = errors.New("busy") }, "could not be read at the end"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &stageRun{card: nvmltest.NewCard(nvmltest.Healthy(0))}
				r.run(t, 2, func() {
					time.Sleep(1200 * time.Millisecond)
					r.card.Set(c.change)
				})
				if !strings.Contains(r.invalid(), c.want) {
					t.Errorf("invalid: %q, want %q", r.invalid(), c.want)
				}
			})
		})
	}
}

// TestWorldEndsBesideAHangingDriver: calls that never return end neither the run
// nor its Close, which says what hangs; what was measured before is kept.
func TestWorldEndsBesideAHangingDriver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &stageRun{card: nvmltest.NewCard(nvmltest.Healthy(0))}
		var release func()
		r.run(t, 2, func() {
			time.Sleep(1250 * time.Millisecond)
			release = r.card.Hang()
		})
		defer release()
		closed := time.Since(r.ended)
		if r.err != nil || r.closeErr != nil || closed > 2*nvml.DefaultPatience {
			t.Errorf("%v, %v, closed after %v", r.err, r.closeErr, closed)
		}
		d := r.report.Devices[0]
		if done := r.events.of(scheduler.BatchFinished); len(done) != 2 || d.Samples != 13 || d.Integrated == 0 || r.report.Late.N != 2 {
			t.Errorf("%d batches, report %+v", len(done), r.report)
		}
		if why := r.invalid(); !strings.Contains(why, "the driver does not answer: its call for the memory of Scripted GPU has not returned in 5s") {
			t.Errorf("invalid: %q", why)
		}
	})
}

// TestBounded: a call that hangs fails, others fail at once until it has
// returned, and then all is as before.
func TestBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		card := nvmltest.NewCard(nvmltest.Healthy(0))
		b := nvml.Bounded(card, time.Second)
		if nvml.Bounded(b, time.Minute) != b || nvml.Bounded(nil, time.Second) != nil {
			t.Error("bounded twice, or of nothing")
		}
		release := card.Hang()
		for i, want := range []time.Duration{time.Second, 0} {
			began := time.Now()
			if _, err := b.Energy(); !errors.Is(err, nvml.ErrHung) || time.Since(began) != want {
				t.Errorf("call %d: %v after %v, want %v", i, err, time.Since(began), want)
			}
		}
		if err := b.Close(); !errors.Is(err, nvml.ErrHung) {
			t.Errorf("Close: %v", err)
		}
		if card.Calls() != 0 {
			t.Errorf("%d calls came through", card.Calls())
		}
		release()
		synctest.Wait()
		if m, err := b.Memory(); err != nil || m.Used != 100*scheduler.MiB {
			t.Errorf("afterwards: %+v, %v", m, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		if _, err := b.Wait(ctx); err != context.DeadlineExceeded || time.Since(began) != time.Minute {
			t.Errorf("Wait: %v after %v", err, time.Since(began))
		}
		release = card.Hang()
		if _, err := b.Wait(ctx); !errors.Is(err, nvml.ErrHung) || time.Since(began) != time.Minute+time.Second {
			t.Errorf("Wait that hangs: %v after %v", err, time.Since(began))
		}
		release()
	})
}

// TestWorldRefusesMIG: a card cut into instances is no device of ours.
func TestWorldRefusesMIG(t *testing.T) {
	state := nvmltest.Healthy(0)
	state.Info.MIG = true
	core, err := scheduler.New(coreConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	_, err = nvml.Open(context.Background(), nvml.Config{Telemetry: []nvml.Telemetry{nvmltest.NewCard(state)},
		Inbox: scheduler.InboxConfig{Core: core, Executors: []scheduler.Executor{nvml.NewSleeper(nvml.SleeperConfig{})}}})
	if err == nil || !strings.Contains(err.Error(), "MIG") {
		t.Errorf("opened: %v", err)
	}
}

// TestWorldWaitsForMemory: what others keep from running runs when they are
// gone, also when nothing else is to come.
func TestWorldWaitsForMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := nvmltest.Healthy(0)
		state.Processes = []nvml.Process{{PID: os.Getpid(), Bytes: nvml.Unknown}}
		r := &stageRun{card: nvmltest.NewCard(state), gap: 3 * scheduler.Second, config: nvml.Config{Shared: true}} // samples come before arrivals
		r.run(t, 2, func() {
			time.Sleep(500 * time.Millisecond)
			r.card.Set(func(s *nvmltest.State) {
				s.Processes = append(s.Processes, nvml.Process{PID: 1, Bytes: 1400 * scheduler.MB})
			})
			time.Sleep(time.Minute)
			r.card.Set(func(s *nvmltest.State) { s.Processes = s.Processes[:1] })
		})
		if done := r.events.of(scheduler.BatchFinished); r.err != nil || len(done) != 2 || done[0].At < scheduler.Minute {
			t.Errorf("%v; batches ended %+v", r.err, done)
		}
	})
}
