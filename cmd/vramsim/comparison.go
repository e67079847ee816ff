package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/results/eventlog"
	"github.com/vramsim/vramsim/results/explain"
	"github.com/vramsim/vramsim/results/fidelity"
	"github.com/vramsim/vramsim/results/rundir"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/sim"
	"github.com/vramsim/vramsim/sim/experiment"
)

// side is one of the two runs of a comparison.
type side struct {
	dir      *rundir.Dir
	manifest *rundir.Manifest
	exp      *experiment.Experiment
}

func openSide(path string) (*side, error) {
	dir, err := rundir.Open(path)
	if err != nil {
		return nil, withHint(err, "fidelity takes two run directories: of vramsim run, and of vramsim gpu run")
	}
	s := &side{dir: dir}
	if s.manifest, err = dir.Manifest(); err != nil {
		return nil, err
	}
	s.exp, err = experiment.Load(dir.Join("resolved.yaml"), policies.Builtin(), experiment.Options{Search: traceFolders()})
	return s, err
}

func (s *side) describe() fidelity.Side {
	d := fidelity.Side{RunID: s.manifest.RunID, Name: s.manifest.Name, Version: s.manifest.Version, Status: string(s.manifest.Status)}
	if hw := s.manifest.Hardware; hw != nil {
		d.Executor, d.Label = hw.Executor, hw.Label
	}
	return d
}

// comparison is a simulation and a run on hardware of one experiment.
type comparison struct {
	app                 *app
	simulated, measured *side
	pairs               []cellPair
	unmatched           []string
	closure             fidelity.Closure
	oracle              map[unit][]*fidelity.Run // by cell and policy of the hardware run
}

// cellPair is a cell of both sides, by index.
type cellPair struct{ simulated, measured int }

// openComparison opens both runs and refuses those that are none of one
// experiment.
func (a *app) openComparison(simulated, measured string) (*comparison, error) {
	c := &comparison{app: a, oracle: map[unit][]*fidelity.Run{}}
	var err error
	if c.simulated, err = openSide(simulated); err != nil {
		return nil, err
	}
	if c.measured, err = openSide(measured); err != nil {
		return nil, err
	}
	sim, hw := c.simulated, c.measured
	switch {
	case hw.manifest.Hardware == nil:
		return nil, withHint(usagef("%s is no hardware run", measured), "vramsim gpu run makes one; the simulation comes first: fidelity SIM_RUN GPU_RUN")
	case sim.manifest.Hardware != nil:
		return nil, withHint(usagef("%s is a hardware run; the first run must be a simulation", simulated), "gpu run leaves one in "+filepath.Join(simulated, "simulation"))
	case sim.exp.Seed != hw.exp.Seed:
		return nil, usagef("the runs have different seeds: %d was simulated, %d was measured", sim.exp.Seed, hw.exp.Seed)
	case hw.exp.Output.Events == "none":
		return nil, withHint(usagef("%s has no event logs, which closure needs", measured), "gpu run it with output: {events: log}")
	}
	return c, c.match()
}

// match pairs the cells by what the sweep set.
func (c *comparison) match() error {
	taken := map[int]bool{}
	for m, cell := range c.measured.exp.Cells {
		s := slices.IndexFunc(c.simulated.exp.Cells, func(o *experiment.Cell) bool { return slices.Equal(o.Set, cell.Set) })
		if s < 0 {
			c.unmatched = append(c.unmatched, fmt.Sprintf("cell %s%s was only measured", cell.ID, settings(cell)))
			continue
		}
		if c.simulated.exp.Cells[s].Workload != cell.Workload {
			return usagef("the runs have different workloads%s: they are not of one experiment", settings(cell))
		}
		if !sameMachine(c.simulated.exp.Cells[s], cell) {
			return usagef("the runs have different GPUs%s: they are not of one experiment", settings(cell))
		}
		taken[s] = true
		c.pairs = append(c.pairs, cellPair{s, m})
	}
	for s, cell := range c.simulated.exp.Cells {
		if !taken[s] {
			c.unmatched = append(c.unmatched, fmt.Sprintf("cell %s%s was only simulated", cell.ID, settings(cell)))
		}
	}
	if len(c.pairs) == 0 {
		return usagef("the runs have no cell in common: they are not of one experiment")
	}
	return nil
}

func sameMachine(a, b *experiment.Cell) bool {
	return slices.EqualFunc(a.Devices, b.Devices, func(x, y scheduler.Device) bool { return x.Budget == y.Budget && x.Slots == y.Slots })
}

// input gathers what fidelity compares.
func (c *comparison) input(ctx context.Context, ablation bool) (*fidelity.Input, error) {
	in := &fidelity.Input{Simulation: c.simulated.describe(), Hardware: c.measured.describe()}
	total := 0
	for _, p := range c.pairs {
		total += len(c.measured.exp.Cells[p.measured].Policies)
	}
	bar := c.app.newProgress(total, "comparing")
	defer bar.close()
	for _, pair := range c.pairs {
		cell, err := c.cell(ctx, pair, bar.done)
		if err != nil {
			return nil, err
		}
		in.Cells = append(in.Cells, *cell)
	}
	if c.closure.Decisions.Logs == 0 {
		return nil, usagef("%s has no event logs: nothing was carried out", c.measured.dir.Path)
	}
	if ablation {
		if err := c.ablate(ctx, in); err != nil {
			return nil, err
		}
	}
	s, _, err := readSummary(c.measured.dir.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // an interrupted run may have none
		return nil, err
	}
	if err == nil {
		in.Unranked = s.Unranked
	}
	in.Closure, in.Unmatched = c.closure, c.unmatched
	return in, nil
}

func (c *comparison) cell(ctx context.Context, pair cellPair, done func()) (*fidelity.CellInput, error) {
	sim, hw := c.simulated.exp.Cells[pair.simulated], c.measured.exp.Cells[pair.measured]
	in := &fidelity.CellInput{Simulated: sim.ID, Measured: hw.ID, Set: map[string]string{}, Models: hw.Models}
	for _, s := range hw.Set {
		in.Set[s.Path] = s.Value
	}
	for m, row := range hw.Policies {
		s := slices.IndexFunc(sim.Policies, func(o experiment.Row) bool { return o.Name == row.Name })
		switch {
		case s < 0:
			c.unmatched = append(c.unmatched, fmt.Sprintf("policy %s%s was only measured", row.Name, settings(hw)))
		case !slices.Equal(sim.Policies[s].Settings, row.Settings):
			c.unmatched = append(c.unmatched, fmt.Sprintf("policy %s%s has other parameters in the simulation", row.Name, settings(hw)))
		default:
			p, err := c.policy(ctx, pair, s, m)
			if err != nil {
				return nil, err
			}
			in.Policies = append(in.Policies, *p)
		}
		done()
	}
	for _, row := range sim.Policies {
		if !slices.ContainsFunc(hw.Policies, func(o experiment.Row) bool { return o.Name == row.Name }) {
			why := ""
			if row.Clairvoyant {
				why = ": it knows the future"
			}
			c.unmatched = append(c.unmatched, fmt.Sprintf("policy %s%s was only simulated%s", row.Name, settings(hw), why))
		}
	}
	return in, nil
}

// policy reads the runs of a policy on both sides.
func (c *comparison) policy(ctx context.Context, pair cellPair, simulated, measured int) (*fidelity.PolicyInput, error) {
	hw := c.measured.exp.Cells[pair.measured]
	in := &fidelity.PolicyInput{Policy: hw.Policies[measured].Name}
	var real, predicted *foldedLog // the first pair
	for r := range c.measured.replicates(hw, in.Policy) {
		l, err := c.measured.read(unit{pair.measured, measured, r})
		if err != nil {
			return nil, err
		}
		if l.events != nil {
			if err := c.close(ctx, l); err != nil {
				return nil, err
			}
		}
		in.Measured = append(in.Measured, l.run)
		if real == nil && len(l.run.Excluded) == 0 {
			real = l
		}
	}
	sim := c.simulated.exp.Cells[pair.simulated]
	for r := range sim.Replicates {
		if sim.Redrawn() && r >= len(in.Measured) {
			break // of no workload that was measured
		}
		l, err := c.simulated.read(unit{pair.simulated, simulated, r})
		if err != nil {
			return nil, err
		}
		in.Simulated = append(in.Simulated, l.run)
		if predicted == nil && real != nil && l.events != nil && l.run.Workload == real.run.Workload {
			predicted = l
		}
	}
	if real != nil && predicted != nil {
		in.Divergence = fidelity.Diverge(real.words, predicted.run, real.run, predicted.events, real.events)
	}
	return in, nil
}

// foldedLog is one run and its log.
type foldedLog struct {
	at     unit
	name   string            // of the log, below the run directory
	setup  *experiment.Setup // closed
	events []scheduler.Event // nil: there is no log
	words  *explain.Words
	run    *fidelity.Run
}

// replicates is how often a policy was carried out in a cell: at least as often
// as there are replicates, more often if folders say so.
func (s *side) replicates(cell *experiment.Cell, policy string) int {
	n := cell.Replicates
	for {
		if _, err := os.Stat(s.dir.Join(rundir.Replicate(cell.ID, policy, n))); err != nil {
			return n
		}
		n++
	}
}

// read folds a unit's log or, where none was kept, takes its result.
func (s *side) read(at unit) (*foldedLog, error) {
	cell := s.exp.Cells[at.cell]
	folder := rundir.Replicate(cell.ID, cell.Policies[at.policy].Name, at.replicate)
	l := &foldedLog{at: at, name: filepath.ToSlash(filepath.Join(folder, "events.log"))}
	var out outcome
	resultErr := s.dir.ReadJSON(filepath.Join(folder, "result.json"), &out)
	if resultErr != nil && !errors.Is(resultErr, fs.ErrNotExist) {
		return nil, resultErr
	}
	complete, err := l.open(s, cell)
	switch {
	case errors.Is(err, fs.ErrNotExist) && resultErr == nil:
		l.run = fidelity.FromResult(out.Result)
	case errors.Is(err, fs.ErrNotExist):
		l.run = &fidelity.Run{Excluded: []string{"it was not run"}}
	case err != nil:
		return nil, err
	}
	l.run.Replicate, l.run.Workload = at.replicate, workloadOf(cell, at.replicate)
	l.run.Excluded = append(l.run.Excluded, out.invalid()...)
	if l.events != nil && (!complete || resultErr != nil) {
		l.run.Excluded = append(l.run.Excluded, "it was cut short")
	}
	if resultErr == nil { // what no log knows
		for name, v := range out.Result.Values {
			if _, known := l.run.Figures[name]; !known {
				l.run.Figures[name] = v
			}
		}
	}
	return l, nil
}

// workloadOf names the arrivals of a replicate among those of its cell.
func workloadOf(cell *experiment.Cell, replicate int) string {
	if !cell.Redrawn() {
		return "all"
	}
	return fmt.Sprint("replicate ", replicate)
}

// open reads and folds the log, whole steps of it; complete is false for one
// that was cut short.
func (l *foldedLog) open(s *side, cell *experiment.Cell) (complete bool, err error) {
	r, err := eventlog.Open(s.dir.Join(filepath.FromSlash(l.name)))
	if err != nil {
		return false, logError(err)
	}
	defer r.Close()
	l.words = &explain.Words{Models: cell.Models, Devices: cell.Devices, Items: r.Names()}
	l.events = []scheduler.Event{}
	for {
		batch, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return false, fmt.Errorf("%s: %w", l.name, logError(err))
		}
		l.events = append(l.events, batch...)
	}
	if complete = r.Status().Complete; !complete {
		l.events = wholeSteps(l.events)
	}
	if l.setup, err = cell.Setup(l.at.policy, l.at.replicate, thisBuild().Version); err != nil {
		return false, err
	}
	if err := l.setup.Close(); err != nil {
		return false, err
	}
	fold, err := fidelity.NewFold(foldConfig(l.setup, nil, false))
	if err != nil {
		return false, err
	}
	if err := fold.Append(l.events); err != nil {
		return false, &exitError{code: exitInvariant, err: fmt.Errorf("%s: %w", l.name, err)}
	}
	l.run = fold.Run()
	return complete, nil
}

// wholeSteps leaves out the last step of a log that was cut short: some of it
// may be missing.
func wholeSteps(events []scheduler.Event) []scheduler.Event {
	for i := len(events) - 1; i >= 0; i-- {
		if events[i].Kind.Fact() && events[i].First() {
			return events[:i]
		}
	}
	return events[:0]
}

// close checks both halves of closure on a log of the hardware run, and keeps
// the run of the second for the ablation.
func (c *comparison) close(ctx context.Context, l *foldedLog) error {
	cell := c.measured.exp.Cells[l.at.cell]
	config := func() (scheduler.Config, error) {
		setup, err := cell.Prepare(l.at.policy, l.at.replicate, thisBuild().Version)
		if err != nil {
			return scheduler.Config{}, err
		}
		return setup.Config, setup.Close()
	}
	cfg, err := config()
	if err != nil {
		return err
	}
	decisions, err := scheduler.NewDecisionReplay(cfg)
	if err != nil {
		return err
	}
	c.closure.Decisions.Logs++
	if err := errors.Join(decisions.Append(l.events), decisions.Close()); err != nil {
		c.closure.Decisions.Broken = append(c.closure.Decisions.Broken, l.breakOf(err))
	}
	if cfg, err = config(); err != nil {
		return err
	}
	again, err := fidelity.NewFold(foldConfig(l.setup, nil, false))
	if err != nil {
		return err
	}
	err = closeEvents(ctx, cfg, l.events, again)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	c.closure.Events.Logs++
	if err != nil {
		c.closure.Events.Broken = append(c.closure.Events.Broken, l.breakOf(err))
		return nil
	}
	run := again.Run()
	run.Replicate = l.at.replicate
	at := unit{l.at.cell, l.at.policy, 0}
	c.oracle[at] = append(c.oracle[at], run)
	return nil
}

// closeEvents holds the simulated World of a log's recording against the log.
func closeEvents(ctx context.Context, cfg scheduler.Config, log []scheduler.Event, sinks ...scheduler.Sink) error {
	rec := sim.NewRecording()
	if err := rec.Append(log); err != nil {
		return err
	}
	same := scheduler.NewComparison(log)
	return same.Close(sim.Closure(ctx, cfg, rec, append([]scheduler.Sink{same}, sinks...)...))
}

// breakOf says where a replay of the log first differed.
func (l *foldedLog) breakOf(err error) fidelity.Break {
	b := fidelity.Break{Log: l.name, Seq: -1}
	var d *scheduler.Divergence
	if !errors.As(err, &d) {
		b.Error = err.Error()
		return b
	}
	moment := func(ev scheduler.Event) *fidelity.Moment {
		if ev == (scheduler.Event{}) {
			return nil
		}
		return &fidelity.Moment{Seq: d.Seq, At: ev.At, What: l.words.Event(ev)}
	}
	b.Seq, b.Logged, b.Replayed = d.Seq, moment(d.Want), moment(d.Got)
	if d.Err != nil {
		b.Error = d.Err.Error()
	}
	return b
}
