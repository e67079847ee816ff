package main

import (
	"slices"
	"time"

	"github.com/vramsim/vramsim/nvml"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/sim"
	"github.com/vramsim/vramsim/sim/experiment"
)

// sleeping is a unit that is slept through: each command takes as long as the
// simulated world would take for it, on the real clock.
type sleeping struct {
	timing   *sim.Timing
	sleepers []*nvml.Sleeper
	fails    bool  // the command that was asked about last
	failed   error // of the timing
	alarms   alarms
}

func newSleeping(setup *experiment.Setup) *sleeping {
	e := &sleeping{timing: setup.Timing()}
	for _, d := range setup.Config.Devices {
		e.sleepers = append(e.sleepers, nvml.NewSleeper(nvml.SleeperConfig{Memory: d.Budget, Took: e.took, Fail: e.fail}))
	}
	return e
}

func (e *sleeping) executors() (list []scheduler.Executor) {
	for _, s := range e.sleepers {
		list = append(list, s)
	}
	return list
}

func (e *sleeping) took(c scheduler.Command) scheduler.Time {
	took, fails, err := e.timing.Of(c)
	if err != nil {
		e.failed = err
	}
	e.fails = fails
	return took
}

func (e *sleeping) fail(scheduler.Command) *scheduler.CommandError {
	if !e.fails {
		return nil
	}
	return &scheduler.CommandError{Code: scheduler.FailureFault, Text: "injected by the experiment"}
}

// outside lets happen to a run what the experiment wants besides.
func (e *sleeping) outside(w *nvml.World) {
	facts := e.timing.Outside()
	e.alarms.set(w.Opened(), facts, func(i int) { e.happen(w, facts[i], facts[i+1:]) })
}

// alarms let things happen at their times, one after the other.
type alarms struct {
	quit chan struct{}
	done chan struct{}
}

// set calls happen with the index of each fact when it is due, counted from
// opened.
func (a *alarms) set(opened time.Time, facts []scheduler.Event, happen func(int)) {
	a.quit, a.done = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(a.done)
		for i := range facts {
			timer := time.NewTimer(time.Until(opened.Add(time.Duration(facts[i].At))))
			select {
			case <-timer.C:
				happen(i)
			case <-a.quit:
				timer.Stop()
				return
			}
		}
	}()
}

// stop ends what has not happened yet, and waits for what is happening: after it
// nothing does.
func (a *alarms) stop() {
	if a.quit != nil {
		close(a.quit)
		<-a.done
	}
}

// happen is one thing that happens to a run. A device that is lost comes back
// when the facts to come say so.
func (e *sleeping) happen(w *nvml.World, ev scheduler.Event, later []scheduler.Event) {
	switch ev.Kind {
	case scheduler.DeviceUp: // its restart was told when it was lost
	case scheduler.DeviceDown:
		back := slices.IndexFunc(later, func(l scheduler.Event) bool { return l.Kind == scheduler.DeviceUp && l.Device == ev.Device })
		if back < 0 {
			w.LoseForGood(ev.Device, "the experiment takes it away")
			return
		}
		e.sleepers[ev.Device].Lose(w.Opened().Add(time.Duration(later[back].At)))
		w.Lose(ev.Device)
	default:
		_ = w.Post(ev) // the run may be over
	}
}
