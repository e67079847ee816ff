package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vramsim/vramsim/results/rundir"
	"github.com/vramsim/vramsim/results/summary"
	"github.com/vramsim/vramsim/sim/experiment"
)

func newRun(a *app) *cobra.Command {
	var in experimentFlags
	var out outputFlags
	cmd := &cobra.Command{
		Use:   "run [FILE]",
		Short: "simulate every policy in every cell of an experiment and compare them",
		Long: `Simulate every policy in every cell of an experiment, compare them with the
baseline, and leave a run directory with logs, summary, charts and report.

Without FILE it takes ./experiment.yaml if there is one, else the built-in
experiment: the video pipeline of five models on 16, 12 and 8 GB.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.run(cmd, args, &in, &out, nil)
		},
	}
	in.add(cmd)
	out.add(cmd)
	return cmd
}

func newSweep(a *app) *cobra.Command {
	var in experimentFlags
	var out outputFlags
	var resume []string
	var part string
	cmd := &cobra.Command{
		Use:   "sweep FILE | sweep --resume RUN",
		Short: "the same for many cells; --resume goes on with an interrupted run directory",
		Long: `Simulate the cells of a sweep. An interrupted one goes on with --resume RUN, as
it was: what is finished is not run again.

--shard i/n runs every n-th simulation, for n machines that each have the file.
Their run directories, brought together, are one run with

    vramsim sweep --resume RUN1 --resume RUN2 ...

which takes over into RUN1 what the others finished, runs what is missing and
compares.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if (len(resume) > 0) != (len(args) == 1) && len(args) < 2 {
				return nil
			}
			return &exitError{code: exitUsage, err: errors.New("sweep needs an experiment file, or --resume and a run directory"), hint: cmd.UseLine()}
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if out.shard, err = parseShard(part); err != nil {
				return err
			}
			if len(resume) > 0 {
				for _, flag := range []string{"set", "policy", "seed", "replicates", "quick", "out"} {
					if cmd.Flags().Changed(flag) {
						return usagef("--%s does not go with --resume: a run goes on as it was begun", flag)
					}
				}
			}
			return a.run(cmd, args, &in, &out, resume)
		},
	}
	in.add(cmd)
	out.add(cmd)
	cmd.Flags().StringArrayVar(&resume, "resume", nil, "go on with this run `directory`: nothing is run twice (repeatable: takes over the others)")
	cmd.Flags().StringVar(&part, "shard", "", "run only the `i/n`-th part of the simulations, like 2/4")
	return cmd
}

// run is both verbs.
func (a *app) run(cmd *cobra.Command, args []string, in *experimentFlags, out *outputFlags, resume []string) error {
	if err := out.validate(); err != nil {
		return err
	}
	var dir *rundir.Dir
	var err error
	if len(resume) > 0 {
		if dir, err = rundir.Open(resume[0]); err != nil {
			return err
		}
		release, err := a.claim(dir)
		if err != nil {
			return err
		}
		defer release()
		args = []string{dir.Join("resolved.yaml")}
	}
	exp, err := a.load(cmd, args, in)
	if err != nil {
		return err
	}
	if dir != nil { // a quick run stays one
		m, err := dir.Manifest()
		if err != nil {
			return err
		}
		if m.Hardware != nil {
			return usagef("%s is a run on hardware (%s), which cannot be resumed: vramsim gpu run begins another", dir.Path, m.Hardware.Executor)
		}
		exp.Quick = exp.Quick || m.NotForCiting
	}
	if err := a.writable(exp); err != nil {
		return err
	}
	warnings := a.announce(exp)
	if out.dryRun {
		return a.describe(exp)
	}
	started := time.Now()
	manifest := newManifest(a, exp, warnings, started)
	if dir == nil {
		if dir, err = a.createDir(exp, out.out, args, manifest, started); err != nil {
			return err
		}
		release, err := a.claim(dir)
		if err != nil {
			return err
		}
		defer release()
	}
	r := newRunner(a, exp, dir)
	r.shard = out.shard
	if len(resume) > 0 {
		if err := r.takeOver(resume[1:]); err != nil {
			return err
		}
		done, err := r.resume()
		if err != nil {
			return err
		}
		a.infof("%d simulations were done already", done)
	}
	return a.finish(cmd.Context(), r, manifest, out)
}

// writable refuses what this build cannot write.
func (a *app) writable(exp *experiment.Experiment) error {
	if exp.Output.Events == "parquet" {
		return usagef("output.events: this build writes no parquet; there are none, log and jsonl")
	}
	return nil
}

// claim keeps other processes from writing the run until release.
func (a *app) claim(dir *rundir.Dir) (release func() error, err error) {
	release, err = dir.Lock()
	if errors.Is(err, rundir.ErrLocked) {
		err = withHint(err, "wait until it ends, or start a run of its own")
	}
	return release, err
}

// createDir makes the run directory with what is known before the run.
func (a *app) createDir(exp *experiment.Experiment, out string, args []string, m *rundir.Manifest, at time.Time) (*rundir.Dir, error) {
	dir, err := rundir.Create(out, exp.Name, m.RunID[:8], at)
	if err != nil {
		return nil, withHint(err, "--out names the folder that run directories are made in")
	}
	given := a.given
	if given == nil {
		if given, err = os.ReadFile(args[0]); err != nil {
			return nil, err
		}
	}
	if err := dir.Write("experiment.yaml", given); err != nil {
		return nil, err
	}
	if err := dir.Write("resolved.yaml", exp.Resolved()); err != nil {
		return nil, err
	}
	return dir, dir.WriteJSON("manifest.json", m)
}

func newManifest(a *app, exp *experiment.Experiment, warnings []string, at time.Time) *rundir.Manifest {
	b := thisBuild()
	m := &rundir.Manifest{Schema: rundir.Schema, RunID: exp.RunID(b.Version).String(), Name: exp.Name, Status: rundir.Incomplete,
		Reasons: []string{"running"}, NotForCiting: exp.Quick, Version: b.Version, GoVersion: b.Go, Platform: b.Platform,
		Argv: append([]string{"vramsim"}, a.args...), Seed: exp.Seed, Replicates: exp.Replicates,
		StartedAt: at.UTC().Format(time.RFC3339), Inputs: map[string]string{}, Logs: map[string]rundir.Log{}, Warnings: warnings}
	for path, name := range shortNames(slices.Collect(maps.Keys(exp.Inputs))) {
		m.Inputs[name] = exp.Inputs[path]
	}
	return m
}

// shortNames gives each path its last elements, with slashes, as many as tell
// it from the others.
func shortNames(paths []string) map[string]string {
	names := make(map[string]string, len(paths))
	for _, path := range paths {
		whole := filepath.ToSlash(path)
		name := whole
		for n := 1; n <= strings.Count(whole, "/"); n++ {
			if last := lastElements(whole, n); !slices.ContainsFunc(paths, func(other string) bool {
				return other != path && lastElements(filepath.ToSlash(other), n) == last
			}) {
				name = last
				break
			}
		}
		names[path] = name
	}
	return names
}

// lastElements returns the last n elements of a path with slashes.
func lastElements(path string, n int) string {
	all := strings.Split(path, "/")
	return strings.Join(all[max(0, len(all)-n):], "/")
}

// finish runs, sums up, writes everything down and prints the answer.
func (a *app) finish(ctx context.Context, r *runner, m *rundir.Manifest, out *outputFlags) error {
	runErr := r.run(ctx, out.jobs)
	interrupted := ""
	switch {
	case errors.Is(runErr, context.Canceled):
		interrupted = "interrupted"
	case runErr != nil:
		interrupted = runErr.Error()
	case out.shard.partial() && !r.complete():
		interrupted = out.shard.String()
	}
	if interrupted == "" {
		if err := r.findBounds(ctx, out.jobs); err != nil {
			return err
		}
	}
	s, err := r.record(m, interrupted)
	if err != nil {
		return errors.Join(runErr, err)
	}
	if interrupted == "" {
		if err := a.drawRun(r.dir, s, m, r.exp.Output.Charts, r.exp.Output.Report); err != nil {
			return err
		}
	}
	if err := a.printSummary(s, out.format); err != nil {
		return errors.Join(runErr, err)
	}
	a.infof("\nrun directory: %s", r.dir.Path)
	if _, err := os.Stat(r.dir.Join("report.html")); err == nil {
		a.infof("report:        %s", r.dir.Join("report.html"))
	}
	if interrupted == "interrupted" {
		err := &exitError{code: exitInterrupted, err: errors.New("interrupted; what was finished is saved")}
		if r.resumable {
			err.hint = "vramsim sweep --resume " + r.dir.Path
		}
		return err
	}
	if runErr != nil {
		return runErr
	}
	if interrupted != "" { // a shard is done when its part is
		a.infof("%s is done; vramsim sweep --resume %s --resume OTHER ... brings the shards together", out.shard, r.dir.Path)
		return nil
	}
	return r.verdict(s)
}

// record sums up what is done and writes it down.
func (r *runner) record(m *rundir.Manifest, interrupted string) (*summary.Summary, error) {
	s := r.summarize(interrupted)
	m.Status, m.Reasons = rundir.Status(s.Status), s.Reasons
	m.FinishedAt = time.Now().UTC().Format(time.RFC3339)
	r.recordLogs(m)
	if err := r.dir.WriteJSON("manifest.json", m); err != nil {
		return nil, err
	}
	return s, writeSummary(r.dir, s)
}

// verdict turns the summary into the exit code.
func (r *runner) verdict(s *summary.Summary) error {
	if code, what := r.failure(); code != 0 {
		return &exitError{code: code, err: errors.New(what)}
	}
	if s.Status == summary.Invalid {
		return &exitError{code: exitInvalid, err: fmt.Errorf("the run is INVALID: %s", strings.Join(s.Reasons, "; "))}
	}
	if failed := s.Failed(); len(failed) > 0 {
		return &exitError{code: exitThreshold, err: fmt.Errorf("%d of %d thresholds failed", len(failed), len(s.Thresholds))}
	}
	return nil
}

func (r *runner) recordLogs(m *rundir.Manifest) {
	for _, u := range r.units() {
		if out := r.outcomes[u.cell][u.policy][u.replicate]; out != nil && out.Digest != "" {
			m.Logs[filepath.ToSlash(filepath.Join(r.folder(u), "events.log"))] = rundir.Log{Events: out.Events, Digest: out.Digest}
		}
	}
}

// writeSummary writes summary.json, results.csv and bench.txt.
func writeSummary(dir *rundir.Dir, s *summary.Summary) error {
	for _, file := range []struct{ name, format string }{{"summary.json", "json"}, {"results.csv", "csv"}, {"bench.txt", "benchfmt"}} {
		data, err := rendered(summaryWriter(s, file.format))
		if err != nil {
			return err
		}
		if err := dir.Write(file.name, data); err != nil {
			return err
		}
	}
	return nil
}

// plural counts things.
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// describe says what would be run.
func (a *app) describe(exp *experiment.Experiment) error {
	runs := 0
	for _, cell := range exp.Cells {
		fmt.Fprintf(a.stdout, "cell %s%s: %s, %s\n", cell.ID, settings(cell), plural(len(cell.Policies), "policy", "policies"), plural(cell.Replicates, "replicate", "replicates"))
		for _, p := range cell.Policies {
			fmt.Fprintf(a.stdout, "  %s\n", p.Name)
		}
		runs += len(cell.Policies) * cell.Replicates
	}
	_, err := fmt.Fprintf(a.stdout, "%s, seed %d; nothing was run\n", plural(runs, "simulation", "simulations"), exp.Seed)
	return err
}
