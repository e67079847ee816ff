package main

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vramsim/vramsim/scheduler"
)

// TestAlarmsSleep: each thing happens at its time, and once the alarms are
// stopped nothing does, not even what was due at that moment.
func TestAlarmsSleep(t *testing.T) {
	facts := []scheduler.Event{{At: scheduler.Second}, {At: scheduler.Second}, {At: 3 * scheduler.Second}}
	for after, want := range map[time.Duration][]int{500 * time.Millisecond: nil, 2 * time.Second: {0, 1}, 5 * time.Second: {0, 1, 2}} {
		synctest.Test(t, func(t *testing.T) {
			var a alarms
			var happened []int
			opened := time.Now()
			a.set(opened, facts, func(i int) {
				if at := time.Since(opened); at != time.Duration(facts[i].At) {
					t.Errorf("%d happens at %v", i, at)
				}
				happened = append(happened, i)
			})
			time.Sleep(after)
			a.stop()
			if !slices.Equal(happened, want) {
				t.Errorf("after %v %v have happened, want %v", after, happened, want)
			}
			time.Sleep(time.Minute)
			if len(happened) != len(want) {
				t.Errorf("%v happened after stop", happened[len(want):])
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		var a alarms
		over := false
		a.set(time.Now(), facts[:1], func(int) {
			time.Sleep(time.Second)
			over = true
		})
		time.Sleep(1500 * time.Millisecond)
		if a.stop(); !over {
			t.Error("stopped in the middle of what happens")
		}
	})
	new(alarms).stop() // of a unit that was never begun
}
