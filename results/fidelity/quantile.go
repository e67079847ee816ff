package fidelity

import (
	"math"
	"slices"

	"github.com/vramsim/vramsim/results/stats"
)

// intervalShare is what an interval of prediction covers, intervalRuns how
// many runs it takes: with fewer its ends would lie beyond the extremes.
const (
	intervalShare = 0.9
	intervalRuns  = 19
)

// predictionInterval returns where one more run falls with probability
// intervalShare, from the quantiles at positions p·(n+1) of the given runs.
func predictionInterval(xs []float64) (stats.Interval, bool) {
	if len(xs) < intervalRuns {
		return stats.Interval{}, false
	}
	sorted := slices.Sorted(slices.Values(xs))
	at := func(p float64) float64 {
		place := p*float64(len(sorted)+1) - 1
		low := min(max(int(math.Floor(place)), 0), len(sorted)-1)
		high := min(low+1, len(sorted)-1)
		return sorted[low] + (place-float64(low))*(sorted[high]-sorted[low])
	}
	return stats.Interval{Low: at((1 - intervalShare) / 2), High: at((1 + intervalShare) / 2)}, true
}
