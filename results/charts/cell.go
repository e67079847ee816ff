package charts

import (
	"fmt"

	"github.com/vramsim/vramsim/results/summary"
	"github.com/vramsim/vramsim/results/table"
)

// Titles of the charts, by name.
var titles = map[string]string{
	"switches":  "How often each policy switches models",
	"loads":     "How often each policy loads a model",
	"latency":   "How long items take on average",
	"ccdf":      "How long the slowest items take",
	"breakdown": "Where device time goes",
	"waits":     "How long each model's items wait",
	"residency": "Which model is where, and when",

	"load-times":   "What loads take for their bytes",
	"vram":         "What models declare and what they take",
	"power":        "Which model is where, and what the card draws",
	"predicted":    "How well latencies were predicted",
	"phase-errors": "How well durations were predicted",
}

// TitleOf returns the title of the named chart.
func TitleOf(name string) string { return titles[name] }

// HeadOf returns the head of the named chart of a cell: its title, and below
// it experiment, cell and replicates. detail, if any, is added, like the
// policy of a timeline.
func HeadOf(name string, s *summary.Summary, cell *summary.Cell, detail string) Head {
	sub := s.Name
	for _, part := range []string{table.Title(cell), replicates(cell), detail} {
		if part != "" {
			sub += " · " + part
		}
	}
	if s.Status != summary.Valid {
		sub += " · " + s.Status
	}
	return Head{Title: titles[name], Subtitle: sub}
}

func replicates(cell *summary.Cell) string {
	most := 0
	for _, p := range cell.Policies {
		for _, m := range p.Metrics {
			most = max(most, m.Replicates)
		}
	}
	if most == 1 {
		return "one replicate"
	}
	return fmt.Sprintf("%d replicates", most)
}

// OfCell draws the named chart from the summary alone: "switches", "loads",
// "latency", "breakdown" or "waits". ok is false for other names, whose data the summary
// does not hold.
func OfCell(name string, s *summary.Summary, cell *summary.Cell) (c *Chart, ok bool) {
	head := HeadOf(name, s, cell, "")
	switch name {
	case "switches":
		return Switches(head, bars(s, cell, "model_switches", "value"), boundOf(cell, "model_switches")), true
	case "loads":
		return Loads(head, bars(s, cell, "model_loads", "value"), boundOf(cell, "model_loads")), true
	case "latency":
		return Latencies(head, bars(s, cell, "item_latency_seconds", "mean"), boundOf(cell, "item_latency_seconds.mean")), true
	case "breakdown":
		return Breakdown(head, shares(cell)), true
	case "waits":
		return Waits(head, waits(cell)), true
	}
	return nil, false
}

// boundOf returns what no policy of the cell can beat, 0 if that is not known.
func boundOf(cell *summary.Cell, figure string) float64 {
	if b, ok := cell.Bounds[figure]; ok && b.Value.Known() {
		return float64(b.Value)
	}
	return 0
}

func bars(s *summary.Summary, cell *summary.Cell, metric, statistic string) (list []Bar) {
	for i := range cell.Policies {
		p := &cell.Policies[i]
		f := p.Figure(metric, statistic)
		b := Bar{Name: p.Policy, Value: float64(f.Value), Baseline: p.Policy == s.Baseline, Clairvoyant: p.Clairvoyant, Invalid: p.Status == summary.Invalid}
		if text := table.Finished(p); text != "100%" {
			b.Finishes = text
		}
		if f.CI95 != nil {
			b.Low, b.High = float64(f.CI95[0]), float64(f.CI95[1])
		}
		list = append(list, b)
	}
	return list
}

// shares divides device time by the ratios of the metrics; what is neither
// busy nor loading is idle.
func shares(cell *summary.Cell) (list []Share) {
	for i := range cell.Policies {
		p := &cell.Policies[i]
		running := float64(p.Figure("gpu_busy_ratio", "value").Value)
		loading := float64(p.Figure("gpu_loading_ratio", "value").Value)
		list = append(list, Share{Name: p.Policy, Running: running, Loading: loading, Idle: max(0, 1-running-loading), Clairvoyant: p.Clairvoyant})
	}
	return list
}

// waits lists the waits of VALID policies, model by model.
func waits(cell *summary.Cell) (list []Wait) {
	for i := range cell.Policies {
		p := &cell.Policies[i]
		for _, model := range summary.Names(p.PerModel) {
			stats := p.PerModel[model]["item_wait_seconds"].Stats
			mean, ok := stats["mean"]
			if p.Status == summary.Invalid || !ok {
				continue
			}
			list = append(list, Wait{Model: model, Policy: p.Policy, Mean: float64(mean.Value), P99: float64(stats["p99"].Value), Clairvoyant: p.Clairvoyant})
		}
	}
	return list
}
