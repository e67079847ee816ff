//go:build linux && cgo && nvml

package cuda

/*
#cgo CFLAGS: -std=gnu11 -Wall
#cgo LDFLAGS: -ldl
#include "shim.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unsafe"

	"github.com/vramsim/vramsim/nvml"
	"github.com/vramsim/vramsim/scheduler"
)

// driver is the library. Its calls are safe for concurrent use; most want a
// context that is current on the calling thread.
type driver struct{ c *C.struct_cuda }

// Handles of the driver.
type (
	primary  unsafe.Pointer // context
	module   unsafe.Pointer
	function unsafe.Pointer
	stream   unsafe.Pointer
	event    unsafe.Pointer
	address  = uint64 // of device memory
)

// codeOutOfMemory is the result for device and pinned memory alike.
const codeOutOfMemory = 2

// sticky are results after which a context answers nothing else: it or the
// device is gone.
var sticky = map[int]bool{
	4:   true, // DEINITIALIZED
	46:  true, // DEVICE_UNAVAILABLE
	100: true, // NO_DEVICE
	101: true, // INVALID_DEVICE
	201: true, // INVALID_CONTEXT
	214: true, // ECC_UNCORRECTABLE
	220: true, // NVLINK_UNCORRECTABLE
	226: true, // CONTAINED
	700: true, // ILLEGAL_ADDRESS
	702: true, // LAUNCH_TIMEOUT
	709: true, // CONTEXT_IS_DESTROYED
	710: true, // ASSERT
	714: true, // HARDWARE_STACK_ERROR
	715: true, // ILLEGAL_INSTRUCTION
	716: true, // MISALIGNED_ADDRESS
	717: true, // INVALID_ADDRESS_SPACE
	718: true, // INVALID_PC
	719: true, // LAUNCH_FAILED
	802: true, // SYSTEM_NOT_READY
	999: true, // UNKNOWN
}

// What ends a wait before the event.
var (
	errStopped = errors.New("cancelled")
	errLost    = errors.New("the context is lost")
	errLate    = errors.New("the device did not complete its work in time")
	errSlow    = errors.New("it took too long") // nothing is lost
)

// openDriver opens a library and initialises the driver.
func openDriver(library string) (*driver, error) {
	name := C.CString(library)
	defer C.free(unsafe.Pointer(name))
	d := &driver{c: (*C.struct_cuda)(C.calloc(1, C.sizeof_struct_cuda))} // as long as the process
	var symbol *C.char
	if what := C.cuda_open(d.c, name, &symbol); what != nil {
		text := C.GoString(what)
		if symbol != nil {
			text = fmt.Sprintf("%s lacks %s; the driver is too old", library, C.GoString(symbol))
		}
		C.free(unsafe.Pointer(d.c))
		return nil, &UnavailableError{What: text}
	}
	if err := d.check("cuInit", C.cuda_init(d.c, 0)); err != nil {
		return nil, &UnavailableError{What: "the driver does not start", Err: err}
	}
	return d, nil
}

// check makes an error of a result.
func (d *driver) check(call string, code C.int) error {
	if code == 0 {
		return nil
	}
	var name *C.char
	text := "unknown error"
	if C.cuda_error_name(d.c, code, &name) == 0 && name != nil {
		text = C.GoString(name)
	}
	return &DriverError{Call: call, Code: int(code), Name: text}
}

// device is one GPU.
type device struct {
	ordinal C.int
	name    string
	uuid    string // like GPU-…
	sms     int
	compute string // like "9.0"
}

// devices lists the GPUs.
func (d *driver) devices() ([]device, error) {
	var n C.int
	if err := d.check("cuDeviceGetCount", C.cuda_device_count(d.c, &n)); err != nil {
		return nil, err
	}
	var found []device
	for i := range n {
		v, err := d.describe(i)
		if err != nil {
			return nil, err
		}
		found = append(found, v)
	}
	return found, nil
}

func (d *driver) describe(i C.int) (device, error) {
	var v device
	if err := d.check("cuDeviceGet", C.cuda_device_get(d.c, &v.ordinal, i)); err != nil {
		return v, err
	}
	name := (*C.char)(C.calloc(1, 256))
	defer C.free(unsafe.Pointer(name))
	if err := d.check("cuDeviceGetName", C.cuda_device_name(d.c, name, 255, v.ordinal)); err != nil {
		return v, err
	}
	v.name = C.GoString(name)
	var id [16]byte
	if err := d.check("cuDeviceGetUuid_v2", C.cuda_device_uuid(d.c, unsafe.Pointer(&id), v.ordinal)); err != nil {
		return v, err
	}
	v.uuid = fmt.Sprintf("GPU-%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
	const multiprocessors, major, minor = 16, 75, 76
	var values [3]C.int
	for k, which := range [...]C.int{multiprocessors, major, minor} {
		if err := d.check("cuDeviceGetAttribute", C.cuda_device_attribute(d.c, &values[k], which, v.ordinal)); err != nil {
			return v, err
		}
	}
	v.sms, v.compute = int(values[0]), fmt.Sprintf("%d.%d", values[1], values[2])
	return v, nil
}

// find returns the device of a UUID in either form, the first one for none.
func (d *driver) find(uuid string) (device, error) {
	all, err := d.devices()
	if err != nil || len(all) == 0 {
		return device{}, &UnavailableError{What: "the driver shows no device", Err: err}
	}
	if uuid == "" {
		return all[0], nil
	}
	bare := func(s string) string { return strings.TrimPrefix(strings.ToLower(s), "gpu-") }
	for _, v := range all {
		if bare(v.uuid) == bare(uuid) {
			return v, nil
		}
	}
	return device{}, fmt.Errorf("CUDA: %s: %w (the first there is %s)", uuid, nvml.ErrNoDevice, all[0].uuid)
}

// version returns the newest CUDA version that the driver has, like "13.0".
func (d *driver) version() (string, error) {
	var v C.int
	err := d.check("cuDriverGetVersion", C.cuda_driver_version(d.c, &v))
	return fmt.Sprintf("%d.%d", v/1000, v%1000/10), err
}

// retain makes the device's primary context or takes a share in it.
func (d *driver) retain(v device) (primary, error) {
	var c unsafe.Pointer
	err := d.check("cuDevicePrimaryCtxRetain", C.cuda_context_retain(d.c, &c, v.ordinal))
	return primary(c), err
}

func (d *driver) release(v device) error {
	return d.check("cuDevicePrimaryCtxRelease_v2", C.cuda_context_release(d.c, v.ordinal))
}

// reset destroys the primary context with all that is in it.
func (d *driver) reset(v device) error {
	return d.check("cuDevicePrimaryCtxReset_v2", C.cuda_context_reset(d.c, v.ordinal))
}

// enter makes a context current on this thread, nil none.
func (d *driver) enter(c primary) error {
	return d.check("cuCtxSetCurrent", C.cuda_context_set(d.c, unsafe.Pointer(c)))
}

// memory returns what the device has free and in all.
func (d *driver) memory() (free, total int64, err error) {
	var f, t C.size_t
	err = d.check("cuMemGetInfo_v2", C.cuda_memory_info(d.c, &f, &t))
	return int64(f), int64(t), err
}

func (d *driver) alloc(n int64) (address, error) {
	var a C.uint64_t
	err := d.check("cuMemAlloc_v2", C.cuda_memory_alloc(d.c, &a, C.size_t(n)))
	return address(a), err
}

func (d *driver) free(a address) error {
	return d.check("cuMemFree_v2", C.cuda_memory_free(d.c, C.uint64_t(a)))
}

// pin returns n bytes of page-locked host memory. It is the driver's: it has to
// be given back with unpin and is gone with the context.
func (d *driver) pin(n int64) ([]byte, error) {
	var p unsafe.Pointer
	if err := d.check("cuMemHostAlloc", C.cuda_host_alloc(d.c, &p, C.size_t(n), 0)); err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(p), n), nil
}

func (d *driver) unpin(b []byte) error {
	return d.check("cuMemFreeHost", C.cuda_host_free(d.c, unsafe.Pointer(unsafe.SliceData(b))))
}

// copyIn copies pinned memory to the device. It has to stay as it is until then.
func (d *driver) copyIn(to address, from []byte, s stream) error {
	return d.check("cuMemcpyHtoDAsync_v2",
		C.cuda_copy_in(d.c, C.uint64_t(to), unsafe.Pointer(unsafe.SliceData(from)), C.size_t(len(from)), unsafe.Pointer(s)))
}

// copyOut copies from the device to pinned memory.
func (d *driver) copyOut(to []byte, from address, s stream) error {
	return d.check("cuMemcpyDtoHAsync_v2",
		C.cuda_copy_out(d.c, unsafe.Pointer(unsafe.SliceData(to)), C.uint64_t(from), C.size_t(len(to)), unsafe.Pointer(s)))
}

// zero clears device memory.
func (d *driver) zero(a address, n int64, s stream) error {
	return d.check("cuMemsetD8Async", C.cuda_set_bytes(d.c, C.uint64_t(a), 0, C.size_t(n), unsafe.Pointer(s)))
}

// compile makes a module of PTX.
func (d *driver) compile(ptx string) (module, error) {
	const logBytes = 8192
	text := C.CString(ptx)
	defer C.free(unsafe.Pointer(text))
	log := (*C.char)(C.malloc(logBytes))
	defer C.free(unsafe.Pointer(log))
	var m unsafe.Pointer
	err := d.check("cuModuleLoadDataEx", C.cuda_compile(d.c, &m, text, log, logBytes))
	if e, ok := errors.AsType[*DriverError](err); ok {
		e.Log = strings.TrimSpace(C.GoString(log))
	}
	return module(m), err
}

func (d *driver) unload(m module) error {
	return d.check("cuModuleUnload", C.cuda_module_unload(d.c, unsafe.Pointer(m)))
}

func (d *driver) function(m module, name string) (function, error) {
	text := C.CString(name)
	defer C.free(unsafe.Pointer(text))
	var f unsafe.Pointer
	err := d.check("cuModuleGetFunction", C.cuda_module_function(d.c, &f, unsafe.Pointer(m), text))
	return function(f), err
}

// launch starts a kernel. The parameters are a struct of uint64 as the kernel
// declares them.
func launch[P any](d *driver, f function, blocks, threads int, s stream, parameters P) error {
	return d.check("cuLaunchKernel", C.cuda_start(d.c, unsafe.Pointer(f), C.unsigned(blocks), C.unsigned(threads), unsafe.Pointer(s),
		unsafe.Pointer(&parameters), C.size_t(unsafe.Sizeof(parameters))))
}

// newStream returns a stream that waits for no other, the default one included.
func (d *driver) newStream() (stream, error) {
	const nonBlocking = 1
	var s unsafe.Pointer
	err := d.check("cuStreamCreate", C.cuda_stream_create(d.c, &s, nonBlocking))
	return stream(s), err
}

func (d *driver) destroyStream(s stream) error {
	return d.check("cuStreamDestroy_v2", C.cuda_stream_destroy(d.c, unsafe.Pointer(s)))
}

// newEvent returns an event with a time.
func (d *driver) newEvent() (event, error) {
	var e unsafe.Pointer
	err := d.check("cuEventCreate", C.cuda_event_create(d.c, &e, 0))
	return event(e), err
}

func (d *driver) destroyEvent(e event) error {
	return d.check("cuEventDestroy_v2", C.cuda_event_destroy(d.c, unsafe.Pointer(e)))
}

// record makes an event happen when the stream has come so far.
func (d *driver) record(e event, s stream) error {
	return d.check("cuEventRecord", C.cuda_event_record(d.c, unsafe.Pointer(e), unsafe.Pointer(s)))
}

// wait returns when an event has happened, or with errStopped, errLost, errLate.
// The flags are set by others, with package atomic.
func (d *driver) wait(e event, stop, lost *int32, limit time.Duration) error {
	code := C.cuda_wait(d.c, unsafe.Pointer(e), (*C.int)(stop), (*C.int)(lost), C.int64_t(limit))
	switch code {
	case C.WAIT_STOPPED:
		return errStopped
	case C.WAIT_LOST:
		return errLost
	case C.WAIT_LATE:
		return errLate
	}
	return d.check("cuEventQuery", code)
}

// elapsed returns the device's time between two events that have happened.
func (d *driver) elapsed(from, to event) (scheduler.Time, error) {
	var ms C.float
	err := d.check("cuEventElapsedTime", C.cuda_event_elapsed(d.c, &ms, unsafe.Pointer(from), unsafe.Pointer(to)))
	return scheduler.Time(float64(ms) * 1e6), err
}
