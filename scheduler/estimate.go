package scheduler

import (
	"fmt"
	"math/big"
	"slices"
)

// EstimatorConfig describes a load-time estimator.
type EstimatorConfig struct {
	// Kind is declared, last, ewma, quantile, affine, oracle, biased or noisy.
	Kind string
	// Alpha is the weight of the newest load in ewma, in millionths (0, 1e6].
	Alpha int64
	// Quantile is the order statistic that quantile answers with, in
	// millionths (0, 1e6], of the last Window loads.
	Quantile int64
	Window   int
	// Factor scales the declared time in biased, in millionths.
	Factor int64
	// Noise returns the factor of noisy for a model's load ordinal, in
	// millionths: a pure function.
	Noise func(m ModelID, ordinal int64) int64
	// Truth returns what oracle answers: the true duration, a pure function.
	Truth func(m ModelID, t Tier, ordinal int64) Time
}

// The defaults of EstimatorConfig.
const (
	DefaultAlpha    = 300_000
	DefaultQuantile = 900_000
	DefaultWindow   = 32
)

// EstimatorKinds lists the names that EstimatorConfig.Kind may have.
func EstimatorKinds() []string {
	return []string{"declared", "last", "ewma", "quantile", "affine", "oracle", "biased", "noisy"}
}

// NewEstimator returns a fresh estimator for a catalogue. All but declared,
// oracle, biased and noisy answer with the declared time until they have seen
// a load they can learn from.
func NewEstimator(cfg EstimatorConfig, models []Model) (Estimator, error) {
	declared := declared{models}
	switch cfg.Kind {
	case "declared", "":
		return declared, nil
	case "last":
		return newSmoothed(declared, 1e6), nil
	case "ewma":
		if cfg.Alpha == 0 {
			cfg.Alpha = DefaultAlpha
		}
		if cfg.Alpha < 0 || cfg.Alpha > 1e6 {
			return nil, &ConfigError{Field: "Estimator.Alpha", What: "must lie in (0, 1]"}
		}
		return newSmoothed(declared, cfg.Alpha), nil
	case "quantile":
		return newQuantile(declared, cfg)
	case "affine":
		return &affine{declared: declared}, nil
	case "oracle":
		if cfg.Truth == nil {
			return nil, &ConfigError{Field: "Estimator.Truth", What: "oracle needs the true durations"}
		}
		return oracle{cfg.Truth}, nil
	case "biased":
		if cfg.Factor <= 0 {
			return nil, &ConfigError{Field: "Estimator.Factor", What: "must be positive"}
		}
		return scaled{declared, func(ModelID, int64) int64 { return cfg.Factor }}, nil
	case "noisy":
		if cfg.Noise == nil {
			return nil, &ConfigError{Field: "Estimator.Noise", What: "noisy needs a source of factors"}
		}
		return scaled{declared, cfg.Noise}, nil
	}
	return nil, &ConfigError{Field: "Estimator.Kind", What: fmt.Sprintf("%q is none of %v", cfg.Kind, EstimatorKinds())}
}

type declared struct{ models []Model }

func (e declared) Load(m ModelID, t Tier, _ int64) Time       { return e.models[m].Load[t] }
func (e declared) Observe(_ ModelID, _ Tier, _ int64, _ Time) {}

// smoothed is last (alpha 1) and ewma.
type smoothed struct {
	declared
	alpha int64
	value [][Tiers]Time
	seen  [][Tiers]bool
}

func newSmoothed(d declared, alpha int64) *smoothed {
	return &smoothed{declared: d, alpha: alpha, value: make([][Tiers]Time, len(d.models)), seen: make([][Tiers]bool, len(d.models))}
}

func (e *smoothed) Load(m ModelID, t Tier, ordinal int64) Time {
	if !e.seen[m][t] {
		return e.declared.Load(m, t, ordinal)
	}
	return e.value[m][t]
}

func (e *smoothed) Observe(m ModelID, t Tier, _ int64, took Time) {
	if !e.seen[m][t] {
		e.value[m][t], e.seen[m][t] = took, true
		return
	}
	// value += alpha·(took − value), which constant times leave as they are.
	v := &e.value[m][t]
	if took >= *v {
		*v += scaleTime(took-*v, e.alpha, 1e6)
	} else {
		*v -= scaleTime(*v-took, e.alpha, 1e6)
	}
}

// recent answers with an order statistic of the last loads.
type recent struct {
	declared
	quantile int64
	window   int
	samples  [][Tiers]samples // by model
}

// samples are the last loads of one model from one tier.
type samples struct {
	sorted []Time
	ring   []Time // in order of time from oldest on, once it is full
	oldest int
}

func newQuantile(d declared, cfg EstimatorConfig) (Estimator, error) {
	if cfg.Quantile == 0 {
		cfg.Quantile = DefaultQuantile
	}
	if cfg.Window == 0 {
		cfg.Window = DefaultWindow
	}
	if cfg.Quantile < 0 || cfg.Quantile > 1e6 || cfg.Window < 1 {
		return nil, &ConfigError{Field: "Estimator.Quantile", What: "must lie in (0, 1], with a window of at least 1"}
	}
	return &recent{declared: d, quantile: cfg.Quantile, window: cfg.Window, samples: make([][Tiers]samples, len(d.models))}, nil
}

func (e *recent) Load(m ModelID, t Tier, ordinal int64) Time {
	sorted := e.samples[m][t].sorted
	if len(sorted) == 0 {
		return e.declared.Load(m, t, ordinal)
	}
	rank := (int64(len(sorted))*e.quantile + 1e6 - 1) / 1e6
	return sorted[max(rank, 1)-1]
}

func (e *recent) Observe(m ModelID, t Tier, _ int64, took Time) {
	s := &e.samples[m][t]
	if len(s.ring) < e.window {
		s.ring = append(s.ring, took)
	} else {
		i, _ := slices.BinarySearch(s.sorted, s.ring[s.oldest])
		s.sorted = slices.Delete(s.sorted, i, i+1)
		s.ring[s.oldest] = took
		s.oldest = (s.oldest + 1) % e.window
	}
	i, _ := slices.BinarySearch(s.sorted, took)
	s.sorted = slices.Insert(s.sorted, i, took)
}

// affine fits time = base + per byte · bytes to all loads from a tier by least
// squares, in exact integers.
type affine struct {
	declared
	tiers [Tiers]struct {
		n            int64
		x, y, xx, xy big.Int // sums over the loads; x: bytes, y: time
		fitted       []Time  // by model; nil until two sizes were seen
	}
}

func (e *affine) Load(m ModelID, t Tier, ordinal int64) Time {
	if e.tiers[t].fitted == nil {
		return e.declared.Load(m, t, ordinal)
	}
	return e.tiers[t].fitted[m]
}

func (e *affine) Observe(m ModelID, t Tier, _ int64, took Time) {
	s := &e.tiers[t]
	x, y := big.NewInt(int64(e.models[m].Bytes)), big.NewInt(int64(took))
	s.n++
	s.x.Add(&s.x, x)
	s.y.Add(&s.y, y)
	s.xx.Add(&s.xx, new(big.Int).Mul(x, x))
	s.xy.Add(&s.xy, new(big.Int).Mul(x, y))
	// slope = rise/run = (n·Σxy − Σx·Σy) / (n·Σxx − (Σx)²)
	n := big.NewInt(s.n)
	rise := new(big.Int).Sub(new(big.Int).Mul(n, &s.xy), new(big.Int).Mul(&s.x, &s.y))
	run := new(big.Int).Sub(new(big.Int).Mul(n, &s.xx), new(big.Int).Mul(&s.x, &s.x))
	if run.Sign() == 0 {
		return
	}
	if s.fitted == nil {
		s.fitted = make([]Time, len(e.models))
	}
	// The line passes through the means: y = (Σy·run + rise·(n·x − Σx)) / (n·run).
	through, over := new(big.Int).Mul(&s.y, run), new(big.Int).Mul(n, run)
	for i := range e.models {
		at := new(big.Int).Mul(n, big.NewInt(int64(e.models[i].Bytes)))
		at.Mul(at.Sub(at, &s.x), rise)
		s.fitted[i] = clampTime(at.Quo(at.Add(at, through), over))
	}
}

func clampTime(t *big.Int) Time {
	switch {
	case t.Sign() < 0:
		return 0
	case !t.IsInt64():
		return MaxTime
	}
	return Time(t.Int64())
}

type oracle struct {
	truth func(ModelID, Tier, int64) Time
}

func (e oracle) Load(m ModelID, t Tier, ordinal int64) Time { return e.truth(m, t, ordinal) }
func (e oracle) Observe(_ ModelID, _ Tier, _ int64, _ Time) {}

// scaled is biased and noisy.
type scaled struct {
	declared
	factor func(ModelID, int64) int64
}

func (e scaled) Load(m ModelID, t Tier, ordinal int64) Time {
	return scaleTime(e.declared.Load(m, t, ordinal), e.factor(m, ordinal), 1e6)
}
