package coretest

import "github.com/vramsim/vramsim/scheduler"

// Candidate is a model that an evictor may offer.
type Candidate struct {
	Model    scheduler.ModelID
	Bytes    scheduler.Bytes
	UseOrder int64
}

// Chooser is an evictor that core and model can both ask: a pure function of
// the number of evictions so far, the bytes needed and the candidates.
type Chooser func(ordinal int64, need scheduler.Bytes, candidates []Candidate) (scheduler.ModelID, bool)

// Victim implements scheduler.Evictor.
func (choose Chooser) Victim(v *scheduler.View, d scheduler.DeviceID, need scheduler.Bytes, _ scheduler.ModelID) (scheduler.ModelID, bool) {
	var candidates []Candidate
	for m := range scheduler.ModelID(v.Models()) {
		if v.Evictable(d, m) {
			candidates = append(candidates, Candidate{m, v.Bytes(m), v.UseOrder(d, m)})
		}
	}
	return choose(v.EvictionOrdinal(), need, candidates)
}

// ask is a question to an evictor and its answer.
type ask struct {
	device   scheduler.DeviceID
	incoming scheduler.ModelID
	need     scheduler.Bytes
	ordinal  int64
	victim   scheduler.ModelID
	offered  bool
}

// recorder is an evictor of which the model cannot know how it chooses: what
// it answers the core is kept for the model, which has to ask the same.
type recorder struct {
	scheduler.Evictor
	deaf int // not to be kept: somebody asks what would be
	asks []ask
}

func (r *recorder) Victim(v *scheduler.View, d scheduler.DeviceID, need scheduler.Bytes, incoming scheduler.ModelID) (scheduler.ModelID, bool) {
	victim, ok := r.Evictor.Victim(v, d, need, incoming)
	if r.deaf == 0 {
		r.asks = append(r.asks, ask{d, incoming, need, v.EvictionOrdinal(), victim, ok})
	}
	return victim, ok
}

// answer returns the core's next answer if the question is the same.
func (r *recorder) answer(q ask) (scheduler.ModelID, bool, bool) {
	if len(r.asks) == 0 {
		return scheduler.NoModel, false, false
	}
	got := r.asks[0]
	r.asks = r.asks[1:]
	q.victim, q.offered = got.victim, got.offered
	return got.victim, got.offered, q == got
}
