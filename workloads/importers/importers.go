// Package importers turns foreign trace formats into native traces, one file a
// format.
//
// Every import reads its input twice: once to learn the first arrival, whether
// rows are sorted, and the sums of its Report, once to emit the items. Times go
// from decimal text to nanoseconds exactly, columns are found by name, and every
// row is either emitted or dropped for a reason that the report counts.
package importers

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/klauspost/compress/zstd"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/workloads"
	"github.com/vramsim/vramsim/workloads/containers"
)

// Options change what an importer makes of its input. An option that a format
// has no use for is an error.
type Options struct {
	// Service says where service times come from; the zero value records none.
	Service Service
	// Status keeps only rows of this status, in any case of letters: gentd26.
	Status string
	// ModelKey says what a model is: "" or "base" for the checkpoint,
	// "base+nlora" for the checkpoint with its number of LoRAs: gentd26.
	ModelKey string
	// Map says what the columns mean, or Preset names a known map: csv.
	Map    *Map
	Preset string
	// Seed draws what a format leaves to chance: the poisson loads of disb.
	Seed uint64
	// Continuous, if "skip", leaves out the tasks that Open otherwise runs as
	// clients of a closed loop: disb.
	Continuous string
	// Stale, if "drop", makes clients of the tasks that wait for the end of each
	// request and skip those that are past by then; only Open knows what is
	// skipped: disb.
	Stale string
	// MaxBytes bounds what a container expands to; 0 is 16 GiB.
	MaxBytes int64
	// Name stands for the path in messages and in the report: of input that
	// has no path of its own.
	Name string
	// TempDir is the folder for what does not fit in memory; "" is the system's.
	TempDir string
	// Interrupted is asked now and then; its error ends the import. May be nil.
	Interrupted func() error
}

// shownAs returns what the input is called in messages.
func (o *Options) shownAs(path string) string {
	if o.Name != "" {
		return o.Name
	}
	return path
}

// Format describes an importer.
type Format struct {
	Name    string
	Input   string // what it reads, in a line
	Origin  string // public repository and path of an original
	Licence string // of that original
	decode  func(*decoding) error
	uses    []string // options
}

// Formats returns the importers by name.
func Formats() []Format {
	return []Format{
		{"csv", "CSV with a map or preset (" + presetNames() + ")", "Azure/AzurePublicDataset, HPMLL/BurstGPT, Ying1123/VTC-artifact and others",
			"CC-BY-4.0, CC-BY-4.0, Apache-2.0", decodeCSV, []string{"service", "map", "preset"}},
		{"disb", "JSON {time, tasks}", "SJTU-IPADS/disb benchmarks/workloads", "Apache-2.0", decodeDISB, []string{"seed", "continuous", "stale"}},
		{"gentd26", "CSV of LoRA requests", "alibaba/clusterdata cluster-trace-v2026-GenAI/lora_request_trace.csv",
			"research and study use only", decodeGenTD26, []string{"service", "status", "model-key"}},
	}
}

// FormatError is returned for a format or option that there is not.
type FormatError struct{ What string }

func (e *FormatError) Error() string { return e.What }

func find(name string, opt *Options) (Format, error) {
	formats := Formats()
	i := slices.IndexFunc(formats, func(f Format) bool { return f.Name == name })
	if i < 0 {
		if _, known := presets()[name]; !known || opt.Preset != "" || opt.Map != nil {
			return Format{}, &FormatError{fmt.Sprintf("there is no importer %q", name)}
		}
		opt.Preset = name // a preset may stand for the format
		i = slices.IndexFunc(formats, func(f Format) bool { return f.Name == "csv" })
	}
	f := formats[i]
	for _, o := range []struct {
		name string
		set  bool
	}{{"service", opt.Service != Service{}}, {"status", opt.Status != ""}, {"model-key", opt.ModelKey != ""},
		{"map", opt.Map != nil}, {"preset", opt.Preset != ""}, {"seed", opt.Seed != 0}, {"continuous", opt.Continuous != ""}, {"stale", opt.Stale != ""}} {
		if o.set && !slices.Contains(f.uses, o.name) {
			return Format{}, &FormatError{fmt.Sprintf("%s has no option %s", f.Name, o.name)}
		}
	}
	return f, nil
}

// Inspect reads a file, archive or folder and reports what an import would do.
// Errors about its content are of type *workloads.TraceError or wrap one of
// package containers.
func Inspect(path, format string, opt Options) (*Report, error) {
	f, err := find(format, &opt)
	if err != nil {
		return nil, err
	}
	_, report, err := inspect(path, f, opt)
	return report, err
}

// Import writes the native trace of a file, archive or folder.
func Import(w io.Writer, path, format string, opt Options) (*Report, error) {
	f, err := find(format, &opt)
	if err != nil {
		return nil, err
	}
	if opt.Stale != "" {
		return nil, &FormatError{"what stale requests are dropped depends on what is executed and is no trace"}
	}
	scan, report, err := inspect(path, f, opt)
	if err != nil {
		return report, err
	}
	if report.Emitted == 0 {
		return report, scan.nothing(report)
	}
	return report, scan.emitAll(w)
}

func (s *scanned) nothing(report *Report) error {
	return &workloads.TraceError{File: s.opt.shownAs(s.path), What: fmt.Sprintf("none of the %d rows is an item", report.RowsRead)}
}

// Open imports into memory, compressed, or where that is too much into a
// temporary file, and opens the result. Clients that wait for the end of their
// requests, which no native trace can hold, are a part of it.
func Open(path, format string, opt Options, trace workloads.TraceOptions) (*workloads.Trace, *Report, error) {
	f, err := find(format, &opt)
	if err != nil {
		return nil, nil, err
	}
	scan, report, err := inspect(path, f, opt)
	switch {
	case err != nil:
		return nil, report, err
	case len(report.loops) > 0:
		scan.first = 0 // the clients begin with the recording
		report.NotExported = nil
	case report.Emitted == 0:
		return nil, report, scan.nothing(report)
	}
	if report.Emitted == 0 {
		return workloads.LoopsOnly(opt.shownAs(path), report.loops, trace), report, nil
	}
	held := containers.NewSpool(opt.TempDir, 0)
	if err := scan.compress(held); err != nil {
		return nil, report, errors.Join(err, held.Close())
	}
	t, err := workloads.Open(opt.shownAs(path), held.Open, trace)
	if err != nil {
		return nil, report, errors.Join(err, held.Close())
	}
	return t.Imported().WithLoops(report.loops), report, nil
}

// compress writes the native trace, compressed.
func (s *scanned) compress(w io.Writer) error {
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(1<<20))
	if err != nil {
		return err
	}
	return errors.Join(s.emitAll(z), z.Close())
}

// row is what an importer makes of one row. At is absolute until it is
// written; a deadline other than Never counts from At.
type row struct {
	workloads.Item
	in, out int64 // tokens
	number  int64 // of the row in its source, from 1, for items without id
}

func newRow() row {
	return row{Item: workloads.Item{Deadline: scheduler.Never, Work: scheduler.WorkUnit, Service: workloads.NoService}}
}

// decoding is one pass over the input.
type decoding struct {
	path   string
	opt    Options
	report *Report
	take   func(*row) error
	place  func(what string) error // makes an error about the present row
}

// read counts a row; each is then emitted or dropped.
func (d *decoding) read() { d.report.RowsRead++ }

// rowsBetween is after how many rows it is asked whether to go on.
const rowsBetween = 1024

func (d *decoding) drop(reason string) { d.report.Dropped[reason]++ }

// round counts a number that was rounded.
func (d *decoding) round() { d.report.Rounded++ }

func (d *decoding) emit(r *row) error {
	r.number = d.report.RowsRead
	if d.report.Emitted%rowsBetween == 0 && d.opt.Interrupted != nil {
		if err := d.opt.Interrupted(); err != nil {
			return err
		}
	}
	d.report.Emitted++
	return d.take(r)
}

func (d *decoding) each(f func(member string, r io.Reader) error) error {
	return containers.Each(d.path, containers.Limits{Out: d.opt.MaxBytes}, f)
}

// shown names a member in messages: by the path that the user gave, and what
// lies below it.
func (d *decoding) shown(member string) string {
	if info, err := os.Stat(d.path); err == nil && info.IsDir() || !strings.HasPrefix(filepath.Base(d.path), member) {
		return filepath.ToSlash(d.opt.shownAs(d.path)) + "/" + member
	}
	return d.opt.shownAs(d.path)
}

// scanned is what the first pass learns.
type scanned struct {
	path   string
	format Format
	opt    Options
	first  scheduler.Time
	last   scheduler.Time
	sorted bool
	digest string
}

func inspect(path string, f Format, opt Options) (*scanned, *Report, error) {
	digest, files, err := digestOf(path)
	if err != nil {
		return nil, nil, err
	}
	s := &scanned{path: path, format: f, opt: opt, sorted: true, digest: digest}
	report := newReport(opt.shownAs(path), f.Name, opt, digest)
	report.Files = files
	models, previous := map[string]int64{}, scheduler.Time(0)
	ids := new(workloads.Names)
	d := &decoding{path: path, opt: opt, report: report}
	d.take = func(r *row) error {
		if err := s.check(d, r, ids); err != nil {
			return err
		}
		if report.Emitted == 1 {
			s.first, s.last, previous = r.At, r.At, r.At
		}
		s.sorted = s.sorted && r.At >= previous
		previous = r.At
		s.first, s.last = min(s.first, r.At), max(s.last, r.At)
		models[r.Model]++
		report.sums(r)
		return nil
	}
	if err := f.decode(d); err != nil {
		return nil, report, err
	}
	report.finish(s, models)
	return s, report, report.reconcile()
}

// check refuses what a native trace cannot hold.
func (s *scanned) check(d *decoding, r *row, ids *workloads.Names) error {
	item := r.Item
	if item.ID == "" {
		item.ID = "-"
	} else if number, taken := ids.Add(item.ID); taken {
		other, err := s.rowNamed(number)
		if err != nil {
			return err
		}
		return d.place(fmt.Sprintf("the id %q is taken by row %d", item.ID, other))
	}
	var wrong *workloads.ItemError
	if err := item.Check(); errors.As(err, &wrong) {
		return d.place(wrong.What)
	}
	return nil
}

// rowNamed reads the input again to find the row with the given one, from 0,
// of those that have an id.
func (s *scanned) rowNamed(nth int64) (number int64, err error) {
	errFound := errors.New("found")
	d := &decoding{path: s.path, opt: s.opt, report: newReport(s.path, s.format.Name, s.opt, s.digest)}
	d.take = func(r *row) error {
		if r.ID != "" {
			nth--
		}
		if nth < 0 {
			number = r.number
			return errFound
		}
		return nil
	}
	if err := s.format.decode(d); err != errFound {
		return 0, errors.Join(workloads.ErrChanged, err)
	}
	return number, nil
}

// emitAll is the second pass. Input that is not sorted goes through a sorter.
func (s *scanned) emitAll(w io.Writer) (err error) {
	out := workloads.NewWriter(w)
	write := out.Write
	sorter := workloads.Sorter{Dir: s.opt.TempDir}
	if !s.sorted {
		write = sorter.Add
		defer func() { err = errors.Join(err, sorter.Close()) }()
	}
	namespace := uuid.NewSHA1(uuid.NameSpaceURL, []byte("vramsim:source:"+s.digest))
	d := &decoding{path: s.path, opt: s.opt, report: newReport(s.opt.shownAs(s.path), s.format.Name, s.opt, s.digest)}
	d.take = func(r *row) error {
		if r.ID == "" {
			r.ID = uuid.NewSHA1(namespace, strconv.AppendInt(nil, r.number, 10)).String()
		}
		r.At -= s.first
		if r.Deadline != scheduler.Never {
			due, fits := scheduler.AddTime(r.At, r.Deadline)
			if !fits {
				due = scheduler.Never
			}
			r.Deadline = due
		}
		return write(&r.Item)
	}
	if err := s.format.decode(d); err != nil {
		return err
	}
	if !s.sorted {
		if err := sorter.WriteTo(out); err != nil {
			return err
		}
	}
	return out.Close()
}

// digestOf returns the SHA-256 of a file as stored, or of a folder's sha256sum
// lines sorted by path, with the digests of its files.
func digestOf(path string) (string, map[string]string, error) {
	files, folder, err := filesOf(path)
	if err != nil {
		return "", nil, err
	}
	if !folder {
		digest, err := fileDigest(path)
		return digest, nil, err
	}
	list, digests := sha256.New(), map[string]string{}
	for _, f := range files {
		digest, err := fileDigest(f.path)
		if err != nil {
			return "", nil, err
		}
		digests[f.name] = digest
		fmt.Fprintf(list, "%s  %s\n", digest, f.name)
	}
	return fmt.Sprintf("%x", list.Sum(nil)), digests, nil
}
