package summary

import (
	"slices"
	"strings"

	"github.com/vramsim/vramsim/results/metrics"
)

// better says in which direction a metric improves: -1 lower, +1 higher, 0
// neither. Metrics of direction 0 are not compared.
var better = map[string]int{
	"item_latency_seconds": -1, "item_wait_seconds": -1, "item_service_seconds": -1, "job_latency_seconds": -1,
	"model_switches": -1, "model_loads": -1, "model_evictions": -1, "switches_per_1000_items": -1,
	"load_seconds_total": -1, "makespan_seconds": -1, "gpu_loading_ratio": -1, "vram_peak_bytes": -1,
	"vram_over_budget_events": -1, "items_rejected": -1, "items_failed": -1, "items_cancelled": -1,
	"items_unfinished": -1, "max_bypass": -1, "energy_joules": -1,
	"throughput_items_per_second": +1, "goodput_ratio": +1, "items_completed": +1,
}

// Direction returns -1 if lower values of the metric are better, +1 if higher
// ones are and 0 if neither.
func Direction(metric string) int { return better[metric] }

// unitOf returns the unit of a metric, from its own declaration or, for a
// metric this version does not know, from its name.
func unitOf(name string) string {
	for _, m := range metrics.All() {
		if m.Name == name {
			return m.Unit
		}
	}
	for _, suffix := range [...]struct{ name, unit string }{
		{"_items_per_second", "1/s"}, {"_seconds", "s"}, {"_seconds_total", "s"}, {"_bytes", "B"}, {"_joules", "J"},
	} {
		if strings.HasSuffix(name, suffix.name) {
			return suffix.unit
		}
	}
	return "1"
}

// UnitOf returns the unit of the figure that a threshold is about, given its
// expression as in Outcome.Expr.
func UnitOf(expr string) string {
	selector, condition, _ := strings.Cut(expr, ": ")
	name, _, _ := strings.Cut(selector, "{")
	statistic := strings.Fields(condition + " value")[0]
	if counts(strings.TrimRight(statistic, "<>=!0123456789.")) {
		return "1"
	}
	return unitOf(strings.TrimSpace(name))
}

// Ordered returns the names of the metrics in the order of their declaration,
// unknown ones after them by name.
func Ordered(group map[string]Metric) []string {
	declared := map[string]int{}
	for i, m := range metrics.All() {
		declared[m.Name] = i + 1
	}
	names := Names(group)
	slices.SortStableFunc(names, func(a, b string) int {
		i, j := declared[a], declared[b]
		switch {
		case i == 0 && j == 0:
			return 0
		case i == 0:
			return 1
		case j == 0:
			return -1
		}
		return i - j
	})
	return names
}
