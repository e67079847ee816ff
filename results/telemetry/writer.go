package telemetry

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// frameBytes is how much is collected for a frame when nobody syncs.
const frameBytes = 1 << 16

// File is what a Writer writes to; *os.File is one.
type File interface {
	io.Writer
	Sync() error
	Close() error
}

// Writer writes the stream. Its methods may be called from several
// goroutines: a sampler writes beside the run. After a failed write every call
// returns that failure.
type Writer struct {
	mu      sync.Mutex
	file    File
	enc     *zstd.Encoder
	sum     hash.Hash // of the header and the records, as lines
	pending []byte
	frame   []byte
	records int64
	err     error
	closed  bool
}

// The lines that are no records.
type (
	headLine struct {
		What    string `json:"vramsim"`
		Version int    `json:"version"`
		Header
	}
	endLine struct {
		What    string `json:"vramsim"`
		Records int64  `json:"records"`
		Digest  string `json:"digest"`
	}
)

const (
	whatHead = "telemetry"
	whatEnd  = "end"
)

// Create begins a stream in a new file. The error wraps fs.ErrExist if there
// is one at path already.
func Create(path string, h Header) (*Writer, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	w, err := NewWriter(f, h)
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(path))
	}
	return w, nil
}

// NewWriter begins a stream in f, which must be empty. The Writer closes f,
// unless NewWriter fails.
func NewWriter(f File, h Header) (*Writer, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true))
	if err != nil {
		return nil, err
	}
	w := &Writer{file: f, enc: enc, sum: sha256.New()}
	head, err := json.Marshal(headLine{whatHead, Version, h})
	if err != nil {
		return nil, err
	}
	w.add(append(head, '\n'))
	w.flush()
	return w, w.err
}

// Append adds a record. It does not keep it. A record that says what cannot
// be is refused and leaves the stream as it was.
func (w *Writer) Append(r Record) error {
	data, err := r.encode()
	if err != nil {
		return fmt.Errorf("telemetry: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.usable(); err != nil {
		return err
	}
	w.records++
	w.add(data)
	if len(w.pending) >= frameBytes {
		w.flush()
	}
	return w.err
}

// Sync makes the records so far durable.
func (w *Writer) Sync() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.usable(); err != nil {
		return err
	}
	w.flush()
	w.sync()
	return w.err
}

// Close ends the stream, makes it durable and closes the file. Further calls
// return what the first one did.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return w.err
	}
	w.closed = true
	if w.err == nil {
		end, err := json.Marshal(endLine{whatEnd, w.records, digestOf(w.sum)})
		if err != nil {
			panic("bug: numbers and text that JSON has no form for: " + err.Error())
		}
		w.pending = append(append(w.pending, end...), '\n')
	}
	w.flush()
	w.sync()
	if err := w.file.Close(); w.err == nil {
		w.err = err
	}
	w.enc.Close()
	return w.err
}

// Records returns how many records were appended.
func (w *Writer) Records() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.records
}

// Digest returns the digest of the stream so far, "sha256:" and hexadecimal
// digits: of its lines as text, whatever frames they are in.
func (w *Writer) Digest() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return digestOf(w.sum)
}

func digestOf(sum hash.Hash) string { return "sha256:" + hex.EncodeToString(sum.Sum(nil)) }

func (w *Writer) usable() error {
	if w.err == nil && w.closed {
		return fs.ErrClosed
	}
	return w.err
}

func (w *Writer) add(line []byte) {
	w.sum.Write(line)
	w.pending = append(w.pending, line...)
}

// flush writes what is pending as a frame of its own.
func (w *Writer) flush() {
	if len(w.pending) == 0 || w.err != nil {
		return
	}
	w.frame = w.enc.EncodeAll(w.pending, w.frame[:0])
	w.pending = w.pending[:0]
	n, err := w.file.Write(w.frame)
	if err == nil && n < len(w.frame) {
		err = io.ErrShortWrite
	}
	w.err = err
}

func (w *Writer) sync() {
	if w.err == nil {
		w.err = w.file.Sync()
	}
}
