package tracestats

import (
	"math"
	"testing"

	"github.com/vramsim/vramsim/scheduler"
)

func want(t *testing.T, f Features, values map[string]float64) {
	t.Helper()
	for name, w := range values {
		got, ok := f.Value(name)
		if math.IsNaN(w) {
			if ok {
				t.Errorf("%s is %v, want none", name, got)
			}
		} else if !ok || math.Abs(got-w) > 1e-12 {
			t.Errorf("%s is %v, want %v", name, got, w)
		}
	}
}

// Worked by hand.
func TestSmallTrace(t *testing.T) {
	var times []scheduler.Time
	for _, s := range []int{10, 10, 12, 13, 20, 21, 30} {
		times = append(times, scheduler.Time(s)*scheduler.Second)
	}
	models := []int{0, 1, 0, 2, 0, 1, 0} // Belady at 2: 0 1 miss, 0 hit, 2 for 1, 0 hit, 1 for 2, 0 hit
	f := Of(times, models)
	want(t, f, map[string]float64{
		"n": 7, "dur_s": 20, "rate": 0.3, "zero_iat": 1.0 / 6,
		"K": 3, "top1": 4.0 / 7, "top3": 1, "gini": 2*(4*3+2*2+1*1)/(3*7.0) - 4.0/3,
		"switch": 1, "switch_iid": 1 - (16+4+1)/49.0,
		"lru_miss1": 1, "lru_miss2": 4.0 / 7, "lru_miss3": 3.0 / 7, "min_miss2": 4.0 / 7, "min_miss3": 3.0 / 7,
		"pmr1": 2 / (6.0 / 20), "idc10": math.NaN(), "ws60": math.NaN(), "diurnal_a1": math.NaN(),
		"activ60_per_h": 3 * 180, "permodel_cv_n": 0, "permodel_cv_med": math.NaN(),
	})
}

func TestDegenerateTraces(t *testing.T) {
	want(t, Of(nil, nil), map[string]float64{"n": 0, "rate": math.NaN()})
	want(t, Of([]scheduler.Time{5}, []int{0}), map[string]float64{"n": 1, "rate": math.NaN()})
	want(t, Of([]scheduler.Time{5, 5}, []int{0, 1}), map[string]float64{"dur_s": 0, "cv": math.NaN()})
	one := Of([]scheduler.Time{0, scheduler.Second, 3 * scheduler.Second, 4 * scheduler.Second}, []int{0, 0, 0, 0})
	want(t, one, map[string]float64{"K": math.NaN(), "switch": math.NaN()})
}

// Renaming the models keeps every statistic.
func TestRenamingChangesNothing(t *testing.T) {
	var times []scheduler.Time
	var models, renamed []int
	state := uint32(1)
	for i := range 3000 {
		state = state*1664525 + 1013904223
		times = append(times, scheduler.Time(i)*scheduler.Second+scheduler.Time(state>>3))
		models = append(models, int(state>>16)%7*int(state>>9)%7)
		renamed = append(renamed, 6-models[i])
	}
	a, b := Of(times, models), Of(times, renamed)
	if len(a) != len(b) || len(a) < 40 {
		t.Fatalf("%d and %d features", len(a), len(b))
	}
	for i := range a {
		if a[i].Name != b[i].Name || math.Abs(a[i].Value-b[i].Value) > 1e-9 {
			t.Errorf("%v became %v", a[i], b[i])
		}
	}
}

func TestDailyShape(t *testing.T) {
	var times []scheduler.Time
	for h := range 24 * 10 {
		n := 100 + int(math.Round(80*math.Cos(2*math.Pi*float64(h)/24)))
		for i := range n {
			times = append(times, scheduler.Time(h)*scheduler.Hour+scheduler.Time(i)*scheduler.Second)
		}
	}
	times = append(times, 240*scheduler.Hour)
	f := Of(times, make([]int, len(times)))
	a1, _ := f.Value("diurnal_a1")
	acf, _ := f.Value("acf24h")
	if math.Abs(a1-0.8) > 0.002 || math.Abs(acf-0.9) > 1e-9 /* 9 of 10 days have one before */ {
		t.Errorf("diurnal_a1 %v, acf24h %v", a1, acf)
	}
}
