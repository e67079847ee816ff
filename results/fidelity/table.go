package fidelity

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/vramsim/vramsim/results/metrics"
	"github.com/vramsim/vramsim/results/stats"
	"github.com/vramsim/vramsim/results/summary"
	"github.com/vramsim/vramsim/results/table"
)

// Section is a part of what is shown of a result: a grid with a title, or
// lines of text.
type Section struct {
	Title string
	Grid  table.Grid // without columns: there is none
	Lines []string
}

// Sections returns what is shown of a result, in order: for terminals, Markdown
// and reports alike.
func (r *Result) Sections() []Section {
	list := []Section{{Lines: r.head()}}
	for i := range r.Cells {
		list = append(list, r.Cells[i].sections()...)
	}
	if g, ok := r.phaseGrid(); ok {
		list = append(list, Section{Title: "Phases, all policies together", Grid: g})
	}
	if g, lines := r.ablationGrid(); len(g.Rows) > 0 || len(lines) > 0 {
		list = append(list, Section{Title: "What the simulation has to know: mean absolute errors over cells and policies", Grid: g, Lines: lines})
	}
	if lines := r.rankingLines(); len(lines) > 0 {
		list = append(list, Section{Title: "Ranking of the policies", Lines: lines})
	}
	list = append(list, Section{Title: "Verdict", Lines: r.verdict()})
	return list
}

// Write prints a result for a terminal.
func Write(w io.Writer, r *Result, o table.Options) error {
	for i, s := range r.Sections() {
		if err := writeSection(w, s, i > 0, o); err != nil {
			return err
		}
	}
	return nil
}

func writeSection(w io.Writer, s Section, apart bool, o table.Options) error {
	text := ""
	if apart {
		text = "\n"
	}
	if s.Title != "" {
		text += table.Escape(s.Title) + "\n"
	}
	if _, err := io.WriteString(w, text); err != nil {
		return err
	}
	if len(s.Grid.Columns) > 0 {
		if err := table.WriteGrid(w, s.Grid, o); err != nil {
			return err
		}
	}
	for _, line := range s.Lines {
		if _, err := fmt.Fprintln(w, table.Escape(line)); err != nil {
			return err
		}
	}
	return nil
}

// Markdown prints a result as Markdown.
func Markdown(w io.Writer, r *Result) error {
	for _, s := range r.Sections() {
		if s.Title != "" {
			if _, err := fmt.Fprintf(w, "## %s\n\n", table.EscapeMarkdown(s.Title)); err != nil {
				return err
			}
		}
		if len(s.Grid.Columns) > 0 {
			if err := table.MarkdownGrid(w, s.Grid); err != nil {
				return err
			}
			if _, err := fmt.Fprintln(w); err != nil {
				return err
			}
		}
		for _, line := range s.Lines {
			if _, err := fmt.Fprintf(w, "- %s\n", table.EscapeMarkdown(line)); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
	}
	return nil
}

// head says what is compared and whether the replays hold.
func (r *Result) head() []string {
	card := r.Hardware.Executor
	if r.Hardware.Label != "" {
		card += ", " + r.Hardware.Label
	}
	lines := []string{fmt.Sprintf("%s: simulation %s against hardware run %s (%s)", r.Hardware.Name, short(r.Simulation.RunID), short(r.Hardware.RunID), card)}
	for _, side := range []struct {
		what string
		Side
	}{{"simulation", r.Simulation}, {"hardware run", r.Hardware}} {
		if side.Status != "" && side.Status != summary.Valid {
			lines = append(lines, "the "+side.what+" is "+side.Status)
		}
	}
	for _, half := range []struct {
		what string
		Check
	}{{"closure a, recorded facts give the recorded decisions", r.Closure.Decisions}, {"closure b, the simulated world gives the recorded events", r.Closure.Events}} {
		lines = append(lines, fmt.Sprintf("%s: %d of %d logs", half.what, half.Logs-len(half.Broken), half.Logs))
		for _, b := range half.Broken {
			lines = append(lines, "  "+b.String())
		}
	}
	return lines
}

func short(id string) string { return id[:min(8, len(id))] }

// String says where a replay first differs.
func (b Break) String() string {
	text := fmt.Sprintf("%s differs at event %d: the log has %s, the replay %s", b.Log, b.Seq, b.Logged.orNothing(), b.Replayed.orNothing())
	if b.Error != "" {
		text += " (" + b.Error + ")"
	}
	return text
}

func (m *Moment) orNothing() string {
	if m == nil {
		return "nothing"
	}
	return fmt.Sprintf("%q at %v", m.What, m.At)
}

// titleOf says what makes a cell different, as tables do.
func titleOf(c *Cell) string { return table.Title(&summary.Cell{Set: c.Set}) }

// sections are those of one cell: errors, and what is to be said of them.
func (c *Cell) sections() []Section {
	title := "Errors of the simulation, ± noise floor"
	if t := titleOf(c); t != "" {
		title = t + ": errors of the simulation, ± noise floor"
	}
	g := table.Grid{Columns: []table.Column{{Title: "policy"}}}
	cols := []struct {
		title, figure string
		rank          int
	}{{"makespan", metrics.Makespan, 0}, {"mean latency", LatencyMean, 0}, {"p50", LatencyP50, 5}, {"p95", LatencyP95, 4}, {"p99", LatencyP99, 0},
		{"switches", metrics.Switches, 0}, {"loads", metrics.Loads, 6}, {"bytes loaded", BytesLoaded, 8}, {"busy", metrics.BusyRatio, 7}, {"energy", metrics.Energy, 3}}
	var lines []string
	for i := range c.Policies {
		g.Rows = append(g.Rows, table.Row{Cells: []string{c.Policies[i].Policy}, Status: summary.Valid})
		lines = append(lines, c.Policies[i].lines()...)
	}
	for _, col := range cols {
		column := make([]string, len(c.Policies))
		some := false
		for i := range c.Policies {
			column[i] = c.Policies[i].shown(col.figure)
			some = some || column[i] != "–"
		}
		if some {
			unit := ""
			if counted(col.figure) {
				unit = "sim/card"
			}
			addColumn(&g, table.Column{Title: col.title, Unit: unit, Right: true, Rank: col.rank}, column)
		}
	}
	items, order, same := make([]string, len(c.Policies)), make([]string, len(c.Policies)), make([]string, len(c.Policies))
	for i := range c.Policies {
		p := &c.Policies[i]
		items[i], order[i] = withNoise(percentOf(p.Items.MAPE), p.Items.Noise), numberOf(p.Decisions.Tau)
		same[i] = fmt.Sprintf("%d of %d", p.Decisions.Identical, p.Decisions.Runs)
	}
	addColumn(&g, table.Column{Title: "per item", Right: true, Rank: 2}, items)
	addColumn(&g, table.Column{Title: "order (tau)", Right: true, Rank: 1}, order)
	addColumn(&g, table.Column{Title: "same decisions", Right: true}, same)
	return []Section{{Title: title, Grid: g, Lines: lines}}
}

func addColumn(g *table.Grid, c table.Column, cells []string) {
	g.Columns = append(g.Columns, c)
	for i := range g.Rows {
		g.Rows[i].Cells = append(g.Rows[i].Cells, cells[i])
	}
}

// counted reports whether both counts of a figure are shown, not its error.
func counted(name string) bool { return name == metrics.Switches || name == metrics.Loads }

// shown is one figure's error as tables show it; of counts the two counts.
func (p *Policy) shown(name string) string {
	i := slices.IndexFunc(p.Figures, func(e Error) bool { return e.Figure == name })
	if i < 0 {
		return "–"
	}
	e := p.Figures[i]
	if counted(name) {
		return fmt.Sprintf("%s/%s", numberOf(e.Predicted), numberOf(e.Measured))
	}
	if !e.Error.Known() {
		return "–"
	}
	return withNoise(signed(float64(e.Error)), e.Noise)
}

func withNoise(text string, noise Number) string {
	if noise.Known() && text != "–" {
		text += " ±" + percent(float64(noise))
	}
	return text
}

// lines says what a table cannot hold of a policy.
func (p *Policy) lines() (lines []string) {
	for _, l := range p.LeftOut {
		lines = append(lines, fmt.Sprintf("%s: replicate %d is left out: %s", p.Policy, l.Replicate, strings.Join(l.Reasons, "; ")))
	}
	if p.Measured == 0 {
		lines = append(lines, p.Policy+": no run of the card counts")
	}
	if p.Items.Coverage.N > 0 {
		lines = append(lines, fmt.Sprintf("%s: %s of %d latencies lie inside their 90%% intervals", p.Policy, percent(float64(p.Items.Coverage.Share)), p.Items.Coverage.N))
	}
	if d := p.Decisions; d.First != nil {
		many := ""
		if d.Edits.AtLeast {
			many = "at least "
		}
		lines = append(lines, fmt.Sprintf("%s: decisions part at number %d: predicted %s, measured %s; %s%d edits of %d decisions; %s",
			p.Policy, d.First.Index, d.First.Predicted.orNothing(), d.First.Measured.orNothing(), many, d.Edits.Edits, d.Length, d.First.Cause))
	}
	return lines
}

// Phases adds up the phases of all policies of the cell, model by model.
func (c *Cell) Phases() []PhaseError {
	var all []PhaseError
	for i := range c.Policies {
		all = append(all, c.Policies[i].Phases...)
	}
	return added(all)
}

// added adds up what several runs say of the same phase of the same model, in
// the order of their first appearance.
func added(all []PhaseError) (sums []PhaseError) {
	for _, e := range all {
		i := slices.IndexFunc(sums, func(s PhaseError) bool { return s.Model == e.Model && s.Phase == e.Phase })
		if i < 0 {
			i = len(sums)
			sums = append(sums, PhaseError{Model: e.Model, Phase: e.Phase})
		}
		sums[i].N += e.N
		sums[i].Predicted += e.Predicted * Number(e.N)
		sums[i].Measured += e.Measured * Number(e.N)
	}
	for i := range sums {
		e := &sums[i]
		e.Predicted, e.Measured = e.Predicted/Number(e.N), e.Measured/Number(e.N)
		e.Error = relative(float64(e.Predicted), float64(e.Measured))
	}
	return sums
}

// phaseGrid shows the phases of all cells together.
func (r *Result) phaseGrid() (table.Grid, bool) {
	var all []PhaseError
	for i := range r.Cells {
		all = append(all, r.Cells[i].Phases()...)
	}
	g := table.Grid{Columns: []table.Column{{Title: "model"}, {Title: "phase"}, {Title: "measured", Right: true}, {Title: "predicted mean", Unit: "ms", Right: true},
		{Title: "measured mean", Unit: "ms", Right: true}, {Title: "error", Right: true}}}
	for _, e := range added(all) {
		g.Rows = append(g.Rows, table.Row{Status: summary.Valid, Cells: []string{e.Model, string(e.Phase), strconv.Itoa(e.N),
			decimal(float64(e.Predicted) * 1e3), decimal(float64(e.Measured) * 1e3), errorText(e.Error)}})
	}
	return g, len(g.Rows) > 0
}

// ablationGrid shows mean absolute errors by level of knowledge.
func (r *Result) ablationGrid() (table.Grid, []string) {
	errs := map[Level]map[string][]float64{}
	absent := map[Level]string{}
	for _, c := range r.Cells {
		for _, p := range c.Policies {
			for _, a := range p.Ablation {
				if a.Absent != "" {
					absent[a.Level] = a.Absent
				}
				for _, e := range a.Figures {
					if errs[a.Level] == nil {
						errs[a.Level] = map[string][]float64{}
					}
					errs[a.Level][e.Figure] = appendKnown(errs[a.Level][e.Figure], math.Abs(float64(e.Error)))
				}
			}
		}
	}
	g := table.Grid{Columns: []table.Column{{Title: "knows"}, {Title: "makespan", Right: true}, {Title: "mean latency", Right: true}, {Title: "p99", Right: true}, {Title: "switches", Right: true}}}
	var lines []string
	for _, l := range Levels() {
		if errs[l] == nil {
			if absent[l] != "" {
				lines = append(lines, fmt.Sprintf("%s is left out: %s", l, absent[l]))
			}
			continue
		}
		cells := []string{string(l)}
		for _, name := range []string{metrics.Makespan, LatencyMean, LatencyP99, metrics.Switches} {
			cells = append(cells, percentOf(Number(stats.Mean(errs[l][name]))))
		}
		g.Rows = append(g.Rows, table.Row{Cells: cells, Status: summary.Valid})
	}
	if len(g.Rows) == 0 {
		g.Columns = nil
	}
	return g, lines
}

func (r *Result) rankingLines() (lines []string) {
	for i := range r.Cells {
		c := &r.Cells[i]
		at := ""
		if t := titleOf(c); t != "" {
			at = t + ", "
		}
		for _, k := range c.Rankings {
			text := fmt.Sprintf("%sby %s: the simulation picks %s, the card %s; regret %s, tau %s over %d policies", at, k.Figure, k.Pick, k.Best,
				percentOf(k.Regret), numberOf(k.Tau), k.Policies)
			lines = append(lines, text)
		}
	}
	return lines
}

// verdict lists the targets and what could not be compared.
func (r *Result) verdict() (lines []string) {
	for _, j := range r.Judgements {
		state := "held"
		switch {
		case !j.Judged:
			state = "not judged"
		case !j.OK:
			state = "MISSED"
		}
		text := fmt.Sprintf("%s: %s (%s)", state, j.What, j.Limit)
		if j.Where != "" {
			text = fmt.Sprintf("%s: %s, %s (%s)", state, j.Where, j.What, j.Limit)
		}
		if j.Text != "" {
			text += ": " + j.Text
		}
		lines = append(lines, text)
	}
	for _, name := range r.Unmatched {
		lines = append(lines, "not compared: "+name)
	}
	lines = append(lines, r.Notes...)
	status := r.Status
	if r.Targets != "" {
		status += " (targets of " + r.Targets + ")"
	}
	return append(lines, status)
}

// percent writes a share: "0.31%".
func percent(share float64) string {
	p := 100 * math.Abs(share)
	switch {
	case p == 0:
		return "0%"
	case p >= 10:
		return trimmed(strconv.FormatFloat(p, 'f', 1, 64)) + "%"
	case p >= 0.01:
		return trimmed(strconv.FormatFloat(p, 'f', 2, 64)) + "%"
	}
	return strconv.FormatFloat(p, 'g', 2, 64) + "%"
}

func trimmed(text string) string {
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// signed is percent with a sign.
func signed(v float64) string {
	switch {
	case v < 0:
		return "−" + percent(v)
	case v > 0:
		return "+" + percent(v)
	}
	return "0%"
}

func percentOf(n Number) string {
	if !n.Known() {
		return "–"
	}
	return percent(float64(n))
}

func errorText(n Number) string {
	if !n.Known() {
		return "–"
	}
	return signed(float64(n))
}

func numberOf(n Number) string {
	if !n.Known() {
		return "–"
	}
	return decimal(float64(n))
}

// decimal writes a number to four figures, whole ones in full.
func decimal(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// Best returns the policy that the card found best by mean latency or, without
// a ranking, the first that was measured; nil if none was.
func (c *Cell) Best() *Policy {
	best := ""
	for _, r := range c.Rankings {
		if r.Figure == LatencyMean {
			best = r.Best
		}
	}
	for i := range c.Policies {
		if p := &c.Policies[i]; p.Measured > 0 && (best == "" || p.Policy == best) {
			return p
		}
	}
	return nil
}
