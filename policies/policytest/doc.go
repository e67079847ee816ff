// Package policytest tests a scheduling policy by its properties: random
// worlds are run under it, with every invariant of package scheduler, both
// replays and the contracts that it declares (policies.Contracts), and what
// breaks one is made as small as it gets. It is what `vramsim check --policy`
// runs; Test is the same within `go test`.
//
// # What is tested
//
// In hostile worlds, with failures, outages, memory held by others and
// cancellations: the numbered invariants after each step, the replays, that no
// wake-up is lost, that everything ends, that asking changes nothing. In fair
// ones, without faults and with one priority: the declared contracts, and that
// evictions are needed, come after a batch, and beat no bound.
//
// Then relations between two runs: all times and the policy's own multiplied,
// everything later, other names, a model more that nobody uses, fewer arrivals
// at the end; and worlds in which the answer is known.
//
// Last an adversary looks for the small world in which the policy looks worst:
// the most overtaken item, loads against policies.Optimum, latencies against
// their bound.
//
// A property that a policy does not declare need not hold. The report says
// then whether a world was found in which it does not. What holds of no policy
// is not asserted: that more memory, fewer items, more devices, larger batches,
// faster loads or better estimates make anything better (Graham's and Belady's
// anomalies).
//
// # Reading the source
//
// world.go is a machine in virtual time, draw.go makes random ones and
// shrink.go smaller ones; run.go drives one. contract.go holds a log to every
// contract at once, relations.go compares two runs, bounds.go a run with what is
// possible; adversary.go climbs. check.go puts the properties into families
// that share their worlds, and their jobs into a report.
package policytest
