package eventlog

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/vramsim/vramsim/scheduler"
)

// WriteJSONL writes the rest of a log as JSON Lines: the header, then one
// event a line, and before those that mention them first the names of ids. It
// says nothing about snapshots. Whether the log was complete is in r's Status
// afterwards.
func WriteJSONL(w io.Writer, r *Reader) error {
	out := bufio.NewWriterSize(w, 1<<16)
	head, err := json.Marshal(r.Header())
	if err != nil {
		return err
	}
	out.Write(append(head, '\n')) // errors stick until Flush
	var line []byte
	r.named = func(kind byte, id int64, name string) {
		line = appendName(line[:0], kind, id, name)
		out.Write(line)
	}
	defer func() { r.named = nil }()
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

var kindsOfNames = [nameKinds]string{nameItem: "item", nameJob: "job", nameTenant: "tenant"}

// appendName writes a name as text, or in hexadecimal if it is no valid UTF-8.
func appendName(b []byte, kind byte, id int64, name string) []byte {
	b = append(append(append(b, `{"name_of":"`...), kindsOfNames[kind]...), `","id":`...)
	b = strconv.AppendInt(b, id, 10)
	key, text := `,"text":`, name
	if !utf8.ValidString(name) {
		key, text = `,"hex":`, hex.EncodeToString([]byte(name))
	}
	quoted, err := json.Marshal(text)
	if err != nil {
		panic("bug: a string that JSON has no form for: " + err.Error())
	}
	return append(append(append(b, key...), quoted...), "}\n"...)
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

type jsonName struct {
	Of   string  `json:"name_of"`
	ID   *int64  `json:"id"`
	Text *string `json:"text"`
	Hex  *string `json:"hex"`
}

// ReadJSONL reads what WriteJSONL writes. It gives the header to open and the
// events, in order, to the sink that open returns. The names that open gets
// are filled on the way: an event's names are there when the sink sees it.
func ReadJSONL(r io.Reader, open func(Header, *Names) (scheduler.Sink, error)) error {
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
	names := new(Names)
	sink, err := open(h, names)
	if err != nil {
		return err
	}
	events := make([]scheduler.Event, 0, FrameEvents)
	seq := int64(0)
	for number := 2; ; number++ {
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
		if bytes.HasPrefix(line, []byte(`{"name_of":`)) {
			err = parseName(line, names)
		} else {
			var e scheduler.Event
			if e, err = parseJSON(line, seq); err == nil {
				events = append(events, e)
				seq++
			}
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
	}
}

// parseStrict decodes one object that fills the line.
func parseStrict(line []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("something follows the object")
	}
	return nil
}

func parseName(line []byte, names *Names) error {
	var j jsonName
	if err := parseStrict(line, &j); err != nil {
		return err
	}
	kind := slices.Index(kindsOfNames[:], j.Of)
	switch {
	case kind < 0:
		return fmt.Errorf("a name of unknown kind %q", j.Of)
	case j.ID == nil || (j.Text == nil) == (j.Hex == nil):
		return errors.New("a name has an id and either a text or hexadecimal digits")
	case j.Text != nil:
		names.set(byte(kind), *j.ID, *j.Text)
		return nil
	}
	name, err := hex.DecodeString(*j.Hex)
	names.set(byte(kind), *j.ID, string(name))
	return err
}

// maxLine bounds a line: the header of a run with a catalogue of 100,000 models
// is the longest.
const maxLine = 256 << 20

func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == bufio.ErrBufferFull && len(line) < maxLine:
			continue
		case err == bufio.ErrBufferFull:
			return nil, fmt.Errorf("a line is longer than %d bytes", maxLine)
		case err == io.EOF && len(line) > 0:
			err = nil
		}
		return line, err
	}
}

func parseJSON(line []byte, seq int64) (scheduler.Event, error) {
	var j jsonEvent
	if err := parseStrict(line, &j); err != nil {
		return scheduler.Event{}, err
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
