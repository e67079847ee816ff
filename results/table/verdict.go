package table

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vramsim/vramsim/results/summary"
)

// Verdict says which policy to choose: a sentence over all if there are
// several cells, then one for each cell. Ties are named, policies that are not
// VALID or finish less than others are left out by name, and clairvoyant ones
// are only compared with the best: they know the future and are no optimum.
func Verdict(s *summary.Summary) []string {
	if s.Unranked != "" {
		return []string{"No policy is recommended: " + s.Unranked + "."}
	}
	choices := s.Choices()
	var lines []string
	if len(choices) > 1 {
		lines = append(lines, overall(s, choices))
	}
	for _, c := range choices {
		lines = append(lines, inCell(s, c))
	}
	if s.Scope == summary.ThisTrace {
		lines = append(lines, "One replicate was run: this holds for this trace and says nothing about another.")
	}
	return lines
}

func overall(s *summary.Summary, choices []summary.Choice) string {
	o := s.Overall(choices)
	switch {
	case o.Policy == "":
		return "Over all: no policy can be recommended for every cell."
	case o.Everywhere && len(o.Equals) > 0:
		return fmt.Sprintf("Over all: %s, best or tied in every cell (%d); so %s.", o.Policy, o.Cells, are(o.Equals))
	case o.Everywhere:
		return fmt.Sprintf("Over all: %s, the only policy that is best or tied in every cell (%d).", o.Policy, o.Cells)
	}
	worst := o.WorstCell
	for _, c := range choices {
		if c.Cell.ID == o.WorstCell && Title(c.Cell) != "" {
			worst = Title(c.Cell)
		}
	}
	return fmt.Sprintf("Over all: no policy is best everywhere; %s loses least (best or tied in %d of %d cells, at worst %s at %s).",
		o.Policy, o.Wins, o.Cells, Percent(float64(o.WorstRatio)-1), worst)
}

func are(names []string) string {
	if len(names) == 1 {
		return "is " + names[0]
	}
	return "are " + list(names)
}

func inCell(s *summary.Summary, c summary.Choice) string {
	var b strings.Builder
	if title := Title(c.Cell); title != "" {
		fmt.Fprintf(&b, "At %s: ", title)
	}
	switch {
	case c.Best == nil && slices.ContainsFunc(c.Excluded, func(p *summary.Policy) bool { return p.Status == summary.Incomplete }):
		b.WriteString("not finished, so that nothing can be recommended")
		return sentence(b.String(), s.Baseline)
	case c.Best == nil:
		b.WriteString("no policy is VALID, so none can be recommended")
	default:
		b.WriteString(recommendation(s, c))
	}
	if len(c.Excluded) > 0 {
		b.WriteString("; left out as not VALID: " + list(names(c.Excluded)))
	}
	if len(c.Short) > 0 {
		b.WriteString("; left out as finishing less: " + list(shortfalls(c.Short)))
	}
	if c.Restricted {
		b.WriteString("; policies that break a threshold were not considered")
	}
	if c.Clairvoyant != nil && c.Best != nil {
		b.WriteString("; " + prospect(c))
	}
	if c.Best != nil {
		b.WriteString(distance(c))
	}
	return sentence(b.String(), s.Baseline)
}

// sentence begins with a capital unless it begins with the name of a policy.
func sentence(text, policy string) string {
	if text[0] >= 'a' && text[0] <= 'z' && !strings.HasPrefix(text, policy+" ") {
		text = strings.ToUpper(text[:1]) + text[1:]
	}
	return text + "."
}

func recommendation(s *summary.Summary, c summary.Choice) string {
	switch {
	case c.Keep && len(c.Candidates) == 1 && s.Baseline == c.Best.Policy:
		return fmt.Sprintf("%s is the only candidate (%s)", s.Baseline, figure(c, c.Best))
	case c.Keep && len(c.Ties)+1 == len(c.Candidates) && c.Weak:
		return fmt.Sprintf("the replicates are too few to tell the policies apart; until there are more, keep %s (%s); best on average is %s (%s)",
			s.Baseline, figure(c, named(c, s.Baseline)), c.Best.Policy, figure(c, c.Best))
	case c.Keep && len(c.Ties)+1 == len(c.Candidates):
		return fmt.Sprintf("the choice does not matter, no policy is measurably worse than another; keep %s (%s)", s.Baseline, figure(c, named(c, s.Baseline)))
	case c.Keep && c.Best.Policy == s.Baseline:
		return fmt.Sprintf("keep %s (%s)%s", s.Baseline, figure(c, c.Best), tied(c, ""))
	case c.Keep:
		return fmt.Sprintf("nothing beats %s measurably (%s); best on average is %s (%s)%s", s.Baseline, figure(c, named(c, s.Baseline)), c.Best.Policy, figure(c, c.Best), tied(c, s.Baseline))
	}
	return fmt.Sprintf("choose %s (%s%s)%s", c.Best.Policy, figure(c, c.Best), gains(s, c), tied(c, ""))
}

// figure is the objective of p with its interval: "mean latency 12.3 s ± 0.4".
func figure(c summary.Choice, p *summary.Policy) string {
	what := "mean latency"
	if c.Objective.Metric == "makespan_seconds" {
		what = "makespan"
	}
	f := c.Value(p)
	unit, seconds := TimeUnit(float64(f.Value))
	text := fmt.Sprintf("%s %.3g", what, float64(f.Value)/seconds)
	if f.CI95 != nil && f.CI95[0] != f.CI95[1] {
		text += fmt.Sprintf(" ± %.2g", float64(f.CI95[1]-f.CI95[0])/2/seconds)
	}
	text += " " + unit
	if lost := p.Lost(); !negligible(lost) {
		text += fmt.Sprintf(", %s of its items not finished", share(lost))
	}
	return text
}

// shortfalls names policies with the share of items that they do not finish.
func shortfalls(policies []*summary.Policy) []string {
	all := names(policies)
	for i, p := range policies {
		all[i] += fmt.Sprintf(" (%s of its items not finished)", share(p.Lost()))
	}
	return all
}

// share formats a part of all as Percent does, without a sign.
func share(part float64) string { return strings.TrimPrefix(Percent(part), "+") }

// negligible reports whether a part of all is shown as none.
func negligible(part float64) bool { return Percent(part) == "±0%" }

// gains compares the best with the baseline.
func gains(s *summary.Summary, c summary.Choice) string {
	text := ""
	key := c.Objective.Metric
	if c.Objective.Statistic != "value" {
		key += "." + c.Objective.Statistic
	}
	if v, ok := c.Best.VsBaseline[key]; ok && v.Ratio.Known() {
		against := s.Baseline
		if v.Against != "" {
			against = v.Against
		}
		text += fmt.Sprintf(", %s against %s", Percent(float64(v.Ratio)-1), against)
	}
	for _, m := range [...]struct{ metric, word string }{{"model_loads", "loads"}, {"model_switches", "switches"}} {
		if v, ok := c.Best.VsBaseline[m.metric]; ok && v.Ratio.Known() && v.Diff != 0 {
			text += fmt.Sprintf(", %s %s", m.word, Percent(float64(v.Ratio)-1))
		}
	}
	return text
}

// tied names the policies that are as good, without one already mentioned.
func tied(c summary.Choice, mentioned string) string {
	var others []string
	for _, p := range c.Ties {
		if p.Policy != mentioned {
			others = append(others, p.Policy)
		}
	}
	switch {
	case len(others) == 0:
		return ""
	case c.Single:
		return ", equal to " + list(others)
	}
	if c.Weak {
		return ", not told apart by so few replicates from " + list(others)
	}
	return ", not told apart from " + list(others)
}

// distance says how far the best is from what no policy can beat that finishes
// everything, if the best does.
func distance(c summary.Choice) string {
	figure := c.Objective.Metric
	if c.Objective.Statistic != "value" {
		figure += "." + c.Objective.Statistic
	}
	bound, ok := c.Cell.Bounds[figure]
	best := c.Value(c.Best).Value
	if !ok || !bound.Value.Known() || bound.Value <= 0 || best < bound.Value || c.Best.Lost() > 0 {
		return ""
	}
	unit, seconds := TimeUnit(float64(bound.Value))
	if change := Percent(float64(best/bound.Value) - 1); change != "±0%" {
		return fmt.Sprintf("; %s is %s above the bound of %s %s", c.Best.Policy, strings.TrimPrefix(change, "+"), short(float64(bound.Value)/seconds), unit)
	}
	return fmt.Sprintf("; %s is within 0.1 %% of the bound", c.Best.Policy)
}

// prospect says how much a policy that knows the future gains over the best.
func prospect(c summary.Choice) string {
	best, oracle := c.Value(c.Best).Value, c.Value(c.Clairvoyant).Value
	if oracle >= best {
		return fmt.Sprintf("%s, which knows the future, does no better", c.Clairvoyant.Policy)
	}
	return fmt.Sprintf("%s, which knows the future and cannot be deployed, is %s lower", c.Clairvoyant.Policy, strings.TrimPrefix(Percent(float64(oracle/best)-1), "−"))
}

func named(c summary.Choice, name string) *summary.Policy {
	p, _ := c.Cell.Named(name)
	return p
}

func names(policies []*summary.Policy) []string {
	list := make([]string, len(policies))
	for i, p := range policies {
		list[i] = p.Policy
	}
	return list
}

func list(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}
