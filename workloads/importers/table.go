package importers

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/workloads"
	"github.com/vramsim/vramsim/workloads/decimal"
)

// table reads CSV strictly (RFC 4180, LF or CRLF): a header, then rows of as
// many columns. A record is at most workloads.MaxLine bytes.
type table struct {
	file      string
	in        *bufio.Reader
	delimiter byte
	line      int // of the last record's first line
	lines     int // read so far
	text      []byte
	header    []string
	fields    []string
	columns   []int  // where each field begins in its line
	rounded   func() // told of each number with more digits than the unit has; may be nil
}

func newTable(file string, r io.Reader, delimiter byte) (*table, error) {
	t := &table{file: file, in: bufio.NewReaderSize(r, 1<<16), delimiter: delimiter}
	head, _ := t.in.Peek(4)
	switch {
	case len(head) == 0:
		return nil, &workloads.TraceError{File: file, What: "the file is empty"}
	case bytes.HasPrefix(head, []byte{0xef, 0xbb, 0xbf}):
		t.in.Discard(3)
	case bytes.HasPrefix(head, []byte{0xff, 0xfe}), bytes.HasPrefix(head, []byte{0xfe, 0xff}),
		len(head) > 1 && (head[0] == 0) != (head[1] == 0):
		return nil, &workloads.TraceError{File: file, Line: 1, Column: 1, What: "this is UTF-16; UTF-8 is expected"}
	}
	if err := t.record(); err != nil {
		if err == io.EOF {
			err = &workloads.TraceError{File: file, What: "the file is empty"}
		}
		return nil, err
	}
	t.header = slices.Clone(t.fields)
	for i, name := range t.header {
		if j := slices.Index(t.header, name); j < i {
			return nil, t.errorf(i, "the column %q stands there twice; found %s", name, t.found())
		}
	}
	return t, nil
}

func (t *table) found() string {
	quoted := make([]string, len(t.header))
	for i, name := range t.header {
		quoted[i] = fmt.Sprintf("%q", name)
	}
	return strings.Join(quoted, ", ")
}

// errorf returns an error at a field of the last record.
func (t *table) errorf(field int, format string, args ...any) error {
	column := 1
	if field < len(t.columns) {
		column = t.columns[field] + 1
	}
	line, _, _ := bytes.Cut(t.text, []byte("\n"))
	return &workloads.TraceError{File: t.file, Line: t.line, Column: column, Text: workloads.Excerpt(line, column-1), What: fmt.Sprintf(format, args...)}
}

// row returns an error about the last record.
func (t *table) row(what string) error { return t.errorf(0, "%s", what) }

// column returns the position of a column.
func (t *table) column(name string) (int, error) {
	if i := slices.Index(t.header, name); i >= 0 {
		return i, nil
	}
	if len(t.header) == 1 {
		for _, other := range []struct{ mark, name string }{{";", "semicolons"}, {"\t", "tabs"}, {"|", "bars"}, {",", "commas"}} {
			if strings.Contains(t.header[0], other.mark) {
				return 0, t.errorf(0, "the column %q is missing; the columns seem to be separated by %s, not %q", name, other.name, t.delimiter)
			}
		}
	}
	return 0, t.errorf(0, "the column %q is missing; found %s", name, t.found())
}

// next reads the next row into fields; io.EOF after the last.
func (t *table) next() error {
	if err := t.record(); err != nil {
		return err
	}
	if len(t.fields) != len(t.header) {
		return t.errorf(min(len(t.fields), len(t.header))-1, "the row has %d columns, the header %d", len(t.fields), len(t.header))
	}
	return nil
}

// physical appends the next line, with its end, to text.
func (t *table) physical() error {
	for {
		part, err := t.in.ReadSlice('\n')
		t.text = append(t.text, part...)
		if len(t.text) > workloads.MaxLine {
			return &workloads.TraceError{File: t.file, Line: t.line, What: fmt.Sprintf("the row is longer than %d bytes; does a quote not end?", workloads.MaxLine)}
		}
		switch {
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF && len(part) == 0:
			return io.EOF
		case err != nil && err != io.EOF:
			var known *workloads.TraceError
			if errors.As(err, &known) {
				return err
			}
			return fmt.Errorf("%s:%d: %w", t.file, t.lines+1, err)
		}
		t.lines++
		return nil
	}
}

// record reads one record, skipping blank lines.
func (t *table) record() error {
	for {
		t.text, t.line = t.text[:0], t.lines+1
		if err := t.physical(); err != nil {
			return err
		}
		if len(bytes.TrimRight(t.text, "\r\n")) > 0 {
			return t.split()
		}
	}
}

func (t *table) split() error {
	t.fields, t.columns = t.fields[:0], t.columns[:0]
	for at := 0; ; {
		t.columns = append(t.columns, at)
		field, next, err := t.field(at)
		if err != nil {
			return err
		}
		t.fields = append(t.fields, field)
		if next < len(t.text) && t.text[next] == t.delimiter {
			at = next + 1
			continue
		}
		t.text = bytes.TrimRight(t.text, "\r\n")
		return nil
	}
}

// field reads the field that begins at a position and returns where it ends.
func (t *table) field(at int) (string, int, error) {
	if at < len(t.text) && t.text[at] == '"' {
		return t.quoted(at)
	}
	for i := at; ; i++ {
		switch {
		case i == len(t.text), t.text[i] == t.delimiter, t.text[i] == '\n':
			return t.valid(at, bytes.TrimSuffix(t.text[at:i], []byte("\r")), i)
		case t.text[i] == '"':
			return "", 0, t.errorf(len(t.columns)-1, "a quote stands inside a field that does not begin with one")
		}
	}
}

func (t *table) quoted(at int) (string, int, error) {
	var value []byte
	for i := at + 1; ; i++ {
		for i == len(t.text) {
			before := len(t.text)
			if err := t.physical(); err == io.EOF && len(t.text) == before {
				return "", 0, t.errorf(len(t.columns)-1, "the quote does not end")
			} else if err != nil {
				return "", 0, err
			}
		}
		if t.text[i] != '"' {
			value = append(value, t.text[i])
			continue
		}
		if i+1 < len(t.text) && t.text[i+1] == '"' {
			value = append(value, '"')
			i++
			continue
		}
		if rest := t.text[i+1:]; len(rest) > 0 && rest[0] != t.delimiter && rest[0] != '\n' && !bytes.HasPrefix(rest, []byte("\r\n")) {
			return "", 0, t.errorf(len(t.columns)-1, "%q stands after the end of a quote", rest[0])
		}
		return t.valid(at, value, i+1)
	}
}

func (t *table) valid(at int, value []byte, next int) (string, int, error) {
	if !utf8.Valid(value) {
		return "", 0, t.errorf(len(t.columns)-1, "the field is not UTF-8")
	}
	return string(value), next, nil
}

// time reads a field as a number of units, each so many nanoseconds.
func (t *table) time(field int, unit uint64) (scheduler.Time, error) {
	v, err := t.number(field, unit)
	return scheduler.Time(v), err
}

// number reads a non-negative decimal field times scale.
func (t *table) number(field int, scale uint64) (int64, error) {
	text := t.fields[field]
	v, exact, err := decimal.Scaled(text, scale)
	switch {
	case err == nil && !exact && t.rounded != nil:
		t.rounded()
	case errors.Is(err, decimal.ErrNotFinite):
		err = t.errorf(field, "%s is %q, which is not a finite number", t.header[field], text)
	case errors.Is(err, decimal.ErrNegative):
		err = t.errorf(field, "%s is %s; it must not be negative", t.header[field], text)
	case errors.Is(err, decimal.ErrOverflow):
		err = t.errorf(field, "%s is %.40s, which is too large", t.header[field], text)
	case err != nil:
		err = t.errorf(field, "%s is %q; a decimal number is expected", t.header[field], text)
	}
	return v, err
}

// integer reads an integer field; a fraction of zeros ("32.0") is fine, and so
// is a sign.
func (t *table) integer(field int) (int64, error) {
	text, negative := strings.CutPrefix(t.fields[field], "-")
	v, exact, err := decimal.Scaled(text, 1)
	if err != nil || !exact {
		return 0, t.errorf(field, "%s is %q; an integer is expected", t.header[field], t.fields[field])
	}
	if negative {
		return -v, nil
	}
	return v, nil
}
