package main

import "github.com/spf13/cobra"

func newGPU(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "gpu",
		Short: "on the physical card: is it ready, and the experiment itself",
		Args:  exactly(0, "a command: doctor, run or worker"),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newGPUDoctor(a), newGPURun(a), newGPUWorker(a), newGPUHold(a))
	return cmd
}
