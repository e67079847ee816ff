package export

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/vramsim/vramsim/scheduler"
)

// Names tells the names behind ids. Each is asked once, when its item has just
// arrived; an empty name stands for the number.
type Names interface {
	ItemName(item scheduler.ItemID) string
	JobName(job scheduler.JobID) string
	TenantName(tenant int64) string
}

var itemHeader = []string{"item", "id", "model", "job", "tenant", "priority", "status", "arrival_ns", "ready_ns", "start_ns", "finish_ns",
	"wait_ns", "latency_ns", "deadline_ns", "work", "attempts", "device", "batch_event", "batch_size"}

// row is an item in flight.
type row struct {
	item               scheduler.ItemID
	name, job, tenant  string
	model              scheduler.ModelID
	priority           int32
	arrival, ready     scheduler.Time
	start              scheduler.Time
	deadline           scheduler.Time
	work               int64
	follow, waiting    int
	attempts           int
	device             scheduler.DeviceID
	batch              int64
	size               int
	cancelled, running bool
}

// none stands for a time that has not come.
const none scheduler.Time = -1

// Items writes one CSV row for each item of a log, in the order in which items
// end; those in the system at the end of the log follow by id as
// "unfinished". Times are integer nanoseconds since the start of the run and
// empty for what did not happen; start is that of the last attempt, wait from
// ready to that start, latency from arrival to finish. work is in units of
// ordinary items. Names may be nil.
func Items(w io.Writer, cfg scheduler.Config, names Names, events iter.Seq2[scheduler.Event, error]) error {
	f := &itemFold{out: csv.NewWriter(w), cfg: cfg, names: names, rows: map[scheduler.ItemID]*row{}, batches: map[int64]members{}}
	if err := f.out.Write(itemHeader); err != nil {
		return err
	}
	seq := int64(0)
	for ev, err := range events {
		if err != nil {
			return err
		}
		if err := f.event(ev, seq); err != nil {
			return fmt.Errorf("items: event %d: %w", seq, err)
		}
		seq++
	}
	left := make([]*row, 0, len(f.rows))
	for _, r := range f.rows {
		left = append(left, r)
	}
	slices.SortFunc(left, func(a, b *row) int { return cmp.Compare(a.item, b.item) })
	for _, r := range left {
		if err := f.write(r, "unfinished", none); err != nil {
			return err
		}
	}
	f.out.Flush()
	return f.out.Error()
}

type members struct {
	device scheduler.DeviceID
	rows   []*row
}

type itemFold struct {
	out     *csv.Writer
	cfg     scheduler.Config
	names   Names
	rows    map[scheduler.ItemID]*row
	batches map[int64]members // running, by the sequence number of their start
	staged  []*row            // dispatched, their batch about to start
	last    *row              // whose attributes follow
}

func (f *itemFold) event(ev scheduler.Event, seq int64) error {
	switch ev.Kind {
	case scheduler.ItemArrived:
		return f.arrived(ev)
	case scheduler.ItemJob, scheduler.ItemDeadline, scheduler.ItemWork, scheduler.ItemTenant, scheduler.ItemDependsOn:
		return f.attribute(ev)
	case scheduler.BatchStarted:
		f.started(ev, seq)
	case scheduler.BatchFinished, scheduler.BatchFailed:
		return f.ended(ev.ID, ev.At, ev.Kind == scheduler.BatchFinished)
	case scheduler.DeviceDown:
		return f.lost(ev)
	case scheduler.ItemReadied, scheduler.MemberDispatched, scheduler.ItemCancelled, scheduler.ItemRejected, scheduler.DependantCancelled, scheduler.ItemFailed:
		return f.item(ev)
	}
	return nil
}

func (f *itemFold) arrived(ev scheduler.Event) error {
	if ev.Model < 0 || int(ev.Model) >= len(f.cfg.Models) {
		return fmt.Errorf("no model %d", ev.Model)
	}
	r := &row{item: ev.Item(), model: ev.Model, priority: ev.Priority(), arrival: ev.At, ready: none, start: none,
		deadline: scheduler.Never, work: scheduler.WorkUnit, follow: ev.Follow(), device: scheduler.NoDevice, batch: -1}
	if f.names != nil {
		r.name = f.names.ItemName(r.item)
	}
	if r.name == "" {
		r.name = strconv.FormatInt(int64(r.item), 10)
	}
	f.rows[r.item], f.last = r, r
	if r.follow == 0 {
		r.ready = ev.At
	}
	return nil
}

// attribute adds to the last arrival. An item is ready by its arrival unless
// one of its dependencies is still in the system or yet to come, which the
// ItemReadied event that it then has tells later.
func (f *itemFold) attribute(ev scheduler.Event) error {
	r := f.last
	if r == nil || r.item != ev.Item() || r.follow == 0 {
		return fmt.Errorf("%v without its arrival", ev.Kind)
	}
	switch ev.Kind {
	case scheduler.ItemJob:
		r.job = strconv.FormatInt(ev.Value, 10)
		if f.names != nil {
			r.job = cmp.Or(f.names.JobName(scheduler.JobID(ev.Value)), r.job)
		}
	case scheduler.ItemDeadline:
		r.deadline = scheduler.Time(ev.Value)
	case scheduler.ItemWork:
		r.work = ev.Value
	case scheduler.ItemTenant:
		r.tenant = strconv.FormatInt(ev.Value, 10)
		if f.names != nil {
			r.tenant = cmp.Or(f.names.TenantName(ev.Value), r.tenant)
		}
	case scheduler.ItemDependsOn:
		r.waiting++
	}
	if r.follow--; r.follow == 0 && r.waiting == 0 {
		r.ready = r.arrival
	}
	return nil
}

func (f *itemFold) item(ev scheduler.Event) error {
	r := f.rows[ev.Item()]
	if r == nil {
		if ev.Kind == scheduler.ItemCancelled {
			return nil // it had ended
		}
		return fmt.Errorf("%v of item %d, which is not in the system", ev.Kind, ev.ID)
	}
	switch ev.Kind {
	case scheduler.ItemReadied:
		r.ready = ev.At
	case scheduler.MemberDispatched:
		if r.ready == none { // its dependencies had all finished before it came
			r.ready = r.arrival
		}
		f.staged = append(f.staged, r)
	case scheduler.ItemCancelled:
		if r.running {
			r.cancelled = true
			return nil
		}
		return f.finish(r, "cancelled", ev.At)
	case scheduler.DependantCancelled:
		return f.finish(r, "cancelled", ev.At)
	case scheduler.ItemRejected:
		return f.finish(r, "rejected", ev.At)
	case scheduler.ItemFailed:
		return f.finish(r, "failed", ev.At)
	}
	return nil
}

func (f *itemFold) started(ev scheduler.Event, seq int64) {
	for _, r := range f.staged {
		r.start, r.device, r.batch, r.size, r.running = ev.At, ev.Device, seq, len(f.staged), true
		r.attempts++
	}
	f.batches[ev.ID] = members{ev.Device, f.staged}
	f.staged = nil
}

func (f *itemFold) ended(id int64, at scheduler.Time, well bool) error {
	b, ok := f.batches[id]
	if !ok {
		return fmt.Errorf("no batch %d is running", id)
	}
	delete(f.batches, id)
	for _, r := range b.rows {
		r.running = false
		switch {
		case r.cancelled:
			if err := f.finish(r, "cancelled", at); err != nil {
				return err
			}
		case well:
			if err := f.finish(r, "completed", at); err != nil {
				return err
			}
		}
	}
	return nil
}

// lost ends the batches of a device that went down, oldest first.
func (f *itemFold) lost(ev scheduler.Event) error {
	var ids []int64
	for id, b := range f.batches {
		if b.device == ev.Device {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		if err := f.ended(id, ev.At, false); err != nil {
			return err
		}
	}
	return nil
}

func (f *itemFold) finish(r *row, status string, at scheduler.Time) error {
	delete(f.rows, r.item)
	return f.write(r, status, at)
}

func (f *itemFold) write(r *row, status string, finish scheduler.Time) error {
	wait, latency := none, none
	if r.start != none && r.ready != none {
		wait = r.start - r.ready
	}
	if finish != none {
		latency = finish - r.arrival
	}
	deadline := r.deadline
	if deadline == scheduler.Never {
		deadline = none
	}
	batch, device, size := "", "", ""
	if r.batch >= 0 {
		batch, size = strconv.FormatInt(r.batch, 10), strconv.Itoa(r.size)
		device = guard(f.cfg.Devices[r.device].Name)
	}
	return f.out.Write([]string{strconv.FormatInt(int64(r.item), 10), guard(r.name), guard(f.cfg.Models[r.model].Name), guard(r.job), guard(r.tenant),
		strconv.Itoa(int(r.priority)), status, nanoseconds(r.arrival), nanoseconds(r.ready), nanoseconds(r.start), nanoseconds(finish),
		nanoseconds(wait), nanoseconds(latency), nanoseconds(deadline), units(r.work), strconv.Itoa(r.attempts), device, batch, size})
}

func nanoseconds(t scheduler.Time) string {
	if t == none {
		return ""
	}
	return strconv.FormatInt(int64(t), 10)
}

// units writes millionths as a decimal number, exactly.
func units(millionths int64) string {
	text := fmt.Sprintf("%d.%06d", millionths/scheduler.WorkUnit, millionths%scheduler.WorkUnit)
	return strings.TrimRight(strings.TrimRight(text, "0"), ".")
}

// guard keeps a spreadsheet from taking a text for a formula.
func guard(text string) string {
	if text != "" && strings.IndexByte("=+-@\t\r", text[0]) >= 0 {
		return "'" + text
	}
	return text
}
