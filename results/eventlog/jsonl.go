package eventlog

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/vramsim/vramsim/scheduler"
)

// WriteJSONL writes the rest of a log as JSON Lines: the header, then one
// event a line. It says nothing about names and snapshots. Whether the log was
// complete is in r's Status afterwards.
func WriteJSONL(w io.Writer, r *Reader) error {
	out := bufio.NewWriterSize(w, 1<<16)
	head, err := json.Marshal(r.Header())
	if err != nil {
		return err
	}
	out.Write(append(head, '\n')) // errors stick until Flush
	var line []byte
	for {
		seq := r.status.Events
		events, err := r.Next()
		if err == io.EOF {
			return out.Flush()
		}
		if err != nil {
			return errors.Join(err, out.Flush())
		}
		for i := range events {
			line = appendJSON(line[:0], seq+int64(i), &events[i])
			if _, err := out.Write(line); err != nil {
				return err
			}
		}
	}
}

func appendJSON(b []byte, seq int64, e *scheduler.Event) []byte {
	b = strconv.AppendInt(append(b, `{"seq":`...), seq, 10)
	b = strconv.AppendInt(append(b, `,"at_ns":`...), int64(e.At), 10)
	b = append(append(b, `,"kind":"`...), e.Kind.String()...)
	b = strconv.AppendInt(append(b, `","id":`...), e.ID, 10)
	b = strconv.AppendInt(append(b, `,"value":`...), e.Value, 10)
	b = strconv.AppendInt(append(b, `,"model":`...), int64(e.Model), 10)
	b = strconv.AppendInt(append(b, `,"device":`...), int64(e.Device), 10)
	b = strconv.AppendUint(append(b, `,"flags":`...), uint64(e.Flags), 10)
	return append(b, "}\n"...)
}

type jsonEvent struct {
	Seq    *int64  `json:"seq"`
	At     *int64  `json:"at_ns"`
	Kind   *string `json:"kind"`
	ID     *int64  `json:"id"`
	Value  *int64  `json:"value"`
	Model  *int32  `json:"model"`
	Device *int16  `json:"device"`
	Flags  *uint8  `json:"flags"`
}

// ReadJSONL reads what WriteJSONL writes. It gives the header to open and the
// events, in order, to the sink that open returns.
func ReadJSONL(r io.Reader, open func(Header) (scheduler.Sink, error)) error {
	in := bufio.NewReaderSize(r, 1<<16)
	line, err := readLine(in)
	if err == io.EOF {
		return errors.New("line 1: the header is missing")
	}
	if err != nil {
		return err
	}
	var v VersionError
	var h Header
	if err := json.Unmarshal(line, &v); err != nil {
		return fmt.Errorf("line 1: %w", err)
	}
	if v.Major > Major {
		return &v
	}
	if err := json.Unmarshal(line, &h); err != nil {
		return fmt.Errorf("line 1: %w", err)
	}
	if h.Schema != Schema {
		return fmt.Errorf("line 1: the schema is %q, not %q", h.Schema, Schema)
	}
	sink, err := open(h)
	if err != nil {
		return err
	}
	events := make([]scheduler.Event, 0, FrameEvents)
	for seq := int64(0); ; seq++ {
		line, err := readLine(in)
		if err != nil && err != io.EOF {
			return err
		}
		if len(events) > 0 && (err == io.EOF || len(events) == FrameEvents) {
			if err := sink.Append(events); err != nil {
				return err
			}
			events = events[:0]
		}
		if err == io.EOF {
			return nil
		}
		e, err := parseJSON(line, seq)
		if err != nil {
			return fmt.Errorf("line %d: %w", seq+2, err)
		}
		events = append(events, e)
	}
}

func readLine(in *bufio.Reader) ([]byte, error) {
	line, err := in.ReadBytes('\n')
	if err == io.EOF && len(line) > 0 {
		err = nil
	}
	return line, err
}

func parseJSON(line []byte, seq int64) (scheduler.Event, error) {
	var j jsonEvent
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&j); err != nil {
		return scheduler.Event{}, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return scheduler.Event{}, errors.New("something follows the event")
	}
	if j.Seq == nil || j.At == nil || j.Kind == nil || j.ID == nil || j.Value == nil || j.Model == nil || j.Device == nil || j.Flags == nil {
		return scheduler.Event{}, errors.New("a field is missing")
	}
	if *j.Seq != seq {
		return scheduler.Event{}, fmt.Errorf("seq is %d, not %d", *j.Seq, seq)
	}
	kind, ok := scheduler.KindByName(*j.Kind)
	if number, found := strings.CutPrefix(*j.Kind, "kind_"); !ok && found {
		n, err := strconv.ParseUint(number, 10, 8)
		kind, ok = scheduler.Kind(n), err == nil && scheduler.Kind(n).String() == *j.Kind
	}
	if !ok {
		return scheduler.Event{}, fmt.Errorf("unknown kind %q", *j.Kind)
	}
	return scheduler.Event{
		At: scheduler.Time(*j.At), ID: *j.ID, Value: *j.Value,
		Model: scheduler.ModelID(*j.Model), Device: scheduler.DeviceID(*j.Device), Kind: kind, Flags: *j.Flags,
	}, nil
}
