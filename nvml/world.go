package nvml

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/vramsim/vramsim/scheduler"
)

// Config describes a World.
type Config struct {
	// Inbox is the world underneath. Its Late and Ended are told too.
	Inbox scheduler.InboxConfig
	// Telemetry of the devices, in their order; nil for one without. The World
	// reads it, no call for longer than DefaultPatience, and does not close it.
	Telemetry []Telemetry
	// Sampling is the time between samples; 0 means DefaultSampling, less no
	// samples.
	Sampling time.Duration
	// Pids returns the processes that are the run's own, beside this one; nil
	// means none.
	Pids func() []int
	// Kept says that the executors stay open after the run: what their opening
	// takes belongs to the baseline then.
	Kept bool
	// Shared says that others may use the devices: that their memory moves does
	// not make the run invalid.
	Shared bool
	// StrictVRAM says that a model that takes more than it declares makes the
	// run invalid.
	StrictVRAM bool
	// Limits beyond which a run is invalid; zero values are the defaults.
	Limits Limits
	// Observe, if not nil, is told what is seen beside the facts, in order and
	// one at a time, on a goroutine of its own: it may be slow. Backlog
	// observations can wait for it (0: DefaultBacklog). What finds no room is
	// dropped, for the run must not wait, and makes it invalid. Close returns
	// when all the others have been told.
	Observe func(Observation)
	Backlog int
}

// Limits say how much trouble a valid run has.
type Limits struct {
	// Throttled is the share of a device's samples with a reason of Throttling.
	Throttled float64
	// Gap is the longest time between two samples.
	Gap time.Duration
	// Late is the 99th percentile of how late arrivals and timers may become
	// facts, and LateShare the same as a share of the median batch; the larger
	// counts.
	Late      time.Duration
	LateShare float64
	// Residue is how far from its start a device's memory may be at the end.
	Residue scheduler.Bytes
}

// Defaults of a Config.
const (
	DefaultSampling  = 100 * time.Millisecond
	DefaultThrottled = 0.05
	DefaultGap       = 2 * time.Second
	DefaultLate      = time.Millisecond
	DefaultLateShare = 0.01
	DefaultResidue   = 64 * scheduler.MiB
	DefaultBacklog   = 1 << 14 // some ten minutes of one card's samples
)

func (c *Config) fill() {
	def(&c.Sampling, DefaultSampling)
	def(&c.Limits.Throttled, DefaultThrottled)
	def(&c.Limits.Gap, max(DefaultGap, 20*c.Sampling))
	def(&c.Limits.Late, DefaultLate)
	def(&c.Limits.LateShare, DefaultLateShare)
	def(&c.Limits.Residue, DefaultResidue)
	def(&c.Backlog, DefaultBacklog)
	if c.Observe == nil {
		c.Observe = func(Observation) {}
	}
	if c.Telemetry == nil {
		c.Telemetry = make([]Telemetry, len(c.Inbox.Executors))
	}
}

func def[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

// World is the hardware: scheduler.Inbox, with what telemetry adds as facts
// (memory of other processes, lost devices) and as observations beside them.
// Executors that lose their device are restarted.
type World struct {
	*scheduler.Inbox
	cfg     Config
	devices []*watched
	seen    *observer
	// watching ends when nothing is sampled or restarted any more.
	watching context.Context
	stop     context.CancelFunc
	running  sync.WaitGroup

	late  latenesses
	began map[int64]scheduler.Time // batches in flight; belongs to Drive's goroutine

	mu      sync.Mutex // of what follows
	invalid []string
	closed  bool

	closing sync.Once
	report  Report
	failed  error
}

// ErrDeviceLost is why a run ends whose device is gone for good.
var ErrDeviceLost = errors.New("the device is lost")

// Open reads the baselines, opens the executors and starts clock and sampling.
// Errors are those of scheduler.OpenInbox, and what telemetry says if a
// baseline cannot be read. Whoever opened a World has to Close it.
func Open(ctx context.Context, cfg Config) (*World, error) {
	cfg.fill()
	w := &World{cfg: cfg, began: map[int64]scheduler.Time{}, seen: newObserver(cfg.Observe, cfg.Backlog)}
	w.watching, w.stop = context.WithCancel(context.WithoutCancel(ctx))
	if err := w.open(ctx); err != nil {
		w.stop()
		w.seen.close(0)
		return nil, err
	}
	for _, d := range w.devices {
		d.watch(w.watching)
	}
	return w, nil
}

// open opens the executors.
func (w *World) open(ctx context.Context) error {
	cfg := &w.cfg
	inner := cfg.Inbox
	inner.Executors = nil
	for d, e := range cfg.Inbox.Executors {
		device := &watched{Executor: e, world: w, id: scheduler.DeviceID(d), telemetry: Bounded(cfg.Telemetry[d], DefaultPatience),
			outcomes: make(chan scheduler.Outcome), gone: make(chan struct{})}
		if err := device.begin(); err != nil {
			return fmt.Errorf("device %d: %w", d, err)
		}
		w.devices = append(w.devices, device)
		inner.Executors = append(inner.Executors, device)
	}
	inner.Late, inner.Ended = w.tellLate, w.tellEnded
	var err error
	if w.Inbox, err = scheduler.OpenInbox(ctx, inner); err != nil || !cfg.Kept {
		return err
	}
	if err := w.readBaselines(); err != nil {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), scheduler.DefaultStopTimeout)
		defer cancel()
		w.stop()
		return errors.Join(err, w.Inbox.Close(closing))
	}
	return nil
}

func (w *World) readBaselines() error {
	for d := range w.devices {
		if err := w.devices[d].readBaseline(); err != nil {
			return fmt.Errorf("device %d: %w", d, err)
		}
	}
	return nil
}

// Next returns the next facts. Once the loss of a device for good has been
// one of them, the run ends with ErrDeviceLost.
func (w *World) Next() ([]scheduler.Event, error) {
	facts, err := w.Inbox.Next()
	if err != nil {
		return facts, err
	}
	for i := range facts {
		if facts[i].Kind == scheduler.DeviceDown && w.devices[facts[i].Device].hear() {
			w.Stop(ErrDeviceLost)
		}
	}
	return facts, nil
}

// Start carries out an effect.
func (w *World) Start(ev scheduler.Event) error {
	if ev.Kind == scheduler.BatchStarted {
		w.began[ev.ID] = ev.At
	}
	return w.Inbox.Start(ev)
}

// Lose says that a device is lost with all that is in flight and resident
// there; its executor is restarted. While that lasts it says nothing new.
func (w *World) Lose(d scheduler.DeviceID) { w.devices[d].lose(w.devices[d].now()) }

// background runs f beside the run, whose end waits for it; after that it does
// nothing.
func (w *World) background(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.running.Go(f)
	}
}

// invalidate says that the run's figures are not to be trusted, and why.
func (w *World) invalidate(format string, args ...any) {
	reason := fmt.Sprintf(format, args...)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.invalid = append(w.invalid, reason)
}

// observe passes on what was seen.
func (w *World) observe(o Observation) { w.seen.add(o) }

func (w *World) tellLate(fact scheduler.Event, due scheduler.Time) {
	w.late.add(fact.At - due)
	w.observe(Observation{At: fact.At, Device: scheduler.NoDevice, Late: &Lateness{Fact: fact, Due: due}})
	if tell := w.cfg.Inbox.Late; tell != nil {
		tell(fact, due)
	}
}

func (w *World) tellEnded(at scheduler.Time, c scheduler.Command, o scheduler.Outcome) {
	if c.Op == scheduler.OpRun {
		w.late.batches = append(w.late.batches, at-w.began[int64(c.Seq)])
		delete(w.began, int64(c.Seq))
	}
	w.observe(Observation{At: at, Device: c.Device, Ended: &Ended{Command: c, Outcome: o}})
	if tell := w.cfg.Inbox.Ended; tell != nil {
		tell(at, c, o)
	}
}

// Close ends what runs, closes the executors and checks that the devices are
// as they were found. A driver that hangs holds it up for DefaultPatience and
// makes the run invalid. Further calls return the same.
func (w *World) Close(ctx context.Context) (Report, error) {
	w.closing.Do(func() {
		w.stop()
		w.failed = w.Inbox.Close(ctx)
		w.mu.Lock()
		w.closed = true
		w.mu.Unlock()
		w.running.Wait()
		for _, d := range w.devices {
			w.report.Devices = append(w.report.Devices, d.end())
		}
		w.report.Late = w.late.quantiles()
		w.judgeLateness()
		if w.report.Dropped = w.seen.close(w.Now()); w.report.Dropped > 0 {
			w.invalidate("%d observations were dropped: what takes them down was too slow; is the disk?", w.report.Dropped)
		}
		w.report.Invalid = w.invalid
	})
	return w.report, w.failed
}

var (
	_ scheduler.World = (*World)(nil)
	_ scheduler.Sink  = (*World)(nil)
)
