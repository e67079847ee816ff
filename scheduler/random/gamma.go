package random

import "math"

// gamma has the given shape; a variate of scale 1 is multiplied by scale.
type gamma struct {
	shape, scale, mean float64
	logGamma           float64
	nearly             bool // so narrow that Wilson and Hilferty's approximation is exact enough
}

// Gamma returns the gamma distribution with the given mean and coefficient of
// variation: shape 1/cv², scale mean·cv². A cv of 1 is exponential, 0 constant.
func Gamma(mean, cv float64) (Dist, error) {
	if err := firstError(positive("gamma", "mean", mean), nonNegative("gamma", "cv", cv)); err != nil {
		return nil, err
	}
	switch {
	case cv == 0:
		return Constant(mean), nil
	case cv == 1:
		return exponential(mean), nil
	case cv > 1000:
		return nil, &ParameterError{"gamma", "cv", cv, "at most 1000"}
	}
	squared := float64(cv * cv)
	shape := 1 / squared
	return gamma{shape, mean * squared, mean, logGamma(shape), shape > 1e6}, nil
}

func (d gamma) Mean() float64 { return d.mean }

// Quantile solves P(shape, x) = u for y = ln x by Newton's method. Both ln P
// and ln Q are concave in y, so that the iteration converges from any side
// after at most one overshoot; of the two the one is used whose value is small.
func (d gamma) Quantile(u float64) float64 {
	y := d.start(u)
	if d.nearly {
		return d.scale * Exp(y)
	}
	const settled, tooSmall = 1e-14, -700
	target := Log(u)
	upper := u > 0.5
	if upper {
		target = Log(1 - u)
	}
	for range 100 {
		if y < tooSmall {
			return 0
		}
		p, q, density := gammaTail(d.shape, Exp(y), d.logGamma)
		step := 0.0
		if upper {
			step = (Log(q) - target) * q / density
		} else {
			step = (target - Log(p)) * p / density
		}
		if step != step {
			break
		}
		step = max(-3, min(step, 3))
		y += step
		if math.Abs(step) <= settled*max(1, math.Abs(y)) {
			break
		}
	}
	return d.scale * Exp(y)
}

// start returns a first guess of ln x: Wilson and Hilferty's cube, or the power
// law that the distribution function follows near 0, which is never too large.
func (d gamma) start(u float64) float64 {
	low := (Log(u) + d.logGamma + Log(d.shape)) / d.shape
	if d.shape < 0.5 && low < -1 {
		return low
	}
	z, ninth := normalQuantile(u), 1/float64(9*d.shape)
	root := 1 - ninth + float64(z*math.Sqrt(ninth))
	if root < 0.1 {
		return low
	}
	return Log(d.shape) + 3*Log(root)
}
