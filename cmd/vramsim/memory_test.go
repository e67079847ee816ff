package main

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// TestPeakMemory: memory follows what is in flight and, where quantiles are
// exact, two times of each item. VRAMSIM_LONG runs the ten million items that
// the bounds are stated for; less is held to the same bound for less.
func TestPeakMemory(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("the system does not tell the peak of a process's memory: ", err)
	}
	items := amount(10_000_000, 500_000)
	for quantiles, most := range map[string]int{"exact": 100 + 200*items/10_000_000, "sketch": 100} {
		t.Run(quantiles, func(t *testing.T) {
			peak := filepath.Join(t.TempDir(), "peak")
			c := child(t, []string{peakFile + "=" + peak}, "run", "testdata/w1-generated.yaml", "-q", "-o", t.TempDir(), "--format", "json",
				"--set", "workload.items="+strconv.Itoa(items), "--set", "workload.arrivals.poisson.rate=0.2/s", "--set", "output.quantiles="+quantiles)
			if out, err := c.Output(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			text, err := os.ReadFile(peak)
			if err != nil {
				t.Fatal(err)
			}
			kb, err := strconv.Atoi(string(text))
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d items: %d MB", items, kb/1000)
			if kb/1000 > most {
				t.Errorf("a peak of %d MB, more than %d", kb/1000, most)
			}
		})
	}
}
