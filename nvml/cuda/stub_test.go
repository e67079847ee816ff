//go:build !(linux && cgo && nvml)

package cuda

import (
	"errors"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/nvml"
	"github.com/vramsim/vramsim/scheduler"
)

// TestStub: a build without the executor says which one has it.
func TestStub(t *testing.T) {
	e := New(Config{Dir: t.TempDir()})
	_, err := e.Open(t.Context(), scheduler.Plan{})
	if !errors.Is(err, nvml.ErrUnavailable) || !strings.Contains(err.Error(), "-tags nvml") {
		t.Errorf("open: %v", err)
	}
	if _, err := Check(t.Context(), Config{}); !errors.Is(err, nvml.ErrUnavailable) {
		t.Errorf("check: %v", err)
	}
	if e.Start(scheduler.Command{}) == nil {
		t.Error("a command was started")
	}
	e.Cancel(1)
	if err := e.Close(t.Context()); err != nil || e.Outcomes() == nil {
		t.Errorf("close: %v", err)
	}
}
