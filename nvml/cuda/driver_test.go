//go:build linux && cgo && nvml

package cuda

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/vramsim/vramsim/nvml"
	"github.com/vramsim/vramsim/nvml/internal/fakegpu"
	"github.com/vramsim/vramsim/scheduler"
)

// TestMissingSymbols: a driver that lacks any one function is refused at Open by
// the function's name; one without a library, too.
func TestMissingSymbols(t *testing.T) {
	missing := allowed
	if !long() {
		missing = []string{"cuInit", "cuMemAlloc_v2", "cuDeviceGetUuid_v2", "cuGetErrorName"}
	}
	for _, symbol := range missing {
		f := fakegpu.OpenCUDA(t, symbol)
		e := New(Config{Library: f.Path, Dir: t.TempDir()})
		_, err := e.Open(t.Context(), plan(scheduler.GiB, mib))
		if !errors.Is(err, nvml.ErrUnavailable) || !strings.Contains(err.Error(), "lacks "+symbol+";") {
			t.Errorf("%s: %v", symbol, err)
		}
		if err := e.Close(t.Context()); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	_, err := New(Config{Library: "/nowhere/libcuda.so.1", Dir: t.TempDir()}).Open(t.Context(), plan(scheduler.GiB, mib))
	if !errors.Is(err, nvml.ErrUnavailable) || !strings.Contains(err.Error(), "/nowhere/libcuda.so.1") {
		t.Errorf("no library: %v", err)
	}
}

// TestDefaultLibrary: dlopen finds the library by its name.
func TestDefaultLibrary(t *testing.T) {
	env := []string{fakegpu.Path(fakegpu.Build(t, "fake_cuda.c", "libcuda.so.1")), "FAKE_CUDA_TOTAL=1073741824"}
	fakegpu.Child(t, env, func(t *testing.T) {
		r, err := Check(t.Context(), Config{})
		if err != nil || r.Total != scheduler.GiB {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// testDevices are found by their UUID in either form, in any case.
func testDevices(t *testing.T, f *fakegpu.CUDA) {
	f.Set(t, "DEVICES", 3)
	for uuid, want := range map[string]string{"": "Fake GPU 0", "GPU-fa4e0000-0000-4000-8000-000000000002": "Fake GPU 2", "FA4E0000-0000-4000-8000-000000000001": "Fake GPU 1"} {
		r, err := Check(t.Context(), Config{Library: f.Path, UUID: uuid, PinLimit: mib})
		if err != nil || r.Device != want {
			t.Errorf("%q: %+v, %v", uuid, r, err)
		}
	}
	e := New(Config{Library: f.Path, UUID: "GPU-00000000-0000-4000-8000-000000000000", Dir: t.TempDir()})
	if _, err := e.Open(t.Context(), plan(scheduler.GiB, mib)); !errors.Is(err, nvml.ErrNoDevice) || !strings.Contains(err.Error(), "GPU-fa4e0000") {
		t.Errorf("another device: %v", err)
	}
	f.Set(t, "DEVICES", 0)
	if _, err := e.Open(t.Context(), plan(scheduler.GiB, mib)); !errors.Is(err, nvml.ErrUnavailable) {
		t.Errorf("no device: %v", err)
	}
}

// testCheck tells what a context takes and gives it back.
func testCheck(t *testing.T, f *fakegpu.CUDA) {
	f.Set(t, "PINNED", uint64(300*mib))
	r, err := Check(t.Context(), Config{Library: f.Path})
	if err != nil {
		t.Fatal(err)
	}
	if r.UUID != "GPU-fa4e0000-0000-4000-8000-000000000000" || r.Compute != "9.0" || r.Driver != "13.0" || r.SMs != 4 || r.Target != "sm_70" ||
		r.Total != 24*scheduler.GiB || r.Free != r.Total-64*mib || r.Pinned != 256*mib ||
		r.Context <= 0 || r.JIT <= 0 || r.Launch <= 0 || r.Launch > time.Second || r.PinTime <= 0 {
		t.Errorf("%+v", r)
	}
}

// testJIT: a driver that knows no sm_70 any more is given sm_75; one that takes
// neither says what its compiler said.
func testJIT(t *testing.T, f *fakegpu.CUDA) {
	f.Set(t, "JIT", 75)
	if r, err := Check(t.Context(), Config{Library: f.Path, PinLimit: mib}); err != nil || r.Target != "sm_75" {
		t.Errorf("%+v, %v", r, err)
	}
	f.Set(t, "JIT", 100)
	_, err := Check(t.Context(), Config{Library: f.Path, PinLimit: mib})
	if err == nil || !strings.Contains(err.Error(), "sm_70") || !strings.Contains(err.Error(), "sm_75") || !strings.Contains(err.Error(), "gpu-name") {
		t.Errorf("%v", err)
	}
}

// testOpenFails at each operation in turn, and leaves nothing.
func testOpenFails(t *testing.T, f *fakegpu.CUDA) {
	for n := uint64(1); ; n++ {
		f.Reset()
		f.Set(t, "FAIL_AT", n)
		e := New(Config{Library: f.Path, Work: Fit, Dir: t.TempDir(), Slot: mib})
		_, err := e.Open(t.Context(), plan(scheduler.GiB, mib))
		used := f.Get(t, "FAIL_AT") == 0
		if (err != nil) != used || f.Get(t, "LIVE") > 0 && err != nil {
			t.Errorf("operation %d refused (%v): %v, %d left", n, used, err, f.Get(t, "LIVE"))
		}
		closeNow(t, e)
		if !used {
			if n < 6 {
				t.Errorf("only %d operations at Open", n-1)
			}
			return
		}
	}
}

// testNoPinnedMemory: what cannot be pinned is told with its size.
func testNoPinnedMemory(t *testing.T, f *fakegpu.CUDA) {
	f.Set(t, "PINNED", uint64(5*mib))
	for host, want := range map[HostTier]string{PageCache: "", Pinned: "2MiB of pinned memory for the host tier"} {
		e := New(Config{Library: f.Path, HostTier: host, Dir: t.TempDir(), Slot: mib})
		_, err := e.Open(t.Context(), plan(scheduler.GiB, 2*mib))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", host, err)
		}
		closeNow(t, e)
	}
}

// testDeaf: a driver that does not even start holds up nobody for longer than
// they want to wait.
func testDeaf(t *testing.T, f *fakegpu.CUDA) {
	f.Set(t, "DEAF", 1)
	defer f.Set(t, "DEAF", 0)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := Check(ctx, Config{Library: f.Path})
	_, open := New(Config{Library: f.Path, Dir: t.TempDir()}).Open(ctx, plan(scheduler.GiB, mib))
	for _, err := range []error{err, open} {
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "the driver does not answer") {
			t.Errorf("%v", err)
		}
	}
}

// testOpenInterrupted: a context that ends stops Open, which leaves nothing.
func testOpenInterrupted(t *testing.T, f *fakegpu.CUDA) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	f.Set(t, "BURN", 1e12) // a second each
	dir := t.TempDir()
	e := New(Config{Library: f.Path, Work: Fit, Dir: dir, Slot: mib})
	if _, err := e.Open(ctx, plan(scheduler.GiB, mib)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("open: %v", err)
	}
	if left := names(t, dir); len(left) != 0 {
		t.Errorf("left %v", left)
	}
	waitUntil(t, func() bool { return f.Get(t, "CONTEXTS") == 0 })
}
