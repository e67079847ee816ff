package experiment

import (
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
	// Namer gives the names of items, jobs and tenants.
	Namer     scheduler.Namer
	Policy    Row
	Contracts policies.Contracts
	Window    Window
	Seed      uint64
	Replicate int
	// RunID identifies this run: UUIDv5 over everything that determines it.
	RunID uuid.UUID

	closer io.Closer
}

// Window is what the metrics of a run count.
type Window struct {
	Warmup scheduler.Time // items arriving before it do not count
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
// program, a part of the run's id. It may be called concurrently.
func (c *Cell) Setup(policyIndex, replicate int, version string) (*Setup, error) {
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
	s := &Setup{Source: source, Policy: c.Policies[policyIndex], Contracts: built.Contracts, Window: c.workload.window(),
		Seed: c.seed, Replicate: replicate, RunID: c.runID(policyIndex, replicate, version), closer: closer}
	s.Namer, _ = source.(scheduler.Namer)
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
	s.World = sim.New(world)
	return s, nil
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
