package main

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/results/charts"
	"github.com/vramsim/vramsim/results/metrics"
	"github.com/vramsim/vramsim/sim/experiment"
	"github.com/vramsim/vramsim/workloads/importers"
)

// listed is one thing that "vramsim list" prints, with its columns.
type listed struct {
	name string
	head []string
	rows func() [][]string
}

func newList(a *app) *cobra.Command {
	var names []string
	for _, l := range lists() {
		names = append(names, l.name)
	}
	return &cobra.Command{
		Use:       "list " + strings.Join(names, "|"),
		Short:     "print what there is: " + strings.Join(names, ", "),
		ValidArgs: names,
		Args:      exactly(1, "one of "+strings.Join(names, ", ")),
		RunE: func(_ *cobra.Command, args []string) error {
			for _, l := range lists() {
				if l.name == args[0] {
					return a.printList(l)
				}
			}
			return unknown("list", args[0], names)
		},
	}
}

func (a *app) printList(l listed) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(l.head, "\t"))
	for _, row := range l.rows() {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	return w.Flush()
}

// lists are in the order of the help.
func lists() []listed {
	return []listed{
		{name: "policies", head: []string{"NAME", "KIND", "DECLARES", "WHAT IT DOES"}, rows: listPolicies},
		{name: "workloads", head: []string{"SECTION", "NAME", "WHAT IT DOES"}, rows: func() (rows [][]string) {
			for _, k := range experiment.WorkloadKinds() {
				rows = append(rows, []string{k.Section, k.Name, k.About})
			}
			return rows
		}},
		{name: "metrics", head: []string{"NAME", "UNIT", "KIND", "FORMULA"}, rows: listMetrics},
		{name: "charts", head: []string{"NAME", "SHOWS"}, rows: func() (rows [][]string) {
			for _, c := range slices.Concat(charts.All(), charts.Hardware(), charts.Compared()) {
				rows = append(rows, []string{c.Name, c.What})
			}
			return rows
		}},
		{name: "formats", head: []string{"NAME", "FOR", "WHAT IT IS", "ORIGINAL", "LICENCE OF THE ORIGINAL"}, rows: listFormats},
		{name: "templates", head: []string{"NAME", "QUESTION"}, rows: func() (rows [][]string) {
			for _, t := range experiment.Templates() {
				rows = append(rows, []string{t.Name, t.About})
			}
			return rows
		}},
	}
}

func listPolicies() (rows [][]string) {
	for _, e := range policies.Builtin().List() {
		what := e.Doc
		if e.Deviations != "" {
			what += "; the original: " + e.Deviations
		}
		rows = append(rows, []string{e.Name, fmt.Sprint(e.Kind), e.Contracts, what})
	}
	return rows
}

func listFormats() [][]string {
	rows := [][]string{{"native", "run, check, gen", "trace in JSON Lines (.gz, .zst)", "", ""}}
	for _, f := range importers.Formats() {
		rows = append(rows, []string{f.Name, "run, import", f.Input, f.Origin, f.Licence})
	}
	for _, p := range importers.Presets() {
		rows = append(rows, []string{p, "run, import", "csv with the columns of " + p, "", ""})
	}
	for _, f := range importers.LoadFormats() {
		rows = append(rows, []string{f.Name, "calibrate", f.Input, f.Origin, f.Licence})
	}
	for _, f := range exportFormats() {
		rows = append(rows, []string{f.name, "export", f.what, "", ""})
	}
	for _, f := range tableFormats {
		rows = append(rows, []string{f, "run, compare", "--format " + f, "", ""})
	}
	return rows
}

func listMetrics() (rows [][]string) {
	for _, m := range metrics.All() {
		rows = append(rows, []string{m.Name, m.Unit, m.Kind, m.Formula})
	}
	return rows
}
