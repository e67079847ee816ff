package cuda

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// allowed are the functions of the driver that this package may name: what
// allocates, copies, computes and looks. Nothing sets a clock or a limit, nothing
// manages, maps or reserves memory behind the back of who counts it.
var allowed = []string{
	"cuInit", "cuDriverGetVersion", "cuDeviceGetCount", "cuDeviceGet", "cuDeviceGetName", "cuDeviceGetUuid_v2", "cuDeviceGetAttribute",
	"cuDevicePrimaryCtxRetain", "cuDevicePrimaryCtxRelease_v2", "cuDevicePrimaryCtxReset_v2", "cuCtxSetCurrent", "cuMemGetInfo_v2",
	"cuMemAlloc_v2", "cuMemFree_v2", "cuMemHostAlloc", "cuMemFreeHost", "cuMemcpyHtoDAsync_v2", "cuMemcpyDtoHAsync_v2", "cuMemsetD8Async",
	"cuModuleLoadDataEx", "cuModuleUnload", "cuModuleGetFunction", "cuLaunchKernel", "cuStreamCreate", "cuStreamDestroy_v2",
	"cuEventCreate", "cuEventDestroy_v2", "cuEventRecord", "cuEventQuery", "cuEventElapsedTime", "cuGetErrorName",
}

var (
	symbolInShim = regexp.MustCompile(`X\(\w+, "(\w+)"`)
	symbolAtAll  = regexp.MustCompile(`\bcu[A-Z]\w+`)
)

// TestSymbols: the shim loads just what is allowed, and no file names more. A
// function's name may also stand without the suffix of its version, as in prose.
func TestSymbols(t *testing.T) {
	shim, err := os.ReadFile("shim.h")
	if err != nil {
		t.Fatal(err)
	}
	var loaded []string
	for _, m := range symbolInShim.FindAllStringSubmatch(string(shim), -1) {
		loaded = append(loaded, m[1])
	}
	if !slices.Equal(slices.Sorted(slices.Values(loaded)), slices.Sorted(slices.Values(allowed))) {
		t.Errorf("the shim loads %q, allowed is %q", loaded, allowed)
	}
	var sources []string
	for _, pattern := range []string{"*.go", "*.h", "*.ptx"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, files...)
	}
	for _, name := range sources {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, symbol := range symbolAtAll.FindAllString(string(text), -1) {
			if !slices.ContainsFunc(allowed, func(s string) bool { return s == symbol || strings.HasPrefix(s, symbol+"_v") }) {
				t.Errorf("%s names %s", name, symbol)
			}
		}
	}
	for _, forbidden := range []string{"cuMemAllocManaged", "cuMemAddressReserve", "cuMemCreate", "cuMemAllocAsync", "cuMemAdvise", "cuCtxSetLimit"} {
		if slices.Contains(allowed, forbidden) || !symbolAtAll.MatchString(forbidden) {
			t.Errorf("%s would not be seen", forbidden)
		}
	}
}
