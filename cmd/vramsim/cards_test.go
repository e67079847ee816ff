package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vramsim/vramsim/nvml"
	"github.com/vramsim/vramsim/nvml/cuda"
	"github.com/vramsim/vramsim/sim/experiment"
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

// TestDifferingEnergy: people are told of the device whose two figures differ.
func TestDifferingEnergy(t *testing.T) {
	var told bytes.Buffer
	r := &runner{app: &app{stderr: &told}}
	r.tellEnergy(&experiment.Setup{}, &nvml.Report{Devices: []nvml.DeviceReport{{Compared: 90, Integrated: 91}, {Compared: 100, Integrated: 130, EnergyDiffers: true}}})
	if text := told.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "the energy of device 1 is 100 J by its counter and 130 J by its power") {
		t.Errorf("%q", text)
	}
}
