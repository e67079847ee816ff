package rundir

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lockName is a file that says nothing; who has it open has the directory.
const lockName = ".lock"

// sharingViolation is ERROR_SHARING_VIOLATION.
const sharingViolation = syscall.Errno(32)

// Lock claims the directory for this process until it calls release or ends,
// however it does. The error wraps ErrLocked if another one has it.
func (d *Dir) Lock() (release func() error, err error) {
	path := d.Join(lockName)
	name, err := syscall.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	const withNobody = 0
	h, err := syscall.CreateFile(name, syscall.GENERIC_READ|syscall.GENERIC_WRITE, withNobody, nil, syscall.OPEN_ALWAYS, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	if errors.Is(err, sharingViolation) {
		return nil, fmt.Errorf("%s %w", d.Path, ErrLocked)
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return func() error { return errors.Join(syscall.CloseHandle(h), os.Remove(path)) }, nil
}
