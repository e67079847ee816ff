package charts

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

func sampleLatencies(n int) (items []Latency) {
	rng := rand.New(rand.NewPCG(3, 1))
	for i := range n {
		took := math.Exp(2 + rng.NormFloat64())
		items = append(items, Latency{[...]string{"whisper", "videomae", "qwen3"}[i%3], took * math.Exp(0.05*rng.NormFloat64()), took})
	}
	return append(items, Latency{"whisper", 0, 3}, Latency{"qwen3", math.NaN(), 3})
}

func samplePhases() []PhaseError {
	return []PhaseError{{"whisper", "load disk", 0.034, 40}, {"whisper", "load host", -0.012, 61}, {"whisper", "batch", 0.002, 800},
		{"videomae", "load disk", -0.051, 22}, {"videomae", "batch", 0, 300}, {"videomae", "unload", math.NaN(), 3}}
}

func sampleLoads() (loads []Load) {
	rng := rand.New(rand.NewPCG(4, 1))
	for i := range 60 {
		size := [...]float64{1.5e9, 3.1e9, 5e9}[i%3]
		loads = append(loads, Load{"disk", size, 0.1 + size/2.2e9*(1+0.05*rng.Float64())}, Load{"host", size, 0.01 + size/2.4e10*(1+0.1*rng.Float64())})
	}
	return append(loads, Load{"disk", -1, 3}, Load{"disk", 1e9, math.Inf(1)})
}

func sampleFootprints() []Footprint {
	return []Footprint{{"whisper", 4.5e9, 6.3e9, 3.1e9, 3.3e9, 4.2e9}, {"videomae", 1e9, 1.9e9, 1.2e9, 1.3e9, 2.4e9}, {"clap", 1e9, 1e9, 0, 0, 0}, {"qwen3", 1.5e9, 2e9, 1.4e9, 0, 0}}
}

func measuredDevice(d Device, end float64) Device {
	rng := rand.New(rand.NewPCG(5, 1))
	for at := 0.0; at < end; at += end / 4000 {
		d.Power = append(d.Power, Level{at, 60 + 200*math.Abs(math.Sin(at/9)) + 10*rng.Float64()})
	}
	for _, s := range d.Reserved {
		d.Used = append(d.Used, Step{s.At, s.Bytes*0.9 + 5e8})
	}
	return d
}

// TestMeasuredCharts: what was left out is said, excess is marked, and nothing
// to draw is no drawing.
func TestMeasuredCharts(t *testing.T) {
	contains(t, svg(t, Predicted(head, sampleLatencies(10))), "2 items took no time", "predicted latency", "measured latency", "videomae")
	many := Predicted(head, sampleLatencies(3*maxDots))
	if n := strings.Count(svg(t, many), "<path"); n > 2*maxDots || len(many.Notes()) != 2 {
		t.Errorf("%d paths, notes %v", n, many.Notes())
	}
	contains(t, svg(t, PhaseErrors(head, samplePhases())), "+3.4 %", "−5.1 %", "n=800", "whisper, load disk")
	contains(t, svg(t, LoadTimes(head, sampleLoads(), 3.15e10, "PCIe gen 4 x16")), "bound: PCIe gen 4 x16", "from disk", "load time [s]")
	if text := svg(t, LoadTimes(head, sampleLoads(), 0, "")); strings.Contains(text, "bound") {
		t.Error("a bound without one")
	}
	text := svg(t, Footprints(head, sampleFootprints()))
	contains(t, text, "declared weights", "peak of a batch", "#D55E00")
	if strings.Contains(text, "clap") {
		t.Error("a model of which nothing was measured")
	}
	within := svg(t, Footprints(head, sampleFootprints()[:1]))
	if strings.Contains(within, "#D55E00") {
		t.Error("excess where there is none")
	}
	device, end := sampleDevice("gpu0", 3, 24)
	plain := svg(t, Residency(head, []Device{device}, 0, end))
	if strings.Contains(plain, "power") || strings.Contains(plain, "memory in use") {
		t.Error("a simulation has no power")
	}
	contains(t, svg(t, Residency(head, []Device{measuredDevice(device, end)}, 0, end)), "power [W]", "memory in use")
	var more []PhaseError
	for i := range 2 * maxSigned {
		more = append(more, PhaseError{fmt.Sprint("m", i), "batch", float64(i) / 100, 1})
	}
	if notes := PhaseErrors(head, more).Notes(); len(notes) != 2 || !strings.Contains(notes[0], "60 of 120") {
		t.Errorf("notes %v", notes)
	}
	for name, c := range map[string]*Chart{"predicted": Predicted(head, nil), "phases": PhaseErrors(head, nil), "loads": LoadTimes(head, nil, 1, "x"),
		"footprints": Footprints(head, nil), "all zero": LoadTimes(head, []Load{{"disk", 5, 0}}, 0, "")} {
		if !c.Empty() {
			t.Errorf("%s: something was drawn of nothing", name)
		}
	}
}
