package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vramsim/vramsim/results/eventlog"
	"github.com/vramsim/vramsim/results/export"
	"github.com/vramsim/vramsim/results/rundir"
	"github.com/vramsim/vramsim/results/summary"
	"github.com/vramsim/vramsim/scheduler"
)

// exportFormats are what a run can be exported to.
func exportFormats() []struct{ name, what string } {
	return []struct{ name, what string }{
		{"perfetto", "trace for ui.perfetto.dev: loads, batches, queues, memory"},
		{"csv", "a row for each item"},
		{"jsonl", "every event of the log, exactly"},
		{"benchfmt", "all results in Go's benchmark format, for benchstat"},
	}
}

func exportNames() (names []string) {
	for _, f := range exportFormats() {
		names = append(names, f.name)
	}
	return names
}

func newExport(a *app) *cobra.Command {
	var to, out, cell, policy string
	var replicate int
	cmd := &cobra.Command{
		Use:   "export RUN --to " + strings.Join(exportNames(), "|"),
		Short: "a run for other tools",
		Long: `Export a run: perfetto (a trace for ui.perfetto.dev), csv (a row for each
item), jsonl (every event of the log) of one policy's replicate; benchfmt (all
results in Go's benchmark format, for benchstat).`,
		Args: exactly(1, "a run directory"),
		RunE: func(_ *cobra.Command, args []string) error {
			s, dir, err := readSummary(args[0])
			if err != nil {
				return err
			}
			data, err := rendered(func(w io.Writer) error { return exportRun(w, dir, s, to, cell, policy, replicate) })
			if err != nil {
				return err
			}
			if out == "" || out == "-" {
				_, err = a.stdout.Write(data)
				return err
			}
			return rundir.WriteFile(out, data)
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "`format`: "+strings.Join(exportNames(), ", "))
	cmd.Flags().StringVarP(&out, "output", "o", "", "`file` to write; standard output if left out")
	cmd.Flags().StringVar(&cell, "cell", "", "`id` of the cell; the first if left out")
	cmd.Flags().StringVar(&policy, "policy", "", "`name` of the policy; the chosen one if left out")
	cmd.Flags().IntVar(&replicate, "replicate", 0, "`number` of the replicate, from 0")
	return cmd
}

func exportRun(w io.Writer, dir *rundir.Dir, s *summary.Summary, to, cellID, policy string, replicate int) error {
	switch {
	case to == "":
		return usagef("export needs --to: one of %s", strings.Join(exportNames(), ", "))
	case !slices.Contains(exportNames(), to):
		return unknown("export format", to, exportNames())
	case to == "benchfmt":
		return s.WriteBench(w)
	}
	cell, policy, err := choose(s, cellID, policy)
	if err != nil {
		return err
	}
	r, err := openLog(dir, cell, policy, replicate)
	if err != nil {
		return err
	}
	defer r.Close()
	if to == "jsonl" {
		return eventlog.WriteJSONL(w, r)
	}
	cfg, err := configOf(r.Header())
	if err != nil {
		return err
	}
	switch to {
	case "perfetto":
		return export.Perfetto(w, cfg[0], eventsOf(r))
	case "csv":
		return export.Items(w, cfg[0], r.Names(), eventsOf(r))
	}
	panic("bug: no such export")
}

// choose finds the cell and the policy that flags name; left out, they are the
// first cell and the policy that the verdict chooses there.
func choose(s *summary.Summary, cellID, policy string) (*summary.Cell, string, error) {
	cell := &s.Cells[0]
	if cellID != "" {
		var ok bool
		if cell, ok = s.CellByID(cellID); !ok {
			var ids []string
			for i := range s.Cells {
				ids = append(ids, s.Cells[i].ID)
			}
			return nil, "", unknown("cell", cellID, ids)
		}
	}
	if policy == "" {
		return cell, chosen(s, cell), nil
	}
	if _, ok := cell.Named(policy); !ok {
		var names []string
		for i := range cell.Policies {
			names = append(names, cell.Policies[i].Policy)
		}
		return nil, "", unknown("policy", policy, names)
	}
	return cell, policy, nil
}

// openLog opens the log of one replicate of a run.
func openLog(dir *rundir.Dir, cell *summary.Cell, policy string, replicate int) (*eventlog.Reader, error) {
	r, err := eventlog.Open(dir.Join(filepath.Join(rundir.Replicate(cell.ID, policy, replicate), "events.log")))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, withHint(fmt.Errorf("there is no event log of policy %s, replicate %d, in cell %s", policy, replicate, cell.ID),
			"replicates count from 0; output: {events: none} keeps no logs")
	}
	return r, err
}

// eventsOf iterates over a log.
func eventsOf(r *eventlog.Reader) iter.Seq2[scheduler.Event, error] {
	return func(yield func(scheduler.Event, error) bool) {
		for {
			batch, err := r.Next()
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(scheduler.Event{}, fmt.Errorf("reading the log: %w", err))
				return
			}
			for _, ev := range batch {
				if !yield(ev, nil) {
					return
				}
			}
		}
	}
}
