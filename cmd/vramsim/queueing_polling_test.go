package main

import (
	"fmt"
	"slices"
)

func pollingQueues() []queueFamily {
	return []queueFamily{
		{id: "polling-symmetric", trials: pollingSymmetric},
		{id: "polling-asymmetric", trials: pollingAsymmetric},
		{id: "polling-limited-law", trials: pollingLimitedLaw, unread: map[string]string{"weights": "what the waits are weighted with"}},
	}
}

// polled is polling of theory: round for ever, so the run needs an end, well
// after the last item has left.
func polled(name string, models []string, workload, visit string, replicates int, duration float64) trial {
	tr := trial{name: name, limit: shortLimit, queueFile: queueFile{models: models, workload: workload, replicates: replicates, duration: duration, horizon: duration + 500, warmup: 1000}}
	return tr.under("{use: polling, evict: single, visit: " + visit + ", params: {skip_empty: false, fill: false}}")
}

const oneItem = "{limited: {items: 1}}"

func cycle(models int) reading {
	return func(o *observed) float64 { return float64(models) / loadRate(o) }
}

func pollingSymmetric(c *queueCase) []trial {
	n := int(c.num("N"))
	var models []string
	var rates []float64
	for i := range n {
		models = append(models, queueModel(fmt.Sprintf("m%d", i), "10GB", seconds(c.num("r_each")), service(c.num("Eb"), c.num("Eb2"))))
		rates = append(rates, c.num("lam_each"))
	}
	var list []trial
	for _, v := range []struct {
		key, visit string
		duration   float64
	}{{"exhaustive", "exhaustive", 18_000}, {"gated", "gated", 18_000}, {"1limited", oneItem, 98_000}} {
		tr := polled(v.key, models, streams(sum(rates), n, rates...), v.visit, 40, v.duration)
		tr.varied = v.visit == oneItem
		tr.figures = append(queueFigures("rho"), figure{key: "Wq_" + v.key, read: overall().wait()}, figure{key: "mean_cycle", read: cycle(n)})
		list = append(list, tr)
	}
	return list
}

// asymmetric returns models with a switchover of s[i] from queue i to the next.
func asymmetric(c *queueCase) (models []string, workload string, loads []float64) {
	lam, b, b2, s := c.nums("lam"), c.nums("b"), c.nums("b2"), c.nums("s")
	for i := range lam {
		before := s[(i+len(s)-1)%len(s)]
		models = append(models, queueModel(fmt.Sprintf("m%d", i), "10GB", seconds(before), service(b[i], b2[i])))
		loads = append(loads, lam[i]*b[i])
	}
	return models, streams(sum(lam), len(lam), lam...), loads
}

func modelWaits(n int) []reading {
	var list []reading
	for i := range n {
		list = append(list, ofModel(fmt.Sprintf("m%d", i)).wait())
	}
	return list
}

func pollingAsymmetric(c *queueCase) []trial {
	models, workload, loads := asymmetric(c)
	waits := modelWaits(len(models))
	var list []trial
	for _, visit := range []string{"exhaustive", "gated"} {
		tr := polled(visit, models, workload, visit, 40, 26_000)
		tr.figures = slices.Concat(queueFigures("rho"), each("Wq_"+visit, len(models), func(i int) reading { return waits[i] }),
			[]figure{{key: "PCL_" + visit, read: weighted(loads, waits)}, {key: "mean_cycle", read: cycle(len(models))}})
		list = append(list, tr)
	}
	return list
}

func pollingLimitedLaw(c *queueCase) []trial {
	models, workload, _ := asymmetric(c)
	var weights []float64
	for i := range models {
		weights = append(weights, c.flat[fmt.Sprintf("weights[%d]", i)].(float64))
	}
	tr := polled("limited", models, workload, oneItem, 32, 26_000)
	tr.figures = append(queueFigures("rho"), figure{key: "weighted_sum_Wq", read: weighted(weights, modelWaits(len(models)))})
	return []trial{tr}
}
