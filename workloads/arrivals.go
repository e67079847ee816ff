package workloads

import (
	"fmt"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/random"
)

// ArrivalKind names an arrival process.
type ArrivalKind string

// The arrival processes. What each needs stands at the fields of Arrivals. In
// renewal processes (poisson, constant, gamma, weibull) the first gap is a
// full draw.
const (
	Poisson   ArrivalKind = "poisson"   // Rate
	Constant  ArrivalKind = "constant"  // Rate: equal gaps
	Gamma     ArrivalKind = "gamma"     // Rate, CV: gamma gaps of shape 1/CV²
	Weibull   ArrivalKind = "weibull"   // Rate, Shape
	MMPP      ArrivalKind = "mmpp"      // States: Markov-modulated Poisson
	Diurnal   ArrivalKind = "diurnal"   // Rate with Amplitude and Peak, or Factors; Period
	Burst     ArrivalKind = "burst"     // Rate, plus Size arrivals Within, Every
	Piecewise ArrivalKind = "piecewise" // Window, Counts
	Closed    ArrivalKind = "closed"    // Clients, Think
)

// State is one state of an MMPP: the rate while in it and the mean of its
// exponential stay.
type State struct {
	Rate Rate
	Mean scheduler.Time
}

// Arrivals says when jobs arrive. Only the fields of its Kind are used; others
// that are set are errors.
type Arrivals struct {
	Kind ArrivalKind
	Rate Rate

	CV    float64 // of gamma gaps; 1 is Poisson
	Shape float64 // of Weibull gaps; 1 is Poisson

	States []State // visited in turn; starts stationary

	// The rate is Rate·(1 + Amplitude·cos 2π(t−Peak)/Period), or, with Factors,
	// Rate·Factors[i] in the i-th of equal parts of the Period.
	Amplitude float64 // 0..1
	Peak      scheduler.Time
	Factors   []float64
	Period    scheduler.Time // 0: a day

	Every  scheduler.Time // mean of the exponential gaps between bursts
	Size   random.Dist    // arrivals of a burst
	Within scheduler.Time // over which they spread evenly

	Window scheduler.Time // a Poisson number of mean Counts[i] falls evenly into the i-th window;
	Counts []float64      // nothing after the last

	// Each of the clients submits a job at 0, waits for its end, thinks, and
	// submits the next.
	Clients int
	Think   random.Dist // nil: not at all
}

// ConfigError says which setting of a Config is wrong.
type ConfigError struct {
	Field string // path as in the experiment file, below workload, like "pipelines[0].stages[1].after[0]"
	What  string
}

func (e *ConfigError) Error() string { return e.Field + ": " + e.What }

func wrong(field, format string, args ...any) error {
	return &ConfigError{Field: field, What: fmt.Sprintf(format, args...)}
}

const (
	maxClients = 1 << 20
	maxParts   = 1 << 20
)

func (a *Arrivals) validate() error {
	field := "arrivals." + string(a.Kind)
	switch a.Kind {
	case Poisson, Constant, Gamma, Weibull, Diurnal:
		if !a.Rate.valid() || a.Rate.Count == 0 {
			return wrong(field+".rate", "must be positive, with gaps between 10⁻⁹ ns and 30 years")
		}
	}
	switch a.Kind {
	case Poisson, Constant:
		return nil
	case Gamma:
		if !(a.CV >= 0 && a.CV <= 1000) {
			return wrong(field+".cv", "%v; must be between 0 and 1000", a.CV)
		}
	case Weibull:
		if !(a.Shape >= 0.05 && a.Shape <= 1000) {
			return wrong(field+".shape", "%v; must be between 0.05 and 1000", a.Shape)
		}
	case MMPP:
		return a.validateStates(field)
	case Diurnal:
		return a.validateDiurnal(field)
	case Burst:
		return a.validateBurst(field)
	case Piecewise:
		return a.validatePiecewise(field)
	case Closed:
		if a.Clients < 1 || a.Clients > maxClients {
			return wrong(field+".clients", "%d; must be between 1 and %d", a.Clients, maxClients)
		}
	default:
		return wrong("arrivals", "unknown process %q", a.Kind)
	}
	return nil
}

func (a *Arrivals) validateStates(field string) error {
	if len(a.States) == 0 || len(a.States) > maxParts {
		return wrong(field+".states", "%d states; needs between 1 and %d", len(a.States), maxParts)
	}
	some := false
	for i, s := range a.States {
		at := fmt.Sprintf("%s.states[%d]", field, i)
		switch {
		case !s.Rate.valid():
			return wrong(at+".rate", "must not be negative")
		case s.Mean <= 0:
			return wrong(at+".mean", "%v; must be positive", s.Mean)
		}
		some = some || s.Rate.Count > 0
	}
	if !some {
		return wrong(field+".states", "all rates are 0")
	}
	return nil
}

func (a *Arrivals) validateDiurnal(field string) error {
	switch {
	case a.Period < 0 || a.Period > 0 && a.Period < scheduler.Microsecond:
		return wrong(field+".period", "%v; must be at least 1us", a.Period)
	case a.Peak < 0:
		return wrong(field+".peak", "must not be negative")
	case !(a.Amplitude >= 0 && a.Amplitude <= 1):
		return wrong(field+".amplitude", "%v; must be between 0 and 1", a.Amplitude)
	case len(a.Factors) > 0 && (a.Amplitude != 0 || a.Peak != 0):
		return wrong(field+".factors", "factors stand instead of amplitude and peak")
	}
	return validateCounts(field+".factors", a.Factors, len(a.Factors) > 0)
}

func (a *Arrivals) validateBurst(field string) error {
	switch {
	case !a.Rate.valid():
		return wrong(field+".rate", "must not be negative")
	case a.Every <= 0:
		return wrong(field+".every", "%v; must be positive", a.Every)
	case a.Size == nil || !(a.Size.Mean() > 0):
		return wrong(field+".size", "must be positive")
	case a.Within < 0:
		return wrong(field+".within", "must not be negative")
	}
	return nil
}

func (a *Arrivals) validatePiecewise(field string) error {
	if a.Window <= 0 {
		return wrong(field+".window", "%v; must be positive", a.Window)
	}
	if _, fits := scheduler.AddTime(0, a.Window); !fits || float64(a.Window)*float64(len(a.Counts)) > 9e18 {
		return wrong(field+".window", "%d windows of %v pass the end of time", len(a.Counts), a.Window)
	}
	return validateCounts(field+".counts", a.Counts, true)
}

func validateCounts(field string, counts []float64, needed bool) error {
	sum := 0.0
	for i, c := range counts {
		if !(c >= 0 && c <= 1e12) {
			return wrong(fmt.Sprintf("%s[%d]", field, i), "%v; must be between 0 and 10¹²", c)
		}
		sum += c
	}
	if needed && !(sum > 0) {
		return wrong(field, "at least one must be positive")
	}
	return nil
}

func (a *Arrivals) period() scheduler.Time {
	if a.Period == 0 {
		return scheduler.Day
	}
	return a.Period
}

// perSecond returns the long-run mean of the jobs per second, false for a
// closed loop, whose rate is a result.
func (a *Arrivals) perSecond() (float64, bool) {
	switch a.Kind {
	case MMPP:
		jobs, time := 0.0, 0.0
		for _, s := range a.States {
			jobs += s.Rate.PerSecond() * s.Mean.Seconds()
			time += s.Mean.Seconds()
		}
		return jobs / time, true
	case Diurnal:
		if len(a.Factors) > 0 {
			return a.Rate.PerSecond() * sum(a.Factors) / float64(len(a.Factors)), true
		}
	case Burst:
		rate := a.Size.Mean() / a.Every.Seconds()
		if a.Rate.Count > 0 {
			rate += a.Rate.PerSecond()
		}
		return rate, true
	case Piecewise:
		return sum(a.Counts) / (float64(len(a.Counts)) * a.Window.Seconds()), true
	case Closed:
		return 0, false
	}
	return a.Rate.PerSecond(), true
}

func sum(values []float64) float64 {
	s := 0.0
	for _, v := range values {
		s += v
	}
	return s
}
