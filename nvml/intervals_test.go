package nvml

import (
	"testing"
	"time"

	"github.com/vramsim/vramsim/scheduler"
)

// TestForeignIntervals: what commands in flight may have taken or given back, and
// what outcomes told of, is ours; what is outside of that is not.
func TestForeignIntervals(t *testing.T) {
	const mb = scheduler.MB
	f := &foreign{models: []scheduler.Model{{Name: "a", Bytes: 1000 * mb, Batch: scheduler.BatchCost{Memory: 100 * mb}}, {Name: "b", Bytes: 500 * mb}}}
	f.open(70 * mb)
	seq := uint64(0)
	begin := func(op scheduler.Operation, m scheduler.ModelID, items int) uint64 {
		seq++
		f.start(scheduler.Command{Seq: seq, Op: op, Model: m, Items: make([]scheduler.CommandItem, items)})
		return seq
	}
	end := func(seq uint64, has, peak scheduler.Bytes) {
		f.end(&scheduler.Outcome{Seq: seq, Memory: scheduler.DeviceMemory{Total: 24 * scheduler.GB, Reserved: has, PeakReserved: peak}})
	}
	is := func(what string, used, want scheduler.Bytes) {
		t.Helper()
		if got := f.of(used); got != want {
			t.Errorf("%s: of %v in use %v are foreign, want %v", what, used, got, want)
		}
	}
	is("the context that comes with the first sample is ours", 270*mb, 0)
	end(begin(scheduler.OpLoad, 0, 0), 1100*mb, 1200*mb)
	is("a first load leaves 50 MB that nobody tells of", 1420*mb, 0)
	is("others", 1620*mb, 200*mb)
	f.told = 200 * mb // a report
	end(begin(scheduler.OpRun, 0, 2), 1100*mb, 1500*mb)
	is("the first batch leaves 100 MB that nobody tells of", 1720*mb, 200*mb)
	run := begin(scheduler.OpRun, 0, 2)
	is("a batch has taken nothing yet", 1720*mb, 200*mb)
	is("it has taken what the one before had", 2120*mb, 200*mb)
	is("more than that", 2190*mb, 270*mb)
	is("less than what it may have at least", 1600*mb, 80*mb)
	end(begin(scheduler.OpLoad, 1, 0), 2000*mb, 2000*mb) // 400 of the batch's are in it
	f.of(2620 * mb)                                      // learns the load
	is("the batch may have given back what was counted", 2220*mb, 200*mb)
	is("and no more than that", 2120*mb, 100*mb)
	end(run, 1600*mb, 2000*mb)
	is("it has", 2220*mb, 200*mb)
	evict := begin(scheduler.OpEvict, 0, 0)
	f.of(2220 * mb)
	end(evict, 500*mb, 1600*mb)
	f.of(1120 * mb)
	f.told = 0
	is("nobody is there any more", 920*mb, 0)
	is("less than nothing is nothing", 100*mb, 0)
	end(begin(scheduler.OpEvict, 1, 0), 0, 0)
	f.of(420 * mb)
	last := begin(scheduler.OpRun, 0, 2)
	is("nothing is resident, so that nothing is what was told", 1020*mb, 200*mb)
	end(last, 0, 0)

	f.end(&scheduler.Outcome{Seq: begin(scheduler.OpLoad, 0, 0), Failure: &scheduler.CommandError{}, Memory: scheduler.DeviceMemory{Total: 1, Reserved: 500 * mb}})
	is("what a failed command leaves is ours", 1500*mb, 0)
	is("once", 1700*mb, 200*mb)
	f.restart()
	is("what a restart leaves is ours", 300*mb, 0)
	end(begin(scheduler.OpLoad, 0, 0), 0, 0) // nothing is told
	load := begin(scheduler.OpLoad, 1, 0)
	is("without figures nothing is told while commands are in flight", 5000*mb, Unknown)
	end(load, 0, 0)
	is("what comes with a command is ours then", 2000*mb, 0)
	is("what comes without is not", 2100*mb, 100*mb)
}

// TestForeignWhileSomethingMoves: bytes that were read while a command began or
// ended are of neither state, and a device that is down tells nothing.
func TestForeignWhileSomethingMoves(t *testing.T) {
	d := &watched{}
	d.foreign.open(0)
	before := d.foreignChanges()
	if got := d.unlistedBytes(300, before); got != 0 {
		t.Errorf("%v are foreign of a context", got)
	}
	if got := d.unlistedBytes(800, before); got != 500 {
		t.Errorf("%v are foreign, want 500", got)
	}
	d.foreign.models = []scheduler.Model{{}}
	d.foreign.start(scheduler.Command{Seq: 1, Op: scheduler.OpLoad})
	if got := d.unlistedBytes(800, before); got != Unknown {
		t.Errorf("%v are foreign while a command begins", got)
	}
	before = d.foreignChanges()
	d.foreign.end(&scheduler.Outcome{Seq: 1})
	if got := d.unlistedBytes(800, before); got != Unknown {
		t.Errorf("%v are foreign while a command ends", got)
	}
	d.down = true
	if got := d.unlistedBytes(800, d.foreignChanges()); got != Unknown {
		t.Errorf("%v are foreign while the device is down", got)
	}
}

// TestMeter: what a counter that wraps or begins anew has not shown is taken from
// the power, and the figures are only held against each other where both are whole.
func TestMeter(t *testing.T) {
	metered := func(counter ...uint64) *meter { // 100 W and half a second between values
		m := &meter{}
		m.begin(counter[0])
		m.both()
		for _, v := range counter[1:] {
			m.power(100, 100, 500*time.Millisecond)
			m.count(v)
			m.both()
		}
		return m
	}
	if m := metered(1<<32-20_000, 1<<32+30_000); m.counted != 50 || m.falls != 0 {
		t.Errorf("%v J of 50, %d falls", m.counted, m.falls)
	}
	if m := metered(1<<32-20_000, 30_000, 80_000); m.counted != 100 || m.falls != 1 {
		t.Errorf("wrapped: %v J of 100, %d falls", m.counted, m.falls)
	}
	blind := &meter{}
	blind.begin(1 << 32)
	blind.power(-1, 100, time.Second)
	if fell := blind.count(30_000); !fell || blind.counted != 30 {
		t.Errorf("without power: %v J of at least 30", blind.counted)
	}
	const start = 1000
	for name, c := range map[string]struct {
		m    *meter
		want bool
	}{
		"within":  {metered(start, start+50_000, start+100_000, start+160_000, start+215_000), false}, // 215 J of 200 may be off by 10.75 and 10
		"beyond":  {metered(start, start+50_000, start+100_000, start+160_000, start+222_500), true},  // 222.5: 11.125 and 10
		"below":   {metered(start, start+50_000, start+100_000, start+150_000, start+179_500), true},  // 179.5: 10 and 10
		"too few": {metered(start, start+90_000), false},
	} {
		if joules, tooMuch := c.m.differ(); tooMuch != c.want {
			t.Errorf("%s: %v J, too much %v", name, joules, tooMuch)
		}
	}
	m := metered(start, start+50_000, start+100_000, start+160_000, start+300_000)
	m.power(-1, 100, 100*time.Millisecond)
	if _, tooMuch := m.differ(); tooMuch {
		t.Error("an integral with a gap in it is held against the counter")
	}
	m = &meter{}
	m.begin(start)
	m.power(0, 100, time.Second) // 50 J, and 900 by the counter while the executor was opened
	m.count(start + 900_000)
	m.both()
	m.power(100, 100, 2*time.Second)
	m.count(start + 1_100_000)
	m.both()
	if joules, _ := m.differ(); joules != 0 || m.counted != 1100 || m.integrated != 250 {
		t.Errorf("%v J apart, %v counted, %v integrated", joules, m.counted, m.integrated)
	}
	m = metered(start, start+50_000, start+100_000)
	m.power(500, 500, time.Second) // the counter has not been read since
	if joules, tooMuch := m.differ(); tooMuch || joules != 0 {
		t.Errorf("%v J: the counter is held against power that it has not seen", joules)
	}
}
