package experiment

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/vramsim/vramsim/nvml/profile"
	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/scheduler"
)

// drawProfile makes any profile.
func drawProfile(t *rapid.T) *profile.Profile {
	times := rapid.Custom(func(t *rapid.T) scheduler.Time {
		return scheduler.Time(rapid.SampledFrom([]int64{1, 999, 1000, 1_000_000, 1_500_000_000}).Draw(t, "unit")) * scheduler.Time(rapid.Int64Range(1, 5000).Draw(t, "n"))
	})
	sizes := rapid.Custom(func(t *rapid.T) scheduler.Bytes {
		return scheduler.Bytes(rapid.Int64Range(1, 1<<40).Draw(t, "bytes"))
	})
	name := rapid.StringMatching(`[ -~äß]{0,6}[a-z#:"\\]`)
	share := rapid.Custom(func(t *rapid.T) float64 {
		return float64(rapid.Int64Range(-99_9999, 99_9999).Draw(t, "millionths")) / 1e6
	})
	dist := func(label string) profile.Dist {
		var d profile.Dist
		var err error
		switch rapid.IntRange(0, 4).Draw(t, label) {
		case 0:
			return d
		case 1:
			return profile.Constant(times.Draw(t, "constant"))
		case 2:
			d, err = profile.Empirical(rapid.SliceOfN(times, 1, 101).Draw(t, "values"))
		case 3:
			p50 := times.Draw(t, "p50")
			d, err = profile.Lognormal(p50, p50*scheduler.Time(rapid.Int64Range(1, 20).Draw(t, "times")))
		case 4:
			p50 := times.Draw(t, "p50")
			d, err = profile.Mixture([]profile.LognormalPart{{Weight: 0.25, P50: p50, P95: 2 * p50}, {Weight: 0.75, P50: 3 * p50, P95: 3 * p50}})
		}
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	p := &profile.Profile{}
	if rapid.Bool().Draw(t, "machine") {
		p.Machine = &profile.Machine{GPU: name.Draw(t, "gpu"), UUIDHash: "9f2c41aa", CC: "9.0", Memory: sizes.Draw(t, "memory"), Driver: "580.1", CUDA: "13.0", Link: "gen4x16", SMMHz: [2]int{300, 1900}}
	}
	if rapid.Bool().Draw(t, "measured") {
		p.Measured = &profile.Measured{At: time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "at"), 0).UTC(), Commit: "0123456", Executor: name.Draw(t, "executor"), HostTier: "pinned", Status: "VALID", RawSHA256: "00ff"}
		p.Process = &profile.Process{Spawn: times.Draw(t, "spawn"), ContextMemory: sizes.Draw(t, "context")}
		p.Overlap = &profile.Overlap{Copy: 1.05, Compute: 1}
		p.Tiers.Disk = &profile.Tier{Base: times.Draw(t, "base"), PerGB: times.Draw(t, "slope"), N: 60, Residual: &profile.Residual{P5: share.Draw(t, "p5"), P95: share.Draw(t, "p95")}}
		p.Tiers.Pinned = &profile.Tier{Base: times.Draw(t, "base"), PerGB: times.Draw(t, "slope")}
		p.Energy = &profile.Energy{IdleW: 40.5, LoadJPerGB: 3.1, Unexplained: 0.02, ItemJ: map[string]profile.Estimate{name.Draw(t, "item"): {Value: 12, CI95: [2]float64{11, 13.25}}}}
	}
	seen := map[string]bool{}
	for range rapid.IntRange(0, 4).Draw(t, "models") {
		m := profile.Model{Name: name.Draw(t, "name")}
		if seen[m.Name] || strings.TrimSpace(m.Name) == "" {
			continue
		}
		seen[m.Name] = true
		m.Load = [scheduler.Tiers]profile.Dist{dist("disk"), dist("host")}
		if m.Unload = dist("idle"); m.Unload.Given() {
			m.UnloadBusy = dist("busy")
		}
		if rapid.Bool().Draw(t, "all") {
			m.FirstUse = times.Draw(t, "first")
			m.Memory = profile.Memory{Declared: sizes.Draw(t, "declared"), Weights: sizes.Draw(t, "weights"), RunPeak: map[int]scheduler.Bytes{1: 5, 8: 1e9}, Residue: 3}
			m.Batch = &profile.Batch{Max: 8, Memory: sizes.Draw(t, "batch"), Base: times.Draw(t, "base"), PerItem: times.Draw(t, "item"), Times: map[int]scheduler.Time{1: 5, 12: 1e9}}
		}
		p.Models = append(p.Models, m)
	}
	return p
}

// TestProfileRoundTrip: what is written is read back equal, and written equal again.
func TestProfileRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawProfile(t)
		var text, again bytes.Buffer
		if err := p.Write(&text, "a comment\nwith: {a line", "another"); err != nil {
			t.Fatal(err)
		}
		got, err := ReadProfile("p.yaml", text.Bytes())
		if err != nil {
			t.Fatalf("%v\n%s", err, text.Bytes())
		}
		if err := got.Write(&again, "a comment\nwith: {a line", "another"); err != nil || again.String() != text.String() {
			t.Fatalf("%v; written again it is\n%s\ninstead of\n%s", err, again.Bytes(), text.Bytes())
		}
		if !reflect.DeepEqual(got, p) {
			t.Fatalf("read back\n%+v\ninstead of\n%+v\n%s", got, p, text.Bytes())
		}
		if !IsProfile(text.Bytes()) || IsProfile([]byte(base)) {
			t.Fatal("a profile is taken for an experiment, or the reverse")
		}
	})
}

func TestProfileNotWritten(t *testing.T) {
	for _, p := range []*profile.Profile{
		{Models: []profile.Model{{Name: "a"}, {Name: "a"}}}, {Models: []profile.Model{{Name: "a\nb"}}}, {Models: []profile.Model{{Name: " "}}},
		{Models: []profile.Model{{Name: strings.Repeat("m", 257)}}}, {Energy: &profile.Energy{ItemJ: map[string]profile.Estimate{"": {}}}},
	} {
		var text bytes.Buffer
		if err := p.Write(&text); err == nil || text.Len() > 0 {
			t.Errorf("%+v is written as %s", p, text.Bytes())
		}
	}
}

// TestBadProfile: everything wrong is said at its place.
func TestBadProfile(t *testing.T) {
	const good = `version: 1
machine: {gpu: Example, memory: 24GB, limit: null, sm_mhz: [300, 1900]}
measured: {at: 2026-01-01T00:00:00Z, status: VALID, host_tier: pinned}
tiers:
  disk: {base: 1ms, per_GB: 20ms, n: 60, residual: {p5: -1%, p95: 2%}}
overlap: {copy: 1.05, compute: 1.02}
models:
  whisper:
    memory: {declared: 4.5GB, run_peak: {1: 3.4GB, 8: 4.2GB}}
    load: {disk: {empirical: {values: [1.2s, 1.3s]}}, host: {lognormal: {p50: 190ms, p95: 210ms}}}
    first_use: 450ms
    unload: {idle: 2ms, busy: 6ms}
    batch: {max: 8, base: 9ms, per_item: 40ms, times: {1: 49ms, 8: 329ms}}
energy: {idle_W: 40, item_J: {whisper: {value: 12, ci95: [11, 13]}}, unexplained: 2%}
`
	if _, err := ReadProfile("p.yaml", []byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, want string }{
		{good, "", "p.yaml:1:1: the file is empty"},
		{good, "[1]", "p.yaml:1:1: profile is a list; expected a profile"},
		{"version: 1", "version: 2", "p.yaml:1:10: profile.version is \"2\""},
		{"version: 1\n", "", "p.yaml:1:1: profile.version is missing"},
		{"overlap:", "overlp:", "p.yaml:6:1: unknown key \"overlp\" in profile; did you mean \"overlap\"?"},
		{"first_use: 450ms", "first_use: 450", "p.yaml:11:16: profile.models.whisper.first_use is \"450\" without a unit"},
		{"first_use: 450ms", "first_use: 450MB", "p.yaml:11:16: profile.models.whisper.first_use is \"450MB\"; expected a length of time"},
		{"first_use: 450ms", "first_us: 450ms", "p.yaml:11:5: unknown key \"first_us\" in profile.models.whisper; did you mean \"first_use\"?"},
		{"    first_use: 450ms", "    load: {disk: 1s}", "p.yaml:11:5: key \"load\" stands twice; the first is at line 10"},
		{"memory: 24GB", "memory: 24", "p.yaml:2:33: profile.machine.memory is \"24\" without a unit"},
		{"[300, 1900]", "[300]", "p.yaml:2:60: profile.machine.sm_mhz has 1 values; expected two clocks"},
		{"2026-01-01T00:00:00Z", "yesterday", "profile.measured.at is \"yesterday\"; expected a time"},
		{"status: VALID", "status: FINE", "profile.measured.status is \"FINE\"; expected one of VALID, INVALID, INCOMPLETE"},
		{"host_tier: pinned", "host_tier: pined", "did you mean \"pinned\"?"},
		{"p5: -1%", "p5: -1", "profile.tiers.disk.residual.p5 is \"-1\"; expected a share"},
		{"per_GB: 20ms, ", "", "profile.tiers.disk.per_GB is missing"},
		{"copy: 1.05", "copy: 0.5", "profile.overlap.copy is \"0.5\"; it must be a slowdown of at least 1"},
		{"{1: 3.4GB", "{0: 3.4GB", "profile.models.whisper.memory.run_peak has \"0\"; expected a batch size"},
		{"[1.2s, 1.3s]", "[]", "profile.models.whisper.load.disk.empirical.values is empty"},
		{"p95: 210ms", "p95: 110ms", "profile.models.whisper.load.host.lognormal.p95 is \"110ms\"; it must be at least p50"},
		{"idle: 2ms, ", "", "profile.models.whisper.unload.idle is missing"},
		{"{1: 49ms, 8", "{2: 49ms, 8", "profile.models.whisper.batch.times has no time for batches of 1"},
		{"max: 8,", "max: 0,", "profile.models.whisper.batch.max is \"0\"; it must be an integer from 1"},
		{"value: 12", "value: -12", "profile.energy.item_J.whisper.value is \"-12\""},
		{"[11, 13]", "[13, 11]", "profile.energy.item_J.whisper.ci95 begins above its end"},
		{"unexplained: 2%", "unexplained: two", "profile.energy.unexplained is \"two\"; expected a share"},
		{"load: {disk: {empirical: {values: [1.2s, 1.3s]}}, host: {lognormal: {p50: 190ms, p95: 210ms}}}", "load: {}", "profile.models.whisper.load is a mapping; expected load times by tier"},
	} {
		if strings.Count(good, c.old) != 1 {
			t.Fatalf("%q stands %d times", c.old, strings.Count(good, c.old))
		}
		_, err := ReadProfile("p.yaml", []byte(strings.Replace(good, c.old, c.new, 1)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s → %s: %v, want %s", c.old, c.new, err, c.want)
		}
	}
}

// withProfile reads base under a profile.
func withProfile(t *testing.T, text, profileText string) (*Experiment, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "p.yaml"), []byte("version: 1\n"+profileText), 0o666); err != nil {
		t.Fatal(err)
	}
	return Parse("x.yaml", dir, []byte(strings.Replace(text, "  gpus:\n", "  profile: p.yaml\n  gpus:\n", 1)), policies.Builtin(), Options{})
}

// TestProfileTakesEffect: what a profile states is what the world carries out,
// and what has no effect is told.
func TestProfileTakesEffect(t *testing.T) {
	e, err := withProfile(t, base, `measured: {status: INVALID, host_tier: pagecache}
tiers: {disk: {base: 1s, per_GB: 2s}, pinned: {base: 1s, per_GB: 2s}, pagecache: {base: 0s, per_GB: 1s}}
overlap: {copy: 1.05, compute: 1.02}
models:
  whisper: {memory: {weights: 3GB, residue: 1MB}, load: {disk: 7s}, first_use: 450ms, unload: {idle: 2ms, busy: {uniform: [5ms, 7ms]}}, batch: {memory: 50MB}}
  wisper: {load: {disk: 9s}}
energy: {idle_W: 40}
`)
	if err != nil {
		t.Fatal(err)
	}
	c := e.Cells[0]
	w := c.models[0]
	if w.core.Bytes != 3e9 || w.core.Load != [2]scheduler.Time{7e9, 8e8} || w.cost.FirstUse != 45e7 || w.core.Unload != 2e6 || w.cost.UnloadBusy.Mean() != 6e6 ||
		w.core.Batch.Memory != 5e7 || w.core.Batch.PerItem != 15e8 || w.core.Batch.Base != 3e8 {
		t.Errorf("%+v", w)
	}
	told := strings.Join(c.Warnings, "\n")
	for _, want := range []string{"measured in a run that is INVALID", "no use of its overlap, energy, memory.residue", `the experiment has no models "wisper"`, `it has no costs of the experiment's models "qwen3"`} {
		if !strings.Contains(told, want) {
			t.Errorf("the warnings are %s; want %s", told, want)
		}
	}
	sameRuns(t, e)
	if got := drive(t, c, 0, 0); got == drive(t, parse(t, base, Options{}).Cells[0], 0, 0) {
		t.Error("the profile changes nothing")
	}
	// The tiers' fits stand in for what is not stated: 1.5 GB, and the host
	// tier is what the profile says it was.
	e, err = withProfile(t, strings.Replace(base, ", load: 10s", "", 1), "measured: {host_tier: pagecache}\ntiers: {disk: {base: 1s, per_GB: 2s}, pinned: {base: 1s, per_GB: 2s}, pagecache: {base: 0s, per_GB: 1s}}\nmodels: {}\n")
	if err != nil {
		t.Fatal(err)
	}
	if got := e.Cells[0].models[1].core.Load; got != [2]scheduler.Time{4e9, 15e8} {
		t.Errorf("loads of an unknown model take %v", got)
	}
	if told := fmt.Sprint(e.Cells[0].Warnings); strings.Contains(told, "qwen3") || !strings.Contains(told, "whisper") {
		t.Errorf("the warnings are %s", told)
	}
}

// TestProfileErrors: a profile that cannot be right for the experiment is an
// error in the profile's line.
func TestProfileErrors(t *testing.T) {
	for profileText, want := range map[string]string{
		"models: {whisper: {memory: {weights: 40GB}}}\n":    `p.yaml:2:38: model "whisper" needs`,
		"models: {whisper: {first_use: 5}}\n":               `p.yaml:2:31: profile.models.whisper.first_use is "5" without a unit`,
		"models: {}\nmodel: {}\n":                           `p.yaml:3:1: unknown key "model" in profile`,
		"models: {whisper: {batch: {max: 8, times: {}}}}\n": `p.yaml:2:43: profile.models.whisper.batch.times`,
	} {
		if _, err := withProfile(t, base, profileText); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", profileText, err, want)
		}
	}
	oracle := strings.Replace(base, "  gpus:\n    - {name: gpu0, memory: 12GB, safety: 0.9}", "  estimates: {use: oracle}\n  gpus:\n    - {name: gpu0, memory: 12GB}\n    - {name: gpu1, memory: 12GB}", 1)
	const first = "models: {whisper: {first_use: 5s}}\n"
	if _, err := withProfile(t, oracle, first); err == nil || !strings.Contains(err.Error(), "x.yaml:5:14: hardware.estimates: an oracle knows load times by their number") {
		t.Errorf("%v", err)
	}
	if _, err := withProfile(t, strings.Replace(oracle, "    - {name: gpu1, memory: 12GB}\n", "", 1), first); err != nil {
		t.Error(err)
	}
}

// FuzzProfile: what is accepted would be written, and read back equal.
func FuzzProfile(f *testing.F) {
	f.Add([]byte("version: 1\nmodels: {a: {load: {disk: 5s}, unload: 2ms, memory: 3GB}}\n"))
	f.Add([]byte("version: 1\nmeasured: {at: 2026-01-01T00:00:00+01:00, status: VALID}\nmodels: {}\nenergy: {unexplained: 2%}\n"))
	f.Add([]byte("version: 1\ntiers: {disk: {base: 1ms, per_GB: 20ms, residual: {p5: -1%, p95: 2%}}}\nmodels: {b: {unload: {idle: {exp: {mean: 1s}}}, batch: {times: {1: 1s}}}}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ReadProfile("p.yaml", data)
		if err != nil {
			return
		}
		var text bytes.Buffer
		if err := p.Write(&text); err != nil {
			t.Fatalf("%v\n%s", err, data)
		}
		again, err := ReadProfile("p.yaml", text.Bytes())
		if err != nil {
			t.Fatalf("%v\n%s", err, text.Bytes())
		}
		if a, b := fmt.Sprintf("%+v", p.Models), fmt.Sprintf("%+v", again.Models); a != b && !strings.Contains(a, "0x") {
			t.Fatalf("%s\n%s\n%s", a, b, text.Bytes())
		}
		var twice bytes.Buffer
		if err := again.Write(&twice); err != nil || twice.String() != text.String() {
			t.Fatalf("%v\n%s\n%s", err, text.Bytes(), twice.Bytes())
		}
	})
}
