package charts

import (
	"cmp"
	"fmt"
	"image/color"
	"slices"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// State is what a model does on a device.
type State int

// States, in the order in which they are drawn over each other.
const (
	Resident State = iota // loaded, no batch running
	Evicting
	Loading
	Running
)

// Span is one state of one model on one device, times in seconds.
type Span struct {
	Model    string
	From, To float64
	State    State
}

// Step is the memory reserved from a time on, in bytes.
type Step struct{ At, Bytes float64 }

// Device is one timeline of Residency.
type Device struct {
	Name     string
	Budget   float64 // bytes; 0 for none
	Spans    []Span  // in any order
	Reserved []Step  // ascending in time
	// Used is the memory that the driver counts, and Power what the device
	// draws, both ascending in time; a simulation has neither.
	Used  []Step
	Power []Level
}

// Level is what a device draws at a moment, in watts.
type Level struct{ At, Watts float64 }

// Limits on what Residency draws.
const (
	namedLanes = 12     // more models than these share lanes
	maxLanes   = 16     // of one device
	maxBars    = 12_000 // in the chart
	maxSteps   = 1_500  // of one memory line
)

const (
	laneHeight   = 17 * vg.Length(1)
	memoryHeight = 74 * vg.Length(1)
	powerHeight  = 54 * vg.Length(1)
	powerGap     = 26 * vg.Length(1) // the ticks of the memory above it
	deviceHead   = 20 * vg.Length(1)
	trackGap     = 10 * vg.Length(1)
)

// Residency draws for each device which model is resident, loading, running
// or evicting between from and to, and below it the reserved memory, the budget
// and, where they were measured, the memory in use and the power. Up to twelve models have a lane each; more share lanes.
func Residency(head Head, devices []Device, from, to float64) *Chart {
	if !usable(from) || !usable(to) || to-from < least {
		return nothing(head)
	}
	colors := map[string]int{}
	var tracks []track
	var notes []string
	height := xAxisRoom - xAxisBareRoom - trackGap
	bars, drawn, names := 0, 0, 0
	for _, d := range devices {
		t := newTrack(d, from, to, colors)
		bars += t.bars
		names += len(t.lanes)
		tracks = append(tracks, t)
	}
	for i := range tracks {
		drawn += tracks[i].coarsen(from, to, max(50, maxBars/max(1, names)))
		height += tracks[i].height()
	}
	if bars == 0 {
		return nothing(head)
	}
	if drawn < bars {
		notes = append(notes, fmt.Sprintf("%s stretches drawn as %s bars: what is narrower than a bar shows what it is most of the time.", grouped(fmt.Sprint(bars)), grouped(fmt.Sprint(drawn))))
	}
	for _, t := range tracks {
		if t.hidden > 0 {
			notes = append(notes, fmt.Sprintf("%s: %d stretches of models beyond %d at once are not drawn.", clean(t.device.Name), t.hidden, maxLanes))
		}
	}
	return layout(Chart{head: head, legend: append(stateLegend(), measuredLegend(tracks)...), notes: notes, width: widerWidth,
		body: func(p pen, area box) { drawTracks(p, area, tracks, from, to) }}, height)
}

func stateLegend() []entry {
	sample := func(s State) func(pen, box) {
		return func(p pen, at box) { paintSpan(p, at, blue, s) }
	}
	return []entry{{"running", sample(Running)}, {"resident, idle", sample(Resident)}, {"loading", sample(Loading)}, {"evicting", sample(Evicting)},
		{"memory reserved", func(p pen, at box) {
			p.fill(at, tint(slate, 0.25))
			p.line(draw.LineStyle{Color: slate, Width: 1.2}, at.left, at.top, at.right, at.top)
		}},
		{"budget", func(p pen, at box) { p.line(budgetLine, at.left, at.middle(), at.right, at.middle()) }}}
}

// measuredLegend explains what only a card has.
func measuredLegend(tracks []track) (legend []entry) {
	if slices.ContainsFunc(tracks, func(t track) bool { return len(t.used) > 0 }) {
		legend = append(legend, entry{"memory in use", func(p pen, at box) { p.line(usedLine, at.left, at.middle(), at.right, at.middle()) }})
	}
	if slices.ContainsFunc(tracks, func(t track) bool { return len(t.power) > 0 }) {
		legend = append(legend, entry{"power", func(p pen, at box) { p.line(powerLine, at.left, at.middle(), at.right, at.middle()) }})
	}
	return legend
}

var (
	usedLine  = draw.LineStyle{Color: blue, Width: 1.1}
	powerLine = draw.LineStyle{Color: orange, Width: 1.1}
)

var budgetLine = draw.LineStyle{Color: vermilion, Width: 1.3, Dashes: []vg.Length{5, 3}}

// lane is one row of bars.
type lane struct {
	name  string // of the model, if it has the lane to itself
	spans []Span
}

// track is a device laid out.
type track struct {
	device Device
	lanes  []lane
	colors map[string]int
	bars   int
	hidden int
	steps  []Step
	used   []Step  // empty: not measured
	power  []Level // likewise
}

func newTrack(d Device, from, to float64, colors map[string]int) track {
	t := track{device: d, colors: colors}
	var models []string
	spans := make([]Span, 0, len(d.Spans))
	for _, s := range d.Spans {
		s.From, s.To = max(s.From, from), min(s.To, to)
		if !(s.To-s.From > least) {
			continue
		}
		if !slices.Contains(models, s.Model) && len(models) <= 256 {
			models = append(models, s.Model)
		}
		if _, ok := colors[s.Model]; !ok {
			colors[s.Model] = len(colors)
		}
		spans = append(spans, s)
	}
	slices.SortStableFunc(spans, func(a, b Span) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.State, b.State))
	})
	if len(models) <= namedLanes {
		t.lanes = ownLanes(models, spans)
	} else {
		t.lanes, t.hidden = sharedLanes(spans)
	}
	for _, l := range t.lanes {
		t.bars += len(l.spans)
	}
	t.steps = fewer(d.Reserved, from, to)
	if len(d.Used) > 0 {
		t.used = fewer(d.Used, from, to)
	}
	t.power = fewerLevels(d.Power, from, to)
	return t
}

func ownLanes(models []string, spans []Span) []lane {
	lanes := make([]lane, len(models))
	for i, m := range models {
		lanes[i].name = m
	}
	for _, s := range spans {
		i := slices.Index(models, s.Model)
		lanes[i].spans = append(lanes[i].spans, s)
	}
	return lanes
}

// sharedLanes puts each stay of a model into the first lane that is free.
func sharedLanes(spans []Span) (lanes []lane, hidden int) {
	var free []float64     // when each lane becomes free
	var owner []string     // of the stay that ends then
	at := map[string]int{} // lane of a model's current stay
	for _, s := range spans {
		i, staying := at[s.Model]
		if !staying || owner[i] != s.Model || free[i] < s.From {
			i = slices.IndexFunc(free, func(t float64) bool { return t <= s.From })
			if i < 0 && len(free) < maxLanes {
				i = len(free)
				free, owner, lanes = append(free, 0), append(owner, ""), append(lanes, lane{})
			}
		}
		if i < 0 {
			hidden++
			continue
		}
		at[s.Model], owner[i] = i, s.Model
		free[i] = max(free[i], s.To)
		lanes[i].spans = append(lanes[i].spans, s)
	}
	return lanes, hidden
}

// coarsen draws lanes of more spans than limit as limit equal bars, each of
// what its lane is most of the time there, and returns how many bars remain.
func (t *track) coarsen(from, to float64, limit int) (bars int) {
	for i := range t.lanes {
		if len(t.lanes[i].spans) > limit {
			t.lanes[i].spans = majority(t.lanes[i].spans, from, to, limit)
		}
		bars += len(t.lanes[i].spans)
	}
	return bars
}

// majority cuts time into equal columns and joins neighbours that look alike.
// Running lies over resident, so that it counts twice.
func majority(spans []Span, from, to float64, columns int) (joined []Span) {
	width := (to - from) / float64(columns)
	type look struct {
		model string
		state State
	}
	share := make([]map[look]float64, columns)
	for _, s := range spans {
		first, last := int((s.From-from)/width), min(columns-1, int((s.To-from)/width))
		for c := first; c <= last; c++ {
			if share[c] == nil {
				share[c] = map[look]float64{}
			}
			overlap := min(s.To, from+float64(c+1)*width) - max(s.From, from+float64(c)*width)
			if s.State == Running {
				overlap *= 2
			}
			share[c][look{s.Model, s.State}] += overlap
		}
	}
	for c, looks := range share {
		var best look
		most := 0.0
		for l, w := range looks {
			if w > most || w == most && (l.model < best.model || l.model == best.model && l.state > best.state) {
				best, most = l, w
			}
		}
		if most < width/4 {
			continue
		}
		left, right := from+float64(c)*width, from+float64(c+1)*width
		if n := len(joined); n > 0 && joined[n-1].To >= left-width/2 && joined[n-1].Model == best.model && joined[n-1].State == best.state {
			joined[n-1].To = right
			continue
		}
		joined = append(joined, Span{best.model, left, right, best.state})
	}
	return joined
}

// fewer keeps of each of maxSteps/2 stretches the least and the most memory.
func fewer(steps []Step, from, to float64) []Step {
	kept := make([]Step, 0, min(len(steps), maxSteps+2))
	start := Step{At: from}
	for _, s := range steps {
		switch {
		case !usable(s.At) || !usable(s.Bytes) || s.Bytes < 0 || s.At > to:
		case s.At <= from:
			start.Bytes = s.Bytes
		default:
			kept = append(kept, s)
		}
	}
	if len(kept) > maxSteps {
		kept = extremes(kept, from, to)
	}
	return append([]Step{start}, kept...)
}

// fewerLevels does the same for power, which has no value before its first sample.
func fewerLevels(levels []Level, from, to float64) (kept []Level) {
	steps := make([]Step, 0, len(levels))
	for _, l := range levels {
		if usable(l.At) && usable(l.Watts) && l.Watts >= 0 && l.At >= from && l.At <= to {
			steps = append(steps, Step{l.At, l.Watts})
		}
	}
	if len(steps) > maxSteps {
		steps = extremes(steps, from, to)
	}
	for _, s := range steps {
		kept = append(kept, Level{s.At, s.Bytes})
	}
	return kept
}

func extremes(steps []Step, from, to float64) (kept []Step) {
	column := func(s Step) int { return int((s.At - from) / (to - from) * maxSteps / 2) }
	for i := 0; i < len(steps); {
		j, low, high := i, i, i
		for ; j < len(steps) && column(steps[j]) == column(steps[i]); j++ {
			if steps[j].Bytes < steps[low].Bytes {
				low = j
			}
			if steps[j].Bytes > steps[high].Bytes {
				high = j
			}
		}
		kept = append(kept, steps[min(low, high)])
		if low != high {
			kept = append(kept, steps[max(low, high)])
		}
		i = j
	}
	return kept
}

func (t *track) height() vg.Length {
	height := deviceHead + laneHeight*vg.Length(len(t.lanes)) + 8 + memoryHeight + xAxisBareRoom + trackGap
	if len(t.power) > 0 {
		height += powerGap + powerHeight
	}
	return height
}

func drawTracks(p pen, area box, tracks []track, from, to float64) {
	unit, seconds := unitOf(to)
	gutter := vg.Length(52)
	for _, t := range tracks {
		for _, l := range t.lanes {
			gutter = max(gutter, labelStyle.Width(clip(l.name, labelStyle, 150)))
		}
	}
	x := scale{min: from, max: to, from: area.left + gutter + 8, to: area.right - 16}
	ticks := between(from/seconds, to/seconds, 8)
	for i := range ticks {
		ticks[i].value *= seconds
	}
	for i, t := range tracks {
		p.write(area.left, area.top-deviceHead+8, headingStyle, clip(t.device.Name, headingStyle, area.width()))
		area.top -= deviceHead
		title := ""
		if i == len(tracks)-1 {
			title = "time [" + unit + "]"
		}
		area.top = t.draw(p, area, x, ticks, title)
	}
}

// draw returns the height below the track.
func (t *track) draw(p pen, area box, x scale, ticks []tick, title string) vg.Length {
	y := area.top
	for _, k := range ticks {
		p.line(thin(grid), x.at(k.value), y, x.at(k.value), y-laneHeight*vg.Length(len(t.lanes)))
	}
	for _, l := range t.lanes {
		row := box{x.from, y - laneHeight + 2, x.to, y - 2}
		p.write(row.left-6, row.middle(), rightMiddle(labelStyle), clip(l.name, labelStyle, 150))
		for _, state := range [...]State{Resident, Evicting, Loading, Running} {
			for _, s := range l.spans { // in all colours but black, whose tint is the grey of loading
				if s.State == state {
					at := box{x.at(s.From), row.bottom, x.at(s.To), row.top}
					paintSpan(p, at, palette[t.colors[s.Model]%(len(palette)-1)], state)
				}
			}
		}
		if l.name == "" {
			t.nameStays(p, l, row, x)
		}
		y -= laneHeight
	}
	y -= 8
	if len(t.power) == 0 {
		t.drawMemory(p, box{x.from, y - memoryHeight, x.to, y}, x, ticks, title)
		return y - memoryHeight - xAxisBareRoom - trackGap
	}
	t.drawMemory(p, box{x.from, y - memoryHeight, x.to, y}, x, ticks, "")
	y -= memoryHeight + powerGap
	t.drawPower(p, box{x.from, y - powerHeight, x.to, y}, x, ticks, title)
	return y - powerHeight - xAxisBareRoom - trackGap
}

// paintSpan draws a state: running is solid, resident pale, loading grey with
// the model's colour below, evicting an outline.
func paintSpan(p pen, at box, c color.NRGBA, s State) {
	switch s {
	case Running:
		p.fill(at, c)
	case Resident:
		p.fill(at, tint(c, 0.28))
	case Loading:
		p.fill(at, rgb(0x9A9A9A))
		p.fill(box{at.left, at.bottom, at.right, at.bottom + at.height()/3}, c)
	case Evicting:
		p.fill(at, rgb(0xEDEDED))
		if at.width() > 2 {
			p.frame(at, draw.LineStyle{Color: c, Width: 0.5})
		}
	}
}

// nameStays writes the model's name on bars that have room for it.
func (t *track) nameStays(p pen, l lane, row box, x scale) {
	style := leftMiddle(noteStyle)
	style.Color = ink
	for i := 0; i < len(l.spans); {
		j, to := i, l.spans[i].To
		for ; j < len(l.spans) && l.spans[j].Model == l.spans[i].Model; j++ {
			to = max(to, l.spans[j].To)
		}
		left, right := x.at(l.spans[i].From), x.at(to)
		if text := clean(l.spans[i].Model); right-left > style.Width(text)+6 {
			p.fill(box{left + 2, row.bottom + 2, left + 4 + style.Width(text), row.top - 2}, color.NRGBA{255, 255, 255, 190})
			p.write(left+3, row.middle(), style, text)
		}
		i = j
	}
}

func (t *track) drawMemory(p pen, area box, x scale, ticks []tick, title string) {
	top := t.device.Budget
	for _, s := range slices.Concat(t.steps, t.used) {
		top = max(top, s.Bytes)
	}
	y, yTicks := linear(1.08*top/1e9, 3)
	y.from, y.to = area.bottom, area.top
	p.yAxis(area, y, yTicks, "")
	p.xAxis(area, x, ticks, title)
	p.upward(area.left-38, area.middle(), tickStyle, "VRAM [GB]")
	line := staircase(t.steps, area, x, y)
	fill := append([]vg.Point{{X: line[0].X, Y: area.bottom}}, line...)
	p.FillPolygon(tint(slate, 0.25), append(fill, vg.Point{X: area.right, Y: area.bottom}))
	p.StrokeLines(draw.LineStyle{Color: slate, Width: 1.1}, line)
	if len(t.used) > 0 {
		p.StrokeLines(usedLine, staircase(t.used, area, x, y))
	}
	if t.device.Budget > 0 {
		at := y.at(t.device.Budget / 1e9)
		p.line(budgetLine, area.left, at, area.right, at)
		style := tickStyle
		style.Color = vermilion
		p.write(area.left+4, at+2.5, style, "budget "+short(t.device.Budget/1e9)+" GB")
	}
}

// staircase is the line of what holds from one step to the next.
func staircase(steps []Step, area box, x, y scale) []vg.Point {
	line := make([]vg.Point, 0, 2*len(steps)+1)
	for _, s := range steps {
		at := x.at(s.At)
		if n := len(line); n > 0 {
			line = append(line, vg.Point{X: at, Y: line[n-1].Y})
		}
		line = append(line, vg.Point{X: at, Y: y.at(s.Bytes / 1e9)})
	}
	return append(line, vg.Point{X: area.right, Y: line[len(line)-1].Y})
}

func (t *track) drawPower(p pen, area box, x scale, ticks []tick, title string) {
	top := 0.0
	for _, l := range t.power {
		top = max(top, l.Watts)
	}
	y, yTicks := linear(1.08*top, 2)
	y.from, y.to = area.bottom, area.top
	p.yAxis(area, y, yTicks, "")
	p.xAxis(area, x, ticks, title)
	p.upward(area.left-38, area.middle(), tickStyle, "power [W]")
	line := make([]vg.Point, len(t.power))
	for i, l := range t.power {
		line[i] = vg.Point{X: x.at(l.At), Y: y.at(l.Watts)}
	}
	p.StrokeLines(powerLine, line)
}
