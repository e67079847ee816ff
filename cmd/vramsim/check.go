package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/sim/experiment"
	"github.com/vramsim/vramsim/workloads"
	"github.com/vramsim/vramsim/workloads/containers"
)

func newCheck(a *app) *cobra.Command {
	var in experimentFlags
	var tests policyFlags
	cmd := &cobra.Command{
		Use:   "check FILE... | check --policy POLICY [FILE]",
		Short: "validate experiments, with the traces they name, native traces and profiles, without running them; --policy: test a policy",
		Long: `Validate experiments, with the traces they name, native traces and profiles,
without running them.

With --policy test a policy by its properties, in random worlds: invariants and
replays, the contracts that it declares, relations that must hold between two
runs, and how bad an adversary can make it look. POLICY is a name, YAML like
'{use: max-wait, params: {wait: 30s}}', or a file with that; with FILE it is one
of that experiment, by the name that it has there. What is broken is made small
and written to counterexample/experiment.yaml with its trace.jsonl below --out,
never over another, and the command ends with 4.

Every property holds, is BROKEN, is not declared by the policy (a witness shows
that it does not hold, if one was found), or does not apply (n/a). The same seed
gives the same output at any -j; --quick tries a twentieth.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 || len(in.policies) > 0 {
				return nil
			}
			return &exitError{code: exitUsage, err: errors.New("check needs a file, or --policy and a policy"), hint: cmd.UseLine()}
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := tests.validate(cmd, len(in.policies) > 0); err != nil {
				return err
			}
			if len(in.policies) > 0 {
				return a.testPolicies(cmd, args, &in, &tests)
			}
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
	tests.add(cmd)
	return cmd
}

// testPolicies tests those that --policy names, by themselves or as an
// experiment has them.
func (a *app) testPolicies(cmd *cobra.Command, args []string, in *experimentFlags, tests *policyFlags) error {
	if len(args) == 0 {
		for _, flag := range []string{"set", "replicates"} {
			if cmd.Flags().Changed(flag) {
				return usagef("--%s goes with a file only: random worlds are no experiment", flag)
			}
		}
		given, err := givenPolicies(in.policies)
		if err != nil {
			return err
		}
		return a.checkPolicies(cmd.Context(), policies.Builtin(), given, in, tests)
	}
	if len(args) > 1 {
		return usagef("--policy takes one experiment, not %d", len(args))
	}
	exp, err := a.load(cmd, args, in)
	if err != nil {
		return err
	}
	var given []*experiment.Single
	for i := range exp.Cells[0].Policies {
		given = append(given, exp.Cells[0].Single(i))
	}
	return a.checkPolicies(cmd.Context(), policies.Builtin(), given, in, tests)
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
