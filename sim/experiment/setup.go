package experiment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/google/uuid"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/sim"
)

// Setup is one run, ready to be driven:
//
//	core, err := scheduler.New(setup.Config)
//	err = scheduler.Drive(ctx, core, setup.World, sinks...)
//
// It has state and serves one run. Close it afterwards.
type Setup struct {
	Config scheduler.Config
	World  *sim.World
	Source scheduler.Source
	// Namer gives the names of items, jobs and tenants; nil where items are
	// told apart by number only and nothing else has a name.
	Namer     scheduler.Namer
	Policy    Row
	Contracts policies.Contracts
	Window    Window
	Seed      uint64
	Replicate int
	// RunID identifies this run: UUIDv5 over everything that determines it.
	RunID uuid.UUID

	sim    sim.Config
	closer io.Closer
}

// Timing returns what the simulated World would take for each command, and
// what happens in it beside them, for an executor that sleeps as long.
func (s *Setup) Timing() *sim.Timing { return sim.NewTiming(s.sim) }

// Window is what the metrics of a run count.
type Window struct {
	Warmup scheduler.Time // items arriving before it do not count; see Cell.Warmup
	// End is when arrivals end; 0 if that is with the last arrival.
	End scheduler.Time
	// Generated is false for a recorded workload, which is never unstable
	// unless it is cut.
	Generated bool
	// Horizon is when the run is cut, 0 if it drains.
	Horizon scheduler.Time
}

// Close closes the files that the run read.
func (s *Setup) Close() error {
	if s.closer == nil {
		return nil
	}
	return s.closer.Close()
}

// Setup makes the run of a policy of the cell, by index, and a replicate from
// 0. Clairvoyant policies are told the arrivals. Version is that of the
// program, a part of the run's id. It may be called concurrently. Where the
// warm-up is to be found, it is found now unless Warmup was called before.
func (c *Cell) Setup(policyIndex, replicate int, version string) (*Setup, error) {
	s, err := c.Prepare(policyIndex, replicate, version)
	if err != nil {
		return nil, err
	}
	if s.Window, err = c.window(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Prepare is Setup for a run that nobody measures: its Window is empty, and no
// warm-up is found.
func (c *Cell) Prepare(policyIndex, replicate int, version string) (*Setup, error) {
	if policyIndex < 0 || policyIndex >= len(c.policies) || replicate < 0 {
		return nil, fmt.Errorf("there is no policy %d of %d, or no replicate %d", policyIndex, len(c.policies), replicate)
	}
	p := &c.policies[policyIndex]
	built, err := p.set.New(p.spec, c.env(replicate))
	if err != nil {
		return nil, err
	}
	source, closer, err := c.workload.open(c.seed, replicate)
	if err != nil {
		return nil, err
	}
	s := &Setup{Source: source, Policy: c.Policies[policyIndex], Contracts: built.Contracts,
		Seed: c.seed, Replicate: replicate, RunID: c.runID(policyIndex, replicate, version), closer: closer}
	if c.workload.generated == nil || c.workload.generated.Streams == nil {
		s.Namer, _ = source.(scheduler.Namer)
	}
	world := sim.Config{Models: make([]sim.Cost, len(c.models)), Source: source, Seed: c.seed, Replicate: replicate,
		Horizon: c.workload.horizon, Faults: c.faults}
	for i := range c.models {
		world.Models[i] = c.models[i].cost
	}
	s.Config = scheduler.Config{Models: c.Models, Devices: c.Devices, HostMemory: c.HostMemory, Attempts: c.attempts,
		Policy: built.Policy, Evictor: built.Evictor, Order: built.Order, Waits: built.Waits}
	if s.Config.Estimator, err = c.hardware.estimates.estimator(c.Models, world); err == nil && built.Clairvoyant {
		err = c.foresee(built.Policy, replicate)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.World, s.sim = sim.New(world), world
	return s, nil
}

// window is what the metrics of the cell's runs count.
func (c *Cell) window() (Window, error) {
	w, err := c.Warmup(context.Background())
	win := c.workload.window()
	win.Warmup = w.From
	return win, err
}

// OnHardware returns why the cell cannot be carried out on devices, nil if it
// can: policies and estimators that know the future are refused there.
func (c *Cell) OnHardware() error {
	for i := range c.Policies {
		if c.Policies[i].Clairvoyant {
			return fmt.Errorf("policy %s knows the future, which no hardware tells", c.Policies[i].Name)
		}
	}
	if c.workload.settles {
		return errors.New("workload.warmup: auto is found by simulation; state a length of time")
	}
	if c.hardware.estimates.config.Kind == "oracle" {
		return errors.New("hardware.estimates: oracle knows what loads will take, which no hardware tells")
	}
	return nil
}

// Injects reports whether the experiment makes things go wrong on purpose.
func (c *Cell) Injects() bool {
	f := &c.faults
	return f.LoadFailure > 0 || f.BatchFailure > 0 || len(f.Outages)+len(f.Foreign)+len(f.Cancellations) > 0
}

// foresee tells a policy every arrival to come, from a source of its own.
func (c *Cell) foresee(policy scheduler.Policy, replicate int) error {
	seer, ok := policy.(scheduler.Clairvoyant)
	if !ok {
		return nil
	}
	arrivals, err := c.Arrivals(replicate)
	if err != nil {
		return err
	}
	seer.Foresee(arrivals)
	return nil
}

// Arrivals returns all arrivals of a replicate with their attributes, in
// order. A closed loop has none before it runs, which is an error.
func (c *Cell) Arrivals(replicate int) ([]scheduler.Event, error) {
	source, closer, err := c.workload.open(c.seed, replicate)
	if err != nil {
		return nil, err
	}
	if closer != nil {
		defer closer.Close()
	}
	if _, reacts := source.(scheduler.Reactive); reacts {
		return nil, errors.New("the arrivals of a closed loop depend on the policy and cannot be foreseen")
	}
	var all []scheduler.Event
	for {
		events, err := source.Next()
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		if horizon := c.workload.horizon; horizon > 0 && events[0].At > horizon {
			return all, nil
		}
		all = append(all, events...)
	}
}

// Open returns the workload of a replicate as a source of its own, for tools
// that write it down. The closer may be nil.
func (c *Cell) Open(replicate int) (scheduler.Source, io.Closer, error) {
	return c.workload.open(c.seed, replicate)
}

func (c *Cell) runID(policyIndex, replicate int, version string) uuid.UUID {
	text := append(slices.Clip(c.what), render(byContent(c.tree.child("policies").values[policyIndex]))...)
	text = fmt.Appendf(text, "run\nversion %q\nseed %d\nreplicate %d\n", version, c.seed, replicate)
	return uuid.NewSHA1(namespace(), text)
}
