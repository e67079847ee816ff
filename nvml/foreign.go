package nvml

import (
	"os"
	"slices"

	"github.com/vramsim/vramsim/scheduler"
)

// foreign tells the memory of a device that other processes hold from what is
// this run's. Where one of the run's processes is on the list of processes, the
// others on it are foreign. Where none is, as in a container that is shown the
// host's PIDs, foreign is what is used less what is ours, and that is
//
//	ours = fixed + held + what is in flight
//
// fixed is what was in use before the first command: driver, context, and
// whoever was there already. held is what the last outcome told that the
// executor has: reserved bytes, or those that are allocated. A command in flight
// may have taken all that it takes, or nothing yet: a load its model's declared
// bytes, a batch those of its items, either more if it was told to have had more
// at its peak before; and it may have given back what the last outcome counted.
// That gives an interval for what is foreign. Only what is outside of it has
// moved, and is then taken to be at the interval's nearest end.
//
// Executors whose outcomes tell nothing of memory are not judged while commands
// are in flight: a server takes what it likes, whatever was declared.
//
// The error: what others take and give back within the interval is not seen
// while it lasts; it is as wide as what is in flight. Libraries and workspaces
// that come with the first command of a kind (of a model and size) are told by
// nobody, and cannot be told from what others take meanwhile. So until the first
// sample after such a command, and after one that failed, a restart, or any
// command where outcomes tell nothing, what does not fit counts as ours and
// belongs to fixed from then on.
//
// Its methods want the device's lock.
type foreign struct {
	models   []scheduler.Model
	told     scheduler.Bytes // foreign bytes, as last reported
	fixed    scheduler.Bytes
	held     scheduler.Bytes // as outcomes tell it
	tells    bool            // they do
	resident map[scheduler.ModelID]bool
	flying   map[uint64]flight
	peaks    map[work]scheduler.Bytes // beyond what was held before, as told; those that are over are there
	learning bool                     // what does not fit is ours
	changes  int                      // commands begun or ended: memory may have changed
}

// flight is a command in flight.
type flight struct {
	scheduler.Command
	counted bool // held may have some of what it takes
}

// work is a kind of command that takes the same each time.
type work struct {
	op    scheduler.Operation
	model scheduler.ModelID
	n     int // items
}

func workOf(c *scheduler.Command) work { return work{c.Op, c.Model, len(c.Items)} }

// open notes what is used before the first command. What the executor takes when
// it is opened comes on top, unless it is open already.
func (f *foreign) open(used scheduler.Bytes) {
	f.fixed = used
	f.restart()
}

// restart notes that an executor begins anew, with nothing resident.
func (f *foreign) restart() {
	f.held, f.learning = 0, true
	f.resident, f.peaks = map[scheduler.ModelID]bool{}, map[work]scheduler.Bytes{}
	if f.flying == nil {
		f.flying = map[uint64]flight{}
	}
	f.changes++
}

// start notes a command.
func (f *foreign) start(c scheduler.Command) {
	if f.flying == nil { // nobody looks at the device
		return
	}
	f.flying[c.Seq] = flight{Command: c}
	f.changes++
}

// end notes an outcome.
func (f *foreign) end(o *scheduler.Outcome) {
	c, ok := f.flying[o.Seq]
	if !ok {
		return
	}
	delete(f.flying, o.Seq)
	f.changes++
	k := workOf(&c.Command)
	if _, known := f.peaks[k]; !known || o.Failure != nil {
		f.learning = true
	}
	if o.Failure == nil {
		f.peaks[k] = max(f.peaks[k], max(o.Memory.PeakReserved, o.Memory.PeakAllocated)-f.held)
		switch c.Op {
		case scheduler.OpLoad:
			f.resident[c.Model] = true
		case scheduler.OpEvict:
			delete(f.resident, c.Model)
		}
	}
	f.take(&o.Memory)
}

// take notes what an outcome tells of the executor's memory.
func (f *foreign) take(m *scheduler.DeviceMemory) {
	has, peak := max(m.Reserved, m.Allocated), max(m.PeakReserved, m.PeakAllocated)
	switch {
	case *m == scheduler.DeviceMemory{} && f.tells:
		return // this one has nothing to tell
	case has == 0 && peak == 0 && (!f.tells || len(f.resident) > 0):
		f.tells, f.held, f.learning = false, 0, true
		return
	}
	f.tells, f.held = true, has
	for seq, c := range f.flying {
		c.counted = true
		f.flying[seq] = c
	}
}

// interval is what of the device is ours: at least and at most.
func (f *foreign) interval() (least, most scheduler.Bytes) {
	least, most = f.fixed+f.held, f.fixed+f.held
	for _, c := range f.flying {
		weights := max(f.models[c.Model].Bytes, f.peaks[work{scheduler.OpLoad, c.Model, 0}])
		takes := weights
		if c.Op == scheduler.OpRun {
			takes = max(f.models[c.Model].Batch.Memory*scheduler.Bytes(len(c.Items)), f.peaks[workOf(&c.Command)])
		}
		if c.Op != scheduler.OpEvict {
			most += takes
		}
		if c.Op == scheduler.OpEvict || c.counted {
			least -= takes
		}
	}
	return least, most
}

// first reports whether a command is in flight that is the first of its kind.
func (f *foreign) first() bool {
	for _, c := range f.flying {
		if _, known := f.peaks[workOf(&c.Command)]; !known {
			return true
		}
	}
	return false
}

// of returns what is foreign of what is used: as it was told last if that may be.
func (f *foreign) of(used scheduler.Bytes) scheduler.Bytes {
	if !f.tells && len(f.flying) > 0 {
		return Unknown
	}
	least, most := f.interval()
	misfit := scheduler.Bytes(0) // above the interval, or below it
	switch {
	case used-most > f.told:
		misfit = used - most - f.told
	case used-least < f.told:
		misfit = used - least - f.told
	}
	if first := f.first(); f.learning || first {
		f.fixed += misfit
		f.learning = first
		return f.told
	}
	return max(0, f.told+misfit)
}

// foreignStep is by how much the memory of others must move to be a fact.
const foreignStep = 64 * scheduler.MiB

// unlistedBytes returns what is foreign without the list of processes, Unknown if
// that cannot be told now: while the device is down, or if a command began or
// ended while used was read, since changes were counted.
func (d *watched) unlistedBytes(used scheduler.Bytes, changes int) scheduler.Bytes {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down || changes != d.foreign.changes {
		return Unknown
	}
	return d.foreign.of(used)
}

// foreignListed sums what processes other than our own hold. It fails if some
// are not told, or if ours are not among them: in a container they may be
// listed under other numbers.
func foreignListed(listed []Process, own []int) (scheduler.Bytes, bool) {
	var sum scheduler.Bytes
	found := false
	for _, p := range listed {
		switch {
		case slices.Contains(own, p.PID):
			found = true
		case p.Bytes == Unknown:
			return 0, false
		default:
			sum += p.Bytes
		}
	}
	return sum, found
}

func (w *World) ownPids() []int {
	own := []int{os.Getpid()}
	if w.cfg.Pids != nil {
		own = append(own, w.cfg.Pids()...)
	}
	return own
}
