package fidelity

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"github.com/vramsim/vramsim/results/metrics"
	"github.com/vramsim/vramsim/results/stats"
	"github.com/vramsim/vramsim/results/summary"
	"github.com/vramsim/vramsim/scheduler"
)

// Compute compares the two sides of in.
func Compute(in Input) *Result {
	r := &Result{Schema: Schema, Simulation: in.Simulation, Hardware: in.Hardware, Closure: in.Closure, Cells: []Cell{},
		Unranked: in.Unranked, Unmatched: orNone(in.Unmatched), Notes: orNone(in.Notes)}
	for _, check := range []*Check{&r.Closure.Decisions, &r.Closure.Events} {
		if check.Broken == nil {
			check.Broken = []Break{}
		}
	}
	var inside, seen float64
	for i := range in.Cells {
		c := cellOf(&in.Cells[i])
		if in.Unranked != "" {
			c.Rankings = []Ranking{}
		}
		for _, p := range c.Policies {
			if n := float64(p.Items.Coverage.N); n > 0 {
				inside += n * float64(p.Items.Coverage.Share)
				seen += n
			}
		}
		r.Cells = append(r.Cells, c)
	}
	r.Coverage = ItemCoverage{Number(inside / seen), int(seen)}
	r.Ranking = overall(r.Cells)
	r.judge(in.Targets)
	return r
}

func orNone(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func cellOf(in *CellInput) Cell {
	c := Cell{Set: in.Set, Simulated: in.Simulated, Measured: in.Measured, Policies: []Policy{}, Rankings: []Ranking{}}
	if c.Set == nil {
		c.Set = map[string]string{}
	}
	for i := range in.Policies {
		c.Policies = append(c.Policies, policyOf(in, &in.Policies[i]))
	}
	for _, f := range []string{LatencyMean, LatencyP99, metrics.Makespan} {
		if r, ok := rank(f, c.Policies); ok {
			c.Rankings = append(c.Rankings, r)
		}
	}
	return c
}

func policyOf(cell *CellInput, in *PolicyInput) Policy {
	p := Policy{Policy: in.Policy, LeftOut: []LeftOut{}, Phases: []PhaseError{}, Ablation: []Ablation{}}
	for _, r := range in.Measured {
		if len(r.Excluded) > 0 {
			p.LeftOut = append(p.LeftOut, LeftOut{r.Replicate, r.Excluded})
		}
	}
	groups := match(in.Simulated, in.Measured)
	for _, g := range groups {
		p.Simulated += len(g.simulated)
		p.Measured += len(g.measured)
	}
	p.Figures = errorsOf(figures(), groups)
	p.Items = itemErrors(groups)
	p.Items.Pairs = pairs(cell, groups)
	p.Decisions = decisionsOf(groups)
	p.Decisions.First = in.Divergence
	p.Phases = append(p.Phases, phases(cell.Models, groups)...)
	for _, l := range in.Ablation {
		p.Ablation = append(p.Ablation, Ablation{l.Level, l.Absent, errorsOf(ablated(), match(l.Runs, in.Measured))})
	}
	return p
}

// ablated are the figures that an ablation shows.
func ablated() []figure {
	return slices.DeleteFunc(figures(), func(f figure) bool {
		return f.name != metrics.Makespan && f.name != LatencyMean && f.name != LatencyP99 && f.name != metrics.Switches
	})
}

// pairs returns the latencies of the first measured run and what was
// predicted for them, by model.
func pairs(cell *CellInput, groups []matched) (list []Pair) {
	if len(groups) == 0 {
		return nil
	}
	g := groups[0]
	sim := latencies(g.simulated)
	real := g.measured[0]
	for id, it := range real.Items {
		took, done := it.Latency()
		if done && id < len(sim) && len(sim[id]) > 0 {
			list = append(list, Pair{cell.Models[it.Model].Name, stats.Mean(sim[id]), took.Seconds()})
		}
	}
	return list
}

// decisionsOf compares each measured run with the first simulated one of its
// workload.
func decisionsOf(groups []matched) Decisions {
	d := Decisions{Tau: summary.None(), TauNoise: summary.None()}
	var taus, noise []float64
	for _, g := range groups {
		sim := g.simulated[0]
		for i, real := range g.measured {
			if sim.Items == nil || real.Items == nil {
				continue
			}
			d.Runs++
			edits := EditDistance(keys(sim), keys(real), MaxDistance)
			if edits.Edits == 0 {
				d.Identical++
			}
			if edits.Edits > d.Edits.Edits || d.Length == 0 {
				d.Edits, d.Length = edits, len(real.Decisions)
			}
			taus = appendKnown(taus, completionTau(sim, real))
			for _, other := range g.measured[:i] {
				noise = appendKnown(noise, completionTau(other, real))
			}
		}
	}
	d.Tau, d.TauNoise = mean(taus), mean(noise)
	return d
}

func appendKnown(list []float64, v float64) []float64 {
	if math.IsNaN(v) {
		return list
	}
	return append(list, v)
}

func keys(r *Run) []uint64 {
	list := make([]uint64, len(r.Decisions))
	for i := range r.Decisions {
		list[i] = r.Decisions[i].Key
	}
	return list
}

// completionTau is Kendall's tau of the orders in which two runs finished the
// items that both did.
func completionTau(a, b *Run) float64 {
	var xs, ys []float64
	for id := range min(len(a.Items), len(b.Items)) {
		x, y := a.Items[id].Finished, b.Items[id].Finished
		if x != scheduler.Never && y != scheduler.Never {
			xs, ys = append(xs, float64(x)), append(ys, float64(y))
		}
	}
	return stats.KendallTau(xs, ys)
}

// taken is a model's phase, for batches by size.
type taken struct {
	model scheduler.ModelID
	phase Phase
	n     int
}

// phases compares what the phases of each model took, all runs together.
// Batches are compared size by size, weighted as measured.
func phases(models []scheduler.Model, groups []matched) (list []PhaseError) {
	sim, real := map[taken][]float64{}, map[taken][]float64{}
	for _, g := range groups {
		collect(sim, g.simulated)
		collect(real, g.measured)
	}
	sums := map[taken]*PhaseError{}
	var order []taken
	for _, what := range slices.SortedFunc(maps.Keys(real), inPlace) {
		predicted, ok := sim[what]
		if !ok {
			continue
		}
		took, whole := real[what], taken{what.model, what.phase, 0}
		if sums[whole] == nil {
			sums[whole] = &PhaseError{Model: models[what.model].Name, Phase: what.phase}
			order = append(order, whole)
		}
		p, weight := sums[whole], float64(len(took))
		p.N += len(took)
		p.Predicted += Number(weight * stats.Mean(predicted))
		p.Measured += Number(weight * stats.Mean(took))
	}
	for _, what := range order {
		p := sums[what]
		p.Predicted, p.Measured = p.Predicted/Number(p.N), p.Measured/Number(p.N)
		p.Error = relative(float64(p.Predicted), float64(p.Measured))
		list = append(list, *p)
	}
	return list
}

// inPlace orders by model, phase and size.
func inPlace(a, b taken) int {
	place := func(p Phase) int {
		return slices.Index([]Phase{PhaseLoadDisk, PhaseLoadHost, PhaseBatch, PhaseUnload}, p)
	}
	return cmp.Or(cmp.Compare(a.model, b.model), cmp.Compare(place(a.phase), place(b.phase)), cmp.Compare(a.n, b.n))
}

func collect(into map[taken][]float64, runs []*Run) {
	for _, r := range runs {
		for _, d := range r.Durations {
			key := taken{d.Model, d.Phase, d.N}
			into[key] = append(into[key], d.Took.Seconds())
		}
	}
}

// rank compares the orders of policies by a figure, the less the better.
func rank(name string, policies []Policy) (Ranking, bool) {
	r := Ranking{Figure: name}
	var predicted, measured []float64
	pick, best := -1, -1
	var names []string
	for _, p := range policies {
		i := slices.IndexFunc(p.Figures, func(e Error) bool { return e.Figure == name })
		if i < 0 {
			continue
		}
		at := len(names)
		names = append(names, p.Policy)
		predicted, measured = append(predicted, float64(p.Figures[i].Predicted)), append(measured, float64(p.Figures[i].Measured))
		if pick < 0 || predicted[at] < predicted[pick] {
			pick = at
		}
		if best < 0 || measured[at] < measured[best] {
			best = at
		}
	}
	if r.Policies = len(names); r.Policies < 2 {
		return r, false
	}
	r.Tau = Number(stats.KendallTau(predicted, measured))
	r.Pick, r.Best = names[pick], names[best]
	r.Regret = relative(measured[pick], measured[best])
	r.Top1 = r.Regret == 0
	return r, true
}

// overall sums up the rankings by mean latency.
func overall(cells []Cell) Overall {
	var top1, regret, tau []float64
	o := Overall{}
	for _, c := range cells {
		for _, r := range c.Rankings {
			if r.Figure != LatencyMean {
				continue
			}
			o.Cells++
			top1 = append(top1, share(r.Top1))
			regret = appendKnown(regret, float64(r.Regret))
			tau = appendKnown(tau, float64(r.Tau))
		}
	}
	o.Top1, o.Regret, o.Tau = mean(top1), mean(regret), mean(tau)
	return o
}
