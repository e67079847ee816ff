package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/vramsim/vramsim/nvml"
	"github.com/vramsim/vramsim/nvml/cuda"
	"github.com/vramsim/vramsim/nvml/scratch"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/sim/experiment"
)

// cards are the GPUs of a run with their telemetry, one handle each for the
// whole run. None are there if the executor needs none.
type cards struct {
	probe nvml.Probe
	open  []nvml.Telemetry  // by device of the experiment
	used  []scheduler.Bytes // of each, before anything was begun
	ours  processes
	// temporary is a folder for weights that nobody keeps; nil: none was needed.
	temporary *scratch.Folder
}

// openCards opens the telemetry of as many GPUs as the experiment has at most.
// Executors that can do without a card do without its telemetry, too.
func (f *executorFlags) openCards(exp *experiment.Experiment) (*cards, error) {
	most := 0
	for _, cell := range exp.Cells {
		most = max(most, len(cell.Devices))
	}
	if !f.physical() || f.name == "http" && f.http.config.AllowRemote {
		return &cards{}, nil // none is used, or perhaps one elsewhere
	}
	c := &cards{probe: newProbe()}
	list, err := c.probe.List()
	if err == nil {
		err = c.choose(list, f.gpus, most)
	}
	if err != nil {
		closing := c.close()
		if errors.Is(err, nvml.ErrHung) { // there may be a card, which nobody can use
			return nil, &exitError{code: exitHardware, err: err, hint: "vramsim gpu doctor says which call hangs, and what to do"}
		}
		if !f.needsCard() && len(f.gpus) == 0 {
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
		if taken[uuid] {
			return usagef("--gpu %s is given twice", uuid)
		}
		taken[uuid] = true
	}
	if len(wanted) > n {
		return usagef("%d --gpu are given, the experiment has %s", len(wanted), plural(n, "GPU", "GPUs"))
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
		m, err := t.Memory()
		if err != nil {
			return err
		}
		c.used = append(c.used, m.Used)
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

// folder returns the folder for weights: the one that was given, which is made,
// or a temporary one.
func (c *cards) folder(given string) (path string, err error) {
	if given != "" {
		return given, os.MkdirAll(given, 0o777)
	}
	if c.temporary == nil {
		if c.temporary, err = scratch.Make("", cuda.FolderPrefix); err != nil {
			return "", err
		}
	}
	return c.temporary.Path(), nil
}

// left says what is in use beyond what was before anything was begun.
func (c *cards) left() error {
	var errs []error
	for i, t := range c.open {
		m, err := t.Memory()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if more := m.Used - c.used[i]; more > nvml.DefaultResidue {
			errs = append(errs, &exitError{code: exitInvalid, err: fmt.Errorf("%s has %v more in use than before the run; is a process left?", t.Info().Name, more)})
		}
	}
	return errors.Join(errs...)
}

// close gives everything back but the library of a driver that hangs.
func (c *cards) close() error {
	var errs []error
	for _, t := range c.open {
		errs = append(errs, t.Close())
	}
	if c.probe != nil && !errors.Is(errors.Join(errs...), nvml.ErrHung) { // else told already
		errs = append(errs, c.probe.Close())
	}
	c.open, c.probe = nil, nil
	return errors.Join(append(errs, c.temporary.Remove())...)
}

// lingering is how long a process counts as ours after it is gone. The list of
// processes that its memory is looked up in is up to a second old (the sampler
// asks for one each second) and a driver takes what a dead process had apart in
// its own time; the self-test gives it the same five seconds. It is short beside
// what a system takes to come round to a PID again.
const lingering = 5 * time.Second

// processes are those that carry out commands, beside this one, and those that
// did until a moment ago.
type processes struct {
	mu   sync.Mutex
	pids map[int]time.Time // when it was gone; zero: it is there
}

func (p *processes) add(pid int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pids == nil {
		p.pids = map[int]time.Time{}
	}
	p.pids[pid] = time.Time{}
}

// gone notes that a process has ended: its PID may become another's.
func (p *processes) gone(pid int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.pids[pid]; ok {
		p.pids[pid] = time.Now()
	}
}

// list returns the processes that count as ours.
func (p *processes) list() []int {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.pids, func(_ int, gone time.Time) bool { return !gone.IsZero() && time.Since(gone) > lingering })
	return slices.Collect(maps.Keys(p.pids))
}
