package experiment

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/workloads"
)

// recorded is a trace with the names of its models in the catalogue.
type recorded struct {
	trace     *workloads.Trace
	catalogue []string
	rename    func(string) string
	rates     []float64
	warnings  []string // of its importer
}

// traceTables has the keys of all formats; which of them a format takes is
// decided by its importer.
func (t *tables) traceTables() {
	t.remap = record("{rule: stripe, onto: [a, b]} or {names: {old: new}}",
		key{name: "rule", is: word("identity", "stripe", "block", "zipf"), doc: "How models of the trace, ordered by number of items, fall onto those of the catalogue."},
		key{name: "s", is: aNumber(), doc: "Exponent of zipf."},
		key{name: "onto", is: listOf(aText(), "a list of models"), doc: "Models of the catalogue; all if left out."},
		key{name: "names", is: namesOf(aText(), "a mapping from names in the trace to models"), doc: "Name by name instead of a rule."},
		key{name: "default", is: aText(), doc: "Model for what names lacks."})
	t.trace = record("a trace like {file: requests.jsonl.gz, rate: 2x}",
		append([]key{
			{name: "file", is: aText(), must: true, doc: "File or folder, beside the experiment."},
			{name: "format", is: word(traceFormats()...), def: "native", doc: "Format of the file."},
			{name: "models", is: either("a file or {names: {old: new}}", aText(), t.remap), doc: "Which model of the catalogue each model of the trace is."},
			{name: "rate", is: aText(), doc: "Factor that arrivals are sped up by, like 2x."},
			{name: "limit", is: anInt(), doc: "How many items are read."},
		}, t.formatKeys()...)...)
}

// trace reads the trace of a workload: a path, or a mapping. A warm-up that is
// stated must leave something of it.
func (d *decoder) trace(w *fields, models []model, warmup scheduler.Time) *recorded {
	n, path := w.get("trace")
	if n == nil {
		return nil
	}
	if n.kind == scalarNode {
		file := *n
		*n = node{kind: mappingNode, at: file.at}
		n.add("file", file.at, &file)
	}
	f, ok := d.record(n, path, d.tables.trace)
	if !ok {
		return nil
	}
	defer f.done()
	for _, k := range []string{"duration", "items", "arrivals"} {
		if v := w.n.child(k); v != nil {
			d.errorf(v.at, "%s.%s does not go with a trace, which says when items arrive", w.path, k)
		}
	}
	before := d.errs.reported
	t := &recorded{catalogue: make([]string, len(models))}
	for i := range models {
		t.catalogue[i] = models[i].core.Name
	}
	opt := workloads.TraceOptions{}
	if v, p := f.get("rate"); v != nil {
		opt.Rate = d.factor(v, p)
	}
	if f.given("limit") {
		opt.Limit = f.integer("limit", 1, math.MaxInt64)
	}
	format := f.word("format")
	if format == "native" {
		for _, k := range d.tables.formatKeys() {
			if v := n.child(k.name); v != nil {
				d.errorf(v.at, "%s.%s does not belong to a native trace", path, k.name)
			}
		}
	}
	file, p := f.get("file")
	if file == nil || d.errs.reported > before {
		return nil
	}
	if t.trace = d.openTrace(&f, file, p, format, opt); t.trace == nil {
		return nil
	}
	if d.quick && opt.Limit == 0 && t.trace.Items() > 0 {
		opt.Limit = (t.trace.Items() + quickFactor - 1) / quickFactor
		n.put("limit", n.at, spell(n.at, opt.Limit))
		if t.trace = d.openTrace(&f, file, p, format, opt); t.trace == nil {
			return nil
		}
	}
	if v, p := f.get("models"); v != nil {
		t.rename = d.remap(v, p, t)
	}
	if d.errs.reported > before {
		return nil
	}
	t.check(d, file)
	if _, last := t.trace.Span(); warmup > last {
		d.errorf(w.n.child("warmup").at, "%s.warmup is %v, after the last arrival at %v; nothing would be measured", w.path, warmup, last)
	}
	t.rates, _ = t.trace.OfferedRates(t.catalogue, t.rename)
	t.warnings = d.files.warnings[t.trace]
	return t
}

func (d *decoder) factor(n *node, path string) workloads.Factor {
	const want = "a positive factor like 2x or 0.25x"
	if n.kind != scalarNode {
		d.wrong(n, path, want)
		return workloads.Factor{}
	}
	v, err := workloads.ParseFactor(n.text)
	if err != nil {
		d.wrong(n, path, want)
		return v
	}
	n.text, n.quoted = v.String(), false
	return v
}

// openTrace checks the trace that n names; it is read once for all cells.
func (d *decoder) openTrace(f *fields, n *node, path, format string, opt workloads.TraceOptions) *workloads.Trace {
	resolved, ok := d.path(n, path)
	if !ok {
		return nil
	}
	in, err := d.files.hashed(resolved)
	if err != nil {
		d.errorf(n.at, "%s: %v", path, err)
		return nil
	}
	shown := n.text
	if filepath.IsAbs(shown) {
		shown = resolved
	}
	if !d.took(n, path, in) {
		return nil
	}
	t, err := d.readTrace(f, shown, resolved, format, opt)
	if err != nil {
		if err != errReported {
			d.foreign(n, path, err)
		}
		return nil
	}
	return t
}

// errReported stands for errors that have been added already.
var errReported = errors.New("reported")

// readTrace opens a native trace in place and converts others.
func (d *decoder) readTrace(f *fields, shown, path, format string, opt workloads.TraceOptions) (*workloads.Trace, error) {
	key := strings.Join([]string{path, flow(f.n), strconv.FormatUint(d.seedOf, 10)}, "\x00")
	if t := d.files.traces[key]; t != nil {
		return t, nil
	}
	var t *workloads.Trace
	var err error
	if format == "native" {
		t, err = workloads.Open(shown, func() (io.ReadCloser, error) { return os.Open(path) }, opt)
	} else {
		t, err = d.importTrace(f, path, format, opt)
	}
	if err == nil {
		d.files.traces[key] = t
	}
	return t, err
}

// foreign reports the error of a reader at the place in the trace that it
// names, or else at n.
func (d *decoder) foreign(n *node, path string, err error) {
	var wrong *workloads.TraceError
	if errors.As(err, &wrong) && wrong.Line > 0 {
		at := place{&source{name: wrong.File}, wrong.Line, max(1, wrong.Column)}
		what := wrong.What
		if wrong.Text != "" {
			what += "\n  " + strings.ReplaceAll(wrong.Text, "\n", "\n  ")
		}
		d.errs.add(at, what)
		return
	}
	d.errorf(n.at, "%s: %v", path, err)
}

// check finds the first model of the trace that the catalogue lacks, by
// opening a source.
func (t *recorded) check(d *decoder, n *node) {
	_, closer, err := t.trace.Run(t.catalogue, t.rename)
	if err != nil {
		d.foreign(n, "workload.trace", err)
		return
	}
	closer.Close()
}

// remap reads how models of the trace are called in the catalogue.
func (d *decoder) remap(n *node, path string, t *recorded) func(string) string {
	if n.kind == scalarNode {
		data, ok := d.file(n, path)
		if !ok {
			return nil
		}
		root := parseYAML(n.text, data, d.errs)
		if root == nil {
			d.errorf(n.at, "%s: %s is empty", path, n.text)
			return nil
		}
		*n = *root
	}
	f, ok := d.record(n, path, d.tables.remap)
	if !ok {
		return nil
	}
	defer f.done()
	if f.given("rule") == f.given("names") {
		d.errorf(n.at, "%s needs either a rule or names", path)
		return nil
	}
	if f.given("names") {
		return d.remapNames(&f, t)
	}
	return d.remapRule(&f, t)
}

func (d *decoder) remapNames(f *fields, t *recorded) func(string) string {
	n, path := f.get("names")
	if n.kind != mappingNode {
		d.wrong(n, path, "a mapping from names in the trace to models")
		return nil
	}
	to := make(map[string]string, len(n.keys))
	for i, old := range n.keys {
		if v := n.values[i]; d.inCatalogue(v, join(path, old), t) {
			to[old] = v.text
		}
	}
	fallback, all := "", false
	if v, p := f.get("default"); v != nil && d.inCatalogue(v, p, t) {
		fallback, all = v.text, true
	}
	return func(name string) string {
		if model, ok := to[name]; ok {
			return model
		}
		if all {
			return fallback
		}
		return name
	}
}

func (d *decoder) inCatalogue(n *node, path string, t *recorded) bool {
	if n.kind != scalarNode || !slices.Contains(t.catalogue, n.text) {
		d.errorf(n.at, "%s: there is no model %s%s", path, n.describe(), suggest(n.text, t.catalogue))
		return false
	}
	return true
}

// inputs that are only hashed: traces.

// hashed returns the SHA-256 of a file of any size, or of the sorted list of
// the files in a folder, each line like sha256sum's.
func (f *files) hashed(path string) (*input, error) {
	if in := f.found[path]; in != nil {
		return in, nil
	}
	sum, err := hashOf(path)
	if err != nil {
		return nil, err
	}
	in := &input{path: path, sha256: sum}
	f.found[path] = in
	return in, nil
}

func hashOf(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	if info.IsDir() {
		var list []string
		err = filepath.WalkDir(path, func(p string, e os.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			sum, err := hashOf(p)
			name, _ := filepath.Rel(path, p)
			list = append(list, filepath.ToSlash(name)+"\x00"+sum)
			return err
		})
		slices.Sort(list)
		for _, l := range list {
			name, sum, _ := strings.Cut(l, "\x00")
			io.WriteString(h, sum+"  "+name+"\n")
		}
		return hex.EncodeToString(h.Sum(nil)), err
	}
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	_, err = io.Copy(h, file)
	return hex.EncodeToString(h.Sum(nil)), err
}

// closed reports whether arrivals depend on what happens.
func (w *workload) closed() bool {
	return w.generated != nil && w.generated.Arrivals.Kind == workloads.Closed || w.trace != nil && w.trace.trace.Reacts()
}

func (w *workload) random() bool { return w.generated != nil && w.generated.Random() }

// rates returns items per second by model, nil where they are not known.
func (w *workload) rates(models int) []float64 {
	switch {
	case w.trace != nil:
		return w.trace.rates
	case w.generated == nil:
		return nil
	}
	rates, known := w.generated.OfferedRates(models)
	if !known {
		return nil
	}
	return rates
}

// window is what metrics count.
func (w *workload) window() Window {
	win := Window{Warmup: w.warmup, Horizon: w.horizon}
	if w.generated != nil {
		win.Generated = true
		if w.generated.Items == 0 {
			win.End = w.generated.Duration
		}
	}
	return win
}

// open makes the source of a replicate.
func (w *workload) open(seed uint64, replicate int) (scheduler.Source, io.Closer, error) {
	if w.trace != nil {
		return w.trace.trace.Run(w.trace.catalogue, w.trace.rename)
	}
	s, err := workloads.New(*w.generated, seed, replicate)
	return s, nil, err
}
