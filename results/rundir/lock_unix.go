//go:build !windows

package rundir

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Lock claims the directory for this process until it calls release or ends,
// however it does. The error wraps ErrLocked if another one has it. Where the
// file system has no locks, nothing is claimed.
func (d *Dir) Lock() (release func() error, err error) {
	f, err := os.Open(d.Path)
	if err != nil {
		return nil, err
	}
	if errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB), syscall.EWOULDBLOCK) {
		return nil, errors.Join(fmt.Errorf("%s %w", d.Path, ErrLocked), f.Close())
	}
	return f.Close, nil
}
