package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vramsim/vramsim/nvml"
	"github.com/vramsim/vramsim/nvml/calibrate"
	"github.com/vramsim/vramsim/nvml/profile"
	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/sim/experiment"
)

// cardFlags say what is measured on a device, and by what.
type cardFlags struct {
	executorFlags
	stages string
	set    []string
	budget time.Duration
	wanted []string // of stages
}

// stageNames are in the order in which they are measured.
func stageNames() []string { return []string{"link", "models", "energy"} }

func (f *cardFlags) add(cmd *cobra.Command) {
	f.executorFlags.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.stages, "stages", "link,models", "`list` of what is measured on the device: "+strings.Join(stageNames(), ", "))
	flags.StringArrayVar(&f.set, "set", nil, "`path=value`: change the experiment whose models are measured (repeatable)")
	flags.DurationVar(&f.budget, "budget", 0, "`time` after which nothing is repeated any more; 0: until the medians are known")
}

func (f *cardFlags) chosen() error {
	f.wanted = strings.Split(f.stages, ",")
	for _, s := range f.wanted {
		if !slices.Contains(stageNames(), s) {
			return unknown("stage", s, stageNames())
		}
	}
	if f.budget < 0 {
		return usagef("--budget %v: at least 0", f.budget)
	}
	return nil
}

func (f *cardFlags) wants(stage string) bool { return slices.Contains(f.wanted, stage) }

// measuring is the device that is measured.
type measuring struct {
	app   *app
	in    *calibrateFlags
	exp   *experiment.Experiment
	cards *cards
	plan  scheduler.Plan
	sized []calibrate.Observations // of the link stage
}

// fromCard measures the models of an experiment on its first GPU.
func (a *app) fromCard(cmd *cobra.Command, args []string, in *calibrateFlags) (p *profile.Profile, comment []string, err error) {
	if err := errors.Join(in.card.chosen(), in.card.validate()); err != nil {
		return nil, nil, err
	}
	if len(args) != 1 {
		return nil, nil, withHint(usagef("calibrate --executor needs an experiment, whose models it measures"), cmd.UseLine())
	}
	exp, err := a.load(cmd, args, &experimentFlags{set: in.card.set})
	if err != nil {
		return nil, nil, err
	}
	cards, err := in.card.openCards(exp)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, cards.close()) }()
	if err := a.examine(cmd.Context(), cards, &in.card.executorFlags); err != nil {
		return nil, nil, err
	}
	b := &measuring{app: a, in: in, exp: exp, cards: cards}
	if cell := exp.Cells[0]; len(exp.Cells) > 1 || len(cell.Devices) > 1 {
		a.infof("of %s the first is measured, %s", plural(len(exp.Cells), "cell", "cells"), cell.Devices[0].Name)
	}
	return b.measure(cmd.Context())
}

// equipped opens the run whose executors and catalogue are used. Each stage
// needs its own: an executor is opened once.
func (b *measuring) equipped(exp *experiment.Experiment, use func(*equipment) error) error {
	setup, err := exp.Cells[0].Prepare(0, 0, thisBuild().Version)
	if err != nil {
		return err
	}
	defer setup.Close()
	e, err := b.in.card.equip(setup, b.cards, func(text string) { b.app.infof("%s", text) })
	if err != nil {
		return err
	}
	b.plan = planOf(setup)
	return errors.Join(use(e), e.failed())
}

// planOf is what the executor of the first device is opened for.
func planOf(setup *experiment.Setup) scheduler.Plan {
	cfg := &setup.Config
	plan := scheduler.Plan{Name: cfg.Devices[0].Name, Models: cfg.Models, Slots: 1, Tiers: []scheduler.Tier{scheduler.TierDisk},
		HostMemory: cfg.HostMemory, Memory: cfg.Devices[0].Budget, Seed: setup.Seed}
	if cfg.HostMemory > 0 {
		plan.Tiers = append(plan.Tiers, scheduler.TierHost)
	}
	return plan
}

// config is what measuring needs to know.
func (b *measuring) config(e *equipment) calibrate.Config {
	cfg := calibrate.Config{Plan: b.plan, Budget: b.in.card.budget}
	if e.sleeping != nil {
		cfg.Told = func(ev scheduler.Event) error { return e.sleeping.timing.Append([]scheduler.Event{ev}) }
	}
	return cfg
}

// measure goes through the stages. What was measured before an interruption is
// a profile marked INCOMPLETE.
func (b *measuring) measure(ctx context.Context) (*profile.Profile, []string, error) {
	started := time.Now()
	p := &profile.Profile{Machine: b.machine(), Measured: &profile.Measured{At: started.UTC().Truncate(time.Second), Commit: thisBuild().Revision,
		Executor: b.in.card.name, Status: "VALID"}}
	comment := []string{"Measured by vramsim calibrate " + strings.Join(calibrateArgs(b.app.args), " ")}
	if label := b.in.card.label(b.cards); label != "" {
		comment = append(comment, strings.ToUpper(label[:1])+label[1:]+".")
	}
	if b.in.card.wants("energy") && b.counter() == nil {
		return nil, nil, &exitError{code: exitHardware, err: fmt.Errorf("--stages energy: %w, and with it the energy counter", nvml.ErrUnavailable),
			hint: "leave energy out of --stages"}
	}
	result := &calibrate.Result{}
	var err error
	if b.in.card.wants("models") || b.in.card.wants("link") && !b.in.card.anyModel() {
		err = b.equipped(b.exp, func(e *equipment) (err error) {
			if len(b.plan.Tiers) > 1 {
				p.Measured.HostTier = b.in.card.hostTier
			}
			result, err = calibrate.Measure(ctx, e.executors[0], b.config(e))
			return err
		})
		p.Measured.RawSHA256 = result.RawSHA256()
		comment = append(comment, result.Notes...)
	}
	if err == nil && b.in.card.wants("link") && b.in.card.anyModel() {
		err = b.link(ctx)
		if len(b.plan.Tiers) > 1 {
			p.Measured.HostTier = b.in.card.hostTier
		}
	}
	if err == nil && b.in.card.wants("energy") {
		err = b.energy(ctx, p)
	}
	switch {
	case err == nil:
		if left := b.cards.left(); left != nil {
			p.Measured.Status = "INVALID"
			comment = append(comment, "INVALID: "+left.Error()+".")
			b.app.warnf("the profile is INVALID: %v", left)
		}
		return p, comment, b.models(p, result)
	case context.Cause(ctx) == nil:
		return nil, nil, err
	}
	p.Measured.Status = "INCOMPLETE"
	if b.models(p, result) != nil || len(p.Models) == 0 && p.Tiers == (profile.Tiers{}) && p.Energy == nil {
		return nil, nil, err
	}
	return nil, nil, errors.Join(err, b.app.writeProfile(b.in.out, p, comment))
}

// counter returns the energy counter of the device's card, nil without one.
func (b *measuring) counter() func() (uint64, error) {
	if telemetry := b.cards.telemetry(1)[0]; telemetry != nil {
		return telemetry.Energy
	}
	return nil
}

// models puts what was measured into the profile.
func (b *measuring) models(p *profile.Profile, result *calibrate.Result) error {
	for _, s := range result.Series {
		if !s.Settled || s.Outliers > 0 {
			b.app.infof("%s, %s: n %d, %d outliers%s", s.Model, s.What, len(s.Samples), s.Outliers, map[bool]string{false: ", the median is not known to 3 %"}[s.Settled])
		}
	}
	for _, note := range result.Notes {
		b.app.infof("%s", note)
	}
	if b.in.card.wants("link") {
		p.Tiers = calibrate.Tiers(append(b.sized, result.Models...), b.in.card.hostTier)
		if p.Tiers == (profile.Tiers{}) {
			b.app.infof("the models are of one size: there is no line through load times")
		}
	}
	if !b.in.card.wants("models") {
		return nil
	}
	for i := range result.Models {
		m, all, err := result.Models[i].Model(b.in.family)
		if err != nil {
			return err
		}
		b.app.fits(all)
		p.Models = append(p.Models, m)
	}
	return nil
}

// anyModel reports whether the executor makes up models of any size: it has
// real bytes and no weights.
func (f *cardFlags) anyModel() bool { return f.name == "cuda" }

const (
	leastLink = 64 * scheduler.MiB
	mostLink  = 5 * scheduler.GiB
)

// link measures loads of models that only have a size, from 64 MiB to 5 GiB or
// what fits: the line through them predicts models that were not measured.
func (b *measuring) link(ctx context.Context) error {
	setup, err := b.exp.Cells[0].Prepare(0, 0, thisBuild().Version)
	if err != nil {
		return err
	}
	plan := planOf(setup)
	if err := setup.Close(); err != nil {
		return err
	}
	exp, err := linkExperiment(b.exp.Cells[0].Devices[0].Memory, plan)
	if err != nil {
		return err
	}
	return b.equipped(exp, func(e *equipment) error {
		result, err := calibrate.Measure(ctx, e.executors[0], b.config(e))
		b.sized = result.Models
		return err
	})
}

// linkExperiment has models of doubling sizes on one GPU. Their times are what
// timeouts go by: a second a gigabyte.
func linkExperiment(memory scheduler.Bytes, plan scheduler.Plan) (*experiment.Experiment, error) {
	var models, names strings.Builder
	for size := leastLink; size <= min(mostLink, plan.Memory); size *= 2 {
		fmt.Fprintf(&models, "  link-%v: {memory: %v, batch: {max: 1, base: 10ms}, load: %dns}\n", size, size, int64(size))
		fmt.Fprintf(&names, "link-%v, ", size)
	}
	if models.Len() == 0 {
		return nil, usagef("--stages link: models of %v and more do not fit into %v", leastLink, plan.Memory)
	}
	text := fmt.Sprintf("version: 1\nname: link\nseed: %d\nhardware: {host_memory: %v, gpus: [{memory: %v, safety: %.9f}]}\nmodels:\n%sworkload: {items: 1, arrivals: {constant: {rate: 1/s}}, streams: {models: [%s]}}\npolicies: [{use: seed}]\n",
		plan.Seed, plan.HostMemory, memory, min(1, float64(plan.Memory)/float64(memory)), &models, strings.TrimSuffix(names.String(), ", "))
	return experiment.Parse("link", ".", []byte(text), policies.Builtin(), experiment.Options{})
}

// energy measures what is used for what.
func (b *measuring) energy(ctx context.Context, p *profile.Profile) error {
	return b.equipped(b.exp, func(e *equipment) error {
		windows, err := calibrate.MeasureEnergy(ctx, e.executors[0], calibrate.EnergyConfig{Config: b.config(e), Counter: b.counter()})
		if err != nil {
			return err
		}
		p.Energy, err = calibrate.FitEnergy(windows)
		return err
	})
}

// machine is what telemetry says of the card, nil without one.
func (b *measuring) machine() *profile.Machine {
	telemetry := b.cards.telemetry(1)[0]
	if telemetry == nil {
		return nil
	}
	info := telemetry.Info()
	sum := sha256.Sum256([]byte(info.UUID))
	m := &profile.Machine{GPU: info.Name, UUIDHash: fmt.Sprintf("%x", sum[:4]), CC: info.Compute, Memory: info.Memory, Driver: info.Driver, CUDA: info.CUDA}
	if l := info.MaxLink; l != (nvml.Link{}) {
		m.Link = fmt.Sprintf("gen%dx%d", l.Generation, l.Width)
	}
	if limit := b.exp.Cells[0].Devices[0].Memory; limit < info.Memory {
		m.Limit = limit
	}
	return m
}
