package table

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/vramsim/vramsim/results/summary"
)

// Grid is the table of one cell, as text that still has to be escaped for
// wherever it is shown.
type Grid struct {
	Cell    string // id
	Title   string // what the sweep set, or "" for a lone cell
	Columns []Column
	Rows    []Row
	Blank   bool     // nothing of it was run: there is nothing to show but Notes
	Notes   []string // why policies are not VALID, what to beware of
}

// Column is the head of one column.
type Column struct {
	Title string
	Unit  string // empty for counts and text
	Right bool   // numbers: aligned right
	// Rank says how soon the column is left out where there is no room: the
	// largest first, those of rank 0 never.
	Rank int
}

// Row is one policy.
type Row struct {
	Cells   []string
	Chosen  bool   // best or tied with it
	Verdict string // of its latency against the baseline; empty for the baseline
	Status  string
}

// Last reports whether i is the row's last cell, which holds the verdict.
func (r Row) Last(i int) bool { return i == len(r.Cells)-1 }

// Grids returns a grid for each cell, its policies sorted by the objective of
// the choice, best first; those that finish less come after them, those that
// are not VALID last.
func Grids(s *summary.Summary) []Grid {
	grids := []Grid{}
	for _, choice := range s.Choices() {
		grids = append(grids, grid(s, choice))
	}
	return grids
}

func grid(s *summary.Summary, choice summary.Choice) Grid {
	g := Grid{Cell: choice.Cell.ID, Title: Title(choice.Cell)}
	policies := sorted(choice)
	g.Rows = make([]Row, len(policies))
	g.Blank = !slices.ContainsFunc(policies, func(p *summary.Policy) bool { return len(p.Metrics) > 0 })
	for i, p := range policies {
		g.Rows[i] = Row{Chosen: choice.Tied(p), Status: p.Status}
		if !choice.FallsShort(p) {
			g.Rows[i].Verdict = p.VsBaseline["item_latency_seconds.mean"].Verdict
		}
	}
	g.add(Column{Title: "policy"}, policies, func(p *summary.Policy) string { return name(s, p) })
	g.figures(Column{Title: "switches", Right: true}, policies, "model_switches", "value", true)
	g.figures(Column{Title: "loads", Right: true, Rank: 1}, policies, "model_loads", "value", false)
	g.times(Column{Title: "mean latency", Right: true}, policies, "item_latency_seconds", "mean", true)
	g.times(Column{Title: "p99 latency", Right: true, Rank: 2}, policies, "item_latency_seconds", "p99", false)
	g.times(Column{Title: "mean wait", Right: true, Rank: 4}, policies, "item_wait_seconds", "mean", false)
	g.times(Column{Title: "makespan", Right: true, Rank: 3}, policies, "makespan_seconds", "value", false)
	g.figures(Column{Title: "max bypass", Right: true, Rank: 5}, policies, "max_bypass", "value", false)
	g.add(Column{Title: "latency vs " + s.Baseline}, policies, func(p *summary.Policy) string { return against(s, choice, p) })
	g.Notes = notes(policies)
	for _, text := range [...]string{warmup(choice.Cell), bounds(choice.Cell)} {
		if text != "" && !g.Blank {
			g.Notes = append(g.Notes, text)
		}
	}
	return g
}

// Title says what makes the cell different, like "gpus[0].memory = 8GB"; the
// section of the experiment file is left out.
func Title(c *summary.Cell) string {
	keys := make([]string, 0, len(c.Set))
	for k := range c.Set {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for i, k := range keys {
		short := k
		if _, rest, ok := strings.Cut(k, "."); ok {
			short = rest
		}
		keys[i] = short + " = " + c.Set[k]
	}
	return strings.Join(keys, ", ")
}

// sorted returns the policies best first, then those without a figure.
func sorted(choice summary.Choice) []*summary.Policy {
	policies := make([]*summary.Policy, len(choice.Cell.Policies))
	for i := range policies {
		policies[i] = &choice.Cell.Policies[i]
	}
	group := func(p *summary.Policy) int {
		switch {
		case p.Status == summary.Invalid:
			return 2
		case choice.FallsShort(p):
			return 1
		}
		return 0
	}
	rank := func(p *summary.Policy) float64 {
		v := choice.Value(p).Value
		switch {
		case p.Status == summary.Invalid:
			return math.Inf(1)
		case !v.Known():
			return math.MaxFloat64
		}
		return float64(v)
	}
	slices.SortStableFunc(policies, func(a, b *summary.Policy) int {
		return cmp.Or(cmp.Compare(group(a), group(b)), cmp.Compare(rank(a), rank(b)))
	})
	return policies
}

func name(s *summary.Summary, p *summary.Policy) string {
	text := p.Policy
	if p.Clairvoyant {
		text += " (clairvoyant)"
	}
	if p.Policy == s.Baseline {
		text += " (baseline)"
	}
	return text
}

// against is the verdict with its size: "better −45%". Of a policy that
// finishes less it says how much: its latency is no gain.
func against(s *summary.Summary, choice summary.Choice, p *summary.Policy) string {
	switch {
	case p.Status != summary.Valid:
		return p.Status
	case p.Policy == s.Baseline:
		return ""
	case choice.FallsShort(p):
		return "finishes " + Finished(p)
	}
	c, ok := p.VsBaseline["item_latency_seconds.mean"]
	if !ok {
		return "–"
	}
	other := ""
	if c.Against != "" && c.Against != s.Baseline {
		other = " than " + c.Against
	}
	switch {
	case c.Verdict == summary.Indistinguishable && c.Diff == 0 && other != "":
		return "same as " + c.Against
	case c.Verdict == summary.Indistinguishable && c.Diff == 0:
		return "same"
	case !c.Ratio.Known():
		return c.Verdict + other
	}
	return c.Verdict + " " + Percent(float64(c.Ratio)-1) + other
}

// Percent formats a relative change with its sign: "−45%", "+0.3%".
func Percent(change float64) string {
	p := math.Abs(100 * change)
	text := strconv.FormatFloat(p, 'f', 0, 64)
	if p < 9.95 {
		text = strconv.FormatFloat(p, 'f', 1, 64)
	}
	switch {
	case strings.Trim(text, "0.") == "":
		return "±0%"
	case change < 0:
		return "−" + text + "%"
	}
	return "+" + text + "%"
}

// Finished is the share of its items that a policy finishes, "100%" if the
// rest is negligible.
func Finished(p *summary.Policy) string {
	if negligible(p.Lost()) {
		return "100%"
	}
	percent := 100 * (1 - p.Lost())
	if percent > 99 { // 99.6 % is not all
		return strconv.FormatFloat(percent, 'f', 1, 64) + "%"
	}
	return strconv.FormatFloat(percent, 'f', 0, 64) + "%"
}

// bounds says what no policy of the cell can beat.
func bounds(cell *summary.Cell) string {
	var parts []string
	for _, b := range [...]struct{ figure, what string }{{"item_latency_seconds.mean", "mean latency"}, {"makespan_seconds", "makespan"},
		{"model_loads", "loads"}, {"model_switches", "switches"}} {
		bound, ok := cell.Bounds[b.figure]
		v := float64(bound.Value)
		if !ok || !bound.Value.Known() || v <= 0 {
			continue
		}
		if b.what == "mean latency" || b.what == "makespan" {
			unit, seconds := TimeUnit(v)
			parts = append(parts, fmt.Sprintf("%s %s %s", b.what, short(v/seconds), unit))
			continue
		}
		parts = append(parts, fmt.Sprintf("%s %s", b.what, short(v)))
	}
	if len(parts) == 0 {
		return ""
	}
	return "Bounds, which no policy that finishes everything can beat: " + strings.Join(parts, ", ") + "."
}

// warmup says what was left out of the figures, if that was found.
func warmup(cell *summary.Cell) string {
	switch {
	case cell.Warmup == nil:
		return ""
	case *cell.Warmup == 0:
		return "Warm-up: none has to be left out, says MSER-5 of the first replicate of each policy."
	}
	unit, seconds := TimeUnit(*cell.Warmup)
	return fmt.Sprintf("Warm-up: the first %s %s are left out, as MSER-5 says of the first replicate of each policy.", short(*cell.Warmup/seconds), unit)
}

// notes says once what holds of several policies.
func notes(policies []*summary.Policy) (lines []string) {
	who := map[string][]string{}
	var reasons []string
	add := func(reason, policy string) {
		if len(who[reason]) == 0 {
			reasons = append(reasons, reason)
		}
		who[reason] = append(who[reason], policy)
	}
	for _, p := range policies {
		if p.Status != summary.Valid {
			add(p.Status+" %s: "+escapePercent(strings.Join(p.Reasons, "; ")), p.Policy)
			continue
		}
		if refused := p.Refused(); !negligible(refused) {
			add("%s: "+escapePercent(share(refused))+" of the items were rejected, failed or cancelled; the times are those of the others, and the bounds do not apply.", p.Policy)
		}
		if c := p.Figure("item_latency_seconds", "censored").Value; c > 0 {
			add(fmt.Sprintf("%%s: %s items had not finished at the end (mean over replicates); their times so far are included, as lower bounds.", short(float64(c))), p.Policy)
		}
	}
	for _, reason := range reasons {
		lines = append(lines, fmt.Sprintf(reason, list(who[reason])))
	}
	return lines
}

func escapePercent(s string) string { return strings.ReplaceAll(s, "%", "%%") }

// short formats v to three figures.
func short(v float64) string { return strconv.FormatFloat(v, 'f', decimals(v), 64) }

func (g *Grid) add(c Column, policies []*summary.Policy, text func(*summary.Policy) string) {
	g.Columns = append(g.Columns, c)
	for i, p := range policies {
		g.Rows[i].Cells = append(g.Rows[i].Cells, text(p))
	}
}

// figures adds a column of counts, whose means have one decimal at most.
func (g *Grid) figures(c Column, policies []*summary.Policy, metric, statistic string, interval bool) {
	g.scaled(c, policies, metric, statistic, 1, 1, interval)
}

// times adds a column of times in the one unit that suits its largest.
func (g *Grid) times(c Column, policies []*summary.Policy, metric, statistic string, interval bool) {
	largest := 0.0
	for _, p := range policies {
		if v := p.Figure(metric, statistic).Value; v.Known() {
			largest = max(largest, float64(v))
		}
	}
	unit, seconds := TimeUnit(largest)
	c.Unit = unit
	g.scaled(c, policies, metric, statistic, seconds, 2, interval)
}

// TimeUnit returns the unit in which times up to largest seconds read well,
// and its length in seconds.
func TimeUnit(largest float64) (unit string, seconds float64) {
	switch {
	case largest == 0:
		return "s", 1
	case largest < 1e-3:
		return "µs", 1e-6
	case largest < 1:
		return "ms", 1e-3
	case largest < 1200:
		return "s", 1
	case largest < 36000:
		return "min", 60
	}
	return "h", 3600
}

func (g *Grid) scaled(c Column, policies []*summary.Policy, metric, statistic string, unit float64, most int, interval bool) {
	digits := 0
	for _, p := range policies {
		if v := p.Figure(metric, statistic).Value; v.Known() {
			digits = min(most, max(digits, decimals(float64(v)/unit)))
		}
	}
	g.add(c, policies, func(p *summary.Policy) string {
		f := p.Figure(metric, statistic)
		if !f.Value.Known() || p.Status == summary.Invalid {
			return "–"
		}
		text := strconv.FormatFloat(float64(f.Value)/unit, 'f', digits, 64)
		if interval && f.CI95 != nil {
			text += " ± " + strconv.FormatFloat(float64(f.CI95[1]-f.CI95[0])/2/unit, 'f', digits, 64)
		}
		return text
	})
}

// decimals returns how many digits after the point show v to three figures,
// none for whole numbers.
func decimals(v float64) int {
	v = math.Abs(v)
	switch {
	case v == math.Trunc(v) || v >= 100:
		return 0
	case v >= 10:
		return 1
	}
	return 2
}
