package workloads

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/vramsim/vramsim/scheduler"
)

// sorterBytes is how many bytes of lines a Sorter holds in memory.
const sorterBytes = 48 << 20

// Sorter puts items that come in any order into the order of their arrival;
// those of one instant stay in the order in which they came. What does not fit
// in memory goes as sorted runs into one temporary file:
//
//	at_ns (8 bytes, little endian) | length of the line (4) | line
//
// The file has no name any more where the system allows that, so that it goes
// with the process however that ends. The zero value is ready for use.
type Sorter struct {
	// Dir is the folder of the temporary file; "" is the system's.
	Dir string

	limit int    // of bytes held; 0: sorterBytes
	held  []byte // lines one after another
	lines []heldLine
	file  *os.File
	named bool // the file is still in its folder
	runs  []sortedRun
	end   int64 // of the file
}

type heldLine struct {
	at     scheduler.Time
	offset uint32
	length uint32
}

// sortedRun is a part of the temporary file.
type sortedRun struct{ offset, length int64 }

// Add takes an item. Errors about the item are of type *ItemError, others come
// from the temporary file.
func (s *Sorter) Add(item *Item) error {
	if what := item.invalid(0); what != "" {
		return &ItemError{Item: item.ID, What: what}
	}
	limit := cmp.Or(s.limit, sorterBytes)
	if len(s.held) > limit/16 && cap(s.held) < limit {
		s.held = append(make([]byte, 0, limit+limit/16), s.held...) // once: doubling would take twice as much
	}
	offset := len(s.held)
	s.held = item.append(s.held)
	length := len(s.held) - offset
	if length > MaxLine {
		return &ItemError{Item: item.ID, What: "its line would be too long"}
	}
	s.lines = append(s.lines, heldLine{at: item.At, offset: uint32(offset), length: uint32(length)})
	if len(s.held)+len(s.lines)*16 < limit {
		return nil
	}
	return s.spill()
}

func (s *Sorter) sort() {
	slices.SortStableFunc(s.lines, func(a, b heldLine) int { return cmp.Compare(a.at, b.at) })
}

// spill writes what is held as a run.
func (s *Sorter) spill() error {
	if s.file == nil {
		file, err := os.CreateTemp(s.Dir, "vramsim-sort-*")
		if err != nil {
			return err
		}
		s.file, s.named = file, os.Remove(file.Name()) != nil
	}
	s.sort()
	out := bufio.NewWriterSize(s.file, 1<<18)
	run := sortedRun{offset: s.end}
	for _, l := range s.lines {
		var head [12]byte
		binary.LittleEndian.PutUint64(head[:], uint64(l.at))
		binary.LittleEndian.PutUint32(head[8:], l.length)
		out.Write(head[:])
		out.Write(s.held[l.offset : l.offset+l.length])
		run.length += int64(len(head)) + int64(l.length)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("temporary file: %w", err)
	}
	s.runs = append(s.runs, run)
	s.end += run.length
	s.held, s.lines = s.held[:0], s.lines[:0]
	return nil
}

// WriteTo writes the items in order. Nothing may be added afterwards.
func (s *Sorter) WriteTo(out *Writer) error {
	if len(s.runs) == 0 {
		s.sort()
		for _, l := range s.lines {
			if err := out.writeLine(l.at, s.held[l.offset:l.offset+l.length]); err != nil {
				return err
			}
		}
		return nil
	}
	if len(s.lines) > 0 {
		if err := s.spill(); err != nil {
			return err
		}
	}
	s.held, s.lines = nil, nil
	return s.merge(out)
}

// merge writes the runs, the earliest line first and among equals the one of
// the earliest run.
func (s *Sorter) merge(out *Writer) error {
	readers := make([]runReader, len(s.runs))
	var heads dueHeap
	for i, run := range s.runs {
		readers[i].in = bufio.NewReaderSize(io.NewSectionReader(s.file, run.offset, run.length), 1<<16)
		if err := readers[i].next(); err != nil {
			return fmt.Errorf("temporary file: %w", err)
		}
		heads.push(due{readers[i].at, int32(i)})
	}
	for len(heads) > 0 {
		i := heads.pop().client
		r := &readers[i]
		if err := out.writeLine(r.at, r.line); err != nil {
			return err
		}
		switch err := r.next(); err {
		case nil:
			heads.push(due{r.at, i})
		case io.EOF:
		default:
			return fmt.Errorf("temporary file: %w", err)
		}
	}
	return nil
}

// runReader reads a run line by line.
type runReader struct {
	in   *bufio.Reader
	at   scheduler.Time
	line []byte
}

func (r *runReader) next() error {
	var head [12]byte
	if _, err := io.ReadFull(r.in, head[:]); err != nil {
		return err
	}
	r.at = scheduler.Time(binary.LittleEndian.Uint64(head[:]))
	r.line = slices.Grow(r.line[:0], int(binary.LittleEndian.Uint32(head[8:])))[:binary.LittleEndian.Uint32(head[8:])]
	_, err := io.ReadFull(r.in, r.line)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// Close removes the temporary file; it may be called twice.
func (s *Sorter) Close() error {
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
