package main

import (
	"github.com/spf13/cobra"

	"github.com/vramsim/vramsim/sim/experiment"
)

func newSchema(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "JSON Schema of the experiment file, for editors",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := a.stdout.Write(experiment.Schema())
			return err
		},
	}
}
