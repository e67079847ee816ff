package policytest

import (
	"fmt"
	"slices"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/scheduler"
)

// Relations are properties of two runs, or of one in a world in which the
// answer is known.
const (
	Scaled       Property = "times and parameters ×k"
	Shifted      Property = "shifted arrivals"
	Renamed      Property = "renamed models"
	UnusedModel  Property = "an unused model more"
	AllFit       Property = "all fit: loads = models used"
	NoLoads      Property = "no loads: one makespan"
	LimitedAll   Property = "limited ∞ = exhaustive"
	WaitAll      Property = "wait ∞ = sticky"
	NeverExpires Property = "ttl ∞ = lru"
	MoreMemory   Property = "lru: more memory, no more loads"
	Cut          Property = "cut trace: same before"
)

// relationFamilies are the properties of two runs.
func relationFamilies() []family {
	of := func(p Property, shape Shape, why func(*trial) string, judge func(*trial, *World) []verdict) family {
		return family{name: string(p), properties: []Property{p}, share: 10, shape: shape, why: why, judge: judge}
	}
	two := Alone()
	two.Devices, two.Slots, two.Memory = 2, 2, true
	even, ticks := two, two
	even.Even, ticks.Ticks = true, true
	return []family{
		of(Scaled, even, timeless, judgeScaled),
		of(Shifted, ticks, ends, judgeShifted),
		of(Renamed, ticks, ends, judgeRenamed),
		of(UnusedModel, ticks, undrawn, judgeUnused),
		of(AllFit, two, keeps, judgeAllFit),
		of(NoLoads, Alone(), ends, judgeNoLoads),
		of(LimitedAll, ticks, composed, judgeLimited),
		of(WaitAll, ticks, maxWait, judgeWait),
		of(NeverExpires, ticks, composed, judgeExpiry),
		of(MoreMemory, Alone(), leastRecent, judgeMemory),
		of(Cut, ticks, blind, judgeCut),
	}
}

// ends and the functions below say why a relation does not apply to a policy.
func ends(t *trial) string {
	if t.endless {
		return "it goes round for ever"
	}
	return ""
}

func timeless(t *trial) string {
	if t.built.Contracts.OwnTimes {
		return "it has times that are no parameters"
	}
	return ends(t)
}

func undrawn(t *trial) string {
	if t.draws {
		return "what it draws depends on the number of models"
	}
	return ends(t)
}

func keeps(t *trial) string {
	if t.built.Contracts.Evicts {
		return "it evicts by a rule of its own"
	}
	return ends(t)
}

func composed(t *trial) string {
	if t.built.Spec.Visit.Name == "" {
		return "it decides everything itself"
	}
	return ends(t)
}

func maxWait(t *trial) string {
	if t.built.Spec.Use != "max-wait" {
		return "of max-wait only"
	}
	return ends(t)
}

func leastRecent(t *trial) string {
	if t.built.Spec.Evict.Name != "lru" || t.built.Spec.Prefetch.Name != "none" || t.built.Contracts.Bound.Kind != policies.InOrder {
		return "of lru without prefetching and in order only"
	}
	return ends(t)
}

func blind(t *trial) string {
	if t.built.Clairvoyant {
		return "it knows the future"
	}
	return ends(t)
}

// compare runs w and another world, or w under another policy, and holds the
// outcomes against each other.
func (t *trial) compare(p Property, w *World, spec policies.Spec, other *World, otherSpec policies.Spec, what string, differ func(a, b *Outcome) string) []verdict {
	a, okA := t.run(w, spec)
	b, okB := t.run(other, otherSpec)
	if !okA || !okB {
		return nil
	}
	return []verdict{{property: p, declared: true, breach: differ(a, b), runs: []Run{{World: w, Spec: spec}, {World: other, Spec: otherSpec, What: what}}}}
}

// same reports whether two runs did the same at the same times.
func same(a, b *Outcome) bool {
	return unlike(a, b, func(t scheduler.Time) scheduler.Time { return t }, 0) == ""
}

// unlike says where b is not as a with its times mapped, to within some
// nanoseconds; "" if it is.
func unlike(a, b *Outcome, at func(scheduler.Time) scheduler.Time, within scheduler.Time) string {
	near := func(x, y scheduler.Time) bool { return x == y || x-y <= within && y-x <= within }
	for i := range min(len(a.Batches), len(b.Batches)) {
		x, y := &a.Batches[i], &b.Batches[i]
		if x.Device != y.Device || x.Model != y.Model || !slices.Equal(x.Items, y.Items) || !near(at(x.At), y.At) {
			return fmt.Sprintf("batch %d is of model %d, items %v, at %v on GPU %d; it should be of model %d, items %v, at %v on GPU %d",
				i, y.Model, y.Items, y.At, y.Device, x.Model, x.Items, at(x.At), x.Device)
		}
	}
	switch {
	case len(a.Batches) != len(b.Batches):
		return fmt.Sprintf("%d batches instead of %d", len(b.Batches), len(a.Batches))
	case a.Loads != b.Loads:
		return fmt.Sprintf("%d loads instead of %d", b.Loads, a.Loads)
	case !slices.Equal(a.Rejected, b.Rejected):
		return fmt.Sprintf("items %v are rejected instead of %v", b.Rejected, a.Rejected)
	}
	return ""
}

func unchanged(t scheduler.Time) scheduler.Time { return t }

// exactly says where two runs differ that should be one.
func exactly(a, b *Outcome) string { return unlike(a, b, unchanged, 0) }

// whole is what times are multiples of in worlds that are scaled, so that
// nothing is rounded: a policy may still wait for the nanosecond after one.
const whole = sec / 4

// factor is what times are multiplied with.
const factor = 2

// judgeScaled: everything takes k times as long, and happens k times as late.
func judgeScaled(t *trial, w *World) []verdict {
	scaled := w.clone()
	if !scaled.scale() {
		return nil
	}
	spec, ok := t.scaled(w)
	if !ok {
		return nil
	}
	return t.compare(Scaled, w, t.spec, scaled, spec, fmt.Sprintf("all times and the policy's are %d times as long", factor), func(a, b *Outcome) string {
		return unlike(a, b, func(t scheduler.Time) scheduler.Time { return factor * t }, scheduler.Microsecond)
	})
}

// scale multiplies all times of w; false if one is no whole number.
func (w *World) scale() bool {
	ok := true
	by := func(t *scheduler.Time) {
		ok = ok && *t%whole == 0
		*t *= factor
	}
	for i := range w.Models {
		m := &w.Models[i]
		by(&m.Load[scheduler.TierDisk])
		by(&m.Load[scheduler.TierHost])
		by(&m.Unload)
		by(&m.Batch.Base)
		by(&m.Batch.PerItem)
		// What is divided by sizes must come out even: sizes are powers of 2.
		for size := m.Bytes / gb; ok && size > 1; size /= 2 {
			ok = size%2 == 0
		}
		ok = ok && m.Bytes%gb == 0
	}
	for i := range w.Items {
		by(&w.Items[i].At)
		by(&w.Items[i].Deadline)
	}
	return ok
}

// scaled is the policy with every length of time multiplied, defaults
// included.
func (t *trial) scaled(w *World) (policies.Spec, bool) {
	_, built, err := w.Config(t.set, t.spec)
	if err != nil {
		return policies.Spec{}, false
	}
	s := built.Spec
	entries := t.set.List()
	times := func(params map[string]any, known []policies.Param) map[string]any {
		out := map[string]any{}
		for name, v := range params {
			out[name] = v
			if slices.ContainsFunc(known, func(p policies.Param) bool {
				return p.Name == name && (p.Kind == policies.Duration || p.Kind == policies.Spans)
			}) {
				out[name] = longer(v)
			}
		}
		return out
	}
	params := func(kinds []policies.Kind, name string) []policies.Param {
		for i := range entries {
			if entries[i].Name == name && slices.Contains(kinds, entries[i].Kind) {
				return entries[i].Params
			}
		}
		return nil
	}
	s.Params = times(s.Params, append(slices.Clone(params([]policies.Kind{policies.KindSelector, policies.KindWhole}, s.Use)), policies.CommonParams()...))
	for _, axis := range []struct {
		kind policies.Kind
		a    *policies.Axis
	}{{policies.KindVisit, &s.Visit}, {policies.KindBatch, &s.Batch}, {policies.KindEvict, &s.Evict}, {policies.KindPrefetch, &s.Prefetch},
		{policies.KindPlace, &s.Place}, {policies.KindAdmit, &s.Admit}, {policies.KindOrder, &s.Order}} {
		axis.a.Params = times(axis.a.Params, params([]policies.Kind{axis.kind}, axis.a.Name))
	}
	return s, true
}

// longer returns a length of time, or one for each model, multiplied; one that
// is for ever stays.
func longer(v any) any {
	switch v := v.(type) {
	case string:
		if length, err := scheduler.ParseTime(v); err == nil {
			return (factor * length).String()
		}
	case map[string]any:
		out := map[string]any{}
		for name, length := range v {
			out[name] = longer(length)
		}
		return out
	}
	return v
}

// judgeShifted: all that arrives later by some time happens later by it.
func judgeShifted(t *trial, w *World) []verdict {
	by := []scheduler.Time{1, 7*sec + sec/2, 3601 * sec, 86_400*sec + 1}[w.Seed%4]
	later := w.clone()
	for i := range later.Items {
		later.Items[i].At += by
		if later.Items[i].Deadline > 0 {
			later.Items[i].Deadline += by
		}
	}
	return t.compare(Shifted, w, t.spec, later, t.spec, fmt.Sprintf("everything arrives %v later", by), func(a, b *Outcome) string {
		return unlike(a, b, func(t scheduler.Time) scheduler.Time { return t + by }, 0)
	})
}

// judgeRenamed: names mean nothing. Their order stays, as do the ids, for ties.
func judgeRenamed(t *trial, w *World) []verdict {
	renamed := w.clone()
	for i := range renamed.Models {
		renamed.Models[i].Name = "model-" + w.Models[i].Name
	}
	return t.compare(Renamed, w, t.spec, renamed, t.spec, "the models have other names", exactly)
}

// judgeUnused: a model for which nothing arrives changes nothing.
func judgeUnused(t *trial, w *World) []verdict {
	more := w.clone()
	more.Models = append(more.Models, scheduler.Model{Name: "unused", Bytes: gb, Load: [scheduler.Tiers]scheduler.Time{sec, sec}, Batch: scheduler.BatchCost{Max: 1, PerItem: sec}})
	return t.compare(UnusedModel, w, t.spec, more, t.spec, "there is a model more, for which nothing arrives", exactly)
}

// roomy makes the one device of w large enough for all models at once, each
// with a full batch.
func (w *World) roomy() {
	room := scheduler.Bytes(0)
	for i := range w.Models {
		room += w.Models[i].Bytes + w.Models[i].Batch.Memory*scheduler.Bytes(w.Models[i].Batch.Max*w.Devices[0].Slots)
	}
	w.Devices = slices.Clone(w.Devices[:1])
	w.resize(0, room)
}

// used counts the models that items are for.
func (w *World) used() int {
	models := map[scheduler.ModelID]bool{}
	for i := range w.Items {
		models[w.Items[i].Model] = true
	}
	return len(models)
}

// judgeAllFit: where everything has room, each model that is used is loaded once.
func judgeAllFit(t *trial, w *World) []verdict {
	w = w.clone()
	w.roomy()
	o, ok := t.run(w, t.spec)
	if !ok || !o.complete(w) {
		return nil
	}
	v := verdict{property: AllFit, declared: true, runs: []Run{{World: w, Spec: t.spec}}}
	if o.Loads != w.used() {
		v.breach = fmt.Sprintf("%d loads of %d models that are used, although all fit", o.Loads, w.used())
	}
	return []verdict{v}
}

// judgeNoLoads: where moreover loads take no time, batches are of one item and
// nothing waits for another, all that is work-conserving ends at once.
func judgeNoLoads(t *trial, w *World) []verdict {
	w = w.clone()
	w.roomy()
	for i := range w.Models {
		m := &w.Models[i]
		m.Load, m.Unload, m.Batch.Max = [scheduler.Tiers]scheduler.Time{}, 0, 1
	}
	for i := range w.Items {
		w.Items[i].After = nil
	}
	w.Devices[0].Slots = 1
	o, ok := t.run(w, t.spec)
	if !ok || !o.complete(w) {
		return nil
	}
	if c := &o.Built.Contracts; !c.WorkConserving || !c.LoadWorkConserving {
		return []verdict{{property: NoLoads, skip: "of work-conserving policies only"}}
	}
	end := scheduler.Time(0)
	for i := range w.Items {
		it := &w.Items[i]
		end = max(end, it.At) + w.Models[it.Model].Batch.Time(1, it.ordinary())
	}
	v := verdict{property: NoLoads, declared: true, runs: []Run{{World: w, Spec: t.spec}}}
	if o.End != end {
		v.breach = fmt.Sprintf("it ends at %v, any work-conserving policy at %v", o.End, end)
	}
	return []verdict{v}
}

// resolved is the policy with every default, for w.
func (t *trial) resolved(w *World) (policies.Spec, bool) {
	_, built, err := w.Config(t.set, t.spec)
	return built.Spec, err == nil
}

// judgeLimited: a visit without a limit is exhaustive.
func judgeLimited(t *trial, w *World) []verdict {
	spec, ok := t.resolved(w)
	if !ok {
		return nil
	}
	limited := spec
	spec.Visit = policies.Axis{Name: "exhaustive"}
	limited.Visit = policies.Axis{Name: "limited", Params: map[string]any{"items": int64(1) << 40}}
	return t.compare(LimitedAll, w, spec, w, limited, "visits limited to more items than there are", exactly)
}

// forEver is longer than any run.
func forEver() string { return (scheduler.MaxTime / 2).String() }

// judgeWait: who never waits too long is served as by sticky.
func judgeWait(t *trial, w *World) []verdict {
	spec, ok := t.resolved(w)
	if !ok {
		return nil
	}
	patient, sticky := spec, spec
	patient.Params = map[string]any{"wait": forEver()}
	sticky.Use, sticky.Params = "sticky", map[string]any{}
	for _, name := range []string{"prefer", "fill", "backoff"} {
		patient.Params[name], sticky.Params[name] = spec.Params[name], spec.Params[name]
	}
	return t.compare(WaitAll, w, sticky, w, patient, "max-wait that never forces a visit", exactly)
}

// judgeExpiry: what never expires leaves as under lru.
func judgeExpiry(t *trial, w *World) []verdict {
	spec, ok := t.resolved(w)
	if !ok {
		return nil
	}
	expiring := spec
	spec.Evict = policies.Axis{Name: "lru"}
	expiring.Evict = policies.Axis{Name: "ttl", Params: map[string]any{"idle": forEver()}}
	return t.compare(NeverExpires, w, spec, w, expiring, "ttl that never expires", exactly)
}

// judgeMemory: with equal sizes, served in order of arrival, room for one more
// model needs no load more (lru is a stack algorithm: Mattson et al., IBM
// Systems Journal 9:2, 1970).
func judgeMemory(t *trial, w *World) []verdict {
	less := w.clone()
	for i := range less.Models {
		less.Models[i].Bytes, less.Models[i].Batch.Memory = gb, 0
	}
	for i := range less.Items {
		less.Items[i].After = nil
	}
	less.Devices = less.Devices[:1]
	less.Devices[0].Slots = 1
	less.resize(0, max(1, scheduler.Bytes(len(less.Models))-2)*gb) // two have no room: anomalies are likeliest
	more := less.clone()
	more.resize(0, less.Devices[0].Budget+gb)
	return t.compare(MoreMemory, less, t.spec, more, t.spec, "there is room for one model more", func(a, b *Outcome) string {
		if b.Loads > a.Loads {
			return fmt.Sprintf("%d loads with room for one model more, %d without", b.Loads, a.Loads)
		}
		return ""
	})
}

// judgeCut: what has yet to arrive decides nothing.
func judgeCut(t *trial, w *World) []verdict {
	n := len(w.Items) * int(1+w.Seed%4) / 5
	if n == 0 {
		return nil
	}
	for n < len(w.Items) && w.Items[n].At == w.Items[n-1].At {
		n++
	}
	if n == len(w.Items) {
		return nil
	}
	at, cut := w.Items[n].At, w.clone()
	cut.Items = cut.Items[:n]
	return t.compare(Cut, w, t.spec, cut, t.spec, fmt.Sprintf("what arrives from %v on is left out", at), func(a, b *Outcome) string {
		for i := 0; ; i++ {
			endA := i == len(a.Events) || a.Events[i].At >= at
			endB := i == len(b.Events) || b.Events[i].At >= at
			switch {
			case endA && endB:
				return ""
			case endA || endB:
				return fmt.Sprintf("before %v there are other events", at)
			case a.Events[i] != b.Events[i]:
				return fmt.Sprintf("event %d, at %v, is %v instead of %v", i, b.Events[i].At, b.Events[i].Kind, a.Events[i].Kind)
			}
		}
	})
}
