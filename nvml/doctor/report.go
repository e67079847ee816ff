package doctor

import (
	"time"

	"github.com/vramsim/vramsim/nvml"
	"github.com/vramsim/vramsim/scheduler"
)

// Schema names the JSON form of a Report.
const Schema = "vramsim/doctor/1"

// Level says how a finding is to be taken.
type Level string

// The levels.
const (
	OK   Level = "ok"
	Warn Level = "warn" // runs suffer, or a figure will be missing
	Fail Level = "fail" // what is needed is not there
)

// Cause says why something fails.
type Cause string

// The causes.
const (
	Missing Cause = "missing" // hardware, driver, library or build
	Busy    Cause = "busy"    // there, but not for us: used by others, or cut into instances
)

// Status sums a report up; the worst finding decides, Missing before Busy.
type Status string

// The statuses.
const (
	StatusOK      Status = "ok"
	StatusWarn    Status = "warn"
	StatusBusy    Status = "busy"
	StatusMissing Status = "missing"
)

// Finding is what one check found.
type Finding struct {
	Check  string `json:"check"`
	Device string `json:"device"` // UUID; empty for the machine
	Level  Level  `json:"level"`
	Cause  Cause  `json:"cause"` // of Fail; empty there means Missing
	Found  string `json:"found"`
	Advice string `json:"advice"` // what to do about it, unless it is OK
}

// Device is what was read of one device.
type Device struct {
	Info          nvml.DeviceInfo `json:"info"`
	Memory        nvml.Memory     `json:"memory"`
	Processes     []nvml.Process  `json:"processes"`
	Sample        nvml.Sample     `json:"sample"`
	Capabilities  nvml.Caps       `json:"capabilities"`
	LinkUnderLoad *nvml.Link      `json:"link_under_load"`
	ContextBytes  scheduler.Bytes `json:"context_bytes"`
}

// Step is one step of the self-test.
type Step struct {
	Name   string        `json:"step"`
	Device string        `json:"device"` // UUID
	Level  Level         `json:"level"`
	Cause  Cause         `json:"cause"`
	Found  string        `json:"found"`
	Advice string        `json:"advice"`
	Took   time.Duration `json:"took_ns"`
}

// Report is everything that was found.
type Report struct {
	Schema   string    `json:"schema"`
	Status   Status    `json:"status"`
	Reasons  []string  `json:"reasons"`
	Needs    Needs     `json:"needs"`
	Findings []Finding `json:"findings"`
	Devices  []Device  `json:"devices"`
	SelfTest []Step    `json:"selftest"`
}

// conclude derives status and reasons from what was found.
func (r *Report) conclude() {
	r.Status, r.Reasons = StatusOK, []string{}
	for _, f := range r.Findings {
		r.count(f.Check, f.Level, f.Cause, f.Found)
	}
	for _, s := range r.SelfTest {
		r.count("self-test "+s.Name, s.Level, s.Cause, s.Found)
	}
}

// count makes the status no better than one finding; what does not fail is no
// reason.
func (r *Report) count(what string, level Level, cause Cause, found string) {
	status := StatusOK
	switch {
	case level == Fail && cause == Busy:
		status = StatusBusy
	case level == Fail:
		status = StatusMissing
	case level == Warn:
		status = StatusWarn
	}
	if level == Fail {
		r.Reasons = append(r.Reasons, what+": "+found)
	}
	rank := map[Status]int{StatusOK: 0, StatusWarn: 1, StatusBusy: 2, StatusMissing: 3}
	if rank[status] > rank[r.Status] {
		r.Status = status
	}
}
