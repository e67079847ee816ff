// Package eventlog writes and reads the event log of a run: a chain of
// checksummed records with one digest over the events. FORMAT.md describes
// the bytes.
package eventlog

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"hash/crc32"

	"github.com/vramsim/vramsim/scheduler"
)

// Schema and version of the logs that this package writes. A reader refuses a
// newer Major and reads any Minor.
const (
	Schema = "vramsim/log/1"
	Major  = 1
	Minor  = 1 // 0 was never released: another coding of events
)

// FrameEvents is the largest number of events in one frame, and so the most
// that Reader.Next returns.
const FrameEvents = 1024

const (
	magic        = "VRAMLOG1"
	trailerMagic = "VRAMEND1"
	trailerLen   = 16
	recordLen    = 14 // header of a record

	typeHeader   = 1
	typeEvents   = 2
	typeNames    = 3
	typeSnapshot = 4
	typeFooter   = 5
	// Readers skip records of unknown types from here on, and refuse others.
	typeIgnorable = 128

	flagZstd = 1

	nameItem   = 0
	nameJob    = 1
	nameTenant = 2
	nameKinds  = 3

	// maxPacked bounds what a compressed payload may expand to. Larger
	// payloads (one long name) are stored as they are.
	maxPacked = 1 << 16
)

// Header is the first record: what was run, and by what. The writer sets
// Schema, Major and Minor.
type Header struct {
	Schema     string            `json:"schema"`
	Major      int               `json:"major"`
	Minor      int               `json:"minor"`
	Tool       string            `json:"tool,omitempty"`
	RunID      string            `json:"run_id,omitempty"`
	Name       string            `json:"name,omitempty"`
	Cell       string            `json:"cell,omitempty"`
	Policy     string            `json:"policy,omitempty"`
	Replicate  int               `json:"replicate"`
	Seed       uint64            `json:"seed"`
	Experiment string            `json:"experiment,omitempty"` // resolved YAML
	Settings   map[string]string `json:"settings,omitempty"`
	Models     []string          `json:"models,omitempty"`  // by ModelID
	Devices    []string          `json:"devices,omitempty"` // by DeviceID
	Extra      map[string]string `json:"extra,omitempty"`
}

// CorruptError says that a log is damaged, as opposed to cut short.
type CorruptError struct {
	Offset int64 // of the record, or of what is wrong outside of records
	What   string
}

// Error implements error.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("event log is damaged at byte %d: %s", e.Offset, e.What)
}

// VersionError says that a log has a newer major version than this package
// reads, or is of version 1.0, which was never released.
type VersionError struct {
	Major, Minor int
}

// Error implements error.
func (e *VersionError) Error() string {
	if e.Major <= Major {
		return fmt.Sprintf("event log has version %d.%d, which was never released and is not read any more; simulate again", e.Major, e.Minor)
	}
	return fmt.Sprintf("event log has version %d.%d, this program reads up to %d", e.Major, e.Minor, Major)
}

// UnknownError says that a log of a newer minor version holds a record that
// this package does not know and that may not be ignored.
type UnknownError struct {
	Type         byte
	Major, Minor int // of the log
}

// Error implements error.
func (e *UnknownError) Error() string {
	return fmt.Sprintf("event log of version %d.%d holds a record of type %d, which this program (%d.%d) does not know and may not skip",
		e.Major, e.Minor, e.Type, Major, Minor)
}

// footer is the payload of the footer record.
type footer struct {
	Events int64      `json:"events"`
	Digest string     `json:"digest"`
	Frames [][3]int64 `json:"frames"` // offset, first sequence number, first time
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// chain is the checksum of the last record.
type chain struct {
	crc uint32
	buf [4 + recordLen - 4]byte
}

func newChain() chain { return chain{crc: crc32.Checksum([]byte(magic), castagnoli)} }

// next moves on to a record and returns its checksum: over the previous one,
// the fields of the header and the payload.
func (c *chain) next(head *[recordLen]byte, payload []byte) uint32 {
	binary.LittleEndian.PutUint32(c.buf[:], c.crc)
	copy(c.buf[4:], head[:recordLen-4])
	c.crc = crc32.Update(crc32.Update(0, castagnoli, c.buf[:]), castagnoli, payload)
	return c.crc
}

// digest hashes the canonical encoding of events: blocks of FrameEvents, each
// the number of its events and then the payload of a frame of them.
type digest struct {
	sum   hash.Hash
	seq   int64             // of the first event of the block
	block []scheduler.Event // not yet complete
	coder coder
	buf   []byte
	count [2]byte
}

func newDigest() *digest { return &digest{sum: sha256.New()} }

func (d *digest) add(events []scheduler.Event) {
	for len(events) > 0 {
		n := min(len(events), FrameEvents-len(d.block))
		block := events[:n]
		if n < FrameEvents {
			d.block = append(d.block, block...)
			block = d.block
		}
		if len(block) == FrameEvents {
			d.buf = d.coder.encode(d.buf[:0], d.seq, block)
			d.whole(d.buf)
			d.block = d.block[:0]
		}
		events = events[n:]
	}
}

// aligned reports whether the next event begins a block.
func (d *digest) aligned() bool { return len(d.block) == 0 }

// whole adds a block that was encoded already.
func (d *digest) whole(payload []byte) {
	d.hash(FrameEvents, payload)
	d.seq += FrameEvents
}

func (d *digest) hash(events int, payload []byte) {
	binary.LittleEndian.PutUint16(d.count[:], uint16(events))
	d.sum.Write(d.count[:])
	d.sum.Write(payload)
}

// with returns the digest of the events so far and some more, which it does
// not add.
func (d *digest) with(more []scheduler.Event) string {
	c := &digest{seq: d.seq, block: append([]scheduler.Event(nil), d.block...)}
	sum, err := d.sum.(hash.Cloner).Clone()
	if err != nil {
		panic("bug: SHA-256 cannot be cloned: " + err.Error())
	}
	c.sum = sum
	c.add(more)
	if len(c.block) > 0 {
		c.hash(len(c.block), c.coder.encode(nil, c.seq, c.block))
	}
	return "sha256:" + hex.EncodeToString(c.sum.Sum(nil))
}

func (d *digest) String() string { return d.with(nil) }
