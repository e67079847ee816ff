package explain

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
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

// item is an item's name, or its number where it has none.
func (p *printer) item(id scheduler.ItemID) string {
	if p.run.Names != nil {
		if name := p.run.Names.ItemName(id); name != "" {
			return name
		}
	}
	return strconv.FormatInt(int64(id), 10)
}

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

func (p *printer) device(d scheduler.DeviceID) string { return p.run.Config.Devices[d].Name }

// decision says in words what a decision event does.
func (p *printer) decision(v *scheduler.View, ev scheduler.Event) string {
	model := func() string { return v.Model(ev.Model).Name }
	switch ev.Kind {
	case scheduler.BatchStarted:
		return fmt.Sprintf("run %d of %s on %s, estimated to take %v", ev.Members(), model(), p.device(ev.Device), ev.Estimate())
	case scheduler.LoadStarted:
		return fmt.Sprintf("load %s on %s from %v, estimated to take %v", model(), p.device(ev.Device), ev.Tier(), scheduler.Time(ev.Value))
	case scheduler.LoadClaimed:
		return fmt.Sprintf("load %s on %s once there is room", model(), p.device(ev.Device))
	case scheduler.EvictStarted:
		return fmt.Sprintf("evict %s from %s, %v", model(), p.device(ev.Device), scheduler.Bytes(ev.Value))
	case scheduler.ItemRejected:
		return fmt.Sprintf("reject item %s (reason %d)", p.item(ev.Item()), ev.Value)
	case scheduler.ModelHeld:
		return fmt.Sprintf("hold %s on %s until %v", model(), p.device(ev.Device), scheduler.Time(ev.Value))
	case scheduler.TimerSet:
		return fmt.Sprintf("wake at %v", scheduler.Time(ev.Value))
	case scheduler.MemberDispatched:
		return "dispatch item " + p.item(ev.Item())
	}
	return fmt.Sprintf("%v %d", ev.Kind, ev.ID)
}

func (p *printer) eventOrEnd(v *scheduler.View, ev scheduler.Event, ended bool) string {
	if ended {
		return "has ended"
	}
	return fmt.Sprintf("at %v: %s", ev.At, p.decision(v, ev))
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
