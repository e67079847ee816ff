package importers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/vramsim/vramsim/workloads"
)

// number is the text of a JSON number. Unlike json.Number it does not take one
// that stands in quotes: it keeps them, and is then no number.
type number string

// UnmarshalJSON implements json.Unmarshaler.
func (n *number) UnmarshalJSON(data []byte) error {
	*n = number(data)
	if *n == "null" {
		*n = ""
	}
	return nil
}

// repeated finds a key that stands twice in an object, as encoding/json
// compares them: without regard to case. ok is false if there is none. What
// is no JSON ends the search.
func repeated(data []byte) (key string, offset int64, ok bool) {
	in := json.NewDecoder(bytes.NewReader(data))
	in.UseNumber()
	type level struct {
		keys  map[string]bool // nil for arrays
		value bool            // a value comes next, not a key
	}
	var open []level
	for {
		before := in.InputOffset()
		token, err := in.Token()
		if err != nil {
			return "", 0, false
		}
		top := len(open) - 1
		if text, isText := token.(string); isText && top >= 0 && open[top].keys != nil && !open[top].value {
			folded := strings.ToLower(text)
			if open[top].keys[folded] {
				return text, afterSpace(data, before), true
			}
			open[top].keys[folded], open[top].value = true, true
			continue
		}
		if top >= 0 {
			open[top].value = false
		}
		switch token {
		case json.Delim('{'):
			open = append(open, level{keys: map[string]bool{}})
		case json.Delim('['):
			open = append(open, level{})
		case json.Delim('}'), json.Delim(']'):
			open = open[:top]
		}
	}
}

// afterSpace returns where the next token begins.
func afterSpace(data []byte, from int64) int64 {
	rest := bytes.TrimLeft(data[from:], " \t\r\n,:")
	return int64(len(data) - len(rest))
}

// locate returns where the value at a path of keys (strings) and positions
// (ints) begins, or the innermost value on the way that is there.
func locate(data []byte, path ...any) int64 {
	in := json.NewDecoder(bytes.NewReader(data))
	at := afterSpace(data, 0)
	for _, step := range path {
		if _, err := in.Token(); err != nil || !enter(in, step) {
			return at
		}
		at = afterSpace(data, in.InputOffset())
	}
	return at
}

// enter moves to the value of a key or at a position of what was just opened.
func enter(in *json.Decoder, step any) bool {
	var skipped json.RawMessage
	for i := 0; in.More(); i++ {
		key, isKey := step.(string)
		if !isKey && i == step {
			return true
		}
		if isKey {
			token, err := in.Token()
			if text, ok := token.(string); err != nil || !ok {
				return false
			} else if strings.EqualFold(text, key) {
				return true
			}
		}
		if in.Decode(&skipped) != nil {
			return false
		}
	}
	return false
}

// errorAt returns an error at a byte of a text.
func errorAt(file string, data []byte, offset int64, format string, args ...any) error {
	before := data[:min(max(0, offset), int64(len(data)))]
	start := bytes.LastIndexByte(before, '\n') + 1
	line, _, _ := bytes.Cut(data[start:], []byte("\n"))
	column := len(before) - start
	return &workloads.TraceError{File: file, Line: bytes.Count(before, []byte("\n")) + 1, Column: column + 1,
		Text: workloads.Excerpt(line, column), What: fmt.Sprintf(format, args...)}
}
