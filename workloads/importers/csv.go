package importers

import (
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/vramsim/vramsim/workloads"
)

// Map says what the columns of a CSV mean. Columns not named are ignored.
type Map struct {
	Delimiter string  `yaml:"delimiter"` // one byte, "," if empty
	Time      TimeMap `yaml:"time"`
	Model     struct {
		Column   string `yaml:"column"`
		Const    string `yaml:"const"`
		FileName bool   `yaml:"file_name"` // the file's name without its endings
	} `yaml:"model"`
	ID       string     `yaml:"id"`
	Tenant   string     `yaml:"tenant"`
	Job      string     `yaml:"job"`
	Priority string     `yaml:"priority"`
	Deadline *ColumnMap `yaml:"deadline"`
	Tokens   struct {
		In  string `yaml:"in"`
		Out string `yaml:"out"`
	} `yaml:"tokens"`
	Service *ColumnMap `yaml:"service"`
	Drop    []DropRule `yaml:"drop"`

	jobIfPresent string // for presets whose newer files have sessions
}

// TimeMap says when an item arrives: a column, or the end minus the duration.
type TimeMap struct {
	Column   string     `yaml:"column"`
	Unit     string     `yaml:"unit"`   // ns, us, ms, s, m or h
	Layout   string     `yaml:"layout"` // instead of a unit: of Go's package time
	End      *ColumnMap `yaml:"end"`
	Duration *ColumnMap `yaml:"duration"`
}

// ColumnMap is a column with a time.
type ColumnMap struct {
	Column   string `yaml:"column"`
	Unit     string `yaml:"unit"`
	Relative bool   `yaml:"relative"` // of deadlines: counted from the arrival
}

// DropRule drops rows: When compares the column with a number, as in "<= 0".
type DropRule struct {
	Column string `yaml:"column"`
	When   string `yaml:"when"`
	Reason string `yaml:"reason"`
}

// ParseMap reads a Map from YAML, strictly.
func ParseMap(data []byte) (*Map, error) {
	m := new(Map)
	if err := yaml.UnmarshalWithOptions(data, m, yaml.Strict()); err != nil {
		return nil, &FormatError{"map: " + yaml.FormatError(err, false, true)}
	}
	return m, m.validate()
}

func (m *Map) validate() error {
	bad := func(format string, args ...any) error { return &FormatError{"map: " + fmt.Sprintf(format, args...)} }
	if len(m.Delimiter) > 1 || strings.ContainsAny(m.Delimiter, "\"\r\n") {
		return bad("the delimiter must be one byte other than a quote or line end, not %q", m.Delimiter)
	}
	t := &m.Time
	switch {
	case (t.Column == "") == (t.End == nil):
		return bad("time needs either a column or end and duration")
	case (t.End == nil) != (t.Duration == nil):
		return bad("time.end and time.duration go together")
	case t.Column != "" && (t.Unit == "") == (t.Layout == ""):
		return bad("time needs either a unit or a layout")
	}
	models := 0
	for _, given := range []bool{m.Model.Column != "", m.Model.Const != "", m.Model.FileName} {
		if given {
			models++
		}
	}
	if models != 1 {
		return bad("model needs one of column, const and file_name")
	}
	units := map[string]string{}
	if t.Layout == "" && t.Column != "" {
		units["time"] = t.Unit
	}
	for name, c := range map[string]*ColumnMap{"time.end": t.End, "time.duration": t.Duration, "deadline": m.Deadline, "service": m.Service} {
		if c != nil {
			units[name] = c.Unit
		}
	}
	for _, name := range slices.Sorted(maps.Keys(units)) {
		if _, known := timeUnits[units[name]]; !known {
			return bad("%s has the unit %q; it must be ns, us, ms, s, m or h", name, units[name])
		}
	}
	for i, d := range m.Drop {
		if _, _, ok := d.condition(); !ok || d.Column == "" || d.Reason == "" {
			return bad("drop[%d] needs a column, a reason and a condition like \"<= 0\"", i)
		}
	}
	return nil
}

var timeUnits = map[string]uint64{"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9, "m": 60e9, "h": 3600e9}

// condition splits "<= 0" into its parts.
func (d DropRule) condition() (operator string, limit int64, ok bool) {
	for _, op := range []string{"<=", ">=", "==", "!=", "<", ">"} {
		if rest, found := strings.CutPrefix(strings.TrimSpace(d.When), op); found {
			limit, err := strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
			return op, limit, err == nil
		}
	}
	return "", 0, false
}

func holds(operator string, v, limit int64) bool {
	switch operator {
	case "<=":
		return v <= limit
	case ">=":
		return v >= limit
	case "==":
		return v == limit
	case "!=":
		return v != limit
	case "<":
		return v < limit
	}
	return v > limit
}

// presets returns the maps of known files.
func presets() map[string]Map {
	model := func(column, constant string) (m Map) {
		m.Model.Column, m.Model.Const = column, constant
		return m
	}
	with := func(m Map, time TimeMap, in, out string) Map {
		m.Time, m.Tokens.In, m.Tokens.Out = time, in, out
		return m
	}
	burst := with(model("Model", ""), TimeMap{Column: "Timestamp", Unit: "s"}, "Request tokens", "Response tokens")
	burst.Drop = []DropRule{{Column: "Request tokens", When: "<= 0", Reason: "zero_input_tokens"}}
	burst.jobIfPresent = "Session ID"
	clockwork := with(model("model_id", ""), TimeMap{Column: "t", Unit: "ns"}, "", "")
	clockwork.Delimiter, clockwork.Tenant, clockwork.Deadline = "\t", "user_id", &ColumnMap{Column: "deadline", Unit: "ns", Relative: true}
	var novita Map
	novita.Model.FileName = true
	novita = with(novita, TimeMap{Column: "Timestamp", Unit: "s"}, "Prompt Len", "Output Len")
	return map[string]Map{
		"arena27":       with(model("model", ""), TimeMap{Column: "arrival_s", Unit: "s"}, "prompt_tokens", "output_tokens"),
		"azure-llm":     with(model("", "azure"), TimeMap{Column: "TIMESTAMP", Layout: "2006-01-02 15:04:05"}, "ContextTokens", "GeneratedTokens"),
		"burstgpt":      burst,
		"clockwork-tsv": clockwork,
		"novita-dir":    novita,
		"splitwise-sim": with(model("application_id", ""), TimeMap{Column: "arrival_timestamp", Unit: "s"}, "prompt_size", "token_size"),
		"vidur":         with(model("", "vidur"), TimeMap{Column: "arrived_at", Unit: "s"}, "num_prefill_tokens", "num_decode_tokens"),
	}
}

func presetNames() string {
	return strings.Join(Presets(), ", ")
}

// Presets returns the names of the known maps of the csv format.
func Presets() []string { return slices.Sorted(maps.Keys(presets())) }

func decodeCSV(d *decoding) error {
	m := d.opt.Map
	if d.opt.Preset != "" {
		preset, known := presets()[d.opt.Preset]
		if !known || m != nil {
			return &FormatError{fmt.Sprintf("the preset is %q; it must be one of %s, and stand without a map", d.opt.Preset, presetNames())}
		}
		m = &preset
	}
	if m == nil {
		return &FormatError{"csv needs a map or a preset"}
	}
	if err := m.validate(); err != nil {
		return err
	}
	if d.opt.Service.Exec {
		return &FormatError{"csv has service times only by tokens or by the map"}
	}
	if m.Tokens.In != "" {
		d.report.Extra["sum_in"] = int64(0)
	}
	if m.Tokens.Out != "" {
		d.report.Extra["sum_out"] = int64(0)
	}
	sessions := new(workloads.Names)
	if m.Job != "" || m.jobIfPresent != "" {
		d.report.Extra["sessions"] = int64(0)
	}
	return d.each(func(member string, r io.Reader) error {
		delimiter := byte(',')
		if m.Delimiter != "" {
			delimiter = m.Delimiter[0]
		}
		t, err := newTable(d.shown(member), r, delimiter)
		if err != nil {
			return err
		}
		d.place, t.rounded = t.row, d.round
		name, _, _ := strings.Cut(path.Base(member), ".")
		c := csvRows{t: t, d: d, m: m, file: name, sessions: sessions}
		return c.rows()
	})
}

type csvRows struct {
	t        *table
	d        *decoding
	m        *Map
	file     string
	sessions *workloads.Names

	// Positions of columns, -1 for those not mapped.
	at, end, duration, model, id, tenant, job, priority, deadline, in, out, service int
	drops                                                                           []int
}

func (c *csvRows) find() (err error) {
	name := func(m *ColumnMap) string {
		if m == nil {
			return ""
		}
		return m.Column
	}
	if c.m.jobIfPresent != "" && slices.Contains(c.t.header, c.m.jobIfPresent) {
		copied := *c.m
		copied.Job = c.m.jobIfPresent
		c.m = &copied
	}
	m := c.m
	for _, want := range []struct {
		to   *int
		name string
	}{{&c.at, m.Time.Column}, {&c.end, name(m.Time.End)}, {&c.duration, name(m.Time.Duration)}, {&c.model, m.Model.Column}, {&c.id, m.ID},
		{&c.tenant, m.Tenant}, {&c.job, m.Job}, {&c.priority, m.Priority}, {&c.deadline, name(m.Deadline)}, {&c.in, m.Tokens.In},
		{&c.out, m.Tokens.Out}, {&c.service, name(m.Service)}} {
		*want.to = -1
		if want.name != "" {
			if *want.to, err = c.t.column(want.name); err != nil {
				return err
			}
		}
	}
	for _, d := range m.Drop {
		i, err := c.t.column(d.Column)
		if err != nil {
			return err
		}
		c.drops = append(c.drops, i)
	}
	return nil
}

func (c *csvRows) rows() error {
	if err := c.find(); err != nil {
		return err
	}
	for {
		switch err := c.t.next(); {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		c.d.read()
		reason, err := c.dropped()
		if err == nil && reason == "" {
			err = c.row()
		}
		if err != nil {
			return err
		}
		if reason != "" {
			c.d.drop(reason)
		}
	}
}

// dropped returns why the row is dropped, "" if it is not.
func (c *csvRows) dropped() (string, error) {
	for i, d := range c.m.Drop {
		operator, limit, _ := d.condition()
		v, err := c.t.integer(c.drops[i])
		if err != nil {
			return "", err
		}
		if holds(operator, v, limit) {
			return d.Reason, nil
		}
	}
	return "", nil
}

func (c *csvRows) row() error {
	out := newRow()
	field := func(i int, otherwise string) string {
		if i < 0 {
			return otherwise
		}
		return c.t.fields[i]
	}
	out.Model = c.m.Model.Const
	if c.m.Model.FileName {
		out.Model = c.file
	}
	out.Model, out.ID, out.Tenant, out.Job = field(c.model, out.Model), field(c.id, ""), field(c.tenant, ""), field(c.job, "")
	if c.id >= 0 && out.ID == "" {
		return c.t.errorf(c.id, "the id is empty")
	}
	if c.job >= 0 && out.Job != "" {
		if _, old := c.sessions.Add(out.Job); !old {
			c.d.report.add("sessions", 1)
		}
	}
	for _, step := range []func(*row) error{c.arrival, c.numbers, c.times} {
		if err := step(&out); err != nil {
			return err
		}
	}
	return c.d.emit(&out)
}

func (c *csvRows) arrival(out *row) (err error) {
	m := &c.m.Time
	switch {
	case c.at >= 0 && m.Layout != "":
		out.At, err = c.t.date(c.at, m.Layout)
		return err
	case c.at >= 0:
		out.At, err = c.t.time(c.at, timeUnits[m.Unit])
		return err
	}
	end, err := c.t.time(c.end, timeUnits[m.End.Unit])
	if err != nil {
		return err
	}
	took, err := c.t.time(c.duration, timeUnits[m.Duration.Unit])
	if err != nil {
		return err
	}
	if took > end {
		return c.t.errorf(c.duration, "%s is longer than %s", m.Duration.Column, m.End.Column)
	}
	out.At = end - took
	return nil
}

// numbers reads the priority and the tokens.
func (c *csvRows) numbers(out *row) (err error) {
	if c.priority >= 0 {
		v, err := c.t.integer(c.priority)
		if err != nil {
			return err
		}
		if int64(int32(v)) != v {
			return c.t.errorf(c.priority, "the priority %d has more than 32 bits", v)
		}
		out.Priority = int32(v)
	}
	for _, n := range []struct {
		column int
		to     *int64
	}{{c.in, &out.in}, {c.out, &out.out}} {
		if n.column >= 0 {
			if *n.to, err = c.t.integer(n.column); err != nil {
				return err
			}
		}
	}
	return nil
}

// times reads the deadline and the service time.
func (c *csvRows) times(out *row) (err error) {
	if c.deadline >= 0 && c.t.fields[c.deadline] != "" {
		due, err := c.t.time(c.deadline, timeUnits[c.m.Deadline.Unit])
		if err != nil {
			return err
		}
		out.Deadline = due
		if !c.m.Deadline.Relative {
			out.Deadline = max(0, due-out.At)
		}
	}
	if c.service >= 0 && c.t.fields[c.service] != "" {
		out.Service, err = c.t.time(c.service, timeUnits[c.m.Service.Unit])
		return err
	}
	service, fits := c.d.opt.Service.of(out.in, out.out)
	if !fits {
		return c.t.errorf(0, "the service time of the row is too large")
	}
	out.Service = service
	return nil
}
