// Package decimal turns decimal text into integers exactly: no binary fraction
// lies between a recorded time and its nanoseconds.
package decimal

import (
	"errors"
	"math"
	"math/big"
	"math/bits"
)

// Errors of Scaled.
var (
	ErrSyntax    = errors.New("not a decimal number")
	ErrNotFinite = errors.New("not a finite number")
	ErrNegative  = errors.New("negative")
	ErrOverflow  = errors.New("too large")
)

// maxDigits bounds the length of a number; doubles need no more.
const maxDigits = 1100

// Scaled reads a decimal number with optional fraction and exponent and
// returns it times scale, rounded half to even. exact is false if something
// was rounded away. Minus zero is 0; other negative numbers, NaN, infinities
// and results above MaxInt64-1 are errors, as are signs with a plus,
// hexadecimal numbers and separators.
func Scaled(s string, scale uint64) (value int64, exact bool, err error) {
	n, err := scan(s)
	if err != nil {
		return 0, false, err
	}
	if n.zero {
		return 0, true, nil
	}
	if n.negative {
		return 0, false, ErrNegative
	}
	if n.digits > 19 || scale > 1<<53 {
		return n.big(s, scale)
	}
	return n.small(scale)
}

// number is mantissa·10^exponent, the mantissa without leading zeros.
type number struct {
	negative, zero bool
	mantissa       uint64 // valid up to 19 digits
	digits         int
	exponent       int
	end            int // of the mantissa's text
}

func scan(s string) (number, error) {
	n := number{}
	i := 0
	if len(s) > maxDigits {
		return n, ErrOverflow
	}
	if i < len(s) && s[i] == '-' {
		n.negative = true
		i++
	}
	start, seen, point := i, false, false
	for ; i < len(s); i++ {
		c := s[i]
		if c == '.' && !point && seen {
			point = true
			continue
		}
		if c < '0' || c > '9' {
			break
		}
		seen = true
		if n.digits > 0 || c != '0' {
			n.digits++
			if n.digits <= 19 {
				n.mantissa = n.mantissa*10 + uint64(c-'0')
			}
		}
		if point {
			n.exponent--
		}
	}
	n.end = i
	if !seen || s[i-1] == '.' {
		return n, notANumber(s[start:])
	}
	if i < len(s) {
		e, err := exponent(s[i:])
		if err != nil {
			return n, err
		}
		n.exponent += e
	}
	n.zero = n.digits == 0
	return n, nil
}

// exponent reads e5, E-7, e+2; large ones saturate.
func exponent(s string) (int, error) {
	if s[0] != 'e' && s[0] != 'E' || len(s) < 2 {
		return 0, ErrSyntax
	}
	sign, i := 1, 1
	switch s[1] {
	case '-':
		sign, i = -1, 2
	case '+':
		i = 2
	}
	if i == len(s) {
		return 0, ErrSyntax
	}
	value := 0
	for ; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, ErrSyntax
		}
		value = min(value*10+int(s[i]-'0'), 1_000_000)
	}
	return sign * value, nil
}

func notANumber(s string) error {
	for len(s) > 0 && (s[0] == '+' || s[0] == '-') {
		s = s[1:]
	}
	lower := make([]byte, 0, 8)
	for i := 0; i < len(s) && i < 9; i++ {
		lower = append(lower, s[i]|0x20)
	}
	switch string(lower) {
	case "nan", "inf", "infinity":
		return ErrNotFinite
	}
	return ErrSyntax
}

func pow10(k int) uint64 {
	p := uint64(1)
	for range k {
		p *= 10
	}
	return p
}

// small computes with 128 bits.
func (n number) small(scale uint64) (int64, bool, error) {
	hi, lo := bits.Mul64(n.mantissa, scale)
	if n.exponent >= 0 {
		if n.exponent > 19 || hi != 0 {
			return 0, false, ErrOverflow
		}
		hi, lo = bits.Mul64(lo, pow10(n.exponent))
		if hi != 0 || lo > math.MaxInt64-1 {
			return 0, false, ErrOverflow
		}
		return int64(lo), true, nil
	}
	k := -n.exponent
	if k > 38 {
		return 0, false, nil // the product is below 10³⁵
	}
	// Divide by 10^k in two steps of at most 10^19; the last divisor is even.
	rest := uint64(0)
	if k > 19 {
		hi, lo, rest = divide(hi, lo, pow10(k-19))
		k = 19
	}
	divisor := pow10(k)
	hi, lo, last := divide(hi, lo, divisor)
	up := last > divisor/2 || last == divisor/2 && (rest > 0 || lo&1 == 1)
	if up {
		var carry uint64
		lo, carry = bits.Add64(lo, 1, 0)
		hi += carry
	}
	if hi != 0 || lo > math.MaxInt64-1 {
		return 0, false, ErrOverflow
	}
	return int64(lo), rest == 0 && last == 0, nil
}

func divide(hi, lo, by uint64) (qhi, qlo, rest uint64) {
	qhi, rest = hi/by, hi%by
	qlo, rest = bits.Div64(rest, lo, by)
	return qhi, qlo, rest
}

// big computes with as many digits as it takes.
func (n number) big(s string, scale uint64) (int64, bool, error) {
	if n.digits+n.exponent > 20 {
		return 0, false, ErrOverflow
	}
	if n.digits+n.exponent < -30 {
		return 0, false, nil
	}
	mantissa := new(big.Int)
	digits := make([]byte, 0, n.digits)
	for i := 0; i < n.end; i++ {
		if s[i] >= '0' && s[i] <= '9' {
			digits = append(digits, s[i])
		}
	}
	mantissa.SetString(string(digits), 10)
	mantissa.Mul(mantissa, new(big.Int).SetUint64(scale))
	power := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(n.exponent, -n.exponent))), nil)
	exact := true
	if n.exponent >= 0 {
		mantissa.Mul(mantissa, power)
	} else {
		rest := new(big.Int)
		mantissa.QuoRem(mantissa, power, rest)
		exact = rest.Sign() == 0
		half := rest.Lsh(rest, 1).Cmp(power)
		if half > 0 || half == 0 && mantissa.Bit(0) == 1 {
			mantissa.Add(mantissa, big.NewInt(1))
		}
	}
	if !mantissa.IsInt64() || mantissa.Int64() == math.MaxInt64 {
		return 0, false, ErrOverflow
	}
	return mantissa.Int64(), exact, nil
}
