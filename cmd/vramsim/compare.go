package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/vramsim/vramsim/results/rundir"
	"github.com/vramsim/vramsim/results/summary"
	"github.com/vramsim/vramsim/results/table"
)

func newCompare(a *app) *cobra.Command {
	var format string
	var unpaired bool
	cmd := &cobra.Command{
		Use:   "compare RUN RUN...",
		Short: "compare finished runs",
		Long: `Compare finished runs, cell by cell: policies are named policy@run. Replicates
are paired where workload and seeds match, and the warm-up if it was found;
runs for which they do not are refused without --unpaired, which uses Welch's test.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) >= 2 {
				return nil
			}
			return &exitError{code: exitUsage, err: errors.New("compare needs at least two run directories"), hint: cmd.UseLine()}
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if err := checkFormat(format); err != nil {
				return err
			}
			return a.compare(args, format, unpaired)
		},
	}
	addFormat(cmd, &format)
	cmd.Flags().BoolVar(&unpaired, "unpaired", false, "compare runs whose workloads or seeds differ")
	return cmd
}

func (a *app) compare(paths []string, format string, unpaired bool) error {
	var runs []summary.Labelled
	used := map[string]int{}
	for _, path := range paths {
		s, _, err := readSummary(path)
		if err != nil {
			return err
		}
		label := runLabel(path, s.RunID)
		if used[label]++; used[label] > 1 {
			label = fmt.Sprintf("%s#%d", label, used[label])
		}
		runs = append(runs, summary.Labelled{Label: label, Run: s})
	}
	s, err := summary.Compare(runs, unpaired)
	if errors.Is(err, summary.ErrUnpaired) {
		return withHint(err, "--unpaired compares them all the same, with less power")
	}
	if err != nil {
		return err
	}
	return a.printSummary(s, format)
}

// runLabel is what a run is called in a comparison: the folder as given if a
// person named it, else the beginning of the run's id.
func runLabel(path, id string) string {
	base := filepath.Base(path)
	if strings.Contains(base, id[:min(8, len(id))]) || base == "latest" || base == "." || base == ".." || len(base) > 20 {
		return id[:min(8, len(id))]
	}
	return base
}

// readSummary reads the summary of the run that path names.
func readSummary(path string) (*summary.Summary, *rundir.Dir, error) {
	dir, err := rundir.Open(path)
	if err != nil {
		return nil, nil, withHint(err, "vramsim run leaves its directory under runs/<name>/; runs/<name>/latest is the newest")
	}
	f, err := os.Open(dir.Join("summary.json"))
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	s, err := summary.Read(f)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return s, dir, nil
}

// printSummary writes a summary to standard output in one of tableFormats.
func (a *app) printSummary(s *summary.Summary, format string) error {
	if format == "table" {
		return table.Write(a.stdout, s, a.tableOptions())
	}
	return summaryWriter(s, format)(a.stdout)
}

// summaryWriter returns what writes the summary in a form for files.
func summaryWriter(s *summary.Summary, format string) func(io.Writer) error {
	switch format {
	case "json":
		return s.Write
	case "csv":
		return s.WriteCSV
	case "benchfmt":
		return s.WriteBench
	}
	return func(w io.Writer) error { return table.Markdown(w, s) }
}

func (a *app) tableOptions() table.Options {
	o := table.Options{}
	out, ok := a.stdout.(*errWriter)
	if !ok {
		return o
	}
	if f, ok := out.w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		o.Color = !a.noColor
		if width, _, err := term.GetSize(int(f.Fd())); err == nil {
			o.Width = width
		}
	}
	return o
}

// rendered runs a writer and returns what it wrote.
func rendered(write func(io.Writer) error) ([]byte, error) {
	var b bytes.Buffer
	err := write(&b)
	return b.Bytes(), err
}
