package main

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/vramsim/vramsim/nvml/cuda"
)

// TestTemporaryWeights: a run that keeps no weights has one folder for them,
// which goes with it, and takes along what a killed run has left.
func TestTemporaryWeights(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("folders cannot be claimed here")
	}
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	left, long := filepath.Join(temp, cuda.FolderPrefix+"left"), time.Now().Add(-time.Hour)
	if err := errors.Join(os.Mkdir(left, 0o777), os.WriteFile(filepath.Join(left, "part"), []byte("half"), 0o666), os.Chtimes(left, long, long)); err != nil {
		t.Fatal(err)
	}
	c := &cards{}
	first, err := c.folder("")
	again, errAgain := c.folder("")
	if err != nil || errAgain != nil || again != first || filepath.Dir(first) != temp {
		t.Errorf("%s and %s (%v, %v)", first, again, err, errAgain)
	}
	given := filepath.Join(t.TempDir(), "made", "here")
	if path, err := c.folder(given); path != given || err != nil {
		t.Errorf("%s (%v), not the one given", path, err)
	}
	if there, err := os.ReadDir(temp); err != nil || len(there) != 1 {
		t.Errorf("%v (%v)", there, err)
	}
	if err := c.close(); err != nil {
		t.Error(err)
	}
	if there, err := os.ReadDir(temp); err != nil || len(there) != 0 {
		t.Errorf("left %v (%v)", there, err)
	}
	if _, err := os.Stat(given); err != nil {
		t.Errorf("the folder that was given: %v", err)
	}
}
