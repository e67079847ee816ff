package main

import (
	"iter"
	"maps"
	"math"
	"slices"

	"github.com/vramsim/vramsim/results/charts"
	"github.com/vramsim/vramsim/results/metrics"
	"github.com/vramsim/vramsim/results/summary"
	"github.com/vramsim/vramsim/sim/experiment"
)

func mapKeys[V any](m map[string]V) iter.Seq[string] { return maps.Keys(m) }

var spanStates = map[metrics.State]charts.State{metrics.Loading: charts.Loading, metrics.Resident: charts.Resident, metrics.Running: charts.Running, metrics.Evicting: charts.Evicting}

// timeline turns a result's record into the residency chart.
func timeline(head charts.Head, r *metrics.Result) *charts.Chart {
	devices, end := timelineDevices(r)
	from, to := timelineWindow(devices, end)
	return charts.Residency(head, devices, from, to)
}

// timelineDevices are the timelines of a result's record, and when it ends in
// seconds; none without a record.
func timelineDevices(r *metrics.Result) (devices []charts.Device, end float64) {
	if r == nil || r.Timeline == nil {
		return nil, 0
	}
	for _, t := range r.Timeline.Tracks {
		d := charts.Device{Name: t.Name, Budget: float64(t.Budget)}
		for _, s := range t.Spans {
			d.Spans = append(d.Spans, charts.Span{Model: r.Timeline.Models[s.Model], From: s.From.Seconds(), To: s.To.Seconds(), State: spanStates[s.State]})
			end = max(end, s.To.Seconds())
		}
		for _, s := range t.Reserved {
			d.Reserved = append(d.Reserved, charts.Step{At: s.At.Seconds(), Bytes: float64(s.Bytes)})
		}
		devices = append(devices, d)
	}
	return devices, end
}

// How much of a run a residency chart shows: more would be a band of colour.
const (
	timelineLength = 1800 // seconds, unless
	timelineSpans  = 60   // so few things happened by then
)

// timelineWindow returns the stretch, in seconds, of a run up to end that its
// residency chart shows: from the start, or from shortly before the first
// thing that happens if that is later than the stretch is long.
func timelineWindow(devices []charts.Device, end float64) (from, to float64) {
	var starts []float64
	for _, d := range devices {
		for _, s := range d.Spans {
			starts = append(starts, s.From)
		}
	}
	if len(starts) == 0 {
		return 0, min(end, timelineLength)
	}
	slices.Sort(starts)
	to = timelineLength
	if starts[0] > timelineLength/2 {
		from = math.Floor(starts[0]/60) * 60
		to += from
	}
	last := starts[min(timelineSpans, len(starts))-1]
	return from, min(end, max(to, last+(last-from)/20))
}

// foldConfig says how the metrics of a run are folded.
func foldConfig(setup *experiment.Setup, thresholds []summary.Threshold, first bool) metrics.Config {
	c := metrics.Config{Models: setup.Config.Models, Devices: setup.Config.Devices, Warmup: setup.Window.Warmup, WindowEnd: setup.Window.End,
		Generated: setup.Window.Generated, Timeline: first}
	if setup.Namer != nil {
		c.Tenants = setup.Namer.TenantName
	}
	for _, t := range thresholds {
		if t.Tenant != "" {
			c.KeepTenants = append(c.KeepTenants, t.Tenant)
		}
	}
	return c
}
