// Package calibrate turns measured durations into the costs of a profile.
//
//	statistics.go  what fits are judged by
//	fit.go         empirical summaries, and when they are used
//	lognormal.go   one lognormal, and mixtures by expectation maximisation
//
// What makes a difference to the profile is computed with scheduler/random's
// logarithm and exponential and without fused products, so that equal samples
// give equal profiles on every machine.
package calibrate
