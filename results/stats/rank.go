package stats

import (
	"cmp"
	"math"
	"slices"
)

// KendallTau returns Kendall's tau-b of the pairs (xs[i], ys[i]), in [−1, 1]:
// 1 if both orders agree, −1 if one is the other's reverse; ties count for
// neither. It is NaN for fewer than two pairs and where one side is all ties.
// The slices have the same length and hold no NaN. It takes O(n log n)
// (Knight, "A computer method for calculating Kendall's tau with ungrouped
// data", JASA 1966).
func KendallTau(xs, ys []float64) float64 {
	n := len(xs)
	if n != len(ys) {
		panic("bug: KendallTau of slices of different lengths")
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Or(cmp.Compare(xs[a], xs[b]), cmp.Compare(ys[a], ys[b])) })
	sorted := make([]float64, n)
	for i, at := range order {
		sorted[i] = ys[at]
	}
	inX := tied(n, func(i int) bool { return xs[order[i]] == xs[order[i-1]] })
	inBoth := tied(n, func(i int) bool { return xs[order[i]] == xs[order[i-1]] && ys[order[i]] == ys[order[i-1]] })
	swaps := inversions(sorted, make([]float64, n)) // sorts
	inY := tied(n, func(i int) bool { return sorted[i] == sorted[i-1] })
	pairs := float64(n) * float64(n-1) / 2
	return (pairs - inX - inY + inBoth - 2*swaps) / math.Sqrt((pairs-inX)*(pairs-inY))
}

// tied returns the pairs within runs of equals of n ordered values.
func tied(n int, same func(i int) bool) (pairs float64) {
	run := 1.0
	for i := 1; i <= n; i++ {
		if i < n && same(i) {
			run++
			continue
		}
		pairs += run * (run - 1) / 2
		run = 1
	}
	return pairs
}

// inversions sorts vs by merging and returns how many pairs stood in the wrong
// order. spare is as long.
func inversions(vs, spare []float64) (count float64) {
	if len(vs) < 2 {
		return 0
	}
	half := len(vs) / 2
	count = inversions(vs[:half], spare[:half]) + inversions(vs[half:], spare[half:])
	left, right, out := vs[:half], vs[half:], spare[:0]
	for len(left) > 0 && len(right) > 0 {
		if right[0] < left[0] {
			count += float64(len(left))
			out, right = append(out, right[0]), right[1:]
		} else {
			out, left = append(out, left[0]), left[1:]
		}
	}
	out = append(append(out, left...), right...)
	copy(vs, out)
	return count
}
