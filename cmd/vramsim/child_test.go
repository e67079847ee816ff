package main

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vramsim/vramsim/nvml/worker/fakeworker"
)

// asCommand makes the test binary be the command.
const asCommand = "VRAMSIM_TEST_AS_COMMAND"

// peakFile names the file that a child writes the most memory it held to.
const peakFile = "VRAMSIM_TEST_PEAK"

// tellPeak copies the peak of this process's own memory, where the system has
// one: what rusage says counts that of the parent, too, from before the exec.
func tellPeak(path string) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return
	}
	if _, peak, found := strings.Cut(string(status), "VmHWM:"); found {
		line, _, _ := strings.Cut(peak, "\n")
		os.WriteFile(path, []byte(strings.TrimSuffix(strings.TrimSpace(line), " kB")), 0o666)
	}
}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == fakeworker.Argument {
		os.Exit(fakeworker.Main(os.Args[2:], os.Stdin, os.Stdout, os.Environ()))
	}
	if os.Getenv(asCommand) == "1" {
		code := command()
		if path := os.Getenv(peakFile); path != "" {
			tellPeak(path)
		}
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// child is the command in a process of its own; env is added to that of the test.
func child(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	c := exec.CommandContext(ctx, self, args...)
	c.Env = append(append(os.Environ(), asCommand+"=1"), env...)
	c.Stderr = os.Stderr
	return c
}

// allocated returns how many bytes f allocates, freed or not.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
