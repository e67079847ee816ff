package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/results/stats"
	"github.com/vramsim/vramsim/results/summary"
)

// The acceptance rule of the reference values.
const (
	confidence    = 0.999
	minReplicates = 20
	shortLimit    = 0.03 // of the half-width, relative to the reference
	longLimit     = 0.01
	bandLimit     = 0.05 // of approximations
)

// longEnv asks for the long version: a third of the half-width, for which it
// takes longScale times the items.
const (
	longEnv   = "VRAMSIM_LONG"
	longScale = 12 // nine and a margin
)

func long() bool { return os.Getenv(longEnv) != "" }

var (
	errOutside = errors.New("the reference is outside the interval")
	errWide    = errors.New("the interval is too wide to say anything")
)

// accept applies the rule to the figures of independent replicates. A limit of
// 0 asks for the exact value in all of them.
func accept(values []float64, reference, limit float64) error {
	if limit == 0 {
		for i, v := range values {
			if math.Round(v*1e9) != math.Round(reference*1e9) {
				return fmt.Errorf("%w: %.9f in run %d, want %.9f", errOutside, v, i, reference)
			}
		}
		return nil
	}
	if len(values) < minReplicates {
		return fmt.Errorf("%w: %d replicates, want %d", errWide, len(values), minReplicates)
	}
	interval, ok := stats.MeanInterval(values, confidence)
	half := (interval.High - interval.Low) / 2
	what := fmt.Sprintf("%.6g ± %.2g (%.2f %%), reference %.6g", interval.Low+half, half, 100*half/math.Abs(reference), reference)
	switch {
	case !ok || math.IsNaN(half):
		return fmt.Errorf("%w: %v", errWide, values)
	case !interval.Contains(reference):
		return fmt.Errorf("%w: %s", errOutside, what)
	case half > limit*math.Abs(reference):
		return fmt.Errorf("%w: %s", errWide, what)
	}
	return nil
}

// notAbove accepts values whose whole interval lies below a bound.
func notAbove(values []float64, bound, limit float64) error {
	return judged(values, limit, fmt.Sprintf("at most %.6g", bound), func(i stats.Interval) bool { return i.High <= bound })
}

// notBelow accepts values of which not the whole interval lies below a bound
// that can be reached.
func notBelow(values []float64, bound, limit float64) error {
	return judged(values, limit, fmt.Sprintf("at least %.6g", bound), func(i stats.Interval) bool { return i.High >= bound })
}

// inBand accepts a mean within the band of an approximation.
func inBand(values []float64, reference, limit float64) error {
	return judged(values, limit, fmt.Sprintf("within %g of %.6g", bandLimit, reference), func(i stats.Interval) bool {
		return math.Abs((i.Low+i.High)/2-reference) <= bandLimit*reference
	})
}

// judged applies the rule to something else than equality.
func judged(values []float64, limit float64, want string, right func(stats.Interval) bool) error {
	interval, ok := stats.MeanInterval(values, confidence)
	mean, half := (interval.Low+interval.High)/2, (interval.High-interval.Low)/2
	switch {
	case !ok || len(values) < minReplicates || math.IsNaN(half):
		return fmt.Errorf("%w: %v", errWide, values)
	case !right(interval):
		return fmt.Errorf("%w: %.6g ± %.2g, want %s", errOutside, mean, half, want)
	case half > limit*mean:
		return fmt.Errorf("%w: %.6g ± %.2g", errWide, mean, half)
	}
	return nil
}

// TestQueueing holds the command to the reference cases: each becomes
// experiment files, the command runs them, and every value that a run can
// show lies where the acceptance rule wants it.
func TestQueueing(t *testing.T) {
	ref := loadReference(t)
	for _, f := range queueFamilies() {
		c := ref.named(t, f.id)
		t.Run(f.id, func(t *testing.T) {
			for _, tr := range f.trials(c) {
				t.Run(tr.name, func(t *testing.T) { tr.check(t, c) })
			}
		})
	}
}

// check runs a trial and judges every figure that is read from it.
func (tr trial) check(t *testing.T, c *queueCase) {
	if tr.long && !long() {
		t.Skipf("only with %s=1", longEnv)
	}
	limit, scale := tr.bound()
	o := tr.run(t, scale)
	for _, f := range tr.figures {
		values := f.values(t, o)
		if err := f.judge(values, c.value(t, f.key), limit); err != nil {
			t.Errorf("%s: %v", f.key, err)
		} else if testing.Verbose() {
			t.Logf("%s: %s", f.key, shown(values, c.value(t, f.key)))
		}
	}
}

func shown(values []float64, reference float64) string {
	if len(values) < 2 {
		return fmt.Sprintf("%.9g, want %.9g", values, reference)
	}
	i, _ := stats.MeanInterval(values, confidence)
	half := (i.High - i.Low) / 2
	return fmt.Sprintf("%.6g ± %.2f %%, reference %.6g, off by %.1f of the half-width", i.Low+half, 100*half/reference, reference, (i.Low+half-reference)/half)
}

// TestQueueingCoversEveryFamily: a case of the reference, or a value of one,
// that is neither read from a run nor listed with its reason is missing here.
func TestQueueingCoversEveryFamily(t *testing.T) {
	ref := loadReference(t)
	beyond, families := inexpressible(), map[string]queueFamily{}
	for _, f := range queueFamilies() {
		families[f.id] = f
	}
	for i := range ref.Cases {
		c := &ref.Cases[i]
		f, covered := families[c.ID]
		reason, listed := beyond[c.ID]
		switch {
		case covered == listed:
			t.Errorf("%s must be either covered or listed with its reason; covered: %v, listed: %v", c.ID, covered, listed)
		case listed && len(reason) < 20:
			t.Errorf("%s is listed without a reason", c.ID)
		case covered:
			f.coversValues(t, c)
		}
		delete(families, c.ID)
		delete(beyond, c.ID)
	}
	for id := range families {
		t.Errorf("the reference has no case %s", id)
	}
	for id := range beyond {
		t.Errorf("the reference has no case %s, which is listed", id)
	}
}

// coversValues holds a family to all keys of its case.
func (f queueFamily) coversValues(t *testing.T, c *queueCase) {
	read := map[string]bool{}
	for _, tr := range f.trials(c) {
		for _, fig := range tr.figures {
			read[fig.key] = true
		}
	}
	for key := range c.flat {
		_, left := f.unread[key]
		if !left {
			group, _, _ := strings.Cut(key, "[")
			_, left = f.unread[group]
		}
		if read[key] == left {
			t.Errorf("%s: %s must be either read or listed with its reason; read: %v, listed: %v", c.ID, key, read[key], left)
		}
	}
	for key, reason := range f.unread {
		if len(reason) < 10 || !slices.ContainsFunc(c.keys(), func(k string) bool { return k == key || strings.HasPrefix(k, key+"[") }) {
			t.Errorf("%s: %s is listed, but there is no such value or no reason: %q", c.ID, key, reason)
		}
	}
}

// TestQueueingRejectsWrongModels plants one fault at a time: the rule that
// accepts the right experiment must find the reference outside the interval of
// the wrong one, or the checks above would prove nothing.
func TestQueueingRejectsWrongModels(t *testing.T) {
	ref, wronged := loadReference(t), map[string]bool{}
	for _, w := range wrongModels() {
		wronged[w.family] = true
		t.Run(w.family+"/"+w.what, func(t *testing.T) {
			if !w.always() && !long() {
				t.Skipf("only with %s=1", longEnv)
			}
			w.mustFail(t, ref.named(t, w.family))
		})
	}
	for _, f := range queueFamilies() {
		if !wronged[f.id] {
			t.Errorf("%s has no wrong model", f.id)
		}
	}
}

// TestUnstable: what has no steady state ends INVALID and shows no mean.
func TestUnstable(t *testing.T) {
	overloads := map[string]queueFile{
		"mm1 above capacity":            {models: []string{queueModel("m0", "1GB", "0s", exponential(1))}, workload: streams(1.1, 1)},
		"polling, one item per visit":   {models: []string{queueModel("m0", "10GB", "2s", exponential(1)), queueModel("m1", "10GB", "2s", exponential(1))}, workload: streams(0.6, 2), policies: "  - {use: polling, evict: single, visit: {limited: {items: 1}}, params: {fill: false}}\n"},
		"a load for every change":       {models: []string{queueModel("m0", "10GB", "5s", "max: 1, time: 1s"), queueModel("m1", "10GB", "5s", "max: 1, time: 1s")}, workload: streams(0.3, 2)},
		"batches that are never enough": {models: []string{queueModel("m0", "1GB", "0s", "max: 4, base: 1s, per_item: 0s")}, workload: streams(4.4, 1)},
	}
	for name, f := range overloads {
		t.Run(name, func(t *testing.T) {
			f.items, f.replicates = 4000, minReplicates
			s := f.summary(t, exitInvalid)
			p := s.Cells[0].Policies[0]
			if s.Status != summary.Invalid || p.Status != summary.Invalid || !strings.Contains(strings.Join(p.Reasons, ";"), "unstable") {
				t.Errorf("run %s, policy %s: %v", s.Status, p.Status, p.Reasons)
			}
			if m := p.Metrics["item_wait_seconds"].Stats["mean"].Value; m.Known() {
				t.Errorf("a steady-state mean of %v", m)
			}
		})
	}
}
