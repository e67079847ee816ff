package pagecache

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/vramsim/vramsim/scheduler"
)

// TestResident: both methods tell the same of a file that was written, put out
// where the system does that, and half of it read again.
func TestResident(t *testing.T) {
	const size = 1<<20 + 100
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if r, err := Resident(f); err != nil || r.Resident != 0 || r.Size != 0 {
		t.Errorf("empty: %+v, %v", r, err)
	}
	if _, err := f.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	if r := both(t, f, size); r != size {
		t.Errorf("%v resident after it was written", r)
	}
	control := try(f)
	t.Logf("%+v", control)
	if control.Drops != (control.Why == "") || control.Method == "" {
		t.Errorf("%+v", control)
	}
	if !control.Drops {
		return
	}
	if r := both(t, f, size); r != 0 {
		t.Errorf("%v resident after it was dropped", r)
	}
	if _, err := f.ReadAt(make([]byte, 8192), 0); err != nil {
		t.Fatal(err)
	}
	if r := both(t, f, size); r < 8192 || r > size {
		t.Errorf("%v resident after a read of 8192", r)
	}
}

// both returns what Resident tells, after a look at what mincore does.
func both(t *testing.T, f *os.File, size int64) scheduler.Bytes {
	t.Helper()
	r, err := Resident(f)
	if err != nil {
		t.Fatal(err)
	}
	pages, err := mapped(f, size)
	if err != nil {
		t.Fatal(err)
	}
	if m := min(r.Size, scheduler.Bytes(pages)*scheduler.Bytes(os.Getpagesize())); m != r.Resident {
		t.Errorf("%s says %v, mincore %v", r.Method, r.Resident, m)
	}
	return r.Resident
}

// TestTry leaves nothing behind, and says of memory file systems that files
// stay.
func TestTry(t *testing.T) {
	dir := t.TempDir()
	if _, err := Try(dir); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if _, err := Try(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs("/dev/shm", &fs); err != nil || fs.Type != unix.TMPFS_MAGIC {
		t.Skip("no tmpfs to try")
	}
	if c, err := Try("/dev/shm"); err != nil || c.Drops || c.Why == "" {
		t.Errorf("tmpfs: %+v, %v", c, err)
	}
}
