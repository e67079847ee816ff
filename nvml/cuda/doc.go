// Package cuda is the executor on the CUDA driver: real allocations, real
// copies and real running out of memory under synthetic computation. A model is
// as many bytes as it declares, a batch is its batch memory and as much
// computation as is expected of it.
//
// # Builds
//
// The driver's library is opened at run time, so nothing links against it and a
// machine without one gets an error, never a process that does not start. Only
// builds with cgo and the tag nvml on Linux have the executor:
//
//	go build -tags nvml -ldflags='-extldflags=-Wl,-z,lazy' ./cmd/vramsim
//
// In all others Open and Check return an *UnavailableError, which wraps
// nvml.ErrUnavailable and names that build.
//
// # Threads
//
// A context is current on threads, not in goroutines: each command keeps a
// locked OS thread with the context current from its start to its end. What
// blocks in the driver (cuMemFree may wait for kernels) therefore holds up that
// command alone.
//
// # Contents
//
// All weights are prefixes of one stream of words that the plan's seed gives
// (word, the same as kernel fill_u32 writes). Each model has a file of its own,
// so that the page cache tells them apart; pinned memory holds the stream once,
// as long as the longest model of the host tier. The first load of a model is
// summed on the device and compared with the stream, so what is resident is what
// the host has.
//
// # Losses
//
// An error that sticks to the context, or a stream that does not complete in
// time, loses the context: everything in flight fails, the context is given up
// and Restart makes another one.
//
// # To be measured
//
// No card has run this yet. In particular: whether drivers give a primary context
// back after each sticky error within the process, the quantum of %globaltimer,
// how long cuMemFree waits for kernels of other streams, how much memory can be
// pinned, and what rates the kernels reach.
package cuda
