package stats

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func near(t *testing.T, what string, got, want, relative float64) {
	t.Helper()
	if math.Abs(got-want) <= relative*math.Abs(want) {
		return
	}
	t.Errorf("%s = %.15g, want %.15g", what, got, want)
}

// lcg is a linear congruential generator that every language can repeat.
type lcg uint64

func (s *lcg) next() uint64 {
	*s = *s*6364136223846793005 + 1442695040888963407
	return uint64(*s) >> 33
}

func stationary() []float64 {
	s, xs := lcg(7), make([]float64, 400)
	for i := range xs {
		xs[i] = float64(s.next() % 101)
	}
	return xs
}

func TestStudent(t *testing.T) {
	near(t, "Cauchy quantile", TQuantile(0.975, 1), math.Tan(math.Pi*0.475), 1e-12)
	near(t, "two degrees", TQuantile(0.975, 2), (2*0.975-1)/math.Sqrt(2*0.975*0.025), 1e-12)
	near(t, "far tail", TCDF(-1e6, 1), 1/(math.Pi*1e6), 1e-9)
	const z = 1.959963984540054 // and the first terms of Fisher's expansion about it
	near(t, "near normal", TQuantile(0.975, 1e5), z+(z*z*z+z)/4e5+(5*z*z*z*z*z+16*z*z*z+3*z)/96e10, 1e-10)
	if TCDF(0, 3) != 0.5 || TQuantile(0.5, 3) != 0 || !math.IsInf(TQuantile(1, 3), 1) || !math.IsNaN(TQuantile(0.2, 0)) {
		t.Error("boundary values")
	}
}

func TestStudentInverse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		df := rapid.Float64Range(0.5, 500).Draw(t, "df")
		p := rapid.Float64Range(1e-6, 1-1e-6).Draw(t, "p")
		if back := TCDF(TQuantile(p, df), df); math.Abs(back-p) > 1e-10 {
			t.Fatalf("CDF(quantile(%g)) = %g", p, back)
		}
		if a, b := TQuantile(p, df), -TQuantile(1-p, df); math.Abs(a-b) > 1e-7*(1+math.Abs(a)) {
			t.Fatalf("not symmetric: %g and %g", a, b)
		}
	})
}

func TestMeanInterval(t *testing.T) {
	interval, ok := MeanInterval([]float64{1, 2, 3, 4}, 0.95)
	if !ok {
		t.Fatal("four values have an interval")
	}
	half := 3.182446305284263 * math.Sqrt(5.0/3/4)
	near(t, "low", interval.Low, 2.5-half, 1e-12)
	near(t, "high", interval.High, 2.5+half, 1e-12)
	if _, ok := MeanInterval([]float64{1}, 0.95); ok {
		t.Error("one value has an interval")
	}
	same, _ := MeanInterval([]float64{0.1, 0.1, 0.1}, 0.95)
	if same != (Interval{0.1, 0.1}) {
		t.Errorf("equal values: %v", same)
	}
}

func TestQuantileOrders(t *testing.T) {
	lower, upper, coverage := QuantileOrders(10, 0.5, 0.95)
	if lower != 2 || upper != 9 {
		t.Errorf("median of ten: [%d, %d]", lower, upper)
	}
	near(t, "coverage", coverage, 0.978515625, 1e-12)
	if got := QuantileInterval([]float64{3, 1, 2}, 0.5, 0.95); !math.IsInf(got.Low, -1) || !math.IsInf(got.High, 1) {
		t.Errorf("three values bound their median: %v", got)
	}
	if lower, _, _ := QuantileOrders(2, 0.999, 0.95); lower != 2 {
		t.Errorf("the larger of two is below the 0.999 quantile only by a chance of 0.002, yet the order is %d", lower)
	}
	if l, u, c := QuantileOrders(0, 0.5, 0.95); l != 0 || u != 0 || c != 0 {
		t.Error("no values")
	}
}

// The orders must satisfy their definition against an exact binomial sum.
func TestQuantileOrdersDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 60).Draw(t, "n")
		p := rapid.Float64Range(0.05, 0.95).Draw(t, "p")
		lower, upper, coverage := QuantileOrders(n, p, 0.9)
		pmf := []float64{1} // by convolution
		for range n {
			next := make([]float64, len(pmf)+1)
			for k, m := range pmf {
				next[k] += m * (1 - p)
				next[k+1] += m * p
			}
			pmf = next
		}
		sum := func(a, b int) (s float64) {
			for k := max(a, 0); k <= min(b, n); k++ {
				s += pmf[k]
			}
			return s
		}
		const slack = 1e-10
		if lower > 0 && sum(0, lower-1) > 0.05+slack || lower < n && sum(0, lower) < 0.05-slack {
			t.Fatalf("lower %d", lower)
		}
		if upper > 0 && sum(upper, n) > 0.05+slack || upper > 1 && sum(upper-1, n) < 0.05-slack {
			t.Fatalf("upper %d", upper)
		}
		if lower > 0 && upper > 0 && math.Abs(coverage-sum(lower, upper-1)) > slack {
			t.Fatalf("coverage %g", coverage)
		}
	})
}

func TestHolm(t *testing.T) {
	got := Holm([]float64{0.01, 0.04, math.NaN(), 0.03, 0.005})
	want := []float64{0.03, 0.06, math.NaN(), 0.06, 0.02}
	for i := range want {
		if math.IsNaN(want[i]) != math.IsNaN(got[i]) || math.Abs(got[i]-want[i]) > 1e-15 {
			t.Errorf("Holm = %v, want %v", got, want)
		}
	}
}

// naiveU enumerates every arrangement of the pooled values.
func naiveU(a, b []float64) float64 {
	pooled := slices.Concat(a, b)
	u := func(mask int) (s float64) {
		for i, x := range pooled {
			for j, y := range pooled {
				if mask>>i&1 == 1 && mask>>j&1 == 0 {
					if x > y {
						s++
					} else if x == y {
						s += 0.5
					}
				}
			}
		}
		return s
	}
	observed := u(1<<len(a) - 1)
	var below, above, total float64
	for mask := range 1 << len(pooled) {
		bits := 0
		for i := range pooled {
			bits += mask >> i & 1
		}
		if bits != len(a) {
			continue
		}
		total++
		if u(mask) <= observed {
			below++
		}
		if u(mask) >= observed {
			above++
		}
	}
	return min(1, 2*min(below, above)/total)
}

func TestMannWhitneyAgainstEnumeration(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sample := rapid.SliceOfN(rapid.Map(rapid.IntRange(0, 6), func(i int) float64 { return float64(i) }), 1, 4)
		a, b := sample.Draw(t, "a"), sample.Draw(t, "b")
		_, p := MannWhitney(a, b)
		if want := naiveU(a, b); math.Abs(p-want) > 1e-12 {
			t.Fatalf("p = %g, want %g", p, want)
		}
	})
}

func TestMannWhitneyLarge(t *testing.T) {
	var a, b []float64
	for i := range 120 {
		a, b = append(a, float64(i)), append(b, float64(i)+0.5)
	}
	if _, p := MannWhitney(a, b); p < 0.5 {
		t.Errorf("interleaved samples differ: p = %g", p)
	}
	for i := range b {
		b[i] += 60
	}
	if _, p := MannWhitney(a, b); p > 1e-10 {
		t.Errorf("shifted samples do not differ: p = %g", p)
	}
	// Where both can be had, the approximation must be that of the exact value.
	exact := exactU(first(midranks(a[:40], b[20:60])), 40, 3100)
	normal := normalU(3100.0/2-820, 40, 40, 0)
	near(t, "normal approximation", normal, exact, 6e-3)
	same := make([]float64, 200)
	if _, p := MannWhitney(same, same); p != 1 {
		t.Errorf("equal constants: p = %g", p)
	}
}

func first(doubled []int, _ float64) []int { return doubled }

func TestPairedSeesWhatWelchDoesNot(t *testing.T) {
	a := []float64{10.2, 11.5, 9.8, 10.9, 12.1, 10.4, 11.0, 9.9, 10.7, 11.8}
	b := []float64{9.9, 11.1, 9.9, 10.1, 11.5, 10.2, 10.4, 9.6, 10.5, 11.2}
	paired, _ := PairedT(a, b, 0.95)
	welch, _ := Welch(a, b, 0.95)
	near(t, "paired p", paired.P, 0.0011767177268, 1e-9)
	near(t, "welch p", welch.P, 0.238126729095, 1e-9)
	if paired.Interval.Contains(0) || !welch.Interval.Contains(0) {
		t.Errorf("intervals %v and %v", paired.Interval, welch.Interval)
	}
}

func TestConstantDifference(t *testing.T) {
	test, ok := PairedT([]float64{3, 5, 4}, []float64{1, 3, 2}, 0.95)
	if !ok || !test.Constant || test.Interval != (Interval{2, 2}) || !math.IsNaN(test.P) {
		t.Errorf("%+v", test)
	}
	if _, ok := PairedT([]float64{1, 2}, []float64{1}, 0.95); ok {
		t.Error("unequal lengths were paired")
	}
	test, ok = Welch([]float64{1, 1}, []float64{2, 2}, 0.95)
	if !ok || !test.Constant || test.Diff != -1 {
		t.Errorf("%+v", test)
	}
}

func TestMSER5(t *testing.T) {
	trend := make([]float64, 400)
	for i := range trend {
		trend[i] = float64(i)
	}
	got, ok := MSER5(trend)
	if !ok || !got.AtBoundary || got.Observations() != 200 || got.Mean != 299.5 {
		t.Errorf("a trend was found steady: %+v", got)
	}
	if got, _ := MSER5(make([]float64, 100)); got.Delete != 0 || got.AtBoundary {
		t.Errorf("of equal minima the first counts: %+v", got)
	}
	if _, ok := MSER5(trend[:9]); ok {
		t.Error("one batch was enough")
	}
}

// The suffix recurrence must agree with the definition summed from scratch.
func TestMSER5Definition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		xs := rapid.SliceOfN(rapid.Float64Range(-100, 100), 10, 120).Draw(t, "xs")
		got, _ := MSER5(xs)
		means := blockMeans(xs, 5)
		best := math.Inf(1)
		for d := 0; d <= len(means)/2; d++ {
			n := float64(len(means) - d)
			best = min(best, Variance(append(means[d:len(means):len(means)], Mean(means[d:])))*n/(n*n))
		}
		if math.Abs(got.Statistic-best) > 1e-9*(1+best) {
			t.Fatalf("%g, want %g", got.Statistic, best)
		}
	})
}

func TestBatchMeans(t *testing.T) {
	got, ok := BatchMeans(stationary(), 20, 0.95)
	if !ok {
		t.Fatal("400 observations make 20 batches")
	}
	near(t, "mean", got.Mean, 50.1875, 1e-12)
	near(t, "half width", got.Interval.High-got.Mean, 2.56323917538, 1e-9)
	near(t, "lag 1", got.Lag1, -0.226938075671, 1e-9)
	near(t, "von Neumann", got.VonNeumann, 2.43420834745, 1e-9)
	if _, ok := BatchMeans([]float64{1, 2}, 3, 0.95); ok {
		t.Error("two observations made three batches")
	}
}

// TestQuantileInvertsTail: whatever way the root is found, it is one.
func TestQuantileInvertsTail(t *testing.T) {
	for _, df := range []float64{0.5, 1, 2, 3, 9, 99, 1e4, 1e5} {
		for _, p := range []float64{0.5000001, 0.6, 0.9, 0.975, 0.999, 1 - 1e-10} {
			q := TQuantile(p, df)
			if back := TCDF(q, df); math.Abs((1-back)/(1-p)-1) > 1e-5 || math.Abs(back-p) > 1e-10 || TQuantile(1-p, df) > -q*(1-1e-5) {
				t.Errorf("df %v, p %v: quantile %v, of which the distribution is %v", df, p, q, back)
			}
		}
	}
}

func BenchmarkTQuantile(b *testing.B) {
	for b.Loop() {
		TQuantile(0.975, 9)
	}
}
