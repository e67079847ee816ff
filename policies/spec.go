package policies

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/nearest"
)

// Axis names the value of one axis with its parameters; the zero value means
// the default.
type Axis struct {
	Name   string
	Params map[string]any
}

// Spec is a policy as an experiment spells it. Parameters are what YAML makes
// of scalars, lists and maps: string, bool, integers, float64, []any and
// map[string]any; times and sizes are strings with their unit.
type Spec struct {
	Use, As  string
	Params   map[string]any
	Visit    Axis
	Batch    Axis
	Evict    Axis
	Prefetch Axis
	Place    Axis
	Admit    Axis
	Order    Axis
	Pin      []string // models or groups that, once loaded, stay for ever, each model on one device
}

// axis returns the part of s that holds an axis of the given kind.
func (s *Spec) axis(k Kind) *Axis {
	switch k {
	case KindVisit:
		return &s.Visit
	case KindBatch:
		return &s.Batch
	case KindEvict:
		return &s.Evict
	case KindPrefetch:
		return &s.Prefetch
	case KindPlace:
		return &s.Place
	case KindAdmit:
		return &s.Admit
	case KindOrder:
		return &s.Order
	}
	panic("bug: no axis " + string(k))
}

// axes are the keys of Spec in the order in which they are printed.
var axes = [...]Kind{KindVisit, KindBatch, KindEvict, KindPrefetch, KindPlace, KindAdmit, KindOrder}

// Env is what a policy is built for. Constructors may keep the slices and must
// not change them.
type Env struct {
	Seed      uint64
	Replicate int
	Models    []scheduler.Model
	Devices   []scheduler.Device
	// HostMemory is the capacity of the host tier; 0 turns it off.
	HostMemory scheduler.Bytes
	// Horizon is when the run is cut, 0 if it drains.
	Horizon scheduler.Time
}

// Model returns the id of the model of that name.
func (e *Env) Model(name string) (scheduler.ModelID, bool) {
	for i := range e.Models {
		if e.Models[i].Name == name {
			return scheduler.ModelID(i), true
		}
	}
	return scheduler.NoModel, false
}

// Built is a policy ready for one run; it has state and serves no second one.
type Built struct {
	Name    string // Spec.As, or how the composition is usually called
	Policy  scheduler.Policy
	Evictor scheduler.Evictor // for scheduler.Config; nil if loads never evict of themselves
	Order   scheduler.Order   // for scheduler.Config; nil is first in, first out
	// Waits is for scheduler.Config: the policy may leave work and devices idle.
	Waits bool
	// Clairvoyant policies implement scheduler.Clairvoyant and must be told
	// the arrivals before the run.
	Clairvoyant bool
	Contracts   Contracts
	// Spec is the composition with every default spelled out; building it
	// again gives the same policy.
	Spec Spec
}

// Setting is one resolved parameter: a key like "use", "params.wait" or
// "visit.limited.items", and its value as YAML would spell it.
type Setting struct {
	Key   string
	Value any
}

// Settings lists every parameter of the policy, defaults included, in a fixed
// order, for resolved.yaml and the header of the log.
func (b *Built) Settings() []Setting {
	list := []Setting{{"use", b.Spec.Use}, {"as", b.Name}}
	list = appendParams(list, "params", b.Spec.Params)
	for _, k := range axes {
		a := b.Spec.axis(k)
		if a.Name == "" {
			continue
		}
		list = append(list, Setting{string(k), a.Name})
		list = appendParams(list, string(k)+"."+a.Name, a.Params)
	}
	if len(b.Spec.Pin) > 0 {
		list = append(list, Setting{"pin", b.Spec.Pin})
	}
	return list
}

func appendParams(list []Setting, prefix string, params map[string]any) []Setting {
	names := make([]string, 0, len(params))
	for name := range params {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		list = append(list, Setting{prefix + "." + name, params[name]})
	}
	return list
}

// SpecError says what is wrong with a Spec and where.
type SpecError struct {
	Path    []string // keys from the policy's entry down, like params, wait
	What    string
	Nearest string // the nearest valid name, if a name was wrong and one is near
}

func (e *SpecError) Error() string {
	s := strings.Join(e.Path, ".") + ": " + e.What
	if e.Nearest != "" {
		s += fmt.Sprintf("; did you mean %q?", e.Nearest)
	}
	return s
}

// Hint says what to try, for the command's hint line; "" if nothing is near.
func (e *SpecError) Hint() string {
	if e.Nearest == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", e.Nearest)
}

func at(path []string, format string, args ...any) *SpecError {
	return &SpecError{Path: path, What: fmt.Sprintf(format, args...)}
}

func unknown(path []string, what, name string, valid []string) *SpecError {
	e := at(path, "unknown %s %q; accepted: %s", what, name, strings.Join(valid, ", "))
	if len(valid) == 0 {
		e.What = fmt.Sprintf("unknown %s %q; none is accepted here", what, name)
	}
	e.Nearest = nearest.To(name, valid)
	return e
}
