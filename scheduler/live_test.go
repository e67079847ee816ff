package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vramsim/vramsim/scheduler"
	"pgregory.net/rapid"
)

// tape is a sink that keeps everything.
type tape struct {
	events []scheduler.Event
	fail   error
}

func (s *tape) Append(events []scheduler.Event) error {
	s.events = append(s.events, events...)
	return s.fail
}

// taped returns a LiveConfig whose events go to a tape.
func taped(cfg scheduler.Config, executors ...scheduler.Executor) (scheduler.LiveConfig, *tape) {
	events := new(tape)
	return scheduler.LiveConfig{Core: cfg, Executors: executors, Sinks: func(*scheduler.Core, scheduler.Namer) ([]scheduler.Sink, error) {
		return []scheduler.Sink{events}, nil
	}}, events
}

func startLive(t *testing.T, cfg scheduler.LiveConfig) *scheduler.Live {
	t.Helper()
	live, err := scheduler.NewLive(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // so that a test that fails leaves no goroutine behind
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		_ = live.Close(ended)
	})
	return live
}

func submit(t *testing.T, live *scheduler.Live, r scheduler.Request) *scheduler.Ticket {
	t.Helper()
	ticket, err := live.Submit(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return ticket
}

func wait(t *testing.T, ticket *scheduler.Ticket) scheduler.Result {
	t.Helper()
	result, err := ticket.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func closeLive(t *testing.T, live *scheduler.Live) {
	t.Helper()
	if err := live.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// taking returns an executor whose commands each take so long, or as long as
// nobody cancels them.
func taking(d time.Duration) *scheduler.CallExecutor {
	return scheduler.NewCallExecutor(func(ctx context.Context, _ scheduler.Command) error { return pause(ctx, d) })
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestLiveRunsARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, events := taped(catalogue(2, 1), taking(time.Second))
		var names []string
		sinks := cfg.Sinks
		cfg.Sinks = func(core *scheduler.Core, n scheduler.Namer) ([]scheduler.Sink, error) {
			all, err := sinks(core, n)
			return append(all, sinkFunc(func(events []scheduler.Event) error {
				for _, ev := range events {
					switch ev.Kind {
					case scheduler.ItemArrived, scheduler.BatchStarted:
						names = append(names, n.ItemName(scheduler.ItemID(ev.ID)))
					case scheduler.ItemJob:
						names = append(names, n.JobName(scheduler.JobID(ev.Value)))
					case scheduler.ItemTenant:
						names = append(names, n.TenantName(ev.Value))
					}
				}
				return nil
			})), err
		}
		live := startLive(t, cfg)
		due := time.Now().Add(time.Minute)
		first := submit(t, live, scheduler.Request{Model: "m0", Job: "video", Tenant: "acme", Name: "frames"})
		second := submit(t, live, scheduler.Request{Model: "m1", Priority: -3, Deadline: due, Work: 500_000, Tenant: "acme", Job: "video", After: []*scheduler.Ticket{first}})
		if live.Pending() != 2 {
			t.Errorf("%d are pending", live.Pending())
		}
		a, b := wait(t, first), wait(t, second)
		s := scheduler.Second
		if a != (scheduler.Result{Status: scheduler.StatusDone, Arrived: a.Arrived, Started: s + a.Arrived, Ended: 2*s + a.Arrived, Attempts: 1, Cause: -1}) {
			t.Errorf("first %+v", a)
		}
		if b.Status != scheduler.StatusDone || b.Started < a.Ended {
			t.Errorf("second %+v", b)
		}
		third := submit(t, live, scheduler.Request{Model: "m0", Job: "video"})
		wait(t, third)
		if item, job := live.ItemName(first.ID()), live.JobName(0); item != "0" || job != "" {
			t.Errorf("long after their end the names %q and %q are kept", item, job)
		}
		if none := live.TenantName(-1) + live.TenantName(1); none != "" {
			t.Errorf("tenants nobody named are called %q", none)
		}
		closeLive(t, live)

		var attributes []string
		for _, ev := range events.events {
			if k := ev.Kind; k == scheduler.ItemArrived || k >= scheduler.ItemJob && k <= scheduler.ItemDependsOn {
				attributes = append(attributes, fmt.Sprintf("%v:%d:%d", k, ev.ID, ev.Value))
			}
		}
		want := fmt.Sprintf("[item_arrived:0:%d item_job:0:0 item_tenant:0:0 item_arrived:1:%d item_job:1:0 item_deadline:1:%d item_work:1:500000 item_tenant:1:0"+
			" item_depends_on:1:0 item_arrived:2:%d item_job:2:1]", scheduler.PackArrival(0, 2), scheduler.PackArrival(-3, 5), int64(60*s), scheduler.PackArrival(0, 1))
		if got := fmt.Sprint(attributes); got != want {
			t.Errorf("arrivals\n%s, want\n%s", got, want)
		}
		if want := []string{"frames", "video", "acme", "1", "video", "acme", "2", "video"}; !slices.Equal(slices.DeleteFunc(names, isNumber(3)), want) {
			t.Errorf("names %v", names)
		}
	})
}

// isNumber tells numbers from so many on: of batches, which have no names.
func isNumber(from int) func(string) bool {
	return func(s string) bool {
		var n int
		_, err := fmt.Sscan(s, &n)
		return err == nil && n >= from
	}
}

type sinkFunc func([]scheduler.Event) error

func (f sinkFunc) Append(events []scheduler.Event) error { return f(events) }

func TestLiveReplays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, events := taped(catalogue(3, 1), taking(time.Millisecond))
		live := startLive(t, cfg)
		for i := range 50 {
			submit(t, live, scheduler.Request{Model: fmt.Sprintf("m%d", i%3)})
			if i%7 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		closeLive(t, live)
		if err := replays(live.Config(), events.events); err != nil {
			t.Error(err)
		}
		// The replay has to notice a decision that differs.
		other := live.Config()
		other.Policy = policyFunc(func(v *scheduler.View) scheduler.Decision {
			d := anyReady{}.Next(v)
			if d.Kind == scheduler.DecideRun {
				d.N = 1
			}
			return d
		})
		var differs *scheduler.Divergence
		if err := replays(other, events.events); !errors.As(err, &differs) {
			t.Errorf("under another policy: %v", err)
		}
	})
}

// replays replays a log; the test policies have no state of their own.
func replays(cfg scheduler.Config, events []scheduler.Event) error {
	decisions, err := scheduler.NewDecisionReplay(cfg)
	if err != nil {
		return err
	}
	if err := decisions.Append(events); err != nil {
		return err
	}
	if err := decisions.Close(); err != nil {
		return err
	}
	return scheduler.Replay(cfg, cfg, events)
}

func TestLiveFailures(t *testing.T) {
	oom := &scheduler.CommandError{Code: scheduler.FailureOOM, Retryable: true, Text: "2 GB wanted"}
	cases := map[string]struct {
		op       scheduler.Operation
		attempts int // batches
	}{
		"load":  {scheduler.OpLoad, 0},
		"batch": {scheduler.OpRun, scheduler.DefaultAttempts},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg, events := taped(catalogue(1, 1), scheduler.NewCallExecutor(func(_ context.Context, cmd scheduler.Command) error {
					if cmd.Op == c.op {
						return fmt.Errorf("no luck: %w", oom)
					}
					return nil
				}))
				hooked := 0
				cfg.Ended = func(_ scheduler.Time, _ scheduler.Command, o scheduler.Outcome) {
					if o.Failure != nil {
						hooked++
					}
				}
				live := startLive(t, cfg)
				ticket := submit(t, live, scheduler.Request{Model: "m0"})
				after := submit(t, live, scheduler.Request{Model: "m0", After: []*scheduler.Ticket{ticket}})
				if r := wait(t, ticket); r.Status != scheduler.StatusFailed || r.Failure != oom || r.Attempts != c.attempts {
					t.Errorf("%+v", r)
				}
				if r := wait(t, after); r.Status != scheduler.StatusCancelled || r.Cause != ticket.ID() || r.Attempts != 0 {
					t.Errorf("dependant %+v", r)
				}
				late := submit(t, live, scheduler.Request{Model: "m0", After: []*scheduler.Ticket{ticket}})
				if r := wait(t, late); r.Status != scheduler.StatusCancelled || r.Cause != ticket.ID() {
					t.Errorf("late dependant %+v", r)
				}
				closeLive(t, live)
				if hooked != scheduler.DefaultAttempts {
					t.Errorf("the hook saw %d failures", hooked)
				}
				if err := replays(live.Config(), events.events); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestLiveRejections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, _ := taped(catalogue(1, 1), taking(0))
		cfg.Core.Policy = policyFunc(func(v *scheduler.View) scheduler.Decision {
			if item, ok := v.Head(0); ok {
				return scheduler.Reject(item.ID, 42)
			}
			return scheduler.Decision{}
		})
		live := startLive(t, cfg)
		if r := wait(t, submit(t, live, scheduler.Request{Model: "m0"})); r.Status != scheduler.StatusRejected || r.Reason != 42 || r.Started != -1 || r.Device != scheduler.NoDevice {
			t.Errorf("%+v", r)
		}
		closeLive(t, live)
	})
}

func TestLiveCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, events := taped(catalogue(1, 1), taking(time.Hour))
		cfg.Core.Models[0].Batch.Max = 2
		cfg.Core.Devices[0].Slots = 1
		live := startLive(t, cfg)
		var tickets []*scheduler.Ticket
		for range 5 {
			tickets = append(tickets, submit(t, live, scheduler.Request{Model: "m0"}))
		}
		time.Sleep(90 * time.Minute) // loaded; 0 and 1 run
		tickets[0].Cancel()
		tickets[4].Cancel()
		synctest.Wait()
		select {
		case <-tickets[0].Done():
			t.Error("a running item ended before its batch")
		case <-tickets[2].Done():
			t.Error("an item ended that nobody cancelled")
		default:
		}
		if r := wait(t, tickets[4]); r.Status != scheduler.StatusCancelled || r.Attempts != 0 || r.Cause != -1 {
			t.Errorf("cancelled in the queue: %+v", r)
		}
		if r := wait(t, tickets[0]); r.Status != scheduler.StatusCancelled || r.Attempts != 1 {
			t.Errorf("cancelled while running: %+v", r)
		}
		if r := wait(t, tickets[1]); r.Status != scheduler.StatusDone {
			t.Errorf("its fellow member: %+v", r)
		}
		before := live.Now()
		tickets[2].Cancel()
		tickets[3].Cancel()
		tickets[3].Cancel()
		wait(t, tickets[2])
		if r := wait(t, tickets[3]); r.Status != scheduler.StatusCancelled || r.Attempts != 1 || live.Now() > before+scheduler.Second {
			t.Errorf("a batch of cancelled items ended %v later: %+v", live.Now()-before, r)
		}
		tickets[1].Cancel()
		closeLive(t, live)
		tickets[2].Cancel()
		if err := replays(live.Config(), events.events); err != nil {
			t.Error(err)
		}
	})
}

func TestLiveDeviceLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, events := taped(catalogue(1, 1), taking(time.Minute))
		live := startLive(t, cfg)
		ticket, unwanted := submit(t, live, scheduler.Request{Model: "m0"}), submit(t, live, scheduler.Request{Model: "m0"})
		time.Sleep(90 * time.Second) // they run
		unwanted.Cancel()
		synctest.Wait()
		if err := live.Report(scheduler.Event{Kind: scheduler.DeviceDown, Model: scheduler.NoModel}); err != nil {
			t.Fatal(err)
		}
		if r := wait(t, unwanted); r.Status != scheduler.StatusCancelled {
			t.Errorf("cancelled on a lost device: %+v", r)
		}
		closed := make(chan error)
		go func() { closed <- live.Close(t.Context()) }() // waits for the device
		time.Sleep(time.Hour)
		if live.Pending() != 1 {
			t.Errorf("%d are pending", live.Pending())
		}
		if err := live.Report(scheduler.Event{Kind: scheduler.DeviceUp, Model: scheduler.NoModel}); err != nil {
			t.Fatal(err)
		}
		r := wait(t, ticket)
		if r.Status != scheduler.StatusDone || r.Attempts != 2 || r.Failure == nil || r.Failure.Code != scheduler.FailureLost {
			t.Errorf("%+v", r)
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
		if err := replays(live.Config(), events.events); err != nil {
			t.Error(err)
		}
		var wrong *scheduler.FactError
		if err := live.Report(scheduler.Event{Kind: scheduler.ItemCancelled}); !errors.As(err, &wrong) {
			t.Errorf("a cancellation was reported: %v", err)
		}
		if err := live.Report(scheduler.Event{Kind: scheduler.DeviceUp}); err != scheduler.ErrClosed {
			t.Errorf("after the end: %v", err)
		}
	})
}

func TestLiveBackpressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, _ := taped(catalogue(1, 1), taking(time.Second))
		cfg.MaxPending = 1
		live := startLive(t, cfg)
		submit(t, live, scheduler.Request{Model: "m0"})

		impatient, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := live.Submit(impatient, scheduler.Request{Model: "m0"}); err != context.DeadlineExceeded {
			t.Errorf("with a full service: %v", err)
		}
		if _, err := live.Submit(impatient, scheduler.Request{Model: "m0"}); err != context.DeadlineExceeded {
			t.Errorf("with an ended context: %v", err)
		}
		second := submit(t, live, scheduler.Request{Model: "m0"})
		if live.Now() < 2*scheduler.Second {
			t.Errorf("the second item entered at %v", live.Now())
		}
		refused := make(chan error)
		go func() {
			_, err := live.Submit(t.Context(), scheduler.Request{Model: "m0"})
			refused <- err
		}()
		synctest.Wait()
		closed := make(chan error)
		go func() { closed <- live.Close(t.Context()) }()
		if err := <-refused; !errors.Is(err, scheduler.ErrClosed) || live.Pending() != 1 {
			t.Errorf("who waited while it closed, with %d pending: %v", live.Pending(), err)
		}
		if r := wait(t, second); r.Status != scheduler.StatusDone {
			t.Errorf("what was pending: %+v", r)
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
		if _, err := live.Submit(t.Context(), scheduler.Request{Model: "m0"}); !errors.Is(err, scheduler.ErrClosed) {
			t.Errorf("after the end: %v", err)
		}
	})
}

func TestLiveCloseStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stubborn sync.WaitGroup
		stubborn.Add(1)
		cfg, events := taped(catalogue(1, 1), scheduler.NewCallExecutor(func(context.Context, scheduler.Command) error {
			time.Sleep(time.Minute) // whatever its context says
			return nil
		}))
		cfg.StopTimeout = 3 * time.Second
		live := startLive(t, cfg)
		ticket := submit(t, live, scheduler.Request{Model: "m0"})
		time.Sleep(time.Second)
		impatient, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		err := live.Close(impatient)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 items unfinished") || !strings.Contains(err.Error(), "some calls did not return") {
			t.Errorf("Close: %v", err)
		}
		if now := live.Now(); now != 6*scheduler.Second {
			t.Errorf("it was closed at %v", now)
		}
		if r, err := ticket.Wait(t.Context()); !errors.Is(err, scheduler.ErrClosed) || !errors.Is(err, context.DeadlineExceeded) || r.Status != 0 {
			t.Errorf("Wait: %+v, %v", r, err)
		}
		if live.Pending() != 0 || live.Err() == nil {
			t.Errorf("%d pending, %v", live.Pending(), live.Err())
		}
		if again := live.Close(t.Context()); again == nil || again.Error() != err.Error() {
			t.Errorf("Close again: %v", again)
		}
		if err := replays(live.Config(), events.events); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour) // the bubble would notice a goroutine that stays
	})
}

// Timers and loads that no item waits for do not keep a service open.
func TestLiveClosesOnceNothingIsPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, events := taped(catalogue(1, 1), taking(time.Second))
		cfg.Core.Policy = policyFunc(func(v *scheduler.View) scheduler.Decision {
			if d := (anyReady{}).Next(v); d.Kind != scheduler.DecideIdle {
				return d
			}
			if v.State(0, 0) == scheduler.Resident && v.HeldUntil(0, 0) <= v.Now() {
				return scheduler.Hold(0, 0, v.Now()+scheduler.Hour)
			}
			return scheduler.Decision{}
		})
		live := startLive(t, cfg)
		submit(t, live, scheduler.Request{Model: "m0"})
		closeLive(t, live)
		if now := live.Now(); now > scheduler.Minute {
			t.Errorf("it was closed at %v", now)
		}
		if err := replays(live.Config(), events.events); err != nil {
			t.Error(err)
		}
	})
}

// Whoever's items all ended has nothing to complain about, even if the context
// of Close ended before the log was written.
func TestLiveCloseStopsAsTheLastItemEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, _ := taped(catalogue(1, 1), taking(time.Second))
		cfg.Sinks = func(*scheduler.Core, scheduler.Namer) ([]scheduler.Sink, error) {
			return []scheduler.Sink{sinkFunc(func(events []scheduler.Event) error {
				if events[0].Kind == scheduler.BatchFinished {
					time.Sleep(time.Hour)
				}
				return nil
			})}, nil
		}
		live := startLive(t, cfg)
		ticket := submit(t, live, scheduler.Request{Model: "m0"})
		impatient, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := live.Close(impatient); err != nil {
			t.Error(err)
		}
		if r := wait(t, ticket); r.Status != scheduler.StatusDone || impatient.Err() == nil {
			t.Errorf("%+v", r)
		}
	})
}

func TestLiveCloseIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, _ := taped(catalogue(1, 1), taking(time.Second))
		live := startLive(t, cfg)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		for range 2 {
			if err := live.Close(ended); err != nil {
				t.Errorf("%v", err)
			}
		}
		<-live.Done()
	})
}

func TestLiveEndsByItself(t *testing.T) {
	full := errors.New("disk full")
	cases := map[string]struct {
		change func(cfg *scheduler.LiveConfig, events *tape)
		is     func(error) bool
	}{
		"lost wake-up": {func(cfg *scheduler.LiveConfig, _ *tape) {
			cfg.Core.Policy = policyFunc(func(*scheduler.View) scheduler.Decision { return scheduler.Decision{} })
		}, func(err error) bool { _, ok := errors.AsType[*scheduler.LostWakeupError](err); return ok }},
		"illegal decision": {func(cfg *scheduler.LiveConfig, _ *tape) {
			cfg.Core.Policy = policyFunc(func(*scheduler.View) scheduler.Decision { return scheduler.Run(0, 0, 1) })
		}, func(err error) bool { _, ok := errors.AsType[*scheduler.IllegalDecision](err); return ok }},
		"sink": {func(_ *scheduler.LiveConfig, events *tape) { events.fail = full },
			func(err error) bool { return errors.Is(err, full) }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg, events := taped(catalogue(1, 1), taking(time.Second))
				c.change(&cfg, events)
				live := startLive(t, cfg)
				ticket := submit(t, live, scheduler.Request{Model: "m0"})
				<-live.Done()
				if !c.is(live.Err()) {
					t.Errorf("it ended with %v", live.Err())
				}
				if _, err := ticket.Wait(t.Context()); !errors.Is(err, scheduler.ErrClosed) || !c.is(err) {
					t.Errorf("Wait: %v", err)
				}
				if _, err := live.Submit(t.Context(), scheduler.Request{Model: "m0"}); !errors.Is(err, scheduler.ErrClosed) || !c.is(err) {
					t.Errorf("Submit: %v", err)
				}
				if err := live.Close(t.Context()); !c.is(err) {
					t.Errorf("Close: %v", err)
				}
			})
		})
	}
}

// A policy that declares that it waits may leave items behind.
func TestLiveClosesOverWhatCannotRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, _ := taped(catalogue(1, 1), taking(time.Second))
		cfg.Core.Waits = true
		cfg.Core.Policy = policyFunc(func(*scheduler.View) scheduler.Decision { return scheduler.Decision{} })
		live := startLive(t, cfg)
		ticket := submit(t, live, scheduler.Request{Model: "m0"})
		if err := live.Close(t.Context()); err == nil || !strings.Contains(err.Error(), "1 items were left") {
			t.Errorf("Close: %v", err)
		}
		if _, err := ticket.Wait(t.Context()); !errors.Is(err, scheduler.ErrClosed) {
			t.Errorf("Wait: %v", err)
		}
	})
}

func TestLiveForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, _ := taped(catalogue(1, 1), taking(time.Millisecond))
		cfg.Core.KeepDone = 4
		live := startLive(t, cfg)
		var tickets []*scheduler.Ticket
		for range 4 {
			tickets = append(tickets, submit(t, live, scheduler.Request{Model: "m0"}))
		}
		for _, ticket := range tickets {
			wait(t, ticket)
		}
		var unknown *scheduler.DependencyError
		_, err := live.Submit(t.Context(), scheduler.Request{Model: "m0", After: tickets[:2]})
		if !errors.As(err, &unknown) || unknown.On != 0 || unknown.What != "unknown" {
			t.Errorf("an old dependency: %v", err)
		}
		if r := wait(t, submit(t, live, scheduler.Request{Model: "m0", After: tickets[1:]})); r.Status != scheduler.StatusDone {
			t.Errorf("young dependencies: %+v", r)
		}
		if live.Pending() != 0 {
			t.Errorf("%d are pending", live.Pending())
		}
		closeLive(t, live)
	})
}

func TestLiveRefusesRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, _ := taped(catalogue(1, 1), taking(0))
		live := startLive(t, cfg)
		cfg2, _ := taped(catalogue(1, 1), taking(0))
		other := startLive(t, cfg2)
		foreign := submit(t, other, scheduler.Request{Model: "m0"})
		for field, r := range map[string]scheduler.Request{
			"Model":    {Model: "m9"},
			"Work":     {Model: "m0", Work: -1},
			"After[0]": {Model: "m0", After: []*scheduler.Ticket{nil}},
			"After[1]": {Model: "m0", After: []*scheduler.Ticket{submit(t, live, scheduler.Request{Model: "m0"}), foreign}},
		} {
			var wrong *scheduler.RequestError
			if _, err := live.Submit(t.Context(), r); !errors.As(err, &wrong) || wrong.Field != field {
				t.Errorf("%s: %v", field, err)
			}
		}
		closeLive(t, live)
		closeLive(t, other)
	})
}

func TestNewLiveRefuses(t *testing.T) {
	broken := errors.New("no space for a log")
	cases := map[string]struct {
		change func(cfg *scheduler.LiveConfig)
		want   string
	}{
		"core":        {func(cfg *scheduler.LiveConfig) { cfg.Core.Policy = nil }, "Policy: there is no policy"},
		"executors":   {func(cfg *scheduler.LiveConfig) { cfg.Executors = nil }, "0 executors for 1 devices"},
		"names":       {func(cfg *scheduler.LiveConfig) { cfg.Core.Models[1].Name = "m0" }, `Models[1].Name: "m0" is taken`},
		"keep failed": {func(cfg *scheduler.LiveConfig) { cfg.Core.KeepFailed = 9; cfg.Core.KeepDone = 5; cfg.MaxPending = 5 }, "KeepFailed: 9; must be at least 10"},
		"negative":    {func(cfg *scheduler.LiveConfig) { cfg.MaxPending = -1 }, "must not be negative"},
		"sinks": {func(cfg *scheduler.LiveConfig) {
			cfg.Sinks = func(*scheduler.Core, scheduler.Namer) ([]scheduler.Sink, error) { return nil, broken }
		}, "no space"},
	}
	for name, c := range cases {
		cfg := scheduler.LiveConfig{Core: catalogue(2, 1), Executors: []scheduler.Executor{newHandExecutor()}}
		c.change(&cfg)
		if live, err := scheduler.NewLive(t.Context(), cfg); live != nil || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestCallExecutor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		deadline := fmt.Errorf("it took too long: %w", context.DeadlineExceeded)
		results := map[uint64]error{1: nil, 2: errors.New("broken"), 3: deadline, 4: &scheduler.CommandError{Code: scheduler.FailureOOM}}
		e := scheduler.NewCallExecutor(func(ctx context.Context, c scheduler.Command) error {
			if c.Seq > 4 {
				return pause(ctx, time.Hour)
			}
			return results[c.Seq]
		})
		if _, err := e.Open(t.Context(), scheduler.Plan{}); err != nil {
			t.Fatal(err)
		}
		codes := map[uint64]scheduler.Failure{2: scheduler.FailureUnknown, 3: scheduler.FailureTimeout, 4: scheduler.FailureOOM}
		for seq := range uint64(6) {
			if err := e.Start(scheduler.Command{Seq: seq + 1}); err != nil {
				t.Fatal(err)
			}
		}
		for range 4 {
			o := <-e.Outcomes()
			if code, fails := codes[o.Seq]; fails != (o.Failure != nil) || fails && o.Failure.Code != code {
				t.Errorf("command %d: %v", o.Seq, o.Failure)
			}
		}
		e.Cancel(5)
		e.Cancel(77)
		if o := <-e.Outcomes(); o.Seq != 5 || o.Failure == nil {
			t.Errorf("after Cancel %+v", o)
		}
		go func() {
			if o := <-e.Outcomes(); o.Seq != 6 || o.Failure == nil {
				t.Errorf("after Close %+v", o)
			}
		}()
		for range 2 {
			if err := e.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
		var refused *scheduler.CommandError
		if err := e.Start(scheduler.Command{Seq: 7}); !errors.As(err, &refused) || refused.Code != scheduler.FailureLost {
			t.Errorf("Start after Close: %v", err)
		}
	})
}

// errandSpec is a random life of a service.
type errandSpec struct {
	seed      uint64
	models    int
	devices   int
	failures  int // in 100 commands
	refusals  int
	errands   []errand
	outages   []time.Duration
	foreign   []time.Duration
	maxWaits  int
	keepDone  int64
	impatient bool
}

type errand struct {
	before   time.Duration // since the last
	model    int
	priority int32
	after    []int // how many errands before
	cancel   time.Duration
}

func drawErrands(t *rapid.T) errandSpec {
	s := errandSpec{seed: rapid.Uint64().Draw(t, "seed"), models: rapid.IntRange(1, 4).Draw(t, "models"), devices: rapid.IntRange(1, 2).Draw(t, "devices"),
		failures: rapid.SampledFrom([]int{0, 0, 10, 50}).Draw(t, "failures"), refusals: rapid.SampledFrom([]int{0, 5}).Draw(t, "refusals"),
		maxWaits: rapid.SampledFrom([]int{1, 3, 1000}).Draw(t, "maxPending"), keepDone: rapid.SampledFrom([]int64{5, 1000}).Draw(t, "keepDone"),
		impatient: rapid.IntRange(0, 9).Draw(t, "impatient") == 0}
	ms := rapid.Custom(func(t *rapid.T) time.Duration {
		return time.Duration(rapid.IntRange(0, 20).Draw(t, "ms")) * time.Millisecond
	})
	for range rapid.IntRange(1, 40).Draw(t, "errands") {
		e := errand{model: rapid.IntRange(0, s.models-1).Draw(t, "model"), priority: rapid.Int32Range(-1, 1).Draw(t, "priority"), cancel: -1}
		if rapid.Bool().Draw(t, "pause") {
			e.before = ms.Draw(t, "before")
		}
		for range rapid.SampledFrom([]int{0, 0, 1, 2}).Draw(t, "dependencies") {
			e.after = append(e.after, rapid.IntRange(1, 8).Draw(t, "back"))
		}
		if rapid.IntRange(0, 4).Draw(t, "cancels") == 0 {
			e.cancel = ms.Draw(t, "cancel")
		}
		s.errands = append(s.errands, e)
	}
	s.outages = rapid.SliceOfN(ms, 0, 2).Draw(t, "outages")
	s.foreign = rapid.SliceOfN(ms, 0, 2).Draw(t, "foreign")
	return s
}

// strictExecutor takes and fails by chance, and checks what it is told to do.
type strictExecutor struct {
	spec     *errandSpec
	plan     scheduler.Plan
	mu       sync.Mutex
	resident map[scheduler.ModelID]bool
	slots    map[int]bool
	calls    *scheduler.CallExecutor
	wrong    []string
	lost     map[uint64]bool
	running  map[uint64]bool
	failed   time.Time // when the device was lost
}

func newStrictExecutor(spec *errandSpec) *strictExecutor {
	e := &strictExecutor{spec: spec, resident: map[scheduler.ModelID]bool{}, slots: map[int]bool{}, lost: map[uint64]bool{}, running: map[uint64]bool{}}
	e.calls = scheduler.NewCallExecutor(e.call)
	return e
}

func (e *strictExecutor) Open(ctx context.Context, p scheduler.Plan) (scheduler.Capabilities, error) {
	e.plan = p
	return e.calls.Open(ctx, p)
}
func (e *strictExecutor) Outcomes() <-chan scheduler.Outcome { return e.calls.Outcomes() }
func (e *strictExecutor) Cancel(seq uint64)                  { e.calls.Cancel(seq) }
func (e *strictExecutor) Close(ctx context.Context) error    { return e.calls.Close(ctx) }

func (e *strictExecutor) chance(seq uint64, what uint64) int {
	z := (e.spec.seed ^ seq*0x9e3779b97f4a7c15 ^ what*0xbf58476d1ce4e5b9) * 0x94d049bb133111eb
	return int((z ^ z>>31) >> 8 % 100)
}

func (e *strictExecutor) Start(c scheduler.Command) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	say := func(what string) { e.wrong = append(e.wrong, fmt.Sprintf("%s: %+v", what, c)) }
	if e.failed.Equal(time.Now()) { // the world may not have heard of it yet
		return errors.New("lost")
	}
	if c.Device != e.plan.Device {
		say("another's command")
	}
	switch c.Op {
	case scheduler.OpRun:
		if !e.resident[c.Model] || e.slots[c.Slot] || c.Slot >= e.plan.Slots || len(c.Items) == 0 {
			say("a run that cannot be")
		}
	case scheduler.OpLoad:
		if e.resident[c.Model] {
			say("a second load")
		}
	case scheduler.OpEvict:
		if !e.resident[c.Model] {
			say("an eviction of nothing")
		}
	}
	if e.chance(c.Seq, 1) < e.spec.refusals {
		return errors.New("refused")
	}
	if c.Op == scheduler.OpRun {
		e.slots[c.Slot] = true
	}
	e.running[c.Seq] = true
	return e.calls.Start(c)
}

func (e *strictExecutor) call(ctx context.Context, c scheduler.Command) error {
	err := pause(ctx, time.Duration(e.chance(c.Seq, 2)%8)*time.Millisecond)
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.running, c.Seq)
	if e.lost[c.Seq] {
		return errors.New("lost")
	}
	if c.Op == scheduler.OpRun {
		delete(e.slots, c.Slot)
	}
	if err == nil && e.chance(c.Seq, 3) < e.spec.failures {
		err = &scheduler.CommandError{Code: scheduler.FailureFault, Text: "chance"}
	}
	if err == nil && c.Op != scheduler.OpRun {
		e.resident[c.Model] = c.Op == scheduler.OpLoad
	}
	return err
}

// fail loses the device: nothing is resident, what runs comes to nothing.
func (e *strictExecutor) fail() {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.resident)
	clear(e.slots)
	e.failed = time.Now()
	for seq := range e.running {
		e.lost[seq] = true
	}
}

// life is what became of a service.
type life struct {
	live      *scheduler.Live
	events    *tape
	core      *scheduler.Core
	executors []*strictExecutor
	tickets   []*scheduler.Ticket
	refused   int
	errs      []string
}

// runErrands lives through spec.
func runErrands(t *testing.T, spec *errandSpec) *life {
	l := &life{events: new(tape)}
	cfg := scheduler.LiveConfig{Core: catalogue(spec.models, spec.devices), MaxPending: spec.maxWaits, Seed: spec.seed,
		Sinks: func(core *scheduler.Core, _ scheduler.Namer) ([]scheduler.Sink, error) {
			l.core = core
			return []scheduler.Sink{l.events}, nil
		}}
	cfg.Core.KeepDone = spec.keepDone
	for range spec.devices {
		e := newStrictExecutor(spec)
		l.executors = append(l.executors, e)
		cfg.Executors = append(cfg.Executors, e)
	}
	l.live = startLive(t, cfg)
	var others sync.WaitGroup
	for i, d := range spec.outages {
		others.Go(func() { l.outage(scheduler.DeviceID(i%spec.devices), d) })
	}
	for _, d := range spec.foreign {
		others.Go(func() {
			time.Sleep(d)
			l.report(scheduler.MemoryObserved, 0, int64(scheduler.GB))
			time.Sleep(d)
			l.report(scheduler.MemoryObserved, 0, 0)
		})
	}
	for i := range spec.errands {
		l.submit(t, &spec.errands[i], &others)
	}
	if !spec.impatient {
		others.Wait()
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	if spec.impatient {
		cancel()
	}
	if err := l.live.Close(ctx); err != nil && !spec.impatient {
		l.errs = append(l.errs, err.Error())
	}
	cancel()
	others.Wait()
	return l
}

func (l *life) report(k scheduler.Kind, d scheduler.DeviceID, value int64) {
	if err := l.live.Report(scheduler.Event{Kind: k, Device: d, Value: value, Model: scheduler.NoModel}); err != nil && err != scheduler.ErrClosed {
		l.errs = append(l.errs, err.Error())
	}
}

// outage loses a device for a while. What the executor had promised before is
// still a fact, so the world is told first and then given time to hear it.
func (l *life) outage(d scheduler.DeviceID, after time.Duration) {
	time.Sleep(after + 500*time.Microsecond)
	l.report(scheduler.DeviceDown, d, 0)
	l.executors[d].fail()
	time.Sleep(30 * time.Millisecond)
	l.report(scheduler.DeviceUp, d, 0)
}

func (l *life) submit(t *testing.T, e *errand, others *sync.WaitGroup) {
	time.Sleep(e.before)
	r := scheduler.Request{Model: fmt.Sprintf("m%d", e.model), Priority: e.priority}
	for _, back := range e.after {
		if back <= len(l.tickets) {
			r.After = append(r.After, l.tickets[len(l.tickets)-back])
		}
	}
	ticket, err := l.live.Submit(t.Context(), r)
	if err != nil {
		if _, old := errors.AsType[*scheduler.DependencyError](err); !old {
			l.errs = append(l.errs, err.Error())
		}
		l.refused++
		return
	}
	l.tickets = append(l.tickets, ticket)
	if e.cancel >= 0 {
		others.Go(func() {
			time.Sleep(e.cancel)
			ticket.Cancel()
		})
	}
}

// verify compares tickets, core and log, and replays the log.
func (l *life) verify(spec *errandSpec) error {
	var counts scheduler.Counts
	byID := map[scheduler.ItemID]scheduler.Result{}
	for _, ticket := range l.tickets {
		r, err := ticket.Wait(context.Background())
		if err != nil {
			if !spec.impatient {
				return fmt.Errorf("item %d: %w", ticket.ID(), err)
			}
			continue
		}
		byID[ticket.ID()] = r
		switch r.Status {
		case scheduler.StatusDone:
			counts.Done++
		case scheduler.StatusFailed:
			counts.Failed++
		case scheduler.StatusCancelled:
			counts.Cancelled++
		}
	}
	c := l.core.Counts()
	if c.Done != counts.Done || c.Failed != counts.Failed || c.Cancelled != counts.Cancelled {
		return fmt.Errorf("the core counts %+v, the tickets %+v", c, counts)
	}
	if !spec.impatient && int(c.Arrived) != len(l.tickets) {
		return fmt.Errorf("%d arrived of %d", c.Arrived, len(l.tickets))
	}
	for _, e := range l.executors {
		if len(e.wrong) > 0 {
			return errors.New(e.wrong[0])
		}
	}
	if len(l.errs) > 0 {
		return errors.New(l.errs[0])
	}
	if err := ordered(l.events.events, byID); err != nil {
		return err
	}
	return replays(l.live.Config(), l.events.events)
}

// ordered checks that instants strictly increase and dependencies hold.
func ordered(events []scheduler.Event, results map[scheduler.ItemID]scheduler.Result) error {
	last := scheduler.Time(-1)
	for _, ev := range events {
		if ev.First() && ev.At <= last {
			return fmt.Errorf("an instant at %v after one at %v", ev.At, last)
		}
		last = ev.At
		if ev.Kind == scheduler.ItemDependsOn {
			item, on := results[scheduler.ItemID(ev.ID)], results[scheduler.ItemID(ev.Value)]
			if item.Status == scheduler.StatusDone && (on.Status != scheduler.StatusDone || item.Started < on.Ended) {
				return fmt.Errorf("item %d ran for all its dependency %d: %+v, %+v", ev.ID, ev.Value, item, on)
			}
		}
	}
	return nil
}

func TestLiveSurvivesAnything(t *testing.T) {
	reached := map[string]int{}
	rapid.Check(t, func(rt *rapid.T) {
		spec := drawErrands(rt)
		var l *life
		var err error
		synctest.Test(t, func(t *testing.T) {
			l = runErrands(t, &spec)
			err = l.verify(&spec)
		})
		if err != nil {
			rt.Fatal(err)
		}
		for _, ev := range l.events.events {
			reached[ev.Kind.String()]++
		}
		reached["refused"] += l.refused
	})
	for _, kind := range []scheduler.Kind{scheduler.BatchFailed, scheduler.LoadFailed, scheduler.EvictStarted, scheduler.EvictFailed, scheduler.ItemFailed,
		scheduler.DependantCancelled, scheduler.ItemCancelled, scheduler.DeviceDown, scheduler.MemoryObserved, scheduler.LoadClaimed, scheduler.ItemReadied} {
		if reached[kind.String()] == 0 {
			t.Errorf("no run had a %v", kind)
		}
	}
	if reached["refused"] == 0 {
		t.Error("no request named a dependency that was too old")
	}
}
