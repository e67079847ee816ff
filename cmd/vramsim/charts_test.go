package main

import (
	"testing"

	"github.com/vramsim/vramsim/results/charts"
)

func TestTimelineWindow(t *testing.T) {
	spans := func(first, gap float64, n int) []charts.Device {
		var d charts.Device
		for i := range n {
			d.Spans = append(d.Spans, charts.Span{From: first + gap*float64(i), To: first + gap*float64(i) + 1})
		}
		return []charts.Device{d}
	}
	for name, c := range map[string]struct {
		devices       []charts.Device
		end, from, to float64
	}{
		"nothing":                {nil, 0, 0, 0},
		"a short run":            {spans(1, 1, 20), 30, 0, 30},
		"busy from the start":    {spans(5, 10, 2000), 20000, 0, 1800},
		"an item each hour":      {spans(5, 3600, 500), 1.8e6, 0, 212405 * 1.05},
		"starts after two hours": {spans(7290, 10, 2000), 28000, 7260, 9060},
		"few things in all":      {spans(5, 3600, 3), 7206, 0, 7206},
	} {
		if from, to := timelineWindow(c.devices, c.end); from != c.from || to != c.to {
			t.Errorf("%s: %v to %v, want %v to %v", name, from, to, c.from, c.to)
		}
	}
}
