// Package summary turns the results of single runs into summary.json and its
// plainer twins results.csv and bench.txt.
//
// A run of an experiment has cells (points of its sweep), a cell has policies
// and a policy replicates. [Build] averages the replicates, gives every figure
// its 95 % Student interval, and compares each policy with the baseline of
// its cell pair by pair, because both saw the same random numbers. [Compare]
// does the same across finished runs.
//
// A verdict comes from the two-sided t test at 5 %, its p value corrected
// (Holm) for the policies of the cell. Where it finds nothing, the policy is
// indistinguishable if the 95 % interval of the difference lies within
// [Margin] of the baseline, and otherwise underpowered: more replicates are
// needed to tell. A difference that does not vary needs no test.
//
// Everything is a pure function of its arguments; the order of keys and of
// rows is fixed.
package summary
