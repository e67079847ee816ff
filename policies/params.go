package policies

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/vramsim/vramsim/scheduler"
)

// ParamKind is what values a parameter takes.
type ParamKind uint8

// Kinds of parameters, with the Go type that Args holds for them.
const (
	Duration ParamKind = iota // scheduler.Time, written with its unit
	Count                     // int64
	Flag                      // bool
	Choice                    // string, one of Param.Choices
	Counts                    // []int64, a list of positive integers
	Sequence                  // []scheduler.ModelID: "ids" (nil) or all models by name
	Groups                    // []string: true (nil: all), false (empty) or a list of groups
	Plan                      // []scheduler.DeviceID, by model: a map from model to device names
	Decimal                   // int64 in millionths, a number of at least 0
	Spans                     // []scheduler.Time, by model: one for all, or a map from models to spans, the others by default; negative for ever
	Sets                      // [][]scheduler.ModelID: a list of lists of models
	Costs                     // []int64, by model: a map from models to positive integers, 1 for the others
)

// Param declares a parameter of an Entry.
type Param struct {
	Name    string
	Kind    ParamKind
	Default any      // as YAML spells it; nil: it must be given
	Choices []string // of a Choice
	Min     int64    // least Count or Duration
	Doc     string
}

// Accepts says in words which values p takes.
func (p *Param) Accepts() string {
	switch p.Kind {
	case Duration:
		s := "a length of time with its unit, like 30s"
		if p.Min > 0 {
			s += ", at least " + scheduler.Time(p.Min).String()
		}
		return s
	case Count:
		return fmt.Sprintf("an integer from %d", p.Min)
	case Flag:
		return "true or false"
	case Choice:
		return strings.Join(p.Choices, ", ")
	case Counts:
		return "a list of positive integers"
	case Sequence:
		return "ids, or a list that names every model once"
	case Groups:
		return "true, false or a list of groups"
	case Decimal:
		return "a number from 0 with at most six decimals"
	case Spans:
		return "a length of time with its unit, negative for ever, or a map from models to such"
	case Sets:
		return "a list of lists of models"
	case Costs:
		return "a map from models to positive integers"
	}
	return "a map from every model to a device"
}

// Args are the decoded parameters of one Entry.
type Args struct {
	Env    *Env
	params []Param
	values []any
	given  []bool
}

// Time returns the value of a Duration.
func (a *Args) Time(name string) scheduler.Time { return a.value(name).(scheduler.Time) }

// Int returns the value of a Count.
func (a *Args) Int(name string) int64 { return a.value(name).(int64) }

// Millionths returns the value of a Decimal times a million.
func (a *Args) Millionths(name string) int64 { return int64(a.value(name).(millionths)) }

// Bool returns the value of a Flag.
func (a *Args) Bool(name string) bool { return a.value(name).(bool) }

// Text returns the value of a Choice.
func (a *Args) Text(name string) string { return a.value(name).(string) }

// Given reports whether the parameter was spelled out.
func (a *Args) Given(name string) bool { return a.given[a.find(name)] }

func (a *Args) value(name string) any { return a.values[a.find(name)] }

func (a *Args) find(name string) int {
	i := slices.IndexFunc(a.params, func(p Param) bool { return p.Name == name })
	if i < 0 {
		panic("bug: parameter " + name + " is not declared")
	}
	return i
}

// set replaces a default that depends on other parameters.
func (a *Args) set(name string, v any) { a.values[a.find(name)] = v }

// resolved returns the parameters as YAML would spell them.
func (a *Args) resolved() map[string]any {
	if len(a.params) == 0 {
		return nil
	}
	out := make(map[string]any, len(a.params))
	for i := range a.params {
		if v := a.spell(&a.params[i], a.values[i]); v != nil {
			out[a.params[i].Name] = v
		}
	}
	return out
}

func (a *Args) spell(p *Param, v any) any {
	switch v := v.(type) {
	case scheduler.Time:
		return v.String()
	case millionths:
		return v.spell()
	case spans:
		return v.spell(a.Env)
	case costs:
		return v.spell(a.Env)
	case [][]scheduler.ModelID:
		list := make([]any, len(v))
		for i := range v {
			names := make([]any, len(v[i]))
			for k, m := range v[i] {
				names[k] = a.Env.Models[m].Name
			}
			list[i] = names
		}
		return list
	case []int64:
		list := make([]any, len(v))
		for i := range v {
			list[i] = v[i]
		}
		return list
	case []scheduler.ModelID:
		if v == nil {
			return "ids"
		}
		list := make([]any, len(v))
		for i := range v {
			list[i] = a.Env.Models[v[i]].Name
		}
		return list
	case []string:
		if v == nil {
			return true
		}
		list := make([]any, len(v))
		for i := range v {
			list[i] = v[i]
		}
		return list
	case []scheduler.DeviceID:
		plan := make(map[string]any, len(v))
		for m, d := range v {
			plan[a.Env.Models[m].Name] = a.Env.Devices[d].Name
		}
		return plan
	}
	return v
}

// decode checks the values given for params and fills in the defaults.
func decode(path []string, params []Param, given map[string]any, env *Env) (*Args, error) {
	a := &Args{Env: env, params: params, values: make([]any, len(params)), given: make([]bool, len(params))}
	names := make([]string, 0, len(given))
	for name := range given {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		i := slices.IndexFunc(params, func(p Param) bool { return p.Name == name })
		if i < 0 {
			return nil, unknown(within(path, name), "parameter", name, paramNames(params))
		}
		v, err := decodeValue(within(path, name), &params[i], given[name], env)
		if err != nil {
			return nil, err
		}
		a.values[i], a.given[i] = v, true
	}
	for i := range params {
		if a.given[i] {
			continue
		}
		if params[i].Default == nil {
			return nil, at(within(path, params[i].Name), "must be given: %s", params[i].Accepts())
		}
		v, err := decodeValue(within(path, params[i].Name), &params[i], params[i].Default, env)
		if err != nil {
			return nil, err
		}
		a.values[i] = v
	}
	return a, nil
}

func within(path []string, name string) []string { return append(slices.Clone(path), name) }

func paramNames(params []Param) []string {
	names := make([]string, len(params))
	for i := range params {
		names[i] = params[i].Name
	}
	return names
}

func decodeValue(path []string, p *Param, v any, env *Env) (any, error) {
	switch p.Kind {
	case Duration:
		if s, ok := v.(string); ok {
			if t, err := scheduler.ParseTime(s); err == nil && int64(t) >= p.Min {
				return t, nil
			}
		}
	case Count:
		if n, ok := integer(v); ok && n >= p.Min {
			return n, nil
		}
	case Decimal:
		if n, ok := decimal(v); ok {
			return n, nil
		}
	case Flag:
		if b, ok := v.(bool); ok {
			return b, nil
		}
	case Choice:
		s, ok := v.(string)
		if ok && slices.Contains(p.Choices, s) {
			return s, nil
		}
		if ok {
			return nil, unknown(path, "value", s, p.Choices)
		}
	case Counts:
		if list, ok := counts(v); ok {
			return list, nil
		}
	case Sequence:
		return decodeSequence(path, p, v, env)
	case Groups:
		return decodeGroups(path, p, v, env)
	case Plan:
		return decodePlan(path, p, v, env)
	case Spans:
		return decodeSpans(path, p, v, env)
	case Sets:
		return decodeSets(path, p, v, env)
	case Costs:
		return decodeCosts(path, p, v, env)
	}
	return nil, at(path, "%s is not accepted; expected %s", show(v), p.Accepts())
}

func show(v any) string {
	if s, ok := v.(string); ok {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprint(v)
}

// integer accepts every integer type that a YAML decoder may produce.
func integer(v any) (int64, bool) {
	switch n := v.(type) {
	case int:
		return int64(n), true
	case int64:
		return n, true
	case uint64:
		return int64(n), n <= math.MaxInt64
	}
	return 0, false
}

// millionths is a Decimal times a million.
type millionths int64

const million = 1_000_000

// spell returns n as YAML would read it again.
func (n millionths) spell() any {
	if n%million == 0 {
		return int64(n / million)
	}
	return float64(n) / million
}

// decimal reads a number exactly, by its digits: the shortest that give the
// float64 which a YAML decoder makes of them.
func decimal(v any) (millionths, bool) {
	if n, ok := integer(v); ok {
		return millionths(n * million), n >= 0 && n <= math.MaxInt64/million
	}
	f, ok := v.(float64)
	if !ok || !(f >= 0 && f <= math.MaxInt64/million) {
		return 0, false
	}
	whole, rest, _ := strings.Cut(strconv.FormatFloat(f, 'f', -1, 64), ".")
	if len(rest) > 6 {
		return 0, false
	}
	n, err := strconv.ParseInt(whole+rest+strings.Repeat("0", 6-len(rest)), 10, 64)
	return millionths(n), err == nil
}

func counts(v any) ([]int64, bool) {
	list, ok := v.([]any)
	if !ok {
		return nil, false
	}
	out := make([]int64, 0, len(list))
	for _, e := range list {
		n, ok := integer(e)
		if !ok || n < 1 {
			return nil, false
		}
		out = append(out, n)
	}
	return out, true
}

// texts reads a list of strings.
func texts(v any) ([]string, bool) {
	switch list := v.(type) {
	case []string:
		return list, true
	case []any:
		out := make([]string, 0, len(list))
		for _, e := range list {
			s, ok := e.(string)
			if !ok {
				return nil, false
			}
			out = append(out, s)
		}
		return out, true
	}
	return nil, false
}

func decodeSequence(path []string, p *Param, v any, env *Env) (any, error) {
	if v == "ids" {
		return []scheduler.ModelID(nil), nil
	}
	names, ok := texts(v)
	if !ok {
		return nil, at(path, "%s is not accepted; expected %s", show(v), p.Accepts())
	}
	seen := make([]bool, len(env.Models))
	order := make([]scheduler.ModelID, 0, len(names))
	for _, name := range names {
		m, ok := env.Model(name)
		if !ok {
			return nil, unknown(path, "model", name, modelNames(env))
		}
		if seen[m] {
			return nil, at(path, "model %q is named twice", name)
		}
		seen[m] = true
		order = append(order, m)
	}
	if i := slices.Index(seen, false); i >= 0 {
		return nil, at(path, "model %q is missing; expected %s", env.Models[i].Name, p.Accepts())
	}
	return order, nil
}

func decodeGroups(path []string, p *Param, v any, env *Env) (any, error) {
	switch v {
	case true:
		return []string(nil), nil
	case false:
		return []string{}, nil
	}
	names, ok := texts(v)
	if !ok {
		return nil, at(path, "%s is not accepted; expected %s", show(v), p.Accepts())
	}
	valid := groupNames(env)
	for _, name := range names {
		if !slices.Contains(valid, name) {
			return nil, unknown(path, "group", name, valid)
		}
	}
	return append([]string{}, names...), nil
}

func decodePlan(path []string, p *Param, v any, env *Env) (any, error) {
	given, ok := v.(map[string]any)
	if !ok {
		return nil, at(path, "%s is not accepted; expected %s", show(v), p.Accepts())
	}
	names := make([]string, 0, len(given))
	for name := range given {
		names = append(names, name)
	}
	slices.Sort(names)
	plan := make([]scheduler.DeviceID, len(env.Models))
	for i := range plan {
		plan[i] = scheduler.NoDevice
	}
	for _, name := range names {
		m, ok := env.Model(name)
		if !ok {
			return nil, unknown(within(path, name), "model", name, modelNames(env))
		}
		d := slices.IndexFunc(env.Devices, func(d scheduler.Device) bool { return d.Name == given[name] })
		if d < 0 {
			return nil, unknown(within(path, name), "device", fmt.Sprint(given[name]), deviceNames(env))
		}
		if !fitsDevice(env, m, scheduler.DeviceID(d)) {
			return nil, at(within(path, name), "model %q with one item of a batch is larger than the budget of %s", name, env.Devices[d].Name)
		}
		plan[m] = scheduler.DeviceID(d)
	}
	if i := slices.Index(plan, scheduler.NoDevice); i >= 0 {
		return nil, at(path, "model %q is missing; expected %s", env.Models[i].Name, p.Accepts())
	}
	return plan, nil
}

// spans are a length of time for each model, negative for ever.
type spans []scheduler.Time

func (s spans) spell(env *Env) any {
	text := func(t scheduler.Time) string {
		if t < 0 {
			return "-1s"
		}
		return t.String()
	}
	if !slices.ContainsFunc(s, func(t scheduler.Time) bool { return t != s[0] }) {
		return text(s[0])
	}
	each := make(map[string]any, len(s))
	for m, t := range s {
		each[env.Models[m].Name] = text(t)
	}
	return each
}

func span(v any) (scheduler.Time, bool) {
	text, ok := v.(string)
	if !ok {
		return 0, false
	}
	length, ever := strings.CutPrefix(text, "-")
	t, err := scheduler.ParseTime(length)
	if ever {
		return -1, err == nil && t > 0
	}
	return t, err == nil
}

func decodeSpans(path []string, p *Param, v any, env *Env) (any, error) {
	wrong := func(path []string, v any) error {
		return at(path, "%s is not accepted; expected %s", show(v), p.Accepts())
	}
	all := v
	given, some := v.(map[string]any)
	if some {
		all = p.Default
	}
	usual, ok := span(all)
	if !ok {
		return nil, wrong(path, all)
	}
	list := spans(slices.Repeat([]scheduler.Time{usual}, len(env.Models)))
	return list, eachModel(path, given, env, func(path []string, m scheduler.ModelID, v any) error {
		t, ok := span(v)
		if !ok {
			return wrong(path, v)
		}
		list[m] = t
		return nil
	})
}

// eachModel calls f with what is given for models, by name.
func eachModel(path []string, given map[string]any, env *Env, f func([]string, scheduler.ModelID, any) error) error {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		m, ok := env.Model(name)
		if !ok {
			return unknown(within(path, name), "model", name, modelNames(env))
		}
		if err := f(within(path, name), m, given[name]); err != nil {
			return err
		}
	}
	return nil
}

func decodeSets(path []string, p *Param, v any, env *Env) (any, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, at(path, "%s is not accepted; expected %s", show(v), p.Accepts())
	}
	sets := make([][]scheduler.ModelID, 0, len(list))
	for _, one := range list {
		names, ok := texts(one)
		if !ok {
			return nil, at(path, "%s is not accepted; expected %s", show(one), p.Accepts())
		}
		set := make([]scheduler.ModelID, 0, len(names))
		for _, name := range names {
			m, ok := env.Model(name)
			switch {
			case !ok:
				return nil, unknown(path, "model", name, modelNames(env))
			case slices.Contains(set, m):
				return nil, at(path, "model %q is named twice in a set", name)
			}
			set = append(set, m)
		}
		sets = append(sets, set)
	}
	return sets, nil
}

// costs are a positive integer for each model.
type costs []int64

func (c costs) spell(env *Env) any {
	each := make(map[string]any, len(c))
	for m, n := range c {
		if n != 1 {
			each[env.Models[m].Name] = n
		}
	}
	return each
}

func decodeCosts(path []string, p *Param, v any, env *Env) (any, error) {
	given, ok := v.(map[string]any)
	if !ok {
		return nil, at(path, "%s is not accepted; expected %s", show(v), p.Accepts())
	}
	list := costs(slices.Repeat([]int64{1}, len(env.Models)))
	return list, eachModel(path, given, env, func(path []string, m scheduler.ModelID, v any) error {
		n, ok := integer(v)
		if !ok || n < 1 || n > maxCost {
			return at(path, "%s is not accepted; expected an integer from 1 to %d", show(v), maxCost)
		}
		list[m] = n
		return nil
	})
}

// maxCost keeps sums of costs exact.
const maxCost = 1_000_000_000

// fitsDevice reports whether m with one item of a batch can ever be on d.
func fitsDevice(env *Env, m scheduler.ModelID, d scheduler.DeviceID) bool {
	return env.Models[m].Bytes <= env.Devices[d].Budget-env.Models[m].Batch.Memory
}

func modelNames(env *Env) []string {
	names := make([]string, len(env.Models))
	for i := range env.Models {
		names[i] = env.Models[i].Name
	}
	return names
}

func deviceNames(env *Env) []string {
	names := make([]string, len(env.Devices))
	for i := range env.Devices {
		names[i] = env.Devices[i].Name
	}
	return names
}

func groupNames(env *Env) []string {
	var names []string
	for i := range env.Models {
		if g := env.Models[i].Group; g != "" && !slices.Contains(names, g) {
			names = append(names, g)
		}
	}
	return names
}
