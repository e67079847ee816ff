package explain

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/vramsim/vramsim/scheduler"
)

// Item writes the life of one item, by name or number: when it arrived, what
// it waited for, what the devices did while it was ready and did not run, and
// how many items overtook it.
func Item(w io.Writer, r *Run, name string) error {
	s := &story{name: name, names: r.Names, id: -1, ready: -1, start: -1, finish: -1, lastDep: -1, doing: map[int64]*activity{}, running: map[int64][]scheduler.ItemID{}}
	core, err := r.fold(func(core *scheduler.Core, seq int64, ev scheduler.Event) bool {
		s.see(core, seq, ev)
		return s.finish < 0
	})
	if err != nil {
		return err
	}
	if s.id < 0 {
		return fmt.Errorf("item %q: %w", name, ErrNotThere)
	}
	p := &printer{w: w, run: r}
	s.write(p, core)
	return p.err
}

// activity is something that a device did.
type activity struct {
	device   scheduler.DeviceID
	what     string // "ran" and the like
	model    scheduler.ModelID
	members  int
	from, to scheduler.Time
}

// story collects what is told of the item.
type story struct {
	name    string
	names   scheduler.Namer
	id      scheduler.ItemID
	arrival scheduler.Event
	deps    []scheduler.ItemID
	// Times of the item; -1 for what has not happened.
	ready, start, finish scheduler.Time
	due                  scheduler.Time
	lastDep              scheduler.ItemID
	lastDepAt            scheduler.Time
	outcome              string
	attempts             int
	dispatched           bool
	batch                scheduler.Event
	batchSeq             int64
	others               []scheduler.Item // dispatched since it arrived
	overtaken, ofOthers  int
	doing                map[int64]*activity
	did                  []*activity
	members              []scheduler.ItemID // of the batch that is about to start
	running              map[int64][]scheduler.ItemID
}

func (s *story) see(core *scheduler.Core, seq int64, ev scheduler.Event) {
	s.track(seq, ev)
	if s.id < 0 {
		if ev.Kind == scheduler.ItemArrived && s.is(ev.Item()) {
			s.id, s.arrival, s.due = ev.Item(), ev, scheduler.Never
		}
		return
	}
	s.life(ev)
	switch ev.Kind {
	case scheduler.MemberDispatched:
		s.dispatch(core.View(), ev)
	case scheduler.BatchStarted:
		if s.dispatched {
			s.batch, s.batchSeq, s.start, s.dispatched = ev, ev.ID, ev.At, false
			s.attempts++
		}
	case scheduler.BatchFailed:
		if s.start >= 0 && ev.ID == s.batchSeq {
			s.start = -1
		}
	case scheduler.BatchFinished:
		if s.start >= 0 && ev.ID == s.batchSeq {
			s.finish, s.outcome = ev.At, "finished"
		}
	}
}

func (s *story) is(id scheduler.ItemID) bool {
	return s.names != nil && s.names.ItemName(id) == s.name || strconv.FormatInt(int64(id), 10) == s.name
}

// life follows the events about the item itself.
func (s *story) life(ev scheduler.Event) {
	if ev.Item() != s.id {
		return
	}
	switch ev.Kind {
	case scheduler.ItemDependsOn:
		s.deps = append(s.deps, scheduler.ItemID(ev.Value))
	case scheduler.ItemDeadline:
		s.due = scheduler.Time(ev.Value)
	case scheduler.ItemReadied:
		s.ready = ev.At
	case scheduler.ItemRejected, scheduler.DependantCancelled, scheduler.ItemFailed, scheduler.ItemCancelled:
		s.finish = ev.At
		s.outcome = map[scheduler.Kind]string{scheduler.ItemRejected: "rejected by the policy", scheduler.DependantCancelled: "cancelled: a dependency did not finish",
			scheduler.ItemFailed: "failed for good", scheduler.ItemCancelled: "cancelled"}[ev.Kind]
	}
}

// dispatch notes who leaves the queues; once it is the item itself, those that
// became ready later have overtaken it.
func (s *story) dispatch(v *scheduler.View, ev scheduler.Event) {
	it, ok := v.ItemByID(ev.Item())
	switch {
	case !ok:
	case ev.Item() != s.id:
		if s.start < 0 {
			s.others = append(s.others, it)
		}
	default:
		s.dispatched = true
		if s.ready < 0 {
			s.ready = s.arrival.At // it was never blocked
		}
		s.overtaken, s.ofOthers = 0, 0
		for _, o := range s.others {
			if o.Seq <= it.Seq {
				continue
			}
			s.overtaken++
			if o.Model != it.Model {
				s.ofOthers++
			}
		}
	}
}

// track follows what devices do.
func (s *story) track(seq int64, ev scheduler.Event) {
	begin := func(what string, members int) {
		s.doing[seq] = &activity{device: ev.Device, what: what, model: ev.Model, members: members, from: ev.At, to: -1}
	}
	switch ev.Kind {
	case scheduler.MemberDispatched:
		s.members = append(s.members, ev.Item())
	case scheduler.BatchStarted:
		begin("ran", ev.Members())
		s.running[seq], s.members = s.members, nil
	case scheduler.LoadStarted:
		begin("loaded", 0)
	case scheduler.EvictStarted:
		begin("evicted", 0)
	case scheduler.BatchFinished, scheduler.BatchFailed, scheduler.LoadFinished, scheduler.LoadFailed, scheduler.EvictFinished, scheduler.EvictFailed:
		if a := s.doing[ev.ID]; a != nil {
			a.to = ev.At
			delete(s.doing, ev.ID)
			if s.id >= 0 {
				s.did = append(s.did, a)
			}
		}
		if ev.Kind == scheduler.BatchFinished {
			s.settleDeps(ev)
		}
		delete(s.running, ev.ID)
	}
}

// settleDeps notes when dependencies finish, the last one last.
func (s *story) settleDeps(ev scheduler.Event) {
	for _, id := range s.running[ev.ID] {
		if slices.Contains(s.deps, id) {
			s.lastDep, s.lastDepAt = id, ev.At
		}
	}
}

func (s *story) write(p *printer, core *scheduler.Core) {
	v := core.View()
	if s.ready < 0 && len(s.deps) == 0 {
		s.ready = s.arrival.At
	}
	now := core.Now()
	p.linef("Item %s (number %d), model %s", p.item(s.id), s.id, v.Model(s.arrival.Model).Name)
	p.linef("  arrived   %v", s.arrival.At)
	if s.lastDep >= 0 {
		p.linef("  depended  on %s; the last, %s, finished at %v", count(len(s.deps), "item", "items"), p.item(s.lastDep), s.lastDepAt)
	} else if len(s.deps) > 0 {
		p.linef("  depended  on %s", count(len(s.deps), "item", "items"))
	}
	if s.ready >= 0 {
		p.linef("  ready     %v, after %v", s.ready, s.ready-s.arrival.At)
	}
	until := now
	if s.start >= 0 {
		p.linef("  started   %v on %s, in a batch of %d, after a wait of %v%s", s.start, p.device(s.batch.Device), s.batch.Members(), s.start-s.ready, s.tries())
		until = s.start
	}
	if s.finish >= 0 {
		p.linef("  %-9s %v, %v after it arrived%s", s.outcome, s.finish, s.finish-s.arrival.At, s.deadline())
	} else {
		p.linef("  was not finished at the end of the log, %v", now)
	}
	if s.ready >= 0 && until > s.ready {
		s.meanwhile(p, v, s.ready, until)
	}
}

func (s *story) tries() string {
	if s.attempts < 2 {
		return ""
	}
	return fmt.Sprintf(" (attempt %d)", s.attempts)
}

func (s *story) deadline() string {
	switch {
	case s.due == scheduler.Never:
		return ""
	case s.finish <= s.due:
		return fmt.Sprintf("; due at %v, met", s.due)
	}
	return fmt.Sprintf("; due at %v, MISSED by %v", s.due, s.finish-s.due)
}

// meanwhile sums up what each device did while the item was ready and waited.
func (s *story) meanwhile(p *printer, v *scheduler.View, from, to scheduler.Time) {
	type key struct {
		what  string
		model scheduler.ModelID
	}
	type sum struct {
		key
		n, members int
		took       scheduler.Time
	}
	all := slices.Clone(s.did)
	for _, a := range s.doing {
		all = append(all, a)
	}
	p.linef("In the %v that it was ready and waited", to-from)
	for d := range scheduler.DeviceID(v.Devices()) {
		sums := map[key]*sum{}
		for _, a := range all {
			end := a.to
			if end < 0 {
				end = to
			}
			took := min(end, to) - max(a.from, from)
			if a.device != d || took <= 0 {
				continue
			}
			k := key{a.what, a.model}
			if sums[k] == nil {
				sums[k] = &sum{key: k}
			}
			sums[k].n, sums[k].members, sums[k].took = sums[k].n+1, sums[k].members+a.members, sums[k].took+took
		}
		list := make([]*sum, 0, len(sums))
		for _, x := range sums {
			list = append(list, x)
		}
		slices.SortFunc(list, func(a, b *sum) int {
			return cmp.Or(cmp.Compare(b.took, a.took), cmp.Compare(a.what, b.what), cmp.Compare(a.model, b.model))
		})
		if len(list) == 0 {
			p.linef("  %s did nothing", p.device(d))
		}
		for _, x := range list {
			text := fmt.Sprintf("  %s %-8s%-20s %v", p.device(d), x.what, v.Model(x.model).Name, x.took)
			if x.what == "ran" {
				text += ", " + count(x.n, "batch", "batches") + " of " + count(x.members, "item", "items")
			} else if x.n > 1 {
				text += fmt.Sprintf(", %d times", x.n)
			}
			p.linef("%s", text)
		}
	}
	if s.overtaken > 0 {
		p.linef("  %s that became ready later started before it, %d of other models", count(s.overtaken, "item", "items"), s.ofOthers)
	}
}
