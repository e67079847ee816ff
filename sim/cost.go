package sim

import (
	"fmt"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/random"
)

// Cost is what things truly take for one model. Durations are in nanoseconds.
type Cost struct {
	Name string
	Load [scheduler.Tiers]random.Dist
	// FirstUse is added to the first load on a device after it came up, the
	// start included: kernels are loaded and tuned then.
	FirstUse scheduler.Time
	Unload   random.Dist
	// UnloadBusy, if not nil, replaces Unload while a batch runs on the device.
	UnloadBusy random.Dist
	// Batch gives the time of a batch as a function of its members: base plus
	// per item, scaled by each item's work.
	Batch scheduler.BatchCost
	// BatchTime, if not nil, is drawn per batch and replaces Batch's times.
	BatchTime random.Dist
	// ItemTime, if not nil, is drawn per item, scaled by its work, summed and
	// added to Batch.Base.
	ItemTime random.Dist
}

// Purposes of random draws: the last part of their keys.
const (
	drawLoad uint64 = iota + 1
	drawUnload
	drawItem
	drawBatch
	drawLoadFault
	drawBatchFault
)

// draws makes the keys of DESIGN §3.1: a load by (model name, its ordinal), an
// item by (id, attempt), a batch by (its lowest member, attempt).
type draws struct {
	seed      uint64
	replicate uint64
	names     []uint64 // hashes, by model
}

func newDraws(seed uint64, replicate int, models []Cost) draws {
	d := draws{seed: seed, replicate: uint64(replicate), names: make([]uint64, len(models))}
	for i := range models {
		d.names[i] = random.Hash(models[i].Name)
	}
	return d
}

func (d *draws) uniform(purpose, a, b uint64) float64 {
	return random.Uniform(random.Key(d.seed, d.replicate, purpose, a, b))
}

func (d *draws) load(m scheduler.ModelID, ordinal int64, dist random.Dist) scheduler.Time {
	return drawn(dist, d.uniform(drawLoad, d.names[m], uint64(ordinal)))
}

func drawn(dist random.Dist, u float64) scheduler.Time {
	return scheduler.Time(random.Round(dist.Quantile(u)))
}

// fixedTimes are a model's durations that do not vary; -1 where they do.
type fixedTimes struct {
	load       [scheduler.Tiers]scheduler.Time
	unload     scheduler.Time
	unloadBusy scheduler.Time // -1 also where it is as unload
}

func constants(c *Cost) fixedTimes {
	f := fixedTimes{unload: constant(c.Unload), unloadBusy: -1}
	if c.UnloadBusy != nil {
		f.unloadBusy = constant(c.UnloadBusy)
	}
	for t := range c.Load {
		f.load[t] = constant(c.Load[t])
	}
	return f
}

// constant returns the value of a distribution that has only one, -1 for others.
func constant(d random.Dist) scheduler.Time {
	if v, ok := random.Fixed(d); ok {
		return scheduler.Time(random.Round(v))
	}
	return -1
}

// LoadTruth returns the true duration of a model's ordinal-th load, as a World
// of this configuration will carry it out: what an oracle estimator knows. A
// FirstUse counts in the first load only: on several devices, or after the loss
// of one, it depends on where the loads are.
func LoadTruth(cfg Config) func(scheduler.ModelID, scheduler.Tier, int64) scheduler.Time {
	d := newDraws(cfg.Seed, cfg.Replicate, cfg.Models)
	return func(m scheduler.ModelID, t scheduler.Tier, ordinal int64) scheduler.Time {
		took := d.load(m, ordinal, cfg.Models[m].Load[t])
		if ordinal == 0 {
			took, _ = scheduler.AddTime(took, cfg.Models[m].FirstUse)
		}
		return took
	}
}

// OverflowError says that a duration would run past the end of time.
type OverflowError struct {
	At       scheduler.Time
	Duration scheduler.Time
	Item     scheduler.ItemID // the lowest of a batch, -1 if it is none
	What     string           // like "batch of item 3" or "load of model a"
}

func (e *OverflowError) Error() string {
	return fmt.Sprintf("time overflow: %s begun at %v takes %v", e.What, e.At, e.Duration)
}
