package main

import (
	"math"

	"github.com/vramsim/vramsim/results/summary"
)

// figure is a value of a case and how a replicate shows it.
type figure struct {
	key    string
	policy string // "" where there is one, allPolicies for each
	read   reading
	rule   func(values []float64, reference, limit float64) error // accept if nil
}

const allPolicies = "*"

func (f *figure) judge(values []float64, reference, limit float64) error {
	if f.rule != nil {
		return f.rule(values, reference, limit)
	}
	return accept(values, reference, limit)
}

// reading takes a figure from what one policy did in one replicate.
type reading func(*observed) float64

type observed struct {
	policy    *summary.Policy
	replicate int
	warmup    float64
	rows      func() []queueRow // of the log
}

// place is where in the summary of a policy a metric stands.
type place func(*summary.Policy) map[string]summary.Metric

func overall() place { return func(p *summary.Policy) map[string]summary.Metric { return p.Metrics } }

func ofModel(name string) place {
	return func(p *summary.Policy) map[string]summary.Metric { return p.PerModel[name] }
}

func ofTenant(name string) place {
	return func(p *summary.Policy) map[string]summary.Metric { return p.PerTenant[name] }
}

// read reads one statistic of a metric, NaN where there is none.
func (at place) read(metric, statistic string) reading {
	return func(o *observed) float64 {
		values := at(o.policy)[metric].PerReplicate[statistic]
		if o.replicate >= len(values) {
			return math.NaN()
		}
		return float64(values[o.replicate])
	}
}

func (at place) mean(metric string) reading  { return at.read(metric, "mean") }
func (at place) value(metric string) reading { return at.read(metric, "value") }

func (at place) wait() reading       { return at.mean("item_wait_seconds") }
func (at place) latency() reading    { return at.mean("item_latency_seconds") }
func (at place) service() reading    { return at.mean("item_service_seconds") }
func (at place) throughput() reading { return at.value("throughput_items_per_second") }
func (at place) loads() reading      { return at.value("model_loads") }
func (at place) completed() reading  { return at.value("items_completed") }

// stay is from ready to finish: the sojourn at one station of a pipeline.
func (at place) stay() reading {
	return func(o *observed) float64 { return at.wait()(o) + at.service()(o) }
}

func product(a, b reading) reading { return func(o *observed) float64 { return a(o) * b(o) } }
func ratio(a, b reading) reading   { return func(o *observed) float64 { return a(o) / b(o) } }
func without(a reading) reading    { return func(o *observed) float64 { return 1 - a(o) } }

func scaled(k float64, a reading) reading {
	return func(o *observed) float64 { return k * a(o) }
}

// weighted is the sum of figures, each times its weight.
func weighted(weights []float64, of []reading) reading {
	return func(o *observed) float64 {
		sum := 0.0
		for i, w := range weights {
			sum += w * of[i](o)
		}
		return sum
	}
}

// loadRate is loads per second over the stretch in which they are counted:
// from the end of the warm-up to the end of the last item.
func loadRate(o *observed) float64 {
	return overall().loads()(o) / (overall().value("makespan_seconds")(o) - o.warmup)
}

// queueFigures are the figures that many cases name alike.
func queueFigures(keys ...string) []figure {
	all := overall()
	named := map[string]reading{
		"rho": all.value("gpu_busy_ratio"), "Wq": all.wait(), "W": all.latency(),
		"Lq": product(all.throughput(), all.wait()), "L": product(all.throughput(), all.latency()),
		"W_p50": all.read("item_latency_seconds", "p50"), "W_p95": all.read("item_latency_seconds", "p95"), "W_p99": all.read("item_latency_seconds", "p99"),
		"Wq_p95": all.read("item_wait_seconds", "p95"), "Wq_p99": all.read("item_wait_seconds", "p99"),
		"mean_service_seen_by_item": all.service(),
		"items_per_load":            ratio(all.completed(), all.loads()),
		"loads_per_unit_time":       loadRate,
	}
	var list []figure
	for _, key := range keys {
		read, ok := named[key]
		if !ok {
			panic("no figure " + key)
		}
		list = append(list, figure{key: key, read: read})
	}
	return list
}

// queueRow is a row of the exported items. Times are in nanoseconds.
type queueRow struct {
	id, model, status               string
	arrival, ready, start, finish   int64
	wait, latency, batch, batchSize int64
}

// share is the share of items for which something holds.
func share(holds func(queueRow) bool) reading {
	return func(o *observed) float64 {
		n, all := 0, o.rows()
		for _, r := range all {
			if holds(r) {
				n++
			}
		}
		return float64(n) / float64(len(all))
	}
}

func waited(r queueRow) bool { return r.wait > 0 }

func waitsAtMost(seconds float64) reading {
	return share(func(r queueRow) bool { return float64(r.wait) <= seconds*1e9 })
}

// batchShare is the share of batches for which something holds.
func batchShare(holds func(size int64) bool) reading {
	return func(o *observed) float64 {
		n, all := 0, batchSizes(o.rows())
		for _, size := range all {
			if holds(size) {
				n++
			}
		}
		return float64(n) / float64(len(all))
	}
}

func meanBatch(o *observed) float64 {
	rows := o.rows()
	return float64(len(rows)) / float64(len(batchSizes(rows)))
}

func batchRate(o *observed) float64 { return overall().throughput()(o) / meanBatch(o) }

func batchSizes(rows []queueRow) map[int64]int64 {
	sizes := map[int64]int64{}
	for _, r := range rows {
		sizes[r.batch] = r.batchSize
	}
	return sizes
}

// coldShare is the share of items that wait among those that find nobody in
// the system: their model had left.
func coldShare(o *observed) float64 {
	cold, idle, last := 0, 0, int64(math.MaxInt64)
	for _, r := range byArrival(o.rows()) {
		if r.arrival >= last {
			idle++
			if r.wait > 0 {
				cold++
			}
		}
		if last == math.MaxInt64 || r.finish > last {
			last = r.finish
		}
	}
	return float64(cold) / float64(idle)
}
