//go:build linux && cgo && nvml

package binding

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/vramsim/vramsim/nvml"
)

// waitStep bounds a call that waits for events, and with it how long a context
// that ends and a Close have to wait.
const waitStep = 100 * time.Millisecond

// device implements nvml.Telemetry.
type device struct {
	lib    *library
	handle handle
	info   nvml.DeviceInfo
	caps   nvml.Caps

	closing sync.Once
	closed  chan struct{}
	waiter  chan struct{} // holds a token while somebody waits; guards events
	events  eventSet      // nil before the first Wait and after Close
}

// newDevice asks a device who it is. It must have a UUID, the rest may be
// unknown.
func newDevice(lib *library, index int) (*device, error) {
	h, err := lib.device(index)
	if err != nil {
		return nil, err
	}
	d := &device{lib: lib, handle: h, closed: make(chan struct{}), waiter: make(chan struct{}, 1)}
	d.info.Index = index
	if d.info.UUID, err = lib.uuid(h); err != nil {
		return nil, err
	}
	d.info.Name, _ = lib.name(h)
	d.info.PCI, _ = lib.pci(h)
	d.info.Compute, _ = lib.compute(h)
	d.info.MIG, _ = lib.mig(h)
	d.info.MaxLink, _ = lib.maxLink(h)
	d.info.Driver, _ = lib.driverVersion()
	d.info.CUDA, _ = lib.cudaVersion()
	m, err := d.Memory()
	if errors.Is(err, nvml.ErrLost) {
		return nil, err
	}
	d.info.Memory = m.Total
	return d, nil
}

// try makes each call once: a driver may have a function that this device
// refuses.
func (d *device) try() error {
	m, memory := d.Memory()
	_, processes := d.Processes()
	_, energy := d.Energy()
	_, _, bytes := d.LinkBytes()
	_, power := d.power()
	_, clocks := d.lib.smClock(d.handle)
	_, temperature := d.lib.temperature(d.handle)
	_, reasons := d.lib.reasons(d.handle)
	_, link := d.lib.link(d.handle)
	_, faults := d.faultKinds()
	d.caps = nvml.Caps{Memory: called(memory), Processes: called(processes), Energy: called(energy), LinkBytes: called(bytes), Power: called(power),
		Clocks: called(clocks), Temperature: called(temperature), Reasons: called(reasons), Link: called(link), Faults: called(faults)}
	if memory == nil {
		d.caps.Memory.Detail = memoryDetail(m)
	}
	for _, err := range []error{memory, processes, energy, bytes, power, clocks, temperature, reasons, link, faults} {
		if errors.Is(err, nvml.ErrLost) || errors.Is(err, nvml.ErrUnavailable) {
			return err
		}
	}
	return nil
}

func called(err error) nvml.Call {
	if err != nil {
		return nvml.Call{Detail: err.Error()}
	}
	return nvml.Call{Present: true}
}

func memoryDetail(m nvml.Memory) string {
	version := "version 2"
	if m.Reserved == nvml.Unknown {
		version = "version 1, what is reserved counts as used"
	}
	if m.Sum == "" {
		return version + "; the parts do not add up to the total"
	}
	return version + "; total = " + m.Sum
}

// Info implements nvml.Telemetry.
func (d *device) Info() nvml.DeviceInfo { return d.info }

// Caps implements nvml.Telemetry.
func (d *device) Caps() nvml.Caps { return d.caps }

// Memory implements nvml.Telemetry. The second version of the call is taken
// where there is one: it tells what is reserved.
func (d *device) Memory() (nvml.Memory, error) {
	m, err := d.lib.memory2(d.handle)
	if errors.Is(err, nvml.ErrUnsupported) {
		m, err = d.lib.memory1(d.handle)
	}
	if err != nil {
		return nvml.Memory{}, err
	}
	switch {
	case m.Reserved != nvml.Unknown && m.Free+m.Used+m.Reserved == m.Total:
		m.Sum = "free+used+reserved"
	case m.Free+m.Used == m.Total:
		m.Sum = "free+used"
	}
	return m, nil
}

// Processes implements nvml.Telemetry. A process may be in both of NVML's
// lists, with the same bytes.
func (d *device) Processes() ([]nvml.Process, error) {
	compute, err := d.lib.computeProcesses(d.handle)
	if err != nil {
		return nil, err
	}
	graphics, err := d.lib.graphicsProcesses(d.handle)
	if err != nil && !errors.Is(err, nvml.ErrUnsupported) {
		return nil, err
	}
	list := append(compute, graphics...)
	// The largest figure of a process first: Unknown is negative.
	slices.SortFunc(list, func(a, b nvml.Process) int { return cmp.Or(cmp.Compare(a.PID, b.PID), cmp.Compare(b.Bytes, a.Bytes)) })
	return slices.CompactFunc(list, func(a, b nvml.Process) bool { return a.PID == b.PID }), nil
}

// Energy implements nvml.Telemetry.
func (d *device) Energy() (uint64, error) {
	v, errs := d.lib.fields(d.handle, fieldEnergy)
	return v[0], errs[0]
}

// LinkBytes implements nvml.Telemetry.
func (d *device) LinkBytes() (sent, received uint64, err error) {
	v, errs := d.lib.fields(d.handle, fieldSent, fieldReceived)
	if err := cmp.Or(errs[0], errs[1]); err != nil {
		return 0, 0, err
	}
	return v[0], v[1], nil
}

// powers are in milliwatts, Unknown where not told.
type powers struct{ average, instant int64 }

// power asks the fields, and the older call for what is no field.
func (d *device) power() (powers, error) {
	p := powers{average: nvml.Unknown, instant: nvml.Unknown}
	v, errs := d.lib.fields(d.handle, fieldPowerAverage, fieldPowerInstant)
	if errs[0] == nil {
		p.average = int64(v[0])
	}
	if errs[1] == nil {
		p.instant = int64(v[1])
	}
	if errs[0] == nil {
		return p, nil
	}
	old, err := d.lib.power(d.handle)
	if err == nil {
		p.average = int64(old)
	}
	if errs[1] == nil {
		return p, nil
	}
	return p, err
}

// Sample implements nvml.Telemetry.
func (d *device) Sample() (nvml.Sample, error) {
	s := nvml.Sample{SMClockMHz: nvml.Unknown, MemoryClockMHz: nvml.Unknown, TemperatureC: nvml.Unknown}
	p, power := d.power()
	s.PowerMilliwatts, s.InstantMilliwatts = p.average, p.instant
	sm, smClock := d.lib.smClock(d.handle)
	memory, memoryClock := d.lib.memoryClock(d.handle)
	temperature, sensor := d.lib.temperature(d.handle)
	put(&s.SMClockMHz, sm, smClock)
	put(&s.MemoryClockMHz, memory, memoryClock)
	put(&s.TemperatureC, temperature, sensor)
	bits, reasons := d.lib.reasons(d.handle)
	s.Reasons = nvml.Reasons(bits)
	var link error
	s.Link, link = d.lib.link(d.handle)
	return s, worst(power, smClock, memoryClock, sensor, reasons, link)
}

func put(into *int, v uint32, err error) {
	if err == nil {
		*into = int(v)
	}
}

// worst is the error of a sample: that the device is gone, or the first one if
// nothing at all could be read.
func worst(errs ...error) error {
	read := false
	for _, err := range errs {
		if errors.Is(err, nvml.ErrLost) || errors.Is(err, nvml.ErrUnavailable) {
			return err
		}
		read = read || err == nil
	}
	if read {
		return nil
	}
	return errs[0]
}

// faultKinds are the kinds of event that are faults and that the device tells.
func (d *device) faultKinds() (uint64, error) {
	told, err := d.lib.eventKinds(d.handle)
	if err != nil {
		return 0, err
	}
	kinds := told & (eventXid | eventDoubleBit | eventUnavailable)
	if kinds == 0 {
		return 0, fmt.Errorf("%w: the device tells no faults", nvml.ErrUnsupported)
	}
	return kinds, nil
}

// Wait implements nvml.Telemetry. Events from the first call on are kept by
// the driver until the next one.
func (d *device) Wait(ctx context.Context) (nvml.Fault, error) {
	select {
	case d.waiter <- struct{}{}:
		defer func() { <-d.waiter }()
	case <-ctx.Done():
		return nvml.Fault{}, ctx.Err()
	case <-d.closed:
		return nvml.Fault{}, errClosed()
	}
	for {
		if err := d.ended(ctx); err != nil {
			return nvml.Fault{}, err
		}
		if err := d.listen(); err != nil {
			return lostOr(err)
		}
		e, err := d.lib.nextEvent(d.events, waitStep)
		if err == nil {
			return fault(e), nil
		}
		if !errors.Is(err, errTimeout) {
			return lostOr(err)
		}
		// A device that is lost may not tell of it.
		if _, err := d.Memory(); errors.Is(err, nvml.ErrLost) {
			return lostOr(err)
		}
	}
}

// listen makes the set of events unless there is one.
func (d *device) listen() error {
	if d.events != nil {
		return nil
	}
	kinds, err := d.faultKinds()
	if err != nil {
		return err
	}
	d.events, err = d.lib.newEvents(d.handle, kinds)
	return err
}

// ended is why a Wait has to end.
func (d *device) ended(ctx context.Context) error {
	select {
	case <-d.closed:
		return errClosed()
	default:
		return ctx.Err()
	}
}

// lostOr is the fault that an error is, or the error.
func lostOr(err error) (nvml.Fault, error) {
	if errors.Is(err, nvml.ErrLost) {
		return nvml.Fault{Lost: true, Text: err.Error()}, nil
	}
	return nvml.Fault{}, err
}

// xidOffBus is the Xid of a device that has fallen off the bus.
const xidOffBus = 79

func fault(e event) nvml.Fault {
	switch e.kind {
	case eventXid:
		return nvml.Fault{Xid: e.data, Lost: e.data == xidOffBus, Text: fmt.Sprintf("Xid %d", e.data)}
	case eventDoubleBit:
		return nvml.Fault{Text: "an ECC error that could not be corrected"}
	case eventUnavailable:
		return nvml.Fault{Lost: true, Text: "the driver says that the device is unavailable"}
	}
	return nvml.Fault{Text: fmt.Sprintf("event %#x", e.kind)}
}

// Close implements nvml.Telemetry: it ends a Wait, within waitStep.
func (d *device) Close() (err error) {
	d.closing.Do(func() {
		close(d.closed)
		d.waiter <- struct{}{}
		defer func() { <-d.waiter }()
		if d.events != nil {
			err = d.lib.freeEvents(d.events)
			d.events = nil
		}
	})
	return err
}
