package rundir

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestDirectoriesAreNeverReused(t *testing.T) {
	out := t.TempDir()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	a, err := Create(out, "x/../y", "0123abcd", at)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Create(out, "x/../y", "0123abcd", at)
	if err != nil {
		t.Fatal(err)
	}
	if a.Path == b.Path {
		t.Fatalf("%s was given out twice", a.Path)
	}
	if filepath.Dir(filepath.Dir(a.Path)) != out {
		t.Errorf("%s lies outside %s", a.Path, out)
	}
	if to, err := os.Readlink(filepath.Join(filepath.Dir(a.Path), "latest")); err != nil || to != filepath.Base(b.Path) {
		t.Errorf("latest points to %q (%v), want %q", to, err, filepath.Base(b.Path))
	}
}

func TestWriteReplacesWhole(t *testing.T) {
	d, err := Create(t.TempDir(), "n", "h", time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"first", "second"} {
		if err := d.Write("cells/a/b", []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(d.Join("cells/a/b"))
	if err != nil || string(got) != "second" {
		t.Fatalf("read %q, %v", got, err)
	}
	entries, err := os.ReadDir(d.Join("cells/a"))
	if err != nil || len(entries) != 1 {
		t.Errorf("left %d files behind (%v)", len(entries)-1, err)
	}
}

func TestOpenWantsAManifest(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(dir); err == nil {
		t.Fatal("an empty folder passed for a run directory")
	}
	if err := WriteFile(filepath.Join(dir, "manifest.json"), []byte(`{"schema":"vramsim/manifest/9"}`)); err != nil {
		t.Fatal(err)
	}
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Manifest(); err == nil {
		t.Error("an unknown schema was read")
	}
}

func TestFileName(t *testing.T) {
	for in, want := range map[string]string{"a b": "a%20b", "..": "%2E.", "x/y": "x%2Fy", "max-wait_30=s": "max-wait_30=s"} {
		if got := FileName(in); got != want {
			t.Errorf("FileName(%q) = %q, want %q", in, got, want)
		}
	}
}

// A folder stays one, and a write that fails leaves what was there and nothing else.
func TestReplace(t *testing.T) {
	dir := t.TempDir()
	if err := WriteFile(dir, nil); err == nil {
		t.Error("a folder was replaced")
	}
	path := filepath.Join(dir, "x")
	if err := WriteFile(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	err := Replace(path, func(w io.Writer) error {
		io.WriteString(w, "half")
		return broken
	})
	if data, _ := os.ReadFile(path); !errors.Is(err, broken) || string(data) != "old" {
		t.Errorf("%v left %q", err, data)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("%v are left", entries)
	}
	if err := WriteFile(filepath.Join(dir, "none", "x"), nil); err == nil || !strings.Contains(err.Error(), filepath.Join("none", "x")+":") {
		t.Errorf("no folder: %v", err)
	}
}

func TestLock(t *testing.T) {
	dir := &Dir{Path: t.TempDir()}
	release, err := dir.Lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dir.Lock(); !errors.Is(err, ErrLocked) {
		t.Errorf("locked twice: %v", err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	again, err := dir.Lock()
	if err != nil {
		t.Fatal(err)
	}
	if err := again(); err != nil {
		t.Fatal(err)
	}
	if _, err := (&Dir{Path: filepath.Join(dir.Path, "none")}).Lock(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}
