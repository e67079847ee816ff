package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/vramsim/vramsim/nvml"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/sim"
	"github.com/vramsim/vramsim/sim/experiment"
)

// executorFlags choose what carries out commands, and how.
type executorFlags struct {
	name string
	gpus []string
}

func (f *executorFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.name, "executor", "cuda", "`name` of what carries out loads and batches: "+strings.Join(executorNames(), ", "))
	flags.StringArrayVar(&f.gpus, "gpu", nil, "`UUID` of the card for the next GPU of the experiment; the first ones if left out (repeatable)")
}

func executorNames() []string { return []string{"sleep"} }

func (f *executorFlags) validate() error {
	if !slices.Contains(executorNames(), f.name) {
		return unknown("executor", f.name, executorNames())
	}
	return nil
}

// physical reports whether commands are carried out by something real.
func (f *executorFlags) physical() bool { return f.name != "sleep" }

// needsCard reports whether nothing can be done without a card of this machine.
func (f *executorFlags) needsCard() bool { return f.name == "cuda" }

// label says why the figures are none of hardware, "" if they are.
func (f *executorFlags) label() string {
	if f.name == "sleep" {
		return "no hardware figures: the executor only sleeps"
	}
	return ""
}

// settings are what the manifest says of the executor.
func (f *executorFlags) settings() map[string]string { return map[string]string{} }

// equipment is what carries out one unit.
type equipment struct {
	executors []scheduler.Executor
	sleepers  []*nvml.Sleeper
	timing    *sim.Timing // what sleepers go by
	failed    error       // of the timing
}

// equip makes the executors of a unit.
func (f *executorFlags) equip(setup *experiment.Setup) (*equipment, error) {
	e := &equipment{}
	switch f.name {
	case "sleep":
		e.sleep(setup)
	default:
		return nil, fmt.Errorf("there is no executor %q", f.name)
	}
	return e, nil
}

// sleep makes executors that take as long as the simulated world would.
func (e *equipment) sleep(setup *experiment.Setup) {
	e.timing = setup.Timing()
	var fails bool
	for _, d := range setup.Config.Devices {
		s := nvml.NewSleeper(nvml.SleeperConfig{Memory: d.Budget,
			Took: func(c scheduler.Command) (took scheduler.Time) {
				var err error
				if took, fails, err = e.timing.Of(c); err != nil {
					e.failed = err
				}
				return took
			},
			Fail: func(scheduler.Command) *scheduler.CommandError {
				if !fails {
					return nil
				}
				return &scheduler.CommandError{Code: scheduler.FailureFault, Text: "injected by the experiment"}
			}})
		e.sleepers = append(e.sleepers, s)
		e.executors = append(e.executors, s)
	}
}

// outside lets happen to a run what the experiment wants besides, from when it
// begins.
func (e *equipment) outside(w *nvml.World) (stop func()) {
	var alarms []*time.Timer
	if e.timing != nil {
		facts := e.timing.Outside()
		for i, ev := range facts {
			alarms = append(alarms, time.AfterFunc(time.Until(w.Opened().Add(time.Duration(ev.At))), func() {
				e.happen(w, ev, facts[i+1:])
			}))
		}
	}
	return func() {
		for _, a := range alarms {
			a.Stop()
		}
	}
}

// happen is one thing that happens to a run. A device that is lost comes back
// when the facts to come say so.
func (e *equipment) happen(w *nvml.World, ev scheduler.Event, later []scheduler.Event) {
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
