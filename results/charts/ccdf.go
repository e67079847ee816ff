package charts

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Point is one point of a curve.
type Point struct{ X, Y float64 }

// Curve is a named series of points with ascending X.
type Curve struct {
	Name        string
	Points      []Point
	Clairvoyant bool
}

// maxCurvePoints is how many points of a curve are drawn: more than one for
// each half point of width cannot be told apart.
const maxCurvePoints = 1200

// CCDF draws for each policy the share of items (Y, in (0, 1]) whose latency
// exceeds X seconds, on logarithmic axes.
func CCDF(head Head, curves []Curve) *Chart {
	shown := make([]Curve, 0, len(curves))
	dropped, total := 0, 0
	low, high, bottom := math.Inf(1), 0.0, 1.0
	for _, c := range curves {
		points := positive(c.Points)
		if n := len(c.Points); n > 0 && c.Points[n-1].Y == 0 {
			c.Points = c.Points[:n-1] // the slowest item: nothing is slower
		}
		total += len(c.Points)
		dropped += len(c.Points) - len(points)
		if len(points) == 0 {
			continue
		}
		for _, q := range points {
			low, high, bottom = min(low, q.X), max(high, q.X), min(bottom, q.Y)
		}
		shown = append(shown, Curve{Name: Bar{Name: c.Name, Clairvoyant: c.Clairvoyant}.label(), Points: points})
	}
	var notes []string
	if dropped > 0 {
		notes = append(notes, fmt.Sprintf("%s of %s points are 0 or no measurements and lie outside logarithmic axes.", short(float64(dropped)), short(float64(total))))
	}
	if len(shown) == 0 {
		return nothing(head, notes...)
	}
	low = max(low, high/1e7) // seven decades are enough for the eye
	for i := range shown {
		if n := len(shown[i].Points); n > maxCurvePoints {
			shown[i].Points = thinned(shown[i].Points, low, high)
			notes = append(notes, fmt.Sprintf("%s: %d of %s points drawn.", clean(shown[i].Name), len(shown[i].Points), grouped(fmt.Sprint(n))))
		}
	}
	legend := make([]entry, len(shown))
	for i, c := range shown {
		legend[i] = entry{c.Name, func(p pen, at box) { p.line(nth(i).line(1.8), at.left, at.middle(), at.right, at.middle()) }}
	}
	return sized(head, legend, notes, 300, func(p pen, area box) { drawCCDF(p, area, shown, low, high, bottom) })
}

// positive returns the points that have a place on logarithmic axes.
func positive(points []Point) []Point {
	kept := make([]Point, 0, min(len(points), 1<<16))
	for _, q := range points {
		if usable(q.X) && usable(q.Y) && q.X >= least && q.Y >= least {
			kept = append(kept, q)
		}
	}
	return kept
}

// thinned keeps the last point of each of maxCurvePoints equal steps of log X,
// and the ends.
func thinned(points []Point, low, high float64) []Point {
	if !(low < high) {
		return points[:1]
	}
	step := func(q Point) int {
		return int(float64(maxCurvePoints-2) * math.Log(max(q.X, low)/low) / math.Log(high/low))
	}
	kept := []Point{points[0]}
	for i, q := range points[1:] {
		if i+2 == len(points) || step(q) != step(points[i+2]) {
			kept = append(kept, q)
		}
	}
	return kept
}

func drawCCDF(p pen, area box, curves []Curve, low, high, bottom float64) {
	inner := box{area.left + 62, area.bottom + xAxisRoom, area.right - 16, area.top - 4}
	x, xTicks := decades(low, high, duration)
	// A range much shorter than its decades is cut to halves of them.
	x.min, x.max = tighten(x.min, x.max, low, high)
	y, yTicks := decades(max(min(bottom, 0.1), 1e-7), 1, percent)
	x.from, x.to, y.from, y.to = inner.left, inner.right, inner.bottom, inner.top
	p.xAxis(inner, x, inside(x, xTicks), "latency, from arrival to finish")
	p.yAxis(inner, y, yTicks, "share of items slower")
	for i, c := range curves {
		line := make([]vg.Point, 0, 2*len(c.Points)+2)
		before := 1.0
		for _, q := range c.Points {
			at := x.at(x.clamp(q.X))
			line = append(line, vg.Point{X: at, Y: y.at(y.clamp(before))}, vg.Point{X: at, Y: y.at(y.clamp(q.Y))})
			before = q.Y
		}
		style := nth(i).line(1.8)
		style.Color = withAlpha(nth(i), 230)
		p.StrokeLines(style, slices.Compact(line))
		if len(c.Points) == 1 {
			p.DrawGlyph(draw.GlyphStyle{Color: nth(i).color, Radius: 3, Shape: draw.CircleGlyph{}}, line[1])
		}
	}
}

// tighten moves the ends of a logarithmic range inward to 1, 2 or 5 times a
// power of ten, keeping low and high inside.
func tighten(min, max, low, high float64) (float64, float64) {
	from, to := min, max
	for _, m := range [...]float64{2, 5} {
		if m*min <= low {
			from = m * min
		}
	}
	for _, m := range [...]float64{2, 5} {
		if max/m >= high {
			to = max / m
		}
	}
	if from >= to {
		return min, max
	}
	return from, to
}

func inside(s scale, ticks []tick) []tick {
	kept := ticks[:0:0]
	labels := 0
	for _, t := range ticks {
		if t.value >= s.min*(1-1e-9) && t.value <= s.max*(1+1e-9) {
			kept = append(kept, t)
			if t.label != "" {
				labels++
			}
		}
	}
	if labels < 3 { // few powers of ten in sight: name more of the ticks
		for i, t := range kept {
			if m := t.value / math.Pow10(int(math.Floor(math.Log10(t.value)+1e-9))); labels < 1 || m < 1.5 || math.Abs(m-2) < 0.1 || math.Abs(m-5) < 0.1 {
				kept[i].label = duration(t.value)
			}
		}
	}
	return kept
}
