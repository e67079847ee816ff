package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/vramsim/vramsim/nvml/worker"
	"github.com/vramsim/vramsim/results/rundir"
)

func newGPUWorker(a *app) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "worker -o worker.py",
		Short: "write the reference worker: five architectures in torch, with random weights",
		Long: `Write the reference worker for --executor worker: Whisper large-v3, VideoMAE-L,
CLAP, Qwen3-0.6B and DINOv3 ViT-L/16 in torch and transformers, with seeded
random weights; it downloads nothing. Experiments name its models whisper,
videomae, clap, qwen3 and dinov3.

    vramsim gpu worker -o worker.py
    vramsim gpu run FILE --executor worker --worker 'python3 worker.py'`,
		Args: exactly(0, "no arguments"),
		RunE: func(*cobra.Command, []string) error {
			if out == "-" {
				_, err := a.stdout.Write(worker.Script())
				return err
			}
			if err := rundir.WriteFile(out, worker.Script()); err != nil {
				return err
			}
			_, err := fmt.Fprintln(a.stdout, out)
			return err
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "-", "`file` to write, - for standard output")
	return cmd
}
