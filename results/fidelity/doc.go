// Package fidelity says how far a simulation and a physical card differ: the
// arithmetic of vramsim fidelity, a fold over the logs of two runs of one
// experiment. [Compute] takes a [Run] of each replicate of each policy in each
// cell, on both sides, and what closure and the ablation found, and returns a
// [Result], which is also the file fidelity.json (schema vramsim/fidelity/1).
//
// # What is compared
//
// A run is compared with runs whose arrivals were the same: Run.Workload
// agrees. Where all replicates replay one recorded trace, that is all of them;
// where arrivals are drawn, each replicate of the card meets the one of its
// number. A prediction is the mean over the simulated runs of a workload, a
// measurement that over the card's, and figures are means over the workloads
// that both have. Errors are relative to what was measured and signed: +2 % says
// that the simulation promised 2 % more. Where nothing was measured (0
// switches) a prediction of 0 has error 0 and any other has none.
//
// # Noise
//
// Beside each error stands its noise floor: the mean of the absolute error that
// one run of the card makes when the mean of the others of its workload
// predicts it. It needs two. An error below its floor says nothing.
//
// # Coverage
//
// Of at least 19 simulated runs of a workload, the 90 % interval of an item's
// latency runs from the 5 % to the 95 % quantile (at positions p·(n+1), so that
// one more run of the same kind falls inside with probability 0.9). Coverage is
// the share of measured latencies inside; for figures likewise.
//
// # Left out
//
// Runs of a throttled or shared card, or INVALID for another reason, are left
// out of every figure and named with the reason, never dropped.
package fidelity
