package experiment

import (
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/results/summary"
	"github.com/vramsim/vramsim/workloads"
)

// Version is the version of the experiment file that this package reads.
const Version = 1

// Experiment is an experiment that was read and found right. It must not be changed.
type Experiment struct {
	Name     string
	Question string
	Seed     uint64
	// NeedSeed is true if neither file nor options name a seed: draw one and
	// go on with WithSeed. Seed is 0 until then.
	NeedSeed bool
	// Replicates is how many runs each policy has in each cell, 1 when nothing
	// is random; see Cell.Replicates.
	Replicates int
	Quick      bool
	Baseline   string // name of a policy of every cell
	Thresholds []summary.Threshold
	Output     Output
	// Cells are the points of the sweep, at least one.
	Cells []*Cell
	// Inputs are the files that were read, by absolute path, and their SHA-256.
	Inputs map[string]string
	// Varied says what differs between replicates of a recorded workload, ""
	// for a generated one or a single replicate.
	Varied string
	// Profiled is true if a profile was read, which its resolved text hides.
	Profiled bool

	tree   *node // of what belongs to no cell
	source given
}

// given is what Load was given, for WithSeed.
type given struct {
	name, dir string
	data      []byte
	set       *policies.Set
	opts      Options
}

// Output is what a run directory holds.
type Output struct {
	Events string   // none, log, jsonl or parquet
	Report []string // of html, md
	Charts []string // of svg, png, pdf
	// Sketch says that quantiles are approximate, in bounded memory.
	Sketch bool
}

// Load reads and checks the experiment file at path. Relative paths in it are
// relative to its folder. What is wrong with it is an *Errors.
func Load(path string, set *policies.Set, opts Options) (*Experiment, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, filepath.Dir(path), data, set, opts)
}

// Parse is Load for a text; name stands in messages, dir is what relative
// paths are relative to.
func Parse(name, dir string, data []byte, set *policies.Set, opts Options) (*Experiment, error) {
	errs := &Errors{}
	d := &decoder{errs: errs, tables: newTables(), quick: opts.Quick, knowledge: opts.Knowledge, files: &files{dir: dir, search: opts.Search, found: map[string]*input{},
		want: map[string]string{}, traces: map[string]*workloads.Trace{}, warnings: map[*workloads.Trace][]string{}}}
	root := parseYAML(name, data, errs)
	if !errs.none() {
		return nil, errs.asError()
	}
	src := newSource(name, string(data))
	if root == nil || root.kind != mappingNode {
		errs.addf(place{src, 1, 1}, "the file is empty; expected an experiment: version, hardware, models, workload, policies")
		return nil, errs
	}
	if !d.version(root) {
		return nil, errs
	}
	e := &Experiment{Quick: opts.Quick, source: given{name: name, dir: dir, data: data, set: set, opts: opts}}
	d.apply(root, opts)
	d.experiment(e, root, set, opts)
	if err := errs.asError(); err != nil {
		return nil, err
	}
	return e, nil
}

// WithSeed returns the experiment with a seed.
func (e *Experiment) WithSeed(seed uint64) (*Experiment, error) {
	opts := e.source.opts
	opts.Seed = &seed
	return Parse(e.source.name, e.source.dir, e.source.data, e.source.set, opts)
}

// version refuses what this build cannot read, before its keys are looked at.
func (d *decoder) version(root *node) bool {
	v := root.child("version")
	switch {
	case v == nil:
		d.errorf(root.at, "version is missing; this build reads version: %d", Version)
	case v.kind != scalarNode || !digits(v.text) || v.quoted:
		d.wrong(v, "version", strconv.Itoa(Version))
	case v.text != strconv.Itoa(Version):
		n, err := strconv.ParseUint(v.text, 10, 64)
		if err != nil || n > Version {
			d.errorf(v.at, "version is %s; this build reads version %d: a newer vramsim is needed", v.text, Version)
			return false
		}
		d.errorf(v.at, "version is %s; there is no such version, the first is %d", v.text, Version)
	default:
		return true
	}
	return false
}

// experiment reads the tree: what belongs to no cell, then each cell.
func (d *decoder) experiment(e *Experiment, root *node, set *policies.Set, opts Options) {
	f, _ := d.record(root, "", d.tables.root)
	f.integer("version", 1, 1)
	base := strings.TrimSuffix(filepath.Base(e.source.name), filepath.Ext(e.source.name))
	if base == "" || base == "-" || base == "." {
		base = "experiment"
	}
	f.defaulted("name", base)
	e.Name = f.name("name")
	if f.given("question") {
		e.Question = f.name("question")
	}
	asked := int(f.integer("replicates", 1, 1<<20))
	e.Seed, e.NeedSeed = d.seed(&f)
	if n, p := f.get("output"); n != nil {
		e.Output = d.output(n, p)
	}
	d.knownInputs(&f)
	plan := d.plan(&f)
	if d.errs.none() || len(plan) > 0 {
		d.cells(e, root, plan, set, opts, asked)
	}
	if len(e.Cells) > 0 {
		d.baseline(e, &f, opts)
		d.thresholds(e, &f, opts)
	}
	e.finish(root, d)
}

// seed reads any 64-bit number.
func (d *decoder) seed(f *fields) (seed uint64, missing bool) {
	n := f.n.child("seed")
	if n == nil || n.kind == nullNode {
		return 0, true
	}
	v, err := strconv.ParseUint(n.text, 10, 64)
	if n.kind != scalarNode || n.quoted || err != nil {
		d.wrong(n, "seed", "an integer from 0 to 18446744073709551615")
		return 0, false
	}
	n.text = strconv.FormatUint(v, 10)
	return v, false
}

func (d *decoder) output(n *node, path string) Output {
	var o Output
	f, ok := d.record(n, path, d.tables.output)
	if !ok {
		return o
	}
	defer f.done()
	o.Events = f.word("events")
	o.Report, o.Charts = f.words("report"), f.words("charts")
	o.Sketch = f.word("quantiles") == "sketch"
	return o
}

// words reads a list of words without repetitions.
func (f *fields) words(name string) []string {
	n, path := f.get(name)
	if n == nil {
		return nil
	}
	k, _ := f.s.key(name)
	values, _ := f.d.list(n, path, wanted(k.is))
	var list []string
	for i, v := range values {
		w := f.d.word(v, indexed(path, i), k.is.of.enum)
		if slices.Contains(list, w) {
			f.d.errorf(v.at, "%s is %s, which stands there already", indexed(path, i), quote(w))
		}
		list = append(list, w)
	}
	return list
}

// knownInputs reads the hashes of a resolved experiment.
func (d *decoder) knownInputs(f *fields) {
	n, path := f.get("inputs")
	if n == nil {
		return
	}
	if n.kind != mappingNode {
		d.wrong(n, path, "a mapping from files to their SHA-256")
		return
	}
	for i, file := range n.keys {
		v := n.values[i]
		if sum, err := hex.DecodeString(v.text); err != nil || len(sum) != sha256.Size {
			d.errorf(v.at, "%s is %s; expected a SHA-256 of 64 hexadecimal digits", path, v.describe())
			continue
		}
		d.files.want[filepath.Clean(file)] = strings.ToLower(v.text)
	}
}

// baseline finds the policy that others are compared with.
func (d *decoder) baseline(e *Experiment, f *fields, opts Options) {
	names := e.Cells[0].names()
	fallback := names[:min(1, len(names))]
	if slices.Contains(names, "seed") {
		fallback = []string{"seed"}
	}
	if len(fallback) == 0 {
		return
	}
	e.Baseline = fallback[0]
	n, path := f.get("baseline")
	if n != nil {
		name := d.name(n, path)
		if slices.Contains(names, name) || len(opts.Policies) == 0 {
			e.Baseline = name
		}
	}
	at := f.n.at
	if n != nil {
		at = n.at
	}
	for _, c := range e.Cells {
		if len(c.policies) > 0 && !slices.Contains(c.names(), e.Baseline) {
			d.errorf(at, "%s: there is no policy named %s%s", "baseline", quote(e.Baseline), suggest(e.Baseline, c.names()))
			return
		}
	}
	v := scalar(at, e.Baseline)
	f.n.put("baseline", at, v)
}

// finish gathers what follows from the cells.
func (e *Experiment) finish(root *node, d *decoder) {
	e.Replicates = 1
	recorded := false
	for _, c := range e.Cells {
		e.Replicates = max(e.Replicates, c.Replicates)
		recorded = recorded || c.workload.trace != nil
	}
	if recorded && e.Replicates > 1 {
		e.Varied = "the workload is recorded; what is drawn differs: load, batch and item times, faults, ties"
	}
	e.Profiled = d.profiled
	e.Inputs = map[string]string{}
	for path, sum := range d.files.want {
		e.Inputs[path] = sum
	}
	for _, in := range d.files.inputs() {
		e.Inputs[in.path] = in.sha256
	}
	e.tree = root
}

// Deterministic reports whether nothing in the experiment is random.
func (e *Experiment) Deterministic() bool {
	return !slices.ContainsFunc(e.Cells, func(c *Cell) bool { return c.random })
}
