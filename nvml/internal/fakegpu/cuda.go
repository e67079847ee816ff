//go:build linux && cgo && nvml

package fakegpu

/*
#cgo LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>

static void *find(const char *library, const char *symbol)
{
	void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
	return handle != NULL ? dlsym(handle, symbol) : NULL;
}

static int set(void *f, const char *name, uint64_t value) { return ((int (*)(const char *, uint64_t))f)(name, value); }
static int get(void *f, const char *name, uint64_t *value) { return ((int (*)(const char *, uint64_t *))f)(name, value); }
static void reset(void *f) { ((void (*)(void))f)(); }
*/
import "C"

import (
	"path/filepath"
	"testing"
	"unsafe"
)

// CUDA is a fake libcuda.so.1 in this process, which its path leads dlopen to:
// tests of what is given a path need no child. All who open that path share it.
type CUDA struct {
	Path            string
	set, get, reset unsafe.Pointer
}

// OpenCUDA compiles the fake, without some of its symbols, and loads it. It
// stays loaded as long as the process.
func OpenCUDA(t testing.TB, without ...string) *CUDA {
	t.Helper()
	path := filepath.Join(Build(t, "fake_cuda.c", "libcuda.so.1", without...), "libcuda.so.1")
	c := &CUDA{Path: path}
	for name, f := range map[string]*unsafe.Pointer{"fake_set": &c.set, "fake_get": &c.get, "fake_reset": &c.reset} {
		library, symbol := C.CString(path), C.CString(name)
		*f = C.find(library, symbol)
		C.free(unsafe.Pointer(library))
		C.free(unsafe.Pointer(symbol))
		if *f == nil {
			t.Fatalf("%s lacks %s", path, name)
		}
	}
	return c
}

// Set changes a setting: fake_cuda.c lists them.
func (c *CUDA) Set(t testing.TB, name string, value uint64) {
	t.Helper()
	text := C.CString(name)
	defer C.free(unsafe.Pointer(text))
	if C.set(c.set, text, C.uint64_t(value)) != 0 {
		t.Fatalf("the fake has no setting %s", name)
	}
}

// Get returns a setting or a count: HELD, LIVE, CONTEXTS, OPERATIONS.
func (c *CUDA) Get(t testing.TB, name string) uint64 {
	t.Helper()
	text := C.CString(name)
	defer C.free(unsafe.Pointer(text))
	var value C.uint64_t
	if C.get(c.get, text, &value) != 0 {
		t.Fatalf("the fake has no count %s", name)
	}
	return uint64(value)
}

// Reset gives all settings their values of the environment and destroys contexts
// that are left.
func (c *CUDA) Reset() { C.reset(c.reset) }
