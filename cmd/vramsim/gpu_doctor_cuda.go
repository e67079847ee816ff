package main

import (
	"context"
	"fmt"
	"time"

	"github.com/vramsim/vramsim/nvml"
	"github.com/vramsim/vramsim/nvml/cuda"
	"github.com/vramsim/vramsim/nvml/doctor"
	"github.com/vramsim/vramsim/scheduler"
)

// cudaNeeds is the pinned memory that loads go through: four slots.
const cudaNeeds = 4 * cuda.DefaultSlot

// cudaPatience is how long a device may take for all that cudaCheck does there:
// contexts and compilation take seconds.
const cudaPatience = time.Minute

// cudaCheck tries the CUDA driver on each device that is free, and how much
// memory can be pinned, up to a limit.
func cudaCheck(pin scheduler.Bytes) doctor.Check {
	return func(ctx context.Context, free []nvml.DeviceInfo) (found []doctor.Finding) {
		for _, d := range free {
			trying, cancel := context.WithTimeout(ctx, cudaPatience)
			r, err := cuda.Check(trying, cuda.Config{UUID: d.UUID, PinLimit: pin})
			cancel()
			if err != nil {
				found = append(found, doctor.Finding{Check: "CUDA", Device: d.UUID, Level: doctor.Fail, Cause: doctor.Missing, Found: err.Error(),
					Advice: "the CUDA driver (libcuda.so.1) has to be that of the NVIDIA driver, and the device must not be held exclusively by another process"})
				continue
			}
			found = append(found, cudaFindings(&r, d.UUID)...)
		}
		return found
	}
}

func cudaFindings(r *cuda.Report, uuid string) []doctor.Finding {
	pinned := doctor.Finding{Check: "pinned memory", Device: uuid, Level: doctor.OK, Found: fmt.Sprintf("%v could be pinned at once, in %v", r.Pinned, rounded(r.PinTime))}
	if r.Pinned < cudaNeeds {
		pinned.Level, pinned.Advice = doctor.Warn, fmt.Sprintf("loads need %v: give this process or container more memory", scheduler.Bytes(cudaNeeds))
	}
	return []doctor.Finding{
		{Check: "CUDA", Device: uuid, Level: doctor.OK, Found: fmt.Sprintf("a context is made in %v", rounded(r.Context))},
		{Check: "CUDA kernels", Device: uuid, Level: doctor.OK, Found: fmt.Sprintf("compiled for %s in %v; an empty launch takes %v", r.Target, rounded(r.JIT), rounded(r.Launch))},
		pinned,
	}
}

// rounded keeps about three figures.
func rounded(d time.Duration) time.Duration {
	for _, unit := range []time.Duration{time.Second, time.Millisecond, time.Microsecond} {
		if d >= unit {
			return d.Round(unit / 100)
		}
	}
	return d
}
