package doctor

import (
	"context"
	"slices"
	"time"

	"github.com/vramsim/vramsim/nvml"
)

// repeats of a call; its median is what it costs.
const repeats = 5

// pause between looks at values that change: shorter than any step looked for.
const pause = time.Millisecond

// Measure completes the telemetry's Caps with what calls cost and, for values
// that moved at least three times within the window, how often they change.
func Measure(ctx context.Context, tel nvml.Telemetry, window time.Duration) nvml.Caps {
	c := tel.Caps()
	cost(&c.Memory, func() { tel.Memory() })
	cost(&c.Processes, func() { tel.Processes() })
	cost(&c.Energy, func() { tel.Energy() })
	cost(&c.LinkBytes, func() { tel.LinkBytes() })
	sample := nvml.Call{Present: true}
	cost(&sample, func() { tel.Sample() })
	for _, part := range []*nvml.Call{&c.Power, &c.Clocks, &c.Temperature, &c.Reasons, &c.Link} {
		if part.Present {
			part.Cost = sample.Cost // they are read together
		}
	}
	watch(ctx, tel, &c, window)
	return c
}

func cost(c *nvml.Call, call func()) {
	if !c.Present {
		return
	}
	var took []time.Duration
	for range repeats {
		begin := time.Now()
		call()
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	c.Cost = took[repeats/2]
}

// moves are the times at which a value was seen to change.
type moves struct {
	last        uint64
	seen        bool
	n           int
	first, then time.Time
}

func (m *moves) look(v uint64, at time.Time) {
	if m.seen && v != m.last {
		if m.n == 0 {
			m.first = at
		}
		m.n, m.then = m.n+1, at
	}
	m.last, m.seen = v, true
}

// period is the mean time between changes, 0 if there were too few.
func (m *moves) period() time.Duration {
	if m.n < 3 {
		return 0
	}
	return m.then.Sub(m.first) / time.Duration(m.n-1)
}

// watch looks at the values that move by themselves.
func watch(ctx context.Context, tel nvml.Telemetry, c *nvml.Caps, window time.Duration) {
	var energy, power, bytes moves
	for end := time.Now().Add(window); time.Now().Before(end) && ctx.Err() == nil; {
		now := time.Now()
		if v, err := tel.Energy(); err == nil {
			energy.look(v, now)
		}
		if s, err := tel.Sample(); err == nil {
			power.look(uint64(s.PowerMilliwatts), now)
		}
		if sent, received, err := tel.LinkBytes(); err == nil {
			bytes.look(sent+received, now)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	c.Energy.Period, c.Power.Period, c.LinkBytes.Period = energy.period(), power.period(), bytes.period()
}
