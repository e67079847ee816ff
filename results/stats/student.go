package stats

import (
	"math"

	"gonum.org/v1/gonum/mathext"
)

// TCDF returns P(T ≤ t) for Student's t distribution with df > 0 degrees of
// freedom, from the regularized incomplete beta function (Abramowitz and
// Stegun 26.7.1). It is NaN for df ≤ 0 or NaN arguments.
func TCDF(t, df float64) float64 {
	if !(df > 0) || math.IsNaN(t) {
		return math.NaN()
	}
	tail := upperTail(math.Abs(t), df)
	if t > 0 {
		return 1 - tail
	}
	return tail
}

// upperTail returns P(T ≥ t) for t ≥ 0, accurate far into the tail.
func upperTail(t, df float64) float64 {
	if math.IsInf(t, 1) {
		return 0
	}
	if t*t < df { // the complement keeps the digits here
		return 0.5 - mathext.RegIncBeta(0.5, df/2, t*t/(df+t*t))/2
	}
	return mathext.RegIncBeta(df/2, 0.5, df/(df+t*t)) / 2
}

// TTwoSided returns P(|T| ≥ |t|), the p value of a two-sided t test.
func TTwoSided(t, df float64) float64 {
	if !(df > 0) || math.IsNaN(t) {
		return math.NaN()
	}
	return min(1, 2*upperTail(math.Abs(t), df))
}

// TQuantile returns the t with TCDF(t, df) = p, good to ten digits
// for df up to 10⁵. It is ±Inf at p = 1 and 0, and NaN outside [0, 1] or for df ≤ 0.
func TQuantile(p, df float64) float64 {
	switch {
	case !(df > 0) || !(p >= 0 && p <= 1):
		return math.NaN()
	case p == 0.5:
		return 0
	case p < 0.5:
		return -tailQuantile(p, df)
	}
	return tailQuantile(1-p, df)
}

// tailQuantile returns the t ≥ 0 whose upper tail is tail < 0.5: by Newton's
// method, which from below approaches the root of a convex function without
// passing it, or where that takes long by bisection, which always ends.
func tailQuantile(tail, df float64) float64 {
	if tail == 0 {
		return math.Inf(1)
	}
	low, high := 0.0, 1.0
	for upperTail(high, df) > tail {
		low, high = high, 2*high
		if math.IsInf(high, 1) {
			return high
		}
	}
	scale := density(df)
	for range 40 {
		step := (upperTail(low, df) - tail) / (scale * math.Pow(1+low*low/df, -(df+1)/2))
		if !(low+step < high) {
			break // a density that vanishes, or rounding
		}
		if step <= 1e-15*low {
			return low + max(0, step)
		}
		low += step
	}
	for {
		middle := low + (high-low)/2
		if middle <= low || middle >= high {
			return high
		}
		if upperTail(middle, df) > tail {
			low = middle
		} else {
			high = middle
		}
	}
}

// density returns the density of Student's t at 0.
func density(df float64) float64 {
	up, _ := math.Lgamma((df + 1) / 2)
	down, _ := math.Lgamma(df / 2)
	return math.Exp(up-down) / math.Sqrt(df*math.Pi)
}
