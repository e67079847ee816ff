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

// workerCheck starts a worker, reads what it says of itself and ends it.
func workerCheck(command string) (doctor.Check, error) {
	words, err := worker.SplitCommand(command)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, _ []nvml.DeviceInfo) []doctor.Finding {
		r, err := worker.Check(ctx, worker.Config{Command: words, Environ: os.Environ()})
		if err != nil {
			return []doctor.Finding{{Check: "worker", Level: doctor.Fail, Cause: doctor.Missing, Found: err.Error(),
				Advice: "run the command by hand: it has to say hello on standard output; what it lacks (Python, torch) it says on standard error"}}
		}
		return workerFindings(&r)
	}, nil
}

func workerFindings(r *worker.Report) []doctor.Finding {
	h := &r.Hello
	found := []doctor.Finding{{Check: "worker", Level: doctor.OK,
		Found: fmt.Sprintf("%s %s, started in %v, %s", h.Worker, h.Version, r.Spawned.Round(10*time.Millisecond), plural(len(h.Models), "model", "models"))}}
	device := doctor.Finding{Check: "worker device", Level: doctor.OK, Found: fmt.Sprintf("%s %s", h.GPU.Name, h.GPU.UUID)}
	if h.GPU.UUID == "" {
		device.Level, device.Found = doctor.Warn, "none: it computes on "+unlessEmpty(h.GPU.Name, "something else")
		device.Advice = "its figures are none of a card; a torch built for CUDA and a driver are needed"
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
