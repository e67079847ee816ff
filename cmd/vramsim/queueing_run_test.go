package main

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/vramsim/vramsim/results/summary"
)

// reference is queueing.json.
type reference struct {
	Cases []queueCase `json:"cases"`
}

// queueCase is one of its cases: parameters and values by key. A list's
// entries are keys too, like "Wq[0]", and so are what a group holds, like
// "policies.sticky.L_total".
type queueCase struct {
	ID     string                     `json:"id"`
	Params map[string]json.RawMessage `json:"params"`
	Values map[string]any             `json:"values"`

	flat map[string]any // of Values
}

func loadReference(t *testing.T) *reference {
	t.Helper()
	data, err := os.ReadFile(shared(t, "reference", "queueing.json"))
	if err != nil {
		t.Fatal(err)
	}
	ref := &reference{}
	if err := json.Unmarshal(data, ref); err != nil {
		t.Fatal(err)
	}
	for i := range ref.Cases {
		ref.Cases[i].flat = map[string]any{}
		flatten(ref.Cases[i].flat, "", ref.Cases[i].Values)
	}
	return ref
}

func flatten(into map[string]any, key string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			if key != "" {
				name = key + "." + name
			}
			flatten(into, name, inner)
		}
	case []any:
		for i, inner := range v {
			flatten(into, fmt.Sprintf("%s[%d]", key, i), inner)
		}
	default:
		into[key] = v
	}
}

func (r *reference) named(t *testing.T, id string) *queueCase {
	t.Helper()
	i := slices.IndexFunc(r.Cases, func(c queueCase) bool { return c.ID == id })
	if i < 0 {
		t.Fatalf("the reference has no case %s", id)
	}
	return &r.Cases[i]
}

func (c *queueCase) keys() []string {
	var keys []string
	for k := range c.flat {
		keys = append(keys, k)
	}
	return keys
}

// value returns a reference value by its key.
func (c *queueCase) value(t *testing.T, key string) float64 {
	t.Helper()
	v, ok := c.flat[key].(float64)
	if !ok {
		t.Fatalf("%s has no number %s", c.ID, key)
	}
	return v
}

// param decodes a parameter of the case.
func param[V any](c *queueCase, name string) V {
	var v V
	if err := json.Unmarshal(c.Params[name], &v); err != nil {
		panic(fmt.Sprintf("%s: %s: %v", c.ID, name, err))
	}
	return v
}

func (c *queueCase) num(name string) float64    { return param[float64](c, name) }
func (c *queueCase) nums(name string) []float64 { return param[[]float64](c, name) }

// queueFile is an experiment file: the mm1 of the reference with what a case
// changes. Times are in seconds.
type queueFile struct {
	name     string // queueing if empty
	gpus     string // of the list; the device of mm1 if empty
	models   []string
	workload string // without items, duration, warmup and horizon
	policies string // fifo without filling if empty

	replicates int
	items      int     // of a replicate; 0: the duration says it
	duration   float64 // of the arrivals
	horizon    float64 // 0: drains
	warmup     float64
	log        bool

	traces   []func(items int) []byte // of the replicates, instead of a workload
	from, to string                   // what is replaced in the text and the traces, if not empty
}

func (f *queueFile) text() string {
	events := "none"
	if f.log {
		events = "log"
	}
	workload, sweep := f.arrivals()
	return "version: 1\nname: " + cmp.Or(f.name, "queueing") + "\nseed: 1\nreplicates: " + strconv.Itoa(max(1, f.replicates)) +
		"\nhardware: {host_memory: 0B, gpus: [" + cmp.Or(f.gpus, gpu("gpu0", 12, 1)) + "]}\nmodels:\n" + strings.Join(f.models, "") +
		"workload: {" + workload + "}\npolicies:\n" + cmp.Or(f.policies, "  - {use: fifo, params: {fill: false}}\n") + sweep +
		"output: {events: " + events + ", report: [], charts: []}\n"
}

// arrivals returns the workload and, where the replicates are traces, the
// sweep over them.
func (f *queueFile) arrivals() (workload, sweep string) {
	var keys []string
	for _, k := range []struct {
		name string
		time float64
	}{{"duration", f.duration}, {"horizon", f.horizon}, {"warmup", f.warmup}} {
		if k.time > 0 {
			keys = append(keys, k.name+": "+seconds(k.time))
		}
	}
	if f.traces == nil {
		if f.items > 0 {
			keys = append(keys, "items: "+strconv.Itoa(f.items))
		}
		return strings.Join(append(keys, f.workload), ", "), ""
	}
	var names []string
	for i := range f.traces {
		names = append(names, traceName(i))
	}
	if len(names) > 1 {
		sweep = "sweep: {axes: {workload.trace: [" + strings.Join(names, ", ") + "]}}\n"
	}
	return strings.Join(append(keys, "trace: "+names[0]), ", "), sweep
}

func traceName(i int) string { return fmt.Sprintf("replicate-%02d.jsonl", i) }

// write writes the file and its traces into a folder of its own.
func (f *queueFile) write(t *testing.T) (path string) {
	t.Helper()
	dir, replaced := t.TempDir(), f.from == ""
	write := func(name string, data []byte) string {
		if f.from != "" && bytes.Contains(data, []byte(f.from)) {
			data, replaced = bytes.ReplaceAll(data, []byte(f.from), []byte(f.to)), true
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for i, trace := range f.traces {
		write(traceName(i), trace(f.items))
	}
	path = write("queueing.yaml", []byte(f.text()))
	if !replaced {
		t.Fatalf("there is no %q in\n%s", f.from, f.text())
	}
	return path
}

// summary runs the file through the command.
func (f *queueFile) summary(t *testing.T, wantCode int) *summary.Summary {
	t.Helper()
	s, _ := f.runIn(t, t.TempDir(), wantCode)
	return s
}

// runIn also returns the run directory.
func (f *queueFile) runIn(t *testing.T, out string, wantCode int) (*summary.Summary, string) {
	t.Helper()
	path := f.write(t)
	code, stdout, stderr := vramsim(t, "run", path, "--format", "json", "-q", "-o", out)
	if code != wantCode {
		t.Fatalf("exit %d, want %d: %s\n%s", code, wantCode, stderr, f.text())
	}
	s, err := summary.Read(strings.NewReader(stdout))
	if err != nil {
		t.Fatal(err)
	}
	if !f.log { // the traces have served
		if err := os.RemoveAll(filepath.Dir(path)); err != nil {
			t.Fatal(err)
		}
	}
	return s, filepath.Join(out, cmp.Or(f.name, "queueing"), "latest")
}

// trial is an experiment and what is read from it.
type trial struct {
	queueFile
	name  string
	limit float64 // of the half-width relative to the reference; 0: exact
	long  bool    // only in the long version, and no longer there
	// byReplicates grows the long version by replicates instead of items.
	byReplicates bool
	// varied results take half as many items again for the same half-width.
	varied  bool
	figures []figure
}

// bound returns the limit in force. The long version of a trial has more
// items for a third of the half-width.
func (tr *trial) bound() (limit, scale float64) {
	if long() && !tr.long && tr.limit == shortLimit {
		if tr.varied {
			return longLimit, 1.5 * longScale
		}
		return longLimit, longScale
	}
	return tr.limit, 1
}

// run runs the trial with scale times its items and returns what each policy
// did in each replicate, by the name of the policy.
func (tr *trial) run(t *testing.T, scale float64) map[string][]*observed {
	t.Helper()
	f := tr.queueFile
	f.scale(scale, tr.byReplicates)
	by := map[string][]*observed{}
	if f.traces == nil {
		f.observe(t, by)
		return by
	}
	for traces := range slices.Chunk(f.traces, tracesAtOnce) {
		f.traces = traces
		f.observe(t, by)
	}
	return by
}

// tracesAtOnce limits the space that traces take, a file for each replicate.
const tracesAtOnce = 8

// observe runs the file and adds what each policy did in each replicate.
func (f queueFile) observe(t *testing.T, by map[string][]*observed) {
	t.Helper()
	s, dir := f.runIn(t, t.TempDir(), exitOK)
	for _, cell := range s.Cells {
		for i := range cell.Policies {
			p := &cell.Policies[i]
			for r := range p.Metrics["items_completed"].PerReplicate["value"] {
				o := &observed{policy: p, replicate: r, warmup: f.warmup}
				o.rows = sync.OnceValue(func() []queueRow { return exported(t, dir, cell.ID, p.Policy, r, f.warmup) })
				by[p.Policy] = append(by[p.Policy], o)
			}
		}
	}
}

// scale makes replicates longer, or more of them.
func (f *queueFile) scale(by float64, replicates bool) {
	grow := func(n int) int { return int(math.Round(float64(n) * by)) }
	switch {
	case replicates:
		f.replicates = grow(f.replicates)
	case f.duration > 0:
		grown := math.Round((f.duration-f.warmup)*by) + f.warmup
		if f.horizon > 0 {
			f.horizon += grown - f.duration
		}
		f.duration = grown
	default:
		f.items = grow(f.items)
	}
}

// values reads the figure from each replicate.
func (f *figure) values(t *testing.T, by map[string][]*observed) []float64 {
	t.Helper()
	if f.policy == "" && len(by) != 1 {
		t.Fatalf("%s: of which of %d policies?", f.key, len(by))
	}
	var values []float64
	for name, runs := range by {
		if f.policy == "" || f.policy == allPolicies || f.policy == name {
			for _, o := range runs {
				values = append(values, f.read(o))
			}
		}
	}
	if len(values) == 0 {
		t.Fatalf("%s: no policy %s", f.key, f.policy)
	}
	return values
}

// exported returns the items of a log that arrived after the warm-up, in the
// order in which they ended.
func exported(t *testing.T, dir, cell, policy string, replicate int, warmup float64) []queueRow {
	t.Helper()
	code, stdout, stderr := vramsim(t, "export", dir, "--to", "csv", "--cell", cell, "--policy", policy, "--replicate", strconv.Itoa(replicate))
	if code != exitOK {
		t.Fatalf("export: exit %d: %s", code, stderr)
	}
	records, err := csv.NewReader(strings.NewReader(stdout)).ReadAll()
	if err != nil || len(records) == 0 {
		t.Fatalf("export: %d records, %v", len(records), err)
	}
	column := map[string]int{}
	for i, name := range records[0] {
		column[name] = i
	}
	var rows []queueRow
	for _, r := range records[1:] {
		n := func(name string) int64 {
			v, err := strconv.ParseInt(r[column[name]], 10, 64)
			if err != nil && r[column[name]] != "" {
				t.Fatalf("%s: %v", name, err)
			}
			return v
		}
		row := queueRow{id: r[column["id"]], model: r[column["model"]], status: r[column["status"]],
			arrival: n("arrival_ns"), ready: n("ready_ns"), start: n("start_ns"), finish: n("finish_ns"), wait: n("wait_ns"), latency: n("latency_ns"),
			batch: n("batch_event"), batchSize: n("batch_size")}
		if float64(row.arrival) >= warmup*1e9 {
			rows = append(rows, row)
		}
	}
	return rows
}

func byArrival(rows []queueRow) []queueRow {
	return slices.SortedStableFunc(slices.Values(rows), func(a, b queueRow) int { return cmp.Compare(a.arrival, b.arrival) })
}

func byStart(a, b queueRow) int { return cmp.Compare(a.start, b.start) }
