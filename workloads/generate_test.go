package workloads

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/random"
	"github.com/vramsim/vramsim/workloads/tracestats"
)

var oneModel = &Streams{Models: []scheduler.ModelID{0}}

func source(t testing.TB, c Config, seed uint64, replicate int) scheduler.Source {
	t.Helper()
	s, err := New(c, seed, replicate)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// drain returns all events of a source and checks what every source promises:
// instants in order, dense ids, attributes that follow their arrival.
func drain(t testing.TB, s scheduler.Source) []scheduler.Event {
	t.Helper()
	var all []scheduler.Event
	last, next := scheduler.Time(-1), int64(0)
	for {
		events, err := s.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(events) == 0 || events[0].At <= last {
			t.Fatalf("instant of %d events after %v", len(events), last)
		}
		last = events[0].At
		follow, item := 0, int64(-1)
		for _, ev := range events {
			switch {
			case ev.At != last:
				t.Fatalf("event at %v in the instant %v", ev.At, last)
			case follow > 0:
				follow--
				if ev.Kind == scheduler.ItemArrived || ev.ID != item {
					t.Fatalf("%v of %d where an attribute of %d must follow", ev.Kind, ev.ID, item)
				}
			case ev.Kind != scheduler.ItemArrived || ev.ID != next:
				t.Fatalf("%v of %d where item %d must arrive", ev.Kind, ev.ID, next)
			default:
				follow, item, next = ev.Follow(), ev.ID, next+1
			}
		}
		if follow != 0 {
			t.Fatal("attributes are missing")
		}
		all = append(all, events...)
	}
}

func arrivalTimes(events []scheduler.Event) (times []scheduler.Time) {
	for _, ev := range events {
		if ev.Kind == scheduler.ItemArrived {
			times = append(times, ev.At)
		}
	}
	return times
}

// rateAndCV of the gaps, the first from 0.
func rateAndCV(times []scheduler.Time) (rate, cv float64) {
	n, sum, squares, last := float64(len(times)), 0.0, 0.0, scheduler.Time(0)
	for _, at := range times {
		gap := (at - last).Seconds()
		sum, squares, last = sum+gap, squares+gap*gap, at
	}
	mean := sum / n
	return 1 / mean, math.Sqrt(squares/n-mean*mean) / mean
}

// The gates of the processes: 2·10⁵ arrivals, rate within 1 %, cv within 3 %.
func TestGapsFollowTheirProcess(t *testing.T) {
	rate := Rate{Count: 40, Per: scheduler.Hour}
	weibull := func(k float64) float64 {
		a, b := math.Gamma(1+1/k), math.Gamma(1+2/k)
		return math.Sqrt(b/(a*a) - 1)
	}
	tests := []struct {
		arrivals Arrivals
		cv       float64
	}{
		{Arrivals{Kind: Poisson, Rate: rate}, 1},
		{Arrivals{Kind: Constant, Rate: rate}, 0},
		{Arrivals{Kind: Gamma, Rate: rate, CV: 0.5}, 0.5},
		{Arrivals{Kind: Gamma, Rate: rate, CV: 2}, 2},
		{Arrivals{Kind: Weibull, Rate: rate, Shape: 0.7}, weibull(0.7)},
		{Arrivals{Kind: Weibull, Rate: rate, Shape: 3}, weibull(3)},
	}
	for _, test := range tests {
		c := Config{Arrivals: test.arrivals, Streams: oneModel, Items: 200_000}
		rate, cv := rateAndCV(arrivalTimes(drain(t, source(t, c, 1, 0))))
		if math.Abs(rate*90-1) > 0.01 || math.Abs(cv-test.cv) > 0.03*test.cv+1e-6 {
			t.Errorf("%+v: rate %v of its own, cv %v, want %v", test.arrivals, rate*90, cv, test.cv)
		}
		if want, _ := test.arrivals.perSecond(); math.Abs(want*90-1) > 1e-12 {
			t.Errorf("%s: offered rate %v", test.arrivals.Kind, want)
		}
	}
}

func TestConstantDoesNotDrift(t *testing.T) {
	c := Config{Arrivals: Arrivals{Kind: Constant, Rate: Rate{3, scheduler.Second}}, Streams: oneModel, Duration: 100_000 * scheduler.Second}
	times := arrivalTimes(drain(t, source(t, c, 1, 0)))
	if len(times) != 300_000 || times[0] != 333_333_333 || times[299_999] != 100_000*scheduler.Second {
		t.Errorf("%d arrivals, first %d, last %d", len(times), times[0], times[len(times)-1])
	}
}

// counts of arrivals in windows.
func counts(times []scheduler.Time, window scheduler.Time) []float64 {
	c := make([]float64, times[len(times)-1]/window)
	for _, at := range times {
		if i := at / window; int(i) < len(c) {
			c[i]++
		}
	}
	return c
}

func dispersion(c []float64) float64 {
	mean, squares := 0.0, 0.0
	for _, v := range c {
		mean, squares = mean+v/float64(len(c)), squares+v*v/float64(len(c))
	}
	return (squares - mean*mean) / mean
}

// idc(∞) = 1 + 2ab(λ₁−λ₂)²/((a+b)²(λ₁b+λ₂a)) for two states left at rates a, b.
func TestMMPPDispersion(t *testing.T) {
	a, b, high, low := 1/10.0, 1/30.0, 8.0, 1.0
	c := Config{Streams: oneModel, Duration: 1_500_000 * scheduler.Second, Arrivals: Arrivals{Kind: MMPP, States: []State{
		{Rate{high, scheduler.Second}, 10 * scheduler.Second}, {Rate{low, scheduler.Second}, 30 * scheduler.Second}}}}
	times := arrivalTimes(drain(t, source(t, c, 3, 0)))
	want := 1 + 2*a*b*(high-low)*(high-low)/((a+b)*(a+b)*(high*b+low*a))
	got := dispersion(counts(times, scheduler.Time(50/(a+b)*1e9)))
	if math.Abs(got/want-1) > 0.1 {
		t.Errorf("index of dispersion %v, want %v", got, want)
	}
	rate, _ := c.Arrivals.perSecond()
	if math.Abs(float64(len(times))/1.5e6/rate-1) > 0.01 || math.Abs(rate-2.75) > 1e-12 {
		t.Errorf("rate %v, %d arrivals", rate, len(times))
	}
}

func TestDiurnalShape(t *testing.T) {
	for _, amplitude := range []float64{0, 0.4, 1} {
		c := Config{Streams: oneModel, Items: 100_000, Arrivals: Arrivals{Kind: Diurnal, Rate: Rate{1, scheduler.Second},
			Amplitude: amplitude, Period: scheduler.Hour, Peak: 20 * scheduler.Minute}}
		re, im, n := 0.0, 0.0, 0.0
		times := arrivalTimes(drain(t, source(t, c, 2, 0)))
		whole := times[len(times)-1] / scheduler.Hour * scheduler.Hour
		for _, at := range times {
			if at < whole {
				sin, cos := math.Sincos(2 * math.Pi * (at.Seconds()/3600 - 1.0/3))
				re, im, n = re+cos, im+sin, n+1
			}
		}
		if math.Abs(2*re/n-amplitude) > 0.02 || math.Abs(2*im/n) > 0.02 {
			t.Errorf("amplitude %v: first harmonic %v %+vi", amplitude, 2*re/n, 2*im/n)
		}
	}
	c := Config{Streams: oneModel, Duration: 2000 * scheduler.Minute, Arrivals: Arrivals{Kind: Diurnal, Rate: Rate{10, scheduler.Second},
		Factors: []float64{2, 0, 1}, Period: 3 * scheduler.Minute}}
	parts := make([]float64, 3)
	for _, at := range arrivalTimes(drain(t, source(t, c, 2, 0))) {
		parts[at/scheduler.Minute%3]++
	}
	if parts[1] != 0 || math.Abs(parts[0]/parts[2]-2) > 0.03 || math.Abs((parts[0]+parts[2])/1_200_000-1) > 0.01 {
		t.Errorf("factors 2, 0, 1 gave %v", parts)
	}
}

func TestBursts(t *testing.T) {
	c := Config{Streams: oneModel, Duration: 400_000 * scheduler.Second, Arrivals: Arrivals{Kind: Burst,
		Every: 100 * scheduler.Second, Size: random.Constant(40), Within: scheduler.Second}}
	times := arrivalTimes(drain(t, source(t, c, 5, 0)))
	rate, _ := c.Arrivals.perSecond()
	if got := float64(len(times)) / 400_000; math.Abs(rate-0.4) > 1e-12 || math.Abs(got/rate-1) > 0.05 {
		t.Errorf("rate %v, want %v", got, rate)
	}
	if got := dispersion(counts(times, 1000*scheduler.Second)); math.Abs(got/40-1) > 0.2 { // compound Poisson: E[size²]/E[size]
		t.Errorf("index of dispersion %v, want about 40", got)
	}
	c.Arrivals.Rate = Rate{1, scheduler.Second}
	both := arrivalTimes(drain(t, source(t, c, 5, 0)))
	if got := float64(len(both)-len(times)) / 400_000; math.Abs(got-1) > 0.01 {
		t.Errorf("rate of the background %v, want 1", got)
	}
}

func TestPiecewiseEndsAfterItsWindows(t *testing.T) {
	c := Config{Streams: oneModel, Arrivals: Arrivals{Kind: Piecewise, Window: 10 * scheduler.Second, Counts: []float64{0, 5000, 0, 20000}}}
	parts := make([]float64, 4)
	for _, at := range arrivalTimes(drain(t, source(t, c, 1, 0))) {
		parts[at/(10*scheduler.Second)]++
	}
	if parts[0]+parts[2] != 0 || math.Abs(parts[1]/5000-1) > 0.05 || math.Abs(parts[3]/20000-1) > 0.03 {
		t.Errorf("windows hold %v", parts)
	}
}

// The gate of popularity: the exponent that is most likely for 10⁵ draws is the
// one that was asked for, ± .02.
func TestZipfExponent(t *testing.T) {
	models := make([]scheduler.ModelID, 76)
	for i := range models {
		models[i] = scheduler.ModelID(i)
	}
	for _, s := range []float64{0.4, 0.8, 1.1, 1.37} {
		c := Config{Arrivals: Arrivals{Kind: Poisson, Rate: Rate{1, scheduler.Second}}, Streams: &Streams{Models: models, Popularity: Popularity{Zipf: true, ZipfS: s}}, Items: 100_000}
		events := drain(t, source(t, c, 11, 0))
		drawn := make([]int, len(events))
		for i, ev := range events {
			drawn[i] = int(ev.Model)
		}
		if got, _ := tracestats.Of(arrivalTimes(events), drawn).Value("zipf_s"); math.Abs(got-s) > 0.02 {
			t.Errorf("the exponent is %v, want %v", got, s)
		}
	}
}

func TestPopularity(t *testing.T) {
	models := []scheduler.ModelID{4, 0, 2, 1, 3}
	shares := func(p Popularity) []float64 {
		c := Config{Arrivals: Arrivals{Kind: Constant, Rate: Rate{1, scheduler.Second}}, Streams: &Streams{Models: models, Popularity: p}, Items: 200_000}
		got := make([]float64, 5)
		for _, ev := range drain(t, source(t, c, 9, 0)) {
			got[slices.Index(models, ev.Model)] += 1.0 / 200_000
		}
		rates, known := c.OfferedRates(5)
		for i, m := range models {
			if !known || p.Windows == nil && math.Abs(rates[m]-got[i]) > 0.006 {
				t.Errorf("%+v: model %d offered at %v, drawn at %v", p, m, rates[m], got[i])
			}
		}
		return got
	}
	harmonic := 1 + math.Pow(2, -1.1) + math.Pow(3, -1.1) + math.Pow(4, -1.1) + math.Pow(5, -1.1)
	for i, share := range shares(Popularity{Zipf: true, ZipfS: 1.1}) {
		if want := math.Pow(float64(i+1), -1.1) / harmonic; math.Abs(share-want) > 0.005 {
			t.Errorf("zipf: share %d is %v, want %v", i, share, want)
		}
	}
	for i, share := range shares(Popularity{Weights: []float64{5, 0, 3, 2, 0}}) {
		if want := []float64{0.5, 0, 0.3, 0.2, 0}[i]; math.Abs(share-want) > 0.005*min(1, want*1e9) {
			t.Errorf("weights: share %d is %v, want %v", i, share, want)
		}
	}
	first := shares(Popularity{Windows: [][]float64{{1, 0, 0, 0, 0}, {0, 1, 0, 0, 0}}, Window: 50_000 * scheduler.Second})
	if math.Abs(first[0]-0.25) > 1e-4 || math.Abs(first[1]-0.75) > 1e-4 {
		t.Errorf("windows: %v", first)
	}
	c := Config{Arrivals: Arrivals{Kind: Constant, Rate: Rate{1, scheduler.Second}}, Items: 100_000,
		Streams: &Streams{Models: models, Popularity: Popularity{Sticky: 0.9}}}
	same, last := 0.0, scheduler.NoModel
	for _, ev := range drain(t, source(t, c, 9, 0)) {
		if ev.Model == last {
			same++
		}
		last = ev.Model
	}
	if want := 0.9 + 0.1/5; math.Abs(same/100_000-want) > 0.005 {
		t.Errorf("sticky: repeated %v, want %v", same/100_000, want)
	}
}

func TestSameKeysSameWorkload(t *testing.T) {
	c := Config{Arrivals: Arrivals{Kind: Gamma, Rate: Rate{1, scheduler.Second}, CV: 2}, Items: 500,
		Streams: &Streams{Models: []scheduler.ModelID{0, 1, 2}, Popularity: Popularity{Zipf: true, ZipfS: 1}}}
	one := drain(t, source(t, c, 1, 0))
	if !slices.Equal(one, drain(t, source(t, c, 1, 0))) {
		t.Error("the same seed gave another workload")
	}
	if slices.Equal(one, drain(t, source(t, c, 1, 1))) || slices.Equal(one, drain(t, source(t, c, 2, 0))) {
		t.Error("another seed or replicate gave the same workload")
	}
	c.Streams = &Streams{Models: []scheduler.ModelID{0, 1, 2, 3}}
	other := drain(t, source(t, c, 1, 0))
	if !slices.Equal(arrivalTimes(one), arrivalTimes(other)) {
		t.Error("another popularity moved the arrivals")
	}
}

// video is the pipeline of the contract's example, with a fan-out.
func video() Pipeline {
	return Pipeline{Name: "video", Stages: []Stage{
		{ID: "asr", Model: 0, Items: random.Must(random.Integers(2, 5))},
		{ID: "frames", Model: 1, Items: random.Constant(3)},
		{ID: "crop", Choose: []Choice{{2, 0.75}, {3, 0.25}}, Each: "frames", Chance: 0.5, Items: random.Constant(2)},
		{ID: "summary", Model: 4, After: []string{"asr", "crop"}, Priority: 5, SLO: 2 * scheduler.Minute},
	}}
}

func TestPipelineJobs(t *testing.T) {
	c := Config{Arrivals: Arrivals{Kind: Poisson, Rate: Rate{40, scheduler.Hour}}, Pipelines: []Pipeline{video()}, Items: 40_000}
	s := source(t, c, 1, 0)
	namer := s.(scheduler.Namer)
	perModel := make([]float64, 5)
	jobs, crops := int64(0), 0
	for {
		events, err := s.Next()
		if err == io.EOF {
			break
		}
		needs := map[string][]string{}
		var names []string
		for i := 0; i < len(events); i++ {
			ev := events[i]
			name := namer.ItemName(ev.Item())
			names = append(names, name)
			perModel[ev.Model]++
			if events[i+1].Kind != scheduler.ItemJob || events[i+1].Value != jobs || namer.JobName(scheduler.JobID(jobs)) != fmt.Sprintf("video/%d", jobs) {
				t.Fatalf("%s: job %+v", name, events[i+1])
			}
			summary := strings.Contains(name, "/summary/")
			if (ev.Priority() == 5) != summary {
				t.Fatalf("%s has priority %d", name, ev.Priority())
			}
			for k := 1; k <= ev.Follow(); k++ {
				switch f := events[i+k]; f.Kind {
				case scheduler.ItemDependsOn:
					needs[name] = append(needs[name], namer.ItemName(scheduler.ItemID(f.Value)))
				case scheduler.ItemDeadline:
					if !summary || f.Value != int64(ev.At+2*scheduler.Minute) {
						t.Fatalf("%s is due at %d", name, f.Value)
					}
				}
			}
			i += ev.Follow()
		}
		crops += checkVideo(t, names, needs)
		jobs++
	}
	rates, known := c.OfferedRates(5)
	for m, n := range perModel {
		if want := rates[m] / (40.0 / 3600) * float64(jobs); !known || math.Abs(n/want-1) > 0.05 {
			t.Errorf("model %d: %v items, offered %v", m, n, want)
		}
	}
	if got := float64(crops) / float64(jobs); math.Abs(got-3) > 0.1 {
		t.Errorf("%v crops a job, want 3", got)
	}
}

// checkVideo checks who waits for whom in one job and returns its crops.
func checkVideo(t *testing.T, names []string, needs map[string][]string) int {
	t.Helper()
	want := map[string]bool{} // of the summary: every asr, every crop, the frames without crops
	cropped, crops := map[string]bool{}, 0
	for _, name := range names {
		parts := strings.Split(name, "/")
		switch parts[2] {
		case "asr", "frames":
			if len(needs[name]) != 0 {
				t.Fatalf("%s waits for %v", name, needs[name])
			}
			want[name] = true
		case "crop":
			if len(needs[name]) != 1 || !strings.Contains(needs[name][0], "/frames/") {
				t.Fatalf("%s waits for %v", name, needs[name])
			}
			cropped[needs[name][0]] = true
			want[name] = true
			crops++
		}
	}
	for frame := range cropped {
		delete(want, frame)
	}
	last := names[len(names)-1]
	got := needs[last]
	if !strings.HasSuffix(last, "/summary/0") || len(got) != len(want) {
		t.Fatalf("%s waits for %v, want %v", last, got, want)
	}
	for _, n := range got {
		if !want[n] {
			t.Fatalf("%s waits for %s", last, n)
		}
	}
	return crops
}

func TestSeveralPipelinesAreWeighted(t *testing.T) {
	small := Pipeline{Name: "small", Weight: 3, Stages: []Stage{{ID: "only", Model: 1}}}
	c := Config{Arrivals: Arrivals{Kind: Poisson, Rate: Rate{1, scheduler.Second}}, Items: 20_000,
		Pipelines: []Pipeline{{Name: "big", Stages: []Stage{{ID: "only", Model: 0}}}, small}}
	s := source(t, c, 1, 0)
	n := [2]float64{}
	for _, ev := range drain(t, s) {
		if ev.Kind == scheduler.ItemArrived {
			n[ev.Model]++
		}
	}
	if share := n[1] / 20_000; math.Abs(share-0.75) > 0.01 {
		t.Errorf("share of the heavier pipeline %v", share)
	}
	if name := s.(scheduler.Namer).JobName(19_999); name != "big/19999" && name != "small/19999" {
		t.Errorf("last job is called %q", name)
	}
}

// loop runs a closed source against a server that takes a second per item,
// and returns how many items it served.
func loop(t *testing.T, c Config, ends func(i int) scheduler.Kind) (served int, last scheduler.Time) {
	t.Helper()
	s := source(t, c, 1, 0).(scheduler.Reactive)
	type running struct {
		at    scheduler.Time
		items []scheduler.ItemID
	}
	var queue []running
	seq := int64(0)
	for {
		at, ok := s.NextAt()
		if len(queue) > 0 && (!ok || queue[0].at <= at) {
			b := queue[0]
			queue = queue[1:]
			seq++
			events := []scheduler.Event{}
			for _, id := range b.items {
				events = append(events, scheduler.Event{At: b.at, Kind: scheduler.MemberDispatched, ID: int64(id)})
			}
			events = append(events, scheduler.Event{At: b.at, Kind: scheduler.BatchStarted, ID: seq})
			kind := ends(served)
			if kind == scheduler.BatchFinished {
				events = append(events, scheduler.Event{At: b.at, Kind: kind, ID: seq})
			} else {
				for _, id := range b.items {
					events = append(events, scheduler.Event{At: b.at, Kind: kind, ID: int64(id)})
				}
			}
			served += len(b.items)
			if err := s.Append(events); err != nil {
				t.Fatal(err)
			}
			last = b.at
			continue
		}
		if !ok {
			return served, last
		}
		events, err := s.Next()
		if err != nil || events[0].At != at {
			t.Fatal(err, events[0].At, at)
		}
		b := running{at: at + scheduler.Second}
		for _, ev := range events {
			if ev.Kind == scheduler.ItemArrived {
				b.items = append(b.items, ev.Item())
			}
		}
		if err := s.Append(events); err != nil {
			t.Fatal(err)
		}
		queue = append(queue, b)
		slices.SortStableFunc(queue, func(a, b running) int { return int(a.at - b.at) })
	}
}

func TestClosedLoop(t *testing.T) {
	c := Config{Arrivals: Arrivals{Kind: Closed, Clients: 3, Think: random.Constant(4e9)}, Streams: oneModel, Duration: 100 * scheduler.Second}
	finished := func(int) scheduler.Kind { return scheduler.BatchFinished }
	if n, last := loop(t, c, finished); n != 3*21 || last != 101*scheduler.Second {
		t.Errorf("three clients of 5 s a cycle: %d items, last at %v", n, last)
	}
	endings := []scheduler.Kind{scheduler.BatchFinished, scheduler.ItemFailed, scheduler.ItemRejected, scheduler.ItemCancelled, scheduler.DependantCancelled}
	if n, _ := loop(t, c, func(i int) scheduler.Kind { return endings[i/3%len(endings)] }); n != 3*21 {
		t.Errorf("whatever ends an item ends the wait: %d items", n)
	}
	c.Arrivals.Think, c.Duration, c.Items = nil, 0, 50
	if n, last := loop(t, c, finished); n != 51 && n != 50 || last != 17*scheduler.Second {
		t.Errorf("without thinking: %d items, last at %v", n, last)
	}
	c = Config{Arrivals: Arrivals{Kind: Closed, Clients: 2}, Pipelines: []Pipeline{video()}, Duration: 50 * scheduler.Second}
	if n, last := loop(t, c, finished); last != 51*scheduler.Second || n < 2*51*6 {
		t.Errorf("clients wait for whole jobs: %d items, last at %v", n, last)
	}
}

func TestNextDoesNotAllocate(t *testing.T) {
	for name, c := range map[string]Config{
		"streams":   {Arrivals: Arrivals{Kind: Poisson, Rate: Rate{1, scheduler.Second}}, Streams: &Streams{Models: []scheduler.ModelID{0, 1}}, Items: 1 << 40},
		"pipelines": {Arrivals: Arrivals{Kind: Poisson, Rate: Rate{1, scheduler.Second}}, Pipelines: []Pipeline{video()}, Items: 1 << 40},
	} {
		s := source(t, c, 1, 0)
		next := func() {
			if _, err := s.Next(); err != nil {
				t.Fatal(err)
			}
		}
		for range 1000 {
			next()
		}
		if n := testing.AllocsPerRun(1000, next); n != 0 {
			t.Errorf("%s: %v allocations an instant", name, n)
		}
	}
}

func TestConfigErrorsNameTheField(t *testing.T) {
	good := Config{Arrivals: Arrivals{Kind: Poisson, Rate: Rate{1, scheduler.Second}}, Streams: oneModel, Items: 1}
	pipeline := func(stages ...Stage) func(*Config) {
		return func(c *Config) { c.Streams, c.Pipelines = nil, []Pipeline{{Name: "p", Stages: stages}} }
	}
	tests := []struct {
		field, says string
		change      func(*Config)
	}{
		{"arrivals.poisson.rate", "", func(c *Config) { c.Arrivals.Rate.Count = 0 }},
		{"arrivals.poisson.rate", "", func(c *Config) { c.Arrivals.Rate.Count = math.NaN() }},
		{"arrivals", "mystery", func(c *Config) { c.Arrivals.Kind = "mystery" }},
		{"arrivals.gamma.cv", "", func(c *Config) { c.Arrivals.Kind, c.Arrivals.CV = Gamma, -1 }},
		{"arrivals.mmpp.states", "", func(c *Config) { c.Arrivals.Kind = MMPP }},
		{"arrivals.burst.size", "", func(c *Config) { c.Arrivals.Kind, c.Arrivals.Every = Burst, 1 }},
		{"arrivals.closed.clients", "", func(c *Config) { c.Arrivals.Kind = Closed }},
		{"arrivals.diurnal.amplitude", "", func(c *Config) { c.Arrivals.Kind, c.Arrivals.Amplitude = Diurnal, 1.5 }},
		{"arrivals.piecewise.counts", "", func(c *Config) { c.Arrivals.Kind, c.Arrivals.Window = Piecewise, 1 }},
		{"duration", "", func(c *Config) { c.Items = 0 }},
		{"streams", "", func(c *Config) { c.Streams = nil }},
		{"streams.popularity.weights", "2 weights for 1", func(c *Config) {
			c.Streams = &Streams{Models: oneModel.Models, Popularity: Popularity{Weights: []float64{1, 2}}}
		}},
		{"pipelines[0].stages[1].after[0]", "there is no stage \"x\"", pipeline(Stage{ID: "a"}, Stage{ID: "b", After: []string{"x"}})},
		{"pipelines[0].stages[1].id", "", pipeline(Stage{ID: "a"}, Stage{ID: "a"})},
		{"pipelines[0].stages", "b after a after b", pipeline(Stage{ID: "s"}, Stage{ID: "b", After: []string{"s", "a"}}, Stage{ID: "a", Each: "b"})},
		{"pipelines[0].stages", "a after a", pipeline(Stage{ID: "a", After: []string{"a"}})},
		{"pipelines[0].stages", "no stage ever has items", pipeline(Stage{ID: "a", Items: random.Constant(0.2)})},
	}
	if _, err := New(good, 1, 0); err != nil {
		t.Fatal(err)
	}
	for _, test := range tests {
		c := good
		test.change(&c)
		_, err := New(c, 1, 0)
		var config *ConfigError
		if !errors.As(err, &config) || config.Field != test.field || !strings.Contains(config.What, test.says) {
			t.Errorf("want an error at %s that says %q, got %v", test.field, test.says, err)
		}
	}
}

func TestEndOfTimeIsAnError(t *testing.T) {
	c := Config{Arrivals: Arrivals{Kind: Constant, Rate: Rate{1e-4, scheduler.Hour}}, Streams: oneModel, Items: 1000}
	s := source(t, c, 1, 0)
	for {
		_, err := s.Next()
		var config *ConfigError
		if errors.As(err, &config) {
			return
		}
		if err != nil {
			t.Fatalf("got %v, want an error that says so", err)
		}
	}
}

// Jobs that arrive at the same time stand in one instant, however many are
// drawn at once: the gaps here are a two-hundredth of a nanosecond, and so
// small that time stands still.
func TestCrowdedInstants(t *testing.T) {
	for kind, want := range map[ArrivalKind]int{Constant: 201, Poisson: 1000} {
		rate := Rate{2e11, scheduler.Second}
		if kind == Poisson {
			rate.Count = 1e16
		}
		at := map[scheduler.Time]int{}
		most := 0
		for _, t := range arrivalTimes(drain(t, source(t, Config{Arrivals: Arrivals{Kind: kind, Rate: rate}, Streams: oneModel, Items: 1000}, 1, 0))) {
			at[t]++
			most = max(most, at[t])
		}
		if most != want {
			t.Errorf("%s: at most %d items at once, want %d", kind, most, want)
		}
	}
}

func TestParseRate(t *testing.T) {
	for text, want := range map[string]Rate{"40/h": {40, scheduler.Hour}, "0.5/s": {0.5, scheduler.Second}, "3/m": {3, scheduler.Minute}} {
		if got, err := ParseRate(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "1", "1/", "/s", "1/d", "-1/s", "nan/s", "1e3/s", "0x1/s", "1_0/s", "1 /s", "inf/s"} {
		if got, err := ParseRate(text); err == nil {
			t.Errorf("%q was read as %v", text, got)
		}
	}
}

func TestRandomness(t *testing.T) {
	fixed := Config{Arrivals: Arrivals{Kind: Constant, Rate: Rate{1, scheduler.Second}}, Streams: oneModel, Items: 1}
	pipe := fixed
	pipe.Streams, pipe.Pipelines = nil, []Pipeline{{Stages: []Stage{{ID: "a", Items: random.Constant(3)}}}}
	random := pipe
	random.Pipelines = []Pipeline{video()}
	if fixed.Random() || pipe.Random() || !random.Random() {
		t.Errorf("random: %v %v %v, want false false true", fixed.Random(), pipe.Random(), random.Random())
	}
}

func BenchmarkPoissonZipf(b *testing.B) {
	models := make([]scheduler.ModelID, 76)
	for i := range models {
		models[i] = scheduler.ModelID(i)
	}
	s := source(b, Config{Arrivals: Arrivals{Kind: Poisson, Rate: Rate{1, scheduler.Second}}, Items: 1 << 50,
		Streams: &Streams{Models: models, Popularity: Popularity{Zipf: true, ZipfS: 1.1}}}, 1, 0)
	for b.Loop() {
		if _, err := s.Next(); err != nil {
			b.Fatal(err)
		}
	}
}
