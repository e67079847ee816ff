package charts

import (
	"testing"

	"github.com/vramsim/vramsim/results/metrics"
	"github.com/vramsim/vramsim/results/summary"
)

func cellInput(replicates int) *summary.Summary {
	in := summary.Input{Name: "video", Baseline: "seed", Replicates: replicates, Cells: []summary.CellInput{{ID: "a", Bounds: map[string][]float64{"item_latency_seconds.mean": {4, 6}}, Set: map[string]string{"hardware.gpus[0].memory": "8GB"}}}}
	for i, name := range []string{"seed", "sticky", "belady", "fifo"} {
		p := summary.PolicyInput{Policy: name, Clairvoyant: name == "belady"}
		if name == "fifo" {
			p.Invalid = []string{"unstable"}
		}
		for r := range replicates {
			stat := metrics.Stat{N: 10, Mean: float64(10 - i + r), P99: float64(40 + r)}
			part := &metrics.Result{Distributions: map[string]metrics.Stat{"item_wait_seconds": stat}}
			p.Results = append(p.Results, &metrics.Result{Distributions: map[string]metrics.Stat{"item_latency_seconds": stat, "item_wait_seconds": stat},
				Values:   map[string]float64{"model_switches": float64(100 - 10*i + r), "gpu_busy_ratio": 0.5, "gpu_loading_ratio": 0.25},
				PerModel: map[string]*metrics.Result{"whisper": part, "qwen3": part}})
		}
		in.Cells[0].Policies = append(in.Cells[0].Policies, p)
	}
	return summary.Build(in)
}

func TestChartsOfACell(t *testing.T) {
	s := cellInput(3)
	for name, want := range map[string][]string{
		"switches":  {">How often each policy switches models<", ">video · gpus[0].memory = 8GB · 3 replicates<", ">seed<", ">belady (clairvoyant)<", ">101 ± 2.5<", ">INVALID<"},
		"latency":   {">11 ± 2.5<", ">INVALID<", ">mean latency [s]<", ">bound (5)<", ">Bound: no policy that finishes everything can do better.<"},
		"breakdown": {">50<", ">25<"},
		"waits":     {">whisper<", ">qwen3<", ">sticky<"},
	} {
		c, ok := OfCell(name, s, &s.Cells[0])
		if !ok || c.Empty() {
			t.Errorf("no chart %s", name)
			continue
		}
		contains(t, svg(t, c), want...)
	}
	if _, ok := OfCell("ccdf", s, &s.Cells[0]); ok {
		t.Error("a distribution was drawn from its summary")
	}
	one := cellInput(1)
	c, _ := OfCell("switches", one, &one.Cells[0])
	contains(t, svg(t, c), "one replicate", "No intervals")
}

func TestChartsSayWhatIsNotFinished(t *testing.T) {
	s := cellInput(3)
	values := s.Cells[0].Policies[1].Metrics
	for name, v := range map[string]summary.Number{"items_arrived": 10, "items_rejected": 4, "items_unfinished": 1} {
		values[name] = summary.Metric{Stats: map[string]summary.Statistic{"value": {Value: v}}}
	}
	c, _ := OfCell("latency", s, &s.Cells[0])
	contains(t, svg(t, c), ">sticky (finishes 50%)<", ">seed<")
}

func TestEveryChartHasATitle(t *testing.T) {
	s := cellInput(1)
	for _, info := range All() {
		if HeadOf(info.Name, s, &s.Cells[0], "").Title == "" || info.What == "" {
			t.Errorf("%s has no title", info.Name)
		}
	}
	s.Status = summary.Incomplete
	if sub := HeadOf("ccdf", s, &s.Cells[0], "sticky").Subtitle; sub != "video · gpus[0].memory = 8GB · one replicate · sticky · INCOMPLETE" {
		t.Errorf("subtitle %q", sub)
	}
}
