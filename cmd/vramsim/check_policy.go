package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/policies/policytest"
	"github.com/vramsim/vramsim/results/rundir"
	"github.com/vramsim/vramsim/sim/experiment"
)

// policyFlags are the flags of the test of a policy.
type policyFlags struct {
	jobs   int
	out    string
	format string
}

func (f *policyFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.Lookup("policy").Usage = "test the policy of this `name`, YAML or file (repeatable); with FILE one of that experiment"
	flags.Lookup("seed").Usage += "; with --policy, that of the random worlds"
	flags.Lookup("quick").Usage = "with --policy: a twentieth of the worlds; of a file: that of run --quick"
	flags.IntVarP(&f.jobs, "jobs", "j", runtime.GOMAXPROCS(0), "with --policy: `number` of worlds at once")
	flags.StringVarP(&f.out, "out", "o", ".", "with --policy: `folder` that counterexamples are written to")
	flags.StringVar(&f.format, "format", "table", "with --policy: `form` of the results: "+strings.Join(policyFormats, ", "))
}

var policyFormats = []string{"table", "json"}

// validate refuses what would change nothing or is wrong.
func (f *policyFlags) validate(cmd *cobra.Command, tests bool) error {
	if !tests {
		for _, flag := range []string{"jobs", "out", "format"} {
			if cmd.Flags().Changed(flag) {
				return usagef("--%s goes with --policy only: files are checked without running anything", flag)
			}
		}
		return nil
	}
	if f.jobs < 1 {
		return usagef("--jobs %d: at least 1", f.jobs)
	}
	for _, format := range policyFormats {
		if format == f.format {
			return nil
		}
	}
	return unknown("format", f.format, policyFormats)
}

// givenPolicies reads the policies that --policy names: a name, YAML, or a
// file that holds one.
func givenPolicies(texts []string) ([]*experiment.Single, error) {
	var all []*experiment.Single
	for _, text := range texts {
		name := "--policy"
		ext := strings.ToLower(filepath.Ext(text))
		switch {
		case strings.HasPrefix(strings.TrimSpace(text), "{"):
		case ext == ".star":
			return nil, usagef("--policy %s: scripts are not supported by this build", text)
		case ext == ".yaml" || ext == ".yml":
			data, err := os.ReadFile(text)
			if err != nil {
				return nil, err
			}
			name, text = text, string(data)
		}
		one, err := experiment.ParsePolicy(name, text)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

// checkPolicies tests policies and reports. What is broken makes it fail.
func (a *app) checkPolicies(ctx context.Context, set *policies.Set, given []*experiment.Single, in *experimentFlags, f *policyFlags) error {
	var reports []policyReport
	var unwritten error
	broken := 0
	for _, one := range given {
		cfg := policytest.Config{Set: set, Spec: one.Spec, Seed: in.seed}
		if in.quick {
			cfg.Cases, cfg.Evaluations = policytest.QuickCases, policytest.QuickEvaluations
		}
		suite, err := policytest.New(cfg)
		if err != nil {
			return one.Placed(err)
		}
		if err := a.doAll(ctx, suite, f.jobs); err != nil {
			return err
		}
		report := policyReport{Schema: "vramsim/check/1", Report: suite.Report()}
		for _, row := range report.Broken() {
			folder, err := a.writeCounterexample(f.out, report.Policy, &row)
			unwritten = errors.Join(unwritten, err)
			report.folders = append(report.folders, folder) // empty if it was not written
			broken++
		}
		reports = append(reports, report)
		if f.format == "table" {
			if err := report.print(a.stdout); err != nil {
				return err
			}
		}
	}
	if f.format == "json" {
		if err := printReports(a, reports); err != nil {
			return err
		}
	}
	if unwritten != nil {
		return unwritten
	}
	if broken > 0 {
		return &exitError{code: exitInvariant, err: fmt.Errorf("%s", plural(broken, "property is broken", "properties are broken"))}
	}
	return nil
}

// doAll does the jobs of a suite, some at once.
func (a *app) doAll(ctx context.Context, suite *policytest.Suite, jobs int) error {
	bar := a.newProgress(suite.Jobs(), "worlds")
	defer bar.close()
	queue := make(chan int)
	var workers sync.WaitGroup
	for range min(jobs, suite.Jobs()) {
		workers.Go(func() {
			for i := range queue {
				suite.Do(i)
				bar.done()
			}
		})
	}
	for i := 0; i < suite.Jobs() && ctx.Err() == nil; i++ {
		select {
		case queue <- i:
		case <-ctx.Done():
		}
	}
	close(queue)
	workers.Wait()
	return ctx.Err()
}

// policyReport is a report and where its counterexamples are.
type policyReport struct {
	Schema string
	*policytest.Report
	folders []string // of the broken rows, in their order
}

func (r *policyReport) print(w io.Writer) error {
	fmt.Fprintf(w, "%s declares, for one GPU and %s: %s\n\n", r.Policy, plural(r.Models, "model", "models"), r.Contracts)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PROPERTY\tCASES\tRESULT\t")
	for _, row := range r.Results {
		note, _, _ := strings.Cut(row.What, "\n")
		if row.Status == policytest.NotDeclared && row.World != nil {
			note = "witness: " + note
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\n", row.Property, row.Cases, row.Status, note)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for i, row := range r.Broken() {
		fmt.Fprintf(w, "\n%s is BROKEN: %s\n  in %v\n", row.Property, row.What, row.World)
		for _, line := range reproduce(r.folders[i], &row) {
			fmt.Fprintf(w, "  %s\n", line)
		}
	}
	if len(r.Worst) > 0 {
		fmt.Fprintf(w, "\nThe worst found in %d worlds each:\n", r.Worst[0].Evaluations)
	}
	for i := range r.Worst {
		worst := &r.Worst[i]
		fmt.Fprintf(w, "%s: %s\n", worst.Objective, worst.Figure())
		if worst.World != nil {
			fmt.Fprintf(w, "  in %v\n", worst.World)
		}
	}
	_, err := fmt.Fprintln(w)
	return err
}

// reproduce returns the commands that show a counterexample.
func reproduce(folder string, row *policytest.Result) []string {
	if folder == "" {
		return nil
	}
	lines := []string{"vramsim run " + shellWord(filepath.Join(folder, "experiment.yaml"))}
	if row.Changed() {
		lines = append(lines, "vramsim run "+shellWord(filepath.Join(folder, "changed.yaml"))+"   # "+row.Runs[1].What)
	}
	if row.Property == policytest.Pure || row.Property == policytest.Replays {
		lines = append(lines, "vramsim replay runs/counterexample/latest --verify")
	}
	return lines
}

// shellWord is a path as a shell takes it.
func shellWord(path string) string {
	if strings.ContainsAny(path, " \t\n'\"\\$&|;<>()*?[]#~`!{}") {
		return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	return path
}

// propertyJSON is a row of the JSON form.
type propertyJSON struct {
	Property string `json:"property"`
	Cases    int    `json:"cases"`
	Result   string `json:"result"`
	What     string `json:"what,omitempty"`
	World    string `json:"world,omitempty"`
	// Counterexample is the folder, Run what to type.
	Counterexample string   `json:"counterexample,omitempty"`
	Run            []string `json:"run,omitempty"`
}

type worstJSON struct {
	Objective   string  `json:"objective"`
	Evaluations int     `json:"evaluations"`
	Value       float64 `json:"value"`
	World       string  `json:"world,omitempty"`
}

type policyJSON struct {
	Schema     string         `json:"schema"`
	Policy     string         `json:"policy"`
	Contracts  string         `json:"contracts"`
	Seed       uint64         `json:"seed"`
	Properties []propertyJSON `json:"properties"`
	Worst      []worstJSON    `json:"worst"`
}

// printReports prints one JSON value a policy.
func printReports(a *app, reports []policyReport) error {
	out := json.NewEncoder(a.stdout)
	out.SetIndent("", "  ")
	out.SetEscapeHTML(false)
	for i := range reports {
		if err := out.Encode(reports[i].json()); err != nil {
			return err
		}
	}
	return nil
}

func (r *policyReport) json() policyJSON {
	all := policyJSON{Schema: r.Schema, Policy: r.Policy, Contracts: r.Contracts, Seed: r.Seed, Worst: []worstJSON{}}
	broken := 0
	for _, row := range r.Results {
		p := propertyJSON{Property: string(row.Property), Cases: row.Cases, Result: string(row.Status), What: row.What}
		if row.World != nil {
			p.World = row.World.String()
		}
		if row.Status == policytest.Broken {
			p.Counterexample, p.Run = r.folders[broken], reproduce(r.folders[broken], &row)
			broken++
		}
		all.Properties = append(all.Properties, p)
	}
	for i := range r.Worst {
		worst := worstJSON{Objective: r.Worst[i].Objective, Evaluations: r.Worst[i].Evaluations, Value: r.Worst[i].Value()}
		if r.Worst[i].World != nil {
			worst.World = r.Worst[i].World.String()
		}
		all.Worst = append(all.Worst, worst)
	}
	return all
}

// writeCounterexample writes what shows that a property is broken into a new
// folder, as a whole or not at all, and returns it.
func (a *app) writeCounterexample(out, policy string, row *policytest.Result) (folder string, err error) {
	if err := os.MkdirAll(out, 0o777); err != nil {
		return "", withHint(err, "--out names the folder that counterexamples are written to")
	}
	half, err := os.MkdirTemp(out, ".counterexample-*")
	if err != nil {
		return "", withHint(err, "--out names the folder that counterexamples are written to")
	}
	defer os.RemoveAll(half)
	for i, run := range row.Runs {
		if i > 0 && !row.Changed() {
			break
		}
		file, trace, specs := "experiment.yaml", "trace.jsonl", []policies.Spec{run.Spec}
		if i > 0 {
			file, trace = "changed.yaml", "changed.jsonl"
		} else if len(row.Runs) > 1 && !row.Changed() {
			specs = append(specs, row.Runs[1].Spec)
		}
		question := fmt.Sprintf("%s: %s is broken: %s", policy, row.Property, row.What)
		text, items, err := experiment.OfWorld(run.World, "counterexample", printable(question), trace, specs)
		if err == nil {
			err = errors.Join(rundir.WriteFile(filepath.Join(half, file), text), rundir.WriteFile(filepath.Join(half, trace), items))
		}
		if err != nil {
			return "", err
		}
	}
	if err := os.Chmod(half, 0o755); err != nil {
		return "", err
	}
	return intoPlace(half, filepath.Join(out, "counterexample"))
}

// intoPlace renames a folder to a name that is not taken: the given one, or
// with a number.
func intoPlace(half, name string) (string, error) {
	for i := 1; ; i++ {
		folder := name
		if i > 1 {
			folder += "-" + strconv.Itoa(i)
		}
		if _, err := os.Lstat(folder); err == nil {
			continue
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		return folder, os.Rename(half, folder)
	}
}
