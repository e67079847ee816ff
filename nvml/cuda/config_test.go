package cuda

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/vramsim/vramsim/nvml"
	"github.com/vramsim/vramsim/scheduler"
)

// TestConfig: what is left out has a default, what is wrong is named.
func TestConfig(t *testing.T) {
	c, err := Config{}.withDefaults()
	if err != nil || c.Library != "libcuda.so.1" || c.Work != Spin || c.HostTier != PageCache || c.Slot != 64<<20 || c.Quantum != 5*time.Millisecond {
		t.Errorf("defaults %+v, %v", c, err)
	}
	for field, wrong := range map[string]Config{
		"Work": {Work: "burn"}, "HostTier": {HostTier: "tape"}, "Memory": {Memory: scheduler.GiB},
		"Slot": {Slot: 4097}, "Quantum": {Quantum: time.Minute}, "Patience": {Patience: -1}, "PinLimit": {PinLimit: -1},
	} {
		_, err := wrong.withDefaults()
		if e, ok := errors.AsType[*ConfigError](err); !ok || e.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// TestLimit: a command may take ten times its estimate, but never less than the
// patience, and the product does not overflow.
func TestLimit(t *testing.T) {
	c := Config{Patience: 30 * time.Second}
	for estimate, want := range map[scheduler.Time]time.Duration{
		-1: 30 * time.Second, 0: 30 * time.Second, 3 * scheduler.Second: 30 * time.Second, 4 * scheduler.Second: 40 * time.Second} {
		if got := c.limit(estimate); got != want {
			t.Errorf("%v: %v, want %v", estimate, got, want)
		}
	}
	if c.limit(scheduler.Never) < 24*time.Hour {
		t.Error("no estimate at all overflows")
	}
}

// TestUnavailable: the error is what commands look for, and keeps its cause.
func TestUnavailable(t *testing.T) {
	cause := &DriverError{Call: "cuInit", Code: 100, Name: "CUDA_ERROR_NO_DEVICE"}
	err := error(&UnavailableError{What: "the driver does not start", Err: cause})
	if !errors.Is(err, nvml.ErrUnavailable) || !errors.Is(err, cause) || !strings.Contains(err.Error(), "CUDA_ERROR_NO_DEVICE (100)") {
		t.Errorf("%v", err)
	}
	if err := error(&UnavailableError{What: "no library"}); !errors.Is(err, nvml.ErrUnavailable) || strings.Contains(err.Error(), "NVML") {
		t.Errorf("%v", err)
	}
}
