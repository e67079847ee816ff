package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/vramsim/vramsim/nvml"
	"github.com/vramsim/vramsim/results/eventlog"
	"github.com/vramsim/vramsim/results/rundir"
	"github.com/vramsim/vramsim/results/telemetry"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/sim/experiment"
)

// hardwareFlags are those of gpu run beside the experiment's.
type hardwareFlags struct {
	executorFlags
	strict   bool
	sampling time.Duration
}

func newGPURun(a *app) *cobra.Command {
	var in experimentFlags
	var out outputFlags
	var hw hardwareFlags
	cmd := &cobra.Command{
		Use:   "run [FILE]",
		Short: "carry out the experiment on the physical card, beside its simulation",
		Long: `Carry out the experiment that "vramsim run FILE" simulates on the physical card:
the same scheduler, log, figures and charts, with real loads and batches on the
real clock. The simulation is made first, as run-directory/simulation, and the
report shows both side by side; "vramsim fidelity" says how far they differ.

Policies take turns, replicate by replicate. One that knows the future is
refused. What is INVALID only because this host was late is tried three times. Telemetry only reads; no setting of the card is changed; what was
taken is given back, and checked. Ctrl-C stops the run and cleans up.

--executor sleep needs no card: it takes as long as the simulation says, on the
real clock. Its figures are none of hardware, and are labelled so.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.gpuRun(cmd, args, &in, &out, &hw)
		},
	}
	in.add(cmd)
	out.add(cmd)
	hw.executorFlags.add(cmd)
	cmd.Flags().BoolVar(&hw.shared, "shared", false, "others may use the card: their memory does not make the run INVALID")
	cmd.Flags().BoolVar(&hw.strict, "strict-vram", false, "a model that takes more memory than it declares makes the run INVALID")
	cmd.Flags().DurationVar(&hw.sampling, "sampling", nvml.DefaultSampling, "`time` between samples of telemetry; 0 turns it off")
	return cmd
}

func (a *app) gpuRun(cmd *cobra.Command, args []string, in *experimentFlags, out *outputFlags, hw *hardwareFlags) (err error) {
	if err := errors.Join(out.validate(), hw.validate()); err != nil {
		return err
	}
	in.repeats = true
	exp, err := a.load(cmd, args, in)
	if err != nil {
		return err
	}
	if err := hw.accepts(exp); err != nil {
		return err
	}
	warnings := a.announce(exp)
	if out.dryRun {
		return a.describe(exp)
	}
	cards, err := hw.openCards(exp)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cards.close()) }()
	if err := a.examine(cmd.Context(), cards, hw); err != nil {
		return err
	}
	started := time.Now()
	m := newManifest(a, exp, warnings, started)
	m.RunID = hardwareRunID(m, hw).String()
	m.Hardware = &rundir.Hardware{Executor: hw.name, Label: hw.label(cards), Settings: hw.settings(), Telemetry: map[string]string{}}
	dir, err := a.createDir(exp, out.out, args, m, started)
	if err != nil {
		return err
	}
	release, err := a.claim(dir)
	if err != nil {
		return err
	}
	defer release()
	if err := a.simulateTwin(cmd.Context(), exp, dir, *m, out); err != nil {
		return err
	}
	r := newRunner(a, exp, dir)
	r.runID, r.doing, r.resumable = m.RunID, "running", false
	if m.Hardware.Label != "" {
		r.notes = append(r.notes, m.Hardware.Label)
	}
	r.unranked = hw.unranked()
	stage := &machine{app: a, flags: hw, manifest: m, root: dir.Path, cards: cards}
	r.stage = stage
	serial := *out
	serial.jobs = 1
	err = a.finish(cmd.Context(), r, m, &serial)
	if closeErr := stage.close(); err == nil {
		err = closeErr
	}
	return err
}

// accepts refuses experiments that cannot be carried out on devices.
func (f *hardwareFlags) accepts(exp *experiment.Experiment) error {
	for _, cell := range exp.Cells {
		if err := cell.OnHardware(); err != nil {
			return withHint(usagef("%v", err), "leave it out with --policy or --set; vramsim run simulates it")
		}
		if f.physical() && cell.Injects() {
			return withHint(usagef("faults: a real device cannot be told to fail"), "--executor sleep injects them on the real clock")
		}
	}
	return nil
}

// hardwareRunID identifies a run on hardware, which is never the same twice.
func hardwareRunID(m *rundir.Manifest, f *hardwareFlags) uuid.UUID {
	return uuid.NewSHA1(uuid.MustParse(m.RunID), fmt.Appendf(nil, "hardware %s %s %q", m.StartedAt, f.name, f.gpus))
}

// simulateTwin makes the simulation of the same experiment below the run.
func (a *app) simulateTwin(ctx context.Context, exp *experiment.Experiment, dir *rundir.Dir, m rundir.Manifest, out *outputFlags) error {
	twin := &rundir.Dir{Path: dir.Join("simulation")}
	m.Hardware, m.Logs = nil, map[string]rundir.Log{}
	r := newRunner(a, exp, twin)
	m.RunID = r.runID
	if err := twin.Write("resolved.yaml", exp.Resolved()); err != nil {
		return err
	}
	if err := r.run(ctx, out.jobs); err != nil {
		return err
	}
	_, err := r.record(&m, "")
	return err
}

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
		return nil, errors.Join(err, p.side.Close())
	}
	p.Drain() // nobody but the source brings items
	if p.sleeping != nil {
		p.sleeping.outside(p.World)
	}
	return p, nil
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
	return errors.Join(append(errs, s.cards.left())...)
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
		p.sleeping.stop()
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

// observe writes down what is seen beside the facts.
func (p *measured) observe(o nvml.Observation) {
	for _, r := range p.records(&o) {
		if err := p.side.Append(r); err != nil && p.sideFailed == nil {
			p.sideFailed = err
		}
	}
}

// records are an observation as the side stream has it.
func (p *measured) records(o *nvml.Observation) []telemetry.Record {
	r := telemetry.Record{At: o.At, Seq: telemetry.NoSeq, Device: o.Device}
	switch {
	case o.Ended != nil:
		return p.endedRecords(r, o.Ended)
	case o.Late != nil:
		r.Body = &telemetry.Late{Due: o.Late.Due, Late: max(0, o.Late.Fact.At-o.Late.Due), What: o.Late.Fact.Kind.String()}
	case o.Energy != nil:
		r.Body = &telemetry.Energy{MJ: o.Energy.Millijoules}
	case o.Mark != nil:
		r.Body = &telemetry.Mark{Code: o.Mark.Code, Text: o.Mark.Text}
	case o.Sample != nil:
		r.Body = sampleRecord(o.Sample)
	}
	return []telemetry.Record{r}
}

func (p *measured) endedRecords(r telemetry.Record, e *nvml.Ended) []telemetry.Record {
	r.Seq = int64(e.Command.Seq)
	model, op := p.models[e.Command.Model], e.Command.Op.String()
	var all []telemetry.Record
	for _, phase := range e.Outcome.Phases {
		r.Body = &telemetry.Phase{Model: model, Op: op, Name: phase.Name, Took: phase.Took}
		all = append(all, r)
	}
	if t := e.Outcome.DeviceTime; t > 0 {
		r.Body = &telemetry.Phase{Model: model, Op: op, Name: "device", Took: t, Bytes: e.Outcome.Bytes}
		all = append(all, r)
	}
	if m := e.Outcome.Memory; m != (scheduler.DeviceMemory{}) {
		r.Body = &telemetry.VRAM{Model: model, Op: op, N: len(e.Command.Items), Free: m.Free, Total: m.Total, Allocated: m.Allocated,
			Reserved: m.Reserved, PeakAllocated: m.PeakAllocated, PeakReserved: m.PeakReserved}
		all = append(all, r)
	}
	if f := e.Outcome.Failure; f != nil {
		r.Body = &telemetry.Mark{Code: "failed", Text: fmt.Sprintf("%s of %s: %s", op, model, f.Error())}
		all = append(all, r)
	}
	return all
}

func sampleRecord(s *nvml.DeviceSample) *telemetry.Sample {
	t := telemetry.NewSample()
	t.PowerMW, t.InstantMW = told(s.PowerMilliwatts), told(s.InstantMilliwatts)
	t.SMMHz, t.MemMHz, t.TempC = told(int64(s.SMClockMHz)), told(int64(s.MemoryClockMHz)), telemetry.Reading(s.TemperatureC)
	t.Reasons = uint64(s.Reasons)
	t.UsedBytes, t.FreeBytes, t.ForeignBytes = told(int64(s.Memory.Used)), told(int64(s.Memory.Free)), told(int64(s.Foreign))
	if s.Link.Generation > 0 {
		t.LinkGen, t.LinkWidth = told(int64(s.Link.Generation)), told(int64(s.Link.Width))
	}
	return t
}

// told is what a driver tells; less than nothing is no reading.
func told(v int64) telemetry.Reading {
	if v < 0 {
		return telemetry.Unknown
	}
	return telemetry.Reading(v)
}

// liveLog is a log of what really happens: what an effect was started for is
// with the system before it starts, and on the disk a second later.
type liveLog struct {
	*eventlog.Writer
	file    *os.File
	quit    chan struct{}
	stopped sync.Once
	syncing sync.WaitGroup
}

const syncEvery = time.Second

func createLiveLog(path string, h eventlog.Header, o eventlog.Options) (*liveLog, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	w, err := eventlog.NewWriter(f, h, o)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	l := &liveLog{Writer: w, file: f, quit: make(chan struct{})}
	l.syncing.Go(l.sync)
	return l, nil
}

// sync makes the file durable now and then, beside its writer: a slow disk
// must not hold up the run. What fails is found when the log is closed.
func (l *liveLog) sync() {
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = l.file.Sync()
		case <-l.quit:
			return
		}
	}
}

func (l *liveLog) stop() {
	l.stopped.Do(func() { close(l.quit) })
	l.syncing.Wait()
}

// Append hands the events of a step to the system.
func (l *liveLog) Append(events []scheduler.Event) error {
	if err := l.Writer.Append(events); err != nil {
		return err
	}
	return l.Flush()
}
