package nvmltest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vramsim/vramsim/nvml"
	"github.com/vramsim/vramsim/nvml/nvmltest"
	"github.com/vramsim/vramsim/scheduler"
)

var (
	_ nvml.Telemetry = (*nvmltest.Card)(nil)
	_ nvml.Probe     = (*nvmltest.Probe)(nil)
)

// TestEnergyCounter: it steps, and follows a power that changes.
func TestEnergyCounter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := nvmltest.Healthy(0)
		s.Energy, s.EnergyStep, s.Sample.PowerMilliwatts = 1000, 100*time.Millisecond, 50_000
		c := nvmltest.NewCard(s)
		at := func(after time.Duration, want uint64) {
			t.Helper()
			time.Sleep(after)
			if got, err := c.Energy(); err != nil || got != want {
				t.Errorf("%d mJ, want %d (%v)", got, want, err)
			}
		}
		at(99*time.Millisecond, 1000)
		at(time.Millisecond, 6000)    // 100 ms of 50 W
		at(50*time.Millisecond, 6000) // 150 ms
		c.Set(func(s *nvmltest.State) { s.Sample.PowerMilliwatts = 100_000 })
		at(0, 6000)
		at(50*time.Millisecond, 13500) // 50 ms of 50 W, 50 ms of 100 W
		at(time.Second, 113500)
		c.Set(func(s *nvmltest.State) { s.Energy = 0 }) // the driver was loaded anew
		at(0, 0)
		at(100*time.Millisecond, 10000)
	})
}

// TestFaults: in order, each once; a lost card tells it again and again.
func TestFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := nvmltest.NewCard(nvmltest.Healthy(0))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		time.AfterFunc(time.Second, func() {
			c.Fault(nvml.Fault{Xid: 31})
			c.Fault(nvml.Fault{Xid: 13})
		})
		begin := time.Now()
		for _, xid := range []uint64{31, 13} {
			if f, err := c.Wait(t.Context()); err != nil || f.Xid != xid || time.Since(begin) != time.Second {
				t.Errorf("%+v, %v, after %v", f, err, time.Since(begin))
			}
		}
		time.AfterFunc(time.Second, c.Lose)
		for range 2 {
			if f, err := c.Wait(t.Context()); err != nil || !f.Lost {
				t.Errorf("%+v, %v", f, err)
			}
		}
		if _, err := c.Memory(); !errors.Is(err, nvml.ErrLost) {
			t.Errorf("%v", err)
		}
	})
}

// TestProbe: what is listed can be opened, and what is open is counted.
func TestProbe(t *testing.T) {
	c := nvmltest.NewCard(nvmltest.Healthy(1))
	p := nvmltest.NewProbe(nvmltest.NewCard(nvmltest.Healthy(0)), c)
	list, err := p.List()
	if err != nil || len(list) != 2 {
		t.Fatalf("%v, %v", list, err)
	}
	tel, err := p.Open(list[1].UUID)
	if err != nil || c.Opened() != 1 {
		t.Fatal(err)
	}
	c.Use(scheduler.GB)
	if m, err := tel.Memory(); err != nil || m.Used != 100*scheduler.MiB+scheduler.GB || m.Free+m.Used+m.Reserved != m.Total {
		t.Errorf("%+v, %v", m, err)
	}
	c.Set(func(s *nvmltest.State) { s.ProcessesErr = nvml.ErrUnsupported })
	if _, err := tel.Processes(); !errors.Is(err, nvml.ErrUnsupported) || tel.Caps().Processes.Present || !tel.Caps().Memory.Present {
		t.Errorf("%v, %+v", err, tel.Caps())
	}
	waited := make(chan error)
	go func() {
		_, err := tel.Wait(t.Context())
		waited <- err
	}()
	if err := errors.Join(tel.Close(), tel.Close()); err != nil || c.Opened() != 0 {
		t.Errorf("%d open, %v", c.Opened(), err)
	}
	if err := <-waited; !errors.Is(err, nvml.ErrUnavailable) {
		t.Errorf("a Wait that Close ends: %v", err)
	}
	if _, err := p.Open("GPU-x"); !errors.Is(err, nvml.ErrNoDevice) {
		t.Errorf("%v", err)
	}
	if _, err := nvmltest.NewProbe().List(); !errors.Is(err, nvml.ErrUnavailable) {
		t.Errorf("%v", err)
	}
}
