package scratch

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

const prefix = "vramsim-test-"

// ownerArgument makes this binary one that has a folder until its input ends.
const ownerArgument = "owner"

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == ownerArgument {
		f, err := Make(os.Args[2], prefix)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(f.Path())
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// owner starts a process that has a folder in parent.
func owner(t *testing.T, parent string) (c *exec.Cmd, path string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c = exec.CommandContext(t.Context(), self, ownerArgument, parent)
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		c.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if path = strings.TrimSpace(line); err != nil || filepath.Dir(path) != parent {
		t.Fatalf("the owner said %q (%v)", line, err)
	}
	return c, path
}

// aged makes a folder, with a file in it, as old as one that was left.
func aged(t *testing.T, path string) string {
	t.Helper()
	if err := os.MkdirAll(path, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path, "weights"), []byte("some"), 0o666); err != nil {
		t.Fatal(err)
	}
	long := time.Now().Add(-2 * fresh)
	if err := os.Chtimes(path, long, long); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestSweep: what the dead have left goes with the next folder of that name;
// what is in use, has only just been made, is no folder or has another name does
// not.
func TestSweep(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("folders cannot be claimed here")
	}
	parent := t.TempDir()
	killed, dead := owner(t, parent)
	_, living := owner(t, parent)
	killed.Process.Kill()
	killed.Wait()
	own, err := Make(parent, prefix)
	if err != nil {
		t.Fatal(err)
	}
	young, file, link := filepath.Join(parent, prefix+"young"), filepath.Join(parent, prefix+"file"), filepath.Join(parent, prefix+"link")
	other := aged(t, filepath.Join(parent, "vramsim-other-left"))
	if err := errors.Join(os.Mkdir(young, 0o777), os.WriteFile(file, nil, 0o666), os.Symlink(other, link)); err != nil {
		t.Fatal(err)
	}
	long := time.Now().Add(-2 * fresh)
	if err := os.Chtimes(file, long, long); err != nil {
		t.Fatal(err)
	}
	aged(t, dead)
	aged(t, living)
	aged(t, own.Path())
	next, err := Make(parent, prefix)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{dead: false, living: true, own.Path(): true, young: true, file: true, link: true,
		filepath.Join(other, "weights"): true, next.Path(): true} {
		if _, err := os.Lstat(path); (err == nil) != want {
			t.Errorf("%s: %v", filepath.Base(path), err)
		}
	}
}

// TestRemove takes the contents with it; there may be nothing to remove.
func TestRemove(t *testing.T) {
	f, err := Make(t.TempDir(), prefix)
	if err != nil {
		t.Fatal(err)
	}
	aged(t, f.Path())
	var none *Folder
	if err := errors.Join(f.Remove(), f.Remove(), none.Remove()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(f.Path()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left: %v", err)
	}
	if _, err := Make(filepath.Join(t.TempDir(), "none"), prefix); err == nil {
		t.Error("a folder in none")
	}
}

// TestSystemFolder: without a parent it is that for temporary files.
func TestSystemFolder(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	t.Setenv("TMP", temp)
	f, err := Make("", prefix)
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Dir(f.Path()) != temp || !strings.HasPrefix(filepath.Base(f.Path()), prefix) {
		t.Errorf("made %s", f.Path())
	}
}
