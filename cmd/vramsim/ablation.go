package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/results/fidelity"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/sim/experiment"
)

// ablate adds to each policy what simulations predict that know less of the
// card, and the recorded durations, which know all.
func (c *comparison) ablate(ctx context.Context, in *fidelity.Input) (err error) {
	less, absent := c.lessKnown()
	for i := range in.Cells {
		pair := c.pairs[i]
		for k := range in.Cells[i].Policies {
			p := &in.Cells[i].Policies[k]
			for _, level := range fidelity.Levels() {
				l := fidelity.LevelInput{Level: level, Absent: absent[level]}
				switch {
				case l.Absent != "":
				case level == fidelity.Oracle:
					l.Runs, l.Absent = c.recorded(pair, p)
				case less[level] == nil: // the simulation that is judged
					l.Runs = p.Simulated
				default:
					l.Runs, err = c.resimulate(ctx, less[level].Cells[pair.simulated], p)
				}
				if err != nil {
					return err
				}
				p.Ablation = append(p.Ablation, l)
			}
		}
	}
	return nil
}

// recorded returns the runs of closure b. Those that repeat a run which does
// not count do not count either.
func (c *comparison) recorded(pair cellPair, p *fidelity.PolicyInput) (runs []*fidelity.Run, absent string) {
	hw := c.measured.exp.Cells[pair.measured]
	policy := slices.IndexFunc(hw.Policies, func(o experiment.Row) bool { return o.Name == p.Policy })
	for _, r := range c.oracle[unit{pair.measured, policy, 0}] {
		same := *r
		same.Workload = workloadOf(hw, r.Replicate)
		i := slices.IndexFunc(p.Measured, func(m *fidelity.Run) bool { return m.Replicate == r.Replicate })
		same.Excluded = p.Measured[i].Excluded
		runs = append(runs, &same)
	}
	if len(runs) == 0 {
		return nil, "closure b is broken"
	}
	return runs, ""
}

// lessKnown reads the simulated experiment again, knowing less of its profile,
// and says why a level cannot be had. A level that is in neither is that of the
// simulation itself.
func (c *comparison) lessKnown() (map[fidelity.Level]*experiment.Experiment, map[fidelity.Level]string) {
	less, absent := map[fidelity.Level]*experiment.Experiment{}, map[fidelity.Level]string{}
	levels := []fidelity.Level{fidelity.Declared, fidelity.Bandwidth, fidelity.Means}
	given, err := c.given(experiment.KnowAll)
	if err != nil {
		for _, l := range levels {
			absent[l] = err.Error()
		}
		return less, absent
	}
	if !given.Profiled {
		for _, l := range []fidelity.Level{fidelity.Bandwidth, fidelity.Means, fidelity.Distributions} {
			absent[l] = "the simulated experiment has no profile"
		}
		return less, absent // declared is what was simulated
	}
	for i, k := range []experiment.Knowledge{experiment.KnowDeclared, experiment.KnowTiers, experiment.KnowMeans} {
		if less[levels[i]], err = c.given(k); err != nil {
			absent[levels[i]] = "without that, the experiment is none: " + firstLine(err)
		}
	}
	return less, absent
}

func firstLine(err error) string {
	var several *experiment.Errors
	if errors.As(err, &several) && len(several.List) > 0 {
		return several.List[0].What
	}
	return err.Error()
}

// given reads the simulated experiment as it was given, with the flags that the
// run was made with. The resolved one does not tell what came from the profile.
func (c *comparison) given(k experiment.Knowledge) (*experiment.Experiment, error) {
	s := c.simulated
	path := s.dir.Join("experiment.yaml")
	if _, err := os.Stat(path); err != nil { // the twin of a hardware run lies in it
		path = filepath.Join(filepath.Dir(s.dir.Path), "experiment.yaml")
	}
	var flags experimentFlags
	cmd := &cobra.Command{}
	flags.add(cmd)
	cmd.FParseErrWhitelist.UnknownFlags = true
	if len(s.manifest.Argv) > 1 {
		if err := cmd.ParseFlags(s.manifest.Argv[1:]); err != nil {
			return nil, err
		}
	}
	opts := experiment.Options{Set: flags.set, Policies: flags.policies, Replicates: flags.replicates, Quick: flags.quick, Seed: &s.exp.Seed,
		Knowledge: k, Search: append(traceFolders(), s.folders()...)}
	exp, err := experiment.Load(path, policies.Builtin(), opts)
	if err != nil {
		return nil, err
	}
	sameCells := slices.EqualFunc(exp.Cells, s.exp.Cells, func(a, b *experiment.Cell) bool { return a.ID == b.ID })
	if k == experiment.KnowAll && (!sameCells || !sameContents(exp.Inputs, s.exp.Inputs)) {
		return nil, fmt.Errorf("%s and its flags do not give what was simulated any more", path)
	}
	return exp, nil
}

// sameContents reports whether two experiments read the same files, wherever
// they lay.
func sameContents(a, b map[string]string) bool {
	return slices.Equal(slices.Sorted(maps.Values(a)), slices.Sorted(maps.Values(b)))
}

// folders are where the inputs of a run may lie: beside the experiment or above
// it, as far as its paths go.
func (s *side) folders() (list []string) {
	for _, path := range slices.Sorted(maps.Keys(s.exp.Inputs)) {
		dir := filepath.Dir(path)
		for range 4 {
			if !slices.Contains(list, dir) {
				list = append(list, dir)
			}
			dir = filepath.Dir(dir)
		}
	}
	return list
}

// resimulate runs a policy of a cell for the workloads that were measured.
func (c *comparison) resimulate(ctx context.Context, cell *experiment.Cell, in *fidelity.PolicyInput) (runs []*fidelity.Run, err error) {
	policy := slices.IndexFunc(cell.Policies, func(o experiment.Row) bool { return o.Name == in.Policy })
	for r := range min(cell.Replicates, len(in.Measured)) {
		setup, err := cell.Setup(policy, r, thisBuild().Version)
		if err != nil {
			return nil, err
		}
		run, err := simulated(ctx, setup)
		if err := errors.Join(err, setup.Close()); err != nil {
			return nil, err
		}
		run.Replicate, run.Workload = r, workloadOf(cell, r)
		runs = append(runs, run)
	}
	return runs, nil
}

func simulated(ctx context.Context, setup *experiment.Setup) (*fidelity.Run, error) {
	core, err := scheduler.New(setup.Config)
	if err != nil {
		return nil, err
	}
	fold, err := fidelity.NewFold(foldConfig(setup, nil, false))
	if err != nil {
		return nil, err
	}
	if err := scheduler.Drive(ctx, core, setup.World, fold); err != nil {
		return nil, err
	}
	return fold.Run(), nil
}
