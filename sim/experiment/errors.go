package experiment

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/vramsim/vramsim/scheduler/nearest"
)

// Error is one thing wrong with an experiment, at its place.
type Error struct {
	File         string // as given to Load, or the flag like "--set"
	Line, Column int    // from 1; columns count characters
	What         string // what is wrong, what was expected, the nearest valid name
	Excerpt      string // the line, shortened, and a caret below the column; may be empty
}

func (e *Error) Error() string {
	head := fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.What)
	if e.Excerpt == "" {
		return head
	}
	return head + "\n" + e.Excerpt
}

// Errors is everything found wrong with an experiment in one pass.
type Errors struct {
	List  []*Error // the first 20
	Total int
	seen  map[string]bool
	// reported counts every call of add, repeated errors too: whoever reads a
	// value tells by it whether something was wrong with this one.
	reported int
}

// maxErrors are collected; of the others only their number is told.
const maxErrors = 20

func (e *Errors) Error() string {
	var b strings.Builder
	for i, one := range e.List {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(one.Error())
	}
	if more := e.Total - len(e.List); more > 0 {
		fmt.Fprintf(&b, "\nand %d more errors", more)
	}
	return b.String()
}

// Unwrap returns the single errors.
func (e *Errors) Unwrap() []error {
	list := make([]error, len(e.List))
	for i, one := range e.List {
		list[i] = one
	}
	return list
}

func (e *Errors) none() bool { return e.Total == 0 }

// add reports an error once.
func (e *Errors) add(at place, what string) {
	one := &Error{File: at.src.name, Line: at.line, Column: at.col, What: what, Excerpt: at.excerpt()}
	key := one.Error()
	e.reported++
	if e.seen[key] {
		return
	}
	if e.seen == nil {
		e.seen = map[string]bool{}
	}
	if e.Total++; len(e.List) < maxErrors {
		e.seen[key] = true
		e.List = append(e.List, one)
	}
}

func (e *Errors) addf(at place, format string, args ...any) { e.add(at, fmt.Sprintf(format, args...)) }

// asError returns e in the order of its files and lines, or nil if there is
// nothing wrong.
func (e *Errors) asError() error {
	if e.none() {
		return nil
	}
	slices.SortStableFunc(e.List, func(a, b *Error) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return e
}

// excerpt returns the line of a place, shortened around its column, and a
// caret below it.
func (p place) excerpt() string {
	if p.line < 1 || p.line > len(p.src.lines) {
		return ""
	}
	const before, after = 60, 40
	runes := []rune(p.src.lines[p.line-1])
	col := min(max(p.col-1, 0), len(runes))
	start, end := max(0, col-before), min(len(runes), col+after)
	if strings.TrimSpace(string(runes[start:end])) == "" {
		return ""
	}
	line, caret := "  ", "  "
	if start > 0 {
		line, caret = "  …", "   "
	}
	for i := start; i < end; i++ {
		shown := printable(runes[i])
		line += shown
		if i < col {
			caret += strings.Repeat(" ", utf8.RuneCountInString(shown))
		}
	}
	if end < len(runes) {
		line += "…"
	}
	return line + "\n" + caret + "^"
}

func printable(r rune) string {
	switch {
	case r == '\t':
		return " "
	case r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0:
		return fmt.Sprintf(`\x%02x`, r)
	}
	return string(r)
}

// suggest ends a message with the nearest valid name or all of a few.
func suggest(word string, names []string) string {
	if near := nearest.To(word, names); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	if len(names) == 0 || len(names) > 24 {
		return ""
	}
	return "; there are " + strings.Join(names, ", ")
}
