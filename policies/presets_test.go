package policies_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/policies/policytest"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/coretest"
)

// standFor are the compositions that presets stand for.
func standFor() map[string]policies.Spec {
	return map[string]policies.Spec{
		"ollama":            {Use: "fifo", Params: pairs([]any{"bypass", true}), Evict: axis("keep-alive", "idle", "5m", "max", 3), Place: axis("most-free"), Admit: axis("queue-cap", "items", 512)},
		"llama-swap-group":  {Use: "fifo", Params: pairs([]any{"skip", true, "bypass", true}), Evict: axis("groups")},
		"llama-swap-matrix": {Use: "fifo", Params: pairs([]any{"skip", true, "bypass", true}), Evict: axis("matrix", "sets", []any{[]any{"a", "b"}})},
		"llama-swap-612":    {Use: "max-wait", Params: pairs([]any{"wait", "60s"}), Visit: axis("residency", "min", "5s", "factor", 1)},
		"triton":            {Use: "wfq", Params: pairs([]any{"turns", true}), Batch: axis("delay")},
		"modelmesh":         {Use: "fifo", Params: pairs([]any{"skip", true}), Place: axis("lru-age")},
		"llama-cpp":         {Use: "fifo", Params: pairs([]any{"skip", true}), Evict: axis("count", "max", 4)},
		"localai":           {Use: "fifo", Params: pairs([]any{"skip", true}), Evict: axis("largest")},
		"ray":               {Use: "fifo", Evict: axis("count", "max", 3)},
		"serverless-llm":    {Use: "fifo"},
		"alpaserve":         {Use: "fifo", Place: axis("planned", "map", map[string]any{"a": "gpu0", "b": "gpu1", "c": "gpu1"}), Admit: axis("deadline")},
		"muxserve":          {Use: "polling", Visit: axis("limited", "items", 1)},
		"prism":             {Use: "edf-setup", Evict: axis("ttl", "idle", "50s")},
		"llmux-fifo":        {Use: "fifo", Visit: axis("residency", "min", "5s", "factor", 0), Evict: axis("single")},
		"llmux-cost-aware":  {Use: "cost-aware", Evict: axis("single")},
		"llmux-time-slice":  {Use: "time-slice", Evict: axis("single")},
	}
}

// preset returns the named preset with what it leaves to the user.
func preset(name string) policies.Spec {
	spec := use(name)
	switch name {
	case "llama-swap-matrix":
		spec.Evict = standFor()[name].Evict
	case "alpaserve":
		spec.Place = standFor()[name].Place
	}
	return spec
}

func TestPresets(t *testing.T) {
	names := policies.Builtin().Names(policies.KindPreset)
	if len(names) != len(standFor()) {
		t.Errorf("presets %v", names)
	}
	for _, name := range names {
		got, err := policies.Builtin().New(preset(name), twoGPUs())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		spec := standFor()[name]
		spec.As = name
		want, err := policies.Builtin().New(spec, twoGPUs())
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got.Settings(), want.Settings()) || got.Name != name {
			t.Errorf("%s: %v, want %v", name, got.Settings(), want.Settings())
		}
		again, err := policies.Builtin().New(got.Spec, twoGPUs())
		if err != nil || !reflect.DeepEqual(again.Settings(), got.Settings()) {
			t.Errorf("%s: built again %v, error %v", name, again.Settings(), err)
		}
	}
}

// Keys override a preset's: of parameters each one, of an axis its value.
func TestKeysOverridePresets(t *testing.T) {
	ollama, set := standFor()["ollama"], policies.Builtin()
	with := func(change func(*policies.Spec)) policies.Spec {
		spec := ollama
		spec.As = "ollama"
		change(&spec)
		return spec
	}
	for _, c := range []struct{ given, want policies.Spec }{
		{policies.Spec{Use: "ollama", As: "mine"}, with(func(s *policies.Spec) { s.As = "mine" })},
		{use("ollama", "skip", true), with(func(s *policies.Spec) { s.Params = pairs([]any{"bypass", true, "skip", true}) })},
		{use("ollama", "bypass", false), with(func(s *policies.Spec) { s.Params = nil })},
		{policies.Spec{Use: "ollama", Evict: axis("keep-alive", "idle", "1m")}, with(func(s *policies.Spec) { s.Evict = axis("keep-alive", "idle", "1m", "max", 3) })},
		{policies.Spec{Use: "ollama", Evict: axis("keep-alive", "max", 1)}, with(func(s *policies.Spec) { s.Evict = axis("keep-alive", "max", 1) })},
		{policies.Spec{Use: "ollama", Evict: axis("lru"), Admit: axis("all")}, with(func(s *policies.Spec) { s.Evict, s.Admit = policies.Axis{}, policies.Axis{} })},
		{policies.Spec{Use: "ollama", Visit: axis("gated"), Pin: []string{"a"}}, with(func(s *policies.Spec) { s.Visit, s.Pin = axis("gated"), []string{"a"} })},
	} {
		got, err := set.New(c.given, twoGPUs())
		if err != nil {
			t.Fatal(err)
		}
		want, err := policies.Builtin().New(c.want, twoGPUs())
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got.Settings(), want.Settings()) {
			t.Errorf("%+v: %v, want %v", c.given, got.Settings(), want.Settings())
		}
	}
	// What was overridden is as it was for the next one.
	got, _ := set.New(use("ollama"), twoGPUs())
	if got.Spec.Evict.Params["idle"] != "300s" {
		t.Errorf("idle is %v", got.Spec.Evict.Params["idle"])
	}
	for _, c := range []struct {
		spec             policies.Spec
		path, says, near string
	}{
		{use("olama"), "use", "unknown policy", "ollama"},
		{use("llmux-timeslice"), "use", "llmux-time-slice", "llmux-time-slice"},
		{use("ollama", "skp", true), "params.skp", "accepted: skip, bypass", "skip"},
		{use("alpaserve"), "place.planned.map", "must be given", ""},
		{use("llama-swap-matrix"), "evict.matrix.sets", "must be given", ""},
	} {
		var e *policies.SpecError
		_, err := policies.Builtin().New(c.spec, twoGPUs())
		if !errors.As(err, &e) || strings.Join(e.Path, ".") != c.path || !strings.Contains(e.What, c.says) || e.Nearest != c.near {
			t.Errorf("%+v: %v", c.spec, err)
		}
	}
	for _, e := range []policies.Entry{
		{Name: "ollama", Kind: policies.KindPreset, Preset: use("fifo")},
		{Name: "fifo", Kind: policies.KindPreset, Preset: use("sticky")},
		{Name: "mine", Kind: policies.KindPreset, Preset: use("stiky")},
		{Name: "mine", Kind: policies.KindPreset, Preset: use("ollama")},
		{Name: "ollama", Kind: policies.KindSelector, New: func(*policies.Args) (any, error) { return stubborn{}, nil }},
	} {
		if set.Add(e) == nil {
			t.Errorf("%s, a %s for %s, was added", e.Name, e.Kind, e.Preset.Use)
		}
	}
	if err := set.Add(policies.Entry{Name: "mine", Kind: policies.KindPreset, Preset: use("sticky")}); err != nil {
		t.Error(err)
	}
	if b, err := set.New(use("mine"), twoGPUs()); err != nil || b.Spec.Use != "sticky" || b.Name != "mine" {
		t.Errorf("%+v, %v", b.Spec, err)
	}
}

// Presets drain every world too.
func TestPresetsDrain(t *testing.T) {
	names := policies.Builtin().Names(policies.KindPreset)
	coretest.Check(t, 200, func(r *rapid.T) {
		w := policytest.Draw(rapid.Uint64().Draw(r, "world"), policytest.Shape{Models: 6, Items: 30, Devices: 3, Slots: 2, Unload: true, Memory: true, DAG: true, Tags: true, Priority: true, Ticks: true})
		spec := use(rapid.SampledFrom(names).Draw(r, "preset"))
		switch spec.Use {
		case "llama-swap-matrix":
			spec.Evict.Name = "matrix"
			complete(r, &spec, w.Models)
		case "alpaserve":
			plan := map[string]any{}
			for i := range w.Models {
				fits := slices.DeleteFunc(slices.Clone(w.Devices), func(d scheduler.Device) bool { return w.Models[i].Bytes+w.Models[i].Batch.Memory > d.Budget })
				plan[w.Models[i].Name] = rapid.SampledFrom(fits).Draw(r, "device").Name
			}
			spec.Place = axis("planned", "map", plan)
		}
		o, err := w.Run(policies.Builtin(), spec)
		if err != nil {
			r.Fatalf("%s: %v\n%s", spec.Use, err, o.Dump())
		}
		if c := o.Counts; c.Done+c.Rejected+c.Cancelled != int64(len(w.Items)) {
			r.Fatalf("%s: not drained: %+v\n%s", spec.Use, c, o.Dump())
		}
	})
}
