//go:build linux && cgo && nvml

package binding

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	gonvml "github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/vramsim/vramsim/nvml"
	"github.com/vramsim/vramsim/scheduler"
)

// errTimeout says that no event came in time.
var errTimeout = errors.New("nothing happened in time")

// handle is a device of NVML.
type handle = gonvml.Device

// eventSet is where the driver puts what happens to devices.
type eventSet = gonvml.EventSet

// event is what happened.
type event struct {
	kind, data uint64
}

// field is a value that NVML has no function for. Others are renumbered
// between drivers.
type field uint32

// The fields that are read.
const (
	fieldEnergy       field = gonvml.FI_DEV_TOTAL_ENERGY_CONSUMPTION // 83, millijoules
	fieldPowerAverage field = gonvml.FI_DEV_POWER_AVERAGE            // 185, milliwatts
	fieldPowerInstant field = gonvml.FI_DEV_POWER_INSTANT            // 186, milliwatts
	fieldSent         field = gonvml.FI_DEV_PCIE_COUNT_TX_BYTES      // 197, wraps
	fieldReceived     field = gonvml.FI_DEV_PCIE_COUNT_RX_BYTES      // 198, wraps
)

// Events that are faults.
const (
	eventDoubleBit   = uint64(gonvml.EventTypeDoubleBitEccError)
	eventXid         = uint64(gonvml.EventTypeXidCriticalError)
	eventUnavailable = uint64(gonvml.EventTypeGpuUnavailableError)
)

func (l *library) driverVersion() (string, error) {
	return ask(l, "SystemGetDriverVersion", func() (string, gonvml.Return) { return gonvml.SystemGetDriverVersion() })
}

// cudaVersion is like "13.0".
func (l *library) cudaVersion() (string, error) {
	return ask(l, "SystemGetCudaDriverVersion_v2", func() (string, gonvml.Return) {
		v, code := gonvml.SystemGetCudaDriverVersion_v2()
		return fmt.Sprintf("%d.%d", v/1000, v%1000/10), code
	})
}

func (l *library) count() (int, error) {
	return ask(l, "DeviceGetCount", func() (int, gonvml.Return) { return gonvml.DeviceGetCount() })
}

func (l *library) device(index int) (handle, error) {
	return ask(l, "DeviceGetHandleByIndex", func() (handle, gonvml.Return) { return gonvml.DeviceGetHandleByIndex(index) })
}

func (l *library) uuid(h handle) (string, error) {
	return ask(l, "DeviceGetUUID", func() (string, gonvml.Return) { return gonvml.DeviceGetUUID(h) })
}

func (l *library) name(h handle) (string, error) {
	return ask(l, "DeviceGetName", func() (string, gonvml.Return) { return gonvml.DeviceGetName(h) })
}

func (l *library) pci(h handle) (string, error) {
	return ask(l, "DeviceGetPciInfo", func() (string, gonvml.Return) {
		info, code := gonvml.DeviceGetPciInfo(h)
		return text(info.BusId[:]), code
	})
}

func text(b []uint8) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// compute is the compute capability, like "9.0".
func (l *library) compute(h handle) (string, error) {
	return ask(l, "DeviceGetCudaComputeCapability", func() (string, gonvml.Return) {
		major, minor, code := gonvml.DeviceGetCudaComputeCapability(h)
		return fmt.Sprintf("%d.%d", major, minor), code
	})
}

func (l *library) mig(h handle) (bool, error) {
	return ask(l, "DeviceGetMigMode", func() (bool, gonvml.Return) {
		current, _, code := gonvml.DeviceGetMigMode(h)
		return current == gonvml.DEVICE_MIG_ENABLE, code
	})
}

// memory1 is the first version: what is reserved counts as used.
func (l *library) memory1(h handle) (nvml.Memory, error) {
	return ask(l, "DeviceGetMemoryInfo", func() (nvml.Memory, gonvml.Return) {
		m, code := gonvml.DeviceGetMemoryInfo(h)
		return nvml.Memory{Total: scheduler.Bytes(m.Total), Free: scheduler.Bytes(m.Free), Used: scheduler.Bytes(m.Used), Reserved: nvml.Unknown}, code
	})
}

// memory2 is the second version, which tells what is reserved.
func (l *library) memory2(h handle) (nvml.Memory, error) {
	return ask(l, "DeviceGetMemoryInfo_v2", func() (nvml.Memory, gonvml.Return) {
		m, code := gonvml.DeviceGetMemoryInfo_v2(h)
		return nvml.Memory{Total: scheduler.Bytes(m.Total), Free: scheduler.Bytes(m.Free), Used: scheduler.Bytes(m.Used), Reserved: scheduler.Bytes(m.Reserved)}, code
	})
}

func (l *library) computeProcesses(h handle) ([]nvml.Process, error) {
	return ask(l, "DeviceGetComputeRunningProcesses", func() ([]nvml.Process, gonvml.Return) {
		infos, code := gonvml.DeviceGetComputeRunningProcesses(h)
		return processes(infos), code
	})
}

func (l *library) graphicsProcesses(h handle) ([]nvml.Process, error) {
	return ask(l, "DeviceGetGraphicsRunningProcesses", func() ([]nvml.Process, gonvml.Return) {
		infos, code := gonvml.DeviceGetGraphicsRunningProcesses(h)
		return processes(infos), code
	})
}

// processes translates a list; all-ones bytes mean that they are not told.
func processes(infos []gonvml.ProcessInfo) (list []nvml.Process) {
	for _, i := range infos {
		p := nvml.Process{PID: int(i.Pid), Bytes: nvml.Unknown}
		if i.UsedGpuMemory <= math.MaxInt64 {
			p.Bytes = scheduler.Bytes(i.UsedGpuMemory)
		}
		list = append(list, p)
	}
	return list
}

// fields reads several fields at once; each has an error of its own.
func (l *library) fields(h handle, ids ...field) ([]uint64, []error) {
	values, errs := make([]uint64, len(ids)), make([]error, len(ids))
	read, err := ask(l, "DeviceGetFieldValues", func() ([]gonvml.FieldValue, gonvml.Return) {
		list := make([]gonvml.FieldValue, len(ids))
		for i, id := range ids {
			list[i].FieldId = uint32(id)
		}
		return list, gonvml.DeviceGetFieldValues(h, list)
	})
	for i := range ids {
		if errs[i] = err; err == nil {
			values[i], errs[i] = fieldValue(&read[i])
		}
	}
	return values, errs
}

// fieldValue reads the union by its type.
func fieldValue(f *gonvml.FieldValue) (uint64, error) {
	if err := failure(fmt.Sprintf("DeviceGetFieldValues, field %d", f.FieldId), int(f.NvmlReturn)); err != nil {
		return 0, err
	}
	raw := binary.NativeEndian.Uint64(f.Value[:])
	low := binary.NativeEndian.Uint32(f.Value[:4])
	switch gonvml.ValueType(f.ValueType) {
	case gonvml.VALUE_TYPE_UNSIGNED_INT:
		return uint64(low), nil
	case gonvml.VALUE_TYPE_UNSIGNED_LONG, gonvml.VALUE_TYPE_UNSIGNED_LONG_LONG:
		return raw, nil
	case gonvml.VALUE_TYPE_SIGNED_LONG_LONG:
		return natural(int64(raw), f)
	case gonvml.VALUE_TYPE_SIGNED_INT:
		return natural(int64(int32(low)), f)
	}
	return 0, fmt.Errorf("%w: field %d has type %d", nvml.ErrUnsupported, f.FieldId, f.ValueType)
}

func natural(v int64, f *gonvml.FieldValue) (uint64, error) {
	if v < 0 {
		return 0, fmt.Errorf("%w: field %d is %d", nvml.ErrUnsupported, f.FieldId, v)
	}
	return uint64(v), nil
}

// power is in milliwatts.
func (l *library) power(h handle) (uint32, error) {
	return ask(l, "DeviceGetPowerUsage", func() (uint32, gonvml.Return) { return gonvml.DeviceGetPowerUsage(h) })
}

func (l *library) smClock(h handle) (uint32, error) {
	return ask(l, "DeviceGetClockInfo", func() (uint32, gonvml.Return) { return gonvml.DeviceGetClockInfo(h, gonvml.CLOCK_SM) })
}

func (l *library) memoryClock(h handle) (uint32, error) {
	return ask(l, "DeviceGetClockInfo", func() (uint32, gonvml.Return) { return gonvml.DeviceGetClockInfo(h, gonvml.CLOCK_MEM) })
}

func (l *library) temperature(h handle) (uint32, error) {
	return ask(l, "DeviceGetTemperature", func() (uint32, gonvml.Return) { return gonvml.DeviceGetTemperature(h, gonvml.TEMPERATURE_GPU) })
}

func (l *library) reasons(h handle) (uint64, error) {
	return ask(l, "DeviceGetCurrentClocksEventReasons", func() (uint64, gonvml.Return) { return gonvml.DeviceGetCurrentClocksEventReasons(h) })
}

// maxLink is the fastest link that device and slot allow.
func (l *library) maxLink(h handle) (link nvml.Link, err error) {
	link.Generation, err = ask(l, "DeviceGetMaxPcieLinkGeneration", func() (int, gonvml.Return) { return gonvml.DeviceGetMaxPcieLinkGeneration(h) })
	if err != nil {
		return nvml.Link{}, err
	}
	link.Width, err = ask(l, "DeviceGetMaxPcieLinkWidth", func() (int, gonvml.Return) { return gonvml.DeviceGetMaxPcieLinkWidth(h) })
	return link, err
}

// link is the link as it is now; idle devices slow it down.
func (l *library) link(h handle) (link nvml.Link, err error) {
	link.Generation, err = ask(l, "DeviceGetCurrPcieLinkGeneration", func() (int, gonvml.Return) { return gonvml.DeviceGetCurrPcieLinkGeneration(h) })
	if err != nil {
		return nvml.Link{}, err
	}
	link.Width, err = ask(l, "DeviceGetCurrPcieLinkWidth", func() (int, gonvml.Return) { return gonvml.DeviceGetCurrPcieLinkWidth(h) })
	return link, err
}

// eventKinds are the kinds of event that the device tells.
func (l *library) eventKinds(h handle) (uint64, error) {
	if err := l.has("DeviceRegisterEvents", "EventSetCreate", "EventSetWait", "EventSetFree"); err != nil {
		return 0, err
	}
	return ask(l, "DeviceGetSupportedEventTypes", func() (uint64, gonvml.Return) { return gonvml.DeviceGetSupportedEventTypes(h) })
}

// newEvents makes a set that the device's events of those kinds go to.
func (l *library) newEvents(h handle, kinds uint64) (eventSet, error) {
	set, err := ask(l, "EventSetCreate", func() (eventSet, gonvml.Return) { return gonvml.EventSetCreate() })
	if err != nil {
		return nil, err
	}
	_, err = ask(l, "DeviceRegisterEvents", func() (struct{}, gonvml.Return) {
		return struct{}{}, gonvml.DeviceRegisterEvents(h, kinds, set)
	})
	if err != nil {
		return nil, errors.Join(err, l.freeEvents(set))
	}
	return set, nil
}

// nextEvent waits for an event, at most that long: errTimeout if none came.
func (l *library) nextEvent(set eventSet, limit time.Duration) (event, error) {
	return ask(l, "EventSetWait", func() (event, gonvml.Return) {
		data, code := gonvml.EventSetWait(set, uint32(limit.Milliseconds()))
		return event{kind: data.EventType, data: data.EventData}, code
	})
}

func (l *library) freeEvents(set eventSet) error {
	_, err := ask(l, "EventSetFree", func() (struct{}, gonvml.Return) { return struct{}{}, gonvml.EventSetFree(set) })
	return err
}
