package doctor_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vramsim/vramsim/nvml"
	"github.com/vramsim/vramsim/nvml/doctor"
	"github.com/vramsim/vramsim/nvml/nvmltest"
	"github.com/vramsim/vramsim/scheduler"
)

// device is an executor that sleeps and moves the bytes of a scripted card.
type device struct {
	*scheduler.CallExecutor
	card   *nvmltest.Card
	plan   scheduler.Plan
	held   scheduler.Bytes
	faults map[string]bool
}

func newDevice(card *nvmltest.Card, faults map[string]bool) *device {
	d := &device{card: card, faults: faults}
	d.CallExecutor = scheduler.NewCallExecutor(d.call)
	return d
}

func (d *device) Open(ctx context.Context, p scheduler.Plan) (scheduler.Capabilities, error) {
	d.plan = p
	if d.faults["does not open"] {
		return scheduler.Capabilities{}, errors.New("no context")
	}
	d.take(300 * scheduler.MiB)
	return d.CallExecutor.Open(ctx, p)
}

func (d *device) take(b scheduler.Bytes) {
	d.held += b
	d.card.Use(b)
}

func (d *device) call(ctx context.Context, c scheduler.Command) error {
	m := d.plan.Models[c.Model]
	switch {
	case c.Op == scheduler.OpLoad && d.faults["breaks"]:
		return errors.New("no bytes")
	case c.Op == scheduler.OpLoad && !d.faults["loads nothing"]:
		d.card.Set(func(s *nvmltest.State) { s.Sample.Link.Generation = 4 })
		time.Sleep(10 * time.Millisecond)
		d.card.Set(func(s *nvmltest.State) { s.Sample.Link.Generation = 1 })
		d.take(m.Bytes)
	case c.Op == scheduler.OpEvict && !d.faults["evicts nothing"]:
		d.take(-m.Bytes)
	case c.Op == scheduler.OpRun:
		return d.run(ctx, &m, c.Estimate)
	}
	return nil
}

func (d *device) run(ctx context.Context, m *scheduler.Model, takes scheduler.Time) error {
	s, _ := d.card.Memory()
	switch {
	case m.Batch.Memory > s.Free && d.faults["crashes on oom"]:
		return &scheduler.CommandError{Code: scheduler.FailureLost, Text: "gone"}
	case m.Batch.Memory > s.Free && !d.faults["has no oom"]:
		return &scheduler.CommandError{Code: scheduler.FailureOOM, Text: "it does not fit"}
	case d.faults["deaf"]:
		ctx = context.WithoutCancel(ctx)
	case d.faults["hasty"]:
		return nil
	}
	select {
	case <-ctx.Done():
		if d.faults["proud"] {
			return nil
		}
		return ctx.Err()
	case <-time.After(min(time.Duration(takes), 30*time.Second)):
		return nil
	}
}

func (d *device) Close(ctx context.Context) error {
	err := d.CallExecutor.Close(ctx)
	if !d.faults["leaks"] {
		d.take(-d.held)
	}
	return err
}

// holder is another process, on the scripted card.
type holder struct {
	card   *nvmltest.Card
	faults map[string]bool
	held   scheduler.Bytes
}

func (h *holder) PID() int { return 4711 }

func (h *holder) Stop() error {
	h.card.Set(func(s *nvmltest.State) { s.Processes = nil })
	h.card.Use(-h.held)
	return nil
}

func (h *holder) Kill() error {
	if h.faults["zombie"] {
		return nil
	}
	time.AfterFunc(290*time.Millisecond, func() { h.Stop() })
	return nil
}

// selfTest runs it with faults planted and returns the report.
func selfTest(t *testing.T, faults ...string) (r *doctor.Report) {
	planted := map[string]bool{}
	for _, f := range faults {
		planted[f] = true
	}
	synctest.Test(t, func(t *testing.T) {
		card := nvmltest.NewCard(nvmltest.Healthy(0))
		test := doctor.SelfTest{Device: card.Info(), Telemetry: card, Executor: func(nvml.DeviceInfo) (scheduler.Executor, error) { return newDevice(card, planted), nil }}
		if !planted["no holder"] {
			test.Hold = func(context.Context, nvml.DeviceInfo) (doctor.Holder, error) {
				b := 256 * scheduler.MiB
				if planted["hides"] {
					b = 0
				}
				card.Use(b)
				if !planted["container"] {
					card.Set(func(s *nvmltest.State) { s.Processes = []nvml.Process{{PID: 4711, Bytes: b}} })
				}
				return &holder{card: card, faults: planted, held: b}, nil
			}
		}
		r = &doctor.Report{}
		test.Add(t.Context(), r)
		time.Sleep(time.Minute) // until what is deaf has ended, too
	})
	return r
}

// TestSelfTest: a device that does as it should passes, each fault is found by
// the steps it concerns, and the others do not fail for it.
func TestSelfTest(t *testing.T) {
	for _, c := range []struct {
		fault  string
		failed string // steps
		status doctor.Status
		found  string // by the first of them
	}{
		{"", "", "ok", ""},
		{"container", "", "ok", ""},
		{"no holder", "", "warn", ""},
		{"does not open", "baseline, oom, abort", "missing", "no context"},
		{"loads nothing", "baseline", "missing", "400 MiB used before a load of 256 MiB, 400 MiB after"},
		{"evicts nothing", "baseline", "missing", "after the eviction"},
		{"leaks", "baseline, oom, abort", "missing", "used after everything was closed"},
		{"has no oom", "oom", "missing", "did not run out of memory"},
		{"crashes on oom", "oom", "missing", "lost: gone"},
		{"deaf", "abort", "missing", "did not end"},
		{"hasty", "abort", "missing", "ended at once"},
		{"proud", "abort", "missing", "said that it had succeeded"},
		{"hides", "foreign child, kill -9", "missing", "another process took"},
		{"zombie", "kill -9", "busy", "used after the other process ended"},
	} {
		t.Run(c.fault, func(t *testing.T) {
			r := selfTest(t, c.fault)
			var failed []string
			found := ""
			for _, s := range r.SelfTest {
				if s.Level == doctor.Fail {
					if failed == nil {
						found = s.Found
					}
					failed = append(failed, s.Name)
				}
				if s.Level != doctor.OK && s.Advice == "" || s.Found == "" || s.Device == "" {
					t.Errorf("%+v", s)
				}
			}
			if got := strings.Join(failed, ", "); len(r.SelfTest) != 5 || got != c.failed || r.Status != c.status || !strings.Contains(found, c.found) {
				t.Errorf("%s; failed: %s; %s", r.Status, got, found)
			}
		})
	}
}

// TestSelfTestFigures: what a step measures is in what it found.
func TestSelfTestFigures(t *testing.T) {
	r := selfTest(t)
	for i, want := range []string{"all is back", "the next one works", "ends 0s after", "it is listed as 4711 (256 MiB)", "after 300ms"} {
		if !strings.Contains(r.SelfTest[i].Found, want) {
			t.Errorf("%+v", r.SelfTest[i])
		}
	}
	if s := selfTest(t, "container").SelfTest[3]; !strings.Contains(s.Found, "not listed") {
		t.Errorf("%+v", s)
	}
}

// TestOccupy: memory is held while the other process is to hold it, no longer.
func TestOccupy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		card, stop := nvmltest.NewCard(nvmltest.Healthy(0)), errors.New("stop")
		executor := func(nvml.DeviceInfo) (scheduler.Executor, error) { return newDevice(card, nil), nil }
		err := doctor.Occupy(t.Context(), executor, card.Info(), func() error {
			if m, err := card.Memory(); err != nil || m.Used != (100+300+256)*scheduler.MiB {
				t.Errorf("%+v, %v", m, err)
			}
			return stop
		})
		if m, _ := card.Memory(); !errors.Is(err, stop) || m != nvmltest.Healthy(0).Memory {
			t.Errorf("%v, %+v", err, m)
		}
	})
}

// TestSelfTestInterrupted: steps that were finished count, one that was
// interrupted does not.
func TestSelfTestInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond) // in the midst of abort
		defer cancel()
		card, r := nvmltest.NewCard(nvmltest.Healthy(0)), &doctor.Report{}
		test := doctor.SelfTest{Device: card.Info(), Telemetry: card, Executor: func(nvml.DeviceInfo) (scheduler.Executor, error) { return newDevice(card, nil), nil }}
		test.Add(ctx, r)
		if len(r.SelfTest) != 2 || r.Status != doctor.StatusOK {
			t.Errorf("%s, %+v", r.Status, r.SelfTest)
		}
	})
}

// TestNoSelfTest: without an executor there is nothing to test.
func TestNoSelfTest(t *testing.T) {
	r := &doctor.Report{}
	(&doctor.SelfTest{}).Add(t.Context(), r)
	if r.Status != doctor.StatusMissing || len(r.SelfTest) != 1 || r.SelfTest[0].Advice == "" {
		t.Errorf("%+v", r)
	}
}

// TestRigOf: an executor's own loads show what a context takes and how fast
// the link is.
func TestRigOf(t *testing.T) {
	for fault, want := range map[string]struct{ context, link string }{
		"":              {"takes 300 MiB", "under load gen4 x16"},
		"does not open": {"no context", "cannot be looked at under load: no context"},
		"breaks":        {"takes 300 MiB", "cannot be looked at under load: failed: no bytes"},
	} {
		t.Run(fault, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				card := nvmltest.NewCard(nvmltest.Healthy(0))
				rig := doctor.RigOf(func(nvml.DeviceInfo) (scheduler.Executor, error) {
					return newDevice(card, map[string]bool{fault: true}), nil
				}, 0)
				r := examine(t, doctor.Options{Probe: nvmltest.NewProbe(card), Needs: doctor.Needs{Card: doctor.NeedsCard}, Rig: rig}, func(*nvmltest.State) {})
				if f := finding(t, r, "context"); !strings.Contains(f.Found, want.context) {
					t.Errorf("%+v", f)
				}
				if f := finding(t, r, "link"); !strings.Contains(f.Found, want.link) {
					t.Errorf("%+v", f)
				}
				if m, err := card.Memory(); err != nil || m != nvmltest.Healthy(0).Memory {
					t.Errorf("left: %+v, %v", m, err)
				}
			})
		})
	}
}
