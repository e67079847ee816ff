package scheduler_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/vramsim/vramsim/scheduler"
)

// check tries a property on the number of random cases that the environment
// variable VRAMSIM_CASES says, always others; without it on a few, always the
// same.
func check(t *testing.T, few int, property func(*rapid.T)) {
	settings := map[string]string{"rapid.checks": strconv.Itoa(few), "rapid.seed": "1", "rapid.nofailfile": "true"}
	if text := os.Getenv("VRAMSIM_CASES"); text != "" {
		if n, err := strconv.Atoi(text); err != nil || n < 1 {
			t.Fatalf("VRAMSIM_CASES=%q is no positive number", text)
		}
		settings["rapid.checks"], settings["rapid.seed"] = text, "0"
	}
	for name, value := range settings {
		old := flag.Lookup(name).Value.String()
		if name == "rapid.seed" && old != "0" {
			continue // asked for on the command line
		}
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
		defer flag.Set(name, old)
	}
	rapid.Check(t, property)
}

// mix is a portable hash, for decisions that look random and are pure.
func mix(parts ...uint64) uint64 {
	h := uint64(0x9e3779b97f4a7c15)
	for _, p := range parts {
		h ^= p
		h *= 0xff51afd7ed558ccd
		h ^= h >> 32
		h *= 0xc4ceb9fe1a85ec53
		h ^= h >> 29
	}
	return h
}

// choosers are the evictors of the property test, in the form that core and model share.
func choosers(seed uint64) []chooser {
	least := func(less func(a, b candidate) bool) chooser {
		return func(_ int64, _ scheduler.Bytes, cs []candidate) (scheduler.ModelID, bool) {
			if len(cs) == 0 {
				return scheduler.NoModel, false
			}
			best := cs[0]
			for _, c := range cs[1:] {
				if less(c, best) {
					best = c
				}
			}
			return best.model, true
		}
	}
	return []chooser{
		nil,
		least(func(a, b candidate) bool { return a.useOrder < b.useOrder }),
		least(func(a, b candidate) bool { return a.bytes < b.bytes }), // smallest first: many victims, some spared
		least(func(a, b candidate) bool { return a.bytes > b.bytes }),
		func(ordinal int64, need scheduler.Bytes, cs []candidate) (scheduler.ModelID, bool) {
			r := mix(seed, uint64(ordinal), uint64(need))
			if len(cs) == 0 || r%16 == 0 {
				return scheduler.NoModel, false
			}
			return cs[r/16%uint64(len(cs))].model, true
		},
		// One that offers whatever it likes, legal or not.
		func(ordinal int64, need scheduler.Bytes, _ []candidate) (scheduler.ModelID, bool) {
			return scheduler.ModelID(mix(seed, uint64(ordinal), uint64(need))%5) - 1, true
		},
	}
}

// viewEvictor shows a chooser the core's view.
type viewEvictor struct{ choose chooser }

func (e viewEvictor) Victim(v *scheduler.View, d scheduler.DeviceID, need scheduler.Bytes, _ scheduler.ModelID) (scheduler.ModelID, bool) {
	var candidates []candidate
	for m := range scheduler.ModelID(v.Models()) {
		if v.Evictable(d, m) {
			candidates = append(candidates, candidate{m, v.Bytes(m), v.UseOrder(d, m)})
		}
	}
	return e.choose(v.EvictionOrdinal(), need, candidates)
}

// wanderer decides at random among what is legal, as a pure function of its
// seed, the view and the number of events observed.
type wanderer struct {
	seed     uint64
	idle     uint64 // chance in 16 of idling
	tricks   uint64 // chance in 16 of evicting, rejecting, holding or waking
	hoards   bool   // loads what nobody asks for
	observed uint64
	calm     bool // since an item of lastTenant arrived: only what makes progress
}

// lastTenant is the tenant of the item after which nothing fails any more.
const lastTenant = 999

func (w *wanderer) Observe(v *scheduler.View, ev scheduler.Event) {
	w.observed++
	w.calm = w.calm || ev.Kind == scheduler.ItemTenant && ev.Value == lastTenant
	// Asking for plans while things happen must change nothing.
	v.Loadable(scheduler.DeviceID(w.observed%uint64(v.Devices())), scheduler.ModelID(w.observed/2%uint64(v.Models())))
}

func (w *wanderer) Next(v *scheduler.View) scheduler.Decision {
	r := mix(w.seed, w.observed, uint64(v.Now()))
	if w.calm {
		return w.onward(v)
	}
	if r%16 < w.idle {
		return scheduler.Decision{}
	}
	r /= 16
	options := w.work(v, r)
	if r%16 < w.tricks || len(options) == 0 {
		if more := w.tricksOf(v, r); r/16%3 > 0 || len(options) > 0 {
			options = append(options, more...)
		}
	}
	if len(options) == 0 {
		return scheduler.Decision{}
	}
	d := options[mix(r, 1)%uint64(len(options))]
	if r%5 == 0 {
		return d.Because(int64(r%7), int64(r%1000)-500)
	}
	return d
}

// onward runs what fits, loads what is asked for, or else makes room.
func (w *wanderer) onward(v *scheduler.View) scheduler.Decision {
	room := scheduler.Decision{}
	for m := v.NextReady(0); m != scheduler.NoModel; m = v.NextReady(m + 1) {
		for d := range scheduler.DeviceID(v.Devices()) {
			if n := v.Fits(d, m); n > 0 {
				return scheduler.Run(d, m, n)
			}
			if v.Loadable(d, m) {
				return scheduler.Load(d, m)
			}
			for _, other := range v.Residents(d) {
				if v.FreeSlots(d) == v.Slots(d) && other != m && v.Evictable(d, other) {
					room = scheduler.Evict(d, other)
				}
			}
		}
	}
	return room
}

func (w *wanderer) work(v *scheduler.View, r uint64) []scheduler.Decision {
	var options []scheduler.Decision
	for d := range scheduler.DeviceID(v.Devices()) {
		for m := range scheduler.ModelID(v.Models()) {
			if n := v.Fits(d, m); n > 0 {
				options = append(options, scheduler.Run(d, m, n), scheduler.Run(d, m, 1+int(r%uint64(n))))
			}
			if v.Loadable(d, m) && (v.Ready(m) > 0 || w.hoards || r%8 == 0) {
				options = append(options, scheduler.Load(d, m))
			}
		}
	}
	return options
}

func (w *wanderer) tricksOf(v *scheduler.View, r uint64) []scheduler.Decision {
	var options []scheduler.Decision
	for d := range scheduler.DeviceID(v.Devices()) {
		for _, m := range v.Residents(d) {
			if v.Evictable(d, m) {
				options = append(options, scheduler.Evict(d, m))
			}
			if v.State(d, m) == scheduler.Resident {
				until := v.Now() + 1 + scheduler.Time(r%5)
				if r%11 == 0 {
					until = scheduler.Never
				}
				options = append(options, scheduler.Hold(d, m, until))
			}
		}
	}
	if at, pending := v.Timer(); !pending || at > v.Now()+1 {
		options = append(options, scheduler.Wake(v.Now()+1))
	}
	m := scheduler.ModelID(r % uint64(v.Models()))
	if it, ok := v.Head(m); ok && r%3 == 0 {
		options = append(options, scheduler.Reject(it.ID, int64(r%9)))
	}
	if n := v.ArrivedNow(); n > 0 {
		it, ok := v.ArrivedItem(int(r % uint64(n)))
		if ok && slices.Contains(everyReady(v), it.ID) {
			options = append(options, scheduler.Reject(it.ID, 77))
		}
	}
	return options
}

func everyReady(v *scheduler.View) []scheduler.ItemID {
	var ids []scheduler.ItemID
	for m := v.NextReady(0); m != scheduler.NoModel; m = v.NextReady(m + 1) {
		v.Each(m, func(it scheduler.Item) bool { ids = append(ids, it.ID); return true })
	}
	return ids
}

// world makes random facts for core and model.
type world struct {
	t        *rapid.T
	cfg      scheduler.Config
	now      scheduler.Time
	arrived  int64
	promised int64 // the highest id that an item depends on
	flights  []scheduler.Event
	timers   [2]scheduler.Time
	down     []bool
	quiet    bool // no more arrivals and faults
	healed   bool
	keys     []int32
	forward  bool
	sameTime int
	ties     int
	zeros    int
}

func (w *world) start(events []scheduler.Event) {
	for _, ev := range events {
		switch ev.Kind {
		case scheduler.BatchStarted, scheduler.LoadStarted, scheduler.EvictStarted:
			w.flights = append(w.flights, ev)
		case scheduler.TimerSet:
			w.timers[ev.ID] = scheduler.Time(ev.Value)
		}
	}
}

func (w *world) chance(name string, percent int) bool {
	return rapid.IntRange(0, 99).Draw(w.t, name) < percent
}

// next makes the facts of one step, or none if nothing happened.
func (w *world) next(m *model) []scheduler.Event {
	step := rapid.SampledFrom([]scheduler.Time{0, 0, 1, 1, 2, 7, 1000}).Draw(w.t, "dt")
	if w.sameTime++; step > 0 || w.sameTime > 4 || w.quiet {
		step, w.sameTime = max(step, 1), 0
	}
	w.now += step
	var facts []scheduler.Event
	add := func(ev scheduler.Event) {
		ev.At = w.now
		facts = append(facts, ev)
	}
	w.completions(add)
	if !w.quiet {
		w.faults(add, m)
		w.arrivals(add, m)
	} else {
		w.heal(add)
	}
	for id, at := range w.timers {
		if at <= w.now {
			w.timers[id] = scheduler.Never
			add(scheduler.Event{Kind: scheduler.TimerFired, ID: int64(id), Model: scheduler.NoModel, Device: scheduler.NoDevice})
		}
	}
	classes := map[int]bool{}
	for _, ev := range facts {
		classes[ev.Kind.Class()] = true
	}
	if len(classes) > 1 {
		w.ties++
	}
	return facts
}

func (w *world) completions(add func(scheduler.Event)) {
	slices.SortFunc(w.flights, func(a, b scheduler.Event) int {
		return 2*(rank(a.Kind)-rank(b.Kind)) + sign(a.ID-b.ID)
	})
	percent := rapid.SampledFrom([]int{0, 50, 100}).Draw(w.t, "completing")
	if w.quiet {
		percent = 100
	}
	var left []scheduler.Event
	for _, f := range w.flights {
		if !w.chance("ends", percent) {
			left = append(left, f)
			continue
		}
		if f.At == w.now {
			w.zeros++
		}
		fails := !w.quiet && w.chance("fails", 20)
		finished, failed := outcome(f.Kind)
		ev := scheduler.Event{Kind: finished, ID: f.ID, Model: f.Model, Device: f.Device}
		if fails {
			ev.Kind, ev.Value = failed, int64(rapid.SampledFrom([]scheduler.Failure{scheduler.FailureOOM, scheduler.FailureLost, scheduler.FailureFault}).Draw(w.t, "why"))
		}
		add(ev)
	}
	w.flights = left
}

func rank(k scheduler.Kind) int { f, _ := outcome(k); return f.Class() }

func sign(x int64) int {
	switch {
	case x < 0:
		return -1
	case x > 0:
		return 1
	}
	return 0
}

func outcome(k scheduler.Kind) (finished, failed scheduler.Kind) {
	switch k {
	case scheduler.BatchStarted:
		return scheduler.BatchFinished, scheduler.BatchFailed
	case scheduler.LoadStarted:
		return scheduler.LoadFinished, scheduler.LoadFailed
	}
	return scheduler.EvictFinished, scheduler.EvictFailed
}

func (w *world) faults(add func(scheduler.Event), m *model) {
	for d := range w.cfg.Devices {
		device := scheduler.DeviceID(d)
		switch {
		case w.down[d] && w.chance("up", 40):
			w.down[d] = false
			add(scheduler.Event{Kind: scheduler.DeviceUp, Device: device, Model: scheduler.NoModel})
		case !w.down[d] && w.chance("down", 3):
			w.lose(add, device)
		}
	}
	if w.chance("foreign", 5) {
		d := rapid.IntRange(0, len(w.cfg.Devices)-1).Draw(w.t, "foreign device")
		budget := int64(w.cfg.Devices[d].Budget)
		bytes := rapid.SampledFrom([]int64{0, 0, 1, budget / 2, budget, budget + 1, 1<<63 - 1}).Draw(w.t, "foreign bytes")
		add(scheduler.Event{Kind: scheduler.MemoryObserved, Device: scheduler.DeviceID(d), Value: bytes, Model: scheduler.NoModel})
	}
	if m.arrivals > 0 && w.chance("cancel", 10) {
		id := rapid.Int64Range(max(0, m.arrivals-8), m.arrivals-1).Draw(w.t, "cancelled")
		add(scheduler.Event{Kind: scheduler.ItemCancelled, ID: id, Model: scheduler.NoModel, Device: scheduler.NoDevice})
	}
}

func (w *world) lose(add func(scheduler.Event), d scheduler.DeviceID) {
	w.down[d] = true
	w.flights = slices.DeleteFunc(w.flights, func(f scheduler.Event) bool { return f.Device == d })
	add(scheduler.Event{Kind: scheduler.DeviceDown, Device: d, Model: scheduler.NoModel})
}

// heal ends all faults, and lets what is waited for arrive.
func (w *world) heal(add func(scheduler.Event)) {
	for d := range w.cfg.Devices {
		if w.down[d] {
			w.down[d] = false
			add(scheduler.Event{Kind: scheduler.DeviceUp, Device: scheduler.DeviceID(d), Model: scheduler.NoModel})
		}
	}
	for d := range w.cfg.Devices {
		add(scheduler.Event{Kind: scheduler.MemoryObserved, Device: scheduler.DeviceID(d), Model: scheduler.NoModel})
	}
	for !w.healed || w.arrived <= w.promised {
		w.healed = true
		add(scheduler.Event{Kind: scheduler.ItemArrived, ID: w.arrived, Device: scheduler.NoDevice, Value: scheduler.PackArrival(0, 1)})
		add(scheduler.Event{Kind: scheduler.ItemTenant, ID: w.arrived, Device: scheduler.NoDevice, Model: scheduler.NoModel, Value: lastTenant})
		w.arrived++
	}
}

func (w *world) arrivals(add func(scheduler.Event), m *model) {
	n := rapid.SampledFrom([]int{0, 0, 0, 1, 1, 2, 5}).Draw(w.t, "arriving")
	for range n {
		id := w.arrived
		attributes := w.attributes(id, m)
		add(scheduler.Event{Kind: scheduler.ItemArrived, ID: id, Device: scheduler.NoDevice,
			Model: scheduler.ModelID(rapid.IntRange(0, len(w.cfg.Models)-1).Draw(w.t, "model")),
			Value: scheduler.PackArrival(rapid.SampledFrom(w.keys).Draw(w.t, "priority"), len(attributes))})
		for _, ev := range attributes {
			ev.ID, ev.Device, ev.Model = id, scheduler.NoDevice, scheduler.NoModel
			add(ev)
		}
		w.arrived++
	}
}

func (w *world) attributes(id int64, m *model) []scheduler.Event {
	var evs []scheduler.Event
	if w.chance("in a job", 40) {
		evs = append(evs, scheduler.Event{Kind: scheduler.ItemJob, Value: id / 3})
	}
	if w.chance("due", 30) {
		evs = append(evs, scheduler.Event{Kind: scheduler.ItemDeadline, Value: int64(w.now) + rapid.Int64Range(-3, 20).Draw(w.t, "deadline")})
	}
	if w.chance("of other work", 30) {
		evs = append(evs, scheduler.Event{Kind: scheduler.ItemWork, Value: rapid.Int64Range(1, 3*scheduler.WorkUnit).Draw(w.t, "work")})
	}
	if w.chance("of a tenant", 10) {
		evs = append(evs, scheduler.Event{Kind: scheduler.ItemTenant, Value: rapid.Int64Range(0, 2).Draw(w.t, "tenant")})
	}
	for w.chance("dependent", 35) {
		on := rapid.Int64Range(max(0, id-6), id).Draw(w.t, "on")
		if on == id {
			if on++; !w.forward {
				break
			}
			on += rapid.Int64Range(0, 3).Draw(w.t, "ahead")
			w.promised = max(w.promised, on)
		}
		evs = append(evs, scheduler.Event{Kind: scheduler.ItemDependsOn, Value: on})
		if w.chance("twice", 5) && (on >= id || m.items[scheduler.ItemID(on)] != nil) {
			evs = append(evs, evs[len(evs)-1])
		}
	}
	return evs
}

// drawConfig makes a small machine whose budgets sit at the boundaries: what
// exactly fits, and one byte less.
func drawConfig(t *rapid.T) scheduler.Config {
	sizes := rapid.SampledFrom([][]scheduler.Bytes{{1, 1, 2, 3}, {5, 5, 5, 5}, {3, 4, 7, 10}, {1, 8, 9, 16}, {2, 3, 4, 6}}).Draw(t, "sizes")
	n := rapid.SampledFrom([]int{1, 2, 3, 3, 4, 4}).Draw(t, "models")
	cfg := scheduler.Config{Attempts: rapid.IntRange(0, 3).Draw(t, "attempts"), Checked: true, Waits: true}
	need, all := scheduler.Bytes(0), scheduler.Bytes(0)
	for i := range n {
		m := scheduler.Model{Name: fmt.Sprint("m", i), Bytes: sizes[i], Load: [scheduler.Tiers]scheduler.Time{9, 2}, Unload: 3,
			Batch: scheduler.BatchCost{Max: rapid.IntRange(1, 4).Draw(t, "batch"), Base: 5, PerItem: 2, Memory: scheduler.Bytes(rapid.IntRange(0, 2).Draw(t, "memory"))}}
		if rapid.Bool().Draw(t, "times") {
			m.Batch.Times = []scheduler.Time{4, 6, 11}
		}
		cfg.Models = append(cfg.Models, m)
		need = max(need, m.Bytes+m.Batch.Memory)
		all += m.Bytes
	}
	for range rapid.SampledFrom([]int{1, 1, 2, 3}).Draw(t, "devices") {
		budget := rapid.SampledFrom([]scheduler.Bytes{need, need, need + 1, need + sizes[0], need + sizes[0], all - 1, all, all + 1, all + 4}).Draw(t, "budget")
		if len(cfg.Devices) == 0 {
			budget = max(budget, need)
		}
		cfg.Devices = append(cfg.Devices, scheduler.Device{Memory: budget + 5, Budget: max(budget, 1), Slots: rapid.SampledFrom([]int{1, 1, 1, 2, 3}).Draw(t, "slots"),
			Down: rapid.IntRange(0, 9).Draw(t, "down at first") == 0})
	}
	cfg.HostMemory = rapid.SampledFrom([]scheduler.Bytes{0, sizes[0], need - 1, need, all}).Draw(t, "host memory")
	cfg.KeepFailed = rapid.SampledFrom([]int{0, 0, 2}).Draw(t, "keep failed")
	cfg.Order = rapid.SampledFrom([]scheduler.Order{nil, nil, scheduler.OrderFunc(byDeadline), scheduler.OrderFunc(byWork)}).Draw(t, "order")
	return cfg
}

func byDeadline(it scheduler.Item) int64 { return int64(it.Deadline) }
func byWork(it scheduler.Item) int64     { return it.Work }

// reach counts the cases that came to interesting places.
type reach struct {
	cases, evictUnderClaim, retry, orphan, secondDevice, tie, zero, spared, revoked, hostLoad, reclaim, hold, exhausted, many int
}

func (r *reach) count(m *model, w *world, crowd int) {
	one := func(n *int, reached bool) {
		if reached {
			*n++
		}
	}
	r.cases++
	one(&r.evictUnderClaim, m.claimedEvicts > 0)
	one(&r.retry, m.retries > 0)
	one(&r.orphan, m.orphans > 0)
	one(&r.secondDevice, m.secondDevice)
	one(&r.tie, w.ties > 0)
	one(&r.zero, w.zeros > 0)
	one(&r.spared, m.spared > 0)
	one(&r.revoked, m.revoked > 0)
	one(&r.hostLoad, m.hostLoads > 0)
	one(&r.reclaim, m.reclaims > 0)
	one(&r.hold, m.heldExpired > 0)
	one(&r.exhausted, m.pastLastAttemp > 0)
	one(&r.many, crowd > 64)
}

// TestCoreAgainstModel drives the core and a naive model of it through the
// same random facts and decisions and compares all that can be seen, with
// every invariant checked after every step and both replays after every run.
func TestCoreAgainstModel(t *testing.T) {
	var reached reach
	check(t, 300, func(rt *rapid.T) { oneCase(rt, &reached) })
	if t.Failed() {
		return
	}
	t.Logf("reached: %+v", reached)
	for _, least := range []struct {
		what    string
		n       int
		percent int
	}{
		{"an eviction under a claim", reached.evictUnderClaim, 15}, {"a retry", reached.retry, 25},
		{"a cancelled dependant", reached.orphan, 15}, {"a second device", reached.secondDevice, 15},
		{"ties at one instant", reached.tie, 60}, {"an effect of no duration", reached.zero, 30},
		{"a spared victim", reached.spared, 1}, {"a claim lost with its device", reached.revoked, 1},
		{"a load from the host tier", reached.hostLoad, 10}, {"victims sought again", reached.reclaim, 2},
		{"a hold that expired", reached.hold, 15}, {"a last attempt", reached.exhausted, 5},
		{"more than 64 priorities", reached.many, 2},
	} {
		if least.n*100 < least.percent*reached.cases {
			t.Errorf("%s in %d of %d cases; at least %d%% must reach it", least.what, least.n, reached.cases, least.percent)
		}
	}
}

// lockstep is the policy of the live run: before each decision it compares
// core and model, afterwards it lets the model carry the decision out.
type lockstep struct {
	*wanderer
	model *model
	fail  func(string)
}

func (l *lockstep) Next(v *scheduler.View) scheduler.Decision {
	if diff := compare(v, l.model); diff != "" {
		l.fail(diff)
		return scheduler.Decision{}
	}
	d := l.wanderer.Next(v)
	if d.Kind != scheduler.DecideIdle {
		l.model.decide(d)
	}
	return d
}

func oneCase(t *rapid.T, reached *reach) {
	cfg := drawConfig(t)
	seed := rapid.Uint64().Draw(t, "seed")
	evictor := rapid.IntRange(0, len(choosers(0))-1).Draw(t, "evictor")
	choose, obliging := choosers(seed)[evictor], evictor >= 1 && evictor <= 3
	if choose != nil {
		cfg.Evictor = viewEvictor{choose}
	}
	walk := wanderer{seed: seed, idle: uint64(rapid.IntRange(1, 8).Draw(t, "idle")), tricks: uint64(rapid.SampledFrom([]int{0, 0, 1, 3, 6}).Draw(t, "tricks")),
		hoards: rapid.Bool().Draw(t, "hoards")}
	learns := rapid.Bool().Draw(t, "learns")
	// config returns the configuration with a policy and estimator of its own.
	config := func() scheduler.Config {
		c := cfg
		w := walk
		c.Policy = &w
		if learns {
			c.Estimator, _ = scheduler.NewEstimator(scheduler.EstimatorConfig{Kind: "last"}, cfg.Models)
		}
		return c
	}
	live := config()
	m := newModel(live, choose)
	difference := ""
	live.Policy = &lockstep{wanderer: live.Policy.(*wanderer), model: m, fail: func(s string) { difference = s }}
	core, err := scheduler.New(live)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, cfg: cfg, timers: [2]scheduler.Time{scheduler.Never, scheduler.Never}, promised: -1,
		forward: rapid.IntRange(0, 3).Draw(t, "forward") == 0}
	for _, d := range cfg.Devices {
		w.down = append(w.down, d.Down)
	}
	w.keys = priorities(t)
	states, err := scheduler.NewStateReplay(config())
	if err != nil {
		t.Fatal(err)
	}
	var log []scheduler.Event
	crowd := 0
	step := func(facts []scheduler.Event) {
		if len(facts) == 0 {
			return
		}
		m.facts(facts)
		err := core.Step(facts)
		if difference != "" {
			t.Fatal(difference)
		}
		if err != nil {
			t.Fatalf("step at %d: %v", w.now, err)
		}
		got := core.Ready()
		for i := range max(len(got), len(m.events)) {
			if i >= len(got) || i >= len(m.events) || got[i] != m.events[i] {
				t.Fatalf("event %d of the step at %d differs:\n core  %+v\n model %+v", i, w.now, got, m.events)
			}
		}
		crowd = max(crowd, m.priorities(0))
		if diff := counts(core, m); diff != "" {
			t.Fatal(diff)
		}
		log = append(log, got...)
		if err := states.Append(got); err != nil {
			t.Fatal(err)
		}
		if states.Core.StateDigest() != core.StateDigest() {
			t.Fatalf("state replay is in another state after the step at %d", w.now)
		}
		w.start(got)
		core.Advance()
	}
	if len(w.keys) > 64 && w.chance("burst", 60) {
		step(w.burst())
	}
	for range rapid.IntRange(5, 40).Draw(t, "steps") {
		step(w.next(m))
	}
	w.quiet = true
	for i := 0; i < 300 && len(m.items) > len(m.stuck()); i++ {
		step(w.next(m))
	}
	if left := len(m.items) - len(m.stuck()); left > 0 && obliging && !m.pinned() {
		t.Fatalf("%d items never end although nothing fails any more: %s", left, m.summary())
	}
	compareEnd(t, core, m, w)
	if err := scheduler.Replay(config(), config(), log); err != nil {
		t.Fatal(err)
	}
	reached.count(m, w, crowd)
}

// burst makes one item of each priority arrive at once, for one model.
func (w *world) burst() []scheduler.Event {
	var facts []scheduler.Event
	for _, priority := range w.keys {
		facts = append(facts, scheduler.Event{At: w.now, Kind: scheduler.ItemArrived, ID: w.arrived, Device: scheduler.NoDevice,
			Value: scheduler.PackArrival(priority, 0)})
		w.arrived++
	}
	return facts
}

func priorities(t *rapid.T) []int32 {
	switch rapid.IntRange(0, 19).Draw(t, "priorities") {
	case 0, 1:
		var keys []int32
		for i := range int32(80) {
			keys = append(keys, i*i*7919%401-200)
		}
		return keys
	case 2, 3, 4, 5, 6, 7:
		return []int32{-2147483648, -1, 0, 1, 2147483647}
	}
	return []int32{0}
}

// compareEnd says that nothing comes any more, at a point where all has
// arrived: cycles and only cycles are dependency errors.
func compareEnd(t *rapid.T, core *scheduler.Core, m *model, w *world) {
	if w.arrived <= w.promised {
		return
	}
	err := core.End()
	var dep *scheduler.DependencyError
	on := m.stuck()
	switch {
	case len(on) == 0 && err != nil:
		t.Fatalf("end: %v", err)
	case len(on) > 0 && (!errors.As(err, &dep) || dep.What != "cyclic"):
		t.Fatalf("end: %v, but items %v wait for each other", err, on)
	case len(on) > 0 && (m.items[dep.Item] == nil || !m.items[dep.Item].waitsFor[dep.On] || !m.reaches(dep.On, dep.Item)):
		t.Fatalf("end: %v is no edge of a cycle", err)
	}
}
