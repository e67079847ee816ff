package experiment

import (
	"fmt"
	"math"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/sim"
)

// Cell is one point of the sweep: a machine, models, a workload and policies.
type Cell struct {
	// ID is made of what the cell is, whatever its policies are called: 8
	// hexadecimal digits of a SHA-256.
	ID  string
	Set []Setting // what the sweep set, in the order of the axes
	// Workload identifies the arrivals of all replicates: cells in which it
	// agrees can be compared pair by pair.
	Workload   string
	Replicates int // 1 when nothing is random
	Models     []scheduler.Model
	Devices    []scheduler.Device
	HostMemory scheduler.Bytes
	Policies   []Row
	// Offered is the load of each model, nil where it is not known before the run.
	Offered  []Offered
	Warnings []string

	tree     *node  // resolved
	what     []byte // identity of all but seed and policies
	seed     uint64
	random   bool
	hardware hardware
	models   []model
	workload workload
	policies []policy
	attempts int
	faults   sim.Faults
	settling settling
}

// Row is a policy of a cell.
type Row struct {
	Name        string // as tables call it
	Use         string
	Clairvoyant bool
	// Settings are all parameters, defaults included, like {"params.wait", "30s"}.
	Settings []Setting
}

func (c *Cell) names() []string {
	names := make([]string, len(c.policies))
	for i := range c.policies {
		names[i] = c.policies[i].name
	}
	return names
}

// cell reads one point. It always returns a cell; what is wrong is in d.errs.
func (d *decoder) cell(tree *node, set *policies.Set, swept []string) *Cell {
	c := &Cell{tree: tree}
	f := fields{d, tree, d.tables.root, ""}
	c.seed, _ = d.seed(&f)
	d.seedOf = c.seed
	prof := &measured{}
	if n, p := f.get("hardware"); n != nil {
		prof = d.profile(n, p)
		prof.limit(d.knowledge)
		c.hardware = d.hardware(n, p)
	}
	if n, p := f.get("models"); n != nil {
		c.models = d.models(n, p, prof)
		for i := range c.models {
			if d.knowledge == KnowMeans {
				c.models[i].average()
			}
		}
		d.fits(&c.hardware, c.models)
		c.Warnings = append(c.Warnings, prof.warnings(c.models)...)
	}
	c.attempts = int(f.integer("attempts", 1, 1<<16))
	if n, p := f.get("workload"); n != nil {
		c.workload = d.workload(n, p, c.models)
	}
	if n, p := f.get("faults"); n != nil {
		c.faults = d.faults(n, p, &c.hardware)
	}
	d.catalogue(c)
	if n, p := f.get("policies"); n != nil {
		c.policies = d.policies(n, p, set, c.env(0))
	}
	if d.errs.none() {
		d.checkClairvoyance(c)
		d.checkOracle(c)
	}
	f.done()
	if d.errs.none() {
		c.describe(swept)
	}
	return c
}

// catalogue fills in what others see of the machine and the models.
func (d *decoder) catalogue(c *Cell) {
	c.Devices, c.HostMemory = c.hardware.devices, c.hardware.hostMemory
	c.Models = make([]scheduler.Model, len(c.models))
	for i := range c.models {
		c.Models[i] = c.models[i].core
	}
}

// env is what policies of the cell are built for.
func (c *Cell) env(replicate int) policies.Env {
	return policies.Env{Seed: c.seed, Replicate: replicate, Models: c.Models, Devices: c.Devices,
		HostMemory: c.HostMemory, Horizon: c.workload.horizon}
}

// checkClairvoyance refuses policies that know the future where it depends on them.
func (d *decoder) checkClairvoyance(c *Cell) {
	if !c.workload.closed() {
		return
	}
	for i := range c.policies {
		if c.policies[i].clairvoyant {
			at := c.tree.child("policies").values[i].at
			d.errorf(at, "policies[%d]: %s is clairvoyant; the arrivals of a closed loop depend on the policy and cannot be foreseen", i, quote(c.policies[i].name))
		}
	}
}

// checkOracle refuses estimates that would have to know where a load is.
func (d *decoder) checkOracle(c *Cell) {
	if c.hardware.estimates.config.Kind != "oracle" || len(c.Devices) == 1 && len(c.faults.Outages) == 0 {
		return
	}
	for i := range c.models {
		if c.models[i].cost.FirstUse > 0 {
			d.errorf(c.tree.child("hardware").child("estimates").at, "hardware.estimates: an oracle knows load times by their number, but the first use of %s comes once on each GPU and after each outage; expected one GPU without outages, or a model without first_use",
				quote(c.models[i].core.Name))
			return
		}
	}
}

// describe computes what tables show of a cell that is right.
func (c *Cell) describe(swept []string) {
	what := []string{"hardware", "models", "workload", "attempts", "faults"}
	own := what
	for _, s := range swept {
		if s == "seed" || s == "policies" {
			own = append(own, s)
		}
	}
	c.what = c.identity(what...)
	if c.ID = digest(c.what); len(own) > len(what) {
		c.ID = digest(c.identity(own...))
	}
	c.Workload = digest(append(c.identity("seed", "workload"), c.modelNames()...))
	c.random = c.varies()
	for i := range c.policies {
		p := &c.policies[i]
		row := Row{Name: p.name, Use: p.spec.Use, Clairvoyant: p.clairvoyant}
		for _, s := range p.settings {
			row.Settings = append(row.Settings, Setting{s.Key, shown(spell(place{}, s.Value))})
		}
		c.Policies = append(c.Policies, row)
	}
	c.offer()
}

func (c *Cell) modelNames() []byte {
	var names []byte
	for i := range c.Models {
		names = fmt.Appendf(names, "%q\n", c.Models[i].Name)
	}
	return names
}

// varies reports whether replicates can differ.
func (c *Cell) varies() bool {
	if c.faults.LoadFailure > 0 || c.faults.BatchFailure > 0 || c.hardware.estimates.config.Kind == "noisy" || c.workload.random() {
		return true
	}
	for i := range c.models {
		if c.models[i].random {
			return true
		}
	}
	for i := range c.policies {
		if c.policies[i].random {
			return true
		}
	}
	return false
}

// Offered is how busy the arrivals of a model would keep all slots: shares of 1.
type Offered struct {
	Model     string
	PerSecond float64 // items
	// Batches is the share spent on batches that are always full; WithLoads
	// adds a load before each of them.
	Batches, WithLoads float64
}

// offer computes the offered load and warns where it is above capacity, and of
// what an importer changed.
func (c *Cell) offer() {
	if c.workload.trace != nil {
		for _, w := range c.workload.trace.warnings {
			c.warn("workload.trace: %s", w)
		}
	}
	rates := c.workload.rates(len(c.models))
	slots := 0.0
	for _, d := range c.Devices {
		slots += float64(d.Slots)
	}
	if rates == nil || slots == 0 {
		return
	}
	batches, loads, weights := 0.0, 0.0, scheduler.Bytes(0)
	for i := range c.Models {
		m := &c.Models[i]
		n := float64(m.Batch.Max)
		perItem := (m.Batch.Time(m.Batch.Max, int64(m.Batch.Max)*scheduler.WorkUnit)).Seconds() / n
		o := Offered{Model: m.Name, PerSecond: rates[i], Batches: rates[i] * perItem / slots}
		o.WithLoads = o.Batches + rates[i]*m.Load[scheduler.TierDisk].Seconds()/n/slots
		batches, loads = batches+o.Batches, loads+o.WithLoads
		if rates[i] > 0 {
			weights += m.Bytes
		}
		c.Offered = append(c.Offered, o)
	}
	switch {
	case batches >= 1:
		c.warn("overloaded: full batches alone keep the GPUs busy %s of the time; no policy can keep up (%s)", share(batches), c.perModel(func(o Offered) float64 { return o.Batches }))
	case loads >= 1 && weights > c.room():
		c.warn("with a load before every full batch the GPUs are busy %s of the time, %s without loads; policies that switch so often cannot keep up (loads included: %s)",
			share(loads), share(batches), c.perModel(func(o Offered) float64 { return o.WithLoads }))
	}
}

// room is what all GPUs together may hold.
func (c *Cell) room() scheduler.Bytes {
	room := scheduler.Bytes(0)
	for _, d := range c.Devices {
		if room > math.MaxInt64-d.Budget {
			return math.MaxInt64
		}
		room += d.Budget
	}
	return room
}

func (c *Cell) warn(format string, args ...any) {
	c.Warnings = append(c.Warnings, fmt.Sprintf(format, args...))
}

func share(v float64) string { return fmt.Sprintf("ρ = %.3g", v) }

// perModel lists the largest shares by model.
func (c *Cell) perModel(of func(Offered) float64) string {
	const most = 8
	text := ""
	listed := map[int]bool{}
	for range min(most, len(c.Offered)) {
		best := -1
		for i := range c.Offered {
			if !listed[i] && (best < 0 || of(c.Offered[i]) > of(c.Offered[best])) {
				best = i
			}
		}
		listed[best] = true
		if text != "" {
			text += ", "
		}
		text += fmt.Sprintf("%s %.3g", c.Offered[best].Model, of(c.Offered[best]))
	}
	if more := len(c.Offered) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// Redrawn reports whether each replicate has arrivals of its own.
func (c *Cell) Redrawn() bool { return c.workload.random() }

// Deterministic reports whether nothing in the cell is random.
func (c *Cell) Deterministic() bool { return !c.random }
