package policies_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/policies/policytest"
	"github.com/vramsim/vramsim/scheduler"
)

// gpus returns n devices of gb gigabytes.
func gpus(n int, gb float64) []scheduler.Device {
	var devices []scheduler.Device
	for i := range n {
		devices = append(devices, gpu(gb)[0])
		devices[i].Name = fmt.Sprint("gpu", i)
	}
	return devices
}

// stream is one model's arrivals from 0 until the given time, each due after slo.
func stream(m scheduler.ModelID, gap, slo, until scheduler.Time) []arrival {
	var items []arrival
	for at := scheduler.Time(0); at <= until; at += gap {
		items = append(items, due(at, m, at+slo))
	}
	return items
}

// flood is so many items of a model at once.
func flood(at scheduler.Time, m scheduler.ModelID, n int, slo scheduler.Time) []arrival {
	var items []arrival
	for range n {
		items = append(items, due(at, m, at+slo))
	}
	return items
}

// sizes tells, device by device, what runs there once the batches that were
// running at the given time have ended, until the next.
func (o *outcome) sizes(devices int, from, until scheduler.Time) string {
	var text []string
	for d := range scheduler.DeviceID(devices) {
		seen := map[string]bool{}
		var names []string
		for _, b := range o.Batches {
			if name := fmt.Sprintf("%c%d", 'a'+b.Model, len(b.Items)); b.Device == d && b.At >= from && b.At < until && !seen[name] {
				seen[name] = true
				names = append(names, name)
			}
		}
		slices.Sort(names)
		text = append(text, strings.Join(names, " "))
	}
	return strings.Join(text, "|")
}

func inOrder(lists ...[]arrival) []arrival {
	items := slices.Concat(lists...)
	slices.SortStableFunc(items, func(a, b arrival) int { return cmp.Compare(a.at, b.at) })
	return items
}

// The example of the paper: a, b and c with residual rates of 64, 32 and 32 a
// second and 200, 250 and 250 ms. Alone a would be in batches of 8 in a cycle
// of 125 ms, b of 6 in one of 180 ms, c of 6 in one of 172.5 ms. In 125 ms all
// take 75 + 50 + 60 ms for 8, 4 and 4, so a, the longest, moves on; in 172.5 ms
// b and c take 70 + 77.5 ms for 6 each.
func TestNexusPacksTheExampleOfThePaper(t *testing.T) {
	table := func(name string, four, eight, sixteen scheduler.Time) scheduler.Model {
		m := scheduler.Model{Name: name, Bytes: scheduler.GB, Batch: scheduler.BatchCost{Max: 16}}
		for n := scheduler.Time(1); n <= 16; n++ { // on straight lines between the sizes of the paper
			switch {
			case n <= 4:
				m.Batch.Times = append(m.Batch.Times, four-(4-n)*5*ms)
			case n <= 8:
				m.Batch.Times = append(m.Batch.Times, four+(eight-four)*(n-4)/4)
			default:
				m.Batch.Times = append(m.Batch.Times, eight+(sixteen-eight)*(n-8)/8)
			}
		}
		return m
	}
	s := scenario{models: []scheduler.Model{table("a", 50*ms, 75*ms, 100*ms), table("b", 50*ms, 90*ms, 125*ms), table("c", 60*ms, 95*ms, 125*ms)}, spec: use("nexus", "epoch", "3s")}
	gap := 15625 * scheduler.Microsecond
	arrivals := [][]arrival{stream(0, gap, 200*ms, 4*sec), stream(1, 2*gap, 250*ms, 4*sec), stream(2, 2*gap, 250*ms, 4*sec),
		flood(4*sec, 0, 200, sec), flood(4*sec, 1, 200, sec), flood(4*sec, 2, 200, sec)}
	for _, c := range []struct {
		devices int
		want    string
	}{
		{1, "a8 b4 c4"}, // the last keeps all
		{2, "b6 c6|a8"},
		{3, "b6 c6|a8|"},
	} {
		s.devices, s.items = gpus(c.devices, 8), inOrder(arrivals...)
		if got := s.run(t).sizes(c.devices, 4200*ms, 4700*ms); got != c.want {
			t.Errorf("%d devices: %s, want %s", c.devices, got, c.want)
		}
	}
	// a and b alone fill 125 ms to the nanosecond, if their weights leave room for
	// the memory of a's batch.
	c := s.models
	s.models, s.devices, s.items = slices.Clone(c[:2]), gpus(2, 8), inOrder(arrivals[0], arrivals[1], arrivals[3], arrivals[4])
	if got := s.run(t).sizes(2, 4200*ms, 4700*ms); got != "a8 b4|" {
		t.Errorf("a and b: %s", got)
	}
	for i := range s.models {
		s.models[i].Bytes, s.models[i].Batch.Memory, s.models[i].Load = 4*scheduler.GB, 100*scheduler.MB, [scheduler.Tiers]scheduler.Time{50 * ms, 50 * ms}
	}
	if got := s.run(t).sizes(2, 4200*ms, 4700*ms); got != "b6|a8" {
		t.Errorf("a and b without room for a batch: %s", got)
	}
	s.models = c
	// If they do not fit into memory together, a cycle has their loads too: no
	// two are in time.
	for i := range s.models {
		s.models[i].Bytes, s.models[i].Load = 5*scheduler.GB, [scheduler.Tiers]scheduler.Time{50 * ms, 50 * ms}
	}
	for _, c := range []struct {
		devices int
		want    string
	}{{2, "b6|a8 c4"}, {3, "b6|c6|a8"}} {
		s.devices, s.items = gpus(c.devices, 8), inOrder(arrivals...)
		if got := s.run(t).sizes(c.devices, 4400*ms, 4900*ms); got != c.want {
			t.Errorf("%d devices, one model at a time on each: %s, want %s", c.devices, got, c.want)
		}
	}
}

// a comes every 400 ms. Batches of 5 take 5 s, half its time: one a second is
// what a device serves. The half a second that two of its own leave over is
// shared with b.
func TestNexusGivesSaturatedModelsDevicesOfTheirOwn(t *testing.T) {
	arrivals := [][]arrival{stream(0, 400*ms, 10*sec, 44*sec), stream(1, 3*sec, 20*sec, 44*sec), flood(45*sec, 0, 150, 60*sec), flood(45*sec, 1, 60, 60*sec)}
	for _, c := range []struct {
		devices int
		want    string
	}{
		// Left over: a gap of 2 s, 4 in a cycle of 6 s; b would be 5 in 15 s.
		{3, "a5|a5|a3 b2"},
		// A gap of 2/3 s, 6 in a cycle of 4 s; b has 2 in that.
		{2, "a5|a6 b2"},
		{1, "a7 b1"}, // 7 in a cycle of 2.8 s, the last keeps all
		{4, "a5|a5|a3 b2|"},
	} {
		s := scenario{models: abc(), devices: gpus(c.devices, 12), items: inOrder(arrivals...), spec: use("nexus", "epoch", "40s")}
		if got := s.run(t).sizes(c.devices, 52*sec, 82*sec); got != c.want {
			t.Errorf("%d devices: %s, want %s", c.devices, got, c.want)
		}
	}
	// What a device serves exactly is a device's; what is never in time stays.
	s := scenario{models: abc(), devices: gpus(2, 12), spec: use("nexus", "epoch", "40s"),
		items: inOrder(stream(0, sec, 10*sec, 44*sec), stream(1, 3*sec, 20*sec, 44*sec), flood(45*sec, 0, 150, 60*sec), flood(45*sec, 1, 60, 60*sec))}
	if got := s.run(t).sizes(2, 52*sec, 82*sec); got != "a5|b5" {
		t.Errorf("one a second: %s", got)
	}
	s.items = []arrival{due(0, 0, 500*ms)}
	if o := s.run(t); o.Batches[0].Device != 0 {
		t.Errorf("alone, never in time: on %d", o.Batches[0].Device)
	}
	// A model that fits on one device only keeps it from others.
	devices := gpus(2, 6)
	devices[1].Budget, devices[1].Memory = 12*scheduler.GB, 12*scheduler.GB
	models := abc()
	models[1].Bytes = 10 * scheduler.GB
	s = scenario{models: models, devices: devices, items: inOrder(arrivals...), spec: use("nexus", "epoch", "40s")}
	if got := s.run(t).sizes(2, 52*sec, 82*sec); got != "a5|a6 b2" {
		t.Errorf("b fits on the second only: %s", got)
	}
}

// The plan stays for an epoch. a's items seem to come every 10 s: one at a
// time is in time. 30 s after the second item the plan is for what has come.
func TestNexusPlansAnewPerEpoch(t *testing.T) {
	for _, c := range []struct {
		epoch  string
		change scheduler.Time
	}{{"30s", 40 * sec}, {"20s", 30 * sec}} {
		s := scenario{models: abc(), devices: gpu(8), spec: use("nexus", "epoch", c.epoch),
			items: inOrder([]arrival{due(0, 0, 10*sec), due(10*sec, 0, 20*sec)}, flood(12*sec, 0, 60, 10*sec))}
		for _, b := range s.run(t).Batches {
			// Ten seconds over 61 items: more than one a second, so 5 in half the time.
			if want := 1; b.At < c.change && len(b.Items) != want || b.At >= c.change && len(b.Items) != 5 && b.At < 60*sec {
				t.Errorf("epoch %s: a batch of %d at %v", c.epoch, len(b.Items), b.At)
			}
		}
	}
}

// The models of a device have a batch each in turn; what was loaded is first.
func TestNexusTurns(t *testing.T) {
	models := abc()
	for i := range models {
		models[i].Batch.Max = 2
	}
	for _, c := range []struct {
		what  string
		gb    float64
		items []arrival
		order string
	}{
		{"in turn", 12, burst(0, "AAAAABBBBCC"), "A2B2C2A2B2A"},
		{"from the last on", 12, append(burst(0, "BB"), burst(5500*ms, "AACC")...), "B2C2A2"},
		{"alone", 12, burst(0, "CCCC"), "C2C2"},
		// b comes while c, whose turn it was after a, is loaded.
		{"what is loaded first", 8, append(burst(0, "AA"), append(burst(6*sec, "CC"), burst(9*sec, "BB")...)...), "A2C2B2"},
		// a ran last; b, resident and the next one, comes while c is loaded.
		{"nor what is there", 12, append(burst(0, "AABB"), append(burst(20*sec, "A"), append(burst(25*sec, "C"), burst(27*sec, "B")...)...)...), "A2B2ACB"},
		{"nobody fills in", 8, append(burst(0, "AA"), append(burst(8*sec, "BB"), burst(9*sec, "AA")...)...), "A2B2A2"},
	} {
		s := scenario{models: models, devices: gpu(c.gb), items: c.items, spec: use("nexus")}
		if o := s.run(t); o.order() != c.order {
			t.Errorf("%s: %s, want %s", c.what, o.order(), c.order)
		}
	}
}

// What a lost device had is planned onto the others at once, and a device that
// comes is used.
func TestNexusPlansAroundLostDevices(t *testing.T) {
	s := scenario{models: abc(), devices: gpus(2, 12), spec: use("nexus"), items: inOrder(burst(0, "AABB"), burst(10*sec, "AB"), burst(35*sec, "A")),
		outages: []policytest.Outage{{From: 9 * sec, Until: 30 * sec}}}
	o := s.run(t)
	for _, b := range o.Batches {
		want := scheduler.DeviceID(b.Model) // as much as there can be came at once: a device each
		switch {
		case b.At >= 30*sec:
			want = 0
		case b.At >= 9*sec:
			want = 1
		}
		if b.Device != want {
			t.Errorf("a batch of model %d at %v on %d", b.Model, b.At, b.Device)
		}
	}
	if o.Counts.Done != 7 || o.Done[4] > 20*sec {
		t.Errorf("%+v, the item of 10 s was done at %v", o.Counts, o.Done[4])
	}
}

// Items that come with the plan belong to it, in whatever order.
func TestNexusSeesAllOfAnInstant(t *testing.T) {
	s := scenario{models: abc(), devices: gpu(8), spec: use("nexus"), items: inOrder(burst(0, "A"), flood(0, 0, 1, 6*sec), burst(0, "AAAAAAA"))}
	if o := s.run(t); o.order() != "A3A3A3" { // 3 s is half the time
		t.Errorf("%s, want A3A3A3", o.order())
	}
}
