package experiment

import "github.com/vramsim/vramsim/scheduler/random"

// Knowledge is how much of its profile an experiment may use: what a
// simulation loses by knowing less shows what measuring was worth.
type Knowledge uint8

// The kinds of knowledge.
const (
	KnowAll      Knowledge = iota // whatever the profile says
	KnowMeans                     // the same, everything that varies replaced by its mean, declared or measured
	KnowTiers                     // of the profile only the fits of load times over bytes, for every model
	KnowDeclared                  // nothing of the profile
)

// limit takes away what may not be known.
func (p *measured) limit(k Knowledge) {
	switch k {
	case KnowTiers:
		p.models, p.predictAll = nil, true
	case KnowDeclared:
		p.models, p.tiers = nil, nil
	}
}

// average replaces the costs that vary by their means.
func (m *model) average() {
	for t := range m.cost.Load {
		m.cost.Load[t] = averaged(m.cost.Load[t])
	}
	m.cost.Unload, m.cost.UnloadBusy = averaged(m.cost.Unload), averaged(m.cost.UnloadBusy)
	m.cost.BatchTime, m.cost.ItemTime = averaged(m.cost.BatchTime), averaged(m.cost.ItemTime)
	m.random = false
}

func averaged(d random.Dist) random.Dist {
	if d == nil {
		return nil
	}
	return random.Constant(d.Mean())
}
