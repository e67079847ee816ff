package explain

import (
	"fmt"
	"strconv"

	"github.com/vramsim/vramsim/scheduler"
)

// Words says in words what events tell, with the names of a catalogue.
type Words struct {
	Models  []scheduler.Model
	Devices []scheduler.Device
	Items   scheduler.Namer // nil, or without a name: items are called by number
}

// Event says what an event tells, its time left out: of a decision what is to
// be done, of a fact what happened.
func (w *Words) Event(ev scheduler.Event) string {
	if ev.Kind.Fact() {
		return w.fact(ev)
	}
	switch ev.Kind {
	case scheduler.BatchStarted:
		return fmt.Sprintf("run %d of %s on %s, estimated to take %v", ev.Members(), w.model(ev.Model), w.device(ev.Device), ev.Estimate())
	case scheduler.LoadStarted:
		return fmt.Sprintf("load %s on %s from %v, estimated to take %v", w.model(ev.Model), w.device(ev.Device), ev.Tier(), scheduler.Time(ev.Value))
	case scheduler.LoadClaimed:
		return fmt.Sprintf("load %s on %s once there is room", w.model(ev.Model), w.device(ev.Device))
	case scheduler.EvictStarted:
		return fmt.Sprintf("evict %s from %s, %v", w.model(ev.Model), w.device(ev.Device), scheduler.Bytes(ev.Value))
	case scheduler.ItemRejected:
		return fmt.Sprintf("reject item %s (reason %d)", w.item(ev.Item()), ev.Value)
	case scheduler.ModelHeld:
		return fmt.Sprintf("hold %s on %s until %v", w.model(ev.Model), w.device(ev.Device), scheduler.Time(ev.Value))
	case scheduler.TimerSet:
		return fmt.Sprintf("wake at %v", scheduler.Time(ev.Value))
	case scheduler.MemberDispatched:
		return "dispatch item " + w.item(ev.Item())
	case scheduler.ItemReadied:
		return "item " + w.item(ev.Item()) + " becomes ready"
	}
	return fmt.Sprintf("%v %d", ev.Kind, ev.ID)
}

func (w *Words) fact(ev scheduler.Event) string {
	switch ev.Kind {
	case scheduler.ItemArrived:
		return fmt.Sprintf("item %s of %s arrives", w.item(ev.Item()), w.model(ev.Model))
	case scheduler.ItemCancelled:
		return "item " + w.item(ev.Item()) + " is cancelled"
	case scheduler.BatchFinished, scheduler.BatchFailed:
		return w.ended("batch", ev)
	case scheduler.LoadFinished, scheduler.LoadFailed:
		return w.ended("load", ev)
	case scheduler.EvictFinished, scheduler.EvictFailed:
		return w.ended("eviction", ev)
	case scheduler.DeviceUp:
		return w.device(ev.Device) + " is up"
	case scheduler.DeviceDown:
		return w.device(ev.Device) + " is lost"
	case scheduler.MemoryObserved:
		return fmt.Sprintf("others hold %v of %s", scheduler.Bytes(ev.Value), w.device(ev.Device))
	case scheduler.TimerFired:
		if ev.ID == scheduler.TimerHold {
			return "a hold expires"
		}
		return "the policy is woken"
	}
	return fmt.Sprintf("%v %d", ev.Kind, ev.ID)
}

// ended says how a command ended, of which the decision is named by its number.
func (w *Words) ended(what string, ev scheduler.Event) string {
	how := "finishes"
	switch ev.Kind {
	case scheduler.BatchFailed, scheduler.LoadFailed, scheduler.EvictFailed:
		how = fmt.Sprintf("fails (%v)", scheduler.Failure(ev.Value))
	}
	return fmt.Sprintf("the %s of %s on %s, begun by event %d, %s", what, w.model(ev.Model), w.device(ev.Device), ev.ID, how)
}

func (w *Words) model(m scheduler.ModelID) string {
	if m < 0 || int(m) >= len(w.Models) {
		return fmt.Sprintf("model %d", m)
	}
	return w.Models[m].Name
}

func (w *Words) device(d scheduler.DeviceID) string {
	if d < 0 || int(d) >= len(w.Devices) {
		return fmt.Sprintf("device %d", d)
	}
	return w.Devices[d].Name
}

// item is an item's name, or its number where it has none.
func (w *Words) item(id scheduler.ItemID) string {
	if w.Items != nil {
		if name := w.Items.ItemName(id); name != "" {
			return name
		}
	}
	return strconv.FormatInt(int64(id), 10)
}
