// Package tracestats describes a trace by numbers: how bursty its arrivals
// are, how skewed and how sticky its models.
package tracestats

import (
	"math"
	"slices"
	"strconv"

	"github.com/vramsim/vramsim/scheduler"
)

// Feature is one statistic.
type Feature struct {
	Name  string
	Value float64
}

// Features of a trace, in a fixed order. Those that a trace is too short or
// too uniform for are absent.
type Features []Feature

// Value returns a feature by its name.
func (f Features) Value(name string) (float64, bool) {
	for _, x := range f {
		if x.Name == name {
			return x.Value, true
		}
	}
	return 0, false
}

func (f *Features) add(name string, value float64) {
	if !math.IsNaN(value) && !math.IsInf(value, 0) {
		*f = append(*f, Feature{name, value})
	}
}

func (f *Features) addAt(name string, window int, value float64) {
	f.add(name+strconv.Itoa(window), value)
}

// Of computes the features of arrivals in order and of their models, numbered
// densely from 0. Moments are those of the population; windows begin at the first
// arrival and the last, partial one is dropped unless said otherwise.
//
// n, dur_s (D), rate (n−1)/D; of the gaps: cv, B (cv−1)/(cv+1), M the
// correlation of neighbours, zero_iat the share of zeros. For w seconds, with
// at least 10 windows: idc{w} variance over mean and pmr{w} maximum over mean
// of the counts; wcv{w} the median cv of the gaps within windows of at least 20
// arrivals, the last too. H is (1+slope)/2 of ln idc on ln w.
// From 48 hours on, of the hourly counts: diurnal_a1 the first harmonic of the
// day, acf24h and acf1h, the largest and smallest mean hour of the day over
// the mean of those.
//
// With several models: K, the shares top1, top3 and top10, Neff = e^entropy,
// Hnorm = entropy/ln K, gini, zipf_s the maximum likelihood exponent on ranks
// and zipf_ks its distance; switch P(mᵢ ≠ mᵢ₋₁), switch_iid 1−Σp², locality
// their ratio; lru_miss{C} and min_miss{C} (Belady) of C equal slots; ws{w} the
// mean number of models in windows with arrivals, the last too, busywin{w} the
// share of such windows; activ{G}_per_h how often a model arrives after more than
// G seconds without; permodel_cv_med|max|n over models of at least 20 items.
func Of(times []scheduler.Time, models []int) Features {
	var f Features
	n := len(times)
	f.add("n", float64(n))
	if n < 2 {
		return f
	}
	duration := times[n-1] - times[0]
	d := duration.Seconds()
	f.add("dur_s", d)
	if duration == 0 {
		return f
	}
	f.add("rate", float64(n-1)/d)
	gapFeatures(&f, times)
	countFeatures(&f, times)
	dayFeatures(&f, times)
	if slices.Max(models) > 0 {
		popularityFeatures(&f, models)
		localityFeatures(&f, models)
		modelTimeFeatures(&f, times, models)
	}
	return f
}

func gaps(times []scheduler.Time) []float64 {
	x := make([]float64, 0, len(times))
	for i := 1; i < len(times); i++ {
		x = append(x, (times[i] - times[i-1]).Seconds())
	}
	return x
}

// moments returns the mean and the population variance.
func moments(x []float64) (mean, variance float64) {
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		variance += (v - mean) * (v - mean) / float64(len(x))
	}
	return mean, variance
}

func cv(x []float64) float64 {
	mean, variance := moments(x)
	return math.Sqrt(variance) / mean
}

// correlation of x with y.
func correlation(x, y []float64) float64 {
	mx, vx := moments(x)
	my, vy := moments(y)
	c := 0.0
	for i := range x {
		c += (x[i] - mx) * (y[i] - my) / float64(len(x))
	}
	return c / math.Sqrt(vx*vy)
}

func gapFeatures(f *Features, times []scheduler.Time) {
	x := gaps(times)
	c := cv(x)
	f.add("cv", c)
	f.add("B", (c-1)/(c+1))
	if len(x) > 2 {
		f.add("M", correlation(x[:len(x)-1], x[1:]))
	}
	zeros := 0.0
	for _, v := range x {
		if v == 0 {
			zeros++
		}
	}
	f.add("zero_iat", zeros/float64(len(x)))
}

// counts returns the arrivals in each whole window.
func counts(times []scheduler.Time, window scheduler.Time) []float64 {
	c := make([]float64, (times[len(times)-1]-times[0])/window)
	for _, t := range times {
		if i := int((t - times[0]) / window); i < len(c) {
			c[i]++
		}
	}
	return c
}

const minWindows = 10

func dispersion(c []float64) float64 {
	mean, variance := moments(c)
	return variance / mean
}

func countFeatures(f *Features, times []scheduler.Time) {
	for _, w := range []int{1, 10, 60, 600, 3600} {
		c := counts(times, scheduler.Time(w)*scheduler.Second)
		if len(c) < minWindows {
			continue
		}
		f.addAt("idc", w, dispersion(c))
		if w == 1 || w == 60 || w == 3600 {
			mean, _ := moments(c)
			f.addAt("pmr", w, slices.Max(c)/mean)
		}
	}
	for _, w := range []int{60, 600, 3600} {
		f.addAt("wcv", w, windowCV(times, scheduler.Time(w)*scheduler.Second))
	}
	f.add("H", hurst(times))
}

// windowCV returns the median cv of the gaps within windows, NaN if none has
// 20 arrivals.
func windowCV(times []scheduler.Time, window scheduler.Time) float64 {
	var all []float64
	for from := 0; from < len(times); {
		to, w := from, (times[from]-times[0])/window
		for to < len(times) && (times[to]-times[0])/window == w {
			to++
		}
		if to-from >= 20 {
			if c := cv(gaps(times[from:to])); !math.IsNaN(c) {
				all = append(all, c)
			}
		}
		from = to
	}
	return median(all)
}

func median(x []float64) float64 {
	if len(x) == 0 {
		return math.NaN()
	}
	slices.Sort(x)
	return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
}

// hurst estimates the Hurst parameter from the growth of the index of
// dispersion, NaN with less than 4 points.
func hurst(times []scheduler.Time) float64 {
	d := (times[len(times)-1] - times[0]).Seconds()
	rate := float64(len(times)-1) / d
	var x, y []float64
	for _, w := range []int{1, 2, 5, 10, 20, 60, 120, 300, 600, 1800, 3600, 7200, 21600} {
		if d/float64(w) < 20 || float64(w)*rate < 0.2 {
			continue
		}
		if idc := dispersion(counts(times, scheduler.Time(w)*scheduler.Second)); idc > 0 {
			x, y = append(x, math.Log(float64(w))), append(y, math.Log(idc))
		}
	}
	if len(x) < 4 {
		return math.NaN()
	}
	_, vx := moments(x)
	_, vy := moments(y)
	return (1 + correlation(x, y)*math.Sqrt(vy/vx)) / 2
}

func dayFeatures(f *Features, times []scheduler.Time) {
	if times[len(times)-1]-times[0] < 48*scheduler.Hour {
		return
	}
	c := counts(times, scheduler.Hour)
	re, im, sum := 0.0, 0.0, 0.0
	for h, v := range c {
		sin, cos := math.Sincos(-2 * math.Pi * float64(h%24) / 24)
		re, im, sum = re+v*cos, im+v*sin, sum+v
	}
	f.add("diurnal_a1", 2*math.Hypot(re, im)/sum)
	f.add("acf24h", autocorrelation(c, 24))
	f.add("acf1h", autocorrelation(c, 1))
	hours := make([]float64, 24) // the mean count of each hour of the day
	for h, v := range c {
		hours[h%24] += v / float64((len(c)-h%24+23)/24)
	}
	mean, _ := moments(hours)
	f.add("hour_max_mean", slices.Max(hours)/mean)
	f.add("hour_min_mean", slices.Min(hours)/mean)
}

// autocorrelation divides the lagged products by the variance of the whole.
func autocorrelation(x []float64, lag int) float64 {
	mean, variance := moments(x)
	c := 0.0
	for i := lag; i < len(x); i++ {
		c += (x[i] - mean) * (x[i-lag] - mean) / float64(len(x))
	}
	return c / variance
}
