package charts

import (
	"fmt"
	"math"
)

var head = Head{Title: "Model switches per policy", Subtitle: "video-pipeline · gpus[0].memory = 8GB · 10 replicates of 4 h"}

var policies = []string{"seed", "sticky", "fifo", "longest", "oldest", "max-wait-30s", "polling", "priority", "edf-setup", "semaphore", "belady"}

func sampleBars() (bars []Bar) {
	for i, p := range policies {
		v := 120 + 83*math.Abs(math.Sin(float64(i)*1.7))*float64(1+i%4)
		bars = append(bars, Bar{Name: p, Value: v, Low: v * 0.93, High: v * 1.07, Baseline: p == "seed", Clairvoyant: p == "belady", Invalid: p == "fifo"})
	}
	return bars
}

func sampleCurves(n int) (curves []Curve) {
	for i, p := range policies {
		c := Curve{Name: p, Clairvoyant: p == "belady"}
		scale := 4 * float64(1+i)
		for k := range n {
			share := math.Pow(10, -4*float64(k)/float64(n))
			c.Points = append(c.Points, Point{X: 0.4 + scale*math.Pow(-math.Log(share), 1+0.08*float64(i%3)), Y: share})
		}
		curves = append(curves, c)
	}
	return curves
}

func sampleShares() (shares []Share) {
	for i, p := range policies {
		loading := 0.05 + 0.3*math.Abs(math.Sin(float64(i)))
		shares = append(shares, Share{Name: p, Running: 0.5, Loading: loading, Idle: 0.5 - loading, Clairvoyant: p == "belady"})
	}
	return shares
}

func sampleWaits(models int) (waits []Wait) {
	for m := range models {
		for i, p := range policies {
			mean := (1 + float64(m)) * (2 + 9*math.Abs(math.Sin(float64(i*3+m))))
			waits = append(waits, Wait{Model: fmt.Sprintf("model-%d", m), Policy: p, Mean: mean, P99: mean * 4.2, Clairvoyant: p == "belady"})
		}
	}
	return waits
}

// sampleDevice serves models in turn, as many resident as fit.
func sampleDevice(name string, models, rounds int) (Device, float64) {
	d := Device{Name: name, Budget: 10.8e9}
	now := 0.0
	for r := range rounds {
		m := fmt.Sprintf([]string{"whisper", "videomae", "qwen3", "clip", "detector"}[r%5%models]+map[bool]string{true: "-%d", false: "%.0d"}[models > 5], r*7%models/5)
		load, serve := 5.0+float64(r%3), 20+30*math.Abs(math.Sin(float64(r)))
		d.Reserved = append(d.Reserved, Step{now, 4.5e9 + 1e9*float64(r%4)})
		d.Spans = append(d.Spans, Span{m, now, now + load, Loading})
		d.Spans = append(d.Spans, Span{m, now + load, now + load + serve + 30, Resident})
		for b := 0.0; b+4 < serve; b += 6 {
			d.Spans = append(d.Spans, Span{m, now + load + b, now + load + b + 4, Running})
		}
		d.Spans = append(d.Spans, Span{m, now + load + serve + 30, now + load + serve + 32, Evicting})
		d.Reserved = append(d.Reserved, Step{now + load + serve, 7.2e9 + 1e9*float64(r%4)})
		now += load + serve
	}
	return d, now
}
