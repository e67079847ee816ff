package doctor_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vramsim/vramsim/nvml"
	"github.com/vramsim/vramsim/nvml/doctor"
	"github.com/vramsim/vramsim/nvml/nvmltest"
	"github.com/vramsim/vramsim/scheduler"
)

const me = 100

// examine runs the doctor on a card in that state.
func examine(t *testing.T, o doctor.Options, change func(*nvmltest.State)) *doctor.Report {
	t.Helper()
	s := nvmltest.Healthy(0)
	change(&s)
	card := nvmltest.NewCard(s)
	if o.Probe == nil {
		o.Probe = nvmltest.NewProbe(card)
	}
	o.Own = []int{me}
	r, err := doctor.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if card.Opened() != 0 {
		t.Errorf("%d telemetries left open", card.Opened())
	}
	for _, f := range r.Findings {
		if f.Level != doctor.OK && f.Advice == "" || f.Found == "" || (f.Level == doctor.Fail) != (f.Cause != "") {
			t.Errorf("%+v", f)
		}
	}
	if (r.Status == doctor.StatusBusy || r.Status == doctor.StatusMissing) != (len(r.Reasons) > 0) {
		t.Errorf("%s because of %q", r.Status, r.Reasons)
	}
	return r
}

func finding(t *testing.T, r *doctor.Report, check string) doctor.Finding {
	t.Helper()
	for _, f := range r.Findings {
		if f.Check == check {
			return f
		}
	}
	t.Errorf("nothing was said of %q", check)
	return doctor.Finding{}
}

// TestStatus: what is wrong with a card, and what that means to a run that
// needs one, to one that would use one, and to one that does not.
func TestStatus(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*nvmltest.State)
		shared bool
		// what it is for a run that needs a card, that uses one if there is one, and that needs none
		needs, uses, none doctor.Status
		check, found      string
	}{
		{"healthy", func(*nvmltest.State) {}, false, "ok", "ok", "ok", "device", "Scripted GPU"},
		{"own process", func(s *nvmltest.State) { s.Processes = []nvml.Process{{PID: me, Bytes: scheduler.GB}} }, false, "ok", "ok", "ok", "processes", "nobody else"},
		{"foreign process", func(s *nvmltest.State) {
			s.Processes = []nvml.Process{{PID: me, Bytes: scheduler.GB}, {PID: 7, Bytes: scheduler.GiB}, {PID: 8, Bytes: nvml.Unknown}}
		}, false, "busy", "busy", "warn", "processes", "7 (1024 MiB), 8 (bytes not told)"},
		{"shared", func(s *nvmltest.State) { s.Processes = []nvml.Process{{PID: 7}} }, true, "warn", "warn", "warn", "processes", "used by 7"},
		{"MIG", func(s *nvmltest.State) { s.Info.MIG = true }, false, "busy", "busy", "warn", "MIG", "instances"},
		{"lost", func(s *nvmltest.State) { s.Err = nvml.ErrLost }, false, "missing", "missing", "warn", "memory", "lost"},
		{"no memory figures", func(s *nvmltest.State) { s.MemoryErr = nvml.ErrUnsupported }, false, "missing", "warn", "warn", "memory", "not supported"},
		{"sum", func(s *nvmltest.State) { s.Memory.Sum = "" }, false, "warn", "warn", "warn", "memory", "do not add up"},
		{"no process list", func(s *nvmltest.State) { s.ProcessesErr = nvml.ErrUnsupported }, false, "warn", "warn", "warn", "processes", "not supported"},
		{"hidden user", func(s *nvmltest.State) { s.Memory.Used = 2 * scheduler.GiB }, false, "warn", "warn", "warn", "baseline", "2048 MiB are used and no process"},
		{"throttled", func(s *nvmltest.State) { s.Sample.Reasons = nvml.ReasonThermal | nvml.ReasonIdle }, false, "warn", "warn", "warn", "state", "slowed down by thermal slowdown"},
		{"no energy", func(s *nvmltest.State) { s.EnergyErr = nvml.ErrUnsupported }, false, "warn", "warn", "warn", "call energy", "not supported"},
		{"no faults", func(s *nvmltest.State) { s.WaitErr = nvml.ErrUnsupported }, false, "warn", "warn", "warn", "call faults", "not supported"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for card, want := range map[doctor.Requirement]doctor.Status{doctor.NeedsCard: c.needs, doctor.AnyCard: c.uses, doctor.NoCard: c.none, "": c.none} {
					r := examine(t, doctor.Options{Needs: doctor.Needs{Card: card, Shared: c.shared}}, c.change)
					if r.Status != want {
						t.Errorf("card %q: %s, want %s: %q", card, r.Status, want, r.Reasons)
					}
					if f := finding(t, r, c.check); !strings.Contains(f.Found, c.found) {
						t.Errorf("%+v", f)
					}
				}
			})
		})
	}
}

// TestNoCard: no driver is missing only where one is needed.
func TestNoCard(t *testing.T) {
	for card, want := range map[doctor.Requirement]doctor.Status{doctor.NeedsCard: "missing", doctor.AnyCard: "warn", doctor.NoCard: "warn"} {
		r := examine(t, doctor.Options{Needs: doctor.Needs{Card: card}, Probe: nvmltest.Unavailable("no driver today")}, func(*nvmltest.State) {})
		if f := finding(t, r, "driver"); r.Status != want || !strings.Contains(f.Found, "no driver today") {
			t.Errorf("%s: %s, %+v", card, r.Status, f)
		}
	}
}

// TestDevices: the one that a run uses is examined, the others are not.
func TestDevices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := nvmltest.Healthy(1)
		busy.Processes = []nvml.Process{{PID: 7}}
		probe := nvmltest.NewProbe(nvmltest.NewCard(nvmltest.Healthy(0)), nvmltest.NewCard(busy))
		first := nvmltest.Healthy(0).Info.UUID
		for _, c := range []struct {
			devices  []string
			want     doctor.Status
			examined int
		}{
			{nil, "busy", 2}, {[]string{busy.Info.UUID}, "busy", 1}, {[]string{first}, "ok", 1}, {[]string{"GPU-none"}, "missing", 0},
			{[]string{first, "GPU-none"}, "missing", 1}, {[]string{busy.Info.UUID, first}, "busy", 2},
		} {
			r := examine(t, doctor.Options{Probe: probe, Needs: doctor.Needs{Card: doctor.NeedsCard, Devices: c.devices}}, func(*nvmltest.State) {})
			if r.Status != c.want || len(r.Devices) != c.examined {
				t.Errorf("%q: %s, %d devices", c.devices, r.Status, len(r.Devices))
			}
		}
	})
}

// TestMeasure: the energy counter's step is found, what stands still has none.
func TestMeasure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := nvmltest.Healthy(0)
		s.EnergyStep = 50 * time.Millisecond
		c := doctor.Measure(t.Context(), nvmltest.NewCard(s), 400*time.Millisecond)
		if c.Energy.Period != 50*time.Millisecond || c.Power.Period != 0 || !c.Memory.Present {
			t.Errorf("%+v", c)
		}
		s.EnergyStep = 200 * time.Millisecond
		if c := doctor.Measure(t.Context(), nvmltest.NewCard(s), 400*time.Millisecond); c.Energy.Period != 0 {
			t.Errorf("a period of two changes: %v", c.Energy.Period)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		begin := time.Now()
		if doctor.Measure(ctx, nvmltest.NewCard(s), time.Hour); time.Since(begin) != 0 {
			t.Errorf("went on for %v", time.Since(begin))
		}
	})
}

// slow is a card whose calls take their time.
type slow struct{ *nvmltest.Card }

func (s slow) Processes() ([]nvml.Process, error) {
	time.Sleep(4 * time.Millisecond)
	return s.Card.Processes()
}

// TestCost: what a call takes is what it costs.
func TestCost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := doctor.Measure(t.Context(), slow{nvmltest.NewCard(nvmltest.Healthy(0))}, 0)
		if c.Processes.Cost != 4*time.Millisecond || c.Memory.Cost != 0 {
			t.Errorf("%+v", c)
		}
	})
}

// rig is an executor's part, on a scripted card.
func rig(card *nvmltest.Card, pid int, loaded nvml.Link, fails error) doctor.Rig {
	return doctor.Rig{
		Context: func(_ context.Context, _ nvml.DeviceInfo, during func(int)) error {
			card.Set(func(s *nvmltest.State) {
				s.Processes = append(s.Processes, nvml.Process{PID: pid, Bytes: 500 * scheduler.MiB})
			})
			card.Use(500 * scheduler.MiB)
			during(me)
			card.Use(-500 * scheduler.MiB)
			card.Set(func(s *nvmltest.State) { s.Processes = nil })
			return fails
		},
		Copy: func(_ context.Context, _ nvml.DeviceInfo, during func()) error {
			card.Set(func(s *nvmltest.State) { s.Sample.Link = loaded })
			during()
			return fails
		},
	}
}

// TestRig: a context shows what it takes and under which PID, a copy how fast
// the link is.
func TestRig(t *testing.T) {
	for _, c := range []struct {
		name            string
		pid             int
		link            nvml.Link
		fails           error
		status          doctor.Status
		own, linkFound  string
		context, failed string
	}{
		{"healthy", me, nvml.Link{Generation: 4, Width: 16}, nil, "ok", "listed as 100 (500 MiB)", "under load gen4 x16", "takes 500 MiB", ""},
		{"host PIDs", 31337, nvml.Link{Generation: 4, Width: 16}, nil, "warn", "100 is not listed", "gen4 x16", "takes 500 MiB", ""},
		{"slow link", me, nvml.Link{Generation: 4, Width: 8}, nil, "warn", "listed", "under load gen4 x8, at most gen4 x16", "takes", ""},
		{"no context", me, nvml.Link{}, errors.New("no JIT"), "missing", "", "cannot be looked at under load: no JIT", "no JIT", "context: no JIT"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				card := nvmltest.NewCard(nvmltest.Healthy(0))
				r := examine(t, doctor.Options{Probe: nvmltest.NewProbe(card), Needs: doctor.Needs{Card: doctor.NeedsCard}, Rig: rig(card, c.pid, c.link, c.fails)},
					func(*nvmltest.State) {})
				if r.Status != c.status || strings.Join(r.Reasons, ";") != c.failed {
					t.Errorf("%s, %q", r.Status, r.Reasons)
				}
				for check, want := range map[string]string{"own PID": c.own, "link": c.linkFound, "context": c.context} {
					if want == "" {
						continue
					}
					if f := finding(t, r, check); !strings.Contains(f.Found, want) {
						t.Errorf("%+v", f)
					}
				}
				if d := r.Devices[0]; c.fails == nil && (d.ContextBytes != 500*scheduler.MiB || *d.LinkUnderLoad != c.link) {
					t.Errorf("%+v", d)
				}
			})
		})
	}
}

// TestUndisturbed: a device that others use is left alone, unless it is shared.
func TestUndisturbed(t *testing.T) {
	for _, shared := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := nvmltest.Healthy(0)
			s.Processes = []nvml.Process{{PID: 7, Bytes: scheduler.GB}}
			card, used := nvmltest.NewCard(s), false
			examine(t, doctor.Options{Probe: nvmltest.NewProbe(card), Needs: doctor.Needs{Card: doctor.NeedsCard, Shared: shared}, Rig: doctor.Rig{
				Context: func(context.Context, nvml.DeviceInfo, func(int)) error { used = true; return nil },
				Copy:    func(context.Context, nvml.DeviceInfo, func()) error { used = true; return nil },
			}, Checks: []doctor.Check{func(_ context.Context, free []nvml.DeviceInfo) []doctor.Finding {
				if (len(free) > 0) != shared {
					t.Errorf("shared %v, free: %+v", shared, free)
				}
				return nil
			}}}, func(*nvmltest.State) {})
			if used != shared {
				t.Errorf("shared %v, used %v", shared, used)
			}
		})
	}
}

// TestChecks: an executor's own findings count like the others, and the page
// cache of the folder is tried.
func TestChecks(t *testing.T) {
	r := examine(t, doctor.Options{Window: time.Millisecond, Needs: doctor.Needs{Card: doctor.NeedsCard}, Folder: t.TempDir(), Checks: []doctor.Check{
		func(_ context.Context, free []nvml.DeviceInfo) []doctor.Finding {
			if len(free) != 1 || free[0] != nvmltest.Healthy(0).Info {
				t.Errorf("free: %+v", free)
			}
			return []doctor.Finding{{Check: "torch", Level: doctor.Fail, Cause: doctor.Missing, Found: "no module named torch", Advice: "install it"}}
		},
	}}, func(*nvmltest.State) {})
	if r.Status != doctor.StatusMissing || fmt.Sprint(r.Reasons) != "[torch: no module named torch]" {
		t.Errorf("%s %q", r.Status, r.Reasons)
	}
	finding(t, r, "page cache")
	r = examine(t, doctor.Options{Window: time.Millisecond, Folder: "/nonexistent"}, func(*nvmltest.State) {})
	if f := finding(t, r, "page cache"); f.Level != doctor.Warn {
		t.Errorf("%+v", f)
	}
}

// TestJSON: the form that the package documents, keys of every level, and no
// null lists.
func TestJSON(t *testing.T) {
	r := examine(t, doctor.Options{Window: time.Millisecond}, func(*nvmltest.State) {})
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"schema", "status", "reasons", "needs", "findings", "devices", "selftest"} {
		if got[key] == nil {
			t.Errorf("no %q in %s", key, data)
		}
	}
	device := got["devices"].([]any)[0].(map[string]any)
	for _, key := range []string{"info", "memory", "processes", "sample", "capabilities", "context_bytes"} {
		if device[key] == nil {
			t.Errorf("no %q in %v", key, device)
		}
	}
	if device["capabilities"].(map[string]any)["energy"].(map[string]any)["present"] != true || device["memory"].(map[string]any)["total_bytes"] != float64(24*scheduler.GiB) {
		t.Errorf("%v", device)
	}
}

// TestInterrupted: the context ends an examination.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := doctor.Run(ctx, doctor.Options{Probe: nvmltest.NewProbe(nvmltest.NewCard(nvmltest.Healthy(0)))}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestHangingDriver: a call that does not return is named within the patience of
// runs, as a failure unless no card is needed; what else can be examined is, and
// closing waits for nothing.
func TestHangingDriver(t *testing.T) {
	const patience = nvml.DefaultPatience
	for _, c := range []struct {
		name  string
		list  bool          // the probe hangs
		after time.Duration // else the first card does, from then on
		check string
		call  string // any of these, by |
		none  int    // how many findings of the first card there are
		took  time.Duration
	}{
		{"list", true, 0, "driver", "the list of devices", 0, patience},
		{"memory", false, 0, "answers", "the memory of Scripted GPU", 3, patience + doctor.DefaultWindow},
		{"window", false, 100 * time.Millisecond, "answers", "the energy of|a sample of|the link's bytes of", 7, 100*time.Millisecond + patience + 2*doctor.DefaultWindow},
	} {
		for card, want := range map[doctor.Requirement]doctor.Status{doctor.NeedsCard: "missing", doctor.AnyCard: "missing", doctor.NoCard: "warn"} {
			t.Run(fmt.Sprintf("%s, card %s", c.name, card), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					first, second := nvmltest.NewCard(nvmltest.Healthy(0)), nvmltest.NewCard(nvmltest.Healthy(1))
					inner := nvmltest.NewProbe(first, second)
					probe := nvml.BoundedProbe(inner, patience)
					release := func() {}
					if c.list {
						release = inner.Hang()
					} else {
						if c.after == 0 {
							release = first.Hang()
						} else {
							time.AfterFunc(c.after, func() { release = first.Hang() })
						}
					}
					defer func() { release() }()
					used := 0
					began := time.Now()
					r, err := doctor.Run(t.Context(), doctor.Options{Probe: probe, Needs: doctor.Needs{Card: card}, Checks: []doctor.Check{
						func(_ context.Context, free []nvml.DeviceInfo) []doctor.Finding { used = len(free); return nil }}})
					took := time.Since(began)
					if err != nil || r.Status != want || took < patience || took > c.took {
						t.Errorf("%v: %s after %v, want %s within %v", err, r.Status, took, want, c.took)
					}
					f := finding(t, r, c.check)
					named := slices.ContainsFunc(strings.Split(c.call, "|"), func(call string) bool {
						return strings.HasPrefix(f.Found, "the driver does not answer: its call for "+call)
					})
					if !named || !strings.HasSuffix(f.Found, "has not returned in 5s") || f.Advice == "" {
						t.Errorf("%+v", f)
					}
					of := map[string]int{}
					for _, f := range r.Findings {
						of[f.Device]++
					}
					if devices := len(r.Devices); of[first.Info().UUID] > c.none || !c.list && (devices != 2 || used != 1 || of[second.Info().UUID] < 10) {
						t.Errorf("%d devices examined, %d left to use, findings %v", devices, used, of)
					}
					began = time.Now()
					if err := probe.Close(); !errors.Is(err, nvml.ErrHung) || time.Since(began) != 0 || inner.Closed() {
						t.Errorf("closed after %v: %v", time.Since(began), err)
					}
				})
			})
		}
	}
}
