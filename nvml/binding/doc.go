// Package binding reads NVIDIA GPUs over NVML. It is the only importer of
// github.com/NVIDIA/go-nvml, and only with the build tag nvml on Linux with
// cgo; other builds have a stub of the same name that says what is missing.
//
//	go build -tags nvml -ldflags='-extldflags=-Wl,-z,lazy' ./cmd/vramsim
//
// The flag matters. go-nvml leaves NVML's functions unresolved in the binary;
// where the linker makes it bind them before main (-z now, a default of some
// distributions, or LD_BIND_NOW=1 in the environment), the process ends with
// exit code 127 before it has begun. For the same reason a call before Init
// has succeeded, or of a function that the driver lacks, would end it: each
// call here asks a table first that was filled by looking the symbols up. The
// table holds nothing that sets, resets, locks or clears.
package binding
