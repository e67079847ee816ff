package scheduler_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/vramsim/vramsim/scheduler"
)

// firstCome is a whole policy: it runs the model whose turn it is as soon as
// it is resident, and loads it if it is nowhere.
type firstCome struct{}

func (firstCome) Next(v *scheduler.View) scheduler.Decision {
	m := scheduler.NoModel // the model of the item that has been ready longest
	for r := v.NextReady(0); r != scheduler.NoModel; r = v.NextReady(r + 1) {
		if m == scheduler.NoModel || v.OldestSeq(r) < v.OldestSeq(m) {
			m = r
		}
	}
	switch {
	case m == scheduler.NoModel:
		return scheduler.Decision{}
	case v.Fits(0, m) > 0:
		return scheduler.Run(0, m, v.Fits(0, m))
	case v.Loadable(0, m):
		return scheduler.Load(0, m)
	}
	return scheduler.Decision{} // it is loading, or its device is busy
}

// whoeverIsIdle evicts the first model that can be evicted.
type whoeverIsIdle struct{}

func (whoeverIsIdle) Victim(v *scheduler.View, d scheduler.DeviceID, _ scheduler.Bytes, _ scheduler.ModelID) (scheduler.ModelID, bool) {
	for _, m := range v.Residents(d) {
		if v.Evictable(d, m) {
			return m, true
		}
	}
	return scheduler.NoModel, false
}

// Two models of 6 GB share a card of 8 GB.
func twoModels() scheduler.Config {
	return scheduler.Config{
		Models: []scheduler.Model{
			{Name: "whisper", Bytes: 6 * scheduler.GB, Batch: scheduler.BatchCost{Max: 4, PerItem: 100 * scheduler.Millisecond}},
			{Name: "llama", Bytes: 6 * scheduler.GB, Batch: scheduler.BatchCost{Max: 8, PerItem: 400 * scheduler.Millisecond}},
		},
		Devices: []scheduler.Device{{Name: "gpu0", Memory: 8 * scheduler.GB, Budget: 8 * scheduler.GB, Slots: 1}},
		Policy:  firstCome{},
		Evictor: whoeverIsIdle{},
	}
}

// The core has no clock: it is told what happened and says what to do.
func ExampleCore() {
	core, err := scheduler.New(twoModels())
	if err != nil {
		log.Fatal(err)
	}
	step := func(fact scheduler.Event) {
		if err := core.Step([]scheduler.Event{fact}); err != nil {
			log.Fatal(err)
		}
		for _, ev := range core.Ready() { // log these, then start the effects among them
			fmt.Println(ev.At, ev.Kind)
		}
		core.Advance()
	}
	const whisper, gpu0 = 0, 0
	step(scheduler.Event{At: 0, Kind: scheduler.ItemArrived, ID: 0, Model: whisper, Device: scheduler.NoDevice})
	// The load began with the event of sequence number 1; two seconds later it is done.
	step(scheduler.Event{At: 2 * scheduler.Second, Kind: scheduler.LoadFinished, ID: 1, Model: whisper, Device: gpu0})
	step(scheduler.Event{At: 3 * scheduler.Second, Kind: scheduler.BatchFinished, ID: 4, Model: whisper, Device: gpu0})
	fmt.Printf("%+v\n", core.Counts())
	// Output:
	// 0s item_arrived
	// 0s load_started
	// 2s load_finished
	// 2s member_dispatched
	// 2s batch_started
	// 3s batch_finished
	// {Arrived:1 Blocked:0 Ready:0 Running:0 Done:1 Failed:0 Rejected:0 Cancelled:0}
}

// A service submits items; the executor's function loads, evicts and runs the
// models when the policy says so.
func ExampleLive() {
	ctx := context.Background()
	gpu := scheduler.NewCallExecutor(func(ctx context.Context, c scheduler.Command) error {
		switch c.Op {
		case scheduler.OpLoad: // copy the weights of c.Model to the card
		case scheduler.OpEvict: // free them
		case scheduler.OpRun:
			for _, item := range c.Items {
				text := item.Payload.(*string)
				*text += ", transcribed"
			}
		}
		return nil
	})
	live, err := scheduler.NewLive(ctx, scheduler.LiveConfig{Core: twoModels(), Executors: []scheduler.Executor{gpu}})
	if err != nil {
		log.Fatal(err)
	}

	text := "a recording"
	transcript, err := live.Submit(ctx, scheduler.Request{Model: "whisper", Payload: &text})
	if err != nil {
		log.Fatal(err)
	}
	summary, err := live.Submit(ctx, scheduler.Request{
		Model:    "llama",
		After:    []*scheduler.Ticket{transcript},
		Deadline: time.Now().Add(time.Minute),
		Payload:  new(string),
	})
	if err != nil {
		log.Fatal(err)
	}
	result, err := summary.Wait(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(text)
	fmt.Println("summary", result.Status, "after", result.Attempts, "attempt")

	if err := live.Close(ctx); err != nil { // waits for what is pending
		log.Fatal(err)
	}
	// Output:
	// a recording, transcribed
	// summary done after 1 attempt
}

// Everyone who needs room on the card waits for it, first come first served.
func ExampleVRAMSemaphore() {
	card := scheduler.NewVRAMSemaphore(8 * scheduler.GB)
	ctx := context.Background()

	release, err := card.Acquire(ctx, 6*scheduler.GB)
	if err != nil {
		log.Fatal(err)
	}
	_, ok := card.TryAcquire(4 * scheduler.GB)
	fmt.Println("room for another 4 GB:", ok)
	release()
	fmt.Println("in use:", card.InUse())

	_, err = card.Acquire(ctx, 24*scheduler.GB)
	fmt.Println(err)
	// Output:
	// room for another 4 GB: false
	// in use: 0B
	// 24000000000 bytes of memory can never be acquired; the semaphore has 8000000000
}
