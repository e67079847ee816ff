package summary

import (
	"errors"
	"strings"
	"testing"
)

func TestThresholds(t *testing.T) {
	in := input()
	for _, c := range []struct {
		selector, condition string
		want                string // policies that pass, policies that fail
	}{
		{"item_latency_seconds", "mean < 12.126", "seed faster oracle|slower"},
		{"item_latency_seconds{policy=slower}", "mean >= 14.125", "slower|"},
		{"model_switches{ policy = seed , model = whisper }", "value<=41", "|seed"},
		{"model_switches{tenant=acme}", "value == 41.25", "seed faster slower oracle|"},
		{"model_switches{policy=seed}", "value <= 41.25", "seed|"},
		{"model_switches{policy=seed}", "value >= 41.25", "seed|"},
		{"model_switches{policy=seed}", "value < 41.25", "|seed"},
		{"model_switches{policy=seed}", "value > 41.25", "|seed"},
		{"model_switches{policy=seed}", "value != 41.25", "|seed"},
		{"model_switches{model=absent}", "value != 7", "|seed faster slower oracle"},
		{"item_latency_seconds", "n > 1e2", "|seed faster slower oracle"},
	} {
		threshold, err := ParseThreshold(c.selector, c.condition)
		if err != nil {
			t.Errorf("%s: %s: %v", c.selector, c.condition, err)
			continue
		}
		in.Thresholds = []Threshold{threshold}
		var pass, fail []string
		for _, o := range Build(in).Thresholds {
			if o.Cell != "aaaa" || o.Expr != c.selector+": "+c.condition {
				t.Errorf("outcome %+v", o)
			}
			if o.OK {
				pass = append(pass, o.Policy)
			} else {
				fail = append(fail, o.Policy)
			}
		}
		if got := strings.Join(pass, " ") + "|" + strings.Join(fail, " "); got != c.want {
			t.Errorf("%s: %s: %s, want %s", c.selector, c.condition, got, c.want)
		}
	}
}

func TestThresholdErrors(t *testing.T) {
	for _, c := range []struct {
		selector, condition string
		what, nearest       string
		inCondition         bool
	}{
		{"item_latancy_seconds", "p99 < 60", "unknown metric", "item_latency_seconds", false},
		{"model_switch", "value < 60", "unknown metric", "model_switches", false},
		{"xyzzy", "value < 60", "unknown metric", "", false},
		{"model_switches{polcy=a}", "value < 60", "unknown filter", "policy", false},
		{"model_switches{policy=a", "value < 60", "must end with a }", "", false},
		{"model_switches{policy=a}x", "value < 60", "must end with a }", "", false},
		{"model_switches{policy}", "value < 60", "not of the form", "", false},
		{"model_switches{policy=a,policy=b}", "value < 60", "given twice", "", false},
		{"model_switches{model=a,tenant=b}", "value < 60", "do not combine", "", false},
		{"model_switches", "mean < 60", "no statistic", "", true},
		{"item_latency_seconds", "p98 < 60", "no statistic", "p90", true},
		{"item_latency_seconds", "p99 =< 60", "unknown comparison", "", true},
		{"item_latency_seconds", "p99 < 60s", "is not a number", "", true},
		{"item_latency_seconds", "p99 < NaN", "is not a number", "", true},
		{"item_latency_seconds", "p99 < 0x10", "is not a number", "", true},
		{"item_latency_seconds", "", "is no condition", "", true},
	} {
		_, err := ParseThreshold(c.selector, c.condition)
		var e *ThresholdError
		if !errors.As(err, &e) {
			t.Errorf("%s: %s: %v", c.selector, c.condition, err)
			continue
		}
		if !strings.Contains(e.Error(), c.what) || e.Nearest != c.nearest || e.InCondition != c.inCondition || e.Offset > len(e.Text) {
			t.Errorf("%s: %s: %+v", c.selector, c.condition, e)
		}
	}
}

func TestThresholdNames(t *testing.T) {
	threshold := must(ParseThreshold(`model_switches{policy="max-wait-30s",model=whisper}`, "value < 400"))
	if err := threshold.Check([]string{"max-wait-30s"}, []string{"whisper"}, nil); err != nil {
		t.Error(err)
	}
	err := threshold.Check([]string{"max-wait-60s"}, []string{"whisper"}, nil)
	var e *ThresholdError
	if !errors.As(err, &e) || e.Nearest != "max-wait-60s" {
		t.Errorf("an unknown policy: %v", err)
	}
}
