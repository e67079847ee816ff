package charts

import (
	"cmp"
	"image/color"
	"slices"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Bar is one policy's figure.
type Bar struct {
	Name  string
	Value float64
	// Low and High are its 95 % interval; equal to each other for none.
	Low, High   float64
	Baseline    bool
	Clairvoyant bool
	Invalid     bool // drawn without a bar, as the word
	// Finishes is what a policy finishes of its items, like "15%"; empty for all.
	Finishes string
}

// label is the name with what must be known about it.
func (b Bar) label() string {
	if b.Clairvoyant {
		return b.Name + " (clairvoyant)"
	}
	if b.Finishes != "" {
		return b.Name + " (finishes " + b.Finishes + ")"
	}
	return b.Name
}

// Switches draws the model switches of each policy, fewest first, and a line at
// bound, which no policy can beat that finishes everything; 0 for none.
func Switches(head Head, bars []Bar, bound float64) *Chart {
	return ranking(head, bars, "model switches", 1, bound)
}

// Loads draws the model loads of each policy like Switches.
func Loads(head Head, bars []Bar, bound float64) *Chart {
	return ranking(head, bars, "model loads", 1, bound)
}

// Latencies draws the mean latency of each policy in seconds like Switches.
func Latencies(head Head, bars []Bar, bound float64) *Chart {
	top := 0.0
	for _, b := range bars {
		if usable(b.Value) && !b.Invalid {
			top = max(top, b.Value)
		}
	}
	unit, seconds := unitOf(top)
	return ranking(head, bars, "mean latency ["+unit+"]", seconds, bound)
}

// boundLine marks what no policy can beat that finishes everything.
var boundLine = draw.LineStyle{Color: vermilion, Width: 1.3, Dashes: []vg.Length{5, 3}}

const barRow = 23 * vg.Length(1)

// ranking draws horizontal bars with intervals, values in multiples of unit.
func ranking(head Head, bars []Bar, title string, unit, bound float64) *Chart {
	shown := make([]Bar, 0, len(bars))
	top, interval := 0.0, false
	for _, b := range bars {
		b.Value, b.Low, b.High = b.Value/unit, b.Low/unit, b.High/unit
		if !b.Invalid && (!usable(b.Value) || b.Value < 0 || !usable(b.Low) || !usable(b.High)) {
			continue
		}
		shown = append(shown, b)
		if !b.Invalid {
			top = max(top, b.Value, b.High)
			interval = interval || b.Low < b.High
		}
	}
	if !slices.ContainsFunc(shown, func(b Bar) bool { return !b.Invalid }) {
		return nothing(head)
	}
	slices.SortStableFunc(shown, func(a, b Bar) int {
		if a.Invalid != b.Invalid {
			return map[bool]int{true: 1, false: -1}[a.Invalid]
		}
		return cmp.Compare(a.Value, b.Value)
	})
	var notes []string
	if !interval {
		notes = append(notes, "No intervals: nothing was replicated or nothing varied.")
	}
	legend := barLegend(shown, interval)
	if bound /= unit; usable(bound) && bound > 0 {
		top = max(top, bound)
		notes = append(notes, "Bound: no policy that finishes everything can do better.")
		legend = append(legend, entry{"bound (" + short(bound) + ")", func(p pen, at box) {
			p.line(boundLine, (at.left+at.right)/2, at.bottom, (at.left+at.right)/2, at.top)
		}})
	}
	return sized(head, legend, notes, barRow*vg.Length(len(shown))+xAxisRoom+4, func(p pen, area box) {
		drawRanking(p, area, shown, title, top, bound)
	})
}

func barColor(b Bar) color.NRGBA {
	switch {
	case b.Baseline:
		return slate
	case b.Clairvoyant:
		return tint(blue, 0.3)
	}
	return blue
}

func barLegend(bars []Bar, interval bool) []entry {
	swatch := func(c color.Color) func(pen, box) {
		return func(p pen, at box) { p.fill(at, c) }
	}
	legend := []entry{{"policy", swatch(blue)}}
	if slices.ContainsFunc(bars, func(b Bar) bool { return b.Baseline }) {
		legend = append(legend, entry{"baseline", swatch(slate)})
	}
	if slices.ContainsFunc(bars, func(b Bar) bool { return b.Clairvoyant }) {
		legend = append(legend, entry{"clairvoyant: knows the future", swatch(tint(blue, 0.3))})
	}
	if interval {
		legend = append(legend, entry{"95 % interval of the mean", func(p pen, at box) { whisker(p, at.left+2, at.right-2, at.middle()) }})
	}
	return legend
}

// whisker draws an interval with caps.
func whisker(p pen, from, to, y vg.Length) {
	s := draw.LineStyle{Color: ink, Width: 1.1}
	p.line(s, from, y, to, y)
	p.line(s, from, y-3, from, y+3)
	p.line(s, to, y-3, to, y+3)
}

func drawRanking(p pen, area box, bars []Bar, title string, top, bound float64) {
	var gutter vg.Length
	for _, b := range bars {
		gutter = max(gutter, labelStyle.Width(clip(b.label(), labelStyle, 190)))
	}
	inner := box{area.left + gutter + 8, area.bottom + xAxisRoom, area.right - 80, area.top}
	s, ticks := linear(top, 6)
	s.from, s.to = inner.left, inner.right
	p.xAxis(inner, s, ticks, title)
	for i, b := range bars {
		y := inner.top - barRow*(vg.Length(i)+0.5)
		p.write(inner.left-6, y, rightMiddle(labelStyle), clip(b.label(), labelStyle, 190))
		if b.Invalid {
			p.write(inner.left+6, y, leftMiddle(tickStyle), "INVALID")
			continue
		}
		p.fill(box{inner.left, y - 7, s.at(b.Value), y + 7}, barColor(b))
		end := s.at(max(b.Value, b.High))
		if b.Low < b.High {
			whisker(p, s.at(max(0, b.Low)), end, y)
		}
		p.write(end+6, y, leftMiddle(tickStyle), valueLabel(b))
	}
	if usable(bound) && bound > 0 {
		p.line(boundLine, s.at(bound), inner.bottom, s.at(bound), inner.top)
	}
	p.line(thin(axisColor), inner.left, inner.bottom, inner.left, inner.top)
}

func valueLabel(b Bar) string {
	text := short(b.Value)
	if b.Low < b.High {
		text += " ± " + rounded((b.High-b.Low)/2, 2)
	}
	return text
}

// Share is how the device time of one policy divides. What the three lack of
// their sum is drawn to scale: they are shares of it.
type Share struct {
	Name                   string
	Running, Loading, Idle float64
	Clairvoyant            bool
}

// Breakdown draws, for each policy, the share of device time spent running
// batches, loading models and idle; the least loading first.
func Breakdown(head Head, shares []Share) *Chart {
	shown := make([]Share, 0, len(shares))
	for _, s := range shares {
		total := s.Running + s.Loading + s.Idle
		if !usable(total) || !(total > 0) || s.Running < 0 || s.Loading < 0 || s.Idle < 0 {
			continue
		}
		s.Running, s.Loading, s.Idle = s.Running/total, s.Loading/total, s.Idle/total
		shown = append(shown, s)
	}
	if len(shown) == 0 {
		return nothing(head)
	}
	slices.SortStableFunc(shown, func(a, b Share) int { return cmp.Compare(a.Loading, b.Loading) })
	swatch := func(c color.Color) func(pen, box) { return func(p pen, at box) { p.fill(at, c) } }
	legend := []entry{{"running batches", swatch(blue)}, {"loading models", swatch(orange)}, {"idle", swatch(idleGrey)}}
	return sized(head, legend, nil, barRow*vg.Length(len(shown))+xAxisRoom+4, func(p pen, area box) {
		drawShares(p, area, shown)
	})
}

func drawShares(p pen, area box, shares []Share) {
	var gutter vg.Length
	label := func(s Share) string {
		return clip(Bar{Name: s.Name, Clairvoyant: s.Clairvoyant}.label(), labelStyle, 190)
	}
	for _, s := range shares {
		gutter = max(gutter, labelStyle.Width(label(s)))
	}
	inner := box{area.left + gutter + 8, area.bottom + xAxisRoom, area.right - 16, area.top}
	x := scale{min: 0, max: 100, from: inner.left, to: inner.right}
	p.xAxis(inner, x, between(0, 100, 5), "share of device time [%]")
	for i, s := range shares {
		y := inner.top - barRow*(vg.Length(i)+0.5)
		p.write(inner.left-6, y, rightMiddle(labelStyle), label(s))
		from := 0.0
		for _, part := range [...]struct {
			share float64
			fill  color.NRGBA
			text  color.NRGBA
		}{{s.Running, blue, white}, {s.Loading, orange, ink}, {s.Idle, idleGrey, ink}} {
			to := from + 100*part.share
			p.fill(box{x.at(from), y - 7, x.at(to), y + 7}, part.fill)
			if number := short(float64(int(1000*part.share+0.5)) / 10); part.share >= 0.06 {
				style := centred(tickStyle)
				style.Color = part.text
				p.write((x.at(from)+x.at(to))/2, y, style, number)
			}
			from = to
		}
	}
	p.line(thin(axisColor), inner.left, inner.bottom, inner.left, inner.top)
}
