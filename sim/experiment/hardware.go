package experiment

import (
	"fmt"
	"math"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/random"
	"github.com/vramsim/vramsim/sim"
)

// hardware is the machine of a cell.
type hardware struct {
	devices    []scheduler.Device
	hostMemory scheduler.Bytes
	estimates  estimates
}

// estimates is how load times are predicted; see scheduler.EstimatorConfig.
type estimates struct {
	config scheduler.EstimatorConfig
	noise  random.Dist // of noisy: the factor, in millionths
}

const maxDevices = 4096

func (d *decoder) hardware(n *node, path string) hardware {
	var h hardware
	f, ok := d.record(n, path, d.tables.hardware)
	if !ok {
		return h
	}
	defer f.done()
	h.hostMemory = f.bytes("host_memory")
	if gpus, p := f.get("gpus"); gpus != nil {
		h.devices = d.devices(gpus, p)
	}
	if e, p := f.get("estimates"); e != nil {
		h.estimates = d.estimates(e, p)
	}
	return h
}

func (d *decoder) devices(n *node, path string) []scheduler.Device {
	values, ok := d.list(n, path, d.tables.hardwareKey("gpus"))
	if ok && (len(values) == 0 || len(values) > maxDevices) {
		d.errorf(n.at, "%s has %d entries; expected between 1 and %d GPUs", path, len(values), maxDevices)
		return nil
	}
	var devices []scheduler.Device
	names := map[string]place{}
	for i, v := range values {
		dev := d.device(v, indexed(path, i), i)
		if first, twice := names[dev.Name]; twice {
			d.errorf(v.at, "%s is named %s like the GPU at line %d", indexed(path, i), quote(dev.Name), first.line)
		}
		names[dev.Name] = v.at
		devices = append(devices, dev)
	}
	return devices
}

func (t *tables) hardwareKey(name string) string {
	k, _ := t.hardware.key(name)
	return wanted(k.is)
}

func (d *decoder) device(n *node, path string, i int) scheduler.Device {
	var dev scheduler.Device
	f, ok := d.record(n, path, d.tables.gpu)
	if !ok {
		return dev
	}
	defer f.done()
	if !f.given("name") {
		n.add("name", n.at, scalar(n.at, fmt.Sprintf("gpu%d", i)))
	}
	dev.Name = f.name("name")
	before := d.errs.reported
	dev.Memory = f.bytes("memory")
	readable := d.errs.reported == before
	dev.Slots = int(f.integer("slots", 1, 1<<16))
	safety := f.safety()
	if m := n.child("memory"); m != nil && readable && safety > 0 {
		if dev.Budget = scheduler.BudgetOf(dev.Memory, safety); dev.Budget == 0 {
			d.errorf(m.at, "%s.memory is %s, which leaves no budget", path, m.describe())
		}
	}
	return dev
}

// safety reads a factor above 0 and at most 1, in billionths.
func (f *fields) safety() int64 {
	const want = "above 0 and at most 1"
	n, path := f.get("safety")
	if n == nil {
		return 0
	}
	v := f.d.number(n, path, func(v float64) bool { return v > 0 && v <= 1 }, want)
	billionths, ok := scheduler.ParseDecimal(n.text, 1e9)
	if v > 0 && (!ok || billionths == 0) {
		f.d.errorf(n.at, "%s is %s; it must be a decimal number %s, to nine places", path, n.describe(), want)
		return 0
	}
	return billionths
}

// fits checks that every model has a GPU with room for it and one item of a batch.
func (d *decoder) fits(h *hardware, models []model) {
	var largest scheduler.Bytes
	for _, dev := range h.devices {
		largest = max(largest, dev.Budget)
	}
	if largest == 0 {
		return
	}
	for i := range models {
		m := &models[i]
		if m.core.Bytes > largest || m.core.Batch.Memory > largest-m.core.Bytes {
			d.errorf(m.memoryAt, "model %s needs %d bytes (%s of weights and %s for one item), but the largest budget of a GPU is %d bytes (%s): it could never be loaded",
				quote(m.core.Name), m.core.Bytes+m.core.Batch.Memory, m.core.Bytes, m.core.Batch.Memory, largest, largest)
		}
	}
}

func (d *decoder) estimates(n *node, path string) estimates {
	var e estimates
	f, ok := d.record(n, path, d.tables.estimates)
	if !ok {
		return e
	}
	defer f.done()
	e.config.Kind = f.word("use")
	takes := map[string][]string{"ewma": {"alpha"}, "quantile": {"quantile", "window"}, "biased": {"factor"}, "noisy": {"cv"}}[e.config.Kind]
	for i, k := range n.keys {
		if known, ok := d.tables.estimates.key(k); ok && k != "use" && !contains(takes, known.name) {
			d.errorf(n.keyAt[i], "%s.%s does not belong to %s", path, k, e.config.Kind)
		}
	}
	share := func(v float64) bool { return v > 0 && v <= 1 }
	f.optional("alpha", takes, "0.3", func() { e.config.Alpha = millionths(f.number("alpha", share, "above 0 and at most 1")) })
	f.optional("quantile", takes, "0.9", func() { e.config.Quantile = millionths(f.number("quantile", share, "above 0 and at most 1")) })
	f.optional("window", takes, "32", func() { e.config.Window = int(f.integer("window", 1, 1<<16)) })
	f.optional("factor", takes, "1.5", func() {
		e.config.Factor = millionths(f.number("factor", func(v float64) bool { return v >= 1e-6 && v <= 1e6 }, "between 0.000001 and 1000000"))
	})
	f.optional("cv", takes, "0.3", func() {
		cv := f.number("cv", func(v float64) bool { return v >= 0 && v <= 100 }, "between 0 and 100")
		e.noise = random.Must(random.LognormalMeanCV(1e6, cv))
	})
	return e
}

// optional reads a key that only some kinds take, with its default.
func (f *fields) optional(name string, takes []string, def string, read func()) {
	if !contains(takes, name) {
		return
	}
	if !f.given(name) {
		f.n.add(name, f.n.at, scalar(f.n.at, def))
	}
	read()
}

func contains(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}

func millionths(v float64) int64 { return int64(math.RoundToEven(v * 1e6)) }

// estimator makes a fresh estimator for one run. Noise is keyed by seed,
// replicate, model name and load ordinal.
func (e *estimates) estimator(models []scheduler.Model, world sim.Config) (scheduler.Estimator, error) {
	cfg := e.config
	switch cfg.Kind {
	case "oracle":
		cfg.Truth = sim.LoadTruth(world)
	case "noisy":
		names := make([]uint64, len(models))
		for i := range models {
			names[i] = random.Hash(models[i].Name)
		}
		purpose := random.Hash("estimate noise")
		cfg.Noise = func(m scheduler.ModelID, ordinal int64) int64 {
			u := random.Uniform(random.Key(world.Seed, uint64(world.Replicate), purpose, names[m], uint64(ordinal)))
			return random.Round(e.noise.Quantile(u))
		}
	}
	return scheduler.NewEstimator(cfg, models)
}

func (d *decoder) faults(n *node, path string, h *hardware) sim.Faults {
	var faults sim.Faults
	f, ok := d.record(n, path, d.tables.faults)
	if !ok {
		return faults
	}
	defer f.done()
	faults.LoadFailure = f.number("load_failure", probability, "between 0 and 1")
	faults.BatchFailure = f.number("batch_failure", probability, "between 0 and 1")
	f.each("outages", d.tables.outage, func(f *fields) {
		o := sim.Outage{Device: d.gpuNamed(f, h), From: f.time("from"), Until: scheduler.Never}
		if f.given("until") {
			if o.Until = f.time("until"); o.Until <= o.From {
				d.errorf(f.n.child("until").at, "%s.until is %v; it must come after from, which is %v", f.path, o.Until, o.From)
			}
		}
		faults.Outages = append(faults.Outages, o)
	})
	f.each("foreign", d.tables.foreign, func(f *fields) {
		faults.Foreign = append(faults.Foreign, sim.Foreign{Device: d.gpuNamed(f, h), At: f.time("at"), Bytes: f.bytes("memory")})
	})
	f.each("cancellations", d.tables.cancelled, func(f *fields) {
		faults.Cancellations = append(faults.Cancellations, sim.Cancellation{Item: scheduler.ItemID(f.integer("item", 0, math.MaxInt64)), At: f.time("at")})
	})
	return faults
}

// each reads the records of a list that may be missing.
func (f *fields) each(name string, s *shape, read func(*fields)) {
	n, path := f.get(name)
	if n == nil {
		return
	}
	values, _ := f.d.list(n, path, "a list like ["+s.want+"]")
	for i, v := range values {
		if one, ok := f.d.record(v, indexed(path, i), s); ok {
			read(&one)
			one.done()
		}
	}
}

// gpuNamed reads the key gpu and looks the name up.
func (d *decoder) gpuNamed(f *fields, h *hardware) scheduler.DeviceID {
	name := f.name("gpu")
	var names []string
	for i := range h.devices {
		if h.devices[i].Name == name {
			return scheduler.DeviceID(i)
		}
		names = append(names, h.devices[i].Name)
	}
	if n := f.n.child("gpu"); n != nil && len(names) > 0 {
		d.errorf(n.at, "%s.gpu: there is no GPU %s%s", f.path, quote(name), suggest(name, names))
	}
	return 0
}
