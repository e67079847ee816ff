// Package workloads says what arrives: generated streams and pipelines, and
// recorded traces.
//
// A generator is a scheduler.Source made by New from a Config. Its random
// numbers are keyed by seed, replicate, entity and purpose and drawn by job
// ordinal, so that two policies see the same workload and changing one setting
// does not reshuffle what another one draws. A closed loop reacts to what
// happens and is also a scheduler.Reactive.
//
// A native trace (JSON Lines, one item a line) is checked by Open, which reads
// it once without keeping it, and then run any number of times by
// Trace.Source. Writer writes one. Package importers turns foreign formats
// into native traces, package tracestats describes what they are like.
package workloads
