package eventlog

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"os"
	"slices"

	"github.com/klauspost/compress/zstd"

	"github.com/vramsim/vramsim/scheduler"
)

// Status is what a reader found out about a log. It is final once Next has
// returned io.EOF.
type Status struct {
	// Complete reports whether the log ends as its writer's Close ended it.
	Complete bool
	// Dropped is the length of the torn end of a log that is not complete.
	Dropped int64
	Events  int64
	Digest  string
	// Skipped is how many records of unknown, ignorable types were passed over.
	Skipped int64
}

// Snapshot is a hash of the state after the first Seq events.
type Snapshot struct {
	Seq   int64
	State [32]byte
}

// Reader reads an event log and verifies it on the way.
type Reader struct {
	in      *bufio.Reader
	close   func() error
	size    int64
	offset  int64
	claimed bool // ends, but for a few bits, as a complete log does
	err     error

	header    Header
	chain     chain
	digest    *digest
	dec       *zstd.Decoder
	coder     coder
	status    Status
	frames    [][3]int64
	snapshots []Snapshot
	names     Names
	keepNames bool
	named     func(kind byte, id int64, name string) // told every name; may be nil

	payload, plain []byte
	events         []scheduler.Event
}

// Open opens the log at path and reads its header.
func Open(path string) (*Reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	var r *Reader
	if err == nil {
		r, err = NewReader(f, info.Size())
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	r.close = f.Close
	return r, nil
}

// NewReader reads the log in the first size bytes of f. Closing f remains with
// the caller.
func NewReader(f io.ReaderAt, size int64) (*Reader, error) {
	r := &Reader{in: bufio.NewReaderSize(io.NewSectionReader(f, 0, size), 1<<15), size: size, digest: newDigest()}
	if size >= int64(len(magic)+2*recordLen+trailerLen) {
		var end [trailerLen]byte
		if _, err := f.ReadAt(end[:], size-trailerLen); err != nil && err != io.EOF {
			return nil, err
		}
		// A few bits may be wrong: damage must not make a complete log look
		// like one that was cut short.
		wrong := bits.OnesCount64(binary.LittleEndian.Uint64(end[:]) ^ binary.LittleEndian.Uint64([]byte(trailerMagic)))
		r.claimed = wrong <= 4
	}
	got := make([]byte, len(magic))
	if n := min(size, int64(len(magic))); n < int64(len(magic)) {
		if _, err := io.ReadFull(r.in, got[:n]); err != nil {
			return nil, err
		}
		if !bytes.HasPrefix([]byte(magic), got[:n]) {
			return nil, r.corrupt("this is not an event log")
		}
		return nil, errCutHeader
	}
	if _, err := io.ReadFull(r.in, got); err != nil {
		return nil, err
	}
	if string(got) != magic {
		return nil, r.corrupt("this is not an event log")
	}
	r.offset = int64(len(magic))
	r.chain = newChain()
	typ, _, payload, err := r.next()
	if err == io.EOF {
		return nil, errCutHeader
	}
	if err != nil {
		return nil, err
	}
	if typ != typeHeader {
		return nil, r.corrupt("the first record is not the header")
	}
	var v VersionError
	if err := json.Unmarshal(payload, &v); err != nil {
		return nil, r.corrupt("the header cannot be read: " + err.Error())
	}
	if v.Major > Major {
		return nil, &v
	}
	if err := json.Unmarshal(payload, &r.header); err != nil {
		return nil, r.corrupt("the header cannot be read: " + err.Error())
	}
	if r.header.Schema != Schema || r.header.Major != Major {
		return nil, r.corrupt(fmt.Sprintf("the schema is %q", r.header.Schema))
	}
	if v.Minor == 0 {
		return nil, &v
	}
	return r, nil
}

var errCutHeader = fmt.Errorf("event log is cut inside its header: %w", io.ErrUnexpectedEOF)

// Header returns the log's header.
func (r *Reader) Header() Header { return r.header }

// Status returns what is known so far.
func (r *Reader) Status() Status {
	s := r.status
	s.Digest = r.digest.String()
	return s
}

// Names returns the names that a log gives to ids. They are kept from the
// first call on, which comes before that of Next, and grow with each Next; a
// reader that is never asked keeps none.
func (r *Reader) Names() *Names {
	r.keepNames = true
	return &r.names
}

// Snapshots returns the snapshots read so far.
func (r *Reader) Snapshots() []Snapshot { return r.snapshots }

// Close closes the file that Open opened.
func (r *Reader) Close() error {
	if r.err == nil {
		r.err = os.ErrClosed
	}
	if r.dec != nil {
		r.dec.Close()
		r.dec = nil
	}
	if r.close == nil {
		return nil
	}
	c := r.close
	r.close = nil
	return c()
}

// Next returns the next events, at least one and at most FrameEvents, or
// io.EOF after the last; then Status says whether the log is complete. The
// slice is valid until the next call. A *CorruptError means that the log is
// damaged; the events before it are as they were written.
func (r *Reader) Next() ([]scheduler.Event, error) {
	for r.err == nil {
		var events []scheduler.Event
		events, r.err = r.step()
		if r.err == nil && len(events) > 0 {
			return events, nil
		}
	}
	return nil, r.err
}

// step reads one record.
func (r *Reader) step() ([]scheduler.Event, error) {
	at := r.offset
	typ, count, payload, err := r.next()
	if err != nil {
		return nil, err
	}
	bad := func(what string) ([]scheduler.Event, error) { return nil, &CorruptError{at, what} }
	if typ != typeEvents && typ <= typeFooter && count != 0 {
		return bad("a record without events counts some")
	}
	switch typ {
	case typeEvents:
		if count < 1 || count > FrameEvents {
			return bad(fmt.Sprintf("a frame of %d events", count))
		}
		var ok bool
		if r.events, ok = r.coder.decode(r.events[:0], payload, r.status.Events, int(count)); !ok {
			return bad("a frame cannot be decoded")
		}
		r.digest.add(r.events)
		r.frames = append(r.frames, [3]int64{at, r.status.Events, int64(r.events[0].At)})
		r.status.Events += int64(count)
		return r.events, nil
	case typeNames:
		if !eachName(payload, r.name) {
			return bad("names cannot be decoded")
		}
	case typeSnapshot:
		seq, n := binary.Uvarint(payload)
		if n <= 0 || len(payload) != n+32 || seq != uint64(r.status.Events) {
			return bad("a snapshot that does not fit")
		}
		r.snapshots = append(r.snapshots, Snapshot{r.status.Events, [32]byte(payload[n:])})
	case typeFooter:
		return nil, r.finish(at, payload)
	case typeHeader:
		return bad("a second header")
	default:
		if typ < typeIgnorable {
			return nil, &UnknownError{typ, r.header.Major, r.header.Minor}
		}
		r.status.Skipped++
	}
	return nil, nil
}

func (r *Reader) name(kind byte, id int64, name []byte) {
	if r.keepNames {
		r.names.set(kind, id, string(name))
	}
	if r.named != nil {
		r.named(kind, id, string(name))
	}
}

// finish checks the footer at the given offset and the trailer.
func (r *Reader) finish(at int64, payload []byte) error {
	var f footer
	if err := json.Unmarshal(payload, &f); err != nil {
		return &CorruptError{at, "the footer cannot be read: " + err.Error()}
	}
	if f.Events != r.status.Events {
		return &CorruptError{at, fmt.Sprintf("the footer counts %d events, the log has %d", f.Events, r.status.Events)}
	}
	if d := r.digest.String(); f.Digest != d {
		return &CorruptError{at, fmt.Sprintf("the footer says %s, the events give %s", f.Digest, d)}
	}
	if !slices.Equal(f.Frames, r.frames) {
		return &CorruptError{at, "the footer's index is wrong"}
	}
	left := r.size - r.offset
	if left > trailerLen {
		return r.corrupt("bytes follow the footer")
	}
	var end [trailerLen]byte
	if err := r.full(end[:left]); err != nil {
		return err
	}
	if !bytes.HasPrefix(trailer(at), end[:left]) {
		return r.corrupt("the trailer is wrong")
	}
	if left < trailerLen {
		r.status.Dropped = left
		return io.EOF
	}
	r.status.Complete = true
	return io.EOF
}

// next reads a record and checks its checksum. At a torn end it returns
// io.EOF.
func (r *Reader) next() (typ byte, count uint32, payload []byte, err error) {
	at := r.offset
	left := r.size - at
	torn := func() (byte, uint32, []byte, error) {
		if r.claimed {
			return 0, 0, nil, r.corrupt("a record is longer than the log")
		}
		r.status.Dropped = left
		return 0, 0, nil, io.EOF
	}
	if left < recordLen {
		return torn()
	}
	var head [recordLen]byte
	if err := r.full(head[:]); err != nil {
		return 0, 0, nil, err
	}
	n := int64(binary.LittleEndian.Uint32(head[2:]))
	if n > left-recordLen {
		return torn()
	}
	r.payload = slices.Grow(r.payload[:0], int(n))[:n]
	if err := r.full(r.payload); err != nil {
		return 0, 0, nil, err
	}
	if binary.LittleEndian.Uint32(head[10:]) != r.chain.next(&head, r.payload) {
		return 0, 0, nil, r.corrupt("the checksum is wrong")
	}
	payload = r.payload
	switch head[1] {
	case 0:
	case flagZstd:
		if payload, err = r.unpack(payload); err != nil {
			return 0, 0, nil, r.corrupt("a payload cannot be unpacked: " + err.Error())
		}
	default:
		return 0, 0, nil, r.corrupt(fmt.Sprintf("unknown flags %#x", head[1]))
	}
	r.offset = at + recordLen + n
	return head[0], binary.LittleEndian.Uint32(head[6:]), payload, nil
}

func (r *Reader) unpack(b []byte) ([]byte, error) {
	if r.dec == nil {
		dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxMemory(maxPacked), zstd.WithDecoderMaxWindow(maxPacked))
		if err != nil {
			return nil, err
		}
		r.dec = dec
	}
	var err error
	r.plain, err = r.dec.DecodeAll(b, r.plain[:0])
	return r.plain, err
}

// full fills b; the caller has checked that the file is long enough.
func (r *Reader) full(b []byte) error {
	if _, err := io.ReadFull(r.in, b); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("event log at byte %d: %w", r.offset, err)
	}
	return nil
}

func (r *Reader) corrupt(what string) error { return &CorruptError{r.offset, what} }

// Names are the names that a log gives to ids. Ids without one have the empty
// name.
type Names struct {
	byKind [nameKinds]map[int64]string
}

var _ scheduler.Namer = (*Names)(nil)

// ItemName implements scheduler.Namer.
func (n *Names) ItemName(id scheduler.ItemID) string { return n.byKind[nameItem][int64(id)] }

// JobName implements scheduler.Namer.
func (n *Names) JobName(id scheduler.JobID) string { return n.byKind[nameJob][int64(id)] }

// TenantName implements scheduler.Namer.
func (n *Names) TenantName(id int64) string { return n.byKind[nameTenant][id] }

func (n *Names) set(kind byte, id int64, name string) {
	if n.byKind[kind] == nil {
		n.byKind[kind] = map[int64]string{}
	}
	n.byKind[kind][id] = name
}

// eachName calls f with each name of a record, and reports whether the
// record is whole.
func eachName(b []byte, f func(kind byte, id int64, name []byte)) bool {
	for len(b) > 0 {
		kind := b[0]
		id, w := binary.Varint(b[1:])
		if kind >= nameKinds || w <= 0 {
			return false
		}
		b = b[1+w:]
		size, w := binary.Uvarint(b)
		if w <= 0 || size > math.MaxUint32 || size > uint64(len(b)-w) {
			return false
		}
		b = b[w:]
		f(kind, id, b[:size])
		b = b[size:]
	}
	return true
}
