package worker

import (
	"os"
	"path/filepath"
	"time"
)

// folderPrefix begins the names of temporary folders of weights.
const folderPrefix = "vramsim-worker-"

// fresh is how old a temporary folder has to be to count as left behind: its
// owner makes it first and claims it then.
const fresh = time.Minute

// folder makes the folder of weights. A temporary one is claimed for as long as
// this process lives, so that the next one can tell what a kill has left.
func (e *Executor) folder() (err error) {
	if e.dir = e.cfg.Dir; e.dir != "" {
		return os.MkdirAll(e.dir, 0o777)
	}
	sweep(os.TempDir())
	if e.dir, err = os.MkdirTemp("", folderPrefix); err != nil {
		return err
	}
	e.ours = true
	e.claim, err = claim(e.dir)
	return err
}

// removeFolder removes a temporary folder.
func (e *Executor) removeFolder() error {
	if !e.ours {
		return nil
	}
	if e.claim != nil {
		e.claim.Close()
	}
	return os.RemoveAll(e.dir)
}

// sweep removes the temporary folders whose owner is gone. What cannot be
// removed stays: it may be somebody else's.
func sweep(parent string) {
	found, _ := filepath.Glob(filepath.Join(parent, folderPrefix+"*"))
	for _, path := range found {
		info, err := os.Lstat(path)
		if err != nil || !info.IsDir() || time.Since(info.ModTime()) < fresh {
			continue
		}
		if f, err := claim(path); err == nil && f != nil {
			os.RemoveAll(path)
			f.Close()
		}
	}
}
