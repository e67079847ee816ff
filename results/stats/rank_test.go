package stats

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// TestKendallTau: known values, and the O(n²) definition on any data.
func TestKendallTau(t *testing.T) {
	for _, c := range []struct {
		xs, ys []float64
		want   float64
	}{
		{[]float64{1, 2, 3, 4}, []float64{10, 20, 30, 40}, 1},
		{[]float64{1, 2, 3, 4}, []float64{4, 3, 2, 1}, -1},
		{[]float64{1, 2, 3, 4, 5}, []float64{3, 1, 4, 2, 5}, 0.4},
		// Kendall, Rank Correlation Methods (1970), §3: ties on one side.
		{[]float64{1, 2, 3, 4}, []float64{1, 1, 2, 2}, 4 / math.Sqrt(6*4)},
		{[]float64{1, 1}, []float64{1, 2}, math.NaN()},
		{nil, nil, math.NaN()},
		{[]float64{1}, []float64{1}, math.NaN()},
	} {
		if got := KendallTau(c.xs, c.ys); math.Abs(got-c.want) > 1e-15 || math.IsNaN(got) != math.IsNaN(c.want) {
			t.Errorf("tau of %v and %v is %v, want %v", c.xs, c.ys, got, c.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 60).Draw(t, "n")
		values := rapid.SliceOfN(rapid.Map(rapid.IntRange(0, 12), func(v int) float64 { return float64(v) }), n, n)
		xs, ys := values.Draw(t, "xs"), values.Draw(t, "ys")
		var score, onX, onY float64
		for i := range n {
			for j := range i {
				dx, dy := xs[i]-xs[j], ys[i]-ys[j]
				score += sign(dx * dy)
				onX += math.Abs(sign(dx))
				onY += math.Abs(sign(dy))
			}
		}
		got, want := KendallTau(xs, ys), score/math.Sqrt(onX*onY)
		if math.Abs(got-want) > 1e-12 || math.IsNaN(got) != math.IsNaN(want) {
			t.Fatalf("tau of %v and %v is %v, want %v", xs, ys, got, want)
		}
	})
}

func sign(v float64) float64 {
	switch {
	case v > 0:
		return 1
	case v < 0:
		return -1
	}
	return 0
}
