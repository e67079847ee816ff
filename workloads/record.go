package workloads

import (
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/vramsim/vramsim/scheduler"
)

// ErrReactive is returned for a closed loop, which no trace can hold.
var ErrReactive = errors.New("a closed loop depends on what is executed and is no trace")

// Record writes everything that a fresh source emits as a native trace and
// returns how many items that are. catalogue names the models by their ids.
// Items of a source other than a TraceSource may wait only for items of their
// own instant.
func Record(w io.Writer, s scheduler.Source, catalogue []string) (items int64, err error) {
	out := NewWriter(w)
	if trace, ok := s.(*TraceSource); ok {
		items, err = trace.record(out, catalogue)
	} else if _, reacts := s.(scheduler.Reactive); reacts {
		return 0, ErrReactive
	} else {
		items, err = record(out, s, catalogue)
	}
	if err != nil {
		return items, err
	}
	return items, out.Close()
}

// record copies the trace by names.
func (s *TraceSource) record(out *Writer, catalogue []string) (items int64, err error) {
	s.Close()
	err = s.trace.Each(func(item *Item) error {
		item.Model = catalogue[s.models[item.Model]]
		items++
		return out.Write(item)
	})
	return items, err
}

// Each calls f with every item of the trace, at its rate. The item is valid
// during the call.
func (t *Trace) Each(f func(item *Item) error) error {
	rows, err := t.rows()
	if err != nil {
		return err
	}
	defer rows.Close()
	var item Item
	for {
		switch err := rows.next(); {
		case err == io.EOF && rows.items != t.items:
			return t.changed()
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		if !rows.row.item(&item, t.opt.Rate) {
			return t.changed()
		}
		if err := f(&item); err != nil {
			return err
		}
	}
}

// item copies the row; false if its time does not fit.
func (r *row) item(item *Item, rate Factor) bool {
	at, fits := rate.apply(r.at)
	*item = Item{ID: string(r.id), Job: string(r.job), Model: string(r.model), Tenant: string(r.tenant), At: at,
		Priority: r.priority, Deadline: r.deadline, Work: r.work, Service: r.service, After: item.After[:0]}
	if r.deadline != scheduler.Never {
		item.Deadline = shifted(r.deadline, r.at, at)
	}
	for _, name := range r.after {
		item.After = append(item.After, string(name))
	}
	return fits
}

// record turns the events of a source back into items.
func record(out *Writer, s scheduler.Source, catalogue []string) (items int64, err error) {
	r := recorder{catalogue: catalogue}
	r.namer, _ = s.(scheduler.Namer)
	r.recorded, _ = s.(scheduler.Recorded)
	for {
		events, err := s.Next()
		if err == io.EOF {
			return items, nil
		}
		if err != nil {
			return items, err
		}
		r.first = r.end
		for i := range events {
			if events[i].Kind == scheduler.ItemArrived {
				r.end++
			}
		}
		for i := 0; i < len(events); {
			next := i + 1 + events[i].Follow()
			item, err := r.item(events[i:next])
			if err == nil {
				err = out.Write(&item)
			}
			if err != nil {
				return items, err
			}
			i = next
			items++
		}
	}
}

type recorder struct {
	catalogue  []string
	namer      scheduler.Namer
	recorded   scheduler.Recorded
	first, end scheduler.ItemID // of the instant
}

// item makes an Item of an arrival with its attributes.
func (r *recorder) item(events []scheduler.Event) (Item, error) {
	arrival := events[0]
	item := Item{ID: r.name(arrival.Item()), Model: r.catalogue[arrival.Model], At: arrival.At, Priority: arrival.Priority(),
		Deadline: scheduler.Never, Work: scheduler.WorkUnit, Service: NoService}
	for _, ev := range events[1:] {
		switch ev.Kind {
		case scheduler.ItemJob:
			item.Job = strconv.FormatInt(ev.Value, 10)
			if r.namer != nil {
				item.Job = r.namer.JobName(scheduler.JobID(ev.Value))
			}
		case scheduler.ItemDeadline:
			item.Deadline = scheduler.Time(ev.Value)
		case scheduler.ItemWork:
			item.Work = ev.Value
		case scheduler.ItemTenant:
			item.Tenant = strconv.FormatInt(ev.Value, 10)
			if r.namer != nil {
				item.Tenant = r.namer.TenantName(ev.Value)
			}
		case scheduler.ItemDependsOn:
			on := scheduler.ItemID(ev.Value)
			if on < r.first || on >= r.end {
				return item, fmt.Errorf("item %q waits for item %d of another instant, whose name is not known any more", item.ID, on)
			}
			item.After = append(item.After, r.name(on))
		}
	}
	if r.recorded != nil {
		if t, ok := r.recorded.Service(arrival.Item()); ok {
			item.Service = t
		}
	}
	return item, nil
}

func (r *recorder) name(item scheduler.ItemID) string {
	if r.namer != nil {
		if name := r.namer.ItemName(item); name != "" {
			return name
		}
	}
	return strconv.FormatInt(int64(item), 10)
}
