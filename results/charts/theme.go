package charts

import (
	"image/color"
	"math"

	xfont "golang.org/x/image/font"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

func rgb(hex uint32) color.NRGBA {
	return color.NRGBA{uint8(hex >> 16), uint8(hex >> 8), uint8(hex), 255}
}

// The palette of Okabe and Ito (Color Universal Design, 2008), in an order in
// which neighbours differ in lightness too; yellow, faint on white, is left out.
var palette = [...]color.NRGBA{
	rgb(0x0072B2), rgb(0xE69F00), rgb(0x009E73), rgb(0xCC79A7), rgb(0x56B4E9), rgb(0xD55E00), rgb(0x000000),
}

var (
	white     = rgb(0xFFFFFF)
	ink       = rgb(0x222222)
	faded     = rgb(0x666666)
	grid      = rgb(0xE4E4E4)
	axisColor = rgb(0x999999)
	blue      = rgb(0x0072B2)
	orange    = rgb(0xE69F00)
	vermilion = rgb(0xD55E00)
	idleGrey  = rgb(0xD9D9D9)
	slate     = rgb(0x5B6670)
)

func sans(size vg.Length, weight xfont.Weight, c color.Color) text.Style {
	return text.Style{Color: c, Font: font.Font{Typeface: "Liberation", Variant: "Sans", Weight: weight, Size: size},
		XAlign: text.XLeft, YAlign: text.YBottom, Handler: plot.DefaultTextHandler}
}

var (
	titleStyle    = sans(15, xfont.WeightBold, ink)
	subtitleStyle = sans(10, xfont.WeightNormal, faded)
	labelStyle    = sans(9.5, xfont.WeightNormal, ink)
	headingStyle  = sans(10, xfont.WeightBold, ink)
	tickStyle     = sans(9, xfont.WeightNormal, faded)
	noteStyle     = sans(8.5, xfont.WeightNormal, faded)
	noDataStyle   = sans(14, xfont.WeightNormal, axisColor)
)

func centred(s text.Style) text.Style      { s.XAlign, s.YAlign = text.XCenter, text.YCenter; return s }
func rightMiddle(s text.Style) text.Style  { s.XAlign, s.YAlign = text.XRight, text.YCenter; return s }
func leftMiddle(s text.Style) text.Style   { s.XAlign, s.YAlign = text.XLeft, text.YCenter; return s }
func centredBelow(s text.Style) text.Style { s.XAlign, s.YAlign = text.XCenter, text.YTop; return s }

// series is how the i-th of several lines or marks looks: colour, and beyond
// the palette another dash and shape.
type series struct {
	color color.NRGBA
	round int // how often the palette has been used up
}

func nth(i int) series { return series{palette[i%len(palette)], i / len(palette)} }

var dashes = [...][]vg.Length{nil, {5, 2.5}, {1.5, 2}, {7, 2, 1.5, 2}}

func (s series) line(width vg.Length) draw.LineStyle {
	return draw.LineStyle{Color: s.color, Width: width, Dashes: dashes[s.round%len(dashes)]}
}

var shapes = [...]draw.GlyphDrawer{draw.CircleGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{}, draw.RingGlyph{}}

func (s series) glyph(radius vg.Length) draw.GlyphStyle {
	return draw.GlyphStyle{Color: s.color, Radius: radius, Shape: shapes[s.round%len(shapes)]}
}

// box is a rectangle in points, the origin at the lower left.
type box struct{ left, bottom, right, top vg.Length }

func (b box) width() vg.Length  { return b.right - b.left }
func (b box) height() vg.Length { return b.top - b.bottom }
func (b box) middle() vg.Length { return (b.bottom + b.top) / 2 }

// pen draws on a canvas.
type pen struct {
	draw.Canvas
	regular bool // there is no bold face
}

func (p pen) fill(b box, c color.Color) {
	p.FillPolygon(c, []vg.Point{{X: b.left, Y: b.bottom}, {X: b.right, Y: b.bottom}, {X: b.right, Y: b.top}, {X: b.left, Y: b.top}})
}

func (p pen) frame(b box, s draw.LineStyle) {
	p.StrokeLines(s, []vg.Point{{X: b.left, Y: b.bottom}, {X: b.right, Y: b.bottom}, {X: b.right, Y: b.top}, {X: b.left, Y: b.top}, {X: b.left, Y: b.bottom}})
}

func (p pen) line(s draw.LineStyle, x0, y0, x1, y1 vg.Length) {
	p.StrokeLines(s, []vg.Point{{X: x0, Y: y0}, {X: x1, Y: y1}})
}

func (p pen) write(x, y vg.Length, s text.Style, txt string) {
	if p.regular {
		s.Font.Weight = xfont.WeightNormal
	}
	if s.YAlign == text.YCenter && s.Rotation == 0 {
		y += 0.8 // capitals and figures look centred when their box is not
	}
	if txt = clean(txt); txt != "" {
		p.FillText(s, vg.Point{X: x, Y: y}, txt)
	}
}

// upward writes text turned by a quarter, centred at a point.
func (p pen) upward(x, y vg.Length, s text.Style, txt string) {
	s = centred(s)
	s.Rotation = math.Pi / 2
	p.write(x, y, s, txt)
}

func thin(c color.Color) draw.LineStyle { return draw.LineStyle{Color: c, Width: 0.6} }

// clip cleans text and shortens it to width with an ellipsis.
func clip(txt string, s text.Style, width vg.Length) string {
	txt = clean(txt)
	runes := []rune(txt)
	if len(runes) > 300 {
		runes = runes[:300]
	}
	if len(runes) == len([]rune(txt)) && s.Width(txt) <= width {
		return txt
	}
	for len(runes) > 0 && s.Width(string(runes)+"…") > width {
		runes = runes[:len(runes)-1]
	}
	return string(runes) + "…"
}
