package workloads

import (
	"fmt"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/random"
)

// Popularity says how often each model of a list is drawn. The zero value
// draws all alike.
type Popularity struct {
	// Zipf draws the i-th of the list with a weight of i^-ZipfS.
	Zipf  bool
	ZipfS float64 // 0..20
	// Weights, one for each of the list, are used instead of Zipf.
	Weights []float64
	// Windows, if any, are weights of their own for each successive Window of
	// time; the last ones stay.
	Windows [][]float64
	Window  scheduler.Time
	// Sticky is the probability of drawing the same model as before.
	Sticky float64
}

func (p *Popularity) validate(models int) error {
	switch {
	case !(p.ZipfS >= 0 && p.ZipfS <= 20):
		return wrong("streams.popularity.zipf.s", "%v; must be between 0 and 20", p.ZipfS)
	case !(p.Sticky >= 0 && p.Sticky <= 1):
		return wrong("streams.popularity.sticky.p", "%v; must be between 0 and 1", p.Sticky)
	case len(p.Windows) > 0 && p.Window <= 0:
		return wrong("streams.popularity.windowed", "the windows have no length")
	case p.Zipf && p.Weights != nil:
		return wrong("streams.popularity", "zipf and weights exclude each other")
	}
	if p.Weights != nil {
		if err := validateWeights("streams.popularity.weights", p.Weights, models); err != nil {
			return err
		}
	}
	for i, w := range p.Windows {
		if err := validateWeights(fmt.Sprintf("streams.popularity.windowed[%d]", i), w, models); err != nil {
			return err
		}
	}
	return nil
}

func validateWeights(field string, weights []float64, models int) error {
	if len(weights) != models {
		return wrong(field, "%d weights for %d models", len(weights), models)
	}
	return validateCounts(field, weights, true)
}

// weights returns the weights of n models outside windows.
func (p *Popularity) weights(n int) []float64 {
	if p.Weights != nil {
		return p.Weights
	}
	w := make([]float64, n)
	for i := range w {
		w[i] = 1
		if p.Zipf {
			w[i] = random.Exp(-p.ZipfS * random.Log(float64(i+1)))
		}
	}
	return w
}

// picker draws an index by weight, in constant expected time: guide[k] is the
// first index that a uniform of at least k/len(guide) can mean. That length is
// a power of two, so that no product with it is rounded.
type picker struct {
	upto  []float64 // cumulated shares; the last with a positive weight is 1
	guide []int32
	steps float64 // length of guide
}

func newPicker(weights []float64) picker {
	total, cumulated := sum(weights), 0.0
	n := nextPowerOfTwo(4 * len(weights))
	p := picker{upto: make([]float64, len(weights)), guide: make([]int32, n), steps: float64(n)}
	last := 0
	for i, w := range weights {
		cumulated += w
		p.upto[i] = cumulated / total
		if w > 0 {
			last = i
		}
	}
	for i := last; i < len(weights); i++ {
		p.upto[i] = 1
	}
	i := 0
	for k := range p.guide {
		for i < last && p.upto[i] <= float64(k)/p.steps {
			i++
		}
		p.guide[k] = int32(i)
	}
	return p
}

func (p *picker) pick(u float64) int {
	i := int(p.guide[int(u*p.steps)])
	for u >= p.upto[i] {
		i++
	}
	return i
}

// share returns the probability of index i.
func (p *picker) share(i int) float64 {
	if i == 0 {
		return p.upto[0]
	}
	return p.upto[i] - p.upto[i-1]
}
