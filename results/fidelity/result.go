package fidelity

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/vramsim/vramsim/results/summary"
	"github.com/vramsim/vramsim/scheduler"
)

// Schema names the form of fidelity.json.
const Schema = "vramsim/fidelity/1"

// Number is a measurement; NaN, null in JSON, says that there is none.
type Number = summary.Number

// Statuses of a Result.
const (
	Held     = "HELD"      // closure holds, and so does every target that could be judged
	Missed   = "MISSED"    // a target is missed
	Broken   = "BROKEN"    // closure is broken: nothing below it can be trusted
	NoTarget = "NO TARGET" // closure holds; there was no target to judge
)

// Input is what Compute compares.
type Input struct {
	Simulation, Hardware Side
	Cells                []CellInput
	Closure              Closure
	// Targets, if not nil, are what errors are held to.
	Targets *Targets
	// Notes say what could not be compared, in words.
	Notes []string
	// Unmatched names cells and policies that only one side has.
	Unmatched []string
	// Unranked says why no policy may be chosen by the card's figures; empty if
	// one may.
	Unranked string
}

// Side is one of the two runs.
type Side struct {
	RunID    string `json:"run_id"`
	Name     string `json:"name"`
	Version  string `json:"version"`
	Executor string `json:"executor,omitempty"` // of the card
	Label    string `json:"label,omitempty"`    // how the card's figures are to be called
	Status   string `json:"status"`
}

// CellInput is one cell that both runs have.
type CellInput struct {
	Simulated, Measured string // ids of the cell
	Set                 map[string]string
	Models              []scheduler.Model
	Policies            []PolicyInput
}

// PolicyInput is one policy of a cell on both sides.
type PolicyInput struct {
	Policy              string
	Simulated, Measured []*Run
	Divergence          *Divergence // of the first pair of runs; nil if their decisions agree or have no log
	Ablation            []LevelInput
}

// LevelInput are runs of a simulation that knows so much.
type LevelInput struct {
	Level Level
	Runs  []*Run
	// Absent says why there are none.
	Absent string
}

// Level is how much a simulation knows of the card.
type Level string

// The levels, from nothing to everything.
const (
	Declared      Level = "declared"      // what the experiment says
	Bandwidth     Level = "bandwidth"     // load times by the profile's fits over bytes
	Means         Level = "means"         // the profile, what varies replaced by its mean
	Distributions Level = "distributions" // the profile: the simulation that is judged
	Oracle        Level = "oracle"        // recorded durations: closure b, whose error is 0
)

// Levels returns all levels in order.
func Levels() []Level { return []Level{Declared, Bandwidth, Means, Distributions, Oracle} }

// Closure is what the replays of the card's logs found.
type Closure struct {
	// Decisions is closure a: the recorded facts, stepped under the same policy,
	// give the recorded decisions.
	Decisions Check `json:"decisions"`
	// Events is closure b: the simulated World, given the recorded outside
	// facts, durations and timers, gives the recorded events.
	Events Check `json:"events"`
}

// Check is one half of closure.
type Check struct {
	Logs   int     `json:"logs"`
	Broken []Break `json:"broken"`
}

// Holds reports whether every log passed; without logs nothing did.
func (c Check) Holds() bool { return c.Logs > 0 && len(c.Broken) == 0 }

// Break is where a replay first differs from its log.
type Break struct {
	Log      string  `json:"log"` // its path below the run directory
	Seq      int64   `json:"seq"`
	Logged   *Moment `json:"logged"`   // null: the log has no more
	Replayed *Moment `json:"replayed"` // null: the replay has no more
	Error    string  `json:"error,omitempty"`
}

// Result is fidelity.json.
type Result struct {
	Schema     string       `json:"schema"`
	Status     string       `json:"status"`
	Simulation Side         `json:"simulation"`
	Hardware   Side         `json:"hardware"`
	Targets    string       `json:"targets,omitempty"`
	Closure    Closure      `json:"closure"`
	Cells      []Cell       `json:"cells"`
	Ranking    Overall      `json:"ranking"`
	Unranked   string       `json:"unranked,omitempty"` // why there is no ranking
	Judgements []Judgement  `json:"judgements"`
	Unmatched  []string     `json:"unmatched"`
	Notes      []string     `json:"notes"`
	Coverage   ItemCoverage `json:"coverage"` // over all cells and policies
}

// Cell is one cell of a Result.
type Cell struct {
	Set       map[string]string `json:"set"`
	Simulated string            `json:"simulated"` // ids
	Measured  string            `json:"measured"`
	Policies  []Policy          `json:"policies"`
	Rankings  []Ranking         `json:"rankings"`
}

// Policy is one policy of a cell.
type Policy struct {
	Policy    string       `json:"policy"`
	Simulated int          `json:"simulated"` // runs compared
	Measured  int          `json:"measured"`
	LeftOut   []LeftOut    `json:"left_out"`
	Figures   []Error      `json:"figures"`
	Items     Items        `json:"items"`
	Decisions Decisions    `json:"decisions"`
	Phases    []PhaseError `json:"phases"`
	Ablation  []Ablation   `json:"ablation"`
}

// LeftOut is a run of the card that does not count.
type LeftOut struct {
	Replicate int      `json:"replicate"`
	Reasons   []string `json:"reasons"`
}

// Error is the error of one figure.
type Error struct {
	Figure    string `json:"figure"`
	Unit      string `json:"unit"`
	Predicted Number `json:"predicted"`
	Measured  Number `json:"measured"`
	// Error is predicted / measured − 1.
	Error Number `json:"error"`
	// Noise is the mean absolute error that the card's own runs make of each other.
	Noise Number `json:"noise"`
	// Covered is the share of the card's runs inside the simulation's 90 %
	// interval.
	Covered Number `json:"covered"`
	// Exact is the share of the card's runs that equal the median of the
	// simulated ones; of counts only.
	Exact Number `json:"exact"`
}

// Items are errors item by item.
type Items struct {
	N     int    `json:"n"`     // items that finished on both sides
	MAPE  Number `json:"mape"`  // mean absolute relative error of the latency
	Noise Number `json:"noise"` // the same, between the card's own runs
	// Coverage of the latencies by the simulation's 90 % intervals.
	Coverage ItemCoverage `json:"coverage"`
	// Pairs are the latencies in seconds of the first measured run, for charts.
	Pairs []Pair `json:"-"`
}

// ItemCoverage is the share of latencies inside their intervals.
type ItemCoverage struct {
	Share Number `json:"share"`
	N     int    `json:"n"`
}

// Pair is one item's latency in seconds.
type Pair struct {
	Model               string
	Predicted, Measured float64
}

// Decisions compares sequences of decisions, run by run.
type Decisions struct {
	Runs      int         `json:"runs"`      // of the card, compared
	Identical int         `json:"identical"` // of these, with the same decisions in the same order
	Edits     Distance    `json:"edits"`     // the largest
	Length    int         `json:"length"`    // decisions of the run with the largest distance
	Tau       Number      `json:"tau"`       // mean, of the orders of completion
	TauNoise  Number      `json:"tau_noise"` // mean between the card's own runs
	First     *Divergence `json:"first_divergence"`
}

// PhaseError compares what one model's phase took.
type PhaseError struct {
	Model     string `json:"model"`
	Phase     Phase  `json:"phase"`
	N         int    `json:"n"`         // measured; of batches, of sizes that both have
	Predicted Number `json:"predicted"` // mean, seconds; batches by size as often as measured
	Measured  Number `json:"measured"`
	Error     Number `json:"error"`
}

// Ablation are the errors of a simulation that knows so much.
type Ablation struct {
	Level   Level   `json:"level"`
	Absent  string  `json:"absent,omitempty"`
	Figures []Error `json:"figures"`
}

// Ranking compares the orders of policies by one figure.
type Ranking struct {
	Figure   string `json:"figure"`
	Policies int    `json:"policies"`
	Tau      Number `json:"tau"`
	Pick     string `json:"pick"` // best in the simulation
	Best     string `json:"best"` // best on the card
	Top1     bool   `json:"top1"` // nothing measured is better than the pick
	// Regret is what the pick measures over the best, less 1.
	Regret Number `json:"regret"`
}

// Overall sums up the rankings by mean latency.
type Overall struct {
	Cells  int    `json:"cells"` // with at least two policies
	Top1   Number `json:"top1"`  // share of them
	Regret Number `json:"regret"`
	Tau    Number `json:"tau"` // mean
}

// Judgement is one target applied to what it is about.
type Judgement struct {
	What  string `json:"what"`
	Where string `json:"where,omitempty"` // cell and policy
	Value Number `json:"value"`
	Limit string `json:"limit"`
	OK    bool   `json:"ok"`
	// Judged is false where there was nothing to judge by; Text says why, or
	// by how much the target is missed.
	Judged bool   `json:"judged"`
	Text   string `json:"text,omitempty"`
}

// Write writes fidelity.json.
func (r *Result) Write(w io.Writer) error {
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(data, '\n'))
	return err
}

// ErrSchema is wrapped by the error for a file that this version cannot read.
var ErrSchema = errors.New("not of schema " + Schema)

// Read reads fidelity.json. Pairs are not in it.
func Read(in io.Reader) (*Result, error) {
	r := &Result{}
	if err := json.NewDecoder(in).Decode(r); err != nil {
		return nil, err
	}
	if r.Schema != Schema {
		return nil, fmt.Errorf("schema %q: %w", r.Schema, ErrSchema)
	}
	return r, nil
}
