package main

import (
	"bytes"
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/vramsim/vramsim/sim/experiment"
)

// TestWarningsOfAllCellsAreToldOnce: what is true of every cell names none.
func TestWarningsOfAllCellsAreToldOnce(t *testing.T) {
	exp := &experiment.Experiment{Cells: []*experiment.Cell{{ID: "a", Warnings: []string{"both"}}, {ID: "b", Warnings: []string{"both", "one"}}}}
	var stderr bytes.Buffer
	all := (&app{stderr: &stderr}).announce(exp)
	if want := []string{"both", "cell b: one"}; !slices.Equal(all, want) || stderr.String() != "warning: both\nwarning: cell b: one\n" {
		t.Errorf("%q, printed %q", all, stderr.String())
	}
}

// TestManifestTellsInputsApart: two files of one name in two folders are two
// inputs.
func TestManifestTellsInputsApart(t *testing.T) {
	exp := &experiment.Experiment{Inputs: map[string]string{}}
	for path, sum := range map[string]string{"/a/x/models.csv": "1", "/a/y/models.csv": "2", "/b/y/models.csv": "3", "/a/t.jsonl": "4", "/models.csv": "5"} {
		exp.Inputs[filepath.FromSlash(path)] = sum
	}
	got := newManifest(&app{}, exp, nil, time.Now()).Inputs
	want := map[string]string{"x/models.csv": "1", "a/y/models.csv": "2", "b/y/models.csv": "3", "t.jsonl": "4", "/models.csv": "5"}
	if !maps.Equal(got, want) {
		t.Errorf("inputs %v, want %v", got, want)
	}
}
