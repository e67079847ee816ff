package summary

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vramsim/vramsim/results/metrics"
	"github.com/vramsim/vramsim/results/stats"
)

// Input is everything that a summary is computed from. Build keeps no part of it.
type Input struct {
	Name     string
	Question string
	RunID    string
	Baseline string // name of the policy that the others are compared with
	Varied   string // what differed between replicates, for recorded traces
	Notes    []string
	Unranked string // why no policy may be chosen; empty if one may
	// Deterministic is true if nothing in the experiment is random: the
	// difference of two single replicates is then exact.
	Deterministic bool
	// Replicates is how many were asked for; a policy with fewer results is incomplete.
	Replicates int
	// Interrupted says why the run did not end, or is empty.
	Interrupted string
	Cells       []CellInput
	Thresholds  []Threshold
}

// CellInput is one point of the sweep.
type CellInput struct {
	ID       string
	Set      map[string]string
	Workload string // identifies the arrivals, see Cell
	// Replicates is how many were asked for here, 0 for as many as in Input: a
	// cell in which nothing is random has one.
	Replicates int
	// Deterministic is true if nothing in this cell is random.
	Deterministic bool
	Warmup        *float64 // seconds, if it was found rather than stated
	// Bounds holds, by metric, one lower bound for each replicate.
	Bounds   map[string][]float64
	Policies []PolicyInput
}

// PolicyInput is what one policy did in one cell.
type PolicyInput struct {
	Policy      string
	Clairvoyant bool
	// Results has one entry for each replicate, in order; nil where it is missing.
	Results []*metrics.Result
	Digests []string // of the logs
	Invalid []string // reasons beyond those of the results
}

// Build computes the summary of a run.
func Build(in Input) *Summary {
	s := &Summary{Schema: Schema, Name: in.Name, Question: in.Question, RunID: in.RunID, Baseline: in.Baseline,
		Varied: in.Varied, Notes: in.Notes, Unranked: in.Unranked, Reasons: []string{}, Cells: []Cell{}, Thresholds: []Outcome{}}
	if in.Replicates == 1 {
		s.Scope = ThisTrace
	}
	for _, cell := range in.Cells {
		s.Cells = append(s.Cells, buildCell(cell, in))
	}
	if in.Interrupted != "" {
		s.demote(Incomplete, in.Interrupted)
	}
	s.judge(in)
	for _, t := range in.Thresholds {
		for i := range s.Cells {
			s.Thresholds = append(s.Thresholds, t.outcomes(&s.Cells[i])...)
		}
	}
	if s.Status == "" {
		s.Status = Valid
	}
	return s
}

func buildCell(in CellInput, run Input) Cell {
	cell := Cell{ID: in.ID, Set: map[string]string{}, Workload: in.Workload, Warmup: in.Warmup, Bounds: map[string]Bound{}, Policies: []Policy{}}
	for k, v := range in.Set {
		cell.Set[k] = v
	}
	for _, p := range in.Policies {
		cell.Policies = append(cell.Policies, buildPolicy(p, in.replicates(run)))
	}
	for name, values := range in.Bounds {
		bound := Bound{PerReplicate: []Number{}}
		for _, v := range values {
			bound.PerReplicate = append(bound.PerReplicate, Number(v))
		}
		bound.Value = average(bound.PerReplicate).Value
		cell.Bounds[name] = bound
	}
	if baseline, ok := cell.Named(run.Baseline); ok {
		pairs := make([]pair, 0, len(cell.Policies))
		for i := range cell.Policies {
			if p := &cell.Policies[i]; p != baseline {
				pairs = append(pairs, pair{p: p, against: baseline})
			}
		}
		judgement{paired: true, exact: run.Deterministic || in.Deterministic}.compare(pairs)
	}
	return cell
}

func (c *CellInput) replicates(run Input) int {
	if c.Replicates > 0 {
		return c.Replicates
	}
	return run.Replicates
}

func buildPolicy(in PolicyInput, replicates int) Policy {
	p := Policy{Policy: in.Policy, Clairvoyant: in.Clairvoyant, Status: Valid, Reasons: []string{},
		Metrics: map[string]Metric{}, PerModel: map[string]map[string]Metric{}, PerTenant: map[string]map[string]Metric{},
		LogDigests: append([]string{}, in.Digests...), VsBaseline: map[string]Comparison{}}
	var done []*metrics.Result
	for _, r := range in.Results {
		if r != nil {
			done = append(done, r)
		}
	}
	if reasons := invalidity(done, in.Invalid); len(reasons) > 0 {
		p.Status, p.Reasons = Invalid, reasons
	}
	if len(done) < max(replicates, len(in.Results)) {
		p.Status = Incomplete
		p.Reasons = append(p.Reasons, fmt.Sprintf("%d of %d replicates are missing", max(replicates, len(in.Results))-len(done), max(replicates, len(in.Results))))
	}
	// A missing replicate stays in its place, so that pairs remain pairs.
	p.Metrics = overReplicates(in.Results)
	for _, name := range parts(done, func(r *metrics.Result) map[string]*metrics.Result { return r.PerModel }) {
		p.PerModel[name] = overReplicates(modelOf(in.Results, name))
	}
	for _, name := range parts(done, func(r *metrics.Result) map[string]*metrics.Result { return r.PerTenant }) {
		p.PerTenant[name] = overReplicates(partOf(in.Results, name, func(r *metrics.Result) map[string]*metrics.Result { return r.PerTenant }))
	}
	if p.Status == Invalid {
		p.withhold()
	}
	return p
}

// invalidity lists each reason once, with how many replicates give it.
func invalidity(results []*metrics.Result, more []string) []string {
	count := map[string]int{}
	var order []string
	for _, r := range results {
		for _, reason := range r.Invalid {
			if count[reason]++; count[reason] == 1 {
				order = append(order, reason)
			}
		}
	}
	for i, reason := range order {
		if n := count[reason]; n < len(results) {
			order[i] = fmt.Sprintf("%s (%d of %d replicates)", reason, n, len(results))
		}
	}
	return append(order, more...)
}

// withhold removes the means of distributions: an unstable run has no steady
// state, and what each replicate measured stays under per_replicate.
func (p *Policy) withhold() {
	hide := func(group map[string]Metric) {
		for _, m := range group {
			if m.Kind != KindDistribution {
				continue
			}
			for name := range m.Stats {
				if !counts(name) {
					m.Stats[name] = Statistic{Value: None()}
				}
			}
		}
	}
	hide(p.Metrics)
	for _, group := range p.PerModel {
		hide(group)
	}
	for _, group := range p.PerTenant {
		hide(group)
	}
}

func parts(results []*metrics.Result, of func(*metrics.Result) map[string]*metrics.Result) []string {
	seen := map[string]bool{}
	for _, r := range results {
		for name := range of(r) {
			seen[name] = true
		}
	}
	return Names(seen)
}

// modelOf returns the results of a model; where it was idle, those of an idle one.
func modelOf(results []*metrics.Result, name string) []*metrics.Result {
	part := partOf(results, name, func(r *metrics.Result) map[string]*metrics.Result { return r.PerModel })
	for i, r := range results {
		if r != nil && part[i] == nil {
			part[i] = r.IdleModel
		}
	}
	return part
}

func partOf(results []*metrics.Result, name string, of func(*metrics.Result) map[string]*metrics.Result) []*metrics.Result {
	part := make([]*metrics.Result, len(results))
	for i, r := range results {
		if r != nil {
			part[i] = of(r)[name]
		}
	}
	return part
}

// overReplicates collects every metric of the results, which may be nil.
func overReplicates(results []*metrics.Result) map[string]Metric {
	group := map[string]Metric{}
	for i, r := range results {
		if r == nil {
			continue
		}
		for name, stat := range r.Distributions {
			m := collected(group, name, KindDistribution, len(results))
			for s, v := range spread(stat) {
				m.PerReplicate[s][i] = v
			}
		}
		for name, v := range r.Values {
			collected(group, name, KindValue, len(results)).PerReplicate["value"][i] = Number(v)
		}
	}
	for name, m := range group {
		for s, values := range m.PerReplicate {
			m.Stats[s] = average(values)
		}
		for _, r := range results {
			if r != nil {
				m.Replicates++
			}
		}
		group[name] = m
	}
	return group
}

func collected(group map[string]Metric, name, kind string, replicates int) Metric {
	if m, ok := group[name]; ok {
		return m
	}
	m := Metric{Unit: unitOf(name), Kind: kind, Stats: map[string]Statistic{}, PerReplicate: map[string][]Number{}}
	for _, s := range statisticsOf(kind) {
		m.PerReplicate[s] = slices.Repeat([]Number{None()}, replicates)
	}
	group[name] = m
	return m
}

func statisticsOf(kind string) []string {
	if kind == KindValue {
		return []string{"value"}
	}
	return statistics[:]
}

// spread names the statistics of a distribution; one of no values has only its n.
func spread(s metrics.Stat) map[string]Number {
	if s.N == 0 {
		return map[string]Number{"n": 0, "censored": Number(s.Censored)}
	}
	return map[string]Number{"n": Number(s.N), "censored": Number(s.Censored), "mean": Number(s.Mean), "p50": Number(s.P50), "p90": Number(s.P90),
		"p95": Number(s.P95), "p99": Number(s.P99), "max": Number(s.Max)}
}

// average returns the mean and interval of what was measured.
func average(values []Number) Statistic {
	known := make([]float64, 0, len(values))
	for _, v := range values {
		if v.Known() {
			known = append(known, float64(v))
		}
	}
	s := Statistic{Value: Number(stats.Mean(known))}
	if interval, ok := stats.MeanInterval(known, 0.95); ok {
		s.CI95 = &[2]Number{Number(interval.Low), Number(interval.High)}
	}
	return s
}

// judge demotes the run where something is missing, the baseline is not VALID
// or no policy is. What holds of several cells is said once.
func (s *Summary) judge(in Input) {
	s.judgeComplete(in)
	baseline, none := new(findings), new(findings)
	for i := range s.Cells {
		cell := &s.Cells[i]
		valid, incomplete := 0, false
		for _, p := range cell.Policies {
			incomplete = incomplete || p.Status == Incomplete
			switch {
			case p.Status == Valid:
				valid++
			case p.Status == Invalid && p.Policy == s.Baseline:
				baseline.add(strings.Join(p.Reasons, "; "), cell.ID)
			}
		}
		if valid == 0 && !incomplete {
			none.add("", cell.ID)
		}
	}
	for _, what := range baseline.what {
		s.demote(Invalid, fmt.Sprintf("the baseline %s is INVALID: %s (%s)", s.Baseline, what, s.inCells(baseline.cells[what])))
	}
	for _, what := range none.what {
		s.demote(Invalid, fmt.Sprintf("no policy is VALID (%s)", s.inCells(none.cells[what])))
	}
}

// judgeComplete demotes the run if simulations are missing.
func (s *Summary) judgeComplete(in Input) {
	missing, all := 0, 0
	for _, cell := range in.Cells {
		for _, p := range cell.Policies {
			want := max(cell.replicates(in), len(p.Results))
			all, missing = all+want, missing+want
			for _, r := range p.Results {
				if r != nil {
					missing--
				}
			}
		}
	}
	if missing > 0 {
		s.demote(Incomplete, fmt.Sprintf("%d of %d simulations are missing", missing, all))
	}
}

// findings collects in which cells the same thing was found.
type findings struct {
	what  []string
	cells map[string][]string
}

func (f *findings) add(what, cell string) {
	if f.cells == nil {
		f.cells = map[string][]string{}
	}
	if !slices.Contains(f.what, what) {
		f.what = append(f.what, what)
	}
	if !slices.Contains(f.cells[what], cell) {
		f.cells[what] = append(f.cells[what], cell)
	}
}

// inCells names some of the cells: a few by id, all as such.
func (s *Summary) inCells(ids []string) string {
	switch {
	case len(ids) == len(s.Cells) && len(ids) > 1:
		return fmt.Sprintf("in all %d cells", len(ids))
	case len(ids) == 1:
		return "in cell " + ids[0]
	case len(ids) > 4:
		return fmt.Sprintf("in %d of %d cells", len(ids), len(s.Cells))
	}
	return "in cells " + strings.Join(ids, ", ")
}

// demote gives the run a worse status with a reason; incomplete outranks invalid.
func (s *Summary) demote(status, reason string) {
	if s.Status != Incomplete {
		s.Status = status
	}
	s.Reasons = append(s.Reasons, reason)
}
