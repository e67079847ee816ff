package experiment

import (
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/random"
)

// profile holds the measured costs of a machine, as vramsim calibrate writes
// them: what it says of a model replaces what the experiment says.
type profile struct {
	models *node // nil without a profile
	tiers  *node
}

// profile reads the file that hardware names and removes the key: its values
// go into the models.
func (d *decoder) profile(hw *node, path string) *profile {
	n := hw.child("profile")
	if n == nil || n.kind == nullNode {
		return &profile{}
	}
	data, ok := d.file(n, join(path, "profile"))
	if !ok {
		return &profile{}
	}
	hw.remove("profile")
	before := d.errs.reported
	root := parseYAML(n.text, data, d.errs)
	if root == nil {
		if d.errs.reported == before {
			d.errorf(n.at, "%s.profile: %s is empty", path, n.text)
		}
		return &profile{}
	}
	f, ok := d.record(root, "", d.tables.profile)
	if !ok {
		return &profile{}
	}
	f.integer("version", 1, 1)
	p := &profile{tiers: root.child("tiers")}
	if p.models, _ = f.get("models"); p.models != nil && p.models.kind != mappingNode {
		d.wrong(p.models, "models", "a mapping from names to models")
		p.models = nil
	}
	return p
}

// override puts the measured costs of a model into its entry of the
// experiment: weights as memory, load times by tier, the idle unload time,
// memory and times of batches. A model without load times gets those that the
// tiers' fits predict for its bytes.
func (p *profile) override(d *decoder, n *node, name string) {
	if p == nil {
		return
	}
	if m := p.models.child(name); m != nil {
		p.measured(d, n, m, "models."+name)
	}
	if n.child("load") == nil && p.tiers != nil {
		p.predict(d, n)
	}
}

func (p *profile) measured(d *decoder, n, m *node, path string) {
	if _, ok := d.record(m, path, d.tables.profileModel); !ok {
		return
	}
	if memory := m.child("memory"); memory != nil {
		if w := memory.child("weights"); w != nil {
			memory = w
		} else if w := memory.child("declared"); w != nil {
			memory = w
		}
		n.put("memory", memory.at, memory.clone())
	}
	if load := m.child("load"); load != nil {
		n.put("load", load.at, load.clone())
	}
	if unload := m.child("unload"); unload != nil {
		if idle := unload.child("idle"); idle != nil {
			unload = idle
		}
		n.put("unload", unload.at, unload.clone())
	}
	p.batch(n, m.child("batch"))
}

// batch replaces the costs of batches; the largest batch stays the experiment's.
func (p *profile) batch(n, measured *node) {
	own := n.child("batch")
	if measured == nil || measured.kind != mappingNode {
		return
	}
	if own == nil || own.kind != mappingNode {
		own = mapping(measured.at)
		n.put("batch", measured.at, own)
	}
	for _, k := range []string{"base", "per_item", "times", "time", "item_time"} {
		own.remove(k)
	}
	// A measured table of times says more than the line through them.
	keys := []string{"memory", "base", "per_item"}
	if times := measured.child("times"); times != nil {
		keys[2] = "times"
	}
	if own.child("max") == nil {
		keys = append(keys, "max")
	}
	for _, k := range keys {
		if v := measured.child(k); v != nil {
			own.put(k, v.at, v.clone())
		}
	}
	trimTimes(own)
}

// trimTimes drops measured sizes above the largest batch.
func trimTimes(batch *node) {
	times, most := batch.child("times"), batch.child("max")
	if times == nil || times.kind != mappingNode || most == nil {
		return
	}
	kept := mapping(times.at)
	for i, k := range times.keys {
		if digits(k) && (len(k) < len(most.text) || len(k) == len(most.text) && k <= most.text) {
			kept.add(k, times.keyAt[i], times.values[i])
		}
	}
	*times = *kept
}

// predict computes load times as base + per_GB · bytes of the tiers.
func (p *profile) predict(d *decoder, n *node) {
	memory := n.child("memory")
	if memory == nil || memory.kind != scalarNode {
		return
	}
	bytes, err := scheduler.ParseBytes(memory.text)
	if err != nil {
		return
	}
	host := p.tiers.child("pinned")
	if host == nil {
		host = p.tiers.child("pagecache")
	}
	load := mapping(n.at)
	for i, tier := range []*node{p.tiers.child("disk"), host} {
		name := [...]string{"disk", "host"}[i]
		base, perGB := tier.child("base"), tier.child("per_GB")
		if base == nil || perGB == nil {
			continue
		}
		fixed, slope := d.time(base, "tiers."+name+".base"), d.time(perGB, "tiers."+name+".per_GB")
		took := fixed + scheduler.Time(random.Round(float64(slope)*float64(bytes)/float64(scheduler.GB)))
		load.put(name, n.at, scalar(n.at, took.String()))
	}
	if load.child("disk") != nil {
		n.add("load", n.at, load)
	}
}
