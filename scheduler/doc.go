// Package scheduler is the core of vramsim: a deterministic state machine that
// decides which model's work runs on which GPU, what is loaded and who leaves.
// It has no clock, goroutines, input or output; a World feeds it facts and
// carries out its effects, simulated or on real hardware, and the same package
// is what a production service embeds (Live, VRAMSemaphore).
//
// # Reading the source
//
// event.go is the vocabulary of the log; policy.go what a policy may decide and
// view.go what it may know; world.go the seam to simulation and hardware with
// Drive, the only loop; core.go (Step) decides, apply.go (Apply) changes state;
// items.go and queue.go hold what is in flight; check.go verifies; replay.go
// proves a log. Folder coretest holds a second, naive core for tests.
//
// # Invariants
//
// They hold after every event; Core.Check verifies those about state, both
// replays those about the log.
//
//  1. conservation: arrived = blocked + ready + running + done + failed + rejected + cancelled
//  2. budget: Σ reserved ≤ budget on every device, loading and evicting included
//  3. time never goes back
//  4. an item starts only after all its dependencies finished
//  5. at most Slots batches per device, one load per link
//  6. only resident models run; busy, loading and held models are never evicted
//  7. an item runs once, or its retries are counted
//  8. first in, first out within model and priority, or by the declared key
//  9. no lost wake-up: work that could run, an idle device and no timer never coexist, unless the policy declared that it waits
//  10. log ⇔ state: both replays agree
//  11. same inputs, same bytes
//  12. N requests for one cold model cause one load
package scheduler
