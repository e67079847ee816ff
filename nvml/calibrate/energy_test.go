package calibrate

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/vramsim/vramsim/nvml/profile"
	"github.com/vramsim/vramsim/scheduler"
)

// meteredCard is a card whose energy follows known powers and costs, told in
// steps like a real counter's.
type meteredCard struct {
	*card
	began  time.Time
	opened time.Time
	spent  float64 // joules of loads and items
	fail   bool
}

const (
	idleW, contextW, joulesPerGB = 40, 65, 3
)

var itemJ = map[scheduler.ModelID]float64{0: 12, 1: 0} // b is free: a constraint at work

func newMeteredCard() *meteredCard {
	c := &meteredCard{card: newCard(catalogue()...), began: time.Now()}
	c.CallExecutor = scheduler.NewCallExecutor(func(ctx context.Context, cmd scheduler.Command) error {
		err := c.call(ctx, cmd)
		if err == nil && cmd.Op == scheduler.OpLoad {
			c.spent += joulesPerGB * float64(c.models[cmd.Model].Bytes) / 1e9
		}
		if err == nil && cmd.Op == scheduler.OpRun {
			c.spent += itemJ[cmd.Model] * float64(len(cmd.Items))
		}
		return err
	})
	return c
}

func (c *meteredCard) Open(ctx context.Context, p scheduler.Plan) (scheduler.Capabilities, error) {
	c.card.opened, c.opened = true, time.Now()
	return c.CallExecutor.Open(ctx, p)
}

func (c *meteredCard) counter() (uint64, error) {
	if c.fail && !c.opened.IsZero() {
		return 0, errors.New("lost")
	}
	now := time.Now().Truncate(50 * time.Millisecond)
	joules := idleW * now.Sub(c.began).Seconds()
	if !c.opened.IsZero() && now.After(c.opened) {
		joules = idleW*c.opened.Sub(c.began).Seconds() + contextW*now.Sub(c.opened).Seconds()
	}
	return uint64((joules + c.spent) * 1000), nil
}

// TestMeasureEnergy: powers and costs come back from a stepping counter.
func TestMeasureEnergy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newMeteredCard()
		windows, err := MeasureEnergy(t.Context(), c, EnergyConfig{Config: Config{Plan: planOf(c.models)}, Counter: c.counter})
		if err != nil || c.closed == 0 || len(c.resident) != 0 {
			t.Fatalf("%v, closed %d times, resident %v", err, c.closed, c.resident)
		}
		if len(windows) != 3+3*5 || windows[0].Context || !windows[3].Context {
			t.Fatalf("%d windows", len(windows))
		}
		for _, w := range windows {
			if w.Seconds < 8 || w.Seconds > 14 {
				t.Errorf("a window of %v s", w.Seconds)
			}
		}
		e, err := FitEnergy(windows)
		if err != nil {
			t.Fatal(err)
		}
		near := func(what string, got, want, tolerance float64) {
			if math.Abs(got-want) > tolerance {
				t.Errorf("%s is %v, want %v", what, got, want)
			}
		}
		near("idle power", e.IdleW, idleW, .5)
		near("power with a context", e.ContextW, contextW, 1)
		near("a load", e.LoadJPerGB, joulesPerGB, .5)
		a := e.ItemJ["a"]
		near("an item", a.Value, 12, .2)
		if a.CI95[0] > 12 || a.CI95[1] < 12 || e.ItemJ["b"].Value > .2 || e.ItemJ["b"].CI95[0] != 0 || e.Unexplained > .02 {
			t.Errorf("%+v", e)
		}
		// What was fitted can be written.
		if p := (&profile.Profile{Energy: e}); p.Write(new(discard)) != nil {
			t.Error("it cannot be written")
		}
	})
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func TestMeasureEnergyFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newMeteredCard()
		c.fail = true
		cfg := EnergyConfig{Config: Config{Plan: planOf(c.models)}, Counter: c.counter}
		windows, err := MeasureEnergy(t.Context(), c, cfg)
		if err == nil || len(windows) != 3 || c.closed == 0 {
			t.Errorf("%v after %d windows", err, len(windows))
		}
		if _, err := FitEnergy(windows); !errors.Is(err, ErrEnergy) {
			t.Errorf("%v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		c = newMeteredCard()
		cfg.Counter = c.counter
		if _, err := MeasureEnergy(ctx, c, cfg); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
	same := make([]EnergyWindow, 9)
	for i := range same {
		same[i] = EnergyWindow{Seconds: 8, Joules: 100, Context: i%2 == 0, LoadGB: 3, Items: map[string]int{"a": 6}}
	}
	if _, err := FitEnergy(same); !errors.Is(err, ErrEnergy) {
		t.Errorf("what comes together is told apart: %v", err)
	}
}

// TestLeastSquares: no step along any coordinate that stays at 0 or above
// improves the fit.
func TestLeastSquares(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 5).Draw(t, "unknowns")
		rows := make([][]float64, rapid.IntRange(n+1, 20).Draw(t, "rows"))
		y := make([]float64, len(rows))
		for i := range rows {
			rows[i] = rapid.SliceOfN(rapid.Float64Range(0, 10), n, n).Draw(t, "row")
			y[i] = rapid.Float64Range(-5, 100).Draw(t, "y")
		}
		x, half, err := leastSquares(rows, y)
		if err != nil {
			return // they do not tell them apart
		}
		loss := func(x []float64) (sum float64) {
			for i, row := range rows {
				d := y[i] - dot(row, x)
				sum += d * d
			}
			return sum
		}
		best := loss(x)
		for j := range x {
			if x[j] < 0 || half[j] < 0 || math.IsNaN(half[j]) {
				t.Fatalf("%v ± %v", x, half)
			}
			for _, by := range []float64{-1e-3, 1e-3} {
				moved := append([]float64{}, x...)
				moved[j] = max(0, x[j]+by)
				if loss(moved) < best-1e-6*(1+best) {
					t.Fatalf("%v is better than %v", moved, x)
				}
			}
		}
	})
}
