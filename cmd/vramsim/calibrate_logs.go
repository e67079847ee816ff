package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/vramsim/vramsim/nvml/calibrate"
	"github.com/vramsim/vramsim/nvml/profile"
	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/results/eventlog"
	"github.com/vramsim/vramsim/results/rundir"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/sim/experiment"
)

// logReader gathers observations from event logs.
type logReader struct {
	app       *app
	collector calibrate.Collector
	digests   []string
	paths     []string
	status    rundir.Status
	executors []string // that carried out the runs
	label     string   // why figures are none of hardware
	// catalogues of what was read already, by cell and experiment.
	catalogues map[string][]scheduler.Model
}

// fromLogs makes a profile of the event logs of runs.
func (a *app) fromLogs(ctx context.Context, paths []string, in *calibrateFlags) (*profile.Profile, []string, error) {
	r := &logReader{app: a, status: rundir.Valid, catalogues: map[string][]scheduler.Model{}}
	for _, path := range paths {
		if err := r.source(ctx, path); err != nil {
			return nil, nil, err
		}
	}
	models := r.collector.Models()
	if len(models) == 0 {
		return nil, nil, usagef("nothing was loaded or run in %s", strings.Join(paths, ", "))
	}
	p := &profile.Profile{Measured: &profile.Measured{Executor: strings.Join(r.executors, ", "), HostTier: in.card.hostTier, Status: string(r.status),
		RawSHA256: combinedDigest(r.paths, r.digests)}, Tiers: calibrate.Tiers(models, in.card.hostTier)}
	for i := range models {
		m, all, err := models[i].Model(in.family)
		if err != nil {
			return nil, nil, err
		}
		a.fits(all)
		p.Models = append(p.Models, m)
	}
	comment := []string{"Costs observed in " + plural(len(r.paths), "event log", "event logs") + " of " + strings.Join(paths, ", ")}
	if r.label != "" {
		comment = append(comment, strings.ToUpper(r.label[:1])+r.label[1:]+".")
	}
	if late := r.collector.Lateness(); len(late) > 0 {
		s := calibrate.Describe(late)
		comment = append(comment, "Timers fired after they were due: "+s.String())
		a.infof("timers fired after they were due: %v", s)
	}
	if n := r.collector.Skipped; n > 0 {
		a.infof("%d batches had items of other than ordinary work and are left out", n)
	}
	return p, comment, nil
}

// source reads the logs of a run directory, or one log.
func (r *logReader) source(ctx context.Context, path string) error {
	logs, err := logsAt(path)
	if err != nil {
		return err
	}
	executor, label := "simulation", "no hardware figures: they come from a simulation"
	if dir := runDirOf(path); dir != nil {
		m, err := dir.Manifest()
		if err != nil {
			return err
		}
		if m.Hardware != nil {
			executor, label = m.Hardware.Executor, m.Hardware.Label
		}
		r.worst(m.Status)
	}
	if !slices.Contains(r.executors, executor) {
		r.executors = append(r.executors, executor)
	}
	if label != "" {
		r.label = label
	}
	for _, log := range logs {
		if err := r.log(ctx, log.path); err != nil {
			return err
		}
	}
	return nil
}

// runDirOf returns the run directory that path names or lies in, nil if there
// is none.
func runDirOf(path string) *rundir.Dir {
	if dir, err := rundir.Open(path); err == nil {
		return dir
	}
	dir, _ := runOf(path)
	return dir
}

// worst lowers the status of what is read.
func (r *logReader) worst(s rundir.Status) {
	if s == rundir.Invalid || s == rundir.Incomplete && r.status == rundir.Valid {
		r.status = s
	}
}

func (r *logReader) log(ctx context.Context, path string) error {
	in, err := eventlog.Open(path)
	var corrupt *eventlog.CorruptError
	switch {
	case errors.As(err, &corrupt) && corrupt.Offset == 0:
		return withHint(usagef("%s is no event log", path), "of recorded load times, --as says the format: "+strings.Join(loadFormats(), ", "))
	case err != nil:
		return logError(err)
	}
	defer in.Close()
	models, err := r.catalogue(in.Header())
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	r.collector.Run(models)
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		events, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return logError(fmt.Errorf("%s: %w", path, err))
		}
		if err := r.collector.Append(events); err != nil {
			return err
		}
	}
	status := in.Status()
	if !status.Complete {
		r.app.warnf("%s: INCOMPLETE: %d bytes dropped", path, status.Dropped)
		r.worst(rundir.Incomplete)
	}
	r.paths, r.digests = append(r.paths, path), append(r.digests, status.Digest)
	return nil
}

// catalogue returns the models of a log's run, with what the experiment in its
// header says of them.
func (r *logReader) catalogue(h eventlog.Header) ([]scheduler.Model, error) {
	key := h.Cell + "\n" + h.Experiment
	if models, ok := r.catalogues[key]; ok {
		return models, nil
	}
	models := make([]scheduler.Model, len(h.Models))
	for i, name := range h.Models {
		models[i].Name = name
	}
	exp, err := experiment.Parse("header", ".", []byte(h.Experiment), policies.Builtin(), experiment.Options{Search: traceFolders()})
	if err != nil {
		return nil, fmt.Errorf("the experiment in the log's header: %w", err)
	}
	for _, cell := range exp.Cells {
		if cell.ID == h.Cell {
			models = cell.Models
		}
	}
	if len(models) != len(h.Models) {
		return nil, fmt.Errorf("the log is of %d models, the experiment in its header has %d", len(h.Models), len(models))
	}
	r.catalogues[key] = models
	return models, nil
}
