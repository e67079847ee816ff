package experiment

import (
	"context"
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
		ev := &events[i]
		fmt.Fprintf(l, "%v %d %d %d %d %d\n", ev.Kind, ev.At, ev.ID, ev.Value, ev.Model, ev.Device)
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
	if n := strings.Count(first, scheduler.BatchFinished.String()+" "); n != 1000 {
		t.Errorf("%d batches of 1000 items", n)
	}
	if first != drive(t, c, 0, 0) {
		t.Error("two runs of one replicate differ")
	}
	if first == drive(t, c, 0, 1) {
		t.Error("two replicates are equal")
	}
}

func TestErrorsShowTheirLine(t *testing.T) {
	const text = "version: 1\nhardware: {gpus: [{memory: 12, safty: 1}]}\nmodels: {}\nworkload: {}\npolicies: []\n"
	got := parseError(t, text)
	want := `bad.yaml:2:28: hardware.gpus[0].memory is "12" without a unit; expected an amount of memory with its unit (B, KB, MB, GB, TB, KiB, MiB, GiB, TiB), like 4.5GB
  hardware: {gpus: [{memory: 12, safty: 1}]}
                             ^
bad.yaml:2:32: unknown key "safty" in hardware.gpus[0]; did you mean "safety"?
  hardware: {gpus: [{memory: 12, safty: 1}]}
                                 ^
`
	if !strings.HasPrefix(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
