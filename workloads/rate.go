package workloads

import (
	"strconv"
	"strings"

	"github.com/vramsim/vramsim/scheduler"
)

// Rate is a number of arrivals per length of time, as "40/h" is 40 per hour.
type Rate struct {
	Count float64
	Per   scheduler.Time
}

// ParseRate reads a non-negative decimal number per second, minute or hour:
// "0.5/s", "30/m", "40/h".
func ParseRate(s string) (Rate, error) {
	number, unit, _ := strings.Cut(s, "/")
	per, known := map[string]scheduler.Time{"s": scheduler.Second, "m": scheduler.Minute, "h": scheduler.Hour}[unit]
	count, err := strconv.ParseFloat(number, 64)
	if !known || err != nil || strings.Trim(number, "0123456789.") != "" {
		return Rate{}, &scheduler.UnitError{Text: s, Want: "a rate with its unit (/s, /m, /h), like 40/h"}
	}
	return Rate{Count: count, Per: per}, nil
}

// PerSecond returns the arrivals per second.
func (r Rate) PerSecond() float64 {
	if r.Count == 0 {
		return 0
	}
	return r.Count / r.Per.Seconds()
}

// gap returns the mean time between arrivals in nanoseconds.
func (r Rate) gap() float64 { return float64(r.Per) / r.Count }

// perNanosecond returns the arrivals per nanosecond.
func (r Rate) perNanosecond() float64 {
	if r.Count == 0 {
		return 0
	}
	return r.Count / float64(r.Per)
}

func (r Rate) valid() bool {
	return r.Count == 0 || r.Count > 0 && r.Per > 0 && r.gap() >= 1e-9 && r.gap() < 1e18
}
