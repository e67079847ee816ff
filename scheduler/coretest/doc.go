// Package coretest is test support: it drives a scheduler.Core and a naive
// model of it through the same random worlds, under any policy, and compares
// all that can be seen. Only tests import it.
//
// The model (model.go) is a second implementation of the core, written from the
// design with maps, slices and sums recomputed from scratch; compare.go holds
// what a view shows against it, invariants.go the numbered invariants that it
// has to keep, world.go makes the facts and run.go puts them together. Random
// choices are drawn by rapid, so that what fails is made small.
package coretest
