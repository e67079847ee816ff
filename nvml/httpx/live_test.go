package httpx_test

import (
	"testing"

	"github.com/vramsim/vramsim/nvml/httpx"
	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/scheduler"
)

// TestLive: a service schedules two models that do not fit together on a
// server of each kind.
func TestLive(t *testing.T) {
	for _, kind := range httpx.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			models := []scheduler.Model{model("a:1", 4*mib), model("b:1", 4*mib)}
			f := newFake(t, models...)
			f.memory = 7 * mib
			e, err := httpx.New(f.serve(kind))
			if err != nil {
				t.Fatal(err)
			}
			config := scheduler.Config{Models: models, Attempts: 3, Devices: []scheduler.Device{{Name: "gpu0", Budget: f.memory, Slots: 1}}}
			built, err := policies.Builtin().New(policies.Spec{Use: "fifo"}, policies.Env{Models: config.Models, Devices: config.Devices})
			if err != nil {
				t.Fatal(err)
			}
			config.Policy, config.Evictor, config.Waits = built.Policy, built.Evictor, built.Waits
			l, err := scheduler.NewLive(bounded(t), scheduler.LiveConfig{Core: config, Executors: []scheduler.Executor{e}})
			if err != nil {
				t.Fatal(err)
			}
			var tickets []*scheduler.Ticket
			for i := range 10 {
				ticket, err := l.Submit(bounded(t), scheduler.Request{Model: models[i%2].Name})
				if err != nil {
					t.Fatal(err)
				}
				tickets = append(tickets, ticket)
			}
			for _, ticket := range tickets {
				if r, err := ticket.Wait(bounded(t)); err != nil || r.Status != scheduler.StatusDone {
					t.Errorf("%+v, %v", r, err)
				}
			}
			if err := l.Close(bounded(t)); err != nil {
				t.Error(err)
			}
			if held, err := f.inUse(); held != 0 || err != nil {
				t.Errorf("%v are held after Close (%v)", held, err)
			}
			if e.Moves() != 0 {
				t.Errorf("%d moves where nobody moved a model unasked", e.Moves())
			}
		})
	}
}
