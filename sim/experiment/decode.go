package experiment

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/workloads"
)

// decoder reads nodes and reports what is wrong with them. What it accepts it
// rewrites in place to one canonical spelling, and it adds the defaults: the
// tree that was read becomes the resolved experiment.
type decoder struct {
	errs   *Errors
	files  *files
	tables *tables
	ids    map[string]scheduler.ModelID // of the catalogue being read
	seedOf uint64                       // of the cell being read
	quick  bool
	// knowledge is what of profiles may be used; profiled is true once one was read.
	knowledge Knowledge
	profiled  bool
}

func (d *decoder) errorf(at place, format string, args ...any) { d.errs.addf(at, format, args...) }

// wrong reports that n is not what was expected at path.
func (d *decoder) wrong(n *node, path, want string) {
	d.errorf(n.at, "%s is %s; expected %s", path, n.describe(), want)
}

// fields reads the keys of one mapping by the table of its shape.
type fields struct {
	d    *decoder
	n    *node
	s    *shape
	path string
}

// record opens a mapping: keys that are not in the table are errors. It
// returns false if n is no mapping.
func (d *decoder) record(n *node, path string, s *shape) (fields, bool) {
	f := fields{d, n, s, path}
	if n.kind != mappingNode {
		d.wrong(n, orRoot(path), s.want)
		return f, false
	}
	for i, k := range n.keys {
		if _, ok := s.key(k); !ok {
			d.errorf(n.keyAt[i], "unknown key %s in %s%s", quote(k), orRoot(path), suggest(k, s.names()))
		}
	}
	return f, true
}

func orRoot(path string) string {
	if path == "" {
		return "the experiment"
	}
	return path
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// given reports whether the file has the key. One without a value is reported
// as an error and does not count.
func (f *fields) given(name string) bool {
	v := f.n.child(name)
	if v != nil && v.kind == nullNode {
		f.get(name)
		return false
	}
	return v != nil
}

// get returns the node of a key; a missing one is added if it has a default,
// reported if it must be given, and nil otherwise. An empty value counts as missing.
func (f *fields) get(name string) (*node, string) {
	k, ok := f.s.key(name)
	if !ok {
		panic("bug: key " + name + " is not in the table of " + f.path)
	}
	path := join(f.path, name)
	v := f.n.child(name)
	if v != nil && v.kind != nullNode {
		return v, path
	}
	switch {
	case v != nil:
		f.n.remove(name)
		f.d.errorf(v.at, "%s is empty; expected %s", path, wanted(k.is))
	case k.must:
		f.d.errorf(f.n.at, "%s is missing; expected %s", path, wanted(k.is))
	case k.def != "":
		v = f.d.fallback(k.def, f.n.at)
		f.n.add(name, f.n.at, v)
		return v, path
	}
	return nil, path
}

// fallback makes a node of the default of a table.
func (d *decoder) fallback(text string, at place) *node {
	if !strings.ContainsAny(text, "{[") {
		return scalar(at, text)
	}
	var errs Errors
	n := parseYAML("default", []byte(text), &errs)
	if !errs.none() {
		panic("bug: the default " + text + " cannot be read")
	}
	n.moveTo(at)
	return n
}

// moveTo makes errors in n point to a place.
func (n *node) moveTo(at place) {
	n.at = at
	for i := range n.keyAt {
		n.keyAt[i] = at
	}
	for _, v := range n.values {
		v.moveTo(at)
	}
}

// done puts the keys into the order of the table, so that equal mappings are
// written equally.
func (f *fields) done() {
	sorted := node{kind: mappingNode, at: f.n.at, keys: make([]string, 0, len(f.n.keys)),
		keyAt: make([]place, 0, len(f.n.keys)), values: make([]*node, 0, len(f.n.keys))}
	for i := range f.s.keys {
		if k := f.n.find(f.s.keys[i].name); k >= 0 {
			sorted.add(f.n.keys[k], f.n.keyAt[k], f.n.values[k])
		}
	}
	*f.n = sorted
}

func wanted(s *shape) string {
	if s.want != "" {
		return s.want
	}
	switch s.kind {
	case wordShape:
		return oneOf(s.enum)
	case integerShape:
		return "an integer"
	case numberShape:
		return "a number"
	case timeShape:
		return "a length of time with its unit, like 1.5s"
	case bytesShape:
		return "an amount of memory with its unit, like 4.5GB"
	case rateShape:
		return "a rate, like 40/h"
	}
	return "a text"
}

func oneOf(names []string) string {
	if len(names) == 1 {
		return names[0]
	}
	return "one of " + strings.Join(names, ", ")
}

func (f *fields) bytes(name string) scheduler.Bytes {
	n, path := f.get(name)
	if n == nil {
		return 0
	}
	return f.d.bytes(n, path)
}

func (f *fields) time(name string) scheduler.Time {
	n, path := f.get(name)
	if n == nil {
		return 0
	}
	return f.d.time(n, path)
}

func (f *fields) integer(name string, least, most int64) int64 {
	n, path := f.get(name)
	if n == nil {
		return 0
	}
	return f.d.integer(n, path, least, most)
}

func (f *fields) number(name string, ok func(float64) bool, want string) float64 {
	n, path := f.get(name)
	if n == nil {
		return 0
	}
	return f.d.number(n, path, ok, want)
}

// name reads a text that will be printed as a name.
func (f *fields) name(name string) string {
	n, path := f.get(name)
	if n == nil {
		return ""
	}
	return f.d.name(n, path)
}

// word reads one of the words of the key's shape.
func (f *fields) word(name string) string {
	n, path := f.get(name)
	if n == nil {
		return ""
	}
	k, _ := f.s.key(name)
	return f.d.word(n, path, k.is.enum)
}

func (d *decoder) bytes(n *node, path string) scheduler.Bytes {
	if n.kind == scalarNode {
		if v, err := scheduler.ParseBytes(n.text); err == nil {
			n.text, n.quoted = v.String(), false
			return v
		}
	}
	d.badUnit(n, path, "an amount of memory with its unit (B, KB, MB, GB, TB, KiB, MiB, GiB, TiB), like 4.5GB")
	return 0
}

func (d *decoder) time(n *node, path string) scheduler.Time {
	return d.timeOr(n, path, "")
}

// timeOr reads a length of time; errors say what else could be there.
func (d *decoder) timeOr(n *node, path, other string) scheduler.Time {
	if n.kind == scalarNode {
		if v, err := scheduler.ParseTime(n.text); err == nil {
			if v == 0 && strings.Trim(n.text, "0. nusmhdµ") != "" {
				d.errorf(n.at, "%s is %s, which is less than a nanosecond can tell", path, n.describe())
				return 0
			}
			n.text, n.quoted = v.String(), false
			return v
		}
	}
	d.badUnit(n, path, "a length of time with its unit (ns, us, ms, s, m, h, d), like 1.5s"+other)
	return 0
}

// badUnit says why a quantity cannot be read.
func (d *decoder) badUnit(n *node, path, want string) {
	switch {
	case n.kind != scalarNode:
		d.wrong(n, path, want)
	case notFinite(n.text):
		d.errorf(n.at, "%s is %s, which is not finite; expected %s", path, n.describe(), want)
	case strings.HasPrefix(n.text, "-"):
		d.errorf(n.at, "%s is %s and must not be negative; expected %s", path, n.describe(), want)
	case number(n.text):
		d.errorf(n.at, "%s is %s without a unit; expected %s", path, n.describe(), want)
	case strings.IndexFunc(n.text, func(r rune) bool { return r < '0' || r > '9' }) > 18:
		d.errorf(n.at, "%s is %s, which is too large; expected %s", path, n.describe(), want)
	default:
		d.wrong(n, path, want)
	}
}

func notFinite(s string) bool {
	switch strings.ToLower(strings.TrimLeft(s, "+-.")) {
	case "nan", "inf", "infinity":
		return true
	}
	return false
}

// number reports whether s is a plain decimal number: digits, a fraction, an
// exponent, a minus.
func number(s string) bool {
	mantissa, exponent, scientific := strings.Cut(strings.ToLower(strings.TrimPrefix(s, "-")), "e")
	whole, fraction, dotted := strings.Cut(mantissa, ".")
	if !digits(whole) || dotted && !digits(fraction) {
		return false
	}
	return !scientific || digits(strings.TrimLeft(exponent, "+-")) && len(exponent) < 5
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

func (d *decoder) integer(n *node, path string, least, most int64) int64 {
	want := fmt.Sprintf("an integer of at least %d", least)
	if most < math.MaxInt64 {
		want = fmt.Sprintf("an integer from %d to %d", least, most)
	}
	if n.kind != scalarNode || n.quoted || !digits(strings.TrimPrefix(n.text, "-")) {
		d.wrong(n, path, want)
		return least
	}
	v, err := strconv.ParseInt(n.text, 10, 64)
	if err != nil || v < least || v > most {
		d.errorf(n.at, "%s is %s; it must be %s", path, n.describe(), want)
		return least
	}
	n.text = strconv.FormatInt(v, 10)
	return v
}

// number reads a finite decimal number that satisfies ok, described by want.
func (d *decoder) number(n *node, path string, ok func(float64) bool, want string) float64 {
	if n.kind != scalarNode || n.quoted || !number(n.text) {
		if n.kind == scalarNode && notFinite(n.text) {
			d.errorf(n.at, "%s is %s, which is not finite; it must be %s", path, n.describe(), want)
			return 0
		}
		d.wrong(n, path, want)
		return 0
	}
	v, err := strconv.ParseFloat(n.text, 64)
	if err != nil || math.IsInf(v, 0) || !ok(v) {
		d.errorf(n.at, "%s is %s; it must be %s", path, n.describe(), want)
		return 0
	}
	if v == 0 {
		v = 0 // not -0
	}
	n.text = strconv.FormatFloat(v, 'g', -1, 64)
	return v
}

func positive(v float64) bool    { return v > 0 }
func notNegative(v float64) bool { return v >= 0 }
func probability(v float64) bool { return v >= 0 && v <= 1 }

const maxName = 256 // bytes

func (d *decoder) name(n *node, path string) string {
	if n.kind != scalarNode {
		d.wrong(n, path, "a name")
		return ""
	}
	d.checkName(n.at, path, n.text)
	n.quoted = false
	return n.text
}

// checkName refuses what would not print as one visible word or line.
func (d *decoder) checkName(at place, path, name string) bool {
	switch i := strings.IndexFunc(name, control); {
	case i >= 0:
		r, _ := utf8.DecodeRuneInString(name[i:])
		d.errorf(at, "%s contains the control character %s; names are printable", path, strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
	case strings.TrimSpace(name) == "":
		d.errorf(at, "%s is empty; expected a name", path)
	case len(name) > maxName:
		d.errorf(at, "%s has %d bytes; names have at most %d", path, len(name), maxName)
	default:
		return true
	}
	return false
}

// control reports runes that could drive a terminal or reorder a line.
func control(r rune) bool {
	return r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == utf8.RuneError
}

func (d *decoder) word(n *node, path string, enum []string) string {
	if n.kind != scalarNode {
		d.wrong(n, path, oneOf(enum))
		return ""
	}
	if !slices.Contains(enum, n.text) {
		d.errorf(n.at, "%s is %s; expected %s%s", path, n.describe(), oneOf(enum), onlyNear(n.text, enum))
		return ""
	}
	n.quoted = false
	return n.text
}

// list opens a list.
func (d *decoder) list(n *node, path, want string) ([]*node, bool) {
	if n.kind != listNode {
		d.wrong(n, path, want)
		return nil, false
	}
	return n.values, true
}

// choice opens a mapping with exactly one key of the table, or the bare name
// of one, and returns that name and its value, which is an empty mapping where
// it is left out.
func (d *decoder) choice(n *node, path string, s *shape) (string, *node, bool) {
	if n.kind == scalarNode {
		if _, ok := s.key(n.text); !ok {
			d.errorf(n.at, "%s is %s; expected %s%s", path, n.describe(), s.want, onlyNear(n.text, s.names()))
			return "", nil, false
		}
		name, at := n.text, n.at
		*n = node{kind: mappingNode, at: at}
		n.add(name, at, mapping(at))
	}
	if n.kind != mappingNode {
		d.wrong(n, path, s.want)
		return "", nil, false
	}
	if len(n.keys) != 1 {
		d.errorf(n.at, "%s has %d keys; expected exactly %s", path, len(n.keys), oneOf(s.names()))
		return "", nil, false
	}
	name := n.keys[0]
	if _, ok := s.key(name); !ok {
		d.errorf(n.keyAt[0], "unknown key %s in %s%s", quote(name), path, suggest(name, s.names()))
		return "", nil, false
	}
	if n.values[0].kind == nullNode {
		n.values[0] = mapping(n.keyAt[0])
	}
	return name, n.values[0], true
}

func onlyNear(word string, names []string) string {
	if s := suggest(word, names); strings.HasPrefix(s, "; did") {
		return s
	}
	return ""
}

// rate reads a rate like 40/h.
func (d *decoder) rate(n *node, path string) workloads.Rate {
	const want = "a rate per s, m or h, like 40/h"
	if n.kind != scalarNode {
		d.wrong(n, path, want)
		return workloads.Rate{}
	}
	r, err := workloads.ParseRate(n.text)
	if err != nil {
		d.badUnit(n, path, want)
		return workloads.Rate{}
	}
	n.quoted = false
	return r
}

func (f *fields) rate(name string) workloads.Rate {
	n, path := f.get(name)
	if n == nil {
		return workloads.Rate{}
	}
	return f.d.rate(n, path)
}
