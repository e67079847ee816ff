package cuda

import (
	"fmt"
	"time"

	"github.com/vramsim/vramsim/nvml"
	"github.com/vramsim/vramsim/scheduler"
)

// Work is what the computation of a batch is made of.
type Work string

// The kinds of work. Spin checks the loop around it: a batch is over when its
// estimate is, by the device's clock. Fit computes: the Base of the model's
// batch time is spent on reading its weights, the rest on multiply-adds, both in
// amounts that took as long on the device alone when the executor was opened. It
// then takes longer or shorter as clocks, copies and other slots have it.
const (
	Spin Work = "spin"
	Fit  Work = "fit"
)

// HostTier is what the host tier is made of.
type HostTier string

// The kinds of host tier: memory that is pinned once, from which the device
// copies by itself, or files that the page cache holds, read into pinned slots
// on the way.
const (
	Pinned    HostTier = "pinned"
	PageCache HostTier = "pagecache"
)

// Defaults of Config.
const (
	DefaultLibrary  = "libcuda.so.1"
	DefaultPatience = 30 * time.Second
	DefaultSlot     = 64 * scheduler.MiB
	DefaultQuantum  = 5 * time.Millisecond
	DefaultPinLimit = 4 * scheduler.GiB
)

// FolderPrefix begins the names of temporary folders of weights.
const FolderPrefix = "vramsim-weights-"

// Config describes an Executor; the zero value is a good one.
type Config struct {
	// Library is the driver's library, a name or a path as for dlopen; empty:
	// DefaultLibrary.
	Library string
	// UUID of the device, in the form GPU-… or without the prefix, as NVML and
	// the driver print it; empty: the first device.
	UUID string
	// Work of batches; empty: Spin.
	Work Work
	// HostTier is what loads from the host tier read; empty: PageCache.
	HostTier HostTier
	// Dir is an existing folder for the files of weights: a file a model, of
	// its size. Files that are already there with the right contents are used.
	// Empty: that for temporary files.
	Dir string
	// Keep leaves the files that were written to Dir for later. Others lose their
	// names when they have been written, so that nothing is left of them even if
	// the process is killed.
	Keep bool
	// Ballast takes what the device has beyond what the plan may use, in plain
	// allocations, so that memory really runs out where it would on a smaller
	// card. It emulates capacity only; the name among the capabilities says so.
	Ballast bool
	// Memory is the size of the card that Ballast emulates. Of it goes what is
	// in use once the context exists: by driver, context and other processes.
	// 0: just what leaves the plan's memory free beside them.
	Memory scheduler.Bytes
	// Patience is how long a command may take that is expected to take less
	// than a tenth of it; others may take ten times their estimate. Past it the
	// command fails, and if the device has stopped, which shows within 2 s more,
	// the context counts as lost. 0: DefaultPatience.
	Patience time.Duration
	// Slot is the size of each of the four pinned buffers that files are read
	// into, and of pieces that are copied at once, a multiple of 4 KiB; 0:
	// DefaultSlot.
	Slot scheduler.Bytes
	// Quantum is the longest that one launch of a batch is meant to take: how
	// promptly batches are cancelled. 0: DefaultQuantum.
	Quantum time.Duration
	// PinLimit is up to where Check tries how much memory can be pinned; 0:
	// DefaultPinLimit.
	PinLimit scheduler.Bytes
}

// withDefaults returns c with what was left out, or what is wrong with it.
func (c Config) withDefaults() (Config, error) {
	setDefault(&c.Library, DefaultLibrary)
	setDefault(&c.Work, Spin)
	setDefault(&c.HostTier, PageCache)
	setDefault(&c.Patience, DefaultPatience)
	setDefault(&c.Slot, DefaultSlot)
	setDefault(&c.Quantum, DefaultQuantum)
	setDefault(&c.PinLimit, DefaultPinLimit)
	return c, c.validate()
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (c *Config) validate() error {
	wrong := func(field, format string, args ...any) error {
		return &ConfigError{Field: field, What: fmt.Sprintf(format, args...)}
	}
	switch {
	case c.Work != Spin && c.Work != Fit:
		return wrong("Work", "%q is neither %s nor %s", c.Work, Spin, Fit)
	case c.HostTier != Pinned && c.HostTier != PageCache:
		return wrong("HostTier", "%q is neither %s nor %s", c.HostTier, Pinned, PageCache)
	case c.Memory < 0:
		return wrong("Memory", "%v is negative", c.Memory)
	case c.Memory > 0 && !c.Ballast:
		return wrong("Memory", "a card is emulated only with Ballast")
	case c.Patience < 0:
		return wrong("Patience", "%v is negative", c.Patience)
	case c.Slot < 4*scheduler.KiB || c.Slot%(4*scheduler.KiB) != 0 || c.Slot > scheduler.GiB:
		return wrong("Slot", "%v is no multiple of 4 KiB up to 1 GiB", c.Slot)
	case c.Quantum < 10*time.Microsecond || c.Quantum > time.Second:
		return wrong("Quantum", "%v is not within 10µs and 1s", c.Quantum)
	case c.PinLimit < 0:
		return wrong("PinLimit", "%v is negative", c.PinLimit)
	}
	return nil
}

// limit is how long a command may take.
func (c *Config) limit(estimate scheduler.Time) time.Duration {
	const most = 1 << 60
	return max(c.Patience, 10*time.Duration(min(max(estimate, 0), most/10)))
}

// ConfigError says which field of a Config is wrong.
type ConfigError struct {
	Field string
	What  string
}

func (e *ConfigError) Error() string { return fmt.Sprintf("cuda: %s: %s", e.Field, e.What) }

// UnavailableError says why the CUDA driver cannot be used here: no library, a
// symbol that it lacks, no device, or a build without this package's code. It
// wraps nvml.ErrUnavailable.
type UnavailableError struct {
	What string
	Err  error // may be nil
}

func (e *UnavailableError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("CUDA is unavailable: %s: %v", e.What, e.Err)
	}
	return "CUDA is unavailable: " + e.What
}

// Unwrap returns nvml.ErrUnavailable and the cause.
func (e *UnavailableError) Unwrap() []error {
	if e.Err == nil {
		return []error{nvml.ErrUnavailable}
	}
	return []error{nvml.ErrUnavailable, e.Err}
}

// DriverError is an error that the driver returned.
type DriverError struct {
	Call string // like cuMemAlloc_v2
	Code int    // CUresult
	Name string // like CUDA_ERROR_OUT_OF_MEMORY
	Log  string // of the compiler, if the call has one
}

func (e *DriverError) Error() string {
	s := fmt.Sprintf("%s: %s (%d)", e.Call, e.Name, e.Code)
	if e.Log != "" {
		s += ": " + e.Log
	}
	return s
}

// Report is what Check found out. Times are wall times.
type Report struct {
	Device  string          `json:"device"`
	UUID    string          `json:"uuid"`               // like GPU-…
	Compute string          `json:"compute_capability"` // like "9.0"
	Driver  string          `json:"cuda"`               // newest CUDA version of the driver, like "13.0"
	SMs     int             `json:"multiprocessors"`
	Total   scheduler.Bytes `json:"memory_bytes"`
	Free    scheduler.Bytes `json:"free_bytes"` // with the context
	Context time.Duration   `json:"context_ns"` // to make a context
	JIT     time.Duration   `json:"jit_ns"`     // to compile the kernels; the driver may have cached them
	Target  string          `json:"jit_target"` // like sm_70
	// Launch is the shortest of several rounds of an empty launch and its end.
	Launch time.Duration `json:"launch_ns"`
	// Pinned is the most memory that could be pinned at once, up to
	// Config.PinLimit; PinTime is how long that took.
	Pinned  scheduler.Bytes `json:"pinned_bytes"`
	PinTime time.Duration   `json:"pin_ns"`
}
