package calibrate

import (
	"fmt"
	"maps"
	"slices"

	"github.com/vramsim/vramsim/nvml/profile"
	"github.com/vramsim/vramsim/scheduler"
)

// Observations are the durations measured of one model.
type Observations struct {
	Name  string
	Bytes scheduler.Bytes // of its weights, 0 if unknown
	// Load and FirstLoad are by scheduler.Tier; FirstLoad holds those that were
	// the first on their device since it came up.
	Load, FirstLoad    [scheduler.Tiers][]scheduler.Time
	Unload, UnloadBusy []scheduler.Time
	Batches            map[int][]scheduler.Time // by size
	MaxBatch           int                      // that may be run, 0 if unknown
	// Memory is what the framework on the device said it held, alone there;
	// zero where it says nothing. Its Declared is not used: Bytes is.
	Memory      profile.Memory
	BatchMemory scheduler.Bytes // per item, as declared; 0 if unknown
}

// addBatch notes the time of a batch.
func (o *Observations) addBatch(n int, took scheduler.Time) {
	if o.Batches == nil {
		o.Batches = map[int][]scheduler.Time{}
	}
	o.Batches[n] = append(o.Batches[n], took)
}

// Summarised is a fit of something of a model, for people.
type Summarised struct {
	Model, What string // like "load from disk"
	Summary     *Summary
}

// Model makes the costs of a profile, loads as the family that is wanted. What
// was not observed is left out.
func (o *Observations) Model(want Family) (profile.Model, []Summarised, error) {
	m := profile.Model{Name: o.Name, Memory: o.Memory, Batch: o.batch()}
	m.Memory.Declared = o.Bytes
	var all []Summarised
	fit := func(what string, samples []scheduler.Time, want Family) (profile.Dist, error) {
		if len(samples) == 0 {
			return profile.Dist{}, nil
		}
		s, err := Summarise(samples, want)
		if err != nil {
			return profile.Dist{}, fmt.Errorf("%s, %s: %w", o.Name, what, err)
		}
		all = append(all, Summarised{o.Name, what, s})
		m.Comment = append(m.Comment, what+": "+s.String())
		return s.Fit.Dist, nil
	}
	for _, part := range []struct {
		what    string
		to      *profile.Dist
		samples []scheduler.Time
		want    Family
	}{
		{"load from disk" + o.onlyFirst(scheduler.TierDisk), &m.Load[scheduler.TierDisk], o.again(scheduler.TierDisk), want},
		{"load from host" + o.onlyFirst(scheduler.TierHost), &m.Load[scheduler.TierHost], o.again(scheduler.TierHost), want},
		{"unload", &m.Unload, o.Unload, Empirical},
		{"unload, busy", &m.UnloadBusy, o.UnloadBusy, Empirical},
	} {
		var err error
		if *part.to, err = fit(part.what, part.samples, part.want); err != nil {
			return m, nil, err
		}
	}
	if m.UnloadBusy.Given() && !m.Unload.Given() { // all there is to say
		m.Unload = m.UnloadBusy
	}
	m.FirstUse = o.firstUse()
	return m, all, nil
}

// again returns the loads that were not the first, or where there are no
// others the first ones.
func (o *Observations) again(t scheduler.Tier) []scheduler.Time {
	if len(o.Load[t]) == 0 {
		return o.FirstLoad[t]
	}
	return o.Load[t]
}

// onlyFirst says that all loads from a tier were first uses, whose extra time
// is then a part of them.
func (o *Observations) onlyFirst(t scheduler.Tier) string {
	if len(o.Load[t]) == 0 && len(o.FirstLoad[t]) > 0 {
		return ", first uses only"
	}
	return ""
}

// firstUse returns by how much the median of first loads exceeds that of
// others from the same tier, 0 where nothing is known of one of them.
func (o *Observations) firstUse() scheduler.Time {
	for t := range o.Load {
		if len(o.Load[t]) > 0 && len(o.FirstLoad[t]) > 0 {
			return max(0, median(o.FirstLoad[t])-median(o.Load[t]))
		}
	}
	return 0
}

// batch makes medians by size, and the line through all batches if there are
// several sizes.
func (o *Observations) batch() *profile.Batch {
	if len(o.Batches) == 0 {
		return nil
	}
	sizes := slices.Sorted(maps.Keys(o.Batches))
	b := &profile.Batch{Max: max(o.MaxBatch, sizes[len(sizes)-1]), Memory: o.BatchMemory}
	times := map[int]scheduler.Time{}
	var points []point
	for _, n := range sizes {
		times[n] = median(o.Batches[n])
		for _, took := range o.Batches[n] {
			points = append(points, point{float64(n), float64(took)})
		}
	}
	if len(sizes) == 1 {
		b.PerItem = times[sizes[0]] / scheduler.Time(sizes[0])
		return b
	}
	line := theilSen(points)
	b.Base, b.PerItem = line.times()
	if sizes[0] == 1 {
		b.Times = times
	}
	return b
}

// Tiers fits load time as a line in bytes, by tier, where models of at least
// two sizes were loaded. Host is what the host tier was: pinned or pagecache.
func Tiers(models []Observations, host string) profile.Tiers {
	var fits [scheduler.Tiers]*profile.Tier
	for t := range fits {
		var points []point
		sizes := map[scheduler.Bytes]bool{}
		for i := range models {
			o := &models[i]
			for _, took := range o.Load[t] {
				if o.Bytes > 0 {
					points = append(points, point{float64(o.Bytes) / float64(scheduler.GB), float64(took)})
					sizes[o.Bytes] = true
				}
			}
		}
		if len(sizes) >= 2 {
			fits[t] = tier(points)
		}
	}
	tiers := profile.Tiers{Disk: fits[scheduler.TierDisk], Pagecache: fits[scheduler.TierHost]}
	if host == "pinned" {
		tiers.Pinned, tiers.Pagecache = tiers.Pagecache, nil
	}
	return tiers
}

func tier(points []point) *profile.Tier {
	line := theilSen(points)
	base, perGB := line.times()
	residual := profile.Residual{}
	residual.P5, residual.P95 = line.residuals(points)
	return &profile.Tier{Base: base, PerGB: perGB, N: len(points), Residual: &residual}
}
