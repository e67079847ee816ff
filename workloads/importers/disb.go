package importers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/random"
	"github.com/vramsim/vramsim/workloads"
	"github.com/vramsim/vramsim/workloads/decimal"
)

// disbFile is a DISB workload: tasks that send requests for some seconds.
type disbFile struct {
	Time  number     `json:"time"`
	Tasks []disbTask `json:"tasks"`
}

type disbTask struct {
	ID   string `json:"id"`
	Load struct {
		Type      string   `json:"type"`
		Frequency number   `json:"frequency"`
		Priority  int32    `json:"priority"`
		Trace     []number `json:"trace"`
		Previous  []string `json:"prev_task_ids"`
	} `json:"load"`
	Client struct {
		Model string `json:"model_name"`
	} `json:"client"`

	index int // in the file
	times []scheduler.Time
	known bool // times are
}

const (
	maxDISB      = 64 << 20  // bytes of a file
	maxDISBItems = 1_000_000 // that its loads may come to
)

// decodeDISB reads a DISB workload. Loads of type trace and periodic, seeded
// poisson, and dependent are exported; a continuous one is a closed loop, which
// only Open runs.
func decodeDISB(d *decoding) error {
	if d.opt.Stale != "" && d.opt.Stale != "drop" {
		return &FormatError{fmt.Sprintf("stale is %q; it may be drop", d.opt.Stale)}
	}
	if c := d.opt.Continuous; c != "" && c != "run" && c != "skip" {
		return &FormatError{fmt.Sprintf("continuous is %q; it may be run or skip", c)}
	}
	d.report.loops = nil
	return d.each(func(member string, r io.Reader) error {
		data, err := io.ReadAll(io.LimitReader(r, maxDISB+1))
		if err != nil {
			return fmt.Errorf("%s: %w", member, err)
		}
		b := disb{d: d, file: d.shown(member), byID: map[string]int{}}
		if len(data) > maxDISB {
			return &workloads.TraceError{File: b.file, What: fmt.Sprintf("the file is larger than %d bytes", maxDISB)}
		}
		d.place = func(what string) error { return b.errorf(b.now, "%s", what) }
		if err := b.parse(bytes.TrimPrefix(data, []byte("\ufeff"))); err != nil {
			return err
		}
		return b.emit()
	})
}

type disb struct {
	d     *decoding
	file  string
	data  []byte
	tasks []disbTask
	byID  map[string]int
	now   *disbTask // whose requests are emitted
	until scheduler.Time
	items int
}

// errorf returns an error at a value of a task, or at the task.
func (b *disb) errorf(t *disbTask, format string, args ...any) error {
	return b.at(t, nil, format, args...)
}

func (b *disb) at(t *disbTask, below []any, format string, args ...any) error {
	path := append([]any{"tasks", t.index}, below...)
	return errorAt(b.file, b.data, locate(b.data, path...), format, args...)
}

func (b *disb) parse(data []byte) error {
	b.data = data
	fail := func(offset int64, format string, args ...any) error {
		return errorAt(b.file, data, offset, format, args...)
	}
	switch {
	case len(bytes.TrimSpace(data)) == 0:
		return &workloads.TraceError{File: b.file, What: "the file is empty"}
	case len(data) > 1 && (bytes.HasPrefix(data, []byte{0xff, 0xfe}) || bytes.HasPrefix(data, []byte{0xfe, 0xff}) || (data[0] == 0) != (data[1] == 0)):
		return &workloads.TraceError{File: b.file, Line: 1, Column: 1, What: "this is UTF-16; UTF-8 is expected"}
	}
	in := json.NewDecoder(bytes.NewReader(data))
	var file disbFile
	if err := in.Decode(&file); err != nil {
		var syntax *json.SyntaxError
		var kind *json.UnmarshalTypeError
		switch {
		case errors.As(err, &syntax):
			return fail(syntax.Offset-1, "%s", syntax.Error())
		case errors.As(err, &kind):
			return fail(kind.Offset-1, "%s is a %s; %v is expected", kind.Field, kind.Value, kind.Type)
		}
		return fail(int64(len(data)), "the JSON is cut off: %v", err)
	}
	if rest := bytes.TrimSpace(data[in.InputOffset():]); len(rest) > 0 {
		return fail(int64(len(data)-len(rest)), "something stands after the end of the object")
	}
	if key, offset, twice := repeated(data); twice {
		return fail(offset, "the key %q stands there twice", key)
	}
	if len(file.Tasks) == 0 {
		return fail(locate(data, "tasks"), "there are no tasks")
	}
	until, _, err := decimal.Scaled(string(file.Time), 1e9)
	if err != nil {
		return fail(locate(data, "time"), "time is %q; a number of seconds is expected", file.Time)
	}
	b.tasks, b.until = file.Tasks, scheduler.Time(until)
	return b.check(file.Time)
}

// check names the tasks and fills in the report.
func (b *disb) check(seconds number) error {
	types, models := map[string]int64{}, map[string]bool{}
	for i := range b.tasks {
		t := &b.tasks[i]
		if t.ID == "" {
			t.ID = "task" + strconv.Itoa(i)
		}
		t.index = i
		if other, taken := b.byID[t.ID]; taken {
			return b.at(t, []any{"id"}, "the id %q is that of task %d, too", t.ID, other)
		}
		b.byID[t.ID] = i
		if t.Client.Model == "" {
			return b.at(t, []any{"client", "model_name"}, "the task %q has no client.model_name", t.ID)
		}
		types[t.Load.Type]++
		models[t.Client.Model] = true
	}
	extra := b.d.report.Extra
	extra["tasks"], extra["load_types"], extra["time_s"], extra["n_models"] = int64(len(b.tasks)), types, json.Number(seconds), int64(len(models))
	b.d.report.NotExported, b.d.report.skipped = nil, nil
	return nil
}

func (b *disb) emit() error {
	for i := range b.tasks {
		t := &b.tasks[i]
		b.now = t
		if t.Load.Type == "continuous" {
			b.d.report.NotExported = append(b.d.report.NotExported, fmt.Sprintf("task %q: a continuous load depends on what is executed", t.ID))
			if b.d.opt.Continuous == "skip" {
				b.d.report.skipped = append(b.d.report.skipped, t.ID)
			} else {
				b.loop(t)
			}
			continue
		}
		if err := b.resolve(t, nil); err != nil {
			return err
		}
		if b.d.opt.Stale != "" {
			if t.Load.Type == "dependent" {
				return &FormatError{fmt.Sprintf("stale: the task %q is dependent: it would wait for requests that are dropped", t.ID)}
			}
			slices.Sort(t.times)
			b.loop(t)
			continue
		}
		for k, at := range t.times {
			out := newRow()
			out.ID, out.Model, out.At, out.Priority = t.ID+"/"+strconv.Itoa(k), t.Client.Model, at, t.Load.Priority
			for _, p := range t.Load.Previous {
				out.After = append(out.After, p+"/"+strconv.Itoa(k))
			}
			b.d.read()
			if err := b.d.emit(&out); err != nil {
				return err
			}
		}
	}
	return nil
}

// loop makes a task a client that waits for the end of its requests.
func (b *disb) loop(t *disbTask) {
	b.d.report.loops = append(b.d.report.loops, workloads.Loop{Name: t.ID, Model: t.Client.Model, Priority: t.Load.Priority, Times: t.times, Until: b.until})
}

// resolve computes when the requests of a task arrive; waiting are the tasks
// that depend on it.
func (b *disb) resolve(t *disbTask, waiting []string) (err error) {
	if t.known {
		return nil
	}
	if t.Load.Type != "dependent" && len(t.Load.Previous) > 0 {
		return b.errorf(t, "the task %q has prev_task_ids but is %s", t.ID, t.Load.Type)
	}
	switch t.Load.Type {
	case "trace":
		t.times, err = b.recorded(t)
	case "periodic":
		t.times, err = b.periodic(t)
	case "poisson":
		t.times, err = b.poisson(t)
	case "dependent":
		t.times, err = b.dependent(t, append(waiting, t.ID))
	default:
		err = b.at(t, []any{"load", "type"}, "the task %q has the load type %q; trace, periodic, poisson, dependent and continuous are known", t.ID, t.Load.Type)
	}
	if b.items += len(t.times); err == nil && b.items > maxDISBItems {
		err = b.errorf(t, "the tasks send more than %d requests", maxDISBItems)
	}
	t.known = true
	return err
}

// recorded are integer milliseconds; those after time are kept.
func (b *disb) recorded(t *disbTask) ([]scheduler.Time, error) {
	var times []scheduler.Time
	for i, n := range t.Load.Trace {
		at, _, err := decimal.Scaled(string(n), 1e6)
		if err != nil || strings.ContainsAny(string(n), ".eE") {
			return nil, b.at(t, []any{"load", "trace", i}, "the task %q has %s at trace[%d]; integer milliseconds are expected", t.ID, shortened(string(n)), i)
		}
		times = append(times, scheduler.Time(at))
	}
	return times, nil
}

func shortened(text string) string { return strings.ToValidUTF8(text[:min(len(text), 40)], "") }

// perSecond returns the frequency in billionths.
func (b *disb) perSecond(t *disbTask) (uint64, error) {
	f, exact, err := decimal.Scaled(string(t.Load.Frequency), 1e9)
	if err != nil || !exact || f == 0 || f > 1e18 {
		return 0, b.at(t, []any{"load", "frequency"}, "the task %q has the frequency %q; a positive number of requests per second is expected", t.ID, t.Load.Frequency)
	}
	return uint64(f), nil
}

// periodic requests come every ⌊10⁹/f⌋ ns from 0 until time.
func (b *disb) periodic(t *disbTask) ([]scheduler.Time, error) {
	f, err := b.perSecond(t)
	if err != nil {
		return nil, err
	}
	hi, lo := bits.Mul64(1e9, 1e9)
	if hi >= f {
		return []scheduler.Time{0}[:min(1, int(b.until))], nil
	}
	gap, _ := bits.Div64(hi, lo, f)
	if gap == 0 || uint64(b.until)/gap > maxDISBItems {
		return nil, b.errorf(t, "the task %q sends more than %d requests", t.ID, maxDISBItems)
	}
	var times []scheduler.Time
	for at := uint64(0); at < uint64(b.until); at += gap {
		times = append(times, scheduler.Time(at))
	}
	return times, nil
}

// poisson requests are keyed by seed and task.
func (b *disb) poisson(t *disbTask) ([]scheduler.Time, error) {
	f, err := b.perSecond(t)
	if err != nil {
		return nil, err
	}
	gaps, err := random.Exponential(1e18 / float64(f))
	if err != nil {
		return nil, b.errorf(t, "the task %q: %v", t.ID, err)
	}
	key := random.Key(b.d.opt.Seed, random.Hash("disb"), random.Hash(t.ID))
	var times []scheduler.Time
	at := scheduler.Time(0)
	for k := uint64(0); k <= maxDISBItems; k++ {
		next, fits := scheduler.AddTime(at, scheduler.Time(random.Round(gaps.Quantile(random.Uniform(random.Key(key, k))))))
		if at = next; !fits || at >= b.until {
			return times, nil
		}
		times = append(times, at)
	}
	return times, nil
}

// dependent requests arrive with the last of the k-th requests they wait for.
func (b *disb) dependent(t *disbTask, waiting []string) ([]scheduler.Time, error) {
	if len(t.Load.Previous) == 0 {
		return nil, b.errorf(t, "the task %q is dependent but has no prev_task_ids", t.ID)
	}
	var times []scheduler.Time
	for i, id := range t.Load.Previous {
		at, known := b.byID[id]
		switch {
		case !known:
			return nil, b.at(t, []any{"load", "prev_task_ids", i}, "the task %q waits for %q, which is not there", t.ID, id)
		case slices.Contains(waiting, id):
			return nil, b.at(t, []any{"load", "prev_task_ids", i}, "tasks wait for each other: %s", strings.Join(append(waiting, id), " after "))
		case slices.Contains(t.Load.Previous[:i], id):
			return nil, b.at(t, []any{"load", "prev_task_ids", i}, "the task %q waits for %q twice", t.ID, id)
		case b.tasks[at].Load.Type == "continuous":
			return nil, b.at(t, []any{"load", "prev_task_ids", i}, "the task %q waits for %q, which depends on what is executed", t.ID, id)
		}
		previous := &b.tasks[at]
		if err := b.resolve(previous, waiting); err != nil {
			return nil, err
		}
		if i == 0 {
			times = slices.Clone(previous.times)
			continue
		}
		times = times[:min(len(times), len(previous.times))]
		for k := range times {
			times[k] = max(times[k], previous.times[k])
		}
	}
	return times, nil
}
