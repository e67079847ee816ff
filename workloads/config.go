package workloads

import (
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/random"
)

// Config describes a generated workload: jobs that arrive, and of which items
// they are made. Exactly one of Streams and Pipelines is set.
type Config struct {
	Arrivals  Arrivals
	Streams   *Streams
	Pipelines []Pipeline

	// Duration, if positive, is when arrivals stop; one at that very time
	// still counts. Items, if positive, is after how many items no further job
	// starts. At least one of them is needed.
	Duration scheduler.Time
	Items    int64
}

// Streams are independent models: every job is one item.
type Streams struct {
	Models     []scheduler.ModelID
	Popularity Popularity
}

// Pipeline is a kind of job: stages of items that wait for each other.
type Pipeline struct {
	Name   string
	Weight float64 // share of the jobs relative to other pipelines; 0 stands for 1
	Stages []Stage
}

// Stage is a step of a pipeline.
type Stage struct {
	ID string
	// Model is the model of its items, or Choose says how often each is which.
	Model  scheduler.ModelID
	Choose []Choice
	// Items is how many items it has in a job, or, with Each, for each item of
	// that stage, after which alone they wait. Nil is one. At most 2²⁰ in a job.
	Items random.Dist
	Each  string
	// After are stages of which every item must have finished.
	After []string
	// Chance is the probability, per job or item of Each, that the stage is not
	// skipped; 0 stands for 1. What is skipped, or has no items, is done as soon
	// as what it waits for.
	Chance   float64
	Priority int32
	SLO      scheduler.Time // deadline of its items, counted from the job's arrival; 0: none
}

// Choice is one model of several, chosen in proportion to its weight.
type Choice struct {
	Model  scheduler.ModelID
	Weight float64
}

// maxItemsPerJob bounds the items of one job and the size of one burst.
const maxItemsPerJob = 1 << 20

// New returns the source of one replicate. It implements scheduler.Namer and,
// for a closed loop, scheduler.Reactive. Errors are of type *ConfigError, as
// are those of Next when a job draws too many items.
func New(cfg Config, seed uint64, replicate int) (scheduler.Source, error) {
	maker, err := newMaker(&cfg, keys{seed, uint64(replicate)})
	if err != nil {
		return nil, err
	}
	if cfg.Arrivals.Kind == Closed {
		return newClosed(&cfg, maker, keys{seed, uint64(replicate)}), nil
	}
	p, err := newProcess(&cfg.Arrivals, keys{seed, uint64(replicate)})
	if err != nil {
		return nil, err
	}
	return newOpen(&cfg, maker, p), nil
}

// Validate checks what New checks, without making a source.
func (c *Config) Validate() error {
	_, err := newMaker(c, keys{})
	return err
}

func (c *Config) validate() error {
	if err := c.Arrivals.validate(); err != nil {
		return err
	}
	switch {
	case c.Duration < 0 || c.Duration == scheduler.MaxTime:
		return wrong("duration", "must be positive and finite")
	case c.Items < 0:
		return wrong("items", "must not be negative")
	case c.Duration == 0 && c.Items == 0 && c.Arrivals.Kind != Piecewise:
		return wrong("duration", "neither duration nor items says when arrivals stop")
	case (c.Streams == nil) == (len(c.Pipelines) == 0):
		return wrong("streams", "needs either streams or pipelines")
	case c.Streams != nil && len(c.Streams.Models) == 0:
		return wrong("streams.models", "there are no models")
	case c.Streams != nil && c.Streams.Popularity.Sticky > 0 && c.Arrivals.Kind == Closed:
		return wrong("streams.popularity.sticky", "a closed loop has no order of arrivals that is the same for all policies")
	case c.Streams != nil:
		return c.Streams.Popularity.validate(len(c.Streams.Models))
	}
	return nil
}

// Random reports whether replicates can differ.
func (c *Config) Random() bool {
	a := &c.Arrivals
	switch a.Kind {
	case Closed:
		if a.Think != nil && varies(a.Think) {
			return true
		}
	case Constant:
	default:
		return true
	}
	if c.Streams != nil {
		return len(c.Streams.Models) > 1
	}
	if len(c.Pipelines) > 1 {
		return true
	}
	for _, s := range c.Pipelines[0].Stages {
		if len(s.Choose) > 1 || s.Chance > 0 && s.Chance < 1 || s.Items != nil && varies(s.Items) {
			return true
		}
	}
	return false
}

func varies(d random.Dist) bool {
	_, fixed := random.Fixed(d)
	return !fixed
}

// OfferedRates returns the mean number of items per second of each of the
// models, and whether it is known before the run: that of a closed loop is not.
func (c *Config) OfferedRates(models int) (perSecond []float64, known bool) {
	jobs, known := c.Arrivals.perSecond()
	rates := make([]float64, models)
	maker, err := newMaker(c, keys{})
	if !known || err != nil {
		return nil, false
	}
	maker.addRates(jobs, rates)
	return rates, true
}
