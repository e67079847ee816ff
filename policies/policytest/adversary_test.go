package policytest

import (
	"testing"

	"github.com/vramsim/vramsim/policies"
)

// The adversary finds worse than as many worlds drawn at random, the same each
// time, and what it shows has the figure that it says.
func TestAdversary(t *testing.T) {
	trial := on(policies.Spec{Use: "sticky"})
	for _, ob := range objectives() {
		worst := ob.climb(trial, Config{Seed: 3, Evaluations: 1500})
		if n, of := ob.figure(trial, worst.World); n != worst.Num || of != worst.Den || worst.Evaluations != 1500 {
			t.Errorf("%s: %d/%d is said of a world with %d/%d", ob.name, worst.Num, worst.Den, n, of)
		}
		if again := ob.climb(trial, Config{Seed: 3, Evaluations: 1500}); again.World.String() != worst.World.String() {
			t.Errorf("%s: %v, then %v", ob.name, worst.World, again.World)
		}
		for key := range uint64(1500) {
			if n, of := ob.figure(trial, Draw(key, Small())); less(worst.Num, worst.Den, n, of) {
				t.Errorf("%s: at random %d/%d, by climbing %d/%d", ob.name, n, of, worst.Num, worst.Den)
			}
		}
		t.Logf("%s: %s in %v", ob.name, worst.Figure(), worst.World)
	}
	// In order nobody is overtaken.
	if worst := objectives()[0].climb(on(policies.Spec{Use: "fifo"}), Config{Evaluations: 300}); worst.Num != 0 || worst.Figure() != "0" {
		t.Errorf("fifo has a bypass of %s in %v", worst.Figure(), worst.World)
	}
	if worst := objectives()[1].climb(on(policies.Spec{Use: "sticky", Pin: []string{"nobody"}}), Config{Evaluations: 100}); worst.Figure() != "none" {
		t.Errorf("what cannot be built has %s", worst.Figure())
	}
}

// Every change of an adversary leaves a world that can be run.
func TestChanges(t *testing.T) {
	d := &dice{}
	trial := on(policies.Spec{Use: "fifo"})
	w := Draw(1, Small())
	for i := range 3000 {
		next := w.clone()
		if !d.change(next) {
			continue
		}
		w = next
		if !w.sound() {
			t.Fatalf("change %d: %v", i, w)
		}
		if _, err := w.drive(trial.set, trial.spec, false); err != nil {
			t.Fatalf("change %d: %v in %v", i, err, w)
		}
	}
}

// Products that do not fit in 64 bits are compared, too.
func TestLess(t *testing.T) {
	const big = 1 << 62
	for _, c := range []struct {
		a, b, c, d int64
		want       bool
	}{{1, 2, 2, 3, true}, {2, 3, 1, 2, false}, {1, 2, 2, 4, false}, {big - 1, big, big, big, true}, {big, big - 1, big, big, false}, {0, 1, 0, 5, false}} {
		if got := less(c.a, c.b, c.c, c.d); got != c.want {
			t.Errorf("%d/%d < %d/%d: %v", c.a, c.b, c.c, c.d, got)
		}
	}
}
