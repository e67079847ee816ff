package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/vramsim/vramsim/nvml"
	"github.com/vramsim/vramsim/results/eventlog"
	"github.com/vramsim/vramsim/results/metrics"
	"github.com/vramsim/vramsim/results/rundir"
	"github.com/vramsim/vramsim/results/summary"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/sim"
	"github.com/vramsim/vramsim/sim/experiment"
)

// unit is one simulation: a policy in a cell, one replicate.
type unit struct{ cell, policy, replicate int }

// outcome is what a unit left in the run directory as result.json.
type outcome struct {
	RunID    string          `json:"run_id"`
	Events   int64           `json:"events"`
	Digest   string          `json:"digest"`
	Failed   string          `json:"failed,omitempty"` // why the run ended early
	Code     int             `json:"code,omitempty"`   // exit code of that
	Hardware *nvml.Report    `json:"hardware,omitempty"`
	Result   *metrics.Result `json:"result"`
}

// stage is where units are carried out: in simulated worlds, or on the devices
// of a machine.
type stage interface {
	// begin makes a unit's world. What it writes goes to the folder.
	begin(ctx context.Context, setup *experiment.Setup, core *scheduler.Core, folder string) (performance, error)
	// keeps says that what was begun is kept when the run is interrupted.
	keeps() bool
	// varies says that runs differ where the experiment has nothing random.
	varies() bool
	// again says why a unit is carried out again after so many tries, "" if
	// it is not.
	again(out *outcome, tries int) string
}

// performance is a unit being carried out.
type performance interface {
	world() scheduler.World
	// openLog begins the log, and returns the sink through which it is written.
	openLog(path string, h eventlog.Header, o eventlog.Options) (*eventlog.Writer, scheduler.Sink, error)
	// end comes when the unit is over, before the log is closed.
	end(*outcome) error
}

// simulation is the stage of simulated worlds.
type simulation struct{ setup *experiment.Setup }

func (simulation) begin(_ context.Context, setup *experiment.Setup, _ *scheduler.Core, _ string) (performance, error) {
	return simulation{setup}, nil
}
func (simulation) keeps() bool                { return false }
func (simulation) varies() bool               { return false }
func (simulation) again(*outcome, int) string { return "" }
func (s simulation) world() scheduler.World   { return s.setup.World }
func (simulation) end(*outcome) error         { return nil }

// openLog begins a log that may lag, as no effect is real, unless it has to ask
// for names while the source remembers them.
func (s simulation) openLog(path string, h eventlog.Header, o eventlog.Options) (*eventlog.Writer, scheduler.Sink, error) {
	w, err := eventlog.Create(path, h, o)
	if o.Names == nil {
		return w, scheduler.Late{Sink: w}, err
	}
	return w, w, err
}

// invalid says why the figures are not to be trusted.
func (o *outcome) invalid() []string {
	var why []string
	if o.Failed != "" {
		why = append(why, o.Failed)
	}
	if o.Hardware != nil {
		why = append(why, o.Hardware.Invalid...)
	}
	return why
}

// runner carries out the simulations of an experiment.
type runner struct {
	app     *app
	exp     *experiment.Experiment
	dir     *rundir.Dir
	version string
	runID   string
	shard   shard // what it runs of it
	stage   stage
	doing   string // what the progress bar says
	// resumable says that sweep --resume can go on with what was interrupted.
	resumable bool
	notes     []string // for the summary
	unranked  string   // why no policy may be chosen
	// outcomes by cell, policy and replicate; nil where not done.
	outcomes [][][]*outcome
	// bounds by cell and metric, one value for each replicate; nil where there are none.
	bounds []map[string][]float64
	// warmups by cell; nil where it is stated, or was not found before an
	// interruption.
	warmups []*experiment.Warmup
}

func newRunner(a *app, exp *experiment.Experiment, dir *rundir.Dir) *runner {
	r := &runner{app: a, exp: exp, dir: dir, version: thisBuild().Version, stage: simulation{}, doing: "simulating", resumable: true,
		bounds: make([]map[string][]float64, len(exp.Cells)), warmups: make([]*experiment.Warmup, len(exp.Cells))}
	r.runID = exp.RunID(r.version).String()
	for _, cell := range exp.Cells {
		rows := make([][]*outcome, len(cell.Policies))
		for p := range rows {
			rows[p] = make([]*outcome, cell.Replicates)
		}
		r.outcomes = append(r.outcomes, rows)
	}
	return r
}

func (r *runner) units() []unit {
	var all []unit
	for c, cell := range r.exp.Cells {
		for replicate := range cell.Replicates {
			for p := range cell.Policies {
				all = append(all, unit{c, p, replicate})
			}
		}
	}
	return all
}

func (r *runner) folder(u unit) string {
	cell := r.exp.Cells[u.cell]
	return rundir.Replicate(cell.ID, cell.Policies[u.policy].Name, u.replicate)
}

// resume takes over what an interrupted run finished: results whose run id is
// still the one that this experiment would give. What was left half-written is
// taken away.
func (r *runner) resume() (done int, err error) {
	for _, u := range r.units() {
		out := &outcome{}
		err := r.dir.ReadJSON(filepath.Join(r.folder(u), "result.json"), out)
		if errors.Is(err, os.ErrNotExist) || err == nil && out.RunID == "" || isJSON(err) {
			if err := os.RemoveAll(r.dir.Join(r.folder(u))); err != nil {
				return done, err
			}
			continue
		}
		if err != nil {
			return done, err
		}
		setup, err := r.exp.Cells[u.cell].Prepare(u.policy, u.replicate, r.version)
		if err != nil {
			return done, err
		}
		id := setup.RunID.String()
		if err := setup.Close(); err != nil {
			return done, err
		}
		if out.RunID != id {
			return done, usagef("%s was made by another experiment or version", r.dir.Join(r.folder(u)))
		}
		r.outcomes[u.cell][u.policy][u.replicate] = out
		done++
	}
	return done, nil
}

// settle finds the warm-ups that are not stated, of some cells at once. Those
// that were found before an interruption are noted.
func (r *runner) settle(ctx context.Context, jobs int) error {
	errs := r.eachCell(jobs, func(c int, cell *experiment.Cell) error {
		w, err := cell.Warmup(ctx)
		if err == nil && w.Unsteady != nil {
			r.warmups[c] = &w
		}
		return err
	})
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// isJSON reports whether an error says that a file is no JSON, as one may be
// that was being written when the power went.
func isJSON(err error) bool {
	var syntax *json.SyntaxError
	return errors.As(err, &syntax) || errors.Is(err, io.ErrUnexpectedEOF)
}

// run carries out what is not done, some at a time. It returns the first
// error that is not one of a single simulation.
func (r *runner) run(ctx context.Context, jobs int) error {
	var todo []unit
	for i, u := range r.units() {
		if r.outcomes[u.cell][u.policy][u.replicate] == nil && r.shard.has(i) {
			todo = append(todo, u)
		}
	}
	if err := r.settle(ctx, jobs); err != nil {
		return err
	}
	bar := r.app.newProgress(len(todo), r.doing)
	defer bar.close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	queue := make(chan unit)
	var workers sync.WaitGroup
	for range min(jobs, len(todo)) {
		workers.Go(func() {
			for u := range queue {
				began := time.Now()
				if err := r.perform(ctx, u); err != nil {
					cancel(err)
					continue
				}
				r.tell(u, time.Since(began))
				bar.done()
			}
		})
	}
	for _, u := range todo {
		if ctx.Err() != nil {
			break
		}
		queue <- u
	}
	close(queue)
	workers.Wait()
	return context.Cause(ctx)
}

// tell says under --verbose what a simulation was and took.
func (r *runner) tell(u unit, took time.Duration) {
	if !r.app.verbose {
		return
	}
	cell, out := r.exp.Cells[u.cell], r.outcomes[u.cell][u.policy][u.replicate]
	r.app.infof("cell %s%s, %s, replicate %d: %.0f items in %v", cell.ID, settings(cell), cell.Policies[u.policy].Name, u.replicate,
		out.Result.Values[metrics.ItemsArrived], took.Round(time.Millisecond))
}

// complete reports whether every simulation is done.
func (r *runner) complete() bool {
	return !slices.ContainsFunc(r.units(), func(u unit) bool { return r.outcomes[u.cell][u.policy][u.replicate] == nil })
}

// perform carries out one unit, and again where the stage wants it to.
func (r *runner) perform(ctx context.Context, u unit) error {
	for try := 1; ; try++ {
		if err := r.performOnce(ctx, u); err != nil {
			return err
		}
		why := r.stage.again(r.outcomes[u.cell][u.policy][u.replicate], try)
		if why == "" {
			return nil
		}
		r.app.infof("%s: %s; it is repeated", r.folder(u), why)
		r.outcomes[u.cell][u.policy][u.replicate] = nil
		if err := os.RemoveAll(r.dir.Join(r.folder(u))); err != nil {
			return err
		}
	}
}

// performOnce carries out one unit and leaves its folder complete or, unless
// the stage keeps what was begun, absent.
func (r *runner) performOnce(ctx context.Context, u unit) (err error) {
	setup, err := r.exp.Cells[u.cell].Setup(u.policy, u.replicate, r.version)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, setup.Close()) }()
	core, err := scheduler.New(setup.Config)
	if err != nil {
		return err
	}
	kept := foldConfig(setup, r.exp.Thresholds, u.replicate == 0)
	kept.Sketch = r.exp.Output.Sketch
	fold, err := metrics.New(kept)
	if err != nil {
		return err
	}
	folder := r.dir.Join(r.folder(u))
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return err
	}
	out := &outcome{RunID: setup.RunID.String()}
	err, endErr := r.drive(ctx, u, setup, core, fold, out)
	switch {
	case ctx.Err() != nil && !r.stage.keeps():
		return errors.Join(context.Cause(ctx), os.RemoveAll(folder))
	case ctx.Err() != nil:
		r.tellCleanup(endErr, out)
		return context.Cause(ctx)
	}
	err = errors.Join(err, endErr)
	switch {
	case err != nil && (codeOf(err) == exitUsage || codeOf(err) == exitHardware):
		return fmt.Errorf("policy %s: %w%s", setup.Policy.Name, err, itemOf(err, setup.Namer))
	case err != nil: // the policy or an invariant: it ends this run, not the others
		out.Failed, out.Code = err.Error(), codeOf(err)
	}
	if r.exp.Output.Events == "jsonl" {
		if err := writeTwin(folder); err != nil {
			return err
		}
	}
	out.Result = fold.Result()
	if out.Hardware != nil {
		if joules, ok := out.Hardware.Joules(); ok {
			out.Result.Values[metrics.Energy] = joules
		}
		r.tellEnergy(setup, out.Hardware)
	}
	if err := r.dir.WriteJSON(filepath.Join(r.folder(u), "result.json"), out); err != nil {
		return err
	}
	r.outcomes[u.cell][u.policy][u.replicate] = out
	return nil
}

// tellEnergy warns of energies that are not to be trusted.
func (r *runner) tellEnergy(setup *experiment.Setup, h *nvml.Report) {
	for i := range h.Devices {
		if d := &h.Devices[i]; d.EnergyDiffers {
			r.app.warnf("policy %s: the energy of device %d is %.0f J by its counter and %.0f J by its power while both were sampled", setup.Policy.Name, i, d.Compared, d.Integrated)
		}
	}
}

// tellCleanup says what went wrong when an interrupted unit was cleaned up:
// nobody reads it anywhere else.
func (r *runner) tellCleanup(err error, out *outcome) {
	if err != nil {
		r.app.warnf("%v", err)
	}
	for _, why := range out.invalid() {
		r.app.warnf("%s", why)
	}
}

// drive runs the core on the unit's stage, into the figures and the log. What
// went wrong when the unit was ended is endErr.
func (r *runner) drive(ctx context.Context, u unit, setup *experiment.Setup, core *scheduler.Core, fold *metrics.Fold, out *outcome) (err, endErr error) {
	sinks := []scheduler.Sink{scheduler.Late{Sink: fold}}
	folder := r.dir.Join(r.folder(u))
	on, err := r.stage.begin(ctx, setup, core, folder)
	if err != nil {
		return err, nil
	}
	var log *eventlog.Writer
	if r.exp.Output.Events != "none" {
		var sink scheduler.Sink
		log, sink, err = on.openLog(filepath.Join(folder, "events.log"), r.header(setup, u), logOptions(setup, core))
		if err != nil {
			return err, on.end(out)
		}
		sinks = append(sinks, sink)
	}
	err = scheduler.Drive(ctx, core, on.world(), sinks...)
	endErr = on.end(out)
	if log != nil {
		if closeErr := log.Close(); closeErr != nil {
			return closeErr, endErr
		}
		out.Events, out.Digest = log.Events(), log.Digest()
	}
	return err, endErr
}

// logOptions of the log that a run keeps.
func logOptions(setup *experiment.Setup, core *scheduler.Core) eventlog.Options {
	return eventlog.Options{Names: setup.Namer, Snapshot: core.StateDigest, SnapshotEvery: 64}
}

// itemOf says which item an overflow of time concerns.
func itemOf(err error, names scheduler.Namer) string {
	var late *sim.OverflowError
	if names == nil || !errors.As(err, &late) || late.Item < 0 {
		return ""
	}
	name := names.ItemName(late.Item)
	if name == "" || name == strconv.FormatInt(int64(late.Item), 10) {
		return "" // it has none, or is not known any more
	}
	return fmt.Sprintf(" (item %q)", name)
}

// writeTwin writes the JSON Lines twin of a log beside it.
func writeTwin(folder string) error {
	log, err := eventlog.Open(filepath.Join(folder, "events.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	f, err := os.Create(filepath.Join(folder, "events.jsonl"))
	if err != nil {
		return err
	}
	return errors.Join(eventlog.WriteJSONL(f, log), f.Close())
}

func (r *runner) header(setup *experiment.Setup, u unit) eventlog.Header {
	cell := r.exp.Cells[u.cell]
	h := eventlog.Header{Tool: "vramsim " + r.version, RunID: setup.RunID.String(), Name: r.exp.Name, Cell: cell.ID,
		Policy: setup.Policy.Name, Replicate: u.replicate, Seed: setup.Seed, Experiment: string(r.exp.Resolved()), Settings: map[string]string{}}
	for _, s := range setup.Policy.Settings {
		h.Settings[s.Path] = s.Value
	}
	for _, m := range cell.Models {
		h.Models = append(h.Models, m.Name)
	}
	for _, d := range cell.Devices {
		h.Devices = append(h.Devices, d.Name)
	}
	return h
}

// summarize builds the summary of what is done.
func (r *runner) summarize(interrupted string) *summary.Summary {
	in := summary.Input{Name: r.exp.Name, Question: r.exp.Question, RunID: r.runID, Baseline: r.exp.Baseline,
		Varied: r.exp.Varied, Deterministic: r.exp.Deterministic() && !r.stage.varies(), Replicates: r.exp.Replicates, Interrupted: interrupted, Thresholds: r.exp.Thresholds, Unranked: r.unranked}
	in.Notes = append(in.Notes, r.notes...)
	if r.exp.Quick {
		in.Notes = append(in.Notes, "quick: not for citing")
	}
	for c, cell := range r.exp.Cells {
		ci := summary.CellInput{ID: cell.ID, Workload: cell.Workload, Set: map[string]string{}, Bounds: r.bounds[c],
			Replicates: cell.Replicates, Deterministic: cell.Deterministic() && !r.stage.varies()}
		for _, s := range cell.Set {
			ci.Set[s.Path] = s.Value
		}
		warmup := r.warmups[c]
		if warmup != nil {
			ci.Workload += "+" + warmup.From.String()
			if slices.Contains(warmup.Unsteady, false) {
				from := float64(warmup.From) / 1e9
				ci.Warmup = &from
			}
		}
		for p, row := range cell.Policies {
			pi := summary.PolicyInput{Policy: row.Name, Clairvoyant: row.Clairvoyant}
			for replicate, out := range r.outcomes[c][p] {
				if out == nil {
					pi.Results = append(pi.Results, nil)
					continue
				}
				pi.Results = append(pi.Results, out.Result)
				if out.Digest != "" {
					pi.Digests = append(pi.Digests, out.Digest)
				}
				for _, why := range out.invalid() {
					pi.Invalid = append(pi.Invalid, fmt.Sprintf("replicate %d: %s", replicate, why))
				}
			}
			if warmup != nil && warmup.Unsteady[p] {
				pi.Invalid = append(pi.Invalid, "no steady state found: MSER-5 would leave out half of the time until the last arrival, or there are too few items")
			}
			ci.Policies = append(ci.Policies, pi)
		}
		in.Cells = append(in.Cells, ci)
	}
	return summary.Build(in)
}

// failure returns the worst exit code of the simulations that ended early.
func (r *runner) failure() (code int, what string) {
	for c := range r.outcomes {
		for p := range r.outcomes[c] {
			for _, out := range r.outcomes[c][p] {
				if out != nil && out.Code > code {
					code, what = out.Code, fmt.Sprintf("policy %s: %s", r.exp.Cells[c].Policies[p].Name, out.Failed)
				}
			}
		}
	}
	return code, what
}
