package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/vramsim/vramsim/nvml"
	"github.com/vramsim/vramsim/results/rundir"
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
refused. What is INVALID only because this host was late is tried three times.
Telemetry only reads; no setting of the card is changed; what was taken is given
back, and checked. Ctrl-C stops the run and cleans up.

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
	if err := a.writable(exp); err != nil {
		return err
	}
	if exp.Output.Events == "none" {
		a.warnf("output.events is none: without logs, fidelity has nothing to compare")
	}
	if hw.sampling < 0 {
		return usagef("--sampling %v: at least 0, which turns it off", hw.sampling)
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
	if err := a.examine(cmd.Context(), cards, &hw.executorFlags); err != nil {
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
	closeErr := stage.close()
	if err == nil {
		return closeErr
	}
	if closeErr != nil {
		a.warnf("%v", closeErr)
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
