package nvml

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/vramsim/vramsim/scheduler"
)

// ModelMemory holds what a model was declared to need against what executors
// saw it take. Only commands that had the device to themselves are measured;
// what was not is 0.
type ModelMemory struct {
	Model    string          `json:"model"`
	Declared scheduler.Bytes `json:"declared_bytes"` // resident weights
	Weights  scheduler.Bytes `json:"weights_bytes"`  // most that a load left in use
	LoadPeak scheduler.Bytes `json:"load_peak_bytes"`
	Residue  scheduler.Bytes `json:"residue_bytes"` // most that a load and an eviction left behind
	Batches  []BatchMemory   `json:"batches,omitempty"`
}

// BatchMemory is the same of batches of one size, beside the weights.
type BatchMemory struct {
	Size     int             `json:"size"`
	Declared scheduler.Bytes `json:"declared_bytes"`
	Peak     scheduler.Bytes `json:"peak_bytes"`
}

// excess says where more was measured than declared.
func (m *ModelMemory) excess() (found []string) {
	if m.Weights > m.Declared {
		found = append(found, fmt.Sprintf("model %s: weights of %v were declared, %v measured", m.Model, m.Declared, m.Weights))
	}
	for _, b := range m.Batches {
		if b.Peak > b.Declared {
			found = append(found, fmt.Sprintf("model %s: %v were declared for a batch of %d, %v measured", m.Model, b.Declared, b.Size, b.Peak))
		}
	}
	return found
}

// memories measures models on one device.
type memories struct {
	models  []scheduler.Model
	use     scheduler.Bytes // at the last outcome that told it
	known   bool
	byFree  bool            // use is what of the device is not free
	alone   map[uint64]uses // commands that have been alone so far
	before  map[scheduler.ModelID]scheduler.Bytes
	seen    map[scheduler.ModelID]*ModelMemory
	batches map[scheduler.ModelID]map[int]scheduler.Bytes
}

// uses is a command in flight.
type uses struct {
	command scheduler.Command
	before  scheduler.Bytes
}

func newMemories(models []scheduler.Model) *memories {
	return &memories{models: models, alone: map[uint64]uses{}, before: map[scheduler.ModelID]scheduler.Bytes{},
		seen: map[scheduler.ModelID]*ModelMemory{}, batches: map[scheduler.ModelID]map[int]scheduler.Bytes{}}
}

// start notes a command; nothing that overlaps with it is alone any more.
func (m *memories) start(c scheduler.Command, others int) {
	clear(m.alone)
	if others == 0 && m.known {
		m.alone[c.Seq] = uses{c, m.use}
	}
}

// end notes an outcome.
func (m *memories) end(o *scheduler.Outcome) {
	u, alone := m.alone[o.Seq]
	delete(m.alone, o.Seq)
	in, byFree := inUse(&o.Memory)
	if o.Memory == (scheduler.DeviceMemory{}) {
		m.known = false
		return
	}
	if alone && o.Failure == nil && byFree == m.byFree { // two measures do not compare
		m.measure(&u, in, peak(&o.Memory, in))
	}
	if byFree != m.byFree {
		clear(m.before)
		clear(m.alone)
	}
	m.use, m.known, m.byFree = in, true, byFree
}

// inUse is what the framework has allocated or, if it does not tell, what of
// the device is not free.
func inUse(d *scheduler.DeviceMemory) (in scheduler.Bytes, byFree bool) {
	if d.Allocated > 0 || d.PeakAllocated > 0 {
		return d.Allocated, false
	}
	return d.Total - d.Free, true
}

// peak is the most that a command had in use, as far as it is told.
func peak(d *scheduler.DeviceMemory, in scheduler.Bytes) scheduler.Bytes {
	return max(in, d.PeakAllocated)
}

func (m *memories) measure(u *uses, in, peak scheduler.Bytes) {
	id := u.command.Model
	of := m.seen[id]
	if of == nil {
		of = &ModelMemory{Model: m.models[id].Name, Declared: m.models[id].Bytes}
		m.seen[id] = of
	}
	switch u.command.Op {
	case scheduler.OpLoad:
		of.Weights = max(of.Weights, in-u.before)
		of.LoadPeak = max(of.LoadPeak, peak-u.before)
		m.before[id] = u.before
	case scheduler.OpEvict:
		if before, ok := m.before[id]; ok {
			of.Residue = max(of.Residue, in-before)
		}
	case scheduler.OpRun:
		if m.batches[id] == nil {
			m.batches[id] = map[int]scheduler.Bytes{}
		}
		n := len(u.command.Items)
		m.batches[id][n] = max(m.batches[id][n], peak-u.before)
	}
}

// all returns what was measured, by model.
func (m *memories) all() []ModelMemory {
	var list []ModelMemory
	for _, id := range slices.Sorted(maps.Keys(m.seen)) {
		of := *m.seen[id]
		for _, n := range slices.Sorted(maps.Keys(m.batches[id])) {
			of.Batches = append(of.Batches, BatchMemory{Size: n, Declared: m.models[id].Batch.Memory * scheduler.Bytes(n), Peak: m.batches[id][n]})
		}
		list = append(list, of)
	}
	slices.SortStableFunc(list, func(a, b ModelMemory) int { return cmp.Compare(a.Model, b.Model) })
	return list
}
