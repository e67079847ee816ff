package workloads

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/random"
)

// pipelines makes jobs of items that wait for each other.
type pipelines struct {
	keys    keys
	list    []plan
	picker  picker
	picked  []uint16 // pipeline of each job, kept if there are several
	scratch []scheduler.ItemID
}

// plan is a pipeline in an order in which every stage follows those it needs.
type plan struct {
	name   string
	stages []step
}

type step struct {
	*Stage
	hash   uint64
	after  []int // positions in plan.stages
	each   int   // -1 for none
	choose picker

	// Of the job being made: ends are the items whose end is this stage's, with
	// those that skipped parts wait for in their place; merged says that an
	// item may stand there twice. items are its own.
	ends   []scheduler.ItemID
	merged bool
	items  int
	first  scheduler.ItemID
}

func newPipelines(list []Pipeline, k keys) (*pipelines, error) {
	p := &pipelines{keys: k}
	weights := make([]float64, len(list))
	for i := range list {
		field := fmt.Sprintf("pipelines[%d]", i)
		weights[i] = list[i].Weight
		if weights[i] == 0 {
			weights[i] = 1
		}
		if err := validateCounts(field+".weight", weights[i:i+1], true); err != nil {
			return nil, err
		}
		if j := slices.IndexFunc(list[:i], func(o Pipeline) bool { return o.Name == list[i].Name }); j >= 0 {
			return nil, wrong(field+".name", "%q is also the name of pipelines[%d]", list[i].Name, j)
		}
		plan, err := newPlan(&list[i], field)
		if err != nil {
			return nil, err
		}
		p.list = append(p.list, plan)
	}
	if len(list) > 1<<16 {
		return nil, wrong("pipelines", "%d pipelines; at most %d", len(list), 1<<16)
	}
	p.picker = newPicker(weights)
	for i, plan := range p.list {
		if !plan.makesItems() {
			return nil, wrong(fmt.Sprintf("pipelines[%d].stages", i), "no stage ever has items")
		}
	}
	return p, nil
}

func newPlan(p *Pipeline, field string) (plan, error) {
	if len(p.Stages) == 0 {
		return plan{}, wrong(field+".stages", "there are no stages")
	}
	for i := range p.Stages {
		if err := p.validateStage(i, fmt.Sprintf("%s.stages[%d]", field, i)); err != nil {
			return plan{}, err
		}
	}
	needs := p.needs()
	order, err := p.order(needs, field)
	if err != nil {
		return plan{}, err
	}
	out := plan{name: p.Name}
	for _, i := range order {
		s := &p.Stages[i]
		st := step{Stage: s, hash: random.Key(random.Hash(p.Name), random.Hash(s.ID)), each: -1}
		for _, a := range s.After {
			st.after = append(st.after, slices.Index(order, p.index(a)))
		}
		if s.Each != "" {
			st.each = slices.Index(order, p.index(s.Each))
		}
		if len(s.Choose) > 0 {
			weights := make([]float64, len(s.Choose))
			for k, c := range s.Choose {
				weights[k] = c.Weight
			}
			st.choose = newPicker(weights)
		}
		out.stages = append(out.stages, st)
	}
	return out, nil
}

// makesItems reports whether some job of the pipeline has items.
func (p *plan) makesItems() bool {
	return slices.ContainsFunc(p.stages, func(s step) bool {
		if s.each >= 0 || s.Items == nil {
			return s.each < 0
		}
		n, fixed := random.Fixed(s.Items)
		return s.Items.Mean() > 0 && (!fixed || random.Round(n) > 0)
	})
}

func (p *Pipeline) index(id string) int {
	return slices.IndexFunc(p.Stages, func(s Stage) bool { return s.ID == id })
}

func (p *Pipeline) validateStage(i int, field string) error {
	s := &p.Stages[i]
	switch {
	case s.ID == "":
		return wrong(field+".id", "is empty")
	case p.index(s.ID) != i:
		return wrong(field+".id", "%q is also the id of stages[%d]", s.ID, p.index(s.ID))
	case !(s.Chance >= 0 && s.Chance <= 1):
		return wrong(field+".chance", "%v; must be between 0 and 1", s.Chance)
	case s.SLO < 0:
		return wrong(field+".slo", "must not be negative")
	case len(s.Choose) == 0 && s.Model < 0:
		return wrong(field+".model", "there is no model")
	}
	if len(s.Choose) > 0 {
		weights := make([]float64, len(s.Choose))
		for k, c := range s.Choose {
			weights[k] = c.Weight
		}
		if err := validateCounts(field+".model.choose", weights, true); err != nil {
			return err
		}
	}
	for k, a := range s.After {
		switch {
		case p.index(a) < 0:
			return wrong(fmt.Sprintf("%s.after[%d]", field, k), "there is no stage %q", a)
		case slices.Contains(s.After[:k], a):
			return wrong(fmt.Sprintf("%s.after[%d]", field, k), "%q stands there twice", a)
		}
	}
	if s.Each != "" && p.index(s.Each) < 0 {
		return wrong(field+".each", "there is no stage %q", s.Each)
	}
	return nil
}

// needs returns which stages each stage has to follow.
func (p *Pipeline) needs() [][]int {
	needs := make([][]int, len(p.Stages))
	for i, s := range p.Stages {
		for _, a := range s.After {
			needs[i] = append(needs[i], p.index(a))
		}
		if s.Each != "" {
			needs[i] = append(needs[i], p.index(s.Each))
		}
	}
	return needs
}

// order returns the stages so that each follows what it needs, otherwise as
// they were given.
func (p *Pipeline) order(needs [][]int, field string) ([]int, error) {
	var order []int
	placed := make([]bool, len(p.Stages))
	waits := func(i int) bool { return !placed[i] }
	for len(order) < len(p.Stages) {
		next := 0
		for next < len(needs) && (placed[next] || slices.ContainsFunc(needs[next], waits)) {
			next++
		}
		if next == len(needs) {
			return nil, wrong(field+".stages", "stages wait for each other: %s", p.cycle(needs, placed))
		}
		placed[next] = true
		order = append(order, next)
	}
	return order, nil
}

// cycle spells out one cycle among the stages that could not be placed.
func (p *Pipeline) cycle(needs [][]int, placed []bool) string {
	at := slices.Index(placed, false)
	var path []int
	for !slices.Contains(path, at) {
		path = append(path, at)
		at = needs[at][slices.IndexFunc(needs[at], func(i int) bool { return !placed[i] })]
	}
	var names []string
	for _, i := range path[slices.Index(path, at):] {
		names = append(names, p.Stages[i].ID)
	}
	return strings.Join(append(names, p.Stages[at].ID), " after ")
}

func (p *pipelines) whole() bool { return false }

func (p *pipelines) jobs(at []scheduler.Time, who, ordinal uint64, out *batch) error {
	for i, t := range at {
		if out.left() == 0 {
			break
		}
		if err := p.job(t, who, ordinal+uint64(i), out); err != nil {
			return err
		}
	}
	return nil
}

// job appends the items of one job.
func (p *pipelines) job(at scheduler.Time, who, ordinal uint64, out *batch) error {
	which := 0
	if len(p.list) > 1 {
		which = p.picker.pick(random.Uniform(random.Key(p.keys.of(who, forPipeline), ordinal)))
		p.picked = append(p.picked, uint16(which))
	}
	record := out.remember()
	record.pipeline = which
	steps := p.list[which].stages
	for i := range steps {
		s := &steps[i]
		s.ends, s.merged, s.items, s.first = s.ends[:0], false, 0, out.nextItem
		if err := p.stage(at, who, ordinal, steps, i, out); err != nil {
			return err
		}
		record.counts = append(record.counts, s.items)
	}
	if out.nextItem == record.first { // nothing of it happens
		out.now = out.now[:len(out.now)-1]
		if len(p.list) > 1 {
			p.picked = p.picked[:len(p.picked)-1]
		}
		return nil
	}
	out.nextJob++
	return nil
}

// stage makes the items of one stage of a job.
func (p *pipelines) stage(at scheduler.Time, who, ordinal uint64, steps []step, i int, out *batch) error {
	s := &steps[i]
	common, merged := p.scratch[:0], len(s.after) > 1 // sorted
	for _, a := range s.after {
		common = append(common, steps[a].ends...)
		merged = merged || steps[a].merged
	}
	p.scratch = common
	if merged {
		slices.Sort(common)
		common = slices.Compact(common)
	}
	if s.each < 0 {
		return p.part(at, who, ordinal, 0, s, common, out)
	}
	parents := &steps[s.each]
	for k := range parents.items {
		own, parent := common, parents.first+scheduler.ItemID(k)
		if _, there := slices.BinarySearch(common, parent); !there {
			own = append(common, parent)
			p.scratch = own
		}
		if err := p.part(at, who, ordinal, uint64(k), s, own, out); err != nil {
			return err
		}
	}
	if parents.items == 0 {
		s.ends, s.merged = append(append(s.ends, common...), parents.ends...), true
	}
	return nil
}

// part makes the items of a stage for a job or for one item of another stage.
func (p *pipelines) part(at scheduler.Time, who, ordinal, parent uint64, s *step, needs []scheduler.ItemID, out *batch) error {
	count := int64(1)
	if s.Items != nil {
		count = random.Round(s.Items.Quantile(p.draw(who, s.hash, forCount, ordinal, parent)))
	}
	if s.Chance > 0 && s.Chance < 1 && p.draw(who, s.hash, forBranch, ordinal, parent) >= s.Chance {
		count = 0
	}
	if count+int64(s.items) > maxItemsPerJob {
		return wrong("pipelines", "stage %q of a job draws %d items; at most %d", s.ID, count+int64(s.items), maxItemsPerJob)
	}
	if count == 0 {
		s.ends, s.merged = append(s.ends, needs...), true
		return nil
	}
	follow := 1 + len(needs)
	if s.SLO > 0 {
		follow++
	}
	for range count {
		model := s.Model
		if len(s.Choose) > 0 {
			model = s.Choose[s.choose.pick(p.draw(who, s.hash, forModel, ordinal, uint64(s.items)))].Model
		}
		id := out.arrive(at, model, s.Priority, follow)
		out.attribute(at, scheduler.ItemJob, id, int64(out.nextJob))
		if s.SLO > 0 {
			due, _ := scheduler.AddTime(at, s.SLO)
			out.attribute(at, scheduler.ItemDeadline, id, int64(due))
		}
		for _, n := range needs {
			out.attribute(at, scheduler.ItemDependsOn, id, int64(n))
		}
		s.ends = append(s.ends, id)
		s.items++
	}
	return nil
}

func (p *pipelines) draw(who, stage uint64, purpose purpose, ordinal, part uint64) float64 {
	return random.Uniform(random.Key(p.keys.seed, p.keys.replicate, random.Key(who, stage), uint64(purpose), ordinal, part))
}

func (p *pipelines) addRates(jobs float64, rates []float64) {
	for which, plan := range p.list {
		per := make([]float64, len(plan.stages))
		for i := range plan.stages {
			s := &plan.stages[i]
			per[i] = jobs * p.picker.share(which)
			if s.each >= 0 {
				per[i] = per[s.each]
			}
			if s.Items != nil {
				per[i] *= s.Items.Mean()
			}
			if s.Chance > 0 {
				per[i] *= s.Chance
			}
			if len(s.Choose) == 0 {
				rates[s.Model] += per[i]
			}
			for k, c := range s.Choose {
				rates[c.Model] += per[i] * s.choose.share(k)
			}
		}
	}
}

func (p *pipelines) itemName(m *made, item scheduler.ItemID) string {
	plan := &p.list[m.pipeline]
	index := int(item - m.first)
	for i, n := range m.counts {
		if index < n {
			return fmt.Sprintf("%s/%d/%s/%d", plan.name, m.job, plan.stages[i].ID, index)
		}
		index -= n
	}
	return strconv.FormatInt(int64(item), 10)
}

func (p *pipelines) jobName(job scheduler.JobID) string {
	which := 0
	if len(p.list) > 1 && job >= 0 && int64(job) < int64(len(p.picked)) {
		which = int(p.picked[job])
	}
	return p.list[which].name + "/" + strconv.FormatInt(int64(job), 10)
}
