package random

// CosTurns returns the cosine of x turns, cos 2πx, for x in [0, 1), with the
// same bits everywhere and an absolute error below 1e-14.
func CosTurns(x float64) float64 {
	// Fold to a quarter turn, where the Taylor series converges quickly.
	if x > 0.5 {
		x = 1 - x
	}
	sign := 1.0
	if x > 0.25 {
		x, sign = 0.5-x, -1
	}
	const tau = 6.28318530717958647693
	square := float64(float64(x*tau) * float64(x*tau))
	sum := 0.0
	for k := 24.0; k >= 2; k -= 2 {
		sum = -float64(square*(1+sum)) / float64(k*(k-1))
	}
	return float64(sign * (1 + sum))
}
