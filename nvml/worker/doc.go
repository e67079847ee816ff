// Package worker is the executor on a child process that speaks JSON Lines: a
// framework in a process of its own, whose crashes, hangs and leaks end with
// it. PROTOCOL.md beside this file is what the two say to each other, for
// those who write a worker; torch/worker.py is the reference, Script returns
// it; package fakeworker is one without a device.
//
// A worker is trusted with nothing: its lines are bounded and read strictly,
// every request has a time limit, a worker that is silent for ten seconds, says
// what it may not, or loses its context is ended with its whole process group,
// and what was in flight fails with scheduler.FailureLost. Durations that it
// tells are side data, checked against the clock of this process. It gets an
// allow-list of the environment.
//
// On Linux nothing outlives this process, however it ends: standard input
// closes and the kernel kills the child. Other Unix systems have process groups
// but no such kill, so a worker that does not read its input survives a kill
// -9 of this process; on Windows only the worker itself is ended, not what it
// started.
package worker
