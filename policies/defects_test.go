package policies_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/sim/experiment"
)

const ms = scheduler.Millisecond

// pipeline is the seed document's catalogue.
func pipeline() []scheduler.Model {
	gb, load := []float64{4.5, 5, 2, 1.5, 1}, []scheduler.Time{5, 8, 4, 10, 6}
	var models []scheduler.Model
	for i, name := range portModels {
		models = append(models, model(name, gb[i], load[i]*sec, 8, 200*ms, 100*ms))
	}
	return models
}

// firstOf returns when the first batch of m started.
func (o *outcome) firstOf(m scheduler.ModelID) scheduler.Time {
	for _, b := range o.Batches {
		if b.Model == m {
			return b.At
		}
	}
	return scheduler.Never
}

// The faults of the seed document, numbered as in the specification: the seed
// policy or a port of the document shows each, and the remedy has it not.
func TestSeedDefect(t *testing.T) {
	for _, c := range []struct {
		name string
		test func(*testing.T)
	}{
		{"01", unboundedStickiness}, {"02", countsOnly}, {"03", hashOrderTies}, {"04", loadTimesUnused}, {"05", maxBatchZero},
		{"06", noLookAhead}, {"07", oneCurrentModel}, {"08", overBudgetModel}, {"09", semaphoreOnTotal}, {"10", unitsTruncated},
		{"11", acquireTooMuch}, {"12", fifoBlocks}, {"13", noActivations}, {"14", badSafety}, {"15", oldAndNewFootprint},
		{"16", resolvedTooEarly}, {"17", hangingDependencies}, {"18", idsInAdvance}, {"19", swapRemove}, {"20", completionsScanAll}, {"21", poppedBeforeLoad},
		{"22", lostOnCrash}, {"23", unknownModelDropped}, {"24", unboundedQueue}, {"25", wallClock}, {"26", noAging}, {"27", lastSampleOnly}, {"28", modelEnum},
	} {
		t.Run(c.name, c.test)
	}
}

func unboundedStickiness(t *testing.T) {
	items := burst(0, "AB")
	for i := range 100 {
		items = append(items, arrival{at: scheduler.Time(i+1) * sec})
	}
	served := func(spec policies.Spec) scheduler.Time {
		s := scenario{models: ones(abc()), devices: gpu(4), items: items, spec: spec}
		return s.run(t).firstOf(1)
	}
	if at := served(use("seed", "ties", "lowest")); at < 100*sec {
		t.Errorf("seed left the steady model at %v", at)
	}
	if at := served(use("max-wait", "wait", "20s")); at > 30*sec {
		t.Errorf("max-wait let b wait until %v", at)
	}
}

func countsOnly(t *testing.T) {
	// One old and urgent item of b, two new ones of a; c runs until 6 s.
	items := append(burst(0, "C"), arrival{at: sec, model: 1, priority: 9, deadline: 20 * sec})
	items = append(items, burst(5*sec, "AA")...)
	second := func(name string) scheduler.ModelID {
		s := scenario{models: ones(abc()), devices: gpu(4), items: items, spec: use(name)}
		return s.run(t).Batches[1].Model
	}
	if m := second("seed"); m != 0 {
		t.Errorf("seed chose model %d, not the larger count", m)
	}
	for _, name := range []string{"oldest", "priority", "edf-setup"} {
		if m := second(name); m != 1 {
			t.Errorf("%s chose model %d, want the old and urgent 1", name, m)
		}
	}
}

func hashOrderTies(t *testing.T) {
	chosen := map[string]bool{}
	for range 300 {
		p := newPort()
		p.submit(portNew("clap", 0))
		p.submit(portNew("qwen3", 0))
		m, _ := p.nextBatch(1)
		chosen[m] = true
	}
	if len(chosen) < 2 {
		t.Error("the port always broke the tie the same way")
	}
	first := func(spec policies.Spec, seed uint64) scheduler.ModelID {
		s := scenario{models: pipeline(), devices: gpu(16), items: burst(0, "EDCBA"), spec: spec, seed: seed}
		return s.run(t).Batches[0].Model
	}
	permuted := map[scheduler.ModelID]bool{}
	for seed := range uint64(20) {
		permuted[first(use("seed"), seed)] = true
		for _, name := range []string{"sticky", "longest", "max-wait", "hysteresis"} {
			if m := first(use(name), seed); m != 0 {
				t.Errorf("%s with seed %d broke a tie for model %d, not the lowest id", name, seed, m)
			}
		}
		if m := first(use("seed", "ties", "lowest"), seed); m != 0 {
			t.Errorf("ties: lowest took model %d", m)
		}
	}
	if len(permuted) < 2 {
		t.Error("permuted ties do not depend on the seed")
	}
}

func loadTimesUnused(t *testing.T) {
	models := ones(abc())
	models[0].Load = [scheduler.Tiers]scheduler.Time{1000 * sec, 1000 * sec}
	// b has more items and the earlier deadline, but a's load must begin first.
	items := []arrival{{deadline: 1100 * sec}, {model: 1, deadline: 200 * sec}, {model: 1, deadline: 200 * sec}}
	first := func(name string) scheduler.ModelID {
		s := scenario{models: models, devices: gpu(4), items: items, spec: use(name)}
		return s.run(t).Batches[0].Model
	}
	if m := first("seed"); m != 1 {
		t.Errorf("seed weighed the load: model %d", m)
	}
	if m := first("edf-setup"); m != 0 {
		t.Errorf("edf-setup chose model %d although the load of 0 takes 1000 s", m)
	}
	items = burst(0, "AAB")
	if m := first("seed"); m != 0 {
		t.Errorf("seed weighed the load: model %d", m)
	}
	if m := first("cmu-setup"); m != 1 {
		t.Errorf("cmu-setup chose model %d, two items behind a load of 1000 s", m)
	}
	p := newPort()
	p.loads["clap"], p.loads["qwen3"] = time.Hour, time.Second
	p.submit(portNew("clap", 0))
	p.submit(portNew("clap", 0))
	p.submit(portNew("qwen3", 0))
	if m, _ := p.nextBatch(8); m != "clap" || p.estimate(m) != time.Hour {
		t.Errorf("the port looked at its estimates and took %s", m)
	}
}

func maxBatchZero(t *testing.T) {
	p := newPort()
	p.submit(portNew("clap", 0))
	if m, _ := p.nextBatch(0); m != "" || p.pending() != 1 {
		t.Error("the port does not idle with work")
	}
	models := abc()
	models[1].Batch.Max = 0
	s := scenario{models: models, devices: gpu(8), spec: use("sticky")}
	var bad *scheduler.ConfigError
	if _, err := s.try(); !errors.As(err, &bad) || bad.Field != "Models[1].Batch.Max" {
		t.Errorf("a largest batch of 0: %v", err)
	}
}

// A diamond: b and c wait for a, a's second for both.
func noLookAhead(t *testing.T) {
	items := []arrival{{work: 20e6}, {model: 1, after: []int{0}}, {model: 2, after: []int{0}}, {after: []int{1, 2}}}
	end := func(spec policies.Spec) scheduler.Time {
		s := scenario{models: ones(abc()), devices: gpu(12), items: items, spec: spec}
		return s.run(t).End
	}
	seed, ahead := end(use("seed", "ties", "lowest")), end(policies.Spec{Use: "sticky", Prefetch: axis("dag")})
	// 5 + 20 + 1 + 1 + 1: both loads pass while the first item runs.
	if ahead != 28*sec || seed <= end(use("sticky")) || end(use("sticky")) <= ahead {
		t.Errorf("seed %v, sticky %v, with look-ahead %v", seed, end(use("sticky")), ahead)
	}
}

// 14.0 of 14.4 GB: all five fit at once.
func oneCurrentModel(t *testing.T) {
	var items []arrival
	for i := range 50 {
		items = append(items, arrival{at: scheduler.Time(i) * 20 * sec, model: scheduler.ModelID(i % 5)})
	}
	loads := func(spec policies.Spec) int {
		s := scenario{models: pipeline(), devices: gpu(14.4), items: items, spec: spec}
		return s.run(t).Loads
	}
	if n := loads(use("seed")); n != 50 {
		t.Errorf("seed loaded %d times, want every time", n)
	}
	for _, name := range []string{"sticky", "fifo", "longest", "oldest", "max-wait", "polling", "priority", "edf-setup", "hysteresis", "cmu-setup"} {
		if n := loads(use(name)); n != 5 {
			t.Errorf("%s loaded %d times, want 5", name, n)
		}
	}
}

func overBudgetModel(t *testing.T) {
	p := newPort()
	p.submit(portNew("videomae", 0))
	if m, _ := p.nextBatch(1); m != "videomae" || (portConfig{4, .9}).fits(5) {
		t.Error("the port asked can_fit")
	}
	s := scenario{models: abc(), devices: gpu(3.9), spec: use("seed")}
	var big *scheduler.TooBigError
	if _, err := s.try(); !errors.As(err, &big) || big.Model != "a" {
		t.Errorf("a model over the budget: %v", err)
	}
}

// Permits of 12 GB in all, a budget of 10.8 GB: 11.5 GB are let through.
func semaphoreOnTotal(t *testing.T) {
	device := gpu(12)
	device[0].Budget = 10_800 * scheduler.MB
	models := []scheduler.Model{model("a", 6, sec, 1, 0, 10*sec), model("b", 5.5, sec, 1, 0, 10*sec)}
	if portUnits(6, 10)+portUnits(5.5, 10) > portUnits(12, 10) {
		t.Error("the port counts the budget")
	}
	over := func(spec policies.Spec) int {
		s := scenario{models: models, devices: device, items: burst(0, "AB"), spec: spec}
		n := 0
		for _, ev := range s.run(t).Events {
			if ev.Kind == scheduler.Note && ev.ID == scheduler.ReasonOverBudget {
				n++
				if missing := scheduler.Bytes(ev.Value); missing != 700*scheduler.MB {
					t.Errorf("missing %v, want 0.7 GB", missing)
				}
			}
		}
		return n
	}
	if n := over(use("semaphore")); n != 1 {
		t.Errorf("semaphore noted %d refusals, want 1", n)
	}
	// Asked again while it waits, and with a batch that takes longer than
	// declared, it notes the refusal once.
	s := scenario{models: models, devices: device, items: append(burst(0, "AB"), burst(3*sec, "AA")...), spec: use("semaphore"), truth: slices.Clone(models)}
	s.truth[0].Batch.PerItem = 30 * sec
	notes := 0
	for _, ev := range s.run(t).Events {
		if ev.Kind == scheduler.Note && ev.At < 31*sec {
			notes++
		}
	}
	if notes != 1 {
		t.Errorf("semaphore noted one refusal %d times", notes)
	}
	// Permits that are not to be had are no refusal by the ledger.
	models[1].Bytes = 6500 * scheduler.MB
	if n := over(use("semaphore")); n != 0 {
		t.Errorf("semaphore noted %d refusals while it waited for permits", n)
	}
	if n := over(use("sticky")); n != 0 {
		t.Errorf("sticky noted %d refusals", n)
	}
}

func unitsTruncated(t *testing.T) {
	for _, c := range []struct {
		gb    float64
		per   uint32
		units int
	}{{4.55, 10, 45}, {0.05, 10, 0}, {0.29, 100, 28}} {
		if got := portUnits(c.gb, c.per); got != c.units {
			t.Errorf("the port counts %v GB as %d units, want %d", c.gb, got, c.units)
		}
	}
	// Permits let 2 × 4.55 into 9.0; the ledger counts bytes.
	two := []scheduler.Model{model("a", 4.55, sec, 1, 0, 10*sec), model("b", 4.55, sec, 1, 0, 10*sec)}
	s := scenario{models: two, devices: gpu(9), items: burst(0, "AB"), spec: use("semaphore")}
	if o := s.run(t); o.Batches[1].At < o.Done[0] {
		t.Error("9.1 GB are resident in 9.0")
	}
	if b, err := scheduler.ParseBytes("0.29GB"); err != nil || b != 290*scheduler.MB {
		t.Errorf("0.29GB: %v %v", b, err)
	}
}

func acquireTooMuch(t *testing.T) {
	if portUnits(24, 10) <= portUnits(16, 10) {
		t.Error("24 GB of permits are granted out of 16")
	}
	var refused *scheduler.SemaphoreError
	if _, err := scheduler.NewVRAMSemaphore(16*scheduler.GB).Acquire(context.Background(), 24*scheduler.GB); !errors.As(err, &refused) {
		t.Errorf("more than there is: %v, want an error at once", err)
	}
}

// The head needs what busy models hold; a small model behind it would fit.
func fifoBlocks(t *testing.T) {
	models := []scheduler.Model{model("a", 4, sec, 1, 0, 20*sec), model("b", 8, sec, 1, 0, sec), model("c", 2, sec, 1, 0, sec)}
	device := gpu(10)
	device[0].Slots = 2
	at := func(spec policies.Spec) scheduler.Time {
		s := scenario{models: models, devices: device, items: append(burst(0, "A"), burst(2*sec, "BC")...), spec: spec}
		return s.run(t).firstOf(2)
	}
	for _, spec := range []policies.Spec{use("semaphore"), use("fifo")} {
		if got := at(spec); got < 21*sec {
			t.Errorf("%s: c started at %v past the head", spec.Use, got)
		}
	}
	if got := at(use("fifo", "skip", true)); got != 3*sec {
		t.Errorf("fifo with skip: c started at %v, want 3s", got)
	}
}

// Whisper takes 4.5 GB, with a batch of 8 6.1 GB.
func noActivations(t *testing.T) {
	if !(portConfig{5, 1}).fits(4.5) {
		t.Error("the port counts activations")
	}
	m := model("whisper", 4.5, sec, 8, 0, sec)
	m.Batch.Memory = 200 * scheduler.MB
	peak := func(gb float64, spec policies.Spec) (string, scheduler.Bytes) {
		s := scenario{models: []scheduler.Model{m}, devices: gpu(gb), items: burst(0, "AAAAAAAA"), spec: spec}
		o := s.run(t)
		largest, missing := 0, scheduler.Bytes(0)
		for _, b := range o.Batches {
			largest = max(largest, len(b.Items))
		}
		for _, ev := range o.Events {
			if ev.Kind == scheduler.Note && ev.ID == scheduler.ReasonOverBudget {
				missing = max(missing, scheduler.Bytes(ev.Value))
			}
		}
		return o.order(), missing
	}
	for _, c := range []struct {
		gb      float64
		spec    policies.Spec
		order   string
		missing scheduler.Bytes
	}{
		{6.1, use("seed"), "A8", 0}, {5, use("seed"), "A2A2A2A2", 1100 * scheduler.MB}, {5, use("sticky"), "A2A2A2A2", 0},
	} {
		if order, missing := peak(c.gb, c.spec); order != c.order || missing != c.missing {
			t.Errorf("%s on %v GB: %s, %v missing; want %s, %v", c.spec.Use, c.gb, order, missing, c.order, c.missing)
		}
	}
}

func badSafety(t *testing.T) {
	if (portConfig{16, math.NaN()}).fits(1) || (portConfig{16, 0}).fits(1) || !(portConfig{16, 2}).fits(20) {
		t.Error("the port checks its safety factor")
	}
	for _, safety := range []string{".nan", "NaN", "0", "-0.5", "1.5", ".inf"} {
		text := "version: 1\nname: n\nhardware:\n  gpus: [{name: g, memory: 16GB, safety: " + safety + "}]\n" +
			"models: {a: {memory: 4GB, load: 5s, batch: {max: 8, base: 1s, per_item: 1s}}}\n" +
			"workload: {items: 5, arrivals: {poisson: {rate: 1/s}}, streams: {models: [a]}}\npolicies: [{use: seed}]\n"
		if _, err := experiment.Parse("n.yaml", ".", []byte(text), policies.Builtin(), experiment.Options{}); err == nil || !strings.Contains(err.Error(), "hardware.gpus[0].safety") {
			t.Errorf("safety: %s: %v", safety, err)
		}
		if _, err := experiment.Parse("n.yaml", ".", []byte(strings.Replace(text, safety, "0.9", 1)), policies.Builtin(), experiment.Options{}); err != nil {
			t.Errorf("safety: 0.9: %v", err)
		}
	}
	for _, budget := range []scheduler.Bytes{0, -1} {
		s := scenario{models: abc(), devices: gpu(16), spec: use("seed")}
		s.devices[0].Budget = budget
		var bad *scheduler.ConfigError
		if _, err := s.try(); !errors.As(err, &bad) || bad.Field != "Devices[0].Budget" {
			t.Errorf("a budget of %d bytes: %v", budget, err)
		}
	}
}

// The new weights come only when the old ones are gone, not when they begin to go.
func oldAndNewFootprint(t *testing.T) {
	for _, spec := range []policies.Spec{use("seed"), use("sticky"), {Use: "sticky", Evict: axis("single")}} {
		models := abc()
		models[0].Unload = 3 * sec
		s := scenario{models: models, devices: gpu(6), items: append(burst(0, "A"), burst(sec, "B")...), spec: spec}
		o := s.run(t)
		if at := o.firstOf(1); at != 14*sec { // 5 + 1, 3 to leave, 5 to load
			t.Errorf("%s: b ran at %v, want 14s", spec.Use, at)
		}
	}
}

func resolvedTooEarly(t *testing.T) {
	p := newPort()
	p.resolve("a") // done before its dependant is submitted
	p.submit(portNew("clap", 0, "a"))
	if m, _ := p.nextBatch(1); m != "" {
		t.Error("the port remembers what is done")
	}
	s := scenario{models: abc(), devices: gpu(8), items: []arrival{{}, {at: 20 * sec, model: 1, after: []int{0}}}, spec: use("sticky")}
	if o := s.run(t); o.Counts.Done != 2 {
		t.Errorf("%d of 2 done", o.Counts.Done)
	}
}

func hangingDependencies(t *testing.T) {
	p := newPort()
	p.submit(portNew("clap", 0, "nobody"))
	if m, _ := p.nextBatch(1); m != "" || p.pending() != 1 {
		t.Error("the port refuses an unknown dependency")
	}
	for what, items := range map[string][]arrival{
		"unknown": {{after: []int{7}}}, "self": {{after: []int{0}}}, "cyclic": {{after: []int{1}}, {after: []int{0}}},
	} {
		s := scenario{models: abc(), devices: gpu(8), items: items, spec: use("sticky")}
		var bad *scheduler.DependencyError
		if _, err := s.try(); !errors.As(err, &bad) || bad.What != what {
			t.Errorf("%s dependency: %v", what, err)
		}
	}
	s := scenario{models: abc(), devices: gpu(8), items: []arrival{{}, {model: 1, after: []int{0}}}, spec: use("sticky"),
		failed: func(ev scheduler.Event) bool { return ev.Kind == scheduler.BatchStarted && ev.Model == 0 }}
	if o := s.run(t); o.Counts.Failed != 1 || o.Counts.Cancelled != 1 {
		t.Errorf("a failed dependency: %+v, want its dependant cancelled", o.Counts)
	}
}

func idsInAdvance(t *testing.T) {
	if portNew("clap", 0).id == portNew("clap", 0).id {
		t.Error("the port's ids can be known in advance")
	}
	// The first item names one that is yet to come.
	s := scenario{models: abc(), devices: gpu(8), items: []arrival{{after: []int{1}}, {at: sec, model: 1}}, spec: use("sticky")}
	if o := s.run(t); o.order() != "BA" {
		t.Errorf("batches %s, want BA", o.order())
	}
}

func swapRemove(t *testing.T) {
	p := newPort()
	var want, got []string
	for range 3 {
		want = append(want, p.submit(portNew("clap", 0, "a")))
	}
	p.resolve("a")
	_, batch := p.nextBatch(8)
	for _, item := range batch {
		got = append(got, item.id)
	}
	if slices.Equal(got, want) {
		t.Error("the port keeps the order of submission")
	}
	s := scenario{models: abc(), devices: gpu(8), items: []arrival{{}, {model: 1, after: []int{0}}, {model: 1, after: []int{0}}, {model: 1, after: []int{0}}}, spec: use("sticky")}
	if o := s.run(t); !slices.Equal(o.Batches[1].Items, []scheduler.ItemID{1, 2, 3}) {
		t.Errorf("released items run as %v, want 1, 2, 3", o.Batches[1].Items)
	}
}

// bench is a core whose time can be taken: no checks, facts by hand.
type bench struct {
	t    *testing.T
	core *scheduler.Core
	now  scheduler.Time
	next int64 // item
}

func newBench(t *testing.T, order policies.Axis, slots int) *bench {
	s := scenario{models: ones(abc()), devices: gpu(8), spec: policies.Spec{Use: "sticky", Order: order}}
	s.devices[0].Slots = slots
	cfg, _ := s.config(t)
	cfg.Checked = false
	core, err := scheduler.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &bench{t: t, core: core}
}

// step makes facts happen and returns what they start and how long it took.
func (b *bench) step(facts ...scheduler.Event) (started []scheduler.Event, took time.Duration) {
	b.now++
	for i := range facts {
		facts[i].At = b.now
	}
	from := time.Now()
	err := b.core.Step(facts)
	took = time.Since(from)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, ev := range b.core.Ready() {
		if ev.Kind.Effect() && ev.Kind != scheduler.MemberDispatched {
			started = append(started, ev)
		}
	}
	b.core.Advance()
	return started, took
}

// item returns the facts of an arrival.
func (b *bench) item(m scheduler.ModelID, after ...int64) []scheduler.Event {
	id := b.next
	b.next++
	facts := []scheduler.Event{{Kind: scheduler.ItemArrived, ID: id, Model: m, Device: scheduler.NoDevice, Value: scheduler.PackArrival(0, len(after))}}
	for _, on := range after {
		facts = append(facts, scheduler.Event{Kind: scheduler.ItemDependsOn, ID: id, Value: on, Model: m, Device: scheduler.NoDevice})
	}
	return facts
}

// finished returns the fact that ends a batch or load.
func finished(started scheduler.Event) scheduler.Event {
	end := scheduler.Event{Kind: scheduler.BatchFinished, ID: started.ID, Model: started.Model, Device: started.Device}
	if started.Kind == scheduler.LoadStarted {
		end.Kind = scheduler.LoadFinished
	}
	return end
}

// Many wait for an item that does not end; one waits for each of those that do.
func completionsScanAll(t *testing.T) {
	p := newPort()
	for range 1000 {
		p.submit(portNew("clap", 0, "never"))
	}
	p.submit(portNew("clap", 0, "a"))
	if p.resolve("a"); p.scans < 1001 {
		t.Errorf("the port looks at %d items to release one", p.scans)
	}
	completion := func(waiting int) time.Duration {
		b := newBench(t, axis("fifo"), 2)
		loads, _ := b.step(b.item(1)...)
		b.step(finished(loads[0])) // item 0 runs for ever
		var crowd []scheduler.Event
		for range waiting {
			crowd = append(crowd, b.item(0, 0)...)
		}
		if len(crowd) > 0 {
			b.step(crowd...)
		}
		loads, _ = b.step(b.item(0)...)
		run, _ := b.step(finished(loads[0]))
		best := time.Hour
		for range 50 {
			b.step(b.item(0, b.next-1)...)
			var took time.Duration
			run, took = b.step(finished(run[0])) // releases the last one, which runs
			best = min(best, took)
		}
		return best
	}
	if few, many := completion(10), completion(200_000); many > 30*few {
		t.Errorf("a completion takes %v beside 10 blocked items and %v beside 200,000", few, many)
	}
}

// An item of low priority under a stream of higher ones, and the cost of
// putting an item behind all others.
func noAging(t *testing.T) {
	p := newPort()
	low := p.submit(portNew("clap", 0))
	for range 1000 {
		p.submit(portNew("clap", 1))
		if _, batch := p.nextBatch(1); batch[0].id == low {
			t.Fatal("the port lets what waits long go first")
		}
	}
	for range 1000 {
		p.submit(portNew("clap", 1))
	}
	before := p.queues["clap"].scans
	if p.submit(portNew("clap", 1)); p.queues["clap"].scans-before < 1000 {
		t.Error("the port inserts without looking at what stands before")
	}
	var items []arrival
	for i := range 60 {
		items = append(items, arrival{at: scheduler.Time(i) * sec, priority: 1})
	}
	items = append([]arrival{{}}, items...)
	served := func(spec policies.Spec) int {
		s := scenario{models: ones(abc()), devices: gpu(4), items: items, spec: spec}
		return slices.Index(s.run(t).served(), 0)
	}
	if n := served(use("seed")); n != 60 {
		t.Errorf("seed served the item of low priority as number %d, not last", n)
	}
	if n := served(policies.Spec{Use: "sticky", Order: axis("aging", "step", "20s")}); n != 21 {
		t.Errorf("with aging it is served as number %d, want 21", n)
	}
	for _, order := range []policies.Axis{axis("fifo"), axis("aging")} {
		if few, many := insertion(t, order, 10), insertion(t, order, 200_000); many > 30*few {
			t.Errorf("order %s: an arrival takes %v behind 10 items and %v behind 200,000", order.Name, few, many)
		}
	}
}

// insertion returns how long an arrival takes with so many items in its queue.
func insertion(t *testing.T, order policies.Axis, queued int) time.Duration {
	b := newBench(t, order, 1)
	loads, _ := b.step(b.item(0)...)
	b.step(finished(loads[0])) // item 0 runs for ever
	var crowd []scheduler.Event
	for range queued {
		crowd = append(crowd, b.item(0)...)
	}
	b.step(crowd...)
	best := time.Hour
	for range 50 {
		_, took := b.step(b.item(0)...)
		best = min(best, took)
	}
	return best
}

// Two workers and one cold model.
func poppedBeforeLoad(t *testing.T) {
	p := newPort()
	for range 4 {
		p.submit(portNew("clap", 0))
	}
	first, _ := p.nextBatch(2)
	second, _ := p.nextBatch(2)
	if first != "clap" || second != "clap" || p.current != "" {
		t.Error("the port's second worker waits for the first one's load")
	}
	for _, name := range policies.Builtin().Policies() {
		s := scenario{models: abc(), devices: gpu(12), items: burst(0, "AAAAAAAAAAAA"), spec: use(name)}
		s.devices[0].Slots = 2
		if o := s.run(t); o.Loads != 1 || o.Counts.Done != 12 {
			t.Errorf("%s: %d loads for one cold model, %d of 12 items done", name, o.Loads, o.Counts.Done)
		}
	}
}

func lostOnCrash(t *testing.T) {
	p := newPort()
	p.submit(portNew("clap", 0))
	p.nextBatch(1) // the worker dies here
	if p.pending() != 0 {
		t.Error("the port still knows the items it handed out")
	}
	for _, name := range policies.Builtin().Policies() {
		crashed := false
		s := scenario{models: abc(), devices: gpu(8), items: burst(0, "AA"), spec: use(name), failed: func(ev scheduler.Event) bool {
			first := ev.Kind == scheduler.BatchStarted && !crashed
			crashed = crashed || first
			return first
		}}
		if o := s.run(t); o.Counts.Done != 2 {
			t.Errorf("%s: %d of 2 items survive a crash", name, o.Counts.Done)
		}
	}
}

func unknownModelDropped(t *testing.T) {
	p := newPort()
	p.submit(portNew("llama", 0))
	if p.pending() != 0 {
		t.Error("the port keeps items of models it does not know")
	}
	s := scenario{models: abc(), devices: gpu(8), items: []arrival{{model: 7}}, spec: use("seed")}
	var bad *scheduler.FactError
	if _, err := s.try(); !errors.As(err, &bad) {
		t.Errorf("an unknown model: %v", err)
	}
}

func unboundedQueue(t *testing.T) {
	waiting := func(admit policies.Axis) (most int, rejected int64) {
		s := scenario{models: ones(abc()), devices: gpu(8), items: burst(0, "A"), spec: policies.Spec{Use: "sticky", Admit: admit}}
		for i := range 40 {
			s.items = append(s.items, arrival{at: scheduler.Time(i) * 100 * ms})
		}
		n := 0
		o := s.run(t)
		for _, ev := range o.Events {
			switch ev.Kind {
			case scheduler.ItemArrived:
				n++
			case scheduler.MemberDispatched, scheduler.ItemRejected:
				n--
			}
			if ev.Kind.Fact() {
				continue
			}
			most = max(most, n)
		}
		return most, o.Counts.Rejected
	}
	if most, rejected := waiting(policies.Axis{}); most < 30 || rejected != 0 {
		t.Errorf("without admit at most %d wait, %d rejected", most, rejected)
	}
	if most, rejected := waiting(axis("queue-cap", "items", 5)); most > 5 || rejected == 0 {
		t.Errorf("with a cap of 5 up to %d wait, %d rejected", most, rejected)
	}
}

func wallClock(t *testing.T) {
	a := portNew("clap", 0)
	time.Sleep(time.Microsecond)
	if b := portNew("clap", 0); !b.submitted.After(a.submitted) {
		t.Error("the port's items are the same in two runs")
	}
	for _, name := range policies.Builtin().Policies() {
		run := func() []scheduler.Event {
			s := scenario{models: abc(), devices: gpu(8), items: burst(3*sec, "ABCAB"), spec: use(name)}
			return s.run(t).Events
		}
		if !slices.Equal(run(), run()) {
			t.Errorf("%s: two runs differ", name)
		}
	}
}

func lastSampleOnly(t *testing.T) {
	p := newPort()
	p.loads["clap"] = 4 * time.Second
	p.loads["clap"] = 400 * time.Second // one outlier
	if p.estimate("clap") != 400*time.Second {
		t.Error("the port smooths its estimates")
	}
	e, err := scheduler.NewEstimator(scheduler.EstimatorConfig{Kind: "quantile", Quantile: 500_000}, abc())
	if err != nil {
		t.Fatal(err)
	}
	for i, took := range []scheduler.Time{4 * sec, 4 * sec, 400 * sec} {
		e.Observe(0, scheduler.TierDisk, int64(i), took)
	}
	if got := e.Load(0, scheduler.TierDisk, 3); got != 4*sec {
		t.Errorf("the median of 4, 4, 400 s is %v", got)
	}
}

func modelEnum(t *testing.T) {
	if len(newPort().queues) != 5 {
		t.Error("the port's catalogue is open")
	}
	s := scenario{devices: gpu(10), spec: use("sticky")}
	for i := range 200 {
		s.models = append(s.models, model("m", 1, sec, 1, 0, sec))
		s.items = append(s.items, arrival{model: scheduler.ModelID(i)})
	}
	if o := s.run(t); o.Loads != 200 || o.Counts.Done != 200 {
		t.Errorf("%d loads, %d of 200 items done", o.Loads, o.Counts.Done)
	}
}
