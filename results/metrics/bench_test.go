package metrics

import (
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/vramsim/vramsim/scheduler"
)

// BenchmarkFold folds batches of one and of eight items, each after a load:
// nine events for an item, and less than four.
func BenchmarkFold(b *testing.B) {
	for name, members := range map[string]int{"alone": 1, "batches": 8} {
		b.Run(name, func(b *testing.B) {
			f := newFold(b, catalogue(5, 1))
			run := &busyRun{rng: rand.New(rand.NewPCG(1, 1))}
			var events []scheduler.Event
			items := 0
			for items < b.N {
				b.StopTimer()
				for events = events[:0]; len(events) < 20_000 && items < b.N; items += members {
					run.turn(scheduler.ModelID(items/members%5), members)
					events = append(events, run.events...)
				}
				b.StartTimer()
				for rest := events; len(rest) > 0; { // a step is a few events
					n := min(3, len(rest))
					if err := f.Append(rest[:n]); err != nil {
						b.Fatal(err)
					}
					rest = rest[n:]
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(items), "ns/item")
		})
	}
}

// BenchmarkResult computes the quantiles of a million items.
func BenchmarkResult(b *testing.B) {
	f := newFold(b, catalogue(5, 1))
	run := &busyRun{rng: rand.New(rand.NewPCG(1, 1))}
	const items = 1_000_000
	for run.item < items {
		run.turn(scheduler.ModelID(run.item/4%5), 4)
		if err := f.Append(run.events); err != nil {
			b.Fatal(err)
		}
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	for b.Loop() {
		f.Result()
	}
	b.ReportMetric(float64(m.HeapAlloc)/items, "heap-B/item")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/items, "ns/item")
}
