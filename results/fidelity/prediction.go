package fidelity

import (
	"math"
	"slices"

	"github.com/vramsim/vramsim/results/metrics"
	"github.com/vramsim/vramsim/results/stats"
	"github.com/vramsim/vramsim/results/summary"
)

// figure is one of those that are compared.
type figure struct {
	name, unit string
	count      bool // a whole number that should be exact
}

// figures returns what is compared, in the order of tables.
func figures() []figure {
	return []figure{
		{metrics.Makespan, "s", false}, {LatencyMean, "s", false}, {LatencyP50, "s", false}, {LatencyP95, "s", false}, {LatencyP99, "s", false},
		{metrics.Switches, "1", true}, {metrics.Loads, "1", true}, {BytesLoaded, "B", false}, {metrics.BusyRatio, "1", false}, {metrics.Energy, "J", false},
	}
}

// matched are the runs of one workload on both sides.
type matched struct{ simulated, measured []*Run }

// match groups the runs that count by workload, in the order of the measured
// ones; what only one side has is left.
func match(simulated, measured []*Run) []matched {
	var groups []matched
	at := map[string]int{}
	for _, r := range measured {
		if len(r.Excluded) > 0 {
			continue
		}
		i, known := at[r.Workload]
		if !known {
			same := slices.DeleteFunc(slices.Clone(simulated), func(s *Run) bool { return s.Workload != r.Workload || len(s.Excluded) > 0 })
			if len(same) == 0 {
				continue
			}
			i = len(groups)
			at[r.Workload] = i
			groups = append(groups, matched{simulated: same})
		}
		groups[i].measured = append(groups[i].measured, r)
	}
	return groups
}

// values returns a figure of the runs that have it.
func values(runs []*Run, name string) []float64 {
	var list []float64
	for _, r := range runs {
		if v, ok := r.Figures[name]; ok {
			list = append(list, v)
		}
	}
	return list
}

// relative returns predicted / measured − 1: 0 where both are 0, none where
// only measured is.
func relative(predicted, measured float64) Number {
	if predicted == measured {
		return 0
	}
	if measured == 0 {
		return summary.None()
	}
	return Number(predicted/measured - 1)
}

// mean returns the mean of the numbers there are.
func mean(list []float64) Number { return Number(stats.Mean(list)) }

// errorOf compares one figure over all groups; ok is false where a side lacks it.
func errorOf(f figure, groups []matched) (e Error, ok bool) {
	e = Error{Figure: f.name, Unit: f.unit, Covered: summary.None(), Exact: summary.None(), Noise: summary.None()}
	var predicted, measured, noise, covered, exact []float64
	for _, g := range groups {
		sim, real := values(g.simulated, f.name), values(g.measured, f.name)
		if len(sim) == 0 || len(real) == 0 {
			continue
		}
		predicted, measured = append(predicted, stats.Mean(sim)), append(measured, stats.Mean(real))
		noise = append(noise, leaveOneOut(real)...)
		interval, known := predictionInterval(sim)
		middle := median(sim)
		for _, v := range real {
			if known {
				covered = append(covered, share(interval.Contains(v)))
			}
			if f.count {
				exact = append(exact, share(v == middle))
			}
		}
	}
	if len(predicted) == 0 {
		return e, false
	}
	e.Predicted, e.Measured = mean(predicted), mean(measured)
	e.Error = relative(float64(e.Predicted), float64(e.Measured))
	e.Noise, e.Covered, e.Exact = mean(noise), mean(covered), mean(exact)
	return e, true
}

func share(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// median is the middle value, the lower of two.
func median(list []float64) float64 {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[(len(sorted)-1)/2]
}

// leaveOneOut returns the absolute relative errors of predicting each value by
// the mean of the others; nothing for a single one.
func leaveOneOut(list []float64) (errs []float64) {
	if len(list) < 2 {
		return nil
	}
	for i, v := range list {
		others := slices.Delete(slices.Clone(list), i, i+1)
		if e := relative(stats.Mean(others), v); e.Known() {
			errs = append(errs, math.Abs(float64(e)))
		}
	}
	return errs
}

func errorsOf(list []figure, groups []matched) []Error {
	errs := []Error{}
	for _, f := range list {
		if e, ok := errorOf(f, groups); ok {
			errs = append(errs, e)
		}
	}
	return errs
}

// latencies returns the latency in seconds of each item in each run that
// finished it.
func latencies(runs []*Run) [][]float64 {
	var all [][]float64
	for _, r := range runs {
		for len(all) < len(r.Items) {
			all = append(all, nil)
		}
		for id, it := range r.Items {
			if took, done := it.Latency(); done {
				all[id] = append(all[id], took.Seconds())
			}
		}
	}
	return all
}

// itemErrors compares latencies item by item.
func itemErrors(groups []matched) Items {
	it := Items{}
	var errs, noise, covered []float64
	for _, g := range groups {
		sim, real := latencies(g.simulated), latencies(g.measured)
		for id := range min(len(sim), len(real)) {
			if len(sim[id]) == 0 || len(real[id]) == 0 {
				continue
			}
			it.N++
			predicted := stats.Mean(sim[id])
			interval, known := predictionInterval(sim[id])
			for _, v := range real[id] {
				if e := relative(predicted, v); e.Known() {
					errs = append(errs, math.Abs(float64(e)))
				}
				if known {
					covered = append(covered, share(interval.Contains(v)))
				}
			}
			noise = append(noise, leaveOneOut(real[id])...)
		}
	}
	it.MAPE, it.Noise = mean(errs), mean(noise)
	it.Coverage = ItemCoverage{mean(covered), len(covered)}
	return it
}
