package binding

import (
	"context"
	"debug/buildinfo"
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// compile builds the command and returns the file.
func compile(t *testing.T, env []string, flags ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	file := filepath.Join(t.TempDir(), "vramsim")
	c := exec.CommandContext(ctx, "go", append(append([]string{"build", "-o", file}, flags...), "../../cmd/vramsim")...)
	c.Env = append(os.Environ(), env...)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("go build %v: %v\n%s", flags, err, out)
	}
	return file
}

// modules are those that a binary is made of.
func modules(t *testing.T, file string) (paths []string) {
	t.Helper()
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range info.Deps {
		paths = append(paths, m.Path)
	}
	return paths
}

// bindsNow reports whether a binary asks the dynamic linker to bind everything
// before main, which no driver would survive.
func bindsNow(t *testing.T, file string) bool {
	t.Helper()
	f, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, flag := range []struct {
		tag  elf.DynTag
		bits uint64
	}{{elf.DT_FLAGS, uint64(elf.DF_BIND_NOW)}, {elf.DT_FLAGS_1, uint64(elf.DF_1_NOW)}, {elf.DT_BIND_NOW, 0}} {
		values, err := f.DynValue(flag.tag)
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(values, func(v uint64) bool { return flag.bits == 0 || v&flag.bits != 0 }) {
			return true
		}
	}
	return false
}

func forLinuxWithC(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the tag nvml is for Linux")
	}
	if _, err := exec.LookPath("gcc"); err != nil {
		if os.Getenv("VRAMSIM_TRACES_REQUIRED") == "1" {
			t.Fatal("gcc is needed")
		}
		t.Skip("no gcc")
	}
}

// starts runs a binary's version command and says how it went.
func starts(t *testing.T, file string, env ...string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, file, "version")
	c.Env = append(os.Environ(), env...)
	return c.Run()
}

// TestTaggedBuild: the binary with NVML in it binds lazily, and starts without a
// driver. The flag is what does it: without it, linked to bind at once, the same
// binary ends before main.
func TestTaggedBuild(t *testing.T) {
	forLinuxWithC(t)
	if !Linked && os.Getenv("VRAMSIM_LONG") == "" {
		t.Skip("with the tag nvml, or VRAMSIM_LONG=1: it compiles go-nvml")
	}
	lazy := compile(t, []string{"CGO_ENABLED=1"}, "-tags", "nvml", "-ldflags=-extldflags=-Wl,-z,lazy")
	if bindsNow(t, lazy) {
		t.Error("it binds everything before main")
	}
	if !slices.Contains(modules(t, lazy), upstream) {
		t.Errorf("there is no %s in it", upstream)
	}
	if err := starts(t, lazy, "LD_LIBRARY_PATH=/nonexistent"); err != nil {
		t.Errorf("without a driver: %v", err)
	}
	now := compile(t, []string{"CGO_ENABLED=1"}, "-tags", "nvml", "-ldflags=-extldflags=-Wl,-z,now")
	if !bindsNow(t, now) {
		t.Error("bindsNow does not see a binary that does")
	}
	err := starts(t, now)
	if died, ok := errors.AsType[*exec.ExitError](err); !ok || died.ExitCode() != 127 || len(undefined(t, now)) == 0 {
		t.Errorf("a binary that binds at once has %d undefined functions and ends with %v: is the flag of any use?", len(undefined(t, now)), err)
	}
}

// undefined are NVML's symbols that a binary leaves to the dynamic linker.
func undefined(t *testing.T, file string) (names []string) {
	t.Helper()
	f, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	symbols, err := f.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range symbols {
		if s.Section == elf.SHN_UNDEF && strings.HasPrefix(s.Name, "nvml") {
			names = append(names, s.Name)
		}
	}
	return names
}

// TestDefaultBuild: no NVML in it, so it starts even where everything is bound
// before main.
func TestDefaultBuild(t *testing.T) {
	forLinuxWithC(t)
	file := compile(t, []string{"CGO_ENABLED=1"})
	if slices.Contains(modules(t, file), upstream) {
		t.Errorf("there is %s in it", upstream)
	}
	if err := starts(t, file, "LD_BIND_NOW=1"); err != nil {
		t.Errorf("bound before main: %v", err)
	}
	if names := undefined(t, file); len(names) > 0 {
		t.Errorf("undefined: %v", names)
	}
}

// TestPortableBuilds: without cgo a binary needs nothing on Linux, and elsewhere
// only what comes with the system.
func TestPortableBuilds(t *testing.T) {
	if os.Getenv("VRAMSIM_LONG") == "" {
		t.Skip("VRAMSIM_LONG=1 builds for three systems")
	}
	for goos, imported := range map[string]func(*testing.T, string) []string{"linux": importedELF, "darwin": importedMachO, "windows": importedPE} {
		t.Run(goos, func(t *testing.T) {
			goarch := map[string]string{"darwin": "arm64"}[goos]
			if goarch == "" {
				goarch = "amd64"
			}
			file := compile(t, []string{"CGO_ENABLED=0", "GOOS=" + goos, "GOARCH=" + goarch}, "-trimpath")
			if slices.Contains(modules(t, file), upstream) {
				t.Errorf("there is %s in it", upstream)
			}
			libraries := imported(t, file)
			t.Logf("imports %v", libraries)
			for _, name := range libraries {
				if !system(goos, name) {
					t.Errorf("it needs %s", name)
				}
			}
			if (goos == "linux") != (len(libraries) == 0) {
				t.Errorf("imports %v", libraries)
			}
		})
	}
}

// system reports whether a library is a part of the system.
func system(goos, name string) bool {
	switch goos {
	case "darwin":
		return strings.HasPrefix(name, "/usr/lib/lib") || strings.HasPrefix(name, "/System/Library/")
	case "windows":
		return slices.Contains([]string{"kernel32.dll", "advapi32.dll", "ntdll.dll", "ws2_32.dll", "bcryptprimitives.dll", "winmm.dll", "powrprof.dll"}, strings.ToLower(name))
	}
	return false
}

func importedELF(t *testing.T, file string) []string {
	f, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.SectionByType(elf.SHT_DYNAMIC) != nil {
		t.Error("it has a dynamic section")
	}
	names, err := f.ImportedLibraries()
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func importedMachO(t *testing.T, file string) []string {
	f, err := macho.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	names, err := f.ImportedLibraries()
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// importedPE lists the libraries by the imported symbols: ImportedLibraries is
// empty for this format.
func importedPE(t *testing.T, file string) (names []string) {
	f, err := pe.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	symbols, err := f.ImportedSymbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range symbols {
		if _, library, ok := strings.Cut(s, ":"); ok && !slices.Contains(names, library) {
			names = append(names, library)
		}
	}
	return names
}
