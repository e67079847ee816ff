package report

import (
	"bytes"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/vramsim/vramsim/results/charts"
	"github.com/vramsim/vramsim/results/fidelity"
	"github.com/vramsim/vramsim/results/summary"
	"github.com/vramsim/vramsim/results/table"
)

// Input is everything a report shows. Only Summary is required.
type Input struct {
	Summary  *summary.Summary
	Figures  []Figure
	Resolved []byte // resolved.yaml
	Command  string // that reproduces the run
	Facts    []Fact // seed, versions, digests: what identifies the run
	// Fidelity is how far a run on a card is from its simulation; nil if it is
	// none or was not compared.
	Fidelity *fidelity.Result
}

// Fact is one line of the section on reproduction.
type Fact struct{ Name, Value string }

// Figure is a chart that was drawn before.
type Figure struct {
	Name   string // of the chart, like "ccdf"
	Cell   string // id of the cell it shows
	Title  string // for readers who cannot see it
	Format charts.Format
	Data   []byte
	Path   string // of its file, relative to the report, for Markdown
}

// ErrNoSummary is returned for an Input without a summary.
var ErrNoSummary = errors.New("report: there is no summary")

//go:embed report.gohtml
var source string

// page is what the template sees.
type page struct {
	*summary.Summary
	Verdict []string
	Cells   []section
	Command string
	Facts   []Fact
	YAML    string
	Failed  []summary.Outcome
	// Compared is the run beside its simulation, Label what its figures are.
	Compared []fidelity.Section
	Label    string
}

// section is one cell of the page.
type section struct {
	table.Grid
	Index   int
	Figures []picture // in two columns
	Wide    []picture // timelines, across both
}

type picture struct {
	Alt    string
	Source template.URL // a data URL made here from a drawing made here
}

// HTML writes the report as one self-contained page. Nothing is written if
// the page cannot be made.
func HTML(w io.Writer, in Input) error {
	if in.Summary == nil {
		return ErrNoSummary
	}
	t, err := template.New("report").Funcs(template.FuncMap{"value": func(o summary.Outcome) string { return table.ValueOf(in.Summary, o) },
		"cell": func(o summary.Outcome) string { return table.CellOf(in.Summary, o) }, "verdictClass": verdictClass}).Parse(source)
	if err != nil {
		panic("bug: " + err.Error())
	}
	p := page{Summary: in.Summary, Verdict: table.Verdict(in.Summary), Command: in.Command, Facts: in.Facts,
		YAML: string(in.Resolved), Failed: in.Summary.Failed()}
	if in.Fidelity != nil {
		p.Compared, p.Label = in.Fidelity.SideBySide(), in.Fidelity.Hardware.Label
	}
	for i, g := range table.Grids(in.Summary) {
		s := section{Grid: g, Index: i + 1}
		if s.Title == "" {
			s.Title = "Results"
		}
		for _, f := range in.Figures {
			switch {
			case f.Cell != g.Cell || g.Blank:
			case f.Name == "residency" || f.Name == "power":
				s.Wide = append(s.Wide, embedded(f))
			default:
				s.Figures = append(s.Figures, embedded(f))
			}
		}
		p.Cells = append(p.Cells, s)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, p); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	_, err = w.Write(out.Bytes())
	return err
}

func embedded(f Figure) picture {
	kind := "image/png"
	if f.Format == charts.SVG {
		kind = "image/svg+xml"
	}
	return picture{Alt: f.Title, Source: template.URL("data:" + kind + ";base64," + base64.StdEncoding.EncodeToString(f.Data))}
}

// verdictClass is the style of a row's last cell.
func verdictClass(r table.Row) string {
	switch {
	case r.Status != summary.Valid:
		return "bad"
	case r.Verdict == summary.Better:
		return "good"
	case r.Verdict == summary.Worse:
		return "bad"
	}
	return "even"
}

// Markdown writes the report as Markdown, which links to the chart files.
func Markdown(w io.Writer, in Input) error {
	if in.Summary == nil {
		return ErrNoSummary
	}
	var out bytes.Buffer
	if err := table.Markdown(&out, in.Summary); err != nil {
		return err
	}
	if in.Fidelity != nil {
		if err := compared(&out, in.Fidelity); err != nil {
			return err
		}
	}
	if len(in.Figures) > 0 {
		out.WriteString("\n## Charts\n")
	}
	for _, f := range in.Figures {
		if f.Path != "" {
			fmt.Fprintf(&out, "\n![%s](%s)\n", table.EscapeMarkdown(f.Title), linkPath(f.Path))
		}
	}
	out.WriteString("\n## Reproduce\n\n")
	if in.Command != "" {
		out.WriteString(fenced("sh", in.Command))
	}
	for _, f := range in.Facts {
		fmt.Fprintf(&out, "- %s: `%s`\n", table.EscapeMarkdown(f.Name), strings.ReplaceAll(table.Escape(f.Value), "`", "'"))
	}
	if len(in.Resolved) > 0 {
		out.WriteString("\n## Configuration\n\n" + fenced("yaml", string(in.Resolved)))
	}
	_, err := w.Write(out.Bytes())
	return err
}

// compared writes a run on a card beside its simulation.
func compared(out *bytes.Buffer, r *fidelity.Result) error {
	out.WriteString("\n## Simulated and measured\n\n")
	if r.Hardware.Label != "" {
		fmt.Fprintf(out, "**%s**\n\n", table.EscapeMarkdown(r.Hardware.Label))
	}
	for _, s := range r.SideBySide() {
		if s.Title != "" {
			fmt.Fprintf(out, "### %s\n\n", table.EscapeMarkdown(s.Title))
		}
		if len(s.Grid.Columns) > 0 {
			if err := table.MarkdownGrid(out, s.Grid); err != nil {
				return err
			}
			out.WriteString("\n")
		}
		for _, line := range s.Lines {
			fmt.Fprintf(out, "- %s\n", table.EscapeMarkdown(line))
		}
		if len(s.Lines) > 0 {
			out.WriteString("\n")
		}
	}
	return nil
}

// fenced puts text into a code block whose fence is longer than any in it.
func fenced(language, text string) string {
	fence := "```"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	var lines []string
	for _, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		lines = append(lines, table.Escape(strings.ReplaceAll(line, "\t", "    ")))
	}
	return fence + language + "\n" + strings.Join(lines, "\n") + "\n" + fence + "\n"
}

// linkPath keeps of a path what is safe inside a Markdown link.
func linkPath(path string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("/._-", r):
			return r
		}
		return '_'
	}, path)
}
