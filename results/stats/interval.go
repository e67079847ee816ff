package stats

import (
	"math"
	"slices"
)

// Interval is a closed interval.
type Interval struct{ Low, High float64 }

// Contains reports whether x lies in the interval.
func (i Interval) Contains(x float64) bool { return i.Low <= x && x <= i.High }

// Mean returns the arithmetic mean, NaN for no values. It is computed in one
// pass with running corrections, so that equal values give exactly that value.
func Mean(xs []float64) float64 {
	if len(xs) == 0 {
		return math.NaN()
	}
	mean, _ := moments(xs)
	return mean
}

// Variance returns the sample variance (n−1 in the denominator), NaN for
// fewer than two values.
func Variance(xs []float64) float64 {
	if len(xs) < 2 {
		return math.NaN()
	}
	_, squares := moments(xs)
	return squares / float64(len(xs)-1)
}

// moments returns the mean and the sum of squared deviations (Welford).
func moments(xs []float64) (mean, squares float64) {
	for i, x := range xs {
		delta := x - mean
		mean += delta / float64(i+1)
		squares += delta * (x - mean)
	}
	return mean, squares
}

// MeanInterval returns the Student interval of the mean of independent values
// at confidence conf in (0, 1). ok is false for fewer than two values: one
// measurement has no interval.
func MeanInterval(xs []float64, conf float64) (interval Interval, ok bool) {
	n := float64(len(xs))
	if len(xs) < 2 {
		return Interval{}, false
	}
	mean, squares := moments(xs)
	if squares == 0 {
		return Interval{mean, mean}, true
	}
	half := TQuantile(0.5+conf/2, n-1) * math.Sqrt(squares/(n-1)/n)
	return Interval{mean - half, mean + half}, true
}

// QuantileOrders returns which order statistics (from 1) of n independent
// values bound their p-quantile at confidence conf without any assumption on
// the distribution, and the probability that they do. lower is the largest l
// with P(Bin(n,p) ≤ l−1) ≤ α/2, upper the smallest u with P(Bin(n,p) ≥ u) ≤ α/2
// (Conover, Practical Nonparametric Statistics, §3.2). A side that n values
// cannot bound is 0, and so is then the coverage: more samples are needed.
func QuantileOrders(n int, p, conf float64) (lower, upper int, coverage float64) {
	if n < 1 || !(p > 0 && p < 1) || !(conf > 0 && conf < 1) {
		return 0, 0, 0
	}
	half := (1 - conf) / 2
	mass := binomial(n, p)
	below := 0.0
	for l := 1; l <= n; l++ {
		if below += mass[l-1]; below > half {
			break
		}
		lower = l
	}
	above := 0.0
	for u := n; u >= 1; u-- {
		if above += mass[u]; above > half {
			break
		}
		upper = u
	}
	if lower == 0 || upper == 0 {
		return lower, upper, 0
	}
	for k := lower; k < upper; k++ {
		coverage += mass[k]
	}
	return lower, upper, coverage
}

// binomial returns P(Bin(n,p) = k) for k = 0..n.
func binomial(n int, p float64) []float64 {
	mass := make([]float64, n+1)
	whole, _ := math.Lgamma(float64(n + 1))
	for k := range mass {
		a, _ := math.Lgamma(float64(k + 1))
		b, _ := math.Lgamma(float64(n - k + 1))
		mass[k] = math.Exp(whole - a - b + float64(k)*math.Log(p) + float64(n-k)*math.Log1p(-p))
	}
	return mass
}

// QuantileInterval returns the interval [X_(L), X_(U)] of QuantileOrders for
// the p-quantile of xs; a side that cannot be bounded is infinite.
func QuantileInterval(xs []float64, p, conf float64) Interval {
	sorted := slices.Sorted(slices.Values(xs))
	lower, upper, _ := QuantileOrders(len(xs), p, conf)
	interval := Interval{math.Inf(-1), math.Inf(1)}
	if lower > 0 {
		interval.Low = sorted[lower-1]
	}
	if upper > 0 {
		interval.High = sorted[upper-1]
	}
	return interval
}
