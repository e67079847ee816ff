//go:build unix

package rundir

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// What is no regular file is written to, not replaced.
func TestPipesAreWrittenTo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip(err)
	}
	r, err := os.OpenFile(path, os.O_RDWR, 0) // does not wait for a writer
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := WriteFile(path, []byte("through")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().IsRegular() {
		t.Fatalf("the pipe was replaced: %v", err)
	}
	got := make([]byte, 7)
	if n, err := r.Read(got); err != nil || string(got[:n]) != "through" {
		t.Errorf("%q came through, %v", got[:n], err)
	}
}
