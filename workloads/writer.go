package workloads

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/vramsim/vramsim/scheduler"
)

// NoService is the Service of an item that has no recorded service time.
const NoService scheduler.Time = -1

// Item is an item of a trace, by names. Empty Job and Tenant mean none.
type Item struct {
	ID, Job, Model, Tenant string
	At                     scheduler.Time
	Priority               int32
	Deadline               scheduler.Time // Never: none
	Work                   int64          // millionths, scheduler.WorkUnit for ordinary items
	Service                scheduler.Time // NoService: none
	After                  []string
}

// ItemError says what keeps an item from being written.
type ItemError struct {
	Item string
	What string
}

func (e *ItemError) Error() string { return fmt.Sprintf("item %q: %s", e.Item, e.What) }

// Writer writes a native trace: one order of fields, defaults left out, so
// that equal items give equal bytes. It does not compress, nor look whether ids
// are unique and dependencies known, which Open does.
type Writer struct {
	w    *bufio.Writer
	line []byte
	last scheduler.Time
	err  error
}

// NewWriter returns a Writer that has written the header.
func NewWriter(w io.Writer) *Writer {
	out := &Writer{w: bufio.NewWriterSize(w, 1<<16)}
	_, out.err = out.w.WriteString(Header + "\n")
	return out
}

// Write appends an item. Items must come in the order of At. Errors about the
// item are of type *ItemError.
func (w *Writer) Write(item *Item) error {
	if w.err != nil {
		return w.err
	}
	if what := item.invalid(w.last); what != "" {
		return &ItemError{Item: item.ID, What: what}
	}
	w.line = item.append(w.line[:0])
	if len(w.line) > MaxLine {
		return &ItemError{Item: item.ID, What: "its line would be too long"}
	}
	return w.writeLine(item.At, w.line)
}

// writeLine appends the line of an item that has been checked.
func (w *Writer) writeLine(at scheduler.Time, line []byte) error {
	if w.err != nil {
		return w.err
	}
	w.last = at
	if _, w.err = w.w.Write(line); w.err == nil {
		w.err = w.w.WriteByte('\n')
	}
	return w.err
}

// Close writes what is buffered. It does not close the underlying writer.
func (w *Writer) Close() error {
	if w.err != nil {
		return w.err
	}
	return w.w.Flush()
}

// Check returns an *ItemError if the item cannot be written.
func (item *Item) Check() error {
	if what := item.invalid(0); what != "" {
		return &ItemError{Item: item.ID, What: what}
	}
	return nil
}

// invalid returns what is wrong with an item that follows one at last.
func (item *Item) invalid(last scheduler.Time) string {
	for _, n := range []struct{ field, name string }{{"id", item.ID}, {"job", item.Job}, {"model", item.Model}, {"tenant", item.Tenant}} {
		if what := validName([]byte(n.name)); what != "" {
			return fmt.Sprintf("%s %q %s", n.field, n.name, what)
		}
	}
	switch {
	case item.ID == "":
		return "it has no id"
	case item.Model == "":
		return "it has no model"
	case item.At < 0 || item.At == scheduler.MaxTime:
		return fmt.Sprintf("its arrival at %d ns is out of range", item.At)
	case item.At < last:
		return fmt.Sprintf("it arrives at %d ns, before the item above at %d ns", item.At, last)
	case item.Deadline < 0:
		return "its deadline is negative"
	case item.Work <= 0:
		return "its work is not positive"
	case item.Service < NoService || item.Service == scheduler.MaxTime:
		return fmt.Sprintf("its service time of %d ns is out of range", item.Service)
	case len(item.After) > MaxAfter:
		return fmt.Sprintf("it waits for %d items; at most %d", len(item.After), MaxAfter)
	}
	for i, name := range item.After {
		switch {
		case name == item.ID:
			return "it waits for itself"
		case i > 0 && i < 64 && slices.Contains(item.After[:i], name):
			return fmt.Sprintf("it waits for %q twice", name)
		}
	}
	return ""
}

func (item *Item) append(b []byte) []byte {
	b = appendText(append(b, `{"id":`...), item.ID)
	if item.Job != "" {
		b = appendText(append(b, `,"job":`...), item.Job)
	}
	b = appendText(append(b, `,"model":`...), item.Model)
	b = strconv.AppendInt(append(b, `,"at_ns":`...), int64(item.At), 10)
	if item.Priority != 0 {
		b = strconv.AppendInt(append(b, `,"priority":`...), int64(item.Priority), 10)
	}
	if item.Deadline != scheduler.Never {
		b = strconv.AppendInt(append(b, `,"deadline_ns":`...), int64(item.Deadline), 10)
	}
	if item.Work != scheduler.WorkUnit {
		b = appendMillionths(append(b, `,"work":`...), item.Work)
	}
	if item.Service != NoService {
		b = strconv.AppendInt(append(b, `,"service_ns":`...), int64(item.Service), 10)
	}
	if len(item.After) > 0 {
		b = append(b, `,"after":[`...)
		for i, name := range item.After {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendText(b, name)
		}
		b = append(b, ']')
	}
	if item.Tenant != "" {
		b = appendText(append(b, `,"tenant":`...), item.Tenant)
	}
	return append(b, '}')
}

// appendText quotes a valid name: nothing but quotes and backslashes needs it.
func appendText(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); i++ {
		if s[i] == '"' || s[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}

func appendMillionths(b []byte, v int64) []byte {
	b = strconv.AppendInt(b, v/scheduler.WorkUnit, 10)
	rest := v % scheduler.WorkUnit
	if rest == 0 {
		return b
	}
	b = append(b, '.')
	for unit := int64(scheduler.WorkUnit / 10); rest > 0; unit /= 10 {
		b = append(b, byte('0'+rest/unit))
		rest %= unit
	}
	return b
}
