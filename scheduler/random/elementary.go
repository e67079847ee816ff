package random

import "math"

const (
	ln2Hi = 6.93147180369123816490e-01
	ln2Lo = 1.90821492927058770002e-10
	log2e = 1.44269504088896338700e+00
)

// Log returns the natural logarithm of x with the same bits everywhere, to
// within one unit in the last place. The special cases are those of math.Log.
// Method: fdlibm's e_log.c.
func Log(x float64) float64 {
	const least, infinite = 1 << 52, 0x7ff << 52 // bits of the least normal number and of +Inf
	shift := int64(0)
	bits := math.Float64bits(x)
	if bits-least >= infinite-least { // not normal and positive
		switch {
		case x != x || x > math.MaxFloat64:
			return x
		case x < 0:
			return math.NaN()
		case x == 0:
			return math.Inf(-1)
		}
		bits = math.Float64bits(x * 0x1p54)
		shift = 54
	}
	// x = 2^k · (1+f) with √2/2 < 1+f <= √2.
	const sqrtHalf = 0x3fe6a09e667f3bcd
	exponent := int64(bits-sqrtHalf) >> 52
	f := math.Float64frombits(bits-uint64(exponent)<<52) - 1
	k := float64(exponent - shift)

	const (
		l1 = 6.666666666666735130e-01
		l2 = 3.999999999940941908e-01
		l3 = 2.857142874366239149e-01
		l4 = 2.222219843214978396e-01
		l5 = 1.818357216161805012e-01
		l6 = 1.531383769920937332e-01
		l7 = 1.479819860511658591e-01
	)
	s := f / (2 + f)
	s2 := float64(s * s)
	s4 := float64(s2 * s2)
	t1 := float64(s2 * (l1 + float64(s4*(l3+float64(s4*(l5+float64(s4*l7)))))))
	t2 := float64(s4 * (l2 + float64(s4*(l4+float64(s4*l6)))))
	halfSquare := float64(float64(0.5*f) * f)
	return float64(k*ln2Hi) - ((halfSquare - (float64(s*(halfSquare+(t1+t2))) + float64(k*ln2Lo))) - f)
}

// Exp returns e to the x with the same bits everywhere, to within one unit in
// the last place. The special cases are those of math.Exp. Method: fdlibm's
// e_exp.c.
func Exp(x float64) float64 {
	const (
		overflow  = 7.09782712893383973096e+02
		underflow = -7.45133219101941108420e+02
		p1        = 1.66666666666666657415e-01
		p2        = -2.77777777770155933842e-03
		p3        = 6.61375632143793436117e-05
		p4        = -1.65339022054652515390e-06
		p5        = 4.13813679705723846039e-08
	)
	switch {
	case x != x || x > math.MaxFloat64:
		return x
	case x > overflow:
		return math.Inf(1)
	case x < underflow:
		return 0
	}
	k := math.RoundToEven(float64(x * log2e))
	hi := x - float64(k*ln2Hi)
	lo := float64(k * ln2Lo)
	r := hi - lo
	t := float64(r * r)
	c := r - float64(t*(p1+float64(t*(p2+float64(t*(p3+float64(t*(p4+float64(t*p5)))))))))
	y := 1 - ((lo - float64(r*c)/(2-c)) - hi)
	return math.Ldexp(y, int(k))
}

// pow returns x^y for x >= 0.
func pow(x, y float64) float64 {
	switch y {
	case 1:
		return x
	case 0.5:
		return math.Sqrt(x)
	case 2:
		return x * x
	}
	return Exp(float64(y * Log(x)))
}

// logGamma returns ln Γ(x) for x > 0: Stirling's series after shifting x above 12.
func logGamma(x float64) float64 {
	shift := 1.0
	for x < 12 {
		shift *= x
		x++
	}
	const halfLog2Pi = 0.91893853320467274178
	z := 1 / float64(x*x)
	series := 1.0/12 + float64(z*(-1.0/360+float64(z*(1.0/1260+float64(z*(-1.0/1680+float64(z*(1.0/1188+
		float64(z*(-691.0/360360+float64(z*(1.0/156)))))))))))) // Bernoulli numbers
	return float64((x-0.5)*Log(x)) - x + halfLog2Pi + series/x - Log(shift)
}

// gammaTail returns the regularised incomplete gamma functions P(a, x) and
// Q(a, x) = 1-P, and the density x^a·e^-x/Γ(a) of ln X; logGammaA is ln Γ(a).
// Series and continued fraction as in Numerical Recipes, 6.2.
func gammaTail(a, x, logGammaA float64) (p, q, density float64) {
	const tiny, enough = 1e-300, 1e-16
	density = Exp(float64(a*Log(x)) - x - logGammaA)
	if x < a+1 {
		term, sum := 1/a, 1/a
		for n := 1.0; n < 1e5; n++ {
			term *= x / (a + n)
			sum += term
			if term < float64(sum*enough) {
				break
			}
		}
		p = min(1, float64(density*sum))
		return p, 1 - p, density
	}
	b := x + 1 - a
	c, d := 1/tiny, 1/b
	h := d
	for n := 1.0; n < 1e5; n++ {
		an := float64(n * (a - n))
		b += 2
		d = float64(an*d) + b
		if math.Abs(d) < tiny {
			d = tiny
		}
		c = b + an/c
		if math.Abs(c) < tiny {
			c = tiny
		}
		d = 1 / d
		step := float64(d * c)
		h *= step
		if math.Abs(step-1) < enough*4 {
			break
		}
	}
	q = min(1, float64(density*h))
	return 1 - q, q, density
}

// normalQuantile is the inverse of the standard normal distribution function:
// Wichura, algorithm AS 241 (PPND16), relative accuracy about 1e-16.
func normalQuantile(u float64) float64 {
	q := u - 0.5
	if math.Abs(q) <= 0.425 {
		r := 0.180625 - float64(q*q)
		return float64(q*horner(r, &centreNum)) / horner(r, &centreDen)
	}
	r := u
	if q > 0 {
		r = 1 - u
	}
	r = math.Sqrt(-Log(r))
	var z float64
	if r <= 5 {
		r -= 1.6
		z = horner(r, &middleNum) / horner(r, &middleDen)
	} else {
		r -= 5
		z = horner(r, &tailNum) / horner(r, &tailDen)
	}
	if q < 0 {
		return -z
	}
	return z
}

// NormalTail returns the probability that a standard normal variate exceeds z.
func NormalTail(z float64) float64 {
	const logSqrtPi = 0.57236494292470008707
	if z == 0 {
		return 0.5
	}
	p, q, _ := gammaTail(0.5, z*z/2, logSqrtPi)
	if z > 0 {
		return q / 2
	}
	return 0.5 + p/2
}

func horner(x float64, c *[8]float64) float64 {
	y := c[7]
	for i := 6; i >= 0; i-- {
		y = float64(y*x) + c[i]
	}
	return y
}

var (
	centreNum = [8]float64{3.3871328727963666080, 1.3314166789178437745e+2, 1.9715909503065514427e+3, 1.3731693765509461125e+4,
		4.5921953931549871457e+4, 6.7265770927008700853e+4, 3.3430575583588128105e+4, 2.5090809287301226727e+3}
	centreDen = [8]float64{1, 4.2313330701600911252e+1, 6.8718700749205790830e+2, 5.3941960214247511077e+3,
		2.1213794301586595867e+4, 3.9307895800092710610e+4, 2.8729085735721942674e+4, 5.2264952788528545610e+3}
	middleNum = [8]float64{1.42343711074968357734, 4.63033784615654529590, 5.76949722146069140550, 3.64784832476320460504,
		1.27045825245236838258, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4}
	middleDen = [8]float64{1, 2.05319162663775882187, 1.67638483018380384940, 6.89767334985100004550e-1,
		1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9}
	tailNum = [8]float64{6.65790464350110377720, 5.46378491116411436990, 1.78482653991729133580, 2.96560571828504891230e-1,
		2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7}
	tailDen = [8]float64{1, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
		7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15}
)
