package experiment

import (
	"cmp"
	"slices"

	"github.com/vramsim/vramsim/scheduler/random"
	"github.com/vramsim/vramsim/workloads"
)

// remapRule maps the models of the trace, ordered by number of items and then
// by name, onto models of the catalogue: of N onto n, stripe takes the i-th to
// i mod n, block to ⌊i·n/N⌋, zipf draws one for each.
func (d *decoder) remapRule(f *fields, t *recorded) func(string) string {
	rule := f.word("rule")
	onto := t.catalogue
	if n, path := f.get("onto"); n != nil {
		values, _ := d.list(n, path, "a list of models")
		onto = nil
		for i, v := range values {
			if d.inCatalogue(v, indexed(path, i), t) {
				onto = append(onto, v.text)
			}
		}
		if len(onto) == 0 {
			d.errorf(n.at, "%s is empty; expected models of the catalogue", path)
			return nil
		}
	}
	if rule != "zipf" && f.given("s") {
		d.errorf(f.n.child("s").at, "%s.s does not belong to %s", f.path, rule)
		return nil
	}
	sources := t.trace.Models()
	slices.SortFunc(sources, func(a, b workloads.ModelCount) int {
		return cmp.Or(cmp.Compare(b.Items, a.Items), cmp.Compare(a.Name, b.Name))
	})
	to := make(map[string]string, len(sources))
	pick := func(i int) int { return i % len(onto) }
	switch rule {
	case "identity":
		return nil
	case "block":
		pick = func(i int) int { return i * len(onto) / len(sources) }
	case "zipf":
		f.defaulted("s", "1")
		draw := zipf(f.number("s", notNegative, "a number of at least 0"), len(onto))
		pick = func(i int) int {
			return draw(random.Uniform(random.Key(d.seedOf, random.Hash("remap"), random.Hash(sources[i].Name))))
		}
	}
	for i, s := range sources {
		to[s.Name] = onto[pick(i)]
	}
	return func(name string) string { return to[name] }
}

// zipf returns the quantile function of i^-s over n.
func zipf(s float64, n int) func(float64) int {
	upto, total := make([]float64, n), 0.0
	for i := range upto {
		total += random.Exp(-s * random.Log(float64(i+1)))
		upto[i] = total
	}
	return func(u float64) int {
		i, _ := slices.BinarySearch(upto, float64(u*total))
		return min(i, n-1)
	}
}
