package httpx_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/vramsim/vramsim/nvml/httpx"
	"github.com/vramsim/vramsim/scheduler"
)

const mib = scheduler.Bytes(1 << 20)

// model is one of the scenarios' models.
func model(name string, size scheduler.Bytes) scheduler.Model {
	return scheduler.Model{Name: name, Bytes: size, Batch: scheduler.BatchCost{Max: 8, Memory: mib, Base: scheduler.Millisecond, PerItem: scheduler.Millisecond},
		Load: [scheduler.Tiers]scheduler.Time{scheduler.Millisecond, scheduler.Millisecond}}
}

// session drives an executor as a scenario.
type session struct {
	t    *testing.T
	e    *httpx.Executor
	plan scheduler.Plan
	seq  uint64
}

// open opens an executor for models, with the host tier if host says so.
func open(t *testing.T, cfg httpx.Config, host bool, models ...scheduler.Model) *session {
	t.Helper()
	s := &session{t: t, plan: scheduler.Plan{Name: "gpu0", Models: models, Slots: 2, Tiers: []scheduler.Tier{scheduler.TierDisk}}}
	if host {
		s.plan.Tiers, s.plan.HostMemory = append(s.plan.Tiers, scheduler.TierHost), scheduler.GB
	}
	var err error
	if s.e, err = httpx.New(cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := s.e.Open(bounded(t), s.plan); err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(s.close)
	return s
}

// bounded returns a context within which everything here has to happen.
func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func (s *session) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := s.e.Close(ctx); err != nil {
		s.t.Errorf("close: %v", err)
	}
}

// start begins a command.
func (s *session) start(c scheduler.Command) uint64 {
	s.t.Helper()
	s.seq++
	c.Seq, c.Estimate = s.seq, scheduler.Millisecond
	if err := s.e.Start(c); err != nil {
		s.t.Fatalf("start: %v", err)
	}
	return c.Seq
}

// outcome waits for the next one.
func (s *session) outcome() scheduler.Outcome {
	s.t.Helper()
	select {
	case o := <-s.e.Outcomes():
		return o
	case <-time.After(20 * time.Second):
		s.t.Fatal("no outcome")
		panic("unreachable")
	}
}

func (s *session) do(c scheduler.Command) scheduler.Outcome {
	s.t.Helper()
	seq := s.start(c)
	o := s.outcome()
	if o.Seq != seq {
		s.t.Fatalf("an outcome of %d where %d was waited for", o.Seq, seq)
	}
	return o
}

func (s *session) load(m scheduler.ModelID, tier scheduler.Tier) scheduler.Outcome {
	s.t.Helper()
	return s.do(scheduler.Command{Op: scheduler.OpLoad, Model: m, Tier: tier})
}

func (s *session) evict(m scheduler.ModelID) scheduler.Outcome {
	s.t.Helper()
	return s.do(scheduler.Command{Op: scheduler.OpEvict, Model: m})
}

func (s *session) run(m scheduler.ModelID, n int) scheduler.Outcome {
	s.t.Helper()
	return s.do(batch(m, n))
}

func batch(m scheduler.ModelID, n int) scheduler.Command {
	c := scheduler.Command{Op: scheduler.OpRun, Model: m}
	for i := range n {
		c.Items = append(c.Items, scheduler.CommandItem{ID: scheduler.ItemID(i), Work: scheduler.WorkUnit, Seed: uint64(i)})
	}
	return c
}

// fine fails the test if a command failed.
func (s *session) fine(o scheduler.Outcome) scheduler.Outcome {
	s.t.Helper()
	if o.Failure != nil {
		s.t.Fatalf("command %d failed: %v", o.Seq, o.Failure)
	}
	return o
}

// fails fails the test if a command did not fail so, with a text that says all
// of what.
func (s *session) fails(o scheduler.Outcome, code scheduler.Failure, what ...string) {
	s.t.Helper()
	if o.Failure == nil || o.Failure.Code != code {
		s.t.Fatalf("command %d: %v; it has to fail with %v", o.Seq, o.Failure, code)
	}
	for _, w := range what {
		if !strings.Contains(o.Failure.Text, w) {
			s.t.Errorf("it says %q and nothing of %q", o.Failure.Text, w)
		}
	}
}

// expect compares what was asked with a script, a request a line.
func expect(t *testing.T, f *fake, script string) {
	t.Helper()
	want := strings.Split(strings.TrimSpace(script), "\n")
	for i := range want {
		want[i] = strings.TrimSpace(want[i])
	}
	var got []string
	for _, r := range f.asked() {
		if len(got) == 0 || got[len(got)-1] != r { // an index may be asked again
			got = append(got, r)
		}
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("asked:\n%s\nwanted:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
