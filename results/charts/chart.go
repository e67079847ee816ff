package charts

import (
	"bytes"
	"errors"
	"fmt"
	"html"
	"image/color"
	"io"
	"path"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	xfont "golang.org/x/image/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgpdf"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Head is what stands above a chart.
type Head struct {
	Title    string
	Subtitle string // what was run: experiment and cell
}

// Format is a file format.
type Format string

// Formats.
const (
	SVG Format = "svg"
	PNG Format = "png"
	PDF Format = "pdf"
)

// ErrFormat is wrapped by the error for a file name of no known format.
var ErrFormat = errors.New("charts are written as .svg, .png or .pdf")

// FormatOf returns the format that a file name asks for by its extension.
func FormatOf(name string) (Format, error) {
	switch f := Format(strings.ToLower(strings.TrimPrefix(path.Ext(name), "."))); f {
	case SVG, PNG, PDF:
		return f, nil
	}
	return "", fmt.Errorf("%q: %w", name, ErrFormat)
}

// Info names a chart for lists and file names.
type Info struct{ Name, What string }

// All lists the charts in the order of a report.
func All() []Info {
	return []Info{
		{"switches", "model switches of each policy with 95 % intervals"},
		{"loads", "model loads of each policy with 95 % intervals"},
		{"latency", "mean latency of each policy with 95 % intervals"},
		{"ccdf", "share of items slower than a time, both axes logarithmic"},
		{"breakdown", "share of device time spent running, loading and idle"},
		{"waits", "mean and p99 wait of each model under each policy"},
		{"residency", "which model is resident, loading or running on each device over time, and the memory reserved"},
	}
}

// Hardware lists the charts of what only a run on a card has.
func Hardware() []Info {
	return []Info{
		{"load-times", "what loads took against their bytes, and what the link can do"},
		{"vram", "memory of each model, declared and measured"},
		{"power", "residency over time, and below it the memory in use and the power"},
	}
}

// Compared lists the charts of a simulation against a run on a card.
func Compared() []Info {
	return []Info{
		{"predicted", "latency of each item, predicted against measured"},
		{"phase-errors", "signed error of what each phase of each model takes"},
	}
}

// Chart is a drawing that can be written more than once.
type Chart struct {
	head          Head
	legend        []entry
	notes         []string
	width, height vg.Length // of everything
	body          func(p pen, area box)
}

// entry is one line of the legend.
type entry struct {
	name string
	draw func(p pen, at box) // into a small box left of the name
}

// Widths of charts; height follows from what is in them. Two ordinary charts
// stand side by side in a report, a timeline goes across.
const (
	chartWidth  = 560 * vg.Length(1)
	widerWidth  = 760 * vg.Length(1)
	margin      = 18 * vg.Length(1)
	pixelsPerIn = 144
)

// Empty reports whether the chart has nothing to show.
func (c *Chart) Empty() bool { return c.body == nil }

// Notes returns what the chart says about what it leaves out.
func (c *Chart) Notes() []string { return c.notes }

// Write draws the chart in the given format.
func (c *Chart) Write(w io.Writer, f Format) error {
	switch f {
	case PNG:
		canvas := vgimg.NewWith(vgimg.UseWH(c.width, c.height), vgimg.UseDPI(pixelsPerIn))
		c.draw(draw.New(canvas), false)
		_, err := vgimg.PngCanvas{Canvas: canvas}.WriteTo(w)
		return err
	case PDF:
		canvas := vgpdf.New(c.width, c.height)
		c.draw(draw.New(canvas), true)
		_, err := canvas.WriteTo(w)
		return err
	case SVG:
		canvas := vgsvg.New(c.width, c.height)
		c.draw(draw.New(canvas), false)
		var out bytes.Buffer
		if _, err := canvas.WriteTo(&out); err != nil {
			return err
		}
		_, err := w.Write(c.finish(out.Bytes()))
		return err
	}
	return fmt.Errorf("%q: %w", f, ErrFormat)
}

// finish gives an SVG a title for screen readers and fonts to fall back on.
func (c *Chart) finish(svg []byte) []byte {
	svg = fixWidths(svg)
	svg = bytes.ReplaceAll(svg, []byte("font-family:Liberation Sans"), []byte("font-family:'Liberation Sans',Arial,Helvetica,sans-serif"))
	open := bytes.Index(svg, []byte("<svg"))
	end := open + bytes.IndexByte(svg[open:], '>')
	title := "\n<title>" + html.EscapeString(clean(c.head.Title)) + "</title>"
	return append(append(append([]byte{}, svg[:end]...), []byte(` role="img">`+title)...), svg[end+1:]...)
}

// fixWidths states the width of every text, which was measured in Liberation
// Sans: where a viewer has to take another font, it fits the text to that width
// instead of drawing over what stands beside it.
func fixWidths(svg []byte) []byte {
	text := regexp.MustCompile(`(<text [^>]*?)(\s+style="[^"]*font-weight:(\w+);[^"]*font-size:([0-9.]+)px[^"]*")>([^<]*)</text>`)
	return text.ReplaceAllFunc(svg, func(element []byte) []byte {
		part := text.FindSubmatch(element)
		size, err := strconv.ParseFloat(string(part[4]), 64)
		if err != nil || len(part[5]) == 0 {
			return element
		}
		weight := xfont.WeightNormal
		if string(part[3]) == "bold" {
			weight = xfont.WeightBold
		}
		width := sans(vg.Length(size), weight, ink).Width(html.UnescapeString(string(part[5]))).Points()
		return fmt.Appendf(nil, `%s textLength="%.2f" lengthAdjust="spacingAndGlyphs"%s>%s</text>`, part[1], width, part[2], part[5])
	})
}

// draw lays out head, legend, body and notes from top to bottom. The PDF
// canvas cannot select a bold face: regular replaces it.
func (c *Chart) draw(canvas draw.Canvas, regular bool) {
	p := pen{Canvas: canvas, regular: regular}
	p.fill(box{0, 0, c.width, c.height}, white)
	area := box{margin, margin, c.width - margin, c.height - margin}
	area.top -= 13
	p.write(area.left, area.top, titleStyle, clip(c.head.Title, titleStyle, area.width()))
	if c.head.Subtitle != "" {
		area.top -= 16
		p.write(area.left, area.top, subtitleStyle, clip(c.head.Subtitle, subtitleStyle, area.width()))
	}
	area.top -= 10
	if len(c.legend) > 0 {
		area.top = c.drawLegend(p, area) - legendRoom
	}
	for i := len(c.notes) - 1; i >= 0; i-- {
		p.write(area.left, area.bottom, noteStyle, clip(c.notes[i], noteStyle, area.width()))
		area.bottom += 13
	}
	if len(c.notes) > 0 {
		area.bottom += 4
	}
	if c.body == nil {
		p.write((area.left+area.right)/2, (area.bottom+area.top)/2, centred(noDataStyle), "no data")
		return
	}
	c.body(p, area)
}

const (
	legendRow    = 16
	legendSwatch = 20
	legendGap    = 14
	legendRoom   = 11 // below it
)

// legendRows divides the entries into rows that fit.
func (c *Chart) legendRows(width vg.Length) [][]entry {
	var rows [][]entry
	var used vg.Length
	for _, e := range c.legend {
		need := legendSwatch + 5 + labelStyle.Width(clip(e.name, labelStyle, 170)) + legendGap
		if len(rows) == 0 || used+need > width+legendGap {
			rows, used = append(rows, nil), 0
		}
		rows[len(rows)-1] = append(rows[len(rows)-1], e)
		used += need
	}
	return rows
}

// drawLegend returns the height below the last row.
func (c *Chart) drawLegend(p pen, area box) vg.Length {
	y := area.top
	for _, row := range c.legendRows(area.width()) {
		x := area.left
		y -= legendRow
		for _, e := range row {
			name := clip(e.name, labelStyle, 170)
			e.draw(p, box{x, y, x + legendSwatch, y + 9})
			p.write(x+legendSwatch+5, y+1.2, labelStyle, name)
			x += legendSwatch + 5 + labelStyle.Width(name) + legendGap
		}
	}
	return y
}

// sized makes a chart around a body of the given height.
func sized(head Head, legend []entry, notes []string, body vg.Length, draw func(p pen, area box)) *Chart {
	return layout(Chart{head: head, legend: legend, notes: notes, width: chartWidth, body: draw}, body)
}

// layout gives c the height that its parts need.
func layout(c Chart, body vg.Length) *Chart {
	c.height = 2*margin + 13 + 10 + body
	if c.head.Subtitle != "" {
		c.height += 16
	}
	if len(c.legend) > 0 {
		c.height += vg.Length(len(c.legendRows(c.width-2*margin)))*legendRow + legendRoom
	}
	if len(c.notes) > 0 {
		c.height += vg.Length(len(c.notes))*13 + 4
	}
	return &c
}

// nothing is the chart that says so.
func nothing(head Head, notes ...string) *Chart { return sized(head, nil, notes, 120, nil) }

// clean removes what must not stand in SVG or would steer a terminal or a
// text's direction: control and format characters and invalid UTF-8.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsGraphic(r) {
			return -1
		}
		return r
	}, s)
}

// tint mixes c with white: 1 is c itself, 0 white.
func tint(c color.NRGBA, share float64) color.NRGBA {
	mix := func(v uint8) uint8 { return uint8(255 - share*float64(255-v)) }
	return color.NRGBA{mix(c.R), mix(c.G), mix(c.B), 255}
}
