package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/workloads"
	"github.com/vramsim/vramsim/workloads/importers"
	"github.com/vramsim/vramsim/workloads/tracestats"
)

func newTrace(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trace stats|lint TRACE",
		Short: "describe a trace by numbers, or say what is doubtful about it",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &exitError{code: exitUsage, err: fmt.Errorf("there is no command %q of trace", args[0]), hint: "vramsim trace stats|lint TRACE"}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newTraceStats(a), newTraceLint(a))
	return cmd
}

func newTraceStats(a *app) *cobra.Command {
	var as, format string
	cmd := &cobra.Command{
		Use:   "stats TRACE",
		Short: "how bursty its arrivals are, how skewed and how sticky its models",
		Long: `Describe a trace by numbers. Times are in seconds, moments those of the
population, and windows begin at the first arrival. What a trace is too short or
too uniform for is left out.

` + statsHelp,
		Args: exactly(1, "a trace, - for standard input"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if format != "table" && format != "json" {
				return usagef("--format %q: it is table or json", format)
			}
			read, err := a.readTrace(cmd.Context(), args[0], as, false)
			if err != nil {
				return err
			}
			return a.printStats(tracestats.Of(read.times, read.models), format)
		},
	}
	cmd.Flags().StringVar(&as, "as", "", "`format` of the file, if it is no native trace: "+strings.Join(importFormats(), ", "))
	cmd.Flags().StringVar(&format, "format", "table", "`form` of the result: table, json")
	return cmd
}

const statsHelp = `n, dur_s, rate                items, seconds from the first to the last, (n-1)/dur_s
cv, B, M, zero_iat            of the gaps: coefficient of variation, (cv-1)/(cv+1), correlation of neighbours, share of zeros
idcW, pmrW                    counts in windows of W s: variance over mean, maximum over mean
wcvW                          median cv of the gaps within windows of at least 20 arrivals
H                             Hurst parameter, from the growth of idc
diurnal_a1, acf24h, acf1h     first harmonic of the day, autocorrelation of hourly counts (from 48 hours on)
hour_max_mean, hour_min_mean  largest and smallest mean hour of the day, over the mean
K, topN, Neff, Hnorm, gini    models, share of the N most frequent, e^entropy, entropy/ln K, Gini coefficient
zipf_s, zipf_ks               most likely exponent on ranks, its distance
switch, switch_iid, locality  share of items of another model than the one before, that of independent draws, their ratio
lru_missC, min_missC          miss ratio of C equal slots under LRU and Belady's optimum
wsW, busywinW                 mean number of models in windows with arrivals, share of such windows
activG_per_h                  how often a model arrives after more than G s without
permodel_cv_med|max|n         cv of the gaps of models with at least 20 items`

func newTraceLint(a *app) *cobra.Command {
	var as string
	cmd := &cobra.Command{
		Use:   "lint TRACE",
		Short: "errors of a trace, and what is doubtful about it",
		Long: `Check a trace: its errors, with exit code 2, or else what is doubtful about it:
few items, times on a grid of a second or more, a rate that drifts by more than
3x, rows that are the same but for their id, and what looks made up.`,
		Args: exactly(1, "a trace, - for standard input"),
		RunE: func(cmd *cobra.Command, args []string) error {
			read, err := a.readTrace(cmd.Context(), args[0], as, true)
			if err != nil {
				return err
			}
			found := tracestats.Lint(read.times, read.models)
			if read.twice > 0 {
				found = append(found, fmt.Sprintf("%d rows are the same as another but for their id", read.twice))
			}
			for _, what := range found {
				fmt.Fprintf(a.stdout, "%s: warning: %s\n", read.name, printable(what))
			}
			a.infof("%s: right: %d items, %d models, %d warnings", read.name, len(read.times), read.kinds, len(found))
			return nil
		},
	}
	cmd.Flags().StringVar(&as, "as", "", "`format` of the file, if it is no native trace: "+strings.Join(importFormats(), ", "))
	return cmd
}

// arrivalsRead is what the tools look at.
type arrivalsRead struct {
	name   string
	times  []scheduler.Time
	models []int // numbered in the order of their first items
	kinds  int
	twice  int // rows that stood there before but for their id
}

// readTrace reads a native trace, or one of a foreign format; duplicates says
// whether to look for rows that are there twice.
func (a *app) readTrace(ctx context.Context, path, as string, duplicates bool) (read *arrivalsRead, err error) {
	defer frugal()()
	file, name, done, err := a.spooled(ctx, path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, done()) }()
	var trace *workloads.Trace
	if as == "" {
		trace, err = workloads.Open(name, func() (io.ReadCloser, error) { return os.Open(file) }, workloads.TraceOptions{})
	} else {
		opt := importers.Options{Interrupted: func() error { return context.Cause(ctx) }}
		if name != file {
			opt.Name = name
		}
		if as == "disb" {
			opt.Continuous = "skip"
		}
		trace, _, err = importers.Open(file, as, opt, workloads.TraceOptions{})
	}
	if err != nil {
		return nil, err
	}
	read = &arrivalsRead{name: name, times: make([]scheduler.Time, 0, trace.Items()), models: make([]int, 0, trace.Items())}
	return read, read.fill(ctx, trace, duplicates)
}

func (r *arrivalsRead) fill(ctx context.Context, trace *workloads.Trace, duplicates bool) error {
	number := map[string]int{}
	for i, m := range trace.Models() {
		number[m.Name] = i
	}
	r.kinds = len(number)
	var rows workloads.Names
	err := trace.Each(func(item *workloads.Item) error {
		r.times, r.models = append(r.times, item.At), append(r.models, number[item.Model])
		if duplicates {
			if _, old := rows.Add(butForID(item)); old {
				r.twice++
			}
		}
		return context.Cause(ctx)
	})
	return err
}

func butForID(item *workloads.Item) string {
	return fmt.Sprintf("%q %q %q %d %d %d %d %d %q", item.Job, item.Model, item.Tenant, item.At, item.Priority, item.Deadline, item.Work, item.Service, item.After)
}

func (a *app) printStats(f tracestats.Features, format string) error {
	if format == "json" {
		// One object in the order of the list, which a map would lose.
		var b strings.Builder
		for i, x := range f {
			value, err := json.Marshal(x.Value)
			if err != nil {
				return err
			}
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, "\n %q: %s", x.Name, value)
		}
		_, err := fmt.Fprintf(a.stdout, "{%s\n}\n", b.String())
		return err
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, x := range f {
		text := strings.TrimRight(strconv.FormatFloat(x.Value, 'f', 6, 64), "0")
		fmt.Fprintf(w, "%s\t%s\n", x.Name, strings.TrimSuffix(text, "."))
	}
	return w.Flush()
}
