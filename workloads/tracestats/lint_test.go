package tracestats

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/scheduler"
)

func TestLint(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	arrivals := func(n int, gap func(i int) scheduler.Time) (times []scheduler.Time) {
		at := 7 * scheduler.Second
		for i := range n {
			times = append(times, at)
			at += gap(i)
		}
		return times
	}
	fine := func(int) scheduler.Time { return 1 + scheduler.Time(r.Int64N(2e9)) }
	random := make([]int, 2000)
	for i := range random {
		random[i] = r.IntN(3)
	}
	turns := make([]int, 2000)
	for i := range turns {
		turns[i] = i % 3
	}
	for _, c := range []struct {
		name   string
		times  []scheduler.Time
		models []int
		want   []string
	}{
		{"fine", arrivals(2000, fine), random, nil},
		{"few", arrivals(999, fine), random[:999], []string{"only 999 items"}},
		{"very few", arrivals(1, fine), random[:1], []string{"only 1 items"}},
		{"grid", arrivals(2000, func(int) scheduler.Time { return scheduler.Time(r.Int64N(2)) * 3 * scheduler.Second }), random, []string{"grid of 3s"}},
		{"below the grid", arrivals(2000, func(int) scheduler.Time { return scheduler.Time(r.Int64N(2)) * 999 * scheduler.Millisecond }), random, nil},
		{"one a second", arrivals(2000, func(int) scheduler.Time { return scheduler.Second }), random, []string{"grid of 1s", "every arrival comes 1s after"}},
		{"equal hours", arrivals(2000, func(i int) scheduler.Time {
			if i%2 == 0 {
				return 40*scheduler.Second + 1
			}
			return 20*scheduler.Second - 1
		}), random, []string{"every hour has 120"}},
		{"turns", arrivals(2000, fine), turns, []string{"the 3 models come in the same order"}},
		{"drift", arrivals(2000, func(i int) scheduler.Time { return fine(i) * scheduler.Time(1+i/1000*9) }), random, []string{"the rate drifts"}},
		{"one instant", arrivals(2000, func(int) scheduler.Time { return 0 }), random, nil},
	} {
		got := Lint(c.times, c.models)
		if !slices.EqualFunc(got, c.want, func(g, w string) bool { return strings.Contains(g, w) }) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
