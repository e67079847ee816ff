//go:build linux && cgo && nvml

package binding

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vramsim/vramsim/nvml"
	"github.com/vramsim/vramsim/nvml/internal/fakegpu"
	"github.com/vramsim/vramsim/scheduler"
)

// build compiles the fake and returns the environment in which it is found.
func build(t *testing.T, without ...string) []string {
	t.Helper()
	return []string{fakegpu.Path(fakegpu.Build(t, "fake_nvml.c", soname, without...))}
}

// open returns the first device of the fake.
func open(t *testing.T) nvml.Telemetry {
	t.Helper()
	p := New()
	infos, err := p.List()
	if err != nil {
		t.Fatal(err)
	}
	tel, err := p.Open(infos[0].UUID)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(tel.Close(), tel.Close(), p.Close(), p.Close()); err != nil {
			t.Error(err)
		}
	})
	return tel
}

// childPatience is how long a child waits for what a busy machine lets happen
// later than it would otherwise.
const childPatience = 20 * time.Second

const uuid0 = "GPU-fa4e0000-0000-4000-8000-000000000000"

// TestHealthy: a device tells everything there is.
func TestHealthy(t *testing.T) {
	fakegpu.Child(t, append(build(t), "FAKE_NVML_DEVICES=3", "FAKE_NVML_PROCESSES=self:300000000"), func(t *testing.T) {
		p := New()
		infos, err := p.List()
		if err != nil || len(infos) != 3 || infos[2].UUID != "GPU-fa4e0000-0000-4000-8000-000000000002" || infos[2].Index != 2 {
			t.Fatalf("%+v, %v", infos, err)
		}
		if _, err := p.Open("GPU-none"); !errors.Is(err, nvml.ErrNoDevice) {
			t.Errorf("a device that is not there: %v", err)
		}
		tel := open(t)
		want := nvml.DeviceInfo{UUID: uuid0, Name: "Fake GPU 0", PCI: "00000000:01:00.0", Memory: 24 * scheduler.GiB, Compute: "9.0",
			Driver: "580.00.fake", CUDA: "13.0", MaxLink: nvml.Link{Generation: 5, Width: 16}}
		if tel.Info() != want || infos[0] != want {
			t.Errorf("info %+v\nwant %+v", tel.Info(), want)
		}
		m, err := tel.Memory()
		if used := (nvml.Memory{Total: 24 * scheduler.GiB, Free: 23*scheduler.GiB - 300*scheduler.MiB, Used: scheduler.GiB, Reserved: 300 * scheduler.MiB,
			Sum: "free+used+reserved"}); err != nil || m != used {
			t.Errorf("memory %+v, %v", m, err)
		}
		s, err := tel.Sample()
		if err != nil || s != (nvml.Sample{PowerMilliwatts: 100000, InstantMilliwatts: 101000, SMClockMHz: 1500, MemoryClockMHz: 2600, TemperatureC: 41,
			Reasons: nvml.ReasonIdle, Link: nvml.Link{Generation: 1, Width: 16}}) {
			t.Errorf("sample %+v, %v", s, err)
		}
		list, err := tel.Processes()
		if err != nil || len(list) != 1 || list[0] != (nvml.Process{PID: os.Getpid(), Bytes: 300000000}) {
			t.Errorf("processes %+v, %v", list, err)
		}
		if _, _, err := tel.LinkBytes(); err != nil {
			t.Error(err)
		}
		for name, c := range calls(tel.Caps()) {
			if !c.Present {
				t.Errorf("%s: %+v", name, c)
			}
		}
		if d := tel.Caps().Memory.Detail; d != "version 2; total = free+used+reserved" {
			t.Error(d)
		}
	})
}

func calls(c nvml.Caps) map[string]nvml.Call {
	return map[string]nvml.Call{"memory": c.Memory, "processes": c.Processes, "energy": c.Energy, "link bytes": c.LinkBytes, "power": c.Power,
		"clocks": c.Clocks, "temperature": c.Temperature, "reasons": c.Reasons, "link": c.Link, "faults": c.Faults}
}

// TestUnavailable: each way in which there is no NVML says which one it is.
func TestUnavailable(t *testing.T) {
	for _, c := range []struct {
		name, words string
		env, less   []string
	}{
		{"no driver", "no NVIDIA driver", []string{"LD_LIBRARY_PATH=/nonexistent"}, nil},
		{"another library", "has no nvmlInit", nil, []string{"nvmlInit_v2", "nvmlInit"}},
		{"no shutdown", "has no nvmlInit or nvmlShutdown", nil, []string{"nvmlShutdown"}},
		{"driver not loaded", "kernel driver is not loaded", []string{"FAKE_NVML_INIT=9"}, nil},
		{"no permission", "no permission", []string{"FAKE_NVML_INIT=4"}, nil},
		{"blocked", "operating system", []string{"FAKE_NVML_INIT=17"}, nil},
		{"mismatch", "different versions", []string{"FAKE_NVML_INIT=18"}, nil},
		{"unknown", "error 999", []string{"FAKE_NVML_INIT=999"}, nil},
		{"no device", "no device", []string{"FAKE_NVML_DEVICES=0"}, nil},
		{"no count", "no nvmlDeviceGetCount", nil, []string{"nvmlDeviceGetCount_v2"}},
		{"no handle", "no nvmlDeviceGetHandleByIndex", nil, []string{"nvmlDeviceGetHandleByIndex_v2"}},
		{"no UUID", "no nvmlDeviceGetUUID", nil, []string{"nvmlDeviceGetUUID"}},
		{"lost", "lost", []string{"FAKE_NVML_LOST=0"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			fakegpu.Child(t, append(build(t, c.less...), c.env...), func(t *testing.T) {
				p := New()
				for range 2 { // nothing changes at a second try
					_, list := p.List()
					_, open := p.Open(uuid0)
					for _, err := range []error{list, open} {
						if !errors.Is(err, nvml.ErrUnavailable) || !strings.Contains(err.Error(), c.words) {
							t.Errorf("%v", err)
						}
					}
				}
				if err := p.Close(); err != nil {
					t.Error(err)
				}
				if _, err := p.List(); !errors.Is(err, nvml.ErrUnavailable) {
					t.Errorf("after Close: %v", err)
				}
			})
		})
	}
}

// TestMissingSymbols: whatever function a driver lacks, its capability is
// absent and everything else works; no call ends the process.
func TestMissingSymbols(t *testing.T) {
	lost := map[string]string{"DeviceGetComputeRunningProcesses": "processes", "DeviceGetFieldValues": "energy", "DeviceGetClockInfo": "clocks",
		"DeviceGetTemperature": "temperature", "DeviceGetCurrentClocksEventReasons": "reasons", "DeviceGetCurrPcieLinkGeneration": "link",
		"DeviceGetCurrPcieLinkWidth": "link", "DeviceGetSupportedEventTypes": "faults", "EventSetCreate": "faults", "DeviceRegisterEvents": "faults",
		"EventSetWait": "faults", "EventSetFree": "faults", "DeviceGetMemoryInfo": "", "DeviceGetMemoryInfo_v2": "", "DeviceGetGraphicsRunningProcesses": "", "DeviceGetPowerUsage": "",
		"SystemGetDriverVersion": "", "SystemGetCudaDriverVersion_v2": "", "DeviceGetName": "", "DeviceGetPciInfo": "", "DeviceGetCudaComputeCapability": "",
		"DeviceGetMigMode": "", "DeviceGetMaxPcieLinkGeneration": "", "DeviceGetMaxPcieLinkWidth": ""}
	for i, f := range functions() {
		want, ok := lost[f.name]
		if !ok {
			if !slices.Contains([]string{"DeviceGetCount", "DeviceGetHandleByIndex", "DeviceGetUUID"}, f.name) {
				t.Errorf("%s is not tested", f.name)
			}
			continue // TestUnavailable
		}
		if i%4 != 0 && os.Getenv("VRAMSIM_LONG") == "" && !strings.Contains(f.name, "Event") {
			continue // one in four, those that are called together, all in CI
		}
		t.Run(f.name, func(t *testing.T) {
			fakegpu.Child(t, build(t, f.symbols...), func(t *testing.T) {
				tel := open(t)
				exercise(t, tel)
				for name, c := range calls(tel.Caps()) {
					missing := name == want || name == "link bytes" && want == "energy"
					if c.Present == missing || missing && !strings.Contains(c.Detail, "the driver has no nvml"+f.name) {
						t.Errorf("%s: %+v", name, c)
					}
				}
			})
		})
	}
}

// exercise calls everything; what fails must say that it is not supported.
func exercise(t *testing.T, tel nvml.Telemetry) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	tel.Info()
	_, memory := tel.Memory()
	_, processes := tel.Processes()
	_, energy := tel.Energy()
	_, _, bytes := tel.LinkBytes()
	_, sample := tel.Sample()
	_, wait := tel.Wait(ctx)
	for i, err := range []error{memory, processes, energy, bytes, sample, wait} {
		if err != nil && !errors.Is(err, nvml.ErrUnsupported) && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("call %d: %v", i, err)
		}
	}
}

// TestOldDriver: none of the newer versions and functions at all.
func TestOldDriver(t *testing.T) {
	env := build(t, "nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetFieldValues", "nvmlDeviceGetCurrentClocksEventReasons", "nvmlErrorString",
		"nvmlDeviceGetMigMode", "nvmlInit_v2", "nvmlDeviceGetSupportedEventTypes")
	fakegpu.Child(t, env, func(t *testing.T) {
		tel := open(t)
		m, err := tel.Memory()
		if err != nil || m.Reserved != nvml.Unknown || m.Sum != "free+used" || m.Used != scheduler.GiB+300*scheduler.MiB {
			t.Errorf("memory %+v, %v", m, err)
		}
		if d := tel.Caps().Memory.Detail; !strings.Contains(d, "version 1") || !strings.HasSuffix(d, "total = free+used") {
			t.Error(d)
		}
		s, err := tel.Sample()
		if err != nil || s.PowerMilliwatts != 100000 || s.InstantMilliwatts != nvml.Unknown {
			t.Errorf("power by the old call: %+v, %v", s, err)
		}
		if _, err := tel.Wait(t.Context()); !errors.Is(err, nvml.ErrUnsupported) {
			t.Errorf("faults: %v", err)
		}
		if _, err := tel.Energy(); !errors.Is(err, nvml.ErrUnsupported) {
			t.Errorf("energy: %v", err)
		}
	})
}

// TestRefused: a function that is there may still refuse this device.
func TestRefused(t *testing.T) {
	env := append(build(t), "FAKE_NVML_UNSUPPORTED=field:83,field:185,field:198,nvmlDeviceGetMigMode,nvmlDeviceGetTemperature,nvmlDeviceGetGraphicsRunningProcesses_v3")
	fakegpu.Child(t, env, func(t *testing.T) {
		tel := open(t)
		c := tel.Caps()
		if c.Energy.Present || c.LinkBytes.Present || c.Temperature.Present || !c.Power.Present || !c.Processes.Present {
			t.Errorf("%+v", c)
		}
		s, err := tel.Sample()
		if err != nil || s.TemperatureC != nvml.Unknown || s.PowerMilliwatts != 100000 || s.InstantMilliwatts != 101000 {
			t.Errorf("%+v, %v", s, err)
		}
	})
}

// TestProcesses: own, foreign and untold bytes, and a process of both lists.
func TestProcesses(t *testing.T) {
	env := append(build(t), "FAKE_NVML_PROCESSES=4242:1000000,self:5,77:unknown,88:unknown,9:1,10:1,11:1", "FAKE_NVML_GRAPHICS=77:2000,99:7,4242:1000000")
	fakegpu.Child(t, env, func(t *testing.T) {
		list, err := open(t).Processes()
		if err != nil {
			t.Fatal(err)
		}
		want := map[int]scheduler.Bytes{4242: 1000000, os.Getpid(): 5, 77: 2000, 88: nvml.Unknown, 9: 1, 10: 1, 11: 1, 99: 7}
		for _, p := range list {
			if bytes, ok := want[p.PID]; !ok || bytes != p.Bytes {
				t.Errorf("%+v", p)
			}
			delete(want, p.PID)
		}
		if len(want) > 0 {
			t.Errorf("not listed: %v", want)
		}
	})
}

// TestEnergySteps: the counter is the fake's power times time, in its steps.
func TestEnergySteps(t *testing.T) {
	fakegpu.Child(t, append(build(t), "FAKE_NVML_ENERGY_STEP=50", "FAKE_NVML_POWER=200000"), func(t *testing.T) {
		tel := open(t)
		seen := map[uint64]bool{}
		began := time.Now()
		for len(seen) < 5 && time.Since(began) < childPatience {
			v, err := tel.Energy()
			if err != nil || (v-5_000_000)%10_000 != 0 {
				t.Fatalf("%d mJ, %v", v, err)
			}
			seen[v] = true
		}
		if took := time.Since(began); len(seen) < 5 || took < 3*50*time.Millisecond {
			t.Errorf("%d values in %v of 50 ms steps", len(seen), took)
		}
	})
}

// TestThrottled: the reasons are NVML's bits.
func TestThrottled(t *testing.T) {
	fakegpu.Child(t, append(build(t), "FAKE_NVML_REASONS=0:0x24"), func(t *testing.T) {
		s, err := open(t).Sample()
		if err != nil || s.Reasons != nvml.ReasonPowerCap|nvml.ReasonThermal || s.Reasons&nvml.Throttling != s.Reasons {
			t.Errorf("%+v, %v", s, err)
		}
	})
}

// TestMemorySum: parts that add up to nothing are said to.
func TestMemorySum(t *testing.T) {
	fakegpu.Child(t, append(build(t), "FAKE_NVML_SUM=none", "FAKE_NVML_MIG=1"), func(t *testing.T) {
		tel := open(t)
		if m, err := tel.Memory(); err != nil || m.Sum != "" {
			t.Errorf("%+v, %v", m, err)
		}
		if !strings.Contains(tel.Caps().Memory.Detail, "do not add up") || !tel.Info().MIG {
			t.Errorf("%+v, %+v", tel.Caps().Memory, tel.Info())
		}
	})
}

// TestXid: an Xid is a fault; 79 means that the device is gone.
func TestXid(t *testing.T) {
	for _, xid := range []uint64{31, 79} {
		t.Run(fmt.Sprint(xid), func(t *testing.T) {
			fakegpu.Child(t, append(build(t), fmt.Sprintf("FAKE_NVML_XID=30:%d", xid)), func(t *testing.T) {
				f, err := open(t).Wait(t.Context())
				if err != nil || f != (nvml.Fault{Xid: xid, Lost: xid == 79, Text: fmt.Sprintf("Xid %d", xid)}) {
					t.Errorf("%+v, %v", f, err)
				}
			})
		})
	}
}

// TestLost: each call of a lost device says so, and Wait tells it even if the
// driver has no event for it.
func TestLost(t *testing.T) {
	gone := filepath.Join(t.TempDir(), "gone")
	fakegpu.Child(t, append(build(t), "FAKE_NVML_LOST="+gone), func(t *testing.T) {
		tel := open(t)
		time.AfterFunc(300*time.Millisecond, func() { os.WriteFile(os.Getenv("FAKE_NVML_LOST"), nil, 0o666) }) // while Wait waits
		f, err := tel.Wait(t.Context())
		if err != nil || !f.Lost || f.Xid != 0 {
			t.Errorf("%+v, %v", f, err)
		}
		_, memory := tel.Memory()
		_, processes := tel.Processes()
		_, energy := tel.Energy()
		_, _, bytes := tel.LinkBytes()
		_, sample := tel.Sample()
		for i, err := range []error{memory, processes, energy, bytes, sample} {
			if !errors.Is(err, nvml.ErrLost) {
				t.Errorf("call %d: %v", i, err)
			}
		}
	})
}

// TestWaitEnds: by its context, by Close, and by Close of the probe.
func TestWaitEnds(t *testing.T) {
	fakegpu.Child(t, build(t), func(t *testing.T) {
		tel := open(t)
		ctx, cancel := context.WithTimeout(t.Context(), 120*time.Millisecond)
		defer cancel()
		var all sync.WaitGroup
		for range 3 { // one listens, the others wait for it
			all.Go(func() {
				if _, err := tel.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("by the context: %v", err)
				}
			})
		}
		all.Wait()
		started := make(chan struct{})
		all.Go(func() {
			close(started)
			if _, err := tel.Wait(t.Context()); !errors.Is(err, nvml.ErrUnavailable) {
				t.Errorf("by Close: %v", err)
			}
		})
		<-started
		if err := tel.Close(); err != nil {
			t.Error(err)
		}
		all.Wait()
		if _, err := tel.Wait(t.Context()); !errors.Is(err, nvml.ErrUnavailable) {
			t.Errorf("after Close: %v", err)
		}
	})
}

// TestConcurrentClose: calls from many goroutines while the library is closed
// end with an error, not with the process.
func TestConcurrentClose(t *testing.T) {
	fakegpu.Child(t, build(t), func(t *testing.T) {
		p := New()
		tel, err := p.Open(uuid0)
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for {
					if _, err := tel.Sample(); err != nil {
						if !errors.Is(err, nvml.ErrUnavailable) {
							t.Errorf("%v", err)
						}
						return
					}
				}
			})
		}
		all.Go(func() { tel.Wait(t.Context()) })
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		all.Wait()
		if _, err := tel.Memory(); err == nil || !strings.Contains(err.Error(), "it has been closed") {
			t.Errorf("after Close NVML itself was asked: %v", err)
		}
		again := New() // the library can be opened anew
		if _, err := again.List(); err != nil {
			t.Error(err)
		}
		again.Close()
	})
}

// TestLinkBytes: counters near their end are told as they are.
func TestLinkBytes(t *testing.T) {
	fakegpu.Child(t, append(build(t), "FAKE_NVML_LINK_START=0xffffffffffffff00"), func(t *testing.T) {
		tel := open(t)
		sent, received, err := tel.LinkBytes()
		if err != nil || (sent+0x100)%2000 != 0 || (received+0x100)%3000 != 0 {
			t.Errorf("%d %d %v", sent, received, err)
		}
	})
}
