package calibrate

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/vramsim/vramsim/nvml/profile"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/random"
)

const (
	// FewSamples is the number of samples below which a lognormal stands for
	// them: so few say nothing of the tail.
	FewSamples = 20
	// Quantiles is how many values an empirical distribution has at most.
	Quantiles = 101

	maxParts = 8 // of a mixture
)

// Family is a kind of distribution that samples are summarised by. The zero
// value is empirical.
type Family struct{ parts int }

// The families that need no number.
var (
	Empirical = Family{}
	Lognormal = Family{1}
)

// Mixture returns the family of mixtures of so many lognormals, from 2 to 8.
func Mixture(parts int) Family { return Family{parts} }

// String spells a family as ParseFamily reads it.
func (f Family) String() string {
	switch f.parts {
	case 0:
		return "empirical"
	case 1:
		return "lognormal"
	}
	return "mixture:" + strconv.Itoa(f.parts)
}

// ParseFamily reads empirical, lognormal or mixture:N with N from 2 to 8.
func ParseFamily(s string) (Family, error) {
	switch s {
	case "empirical":
		return Empirical, nil
	case "lognormal":
		return Lognormal, nil
	}
	if n, ok := strings.CutPrefix(s, "mixture:"); ok {
		if k, err := strconv.Atoi(n); err == nil && k >= 2 && k <= maxParts && strconv.Itoa(k) == n {
			return Mixture(k), nil
		}
	}
	return Family{}, fmt.Errorf("the fit %q is none of empirical, lognormal, mixture:2 to mixture:%d", s, maxParts)
}

// Fit is a distribution that stands for samples.
type Fit struct {
	Family Family
	Dist   profile.Dist
	Errors Errors
	// KS is the Kolmogorov-Smirnov distance to the samples; NaN of an empirical
	// distribution, which is made of them.
	KS float64
}

// String says how well it fits.
func (f *Fit) String() string {
	if f.Family == Empirical {
		return fmt.Sprintf("%v: %v", f.Family, f.Errors)
	}
	return fmt.Sprintf("%v: KS %.3f, %v", f.Family, f.KS, f.Errors)
}

// Summary is what became of samples.
type Summary struct {
	Samples Statistics
	Fit     Fit
	// Refused is the fit that was asked for and was too far off; nil if it is Fit.
	Refused *Fit
	// Why it was not what was asked for, "" if it is.
	Why string
}

// String is a sentence for people.
func (s *Summary) String() string {
	text := s.Samples.String() + "; "
	if s.Refused != nil {
		text += s.Refused.String() + "; "
	}
	if s.Why != "" {
		text += s.Why + ": "
	}
	return text + s.Fit.String()
}

// ErrNoSamples is returned where there is nothing to fit.
var ErrNoSamples = errors.New("there are no samples")

// InaccurateError is returned where no distribution reproduces the samples.
type InaccurateError struct{ Fit Fit }

func (e *InaccurateError) Error() string {
	return fmt.Sprintf("no distribution reproduces the samples within %v %%: %v", Tolerance*100, &e.Fit)
}

// Summarise fits samples: a family that is more than Tolerance off in mean,
// p50, p90 or p99 gives way to the empirical distribution, and fewer than
// FewSamples are always a lognormal, unless they are all equal. What is returned is within Tolerance,
// unless there are few samples; otherwise the error is an *InaccurateError.
func Summarise(samples []scheduler.Time, want Family) (*Summary, error) {
	if len(samples) == 0 {
		return nil, ErrNoSamples
	}
	s := &Summary{Samples: Describe(samples)}
	if least := slices.Min(samples); least == slices.Max(samples) {
		s.Fit = Fit{Dist: profile.Constant(least), KS: math.NaN()}
		return s, nil
	}
	few := len(samples) < FewSamples
	if few && want != Lognormal {
		s.Why = fmt.Sprintf("%d samples are fewer than %d", len(samples), FewSamples)
		want = Lognormal
	}
	if want != Empirical {
		fit, err := lognormals(samples, want.parts, s.Samples)
		switch {
		case err != nil && !few:
			s.Why = err.Error()
		case err != nil:
			s.Why = err.Error() // values below a nanosecond: their own distribution
			s.Fit, err = empirical(samples, s.Samples)
			return s, err
		case few || fit.Errors.Worst() <= Tolerance:
			s.Fit = *fit
			return s, nil
		default:
			s.Refused, s.Why = fit, fmt.Sprintf("more than %v %% off", Tolerance*100)
		}
	}
	fit, err := empirical(samples, s.Samples)
	if err != nil {
		return nil, err
	}
	if s.Fit = fit; fit.Errors.Worst() > Tolerance {
		return nil, &InaccurateError{fit}
	}
	return s, nil
}

// empirical stands for samples by at most Quantiles values: all of them, or the
// means of as many equal shares of the sorted samples, of which those that are
// p50, p90 and p99 are put there and the others moved to keep the mean.
func empirical(samples []scheduler.Time, of Statistics) (Fit, error) {
	values := slices.Sorted(slices.Values(samples))
	if len(values) > Quantiles {
		values = quantiles(values, of)
	}
	d, err := profile.Empirical(values)
	if err != nil {
		return Fit{}, err
	}
	got := describe(d.Quantile, numbers(values))
	return Fit{Family: Empirical, Dist: d, Errors: errorsOf(got, of), KS: math.NaN()}, nil
}

// quantiles summarises many sorted samples.
func quantiles(sorted []scheduler.Time, of Statistics) []scheduler.Time {
	values := shareMeans(sorted)
	pins := map[int]bool{}
	surplus := 0.0
	for _, pin := range []struct{ u, v float64 }{{.5, of.P50}, {.9, of.P90}, {.99, of.P99}} {
		i := int(pin.u * Quantiles) // which random.Empirical answers at u
		surplus += pin.v - values[i]
		values[i], pins[i] = pin.v, true
	}
	surplus += between(values, pins)
	balance(values, pins, surplus)
	rounded := make([]scheduler.Time, len(values))
	for i, v := range values {
		rounded[i] = fiveDigits(v)
	}
	return rounded
}

// between moves values that a pin has passed to that pin, and returns by how
// much their sum grew.
func between(values []float64, pins map[int]bool) (grew float64) {
	low, high := bounds(values, pins)
	for i, v := range values {
		if !pins[i] {
			values[i] = max(low[i], min(v, high[i]))
			grew += values[i] - v
		}
	}
	return grew
}

// bounds returns the nearest pins below and above each value, or the least and
// the greatest value.
func bounds(values []float64, pins map[int]bool) (low, high []float64) {
	low, high = slices.Clone(values), slices.Clone(values)
	below, above := slices.Min(values), slices.Max(values)
	for i := range values {
		if pins[i] {
			below = values[i]
		}
		low[i] = below
		j := len(values) - 1 - i
		if pins[j] {
			above = values[j]
		}
		high[j] = above
	}
	return low, high
}

// shareMeans returns the means of Quantiles equal shares of sorted samples, so
// that their mean is that of the samples. A sample on a border counts in both
// by its parts.
func shareMeans(sorted []scheduler.Time) []float64 {
	n := int64(len(sorted))
	values := make([]float64, Quantiles)
	at := int64(0) // in units of which a sample has Quantiles and a share n
	for i := range values {
		end := int64(i+1) * n
		sum := 0.0
		for at < end {
			j := at / Quantiles
			next := min(end, (j+1)*Quantiles)
			sum += float64(float64(sorted[j]) * float64(next-at))
			at = next
		}
		values[i] = sum / float64(n)
	}
	return values
}

// balance takes a surplus from values that are not pinned, each by the same
// part of its distance to the pin below it, or above it if the surplus is
// negative: their order stays.
func balance(values []float64, pins map[int]bool, surplus float64) {
	towards, above := bounds(values, pins)
	if surplus < 0 {
		towards = above
	}
	room := 0.0
	for i := range values {
		if !pins[i] {
			room += values[i] - towards[i]
		}
	}
	if room == 0 {
		return
	}
	part := min(1, surplus/room)
	for i := range values {
		if !pins[i] {
			values[i] -= float64(part * (values[i] - towards[i]))
		}
	}
}

// fiveDigits rounds to five significant digits.
func fiveDigits(v float64) scheduler.Time {
	t := random.Round(v)
	unit := int64(1)
	for limit := int64(100_000); t >= limit && unit < 1e13; limit *= 10 {
		unit *= 10
	}
	return scheduler.Time((t + unit/2) / unit * unit)
}
