package random

import (
	"fmt"
	"math"
	"slices"
)

// Dist is a distribution, given by the function that turns a uniform number
// into a variate. Durations are in nanoseconds, counts plain numbers; use Round
// to make integers of them. Values are never negative. A Dist is immutable and
// may be shared.
type Dist interface {
	// Quantile returns the variate for u in (0, 1). It does not decrease in u,
	// except for mixtures (see Mixture).
	Quantile(u float64) float64
	// Mean returns the expected value, +Inf if there is none.
	Mean() float64
}

// Draw sets out to what d draws with the keys p.Key(from), p.Key(from+1) and so
// on. It is faster than a call of Quantile for each.
func Draw(out []float64, d Dist, p Prefix, from uint64) {
	if e, ok := d.(exponential); ok {
		for i := range out {
			out[i] = e.Quantile(Uniform(p.Key(from + uint64(i))))
		}
		return
	}
	Uniforms(out, p, from)
	for i, u := range out {
		out[i] = d.Quantile(u)
	}
}

// ParameterError says which parameter of a distribution is out of range.
type ParameterError struct {
	Dist, Parameter string
	Value           float64
	Want            string
}

func (e *ParameterError) Error() string {
	return fmt.Sprintf("%s: %s is %v; it must be %s", e.Dist, e.Parameter, e.Value, e.Want)
}

// Must returns d and panics if err is not nil, for distributions whose
// parameters are constants.
func Must(d Dist, err error) Dist {
	if err != nil {
		panic("bug: " + err.Error())
	}
	return d
}

const largest = 1e300 // parameters above are refused: they leave no room to compute

func positive(dist, parameter string, v float64) error {
	if v > 0 && v <= largest {
		return nil
	}
	return &ParameterError{dist, parameter, v, "positive and finite"}
}

func nonNegative(dist, parameter string, v float64) error {
	if v >= 0 && v <= largest {
		return nil
	}
	return &ParameterError{dist, parameter, v, "finite and not negative"}
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

type constant float64

// Constant returns the distribution that is always v. Negative values and NaN
// count as 0.
func Constant(v float64) Dist {
	if !(v > 0) {
		v = 0
	}
	return constant(v)
}

func (c constant) Quantile(float64) float64 { return float64(c) }
func (c constant) Mean() float64            { return float64(c) }

type exponential float64

// Exponential returns the exponential distribution of the given mean.
func Exponential(mean float64) (Dist, error) {
	if err := positive("exp", "mean", mean); err != nil {
		return nil, err
	}
	return exponential(mean), nil
}

func (e exponential) Quantile(u float64) float64 { return float64(e) * -Log(1-u) }
func (e exponential) Mean() float64              { return float64(e) }

type between struct{ a, b float64 }

// Between returns the continuous uniform distribution on [a, b], 0 <= a <= b.
func Between(a, b float64) (Dist, error) {
	err := firstError(nonNegative("uniform", "lower bound", a), nonNegative("uniform", "upper bound", b))
	if err == nil && a > b {
		err = &ParameterError{"uniform", "upper bound", b, fmt.Sprintf("at least the lower bound %v", a)}
	}
	if err != nil {
		return nil, err
	}
	return between{a, b}, nil
}

func (d between) Quantile(u float64) float64 { return d.a + float64(u*(d.b-d.a)) }
func (d between) Mean() float64              { return d.a + (d.b-d.a)/2 }

type integers struct{ a, n float64 }

// Integers returns the uniform distribution on the integers a..b, both included.
func Integers(a, b int64) (Dist, error) {
	switch {
	case a < 0:
		return nil, &ParameterError{"uniform", "lower bound", float64(a), "not negative"}
	case b < a:
		return nil, &ParameterError{"uniform", "upper bound", float64(b), fmt.Sprintf("at least the lower bound %d", a)}
	case b > 1<<52:
		return nil, &ParameterError{"uniform", "upper bound", float64(b), "at most 2^52"}
	}
	return integers{float64(a), float64(b - a + 1)}, nil
}

func (d integers) Quantile(u float64) float64 {
	return d.a + min(math.Floor(float64(u*d.n)), d.n-1)
}
func (d integers) Mean() float64 { return d.a + (d.n-1)/2 }

type normal struct{ mean, sd, below, above float64 }

// Normal returns the normal distribution of the given mean and standard
// deviation, truncated at 0: conditioned on being at least 0. Its mean is above
// the given one, noticeably so when the mean is below two deviations.
func Normal(mean, sd float64) (Dist, error) {
	if err := firstError(nonNegative("normal", "mean", mean), nonNegative("normal", "sd", sd)); err != nil {
		return nil, err
	}
	if sd == 0 {
		return Constant(mean), nil
	}
	above := NormalTail(-mean / sd)
	return normal{mean, sd, 1 - above, above}, nil
}

func (d normal) Quantile(u float64) float64 {
	// Near 1 the complement keeps what 1-v would lose.
	z := 0.0
	if upper := float64((1 - u) * d.above); upper < 0.5 {
		z = -normalQuantile(upper)
	} else {
		z = normalQuantile(d.below + float64(u*d.above))
	}
	return max(0, d.mean+float64(d.sd*z))
}

func (d normal) Mean() float64 {
	const invSqrt2Pi = 0.39894228040143267794
	alpha := d.mean / d.sd
	return d.mean + float64(d.sd*invSqrt2Pi*Exp(-float64(alpha*alpha)/2))/d.above
}

type lognormal struct{ median, sigma float64 }

// Lognormal returns the lognormal distribution with the given median and 95th
// percentile, 0 < p50 <= p95.
func Lognormal(p50, p95 float64) (Dist, error) {
	const z95 = 1.6448536269514722
	if err := firstError(positive("lognormal", "p50", p50), positive("lognormal", "p95", p95)); err != nil {
		return nil, err
	}
	if p95 < p50 {
		return nil, &ParameterError{"lognormal", "p95", p95, fmt.Sprintf("at least p50, which is %v", p50)}
	}
	return lognormal{p50, Log(p95/p50) / z95}, nil
}

// LognormalMeanCV returns the lognormal distribution with the given mean and
// coefficient of variation.
func LognormalMeanCV(mean, cv float64) (Dist, error) {
	if err := firstError(positive("lognormal", "mean", mean), nonNegative("lognormal", "cv", cv)); err != nil {
		return nil, err
	}
	squared := 1 + float64(cv*cv)
	return lognormal{mean / math.Sqrt(squared), math.Sqrt(Log(squared))}, nil
}

func (d lognormal) Quantile(u float64) float64 {
	return d.median * Exp(float64(d.sigma*normalQuantile(u)))
}
func (d lognormal) Mean() float64 { return d.median * Exp(float64(d.sigma*d.sigma)/2) }

type weibull struct{ scale, power, mean float64 }

// Weibull returns the Weibull distribution, of which shape 1 is the
// exponential one with mean scale.
func Weibull(scale, shape float64) (Dist, error) {
	if err := firstError(positive("weibull", "scale", scale), positive("weibull", "shape", shape)); err != nil {
		return nil, err
	}
	return weibull{scale, 1 / shape, scale * Exp(logGamma(1+1/shape))}, nil
}

func (d weibull) Quantile(u float64) float64 { return d.scale * pow(-Log(1-u), d.power) }
func (d weibull) Mean() float64              { return d.mean }

// WeibullMean returns the Weibull distribution of a shape with the given mean.
func WeibullMean(mean, shape float64) (Dist, error) {
	if err := firstError(positive("weibull", "mean", mean), positive("weibull", "shape", shape)); err != nil {
		return nil, err
	}
	return Weibull(mean/Exp(logGamma(1+1/shape)), shape)
}

type pareto struct{ min, power, mean float64 }

// Pareto returns the Pareto distribution of type I: min·(1-u)^(-1/alpha). Its
// mean is infinite for alpha <= 1.
func Pareto(min, alpha float64) (Dist, error) {
	if err := firstError(positive("pareto", "min", min), positive("pareto", "alpha", alpha)); err != nil {
		return nil, err
	}
	mean := math.Inf(1)
	if alpha > 1 {
		mean = min * alpha / (alpha - 1)
	}
	return pareto{min, -1 / alpha, mean}, nil
}

func (d pareto) Quantile(u float64) float64 { return d.min * pow(1-u, d.power) }
func (d pareto) Mean() float64              { return d.mean }

// Part is one component of a mixture. Weights need not sum to one.
type Part struct {
	Weight float64
	Dist   Dist
}

type mixture struct {
	parts []Part    // of positive weight
	upto  []float64 // cumulated shares, the last exactly 1
}

// Mixture returns the distribution that follows each part with a probability
// proportional to its weight. One uniform both chooses the part and, scaled to
// the part's share, draws from it; so Quantile increases within each part but
// not across them.
func Mixture(parts ...Part) (Dist, error) {
	total, m := 0.0, mixture{}
	for _, p := range parts {
		if err := nonNegative("mixture", "weight", p.Weight); err != nil {
			return nil, err
		}
		if p.Weight > 0 {
			total += p.Weight
			m.parts = append(m.parts, p)
		}
	}
	if err := positive("mixture", "sum of the weights", total); err != nil {
		return nil, err
	}
	sum := 0.0
	for _, p := range m.parts {
		sum += p.Weight
		m.upto = append(m.upto, sum/total)
	}
	m.upto[len(m.upto)-1] = 1
	return m, nil
}

func (m mixture) Quantile(u float64) float64 {
	i, from := 0, 0.0
	for ; i < len(m.upto)-1 && u >= m.upto[i]; i++ {
		from = m.upto[i]
	}
	const edge = 1.0 / (1 << 53)
	within := (u - from) / (m.upto[i] - from)
	return m.parts[i].Dist.Quantile(max(edge, min(within, 1-edge)))
}

func (m mixture) Mean() float64 {
	mean, from := 0.0, 0.0
	for i, p := range m.parts {
		mean += float64((m.upto[i] - from) * p.Dist.Mean())
		from = m.upto[i]
	}
	return mean
}

// Least returns the least value that can be drawn from d.
func Least(d Dist) float64 {
	m, ok := d.(mixture)
	if !ok {
		return d.Quantile(1.0 / (1 << 53)) // the smallest uniform there is
	}
	least := math.Inf(1)
	for _, p := range m.parts {
		least = min(least, Least(p.Dist))
	}
	return least
}

type empirical struct {
	values []float64 // sorted
	mean   float64
}

// Empirical returns the distribution that takes each of the values with equal
// probability. The values are copied.
func Empirical(values []float64) (Dist, error) {
	if len(values) == 0 {
		return nil, &ParameterError{"empirical", "number of values", 0, "at least 1"}
	}
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	sum := 0.0
	for _, v := range sorted {
		if err := nonNegative("empirical", "value", v); err != nil {
			return nil, err
		}
		sum += v
	}
	return empirical{sorted, sum / float64(len(sorted))}, nil
}

func (d empirical) Quantile(u float64) float64 {
	return d.values[min(int(u*float64(len(d.values))), len(d.values)-1)]
}
func (d empirical) Mean() float64 { return d.mean }

// Fixed returns the value that d always takes, false if it varies.
func Fixed(d Dist) (float64, bool) {
	switch d := d.(type) {
	case constant:
		return float64(d), true
	case between:
		return d.a, d.a == d.b
	case integers:
		return d.a, d.n == 1
	case lognormal:
		return d.median, d.sigma == 0
	case empirical:
		return d.values[0], d.values[0] == d.values[len(d.values)-1]
	}
	return 0, false
}
