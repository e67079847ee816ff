package nvml

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/vramsim/vramsim/scheduler"
)

// watched is an executor with the telemetry of its device. It sees every
// command and outcome go by, and reports a loss before the outcomes that tell
// of it, so that the core hears of the device first.
type watched struct {
	scheduler.Executor
	world     *World
	id        scheduler.DeviceID
	telemetry Telemetry
	outcomes  chan scheduler.Outcome
	gone      chan struct{} // closed with the executor
	closing   sync.Once
	forwards  sync.WaitGroup

	mu       sync.Mutex
	down     bool           // the last fact of the device was its loss
	final    bool           // it is lost for good
	falls    int            // losses that were facts
	heard    int            // of these, losses that Next has returned
	life     int            // restarts that are over
	inFlight map[uint64]int // the life that a command was started in
	foreign  foreign
	report   DeviceReport
	meter    meter
	memories *memories
}

// begin reads what the device was like before.
func (d *watched) begin() error {
	d.inFlight = map[uint64]int{}
	if d.telemetry == nil {
		return nil
	}
	info := d.telemetry.Info()
	d.report.Info = &info
	if info.MIG {
		return fmt.Errorf("%s is cut into MIG instances, which are not supported", info.Name)
	}
	return d.readBaseline()
}

// readBaseline reads what the device has in use and has used so far.
func (d *watched) readBaseline() error {
	if d.telemetry == nil {
		return nil
	}
	m, err := d.telemetry.Memory()
	if err != nil {
		return fmt.Errorf("its memory cannot be read: %w", err)
	}
	d.report.Baseline = m.Used
	d.foreign.open(m.Used)
	counter, err := d.telemetry.Energy()
	if err == nil {
		d.report.Metered = true
		d.meter.begin(counter)
	} else if !errors.Is(err, ErrUnsupported) {
		return fmt.Errorf("its energy counter cannot be read: %w", err)
	}
	return nil
}

// Open opens the executor and begins to forward its outcomes.
func (d *watched) Open(ctx context.Context, plan scheduler.Plan) (scheduler.Capabilities, error) {
	d.memories = newMemories(plan.Models)
	d.foreign.models = plan.Models
	able, err := d.Executor.Open(ctx, plan)
	d.report.Executor = able.Name
	if err == nil {
		d.forwards.Go(d.forward)
	}
	return able, err
}

// Start passes a command on.
func (d *watched) Start(c scheduler.Command) error {
	d.mu.Lock()
	d.memories.start(c, len(d.inFlight))
	d.foreign.start(c)
	d.inFlight[c.Seq] = d.life
	d.mu.Unlock()
	err := d.Executor.Start(c)
	if err == nil {
		return nil
	}
	life := d.ended(&scheduler.Outcome{Seq: c.Seq, Failure: &scheduler.CommandError{Text: err.Error()}})
	if isLost(err) {
		d.lose(life)
	}
	return err
}

func isLost(err error) bool {
	why, ok := errors.AsType[*scheduler.CommandError](err)
	return ok && why.Code == scheduler.FailureLost
}

// ended notes that a command is over, and returns which life of the device it
// was started in.
func (d *watched) ended(o *scheduler.Outcome) (life int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.memories.end(o)
	d.foreign.end(o)
	life = d.inFlight[o.Seq]
	delete(d.inFlight, o.Seq)
	return life
}

// Outcomes returns the forwarded outcomes.
func (d *watched) Outcomes() <-chan scheduler.Outcome { return d.outcomes }

// forward passes outcomes on until the executor is closed.
func (d *watched) forward() {
	for {
		select {
		case o, ok := <-d.Executor.Outcomes():
			if !ok {
				close(d.outcomes)
				return
			}
			life := d.ended(&o)
			if o.Failure != nil && o.Failure.Code == scheduler.FailureLost {
				d.lose(life)
			}
			select {
			case d.outcomes <- o:
			case <-d.gone:
				return
			}
		case <-d.gone:
			return
		}
	}
}

// lose reports the loss of the device in one of its lives, and brings it back if
// that is possible. What is told again while it is down, or of a life that is
// over, is that loss: outcomes may come after the restart.
func (d *watched) lose(life int) {
	if !d.fall(life) {
		return
	}
	w := d.world
	restarter, ok := d.Executor.(scheduler.Restarter)
	if !ok {
		w.LoseForGood(d.id, "its executor cannot be restarted")
		return
	}
	w.mark(d.id, "device lost", "restarting")
	w.background(func() { d.restart(restarter) })
}

// fall makes a fact of the loss of a life, and reports whether it was none yet.
// Facts are posted under the lock, so that losses and returns take turns.
func (d *watched) fall(life int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down || life != d.life || d.world.Post(deviceFact(scheduler.DeviceDown, d.id)) != nil {
		return false // known already, or the run is over
	}
	d.down = true
	d.falls++
	return true
}

// rise makes a fact of the device's return, unless it has been lost for good.
func (d *watched) rise() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.final {
		return false
	}
	d.down = false
	d.life++
	return d.world.Post(deviceFact(scheduler.DeviceUp, d.id)) == nil
}

func (d *watched) now() (life int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.life
}

func deviceFact(k scheduler.Kind, d scheduler.DeviceID) scheduler.Event {
	return scheduler.Event{Kind: k, Device: d, Model: scheduler.NoModel}
}

// hear notes that Next returns a loss, and reports whether the run ends with it.
func (d *watched) hear() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.heard++
	return d.final
}

// LoseForGood says that a device is lost and will not come back: the run ends
// and is invalid.
func (w *World) LoseForGood(d scheduler.DeviceID, why string) {
	w.mark(d, "device lost", why)
	w.invalidate("device %d is lost: %s", d, why)
	device := w.devices[d]
	device.mu.Lock()
	device.final = true
	device.mu.Unlock()
	device.fall(device.now())
	device.mu.Lock()
	known := device.heard == device.falls
	device.mu.Unlock()
	if known { // Next will not return it again
		w.Stop(ErrDeviceLost)
	}
}

// restart brings the device back.
func (d *watched) restart(e scheduler.Restarter) {
	w := d.world
	ctx, cancel := context.WithCancel(w.watching)
	defer cancel()
	began := time.Now()
	err := e.Restart(ctx)
	took := time.Since(began)
	d.mu.Lock()
	d.report.Restarts++
	d.report.RestartTime += took
	d.foreign.restart()
	d.mu.Unlock()
	switch {
	case ctx.Err() != nil:
	case err != nil:
		w.LoseForGood(d.id, "it could not be restarted: "+err.Error())
	case d.rise():
		w.mark(d.id, "device back", fmt.Sprintf("after %v", took.Round(time.Millisecond)))
	}
}

func (w *World) mark(d scheduler.DeviceID, code, text string) {
	w.observe(Observation{At: w.Now(), Device: d, Mark: &Mark{Code: code, Text: text}})
}

// Close closes the executor and stops forwarding.
func (d *watched) Close(ctx context.Context) error {
	err := d.Executor.Close(ctx)
	d.closing.Do(func() { close(d.gone) })
	d.forwards.Wait()
	return err
}

// end returns the device's part of the report, after its executor was closed.
func (d *watched) end() DeviceReport {
	d.report.Models = d.memories.all()
	if d.world.cfg.StrictVRAM {
		for i := range d.report.Models {
			for _, what := range d.report.Models[i].excess() {
				d.world.invalidate("%s", what)
			}
		}
	}
	if d.telemetry == nil {
		return d.report
	}
	d.report.Integrated = d.meter.integrated
	if d.report.Metered {
		now, err := d.telemetry.Energy()
		if d.report.Metered = err == nil; err == nil {
			d.meter.count(now)
			d.judgeEnergy()
		}
	}
	if d.report.Samples > 0 {
		d.report.Throttled /= float64(d.report.Samples)
	}
	d.judge()
	return d.report
}

// judge compares what was seen with the limits.
func (d *watched) judge() {
	w, limits := d.world, &d.world.cfg.Limits
	name := d.report.Info.Name
	if share := d.report.Throttled; share > limits.Throttled {
		w.invalidate("%s was throttled in %.0f %% of the samples (at most %.0f %% are allowed)", name, 100*share, 100*limits.Throttled)
	}
	if d.report.Gap > limits.Gap {
		w.invalidate("%s was not sampled for %v (at most %v is allowed)", name, d.report.Gap.Round(time.Millisecond), limits.Gap)
	}
	m, err := d.telemetry.Memory()
	if err != nil {
		w.invalidate("the memory of %s could not be read at the end: %v", name, err)
		return
	}
	d.report.Residue = m.Used - d.report.Baseline
	if r := d.report.Residue; !w.cfg.Shared && (r > limits.Residue || r < -limits.Residue) {
		more := "more"
		if r < 0 {
			r, more = -r, "less"
		}
		w.invalidate("%s has %v %s in use than before the run (within %v is allowed)", name, r, more, limits.Residue)
	}
}
