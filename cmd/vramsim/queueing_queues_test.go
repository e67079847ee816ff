package main

import (
	"fmt"
	"math"
	"strconv"
)

func singleQueues() []queueFamily {
	return []queueFamily{
		{id: "mm1", trials: mm1, unread: map[string]string{"Wq_p50": medianAtJump,
			"varW": "4 million rows of log for 3 %; the mean and three quantiles hold the same exponential distribution"}},
		{id: "mmc", trials: mmc, unread: map[string]string{"ErlangB": "a step of the formula: the loss of a queue without waiting room"}},
		{id: "md1", trials: md1, unread: map[string]string{"Wq_p50": medianAtJump}},
		{id: "mg1", trials: mg1, unread: map[string]string{"ES2": "a moment of what is put in"}},
		{id: "priority", trials: priorities, unread: map[string]string{"conservation_expected": "the same number as conservation_sum_rho_Wq, which is read",
			"W0": "a step of the formula: the residual service found by an arrival"}},
		{id: "sjf", trials: shortestFirst},
		{id: "mm1-first-n", trials: firstOfMM1, unread: map[string]string{
			"mean_Wq_first_10":    "34,000 replicates for 3 %, of which one looks unstable in its ten items and makes the run INVALID",
			"Wq_of_customer_10":   "one item a replicate: fifty thousand replicates for 3 %; the mean of the first hundred holds it",
			"Wq_of_customer_100":  "one item a replicate: fifty thousand replicates for 3 %; the mean of the first hundred holds it",
			"Wq_of_customer_1000": "one item a replicate: fifty thousand replicates for 3 %; the mean of the first thousand holds it"}},
	}
}

func mm1(c *queueCase) []trial {
	model, arrivals := queueModel("m0", "1GB", "0s", exponential(1/c.num("mu"))), streams(c.num("lam"), 1)
	return []trial{
		queue("summary", model, arrivals, 40, 33_000, 800, queueFigures("rho", "Wq", "W", "Lq", "L", "W_p50", "W_p95", "W_p99", "Wq_p95", "Wq_p99")),
		queue("log", model, arrivals, 24, 4_000, 800, []figure{{key: "P_wait", read: share(waited)}}).logged(),
	}
}

func mmc(c *queueCase) []trial {
	slots := c.num("c")
	model, arrivals := queueModel("m0", "1GB", "0s", exponential(1/c.num("mu"))), streams(c.num("lam"), 1)
	figures := append(queueFigures("Wq", "W", "Lq", "L"),
		figure{key: "rho", read: scaled(1/slots, product(overall().throughput(), overall().service()))})
	list := []trial{
		queue("summary", model, arrivals, 40, 50_000, 800, figures),
		queue("tail", model, arrivals, 40, 140_000, 800, queueFigures("Wq_p95", "Wq_p99")).onlyLong(),
		queue("log", model, arrivals, 24, 6_000, 800, []figure{{key: "ErlangC", read: share(waited)}}).logged(),
	}
	for i := range list {
		list[i].gpus = gpu("gpu0", 12, int(slots))
	}
	return list
}

func md1(c *queueCase) []trial {
	model, arrivals := queueModel("m0", "1GB", "0s", "max: 1, time: "+seconds(c.num("D"))), streams(c.num("lam"), 1)
	return []trial{
		queue("summary", model, arrivals, 32, 24_000, 800, queueFigures("rho", "Wq", "W", "Lq", "Wq_p95", "Wq_p99")),
		queue("log", model, arrivals, 24, 2_400, 800, []figure{
			{key: "P_nowait", read: without(share(waited))}, {key: "cdf_at_1", read: waitsAtMost(1)}, {key: "cdf_at_2_5", read: waitsAtMost(2.5)}}).logged(),
	}
}

func mg1(c *queueCase) []trial {
	cv := strconv.FormatFloat(1/math.Sqrt(c.num("k")), 'g', 12, 64)
	model := queueModel("m0", "1GB", "0s", "max: 1, time: {gamma: {mean: "+seconds(c.num("mean"))+", cv: "+cv+"}}")
	return []trial{queue("summary", model, streams(c.num("lam"), 1), 40, 20_000, 800, queueFigures("rho", "Wq", "W", "L"))}
}

func priorities(c *queueCase) []trial {
	classes := param[[]queueClass](c, "classes")
	first, second := ofTenant("class-1"), ofTenant("class-2")
	tr := trial{name: "summary", limit: shortLimit, queueFile: queueFile{models: []string{queueModel("m0", "1GB", "0s", "max: 1")}, warmup: 1000,
		traces: tracesOf(48, func(draw *drawing) { draw.classes(classes) }), items: 36_000}}
	tr.figures = []figure{
		{key: "Wq[0]", read: first.wait()}, {key: "Wq[1]", read: second.wait()},
		{key: "W[0]", read: first.latency()}, {key: "W[1]", read: second.latency()},
		{key: "conservation_sum_rho_Wq", read: weighted([]float64{classes[0].Lam * classes[0].ES, classes[1].Lam * classes[1].ES}, []reading{first.wait(), second.wait()})},
	}
	return []trial{tr}
}

func shortestFirst(c *queueCase) []trial {
	tr := trial{name: "summary", limit: shortLimit, queueFile: queueFile{models: []string{queueModel("m0", "1GB", "0s", "max: 1, per_item: "+seconds(1/c.num("mu")))}, warmup: 800,
		policies: "  - {use: fifo, as: sjf, order: work, params: {fill: false}}\n  - {use: fifo, params: {fill: false}}\n",
		traces:   tracesOf(32, func(draw *drawing) { draw.works(c.num("lam")) }), items: 9_000}}
	tr.varied = true
	tr.figures = []figure{{key: "Wq", policy: "sjf", read: overall().wait()}, {key: "Wq_fifo", policy: "fifo", read: overall().wait()}}
	return []trial{tr}
}

// firstOfMM1 are the first customers of a queue that starts empty: no warm-up,
// and as many replicates as it takes.
func firstOfMM1(c *queueCase) []trial {
	var list []trial
	for _, n := range []struct {
		items, replicates int
		long              bool
	}{{1, 20, false}, {100, 5_000, true}, {1000, 380, false}} {
		tr := queue(strconv.Itoa(n.items), queueModel("m0", "1GB", "0s", exponential(1/c.num("mu"))), streams(c.num("lam"), 1), n.replicates, n.items, 0,
			[]figure{{key: fmt.Sprintf("mean_Wq_first_%d", n.items), read: overall().wait()}})
		tr.byReplicates = true
		if n.long {
			tr = tr.onlyLong()
		}
		if n.items == 1 {
			tr.limit, tr.figures = 0, append(tr.figures, figure{key: "Wq_of_customer_1", read: overall().wait()})
		}
		list = append(list, tr)
	}
	return list
}

func loadingQueues() []queueFamily {
	return []queueFamily{
		{id: "setup", trials: setup},
		{id: "keepalive", trials: keepAlive},
		{id: "vacation", trials: vacation},
	}
}

func ttl(idle float64) string { return "{use: fifo, evict: {ttl: {idle: " + seconds(idle) + "}}}" }

func setup(c *queueCase) []trial {
	model := queueModel("m0", "1GB", seconds(c.num("ED")), service(c.num("ES"), c.num("ES2")))
	figures := append(queueFigures("Wq", "W", "loads_per_unit_time", "items_per_load"), figure{key: "frac_time_loading", read: overall().value("gpu_loading_ratio")})
	return []trial{queue("summary", model, streams(c.num("lam"), 1), 24, 1_500, 1000, figures).under(ttl(0))}
}

func keepAlive(c *queueCase) []trial {
	model, arrivals := queueModel("m0", "1GB", seconds(c.num("ED")), service(c.num("ES"), c.num("ES2"))), streams(c.num("lam"), 1)
	return []trial{
		queue("summary", model, arrivals, 24, 2_000, 1000, queueFigures("Wq", "W", "loads_per_unit_time", "items_per_load")).under(ttl(c.num("T"))),
		queue("log", model, arrivals, 24, 1_200, 1000, []figure{{key: "P_cold", read: coldShare}}).under(ttl(c.num("T"))).logged(),
	}
}

// vacation is polling of a second queue to which nothing ever comes: the load
// of its model is the absence.
func vacation(c *queueCase) []trial {
	models := []string{queueModel("m0", "10GB", "1us", service(c.num("ES"), c.num("ES2"))), queueModel("m1", "10GB", seconds(c.num("EV")), exponential(1))}
	tr := polled("summary", models, streams(c.num("lam"), 2, 1, 0), "exhaustive", 24, 12_000)
	tr.figures = queueFigures("Wq")
	return []trial{tr}
}

func batchQueues() []queueFamily {
	linear := func(c *queueCase) string {
		return fmt.Sprintf("base: %s, per_item: %s", seconds(c.num("tau0")), seconds(c.num("alpha")))
	}
	constant := func(c *queueCase) string {
		return fmt.Sprintf("max: %g, base: %s, per_item: 0s", c.num("b"), seconds(c.num("D")))
	}
	const rare = "one batch in three million"
	const bound = "a step of Inoue's bound, which W is held to"
	return []queueFamily{
		{id: "batch-constant", trials: func(c *queueCase) []trial { return batches(c, constant(c), c.num("b"), "") }},
		{id: "batch-linear", unread: map[string]string{"P_batch_full": rare},
			trials: func(c *queueCase) []trial { return batches(c, fmt.Sprintf("max: %g, ", c.num("b"))+linear(c), 0, "") }},
		{id: "batch-take-all", unread: map[string]string{"P_batch_full": "there is no limit to fill", "inoue_phi0": bound, "inoue_phi1": bound, "bound_holds": "what inoue_bound is read for"},
			trials: func(c *queueCase) []trial {
				list := batches(c, "max: 100000, "+linear(c), 0, "")
				list[0].figures = append(list[0].figures, figure{key: "inoue_bound", read: overall().latency(), rule: notAbove})
				return list
			}},
		{id: "batch-at-least", trials: func(c *queueCase) []trial {
			return batches(c, constant(c), c.num("b"), fmt.Sprintf("{use: fifo, batch: {accumulate: {items: %g, timeout: 100s}}, params: {fill: false}}", c.num("a")))
		}},
	}
}

// batches are run for a time and then cut: where a batch is waited for, the
// last items would wait for the timeout.
func batches(c *queueCase, batch string, full float64, policy string) []trial {
	model, arrivals := queueModel("m0", "1GB", "0s", batch), streams(c.num("lam"), 1)
	list := []trial{
		queue("summary", model, arrivals, 24, 0, 800, queueFigures("Lq", "Wq", "mean_service_seen_by_item", "W")),
		queue("log", model, arrivals, 24, 0, 800, []figure{{key: "mean_batch", read: meanBatch}, {key: "batches_per_unit_time", read: batchRate}}).logged(),
	}
	if full > 0 {
		list = append(list, queue("full", model, arrivals, 24, 0, 800, []figure{{key: "P_batch_full", read: batchShare(func(size int64) bool { return size == int64(full) })}}).logged().onlyLong())
	}
	for i, items := range []float64{8_000, 2_000, 20_000}[:len(list)] {
		list[i].duration = items/c.num("lam") + list[i].warmup
		list[i].horizon = list[i].duration + 20
		if policy != "" {
			list[i] = list[i].under(policy)
		}
	}
	return list
}
