package metrics

// Kinds of metrics.
const (
	KindDistribution = "distribution"
	KindValue        = "value"
)

// Names of the metrics.
const (
	ItemLatency    = "item_latency_seconds"
	ItemWait       = "item_wait_seconds"
	ItemService    = "item_service_seconds"
	JobLatency     = "job_latency_seconds"
	Switches       = "model_switches"
	Loads          = "model_loads"
	Evictions      = "model_evictions"
	SwitchesPer    = "switches_per_1000_items"
	LoadSeconds    = "load_seconds_total"
	Makespan       = "makespan_seconds"
	Throughput     = "throughput_items_per_second"
	BusyRatio      = "gpu_busy_ratio"
	LoadingRatio   = "gpu_loading_ratio"
	PeakBytes      = "vram_peak_bytes"
	OverBudget     = "vram_over_budget_events"
	Goodput        = "goodput_ratio"
	ItemsArrived   = "items_arrived"
	ItemsCompleted = "items_completed"
	ItemsRejected  = "items_rejected"
	ItemsFailed    = "items_failed"
	ItemsCancelled = "items_cancelled"
	ItemsLeft      = "items_unfinished"
	MaxBypass      = "max_bypass"
	Energy         = "energy_joules"
)

// Metric describes one figure of a Result.
type Metric struct {
	Name    string
	Unit    string
	Kind    string // KindDistribution or KindValue
	Formula string
}

// All lists every metric, in the order of tables. A Fold computes all of them
// but the energy, which only a physical card can tell.
func All() []Metric {
	return []Metric{
		{ItemLatency, "s", KindDistribution, "finish − arrival, of finished items that arrived in the window; unfinished ones with their age (censored)"},
		{ItemWait, "s", KindDistribution, "start of the finishing batch − ready"},
		{ItemService, "s", KindDistribution, "finish − start of the finishing batch"},
		{JobLatency, "s", KindDistribution, "last item's finish − first item's arrival, of jobs whose items all finished; an item without a job is its own"},
		{Switches, "1", KindValue, "batches that start on a device whose previous batch was of another model; the first batch is none"},
		{Loads, "1", KindValue, "loads started"},
		{Evictions, "1", KindValue, "evictions started"},
		{SwitchesPer, "1", KindValue, "1000 · model_switches / items_completed"},
		{LoadSeconds, "s", KindValue, "Σ durations of the loads counted by model_loads, failed ones included"},
		{Makespan, "s", KindValue, "when the last item ended, from the start of the clock; of a run that was cut, its end"},
		{Throughput, "1/s", KindValue, "items that finished in the window / its length"},
		{BusyRatio, "1", KindValue, "share of the window, over all devices, in which a device ran at least one batch"},
		{LoadingRatio, "1", KindValue, "share of the window, over all devices, in which a device loaded and ran nothing"},
		{PeakBytes, "B", KindValue, "largest amount reserved on one device at any time, warm-up included"},
		{OverBudget, "1", KindValue, "times at which a reservation exceeded the budget, and batches that a policy wanted beyond it, warm-up included"},
		{Goodput, "1", KindValue, "items finished by their deadline / items that have one; without deadlines items_completed / items_arrived"},
		{ItemsArrived, "1", KindValue, "items that arrived in the window; they are what the other item counts count"},
		{ItemsCompleted, "1", KindValue, "of those, finished"},
		{ItemsRejected, "1", KindValue, "of those, refused by the policy"},
		{ItemsFailed, "1", KindValue, "of those, failed in their last attempt"},
		{ItemsCancelled, "1", KindValue, "of those, cancelled, or dependent on one that did not finish"},
		{ItemsLeft, "1", KindValue, "of those, neither finished nor ended otherwise"},
		{MaxBypass, "1", KindValue, "most items of other models that became ready later than an item and started before it"},
		{Energy, "J", KindValue, "energy of the devices from the start of the clock to the end of the run, measured; hardware runs only"},
	}
}

// Stat describes a distribution. Without values (N = 0) the rest is 0.
type Stat struct {
	N    int64   `json:"n"`
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P95  float64 `json:"p95"`
	P99  float64 `json:"p99"`
	Max  float64 `json:"max"`
	// Censored is how many of the N values are lower bounds, of items or jobs
	// that did not end.
	Censored int64 `json:"censored,omitempty"`
	// Sketched says that the quantiles are approximate.
	Sketched bool `json:"sketched,omitempty"`
}

// Point is one point of the complementary distribution of the latency: a
// share Y of the items took longer than X seconds.
type Point struct {
	X float64 `json:"x"`
	Y float64 `json:"y"`
}

// DeviceTime says how a device spent the window, in seconds: Busy + Loading +
// Idle is its length.
type DeviceTime struct {
	Name    string  `json:"name"`
	Busy    float64 `json:"busy"`    // at least one batch ran
	Loading float64 `json:"loading"` // a load was in flight and nothing ran
	Idle    float64 `json:"idle"`
}

// Result is what one run measured: one replicate of one policy in one cell,
// or a part of it. A value that is undefined, such as a ratio over nothing,
// is absent.
type Result struct {
	Distributions map[string]Stat    `json:"distributions"`
	Values        map[string]float64 `json:"values"`
	// PerModel and PerTenant hold the parts, by name. Jobs have no model, and
	// devices no tenant: parts lack what does not apply to them.
	PerModel map[string]*Result `json:"per_model,omitempty"`
	// IdleModel is the result of each model that PerModel lacks: a catalogue may
	// have 100,000 of which a run touches a hundred. Nil if it lacks none.
	IdleModel *Result            `json:"idle_model,omitempty"`
	PerTenant map[string]*Result `json:"per_tenant,omitempty"`
	// Invalid says why no steady-state figures follow from the run; empty if
	// they do.
	Invalid []string `json:"invalid,omitempty"`
	// CCDF has at most 400 points of the latency, ascending in X, whose shares
	// are exact unless the latency is sketched. Parts have none.
	CCDF []Point `json:"ccdf,omitempty"`
	// Devices is the time breakdown, in the order of the catalogue.
	Devices  []DeviceTime `json:"devices,omitempty"`
	Timeline *Timeline    `json:"timeline,omitempty"` // with Config.Timeline
}
