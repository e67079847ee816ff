package containers

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
)

// spoolBytes is how much a Spool holds in memory.
const spoolBytes = 32 << 20

// Spool keeps what is written to it, in memory or where that is too much in a
// temporary file, to be read again and again, also at once. The file has no
// name any more where the system allows that, so that it goes with the process
// however that ends.
type Spool struct {
	dir   string
	limit int
	held  bytes.Buffer
	file  *os.File
	named bool // the file is still in its folder
	size  int64
}

// NewSpool returns an empty spool. dir is the folder for its file, "" the
// system's; limit, in bytes, is where the file begins, 0 for 32 MiB.
func NewSpool(dir string, limit int) *Spool {
	return &Spool{dir: dir, limit: cmp.Or(limit, spoolBytes)}
}

// Write appends.
func (s *Spool) Write(p []byte) (int, error) {
	if s.file == nil && s.held.Len()+len(p) > s.limit {
		if err := s.spill(); err != nil {
			return 0, err
		}
	}
	s.size += int64(len(p))
	if s.file == nil {
		return s.held.Write(p)
	}
	n, err := s.file.Write(p)
	if err != nil {
		err = fmt.Errorf("temporary file: %w", err)
	}
	return n, err
}

func (s *Spool) spill() error {
	file, err := os.CreateTemp(s.dir, "vramsim-spool-*")
	if err != nil {
		return err
	}
	s.file, s.named = file, os.Remove(file.Name()) != nil
	if _, err := file.Write(s.held.Bytes()); err != nil {
		return fmt.Errorf("temporary file: %w", err)
	}
	s.held = bytes.Buffer{}
	return nil
}

// Size returns how many bytes were written.
func (s *Spool) Size() int64 { return s.size }

// Open returns what was written so far, from its start. Readers may be used
// concurrently once nothing is written any more, until Close.
func (s *Spool) Open() (io.ReadCloser, error) {
	if s.file == nil {
		return io.NopCloser(bytes.NewReader(s.held.Bytes())), nil
	}
	return io.NopCloser(io.NewSectionReader(s.file, 0, math.MaxInt64)), nil
}

// Close removes the file; it may be called twice.
func (s *Spool) Close() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	if s.named {
		err = errors.Join(err, os.Remove(s.file.Name()))
	}
	s.file = nil
	return err
}
