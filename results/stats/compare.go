package stats

import (
	"cmp"
	"math"
	"slices"
)

// Test is the outcome of a comparison of two samples a and b by their means.
type Test struct {
	N        int      // pairs, or values of both samples together
	Diff     float64  // mean of a less mean of b
	T, DF    float64  // Student statistic and degrees of freedom
	P        float64  // two-sided p value
	Interval Interval // of Diff
	// Constant is true if the differences (or both samples) do not vary at
	// all: then Interval is [Diff, Diff], and T and P are NaN.
	Constant bool
}

// PairedT compares a[i] with b[i] at confidence conf, as is right when both
// came from the same random numbers. ok is false if the lengths differ or
// there are fewer than two pairs.
func PairedT(a, b []float64, conf float64) (test Test, ok bool) {
	if len(a) != len(b) || len(a) < 2 {
		return Test{}, false
	}
	diffs := make([]float64, len(a))
	for i := range a {
		diffs[i] = a[i] - b[i]
	}
	n := float64(len(a))
	mean, squares := moments(diffs)
	return student(len(a), mean, math.Sqrt(squares/(n-1)/n), n-1, conf), true
}

// Welch compares two independent samples with unequal variances at confidence
// conf (Welch 1947, degrees of freedom by Satterthwaite). ok is false if a
// sample has fewer than two values.
func Welch(a, b []float64, conf float64) (test Test, ok bool) {
	if len(a) < 2 || len(b) < 2 {
		return Test{}, false
	}
	va, vb := Variance(a)/float64(len(a)), Variance(b)/float64(len(b))
	df := (va + vb) * (va + vb) / (va*va/float64(len(a)-1) + vb*vb/float64(len(b)-1))
	return student(len(a)+len(b), Mean(a)-Mean(b), math.Sqrt(va+vb), df, conf), true
}

func student(n int, diff, se, df, conf float64) Test {
	if se == 0 {
		return Test{N: n, Diff: diff, T: math.NaN(), DF: df, P: math.NaN(), Interval: Interval{diff, diff}, Constant: true}
	}
	t := diff / se
	half := TQuantile(0.5+conf/2, df) * se
	return Test{N: n, Diff: diff, T: t, DF: df, P: TTwoSided(t, df), Interval: Interval{diff - half, diff + half}}
}

// Holm returns p values corrected for having made them all at once, in the
// order given (Holm 1979). NaN stands for no test: it stays NaN and does not
// count.
func Holm(ps []float64) []float64 {
	order := make([]int, 0, len(ps))
	adjusted := slices.Clone(ps)
	for i, p := range ps {
		if !math.IsNaN(p) {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(ps[i], ps[j]) })
	largest := 0.0
	for rank, i := range order {
		largest = max(largest, min(1, float64(len(order)-rank)*ps[i]))
		adjusted[i] = largest
	}
	return adjusted
}

// ExactPairs is the largest product of sample sizes for which MannWhitney
// counts arrangements; beyond it the normal approximation is used.
const ExactPairs = 10_000

// MannWhitney returns the U statistic of a (the pairs in which a is larger,
// ties counted half) and the two-sided p value of the hypothesis that both
// samples come from one distribution. Up to ExactPairs pairs the p value is
// exact, ties included: twice the smaller tail over all arrangements of the
// pooled values, at most 1. Beyond that it is the normal approximation with
// corrections for ties and continuity. Both are NaN for an empty sample.
func MannWhitney(a, b []float64) (u, p float64) {
	if len(a) == 0 || len(b) == 0 {
		return math.NaN(), math.NaN()
	}
	doubled, ties := midranks(a, b)
	sum := 0
	for _, r := range doubled[:len(a)] {
		sum += r
	}
	u = float64(sum)/2 - float64(len(a)*(len(a)+1))/2
	if len(a)*len(b) > ExactPairs {
		return u, normalU(u, len(a), len(b), ties)
	}
	return u, exactU(doubled, len(a), sum)
}

// midranks returns twice the midrank of every value, those of a first, and
// Σ(t³−t) over the groups of t tied values.
func midranks(a, b []float64) (doubled []int, ties float64) {
	pooled := slices.Concat(a, b)
	order := make([]int, len(pooled))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(pooled[i], pooled[j]) })
	doubled = make([]int, len(pooled))
	for i := 0; i < len(order); {
		j := i
		for j < len(order) && pooled[order[j]] == pooled[order[i]] {
			j++
		}
		for _, k := range order[i:j] {
			doubled[k] = i + 1 + j
		}
		t := float64(j - i)
		ties += t*t*t - t
		i = j
	}
	return doubled, ties
}

// exactU counts, for every way to choose n of the ranks, those whose sum lies
// as far out as sum: ways[k][s] choices of k ranks that add up to s.
func exactU(doubled []int, n, sum int) float64 {
	top := 0
	for _, r := range doubled {
		top += r
	}
	ways := make([][]float64, n+1)
	for k := range ways {
		ways[k] = make([]float64, top+1)
	}
	ways[0][0] = 1
	for _, r := range doubled {
		for k := n; k >= 1; k-- {
			for s := top; s >= r; s-- {
				ways[k][s] += ways[k-1][s-r]
			}
		}
	}
	var below, above, total float64
	for s, w := range ways[n] {
		total += w
		if s <= sum {
			below += w
		}
		if s >= sum {
			above += w
		}
	}
	return min(1, 2*min(below, above)/total)
}

func normalU(u float64, n, m int, ties float64) float64 {
	a, b := float64(n), float64(m)
	variance := a * b / 12 * (a + b + 1 - ties/((a+b)*(a+b-1)))
	if variance <= 0 {
		return 1
	}
	z := max(0, math.Abs(u-a*b/2)-0.5) / math.Sqrt(variance)
	return math.Erfc(z / math.Sqrt2)
}
