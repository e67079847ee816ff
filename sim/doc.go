// Package sim is the simulated World: it carries out a core's effects in
// virtual time. Loads, evictions and batches take what the cost model says;
// what varies is drawn by key (seed, replicate, what, which), so that two
// policies meet the same luck wherever they do the same thing.
package sim
