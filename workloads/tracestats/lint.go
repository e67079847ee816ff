package tracestats

import (
	"fmt"
	"slices"

	"github.com/vramsim/vramsim/scheduler"
)

const (
	fewItems  = 1000
	coarse    = scheduler.Second // a grid from which on it is told
	mostDrift = 3.0              // between quarters of the time
	leastSeen = 20               // arrivals before regularity means anything
)

// Lint says what makes arrivals in order, and their models, numbered densely
// from 0, a doubtful basis: few items, times on a coarse grid, a rate that
// drifts, and what looks made up rather than recorded.
func Lint(times []scheduler.Time, models []int) []string {
	var found []string
	add := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	if n := len(times); n < fewItems {
		add("only %d items: percentiles and rates rest on few of them", n)
	}
	if len(times) < leastSeen {
		return found
	}
	if g := grid(times); g >= coarse {
		add("all arrivals lie on a grid of %v: what happens within it is not recorded", g)
	}
	if gap, constant := constantGap(times); constant {
		add("made up? every arrival comes %v after the one before", gap)
	}
	if n, equal := equalHours(times); equal {
		add("made up? every hour has %d arrivals", n)
	}
	if k := slices.Max(models) + 1; alternating(models, k) {
		add("made up? the %d models come in the same order again and again", k)
	}
	if low, high := quarters(times); high > mostDrift*low {
		add("the rate drifts: one quarter of the time has %.3g arrivals/s, another %.3g", low, high)
	}
	return found
}

// grid returns the greatest common divisor of the gaps.
func grid(times []scheduler.Time) scheduler.Time {
	g := scheduler.Time(0)
	for i := 1; i < len(times) && g != 1; i++ {
		for a := times[i] - times[i-1]; a != 0; {
			g, a = a, g%a
		}
	}
	return g
}

func constantGap(times []scheduler.Time) (scheduler.Time, bool) {
	gap := times[1] - times[0]
	for i := 2; i < len(times); i++ {
		if times[i]-times[i-1] != gap {
			return 0, false
		}
	}
	return gap, gap > 0
}

// equalHours reports whether all of at least four whole hours have the same
// number of arrivals.
func equalHours(times []scheduler.Time) (int, bool) {
	if times[len(times)-1]-times[0] < 4*scheduler.Hour {
		return 0, false
	}
	c := counts(times, scheduler.Hour)
	return int(c[0]), slices.Max(c) == slices.Min(c)
}

func alternating(models []int, k int) bool {
	if k < 2 || len(models) < 3*k {
		return false
	}
	for i := k; i < len(models); i++ {
		if models[i] != models[i-k] {
			return false
		}
	}
	return true
}

// quarters returns the lowest and highest rate of the four quarters of the time.
func quarters(times []scheduler.Time) (low, high float64) {
	first, span := times[0], times[len(times)-1]-times[0]
	if span < 4 {
		return 0, 0
	}
	var n [4]float64
	for _, t := range times {
		n[min(3, (t-first)/(span/4))]++
	}
	each := span.Seconds() / 4
	return slices.Min(n[:]) / each, slices.Max(n[:]) / each
}
