package experiment

import (
	"io"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/workloads"
)

// recorded is a trace.
type recorded struct{}

func (t *tables) traceTables() {
	t.trace = record("{file: …}", key{name: "file", is: aText, must: true})
}

func (d *decoder) trace(f *fields, models []model) *recorded {
	d.errorf(f.n.at, "traces pending")
	return nil
}

// closed reports whether arrivals depend on what happens.
func (w *workload) closed() bool {
	return w.generated != nil && w.generated.Arrivals.Kind == workloads.Closed
}

func (w *workload) random() bool { return w.generated != nil && w.generated.Random() }

// rates returns items per second by model, nil where they are not known.
func (w *workload) rates(models int) []float64 {
	if w.generated == nil {
		return nil
	}
	rates, known := w.generated.OfferedRates(models)
	if !known {
		return nil
	}
	return rates
}

func (w *workload) serviceMean(int) float64 { return 0 }

// window is what metrics count.
func (w *workload) window() Window {
	win := Window{Warmup: w.warmup, Horizon: w.horizon}
	if w.generated != nil {
		win.Generated, win.End = true, w.generated.Duration
		if w.generated.Items > 0 {
			win.End = 0
		}
	}
	return win
}

// open makes the source of a replicate.
func (w *workload) open(seed uint64, replicate int) (scheduler.Source, io.Closer, error) {
	s, err := workloads.New(*w.generated, seed, replicate)
	return s, nil, err
}
