// Package nvml runs experiments on physical NVIDIA GPUs. It has the telemetry
// of a card behind a narrow interface of its own, the hardware World, which is
// scheduler.Inbox with the facts that telemetry adds, and the executor that
// only sleeps, for machines without a card.
//
//	nvml           Telemetry, Probe, World, Sleeper: pure Go, every OS
//	nvml/binding   telemetry over NVML; build tag nvml, a stub without it
//	nvml/cuda      executor on the CUDA driver; build tag nvml, a stub without it
//	nvml/worker    executor on a child process that speaks JSON Lines
//	nvml/httpx     executors on inference servers
//	nvml/profile   measured costs of a machine, as a file
//	nvml/calibrate what makes a profile from measurements
//	nvml/doctor    examines driver, devices and machine; the self-test
//	nvml/scratch   temporary folders that a kill leaves nothing of
//	nvml/pagecache what of a file is in the page cache, and putting it out
//	nvml/nvmltest  scripted cards and fake driver libraries, for tests
//
// Nothing here changes a card: telemetry only reads, executors only allocate,
// copy and compute, and what they took is given back and checked.
package nvml
