package calibrate

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/vramsim/vramsim/nvml/profile"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/random"
)

// Config says what is measured on a device. Zero fields stand for the defaults.
type Config struct {
	// Plan is what the executor is opened for: the models, the tiers to load
	// from, the memory that may be used, and the seed of the order.
	Plan scheduler.Plan
	// Least and Most bound the repetitions of each series; between them it ends
	// as soon as the 95 % interval of its median is at most Width of it.
	Least, Most int
	Width       float64
	// Timeout bounds a single command.
	Timeout time.Duration
	// Budget ends the repetitions of all series when it is used up; 0 is none.
	// Each series still gets one.
	Budget time.Duration
	// Told, if not nil, is told of each end of a command as a fact.
	Told func(scheduler.Event) error
}

// The defaults of Config.
const (
	DefaultLeast   = 5
	DefaultMost    = 25
	DefaultWidth   = 0.03
	DefaultTimeout = 2 * time.Minute

	mostWarmUp = 50 // batches before measuring
)

// Result is what was measured.
type Result struct {
	Capabilities scheduler.Capabilities
	Models       []Observations
	// Series are all measured series in their order.
	Series []Series
	// WarmUp is how many batches ran before times settled.
	WarmUp int
	// Notes say what could not be measured, and why.
	Notes []string
}

// Series is one thing that was measured repeatedly.
type Series struct {
	Model   string
	What    string // like "load from disk" or "batch of 4"
	Samples []scheduler.Time
	First   []scheduler.Time // of the first use, which is none of the samples
	// Outliers is how many samples are more than five scaled median deviations
	// from the median: they are kept.
	Outliers int
	Settled  bool // the median is known as well as was wanted
}

// CommandFailure says which command of a calibration failed.
type CommandFailure struct {
	Model string
	Op    scheduler.Operation
	Err   error
}

func (e *CommandFailure) Error() string { return fmt.Sprintf("%v of %s: %v", e.Op, e.Model, e.Err) }

// Unwrap returns the executor's reason.
func (e *CommandFailure) Unwrap() error { return e.Err }

// ErrTimeout is wrapped by the failure of a command that took too long.
var ErrTimeout = errors.New("no outcome in time")

// Measure opens an executor, measures the plan's models on it and closes it:
// loads by tier, evictions from an idle and a busy device, batches of 1, 2, 4
// and so on to the largest. The order of all is drawn from the seed, so that
// no series is measured at a time of its own; the first use of anything is kept
// apart. What was measured until an error is returned with it.
func Measure(ctx context.Context, executor scheduler.Executor, cfg Config) (result *Result, err error) {
	cfg.complete()
	s := newSession(&cfg, executor)
	defer func() { err = errors.Join(err, s.close(ctx)) }()
	if s.result.Capabilities, err = executor.Open(ctx, cfg.Plan); err != nil {
		return s.result, fmt.Errorf("the executor cannot be opened: %w", err)
	}
	s.began = time.Now()
	if err = s.warmUp(ctx); err == nil {
		err = s.rounds(ctx)
	}
	s.collect()
	return s.result, err
}

func (c *Config) complete() {
	if c.Least <= 0 {
		c.Least = DefaultLeast
	}
	if c.Most <= 0 {
		c.Most = max(c.Least, DefaultMost)
	}
	if c.Width <= 0 {
		c.Width = DefaultWidth
	}
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	if len(c.Plan.Tiers) == 0 {
		c.Plan.Tiers = []scheduler.Tier{scheduler.TierDisk}
	}
	c.Plan.Slots = max(1, c.Plan.Slots)
}

// session is a calibration in progress.
type session struct {
	cfg      *Config
	executor scheduler.Executor
	result   *Result
	began    time.Time
	seq      uint64
	items    scheduler.ItemID
	series   map[seriesKey]*series
	tooLarge map[scheduler.ModelID]int  // batches that ran out of memory
	used     map[scheduler.ModelID]bool // were loaded before
	resident int                        // models on the device
	memory   map[scheduler.ModelID]*profile.Memory
}

func newSession(cfg *Config, executor scheduler.Executor) *session {
	return &session{cfg: cfg, executor: executor, result: &Result{}, series: map[seriesKey]*series{}, tooLarge: map[scheduler.ModelID]int{},
		used: map[scheduler.ModelID]bool{}, memory: map[scheduler.ModelID]*profile.Memory{}}
}

// kinds of series, in the order in which they are reported.
type seriesKind uint8

const (
	loadSeries seriesKind = iota
	unloadSeries
	busySeries
	batchSeries
)

type seriesKey struct {
	model scheduler.ModelID
	kind  seriesKind
	of    int // tier of a load, size of a batch
}

type series struct {
	samples, first []scheduler.Time
}

// visit is a self-contained sequence of commands: it begins and ends with
// nothing on the device.
type visit struct {
	model  scheduler.ModelID
	tier   scheduler.Tier
	beside scheduler.ModelID // whose batch runs during the eviction; NoModel
}

// visits returns all that are to be repeated.
func (s *session) visits() (all []visit) {
	models := s.cfg.Plan.Models
	for m := range models {
		for _, t := range s.cfg.Plan.Tiers {
			if t == scheduler.TierHost && models[m].Bytes > s.cfg.Plan.HostMemory {
				continue
			}
			all = append(all, visit{scheduler.ModelID(m), t, scheduler.NoModel})
		}
		if other := s.companion(scheduler.ModelID(m)); other != scheduler.NoModel {
			all = append(all, visit{scheduler.ModelID(m), s.cfg.Plan.Tiers[0], other})
		} else {
			s.note("%s: no other model fits beside it, so its eviction from a busy device is not measured", models[m].Name)
		}
	}
	return all
}

func (s *session) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(s.result.Notes, text) {
		s.result.Notes = append(s.result.Notes, text)
	}
}

// companion returns a model that fits beside m with a batch of its own.
func (s *session) companion(m scheduler.ModelID) scheduler.ModelID {
	models := s.cfg.Plan.Models
	for i := 1; i < len(models); i++ {
		other := scheduler.ModelID((int(m) + i) % len(models))
		if s.fits(models[m].Bytes + models[other].Bytes + models[other].Batch.Memory) {
			return other
		}
	}
	return scheduler.NoModel
}

func (s *session) fits(b scheduler.Bytes) bool {
	return s.cfg.Plan.Memory == 0 || b <= s.cfg.Plan.Memory
}

// sizes returns the batch sizes to be measured: powers of two that fit, and the
// largest that does.
func (s *session) sizes(m scheduler.ModelID) (sizes []int) {
	model := &s.cfg.Plan.Models[m]
	most := max(1, model.Batch.Max)
	if room := s.cfg.Plan.Memory - model.Bytes; s.cfg.Plan.Memory > 0 && model.Batch.Memory > 0 {
		most = min(most, int(max(1, room/model.Batch.Memory)))
	}
	if large := s.tooLarge[m]; large > 0 {
		most = min(most, large-1)
	}
	for n := 1; n < most; n *= 2 {
		sizes = append(sizes, n)
	}
	if most > 0 {
		sizes = append(sizes, most)
	}
	return sizes
}

// warmUp runs batches of the first model until their times settle: clocks rise
// and caches fill. What it measures counts nowhere but as first uses.
func (s *session) warmUp(ctx context.Context) error {
	if len(s.cfg.Plan.Models) == 0 {
		return &scheduler.ConfigError{Field: "Plan.Models", What: "there is nothing to measure"}
	}
	const m = 0
	if err := s.load(ctx, m, s.cfg.Plan.Tiers[0]); err != nil {
		return err
	}
	var last []scheduler.Time
	for s.result.WarmUp < mostWarmUp {
		took, err := s.batch(ctx, m, 1)
		if err != nil {
			return err
		}
		s.result.WarmUp++
		if last = append(last, took); len(last) > s.cfg.Least {
			last = last[1:]
		}
		if len(last) == s.cfg.Least && spread(last) <= s.cfg.Width {
			break
		}
	}
	if s.result.WarmUp == mostWarmUp && spread(last) > s.cfg.Width {
		s.note("batch times of %s did not settle in %d batches", s.cfg.Plan.Models[m].Name, mostWarmUp)
	}
	if _, err := s.evict(ctx, m); err != nil {
		return err
	}
	for _, one := range s.series { // only first uses stay
		one.samples = nil
	}
	return nil
}

// spread is the range of samples relative to their median.
func spread(samples []scheduler.Time) float64 {
	middle := median(samples)
	if middle == 0 {
		return 0
	}
	return float64(slices.Max(samples)-slices.Min(samples)) / float64(middle)
}

// rounds repeats all visits in random orders until every series of theirs has
// settled or has its most repetitions. In the first round loads from disk come
// first: they bring models into the host tier.
func (s *session) rounds(ctx context.Context) error {
	all := s.visits()
	order := random.NewStream(random.Key(s.cfg.Plan.Seed, random.Hash("calibrate")))
	for round := 0; ; round++ {
		shuffle(all, &order)
		if round == 0 {
			slices.SortStableFunc(all, func(a, b visit) int { return rank(a) - rank(b) })
		}
		done := true
		for _, v := range all {
			if round > 0 && (s.settled(v) || s.spent()) {
				continue
			}
			done = false
			if err := s.visit(ctx, v, &order); err != nil {
				return err
			}
		}
		if done {
			return nil
		}
	}
}

func rank(v visit) int {
	if v.tier == scheduler.TierDisk && v.beside == scheduler.NoModel {
		return 0
	}
	return 1
}

// shuffle is Fisher's and Yates's.
func shuffle[T any](list []T, order *random.Stream) {
	for i := len(list) - 1; i > 0; i-- {
		j := int(order.Uint64() % uint64(i+1))
		list[i], list[j] = list[j], list[i]
	}
}

func (s *session) spent() bool {
	return s.cfg.Budget > 0 && time.Since(s.began) > s.cfg.Budget
}

// settled reports whether nothing of a visit needs to be repeated.
func (s *session) settled(v visit) bool {
	keys := []seriesKey{{v.model, busySeries, 0}}
	if v.beside == scheduler.NoModel {
		keys = []seriesKey{{v.model, loadSeries, int(v.tier)}, {v.model, unloadSeries, 0}}
		for _, n := range s.sizes(v.model) {
			keys = append(keys, seriesKey{v.model, batchSeries, n})
		}
	}
	for _, k := range keys {
		one := s.series[k]
		if one == nil || len(one.samples) < s.cfg.Most && !s.known(one.samples) {
			return false
		}
	}
	return true
}

// known reports whether the median of samples is.
func (s *session) known(samples []scheduler.Time) bool {
	return len(samples) >= s.cfg.Least && medianInterval(samples) <= s.cfg.Width
}

// visit carries out one visit.
func (s *session) visit(ctx context.Context, v visit, order *random.Stream) error {
	if v.beside != scheduler.NoModel {
		return s.busyVisit(ctx, v)
	}
	if err := s.load(ctx, v.model, v.tier); err != nil {
		return err
	}
	sizes := s.sizes(v.model)
	shuffle(sizes, order)
	for _, n := range sizes {
		if large := s.tooLarge[v.model]; large > 0 && n >= large {
			continue
		}
		if _, err := s.batch(ctx, v.model, n); err != nil && !s.outOfMemory(v.model, n, err) {
			return err
		}
	}
	_, err := s.evict(ctx, v.model)
	return err
}

// outOfMemory notes a batch that did not fit; all larger ones do not either.
func (s *session) outOfMemory(m scheduler.ModelID, n int, err error) bool {
	var failed *scheduler.CommandError
	if !errors.As(err, &failed) || failed.Code != scheduler.FailureOOM || n == 1 {
		return false
	}
	s.tooLarge[m] = n
	s.note("%s: batches of %d run out of memory", s.cfg.Plan.Models[m].Name, n)
	return true
}

// busyVisit evicts a model while a batch of another runs.
func (s *session) busyVisit(ctx context.Context, v visit) error {
	for _, m := range []scheduler.ModelID{v.model, v.beside} {
		if err := s.load(ctx, m, v.tier); err != nil {
			return err
		}
	}
	usual, err := s.batch(ctx, v.beside, 1)
	if err != nil {
		return err
	}
	took, err := s.beside(ctx, s.run(v.beside, 1), s.command(scheduler.OpEvict, v.model), usual/4)
	if err != nil {
		return err
	}
	s.add(seriesKey{v.model, busySeries, 0}, took)
	_, err = s.evict(ctx, v.beside)
	return err
}

func (s *session) load(ctx context.Context, m scheduler.ModelID, t scheduler.Tier) error {
	c := s.command(scheduler.OpLoad, m)
	c.Tier = t
	took, err := s.do(ctx, c)
	if err != nil {
		return err
	}
	key := seriesKey{m, loadSeries, int(t)}
	if !s.used[m] {
		s.used[m] = true
		one := s.at(key)
		one.first = append(one.first, took)
		return nil
	}
	s.add(key, took)
	return nil
}

func (s *session) evict(ctx context.Context, m scheduler.ModelID) (scheduler.Time, error) {
	took, err := s.do(ctx, s.command(scheduler.OpEvict, m))
	if err == nil {
		s.add(seriesKey{m, unloadSeries, 0}, took)
	}
	return took, err
}

// batch runs a batch. The first of each size is one of first uses: kernels are
// loaded and tuned by size.
func (s *session) batch(ctx context.Context, m scheduler.ModelID, n int) (scheduler.Time, error) {
	took, err := s.do(ctx, s.run(m, n))
	if err != nil {
		return 0, err
	}
	if one := s.at(seriesKey{m, batchSeries, n}); len(one.first) == 0 {
		one.first = append(one.first, took)
		return took, nil
	}
	s.add(seriesKey{m, batchSeries, n}, took)
	return took, nil
}

func (s *session) at(k seriesKey) *series {
	one := s.series[k]
	if one == nil {
		one = &series{}
		s.series[k] = one
	}
	return one
}

func (s *session) add(k seriesKey, took scheduler.Time) {
	one := s.at(k)
	one.samples = append(one.samples, took)
}

func (s *session) command(op scheduler.Operation, m scheduler.ModelID) scheduler.Command {
	s.seq++
	return scheduler.Command{Seq: s.seq, Op: op, Device: s.cfg.Plan.Device, Model: m, Estimate: s.estimate(op, m)}
}

// estimate is what the catalogue expects; executors bound commands by it.
func (s *session) estimate(op scheduler.Operation, m scheduler.ModelID) scheduler.Time {
	model := &s.cfg.Plan.Models[m]
	switch op {
	case scheduler.OpLoad:
		return model.Load[scheduler.TierDisk]
	case scheduler.OpEvict:
		return model.Unload
	}
	return 0
}

// run is a batch of n items of ordinary work, new ones each time.
func (s *session) run(m scheduler.ModelID, n int) scheduler.Command {
	c := s.command(scheduler.OpRun, m)
	c.Estimate = s.cfg.Plan.Models[m].Batch.Time(n, int64(n)*scheduler.WorkUnit)
	for range n {
		c.Items = append(c.Items, scheduler.CommandItem{ID: s.items, Work: scheduler.WorkUnit, Seed: random.Key(s.cfg.Plan.Seed, uint64(s.items))})
		s.items++
	}
	return c
}

// RawSHA256 identifies what was measured: the digest of all series, a line
// each.
func (r *Result) RawSHA256() string {
	h := sha256.New()
	for _, s := range r.Series {
		fmt.Fprintf(h, "%q %q %d %d\n", s.Model, s.What, s.First, s.Samples)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// collect sorts the series into observations.
func (s *session) collect() {
	models := s.cfg.Plan.Models
	for m := range models {
		s.result.Models = append(s.result.Models, Observations{Name: models[m].Name, Bytes: models[m].Bytes,
			MaxBatch: models[m].Batch.Max, BatchMemory: models[m].Batch.Memory})
		if held := s.memory[scheduler.ModelID(m)]; held != nil {
			s.result.Models[m].Memory = *held
		}
	}
	keys := slices.SortedFunc(maps.Keys(s.series), func(a, b seriesKey) int {
		switch {
		case a.model != b.model:
			return int(a.model - b.model)
		case a.kind != b.kind:
			return int(a.kind) - int(b.kind)
		}
		return a.of - b.of
	})
	for _, k := range keys {
		one, o := s.series[k], &s.result.Models[k.model]
		switch k.kind {
		case loadSeries:
			o.Load[k.of], o.FirstLoad[k.of] = one.samples, one.first
		case unloadSeries:
			o.Unload = one.samples
		case busySeries:
			o.UnloadBusy = one.samples
		case batchSeries:
			for _, took := range one.samples {
				o.addBatch(k.of, took)
			}
		}
		s.result.Series = append(s.result.Series, Series{Model: models[k.model].Name, What: k.String(), Samples: one.samples, First: one.first,
			Outliers: outliers(one.samples), Settled: s.known(one.samples)})
	}
}

func (k seriesKey) String() string {
	switch k.kind {
	case loadSeries:
		return "load from " + scheduler.Tier(k.of).String()
	case unloadSeries:
		return "unload"
	case busySeries:
		return "unload, busy"
	}
	return fmt.Sprintf("batch of %d", k.of)
}
