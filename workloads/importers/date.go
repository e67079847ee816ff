package importers

import (
	"math"
	"strings"
	"time"

	"github.com/vramsim/vramsim/scheduler"
)

// date reads a field with a layout of package time, in UTC unless it has a
// zone, as nanoseconds since 1970. Fractions of seconds of up to 9 digits may
// follow the seconds whether or not the layout has them.
func (t *table) date(field int, layout string) (scheduler.Time, error) {
	text := t.fields[field]
	at, err := time.Parse(layout, text)
	if err != nil || fraction(text) > 9 {
		return 0, t.errorf(field, "%s is %q; a date like %q is expected", t.header[field], t.fields[field], layout)
	}
	if at.Unix() < 0 || at.Unix() > math.MaxInt64/1_000_000_000-1 {
		return 0, t.errorf(field, "%s is %q; dates from 1970 to 2262 are expected", t.header[field], t.fields[field])
	}
	return scheduler.Time(at.UnixNano()), nil
}

// fraction returns the number of digits after the last point.
func fraction(text string) int {
	_, after, _ := strings.Cut(text[max(0, strings.LastIndexByte(text, '.')):], ".")
	return len(after) - len(strings.TrimLeft(after, "0123456789"))
}
