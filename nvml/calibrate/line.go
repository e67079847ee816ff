package calibrate

import (
	"cmp"
	"math"
	"slices"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/random"
)

// point is an observation: y at x.
type point struct{ x, y float64 }

// line is y = base + slope·x, neither below 0.
type line struct{ base, slope float64 }

// mostPoints bounds the pairs that theilSen looks at.
const mostPoints = 2000

// theilSen fits the line whose slope is the median of those between all pairs
// of points with different x, and whose base is the median of what is left
// (Theil 1950, Sen 1968): nearly a third of the points may be wild. Of very
// many points it takes as many, evenly spread in their order by x and y.
func theilSen(points []point) line {
	sorted := slices.Clone(points)
	slices.SortFunc(sorted, func(a, b point) int { return cmp.Or(cmp.Compare(a.x, b.x), cmp.Compare(a.y, b.y)) })
	if n := len(sorted); n > mostPoints {
		for i := range mostPoints {
			sorted[i] = sorted[i*n/mostPoints]
		}
		sorted = sorted[:mostPoints]
	}
	var slopes []float64
	for i, a := range sorted {
		for _, b := range sorted[i+1:] {
			if b.x > a.x {
				slopes = append(slopes, (b.y-a.y)/(b.x-a.x))
			}
		}
	}
	l := line{slope: max(0, middle(slopes))}
	rests := make([]float64, len(sorted))
	for i, p := range sorted {
		rests[i] = p.y - float64(l.slope*p.x)
	}
	if l.base = middle(rests); l.base < 0 { // through the origin then
		l.base = 0
		for i, p := range sorted {
			rests[i] = p.y / p.x
		}
		l.slope = max(0, middle(rests))
	}
	return l
}

// middle returns the median, 0 of nothing. It sorts the values.
func middle(values []float64) float64 {
	n := len(values)
	if n == 0 {
		return 0
	}
	slices.Sort(values)
	return values[(n-1)/2] + (values[n/2]-values[(n-1)/2])/2
}

func (l line) at(x float64) float64 { return l.base + float64(l.slope*x) }

// times returns base and slope as lengths of time.
func (l line) times() (base, slope scheduler.Time) {
	return scheduler.Time(random.Round(l.base)), scheduler.Time(random.Round(l.slope))
}

// residuals returns the 5th and 95th percentile of the points' relative
// distance from the line.
func (l line) residuals(points []point) (p5, p95 float64) {
	var all []float64
	for _, p := range points {
		if at := l.at(p.x); at > 0 {
			all = append(all, p.y/at-1)
		}
	}
	if len(all) == 0 {
		return 0, 0
	}
	slices.Sort(all)
	pick := func(u float64) float64 { return math.Round(all[int(u*float64(len(all)-1)+.5)]*1e6) / 1e6 }
	return pick(.05), pick(.95)
}
