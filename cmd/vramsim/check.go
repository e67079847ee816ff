package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

func newCheck(a *app) *cobra.Command {
	var in experimentFlags
	cmd := &cobra.Command{
		Use:   "check FILE...",
		Short: "validate experiments, with the traces they name, without running them",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var all []error
			for _, path := range args {
				exp, err := a.load([]string{path}, &in, cmd.Flags().Changed("seed"))
				if err != nil {
					all = append(all, err)
					continue
				}
				a.announce(exp)
				fmt.Fprintf(a.stdout, "%s: right: %d cells, %d policies, %d replicates\n", path, len(exp.Cells), len(exp.Cells[0].Policies), exp.Replicates)
			}
			return errors.Join(all...)
		},
	}
	in.add(cmd)
	return cmd
}
