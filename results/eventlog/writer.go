package eventlog

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"

	"github.com/klauspost/compress/zstd"

	"github.com/vramsim/vramsim/scheduler"
)

// File is what a Writer writes to; *os.File is one.
type File interface {
	io.Writer
	Sync() error
	Close() error
}

// Options of a Writer. The zero value is a log without names and snapshots.
type Options struct {
	// Names gives the names behind the ids of items, jobs and tenants, for the
	// log to keep. Empty ones are left out.
	Names scheduler.Namer
	// Snapshot returns a hash of the state that the events so far lead to. It
	// is asked for at the end of an Append, each time SnapshotEvery full
	// frames were written.
	Snapshot      func() [32]byte
	SnapshotEvery int
	// Pack compresses the frames too, which takes a quarter off at several times
	// the cost of writing them.
	Pack bool
}

// Writer writes an event log. It is a scheduler.Sink. After a failed write or
// sync every call returns that failure; what was written until then can be
// read.
type Writer struct {
	file   File
	opts   Options
	err    error
	closed bool

	offset    int64
	chain     chain
	digest    *digest
	enc       *zstd.Encoder
	coder     coder
	pending   []scheduler.Event
	written   int64 // events in frames
	frames    [][3]int64
	sinceSnap int

	names   []byte
	jobs    map[int64]struct{}
	tenants map[int64]struct{}

	payload, record []byte
}

var _ scheduler.Sink = (*Writer)(nil)

// Create begins a log in a new file. The error wraps fs.ErrExist if there is
// one at path already.
func Create(path string, h Header, o Options) (*Writer, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	w, err := NewWriter(f, h, o)
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(path))
	}
	return w, nil
}

// NewWriter begins a log in f, which must be empty. The Writer closes f,
// unless NewWriter fails.
func NewWriter(f File, h Header, o Options) (*Writer, error) {
	h.Schema, h.Major, h.Minor = Schema, Major, Minor
	head, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	w := &Writer{
		file: f, opts: o, digest: newDigest(),
		pending: make([]scheduler.Event, 0, FrameEvents),
		payload: make([]byte, 0, maxPacked),
		record:  append(make([]byte, 0, maxPacked), magic...),
		jobs:    map[int64]struct{}{}, tenants: map[int64]struct{}{},
	}
	w.enc, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderCRC(false), zstd.WithWindowSize(maxPacked))
	if err != nil {
		return nil, err
	}
	w.chain = newChain()
	w.put(w.record, typeHeader, 0, head, false)
	if w.err != nil {
		return nil, w.err
	}
	return w, nil
}

// Append adds events to the log. It does not keep the slice.
func (w *Writer) Append(events []scheduler.Event) error {
	if err := w.usable(); err != nil {
		return err
	}
	kinds := scheduler.Kind(0)
	for i := range events {
		kinds |= events[i].Kind
	}
	if kinds > maxKind {
		w.err = errors.New("event log has no room for events of kinds above 127")
		return w.err
	}
	for len(events) > 0 {
		n := min(len(events), FrameEvents-int(w.Events()%FrameEvents))
		if w.opts.Names != nil {
			w.intern(events[:n])
		}
		w.pending = append(w.pending, events[:n]...)
		events = events[n:]
		if w.Events()%FrameEvents == 0 { // frames end where blocks of the digest do
			if w.flush(); w.err != nil {
				return w.err
			}
			w.sinceSnap++
		}
	}
	if w.opts.Snapshot != nil && w.opts.SnapshotEvery > 0 && w.sinceSnap >= w.opts.SnapshotEvery {
		w.flush()
		w.sinceSnap = 0
		state := w.opts.Snapshot()
		w.payload = binary.AppendUvarint(w.payload[:0], uint64(w.written))
		w.payload = append(w.payload, state[:]...)
		w.put(w.record[:0], typeSnapshot, 0, w.payload, false)
	}
	return w.err
}

// Flush hands the events so far to the system: they survive the end of this
// process, though not that of the machine. It ends a frame, so that a log
// flushed at each step is larger.
func (w *Writer) Flush() error {
	if err := w.usable(); err != nil {
		return err
	}
	w.flush()
	return w.err
}

// Sync makes the events so far durable.
func (w *Writer) Sync() error {
	if err := w.usable(); err != nil {
		return err
	}
	w.flush()
	w.sync()
	return w.err
}

// Close completes the log, makes it durable and closes the file. After a
// failure it only closes the file. Further calls return what the first one did.
func (w *Writer) Close() error {
	if w.closed {
		return w.err
	}
	w.closed = true
	w.flush()
	w.finish()
	w.sync()
	if err := w.file.Close(); w.err == nil {
		w.err = err
	}
	w.enc.Close()
	return w.err
}

// Events returns how many events were appended.
func (w *Writer) Events() int64 { return w.written + int64(len(w.pending)) }

// Digest returns the digest of the events appended so far, "sha256:" and
// hexadecimal digits. It depends on nothing but the events.
func (w *Writer) Digest() string { return w.digest.with(w.pending) }

func (w *Writer) usable() error {
	if w.err == nil && w.closed {
		return fs.ErrClosed
	}
	return w.err
}

// intern keeps the names of what events mention for the first time.
func (w *Writer) intern(events []scheduler.Event) {
	for i := range events {
		e := &events[i]
		switch e.Kind {
		case scheduler.ItemArrived:
			w.name(nameItem, e.ID, w.opts.Names.ItemName(e.Item()))
		case scheduler.ItemJob:
			if _, ok := w.jobs[e.Value]; !ok {
				w.jobs[e.Value] = struct{}{}
				w.name(nameJob, e.Value, w.opts.Names.JobName(scheduler.JobID(e.Value)))
			}
		case scheduler.ItemTenant:
			if _, ok := w.tenants[e.Value]; !ok {
				w.tenants[e.Value] = struct{}{}
				w.name(nameTenant, e.Value, w.opts.Names.TenantName(e.Value))
			}
		}
	}
}

func (w *Writer) name(kind byte, id int64, name string) {
	if name == "" {
		return
	}
	w.names = append(w.names, kind)
	w.names = binary.AppendVarint(w.names, id)
	w.names = binary.AppendUvarint(w.names, uint64(len(name)))
	w.names = append(w.names, name...)
	if len(w.names) >= maxPacked/2 {
		w.flushNames()
	}
}

func (w *Writer) flushNames() {
	if len(w.names) == 0 {
		return
	}
	w.put(w.record[:0], typeNames, 0, w.names, true)
	w.names = w.names[:0]
}

// flush writes what is pending: the names, then the events.
func (w *Writer) flush() {
	w.flushNames()
	if len(w.pending) == 0 || w.err != nil {
		return
	}
	w.payload = w.coder.encode(w.payload[:0], w.written, w.pending)
	at := w.offset
	if w.put(w.record[:0], typeEvents, len(w.pending), w.payload, w.opts.Pack); w.err != nil {
		return
	}
	if len(w.pending) == FrameEvents && w.digest.aligned() {
		w.digest.whole(w.payload)
	} else {
		w.digest.add(w.pending)
	}
	w.frames = append(w.frames, [3]int64{at, w.written, int64(w.pending[0].At)})
	w.written += int64(len(w.pending))
	w.pending = w.pending[:0]
}

// finish writes the footer and the trailer behind it.
func (w *Writer) finish() {
	if w.err != nil {
		return
	}
	foot, err := json.Marshal(footer{Events: w.written, Digest: w.Digest(), Frames: w.frames})
	if err != nil {
		w.err = err
		return
	}
	at := w.offset
	w.put(w.record[:0], typeFooter, 0, foot, false)
	w.write(trailer(at))
}

// put appends a record to b and writes it all at once.
func (w *Writer) put(b []byte, typ byte, count int, payload []byte, pack bool) {
	if w.err != nil {
		return
	}
	start := len(b)
	var head [recordLen]byte
	b = append(b, head[:]...)
	body := len(b)
	if pack && len(payload) <= maxPacked {
		b = w.enc.EncodeAll(payload, b)
		head[1] = flagZstd
	}
	if head[1] == 0 || len(b)-body >= len(payload) {
		head[1] = 0
		b = append(b[:body], payload...)
	}
	w.record = b
	if uint64(len(b)-body) > math.MaxUint32 {
		w.err = errors.New("event log record is too long")
		return
	}
	head[0] = typ
	binary.LittleEndian.PutUint32(head[2:], uint32(len(b)-body))
	binary.LittleEndian.PutUint32(head[6:], uint32(count))
	binary.LittleEndian.PutUint32(head[10:], w.chain.next(&head, b[body:]))
	copy(b[start:], head[:])
	w.write(b)
}

func (w *Writer) write(b []byte) {
	if w.err != nil {
		return
	}
	n, err := w.file.Write(b)
	w.offset += int64(n)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	w.err = err
}

func (w *Writer) sync() {
	if w.err == nil {
		w.err = w.file.Sync()
	}
}

func trailer(footer int64) []byte {
	return binary.LittleEndian.AppendUint64([]byte(trailerMagic), uint64(footer))
}
