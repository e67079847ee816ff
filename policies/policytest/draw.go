package policytest

import (
	"slices"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/random"
)

// Shape says what random worlds may have in them.
type Shape struct {
	Models, Items, Devices int  // at most
	Slots                  int  // of a device, at most
	Unload                 bool // evictions may take time
	Memory                 bool // batches may need memory of their own
	Host                   bool // evicted weights may stay warm
	DAG                    bool // items may wait for others
	Tags                   bool // deadlines, work, jobs, tenants
	Priority               bool // more than one
	Faults                 bool // failures, outages, foreign memory, cancellations
	Ticks                  bool // a nanosecond counts: ties are just missed
	Even                   bool // sizes are powers of two, so that times divide by them
}

// Hostile is everything at once.
func Hostile() Shape {
	return Shape{Models: 6, Items: 30, Devices: 3, Slots: 2, Unload: true, Memory: true, Host: true, DAG: true, Tags: true, Priority: true, Faults: true, Ticks: true}
}

// Fair is what contracts are about: one priority, no faults.
func Fair() Shape {
	return Shape{Models: 6, Items: 30, Devices: 2, Slots: 2, Unload: true, Memory: true, Host: true, DAG: true, Tags: true, Ticks: true}
}

// Alone is one device with one slot, without host tier and activation memory,
// and times in half seconds.
func Alone() Shape {
	return Shape{Models: 6, Items: 30, Devices: 1, Slots: 1, Unload: true, DAG: true, Tags: true}
}

// Small is what the optimum can be found of.
func Small() Shape {
	return Shape{Models: 4, Items: 12, Devices: 1, Slots: 1, Unload: true, DAG: true}
}

const (
	sec = scheduler.Second
	gb  = scheduler.GB
)

// dice draws what random worlds are made of.
type dice struct{ stream random.Stream }

// below returns an integer from 0 to n−1.
func (d *dice) below(n int) int { return int(d.stream.Uint64() % uint64(n)) }

// upTo returns an integer from 1 to n.
func (d *dice) upTo(n int) int { return 1 + d.below(n) }

// one in n times.
func (d *dice) oneIn(n int) bool { return d.below(n) == 0 }

// among returns one of the values.
func among[T any](d *dice, values ...T) T { return values[d.below(len(values))] }

// Draw makes the random world of a shape that belongs to a key. Sizes, times
// and budgets are biased to ties and to boundaries.
func Draw(key uint64, s Shape) *World {
	d := &dice{random.NewStream(key)}
	w := &World{Seed: uint64(d.below(4))}
	for i := range d.upTo(s.Models) {
		w.Models = append(w.Models, d.model(i, s))
	}
	d.devices(w, s)
	if s.Host && d.oneIn(3) {
		w.HostMemory = gb * among[scheduler.Bytes](d, 2, 5, 10)
	}
	d.items(w, s)
	if s.Faults {
		d.faults(w)
	}
	return w
}

// name is that of the i-th model.
func name(i int) string { return string(rune('a' + i)) }

func (d *dice) model(i int, s Shape) scheduler.Model {
	m := scheduler.Model{Name: name(i), Bytes: gb * among[scheduler.Bytes](d, 1, 2, 3, 4, 5, 8), Group: among(d, "", "x", "y")}
	if s.Even {
		m.Bytes = gb * among[scheduler.Bytes](d, 1, 2, 4, 8)
	}
	load := among(d, 0, sec, 2*sec, 5*sec)
	if s.Ticks && d.oneIn(4) {
		load = 1
	}
	m.Load = [scheduler.Tiers]scheduler.Time{load, load}
	if s.Host {
		m.Load[scheduler.TierHost] = among(d, load, load/4)
	}
	m.Batch = scheduler.BatchCost{Max: d.upTo(4), Base: among(d, 0, sec), PerItem: among(d, sec, 2*sec)}
	if s.Ticks && d.oneIn(3) {
		m.Batch.PerItem = 1
	}
	if s.Unload {
		m.Unload = among(d, 0, 0, sec, 3*sec)
	}
	if s.Memory && d.oneIn(4) {
		m.Batch.Memory = gb
	}
	return m
}

// devices draws the machine; its first device takes every model.
func (d *dice) devices(w *World, s Shape) {
	need := scheduler.Bytes(0)
	for i := range w.Models {
		need = max(need, w.Models[i].Bytes+w.Models[i].Batch.Memory)
	}
	for i := range d.upTo(s.Devices) {
		budget := among(d, need, need, need+1, need+gb, need+3*gb, 9*gb, 10*gb, 12*gb)
		if i == 0 {
			budget = max(budget, need)
		}
		dev := scheduler.Device{Name: "gpu" + string(rune('0'+i)), Memory: budget, Budget: budget, Slots: 1}
		if s.Slots > 1 && d.oneIn(3) {
			dev.Slots = 2
		}
		w.Devices = append(w.Devices, dev)
	}
}

func (d *dice) items(w *World, s Shape) {
	at := scheduler.Time(0)
	for i := range d.upTo(s.Items) {
		gap := among(d, 0, 0, 0, sec/2, sec, 7*sec)
		if s.Ticks && d.oneIn(6) {
			gap = 1
		}
		at += gap
		it := Item{At: at, Model: scheduler.ModelID(d.below(len(w.Models)))}
		if s.Priority {
			it.Priority = int32(d.below(3) - 1)
		}
		if s.Tags {
			it.Work = among[int64](d, 0, 0, 500_000, 2_500_000)
			it.Tenant = int64(d.below(3))
			it.Job = among(d, 0, 1+i/3)
			if d.oneIn(3) {
				it.Deadline = at + among(d, sec/2, 3*sec, 20*sec)
			}
		}
		for s.DAG && i > 0 && d.oneIn(4) && len(it.After) < 3 {
			if on := d.below(i); !slices.Contains(it.After, on) {
				it.After = append(it.After, on)
			}
		}
		w.Items = append(w.Items, it)
	}
}

// faults draws what goes wrong. Devices and memory come back, so that
// everything can end; loads and batches that fail are tried so often.
func (d *dice) faults(w *World) {
	w.LoadFailure, w.BatchFailure = among(d, 0, 0, 100, 300), among(d, 0, 0, 100, 300)
	last := w.Items[len(w.Items)-1].At + 10*sec
	for i := range w.Devices {
		if d.oneIn(3) {
			from := d.within(last)
			w.Outages = append(w.Outages, Outage{Device: scheduler.DeviceID(i), From: from, Until: from + 1 + d.within(10*sec)})
		}
		if d.oneIn(3) {
			at := d.within(last)
			bytes := w.Devices[i].Budget/2*among[scheduler.Bytes](d, 0, 1, 2) + 1
			w.Foreign = append(w.Foreign, Foreign{scheduler.DeviceID(i), at, bytes}, Foreign{Device: scheduler.DeviceID(i), At: at + 1 + d.within(10*sec)})
		}
	}
	for range d.below(3) {
		item := d.below(len(w.Items))
		w.Cancelled = append(w.Cancelled, Cancellation{Item: scheduler.ItemID(item), At: w.Items[item].At + 1 + d.within(10*sec)})
	}
}

// within draws a time up to t, mostly in half seconds so that it meets others.
func (d *dice) within(t scheduler.Time) scheduler.Time {
	if d.oneIn(4) {
		return scheduler.Time(d.stream.Uint64() % uint64(t))
	}
	return scheduler.Time(d.below(int(t/(sec/2)))) * (sec / 2)
}
