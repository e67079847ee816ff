package policies_test

import (
	"testing"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/policies/policytest"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/coretest"
	"pgregory.net/rapid"
)

// Other processes take memory of a device and never give it back: what has no
// room there any more, resident or not, is served by another device that has.
// Evictions take no time, for a claim that comes to want more than is left keeps
// the link for as long.
func TestForeignMemoryThatStays(t *testing.T) {
	wholes := policies.Builtin().Names(policies.KindWhole)
	elsewhere := 0
	coretest.Check(t, 100, func(r *rapid.T) {
		w := policytest.Draw(rapid.Uint64().Draw(r, "world"), policytest.Shape{Models: 4, Items: 30, Devices: 3, Slots: 2, Memory: true, DAG: true, Tags: true, Priority: true, Ticks: true})
		if len(w.Devices) < 2 {
			r.Skip("the first device takes every model, and another one is needed")
		}
		d := rapid.IntRange(1, len(w.Devices)-1).Draw(r, "device")
		w.Foreign = []policytest.Foreign{{Device: scheduler.DeviceID(d), At: rapid.SampledFrom([]scheduler.Time{1, 2 * sec, 9 * sec, 20 * sec}).Draw(r, "at"),
			Bytes: w.Devices[d].Budget * scheduler.Bytes(rapid.IntRange(1, 10).Draw(r, "tenths")) / 10}}
		spec := drawComposition(r)
		complete(r, &spec, w.Models)
		if rapid.IntRange(0, 3).Draw(r, "any") == 0 {
			spec = use(rapid.SampledFrom(wholes).Draw(r, "whole"))
		}
		if spec.Use == "seed" || spec.Use == "semaphore" {
			spec = use("sticky") // the seed's rules know one device, and permits of all there is
		}
		o, err := w.Run(policies.Builtin(), spec)
		if err != nil {
			r.Fatalf("%+v: %v\n%s", spec, err, o.Dump())
		}
		if c := o.Counts; c.Done+c.Failed+c.Rejected+c.Cancelled != int64(len(w.Items)) {
			r.Fatalf("%+v: not drained: %+v\nin %v\n%s", spec, c, w, o.Dump())
		}
		for _, b := range o.Batches {
			if b.At > w.Foreign[0].At && b.Device != w.Foreign[0].Device {
				elsewhere++
			}
		}
	})
	if elsewhere == 0 {
		t.Error("nothing ran elsewhere")
	}
}

// A resident model for whose items no room is left is loaded elsewhere, and what
// is due is not rejected for memory that may come back.
func TestForeignMemoryBesideAResident(t *testing.T) {
	for _, name := range policies.Builtin().Policies() {
		if name == "seed" || name == "semaphore" {
			continue
		}
		s := scenario{models: itemed([]scheduler.Model{model("a", 5, sec, 1, 0, sec)}, 1), devices: cards(10, 10), items: append(burst(0, "A"), burst(30*sec, "AA")...),
			foreign: []policytest.Foreign{{At: 20 * sec, Bytes: 4_500 * scheduler.MB}}, spec: use(name)}
		o := s.run(t)
		if o.Counts.Done != 3 || len(o.Batches) != 3 || o.Batches[0].Device != 0 || o.Batches[1].Device != 1 || o.Batches[2].Device != 1 {
			t.Errorf("%s: %+v", name, o.Batches)
		}
	}
	s := scenario{models: itemed([]scheduler.Model{model("a", 5, sec, 1, 0, sec)}, 1), devices: cards(10), items: []arrival{{at: sec, deadline: 60 * sec}},
		foreign: []policytest.Foreign{{At: 1, Bytes: 4_500 * scheduler.MB}, {At: 10 * sec}}, spec: policies.Spec{Use: "fifo", Admit: axis("deadline")}}
	if o := s.run(t); o.Counts.Done != 1 {
		t.Errorf("%+v", o.Counts)
	}
}
