package main

import (
	"errors"
	"fmt"

	"github.com/vramsim/vramsim/nvml"
	"github.com/vramsim/vramsim/nvml/binding"
	"github.com/vramsim/vramsim/sim/experiment"
)

// cards are the GPUs of a run with their telemetry, one handle each for the
// whole run. None are there if the executor needs none.
type cards struct {
	probe nvml.Probe
	open  []nvml.Telemetry // by device of the experiment
}

// openCards opens the telemetry of as many GPUs as the experiment has at most.
// Executors that can do without a card do without its telemetry, too.
func (f *executorFlags) openCards(exp *experiment.Experiment) (*cards, error) {
	most := 0
	for _, cell := range exp.Cells {
		most = max(most, len(cell.Devices))
	}
	if !f.physical() {
		return &cards{}, nil
	}
	c := &cards{probe: binding.New()}
	list, err := c.probe.List()
	if err == nil {
		err = c.choose(list, f.gpus, most)
	}
	if err != nil {
		closing := c.close()
		if !f.needsCard() {
			return &cards{}, closing
		}
		return nil, errors.Join(err, closing)
	}
	return c, nil
}

// choose opens the wanted GPUs and then, in order, the first of the others.
func (c *cards) choose(list []nvml.DeviceInfo, wanted []string, n int) error {
	taken := map[string]bool{}
	for _, uuid := range wanted {
		taken[uuid] = true
	}
	for _, info := range list {
		if !taken[info.UUID] {
			wanted = append(wanted, info.UUID)
		}
	}
	if len(wanted) < n {
		return fmt.Errorf("%w: the experiment has %d GPUs, this machine %d", nvml.ErrNoDevice, n, len(list))
	}
	for _, uuid := range wanted[:n] {
		t, err := c.probe.Open(uuid)
		if err != nil {
			return err
		}
		c.open = append(c.open, t)
	}
	return nil
}

// telemetry returns that of the first n devices, nil where there is none.
func (c *cards) telemetry(n int) []nvml.Telemetry {
	return append(make([]nvml.Telemetry, 0, n), append(c.open, make([]nvml.Telemetry, n)...)[:n]...)
}

// uuid returns which GPU a device is, "" if it has none.
func (c *cards) uuid(device int) string {
	if device >= len(c.open) {
		return ""
	}
	return c.open[device].Info().UUID
}

func (c *cards) close() error {
	var errs []error
	for _, t := range c.open {
		errs = append(errs, t.Close())
	}
	if c.probe != nil {
		errs = append(errs, c.probe.Close())
	}
	c.open, c.probe = nil, nil
	return errors.Join(errs...)
}
