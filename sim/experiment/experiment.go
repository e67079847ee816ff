package experiment

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/results/summary"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/workloads"
)

// Version is the version of the experiment file that this package reads.
const Version = 1

// Options change an experiment after it was read and before it is checked.
type Options struct {
	// Set holds changes like "hardware.gpus[0].memory=8GB".
	Set []string
	// Policies, if any, replaces the list of policies: names as the file calls
	// them, names of policies, or YAML like "{use: max-wait, params: {wait: 30s}}".
	Policies []string
	// Seed, if not nil, replaces the seed of the file.
	Seed *uint64
	// Replicates, if positive, replaces that of the file.
	Replicates int
	// Quick takes a twentieth of durations and items and 3 replicates.
	Quick bool
	// Search names folders in which input files are looked for that are not
	// beside the experiment.
	Search []string
}

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
	d := &decoder{errs: errs, tables: newTables(), files: &files{dir: dir, search: opts.Search, found: map[string]*input{}, want: map[string]string{}, traces: map[string]*workloads.Trace{}}, quick: opts.Quick}
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

// apply makes the changes of the options in the tree.
func (d *decoder) apply(root *node, opts Options) {
	for _, s := range opts.Set {
		path, value, ok := strings.Cut(s, "=")
		src := newSource("--set", s)
		if !ok || path == "" {
			d.errorf(place{src, 1, 1}, "%s is not of the form path=value, like hardware.gpus[0].memory=8GB", quote(s))
			continue
		}
		at := place{src, 1, len([]rune(path)) + 2}
		d.assign(root, strings.TrimSpace(path), place{src, 1, 1}, d.snippet(value, at))
	}
	flag := func(name, text string) place { return place{newSource(name, text), 1, 1} }
	if opts.Seed != nil {
		text := strconv.FormatUint(*opts.Seed, 10)
		root.put("seed", flag("--seed", text), scalar(flag("--seed", text), text))
	}
	if opts.Replicates != 0 {
		text := strconv.Itoa(opts.Replicates)
		root.put("replicates", flag("--replicates", text), scalar(flag("--replicates", text), text))
	}
	if len(opts.Policies) > 0 {
		d.choosePolicies(root, opts.Policies)
	}
	if opts.Quick {
		d.quicken(root, opts)
	}
}

// choosePolicies replaces the list of policies by those named on the command line.
func (d *decoder) choosePolicies(root *node, names []string) {
	old := root.child("policies")
	var chosen *node
	for _, name := range names {
		at := place{newSource("--policy", name), 1, 1}
		if chosen == nil {
			chosen = list(at)
		}
		if strings.HasPrefix(name, "{") {
			chosen.values = append(chosen.values, d.snippet(name, at))
			continue
		}
		if one := entryNamed(old, name); one != nil {
			chosen.values = append(chosen.values, one)
			continue
		}
		one := mapping(at)
		one.add("use", at, scalar(at, name))
		chosen.values = append(chosen.values, one)
	}
	root.put("policies", chosen.at, chosen)
}

// entryNamed finds a policy of the file by as, or by use if it has none.
func entryNamed(n *node, name string) *node {
	if n == nil || n.kind != listNode {
		return nil
	}
	for _, v := range n.values {
		called := v.child("as")
		if called == nil {
			called = v.child("use")
		}
		if called != nil && called.kind == scalarNode && called.text == name {
			return v
		}
	}
	return nil
}

// quickFactor is what --quick divides by.
const quickFactor = 20

// quicken shortens the workload and the values that a sweep gives it.
func (d *decoder) quicken(root *node, opts Options) {
	keys := []string{"duration", "items", "warmup", "horizon"}
	if w := root.child("workload"); w != nil {
		for _, k := range keys {
			shorten(w.child(k))
		}
	}
	if sweep := root.child("sweep"); sweep != nil && sweep.child("axes") != nil {
		axes := sweep.child("axes")
		for i, path := range axes.keys {
			for _, k := range keys {
				if path == "workload."+k {
					for _, v := range axes.values[i].values {
						shorten(v)
					}
				}
			}
		}
	}
	if opts.Replicates == 0 {
		at := place{newSource("--quick", "3"), 1, 1}
		root.put("replicates", at, scalar(at, "3"))
	}
}

func shorten(n *node) {
	if n == nil || n.kind != scalarNode {
		return
	}
	if t, err := scheduler.ParseTime(n.text); err == nil {
		n.text = (t / quickFactor).String()
	} else if v, err := strconv.ParseInt(n.text, 10, 64); err == nil && v > 0 {
		n.text = strconv.FormatInt((v+quickFactor-1)/quickFactor, 10)
	}
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

// Setting is a value that a sweep gives to a path of the experiment.
type Setting struct{ Path, Value string }

// point is a cell to be: its settings, and for a resolved experiment the
// sections that differ from the first cell.
type point struct {
	set      []Setting
	paths    []string
	at       []place
	values   []*node
	sections *node
}

const maxCells = 100_000

// sweepable are the first steps of the paths that an axis may have.
var sweepable = [...]string{"seed", "hardware", "models", "workload", "policies", "attempts", "faults"}

// plan returns the points of the sweep; without one there is a single point.
func (d *decoder) plan(f *fields) []point {
	n, path := f.get("sweep")
	if n == nil {
		return []point{{}}
	}
	s, ok := d.record(n, path, d.tables.sweep)
	if !ok {
		return nil
	}
	if s.given("axes") == s.given("cells") {
		d.errorf(n.at, "%s needs axes", path)
		return nil
	}
	if s.given("cells") {
		return d.resolvedCells(&s)
	}
	axes, path := s.get("axes")
	if axes.kind != mappingNode {
		d.wrong(axes, path, "a mapping from paths to lists of values")
		return nil
	}
	total := 1
	for i, axis := range axes.keys {
		first := strings.FieldsFunc(axis+" ", func(r rune) bool { return strings.ContainsRune(".[ ", r) })
		if len(first) == 0 || !slices.Contains(sweepable[:], first[0]) {
			d.errorf(axes.keyAt[i], "%s cannot be swept; a path begins with %s%s", quote(axis), oneOf(sweepable[:]), onlyNear(append(first, "")[0], sweepable[:]))
			return nil
		}
		if v := axes.values[i]; v.kind != listNode || len(v.values) == 0 {
			d.wrong(v, path+": "+axis, "a list of values, like [8GB, 12GB]")
			return nil
		}
		if total *= len(axes.values[i].values); total > maxCells {
			d.errorf(n.at, "%s makes more than %d cells", path, maxCells)
			return nil
		}
	}
	return d.product(axes, total)
}

// product returns all combinations, the last axis changing fastest.
func (d *decoder) product(axes *node, total int) []point {
	points := make([]point, total)
	for i := range points {
		rest := i
		p := point{paths: axes.keys, at: axes.keyAt, values: make([]*node, len(axes.keys)), set: make([]Setting, len(axes.keys))}
		for k := len(axes.keys) - 1; k >= 0; k-- {
			values := axes.values[k].values
			v := values[rest%len(values)]
			rest /= len(values)
			p.values[k] = v
			p.set[k] = Setting{axes.keys[k], shown(v)}
		}
		points[i] = p
	}
	return points
}

// shown is a value as a table prints it.
func shown(n *node) string {
	if n.kind == scalarNode {
		return n.text
	}
	return flow(n)
}

// resolvedCells reads the cells that Resolved wrote.
func (d *decoder) resolvedCells(s *fields) []point {
	n, path := s.get("cells")
	values, ok := d.list(n, path, "a list of cells")
	if !ok || len(values) == 0 {
		d.wrong(n, path, "a list of cells")
		return nil
	}
	var points []point
	for i, v := range values {
		f, ok := d.record(v, indexed(path, i), d.tables.cell)
		if !ok {
			return nil
		}
		p := point{sections: v}
		set, setPath := f.get("set")
		if set == nil || set.kind != mappingNode {
			d.errorf(v.at, "%s is no mapping from paths to values", setPath)
			return nil
		}
		for k, key := range set.keys {
			p.set = append(p.set, Setting{key, shown(set.values[k])})
		}
		points = append(points, p)
	}
	return points
}

// cells reads the experiment once for each point.
func (d *decoder) cells(e *Experiment, root *node, plan []point, set *policies.Set, opts Options, asked int) {
	for i, p := range plan {
		tree := mapping(root.at)
		for _, name := range sweepable {
			if v := root.child(name); v != nil {
				tree.add(name, root.keyAt[root.find(name)], v.clone())
			}
		}
		for k, path := range p.paths {
			d.assign(tree, path, p.at[k], p.values[k].clone())
		}
		if p.sections != nil {
			for k, name := range p.sections.keys {
				if name != "set" {
					tree.put(name, p.sections.keyAt[k], p.sections.values[k].clone())
				}
			}
		}
		c := d.cell(tree, set, swept(p.set))
		c.Set, c.index = p.set, i
		if c.Replicates = 1; c.random {
			c.Replicates = asked
		}
		e.Cells = append(e.Cells, c)
		if d.errs.Total >= maxErrors {
			return
		}
	}
}

// swept returns the sections that settings change.
func swept(set []Setting) []string {
	var list []string
	for _, s := range set {
		list = append(list, s.Path[:strings.IndexAny(s.Path+".", ".[")])
	}
	return list
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

// Resolved returns resolved.yaml: the experiment with every default, change
// and file of models spelled out. Loading it gives the same cells, ids and
// runs; equal experiments have equal bytes.
func (e *Experiment) Resolved() []byte {
	out := mapping(e.tree.at)
	put := func(name string, v *node) {
		if v != nil && v.kind != nullNode {
			out.add(name, e.tree.at, v)
		}
	}
	for _, name := range []string{"version", "name", "question", "seed", "replicates"} {
		put(name, e.tree.child(name))
	}
	first := e.Cells[0]
	for _, name := range sweepable[1:] {
		put(name, first.tree.child(name))
		if name == "policies" {
			put("baseline", e.tree.child("baseline"))
		}
	}
	if len(e.Cells) > 1 || len(first.Set) > 0 {
		put("sweep", e.resolvedSweep())
	}
	put("thresholds", e.tree.child("thresholds"))
	put("output", e.tree.child("output"))
	put("inputs", e.inputNode())
	return append([]byte("# An experiment of vramsim with every default spelled out.\n"), render(out)...)
}

func (e *Experiment) inputNode() *node {
	if len(e.Inputs) == 0 {
		return nil
	}
	n := mapping(e.tree.at)
	paths := make([]string, 0, len(e.Inputs))
	for p := range e.Inputs {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	for _, p := range paths {
		n.add(p, n.at, scalar(n.at, e.Inputs[p]))
	}
	return n
}

// resolvedSweep lists the cells: what each sets, and the sections in which it
// differs from the first.
func (e *Experiment) resolvedSweep() *node {
	at := e.tree.at
	cells := list(at)
	first := e.Cells[0]
	for _, c := range e.Cells {
		n, set := mapping(at), mapping(at)
		for _, s := range c.Set {
			set.add(s.Path, at, &node{kind: scalarNode, at: at, text: s.Value, quoted: true})
		}
		n.add("set", at, set)
		for _, name := range sweepable {
			if v := c.tree.child(name); v != nil && !bytes.Equal(render(v), render(orEmpty(first.tree.child(name), at))) {
				n.add(name, at, v)
			}
		}
		cells.values = append(cells.values, n)
	}
	sweep := mapping(at)
	sweep.add("cells", at, cells)
	return sweep
}

func orEmpty(n *node, at place) *node {
	if n == nil {
		return &node{at: at}
	}
	return n
}

// namespace is the one in which run ids are made: UUIDv5 of the repository's name.
func namespace() uuid.UUID {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://github.com/vramsim/vramsim"))
}

// RunID identifies a run of the whole experiment: UUIDv5 over the resolved
// experiment, the content of its files and the version of the program.
func (e *Experiment) RunID(version string) uuid.UUID {
	var all bytes.Buffer
	fmt.Fprintf(&all, "experiment\n%s\n%s\n%d\n%d\n", version, e.Name, e.Seed, e.Replicates)
	for _, c := range e.Cells {
		all.Write(c.identity(sweepable[:]...))
	}
	return uuid.NewSHA1(namespace(), all.Bytes())
}

// identity is the canonical text of some sections of a cell, with files
// replaced by their content's hash.
func (c *Cell) identity(sections ...string) []byte {
	n := mapping(c.tree.at)
	for _, name := range sections {
		if v := c.tree.child(name); v != nil {
			n.add(name, v.at, byContent(v))
		}
	}
	return render(n)
}

func byContent(n *node) *node {
	c := n.clone()
	var walk func(*node)
	walk = func(n *node) {
		if n.content != "" {
			n.text = n.content
		}
		for _, v := range n.values {
			walk(v)
		}
	}
	walk(c)
	return c
}

// digest returns the first 8 hexadecimal digits of the SHA-256 of a text.
func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:4])
}
