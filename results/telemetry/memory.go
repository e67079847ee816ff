package telemetry

import (
	"slices"

	"github.com/vramsim/vramsim/scheduler"
)

// ModelMemory is what a card's memory records say of one model, in bytes; 0 is
// unknown. What else moves memory at the same time, like a batch beside a load,
// blurs it.
type ModelMemory struct {
	Model    string
	Weights  scheduler.Bytes // most that a load left in use
	LoadPeak scheduler.Bytes // most that a load took
	// RunPeak is the most that batches took, the weights included.
	RunPeak scheduler.Bytes
}

// Memories folds the VRAM records of a run, model by model in the order in
// which they were first loaded.
func Memories(records []Record) []ModelMemory {
	var list []ModelMemory
	last := map[scheduler.DeviceID]scheduler.Bytes{} // in use before
	known := map[scheduler.DeviceID]bool{}
	for _, r := range records {
		v, ok := r.Body.(*VRAM)
		if !ok {
			continue
		}
		used, peak, before := v.inUse(), max(v.PeakAllocated, v.PeakReserved), last[r.Device]
		first := !known[r.Device]
		last[r.Device], known[r.Device] = used, true
		if v.Model == "" || first && before == 0 && v.Op != "load" {
			continue
		}
		i := slices.IndexFunc(list, func(m ModelMemory) bool { return m.Model == v.Model })
		if i < 0 {
			i = len(list)
			list = append(list, ModelMemory{Model: v.Model})
		}
		m := &list[i]
		switch v.Op {
		case "load":
			m.Weights = max(m.Weights, used-before)
			if peak > 0 {
				m.LoadPeak = max(m.LoadPeak, peak-before)
			}
		case "run":
			if peak > 0 && m.Weights > 0 {
				m.RunPeak = max(m.RunPeak, m.Weights+max(0, peak-before))
			}
		}
	}
	return list
}

// inUse is what the framework holds or, where it does not tell, the device.
func (v *VRAM) inUse() scheduler.Bytes {
	if v.Allocated > 0 || v.Total == 0 {
		return v.Allocated
	}
	return v.Total - v.Free
}

// laneRates are what a PCI Express lane of each generation moves one way, in
// bytes a second, after line coding (8b/10b up to 2, 128b/130b up to 5, FLIT of
// 242 in 256 bytes for 6; PCI-SIG base specifications).
var laneRates = [...]float64{1: 2.5e9 / 10, 2: 5e9 / 10, 3: 8e9 / 8 * 128 / 130, 4: 16e9 / 8 * 128 / 130, 5: 32e9 / 8 * 128 / 130, 6: 64e9 / 8 * 242 / 256}

// LinkRate returns what a PCI Express link can move one way at best, in bytes
// a second; 0 if that is not known.
func LinkRate(generation, width Reading) float64 {
	if generation < 1 || int(generation) >= len(laneRates) || width < 1 {
		return 0
	}
	return laneRates[generation] * float64(width)
}

// FastestLink returns the fastest link among the samples of a run: links slow
// down while they idle. Both are Unknown if no sample tells.
func FastestLink(records []Record) (generation, width Reading) {
	generation, width = Unknown, Unknown
	for _, r := range records {
		if s, ok := r.Body.(*Sample); ok && LinkRate(s.LinkGen, s.LinkWidth) > LinkRate(generation, width) {
			generation, width = s.LinkGen, s.LinkWidth
		}
	}
	return generation, width
}
