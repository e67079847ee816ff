package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/vramsim/vramsim/results/explain"
	"github.com/vramsim/vramsim/results/rundir"
	"github.com/vramsim/vramsim/results/summary"
	"github.com/vramsim/vramsim/scheduler"
)

// question is what explain is asked; exactly one of its kinds is given.
type question struct {
	at, item, divergence string
	decision             int64
	cell, policy         string
	replicate            int
}

func newExplain(a *app) *cobra.Command {
	var q question
	cmd := &cobra.Command{
		Use:   "explain RUN --at TIME | --item ID | --decision N | --divergence POLICY",
		Short: "the state at a time, why an item waited, what the policy saw, where two policies part",
		Long: `Explain one simulation of a run from its event log:

    --at 12.5s            devices and queues at that time
    --item video/3/asr/0  when it arrived, was ready and ran, and what the devices did meanwhile
    --decision 118        what the policy saw at that event of the log (export --to jsonl numbers them)
    --divergence sticky   the first decision in which that policy differs, same cell and replicate`,
		Args: exactly(1, "a run directory"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("decision") && q.decision < 0 {
				return usagef("--decision %d: events count from 0", q.decision)
			}
			asked := 0
			for _, flag := range []string{"at", "item", "decision", "divergence"} {
				if cmd.Flags().Changed(flag) {
					asked++
				}
			}
			if asked != 1 {
				return &exitError{code: exitUsage, err: errors.New("explain answers one question at a time"), hint: cmd.UseLine()}
			}
			s, dir, err := readSummary(args[0])
			if err != nil {
				return err
			}
			data, err := rendered(func(w io.Writer) error { return q.answer(w, dir, s) })
			if err != nil {
				return err
			}
			_, err = a.stdout.Write(data)
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&q.at, "at", "", "`time` since the start of the run, like 12.5s")
	flags.StringVar(&q.item, "item", "", "`id` of an item, as the trace or the pipelines name it, or its number")
	flags.Int64Var(&q.decision, "decision", 0, "`number` of an event that is a decision, from 0")
	flags.StringVar(&q.divergence, "divergence", "", "another `policy` of the run")
	flags.StringVar(&q.cell, "cell", "", "`id` of the cell; the first if left out")
	flags.StringVar(&q.policy, "policy", "", "`name` of the policy; the chosen one if left out")
	flags.IntVar(&q.replicate, "replicate", 0, "`number` of the replicate, from 0")
	return cmd
}

func (q *question) answer(w io.Writer, dir *rundir.Dir, s *summary.Summary) error {
	cell, policy, err := choose(s, q.cell, q.policy)
	if err != nil {
		return err
	}
	run, closer, err := explained(dir, cell, policy, q.replicate)
	if err != nil {
		return err
	}
	defer closer.Close()
	if err := q.scope(w, cell, policy); err != nil {
		return err
	}
	switch {
	case q.at != "":
		at, err := scheduler.ParseTime(q.at)
		if err != nil || at < 0 {
			return usagef("--at %q: it is a time since the start of the run, like 12.5s", q.at)
		}
		return explain.At(w, run, at)
	case q.item != "":
		return explain.Item(w, run, q.item)
	case q.divergence != "":
		_, with, err := choose(s, cell.ID, q.divergence)
		if err != nil {
			return err
		}
		other, closer, err := explained(dir, cell, with, q.replicate)
		if err != nil {
			return err
		}
		defer closer.Close()
		return explain.Divergence(w, run, other, [2]string{policy, with})
	}
	return explain.Decision(w, run, q.decision)
}

// scope writes which simulation of the run is explained; a divergence names its
// policies itself.
func (q *question) scope(w io.Writer, cell *summary.Cell, policy string) error {
	text := "Cell " + cell.ID
	for _, path := range summary.Names(cell.Set) {
		text += fmt.Sprintf(" %s=%s", path, cell.Set[path])
	}
	if q.divergence == "" {
		text += ", policy " + policy
	}
	_, err := fmt.Fprintf(w, "%s, replicate %d:\n", text, q.replicate)
	return err
}

// explained opens the log of one replicate with what its core was made of.
func explained(dir *rundir.Dir, cell *summary.Cell, policy string, replicate int) (*explain.Run, io.Closer, error) {
	r, err := openLog(dir, cell, policy, replicate)
	if err != nil {
		return nil, nil, err
	}
	cfg, err := configOf(r.Header())
	if err != nil {
		return nil, nil, errors.Join(err, r.Close())
	}
	return &explain.Run{Config: cfg[0], Names: r.Names(), Events: eventsOf(r)}, r, nil
}
