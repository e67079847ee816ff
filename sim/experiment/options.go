package experiment

import (
	"slices"
	"strconv"
	"strings"

	"github.com/vramsim/vramsim/scheduler"
)

// Options change an experiment after it was read and before it is checked.
type Options struct {
	// Set holds changes like "hardware.gpus[0].memory=8GB".
	Set []string
	// Policies, if any, replaces the list of policies: names as the file calls
	// them, names of policies, or YAML like "{use: max-wait, params: {wait: 30s}}".
	Policies []string
	// Seed, if not nil, replaces the seed of the file.
	Seed *uint64
	// Replicates, if positive, replaces that of the file.
	Replicates int
	// Repeats wants the replicates also where nothing is random: on hardware
	// durations vary whatever the file says.
	Repeats bool
	// Quick takes a twentieth of durations and items and 3 replicates.
	Quick bool
	// Knowledge is how much of profiles counts. Less than KnowAll is for
	// comparisons in memory: ids and the resolved text do not tell it.
	Knowledge Knowledge
	// Search names folders in which input files are looked for that are not
	// beside the experiment.
	Search []string
}

// apply makes the changes of the options in the tree.
func (d *decoder) apply(root *node, opts Options) {
	for _, s := range opts.Set {
		path, value, ok := strings.Cut(s, "=")
		src := newSource("--set", s)
		if !ok || path == "" {
			d.errorf(place{src, 1, 1}, "%s is not of the form path=value, like hardware.gpus[0].memory=8GB", quote(s))
			continue
		}
		at := place{src, 1, len([]rune(path)) + 2}
		path = strings.TrimSpace(path)
		given, ok := d.snippet(value, at)
		if ok && d.assign(root, path, place{src, 1, 1}, given) {
			d.settle(root, path, place{src, 1, 1}, given)
		}
	}
	flag := func(name, text string) place { return place{newSource(name, text), 1, 1} }
	if opts.Seed != nil {
		text := strconv.FormatUint(*opts.Seed, 10)
		root.put("seed", flag("--seed", text), scalar(flag("--seed", text), text))
	}
	if opts.Replicates != 0 {
		text := strconv.Itoa(opts.Replicates)
		root.put("replicates", flag("--replicates", text), scalar(flag("--replicates", text), text))
	}
	if len(opts.Policies) > 0 {
		d.choosePolicies(root, opts.Policies)
	}
	if opts.Quick {
		d.quicken(root, opts)
	}
}

// settle makes a value from the command line win over a sweep: an axis over
// the same path keeps only that value. What the cells of a resolved experiment
// spell out cannot be changed so.
func (d *decoder) settle(root *node, path string, at place, value *node) {
	sweep := root.child("sweep")
	if sweep == nil {
		return
	}
	if axes := sweep.child("axes"); axes != nil && axes.kind == mappingNode {
		if i := axes.find(path); i >= 0 {
			axes.values[i] = list(at)
			axes.values[i].values = []*node{value.clone()}
		}
	}
	cells := sweep.child("cells")
	if cells == nil || cells.kind != listNode {
		return
	}
	section := path[:strings.IndexAny(path+".", ".[")]
	for _, cell := range cells.values {
		if cell.child(section) != nil {
			d.errorf(at, "the cells of this resolved experiment spell out %s, so that nothing would change; set it in the experiment they were made of (experiment.yaml)", section)
			return
		}
	}
}

// choosePolicies replaces the list of policies by those named on the command line.
func (d *decoder) choosePolicies(root *node, names []string) {
	old := root.child("policies")
	var chosen *node
	failed := false
	for i, name := range names {
		at := place{newSource("--policy", name), 1, 1}
		if slices.Contains(names[:i], name) {
			d.errorf(at, "policy %s is given twice; another name for one of them makes a row of its own: {use: …, as: …}", quote(name))
			continue
		}
		if chosen == nil {
			chosen = list(at)
		}
		if strings.HasPrefix(name, "{") {
			one, ok := d.snippet(name, at)
			chosen.values, failed = append(chosen.values, one), failed || !ok
			continue
		}
		if one := entryNamed(old, name); one != nil {
			chosen.values = append(chosen.values, one)
			continue
		}
		one := mapping(at)
		one.add("use", at, scalar(at, name))
		chosen.values = append(chosen.values, one)
	}
	if !failed { // else those of the file are checked
		root.put("policies", chosen.at, chosen)
	}
}

// entryNamed finds a policy of the file by as, or by use if it has none.
func entryNamed(n *node, name string) *node {
	if n == nil || n.kind != listNode {
		return nil
	}
	for _, v := range n.values {
		called := v.child("as")
		if called == nil {
			called = v.child("use")
		}
		if called != nil && called.kind == scalarNode && called.text == name {
			return v
		}
	}
	return nil
}

// quickFactor is what --quick divides by.
const quickFactor = 20

// quicken shortens the workload and the values that a sweep gives it.
func (d *decoder) quicken(root *node, opts Options) {
	keys := []string{"duration", "items", "warmup", "horizon"}
	if w := root.child("workload"); w != nil {
		for _, k := range keys {
			shorten(w.child(k))
		}
	}
	if sweep := root.child("sweep"); sweep != nil && sweep.child("axes") != nil {
		axes := sweep.child("axes")
		for i, path := range axes.keys {
			for _, k := range keys {
				if path == "workload."+k {
					for _, v := range axes.values[i].values {
						shorten(v)
					}
				}
			}
		}
	}
	if opts.Replicates == 0 {
		at := place{newSource("--quick", "3"), 1, 1}
		root.put("replicates", at, scalar(at, "3"))
	}
}

func shorten(n *node) {
	if n == nil || n.kind != scalarNode {
		return
	}
	if t, err := scheduler.ParseTime(n.text); err == nil {
		n.text = (t / quickFactor).String()
	} else if v, err := strconv.ParseInt(n.text, 10, 64); err == nil && v > 0 {
		n.text = strconv.FormatInt((v+quickFactor-1)/quickFactor, 10)
	}
}
