package random

import (
	"math"
	"testing"
)

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if got == want || math.Abs(got-want) <= tolerance*math.Max(1e-300, math.Abs(want)) {
		return
	}
	t.Errorf("%s: got %v, want %v", what, got, want)
}

func TestLogAndExpFollowMath(t *testing.T) {
	s := NewStream(Key(1, Hash("log")))
	for range 200_000 {
		x := math.Float64frombits(s.Uint64() &^ (1 << 63))
		if math.IsNaN(x) || math.IsInf(x, 0) || x < 0x1p-1022 { // math.Log is wrong below on some machines
			continue
		}
		near(t, "log", Log(x), math.Log(x), 4e-16)
		y := 1480*s.Uniform() - 740
		near(t, "exp", Exp(y), math.Exp(y), 5e-16)
		u := s.Uniform()
		near(t, "log of a uniform", Log(u), math.Log(u), 4e-16)
	}
	for _, x := range []float64{0, math.Copysign(0, -1), -1, -5e-324, math.Inf(1), math.Inf(-1), math.NaN(), 1, math.MaxFloat64, 0x1p-1022, math.Sqrt2, math.Sqrt2 / 2} {
		if got, want := Log(x), math.Log(x); got != want && !(math.IsNaN(got) && math.IsNaN(want)) && math.Abs(got-want) > 1e-13 {
			t.Errorf("Log(%v) = %v, want %v", x, got, want)
		}
	}
	near(t, "log of the smallest number", Log(5e-324), -744.4400719213812, 4e-16)
	near(t, "log of the largest that is not normal", Log(0x1p-1022-5e-324), Log(0x1p-1022), 4e-16)
	for _, x := range []float64{0, 710, -746, math.Inf(1), math.Inf(-1), math.NaN()} {
		if got, want := Exp(x), math.Exp(x); got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Errorf("Exp(%v) = %v, want %v", x, got, want)
		}
	}
}

// The bits themselves are the contract between architectures.
func TestBitsAreFixed(t *testing.T) {
	sum := uint64(14695981039346656037)
	add := func(v float64) { sum = (sum ^ math.Float64bits(v)) * 1099511628211 }
	for _, d := range all(t) {
		s := NewStream(Key(42, 1, Hash("bits")))
		for range 500 {
			add(d.Quantile(s.Uniform()))
		}
	}
	const want = 0x28be04ae019eb920
	if sum != want {
		t.Errorf("checksum of the variates: %#x, want %#x", sum, uint64(want))
	}
}

func TestSpecialFunctions(t *testing.T) {
	for _, x := range []float64{1e-6, 0.04, 0.3, 0.5, 1, 1.5, 2, 7.25, 12, 33.3, 1e4, 1e6} {
		want, _ := math.Lgamma(x)
		if got := logGamma(x); math.Abs(got-want) > 1e-13*math.Max(1, math.Abs(want)) {
			t.Errorf("logGamma(%v) = %v, want %v", x, got, want)
		}
	}
	for z := -8.0; z <= 8; z += 0.125 {
		near(t, "NormalTail", NormalTail(z), math.Erfc(z/math.Sqrt2)/2, 1e-12)
	}
	for u := 1e-12; u < 0.5; u *= 1.7 {
		near(t, "normalQuantile", math.Erfc(-normalQuantile(u)/math.Sqrt2)/2, u, 2e-14)
		near(t, "normalQuantile", normalQuantile(1-u), -normalQuantile(1-(1-u)), 1e-14)
	}
}

func all(t testing.TB) family {
	must := func(d Dist, err error) Dist {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	parts := []Part{{0.358, must(Lognormal(2.96e9, 5.12e9))}, {0.642, must(Lognormal(31e9, 52.2e9))}}
	return family{
		Constant(3), must(Exponential(1e9)), must(Between(2, 5)), must(Integers(4, 30)), must(Normal(10, 3)), must(Normal(1, 2)),
		must(Lognormal(1e9, 3e9)), must(LognormalMeanCV(2, 0.5)), must(Gamma(1e9, 0.57735026919)), must(Gamma(1, 5)), must(Gamma(7, 0.01)),
		must(Gamma(7, 1e-4)), must(Gamma(1, 2)), must(Weibull(3, 0.7)), must(Weibull(3, 2)), must(Pareto(1, 3)), must(Mixture(parts...)),
		must(Empirical([]float64{5, 1, 2, 2})),
	}
}

type family []Dist

// The mean of the quantile function over equal cells is the mean of the
// distribution; all but mixtures never decrease.
func TestMeansAndMonotonicity(t *testing.T) {
	for i, d := range all(t) {
		const n = 20_000
		sum, last := 0.0, -1.0
		_, mixed := d.(mixture)
		for k := range n {
			x := d.Quantile((float64(k) + 0.5) / n)
			if x < 0 || x != x || !mixed && x < last*(1-1e-12) {
				t.Fatalf("distribution %d (%T): %v after %v", i, d, x, last)
			}
			sum, last = sum+x, x
		}
		if got := sum / n; math.Abs(got-d.Mean()) > 0.004*d.Mean() {
			t.Errorf("distribution %d (%T): mean of the quantiles %v, Mean() %v", i, d, got, d.Mean())
		}
	}
}

func TestKnownQuantiles(t *testing.T) {
	tests := []struct {
		dist Dist
		u    float64
		want float64
	}{
		{Must(Exponential(2)), 0.5, 2 * math.Ln2},
		{Must(Lognormal(3, 9)), 0.95, 9},
		{Must(Gamma(1, 0.5)), 0.5, 0.9180151872127240},             // chi² with 8 degrees: 7.344121497701792 / 8
		{Must(Gamma(0.5, math.Sqrt2)), 0.95, 3.84145882069412 / 2}, // chi² with 1 degree
		{Must(Gamma(5, math.Sqrt(0.2))), 0.99, 23.2092511589544 / 2},
		{Must(Normal(0, 1)), 0.5, 0.6744897501960817},
		{Must(Weibull(2, 3)), 0.5, 2 * math.Pow(math.Ln2, 1.0/3)},
		{Must(Pareto(2, 2)), 0.75, 4},
	}
	for i, test := range tests {
		near(t, "quantile "+string(rune('0'+i)), test.dist.Quantile(test.u), test.want, 1e-12)
	}
}

// The distribution function applied to the quantile gives u back.
func TestGammaRoundTrip(t *testing.T) {
	for _, cv := range []float64{0.002, 0.05, 0.3, 0.9, 1.1, 2, 5, 13, 100} {
		d := Must(Gamma(1, cv)).(gamma)
		for _, u := range []float64{1e-9, 1e-4, 0.01, 0.3, 0.5, 0.50001, 0.9, 0.999, 1 - 1e-9} {
			x := d.Quantile(u) / d.scale
			if x == 0 {
				continue
			}
			p, q, _ := gammaTail(d.shape, x, d.logGamma)
			if u <= 0.5 {
				near(t, "P", p, u, 3e-9)
			} else {
				near(t, "Q", q, 1-u, 3e-9)
			}
		}
	}
}

func TestMixtureUsesOneUniform(t *testing.T) {
	m := Must(Mixture(Part{1, Constant(1)}, Part{0, Constant(2)}, Part{3, Must(Between(10, 20))}))
	for _, test := range []struct{ u, want float64 }{{0.1, 1}, {0.25, 10}, {0.625, 15}, {0.9999999, 20}} {
		near(t, "mixture", m.Quantile(test.u), test.want, 1e-6)
	}
	near(t, "mean", m.Mean(), 11.5, 1e-15)
}

func TestRound(t *testing.T) {
	for _, test := range []struct {
		x    float64
		want int64
	}{{0.5, 0}, {1.5, 2}, {2.5, 2}, {-3, 0}, {math.NaN(), 0}, {math.Inf(1), math.MaxInt64 - 1}, {1e19, math.MaxInt64 - 1}, {9e18, 9e18}} {
		if got := Round(test.x); got != test.want {
			t.Errorf("Round(%v) = %d, want %d", test.x, got, test.want)
		}
	}
}

func TestParametersAreChecked(t *testing.T) {
	errs := map[string]error{}
	keep := func(name string, _ Dist, err error) { errs[name] = err }
	d, err := Exponential(0)
	keep("exp", d, err)
	d, err = Between(3, 2)
	keep("between", d, err)
	d, err = Integers(-1, 2)
	keep("integers", d, err)
	d, err = Normal(1, math.NaN())
	keep("normal", d, err)
	d, err = Lognormal(2, 1)
	keep("lognormal", d, err)
	d, err = Gamma(1, -1)
	keep("gamma", d, err)
	d, err = Weibull(1, 0)
	keep("weibull", d, err)
	d, err = Pareto(1, math.Inf(1))
	keep("pareto", d, err)
	d, err = Mixture()
	keep("mixture", d, err)
	d, err = Empirical([]float64{1, -2})
	keep("empirical", d, err)
	for name, err := range errs {
		if err == nil {
			t.Errorf("%s accepted a bad parameter", name)
		}
	}
}

// Bits of keyed uniforms are balanced and neighbouring keys unrelated.
func TestKeyedUniforms(t *testing.T) {
	const n = 100_000
	mean, product := 0.0, 0.0
	last := 0.5
	for i := range n {
		u := Uniform(Key(7, 3, uint64(i), Hash("arrival")))
		if u <= 0 || u >= 1 {
			t.Fatalf("uniform %v", u)
		}
		mean += u / n
		product += (u - 0.5) * (last - 0.5) / n
		last = u
	}
	if math.Abs(mean-0.5) > 0.004 || math.Abs(product) > 0.0015 {
		t.Errorf("mean %v, lag-1 covariance %v", mean, product)
	}
	if Key(1, 2, 3) == Key(1, 3, 2) || Key(1) == Key(1, 0) || Key(1, 0) == Key(1, 0, 0) {
		t.Error("keys do not depend on order and number of their parts")
	}
}

func BenchmarkExponential(b *testing.B) {
	d, s := Must(Exponential(1e9)), NewStream(1)
	sum := int64(0)
	for b.Loop() {
		sum += Round(d.Quantile(s.Uniform()))
	}
	sinkInt = sum
}

func BenchmarkGamma(b *testing.B) {
	for _, d := range []Dist{Must(Gamma(1e9, 0.5)), Must(Gamma(1e9, 3))} {
		b.Run("", func(b *testing.B) {
			s := NewStream(1)
			sum := int64(0)
			for b.Loop() {
				sum += Round(d.Quantile(s.Uniform()))
			}
			sinkInt = sum
		})
	}
}

var sinkInt int64

func TestCosTurns(t *testing.T) {
	for x := 0.0; x < 1; x += 1.0 / 1024 {
		if got, want := CosTurns(x), math.Cos(2*math.Pi*x); math.Abs(got-want) > 1e-14 {
			t.Errorf("CosTurns(%v) = %v, want %v", x, got, want)
		}
	}
}

func TestFixed(t *testing.T) {
	fixed := []Dist{Constant(3), Must(Between(3, 3)), Must(Integers(3, 3)), Must(Lognormal(3, 3)), Must(Empirical([]float64{3, 3})), Must(Gamma(3, 0)), Must(Normal(3, 0))}
	for i, d := range fixed {
		if v, ok := Fixed(d); !ok || v != 3 {
			t.Errorf("distribution %d (%T): %v, %v", i, d, v, ok)
		}
	}
	if _, ok := Fixed(Must(Exponential(3))); ok {
		t.Error("an exponential is not fixed")
	}
}

func TestPrefix(t *testing.T) {
	p := NewPrefix(7, 1)
	if Key(7, 1, 2, 3) != p.Prefix(2).Key(3) || Key(7, 1) != NewPrefix(7).Key(1) || p != NewPrefix(7).Prefix(1) {
		t.Error("a key is not its prefix and one more part")
	}
	if Key(7, 1, 2, 3) != 0xbe00df02f7557a75 {
		t.Errorf("the key is %#x", Key(7, 1, 2, 3))
	}
}

func TestManyDrawsAreThoseOfEachKey(t *testing.T) {
	p, out := NewPrefix(7, 1), make([]float64, 100)
	Uniforms(out, p, 5)
	for i, u := range out {
		if want := Uniform(p.Key(uint64(5 + i))); u != want {
			t.Fatalf("uniform %d is %v, want %v", i, u, want)
		}
	}
	for _, d := range all(t) {
		Draw(out, d, p, 5)
		for i, v := range out {
			if want := d.Quantile(Uniform(p.Key(uint64(5 + i)))); v != want {
				t.Fatalf("%T: draw %d is %v, want %v", d, i, v, want)
			}
		}
	}
}
