package eventlog

import (
	"encoding/binary"
	"math"

	"github.com/vramsim/vramsim/scheduler"
)

// Fields of an event that differ from their prediction, in the order in which
// they are written.
const (
	hasTime = 1 << iota
	hasFlags
	hasDevice
	hasModel
	hasID
	hasValue
	fields
)

const (
	maxKind = 0x7f
	// maxEvent is the most bytes that an event takes: kind and fields, and
	// each field as a varint.
	maxEvent = 2 + binary.MaxVarintLen64*3 + 1 + binary.MaxVarintLen32 + binary.MaxVarintLen16
	slots    = 16 // of the contexts by model; a power of two
	gpus     = 8  // of the contexts by device; a power of two
)

// role says from what a kind is predicted; see FORMAT.md.
type role byte

const (
	plain role = iota
	arrival
	attribute
	ending // of a batch, load or eviction
	dispatch
	batch
	load
	eviction
)

// roles are those of the kinds from 0 on, and again from MemberDispatched on;
// other kinds are plain.
const (
	factRoles     = "\x00" + "\x01" + "\x02\x02\x02\x02\x02" + "\x00" + "\x03\x03\x03\x03\x03\x03"
	decisionRoles = "\x04" + "\x05" + "\x00" + "\x06" + "\x07"
)

func roleOf(k scheduler.Kind) role {
	if int(k) < len(factRoles) {
		return role(factRoles[k])
	}
	if i := int(k) - int(scheduler.MemberDispatched); i >= 0 && i < len(decisionRoles) {
		return role(decisionRoles[i])
	}
	return plain
}

// begun is a batch, load or eviction.
type begun struct {
	id    int64
	model scheduler.ModelID
}

// coder predicts the events of a frame from those before it there. Both sides
// start each frame anew.
type coder struct {
	at      uint64
	seq     int64          // of the event
	last    scheduler.Kind // of the event before
	model   scheduler.ModelID
	follows [maxKind + 1]uint16 // kind and fields that came after a kind last
	kinds   [maxKind + 1]struct {
		id     int64
		model  scheduler.ModelID
		device scheduler.DeviceID
	}
	values     [maxKind + 1][slots]int64
	dispatched [slots]int64
	begun      [3][gpus]begun // the last batch, load and eviction on a device
}

// flags predicts the flags of an event of kind k: the first fact after
// decisions or at another time begins a step.
func (c *coder) flags(k scheduler.Kind, later bool) uint8 {
	if k.Fact() && (later || !c.last.Fact()) {
		return scheduler.FlagFirst
	}
	return 0
}

// predict returns the model and ID that an event of kind k on device d is
// expected to have; the ID of a dispatch is that of its model, see dispatched.
func (c *coder) predict(k scheduler.Kind, r role, d scheduler.DeviceID) (m scheduler.ModelID, id int64) {
	p := &c.kinds[k]
	m, id = p.model, p.id
	switch r {
	case arrival:
		id++
	case attribute:
		id = c.kinds[scheduler.ItemArrived].id
	case ending:
		b := &c.begun[(k-scheduler.BatchFinished)/2][d&(gpus-1)]
		m, id = b.model, b.id
	case batch:
		m, id = c.model, c.seq
	case load:
		id = c.seq
	case eviction:
		m, id = c.begun[0][d&(gpus-1)].model, c.seq
	}
	return m, id
}

// saw learns from an event.
func (c *coder) saw(e *scheduler.Event, r role) {
	k := e.Kind & maxKind
	c.at, c.last, c.model = uint64(e.At), k, e.Model
	p := &c.kinds[k]
	p.id, p.model, p.device = e.ID, e.Model, e.Device
	c.values[k][e.Model&(slots-1)] = e.Value
	c.seq++
	if r >= batch {
		c.begun[r-batch][e.Device&(gpus-1)] = begun{e.ID, e.Model}
	} else if r == dispatch {
		c.dispatched[e.Model&(slots-1)] = e.ID
	}
}

// encode appends the payload of a frame whose first event is number seq. The
// arithmetic wraps, so every event can be written.
func (c *coder) encode(b []byte, seq int64, events []scheduler.Event) []byte {
	*c = coder{seq: seq}
	start := len(b)
	i := start + (len(events)+7)/8
	b = grow(b, i+len(events)*maxEvent)
	clear(b[start:i])
	for n := range events {
		e := &events[n]
		k := e.Kind & maxKind
		r := roleOf(k)
		m, id := c.predict(k, r, e.Device)
		if r == dispatch {
			id = c.dispatched[e.Model&(slots-1)] + 1
		}
		at, device, model := uint64(e.At)-c.at, int64(e.Device)-int64(c.kinds[k].device), int64(e.Model)-int64(m)
		id, value := e.ID-id, e.Value-c.values[k][e.Model&(slots-1)]
		flags := e.Flags ^ c.flags(k, at != 0)
		what := uint16(k)<<8 | mask(at, flags, device, model, id, value)
		if what == c.follows[c.last] {
			b[start+n>>3] |= 1 << (n & 7)
		} else {
			c.follows[c.last] = what
			b[i], b[i+1] = byte(k), byte(what)
			i += 2
		}
		if what&0xff != 0 {
			i = c.fields(b, i, at, flags, device, model, id, value)
		}
		c.saw(e, r)
	}
	return b[:i]
}

// fields writes what differs from its prediction.
func (c *coder) fields(b []byte, i int, at uint64, flags uint8, device, model, id, value int64) int {
	if at != 0 {
		i = putUvarint(b, i, at)
	}
	if flags != 0 {
		b[i] = flags
		i++
	}
	if device != 0 {
		i = putUvarint(b, i, zigzag(device))
	}
	if model != 0 {
		i = putUvarint(b, i, zigzag(model))
	}
	if id != 0 {
		i = putUvarint(b, i, zigzag(id))
	}
	if value != 0 {
		i = putUvarint(b, i, zigzag(value))
	}
	return i
}

// mask returns which fields are not 0.
func mask(at uint64, flags uint8, device, model, id, value int64) uint16 {
	return some(at)*hasTime | some(uint64(flags))*hasFlags | some(uint64(device))*hasDevice |
		some(uint64(model))*hasModel | some(uint64(id))*hasID | some(uint64(value))*hasValue
}

// some is 1 for any number but 0.
func some(v uint64) uint16 { return uint16((v | -v) >> 63) }

// grow lengthens b to n bytes.
func grow(b []byte, n int) []byte {
	if n <= cap(b) {
		return b[:n]
	}
	return append(b, make([]byte, n-len(b))...)
}

func zigzag(v int64) uint64 { return uint64(v)<<1 ^ uint64(v>>63) }

func putUvarint(b []byte, i int, v uint64) int {
	for v >= 0x80 {
		b[i] = byte(v) | 0x80
		v >>= 7
		i++
	}
	b[i] = byte(v)
	return i + 1
}

// decode appends the n events of a payload, and reports whether it is whole
// and as encode would write it.
func (c *coder) decode(events []scheduler.Event, b []byte, seq int64, n int) ([]scheduler.Event, bool) {
	*c = coder{seq: seq}
	head := (n + 7) / 8
	if len(b) < head || n&7 != 0 && b[head-1]>>(n&7) != 0 {
		return events, false
	}
	known, in := b[:head], input{b: b[head:]}
	for i := range n {
		what := c.follows[c.last]
		if known[i>>3]>>(i&7)&1 == 0 {
			read := uint16(in.byte())<<8 | uint16(in.byte())
			if read == what || read>>8 > maxKind || read&0xff >= fields {
				return events, false
			}
			what = read
			c.follows[c.last] = what
		}
		e := scheduler.Event{Kind: scheduler.Kind(what >> 8)}
		r := roleOf(e.Kind)
		c.read(&in, &e, r, what)
		if in.bad {
			return events, false
		}
		c.saw(&e, r)
		events = append(events, e)
	}
	return events, len(in.b) == 0
}

// read reads the fields of an event that differ from their prediction.
func (c *coder) read(in *input, e *scheduler.Event, r role, what uint16) {
	at := uint64(0)
	if what&hasTime != 0 {
		at = in.differing()
	}
	e.At = scheduler.Time(c.at + at)
	e.Flags = c.flags(e.Kind, at != 0)
	if what&hasFlags != 0 {
		flags := in.byte()
		in.bad = in.bad || flags == 0
		e.Flags ^= flags
	}
	e.Device = scheduler.DeviceID(in.near(what&hasDevice != 0, int64(c.kinds[e.Kind].device), math.MinInt16, math.MaxInt16))
	m, id := c.predict(e.Kind, r, e.Device)
	e.Model = scheduler.ModelID(in.near(what&hasModel != 0, int64(m), math.MinInt32, math.MaxInt32))
	if r == dispatch {
		id = c.dispatched[e.Model&(slots-1)] + 1
	}
	e.ID, e.Value = id, c.values[e.Kind][e.Model&(slots-1)]
	if what&hasID != 0 {
		e.ID += unzigzag(in.differing())
	}
	if what&hasValue != 0 {
		e.Value += unzigzag(in.differing())
	}
}

// input is what is left of a payload; bad once too much or something
// impossible was read.
type input struct {
	b   []byte
	bad bool
}

func (in *input) byte() byte {
	if len(in.b) == 0 {
		in.bad = true
		return 0
	}
	v := in.b[0]
	in.b = in.b[1:]
	return v
}

// differing reads a difference, which is not 0, in its shortest form.
func (in *input) differing() uint64 {
	v, n := binary.Uvarint(in.b)
	if n <= 0 || v == 0 || n > 1 && in.b[n-1] == 0 {
		in.bad = true
		return 0
	}
	in.b = in.b[n:]
	return v
}

// near returns a predicted number, corrected if it differs.
func (in *input) near(differs bool, predicted, low, high int64) int64 {
	if !differs {
		return predicted
	}
	v := predicted + unzigzag(in.differing())
	if v < low || v > high {
		in.bad = true
		return 0
	}
	return v
}

func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }
