package scheduler_test

import (
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/coretest"
)

var estimated = []scheduler.Model{
	{Name: "a", Bytes: 1 * scheduler.GB, Load: [scheduler.Tiers]scheduler.Time{100, 10}},
	{Name: "b", Bytes: 2 * scheduler.GB, Load: [scheduler.Tiers]scheduler.Time{200, 20}},
	{Name: "c", Bytes: 5 * scheduler.GB, Load: [scheduler.Tiers]scheduler.Time{500, 50}},
}

// seen is one load that an estimator observes.
type seen struct {
	m    scheduler.ModelID
	tier scheduler.Tier
	took scheduler.Time
}

func TestEstimators(t *testing.T) {
	const disk, host = scheduler.TierDisk, scheduler.TierHost
	for _, c := range []struct {
		name  string
		cfg   scheduler.EstimatorConfig
		loads []seen
		m     scheduler.ModelID
		tier  scheduler.Tier
		want  scheduler.Time
	}{
		{"declared", scheduler.EstimatorConfig{}, []seen{{0, disk, 7}}, 0, disk, 100},
		{"declared, by name, host", scheduler.EstimatorConfig{Kind: "declared"}, nil, 1, host, 20},
		{"last, none seen", scheduler.EstimatorConfig{Kind: "last"}, []seen{{1, disk, 7}}, 0, disk, 100},
		{"last", scheduler.EstimatorConfig{Kind: "last"}, []seen{{0, disk, 7}, {0, disk, 9}}, 0, disk, 9},
		{"last, tiers apart", scheduler.EstimatorConfig{Kind: "last"}, []seen{{0, disk, 7}}, 0, host, 10},
		{"ewma, first", scheduler.EstimatorConfig{Kind: "ewma"}, []seen{{0, disk, 1000}}, 0, disk, 1000},
		{"ewma, by default 0.3", scheduler.EstimatorConfig{Kind: "ewma"}, []seen{{0, disk, 1000}, {0, disk, 2000}}, 0, disk, 1300},
		{"ewma, down", scheduler.EstimatorConfig{Kind: "ewma", Alpha: 500_000}, []seen{{0, disk, 1000}, {0, disk, 0}}, 0, disk, 500},
		{"quantile, few", scheduler.EstimatorConfig{Kind: "quantile", Quantile: 500_000}, []seen{{0, disk, 3}, {0, disk, 1}, {0, disk, 2}}, 0, disk, 2},
		{"quantile, least", scheduler.EstimatorConfig{Kind: "quantile", Quantile: 1}, []seen{{0, disk, 3}, {0, disk, 1}, {0, disk, 2}}, 0, disk, 1},
		{"quantile, most", scheduler.EstimatorConfig{Kind: "quantile", Quantile: 1e6}, []seen{{0, disk, 3}, {0, disk, 1}, {0, disk, 2}}, 0, disk, 3},
		{"quantile, window", scheduler.EstimatorConfig{Kind: "quantile", Quantile: 1e6, Window: 2}, []seen{{0, disk, 9}, {0, disk, 1}, {0, disk, 2}}, 0, disk, 2},
		{"quantile, other model", scheduler.EstimatorConfig{Kind: "quantile"}, []seen{{0, disk, 9}}, 1, disk, 200},
		{"affine, one size", scheduler.EstimatorConfig{Kind: "affine"}, []seen{{0, disk, 9}, {0, disk, 11}}, 2, disk, 500},
		{"affine, exact", scheduler.EstimatorConfig{Kind: "affine"}, []seen{{0, disk, 30}, {1, disk, 50}}, 2, disk, 110}, // 10 + 20 a GB
		{"affine, tiers apart", scheduler.EstimatorConfig{Kind: "affine"}, []seen{{0, disk, 30}, {1, disk, 50}}, 2, host, 50},
		{"affine, falling below 0", scheduler.EstimatorConfig{Kind: "affine"}, []seen{{0, disk, 50}, {1, disk, 20}}, 2, disk, 0},
		{"affine, steep", scheduler.EstimatorConfig{Kind: "affine"}, []seen{{0, disk, 0}, {1, disk, scheduler.MaxTime - 1}}, 2, disk, scheduler.MaxTime},
		{"affine, least squares", scheduler.EstimatorConfig{Kind: "affine"}, []seen{{0, disk, 10}, {0, disk, 30}, {1, disk, 40}}, 0, disk, 20},
		{"biased", scheduler.EstimatorConfig{Kind: "biased", Factor: 1_500_000}, nil, 0, disk, 150},
		{"biased, beyond time", scheduler.EstimatorConfig{Kind: "biased", Factor: 1 << 62}, nil, 2, disk, 2305843009213693},
		{"noisy", scheduler.EstimatorConfig{Kind: "noisy", Noise: func(m scheduler.ModelID, n int64) int64 { return int64(m)*1_000_000 + n }}, nil, 1, disk, 200},
		{"oracle", scheduler.EstimatorConfig{Kind: "oracle", Truth: func(m scheduler.ModelID, tier scheduler.Tier, n int64) scheduler.Time {
			return scheduler.Time(m)*100 + scheduler.Time(tier)*10 + scheduler.Time(n)
		}}, nil, 2, host, 213},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, err := scheduler.NewEstimator(c.cfg, estimated)
			if err != nil {
				t.Fatal(err)
			}
			for i, l := range c.loads {
				e.Observe(l.m, l.tier, int64(i), l.took)
			}
			if got := e.Load(c.m, c.tier, 3); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}

func TestEstimatorErrors(t *testing.T) {
	for _, cfg := range []scheduler.EstimatorConfig{{Kind: "psychic"}, {Kind: "ewma", Alpha: -1}, {Kind: "ewma", Alpha: 1_000_001},
		{Kind: "quantile", Quantile: -1}, {Kind: "quantile", Quantile: 1_000_001}, {Kind: "quantile", Window: -1},
		{Kind: "oracle"}, {Kind: "biased"}, {Kind: "biased", Factor: -1}, {Kind: "noisy"}} {
		var bad *scheduler.ConfigError
		if _, err := scheduler.NewEstimator(cfg, estimated); !errors.As(err, &bad) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
	for _, kind := range scheduler.EstimatorKinds() {
		cfg := scheduler.EstimatorConfig{Kind: kind, Factor: 1, Noise: func(scheduler.ModelID, int64) int64 { return 1 },
			Truth: func(scheduler.ModelID, scheduler.Tier, int64) scheduler.Time { return 1 }}
		if _, err := scheduler.NewEstimator(cfg, estimated); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// TestEstimatorLaws: constant loads are learned exactly and stay so, every
// estimate lies within what was seen, and quantiles are order statistics.
func TestEstimatorLaws(t *testing.T) {
	coretest.Check(t, 200, func(t *rapid.T) {
		constant := scheduler.Time(rapid.Int64Range(0, 1<<50).Draw(t, "constant"))
		alpha := rapid.Int64Range(1, 1e6).Draw(t, "alpha")
		quantile := rapid.Int64Range(1, 1e6).Draw(t, "quantile")
		window := rapid.IntRange(1, 5).Draw(t, "window")
		var times []scheduler.Time
		for range rapid.IntRange(1, 12).Draw(t, "loads") {
			times = append(times, scheduler.Time(rapid.Int64Range(0, 1<<40).Draw(t, "time")))
		}
		for _, cfg := range []scheduler.EstimatorConfig{{Kind: "last"}, {Kind: "ewma", Alpha: alpha}, {Kind: "quantile", Quantile: quantile, Window: window}} {
			flat, _ := scheduler.NewEstimator(cfg, estimated)
			varied, _ := scheduler.NewEstimator(cfg, estimated)
			for i, took := range times {
				flat.Observe(1, 0, int64(i), constant)
				varied.Observe(1, 0, int64(i), took)
			}
			if got := flat.Load(1, 0, 99); got != constant {
				t.Fatalf("%s of constant %d: %d", cfg.Kind, constant, got)
			}
			got := varied.Load(1, 0, 99)
			if got < slices.Min(times) || got > slices.Max(times) {
				t.Fatalf("%s of %v: %d", cfg.Kind, times, got)
			}
			if cfg.Kind == "quantile" {
				recent := slices.Sorted(slices.Values(times[max(0, len(times)-window):]))
				at := 0 // the least sample that enough of them do not exceed
				for int64(at+1)*1_000_000 < quantile*int64(len(recent)) {
					at++
				}
				if got != recent[at] {
					t.Fatalf("quantile %d of %v: %d", quantile, recent, got)
				}
			}
		}
	})
}

// TestObservedOrdinals: what an estimator observes is the load that it
// estimated, also when loads of one model overlap on two devices.
func TestObservedOrdinals(t *testing.T) {
	spy := &spyEstimator{}
	r := newRig(t, func(cfg *scheduler.Config) { cfg.Estimator = spy })
	r.must(1, []scheduler.Event{tick()}, scheduler.Load(0, 0), scheduler.Load(2, 0))
	first, second := r.seen[1], r.seen[2]
	r.must(4, []scheduler.Event{{Kind: scheduler.LoadFinished, ID: first.ID, Device: 0}})
	r.must(6, []scheduler.Event{{Kind: scheduler.LoadFinished, ID: second.ID, Device: 2}})
	if want := []observed{{0, 3}, {1, 5}}; !slices.Equal(spy.seen, want) {
		t.Errorf("observed %v, want %v", spy.seen, want)
	}
}

type observed struct {
	ordinal int64
	took    scheduler.Time
}

type spyEstimator struct{ seen []observed }

func (e *spyEstimator) Load(scheduler.ModelID, scheduler.Tier, int64) scheduler.Time { return 1 }
func (e *spyEstimator) Observe(_ scheduler.ModelID, _ scheduler.Tier, ordinal int64, took scheduler.Time) {
	e.seen = append(e.seen, observed{ordinal, took})
}
