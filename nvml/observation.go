package nvml

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/vramsim/vramsim/scheduler"
)

// Observation is what is seen beside the facts of a run. Exactly one of the
// pointers is set; the run does not depend on any.
type Observation struct {
	At     scheduler.Time // on the run's clock
	Device scheduler.DeviceID
	Sample *DeviceSample
	Ended  *Ended
	Late   *Lateness
	Energy *Energy
	Mark   *Mark
}

// DeviceSample is a moment of a device.
type DeviceSample struct {
	Sample
	Memory  Memory
	Foreign scheduler.Bytes // of other processes; Unknown if it cannot be told
}

// Ended is a command with its outcome, the side data included.
type Ended struct {
	Command scheduler.Command
	Outcome scheduler.Outcome
}

// Lateness is an arrival or timer that became a fact after it was due.
type Lateness struct {
	Fact scheduler.Event
	Due  scheduler.Time
}

// Energy is the device's counter.
type Energy struct{ Millijoules uint64 }

// Mark is a remark: throttling, a gap, a fault, a restart.
type Mark struct {
	Code string // like "throttled"
	Text string
}

// Report is what a run on hardware says of itself when it has ended.
type Report struct {
	Invalid []string `json:"invalid,omitempty"` // why its figures are not to be trusted
	// HostLate says that one of the reasons is that the host was late, which
	// another try may not be.
	HostLate bool `json:"host_late,omitempty"`
	// Dropped counts the observations that Observe was not told of, because it
	// was too slow; the run is invalid if there are some.
	Dropped int            `json:"dropped_observations,omitempty"`
	Late    LateQuantiles  `json:"late"`
	Devices []DeviceReport `json:"devices"`
}

// Joules returns the energy of all devices; false if some have no counter.
func (r *Report) Joules() (float64, bool) {
	sum := 0.0
	for i := range r.Devices {
		if !r.Devices[i].Metered {
			return 0, false
		}
		sum += r.Devices[i].Joules
	}
	return sum, len(r.Devices) > 0
}

// LateQuantiles say how late arrivals and timers became facts.
type LateQuantiles struct {
	N   int            `json:"n"`
	P50 scheduler.Time `json:"p50_ns"`
	P99 scheduler.Time `json:"p99_ns"`
	Max scheduler.Time `json:"max_ns"`
}

// DeviceReport is one device's part. Without telemetry most is zero.
type DeviceReport struct {
	Executor  string          `json:"executor"`
	Info      *DeviceInfo     `json:"info,omitempty"`
	Samples   int             `json:"samples"`
	Throttled float64         `json:"throttled_ratio"` // of the samples
	Gap       time.Duration   `json:"longest_gap_ns"`
	Baseline  scheduler.Bytes `json:"baseline_bytes"` // in use before the executor was opened
	Residue   scheduler.Bytes `json:"residue_bytes"`  // in use at the end, beyond that
	Peak      scheduler.Bytes `json:"peak_bytes"`     // in use in any sample, beyond that
	Joules    float64         `json:"energy_joules"`  // of the run by the counter; 0 if there is none
	// Compared is the part of Joules between the first sample and the last,
	// Integrated the same by the samples' power: GPU.md's two figures.
	Compared   float64 `json:"compared_joules"`
	Integrated float64 `json:"integrated_joules"`
	// EnergyDiffers says that they differ by more than EnergyTolerance of the
	// larger and a CounterStep of the most power, which is marked, too.
	EnergyDiffers bool          `json:"energy_differs,omitempty"`
	CounterFalls  int           `json:"energy_counter_falls,omitempty"` // how often the counter was less than before
	Metered       bool          `json:"metered"`                        // whether there is a counter
	Restarts      int           `json:"restarts"`
	RestartTime   time.Duration `json:"restart_ns"` // all together
	Models        []ModelMemory `json:"models,omitempty"`
}

// observer tells of observations on a goroutine of its own: whoever sees
// something must not wait for a disk.
type observer struct {
	tell func(Observation)
	done chan struct{} // closed when all are told

	mu      sync.Mutex // of what follows, and of closing the queue
	queue   chan Observation
	dropped int
	closed  bool
}

func newObserver(tell func(Observation), room int) *observer {
	o := &observer{tell: tell, done: make(chan struct{}), queue: make(chan Observation, room)}
	go func() {
		defer close(o.done)
		for x := range o.queue {
			o.tell(x)
		}
	}()
	return o
}

// add queues an observation, or counts it if there is no room. After close it
// does nothing: the run is over.
func (o *observer) add(x Observation) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	select {
	case o.queue <- x:
	default:
		o.dropped++
	}
}

// close waits until all that is queued has been told and returns how many
// observations were dropped; they are the last that is told.
func (o *observer) close(at scheduler.Time) (dropped int) {
	o.mu.Lock()
	o.closed = true
	dropped = o.dropped
	o.mu.Unlock()
	if dropped > 0 {
		o.queue <- Observation{At: at, Device: scheduler.NoDevice, Mark: &Mark{Code: "dropped", Text: fmt.Sprintf("%d observations before", dropped)}}
	}
	close(o.queue)
	<-o.done
	return dropped
}

// latenesses collects how late facts were and how long batches took; it
// belongs to Drive's goroutine.
type latenesses struct {
	late, batches []scheduler.Time
}

func (l *latenesses) add(t scheduler.Time) { l.late = append(l.late, max(0, t)) }

func (l *latenesses) quantiles() LateQuantiles {
	if len(l.late) == 0 {
		return LateQuantiles{}
	}
	sorted := slices.Sorted(slices.Values(l.late))
	return LateQuantiles{N: len(sorted), P50: atRank(sorted, 0.5), P99: atRank(sorted, 0.99), Max: sorted[len(sorted)-1]}
}

// atRank returns the nearest-rank quantile of sorted values, of which there
// are some.
func atRank(sorted []scheduler.Time, q float64) scheduler.Time {
	return sorted[max(0, min(len(sorted)-1, int(float64(len(sorted))*q+0.999999)-1))]
}

// brief is a time for people.
func brief(t scheduler.Time) time.Duration { return time.Duration(t).Round(10 * time.Microsecond) }

// judgeLateness compares how late the host was with the limits.
func (w *World) judgeLateness() {
	if w.report.Late.N == 0 {
		return
	}
	limit := scheduler.Time(w.cfg.Limits.Late)
	if n := len(w.late.batches); n > 0 {
		median := atRank(slices.Sorted(slices.Values(w.late.batches)), 0.5)
		limit = max(limit, scheduler.Time(w.cfg.Limits.LateShare*float64(median)))
	}
	if p99 := w.report.Late.P99; p99 > limit {
		w.report.HostLate = true
		w.invalidate("the host was late: arrivals and timers became facts up to %v after they were due (99th percentile; at most %v is allowed)",
			brief(p99), brief(limit))
	}
}
