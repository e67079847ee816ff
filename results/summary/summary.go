package summary

import (
	"encoding/json"
	"math"
)

// Schema is the value of Summary.Schema.
const Schema = "vramsim/summary/1"

// Statuses of a run and of a policy in a cell.
const (
	Valid      = "VALID"
	Invalid    = "INVALID"
	Incomplete = "INCOMPLETE"
)

// Verdicts of a comparison.
const (
	Better            = "better"
	Worse             = "worse"
	Indistinguishable = "indistinguishable"
	Underpowered      = "underpowered"
)

// ThisTrace is the scope of figures without replication: they are true of the
// one workload that was run and say nothing beyond it.
const ThisTrace = "this trace"

// Statistics of a distribution, in the order they are printed. censored is how
// many of the n are times so far of what had not ended.
var statistics = [...]string{"n", "mean", "p50", "p90", "p95", "p99", "max", "censored"}

// counts reports whether a statistic of a distribution counts values, so that
// it has neither the unit of the metric nor a direction.
func counts(statistic string) bool { return statistic == "n" || statistic == "censored" }

// Kinds of a metric.
const (
	KindDistribution = "distribution"
	KindValue        = "value"
)

// Number is a measurement; NaN, null in JSON, says that there is none.
type Number float64

// None is the Number that stands for no measurement.
func None() Number { return Number(math.NaN()) }

// Known reports whether there is a measurement.
func (n Number) Known() bool { return !math.IsNaN(float64(n)) && !math.IsInf(float64(n), 0) }

// MarshalJSON writes null for what is no finite number.
func (n Number) MarshalJSON() ([]byte, error) {
	if !n.Known() {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

// UnmarshalJSON reads a number or null.
func (n *Number) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		*n = None()
		return nil
	}
	return json.Unmarshal(data, (*float64)(n))
}

// Summary is summary.json.
type Summary struct {
	Schema   string   `json:"schema"`
	Name     string   `json:"name"`
	Question string   `json:"question,omitempty"`
	RunID    string   `json:"run_id"`
	Status   string   `json:"status"`
	Reasons  []string `json:"reasons"`
	Notes    []string `json:"notes,omitempty"` // like "quick: not for citing"
	// Unranked says why no policy may be chosen by these figures; empty if one may.
	Unranked string `json:"unranked,omitempty"`
	Baseline string `json:"baseline"`
	Varied   string `json:"varied,omitempty"` // what differed between replicates
	Scope    string `json:"scope,omitempty"`  // ThisTrace if nothing was replicated
	Cells    []Cell `json:"cells"`
	// Thresholds has one entry for each threshold, cell and policy it applies to.
	Thresholds []Outcome `json:"thresholds"`
}

// Cell is one point of a sweep.
type Cell struct {
	ID string `json:"id"`
	// Set holds what the sweep changed, by the path in the experiment file.
	Set map[string]string `json:"set"`
	// Workload identifies the arrivals: policies and runs are paired only
	// where it agrees.
	Workload string           `json:"workload,omitempty"`
	Warmup   *float64         `json:"warmup_seconds,omitempty"` // if it was found rather than stated
	Bounds   map[string]Bound `json:"bounds"`
	Policies []Policy         `json:"policies"`
}

// Bound is a limit that no policy can beat that finishes everything, by metric like
// "makespan_seconds" or "item_latency_seconds.mean".
type Bound struct {
	Value        Number   `json:"value"`
	PerReplicate []Number `json:"per_replicate"`
}

// Policy is what one policy did in one cell.
type Policy struct {
	Policy      string                       `json:"policy"` // its "as" name
	Clairvoyant bool                         `json:"clairvoyant"`
	Status      string                       `json:"status"`
	Reasons     []string                     `json:"reasons"`
	Metrics     map[string]Metric            `json:"metrics"`
	PerModel    map[string]map[string]Metric `json:"per_model"`
	PerTenant   map[string]map[string]Metric `json:"per_tenant"`
	LogDigests  []string                     `json:"log_digests"`
	VsBaseline  map[string]Comparison        `json:"vs_baseline"`
}

// Metric is one metric over the replicates: Stats is keyed by "value" or by
// the statistics of a distribution, and so is PerReplicate.
type Metric struct {
	Unit         string
	Kind         string
	Replicates   int
	Stats        map[string]Statistic
	PerReplicate map[string][]Number
}

// Statistic is a mean over replicates. CI95 is nil for fewer than two.
type Statistic struct {
	Value Number     `json:"value"`
	CI95  *[2]Number `json:"ci95"`
}

// Comparison is a policy less its baseline in one figure.
type Comparison struct {
	Against string     `json:"against,omitempty"` // if not the baseline of the run
	Diff    Number     `json:"diff"`
	Ratio   Number     `json:"ratio"`
	CI95    *[2]Number `json:"ci95"`    // of Diff, not corrected
	PValue  Number     `json:"p_value"` // two-sided, corrected (Holm) over the policies of the cell
	Verdict string     `json:"verdict"`
	Scope   string     `json:"scope,omitempty"`
}

// Outcome is one threshold applied to one policy of one cell.
type Outcome struct {
	Expr   string `json:"expr"`
	Cell   string `json:"cell"`
	Policy string `json:"policy"`
	Model  string `json:"model,omitempty"`
	Tenant string `json:"tenant,omitempty"`
	Value  Number `json:"value"`
	OK     bool   `json:"ok"`
}

// CellByID returns the cell with the given id.
func (s *Summary) CellByID(id string) (*Cell, bool) {
	for i := range s.Cells {
		if s.Cells[i].ID == id {
			return &s.Cells[i], true
		}
	}
	return nil, false
}

// Named returns the policy with the given name.
func (c *Cell) Named(policy string) (*Policy, bool) {
	for i := range c.Policies {
		if c.Policies[i].Policy == policy {
			return &c.Policies[i], true
		}
	}
	return nil, false
}

// Figure returns a statistic of a metric over all models; statistic is
// "value" for plain values. What was not measured has no Value.
func (p *Policy) Figure(metric, statistic string) Statistic {
	if s, ok := p.Metrics[metric].Stats[statistic]; ok {
		return s
	}
	return Statistic{Value: None()}
}

// Lost returns the share of the measured items that the policy did not finish,
// 0 to 1: rejected, failed, cancelled or left at the end.
func (p *Policy) Lost() float64 {
	return p.share("items_rejected", "items_failed", "items_cancelled", "items_unfinished")
}

// Refused is Lost without the items left at the end: those have a latency, at
// least what they had taken by then.
func (p *Policy) Refused() float64 {
	return p.share("items_rejected", "items_failed", "items_cancelled")
}

// share returns the sum of some counts over the number of arrivals.
func (p *Policy) share(counts ...string) float64 {
	arrived := p.Figure("items_arrived", "value").Value
	if !arrived.Known() || arrived <= 0 {
		return 0
	}
	var sum Number
	for _, name := range counts {
		if n := p.Figure(name, "value").Value; n.Known() {
			sum += n
		}
	}
	return float64(sum / arrived)
}

// Failed returns the thresholds that did not hold.
func (s *Summary) Failed() []Outcome {
	var failed []Outcome
	for _, o := range s.Thresholds {
		if !o.OK {
			failed = append(failed, o)
		}
	}
	return failed
}
