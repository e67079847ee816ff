package experiment

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/random"
)

// measured holds the costs of a machine, as vramsim calibrate writes them:
// what it says of a model replaces what the experiment says.
type measured struct {
	models *node // nil without a profile
	tiers  *node
	host   string          // what the host tier is there, if it says
	seen   map[string]bool // models that were found there
	unused []string        // what it states and no simulation has a use for
	status string
	// predictAll says that the tiers' fits replace load times that are given.
	predictAll bool
}

// profile reads the file that hardware names and removes the key: its values
// go into the models.
func (d *decoder) profile(hw *node, path string) *measured {
	p := &measured{seen: map[string]bool{}}
	n := hw.child("profile")
	if n == nil || n.kind == nullNode {
		return p
	}
	data, ok := d.file(n, join(path, "profile"))
	if !ok {
		return p
	}
	hw.remove("profile")
	before := d.errs.reported
	root := parseYAML(n.text, data, d.errs)
	if root == nil {
		if d.errs.reported == before {
			d.errorf(n.at, "%s.profile: %s is empty", path, n.text)
		}
		return p
	}
	typed := d.readProfile(root)
	if d.errs.reported > before || typed == nil {
		return p
	}
	d.profiled = true
	p.models, p.tiers = root.child("models"), root.child("tiers")
	p.unused = unused(typed)
	if typed.Measured != nil {
		p.host, p.status = typed.Measured.HostTier, typed.Measured.Status
	}
	return p
}

// warnings says what of a profile has no effect on the simulation, and which
// costs are not measured ones.
func (p *measured) warnings(models []model) (all []string) {
	if p.models == nil {
		return nil
	}
	if p.status != "" && p.status != "VALID" {
		all = append(all, "hardware.profile: it was measured in a run that is "+p.status)
	}
	if len(p.unused) > 0 {
		all = append(all, "hardware.profile: the simulation makes no use of its "+strings.Join(p.unused, ", "))
	}
	missing := func(names []string, what string) {
		const most = 8
		if n := len(names); n > most {
			names = append(slices.Clone(names[:most]), fmt.Sprintf("and %d more", n-most))
		}
		if len(names) > 0 {
			all = append(all, "hardware.profile: "+what+strings.Join(names, ", "))
		}
	}
	var strangers, declared []string
	for _, name := range p.models.keys {
		if !p.seen[name] {
			strangers = append(strangers, quote(name))
		}
	}
	for i := range models {
		if name := models[i].core.Name; !p.seen[name] {
			declared = append(declared, quote(name))
		}
	}
	missing(strangers, "the experiment has no models ")
	missing(declared, "it has no costs of the experiment's models ")
	return all
}

// override puts the measured costs of a model into its entry of the
// experiment: weights as memory, load times by tier, first use, unload times,
// memory and times of batches. A model without load times gets those that the
// tiers' fits predict for its bytes.
func (p *measured) override(d *decoder, n *node, name string) {
	if p == nil {
		return
	}
	if m := p.models.child(name); m != nil {
		p.seen[name] = true
		p.measured(n, m)
	}
	if (n.child("load") == nil || p.predictAll) && p.tiers != nil {
		p.predict(d, n)
		p.seen[name] = p.seen[name] || n.child("load") != nil
	}
}

func (p *measured) measured(n, m *node) {
	if memory := m.child("memory"); memory != nil {
		if w := memory.child("weights"); w != nil {
			memory = w
		} else if w := memory.child("declared"); w != nil {
			memory = w
		}
		if memory.kind == scalarNode {
			n.put("memory", memory.at, memory.clone())
		}
	}
	if load := m.child("load"); load != nil {
		mergeLoad(n, load)
	}
	for _, key := range []string{"first_use", "unload"} {
		if v := m.child(key); v != nil {
			n.put(key, v.at, v.clone())
		}
	}
	p.batch(n, m.child("batch"))
}

// mergeLoad replaces load times by tier: what the profile does not know of a
// tier that the experiment states stays. One time for both is of neither.
func mergeLoad(n, measured *node) {
	merged := measured.clone()
	if own := n.child("load"); own != nil && own.kind == mappingNode {
		for _, tier := range []string{"disk", "host"} {
			if i := own.find(tier); i >= 0 && merged.child(tier) == nil {
				merged.add(tier, own.keyAt[i], own.values[i])
			}
		}
	}
	n.put("load", measured.at, merged)
}

// batch replaces the costs of batches; the largest batch stays the experiment's.
func (p *measured) batch(n, measured *node) {
	own := n.child("batch")
	if measured == nil {
		return
	}
	if own == nil || own.kind != mappingNode {
		own = mapping(measured.at)
		n.put("batch", measured.at, own)
	}
	keys := []string{"memory"}
	if measured.child("base") != nil || measured.child("per_item") != nil || measured.child("times") != nil {
		for _, k := range []string{"base", "per_item", "times", "time", "item_time"} {
			own.remove(k)
		}
		// A measured table of times says more than the line through them.
		keys = append(keys, "base", "per_item")
		if measured.child("times") != nil {
			keys[2] = "times"
		}
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

// predict computes load times as base + per_GB · bytes of the tiers. The host
// tier is what the profile says it was, else the faster link.
func (p *measured) predict(d *decoder, n *node) {
	memory := n.child("memory")
	if memory == nil || memory.kind != scalarNode {
		return
	}
	bytes, err := scheduler.ParseBytes(memory.text)
	if err != nil {
		return
	}
	host := p.tiers.child(p.host)
	for _, name := range []string{"pinned", "pagecache"} {
		if host == nil {
			host = p.tiers.child(name)
		}
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
		n.put("load", n.at, load)
	}
}
