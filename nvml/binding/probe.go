//go:build linux && cgo && nvml

package binding

import (
	"errors"
	"fmt"
	"sync"

	"github.com/vramsim/vramsim/nvml"
)

// Linked says whether this build can talk to NVML.
const Linked = true

// New returns a Probe over NVML. The library is opened by the first call that
// needs it.
func New() nvml.Probe { return &probe{} }

type probe struct {
	mu  sync.Mutex
	lib *library
	err error // why it cannot be opened; it is not tried again
}

// library opens NVML at the first call.
func (p *probe) library() (*library, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lib == nil && p.err == nil {
		p.lib, p.err = load()
	}
	return p.lib, p.err
}

// List implements nvml.Probe.
func (p *probe) List() ([]nvml.DeviceInfo, error) {
	found, err := p.devices()
	var infos []nvml.DeviceInfo
	for _, d := range found {
		infos = append(infos, d.info)
	}
	return infos, err
}

// Open implements nvml.Probe.
func (p *probe) Open(uuid string) (nvml.Telemetry, error) {
	found, err := p.devices()
	if err != nil {
		return nil, err
	}
	for _, d := range found {
		if d.info.UUID != uuid {
			continue
		}
		if err := d.try(); err != nil {
			return nil, err
		}
		return d, nil
	}
	return nil, fmt.Errorf("%w: %s", nvml.ErrNoDevice, uuid)
}

// Close implements nvml.Probe.
func (p *probe) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lib == nil {
		p.err = errClosed()
		return nil
	}
	return p.lib.close()
}

// devices returns those that answer; if none does the error says why.
func (p *probe) devices() ([]*device, error) {
	lib, err := p.library()
	if err != nil {
		return nil, err
	}
	n, err := lib.count()
	if err != nil {
		return nil, unavailable(err)
	}
	if n == 0 {
		return nil, &nvml.UnavailableError{Why: "the driver has no device for this process", Advice: passAdvice}
	}
	var found []*device
	var failed []error
	for i := range n {
		d, err := newDevice(lib, i)
		if err != nil {
			failed = append(failed, fmt.Errorf("device %d: %w", i, err))
			continue
		}
		found = append(found, d)
	}
	if found == nil {
		return nil, unavailable(errors.Join(failed...))
	}
	return found, nil
}

// unavailable says of an error that without what failed there is nothing.
func unavailable(err error) error {
	if errors.Is(err, nvml.ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", nvml.ErrUnavailable, err)
}
