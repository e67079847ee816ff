package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/results/eventlog"
	"github.com/vramsim/vramsim/results/metrics"
	"github.com/vramsim/vramsim/results/rundir"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/sim/experiment"
)

// fork is a policy that does as one policy until a time and as another from
// then on. Both observe everything from the start, so that the second knows
// what it would know had it been there. It is an evictor too.
type fork struct {
	policies [2]scheduler.Policy
	evictors [2]scheduler.Evictor
	at       scheduler.Time
}

func (f *fork) side(v *scheduler.View) int {
	if v.Now() < f.at {
		return 0
	}
	return 1
}

// Next implements scheduler.Policy.
func (f *fork) Next(v *scheduler.View) scheduler.Decision { return f.policies[f.side(v)].Next(v) }

// Observe implements scheduler.Observer.
func (f *fork) Observe(v *scheduler.View, ev scheduler.Event) {
	for _, p := range f.policies {
		if o, ok := p.(scheduler.Observer); ok {
			o.Observe(v, ev)
		}
	}
}

// Victim implements scheduler.Evictor.
func (f *fork) Victim(v *scheduler.View, d scheduler.DeviceID, need scheduler.Bytes, incoming scheduler.ModelID) (scheduler.ModelID, bool) {
	e := f.evictors[f.side(v)]
	if e == nil {
		return scheduler.NoModel, false
	}
	return e.Victim(v, d, need, incoming)
}

// prefix is a sink that holds a run against a log up to a time: what happened
// before the fork must happen again.
type prefix struct {
	log  func() (scheduler.Event, error, bool)
	upto scheduler.Time
	seq  int64
	done bool
}

// Append implements scheduler.Sink.
func (p *prefix) Append(events []scheduler.Event) error {
	for _, ev := range events {
		if p.done = p.done || ev.At >= p.upto; p.done {
			return nil
		}
		want, err, ok := p.log()
		if err != nil {
			return err
		}
		if !ok || want != ev {
			return &scheduler.Divergence{Seq: p.seq, Want: want, Got: ev}
		}
		p.seq++
	}
	return nil
}

// whatIf reruns the simulation of a log, under another policy from a time on.
func (a *app) whatIf(ctx context.Context, path, policy, at, cellID, from string, replicate int) error {
	time, err := scheduler.ParseTime(at)
	if err != nil || time < 0 {
		return usagef("--at %q: it is a time since the start of the run, like 2h", at)
	}
	logPath, err := logToFork(path, cellID, from, replicate)
	if err != nil {
		return err
	}
	warmup, err := warmupOf(ctx, logPath)
	if err != nil {
		return err
	}
	was, end, err := foldLog(logPath, warmup)
	if err != nil {
		return err
	}
	if time > end {
		return usagef("--at %s: the log ends at %v, nothing is left to take over then", at, end)
	}
	forked, names, err := a.runFork(ctx, logPath, policy, time, warmup)
	if err != nil {
		return err
	}
	return writeFork(a.stdout, names, time, was, forked)
}

// logToFork is the log that the arguments name: itself, or one of a run.
func logToFork(path, cellID, policy string, replicate int) (string, error) {
	if filepath.Ext(path) == ".log" {
		return path, nil
	}
	s, dir, err := readSummary(path)
	if err != nil {
		return "", err
	}
	cell, policy, err := choose(s, cellID, policy)
	if err != nil {
		return "", err
	}
	r, err := openLog(dir, cell, policy, replicate)
	if err != nil {
		return "", err
	}
	return dir.Join(rundir.Replicate(cell.ID, policy, replicate), "events.log"), r.Close()
}

// cellOf is the cell of a log's header, with the policies that are named or, of
// none, those that were run.
func cellOf(h eventlog.Header, names []string) (*experiment.Cell, error) {
	exp, err := experiment.Parse("header", ".", []byte(h.Experiment), policies.Builtin(), experiment.Options{Search: traceFolders(), Policies: names})
	if err != nil {
		return nil, err
	}
	for _, cell := range exp.Cells {
		if cell.ID == h.Cell {
			return cell, nil
		}
	}
	return nil, fmt.Errorf("the experiment in the log's header has no cell %q", h.Cell)
}

// warmupOf is the warm-up of the run that a log is of, be it found: then all
// the policies of that run had a say in it.
func warmupOf(ctx context.Context, path string) (w experiment.Warmup, err error) {
	r, err := eventlog.Open(path)
	if err != nil {
		return w, logError(err)
	}
	defer r.Close()
	cell, err := cellOf(r.Header(), nil)
	if err != nil {
		return w, err
	}
	return cell.Warmup(ctx)
}

// setups prepares the run of a log's header under its own policy and another.
func setups(h eventlog.Header, policy string, warmup experiment.Warmup) (both [2]*experiment.Setup, err error) {
	names := []string{h.Policy}
	if policy != h.Policy {
		names = append(names, policy)
	}
	cell, err := cellOf(h, names)
	if err != nil {
		return both, err
	}
	cell.Settle(warmup)
	for i := range both {
		if both[i], err = cell.Setup(min(i, len(names)-1), h.Replicate, thisBuild().Version); err != nil {
			for _, made := range both[:i] {
				err = errors.Join(err, made.Close())
			}
			return both, err
		}
	}
	return both, nil
}

// foldLog returns the result of a log and when it ends.
func foldLog(path string, warmup experiment.Warmup) (result *metrics.Result, end scheduler.Time, err error) {
	r, err := eventlog.Open(path)
	if err != nil {
		return nil, 0, logError(err)
	}
	defer r.Close()
	h := r.Header()
	both, err := setups(h, h.Policy, warmup)
	if err != nil {
		return nil, 0, err
	}
	defer both[0].Close()
	defer both[1].Close()
	fold, err := metrics.New(foldConfig(both[0], nil, false))
	if err != nil {
		return nil, 0, err
	}
	for {
		events, err := r.Next()
		if err == io.EOF {
			return fold.Result(), end, nil
		}
		if err != nil {
			return nil, 0, logError(err)
		}
		if err := fold.Append(events); err != nil {
			return nil, 0, err
		}
		if len(events) > 0 {
			end = events[len(events)-1].At
		}
	}
}

// forkConfig is the configuration of a core under the fork of two setups. An
// item's place in its queue is fixed when it becomes ready, and keys of two
// orders do not compare: another order can only be there from the start.
func forkConfig(both [2]*experiment.Setup, at scheduler.Time) (scheduler.Config, error) {
	f := &fork{at: at}
	for i, s := range both {
		f.policies[i], f.evictors[i] = s.Config.Policy, s.Config.Evictor
	}
	cfg := both[0].Config
	cfg.Policy, cfg.Evictor, cfg.Waits = f, f, cfg.Waits || both[1].Config.Waits
	was, will := orderOf(both[0].Policy), orderOf(both[1].Policy)
	switch {
	case at == 0:
		cfg.Order = both[1].Config.Order
	case was != will:
		return cfg, withHint(usagef("%s cannot take over from %s at %v: it orders queues by %s, not %s, and what waits keeps its place", both[1].Policy.Name, both[0].Policy.Name, at, will, was),
			"policies of different orders can be compared from the start, --at 0s")
	}
	return cfg, nil
}

// orderOf spells the order inside queues of a policy, with its parameters.
func orderOf(row experiment.Row) string {
	name, params := "fifo", ""
	for _, s := range row.Settings {
		if s.Path == "order" {
			name = s.Value
		} else if key, ok := strings.CutPrefix(s.Path, "order."+name+"."); ok {
			params += fmt.Sprintf(" %s=%s", key, s.Value)
		}
	}
	return name + params
}

// runFork simulates the fork and returns its result and what the two policies
// are called.
func (a *app) runFork(ctx context.Context, path, policy string, at scheduler.Time, warmup experiment.Warmup) (result *metrics.Result, names [2]string, err error) {
	r, err := eventlog.Open(path)
	if err != nil {
		return nil, names, logError(err)
	}
	defer r.Close()
	both, err := setups(r.Header(), policy, warmup)
	if err != nil {
		return nil, names, err
	}
	defer func() { err = errors.Join(err, both[0].Close(), both[1].Close()) }()
	names = [2]string{both[0].Policy.Name, both[1].Policy.Name}
	cfg, err := forkConfig(both, at)
	if err != nil {
		return nil, names, err
	}
	core, err := scheduler.New(cfg)
	if err != nil {
		return nil, names, err
	}
	fold, err := metrics.New(foldConfig(both[0], nil, false))
	if err != nil {
		return nil, names, err
	}
	events, stop := iter.Pull2(eventsOf(r))
	defer stop()
	if err := scheduler.Drive(ctx, core, both[0].World, &prefix{log: events, upto: at}, fold); err != nil {
		return nil, names, err
	}
	return fold.Result(), names, nil
}

// writeFork compares what was with what would have been.
func writeFork(w io.Writer, names [2]string, at scheduler.Time, was, forked *metrics.Result) error {
	fmt.Fprintf(w, "%s, and what if %s had taken over at %v; both replay the same arrivals and noise, nothing was written\n\n", names[0], names[1], at)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "metric\tas it was\twhat if\tdifference\t\n")
	row := func(name string, a, b float64) {
		fmt.Fprintf(t, "%s\t%.6g\t%.6g\t%+.6g\t\n", name, a, b, b-a)
	}
	for _, m := range metrics.All() {
		if m.Kind == metrics.KindValue {
			a, ok := was.Values[m.Name]
			if b, both := forked.Values[m.Name]; ok && both {
				row(m.Name, a, b)
			}
			continue
		}
		a, ok := was.Distributions[m.Name]
		if b, both := forked.Distributions[m.Name]; ok && both && a.N > 0 && b.N > 0 {
			row(m.Name+".mean", a.Mean, b.Mean)
			row(m.Name+".p99", a.P99, b.P99)
		}
	}
	return t.Flush()
}
