package policytest

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/random"
)

// objective is what an adversary makes as large as it can.
type objective struct {
	name string
	// ratio says that the figure is one, not a number of items.
	ratio bool
	// figure returns the figure of a world, 0/1 if it has none.
	figure func(t *trial, w *World) (num, den int64)
}

func objectives() []objective {
	return []objective{
		{"max bypass", false, worstBypass},
		{"loads/opt", true, worstLoads},
		{"latency/bound", true, worstLatency},
	}
}

// worstBypass is how many items of other models became ready later than the
// most overtaken item and started before it.
func worstBypass(t *trial, w *World) (num, den int64) {
	o, ok := t.run(w, t.spec)
	if !ok {
		return 0, 1
	}
	return o.bypass(w), 1
}

// worstLoads compares with the fewest loads that are possible.
func worstLoads(t *trial, w *World) (num, den int64) {
	o, ok := t.run(w, t.spec)
	if !ok || !o.complete(w) {
		return 0, 1
	}
	least, err := w.optimum(policies.FewestLoads)
	if err != nil || least == 0 {
		return 0, 1
	}
	return int64(o.Loads), least
}

// worstLatency compares the sum of the latencies with its bound.
func worstLatency(t *trial, w *World) (num, den int64) {
	o, ok := t.run(w, t.spec)
	if !ok || !o.complete(w) {
		return 0, 1
	}
	bound := int64(w.Bounds().MeanLatency * 1e9 * float64(len(w.Items)))
	if bound <= 0 {
		return 0, 1
	}
	return int64(o.Latencies(w)), bound
}

// bypass is the metric max_bypass.
func (o *Outcome) bypass(w *World) (most int64) {
	ready, began := map[scheduler.ItemID]int{}, map[scheduler.ItemID]int{}
	for i, ev := range o.Events {
		switch ev.Kind {
		case scheduler.ItemArrived, scheduler.ItemReadied: // the latter if it had to wait for others
			ready[ev.Item()] = i
		case scheduler.MemberDispatched:
			if _, again := began[ev.Item()]; !again {
				began[ev.Item()] = i
			}
		}
	}
	for id, at := range began {
		passed := int64(0)
		for other, when := range began {
			if w.Items[other].Model != w.Items[id].Model && ready[other] > ready[id] && when < at {
				passed++
			}
		}
		most = max(most, passed)
	}
	return most
}

// optimum is what the best of all policies would achieve in w.
func (w *World) optimum(goal policies.Goal) (int64, error) {
	return policies.Optimum(policies.OptimumConfig{Models: w.Models, Devices: w.Devices, HostMemory: w.HostMemory}, w.Arrivals(), goal)
}

// less reports whether a/b < c/d, for numbers that are not negative.
func less(a, b, c, d int64) bool {
	highA, lowA := bits.Mul64(uint64(a), uint64(d))
	highC, lowC := bits.Mul64(uint64(c), uint64(b))
	return highA < highC || highA == highC && lowA < lowC
}

// weary is after how many evaluations without a gain an adversary begins anew.
const weary = 400

// climb searches the small worlds for the worst, by changes that do not make
// the figure better, beginning anew where none is found any more; the worst is
// then made small.
func (ob objective) climb(t *trial, cfg Config) Worst {
	worst := Worst{Objective: ob.name, Ratio: ob.ratio, Den: 1}
	d := &dice{random.NewStream(random.Key(cfg.Seed, random.Hash("adversary"), random.Hash(ob.name)))}
	var here *World
	num, den := int64(0), int64(1)
	for stale := weary; worst.Evaluations < cfg.Evaluations; worst.Evaluations++ {
		next := here
		if stale >= weary {
			next, num, den, stale = Draw(d.stream.Uint64(), Small()), 0, 1, 0
		} else if next = here.clone(); !d.change(next) {
			stale++
			continue
		}
		n, of := ob.figure(t, next)
		if less(n, of, num, den) {
			stale++
			continue
		}
		if stale++; less(num, den, n, of) {
			stale = 0
		}
		here, num, den = next, n, of
		if less(worst.Num, worst.Den, num, den) {
			worst.Num, worst.Den, worst.World = num, den, here
		}
	}
	if worst.World != nil {
		worst.World = Shrink(worst.World, shrinks/2, func(w *World) bool {
			n, of := ob.figure(t, w)
			if less(n, of, worst.Num, worst.Den) {
				return false
			}
			worst.Num, worst.Den = n, of
			return true
		})
	}
	return worst
}

// change changes one thing of a small world; false if nothing came of it.
func (d *dice) change(w *World) bool {
	i := d.below(len(w.Items))
	m := &w.Models[d.below(len(w.Models))]
	switch d.below(10) {
	case 0:
		w.Items[i].Model = scheduler.ModelID(d.below(len(w.Models)))
	case 1: // an item moves
		w.Items[i].At = w.Items[d.below(len(w.Items))].At + among(d, 0, 0, sec/2, sec, 7*sec)
		w.sortItems()
	case 2: // the end moves
		w.advance(i, -among(d, sec/2, sec, 7*sec))
	case 3:
		if len(w.Items) >= Small().Items {
			return false
		}
		w.Items = append(w.Items, Item{At: w.Items[i].At, Model: scheduler.ModelID(d.below(len(w.Models)))})
		w.sortItems()
	case 4:
		if len(w.Items) < 2 {
			return false
		}
		w.dropItems(i, 1)
	case 5:
		m.Bytes = gb * among[scheduler.Bytes](d, 1, 2, 3, 4, 5, 8)
		return w.sound()
	case 6:
		load := among(d, 0, sec, 2*sec, 5*sec, 20*sec)
		m.Load = [scheduler.Tiers]scheduler.Time{load, load}
	case 7:
		m.Batch.PerItem, m.Batch.Base, m.Batch.Max = among(d, sec, 2*sec, 10*sec), among(d, 0, sec), d.upTo(4)
	case 8:
		w.resize(0, gb*scheduler.Bytes(d.upTo(12)))
		return w.sound()
	case 9:
		if len(w.Models) >= Small().Models {
			return false
		}
		w.Models = append(w.Models, d.model(len(w.Models), Small()))
		w.Models[len(w.Models)-1].Name = w.unusedName()
		return w.sound()
	}
	return true
}

// unusedName is a name that no model of w has but perhaps the last.
func (w *World) unusedName() string {
	for i := 0; ; i++ {
		if !slices.ContainsFunc(w.Models[:len(w.Models)-1], func(m scheduler.Model) bool { return m.Name == name(i) }) {
			return name(i)
		}
	}
}

// sortItems puts items that moved into the order of their arrival. What they
// waited for, they wait for no more.
func (w *World) sortItems() {
	for i := range w.Items {
		w.Items[i].After = nil
	}
	slices.SortStableFunc(w.Items, func(a, b Item) int {
		if a.At < b.At {
			return -1
		} else if a.At > b.At {
			return 1
		}
		return 0
	})
}

// Figure writes the figure as tables do.
func (w *Worst) Figure() string {
	switch {
	case !w.Ratio:
		return fmt.Sprint(w.Num)
	case w.World == nil:
		return "none"
	}
	return fmt.Sprintf("%.2f", w.Value())
}

// Value is the figure as a number, 0 if there is none.
func (w *Worst) Value() float64 { return float64(w.Num) / float64(w.Den) }
