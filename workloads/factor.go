package workloads

import (
	"fmt"
	"math/bits"
	"strings"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/workloads/decimal"
)

// Factor is by how much a trace is sped up, exactly: "2x" halves every time.
// The zero value leaves the times as they are.
type Factor struct{ num, den uint64 }

// ParseFactor reads a positive decimal number followed by x, such as "0.25x",
// with at most 9 decimals, between a billionth and a billion.
func ParseFactor(s string) (Factor, error) {
	number, times := strings.CutSuffix(s, "x")
	v, exact, err := decimal.Scaled(number, 1e9)
	if !times || err != nil || !exact || v == 0 || v > 1e18 {
		return Factor{}, &scheduler.UnitError{Text: s, Want: "a positive factor like 2x or 0.25x"}
	}
	return Factor{num: uint64(v), den: 1e9}, nil
}

// String returns the factor as ParseFactor reads it.
func (f Factor) String() string {
	if f.num == 0 || f.num == f.den {
		return "1x"
	}
	whole, rest := f.num/f.den, f.num%f.den
	return strings.TrimRight(strings.TrimRight(fmt.Sprintf("%d.%09d", whole, rest), "0"), ".") + "x"
}

// apply returns t divided by the factor, rounded half to even, and false if
// that is past the end of time.
func (f Factor) apply(t scheduler.Time) (scheduler.Time, bool) {
	if f.num == 0 || f.num == f.den {
		return t, true
	}
	hi, lo := bits.Mul64(uint64(t), f.den)
	if hi >= f.num {
		return 0, false
	}
	q, rest := bits.Div64(hi, lo, f.num)
	if rest > f.num-rest || rest == f.num-rest && q&1 == 1 {
		q++
	}
	return scheduler.Time(q), q < uint64(scheduler.MaxTime)
}
