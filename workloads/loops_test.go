package workloads

import (
	"bytes"
	"io"
	"testing"

	"github.com/vramsim/vramsim/scheduler"
)

// A trace and a client beside it, by hand: items are numbered as they come,
// dependencies, names and service times follow, and a client whose work takes
// no time does not stop the clock.
func TestLoopsBesideATrace(t *testing.T) {
	const text = Header + `
{"id":"a","model":"x","at_ns":0,"service_ns":5}
{"id":"b","model":"x","at_ns":0,"after":["a"]}
{"id":"c","model":"x","at_ns":10,"service_ns":9,"tenant":"who"}
{"id":"d","model":"x","at_ns":20,"after":["c"]}
`
	trace, err := Open("t", func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader([]byte(text))), nil }, TraceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	trace.WithLoops([]Loop{{Name: "cl", Model: "y", Priority: -3, Until: 15}})
	if _, last := trace.Span(); !trace.Reacts() || len(trace.Models()) != 2 || last != 20 {
		t.Errorf("%v reacts %v, last %v", trace.Models(), trace.Reacts(), last)
	}
	source, closer, err := trace.Run([]string{"y", "x"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	s := source.(*loopSource)
	ends := func(at scheduler.Time, item int64) {
		s.Append([]scheduler.Event{{Kind: scheduler.MemberDispatched, ID: item}, {Kind: scheduler.BatchStarted, ID: 100 + item}, {At: at, Kind: scheduler.BatchFinished, ID: 100 + item}})
	}
	for _, step := range []struct {
		at      scheduler.Time
		names   []string
		depends int64 // on; -1: on none
		service scheduler.Time
		ended   func()
	}{
		{0, []string{"a", "b", "cl/0"}, 0, -1, func() { ends(0, 2) }}, // in no time
		{1, []string{"cl/1"}, -1, -1, func() { ends(4, 3) }},
		{4, []string{"cl/2"}, -1, -1, nil},
		{10, []string{"c"}, -1, 9, func() { ends(20, 4) }}, // too late for another
		{20, []string{"d"}, 5, -1, nil},
	} {
		if at, ok := s.NextAt(); at != step.at || !ok {
			t.Fatalf("next at %v, %v, want %v", at, ok, step.at)
		}
		events, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		depends := int64(-1)
		for _, ev := range events {
			switch ev.Kind {
			case scheduler.ItemArrived:
				names = append(names, s.ItemName(ev.Item()))
				if client := len(names[len(names)-1]) > 1; client != (ev.Model == 0) || client != (ev.Priority() == -3) || ev.At != step.at {
					t.Errorf("%+v", ev)
				}
			case scheduler.ItemDependsOn:
				depends = ev.Value
			}
		}
		if len(names) != len(step.names) || names[0] != step.names[0] || names[len(names)-1] != step.names[len(names)-1] || depends != step.depends {
			t.Errorf("at %v come %v, dependent on %d; want %+v", step.at, names, depends, step)
		}
		last := events[len(events)-1].Item()
		if got, has := s.Service(last); has != (step.service >= 0) || has && got != step.service {
			t.Errorf("at %v the service is %v, %v", step.at, got, has)
		}
		if step.ended != nil {
			step.ended()
		}
	}
	if _, err := s.Next(); err != io.EOF || s.TenantName(0) != "who" || s.ItemName(5) != "c" {
		t.Errorf("after the last: %v, %q, %q", err, s.TenantName(0), s.ItemName(5))
	}
}
