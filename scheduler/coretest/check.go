package coretest

import (
	"flag"
	"math"
	"os"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

// Check tries a property on the number of random cases that the environment
// variable VRAMSIM_CASES says, always others; without it on a few, always the
// same.
func Check(t *testing.T, few int, property func(*rapid.T)) {
	t.Helper()
	Cases(t, few)
	rapid.Check(t, property)
}

// Cases makes rapid.Check in t and its subtests try as many cases as Check
// would.
func Cases(t *testing.T, few int) {
	t.Helper()
	settings := map[string]string{"rapid.checks": strconv.Itoa(few), "rapid.seed": "1", "rapid.nofailfile": "true"}
	if text := os.Getenv("VRAMSIM_CASES"); text != "" {
		if n, err := strconv.Atoi(text); err != nil || n < 1 {
			t.Fatalf("VRAMSIM_CASES=%q is no positive number", text)
		}
		settings["rapid.checks"], settings["rapid.seed"] = text, "0"
	}
	for name, value := range settings {
		old := flag.Lookup(name).Value.String()
		if name == "rapid.seed" && old != "0" {
			continue // asked for on the command line
		}
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { flag.Set(name, old) })
	}
}

// Share is how many of the cases must come to an interesting place.
type Share struct {
	What    string
	Of      func(*Reach) int
	Percent float64
}

// Reach counts the cases that came to interesting places.
type Reach struct {
	Cases, Evict, EvictUnderClaim, Retry, Orphan, Cancel, SecondDevice, Tie, Zero, Spared, Revoked, HostLoad, Reclaim, Hold, Exhausted, Crowded int
}

// Require fails t if no case came to a place, or fewer did than its least share
// gives but for chance: cases are drawn anew each time, and with some hundreds of
// them a share can come out low by four standard deviations, once in thirty
// thousand times. In ten thousand cases that is a little.
func (r *Reach) Require(t testing.TB, shares []Share) {
	t.Helper()
	t.Logf("reached: %+v", *r)
	for _, s := range shares {
		expected := s.Percent / 100 * float64(r.Cases)
		if n := s.Of(r); n == 0 || float64(n) < expected-4*math.Sqrt(expected*(1-s.Percent/100)) {
			t.Errorf("%s in %d of %d cases; at least %.3g%% must reach it", s.What, n, r.Cases, s.Percent)
		}
	}
}

func (r *Reach) count(m *model, w *world, crowd int) {
	one := func(n *int, reached bool) {
		if reached {
			*n++
		}
	}
	r.Cases++
	one(&r.Evict, m.evictions > 0)
	one(&r.EvictUnderClaim, m.claimedEvicts > 0)
	one(&r.Retry, m.retries > 0)
	one(&r.Orphan, m.orphans > 0)
	one(&r.Cancel, m.cancels > 0)
	one(&r.SecondDevice, m.secondDevice)
	one(&r.Tie, w.ties > 0)
	one(&r.Zero, w.zeros > 0)
	one(&r.Spared, m.spared > 0)
	one(&r.Revoked, m.revoked > 0)
	one(&r.HostLoad, m.hostLoads > 0)
	one(&r.Reclaim, m.reclaims > 0)
	one(&r.Hold, m.heldExpired > 0)
	one(&r.Exhausted, m.pastLastAttempt > 0)
	one(&r.Crowded, crowd > 64)
}
