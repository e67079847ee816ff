package eventlog

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vramsim/vramsim/scheduler"
)

// memFile is a File in memory whose operation number failAt (from 1) fails.
type memFile struct {
	bytes.Buffer
	ops, failAt int
	err         error
	closed      int
}

func (f *memFile) fails() bool { f.ops++; return f.ops == f.failAt }

func (f *memFile) Write(b []byte) (int, error) {
	if f.fails() {
		n, _ := f.Buffer.Write(b[:len(b)/2])
		return n, f.err
	}
	return f.Buffer.Write(b)
}

func (f *memFile) Sync() error {
	if f.fails() {
		return f.err
	}
	return nil
}

func (f *memFile) Close() error {
	f.closed++
	if f.fails() {
		return f.err
	}
	return nil
}

type names struct{}

func (names) ItemName(i scheduler.ItemID) string {
	if i%7 == 3 {
		return ""
	}
	return fmt.Sprintf("item-%d", i)
}
func (names) JobName(j scheduler.JobID) string { return fmt.Sprintf("job-%d", j) }
func (names) TenantName(t int64) string        { return fmt.Sprintf("tenant-%d", t) }

// noisyNames are mostly incompressible.
type noisyNames struct{ names }

func (noisyNames) ItemName(i scheduler.ItemID) string {
	sum := sha256.Sum256([]byte{byte(i), byte(i >> 8)})
	return string(sum[:])
}

// plausible returns n events such as a run has.
func plausible(n int) []scheduler.Event {
	rng := rand.New(rand.NewPCG(1, 2))
	var events []scheduler.Event
	at, item := scheduler.Time(0), int64(0)
	add := func(e scheduler.Event) {
		e.At = at
		if beginsEffect(e.Kind) {
			e.ID = int64(len(events))
		}
		events = append(events, e)
	}
	for len(events) < n {
		at += scheduler.Time(rng.ExpFloat64() * 5e6)
		model := scheduler.ModelID(rng.IntN(4))
		device := scheduler.DeviceID(rng.IntN(2))
		add(scheduler.Event{Kind: scheduler.ItemArrived, ID: item, Value: scheduler.PackArrival(0, 2), Model: model, Device: scheduler.NoDevice, Flags: scheduler.FlagFirst})
		add(scheduler.Event{Kind: scheduler.ItemJob, ID: item, Value: item / 3, Model: model, Device: scheduler.NoDevice})
		add(scheduler.Event{Kind: scheduler.ItemTenant, ID: item, Value: item % 5, Model: model, Device: scheduler.NoDevice})
		if item%20 == 0 {
			add(scheduler.Event{Kind: scheduler.LoadStarted, Value: 1e9, Model: model, Device: device, Flags: 1 << 4})
		}
		add(scheduler.Event{Kind: scheduler.MemberDispatched, ID: item, Model: model, Device: device})
		add(scheduler.Event{Kind: scheduler.BatchStarted, Value: scheduler.PackBatch(1, 30e6), Model: model, Device: device})
		started := int64(len(events) - 1)
		at += scheduler.Time(rng.ExpFloat64() * 1e6)
		add(scheduler.Event{Kind: scheduler.BatchFinished, ID: started, Model: model, Device: device, Flags: scheduler.FlagFirst})
		item++
	}
	return events[:n]
}

// extreme returns events of any bits that the format holds.
func extreme(n int) []scheduler.Event {
	rng := rand.New(rand.NewPCG(3, 4))
	edge := []int64{0, 1, -1, math.MaxInt64, math.MinInt64, math.MaxInt32, math.MinInt32}
	v := func() int64 {
		if rng.IntN(2) == 0 {
			return edge[rng.IntN(len(edge))]
		}
		return int64(rng.Uint64())
	}
	events := make([]scheduler.Event, n)
	for i := range events {
		events[i] = scheduler.Event{
			At: scheduler.Time(v()), ID: v(), Value: v(), Model: scheduler.ModelID(v()), Device: scheduler.DeviceID(v()),
			Kind: scheduler.Kind(rng.IntN(128)), Flags: uint8(v()),
		}
	}
	return events
}

var testHeader = Header{
	Tool: "test", RunID: "r1", Name: "n", Cell: "c", Policy: "fifo", Replicate: 2, Seed: math.MaxUint64,
	Experiment: "models:\n- a <&>\n", Settings: map[string]string{"b": "2", "a": "1"},
	Models: []string{"a", "b", "c", "d"}, Devices: []string{"gpu0", "gpu1"}, Extra: map[string]string{"x": "y"},
}

func write(t testing.TB, events []scheduler.Event, o Options) ([]byte, *Writer) {
	t.Helper()
	f := &memFile{}
	w, err := NewWriter(f, testHeader, o)
	if err != nil {
		t.Fatal(err)
	}
	for part := range slices.Chunk(events, 7) {
		if err := w.Append(part); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if f.closed != 1 || w.Events() != int64(len(events)) {
		t.Fatalf("closed %d times, %d events", f.closed, w.Events())
	}
	return f.Bytes(), w
}

// read returns all events, and how reading ended (nil for io.EOF).
func read(b []byte) ([]scheduler.Event, *Reader, error) {
	r, err := NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, nil, err
	}
	r.Names()
	var all []scheduler.Event
	for {
		events, err := r.Next()
		if err == io.EOF {
			return all, r, nil
		}
		if err != nil {
			return all, r, err
		}
		all = append(all, events...)
	}
}

func TestRoundTrip(t *testing.T) {
	for _, raw := range []bool{false, true} {
		for _, n := range []int{0, 1, FrameEvents - 1, FrameEvents, FrameEvents + 1, 5000} {
			for name, events := range map[string][]scheduler.Event{"plausible": plausible(n), "extreme": extreme(n)} {
				b, w := write(t, events, Options{Pack: raw})
				got, r, err := read(b)
				if err != nil || !slices.Equal(got, events) {
					t.Fatalf("%s %d pack=%v: %d events, %v", name, n, raw, len(got), err)
				}
				want := Status{Complete: true, Events: int64(n), Digest: w.Digest()}
				if s := r.Status(); s != want {
					t.Fatalf("status %+v, want %+v", s, want)
				}
				h := testHeader
				h.Schema, h.Major, h.Minor = Schema, Major, Minor
				if !reflect.DeepEqual(r.Header(), h) {
					t.Fatalf("header %+v", r.Header())
				}
			}
		}
	}
}

func TestDigest(t *testing.T) {
	events := plausible(3000)
	a, w1 := write(t, events, Options{Names: names{}})
	a2, _ := write(t, events, Options{Names: names{}})
	if !bytes.Equal(a, a2) {
		t.Error("the same run gave other bytes")
	}
	f := &memFile{}
	w2, err := NewWriter(f, Header{}, Options{Pack: true})
	if err != nil {
		t.Fatal(err)
	}
	for part := range slices.Chunk(events, 1999) {
		if err := errors.Join(w2.Append(part), w2.Sync()); err != nil {
			t.Fatal(err)
		}
	}
	if err := w2.Close(); err != nil {
		t.Fatal(err)
	}
	if w1.Digest() != w2.Digest() {
		t.Error("the digest depends on more than the events")
	}
	if got, r, err := read(f.Bytes()); err != nil || !slices.Equal(got, events) || !r.Status().Complete {
		t.Error("frames cut by Sync:", err)
	}
	// The digest is part of the format.
	one := []scheduler.Event{{At: 1, ID: 2, Value: -3, Model: 4, Device: -1, Kind: scheduler.ItemArrived, Flags: 1}}
	_, w3 := write(t, one, Options{})
	const want = "sha256:b2b112ba1bc47824497ac60a205c2a291a394eed4ed03a9c700bd5027e5d4e7e"
	if d := w3.Digest(); d != want {
		t.Errorf("digest %s, want %s", d, want)
	}
	// So are the predictions.
	const wantMany = "sha256:99f794306f5b4bd508d14512dd0169a02bc4872eea8f9f1c940220e4edf14328"
	if d := w1.Digest(); d != wantMany {
		t.Errorf("digest %s, want %s", d, wantMany)
	}
}

func TestNamesAndSnapshots(t *testing.T) {
	events := plausible(9000)
	calls := 0
	b, _ := write(t, events, Options{Names: names{}, SnapshotEvery: 2, Snapshot: func() [32]byte {
		calls++
		return [32]byte{byte(calls)}
	}})
	got, r, err := read(b)
	if err != nil || !slices.Equal(got, events) {
		t.Fatal(len(got), err)
	}
	for _, e := range events {
		switch e.Kind {
		case scheduler.ItemArrived:
			if g, want := r.Names().ItemName(e.Item()), (names{}).ItemName(e.Item()); g != want {
				t.Fatalf("item %d is %q, want %q", e.ID, g, want)
			}
		case scheduler.ItemJob:
			if g, want := r.Names().JobName(scheduler.JobID(e.Value)), (names{}).JobName(scheduler.JobID(e.Value)); g != want {
				t.Fatalf("job %d is %q, want %q", e.Value, g, want)
			}
		case scheduler.ItemTenant:
			if g, want := r.Names().TenantName(e.Value), (names{}).TenantName(e.Value); g != want {
				t.Fatalf("tenant %d is %q, want %q", e.Value, g, want)
			}
		}
	}
	if calls != 4 || len(r.Snapshots()) != calls {
		t.Fatalf("%d snapshots taken, %d read", calls, len(r.Snapshots()))
	}
	for i, s := range r.Snapshots() {
		if s.State[0] != byte(i+1) || s.Seq < int64(i+1)*2*FrameEvents || s.Seq%7 != 0 {
			t.Errorf("snapshot %d: %+v", i, s)
		}
	}
}

type longNames struct{ names }

func (longNames) ItemName(i scheduler.ItemID) string { return strings.Repeat("x", 3*maxPacked) }

func TestLongName(t *testing.T) {
	events := plausible(12)
	b, _ := write(t, events, Options{Names: longNames{}})
	got, r, err := read(b)
	if err != nil || !slices.Equal(got, events) || len(r.Names().ItemName(1)) != 3*maxPacked {
		t.Fatal(len(got), err)
	}
}

func TestNamesAreKeptOnRequest(t *testing.T) {
	b, _ := write(t, plausible(3000), Options{Names: names{}})
	r, err := NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = r.Next()
	}
	for kind, kept := range r.names.byKind {
		if len(kept) > 0 {
			t.Errorf("%d names of kind %d are kept that nobody asked for", len(kept), kind)
		}
	}
}

// small returns a log of some 12 KiB with several frames, names and snapshots.
func small(t testing.TB) ([]scheduler.Event, []byte) {
	events := plausible(3300)
	b, _ := write(t, events, Options{Names: names{}, SnapshotEvery: 1, Snapshot: func() [32]byte { return [32]byte{1} }})
	if len(b) < 6000 || len(b) > 30000 {
		t.Fatalf("the log has %d bytes", len(b))
	}
	return events, b
}

func prefix(events, of []scheduler.Event) bool {
	return len(events) <= len(of) && slices.Equal(events, of[:len(events)])
}

// TestEveryBitFlip flips bits of a log of 12 KiB as it is, and of a
// smaller one with packed payloads, names and snapshots.
func TestEveryBitFlip(t *testing.T) {
	events := plausible(1300)
	raw, _ := write(t, events, Options{Names: noisyNames{}})
	if len(raw) < 8000 || len(raw) > 16000 {
		t.Fatalf("the log has %d bytes", len(raw))
	}
	packed, _ := write(t, events[:1300], Options{Pack: true, Names: names{}, SnapshotEvery: 1, Snapshot: func() [32]byte { return [32]byte{1} }})
	for name, whole := range map[string][]byte{"raw": raw, "packed": packed} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			flipAll(t, slices.Clone(whole), events)
		})
	}
}

// flipAll flips every bit where VRAMSIM_LONG is set, as .ci/run does, else one in
// seven.
func flipAll(t *testing.T, b []byte, events []scheduler.Event) {
	stride := 7
	if os.Getenv("VRAMSIM_LONG") == "1" {
		stride = 1
	}
	for bit := 0; bit < 8*len(b); bit += stride {
		i, mask := bit/8, byte(1)<<(bit%8)
		b[i] ^= mask
		got, _, err := read(b)
		b[i] ^= mask
		var c *CorruptError
		if !errors.As(err, &c) {
			t.Fatalf("bit %d: %v", bit, err)
		}
		if c.Offset < 0 || c.Offset > int64(i) {
			t.Fatalf("bit %d: reported at %d", bit, c.Offset)
		}
		if !prefix(got, events) {
			t.Fatalf("bit %d: wrong events", bit)
		}
	}
}

func TestEveryTruncation(t *testing.T) {
	events, b := small(t)
	head := len(magic) + recordLen + int(binary.LittleEndian.Uint32(b[len(magic)+2:]))
	last := 0
	for n := range b {
		got, r, err := read(b[:n:n])
		if n < head {
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("cut at %d: %v", n, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("cut at %d: %v", n, err)
		}
		s := r.Status()
		if s.Complete || s.Events != int64(len(got)) || s.Dropped < 0 || s.Dropped > int64(n) || !prefix(got, events) || len(got) < last {
			t.Fatalf("cut at %d: %+v", n, s)
		}
		last = len(got)
	}
	if last != len(events) {
		t.Errorf("a log without its last byte has %d events", last)
	}
}

func TestDamage(t *testing.T) {
	events, b := small(t)
	corrupt := func(name string, b []byte) {
		t.Helper()
		got, _, err := read(b)
		var c *CorruptError
		if !errors.As(err, &c) || !prefix(got, events) {
			t.Errorf("%s: %v", name, err)
		}
	}
	corrupt("a byte after the trailer", append(slices.Clone(b), 0))
	corrupt("the trailer twice", append(slices.Clone(b), b[len(b)-trailerLen:]...))
	corrupt("two logs", append(slices.Clone(b), b...))
	corrupt("another file", []byte("hello, world, this is a text"))
	corrupt("a short file", []byte("hi"))

	// Records that are whole but wrong.
	craft := func(put func(w *Writer)) []byte {
		f := &memFile{}
		w, err := NewWriter(f, testHeader, Options{Pack: true})
		if err != nil {
			t.Fatal(err)
		}
		put(w)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return f.Bytes()
	}
	corrupt("a second header", craft(func(w *Writer) { w.put(nil, typeHeader, 0, []byte("{}"), false) }))
	corrupt("an empty frame", craft(func(w *Writer) { w.put(nil, typeEvents, 0, nil, false) }))
	corrupt("a frame too large", craft(func(w *Writer) { w.put(nil, typeEvents, math.MaxUint32, nil, false) }))
	corrupt("a frame without its events", craft(func(w *Writer) { w.put(nil, typeEvents, 3, nil, false) }))
	corrupt("names cut short", craft(func(w *Writer) { w.put(nil, typeNames, 0, []byte{nameItem, 2, 200}, false) }))
	corrupt("a snapshot elsewhere", craft(func(w *Writer) { w.put(nil, typeSnapshot, 0, append([]byte{9}, make([]byte, 32)...), false) }))
	corrupt("a footer that counts wrong", craft(func(w *Writer) { w.written++ }))
	corrupt("a footer with another digest", craft(func(w *Writer) { w.digest.add(events[:1]) }))
	corrupt("a footer with another index", craft(func(w *Writer) { w.frames = append(w.frames, [3]int64{1, 2, 3}) }))
	corrupt("a record after the footer", craft(func(w *Writer) { w.finish() }))

}

func TestUnknownRecords(t *testing.T) {
	events := plausible(100)
	log := func(typ byte) []byte {
		f := &memFile{}
		w, err := NewWriter(f, testHeader, Options{})
		if err != nil {
			t.Fatal(err)
		}
		err = w.Append(events)
		w.flush()
		w.put(nil, typ, 5, []byte("new"), false)
		if err := errors.Join(err, w.Append(events), w.Close()); err != nil {
			t.Fatal(err)
		}
		return f.Bytes()
	}
	for _, typ := range []byte{128, 200, 255} {
		got, r, err := read(log(typ))
		if err != nil || len(got) != 200 || !r.Status().Complete || r.Status().Skipped != 1 {
			t.Errorf("ignorable type %d: %d events, %v", typ, len(got), err)
		}
	}
	for _, typ := range []byte{6, 99, 127} {
		got, _, err := read(log(typ))
		var u *UnknownError
		if !errors.As(err, &u) || u.Type != typ || !slices.Equal(got, events) {
			t.Errorf("type %d: %d events, %v", typ, len(got), err)
		}
	}
}

func TestVersion(t *testing.T) {
	log := func(h string) []byte {
		w := &Writer{file: &memFile{}, chain: newChain()}
		w.put([]byte(magic), typeHeader, 0, []byte(h), false)
		return w.file.(*memFile).Bytes()
	}
	_, _, err := read(log(`{"schema":"vramsim/log/2","major":2,"minor":1,"seed":"text"}`))
	var v *VersionError
	if !errors.As(err, &v) || v.Major != 2 || v.Minor != 1 {
		t.Error("newer major:", err)
	}
	if _, r, err := read(log(`{"schema":"vramsim/log/1","major":1,"minor":9,"new":[1]}`)); err != nil || r.Header().Minor != 9 {
		t.Error("newer minor:", err)
	}
	if _, _, err := read(log(`{"schema":"vramsim/log/1","major":1,"minor":0}`)); !errors.As(err, &v) || !strings.Contains(err.Error(), "1.0, which was never released") {
		t.Error("the coding before the first release:", err)
	}
	var c *CorruptError
	if _, _, err := read(log(`{"schema":"other","major":1}`)); !errors.As(err, &c) {
		t.Error("another schema:", err)
	}
}

func TestFailingFile(t *testing.T) {
	for _, sync := range []bool{true, false} {
		t.Run(fmt.Sprintf("sync=%v", sync), func(t *testing.T) { failEverywhere(t, sync) })
	}
}

// failEverywhere lets each operation on the file fail. Without syncs in between
// frames are written in the middle of an Append.
func failEverywhere(t *testing.T, sync bool) {
	events := plausible(2500)
	synced := 0 // events of which a Sync said that they are durable
	run := func(f *memFile) (failed error) {
		synced = 0
		note := func(what string, err error) {
			if failed != nil && err != failed {
				t.Errorf("operation %d: %s returns %v after %v", f.failAt, what, err, failed)
			}
			if failed == nil {
				failed = err
			}
		}
		w, err := NewWriter(f, testHeader, Options{Names: names{}, SnapshotEvery: 1, Snapshot: func() [32]byte { return [32]byte{1} }})
		if err != nil {
			return err
		}
		for part := range slices.Chunk(events, 500) {
			note("Append", w.Append(part))
			if sync {
				err := w.Sync()
				note("Sync", err)
				if err == nil {
					synced = int(w.Events())
				}
			}
		}
		note("Close", w.Close())
		note("second Close", w.Close())
		if f.closed != 1 {
			t.Errorf("operation %d: closed %d times", f.failAt, f.closed)
		}
		return failed
	}
	whole := &memFile{}
	if err := run(whole); err != nil {
		t.Fatal(err)
	}
	for _, cause := range []error{syscall.ENOSPC, syscall.EIO, nil} {
		for n := 1; n <= whole.ops; n++ {
			f := &memFile{failAt: n, err: cause}
			err := run(f)
			if cause != nil && !errors.Is(err, cause) || cause == nil && err != nil && err != io.ErrShortWrite {
				t.Errorf("operation %d: %v, want %v", n, err, cause)
			}
			got, r, err := read(f.Bytes())
			if n > 1 && err != nil || !prefix(got, events) || len(got) < synced {
				t.Errorf("operation %d: what was written cannot be read: %d events of %d synced, %v", n, len(got), synced, err)
			}
			if cause != nil && f.ops > n+1 {
				t.Errorf("operation %d failed; %d followed, where only closing may", n, f.ops-n)
			}
			if r != nil && r.Status().Complete && cause != nil && n < whole.ops-1 {
				t.Errorf("operation %d: complete", n)
			}
		}
	}
}

func TestFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.log")
	if _, err := Open(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	w, err := Create(path, testHeader, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Create(path, testHeader, Options{}); !errors.Is(err, fs.ErrExist) {
		t.Error("second Create:", err)
	}
	events := plausible(100)
	if err := errors.Join(w.Append(events), w.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
	if err := w.Append(events); !errors.Is(err, fs.ErrClosed) {
		t.Error("Append after Close:", err)
	}
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Next()
	if err != nil || !slices.Equal(got, events) {
		t.Error(err)
	}
	if err := errors.Join(r.Close(), r.Close()); err != nil {
		t.Error(err)
	}
	if _, err := r.Next(); !errors.Is(err, os.ErrClosed) {
		t.Error("Next after Close:", err)
	}
	if _, err := Open(t.TempDir()); err == nil {
		t.Error("a directory was opened")
	}
}

func TestKindTooLarge(t *testing.T) {
	w, err := NewWriter(&memFile{}, Header{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Append([]scheduler.Event{{Kind: 128}}); err == nil || w.Append(nil) != err {
		t.Error(err)
	}
}

// oddNames need all that JSON can do: quotes, control characters, no UTF-8.
type oddNames struct{ names }

func (oddNames) ItemName(i scheduler.ItemID) string {
	return [...]string{"", "a\"b\\", "\x00\n\u2028<&>", "\xff\xfe", "gr\u00fc\u00df"}[uint64(i)%5]
}

func TestJSONL(t *testing.T) {
	for name, events := range map[string][]scheduler.Event{"plausible": plausible(3000), "extreme": extreme(3000), "none": nil} {
		b, w := write(t, events, Options{Names: oddNames{}})
		r, err := NewReader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		if err := WriteJSONL(&text, r); err != nil || !r.Status().Complete {
			t.Fatal(name, err)
		}
		f := &memFile{}
		var back *Writer
		err = ReadJSONL(bytes.NewReader(text.Bytes()), func(h Header, n *Names) (scheduler.Sink, error) {
			back, err = NewWriter(f, h, Options{Names: n})
			return back, err
		})
		if err != nil {
			t.Fatal(name, err)
		}
		if err := back.Close(); err != nil || back.Digest() != w.Digest() || !bytes.Equal(f.Bytes(), b) {
			t.Errorf("%s: the log that came back differs: %v", name, err)
		}
		for i, line := range bytes.Split(bytes.TrimSpace(text.Bytes()), []byte("\n")) {
			if !json.Valid(line) {
				t.Fatalf("%s: line %d: %s", name, i+1, line)
			}
		}
	}
}

func TestJSONLErrors(t *testing.T) {
	const head = `{"schema":"vramsim/log/1","major":1}` + "\n"
	const ok = `{"seq":0,"at_ns":1,"kind":"note","id":1,"value":1,"model":-1,"device":-1,"flags":0}`
	sink := func(Header, *Names) (scheduler.Sink, error) { return NewWriter(&memFile{}, Header{}, Options{}) }
	if err := ReadJSONL(strings.NewReader(head+ok), sink); err != nil {
		t.Error("no final newline:", err)
	}
	for _, text := range []string{
		"", "x\n", `{"schema":"other"}`, `{"schema":"vramsim/log/2","major":2}`,
		head + "\n", head + ok + ok, head + ok + "\n" + ok, head + "{}",
		head + strings.Replace(ok, `"note"`, `"no"`, 1), head + strings.Replace(ok, `"note"`, `"kind_75"`, 1),
		head + strings.Replace(ok, `"note"`, `"kind_007"`, 1), head + strings.Replace(ok, `"note"`, `"kind_256"`, 1),
		head + `{"name_of":"x","id":1,"text":"a"}`, head + `{"name_of":"job","text":"a"}`, head + `{"name_of":"job","id":1}`,
		head + `{"name_of":"job","id":1,"text":"a","hex":"61"}`, head + `{"name_of":"job","id":1,"hex":"6"}`, head + `{"name_of":"job","id":1,"text":"a"} 1`,
		head + strings.Replace(ok, `"flags":0`, `"flags":256`, 1), head + strings.Replace(ok, `"flags"`, `"flag"`, 1),
	} {
		if err := ReadJSONL(strings.NewReader(text), sink); err == nil {
			t.Errorf("no error for %q", text)
		}
	}
}

func TestAllocations(t *testing.T) {
	events := plausible(FrameEvents)
	for _, raw := range []bool{false, true} {
		w, err := NewWriter(discard{}, Header{}, Options{Pack: raw})
		if err != nil {
			t.Fatal(err)
		}
		w.frames = make([][3]int64, 0, 1000)
		if n := testing.AllocsPerRun(100, func() {
			if err := w.Append(events); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("pack=%v: %v allocations per frame", raw, n)
		}
	}
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) Sync() error                 { return nil }
func (discard) Close() error                { return nil }

func TestBytesPerEvent(t *testing.T) {
	events := plausible(200_000)
	for _, o := range []Options{{}, {Pack: true}, {Names: names{}}} {
		b, _ := write(t, events, o)
		per := float64(len(b)) / float64(len(events))
		t.Logf("pack=%v names=%v: %.2f bytes per event", o.Pack, o.Names != nil, per)
		if per > 5 {
			t.Errorf("pack=%v names=%v: %.2f bytes per event", o.Pack, o.Names != nil, per)
		}
	}
}

// FuzzReader: whatever the bytes, the reader neither panics nor returns events
// that do not survive writing them again.
func FuzzReader(f *testing.F) {
	_, b := small(f)
	f.Add(b)
	f.Add(b[:len(b)/2])
	for _, o := range []Options{{}, {Pack: true}} {
		b, _ := write(f, extreme(40), o)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		// The fuzzer does not find checksums, so try with right ones too.
		for _, b := range [][]byte{b, resum(b)} {
			events, r, err := read(b)
			if err != nil {
				continue
			}
			_, w := write(t, events, Options{})
			if s := r.Status(); s.Digest != w.Digest() || s.Events != int64(len(events)) {
				t.Fatalf("%+v, written again %s", s, w.Digest())
			}
		}
	})
}

// FuzzJSONL: what is accepted makes a log whose own text gives the same log and
// the same text again.
func FuzzJSONL(f *testing.F) {
	for _, events := range [][]scheduler.Event{nil, plausible(20), extreme(20)} {
		b, _ := write(f, events, Options{Names: oddNames{}})
		f.Add(toText(f, b))
	}
	f.Add([]byte("{\"schema\":\"vramsim/log/1\",\"major\":1,\"extra\":{\"a\":\"\\ud800\"}}\n{\"name_of\":\"job\",\"id\":1,\"hex\":\"ff\"}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		first, err := fromText(text)
		if err != nil {
			return
		}
		again := toText(t, first)
		second, err := fromText(again)
		if err != nil {
			t.Fatalf("%v in what was written: %s", err, again)
		}
		if !bytes.Equal(first, second) || !bytes.Equal(toText(t, second), again) {
			t.Fatalf("%q becomes %q", text, again)
		}
	})
}

// toText returns the twin of a log.
func toText(t testing.TB, log []byte) []byte {
	t.Helper()
	r, err := NewReader(bytes.NewReader(log), int64(len(log)))
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := WriteJSONL(&text, r); err != nil || !r.Status().Complete {
		t.Fatal(err)
	}
	return text.Bytes()
}

// fromText returns the log of a twin.
func fromText(text []byte) ([]byte, error) {
	f := &memFile{}
	var w *Writer
	err := ReadJSONL(bytes.NewReader(text), func(h Header, n *Names) (scheduler.Sink, error) {
		var err error
		w, err = NewWriter(f, h, Options{Names: n})
		return w, err
	})
	if err != nil {
		return nil, err
	}
	err = w.Close()
	return f.Bytes(), err
}

// resum returns a copy of b with the right checksums.
func resum(b []byte) []byte {
	b = slices.Clone(b)
	c := newChain()
	for at := len(magic); len(b)-at >= recordLen; {
		head := (*[recordLen]byte)(b[at:])
		n := int64(binary.LittleEndian.Uint32(head[2:]))
		if n > int64(len(b)-at-recordLen) {
			break
		}
		binary.LittleEndian.PutUint32(head[10:], c.next(head, b[at+recordLen:][:n]))
		at += recordLen + int(n)
	}
	return b
}

// beginsEffect reports whether the ID of events of kind k is their own
// sequence number.
func beginsEffect(k scheduler.Kind) bool {
	return k == scheduler.BatchStarted || k == scheduler.LoadStarted || k == scheduler.EvictStarted
}

// FuzzFrame: any frame that decodes is what its events encode to.
func FuzzFrame(f *testing.F) {
	var c coder
	f.Add(c.encode(nil, 5, plausible(20)), int64(5), uint16(20))
	f.Add(c.encode(nil, -1, extreme(20)), int64(-1), uint16(20))
	f.Fuzz(func(t *testing.T, b []byte, seq int64, n uint16) {
		var c coder
		events, ok := c.decode(nil, b, seq, int(n))
		if !ok {
			return
		}
		if again := c.encode(nil, seq, events); !bytes.Equal(again, b) {
			t.Fatalf("% x decodes to events that encode to % x", b, again)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	events := plausible(FrameEvents)
	for _, raw := range []bool{false, true} {
		b.Run(fmt.Sprintf("pack=%v", raw), func(b *testing.B) {
			w, err := NewWriter(discard{}, Header{}, Options{Pack: raw})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				if err := w.Append(events); err != nil {
					b.Fatal(err)
				}
				n += len(events)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/event")
			b.ReportMetric(float64(w.offset)/float64(n), "B/event")
		})
	}
}

func BenchmarkRead(b *testing.B) {
	events := plausible(100 * FrameEvents)
	log, _ := write(b, events, Options{})
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		r, err := NewReader(bytes.NewReader(log), int64(len(log)))
		if err != nil {
			b.Fatal(err)
		}
		for err == nil {
			var e []scheduler.Event
			e, err = r.Next()
			n += len(e)
		}
		if err != io.EOF {
			b.Fatal(err)
		}
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/event")
}
