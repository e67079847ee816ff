// Package nvmltest has scripted GPUs for tests of what runs over nvml.Probe and
// nvml.Telemetry, and the fake driver libraries for tests of the real binding.
//
// A Card says what its State holds; a test changes that at any time, from any
// goroutine. Cards have no goroutine and use package time only, so that
// testing/synctest can drive them. Packages whose tests use this one name those
// tests' package with _test: nvmltest imports nvml.
package nvmltest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/vramsim/vramsim/nvml"
	"github.com/vramsim/vramsim/nvml/internal/fakegpu"
	"github.com/vramsim/vramsim/scheduler"
)

// State is what a Card says of itself.
type State struct {
	Info      nvml.DeviceInfo
	Memory    nvml.Memory
	Processes []nvml.Process
	Sample    nvml.Sample
	Energy    uint64 // millijoules at the start; Sample.PowerMilliwatts adds to it
	// EnergyStep is how long the energy counter stands still; it moves by what
	// was used since. 0: it stays at Energy.
	EnergyStep     time.Duration
	Sent, Received uint64 // bytes over the link
	// Err is what every call returns, like nvml.ErrLost. The others are of the
	// call they are named after, like nvml.ErrUnsupported.
	Err                                                                  error
	MemoryErr, ProcessesErr, EnergyErr, LinkBytesErr, SampleErr, WaitErr error
}

// Healthy is an idle device of 24 GiB with that index, which nobody uses.
func Healthy(index int) State {
	return State{
		Info: nvml.DeviceInfo{Index: index, UUID: fmt.Sprintf("GPU-5c219700-0000-4000-8000-%012d", index), Name: "Scripted GPU", PCI: fmt.Sprintf("00000000:%02X:00.0", index+1),
			Memory: 24 * scheduler.GiB, Compute: "9.0", Driver: "580.00", CUDA: "13.0", MaxLink: nvml.Link{Generation: 4, Width: 16}},
		Memory: nvml.Memory{Total: 24 * scheduler.GiB, Free: 24*scheduler.GiB - 500*scheduler.MiB, Used: 100 * scheduler.MiB, Reserved: 400 * scheduler.MiB, Sum: "free+used+reserved"},
		Sample: nvml.Sample{PowerMilliwatts: 40_000, InstantMilliwatts: 40_000, SMClockMHz: 300, MemoryClockMHz: 400, TemperatureC: 35,
			Reasons: nvml.ReasonIdle, Link: nvml.Link{Generation: 1, Width: 16}},
		EnergyStep: 20 * time.Millisecond,
	}
}

// Card is a scripted nvml.Telemetry.
type Card struct {
	mu      sync.Mutex
	state   State
	faults  []nvml.Fault
	changed chan struct{} // closed at each change
	hung    chan struct{} // closed when calls return again; nil: they do
	opened  int
	calls   int

	begin    time.Time
	since    time.Time // until when exact counts
	exact    float64   // millijoules used until then
	told     uint64    // what the counter shows, of the last step
	lastStep int64
}

// NewCard returns a card in that state.
func NewCard(s State) *Card {
	now := time.Now()
	return &Card{state: s, changed: make(chan struct{}), begin: now, since: now, told: s.Energy}
}

// Set changes the state; what holds energy so far is kept, unless f changes
// Energy, from which the counter then goes on.
func (c *Card) Set(f func(*State)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.account(time.Now())
	old := c.state.Energy
	f(&c.state)
	if c.state.Energy != old {
		c.exact, c.told = 0, c.state.Energy
	}
	c.wake()
}

// Use moves bytes from free to used, back if they are negative.
func (c *Card) Use(bytes scheduler.Bytes) {
	c.Set(func(s *State) { s.Memory.Used, s.Memory.Free = s.Memory.Used+bytes, s.Memory.Free-bytes })
}

// Fault makes Wait return f, once.
func (c *Card) Fault(f nvml.Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = append(c.faults, f)
	c.wake()
}

// Lose makes the card fail every call from now on and Wait tell of it.
func (c *Card) Lose() { c.Set(func(s *State) { s.Err = nvml.ErrLost }) }

// Hang makes calls not return, until release is called; Info and Caps still do.
// A Wait goes on with its context over.
func (c *Card) Hang() (release func()) {
	hung := make(chan struct{})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hung = hung
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.hung = nil
		close(hung)
	}
}

// hang does not return while calls hang.
func (c *Card) hang() {
	c.mu.Lock()
	hung := c.hung
	c.mu.Unlock()
	if hung != nil {
		<-hung
	}
}

// Opened is how often the card has been opened and not been closed since.
func (c *Card) Opened() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.opened
}

// Calls is how many calls of telemetry there were, Info, Caps and Wait aside.
func (c *Card) Calls() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls
}

func (c *Card) wake() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// account moves the energy on to now, step by step.
func (c *Card) account(now time.Time) {
	watts := max(0, float64(c.state.Sample.PowerMilliwatts)) / 1e3
	if step := c.state.EnergyStep; step > 0 {
		if n := int64(now.Sub(c.begin) / step); n > c.lastStep {
			c.lastStep = n
			boundary := c.begin.Add(time.Duration(n) * step)
			c.told = c.state.Energy + uint64(c.exact+max(0, boundary.Sub(c.since).Seconds())*watts*1e3)
		}
	}
	c.exact += now.Sub(c.since).Seconds() * watts * 1e3
	c.since = now
}

// call is what every call starts with: the state, unless it fails.
func (c *Card) call(err func(*State) error) (State, error) {
	c.hang()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	c.account(time.Now())
	s := c.state
	if s.Err != nil {
		return State{}, s.Err
	}
	return s, err(&c.state)
}

// Info implements nvml.Telemetry.
func (c *Card) Info() nvml.DeviceInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.Info
}

// Caps implements nvml.Telemetry: what does not fail with ErrUnsupported.
func (c *Card) Caps() nvml.Caps {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &c.state
	call := func(err error) nvml.Call {
		if errors.Is(err, nvml.ErrUnsupported) {
			return nvml.Call{Detail: err.Error()}
		}
		return nvml.Call{Present: true}
	}
	sample := call(s.SampleErr)
	return nvml.Caps{Memory: call(s.MemoryErr), Processes: call(s.ProcessesErr), Energy: call(s.EnergyErr), LinkBytes: call(s.LinkBytesErr),
		Power: sample, Clocks: sample, Temperature: sample, Reasons: sample, Link: sample, Faults: call(s.WaitErr)}
}

// Memory implements nvml.Telemetry.
func (c *Card) Memory() (nvml.Memory, error) {
	s, err := c.call(func(s *State) error { return s.MemoryErr })
	if err != nil {
		return nvml.Memory{}, err
	}
	return s.Memory, nil
}

// Processes implements nvml.Telemetry.
func (c *Card) Processes() ([]nvml.Process, error) {
	s, err := c.call(func(s *State) error { return s.ProcessesErr })
	return append([]nvml.Process(nil), s.Processes...), err
}

// Energy implements nvml.Telemetry.
func (c *Card) Energy() (uint64, error) {
	if _, err := c.call(func(s *State) error { return s.EnergyErr }); err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.told, nil
}

// LinkBytes implements nvml.Telemetry.
func (c *Card) LinkBytes() (sent, received uint64, err error) {
	s, err := c.call(func(s *State) error { return s.LinkBytesErr })
	return s.Sent, s.Received, err
}

// Sample implements nvml.Telemetry.
func (c *Card) Sample() (nvml.Sample, error) {
	s, err := c.call(func(s *State) error { return s.SampleErr })
	return s.Sample, err
}

// Wait implements nvml.Telemetry.
func (c *Card) Wait(ctx context.Context) (nvml.Fault, error) { return c.wait(ctx, nil) }

func (c *Card) wait(ctx context.Context, closed <-chan struct{}) (nvml.Fault, error) {
	for {
		f, changed, err := c.next()
		if changed == nil {
			return f, err
		}
		select {
		case <-ctx.Done():
			c.hang()
			return nvml.Fault{}, ctx.Err()
		case <-closed:
			return nvml.Fault{}, fmt.Errorf("%w: it has been closed", nvml.ErrUnavailable)
		case <-changed:
		}
	}
}

// next is the next fault or error, or else the channel to wait on.
func (c *Card) next() (f nvml.Fault, changed chan struct{}, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case len(c.faults) > 0:
		f, c.faults = c.faults[0], c.faults[1:]
		return f, nil, nil
	case errors.Is(c.state.Err, nvml.ErrLost):
		return nvml.Fault{Lost: true, Text: c.state.Err.Error()}, nil, nil
	case c.state.Err != nil:
		return nvml.Fault{}, nil, c.state.Err
	case c.state.WaitErr != nil:
		return nvml.Fault{}, nil, c.state.WaitErr
	}
	return nvml.Fault{}, c.changed, nil
}

// Close implements nvml.Telemetry; a card that no probe opened has nothing to
// close.
func (c *Card) Close() error { return nil }

// session is a card as Open returns it.
type session struct {
	*Card
	once   sync.Once
	closed chan struct{}
}

// Wait ends with Close.
func (s *session) Wait(ctx context.Context) (nvml.Fault, error) { return s.wait(ctx, s.closed) }

// Close ends a Wait; the card itself goes on.
func (s *session) Close() error {
	s.once.Do(func() {
		close(s.closed)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.opened--
	})
	return nil
}

// Probe is a scripted nvml.Probe: it lists its cards.
type Probe struct {
	cards []*Card
	err   error

	mu     sync.Mutex
	hung   chan struct{} // closed when calls return again; nil: they do
	closed bool
}

// Hang makes calls of the probe not return, until release is called.
func (p *Probe) Hang() (release func()) {
	hung := make(chan struct{})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hung = hung
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.hung = nil
		close(hung)
	}
}

// hang does not return while calls hang.
func (p *Probe) hang() {
	p.mu.Lock()
	hung := p.hung
	p.mu.Unlock()
	if hung != nil {
		<-hung
	}
}

// Closed reports whether Close has returned.
func (p *Probe) Closed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// NewProbe returns a probe that finds those cards; without any it fails as
// where there is no device.
func NewProbe(cards ...*Card) *Probe {
	if len(cards) == 0 {
		return Unavailable("the driver has no device for this process")
	}
	return &Probe{cards: cards}
}

// Unavailable returns a probe whose calls fail with an
// *nvml.UnavailableError.
func Unavailable(why string) *Probe {
	return &Probe{err: &nvml.UnavailableError{Why: why, Advice: "use another script"}}
}

// List implements nvml.Probe.
func (p *Probe) List() (list []nvml.DeviceInfo, err error) {
	p.hang()
	for _, c := range p.cards {
		list = append(list, c.Info())
	}
	return list, p.err
}

// Open implements nvml.Probe.
func (p *Probe) Open(uuid string) (nvml.Telemetry, error) {
	p.hang()
	if p.err != nil {
		return nil, p.err
	}
	for _, c := range p.cards {
		if c.Info().UUID == uuid {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.opened++
			return &session{Card: c, closed: make(chan struct{})}, nil
		}
	}
	return nil, fmt.Errorf("%w: %s", nvml.ErrNoDevice, uuid)
}

// Close implements nvml.Probe. Like the driver's library it waits for calls of
// the cards that hang.
func (p *Probe) Close() error {
	p.hang()
	for _, c := range p.cards {
		c.hang()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return nil
}

// Library compiles a fake driver library and returns its folder: fake_nvml.c
// as libnvidia-ml.so.1, or fake_cuda.c as libcuda.so.1. Without gcc the test is
// skipped; in CI it fails. The files say what steers them.
func Library(t testing.TB, source, library string, without ...string) (dir string) {
	t.Helper()
	return fakegpu.Build(t, source, library, without...)
}

// LibraryPath is the environment entry under which a child finds the libraries
// of those folders.
func LibraryPath(dirs ...string) string { return fakegpu.Path(dirs...) }
