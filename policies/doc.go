// Package policies holds the scheduling policies that come with vramsim, and
// the axes from which a policy is composed: which model next (a Selector), how
// long to stay (a Visit), how many items at once (a Batcher), who leaves (an
// evictor), what to load ahead (a Prefetcher), on which device (a Placer), what
// to refuse (an Admitter) and the order inside a queue.
//
// Builtin returns the catalogue, Set.New turns a Spec, as an experiment spells
// it, into a policy. A policy of one's own is an Entry added to the Set: a
// whole scheduler.Policy, or one axis with the rest composed.
//
// # Reading the source
//
// catalogue.go lists everything there is, presets.go the compositions with names
// of their own. composed.go is the decision block that all composed policies
// share and fold.go the state it observes; a file each holds the values of an
// axis, selectors with a state of their own being in fair.go, llmux.go and
// qlm.go; seed.go, semaphore.go, symphony.go, clockwork.go and nexus.go are the
// policies that decide for themselves.
//
// # Contracts
//
// A built policy declares what holds for it (Contracts); the declaration
// depends on the whole composition and the hardware. Package policytest holds
// any policy to it. All policies are deterministic and pure: the same view and
// the same observed events give the same decision, so that a log can be
// replayed. Ties go to the lowest model id, then to the oldest item. There is no
// floating point but in semaphore, whose rule is made of it, and in what is
// computed of runs from outside, the bounds.
package policies
