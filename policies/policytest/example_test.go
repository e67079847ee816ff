package policytest_test

import (
	"fmt"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/policies/policytest"
	"github.com/vramsim/vramsim/scheduler"
)

// youngest turns to the model whose head became ready last.
type youngest struct{}

func (youngest) Select(v *scheduler.View, c *policies.Candidates) scheduler.ModelID {
	best := scheduler.NoModel
	for m := c.Next(0); m != scheduler.NoModel; m = c.Next(m + 1) {
		if best == scheduler.NoModel || v.HeadSeq(m) > v.HeadSeq(best) {
			best = m
		}
	}
	return best
}

// A selector of one's own, composed with the visits, batches and evictions of
// the catalogue. In a test of one's own, policytest.Test(t, cfg) fails for what
// is broken.
func Example() {
	set := policies.Builtin()
	err := set.Add(policies.Entry{Name: "youngest", Kind: policies.KindSelector, Doc: "the youngest head",
		New: func(*policies.Args) (any, error) { return youngest{}, nil }})
	if err != nil {
		fmt.Println(err)
		return
	}
	report, err := policytest.Check(policytest.Config{Set: set, Spec: policies.Spec{Use: "youngest"}, Cases: 200, Evaluations: -1})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, row := range report.Results {
		switch row.Property {
		case policytest.Drains, policytest.WorkConserving, policytest.Starvation:
			fmt.Printf("%s: %s\n", row.Property, row.Status)
		}
	}
	fmt.Println(len(report.Broken()), "broken")
	// Output:
	// drains: holds
	// work-conserving: holds
	// bound of visits: not declared
	// 0 broken
}
