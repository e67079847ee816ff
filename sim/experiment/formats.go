package experiment

import (
	"github.com/vramsim/vramsim/workloads"
	"github.com/vramsim/vramsim/workloads/importers"
)

// traceFormats are the native format and those of package importers.
func traceFormats() []string {
	names := []string{"native"}
	for _, f := range importers.Formats() {
		names = append(names, f.Name)
	}
	return names
}

// formatKeys are the keys that only some foreign formats take.
func (t *tables) formatKeys() []key {
	t.service = record("service times like {base: 50ms, in: 0.2ms, out: 20ms}",
		key{name: "base", is: aTime(), def: "0s", doc: "Time of every item."},
		key{name: "in", is: aTime(), def: "0s", doc: "Time of each token in."},
		key{name: "out", is: aTime(), def: "0s", doc: "Time of each token out."})
	return []key{
		{name: "service", is: either("exec or {base: 50ms, in: 0.2ms, out: 20ms}", aText(), t.service), doc: "Where service times come from: exec takes the recorded one, else they are made of tokens; none if left out."},
		{name: "status", is: aText(), doc: "Keeps only rows of this status: gentd26."},
		{name: "model_key", is: word("base", "base+nlora"), doc: "What a model is: gentd26."},
		{name: "continuous", is: word("run", "skip"), doc: "Whether continuous tasks run as clients of a closed loop, which clairvoyant policies cannot foresee, or are left out: disb."},
		{name: "stale", is: word("drop"), doc: "drop: a client waits for the end of each request and skips those that are past by then: disb."},
		{name: "preset", is: word(importers.Presets()...), doc: "A known map of columns: csv."},
		{name: "map", is: anything(), doc: "What the columns mean, or a file that says so: csv."},
	}
}

// importTrace converts a foreign trace. The options that the format does not
// take are errors of its importer.
func (d *decoder) importTrace(f *fields, path, format string, opt workloads.TraceOptions) (*workloads.Trace, error) {
	before := d.errs.reported
	var o importers.Options
	if n, p := f.get("service"); n != nil {
		o.Service = d.service(n, p)
	}
	if f.given("status") {
		o.Status = f.name("status")
	}
	if f.given("model_key") {
		o.ModelKey = f.word("model_key")
	}
	if f.given("preset") {
		o.Preset = f.word("preset")
	}
	if f.given("continuous") {
		o.Continuous = f.word("continuous")
	}
	if f.given("stale") {
		o.Stale = f.word("stale")
	}
	if n, p := f.get("map"); n != nil {
		o.Map = d.columnMap(n, p)
	}
	if format == "disb" {
		o.Seed = d.seedOf
	}
	if d.errs.reported > before {
		return nil, errReported
	}
	t, report, err := importers.Open(path, format, o, opt)
	if err == nil {
		d.files.warnings[t] = report.RunWarnings()
	}
	return t, err
}

// service reads exec, base=50ms,in=0.2ms,out=20ms, or the same as a mapping.
func (d *decoder) service(n *node, path string) importers.Service {
	if n.kind == scalarNode {
		s, err := importers.ParseService(n.text)
		if err != nil {
			d.errorf(n.at, "%s: %v", path, err)
		}
		n.text, n.quoted = s.String(), false
		return s
	}
	var s importers.Service
	f, ok := d.record(n, path, d.tables.service)
	if !ok {
		return s
	}
	s.Base, s.In, s.Out = f.time("base"), f.time("in"), f.time("out")
	*n = *scalar(n.at, s.String())
	return s
}

// columnMap reads the map of a CSV file, inline or from a file of its own; n
// becomes the inline form.
func (d *decoder) columnMap(n *node, path string) *importers.Map {
	text := []byte(nil)
	if n.kind == scalarNode {
		data, ok := d.file(n, path)
		if !ok {
			return nil
		}
		text = data
		root := parseYAML(n.text, data, d.errs)
		if root == nil {
			return nil
		}
		defer func() { *n = *root }()
	} else {
		text = render(n)
	}
	m, err := importers.ParseMap(text)
	if err != nil {
		d.errorf(n.at, "%s: %v", path, err)
	}
	return m
}
