package scheduler_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/scheduler"
)

var rewrite = flag.Bool("rewrite", false, "write what the scenarios print into testdata")

// TestScenarios runs the scripts of testdata. A script is a list of commands,
// each with what it prints after a line of dashes:
//
//	core              the machine, a line each: model NAME BYTES [load=N] [host=N] [batch=N] [memory=N],
//	                  device BUDGET [slots=N], attempts N, host BYTES, evictor lru|NAME...
//	step TIME         facts, then decisions, a line each; prints the events
//	                  facts: arrive MODEL [priority=N] [after=ID,...] [work=N] [due=N] [job=N], cancel ID, up D, down D,
//	                  foreign D BYTES, timer policy|hold, batch|load|evict done|failed D MODEL
//	                  decisions: run D MODEL N, load D MODEL, evict D MODEL, hold D MODEL TIME|never, wake TIME, reject ID CODE
//	show              prints devices, queues and counts
//	end               says that nothing comes any more; prints the error, if any
//
// Both replays run after every script.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			script, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := play(string(script))
			if err != nil {
				t.Fatal(err)
			}
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(script) {
				t.Errorf("prints other than the script says (go test -run TestScenarios -rewrite takes it over):\n%s", firstDifference(string(script), got))
			}
		})
	}
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			return fmt.Sprintf("line %d: want %q\n got %q", i+1, w[i], g[i])
		}
	}
	return fmt.Sprintf("%d lines instead of %d", len(g), len(w))
}

const dashes = "----\n"

// play runs a script and returns it with what its commands print.
func play(script string) (string, error) {
	var out bytes.Buffer
	s := &stage{}
	for _, part := range strings.SplitAfter(script, "\n\n") {
		input, _, _ := strings.Cut(part, dashes)
		input = strings.TrimRight(input, "\n") + "\n"
		printed, err := s.command(input)
		if err != nil {
			return "", fmt.Errorf("%w in\n%s\nafter\n%s", err, input, out.String())
		}
		out.WriteString(input)
		if printed != nothing {
			out.WriteString(dashes + printed)
		}
		out.WriteString("\n")
	}
	if err := s.replay(); err != nil {
		return "", err
	}
	return strings.TrimRight(out.String(), "\n") + "\n", nil
}

const nothing = "\x00" // of a comment

// stage is a scenario being played.
type stage struct {
	cfg     scheduler.Config
	core    *scheduler.Core
	policy  *prompter
	names   map[string]scheduler.ModelID
	arrived int64
	flights []scheduler.Event
	log     []scheduler.Event
	asked   []scheduler.Decision // all that the policy answered
}

// prompter decides as it is told, step by step.
type prompter struct{ lines []scheduler.Decision }

func (p *prompter) Next(*scheduler.View) scheduler.Decision {
	if len(p.lines) == 0 {
		return scheduler.Decision{}
	}
	d := p.lines[0]
	p.lines = p.lines[1:]
	return d
}

// inTurn offers models in a fixed order, those that may leave.
type inTurn []scheduler.ModelID

func (e inTurn) Victim(v *scheduler.View, d scheduler.DeviceID, _ scheduler.Bytes, _ scheduler.ModelID) (scheduler.ModelID, bool) {
	for _, m := range e {
		if v.Evictable(d, m) {
			return m, true
		}
	}
	return scheduler.NoModel, false
}

func (s *stage) command(input string) (string, error) {
	var lines [][]string
	for _, line := range strings.Split(input, "\n") {
		line, _, _ = strings.Cut(line, "#")
		if words := strings.Fields(line); len(words) > 0 {
			lines = append(lines, words)
		}
	}
	if len(lines) == 0 {
		return nothing, nil
	}
	switch head := lines[0]; head[0] {
	case "core":
		return "", s.open(lines[1:])
	case "step":
		at, err := strconv.ParseInt(head[1], 10, 64)
		if err != nil {
			return "", err
		}
		return s.step(scheduler.Time(at), lines[1:])
	case "show":
		return s.show(), nil
	case "end":
		if err := s.core.End(); err != nil {
			return err.Error() + "\n", nil
		}
		return "", nil
	}
	return "", fmt.Errorf("unknown command %q", lines[0][0])
}

// options splits words into those without and those with an equals sign.
func options(words []string) (plain []string, values map[string]string) {
	values = map[string]string{}
	for _, w := range words {
		if name, value, ok := strings.Cut(w, "="); ok {
			values[name] = value
		} else {
			plain = append(plain, w)
		}
	}
	return plain, values
}

func number(text string, otherwise int64) int64 {
	if text == "" {
		return otherwise
	}
	if text == "never" {
		return int64(scheduler.Never)
	}
	n, err := strconv.ParseInt(strings.TrimPrefix(text, "d"), 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func (s *stage) open(lines [][]string) error {
	s.names = map[string]scheduler.ModelID{}
	s.cfg = scheduler.Config{Checked: true, Waits: true}
	for _, line := range lines {
		words, o := options(line)
		switch words[0] {
		case "model":
			s.names[words[1]] = scheduler.ModelID(len(s.cfg.Models))
			s.cfg.Models = append(s.cfg.Models, scheduler.Model{Name: words[1], Bytes: scheduler.Bytes(number(words[2], 0)),
				Load:  [scheduler.Tiers]scheduler.Time{scheduler.Time(number(o["load"], 5)), scheduler.Time(number(o["host"], 1))},
				Batch: scheduler.BatchCost{Max: int(number(o["batch"], 1)), Memory: scheduler.Bytes(number(o["memory"], 0)), PerItem: 1}})
		case "device":
			s.cfg.Devices = append(s.cfg.Devices, scheduler.Device{Budget: scheduler.Bytes(number(words[1], 0)), Slots: int(number(o["slots"], 1))})
		case "attempts":
			s.cfg.Attempts = int(number(words[1], 0))
		case "host":
			s.cfg.HostMemory = scheduler.Bytes(number(words[1], 0))
		case "evictor":
			if words[1] == "lru" {
				s.cfg.Evictor = choosers(0)[1]
				break
			}
			turns := inTurn{}
			for _, name := range words[1:] {
				turns = append(turns, s.names[name])
			}
			s.cfg.Evictor = turns
		default:
			return fmt.Errorf("unknown line %q", line)
		}
	}
	var err error
	s.policy = &prompter{}
	s.core, err = scheduler.New(s.config(s.policy))
	return err
}

func (s *stage) config(p scheduler.Policy) scheduler.Config {
	cfg := s.cfg
	cfg.Policy = p
	return cfg
}

func (s *stage) step(at scheduler.Time, lines [][]string) (string, error) {
	var facts []scheduler.Event
	for _, line := range lines {
		if d, ok := s.decision(line); ok {
			s.policy.lines = append(s.policy.lines, d)
			continue
		}
		evs, err := s.fact(line)
		if err != nil {
			return "", err
		}
		for _, ev := range evs {
			ev.At = at
			facts = append(facts, ev)
		}
	}
	decisions := append(s.policy.lines, scheduler.Decision{})
	stepErr := s.core.Step(facts)
	if stepErr == nil {
		s.asked, s.log = append(s.asked, decisions...), append(s.log, s.core.Ready()...)
	}
	var out strings.Builder
	for _, ev := range s.core.Ready() {
		switch ev.Kind {
		case scheduler.BatchStarted, scheduler.LoadStarted, scheduler.EvictStarted:
			s.flights = append(s.flights, ev)
		case scheduler.DeviceDown:
			s.flights = slices.DeleteFunc(s.flights, func(f scheduler.Event) bool { return f.Device == ev.Device })
		}
		fmt.Fprintln(&out, s.tell(ev))
	}
	s.core.Advance()
	if stepErr != nil {
		fmt.Fprintf(&out, "error: %v\n", stepErr)
	}
	return out.String(), nil
}

func (s *stage) decision(words []string) (scheduler.Decision, bool) {
	device := func() scheduler.DeviceID { return scheduler.DeviceID(number(words[1], 0)) }
	switch words[0] {
	case "run":
		return scheduler.Run(device(), s.names[words[2]], int(number(words[3], 0))), true
	case "load":
		if words[1] != "done" && words[1] != "failed" {
			return scheduler.Load(device(), s.names[words[2]]), true
		}
	case "evict":
		if words[1] != "done" && words[1] != "failed" {
			return scheduler.Evict(device(), s.names[words[2]]), true
		}
	case "hold":
		return scheduler.Hold(device(), s.names[words[2]], scheduler.Time(number(words[3], 0))), true
	case "wake":
		return scheduler.Wake(scheduler.Time(number(words[1], 0))), true
	case "reject":
		return scheduler.Reject(scheduler.ItemID(number(words[1], 0)), number(words[2], 0)), true
	}
	return scheduler.Decision{}, false
}

func (s *stage) fact(line []string) ([]scheduler.Event, error) {
	words, o := options(line)
	ev := scheduler.Event{Model: scheduler.NoModel, Device: scheduler.NoDevice}
	switch words[0] {
	case "arrive":
		return s.arrival(s.names[words[1]], o), nil
	case "cancel":
		ev.Kind, ev.ID = scheduler.ItemCancelled, number(words[1], 0)
	case "up", "down", "foreign":
		ev.Kind = map[string]scheduler.Kind{"up": scheduler.DeviceUp, "down": scheduler.DeviceDown, "foreign": scheduler.MemoryObserved}[words[0]]
		ev.Device = scheduler.DeviceID(number(words[1], 0))
		if ev.Kind == scheduler.MemoryObserved {
			ev.Value = number(words[2], 0)
		}
	case "timer":
		ev.Kind = scheduler.TimerFired
		if words[1] == "hold" {
			ev.ID = scheduler.TimerHold
		}
	case "batch", "load", "evict":
		return s.ending(words)
	default:
		return nil, fmt.Errorf("unknown line %q", line)
	}
	return []scheduler.Event{ev}, nil
}

func (s *stage) arrival(m scheduler.ModelID, o map[string]string) []scheduler.Event {
	evs := []scheduler.Event{{Kind: scheduler.ItemArrived, Model: m}}
	for _, a := range []struct {
		name string
		kind scheduler.Kind
	}{{"job", scheduler.ItemJob}, {"due", scheduler.ItemDeadline}, {"work", scheduler.ItemWork}, {"after", scheduler.ItemDependsOn}} {
		if o[a.name] == "" {
			continue
		}
		for _, value := range strings.Split(o[a.name], ",") {
			evs = append(evs, scheduler.Event{Kind: a.kind, Model: scheduler.NoModel, Value: number(value, 0)})
		}
	}
	for i := range evs {
		evs[i].ID, evs[i].Device = s.arrived, scheduler.NoDevice
	}
	evs[0].Value = scheduler.PackArrival(int32(number(o["priority"], 0)), len(evs)-1)
	s.arrived++
	return evs
}

// ending ends the oldest effect of a kind for a model on a device.
func (s *stage) ending(words []string) ([]scheduler.Event, error) {
	begun := map[string]scheduler.Kind{"batch": scheduler.BatchStarted, "load": scheduler.LoadStarted, "evict": scheduler.EvictStarted}[words[0]]
	finished, failed := outcome(begun)
	for i, f := range s.flights {
		if f.Kind == begun && f.Device == scheduler.DeviceID(number(words[2], 0)) && f.Model == s.names[words[3]] {
			s.flights = append(s.flights[:i], s.flights[i+1:]...)
			ev := scheduler.Event{Kind: finished, ID: f.ID, Model: f.Model, Device: f.Device}
			if words[1] == "failed" {
				ev.Kind, ev.Value = failed, int64(scheduler.FailureOOM)
			}
			return []scheduler.Event{ev}, nil
		}
	}
	return nil, fmt.Errorf("nothing of the kind is in flight")
}

// tell prints an event.
func (s *stage) tell(ev scheduler.Event) string {
	text := ev.Kind.String()
	where := func() string { return fmt.Sprintf(" d%d %s", ev.Device, s.cfg.Models[ev.Model].Name) }
	switch ev.Kind {
	case scheduler.ItemArrived:
		text += fmt.Sprintf(" %d %s priority %d", ev.ID, s.cfg.Models[ev.Model].Name, ev.Priority())
	case scheduler.ItemDependsOn, scheduler.ItemJob, scheduler.ItemDeadline, scheduler.ItemWork, scheduler.DependantCancelled, scheduler.ItemRejected:
		text += fmt.Sprintf(" %d: %d", ev.ID, ev.Value)
	case scheduler.ItemCancelled, scheduler.ItemReadied, scheduler.ItemFailed:
		text += fmt.Sprintf(" %d", ev.ID)
	case scheduler.MemberDispatched:
		text += where() + fmt.Sprintf(" %d", ev.ID)
	case scheduler.BatchStarted:
		text += where() + fmt.Sprintf(" of %d, takes %d", ev.Members(), ev.Estimate())
	case scheduler.LoadClaimed:
		text += where() + fmt.Sprintf(" %d bytes", ev.Value)
	case scheduler.LoadStarted:
		text += where() + fmt.Sprintf(" from %v, takes %d", ev.Tier(), ev.Estimate())
	case scheduler.ModelHeld:
		text += where() + " until " + until(ev.Value)
	case scheduler.TimerSet:
		text += fmt.Sprintf(" %s at %d", []string{"policy", "hold"}[ev.ID], ev.Value)
	case scheduler.TimerFired:
		text += " " + []string{"policy", "hold"}[ev.ID]
	case scheduler.DeviceDown, scheduler.DeviceUp:
		text += fmt.Sprintf(" d%d", ev.Device)
	case scheduler.MemoryObserved:
		text += fmt.Sprintf(" d%d %d bytes", ev.Device, ev.Value)
	default:
		text += where()
	}
	return text
}

func until(at int64) string {
	if at == int64(scheduler.Never) {
		return "never"
	}
	return strconv.FormatInt(at, 10)
}

func (s *stage) show() string {
	var out strings.Builder
	v := s.core.View()
	for d := range scheduler.DeviceID(v.Devices()) {
		fmt.Fprintf(&out, "d%d: %d of %d bytes reserved, %d free", d, v.Reserved(d), v.Budget(d), v.Headroom(d))
		if !v.Up(d) {
			out.WriteString(", down")
		}
		for _, m := range v.Residents(d) {
			fmt.Fprintf(&out, "; %s %v", v.Model(m).Name, v.State(d, m))
			if v.Busy(d, m) {
				out.WriteString(" and busy")
			}
		}
		out.WriteString("\n")
	}
	for m := range scheduler.ModelID(v.Models()) {
		if v.Ready(m)+v.Blocked(m) > 0 {
			fmt.Fprintf(&out, "%s: ready", v.Model(m).Name)
			v.Each(m, func(it scheduler.Item) bool { fmt.Fprintf(&out, " %d", it.ID); return true })
			fmt.Fprintf(&out, ", %d blocked\n", v.Blocked(m))
		}
	}
	fmt.Fprintf(&out, "%+v\n", s.core.Counts())
	return out.String()
}

// replay runs both replays over what the script made.
func (s *stage) replay() error {
	return scheduler.Replay(s.config(&prompter{s.asked}), s.config(&prompter{}), s.log)
}
