package workloads

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/nearest"
	"github.com/vramsim/vramsim/workloads/decimal"
)

// MaxAfter is how many items one item may wait for.
const MaxAfter = 65_535

// row is one line of a native trace, parsed. Its slices lie in the line or in
// scratch and are valid until the next row is parsed.
type row struct {
	id, job, model, tenant []byte
	at, deadline, service  scheduler.Time // deadline Never, service -1: none
	priority               int32
	work                   int64 // millionths
	after                  [][]byte
	afterAt                []int // columns
	idAt, modelAt, timeAt  int

	scratch []byte // unescaped text
	parser  *rowParser
	set     func(which int) error // field, bound once
}

// The fields of an item, in the order in which they are written.
var fieldNames = []string{"id", "job", "model", "at_ns", "priority", "deadline_ns", "work", "service_ns", "after", "tenant"}

const (
	fieldID = iota
	fieldJob
	fieldModel
	fieldAt
	fieldPriority
	fieldDeadline
	fieldWork
	fieldService
	fieldAfter
	fieldTenant
)

// rowParser reads one JSON object strictly, without allocating.
type rowParser struct {
	line []byte
	pos  int
	keys []byte // unescaped field name
	fail func(line []byte, column int, format string, args ...any) error
}

func (p *rowParser) errorf(column int, format string, args ...any) error {
	return p.fail(p.line, column, format, args...)
}

func (p *rowParser) space() {
	for p.pos < len(p.line) && (p.line[p.pos] == ' ' || p.line[p.pos] == '\t' || p.line[p.pos] == '\r') {
		p.pos++
	}
}

// peek returns the next byte that is no space, 0 at the end.
func (p *rowParser) peek() byte {
	p.space()
	if p.pos == len(p.line) {
		return 0
	}
	return p.line[p.pos]
}

func (p *rowParser) expect(c byte, where string) error {
	if p.peek() == c && p.pos < len(p.line) {
		p.pos++
		return nil
	}
	if p.pos == len(p.line) {
		return p.errorf(p.pos, "the line ends where %q is expected %s; is it cut off?", c, where)
	}
	return p.errorf(p.pos, "%q stands where %q is expected %s", p.char(), c, where)
}

// char returns the character at pos, for messages.
func (p *rowParser) char() rune {
	r, _ := utf8.DecodeRune(p.line[p.pos:])
	return r
}

// object calls field for every key of an object that fills the line.
func (p *rowParser) object(names []string, field func(which int) error) error {
	switch p.peek() {
	case '{':
		p.pos++
	case '[':
		return p.errorf(p.pos, "an array; one object a line is expected")
	default:
		return p.expect('{', "at the start of an object")
	}
	seen := uint32(0)
	for first := true; ; first = false {
		if p.peek() == '}' && first {
			p.pos++
			break
		}
		if !first {
			if p.peek() == '}' {
				p.pos++
				break
			}
			if err := p.expect(',', "or '}' after a value"); err != nil {
				return err
			}
		}
		which, err := p.key(names, &seen)
		if err != nil {
			return err
		}
		if err := field(which); err != nil {
			return err
		}
	}
	if p.peek() != 0 || p.pos < len(p.line) {
		return p.errorf(p.pos, "%q stands after the end of the object", p.char())
	}
	return nil
}

// key reads a field name and its colon.
func (p *rowParser) key(names []string, seen *uint32) (int, error) {
	if p.peek() != '"' {
		return 0, p.expect('"', "at the start of a field name")
	}
	column := p.pos
	p.keys = p.keys[:0]
	name, err := p.text(&p.keys)
	if err != nil {
		return 0, err
	}
	which := -1
	for i := range names {
		if string(name) == names[i] {
			which = i
		}
	}
	switch {
	case which < 0:
		if near := nearest.To(string(shorten(name)), names); near != "" {
			return 0, p.errorf(column, "unknown field %q; did you mean %q?", shorten(name), near)
		}
		return 0, p.errorf(column, "unknown field %q; there are %s", shorten(name), strings.Join(names, ", "))
	case *seen&(1<<which) != 0:
		return 0, p.errorf(column, "the field %q stands there twice", name)
	}
	*seen |= 1 << which
	return which, p.expect(':', "after a field name")
}

func shorten(name []byte) []byte { return name[:min(len(name), 64)] }

// text reads a string. It returns a part of the line or, if there are
// escapes, of scratch.
func (p *rowParser) text(scratch *[]byte) ([]byte, error) {
	start := p.pos + 1
	for i := start; i < len(p.line); i++ {
		switch c := p.line[i]; {
		case c == '"':
			p.pos = i + 1
			return p.line[start:i], nil
		case c == '\\':
			return p.escaped(start, i, scratch)
		case c < 0x20:
			return nil, p.errorf(i, "the control character %+q stands in a string", rune(c))
		}
	}
	return nil, p.errorf(start-1, "the string does not end; is the line cut off?")
}

func (p *rowParser) escaped(start, i int, scratch *[]byte) ([]byte, error) {
	from := len(*scratch)
	out := append(*scratch, p.line[start:i]...)
	for i < len(p.line) {
		c := p.line[i]
		switch {
		case c == '"':
			p.pos = i + 1
			*scratch = out
			return out[from:len(out):len(out)], nil
		case c < 0x20:
			return nil, p.errorf(i, "the control character %+q stands in a string", rune(c))
		case c != '\\':
			out = append(out, c)
			i++
			continue
		}
		r, n := unescape(p.line[i:])
		if n == 0 {
			return nil, p.errorf(i, "bad escape in a string")
		}
		out = utf8.AppendRune(out, r)
		i += n
	}
	return nil, p.errorf(start-1, "the string does not end; is the line cut off?")
}

// unescape reads the escape at the start of s and returns its length, 0 if it
// is none.
func unescape(s []byte) (rune, int) {
	if len(s) < 2 {
		return 0, 0
	}
	if i := bytes.IndexByte([]byte(`"\/bfnrt`), s[1]); i >= 0 {
		return rune("\"\\/\b\f\n\r\t"[i]), 2
	}
	first, ok := hex4(s)
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(first) {
		return first, 6
	}
	second, ok := hex4(s[6:])
	if r := utf16.DecodeRune(first, second); ok && r != utf8.RuneError {
		return r, 12
	}
	return 0, 0
}

func hex4(s []byte) (r rune, ok bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	for _, c := range s[2:6] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

// name reads the string value of a field.
func (p *rowParser) name(field string, scratch *[]byte, null bool) ([]byte, error) {
	if null && p.null() {
		return nil, nil
	}
	if p.peek() != '"' {
		return nil, p.errorf(p.pos, "%s must be a string", field)
	}
	column := p.pos
	name, err := p.text(scratch)
	if err != nil {
		return nil, err
	}
	if wrong := validName(name); wrong != "" {
		return nil, p.errorf(column, "%s %q %s", field, shorten(name), wrong)
	}
	return name, nil
}

// null skips a null.
func (p *rowParser) null() bool {
	p.space()
	if bytes.HasPrefix(p.line[p.pos:], []byte("null")) {
		p.pos += 4
		return true
	}
	return false
}

// number returns the text of a JSON number.
func (p *rowParser) number(field, want string) (string, int, error) {
	if p.peek() == '"' {
		return "", 0, p.errorf(p.pos, "%s is a string; it must be %s", field, want)
	}
	start := p.pos
	for p.pos < len(p.line) && !bytes.ContainsRune([]byte(",}] \t\r"), rune(p.line[p.pos])) {
		p.pos++
	}
	text := string(p.line[start:p.pos])
	digits := text
	if len(digits) > 0 && digits[0] == '-' {
		digits = digits[1:]
	}
	switch {
	case text == "":
		return "", 0, p.errorf(start, "%s has no value; it must be %s", field, want)
	case digits != "" && digits[0] == '0' && len(digits) > 1 && digits[1] >= '0' && digits[1] <= '9':
		return "", 0, p.errorf(start, "%s is %q, with a leading zero", field, text)
	}
	return text, start, nil
}

// integer reads an integer of at least low and at most high.
func (p *rowParser) integer(field, unit string, low, high int64) (int64, error) {
	p.space()
	start := p.pos
	if v, ok := p.plainInteger(); ok && v <= high {
		return v, nil
	}
	p.pos = start
	want := "an integer"
	if unit != "" {
		want += " number of " + unit
	}
	text, column, err := p.number(field, want)
	if err != nil {
		return 0, err
	}
	negative := text[0] == '-'
	digits := text
	if negative {
		digits = text[1:]
	}
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' {
			return 0, p.badNumber(column, field, text, want)
		}
	}
	v, _, err := decimal.Scaled(digits, 1)
	switch {
	case errors.Is(err, decimal.ErrSyntax):
		return 0, p.badNumber(column, field, text, want)
	case err != nil || !negative && v > high:
		return 0, p.errorf(column, "%s is %s, which is too large", field, clip(text))
	case negative && -v < low && low == 0:
		return 0, p.errorf(column, "%s is %s; it must not be negative", field, clip(text))
	case negative && -v < low:
		return 0, p.errorf(column, "%s is %s, which is too small", field, clip(text))
	case negative:
		v = -v
	}
	return v, nil
}

// plainInteger reads up to 18 digits without sign or leading zero.
func (p *rowParser) plainInteger() (int64, bool) {
	v, start := int64(0), p.pos
	for p.pos < len(p.line) && p.line[p.pos] >= '0' && p.line[p.pos] <= '9' {
		v = v*10 + int64(p.line[p.pos]-'0')
		p.pos++
		if p.pos-start > 18 {
			return 0, false
		}
	}
	if p.pos == start || p.line[start] == '0' && p.pos > start+1 || p.pos == len(p.line) {
		return 0, false
	}
	c := p.line[p.pos]
	return v, c == ',' || c == '}' || c == ' '
}

// plainMillionths reads a number of at most 12 digits before and 6 after the
// point, without sign, exponent or leading zero.
func (p *rowParser) plainMillionths() (int64, bool) {
	v, start, point := int64(0), p.pos, -1
	for ; p.pos < len(p.line); p.pos++ {
		c := p.line[p.pos]
		if c == '.' && point < 0 && p.pos > start {
			point = p.pos
			continue
		}
		if c < '0' || c > '9' {
			break
		}
		v = v*10 + int64(c-'0')
		if p.pos-start > 18 {
			return 0, false
		}
	}
	whole, decimals := p.pos-start, 0
	if point >= 0 {
		whole, decimals = point-start, p.pos-point-1
		if decimals == 0 {
			return 0, false
		}
	}
	if whole == 0 || whole > 12 || decimals > 6 || p.line[start] == '0' && whole > 1 || p.pos == len(p.line) {
		return 0, false
	}
	for ; decimals < 6; decimals++ {
		v *= 10
	}
	c := p.line[p.pos]
	return v, c == ',' || c == '}' || c == ' '
}

func clip(text string) string {
	if len(text) > 40 {
		return text[:40] + "…"
	}
	return text
}

func (p *rowParser) badNumber(column int, field, text, want string) error {
	_, _, err := decimal.Scaled(text, 1)
	if errors.Is(err, decimal.ErrNotFinite) {
		return p.errorf(column, "%s is %s, which is not a finite number", field, clip(text))
	}
	return p.errorf(column, "%s is %q; it must be %s", field, clip(text), want)
}

// millionths reads the work of an item.
func (p *rowParser) millionths() (int64, error) {
	const want = "a positive decimal number"
	start := p.pos
	if v, ok := p.plainMillionths(); ok && v > 0 {
		return v, nil
	}
	p.pos = start
	text, column, err := p.number("work", want)
	if err != nil {
		return 0, err
	}
	v, _, err := decimal.Scaled(text, scheduler.WorkUnit)
	switch {
	case errors.Is(err, decimal.ErrOverflow):
		return 0, p.errorf(column, "work is %s, which is too large", clip(text))
	case errors.Is(err, decimal.ErrNegative):
		return 0, p.errorf(column, "work is %s; it must be positive", clip(text))
	case err != nil:
		return 0, p.badNumber(column, "work", text, want)
	case v == 0:
		return 0, p.errorf(column, "work is %s; it must be at least a millionth", clip(text))
	}
	return v, nil
}

// list reads the names of an array of strings.
func (p *rowParser) list(r *row) error {
	if p.null() {
		return nil
	}
	if p.peek() != '[' {
		return p.errorf(p.pos, "after must be an array of item ids")
	}
	p.pos++
	if p.peek() == ']' {
		p.pos++
		return nil
	}
	for {
		p.space()
		column := p.pos
		name, err := p.name("after", &r.scratch, false)
		if err != nil {
			return err
		}
		if len(r.after) == MaxAfter {
			return p.errorf(column, "after names more than %d items", MaxAfter)
		}
		r.after, r.afterAt = append(r.after, name), append(r.afterAt, column)
		if p.peek() == ']' {
			p.pos++
			return nil
		}
		if err := p.expect(',', "or ']' in after"); err != nil {
			return err
		}
	}
}

// parse reads an item from a line.
func (r *row) parse(line []byte, fail func([]byte, int, string, ...any) error) error {
	if r.parser == nil {
		r.parser = new(rowParser)
		r.set = func(which int) error { return r.field(r.parser, which) }
	}
	p := r.parser
	p.line, p.pos, p.fail = line, 0, fail
	*r = row{deadline: scheduler.Never, service: -1, work: scheduler.WorkUnit, at: -1, parser: p, set: r.set,
		after: r.after[:0], afterAt: r.afterAt[:0], scratch: r.scratch[:0]}
	if err := p.object(fieldNames, r.set); err != nil {
		return err
	}
	switch {
	case len(r.id) == 0:
		return p.errorf(0, "the item has no id")
	case len(r.model) == 0:
		return p.errorf(0, "the item has no model")
	case r.at < 0:
		return p.errorf(0, "the item has no at_ns")
	}
	return nil
}

func (r *row) field(p *rowParser, which int) (err error) {
	const latest = int64(scheduler.MaxTime - 1)
	p.space()
	switch which {
	case fieldID:
		r.idAt = p.pos
		r.id, err = p.name("id", &r.scratch, false)
	case fieldJob:
		r.job, err = p.name("job", &r.scratch, true)
	case fieldModel:
		r.modelAt = p.pos
		r.model, err = p.name("model", &r.scratch, false)
	case fieldTenant:
		r.tenant, err = p.name("tenant", &r.scratch, true)
	case fieldAt:
		r.timeAt = p.pos
		r.at, err = p.time("at_ns", latest)
	case fieldPriority:
		var v int64
		v, err = p.integer("priority", "", math.MinInt32, math.MaxInt32)
		r.priority = int32(v)
	case fieldDeadline:
		if !p.null() {
			r.deadline, err = p.time("deadline_ns", latest)
		}
	case fieldService:
		if !p.null() {
			r.service, err = p.time("service_ns", latest)
		}
	case fieldWork:
		r.work, err = p.millionths()
	case fieldAfter:
		err = p.list(r)
	}
	return err
}

func (p *rowParser) time(field string, latest int64) (scheduler.Time, error) {
	v, err := p.integer(field, "nanoseconds", 0, latest)
	return scheduler.Time(v), err
}

// parseHeader checks the first line of a native trace.
func parseHeader(line []byte, fail func([]byte, int, string, ...any) error) error {
	p := rowParser{line: line, fail: fail}
	kind, version := "", int64(0)
	var scratch []byte
	err := p.object([]string{"vramsim", "version"}, func(which int) error {
		if which == 0 {
			name, err := p.name("vramsim", &scratch, false)
			kind = string(name)
			return err
		}
		v, err := p.integer("version", "", 0, math.MaxInt32)
		version = v
		return err
	})
	switch {
	case err != nil && bytes.HasPrefix(bytes.TrimSpace(line), []byte("[")):
		return err
	case err != nil:
		return fmt.Errorf("%w (the first line of a native trace is %s)", err, Header)
	case kind != "trace":
		return p.errorf(0, "the first line of a native trace is %s", Header)
	case version != 1:
		return p.errorf(0, "version %d of the trace format is not known; this reads version 1", version)
	}
	return nil
}

// Header is the first line of a native trace.
const Header = `{"vramsim":"trace","version":1}`
