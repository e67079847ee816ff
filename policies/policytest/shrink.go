package policytest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vramsim/vramsim/scheduler"
)

// clone returns a copy that can be changed.
func (w *World) clone() *World {
	c := *w
	c.Models, c.Devices = slices.Clone(w.Models), slices.Clone(w.Devices)
	c.Items, c.Outages = slices.Clone(w.Items), slices.Clone(w.Outages)
	c.Foreign, c.Cancelled = slices.Clone(w.Foreign), slices.Clone(w.Cancelled)
	return &c
}

// sound reports whether w can be run: every model has a device, items and
// what is said of them are in order.
func (w *World) sound() bool {
	if len(w.Models) == 0 || len(w.Devices) == 0 || len(w.Items) == 0 {
		return false
	}
	for i := range w.Models {
		m := &w.Models[i]
		if !slices.ContainsFunc(w.Devices, func(d scheduler.Device) bool { return m.Bytes+m.Batch.Memory <= d.Budget }) {
			return false
		}
	}
	for i := 1; i < len(w.Items); i++ {
		if w.Items[i].At < w.Items[i-1].At {
			return false
		}
	}
	for _, c := range w.Cancelled {
		if int(c.Item) >= len(w.Items) || c.At <= w.Items[c.Item].At {
			return false
		}
	}
	return true
}

// Shrink returns a smaller world of which the predicate still holds, as it
// must of w: without items, dependencies, faults, devices and models that are
// not needed, models made one, numbers made small. It tries so many worlds at
// most.
func Shrink(w *World, tries int, holds func(*World) bool) *World {
	s := &shrinker{best: w.clone(), tries: tries, holds: holds}
	for before := ""; before != s.best.String() && s.tries > 0; {
		before = s.best.String()
		s.pass()
	}
	return s.best
}

type shrinker struct {
	best  *World
	tries int
	holds func(*World) bool
}

// try keeps a changed copy if it still holds.
func (s *shrinker) try(change func(*World)) bool {
	if s.tries <= 0 {
		return false
	}
	c := s.best.clone()
	change(c)
	if !c.sound() || c.String() == s.best.String() {
		return false
	}
	s.tries--
	if !s.holds(c) {
		return false
	}
	s.best = c
	return true
}

func (s *shrinker) pass() {
	for n := len(s.best.Items) / 2; n >= 1; n /= 2 {
		for i := len(s.best.Items) - n; i >= 0; i -= n {
			s.try(func(w *World) { w.dropItems(i, n) })
		}
	}
	s.try(func(w *World) { w.Outages, w.Foreign, w.Cancelled, w.LoadFailure, w.BatchFailure = nil, nil, nil, 0, 0 })
	s.try(func(w *World) { w.LoadFailure = 0 })
	s.try(func(w *World) { w.BatchFailure = 0 })
	s.try(func(w *World) { w.HostMemory = 0 })
	for i := len(s.best.Outages) - 1; i >= 0; i-- {
		s.try(func(w *World) { w.Outages = slices.Delete(w.Outages, i, i+1) })
	}
	for i := len(s.best.Foreign) - 1; i >= 0; i -= 2 { // what is taken is returned
		s.try(func(w *World) { w.Foreign = slices.Delete(w.Foreign, max(0, i-1), i+1) })
	}
	for i := len(s.best.Cancelled) - 1; i >= 0; i-- {
		s.try(func(w *World) { w.Cancelled = slices.Delete(w.Cancelled, i, i+1) })
	}
	for i := len(s.best.Devices) - 1; i >= 0; i-- {
		s.try(func(w *World) { w.dropDevice(scheduler.DeviceID(i)) })
	}
	for i := len(s.best.Models) - 1; i >= 0; i-- {
		s.try(func(w *World) { w.mergeModel(scheduler.ModelID(i)) })
	}
	s.items()
	s.numbers()
}

// items makes what is said of items less.
func (s *shrinker) items() {
	for i := range s.best.Items {
		for len(s.best.Items[i].After) > 0 && s.try(func(w *World) { w.Items[i].After = w.Items[i].After[1:] }) {
		}
		s.try(func(w *World) { w.Items[i] = Item{At: w.Items[i].At, Model: w.Items[i].Model, After: w.Items[i].After} })
		s.try(func(w *World) { w.Items[i].Deadline = 0 })
		s.try(func(w *World) { w.Items[i].Work = 0 })
		s.try(func(w *World) { w.Items[i].Tenant, w.Items[i].Job = 0, 0 })
		s.try(func(w *World) { w.Items[i].Priority = 0 })
		if i > 0 {
			s.try(func(w *World) { w.advance(i, w.Items[i].At-w.Items[i-1].At) })
		} else {
			s.try(func(w *World) { w.advance(0, w.Items[0].At) })
		}
		s.try(func(w *World) { w.advance(i, w.Items[i].At%sec) })
	}
}

// advance lets the items from i on arrive earlier.
func (w *World) advance(i int, by scheduler.Time) {
	for ; i < len(w.Items); i++ {
		w.Items[i].At -= by
		if w.Items[i].Deadline > by {
			w.Items[i].Deadline -= by
		}
	}
}

// numbers makes models and devices plain.
func (s *shrinker) numbers() {
	for i := range s.best.Models {
		for _, change := range []func(m *scheduler.Model){
			func(m *scheduler.Model) { m.Group = "" },
			func(m *scheduler.Model) { m.Batch.Memory = 0 },
			func(m *scheduler.Model) { m.Unload = 0 },
			func(m *scheduler.Model) { m.Batch.Base = 0 },
			func(m *scheduler.Model) { m.Batch.PerItem = sec },
			func(m *scheduler.Model) { m.Batch.Max = 1 },
			func(m *scheduler.Model) { m.Load = [scheduler.Tiers]scheduler.Time{} },
			func(m *scheduler.Model) { m.Load = [scheduler.Tiers]scheduler.Time{sec, sec} },
			func(m *scheduler.Model) { m.Bytes = gb },
		} {
			s.try(func(w *World) { change(&w.Models[i]) })
		}
	}
	for i := range s.best.Devices {
		s.try(func(w *World) { w.Devices[i].Slots = 1 })
		s.try(func(w *World) { w.resize(i, (w.Devices[i].Budget+gb-1)/gb*gb) })
		for s.try(func(w *World) { w.resize(i, w.Devices[i].Budget-gb) }) {
		}
	}
	s.try(func(w *World) { w.Seed = 0 })
}

func (w *World) resize(i int, budget scheduler.Bytes) {
	if budget > 0 {
		w.Devices[i].Memory, w.Devices[i].Budget = budget, budget
	}
}

// dropItems takes n items from i on out, and what is said of them.
func (w *World) dropItems(i, n int) {
	moved := func(id int) int {
		switch {
		case id < i:
			return id
		case id < i+n:
			return -1
		}
		return id - n
	}
	w.Items = slices.Delete(w.Items, i, i+n)
	for j := range w.Items {
		var after []int
		for _, on := range w.Items[j].After {
			if on = moved(on); on >= 0 {
				after = append(after, on)
			}
		}
		w.Items[j].After = after
	}
	var cancelled []Cancellation
	for _, c := range w.Cancelled {
		if id := moved(int(c.Item)); id >= 0 {
			cancelled = append(cancelled, Cancellation{scheduler.ItemID(id), c.At})
		}
	}
	w.Cancelled = cancelled
}

func (w *World) dropDevice(d scheduler.DeviceID) {
	w.Devices = slices.Delete(w.Devices, int(d), int(d)+1)
	w.Outages = slices.DeleteFunc(w.Outages, func(o Outage) bool { return o.Device == d })
	w.Foreign = slices.DeleteFunc(w.Foreign, func(f Foreign) bool { return f.Device == d })
	for i := range w.Outages {
		if w.Outages[i].Device > d {
			w.Outages[i].Device--
		}
	}
	for i := range w.Foreign {
		if w.Foreign[i].Device > d {
			w.Foreign[i].Device--
		}
	}
}

// mergeModel gives the items of a model to the one before it.
func (w *World) mergeModel(m scheduler.ModelID) {
	w.Models = slices.Delete(w.Models, int(m), int(m)+1)
	for i := range w.Items {
		if w.Items[i].Model >= m && w.Items[i].Model > 0 {
			w.Items[i].Model--
		}
	}
}

// String writes the world in a few words, all that matters of it.
func (w *World) String() string {
	var b strings.Builder
	for i, d := range w.Devices {
		fmt.Fprintf(&b, "%s%v", separator(i, "GPUs of "), d.Budget)
		if d.Slots > 1 {
			fmt.Fprintf(&b, " (%d slots)", d.Slots)
		}
	}
	if w.HostMemory > 0 {
		fmt.Fprintf(&b, ", host %v", w.HostMemory)
	}
	for i := range w.Models {
		b.WriteString(separator(i, "; models ") + describe(&w.Models[i]))
	}
	for i := range w.Items {
		fmt.Fprintf(&b, "%s%s@%v", separator(i, "; items "), w.Models[w.Items[i].Model].Name, w.Items[i].At)
		b.WriteString(w.Items[i].tags())
	}
	for _, o := range w.Outages {
		fmt.Fprintf(&b, "; GPU %d lost %v to %v", o.Device, o.From, o.Until)
	}
	for _, f := range w.Foreign {
		fmt.Fprintf(&b, "; others hold %v of GPU %d from %v", f.Bytes, f.Device, f.At)
	}
	for _, c := range w.Cancelled {
		fmt.Fprintf(&b, "; item %d cancelled at %v", c.Item, c.At)
	}
	if w.LoadFailure > 0 || w.BatchFailure > 0 {
		fmt.Fprintf(&b, "; of 1000 loads %d fail, of batches %d", w.LoadFailure, w.BatchFailure)
	}
	if w.Seed != 0 {
		fmt.Fprintf(&b, "; seed %d", w.Seed)
	}
	return b.String()
}

func separator(i int, first string) string {
	if i == 0 {
		return first
	}
	return ", "
}

func describe(m *scheduler.Model) string {
	s := fmt.Sprintf("%s %v load %v", m.Name, m.Bytes, m.Load[scheduler.TierDisk])
	if m.Load[scheduler.TierHost] != m.Load[scheduler.TierDisk] {
		s += fmt.Sprintf("/%v", m.Load[scheduler.TierHost])
	}
	if m.Unload > 0 {
		s += fmt.Sprintf(" unload %v", m.Unload)
	}
	s += fmt.Sprintf(" batch %d·%v", m.Batch.Max, m.Batch.PerItem)
	if m.Batch.Base > 0 {
		s += fmt.Sprintf("+%v", m.Batch.Base)
	}
	if m.Batch.Memory > 0 {
		s += fmt.Sprintf(" of %v", m.Batch.Memory)
	}
	if m.Group != "" {
		s += " in " + m.Group
	}
	return s
}

func (it *Item) tags() string {
	s := ""
	if len(it.After) > 0 {
		s += strings.ReplaceAll(fmt.Sprint("<", it.After), " ", ",")
	}
	if it.Priority != 0 {
		s += fmt.Sprintf(" priority %d", it.Priority)
	}
	if it.Deadline > 0 {
		s += fmt.Sprintf(" due %v", it.Deadline)
	}
	if it.Work > 0 {
		s += fmt.Sprintf(" work %d", it.Work)
	}
	if it.Tenant > 0 {
		s += fmt.Sprintf(" tenant %d", it.Tenant)
	}
	if it.Job > 0 {
		s += fmt.Sprintf(" job %d", it.Job)
	}
	return s
}
