package charts

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// svg returns the chart as SVG after checking that it is well-formed.
func svg(t interface {
	Helper()
	Fatal(...any)
}, c *Chart) string {
	t.Helper()
	var out bytes.Buffer
	if err := c.Write(&out, SVG); err != nil {
		t.Fatal(err)
	}
	decoder := xml.NewDecoder(bytes.NewReader(out.Bytes()))
	for {
		_, err := decoder.Token()
		if err == io.EOF {
			return out.String()
		}
		if err != nil {
			t.Fatal(err, out.String())
		}
	}
}

func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("missing %q", p)
		}
	}
}

func samples() map[string]*Chart {
	device, end := sampleDevice("gpu0", 5, 24)
	crowded, _ := sampleDevice("gpu1", 40, 24)
	return map[string]*Chart{
		"switches":  Switches(head, sampleBars(), 0),
		"loads":     Loads(head, sampleBars(), 2),
		"latency":   Latencies(head, sampleBars(), 0),
		"ccdf":      CCDF(head, sampleCurves(300)),
		"breakdown": Breakdown(head, sampleShares()),
		"waits":     Waits(head, sampleWaits(5)),
		"residency": Residency(head, []Device{device, crowded}, 0, end),

		"load-times":   LoadTimes(head, sampleLoads(), 3.15e10, "PCIe gen 4 x16"),
		"vram":         Footprints(head, sampleFootprints()),
		"power":        Residency(head, []Device{measuredDevice(device, end)}, 0, end),
		"predicted":    Predicted(head, sampleLatencies(400)),
		"phase-errors": PhaseErrors(head, samplePhases()),
	}
}

func TestEveryChartInEveryFormat(t *testing.T) {
	charts := samples()
	for _, info := range slices.Concat(All(), Hardware(), Compared()) {
		c, ok := charts[info.Name]
		if !ok || c.Empty() {
			t.Errorf("no sample of %s", info.Name)
			continue
		}
		contains(t, svg(t, c), "<title>Model switches per policy</title>", "8GB", "font-family:'Liberation Sans',Arial")
		var pdf, raster bytes.Buffer
		if err := c.Write(&pdf, PDF); err != nil || !bytes.HasPrefix(pdf.Bytes(), []byte("%PDF-")) {
			t.Errorf("%s: PDF: %v", info.Name, err)
		}
		if err := c.Write(&raster, PNG); err != nil {
			t.Errorf("%s: PNG: %v", info.Name, err)
		}
		picture, err := png.Decode(&raster)
		if err != nil {
			t.Fatal(err)
		}
		margins(t, info.Name, picture)
	}
}

// margins checks that nothing is drawn over the edge of the picture.
func margins(t *testing.T, name string, picture image.Image) {
	t.Helper()
	b := picture.Bounds()
	inked := false
	for x := b.Min.X; x < b.Max.X; x++ {
		for y := b.Min.Y; y < b.Max.Y; y++ {
			c := color.NRGBAModel.Convert(picture.At(x, y)).(color.NRGBA)
			edge := x < 10 || y < 10 || x >= b.Max.X-10 || y >= b.Max.Y-10
			if dark := c.R < 250 || c.G < 250 || c.B < 250; dark && edge {
				t.Errorf("%s: drawn over the edge at %d,%d of %v", name, x, y, b)
				return
			} else if dark {
				inked = true
			}
		}
	}
	if !inked {
		t.Errorf("%s is blank", name)
	}
}

func TestSameChartSameBytes(t *testing.T) {
	first, second := samples(), samples()
	for name := range first {
		if svg(t, first[name]) != svg(t, second[name]) || svg(t, first[name]) != svg(t, first[name]) {
			t.Errorf("%s is drawn differently the second time", name)
		}
	}
}

func TestBarsAreSortedAndLabelled(t *testing.T) {
	text := svg(t, Switches(head, []Bar{{Name: "many", Value: 1234, Low: 1200, High: 1268}, {Name: "oracle", Value: 3, Low: 3, High: 3, Clairvoyant: true},
		{Name: "broken", Invalid: true, Value: math.NaN()}, {Name: "few", Value: 41.25, Low: 40, High: 42.5, Baseline: true}}, 2.5))
	order := []string{">oracle (clairvoyant)<", ">3<", ">few<", ">41.2 ± 1.2<", ">many<", ">1,234 ± 34<", ">broken<", ">INVALID<"}
	contains(t, text, ">bound (2.5)<", ">Bound: no policy that finishes everything can do better.<")
	for i, label := range order {
		at := strings.Index(text, label)
		if at < 0 || i > 0 && at < strings.Index(text, order[i-1]) {
			t.Errorf("%s is missing or out of order", label)
		}
	}
}

func TestNoData(t *testing.T) {
	nan := math.NaN()
	device := Device{Name: "gpu0", Spans: []Span{{"m", nan, 2, Running}, {"m", 3, 3, Running}}}
	for name, c := range map[string]*Chart{
		"switches: nothing":      Switches(head, nil, 0),
		"switches: NaN":          Switches(head, []Bar{{Name: "a", Value: nan}}, 0),
		"switches: only invalid": Switches(head, []Bar{{Name: "a", Invalid: true}}, 0),
		"ccdf: nothing":          CCDF(head, nil),
		"ccdf: zeros":            CCDF(head, []Curve{{Name: "a", Points: []Point{{0, 1}, {0, 0}, {nan, 1}, {math.Inf(1), 0.5}}}}),
		"breakdown: zeros":       Breakdown(head, []Share{{Name: "a"}}),
		"waits: nothing":         Waits(head, nil),
		"waits: zeros":           Waits(head, []Wait{{Model: "m", Policy: "p"}}),
		"residency: no devices":  Residency(head, nil, 0, 1),
		"residency: no time":     Residency(head, []Device{device}, 1, 1),
		"residency: no spans":    Residency(head, []Device{device}, 0, 10),
	} {
		if text := svg(t, c); !c.Empty() || !strings.Contains(text, ">no data<") {
			t.Errorf("%s has something to show", name)
		}
		if err := c.Write(io.Discard, PNG); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestZeroSwitchesAreData(t *testing.T) {
	contains(t, svg(t, Switches(head, []Bar{{Name: "a"}, {Name: "b"}}, 0)), ">a<", ">b<", ">0<")
}

func TestOnePoint(t *testing.T) {
	for _, x := range []float64{1, 0.37, 1e-9, 9e9, 1e15} {
		for _, y := range []float64{1, 0.5, 1e-12} {
			if c := CCDF(head, []Curve{{Name: "only", Points: []Point{{x, y}}}}); c.Empty() || !strings.Contains(svg(t, c), ">only<") {
				t.Errorf("one point at %g, %g", x, y)
			}
		}
	}
}

// No data, however odd, may panic or give NaN coordinates.
func TestAnyData(t *testing.T) {
	odd := rapid.OneOf(rapid.Float64(), rapid.Float64Range(0, 100), rapid.SampledFrom([]float64{0, 1, -1, math.NaN(), math.Inf(1), math.Inf(-1), 1e-300, math.MaxFloat64}))
	rapid.Check(t, func(t *rapid.T) {
		var bars []Bar
		var points []Point
		var shares []Share
		var waits []Wait
		var device Device
		for i := range rapid.IntRange(0, 5).Draw(t, "n") {
			name := rapid.String().Draw(t, "name")
			a, b, c := odd.Draw(t, "a"), odd.Draw(t, "b"), odd.Draw(t, "c")
			bars = append(bars, Bar{Name: name, Value: a, Low: b, High: c})
			points = append(points, Point{a, b})
			shares = append(shares, Share{Name: name, Running: a, Loading: b, Idle: c})
			waits = append(waits, Wait{Model: name, Policy: name, Mean: a, P99: b})
			device.Spans = append(device.Spans, Span{name, a, b, State(i % 4)})
			device.Reserved = append(device.Reserved, Step{a, b})
		}
		for _, c := range []*Chart{Switches(head, bars, 0), Latencies(head, bars, 0), CCDF(head, []Curve{{Name: "x", Points: points}}), Breakdown(head, shares),
			Waits(head, waits), Residency(head, []Device{device}, rapid.Float64Range(0, 10).Draw(t, "from"), rapid.Float64Range(0, 100).Draw(t, "to"))} {
			if text := svg(t, c); strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
				t.Fatalf("coordinates that are no numbers in %s", text)
			}
		}
	})
}

func TestManyPointsAreThinned(t *testing.T) {
	c := CCDF(head, []Curve{{Name: "huge", Points: sampleCurves(1_000_000)[0].Points}})
	text := svg(t, c)
	if len(text) > 1<<20 || len(c.Notes()) != 1 || !strings.Contains(c.Notes()[0], "of 1,000,000 points") {
		t.Errorf("%d bytes, notes %v", len(text), c.Notes())
	}
}

func TestManySpansAreCoarsened(t *testing.T) {
	var devices []Device
	for d := range 3 {
		device := Device{Name: fmt.Sprintf("gpu%d", d), Budget: 1e10}
		for i := range 100_000 {
			at := float64(i)
			device.Spans = append(device.Spans, Span{fmt.Sprintf("m%d", i%10), at, at + 0.4, Loading}, Span{fmt.Sprintf("m%d", i%10), at + 0.4, at + 1, Running})
			device.Reserved = append(device.Reserved, Step{at, float64(i%7) * 1e9})
		}
		devices = append(devices, device)
	}
	c := Residency(head, devices, 0, 100_000)
	text := svg(t, c)
	if len(text) > 5_000_000 || c.Empty() || len(c.Notes()) != 1 || !strings.Contains(c.Notes()[0], "600,000 stretches") {
		t.Errorf("%d bytes, notes %v", len(text), c.Notes())
	}
}

// Coarse bars must keep the share of time of each state, roughly.
func TestMajorityKeepsLongStates(t *testing.T) {
	var spans []Span
	for i := range 10_000 {
		spans = append(spans, Span{"m", float64(i), float64(i) + 1, []State{Resident, Running}[i/5_000]})
	}
	joined := majority(spans, 0, 10_000, 100)
	if len(joined) != 2 || joined[0].State != Resident || joined[1].State != Running || math.Abs(joined[0].To-5_000) > 100 || joined[1].To != 10_000 {
		t.Errorf("%+v", joined)
	}
}

func TestExtremesAreKept(t *testing.T) {
	var steps []Step
	for i := range 100_000 {
		steps = append(steps, Step{float64(i + 1), 5})
	}
	steps[77_777].Bytes, steps[12].Bytes = 9, 1
	kept := fewer(steps, 0, 100_001)
	least, most := math.Inf(1), 0.0
	for _, s := range kept[1:] {
		least, most = min(least, s.Bytes), max(most, s.Bytes)
	}
	if len(kept) > maxSteps+2 || least != 1 || most != 9 {
		t.Errorf("%d steps from %g to %g", len(kept), least, most)
	}
}

func TestSharedLanes(t *testing.T) {
	var device Device
	for i := range 30 {
		at := float64(i)
		device.Spans = append(device.Spans, Span{fmt.Sprint("m", i), at, at + 1, Loading}, Span{fmt.Sprint("m", i), at + 1, at + 2.5, Resident})
	}
	tr := newTrack(device, 0, 40, map[string]int{})
	if len(tr.lanes) != 3 || tr.hidden != 0 || tr.bars != 60 {
		t.Fatalf("%d lanes, %d hidden, %d bars", len(tr.lanes), tr.hidden, tr.bars)
	}
	for _, l := range tr.lanes {
		for i := 1; i < len(l.spans); i++ {
			if l.spans[i].From < l.spans[i-1].To {
				t.Errorf("bars overlap: %+v", l.spans[i-1:i+1])
			}
		}
	}
	device.Spans = nil
	for i := range 20 {
		device.Spans = append(device.Spans, Span{fmt.Sprint("m", i), 0, 40, Resident})
	}
	if c := Residency(head, []Device{device}, 0, 40); !strings.Contains(strings.Join(c.Notes(), ""), "4 stretches of models beyond 16") {
		t.Errorf("notes %v", c.Notes())
	}
}

func TestHostileNames(t *testing.T) {
	evil := "</text><script>alert(1)</script>\x1b[31m\x00\u202e\"'&" + strings.Repeat("long", 100)
	h := Head{Title: evil, Subtitle: evil}
	device := Device{Name: evil, Spans: []Span{{evil, 0, 5, Running}}}
	for _, c := range []*Chart{Switches(h, []Bar{{Name: evil, Value: 3}}, 0), CCDF(h, []Curve{{Name: evil, Points: []Point{{1, 1}, {2, 0.5}}}}),
		Breakdown(h, []Share{{Name: evil, Running: 1}}), Waits(h, []Wait{{evil, evil, 1, 2, false}}), Residency(h, []Device{device}, 0, 10)} {
		if text := svg(t, c); strings.Contains(text, "<script") || strings.ContainsAny(text, "\x1b\x00\u202e") || !strings.Contains(text, "&lt;script") {
			t.Errorf("raw text in the SVG:\n%.300s", text)
		}
	}
}

func TestFormatOf(t *testing.T) {
	for name, want := range map[string]Format{"a.svg": SVG, "b/c.PNG": PNG, "x.y.pdf": PDF} {
		if f, err := FormatOf(name); err != nil || f != want {
			t.Errorf("%s: %v %v", name, f, err)
		}
	}
	for _, name := range []string{"a", "a.gif", ""} {
		if _, err := FormatOf(name); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := nothing(head).Write(io.Discard, "gif"); !errors.Is(err, ErrFormat) {
		t.Errorf("writing a gif: %v", err)
	}
}

func TestTicks(t *testing.T) {
	for largest, want := range map[float64]string{457: "0 100 200 300 400 500", 7: "0 2 4 6 8", 0.3: "0.00 0.05 0.10 0.15 0.20 0.25 0.30", 12000: "0 2,000 4,000 6,000 8,000 10,000 12,000"} {
		_, ticks := linear(largest, 6)
		var labels []string
		for _, k := range ticks {
			labels = append(labels, k.label)
		}
		if got := strings.Join(labels, " "); got != want {
			t.Errorf("up to %g: %s", largest, got)
		}
	}
	for v, want := range map[float64]string{0.01: "10 ms", 1: "1 s", 1000: "1,000 s", 1e-6: "1 µs", 2e-9: "2 ns"} {
		if got := duration(v); got != want {
			t.Errorf("duration(%g) = %s", v, got)
		}
	}
}
