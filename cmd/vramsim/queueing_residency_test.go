package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

func residencies() []queueFamily {
	return []queueFamily{
		{id: "residency", trials: residency, unread: map[string]string{
			"hit_LFU_static_top": "the most popular models for ever; lfu counts from each load on, and a pin would leave the others no room",
			"hit_LRU_Che_approx": "an approximation of hit_LRU, which is read",
			"che_time":           "a step of that approximation"}},
		{id: "residency-sizes", trials: residencyOfSizes, unread: map[string]string{
			"miss_ratio":            "the literature's rule; vramsim keeps superfluous victims, and the values for that are read",
			"miss_per_model":        "the literature's rule, as miss_ratio",
			"load_seconds_per_item": "the literature's rule, as miss_ratio"}},
		{id: "all-fit", trials: allFit, unread: map[string]string{"budget_gb": "of the file: total_gb times safety"}},
	}
}

func misses(at place) reading { return ratio(at.loads(), at.completed()) }

func residency(c *queueCase) []trial {
	var names, models []string
	for i := range int(c.num("models")) {
		names = append(names, fmt.Sprintf("m%d", i))
		models = append(models, queueModel(names[i], "1GB", "0s", "max: 1, time: 1ms"))
	}
	workload := fmt.Sprintf("arrivals: {constant: {rate: 10/s}}, streams: {models: [%s], popularity: {zipf: {s: %g}}}", strings.Join(names, ", "), c.num("zipf"))
	var list []trial
	for _, e := range [][2]string{{"lru", "hit_LRU"}, {"fifo", "hit_FIFO_or_RANDOM"}, {"random", "hit_FIFO_or_RANDOM"}} {
		tr := trial{name: e[0], limit: shortLimit, figures: []figure{{key: e[1], read: without(misses(overall()))}},
			queueFile: queueFile{gpus: gpu("gpu0", c.num("slots"), 1), models: models, workload: workload, replicates: 24, items: 3_000, warmup: 60}}
		list = append(list, tr.under("{use: fifo, evict: "+e[0]+", params: {fill: false}}"))
	}
	return list
}

// fiveModels are those of the cases with unequal sizes.
func fiveModels(c *queueCase, batch string) (models []string) {
	sizes, loads := c.nums("sizes_gb"), slices.Repeat([]float64{1}, 5)
	if c.Params["loads_s"] != nil {
		loads = c.nums("loads_s")
	}
	for i := range sizes {
		models = append(models, queueModel(fmt.Sprintf("m%d", i), fmt.Sprintf("%gGB", sizes[i]), seconds(loads[i]), batch))
	}
	return models
}

func residencyOfSizes(c *queueCase) []trial {
	models, all := fiveModels(c, "max: 1, time: 1ms"), overall()
	tr := trial{name: "summary", limit: shortLimit, queueFile: queueFile{gpus: gpu("gpu0", c.num("budget_gb"), 1), models: models, replicates: 24, items: 19_000, warmup: 60_000,
		workload: strings.Replace(streams(1, len(models), c.nums("p")...), "poisson: {rate: 1/s}", "constant: {rate: 1/m}", 1)}}
	tr.figures = append(each("miss_per_model_superfluous_kept", len(models), func(i int) reading { return misses(ofModel(fmt.Sprintf("m%d", i))) }),
		figure{key: "miss_ratio_superfluous_kept", read: misses(overall())},
		figure{key: "load_seconds_per_item_superfluous_kept", read: ratio(all.value("load_seconds_total"), all.completed())})
	return []trial{tr.under("{use: fifo, evict: " + param[string](c, "evict") + "}")}
}

// allFit runs whatever policy there is: none may load a model twice.
func allFit(c *queueCase) []trial {
	var policies []string
	for _, use := range []string{"sticky", "fifo", "longest", "oldest", "max-wait", "polling", "priority", "hysteresis", "edf-setup", "waste", "drr", "wfq", "largest-feasible", "cost-aware", "time-slice"} {
		policies = append(policies, "  - {use: "+use+"}\n")
	}
	all := overall()
	f := queueFile{gpus: fmt.Sprintf("{name: gpu0, memory: %gGB, safety: %g}", c.num("total_gb"), c.num("safety")), models: fiveModels(c, "max: 4, base: 1s, per_item: 500ms"),
		workload: streams(0.5, 5), items: 200, replicates: 3, policies: strings.Join(policies, "")}
	return []trial{{name: "summary", queueFile: f, figures: []figure{{key: "loads_on_any_trace_that_uses_all_five", policy: allPolicies, read: all.loads()},
		{key: "evictions", policy: allPolicies, read: all.value("model_evictions")}, {key: "sum_gb", policy: allPolicies, read: scaled(1e-9, all.value("vram_peak_bytes"))}}}}
}

func twoModels() []queueFamily {
	return []queueFamily{{id: "two-models", trials: func(c *queueCase) []trial {
		var list []trial
		for _, p := range []struct {
			name  string
			items int
		}{{"sticky", 4_000}, {"longest", 14_000}, {"hysteresis", 4_000}, {"priority", 10_000}} {
			list = append(list, underPolicy(c, p.name, p.items))
		}
		return list
	}}}
}

// underPolicy gives the items of model 0 a higher priority, which only one of
// the policies looks at across models.
func underPolicy(c *queueCase, policy string, items int) trial {
	lam, mu, rates, all := c.nums("lam"), c.nums("mu"), c.nums("load_rate"), overall()
	var pipelines []string
	tr := trial{name: policy, limit: shortLimit, queueFile: queueFile{replicates: 40, items: items, warmup: 800}}
	tr.varied = policy == "priority"
	for i := range lam {
		tr.models = append(tr.models, queueModel(fmt.Sprintf("m%d", i), "10GB", "{exp: {mean: "+seconds(1/rates[i])+"}}", exponential(1/mu[i])))
		pipelines = append(pipelines, fmt.Sprintf("{name: p%d, weight: %g, stages: [{id: s, model: m%d, priority: %d}]}", i, lam[i], i, len(lam)-i))
	}
	tr.workload = "arrivals: {poisson: {rate: " + perSecond(sum(lam)) + "}}, pipelines: [" + strings.Join(pipelines, ", ") + "]"
	of := func(key string) string { return "policies." + policy + "." + key }
	tr.figures = append(each(of("W"), len(lam), func(i int) reading { return ofModel(fmt.Sprintf("m%d", i)).latency() }),
		figure{key: of("L_total"), read: product(all.throughput(), all.latency())},
		figure{key: of("items_per_load"), read: ratio(all.completed(), all.loads())},
		figure{key: of("loads_per_unit_time"), read: loadRate},
		figure{key: of("frac_loading"), read: all.value("gpu_loading_ratio")},
		figure{key: of("frac_idle"), read: func(o *observed) float64 {
			return 1 - all.value("gpu_loading_ratio")(o) - all.value("gpu_busy_ratio")(o)
		}},
		figure{key: "L_total_optimal", read: product(all.throughput(), all.latency()), rule: notBelow})
	return tr.under("{use: " + policy + ", evict: single}")
}

func anomalies() []queueFamily {
	return []queueFamily{
		{id: "belady-anomaly", trials: beladyAnomaly},
		{id: "fifo-size-anomaly", trials: sizeAnomaly, unread: map[string]string{"small": "memory of the device, which is put in", "large": "memory of the device, which is put in"}},
		{id: "memory-anomaly", trials: memoryAnomaly},
		{id: "graham-anomaly", trials: grahamAnomaly},
	}
}

// verbatim is a trial of one trace whose values must come out to the nanosecond.
func verbatim(name, gpus string, models []string, policies string, trace []traceItem, figures ...figure) trial {
	return trial{name: name, figures: figures, queueFile: queueFile{gpus: gpus, models: models, policies: policies, traces: []func(int) []byte{func(int) []byte { return native(trace) }}}}
}

// string of references, one item a second.
func references(models []int) (items []traceItem) {
	for i, m := range models {
		items = append(items, traceItem{ID: strconv.Itoa(i), Model: fmt.Sprintf("m%d", m), At: int64(i) * 1e9})
	}
	return items
}

func beladyAnomaly(c *queueCase) []trial {
	seq := param[[]int](c, "seq")
	var models []string
	for m := range slices.Max(seq) {
		models = append(models, queueModel(fmt.Sprintf("m%d", m+1), "1GB", "0s", "max: 1, time: 1ms"))
	}
	var list []trial
	for _, slots := range []int{3, 4} {
		tr := verbatim(strconv.Itoa(slots), gpu("gpu0", float64(slots), 1), models, "", references(seq))
		for _, e := range [][2]string{{"fifo", "fifo"}, {"lru", "lru"}, {"opt", "belady"}} {
			tr.policies += fmt.Sprintf("  - {use: fifo, as: %s, evict: %s}\n", e[0], e[1])
			tr.figures = append(tr.figures, figure{key: fmt.Sprintf("%s_%d", e[0], slots), policy: e[0], read: overall().loads()})
		}
		list = append(list, tr)
	}
	return list
}

func sizeAnomaly(c *queueCase) []trial {
	var list []trial
	for _, size := range []string{"small", "large"} {
		list = append(list, verbatim(size, gpu("gpu0", c.flat[size].(float64), 1), fiveModels(c, "max: 1, time: 1ms"), "  - {use: fifo, evict: fifo}\n", references(param[[]int](c, "seq")),
			figure{key: "loads_" + size, read: overall().loads()}))
	}
	return list
}

func memoryAnomaly(c *queueCase) []trial {
	var trace []traceItem
	for i, it := range param[[]struct {
		Model int     `json:"model"`
		Deps  []int   `json:"deps"`
		Dur   float64 `json:"dur_s"`
	}](c, "items") {
		item := traceItem{ID: strconv.Itoa(i), Model: fmt.Sprintf("m%d", it.Model), Service: int64(it.Dur * 1e9)}
		for _, d := range it.Deps {
			item.After = append(item.After, strconv.Itoa(d))
		}
		trace = append(trace, item)
	}
	var list []trial
	for _, size := range []string{"6", "10"} {
		memory, _ := strconv.ParseFloat(size, 64)
		tr := verbatim(size, gpu("gpu0", memory, 1), fiveModels(c, "max: 1"), "  - {use: longest, params: {prefer: resident, fill: false}, evict: lru}\n", trace,
			figure{key: "makespan_" + size + "GB", read: overall().value("makespan_seconds")}, figure{key: "loads_" + size + "GB", read: overall().loads()})
		tr.figures = append(tr.figures, each("order_"+size+"GB", len(trace), started)...)
		list = append(list, tr.logged())
	}
	return list
}

// started reads the number of the item that started i-th.
func started(i int) reading {
	return func(o *observed) float64 {
		rows := slices.SortedStableFunc(slices.Values(o.rows()), byStart)
		id, err := strconv.Atoi(rows[i].id)
		if err != nil {
			return math.NaN()
		}
		return float64(id)
	}
}

func grahamAnomaly(c *queueCase) []trial {
	after := map[int][]int{}
	for _, rule := range strings.Split(param[string](c, "prec"), "; ") { // like "T4<T5,T6"
		first, others, _ := strings.Cut(rule, "<")
		for _, o := range strings.Split(others, ",") {
			after[task(o)] = append(after[task(o)], task(first))
		}
	}
	makespan := func(key string, slots int, times []float64, after map[int][]int) trial {
		var trace []traceItem
		for i, t := range times {
			item := traceItem{ID: strconv.Itoa(i + 1), Model: "m0", Priority: len(times) - i, Service: int64(t * 1e9)}
			for _, a := range after[i+1] {
				item.After = append(item.After, strconv.Itoa(a))
			}
			trace = append(trace, item)
		}
		return verbatim(key, gpu("gpu0", 12, slots), []string{queueModel("m0", "1GB", "0s", "max: 1")}, "", trace, figure{key: key, read: overall().value("makespan_seconds")})
	}
	times := c.nums("times")
	shorter, fewer := slices.Clone(times), map[int][]int{}
	for i := range shorter {
		shorter[i]--
	}
	for to, from := range after {
		if to != 5 && to != 6 {
			fewer[to] = from
		}
	}
	return []trial{makespan("m3", 3, times, after), makespan("m4", 4, times, after),
		makespan("m3_times_minus_1", 3, shorter, after), makespan("m3_drop_T4_T5_and_T4_T6", 3, times, fewer)}
}

func task(name string) int {
	n, err := strconv.Atoi(strings.TrimPrefix(strings.TrimSpace(name), "T"))
	if err != nil {
		panic(err)
	}
	return n
}
