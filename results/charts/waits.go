package charts

import (
	"cmp"
	"fmt"
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Wait is how long items of one model waited under one policy, in seconds.
type Wait struct {
	Model, Policy string
	Mean, P99     float64
	Clairvoyant   bool
}

// Most models and rows that Waits draws, and the heights of its rows.
const (
	maxWaitModels = 16
	maxWaitRows   = 96
	fewWaitModels = 3 // are drawn whatever the number of policies
	waitRow       = 12 * vg.Length(1)
	waitGap       = 10 * vg.Length(1)
)

// group is one model of Waits.
type group struct {
	model string
	waits []Wait
	worst float64
}

// Waits draws mean (dot) and p99 (bar end) of the wait from ready to start for
// each model and, within it, each policy, in the order given. The axis is
// logarithmic where the values span more than a factor of fifty.
func Waits(head Head, waits []Wait) *Chart {
	groups, policies := grouping(waits)
	if len(groups) == 0 {
		return nothing(head)
	}
	var notes []string
	most := min(maxWaitModels, max(fewWaitModels, maxWaitRows/len(policies)))
	if n := len(groups); n > most {
		slices.SortStableFunc(groups, func(a, b group) int { return cmp.Compare(b.worst, a.worst) })
		groups = groups[:most]
		notes = append(notes, fmt.Sprintf("The %d of %d models with the longest mean wait.", most, n))
	}
	lowest, longest := math.Inf(1), 0.0
	zeros := false
	rows := 0
	for _, g := range groups {
		rows += len(g.waits)
		for _, w := range g.waits {
			longest = max(longest, w.Mean, w.P99)
			if w.Mean >= least {
				lowest = min(lowest, w.Mean)
			}
			zeros = zeros || w.Mean < least
		}
	}
	if longest < least {
		return nothing(head, "Nothing waited.")
	}
	logarithmic := longest > 50*lowest
	if logarithmic && zeros {
		notes = append(notes, "A dot on the left edge is a mean wait of 0.")
	}
	legend := []entry{
		{"mean wait", func(p pen, at box) {
			p.DrawGlyphNoClip(series{color: faded}.glyph(3), vg.Point{X: (at.left + at.right) / 2, Y: at.middle()})
		}},
		{"p99 wait", func(p pen, at box) { waitBar(p, series{color: faded}, at.left, at.right, at.middle()) }},
	}
	height := waitRow*vg.Length(rows) + waitGap*vg.Length(len(groups)) + xAxisRoom
	return sized(head, legend, notes, height, func(p pen, area box) {
		drawWaits(p, area, groups, policies, max(lowest, longest/1e7), longest, logarithmic)
	})
}

// grouping collects the waits of each model, models and policies in the order
// of their first appearance.
func grouping(waits []Wait) (groups []group, policies []string) {
	index := map[string]int{}
	for _, w := range waits {
		if !usable(w.Mean) || !usable(w.P99) || w.Mean < 0 || w.P99 < 0 {
			continue
		}
		w.Policy = Bar{Name: w.Policy, Clairvoyant: w.Clairvoyant}.label()
		if !slices.Contains(policies, w.Policy) {
			policies = append(policies, w.Policy)
		}
		i, ok := index[w.Model]
		if !ok {
			i = len(groups)
			index[w.Model] = i
			groups = append(groups, group{model: w.Model})
		}
		groups[i].waits = append(groups[i].waits, w)
		groups[i].worst = max(groups[i].worst, w.Mean)
	}
	return groups, policies
}

// waitBar is the line from the mean to the p99.
func waitBar(p pen, s series, mean, p99, y vg.Length) {
	p.line(draw.LineStyle{Color: tint(s.color, 0.55), Width: 2}, mean, y, p99, y)
	p.line(draw.LineStyle{Color: s.color, Width: 1.6}, p99, y-3, p99, y+3)
}

func drawWaits(p pen, area box, groups []group, policies []string, lowest, most float64, logarithmic bool) {
	var models, names vg.Length
	for _, g := range groups {
		models = max(models, headingStyle.Width(clip(g.model, headingStyle, 130)))
	}
	for _, name := range policies {
		names = max(names, noteStyle.Width(clip(name, noteStyle, 130)))
	}
	inner := box{area.left + models + 14 + names + 8, area.bottom + xAxisRoom, area.right - 16, area.top}
	unit, seconds := unitOf(most)
	x, ticks := linear(most/seconds, 6)
	title := "wait, from ready to start [" + unit + "]"
	if logarithmic {
		seconds, title = 1, "wait, from ready to start"
		x, ticks = decades(lowest, most, duration)
		x.min, x.max = tighten(x.min, x.max, lowest, most)
		ticks = inside(x, ticks)
	}
	x.from, x.to = inner.left, inner.right
	p.xAxis(inner, x, ticks, title)
	y := inner.top - waitGap/2
	for i, g := range groups {
		if i > 0 {
			p.line(thin(grid), area.left, y+waitGap/2, inner.right, y+waitGap/2)
		}
		p.write(area.left, y-waitRow/2, leftMiddle(headingStyle), clip(g.model, headingStyle, 130))
		for _, w := range g.waits {
			s := nth(slices.Index(policies, w.Policy))
			p.write(inner.left-6, y-waitRow/2, rightMiddle(noteStyle), clip(w.Policy, noteStyle, 130))
			mean := x.at(x.clamp(w.Mean / seconds))
			waitBar(p, s, mean, x.at(x.clamp(w.P99/seconds)), y-waitRow/2)
			p.DrawGlyphNoClip(s.glyph(3), vg.Point{X: mean, Y: y - waitRow/2})
			y -= waitRow
		}
		y -= waitGap
	}
	p.line(thin(axisColor), inner.left, inner.bottom, inner.left, inner.top)
}

func withAlpha(s series, a uint8) color.NRGBA {
	c := s.color
	c.A = a
	return c
}
