package metrics

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/vramsim/vramsim/scheduler"
)

// State is what a model does on a device.
type State uint8

// States of a model that holds memory of a device.
const (
	Loading  State = iota // its weights are on their way
	Resident              // loaded, no batch runs
	Running               // at least one batch runs
	Evicting              // leaving
)

// String returns the state's name in files.
func (s State) String() string {
	switch s {
	case Loading:
		return "loading"
	case Resident:
		return "resident"
	case Running:
		return "running"
	case Evicting:
		return "evicting"
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// Span is one state of one model on one device, From included and To not.
type Span struct {
	Model scheduler.ModelID `json:"model"`
	State State             `json:"state"`
	From  scheduler.Time    `json:"from"`
	To    scheduler.Time    `json:"to"`
}

// Step is the memory that is reserved from At on.
type Step struct {
	At    scheduler.Time  `json:"at"`
	Bytes scheduler.Bytes `json:"bytes"`
}

// Track is what happened on one device. Spans are ordered by their From.
type Track struct {
	Name     string          `json:"name"`
	Budget   scheduler.Bytes `json:"budget"`
	Spans    []Span          `json:"spans"`
	Reserved []Step          `json:"reserved"`
}

// Timeline is which model was where, and how much memory was reserved.
type Timeline struct {
	Models []string       `json:"models"` // the names behind Span.Model
	End    scheduler.Time `json:"end"`
	Tracks []Track        `json:"tracks"`
	// Note says what was left out to keep the timeline small; empty if nothing.
	Note string `json:"note,omitempty"`
}

// maxSpans bounds the spans of a Timeline, and its steps.
const maxSpans = 20_000

// A recorder keeps a timeline in bounded memory. Once there is too much of
// it, time is cut into columns, each of which shows what it was for longest;
// columns double in width whenever there is too much again.
type recorder struct {
	devices []scheduler.Device
	models  int
	lanes   []lane // device by device, model by model
	steps   [][]Step
	width   scheduler.Time // of a column; 0: everything is exact
	spans   int
	spare   []Span

	stepWidth scheduler.Time
	column    []int // by device: index of the first step of its last column
	stepCount int
}

// lane is what one model did on one device. Within the column that is being
// filled only the time spent in each state is known.
type lane struct {
	spans  []Span
	active bool
	state  State
	since  scheduler.Time
	column scheduler.Time
	share  [4]scheduler.Time
}

func newRecorder(devices []scheduler.Device, models int) *recorder {
	r := &recorder{devices: devices, models: models, lanes: make([]lane, len(devices)*models), column: make([]int, len(devices))}
	for range devices {
		r.steps = append(r.steps, []Step{{}})
	}
	return r
}

// enter says that m is in state s on d from at on.
func (r *recorder) enter(d scheduler.DeviceID, m scheduler.ModelID, s State, at scheduler.Time) {
	l := &r.lanes[int(d)*r.models+int(m)]
	if l.active && l.state == s {
		return
	}
	r.leave(d, m, at)
	l.active, l.state, l.since = true, s, at
}

// leave says that m holds nothing of d from at on.
func (r *recorder) leave(d scheduler.DeviceID, m scheduler.ModelID, at scheduler.Time) {
	l := &r.lanes[int(d)*r.models+int(m)]
	if l.active && at > l.since {
		before := len(l.spans)
		l.add(Span{Model: m, State: l.state, From: l.since, To: at}, r.width)
		if r.spans += len(l.spans) - before; r.spans > maxSpans {
			r.coarsen(at)
		}
	}
	l.active = false
}

// add appends a span, through columns of the given width.
func (l *lane) add(s Span, width scheduler.Time) {
	if width == 0 {
		l.emit(s)
		return
	}
	if c := s.From / width; c != l.column {
		l.flush(s.Model, width)
		l.column = c
	}
	if end := (l.column + 1) * width; s.To >= end {
		l.share[s.State] += end - s.From
		l.flush(s.Model, width)
		s.From = end
		if whole := s.To / width * width; whole > s.From {
			l.emit(Span{Model: s.Model, State: s.State, From: s.From, To: whole})
			s.From = whole
		}
		l.column = s.From / width
	}
	l.share[s.State] += s.To - s.From
}

// emit appends a span or lengthens the last one.
func (l *lane) emit(s Span) {
	if n := len(l.spans); n > 0 && l.spans[n-1].State == s.State && l.spans[n-1].To == s.From {
		l.spans[n-1].To = s.To
		return
	}
	l.spans = append(l.spans, s)
}

// flush draws the column that was filled, if it holds the model for half of
// its length.
func (l *lane) flush(m scheduler.ModelID, width scheduler.Time) {
	best, held := State(0), scheduler.Time(0)
	for s, t := range l.share {
		held += t
		if t > l.share[best] {
			best = State(s)
		}
	}
	if 2*held >= width {
		l.emit(Span{Model: m, State: best, From: l.column * width, To: (l.column + 1) * width})
	}
	l.share = [4]scheduler.Time{}
}

// coarsen halves the resolution until at most half of maxSpans are left.
func (r *recorder) coarsen(now scheduler.Time) {
	for r.spans > maxSpans/2 {
		old := r.width
		r.width = max(2*old, now/maxSpans, 1)
		r.spans = 0
		for i := range r.lanes {
			l := &r.lanes[i]
			filling, column := l.share, l.column
			spans := l.spans
			l.spans, l.column, l.share = r.spare[:0], 0, [4]scheduler.Time{}
			for _, s := range spans {
				l.add(s, r.width)
			}
			l.refill(filling, column*old, scheduler.ModelID(i%r.models), r.width)
			r.spare = spans
			r.spans += len(l.spans)
		}
	}
}

// refill adds the column that was being filled, which began at from and now
// is part of a wider one.
func (l *lane) refill(filling [4]scheduler.Time, from scheduler.Time, m scheduler.ModelID, width scheduler.Time) {
	for s, t := range filling {
		if t == 0 {
			continue
		}
		if c := from / width; c != l.column {
			l.flush(m, width)
			l.column = c
		}
		l.share[s] += t
	}
}

// reserve says that bytes are reserved on d from at on.
func (r *recorder) reserve(d scheduler.DeviceID, at scheduler.Time, bytes scheduler.Bytes) {
	steps := r.steps[d]
	if last := &steps[len(steps)-1]; last.At == at {
		last.Bytes = bytes
		return
	}
	before := len(steps)
	steps = append(steps, Step{At: at, Bytes: bytes})
	if r.stepWidth > 0 {
		if steps[r.column[d]].At/r.stepWidth != at/r.stepWidth {
			r.column[d] = len(steps) - 1
		}
		steps = steps[:r.column[d]+len(extremes(steps[r.column[d]:]))]
	}
	r.steps[d] = steps
	if r.stepCount += len(steps) - before; r.stepCount > maxSpans {
		r.coarsenSteps(at)
	}
}

// coarsenSteps widens the columns of steps until at most half of maxSpans are left.
func (r *recorder) coarsenSteps(now scheduler.Time) {
	for r.stepCount > maxSpans/2 {
		r.stepWidth = max(2*r.stepWidth, 8*now/maxSpans, 1)
		r.stepCount = 0
		for d, steps := range r.steps {
			kept := 0
			for i := 0; i < len(steps); {
				j := i + 1
				for j < len(steps) && steps[j].At/r.stepWidth == steps[i].At/r.stepWidth {
					j++
				}
				r.column[d] = kept
				kept += copy(steps[kept:], extremes(steps[i:j]))
				i = j
			}
			r.steps[d] = steps[:kept]
			r.stepCount += kept
		}
	}
}

// extremes keeps, in place, the least and the most of the steps of one
// column, and the last one, which holds until the next.
func extremes(steps []Step) []Step {
	if len(steps) <= 3 {
		return steps
	}
	low, high := 0, 0
	for i, s := range steps {
		if s.Bytes < steps[low].Bytes {
			low = i
		}
		if s.Bytes > steps[high].Bytes {
			high = i
		}
	}
	kept := steps[:0]
	for i, s := range steps {
		if i == low || i == high || i == len(steps)-1 {
			kept = append(kept, s)
		}
	}
	return kept
}

// timeline returns what was recorded until end.
func (r *recorder) timeline(models []scheduler.Model, end scheduler.Time) *Timeline {
	t := &Timeline{End: end}
	for _, m := range models {
		t.Models = append(t.Models, m.Name)
	}
	for d, device := range r.devices {
		track := Track{Name: device.Name, Budget: device.Budget, Reserved: slices.Clone(r.steps[d])}
		for m := range r.models {
			track.Spans = append(track.Spans, r.lanes[d*r.models+m].ended(scheduler.ModelID(m), r.width, end)...)
		}
		slices.SortStableFunc(track.Spans, func(a, b Span) int {
			return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.Model, b.Model))
		})
		t.Tracks = append(t.Tracks, track)
	}
	if w := max(r.width, r.stepWidth); w > 0 {
		t.Note = fmt.Sprintf("thinned: what is shorter than %v was joined with its neighbours", w)
	}
	return t
}

// ended returns the spans of a lane until end.
func (l *lane) ended(m scheduler.ModelID, width, end scheduler.Time) []Span {
	last := *l
	last.spans = slices.Clone(l.spans)
	if l.active && end > l.since {
		last.add(Span{Model: m, State: l.state, From: l.since, To: end}, width)
	}
	if width > 0 {
		last.flush(m, width)
	}
	for i := range last.spans {
		last.spans[i].To = min(last.spans[i].To, end)
	}
	return slices.DeleteFunc(last.spans, func(s Span) bool { return s.From >= s.To })
}
