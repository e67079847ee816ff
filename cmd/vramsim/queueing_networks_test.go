package main

import (
	"fmt"
	"slices"
	"strings"
)

func networks() []queueFamily {
	return []queueFamily{
		{id: "closed", trials: closedLoop},
		{id: "closed-network", trials: closedNetwork},
		{id: "tandem", trials: tandem},
		{id: "fork-join", trials: func(c *queueCase) []trial {
			tr := stations("summary", "arrivals: {poisson: {rate: "+perSecond(c.num("lam"))+"}}", ones(int(c.num("K"))), false, 32, 12_000)
			tr.figures = []figure{{key: "R", read: overall().mean("job_latency_seconds")}}
			return []trial{tr}
		}},
		{id: "fork-join-approx", trials: forkJoinOfMore, unread: map[string]string{}},
	}
}

func closedArrivals(clients, think float64) string {
	return fmt.Sprintf("arrivals: {closed: {clients: %g, think: {exp: {mean: %s}}}}", clients, seconds(think))
}

func closedLoop(c *queueCase) []trial {
	all := overall()
	tr := queue("summary", queueModel("m0", "1GB", "0s", exponential(c.num("ES"))), closedArrivals(c.num("N"), c.num("Z"))+", streams: {models: [m0]}", 24, 4_000, 800, queueFigures("W", "L"))
	tr.gpus = gpu("gpu0", 12, int(c.num("c")))
	tr.figures = append(tr.figures, figure{key: "X", read: all.throughput()},
		figure{key: "util_per_server", read: all.value("gpu_busy_ratio")}, figure{key: "P_idle", read: without(all.value("gpu_busy_ratio"))})
	return []trial{tr}
}

func ones(n int) []float64 { return slices.Repeat([]float64{1}, n) }

// stations is a pipeline of one stage a station and a device for each, one
// after the other in a chain, else all at once.
func stations(name, arrivals string, demands []float64, chain bool, replicates, items int) trial {
	var models, gpus, stages, places []string
	for i, d := range demands {
		after := ""
		if chain && i > 0 {
			after = fmt.Sprintf(", after: [s%d]", i-1)
		}
		models = append(models, queueModel(fmt.Sprintf("m%d", i), "1GB", "0s", exponential(d)))
		gpus = append(gpus, gpu(fmt.Sprintf("gpu%d", i), 12, 1))
		stages = append(stages, fmt.Sprintf("{id: s%d, model: m%d%s}", i, i, after))
		places = append(places, fmt.Sprintf("m%d: gpu%d", i, i))
	}
	return trial{name: name, limit: shortLimit, queueFile: queueFile{gpus: strings.Join(gpus, ", "), models: models, replicates: replicates, items: items, warmup: 800,
		workload: arrivals + ", pipelines: [{name: jobs, stages: [" + strings.Join(stages, ", ") + "]}]",
		policies: fmt.Sprintf(planned, strings.Join(places, ", "))}}
}

func closedNetwork(c *queueCase) []trial {
	demands := c.nums("demands")
	tr := stations("summary", closedArrivals(c.num("N"), c.num("Z")), demands, true, 24, 10_000)
	tr.figures = append(each("Q", len(demands), func(i int) reading {
		at := ofModel(fmt.Sprintf("m%d", i))
		return product(at.throughput(), at.stay())
	}), figure{key: "R", read: overall().mean("job_latency_seconds")}, figure{key: "X", read: ofModel("m0").throughput()})
	return []trial{tr}
}

func tandem(c *queueCase) []trial {
	demands := []float64{1 / c.num("mu1"), 1 / c.num("mu2")}
	tr := stations("summary", "arrivals: {poisson: {rate: "+perSecond(c.num("lam"))+"}}", demands, true, 32, 44_000)
	jobs := func(statistic string) reading { return overall().read("job_latency_seconds", statistic) }
	tr.figures = append(each("W_stage", len(demands), func(i int) reading { return ofModel(fmt.Sprintf("m%d", i)).stay() }),
		figure{key: "W", read: jobs("mean")}, figure{key: "W_p95", read: jobs("p95")}, figure{key: "W_p99", read: jobs("p99")})
	return []trial{tr}
}

// forkJoinOfMore has no formula: a published approximation and two bounds.
func forkJoinOfMore(c *queueCase) []trial {
	tr := stations("summary", "arrivals: {poisson: {rate: "+perSecond(c.num("lam"))+"}}", ones(int(c.num("K"))), false, 24, 18_000)
	jobs := overall().mean("job_latency_seconds")
	tr.figures = []figure{{key: "R_approx", read: jobs, rule: inBand}, {key: "R_lower", read: jobs, rule: notBelow}, {key: "R_upper", read: jobs, rule: notAbove}}
	return []trial{tr}
}
