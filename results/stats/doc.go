// Package stats is the arithmetic behind every interval and verdict that is
// printed: Student's t, intervals for means and quantiles, paired and
// unpaired comparisons, the correction for looking at many policies at once,
// and two checks of a single long series (MSER-5 and batch means).
//
// Nothing here feeds a simulation: the functions take finished measurements
// and use ordinary floating point. Inputs are never changed and never kept.
package stats
