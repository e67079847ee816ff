package scheduler_test

import (
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/vramsim/vramsim/scheduler"
)

// instantWorld has one arrival at a time, each after all effects have ended.
type instantWorld struct {
	arrivals int64
	arrived  int64
	ends     []scheduler.Event
	onStart  func(scheduler.Event)
}

func (w *instantWorld) Next() ([]scheduler.Event, error) {
	switch {
	case len(w.ends) > 0:
		end := w.ends[:1:1]
		w.ends = w.ends[1:]
		return end, nil
	case w.arrived == w.arrivals:
		return nil, io.EOF
	}
	w.arrived++
	return []scheduler.Event{{At: scheduler.Time(w.arrived), Kind: scheduler.ItemArrived, ID: w.arrived - 1, Device: scheduler.NoDevice}}, nil
}

func (w *instantWorld) Start(ev scheduler.Event) error {
	w.onStart(ev)
	end := scheduler.Event{At: ev.At, ID: ev.ID, Model: ev.Model, Device: ev.Device}
	switch ev.Kind {
	case scheduler.LoadStarted:
		end.Kind = scheduler.LoadFinished
	case scheduler.BatchStarted:
		end.Kind = scheduler.BatchFinished
	default:
		return nil
	}
	w.ends = append(w.ends, end)
	return nil
}

// TestLateSinks: a late sink gets the same events as a prompt one, many at a
// time and all of them before Drive returns, however that ends; the prompt one
// has them before their effects start.
func TestLateSinks(t *testing.T) {
	broken := errors.New("broken")
	for _, fails := range []int{0, 1, 1000} { // the call that fails
		var prompt, late []scheduler.Event
		calls, lateCalls := 0, 0
		world := &instantWorld{arrivals: 2000, onStart: func(ev scheduler.Event) {
			if !slices.Contains(prompt[max(0, len(prompt)-4):], ev) {
				t.Fatalf("%v starts before it is logged", ev.Kind)
			}
		}}
		core, err := scheduler.New(scheduler.Config{Policy: anyReady{},
			Models:  []scheduler.Model{{Name: "m", Bytes: 1, Batch: scheduler.BatchCost{Max: 1, Base: 1}}},
			Devices: []scheduler.Device{{Name: "d", Budget: 1, Slots: 1}}})
		if err != nil {
			t.Fatal(err)
		}
		err = scheduler.Drive(t.Context(), core, world,
			scheduler.Late{Sink: sinkFunc(func(events []scheduler.Event) error {
				lateCalls++
				late = append(late, events...)
				return nil
			})},
			sinkFunc(func(events []scheduler.Event) error {
				if calls++; calls == fails {
					return broken
				}
				prompt = append(prompt, events...)
				return nil
			}))
		if want := map[bool]error{true: broken}[fails > 0]; err != want {
			t.Fatalf("failing at call %d: %v", fails, err)
		}
		if !slices.Equal(prompt, late) || fails == 0 && len(late) < 4*2000 {
			t.Errorf("failing at call %d: the late sink has %d events, the prompt one %d", fails, len(late), len(prompt))
		}
		if lateCalls > 1+len(late)/500 {
			t.Errorf("the late sink got %d events in %d calls", len(late), lateCalls)
		}
	}
}

// failing is a policy that does as another for so many decisions and then
// something that is not allowed.
type failing struct {
	scheduler.Policy
	after int
}

func (f *failing) Next(v *scheduler.View) scheduler.Decision {
	if f.after--; f.after < 0 {
		return scheduler.Decision{Kind: scheduler.DecideRun, Model: 99}
	}
	return f.Policy.Next(v)
}

// TestLateSinksOfAFailingPolicy: what the last step has done before it failed is
// theirs, too.
func TestLateSinksOfAFailingPolicy(t *testing.T) {
	for _, after := range []int{0, 1, 2, 3, 1000, 1001} {
		core, err := scheduler.New(scheduler.Config{Policy: &failing{anyReady{}, after},
			Models:  []scheduler.Model{{Name: "m", Bytes: 1, Batch: scheduler.BatchCost{Max: 1, Base: 1}}},
			Devices: []scheduler.Device{{Name: "d", Budget: 1, Slots: 1}}})
		if err != nil {
			t.Fatal(err)
		}
		var prompt, late []scheduler.Event
		err = scheduler.Drive(t.Context(), core, &instantWorld{arrivals: 2000, onStart: func(scheduler.Event) {}},
			scheduler.Late{Sink: sinkFunc(func(events []scheduler.Event) error { late = append(late, events...); return nil })},
			sinkFunc(func(events []scheduler.Event) error { prompt = append(prompt, events...); return nil }))
		var illegal *scheduler.IllegalDecision
		if !errors.As(err, &illegal) || len(prompt) == 0 || !slices.Equal(prompt, late) {
			t.Errorf("after %d decisions: %v; the late sink has %d events, the prompt one %d", after, err, len(late), len(prompt))
		}
	}
}

// TestLateSinkFails: its error ends the run, once.
func TestLateSinkFails(t *testing.T) {
	broken, calls := errors.New("broken"), 0
	for _, arrivals := range []int64{1, 2000} { // at the end, on the way
		calls = 0
		core, err := scheduler.New(scheduler.Config{Policy: anyReady{},
			Models:  []scheduler.Model{{Name: "m", Bytes: 1, Batch: scheduler.BatchCost{Max: 1, Base: 1}}},
			Devices: []scheduler.Device{{Name: "d", Budget: 1, Slots: 1}}})
		if err != nil {
			t.Fatal(err)
		}
		err = scheduler.Drive(t.Context(), core, &instantWorld{arrivals: arrivals, onStart: func(scheduler.Event) {}},
			scheduler.Late{Sink: sinkFunc(func([]scheduler.Event) error { calls++; return broken })})
		if err != broken || calls != 1 {
			t.Errorf("%d arrivals: %v, after %d calls", arrivals, err, calls)
		}
	}
}
