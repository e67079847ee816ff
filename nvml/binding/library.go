//go:build linux && cgo && nvml

package binding

import (
	"fmt"
	"sync"

	"github.com/NVIDIA/go-nvml/pkg/dl"
	gonvml "github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/vramsim/vramsim/nvml"
)

// soname is the driver's library, as go-nvml opens it.
const soname = "libnvidia-ml.so.1"

// function is a function of go-nvml that may be called.
type function struct {
	name string
	// symbols are what it calls: go-nvml takes the newest version there is, so
	// one of them is enough.
	symbols []string
}

// functions is the table. All of them read, but for those about the library
// itself and about sets of events, which belong to this process.
func functions() []function {
	return []function{
		{"SystemGetDriverVersion", []string{"nvmlSystemGetDriverVersion"}},
		{"SystemGetCudaDriverVersion_v2", []string{"nvmlSystemGetCudaDriverVersion_v2"}},
		{"DeviceGetCount", []string{"nvmlDeviceGetCount_v2", "nvmlDeviceGetCount"}},
		{"DeviceGetHandleByIndex", []string{"nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetHandleByIndex"}},
		{"DeviceGetUUID", []string{"nvmlDeviceGetUUID"}},
		{"DeviceGetName", []string{"nvmlDeviceGetName"}},
		{"DeviceGetPciInfo", []string{"nvmlDeviceGetPciInfo_v3", "nvmlDeviceGetPciInfo_v2", "nvmlDeviceGetPciInfo"}},
		{"DeviceGetCudaComputeCapability", []string{"nvmlDeviceGetCudaComputeCapability"}},
		{"DeviceGetMigMode", []string{"nvmlDeviceGetMigMode"}},
		{"DeviceGetMemoryInfo", []string{"nvmlDeviceGetMemoryInfo"}},
		{"DeviceGetMemoryInfo_v2", []string{"nvmlDeviceGetMemoryInfo_v2"}},
		{"DeviceGetComputeRunningProcesses", []string{"nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2",
			"nvmlDeviceGetComputeRunningProcesses"}},
		{"DeviceGetGraphicsRunningProcesses", []string{"nvmlDeviceGetGraphicsRunningProcesses_v3", "nvmlDeviceGetGraphicsRunningProcesses_v2",
			"nvmlDeviceGetGraphicsRunningProcesses"}},
		{"DeviceGetFieldValues", []string{"nvmlDeviceGetFieldValues"}},
		{"DeviceGetPowerUsage", []string{"nvmlDeviceGetPowerUsage"}},
		{"DeviceGetClockInfo", []string{"nvmlDeviceGetClockInfo"}},
		{"DeviceGetTemperature", []string{"nvmlDeviceGetTemperature"}},
		{"DeviceGetCurrentClocksEventReasons", []string{"nvmlDeviceGetCurrentClocksEventReasons"}},
		{"DeviceGetMaxPcieLinkGeneration", []string{"nvmlDeviceGetMaxPcieLinkGeneration"}},
		{"DeviceGetMaxPcieLinkWidth", []string{"nvmlDeviceGetMaxPcieLinkWidth"}},
		{"DeviceGetCurrPcieLinkGeneration", []string{"nvmlDeviceGetCurrPcieLinkGeneration"}},
		{"DeviceGetCurrPcieLinkWidth", []string{"nvmlDeviceGetCurrPcieLinkWidth"}},
		{"DeviceGetSupportedEventTypes", []string{"nvmlDeviceGetSupportedEventTypes"}},
		{"DeviceRegisterEvents", []string{"nvmlDeviceRegisterEvents"}},
		{"EventSetCreate", []string{"nvmlEventSetCreate"}},
		{"EventSetWait", []string{"nvmlEventSetWait_v2", "nvmlEventSetWait"}},
		{"EventSetFree", []string{"nvmlEventSetFree"}},
	}
}

// library is NVML after a successful Init. Its calls hold mu for reading, so
// that none is under way when it is shut down.
type library struct {
	mu      sync.RWMutex
	open    bool
	present map[string]bool // by the name of the function
}

// load opens the library. Nothing of NVML is called unless Init and Shutdown
// are there, and nothing else unless Init succeeds.
func load() (*library, error) {
	if err := loadable(); err != nil {
		return nil, err
	}
	if code := gonvml.Init(); code != gonvml.SUCCESS {
		return nil, initFailure(int(code))
	}
	l := &library{open: true, present: map[string]bool{}}
	for _, f := range functions() {
		for _, symbol := range f.symbols {
			if gonvml.Extensions().LookupSymbol(symbol) == nil {
				l.present[f.name] = true
			}
		}
	}
	return l, nil
}

// loadable looks at the library without calling it. go-nvml looks symbols up
// only after Init, too late for Init itself.
func loadable() error {
	file := dl.New(soname, dl.RTLD_LAZY|dl.RTLD_LOCAL)
	if err := file.Open(); err != nil {
		return &nvml.UnavailableError{Why: fmt.Sprintf("no NVIDIA driver: %v", err), Advice: installAdvice}
	}
	defer file.Close()
	if file.Lookup("nvmlInit_v2") != nil && file.Lookup("nvmlInit") != nil || file.Lookup("nvmlShutdown") != nil {
		return &nvml.UnavailableError{Why: soname + " has no nvmlInit or nvmlShutdown: it is not NVIDIA's", Advice: "take what comes before the driver's library out of LD_LIBRARY_PATH"}
	}
	return nil
}

// close shuts NVML down for this user of it; further calls do nothing.
func (l *library) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.open {
		return nil
	}
	l.open = false
	return failure("Shutdown", int(gonvml.Shutdown()))
}

// ask makes a call if the library is open and has it.
func ask[T any](l *library, name string, call func() (T, gonvml.Return)) (T, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var none T
	switch {
	case !l.open:
		return none, errClosed()
	case !l.present[name]:
		return none, lacks(name)
	}
	v, code := call()
	if code != gonvml.SUCCESS {
		return none, failure(name, int(code))
	}
	return v, nil
}

// lacks returns the error of a call that the driver does not have.
func lacks(name string) error {
	return fmt.Errorf("%w: the driver has no nvml%s", nvml.ErrUnsupported, name)
}

// has returns an error if one of the functions is missing, for what is of no
// use without all of them.
func (l *library) has(names ...string) error {
	for _, name := range names {
		if !l.present[name] {
			return lacks(name)
		}
	}
	return nil
}

func errClosed() error { return fmt.Errorf("%w: it has been closed", nvml.ErrUnavailable) }

// Codes of NVML that are told apart.
const (
	codeUninitialized   = int(gonvml.ERROR_UNINITIALIZED)
	codeUnsupported     = int(gonvml.ERROR_NOT_SUPPORTED)
	codePermission      = int(gonvml.ERROR_NO_PERMISSION)
	codeNotFound        = int(gonvml.ERROR_NOT_FOUND)
	codeDriverNotLoaded = int(gonvml.ERROR_DRIVER_NOT_LOADED)
	codeTimeout         = int(gonvml.ERROR_TIMEOUT)
	codeNoLibrary       = int(gonvml.ERROR_LIBRARY_NOT_FOUND)
	codeNoFunction      = int(gonvml.ERROR_FUNCTION_NOT_FOUND)
	codeLost            = int(gonvml.ERROR_GPU_IS_LOST)
	codeResetRequired   = int(gonvml.ERROR_RESET_REQUIRED)
	codeBlocked         = int(gonvml.ERROR_OPERATING_SYSTEM)
	codeMismatch        = int(gonvml.ERROR_LIB_RM_VERSION_MISMATCH)
	codeOtherVersion    = int(gonvml.ERROR_ARGUMENT_VERSION_MISMATCH)
	codeDeprecated      = int(gonvml.ERROR_DEPRECATED)
)

// failure is the error of a call, nil for success. It never asks NVML for the
// text of a code: go-nvml would call a function that may be absent.
func failure(name string, code int) error {
	switch code {
	case 0:
		return nil
	case codeUnsupported, codeNoFunction, codeOtherVersion, codeDeprecated:
		return fmt.Errorf("nvml%s: %w", name, nvml.ErrUnsupported)
	case codePermission:
		return fmt.Errorf("nvml%s: no permission: %w", name, nvml.ErrUnsupported)
	case codeNotFound:
		return fmt.Errorf("nvml%s: %w", name, nvml.ErrNoDevice)
	case codeLost:
		return fmt.Errorf("nvml%s: %w", name, nvml.ErrLost)
	case codeResetRequired:
		return fmt.Errorf("nvml%s: a reset is required: %w", name, nvml.ErrLost)
	case codeUninitialized:
		return fmt.Errorf("nvml%s: %w: not initialised", name, nvml.ErrUnavailable)
	case codeTimeout:
		return errTimeout
	}
	return fmt.Errorf("nvml%s: error %d", name, code)
}

// What to do about a driver that is not there, or not for this process.
const (
	installAdvice = "nvidia-smi has to work where this runs: install NVIDIA's driver, or pass it into the container (docker run --gpus all)"
	passAdvice    = "nvidia-smi -L has to list devices where this runs; pass them into the container (docker run --gpus all)"
)

// initFailure says why Init failed, and what to do about it.
func initFailure(code int) error {
	e := &nvml.UnavailableError{Why: fmt.Sprintf("nvmlInit failed with error %d", code), Advice: installAdvice}
	switch code {
	case codeDriverNotLoaded:
		e.Why, e.Advice = "the NVIDIA kernel driver is not loaded", "load it (modprobe nvidia); after an update of the kernel the driver may have to be installed anew"
	case codeNoLibrary:
		e.Why = soname + " cannot be opened"
	case codePermission:
		e.Why, e.Advice = "no permission to use the NVIDIA driver", "this user needs to read and write /dev/nvidiactl and /dev/nvidia0, /dev/nvidia1, ..."
	case codeBlocked:
		e.Why, e.Advice = "the operating system keeps the NVIDIA devices from this process", passAdvice
	case codeMismatch:
		e.Why, e.Advice = "driver and library are of different versions", "restart the machine: the driver was updated while it was loaded"
	}
	return e
}
