package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"
)

// app is what all verbs share: the streams and the arguments as given.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	args           []string
	quiet          bool
	verbose        bool
	noColor        bool
	given          []byte // the experiment as it was given, unless it is a file
}

// infof prints a message unless --quiet.
func (a *app) infof(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintln(a.stderr, printable(fmt.Sprintf(format, args...)))
	}
}

func (a *app) warnf(format string, args ...any) { a.infof("warning: "+format, args...) }

// terminal reports whether messages go to a person's terminal.
func (a *app) terminal() bool {
	f, ok := a.stderr.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "vramsim",
		Short: "which scheduling policy for ML models that share GPUs which cannot hold them all",
		Long: `vramsim replays a workload of ML models through scheduling policies on GPUs
that cannot hold all of them, and says which policy to use: model switches,
latency, fairness and distance from the bound, with honest statistics.

Start with "vramsim run": it compares the built-in policies on the built-in
experiment. "vramsim init" writes the templates to change.

Results go to standard output, messages to standard error. Exit codes:
` + exitTable(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return unknownVerb(cmd, args[0])
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &exitError{code: exitUsage, err: flagError(err), hint: fmt.Sprintf("%s --help lists the flags", cmd.CommandPath())}
	})
	flags := root.PersistentFlags()
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "no messages, only results")
	flags.BoolVarP(&a.verbose, "verbose", "v", false, "a message for each simulation")
	flags.BoolVar(&a.noColor, "no-color", os.Getenv("NO_COLOR") != "", "no colours (also NO_COLOR)")
	root.AddCommand(newRun(a), newSweep(a), newCompare(a), newReport(a), newPlot(a), newGen(a),
		newCheck(a), newReplay(a), newExport(a), newInit(a), newList(a), newSchema(a), newImport(a), newCalibrate(a), newTrace(a), newExplain(a), newGPU(a), newFidelity(a), newMan(a), newVersion(a))
	return root
}

// flagError says of a number that is none what was expected, in place of how
// it was read.
func flagError(err error) error {
	var wrong *pflag.InvalidValueError
	var number *strconv.NumError
	if !errors.As(err, &wrong) || !errors.As(err, &number) {
		return err
	}
	want := "a number"
	switch wrong.GetFlag().Value.Type() {
	case "uint64":
		want = "an integer from 0 to 18446744073709551615"
	case "int", "int64":
		want = "an integer"
	case "bool":
		want = "true or false"
	}
	if errors.Is(err, strconv.ErrRange) {
		want += "; this is out of range"
	}
	return fmt.Errorf("invalid argument %q for --%s: expected %s", wrong.GetValue(), wrong.GetFlag().Name, want)
}

// exitTable is the list of exit codes as the help shows it.
func exitTable() string {
	var b strings.Builder
	for _, e := range exits() {
		fmt.Fprintf(&b, "\n    %3d  %s", e.code, e.means)
	}
	return b.String()
}

func unknownVerb(cmd *cobra.Command, verb string) error {
	hint := "vramsim --help lists the commands"
	if near := cmd.SuggestionsFor(verb); len(near) > 0 {
		hint = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return &exitError{code: exitUsage, err: fmt.Errorf("there is no command %q", verb), hint: hint}
}

// exactly is cobra's argument check with the verb's own words.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		return &exitError{code: exitUsage, err: fmt.Errorf("%s needs %s", cmd.CommandPath(), what), hint: cmd.UseLine()}
	}
}

// experimentFlags are the flags of every verb that reads an experiment file.
type experimentFlags struct {
	set        []string
	policies   []string
	seed       uint64
	replicates int
	quick      bool
	repeats    bool // replicates differ whatever the file says; no flag
}

func (f *experimentFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&f.set, "set", nil, "`path=value`: change the experiment, like hardware.gpus[0].memory=8GB (repeatable)")
	flags.StringArrayVar(&f.policies, "policy", nil, "`name` of a policy; replaces the list of the file (repeatable)")
	flags.Uint64Var(&f.seed, "seed", 0, "`number` that all randomness comes from")
	flags.IntVar(&f.replicates, "replicates", 0, "`number` of runs with other draws of the same randomness")
	flags.BoolVar(&f.quick, "quick", false, "a twentieth of the duration and 3 replicates: a first look, not for citing")
}

// outputFlags are the flags of every verb that runs one.
type outputFlags struct {
	jobs   int
	out    string
	format string
	dryRun bool
	shard  shard // sweep only
}

var tableFormats = []string{"table", "md", "json", "csv", "benchfmt"}

func (f *outputFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.IntVarP(&f.jobs, "jobs", "j", runtime.GOMAXPROCS(0), "`number` of simulations at once")
	flags.StringVarP(&f.out, "out", "o", "runs", "`folder` that run directories are made in")
	addFormat(cmd, &f.format)
	flags.BoolVar(&f.dryRun, "dry-run", false, "say what would be run, and stop")
}

func addFormat(cmd *cobra.Command, format *string) {
	cmd.Flags().StringVar(format, "format", "table", "`form` of the results: "+strings.Join(tableFormats, ", "))
}

func checkFormat(format string) error {
	for _, f := range tableFormats {
		if f == format {
			return nil
		}
	}
	return unknown("format", format, tableFormats)
}

func (f *outputFlags) validate() error {
	if f.jobs < 1 {
		return usagef("--jobs %d: at least 1", f.jobs)
	}
	return checkFormat(f.format)
}
