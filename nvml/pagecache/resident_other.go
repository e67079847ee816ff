//go:build !linux

package pagecache

import "os"

// Resident returns ErrUnsupported.
func Resident(*os.File) (Residency, error) { return Residency{}, ErrUnsupported }

// Drop returns ErrUnsupported.
func Drop(*os.File) error { return ErrUnsupported }
