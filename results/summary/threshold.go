package summary

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/vramsim/vramsim/results/metrics"
	"github.com/vramsim/vramsim/scheduler/nearest"
)

// Threshold is a condition on a figure, like
//
//	item_latency_seconds{policy=sticky,model=whisper}: p99 < 60
//
// It applies to the mean over replicates, in each cell, of every policy that
// the filters allow. Filters on model or tenant take the figure of that one.
type Threshold struct {
	Metric    string
	Policy    string // filters; empty allows all
	Model     string
	Tenant    string
	Statistic string // "value" or a statistic of a distribution
	Op        string // < <= > >= == !=
	Limit     float64
	expr      string
}

// ThresholdError says what is wrong with a threshold and what would be right.
type ThresholdError struct {
	Text    string // the selector or the condition, as written
	Offset  int    // byte in Text
	What    string
	Nearest string // the valid name that looks most like the wrong one, if any
	// InCondition is true if Text is the condition, false for the selector.
	InCondition bool
}

func (e *ThresholdError) Error() string {
	if e.Nearest == "" {
		return e.What
	}
	return fmt.Sprintf("%s; did you mean %q?", e.What, e.Nearest)
}

// String returns the threshold as one expression.
func (t Threshold) String() string { return t.expr }

// ParseThreshold reads one entry of the thresholds of an experiment: selector
// is its key, a metric with optional filters, condition one of its values.
// Errors are of type *ThresholdError.
func ParseThreshold(selector, condition string) (Threshold, error) {
	t := Threshold{expr: selector + ": " + condition}
	name, filters, filtered := strings.Cut(selector, "{")
	t.Metric = strings.TrimSpace(name)
	metric, err := metricNamed(t.Metric, selector)
	if err != nil {
		return Threshold{}, err
	}
	if filtered {
		if err := t.filter(selector, filters, len(name)+1); err != nil {
			return Threshold{}, err
		}
	}
	if t.Model != "" && t.Tenant != "" {
		return Threshold{}, &ThresholdError{Text: selector, What: "filters on model and tenant do not combine"}
	}
	if err := t.condition(condition, metric.Kind); err != nil {
		return Threshold{}, err
	}
	return t, nil
}

func metricNamed(name, selector string) (metrics.Metric, error) {
	all := metrics.All()
	names := make([]string, len(all))
	for i, m := range all {
		if m.Name == name {
			return m, nil
		}
		names[i] = m.Name
	}
	return metrics.Metric{}, &ThresholdError{Text: selector, What: fmt.Sprintf("unknown metric %q", name), Nearest: nearest.To(name, names)}
}

// filter reads "policy=a,model=b}" which begins at byte offset of selector.
func (t *Threshold) filter(selector, filters string, offset int) error {
	fail := func(what, near string) error {
		return &ThresholdError{Text: selector, Offset: offset, What: what, Nearest: near}
	}
	body, rest, closed := strings.Cut(filters, "}")
	if !closed || strings.TrimSpace(rest) != "" {
		return fail("the filters must end with a } and nothing after it", "")
	}
	fields := map[string]*string{"policy": &t.Policy, "model": &t.Model, "tenant": &t.Tenant}
	for _, part := range strings.Split(body, ",") {
		key, value, ok := strings.Cut(part, "=")
		key, value = strings.TrimSpace(key), strings.Trim(strings.TrimSpace(value), `"`)
		field := fields[key]
		switch {
		case !ok || value == "":
			return fail(fmt.Sprintf("%q is not of the form key=value", strings.TrimSpace(part)), "")
		case field == nil:
			return fail(fmt.Sprintf("unknown filter %q; there are policy, model and tenant", key), nearest.To(key, Names(fields)))
		case *field != "":
			return fail(fmt.Sprintf("filter %q is given twice", key), "")
		}
		*field = value
		offset += len(part) + 1
	}
	return nil
}

// condition reads "p99 < 60".
func (t *Threshold) condition(text, kind string) error {
	fail := func(offset int, what, near string) error {
		return &ThresholdError{Text: text, Offset: offset, What: what, Nearest: near, InCondition: true}
	}
	at := strings.IndexAny(text, "<>=!")
	if at < 0 {
		return fail(0, fmt.Sprintf("%q is no condition like \"p99 < 60\" or \"value == 0\"", text), "")
	}
	t.Statistic = strings.TrimSpace(text[:at])
	allowed := statisticsOf(kind)
	if !slices.Contains(allowed, t.Statistic) {
		return fail(0, fmt.Sprintf("%s has no statistic %q but %s", t.Metric, t.Statistic, strings.Join(allowed, ", ")), nearest.To(t.Statistic, allowed))
	}
	end := at + 1
	for end < len(text) && strings.IndexByte("<>=!", text[end]) >= 0 {
		end++
	}
	if t.Op = text[at:end]; !slices.Contains([]string{"<", "<=", ">", ">=", "==", "!="}, t.Op) {
		return fail(at, fmt.Sprintf("unknown comparison %q; there are < <= > >= == !=", t.Op), "")
	}
	number := strings.TrimSpace(text[end:])
	limit, err := strconv.ParseFloat(number, 64)
	if err != nil || !Number(limit).Known() || strings.ContainsAny(number, "xX_") {
		return fail(end, fmt.Sprintf("%q is not a number; thresholds are in the unit of the metric", number), "")
	}
	t.Limit = limit
	return nil
}

// Check verifies the filters against the names of an experiment. Tenants may
// be nil if they are not known beforehand. Errors are of type *ThresholdError.
func (t Threshold) Check(policies, models, tenants []string) error {
	for _, f := range [...]struct {
		what, name string
		known      []string
	}{{"policy", t.Policy, policies}, {"model", t.Model, models}, {"tenant", t.Tenant, tenants}} {
		if f.name == "" || f.known == nil || slices.Contains(f.known, f.name) {
			continue
		}
		return &ThresholdError{Text: t.expr, Offset: max(0, strings.Index(t.expr, f.name)),
			What: fmt.Sprintf("unknown %s %q", f.what, f.name), Nearest: nearest.To(f.name, f.known)}
	}
	return nil
}

// outcomes applies t to a cell. What was not measured does not hold.
func (t Threshold) outcomes(cell *Cell) []Outcome {
	var list []Outcome
	for i := range cell.Policies {
		p := &cell.Policies[i]
		if t.Policy != "" && t.Policy != p.Policy {
			continue
		}
		group := p.Metrics
		switch {
		case t.Model != "":
			group = p.PerModel[t.Model]
		case t.Tenant != "":
			group = p.PerTenant[t.Tenant]
		}
		value := None()
		if s, ok := group[t.Metric].Stats[t.Statistic]; ok {
			value = s.Value
		}
		list = append(list, Outcome{Expr: t.expr, Cell: cell.ID, Policy: p.Policy, Model: t.Model, Tenant: t.Tenant,
			Value: value, OK: value.Known() && t.holds(float64(value))})
	}
	return list
}

func (t Threshold) holds(v float64) bool {
	switch t.Op {
	case "<":
		return v < t.Limit
	case "<=":
		return v <= t.Limit
	case ">":
		return v > t.Limit
	case ">=":
		return v >= t.Limit
	case "==":
		return v == t.Limit
	}
	return v != t.Limit
}
