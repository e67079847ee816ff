package experiment

// tables hold the shapes of everything in an experiment file. What stands here
// is read, checked, defaulted, written and described by JSON Schema alike.
type tables struct {
	root, hardware, gpu, estimates     *shape
	model, batch, load, unload         *shape
	catalogue                          *shape
	duration, count                    *shape
	workload, arrivals, state          *shape
	pipeline, stage, choose            *shape
	streams, popularity, windowed      *shape
	trace, service, remap              *shape
	policy, axis, sweep, cell, output  *shape
	faults, outage, foreign, cancelled *shape
	profile                            profileTables
}

func aText() *shape    { return &shape{kind: textShape} }
func anInt() *shape    { return &shape{kind: integerShape} }
func aNumber() *shape  { return &shape{kind: numberShape} }
func aTime() *shape    { return &shape{kind: timeShape} }
func someMem() *shape  { return &shape{kind: bytesShape} }
func aRate() *shape    { return &shape{kind: rateShape} }
func anything() *shape { return &shape{kind: valueShape} }

func newTables() *tables {
	t := &tables{}
	t.duration = distributions("a length of time like 1.5s or a distribution like {exp: {mean: 2s}}", durations)
	t.count = distributions("a number or a distribution like {uniform: [4, 30]}", counts)
	t.hardwareTables()
	t.modelTables()
	t.profile = newProfileTables(t)
	t.workloadTables()
	t.policyTables()
	t.root = record("a mapping with the keys of an experiment",
		key{name: "version", is: anInt(), must: true, doc: "Version of this format: 1."},
		key{name: "name", is: aText(), doc: "Name of the experiment and of the folder of its runs; by default that of the file."},
		key{name: "question", is: aText(), doc: "What the experiment is to answer; shown above the results."},
		key{name: "seed", is: anInt(), doc: "Number that all randomness comes from; drawn and printed if left out."},
		key{name: "replicates", is: anInt(), def: "10", doc: "Runs with other draws of the same randomness; 1 when nothing is random."},
		key{name: "hardware", is: t.hardware, must: true, doc: "The machine."},
		key{name: "models", is: either("a mapping from names to models, or {from: FILE}", t.catalogue, namesOf(t.model, "a mapping from names to models")), must: true, doc: "The models, by name, in catalogue order."},
		key{name: "workload", is: t.workload, must: true, doc: "What arrives: one of trace, pipelines and streams."},
		key{name: "policies", is: listOf(t.policy, "a list of policies, like [{use: sticky}]"), must: true, doc: "The policies to compare."},
		key{name: "baseline", is: aText(), doc: "Name of the policy that the others are compared with; by default seed if it is there, else the first."},
		key{name: "attempts", is: anInt(), def: "3", doc: "Tries of a failed batch's items, and failed loads in a row that ready items survive."},
		key{name: "faults", is: t.faults, doc: "What goes wrong, on purpose."},
		key{name: "sweep", is: t.sweep, doc: "Values to combine: each combination is a cell."},
		key{name: "thresholds", is: namesOf(anything(), "a mapping from metrics to conditions, like item_latency_seconds: [\"p99 < 60\"]"), doc: "Conditions; a run that misses one exits with 3."},
		key{name: "output", is: t.output, def: "{}", doc: "What the run directory holds."},
		key{name: "inputs", is: namesOf(aText(), "a mapping from files to their SHA-256"), doc: "SHA-256 of the files that were read; a file that differs is refused. Written into resolved.yaml."},
	)
	return t
}

func distributions(want string, dim dimension) *shape {
	plain, aSecond := aTime(), aTime()
	if dim == counts {
		plain, aSecond = anInt(), aNumber()
	}
	moments := func(names ...string) *shape {
		var keys []key
		for _, n := range names {
			is := aSecond
			switch n {
			case "cv", "shape", "alpha":
				is = aNumber()
			}
			keys = append(keys, key{name: n, is: is, must: true})
		}
		return record("a mapping like {"+names[0]+": …}", keys...)
	}
	self := &shape{kind: anyShape, want: want}
	part := record("a part like {weight: 0.3, exp: {…}}")
	dist := choice("a distribution like {exp: {mean: …}}",
		key{name: "exp", is: moments("mean"), doc: "Exponential."},
		key{name: "uniform", is: listOf(plain, "the least and the greatest value"), doc: "Uniform between two values, both included; integers for counts."},
		key{name: "normal", is: moments("mean", "sd"), doc: "Normal, truncated at 0."},
		key{name: "lognormal", is: record("{p50: …, p95: …} or {mean: …, cv: …}", key{name: "p50", is: aSecond}, key{name: "p95", is: aSecond}, key{name: "mean", is: aSecond}, key{name: "cv", is: aNumber()}), doc: "Lognormal by median and 95th percentile, or by mean and coefficient of variation."},
		key{name: "gamma", is: moments("mean", "cv"), doc: "Gamma of shape 1/cv²."},
		key{name: "weibull", is: moments("scale", "shape"), doc: "Weibull; shape 1 is exponential with mean scale."},
		key{name: "pareto", is: moments("min", "alpha"), doc: "Pareto of type I."},
		key{name: "mixture", is: listOf(part, "a list of parts like {weight: 0.3, exp: {…}}"), doc: "One of several distributions, by weight."},
		key{name: "empirical", is: record("{values: […]} or {file: …, column: …}", key{name: "values", is: listOf(aSecond, "a list of values")}, key{name: "file", is: aText()}, key{name: "column", is: aText(), must: true}, key{name: "unit", is: word("ns", "us", "ms", "s", "m", "h", "d"), doc: "Unit of bare numbers in the column."}), doc: "Each recorded value with equal probability."},
	)
	part.keys = append([]key{{name: "weight", is: aNumber(), must: true}, {name: "value", is: plain, doc: "A constant part."}}, dist.keys...)
	self.any = []*shape{plain, dist}
	return self
}

func (t *tables) hardwareTables() {
	t.gpu = record("a GPU like {name: gpu0, memory: 12GB, safety: 0.9}",
		key{name: "name", is: aText(), doc: "Name; gpu0, gpu1, … by default."},
		key{name: "memory", is: someMem(), must: true, doc: "Memory of the card."},
		key{name: "safety", is: aNumber(), def: "0.9", doc: "Share of the memory that may be used, above 0, at most 1; the budget is its product with memory, rounded down."},
		key{name: "slots", is: anInt(), def: "1", doc: "Batches that may run at once."})
	t.estimates = record("an estimator like {use: last}",
		key{name: "use", is: word("declared", "last", "ewma", "quantile", "affine", "oracle", "biased", "noisy"), def: "last", doc: "How load times are estimated."},
		key{name: "alpha", is: aNumber(), doc: "Weight of the newest load in ewma; 0.3 by default."},
		key{name: "quantile", is: aNumber(), doc: "Order statistic of quantile; 0.9 by default."},
		key{name: "window", is: anInt(), doc: "Loads that quantile remembers; 32 by default."},
		key{name: "factor", is: aNumber(), doc: "What biased multiplies the declared time with."},
		key{name: "cv", is: aNumber(), doc: "Coefficient of variation of the lognormal factor of noisy."})
	t.hardware = record("hardware like {gpus: [{memory: 12GB}]}",
		key{name: "host_memory", is: someMem(), def: "0B", doc: "Host tier that evicted weights stay warm in; 0B turns it off."},
		key{name: "gpus", is: listOf(t.gpu, "a list of GPUs like [{memory: 12GB}]"), must: true, doc: "The GPUs."},
		key{name: "profile", is: aText(), doc: "File of measured costs, which override those of the models."},
		key{name: "estimates", is: t.estimates, def: "{}", doc: "Load-time estimates."})
	t.outage = record("an outage like {gpu: gpu0, from: 1h, until: 2h}",
		key{name: "gpu", is: aText(), must: true, doc: "Which GPU."},
		key{name: "from", is: aTime(), must: true, doc: "When it is lost, with all in flight and resident."},
		key{name: "until", is: aTime(), doc: "When it comes back; never if left out."})
	t.foreign = record("foreign memory like {gpu: gpu0, at: 1h, memory: 2GB}",
		key{name: "gpu", is: aText(), must: true, doc: "Which GPU."},
		key{name: "at", is: aTime(), must: true, doc: "From when on."},
		key{name: "memory", is: someMem(), must: true, doc: "Memory that other processes hold."})
	t.cancelled = record("a cancellation like {item: 12, at: 30s}",
		key{name: "item", is: anInt(), must: true, doc: "Number of the item in order of arrival, from 0."},
		key{name: "at", is: aTime(), must: true, doc: "When it is given up."})
	t.faults = record("faults like {load_failure: 0.01}",
		key{name: "load_failure", is: aNumber(), def: "0", doc: "Probability that a load fails."},
		key{name: "batch_failure", is: aNumber(), def: "0", doc: "Probability that a batch fails."},
		key{name: "outages", is: listOf(t.outage, "a list of outages"), doc: "Times without a GPU."},
		key{name: "foreign", is: listOf(t.foreign, "a list of foreign memory"), doc: "Memory that other processes take."},
		key{name: "cancellations", is: listOf(t.cancelled, "a list of cancellations"), doc: "Items that are given up."})
}

func (t *tables) modelTables() {
	t.batch = record("a batch like {max: 8, base: 300ms, per_item: 1.5s}",
		key{name: "max", is: anInt(), def: "1", doc: "Largest number of items at once."},
		key{name: "memory", is: someMem(), def: "0B", doc: "Memory per item of a batch, beside the weights."},
		key{name: "base", is: aTime(), doc: "Time of a batch of n items: base + per_item·n."},
		key{name: "per_item", is: aTime(), doc: "See base."},
		key{name: "times", is: namesOf(aTime(), "times by batch size, like {1: 700ms, 4: 2.1s}"), doc: "Times by batch size instead of per_item, those between them on a straight line; what exceeds base scales with work."},
		key{name: "time", is: t.duration, doc: "Time of a batch, drawn for each, whatever its size."},
		key{name: "item_time", is: t.duration, doc: "Time of an item, drawn for each and summed."})
	t.load = record("load times by tier like {disk: 5s, host: 800ms}",
		key{name: "disk", is: t.duration, must: true, doc: "Load time from disk."},
		key{name: "host", is: t.duration, doc: "Load time from host memory; as from disk if left out."})
	t.unload = record("the time of an eviction by what the GPU does, like {idle: 2ms, busy: 6ms}",
		key{name: "idle", is: t.duration, must: true, doc: "While no batch runs there."},
		key{name: "busy", is: t.duration, doc: "While one does; as idle if left out."})
	t.model = record("a model like {memory: 4.5GB, load: 5s, batch: {max: 8, base: 300ms, per_item: 1.5s}}",
		key{name: "memory", is: someMem(), must: true, doc: "Resident weights."},
		key{name: "batch", is: t.batch, must: true, doc: "Batches and what they take."},
		key{name: "load", is: either("a load time like 5s, a distribution, or one per tier like {disk: 5s, host: 800ms}", t.duration, t.load), must: true, doc: "Load time."},
		key{name: "first_use", is: aTime(), doc: "Added to the first load on a GPU after it came up, the start included."},
		key{name: "unload", is: either("the time of an eviction, a distribution, or one per state like {idle: 2ms, busy: 6ms}", t.duration, t.unload), def: "0s", doc: "Time of an eviction."},
		key{name: "group", is: aText(), doc: "Name that group and pin rules use."})
	t.catalogue = record("{from: models.csv, defaults: {…}}",
		key{name: "from", is: aText(), must: true, doc: "CSV file with a column name and others headed by keys of a model, like load.disk."},
		key{name: "defaults", is: t.model, doc: "Keys for models that lack them."})
}

func (t *tables) policyTables() {
	t.axis = either("a name or a name with parameters, like {limited: {items: 8}}", aText(), namesOf(anything(), "a name with parameters"))
	t.policy = record("a policy like {use: sticky}",
		key{name: "use", is: aText(), doc: "Selector, whole policy or preset: see vramsim list policies."},
		key{name: "script", is: aText(), doc: "File of a scripted policy."},
		key{name: "as", is: aText(), doc: "Name in tables; the name of the policy by default."},
		key{name: "params", is: namesOf(anything(), "parameters like {wait: 30s}"), doc: "Parameters of use."},
		key{name: "visit", is: t.axis, doc: "How long to stay at a model."},
		key{name: "batch", is: t.axis, doc: "How many items, and when."},
		key{name: "evict", is: t.axis, doc: "Who leaves."},
		key{name: "prefetch", is: t.axis, doc: "What is loaded ahead."},
		key{name: "place", is: t.axis, doc: "On which GPU."},
		key{name: "admit", is: t.axis, doc: "What is refused."},
		key{name: "order", is: t.axis, doc: "Order inside a queue."},
		key{name: "pin", is: listOf(aText(), "a list of models and groups"), doc: "Models and groups that stay once loaded."})
	t.cell = record("a cell of a resolved sweep",
		key{name: "set", is: namesOf(aText(), "paths and their values"), must: true, doc: "What the sweep set."},
		key{name: "seed", is: anything()}, key{name: "hardware", is: anything()}, key{name: "models", is: anything()}, key{name: "workload", is: anything()},
		key{name: "policies", is: anything()}, key{name: "attempts", is: anything()}, key{name: "faults", is: anything()})
	t.sweep = record("{axes: {…}}",
		key{name: "cells", is: listOf(t.cell, "a list of cells"), doc: "Instead of axes, in resolved.yaml: what each cell sets, and the sections in which it differs from the first."},
		key{name: "axes", is: namesOf(listOf(anything(), "a list of values"), "a mapping from paths to lists of values"), doc: "Paths of this file, like hardware.gpus[0].memory, and the values they take; the last one changes fastest."})
	t.output = record("output like {events: log, report: [html], charts: [svg]}",
		key{name: "events", is: word("none", "log", "jsonl", "parquet"), def: "log", doc: "How the events are kept."},
		key{name: "report", is: listOf(word("html", "md"), "a list of html and md"), def: "[html, md]", doc: "Reports to write."},
		key{name: "charts", is: listOf(word("svg", "png", "pdf"), "a list of svg, png and pdf"), def: "[svg, png]", doc: "Forms of the charts."},
		key{name: "quantiles", is: word("exact", "sketch"), def: "exact", doc: "exact: up to 10⁷ items a run, for 16 bytes each; sketch: to within 0.4 %, in bounded memory."})
}
