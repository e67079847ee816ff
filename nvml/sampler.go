package nvml

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vramsim/vramsim/scheduler"
)

// watch begins to sample the device and to wait for its faults.
func (d *watched) watch(ctx context.Context) {
	if d.telemetry == nil {
		return
	}
	if d.world.cfg.Sampling > 0 {
		d.world.background(func() { d.sample(ctx) })
	}
	d.world.background(func() { d.wait(ctx) })
}

// processesEvery is the least time between lists of processes: they are dear.
const processesEvery = time.Second

// sample reads the device periodically.
func (d *watched) sample(ctx context.Context) {
	tick := time.NewTicker(d.world.cfg.Sampling)
	defer tick.Stop()
	s := sampling{last: time.Now()}
	for {
		if err := d.sampleOnce(&s); err != nil {
			if errors.Is(err, ErrLost) {
				d.world.LoseForGood(d.id, err.Error())
				return
			}
			d.world.mark(d.id, "sample failed", err.Error())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			d.mu.Lock()
			d.report.Gap = max(d.report.Gap, time.Since(s.last))
			d.mu.Unlock()
			return
		}
	}
}

// sampling is what a sampler remembers.
type sampling struct {
	last      time.Time // of a sample
	power     int64     // then, milliwatts; Unknown at first
	begun     bool
	throttled bool
	listedAt  time.Time
	listed    []Process
	listable  bool
}

// sampleOnce takes one sample.
func (d *watched) sampleOnce(s *sampling) error {
	before := d.foreignChanges()
	m, err := d.telemetry.Memory()
	if err != nil {
		return err
	}
	foreign := d.unlistedBytes(m.Used, before)
	now, err := d.telemetry.Sample()
	if err != nil {
		return err
	}
	at := time.Now()
	joules, noEnergy := d.telemetry.Energy()
	if s.listedAt.IsZero() || at.Sub(s.listedAt) >= processesEvery {
		listed, err := d.telemetry.Processes()
		if errors.Is(err, ErrLost) {
			return err
		}
		s.listed, s.listable, s.listedAt = listed, err == nil, at
	}
	if s.listable {
		if sum, ok := foreignListed(s.listed, d.world.ownPids()); ok {
			foreign = sum
		}
	}
	d.account(s, at, &m, &now)
	if noEnergy == nil {
		d.count(joules)
	}
	w := d.world
	w.observe(Observation{At: w.Now(), Device: d.id, Sample: &DeviceSample{Sample: now, Memory: m, Foreign: foreign}})
	if throttled := now.Reasons&Throttling != 0; throttled != s.throttled {
		s.throttled = throttled
		w.mark(d.id, map[bool]string{true: "throttled", false: "not throttled"}[throttled], fmt.Sprintf("reasons %#x", uint64(now.Reasons)))
	}
	if noEnergy == nil {
		w.observe(Observation{At: w.Now(), Device: d.id, Energy: &Energy{joules}})
	}
	d.reportForeign(foreign)
	return nil
}

// foreignChanges counts what may have changed the memory that is ours.
func (d *watched) foreignChanges() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.foreign.changes
}

// account adds a sample to the report.
func (d *watched) account(s *sampling, at time.Time, m *Memory, now *Sample) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := &d.report
	r.Samples++
	r.Peak = max(r.Peak, m.Used-r.Baseline)
	if now.Reasons&Throttling != 0 {
		r.Throttled++
	}
	since := at.Sub(s.last)
	r.Gap = max(r.Gap, since)
	power := now.InstantMilliwatts
	if power == Unknown {
		power = now.PowerMilliwatts
	}
	if s.begun {
		d.meter.power(float64(s.power)/1000, float64(power)/1000, since)
	}
	s.last, s.power, s.begun = at, power, true
}

// count adds a value of the energy counter, read with the sample.
func (d *watched) count(millijoules uint64) {
	d.mu.Lock()
	before := d.meter.last
	fell := d.report.Metered && d.meter.count(millijoules)
	d.meter.both()
	d.mu.Unlock()
	if fell {
		d.world.mark(d.id, "energy counter fell", fmt.Sprintf("from %d to %d mJ: what was used since the last sample is taken from the power", before, millijoules))
	}
}

// reportForeign makes a fact of what others hold when it has moved enough.
func (d *watched) reportForeign(foreign scheduler.Bytes) {
	d.mu.Lock()
	moved := foreign != Unknown && (foreign-d.foreign.told >= foreignStep || d.foreign.told-foreign >= foreignStep)
	before := d.foreign.told
	if moved {
		d.foreign.told = foreign
	}
	d.mu.Unlock()
	if !moved {
		return
	}
	w := d.world
	w.mark(d.id, "foreign memory", fmt.Sprintf("%v, before %v", foreign, before))
	if !w.cfg.Shared {
		w.invalidate("other processes hold %v of %s, before %v", foreign, d.report.Info.Name, before)
	}
	_ = w.Post(scheduler.Event{Kind: scheduler.MemoryObserved, Device: d.id, Model: scheduler.NoModel, Value: int64(foreign)}) // the run may be over
}

// wait ends the run when the device reports a fault.
func (d *watched) wait(ctx context.Context) {
	f, err := d.telemetry.Wait(ctx)
	switch {
	case errors.Is(err, ErrLost):
		f.Text = err.Error()
	case err != nil || ctx.Err() != nil:
		return // not told here, or over
	}
	why := f.Text
	if f.Xid != 0 {
		why = fmt.Sprintf("Xid %d: %s", f.Xid, f.Text)
	}
	d.world.LoseForGood(d.id, why)
}
