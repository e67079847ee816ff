// Package containers opens compressed and archived files by their content and
// keeps bombs from going off: output, ratio, windows and members are bounded,
// only regular files are read, nothing is written to disk, and an archive
// inside an archive is not opened.
package containers

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// Limits bound what comes out of a container. Zero fields stand for the
// defaults.
type Limits struct {
	Out     int64 // bytes, DefaultOut
	Members int   // files of an archive or folder, DefaultMembers
}

// Defaults and fixed limits.
const (
	DefaultOut     = 16 << 30
	DefaultMembers = 100_000

	maxRatio   = 500      // bytes out per byte in,
	ratioFrom  = 64 << 20 // once so many are out
	maxWindow  = 64 << 20 // of zstd and xz
	peekLength = 512      // enough for every magic number
)

// Errors; all are wrapped with the name of the file.
var (
	// ErrLimit is wrapped by errors about something too large.
	ErrLimit = errors.New("limit exceeded")
	// ErrNested is returned for an archive inside an archive.
	ErrNested = errors.New("an archive inside an archive is not opened")
	// ErrArchive is returned for a tar where one file is expected.
	ErrArchive = errors.New("is a tar archive; one file is expected here")
	// ErrCorrupt is wrapped by errors of damaged containers.
	ErrCorrupt = errors.New("damaged")
)

type format string

const (
	plain  format = ""
	gz     format = "gzip"
	zst    format = "zstd"
	xzed   format = "xz"
	tarred format = "tar"
)

func detect(head []byte) format {
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return gz
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}),
		len(head) >= 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte{0x2a, 0x4d, 0x18}):
		return zst
	case bytes.HasPrefix(head, []byte("\xfd7zXZ\x00")):
		return xzed
	case len(head) > 262 && string(head[257:262]) == "ustar":
		return tarred
	}
	return plain
}

// Open returns the content of one plain, gzip, zstd or xz stream. Closing the
// result frees the decoder, not r.
func Open(r io.Reader, limits Limits) (io.ReadCloser, error) {
	content, inner, err := expand(r, limits)
	if err != nil {
		return nil, err
	}
	switch inner {
	case plain:
		return content, nil
	case tarred:
		err = ErrArchive
	default:
		err = ErrNested
	}
	content.Close()
	return nil, err
}

// expand undoes at most one compression and tells what is inside.
func expand(r io.Reader, limits Limits) (io.ReadCloser, format, error) {
	counted := &counter{r: r}
	in := bufio.NewReaderSize(counted, 1<<16)
	head, err := in.Peek(peekLength)
	if err != nil && err != io.EOF {
		return nil, plain, err
	}
	kind := detect(head)
	if kind == plain || kind == tarred {
		return io.NopCloser(in), kind, nil
	}
	decoder, err := decompress(kind, in)
	if err != nil {
		return nil, plain, corrupt(kind, err)
	}
	guarded := &guard{r: decoder, kind: kind, in: counted, limit: limits.Out}
	if guarded.limit <= 0 {
		guarded.limit = DefaultOut
	}
	out := &closer{Reader: bufio.NewReaderSize(guarded, 1<<16), close: decoder.Close}
	inside, err := out.Peek(peekLength)
	if err != nil && err != io.EOF {
		decoder.Close()
		return nil, plain, err
	}
	return out, detect(inside), nil
}

func decompress(kind format, in *bufio.Reader) (io.ReadCloser, error) {
	switch kind {
	case gz:
		return gzip.NewReader(in)
	case zst:
		d, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	}
	d, err := xz.ReaderConfig{DictCap: maxWindow}.NewReader(in)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(d), nil
}

func corrupt(kind format, err error) error {
	switch {
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		return fmt.Errorf("%w: the %s frame wants a window above 64 MiB", ErrLimit, kind)
	case errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return fmt.Errorf("%w: the %s frame claims more than may come out of it", ErrLimit, kind)
	case err == io.ErrUnexpectedEOF:
		return fmt.Errorf("%w: the %s stream is cut off", ErrCorrupt, kind)
	}
	return fmt.Errorf("%w %s stream: %v", ErrCorrupt, kind, err)
}

type closer struct {
	*bufio.Reader
	close func() error
}

func (c *closer) Close() error { return c.close() }

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// guard stops a bomb.
type guard struct {
	r     io.Reader
	kind  format
	in    *counter
	out   int64
	limit int64
}

func (g *guard) Read(p []byte) (int, error) {
	n, err := g.r.Read(p)
	g.out += int64(n)
	switch {
	case g.out > g.limit:
		return n, fmt.Errorf("%w: more than %d bytes come out of the %s stream", ErrLimit, g.limit, g.kind)
	case g.out > ratioFrom && g.out/maxRatio > g.in.n:
		return n, fmt.Errorf("%w: the %s stream expands more than %d times", ErrLimit, g.kind, maxRatio)
	case err != nil && err != io.EOF:
		return n, corrupt(g.kind, err)
	}
	return n, err
}

// Each calls f with the name and content of every file that is meant by a
// path: the file itself, decompressed, the members of a tar, tar.gz, tar.zst
// or tar.xz, or the files of a folder, by name. Members named ._* are skipped.
func Each(name string, limits Limits, f func(member string, r io.Reader) error) error {
	if limits.Members <= 0 {
		limits.Members = DefaultMembers
	}
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return folder(name, limits, f)
	}
	return file(name, filepath.Base(name), limits, true, f)
}

func folder(root string, limits Limits, f func(string, io.Reader) error) error {
	members := 0
	return filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || strings.HasPrefix(entry.Name(), "._") {
			return err
		}
		if members++; members > limits.Members {
			return fmt.Errorf("%s: %w: more than %d files", root, ErrLimit, limits.Members)
		}
		relative, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		return file(name, filepath.ToSlash(relative), limits, false, f)
	})
}

func file(name, member string, limits Limits, archives bool, f func(string, io.Reader) error) error {
	r, err := os.Open(name)
	if err != nil {
		return err
	}
	defer r.Close()
	content, kind, err := expand(r, limits)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer content.Close()
	switch {
	case kind == plain:
		return f(strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(member, ".gz"), ".zst"), ".xz"), content)
	case kind == tarred && archives:
		return members(name, content, limits, f)
	}
	return fmt.Errorf("%s: %w", name, ErrNested)
}

func members(name string, r io.Reader, limits Limits, f func(string, io.Reader) error) error {
	archive := tar.NewReader(r)
	for n := 0; ; n++ {
		header, err := archive.Next()
		switch {
		case err == io.EOF:
			return nil
		case errors.Is(err, ErrLimit):
			return fmt.Errorf("%s: %w", name, err)
		case err != nil:
			return fmt.Errorf("%s: %w: %v", name, ErrCorrupt, err)
		case n >= limits.Members:
			return fmt.Errorf("%s: %w: more than %d members", name, ErrLimit, limits.Members)
		case header.Typeflag != tar.TypeReg || strings.HasPrefix(path.Base(header.Name), "._"):
			continue
		}
		content := bufio.NewReader(archive)
		head, err := content.Peek(peekLength)
		if err != nil && err != io.EOF {
			return fmt.Errorf("%s: %s: %w: %v", name, header.Name, ErrCorrupt, err)
		}
		if detect(head) != plain {
			return fmt.Errorf("%s: %s: %w", name, header.Name, ErrNested)
		}
		if err := f(header.Name, content); err != nil {
			return err
		}
	}
}
