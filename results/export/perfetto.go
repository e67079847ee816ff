package export

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/vramsim/vramsim/scheduler"
)

// Perfetto writes the events of a log as a Chrome trace (JSON), which
// ui.perfetto.dev and chrome://tracing open. Every device is a process with a
// thread for each slot (batches) and one for its link (loads), a track for the
// stays of each model and a counter of reserved memory beside its budget; the
// process "queues" counts the ready items of each model, and "policy" holds
// the notes of decisions. Times are microseconds, exact to the nanosecond;
// what is unfinished at the end of the log is cut there and says so.
//
// cfg is the configuration of the log; its policy, evictor and estimator are
// not used. Errors of the events and of w end the writing.
func Perfetto(w io.Writer, cfg scheduler.Config, events iter.Seq2[scheduler.Event, error]) error {
	cfg.Policy, cfg.Evictor, cfg.Estimator, cfg.Checked = idle{}, nil, nil, false
	core, err := scheduler.New(cfg)
	if err != nil {
		return fmt.Errorf("perfetto: %w", err)
	}
	t := &trace{out: bufio.NewWriterSize(w, 1<<16), cfg: cfg, core: core, open: map[int64]*slice{}, stays: map[stay]bool{},
		slots: make([][]bool, len(cfg.Devices)), ready: make([]int, len(cfg.Models)), touched: make([]bool, len(cfg.Models)),
		reserved: make([]scheduler.Bytes, len(cfg.Devices))}
	t.begin()
	for ev, err := range events {
		if err != nil {
			return err
		}
		if err := t.event(ev); err != nil {
			return fmt.Errorf("perfetto: %w", err)
		}
		if t.err != nil {
			return t.err
		}
	}
	t.end()
	return t.err
}

// idle never decides: the decisions come from the log.
type idle struct{}

func (idle) Next(*scheduler.View) scheduler.Decision { return scheduler.Decision{} }

// Processes and threads of the trace.
const (
	queuesPID   = 1
	policyPID   = 2
	devicesPID  = 10 // + device
	linkThread  = 1
	slotThreads = 2 // + slot
)

// slice is a batch, load or eviction that has not ended.
type slice struct {
	name    string
	pid     int
	tid     int
	start   scheduler.Time
	args    map[string]any
	release func()
}

type stay struct {
	device scheduler.DeviceID
	model  scheduler.ModelID
}

// leaving is an eviction in flight.
type leaving struct {
	id int64
	stay
}

type trace struct {
	out      *bufio.Writer
	err      error
	written  int
	cfg      scheduler.Config
	core     *scheduler.Core
	seq      int64
	now      scheduler.Time
	open     map[int64]*slice // by the sequence number of their start
	order    []int64          // of open, by start
	stays    map[stay]bool
	leaving  []leaving // evictions in flight, by start
	slots    [][]bool  // taken, by device
	ready    []int     // as last written, by model
	touched  []bool    // models whose queue may have changed since
	changed  []scheduler.ModelID
	reserved []scheduler.Bytes // as last written, by device
}

// entry is one element of traceEvents. Fields are as the format names them.
type entry struct {
	Name string         `json:"name"`
	Cat  string         `json:"cat,omitempty"`
	Ph   string         `json:"ph"`
	TS   json.Number    `json:"ts,omitempty"`
	Dur  json.Number    `json:"dur,omitempty"`
	PID  int            `json:"pid"`
	TID  int            `json:"tid,omitempty"`
	ID   string         `json:"id,omitempty"`
	S    string         `json:"s,omitempty"`
	Args map[string]any `json:"args,omitempty"`
}

// micros writes a time in microseconds without rounding.
func micros(t scheduler.Time) json.Number {
	return json.Number(fmt.Sprintf("%d.%03d", t/1000, t%1000))
}

func (t *trace) write(e entry) {
	if t.err != nil {
		return
	}
	data, err := json.Marshal(e)
	if err != nil {
		panic("bug: " + err.Error())
	}
	separator := ",\n"
	if t.written == 0 {
		separator = "\n"
	}
	t.written++
	if _, err := t.out.WriteString(separator); err != nil {
		t.err = err
		return
	}
	_, t.err = t.out.Write(data)
}

func (t *trace) begin() {
	_, t.err = t.out.WriteString(`{"displayTimeUnit":"ms","traceEvents":[`)
	name := func(kind string, pid, tid int, text string) {
		t.write(entry{Name: kind, Ph: "M", PID: pid, TID: tid, Args: map[string]any{"name": text}})
	}
	name("process_name", queuesPID, 0, "queues (ready items)")
	name("process_name", policyPID, 0, "policy")
	for i, d := range t.cfg.Devices {
		pid := devicesPID + i
		name("process_name", pid, 0, d.Name)
		name("thread_name", pid, linkThread, "loads")
		t.slots[i] = make([]bool, d.Slots)
		for s := range d.Slots {
			name("thread_name", pid, slotThreads+s, fmt.Sprintf("batches, slot %d", s))
		}
		t.counter(pid, "budget", 0, int64(d.Budget))
		t.counter(pid, "reserved", 0, 0)
	}
}

func (t *trace) counter(pid int, name string, at scheduler.Time, value int64) {
	t.write(entry{Name: name, Ph: "C", TS: micros(at), PID: pid, Args: map[string]any{"value": value}})
}

// event applies ev and writes what it starts or ends.
func (t *trace) event(ev scheduler.Event) error {
	if ev.At > t.now {
		t.counters()
		t.now = ev.At
	}
	before := t.residents(ev)
	if err := t.core.Apply(ev); err != nil {
		return fmt.Errorf("event %d: %w", t.seq, err)
	}
	switch ev.Kind {
	case scheduler.BatchStarted:
		t.batch(ev)
	case scheduler.LoadStarted:
		t.start(ev, &slice{name: t.model(ev.Model), tid: linkThread, args: map[string]any{"tier": ev.Tier().String(), "estimate_ns": int64(ev.Estimate()), "event": t.seq}})
	case scheduler.EvictStarted:
		t.stayEnds(stay{ev.Device, ev.Model})
		l := leaving{ev.ID, stay{ev.Device, ev.Model}}
		t.leaving = append(t.leaving, l)
		t.evictEvent(l, "b", "")
	case scheduler.EvictFinished, scheduler.EvictFailed:
		t.evicted(ev)
	case scheduler.LoadFinished:
		t.finish(ev, "")
		t.stayBegins(stay{ev.Device, ev.Model})
	case scheduler.BatchFinished:
		t.finish(ev, "")
	case scheduler.BatchFailed, scheduler.LoadFailed:
		t.finish(ev, failure(ev.Value))
	case scheduler.DeviceDown:
		t.lost(ev, before)
	case scheduler.DeviceUp:
		t.instant(ev, "up")
	case scheduler.Note:
		t.write(entry{Name: fmt.Sprintf("note %d", ev.ID), Ph: "i", S: "p", TS: micros(ev.At), PID: policyPID, TID: 1, Args: map[string]any{"value": ev.Value}})
	}
	if ev.Model >= 0 && int(ev.Model) < len(t.touched) && !t.touched[ev.Model] {
		t.touched[ev.Model] = true
		t.changed = append(t.changed, ev.Model)
	}
	t.seq++
	return nil
}

// residents returns what a device that is about to be lost holds.
func (t *trace) residents(ev scheduler.Event) []scheduler.ModelID {
	if ev.Kind != scheduler.DeviceDown || ev.Device < 0 || int(ev.Device) >= len(t.cfg.Devices) {
		return nil
	}
	return append([]scheduler.ModelID(nil), t.core.View().Residents(ev.Device)...)
}

func (t *trace) model(m scheduler.ModelID) string { return t.cfg.Models[m].Name }

func (t *trace) batch(ev scheduler.Event) {
	slots := t.slots[ev.Device]
	s := 0
	for slots[s] { // the core allows no more batches than slots
		s++
	}
	slots[s] = true
	t.start(ev, &slice{name: t.model(ev.Model), tid: slotThreads + s, release: func() { slots[s] = false },
		args: map[string]any{"items": ev.Members(), "estimate_ns": int64(ev.Estimate()), "event": t.seq}})
}

func (t *trace) start(ev scheduler.Event, s *slice) {
	s.pid, s.start = devicesPID+int(ev.Device), ev.At
	t.open[ev.ID] = s
	t.order = append(t.order, ev.ID)
}

func (t *trace) finish(ev scheduler.Event, why string) {
	t.close(ev.ID, ev.At, why)
	for len(t.order) > 0 && t.open[t.order[0]] == nil {
		t.order = t.order[1:]
	}
}

// close writes an open slice; failed says why it did not end well.
func (t *trace) close(id int64, at scheduler.Time, failed string) {
	s := t.open[id]
	if s == nil {
		return
	}
	delete(t.open, id)
	if s.release != nil {
		s.release()
	}
	category := "batch"
	if s.tid == linkThread {
		category = "load"
	}
	if failed != "" {
		s.args["failed"] = failed
	}
	t.write(entry{Name: s.name, Cat: category, Ph: "X", TS: micros(s.start), Dur: micros(at - s.start), PID: s.pid, TID: s.tid, Args: s.args})
}

func (t *trace) stayBegins(s stay) {
	if t.stays[s] {
		return
	}
	t.stays[s] = true
	t.stayEvent(s, "b")
}

func (t *trace) stayEnds(s stay) {
	if !t.stays[s] {
		return
	}
	delete(t.stays, s)
	t.stayEvent(s, "e")
}

// stayEvent begins or ends the time a model is resident, on a track of its own.
func (t *trace) stayEvent(s stay, ph string) {
	t.write(entry{Name: "resident " + t.model(s.model), Cat: "resident", Ph: ph, TS: micros(t.now), PID: devicesPID + int(s.device), ID: fmt.Sprint("r", s.model)})
}

func (t *trace) evicted(ev scheduler.Event) {
	failed := ""
	if ev.Kind == scheduler.EvictFailed {
		failed = failure(ev.Value)
		t.stayBegins(stay{ev.Device, ev.Model})
	}
	t.left(func(l leaving) bool { return l.id == ev.ID }, failed)
}

// left ends the evictions in flight that which selects.
func (t *trace) left(which func(leaving) bool, failed string) {
	t.leaving = slices.DeleteFunc(t.leaving, func(l leaving) bool {
		if which(l) {
			t.evictEvent(l, "e", failed)
			return true
		}
		return false
	})
}

func (t *trace) evictEvent(l leaving, ph, failed string) {
	e := entry{Name: "evict " + t.model(l.model), Cat: "evict", Ph: ph, TS: micros(t.now), PID: devicesPID + int(l.device), ID: fmt.Sprint("e", l.id)}
	if failed != "" {
		e.Args = map[string]any{"failed": failed}
	}
	t.write(e)
}

// lost ends everything on a device that went down.
func (t *trace) lost(ev scheduler.Event, residents []scheduler.ModelID) {
	pid := devicesPID + int(ev.Device)
	for _, id := range t.order {
		if s := t.open[id]; s != nil && s.pid == pid {
			t.close(id, ev.At, "device lost")
		}
	}
	t.left(func(l leaving) bool { return l.device == ev.Device }, "device lost")
	for _, m := range residents {
		t.stayEnds(stay{ev.Device, m})
	}
	t.instant(ev, "down")
}

func (t *trace) instant(ev scheduler.Event, what string) {
	t.write(entry{Name: what, Ph: "i", S: "p", TS: micros(ev.At), PID: devicesPID + int(ev.Device), TID: linkThread})
}

// counters writes what changed during the instant that ends.
func (t *trace) counters() {
	v := t.core.View()
	for d := range t.reserved {
		if r := v.Reserved(scheduler.DeviceID(d)); r != t.reserved[d] {
			t.reserved[d] = r
			t.counter(devicesPID+d, "reserved", t.now, int64(r))
		}
	}
	for _, m := range t.changed {
		t.touched[m] = false
		if n := v.Ready(m); n != t.ready[m] {
			t.ready[m] = n
			t.counter(queuesPID, t.model(m), t.now, int64(n))
		}
	}
	t.changed = t.changed[:0]
}

// end closes what is open and the file.
func (t *trace) end() {
	t.counters()
	for _, id := range t.order {
		t.close(id, t.now, "the log ends")
	}
	t.left(func(leaving) bool { return true }, "the log ends")
	for d, device := range t.cfg.Devices {
		for m := range t.cfg.Models {
			t.stayEnds(stay{scheduler.DeviceID(d), scheduler.ModelID(m)})
		}
		t.counter(devicesPID+d, "budget", t.now, int64(device.Budget))
	}
	if t.err == nil {
		_, t.err = t.out.WriteString("\n]}\n")
	}
	if t.err == nil {
		t.err = t.out.Flush()
	}
}

func failure(value int64) string {
	switch scheduler.Failure(value) {
	case scheduler.FailureOOM:
		return "out of memory"
	case scheduler.FailureLost:
		return "lost"
	case scheduler.FailureTimeout:
		return "timeout"
	case scheduler.FailureFault:
		return "injected fault"
	}
	return "unknown"
}
