package nvml

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// DefaultPatience is how long Worlds and the doctor wait for a call of a driver.
// Drivers take milliseconds.
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
	return newBounded(t, limit)
}

func newBounded(t Telemetry, limit time.Duration) *bounded {
	return &bounded{Telemetry: t, patience: patience{limit: limit}}
}

// Hanging returns why every call of t fails at once: the error of one that has
// not returned. It is nil if there is none, or t is not Bounded.
func Hanging(t Telemetry) error {
	if b, ok := t.(*bounded); ok {
		return b.hanging()
	}
	return nil
}

// BoundedProbe returns p with calls that end, and the telemetry it opens Bounded,
// with that limit for each call. A call of the probe that hangs fails its others
// at once, as those of a device do. Close leaves the library of a driver open in
// which a call hangs, of the probe or of what it opened: it would wait for that.
// What is a BoundedProbe already is returned as it is.
func BoundedProbe(p Probe, limit time.Duration) Probe {
	if _, ok := p.(*boundedProbe); ok || p == nil {
		return p
	}
	return &boundedProbe{Probe: p, patience: patience{limit: limit}}
}

// patience bounds calls of one driver's object.
type patience struct {
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
func (p *patience) hanging() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hung = slices.DeleteFunc(p.hung, func(c hungCall) bool { return isClosed(c.returned) })
	if len(p.hung) == 0 {
		return nil
	}
	return fmt.Errorf("%w: its call for %s has not returned in %v", ErrHung, p.hung[0].name, p.limit)
}

// within makes a call and waits for it: until ctx has ended, and the limit from
// then on.
func within[T any](ctx context.Context, p *patience, name string, call func() (T, error)) (v T, err error) {
	if err := p.hanging(); err != nil {
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
	timer := time.NewTimer(p.limit)
	defer timer.Stop()
	select {
	case <-returned:
		return answer, failure
	case <-timer.C:
	}
	p.mu.Lock()
	p.hung = append(p.hung, hungCall{name, returned})
	p.mu.Unlock()
	if err := p.hanging(); err != nil {
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

// bounded is a device.
type bounded struct {
	Telemetry
	patience
}

// ask makes a call of the device within its patience.
func ask[T any](ctx context.Context, b *bounded, name string, call func() (T, error)) (T, error) {
	return within(ctx, &b.patience, name+" of "+b.Info().Name, call)
}

func (b *bounded) Memory() (Memory, error) {
	return ask(over(), b, "the memory", b.Telemetry.Memory)
}

func (b *bounded) Processes() ([]Process, error) {
	return ask(over(), b, "the processes", b.Telemetry.Processes)
}

func (b *bounded) Energy() (uint64, error) {
	return ask(over(), b, "the energy", b.Telemetry.Energy)
}

func (b *bounded) LinkBytes() (sent, received uint64, err error) {
	bytes, err := ask(over(), b, "the link's bytes", func() (bytes [2]uint64, err error) {
		bytes[0], bytes[1], err = b.Telemetry.LinkBytes()
		return bytes, err
	})
	return bytes[0], bytes[1], err
}

func (b *bounded) Sample() (Sample, error) {
	return ask(over(), b, "a sample", b.Telemetry.Sample)
}

func (b *bounded) Wait(ctx context.Context) (Fault, error) {
	return ask(ctx, b, "the next fault", func() (Fault, error) { return b.Telemetry.Wait(ctx) })
}

// Close leaves a device open in whose driver a call hangs.
func (b *bounded) Close() error {
	_, err := ask(over(), b, "the end", func() (struct{}, error) { return struct{}{}, b.Telemetry.Close() })
	return err
}

// boundedProbe is a driver's library.
type boundedProbe struct {
	Probe
	patience

	opening sync.Mutex // of what follows
	opened  []*bounded
}

func (p *boundedProbe) List() ([]DeviceInfo, error) {
	return within(over(), &p.patience, "the list of devices", p.Probe.List)
}

func (p *boundedProbe) Open(uuid string) (Telemetry, error) {
	t, err := within(over(), &p.patience, "the device "+uuid, func() (Telemetry, error) { return p.Probe.Open(uuid) })
	if err != nil {
		return nil, err
	}
	b := newBounded(t, p.limit)
	p.opening.Lock()
	defer p.opening.Unlock()
	p.opened = append(p.opened, b)
	return b, nil
}

func (p *boundedProbe) Close() error {
	p.opening.Lock()
	defer p.opening.Unlock()
	for _, b := range p.opened {
		if err := b.hanging(); err != nil {
			return err
		}
	}
	_, err := within(over(), &p.patience, "the end", func() (struct{}, error) { return struct{}{}, p.Probe.Close() })
	return err
}
