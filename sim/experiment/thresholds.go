package experiment

import (
	"errors"
	"slices"

	"github.com/vramsim/vramsim/results/summary"
)

// thresholds reads the conditions and checks what they name.
func (d *decoder) thresholds(e *Experiment, f *fields, opts Options) {
	n, path := f.get("thresholds")
	if n == nil {
		return
	}
	if n.kind != mappingNode {
		d.wrong(n, path, "a mapping from metrics to conditions, like item_latency_seconds: [\"p99 < 60\"]")
		return
	}
	for i, selector := range n.keys {
		if v := n.values[i]; v.kind == scalarNode {
			n.values[i] = list(v.at, v)
		}
		values, _ := d.list(n.values[i], path+"."+selector, "a list of conditions, like [\"p99 < 60\"]")
		for k, v := range values {
			if v.kind != scalarNode {
				d.wrong(v, indexed(path+"."+selector, k), "a condition like \"p99 < 60\"")
				continue
			}
			v.quoted = false
			d.threshold(e, n.keyAt[i], selector, v, opts)
		}
	}
}

func (d *decoder) threshold(e *Experiment, at place, selector string, n *node, opts Options) {
	t, err := summary.ParseThreshold(selector, n.text)
	if err == nil {
		var names, models []string
		for _, c := range e.Cells {
			names = append(names, c.names()...)
			for i := range c.models {
				models = append(models, c.models[i].core.Name)
			}
			if len(c.models) > 1000 {
				break
			}
		}
		if t.Policy != "" && len(opts.Policies) > 0 && !slices.Contains(names, t.Policy) {
			return // of a policy that is not run this time
		}
		slices.Sort(names)
		slices.Sort(models)
		if err = t.Check(slices.Compact(names), slices.Compact(models), nil); err == nil {
			e.Thresholds = append(e.Thresholds, t)
			return
		}
	}
	var wrong *summary.ThresholdError
	if errors.As(err, &wrong) {
		if wrong.InCondition {
			at = n.at
		}
		if wrong.InCondition || wrong.Text == selector {
			at.col += len([]rune(wrong.Text[:min(wrong.Offset, len(wrong.Text))]))
		}
	}
	d.errorf(at, "thresholds: %v", err)
}
