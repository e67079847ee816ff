package fidelity

import (
	"encoding/binary"
	"hash/fnv"
	"maps"

	"github.com/vramsim/vramsim/results/metrics"
	"github.com/vramsim/vramsim/scheduler"
)

// Figures that a Run has beside the values of metrics.
const (
	LatencyMean = metrics.ItemLatency + ".mean"
	LatencyP50  = metrics.ItemLatency + ".p50"
	LatencyP95  = metrics.ItemLatency + ".p95"
	LatencyP99  = metrics.ItemLatency + ".p99"
	BytesLoaded = "bytes_loaded" // Σ bytes of the models whose loads were started
)

// Run is what one log says: one replicate of one policy in one cell.
type Run struct {
	Replicate int
	// Workload names the arrivals: runs in which it agrees had the same.
	Workload string
	// Figures are the values of package metrics and those named above; what is
	// undefined is absent.
	Figures map[string]float64
	// Items by id: when each arrived and finished, scheduler.Never if it did not.
	// Nil for a run without a log.
	Items []Item
	// Decisions of the policy in order.
	Decisions []Decision
	// Durations of what succeeded, in the order of its ends.
	Durations []Duration
	// Excluded says why the run does not count; empty if it does.
	Excluded []string
}

// Item is when an item arrived and finished.
type Item struct {
	Model             scheduler.ModelID
	Arrived, Finished scheduler.Time
}

// Latency returns what the item took and whether it finished.
func (i Item) Latency() (scheduler.Time, bool) {
	return i.Finished - i.Arrived, i.Finished != scheduler.Never
}

// Decision is one choice of the policy: a load, an eviction, a batch with its
// members, a refusal, a hold.
type Decision struct {
	// Key is the same for the same choice, whenever it is taken and whatever was
	// estimated.
	Key   uint64
	Seq   int64
	Event scheduler.Event
}

// Phase is what a duration is one of.
type Phase string

// The phases.
const (
	PhaseLoadDisk Phase = "load disk"
	PhaseLoadHost Phase = "load host"
	PhaseBatch    Phase = "batch"
	PhaseUnload   Phase = "unload"
)

// Duration is how long a command took, from its decision to the fact that it
// ended.
type Duration struct {
	Model scheduler.ModelID
	Phase Phase
	N     int // members of a batch
	Took  scheduler.Time
}

// Fold is a scheduler.Sink that makes a Run of a log.
type Fold struct {
	cfg     metrics.Config
	figures *metrics.Fold
	run     Run
	seq     int64
	bytes   float64
	staged  []int64                   // members of the batch being put together
	open    map[int64]scheduler.Event // commands in flight, by sequence number
	members map[int64][]int64         // of batches in flight
	dropped map[int64]bool            // items cancelled while they run
}

// NewFold returns a fold of a run of the given configuration.
func NewFold(cfg metrics.Config) (*Fold, error) {
	figures, err := metrics.New(cfg)
	if err != nil {
		return nil, err
	}
	return &Fold{cfg: cfg, figures: figures, open: map[int64]scheduler.Event{}, members: map[int64][]int64{}, dropped: map[int64]bool{}}, nil
}

// Append takes the next events.
func (f *Fold) Append(events []scheduler.Event) error {
	if err := f.figures.Append(events); err != nil {
		return err
	}
	for _, ev := range events {
		f.follow(ev)
		f.seq++
	}
	return nil
}

func (f *Fold) follow(ev scheduler.Event) {
	switch ev.Kind {
	case scheduler.ItemArrived: // numbered densely
		f.run.Items = append(f.run.Items, Item{ev.Model, ev.At, scheduler.Never})
	case scheduler.ItemCancelled:
		f.dropped[ev.ID] = true
	case scheduler.MemberDispatched:
		f.staged = append(f.staged, ev.ID)
	case scheduler.BatchStarted:
		f.decided(ev, f.staged)
		f.open[ev.ID], f.members[ev.ID] = ev, f.staged
		f.staged = nil
	case scheduler.LoadStarted:
		f.bytes += float64(f.cfg.Models[ev.Model].Bytes)
		f.decided(ev, nil)
		f.open[ev.ID] = ev
	case scheduler.EvictStarted:
		f.decided(ev, nil)
		f.open[ev.ID] = ev
	case scheduler.ItemRejected, scheduler.ModelHeld:
		f.decided(ev, nil)
	case scheduler.BatchFinished, scheduler.LoadFinished, scheduler.EvictFinished:
		f.finished(ev)
	case scheduler.BatchFailed, scheduler.LoadFailed, scheduler.EvictFailed:
		delete(f.open, ev.ID)
		delete(f.members, ev.ID)
	case scheduler.DeviceDown:
		maps.DeleteFunc(f.open, func(_ int64, begun scheduler.Event) bool { return begun.Device == ev.Device })
	}
}

func (f *Fold) finished(ev scheduler.Event) {
	begun := f.open[ev.ID]
	delete(f.open, ev.ID)
	d := Duration{Model: ev.Model, Took: ev.At - begun.At}
	switch ev.Kind {
	case scheduler.LoadFinished:
		d.Phase = PhaseLoadDisk
		if begun.Tier() == scheduler.TierHost {
			d.Phase = PhaseLoadHost
		}
	case scheduler.EvictFinished:
		d.Phase = PhaseUnload
	case scheduler.BatchFinished:
		d.Phase, d.N = PhaseBatch, begun.Members()
		for _, id := range f.members[ev.ID] {
			if !f.dropped[id] {
				f.run.Items[id].Finished = ev.At
			}
		}
		delete(f.members, ev.ID)
	}
	f.run.Durations = append(f.run.Durations, d)
}

// decided adds a decision. Its key has neither times nor estimates nor
// sequence numbers.
func (f *Fold) decided(ev scheduler.Event, members []int64) {
	h := fnv.New64a()
	var b []byte
	for _, v := range append([]int64{int64(ev.Kind), int64(ev.Model), int64(ev.Device)}, members...) {
		b = binary.AppendVarint(b, v)
	}
	switch ev.Kind {
	case scheduler.ItemRejected:
		b = binary.AppendVarint(b, ev.ID)
	case scheduler.LoadStarted:
		b = append(b, byte(ev.Tier()))
	}
	h.Write(b)
	f.run.Decisions = append(f.run.Decisions, Decision{h.Sum64(), f.seq, ev})
}

// Run returns the run of the events so far. Slices are shared with the fold.
func (f *Fold) Run() *Run {
	r := f.run
	r.Figures = figuresOf(f.figures.Result())
	r.Figures[BytesLoaded] = f.bytes
	return &r
}

// FromResult returns a run of which there is no log: figures, and nothing of
// items, decisions and durations.
func FromResult(res *metrics.Result) *Run { return &Run{Figures: figuresOf(res)} }

func figuresOf(res *metrics.Result) map[string]float64 {
	figures := maps.Clone(res.Values)
	if figures == nil {
		figures = map[string]float64{}
	}
	if l := res.Distributions[metrics.ItemLatency]; l.N > 0 {
		figures[LatencyMean], figures[LatencyP50], figures[LatencyP95], figures[LatencyP99] = l.Mean, l.P50, l.P95, l.P99
	}
	return figures
}

var _ scheduler.Sink = (*Fold)(nil)
