package scheduler

import (
	"fmt"
	"math/big"
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

// maxDigits bounds the length of a number; doubles need no more.
const maxDigits = 1100

// ParseDecimal reads a non-negative decimal number without exponent, times
// scale, rounded half to even. It reports false for anything else: signs,
// NaN, hexadecimal, separators, an overflow of int64.
func ParseDecimal(s string, scale uint64) (int64, bool) {
	whole, frac, dotted := strings.Cut(s, ".")
	if whole == "" || dotted && frac == "" || len(s) > maxDigits {
		return 0, false
	}
	digits := whole + frac
	for i := 0; i < len(digits); i++ {
		if digits[i] < '0' || digits[i] > '9' {
			return 0, false
		}
	}
	if len(digits) < len("18446744073709551615") {
		return shortDecimal(digits, len(frac), scale)
	}
	return longDecimal(digits, len(frac), scale)
}

// shortDecimal returns digits·scale/10^places for digits that fit a word.
func shortDecimal(digits string, places int, scale uint64) (int64, bool) {
	value, divisor := uint64(0), uint64(1)
	for i := 0; i < len(digits); i++ {
		value = value*10 + uint64(digits[i]-'0')
	}
	for range places {
		divisor *= 10
	}
	hi, lo := bits.Mul64(value, scale)
	if hi >= divisor {
		return 0, false
	}
	quotient, rest := bits.Div64(hi, lo, divisor)
	if over := divisor - rest; rest > over || rest == over && quotient&1 == 1 {
		quotient++
	}
	return int64(quotient), quotient <= 1<<63-1
}

// longDecimal is shortDecimal for any number of digits.
func longDecimal(digits string, places int, scale uint64) (int64, bool) {
	value, _ := new(big.Int).SetString(digits, 10)
	value.Mul(value, new(big.Int).SetUint64(scale))
	divisor := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(places)), nil)
	quotient, rest := new(big.Int).QuoRem(value, divisor, new(big.Int))
	over := new(big.Int).Sub(divisor, rest)
	if c := rest.Cmp(over); c > 0 || c == 0 && quotient.Bit(0) == 1 {
		quotient.Add(quotient, big.NewInt(1))
	}
	return quotient.Int64(), quotient.IsInt64()
}

// String prints t exactly, as ParseTime reads it: with the largest of s, ms, us
// and ns that divides it below the next one, or in decimals of seconds. Never
// is "never".
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

// times returns t·n for non-negative numbers, MaxTime if that is larger.
func times(t Time, n int64) Time {
	if hi, lo := bits.Mul64(uint64(t), uint64(n)); hi == 0 {
		return Time(min(lo, uint64(MaxTime)))
	}
	return MaxTime
}

// later returns a + b, MaxTime if that is larger.
func later(a, b Time) Time {
	sum, _ := AddTime(a, b)
	return sum
}

// AddTime returns a + b and whether the sum of two non-negative times stays
// below MaxTime.
func AddTime(a, b Time) (Time, bool) {
	if a > MaxTime-1-b {
		return MaxTime, false
	}
	return a + b, true
}
