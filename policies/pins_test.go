package policies_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/policies/policytest"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/coretest"
	"pgregory.net/rapid"
)

// cards returns devices of so many gigabytes each.
func cards(gb ...float64) []scheduler.Device {
	var devices []scheduler.Device
	for i, size := range gb {
		d := gpu(size)[0]
		d.Name = string(rune('0' + i))
		devices = append(devices, d)
	}
	return devices
}

// quick are two models of 4 GB that load sooner than an item is done, so that
// waiting for a slot is worth a second copy.
func quick() []scheduler.Model {
	return []scheduler.Model{model("a", 4, 100*ms, 1, 0, sec), model("b", 4, 100*ms, 1, 0, sec)}
}

// A model is pinned on one device: a second copy of a makes way for b.
func TestPinnedOnOneDevice(t *testing.T) {
	s := scenario{models: quick(), devices: cards(4, 4), items: append(burst(0, "AAAA"), burst(1500*ms, "B")...),
		spec: policies.Spec{Use: "sticky", Pin: []string{"a"}}}
	o := s.run(t)
	held, where := 0, map[scheduler.ModelID]scheduler.DeviceID{}
	for _, ev := range o.Events {
		switch ev.Kind {
		case scheduler.ModelHeld:
			held++
			where[ev.Model] = ev.Device
		case scheduler.EvictStarted:
			if ev.Model != 0 || ev.Device == where[0] {
				t.Errorf("model %d left device %d", ev.Model, ev.Device)
			}
		}
	}
	if held != 1 || o.Loads != 3 || o.order() != "AAAAB" {
		t.Errorf("%d holds, %d loads, order %s", held, o.Loads, o.order())
	}
}

// The device with the pinned copy is lost: another copy is pinned, or the next
// that comes.
func TestPinnedAgainAfterALoss(t *testing.T) {
	s := scenario{models: quick(), devices: cards(4, 4), items: append(burst(0, "AAAA"), burst(30*sec, "ABAA")...),
		spec: policies.Spec{Use: "sticky", Pin: []string{"a"}}}
	s.outages = []policytest.Outage{{Device: 0, From: 20 * sec, Until: 25 * sec}}
	o := s.run(t)
	var held []scheduler.DeviceID
	for _, ev := range o.Events {
		if ev.Kind == scheduler.ModelHeld {
			held = append(held, ev.Device)
		}
	}
	if len(held) != 2 || held[0] != 0 || held[1] != 1 || o.Counts.Done != 8 {
		t.Errorf("held on %v, %+v", held, o.Counts)
	}
}

// b came to the first device before a was pinned there, and has no room for an
// item any more: it is served from the other one, and does not keep the first
// from serving a.
func TestNoRoomForAnItemAnyMore(t *testing.T) {
	s := scenario{models: []scheduler.Model{model("a", 6, sec, 1, 0, sec), model("b", 3.5, sec, 1, 0, sec)}, devices: cards(10, 10),
		items: append(burst(0, "B"), append(burst(10*sec, "A"), burst(20*sec, "BBBA")...)...),
		spec:  policies.Spec{Use: "longest", Params: pairs([]any{"fill", false}), Place: axis("first"), Pin: []string{"a"}}}
	s.models[1].Batch.Memory = scheduler.GB
	o := s.run(t)
	if o.Done[5] != 21*sec || o.Done[4] != 24*sec {
		t.Errorf("a done at %v, the last b at %v", o.Done[5], o.Done[4])
	}
}

// Of two pinned models the second goes where the first keeps room for an item.
func TestPinsLeaveRoomForEachOther(t *testing.T) {
	s := scenario{models: []scheduler.Model{model("a", 6, sec, 1, 0, sec), model("b", 3.5, sec, 1, 0, sec)}, devices: cards(10, 10),
		items: append(burst(0, "B"), append(burst(10*sec, "A"), burst(20*sec, "BA")...)...),
		spec:  policies.Spec{Use: "longest", Place: axis("first"), Pin: []string{"a", "b"}}}
	s.models[1].Batch.Memory = scheduler.GB
	o := s.run(t)
	on := map[scheduler.ModelID]scheduler.DeviceID{}
	for _, ev := range o.Events {
		if ev.Kind == scheduler.ModelHeld {
			on[ev.Model] = ev.Device
		}
	}
	if len(on) != 2 || on[1] != 0 || on[0] != 1 || o.Counts.Done != 4 {
		t.Errorf("held %v, %+v", on, o.Counts)
	}
}

// The device where a is held is lost for long: its copy beside b is not held,
// or b would have no room for an item.
func TestCopyOfALostPin(t *testing.T) {
	s := scenario{models: itemed([]scheduler.Model{model("a", 6, 100*ms, 1, 0, sec), model("b", 3.5, 100*ms, 1, 0, sec)}, 0, 1), devices: cards(10, 10),
		items:   append(burst(0, "B"), append(burst(5*sec, "A"), append(burst(10*sec, "AAA"), burst(30*sec, "BAB")...)...)...),
		spec:    policies.Spec{Use: "sticky", Pin: []string{"a", "b"}},
		outages: []policytest.Outage{{Device: 1, From: 20 * sec, Until: 1000 * sec}}}
	o := s.run(t)
	copies := 0
	for _, ev := range o.Events {
		if ev.Kind == scheduler.LoadFinished && ev.Model == 0 && ev.Device == 0 && ev.At < 20*sec {
			copies++
		}
	}
	if copies != 1 || o.Counts.Done != 8 || o.End > 100*sec {
		t.Errorf("%d copies, %+v by %v", copies, o.Counts, o.End)
	}
}

func TestRoomBesidePins(t *testing.T) {
	sized := func(gb ...float64) []scheduler.Model {
		var models []scheduler.Model
		for i, size := range gb {
			models = append(models, model(string(rune('a'+i)), size, sec, 1, 0, sec))
		}
		return models
	}
	pin := func(names ...string) policies.Spec { return policies.Spec{Use: "sticky", Pin: names} }
	with := func(s policies.Spec, change func(*policies.Spec)) policies.Spec {
		change(&s)
		return s
	}
	planned := func(where map[string]any) func(*policies.Spec) {
		return func(s *policies.Spec) { s.Place = axis("planned", "map", where) }
	}
	groups := func(s *policies.Spec) { s.Evict = axis("groups", "persistent", []any{"x"}) }
	for _, c := range []struct {
		name   string
		models []scheduler.Model
		on     []scheduler.Device
		spec   policies.Spec
		says   string // empty: it is accepted
	}{
		{"fits beside", sized(4, 6), cards(10), pin("a"), ""},
		{"a byte too much", sized(4, 6.000000001), cards(10), pin("a"), `no room for "b"`},
		{"pins not together", sized(5, 6), cards(10), pin("a", "b"), "no room"},
		{"one pin, two devices", sized(9, 9), cards(10, 10), pin("a"), ""},
		{"a pin on each", sized(4, 4, 9), cards(10, 10), pin("a", "b"), `"c"`},
		{"a pin on each of three but one", sized(4, 4, 9), cards(10, 10, 10), pin("a", "b"), ""},
		{"together they fill one", sized(4, 4, 6), cards(10, 10), pin("a", "b"), ""},
		{"pairs on each", sized(3, 3, 3, 3, 6), cards(10, 10), pin("a", "b", "c", "d"), `"e"`},
		{"one is too small anyway", sized(4, 9), cards(5, 10), pin("a"), `"b"`},
		{"a plan keeps them together", sized(4, 4, 9), cards(10, 10), with(pin("a", "b"), planned(map[string]any{"a": "0", "b": "0", "c": "1"})), ""},
		{"a plan does not", sized(4, 4, 9), cards(10, 10), with(pin("a", "b"), planned(map[string]any{"a": "0", "b": "1", "c": "1"})), `beside the models that never leave (4GB) there is no room for "c"`},
		{"as many as may be", sized(1, 1, 1), cards(10), with(pin("a", "b"), func(s *policies.Spec) { s.Evict = axis("count", "max", 2) }), "2 pinned models and at most 2"},
		{"all of them, more than may be", sized(1, 1, 1), cards(10), with(pin("a", "b", "c"), func(s *policies.Spec) { s.Evict = axis("count", "max", 2) }), "2 pinned models and at most 2"},
		{"all of them, as many as may be", sized(1, 1), cards(10), with(pin("a", "b"), func(s *policies.Spec) { s.Evict = axis("count", "max", 2) }), ""},
		{"one at a time on each of two", sized(1, 1, 1), cards(10, 10), with(pin("a", "b"), func(s *policies.Spec) { s.Evict = axis("single") }), "2 pinned models and at most 1"},
		{"one at a time, one pin", sized(1, 1, 1), cards(10, 10), with(pin("a"), func(s *policies.Spec) { s.Evict = axis("single") }), ""},
		{"items beside pins on each", itemed(sized(6, 3.5, 3.5), 0, 1, 1), cards(10, 10), pin("a", "b", "c"), `no device has room for "a"`},
		{"items beside pins on one", itemed(sized(6, 3.5), 0, 1), cards(10, 10), pin("a", "b"), ""},
		{"groups take no pin", grouped(sized(1, 1), "x", ""), cards(10, 10), with(pin("a"), groups), "takes no pin"},
		{"persistent", grouped(sized(4, 7), "x", ""), cards(10), with(use("sticky"), groups), `no room for "b"`},
		{"persistent on all", grouped(sized(4, 7), "x", ""), cards(10, 10), with(use("sticky"), groups), `no device has room for "b"`},
		{"persistent, planned apart", grouped(sized(4, 7), "x", ""), cards(10, 10), with(with(use("sticky"), groups), planned(map[string]any{"a": "0", "b": "1"})), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := policies.Builtin().New(c.spec, policies.Env{Models: c.models, Devices: c.on})
			switch {
			case c.says == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)):
				t.Errorf("%v, not that %s", err, c.says)
			}
		})
	}
}

func grouped(models []scheduler.Model, groups ...string) []scheduler.Model {
	for i := range models {
		models[i].Group = groups[i]
	}
	return models
}

// itemed gives models items of so many gigabytes.
func itemed(models []scheduler.Model, gb ...scheduler.Bytes) []scheduler.Model {
	for i := range models {
		models[i].Batch.Memory = gb[i] * scheduler.GB
	}
	return models
}

// Whatever is accepted with pins drains, on several devices and when one is
// lost for a time.
func TestPinsDrain(t *testing.T) {
	refused, accepted, replicas := 0, 0, 0
	coretest.Check(t, 100, func(r *rapid.T) {
		w := policytest.Draw(rapid.Uint64().Draw(r, "world"), policytest.Shape{Models: 6, Items: 30, Devices: 3, Slots: 2, Unload: true, Memory: true, DAG: true, Tags: true, Priority: true, Ticks: true})
		spec := drawComposition(r)
		if whole(spec.Use) {
			spec = use("sticky")
		}
		complete(r, &spec, w.Models)
		for i := range w.Models {
			if rapid.IntRange(0, 2).Draw(r, "pin") == 0 {
				spec.Pin = append(spec.Pin, w.Models[i].Name)
			}
		}
		if rapid.IntRange(0, 3).Draw(r, "plan") == 0 {
			where := map[string]any{}
			for i := range w.Models {
				where[w.Models[i].Name] = rapid.SampledFrom(w.Devices).Draw(r, "on").Name
			}
			spec.Place = axis("planned", "map", where)
		}
		if rapid.Bool().Draw(r, "loss") {
			from := rapid.SampledFrom([]scheduler.Time{1, 2 * sec, 9 * sec}).Draw(r, "from")
			w.Outages = []policytest.Outage{{Device: scheduler.DeviceID(rapid.IntRange(0, len(w.Devices)-1).Draw(r, "lost")), From: from, Until: from + 3*sec}}
		}
		o, err := w.Run(policies.Builtin(), spec)
		if bad := (*policies.SpecError)(nil); errors.As(err, &bad) {
			if text := err.Error(); !strings.Contains(text, "room for") && !strings.Contains(text, "takes no pin") {
				r.Fatalf("%+v: %v", spec, err)
			}
			refused++
			return
		}
		if err != nil {
			r.Fatalf("%+v: %v\n%s", spec, err, o.Dump())
		}
		if c := o.Counts; c.Done+c.Failed+c.Rejected+c.Cancelled != int64(len(w.Items)) {
			r.Fatalf("%+v: not drained: %+v\n%s", spec, c, o.Dump())
		}
		accepted++
		on := map[scheduler.ModelID]scheduler.DeviceID{}
		for _, ev := range o.Events {
			switch d, ok := on[ev.Model]; {
			case ev.Kind == scheduler.ModelHeld:
				on[ev.Model] = ev.Device
			case ev.Kind == scheduler.LoadFinished && ok && d != ev.Device:
				replicas++
			}
		}
	})
	if refused == 0 || accepted == 0 || replicas == 0 {
		t.Errorf("%d refused, %d accepted, %d further copies of pinned models", refused, accepted, replicas)
	}
}
