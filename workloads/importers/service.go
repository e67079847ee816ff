package importers

import (
	"fmt"
	"math/bits"
	"strings"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/workloads"
)

// Service says where service times come from.
type Service struct {
	// Exec takes the recorded execution time, which may include queueing and
	// loading.
	Exec bool
	// Otherwise, if any is positive, the time is Base plus In and Out for each
	// token in and out.
	Base, In, Out scheduler.Time
}

// ParseService reads "exec" or "base=50ms,in=0.2ms,out=20ms", of which parts
// may be left out.
func ParseService(s string) (Service, error) {
	if s == "exec" {
		return Service{Exec: true}, nil
	}
	var out Service
	parts := map[string]*scheduler.Time{"base": &out.Base, "in": &out.In, "out": &out.Out}
	for part := range strings.SplitSeq(s, ",") {
		name, value, _ := strings.Cut(part, "=")
		target := parts[name]
		if target == nil {
			return Service{}, &FormatError{fmt.Sprintf("service is %q; it must be exec or like base=50ms,in=0.2ms,out=20ms", s)}
		}
		delete(parts, name)
		t, err := scheduler.ParseTime(value)
		if err != nil {
			return Service{}, fmt.Errorf("service: %s: %w", name, err)
		}
		*target = t
	}
	return out, nil
}

// String returns the service as ParseService reads it, "" for none.
func (s Service) String() string {
	switch {
	case s.Exec:
		return "exec"
	case s == Service{}:
		return ""
	}
	return fmt.Sprintf("base=%v,in=%v,out=%v", s.Base, s.In, s.Out)
}

// of returns the service time of an item with so many tokens.
func (s Service) of(in, out int64) (scheduler.Time, bool) {
	if (s == Service{}) || s.Exec {
		return workloads.NoService, true
	}
	total := s.Base
	for _, p := range []struct {
		per scheduler.Time
		n   int64
	}{{s.In, in}, {s.Out, out}} {
		hi, lo := bits.Mul64(uint64(p.per), uint64(max(0, p.n)))
		if hi != 0 || lo >= uint64(scheduler.MaxTime) {
			return 0, false
		}
		sum, fits := scheduler.AddTime(total, scheduler.Time(lo))
		if !fits || sum == scheduler.MaxTime {
			return 0, false
		}
		total = sum
	}
	return total, true
}
