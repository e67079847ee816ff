package experiment

import (
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/random"
	"github.com/vramsim/vramsim/sim"
)

// model is one entry of the catalogue as the core and the world know it.
type model struct {
	core     scheduler.Model
	cost     sim.Cost
	random   bool // some cost is drawn
	memoryAt place
}

const maxModels = 1 << 20

// models reads the catalogue, inline or from a file. n is rewritten to the
// inline form.
func (d *decoder) models(n *node, path string, prof *measured) []model {
	if n.kind == mappingNode && n.child("from") != nil && n.child("memory") == nil && n.child("from").kind == scalarNode {
		d.readCatalogue(n, path)
	}
	if n.kind != mappingNode {
		d.wrong(n, path, "a mapping from names to models")
		return nil
	}
	if len(n.keys) == 0 || len(n.keys) > maxModels {
		d.errorf(n.at, "%s has %d entries; an experiment has between 1 and %d models", path, len(n.keys), maxModels)
		return nil
	}
	list := make([]model, 0, len(n.keys))
	d.ids = make(map[string]scheduler.ModelID, len(n.keys))
	for i, name := range n.keys {
		d.checkName(n.keyAt[i], "a model's name", name)
		m := d.model(n.values[i], path+"."+name, name, prof)
		d.ids[name] = scheduler.ModelID(i)
		list = append(list, m)
	}
	return list
}

func (d *decoder) model(n *node, path, name string, prof *measured) model {
	m := model{core: scheduler.Model{Name: name}, memoryAt: n.at}
	if n.kind == mappingNode {
		prof.override(d, n, name)
	}
	f, ok := d.record(n, path, d.tables.model)
	if !ok {
		return m
	}
	defer f.done()
	m.core.Bytes = f.bytes("memory")
	if v := n.child("memory"); v != nil {
		m.memoryAt = v.at
		if m.core.Bytes == 0 && d.errs.none() {
			d.errorf(v.at, "%s.memory is 0B; a model needs memory", path)
		}
	}
	if f.given("group") {
		m.core.Group = f.name("group")
	}
	m.cost.Name = name
	d.load(&f, &m)
	if f.given("first_use") {
		m.cost.FirstUse = f.time("first_use")
	}
	if v, p := f.get("unload"); v != nil {
		d.unload(v, p, &m)
	}
	if v, p := f.get("batch"); v != nil {
		d.batch(v, p, &m)
	}
	return m
}

// load reads one load time for both tiers or one per tier.
func (d *decoder) load(f *fields, m *model) {
	m.cost.Load = [scheduler.Tiers]random.Dist{random.Constant(0), random.Constant(0)}
	n, path := f.get("load")
	if n == nil {
		return
	}
	if n.kind == scalarNode || n.kind == mappingNode && n.child("disk") == nil && n.child("host") == nil && len(n.keys) == 1 {
		both := *n
		*n = node{kind: mappingNode, at: n.at}
		n.add("disk", n.at, &both)
	}
	tiers, ok := d.record(n, path, d.tables.load)
	if !ok {
		return
	}
	defer tiers.done()
	disk, p := tiers.get("disk")
	if disk == nil {
		return
	}
	if !tiers.given("host") {
		tiers.n.add("host", n.at, disk.clone())
	}
	host, q := tiers.get("host")
	d.loadFrom(disk, p, scheduler.TierDisk, m)
	d.loadFrom(host, q, scheduler.TierHost, m)
}

func (d *decoder) loadFrom(n *node, path string, tier scheduler.Tier, m *model) {
	took := d.dist(n, path, durations)
	m.cost.Load[tier], m.core.Load[tier] = took, d.mean(n, path, took)
	m.random = m.random || varies(took)
}

// unload reads one time of evictions or one per state of the GPU. Estimates
// are those of an idle one.
func (d *decoder) unload(n *node, path string, m *model) {
	idle, p := n, path
	if n.kind == mappingNode && (n.child("idle") != nil || n.child("busy") != nil) {
		f, ok := d.record(n, path, d.tables.unload)
		if !ok {
			return
		}
		defer f.done()
		if idle, p = f.get("idle"); idle == nil {
			return
		}
		if f.given("busy") {
			busy, q := f.get("busy")
			m.cost.UnloadBusy = d.dist(busy, q, durations)
			d.mean(busy, q, m.cost.UnloadBusy)
			m.random = m.random || varies(m.cost.UnloadBusy)
		}
	}
	took := d.dist(idle, p, durations)
	m.cost.Unload, m.core.Unload = took, d.mean(idle, p, took)
	m.random = m.random || varies(took)
}

func (d *decoder) batch(n *node, path string, m *model) {
	f, ok := d.record(n, path, d.tables.batch)
	if !ok {
		return
	}
	defer f.done()
	b := &m.core.Batch
	b.Max = int(f.integer("max", 1, scheduler.MaxBatch))
	b.Memory = f.bytes("memory")
	kinds := 0
	for _, k := range []string{"per_item", "times", "time", "item_time"} {
		if f.given(k) {
			kinds++
		}
	}
	switch {
	case kinds > 1:
		d.errorf(n.at, "%s has several of per_item, times, time and item_time; expected one", path)
		return
	case f.given("time"):
		d.batchTime(&f, m)
	case f.given("item_time"):
		d.itemTime(&f, m)
	default:
		f.defaulted("base", "0s")
		b.Base = f.time("base")
		if f.given("times") {
			d.batchTimes(&f, b)
		} else {
			f.defaulted("per_item", "0s")
			b.PerItem = f.time("per_item")
		}
	}
	if total := float64(b.Base) + float64(b.PerItem)*float64(b.Max); total > float64(scheduler.MaxTime/4) {
		d.errorf(n.at, "%s: a batch of %d takes longer than there is time", path, b.Max)
	}
	m.cost.Batch = *b
}

// defaulted adds a default that depends on other keys.
func (f *fields) defaulted(name, value string) {
	if !f.given(name) {
		f.n.add(name, f.n.at, scalar(f.n.at, value))
	}
}

func (d *decoder) batchTime(f *fields, m *model) {
	if f.given("base") {
		d.errorf(f.n.child("base").at, "%s.base does not go with time, which is that of the whole batch", f.path)
	}
	n, path := f.get("time")
	if n == nil {
		return
	}
	took := d.dist(n, path, durations)
	m.core.Batch.Base = d.mean(n, path, took)
	m.cost.BatchTime = took
	m.random = m.random || varies(took)
}

func (d *decoder) itemTime(f *fields, m *model) {
	f.defaulted("base", "0s")
	m.core.Batch.Base = f.time("base")
	n, path := f.get("item_time")
	if n == nil {
		return
	}
	took := d.dist(n, path, durations)
	m.core.Batch.PerItem = d.mean(n, path, took)
	m.cost.ItemTime = took
	m.random = m.random || varies(took)
}

// maxTimes bounds the table that times are spread over.
const maxTimes = 1 << 16

// batchTimes reads times by batch size and fills the sizes between them on
// straight lines, those above the last on the line of the last two.
func (d *decoder) batchTimes(f *fields, b *scheduler.BatchCost) {
	n, path := f.get("times")
	if n == nil {
		return
	}
	if n.kind != mappingNode || len(n.keys) == 0 {
		d.wrong(n, path, "times by batch size, like {1: 700ms, 4: 2.1s}")
		return
	}
	if b.Max > maxTimes {
		d.errorf(n.at, "%s: times by batch size are for batches of at most %d", path, maxTimes)
		return
	}
	known := map[int]scheduler.Time{}
	var sizes []int
	for i, k := range n.keys {
		size, err := strconv.Atoi(k)
		if err != nil || size < 1 || size > b.Max || !digits(k) {
			d.errorf(n.keyAt[i], "%s has %s; expected a batch size from 1 to max, which is %d", path, quote(k), b.Max)
			return
		}
		if _, twice := known[size]; twice {
			d.errorf(n.keyAt[i], "%s has batch size %d twice", path, size)
			return
		}
		known[size] = d.time(n.values[i], path+"."+k)
		sizes = append(sizes, size)
	}
	slices.Sort(sizes)
	if sizes[0] != 1 {
		d.errorf(n.at, "%s has no time for batches of 1", path)
		return
	}
	b.Times, b.Sizes = spread(known, sizes, b), sizes
}

// spread returns the times of batches of 1 to Max.
func spread(known map[int]scheduler.Time, sizes []int, b *scheduler.BatchCost) []scheduler.Time {
	times := make([]scheduler.Time, b.Max)
	low, high := 1, 1
	for n := 1; n <= b.Max; n++ {
		if t, ok := known[n]; ok {
			low = n
			times[n-1] = t
			continue
		}
		if i := slices.IndexFunc(sizes, func(s int) bool { return s > n }); i >= 0 {
			high = sizes[i]
			times[n-1] = between(known[low], known[high], n-low, high-low)
			continue
		}
		from := known[1] - b.Base // a single known size: each item adds what exceeds base
		span, at := 1, low
		if len(sizes) > 1 {
			at = sizes[len(sizes)-2]
			from, span = known[low]-known[at], low-at
		}
		times[n-1] = max(0, between(known[low], known[low]+from, n-low, span))
	}
	return times
}

// between returns the point i/n of the way from a to b, rounded towards a.
func between(a, b scheduler.Time, i, n int) scheduler.Time {
	whole, rest := (b-a)/scheduler.Time(n), (b-a)%scheduler.Time(n)
	return a + whole*scheduler.Time(i) + rest*scheduler.Time(i)/scheduler.Time(n)
}

// readCatalogue replaces {from: FILE, defaults: …} by the models of the file.
func (d *decoder) readCatalogue(n *node, path string) {
	f, ok := d.record(n, path, d.tables.catalogue)
	if !ok {
		return
	}
	from, p := f.get("from")
	if from == nil {
		return
	}
	defaults := mapping(n.at)
	if v, dp := f.get("defaults"); v != nil {
		if _, ok := d.record(v, dp, d.tables.model); ok {
			defaults = v
		}
	}
	data, ok := d.file(from, p)
	*n = node{kind: mappingNode, at: n.at}
	if !ok {
		return
	}
	d.csvModels(n, from, p, string(data), defaults)
}

func (d *decoder) csvModels(n, from *node, path, text string, defaults *node) {
	text = strings.TrimPrefix(text, "\ufeff")
	src := newSource(from.text, strings.ReplaceAll(text, "\r\n", "\n"))
	r := csv.NewReader(strings.NewReader(text))
	head, err := r.Read()
	if err != nil {
		d.errorf(place{src, 1, 1}, "no header: %v", err)
		return
	}
	name := slices.Index(head, "name")
	if name < 0 {
		d.errorf(place{src, 1, 1}, "there is no column name; found %s", strings.Join(head, ", "))
		return
	}
	for {
		row, err := r.Read()
		if err == io.EOF {
			return
		}
		if err != nil {
			d.csvError(src, err)
			return
		}
		m := defaults.clone()
		at := csvPlace(r, src, name)
		for i, cell := range row {
			if i != name && cell != "" {
				d.setModelKey(m, strings.TrimSpace(head[i]), csvPlace(r, src, i), strings.TrimSpace(cell))
			}
		}
		if i := n.find(row[name]); i >= 0 {
			d.errorf(at, "model %s stands twice; the first is at line %d", quote(row[name]), n.keyAt[i].line)
			continue
		}
		m.at = at
		n.add(row[name], at, m)
	}
}

func csvPlace(r *csv.Reader, src *source, i int) place {
	line, col := r.FieldPos(i)
	return place{src, line, col}
}

func (d *decoder) csvError(src *source, err error) {
	var p *csv.ParseError
	if errors.As(err, &p) {
		d.errorf(place{src, p.Line, p.Column}, "%v", p.Err)
		return
	}
	d.errorf(place{src, 1, 1}, "%v", err)
}

// setModelKey sets a dotted key of a model, like load.disk.
func (d *decoder) setModelKey(n *node, column string, at place, cell string) {
	s := d.tables.model
	parts := strings.Split(column, ".")
	for i, part := range parts {
		k, ok := s.find(part)
		if !ok {
			d.errorf(place{at.src, 1, 1}, "column %s is no key of a model%s", quote(column), suggest(part, s.allNames()))
			return
		}
		if i == len(parts)-1 {
			n.put(part, at, d.csvCell(cell, at))
			return
		}
		child := n.child(part)
		if child == nil || child.kind != mappingNode {
			child = mapping(at)
			n.put(part, at, child)
		}
		n, s = child, k.is
	}
}

// csvCell makes a node of a table's cell: a plain value or flow YAML.
func (d *decoder) csvCell(text string, at place) *node {
	if !strings.HasPrefix(text, "{") && !strings.HasPrefix(text, "[") {
		return scalar(at, text)
	}
	n, _ := d.snippet(text, at)
	return n
}

// snippet reads YAML that stands in a flag or a cell; all errors point there.
// ok is false after an error.
func (d *decoder) snippet(text string, at place) (n *node, ok bool) {
	var errs Errors
	n = parseYAML(at.src.name, []byte(text), &errs)
	if !errs.none() {
		d.errorf(at, "%s: %s", quote(text), errs.List[0].What)
	}
	if n == nil {
		return &node{at: at}, errs.none()
	}
	n.moveTo(at)
	return n, errs.none()
}
