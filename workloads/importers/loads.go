package importers

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/workloads"
)

// Loads are recorded load times that belong together.
type Loads struct {
	// Name is that of the model as it was recorded or, where the records name
	// none, that of their file without its ending.
	Name  string
	Named bool             // the records name the model
	Times []scheduler.Time // in the order of the records
}

// LoadOptions change how recorded load times are read; they mean what they
// mean in Options.
type LoadOptions struct {
	MaxBytes    int64
	Name        string
	Interrupted func() error
}

const (
	maxLoads  = 1 << 24 // load times of a source
	maxLoaded = 1 << 16 // names in it
)

// LoadFormats returns the formats of recorded load times by name.
func LoadFormats() []Format {
	const clusterdata = "alibaba/clusterdata cluster-trace-v2026-GenAI/"
	return []Format{
		{Name: "gentd26-loads", Input: "CSV timestamp_anon, value, container_ip in ms", Origin: clusterdata + "{basemodel,lora}_update_latency_anon.tar.gz",
			Licence: "research and study use only"},
		{Name: "serverlessllm-loads", Input: "JSON [{model_name, loading_time}] in s", Origin: "ServerlessLLM/ServerlessLLM benchmarks/results",
			Licence: "Apache-2.0"},
	}
}

// ReadLoads reads the load times recorded in a file, archive or folder, by
// their names in order. The report reconciles the rows; its items are load
// times. Errors about the content are of type *workloads.TraceError or wrap one
// of package containers; a format that there is not is a *FormatError.
func ReadLoads(path, format string, opt LoadOptions) ([]Loads, *Report, error) {
	var read func(*recording) error
	switch format {
	case "gentd26-loads":
		read = readGenTD26Loads
	case "serverlessllm-loads":
		read = readServerlessLLM
	default:
		return nil, nil, &FormatError{fmt.Sprintf("there are no recorded load times of format %q", format)}
	}
	digest, files, err := digestOf(path)
	if err != nil {
		return nil, nil, err
	}
	shared := Options{MaxBytes: opt.MaxBytes, Name: opt.Name, Interrupted: opt.Interrupted}
	report := newReport(shared.shownAs(path), format, shared, digest)
	report.Files, report.SumAt = files, nil
	byName := map[string]*Loads{}
	r := &recording{decoding: decoding{path: path, opt: shared, report: report}}
	r.sample = func(name string, named bool, took scheduler.Time) error {
		l := byName[name]
		if l == nil {
			if len(byName) == maxLoaded {
				return r.place(fmt.Sprintf("this is the name of more than %d models", maxLoaded))
			}
			l = &Loads{Name: name, Named: named}
			byName[name] = l
		}
		l.Times = append(l.Times, took)
		return nil
	}
	if err := read(r); err != nil {
		return nil, report, err
	}
	if report.Emitted == 0 {
		return nil, report, &workloads.TraceError{File: report.Source, What: fmt.Sprintf("none of the %d rows is a load time", report.RowsRead)}
	}
	return report.loads(byName), report, report.reconcile()
}

// loads returns the load times by name and counts them.
func (r *Report) loads(byName map[string]*Loads) []Loads {
	counts := map[string]int64{}
	var all []Loads
	for name, l := range byName {
		counts[name] = int64(len(l.Times))
		all = append(all, *l)
	}
	slices.SortFunc(all, func(a, b Loads) int { return strings.Compare(a.Name, b.Name) })
	r.count(counts)
	return all
}

// recording is one pass over recorded load times.
type recording struct {
	decoding
	sample func(name string, named bool, took scheduler.Time) error
}

// loaded hands on one load time.
func (r *recording) loaded(name string, named bool, took scheduler.Time) error {
	if r.report.Emitted == maxLoads {
		return r.place(fmt.Sprintf("there are more than %d load times", maxLoads))
	}
	item := workloads.Item{ID: "-", Model: name, Work: scheduler.WorkUnit, Deadline: scheduler.Never, Service: took}
	var wrong *workloads.ItemError
	if err := item.Check(); errors.As(err, &wrong) {
		return r.place(wrong.What)
	}
	if took > math.MaxInt64/4 {
		return r.place(fmt.Sprintf("a load of %v takes longer than there is time", took))
	}
	if r.report.Emitted%rowsBetween == 0 && r.opt.Interrupted != nil {
		if err := r.opt.Interrupted(); err != nil {
			return err
		}
	}
	r.report.Emitted++
	return r.sample(name, named, took)
}
