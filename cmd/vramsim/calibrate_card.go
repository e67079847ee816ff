package main

import (
	"github.com/spf13/cobra"

	"github.com/vramsim/vramsim/nvml/profile"
)

// cardFlags say what is measured on a device, and by what.
type cardFlags struct {
	executorFlags
	stages string
}

func (f *cardFlags) add(cmd *cobra.Command) {
	f.executorFlags.add(cmd)
	cmd.Flags().StringVar(&f.stages, "stages", "link,models", "`list` of what is measured")
}

func (a *app) fromCard(cmd *cobra.Command, args []string, in *calibrateFlags) (*profile.Profile, []string, error) {
	return nil, nil, &exitError{code: exitHardware, err: nil}
}
