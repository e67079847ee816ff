package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/vramsim/vramsim/nvml"
	"github.com/vramsim/vramsim/nvml/httpx"
	"github.com/vramsim/vramsim/results/eventlog"
	"github.com/vramsim/vramsim/results/rundir"
	"github.com/vramsim/vramsim/results/telemetry"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/sim/experiment"
)

// machine is the stage of real devices.
type machine struct {
	app      *app
	flags    *hardwareFlags
	manifest *rundir.Manifest
	cards    *cards
	root     string   // of the run directory
	names    []string // of the devices of the last unit
	benches  []*bench
	keepers  []*nvml.Keeper // by device: executors are kept from unit to unit
}

func (*machine) keeps() bool  { return true }
func (*machine) varies() bool { return true }

// mostTries is how often a unit is tried whose only trouble is that this host
// was late.
const mostTries = 3

func (*machine) again(out *outcome, tries int) string {
	if h := out.Hardware; tries < mostTries && h != nil && h.HostLate && len(h.Invalid) == 1 && out.Failed == "" {
		return h.Invalid[0]
	}
	return ""
}

// begin opens the executors, the world and the side stream of a unit.
func (s *machine) begin(ctx context.Context, setup *experiment.Setup, core *scheduler.Core, folder string) (performance, error) {
	p := &measured{stage: s, folder: folder}
	s.names = nil
	for _, d := range setup.Config.Devices {
		s.names = append(s.names, d.Name)
	}
	for _, m := range setup.Config.Models {
		p.models = append(p.models, m.Name)
	}
	var err error
	if p.side, err = telemetry.Create(filepath.Join(folder, telemetry.FileName), telemetry.Header{RunID: setup.RunID.String(), Devices: s.names}); err != nil {
		return nil, err
	}
	executors := s.executors(setup)
	if !s.flags.physical() {
		p.sleeping = newSleeping(setup)
		executors = p.sleeping.executors()
	}
	sampling := s.flags.sampling
	if sampling == 0 {
		sampling = -1
	}
	p.World, err = nvml.Open(ctx, nvml.Config{
		Inbox:     scheduler.InboxConfig{Core: core, Executors: executors, Source: setup.Source, Horizon: setup.Window.Horizon, Seed: setup.Seed},
		Telemetry: s.cards.telemetry(len(executors)), Sampling: sampling, Pids: s.cards.ours.list, Kept: s.flags.physical(),
		Shared: s.flags.shared, StrictVRAM: s.flags.strict, Observe: p.observe})
	if err != nil {
		return nil, errors.Join(notReady(err), p.side.Close())
	}
	p.Drain() // nobody but the source brings items
	if p.sleeping != nil {
		p.sleeping.outside(p.World)
	}
	return p, nil
}

// notReady says that what a run needs could not be opened: it is not there, or
// the experiment asks for models that it does not have.
func notReady(err error) error {
	if _, ok := errors.AsType[*scheduler.ExecutorError](err); !ok || codeOf(err) != exitInvalid {
		return err
	}
	if _, ok := errors.AsType[*httpx.MissingError](err); ok {
		return &exitError{code: exitUsage, err: err}
	}
	return &exitError{code: exitHardware, err: err}
}

// executors leases those that are kept for the devices of the unit.
func (s *machine) executors(setup *experiment.Setup) (list []scheduler.Executor) {
	for d, spec := range setup.Config.Devices {
		if d == len(s.keepers) {
			b := &bench{flags: &s.flags.executorFlags, cards: s.cards, device: d, tell: func(text string) { s.app.infof("%s", text) },
				log: filepath.Join(s.root, fmt.Sprintf("worker%d.log", d))}
			s.benches = append(s.benches, b)
			s.keepers = append(s.keepers, nvml.NewKeeper(b.open))
		}
		s.benches[d].spec = spec
		list = append(list, s.keepers[d].Lease())
	}
	return list
}

// close closes the executors and looks whether the cards are as they were.
func (s *machine) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*scheduler.DefaultStopTimeout)
	defer cancel()
	var errs []error
	for _, k := range s.keepers {
		errs = append(errs, k.Close(ctx))
	}
	if !s.flags.shared {
		errs = append(errs, s.cards.left())
	}
	return errors.Join(errs...)
}

// note adds what a unit knows of the machine to the manifest.
func (s *machine) note(folder, digest string, report *nvml.Report) {
	h := s.manifest.Hardware
	if name, err := filepath.Rel(s.root, filepath.Join(folder, telemetry.FileName)); err == nil {
		h.Telemetry[filepath.ToSlash(name)] = digest
	}
	for _, b := range s.benches {
		b.about(h.Settings)
	}
	for i := len(h.Devices); i < len(report.Devices); i++ {
		d := rundir.HardwareDevice{Name: s.names[i]}
		if info := report.Devices[i].Info; info != nil {
			d.GPU, d.UUID, d.Memory, d.Compute, d.Driver, d.CUDA = info.Name, info.UUID, int64(info.Memory), info.Compute, info.Driver, info.CUDA
		}
		h.Devices = append(h.Devices, d)
	}
}

// measured is a unit on real devices.
type measured struct {
	*nvml.World
	sleeping   *sleeping // nil if the executors are real
	stage      *machine
	folder     string
	models     []string
	side       *telemetry.Writer
	sideFailed error
	live       *liveLog
}

func (p *measured) world() scheduler.World { return p }

// Append shows the events to whoever has to know them before effects start.
func (p *measured) Append(events []scheduler.Event) error {
	if p.sleeping != nil {
		if err := p.sleeping.timing.Append(events); err != nil {
			return err
		}
	}
	return p.World.Append(events)
}

// Start carries out an effect.
func (p *measured) Start(ev scheduler.Event) error {
	err := p.World.Start(ev)
	if p.sleeping != nil {
		err = errors.Join(err, p.sleeping.failed)
	}
	return err
}

func (p *measured) openLog(path string, h eventlog.Header, o eventlog.Options) (*eventlog.Writer, scheduler.Sink, error) {
	var err error
	p.live, err = createLiveLog(path, h, o)
	if err != nil {
		return nil, nil, err
	}
	return p.live.Writer, p.live, nil
}

// end closes the world and notes what it says of the run.
func (p *measured) end(out *outcome) error {
	if p.sleeping != nil {
		p.sleeping.alarms.stop()
	}
	ctx, cancel := context.WithTimeout(context.Background(), scheduler.DefaultStopTimeout)
	defer cancel()
	report, err := p.World.Close(ctx)
	out.Hardware = &report
	if p.live != nil {
		p.live.stop()
	}
	err = errors.Join(err, p.sideFailed, p.side.Close())
	p.stage.note(p.folder, p.side.Digest(), &report)
	return err
}
