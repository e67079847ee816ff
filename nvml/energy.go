package nvml

import (
	"fmt"
	"math"
	"time"
)

// The counter of energy and the integral of the sampled power differ by less
// than this on a device whose figures are to be trusted: NVIDIA states 5 % for
// readings of power, and the counter stands still for up to 100 ms (others
// measured 20 to 100), so that it may be that much behind at either end.
const (
	EnergyTolerance = 0.05
	CounterStep     = 100 * time.Millisecond
)

// comparedFor is how long power has to have been sampled for the two to be held
// against each other: ten steps of the counter (GPU.md, 8).
const comparedFor = 10 * CounterStep

// meter adds up the energy of a device by its counter and, beside it, by its
// power between samples (field 186, the draw of the moment; where that is not
// told the average). It wants the device's lock.
type meter struct {
	last    uint64  // of the counter
	counted float64 // joules by it, since begin
	falls   int     // how often it was less than before

	integrated float64 // joules by the power, as far as it is known
	pending    float64 // the part of that since the counter was read
	gap        bool    // that lacks something
	gaps       bool    // integrated does
	sampled    time.Duration
	most       float64 // watts in a sample

	begun              bool    // both have been read at one time
	counted0, power0   float64 // counted and integrated then
	compared, besideIt float64 // counted and integrated since, until both were last read
}

// begin starts at a value of the counter.
func (m *meter) begin(millijoules uint64) { *m = meter{last: millijoules} }

// power adds a sample's watts, that long after the one before with its watts;
// negative ones are not known.
func (m *meter) power(before, watts float64, since time.Duration) {
	if before < 0 || watts < 0 {
		m.gap, m.gaps = true, true
		return
	}
	joules := (before + watts) / 2 * since.Seconds()
	m.integrated += joules
	m.pending += joules
	m.sampled += since
	m.most = max(m.most, before, watts)
}

// count adds a value of the counter and reports whether it is less than before:
// the driver was loaded anew, or the counter has come to its end. What was used
// since then is taken from the power, or is at least what it shows.
func (m *meter) count(millijoules uint64) (fell bool) {
	fell = millijoules < m.last
	switch {
	case !fell:
		m.counted += float64(millijoules-m.last) / 1000
	case m.pending > 0 && !m.gap:
		m.counted += m.pending
	default:
		m.counted += float64(millijoules) / 1000
	}
	if fell {
		m.falls++
	}
	m.last, m.pending, m.gap = millijoules, 0, false
	return fell
}

// both notes that power and counter have been read together.
func (m *meter) both() {
	if !m.begun {
		m.begun, m.counted0, m.power0, m.sampled = true, m.counted, m.integrated, 0
	}
	m.compared, m.besideIt = m.counted-m.counted0, m.integrated-m.power0
}

// differ returns by how many joules counter and power disagree, and whether that
// is more than they may.
func (m *meter) differ() (joules float64, tooMuch bool) {
	joules = m.compared - m.besideIt
	may := EnergyTolerance*max(m.compared, m.besideIt) + m.most*CounterStep.Seconds()
	return joules, m.sampled >= comparedFor && !m.gaps && math.Abs(joules) > may
}

// judgeEnergy reports the energy, and marks the run if its two figures differ.
func (d *watched) judgeEnergy() {
	m, r := &d.meter, &d.report
	r.Joules, r.Compared, r.Integrated, r.CounterFalls = m.counted, m.compared, m.besideIt, m.falls
	difference, tooMuch := m.differ()
	if r.EnergyDiffers = tooMuch; tooMuch {
		d.world.mark(d.id, "energy differs", fmt.Sprintf("%.1f J by the counter, %.1f J by the power of the samples: %+.1f %%, within %.0f %% and a step of %v is expected",
			m.compared, m.besideIt, 100*difference/max(m.compared, m.besideIt), 100*EnergyTolerance, CounterStep))
	}
}
