package importers

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/workloads"
)

// Report says what became of the rows of a source. RowsRead is Emitted plus
// what was Dropped.
type Report struct {
	Format      string
	Options     map[string]string // as given, without defaults
	Source      string            // path
	SHA256      string            // of the source as stored
	Files       map[string]string // SHA-256 of each file of a folder; nil for a file
	RowsRead    int64
	Emitted     int64
	Dropped     map[string]int64 // by reason
	Rounded     int64            // times with a part below a nanosecond, rounded half to even
	NotExported []string         // what depends on execution and is no trace
	Models      int
	TopModels   []Count // at most 5, the most frequent first
	FirstAt     scheduler.Time
	LastAt      scheduler.Time // relative to the first
	SumAt       *big.Int       // of all, relative to the first; nil where nothing arrives
	Extra       map[string]any // what the format adds

	names   []string // of models
	skipped []string // tasks that Options.Continuous leaves out of a run
	loops   []workloads.Loop
}

// ModelNames returns the names of all models in order.
func (r *Report) ModelNames() []string { return slices.Clone(r.names) }

// Count is how often something occurs.
type Count struct {
	Name string
	N    int64
}

// MarshalJSON writes [name, n].
func (c Count) MarshalJSON() ([]byte, error) { return json.Marshal([]any{c.Name, c.N}) }

// MarshalJSON uses the keys of the contract; equal reports give equal bytes.
func (r *Report) MarshalJSON() ([]byte, error) {
	m := map[string]any{"format": r.Format, "options": r.Options, "source": r.Source, "sha256": r.SHA256,
		"rows_read": r.RowsRead, "emitted": r.Emitted, "dropped": r.Dropped, "models": r.Models, "top_models": r.TopModels}
	if r.Emitted > 0 && r.SumAt != nil {
		m["t0_abs_ns"], m["last_arrival_ns"], m["sum_arrival_ns"] = r.FirstAt, r.LastAt, r.SumAt
	}
	if r.Files != nil {
		m["files"] = r.Files
	}
	if len(r.NotExported) > 0 {
		m["not_exported"] = r.NotExported
	}
	if r.Rounded > 0 {
		m["rounded_times"] = r.Rounded
	}
	maps.Copy(m, r.Extra)
	return json.Marshal(m)
}

func newReport(path, format string, opt Options, digest string) *Report {
	r := &Report{Format: format, Source: path, SHA256: digest, Options: map[string]string{}, Dropped: map[string]int64{},
		SumAt: new(big.Int), Extra: map[string]any{}}
	for key, value := range map[string]string{"service": opt.Service.String(), "status": opt.Status, "model_key": opt.ModelKey, "preset": opt.Preset, "continuous": opt.Continuous, "stale": opt.Stale} {
		if value != "" {
			r.Options[key] = value
		}
	}
	if opt.Map != nil {
		text, err := yaml.MarshalWithOptions(opt.Map, yaml.JSON()) // its strings are quoted
		if err != nil {
			panic("bug: " + err.Error())
		}
		r.Options["map"] = strings.TrimSpace(string(text))
	}
	if opt.Seed != 0 {
		r.Options["seed"] = fmt.Sprint(opt.Seed)
	}
	return r
}

// Warnings says what happened to the input that its owner may not expect, when
// it was written as a native trace.
func (r *Report) Warnings() []string {
	all := r.rounded()
	for _, what := range r.NotExported {
		all = append(all, "not exported: "+what)
	}
	return all
}

// RunWarnings is Warnings for a run of the input as it stands, which may have
// what no native trace can hold.
func (r *Report) RunWarnings() []string {
	all := r.rounded()
	if len(r.skipped) > 0 {
		all = append(all, fmt.Sprintf("the continuous tasks are left out, as \"continuous: skip\" says (%s); with \"continuous: run\" they are clients of a closed loop",
			strings.Join(r.skipped, ", ")))
	}
	return all
}

func (r *Report) rounded() []string {
	if r.Rounded == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%d times have parts below a nanosecond and were rounded half to even", r.Rounded)}
}

// sums adds an item; times are absolute.
func (r *Report) sums(row *row) {
	r.SumAt.Add(r.SumAt, big.NewInt(int64(row.At)))
	r.add("sum_in", row.in)
	r.add("sum_out", row.out)
}

// add adds to a number of the format, if it keeps one of that name.
func (r *Report) add(key string, n int64) {
	if old, kept := r.Extra[key].(int64); kept {
		r.Extra[key] = old + n
	}
}

func (r *Report) finish(s *scanned, models map[string]int64) {
	r.FirstAt, r.LastAt = s.first, s.last-s.first
	r.SumAt.Sub(r.SumAt, new(big.Int).Mul(big.NewInt(int64(s.first)), big.NewInt(r.Emitted)))
	r.count(models)
}

// count takes how often each model occurs.
func (r *Report) count(models map[string]int64) {
	r.Models = len(models)
	r.names = slices.Sorted(maps.Keys(models))
	r.TopModels = []Count{}
	for name, n := range models {
		r.TopModels = append(r.TopModels, Count{name, n})
	}
	slices.SortFunc(r.TopModels, func(a, b Count) int { return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Name, b.Name)) })
	r.TopModels = r.TopModels[:min(5, len(r.TopModels))]
}

// reconcile checks that every row went somewhere.
func (r *Report) reconcile() error {
	sum := r.Emitted
	for _, n := range r.Dropped {
		sum += n
	}
	if sum != r.RowsRead {
		panic(fmt.Sprintf("bug: %s read %d rows and accounts for %d", r.Format, r.RowsRead, sum))
	}
	return nil
}
