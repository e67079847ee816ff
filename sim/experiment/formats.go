package experiment

import (
	"fmt"

	"github.com/vramsim/vramsim/workloads"
)

func traceFormats() []string { return []string{"native"} }

func formatKeys() []key { return nil }

func (d *decoder) importTrace(f *fields, shown, path, format string, opt workloads.TraceOptions) (*workloads.Trace, error) {
	return nil, fmt.Errorf("format %s", format)
}
