package scheduler

import (
	"fmt"
	"math/bits"
	"strings"
)

// Time is a point on the run's clock or a length of time, in integer
// nanoseconds. The clock starts at 0.
type Time int64

// Lengths of time.
const (
	Nanosecond  Time = 1
	Microsecond      = 1000 * Nanosecond
	Millisecond      = 1000 * Microsecond
	Second           = 1000 * Millisecond
	Minute           = 60 * Second
	Hour             = 60 * Minute
	Day              = 24 * Hour

	// MaxTime is the latest time there is; sums that would pass it are errors.
	MaxTime Time = 1<<63 - 1
	// Never is the deadline of an item that has none and the expiry of a hold for ever.
	Never = MaxTime
)

// Bytes is an amount of memory.
type Bytes int64

// Amounts of memory: decimal units as GPU vendors print them, binary ones
// as drivers count them.
const (
	KB  Bytes = 1e3
	MB  Bytes = 1e6
	GB  Bytes = 1e9
	TB  Bytes = 1e12
	KiB Bytes = 1 << 10
	MiB Bytes = 1 << 20
	GiB Bytes = 1 << 30
	TiB Bytes = 1 << 40
)

type unit struct {
	name  string
	scale uint64
}

var (
	timeUnits = []unit{{"ns", 1}, {"us", 1e3}, {"µs", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}, {"d", 86400e9}}
	byteUnits = []unit{{"B", 1}, {"KB", 1e3}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
		{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}}
)

// UnitError says why a text is no time or amount of memory.
type UnitError struct {
	Text string // what was read
	Want string // what would have been right
}

func (e *UnitError) Error() string { return fmt.Sprintf("%q is not %s", e.Text, e.Want) }

// ParseTime reads a non-negative decimal number with a unit of ns, us, ms, s,
// m, h or d, such as "1.5s". It is exact: what lies below a nanosecond is
// rounded half to even. Bare numbers other than "0" are refused.
func ParseTime(s string) (Time, error) {
	v, ok := parseUnit(s, timeUnits)
	if !ok {
		return 0, &UnitError{Text: s, Want: "a length of time with its unit (ns, us, ms, s, m, h, d), like 1.5s"}
	}
	return Time(v), nil
}

// ParseBytes reads a non-negative decimal number with a unit of B, KB, MB, GB,
// TB (powers of ten) or KiB, MiB, GiB, TiB (powers of two), such as "4.5GB".
// It is exact; fractions of a byte are rounded half to even.
func ParseBytes(s string) (Bytes, error) {
	v, ok := parseUnit(s, byteUnits)
	if !ok {
		return 0, &UnitError{Text: s, Want: "an amount of memory with its unit (B, KB, MB, GB, TB, KiB, MiB, GiB, TiB), like 4.5GB"}
	}
	return Bytes(v), nil
}

func parseUnit(s string, units []unit) (int64, bool) {
	number := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZµ")
	suffix := s[len(number):]
	for _, u := range units {
		if u.name == suffix {
			return ParseDecimal(strings.TrimSuffix(number, " "), u.scale)
		}
	}
	return 0, false
}

// ParseDecimal reads a non-negative decimal number without exponent, times
// scale, rounded half to even. It reports false for anything else: signs,
// NaN, hexadecimal, separators, an overflow of int64.
func ParseDecimal(s string, scale uint64) (int64, bool) {
	whole, frac, dotted := strings.Cut(s, ".")
	if whole == "" || dotted && frac == "" || len(frac) > 300 {
		return 0, false
	}
	var value uint64
	for i := 0; i < len(whole); i++ {
		c := whole[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		hi, lo := bits.Mul64(value, 10)
		sum, carry := bits.Add64(lo, uint64(c-'0'), 0)
		if hi != 0 || carry != 0 {
			return 0, false
		}
		value = sum
	}
	hi, value := bits.Mul64(value, scale)
	if hi != 0 || value > 1<<63-1 {
		return 0, false
	}
	// Each digit after the point splits scale once more: long division keeps
	// the remainder exactly, so that the last rounding sees the true fraction.
	var fractional, rest, sticky uint64 // fractional + rest/denominator, exact
	denominator := uint64(1)
	for i := 0; i < len(frac); i++ {
		c := frac[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		d := uint64(c - '0')
		if denominator > 1e17/10 || sticky == 1 {
			// More digits than can matter but for breaking a tie.
			if d != 0 {
				sticky = 2
			} else if sticky == 0 {
				sticky = 1
			}
			if sticky == 2 {
				for _, c := range []byte(frac[i:]) {
					if c < '0' || c > '9' {
						return 0, false
					}
				}
				break
			}
			continue
		}
		denominator *= 10
		rest = rest*10 + d
	}
	hi, lo := bits.Mul64(rest, scale)
	if hi >= denominator {
		return 0, false
	}
	fractional, remainder := bits.Div64(hi, lo, denominator)
	twice := remainder * 2
	if twice > denominator || twice == denominator && (sticky == 2 || (value+fractional)&1 == 1) {
		fractional++
	}
	sum := value + fractional
	if sum < value || sum > 1<<63-1 {
		return 0, false
	}
	return int64(sum), true
}

// String prints t with the largest unit that divides it or three decimals of
// seconds, for messages.
func (t Time) String() string {
	switch {
	case t == Never:
		return "never"
	case t < 0:
		return fmt.Sprintf("%dns", int64(t))
	case t == 0:
		return "0s"
	case t%Second == 0:
		return fmt.Sprintf("%ds", t/Second)
	case t%Millisecond == 0 && t < Second:
		return fmt.Sprintf("%dms", t/Millisecond)
	case t%Microsecond == 0 && t < Millisecond:
		return fmt.Sprintf("%dus", t/Microsecond)
	case t < Microsecond:
		return fmt.Sprintf("%dns", int64(t))
	}
	return strings.TrimRight(fmt.Sprintf("%d.%09d", t/Second, t%Second), "0") + "s"
}

// Seconds returns t in seconds, for reports; the core never computes with it.
func (t Time) Seconds() float64 { return float64(t) / 1e9 }

// String prints b exactly, with the largest decimal or binary unit that keeps
// the number short.
func (b Bytes) String() string {
	switch {
	case b < 0:
		return fmt.Sprintf("%dB", int64(b))
	case b == 0:
		return "0B"
	case b%(GiB) == 0 && b%(100*MB) != 0:
		return fmt.Sprintf("%dGiB", b/GiB)
	case b%MiB == 0 && b%(100*KB) != 0:
		return fmt.Sprintf("%dMiB", b/MiB)
	case b >= GB && b%MB == 0:
		return strings.TrimRight(strings.TrimRight(fmt.Sprintf("%d.%03d", b/GB, b%GB/MB), "0"), ".") + "GB"
	case b >= MB && b%KB == 0:
		return strings.TrimRight(strings.TrimRight(fmt.Sprintf("%d.%03d", b/MB, b%MB/KB), "0"), ".") + "MB"
	}
	return fmt.Sprintf("%dB", int64(b))
}

// scaleTime returns ⌊t·num/den⌋ for non-negative numbers, MaxTime if that is larger.
func scaleTime(t Time, num, den int64) Time {
	hi, lo := bits.Mul64(uint64(t), uint64(num))
	if hi >= uint64(den) {
		return MaxTime
	}
	q, _ := bits.Div64(hi, lo, uint64(den))
	return Time(min(q, uint64(MaxTime)))
}

// AddTime returns a + b and whether the sum of two non-negative times stays
// below MaxTime.
func AddTime(a, b Time) (Time, bool) {
	if a > MaxTime-1-b {
		return MaxTime, false
	}
	return a + b, true
}
