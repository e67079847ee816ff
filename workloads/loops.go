package workloads

import (
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/vramsim/vramsim/scheduler"
)

// Loop is a recorded client whose requests depend on what happens: it waits for
// the end of one before it sends the next.
type Loop struct {
	Name     string // its n-th item, from 0, is called Name/n
	Model    string
	Priority int32
	// Times are when requests are due, in order. One whose predecessor has not
	// ended then is sent when it has, or skipped if the next one is past by then.
	// Nil: each is sent as soon as its predecessor has ended, the first at 0.
	Times []scheduler.Time
	// Until is when requests without Times end.
	Until scheduler.Time
}

// WithLoops adds clients that depend on what happens to a trace; times are on
// its clock, before its rate. A limit of the trace ends them with its last
// arrival. It returns t.
func (t *Trace) WithLoops(loops []Loop) *Trace {
	t.loops = slices.Clone(loops)
	for i := range t.loops {
		l := &t.loops[i]
		if _, known := t.modelIndex[l.Model]; !known {
			t.modelIndex[l.Model] = len(t.models)
			t.models = append(t.models, ModelCount{Name: l.Model})
		}
		l.Until = t.scaled(l.Until)
		l.Times = slices.Clone(l.Times)
		for k, at := range l.Times {
			l.Times[k] = t.scaled(at)
		}
		if t.opt.Limit > 0 && t.items > 0 {
			l.Until = min(l.Until, t.last)
			l.Times = slices.DeleteFunc(l.Times, func(at scheduler.Time) bool { return at > t.last })
		}
	}
	return t
}

func (t *Trace) scaled(at scheduler.Time) scheduler.Time {
	if at, fits := t.opt.Rate.apply(at); fits {
		return at
	}
	return scheduler.MaxTime
}

// LoopsOnly returns a trace that consists of clients alone.
func LoopsOnly(name string, loops []Loop, opt TraceOptions) *Trace {
	t := &Trace{name: name, opt: opt, tenants: map[string]int64{}, modelIndex: map[string]int{}}
	return t.WithLoops(loops).Imported()
}

// Reacts reports whether some arrivals depend on what happens.
func (t *Trace) Reacts() bool { return len(t.loops) > 0 }

// Run returns a run through the trace and its clients: what Source returns if
// there are none, else a scheduler.Reactive. The closer frees the file.
func (t *Trace) Run(catalogue []string, rename func(model string) string) (scheduler.Source, io.Closer, error) {
	if !t.Reacts() {
		s, err := t.Source(catalogue, rename)
		if err != nil {
			return nil, nil, err
		}
		return s, s, nil
	}
	s := &loopSource{loops: make([]loopClient, len(t.loops)), most: t.opt.Limit}
	s.follower = newFollower(s.rest)
	models, err := t.modelIDs(catalogue, rename)
	if err != nil {
		return nil, nil, err
	}
	if t.items > 0 {
		if s.trace, err = t.Source(catalogue, rename); err != nil {
			return nil, nil, err
		}
		s.most = 0 // the trace ends by itself, and the clients with it
	}
	for i := range t.loops {
		s.loops[i] = loopClient{Loop: t.loops[i], model: models[t.loops[i].Model], last: -1}
		s.plan(0, int32(i))
	}
	return s, s, nil
}

// loopSource merges a trace with clients. It implements scheduler.Reactive,
// scheduler.Recorded and scheduler.Namer.
type loopSource struct {
	follower
	trace *TraceSource // nil: none
	loops []loopClient
	due   dueHeap
	most  int64 // items; 0: no limit

	events   []scheduler.Event
	nextItem scheduler.ItemID
	numbers  []scheduler.ItemID // of the items of the trace
	// What the last two instants are made of, for names.
	now, before mixture
}

type loopClient struct {
	Loop
	model scheduler.ModelID
	sent  int64
	next  int            // of Times
	last  scheduler.Time // when it sent
}

// mixture is what the items from first on are: of the trace (who −1) or of a
// client, with their numbers there.
type mixture struct {
	first scheduler.ItemID
	items []mixedItem
}

type mixedItem struct {
	who int32
	n   int64
}

// plan decides when a client that is free at a time sends next.
func (s *loopSource) plan(at scheduler.Time, who int32) {
	l := &s.loops[who]
	if l.Times == nil {
		if at == l.last {
			at++ // keep time moving where work takes none
		}
		if at < l.Until {
			s.due.push(due{at, who})
		}
		return
	}
	for l.next+1 < len(l.Times) && l.Times[l.next+1] < at {
		l.next++
	}
	if l.next < len(l.Times) {
		s.due.push(due{max(at, l.Times[l.next]), who})
		l.next++
	}
}

// rest is told that the item of a client has ended.
func (s *loopSource) rest(at scheduler.Time, who int32) { s.plan(at, who) }

// NextAt returns when the trace or a client has something.
func (s *loopSource) NextAt() (scheduler.Time, bool) {
	if s.most > 0 && int64(s.nextItem) >= s.most {
		return 0, false
	}
	at := scheduler.MaxTime
	if s.trace != nil && !s.trace.ended {
		at = s.trace.at
	}
	if len(s.due) > 0 {
		at = min(at, s.due[0].at)
	}
	return at, at < scheduler.MaxTime
}

// Next returns the items of the instant NextAt: first those of the trace.
func (s *loopSource) Next() ([]scheduler.Event, error) {
	at, ok := s.NextAt()
	if !ok {
		return nil, io.EOF
	}
	s.events = s.events[:0]
	s.now, s.before = s.before, s.now
	s.now.first, s.now.items = s.nextItem, s.now.items[:0]
	if s.trace != nil && !s.trace.ended && s.trace.at == at {
		if err := s.fromTrace(); err != nil {
			return nil, err
		}
	}
	for len(s.due) > 0 && s.due[0].at == at {
		s.send(at, s.due.pop().client)
	}
	return s.events, nil
}

// fromTrace takes over the next instant of the trace under numbers of its own.
func (s *loopSource) fromTrace() error {
	events, err := s.trace.Next()
	if err != nil {
		return err
	}
	for i := range events {
		if events[i].Kind == scheduler.ItemArrived {
			s.numbers = append(s.numbers, s.add(-1, events[i].ID))
		}
	}
	for _, ev := range events {
		if ev.Kind == scheduler.ItemDependsOn {
			if ev.Value >= int64(len(s.numbers)) {
				return fmt.Errorf("%s: item %q waits for one that arrives later, which does not go with clients", s.trace.trace.name, s.trace.ItemName(ev.Item()))
			}
			ev.Value = int64(s.numbers[ev.Value])
		}
		ev.ID = int64(s.numbers[ev.ID])
		s.events = append(s.events, ev)
	}
	return nil
}

// add numbers the next item.
func (s *loopSource) add(who int32, n int64) scheduler.ItemID {
	id := s.nextItem
	s.nextItem++
	s.now.items = append(s.now.items, mixedItem{who, n})
	return id
}

func (s *loopSource) send(at scheduler.Time, who int32) {
	l := &s.loops[who]
	id := s.add(who, l.sent)
	l.sent++
	l.last = at
	s.owner[id] = who
	s.events = append(s.events, scheduler.Event{At: at, Kind: scheduler.ItemArrived, ID: int64(id), Model: l.model,
		Device: scheduler.NoDevice, Value: scheduler.PackArrival(l.Priority, 0)})
}

// Close frees the file of the trace.
func (s *loopSource) Close() error {
	if s.trace == nil {
		return nil
	}
	return s.trace.Close()
}

// find returns what an item of the last two instants is.
func (s *loopSource) find(item scheduler.ItemID) (mixedItem, bool) {
	for _, m := range []*mixture{&s.now, &s.before} {
		if i := int(item - m.first); i >= 0 && i < len(m.items) {
			return m.items[i], true
		}
	}
	return mixedItem{}, false
}

// Service returns the recorded service time of an item of the last instant.
func (s *loopSource) Service(item scheduler.ItemID) (scheduler.Time, bool) {
	i := int(item - s.now.first)
	if i < 0 || i >= len(s.now.items) || s.now.items[i].who >= 0 {
		return 0, false
	}
	return s.trace.Service(scheduler.ItemID(s.now.items[i].n))
}

// ItemName returns the name of an item of the last two instants.
func (s *loopSource) ItemName(item scheduler.ItemID) string {
	is, known := s.find(item)
	switch {
	case !known:
		return strconv.FormatInt(int64(item), 10)
	case is.who < 0:
		return s.trace.ItemName(scheduler.ItemID(is.n))
	}
	return s.loops[is.who].Name + "/" + strconv.FormatInt(is.n, 10)
}

// JobName returns the name of a job of the trace.
func (s *loopSource) JobName(job scheduler.JobID) string {
	if s.trace == nil {
		return strconv.FormatInt(int64(job), 10)
	}
	return s.trace.JobName(job)
}

// TenantName returns the name of a tenant of the trace.
func (s *loopSource) TenantName(tenant int64) string {
	if s.trace == nil {
		return ""
	}
	return s.trace.TenantName(tenant)
}
