package workloads

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/workloads/containers"
)

// TraceOptions change how a trace is read.
type TraceOptions struct {
	// Rate divides every arrival time; deadlines keep their distance to it, as
	// service times are not divided.
	Rate Factor
	// Limit, if positive, is how many items are read. None of them may wait for
	// one that is left out.
	Limit int64
	// MaxBytes bounds what a compressed trace expands to; 0 is 16 GiB.
	MaxBytes int64
}

// ModelCount says how often a model occurs in a trace and where first.
type ModelCount struct {
	Name  string
	Items int64
	Line  int

	column int    // of the first, from 1
	text   string // its line, for messages
}

// Trace is a native trace that has been read once and found correct. It keeps
// what names it needs, not the items, and may be used concurrently.
type Trace struct {
	name string
	open func() (io.ReadCloser, error)
	opt  TraceOptions

	items       int64
	first, last scheduler.Time
	ids         *numbering // nil if no item waits for another
	jobs        numbering
	tenants     map[string]int64
	tenantNames []string
	models      []ModelCount
	modelIndex  map[string]int
	gaps        []lineGap
	imported    bool // lines mean nothing to the user
	loops       []Loop
}

// lineGap says that from item on, lines are that far after the item's number.
type lineGap struct {
	item   int64
	offset int64
}

// OpenFile reads and checks a trace in a file, plain, gzip or zstd. Errors in
// its content are of type *TraceError or wrap one of package containers.
func OpenFile(path string, opt TraceOptions) (*Trace, error) {
	return Open(path, func() (io.ReadCloser, error) { return os.Open(path) }, opt)
}

// Open reads and checks a trace. open is called for each pass over it, at
// least once more by every Source, and must return the same bytes each time;
// name stands in messages.
func Open(name string, open func() (io.ReadCloser, error), opt TraceOptions) (*Trace, error) {
	t := &Trace{name: name, open: open, opt: opt, tenants: map[string]int64{}, modelIndex: map[string]int{}}
	if err := t.check(); err != nil {
		return nil, err
	}
	return t, nil
}

// Imported marks a trace whose lines the user never saw: messages about its
// models then name items instead of lines. It returns t.
func (t *Trace) Imported() *Trace {
	t.imported = true
	return t
}

// Items returns how many items there are.
func (t *Trace) Items() int64 { return t.items }

// Jobs returns how many jobs have a name.
func (t *Trace) Jobs() int64 { return int64(t.jobs.n) }

// Models returns the models in the order of their first items.
func (t *Trace) Models() []ModelCount { return slices.Clone(t.models) }

// Tenants returns the tenants in the order of their first items; the position
// is their number in events.
func (t *Trace) Tenants() []string { return slices.Clone(t.tenantNames) }

// Span returns when the first and the last item arrive, at the trace's rate;
// with clients, the first is at 0 and the last not before they end.
func (t *Trace) Span() (first, last scheduler.Time) {
	first, last = t.first, t.last
	for _, l := range t.loops {
		first = 0
		last = max(last, l.Until)
		if n := len(l.Times); n > 0 {
			last = max(last, l.Times[n-1])
		}
	}
	return first, last
}

// OfferedRates returns the items per second of each model of the catalogue,
// over the time from the first to the last arrival; false for less than two
// items, no time between, or clients whose rate depends on what happens.
func (t *Trace) OfferedRates(catalogue []string, rename func(string) string) ([]float64, bool) {
	if t.last == t.first || t.Reacts() {
		return nil, false
	}
	rates := make([]float64, len(catalogue))
	for _, m := range t.models {
		name := m.Name
		if rename != nil {
			name = rename(name)
		}
		if i := slices.Index(catalogue, name); i >= 0 {
			rates[i] += float64(m.Items) / (t.last - t.first).Seconds()
		}
	}
	return rates, true
}

// rows reads the items of a trace one by one.
type rows struct {
	lines  *lines
	fail   func([]byte, int, string, ...any) error
	closes []io.Closer
	line   []byte
	row    row
	items  int64
	limit  int64
}

func (t *Trace) rows() (*rows, error) {
	file, err := t.open()
	if err != nil {
		return nil, err
	}
	content, err := containers.Open(file, containers.Limits{Out: t.opt.MaxBytes})
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("%s: %w", t.name, err)
	}
	r := &rows{lines: newLines(t.name, content), closes: []io.Closer{content, file}, limit: t.opt.Limit}
	r.fail = r.lines.at
	if err := r.header(); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// Close frees the file; it may be called twice.
func (r *rows) Close() {
	for _, c := range r.closes {
		c.Close()
	}
	r.closes = nil
}

// content returns the next line that is neither blank nor a comment.
func (r *rows) content() ([]byte, error) {
	for {
		line, err := r.lines.next()
		if err != nil {
			return nil, err
		}
		if text := bytes.TrimLeft(line, " \t"); len(text) > 0 && text[0] != '#' {
			return line, nil
		}
	}
}

func (r *rows) header() error {
	line, err := r.content()
	if err == io.EOF {
		return &TraceError{File: r.lines.file, What: "the file is empty"}
	}
	if err != nil {
		return err
	}
	return parseHeader(line, r.fail)
}

// next parses the next item into r.row; io.EOF after the last.
func (r *rows) next() error {
	if r.limit > 0 && r.items == r.limit {
		return io.EOF
	}
	line, err := r.content()
	if err != nil {
		return err
	}
	r.line = line
	r.items++
	return r.row.parse(line, r.fail)
}

// forward is an item that waits for one further down.
type forward struct {
	item int64
	on   digest
	to   int64
}

// check is the first pass.
func (t *Trace) check() error {
	rows, err := t.rows()
	if err != nil {
		return err
	}
	defer rows.Close()
	c := checker{trace: t, rows: rows, ids: new(numbering)}
	for {
		err := rows.next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = c.item()
		}
		if err != nil {
			return err
		}
	}
	t.items = int64(c.ids.n)
	if t.items == 0 {
		return &TraceError{File: t.name, What: "the trace holds no items"}
	}
	if !c.waits {
		return nil
	}
	t.ids = c.ids
	return t.checkForward(c.forward)
}

// checker is the state of the first pass.
type checker struct {
	trace   *Trace
	rows    *rows
	ids     *numbering
	last    scheduler.Time // as recorded
	waits   bool
	forward []forward
	digests []digest
	model   int // of the last item
}

func (c *checker) item() error {
	t, r := c.trace, &c.rows.row
	item := int64(c.ids.n)
	t.noteLine(item, c.rows.lines.number)
	own := digestOf(r.id)
	if number, old := c.ids.add(own); old {
		return c.rows.fail(c.rows.line, r.idAt, "the id %q is taken by line %d", r.id, t.lineOf(number))
	}
	if r.at < c.last {
		return c.rows.fail(c.rows.line, r.timeAt, "at_ns is %d, before the %d of the item above: a trace is sorted by at_ns", r.at, c.last)
	}
	c.last = r.at
	at, fits := t.opt.Rate.apply(r.at)
	if !fits {
		return c.rows.fail(c.rows.line, r.timeAt, "at_ns is %d, which at %v passes the end of time", r.at, t.opt.Rate)
	}
	if item == 0 {
		t.first = at
	}
	t.last = at
	if len(r.job) > 0 {
		t.jobs.add(digestOf(r.job))
	}
	if len(r.tenant) > 0 {
		t.noteTenant(r.tenant)
	}
	c.noteModel(r.model)
	if len(r.after) > 0 {
		return c.dependencies(item, own)
	}
	return nil
}

func (c *checker) dependencies(item int64, own digest) error {
	c.waits = true
	r := &c.rows.row
	c.digests = c.digests[:0]
	for i, name := range r.after {
		d := digestOf(name)
		c.digests = append(c.digests, d)
		if d == own {
			return c.rows.fail(c.rows.line, r.afterAt[i], "the item %q waits for itself", name)
		}
		if _, known := c.ids.find(d); !known {
			c.forward = append(c.forward, forward{item: item, on: d})
		}
	}
	return c.twice()
}

// twice finds a dependency that is listed twice.
func (c *checker) twice() error {
	if len(c.digests) < 2 {
		return nil
	}
	slices.SortFunc(c.digests, compareDigests)
	for i := 1; i < len(c.digests); i++ {
		if c.digests[i] != c.digests[i-1] {
			continue
		}
		r, seen := &c.rows.row, false
		for k, name := range r.after {
			if digestOf(name) == c.digests[i] {
				if seen {
					return c.rows.fail(c.rows.line, r.afterAt[k], "after names %q twice", name)
				}
				seen = true
			}
		}
	}
	return nil
}

func compareDigests(a, b digest) int {
	for i := range a {
		switch {
		case a[i] < b[i]:
			return -1
		case a[i] > b[i]:
			return 1
		}
	}
	return 0
}

func (c *checker) noteModel(name []byte) {
	t := c.trace
	if len(t.models) == 0 || t.models[c.model].Name != string(name) {
		i, known := t.modelIndex[string(name)]
		if !known {
			i = len(t.models)
			t.models = append(t.models, ModelCount{Name: string(name), Line: c.rows.lines.number,
				column: c.rows.row.modelAt + 1, text: Excerpt(c.rows.line, c.rows.row.modelAt)})
			t.modelIndex[string(name)] = i
		}
		c.model = i
	}
	t.models[c.model].Items++
}

func (t *Trace) noteTenant(name []byte) {
	if _, known := t.tenants[string(name)]; !known {
		t.tenants[string(name)] = int64(len(t.tenantNames))
		t.tenantNames = append(t.tenantNames, string(name))
	}
}

func (t *Trace) noteLine(item int64, line int) {
	offset := int64(line) - item
	if n := len(t.gaps); n == 0 || t.gaps[n-1].offset != offset {
		t.gaps = append(t.gaps, lineGap{item, offset})
	}
}

// lineOf returns the line of an item.
func (t *Trace) lineOf(item int64) int {
	i, exact := slices.BinarySearchFunc(t.gaps, item, func(g lineGap, item int64) int { return int(g.item - item) })
	if !exact {
		i--
	}
	return int(item + t.gaps[i].offset)
}

// checkForward resolves the dependencies on items further down and looks for
// cycles among them.
func (t *Trace) checkForward(edges []forward) error {
	for i := range edges {
		to, known := t.ids.find(edges[i].on)
		if !known {
			return t.unknownDependency(edges[i])
		}
		edges[i].to = to
	}
	if len(edges) == 0 {
		return nil
	}
	return t.checkCycles(edges)
}

// unknownDependency reads the trace again up to the item to say what it waits for.
func (t *Trace) unknownDependency(e forward) error {
	rows, err := t.rowsTo(e.item)
	if err != nil {
		return err
	}
	defer rows.Close()
	for i, name := range rows.row.after {
		if digestOf(name) == e.on {
			if t.opt.Limit > 0 {
				return rows.fail(rows.line, rows.row.afterAt[i], "the item %q waits for %q, which is not among the first %d items", rows.row.id, name, t.opt.Limit)
			}
			return rows.fail(rows.line, rows.row.afterAt[i], "the item %q waits for %q, which is not in the trace", rows.row.id, name)
		}
	}
	return t.changed()
}

// rowsTo returns the rows with the given item parsed.
func (t *Trace) rowsTo(item int64) (*rows, error) {
	rows, err := t.rows()
	if err != nil {
		return nil, err
	}
	for rows.items <= item {
		if err := rows.next(); err != nil {
			rows.Close()
			if err == io.EOF {
				err = t.changed()
			}
			return nil, err
		}
	}
	return rows, nil
}

// ErrChanged is wrapped when a trace differs between two passes.
var ErrChanged = errors.New("the file changed while it was read")

func (t *Trace) changed() error { return fmt.Errorf("%s: %w", t.name, ErrChanged) }
