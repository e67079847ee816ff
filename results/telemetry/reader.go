package telemetry

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
)

// maxLine bounds a line.
const maxLine = 1 << 20

// FormatError says that a stream is not as a Writer writes it.
type FormatError struct {
	Line int64 // from 1
	What string
}

func (e *FormatError) Error() string { return fmt.Sprintf("telemetry, line %d: %s", e.Line, e.What) }

// Status is what a reader found out. It is final once Next has returned
// io.EOF.
type Status struct {
	// Complete reports whether the stream ends as Close ended it; one of a
	// killed run does not.
	Complete bool
	Records  int64
	Digest   string // of the lines so far
}

// Reader reads a stream, strictly.
type Reader struct {
	in     *bufio.Reader
	dec    *zstd.Decoder
	close  func() error
	sum    hash.Hash
	header Header
	status Status
	line   int64
	err    error
}

// Open opens the stream at path and reads its header.
func Open(path string) (*Reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r, err := NewReader(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	r.close = f.Close
	return r, nil
}

// NewReader reads the stream in in and its header. Whoever has the reader
// closes it; in remains with the caller.
func NewReader(in io.Reader) (*Reader, error) {
	dec, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		return nil, err
	}
	r := &Reader{in: bufio.NewReaderSize(dec, 1<<16), dec: dec, sum: sha256.New()}
	if err := r.readHeader(); err != nil {
		dec.Close()
		return nil, err
	}
	return r, nil
}

func (r *Reader) readHeader() error {
	text, err := r.next()
	if err == io.EOF {
		return r.wrong("the header is missing")
	}
	if err != nil {
		return err
	}
	var h headLine
	if json.Unmarshal(text, &h) != nil || h.What != whatHead {
		return r.wrong("this is no telemetry")
	}
	if h.Version > Version {
		return r.wrong(fmt.Sprintf("version %d; this program reads up to %d", h.Version, Version))
	}
	if h.Version < 1 || !written(text, h) {
		return r.wrong("the header is not as it is written")
	}
	r.header = h.Header
	r.sum.Write(text)
	return nil
}

// Header returns the stream's header.
func (r *Reader) Header() Header { return r.header }

// Status returns what is known so far.
func (r *Reader) Status() Status {
	s := r.status
	s.Digest = digestOf(r.sum)
	return s
}

// Close ends the reader.
func (r *Reader) Close() error {
	if r.err == nil {
		r.err = os.ErrClosed
	}
	r.dec.Close()
	if r.close == nil {
		return nil
	}
	c := r.close
	r.close = nil
	return c()
}

// Next returns the next record, or io.EOF after the last: of the stream, or of
// what was written of it before its program was killed. A *FormatError says
// what is wrong with the stream.
func (r *Reader) Next() (Record, error) {
	if r.err != nil {
		return Record{}, r.err
	}
	rec, err := r.read()
	r.err = err
	return rec, err
}

func (r *Reader) read() (Record, error) {
	text, err := r.next()
	if err != nil {
		return Record{}, err
	}
	if bytes.HasPrefix(text, []byte(`{"vramsim":`)) {
		return Record{}, r.finish(text)
	}
	rec, err := decode(text)
	if err != nil {
		return Record{}, r.wrong(err.Error())
	}
	r.sum.Write(text)
	r.status.Records++
	return rec, nil
}

// finish reads the end, after which nothing may follow.
func (r *Reader) finish(text []byte) error {
	var end endLine
	switch err := json.Unmarshal(text, &end); {
	case err != nil || end.What != whatEnd || !written(text, end):
		return r.wrong("a line that is neither a record nor the end")
	case end.Records != r.status.Records:
		return r.wrong(fmt.Sprintf("the end counts %d records, there are %d", end.Records, r.status.Records))
	case end.Digest != digestOf(r.sum):
		return r.wrong("the digest of the end is not that of the lines")
	}
	if _, err := r.next(); err != io.EOF {
		return r.wrong("something follows the end")
	}
	r.status.Complete = true
	return io.EOF
}

// next reads a line with its line break. What a killed program left of the
// last line is dropped.
func (r *Reader) next() ([]byte, error) {
	var text []byte
	r.line++
	for {
		part, err := r.in.ReadSlice('\n')
		text = append(text, part...)
		switch {
		case err == nil:
			return text, nil
		case err == bufio.ErrBufferFull && len(text) < maxLine:
			continue
		case err == bufio.ErrBufferFull:
			return nil, r.wrong(fmt.Sprintf("is longer than %d bytes", maxLine))
		case err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF):
			return nil, io.EOF
		}
		return nil, r.wrong("cannot be unpacked: " + err.Error())
	}
}

func (r *Reader) wrong(what string) error { return &FormatError{r.line, what} }

// decode reads a record, strictly.
func decode(text []byte) (Record, error) {
	var head lineHead
	if err := json.Unmarshal(text, &head); err != nil {
		return Record{}, err
	}
	body := blank(head.Kind)
	switch {
	case body == nil:
		return Record{}, fmt.Errorf("a record of unknown kind %q", head.Kind)
	case head.At == nil || head.Seq == nil || head.Device == nil:
		return Record{}, errors.New("a record has t_ns, seq and device")
	}
	if err := json.Unmarshal(text, line(lineHead{}, body)); err != nil {
		return Record{}, err
	}
	rec := Record{*head.At, *head.Seq, *head.Device, body}
	again, err := rec.encode()
	if err == nil && !bytes.Equal(again, text) {
		err = errors.New("a record is not as it is written: a field is unknown, missing, twice there or not in order")
	}
	return rec, err
}

// written reports whether text is how v is written.
func written(text []byte, v any) bool {
	again, err := json.Marshal(v)
	return err == nil && bytes.Equal(append(again, '\n'), text)
}

// Read returns all records of the stream at path.
func Read(path string) ([]Record, Status, error) {
	r, err := Open(path)
	if err != nil {
		return nil, Status{}, err
	}
	defer r.Close()
	var all []Record
	for {
		rec, err := r.Next()
		if err == io.EOF {
			return all, r.Status(), nil
		}
		if err != nil {
			return all, r.Status(), fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, rec)
	}
}
