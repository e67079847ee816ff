package calibrate

import (
	"slices"

	"github.com/vramsim/vramsim/scheduler"
)

// Collector gathers observations from the events of runs, simulated or real:
// durations are from decision to fact. It is a scheduler.Sink. Begin a run
// with Run; several may follow each other.
type Collector struct {
	models []Observations // in order of their first run
	byName map[string]int

	ids     []int // of the run's models, in models
	begun   map[int64]begun
	used    map[used]bool
	running map[scheduler.DeviceID]int
	odd     map[scheduler.ItemID]bool // items of more or less than ordinary work, until they are done
	members []scheduler.ItemID        // dispatched, of the batch that follows
	due     [2]scheduler.Time         // of the timers

	late []scheduler.Time
	// Skipped counts batches with items whose work is not ordinary: their time
	// says nothing of their size.
	Skipped int64
}

type used struct {
	device scheduler.DeviceID
	model  scheduler.ModelID
}

// begun is an effect in flight.
type begun struct {
	at     scheduler.Time
	kind   scheduler.Kind
	device scheduler.DeviceID
	tier   scheduler.Tier
	first  bool               // load on its device since that came up
	busy   bool               // eviction while a batch runs
	size   int                // of a batch
	odd    []scheduler.ItemID // its members of other than ordinary work
}

// Run begins a run of models, in the order of their ids. Models of one name
// are one model in all runs; what is known of them is taken from the latest.
func (c *Collector) Run(models []scheduler.Model) {
	if c.byName == nil {
		c.byName = map[string]int{}
	}
	c.ids = c.ids[:0]
	for i := range models {
		m := &models[i]
		at, known := c.byName[m.Name]
		if !known {
			at = len(c.models)
			c.byName[m.Name] = at
			c.models = append(c.models, Observations{Name: m.Name})
		}
		o := &c.models[at]
		if m.Bytes > 0 {
			o.Bytes, o.MaxBatch, o.BatchMemory = m.Bytes, m.Batch.Max, m.Batch.Memory
		}
		c.ids = append(c.ids, at)
	}
	c.begun, c.used = map[int64]begun{}, map[used]bool{}
	c.running, c.odd = map[scheduler.DeviceID]int{}, map[scheduler.ItemID]bool{}
	c.members, c.due = nil, [2]scheduler.Time{scheduler.Never, scheduler.Never}
}

// Models returns what was observed, of models of which anything was.
func (c *Collector) Models() []Observations {
	return slices.DeleteFunc(slices.Clone(c.models), func(o Observations) bool {
		loads := 0
		for t := range o.Load {
			loads += len(o.Load[t]) + len(o.FirstLoad[t])
		}
		return loads+len(o.Unload)+len(o.UnloadBusy)+len(o.Batches) == 0
	})
}

// Lateness returns by how much each timer fired after it was due: nothing in a
// simulation, what the host's clock costs on a machine.
func (c *Collector) Lateness() []scheduler.Time { return c.late }

// Append takes the next events of the run.
func (c *Collector) Append(events []scheduler.Event) error {
	for i := range events {
		c.append(&events[i])
	}
	return nil
}

func (c *Collector) append(ev *scheduler.Event) {
	switch ev.Kind {
	case scheduler.ItemWork:
		if ev.Value != scheduler.WorkUnit {
			c.odd[ev.Item()] = true
		}
	case scheduler.MemberDispatched:
		c.members = append(c.members, ev.Item())
	case scheduler.BatchStarted, scheduler.LoadStarted, scheduler.EvictStarted:
		c.begin(ev)
	case scheduler.BatchFinished, scheduler.BatchFailed, scheduler.LoadFinished, scheduler.LoadFailed, scheduler.EvictFinished, scheduler.EvictFailed:
		c.end(ev)
	case scheduler.DeviceDown:
		c.lose(ev.Device)
	case scheduler.ItemCancelled, scheduler.ItemRejected, scheduler.DependantCancelled, scheduler.ItemFailed:
		delete(c.odd, ev.Item())
	case scheduler.TimerSet:
		c.due[ev.ID&1] = scheduler.Time(ev.Value)
	case scheduler.TimerFired:
		if due := c.due[ev.ID&1]; due <= ev.At {
			c.late = append(c.late, ev.At-due)
		}
	}
}

func (c *Collector) begin(ev *scheduler.Event) {
	b := begun{at: ev.At, kind: ev.Kind, device: ev.Device}
	switch ev.Kind {
	case scheduler.LoadStarted:
		key := used{ev.Device, ev.Model}
		b.tier, b.first = ev.Tier(), !c.used[key]
		c.used[key] = true
	case scheduler.EvictStarted:
		b.busy = c.running[ev.Device] > 0
	case scheduler.BatchStarted:
		c.running[ev.Device]++
		b.size = ev.Members()
		for _, id := range c.members {
			if c.odd[id] {
				b.odd = append(b.odd, id)
			}
		}
		c.members = c.members[:0]
	}
	c.begun[ev.ID] = b
}

func (c *Collector) end(ev *scheduler.Event) {
	b, ok := c.begun[ev.ID]
	if !ok {
		return
	}
	delete(c.begun, ev.ID)
	if b.kind == scheduler.BatchStarted {
		c.running[b.device]--
	}
	took, o := ev.At-b.at, &c.models[c.ids[ev.Model]]
	switch {
	case ev.Kind == scheduler.LoadFinished && b.first:
		o.FirstLoad[b.tier] = append(o.FirstLoad[b.tier], took)
	case ev.Kind == scheduler.LoadFinished:
		o.Load[b.tier] = append(o.Load[b.tier], took)
	case ev.Kind == scheduler.EvictFinished && b.busy:
		o.UnloadBusy = append(o.UnloadBusy, took)
	case ev.Kind == scheduler.EvictFinished:
		o.Unload = append(o.Unload, took)
	case ev.Kind == scheduler.BatchFinished && len(b.odd) == 0:
		o.addBatch(b.size, took)
	case ev.Kind == scheduler.BatchFinished:
		c.Skipped++
		for _, id := range b.odd {
			delete(c.odd, id)
		}
	}
}

// lose forgets a device with all in flight and used there.
func (c *Collector) lose(d scheduler.DeviceID) {
	for id, b := range c.begun {
		if b.device == d {
			delete(c.begun, id)
		}
	}
	for u := range c.used {
		if u.device == d {
			delete(c.used, u)
		}
	}
	c.running[d] = 0
}
