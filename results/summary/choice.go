package summary

import (
	"cmp"
	"math"
	"slices"
)

// Objective is the figure by which policies are chosen: the mean time from
// arrival to finish, or the makespan where no item was measured.
type Objective struct{ Metric, Statistic string }

// Shortfall is by how much of its items a policy may finish less than another
// and still be compared with it by how long they take: one that refuses the
// work is fast with the rest.
const Shortfall = 0.01

// Choice says which policy to take in one cell. Only VALID policies that do
// not know the future are candidates; if some keep every threshold, only those,
// and of them those that finish what another finishes, but for Shortfall.
type Choice struct {
	Cell      *Cell
	Objective Objective
	Best      *Policy // nil if there is no candidate
	// Candidates are all that could have been chosen, best first.
	Candidates []*Policy
	// Ties are the other candidates that could not be told from Best, best first.
	Ties []*Policy
	// Keep is true if the baseline is Best or among Ties: nothing beats it measurably.
	Keep bool
	// Clairvoyant is the best VALID policy that knows the future, if any.
	Clairvoyant *Policy
	Excluded    []*Policy // not VALID
	// Short are those left out because they finish less than a candidate.
	Short []*Policy
	// Restricted is true if candidates were left out because they broke a threshold.
	Restricted bool
	Single     bool // one replicate: an order, not a test
	// Weak is true if one of Ties may matter: more replicates could tell it from Best.
	Weak bool

	least float64 // the smallest share that a candidate leaves unfinished
}

// FallsShort reports whether p finishes clearly less than a candidate.
func (c Choice) FallsShort(p *Policy) bool { return p.Lost() > c.least+Shortfall }

// Value returns the figure of the choice's objective for p.
func (c Choice) Value(p *Policy) Statistic {
	return p.Figure(c.Objective.Metric, c.Objective.Statistic)
}

// Tied reports whether p is Best or one of Ties.
func (c Choice) Tied(p *Policy) bool { return p == c.Best || slices.Contains(c.Ties, p) }

// Choices returns one choice for each cell.
func (s *Summary) Choices() []Choice {
	list := make([]Choice, len(s.Cells))
	for i := range s.Cells {
		list[i] = s.choose(&s.Cells[i])
	}
	return list
}

func (s *Summary) choose(cell *Cell) Choice {
	c := Choice{Cell: cell, Objective: Objective{"item_latency_seconds", "mean"}}
	if !slices.ContainsFunc(cell.Policies, func(p Policy) bool { return c.Value(&p).Value.Known() }) {
		c.Objective = Objective{"makespan_seconds", "value"}
	}
	if s.Unranked != "" {
		return c
	}
	var candidates, oracles []*Policy
	for i := range cell.Policies {
		p := &cell.Policies[i]
		switch value := c.Value(p).Value; {
		case p.Status != Valid:
			c.Excluded = append(c.Excluded, p)
		case !value.Known():
		case !p.Clairvoyant:
			candidates = append(candidates, p)
		default:
			oracles = append(oracles, p)
		}
	}
	if kept := s.keepers(cell.ID, candidates); len(kept) > 0 && len(kept) < len(candidates) {
		candidates, c.Restricted = kept, true
	}
	candidates = c.leaveOut(candidates)
	for _, p := range oracles {
		if !c.FallsShort(p) && (c.Clairvoyant == nil || c.Value(p).Value < c.Value(c.Clairvoyant).Value) {
			c.Clairvoyant = p
		}
	}
	if len(candidates) == 0 {
		return c
	}
	slices.SortStableFunc(candidates, func(a, b *Policy) int { return cmp.Compare(c.Value(a).Value, c.Value(b).Value) })
	c.Best, c.Candidates = candidates[0], candidates
	c.Ties, c.Single, c.Weak = ties(candidates, c.Objective)
	c.Keep = slices.ContainsFunc(candidates, func(p *Policy) bool { return p.Policy == s.Baseline && c.Tied(p) })
	return c
}

// leaveOut moves the candidates that finish less than another to Short.
func (c *Choice) leaveOut(candidates []*Policy) []*Policy {
	c.least = 1
	for _, p := range candidates {
		c.least = min(c.least, p.Lost())
	}
	for _, p := range candidates {
		if c.FallsShort(p) {
			c.Short = append(c.Short, p)
		}
	}
	return slices.DeleteFunc(candidates, c.FallsShort)
}

// keepers returns the candidates that break no threshold in the cell.
func (s *Summary) keepers(cell string, candidates []*Policy) (kept []*Policy) {
	for _, p := range candidates {
		if !slices.ContainsFunc(s.Thresholds, func(o Outcome) bool { return o.Cell == cell && o.Policy == p.Policy && !o.OK }) {
			kept = append(kept, p)
		}
	}
	return kept
}

// ties returns the candidates after the first that a paired test, corrected
// for their number, does not find worse than it; weak if one of them could
// still be so by more than the margin.
func ties(candidates []*Policy, o Objective) (tied []*Policy, single, weak bool) {
	trial := make([]Policy, len(candidates))
	pairs := make([]pair, 0, len(candidates))
	for i, p := range candidates {
		trial[i] = Policy{Metrics: p.Metrics, VsBaseline: map[string]Comparison{}}
		if i > 0 {
			pairs = append(pairs, pair{p: &trial[i], against: &trial[0]})
		}
	}
	judgement{paired: true}.figure(pairs, o.Metric, o.Statistic)
	for i, p := range candidates[1:] {
		for _, c := range trial[i+1].VsBaseline {
			single = single || c.Scope == ThisTrace
			if c.Scope == ThisTrace && c.Diff == 0 || c.Scope != ThisTrace && c.Verdict != Worse {
				tied = append(tied, p)
				weak = weak || c.Scope != ThisTrace && c.Verdict == Underpowered
			}
		}
	}
	return tied, single, weak
}

// Overall is the policy for someone who must take one for every cell.
type Overall struct {
	Policy string // empty if none is a VALID candidate in every cell
	// Everywhere is true if it is best or tied in each of them.
	Everywhere bool
	Wins       int    // cells in which it is best or tied
	Cells      int    // cells with any candidate
	WorstCell  string // where it loses most to the best there,
	WorstRatio Number // and how much: its figure over that of the best
	Equals     []string
}

// Overall returns the candidate with the smallest geometric mean, over the
// cells, of its objective relative to the best there. Equals are the other
// policies that are best or tied in every cell too.
func (s *Summary) Overall(choices []Choice) Overall {
	var best Overall
	least := math.Inf(1)
	for _, name := range everywhere(choices) {
		o, score := rate(name, choices)
		if score < least-1e-12 {
			o.Equals = nil
			best, least = o, score
		}
	}
	for _, name := range everywhere(choices) {
		if o, _ := rate(name, choices); o.Everywhere && best.Everywhere && name != best.Policy {
			best.Equals = append(best.Equals, name)
		}
	}
	return best
}

// everywhere returns the policies that are candidates in every cell that has
// any, in the order of the first.
func everywhere(choices []Choice) (names []string) {
	count, cells := map[string]int{}, 0
	for _, c := range choices {
		if c.Best != nil {
			cells++
		}
		for _, p := range c.Candidates {
			if count[p.Policy]++; cells == 1 {
				names = append(names, p.Policy)
			}
		}
	}
	return slices.DeleteFunc(names, func(name string) bool { return count[name] != cells })
}

func rate(name string, choices []Choice) (o Overall, score float64) {
	o = Overall{Policy: name, WorstRatio: 1}
	for _, c := range choices {
		if c.Best == nil {
			continue
		}
		o.Cells++
		p, _ := c.Cell.Named(name)
		if c.Tied(p) {
			o.Wins++
		}
		value, least := c.Value(p).Value, c.Value(c.Best).Value
		if least <= 0 {
			continue
		}
		score += math.Log(max(float64(value/least), 1e-9))
		if value/least > o.WorstRatio {
			o.WorstRatio, o.WorstCell = value/least, c.Cell.ID
		}
	}
	o.Everywhere = o.Wins == o.Cells
	return o, score
}
