package table

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/pkg/twwidth"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"

	"github.com/vramsim/vramsim/results/summary"
)

// Options say how a summary is printed on a terminal.
type Options struct {
	Width int  // columns of the terminal; 0 for no limit
	Color bool // mark verdicts with ANSI colours
}

// Write prints the summary for a terminal: a table for each cell, in which an
// arrow marks the chosen policies, then the thresholds and the verdict.
func Write(w io.Writer, s *summary.Summary, o Options) error {
	out := &text{w: w}
	out.heading(s)
	for _, g := range Grids(s) {
		out.print("\n")
		if g.Title != "" {
			out.print("%s\n", Escape(g.Title))
		}
		if out.err == nil && !g.Blank {
			out.err = terminal(w, g, o)
		}
		for _, note := range g.Notes {
			out.print("%s\n", Escape(note))
		}
	}
	if failed := s.Failed(); len(s.Thresholds) > 0 {
		out.print("\nThresholds: %d of %d hold\n", len(s.Thresholds)-len(failed), len(s.Thresholds))
		for _, f := range failed {
			out.print("  failed: %s\n", Escape(failure(s, f)))
		}
	}
	out.print("\n")
	for _, line := range Verdict(s) {
		out.print("%s\n", wrap(Escape(line), o.Width))
	}
	return out.err
}

// Markdown prints the summary as Markdown.
func Markdown(w io.Writer, s *summary.Summary) error {
	out := &text{w: w}
	out.print("# %s\n\n", EscapeMarkdown(s.Name))
	if s.Question != "" {
		out.print("> %s\n\n", EscapeMarkdown(s.Question))
	}
	for _, line := range stamps(s) {
		out.print("**%s**\n\n", EscapeMarkdown(line))
	}
	for _, line := range Verdict(s) {
		out.print("- %s\n", EscapeMarkdown(line))
	}
	for _, g := range Grids(s) {
		out.print("\n")
		if g.Title != "" {
			out.print("## %s\n\n", EscapeMarkdown(g.Title))
		}
		if out.err == nil && !g.Blank {
			out.err = pipes(w, g)
		}
		for _, note := range g.Notes {
			out.print("\n%s\n", EscapeMarkdown(note))
		}
	}
	if len(s.Thresholds) > 0 {
		out.print("\n## Thresholds\n\n")
		for _, o := range s.Thresholds {
			mark := "holds"
			if !o.OK {
				mark = "**failed**"
			}
			out.print("- %s: %s\n", mark, EscapeMarkdown(failure(s, o)))
		}
	}
	return out.err
}

// text writes until the first error, which it keeps.
type text struct {
	w   io.Writer
	err error
}

func (t *text) print(format string, args ...any) {
	if t.err == nil {
		_, t.err = fmt.Fprintf(t.w, format, args...)
	}
}

func (t *text) heading(s *summary.Summary) {
	t.print("%s\n", Escape(s.Name))
	if s.Question != "" {
		t.print("%s\n", Escape(s.Question))
	}
	for _, line := range stamps(s) {
		t.print("%s\n", Escape(line))
	}
}

// stamps are the lines that qualify everything below them.
func stamps(s *summary.Summary) []string {
	var lines []string
	if s.Status != summary.Valid {
		lines = append(lines, s.Status+": "+strings.Join(s.Reasons, "; "))
	}
	return append(lines, s.Notes...)
}

func failure(s *summary.Summary, o summary.Outcome) string {
	where := ""
	if cell := CellOf(s, o); cell != "" {
		where = " at " + cell
	}
	return fmt.Sprintf("%s (%s%s: %s)", o.Expr, o.Policy, where, ValueOf(s, o))
}

// CellOf names the cell of a threshold as the tables do; a lone cell has no name.
func CellOf(s *summary.Summary, o summary.Outcome) string {
	cell, ok := s.CellByID(o.Cell)
	if !ok {
		return o.Cell
	}
	return Title(cell)
}

// ValueOf is what was measured for a threshold, with its unit.
func ValueOf(s *summary.Summary, o summary.Outcome) string {
	if !o.Value.Known() {
		return "not measured"
	}
	text := strconv.FormatFloat(float64(o.Value), 'g', 4, 64)
	if v := math.Abs(float64(o.Value)); v >= 1000 && v < 1e9 {
		text = strconv.FormatFloat(float64(o.Value), 'f', 0, 64)
	}
	if unit := summary.UnitOf(o.Expr); unit != "1" {
		text += " " + unit
	}
	return text
}

// mark tells the chosen policies from the others where there is no bold type.
var mark = map[bool]string{true: "→ ", false: "  "}

// WriteGrid prints a grid alone for a terminal: no title, no notes.
func WriteGrid(w io.Writer, g Grid, o Options) error { return terminal(w, g, o) }

// MarkdownGrid prints a grid alone as Markdown.
func MarkdownGrid(w io.Writer, g Grid) error { return pipes(w, g) }

// terminal prints g with light lines, leaving columns out until it fits.
func terminal(w io.Writer, g Grid, o Options) error {
	g = fit(g, o.Width)
	heads, rows := make([]string, len(g.Columns)), make([][]string, len(g.Rows))
	for i, c := range g.Columns {
		heads[i] = Escape(head(c))
	}
	for i, r := range g.Rows {
		rows[i] = make([]string, len(r.Cells))
		for j, cell := range r.Cells {
			rows[i][j] = Escape(cell)
		}
		rows[i][0] = mark[r.Chosen] + rows[i][0]
		if o.Color {
			paint(rows[i], r)
		}
	}
	style := tw.Rendition{
		Borders:  tw.Border{Left: tw.Off, Right: tw.Off, Top: tw.Off, Bottom: tw.Off},
		Symbols:  tw.NewSymbols(tw.StyleLight),
		Settings: tw.Settings{Separators: tw.Separators{BetweenColumns: tw.Off, BetweenRows: tw.Off}, Lines: tw.Lines{ShowHeaderLine: tw.On}},
	}
	return render(w, renderer.NewBlueprint(style), g, heads, rows)
}

func pipes(w io.Writer, g Grid) error {
	heads, rows := make([]string, len(g.Columns)), make([][]string, len(g.Rows))
	for i, c := range g.Columns {
		heads[i] = EscapeMarkdown(head(c))
	}
	for i, r := range g.Rows {
		rows[i] = make([]string, len(r.Cells))
		for j, cell := range r.Cells {
			rows[i][j] = EscapeMarkdown(cell)
		}
		if r.Chosen {
			rows[i][0] = "**" + rows[i][0] + "**"
		}
	}
	return render(w, renderer.NewMarkdown(), g, heads, rows)
}

func render(w io.Writer, r tw.Renderer, g Grid, heads []string, rows [][]string) error {
	align := make([]tw.Align, len(g.Columns))
	for i, c := range g.Columns {
		align[i] = tw.AlignLeft
		if c.Right {
			align[i] = tw.AlignRight
		}
	}
	alignment := tw.CellAlignment{PerColumn: align}
	format := tw.CellFormatting{AutoFormat: tw.Off, AutoWrap: tw.WrapNone}
	t := tablewriter.NewTable(w, tablewriter.WithRenderer(r), tablewriter.WithConfig(tablewriter.Config{
		Header: tw.CellConfig{Formatting: format, Alignment: alignment},
		Row:    tw.CellConfig{Formatting: format, Alignment: alignment},
	}), tablewriter.WithTrimSpace(tw.Off))
	t.Header(heads)
	if err := t.Bulk(rows); err != nil {
		return err
	}
	return t.Render()
}

func head(c Column) string {
	if c.Unit == "" {
		return c.Title
	}
	return c.Title + " [" + c.Unit + "]"
}

// fit leaves out columns of the largest rank until g is no wider than width.
func fit(g Grid, width int) Grid {
	for width > 0 && wide(g) > width {
		worst := -1
		for i, c := range g.Columns {
			if c.Rank > 0 && (worst < 0 || c.Rank > g.Columns[worst].Rank) {
				worst = i
			}
		}
		if worst < 0 {
			break
		}
		g.Columns = slices.Delete(slices.Clone(g.Columns), worst, worst+1)
		g.Rows = slices.Clone(g.Rows)
		for i := range g.Rows {
			g.Rows[i].Cells = slices.Delete(slices.Clone(g.Rows[i].Cells), worst, worst+1)
		}
	}
	return g
}

func wide(g Grid) int {
	total := 0
	for i, c := range g.Columns {
		column := twwidth.Width(Escape(head(c)))
		for _, r := range g.Rows {
			column = max(column, twwidth.Width(Escape(r.Cells[i])))
		}
		total += column + 2
	}
	return total + len("> ")
}

// paint colours the verdict, the last cell, and the name of a chosen policy.
func paint(cells []string, r Row) {
	color := map[string]string{summary.Better: "32", summary.Worse: "31", summary.Underpowered: "33"}[r.Verdict]
	if r.Status != summary.Valid {
		color = "31"
	}
	if last := len(cells) - 1; color != "" {
		cells[last] = "\x1b[" + color + "m" + cells[last] + "\x1b[0m"
	}
	if r.Chosen {
		cells[0] = "\x1b[1m" + cells[0] + "\x1b[0m"
	}
}

// Escape shows control and invisible formatting characters as \x1b and the like.
func Escape(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// EscapeMarkdown escapes s for running text and cells of Markdown.
func EscapeMarkdown(s string) string {
	var b strings.Builder
	for _, r := range Escape(s) {
		switch r {
		case '<':
			b.WriteString("&lt;")
			continue
		case '&':
			b.WriteString("&amp;")
			continue
		case '\\', '`', '*', '_', '[', ']', '|', '#', '~', '>':
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// wrap breaks text at spaces so that lines are no wider than width, 100 if unknown.
func wrap(s string, width int) string {
	if width <= 0 || width > 100 {
		width = 100
	}
	var b strings.Builder
	column := 0
	for i, word := range strings.Fields(s) {
		n := twwidth.Width(word)
		switch {
		case i == 0:
		case column+1+n > width:
			b.WriteByte('\n')
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += n
	}
	return b.String()
}
