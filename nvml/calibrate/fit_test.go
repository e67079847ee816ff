package calibrate

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/random"
)

// sample draws n durations of a distribution.
func sample(d random.Dist, n int, seed uint64) []scheduler.Time {
	s := random.NewStream(random.Key(seed))
	values := make([]scheduler.Time, n)
	for i := range values {
		values[i] = scheduler.Time(random.Round(d.Quantile(s.Uniform())))
	}
	return values
}

func bimodal() random.Dist {
	return random.Must(random.Mixture(random.Part{Weight: .36, Dist: random.Must(random.Lognormal(2.96e9, 5.12e9))},
		random.Part{Weight: .64, Dist: random.Must(random.Lognormal(31e9, 52.2e9))}))
}

// naive are the statistics by their definition, without the code under test:
// the smallest sample with more than a share of them at or below it.
func naive(samples []scheduler.Time) Statistics {
	sorted := slices.Sorted(slices.Values(samples))
	q := func(num, den int) float64 {
		for i, v := range sorted {
			if (i+1)*den > num*len(sorted) {
				return float64(v)
			}
		}
		return float64(sorted[len(sorted)-1])
	}
	sum := 0.0
	for _, v := range sorted {
		sum += float64(v)
	}
	return Statistics{len(samples), sum / float64(len(samples)), q(1, 2), q(9, 10), q(99, 100)}
}

func TestDescribe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		samples := rapid.SliceOfN(rapid.Map(rapid.Int64Range(0, 1<<40), func(v int64) scheduler.Time { return scheduler.Time(v) }), 1, 300).Draw(t, "samples")
		got, want := Describe(samples), naive(samples)
		if got != want && math.Abs(got.Mean/want.Mean-1) > 1e-12 {
			t.Fatalf("%v, want %v", got, want)
		}
	})
}

// TestEmpirical: whatever the samples, at most 101 values in order keep mean,
// p50, p90 and p99 within the tolerance.
func TestEmpirical(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var d random.Dist
		switch rapid.IntRange(0, 4).Draw(t, "family") {
		case 0:
			d = random.Must(random.Lognormal(1e9, 1e9*rapid.Float64Range(1, 8).Draw(t, "spread")))
		case 1:
			d = random.Must(random.Exponential(rapid.Float64Range(1e3, 1e12).Draw(t, "mean")))
		case 2:
			d = bimodal()
		case 3:
			d = random.Must(random.Pareto(1e6, rapid.Float64Range(1.5, 4).Draw(t, "alpha")))
		case 4:
			d = random.Must(random.Integers(0, rapid.Int64Range(0, 5).Draw(t, "values"))) // many ties, zeros
		}
		samples := sample(d, rapid.SampledFrom([]int{20, 30, 100, 101, 102, 150, 999, 5000}).Draw(t, "n"), rapid.Uint64().Draw(t, "seed"))
		s, err := Summarise(samples, Empirical)
		if err != nil {
			t.Fatal(err)
		}
		if s.Fit.Errors.Worst() > Tolerance || s.Samples != naive(samples) && s.Samples.P99 != naive(samples).P99 {
			t.Fatalf("%v", s)
		}
		if n := strings.Count(s.Fit.Dist.String(), ","); n >= Quantiles {
			t.Fatalf("%d values", n+1)
		}
		// Independently of Errors: draws of what was written.
		of := naive(samples)
		for _, c := range []struct{ got, want float64 }{{s.Fit.Dist.Mean(), of.Mean}, {s.Fit.Dist.Quantile(.5), of.P50}, {s.Fit.Dist.Quantile(.9), of.P90}, {s.Fit.Dist.Quantile(.99), of.P99}} {
			if math.Abs(c.got-c.want) > Tolerance*c.want {
				t.Fatalf("%v, want %v: %v", c.got, c.want, s)
			}
		}
	})
}

// One sample above p99 may be nearly all of the mean: it is kept.
func TestExtremeSample(t *testing.T) {
	samples := make([]scheduler.Time, 200)
	for i := range samples {
		samples[i] = 1000
	}
	samples[199] = 1e15 // above p99, and all of the mean
	s, err := Summarise(samples, Empirical)
	if err != nil || math.Abs(s.Fit.Errors.Mean) > Tolerance {
		t.Errorf("%v, %v", s, err)
	}
	if _, err := Summarise(nil, Empirical); !errors.Is(err, ErrNoSamples) {
		t.Errorf("no samples: %v", err)
	}
	bad := &InaccurateError{Fit{Errors: Errors{Mean: .1}}}
	if !strings.Contains(bad.Error(), "mean +10.00 %") {
		t.Errorf("%v", bad)
	}
}

// TestLognormal: parameters come back, few samples are always a lognormal, and
// what a lognormal cannot be is refused visibly.
func TestLognormal(t *testing.T) {
	d := random.Must(random.Lognormal(2e9, 3e9))
	s, err := Summarise(sample(d, 20_000, 1), Lognormal)
	if err != nil || s.Fit.Family != Lognormal || s.Refused != nil || s.Fit.KS > .02 {
		t.Fatalf("%v, %v", s, err)
	}
	if p50, p95 := s.Fit.Dist.Quantile(.5), s.Fit.Dist.Quantile(.95); math.Abs(p50/2e9-1) > .02 || math.Abs(p95/3e9-1) > .02 {
		t.Errorf("%v, %v", p50, p95)
	}
	for n := 2; n < FewSamples; n += 6 {
		for _, want := range []Family{Empirical, Lognormal, Mixture(2)} {
			s, err := Summarise(sample(d, n, 3), want)
			if err != nil || s.Fit.Family != Lognormal || (s.Why == "") != (want == Lognormal) {
				t.Errorf("%d samples: %v, %v", n, s, err)
			}
		}
	}
	s, err = Summarise(sample(bimodal(), 5000, 2), Lognormal)
	if err != nil || s.Fit.Family != Empirical || s.Refused == nil || s.Refused.KS < .2 || s.Refused.Errors.Worst() < Tolerance {
		t.Errorf("%v, %v", s, err)
	}
	for _, n := range []int{5, 50} {
		same := make([]scheduler.Time, n)
		if s, err := Summarise(same, Lognormal); err != nil || s.Fit.Dist.String() != "0s" || s.Fit.Errors.Worst() != 0 {
			t.Errorf("%v, %v", s, err)
		}
		same[3] = 1
		if s, err := Summarise(same, Lognormal); err != nil || s.Fit.Family != Empirical || !strings.Contains(s.Why, "no logarithm") {
			t.Errorf("%v, %v", s, err)
		}
	}
}

// TestMixture: two modes come back.
func TestMixture(t *testing.T) {
	s, err := Summarise(sample(bimodal(), 20_000, 5), Mixture(2))
	if err != nil || s.Fit.Family != Mixture(2) || s.Fit.KS > .02 {
		t.Fatalf("%v, %v", s, err)
	}
	components := maximise(logsOf(sample(bimodal(), 20_000, 5)), 2)
	for i, want := range []component{{.36, random.Log(2.96e9), random.Log(5.12/2.96) / z95}, {.64, random.Log(31e9), random.Log(52.2/31) / z95}} {
		c := components[i]
		if math.Abs(c.weight-want.weight) > .02 || math.Abs(c.mu-want.mu) > .02 || math.Abs(c.sigma-want.sigma) > .02 {
			t.Errorf("part %d is %+v, want %+v", i, c, want)
		}
	}
	if again, _ := Summarise(sample(bimodal(), 20_000, 5), Mixture(2)); again.Fit.Dist.String() != s.Fit.Dist.String() {
		t.Error("not the same again")
	}
	// Expectation maximisation never lowers the likelihood.
	rapid.Check(t, func(t *rapid.T) {
		logs := logsOf(sample(bimodal(), rapid.IntRange(20, 200).Draw(t, "n"), rapid.Uint64().Draw(t, "seed")))
		components := []component{{.5, logs[len(logs)/4], 1}, {.5, logs[len(logs)*3/4], 1}}
		for before := math.Inf(-1); ; {
			now := likelihood(logs, components)
			if now < before-1e-6 {
				t.Fatalf("%v after %v", now, before)
			}
			if now-before < 1e-6 {
				return
			}
			before, components = now, step(logs, components)
		}
	})
}

func logsOf(samples []scheduler.Time) []float64 {
	logs := make([]float64, len(samples))
	for i, v := range slices.Sorted(slices.Values(samples)) {
		logs[i] = random.Log(float64(v))
	}
	return logs
}

func likelihood(logs []float64, components []component) float64 {
	sum := 0.0
	for _, x := range logs {
		density := 0.0
		for _, c := range components {
			z := (x - c.mu) / c.sigma
			density += c.weight / c.sigma * math.Exp(-z*z/2)
		}
		sum += math.Log(density)
	}
	return sum
}

func TestParseFamily(t *testing.T) {
	for _, text := range []string{"empirical", "lognormal", "mixture:2", "mixture:8"} {
		if f, err := ParseFamily(text); err != nil || f.String() != text {
			t.Errorf("%s: %v, %v", text, f, err)
		}
	}
	for _, text := range []string{"", "mixture", "mixture:1", "mixture:9", "mixture:02", "gamma"} {
		if f, err := ParseFamily(text); err == nil {
			t.Errorf("%q is %v", text, f)
		}
	}
}
