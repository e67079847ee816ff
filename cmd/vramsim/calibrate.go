package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vramsim/vramsim/nvml/calibrate"
	"github.com/vramsim/vramsim/nvml/profile"
	"github.com/vramsim/vramsim/results/rundir"
	"github.com/vramsim/vramsim/workloads/importers"
)

// calibrateFlags are those of the verb.
type calibrateFlags struct {
	out, as, models, fit string
	from                 []string
	maxBytes             int64
	family               calibrate.Family
	card                 cardFlags
}

func newCalibrate(a *app) *cobra.Command {
	var in calibrateFlags
	cmd := &cobra.Command{
		Use:   "calibrate -o PROFILE --from FILE... | --executor NAME FILE",
		Short: "measure load and batch costs, or take them from records and logs, as a profile",
		Long: `Make a profile: measured costs of models, for hardware.profile of an experiment.

With --from FILE --as FORMAT, from recorded load times; formats: ` + strings.Join(loadFormats(), ", ") + `.
Beside the profile a line for each fit says how far its mean and quantiles are
from those of the samples; above 3 % the samples' own quantiles are used.

With --from RUN or --from LOG, from the event logs of finished runs: loads by
tier with first uses apart, evictions, batches by size, and how late timers were.

With --executor NAME FILE, on a device: the models of the experiment are loaded,
run and evicted in a random order until the medians are known to 3 %.`,
		Example: "  vramsim calibrate --from basemodel_update_latency_anon.tar.gz --as gentd26-loads --fit mixture:2 -o profile.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.calibrate(cmd, args, &in)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&in.out, "output", "o", "-", "`file` to write, - for standard output")
	flags.StringArrayVar(&in.from, "from", nil, "`file` of recorded load times, run directory or event log (repeatable; arguments are more of them)")
	flags.StringVar(&in.as, "as", "", "`format` of recorded load times")
	flags.StringVar(&in.models, "models", "", "CSV `file` of the models: name, and if need be recorded (their name in the records) and memory")
	flags.StringVar(&in.fit, "fit", "empirical", "`family` of load times: empirical, lognormal, mixture:2")
	flags.Int64Var(&in.maxBytes, "max-bytes", 0, "most `bytes` that a compressed file may expand to (default 16 GiB)")
	in.card.add(cmd)
	return cmd
}

func loadFormats() []string {
	var names []string
	for _, f := range importers.LoadFormats() {
		names = append(names, f.Name)
	}
	return names
}

// calibrate makes a profile from what the flags name.
func (a *app) calibrate(cmd *cobra.Command, args []string, in *calibrateFlags) (err error) {
	if err := in.validate(cmd, args); err != nil {
		return err
	}
	var p *profile.Profile
	var comment []string
	switch {
	case in.as != "":
		p, comment, err = a.fromRecords(cmd.Context(), append(in.from, args...), in)
	case len(in.from) > 0:
		p, comment, err = a.fromLogs(cmd.Context(), append(in.from, args...), in)
	default:
		p, comment, err = a.fromCard(cmd, args, in)
	}
	if err != nil {
		return err
	}
	return a.writeProfile(in.out, p, comment)
}

// validate refuses flags that say nothing where they stand.
func (f *calibrateFlags) validate(cmd *cobra.Command, args []string) (err error) {
	device := cmd.Flags().Changed("executor") || cmd.Flags().Changed("stages") || cmd.Flags().Changed("gpu")
	switch {
	case len(f.from) == 0 && !device:
		return withHint(usagef("calibrate needs --from FILE, or --executor NAME and an experiment"), "vramsim calibrate --help shows both")
	case len(f.from) > 0 && device:
		return usagef("--from needs no device: leave out --executor, --stages and --gpu")
	case len(f.from) == 0 && f.as != "":
		return usagef("--as %s says what --from is, which is missing", f.as)
	case f.as != "" && !slices.Contains(loadFormats(), f.as):
		return unknown("format of recorded load times", f.as, loadFormats())
	case f.as == "" && f.models != "":
		return usagef("--models maps the names of recorded load times: it needs --as")
	case f.as == "" && cmd.Flags().Changed("max-bytes"):
		return usagef("--max-bytes is for recorded load times: it needs --as")
	case f.card.hostTier != "pagecache" && f.card.hostTier != "pinned":
		return unknown("host tier", f.card.hostTier, []string{"pagecache", "pinned"})
	case f.as != "" && cmd.Flags().Changed("host-tier"):
		return usagef("recorded load times are from disk: leave out --host-tier")
	case f.maxBytes < 0:
		return usagef("--max-bytes %d: at least 0", f.maxBytes)
	}
	for _, path := range append(f.from, args...) {
		if sameFile(path, f.out) {
			return usagef("-o %s is the input", f.out)
		}
	}
	if f.family, err = calibrate.ParseFamily(f.fit); err != nil {
		return &exitError{code: exitUsage, err: fmt.Errorf("--fit: %w", err)}
	}
	return nil
}

// writeProfile writes a profile as a whole or not at all, and says so if it
// replaces one.
func (a *app) writeProfile(out string, p *profile.Profile, comment []string) error {
	if out == "-" {
		return p.Write(a.stdout, comment...)
	}
	info, err := os.Stat(out)
	if err == nil && info.IsDir() {
		return withHint(usagef("-o %s is a folder", out), "name a file in it, like profile.yaml")
	}
	replaced := err == nil && info.Mode().IsRegular()
	if err := rundir.Replace(out, func(w io.Writer) error { return p.Write(w, comment...) }); err != nil {
		return err
	}
	if replaced {
		a.infof("%s was there and is replaced", out)
	}
	return nil
}

// fits prints how well what was fitted fits, equal lines once.
func (a *app) fits(all []calibrate.Summarised) {
	for _, s := range all {
		a.infof("%s, %s: %v", s.Model, s.What, s.Summary)
	}
}

// combinedDigest is the digest of a source, or one over those of several as
// sha256sum lists them.
func combinedDigest(names, digests []string) string {
	if len(digests) == 1 {
		return digests[0]
	}
	h := sha256.New()
	for i, d := range digests {
		fmt.Fprintf(h, "%s  %s\n", d, names[i])
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// fromRecords makes a profile of recorded load times.
func (a *app) fromRecords(ctx context.Context, paths []string, in *calibrateFlags) (*profile.Profile, []string, error) {
	defer frugal()()
	var loads []importers.Loads
	var digests, names []string
	for _, path := range paths {
		more, report, err := a.readLoads(ctx, path, in)
		if err != nil {
			return nil, nil, err
		}
		digests, names = append(digests, report.SHA256), append(names, report.Source)
		loads = mergeLoads(loads, more)
		for _, w := range report.Warnings() {
			a.warnf("%s", w)
		}
		a.infof("%s: %d rows, %d load times%s", report.Source, report.RowsRead, report.Emitted, dropped(report.Dropped))
	}
	p := &profile.Profile{Measured: &profile.Measured{Executor: in.as, Status: "VALID", RawSHA256: combinedDigest(names, digests)}}
	comment := []string{"Load times recorded elsewhere: " + strings.Join(names, ", "), "vramsim calibrate " + strings.Join(calibrateArgs(a.args), " ")}
	if in.as == "gentd26-loads" {
		comment = append(comment, "Rows are means per 57 s and container, so the spread of single loads is understated.")
	}
	rows, err := in.modelRows(loads)
	if err != nil {
		return nil, nil, err
	}
	return p, comment, a.fitRows(p, rows, loads, in.family)
}

// calibrateArgs are the arguments after the verb, for the comment.
func calibrateArgs(args []string) []string {
	if i := slices.Index(args, "calibrate"); i >= 0 {
		return args[i+1:]
	}
	return args
}

func dropped(reasons map[string]int64) string {
	text := ""
	for _, reason := range slices.Sorted(mapKeys(reasons)) {
		text += fmt.Sprintf(", %d %s", reasons[reason], reason)
	}
	return text
}

func (a *app) readLoads(ctx context.Context, path string, in *calibrateFlags) (loads []importers.Loads, report *importers.Report, err error) {
	file, name, done, err := a.spooled(ctx, path)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, done()) }()
	opt := importers.LoadOptions{MaxBytes: in.maxBytes, Interrupted: func() error { return context.Cause(ctx) }}
	if name != file {
		opt.Name = name
	}
	return importers.ReadLoads(file, in.as, opt)
}

// mergeLoads puts load times of one name together.
func mergeLoads(all, more []importers.Loads) []importers.Loads {
	for _, l := range more {
		i := slices.IndexFunc(all, func(o importers.Loads) bool { return o.Name == l.Name })
		if i < 0 {
			all = append(all, l)
			continue
		}
		all[i].Times = append(all[i].Times, l.Times...)
	}
	return all
}
