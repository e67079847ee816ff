package explain

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/vramsim/vramsim/scheduler"
)

// printer writes until the first error, which it keeps.
type printer struct {
	w   io.Writer
	run *Run
	err error
}

func (p *printer) linef(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

// count is a number of things, of which one is called so and several so.
func count(n int, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, several)
}

// words are those of the run.
func (p *printer) words() *Words {
	return &Words{Models: p.run.Config.Models, Devices: p.run.Config.Devices, Items: p.run.Names}
}

func (p *printer) item(id scheduler.ItemID) string { return p.words().item(id) }

// state writes the devices, the queues with something in them and the timer.
func (p *printer) state(v *scheduler.View, now scheduler.Time) {
	for d := range scheduler.DeviceID(v.Devices()) {
		p.deviceState(v, d, now)
	}
	waiting := make([]scheduler.ModelID, 0, v.Models())
	for m := range scheduler.ModelID(v.Models()) {
		if v.Ready(m)+v.Blocked(m) > 0 {
			waiting = append(waiting, m)
		}
	}
	slices.SortStableFunc(waiting, func(a, b scheduler.ModelID) int { return cmp.Compare(v.Ready(b), v.Ready(a)) })
	p.linef("  queues: %s of %d in the system", count(v.TotalReady(), "ready item", "ready items"), v.InSystem())
	for _, m := range waiting {
		text := fmt.Sprintf("    %-20s %4d ready", v.Model(m).Name, v.Ready(m))
		if v.Blocked(m) > 0 {
			text += fmt.Sprintf(", %d blocked", v.Blocked(m))
		}
		if head, ok := v.Head(m); ok {
			text += fmt.Sprintf("; the oldest has waited %v; head %s", now-v.Oldest(m), p.item(head.ID))
			if head.Deadline != scheduler.Never {
				text += fmt.Sprintf(", due at %v", head.Deadline)
			}
		}
		p.linef("%s", text)
	}
	if at, ok := v.Timer(); ok {
		p.linef("  the policy wakes at %v", at)
	}
}

func (p *printer) deviceState(v *scheduler.View, d scheduler.DeviceID, now scheduler.Time) {
	name := p.device(d)
	if !v.Up(d) {
		p.linef("  %s: down", name)
		return
	}
	p.linef("  %s: %v reserved of %v, %d of %d slots free", name, v.Reserved(d), v.Budget(d), v.FreeSlots(d), v.Slots(d))
	for i := range v.Running(d) {
		b := v.RunningBatch(d, i)
		p.linef("    runs %d of %s since %v, estimated until %v", b.N, v.Model(b.Model).Name, b.Start, b.End)
	}
	if m, end, busy := v.Link(d); busy && v.State(d, m) == scheduler.Claimed {
		p.linef("    has claimed room for %s, to load it once others have left", v.Model(m).Name)
	} else if busy {
		p.linef("    loads %s, estimated until %v", v.Model(m).Name, end)
	}
	var resident, leaving []string
	for m := range scheduler.ModelID(v.Models()) {
		switch v.State(d, m) {
		case scheduler.Resident:
			text := v.Model(m).Name
			if !v.Busy(d, m) {
				text += fmt.Sprintf(" (idle for %v)", now-v.LastUsed(d, m))
			}
			resident = append(resident, text)
		case scheduler.Evicting:
			leaving = append(leaving, v.Model(m).Name)
		}
	}
	if len(resident) > 0 {
		p.linef("    resident: %s", strings.Join(resident, ", "))
	}
	if len(leaving) > 0 {
		p.linef("    evicting: %s", strings.Join(leaving, ", "))
	}
}

func (p *printer) device(d scheduler.DeviceID) string { return p.words().device(d) }

func (p *printer) eventOrEnd(ev scheduler.Event, ended bool) string {
	if ended {
		return "has ended"
	}
	return fmt.Sprintf("at %v: %s", ev.At, p.words().Event(ev))
}

// reason says why a policy decided so, as far as codes are known.
func reason(v *scheduler.View, note scheduler.Event) string {
	switch note.ID {
	case scheduler.ReasonOverBudget:
		return fmt.Sprintf("its rule wanted more than the budget has, by %v", scheduler.Bytes(note.Value))
	case scheduler.ReasonUrgent:
		return fmt.Sprintf("urgent, the oldest item had waited %v", scheduler.Time(note.Value))
	case scheduler.ReasonFill:
		if note.Value >= 0 && note.Value < int64(v.Models()) {
			return fmt.Sprintf("to use the time while %s is on its way", v.Model(scheduler.ModelID(note.Value)).Name)
		}
	case scheduler.ReasonPrefetch:
		return "a prefetch, ahead of need"
	}
	return fmt.Sprintf("code %d, value %d", note.ID, note.Value)
}
