package workloads

import (
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/nearest"
)

// TraceSource is one run through a trace. It implements scheduler.Recorded and
// scheduler.Namer.
type TraceSource struct {
	trace  *Trace
	rows   *rows
	models map[string]scheduler.ModelID

	at    scheduler.Time // of the item in rows.row
	item  scheduler.ItemID
	ended bool

	events   []scheduler.Event
	services []scheduler.Time // of the last instant's items, -1 for none
	now      names
	before   names
}

// names are those of the items of one instant and of their jobs.
type names struct {
	first scheduler.ItemID
	text  []byte
	ends  []int

	jobs     map[scheduler.JobID][2]int // where each job's name lies in jobBytes
	jobBytes []byte
}

// Source returns a run through the trace. The catalogue lists the names of the
// models by their ids; rename, if not nil, says what a model of the trace is
// called there. A model that the catalogue lacks is a *TraceError. The source
// holds a file open until Next has returned an error or Close is called.
func (t *Trace) Source(catalogue []string, rename func(model string) string) (*TraceSource, error) {
	models, err := t.modelIDs(catalogue, rename)
	if err != nil {
		return nil, err
	}
	s := &TraceSource{trace: t, models: models}
	s.now.jobs, s.before.jobs = map[scheduler.JobID][2]int{}, map[scheduler.JobID][2]int{}
	rows, err := t.rows()
	if err != nil {
		return nil, err
	}
	s.rows = rows
	if err := s.advance(); err != nil {
		rows.Close()
		return nil, err
	}
	return s, nil
}

// modelIDs returns the ids of the models of the trace by their names there.
func (t *Trace) modelIDs(catalogue []string, rename func(model string) string) (map[string]scheduler.ModelID, error) {
	ids := make(map[string]scheduler.ModelID, len(t.models))
	for _, m := range t.models {
		name := m.Name
		if rename != nil {
			name = rename(name)
		}
		id := slices.Index(catalogue, name)
		if id < 0 {
			return nil, t.unknownModel(m, name, catalogue)
		}
		ids[m.Name] = scheduler.ModelID(id)
	}
	return ids, nil
}

func (t *Trace) unknownModel(m ModelCount, name string, catalogue []string) error {
	what := fmt.Sprintf("the model %q is not in the catalogue", m.Name)
	if name != m.Name {
		what = fmt.Sprintf("the model %q is mapped to %q, which is not in the catalogue", m.Name, name)
	}
	if close := nearest.To(name, catalogue); close != "" {
		what += fmt.Sprintf("; the nearest name is %q", close)
	}
	if t.imported {
		return &TraceError{File: t.name, What: what}
	}
	return &TraceError{File: t.name, Line: m.Line, Column: m.column, Text: m.text, What: what}
}

// Close frees the file. Next must not be called any more.
func (s *TraceSource) Close() error {
	s.rows.Close()
	return nil
}

// advance reads the next item.
func (s *TraceSource) advance() error {
	err := s.rows.next()
	switch {
	case err == io.EOF && s.rows.items != s.trace.items:
		return s.trace.changed()
	case err == io.EOF:
		s.ended = true
		s.rows.Close()
		return nil
	case err != nil:
		s.rows.Close()
		return err
	}
	at, fits := s.trace.opt.Rate.apply(s.rows.row.at)
	if !fits || at < s.at {
		return s.trace.changed()
	}
	s.at = at
	return nil
}

// Next returns the items that arrive at the next instant.
func (s *TraceSource) Next() ([]scheduler.Event, error) {
	if s.ended {
		return nil, io.EOF
	}
	s.events, s.services = s.events[:0], s.services[:0]
	s.now, s.before = s.before, s.now
	s.now.clear(s.item)
	for at := s.at; !s.ended && s.at == at; {
		if err := s.emit(at); err != nil {
			return nil, err
		}
		if err := s.advance(); err != nil {
			return nil, err
		}
	}
	return s.events, nil
}

// emit appends the events of the item in rows.row.
func (s *TraceSource) emit(at scheduler.Time) error {
	r := &s.rows.row
	model, known := s.models[string(r.model)]
	if !known {
		return s.trace.changed()
	}
	id := s.item
	s.item++
	arrival := len(s.events)
	s.event(at, scheduler.ItemArrived, id, 0)
	s.events[arrival].Model = model
	s.now.add(r.id)
	if len(r.job) > 0 {
		number, known := s.trace.jobs.find(digestOf(r.job))
		if !known {
			return s.trace.changed()
		}
		s.event(at, scheduler.ItemJob, id, number)
		s.now.addJob(scheduler.JobID(number), r.job)
	}
	if r.deadline != scheduler.Never {
		s.event(at, scheduler.ItemDeadline, id, int64(shifted(r.deadline, r.at, at)))
	}
	if r.work != scheduler.WorkUnit {
		s.event(at, scheduler.ItemWork, id, r.work)
	}
	if len(r.tenant) > 0 {
		number, known := s.trace.tenants[string(r.tenant)]
		if !known {
			return s.trace.changed()
		}
		s.event(at, scheduler.ItemTenant, id, number)
	}
	for _, name := range r.after {
		on, known := s.trace.ids.find(digestOf(name))
		if !known {
			return s.trace.changed()
		}
		s.event(at, scheduler.ItemDependsOn, id, on)
	}
	s.events[arrival].Value = scheduler.PackArrival(r.priority, len(s.events)-arrival-1)
	s.services = append(s.services, r.service)
	return nil
}

// shifted moves a deadline along with its item's arrival.
func shifted(deadline, from, to scheduler.Time) scheduler.Time {
	if deadline < from {
		return max(0, to-(from-deadline))
	}
	moved, fits := scheduler.AddTime(to, deadline-from)
	if !fits {
		return scheduler.Never
	}
	return moved
}

func (s *TraceSource) event(at scheduler.Time, kind scheduler.Kind, item scheduler.ItemID, value int64) {
	s.events = append(s.events, scheduler.Event{At: at, Kind: kind, ID: int64(item), Value: value,
		Model: scheduler.NoModel, Device: scheduler.NoDevice})
}

// Service returns the recorded service time of an item of the last instant.
func (s *TraceSource) Service(item scheduler.ItemID) (scheduler.Time, bool) {
	i := int(item - s.now.first)
	if i < 0 || i >= len(s.services) || s.services[i] < 0 {
		return 0, false
	}
	return s.services[i], true
}

// ItemName returns the id of an item of the last two instants.
func (s *TraceSource) ItemName(item scheduler.ItemID) string {
	for _, n := range []*names{&s.now, &s.before} {
		if i := int(item - n.first); i >= 0 && i < len(n.ends) {
			start := 0
			if i > 0 {
				start = n.ends[i-1]
			}
			return string(n.text[start:n.ends[i]])
		}
	}
	return strconv.FormatInt(int64(item), 10)
}

// JobName returns the name of the job of an item of the last two instants.
func (s *TraceSource) JobName(job scheduler.JobID) string {
	for _, n := range []*names{&s.now, &s.before} {
		if at, known := n.jobs[job]; known {
			return string(n.jobText(at))
		}
	}
	return strconv.FormatInt(int64(job), 10)
}

// TenantName returns the name of a tenant.
func (s *TraceSource) TenantName(tenant int64) string {
	if tenant < 0 || tenant >= int64(len(s.trace.tenantNames)) {
		return ""
	}
	return s.trace.tenantNames[tenant]
}

func (n *names) clear(first scheduler.ItemID) {
	n.first, n.text, n.ends = first, n.text[:0], n.ends[:0]
	n.jobBytes = n.jobBytes[:0]
	clear(n.jobs)
}

func (n *names) add(name []byte) {
	n.text = append(n.text, name...)
	n.ends = append(n.ends, len(n.text))
}

func (n *names) addJob(job scheduler.JobID, name []byte) {
	if _, known := n.jobs[job]; !known {
		start := len(n.jobBytes)
		n.jobBytes = append(n.jobBytes, name...)
		n.jobs[job] = [2]int{start, len(n.jobBytes)}
	}
}

func (n *names) jobText(at [2]int) []byte { return n.jobBytes[at[0]:at[1]] }
