package profile

import (
	"strings"
	"testing"
	"time"

	"github.com/vramsim/vramsim/scheduler"
)

// TestWrite: sections in their order, what was not measured left out, lines of
// a readable length. That it is read back equal is a test of sim/experiment.
func TestWrite(t *testing.T) {
	values := make([]scheduler.Time, 40)
	for i := range values {
		values[i] = scheduler.Time(1500+i) * scheduler.Millisecond
	}
	many, err := Empirical(values)
	if err != nil {
		t.Fatal(err)
	}
	p := &Profile{
		Machine:  &Machine{GPU: "Example GPU", CC: "9.0", Memory: 24 * scheduler.GB, SMMHz: [2]int{300, 1900}},
		Measured: &Measured{At: time.Date(2026, 1, 1, 1, 0, 0, 0, time.FixedZone("", 3600)), Executor: "worker"},
		Tiers:    Tiers{Disk: &Tier{Base: scheduler.Millisecond, PerGB: 20 * scheduler.Millisecond, N: 60, Residual: &Residual{-.01, .02}}},
		Models:   []Model{{Name: "a/b", Load: [scheduler.Tiers]Dist{many, {}}, Comment: []string{"n 40\x1b"}}, {Name: "null"}, {Name: "7: {"}},
		Energy:   &Energy{IdleW: 40, Unexplained: .02},
	}
	var b strings.Builder
	if err := p.Write(&b, "invented"); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, want := range []string{"# invented\nversion: 1\nmachine: {gpu: \"Example GPU\", cc: \"9.0\", memory: 24GB, sm_mhz: [300, 1900]}\nmeasured: {at: 2026-01-01T00:00:00Z, executor: worker}\n",
		"tiers:\n  disk: {base: 1ms, per_GB: 20ms, n: 60, residual: {p5: -1%, p95: 2%}}\nmodels:\n  # n 40\n  a/b:\n    load: {disk: {empirical: {values: [1.5s, 1.501s,",
		"\n  \"null\": {}\n  \"7: {\": {}\nenergy: {idle_W: 40, context_W: 0, load_J_per_GB: 0, unexplained: 2%}\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("written is\n%s\nwant\n%s", text, want)
		}
	}
	for line := range strings.Lines(text) {
		if len(line) > lineWidth+1 || strings.ContainsRune(line, 0x1b) {
			t.Errorf("the line %q", line)
		}
	}
	if p.Model("a/b") == nil || p.Model("x") != nil {
		t.Error("models are not found by name")
	}
}

func TestDists(t *testing.T) {
	lognormal, err := Lognormal(2*scheduler.Second, 3*scheduler.Second)
	if err != nil || lognormal.String() != "{lognormal: {p50: 2s, p95: 3s}}" || lognormal.Quantile(.5) != 2e9 {
		t.Errorf("%v, %v", lognormal, err)
	}
	mixture, err := Mixture([]LognormalPart{{.3000004, 2e9, 3e9}, {.6999996, 2e9, 2e9}})
	if err != nil || mixture.String() != "{mixture: [{weight: 0.3, lognormal: {p50: 2s, p95: 3s}}, {weight: 0.7, lognormal: {p50: 2s, p95: 2s}}]}" {
		t.Errorf("%v, %v", mixture, err)
	}
	for name, err := range map[string]error{"p95 below p50": second(Lognormal(3, 2)), "no values": second(Empirical(nil)), "no parts": second(Mixture(nil)), "a bad part": second(Mixture([]LognormalPart{{1, 0, 0}}))} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if (Dist{}).Given() || !Constant(0).Given() || Constant(5).String() != "5ns" {
		t.Error("the zero Dist stands for none, a constant of 0 does not")
	}
}

func second(_ Dist, err error) error { return err }
