package experiment

import (
	"strings"

	"github.com/vramsim/vramsim/policies"
)

// Single is a policy written by itself, as an entry of an experiment's list.
type Single struct {
	Spec policies.Spec
	n    *node
}

// ParsePolicy reads one policy: its name, or YAML like
// {use: max-wait, params: {wait: 30s}} in a flag or a file, by whose name
// messages call it. What is wrong with it is an *Errors.
func ParsePolicy(name, text string) (*Single, error) {
	errs := &Errors{}
	d := &decoder{errs: errs, tables: newTables()}
	at := place{newSource(name, text), 1, 1}
	n := mapping(at)
	if plain := strings.TrimSpace(text); strings.ContainsAny(plain, "{:#\n") {
		if n = parseYAML(name, []byte(text), errs); !errs.none() {
			return nil, errs.asError()
		}
	} else {
		n.add("use", at, scalar(at, plain))
	}
	switch {
	case n == nil || n.kind != mappingNode:
		errs.addf(at, "expected a policy like {use: sticky}")
	case n.child("policies") != nil:
		errs.addf(n.child("policies").at, "this is an experiment; give it as the file, and --policy the name of one of its policies")
	default:
		spec, ok := d.policySpec(n, "policy")
		if ok {
			return &Single{Spec: spec, n: n}, nil
		}
	}
	return nil, errs.asError()
}

// Placed returns what kept the policy from being built, at its place if it
// tells one.
func (s *Single) Placed(err error) error {
	d := &decoder{errs: &Errors{}}
	d.badPolicy(s.n, "policy", err)
	return d.errs.asError()
}

// Single returns the i-th policy of the cell by itself, with every default.
func (c *Cell) Single(i int) *Single {
	return &Single{Spec: c.policies[i].spec, n: c.tree.child("policies").values[i]}
}
