package metrics

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/scheduler"
)

// queueRun feeds a fold with a queue of one server: jobs of the given number
// of items arrive with rate rho/(size·1 s), an item takes an exponential second.
func queueRun(t testing.TB, seed uint64, rho float64, jobs, size int, generated bool) *Result {
	c := catalogue(1, 1)
	c.Generated = generated
	f := newFold(t, c)
	rng := rand.New(rand.NewPCG(seed, 11))
	var events []scheduler.Event
	seq := int64(0)
	emit := func(at scheduler.Time, kind scheduler.Kind, id, value int64) int64 {
		events = append(events, scheduler.Event{At: at, Kind: kind, ID: id, Value: value})
		seq++
		return seq - 1
	}
	exp := func(mean float64) scheduler.Time { return scheduler.Time(rng.ExpFloat64() * mean * 1e9) }
	var queue []int64
	next, done := exp(float64(size)/rho), scheduler.Never
	var batch int64
	for arrived, id := 0, int64(0); arrived < jobs || done != scheduler.Never; {
		if arrived < jobs && next < done {
			for range size {
				emit(next, scheduler.ItemArrived, id, 0)
				queue = append(queue, id)
				id++
			}
			now := next
			arrived++
			next += exp(float64(size) / rho)
			if done == scheduler.Never {
				emit(now, scheduler.MemberDispatched, queue[0], 0)
				batch = emit(now, scheduler.BatchStarted, seq, scheduler.PackBatch(1, 0))
				done = now + exp(1)
			}
		} else {
			emit(done, scheduler.BatchFinished, batch, 0)
			queue = queue[1:]
			if len(queue) == 0 {
				done = scheduler.Never
			} else {
				emit(done, scheduler.MemberDispatched, queue[0], 0)
				batch = emit(done, scheduler.BatchStarted, seq, scheduler.PackBatch(1, 0))
				done += exp(1)
			}
		}
		if err := f.Append(events); err != nil {
			t.Fatal(err)
		}
		events = events[:0]
	}
	return f.Result()
}

func unstableShare(t *testing.T, runs int, rho float64, jobs, size int) float64 {
	n := 0
	for seed := range runs {
		r := queueRun(t, uint64(seed), rho, jobs, size, true)
		if len(r.Invalid) > 0 {
			if !strings.HasPrefix(r.Invalid[0], "unstable: the backlog still grows by about ") {
				t.Fatalf("%q", r.Invalid)
			}
			n++
		}
	}
	return float64(n) / float64(runs)
}

func TestStableRunsAreValid(t *testing.T) {
	for _, c := range []struct {
		rho        float64
		jobs, size int
		most       float64
	}{{0.5, 1, 1, 0}, {0.5, 10, 1, 0}, {0.5, 100, 1, 0}, {0.5, 1000, 1, 0}, {0.8, 1000, 1, 0}, {0.9, 10_000, 1, 0}, {0.95, 1000, 1, .006}, {0.7, 100, 30, .003}, {0.9, 300, 30, .01}} {
		runs := 300
		if c.jobs*c.size > 3000 {
			runs = 100
		}
		if share := unstableShare(t, runs, c.rho, c.jobs, c.size); share > c.most {
			t.Errorf("%v of the runs with utilisation %v and %d jobs of %d items are called unstable", share, c.rho, c.jobs, c.size)
		}
	}
}

func TestOverloadIsUnstable(t *testing.T) {
	for _, c := range []struct {
		rho        float64
		jobs, size int
		least      float64
	}{{1.05, 40_000, 1, .9}, {1.2, 4000, 1, .95}, {1.5, 500, 1, .8}, {2, 200, 1, .95}, {3, 100, 1, .95}, {2, 200, 30, .95}, {4, 60, 30, .9}} {
		if share := unstableShare(t, 20, c.rho, c.jobs, c.size); share < c.least {
			t.Errorf("only %v of the runs with load %v and %d jobs of %d items are called unstable", share, c.rho, c.jobs, c.size)
		}
	}
	if r := queueRun(t, 1, 3, 500, 1, false); len(r.Invalid) > 0 {
		t.Errorf("a finite trace is called %q", r.Invalid)
	}
}
