// Package metrics folds the events of a run into its figures: latencies,
// waits, switches, loads, ratios, memory.
//
// [New] returns a [Fold], a scheduler.Sink that may stand beside the log of a
// running simulation or be fed from a finished one: it reads events and the
// catalogue, nothing else, so that both give the same [Result]. [All] lists
// the metrics with unit and formula.
//
// # What counts
//
// The window lasts from the end of the warm-up to the end of arrivals. Items
// count when they arrive in it, however late they end. Batches, loads,
// evictions and switches count when they begin after the warm-up and before
// the last item ended: what a cache does after the drain is no part of the
// run, so that a horizon after the drain changes nothing. Ratios and the
// throughput are those of the window; where it has no length (everything
// arrives at once) they are those of the makespan. The memory metrics look at
// the whole run, the warm-up included.
//
// An item's wait lasts from when it became ready to the start of the batch
// that finished it, its service is that batch's duration, its latency lasts
// from arrival to finish. Items that did not end (the run was cut by a
// horizon) are not dropped: they enter with what they have taken so far, a
// lower bound, and Stat.Censored says how many are such. Items that failed,
// were rejected or cancelled are counted and have no latency.
//
// A job lasts from the arrival of its first item until none of its items is
// unfinished; items without a job are their own. Jobs of which an item did not
// finish have no latency.
//
// # Exactness
//
// Quantiles are order statistics: the q-quantile of n values is the ⌈q·n⌉-th
// smallest. They are exact up to [ExactItems] finished items; beyond that, or
// with Config.Sketch, values are counted in buckets whose width is at most
// 1/128 of their values, and a quantile is the middle of its bucket: the
// relative error is at most 1/256. Counts, means and maxima are exact always.
//
// # Bypass
//
// max_bypass is exact. Items are numbered in the order in which they become
// ready; a bit set per model and one of all models hold the numbers that still
// wait, with a count for every 4096 numbers. While batches of one model start
// and none of another in between, the set of items that could have overtaken
// its members stays the same, so that only the member with the lowest number
// matters: one query for each such stretch, not for each item. An item that
// returns to its queue after a failed batch waits again.
package metrics
