package coretest

import (
	"fmt"
	"slices"

	"pgregory.net/rapid"

	"github.com/vramsim/vramsim/scheduler"
)

// LastTenant is the tenant of the item after which nothing fails any more.
const LastTenant = 999

// world makes random facts for core and model.
type world struct {
	t        *rapid.T
	cfg      scheduler.Config
	scale    Scale
	now      scheduler.Time
	arrived  int64
	promised int64 // the highest id that an item depends on
	flights  []scheduler.Event
	timers   [2]scheduler.Time
	down     []bool
	quiet    bool // no more arrivals and faults
	healed   bool
	keys     []int32
	models   []scheduler.ModelID // of the first items, if they are known
	forward  bool
	sameTime int
	ties     int
	zeros    int
}

func (w *world) start(events []scheduler.Event) {
	for _, ev := range events {
		switch ev.Kind {
		case scheduler.BatchStarted, scheduler.LoadStarted, scheduler.EvictStarted:
			w.flights = append(w.flights, ev)
		case scheduler.TimerSet:
			w.timers[ev.ID] = scheduler.Time(ev.Value)
		}
	}
}

func (w *world) chance(name string, percent int) bool {
	return rapid.IntRange(0, 99).Draw(w.t, name) < percent
}

// next makes the facts of one step, or none if nothing happened.
func (w *world) next(m *model) []scheduler.Event {
	tick := w.scale.Time
	step := rapid.SampledFrom([]scheduler.Time{0, 0, 1, tick, 2 * tick, 7 * tick, 1000 * tick}).Draw(w.t, "dt")
	switch w.sameTime++; {
	case w.quiet:
		step = max(step, tick)
	case step > 0 || w.sameTime > 4:
		step, w.sameTime = max(step, 1), 0
	}
	w.now += step
	var facts []scheduler.Event
	add := func(ev scheduler.Event) {
		ev.At = w.now
		facts = append(facts, ev)
	}
	w.completions(add)
	if !w.quiet {
		w.faults(add, m)
		w.arrivals(add, m)
	} else {
		w.heal(add)
	}
	for id, at := range w.timers {
		if at <= w.now {
			w.timers[id] = scheduler.Never
			add(scheduler.Event{Kind: scheduler.TimerFired, ID: int64(id), Model: scheduler.NoModel, Device: scheduler.NoDevice})
		}
	}
	classes := map[int]bool{}
	for _, ev := range facts {
		classes[ev.Kind.Class()] = true
	}
	if len(classes) > 1 {
		w.ties++
	}
	return facts
}

func (w *world) completions(add func(scheduler.Event)) {
	slices.SortFunc(w.flights, func(a, b scheduler.Event) int {
		return 2*(rank(a.Kind)-rank(b.Kind)) + sign(a.ID-b.ID)
	})
	percent := rapid.SampledFrom([]int{0, 50, 100}).Draw(w.t, "completing")
	if w.quiet {
		percent = 100
	}
	var left []scheduler.Event
	for _, f := range w.flights {
		if !w.chance("ends", percent) {
			left = append(left, f)
			continue
		}
		if f.At == w.now {
			w.zeros++
		}
		fails := !w.quiet && w.chance("fails", 20)
		finished, failed := outcome(f.Kind)
		ev := scheduler.Event{Kind: finished, ID: f.ID, Model: f.Model, Device: f.Device}
		if fails {
			ev.Kind, ev.Value = failed, int64(rapid.SampledFrom([]scheduler.Failure{scheduler.FailureOOM, scheduler.FailureLost, scheduler.FailureFault}).Draw(w.t, "why"))
		}
		add(ev)
	}
	w.flights = left
}

func rank(k scheduler.Kind) int { f, _ := outcome(k); return f.Class() }

func sign(x int64) int {
	switch {
	case x < 0:
		return -1
	case x > 0:
		return 1
	}
	return 0
}

func outcome(k scheduler.Kind) (finished, failed scheduler.Kind) {
	switch k {
	case scheduler.BatchStarted:
		return scheduler.BatchFinished, scheduler.BatchFailed
	case scheduler.LoadStarted:
		return scheduler.LoadFinished, scheduler.LoadFailed
	}
	return scheduler.EvictFinished, scheduler.EvictFailed
}

func (w *world) faults(add func(scheduler.Event), m *model) {
	for d := range w.cfg.Devices {
		device := scheduler.DeviceID(d)
		switch {
		case w.down[d] && w.chance("up", 40):
			w.down[d] = false
			add(scheduler.Event{Kind: scheduler.DeviceUp, Device: device, Model: scheduler.NoModel})
		case !w.down[d] && w.chance("down", 3):
			w.lose(add, device)
		}
	}
	if w.chance("foreign", 5) {
		d := rapid.IntRange(0, len(w.cfg.Devices)-1).Draw(w.t, "foreign device")
		budget := int64(w.cfg.Devices[d].Budget)
		bytes := rapid.SampledFrom([]int64{0, 0, 1, budget / 2, budget, budget + 1, 1<<63 - 1}).Draw(w.t, "foreign bytes")
		add(scheduler.Event{Kind: scheduler.MemoryObserved, Device: scheduler.DeviceID(d), Value: bytes, Model: scheduler.NoModel})
	}
	if m.arrivals > 0 && w.chance("cancel", 10) {
		id := rapid.Int64Range(max(0, m.arrivals-8), m.arrivals-1).Draw(w.t, "cancelled")
		add(scheduler.Event{Kind: scheduler.ItemCancelled, ID: id, Model: scheduler.NoModel, Device: scheduler.NoDevice})
	}
}

func (w *world) lose(add func(scheduler.Event), d scheduler.DeviceID) {
	w.down[d] = true
	w.flights = slices.DeleteFunc(w.flights, func(f scheduler.Event) bool { return f.Device == d })
	add(scheduler.Event{Kind: scheduler.DeviceDown, Device: d, Model: scheduler.NoModel})
}

// heal ends all faults, and lets what is waited for arrive.
func (w *world) heal(add func(scheduler.Event)) {
	for d := range w.cfg.Devices {
		if w.down[d] {
			w.down[d] = false
			add(scheduler.Event{Kind: scheduler.DeviceUp, Device: scheduler.DeviceID(d), Model: scheduler.NoModel})
		}
	}
	for d := range w.cfg.Devices {
		add(scheduler.Event{Kind: scheduler.MemoryObserved, Device: scheduler.DeviceID(d), Model: scheduler.NoModel})
	}
	for !w.healed || w.arrived <= w.promised {
		w.healed = true
		add(scheduler.Event{Kind: scheduler.ItemArrived, ID: w.arrived, Device: scheduler.NoDevice, Value: scheduler.PackArrival(0, 1)})
		add(scheduler.Event{Kind: scheduler.ItemTenant, ID: w.arrived, Device: scheduler.NoDevice, Model: scheduler.NoModel, Value: LastTenant})
		w.arrived++
	}
}

func (w *world) arrivals(add func(scheduler.Event), m *model) {
	n := rapid.SampledFrom([]int{0, 0, 0, 1, 1, 2, 5}).Draw(w.t, "arriving")
	for range n {
		id := w.arrived
		attributes := w.attributes(id, m)
		add(scheduler.Event{Kind: scheduler.ItemArrived, ID: id, Device: scheduler.NoDevice,
			Model: w.modelOf(id),
			Value: scheduler.PackArrival(rapid.SampledFrom(w.keys).Draw(w.t, "priority"), len(attributes))})
		for _, ev := range attributes {
			ev.ID, ev.Device, ev.Model = id, scheduler.NoDevice, scheduler.NoModel
			add(ev)
		}
		w.arrived++
	}
}

func (w *world) attributes(id int64, m *model) []scheduler.Event {
	var evs []scheduler.Event
	if w.chance("in a job", 40) {
		evs = append(evs, scheduler.Event{Kind: scheduler.ItemJob, Value: id / 3})
	}
	if w.chance("due", 30) {
		evs = append(evs, scheduler.Event{Kind: scheduler.ItemDeadline, Value: int64(w.now) + int64(w.scale.Time)*rapid.Int64Range(-3, 20).Draw(w.t, "deadline")})
	}
	if w.chance("of other work", 30) {
		evs = append(evs, scheduler.Event{Kind: scheduler.ItemWork, Value: rapid.Int64Range(1, 3*scheduler.WorkUnit).Draw(w.t, "work")})
	}
	if w.chance("of a tenant", 10) {
		evs = append(evs, scheduler.Event{Kind: scheduler.ItemTenant, Value: rapid.Int64Range(0, 2).Draw(w.t, "tenant")})
	}
	for w.chance("dependent", 35) {
		on := rapid.Int64Range(max(0, id-6), id).Draw(w.t, "on")
		if on == id {
			if on++; !w.forward {
				break
			}
			on += rapid.Int64Range(0, 3).Draw(w.t, "ahead")
			w.promised = max(w.promised, on)
		}
		evs = append(evs, scheduler.Event{Kind: scheduler.ItemDependsOn, Value: on})
		if w.chance("twice", 5) && (on >= id || m.items[scheduler.ItemID(on)] != nil) {
			evs = append(evs, evs[len(evs)-1])
		}
	}
	return evs
}

// modelOf returns the model of an item yet to arrive.
func (w *world) modelOf(id int64) scheduler.ModelID {
	if id < int64(len(w.models)) {
		return w.models[id]
	}
	return drawModel(w.t, &w.cfg)
}

func drawModel(t *rapid.T, cfg *scheduler.Config) scheduler.ModelID {
	return scheduler.ModelID(rapid.IntRange(0, len(cfg.Models)-1).Draw(t, "model"))
}

// DrawModels draws the models of the first n items, for policies that are told
// the future.
func DrawModels(t *rapid.T, cfg *scheduler.Config, n int) []scheduler.ModelID {
	models := make([]scheduler.ModelID, n)
	for i := range models {
		models[i] = drawModel(t, cfg)
	}
	return models
}

// Scale is the order of magnitude of sizes and times in a world.
type Scale struct {
	Bytes scheduler.Bytes
	Time  scheduler.Time
}

// DrawConfig draws a small machine whose budgets sit at the boundaries: what
// exactly fits, and one byte less. Policy, evictor, estimator and order are
// left to the caller.
func DrawConfig(t *rapid.T, scale Scale) scheduler.Config {
	sizes := rapid.SampledFrom([][]scheduler.Bytes{{1, 1, 2, 3}, {5, 5, 5, 5}, {3, 4, 7, 10}, {1, 8, 9, 16}, {2, 3, 4, 6}}).Draw(t, "sizes")
	n := rapid.SampledFrom([]int{1, 2, 3, 3, 4, 4}).Draw(t, "models")
	cfg := scheduler.Config{Attempts: rapid.IntRange(0, 3).Draw(t, "attempts"), Checked: true}
	unit, tick := scale.Bytes, scale.Time
	need, all := scheduler.Bytes(0), scheduler.Bytes(0)
	for i := range n {
		m := scheduler.Model{Name: fmt.Sprint("m", i), Bytes: sizes[i] * unit, Load: [scheduler.Tiers]scheduler.Time{9 * tick, 2 * tick}, Unload: 3 * tick,
			Group: [...]string{"x", "", "x", "y"}[i],
			Batch: scheduler.BatchCost{Max: rapid.IntRange(1, 4).Draw(t, "batch"), Base: 5 * tick, PerItem: 2 * tick, Memory: unit * scheduler.Bytes(rapid.IntRange(0, 2).Draw(t, "memory"))}}
		if rapid.Bool().Draw(t, "times") {
			m.Batch.Times = []scheduler.Time{4 * tick, 6 * tick, 11 * tick}
		}
		cfg.Models = append(cfg.Models, m)
		need = max(need, m.Bytes+m.Batch.Memory)
		all += m.Bytes
	}
	first := sizes[0] * unit
	for i := range rapid.SampledFrom([]int{1, 1, 2, 3}).Draw(t, "devices") {
		budget := rapid.SampledFrom([]scheduler.Bytes{need, need, need + 1, need + first, need + first, all - 1, all, all + 1, all + 4*unit}).Draw(t, "budget")
		if i == 0 {
			budget = max(budget, need)
		}
		cfg.Devices = append(cfg.Devices, scheduler.Device{Name: fmt.Sprint("gpu", i), Memory: budget + 5*unit, Budget: max(budget, 1), Slots: rapid.SampledFrom([]int{1, 1, 1, 2, 3}).Draw(t, "slots"),
			Down: rapid.IntRange(0, 9).Draw(t, "down at first") == 0})
	}
	cfg.HostMemory = rapid.SampledFrom([]scheduler.Bytes{0, first, need - 1, need, all}).Draw(t, "host memory")
	cfg.KeepFailed = rapid.SampledFrom([]int{0, 0, 2}).Draw(t, "keep failed")
	return cfg
}

// drawPriorities draws the priorities that items may have.
func drawPriorities(t *rapid.T, crowds bool) []int32 {
	least := 2
	if crowds {
		least = 0
	}
	switch rapid.IntRange(least, 19).Draw(t, "priorities") {
	case 0, 1:
		var keys []int32
		for i := range int32(80) {
			keys = append(keys, i*i*7919%401-200)
		}
		return keys
	case 2, 3, 4, 5, 6, 7:
		return []int32{-2147483648, -1, 0, 1, 2147483647}
	}
	return []int32{0}
}

// burst makes one item of each priority arrive at once, for one model.
func (w *world) burst() []scheduler.Event {
	var facts []scheduler.Event
	for _, priority := range w.keys {
		facts = append(facts, scheduler.Event{At: w.now, Kind: scheduler.ItemArrived, ID: w.arrived, Device: scheduler.NoDevice,
			Value: scheduler.PackArrival(priority, 0)})
		w.arrived++
	}
	return facts
}
