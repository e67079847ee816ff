package calibrate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/vramsim/vramsim/nvml/profile"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/random"
)

// EnergyConfig says how energy is measured. Zero fields stand for the defaults.
type EnergyConfig struct {
	Config
	// Counter reads the energy used since some time, in millijoules: that of
	// nvml.Telemetry.
	Counter func() (millijoules uint64, err error)
	// Window is how long each phase lasts at least, Cool how long the device
	// rests before it, Windows how many there are of each kind. With a Budget
	// there are fewer if that many would take longer, but not less than fit
	// them: one of the closed device, two of the others.
	Window, Cool time.Duration
	Windows      int

	closed int // windows of the closed device
}

// The defaults of EnergyConfig. A window is long beside the steps of the
// counter, which are up to a tenth of a second.
const (
	DefaultWindow  = 8 * time.Second
	DefaultCool    = 2 * time.Second
	DefaultWindows = 3
)

// EnergyWindow is a phase: what was done in it, and what it used.
type EnergyWindow struct {
	Seconds float64
	Joules  float64
	Context bool           // the executor was open
	LoadGB  float64        // that were loaded, 10⁹ bytes
	Items   map[string]int // that ran, by model
}

// MeasureEnergy measures windows in random order: the device at rest without
// and with an open executor, loads of each model again and again, and its
// largest batches. It opens the executor and closes it.
func MeasureEnergy(ctx context.Context, executor scheduler.Executor, cfg EnergyConfig) (windows []EnergyWindow, err error) {
	cfg.complete()
	cfg.shorten()
	m := &energyMeter{cfg: &cfg, s: *newSession(&cfg.Config, executor)}
	for range cfg.closed {
		if err := m.window(ctx, false, m.rest); err != nil {
			return m.windows, err
		}
	}
	defer func() { err = errors.Join(err, m.s.close(ctx)) }()
	if _, err := executor.Open(ctx, cfg.Plan); err != nil {
		return m.windows, fmt.Errorf("the executor cannot be opened: %w", err)
	}
	m.s.began = time.Now()
	order := random.NewStream(random.Key(cfg.Plan.Seed, random.Hash("energy")))
	for range cfg.Windows {
		phases := m.phases()
		shuffle(phases, &order)
		for _, phase := range phases {
			if err := m.window(ctx, true, phase); err != nil {
				return m.windows, err
			}
		}
	}
	return m.windows, nil
}

func (c *EnergyConfig) complete() {
	c.Config.complete()
	if c.Window <= 0 {
		c.Window = DefaultWindow
	}
	if c.Cool <= 0 {
		c.Cool = DefaultCool
	}
	if c.Windows <= 0 {
		c.Windows = DefaultWindows
	}
}

// shorten takes away windows that the budget has no room for.
func (c *EnergyConfig) shorten() {
	c.closed = c.Windows
	if c.Budget <= 0 {
		return
	}
	const least = 2
	each, round := c.Window+c.Cool, 1+2*len(c.Plan.Models)
	c.closed = 1
	c.Windows = min(c.Windows, max(least, (int(c.Budget/each)-c.closed)/round))
}

// energyMeter is such a measurement in progress.
type energyMeter struct {
	cfg     *EnergyConfig
	s       session
	windows []EnergyWindow
	now     EnergyWindow
}

// phase does something until a time.
type phase func(ctx context.Context, until time.Time) error

func (m *energyMeter) phases() []phase {
	all := []phase{m.rest}
	for i := range m.cfg.Plan.Models {
		id := scheduler.ModelID(i)
		all = append(all, func(ctx context.Context, until time.Time) error { return m.loads(ctx, until, id) },
			func(ctx context.Context, until time.Time) error { return m.batches(ctx, until, id) })
	}
	return all
}

// window measures one phase, from a step of the counter on.
func (m *energyMeter) window(ctx context.Context, open bool, do phase) error {
	if err := pause(ctx, m.cfg.Cool); err != nil {
		return err
	}
	before, began, err := m.step(ctx)
	if err != nil {
		return err
	}
	m.now = EnergyWindow{Context: open, Items: map[string]int{}}
	if err := do(ctx, began.Add(m.cfg.Window)); err != nil {
		return err
	}
	after, ended, err := m.step(ctx)
	if err != nil {
		return err
	}
	if after < before {
		return fmt.Errorf("the energy counter went from %d to %d mJ", before, after)
	}
	m.now.Seconds, m.now.Joules = ended.Sub(began).Seconds(), float64(after-before)/1e3
	m.windows = append(m.windows, m.now)
	return nil
}

// step waits for the counter to move, for a quarter of a second at most, and
// returns what it shows then.
func (m *energyMeter) step(ctx context.Context) (millijoules uint64, at time.Time, err error) {
	first, err := m.cfg.Counter()
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("the energy counter cannot be read: %w", err)
	}
	for range 50 {
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return 0, time.Time{}, err
		}
		if millijoules, err = m.cfg.Counter(); err != nil || millijoules != first {
			break
		}
	}
	return millijoules, time.Now(), err
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (m *energyMeter) rest(ctx context.Context, until time.Time) error {
	return pause(ctx, time.Until(until))
}

func (m *energyMeter) loads(ctx context.Context, until time.Time, id scheduler.ModelID) error {
	for time.Now().Before(until) {
		if err := m.s.load(ctx, id, m.cfg.Plan.Tiers[0]); err != nil {
			return err
		}
		m.now.LoadGB += float64(m.cfg.Plan.Models[id].Bytes) / float64(scheduler.GB)
		if _, err := m.s.evict(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

func (m *energyMeter) batches(ctx context.Context, until time.Time, id scheduler.ModelID) error {
	if err := m.s.load(ctx, id, m.cfg.Plan.Tiers[0]); err != nil {
		return err
	}
	model := &m.cfg.Plan.Models[id]
	m.now.LoadGB += float64(model.Bytes) / float64(scheduler.GB)
	for time.Now().Before(until) {
		sizes := m.s.sizes(id)
		n := slices.Max(sizes)
		switch _, err := m.s.batch(ctx, id, n); {
		case err == nil:
			m.now.Items[model.Name] += n
		case !m.s.outOfMemory(id, n, err):
			return err
		}
	}
	_, err := m.s.evict(ctx, id)
	return err
}

// ErrEnergy is wrapped by the error for windows that do not tell the uses of
// energy apart.
var ErrEnergy = errors.New("the windows do not tell what uses the energy")

// FitEnergy explains the energy of windows by the powers at rest and what each
// gigabyte loaded and each item run used, none below 0, by least squares. The
// intervals are those of the unconstrained fit, cut at 0.
func FitEnergy(windows []EnergyWindow) (*profile.Energy, error) {
	var names []string
	for _, w := range windows {
		for name := range w.Items {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	rows, y := make([][]float64, len(windows)), make([]float64, len(windows))
	total := 0.0
	for i, w := range windows {
		rest, open := w.Seconds, 0.0
		if w.Context {
			rest, open = 0, w.Seconds
		}
		rows[i] = []float64{rest, open, w.LoadGB}
		for _, name := range names {
			rows[i] = append(rows[i], float64(w.Items[name]))
		}
		y[i] = w.Joules
		total += w.Joules
	}
	x, half, err := leastSquares(rows, y)
	if err != nil {
		return nil, err
	}
	e := &profile.Energy{IdleW: digits4(x[0]), ContextW: digits4(x[1]), LoadJPerGB: digits4(x[2]), ItemJ: map[string]profile.Estimate{}}
	for i, name := range names {
		v, h := x[i+3], half[i+3]
		e.ItemJ[name] = profile.Estimate{Value: digits4(v), CI95: [2]float64{digits4(max(0, v-h)), digits4(v + h)}}
	}
	missing := 0.0
	for i, row := range rows {
		missing += math.Abs(y[i] - dot(row, x))
	}
	if total > 0 {
		e.Unexplained = math.Round(missing/total*1e6) / 1e6
	}
	return e, nil
}

// digits4 rounds to four significant digits.
func digits4(v float64) float64 {
	if v == 0 {
		return 0
	}
	scale := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(v))))
	return math.Round(v*scale) / scale
}

func dot(a, b []float64) float64 {
	sum := 0.0
	for i := range a {
		sum += a[i] * b[i]
	}
	return sum
}

// leastSquares minimises |rows·x − y| over x ≥ 0 by descent along one
// coordinate after the other, which converges since the problem is convex, and
// returns half the width of each 95 % interval.
func leastSquares(rows [][]float64, y []float64) (x, half []float64, err error) {
	if len(rows) == 0 || len(rows) <= len(rows[0]) {
		return nil, nil, fmt.Errorf("%w: %d windows are too few", ErrEnergy, len(rows))
	}
	n := len(rows[0])
	normal, right := make([][]float64, n), make([]float64, n)
	for j := range n {
		normal[j] = make([]float64, n)
		for i, row := range rows {
			right[j] += row[j] * y[i]
			for k := range n {
				normal[j][k] += row[j] * row[k]
			}
		}
	}
	inverse, ok := invert(normal)
	if !ok {
		return nil, nil, fmt.Errorf("%w: some always come together", ErrEnergy)
	}
	x = descend(normal, right)
	squares := 0.0
	for i, row := range rows {
		d := y[i] - dot(row, x)
		squares += d * d
	}
	half = make([]float64, n)
	for j := range half {
		half[j] = 1.96 * math.Sqrt(squares/float64(len(rows)-n)*max(0, inverse[j][j]))
	}
	return x, half, nil
}

func descend(normal [][]float64, right []float64) []float64 {
	x := make([]float64, len(right))
	for range 200_000 {
		moved := 0.0
		for j := range x {
			next := max(0, x[j]+(right[j]-dot(normal[j], x))/normal[j][j])
			moved = max(moved, math.Abs(next-x[j])/(1+math.Abs(next)))
			x[j] = next
		}
		if moved < 1e-13 {
			break
		}
	}
	return x
}

// invert returns the inverse of a symmetric matrix by Gauss-Jordan elimination
// with scaled rows, false if there is none.
func invert(a [][]float64) ([][]float64, bool) {
	n := len(a)
	left, right := make([][]float64, n), make([][]float64, n)
	for i := range a {
		scale := math.Sqrt(a[i][i])
		if scale == 0 {
			return nil, false
		}
		left[i], right[i] = make([]float64, n), make([]float64, n)
		for j := range n {
			left[i][j] = a[i][j] / scale / math.Sqrt(a[j][j])
		}
		right[i][i] = 1
	}
	for c := range n {
		pivot := c
		for r := c; r < n; r++ {
			if math.Abs(left[r][c]) > math.Abs(left[pivot][c]) {
				pivot = r
			}
		}
		if math.Abs(left[pivot][c]) < 1e-10 {
			return nil, false
		}
		left[c], left[pivot], right[c], right[pivot] = left[pivot], left[c], right[pivot], right[c]
		eliminate(left, right, c)
	}
	for i := range right {
		for j := range right[i] {
			right[i][j] /= math.Sqrt(a[i][i]) * math.Sqrt(a[j][j])
		}
	}
	return right, true
}

// eliminate makes column c a unit vector.
func eliminate(left, right [][]float64, c int) {
	pivot := left[c][c]
	for j := range left[c] {
		left[c][j] /= pivot
		right[c][j] /= pivot
	}
	for r := range left {
		if factor := left[r][c]; r != c && factor != 0 {
			for j := range left[r] {
				left[r][j] -= factor * left[c][j]
				right[r][j] -= factor * right[c][j]
			}
		}
	}
}
