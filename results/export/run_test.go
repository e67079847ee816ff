package export

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"testing"

	"github.com/vramsim/vramsim/scheduler"
)

const second = scheduler.Second

// config has three models and two devices that hold one each.
func config() scheduler.Config {
	model := func(name string) scheduler.Model {
		return scheduler.Model{Name: name, Bytes: 5 * scheduler.GB, Batch: scheduler.BatchCost{Max: 4, Memory: 100 * scheduler.MB, Base: second, PerItem: second},
			Load: [scheduler.Tiers]scheduler.Time{5 * second, second}, Unload: second}
	}
	return scheduler.Config{Models: []scheduler.Model{model("whisper"), model("=qwen"), model("clip")},
		Devices: []scheduler.Device{{Name: "gpu0", Memory: 10 * scheduler.GB, Budget: 9 * scheduler.GB, Slots: 2}, {Name: "gpu1", Memory: 10 * scheduler.GB, Budget: 9 * scheduler.GB, Slots: 1}},
		Policy:  greedy{}, Evictor: greedy{}, Attempts: 2, Waits: true, Checked: true}
}

// greedy runs what it can and loads what it cannot.
type greedy struct{}

func (greedy) Next(v *scheduler.View) scheduler.Decision {
	for m := v.NextReady(0); m != scheduler.NoModel; m = v.NextReady(m + 1) {
		for d := range scheduler.DeviceID(v.Devices()) {
			if n := v.Fits(d, m); n > 0 {
				return scheduler.Run(d, m, n)
			}
		}
		home := scheduler.DeviceID(int(m) % v.Devices())
		if v.State(home, m) == scheduler.Absent && v.Loadable(home, m) {
			return scheduler.Load(home, m)
		}
	}
	return scheduler.Decision{}
}

func (greedy) Victim(v *scheduler.View, d scheduler.DeviceID, _ scheduler.Bytes, _ scheduler.ModelID) (scheduler.ModelID, bool) {
	for _, m := range v.Residents(d) {
		if v.Evictable(d, m) {
			return m, true
		}
	}
	return 0, false
}

// world completes every effect after a fixed time; every seventh batch and
// fifth load fails.
type world struct {
	now      scheduler.Time
	due      []scheduler.Event
	arrivals [][]scheduler.Event
	batches  int
	loads    int
}

func (w *world) Next() ([]scheduler.Event, error) {
	at := scheduler.Never
	if len(w.due) > 0 {
		at = w.due[0].At
	}
	if len(w.arrivals) > 0 {
		at = min(at, w.arrivals[0][0].At)
	}
	if at == scheduler.Never {
		return nil, io.EOF
	}
	w.now = at
	var facts []scheduler.Event
	for len(w.due) > 0 && w.due[0].At == at {
		facts, w.due = append(facts, w.due[0]), w.due[1:]
	}
	if len(w.arrivals) > 0 && w.arrivals[0][0].At == at {
		facts = append(facts, w.arrivals[0]...)
		w.arrivals = w.arrivals[1:]
	}
	slices.SortStableFunc(facts, func(a, b scheduler.Event) int { return cmp.Compare(a.Kind.Class(), b.Kind.Class()) })
	return facts, nil
}

func (w *world) Start(ev scheduler.Event) error {
	done := scheduler.Event{ID: ev.ID, Model: ev.Model, Device: ev.Device}
	switch ev.Kind {
	case scheduler.BatchStarted:
		w.batches++
		done.Kind, done.At = scheduler.BatchFinished, w.now+ev.Estimate()
		if w.batches%7 == 0 {
			done.Kind, done.Value = scheduler.BatchFailed, int64(scheduler.FailureOOM)
		}
	case scheduler.LoadStarted:
		w.loads++
		done.Kind, done.At = scheduler.LoadFinished, w.now+ev.Estimate()
		if w.loads%5 == 0 {
			done.Kind, done.Value = scheduler.LoadFailed, int64(scheduler.FailureFault)
		}
	case scheduler.EvictStarted:
		done.Kind, done.At = scheduler.EvictFinished, w.now+second
	default:
		return nil
	}
	w.due = append(w.due, done)
	slices.SortStableFunc(w.due, func(a, b scheduler.Event) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Kind.Class(), b.Kind.Class()), cmp.Compare(a.ID, b.ID))
	})
	return nil
}

// arrivals are chains of items with attributes, now and then cancelled, and a
// device that is lost and comes back.
func arrivals(n int) (list [][]scheduler.Event) {
	for i := range n {
		id, at := int64(i), scheduler.Time(i)*1300*scheduler.Millisecond+1
		item := func(kind scheduler.Kind, value int64) scheduler.Event {
			return scheduler.Event{At: at, ID: id, Value: value, Model: scheduler.ModelID(i * 5 % 3), Device: scheduler.NoDevice, Kind: kind}
		}
		var more []scheduler.Event
		if i%3 == 0 {
			more = append(more, item(scheduler.ItemJob, id/3), item(scheduler.ItemTenant, 1), item(scheduler.ItemDeadline, int64(at+20*second)), item(scheduler.ItemWork, 1_500_000))
		}
		if i%4 == 3 {
			more = append(more, item(scheduler.ItemDependsOn, id-2))
		}
		group := append([]scheduler.Event{item(scheduler.ItemArrived, scheduler.PackArrival(int32(i%2), len(more)))}, more...)
		if i%17 == 16 {
			group = append(group, scheduler.Event{At: at, ID: id - 1, Model: scheduler.NoModel, Device: scheduler.NoDevice, Kind: scheduler.ItemCancelled})
		}
		if i == 40 || i == 60 {
			kind := map[int]scheduler.Kind{40: scheduler.DeviceDown, 60: scheduler.DeviceUp}[i]
			group = append([]scheduler.Event{{At: at, Model: scheduler.NoModel, Device: 0, Kind: kind}}, group...)
		}
		list = append(list, group)
	}
	return list
}

type recorder []scheduler.Event

func (r *recorder) Append(events []scheduler.Event) error {
	*r = append(*r, events...)
	return nil
}

// run returns the log of a run and its core at the end. What the lost device
// had in flight never completes.
func run(t *testing.T, n int) ([]scheduler.Event, *scheduler.Core) {
	t.Helper()
	core, err := scheduler.New(config())
	if err != nil {
		t.Fatal(err)
	}
	var log recorder
	w := &world{arrivals: arrivals(n)}
	if err := scheduler.Drive(context.Background(), core, &forgetful{w}, &log); err != nil {
		t.Fatal(err)
	}
	return log, core
}

// forgetful drops the completions of a device that is lost.
type forgetful struct{ *world }

func (f *forgetful) Append(events []scheduler.Event) error {
	for _, ev := range events {
		if ev.Kind == scheduler.DeviceDown {
			f.due = slices.DeleteFunc(f.due, func(d scheduler.Event) bool { return d.Device == ev.Device })
		}
	}
	return nil
}

func sequence(events []scheduler.Event) iter.Seq2[scheduler.Event, error] {
	return func(yield func(scheduler.Event, error) bool) {
		for _, ev := range events {
			if !yield(ev, nil) {
				return
			}
		}
	}
}

type names struct{}

func (names) ItemName(i scheduler.ItemID) string { return fmt.Sprintf("-item/%d", i) }
func (names) JobName(j scheduler.JobID) string   { return fmt.Sprintf("video %d", j) }
func (names) TenantName(int64) string            { return "" }
