package workloads

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// MaxLine is the longest line of a trace in bytes.
const MaxLine = 1 << 20

// TraceError says where a trace is wrong. Its Text is not part of Error: who
// shows the error to a person adds it below.
type TraceError struct {
	File   string
	Line   int    // from 1; 0 if the whole file is meant
	Column int    // in bytes, from 1; 0 if the whole line is meant
	Text   string // from Excerpt; may be empty
	What   string
}

func (e *TraceError) Error() string {
	switch {
	case e.Line == 0:
		return fmt.Sprintf("%s: %s", e.File, e.What)
	case e.Column == 0:
		return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.What)
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.What)
}

// Excerpt returns a line for a message: shortened around a column (in bytes,
// from 0), control characters escaped, and below it a caret under the column.
func Excerpt(line []byte, column int) string {
	const before, after = 100, 100
	line = bytes.TrimRight(line, "\r\n")
	column = max(0, min(column, len(line)))
	start, end := max(0, column-before), min(len(line), column+after)
	for start > 0 && start < column && !utf8.RuneStart(line[start]) {
		start++
	}
	for end < len(line) && !utf8.RuneStart(line[end]) {
		end++
	}
	left, right := escape(line[start:column]), escape(line[column:end])
	if start > 0 {
		left = "…" + left
	}
	if end < len(line) {
		right += "…"
	}
	return left + right + "\n" + strings.Repeat(" ", utf8.RuneCountInString(left)) + "^"
}

// escape shows what is not printable as Go does in a string.
func escape(text []byte) string {
	quoted := fmt.Sprintf("%q", text)
	return strings.ReplaceAll(strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`), `\\`, `\`)
}

// lines reads a text line by line: without byte order mark, line ends and the
// carriage returns before them, nothing longer than MaxLine, no UTF-16.
type lines struct {
	file   string
	in     *bufio.Reader
	number int // of the last line
	began  bool
	long   []byte // for lines that exceed the reader's buffer
}

func newLines(file string, r io.Reader) *lines {
	return &lines{file: file, in: bufio.NewReaderSize(r, 1<<16)}
}

// next returns the next line; it is valid until the next call.
func (l *lines) next() ([]byte, error) {
	if !l.began {
		l.began = true
		if err := l.begin(); err != nil {
			return nil, err
		}
	}
	l.number++
	line, err := l.in.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		line, err = l.rest(line)
	}
	switch {
	case err == io.EOF && len(line) == 0:
		return nil, io.EOF
	case err != nil && err != io.EOF:
		var known *TraceError
		if errors.As(err, &known) {
			return nil, err
		}
		return nil, fmt.Errorf("%s:%d: %w", l.file, l.number, err)
	}
	line = bytes.TrimSuffix(line, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r")), nil
}

// begin looks at the first bytes.
func (l *lines) begin() error {
	head, _ := l.in.Peek(4)
	if start, _ := l.in.Peek(200); bytes.HasPrefix(bytes.TrimLeft(bytes.TrimPrefix(start, []byte("\ufeff")), " \t\r\n"), []byte("[")) {
		l.number = 1 + bytes.Count(start[:bytes.IndexByte(start, '[')], []byte("\n"))
		line := start[bytes.LastIndexByte(start[:bytes.IndexByte(start, '[')], '\n')+1:]
		line, _, _ = bytes.Cut(bytes.TrimPrefix(line, []byte("\ufeff")), []byte("\n"))
		return l.at(line, bytes.IndexByte(line, '['), "an array; one object a line is expected")
	}
	switch {
	case bytes.HasPrefix(head, []byte{0xef, 0xbb, 0xbf}):
		_, err := l.in.Discard(3)
		return err
	case bytes.HasPrefix(head, []byte{0xff, 0xfe}), bytes.HasPrefix(head, []byte{0xfe, 0xff}),
		len(head) > 1 && (head[0] == 0) != (head[1] == 0):
		return &TraceError{File: l.file, Line: 1, Column: 1, What: "this is UTF-16; UTF-8 is expected"}
	}
	return nil
}

// rest collects a line that is longer than the buffer.
func (l *lines) rest(begun []byte) ([]byte, error) {
	l.long = append(l.long[:0], begun...)
	for {
		more, err := l.in.ReadSlice('\n')
		l.long = append(l.long, more...)
		if len(l.long) > MaxLine {
			return nil, &TraceError{File: l.file, Line: l.number, What: fmt.Sprintf("the line is longer than %d bytes", MaxLine)}
		}
		if err != bufio.ErrBufferFull {
			return l.long, err
		}
	}
}

// at returns an error at a column, from 0, of the last line.
func (l *lines) at(line []byte, column int, format string, args ...any) error {
	return &TraceError{File: l.file, Line: l.number, Column: column + 1, Text: Excerpt(line, column), What: fmt.Sprintf(format, args...)}
}

// validName checks what every name must be; it returns "" or what is wrong.
func validName(name []byte) string {
	if len(name) > MaxName {
		return fmt.Sprintf("is longer than %d bytes", MaxName)
	}
	for i := 0; i < len(name); {
		if c := name[i]; c < utf8.RuneSelf {
			if c < 0x20 || c == 0x7f {
				return fmt.Sprintf("holds the control character %+q", rune(c))
			}
			i++
			continue
		}
		r, n := utf8.DecodeRune(name[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			return fmt.Sprintf("holds the byte 0x%02x, which is not UTF-8", name[i])
		case r >= 0x80 && r < 0xa0:
			return fmt.Sprintf("holds the control character %+q", r)
		}
		i += n
	}
	return ""
}

// MaxName is the longest name of an item, job, model or tenant in bytes.
const MaxName = 256
