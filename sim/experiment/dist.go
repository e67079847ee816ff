package experiment

import (
	"encoding/csv"
	"errors"
	"io"
	"math"
	"strings"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/random"
)

// dimension says what a distribution yields.
type dimension uint8

const (
	durations dimension = iota // ns, written with units
	counts                     // numbers, drawn values rounded to integers by who draws
)

func (dim dimension) shape(t *tables) *shape {
	if dim == counts {
		return t.count
	}
	return t.duration
}

// dist reads a plain value, which is constant, or a distribution.
func (d *decoder) dist(n *node, path string, dim dimension) random.Dist {
	if n.kind == scalarNode {
		return random.Constant(d.plain(n, path, dim))
	}
	name, body, ok := d.choice(n, path, dim.shape(d.tables).any[1])
	if !ok {
		return random.Constant(0)
	}
	before := d.errs.reported
	dist, err := d.named(name, body, join(path, name), dim)
	if err != nil {
		d.parameter(n, body, join(path, name), err)
	}
	if dist == nil || d.errs.reported > before {
		return random.Constant(0)
	}
	return dist
}

func varies(d random.Dist) bool {
	_, fixed := random.Fixed(d)
	return !fixed
}

// plain reads a constant: a duration or a whole number.
func (d *decoder) plain(n *node, path string, dim dimension) float64 {
	if dim == durations {
		return float64(d.time(n, path))
	}
	return float64(d.integer(n, path, 0, 1<<40))
}

// amount reads a parameter in the dimension of its distribution: a duration or
// a number with decimals.
func (d *decoder) amount(n *node, path string, dim dimension) float64 {
	if dim == durations {
		return float64(d.time(n, path))
	}
	return d.number(n, path, notNegative, "a number of at least 0")
}

func (f *fields) amount(name string, dim dimension) float64 {
	n, path := f.get(name)
	if n == nil {
		return 0
	}
	return f.d.amount(n, path, dim)
}

// named makes a distribution of its name and parameters. Where the parameters
// themselves cannot be read, the errors say so and the result does not matter.
func (d *decoder) named(name string, n *node, path string, dim dimension) (random.Dist, error) {
	switch name {
	case "uniform":
		return d.uniform(n, path, dim)
	case "mixture":
		return d.mixture(n, path, dim)
	}
	k, _ := dim.shape(d.tables).any[1].key(name)
	f, ok := d.record(n, path, k.is)
	if !ok {
		return nil, nil
	}
	defer f.done()
	before := d.errs.reported
	make := func() (random.Dist, error) { return nil, nil }
	switch name {
	case "exp":
		mean := f.amount("mean", dim)
		make = func() (random.Dist, error) { return random.Exponential(mean) }
	case "normal":
		mean, sd := f.amount("mean", dim), f.amount("sd", dim)
		make = func() (random.Dist, error) { return random.Normal(mean, sd) }
	case "lognormal":
		return d.lognormal(&f, dim)
	case "gamma":
		mean, cv := f.amount("mean", dim), f.number("cv", notNegative, "a number of at least 0")
		make = func() (random.Dist, error) { return random.Gamma(mean, cv) }
	case "weibull":
		scale, shape := f.amount("scale", dim), f.number("shape", positive, "a positive number")
		make = func() (random.Dist, error) { return random.Weibull(scale, shape) }
	case "pareto":
		least, alpha := f.amount("min", dim), f.number("alpha", positive, "a positive number")
		make = func() (random.Dist, error) { return random.Pareto(least, alpha) }
	case "empirical":
		return d.empirical(&f, dim)
	}
	if d.errs.reported > before {
		return nil, nil
	}
	return make()
}

// parameter maps the error of a constructor to the parameter it names.
func (d *decoder) parameter(n, body *node, path string, err error) {
	at := n.at
	var p *random.ParameterError
	if errors.As(err, &p) {
		if i := body.find(p.Parameter); body.kind == mappingNode && i >= 0 {
			d.errorf(body.values[i].at, "%s is %s; it must be %s", join(path, p.Parameter), body.values[i].describe(), d.inUnits(p, body))
			return
		}
		if body.kind == listNode && len(body.values) > 0 {
			at = body.values[len(body.values)-1].at
		}
	}
	d.errorf(at, "%s: %v", path, err)
}

// inUnits says what a parameter must be, in the words of the file.
func (d *decoder) inUnits(p *random.ParameterError, body *node) string {
	if p.Dist == "lognormal" && p.Parameter == "p95" {
		if p50 := body.child("p50"); p50 != nil && p.Value > 0 {
			return "at least p50, which is " + p50.text
		}
	}
	return p.Want
}

func (d *decoder) uniform(n *node, path string, dim dimension) (random.Dist, error) {
	values, ok := d.list(n, path, "a list of the least and the greatest value, like [4, 30]")
	if !ok {
		return nil, nil
	}
	if len(values) != 2 {
		d.errorf(n.at, "%s has %d values; expected two, the least and the greatest", path, len(values))
		return nil, nil
	}
	before := d.errs.reported
	a, b := d.plain(values[0], path+"[0]", dim), d.plain(values[1], path+"[1]", dim)
	switch {
	case d.errs.reported > before:
		return nil, nil
	case a > b:
		d.errorf(values[1].at, "%s[1] is %s; it must be at least %s", path, values[1].describe(), values[0].text)
		return nil, nil
	case dim == counts:
		return random.Integers(int64(a), int64(b))
	}
	return random.Between(a, b)
}

func (d *decoder) lognormal(f *fields, dim dimension) (random.Dist, error) {
	before := d.errs.reported
	byQuantiles, byMoments := f.given("p50") || f.given("p95"), f.given("mean") || f.given("cv")
	switch {
	case byQuantiles && byMoments:
		d.errorf(f.n.at, "%s mixes p50 and p95 with mean and cv; expected one of the pairs", f.path)
		return nil, nil
	case byMoments:
		mean, cv := f.required("mean", dim), f.required("cv", counts)
		if d.errs.reported > before {
			return nil, nil
		}
		return random.LognormalMeanCV(mean, cv)
	}
	p50, p95 := f.required("p50", dim), f.required("p95", dim)
	if d.errs.reported > before {
		return nil, nil
	}
	return random.Lognormal(p50, p95)
}

// required reads an amount that must be there although the table does not say so.
func (f *fields) required(name string, dim dimension) float64 {
	if !f.given(name) {
		f.d.errorf(f.n.at, "%s is missing", join(f.path, name))
		return 0
	}
	return f.amount(name, dim)
}

func (d *decoder) mixture(n *node, path string, dim dimension) (random.Dist, error) {
	const want = "a list of parts like {weight: 0.3, exp: {mean: 1s}}"
	values, ok := d.list(n, path, want)
	if !ok {
		return nil, nil
	}
	before := d.errs.reported
	var parts []random.Part
	for i, v := range values {
		p := indexed(path, i)
		if v.kind != mappingNode || v.child("weight") == nil {
			d.errorf(v.at, "%s has no weight; expected a part like {weight: 0.3, exp: {mean: 1s}}", p)
			continue
		}
		weight := d.number(v.child("weight"), join(p, "weight"), notNegative, "a number of at least 0")
		rest := v.clone()
		rest.remove("weight")
		part := d.part(rest, p, dim)
		*v = node{kind: mappingNode, at: v.at, keys: append([]string{"weight"}, rest.keys...),
			keyAt: append([]place{v.at}, rest.keyAt...), values: append([]*node{v.child("weight")}, rest.values...)}
		parts = append(parts, random.Part{Weight: weight, Dist: part})
	}
	if d.errs.reported > before {
		return nil, nil
	}
	return random.Mixture(parts...)
}

// part reads the distribution of a mixture's part; a constant one is written
// {weight: 0.3, value: 2s}.
func (d *decoder) part(n *node, path string, dim dimension) random.Dist {
	if v := n.child("value"); v != nil && len(n.keys) == 1 {
		return random.Constant(d.plain(v, join(path, "value"), dim))
	}
	return d.dist(n, path, dim)
}

func (d *decoder) empirical(f *fields, dim dimension) (random.Dist, error) {
	switch {
	case f.given("values") && f.given("file"):
		d.errorf(f.n.at, "%s has both values and a file", f.path)
	case f.given("file"):
		return d.empiricalFile(f, dim)
	case f.given("values"):
		n, path := f.get("values")
		values, ok := d.list(n, path, "a list of values")
		if !ok {
			return nil, nil
		}
		before := d.errs.reported
		var sample []float64
		for i, v := range values {
			sample = append(sample, d.amount(v, indexed(path, i), dim))
		}
		if len(sample) == 0 {
			d.errorf(n.at, "%s is empty; expected at least one value", path)
		}
		if d.errs.reported > before {
			return nil, nil
		}
		return random.Empirical(sample)
	default:
		d.errorf(f.n.at, "%s has neither values nor a file", f.path)
	}
	return nil, nil
}

// empiricalFile reads the values of a column of a CSV file.
func (d *decoder) empiricalFile(f *fields, dim dimension) (random.Dist, error) {
	column, unit := f.name("column"), ""
	if dim == durations {
		unit = f.word("unit")
	}
	n, path := f.get("file")
	data, ok := d.file(n, path)
	if !ok {
		return nil, nil
	}
	src := newSource(n.text, string(data))
	r := csv.NewReader(strings.NewReader(strings.TrimPrefix(string(data), "\ufeff")))
	head, err := r.Read()
	if err != nil {
		d.errorf(n.at, "%s: %v", path, err)
		return nil, nil
	}
	index := -1
	for i, h := range head {
		if strings.TrimSpace(h) == column {
			index = i
		}
	}
	if index < 0 {
		d.errorf(n.at, "%s has no column %s%s", path, quote(column), suggest(column, head))
		return nil, nil
	}
	before := d.errs.reported
	var sample []float64
	for {
		row, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			d.errorf(n.at, "%s: %v", path, err)
			return nil, nil
		}
		line, col := r.FieldPos(index)
		cell := scalar(place{src, line, col}, strings.TrimSpace(row[index]))
		if unit != "" && number(cell.text) {
			cell.text += unit
		}
		sample = append(sample, d.amount(cell, column, dim))
		if d.errs.reported-before > maxErrors {
			break
		}
	}
	if len(sample) == 0 {
		d.errorf(n.at, "%s has no rows", path)
	}
	if d.errs.reported > before {
		return nil, nil
	}
	return random.Empirical(sample)
}

// mean returns the expected value of a duration, which estimates need.
func (d *decoder) mean(n *node, path string, v random.Dist) scheduler.Time {
	mean := v.Mean()
	if math.IsInf(mean, 0) || math.IsNaN(mean) || mean > float64(scheduler.MaxTime/4) {
		d.errorf(n.at, "%s has no finite mean, which estimates need", path)
		return 0
	}
	return scheduler.Time(random.Round(mean))
}
