//go:build !(linux && cgo && nvml)

package cuda

import (
	"context"

	"github.com/vramsim/vramsim/scheduler"
)

// missing names the build that has the executor.
func missing() error {
	return &UnavailableError{What: "this build has no CUDA; it takes Linux, cgo and: " +
		"go build -tags nvml -ldflags='-extldflags=-Wl,-z,lazy' ./cmd/vramsim"}
}

// Executor is the executor on the CUDA driver. This build has none: Open fails.
type Executor struct{ outcomes chan scheduler.Outcome }

// New returns an executor whose Open says which build is needed.
func New(Config) *Executor { return &Executor{outcomes: make(chan scheduler.Outcome)} }

// Open returns an *UnavailableError.
func (e *Executor) Open(context.Context, scheduler.Plan) (scheduler.Capabilities, error) {
	return scheduler.Capabilities{}, missing()
}

// Start fails.
func (e *Executor) Start(scheduler.Command) error {
	return &scheduler.CommandError{Code: scheduler.FailureLost, Text: missing().Error()}
}

// Outcomes returns a channel on which nothing comes.
func (e *Executor) Outcomes() <-chan scheduler.Outcome { return e.outcomes }

// Cancel does nothing.
func (e *Executor) Cancel(uint64) {}

// Restart returns an *UnavailableError.
func (e *Executor) Restart(context.Context) error { return missing() }

// Close does nothing.
func (e *Executor) Close(context.Context) error { return nil }

// Check returns an *UnavailableError.
func Check(context.Context, Config) (Report, error) { return Report{}, missing() }

var _ scheduler.Restarter = (*Executor)(nil)
