package nvml_test

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vramsim/vramsim/nvml"
	"github.com/vramsim/vramsim/nvml/nvmltest"
	"github.com/vramsim/vramsim/scheduler"
)

// tenant is a sleeper that takes memory of a card, as a framework in a container
// does: the list of processes has it under a PID of the host. Models take a tenth
// more than they declare, batches a tenth of a gigabyte, and the first load of all
// another 300 MiB that nobody tells of.
type tenant struct {
	*nvml.Sleeper
	card     *nvmltest.Card
	tells    bool         // how much it has
	has      atomic.Int64 // bytes
	begun    bool
	outcomes chan scheduler.Outcome
	quit     chan struct{}
}

const (
	weighs  = 1100 * scheduler.MB
	inBatch = 100 * scheduler.MB
	untold  = 300 * scheduler.MiB
)

// early is before the sleeper's own outcome of the same moment.
const early = time.Millisecond

func newTenant(s *nvml.Sleeper, card *nvmltest.Card, tells bool) *tenant {
	n := &tenant{Sleeper: s, card: card, tells: tells, outcomes: make(chan scheduler.Outcome), quit: make(chan struct{})}
	go func() {
		for {
			select {
			case o := <-s.Outcomes():
				if n.tells {
					has := scheduler.Bytes(n.has.Load())
					o.Memory = scheduler.DeviceMemory{Total: 24 * scheduler.GiB, Free: scheduler.GiB, Allocated: has, Reserved: has, PeakReserved: has + inBatch}
				}
				n.outcomes <- o
			case <-n.quit:
				return
			}
		}
	}()
	return n
}

// Start moves the memory: a load's in its midst, a batch's while it runs, an
// eviction's at once.
func (n *tenant) Start(c scheduler.Command) error {
	take := func(b scheduler.Bytes) {
		n.has.Add(int64(b))
		n.card.Use(b)
	}
	takes := time.Duration(c.Estimate)
	switch c.Op {
	case scheduler.OpLoad:
		time.AfterFunc(takes/2, func() { take(weighs / 2) })
		time.AfterFunc(takes-early, func() { take(weighs / 2) })
		if !n.begun {
			n.begun = true
			n.card.Use(untold)
		}
	case scheduler.OpRun:
		time.AfterFunc(takes/10, func() { n.card.Use(inBatch) })
		time.AfterFunc(takes-early, func() { n.card.Use(-inBatch) })
	case scheduler.OpEvict:
		time.AfterFunc(takes/2, func() { take(-weighs) })
	}
	return n.Sleeper.Start(c)
}

func (n *tenant) Outcomes() <-chan scheduler.Outcome { return n.outcomes }

func (n *tenant) Close(ctx context.Context) error {
	defer close(n.quit)
	return n.Sleeper.Close(ctx)
}

// slowCard is a card whose driver tells late what was in use.
type slowCard struct {
	*nvmltest.Card
	reading time.Duration
}

func (c *slowCard) Memory() (nvml.Memory, error) {
	m, err := c.Card.Memory()
	time.Sleep(c.reading)
	return m, err
}

// TestWorldInAContainer: where the processes are listed under PIDs of the host,
// what others take is seen while commands run, by what outcomes tell, and nothing
// is that is the run's own: neither what is in flight, nor more than was declared,
// nor what comes untold with the first use.
func TestWorldInAContainer(t *testing.T) {
	const others = 300 * scheduler.MiB
	for name, c := range map[string]struct {
		tells       bool
		from, until time.Duration // others have memory; 0: they never do
		reading     time.Duration // what the driver takes to tell of memory that was used before
		want        []scheduler.Bytes
	}{
		"alone":                       {tells: true},
		"alone, nothing told":         {},
		"alone, slow driver":          {tells: true, reading: 130 * time.Millisecond},
		"others":                      {true, 20050 * time.Millisecond, 30050 * time.Millisecond, 0, []scheduler.Bytes{others, 0}},
		"others from the first on":    {true, 2050 * time.Millisecond, 30050 * time.Millisecond, 0, nil}, // the error: first batch
		"others, nothing told":        {false, 20050 * time.Millisecond, 30050 * time.Millisecond, 0, nil},
		"others in a load's interval": {true, 16550 * time.Millisecond, 16950 * time.Millisecond, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				state := nvmltest.Healthy(0)
				state.Processes = []nvml.Process{{PID: 1 << 30, Bytes: 500 * scheduler.MiB}}
				r := &stageRun{card: nvmltest.NewCard(state)}
				r.config.Telemetry = []nvml.Telemetry{&slowCard{r.card, c.reading}}
				r.wrap = func(s *nvml.Sleeper) scheduler.Executor { return newTenant(s, r.card, c.tells) }
				r.run(t, 12, func() {
					if c.from == 0 {
						return
					}
					time.Sleep(c.from)
					r.card.Use(others)
					time.Sleep(c.until - c.from)
					r.card.Use(-others)
				})
				if done := r.events.of(scheduler.BatchFinished); r.err != nil || len(done) != 12 {
					t.Fatalf("%v; %d batches", r.err, len(done))
				}
				var told []scheduler.Bytes
				for _, fact := range r.events.of(scheduler.MemoryObserved) {
					told = append(told, scheduler.Bytes(fact.Value))
				}
				if len(told) > 0 && len(c.want) > 0 {
					told = []scheduler.Bytes{slices.Max(told), told[len(told)-1]} // what is in flight may hide a part for a while
				}
				if !slices.Equal(told, c.want) || (len(c.want) > 0) != strings.Contains(r.invalid(), "other processes hold") {
					t.Errorf("told of %v, want %v; invalid: %q", told, c.want, r.invalid())
				}
			})
		})
	}
}
