package nvml

import (
	"reflect"
	"testing"

	"github.com/vramsim/vramsim/scheduler"
)

// TestDeclaredAgainstMeasured: what commands alone on the device take is held
// against what models declare; what overlaps is not measured.
func TestDeclaredAgainstMeasured(t *testing.T) {
	const mb = scheduler.MB
	m := newMemories([]scheduler.Model{{Name: "b", Bytes: 100 * mb, Batch: scheduler.BatchCost{Memory: 10 * mb}}, {Name: "a", Bytes: 50 * mb}})
	seq := uint64(0)
	begin := func(op scheduler.Operation, model scheduler.ModelID, items, others int) uint64 {
		seq++
		m.start(scheduler.Command{Seq: seq, Op: op, Model: model, Items: make([]scheduler.CommandItem, items)}, others)
		return seq
	}
	end := func(seq uint64, allocated, peak scheduler.Bytes) {
		m.end(&scheduler.Outcome{Seq: seq, Memory: scheduler.DeviceMemory{Total: 1000 * mb, Allocated: allocated, PeakAllocated: peak}})
	}
	end(begin(scheduler.OpLoad, 1, 0, 0), 50*mb, 50*mb)   // nothing is known of before
	end(begin(scheduler.OpLoad, 0, 0, 0), 160*mb, 170*mb) // 110 of 100
	end(begin(scheduler.OpRun, 0, 2, 0), 160*mb, 175*mb)  // 15 of 20
	end(begin(scheduler.OpRun, 0, 3, 0), 160*mb, 195*mb)  // 35 of 30
	first := begin(scheduler.OpRun, 0, 1, 0)
	second := begin(scheduler.OpRun, 1, 1, 1)
	end(second, 160*mb, 900*mb)
	end(first, 160*mb, 900*mb)
	end(begin(scheduler.OpEvict, 0, 0, 0), 53*mb, 160*mb) // 3 are left
	want := []ModelMemory{{Model: "b", Declared: 100 * mb, Weights: 110 * mb, LoadPeak: 120 * mb, Residue: 3 * mb,
		Batches: []BatchMemory{{Size: 2, Declared: 20 * mb, Peak: 15 * mb}, {Size: 3, Declared: 30 * mb, Peak: 35 * mb}}}}
	if got := m.all(); !reflect.DeepEqual(got, want) {
		t.Errorf("measured %+v\nwant %+v", got, want)
	}
	end(begin(scheduler.OpEvict, 1, 0, 0), 0, 0) // only what is free is told now: another measure
	end(begin(scheduler.OpLoad, 0, 0, 0), 90*mb, 90*mb)
	if got := m.all(); !reflect.DeepEqual(got, want) {
		t.Errorf("two measures were compared: %+v", got)
	}
	if found := want[0].excess(); len(found) != 2 {
		t.Errorf("excess: %q", found)
	}
}
