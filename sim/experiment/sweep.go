package experiment

import (
	"slices"
	"strings"

	"github.com/vramsim/vramsim/policies"
)

// Setting is a value that a sweep gives to a path of the experiment.
type Setting struct{ Path, Value string }

// point is a cell to be: its settings, and for a resolved experiment the
// sections that differ from the first cell.
type point struct {
	set      []Setting
	paths    []string
	at       []place
	values   []*node
	sections *node
}

const maxCells = 100_000

// sweepable are the first steps of the paths that an axis may have: what a
// cell is made of.
func sweepable() []string {
	return []string{"seed", "hardware", "models", "workload", "policies", "attempts", "faults"}
}

// plan returns the points of the sweep; without one there is a single point.
func (d *decoder) plan(f *fields) []point {
	n, path := f.get("sweep")
	if n == nil {
		return []point{{}}
	}
	s, ok := d.record(n, path, d.tables.sweep)
	if !ok {
		return nil
	}
	if s.given("axes") == s.given("cells") {
		d.errorf(n.at, "%s needs axes", path)
		return nil
	}
	if s.given("cells") {
		return d.resolvedCells(&s)
	}
	axes, path := s.get("axes")
	if axes.kind != mappingNode {
		d.wrong(axes, path, "a mapping from paths to lists of values")
		return nil
	}
	total := 1
	for i, axis := range axes.keys {
		first := strings.FieldsFunc(axis+" ", func(r rune) bool { return strings.ContainsRune(".[ ", r) })
		if len(first) == 0 || !slices.Contains(sweepable(), first[0]) {
			d.errorf(axes.keyAt[i], "%s cannot be swept; a path begins with %s%s", quote(axis), oneOf(sweepable()), onlyNear(append(first, "")[0], sweepable()))
			return nil
		}
		if v := axes.values[i]; v.kind != listNode || len(v.values) == 0 {
			d.wrong(v, path+": "+axis, "a list of values, like [8GB, 12GB]")
			return nil
		}
		if total *= len(axes.values[i].values); total > maxCells {
			d.errorf(n.at, "%s makes more than %d cells", path, maxCells)
			return nil
		}
	}
	return d.product(axes, total)
}

// product returns all combinations, the last axis changing fastest.
func (d *decoder) product(axes *node, total int) []point {
	points := make([]point, total)
	for i := range points {
		rest := i
		p := point{paths: axes.keys, at: axes.keyAt, values: make([]*node, len(axes.keys)), set: make([]Setting, len(axes.keys))}
		for k := len(axes.keys) - 1; k >= 0; k-- {
			values := axes.values[k].values
			v := values[rest%len(values)]
			rest /= len(values)
			p.values[k] = v
			p.set[k] = Setting{axes.keys[k], shown(v)}
		}
		points[i] = p
	}
	return points
}

// shown is a value as a table prints it.
func shown(n *node) string {
	if n.kind == scalarNode {
		return n.text
	}
	return flow(n)
}

// resolvedCells reads the cells that Resolved wrote.
func (d *decoder) resolvedCells(s *fields) []point {
	n, path := s.get("cells")
	values, ok := d.list(n, path, "a list of cells")
	if !ok || len(values) == 0 {
		d.wrong(n, path, "a list of cells")
		return nil
	}
	var points []point
	for i, v := range values {
		f, ok := d.record(v, indexed(path, i), d.tables.cell)
		if !ok {
			return nil
		}
		p := point{sections: v}
		set, setPath := f.get("set")
		if set == nil || set.kind != mappingNode {
			d.errorf(v.at, "%s is no mapping from paths to values", setPath)
			return nil
		}
		for k, key := range set.keys {
			p.set = append(p.set, Setting{key, shown(set.values[k])})
		}
		points = append(points, p)
	}
	return points
}

// cells reads the experiment once for each point.
func (d *decoder) cells(e *Experiment, root *node, plan []point, set *policies.Set, opts Options, asked int) {
	for _, p := range plan {
		tree := mapping(root.at)
		for _, name := range sweepable() {
			if v := root.child(name); v != nil {
				tree.add(name, root.keyAt[root.find(name)], v.clone())
			}
		}
		for k, path := range p.paths {
			d.assign(tree, path, p.at[k], p.values[k].clone())
		}
		if p.sections != nil {
			for k, name := range p.sections.keys {
				if name != "set" {
					tree.put(name, p.sections.keyAt[k], p.sections.values[k].clone())
				}
			}
		}
		c := d.cell(tree, set, swept(p.set))
		c.Set = p.set
		if c.Replicates = 1; c.random || opts.Repeats {
			c.Replicates = asked
		}
		e.Cells = append(e.Cells, c)
		if d.errs.Total >= maxErrors {
			return
		}
	}
}

// swept returns the sections that settings change.
func swept(set []Setting) []string {
	var list []string
	for _, s := range set {
		list = append(list, s.Path[:strings.IndexAny(s.Path+".", ".[")])
	}
	return list
}
