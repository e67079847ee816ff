package charts

import (
	"math"
	"strconv"
	"strings"

	"gonum.org/v1/plot/vg"
)

// scale maps values to positions, linearly or by their logarithm.
type scale struct {
	min, max float64
	log      bool
	from, to vg.Length
}

func (s scale) at(v float64) vg.Length {
	low, high := s.min, s.max
	if s.log {
		low, high, v = math.Log(low), math.Log(high), math.Log(v)
	}
	return s.from + vg.Length((v-low)/(high-low))*(s.to-s.from)
}

// clamp brings v into the range.
func (s scale) clamp(v float64) float64 { return max(s.min, min(s.max, v)) }

// tick is a mark on an axis; minor ones have no label.
type tick struct {
	value float64
	label string
}

// linear returns a scale from 0 to a round number at or above top, and
// ticks at about count round steps.
func linear(top float64, count int) (scale, []tick) {
	if !(top > least) {
		top = 1
	}
	step := roundStep(top / float64(count))
	s := scale{min: 0, max: math.Ceil(top/step-1e-9) * step}
	return s, steps(0, s.max, step)
}

// between returns ticks at about count round steps inside a range.
func between(low, high float64, count int) []tick {
	step := roundStep((high - low) / float64(count))
	return steps(math.Ceil(low/step-1e-9)*step, high, step)
}

func steps(from, to, step float64) (ticks []tick) {
	digits := max(0, -int(math.Floor(math.Log10(step)+1e-9)))
	for i := 0; i < 100; i++ {
		v := from + float64(i)*step
		if v > to+step*1e-6 {
			break
		}
		ticks = append(ticks, tick{v, grouped(strconv.FormatFloat(v, 'f', digits, 64))})
	}
	return ticks
}

// roundStep returns 1, 2 or 5 times a power of ten at or above v.
func roundStep(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range [...]float64{1, 2, 5} {
		if v <= m*power*(1+1e-9) {
			return m * power
		}
	}
	return 10 * power
}

// decades returns a logarithmic scale that covers [low, high], both positive,
// with a label at each power of ten and bare ticks between.
func decades(low, high float64, label func(float64) string) (scale, []tick) {
	first, last := int(math.Floor(math.Log10(low)+1e-9)), int(math.Ceil(math.Log10(high)-1e-9))
	if last <= first {
		last = first + 1
	}
	every := 1 + (last-first)/9
	s := scale{min: math.Pow10(first), max: math.Pow10(last), log: true}
	var ticks []tick
	for e := first; e <= last; e++ {
		text := ""
		if (e-first)%every == 0 {
			text = label(math.Pow10(e))
		}
		ticks = append(ticks, tick{math.Pow10(e), text})
		for m := 2.0; m < 10 && e < last && every == 1; m++ {
			ticks = append(ticks, tick{value: m * math.Pow10(e)})
		}
	}
	return s, ticks
}

// duration labels a time on a logarithmic axis: "10 ms", "1 s", "1,000 s".
func duration(seconds float64) string {
	switch {
	case seconds < 0.999e-6:
		return short(seconds*1e9) + " ns"
	case seconds < 0.999e-3:
		return short(seconds*1e6) + " µs"
	case seconds < 0.999:
		return short(seconds*1e3) + " ms"
	}
	return short(seconds) + " s"
}

// percent labels a share on a logarithmic axis.
func percent(share float64) string { return short(100*share) + " %" }

// short formats v to three figures with thousands grouped.
func short(v float64) string { return rounded(v, 3) }

// rounded formats v to so many figures, whole numbers in full.
func rounded(v float64, figures int) string {
	if v == 0 {
		return "0"
	}
	digits := figures - 1 - int(math.Floor(math.Log10(math.Abs(v))+1e-9))
	text := strconv.FormatFloat(v, 'f', max(0, digits), 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return grouped(text)
}

// grouped puts commas between the thousands of a decimal number.
func grouped(text string) string {
	whole, frac, dotted := strings.Cut(text, ".")
	sign := ""
	if strings.HasPrefix(whole, "-") {
		sign, whole = "-", whole[1:]
	}
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if dotted {
		whole += "." + frac
	}
	return sign + whole
}

// unitOf returns the unit in which times up to largest seconds read well.
func unitOf(largest float64) (name string, seconds float64) {
	switch {
	case largest <= 0:
		return "s", 1
	case largest < 1e-3:
		return "µs", 1e-6
	case largest < 1:
		return "ms", 1e-3
	case largest < 1200:
		return "s", 1
	case largest < 36000:
		return "min", 60
	}
	return "h", 3600
}

// largest and least are beyond what any run can measure; what lies outside
// them is taken for no number, and for zero.
const (
	largest = 1e15
	least   = 1e-12
)

// usable reports whether v can be drawn at all.
func usable(v float64) bool { return math.Abs(v) <= largest }

// xAxis draws the grid, ticks and title of a horizontal axis below area.
func (p pen) xAxis(area box, s scale, ticks []tick, title string) {
	for _, t := range ticks {
		x := s.at(t.value)
		if t.label == "" {
			p.line(thin(tint(grid, 0.6)), x, area.bottom, x, area.top)
			continue
		}
		p.line(thin(grid), x, area.bottom, x, area.top)
		p.write(x, area.bottom-4, centredBelow(tickStyle), t.label)
	}
	p.line(thin(axisColor), area.left, area.bottom, area.right, area.bottom)
	if title != "" {
		p.write((area.left+area.right)/2, area.bottom-18, centredBelow(labelStyle), title)
	}
}

// yAxis draws the grid, ticks and title of a vertical axis left of area.
func (p pen) yAxis(area box, s scale, ticks []tick, title string) {
	for _, t := range ticks {
		y := s.at(t.value)
		if t.label == "" {
			p.line(thin(tint(grid, 0.6)), area.left, y, area.right, y)
			continue
		}
		p.line(thin(grid), area.left, y, area.right, y)
		p.write(area.left-5, y, rightMiddle(tickStyle), t.label)
	}
	p.line(thin(axisColor), area.left, area.bottom, area.left, area.top)
	if title != "" {
		p.upward(area.left-50, area.middle(), labelStyle, title)
	}
}

// xAxisRoom is what xAxis needs below its area with a title, and without.
const (
	xAxisRoom     = 32 * vg.Length(1)
	xAxisBareRoom = 18 * vg.Length(1)
)
