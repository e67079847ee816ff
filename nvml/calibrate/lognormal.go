package calibrate

import (
	"errors"
	"math"
	"slices"

	"github.com/vramsim/vramsim/nvml/profile"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/random"
)

// component is a lognormal part: weight, mean and deviation of the logarithm.
type component struct{ weight, mu, sigma float64 }

const (
	z95        = 1.6448536269514722 // of the standard normal distribution
	emRounds   = 2000
	emSettled  = 1e-10 // of the means, relative to 1
	leastSigma = 1e-4  // a part may not shrink to a point
	emSamples  = 100_000
)

var errNoLogarithm = errors.New("a sample is 0 and has no logarithm")

// lognormals fits one lognormal by maximum likelihood, or a mixture of several
// by expectation maximisation on the logarithms, started at their quantiles:
// the quartiles for two. Of very many samples it takes order statistics.
func lognormals(samples []scheduler.Time, parts int, of Statistics) (*Fit, error) {
	sorted := slices.Sorted(slices.Values(samples))
	if sorted[0] == 0 {
		return nil, errNoLogarithm
	}
	logs := make([]float64, min(len(sorted), emSamples))
	for i := range logs {
		logs[i] = random.Log(float64(sorted[i*len(sorted)/len(logs)]))
	}
	components := maximise(logs, parts)
	f := &Fit{Family: Family{parts}}
	rounded, err := f.spell(components)
	if err != nil {
		return nil, err
	}
	model := Statistics{Mean: f.Dist.Mean(), P50: inverse(rounded, .5), P90: inverse(rounded, .9), P99: inverse(rounded, .99)}
	f.Errors = errorsOf(model, of)
	f.KS = distance(logs, rounded)
	return f, nil
}

// spell makes the distribution and returns its parts as they are written.
func (f *Fit) spell(components []component) ([]component, error) {
	var parts []profile.LognormalPart
	var rounded []component
	for _, c := range components {
		p := profile.LognormalPart{Weight: c.weight, P50: fiveDigits(random.Exp(c.mu)), P95: fiveDigits(random.Exp(c.mu + float64(z95*c.sigma)))}
		if p.P50 == 0 {
			return nil, errNoLogarithm
		}
		parts = append(parts, p)
		rounded = append(rounded, component{c.weight, random.Log(float64(p.P50)), random.Log(float64(p.P95)/float64(p.P50)) / z95})
	}
	var err error
	if len(parts) == 1 {
		f.Dist, err = profile.Lognormal(parts[0].P50, parts[0].P95)
	} else {
		f.Dist, err = profile.Mixture(parts)
	}
	return rounded, err
}

// maximise runs the expectation maximisation.
func maximise(logs []float64, parts int) []component {
	mean, sd := moments(logs)
	if parts == 1 {
		return []component{{1, mean, sd}}
	}
	components := make([]component, parts)
	for k := range components {
		at := (2*k + 1) * len(logs) / (2 * parts)
		components[k] = component{1 / float64(parts), logs[at], max(sd, leastSigma)}
	}
	for range emRounds {
		next := step(logs, components)
		moved := 0.0
		for k := range next {
			moved = max(moved, math.Abs(next[k].mu-components[k].mu))
		}
		if components = next; moved < emSettled {
			break
		}
	}
	return slices.DeleteFunc(components, func(c component) bool { return c.weight < 1e-6 })
}

func moments(values []float64) (mean, sd float64) {
	for _, v := range values {
		mean += v
	}
	mean /= float64(len(values))
	squares := 0.0
	for _, v := range values {
		squares += float64((v - mean) * (v - mean))
	}
	return mean, math.Sqrt(squares / float64(len(values)))
}

// step is one expectation and maximisation. The sums are of distances from the
// old means, which keeps their digits.
func step(logs []float64, old []component) []component {
	shares := make([]float64, len(old))
	n, first, second := make([]float64, len(old)), make([]float64, len(old)), make([]float64, len(old))
	for _, x := range logs {
		total := 0.0
		for k, c := range old {
			z := (x - c.mu) / c.sigma
			shares[k] = c.weight / c.sigma * random.Exp(-float64(z*z)/2)
			total += shares[k]
		}
		if total == 0 { // far from all: it belongs to the nearest
			shares[nearest(x, old)], total = 1, 1
		}
		for k, c := range old {
			share, d := shares[k]/total, x-c.mu
			n[k] += share
			first[k] += float64(share * d)
			second[k] += float64(share * float64(d*d))
		}
	}
	next := make([]component, len(old))
	for k, c := range old {
		if n[k] == 0 {
			next[k] = component{0, c.mu, c.sigma}
			continue
		}
		shift := first[k] / n[k]
		variance := second[k]/n[k] - float64(shift*shift)
		next[k] = component{n[k] / float64(len(logs)), c.mu + shift, max(leastSigma, math.Sqrt(max(0, variance)))}
	}
	return next
}

func nearest(x float64, components []component) int {
	best := 0
	for k, c := range components {
		if math.Abs(x-c.mu) < math.Abs(x-components[best].mu) {
			best = k
		}
	}
	return best
}

// cumulative is the distribution function at a logarithm.
func cumulative(components []component, x float64) float64 {
	sum, total := 0.0, 0.0
	for _, c := range components {
		total += c.weight
		switch {
		case c.sigma > 0:
			sum += float64(c.weight * random.NormalTail((c.mu-x)/c.sigma))
		case x >= c.mu:
			sum += c.weight
		}
	}
	return sum / total
}

// inverse returns the quantile of the mixture, by bisection on the logarithm.
func inverse(components []component, u float64) float64 {
	low, high := math.Inf(1), math.Inf(-1)
	for _, c := range components {
		low, high = min(low, c.mu-10*c.sigma), max(high, c.mu+10*c.sigma)
	}
	for range 100 {
		if middle := low + (high-low)/2; cumulative(components, middle) < u {
			low = middle
		} else {
			high = middle
		}
	}
	return random.Exp(high)
}

// distance is the Kolmogorov-Smirnov statistic of sorted logarithms.
func distance(logs []float64, components []component) float64 {
	worst, n := 0.0, float64(len(logs))
	for i, x := range logs {
		if i > 0 && i+1 < len(logs) && logs[i-1] == x && logs[i+1] == x {
			continue // inside a tie, whose ends say it all
		}
		c := cumulative(components, x)
		below, above := float64(i)/n, float64(i+1)/n
		if i > 0 && logs[i-1] == x {
			below = c
		}
		if i+1 < len(logs) && logs[i+1] == x {
			above = c
		}
		worst = max(worst, math.Abs(c-below), math.Abs(above-c))
	}
	return worst
}
