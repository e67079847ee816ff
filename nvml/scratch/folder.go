// Package scratch makes temporary folders, for weights of gigabytes, of which a
// kill leaves nothing for long: who makes the next one of the same name removes
// those whose owners are gone.
package scratch

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// fresh is how old a folder has to be to count as left behind: its owner makes
// it first and claims it then.
const fresh = time.Minute

// Folder is a temporary folder of this process, which has claimed it for as long
// as it lives or until Remove.
type Folder struct {
	path  string
	claim *os.File // nil where there are no claims
}

// Make makes a folder in parent (empty: the system's folder for temporary files)
// whose name begins with prefix, like "vramsim-weights-". Folders there of such
// names that have been left are removed; what cannot be removed stays, for it may
// be somebody else's. Where the system knows no claims (Windows) none is.
func Make(parent, prefix string) (*Folder, error) {
	if parent == "" {
		parent = os.TempDir()
	}
	sweep(parent, prefix)
	path, err := os.MkdirTemp(parent, prefix)
	if err != nil {
		return nil, err
	}
	f := &Folder{path: path}
	if f.claim, err = claim(path); err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return f, nil
}

// Path is where the folder is.
func (f *Folder) Path() string { return f.path }

// Remove removes the folder with all that is in it. Of nil it does nothing.
func (f *Folder) Remove() error {
	if f == nil {
		return nil
	}
	if f.claim != nil {
		defer f.claim.Close()
	}
	return os.RemoveAll(f.path)
}

// sweep removes the folders whose owners are gone.
func sweep(parent, prefix string) {
	entries, _ := os.ReadDir(parent)
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), prefix) {
			continue
		}
		info, err := e.Info()
		if err != nil || time.Since(info.ModTime()) < fresh {
			continue
		}
		path := filepath.Join(parent, e.Name())
		if f, err := claim(path); err == nil && f != nil {
			os.RemoveAll(path)
			f.Close()
		}
	}
}
