package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/vramsim/vramsim/nvml"
	"github.com/vramsim/vramsim/nvml/doctor"
	"github.com/vramsim/vramsim/nvml/httpx"
)

// serverCheck looks at the server of the flags and changes nothing there.
func serverCheck(f *httpFlags) (doctor.Check, error) {
	if err := f.read(); err != nil {
		return nil, err
	}
	return func(ctx context.Context, _ []nvml.DeviceInfo) []doctor.Finding {
		r, err := httpx.Check(ctx, f.config, nil)
		if err != nil {
			return []doctor.Finding{{Check: "server", Level: doctor.Fail, Cause: doctor.Missing, Found: err.Error(),
				Advice: "is it running, of that kind, and at that address? " + f.servers[0]}}
		}
		return serverFindings(&r)
	}, nil
}

func serverFindings(r *httpx.Report) []doctor.Finding {
	found := []doctor.Finding{{Check: "server", Level: doctor.OK,
		Found: fmt.Sprintf("%s, %s", r.Version, plural(len(r.Models), "model", "models"))}}
	if r.ObserveOnly {
		found = append(found, doctor.Finding{Check: "server control", Level: doctor.Warn, Found: fmt.Sprintf("%s moves models unasked", r.Kind),
			Advice: "runs are observe-only and recommend no policy; triton and vllm do as they are told"})
	}
	var resident []string
	for _, m := range r.Models {
		if m.Resident {
			resident = append(resident, m.Model)
		}
	}
	models := doctor.Finding{Check: "server models", Level: doctor.OK, Found: "none resident"}
	if resident = append(resident, r.Others...); len(resident) > 0 {
		models.Level, models.Found = doctor.Warn, strings.Join(resident, ", ")+" resident"
		models.Advice = "a run unloads those of its experiment; others hold memory that it does not know of"
	}
	return append(found, models)
}
