package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vramsim/vramsim/results/eventlog"
	"github.com/vramsim/vramsim/results/rundir"
	"github.com/vramsim/vramsim/scheduler"
)

func badLogs() []badInput {
	return []badInput{
		{"event-log-01", "every byte", []int{exitOK, exitInvariant}, testCutLog},
		{"event-log-01", "frames", []int{exitOK, exitInvariant}, testCutFrames},
		{"event-log-01", "known to the run", []int{exitOK, exitInvariant}, testLostTail},
		{"event-log-02", "", []int{exitInvariant}, testFlippedBits},
		{"event-log-03", "", []int{exitOK, exitInvariant}, testLostFrame},
		{"event-log-04", "", []int{exitInvariant}, testHugeFrame},
		{"event-log-05", "", []int{exitOK, exitInvariant}, testUnknownRecord},
		{"event-log-06", "", []int{exitInvariant}, testNewerLog},
		{"event-log-07", "full disk", []int{exitUsage}, testFullDisk},
		{"event-log-08", "", []int{exitOK}, testKilledSweep},
		{"event-log-09", "", []int{exitUsage}, testTwoWriters},
	}
}

// aLog runs the experiment in a new folder and returns its run directory and
// the log of one policy. All of its items come from n lines, so that n says how
// long it is.
func aLog(t *testing.T, n int) (dir *rundir.Dir, path string) {
	t.Helper()
	given{edits: []string{"[{use: seed}, {use: sticky}]", "[{use: sticky}]"}}.place(t)
	many(t, n, func(b []byte, i int) []byte {
		return fmt.Appendf(b, `{"id":"i%d","model":%q,"at_ns":%d}`, i, []string{"whisper", "qwen3"}[i*i%7%2], i*700_000_000)
	})
	if code, _, stderr := vramsim(t, "run", "bad.yaml", "-o", "out", "-q"); code != exitOK {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	dir, err := rundir.Open(filepath.Join("out", "bad", "latest"))
	if err != nil {
		t.Fatal(err)
	}
	logs, err := filepath.Glob(dir.Join("cells", "*", "*", "*", "events.log"))
	if err != nil || len(logs) != 1 {
		t.Fatal(logs, err)
	}
	return dir, logs[0]
}

func contents(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// records returns where each record of a log begins, its footer last, and what
// kind it is.
func records(t *testing.T, log []byte) (starts []int, kinds []byte) {
	t.Helper()
	const magic, head, trailer = 8, 14, 16
	at := magic
	for at < len(log)-trailer {
		starts, kinds = append(starts, at), append(kinds, log[at])
		at += head + int(binary.LittleEndian.Uint32(log[at+2:]))
	}
	if at != len(log)-trailer || len(starts) < 3 {
		t.Fatalf("records at %v in a log of %d bytes", starts, len(log))
	}
	return starts, kinds
}

// readAll reads the events of a log as far as they go.
func readAll(log []byte) ([]scheduler.Event, eventlog.Status, error) {
	r, err := eventlog.NewReader(bytes.NewReader(log), int64(len(log)))
	if err != nil {
		return nil, eventlog.Status{}, err
	}
	defer r.Close()
	var events []scheduler.Event
	for {
		batch, err := r.Next()
		if err == io.EOF {
			return events, r.Status(), nil
		}
		if err != nil {
			return events, r.Status(), err
		}
		events = append(events, batch...)
	}
}

// testCutLog cuts a log of one frame at every byte: by the library, which
// reads the complete frames and nothing else, and at a stride by the command.
func testCutLog(t *testing.T) {
	_, path := aLog(t, 12)
	whole := contents(t, path)
	all, _, err := readAll(whole)
	if err != nil {
		t.Fatal(err)
	}
	starts, kinds := records(t, whole)
	for n := range whole {
		events, status, err := readAll(whole[:n:n])
		if n < starts[1] { // inside the header
			if !errors.Is(err, io.ErrUnexpectedEOF) || len(events) > 0 {
				t.Fatalf("cut at %d: %d events, %v", n, len(events), err)
			}
			continue
		}
		want := 0
		for i, kind := range kinds {
			if kind == 2 && n >= starts[i+1] { // its frame is whole
				want = len(all)
			}
		}
		lost := int64(n)
		for i := range starts {
			if starts[i] <= n {
				lost = int64(n - starts[i])
			}
		}
		if err != nil || status.Complete || len(events) != want || !slices.Equal(events, all[:want]) {
			t.Fatalf("cut at %d: %d events of %d, %+v, %v", n, len(events), want, status, err)
		}
		if footer := starts[len(starts)-1]; n < footer && status.Dropped != lost {
			t.Fatalf("cut at %d: %d bytes dropped, want %d", n, status.Dropped, lost)
		}
	}
	alone := filepath.Join(t.TempDir(), "alone.log")
	for n := 0; n < len(whole); n += max(1, len(whole)/amount(len(whole), 40)) {
		verifyCut(t, alone, whole, n, starts[1])
	}
}

// verifyCut verifies the first n bytes of a log that no run knows of.
func verifyCut(t *testing.T, path string, whole []byte, n, header int) {
	t.Helper()
	if err := os.WriteFile(path, whole[:n], 0o666); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := vramsim(t, "replay", path, "--verify")
	events, status, _ := readAll(whole[:n])
	switch {
	case n < header:
		if code != exitInvariant || !strings.Contains(stderr, "cut inside its header") {
			t.Errorf("cut at %d: exit %d: %s", n, code, stderr)
		}
	case code != exitOK || !strings.Contains(stdout, fmt.Sprintf("INCOMPLETE: %d bytes dropped", status.Dropped)) || !strings.Contains(stdout, fmt.Sprintf("%d events", len(events))):
		t.Errorf("cut at %d: exit %d: %s%s", n, code, stdout, stderr)
	}
}

// testCutFrames cuts a log of several frames around each of their ends and in
// between.
func testCutFrames(t *testing.T) {
	_, path := aLog(t, 1500)
	whole := contents(t, path)
	starts, kinds := records(t, whole)
	if frames := bytes.Count(kinds, []byte{2}); frames < 3 {
		t.Fatalf("%d frames", frames)
	}
	cuts := []int{}
	for i := 1; i < len(starts); i++ {
		cuts = append(cuts, starts[i]-1, starts[i], starts[i]+1, starts[i]+13, (starts[i]+starts[i-1])/2)
	}
	all, _, err := readAll(whole)
	if err != nil {
		t.Fatal(err)
	}
	alone := filepath.Join(t.TempDir(), "alone.log")
	for i, n := range cuts {
		if n < starts[1] {
			continue
		}
		events, _, err := readAll(whole[:n:n])
		if err != nil || len(events) > len(all) || !slices.Equal(events, all[:len(events)]) {
			t.Errorf("cut at %d: %d events, %v", n, len(events), err)
		}
		if i%4 == 1 {
			verifyCut(t, alone, whole, n, starts[1])
		}
	}
}

// testLostTail: what the run knows to be lost is exit 4, whether the log is
// named itself or by its run, and whether the run ended or was killed; a log
// that lacks only its footer is whole.
func testLostTail(t *testing.T) {
	dir, path := aLog(t, 40)
	whole := contents(t, path)
	starts, _ := records(t, whole)
	manifest := contents(t, dir.Join("manifest.json"))
	cut := func(n int) {
		if err := os.WriteFile(path, whole[:n], 0o666); err != nil {
			t.Fatal(err)
		}
	}
	verify := func(what string, want int, says string) {
		t.Helper()
		for _, named := range []string{dir.Path, path} {
			code, stdout, stderr := vramsim(t, "replay", named, "--verify")
			if code != want || !strings.Contains(stdout+stderr, says) {
				t.Errorf("%s, %s: exit %d, want %d and %q: %s%s", what, filepath.Base(named), code, want, says, stdout, stderr)
			}
		}
	}
	for _, killed := range []bool{false, true} {
		if killed { // the manifest is the one of the start; only the result knows
			var m rundir.Manifest
			if err := dir.ReadJSON("manifest.json", &m); err != nil {
				t.Fatal(err)
			}
			m.Logs = map[string]rundir.Log{}
			if err := dir.WriteJSON("manifest.json", m); err != nil {
				t.Fatal(err)
			}
		}
		cut(len(whole))
		verify("whole", exitOK, "")
		cut(starts[1] + 5)
		verify("cut in the events", exitInvariant, "a lost tail: 0 of ")
		cut(starts[len(starts)-1])
		verify("without footer", exitOK, "INCOMPLETE: 0 bytes dropped")
	}
	if err := os.Remove(dir.Join(filepath.Dir(relative(t, dir.Path, path)), "result.json")); err != nil {
		t.Fatal(err)
	}
	cut(starts[1] + 5)
	verify("killed before the result", exitOK, "INCOMPLETE: 5 bytes dropped")
	if err := os.WriteFile(dir.Join("manifest.json"), manifest, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := vramsim(t, "replay", dir.Path, "--verify"); code != exitInvariant || !strings.Contains(stderr, "the log is lost") {
		t.Errorf("a lost log: exit %d: %s", code, stderr)
	}
}

func relative(t *testing.T, base, path string) string {
	t.Helper()
	base, err := filepath.Abs(base)
	if err != nil {
		t.Fatal(err)
	}
	path, err = filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	name, err := filepath.Rel(base, path)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// testFlippedBits flips bits of a log: at a stride in the library, fewer by
// the command. All of them are flipped where VRAMSIM_LONG is set, and by the
// tests of eventlog.
func testFlippedBits(t *testing.T) {
	dir, path := aLog(t, 900)
	log := contents(t, path)
	if len(log) < 8<<10 || len(log) > 24<<10 {
		t.Errorf("the log has %d bytes", len(log))
	}
	all, _, err := readAll(log)
	if err != nil {
		t.Fatal(err)
	}
	bits := 8 * len(log)
	for bit := 0; bit < bits; bit += amount(1, 97) {
		log[bit/8] ^= 1 << (bit % 8)
		events, _, err := readAll(log)
		var corrupt *eventlog.CorruptError
		if !errors.As(err, &corrupt) || corrupt.Offset > int64(bit/8) || len(events) > len(all) || !slices.Equal(events, all[:len(events)]) {
			t.Fatalf("bit %d: %d events, %v", bit, len(events), err)
		}
		log[bit/8] ^= 1 << (bit % 8)
	}
	for bit := 3; bit < bits; bit += bits / amount(400, 20) {
		log[bit/8] ^= 1 << (bit % 8)
		if err := os.WriteFile(path, log, 0o666); err != nil {
			t.Fatal(err)
		}
		code, stdout, stderr := vramsim(t, "replay", dir.Path, "--verify")
		if code != exitInvariant || !strings.Contains(stdout, "event log is damaged at byte ") {
			t.Errorf("bit %d: exit %d: %s%s", bit, code, stdout, stderr)
		}
		checkMessage(t, stderr, []string{"verification failed: "}, false)
		log[bit/8] ^= 1 << (bit % 8)
	}
}

// testLostFrame: a log that ends at the end of a frame has no footer.
func testLostFrame(t *testing.T) {
	dir, path := aLog(t, 1500)
	whole := contents(t, path)
	starts, kinds := records(t, whole)
	last := bytes.LastIndexByte(kinds, 2)
	if err := os.WriteFile(path, whole[:starts[last]], 0o666); err != nil {
		t.Fatal(err)
	}
	if code, stdout, _ := vramsim(t, "replay", dir.Path, "--verify"); code != exitInvariant || !strings.Contains(stdout, "INCOMPLETE: 0 bytes dropped, a lost tail: ") {
		t.Errorf("known to the run: exit %d: %s", code, stdout)
	}
	alone := filepath.Join(t.TempDir(), "alone.log")
	verifyCut(t, alone, whole, starts[last], starts[1])
	// A frame taken out of the middle is no lost tail.
	first := bytes.IndexByte(kinds, 2)
	if err := os.WriteFile(alone, append(slices.Clone(whole[:starts[first]]), whole[starts[first+1]:]...), 0o666); err != nil {
		t.Fatal(err)
	}
	if code, stdout, _ := vramsim(t, "replay", alone, "--verify"); code != exitInvariant || !strings.Contains(stdout, "event log is damaged") {
		t.Errorf("a frame taken out: exit %d: %s", code, stdout)
	}
}

// testHugeFrame: what a frame claims is not allocated.
func testHugeFrame(t *testing.T) {
	_, path := aLog(t, 40)
	log := contents(t, path)
	starts, kinds := records(t, log)
	binary.LittleEndian.PutUint32(log[starts[bytes.IndexByte(kinds, 2)]+2:], 1<<32-1)
	if err := os.WriteFile(path, log, 0o666); err != nil {
		t.Fatal(err)
	}
	bytes := allocated(func() {
		if code, stdout, _ := vramsim(t, "replay", path, "--verify"); code != exitInvariant || !strings.Contains(stdout, "a record is longer than the log") {
			t.Errorf("exit %d: %s", code, stdout)
		}
	})
	if bytes > 32<<20 {
		t.Errorf("%d bytes were allocated for a log of %d", bytes, len(log))
	}
}

// appendRecord adds a record to the records of a log; crc is the checksum of
// the one before.
func appendRecord(log []byte, crc uint32, kind byte, payload []byte) ([]byte, uint32) {
	head := make([]byte, 14)
	head[0] = kind
	binary.LittleEndian.PutUint32(head[2:], uint32(len(payload)))
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(crc32.Update(crc32.Checksum(binary.LittleEndian.AppendUint32(nil, crc), table), table, head[:10]), table, payload)
	binary.LittleEndian.PutUint32(head[10:], sum)
	return append(append(log, head...), payload...), sum
}

// testUnknownRecord: a record of a newer version is skipped and told where its
// type may be ignored, and refused otherwise. What follows it is left out, so
// the log has no end.
func testUnknownRecord(t *testing.T) {
	_, path := aLog(t, 40)
	log := contents(t, path)
	starts, _ := records(t, log)
	footer := starts[len(starts)-1]
	last := binary.LittleEndian.Uint32(log[starts[len(starts)-2]+10:])
	alone := filepath.Join(t.TempDir(), "newer.log")
	for kind, want := range map[byte]struct {
		code int
		says string
	}{200: {exitOK, "1 records of a newer version skipped, INCOMPLETE: 0 bytes dropped"}, 99: {exitInvariant, "holds a record of type 99, which this program (1.1) does not know"}} {
		newer, _ := appendRecord(slices.Clone(log[:footer]), last, kind, []byte("new"))
		if err := os.WriteFile(alone, newer, 0o666); err != nil {
			t.Fatal(err)
		}
		if code, stdout, stderr := vramsim(t, "replay", alone, "--verify"); code != want.code || !strings.Contains(stdout, want.says) {
			t.Errorf("type %d: exit %d: %s%s", kind, code, stdout, stderr)
		}
	}
}

func testNewerLog(t *testing.T) {
	t.Chdir(t.TempDir())
	const magic = "VRAMLOG1"
	log, _ := appendRecord([]byte(magic), crc32.Checksum([]byte(magic), crc32.MakeTable(crc32.Castagnoli)), 1, []byte(`{"schema":"vramsim/log/2","major":2,"minor":3,"policy":5}`))
	write(t, "newer.log", string(log))
	code, _, stderr := vramsim(t, "replay", "newer.log", "--verify")
	if code != exitInvariant {
		t.Errorf("exit %d", code)
	}
	checkMessage(t, stderr, []string{"event log has version 2.3, this program reads up to 1"}, false)
}

// limited is the command in a process whose files may not grow beyond some
// blocks of 512 bytes: each write beyond fails as on a full disk.
func limited(t *testing.T, blocks int, args ...string) *exec.Cmd {
	t.Helper()
	shell, err := exec.LookPath("sh")
	if err != nil || runtime.GOOS == "windows" {
		t.Skip("files are limited by a shell")
	}
	c := child(t, nil)
	c.Args = append([]string{shell, "-c", `ulimit -f "$0"; exec "$@"`, strconv.Itoa(blocks), c.Path}, args...)
	c.Path, c.Stderr = shell, nil
	return c
}

// testFullDisk: the disk fills up while the log is written. The run stops with
// what failed, and the log can be read as far as it goes. That a failed sync is
// not tried again and every single write may fail is tested in eventlog.
func testFullDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir, path := aLog(t, 3000)
	size := len(contents(t, path))
	if err := os.RemoveAll(dir.Path); err != nil {
		t.Fatal(err)
	}
	for _, blocks := range []int{size / 512 / 4, size / 512 / 2, size/512 - 1} {
		var stderr bytes.Buffer
		c := limited(t, blocks, "run", "bad.yaml", "-o", "full", "-q")
		c.Stderr = &stderr
		err := c.Run()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != exitUsage {
			t.Fatalf("%d blocks: %v: %s", blocks, err, &stderr)
		}
		checkMessage(t, stderr.String(), []string{"events.log", "file too large"}, false)
		logs, err := filepath.Glob("full/bad/*/cells/*/*/*/events.log")
		if err != nil || len(logs) == 0 {
			t.Fatal(logs, err)
		}
		if code, stdout, stderr := vramsim(t, "replay", logs[0], "--verify"); code != exitOK || !strings.Contains(stdout, "INCOMPLETE: ") {
			t.Errorf("%d blocks: exit %d: %s%s", blocks, code, stdout, stderr)
		}
		if err := os.RemoveAll("full"); err != nil {
			t.Fatal(err)
		}
	}
}

// sweepFile is a sweep of 12 simulations with chance in them.
func sweepFile() given {
	return given{edits: []string{"replicates: 1", "replicates: 3", "workload: {trace: t.jsonl}", "workload: {items: 400, arrivals: {poisson: {rate: 0.2/s}}, streams: {models: [whisper, qwen3]}}",
		"policies:", "sweep: {axes: {\"hardware.gpus[0].memory\": [12GB, 16GB]}}\npolicies:"}}
}

// logsOf returns the digests of the logs of a run by their names, each read
// from its log, and fails if two results lie in one place or one is missing.
func logsOf(t *testing.T, dir *rundir.Dir, want int) map[string]string {
	t.Helper()
	m, err := dir.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	results, err := filepath.Glob(dir.Join("cells", "*", "*", "*", "result.json"))
	if err != nil || len(results) != want || len(m.Logs) != want {
		t.Fatalf("%d results, %d logs, want %d (%v)", len(results), len(m.Logs), want, err)
	}
	all := map[string]string{}
	for name, known := range m.Logs {
		_, status, err := readAll(contents(t, dir.Join(name)))
		if err != nil || !status.Complete || status.Digest != known.Digest {
			t.Errorf("%s: %+v, %v", name, status, err)
		}
		all[name] = status.Digest
	}
	return all
}

// testKilledSweep kills a sweep at random moments, resumes it, kills it again,
// until it ends: it must come out as if nothing had happened.
func testKilledSweep(t *testing.T) {
	const units = 12
	sweepFile().place(t)
	start := time.Now()
	whole := child(t, nil, "sweep", "bad.yaml", "-o", "whole", "-q", "--format", "json")
	if err := whole.Run(); err != nil {
		t.Fatal(err)
	}
	length := time.Since(start)
	dir, err := rundir.Open("whole/bad/latest")
	if err != nil {
		t.Fatal(err)
	}
	want := logsOf(t, dir, units)
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	kills, sweeps := 0, 0
	for kills < amount(100, 4) {
		kills += killAndResume(t, fmt.Sprintf("sweep%d", sweeps), length, random, want)
		sweeps++
	}
	t.Logf("%d kills in %d sweeps of %v each", kills, sweeps, length)
}

// killAndResume makes one sweep in spite of kills and returns how many met it
// alive.
func killAndResume(t *testing.T, out string, length time.Duration, random *rand.Rand, want map[string]string) (kills int) {
	args := []string{"sweep", "bad.yaml", "-o", out, "-q", "--format", "json"}
	for {
		c := child(t, nil, args...)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Duration(random.Int64N(int64(length))), func() { c.Process.Kill() })
		if kills == 8 { // enough of them for one sweep
			timer.Stop()
		}
		err := c.Wait()
		timer.Stop()
		if err == nil {
			break
		}
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() > 0 {
			t.Fatalf("a resumed sweep ended with %v", err)
		}
		kills++
		if found, _ := filepath.Glob(out + "/bad/2*/manifest.json"); len(found) == 1 {
			args = []string{"sweep", "--resume", filepath.Dir(found[0]), "-q", "--format", "json"}
		} else if err := os.RemoveAll(out); err != nil { // killed before there was a run
			t.Fatal(err)
		}
	}
	found, err := filepath.Glob(out + "/bad/2*/manifest.json")
	if err != nil || len(found) != 1 {
		t.Fatalf("runs %v, %v", found, err)
	}
	got := logsOf(t, &rundir.Dir{Path: filepath.Dir(found[0])}, len(want))
	for name, digest := range want {
		if got[name] != digest {
			t.Errorf("%s is %s after %d kills, want %s", name, got[name], kills, digest)
		}
	}
	if leftovers, _ := filepath.Glob(filepath.Dir(found[0]) + "/cells/*/*/*/.*"); len(leftovers) > 0 {
		t.Errorf("left over: %v", leftovers)
	}
	return kills
}

// testTwoWriters: a run that another process writes is not resumed, and a log
// that is there is not opened for writing.
func testTwoWriters(t *testing.T) {
	dir, path := aLog(t, 12)
	if _, err := eventlog.Create(path, eventlog.Header{}, eventlog.Options{}); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second writer of the log: %v", err)
	}
	release, err := dir.Lock()
	if err != nil {
		t.Fatal(err)
	}
	before := tree(t)
	c := child(t, nil, "sweep", "--resume", dir.Path)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	var exit *exec.ExitError
	if err := c.Run(); !errors.As(err, &exit) || exit.ExitCode() != exitUsage {
		t.Errorf("%v: %s", err, &stderr)
	}
	checkMessage(t, stderr.String(), []string{dir.Path + " is being written by another process", "hint: "}, false)
	if after := tree(t); !slices.Equal(before, after) {
		t.Errorf("the second writer changed %v to %v", before, after)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := vramsim(t, "sweep", "--resume", dir.Path, "-q"); code != exitOK {
		t.Errorf("after the first writer: exit %d: %s", code, stderr)
	}
}
