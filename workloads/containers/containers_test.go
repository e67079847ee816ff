package containers

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

func gzipped(t testing.TB, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(content)
	w.Close()
	return b.Bytes()
}

func zstded(t testing.TB, content []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(content, nil)
}

func xzd(t testing.TB, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := xz.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(content)
	w.Close()
	return b.Bytes()
}

func tarball(t testing.TB, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		w.WriteHeader(&tar.Header{Name: files[i], Size: int64(len(files[i+1])), Mode: 0o600, Typeflag: tar.TypeReg})
		io.WriteString(w, files[i+1])
	}
	w.WriteHeader(&tar.Header{Name: "link", Linkname: "/etc/passwd", Typeflag: tar.TypeSymlink})
	w.Close()
	return b.Bytes()
}

func read(data []byte, limits Limits) (string, error) {
	r, err := Open(bytes.NewReader(data), limits)
	if err != nil {
		return "", err
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	return string(content), err
}

func TestOpenByContent(t *testing.T) {
	text := strings.Repeat("some lines\n", 1000)
	double := append(gzipped(t, []byte(text[:500])), gzipped(t, []byte(text[500:]))...)
	for name, data := range map[string][]byte{"plain": []byte(text), "gzip": gzipped(t, []byte(text)), "members": double,
		"zstd": zstded(t, []byte(text)), "xz": xzd(t, []byte(text))} {
		if got, err := read(data, Limits{}); err != nil || got != text {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	if got, err := read(nil, Limits{}); got != "" || err != nil {
		t.Errorf("nothing: %q, %v", got, err)
	}
}

// zstdClaiming is a frame header with a window or a content size of choice.
func zstdClaiming(window byte, size uint64) []byte {
	b := []byte{0x28, 0xb5, 0x2f, 0xfd}
	if size > 0 {
		b = append(b, 0xc0, window)
		b = binary.LittleEndian.AppendUint64(b, size)
	} else {
		b = append(b, 0x00, window)
	}
	return append(b, 1, 0, 0) // an empty last block
}

func TestBombs(t *testing.T) {
	zeros := make([]byte, 80<<20)
	tests := []struct {
		name   string
		data   []byte
		limits Limits
		want   error
	}{
		{"gzip in gzip", gzipped(t, gzipped(t, []byte("x"))), Limits{}, ErrNested},
		{"zstd in gzip", gzipped(t, zstded(t, []byte("x"))), Limits{}, ErrNested},
		{"tar", tarball(t, "a", "x"), Limits{}, ErrArchive},
		{"ratio", zstded(t, zeros), Limits{}, ErrLimit},
		{"size", gzipped(t, zeros[:1<<20]), Limits{Out: 1 << 19}, ErrLimit},
		{"2 GiB window", zstdClaiming(21<<3, 0), Limits{}, ErrLimit},
		{"2^60 bytes", zstdClaiming(0, 1<<60), Limits{}, ErrCorrupt},
		{"cut gzip", gzipped(t, []byte("hello"))[:20], Limits{}, ErrCorrupt},
		{"cut zstd", zstded(t, []byte(strings.Repeat("hello, world", 50)))[:20], Limits{}, ErrCorrupt},
		{"trailing garbage", append(gzipped(t, []byte("hello")), "garbage"...), Limits{}, ErrCorrupt},
	}
	for _, test := range tests {
		if _, err := read(test.data, test.limits); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
}

func TestEach(t *testing.T) {
	archive := tarball(t, "b.csv", "bb", "sub/a.csv", "aaa", "._b.csv", "mac")
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	write("folder/z.csv.gz", gzipped(t, []byte("zzz")))
	write("folder/a/a.csv", []byte("a"))
	write("folder/._junk", []byte("junk"))
	tests := map[string]string{
		write("one.csv.gz", gzipped(t, []byte("x"))): "one.csv=x ",
		write("t.tar", archive):                      "b.csv=bb sub/a.csv=aaa ",
		write("t.tar.gz", gzipped(t, archive)):       "b.csv=bb sub/a.csv=aaa ",
		write("t.tar.zst", zstded(t, archive)):       "b.csv=bb sub/a.csv=aaa ",
		write("t.tar.xz", xzd(t, archive)):           "b.csv=bb sub/a.csv=aaa ",
		filepath.Join(dir, "folder"):                 "a/a.csv=a z.csv=zzz ",
	}
	for name, want := range tests {
		got := ""
		err := Each(name, Limits{}, func(member string, r io.Reader) error {
			content, err := io.ReadAll(r)
			got += member + "=" + string(content) + " "
			return err
		})
		if err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", filepath.Base(name), got, err, want)
		}
	}
	nested := write("n.tar", tarball(t, "inner.gz", string(gzipped(t, []byte("x")))))
	if err := Each(nested, Limits{}, func(string, io.Reader) error { return nil }); !errors.Is(err, ErrNested) {
		t.Errorf("nested: %v", err)
	}
	if err := Each(filepath.Join(dir, "t.tar"), Limits{Members: 1}, func(string, io.Reader) error { return nil }); !errors.Is(err, ErrLimit) {
		t.Errorf("members: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte("plain"))
	f.Add(gzipped(f, []byte("gzip")))
	f.Add(zstded(f, []byte("zstd")))
	f.Add(xzd(f, []byte("xz")))
	f.Add(zstdClaiming(21<<3, 0))
	f.Add(tarball(f, "a", "x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		const limit = 1 << 20
		got, err := read(data, Limits{Out: limit})
		if err == nil && len(got) > limit && detect(data) != plain {
			t.Fatalf("%d bytes came out", len(got))
		}
	})
}
