package charts

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// maxDots is how many points of a scatter plot are drawn.
const maxDots = 6000

// Latency is one item's latency in seconds, as simulated and as measured.
type Latency struct {
	Model               string
	Predicted, Measured float64
}

// Predicted draws the predicted latency of each item against the measured one
// on logarithmic axes: a perfect simulation lies on the diagonal.
func Predicted(head Head, items []Latency) *Chart {
	var groups []dots
	low, high := math.Inf(1), 0.0
	lost := 0
	for _, it := range items {
		if !usable(it.Predicted) || !usable(it.Measured) || it.Predicted < least || it.Measured < least {
			lost++
			continue
		}
		low, high = min(low, it.Predicted, it.Measured), max(high, it.Predicted, it.Measured)
		groups = addDot(groups, it.Model, Point{it.Measured, it.Predicted})
	}
	var notes []string
	if lost > 0 {
		notes = append(notes, fmt.Sprintf("%d items took no time and lie outside logarithmic axes.", lost))
	}
	if len(groups) == 0 {
		return nothing(head, notes...)
	}
	notes = append(notes, thinDots(groups)...)
	legend := append(dotLegend(groups), entry{"predicted = measured", func(p pen, at box) { p.line(diagonalLine, at.left, at.bottom, at.right, at.top) }})
	return sized(head, legend, notes, 400, func(p pen, area box) {
		inner := box{area.left + 66, area.bottom + xAxisRoom, area.right - 16, area.top - 4}
		x, ticks := decades(low, high, duration)
		x.min, x.max = tighten(x.min, x.max, low, high)
		ticks = inside(x, ticks)
		y := x
		x.from, x.to, y.from, y.to = inner.left, inner.right, inner.bottom, inner.top
		p.xAxis(inner, x, ticks, "measured latency")
		p.yAxis(inner, y, ticks, "predicted latency")
		p.line(diagonalLine, inner.left, inner.bottom, inner.right, inner.top)
		drawDots(p, groups, x, y)
	})
}

var diagonalLine = draw.LineStyle{Color: slate, Width: 1.1, Dashes: []vg.Length{5, 3}}

// Load is one load of a model.
type Load struct {
	From    string // where: "disk" or "host"
	Bytes   float64
	Seconds float64
}

// LoadTimes draws what loads took against their bytes. bound is what the link
// can move in a second, in bytes, drawn as a line that no load can be below and
// called name; 0 for none.
func LoadTimes(head Head, loads []Load, bound float64, name string) *Chart {
	var groups []dots
	most, longest := 0.0, 0.0
	for _, l := range loads {
		if !usable(l.Bytes) || !usable(l.Seconds) || l.Bytes <= 0 || l.Seconds < 0 {
			continue
		}
		most, longest = max(most, l.Bytes), max(longest, l.Seconds)
		groups = addDot(groups, "from "+l.From, Point{l.Bytes / 1e9, l.Seconds})
	}
	if len(groups) == 0 || longest < least {
		return nothing(head)
	}
	notes := thinDots(groups)
	legend := dotLegend(groups)
	bounded := usable(bound) && bound > 0
	if bounded {
		legend = append(legend, entry{"bound: " + name, func(p pen, at box) { p.line(boundLine, at.left, at.bottom, at.right, at.top) }})
	}
	unit, seconds := unitOf(longest)
	for _, g := range groups {
		for i := range g.points {
			g.points[i].Y /= seconds
		}
	}
	return sized(head, legend, notes, 300, func(p pen, area box) {
		inner := box{area.left + 62, area.bottom + xAxisRoom, area.right - 16, area.top - 4}
		x, xTicks := linear(1.04*most/1e9, 6)
		y, yTicks := linear(1.04*longest/seconds, 5)
		x.from, x.to, y.from, y.to = inner.left, inner.right, inner.bottom, inner.top
		p.xAxis(inner, x, xTicks, "bytes loaded [GB]")
		p.yAxis(inner, y, yTicks, "load time ["+unit+"]")
		if bounded {
			end := min(x.max, y.max*seconds*bound/1e9)
			p.line(boundLine, inner.left, inner.bottom, x.at(end), y.at(end*1e9/bound/seconds))
		}
		drawDots(p, groups, x, y)
	})
}

// dots are the points of one series.
type dots struct {
	name   string
	points []Point
}

func addDot(groups []dots, name string, at Point) []dots {
	i := slices.IndexFunc(groups, func(g dots) bool { return g.name == name })
	if i < 0 {
		i = len(groups)
		groups = append(groups, dots{name: name})
	}
	groups[i].points = append(groups[i].points, at)
	return groups
}

// thinDots keeps every so many-th point where there are too many, and says so.
func thinDots(groups []dots) []string {
	total := 0
	for _, g := range groups {
		total += len(g.points)
	}
	if total <= maxDots {
		return nil
	}
	step, drawn := (total+maxDots-1)/maxDots, 0
	for i := range groups {
		var kept []Point
		for k := 0; k < len(groups[i].points); k += step {
			kept = append(kept, groups[i].points[k])
		}
		groups[i].points = kept
		drawn += len(kept)
	}
	return []string{fmt.Sprintf("%s of %s points drawn.", grouped(fmt.Sprint(drawn)), grouped(fmt.Sprint(total)))}
}

func dotLegend(groups []dots) (legend []entry) {
	for i, g := range groups {
		legend = append(legend, entry{g.name, func(p pen, at box) {
			p.DrawGlyphNoClip(nth(i).glyph(3), vg.Point{X: (at.left + at.right) / 2, Y: at.middle()})
		}})
	}
	return legend
}

func drawDots(p pen, groups []dots, x, y scale) {
	for i, g := range groups {
		style := nth(i).glyph(2.4)
		style.Color = withAlpha(nth(i), 170)
		for _, at := range g.points {
			p.DrawGlyphNoClip(style, vg.Point{X: x.at(x.clamp(at.X)), Y: y.at(y.clamp(at.Y))})
		}
	}
}
