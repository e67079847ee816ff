// Package fakegpu makes fake driver libraries for tests: shared objects that
// stand in for libnvidia-ml.so.1 and libcuda.so.1, compiled from the C files
// of this folder and steered by environment variables that each file lists at
// its top. The dynamic linker looks for libraries once, when a process starts;
// a test therefore runs its body in a child of its own:
//
//	func TestEnergy(t *testing.T) {
//		env := []string{fakegpu.Path(fakegpu.Build(t, "fake_nvml.c", "libnvidia-ml.so.1"))}
//		fakegpu.Child(t, env, func(t *testing.T) {
//			… // the fake library is what dlopen finds
//		})
//	}
package fakegpu

import (
	"context"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
)

//go:embed *.c
var sources embed.FS

// childMark names the test whose body a child runs.
const childMark = "VRAMSIM_FAKEGPU_CHILD"

// childLimit bounds a child.
const childLimit = time.Minute

// Build compiles a source of this folder into a shared library of that name,
// as in "libnvidia-ml.so.1", and returns the folder it lies in. The symbols
// without are left out, like those that an older driver lacks. Without a C
// compiler or Linux the test is skipped; where VRAMSIM_TRACES_REQUIRED is 1,
// as in CI, a missing compiler fails it. In a child Build compiles nothing and
// returns "".
func Build(t testing.TB, source, library string, without ...string) (dir string) {
	t.Helper()
	if os.Getenv(childMark) != "" {
		return ""
	}
	if runtime.GOOS != "linux" {
		t.Skip("the fake libraries are for Linux")
	}
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		if os.Getenv("VRAMSIM_TRACES_REQUIRED") == "1" {
			t.Fatal("gcc is needed to compile the fake libraries")
		}
		t.Skip("no gcc to compile the fake libraries with")
	}
	text, err := sources.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	write(t, filepath.Join(dir, source), string(text))
	write(t, filepath.Join(dir, "symbols.map"), versionScript(without))
	ctx, cancel := context.WithTimeout(t.Context(), childLimit)
	defer cancel()
	c := exec.CommandContext(ctx, gcc, "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-g", "-fPIC", "-shared", "-pthread",
		"-Wl,--version-script=symbols.map", "-Wl,-soname,"+library, "-o", library, source)
	c.Dir = dir // whose name may have commas, which -Wl takes for its own
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", source, err, out)
	}
	return dir
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

// versionScript exports all symbols but some.
func versionScript(without []string) string {
	hidden := ""
	if len(without) > 0 {
		hidden = " local: " + strings.Join(without, "; ") + ";"
	}
	return "{ global: *;" + hidden + " };\n"
}

// Path returns the environment entry under which dlopen finds the libraries
// of those folders, before any real ones.
func Path(dirs ...string) string {
	if old := os.Getenv("LD_LIBRARY_PATH"); old != "" {
		dirs = append(dirs[:len(dirs):len(dirs)], old)
	}
	return "LD_LIBRARY_PATH=" + strings.Join(dirs, ":")
}

// Child runs body in a child of the test binary, with env ("NAME=value")
// added to the environment: in the parent it starts the child and reports what
// went wrong there, in the child it calls body. A test calls it at most once
// per name, so table tests call it in subtests.
func Child(t *testing.T, env []string, body func(*testing.T)) {
	t.Helper()
	if os.Getenv(childMark) == t.Name() {
		body(t)
		return
	}
	skipped, err := runChild(t, env)
	if err != nil {
		t.Fatal(err)
	}
	if skipped != "" {
		t.Skipf("skipped in its child:\n%s", skipped)
	}
}

// runChild runs the test in a child and returns why it failed there, or what
// it printed if it was skipped.
func runChild(t *testing.T, env []string) (skipped string, err error) {
	ctx, cancel := context.WithTimeout(t.Context(), childLimit)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	c := exec.CommandContext(ctx, self, "-test.run="+only(t.Name()), "-test.v", fmt.Sprintf("-test.timeout=%v", childLimit))
	c.Env = append(append(os.Environ(), childMark+"="+t.Name()), env...)
	c.WaitDelay = time.Second
	out, err := c.CombinedOutput()
	switch {
	case err != nil:
		return "", fmt.Errorf("the child of %s: %w\n%s", t.Name(), err, out)
	case strings.Contains(string(out), "--- SKIP: "+t.Name()):
		return string(out), nil
	case !strings.Contains(string(out), "--- PASS: "+t.Name()):
		return "", fmt.Errorf("the child did not run %s:\n%s", t.Name(), out)
	}
	return "", nil
}

// only is the pattern that selects one test or subtest.
func only(name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = "^" + regexp.QuoteMeta(p) + "$"
	}
	return strings.Join(parts, "/")
}
