package workloads

import (
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/random"
)

// process tells arrival times in order. Those beyond the clock saturate at
// MaxTime.
type process interface {
	// next sets at to the next arrival times and returns how many it has set:
	// at least one, as many as cost little to know, and none after the last.
	next(at []scheduler.Time) int
}

// purpose separates the streams of one entity.
type purpose uint64

const (
	forArrival purpose = iota + 1
	forModel
	forCount
	forBranch
	forThink
	forState
	forPipeline
)

// keys derives streams from what identifies a run.
type keys struct{ seed, replicate uint64 }

func (k keys) of(entity uint64, p purpose) uint64 {
	return random.Key(k.seed, k.replicate, entity, uint64(p))
}

func newProcess(a *Arrivals, k keys) (process, error) {
	entity := random.Hash("arrivals")
	draws := k.of(entity, forArrival)
	switch a.Kind {
	case Constant:
		return &metronome{gap: a.Rate.gap()}, nil
	case MMPP:
		return newMMPP(a.States, draws, k.of(entity, forState)), nil
	case Diurnal:
		if len(a.Factors) > 0 {
			part := float64(a.period()) / float64(len(a.Factors))
			return newModulated(draws, &repeated{lengths: part, rate: a.Rate.perNanosecond(), factors: a.Factors, forever: true}), nil
		}
		return &diurnal{a: a, period: a.period(), draws: random.NewStream(draws), gap: a.Rate.gap() / (1 + a.Amplitude)}, nil
	case Piecewise:
		return newModulated(draws, &repeated{lengths: float64(a.Window), rate: 1 / float64(a.Window), factors: a.Counts}), nil
	case Burst:
		return newBursts(a, k, entity)
	}
	gaps, err := gapsOf(a)
	return &renewal{dist: gaps, key: random.NewPrefix(draws)}, err
}

func gapsOf(a *Arrivals) (random.Dist, error) {
	switch a.Kind {
	case Gamma:
		return random.Gamma(a.Rate.gap(), a.CV)
	case Weibull:
		return random.WeibullMean(a.Rate.gap(), a.Shape)
	}
	return random.Exponential(a.Rate.gap())
}

// after returns t plus a non-negative number of nanoseconds, at most MaxTime.
func after(t scheduler.Time, d float64) scheduler.Time {
	if n := scheduler.Time(random.Round(d)); n < scheduler.MaxTime-1-t {
		return t + n
	}
	return scheduler.MaxTime
}

// renewal has independent gaps.
type renewal struct {
	dist random.Dist
	key  random.Prefix
	n    uint64
	at   scheduler.Time
	gaps [drawAhead]float64
}

func (p *renewal) next(at []scheduler.Time) int {
	n := min(len(at), len(p.gaps))
	gaps, last := p.gaps[:n], p.at
	random.Draw(gaps, p.dist, p.key, p.n)
	for i, gap := range gaps {
		last = after(last, gap)
		at[i] = last
	}
	p.at = last
	p.n += uint64(n)
	return n
}

// one returns the next arrival time alone.
func (p *renewal) one() scheduler.Time {
	var at [1]scheduler.Time
	p.next(at[:])
	return at[0]
}

// metronome has equal gaps; its n-th arrival is n gaps after 0, rounded once.
type metronome struct {
	gap float64
	n   float64
}

func (p *metronome) next(at []scheduler.Time) int {
	for i := range at {
		p.n++
		at[i] = after(0, p.n*p.gap)
	}
	return len(at)
}

// segment says for how long (ns) at what rate (per ns); false after the last.
type segments interface {
	segment() (length, rate float64, ok bool)
}

// modulated is a Poisson process whose rate is constant within segments: each
// arrival uses up an exponential amount of accumulated rate.
type modulated struct {
	key      random.Prefix
	n        uint64
	segments segments

	start       scheduler.Time // of the segment
	pos, length float64        // within it
	rate        float64
	ended       bool
}

func newModulated(key uint64, s segments) *modulated {
	return &modulated{key: random.NewPrefix(key), segments: s}
}

// next looks beyond the segment for the first arrival alone: any number of
// segments may lie before it.
func (p *modulated) next(at []scheduler.Time) int {
	for i := range at {
		need := -random.Log(1 - random.Uniform(p.key.Key(p.n)))
		if i > 0 && need >= p.left() {
			return i
		}
		p.n++
		var ok bool
		if at[i], ok = p.use(need); !ok {
			return i
		}
	}
	return len(at)
}

// left returns how much rate the rest of the segment accumulates.
func (p *modulated) left() float64 { return float64((p.length - p.pos) * p.rate) }

// use returns when need more rate has accumulated, false for never.
func (p *modulated) use(need float64) (scheduler.Time, bool) {
	for !p.ended {
		left := p.left()
		if need < left {
			p.pos += need / p.rate
			return after(p.start, p.pos), true
		}
		need -= left
		p.start = after(p.start, p.length)
		if p.start == scheduler.MaxTime {
			return p.start, true
		}
		var ok bool
		p.pos = 0
		p.length, p.rate, ok = p.segments.segment()
		p.ended = !ok
	}
	return 0, false
}

// repeated segments have one length and a factor each.
type repeated struct {
	lengths, rate float64
	factors       []float64
	n             int
	forever       bool
}

func (r *repeated) segment() (length, rate float64, ok bool) {
	if r.n == len(r.factors) {
		if !r.forever {
			return 0, 0, false
		}
		r.n = 0
	}
	r.n++
	return r.lengths, r.rate * r.factors[r.n-1], true
}

// stays are the segments of a Markov-modulated Poisson process.
type stays struct {
	states []State
	state  int
	draws  random.Stream
}

// newMMPP starts in a state chosen by its share of time; what is left of an
// exponential stay is exponential.
func newMMPP(states []State, key, stateKey uint64) *modulated {
	s := &stays{states: states, draws: random.NewStream(stateKey)}
	weights := make([]float64, len(states))
	for i := range states {
		weights[i] = float64(states[i].Mean)
	}
	shares := newPicker(weights)
	s.state = shares.pick(s.draws.Uniform())
	return newModulated(key, s)
}

func (s *stays) segment() (length, rate float64, ok bool) {
	state := s.states[s.state]
	s.state = (s.state + 1) % len(s.states)
	return float64(state.Mean) * -random.Log(1-s.draws.Uniform()), state.Rate.perNanosecond(), true
}

// diurnal thins a Poisson process at the peak rate.
type diurnal struct {
	a      *Arrivals
	period scheduler.Time
	draws  random.Stream
	gap    float64 // at the peak
	at     scheduler.Time
}

func (p *diurnal) next(at []scheduler.Time) int {
	for i := range at {
		at[i] = p.one()
	}
	return len(at)
}

func (p *diurnal) one() scheduler.Time {
	peak := p.a.Peak % p.period
	for p.at < scheduler.MaxTime {
		p.at = after(p.at, p.gap*-random.Log(1-p.draws.Uniform()))
		phase := p.at%p.period - peak
		if phase < 0 {
			phase += p.period
		}
		rate := 1 + float64(p.a.Amplitude*random.CosTurns(float64(phase)/float64(p.period)))
		if float64(p.draws.Uniform()*(1+p.a.Amplitude)) < rate {
			break
		}
	}
	return p.at
}

// bursts merges a Poisson process with the arrivals of bursts.
type bursts struct {
	a          *Arrivals
	background *renewal // nil: none
	starts     *renewal
	draws      random.Stream

	nextBackground, nextStart scheduler.Time
	pending                   dueHeap // of bursts that have begun
}

func newBursts(a *Arrivals, k keys, entity uint64) (*bursts, error) {
	every, err := random.Exponential(float64(a.Every))
	if err != nil {
		return nil, err
	}
	p := &bursts{a: a, draws: random.NewStream(k.of(entity, forCount)), nextBackground: scheduler.MaxTime}
	p.starts = &renewal{dist: every, key: random.NewPrefix(k.of(entity, forState))}
	p.nextStart = p.starts.one()
	if a.Rate.Count > 0 {
		gaps, err := random.Exponential(a.Rate.gap())
		if err != nil {
			return nil, err
		}
		p.background = &renewal{dist: gaps, key: random.NewPrefix(k.of(entity, forArrival))}
		p.nextBackground = p.background.one()
	}
	return p, nil
}

// next begins bursts for the first arrival alone: any number of them may be
// empty, and their arrivals are held.
func (p *bursts) next(at []scheduler.Time) int {
	for i := range at {
		for p.begins() {
			if i > 0 {
				return i
			}
			p.begin()
		}
		at[i] = p.one()
	}
	return len(at)
}

// begins reports whether a burst begins before any other arrival.
func (p *bursts) begins() bool {
	return p.nextStart < scheduler.MaxTime && p.nextStart <= p.nextBackground && (len(p.pending) == 0 || p.nextStart <= p.pending[0].at)
}

func (p *bursts) begin() {
	n := min(random.Round(p.a.Size.Quantile(p.draws.Uniform())), maxItemsPerJob)
	for range n {
		p.pending.push(due{at: after(p.nextStart, float64(p.a.Within)*p.draws.Uniform())})
	}
	p.nextStart = p.starts.one()
}

// one returns the next arrival of the background or of bursts that have begun.
func (p *bursts) one() scheduler.Time {
	if len(p.pending) > 0 && p.pending[0].at <= p.nextBackground {
		return p.pending.pop().at
	}
	at := p.nextBackground
	if p.background != nil {
		p.nextBackground = p.background.one()
	}
	return at
}
