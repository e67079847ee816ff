package fidelity

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/vramsim/vramsim/results/metrics"
	"github.com/vramsim/vramsim/results/summary"
)

// Targets are the largest errors that a kind of executor is held to; 0 stands
// for no target.
type Targets struct {
	Name                string
	Makespan, Mean, P99 float64 // |relative error|, of each policy in each cell
	// Switches is the least share of runs whose switches are exact.
	Switches float64
	// Coverage is between which shares the 90 % intervals must cover items.
	Coverage [2]float64
	Top1     float64 // least share of cells
	Regret   float64 // largest mean over cells
}

// AllTargets returns the targets of every kind of executor.
func AllTargets() []Targets {
	whole := func(name string, makespan, mean, p99, switches float64) Targets {
		return Targets{name, makespan, mean, p99, switches, [2]float64{0.85, 0.95}, 0.95, 0.01}
	}
	return []Targets{
		whole("sleep", 0.005, 0, 0.01, 1),
		whole("cuda-spin", 0.005, 0, 0.01, 1),
		whole("cuda-fit", 0.01, 0, 0.02, 1),
		whole("worker", 0.02, 0.03, 0.05, 0.95),
	}
}

// TargetsOf returns the targets of that name, false if there are none.
func TargetsOf(name string) (Targets, bool) {
	all := AllTargets()
	i := slices.IndexFunc(all, func(t Targets) bool { return t.Name == name })
	if i < 0 {
		return Targets{}, false
	}
	return all[i], true
}

// judge applies the targets; without any only closure counts.
func (r *Result) judge(t *Targets) {
	r.Judgements = []Judgement{}
	for _, half := range []struct {
		what  string
		check Check
	}{{"closure a: decisions", r.Closure.Decisions}, {"closure b: events", r.Closure.Events}} {
		r.closure(half.what, half.check)
	}
	if t != nil {
		r.Targets = t.Name
		r.errors(t)
		r.switches(t)
		r.coverage(t)
		r.rankings(t)
	}
	r.Status = r.status(t)
}

func (r *Result) status(t *Targets) string {
	switch {
	case !r.Closure.Decisions.Holds() || !r.Closure.Events.Holds():
		return Broken
	case t == nil:
		return NoTarget
	case slices.ContainsFunc(r.Judgements, func(j Judgement) bool { return j.Judged && !j.OK }):
		return Missed
	}
	return Held
}

// Misses returns the targets that were judged and missed.
func (r *Result) Misses() []Judgement {
	var missed []Judgement
	for _, j := range r.Judgements {
		if j.Judged && !j.OK {
			missed = append(missed, j)
		}
	}
	return missed
}

func (r *Result) closure(what string, c Check) {
	j := Judgement{What: what, Limit: "100 %", Judged: c.Logs > 0, OK: c.Holds(), Value: summary.None()}
	if c.Logs == 0 {
		j.Text = "the hardware run has no logs"
	} else {
		j.Value = 1 - Number(len(c.Broken))/Number(c.Logs)
		j.Text = fmt.Sprintf("%d of %d logs", c.Logs-len(c.Broken), c.Logs)
	}
	r.Judgements = append(r.Judgements, j)
}

// errors holds makespan, mean and p99 latency of each policy to their limits.
func (r *Result) errors(t *Targets) {
	limits := []struct {
		figure string
		limit  float64
	}{{metrics.Makespan, t.Makespan}, {LatencyMean, t.Mean}, {LatencyP99, t.P99}}
	for i := range r.Cells {
		for _, p := range r.Cells[i].Policies {
			for _, l := range limits {
				if l.limit > 0 {
					r.Judgements = append(r.Judgements, errorJudgement(p, l.figure, l.limit, where(&r.Cells[i], p.Policy)))
				}
			}
		}
	}
}

func errorJudgement(p Policy, name string, limit float64, where string) Judgement {
	j := Judgement{What: name, Where: where, Limit: "±" + percent(limit), Value: summary.None()}
	i := slices.IndexFunc(p.Figures, func(e Error) bool { return e.Figure == name })
	if i < 0 || !p.Figures[i].Error.Known() {
		j.Text = "nothing to compare"
		return j
	}
	e := p.Figures[i]
	j.Value, j.Judged = e.Error, true
	size := math.Abs(float64(e.Error))
	if j.OK = size <= limit; !j.OK {
		j.Text = fmt.Sprintf("the error is %s, %s beyond the target", signed(float64(e.Error)), percent(size-limit))
		if e.Noise.Known() && float64(e.Noise) > limit {
			j.Text += fmt.Sprintf("; the card's own runs differ by %s", percent(float64(e.Noise)))
		}
	}
	return j
}

// where names a policy in a cell.
func where(c *Cell, policy string) string {
	if title := titleOf(c); title != "" {
		return title + ", " + policy
	}
	return policy
}

// switches holds the share of runs with the exact number to its limit.
func (r *Result) switches(t *Targets) {
	j := Judgement{What: "switches exact", Limit: "≥ " + percent(t.Switches), Value: summary.None()}
	var exact, runs float64
	var wrong []string
	for i := range r.Cells {
		for _, p := range r.Cells[i].Policies {
			for _, e := range p.Figures {
				if e.Figure != metrics.Switches {
					continue
				}
				runs += float64(p.Measured)
				exact += float64(p.Measured) * float64(e.Exact)
				if e.Exact < 1 {
					wrong = append(wrong, fmt.Sprintf("%s (%.4g predicted, %.4g measured)", where(&r.Cells[i], p.Policy), float64(e.Predicted), float64(e.Measured)))
				}
			}
		}
	}
	if runs == 0 {
		j.Text = "nothing to compare"
	} else {
		j.Value, j.Judged = Number(exact/runs), true
		if j.OK = exact/runs >= t.Switches; !j.OK {
			j.Text = fmt.Sprintf("%s of the runs are exact, %s too few: %s", percent(exact/runs), percent(t.Switches-exact/runs), strings.Join(wrong, "; "))
		}
	}
	r.Judgements = append(r.Judgements, j)
}

func (r *Result) coverage(t *Targets) {
	low, high := t.Coverage[0], t.Coverage[1]
	j := Judgement{What: "coverage of the 90 % interval", Limit: percent(low) + " to " + percent(high), Value: r.Coverage.Share}
	switch v := float64(r.Coverage.Share); {
	case r.Coverage.N == 0:
		j.Text = fmt.Sprintf("the simulation has fewer than %d logs of a workload", intervalRuns)
	case v < low:
		j.Judged, j.Text = true, fmt.Sprintf("%s of %d latencies lie inside, %s too few", percent(v), r.Coverage.N, percent(low-v))
	case v > high:
		j.Judged, j.Text = true, fmt.Sprintf("%s of %d latencies lie inside, %s too many: the intervals are too wide", percent(v), r.Coverage.N, percent(v-high))
	default:
		j.Judged, j.OK = true, true
	}
	r.Judgements = append(r.Judgements, j)
}

func (r *Result) rankings(t *Targets) {
	top1 := Judgement{What: "top-1", Limit: "≥ " + percent(t.Top1), Value: r.Ranking.Top1}
	regret := Judgement{What: "regret", Limit: "≤ " + percent(t.Regret), Value: r.Ranking.Regret}
	switch {
	case r.Unranked != "":
		top1.Text, regret.Text = r.Unranked, r.Unranked
	case r.Ranking.Cells == 0:
		top1.Text, regret.Text = "no cell has two policies", "no cell has two policies"
	default:
		top1.Judged, top1.OK = true, float64(r.Ranking.Top1) >= t.Top1
		regret.Judged = r.Ranking.Regret.Known()
		regret.OK = float64(r.Ranking.Regret) <= t.Regret
	}
	if top1.Judged && !top1.OK {
		top1.Text = fmt.Sprintf("the simulation picks the best in %s of %d cells, %s too few", percent(float64(r.Ranking.Top1)), r.Ranking.Cells, percent(t.Top1-float64(r.Ranking.Top1)))
	}
	if regret.Judged && !regret.OK {
		regret.Text = fmt.Sprintf("its picks cost %s more than the best, %s beyond the target", percent(float64(r.Ranking.Regret)), percent(float64(r.Ranking.Regret)-t.Regret))
	}
	r.Judgements = append(r.Judgements, top1, regret)
}
