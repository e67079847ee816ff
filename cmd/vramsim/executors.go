package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vramsim/vramsim/nvml/cuda"
	"github.com/vramsim/vramsim/nvml/httpx"
	"github.com/vramsim/vramsim/nvml/worker"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/sim/experiment"
)

// executorFlags choose what carries out commands, and how.
type executorFlags struct {
	name       string
	gpus       []string
	weights    string
	hostTier   string
	worker     string
	workerMode string
	work       string
	ballast    bool
	http       httpFlags
	shared     bool // others use the card, too

	changed func(flag string) bool
	command []string // of the worker
}

func (f *executorFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	f.changed = flags.Changed
	flags.StringVar(&f.name, "executor", "cuda", "`name` of what carries out loads and batches: "+strings.Join(executorNames(), ", "))
	flags.StringArrayVar(&f.gpus, "gpu", nil, "`UUID` of the card for the next GPU of the experiment; the first ones if left out (repeatable)")
	flags.StringVar(&f.weights, "weights", "", "`folder` that weights are written to and kept in; a temporary one if left out"+only("weights"))
	flags.StringVar(&f.hostTier, "host-tier", "pagecache", "what loads from the host tier read: `pagecache` or pinned memory"+only("host-tier"))
	flags.StringVar(&f.worker, "worker", "", "`command` of the child process that runs the models"+only("worker"))
	flags.StringVar(&f.workerMode, "worker-mode", "shared", "`shared` process for all models, or isolated ones"+only("worker-mode"))
	flags.StringVar(&f.work, "work", "spin", "what batches do: `spin` for as long as is expected, or fit, computation of a fitted size"+only("work"))
	flags.BoolVar(&f.ballast, "ballast", true, "fill up a card that is larger than the experiment's; =false leaves it as it is"+only("ballast"))
	f.http.add(flags)
}

// executorsOf says which executors a flag is for.
func executorsOf() map[string][]string {
	real := []string{"cuda", "worker", "http"}
	return map[string][]string{"gpu": {"cuda", "worker", "http"}, "shared": real, "strict-vram": {"cuda", "worker"}, "sampling": real, "weights": {"cuda", "worker"}, "host-tier": {"cuda", "worker"}, "work": {"cuda"}, "ballast": {"cuda"}, "worker": {"worker"}, "worker-mode": {"worker"},
		"server": {"http"}, "server-name": {"http"}, "server-token": {"http"}, "server-ca": {"http"}, "allow-remote": {"http"}}
}

func only(flag string) string { return " (" + strings.Join(executorsOf()[flag], ", ") + ")" }

func executorNames() []string { return []string{"cuda", "worker", "http", "sleep"} }

// validate refuses what says nothing, and reads the rest.
func (f *executorFlags) validate() (err error) {
	if !slices.Contains(executorNames(), f.name) {
		return unknown("executor", f.name, executorNames())
	}
	for _, flag := range slices.Sorted(mapKeys(executorsOf())) {
		if f.changed(flag) && !slices.Contains(executorsOf()[flag], f.name) {
			return usagef("--%s says nothing to --executor %s: it is for %s", flag, f.name, strings.Join(executorsOf()[flag], ", "))
		}
	}
	switch {
	case f.hostTier != "pagecache" && f.hostTier != "pinned":
		return unknown("host tier", f.hostTier, []string{"pagecache", "pinned"})
	case f.workerMode != "shared" && f.workerMode != "isolated":
		return unknown("worker mode", f.workerMode, []string{"shared", "isolated"})
	case f.work != "spin" && f.work != "fit":
		return unknown("kind of work", f.work, []string{"spin", "fit"})
	}
	switch f.name {
	case "worker":
		return f.readWorker()
	case "http":
		return f.http.read()
	}
	return nil
}

func (f *executorFlags) readWorker() (err error) {
	if f.worker == "" {
		return withHint(usagef("--executor worker needs --worker COMMAND"), "vramsim gpu worker -o worker.py writes the reference one: --worker 'python3 worker.py'")
	}
	if f.command, err = worker.SplitCommand(f.worker); err != nil {
		return usagef("--worker: %v", err)
	}
	return nil
}

// physical reports whether commands are carried out by something real.
func (f *executorFlags) physical() bool { return f.name != "sleep" }

// needsCard reports whether nothing can be done without a card of this machine.
func (f *executorFlags) needsCard() bool { return f.name == "cuda" }

// label says why the figures are none of hardware, "" if they are.
func (f *executorFlags) label(c *cards) string {
	switch {
	case f.name == "sleep":
		return "no hardware figures: the executor only sleeps"
	case f.name == "http":
		return ""
	case len(c.open) == 0:
		return "no hardware figures: no card was seen"
	}
	for _, t := range c.open {
		if name := t.Info().Name; strings.HasPrefix(name, "Fake") {
			return "no hardware figures: the card is a " + name
		}
	}
	return ""
}

// unranked says why no policy may be chosen by the figures, "" if one may.
func (f *executorFlags) unranked() string {
	if f.name == "http" {
		return f.http.unranked()
	}
	return ""
}

// settings are what the manifest says of the executor.
func (f *executorFlags) settings() map[string]string {
	s := map[string]string{}
	for flag, executors := range executorsOf() {
		if !slices.Contains(executors, f.name) {
			continue
		}
		switch flag {
		case "host-tier":
			s[flag] = f.hostTier
		case "worker":
			s[flag] = strings.Join(f.command, " ")
		case "worker-mode":
			s[flag] = f.workerMode
		case "work":
			s[flag] = f.work
		case "ballast":
			s[flag] = strconv.FormatBool(f.ballast)
		case "server":
			f.http.settings(s)
		}
	}
	return s
}

// equipment is the executors of one unit, on all its devices.
type equipment struct {
	executors []scheduler.Executor
	sleeping  *sleeping // nil if they are real
}

// equip makes executors that nobody keeps; tell is for what happens beside
// their outcomes.
func (f *executorFlags) equip(setup *experiment.Setup, c *cards, tell func(string)) (*equipment, error) {
	if !f.physical() {
		s := newSleeping(setup)
		return &equipment{s.executors(), s}, nil
	}
	e := &equipment{}
	for d, spec := range setup.Config.Devices {
		x, err := (&bench{flags: f, cards: c, device: d, spec: spec, tell: tell}).open()
		if err != nil {
			return nil, err
		}
		e.executors = append(e.executors, x)
	}
	return e, nil
}

// failed is what went wrong beside the outcomes.
func (e *equipment) failed() error {
	if e.sleeping == nil {
		return nil
	}
	return e.sleeping.failed
}

// bench makes the executors of one device, for a run directory.
type bench struct {
	flags  *executorFlags
	cards  *cards
	device int
	spec   scheduler.Device // of the unit
	log    string           // file for what a worker says; empty: none
	tell   func(string)     // for what happens beside outcomes
	made   scheduler.Executor
}

// open makes an executor for the device as it is in the unit.
func (b *bench) open() (x scheduler.Executor, err error) {
	defer func() { b.made = x }()
	switch b.flags.name {
	case "cuda":
		return b.openCUDA()
	case "worker":
		return b.openWorker()
	case "http":
		return b.openHTTP()
	}
	return nil, fmt.Errorf("there is no executor %q", b.flags.name)
}

// about is what the executor that was made last says of itself.
func (b *bench) about(settings map[string]string) {
	switch x := b.made.(type) {
	case *worker.Executor:
		if h := x.Hello(); h != nil {
			settings["worker-is"] = h.Worker + " " + h.Version
			for name, version := range h.Versions {
				settings["worker-"+name] = version
			}
		}
	case *httpx.Executor:
		settings["server-is"] = x.Version()
		if x.ObserveOnly() {
			settings["server-moves"] = strconv.Itoa(x.Moves())
		}
	}
}

// observed tells what the card says that is ours, nil where it cannot tell.
func (b *bench) observed() func() (scheduler.Bytes, error) {
	if b.device >= len(b.cards.open) || b.flags.shared {
		return nil
	}
	card, before := b.cards.open[b.device], b.cards.used[b.device]
	return func() (scheduler.Bytes, error) {
		m, err := card.Memory()
		return m.Used - before, err
	}
}

// openCUDA makes an executor on the card itself. One that is larger than the
// experiment's is filled up, so that memory runs out where it would there.
func (b *bench) openCUDA() (scheduler.Executor, error) {
	f := b.flags
	folder, err := b.cards.folder(f.weights)
	if err != nil {
		return nil, err
	}
	cfg := cuda.Config{UUID: b.cards.uuid(b.device), Work: cuda.Work(f.work), HostTier: cuda.HostTier(f.hostTier), Dir: folder, Keep: f.weights != ""}
	if f.ballast && b.device < len(b.cards.open) && b.cards.open[b.device].Info().Memory > b.spec.Memory {
		cfg.Ballast, cfg.Memory = true, b.spec.Memory
	}
	return cuda.New(cfg), nil
}

func (b *bench) openWorker() (scheduler.Executor, error) {
	f := b.flags
	return worker.New(worker.Config{Command: f.command, Mode: worker.Mode(f.workerMode), HostTier: worker.HostTier(f.hostTier),
		Dir: f.weights, Device: b.cards.uuid(b.device), Environ: os.Environ(), Stderr: b.log, Observed: b.observed(), Notice: b.notice})
}

// notice keeps which processes are ours, and passes on what people want to
// know.
func (b *bench) notice(n worker.Notice) {
	switch n.Kind {
	case worker.Started, worker.Spawned:
		b.cards.ours.add(n.PID)
	case worker.Gone:
		b.cards.ours.gone(n.PID)
	case worker.Respawned: // it has been told as the start that it was
	default:
		b.tell(fmt.Sprintf("worker: %s: %s", n.Kind, n.Text))
	}
}
