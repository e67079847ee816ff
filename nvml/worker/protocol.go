package worker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"
)

// Protocol is the version of the protocol that is spoken here.
const Protocol = 1

// MaxLine is the longest line in bytes, without its line feed. A longer one is
// never buffered: the worker that sends it is ended.
const MaxLine = 8 << 20

// MaxMessage is how much of an error's text is kept, in bytes.
const MaxMessage = 400

// Op is what a request asks for.
type Op string

// The requests.
const (
	OpPrepare   Op = "prepare"   // put a model's weights where loads read them from
	OpStage     Op = "stage"     // keep a pinned copy of them in host memory
	OpUnstage   Op = "unstage"   // give that copy back
	OpLoad      Op = "load"      // bring a model to the device
	OpRun       Op = "run"       // run items as one batch
	OpUnload    Op = "unload"    // make a model leave the device
	OpMem       Op = "mem"       // read memory
	OpTelemetry Op = "telemetry" // read what the device says of itself
	OpCancel    Op = "cancel"    // end another request early
	OpShutdown  Op = "shutdown"  // end
)

// The events of replies and of what a worker says by itself.
const (
	EventHello     = "hello"
	EventHeartbeat = "hb"
	EventError     = "error"
)

// answers says which event answers an operation when it succeeds.
func (o Op) answers() string {
	switch o {
	case OpPrepare:
		return "prepared"
	case OpStage:
		return "staged"
	case OpUnstage:
		return "unstaged"
	case OpLoad:
		return "loaded"
	case OpRun:
		return "ran"
	case OpUnload:
		return "unloaded"
	case OpMem:
		return "mem"
	case OpTelemetry:
		return "telemetry"
	case OpCancel:
		return "ok"
	case OpShutdown:
		return "bye"
	}
	return ""
}

// Answer returns the event that answers the operation when it succeeds, empty
// for an operation that there is not.
func (o Op) Answer() string { return o.answers() }

// The codes of errors.
const (
	CodeOOM       = "oom"        // the device is full; the worker has emptied its cache
	CodeBadOp     = "bad_op"     // there is no such operation
	CodeBadArg    = "bad_arg"    // an argument is missing or wrong
	CodeNoModel   = "no_model"   // there is no such model
	CodeNotLoaded = "not_loaded" // the model is not on the device
	CodeBusy      = "busy"       // more at once than the worker can
	CodeFailed    = "op_failed"  // whatever else went wrong
	CodeCancelled = "cancelled"  // because a cancel asked for it
	CodeTimeout   = "timeout"    // the worker gave up within timeout_ms
	CodeFatal     = "fatal"      // the context is lost: the worker has to be ended
)

// What a worker may say it can do, beside what every worker can.
const (
	CapStage     = "stage"     // stage and unstage
	CapCancel    = "cancel"    // cancel
	CapTelemetry = "telemetry" // telemetry
)

// Tiers of a load request.
const (
	FromDisk      = "disk"
	FromPageCache = "pagecache"
	FromPinned    = "pinned"
)

// Request is a line to a worker.
type Request struct {
	Op        Op     `json:"op"`
	ID        int64  `json:"id"` // above 0, rising
	TimeoutMS int64  `json:"timeout_ms,omitempty"`
	Model     string `json:"model,omitempty"`
	Tier      string `json:"tier,omitempty"`
	Warmup    bool   `json:"warmup,omitempty"`
	Items     []Item `json:"items,omitempty"`
	Target    int64  `json:"target,omitempty"` // of a cancel: the request to end
	// Of prepare: what the experiment declares of the model and the seed of
	// weights, for workers that make their models up.
	Bytes     int64 `json:"bytes,omitempty"`
	ItemBytes int64 `json:"item_bytes,omitempty"`
	Seed      int64 `json:"seed,omitempty"`
}

// Item is a member of a batch.
type Item struct {
	ID   int64 `json:"id"`
	Work int64 `json:"work"` // in millionths of an ordinary item's
	Seed int64 `json:"seed"` // of its input, not negative
}

// Reply is a line from a worker: the answer to a request, or hello or a
// heartbeat, which have no id. Which fields are set depends on the event.
type Reply struct {
	Event string `json:"ev"`
	ID    int64  `json:"id,omitempty"`
	At    int64  `json:"t_ns"` // the worker's monotonic clock

	Bytes  int64  `json:"bytes,omitempty"`
	Path   string `json:"path,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
	// Wall and Device are durations in ns as the worker has them. They may be
	// wrong; the clock of this process decides.
	Wall   int64 `json:"wall_ns,omitempty"`
	Device int64 `json:"gpu_ns,omitempty"`
	First  bool  `json:"first,omitempty"` // the first use of the model in the worker's life
	N      int64 `json:"n,omitempty"`
	// Phases are what a load consists of, in ns.
	Phases *LoadPhases `json:"phases,omitempty"`
	Memory *Memory     `json:"vram,omitempty"`

	Busy int64 `json:"busy,omitempty"` // of a heartbeat: the request that is carried out, 0 for none

	Code      string `json:"code,omitempty"`
	Retryable bool   `json:"retryable,omitempty"`
	Message   string `json:"msg,omitempty"`

	*Hello
	*Telemetry
}

// Hello is what a worker says first.
type Hello struct {
	Proto      int64             `json:"proto"`
	Worker     string            `json:"worker"` // its name
	Version    string            `json:"version"`
	PID        int64             `json:"pid"`
	GPU        Device            `json:"device"`
	Caps       []string          `json:"caps"`
	Concurrent int64             `json:"concurrent"` // requests that it can carry out at once
	Models     []Model           `json:"models"`     // that it has; none: it makes up whatever it is asked for
	Versions   map[string]string `json:"versions"`   // of its libraries
	Spawn      Spawn             `json:"spawn"`
}

// Device is what a worker computes on.
type Device struct {
	UUID  string `json:"uuid"`
	Name  string `json:"name"`
	Total int64  `json:"total"` // bytes of memory
}

// Model is one that a worker has.
type Model struct {
	Name   string `json:"name"`
	Params int64  `json:"params"`
	Bytes  int64  `json:"bytes"` // of weights, tied ones once
	DType  string `json:"dtype"`
}

// Spawn is how long a worker took to start, in ns, as it says.
type Spawn struct {
	Import  int64 `json:"import_ns"`
	Context int64 `json:"ctx_ns"`
	Total   int64 `json:"total_ns"`
}

// LoadPhases are the parts of a load, in ns; they may overlap.
type LoadPhases struct {
	Build  int64 `json:"build_ns"`
	Read   int64 `json:"read_ns"`
	Copy   int64 `json:"h2d_ns"`
	Bind   int64 `json:"bind_ns"`
	Warmup int64 `json:"warmup_ns"`
}

// Memory is what a worker says of the device's memory, in bytes; peaks are
// those of the request.
type Memory struct {
	Free          int64 `json:"free"`
	Total         int64 `json:"total"`
	Allocated     int64 `json:"allocated"`
	Reserved      int64 `json:"reserved"`
	PeakAllocated int64 `json:"peak_allocated"`
	PeakReserved  int64 `json:"peak_reserved"`
}

// Telemetry is what a worker reads of the device, for builds without NVML.
type Telemetry struct {
	Energy      int64     `json:"energy_mj"`
	Power       int64     `json:"power_mw"`
	SMClock     int64     `json:"sm_mhz"`
	MemoryClock int64     `json:"mem_mhz"`
	Reasons     int64     `json:"reasons"` // NVML's bits
	Temperature int64     `json:"temp_c"`
	Processes   []Process `json:"processes"`
}

// Process holds memory of the device.
type Process struct {
	PID   int64 `json:"pid"`
	Bytes int64 `json:"bytes"`
}

// ErrLineTooLong says that a line is longer than MaxLine.
var ErrLineTooLong = errors.New("the line is longer than 8 MiB")

// Line returns the request as a line, with its line feed. The error is
// ErrLineTooLong if no worker would take it.
func (r *Request) Line() ([]byte, error) { return line(r) }

// Line returns the reply as a line, with its line feed.
func (r *Reply) Line() ([]byte, error) { return line(r) }

func line(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if len(text) > MaxLine {
		return nil, ErrLineTooLong
	}
	return append(text, '\n'), nil
}

// ParseRequest reads a line to a worker. Unknown fields are ignored; a key
// that stands twice, a number that is no int64 and whatever is no JSON object
// is an error.
func ParseRequest(line []byte) (Request, error) {
	f, err := parse(line)
	if err != nil {
		return Request{}, err
	}
	r := Request{Op: Op(f.text("op")), ID: f.integer("id"), TimeoutMS: f.amount("timeout_ms"), Model: f.text("model"),
		Tier: f.text("tier"), Warmup: f.flag("warmup"), Target: f.amount("target"),
		Bytes: f.amount("bytes"), ItemBytes: f.amount("item_bytes"), Seed: f.amount("seed")}
	for _, i := range f.list("items") {
		r.Items = append(r.Items, Item{ID: i.integer("id"), Work: i.amount("work"), Seed: i.integer("seed")})
	}
	if *f.err == nil && (r.Op == "" || r.ID <= 0) {
		return r, errors.New("a request has an op and an id above 0")
	}
	return r, *f.err
}

// ParseReply reads a line from a worker, as strictly as ParseRequest does.
func ParseReply(line []byte) (Reply, error) {
	f, err := parse(line)
	if err != nil {
		return Reply{}, err
	}
	r := Reply{Event: f.text("ev"), ID: f.amount("id"), At: f.integer("t_ns"), Bytes: f.amount("bytes"), Path: f.text("path"),
		SHA256: f.text("sha256"), Wall: f.integer("wall_ns"), Device: f.integer("gpu_ns"), First: f.flag("first"), N: f.amount("n"),
		Busy: f.amount("busy"), Code: f.text("code"), Retryable: f.flag("retryable"), Message: shorten(f.text("msg"), MaxMessage)}
	if p := f.object("phases"); p != nil {
		r.Phases = &LoadPhases{Build: p.integer("build_ns"), Read: p.integer("read_ns"), Copy: p.integer("h2d_ns"),
			Bind: p.integer("bind_ns"), Warmup: p.integer("warmup_ns")}
	}
	if m := f.object("vram"); m != nil {
		r.Memory = &Memory{Free: m.amount("free"), Total: m.amount("total"), Allocated: m.amount("allocated"), Reserved: m.amount("reserved"),
			PeakAllocated: m.amount("peak_allocated"), PeakReserved: m.amount("peak_reserved")}
	}
	switch r.Event {
	case "":
		f.fail("a reply has no ev")
	case EventHello:
		r.Hello = f.hello()
	case OpTelemetry.answers():
		r.Telemetry = f.telemetry()
	}
	return r, *f.err
}

func (f fields) hello() *Hello {
	h := &Hello{Proto: f.amount("proto"), Worker: f.text("worker"), Version: f.text("version"), PID: f.amount("pid"),
		Caps: f.texts("caps"), Concurrent: f.amount("concurrent"), Versions: map[string]string{}}
	if d := f.object("device"); d != nil {
		h.GPU = Device{UUID: d.text("uuid"), Name: d.text("name"), Total: d.amount("total")}
	}
	for _, m := range f.list("models") {
		h.Models = append(h.Models, Model{Name: m.text("name"), Params: m.amount("params"), Bytes: m.amount("bytes"), DType: m.text("dtype")})
	}
	if v := f.object("versions"); v != nil {
		for name := range v.values {
			h.Versions[name] = v.text(name)
		}
	}
	if s := f.object("spawn"); s != nil {
		h.Spawn = Spawn{Import: s.integer("import_ns"), Context: s.integer("ctx_ns"), Total: s.integer("total_ns")}
	}
	return h
}

func (f fields) telemetry() *Telemetry {
	t := &Telemetry{Energy: f.integer("energy_mj"), Power: f.integer("power_mw"), SMClock: f.integer("sm_mhz"),
		MemoryClock: f.integer("mem_mhz"), Reasons: f.integer("reasons"), Temperature: f.integer("temp_c")}
	for _, p := range f.list("processes") {
		t.Processes = append(t.Processes, Process{PID: p.amount("pid"), Bytes: p.amount("bytes")})
	}
	return t
}

// shorten cuts a text to n bytes, between two characters.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// fields is a JSON object whose keys are read exactly as they are written:
// encoding/json takes the last of two equal keys and any case, silently. The
// first error is kept for all of a line.
type fields struct {
	values map[string]any
	err    *error
}

// depth is how deep a line may nest.
const depth = 8

func parse(line []byte) (fields, error) {
	if len(line) > MaxLine {
		return fields{}, ErrLineTooLong
	}
	if !utf8.Valid(line) {
		return fields{}, errors.New("the line is no UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	v, err := value(d, depth)
	if err != nil {
		return fields{}, err
	}
	values, ok := v.(map[string]any)
	if !ok {
		return fields{}, errors.New("the line is no JSON object")
	}
	if _, err := d.Token(); err != io.EOF {
		return fields{}, errors.New("something follows the JSON object")
	}
	return fields{values, new(error)}, nil
}

// value reads the next value.
func value(d *json.Decoder, deep int) (any, error) {
	t, err := d.Token()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("the line is no JSON: %w", err)
	}
	open, ok := t.(json.Delim)
	if !ok {
		return t, nil
	}
	if deep == 0 {
		return nil, fmt.Errorf("the line nests deeper than %d", depth)
	}
	var list []any
	object := map[string]any{}
	for d.More() {
		if open == '[' {
			v, err := value(d, deep-1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
			continue
		}
		if err := member(d, deep, object); err != nil {
			return nil, err
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, fmt.Errorf("the line is no JSON: %w", err)
	}
	if open == '[' {
		return list, nil
	}
	return object, nil
}

// member reads the next key of an object, and its value.
func member(d *json.Decoder, deep int, object map[string]any) error {
	t, err := d.Token()
	if err != nil {
		return fmt.Errorf("the line is no JSON: %w", err)
	}
	key := t.(string)
	if _, twice := object[key]; twice {
		return fmt.Errorf("the key %q stands twice", shorten(key, 40))
	}
	object[key], err = value(d, deep-1)
	return err
}

func (f fields) fail(format string, args ...any) {
	if *f.err == nil {
		*f.err = fmt.Errorf(format, args...)
	}
}

// text returns a string, empty if it is absent or null.
func (f fields) text(name string) string {
	v := f.values[name]
	s, ok := v.(string)
	if v != nil && !ok {
		f.fail("%s is no string", name)
	}
	return s
}

// flag returns a boolean, false if it is absent.
func (f fields) flag(name string) bool {
	v := f.values[name]
	b, ok := v.(bool)
	if v != nil && !ok {
		f.fail("%s is neither true nor false", name)
	}
	return b
}

// integer returns an int64, 0 if it is absent. What is no integer is an error,
// 1.0 and 1e3 too.
func (f fields) integer(name string) int64 {
	v := f.values[name]
	if v == nil {
		return 0
	}
	n, ok := v.(json.Number)
	if !ok {
		f.fail("%s is no number", name)
		return 0
	}
	i, err := strconv.ParseInt(n.String(), 10, 64)
	if err != nil {
		f.fail("%s is no 64-bit integer", name)
	}
	return i
}

// amount returns an integer that cannot be negative.
func (f fields) amount(name string) int64 {
	i := f.integer(name)
	if i < 0 {
		f.fail("%s is negative", name)
	}
	return i
}

// object returns an object, nil if it is absent.
func (f fields) object(name string) *fields {
	v := f.values[name]
	if v == nil {
		return nil
	}
	values, ok := v.(map[string]any)
	if !ok {
		f.fail("%s is no object", name)
	}
	return &fields{values, f.err}
}

// list returns the objects of a list.
func (f fields) list(name string) (all []fields) {
	v := f.values[name]
	elements, ok := v.([]any)
	if v != nil && !ok {
		f.fail("%s is no list", name)
	}
	for _, e := range elements {
		values, ok := e.(map[string]any)
		if !ok {
			f.fail("%s holds something that is no object", name)
		}
		all = append(all, fields{values, f.err})
	}
	return all
}

// texts returns the strings of a list.
func (f fields) texts(name string) (all []string) {
	v := f.values[name]
	elements, ok := v.([]any)
	if v != nil && !ok {
		f.fail("%s is no list", name)
	}
	for _, e := range elements {
		s, ok := e.(string)
		if !ok {
			f.fail("%s holds something that is no string", name)
		}
		all = append(all, s)
	}
	return all
}
