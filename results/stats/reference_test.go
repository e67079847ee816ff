package stats

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

const tolerance = 1e-9

type vector struct {
	ID     string
	Input  json.RawMessage
	Values json.RawMessage
}

// reference reads the published vectors, which live beside the repository.
func reference(t *testing.T) map[string]vector {
	t.Helper()
	path := filepath.Join("..", "..", "..", "shared", "reference", "statistics.json")
	data, err := os.ReadFile(path)
	if err != nil {
		if os.Getenv("VRAMSIM_TRACES_REQUIRED") == "1" {
			t.Fatal(err)
		}
		t.Skipf("no reference vectors: %v", err)
	}
	var file struct{ Vectors []vector }
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	vectors := map[string]vector{}
	for _, v := range file.Vectors {
		vectors[v.ID] = v
	}
	return vectors
}

func decode[T any](t *testing.T, raw json.RawMessage) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestReference(t *testing.T) {
	checks := map[string]func(*testing.T, vector){
		"t-quantiles":            checkQuantiles,
		"quantile-order-stat-ci": checkOrders,
		"holm":                   checkHolm,
		"mann-whitney-min-p":     checkU,
		"mser5":                  checkMSER5,
		"batch-means":            checkBatches,
		"paired-vs-welch":        checkPaired,
	}
	for id, v := range reference(t) {
		check := checks[id]
		if check == nil {
			t.Errorf("nothing checks %s", id)
			continue
		}
		t.Run(id, func(t *testing.T) { check(t, v) })
		delete(checks, id)
	}
	for id := range checks {
		t.Errorf("no vector %s", id)
	}
}

func checkQuantiles(t *testing.T, v vector) {
	for df, want := range decode[map[string]float64](t, v.Values) {
		n, _ := strconv.ParseFloat(df, 64)
		near(t, "t of "+df, TQuantile(0.975, n), want, tolerance)
	}
}

func checkOrders(t *testing.T, v vector) {
	type orders struct {
		Lower    int      `json:"lower_order"`
		Upper    int      `json:"upper_order"`
		Coverage *float64 `json:"coverage"`
	}
	for key, want := range decode[map[string]orders](t, v.Values) {
		var n int
		var p, conf float64
		if _, err := fmt.Sscanf(key, "n=%d,p=%g,conf=%g", &n, &p, &conf); err != nil {
			t.Fatal(err)
		}
		lower, upper, coverage := QuantileOrders(n, p, conf)
		if lower != want.Lower || upper != want.Upper {
			t.Errorf("%s: [%d, %d], want [%d, %d]", key, lower, upper, want.Lower, want.Upper)
		}
		if want.Coverage != nil {
			near(t, key, coverage, *want.Coverage, tolerance)
		} else if coverage != 0 {
			t.Errorf("%s: coverage %g of an unbounded interval", key, coverage)
		}
	}
}

func checkHolm(t *testing.T, v vector) {
	got := Holm(decode[[]float64](t, v.Input))
	for i, want := range decode[[]float64](t, v.Values) {
		near(t, fmt.Sprint("Holm ", i), got[i], want, tolerance)
	}
}

func checkU(t *testing.T, v vector) {
	for key, want := range decode[map[string]float64](t, v.Values) {
		n, _ := strconv.Atoi(key)
		var a, b []float64
		for i := range n {
			a, b = append(a, float64(i)), append(b, float64(n+i))
		}
		_, p := MannWhitney(a, b)
		near(t, "U of "+key, p, want, tolerance)
	}
}

func mserSeries() map[string][]float64 {
	s := lcg(42)
	decaying, trend, step := make([]float64, 400), make([]float64, 400), make([]float64, 100)
	for i := range decaying {
		decaying[i] = float64(100 + int(1000*math.Pow(0.93, float64(i))) + int(s.next()%21) - 10)
		trend[i] = float64(i)
	}
	for i := range 300 {
		step = append(step, float64(50+7*i%11))
	}
	return map[string][]float64{"decaying_bias": decaying, "stationary": stationary(),
		"linear_trend_never_stationary": trend, "empty_start_step": step}
}

func checkMSER5(t *testing.T, v vector) {
	series := mserSeries()
	type verdict struct {
		Batches    int     `json:"batches"`
		Delete     int     `json:"d_batches"`
		Obs        int     `json:"d_obs"`
		MSER       float64 `json:"mser"`
		Mean       float64 `json:"truncated_mean"`
		AtBoundary bool    `json:"at_boundary"`
	}
	for name, want := range decode[map[string]verdict](t, v.Values) {
		got, _ := MSER5(series[name])
		if got.Batches != want.Batches || got.Delete != want.Delete || got.Observations() != want.Obs || got.AtBoundary != want.AtBoundary {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
		near(t, name, got.Statistic, want.MSER, tolerance)
		near(t, name, got.Mean, want.Mean, tolerance)
	}
}

func checkBatches(t *testing.T, v vector) {
	want := decode[map[string]float64](t, v.Values)
	got, _ := BatchMeans(stationary(), 20, 0.95)
	near(t, "mean", got.Mean, want["mean"], tolerance)
	near(t, "half width", (got.Interval.High-got.Interval.Low)/2, want["half_width95"], tolerance)
	near(t, "lag 1", got.Lag1, want["lag1"], tolerance)
	near(t, "von Neumann", got.VonNeumann, want["von_neumann"], tolerance)
}

func checkPaired(t *testing.T, v vector) {
	in := decode[map[string][]float64](t, v.Input)
	want := decode[struct {
		Diff     float64    `json:"mean_diff"`
		PairedT  float64    `json:"paired_t"`
		PairedP  float64    `json:"paired_p"`
		PairedCI [2]float64 `json:"paired_ci95"`
		WelchT   float64    `json:"welch_t"`
		WelchDF  float64    `json:"welch_df"`
		WelchP   float64    `json:"welch_p"`
	}](t, v.Values)
	paired, _ := PairedT(in["A"], in["B"], 0.95)
	welch, _ := Welch(in["A"], in["B"], 0.95)
	near(t, "diff", paired.Diff, want.Diff, tolerance)
	near(t, "paired t", paired.T, want.PairedT, tolerance)
	near(t, "paired p", paired.P, want.PairedP, tolerance)
	near(t, "paired low", paired.Interval.Low, want.PairedCI[0], tolerance)
	near(t, "paired high", paired.Interval.High, want.PairedCI[1], tolerance)
	near(t, "welch t", welch.T, want.WelchT, tolerance)
	near(t, "welch df", welch.DF, want.WelchDF, tolerance)
	near(t, "welch p", welch.P, want.WelchP, tolerance)
}
