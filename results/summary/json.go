package summary

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// ErrSchema is wrapped by the error for a file that is no summary this
// version can read.
var ErrSchema = errors.New("not a summary of schema " + Schema)

// Write writes s as indented JSON with keys in a fixed order; short objects
// and lists of numbers stay on one line.
func (s *Summary) Write(w io.Writer) error {
	var compact bytes.Buffer
	enc := json.NewEncoder(&compact)
	if err := enc.Encode(s); err != nil {
		return err
	}
	out := bytes.NewBuffer(make([]byte, 0, 2*compact.Len()))
	layout(out, bytes.TrimSpace(compact.Bytes()), "")
	out.WriteByte('\n')
	_, err := w.Write(out.Bytes())
	return err
}

// Read reads what Write wrote, and newer files of the same schema: unknown
// keys are ignored.
func Read(r io.Reader) (*Summary, error) {
	s := new(Summary)
	dec := json.NewDecoder(r)
	if err := dec.Decode(s); err != nil {
		return nil, fmt.Errorf("summary: %w", err)
	}
	if s.Schema != Schema {
		return nil, fmt.Errorf("summary: schema %q: %w", s.Schema, ErrSchema)
	}
	return s, nil
}

// MarshalJSON writes a value as {"unit", "kind", "replicates", "value", "ci95",
// "per_replicate": [..]} and a distribution with one entry for each statistic.
func (m Metric) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"unit":%s,"kind":%s,"replicates":%d`, quote(m.Unit), quote(m.Kind), m.Replicates)
	if m.Kind == KindValue {
		s := m.Stats["value"]
		fmt.Fprintf(&b, `,"value":%s,"ci95":%s,"per_replicate":%s}`, encode(s.Value), encode(s.CI95), encode(numbers(m.PerReplicate["value"])))
		return b.Bytes(), nil
	}
	for _, name := range statistics {
		fmt.Fprintf(&b, `,%s:%s`, quote(name), encode(m.Stats[name]))
	}
	b.WriteString(`,"per_replicate":{`)
	for i, name := range statistics {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `%s:%s`, quote(name), encode(numbers(m.PerReplicate[name])))
	}
	b.WriteString("}}")
	return b.Bytes(), nil
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (m *Metric) UnmarshalJSON(data []byte) error {
	var head struct {
		Unit         string          `json:"unit"`
		Kind         string          `json:"kind"`
		Replicates   int             `json:"replicates"`
		PerReplicate json.RawMessage `json:"per_replicate"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return err
	}
	*m = Metric{Unit: head.Unit, Kind: head.Kind, Replicates: head.Replicates,
		Stats: map[string]Statistic{}, PerReplicate: map[string][]Number{}}
	if head.Kind == KindValue {
		var s Statistic
		var values []Number
		if err := json.Unmarshal(data, &s); err != nil {
			return err
		}
		if err := json.Unmarshal(head.PerReplicate, &values); err != nil {
			return fmt.Errorf("per_replicate: %w", err)
		}
		m.Stats["value"], m.PerReplicate["value"] = s, values
		return nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return err
	}
	for _, name := range statistics {
		if raw, ok := fields[name]; ok {
			s := Statistic{Value: None()}
			if err := json.Unmarshal(raw, &s); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			m.Stats[name] = s
		}
	}
	if head.PerReplicate == nil {
		return nil
	}
	return json.Unmarshal(head.PerReplicate, &m.PerReplicate)
}

// numbers keeps an empty list from becoming null.
func numbers(ns []Number) []Number {
	if ns == nil {
		return []Number{}
	}
	return ns
}

// encode marshals types of this package, whose encoding cannot fail.
func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic("bug: " + err.Error())
	}
	return data
}

func quote(s string) []byte { return encode(s) }

// lineWidth is how long a value may be to stay on one line.
const lineWidth = 110

// layout indents compact JSON, keeping short values and lists of scalars whole.
func layout(out *bytes.Buffer, value []byte, indent string) {
	composite := value[0] == '{' || value[0] == '['
	if !composite || len(value) <= lineWidth || value[0] == '[' && !bytes.ContainsAny(value, `{"`) {
		out.Write(value)
		return
	}
	inner := indent + "  "
	out.WriteByte(value[0])
	for i, element := range elements(value[1 : len(value)-1]) {
		if i > 0 {
			out.WriteByte(',')
		}
		out.WriteString("\n" + inner)
		if value[0] == '{' {
			key := stringEnd(element)
			out.Write(element[:key])
			out.WriteString(": ")
			element = element[key+1:]
		}
		layout(out, element, inner)
	}
	out.WriteString("\n" + indent)
	out.WriteByte(value[len(value)-1])
}

// elements splits the inside of a compact array or object at its own commas.
func elements(inside []byte) [][]byte {
	var parts [][]byte
	depth, start := 0, 0
	for i := 0; i < len(inside); i++ {
		switch inside[i] {
		case '"':
			i += stringEnd(inside[i:]) - 1
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case ',':
			if depth == 0 {
				parts = append(parts, inside[start:i])
				start = i + 1
			}
		}
	}
	return append(parts, inside[start:])
}

// stringEnd returns the length of the JSON string that b begins with.
func stringEnd(b []byte) int {
	for i := 1; ; i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
}

// Names returns the keys of m in order.
func Names[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
