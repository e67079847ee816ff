package stats

import "math"

// mserBatch is the 5 of MSER-5.
const mserBatch = 5

// Truncation is the verdict of MSER5 on where a series becomes steady.
type Truncation struct {
	Batches   int     // whole batches of five observations
	Delete    int     // leading batches to leave out
	Statistic float64 // the minimised squared standard error
	Mean      float64 // mean of what is kept
	// AtBoundary is true if the minimum lies at half of the series: it has
	// not become steady, or there is not enough of it.
	AtBoundary bool
}

// Observations returns how many leading observations to leave out.
func (t Truncation) Observations() int { return mserBatch * t.Delete }

// MSER5 finds the warm-up of a series (White 1997): over means of five
// successive observations, a remainder dropped, it deletes the d ≤ k/2 leading
// ones that minimise Σ(Y−mean)²/(k−d)², the first such d. ok is false for
// fewer than two batches.
func MSER5(xs []float64) (result Truncation, ok bool) {
	means := blockMeans(xs, mserBatch)
	k := len(means)
	if k < 2 {
		return Truncation{}, false
	}
	result = Truncation{Batches: k, Statistic: math.Inf(1)}
	var mean, squares float64 // of means[d:], grown from the end
	for d := k - 1; d >= 0; d-- {
		n := float64(k - d)
		delta := means[d] - mean
		mean += delta / n
		squares += delta * (means[d] - mean)
		if d > k/2 {
			continue
		}
		if statistic := squares / (n * n); statistic <= result.Statistic {
			result.Statistic, result.Delete, result.Mean = statistic, d, mean
		}
	}
	result.AtBoundary = result.Delete == k/2
	return result, true
}

func blockMeans(xs []float64, size int) []float64 {
	means := make([]float64, 0, len(xs)/size)
	for len(xs) >= size {
		means = append(means, Mean(xs[:size]))
		xs = xs[size:]
	}
	return means
}

// Batches is what the means of equal stretches of one long series say.
type Batches struct {
	Mean     float64
	Interval Interval
	Lag1     float64 // autocorrelation of successive batch means; far from 0: batches too short
	// VonNeumann is the ratio of squared successive differences to squared
	// deviations: 2 for independent batches.
	VonNeumann float64
}

// BatchMeans divides a series into count non-overlapping stretches of equal
// length, a remainder at the end dropped, and returns the Student interval of
// its mean at confidence conf (Law, Simulation Modeling and Analysis, §9.5).
// ok is false for fewer than two batches or an empty one. The ratios are NaN
// for batches that do not vary.
func BatchMeans(xs []float64, count int, conf float64) (result Batches, ok bool) {
	if count < 2 || len(xs) < count {
		return Batches{}, false
	}
	size := len(xs) / count
	means := blockMeans(xs[:size*count], size)
	mean, squares := moments(means)
	var product, successive float64
	for i := 1; i < count; i++ {
		product += (means[i] - mean) * (means[i-1] - mean)
		successive += (means[i] - means[i-1]) * (means[i] - means[i-1])
	}
	interval, _ := MeanInterval(means, conf)
	return Batches{Mean: mean, Interval: interval, Lag1: product / squares, VonNeumann: successive / squares}, true
}
