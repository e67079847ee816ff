package fidelity

import (
	"fmt"

	"github.com/vramsim/vramsim/results/explain"
	"github.com/vramsim/vramsim/scheduler"
)

// Divergence is where the decisions of two logs first differ, and why.
type Divergence struct {
	Index     int     `json:"index"`     // which decision, from 0
	Predicted *Moment `json:"predicted"` // null: the log has no more
	Measured  *Moment `json:"measured"`
	// Cause is the first thing in which the logs differ but for their times:
	// what came before the decision.
	Cause string `json:"cause"`
}

// Moment is an event in words.
type Moment struct {
	Seq  int64          `json:"seq"`
	At   scheduler.Time `json:"at_ns"`
	What string         `json:"what"`
}

// Diverge finds the first decision in which two logs of one policy differ; nil
// if there is none.
func Diverge(w *explain.Words, predicted, measured *Run, predictedLog, measuredLog []scheduler.Event) *Divergence {
	a, b := predicted.Decisions, measured.Decisions
	i := 0
	for i < len(a) && i < len(b) && a[i].Key == b[i].Key {
		i++
	}
	if i == len(a) && i == len(b) {
		return nil
	}
	d := &Divergence{Index: i, Cause: cause(w, predictedLog, measuredLog)}
	if i < len(a) {
		d.Predicted = &Moment{a[i].Seq, a[i].Event.At, w.Event(a[i].Event)}
	}
	if i < len(b) {
		d.Measured = &Moment{b[i].Seq, b[i].Event.At, w.Event(b[i].Event)}
	}
	return d
}

// told is an event as far as it does not depend on times: completions name
// their command by its ordinal.
type told struct {
	kind   scheduler.Kind
	model  scheduler.ModelID
	device scheduler.DeviceID
	id     int64
}

// telling walks a log from one event that matters to the next.
type telling struct {
	log      []scheduler.Event
	at       int
	commands map[int64]int64
}

// next returns the next event that matters, false at the end.
func (t *telling) next() (told, scheduler.Event, bool) {
	for ; t.at < len(t.log); t.at++ {
		ev := t.log[t.at]
		switch ev.Kind {
		case scheduler.ItemJob, scheduler.ItemDeadline, scheduler.ItemWork, scheduler.ItemTenant, scheduler.ItemDependsOn,
			scheduler.TimerSet, scheduler.Note, scheduler.LoadClaimed:
			continue
		}
		t.at++
		return t.tell(ev), ev, true
	}
	return told{}, scheduler.Event{}, false
}

func (t *telling) tell(ev scheduler.Event) told {
	what := told{ev.Kind, ev.Model, ev.Device, ev.ID}
	switch ev.Kind {
	case scheduler.BatchStarted, scheduler.LoadStarted, scheduler.EvictStarted:
		what.id = int64(len(t.commands))
		t.commands[ev.ID] = what.id
	case scheduler.BatchFinished, scheduler.BatchFailed, scheduler.LoadFinished, scheduler.LoadFailed, scheduler.EvictFinished, scheduler.EvictFailed:
		what.id = t.commands[ev.ID]
	}
	return what
}

// cause compares two logs but for their times.
func cause(w *explain.Words, predicted, measured []scheduler.Event) string {
	a := &telling{log: predicted, commands: map[int64]int64{}}
	b := &telling{log: measured, commands: map[int64]int64{}}
	for {
		whatA, evA, okA := a.next()
		whatB, evB, okB := b.next()
		switch {
		case !okA && !okB:
			return "the logs tell the same in the same order"
		case okA && okB && whatA == whatB:
			continue
		case okA && okB && !evA.Kind.Fact() && !evB.Kind.Fact():
			return "the same happened in the same order, at other times: the policy goes by times or estimates"
		}
		return fmt.Sprintf("the order: in the simulation %s, on the card %s", then(w, evA, okA), then(w, evB, okB))
	}
}

// then says what came next in a log.
func then(w *explain.Words, ev scheduler.Event, ok bool) string {
	switch {
	case !ok:
		return "nothing more happened"
	case ev.Kind.Fact():
		return fmt.Sprintf("next %s (%v)", w.Event(ev), ev.At)
	}
	return fmt.Sprintf("the policy decided first, to %s (%v)", w.Event(ev), ev.At)
}
