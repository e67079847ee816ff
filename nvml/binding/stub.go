//go:build !(linux && cgo && nvml)

package binding

import "github.com/vramsim/vramsim/nvml"

// New returns a Probe that has nothing to look with: its errors wrap
// nvml.ErrUnavailable and say how to build one that has.
func New() nvml.Probe { return probe{} }

// Linked says whether this build can talk to NVML.
const Linked = false

type probe struct{}

func (probe) err() error {
	return &nvml.UnavailableError{Why: "this build has no NVML in it",
		Advice: "build it with NVML, on Linux with a C compiler: go build -tags nvml -ldflags='-extldflags=-Wl,-z,lazy' ./cmd/vramsim"}
}

func (p probe) List() ([]nvml.DeviceInfo, error)    { return nil, p.err() }
func (p probe) Open(string) (nvml.Telemetry, error) { return nil, p.err() }
func (probe) Close() error                          { return nil }
