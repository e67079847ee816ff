package policytest

import (
	"fmt"
	"io"
	"slices"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/random"
)

// World is a small machine with its models and all that happens to them. It is
// a value: running it changes nothing, so that it can be run under one policy
// after another. Batches, loads and evictions take the declared times.
//
// The simulator, given the same as an experiment, makes the same events.
type World struct {
	Models     []scheduler.Model
	Devices    []scheduler.Device
	HostMemory scheduler.Bytes // capacity of the host tier; 0: none
	Items      []Item          // in the order of At; their places are their ids
	Outages    []Outage        // those of one device neither overlap nor touch
	Foreign    []Foreign
	Cancelled  []Cancellation
	// LoadFailure and BatchFailure are how many of a thousand loads and
	// batches fail, drawn as the simulator does by Seed.
	LoadFailure, BatchFailure int
	Seed                      uint64
	// Horizon is when the run is cut; 0: it drains.
	Horizon scheduler.Time

	// Truth, if not nil, are models with the durations that things really take.
	Truth []scheduler.Model
	// Fails, if not nil, says which loads and batches fail besides.
	Fails func(start scheduler.Event) bool
}

// Item is one arrival.
type Item struct {
	At       scheduler.Time
	Model    scheduler.ModelID
	Job      int // from 1; 0: none
	Priority int32
	Deadline scheduler.Time // 0: none
	Work     int64          // in millionths; 0: ordinary
	Tenant   int64          // from 1; 0: none
	After    []int          // places of earlier items
}

// Outage is a device that is lost at From with all that is on it, and comes
// back at Until.
type Outage struct {
	Device      scheduler.DeviceID
	From, Until scheduler.Time
}

// Foreign says that from At on other processes hold Bytes of a device.
type Foreign struct {
	Device scheduler.DeviceID
	At     scheduler.Time
	Bytes  scheduler.Bytes
}

// Cancellation gives up an item at a time after its arrival.
type Cancellation struct {
	Item scheduler.ItemID
	At   scheduler.Time
}

// Faulty reports whether anything goes wrong in w.
func (w *World) Faulty() bool {
	return w.LoadFailure > 0 || w.BatchFailure > 0 || w.Fails != nil || len(w.Outages)+len(w.Foreign)+len(w.Cancelled) > 0
}

// Arrivals returns every arrival with its attributes and dependencies, as a
// trace of these items has them.
func (w *World) Arrivals() []scheduler.Event {
	var events []scheduler.Event
	jobs, tenants := map[int64]int64{}, map[int64]int64{}
	for i := range w.Items {
		it := &w.Items[i]
		first := len(events)
		events = append(events, scheduler.Event{At: it.At, Kind: scheduler.ItemArrived, ID: int64(i), Model: it.Model, Device: scheduler.NoDevice})
		attribute := func(k scheduler.Kind, v int64) {
			events = append(events, scheduler.Event{At: it.At, Kind: k, ID: int64(i), Value: v, Model: scheduler.NoModel, Device: scheduler.NoDevice})
		}
		if it.Job > 0 {
			attribute(scheduler.ItemJob, dense(jobs, int64(it.Job)))
		}
		if it.Deadline > 0 {
			attribute(scheduler.ItemDeadline, int64(it.Deadline))
		}
		if it.ordinary() != scheduler.WorkUnit {
			attribute(scheduler.ItemWork, it.Work)
		}
		if it.Tenant > 0 {
			attribute(scheduler.ItemTenant, dense(tenants, it.Tenant))
		}
		for _, on := range it.After {
			attribute(scheduler.ItemDependsOn, int64(on))
		}
		events[first].Value = scheduler.PackArrival(it.Priority, len(events)-first-1)
	}
	return events
}

// dense numbers what is named in the order in which it first appears.
func dense(numbers map[int64]int64, name int64) int64 {
	n, known := numbers[name]
	if !known {
		n = int64(len(numbers))
		numbers[name] = n
	}
	return n
}

// ordinary is the work of an item, that of an ordinary one unless it is given.
func (it *Item) ordinary() int64 {
	if it.Work == 0 {
		return scheduler.WorkUnit
	}
	return it.Work
}

// Machine returns a scheduler.World in which w happens, in virtual time.
func (w *World) Machine() scheduler.World {
	m := &machine{w: w, arrivals: w.Arrivals(), outside: w.outside(), timers: [2]scheduler.Time{scheduler.Never, scheduler.Never},
		loads: make([]int64, len(w.Models)), attempts: map[scheduler.ItemID]uint64{}, running: map[int64][]scheduler.ItemID{}}
	return m
}

// outside returns what happens to devices, memory and items, in order.
func (w *World) outside() []scheduler.Event {
	var facts []scheduler.Event
	for _, o := range w.Outages {
		facts = append(facts, scheduler.Event{At: o.From, Kind: scheduler.DeviceDown, Device: o.Device, Model: scheduler.NoModel},
			scheduler.Event{At: o.Until, Kind: scheduler.DeviceUp, Device: o.Device, Model: scheduler.NoModel})
	}
	for _, f := range w.Foreign {
		facts = append(facts, scheduler.Event{At: f.At, Kind: scheduler.MemoryObserved, Device: f.Device, Value: int64(f.Bytes), Model: scheduler.NoModel})
	}
	for _, c := range w.Cancelled {
		facts = append(facts, scheduler.Event{At: c.At, Kind: scheduler.ItemCancelled, ID: int64(c.Item), Model: scheduler.NoModel, Device: scheduler.NoDevice})
	}
	slices.SortStableFunc(facts, func(a, b scheduler.Event) int {
		if a.At != b.At {
			if a.At < b.At {
				return -1
			}
			return 1
		}
		return scheduler.CompareFacts(&a, &b)
	})
	return facts
}

// machine carries effects out.
type machine struct {
	w        *World
	arrivals []scheduler.Event // to come
	outside  []scheduler.Event // to come
	future   []scheduler.Event // ends of what is under way
	timers   [2]scheduler.Time
	facts    []scheduler.Event

	members  []scheduler.ItemID // of the batch being put together
	loads    []int64            // started, by model
	attempts map[scheduler.ItemID]uint64
	running  map[int64][]scheduler.ItemID // by the batch's sequence number
}

// Next returns the facts of the next instant at which anything happens.
func (m *machine) Next() ([]scheduler.Event, error) {
	at := min(m.timers[0], m.timers[1])
	for i := range m.future {
		at = min(at, m.future[i].At)
	}
	if len(m.outside) > 0 {
		at = min(at, m.outside[0].At)
	}
	if len(m.arrivals) > 0 {
		at = min(at, m.arrivals[0].At)
	}
	switch {
	case at == scheduler.Never:
		return nil, io.EOF
	case m.w.Horizon > 0 && at > m.w.Horizon:
		return nil, scheduler.ErrHorizon
	}
	m.facts = m.facts[:0]
	m.complete(at)
	for len(m.outside) > 0 && m.outside[0].At == at {
		ev := m.outside[0]
		m.outside = m.outside[1:]
		if ev.Kind == scheduler.DeviceDown {
			m.lose(ev.Device)
		}
		m.facts = append(m.facts, ev)
	}
	for len(m.arrivals) > 0 && m.arrivals[0].At == at {
		m.facts = append(m.facts, m.arrivals[0])
		m.arrivals = m.arrivals[1:]
	}
	for id := range m.timers {
		if m.timers[id] == at {
			m.timers[id] = scheduler.Never
			m.facts = append(m.facts, scheduler.Event{At: at, Kind: scheduler.TimerFired, ID: int64(id), Model: scheduler.NoModel, Device: scheduler.NoDevice})
		}
	}
	return m.facts, nil
}

// complete makes what ends at an instant facts.
func (m *machine) complete(at scheduler.Time) {
	left := m.future[:0]
	for _, ev := range m.future {
		if ev.At == at {
			m.settle(ev)
			m.facts = append(m.facts, ev)
		} else {
			left = append(left, ev)
		}
	}
	m.future = left
	slices.SortStableFunc(m.facts, func(a, b scheduler.Event) int { return scheduler.CompareFacts(&a, &b) })
}

// settle counts the attempts of items whose batch ends.
func (m *machine) settle(ev scheduler.Event) {
	if ev.Kind == scheduler.BatchFailed {
		for _, id := range m.running[ev.ID] {
			m.attempts[id]++
		}
	}
	delete(m.running, ev.ID)
}

// lose forgets what is under way on a device.
func (m *machine) lose(d scheduler.DeviceID) {
	m.future = slices.DeleteFunc(m.future, func(ev scheduler.Event) bool {
		if ev.Device == d && ev.Kind.Class() == scheduler.BatchFinished.Class() {
			ev.Kind = scheduler.BatchFailed
			m.settle(ev)
		}
		return ev.Device == d
	})
}

// Start makes the end of an effect a future fact.
func (m *machine) Start(ev scheduler.Event) error {
	end := scheduler.Event{ID: ev.ID, Model: ev.Model, Device: ev.Device}
	took, fails := scheduler.Time(0), false
	switch ev.Kind {
	case scheduler.MemberDispatched:
		m.members = append(m.members, ev.Item())
		return nil
	case scheduler.TimerSet:
		m.timers[ev.ID] = scheduler.Time(ev.Value)
		return nil
	case scheduler.BatchStarted:
		took, fails = m.batch(ev)
		end.Kind = scheduler.BatchFinished
	case scheduler.LoadStarted:
		took = m.truth(ev.Model).Load[ev.Tier()]
		fails = m.fails(m.w.LoadFailure, loadFault, random.Hash(m.w.Models[ev.Model].Name), uint64(m.loads[ev.Model]))
		m.loads[ev.Model]++
		end.Kind = scheduler.LoadFinished
	case scheduler.EvictStarted:
		took = m.truth(ev.Model).Unload
		end.Kind = scheduler.EvictFinished
	default:
		return fmt.Errorf("policytest: %v is no effect", ev.Kind)
	}
	if m.w.Fails != nil && ev.Kind != scheduler.EvictStarted && m.w.Fails(ev) {
		fails = true
	}
	if fails {
		end.Kind++ // the failure follows the success
		end.Value = int64(scheduler.FailureFault)
	}
	end.At, _ = scheduler.AddTime(ev.At, took)
	m.future = append(m.future, end)
	return nil
}

// batch returns what the members being put together take, and whether they fail.
func (m *machine) batch(ev scheduler.Event) (took scheduler.Time, fails bool) {
	work, lowest := int64(0), m.members[0]
	for _, id := range m.members {
		work += m.w.Items[id].ordinary()
		lowest = min(lowest, id)
	}
	cost := m.truth(ev.Model).Batch
	took = cost.Time(len(m.members), work)
	m.running[ev.ID] = slices.Clone(m.members)
	m.members = m.members[:0]
	return took, m.fails(m.w.BatchFailure, batchFault, uint64(lowest), m.attempts[lowest])
}

func (m *machine) truth(id scheduler.ModelID) *scheduler.Model {
	if m.w.Truth != nil {
		return &m.w.Truth[id]
	}
	return &m.w.Models[id]
}

// Purposes of the simulator's draws (package sim) that decide on failures.
const (
	loadFault  uint64 = 5
	batchFault uint64 = 6
)

// fails draws whether one of perMille in a thousand fails, by the simulator's
// key: seed, replicate 0, purpose and what is drawn for.
func (m *machine) fails(perMille int, purpose, a, b uint64) bool {
	return perMille > 0 && random.Uniform(random.Key(m.w.Seed, 0, purpose, a, b)) < float64(perMille)/1000
}
