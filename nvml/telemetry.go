package nvml

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/vramsim/vramsim/scheduler"
)

// Probe finds the GPUs of this machine. It is safe for concurrent use.
type Probe interface {
	// List returns the devices in the order of their index, without those that
	// do not answer. Without a driver, a device that answers or a build that
	// could see one the error wraps ErrUnavailable.
	List() ([]DeviceInfo, error)
	// Open returns the telemetry of the device with that UUID; an error wraps
	// ErrNoDevice if there is none. Whoever opened it has to close it.
	Open(uuid string) (Telemetry, error)
	// Close gives the library back; telemetry must have been closed before.
	Close() error
}

// Telemetry reads what one device says of itself. It changes nothing there,
// is safe for concurrent use and never crashes: what the driver lacks is
// ErrUnsupported, a device that is gone ErrLost.
type Telemetry interface {
	Info() DeviceInfo
	Caps() Caps
	Memory() (Memory, error)
	// Processes returns who holds memory of the device, by PID.
	Processes() ([]Process, error)
	// Energy returns the energy used since the driver was loaded, in
	// millijoules. The counter steps; it does not move with each call.
	Energy() (millijoules uint64, err error)
	// LinkBytes returns the bytes sent to the host and received from it since
	// the driver was loaded. The counters may wrap.
	LinkBytes() (sent, received uint64, err error)
	// Sample returns what changes from moment to moment. What the driver lacks
	// is Unknown in it; the error is for when nothing can be read.
	Sample() (Sample, error)
	// Wait returns the next fault of the device, or the context's error, or
	// ErrUnsupported where faults are not told. Faults from the first call on
	// are kept until the next one; a lost device is one each time.
	Wait(context.Context) (Fault, error)
	// Close ends a Wait.
	Close() error
}

var (
	// ErrUnavailable says that NVML cannot be had here: no driver, no device,
	// or a build without it. The error that wraps it says which.
	ErrUnavailable = errors.New("NVML is unavailable")
	// ErrUnsupported says that the driver or device lacks what was asked for.
	ErrUnsupported = errors.New("not supported by this driver or device")
	// ErrNoDevice says that there is no device of that UUID.
	ErrNoDevice = errors.New("no such device")
	// ErrLost says that the device has fallen off the bus or needs a reset.
	ErrLost = errors.New("the device is lost")
)

// UnavailableError says why NVML cannot be had; it wraps ErrUnavailable.
type UnavailableError struct {
	Why    string // in plain words
	Advice string // what to do about it
}

func (e *UnavailableError) Error() string { return ErrUnavailable.Error() + ": " + e.Why }

// Unwrap returns ErrUnavailable.
func (e *UnavailableError) Unwrap() error { return ErrUnavailable }

// DeviceInfo is what does not change while a driver is loaded.
type DeviceInfo struct {
	Index   int             `json:"index"` // in NVML's order
	UUID    string          `json:"uuid"`  // like GPU-…
	Name    string          `json:"name"`
	PCI     string          `json:"pci"` // bus id
	Memory  scheduler.Bytes `json:"memory_bytes"`
	Compute string          `json:"compute_capability"` // like "9.0", empty if unknown
	Driver  string          `json:"driver"`             // version
	CUDA    string          `json:"cuda"`               // newest version the driver has, like "13.0"
	MIG     bool            `json:"mig"`                // cut into instances, which are not supported
	// MaxLink is the fastest link that device and slot allow.
	MaxLink Link `json:"max_link"`
}

// Link is a PCI Express link; zero is unknown.
type Link struct {
	Generation int `json:"generation"`
	Width      int `json:"width"`
}

// Caps say which calls the driver has, what one costs, and how often its
// value changes.
type Caps struct {
	Memory      Call `json:"memory"`
	Processes   Call `json:"processes"`
	Energy      Call `json:"energy"`
	LinkBytes   Call `json:"link_bytes"`
	Power       Call `json:"power"`
	Clocks      Call `json:"clocks"`
	Temperature Call `json:"temperature"`
	Reasons     Call `json:"reasons"`
	Link        Call `json:"link"`
	Faults      Call `json:"faults"`
}

// Call is one capability.
type Call struct {
	Present bool          `json:"present"`
	Cost    time.Duration `json:"cost_ns"`   // of one call; 0: not measured
	Period  time.Duration `json:"period_ns"` // between changes of the value; 0: not measured
	Detail  string        `json:"detail,omitempty"`
}

// Memory is the device's memory. The kinds of NVML disagree about what is
// reserved: Sum says which of them add up to Total.
type Memory struct {
	Total    scheduler.Bytes `json:"total_bytes"`
	Free     scheduler.Bytes `json:"free_bytes"`
	Used     scheduler.Bytes `json:"used_bytes"`
	Reserved scheduler.Bytes `json:"reserved_bytes"` // by driver and firmware; Unknown if not told
	Sum      string          `json:"sum"`            // like "free+used" or "free+used+reserved"; empty if none holds
}

// Unknown is the value of what a driver does not tell.
const Unknown = -1

// Process holds memory of a device. In a container the PID may be that of the
// host.
type Process struct {
	PID   int             `json:"pid"`
	Bytes scheduler.Bytes `json:"bytes"` // Unknown if not told
}

// Sample is a moment of a device. What is not told is Unknown, zero for the
// last two; Caps tell whether they are.
type Sample struct {
	PowerMilliwatts   int64   `json:"power_mw"` // average over the last second on most devices
	InstantMilliwatts int64   `json:"instant_mw"`
	SMClockMHz        int     `json:"sm_mhz"`
	MemoryClockMHz    int     `json:"memory_mhz"`
	TemperatureC      int     `json:"temperature_c"`
	Reasons           Reasons `json:"reasons"`
	Link              Link    `json:"link"`
}

// Reasons are why clocks are below what was asked for, NVML's bits.
type Reasons uint64

// The reasons; those in Throttling slow the device down against its will.
const (
	ReasonIdle        Reasons = 1 << 0
	ReasonApplication Reasons = 1 << 1 // clocks set by the user
	ReasonPowerCap    Reasons = 1 << 2
	ReasonHardware    Reasons = 1 << 3
	ReasonSyncBoost   Reasons = 1 << 4
	ReasonThermal     Reasons = 1 << 5
	ReasonThermalHW   Reasons = 1 << 6
	ReasonPowerBrake  Reasons = 1 << 7
	ReasonDisplay     Reasons = 1 << 8
	Throttling                = ReasonPowerCap | ReasonHardware | ReasonThermal | ReasonThermalHW | ReasonPowerBrake
)

// String names the reasons, "none" if there are none.
func (r Reasons) String() string {
	var names []string
	for i, name := range [...]string{"idle", "application clocks", "power cap", "hardware slowdown", "sync boost", "thermal slowdown",
		"hardware thermal slowdown", "power brake", "display clocks"} {
		if r&(1<<i) != 0 {
			names = append(names, name)
			r &^= 1 << i
		}
	}
	if r != 0 {
		names = append(names, fmt.Sprintf("bits %#x", uint64(r)))
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, ", ")
}

// Fault is trouble that a device reports.
type Fault struct {
	Xid  uint64 // NVIDIA's number; 0 if it has none
	Lost bool   // the device does not answer any more
	Text string
}
