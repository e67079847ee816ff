package fakegpu

import (
	"debug/elf"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestBuild: a fake exports what its source defines, but for what is left out.
func TestBuild(t *testing.T) {
	all := exported(t, Build(t, "fake_nvml.c", "libnvidia-ml.so.1"))
	if !slices.Contains(all, "nvmlInit_v2") || !slices.Contains(all, "nvmlDeviceGetMemoryInfo_v2") {
		t.Fatalf("exported: %v", all)
	}
	some := exported(t, Build(t, "fake_nvml.c", "libnvidia-ml.so.1", "nvmlDeviceGetMemoryInfo_v2", "nvmlEventSetWait_v2"))
	left := slices.DeleteFunc(slices.Clone(all), func(s string) bool { return slices.Contains(some, s) })
	slices.Sort(left)
	if !slices.Equal(left, []string{"nvmlDeviceGetMemoryInfo_v2", "nvmlEventSetWait_v2"}) {
		t.Errorf("left out: %v", left)
	}
}

func exported(t *testing.T, dir string) (names []string) {
	f, err := elf.Open(filepath.Join(dir, "libnvidia-ml.so.1"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	symbols, err := f.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range symbols {
		if s.Section != elf.SHN_UNDEF {
			names = append(names, s.Name)
		}
	}
	return names
}

// TestChild: the body runs in another process, under the environment given.
func TestChild(t *testing.T) {
	parent := strconv.Itoa(os.Getpid())
	Child(t, []string{Path("/nowhere", "/else"), "FAKEGPU_TEST_PARENT=" + parent}, func(t *testing.T) {
		if p := os.Getenv("FAKEGPU_TEST_PARENT"); p == "" || p == parent || !strings.HasPrefix(os.Getenv("LD_LIBRARY_PATH"), "/nowhere:/else") {
			t.Errorf("process %s, its parent %q, LD_LIBRARY_PATH=%q", parent, p, os.Getenv("LD_LIBRARY_PATH"))
		}
	})
}

// TestChildFails: what goes wrong in the child is told, and a skip is one.
func TestChildFails(t *testing.T) {
	for _, what := range []string{"fails", "dies", "skips"} {
		t.Run(what, func(t *testing.T) {
			if os.Getenv(childMark) == t.Name() {
				misbehave(t, os.Getenv("FAKEGPU_TEST"))
				return
			}
			skipped, err := runChild(t, []string{"FAKEGPU_TEST=" + what})
			if (err != nil) != (what != "skips") || (skipped != "") != (what == "skips") {
				t.Errorf("%v, skipped %q", err, skipped)
			}
		})
	}
}

func misbehave(t *testing.T, how string) {
	switch how {
	case "fails":
		t.Error("as it should")
	case "dies":
		os.Exit(127)
	case "skips":
		t.Skip("as it should")
	}
}
