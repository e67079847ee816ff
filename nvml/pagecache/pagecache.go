// Package pagecache tells which part of a file the operating system holds in
// memory, and puts a file out of it. Loads from disk are only measured after
// both: what cannot be shown to be out of the cache was not read from disk.
// It works on single files and never touches the cache of others. Only Linux
// tells; elsewhere the calls return ErrUnsupported.
package pagecache

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/vramsim/vramsim/scheduler"
)

// ErrUnsupported says that this system does not tell or does not let go.
var ErrUnsupported = errors.New("the page cache cannot be controlled here")

// Method is how residency is told.
type Method string

// The methods.
const (
	Cachestat Method = "cachestat" // the system call of Linux 6.5
	Mincore   Method = "mincore"   // on a mapping of the file
)

// Residency is how much of a file is in the page cache.
type Residency struct {
	Resident scheduler.Bytes // in whole pages, at most Size
	Size     scheduler.Bytes
	Method   Method
}

// Control is what can be done with the files of a folder.
type Control struct {
	Method Method // that tells what is resident
	Drops  bool   // files can be put out of the cache, and it shows
	Why    string // not
}

// trial is the size of the file that Try makes.
const trial = 4 * scheduler.MiB

// Try finds out, with a small file that it makes in dir and removes, whether
// files there can be shown to be in the page cache and out of it. An error says
// that the file could not be made.
func Try(dir string) (c Control, err error) {
	f, err := os.CreateTemp(dir, "vramsim-pagecache-*")
	if err != nil {
		return Control{}, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	if _, err := f.Write(make([]byte, trial)); err != nil {
		return Control{}, fmt.Errorf("%s: %w", filepath.Dir(f.Name()), err)
	}
	return try(f), nil
}

func try(f *os.File) Control {
	before, err := Resident(f)
	if err != nil {
		return Control{Why: err.Error()}
	}
	c := Control{Method: before.Method}
	if before.Resident < before.Size {
		c.Why = fmt.Sprintf("%s says that %v of a file just written are not in the cache", before.Method, before.Size-before.Resident)
		return c
	}
	if err := Drop(f); err != nil {
		c.Why = err.Error()
		return c
	}
	after, err := Resident(f)
	switch {
	case err != nil:
		c.Why = err.Error()
	case after.Resident > 0:
		c.Why = fmt.Sprintf("%v of a file stay in the cache after it was to leave, as on tmpfs and in sandboxes", after.Resident)
	default:
		c.Drops = true
	}
	return c
}
