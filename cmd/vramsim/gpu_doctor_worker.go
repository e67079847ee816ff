package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/vramsim/vramsim/nvml"
	"github.com/vramsim/vramsim/nvml/doctor"
	"github.com/vramsim/vramsim/nvml/worker"
)

// workerCheck starts a worker, reads what it says of itself and ends it. If a card
// is free it is shown the first one, as a run would, and has to compute there.
func workerCheck(command string) (doctor.Check, error) {
	words, err := worker.SplitCommand(command)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, free []nvml.DeviceInfo) []doctor.Finding {
		cfg := worker.Config{Command: words, Environ: os.Environ()}
		if len(free) > 0 {
			cfg.Environ = append(cfg.Environ, "CUDA_VISIBLE_DEVICES="+free[0].UUID)
		}
		r, err := worker.Check(ctx, cfg)
		if err != nil {
			return []doctor.Finding{{Check: "worker", Level: doctor.Fail, Cause: doctor.Missing, Found: err.Error(),
				Advice: "run the command by hand: it has to say hello on standard output; what it lacks (Python, torch) it says on standard error"}}
		}
		return workerFindings(&r, free)
	}, nil
}

func workerFindings(r *worker.Report, free []nvml.DeviceInfo) []doctor.Finding {
	h := &r.Hello
	found := []doctor.Finding{{Check: "worker", Level: doctor.OK,
		Found: fmt.Sprintf("%s %s, started in %v, %s", h.Worker, h.Version, r.Spawned.Round(10*time.Millisecond), plural(len(h.Models), "model", "models"))}}
	device := doctor.Finding{Check: "worker device", Level: doctor.OK, Found: fmt.Sprintf("%s %s", h.GPU.Name, h.GPU.UUID)}
	switch {
	case h.GPU.UUID == "":
		device.Level, device.Found = doctor.Warn, "none: it computes on "+unlessEmpty(h.GPU.Name, "something else")
		device.Advice = "its figures are none of a card; a torch built for CUDA and a driver are needed"
	case len(free) > 0 && h.GPU.UUID != free[0].UUID:
		device.Level, device.Cause = doctor.Fail, doctor.Missing
		device.Found = fmt.Sprintf("it computes on %s, where CUDA_VISIBLE_DEVICES shows it %s (GPU %d)", h.GPU.UUID, free[0].UUID, free[0].Index)
		device.Advice = "runs refuse a worker on another device than the one they measure: it has to use the device that the variable names, and to tell that one's UUID"
	case len(free) > 0:
		device.Found += fmt.Sprintf(", which is GPU %d", free[0].Index)
	}
	var versions []string
	for _, name := range slices.Sorted(maps.Keys(h.Versions)) {
		versions = append(versions, name+" "+h.Versions[name])
	}
	libraries := doctor.Finding{Check: "worker libraries", Level: doctor.OK, Found: strings.Join(versions, ", ")}
	if versions == nil {
		libraries.Level, libraries.Found, libraries.Advice = doctor.Warn, "it does not tell their versions", "runs of it cannot be compared with later ones"
	}
	return append(found, device, libraries)
}

func unlessEmpty(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
