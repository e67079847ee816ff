package telemetry

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"

	"github.com/vramsim/vramsim/scheduler"
)

// disk is a File in memory that knows what was synced.
type disk struct {
	bytes.Buffer
	synced int
	fails  error
	closed bool
}

func (d *disk) Write(b []byte) (int, error) {
	if d.fails != nil {
		return 0, d.fails
	}
	return d.Buffer.Write(b)
}
func (d *disk) Sync() error  { d.synced = d.Len(); return nil }
func (d *disk) Close() error { d.closed = true; return nil }

// drawRecord returns any record that may be written.
func drawRecord(t *rapid.T) Record {
	count := rapid.Int64Range(0, 1<<62)
	bytesOf := rapid.Map(count, func(v int64) scheduler.Bytes { return scheduler.Bytes(v) })
	timeOf := rapid.Map(count, func(v int64) scheduler.Time { return scheduler.Time(v) })
	text := rapid.StringN(1, 12, -1)
	reading := rapid.Map(rapid.Int64Range(-1, 1<<62), func(v int64) Reading { return Reading(v) })
	r := Record{At: timeOf.Draw(t, "at"), Seq: rapid.Int64Range(-1, 1<<62).Draw(t, "seq"), Device: scheduler.DeviceID(rapid.IntRange(-1, 9).Draw(t, "device"))}
	switch rapid.IntRange(0, 5).Draw(t, "kind") {
	case 0:
		s := NewSample()
		s.PowerMW, s.InstantMW, s.SMMHz, s.MemMHz = reading.Draw(t, "a"), reading.Draw(t, "b"), reading.Draw(t, "c"), reading.Draw(t, "d")
		s.TempC, s.UsedBytes, s.FreeBytes = reading.Draw(t, "e"), reading.Draw(t, "f"), reading.Draw(t, "g")
		s.Reasons = rapid.Uint64().Draw(t, "reasons")
		r.Body = s
	case 1:
		r.Body = &Phase{text.Draw(t, "model"), "load", text.Draw(t, "name"), timeOf.Draw(t, "took"), bytesOf.Draw(t, "bytes")}
	case 2:
		r.Body = &VRAM{text.Draw(t, "model"), "run", rapid.IntRange(0, 99).Draw(t, "n"), bytesOf.Draw(t, "free"), bytesOf.Draw(t, "total"),
			bytesOf.Draw(t, "allocated"), bytesOf.Draw(t, "reserved"), bytesOf.Draw(t, "peak a"), bytesOf.Draw(t, "peak r")}
	case 3:
		r.Body = &Energy{rapid.Uint64().Draw(t, "mj")}
	case 4:
		r.Body = &Late{timeOf.Draw(t, "due"), timeOf.Draw(t, "late"), text.Draw(t, "what")}
	case 5:
		r.Body = &Mark{text.Draw(t, "code"), rapid.String().Draw(t, "text")}
	}
	return r
}

// TestRoundTrip: what was written is read, and a file cut at any place reads up
// to there: never damage, never a record that was not written, at least what
// was synced.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := &disk{}
		w, err := NewWriter(f, Header{RunID: "r", Devices: []string{"gpu0", "gpu1"}})
		if err != nil {
			t.Fatal(err)
		}
		all := rapid.SliceOfN(rapid.Custom(drawRecord), 0, 40).Draw(t, "records")
		synced, syncedAt := 0, f.Len()
		for i, r := range all {
			if err := w.Append(r); err != nil {
				t.Fatal(err)
			}
			if rapid.IntRange(0, 5).Draw(t, "sync") == 0 {
				if err := w.Sync(); err != nil {
					t.Fatal(err)
				}
				synced, syncedAt = i+1, f.synced
			}
		}
		digest := w.Digest()
		if err := w.Close(); err != nil || !f.closed || f.synced != f.Len() {
			t.Fatalf("close: %v, %d of %d bytes synced", err, f.synced, f.Len())
		}
		whole := f.Bytes()
		got, status, err := readAll(whole)
		if err != nil || !status.Complete || status.Digest != digest || !same(got, all) {
			t.Fatalf("%+v, %v:\n%v\n%v", status, err, got, all)
		}
		cut := rapid.IntRange(syncedAt, len(whole)-1).Draw(t, "cut")
		got, status, err = readAll(whole[:cut])
		if err != nil || status.Complete || len(got) < synced || len(got) > len(all) || !same(got, all[:len(got)]) {
			t.Fatalf("cut at %d of %d, synced %d: %d records, %+v, %v", cut, len(whole), synced, len(got), status, err)
		}
	})
}

func same(a, b []Record) bool { return len(a) == len(b) && (len(a) == 0 || reflect.DeepEqual(a, b)) }

func readAll(b []byte) ([]Record, Status, error) {
	r, err := NewReader(bytes.NewReader(b))
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
			return all, r.Status(), err
		}
		all = append(all, rec)
	}
}

// TestDamage: a flipped bit is never taken for a record.
func TestDamage(t *testing.T) {
	f := &disk{}
	w, err := NewWriter(f, Header{})
	if err != nil {
		t.Fatal(err)
	}
	var all []Record
	for i := range 20 {
		all = append(all, Record{scheduler.Time(i), NoSeq, 0, &Energy{uint64(i) * 977}})
		if err := errors.Join(w.Append(all[i]), w.Sync()); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for bit := range f.Len() * 8 {
		wrong := bytes.Clone(f.Bytes())
		wrong[bit/8] ^= 1 << (bit % 8)
		got, status, err := readAll(wrong)
		if err == nil && status.Complete && !same(got, all) {
			t.Fatalf("bit %d: %v", bit, got)
		}
		for i := range got {
			if !reflect.DeepEqual(got[i], all[i]) {
				t.Fatalf("bit %d: record %d is %+v (%v)", bit, i, got[i], err)
			}
		}
	}
}

const sampleStream = `{"vramsim":"telemetry","version":1,"devices":["gpu0"]}
{"t_ns":100,"seq":-1,"device":0,"kind":"sample","power_mw":61000,"sm_mhz":1410,"reasons":0}
{"t_ns":2100,"seq":17,"device":0,"kind":"phase","model":"whisper","op":"load","name":"read","took_ns":1900,"bytes":3100000000}
`

// TestText: the documented lines are what is read, and other lines are refused
// by number.
func TestText(t *testing.T) {
	got, status, err := readText(sampleStream)
	want := NewSample()
	want.PowerMW, want.SMMHz = 61000, 1410
	records := []Record{{100, NoSeq, 0, want}, {2100, 17, 0, &Phase{"whisper", "load", "read", 1900, 3_100_000_000}}}
	if err != nil || status.Complete || !same(got, records) {
		t.Fatalf("%+v %+v %v", got, status, err)
	}
	for _, c := range []struct{ name, line, want string }{
		{"unknown kind", `{"t_ns":1,"seq":-1,"device":0,"kind":"smaple","reasons":0}`, "line 4: a record of unknown kind"},
		{"unknown field", `{"t_ns":1,"seq":-1,"device":0,"kind":"energy","energy_mj":1,"joules":2}`, "line 4: a record is not as it is written"},
		{"twice", `{"t_ns":1,"seq":-1,"device":0,"kind":"energy","energy_mj":1,"energy_mj":2}`, "line 4: a record is not as it is written"},
		{"missing", `{"t_ns":1,"seq":-1,"device":0,"kind":"energy"}`, "line 4: a record is not as it is written"},
		{"no time", `{"seq":-1,"device":0,"kind":"energy","energy_mj":1}`, "line 4: a record has t_ns"},
		{"negative", `{"t_ns":-1,"seq":-1,"device":0,"kind":"energy","energy_mj":1}`, "line 4: a record at -1 ns"},
		{"no number", `{"t_ns":1,"seq":-1,"device":0,"kind":"energy","energy_mj":NaN}`, "line 4"},
		{"end", `{"vramsim":"end","records":3,"digest":"sha256:00"}`, "line 4: the end counts 3 records"},
		{"digest", `{"vramsim":"end","records":2,"digest":"sha256:00"}`, "line 4: the digest"},
		{"header again", `{"vramsim":"telemetry","version":1}`, "line 4: a line that is neither"},
	} {
		if _, _, err := readText(sampleStream + c.line + "\n"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	for _, head := range []string{"", "{}\n", `{"vramsim":"trace","version":1}` + "\n", `{"vramsim":"telemetry","version":2}` + "\n", `{"vramsim":"telemetry","version":1,"x":1}` + "\n"} {
		var wrong *FormatError
		if _, _, err := readText(head); !errors.As(err, &wrong) || wrong.Line != 1 {
			t.Errorf("header %q: %v", head, err)
		}
	}
}

func readText(text string) ([]Record, Status, error) {
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		return nil, Status{}, err
	}
	defer enc.Close()
	return readAll(enc.EncodeAll([]byte(text), nil))
}

// TestWriterRefuses: what a reader would not take is not written.
func TestWriterRefuses(t *testing.T) {
	f := &disk{}
	w, err := NewWriter(f, Header{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []Record{
		{}, {At: -1, Body: &Energy{}}, {Seq: -2, Body: &Energy{}}, {Device: -2, Body: &Energy{}}, {Body: &Phase{}}, {Body: &VRAM{}}, {Body: &Mark{}},
		{Body: &Late{Late: -1, What: "timer_fired"}}, {Body: &Sample{PowerMW: -5}}, {Body: &VRAM{Op: "run", Free: -1}},
	} {
		if w.Append(r) == nil {
			t.Errorf("%+v was written", r)
		}
	}
	if w.Records() != 0 {
		t.Error("refused records count")
	}
	f.fails = errors.New("no space")
	if err := w.Append(Record{Body: &Energy{1}}); err != nil {
		t.Fatal(err)
	}
	if err := w.Sync(); !errors.Is(err, f.fails) {
		t.Errorf("sync: %v", err)
	}
	if err := w.Append(Record{Body: &Energy{1}}); !errors.Is(err, f.fails) {
		t.Errorf("the failure did not stick: %v", err)
	}
	if err := w.Close(); !errors.Is(err, f.fails) || !f.closed {
		t.Errorf("close: %v", err)
	}
}

// TestFile writes and reads a file by name.
func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	w, err := Create(path, Header{RunID: "x"})
	if err != nil {
		t.Fatal(err)
	}
	want := Record{5, 3, 0, &Mark{"throttled", "power cap"}}
	if err := errors.Join(w.Append(want), w.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(path, Header{}); err == nil {
		t.Error("a file was written over")
	}
	got, status, err := Read(path)
	if err != nil || !status.Complete || status.Digest != w.Digest() || !same(got, []Record{want}) {
		t.Errorf("%+v %+v %v", got, status, err)
	}
	if w.Append(want) == nil {
		t.Error("a closed writer writes")
	}
}

// TestMemories: weights are what a load adds, peaks what it and batches take.
func TestMemories(t *testing.T) {
	vram := func(device scheduler.DeviceID, v VRAM) Record { return Record{Device: device, Body: &v} }
	got := Memories([]Record{
		vram(0, VRAM{Op: "baseline", Allocated: 10}),
		vram(0, VRAM{Model: "a", Op: "load", Allocated: 110, PeakAllocated: 130}),
		vram(1, VRAM{Model: "b", Op: "load", Total: 1000, Free: 950}),
		{Body: &Energy{1}},
		vram(0, VRAM{Model: "a", Op: "run", N: 2, Allocated: 110, PeakAllocated: 150}),
		vram(0, VRAM{Model: "a", Op: "run", N: 1, Allocated: 110, PeakAllocated: 120}),
		vram(0, VRAM{Model: "a", Op: "evict", Allocated: 12}),
		vram(0, VRAM{Model: "b", Op: "load", Allocated: 72, PeakReserved: 75}),
	})
	want := []ModelMemory{{"a", 100, 120, 140}, {"b", 60, 63, 0}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestLink: rates of the specifications, and the link that was not idling.
func TestLink(t *testing.T) {
	slow, fast := NewSample(), NewSample()
	slow.LinkGen, slow.LinkWidth, fast.LinkGen, fast.LinkWidth = 1, 16, 4, 16
	generation, width := FastestLink([]Record{{Body: slow}, {Body: fast}, {Body: slow}, {Body: NewSample()}})
	if generation != 4 || width != 16 {
		t.Errorf("gen %d x%d", generation, width)
	}
	if rate := LinkRate(4, 16); rate < 31.5e9 || rate > 31.6e9 {
		t.Errorf("%v B/s", rate)
	}
	if LinkRate(Unknown, 16) != 0 || LinkRate(9, 16) != 0 || LinkRate(4, Unknown) != 0 {
		t.Error("an unknown link has a rate")
	}
	if g, w := FastestLink(nil); g != Unknown || w != Unknown {
		t.Error("a link without samples")
	}
}
