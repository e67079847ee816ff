package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vramsim/vramsim/results/charts"
	"github.com/vramsim/vramsim/results/fidelity"
	"github.com/vramsim/vramsim/results/rundir"
)

// fidelityFlags are those of fidelity.
type fidelityFlags struct {
	format, targets, out string
	ablation             bool
}

func newFidelity(a *app) *cobra.Command {
	var f fidelityFlags
	cmd := &cobra.Command{
		Use:   "fidelity SIM_RUN GPU_RUN",
		Short: "how far a simulation and a run on the card differ: closure, prediction, decisions, ranking",
		Long: `Compare a simulation with a run of the same experiment on the card.

Closure comes first: the facts that the card's logs record must give the same
decisions again (a), and the simulated world, given the outside facts, durations
and timers that they record, the same events (b), byte for byte. The rest is
prediction: signed errors with their noise floor, the card's runs against each
other; the share of latencies inside the simulation's 90 % intervals; the first
decision that differs and why; whether the simulation would have chosen the
policy that is best on the card; how the errors grow as the simulation knows
less of the profile.

"gpu run" leaves its own simulation in GPU_RUN/simulation. The comparison is
written to GPU_RUN/fidelity, or to -o: fidelity.json and charts.

Without --targets the targets are those of the run's executor. A missed target
is exit 3, a broken closure exit 4.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 {
				return nil
			}
			return &exitError{code: exitUsage, err: errors.New("fidelity needs a simulation and a hardware run"), hint: cmd.UseLine()}
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.fidelity(cmd.Context(), args[0], args[1], &f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.format, "format", "table", "`format` of the standard output: "+strings.Join(fidelityFormats(), ", "))
	flags.StringVar(&f.targets, "targets", "", "`name` of the targets: "+strings.Join(targetNames(), ", "))
	flags.StringVarP(&f.out, "out", "o", "", "`folder` for fidelity.json and the charts; GPU_RUN/fidelity if left out")
	flags.BoolVar(&f.ablation, "ablation", true, "simulate again with less and less of the profile known")
	return cmd
}

func fidelityFormats() []string { return []string{"table", "md", "json"} }

func targetNames() []string {
	var names []string
	for _, t := range fidelity.AllTargets() {
		names = append(names, t.Name)
	}
	return names
}

func (f *fidelityFlags) validate() error {
	if !slices.Contains(fidelityFormats(), f.format) {
		return unknown("format", f.format, fidelityFormats())
	}
	if _, ok := fidelity.TargetsOf(f.targets); f.targets != "" && !ok {
		return unknown("set of targets", f.targets, targetNames())
	}
	return nil
}

func (a *app) fidelity(ctx context.Context, simulated, measured string, f *fidelityFlags) error {
	if err := f.validate(); err != nil {
		return err
	}
	c, err := a.openComparison(simulated, measured)
	if err != nil {
		return err
	}
	in, err := c.input(ctx, f.ablation)
	if err != nil {
		return err
	}
	in.Targets = targetsFor(f.targets, c.measured.manifest.Hardware)
	r := fidelity.Compute(*in)
	out := f.out
	if out == "" {
		out = c.measured.dir.Join("fidelity")
	}
	if err := writeFidelity(&rundir.Dir{Path: out}, r); err != nil {
		return err
	}
	data, err := rendered(func(w io.Writer) error { return a.showFidelity(w, r, f.format) })
	if err != nil {
		return err
	}
	if _, err := a.stdout.Write(data); err != nil {
		return err
	}
	a.infof("\nwritten to %s", out)
	return fidelityVerdict(r)
}

func (a *app) showFidelity(w io.Writer, r *fidelity.Result, format string) error {
	switch format {
	case "json":
		return r.Write(w)
	case "md":
		return fidelity.Markdown(w, r)
	}
	return fidelity.Write(w, r, a.tableOptions())
}

// targetsFor returns the targets of that name or, without one, of the run's
// executor; nil if it has none.
func targetsFor(name string, hw *rundir.Hardware) *fidelity.Targets {
	if name == "" {
		name = hw.Executor
		if work := hw.Settings["work"]; work != "" {
			name += "-" + work
		}
	}
	if t, ok := fidelity.TargetsOf(name); ok {
		return &t
	}
	return nil
}

// fidelityVerdict turns a result into the exit code.
func fidelityVerdict(r *fidelity.Result) error {
	switch r.Status {
	case fidelity.Broken:
		var first string
		for _, half := range []fidelity.Check{r.Closure.Decisions, r.Closure.Events} {
			if len(half.Broken) > 0 && first == "" {
				first = half.Broken[0].String()
			}
		}
		return &exitError{code: exitInvariant, err: fmt.Errorf("closure is broken: %s", first)}
	case fidelity.Missed:
		var texts []string
		for _, j := range r.Misses() {
			texts = append(texts, strings.TrimPrefix(j.Where+", "+j.What, ", ")+": "+j.Text)
		}
		return &exitError{code: exitThreshold, err: fmt.Errorf("%s of %s missed: %s", plural(len(texts), "target", "targets"), r.Targets, strings.Join(texts, "; "))}
	}
	return nil
}

// writeFidelity leaves fidelity.json and the charts in a folder.
func writeFidelity(dir *rundir.Dir, r *fidelity.Result) error {
	data, err := rendered(r.Write)
	if err != nil {
		return err
	}
	if err := dir.Write("fidelity.json", data); err != nil {
		return err
	}
	for i := range r.Cells {
		for _, info := range charts.Compared() {
			c := comparedChart(r, &r.Cells[i], info.Name)
			for _, format := range []charts.Format{charts.SVG, charts.PNG} {
				data, err := drawn(c, format)
				if err != nil {
					return err
				}
				if err := dir.Write(filepath.Join("charts", r.Cells[i].Measured+"-"+info.Name+"."+string(format)), data); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
