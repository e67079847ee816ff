package main

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// wrongModel is an experiment of a family with a fault in it.
type wrongModel struct {
	family, what string
	trial        string  // its name; the first if empty
	scale        float64 // times the items: a coarse fault shows early
	from, to     string  // what the fault changes in the experiment or its traces
	key          string  // the value that must be missed
}

func wrongModels() []wrongModel {
	const exp1, constant = "time: {exp: {mean: 1s}}", "time: 1s"
	return []wrongModel{
		{family: "mm1", what: "service 5 % longer", scale: 0.1, from: "exp: {mean: 1s}", to: "exp: {mean: 1.05s}", key: "Wq"},
		{family: "mm1", what: "rate 5 % higher", scale: 0.15, from: "rate: 0.5/s", to: "rate: 0.525/s", key: "Wq"},
		{family: "mm1", what: "service does not vary", scale: 0.1, from: exp1, to: constant, key: "Wq_p95"},
		{family: "mm1", what: "a second slot", scale: 0.1, from: "slots: 1", to: "slots: 2", key: "W"},
		{family: "mm1", what: "arrivals more regular", scale: 0.1, from: "poisson: {rate: 0.5/s}", to: "gamma: {rate: 0.5/s, cv: 0.8}", key: "W_p99"},
		{family: "mm1", what: "rate 10 % higher", trial: "log", scale: 0.5, from: "rate: 0.5/s", to: "rate: 0.55/s", key: "P_wait"},
		{family: "mmc", what: "a third slot", scale: 0.1, from: "slots: 2", to: "slots: 3", key: "Wq"},
		{family: "md1", what: "service varies", scale: 0.1, from: constant, to: exp1, key: "Wq"},
		{family: "md1", what: "service 5 % longer", scale: 0.2, from: constant, to: "time: 1.05s", key: "Wq"},
		{family: "md1", what: "service 10 % longer", trial: "log", scale: 0.5, from: constant, to: "time: 1.1s", key: "P_nowait"},
		{family: "mg1", what: "the variation of an exponential", scale: 0.2, from: "cv: 0.57735026919", to: "cv: 1", key: "Wq"},
		{family: "priority", what: "priorities are ignored", scale: 0.03, from: `"priority":2`, to: `"priority":1`, key: "Wq[0]"},
		{family: "priority", what: "priorities upside down", scale: 0.03, from: `"priority":2`, to: `"priority":0`, key: "Wq[1]"},
		{family: "priority", what: "no waiting, a slot for each class", scale: 0.03, from: "slots: 1", to: "slots: 2", key: "conservation_sum_rho_Wq"},
		{family: "sjf", what: "first come, first served", scale: 0.06, from: "order: work", to: "order: fifo", key: "Wq"},
		{family: "mm1-first-n", what: "service 5 % longer", trial: "1000", scale: 0.25, from: "exp: {mean: 1s}", to: "exp: {mean: 1.05s}", key: "mean_Wq_first_1000"},
		{family: "setup", what: "the model stays for a second", scale: 1, from: "idle: 0s", to: "idle: 1s", key: "loads_per_unit_time"},
		{family: "setup", what: "loads 5 % shorter", scale: 1, from: "load: 5s", to: "load: 4.75s", key: "Wq"},
		{family: "keepalive", what: "the model leaves a second early", scale: 1, from: "idle: 10s", to: "idle: 9s", key: "Wq"},
		{family: "vacation", what: "absences 5 % shorter", scale: 1, from: "load: 5s", to: "load: 4.75s", key: "Wq"},
		{family: "vacation", what: "no absence without work there", scale: 1, from: "skip_empty: false", to: "skip_empty: true", key: "Wq"},
		{family: "batch-constant", what: "batches of three", scale: 0.2, from: "max: 4", to: "max: 3", key: "Wq"},
		{family: "batch-linear", what: "base 5 % longer", scale: 0.4, from: "base: 1s", to: "base: 1.05s", key: "Wq"},
		{family: "batch-take-all", what: "one at a time", scale: 0.1, from: "max: 100000", to: "max: 1", key: "Wq"},
		{family: "batch-at-least", what: "waits for nothing", scale: 0.1, trial: "log", from: "items: 2", to: "items: 1", key: "mean_batch"},
		{family: "polling-symmetric", what: "empty queues are skipped", scale: 0.4, from: "skip_empty: false", to: "skip_empty: true", key: "Wq_exhaustive"},
		{family: "polling-symmetric", what: "half of each load is waited for", scale: 0.05, from: "load: 0.5s", to: "load: 0.25s", key: "Wq_exhaustive"},
		{family: "polling-symmetric", what: "loads vary", scale: 0.08, from: "load: 0.5s", to: "load: {gamma: {mean: 0.5s, cv: 2}}", key: "Wq_exhaustive"},
		{family: "polling-symmetric", what: "the gate stays open", trial: "gated", scale: 0.1, from: "visit: gated", to: "visit: exhaustive", key: "Wq_gated"},
		{family: "polling-symmetric", what: "visits end at a gate", scale: 0.1, from: "visit: exhaustive", to: "visit: gated", key: "Wq_exhaustive"},
		{family: "polling-symmetric", what: "one item too many a visit", trial: "1limited", scale: 0.05, from: "items: 1", to: "items: 2", key: "Wq_1limited"},
		{family: "polling-symmetric", what: "cycle 5 % shorter", trial: "gated", scale: 0.2, from: "load: 0.5s", to: "load: 0.475s", key: "mean_cycle"},
		{family: "polling-asymmetric", what: "the gate stays open", trial: "gated", scale: 0.2, from: "visit: gated", to: "visit: exhaustive", key: "PCL_gated"},
		{family: "polling-asymmetric", what: "empty queues are skipped", scale: 0.2, from: "skip_empty: false", to: "skip_empty: true", key: "PCL_exhaustive"},
		{family: "polling-asymmetric", what: "queues served alike", scale: 0.2, from: "weights: [0.2, 0.1, 0.05]", to: "weights: [0.05, 0.1, 0.2]", key: "Wq_exhaustive[2]"},
		{family: "polling-limited-law", what: "one item too many a visit", scale: 0.2, from: "items: 1", to: "items: 2", key: "weighted_sum_Wq"},
		{family: "polling-limited-law", what: "a tenth of each load is not waited for", scale: 0.5, from: "load: 0.5s", to: "load: 0.45s", key: "weighted_sum_Wq"},
		{family: "closed", what: "thinks 5 % shorter", scale: 0.5, from: "exp: {mean: 10s}", to: "exp: {mean: 9.5s}", key: "X"},
		{family: "closed-network", what: "a client more", scale: 0.2, from: "clients: 5", to: "clients: 6", key: "R"},
		{family: "tandem", what: "stages at once", scale: 0.05, from: ", after: [s0]", to: "", key: "W"},
		{family: "fork-join", what: "stages one after the other", scale: 0.1, from: "{id: s1, model: m1}", to: "{id: s1, model: m1, after: [s0]}", key: "R"},
		{family: "fork-join-approx", what: "two of four at once", scale: 0.2, from: "{id: s1, model: m1}", to: "{id: s1, model: m1, after: [s0]}", key: "R_approx"},
		{family: "residency", what: "fifo for lru", trial: "lru", scale: 6, from: "evict: lru", to: "evict: fifo", key: "hit_LRU"},
		{family: "residency-sizes", what: "largest for lru", scale: 0.3, from: "evict: lru", to: "evict: largest", key: "miss_ratio_superfluous_kept"},
		{family: "all-fit", what: "half a gigabyte less", scale: 1, from: "memory: 16GB", to: "memory: 15.5GB", key: "evictions"},
		{family: "two-models", what: "longest for sticky", scale: 0.2, from: "use: sticky", to: "use: longest, as: sticky", key: "policies.sticky.L_total"},
		{family: "two-models", what: "loads 5 % shorter", scale: 1, from: "load: {exp: {mean: 2s}}", to: "load: {exp: {mean: 1.9s}}", key: "policies.sticky.frac_loading"},
		{family: "two-models", what: "a hysteresis of 1", trial: "hysteresis", scale: 0.2, from: "use: hysteresis", to: "use: hysteresis, params: {h: 1}", key: "policies.hysteresis.L_total"},
		{family: "two-models", what: "priorities are ignored", trial: "priority", scale: 0.1, from: "priority: 2", to: "priority: 1", key: "policies.priority.W[0]"},
		{family: "belady-anomaly", what: "lru for fifo", scale: 1, from: "as: fifo, evict: fifo", to: "as: fifo, evict: lru", key: "fifo_3"},
		{family: "fifo-size-anomaly", what: "a gigabyte less", trial: "large", scale: 1, from: "memory: 10GB", to: "memory: 8GB", key: "loads_large"},
		{family: "memory-anomaly", what: "resident models do not come first", trial: "10", scale: 1, from: "prefer: resident", to: "prefer: all", key: "makespan_10GB"},
		{family: "graham-anomaly", what: "a fourth machine", scale: 1, from: "slots: 3", to: "slots: 4", key: "m3"},
	}
}

// always reports whether the fault is planted in the short version too: where
// it costs little, and in the families that everything else rests on.
func (w wrongModel) always() bool {
	kind, _, _ := strings.Cut(w.family, "-")
	return slices.Contains([]string{"mm1", "md1", "priority", "polling", "setup", "all"}, kind) && w.family != "mm1-first-n" || strings.HasSuffix(w.family, "-anomaly")
}

// mustFail runs the wrong model and expects the value to be missed, not merely
// measured badly.
func (w wrongModel) mustFail(t *testing.T, c *queueCase) {
	family := slices.IndexFunc(queueFamilies(), func(f queueFamily) bool { return f.id == w.family })
	if family < 0 {
		t.Fatalf("there is no family %s", w.family)
	}
	trials := queueFamilies()[family].trials(c)
	i := slices.IndexFunc(trials, func(tr trial) bool { return w.trial == "" || tr.name == w.trial })
	if i < 0 {
		t.Fatalf("%s has no trial %s", w.family, w.trial)
	}
	tr := trials[i]
	k := slices.IndexFunc(tr.figures, func(f figure) bool { return f.key == w.key })
	if k < 0 {
		t.Fatalf("trial %s does not read %s", tr.name, w.key)
	}
	tr.from, tr.to = w.from, w.to
	values := tr.figures[k].values(t, tr.run(t, w.scale))
	reference := c.value(t, w.key)
	err := tr.figures[k].judge(values, reference, tr.limit)
	if !errors.Is(err, errOutside) {
		t.Errorf("%s is accepted, or not clearly refused: %v; %s", w.key, err, shown(values, reference))
	} else if testing.Verbose() {
		t.Log(w.key, err)
	}
}
