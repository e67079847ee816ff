package summary

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/vramsim/vramsim/results/stats"
)

// Margin is the share of the baseline within which a difference does not
// matter: an interval inside it makes a policy indistinguishable.
const Margin = 0.05

// Significance is the largest corrected p value that counts as a difference.
const Significance = 0.05

// rounding is the relative difference below which two measurements are equal:
// means over integer nanoseconds differ in their last bits.
const rounding = 1e-12

// pair is a policy and what it is compared with.
type pair struct {
	p, against *Policy
	label      string // Comparison.Against
}

// judgement is how pairs are compared.
type judgement struct {
	paired bool // replicate by replicate
	exact  bool // single replicates differ for no random reason
}

// compare fills VsBaseline of every pair in which both are not INVALID,
// correcting each figure for the number of pairs.
func (j judgement) compare(pairs []pair) {
	pairs = slices.DeleteFunc(pairs, func(c pair) bool {
		return c.p.Status == Invalid || c.against.Status == Invalid
	})
	names := map[string]bool{}
	for _, c := range pairs {
		for name := range c.p.Metrics {
			names[name] = better[name] != 0
		}
	}
	for _, name := range Names(names) {
		if !names[name] {
			continue
		}
		for _, statistic := range [...]string{"value", "mean", "p50", "p90", "p95", "p99", "max"} {
			j.figure(pairs, name, statistic)
		}
	}
}

func (j judgement) figure(pairs []pair, name, statistic string) {
	tests := make([]measured, 0, len(pairs))
	ps := make([]float64, 0, len(pairs))
	for _, c := range pairs {
		t, ok := j.measure(c, name, statistic)
		if ok {
			tests, ps = append(tests, t), append(ps, t.test.P)
		}
	}
	key := name
	if statistic != "value" {
		key += "." + statistic
	}
	for i, p := range stats.Holm(ps) {
		t := tests[i]
		result := Comparison{Against: t.label, Diff: Number(t.test.Diff), Ratio: ratio(t.value, t.base), PValue: Number(p),
			Verdict: t.verdict(p, better[name], j.exact)}
		if t.single {
			result.Scope = ThisTrace
		} else {
			result.CI95 = &[2]Number{Number(t.test.Interval.Low), Number(t.test.Interval.High)}
		}
		t.p.VsBaseline[key] = result
	}
}

// measured is one figure of one pair.
type measured struct {
	pair
	test        stats.Test
	value, base float64 // means
	single      bool    // no replication, no interval
}

func (j judgement) measure(c pair, name, statistic string) (measured, bool) {
	a, b := c.p.Metrics[name].PerReplicate[statistic], c.against.Metrics[name].PerReplicate[statistic]
	var xs, ys []float64
	if j.paired {
		xs, ys = together(a, b)
	} else {
		xs, ys = alone(a), alone(b)
	}
	if len(xs) == 0 || len(ys) == 0 {
		return measured{}, false
	}
	m := measured{pair: c, value: stats.Mean(xs), base: stats.Mean(ys)}
	var ok bool
	if j.paired {
		m.test, ok = stats.PairedT(xs, ys, 0.95)
	} else {
		m.test, ok = stats.Welch(xs, ys, 0.95)
	}
	if !ok {
		m.single = true
		m.test = stats.Test{Diff: m.value - m.base, P: math.NaN(), Constant: true}
	}
	return m, true
}

// together returns the replicates that both have, equal where they differ by
// rounding only.
func together(a, b []Number) (xs, ys []float64) {
	for i := range min(len(a), len(b)) {
		x, y := float64(a[i]), float64(b[i])
		if !a[i].Known() || !b[i].Known() {
			continue
		}
		if math.Abs(x-y) <= rounding*max(math.Abs(x), math.Abs(y)) {
			y = x
		}
		xs, ys = append(xs, x), append(ys, y)
	}
	return xs, ys
}

func alone(a []Number) (xs []float64) {
	for _, x := range a {
		if x.Known() {
			xs = append(xs, float64(x))
		}
	}
	return xs
}

func (m measured) verdict(p float64, direction int, exact bool) string {
	switch {
	case m.single && !exact:
		return Underpowered
	case m.test.Constant:
		return bySign(m.test.Diff, direction)
	case p <= Significance:
		return bySign(m.test.Diff, direction)
	}
	margin := Margin * math.Abs(m.base)
	if m.test.Interval.Low >= -margin && m.test.Interval.High <= margin {
		return Indistinguishable
	}
	return Underpowered
}

func bySign(diff float64, direction int) string {
	switch {
	case diff == 0:
		return Indistinguishable
	case (diff > 0) == (direction > 0):
		return Better
	}
	return Worse
}

func ratio(value, base float64) Number {
	if base == 0 {
		return None()
	}
	return Number(value / base)
}

// ErrUnpaired is wrapped by the error of Compare for runs whose replicates do
// not belong together.
var ErrUnpaired = errors.New("the runs cannot be compared replicate by replicate: workloads, seeds or the warm-ups that were found differ")

// ErrNothingInCommon is returned by Compare for runs without a common cell.
var ErrNothingInCommon = errors.New("the runs have no cell in common")

// Labelled is a finished run and the name it goes by in a comparison.
type Labelled struct {
	Label string
	Run   *Summary
}

// Compare returns one summary of several runs. It has the cells that all of
// them have, with the policies of every run named policy@label. Those of
// the first run are compared with its baseline; a policy of a later run with
// the policy of the same name in the first, or else with that baseline.
// Replicates are paired, which needs equal workloads, unless unpaired is
// true: then Welch's test is used. The runs are not changed.
func Compare(runs []Labelled, unpaired bool) (*Summary, error) {
	if len(runs) < 2 {
		return nil, errors.New("compare: at least two runs are needed")
	}
	first := runs[0]
	s := &Summary{Schema: Schema, Name: first.Run.Name, RunID: first.Run.RunID, Status: Valid, Reasons: []string{},
		Baseline: at(first.Run.Baseline, first.Label), Cells: []Cell{}, Thresholds: []Outcome{}}
	for _, r := range runs {
		if r.Run.Status != Valid {
			s.demote(r.Run.Status, r.Label+": "+r.Run.Status)
		}
		s.Notes = append(s.Notes, fmt.Sprintf("%s: run %s", r.Label, r.Run.RunID))
	}
	for i := range first.Run.Cells {
		cell, ok, err := mergeCell(runs, &first.Run.Cells[i], unpaired)
		if err != nil {
			return nil, err
		}
		if ok {
			s.Cells = append(s.Cells, cell)
		}
	}
	if len(s.Cells) == 0 {
		return nil, ErrNothingInCommon
	}
	return s, nil
}

func at(policy, label string) string { return policy + "@" + label }

// mergeCell joins the cells of all runs that set what cell of the first sets.
// Of its bounds and its warm-up those stay that all of them have: others do not
// hold for all.
func mergeCell(runs []Labelled, cell *Cell, unpaired bool) (Cell, bool, error) {
	merged := Cell{ID: cell.ID, Set: maps.Clone(cell.Set), Workload: cell.Workload, Warmup: cell.Warmup, Bounds: maps.Clone(cell.Bounds), Policies: []Policy{}}
	var against []string // what each merged policy is compared with
	for _, r := range runs {
		i := slices.IndexFunc(r.Run.Cells, func(c Cell) bool { return maps.Equal(c.Set, cell.Set) })
		if i < 0 {
			return Cell{}, false, nil
		}
		other := &r.Run.Cells[i]
		maps.DeleteFunc(merged.Bounds, func(figure string, b Bound) bool { return !b.equal(other.Bounds[figure]) })
		if !unpaired && (cell.Workload == "" || other.Workload != cell.Workload) {
			return Cell{}, false, fmt.Errorf("%s, cell %s: %w", r.Label, other.ID, ErrUnpaired)
		}
		if merged.Warmup != nil && (other.Warmup == nil || *other.Warmup != *merged.Warmup) {
			merged.Warmup = nil
		}
		for _, p := range other.Policies {
			against = append(against, opponent(runs[0], cell, p.Policy, r.Label))
			p.Policy = at(p.Policy, r.Label)
			p.VsBaseline = map[string]Comparison{}
			merged.Policies = append(merged.Policies, p)
		}
	}
	var pairs []pair
	for i := range merged.Policies {
		p := &merged.Policies[i]
		if other, ok := merged.Named(against[i]); ok && other != p {
			pairs = append(pairs, pair{p: p, against: other, label: against[i]})
		}
	}
	judgement{paired: !unpaired}.compare(pairs)
	return merged, true, nil
}

// equal reports whether both are known and say the same of every replicate.
func (b Bound) equal(other Bound) bool {
	return b.Value.Known() && b.Value == other.Value && slices.Equal(b.PerReplicate, other.PerReplicate)
}

// opponent names what a policy of the run with that label is compared with.
func opponent(first Labelled, cell *Cell, policy, label string) string {
	if _, ok := cell.Named(policy); ok && label != first.Label {
		return at(policy, first.Label)
	}
	return at(first.Run.Baseline, first.Label)
}
