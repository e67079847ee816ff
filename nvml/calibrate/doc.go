// Package calibrate turns measured durations into the costs of a profile.
//
//	statistics.go    what fits are judged by
//	fit.go           empirical summaries, and when they are used
//	lognormal.go     one lognormal, and mixtures by expectation maximisation
//	line.go          the line through load times of several sizes, by Theil and Sen
//	observations.go  what was measured of a model, and the costs made of it
//	collector.go     observations from the events of runs
//	measure.go       observations from a device: what is repeated, and until when
//	session.go       one command after the other on an executor
//	energy.go        windows of an energy counter, and what used the energy
//
// What makes a difference to the profile is computed with scheduler/random's
// logarithm and exponential and without fused products, so that equal samples
// give equal profiles on every machine.
package calibrate
