package experiment

import (
	"errors"
	"math"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/workloads"
)

// workload is what arrives in a cell.
type workload struct {
	node      *node
	generated *workloads.Config // nil for a trace
	trace     *recorded
	warmup    scheduler.Time
	settles   bool // warmup is auto
	horizon   scheduler.Time
}

func (t *tables) workloadTables() {
	rateKey := key{name: "rate", is: aRate(), must: true, doc: "Mean rate of jobs."}
	t.state = record("a state like {rate: 40/h, mean: 10m}", rateKey, key{name: "mean", is: aTime(), must: true, doc: "Mean of the exponential stay."})
	t.arrivals = choice("arrivals like {poisson: {rate: 40/h}}",
		key{name: "poisson", is: record("{rate: 40/h}", rateKey), doc: "Exponential gaps."},
		key{name: "constant", is: record("{rate: 40/h}", rateKey), doc: "Equal gaps."},
		key{name: "gamma", is: record("{rate: 40/h, cv: 2}", rateKey, key{name: "cv", is: aNumber(), must: true, doc: "Coefficient of variation of the gaps."}), doc: "Gamma gaps."},
		key{name: "weibull", is: record("{rate: 40/h, shape: 0.7}", rateKey, key{name: "shape", is: aNumber(), must: true, doc: "Shape of the gaps; 1 is exponential."}), doc: "Weibull gaps."},
		key{name: "mmpp", is: record("{states: [{rate: 10/h, mean: 1h}, {rate: 90/h, mean: 10m}]}", key{name: "states", is: listOf(t.state, "a list of states"), must: true, doc: "Visited in turn."}), doc: "Markov-modulated Poisson."},
		key{name: "diurnal", is: record("{rate: 40/h, amplitude: 0.8}", rateKey,
			key{name: "amplitude", is: aNumber(), doc: "0 to 1: rate·(1 + amplitude·cos 2π(t−peak)/period)."},
			key{name: "period", is: aTime(), def: "24h", doc: "Length of a day."},
			key{name: "peak", is: aTime(), doc: "Time of the highest rate."},
			key{name: "factors", is: listOf(aNumber(), "a list of factors"), doc: "Factors of the rate in equal parts of the period, instead of amplitude and peak."}), doc: "A rate that follows the day."},
		key{name: "burst", is: record("{rate: 20/h, every: 1h, size: 30, within: 1m}", key{name: "rate", is: aRate(), doc: "Poisson background; none if left out."},
			key{name: "every", is: aTime(), must: true, doc: "Mean of the exponential gaps between bursts."},
			key{name: "size", is: t.count, must: true, doc: "Jobs of a burst."},
			key{name: "within", is: aTime(), must: true, doc: "Over which they spread evenly."}), doc: "Poisson and bursts."},
		key{name: "piecewise", is: record("{window: 10m, counts: [3, 0, 12]}", key{name: "window", is: aTime(), must: true, doc: "Length of a window."}, key{name: "counts", is: listOf(aNumber(), "a list of mean counts"), must: true, doc: "Mean number of jobs by window."}), doc: "Poisson by window; nothing after the last."},
		key{name: "closed", is: record("{clients: 8, think: 10s}", key{name: "clients", is: anInt(), must: true, doc: "Clients that wait for their job before they submit the next."}, key{name: "think", is: t.duration, def: "0s", doc: "Time between the end of a job and the next."}), doc: "A closed loop."})
	t.choose = record("{choose: {car: 0.77, face: 0.23}}", key{name: "choose", is: namesOf(aNumber(), "models and their weights"), must: true, doc: "Models and their weights."})
	t.stage = record("a stage like {id: asr, model: whisper}",
		key{name: "id", is: aText(), must: true, doc: "Name within the pipeline."},
		key{name: "model", is: either("a model or {choose: {car: 0.77, face: 0.23}}", aText(), t.choose), must: true, doc: "Model of its items."},
		key{name: "items", is: t.count, def: "1", doc: "Items in a job or, with each, for each item of that stage."},
		key{name: "each", is: aText(), doc: "Stage for each of whose items this one has items, which wait for it alone."},
		key{name: "after", is: listOf(aText(), "a list of stages"), doc: "Stages that must have finished."},
		key{name: "chance", is: aNumber(), def: "1", doc: "Probability that the stage is not skipped."},
		key{name: "priority", is: anInt(), def: "0", doc: "Priority of its items; higher first."},
		key{name: "slo", is: aTime(), doc: "Deadline of its items, from the job's arrival."})
	t.pipeline = record("a pipeline like {name: video, stages: […]}",
		key{name: "name", is: aText(), must: true, doc: "Name."},
		key{name: "weight", is: aNumber(), def: "1", doc: "Share of the jobs relative to other pipelines."},
		key{name: "stages", is: listOf(t.stage, "a list of stages"), must: true, doc: "The stages."})
	t.popularityTables()
	t.traceTables()
	t.workload = record("a workload with one of trace, pipelines and streams",
		key{name: "duration", is: aTime(), doc: "When arrivals stop."},
		key{name: "items", is: anInt(), doc: "After how many items no further job starts."},
		key{name: "warmup", is: either("a length of time with its unit, like 10m, or auto", aTime(), word(autoWarmup)), def: "0s", doc: "Excluded from the metrics, kept in the log; auto finds it."},
		key{name: "horizon", is: aTime(), doc: "When the run is cut; it drains if left out."},
		key{name: "arrivals", is: t.arrivals, doc: "When jobs arrive."},
		key{name: "pipelines", is: listOf(t.pipeline, "a list of pipelines"), doc: "Jobs of several items that wait for each other."},
		key{name: "streams", is: t.streams, doc: "Independent models: every job is one item."},
		key{name: "trace", is: either("a file or {file: …, format: …}", aText(), t.trace), doc: "A recorded workload."})
}

func (t *tables) popularityTables() {
	t.windowed = record("{window: 30s, weights: [[1, 0], [0, 1]]}",
		key{name: "window", is: aTime(), must: true, doc: "Length of a window."},
		key{name: "weights", is: listOf(listOf(aNumber(), "weights"), "a list of weights by window"), must: true, doc: "Weights by window; the last ones stay."})
	keys := []key{
		{name: "uniform", is: record("{}"), doc: "All models alike."},
		{name: "zipf", is: record("{s: 1.1}", key{name: "s", is: aNumber(), must: true, doc: "Exponent: the i-th model has weight i^-s."}), doc: "Zipf in the order of the list."},
		{name: "weights", is: listOf(aNumber(), "a list of weights"), doc: "A weight for each model."},
		{name: "windowed", is: t.windowed, doc: "Weights of their own for each window of time."},
	}
	base := choice("a popularity like {zipf: {s: 1.1}}", keys...)
	t.popularity = choice("a popularity like {zipf: {s: 1.1}}", append(keys,
		key{name: "sticky", is: record("{p: 0.6, base: {zipf: {s: 1}}}", key{name: "p", is: aNumber(), must: true, doc: "Probability of the same model as before."}, key{name: "base", is: base, def: "{uniform: {}}", doc: "Popularity otherwise."}), doc: "Repeats."})...)
	t.streams = record("streams like {models: [a, b], popularity: {zipf: {s: 1.1}}}",
		key{name: "models", is: listOf(aText(), "a list of models"), doc: "Models; all of the catalogue if left out."},
		key{name: "popularity", is: t.popularity, doc: "How often each is drawn; alike if left out."},
		key{name: "weights", is: listOf(aNumber(), "a list of weights"), doc: "Short for popularity: {weights: …}."})
}

func (d *decoder) workload(n *node, path string, models []model) workload {
	w := workload{node: n}
	f, ok := d.record(n, path, d.tables.workload)
	if !ok {
		return w
	}
	defer f.done()
	if v, p := f.get("warmup"); v != nil {
		if w.settles = v.kind == scalarNode && v.text == autoWarmup; !w.settles {
			w.warmup = d.timeOr(v, p, ", or "+autoWarmup)
		}
	}
	if f.given("horizon") {
		if w.horizon = f.time("horizon"); w.horizon == 0 {
			d.errorf(n.child("horizon").at, "%s.horizon is 0s; leave it out for a run that drains", path)
		}
	}
	kinds := 0
	for _, k := range []string{"trace", "pipelines", "streams"} {
		if f.given(k) {
			kinds++
		}
	}
	if kinds != 1 {
		d.errorf(n.at, "%s has %d of trace, pipelines and streams; expected exactly one", path, kinds)
		return w
	}
	if f.given("trace") {
		w.trace = d.trace(&f, models, w.warmup)
		return w
	}
	w.generated = d.generated(&f, models)
	if c := w.generated; c != nil && c.Duration > 0 && w.warmup >= c.Duration {
		d.errorf(n.child("warmup").at, "%s.warmup is %v, the whole duration of %v; nothing would be measured", path, w.warmup, c.Duration)
	}
	return w
}

func (d *decoder) generated(f *fields, models []model) *workloads.Config {
	before := d.errs.reported
	c := &workloads.Config{}
	if f.given("duration") {
		c.Duration = f.time("duration")
	}
	if f.given("items") {
		c.Items = f.integer("items", 1, math.MaxInt64)
	}
	if a, p := f.get("arrivals"); a != nil {
		c.Arrivals = d.arrivals(a, p)
	} else {
		d.errorf(f.n.at, "%s.arrivals is missing; expected %s", f.path, d.tables.arrivals.want)
	}
	if f.given("streams") {
		v, p := f.get("streams")
		if v != nil {
			c.Streams = d.streams(v, p, models)
		}
	} else {
		f.each("pipelines", d.tables.pipeline, func(p *fields) { c.Pipelines = append(c.Pipelines, d.pipeline(p, models)) })
	}
	if d.errs.reported > before {
		return nil
	}
	var wrong *workloads.ConfigError
	switch err := c.Validate(); {
	case errors.As(err, &wrong):
		d.errorf(f.n.locate(wrong.Field), "%s: %s", join(f.path, wrong.Field), wrong.What)
		return nil
	case err != nil:
		d.errorf(f.n.at, "%s: %v", f.path, err)
		return nil
	}
	return c
}

func (d *decoder) arrivals(n *node, path string) workloads.Arrivals {
	var a workloads.Arrivals
	name, body, ok := d.choice(n, path, d.tables.arrivals)
	if !ok {
		return a
	}
	a.Kind = workloads.ArrivalKind(name)
	k, _ := d.tables.arrivals.key(name)
	f, ok := d.record(body, join(path, name), k.is)
	if !ok {
		return a
	}
	defer f.done()
	if _, takes := k.is.key("rate"); takes {
		a.Rate = f.rate("rate")
	}
	switch a.Kind {
	case workloads.Gamma:
		a.CV = f.number("cv", notNegative, "a number of at least 0")
	case workloads.Weibull:
		a.Shape = f.number("shape", positive, "a positive number")
	case workloads.MMPP:
		f.each("states", d.tables.state, func(s *fields) {
			a.States = append(a.States, workloads.State{Rate: s.rate("rate"), Mean: s.time("mean")})
		})
	case workloads.Diurnal:
		a.Period = f.time("period")
		if a.Factors = f.numbers("factors"); a.Factors == nil || f.given("amplitude") || f.given("peak") {
			f.defaulted("amplitude", "0")
			f.defaulted("peak", "0s")
			a.Amplitude, a.Peak = f.number("amplitude", probability, "between 0 and 1"), f.time("peak")
		}
	case workloads.Burst:
		a.Every, a.Within = f.time("every"), f.time("within")
		if v, p := f.get("size"); v != nil {
			a.Size = d.dist(v, p, counts)
		}
	case workloads.Piecewise:
		a.Window, a.Counts = f.time("window"), f.numbers("counts")
	case workloads.Closed:
		a.Clients = int(f.integer("clients", 1, 1<<20))
		if v, p := f.get("think"); v != nil {
			a.Think = d.dist(v, p, durations)
		}
	}
	return a
}

// numbers reads a list of numbers of at least 0, nil if it is missing.
func (f *fields) numbers(name string) []float64 {
	n, path := f.get(name)
	if n == nil {
		return nil
	}
	return f.d.numbers(n, path)
}

func (d *decoder) numbers(n *node, path string) []float64 {
	values, _ := d.list(n, path, "a list of numbers")
	out := make([]float64, 0, len(values))
	for i, v := range values {
		out = append(out, d.number(v, indexed(path, i), notNegative, "a number of at least 0"))
	}
	return out
}

func (d *decoder) pipeline(f *fields, models []model) workloads.Pipeline {
	p := workloads.Pipeline{Name: f.name("name"), Weight: f.number("weight", positive, "a positive number")}
	f.each("stages", d.tables.stage, func(s *fields) { p.Stages = append(p.Stages, d.stage(s, models)) })
	return p
}

func (d *decoder) stage(f *fields, models []model) workloads.Stage {
	s := workloads.Stage{ID: f.name("id"), Chance: f.number("chance", func(v float64) bool { return v > 0 && v <= 1 }, "above 0 and at most 1"),
		Priority: int32(f.integer("priority", math.MinInt32, math.MaxInt32))}
	if v, p := f.get("model"); v != nil {
		d.stageModel(v, p, models, &s)
	}
	if v, p := f.get("items"); v != nil {
		s.Items = d.dist(v, p, counts)
	}
	if f.given("each") {
		s.Each = f.name("each")
	}
	if v, p := f.get("after"); v != nil {
		values, _ := d.list(v, p, "a list of stages")
		for i, one := range values {
			s.After = append(s.After, d.name(one, indexed(p, i)))
		}
	}
	if f.given("slo") {
		if s.SLO = f.time("slo"); s.SLO == 0 {
			d.errorf(f.n.child("slo").at, "%s.slo is 0s; leave it out where there is no deadline", f.path)
		}
	}
	return s
}

func (d *decoder) stageModel(n *node, path string, models []model, s *workloads.Stage) {
	if n.kind == scalarNode {
		s.Model = d.modelNamed(n, path, models)
		return
	}
	f, ok := d.record(n, path, d.tables.choose)
	if !ok {
		return
	}
	choose, p := f.get("choose")
	if choose == nil {
		return
	}
	if choose.kind != mappingNode || len(choose.keys) == 0 {
		d.wrong(choose, p, "models and their weights, like {car: 0.77, face: 0.23}")
		return
	}
	for i, name := range choose.keys {
		m := d.modelNamed(scalar(choose.keyAt[i], name), p, models)
		weight := d.number(choose.values[i], join(p, name), notNegative, "a number of at least 0")
		s.Choose = append(s.Choose, workloads.Choice{Model: m, Weight: weight})
	}
}

// modelNamed looks a name up in the catalogue.
func (d *decoder) modelNamed(n *node, path string, models []model) scheduler.ModelID {
	if n.kind != scalarNode {
		d.wrong(n, path, "the name of a model")
		return 0
	}
	if id, ok := d.ids[n.text]; ok {
		return id
	}
	if len(models) > 0 {
		names := make([]string, len(models))
		for i := range models {
			names[i] = models[i].core.Name
		}
		d.errorf(n.at, "%s: there is no model %s%s", path, quote(n.text), suggest(n.text, names))
	}
	return 0
}

func (d *decoder) streams(n *node, path string, models []model) *workloads.Streams {
	s := &workloads.Streams{}
	f, ok := d.record(n, path, d.tables.streams)
	if !ok {
		return nil
	}
	defer f.done()
	if !f.given("models") {
		all := list(n.at)
		for i := range models {
			all.values = append(all.values, scalar(n.at, models[i].core.Name))
		}
		n.add("models", n.at, all)
	}
	if v, p := f.get("models"); v != nil {
		values, _ := d.list(v, p, "a list of models")
		for i, one := range values {
			s.Models = append(s.Models, d.modelNamed(one, indexed(p, i), models))
		}
	}
	if w := n.child("weights"); w != nil {
		if f.given("popularity") {
			d.errorf(w.at, "%s has both weights and popularity", path)
			return nil
		}
		n.remove("weights")
		wrapped := mapping(w.at)
		wrapped.add("weights", w.at, w)
		n.add("popularity", w.at, wrapped)
	}
	if !f.given("popularity") {
		n.add("popularity", n.at, d.fallback("{uniform: {}}", n.at))
	}
	if v, p := f.get("popularity"); v != nil {
		d.popularity(v, p, d.tables.popularity, &s.Popularity)
	}
	return s
}

func (d *decoder) popularity(n *node, path string, table *shape, p *workloads.Popularity) {
	name, body, ok := d.choice(n, path, table)
	if !ok {
		return
	}
	path = join(path, name)
	if name == "weights" {
		p.Weights = d.numbers(body, path)
		return
	}
	k, _ := table.key(name)
	f, ok := d.record(body, path, k.is)
	if !ok {
		return
	}
	defer f.done()
	switch name {
	case "zipf":
		p.Zipf, p.ZipfS = true, f.number("s", notNegative, "a number of at least 0")
	case "windowed":
		p.Window = f.time("window")
		if v, vp := f.get("weights"); v != nil {
			values, _ := d.list(v, vp, "a list of weights by window")
			for i, one := range values {
				p.Windows = append(p.Windows, d.numbers(one, indexed(vp, i)))
			}
		}
	case "sticky":
		p.Sticky = f.number("p", probability, "between 0 and 1")
		if v, vp := f.get("base"); v != nil {
			base, _ := d.tables.popularity.key("sticky")
			inner, _ := base.is.key("base")
			d.popularity(v, vp, inner.is, p)
		}
	}
}
