package summary

import "testing"

func names(ps []*Policy) string {
	text := ""
	for _, p := range ps {
		text += p.Policy + " "
	}
	return text
}

func TestChoice(t *testing.T) {
	in := input()
	cell := &in.Cells[0]
	twin := shifted(-1, true)
	for i := range twin {
		twin[i] += 0.02 * float64(i%2*2-1)
	}
	cell.Policies = append(cell.Policies, PolicyInput{Policy: "twin", Results: series(twin, wobble)},
		PolicyInput{Policy: "overloaded", Results: series(shifted(-5, true), wobble), Invalid: []string{"unstable"}})
	s := Build(in)
	c := s.Choices()[0]
	if c.Best == nil || c.Best.Policy != "faster" && c.Best.Policy != "twin" || len(c.Ties) != 1 || c.Keep || c.Single || c.Restricted {
		t.Errorf("best %v, ties %s, %+v", c.Best, names(c.Ties), c)
	}
	if c.Clairvoyant == nil || c.Clairvoyant.Policy != "oracle" || names(c.Excluded) != "overloaded " {
		t.Errorf("clairvoyant %v, excluded %s", c.Clairvoyant, names(c.Excluded))
	}
	if o := s.Overall(s.Choices()); o.Policy != c.Best.Policy || !o.Everywhere || o.Cells != 1 || len(o.Equals) != 1 {
		t.Errorf("%+v", o)
	}
}

func TestChoiceKeepsThresholds(t *testing.T) {
	in := input()
	in.Thresholds = []Threshold{must(ParseThreshold("item_latency_seconds{policy=faster}", "mean < 1")), must(ParseThreshold("item_latency_seconds{policy=seed}", "mean < 100"))}
	c := Build(in).Choices()[0]
	if c.Best.Policy != "seed" || !c.Restricted || !c.Keep {
		t.Errorf("%+v", c)
	}
	if len(Build(in).Failed()) != 1 {
		t.Error("one threshold fails")
	}
}

func TestChoiceOfOneReplicate(t *testing.T) {
	in := input()
	in.Replicates = 1
	for i := range in.Cells[0].Policies {
		in.Cells[0].Policies[i].Results = in.Cells[0].Policies[i].Results[:1]
	}
	in.Cells[0].Policies[2].Results = in.Cells[0].Policies[1].Results
	c := Build(in).Choices()[0]
	if c.Best.Policy != "faster" || names(c.Ties) != "slower " || !c.Single {
		t.Errorf("best %s, ties %s, %+v", c.Best.Policy, names(c.Ties), c)
	}
}

// Where each cell has another winner, the overall choice must be the one that
// loses least, and say where it does.
func TestOverallOfDisagreeingCells(t *testing.T) {
	in := input()
	second := in.Cells[0]
	second.ID = "bbbb"
	second.Policies = []PolicyInput{
		{Policy: "seed", Results: series(wobble, wobble)},
		{Policy: "faster", Results: series(shifted(1, true), wobble)},
		{Policy: "slower", Results: series(shifted(30, true), wobble)},
	}
	in.Cells = append(in.Cells, second)
	s := Build(in)
	o := s.Overall(s.Choices())
	if o.Policy != "seed" && o.Policy != "faster" || o.Everywhere || o.Wins != 1 || o.Cells != 2 || o.WorstCell == "" || o.WorstRatio <= 1 {
		t.Errorf("%+v", o)
	}
	s.Cells[1].Policies = nil
	if o := s.Overall(s.Choices()); o.Policy != "faster" || o.Cells != 1 {
		t.Errorf("a cell without candidates: %+v", o)
	}
}

// refusing gives the results of a policy that finishes only some of its items.
func refusing(in *Input, policy int, rejected, unfinished float64) {
	for _, r := range in.Cells[0].Policies[policy].Results {
		r.Values["items_rejected"], r.Values["items_unfinished"] = rejected, unfinished
	}
}

// A policy that refuses the work is fast with the rest: that is no reason to
// choose it, nor to hold it against the others.
func TestChoiceLeavesOutWhatFinishesLess(t *testing.T) {
	in := input()
	refusing(&in, 1, 80, 5)
	refusing(&in, 3, 80, 0)
	c := Build(in).Choices()[0]
	if c.Best.Policy != "seed" || names(c.Short) != "faster " || names(c.Candidates) != "seed slower " || c.Clairvoyant != nil {
		t.Errorf("best %s, short %s, candidates %s, clairvoyant %v", c.Best.Policy, names(c.Short), names(c.Candidates), c.Clairvoyant)
	}
	if lost, refused := c.Short[0].Lost(), c.Short[0].Refused(); lost != 0.85 || refused != 0.8 {
		t.Errorf("lost %g, refused %g", lost, refused)
	}
	in = input()
	for i := range in.Cells[0].Policies {
		refusing(&in, i, 80, float64(i%2))
	}
	if c := Build(in).Choices()[0]; c.Best.Policy != "faster" || len(c.Short) != 0 || c.Clairvoyant == nil {
		t.Errorf("all finish as much, but for a hundredth: best %s, short %s", c.Best.Policy, names(c.Short))
	}
	in = input()
	refusing(&in, 1, 80, 0)
	in.Thresholds = []Threshold{must(ParseThreshold("item_latency_seconds", "mean < 11.5"))}
	if c := Build(in).Choices()[0]; c.Best.Policy != "faster" || !c.Restricted || len(c.Short) != 0 {
		t.Errorf("only what refuses keeps the threshold: best %s, short %s", c.Best.Policy, names(c.Short))
	}
}
