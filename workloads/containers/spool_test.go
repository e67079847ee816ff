package containers

import (
	"bytes"
	"io"
	"os"
	"testing"
)

// A spool gives back what was written, from memory or from a file, to several
// readers at once, and leaves nothing behind.
func TestSpool(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), 1000)
	for _, limit := range []int{1, 4999, len(data), 0} {
		dir := t.TempDir()
		s := NewSpool(dir, limit)
		for rest := data; len(rest) > 0; rest = rest[500:] {
			if n, err := s.Write(rest[:500]); n != 500 || err != nil {
				t.Fatal(n, err)
			}
		}
		if inFile := s.file != nil; inFile != (limit > 0 && limit < len(data)) || s.Size() != int64(len(data)) {
			t.Errorf("limit %d: in a file %v, size %d", limit, inFile, s.Size())
		}
		one, _ := s.Open()
		other, _ := s.Open()
		head := make([]byte, 7)
		if _, err := io.ReadFull(one, head); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(other); err != nil || !bytes.Equal(got, data) {
			t.Errorf("limit %d: %d bytes come back, %v", limit, len(got), err)
		}
		if got, err := io.ReadAll(one); err != nil || !bytes.Equal(got, data[7:]) {
			t.Errorf("limit %d: %d bytes are left for the other reader, %v", limit, len(got), err)
		}
		for range 2 {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%s is left", left[0].Name())
		}
	}
	if _, err := NewSpool(t.TempDir()+"/none", 1).Write(data); !os.IsNotExist(err) {
		t.Errorf("no folder for the file: %v", err)
	}
}
