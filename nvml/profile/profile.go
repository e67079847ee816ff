// Package profile is what vramsim calibrate found out about a machine: the
// costs of its models and links, with where they come from.
//
// It holds the types and the writer. Reading is sim/experiment's, which knows
// files, lines and columns: experiment.ReadProfile. What Write writes it reads
// back equal.
package profile

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/random"
)

// Version of the file that this package describes.
const Version = 1

// Profile is the content of a profile. Sections that are nil were not measured.
type Profile struct {
	Machine  *Machine
	Measured *Measured
	Process  *Process
	Tiers    Tiers
	Overlap  *Overlap
	Models   []Model // names are unique
	Energy   *Energy
}

// Machine is the card that was measured.
type Machine struct {
	GPU      string
	UUIDHash string // enough to tell cards apart, not to find one
	CC       string // compute capability, like "9.0"
	Memory   scheduler.Bytes
	Limit    scheduler.Bytes // of the memory that was used; 0: none
	Driver   string
	CUDA     string
	Link     string // like "gen4x16"
	SMMHz    [2]int // least and greatest clock; 0: unknown
}

// Measured says where the figures come from.
type Measured struct {
	At        time.Time // UTC; zero: unknown
	Commit    string
	Executor  string // that carried out the loads, or the format of recorded ones
	HostTier  string // what host is: "pagecache" or "pinned"
	Status    string // VALID, INVALID or INCOMPLETE
	RawSHA256 string // of the samples
}

// Process is what it costs to have a process on the device at all.
type Process struct {
	Spawn, Context scheduler.Time
	ContextMemory  scheduler.Bytes
}

// Tiers are the links that weights come over; nil ones were not measured.
type Tiers struct {
	Pinned, Pagecache, Disk *Tier
}

// Tier is the line through the load times of models of several sizes.
type Tier struct {
	Base, PerGB scheduler.Time // PerGB: for 10⁹ bytes
	N           int            // loads
	Residual    *Residual
}

// Residual holds quantiles of the relative errors of a Tier: 0.02 is 2 %.
type Residual struct{ P5, P95 float64 }

// Overlap says how much slower copies and kernels are while the other runs: 1
// is no slower.
type Overlap struct{ Copy, Compute float64 }

// Model is what one model costs. What is zero or nil was not measured.
type Model struct {
	Name   string
	Memory Memory
	// Load is by scheduler.Tier; either may be the zero Dist.
	Load       [scheduler.Tiers]Dist
	FirstUse   scheduler.Time // added to the first load after the device came up
	Unload     Dist           // from an idle device
	UnloadBusy Dist           // while a batch runs
	Batch      *Batch
	// Comment is written above the model, a line each; it is not read back.
	Comment []string
}

// Memory is what a model occupies.
type Memory struct {
	Declared, Weights, LoadPeak, Residue scheduler.Bytes
	RunPeak                              map[int]scheduler.Bytes // by size of the batch
}

// Batch is what batches cost: Base + PerItem·n, or by size where Times has it.
type Batch struct {
	Max           int
	Memory        scheduler.Bytes // per item
	Base, PerItem scheduler.Time
	Times         map[int]scheduler.Time
}

// Energy is what is used for what.
type Energy struct {
	IdleW, ContextW, LoadJPerGB float64
	ItemJ                       map[string]Estimate // by model
	Unexplained                 float64             // share of the energy: 0.02 is 2 %
}

// Estimate is a value and its 95 % interval.
type Estimate struct {
	Value float64
	CI95  [2]float64
}

// Dist is a distribution of durations in nanoseconds, with its spelling in an
// experiment file. The zero value stands for none.
type Dist struct {
	random.Dist
	text string
}

// Spelt returns a distribution and how it is spelt, in flow style.
func Spelt(d random.Dist, text string) Dist { return Dist{d, text} }

// String returns the spelling.
func (d Dist) String() string { return d.text }

// Given reports whether d is a distribution.
func (d Dist) Given() bool { return d.Dist != nil }

// Constant returns the distribution that is always t.
func Constant(t scheduler.Time) Dist { return Dist{random.Constant(float64(t)), t.String()} }

// Empirical returns the distribution that takes each of the values with equal
// probability.
func Empirical(values []scheduler.Time) (Dist, error) {
	numbers, texts := make([]float64, len(values)), make([]string, len(values))
	for i, v := range values {
		numbers[i], texts[i] = float64(v), v.String()
	}
	d, err := random.Empirical(numbers)
	return Dist{d, "{empirical: {values: [" + strings.Join(texts, ", ") + "]}}"}, err
}

// Lognormal returns the lognormal distribution with a median and a 95th
// percentile.
func Lognormal(p50, p95 scheduler.Time) (Dist, error) {
	d, err := random.Lognormal(float64(p50), float64(p95))
	return Dist{d, fmt.Sprintf("{lognormal: {p50: %v, p95: %v}}", p50, p95)}, err
}

// LognormalPart is a part of a mixture.
type LognormalPart struct {
	Weight   float64
	P50, P95 scheduler.Time
}

// Mixture returns the distribution that follows each lognormal part with a
// probability proportional to its weight, of which six decimals are kept.
func Mixture(parts []LognormalPart) (Dist, error) {
	var all []random.Part
	var texts []string
	for _, p := range parts {
		weight := math.Round(p.Weight*1e6) / 1e6
		d, err := random.Lognormal(float64(p.P50), float64(p.P95))
		if err != nil {
			return Dist{}, err
		}
		all = append(all, random.Part{Weight: weight, Dist: d})
		texts = append(texts, fmt.Sprintf("{weight: %v, lognormal: {p50: %v, p95: %v}}", weight, p.P50, p.P95))
	}
	d, err := random.Mixture(all...)
	return Dist{d, "{mixture: [" + strings.Join(texts, ", ") + "]}"}, err
}

// ErrName is wrapped by the error for a name that cannot be written.
var ErrName = errors.New("not a printable name of 1 to 256 bytes")

// check refuses what would not be read back.
func (p *Profile) check() error {
	names := map[string]bool{}
	for i := range p.Models {
		m := &p.Models[i]
		switch {
		case !printable(m.Name):
			return fmt.Errorf("model %q: %w", m.Name, ErrName)
		case names[m.Name]:
			return fmt.Errorf("model %q stands twice", m.Name)
		}
		for _, d := range []Dist{m.Load[scheduler.TierDisk], m.Load[scheduler.TierHost], m.Unload, m.UnloadBusy} {
			if d.Given() && (d.text == "" || !(d.Mean() <= float64(scheduler.MaxTime/4))) {
				return fmt.Errorf("model %q: the distribution %q has no spelling or no mean", m.Name, d.text)
			}
		}
		names[m.Name] = true
	}
	if p.Energy != nil {
		for name := range p.Energy.ItemJ {
			if !printable(name) {
				return fmt.Errorf("model %q: %w", name, ErrName)
			}
		}
	}
	return nil
}

func printable(s string) bool {
	return strings.TrimSpace(s) != "" && len(s) <= 256 && !strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == '\ufffd'
	})
}

// Model returns the costs of a model, nil if there are none.
func (p *Profile) Model(name string) *Model {
	if i := slices.IndexFunc(p.Models, func(m Model) bool { return m.Name == name }); i >= 0 {
		return &p.Models[i]
	}
	return nil
}
