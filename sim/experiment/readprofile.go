package experiment

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vramsim/vramsim/nvml/profile"
	"github.com/vramsim/vramsim/scheduler"
)

// profileTables hold the shapes of a profile: GPU.md has its keys.
type profileTables struct {
	root, machine, measured, process   *shape
	tiers, tier, residual, overlap     *shape
	model, memory, load, unload, batch *shape
	energy, estimate, percent          *shape
}

func newProfileTables(t *tables) profileTables {
	var p profileTables
	optional := func(is *shape, names ...string) (keys []key) {
		for _, n := range names {
			keys = append(keys, key{name: n, is: is})
		}
		return keys
	}
	must := func(is *shape, names ...string) []key {
		keys := optional(is, names...)
		for i := range keys {
			keys[i].must = true
		}
		return keys
	}
	of := func(want string, keys ...[]key) *shape { return record(want, slices.Concat(keys...)...) }
	p.percent = &shape{kind: textShape, want: "a share like 2%"}
	p.machine = of("a machine like {gpu: NAME, memory: 24GB}", optional(aText(), "gpu", "uuid_hash", "cc"), optional(someMem(), "memory", "limit"),
		optional(aText(), "driver", "cuda", "link"), optional(listOf(anInt(), "two clocks like [300, 1900]"), "sm_mhz"))
	p.measured = of("where the figures come from, like {executor: worker, status: VALID}", optional(aText(), "at", "commit", "executor"),
		optional(word("pagecache", "pinned"), "host_tier"), optional(word("VALID", "INVALID", "INCOMPLETE"), "status"), optional(aText(), "raw_sha256"))
	p.process = of("the costs of a process like {spawn: 8s}", optional(aTime(), "spawn", "context"), optional(someMem(), "context_memory"))
	p.residual = of("residuals like {p5: -1%, p95: 2%}", must(p.percent, "p5", "p95"))
	p.tier = of("a line through load times like {base: 1ms, per_GB: 20ms}", must(aTime(), "base", "per_GB"), optional(anInt(), "n"), optional(p.residual, "residual"))
	p.tiers = of("fits by tier: pinned, pagecache, disk", optional(p.tier, "pinned", "pagecache", "disk"))
	p.overlap = of("slowdowns like {copy: 1.05, compute: 1.02}", must(aNumber(), "copy", "compute"))
	p.memory = of("memory like {declared: 4.5GB, weights: 3.1GB}", optional(someMem(), "declared", "weights", "load_peak"),
		optional(namesOf(someMem(), "memory by batch size, like {1: 3.4GB}"), "run_peak"), optional(someMem(), "residue"))
	p.load = of("load times by tier like {disk: 5s, host: 800ms}", optional(t.duration, "disk", "host"))
	p.unload = of("times of evictions like {idle: 2ms, busy: 6ms}", must(t.duration, "idle"), optional(t.duration, "busy"))
	p.batch = of("batches like {max: 8, base: 9ms, per_item: 40ms}", optional(anInt(), "max"), optional(someMem(), "memory"),
		optional(aTime(), "base", "per_item"), optional(namesOf(aTime(), "times by batch size, like {1: 700ms, 4: 2.1s}"), "times"))
	p.model = of("a model like {load: {disk: 5s}}", optional(p.memory, "memory"), optional(p.load, "load"), optional(aTime(), "first_use"),
		optional(p.unload, "unload"), optional(p.batch, "batch"))
	p.estimate = of("an estimate like {value: 12, ci95: [11, 13]}", must(aNumber(), "value"), must(listOf(aNumber(), "an interval like [11, 13]"), "ci95"))
	p.energy = of("energy like {idle_W: 40}", optional(aNumber(), "idle_W", "context_W", "load_J_per_GB"),
		optional(namesOf(p.estimate, "estimates by model"), "item_J"), optional(p.percent, "unexplained"))
	p.root = of("a profile as vramsim calibrate writes it: version, models and what else was measured", must(anInt(), "version"),
		optional(p.machine, "machine"), optional(p.measured, "measured"), optional(p.process, "process"), optional(p.tiers, "tiers"), optional(p.overlap, "overlap"),
		must(namesOf(p.model, "a mapping from names to models"), "models"), optional(p.energy, "energy"))
	return p
}

// IsProfile reports whether a YAML text is a profile rather than an experiment:
// it has models and no key that a profile has not.
func IsProfile(data []byte) bool {
	var errs Errors
	root := parseYAML("", data, &errs)
	if root == nil || root.kind != mappingNode || root.child("models") == nil {
		return false
	}
	known := newTables().profile.root
	for _, k := range root.keys {
		if _, ok := known.key(k); !ok {
			return false
		}
	}
	return true
}

// LoadProfile reads and checks the profile at path.
func LoadProfile(path string) (*profile.Profile, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return ReadProfile(path, data)
}

// ReadProfile reads a profile strictly: unknown and duplicate keys, missing
// units and whatever else is wrong are an *Errors with their places; name
// stands in them for the file, and relative paths in it are relative to its
// folder.
func ReadProfile(name string, data []byte) (*profile.Profile, error) {
	errs := &Errors{}
	d := &decoder{errs: errs, tables: newTables(), files: &files{dir: filepath.Dir(name), found: map[string]*input{}, want: map[string]string{}}}
	root := parseYAML(name, data, errs)
	if root == nil && errs.none() {
		errs.addf(place{newSource(name, string(data)), 1, 1}, "the file is empty; expected a profile: version, models")
	}
	if !errs.none() {
		return nil, errs.asError()
	}
	p := d.readProfile(root)
	if err := errs.asError(); err != nil {
		return nil, err
	}
	return p, nil
}

// readProfile reads all of a profile, which is what uses of it rely on.
func (d *decoder) readProfile(root *node) *profile.Profile {
	t := &d.tables.profile
	f, ok := d.record(root, "profile", t.root)
	if !ok {
		return nil
	}
	f.integer("version", 1, profile.Version)
	p := &profile.Profile{}
	d.section(&f, "machine", t.machine, func(f *fields) { p.Machine = d.machine(f) })
	d.section(&f, "measured", t.measured, func(f *fields) { p.Measured = d.origin(f) })
	d.section(&f, "process", t.process, func(f *fields) {
		p.Process = &profile.Process{Spawn: f.time("spawn"), Context: f.time("context"), ContextMemory: f.bytes("context_memory")}
	})
	d.section(&f, "tiers", t.tiers, func(f *fields) {
		p.Tiers = profile.Tiers{Pinned: d.tierFit(f, "pinned"), Pagecache: d.tierFit(f, "pagecache"), Disk: d.tierFit(f, "disk")}
	})
	d.section(&f, "overlap", t.overlap, func(f *fields) {
		slowdown := func(v float64) bool { return v >= 1 && v <= 1e6 }
		p.Overlap = &profile.Overlap{Copy: f.number("copy", slowdown, "a slowdown of at least 1"), Compute: f.number("compute", slowdown, "a slowdown of at least 1")}
	})
	if models, path := f.get("models"); models != nil && models.kind != mappingNode {
		d.wrong(models, path, "a mapping from names to models")
	} else if models != nil {
		for i, name := range models.keys {
			d.checkName(models.keyAt[i], "a model's name", name)
			p.Models = append(p.Models, d.profileModel(models.values[i], join(path, name), name))
		}
	}
	d.section(&f, "energy", t.energy, func(f *fields) { p.Energy = d.energy(f) })
	return p
}

// section reads a record that may be missing.
func (d *decoder) section(f *fields, name string, s *shape, read func(*fields)) {
	if !f.given(name) {
		return
	}
	n, path := f.get(name)
	if inner, ok := d.record(n, path, s); ok {
		read(&inner)
	}
}

func (d *decoder) machine(f *fields) *profile.Machine {
	if limit := f.n.child("limit"); limit != nil && limit.kind == nullNode {
		f.n.remove("limit") // the whole card
	}
	m := &profile.Machine{GPU: f.label("gpu"), UUIDHash: f.label("uuid_hash"), CC: f.label("cc"), Memory: f.bytes("memory"),
		Limit: f.bytes("limit"), Driver: f.label("driver"), CUDA: f.label("cuda"), Link: f.label("link")}
	if n, path := f.get("sm_mhz"); n != nil {
		values, _ := d.list(n, path, "two clocks in MHz like [300, 1900]")
		if n.kind == listNode && len(values) != 2 {
			d.errorf(n.at, "%s has %d values; expected two clocks in MHz like [300, 1900]", path, len(values))
			return m
		}
		for i, v := range values {
			m.SMMHz[i] = int(d.integer(v, indexed(path, i), 0, 1<<20))
		}
	}
	return m
}

// label reads a name, "" where there is none.
func (f *fields) label(name string) string {
	if !f.given(name) {
		return ""
	}
	return f.name(name)
}

func (d *decoder) origin(f *fields) *profile.Measured {
	m := &profile.Measured{Commit: f.label("commit"), Executor: f.label("executor"), RawSHA256: f.label("raw_sha256")}
	if f.given("host_tier") {
		m.HostTier = f.word("host_tier")
	}
	if f.given("status") {
		m.Status = f.word("status")
	}
	if n, path := f.get("at"); n != nil {
		at, err := time.Parse(time.RFC3339, n.text)
		if n.kind != scalarNode || err != nil {
			d.wrong(n, path, "a time like 2026-01-01T00:00:00Z")
			return m
		}
		m.At = at.UTC()
	}
	return m
}

func (d *decoder) tierFit(f *fields, name string) (t *profile.Tier) {
	d.section(f, name, d.tables.profile.tier, func(f *fields) {
		t = &profile.Tier{Base: f.time("base"), PerGB: f.time("per_GB")}
		if f.given("n") {
			t.N = int(f.integer("n", 1, math.MaxInt32))
		}
		d.section(f, "residual", d.tables.profile.residual, func(f *fields) {
			t.Residual = &profile.Residual{P5: f.percent("p5"), P95: f.percent("p95")}
		})
	})
	return t
}

// percent reads a share like -1.5% as a number, -0.015, to a millionth.
func (f *fields) percent(name string) float64 {
	n, path := f.get(name)
	if n == nil {
		return 0
	}
	text, ok := strings.CutSuffix(n.text, "%")
	v, err := strconv.ParseFloat(text, 64)
	if n.kind != scalarNode || !ok || !number(text) || err != nil || math.IsInf(v, 0) {
		f.d.wrong(n, path, "a share with its sign, like 2%")
		return 0
	}
	return math.Round(v*1e4) / 1e6
}

func (d *decoder) profileModel(n *node, path, name string) profile.Model {
	t := &d.tables.profile
	m := profile.Model{Name: name}
	f, ok := d.record(n, path, t.model)
	if !ok {
		return m
	}
	if f.given("memory") {
		if v, p := f.get("memory"); v.kind == scalarNode {
			m.Memory.Declared = d.bytes(v, p)
		} else {
			d.section(&f, "memory", t.memory, func(f *fields) { m.Memory = d.memory(f) })
		}
	}
	d.section(&f, "load", t.load, func(f *fields) {
		m.Load[scheduler.TierDisk], m.Load[scheduler.TierHost] = f.spelt("disk"), f.spelt("host")
		if len(f.n.keys) == 0 {
			d.wrong(f.n, f.path, t.load.want)
		}
	})
	if f.given("first_use") {
		m.FirstUse = f.time("first_use")
	}
	if f.given("unload") {
		if v, p := f.get("unload"); v.kind == scalarNode {
			m.Unload = profile.Constant(d.time(v, p))
		} else {
			d.section(&f, "unload", t.unload, func(f *fields) { m.Unload, m.UnloadBusy = f.spelt("idle"), f.spelt("busy") })
		}
	}
	d.section(&f, "batch", t.batch, func(f *fields) { m.Batch = d.batchCosts(f) })
	return m
}

// spelt reads a distribution that may be missing, and its spelling.
func (f *fields) spelt(name string) profile.Dist {
	n, path := f.get(name)
	if n == nil {
		return profile.Dist{}
	}
	took := f.d.dist(n, path, durations)
	f.d.mean(n, path, took)
	return profile.Spelt(took, flow(n))
}

func (d *decoder) memory(f *fields) profile.Memory {
	m := profile.Memory{Declared: f.bytes("declared"), Weights: f.bytes("weights"), LoadPeak: f.bytes("load_peak"), Residue: f.bytes("residue")}
	m.RunPeak = sized(f, "run_peak", d.bytes)
	return m
}

func (d *decoder) batchCosts(f *fields) *profile.Batch {
	b := &profile.Batch{Memory: f.bytes("memory"), Base: f.time("base"), PerItem: f.time("per_item")}
	if f.given("max") {
		b.Max = int(f.integer("max", 1, scheduler.MaxBatch))
	}
	if b.Times = sized(f, "times", d.time); b.Times != nil && !contains(f.n.child("times").keys, "1") {
		d.errorf(f.n.child("times").at, "%s.times has no time for batches of 1", f.path)
	}
	return b
}

// sized reads values by size of a batch, nil where there are none.
func sized[V any](f *fields, name string, read func(*node, string) V) map[int]V {
	if !f.given(name) {
		return nil
	}
	n, path := f.get(name)
	if n.kind != mappingNode || len(n.keys) == 0 {
		f.d.wrong(n, path, "values by batch size, like {1: …, 8: …}")
		return nil
	}
	values := map[int]V{}
	for i, k := range n.keys {
		size, err := strconv.Atoi(k)
		if err != nil || size < 1 || size > scheduler.MaxBatch || strconv.Itoa(size) != k {
			f.d.errorf(n.keyAt[i], "%s has %s; expected a batch size from 1 to %d", path, quote(k), scheduler.MaxBatch)
			continue
		}
		values[size] = read(n.values[i], join(path, k))
	}
	return values
}

func (d *decoder) energy(f *fields) *profile.Energy {
	e := &profile.Energy{}
	for _, one := range []struct {
		name string
		to   *float64
	}{{"idle_W", &e.IdleW}, {"context_W", &e.ContextW}, {"load_J_per_GB", &e.LoadJPerGB}} {
		if f.given(one.name) {
			*one.to = f.number(one.name, notNegative, "a number of at least 0")
		}
	}
	if f.given("unexplained") {
		e.Unexplained = f.percent("unexplained")
	}
	if !f.given("item_J") {
		return e
	}
	n, path := f.get("item_J")
	if n.kind != mappingNode {
		d.wrong(n, path, "estimates by model, like {whisper: {value: 12, ci95: [11, 13]}}")
		return e
	}
	e.ItemJ = map[string]profile.Estimate{}
	for i, name := range n.keys {
		if g, ok := d.record(n.values[i], join(path, name), d.tables.profile.estimate); ok {
			e.ItemJ[name] = d.estimate(&g)
		}
	}
	return e
}

func (d *decoder) estimate(f *fields) profile.Estimate {
	v := profile.Estimate{Value: f.number("value", notNegative, "a number of at least 0")}
	n, path := f.get("ci95")
	if n == nil {
		return v
	}
	const want = "an interval like [11, 13]"
	ends, _ := d.list(n, path, want)
	if len(ends) != 2 {
		d.errorf(n.at, "%s has %d ends; expected %s", path, len(ends), want)
		return v
	}
	for i := range ends {
		v.CI95[i] = d.number(ends[i], indexed(path, i), notNegative, "a number of at least 0")
	}
	if v.CI95[0] > v.CI95[1] {
		d.errorf(n.at, "%s begins above its end; expected %s", path, want)
	}
	return v
}

// unused lists what a profile states and a simulation has no use for.
func unused(p *profile.Profile) (names []string) {
	add := func(stated bool, name string) {
		if stated {
			names = append(names, name)
		}
	}
	add(p.Process != nil, "process")
	add(p.Overlap != nil, "overlap")
	add(p.Energy != nil, "energy")
	var peaks [3]bool
	for i := range p.Models {
		m := &p.Models[i].Memory
		peaks[0] = peaks[0] || m.LoadPeak > 0
		peaks[1] = peaks[1] || m.RunPeak != nil
		peaks[2] = peaks[2] || m.Residue > 0
	}
	for i, name := range []string{"load_peak", "run_peak", "residue"} {
		add(peaks[i], "memory."+name)
	}
	return names
}

// ProfileSummary says in a line what a profile holds.
func ProfileSummary(p *profile.Profile) string {
	loads := 0
	for i := range p.Models {
		if p.Models[i].Load[scheduler.TierDisk].Given() || p.Models[i].Load[scheduler.TierHost].Given() {
			loads++
		}
	}
	return fmt.Sprintf("a profile, %d models, %d of them with load times", len(p.Models), loads)
}
