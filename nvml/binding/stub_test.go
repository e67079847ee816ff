//go:build !(linux && cgo && nvml)

package binding

import (
	"errors"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/nvml"
)

// TestStub: a build without NVML says so, and how to make one with it.
func TestStub(t *testing.T) {
	p := New()
	_, list := p.List()
	_, open := p.Open("GPU-0")
	for _, err := range []error{list, open} {
		why, ok := errors.AsType[*nvml.UnavailableError](err)
		if !errors.Is(err, nvml.ErrUnavailable) || !ok || !strings.HasSuffix(why.Advice, ": go build -tags nvml -ldflags='-extldflags=-Wl,-z,lazy' ./cmd/vramsim") {
			t.Errorf("%v", err)
		}
	}
	if err := p.Close(); err != nil || Linked {
		t.Errorf("close: %v, linked %v", err, Linked)
	}
}
