package charts

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// PhaseError is the signed relative error of what one phase of a model takes:
// 0.02 is predicted 2 % too long.
type PhaseError struct {
	Model, Phase string
	Error        float64
	N            int // how often it was measured
}

// maxSigned is how many rows PhaseErrors draws.
const maxSigned = 60

// PhaseErrors draws signed errors as bars to the left and right of 0, in the
// order given.
func PhaseErrors(head Head, errs []PhaseError) *Chart {
	var shown []PhaseError
	most := 0.0
	for _, e := range errs {
		if usable(e.Error) {
			shown = append(shown, e)
		}
	}
	if len(shown) == 0 {
		return nothing(head)
	}
	var notes []string
	if n := len(shown); n > maxSigned {
		slices.SortStableFunc(shown, func(a, b PhaseError) int {
			switch x, y := math.Abs(a.Error), math.Abs(b.Error); {
			case x > y:
				return -1
			case x < y:
				return 1
			}
			return 0
		})
		shown = shown[:maxSigned]
		notes = append(notes, fmt.Sprintf("The %d of %d phases with the largest errors.", maxSigned, n))
	}
	for _, e := range shown {
		most = max(most, math.Abs(e.Error))
	}
	notes = append(notes, "Right of 0: the simulation took longer than the card.")
	return sized(head, nil, notes, barRow*vg.Length(len(shown))+xAxisRoom+4, func(p pen, area box) {
		drawSigned(p, area, shown, 100*max(most, 1e-6))
	})
}

func drawSigned(p pen, area box, errs []PhaseError, most float64) {
	label := func(e PhaseError) string { return clip(e.Model+", "+e.Phase, labelStyle, 210) }
	var gutter vg.Length
	for _, e := range errs {
		gutter = max(gutter, labelStyle.Width(label(e)))
	}
	inner := box{area.left + gutter + 8, area.bottom + xAxisRoom, area.right - 44, area.top}
	half, ticks := linear(1.35*most, 4)
	x := scale{min: -half.max, max: half.max, from: inner.left, to: inner.right}
	for _, t := range slices.Clone(ticks[1:]) {
		ticks = append(ticks, tick{-t.value, "−" + t.label})
	}
	p.xAxis(inner, x, ticks, "error of the mean [%]")
	for i, e := range errs {
		y := inner.top - barRow*(vg.Length(i)+0.5)
		p.write(inner.left-6, y, rightMiddle(labelStyle), label(e))
		zero, end := x.at(0), x.at(x.clamp(100*e.Error))
		p.fill(box{min(zero, end), y - 7, max(zero, end), y + 7}, map[bool]series{true: {color: orange}, false: {color: blue}}[e.Error > 0].color)
		p.write(inner.right+6, y, leftMiddle(tickStyle), "n="+strconv.Itoa(e.N))
		text, style := signedPercent(e.Error), leftMiddle(tickStyle)
		at := max(zero, end) + 4
		if e.Error < 0 {
			style, at = rightMiddle(tickStyle), min(zero, end)-4
		}
		p.write(at, y, style, text)
	}
	p.line(draw.LineStyle{Color: ink, Width: 0.9}, x.at(0), inner.bottom, x.at(0), inner.top)
}

func signedPercent(v float64) string {
	text := rounded(100*math.Abs(v), 2) + " %"
	switch {
	case v > 0:
		return "+" + text
	case v < 0:
		return "−" + text
	}
	return text
}
