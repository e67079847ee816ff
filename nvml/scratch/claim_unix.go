//go:build unix

package scratch

import (
	"errors"
	"os"
	"syscall"
)

// errClaimed says that a folder is in use.
var errClaimed = errors.New("the folder is in use")

// claim locks a folder until the file is closed or this process ends, however
// it does. The error is errClaimed if another has it.
func claim(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, errClaimed
	}
	return f, nil
}
