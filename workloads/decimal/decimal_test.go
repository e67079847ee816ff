package decimal

import (
	"errors"
	"math/big"
	"strings"
	"testing"
)

func TestScaled(t *testing.T) {
	tests := []struct {
		text  string
		scale uint64
		want  int64
		exact bool
	}{
		{"0", 1e9, 0, true}, {"-0", 1e9, 0, true}, {"-0.00e5", 1e9, 0, true}, {"1e-400", 1e9, 0, false}, {"0e999999999999", 1e9, 0, true},
		{"1.5", 1e9, 1_500_000_000, true}, {"29", 1e9, 29_000_000_000, true}, {"0.20793754160099873", 1e9, 207_937_542, false},
		{"0.0000000005", 1e9, 0, false}, {"0.0000000015", 1e9, 2, false}, {"0.00000000050000000000000000001", 1e9, 1, false},
		{"2.5", 1, 2, false}, {"3.5", 1, 4, false}, {"2.50000000000000000000000000000001", 1, 3, false},
		{"1E3", 1, 1000, true}, {"1.25e+2", 1, 125, true}, {"12500e-4", 1e6, 1_250_000, true},
		{"9223372036.854775806", 1e9, 9223372036854775806, true}, {"9223372036854775806", 1, 9223372036854775806, true},
		{"00012", 1, 12, true}, {"1" + strings.Repeat("0", 40) + "e-40", 1e6, 1_000_000, true},
	}
	for _, test := range tests {
		got, exact, err := Scaled(test.text, test.scale)
		if err != nil || got != test.want || exact != test.exact {
			t.Errorf("Scaled(%q, %d) = %d, %v, %v, want %d, %v", test.text, test.scale, got, exact, err, test.want, test.exact)
		}
	}
}

func TestScaledRefuses(t *testing.T) {
	tests := map[string]error{
		"": ErrSyntax, "-": ErrSyntax, "+1": ErrSyntax, ".5": ErrSyntax, "5.": ErrSyntax, "1.2.3": ErrSyntax, "1,000": ErrSyntax, "1_000": ErrSyntax,
		"0x1p-2": ErrSyntax, "1e": ErrSyntax, "1e+": ErrSyntax, "１": ErrSyntax, " 1": ErrSyntax, "1 ": ErrSyntax, "nano": ErrSyntax, "5.e3": ErrSyntax,
		"NaN": ErrNotFinite, "nan": ErrNotFinite, "-Inf": ErrNotFinite, "+Infinity": ErrNotFinite,
		"-1": ErrNegative, "-1e-400": ErrNegative, "1e400": ErrOverflow, "9223372036854775807": ErrOverflow, "99999999999999999999999": ErrOverflow,
	}
	for text, want := range tests {
		if got, _, err := Scaled(text, 1); !errors.Is(err, want) {
			t.Errorf("Scaled(%q) = %d, %v, want %v", text, got, err, want)
		}
	}
}

// FuzzScaled compares with exact rational arithmetic.
func FuzzScaled(f *testing.F) {
	for _, s := range []string{"0", "1.5", "-0", "1e-400", "9223372036.8547758065", "0.0000000005", "nan", "1e19", "123456789012345678901234567890e-25"} {
		f.Add(s, uint32(1e9))
	}
	f.Fuzz(func(t *testing.T, s string, scale uint32) {
		got, exact, err := Scaled(s, uint64(scale))
		if err != nil {
			if got != 0 || exact {
				t.Fatalf("%q: %d beside %v", s, got, err)
			}
			return
		}
		r, ok := new(big.Rat).SetString(s)
		if !ok {
			if strings.ContainsAny(s, "eE") {
				return // an exponent that big.Rat does not take
			}
			t.Fatalf("%q was accepted", s)
		}
		r.Mul(r, new(big.Rat).SetInt64(int64(scale)))
		difference := new(big.Rat).Sub(r, new(big.Rat).SetInt64(got))
		switch half := difference.Abs(difference).Cmp(big.NewRat(1, 2)); {
		case half > 0, half == 0 && got&1 == 1, exact != (difference.Sign() == 0):
			t.Fatalf("Scaled(%q, %d) = %d, %v; off by %v", s, scale, got, exact, difference)
		}
	})
}

func BenchmarkScaled(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Scaled("1700158623.9799600", 1e9); err != nil {
			b.Fatal(err)
		}
	}
}
