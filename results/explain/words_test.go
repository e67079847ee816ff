package explain

import (
	"testing"

	"github.com/vramsim/vramsim/scheduler"
)

type twoNames struct{}

func (twoNames) ItemName(id scheduler.ItemID) string { return [...]string{"v7/asr/0", ""}[id] }
func (twoNames) JobName(scheduler.JobID) string      { return "" }
func (twoNames) TenantName(int64) string             { return "" }

// TestWords: facts and decisions in words, with names where there are any.
func TestWords(t *testing.T) {
	w := &Words{Models: []scheduler.Model{{Name: "whisper"}}, Devices: []scheduler.Device{{Name: "gpu0"}}, Items: twoNames{}}
	for _, c := range []struct {
		ev   scheduler.Event
		want string
	}{
		{scheduler.Event{Kind: scheduler.ItemArrived}, "item v7/asr/0 of whisper arrives"},
		{scheduler.Event{Kind: scheduler.ItemCancelled, ID: 1}, "item 1 is cancelled"},
		{scheduler.Event{Kind: scheduler.LoadFinished, ID: 9}, "the load of whisper on gpu0, begun by event 9, finishes"},
		{scheduler.Event{Kind: scheduler.BatchFailed, ID: 9, Value: int64(scheduler.FailureOOM)}, "the batch of whisper on gpu0, begun by event 9, fails (out of memory)"},
		{scheduler.Event{Kind: scheduler.EvictFinished, Device: 3, Model: 8}, "the eviction of model 8 on device 3, begun by event 0, finishes"},
		{scheduler.Event{Kind: scheduler.DeviceDown}, "gpu0 is lost"},
		{scheduler.Event{Kind: scheduler.MemoryObserved, Value: 2e9}, "others hold 2GB of gpu0"},
		{scheduler.Event{Kind: scheduler.TimerFired, ID: scheduler.TimerHold}, "a hold expires"},
		{scheduler.Event{Kind: scheduler.TimerFired}, "the policy is woken"},
		{scheduler.Event{Kind: scheduler.LoadStarted, Value: 5e9, Flags: uint8(scheduler.TierHost) << 4}, "load whisper on gpu0 from host, estimated to take 5s"},
		{scheduler.Event{Kind: scheduler.ItemReadied}, "item v7/asr/0 becomes ready"},
		{scheduler.Event{Kind: scheduler.Kind(99), ID: 4}, "kind_99 4"},
	} {
		if got := w.Event(c.ev); got != c.want {
			t.Errorf("%v: %q, want %q", c.ev.Kind, got, c.want)
		}
	}
}
