package importers

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/workloads"
	"github.com/vramsim/vramsim/workloads/decimal"
)

// serverlessLoad is one load of ServerlessLLM's benchmark; what it measured
// besides is ignored.
type serverlessLoad struct {
	Model string `json:"model_name"` // <model>_<copy>
	Took  number `json:"loading_time"`
}

const maxElement = workloads.MaxLine // bytes of an element

var errLongElement = fmt.Errorf("an element is longer than %d bytes", maxElement)

// readServerlessLLM reads the results of ServerlessLLM's benchmark: a list of
// loads. Copies of a model are that model.
func readServerlessLLM(r *recording) error {
	return r.each(func(member string, in io.Reader) error {
		s := serverless{r: r, file: r.shown(member), text: &lines{in: in}}
		return s.list()
	})
}

type serverless struct {
	r    *recording
	file string
	text *lines
	in   *json.Decoder
	raw  json.RawMessage // the element being read
	at   int64           // where it begins
}

// errorf returns an error at a byte of the element.
func (s *serverless) errorf(offset int64, format string, args ...any) error {
	return s.text.errorAt(s.file, s.at, s.raw, offset, fmt.Sprintf(format, args...))
}

// list reads the elements one by one: a file may be longer than memory.
func (s *serverless) list() error {
	text := bufio.NewReader(s.text.in)
	head, _ := text.Peek(3)
	if bytes.Equal(head, []byte("\ufeff")) {
		text.Discard(3)
	}
	s.text.in = text
	s.in = json.NewDecoder(s.text)
	s.r.place = func(what string) error { return s.errorf(0, "%s", what) }
	open, err := s.in.Token()
	switch {
	case err == io.EOF:
		return &workloads.TraceError{File: s.file, What: "the file is empty"}
	case err != nil:
		return s.syntax(err)
	case open != json.Delim('['):
		return s.errorf(0, "this is %v; a list of loads is expected", open)
	}
	for s.in.More() {
		if err := s.element(); err != nil {
			return err
		}
	}
	s.at, s.raw = s.in.InputOffset(), nil
	if _, err := s.in.Token(); err != nil { // the closing bracket
		return s.syntax(err)
	}
	s.at = s.in.InputOffset()
	if _, err := s.in.Token(); err != io.EOF {
		return s.errorf(0, "something stands after the end of the list")
	}
	return nil
}

// element reads one load.
func (s *serverless) element() error {
	s.at, s.raw = s.in.InputOffset(), nil
	s.text.forget(s.at)
	s.text.allowed = maxElement + 1<<16 // the decoder reads ahead
	if err := s.in.Decode(&s.raw); err != nil {
		return s.syntax(err)
	}
	s.at = s.in.InputOffset() - int64(len(s.raw))
	if key, offset, twice := repeated(s.raw); twice {
		return s.errorf(offset, "the key %q stands there twice", key)
	}
	var load serverlessLoad
	if err := json.Unmarshal(s.raw, &load); err != nil {
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) {
			return s.errorf(locate(s.raw, kind.Field), "%s is a %s; %v is expected", fieldName(kind.Field), kind.Value, kind.Type)
		}
		return s.syntax(err)
	}
	s.r.read()
	return s.load(&load)
}

func fieldName(field string) string {
	if field == "" {
		return "the element"
	}
	return field
}

func (s *serverless) load(load *serverlessLoad) error {
	i := strings.LastIndexByte(load.Model, '_')
	if i <= 0 || strings.Trim(load.Model[i+1:], "0123456789") != "" || i+1 == len(load.Model) {
		return s.errorf(locate(s.raw, "model_name"), "model_name is %q; a model and the number of its copy are expected, like opt-6.7b_3", load.Model)
	}
	v, exact, err := decimal.Scaled(string(load.Took), 1e9)
	if err != nil {
		return s.errorf(locate(s.raw, "loading_time"), "loading_time is %q; a number of seconds is expected", string(load.Took))
	}
	if !exact {
		s.r.round()
	}
	return s.r.loaded(load.Model[:i], true, scheduler.Time(v))
}

// syntax places an error of the decoder.
func (s *serverless) syntax(err error) error {
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, errLongElement):
		return s.text.errorAt(s.file, s.at, nil, 0, err.Error())
	case errors.Is(err, io.ErrUnexpectedEOF), err == io.EOF:
		return s.text.errorAt(s.file, s.text.read, nil, 0, "the JSON is cut off")
	case errors.As(err, &syntax):
		return s.misspelt(syntax)
	}
	return err
}

// misspelt places a syntax error. Its offset counts only what the decoder took
// for values, so the rest of its text is looked at again.
func (s *serverless) misspelt(err *json.SyntaxError) error {
	at := s.in.InputOffset()
	rest, _ := io.ReadAll(s.in.Buffered()) // of memory: it does not fail
	var again *json.SyntaxError
	if errors.As(json.Unmarshal(rest, new(json.RawMessage)), &again) && again.Error() == err.Error() {
		return s.text.errorAt(s.file, at, rest, max(0, again.Offset-1), err.Error())
	}
	return s.text.errorAt(s.file, at, rest, 0, err.Error())
}

// lines passes a text on and knows where its latest lines began.
type lines struct {
	in      io.Reader
	read    int64 // bytes
	allowed int   // that may be read before the next element
	before  int   // lines that began before the first of starts
	starts  []int64
}

// Read implements io.Reader.
func (l *lines) Read(p []byte) (int, error) {
	n, err := l.in.Read(p)
	for i, c := range p[:n] {
		if c == '\n' {
			l.starts = append(l.starts, l.read+int64(i)+1)
		}
	}
	l.read += int64(n)
	if l.allowed > 0 {
		if l.allowed -= n; l.allowed <= 0 {
			return n, errLongElement
		}
	}
	return n, err
}

// forget drops the lines before the one that holds a byte.
func (l *lines) forget(offset int64) {
	i := 0
	for i+1 < len(l.starts) && l.starts[i+1] <= offset {
		i++
	}
	l.before += i
	l.starts = append(l.starts[:0], l.starts[i:]...)
}

// errorAt returns an error at a byte of a text that begins at start.
func (l *lines) errorAt(file string, start int64, text []byte, offset int64, what string) error {
	at, line, from := start+offset, l.before+1, int64(0)
	for _, s := range l.starts {
		if s <= at {
			line, from = line+1, s
		}
	}
	e := &workloads.TraceError{File: file, Line: line, Column: int(at-from) + 1, What: what}
	if inside := from - start; len(text) > 0 && offset < int64(len(text)) {
		begin := max(inside, 0)
		shown, _, _ := bytes.Cut(text[begin:], []byte("\n"))
		e.Text = workloads.Excerpt(shown, int(offset-begin))
	}
	return e
}
