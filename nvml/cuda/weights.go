package cuda

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"github.com/vramsim/vramsim/nvml/pagecache"
	"github.com/vramsim/vramsim/nvml/scratch"
	"github.com/vramsim/vramsim/scheduler"
)

const (
	// pieceBytes is how much of a model is summed at once.
	pieceBytes = 256 * int64(scheduler.MiB)
	// scratchBytes is where kernels write: the sums of the pieces of 512 GiB.
	scratchBytes = 16384
)

// weights are the contents of the models: their files and what the pieces of
// each sum up to.
type weights struct {
	seed  uint32
	dir   string
	disk  bool    // there are loads from disk
	sizes []int64 // by model, rounded up
	files []*os.File
	using sync.RWMutex // held to read by who drops files, to write by close
	done  bool         // closed
	keep  bool         // files stay when they are closed
	sums  [][]uint64
}

// sizeOf returns the bytes of a model on the device: whole vectors, at least one.
func sizeOf(m *scheduler.Model) int64 {
	return max(vectorBytes, (int64(m.Bytes)+vectorBytes-1)/vectorBytes*vectorBytes)
}

// prepareWeights finds or writes a file for each model. Whoever got weights has
// to close them, with an error too.
func prepareWeights(ctx context.Context, cfg *Config, plan *scheduler.Plan) (*weights, error) {
	w := &weights{seed: uint32(plan.Seed ^ plan.Seed>>32), dir: cfg.Dir, disk: slices.Contains(plan.Tiers, scheduler.TierDisk),
		keep: cfg.Keep && cfg.Dir != "", files: make([]*os.File, len(plan.Models))}
	for i := range plan.Models {
		w.sizes = append(w.sizes, sizeOf(&plan.Models[i]))
		if w.sizes[i] > pieceBytes*scratchBytes/8 {
			return w, &ConfigError{Field: "Models", What: fmt.Sprintf("%s of %v is too large", plan.Models[i].Name, plan.Models[i].Bytes)}
		}
	}
	if err := w.sum(ctx); err != nil {
		return w, err
	}
	return w, w.prepareAll(ctx, plan)
}

// prepareAll opens all files, in a folder that lives no longer than this if none
// was given.
func (w *weights) prepareAll(ctx context.Context, plan *scheduler.Plan) (failed error) {
	if w.dir == "" {
		temp, err := scratch.Make("", FolderPrefix)
		if err != nil {
			return err
		}
		w.dir = temp.Path()
		defer func() { failed = errors.Join(failed, temp.Remove()) }()
	}
	for i := range plan.Models {
		err := w.prepare(ctx, i)
		if err == nil && w.disk {
			err = w.drop(i)
		}
		if err != nil {
			return fmt.Errorf("weights of model %s: %w", plan.Models[i].Name, err)
		}
	}
	return nil
}

// prepare opens model i's file, after writing it if it is not there. What is not
// to be kept loses its name at once: it is gone when it is closed, or this
// process is killed.
func (w *weights) prepare(ctx context.Context, i int) error {
	name := filepath.Join(w.dir, fmt.Sprintf("weights-%08x-%d-%d.bin", w.seed, w.sizes[i], i))
	f, err := os.Open(name)
	if err == nil {
		if err = w.match(f, w.sizes[i]); err == nil {
			w.files[i] = f
			return nil
		}
		_ = f.Close() // only read; it is replaced
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := w.write(ctx, name, w.sizes[i]); err != nil {
		return err
	}
	w.files[i], err = os.Open(name)
	if !w.keep {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

// errMismatch says that a file holds something else.
var errMismatch = errors.New("other contents")

// samples is at how many places of a file its contents are looked at; the first
// load sees all of them.
const samples = 64

// match compares a file with the stream: its size, and blocks spread over it.
func (w *weights) match(f *os.File, size int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() != size {
		return errMismatch
	}
	const block = 4096
	got, want := make([]byte, block), make([]byte, block)
	for s := range int64(samples) {
		at := (size - block) / (samples - 1) * s / vectorBytes * vectorBytes
		if at = max(at, 0); s == samples-1 {
			at = max(size-block, 0)
		}
		n := min(block, size-at)
		if _, err := f.ReadAt(got[:n], at); err != nil {
			return err
		}
		fill(want[:n], w.seed, uint64(at/wordBytes))
		if !bytes.Equal(got[:n], want[:n]) {
			return errMismatch
		}
	}
	return nil
}

// write makes a file whole or not at all: under another name first, and synced if
// its pages have to leave the cache.
func (w *weights) write(ctx context.Context, name string, size int64) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".part-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	buffer := make([]byte, min(size, 64*int64(scheduler.MiB)))
	for at := int64(0); at < size && err == nil; {
		part := buffer[:min(size-at, int64(len(buffer)))]
		if err = w.fill(ctx, part, at); err == nil {
			_, err = f.Write(part)
		}
		at += int64(len(part))
	}
	if err == nil && w.disk {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// sum computes what the pieces of all models sum up to. Whole pieces are the
// same in all models.
func (w *weights) sum(ctx context.Context) error {
	const words = uint64(pieceBytes / wordBytes)
	whole := make([]uint64, slices.Max(append([]int64{0}, w.sizes...))/pieceBytes)
	err := inParallel(ctx, len(whole), func(k int) { whole[k] = streamSum(w.seed, uint64(k)*words, words) })
	if err != nil {
		return err
	}
	w.sums = make([][]uint64, len(w.sizes))
	return inParallel(ctx, len(w.sizes), func(i int) {
		n := w.sizes[i] / pieceBytes
		w.sums[i] = slices.Clone(whole[:n])
		if rest := w.sizes[i] % pieceBytes; rest > 0 {
			w.sums[i] = append(w.sums[i], streamSum(w.seed, uint64(n)*words, uint64(rest/wordBytes)))
		}
	})
}

// inParallel calls f(0…n-1) on as many goroutines as can run, until ctx ends.
func inParallel(ctx context.Context, n int, f func(int)) error {
	var all sync.WaitGroup
	next := make(chan int)
	for range min(n, runtime.GOMAXPROCS(0)) {
		all.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := 0; i < n && ctx.Err() == nil; i++ {
		next <- i
	}
	close(next)
	all.Wait()
	return ctx.Err()
}

// fill writes the stream from byte at on to memory, in parallel.
func (w *weights) fill(ctx context.Context, memory []byte, at int64) error {
	const part = int64(2 * scheduler.MiB)
	n := int64(len(memory))
	return inParallel(ctx, int((n+part-1)/part), func(k int) {
		from := int64(k) * part
		fill(memory[from:min(from+part, n)], w.seed, uint64((at+from)/wordBytes))
	})
}

// pinnedBytes is how much of the stream the host tier needs: the longest model
// that enters it.
func (w *weights) pinnedBytes(hostMemory scheduler.Bytes) int64 {
	most := int64(0)
	for _, size := range w.sizes {
		if size <= int64(hostMemory) {
			most = max(most, size)
		}
	}
	return most
}

// drop puts model i's file out of the page cache.
func (w *weights) drop(i int) error {
	w.using.RLock()
	defer w.using.RUnlock()
	if w.done {
		return os.ErrClosed
	}
	return pagecache.Drop(w.files[i])
}

// close closes the files. It may be called again.
func (w *weights) close() error {
	w.using.Lock()
	defer w.using.Unlock()
	if w.done {
		return nil
	}
	w.done = true
	var errs []error
	for _, f := range w.files {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}
