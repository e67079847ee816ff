package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vramsim/vramsim/results/charts"
	"github.com/vramsim/vramsim/results/fidelity"
	"github.com/vramsim/vramsim/results/metrics"
	"github.com/vramsim/vramsim/results/report"
	"github.com/vramsim/vramsim/results/rundir"
	"github.com/vramsim/vramsim/results/summary"
)

func newReport(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "report RUN",
		Short: "rebuild report.html, report.md and the charts from a run directory; never simulates",
		Args:  exactly(1, "a run directory"),
		RunE: func(_ *cobra.Command, args []string) error {
			s, dir, err := readSummary(args[0])
			if err != nil {
				return err
			}
			m, err := dir.Manifest()
			if err != nil {
				return err
			}
			if err := a.drawRun(dir, s, m, []string{"svg", "png"}, []string{"html", "md"}); err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.stdout, dir.Join("report.html"))
			return err
		},
	}
}

func newPlot(a *app) *cobra.Command {
	var name, out, cell, policy string
	cmd := &cobra.Command{
		Use:   "plot RUN --chart NAME -o FILE",
		Short: "one chart as SVG, PNG or PDF, by the extension of -o",
		Args:  exactly(1, "a run directory"),
		RunE: func(_ *cobra.Command, args []string) error {
			s, dir, err := readSummary(args[0])
			if err != nil {
				return err
			}
			return a.plot(dir, s, name, cell, policy, out)
		},
	}
	cmd.Flags().StringVar(&name, "chart", "switches", "`name` of the chart: "+strings.Join(chartNames(), ", "))
	cmd.Flags().StringVar(&cell, "cell", "", "`id` of the cell; the first if left out")
	cmd.Flags().StringVar(&policy, "policy", "", "`name` of the policy of a timeline; the chosen one if left out")
	cmd.Flags().StringVarP(&out, "output", "o", "", "`file` to write; NAME.svg if left out")
	return cmd
}

// chartNames are those of any run, then those of runs on a card.
func chartNames() []string {
	return slices.Concat(namesOf(charts.All()), namesOf(charts.Hardware()), namesOf(charts.Compared()))
}

// drawnCharts are the charts that a report of the run shows.
func drawnCharts(m *rundir.Manifest) []string {
	names := namesOf(charts.All())
	if m.Hardware != nil {
		names = append(names, namesOf(charts.Hardware())...)
	}
	return names
}

func (a *app) plot(dir *rundir.Dir, s *summary.Summary, name, cellID, policy, out string) error {
	if !slices.Contains(chartNames(), name) {
		return unknown("chart", name, chartNames())
	}
	if out == "" {
		out = name + ".svg"
	}
	format, err := charts.FormatOf(out)
	if err != nil {
		return err
	}
	cell, _, err := choose(s, cellID, policy)
	if err != nil {
		return err
	}
	c, err := chartOf(dir, s, cell, name, policy)
	if err != nil {
		return err
	}
	data, err := drawn(c, format)
	if err != nil {
		return err
	}
	if err := rundir.WriteFile(out, data); err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.stdout, out)
	return err
}

// maxDrawnCells is of how many cells charts are drawn without being asked for:
// a page of hundreds of pictures is read by nobody.
const maxDrawnCells = 24

// drawRun writes charts and reports into the run directory.
func (a *app) drawRun(dir *rundir.Dir, s *summary.Summary, m *rundir.Manifest, formats, reports []string) error {
	in := report.Input{Summary: s, Command: shellCommand(m.Argv), Facts: []report.Fact{
		{Name: "run id", Value: m.RunID}, {Name: "seed", Value: fmt.Sprint(m.Seed)}, {Name: "version", Value: m.Version},
		{Name: "Go", Value: m.GoVersion + " " + m.Platform}, {Name: "started", Value: m.StartedAt}}}
	for _, name := range slices.Sorted(mapKeys(m.Inputs)) {
		in.Facts = append(in.Facts, report.Fact{Name: "input " + name, Value: "sha256:" + m.Inputs[name]})
	}
	var err error
	if in.Resolved, err = os.ReadFile(dir.Join("resolved.yaml")); err != nil {
		return err
	}
	a.beside(dir, m, &in)
	cells := min(len(s.Cells), maxDrawnCells)
	if cells < len(s.Cells) {
		in.Facts = append(in.Facts, report.Fact{Name: "charts", Value: fmt.Sprintf("of %d of the %d cells; vramsim plot RUN --cell ID draws any", cells, len(s.Cells))})
	}
	names := drawnCharts(m)
	bar := a.newProgress(cells*len(names), "drawing")
	defer bar.close()
	for i := range cells {
		for _, name := range names {
			figures, err := drawChart(dir, s, &s.Cells[i], name, formats)
			if err != nil {
				return err
			}
			in.Figures = append(in.Figures, figures...)
			bar.done()
		}
	}
	return writeReports(dir, in, reports)
}

// beside adds to the report of a run on a card how far it is from its own
// simulation, as the logs of both tell; where they do not, a fact says why.
func (a *app) beside(dir *rundir.Dir, m *rundir.Manifest, in *report.Input) {
	if m.Hardware == nil {
		return
	}
	r, err := a.besideSimulation(dir, m)
	if err != nil {
		in.Facts = append(in.Facts, report.Fact{Name: "simulation", Value: "not compared: " + err.Error()})
	}
	in.Fidelity = r
}

func (a *app) besideSimulation(dir *rundir.Dir, m *rundir.Manifest) (*fidelity.Result, error) {
	c, err := a.openComparison(dir.Join("simulation"), dir.Path)
	if err != nil {
		return nil, err
	}
	compared, err := c.input(context.Background(), false)
	if err != nil {
		return nil, err
	}
	compared.Targets = targetsFor("", m.Hardware)
	return fidelity.Compute(*compared), nil
}

// shellCommand joins arguments into a command line for a POSIX shell, quoting
// those that it would take apart.
func shellCommand(args []string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-"
	words := make([]string, len(args))
	for i, arg := range args {
		words[i] = arg
		if arg == "" || strings.Trim(arg, plain) != "" {
			words[i] = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

func writeReports(dir *rundir.Dir, in report.Input, kinds []string) error {
	for _, kind := range kinds {
		var b bytes.Buffer
		write := report.Markdown
		if kind == "html" {
			write = report.HTML
		}
		if err := write(&b, in); err != nil {
			return err
		}
		if err := dir.Write("report."+kind, b.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// drawChart writes one chart in all formats; the first goes into the report.
func drawChart(dir *rundir.Dir, s *summary.Summary, cell *summary.Cell, name string, formats []string) ([]report.Figure, error) {
	if len(formats) == 0 {
		return nil, nil
	}
	c, err := chartOf(dir, s, cell, name, "")
	if err != nil {
		return nil, err
	}
	if c.Empty() && !slices.Contains(namesOf(charts.All()), name) {
		return nil, nil // what the executor does not measure
	}
	var figures []report.Figure
	for i, f := range formats {
		data, err := drawn(c, charts.Format(f))
		if err != nil {
			return nil, err
		}
		path := filepath.ToSlash(filepath.Join("charts", cell.ID+"-"+name+"."+f))
		if err := dir.Write(path, data); err != nil {
			return nil, err
		}
		if i == 0 {
			figures = append(figures, report.Figure{Name: name, Cell: cell.ID, Title: charts.HeadOf(name, s, cell, "").Title,
				Format: charts.Format(f), Data: data, Path: path})
		}
	}
	return figures, nil
}

func drawn(c *charts.Chart, f charts.Format) ([]byte, error) {
	var b bytes.Buffer
	err := c.Write(&b, f)
	return b.Bytes(), err
}

// chartOf draws a chart from the summary or, for curves and timelines, from
// the results of the first replicate.
func chartOf(dir *rundir.Dir, s *summary.Summary, cell *summary.Cell, name, policy string) (*charts.Chart, error) {
	if c, ok := charts.OfCell(name, s, cell); ok {
		return c, nil
	}
	if name == "ccdf" {
		var curves []charts.Curve
		for i := range cell.Policies {
			p := &cell.Policies[i]
			r, err := firstResult(dir, cell.ID, p.Policy)
			if err != nil {
				return nil, err
			}
			if r == nil || p.Status != summary.Valid {
				continue
			}
			curve := charts.Curve{Name: p.Policy, Clairvoyant: p.Clairvoyant}
			for _, pt := range r.CCDF {
				curve.Points = append(curve.Points, charts.Point{X: pt.X, Y: pt.Y})
			}
			curves = append(curves, curve)
		}
		return charts.CCDF(charts.HeadOf(name, s, cell, "first replicate"), curves), nil
	}
	if policy == "" {
		policy = chosen(s, cell)
	}
	if !slices.Contains(namesOf(charts.All()), name) {
		return hardwareChart(dir, s, cell, name, policy)
	}
	r, err := firstResult(dir, cell.ID, policy)
	if err != nil {
		return nil, err
	}
	return timeline(charts.HeadOf(name, s, cell, policy+", first replicate"), r), nil
}

// chosen returns the policy that the verdict chooses, or the first.
func chosen(s *summary.Summary, cell *summary.Cell) string {
	for _, c := range s.Choices() {
		if c.Cell.ID == cell.ID && c.Best != nil {
			return c.Best.Policy
		}
	}
	return cell.Policies[0].Policy
}

// firstResult reads what the first replicate measured; nil if it was not run.
func firstResult(dir *rundir.Dir, cell, policy string) (*metrics.Result, error) {
	var out outcome
	err := dir.ReadJSON(filepath.Join(rundir.Replicate(cell, policy, 0), "result.json"), &out)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return out.Result, err
}
