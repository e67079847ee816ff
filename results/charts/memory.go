package charts

import (
	"image/color"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Footprint is the memory of one model in bytes, as declared and as measured;
// what was not measured is 0.
type Footprint struct {
	Model                     string
	Declared                  float64 // weights
	DeclaredRun               float64 // and the largest batch
	Weights, LoadPeak, RunMax float64 // measured: after a load, during one, during a batch
}

// Footprints draws for each model what it declares (bars: weights, and with
// the largest batch) and what was measured of it (marks). A mark beyond its bar
// is a promise that the model broke.
func Footprints(head Head, models []Footprint) *Chart {
	var shown []Footprint
	top := 0.0
	for _, m := range models {
		sizes := [...]float64{m.Declared, m.DeclaredRun, m.Weights, m.LoadPeak, m.RunMax}
		fits := true
		for _, v := range sizes {
			fits = fits && usable(v) && v >= 0
		}
		if !fits || m.Weights+m.LoadPeak+m.RunMax == 0 {
			continue
		}
		shown = append(shown, m)
		for _, v := range sizes {
			top = max(top, v)
		}
	}
	if len(shown) == 0 {
		return nothing(head, "The card told nothing of the models' memory.")
	}
	swatch := func(c color.Color) func(pen, box) { return func(p pen, at box) { p.fill(at, c) } }
	glyph := func(i int) func(pen, box) {
		return func(p pen, at box) { footprintMark(p, i, (at.left+at.right)/2, at.middle(), false) }
	}
	legend := []entry{{"declared weights", swatch(tint(slate, 0.55))}, {"with the largest batch", swatch(tint(slate, 0.22))},
		{"measured weights", glyph(0)}, {"peak of a load", glyph(1)}, {"peak of a batch", glyph(2)}}
	return sized(head, legend, nil, barRow*vg.Length(len(shown))+xAxisRoom+4, func(p pen, area box) { drawFootprints(p, area, shown, top/1e9) })
}

// footprintMark draws the i-th kind of measurement, red where it exceeds what was declared.
func footprintMark(p pen, i int, x, y vg.Length, exceeds bool) {
	style := draw.GlyphStyle{Color: blue, Radius: 3.4, Shape: shapes[i]}
	if exceeds {
		style.Color = vermilion
	}
	p.DrawGlyphNoClip(style, vg.Point{X: x, Y: y})
}

func drawFootprints(p pen, area box, models []Footprint, top float64) {
	var gutter vg.Length
	for _, m := range models {
		gutter = max(gutter, labelStyle.Width(clip(m.Model, labelStyle, 190)))
	}
	inner := box{area.left + gutter + 8, area.bottom + xAxisRoom, area.right - 16, area.top}
	x, ticks := linear(1.04*top, 6)
	x.from, x.to = inner.left, inner.right
	p.xAxis(inner, x, ticks, "memory [GB]")
	for i, m := range models {
		y := inner.top - barRow*(vg.Length(i)+0.5)
		p.write(inner.left-6, y, rightMiddle(labelStyle), clip(m.Model, labelStyle, 190))
		p.fill(box{inner.left, y - 7, x.at(m.DeclaredRun / 1e9), y + 7}, tint(slate, 0.22))
		p.fill(box{inner.left, y - 7, x.at(m.Declared / 1e9), y + 7}, tint(slate, 0.55))
		for k, v := range [...]float64{m.Weights, m.LoadPeak, m.RunMax} {
			if v > 0 {
				footprintMark(p, k, x.at(v/1e9), y, v > [...]float64{m.Declared, m.Declared, m.DeclaredRun}[k])
			}
		}
	}
	p.line(thin(axisColor), inner.left, inner.bottom, inner.left, inner.top)
}
