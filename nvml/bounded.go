package nvml

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// DefaultPatience is how long a World waits for a call of telemetry. Drivers
// take milliseconds.
const DefaultPatience = 5 * time.Second

// ErrHung says that a call has not returned, and perhaps never will.
var ErrHung = errors.New("the driver does not answer")

// Bounded returns t with calls that end: one that takes longer than limit is
// left to itself and returns an error that names it and wraps ErrHung. Until it
// has returned after all, every other call fails at once with the same error, so
// that calls do not pile up in a driver that hangs. Wait may take as long as its
// context lasts, and limit then; nothing bounds Info and Caps, which no driver
// is asked for. What is Bounded already is returned as it is.
func Bounded(t Telemetry, limit time.Duration) Telemetry {
	if _, ok := t.(*bounded); ok || t == nil {
		return t
	}
	return &bounded{Telemetry: t, limit: limit}
}

type bounded struct {
	Telemetry
	limit time.Duration

	mu   sync.Mutex
	hung []hungCall
}

// hungCall is a call that nobody waits for any more.
type hungCall struct {
	name     string
	returned chan struct{}
}

// hanging returns why no call can be made, nil if one can.
func (b *bounded) hanging() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hung = slices.DeleteFunc(b.hung, func(c hungCall) bool { return isClosed(c.returned) })
	if len(b.hung) == 0 {
		return nil
	}
	return fmt.Errorf("%w: its call for %s of %s has not returned in %v", ErrHung, b.hung[0].name, b.Info().Name, b.limit)
}

// within makes a call and waits for it: until ctx has ended, and the limit from
// then on.
func within[T any](ctx context.Context, b *bounded, name string, call func() (T, error)) (v T, err error) {
	if err := b.hanging(); err != nil {
		return v, err
	}
	returned := make(chan struct{})
	var answer T
	var failure error
	go func() {
		defer close(returned)
		answer, failure = call()
	}()
	select {
	case <-returned:
		return answer, failure
	case <-ctx.Done():
	}
	timer := time.NewTimer(b.limit)
	defer timer.Stop()
	select {
	case <-returned:
		return answer, failure
	case <-timer.C:
	}
	b.mu.Lock()
	b.hung = append(b.hung, hungCall{name, returned})
	b.mu.Unlock()
	if err := b.hanging(); err != nil {
		return v, err
	}
	return answer, failure // it returned just now
}

// over is the context of calls that have nothing to wait for but the driver.
func over() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func (b *bounded) Memory() (Memory, error) {
	return within(over(), b, "the memory", b.Telemetry.Memory)
}

func (b *bounded) Processes() ([]Process, error) {
	return within(over(), b, "the processes", b.Telemetry.Processes)
}

func (b *bounded) Energy() (uint64, error) {
	return within(over(), b, "the energy", b.Telemetry.Energy)
}

func (b *bounded) LinkBytes() (sent, received uint64, err error) {
	bytes, err := within(over(), b, "the link's bytes", func() (bytes [2]uint64, err error) {
		bytes[0], bytes[1], err = b.Telemetry.LinkBytes()
		return bytes, err
	})
	return bytes[0], bytes[1], err
}

func (b *bounded) Sample() (Sample, error) {
	return within(over(), b, "a sample", b.Telemetry.Sample)
}

func (b *bounded) Wait(ctx context.Context) (Fault, error) {
	return within(ctx, b, "the next fault", func() (Fault, error) { return b.Telemetry.Wait(ctx) })
}

// Close leaves a device open in whose driver a call hangs.
func (b *bounded) Close() error {
	_, err := within(over(), b, "the end", func() (struct{}, error) { return struct{}{}, b.Telemetry.Close() })
	return err
}
