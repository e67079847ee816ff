package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
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
	cmd := &cobra.Command{
		Use:   "replay RUN|LOG --verify",
		Short: "both replays and every invariant of the logs of a run",
		Long: `Verify event logs: every checksum and the digest, then decision replay (the
facts of the log, stepped under the same policy, must give the same decisions
byte for byte) and state replay (all events, applied to a fresh core, must give
the same state), with every invariant checked at the end of each step.`,
		Args: exactly(1, "a run directory or an event log"),
		RunE: func(_ *cobra.Command, args []string) error {
			if !verify {
				return usagef("replay needs --verify: it says what to do with the log")
			}
			return a.verify(args[0])
		},
	}
	cmd.Flags().BoolVar(&verify, "verify", false, "run both replays and check every invariant")
	return cmd
}

// verify checks one log or all logs of a run directory.
func (a *app) verify(path string) error {
	logs, manifest, err := logsAt(path)
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
			fmt.Fprintf(a.stdout, "%s: %s\n", log.path, printable(err.Error()))
			if worst == nil || codeOf(err) > codeOf(worst) {
				worst = err
			}
		} else if note != "" || manifest == nil {
			fmt.Fprintf(a.stdout, "%s: %d events, %s\n", log.path, n, note+"both replays agree")
		}
		bar.done()
	}
	if worst != nil {
		return &exitError{code: codeOf(worst), err: fmt.Errorf("verification failed: %w", worst)}
	}
	_, err = fmt.Fprintf(a.stdout, "%d logs, %d events: checksums, digests, decisions, states and invariants agree\n", len(logs), events)
	return err
}

// logAt is a log to verify and what the manifest knows of it.
type logAt struct {
	path  string
	known *rundir.Log
}

func logsAt(path string) ([]logAt, *rundir.Manifest, error) {
	dir, err := rundir.Open(path)
	if err != nil || strings.HasSuffix(path, ".log") {
		return []logAt{{path: path}}, nil, nil
	}
	m, err := dir.Manifest()
	if err != nil {
		return nil, nil, err
	}
	var logs []logAt
	for _, name := range slices.Sorted(mapKeys(m.Logs)) {
		known := m.Logs[name]
		logs = append(logs, logAt{path: dir.Join(filepath.FromSlash(name)), known: &known})
	}
	if len(logs) == 0 {
		return nil, nil, usagef("%s has no event logs (output.events was none)", dir.Path)
	}
	return logs, m, nil
}

// verifyLog checks one log; note says what an incomplete one lacks.
func (a *app) verifyLog(path string, known *rundir.Log) (events int64, note string, err error) {
	r, err := eventlog.Open(path)
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
	if !status.Complete {
		note = fmt.Sprintf("INCOMPLETE: %d bytes dropped, ", status.Dropped)
		if known != nil {
			return events, note, &exitError{code: exitInvariant, err: fmt.Errorf("a lost tail: %d of %d events are left", events, known.Events)}
		}
		return events, note, nil
	}
	if known != nil && (known.Events != events || known.Digest != status.Digest) {
		return events, "", &exitError{code: exitInvariant, err: errors.New("the log is not the one the manifest names")}
	}
	if err := decisions.Close(); err != nil {
		return events, "", err
	}
	if decisions.Core.StateDigest() != states.Core.StateDigest() {
		return events, "", &exitError{code: exitInvariant, err: errors.New("the two replays end in different states")}
	}
	return events, "", nil
}

// logError gives damage its exit code; a file that is not there stays exit 2.
func logError(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return err
	}
	return &exitError{code: exitInvariant, err: err}
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
				setup, err := cell.Setup(p, h.Replicate, thisBuild().Version)
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
