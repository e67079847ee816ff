package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/vramsim/vramsim/nvml"
	"github.com/vramsim/vramsim/nvml/pagecache"
	"github.com/vramsim/vramsim/scheduler"
)

// Requirement says what a run needs of a card.
type Requirement string

// The requirements.
const (
	NoCard    Requirement = "none"       // sleep, http: whatever is wrong with a card is a warning
	AnyCard   Requirement = "if present" // worker: a card is examined, but there may be none
	NeedsCard Requirement = "required"   // cuda
)

// Needs are what a run needs. The zero value needs nothing.
type Needs struct {
	Card    Requirement `json:"card"`
	Devices []string    `json:"devices"` // UUIDs; empty: all devices
	Shared  bool        `json:"shared"`  // others on a device are no failure
}

// Check is an examination that an executor adds: its library, a context, a
// framework. It may use the devices that it is given: nobody else does, or they
// may be shared. It must end with its context.
type Check func(ctx context.Context, free []nvml.DeviceInfo) []Finding

// Rig is what an executor can do on a device for the doctor. What is nil is not
// looked at.
type Rig struct {
	// Context makes an empty context on a device, calls during while it stands,
	// with the PID of the process that holds it (0: unknown), and takes it down.
	Context func(ctx context.Context, device nvml.DeviceInfo, during func(pid int)) error
	// Copy copies to a device without a break while during runs.
	Copy func(ctx context.Context, device nvml.DeviceInfo, during func()) error
}

// Options say what is examined.
type Options struct {
	Probe  nvml.Probe
	Needs  Needs
	Own    []int // PIDs that are no others: this process and its children
	Rig    Rig
	Checks []Check
	Folder string        // in which weights will lie; empty: the page cache is not looked at
	Window time.Duration // of watching values change; 0: DefaultWindow
}

// DefaultWindow sees a few steps of an energy counter; how long those are is to
// be measured, which is what it is for.
const DefaultWindow = 400 * time.Millisecond

// examination is a report being made.
type examination struct {
	Options
	report *Report
	device string // the UUID that findings are about
	free   []nvml.DeviceInfo
}

// Run examines. The error is the context's, or nil: what is wrong is in the
// report. A call of the driver that has not returned within nvml.DefaultPatience
// fails by its name, and its device is not examined further; Probe is to be an
// nvml.BoundedProbe if it is to be closed afterwards.
func Run(ctx context.Context, o Options) (*Report, error) {
	o.Probe = nvml.BoundedProbe(o.Probe, nvml.DefaultPatience)
	if o.Window <= 0 {
		o.Window = DefaultWindow
	}
	if o.Needs.Card == "" {
		o.Needs.Card = NoCard
	}
	if o.Needs.Devices == nil {
		o.Needs.Devices = []string{}
	}
	e := &examination{Options: o, report: &Report{Schema: Schema, Needs: o.Needs, Findings: []Finding{}, Devices: []Device{}, SelfTest: []Step{}}}
	e.cards(ctx)
	e.device = ""
	for _, check := range o.Checks {
		e.report.Findings = append(e.report.Findings, check(ctx, e.free)...)
	}
	e.cache()
	e.report.conclude()
	return e.report, ctx.Err()
}

// add notes a finding. Where no card is needed nothing about one fails.
func (e *examination) add(check string, level Level, cause Cause, found, advice string) {
	if level == Fail && e.Needs.Card == NoCard {
		level = Warn
	}
	if level != Fail {
		cause = ""
	}
	e.report.Findings = append(e.report.Findings, Finding{Check: check, Device: e.device, Level: level, Cause: cause, Found: found, Advice: advice})
}

func (e *examination) ok(check, format string, args ...any) {
	e.add(check, OK, "", fmt.Sprintf(format, args...), "")
}

func (e *examination) warn(check, advice, format string, args ...any) {
	e.add(check, Warn, "", fmt.Sprintf(format, args...), advice)
}

// absent says that something is not there, which only fails where it must be;
// a card that is lost and a driver that hangs always do.
func (e *examination) absent(check string, err error, advice string) {
	level := Warn
	if e.Needs.Card == NeedsCard || errors.Is(err, nvml.ErrLost) || errors.Is(err, nvml.ErrHung) {
		level = Fail
	}
	e.add(check, level, Missing, err.Error(), advice)
}

// cards examines the driver and each device.
func (e *examination) cards(ctx context.Context) {
	infos, err := e.Probe.List()
	if err != nil {
		e.absent("driver", err, troubleAdvice(err))
		return
	}
	plural := ""
	if len(infos) > 1 {
		plural = "s"
	}
	e.ok("driver", "driver %s, CUDA %s, %d device%s", told(infos[0].Driver), told(infos[0].CUDA), len(infos), plural)
	for _, info := range e.wanted(infos) {
		if ctx.Err() == nil {
			e.card(ctx, info)
		}
	}
}

// wanted are the devices that the needs name, all of them if they name none.
func (e *examination) wanted(infos []nvml.DeviceInfo) (some []nvml.DeviceInfo) {
	if len(e.Needs.Devices) == 0 {
		return infos
	}
	for _, uuid := range e.Needs.Devices {
		i := slices.IndexFunc(infos, func(i nvml.DeviceInfo) bool { return i.UUID == uuid })
		if i < 0 {
			e.absent("device", fmt.Errorf("%w: %s", nvml.ErrNoDevice, uuid), "nvidia-smi -L lists the devices with their UUIDs")
			continue
		}
		some = append(some, infos[i])
	}
	return some
}

func told(s string) string {
	if s == "" {
		return "of an untold version"
	}
	return s
}

// card examines one device.
func (e *examination) card(ctx context.Context, info nvml.DeviceInfo) {
	e.device = info.UUID
	tel, err := e.Probe.Open(info.UUID)
	if err != nil {
		e.absent("device", err, troubleAdvice(err))
		return
	}
	defer tel.Close()
	e.ok("device", "%d: %s, compute capability %s, %v", info.Index, info.Name, told(info.Compute), info.Memory)
	d := &Device{Info: info, ContextBytes: nvml.Unknown, Processes: []nvml.Process{}}
	e.steps(ctx, tel, d)
	if err := nvml.Hanging(tel); err != nil {
		e.absent("answers", err, troubleAdvice(err))
	}
	e.report.Devices = append(e.report.Devices, *d)
}

// steps are what is examined of a device, as far as its driver answers.
func (e *examination) steps(ctx context.Context, tel nvml.Telemetry, d *Device) {
	free := !d.Info.MIG
	var rig Rig
	e.mig(d.Info)
	for _, step := range []func(){
		func() {
			if e.memory(tel, d) {
				if others := e.processes(tel, d); others && !e.Needs.Shared {
					free = false // what is tried there would disturb them
				}
				e.baseline(d)
			}
		},
		func() { e.sample(tel, d) },
		func() { d.Capabilities = Measure(ctx, tel, e.Window) },
		func() {
			e.capabilities(d.Capabilities)
			if free {
				rig, e.free = e.Rig, append(e.free, d.Info)
			}
			trying, cancel := context.WithTimeout(ctx, testLimit)
			defer cancel()
			e.link(trying, rig, tel, d)
		},
		func() {
			trying, cancel := context.WithTimeout(ctx, testLimit)
			defer cancel()
			e.context(trying, rig, tel, d)
		},
	} {
		if step(); nvml.Hanging(tel) != nil {
			return
		}
	}
}

// troubleAdvice is what to do about a device that does not answer a call.
func troubleAdvice(err error) string {
	if why, ok := errors.AsType[*nvml.UnavailableError](err); ok {
		return why.Advice
	}
	if errors.Is(err, nvml.ErrHung) {
		return "nvidia-smi will hang, too: the kernel's log (dmesg) may say why, and the machine may have to be restarted; where a driver only takes long to load, nvidia-persistenced keeps it loaded"
	}
	if errors.Is(err, nvml.ErrLost) {
		return "the device has to be reset or the machine restarted; the kernel's log (dmesg) names the Xid"
	}
	return "see whether nvidia-smi tells it; a newer driver may"
}

// cache examines the folder of the weights.
func (e *examination) cache() {
	if e.Folder == "" {
		return
	}
	c, err := pagecache.Try(e.Folder)
	switch {
	case err != nil:
		e.warn("page cache", "give a folder that can be written", "%v", err)
	case !c.Drops:
		e.warn("page cache", "loads from disk cannot be told from loads from memory here; take a folder on a local disk, outside of a sandbox", "%s", c.Why)
	default:
		e.ok("page cache", "files can be put out of it, shown by %s", c.Method)
	}
}

// foreign are the processes that are not ours.
func (e *examination) foreign(list []nvml.Process) (others []nvml.Process) {
	for _, p := range list {
		if !slices.Contains(e.Own, p.PID) {
			others = append(others, p)
		}
	}
	return others
}

func processText(p nvml.Process) string {
	if p.Bytes == nvml.Unknown {
		return fmt.Sprintf("%d (bytes not told)", p.PID)
	}
	return fmt.Sprintf("%d (%s)", p.PID, mebibytes(p.Bytes))
}

// mebibytes rounds: these are figures for people, the exact ones are in JSON.
func mebibytes(b scheduler.Bytes) string {
	return fmt.Sprintf("%d MiB", (b+scheduler.MiB/2)/scheduler.MiB)
}
