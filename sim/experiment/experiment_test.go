package experiment

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/scheduler"
)

const mm1 = `version: 1
name: mm1
seed: 1
replicates: 20
hardware: {host_memory: 0B, gpus: [{name: gpu0, memory: 12GB, safety: 1.0, slots: 1}]}
models:
  m0: {memory: 1GB, batch: {max: 1, time: {exp: {mean: 1s}}}, load: 0s, unload: 0s}
workload:
  items: 1000
  warmup: 800s
  arrivals: {poisson: {rate: 0.5/s}}
  streams: {models: [m0]}
policies:
  - {use: fifo, params: {fill: false}}
output: {events: none, report: [], charts: []}
`

func parse(t *testing.T, text string, opts Options) *Experiment {
	t.Helper()
	e, err := Parse("test.yaml", ".", []byte(text), policies.Builtin(), opts)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return e
}

// logText records a run as text: equal runs have equal texts.
type logText struct{ strings.Builder }

func (l *logText) Append(events []scheduler.Event) error {
	for i := range events {
		fmt.Fprintf(l, "%+v\n", events[i])
	}
	return nil
}

func drive(t *testing.T, c *Cell, policy, replicate int) string {
	t.Helper()
	s, err := c.Setup(policy, replicate, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.Config.Checked = true
	core, err := scheduler.New(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	var log logText
	if err := scheduler.Drive(context.Background(), core, s.World, &log); err != nil {
		t.Fatal(err)
	}
	return log.String()
}

func TestRunOfAnExperiment(t *testing.T) {
	e := parse(t, mm1, Options{})
	if e.Name != "mm1" || e.Seed != 1 || e.Replicates != 20 || len(e.Cells) != 1 || e.Baseline != "fifo" {
		t.Fatalf("%+v", e)
	}
	c := e.Cells[0]
	first := drive(t, c, 0, 0)
	if n := strings.Count(first, "ItemArrived") + strings.Count(first, "Kind:1 "); first != drive(t, c, 0, 0) || len(first) == 0 {
		t.Fatalf("two runs of one replicate differ (%d)", n)
	}
	if first == drive(t, c, 0, 1) {
		t.Fatal("two replicates are equal")
	}
}

func TestErrorsAre(t *testing.T) {
	_, err := Parse("x.yaml", ".", []byte("version: 1\nhardware: {gpus: [{memory: 12, safty: 1}]}\nmodels: {a: {memory: 4GB, lod: 5s, batch: {max: 0}}}\n"), policies.Builtin(), Options{})
	var errs *Errors
	if !errors.As(err, &errs) {
		t.Fatal(err)
	}
	t.Log("\n" + err.Error())
}
