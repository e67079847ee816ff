package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/vramsim/vramsim/workloads"
)

func newGen(a *app) *cobra.Command {
	var in experimentFlags
	var out string
	var replicate int
	cmd := &cobra.Command{
		Use:   "gen FILE -o TRACE",
		Short: "write the workload of an experiment as a native trace",
		Args:  exactly(1, "an experiment file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			exp, err := a.load(cmd, args, &in)
			if err != nil {
				return err
			}
			cell := exp.Cells[0]
			if replicate < 0 || replicate >= max(1, cell.Replicates) {
				return usagef("--replicate %d: from 0 to %d", replicate, max(0, cell.Replicates-1))
			}
			source, closer, err := cell.Open(replicate)
			if err != nil {
				return err
			}
			if closer != nil {
				defer closer.Close()
			}
			names := make([]string, len(cell.Models))
			for i := range names {
				names[i] = cell.Models[i].Name
			}
			return a.writeTrace(cmd.Context(), out, func(w io.Writer) (int64, error) { return workloads.Record(w, source, names) })
		},
	}
	in.add(cmd)
	cmd.Flags().StringVarP(&out, "output", "o", "-", "`file` to write (.gz, .zst: compressed), - for standard output")
	cmd.Flags().IntVar(&replicate, "replicate", 0, "`number` of the replicate, from 0")
	return cmd
}
