//go:build unix

package cuda

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/vramsim/vramsim/scheduler"
)

func models(sizes ...scheduler.Bytes) *scheduler.Plan {
	p := &scheduler.Plan{Seed: 5}
	for _, n := range sizes {
		p.Models = append(p.Models, scheduler.Model{Name: "m", Bytes: n})
	}
	return p
}

func prepared(t *testing.T, cfg Config, p *scheduler.Plan) *weights {
	t.Helper()
	w, err := prepareWeights(t.Context(), &cfg, p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func names(t *testing.T, dir string) (found []string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		found = append(found, e.Name())
	}
	return found
}

// TestWeights: each model has a file of its size with the stream of the seed,
// pinned memory has the same, the sums are those of the files, and none has a name
// that a kill could leave behind.
func TestWeights(t *testing.T) {
	dir := t.TempDir()
	w := prepared(t, Config{Dir: dir}, models(1, 5*scheduler.MiB+7, 5*scheduler.MiB+7, 0))
	if !slices.Equal(w.sizes, []int64{16, 5<<20 + 16, 5<<20 + 16, 16}) || len(names(t, dir)) != 0 {
		t.Fatalf("sizes %v, files %v", w.sizes, names(t, dir))
	}
	pinned := make([]byte, w.pinnedBytes(scheduler.GiB))
	if err := w.fill(t.Context(), pinned, 0); err != nil {
		t.Fatal(err)
	}
	for i, f := range w.files {
		data, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
		if err != nil || !slices.Equal(data, pinned[:w.sizes[i]]) {
			t.Errorf("model %d: %d bytes are not the stream (%v)", i, len(data), err)
		}
		if len(w.sums[i]) != 1 || w.sums[i][0] != streamSum(w.seed, 0, uint64(w.sizes[i]/wordBytes)) {
			t.Errorf("model %d: sums %x", i, w.sums[i])
		}
	}
	for range 2 {
		if err := w.close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
}

// TestWeightsPieces: a model of more than one piece has a sum for each.
func TestWeightsPieces(t *testing.T) {
	if testing.Short() {
		t.Skip("sums 512 MiB")
	}
	w := &weights{seed: 3, sizes: []int64{pieceBytes + 160, 160, 2 * pieceBytes}}
	if err := w.sum(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := streamSum(3, 0, uint64(pieceBytes/wordBytes))
	if len(w.sums[0]) != 2 || w.sums[0][0] != first || w.sums[0][1] != streamSum(3, uint64(pieceBytes/wordBytes), 40) ||
		len(w.sums[1]) != 1 || w.sums[1][0] != streamSum(3, 0, 40) || len(w.sums[2]) != 2 || w.sums[2][0] != first {
		t.Errorf("sums %x", w.sums)
	}
}

// TestWeightsReused: files with the right contents stay as they are, others are
// replaced; Keep leaves what was written, and what was there before always stays.
func TestWeightsReused(t *testing.T) {
	dir, p := t.TempDir(), models(scheduler.MiB, 2*scheduler.MiB)
	if err := prepared(t, Config{Dir: dir, Keep: true}, p).close(); err != nil {
		t.Fatal(err)
	}
	kept := names(t, dir)
	if len(kept) != 2 {
		t.Fatalf("kept %v", kept)
	}
	old := modified(t, dir, kept[0])
	spoil(t, filepath.Join(dir, kept[1]), scheduler.MiB)
	w := prepared(t, Config{Dir: dir}, p)
	if modified(t, dir, kept[0]) != old {
		t.Errorf("%s was written again", kept[0])
	}
	last := make([]byte, wordBytes)
	if _, err := w.files[1].ReadAt(last, 2<<20-wordBytes); err != nil {
		t.Fatal(err)
	}
	want := make([]byte, wordBytes)
	if fill(want, w.seed, 2<<18-1); !slices.Equal(last, want) {
		t.Errorf("the end of the new file is %x, not %x", last, want)
	}
	if err := w.close(); err != nil || !slices.Equal(names(t, dir), kept[:1]) {
		t.Errorf("left %v (%v)", names(t, dir), err)
	}
}

func modified(t *testing.T, dir, name string) int64 {
	info, err := os.Stat(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return info.ModTime().UnixNano()
}

// spoil changes the end of a file.
func spoil(t *testing.T, name string, size scheduler.Bytes) {
	t.Helper()
	if err := os.WriteFile(name, make([]byte, 2*size), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestWeightsMatch: a change of size, or of whole blocks at any end, is seen.
func TestWeightsMatch(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		size := vectorBytes * rapid.Int64Range(1, 20_000).Draw(t, "vectors")
		data := make([]byte, size)
		fill(data, 9, 0)
		w := &weights{seed: 9}
		check := func(data []byte) error {
			name := filepath.Join(dir, "file")
			if err := os.WriteFile(name, data, 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := os.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			return w.match(f, size)
		}
		if err := check(data); err != nil {
			t.Fatalf("the same: %v", err)
		}
		if err := check(data[:size-1]); !errors.Is(err, errMismatch) {
			t.Fatalf("shorter: %v", err)
		}
		for _, at := range []int64{0, size - 1} {
			data[at] ^= 1
			if err := check(data); !errors.Is(err, errMismatch) {
				t.Fatalf("byte %d changed: %v", at, err)
			}
			data[at] ^= 1
		}
	})
}

// TestWeightsUnwritable: a folder that is not there is an error, and a context
// that ended leaves no half of a file.
func TestWeightsUnwritable(t *testing.T) {
	w, err := prepareWeights(t.Context(), &Config{Dir: filepath.Join(t.TempDir(), "none")}, models(scheduler.MiB))
	if !errors.Is(err, os.ErrNotExist) || w.close() != nil {
		t.Errorf("no folder: %v", err)
	}
	w, err = prepareWeights(t.Context(), &Config{Dir: t.TempDir()}, models(513*scheduler.GiB))
	if e, ok := errors.AsType[*ConfigError](err); !ok || e.Field != "Models" || w.close() != nil {
		t.Errorf("a model without end: %v", err)
	}
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (&weights{}).write(ctx, filepath.Join(dir, "file"), 16); !errors.Is(err, context.Canceled) || len(names(t, dir)) != 0 {
		t.Errorf("cancelled: %v, left %v", err, names(t, dir))
	}
}

// TestWeightsSweep: the temporary folder that a kill has left, half written,
// goes with the next one.
func TestWeightsSweep(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	left := filepath.Join(temp, FolderPrefix+"left")
	if err := os.Mkdir(left, 0o777); err != nil {
		t.Fatal(err)
	}
	spoil(t, filepath.Join(left, "weights-00000005-16-0.bin.part-1"), 16)
	long := time.Now().Add(-time.Hour)
	if err := os.Chtimes(left, long, long); err != nil {
		t.Fatal(err)
	}
	prepared(t, Config{}, models(scheduler.MiB))
	if there := names(t, temp); len(there) != 0 {
		t.Errorf("left %v", there)
	}
}

// TestPinnedBytes: what is larger than the host tier never enters it.
func TestPinnedBytes(t *testing.T) {
	w := &weights{sizes: []int64{100, 5000, 300}}
	for host, want := range map[scheduler.Bytes]int64{0: 0, 99: 0, 100: 100, 4999: 300, 5000: 5000} {
		if got := w.pinnedBytes(host); got != want {
			t.Errorf("%v: %d, want %d", host, got, want)
		}
	}
}
