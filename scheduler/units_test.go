package scheduler_test

import (
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/scheduler"
)

func TestParseTime(t *testing.T) {
	for text, want := range map[string]scheduler.Time{
		"0s": 0, "1ns": 1, "1.5s": 1_500_000_000, "1.5 s": 1_500_000_000, "2us": 2000, "2µs": 2000, "3ms": 3_000_000,
		"2m": 120_000_000_000, "1h": 3_600_000_000_000, "1d": 86_400_000_000_000, "0.25d": 6 * scheduler.Hour,
		// Below a nanosecond half to even.
		"0.5ns": 0, "1.5ns": 2, "2.5ns": 2, "0.50000000000000000000000000000000000001ns": 1, "0.49999999999999999999999999999999999999ns": 0,
		"1.0000000005s": 1_000_000_000, "1.0000000015s": 1_000_000_002, "1.00000000050000000000000000000000000000000000001s": 1_000_000_001,
		"0.0000000000000000000000000000000000000000000000001h": 0,
		"9223372036854775807ns":                                scheduler.MaxTime, "9223372036.854775807s": scheduler.MaxTime,
		"00000000000000000000000000000000000000000000000001s": scheduler.Second,
		"106751.99116730064591435185185185185185d":            scheduler.MaxTime,
	} {
		if got, err := scheduler.ParseTime(text); err != nil || got != want {
			t.Errorf("ParseTime(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "s", "1", "0", "-1s", "+1s", "1.s", ".5s", "1e3s", "0x1s", "1_000s", "1,5s", "NaNs", "Infs", "1 s ", " 1s", "1  s",
		"1S", "1sec", "1.5.5s", "9223372036854775808ns", "9223372036854775807.5ns", "106751.99116730065d", "99999999999999999999999999999s",
		"1\x00s", "١s", "1GB", strings.Repeat("1", 2000) + "ns"} {
		var unit *scheduler.UnitError
		if got, err := scheduler.ParseTime(text); !errors.As(err, &unit) || unit.Text != text || unit.Want == "" {
			t.Errorf("ParseTime(%q) = %d, %v", text, got, err)
		}
	}
}

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]scheduler.Bytes{
		"0B": 0, "1B": 1, "4.5GB": 4_500_000_000, "1KB": 1000, "1kB": 1000, "1MB": 1e6, "1TB": 1e12,
		"1KiB": 1024, "1.5MiB": 3 << 19, "16GiB": 16 << 30, "2TiB": 2 << 40, "0.5B": 0, "1.5B": 2, "2.5B": 2,
		"8388607TiB": 8388607 << 40,
	} {
		got, err := scheduler.ParseBytes(text)
		if err != nil || got != want {
			t.Errorf("ParseBytes(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "1", "GB", "1gb", "1G", "-1GB", "1s", "8388608TiB", "8388607.99999999999999999TiB", "1e9B"} {
		if got, err := scheduler.ParseBytes(text); err == nil {
			t.Errorf("ParseBytes(%q) = %d", text, got)
		}
	}
}

func TestUnitsPrint(t *testing.T) {
	for v, want := range map[scheduler.Time]string{0: "0s", 1: "1ns", 999: "999ns", 1000: "1us", 1500: "0.0000015s", 2 * scheduler.Millisecond: "2ms",
		1500 * scheduler.Millisecond: "1.5s", scheduler.Hour: "3600s", scheduler.Never: "never", -5: "-5ns", scheduler.Second + 1: "1.000000001s"} {
		if got := v.String(); got != want {
			t.Errorf("%d prints as %q, want %q", int64(v), got, want)
		}
	}
	for v, want := range map[scheduler.Bytes]string{0: "0B", 1: "1B", 1536: "1536B", 1 << 20: "1MiB", 3 << 30: "3GiB", 4_500_000_000: "4.5GB",
		16 * scheduler.GB: "16GB", 224 * scheduler.MB: "224MB", 1_500_000: "1.5MB", -5: "-5B", 1_000_000_001: "1000000001B"} {
		if got := v.String(); got != want {
			t.Errorf("%d prints as %q, want %q", int64(v), got, want)
		}
	}
}

// exact is ParseDecimal by rational numbers.
func exact(text string, scale uint64) (int64, bool) {
	for i, c := range text {
		if (c < '0' || c > '9') && (c != '.' || i == 0 || i == len(text)-1) {
			return 0, false
		}
	}
	if strings.Count(text, ".") > 1 {
		return 0, false
	}
	v, ok := new(big.Rat).SetString(text)
	if !ok {
		return 0, false
	}
	v.Mul(v, new(big.Rat).SetInt(new(big.Int).SetUint64(scale)))
	floor := new(big.Int).Quo(v.Num(), v.Denom())
	rest := new(big.Rat).Sub(v, new(big.Rat).SetInt(floor))
	if half := rest.Cmp(big.NewRat(1, 2)); half > 0 || half == 0 && floor.Bit(0) == 1 {
		floor.Add(floor, big.NewInt(1))
	}
	return floor.Int64(), floor.IsInt64()
}

func FuzzParseDecimal(f *testing.F) {
	for _, text := range []string{"0", "1.5", "0.5", "2.5", "18446744073709551615", "18446744073709551616", "9223372036854775807.4999999999999999999999",
		"9223372036854775807.5", "0.0000000000000000000000000000005", "1.", ".1", "1..2", "-1", "1e5", "000000000000000000000000001.5"} {
		for _, scale := range []uint64{1, 1e9, 1 << 30, 1 << 40, 86400e9} {
			f.Add(text, scale)
		}
	}
	f.Fuzz(func(t *testing.T, text string, scale uint64) {
		if len(text) > 500 {
			return
		}
		got, ok := scheduler.ParseDecimal(text, scale)
		want, wantOK := exact(text, scale)
		if ok != wantOK || ok && got != want {
			t.Errorf("ParseDecimal(%q, %d) = %d, %v, want %d, %v", text, scale, got, ok, want, wantOK)
		}
	})
}

// FuzzUnits: what is accepted is not negative, and prints as what reads the same.
func FuzzUnits(f *testing.F) {
	for _, text := range []string{"1.5s", "4.5GB", "3GiB", "0B", "1.0000000005s", "9223372036854775807ns", "1 d"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if v, err := scheduler.ParseTime(text); err == nil && v != scheduler.Never {
			again, err := scheduler.ParseTime(v.String())
			if v < 0 || err != nil || again != v {
				t.Errorf("%q is %d, prints as %q, which is %d, %v", text, int64(v), v, int64(again), err)
			}
		}
		if v, err := scheduler.ParseBytes(text); err == nil {
			again, err := scheduler.ParseBytes(v.String())
			if v < 0 || err != nil || again != v {
				t.Errorf("%q is %d, prints as %q, which is %d, %v", text, int64(v), v, int64(again), err)
			}
		}
	})
}

func TestAddTime(t *testing.T) {
	for _, c := range []struct {
		a, b, want scheduler.Time
		ok         bool
	}{{1, 2, 3, true}, {scheduler.MaxTime - 1, 0, scheduler.MaxTime - 1, true}, {scheduler.MaxTime - 2, 1, scheduler.MaxTime - 1, true},
		{scheduler.MaxTime - 1, 1, scheduler.MaxTime, false}, {scheduler.MaxTime, 0, scheduler.MaxTime, false}, {scheduler.MaxTime, scheduler.MaxTime, scheduler.MaxTime, false}} {
		if got, ok := scheduler.AddTime(c.a, c.b); got != c.want || ok != c.ok {
			t.Errorf("AddTime(%d, %d) = %d, %v", c.a, c.b, got, ok)
		}
	}
}

// TestBatchCost: the declared time of a batch, with its work, saturating.
func TestBatchCost(t *testing.T) {
	const unit = scheduler.WorkUnit
	linear := scheduler.BatchCost{Base: 10, PerItem: 3}
	table := scheduler.BatchCost{Base: 10, PerItem: 3, Times: []scheduler.Time{12, 9}}
	huge := scheduler.BatchCost{Base: 10, PerItem: scheduler.MaxTime / 2}
	for _, c := range []struct {
		cost scheduler.BatchCost
		n    int
		work int64
		want scheduler.Time
	}{
		{linear, 0, 0, 0}, {linear, 1, unit, 13}, {linear, 4, 4 * unit, 22}, {linear, 2, 3 * unit, 19}, {linear, 2, unit / 2, 11}, {linear, 2, 0, 10},
		{table, 1, unit, 12}, {table, 1, 2 * unit, 14}, {table, 1, 0, 10}, {table, 2, 2 * unit, 9}, {table, 2, 9 * unit, 9}, {table, 3, 3 * unit, 19},
		{huge, 1, unit, scheduler.MaxTime/2 + 10}, {huge, 3, 3 * unit, scheduler.MaxTime}, {huge, 1, 1 << 62, scheduler.MaxTime},
	} {
		if got := c.cost.Time(c.n, c.work); got != c.want {
			t.Errorf("%+v: %d items of work %d take %d, want %d", c.cost, c.n, c.work, got, c.want)
		}
	}
}

// TestPacking: what events pack comes out again at the bounds.
func TestPacking(t *testing.T) {
	for _, n := range []int{1, 2, scheduler.MaxBatch - 1, scheduler.MaxBatch} {
		for _, estimate := range []scheduler.Time{0, 1, 1<<43 - 1, 1 << 43, scheduler.MaxTime} {
			ev := scheduler.Event{Kind: scheduler.BatchStarted, Value: scheduler.PackBatch(n, estimate)}
			if ev.Members() != n || ev.Estimate() != min(estimate, 1<<43-1) {
				t.Errorf("%d members and %d unpack as %d and %d", n, estimate, ev.Members(), ev.Estimate())
			}
		}
	}
	for _, priority := range []int32{-1 << 31, -1, 0, 1, 1<<31 - 1} {
		for _, follow := range []int{0, 1, 1 << 20} {
			ev := scheduler.Event{Kind: scheduler.ItemArrived, Value: scheduler.PackArrival(priority, follow)}
			if ev.Priority() != priority || ev.Follow() != follow {
				t.Errorf("%d and %d unpack as %d and %d", priority, follow, ev.Priority(), ev.Follow())
			}
		}
	}
}

func TestBudgetOf(t *testing.T) {
	for _, c := range []struct {
		memory scheduler.Bytes
		safety int64
		want   scheduler.Bytes
	}{{16 * scheduler.GB, 900_000_000, 14_400_000_000}, {7, 500_000_000, 3}, {1, 1, 0}, {1<<63 - 1, 1e9, 1<<63 - 1}} {
		if got := scheduler.BudgetOf(c.memory, c.safety); got != c.want {
			t.Errorf("BudgetOf(%d, %d) = %d, want %d", c.memory, c.safety, got, c.want)
		}
	}
}

func TestKindNames(t *testing.T) {
	named := 0
	for k := range scheduler.Kind(255) {
		back, ok := scheduler.KindByName(k.String())
		if ok {
			named++
		}
		if ok && back != k {
			t.Errorf("kind %d is named %q, which is kind %d", k, k, back)
		}
		if ok && k.Fact() != (k.Class() < 8) {
			t.Errorf("%v: a fact has a class and nothing else has", k)
		}
	}
	if named != 29 {
		t.Errorf("%d kinds have names", named)
	}
}
