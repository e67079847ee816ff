package main

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/vramsim/vramsim/results/rundir"
)

// writeTrace writes a trace, compressed by the ending of its name: to a file
// as a whole or not at all, to standard output as it comes. write returns how
// many items it wrote.
func (a *app) writeTrace(ctx context.Context, path string, write func(io.Writer) (int64, error)) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return withHint(usagef("-o %s is a folder", path), "name a file in it, like trace.jsonl.gz")
	}
	var n int64
	pack := func(w io.Writer) error {
		z, err := compressor(interruptible{ctx, w}, path)
		if err != nil {
			return err
		}
		if n, err = write(z); err != nil {
			return err
		}
		return z.Close()
	}
	var err error
	if path == "-" {
		err = pack(a.stdout)
	} else {
		err = rundir.Replace(path, pack)
	}
	if err == nil {
		a.infof("%d items", n)
	}
	return err
}

// interruptible fails to write once its context is done.
type interruptible struct {
	ctx context.Context
	w   io.Writer
}

func (i interruptible) Write(p []byte) (int, error) {
	if err := context.Cause(i.ctx); err != nil {
		return 0, err
	}
	return i.w.Write(p)
}

type plainWriter struct{ io.Writer }

func (plainWriter) Close() error { return nil }

// compressor returns what compresses for a file of this name. Equal content
// gives equal bytes.
func compressor(w io.Writer, path string) (io.WriteCloser, error) {
	switch {
	case strings.HasSuffix(path, ".gz"):
		return gzip.NewWriter(w), nil
	case strings.HasSuffix(path, ".zst"):
		return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	}
	return plainWriter{w}, nil
}

// frugal keeps the heap close to what is in use, until the function it returns
// is called. Reading a trace leaves little garbage that has to be looked
// through, but holds 24 bytes for each of what may be millions of ids.
func frugal() (restore func()) {
	before := debug.SetGCPercent(10)
	return func() { debug.SetGCPercent(before) }
}

// spooled is an input that is read more than once: a path as it is, standard
// input as a copy. done removes the copy.
func (a *app) spooled(ctx context.Context, path string) (file, name string, done func() error, err error) {
	if path != "-" {
		return path, path, func() error { return nil }, nil
	}
	f, err := os.CreateTemp("", "vramsim-stdin-*")
	if err != nil {
		return "", "", nil, err
	}
	done = func() error { return os.Remove(f.Name()) }
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(f, a.stdin)
		copied <- errors.Join(err, f.Close())
	}()
	select {
	case err = <-copied:
	case <-ctx.Done(): // the read may never return
		err = context.Cause(ctx)
	}
	if err != nil {
		return "", "", nil, errors.Join(err, done())
	}
	return f.Name(), "stdin", done, nil
}
