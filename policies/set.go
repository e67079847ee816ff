package policies

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vramsim/vramsim/scheduler"
)

// Kind says what an Entry is: a policy, or a value of one axis. The axes are
// spelled as the keys of a policy in an experiment.
type Kind string

// Kinds of entries, with what their New returns.
const (
	KindSelector Kind = "selector" // Selector; the rest is composed
	KindWhole    Kind = "whole"    // scheduler.Policy, which decides everything itself
	KindPreset   Kind = "preset"   // nothing: it is a name for Entry.Preset
	KindVisit    Kind = "visit"    // Visit, or nil for exhaustive
	KindBatch    Kind = "batch"    // Batcher, or nil for greedy
	KindEvict    Kind = "evict"    // scheduler.Evictor, or one of this package
	KindPrefetch Kind = "prefetch" // Prefetcher, or nil for none
	KindPlace    Kind = "place"    // Placer
	KindAdmit    Kind = "admit"    // Admitter, or nil for all
	KindOrder    Kind = "order"    // scheduler.Order, or nil for first in, first out
)

// Entry is one thing that a Set can build.
type Entry struct {
	Name      string
	Kind      Kind
	Doc       string // what it does, one sentence
	Source    string // where the rule comes from, if not from here
	Params    []Param
	Contracts string // what it declares, for lists
	// Visit and Order are those of a selector unless the policy says otherwise.
	Visit, Order Axis
	// Waits is declared by selectors and values of an axis that may leave work
	// and a free slot idle.
	Waits bool
	// Declared are the contracts of a whole policy, unless it declares them itself;
	// of those of a selector OwnTimes.
	Declared Contracts
	// Fixed is the one value that a whole policy has on an axis, without
	// parameters; it takes no other and nothing on the other axes.
	Fixed map[Kind]string
	// Preset is what a preset stands for, Deviations what the system does that
	// it is named after and the composition does not.
	Preset     Spec
	Deviations string
	// New makes a fresh value for one run: see Kind.
	New func(*Args) (any, error)
}

// Set is a catalogue of policies and axis values. It is a value to be passed
// around: there is no registry. It must not change while policies are built.
type Set struct{ entries []Entry }

// Add adds an entry of one's own; a taken name, a missing constructor and a
// Kind that is none are errors.
func (s *Set) Add(e Entry) error {
	switch {
	case e.Name == "" || e.New == nil && e.Kind != KindPreset:
		return errors.New("policies: an entry needs a name and a constructor")
	case e.Kind != KindSelector && e.Kind != KindWhole && e.Kind != KindPreset && !slices.Contains(axes[:], e.Kind):
		return fmt.Errorf("policies: the entry %s is of the kind %q; there are selector, whole, preset and the axes %v", e.Name, e.Kind, axes)
	case e.Kind == KindPreset && !slices.Contains(s.Policies(), e.Preset.Use):
		return fmt.Errorf("policies: the preset %s stands for %q, which is no policy", e.Name, e.Preset.Use)
	}
	if _, ok := s.find(e.Kind, e.Name); ok || s.isPolicy(e) {
		return fmt.Errorf("policies: there is already a %s named %q", e.Kind, e.Name)
	}
	s.entries = append(s.entries, e)
	return nil
}

func (s *Set) isPolicy(e Entry) bool {
	return (e.Kind == KindSelector || e.Kind == KindWhole || e.Kind == KindPreset) && slices.Contains(s.uses(), e.Name)
}

// List returns all entries: policies first, then presets, then axis by axis, each in the
// order of the catalogue.
func (s *Set) List() []Entry {
	var list []Entry
	for _, kinds := range append([][]Kind{{KindSelector, KindWhole}, {KindPreset}}, each(axes[:])...) {
		for _, e := range s.entries {
			if slices.Contains(kinds, e.Kind) {
				list = append(list, e)
			}
		}
	}
	return list
}

func each(kinds []Kind) [][]Kind {
	out := make([][]Kind, len(kinds))
	for i := range kinds {
		out[i] = kinds[i : i+1]
	}
	return out
}

// Policies returns the selectors and whole policies: what `use` accepts besides
// presets.
func (s *Set) Policies() []string {
	return append(s.Names(KindSelector), s.Names(KindWhole)...)
}

// uses returns the names that `use` accepts.
func (s *Set) uses() []string { return append(s.Policies(), s.Names(KindPreset)...) }

// Names returns the names of one kind.
func (s *Set) Names(k Kind) []string {
	var names []string
	for _, e := range s.entries {
		if e.Kind == k {
			names = append(names, e.Name)
		}
	}
	return names
}

func (s *Set) find(k Kind, name string) (*Entry, bool) {
	for i := range s.entries {
		if s.entries[i].Kind == k && s.entries[i].Name == name {
			return &s.entries[i], true
		}
	}
	return nil, false
}

// common are the parameters of every composed policy.
var common = []Param{
	{Name: "fill", Kind: Flag, Default: true, Doc: "run other resident models while the chosen one is on its way; false by default where the bound is bypass 0"},
	{Name: "backoff", Kind: Duration, Default: "1s", Doc: "wait before a model is tried again after a failure, doubling"},
}

// CommonParams returns the parameters that every composed policy takes besides
// its own.
func CommonParams() []Param { return slices.Clone(common) }

// New builds a policy for one run. What is wrong with spec is a *SpecError.
func (s *Set) New(spec Spec, env Env) (Built, error) {
	if e, ok := s.find(KindPreset, spec.Use); ok {
		spec = e.Preset.over(spec)
	}
	if e, ok := s.find(KindWhole, spec.Use); ok {
		return s.newWhole(e, spec, &env)
	}
	e, ok := s.find(KindSelector, spec.Use)
	if !ok {
		if spec.Use == "" {
			return Built{}, at([]string{"use"}, "a policy needs a name")
		}
		return Built{}, unknown([]string{"use"}, "policy", spec.Use, s.uses())
	}
	return s.compose(e, spec, &env)
}

func (s *Set) newWhole(e *Entry, spec Spec, env *Env) (Built, error) {
	resolved := Spec{Use: e.Name, As: spec.As}
	for _, k := range axes {
		a, fixed := spec.axis(k), e.Fixed[k]
		switch {
		case a.Name != "" && fixed == "":
			return Built{}, at([]string{string(k)}, "%s decides everything itself and takes no %s", e.Name, k)
		case a.Name != "" && a.Name != fixed || len(a.Params) > 0:
			return Built{}, at([]string{string(k)}, "%s decides everything itself and takes no %s but %s", e.Name, k, fixed)
		}
		resolved.axis(k).Name = fixed
	}
	if len(spec.Pin) > 0 {
		return Built{}, at([]string{"pin"}, "%s decides everything itself and takes no pin", e.Name)
	}
	args, err := decode([]string{"params"}, e.Params, spec.Params, env)
	if err != nil {
		return Built{}, err
	}
	made, err := e.New(args)
	if err != nil {
		return Built{}, err
	}
	policy, ok := made.(scheduler.Policy)
	if !ok {
		return Built{}, fmt.Errorf("policies: %s made a %T instead of a scheduler.Policy", e.Name, made)
	}
	resolved.Params = args.resolved()
	b := Built{Name: spec.name(), Policy: policy, Contracts: e.Declared, Spec: resolved}
	if d, ok := made.(declarer); ok {
		b.Contracts = d.declares()
	}
	b.Evictor, _ = made.(scheduler.Evictor)
	b.Waits = b.Contracts.Waits
	_, b.Clairvoyant = made.(scheduler.Clairvoyant)
	return b, nil
}

// name is `as`, or the policy's name.
func (spec *Spec) name() string {
	if spec.As != "" {
		return spec.As
	}
	return spec.Use
}

// parts is what a composition is made of.
type parts struct {
	spec Spec // resolved
	env  *Env
	made map[Kind]any

	waits, ownTimes bool
}

func (s *Set) compose(e *Entry, spec Spec, env *Env) (Built, error) {
	args, err := decode([]string{"params"}, append(slices.Clone(e.Params), common...), spec.Params, env)
	if err != nil {
		return Built{}, err
	}
	made, err := e.New(args)
	if err != nil {
		return Built{}, err
	}
	selector, ok := made.(Selector)
	if !ok {
		return Built{}, fmt.Errorf("policies: %s made a %T instead of a Selector", e.Name, made)
	}
	parts := &parts{env: env, made: map[Kind]any{}, waits: e.Waits, ownTimes: e.Declared.OwnTimes, spec: Spec{Use: e.Name, As: spec.As, Pin: slices.Clone(spec.Pin)}}
	if spec.Visit.Name == "" {
		spec.Visit = e.Visit
	}
	if spec.Order.Name == "" {
		spec.Order = e.Order
	}
	for _, k := range axes {
		if err := s.resolve(parts, k, *spec.axis(k)); err != nil {
			return Built{}, err
		}
	}
	p := &composed{selector: selector, backoff: args.Time("backoff"), fill: args.Bool("fill")}
	if err := p.assemble(parts); err != nil {
		return Built{}, err
	}
	if strict, ok := selector.(interface{ inOrder() bool }); ok && !args.Given("fill") {
		p.fill = !strict.inOrder()
	}
	if err := p.settle(args, parts); err != nil {
		return Built{}, err
	}
	args.set("fill", p.fill)
	parts.spec.Params = args.resolved()
	return p.built(spec.name(), parts), nil
}

// defaults are the names that the axes have unless a policy says otherwise.
var defaults = map[Kind]string{KindVisit: "exhaustive", KindBatch: "greedy", KindEvict: "lru", KindPrefetch: "none",
	KindPlace: "affinity", KindAdmit: "all", KindOrder: "fifo"}

// resolve builds the value of one axis.
func (s *Set) resolve(parts *parts, k Kind, a Axis) error {
	if a.Name == "" {
		a = Axis{Name: defaults[k], Params: a.Params}
	}
	e, ok := s.find(k, a.Name)
	if !ok {
		return unknown([]string{string(k)}, string(k), a.Name, s.Names(k))
	}
	args, err := decode([]string{string(k), a.Name}, e.Params, a.Params, parts.env)
	if err != nil {
		return err
	}
	made, err := e.New(args)
	if err != nil {
		return err
	}
	parts.made[k] = made
	parts.waits = parts.waits || e.Waits
	*parts.spec.axis(k) = Axis{Name: a.Name, Params: args.resolved()}
	return nil
}

// part returns what was made for an axis as a T; nothing made is the zero T.
func part[T any](parts *parts, k Kind) (T, error) {
	var none T
	made := parts.made[k]
	if made == nil {
		return none, nil
	}
	t, ok := made.(T)
	if !ok {
		return none, fmt.Errorf("policies: %s %s made a %T", k, parts.spec.axis(k).Name, made)
	}
	return t, nil
}

// assemble puts the parts together.
func (p *composed) assemble(parts *parts) error {
	var errs [5]error
	p.visit, errs[0] = part[Visit](parts, KindVisit)
	p.batcher, errs[1] = part[Batcher](parts, KindBatch)
	p.prefetch, errs[2] = part[Prefetcher](parts, KindPrefetch)
	p.placer, errs[3] = part[Placer](parts, KindPlace)
	p.admit, errs[4] = part[Admitter](parts, KindAdmit)
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	if len(parts.env.Devices) == 1 {
		p.placer = nil
	}
	if next, ok := p.prefetch.(upNext); ok {
		next.selector = p.selector
		p.prefetch = next
	}
	p.urger, _ = p.selector.(Urger)
	p.capper, _ = p.selector.(runCapper)
	p.wander, _ = p.selector.(wanderer)
	p.patient, _ = p.selector.(Patient)
	p.allotter, _ = p.selector.(allotter)
	p.lingerer, _ = p.visit.(Lingerer)
	if err := p.assembleEvictor(parts); err != nil {
		return err
	}
	for _, made := range []any{p.selector, p.visit, p.batcher, parts.made[KindEvict], p.placer, p.admit} {
		if o, ok := made.(scheduler.Observer); ok {
			p.parts = append(p.parts, o)
		}
	}
	p.restless = p.prefetch != nil || p.timed != nil
	devices := len(parts.env.Devices)
	p.stays, p.targets = make([]Stay, devices), make([]target, devices)
	p.noted, p.claimed = make([]int64, devices), make([]scheduler.ModelID, devices)
	for d := range devices {
		p.stays[d] = Stay{Device: scheduler.DeviceID(d), Model: noModel, policy: p}
		p.targets[d].model, p.claimed[d] = noModel, noModel
	}
	return nil
}

func (p *composed) assembleEvictor(parts *parts) error {
	made := parts.made[KindEvict]
	p.evictor = &evictor{policy: p}
	p.evictor.keeper, _ = made.(keeper)
	p.evictor.grouper, _ = made.(grouper)
	p.limiter, _ = made.(limiter)
	p.timed, _ = made.(timed)
	ranked, ok := made.(ranker)
	if !ok {
		ranked = lru{}
		if p.evictor.custom, ok = made.(scheduler.Evictor); !ok {
			return fmt.Errorf("policies: evict %s made a %T", parts.spec.Evict.Name, made)
		}
	}
	p.ranker = ranked
	return p.pin(parts)
}

// pin resolves the names of what is kept for ever.
func (p *composed) pin(parts *parts) error {
	env, path := parts.env, []string{"pin"}
	if _, ok := p.limiter.(*matrix); ok && len(parts.spec.Pin) > 0 {
		return at(path, "evict: matrix takes no pin; its sets and costs say who stays")
	}
	for _, name := range parts.spec.Pin {
		found := false
		if p.pinned == nil {
			p.pinned = make([]bool, len(env.Models))
		}
		for m := range env.Models {
			if env.Models[m].Name == name || env.Models[m].Group == name && name != "" {
				p.pinned[m], found = true, true
			}
		}
		if !found {
			return unknown(path, "model or group", name, append(modelNames(env), groupNames(env)...))
		}
	}
	if len(parts.spec.Pin) == 0 {
		path = []string{"evict"}
	}
	return p.checkRoom(parts, path)
}

// settle checks what depends on the whole composition: polling of theory.
func (p *composed) settle(args *Args, parts *parts) error {
	if p.wander == nil {
		return nil
	}
	path := []string{"params", "skip_empty"}
	switch env := parts.env; {
	case parts.spec.Evict.Name != "single":
		return at(path, "polling that visits empty queues needs evict: single")
	case args.Given("fill") && p.fill:
		return at([]string{"params", "fill"}, "polling that visits empty queues does not fill")
	case env.Horizon <= 0:
		return at(path, "polling that visits empty queues never ends: the workload needs a horizon")
	case len(env.Models) < 2:
		return at(path, "polling that visits empty queues needs two models to go round")
	default:
		for i := range env.Models {
			m := &env.Models[i]
			if m.Load[scheduler.TierDisk] <= 0 || env.HostMemory > 0 && m.Load[scheduler.TierHost] <= 0 {
				return at(path, "polling that visits empty queues needs load times above 0: %q loads in no time", m.Name)
			}
		}
	}
	p.fill = false
	return nil
}

func (p *composed) built(name string, parts *parts) Built {
	b := Built{Name: name, Policy: p, Evictor: p.evictor, Spec: parts.spec, Contracts: p.declare(parts.env, parts)}
	// A fixed plan waits for a device that is down although others could serve.
	_, fixed := p.placer.(planned)
	b.Waits = b.Contracts.Waits || fixed
	b.Order, _ = parts.made[KindOrder].(scheduler.Order)
	for _, k := range axes {
		if oracle, ok := parts.made[k].(scheduler.Clairvoyant); ok {
			b.Policy, b.Clairvoyant = &foreseeing{composed: p, oracle: oracle}, true
		}
	}
	return b
}

// foreseeing is a composed policy of which a part knows the future.
type foreseeing struct {
	*composed
	oracle scheduler.Clairvoyant
}

// Foresee implements scheduler.Clairvoyant.
func (p *foreseeing) Foresee(arrivals []scheduler.Event) { p.oracle.Foresee(arrivals) }
