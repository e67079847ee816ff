package policies

import (
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/random"
)

// Builtin returns the policies and axis values that come with vramsim.
func Builtin() *Set {
	set := &Set{}
	for _, list := range [][]Entry{selectors(), wholes(), presets(), visits(), batchers(), evictors(), prefetchers(), placers(), admitters(), orders()} {
		for _, e := range list {
			if err := set.Add(e); err != nil {
				panic("bug: " + err.Error())
			}
		}
	}
	return set
}

// anew is the visit of selectors that decide again for each batch.
var anew = Axis{Name: "limited", Params: map[string]any{"batches": int64(1)}}

func value(v any) func(*Args) (any, error) {
	return func(*Args) (any, error) { return v, nil }
}

func selectors() []Entry {
	prefer := func(def, other string) Param {
		return Param{Name: "prefer", Kind: Choice, Default: def, Choices: []string{def, other}, Doc: "resident: resident models come first"}
	}
	maxWaited := Param{Name: "max_wait", Kind: Duration, Default: "15s", Doc: "wait of the oldest item from which a visit is forced"}
	minActive := Param{Name: "min_active", Kind: Duration, Default: "5s", Doc: "least time at a model"}
	return []Entry{
		{Name: "sticky", Kind: KindSelector, Doc: "stay while the queue has items, then the longest queue: the seed's rule, its faults mended",
			Contracts: "bound: none", Params: []Param{prefer("current", "resident")},
			New: func(a *Args) (any, error) { return &sticky{resident: a.Text("prefer") == "resident"}, nil }},
		{Name: "fifo", Kind: KindSelector, Visit: anew, Doc: "the model whose head became ready first; the batch is its run at the front of the merged order",
			Contracts: "bound: bypass 0 without skip, bypass and fill, else none",
			Params: []Param{
				{Name: "skip", Kind: Flag, Default: false, Doc: "pass over what can do nothing now"},
				{Name: "bypass", Kind: Flag, Default: false, Doc: "resident models first"}},
			New: func(a *Args) (any, error) { return &fifo{skip: a.Bool("skip"), bypass: a.Bool("bypass")}, nil }},
		{Name: "longest", Kind: KindSelector, Visit: anew, Doc: "the largest queue, anew for each batch; of equals the current model",
			Contracts: "bound: none",
			Params: []Param{
				{Name: "by", Kind: Choice, Default: "items", Choices: []string{"items", "work"}, Doc: "number of items or expected time for all"},
				prefer("all", "resident")},
			New: func(a *Args) (any, error) {
				return &longest{work: a.Text("by") == "work", resident: a.Text("prefer") == "resident"}, nil
			}},
		{Name: "oldest", Kind: KindSelector, Visit: Axis{Name: "gated"}, Doc: "the model whose oldest item has waited longest, in gated visits",
			Contracts: "bound: as many visits as models", New: value(oldest{})},
		{Name: "max-wait", Kind: KindSelector, Doc: "sticky, but a model whose oldest item has waited longer than wait is visited at once",
			Source: "mostlygeek/llama-swap#612", Contracts: "bound: as many visits as models after wait (gated)", Params: []Param{
				{Name: "wait", Kind: Duration, Default: "60s", Doc: "longest wait before a visit is forced"},
				{Name: "gated", Kind: Flag, Default: true, Doc: "a forced visit serves what is ready when it opens; false: one batch"},
				prefer("current", "resident")},
			New: newMaxWait},
		{Name: "polling", Kind: KindSelector, Doc: "the models in a cycle", Source: "Takagi, ACM Computing Surveys 20:1 (1988)",
			Contracts: "bound: as many visits as models", Params: []Param{
				{Name: "order", Kind: Sequence, Default: "ids", Doc: "the cycle: ids is catalogue order"},
				{Name: "skip_empty", Kind: Flag, Default: true, Doc: "false: load for empty queues too and go round for ever"}},
			New: newPollingOf},
		{Name: "priority", Kind: KindSelector, Visit: anew, Doc: "the highest head priority, then the oldest head", Contracts: "bound: none", New: value(priority{})},
		{Name: "hysteresis", Kind: KindSelector, Visit: anew, Doc: "the longest queue, but a queue with items is left only for one longer by h", Contracts: "bound: none",
			Params: []Param{{Name: "h", Kind: Count, Default: int64(3), Doc: "items by which another queue must be longer"}},
			New:    func(a *Args) (any, error) { return &hysteresis{h: int(a.Int("h"))}, nil }},
		{Name: "cmu-setup", Kind: KindSelector, Visit: Axis{Name: "gated"}, Doc: "the most items per time of a visit, its load and what arrives meanwhile included", Contracts: "bound: none",
			Params: []Param{{Name: "aging", Kind: Duration, Default: "0s", Doc: "wait of the oldest item that doubles what its model is worth; 0: it does not matter"}},
			New:    func(a *Args) (any, error) { return &cmuSetup{aging: a.Time("aging")}, nil }},
		{Name: "edf-setup", Kind: KindSelector, Visit: anew, Doc: "the least head deadline less load and batch time", Contracts: "bound: none",
			Params: []Param{
				{Name: "h", Kind: Duration, Default: "0s", Doc: "leave the current model only for one less by more than this"},
				{Name: "virtual", Kind: Duration, Default: "60s", Doc: "deadline after arrival of items without one"}},
			New: func(a *Args) (any, error) { return &edfSetup{h: a.Time("h"), virtual: a.Time("virtual")}, nil }},
		{Name: "qlm", Kind: KindSelector, Visit: anew, Order: Axis{Name: "deadline"}, Doc: "groups of a model's items of like deadlines, the earliest first; if one would be late, the best order of up to 8; orders queues by deadline unless told otherwise",
			Source: "Patke et al., arXiv 2407.00047, without its integer program and preemption", Contracts: "bound: none",
			Params: []Param{{Name: "bucket", Kind: Duration, Default: "1s", Min: 1, Doc: "by how much the times from arrival to deadline may differ within a group"}},
			New:    func(a *Args) (any, error) { return &qlm{bucket: a.Time("bucket"), places: map[int64]int{}}, nil }},
		{Name: "waste", Kind: KindSelector, Doc: "the longest wait of all items per time of the load, and at once whoever has come to beta", Source: "Bounded Waste, in time",
			Contracts: "bound: as many visits as models after beta times the longest load", Params: []Param{
				{Name: "floor", Kind: Duration, Default: "250ms", Min: 1, Doc: "what a load counts at least, that of a resident model too"},
				{Name: "beta", Kind: Decimal, Default: int64(6), Doc: "wait of all items in load times from which a visit is forced"}},
			New: newWaste},
		{Name: "largest-feasible", Kind: KindSelector, Visit: anew, Doc: "the most items that would end together before the deadline of the first; of what is late one item", Source: "Shepherd's Flex, NSDI 2023, without preemption",
			Contracts: "bound: none", New: value(largestFeasible{})},
		{Name: "drr", Kind: KindSelector, Doc: "the models in a cycle, each visit for a quantum, of which batches and loads are paid", Source: "Shreedhar and Varghese, SIGCOMM 1995",
			Contracts: "bound: as many visits as models", Params: []Param{
				{Name: "quantum", Kind: Duration, Default: "30s", Min: 1, Doc: "time that a visit adds to what its model has"}},
			New: newDRR},
		{Name: "wfq", Kind: KindSelector, Visit: anew, Doc: "the model that was served for the least time while it was busy", Contracts: "bound: none",
			Params: []Param{{Name: "turns", Kind: Flag, Default: false, Doc: "the fewest batches instead, times the head's priority from 1 on, as Triton's rate limiter does it"}},
			New:    newWFQ},
		{Name: "cost-aware", Kind: KindSelector, Doc: "leaves a model once another queue is worth the switch as it was measured", Source: "doublewordai/llmux 18d8c72",
			Waits: true, Declared: Contracts{OwnTimes: true}, Contracts: "waits; bound: as many visits as models after max_wait", Params: []Param{maxWaited,
				{Name: "factor", Kind: Decimal, Default: 0.5, Doc: "items that are worth a second of switching"},
				{Name: "window", Kind: Duration, Default: "2s", Doc: "wait for more items"}, minActive},
			New: newCostAware},
		{Name: "time-slice", Kind: KindSelector, Doc: "serves a model until its queue is drained, then the longest queue", Source: "doublewordai/llmux 18d8c72",
			Waits: true, Contracts: "waits; bound: as many visits as models after max_wait", Params: []Param{maxWaited, minActive},
			New: func(a *Args) (any, error) { return &timeSlice{newActive(a)}, nil }},
	}
}

func newMaxWait(a *Args) (any, error) {
	s := &maxWait{wait: a.Time("wait"), forced: limitedBatches(1)}
	s.resident = a.Text("prefer") == "resident"
	if a.Bool("gated") {
		s.forced = gated{}
	}
	return s, nil
}

func newPollingOf(a *Args) (any, error) {
	cycle := newPolling(a.value("order").([]scheduler.ModelID), len(a.Env.Models))
	if a.Bool("skip_empty") {
		return &cycle, nil
	}
	s := &roaming{polling: cycle}
	for range a.Env.Devices {
		s.at = append(s.at, noModel)
	}
	return s, nil
}

func wholes() []Entry {
	return []Entry{
		{Name: "seed", Kind: KindWhole, Doc: "the seed document's rule exactly, its faults included", Contracts: "bound: none; one resident model", Declared: Contracts{Pure: true, Evicts: true},
			Params: []Param{{Name: "ties", Kind: Choice, Default: "permuted", Choices: []string{"permuted", "lowest"},
				Doc: "of equal queues the last in a permutation drawn per replicate, or the lowest id"}},
			New: func(a *Args) (any, error) { return newSeed(a.Env, a.Text("ties") == "permuted"), nil }},
		{Name: "semaphore", Kind: KindWhole, Doc: "the seed document's other mode: one queue for all, one item at a time, permits of memory",
			Contracts: "bound: bypass 0; waits", Declared: Contracts{Pure: true, Waits: true, Evicts: true, Bound: Bound{Kind: InOrder}},
			Params: []Param{{Name: "k", Kind: Count, Default: int64(10), Min: 1, Doc: "permits per gigabyte"}},
			New:    func(a *Args) (any, error) { return newSemaphore(a.Env, a.Int("k")), nil }},
		{Name: "symphony", Kind: KindWhole, Doc: "a batch starts when one more item could no longer join it, and its head is dropped at its deadline; a device waits for a deferred batch even if others could run; no deadline: at once, but after all that have one, deferred ones too; loads are not allowed for",
			Source: "Chen et al., arXiv 2308.07470", Contracts: "bound: none; waits", Declared: Contracts{Pure: true, Waits: true, Withdraws: true},
			New: func(a *Args) (any, error) { return newSymphony(a.Env), nil }},
		{Name: "clockwork", Kind: KindWhole, Doc: "runs what has least slack and is still in time, in a batch of a size that times are given for, and loads by demand; no deadline: as late as can be, never rejected",
			Source: "Gujarati et al., OSDI 2020; loads as in erdos-project/erdos-scheduling-simulator, but the least demanded leave", Contracts: "bound: none; waits; rejects as admit: late", Declared: Contracts{Pure: true, Waits: true, Withdraws: true, OwnTimes: true},
			Fixed:  map[Kind]string{KindAdmit: "late"},
			Params: []Param{{Name: "window", Kind: Duration, Default: "100ms", Min: 1, Doc: "capacity of a device that demand is counted against; scales all demands alike"}},
			New:    func(a *Args) (any, error) { return newClockwork(a.Env, a.Time("window")), nil }},
		{Name: "nexus", Kind: KindWhole, Doc: "batches of planned sizes in turn, planned per epoch by squishy bin packing from rates and times to the deadline; endless without deadlines",
			Source: "Shen et al., SOSP 2019", Contracts: "bound: as many visits as models on one device, else none; waits", Declared: Contracts{Pure: true, Waits: true, Withdraws: true},
			Params: []Param{{Name: "epoch", Kind: Duration, Default: "30s", Min: 1, Doc: "time after which a plan is made anew"}},
			New:    func(a *Args) (any, error) { return newNexus(a.Env, a.Time("epoch")), nil }},
	}
}

func visits() []Entry {
	return []Entry{
		{Name: "exhaustive", Kind: KindVisit, Doc: "while the queue has items", New: value(nil)},
		{Name: "gated", Kind: KindVisit, Doc: "what is ready when the visit opens", New: value(gated{})},
		{Name: "limited", Kind: KindVisit, Doc: "so many items or batches, 1 item if neither is given", New: newLimited,
			Params: []Param{{Name: "items", Kind: Count, Default: int64(0), Doc: "0: no limit"}, {Name: "batches", Kind: Count, Default: int64(0), Doc: "0: no limit"}}},
		{Name: "timed", Kind: KindVisit, Doc: "for so long, ending with a batch",
			Params: []Param{{Name: "quantum", Kind: Duration, Default: "10s", Min: 1, Doc: "length of the visit"}},
			New:    func(a *Args) (any, error) { return timedVisit(a.Time("quantum")), nil }},
		{Name: "linger", Kind: KindVisit, Doc: "exhaustive, then for a while at the empty queue", Waits: true, Contracts: "waits",
			Params: []Param{{Name: "wait", Kind: Duration, Default: "2s", Doc: "stay at the empty queue"}},
			New:    func(a *Args) (any, error) { return linger(a.Time("wait")), nil }},
		{Name: "residency", Kind: KindVisit, Doc: "at least so long, and factor times the load of the next model", Waits: true, Contracts: "waits",
			Params: []Param{{Name: "min", Kind: Duration, Default: "5s", Doc: "least length"}, {Name: "factor", Kind: Count, Default: int64(1), Doc: "times the next model's load estimate"}},
			New:    func(a *Args) (any, error) { return residency{least: a.Time("min"), factor: a.Int("factor")}, nil }},
	}
}

func newLimited(a *Args) (any, error) {
	items, batches := a.Int("items"), a.Int("batches")
	switch {
	case items > 0 && batches > 0:
		return nil, at([]string{"visit", "limited"}, "takes items or batches, not both")
	case batches > 0:
		return limitedBatches(batches), nil
	case items == 0:
		if a.Given("items") || a.Given("batches") {
			return nil, at([]string{"visit", "limited"}, "a visit of 0 items or batches never serves anything")
		}
		items = 1
		a.set("items", items)
	}
	return limitedItems(items), nil
}

func batchers() []Entry {
	return []Entry{
		{Name: "greedy", Kind: KindBatch, Doc: "as many as allowed, at once", New: value(nil)},
		{Name: "delay", Kind: KindBatch, Doc: "at once when full or at the largest preferred size, else after the oldest has waited", Source: "Triton's dynamic batcher", Waits: true, Contracts: "waits",
			Params: []Param{{Name: "wait", Kind: Duration, Default: "100ms", Doc: "longest wait of the oldest item"}, {Name: "prefer", Kind: Counts, Default: []any{}, Doc: "preferred sizes"}},
			New: func(a *Args) (any, error) {
				return &delay{wait: a.Time("wait"), prefer: a.value("prefer").([]int64)}, nil
			}},
		{Name: "accumulate", Kind: KindBatch, Doc: "from so many items on, or after the oldest has waited", Waits: true, Contracts: "waits",
			Params: []Param{{Name: "items", Kind: Count, Min: 1, Doc: "items to wait for"}, {Name: "timeout", Kind: Duration, Doc: "longest wait of the oldest item"}},
			New: func(a *Args) (any, error) {
				return &accumulate{items: int(a.Int("items")), timeout: a.Time("timeout")}, nil
			}},
		{Name: "slo-largest", Kind: KindBatch, Doc: "the largest batch with which the head meets its deadline, else 1", New: value(sloLargest{})},
		{Name: "deferred", Kind: KindBatch, Doc: "as late as one more item could join and the head still meet its deadline", Source: "Symphony, arXiv 2308.07470", Waits: true, Contracts: "waits", New: value(deferred{})},
	}
}

func evictors() []Entry {
	yes := func(name, doc string, def any) Param { return Param{Name: name, Kind: Groups, Default: def, Doc: doc} }
	return []Entry{
		{Name: "lru", Kind: KindEvict, Doc: "the least recently used", New: value(lru{})},
		{Name: "fifo", Kind: KindEvict, Doc: "the one loaded first", New: value(firstLoaded{})},
		{Name: "lfu", Kind: KindEvict, Doc: "the one with the fewest batches since its load", New: value(lfu{})},
		{Name: "largest", Kind: KindEvict, Doc: "the largest", New: value(largest{})},
		{Name: "demand", Kind: KindEvict, Doc: "the fewest ready items times load estimate", New: value(demand{})},
		{Name: "landlord", Kind: KindEvict, Doc: "the least credit: load per byte at each use, above the last victim's", Source: "Young, SODA 1998",
			New: func(a *Args) (any, error) { return newCredits(a.Env, false), nil }},
		{Name: "gdsf", Kind: KindEvict, Doc: "the same with load per byte times batches since the load", Source: "Cherkasova, HPL-98-69 (1998)",
			New: func(a *Args) (any, error) { return newCredits(a.Env, true), nil }},
		{Name: "min-cost", Kind: KindEvict, Doc: "those who together free enough at the least sum of load estimates, among 16", New: value(minCost{})},
		{Name: "random", Kind: KindEvict, Doc: "any, by a hash of seed and ordinal", New: func(a *Args) (any, error) {
			return anyone{random.Key(a.Env.Seed, uint64(a.Env.Replicate), random.Hash("evict random"))}, nil
		}},
		{Name: "single", Kind: KindEvict, Doc: "all others, always: one model at a time", New: value(count{max: 1})},
		{Name: "count", Kind: KindEvict, Doc: "at most so many models on a device, the least recently used leaving",
			Params: []Param{{Name: "max", Kind: Count, Default: int64(3), Min: 1, Doc: "models on a device"}},
			New:    func(a *Args) (any, error) { return count{max: int(a.Int("max"))}, nil }},
		{Name: "ttl", Kind: KindEvict, Doc: "whoever has been idle for so long; before that the least recently used",
			Params: []Param{{Name: "idle", Kind: Duration, Default: "5m", Doc: "time without use and without work"}},
			New:    func(a *Args) (any, error) { return expiring{after: a.Time("idle")}, nil }},
		{Name: "keep-alive", Kind: KindEvict, Doc: "whoever has been idle for its time; before that the one of the shortest time, then by name", Source: "ollama/ollama",
			Params: []Param{
				{Name: "idle", Kind: Spans, Default: "5m", Doc: "time without use and without work, for all or by model; negative is for ever"},
				{Name: "max", Kind: Count, Default: int64(0), Doc: "models on a device; 0: no limit"}},
			New: newKeepAlive},
		{Name: "matrix", Kind: KindEvict, Doc: "by sets of models that may be together: the one with the incoming model that costs least to come to", Source: "llama-swap",
			Params: []Param{
				{Name: "sets", Kind: Sets, Doc: "models that may be together, the first of equals being preferred; a model in none is alone"},
				{Name: "costs", Kind: Costs, Default: map[string]any{}, Doc: "what it costs that a model leaves, 1 unless said"}},
			New: newMatrix},
		{Name: "groups", Kind: KindEvict, Doc: "by groups of models; those without a group are one", Source: "llama-swap",
			Params: []Param{yes("swap", "one member at a time", true), yes("exclusive", "drives out other groups", true), yes("persistent", "gives way to no other group", false)},
			New: func(a *Args) (any, error) {
				list := func(name string) []string { return a.value(name).([]string) }
				return newGroups(a.Env, list("swap"), list("exclusive"), list("persistent")), nil
			}},
		{Name: "belady", Kind: KindEvict, Doc: "clairvoyant: the one whose next item in order of arrival is farthest",
			Contracts: "loads least for equal sizes served in order of arrival",
			New:       func(a *Args) (any, error) { return &belady{uses: make([][]scheduler.ItemID, len(a.Env.Models))}, nil }},
	}
}

func prefetchers() []Entry {
	return []Entry{
		{Name: "none", Kind: KindPrefetch, Doc: "nothing", New: value(nil)},
		{Name: "next", Kind: KindPrefetch, Doc: "the selector's choice were the running queue empty", New: value(upNext{})},
		{Name: "dag", Kind: KindPrefetch, Doc: "the model with the most items one dependency away", New: value(dag{})},
	}
}

func placers() []Entry {
	return []Entry{
		{Name: "affinity", Kind: KindPlace, Doc: "where it could start soonest: slot wait, link wait and load", New: value(affinity{})},
		{Name: "first", Kind: KindPlace, Doc: "the first device that has room", New: value(scored{firstDevice})},
		{Name: "best-fit", Kind: KindPlace, Doc: "the least headroom that is enough", New: value(scored{bestFit})},
		{Name: "most-free", Kind: KindPlace, Doc: "the most headroom", New: value(scored{mostFree})},
		{Name: "lru-age", Kind: KindPlace, Doc: "one with room, else the one whose least recently used model is oldest", Source: "KServe ModelMesh", New: value(scored{lruAge})},
		{Name: "planned", Kind: KindPlace, Doc: "a fixed device for each model",
			Params: []Param{{Name: "map", Kind: Plan, Doc: "device by model"}},
			New:    func(a *Args) (any, error) { return planned(a.value("map").([]scheduler.DeviceID)), nil }},
	}
}

func admitters() []Entry {
	return []Entry{
		{Name: "all", Kind: KindAdmit, Doc: "everything", New: value(nil)},
		{Name: "queue-cap", Kind: KindAdmit, Doc: "rejects arrivals to a full queue",
			Params: []Param{{Name: "items", Kind: Count, Min: 1, Doc: "items that a model's queue holds"}},
			New:    func(a *Args) (any, error) { return queueCap(a.Int("items")), nil }},
		{Name: "deadline", Kind: KindAdmit, Doc: "rejects arrivals projected to end after their deadline", New: value(projected{})},
		{Name: "late", Kind: KindAdmit, Doc: "rejects what cannot meet its deadline any more", New: value(late{})},
	}
}

func orders() []Entry {
	by := func(key scheduler.OrderFunc) func(*Args) (any, error) { return value(key) }
	return []Entry{
		{Name: "fifo", Kind: KindOrder, Doc: "priority, then first in, first out", New: value(nil)},
		{Name: "deadline", Kind: KindOrder, Doc: "the earliest deadline first, before priority", New: by(byDeadline)},
		{Name: "work", Kind: KindOrder, Doc: "the least work first, before priority", New: by(byWork)},
		{Name: "aging", Kind: KindOrder, Doc: "a wait of step counts as much as one level of priority",
			Params: []Param{{Name: "step", Kind: Duration, Default: "60s", Min: 1, Doc: "wait worth one level of priority"}},
			New:    func(a *Args) (any, error) { return aging(a.Time("step")), nil }},
		{Name: "tenant-drr", Kind: KindOrder, Doc: "deficit round robin among tenants, then priority", Source: "Shreedhar and Varghese, SIGCOMM 1995",
			Params: []Param{{Name: "quantum", Kind: Duration, Default: "1s", Min: 1, Doc: "time for which a tenant is served in a round"}},
			New:    func(a *Args) (any, error) { return newTenantRounds(a.Env, a.Time("quantum")), nil }},
	}
}
