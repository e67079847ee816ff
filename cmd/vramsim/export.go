package main

import (
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vramsim/vramsim/results/eventlog"
	"github.com/vramsim/vramsim/results/export"
	"github.com/vramsim/vramsim/results/rundir"
	"github.com/vramsim/vramsim/results/summary"
	"github.com/vramsim/vramsim/scheduler"
)

var exportFormats = []string{"perfetto", "csv", "jsonl", "benchfmt"}

func newExport(a *app) *cobra.Command {
	var to, out, cell, policy string
	var replicate int
	cmd := &cobra.Command{
		Use:   "export RUN --to " + strings.Join(exportFormats, "|"),
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
	cmd.Flags().StringVar(&to, "to", "", "`format`: "+strings.Join(exportFormats, ", "))
	cmd.Flags().StringVarP(&out, "output", "o", "", "`file` to write; standard output if left out")
	cmd.Flags().StringVar(&cell, "cell", "", "`id` of the cell; the first if left out")
	cmd.Flags().StringVar(&policy, "policy", "", "`name` of the policy; the chosen one if left out")
	cmd.Flags().IntVar(&replicate, "replicate", 0, "`number` of the replicate, from 0")
	return cmd
}

func exportRun(w io.Writer, dir *rundir.Dir, s *summary.Summary, to, cellID, policy string, replicate int) error {
	if to == "benchfmt" {
		return s.WriteBench(w)
	}
	cell := &s.Cells[0]
	if cellID != "" {
		var ok bool
		if cell, ok = s.CellByID(cellID); !ok {
			return usagef("the run has no cell %q", cellID)
		}
	}
	if policy == "" {
		policy = chosen(s, cell)
	}
	r, err := eventlog.Open(dir.Join(filepath.Join(rundir.Replicate(cell.ID, policy, replicate), "events.log")))
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
	return usagef("--to %q: it is one of %s", to, strings.Join(exportFormats, ", "))
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
