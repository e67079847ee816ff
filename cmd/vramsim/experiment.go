package main

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/sim/experiment"
)

// load reads the experiment that the arguments name: a file, "-" for standard
// input, or by default ./experiment.yaml or the built-in experiment.
func (a *app) load(cmd *cobra.Command, args []string, flags *experimentFlags) (*experiment.Experiment, error) {
	opts := experiment.Options{Set: flags.set, Policies: flags.policies, Replicates: flags.replicates, Quick: flags.quick, Repeats: flags.repeats, Search: traceFolders()}
	if cmd.Flags().Changed("seed") {
		opts.Seed = &flags.seed
	}
	if cmd.Flags().Changed("replicates") && flags.replicates < 1 {
		return nil, usagef("--replicates %d: at least 1", flags.replicates)
	}
	exp, err := a.open(args, opts)
	if err != nil {
		return nil, err
	}
	if !exp.NeedSeed {
		return exp, nil
	}
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return nil, &exitError{code: exitInternal, err: err}
	}
	seed := binary.LittleEndian.Uint64(b[:]) >> 32
	a.infof("seed: %d (drawn; --seed %d repeats this run)", seed, seed)
	return exp.WithSeed(seed)
}

func (a *app) open(args []string, opts experiment.Options) (*experiment.Experiment, error) {
	if len(args) == 0 || !large(args[0]) {
		defer frugal()() // it may name a large trace
	}
	set := policies.Builtin()
	const usual = "experiment.yaml"
	switch {
	case len(args) == 0:
		if data, err := os.ReadFile(usual); err == nil {
			a.infof("experiment: ./%s", usual)
			a.given = data
			return experiment.Load(usual, set, opts)
		}
		t := experiment.Templates()[0]
		a.given = t.Files[0].Data
		a.infof("experiment: the built-in %s (vramsim init writes it as a file)", t.Name)
		return experiment.Parse(t.Files[0].Name, ".", t.Files[0].Data, set, opts)
	case args[0] == "-":
		data, err := io.ReadAll(io.LimitReader(a.stdin, 64<<20))
		if err != nil {
			return nil, err
		}
		a.given = data
		return experiment.Parse("<stdin>", ".", data, set, opts)
	}
	return experiment.Load(args[0], set, opts)
}

// large reports whether a file is so large an experiment that reading it leaves
// much garbage: a catalogue of many thousands of models.
func large(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Size() > 1<<20
}

// traceFolders are where files are looked for that are not beside the
// experiment: here, for names from the command line, and where recorded traces lie.
func traceFolders() []string {
	if dir := os.Getenv("VRAMSIM_TRACES"); dir != "" {
		return []string{".", dir}
	}
	return []string{".", filepath.Join("..", "shared", "traces")}
}

// announce prints what the experiment warns of, once if it is true of all cells.
func (a *app) announce(exp *experiment.Experiment) []string {
	var all []string
	for _, cell := range exp.Cells {
		for _, w := range cell.Warnings {
			if everywhere := !slices.ContainsFunc(exp.Cells, func(c *experiment.Cell) bool { return !slices.Contains(c.Warnings, w) }); everywhere {
				if slices.Contains(all, w) {
					continue
				}
			} else {
				w = fmt.Sprintf("cell %s%s: %s", cell.ID, settings(cell), w)
			}
			all = append(all, w)
			a.warnf("%s", w)
		}
	}
	return all
}

// settings says what makes a cell different.
func settings(cell *experiment.Cell) string {
	text := ""
	for _, s := range cell.Set {
		text += fmt.Sprintf(" %s=%s", s.Path, s.Value)
	}
	return text
}
