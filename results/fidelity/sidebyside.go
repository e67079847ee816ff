package fidelity

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/vramsim/vramsim/results/metrics"
	"github.com/vramsim/vramsim/results/summary"
	"github.com/vramsim/vramsim/results/table"
)

// SideBySide returns what a report shows of a result: for each cell, switches
// and times of each policy as simulated and as measured, with signed errors,
// then whether closure and targets hold.
func (r *Result) SideBySide() []Section {
	var list []Section
	for i := range r.Cells {
		list = append(list, r.Cells[i].sideBySide())
	}
	var lines []string
	for _, half := range []struct {
		what string
		Check
	}{{"The recorded facts give the recorded decisions", r.Closure.Decisions}, {"The simulated world, given what came from outside, gives the recorded events", r.Closure.Events}} {
		lines = append(lines, fmt.Sprintf("%s: in %d of %d logs.", half.what, half.Logs-len(half.Broken), half.Logs))
		for _, b := range half.Broken {
			lines = append(lines, b.String())
		}
	}
	for _, j := range r.Misses() {
		where := j.What
		if j.Where != "" {
			where = j.Where + ", " + j.What
		}
		lines = append(lines, "Target missed: "+where+": "+j.Text)
	}
	for _, name := range r.Unmatched {
		lines = append(lines, "Not compared: "+name)
	}
	return append(list, Section{Lines: lines})
}

func (c *Cell) sideBySide() Section {
	s := Section{Title: titleOf(c), Grid: table.Grid{Columns: []table.Column{{Title: "policy"}}}}
	for i := range c.Policies {
		s.Grid.Rows = append(s.Grid.Rows, table.Row{Cells: []string{c.Policies[i].Policy}, Status: summary.Valid})
		s.Lines = append(s.Lines, c.Policies[i].lines()...)
	}
	c.pairColumns(&s.Grid, "switches", metrics.Switches)
	c.pairColumns(&s.Grid, "mean latency", LatencyMean)
	c.pairColumns(&s.Grid, "p99 latency", LatencyP99)
	c.pairColumns(&s.Grid, "makespan", metrics.Makespan)
	return s
}

// pairColumns adds a figure as simulated, as measured and, of times, its error.
func (c *Cell) pairColumns(g *table.Grid, title, name string) {
	figures := make([]*Error, len(c.Policies))
	largest := 0.0
	for i := range c.Policies {
		p := &c.Policies[i]
		if k := slices.IndexFunc(p.Figures, func(e Error) bool { return e.Figure == name }); k >= 0 {
			figures[i] = &p.Figures[k]
			largest = max(largest, float64(p.Figures[k].Predicted), float64(p.Figures[k].Measured))
		}
	}
	unit, seconds := "", 1.0
	if !counted(name) {
		unit, seconds = table.TimeUnit(largest)
	}
	simulated, measured, errs := make([]string, len(figures)), make([]string, len(figures)), make([]string, len(figures))
	for i, e := range figures {
		if e == nil {
			simulated[i], measured[i], errs[i] = "–", "–", "–"
			continue
		}
		simulated[i], measured[i], errs[i] = figureText(e.Predicted, seconds), figureText(e.Measured, seconds), errorText(e.Error)
	}
	addColumn(g, table.Column{Title: title + ", simulated", Unit: unit, Right: true}, simulated)
	addColumn(g, table.Column{Title: "measured", Unit: unit, Right: true}, measured)
	if !counted(name) {
		addColumn(g, table.Column{Title: "error", Right: true}, errs)
	}
}

// figureText writes a figure in a unit of so many seconds: whole numbers in
// full, others to three decimals.
func figureText(n Number, seconds float64) string {
	if !n.Known() {
		return "–"
	}
	return trimmed(strconv.FormatFloat(float64(n)/seconds, 'f', 3, 64))
}
