package calibrate

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/random"
)

// Tolerance is how far the statistics of a fit may be from those of its
// samples: 3 %.
const Tolerance = 0.03

// Statistics are those by which fits are judged, in nanoseconds. A quantile of
// samples is the value that a draw of one of them has at that uniform number:
// the smallest with more than that share at or below it.
type Statistics struct {
	N                   int
	Mean, P50, P90, P99 float64
}

func (s Statistics) each() [4]float64 { return [4]float64{s.Mean, s.P50, s.P90, s.P99} }

var statisticNames = [4]string{"mean", "p50", "p90", "p99"}

// String prints them in seconds, to four digits.
func (s Statistics) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "n %d", s.N)
	for i, v := range s.each() {
		fmt.Fprintf(&b, ", %s %.4g s", statisticNames[i], v/1e9)
	}
	return b.String()
}

// Describe returns the statistics of samples, of which there is at least one.
func Describe(samples []scheduler.Time) Statistics {
	return describe(random.Must(random.Empirical(numbers(samples))).Quantile, numbers(samples))
}

func describe(quantile func(float64) float64, samples []float64) Statistics {
	sum := 0.0
	for _, v := range samples {
		sum += v
	}
	return Statistics{len(samples), sum / float64(len(samples)), quantile(.5), quantile(.9), quantile(.99)}
}

func numbers(samples []scheduler.Time) []float64 {
	values := make([]float64, len(samples))
	for i, v := range samples {
		values[i] = float64(v)
	}
	return values
}

// Errors are relative: 0.01 is 1 % above the samples.
type Errors struct{ Mean, P50, P90, P99 float64 }

// errorsOf compares the statistics of a fit with those of its samples.
func errorsOf(fit, samples Statistics) Errors {
	var e [4]float64
	of := samples.each()
	for i, v := range fit.each() {
		switch {
		case v == of[i]:
		case of[i] == 0:
			e[i] = math.Inf(1)
		default:
			e[i] = v/of[i] - 1
		}
	}
	return Errors{e[0], e[1], e[2], e[3]}
}

func (e Errors) each() [4]float64 { return [4]float64{e.Mean, e.P50, e.P90, e.P99} }

// Worst returns the largest of them, without its sign.
func (e Errors) Worst() float64 {
	worst := 0.0
	for _, v := range e.each() {
		worst = max(worst, math.Abs(v))
	}
	return worst
}

// String prints them in percent.
func (e Errors) String() string {
	var parts []string
	for i, v := range e.each() {
		hundredths := math.Round(v * 1e4)
		if hundredths == 0 {
			hundredths = 0 // not -0
		}
		parts = append(parts, fmt.Sprintf("%s %+.2f %%", statisticNames[i], hundredths/100))
	}
	return strings.Join(parts, ", ")
}

// median returns the middle of the samples, the mean of two where it lies
// between them. It sorts a copy.
func median(samples []scheduler.Time) scheduler.Time {
	sorted := slices.Sorted(slices.Values(samples))
	n := len(sorted)
	low, high := sorted[(n-1)/2], sorted[n/2]
	return low + (high-low)/2
}
