package experiment

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/scheduler"
)

// policy is one row of the comparison.
type policy struct {
	name        string
	spec        policies.Spec
	clairvoyant bool
	random      bool // it draws numbers of its own
	settings    []policies.Setting
	set         *policies.Set
}

// axisOf returns the part of a Spec that a key of a policy sets.
func axisOf(s *policies.Spec, key string) *policies.Axis {
	switch key {
	case "visit":
		return &s.Visit
	case "batch":
		return &s.Batch
	case "evict":
		return &s.Evict
	case "prefetch":
		return &s.Prefetch
	case "place":
		return &s.Place
	case "admit":
		return &s.Admit
	case "order":
		return &s.Order
	}
	return nil
}

func axisNames() []string {
	return []string{"visit", "batch", "evict", "prefetch", "place", "admit", "order"}
}

const maxPolicies = 10_000

func (d *decoder) policies(n *node, path string, set *policies.Set, env policies.Env) []policy {
	values, ok := d.list(n, path, "a list of policies, like [{use: sticky}]")
	if !ok {
		return nil
	}
	if len(values) == 0 || len(values) > maxPolicies {
		d.errorf(n.at, "%s has %d entries; expected between 1 and %d policies", path, len(values), maxPolicies)
		return nil
	}
	var rows []policy
	names := map[string]place{}
	for i, v := range values {
		row, ok := d.policy(v, indexed(path, i), set, env)
		if !ok {
			continue
		}
		if first, twice := names[row.name]; twice {
			d.errorf(v.at, "%s is named %s like the policy at line %d; give one of them another name with as:", indexed(path, i), quote(row.name), first.line)
		}
		names[row.name] = v.at
		rows = append(rows, row)
	}
	return rows
}

func (d *decoder) policy(n *node, path string, set *policies.Set, env policies.Env) (policy, bool) {
	spec, ok := d.policySpec(n, path)
	if !ok || len(env.Models) == 0 || len(env.Devices) == 0 {
		return policy{}, false
	}
	built, err := set.New(spec, env)
	if err != nil {
		d.badPolicy(n, path, err)
		return policy{}, false
	}
	built.Spec.As = built.Name
	d.rewrite(n, &built.Spec)
	drawn := built.Spec.Use == "seed" && built.Spec.Params["ties"] == "permuted" || built.Spec.Evict.Name == "random"
	return policy{name: built.Name, spec: built.Spec, clairvoyant: built.Clairvoyant, random: drawn, settings: built.Settings(), set: set}, true
}

// policySpec reads what is said of a policy, without building it.
func (d *decoder) policySpec(n *node, path string) (policies.Spec, bool) {
	before := d.errs.reported
	f, ok := d.record(n, path, d.tables.policy)
	if !ok {
		return policies.Spec{}, false
	}
	if v := n.child("script"); v != nil {
		d.errorf(v.at, "%s.script: scripts are not supported by this build", path)
		return policies.Spec{}, false
	}
	if !f.given("use") {
		d.errorf(n.at, "%s.use is missing; expected the name of a policy, like {use: sticky}", path)
		return policies.Spec{}, false
	}
	spec := policies.Spec{Use: f.name("use")}
	if f.given("as") {
		spec.As = f.name("as")
	}
	if v, p := f.get("params"); v != nil {
		spec.Params = d.params(v, p)
	}
	for _, name := range axisNames() {
		if v, p := f.get(name); v != nil {
			*axisOf(&spec, name) = d.axis(v, p)
		}
	}
	if v, p := f.get("pin"); v != nil {
		pins, _ := d.list(v, p, "a list of models and groups")
		for i, one := range pins {
			spec.Pin = append(spec.Pin, d.name(one, indexed(p, i)))
		}
	}
	return spec, d.errs.reported == before
}

// badPolicy puts the error of a policy's constructor where its path leads.
func (d *decoder) badPolicy(n *node, path string, err error) {
	var wrong *policies.SpecError
	if !errors.As(err, &wrong) {
		d.errorf(n.at, "%s: %v", path, err)
		return
	}
	what := wrong.What
	if wrong.Nearest != "" {
		what += "; did you mean " + strconv.Quote(wrong.Nearest) + "?"
	}
	for _, k := range wrong.Path {
		path = join(path, k)
	}
	d.errorf(n.reach(wrong.Path, strings.HasPrefix(what, "unknown parameter")), "%s: %s", path, what)
}

// reach returns the place that a path of keys below n speaks of, as far as it
// exists: the value there or, if asked, its key.
func (n *node) reach(path []string, key bool) place {
	at := n.at
	for _, k := range path {
		i := -1
		if n.kind == mappingNode {
			i = n.find(k)
		}
		if i < 0 {
			return at
		}
		at = n.keyAt[i]
		if n = n.values[i]; n.kind == scalarNode && !key {
			at = n.at
		}
	}
	return at
}

// axis reads a name, or a name with parameters.
func (d *decoder) axis(n *node, path string) policies.Axis {
	switch {
	case n.kind == scalarNode:
		return policies.Axis{Name: d.name(n, path)}
	case n.kind != mappingNode || len(n.keys) != 1:
		d.wrong(n, path, "a name or a name with parameters, like {limited: {items: 8}}")
		return policies.Axis{}
	}
	name := d.name(scalar(n.keyAt[0], n.keys[0]), path)
	if n.values[0].kind == nullNode {
		return policies.Axis{Name: name}
	}
	return policies.Axis{Name: name, Params: d.params(n.values[0], join(path, name))}
}

func (d *decoder) params(n *node, path string) map[string]any {
	if n.kind != mappingNode {
		d.wrong(n, path, "parameters like {wait: 30s}")
		return nil
	}
	params := make(map[string]any, len(n.keys))
	for i, k := range n.keys {
		if d.checkName(n.keyAt[i], "a parameter's name", k) {
			params[k] = d.value(n.values[i], join(path, k))
		}
	}
	return params
}

// value makes of a node what package policies takes.
func (d *decoder) value(n *node, path string) any {
	switch n.kind {
	case mappingNode:
		return d.params(n, path)
	case listNode:
		list := make([]any, len(n.values))
		for i, v := range n.values {
			list[i] = d.value(v, indexed(path, i))
		}
		return list
	case nullNode:
		d.errorf(n.at, "%s is empty", path)
		return ""
	}
	if !n.quoted {
		if n.text == "true" || n.text == "false" {
			return n.text == "true"
		}
		if v, err := strconv.ParseInt(n.text, 10, 64); err == nil && number(n.text) {
			return v
		}
		if number(n.text) {
			v, _ := strconv.ParseFloat(n.text, 64)
			return v
		}
		if notFinite(n.text) && n.text[0] == '.' {
			d.errorf(n.at, "%s is %s, which is not finite", path, n.describe())
		}
	}
	d.checkName(n.at, path, n.text)
	return n.text
}

// rewrite replaces a policy by its composition with every default.
func (d *decoder) rewrite(n *node, spec *policies.Spec) {
	out := mapping(n.at)
	put := func(name string, v *node) { out.add(name, n.at, v) }
	put("use", scalar(n.at, spec.Use))
	put("as", scalar(n.at, spec.As))
	if len(spec.Params) > 0 {
		put("params", spell(n.at, spec.Params))
	}
	for _, name := range axisNames() {
		a := axisOf(spec, name)
		switch {
		case a.Name == "":
		case len(a.Params) == 0:
			put(name, scalar(n.at, a.Name))
		default:
			one := mapping(n.at)
			one.add(a.Name, n.at, spell(n.at, a.Params))
			put(name, one)
		}
	}
	if len(spec.Pin) > 0 {
		put("pin", spell(n.at, spec.Pin))
	}
	*n = *out
}

// spell makes a node of a value as package policies spells it; keys are sorted.
func spell(at place, v any) *node {
	switch v := v.(type) {
	case map[string]any:
		n := mapping(at)
		for _, k := range slices.Sorted(maps.Keys(v)) {
			n.add(k, at, spell(at, v[k]))
		}
		return n
	case []any:
		n := list(at)
		for _, e := range v {
			n.values = append(n.values, spell(at, e))
		}
		return n
	case []string:
		n := list(at)
		for _, e := range v {
			n.values = append(n.values, spell(at, e))
		}
		return n
	case string:
		// What would be read as a number or truth value is quoted.
		return &node{kind: scalarNode, at: at, text: v, quoted: number(v) || v == "true" || v == "false"}
	case bool:
		return scalar(at, strconv.FormatBool(v))
	case int:
		return scalar(at, strconv.Itoa(v))
	case int64:
		return scalar(at, strconv.FormatInt(v, 10))
	case uint64:
		return scalar(at, strconv.FormatUint(v, 10))
	case float64:
		return scalar(at, strconv.FormatFloat(v, 'g', -1, 64))
	case scheduler.Time:
		return scalar(at, v.String())
	case scheduler.Bytes:
		return scalar(at, v.String())
	}
	return scalar(at, fmt.Sprint(v))
}
