package metrics

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/vramsim/vramsim/scheduler"
)

func TestTimelineByHand(t *testing.T) {
	c := catalogue(2, 1)
	c.Timeline = true
	f := newFold(t, c)
	if err := f.Append(handmade().events); err != nil {
		t.Fatal(err)
	}
	line := f.Result().Timeline
	track := line.Tracks[0]
	want := []Span{{0, Loading, 0, 4 * second}, {0, Running, 4 * second, 6 * second}, {0, Evicting, 6 * second, 7 * second},
		{1, Loading, 7 * second, 10 * second}, {1, Running, 10 * second, 13 * second}}
	if !slices.Equal(track.Spans, want) || line.Note != "" || line.End != 13*second || !slices.Equal(line.Models, []string{"a", "b"}) {
		t.Errorf("%+v", line)
	}
	// 10 for a, 15 with the claim of b, then b alone.
	if steps := []Step{{0, 10}, {6 * second, 15}, {7 * second, 10}}; !slices.Equal(track.Reserved, steps) {
		t.Errorf("reserved %v, want %v", track.Reserved, steps)
	}
	if track.Name != "A" || track.Budget != 15 {
		t.Errorf("%+v", track)
	}
}

// A thinned timeline has bounded size, spans that do not overlap, and shows
// each model in each state for about as long as it was, where states last.
func TestThinnedTimeline(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	const models, devices = 3, 2
	c := catalogue(models, devices)
	r := newRecorder(c.Devices, models)
	var now scheduler.Time
	var truth [devices][models][4]scheduler.Time
	type current struct {
		state State
		since scheduler.Time
		on    bool
	}
	var states [devices][models]current
	for step := range 400_000 {
		now += scheduler.Time(1 + rng.Int64N(1e6))
		if step == 200_000 {
			now += 1e12 // a long pause, in whatever state
		}
		d, m := rng.IntN(devices), rng.IntN(models)
		// Each model has a favourite state.
		s := State(m)
		if rng.IntN(4) == 0 {
			s = State(rng.IntN(4))
		}
		at := &states[d][m]
		if at.on {
			truth[d][m][at.state] += now - at.since
		}
		*at = current{s, now, true}
		r.enter(scheduler.DeviceID(d), scheduler.ModelID(m), s, now)
		r.reserve(scheduler.DeviceID(d), now, scheduler.Bytes(rng.IntN(1000)))
	}
	line := r.timeline(c.Models, now)
	if line.Note == "" {
		t.Error("no note")
	}
	spans, steps := 0, 0
	for d, track := range line.Tracks {
		spans += len(track.Spans)
		steps += len(track.Reserved)
		var until [models]scheduler.Time
		var shown [models][4]scheduler.Time
		for i, s := range track.Spans {
			if s.From < until[s.Model] || s.To <= s.From || s.To > now || i > 0 && s.From < track.Spans[i-1].From {
				t.Fatalf("device %d: span %d %+v after %v", d, i, s, until[s.Model])
			}
			until[s.Model] = s.To
			shown[s.Model][s.State] += s.To - s.From
		}
		for m := range models {
			if got, want := shown[m][m], truth[d][m][m]; got < want*7/10 {
				t.Errorf("device %d: model %d is shown in its favourite state for %v, was in it for %v", d, m, got, want)
			}
			total := scheduler.Time(0)
			for _, s := range shown[m] {
				total += s
			}
			if total < now*98/100 {
				t.Errorf("device %d: model %d is shown for %v of %v", d, m, total, now)
			}
		}
		least, most := scheduler.Bytes(1e9), scheduler.Bytes(0)
		for i, s := range track.Reserved {
			if i > 0 && s.At <= track.Reserved[i-1].At {
				t.Fatalf("device %d: step %d at %v after %v", d, i, s.At, track.Reserved[i-1].At)
			}
			if i > 0 {
				least, most = min(least, s.Bytes), max(most, s.Bytes)
			}
		}
		if least != 0 || most != 999 {
			t.Errorf("device %d: reserved from %d to %d", d, least, most)
		}
	}
	if spans > maxSpans+models*devices || steps > maxSpans || spans < maxSpans/4 || steps < maxSpans/16 {
		t.Errorf("%d spans, %d steps", spans, steps)
	}
	if r.width > now/1000 {
		t.Errorf("columns of %v of %v", r.width, now)
	}
}
