package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vramsim/vramsim/sim/experiment"
	"github.com/vramsim/vramsim/workloads"
	"github.com/vramsim/vramsim/workloads/containers"
)

func newCheck(a *app) *cobra.Command {
	var in experimentFlags
	cmd := &cobra.Command{
		Use:   "check FILE...",
		Short: "validate experiments, with the traces they name, native traces and profiles, without running them",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var all []error
			for _, path := range args {
				if isTrace(path) {
					if err := a.checkTrace(path); err != nil {
						all = append(all, err)
					}
					continue
				}
				if isProfile(path) {
					if err := a.checkProfile(path); err != nil {
						all = append(all, err)
					}
					continue
				}
				exp, err := a.load(cmd, []string{path}, &in)
				if err != nil {
					all = append(all, err)
					continue
				}
				a.announce(exp)
				fmt.Fprintf(a.stdout, "%s: valid: %s, %s, %s\n", path, plural(len(exp.Cells), "cell", "cells"),
					plural(len(exp.Cells[0].Policies), "policy", "policies"), plural(exp.Replicates, "replicate", "replicates"))
			}
			return errors.Join(all...)
		},
	}
	in.add(cmd)
	return cmd
}

// isTrace tells a native trace from an experiment: by its name, or by its first
// line.
func isTrace(path string) bool {
	name := strings.TrimSuffix(strings.TrimSuffix(path, ".gz"), ".zst")
	if strings.HasSuffix(name, ".jsonl") {
		return true
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	content, err := containers.Open(f, containers.Limits{})
	if err != nil {
		return name != path
	}
	defer content.Close()
	head := make([]byte, 512)
	n, _ := io.ReadFull(content, head)
	return strings.HasPrefix(strings.ReplaceAll(string(head[:n]), " ", ""), `{"vramsim":"trace"`)
}

// isProfile tells a profile from an experiment: by its keys.
func isProfile(path string) bool {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() > 64<<20 {
		return false
	}
	data, err := os.ReadFile(path)
	return err == nil && experiment.IsProfile(data)
}

func (a *app) checkProfile(path string) error {
	p, err := experiment.LoadProfile(path)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "%s: valid: %s\n", path, experiment.ProfileSummary(p))
	return err
}

func (a *app) checkTrace(path string) error {
	defer frugal()()
	t, err := workloads.OpenFile(path, workloads.TraceOptions{})
	if err != nil {
		return err
	}
	first, last := t.Span()
	_, err = fmt.Fprintf(a.stdout, "%s: valid: a trace of %d items, %d models, from %v to %v\n", path, t.Items(), len(t.Models()), first, last)
	return err
}
