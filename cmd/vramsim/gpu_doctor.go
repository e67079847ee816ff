package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vramsim/vramsim/nvml"
	"github.com/vramsim/vramsim/nvml/binding"
	"github.com/vramsim/vramsim/nvml/cuda"
	"github.com/vramsim/vramsim/nvml/doctor"
	"github.com/vramsim/vramsim/nvml/scratch"
	"github.com/vramsim/vramsim/results/summary"
	"github.com/vramsim/vramsim/results/table"
)

// doctorFlags are those of gpu doctor.
type doctorFlags struct {
	executor string
	gpus     []string
	folder   string
	worker   string
	http     httpFlags
	shared   bool
	json     bool
	selfTest bool
}

func newGPUDoctor(a *app) *cobra.Command {
	var f doctorFlags
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "examine card, driver and machine: what works, what it costs, what to do about the rest",
		Long: `Examine what a run on the physical card stands on, and say of each thing that is
not well what to do about it: driver, devices, other users, memory, telemetry
with the cost of its calls and how often its values change, link, page cache.
It only reads, but for a small file in --folder.

A call of the driver that has not returned within 5 s is reported by its name,
and what hangs is left alone.

What is missing depends on --executor: cuda needs a card, worker uses one if
there is one, sleep and http need none. --worker starts the worker on the first
card that is free and reads what it says of itself; --server asks an inference
server for its models. Exit code 6 if what is needed is missing,
5 if a card is used by others or cut into instances (MIG), else 0.

--selftest makes happen what runs have to survive, on each card, and looks
whether all memory comes back: a load, running out of memory, a cancelled batch,
memory that another process takes, one that is killed. --executor sleep fails it:
it takes no memory.

--json prints all of it; the form is documented in package nvml/doctor.`,
		Args: exactly(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.worker != "" && !cmd.Flags().Changed("executor") {
				f.executor = "worker"
			}
			if len(f.http.servers) > 0 && !cmd.Flags().Changed("executor") {
				f.executor = "http"
			}
			return a.gpuDoctor(cmd.Context(), &f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.executor, "executor", "cuda", "`name` of the executor that is to run: "+strings.Join(doctorExecutors(), ", "))
	flags.StringArrayVar(&f.gpus, "gpu", nil, "`UUID` of a card to examine; all if left out (repeatable)")
	flags.StringVar(&f.worker, "worker", "", "`command` of a worker to start and ask for its device and libraries; for --executor worker")
	f.http.add(flags)
	flags.StringVar(&f.folder, "folder", ".", "`folder` that weights will be loaded from")
	flags.BoolVar(&f.shared, "shared", false, "others may use the card: they are a warning")
	flags.BoolVar(&f.json, "json", false, "print everything as JSON")
	flags.BoolVar(&f.selfTest, "selftest", false, "make happen what runs have to survive, on each card")
	return cmd
}

func doctorExecutors() []string { return []string{"cuda", "worker", "http", "sleep"} }

// requirement is what an executor needs of a card.
func requirement(executor string) doctor.Requirement {
	switch executor {
	case "cuda":
		return doctor.NeedsCard
	case "worker":
		return doctor.AnyCard
	}
	return doctor.NoCard
}

func (a *app) gpuDoctor(ctx context.Context, f *doctorFlags) (err error) {
	o, err := f.options()
	if err != nil {
		return err
	}
	card, clean, err := f.card()
	if err != nil {
		return err
	}
	o.Probe = newProbe()
	defer func() {
		closing := o.Probe.Close()
		if errors.Is(closing, nvml.ErrHung) {
			closing = nil // it stays open; the report says what hangs
		}
		err = errors.Join(err, closing, clean())
	}()
	if card.executor != nil && o.Needs.Card != doctor.NoCard {
		o.Rig = doctor.RigOf(card.executor, os.Getpid())
	}
	r, err := doctor.Run(ctx, o)
	if err == nil && f.selfTest {
		err = a.selfTest(ctx, o.Probe, card, r)
	}
	// What was found until an interruption is printed, too.
	if err := errors.Join(err, a.printDoctor(r, f.json)); err != nil {
		return err
	}
	return doctorVerdict(r)
}

// newProbe finds the GPUs of this machine, with patience.
func newProbe() nvml.Probe { return nvml.BoundedProbe(binding.New(), nvml.DefaultPatience) }

// options are what is to be examined.
func (f *doctorFlags) options() (o doctor.Options, err error) {
	if !slices.Contains(doctorExecutors(), f.executor) {
		return o, unknown("executor", f.executor, doctorExecutors())
	}
	o = doctor.Options{Folder: f.folder, Own: []int{os.Getpid()}, Needs: doctor.Needs{Card: requirement(f.executor), Devices: f.gpus, Shared: f.shared}}
	if f.worker != "" {
		check, err := workerCheck(f.worker)
		if err != nil {
			return o, err
		}
		o.Checks = append(o.Checks, check)
	}
	if len(f.http.servers) > 0 {
		check, err := serverCheck(&f.http)
		if err != nil {
			return o, err
		}
		o.Checks = append(o.Checks, check)
	}
	switch {
	case f.executor == "cuda":
		o.Checks = append(o.Checks, cudaCheck(cuda.DefaultPinLimit))
	case f.executor == "worker" && f.worker == "":
		o.Checks = append(o.Checks, notAsked("worker", "was not started", "--worker COMMAND starts it and asks for its device and libraries"))
	case f.executor == "http" && len(f.http.servers) == 0:
		o.Checks = append(o.Checks, notAsked("server", "was not asked", "--server KIND=URL asks it for its version and models"))
	}
	return o, nil
}

// notAsked says that what a run needs was not looked at.
func notAsked(check, found, advice string) doctor.Check {
	return func(context.Context, []nvml.DeviceInfo) []doctor.Finding {
		return []doctor.Finding{{Check: check, Level: doctor.Warn, Found: found, Advice: advice}}
	}
}

// card is the executor to try, with a folder of its own for its weights, which
// clean removes.
func (f *doctorFlags) card() (c cardExecutor, clean func() error, err error) {
	if f.executor != "cuda" || !binding.Linked {
		return cardExecutorOf(f.executor, ""), func() error { return nil }, nil
	}
	folder, err := scratch.Make(f.folder, "vramsim-doctor-")
	if err != nil {
		return c, nil, err
	}
	return cardExecutorOf(f.executor, folder.Path()), folder.Remove, nil
}

// examine asks the doctor before a run for what its executor needs of the cards
// that it will use. What a run can live with is a warning.
func (a *app) examine(ctx context.Context, c *cards, f *executorFlags) error {
	var uuids []string
	for _, t := range c.open {
		uuids = append(uuids, t.Info().UUID)
	}
	if uuids == nil {
		return nil // whoever needs a card has been refused
	}
	o := doctor.Options{Probe: c.probe, Own: []int{os.Getpid()}, Window: time.Nanosecond,
		Needs: doctor.Needs{Card: requirement(f.name), Devices: uuids, Shared: f.shared}}
	if f.name == "cuda" {
		o.Checks = append(o.Checks, cudaCheck(cudaNeeds))
	}
	r, err := doctor.Run(ctx, o)
	if err != nil {
		return err
	}
	for _, x := range r.Findings {
		if x.Level == doctor.Warn {
			a.warnf("%s: %s; %s", x.Check, x.Found, x.Advice)
		}
	}
	return doctorVerdict(r)
}

// doctorVerdict is the error of a machine that is not ready.
func doctorVerdict(r *doctor.Report) error {
	code := map[doctor.Status]int{doctor.StatusMissing: exitHardware, doctor.StatusBusy: exitInvalid}[r.Status]
	if code == exitOK {
		return nil
	}
	hint := ""
	for _, f := range r.Findings {
		if f.Level == doctor.Fail && hint == "" {
			hint = f.Advice
		}
	}
	for _, s := range r.SelfTest {
		if s.Level == doctor.Fail && hint == "" {
			hint = s.Advice
		}
	}
	return &exitError{code: code, err: errors.New(strings.Join(r.Reasons, "\n       ")), hint: hint}
}

func (a *app) printDoctor(r *doctor.Report, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(a.stdout)
		e.SetIndent("", " ")
		return e.Encode(r)
	}
	if err := a.printFindings("Machine", findingsOf(r, nvml.DeviceInfo{})); err != nil {
		return err
	}
	for _, d := range r.Devices {
		if err := a.printFindings(fmt.Sprintf("GPU %d: %s", d.Info.Index, d.Info.UUID), findingsOf(r, d.Info)); err != nil {
			return err
		}
	}
	var steps []doctor.Finding
	for _, s := range r.SelfTest {
		steps = append(steps, doctor.Finding{Check: s.Name, Level: s.Level, Found: s.Found, Advice: s.Advice})
	}
	return a.printFindings("Self-test", steps)
}

// findingsOf are the findings about one device or, without its UUID, about the
// machine.
func findingsOf(r *doctor.Report, info nvml.DeviceInfo) (some []doctor.Finding) {
	examined := map[string]bool{}
	for _, d := range r.Devices {
		examined[d.Info.UUID] = true
	}
	for _, f := range r.Findings {
		// What is said of a device that could not be examined stands with the machine.
		if f.Device == info.UUID || info.UUID == "" && !examined[f.Device] {
			some = append(some, f)
		}
	}
	return some
}

// printFindings prints a table and, below it, what to do.
func (a *app) printFindings(title string, findings []doctor.Finding) error {
	if len(findings) == 0 {
		return nil
	}
	g := table.Grid{Columns: []table.Column{{Title: "check"}, {Title: "found"}, {Title: "state"}}}
	verdict := map[doctor.Level]string{doctor.OK: summary.Better, doctor.Warn: summary.Underpowered, doctor.Fail: summary.Worse}
	var advice []string
	for _, f := range findings {
		g.Rows = append(g.Rows, table.Row{Cells: []string{f.Check, f.Found, string(f.Level)}, Verdict: verdict[f.Level], Status: summary.Valid, Chosen: f.Level == doctor.Fail})
		if f.Level != doctor.OK {
			advice = append(advice, fmt.Sprintf("%s: %s", f.Check, f.Advice))
		}
	}
	fmt.Fprintln(a.stdout, table.Escape(title))
	if err := table.WriteGrid(a.stdout, g, a.tableOptions()); err != nil {
		return err
	}
	for _, line := range advice {
		fmt.Fprintf(a.stdout, "- %s\n", table.Escape(line))
	}
	_, err := fmt.Fprintln(a.stdout)
	return err
}
