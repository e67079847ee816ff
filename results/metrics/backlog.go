package metrics

import (
	"math"

	"github.com/vramsim/vramsim/scheduler"
)

const backlogPoints = 1024

// backlog samples the number of unfinished items at equal steps of time, which
// double when there are too many points.
type backlog struct {
	points []int64 // at 0, step, 2·step, ...
	step   scheduler.Time
	next   scheduler.Time
}

func (b *backlog) init() {
	b.points = make([]int64, 0, backlogPoints)
	b.step = 1
}

// sample records n for the points before now.
func (b *backlog) sample(now scheduler.Time, n int64) {
	for b.next < now {
		b.points = append(b.points, n)
		if len(b.points) == backlogPoints {
			for i := range b.points[:backlogPoints/2] {
				b.points[i] = b.points[2*i]
			}
			b.points = b.points[:backlogPoints/2]
			b.step *= 2
		}
		if b.next > scheduler.MaxTime-b.step {
			b.next = scheduler.MaxTime
			return
		}
		b.next = scheduler.Time(len(b.points)) * b.step
	}
}

// growth of the backlog over a stretch of time.
type growth struct {
	slope  float64 // items per second, least squares
	rise   float64 // slope times length, items
	t      float64 // rise in standard deviations of a random walk with the same steps
	points int
}

// between fits a line to the points from one time to another.
func (b *backlog) between(from, to scheduler.Time) growth {
	first := int((from + b.step - 1) / b.step)
	last := min(int(to/b.step), len(b.points)-1)
	n := last - first + 1
	if n < 3 {
		return growth{}
	}
	points := b.points[first : last+1]
	mean := 0.0
	for _, p := range points {
		mean += float64(p) / float64(n)
	}
	var covariance, variance, steps float64
	for i, p := range points {
		x := float64(i) - float64(n-1)/2
		covariance += x * (float64(p) - mean)
		variance += x * x
		if i > 0 {
			d := float64(p - points[i-1])
			steps += d * d
		}
	}
	g := growth{points: n}
	perStep := covariance / variance
	g.slope = perStep / b.step.Seconds()
	g.rise = perStep * float64(n-1)
	// The fitted rise of a driftless random walk has 6/5 of the variance of
	// the walk's own end.
	if g.rise > 0 {
		g.t = g.rise / math.Sqrt(1.2*steps)
	}
	return g
}

// Rules of instability: the backlog rises in the last half of the window, by a
// number of items that amounts to something, and the rises of the half and of
// the whole together are more than a walk without drift shows once in a
// thousand.
const (
	halfLimit    = 1.0
	jointLimit   = 5.5 // of two correlated normal variables
	growthItems  = 5.0
	growthPoints = 16
)

// unstable says whether the backlog still grows in the last half of the
// window, and how fast.
func (b *backlog) unstable(from, to scheduler.Time) (slope float64, grows bool) {
	half, whole := b.between(from+(to-from)/2, to), b.between(from, to)
	grows = half.points >= growthPoints && half.rise >= growthItems && half.t > halfLimit && half.t+whole.t > jointLimit
	return half.slope, grows
}
