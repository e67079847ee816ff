package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/results/eventlog"
	"github.com/vramsim/vramsim/results/rundir"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/sim/experiment"
)

func newReplay(a *app) *cobra.Command {
	var verify bool
	var policy, at, cell, from string
	var replicate int
	cmd := &cobra.Command{
		Use:   "replay RUN|LOG --verify | --policy NAME --at TIME",
		Short: "both replays and every invariant of the logs of a run",
		Long: `Verify event logs: every checksum and the digest, then decision replay (the
facts of the log, stepped under the same policy, must give the same decisions
byte for byte) and state replay (all events, applied to a fresh core, must give
the same state), with every invariant checked at the end of each step.

With --policy and --at: what if that policy, which has seen everything from the
start, had taken over at that time? The simulation is run again, held against
the log up to then, and the figures of both are printed side by side. Of a run
it is the simulation that --cell, --from and --replicate name. A policy with
another order inside queues can only take over from the start, at 0s.`,
		Args: exactly(1, "a run directory or an event log"),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case verify == (policy != "" || at != ""):
				return usagef("replay needs --verify, or --policy and --at: they say what to do with the log")
			case verify:
				return a.verify(args[0])
			case policy == "" || at == "":
				return usagef("a what-if needs both --policy and --at")
			}
			return a.whatIf(cmd.Context(), args[0], policy, at, cell, from, replicate)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&verify, "verify", false, "run both replays and check every invariant")
	flags.StringVar(&policy, "policy", "", "what if this `policy` took over: a name of the run, or as in --policy of run")
	flags.StringVar(&at, "at", "", "`time` at which it does, like 2h")
	flags.StringVar(&cell, "cell", "", "`id` of the cell of the what-if; the first if left out")
	flags.StringVar(&from, "from", "", "`name` of the policy that was run; the chosen one if left out")
	flags.IntVar(&replicate, "replicate", 0, "`number` of the replicate of the what-if, from 0")
	return cmd
}

// verify checks one log or all logs of a run directory.
func (a *app) verify(path string) error {
	logs, err := logsAt(path)
	if err != nil {
		return err
	}
	bar := a.newProgress(len(logs), "verifying")
	defer bar.close()
	worst := error(nil)
	var events int64
	for _, log := range logs {
		n, note, err := a.verifyLog(log.path, log.known)
		events += n
		if err != nil {
			fmt.Fprintf(a.stdout, "%s: %s%s\n", log.path, note, printable(err.Error()))
			if worst == nil || codeOf(err) > codeOf(worst) {
				worst = err
			}
		} else if note != "" || log.alone {
			fmt.Fprintf(a.stdout, "%s: %s%d events, both replays agree\n", log.path, note, n)
		}
		bar.done()
	}
	if worst != nil {
		return &exitError{code: codeOf(worst), err: fmt.Errorf("verification failed: %w", worst)}
	}
	_, err = fmt.Fprintf(a.stdout, "%d logs, %d events: checksums, digests, decisions, states and invariants agree\n", len(logs), events)
	return err
}

// logAt is a log to verify and what its run knows of it; nil if nothing.
type logAt struct {
	path  string
	known *rundir.Log
	alone bool // named itself, not by its run
}

// logsAt finds the logs of a run directory, or the one log that path is.
func logsAt(path string) ([]logAt, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().IsRegular() && filepath.Base(path) != "manifest.json" {
		log := logAt{path: path, alone: true}
		if dir, name := runOf(path); dir != nil {
			m, err := dir.Manifest()
			if err != nil {
				return nil, err
			}
			log.known = knownLog(dir, m, name)
		}
		return []logAt{log}, nil
	}
	dir, err := rundir.Open(path)
	if err != nil {
		return nil, withHint(err, "replay takes a run directory or an events.log in one")
	}
	m, err := dir.Manifest()
	if err != nil {
		return nil, err
	}
	names, err := logNames(dir, m)
	if err != nil {
		return nil, err
	}
	var logs []logAt
	for _, name := range names {
		logs = append(logs, logAt{path: dir.Join(filepath.FromSlash(name)), known: knownLog(dir, m, name)})
	}
	if len(logs) == 0 {
		return nil, usagef("%s has no event logs (output.events was none)", dir.Path)
	}
	return logs, nil
}

// logNames returns the logs that the manifest names and, of a run that did not
// end, those that are there.
func logNames(dir *rundir.Dir, m *rundir.Manifest) ([]string, error) {
	names := slices.Collect(mapKeys(m.Logs))
	found, err := filepath.Glob(dir.Join("cells", "*", "*", "*", "events.log"))
	if err != nil {
		return nil, err
	}
	for _, path := range found {
		name, err := filepath.Rel(dir.Path, path)
		if err != nil {
			return nil, err
		}
		names = append(names, filepath.ToSlash(name))
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// runOf returns the run directory that a log lies in, cells/<cell>/<policy>/
// <replicate>/events.log below it, and the log's name there; nil if in none.
func runOf(path string) (*rundir.Dir, string) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, ""
	}
	root := path
	for range 5 {
		root = filepath.Dir(root)
	}
	dir, err := rundir.Open(root)
	if err != nil {
		return nil, ""
	}
	name, err := filepath.Rel(root, path)
	if err != nil || !strings.HasPrefix(filepath.ToSlash(name), "cells/") {
		return nil, ""
	}
	return dir, filepath.ToSlash(name)
}

// knownLog returns what a run knows of one of its logs, nil if nothing: from
// the manifest or, while that is not the one of the end, from the result beside
// the log.
func knownLog(dir *rundir.Dir, m *rundir.Manifest, name string) *rundir.Log {
	if known, ok := m.Logs[name]; ok {
		return &known
	}
	var out outcome
	err := dir.ReadJSON(filepath.Join(filepath.FromSlash(filepath.Dir(name)), "result.json"), &out)
	if err != nil || out.Digest == "" {
		return nil
	}
	return &rundir.Log{Events: out.Events, Digest: out.Digest}
}

// verifyLog checks one log; note says what an incomplete one lacks.
func (a *app) verifyLog(path string, known *rundir.Log) (events int64, note string, err error) {
	r, err := eventlog.Open(path)
	if known != nil && errors.Is(err, fs.ErrNotExist) {
		return 0, "", &exitError{code: exitInvariant, err: fmt.Errorf("the log is lost: %w", err)}
	}
	if err != nil {
		return 0, "", logError(err)
	}
	defer r.Close()
	cfg, err := configOf(r.Header())
	if err != nil {
		return 0, "", err
	}
	cfg[0].Checked = true // every invariant, after each step
	decisions, err := scheduler.NewDecisionReplay(cfg[0])
	if err != nil {
		return 0, "", err
	}
	states, err := scheduler.NewStateReplay(cfg[1])
	if err != nil {
		return 0, "", err
	}
	for {
		batch, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return events, "", logError(err)
		}
		events += int64(len(batch))
		for _, replay := range []scheduler.Sink{decisions, states} {
			if err := replay.Append(batch); err != nil {
				return events, "", &exitError{code: exitInvariant, err: err}
			}
		}
	}
	status := r.Status()
	if status.Skipped > 0 {
		note = fmt.Sprintf("%d records of a newer version skipped, ", status.Skipped)
	}
	if !status.Complete {
		note += fmt.Sprintf("INCOMPLETE: %d bytes dropped, ", status.Dropped)
	}
	switch {
	case known == nil || known.Events == events && known.Digest == status.Digest:
	case !status.Complete && known.Events > events:
		return events, note, &exitError{code: exitInvariant, err: fmt.Errorf("a lost tail: %d of %d events are left", events, known.Events)}
	default:
		return events, note, &exitError{code: exitInvariant, err: errors.New("the log is not the one the run recorded")}
	}
	if !status.Complete {
		return events, note, nil // it may end within a step
	}
	if err := decisions.Close(); err != nil {
		return events, "", err
	}
	if decisions.Core.StateDigest() != states.Core.StateDigest() {
		return events, note, &exitError{code: exitInvariant, err: errors.New("the two replays end in different states")}
	}
	return events, note, nil
}

// logError gives damage its exit code; a file that cannot be read stays exit 2.
func logError(err error) error {
	var corrupt *eventlog.CorruptError
	var newer *eventlog.VersionError
	var unknown *eventlog.UnknownError
	if errors.As(err, &corrupt) || errors.As(err, &newer) || errors.As(err, &unknown) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &exitError{code: exitInvariant, err: err}
	}
	return err
}

// configOf rebuilds, twice, the configuration of the core that wrote a log.
func configOf(h eventlog.Header) (cfg [2]scheduler.Config, err error) {
	exp, err := experiment.Parse("header", ".", []byte(h.Experiment), policies.Builtin(), experiment.Options{Search: traceFolders()})
	if err != nil {
		return cfg, fmt.Errorf("the experiment in the log's header: %w", err)
	}
	for _, cell := range exp.Cells {
		if cell.ID != h.Cell {
			continue
		}
		for p, row := range cell.Policies {
			if row.Name != h.Policy {
				continue
			}
			for i := range cfg {
				setup, err := cell.Prepare(p, h.Replicate, thisBuild().Version)
				if err != nil {
					return cfg, err
				}
				cfg[i] = setup.Config
				if err := setup.Close(); err != nil {
					return cfg, err
				}
			}
			return cfg, nil
		}
	}
	return cfg, fmt.Errorf("the experiment in the log's header has no policy %q in a cell %q", h.Policy, h.Cell)
}
