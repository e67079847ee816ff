package eventlog

import (
	"encoding/binary"
	"math"

	"github.com/vramsim/vramsim/scheduler"
)

// coder holds what the events of a frame are encoded against. Both sides
// start each frame anew.
type coder struct {
	at   uint64
	prev [maxKind + 1]struct {
		id, value     int64
		model, device int64
	}
}

// ownSequence reports whether the ID of events of kind k is their own
// sequence number.
func ownSequence(k scheduler.Kind) bool {
	return k == scheduler.BatchStarted || k == scheduler.LoadStarted || k == scheduler.EvictStarted
}

// encode appends the payload of a frame whose first event is number seq. The
// arithmetic wraps, so every event can be written.
func (c *coder) encode(b []byte, seq int64, events []scheduler.Event) []byte {
	*c = coder{}
	for i := range events {
		e := &events[i]
		p := &c.prev[e.Kind]
		if e.Flags != 0 {
			b = append(b, byte(e.Kind)|hasFlags, e.Flags)
		} else {
			b = append(b, byte(e.Kind))
		}
		b = binary.AppendUvarint(b, uint64(e.At)-c.at)
		c.at = uint64(e.At)
		from := p.id
		if ownSequence(e.Kind) {
			from = seq + int64(i)
		}
		b = binary.AppendVarint(b, e.ID-from)
		b = binary.AppendVarint(b, e.Value-p.value)
		b = binary.AppendVarint(b, int64(e.Model)-p.model)
		b = binary.AppendVarint(b, int64(e.Device)-p.device)
		p.id, p.value, p.model, p.device = e.ID, e.Value, int64(e.Model), int64(e.Device)
	}
	return b
}

// decode appends the n events of a payload, and reports whether it is whole.
func (c *coder) decode(events []scheduler.Event, b []byte, seq int64, n int) ([]scheduler.Event, bool) {
	*c = coder{}
	for i := range n {
		if len(b) == 0 {
			return events, false
		}
		e := scheduler.Event{Kind: scheduler.Kind(b[0] & maxKind)}
		flags := b[0]&hasFlags != 0
		b = b[1:]
		if flags {
			if len(b) == 0 || b[0] == 0 {
				return events, false
			}
			e.Flags = b[0]
			b = b[1:]
		}
		p := &c.prev[e.Kind]
		u, w := binary.Uvarint(b)
		if w <= 0 {
			return events, false
		}
		b = b[w:]
		c.at += u
		e.At = scheduler.Time(c.at)
		var d [4]int64
		for j := range d {
			v, w := binary.Varint(b)
			if w <= 0 {
				return events, false
			}
			d[j] = v
			b = b[w:]
		}
		from := p.id
		if ownSequence(e.Kind) {
			from = seq + int64(i)
		}
		p.id, p.value, p.model, p.device = from+d[0], p.value+d[1], p.model+d[2], p.device+d[3]
		if p.model < math.MinInt32 || p.model > math.MaxInt32 || p.device < math.MinInt16 || p.device > math.MaxInt16 {
			return events, false
		}
		e.ID, e.Value = p.id, p.value
		e.Model, e.Device = scheduler.ModelID(p.model), scheduler.DeviceID(p.device)
		events = append(events, e)
	}
	return events, len(b) == 0
}
