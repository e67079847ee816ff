package policies_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/policies/policytest"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/coretest"
)

func due(at scheduler.Time, model scheduler.ModelID, deadline scheduler.Time) arrival {
	return arrival{at: at, model: model, deadline: deadline}
}

// starts returns when the batches from the i-th on start.
func (o *outcome) starts(i int) []scheduler.Time {
	var at []scheduler.Time
	for _, b := range o.Batches[i:] {
		at = append(at, b.At)
	}
	return at
}

// rejections returns when items were rejected.
func (o *outcome) rejections() []scheduler.Time {
	var at []scheduler.Time
	for _, ev := range o.Events {
		if ev.Kind == scheduler.ItemRejected {
			at = append(at, ev.At)
		}
	}
	return at
}

// A batch of a resident model starts when one item more could no longer join.
// a is loaded for an item at 0, which runs from 5 s to 6 s.
func TestSymphonyInstants(t *testing.T) {
	for _, c := range []struct {
		what     string
		max      int
		items    []arrival
		order    string
		starts   []scheduler.Time
		rejected []scheduler.Time
	}{
		{"one item: two would take 2 s", 8, []arrival{due(10*sec, 0, 20*sec)}, "AA", []scheduler.Time{18 * sec}, nil},
		{"a second one joins: three would take 3 s", 8, []arrival{due(10*sec, 0, 20*sec), due(12*sec, 0, 30*sec)}, "AA2", []scheduler.Time{17 * sec}, nil},
		{"the first one's instant is past when the second one comes", 8, []arrival{due(10*sec, 0, 20*sec), due(17500*ms, 0, 30*sec)}, "AA2", []scheduler.Time{17500 * ms}, nil},
		{"after the instant it is too late to join", 8, []arrival{due(10*sec, 0, 20*sec), due(18*sec+1, 0, 30*sec)}, "AAA", []scheduler.Time{18 * sec, 28 * sec}, nil},
		{"no more fit into a batch", 2, []arrival{due(10*sec, 0, 20*sec), due(10*sec, 0, 20*sec)}, "AA2", []scheduler.Time{10 * sec}, nil},
		{"three would be late: two now, the third is dropped", 8, []arrival{due(10*sec, 0, 12500*ms), due(10*sec, 0, 12500*ms), due(10*sec, 0, 12500*ms)}, "AA2", []scheduler.Time{10 * sec}, []scheduler.Time{12500 * ms}},
		{"just in time", 8, []arrival{due(10*sec, 0, 11*sec)}, "AA", []scheduler.Time{10 * sec}, nil},
		{"never in time", 8, []arrival{due(10*sec, 0, 11*sec-1)}, "A", nil, []scheduler.Time{11*sec - 1}},
		{"no deadline", 8, []arrival{due(10*sec, 0, 0), due(10*sec, 0, 0)}, "AA2", []scheduler.Time{10 * sec}, nil},
	} {
		models := abc()
		models[0].Batch.Max = c.max
		s := scenario{models: models, devices: gpu(8), items: append(burst(0, "A"), c.items...), spec: use("symphony")}
		if o := s.run(t); o.order() != c.order || !slices.Equal(o.starts(1), c.starts) || !slices.Equal(o.rejections(), c.rejected) {
			t.Errorf("%s: %s from %v, rejected at %v; want %s from %v, %v", c.what, o.order(), o.starts(1), o.rejections(), c.order, c.starts, c.rejected)
		}
	}
}

// Heads are dropped at their deadlines while the device is busy too, and what
// is behind them moves up.
func TestSymphonyDropsHeads(t *testing.T) {
	s := scenario{models: abc(), devices: gpu(8), spec: use("symphony"), items: []arrival{{work: 5e6}, due(6*sec, 0, 8*sec), due(6*sec, 1, 9*sec), due(7*sec, 0, 30*sec)}}
	o := s.run(t)
	if !slices.Equal(o.Rejected, []scheduler.ItemID{1, 2}) || !slices.Equal(o.rejections(), []scheduler.Time{8 * sec, 9 * sec}) || !slices.Equal(o.starts(1), []scheduler.Time{28 * sec}) {
		t.Errorf("rejected %v at %v, then batches at %v", o.Rejected, o.rejections(), o.starts(1))
	}
	for _, ev := range o.Events {
		if ev.Kind == scheduler.ItemRejected && ev.Value != policies.RejectLate {
			t.Errorf("item %d was rejected with %d", ev.ID, ev.Value)
		}
	}
}

// As many candidates are kept as devices are idle, those that can wait least:
// two items of b take so long that its instant is 31 s, but it can wait longer
// than a.
func TestSymphonyKeepsAsManyCandidatesAsDevicesAreIdle(t *testing.T) {
	two := append(gpu(8), gpu(8)...)
	two[1].Name = "gpu1"
	for _, c := range []struct {
		devices []scheduler.Device
		a       scheduler.Time // deadline of a's item
		starts  []scheduler.Time
		order   string
	}{
		{two[:1], 40 * sec, []scheduler.Time{38 * sec, 39 * sec}, "ABAB"},
		{two[:1], 41 * sec, []scheduler.Time{39 * sec, 40 * sec}, "ABAB"}, // as late as b: the lowest id
		{two[:1], 42 * sec, []scheduler.Time{31 * sec, 40 * sec}, "ABBA"},
		{two, 40 * sec, []scheduler.Time{31 * sec, 38 * sec}, "ABBA"},
	} {
		models := abc()
		models[1].Batch = scheduler.BatchCost{Max: 2, Times: []scheduler.Time{sec, 10 * sec}}
		s := scenario{models: models, devices: c.devices, spec: use("symphony"), items: append(burst(0, "AB"), due(20*sec, 0, c.a), due(20*sec, 1, 41*sec))}
		o := s.run(t)
		if o.order() != c.order || !slices.Equal(o.starts(2), c.starts) {
			t.Errorf("%d devices, a's deadline %v: %s from %v, want %s from %v", len(c.devices), c.a, o.order(), o.starts(2), c.order, c.starts)
		}
	}
}

// What no idle device can take keeps nobody else from being a candidate: a,
// which can wait less than b, is too large for the idle one.
func TestSymphonyKeepsWhatIdleDevicesTake(t *testing.T) {
	devices := gpus(2, 12)
	devices[0].Memory, devices[0].Budget = 4*scheduler.GB, 4*scheduler.GB
	models := abc()
	models[0].Bytes = 8 * scheduler.GB
	models[1].Batch = scheduler.BatchCost{Max: 2, Times: []scheduler.Time{sec, 10 * sec}}
	s := scenario{models: models, devices: devices, spec: use("symphony"), items: []arrival{{work: 50e6}, {model: 1}, due(20*sec, 0, 40*sec), due(20*sec, 1, 41*sec)}}
	if o := s.run(t); o.order() != "BAB" || o.Batches[2].At != 31*sec {
		t.Errorf("%s from %v, want b at its instant, 31s", o.order(), o.starts(0))
	}
}

// What has no deadline waits for what has one, even for its instant; a device
// that holds the model is preferred.
func TestSymphonyOrders(t *testing.T) {
	s := scenario{models: abc(), devices: gpu(8), spec: use("symphony"), items: append(burst(0, "AB"), due(20*sec, 0, 0), due(20*sec, 1, 40*sec))}
	if o := s.run(t); o.order() != "ABBA" || !slices.Equal(o.starts(2), []scheduler.Time{38 * sec, 39 * sec}) {
		t.Errorf("%s from %v", o.order(), o.starts(2))
	}
	two := append(gpu(8), gpu(8)...)
	two[1].Name = "gpu1"
	s = scenario{models: abc(), devices: two, spec: use("symphony"), items: append(burst(0, "AB"), due(20*sec, 1, 40*sec))}
	if o := s.run(t); o.Loads != 2 || o.Batches[2].Device != o.Batches[1].Device || o.Batches[1].Device == o.Batches[0].Device {
		t.Errorf("b ran on %v after %d loads", o.Batches, o.Loads)
	}
}

// What was loaded and waits for its instant stays, if others can leave: b is
// loaded at 5 s, a is used until 19 s, c is loaded at 38 s.
func TestSymphonyKeepsWhatWasLoaded(t *testing.T) {
	s := scenario{models: abc(), devices: gpu(8), spec: use("symphony"), items: []arrival{due(0, 1, 2*sec), due(sec, 1, 100*sec),
		due(6*sec, 0, 7*sec), due(12*sec, 0, 20*sec), due(30*sec, 2, 40*sec)}}
	if o := s.run(t); o.order() != "AB" || !slices.Equal(o.starts(0), []scheduler.Time{18 * sec, 98 * sec}) || o.Loads != 3 {
		t.Errorf("%s from %v, %d loads", o.order(), o.starts(0), o.Loads)
	}
}

// The room that is made for a's batch is not taken by the load of the next
// candidate, to be made again for ever. There are two, for two devices are idle,
// but the second takes no model.
func TestSymphonyKeepsRoomForABatch(t *testing.T) {
	models := ones(abc())
	for i := range models {
		models[i].Bytes, models[i].Batch.Memory, models[i].Unload = scheduler.GB, scheduler.GB, sec
	}
	models[0].Bytes = 3 * scheduler.GB
	devices := gpus(2, 4)
	devices[1].Memory, devices[1].Budget = scheduler.GB, scheduler.GB
	s := scenario{models: models, devices: devices, spec: use("symphony"), items: append(burst(0, "AB"), arrival{at: 7 * sec}, arrival{at: 8 * sec, model: 2})}
	// b is loaded from 6 s to 11 s and leaves for a's batch, a at 18 s for b's.
	if o := s.run(t); o.order() != "AABC" || !slices.Equal(o.starts(1), []scheduler.Time{12 * sec, 19 * sec, 25 * sec}) {
		t.Errorf("%s from %v after %d loads", o.order(), o.starts(1), o.Loads)
	}
}

// A model is loaded on an idle device although a busy one comes first.
func TestSymphonyLoadsOnIdleDevices(t *testing.T) {
	s := scenario{models: abc(), devices: gpus(2, 12), spec: use("symphony"), items: []arrival{{work: 50e6}, {at: 10 * sec, model: 2}}}
	if o := s.run(t); o.order() != "AC" || o.Batches[1].Device != 1 || o.Batches[1].At != 15*sec {
		t.Errorf("%s, c on %d at %v", o.order(), o.Batches[1].Device, o.Batches[1].At)
	}
}

// An absent model begins to load at the instant of its batch. What was loaded
// runs when it is there, whatever can wait less by then.
func TestSymphonyLoadsAtTheInstant(t *testing.T) {
	models := abc()
	models[2].Batch = scheduler.BatchCost{Max: 2, Times: []scheduler.Time{sec, 30 * sec}}
	s := scenario{models: models, devices: gpu(4), spec: use("symphony"), items: append(burst(0, "A"), due(20*sec, 2, 60*sec), due(32*sec, 0, 50*sec))}
	o := s.run(t)
	if o.order() != "AC" || o.Batches[1].At != 35*sec || !slices.Equal(o.Rejected, []scheduler.ItemID{2}) {
		t.Errorf("%s, c ran at %v, rejected %v; want it loaded at 30s and run at 35s, a dropped", o.order(), o.Batches[1].At, o.Rejected)
	}
	// Five seconds to load are not allowed for; the next one is in time.
	s = scenario{models: abc(), devices: gpu(8), spec: use("symphony"), items: []arrival{due(0, 0, 20*sec), due(30*sec, 0, 50*sec)}}
	if o = s.run(t); !slices.Equal(o.rejections(), []scheduler.Time{20 * sec}) || !slices.Equal(o.starts(0), []scheduler.Time{48 * sec}) {
		t.Errorf("rejected at %v, batches at %v", o.rejections(), o.starts(0))
	}
}

// The head of every batch meets its deadline, and nothing is dropped before its
// own, whatever happens.
func TestSymphonyMeetsDeadlines(t *testing.T) {
	batches, drops := 0, 0
	coretest.Check(t, 100, func(r *rapid.T) {
		w := policytest.Draw(rapid.Uint64().Draw(r, "world"), policytest.Shape{Models: 6, Items: 30, Devices: 3, Slots: 2, Unload: true, Memory: true, DAG: true, Tags: true, Priority: true, Ticks: true})
		o, err := w.Run(policies.Builtin(), use("symphony"))
		if err != nil {
			r.Fatalf("%v\n%s", err, o.Dump())
		}
		head := scheduler.ItemID(-1)
		for _, ev := range o.Events {
			switch ev.Kind {
			case scheduler.MemberDispatched:
				if head < 0 {
					head = ev.Item()
				}
			case scheduler.BatchStarted:
				took := ev.Estimate()
				if deadline := w.Items[head].Deadline; deadline > 0 && ev.At+took > deadline {
					r.Fatalf("a batch at %v of %v was due at %v", ev.At, took, deadline)
				} else if deadline > 0 {
					batches++
				}
				head = -1
			case scheduler.ItemRejected:
				if deadline := w.Items[ev.ID].Deadline; deadline == 0 || ev.At < deadline {
					r.Fatalf("item %d was dropped at %v, due at %v", ev.ID, ev.At, deadline)
				}
				drops++
			}
		}
	})
	if batches == 0 || drops == 0 {
		t.Errorf("%d batches with deadlines, %d drops", batches, drops)
	}
}
