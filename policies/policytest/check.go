package policytest

import (
	"errors"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/random"
)

// Property is one thing that a policy is held to.
type Property string

// The properties of every run and the contracts, in the order of a report;
// relations.go has those of two runs.
const (
	Invariants     Property = "invariants"
	Replays        Property = "replays"
	Wakeup         Property = "no lost wake-up"
	Drains         Property = "drains"
	Pure           Property = "pure"
	WorkConserving Property = "work-conserving"
	LoadConserving Property = "load-work-conserving"
	InOrder        Property = "bypass 0"
	Starvation     Property = "bound of visits"
	ClaimVictims   Property = "no superfluous victim of a load"
	Superfluous    Property = "no superfluous eviction"
	FirstBatch     Property = "no eviction before the first batch"
	BelowBound     Property = "not below bound"
	BelowOptimum   Property = "not below opt"
)

// Status says what came out.
type Status string

// Statuses of a property.
const (
	Holds         Status = "holds"
	Broken        Status = "BROKEN"
	NotDeclared   Status = "not declared"
	NotApplicable Status = "n/a"
)

// Config says what is tested, and how much.
type Config struct {
	// Set has the policy; a policy of one's own is an Entry added to it.
	Set  *policies.Set
	Spec policies.Spec
	// Seed is what the random worlds come from.
	Seed uint64
	// Cases is how many random worlds are run, 0: DefaultCases. Each relation
	// of two runs gets a tenth of them.
	Cases int
	// Evaluations is how many worlds each objective of the adversary tries; 0:
	// DefaultEvaluations, negative: there is no adversary.
	Evaluations int
}

// DefaultCases and DefaultEvaluations are how much is tested unless Config
// says otherwise, QuickCases and QuickEvaluations a first look.
const (
	DefaultCases       = 10_000
	DefaultEvaluations = 10_000
	QuickCases         = 500
	QuickEvaluations   = 500
)

// Run is a world with the policy that it is to be run under, and what it is in
// the counterexample that it belongs to.
type Run struct {
	World *World
	Spec  policies.Spec
	What  string
}

// Result is one row of a report.
type Result struct {
	Property Property
	Cases    int // in which it had to hold, up to the first in which it did not
	Status   Status
	// What says how it is broken, what is against a contract that is not
	// declared, or why it does not apply.
	What string
	// World is the smallest one found in which it is broken or, if it is not
	// declared, does not hold; nil if there is none.
	World *World
	// Runs reproduce what is broken: one or, of a relation, two.
	Runs []Run
}

// Changed reports whether Runs are of two worlds, not of two policies in one.
func (row *Result) Changed() bool {
	return len(row.Runs) > 1 && row.Runs[0].World != row.Runs[1].World
}

// Worst is the worst that the adversary found for an objective.
type Worst struct {
	Objective   string
	Evaluations int
	// Num/Den is the figure, 0/1 if no world has one.
	Num, Den int64
	Ratio    bool // else it is a number of items
	World    *World
}

// Report is what a policy was found to be.
type Report struct {
	Policy    string // its name
	Contracts string // what it declares on one device with so many models
	Models    int
	Seed      uint64
	Results   []Result
	Worst     []Worst
}

// Broken returns the rows that are.
func (r *Report) Broken() []Result {
	var broken []Result
	for _, row := range r.Results {
		if row.Status == Broken {
			broken = append(broken, row)
		}
	}
	return broken
}

// Check tests a policy. An error says that it cannot be built or tried.
func Check(cfg Config) (*Report, error) {
	s, err := New(cfg)
	if err != nil {
		return nil, err
	}
	for i := range s.Jobs() {
		s.Do(i)
	}
	return s.Report(), nil
}

// TB is what Test needs of a *testing.T.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
}

// Test tests a policy within a Go test, which fails for every property that is
// broken.
func Test(t TB, cfg Config) {
	t.Helper()
	r, err := Check(cfg)
	if err != nil {
		t.Fatalf("%v", err)
		return
	}
	for _, row := range r.Results {
		switch {
		case row.Status == Broken:
			t.Errorf("%s: %s is broken: %s\nin %v", r.Policy, row.Property, row.What, row.World)
		default:
			t.Logf("%s: %s: %d cases, %s", r.Policy, row.Property, row.Cases, row.Status)
		}
	}
	for _, worst := range r.Worst {
		t.Logf("%s: %s: %s in %v", r.Policy, worst.Objective, worst.Figure(), worst.World)
	}
}

// trial is a policy on trial.
type trial struct {
	set    *policies.Set
	spec   policies.Spec
	built  policies.Built // for some world, for its composition
	models int            // in that world
	// endless: the policy goes round for ever and needs a horizon.
	endless bool
	// draws: decisions depend on the seed.
	draws bool
}

// verdict is what one world says of one property.
type verdict struct {
	property Property
	declared bool   // the property has to hold here
	breach   string // how it does not; "" if it does
	runs     []Run  // that show it; nil: the world under the policy
	skip     string // why it does not apply, although the world is one for it
}

// family is a kind of random worlds and what is asked of them.
type family struct {
	name       string
	properties []Property
	share      int // one in so many of the cases
	shape      Shape
	// why says that the properties do not apply to the policy at all; "" if
	// they do.
	why func(*trial) string
	// judge returns what w says of the properties; nothing of those to which it
	// has nothing to say.
	judge func(t *trial, w *World) []verdict
}

// chunks is into how many jobs the cases of a family are cut. It is fixed, so
// that the same worlds are run whatever the number of workers.
const chunks = 8

// patience is how many breaches end a chunk.
const patience = 8

// finding is the first case that says something.
type finding struct {
	at   int
	what string
}

// tally is what the cases of a chunk say of a property.
type tally struct {
	cases  int
	broken *finding
	lacks  *finding
	skip   string
}

// Suite is a test of a policy cut into jobs, for callers with workers.
type Suite struct {
	cfg      Config
	trial    trial
	families []family
	tallies  [][]map[Property]*tally // by family and chunk
	worst    []Worst
}

// New prepares a test. What keeps the policy from being built for any random
// world is an error.
func New(cfg Config) (*Suite, error) {
	if cfg.Set == nil {
		return nil, errors.New("policytest: there is no Set to take the policy from")
	}
	if cfg.Cases == 0 {
		cfg.Cases = DefaultCases
	}
	if cfg.Evaluations == 0 {
		cfg.Evaluations = DefaultEvaluations
	}
	s := &Suite{cfg: cfg, trial: trial{set: cfg.Set, spec: cfg.Spec}, families: append(runFamilies(), relationFamilies()...)}
	if err := s.trial.prepare(cfg.Seed); err != nil {
		return nil, err
	}
	for range s.families {
		s.tallies = append(s.tallies, make([]map[Property]*tally, chunks))
	}
	if cfg.Evaluations > 0 && !s.trial.endless {
		s.worst = make([]Worst, len(objectives()))
	}
	return s, nil
}

// prepare finds out what kind of policy it is.
func (t *trial) prepare(seed uint64) error {
	if len(t.spec.Pin) > 0 {
		return errors.New("pin: names models of an experiment, which random worlds do not have")
	}
	var last error
	found := false
	for _, endless := range []bool{false, true} {
		for i := range 50 {
			w := t.adapt(Draw(random.Key(seed, random.Hash("prepare"), uint64(i)), Alone()), endless)
			_, built, err := w.Config(t.set, t.spec)
			if err == nil {
				t.built, t.models, t.endless, found = built, len(w.Models), endless, true
				break
			}
			last = err
		}
		if found {
			break
		}
	}
	if !found {
		return last
	}
	for i := 0; i < 50 && !t.draws && !t.endless; i++ {
		w := Draw(random.Key(seed, random.Hash("draws"), uint64(i)), Alone())
		a, errA := w.drive(t.set, t.spec, false)
		w.Seed += 7
		b, errB := w.drive(t.set, t.spec, false)
		t.draws = errA == nil && errB == nil && !same(a, b)
	}
	return nil
}

// adapt makes of w what a policy that goes round for ever can be in: it is cut
// long after everything should have ended, and loads take time.
func (t *trial) adapt(w *World, endless bool) *World {
	if !endless {
		return w
	}
	w = w.clone()
	w.Horizon = w.Items[len(w.Items)-1].At + 3600*sec
	for i := range w.Models {
		for tier := range w.Models[i].Load {
			w.Models[i].Load[tier] = max(w.Models[i].Load[tier], sec)
		}
	}
	return w
}

// world draws the i-th world of a family.
func (s *Suite) world(f *family, i int) *World {
	return s.trial.adapt(Draw(random.Key(s.cfg.Seed, random.Hash(f.name), uint64(i)), f.shape), s.trial.endless)
}

// Jobs returns how many jobs there are. They may be done at the same time, in
// any order, each once.
func (s *Suite) Jobs() int { return len(s.families)*chunks + len(s.worst) }

// Do does the i-th job, from 0.
func (s *Suite) Do(i int) {
	if n := len(s.families) * chunks; i >= n {
		s.worst[i-n] = objectives()[i-n].climb(&s.trial, s.cfg)
		return
	}
	f, chunk := &s.families[i/chunks], i%chunks
	all := map[Property]*tally{}
	s.tallies[i/chunks][chunk] = all
	for _, p := range f.properties {
		all[p] = &tally{}
	}
	if f.why(&s.trial) != "" {
		return
	}
	cases, breaches := s.cases(f), 0
	for at := chunk * cases / chunks; at < (chunk+1)*cases/chunks && breaches < patience; at++ {
		for _, v := range f.judge(&s.trial, s.world(f, at)) {
			t := all[v.property]
			switch {
			case v.skip != "":
				t.skip = v.skip
			case v.declared:
				t.cases++
				if v.breach != "" {
					breaches++
					t.broken = first(t.broken, at, v.breach)
				}
			case v.breach != "":
				t.lacks = first(t.lacks, at, v.breach)
			}
		}
	}
}

// cases is how many worlds of a family are run.
func (s *Suite) cases(f *family) int { return max(chunks, s.cfg.Cases/f.share) }

func first(f *finding, at int, what string) *finding {
	if f == nil {
		f = &finding{at, what}
	}
	return f
}

// Report puts the results together once all jobs are done, and makes the
// worlds small that show something.
func (s *Suite) Report() *Report {
	r := &Report{Policy: s.trial.built.Name, Contracts: s.trial.built.Contracts.String(), Models: s.trial.models, Seed: s.cfg.Seed, Worst: s.worst}
	for i := range s.families {
		for _, p := range s.families[i].properties {
			r.Results = append(r.Results, s.result(i, p))
		}
	}
	return r
}

func (s *Suite) result(i int, p Property) Result {
	f := &s.families[i]
	row := Result{Property: p}
	if row.What = f.why(&s.trial); row.What != "" {
		row.Status = NotApplicable
		return row
	}
	var broken, lacks *finding
	skip := "no world was one for it"
	for _, all := range s.tallies[i] {
		t := all[p]
		row.cases(t, broken)
		if broken == nil {
			broken = t.broken
		}
		if lacks == nil {
			lacks = t.lacks
		}
		if t.skip != "" {
			skip = t.skip
		}
	}
	switch {
	case broken != nil:
		row.Status = Broken
		row.show(&s.trial, f, s.world(f, broken.at), true)
	case row.Cases > 0:
		row.Status = Holds
	case s.contract(p):
		row.Status, row.What = NotDeclared, "and nothing was found against it"
		if lacks != nil {
			row.show(&s.trial, f, s.world(f, lacks.at), false)
		}
	default:
		row.Status, row.What = NotApplicable, skip
	}
	return row
}

// cases counts up to the first breach.
func (row *Result) cases(t *tally, broken *finding) {
	if broken == nil {
		row.Cases += t.cases
	}
}

// contract reports whether a property is one that a policy declares or not.
func (s *Suite) contract(p Property) bool {
	switch p {
	case Pure, WorkConserving, LoadConserving, InOrder, Starvation, FirstBatch:
		return true
	}
	return false
}

// shrinks is how many worlds are tried to make a counterexample small, glances
// for one against what is not declared.
const (
	shrinks = 2000
	glances = 300
)

// show makes the world small in which a property does not hold.
func (row *Result) show(t *trial, f *family, w *World, declared bool) {
	wanted := func(w *World) (verdict, bool) {
		for _, v := range f.judge(t, w) {
			if v.property == row.Property && v.declared == declared && v.breach != "" {
				return v, true
			}
		}
		return verdict{}, false
	}
	tries := shrinks
	if !declared {
		tries = glances
	}
	row.World = Shrink(w, tries, func(w *World) bool {
		_, ok := wanted(w)
		return ok
	})
	v, ok := wanted(row.World)
	if !ok { // a policy that is not pure does not do the same again
		v = verdict{breach: "seen once, and not again in the same world"}
	}
	row.What, row.Runs = v.breach, v.runs
	if row.Runs == nil {
		row.Runs = []Run{{World: row.World, Spec: t.spec}}
	}
}

// run runs a world of a relation or a bound, where nothing but the outcome
// counts: what is wrong with it otherwise, others say.
func (t *trial) run(w *World, spec policies.Spec) (*Outcome, bool) {
	o, err := w.drive(t.set, spec, false)
	return o, err == nil
}

// complete reports whether every item of w was done.
func (o *Outcome) complete(w *World) bool { return int(o.Counts.Done) == len(w.Items) }

// always is the why of what applies to every policy.
func always(*trial) string { return "" }

// runFamilies are the properties of single runs.
func runFamilies() []family {
	return []family{
		{name: "runs", properties: []Property{Invariants, Replays, Wakeup, Drains, Pure}, share: 1, shape: Hostile(), why: always, judge: judgeRun},
		{name: "contracts", properties: []Property{WorkConserving, LoadConserving, InOrder, Starvation, ClaimVictims, Superfluous, FirstBatch, BelowBound},
			share: 1, shape: Fair(), why: always, judge: judgeContracts},
		{name: "optimum", properties: []Property{BelowOptimum}, share: 10, shape: optimal(), why: always, judge: judgeOptimum},
	}
}

// optimal is the shape of what is compared with the optimum.
func optimal() Shape {
	s := Small()
	s.Items, s.Memory, s.Tags = 7, true, true
	return s
}

// must is a verdict on what holds of every policy.
func must(p Property, breach string) verdict {
	return verdict{property: p, declared: true, breach: breach}
}

// judgeRun runs w with all checks and both replays.
func judgeRun(t *trial, w *World) []verdict {
	o, err := w.drive(t.set, t.spec, true)
	var spec *policies.SpecError
	if errors.As(err, &spec) {
		return nil // no such world for this policy
	}
	found := breaches{}
	if o.Impure != "" {
		found.add(Pure, "%s", o.Impure)
	}
	var lost *scheduler.LostWakeupError
	ended := o.Counts.Done + o.Counts.Failed + o.Counts.Rejected + o.Counts.Cancelled
	switch {
	case errors.As(err, &lost):
		found.add(Wakeup, "%v", err)
	case errors.Is(err, ErrEndless):
		found.add(Drains, "%v", err)
	case err != nil:
		found.add(Invariants, "%v", err)
	case ended != int64(len(w.Items)):
		found.add(Drains, "%d items never end although nothing fails any more", int64(len(w.Items))-ended)
		fallthrough
	default:
		judgeReplays(t, w, o, found)
	}
	waking := must(Wakeup, found[Wakeup])
	if o.Built.Waits {
		waking = verdict{property: Wakeup, skip: "it declares that it waits"}
	}
	return []verdict{must(Invariants, found[Invariants]), must(Replays, found[Replays]), waking, must(Drains, found[Drains]),
		{property: Pure, declared: o.Built.Contracts.Pure, breach: found[Pure]}}
}

// judgeReplays replays a whole run, and looks for wake-ups lost on the way.
func judgeReplays(t *trial, w *World, o *Outcome, found breaches) {
	if err := w.replay(t.set, t.spec, o.Events); err != nil {
		found.add(Replays, "%v", err)
		var d *scheduler.Divergence
		if errors.As(err, &d) && d.Err == nil {
			found.add(Pure, "a second one, shown the same, decides otherwise: %v", err)
		}
	}
	contracts, err := follow(w, t.set, t.spec, o.Events)
	if err != nil {
		found.add(Replays, "%v", err)
	}
	if asleep := contracts[Wakeup]; asleep != "" {
		found.add(Wakeup, "%s", asleep)
	}
}

// judgeContracts runs w and holds the log to every contract.
func judgeContracts(t *trial, w *World) []verdict {
	o, ok := t.run(w, t.spec)
	if !ok {
		return nil
	}
	found, err := follow(w, t.set, t.spec, o.Events)
	if err != nil {
		return nil
	}
	c := &o.Built.Contracts
	visits := c.Bound.Kind == policies.Visits || c.Bound.Kind == policies.VisitsAfter
	contract := func(p Property, declared bool) verdict {
		return verdict{property: p, declared: declared, breach: found[p]}
	}
	all := []verdict{contract(WorkConserving, c.WorkConserving), contract(LoadConserving, c.LoadWorkConserving),
		contract(InOrder, c.Bound.Kind == policies.InOrder), contract(Starvation, visits), contract(ClaimVictims, true), contract(FirstBatch, !c.Withdraws)}
	if c.Evicts {
		all = append(all, verdict{property: Superfluous, skip: "it evicts by a rule of its own"})
	} else {
		all = append(all, contract(Superfluous, true))
	}
	if o.complete(w) {
		all = append(all, must(BelowBound, belowBound(w, o)))
	}
	return all
}
