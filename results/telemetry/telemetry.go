// Package telemetry is the side stream of a hardware run, beside its event
// log: what the device said of itself, what the phases of commands took, how
// late the clock was. No decision depends on it.
//
// The file is JSON Lines in zstd frames, one frame for each Sync, so that a
// killed run's file reads up to its last whole line and any zstd program can
// print it. The first line is the Header, then comes a Record a line, and a
// file that was closed ends with the number of records and their digest:
//
//	{"vramsim":"telemetry","version":1,"devices":["gpu0"]}
//	{"t_ns":100,"seq":-1,"device":0,"kind":"sample","power_mw":61000,"sm_mhz":1410,"reasons":0}
//	{"t_ns":2100,"seq":17,"device":0,"kind":"phase","model":"whisper","op":"load","name":"read","took_ns":1900,"bytes":3100000000}
//	{"vramsim":"end","records":2,"digest":"sha256:…"}
//
// Times are nanoseconds on the clock of the run's events, sizes bytes. What is
// unknown is left out.
package telemetry

import (
	"encoding/json"
	"fmt"

	"github.com/vramsim/vramsim/scheduler"
)

// FileName is what the stream is called beside events.log.
const FileName = "telemetry.jsonl.zst"

// Version of the files that this package writes. A reader refuses newer ones.
const Version = 1

// Header is the first line.
type Header struct {
	RunID   string   `json:"run_id,omitempty"`
	Devices []string `json:"devices,omitempty"` // names by DeviceID
}

// NoSeq is the Seq of a record that belongs to no command.
const NoSeq = -1

// Record is one line.
type Record struct {
	At scheduler.Time // on the clock of the run's events
	// Seq is the sequence number of the decision that started the command this
	// is about, NoSeq if it is about none.
	Seq    int64
	Device scheduler.DeviceID // NoDevice if it is about none
	Body   Body
}

// Kind names what a record tells.
type Kind string

// The kinds.
const (
	KindSample Kind = "sample"
	KindPhase  Kind = "phase"
	KindVRAM   Kind = "vram"
	KindEnergy Kind = "energy"
	KindLate   Kind = "late"
	KindMark   Kind = "mark"
)

// Body is what a record tells: a *Sample, *Phase, *VRAM, *Energy, *Late or
// *Mark.
type Body interface {
	Kind() Kind
	check() error
}

// Unknown is the value of a Reading that the driver does not tell.
const Unknown Reading = -1

// Reading is a number that a driver may not tell: Unknown, which is left out
// of the file. The zero value is a reading of 0.
type Reading int64

// IsZero reports whether r is Unknown, and so left out.
func (r Reading) IsZero() bool { return r == Unknown }

// Sample is a moment of a device. NewSample returns one of which nothing is
// known.
type Sample struct {
	PowerMW       Reading `json:"power_mw,omitzero"`         // the driver's average, over about a second
	InstantMW     Reading `json:"power_instant_mw,omitzero"` // at this moment
	SMMHz         Reading `json:"sm_mhz,omitzero"`
	MemMHz        Reading `json:"mem_mhz,omitzero"`
	TempC         Reading `json:"temp_c,omitzero"`
	Reasons       uint64  `json:"reasons"` // why clocks are held down, NVML's bits
	UsedBytes     Reading `json:"used_bytes,omitzero"`
	FreeBytes     Reading `json:"free_bytes,omitzero"`
	ForeignBytes  Reading `json:"foreign_bytes,omitzero"`  // held by other processes
	SentBytes     Reading `json:"sent_bytes,omitzero"`     // to the host since the driver was loaded; may wrap
	ReceivedBytes Reading `json:"received_bytes,omitzero"` // from the host
	LinkGen       Reading `json:"link_gen,omitzero"`
	LinkWidth     Reading `json:"link_width,omitzero"`
}

// NewSample returns a sample of which nothing is known yet.
func NewSample() *Sample {
	return &Sample{PowerMW: Unknown, InstantMW: Unknown, SMMHz: Unknown, MemMHz: Unknown, TempC: Unknown, UsedBytes: Unknown,
		FreeBytes: Unknown, ForeignBytes: Unknown, SentBytes: Unknown, ReceivedBytes: Unknown, LinkGen: Unknown, LinkWidth: Unknown}
}

// Phase is a named part of a command, like the reading or the copying of a
// load. The record's Seq names the command.
type Phase struct {
	Model string         `json:"model"`
	Op    string         `json:"op"` // scheduler.Operation's name
	Name  string         `json:"name"`
	Took  scheduler.Time `json:"took_ns"`
	// Bytes that it moved, 0 if unknown.
	Bytes scheduler.Bytes `json:"bytes,omitzero"`
}

// VRAM is what a device and the framework on it say of its memory after a
// command, or at a moment of the run that Op names ("baseline" before anything
// was started, "context" with nothing loaded). Peaks are those of the command.
// Unknown is 0.
type VRAM struct {
	Model         string          `json:"model,omitempty"`
	Op            string          `json:"op"`
	N             int             `json:"n,omitzero"` // members of a batch
	Free          scheduler.Bytes `json:"free,omitzero"`
	Total         scheduler.Bytes `json:"total,omitzero"`
	Allocated     scheduler.Bytes `json:"allocated,omitzero"`
	Reserved      scheduler.Bytes `json:"reserved,omitzero"`
	PeakAllocated scheduler.Bytes `json:"peak_allocated,omitzero"`
	PeakReserved  scheduler.Bytes `json:"peak_reserved,omitzero"`
}

// Energy is a device's energy counter. It steps, and starts anywhere:
// differences count.
type Energy struct {
	MJ uint64 `json:"energy_mj"` // millijoules
}

// Late says that an arrival or a timer became a fact after it had been due.
type Late struct {
	Due  scheduler.Time `json:"due_ns"`
	Late scheduler.Time `json:"late_ns"` // at least 0
	What string         `json:"what"`    // scheduler.Kind's name of the fact
}

// Mark says what happened that is no fact of the run: a throttled clock, a gap
// between samples.
type Mark struct {
	Code string `json:"code"`
	Text string `json:"text,omitempty"`
}

// Kind implements Body.
func (*Sample) Kind() Kind { return KindSample }

// Kind implements Body.
func (*Phase) Kind() Kind { return KindPhase }

// Kind implements Body.
func (*VRAM) Kind() Kind { return KindVRAM }

// Kind implements Body.
func (*Energy) Kind() Kind { return KindEnergy }

// Kind implements Body.
func (*Late) Kind() Kind { return KindLate }

// Kind implements Body.
func (*Mark) Kind() Kind { return KindMark }

func (s *Sample) check() error {
	for _, r := range [...]Reading{s.PowerMW, s.InstantMW, s.SMMHz, s.MemMHz, s.UsedBytes, s.FreeBytes, s.ForeignBytes, s.SentBytes, s.ReceivedBytes, s.LinkGen, s.LinkWidth} {
		if r < Unknown {
			return fmt.Errorf("a reading of %d", r)
		}
	}
	return nil
}

func (p *Phase) check() error {
	switch {
	case p.Name == "" || p.Op == "" || p.Model == "":
		return fmt.Errorf("a phase has a name, an op and a model")
	case p.Took < 0 || p.Bytes < 0:
		return fmt.Errorf("a phase took %d ns for %d bytes", p.Took, p.Bytes)
	}
	return nil
}

func (v *VRAM) check() error {
	if v.Op == "" {
		return fmt.Errorf("it does not say at which op memory was read")
	}
	for _, b := range [...]scheduler.Bytes{scheduler.Bytes(v.N), v.Free, v.Total, v.Allocated, v.Reserved, v.PeakAllocated, v.PeakReserved} {
		if b < 0 {
			return fmt.Errorf("a negative amount of memory")
		}
	}
	return nil
}

func (*Energy) check() error { return nil }

func (l *Late) check() error {
	if l.Late < 0 || l.What == "" {
		return fmt.Errorf("lateness has a kind of fact and is not negative")
	}
	return nil
}

func (m *Mark) check() error {
	if m.Code == "" {
		return fmt.Errorf("a mark has a code")
	}
	return nil
}

// lineHead is what all records share; pointers tell what a line lacks.
type lineHead struct {
	At     *scheduler.Time     `json:"t_ns"`
	Seq    *int64              `json:"seq"`
	Device *scheduler.DeviceID `json:"device"`
	Kind   Kind                `json:"kind"`
}

// Lines are objects of one level, whatever their kind.
type (
	sampleLine struct {
		lineHead
		*Sample
	}
	phaseLine struct {
		lineHead
		*Phase
	}
	vramLine struct {
		lineHead
		*VRAM
	}
	energyLine struct {
		lineHead
		*Energy
	}
	lateLine struct {
		lineHead
		*Late
	}
	markLine struct {
		lineHead
		*Mark
	}
)

// line returns what encodes or decodes the whole of a record.
func line(head lineHead, body Body) any {
	switch b := body.(type) {
	case *Sample:
		return &sampleLine{head, b}
	case *Phase:
		return &phaseLine{head, b}
	case *VRAM:
		return &vramLine{head, b}
	case *Energy:
		return &energyLine{head, b}
	case *Late:
		return &lateLine{head, b}
	case *Mark:
		return &markLine{head, b}
	}
	return nil
}

// blank returns an empty body of a kind, nil if there is no such kind.
func blank(k Kind) Body {
	switch k {
	case KindSample:
		return NewSample()
	case KindPhase:
		return &Phase{}
	case KindVRAM:
		return &VRAM{}
	case KindEnergy:
		return &Energy{}
	case KindLate:
		return &Late{}
	case KindMark:
		return &Mark{}
	}
	return nil
}

// check returns what is wrong with a record.
func (r *Record) check() error {
	switch {
	case r.Body == nil:
		return fmt.Errorf("a record without a body")
	case r.At < 0:
		return fmt.Errorf("a record at %d ns", r.At)
	case r.Seq < NoSeq:
		return fmt.Errorf("a record of command %d", r.Seq)
	case r.Device < scheduler.NoDevice:
		return fmt.Errorf("a record of device %d", r.Device)
	}
	return r.Body.check()
}

// encode returns the record as a line.
func (r *Record) encode() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	whole := line(lineHead{&r.At, &r.Seq, &r.Device, r.Body.Kind()}, r.Body)
	data, err := json.Marshal(whole)
	return append(data, '\n'), err
}
