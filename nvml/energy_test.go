package nvml_test

import (
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vramsim/vramsim/nvml/nvmltest"
)

// TestWorldChecksItsEnergy: a counter that stands still for 100 ms agrees with the
// power of the moment however that swings; one that begins anew loses nothing; and
// a run whose two figures differ has both of them and says so.
func TestWorldChecksItsEnergy(t *testing.T) {
	for name, c := range map[string]struct {
		low, high int64   // what instant power shows of 40 and 250 W, milliwatts
		restart   bool    // of the counter, in the midst
		of        float64 // what the samples have of the counter's joules
		marks     []string
		differs   bool
	}{
		"agrees":           {40_000, 250_000, false, 1, nil, false},
		"a little off":     {41_600, 260_000, false, 1.04, nil, false},
		"too much":         {48_000, 300_000, false, 1.2, []string{"energy differs"}, true},
		"too little":       {32_000, 200_000, false, 0.8, []string{"energy differs"}, true},
		"counter restarts": {40_000, 250_000, true, 1, []string{"energy counter fell"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				state := nvmltest.Healthy(0)
				state.Energy, state.EnergyStep = 1<<32-60_000, 100*time.Millisecond
				state.Sample.InstantMilliwatts = c.low
				r := &stageRun{card: nvmltest.NewCard(state)}
				r.run(t, 6, func() {
					for i := range 9 {
						time.Sleep(730 * time.Millisecond)
						r.card.Set(func(s *nvmltest.State) {
							s.Sample.PowerMilliwatts, s.Sample.InstantMilliwatts = 250_000, c.high
							if i%2 > 0 {
								s.Sample.PowerMilliwatts, s.Sample.InstantMilliwatts = 40_000, c.low
							}
							if c.restart && i == 4 {
								s.Energy = 7
							}
						})
					}
				})
				d := r.report.Devices[0]
				took := r.ended.Sub(r.world.Opened()).Seconds()
				want := 40*5*0.73 + 250*(took-5*0.73) // low in each second stretch, high since the last change
				if near := func(got, want float64) bool { return math.Abs(got-want) <= 0.03*want }; !near(d.Joules, want) || !near(d.Compared, want) || !near(d.Integrated, c.of*want) {
					t.Errorf("%.1f J, %.1f J beside %.1f J of the samples; %.1f J were used", d.Joules, d.Compared, d.Integrated, want)
				}
				if d.EnergyDiffers != c.differs || (d.CounterFalls > 0) != c.restart || !slices.Equal(r.marks(), c.marks) || r.invalid() != "" {
					t.Errorf("differs %v, falls %d, marks %v, invalid %q", d.EnergyDiffers, d.CounterFalls, r.marks(), r.invalid())
				}
			})
		})
	}
}
