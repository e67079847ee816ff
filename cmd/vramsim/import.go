package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vramsim/vramsim/results/rundir"
	"github.com/vramsim/vramsim/workloads/importers"
)

func importFormats() []string {
	var names []string
	for _, f := range importers.Formats() {
		names = append(names, f.Name)
	}
	return append(names, importers.Presets()...)
}

func newImport(a *app) *cobra.Command {
	var format, out, service string
	cmd := &cobra.Command{
		Use:   "import FILE --as FORMAT -o TRACE",
		Short: "turn a recorded trace into a native one",
		Long: `Turn a recorded trace into a native one. Beside it goes a report that reconciles
rows read, emitted and dropped by reason, TRACE.source.json; with -o - it goes
to standard error. Formats: ` + strings.Join(importFormats(), ", ") + ".",
		Args: exactly(1, "a file, archive or folder"),
		RunE: func(_ *cobra.Command, args []string) error {
			if format == "" {
				return usagef("import needs --as: one of %s", strings.Join(importFormats(), ", "))
			}
			var opt importers.Options
			if service != "" {
				s, err := importers.ParseService(service)
				if err != nil {
					return err
				}
				opt.Service = s
			}
			return a.importTrace(args[0], format, out, opt)
		},
	}
	cmd.Flags().StringVar(&format, "as", "", "`format` of the file")
	cmd.Flags().StringVarP(&out, "output", "o", "-", "`file` to write (.gz: compressed), - for standard output")
	cmd.Flags().StringVar(&service, "service", "", "service times: `exec`, as recorded, or base=50ms,in=0.2ms,out=20ms by tokens")
	return cmd
}

func (a *app) importTrace(path, format, out string, opt importers.Options) error {
	var report *importers.Report
	err := a.writeTrace(out, func(w io.Writer) (n int64, err error) {
		report, err = importers.Import(w, path, format, opt)
		if err != nil {
			return 0, err
		}
		return report.Emitted, nil
	})
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(report, "", " ")
	if err != nil {
		return err
	}
	data = append(data, '\n')
	if out == "-" {
		_, err = fmt.Fprintf(a.stderr, "%s", data)
		return err
	}
	return rundir.WriteFile(out+".source.json", data)
}
