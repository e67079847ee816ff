package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vramsim/vramsim/results/rundir"
	"github.com/vramsim/vramsim/scheduler/nearest"
	"github.com/vramsim/vramsim/workloads/importers"
)

func importFormats() []string {
	var names []string
	for _, f := range importers.Formats() {
		names = append(names, f.Name)
	}
	return append(names, importers.Presets()...)
}

// importFlags are those of the verb, not yet the options of an importer.
type importFlags struct {
	as, out, service, mapFile, catalogue, format string
	opt                                          importers.Options
}

func newImport(a *app) *cobra.Command {
	var in importFlags
	cmd := &cobra.Command{
		Use:   "import FILE --as FORMAT -o TRACE",
		Short: "turn a recorded trace into a native one",
		Long: `Turn a recorded trace into a native one. FILE may be compressed, an archive or a
folder; - is standard input. Beside the trace goes a report that reconciles rows
read, emitted and dropped by reason, TRACE.source.json; with -o - it goes to
standard error, with --format json to standard output, and without -o nothing
else is written. Formats: ` + strings.Join(importFormats(), ", ") + ".",
		Example: "  vramsim import requests.csv.gz --as gentd26 --service exec -o requests.jsonl.gz",
		Args:    exactly(1, "a file, archive or folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.importFile(cmd.Context(), args[0], &in)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&in.as, "as", "", "`format` of the file")
	flags.StringVarP(&in.out, "output", "o", "", "`file` to write (.gz, .zst: compressed), - for standard output, the default")
	flags.StringVar(&in.format, "format", "", "`json`: the report to standard output")
	flags.StringVar(&in.catalogue, "catalogue", "", "`file` for the names of the models, for models.from of an experiment")
	flags.StringVar(&in.service, "service", "", "service times: `exec`, as recorded, or base=50ms,in=0.2ms,out=20ms by tokens")
	flags.StringVar(&in.opt.Status, "status", "", "keep only rows of this `status`: gentd26")
	flags.StringVar(&in.opt.ModelKey, "model-key", "", "what a model is, `base` or base+nlora: gentd26")
	flags.StringVar(&in.mapFile, "map", "", "YAML `file` that says what the columns mean: csv")
	flags.StringVar(&in.opt.Preset, "preset", "", "`name` of a known map: csv; one of "+strings.Join(importers.Presets(), ", "))
	flags.Uint64Var(&in.opt.Seed, "seed", 0, "`number` that the poisson loads come from: disb")
	flags.Int64Var(&in.opt.MaxBytes, "max-bytes", 0, "most `bytes` that a compressed file may expand to (default 16 GiB)")
	return cmd
}

// options completes the options of the importer.
func (f *importFlags) options(ctx context.Context) (importers.Options, error) {
	opt := f.opt
	opt.Interrupted = func() error { return context.Cause(ctx) }
	switch {
	case f.as == "":
		return opt, usagef("import needs --as: one of %s", strings.Join(importFormats(), ", "))
	case !slices.Contains(importFormats(), f.as):
		return opt, unknownFormat(f.as)
	case f.format != "" && f.format != "json":
		return opt, usagef("--format %q: it is json", f.format)
	case f.format == "json" && f.out == "-":
		return opt, usagef("the trace and the report cannot both go to standard output: leave out -o - or --format json")
	case opt.MaxBytes < 0:
		return opt, usagef("--max-bytes %d: at least 0", opt.MaxBytes)
	}
	if f.service != "" {
		s, err := importers.ParseService(f.service)
		if err != nil {
			return opt, err
		}
		opt.Service = s
	}
	if f.mapFile != "" {
		m, err := readMap(f.mapFile)
		if err != nil {
			return opt, err
		}
		opt.Map = m
	}
	return opt, nil
}

func unknownFormat(format string) error {
	hint := "formats: " + strings.Join(importFormats(), ", ")
	if slices.Contains(loadFormats(), format) {
		return &exitError{code: exitUsage, err: fmt.Errorf("--as %s: these are load times, no trace", format), hint: "vramsim calibrate --from FILE --as " + format + " makes a profile of them"}
	}
	if near := nearest.To(format, importFormats()); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	return &exitError{code: exitUsage, err: fmt.Errorf("--as %q: there is no such format", format), hint: hint}
}

func readMap(path string) (*importers.Map, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	m, err := importers.ParseMap(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

func (a *app) importFile(ctx context.Context, path string, in *importFlags) (err error) {
	opt, err := in.options(ctx)
	if err != nil {
		return err
	}
	defer frugal()()
	file, name, done, err := a.spooled(ctx, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	if opt.Name = ""; name != file {
		opt.Name = name
	}
	if sameFile(file, in.out) {
		return usagef("-o %s is the input", in.out)
	}
	var report *importers.Report
	if in.format == "json" && in.out == "" {
		report, err = importers.Inspect(file, in.as, opt)
	} else {
		out := in.out
		if out == "" {
			out = "-"
		}
		err = a.writeTrace(ctx, out, func(w io.Writer) (int64, error) {
			if report, err = importers.Import(w, file, in.as, opt); err != nil {
				return 0, err
			}
			return report.Emitted, nil
		})
	}
	var options *importers.FormatError
	switch {
	case errors.As(err, &options):
		return withHint(err, "vramsim import --help lists the options")
	case err != nil:
		return err
	}
	for _, w := range report.Warnings() {
		a.warnf("%s", w)
	}
	if in.catalogue != "" {
		if err := writeCatalogue(in.catalogue, report.ModelNames()); err != nil {
			return err
		}
	}
	return a.writeReport(in, report)
}

func sameFile(a, b string) bool {
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(one, other)
}

// writeReport puts the report where the flags want it. What is no regular
// file, like a pipe, has nothing beside it.
func (a *app) writeReport(in *importFlags, report *importers.Report) error {
	data, err := json.MarshalIndent(report, "", " ")
	if err != nil {
		return err
	}
	data = append(data, '\n')
	if in.format == "json" {
		if _, err := a.stdout.Write(data); err != nil {
			return err
		}
	}
	if in.out == "" || in.out == "-" {
		if in.format != "json" {
			_, err = a.stderr.Write(data)
		}
		return err
	}
	if info, err := os.Stat(in.out); err == nil && !info.Mode().IsRegular() {
		return nil
	}
	return rundir.WriteFile(in.out+".source.json", data)
}

// writeCatalogue writes names as the CSV that models.from of an experiment
// reads: memory and times are for its defaults, or for more columns, to say.
func writeCatalogue(path string, names []string) error {
	return rundir.Replace(path, func(w io.Writer) error {
		out := csv.NewWriter(w)
		out.Write([]string{"name"})
		for _, name := range slices.Sorted(slices.Values(names)) {
			out.Write([]string{name})
		}
		out.Flush()
		return out.Error()
	})
}
