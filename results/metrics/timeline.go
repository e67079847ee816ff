package metrics

import (
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

// A recorder keeps a timeline in bounded memory: once there is too much of
// it, what lies in one column of time is drawn as what it was for longest, and
// columns double in width from there on.
type recorder struct {
	tracks []Track
	open   []opened // device by device, model by model
	models int
	spans  int
	steps  int
	width  scheduler.Time // of a column; 0: everything is exact
	coarse scheduler.Time // of the steps
}

type opened struct {
	active bool
	state  State
	since  scheduler.Time
}

func newRecorder(devices []scheduler.Device, models int) *recorder {
	r := &recorder{models: models, open: make([]opened, len(devices)*models)}
	for _, d := range devices {
		r.tracks = append(r.tracks, Track{Name: d.Name, Budget: d.Budget, Reserved: []Step{{}}})
	}
	return r
}

// enter says that m is in state s on d from at on.
func (r *recorder) enter(d scheduler.DeviceID, m scheduler.ModelID, s State, at scheduler.Time) {
	o := &r.open[int(d)*r.models+int(m)]
	if o.active && o.state == s {
		return
	}
	r.leave(d, m, at)
	*o = opened{active: true, state: s, since: at}
}

// leave says that m holds nothing of d from at on.
func (r *recorder) leave(d scheduler.DeviceID, m scheduler.ModelID, at scheduler.Time) {
	o := &r.open[int(d)*r.models+int(m)]
	if o.active && at > o.since {
		t := &r.tracks[d]
		t.Spans = append(t.Spans, Span{Model: m, State: o.state, From: o.since, To: at})
		if r.spans++; r.spans > 2*maxSpans {
			r.coarsen(at)
		}
	}
	o.active = false
}

func (r *recorder) reserve(d scheduler.DeviceID, at scheduler.Time, bytes scheduler.Bytes) {
	t := &r.tracks[d]
	if last := &t.Reserved[len(t.Reserved)-1]; last.At == at {
		last.Bytes = bytes
		return
	}
	t.Reserved = append(t.Reserved, Step{At: at, Bytes: bytes})
	if r.steps++; r.steps > 2*maxSpans {
		r.coarsenSteps(at)
	}
}

// coarsen halves the resolution until at most maxSpans spans are left.
func (r *recorder) coarsen(now scheduler.Time) {
	for r.spans > maxSpans {
		r.width = max(2*r.width, now/maxSpans, 1)
		r.spans = 0
		for i := range r.tracks {
			r.tracks[i].Spans = columns(r.tracks[i].Spans, r.models, r.width)
			r.spans += len(r.tracks[i].Spans)
		}
	}
}

// columns redraws the spans of one device in columns of the given width:
// each is what its model was for longest in it, if that is half of it. What
// spans more than one column keeps its state in between.
func columns(spans []Span, models int, width scheduler.Time) []Span {
	byModel := make([][]Span, models)
	for _, s := range spans {
		byModel[s.Model] = append(byModel[s.Model], s)
	}
	out := spans[:0]
	for _, lane := range byModel {
		out = appendLane(out, lane, width)
	}
	slices.SortStableFunc(out, bySpan)
	return out
}

func bySpan(a, b Span) int {
	switch {
	case a.From != b.From:
		return int(min(1, max(-1, a.From-b.From)))
	case a.Model != b.Model:
		return int(a.Model - b.Model)
	}
	return int(a.State) - int(b.State)
}

// appendLane appends the spans of one model, which are ordered and do not
// overlap, in columns.
func appendLane(out, lane []Span, width scheduler.Time) []Span {
	var share [4]scheduler.Time
	column := scheduler.Time(-1)
	first := len(out)
	emit := func(s State, from, to scheduler.Time, m scheduler.ModelID) {
		if n := len(out); n > first && out[n-1].State == s && out[n-1].To == from {
			out[n-1].To = to
			return
		}
		out = append(out, Span{Model: m, State: s, From: from, To: to})
	}
	flush := func(m scheduler.ModelID) {
		best := State(0)
		for s := range share {
			if share[s] > share[best] {
				best = State(s)
			}
		}
		if 2*(share[0]+share[1]+share[2]+share[3]) >= width {
			emit(best, column*width, (column+1)*width, m)
		}
		share = [4]scheduler.Time{}
	}
	reached := scheduler.Time(0) // columns drawn before may reach beyond their spans
	for _, s := range lane {
		from := max(s.From, reached)
		if from >= s.To {
			continue
		}
		if c := from / width; c != column {
			if column >= 0 {
				flush(s.Model)
			}
			column = c
		}
		if end := (column + 1) * width; s.To >= end {
			share[s.State] += end - from
			flush(s.Model)
			from = end
			if whole := s.To / width * width; whole > from {
				emit(s.State, from, whole, s.Model)
				from = whole
			}
			column, reached = from/width, from
		}
		share[s.State] += s.To - from
	}
	if len(lane) > 0 {
		flush(lane[0].Model)
	}
	return out
}

// coarsenSteps keeps the least and the most of each column of time.
func (r *recorder) coarsenSteps(now scheduler.Time) {
	for r.steps > maxSpans {
		r.coarse = max(2*r.coarse, 4*now/maxSpans, 1)
		r.steps = 0
		for i := range r.tracks {
			r.tracks[i].Reserved = extremes(r.tracks[i].Reserved, r.coarse)
			r.steps += len(r.tracks[i].Reserved)
		}
	}
}

func extremes(steps []Step, width scheduler.Time) []Step {
	kept := make([]Step, 0, len(steps)/2)
	for i := 0; i < len(steps); {
		j, low, high := i, i, i
		for ; j < len(steps) && steps[j].At/width == steps[i].At/width; j++ {
			if steps[j].Bytes < steps[low].Bytes {
				low = j
			}
			if steps[j].Bytes > steps[high].Bytes {
				high = j
			}
		}
		// The last value holds until the next column and stays too.
		for k := i; k < j; k++ {
			if k == low || k == high || k == j-1 {
				kept = append(kept, steps[k])
			}
		}
		i = j
	}
	return kept
}

// timeline returns what was recorded until end.
func (r *recorder) timeline(models []scheduler.Model, end scheduler.Time) *Timeline {
	t := &Timeline{End: end}
	for _, m := range models {
		t.Models = append(t.Models, m.Name)
	}
	for d, track := range r.tracks {
		track.Spans = slices.Clone(track.Spans)
		track.Reserved = slices.Clone(track.Reserved)
		for m := range r.models {
			if o := r.open[d*r.models+m]; o.active && end > o.since {
				track.Spans = append(track.Spans, Span{Model: scheduler.ModelID(m), State: o.state, From: o.since, To: end})
			}
		}
		for i := range track.Spans {
			track.Spans[i].To = min(track.Spans[i].To, end)
		}
		track.Spans = slices.DeleteFunc(track.Spans, func(s Span) bool { return s.From >= s.To })
		slices.SortStableFunc(track.Spans, bySpan)
		t.Tracks = append(t.Tracks, track)
	}
	if w := max(r.width, r.coarse); w > 0 {
		t.Note = fmt.Sprintf("thinned: what is shorter than %v was joined with its neighbours", w)
	}
	return t
}
