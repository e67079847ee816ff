package httpx_test

import (
	"context"
	"testing"
	"time"

	"github.com/vramsim/vramsim/nvml/executortest"
	"github.com/vramsim/vramsim/nvml/httpx"
	"github.com/vramsim/vramsim/scheduler"
)

// scripted arms the fake's fault at the command that the script says.
type scripted struct {
	*httpx.Executor
	f       *fake
	script  executortest.Script
	started int
}

func (s *scripted) Start(c scheduler.Command) error {
	if s.started == s.script.At {
		s.f.arm(s.script.Fault)
	}
	s.started++
	return s.Executor.Start(c)
}

func (s *scripted) Close(ctx context.Context) error {
	s.f.arm("")
	return s.Executor.Close(ctx)
}

// TestExecutorKeepsTheContract runs the contract of executors on a fake server
// of each kind.
func TestExecutorKeepsTheContract(t *testing.T) {
	for _, kind := range httpx.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			executortest.Test(t, executortest.Fixture{
				Faults: []executortest.Fault{executortest.OOM, executortest.Failure, executortest.Hang, executortest.Crash,
					executortest.Garbage, executortest.HugeLine},
				Patience: time.Minute, Slots: 3, Host: true,
				New: func(tb testing.TB, plan scheduler.Plan, script executortest.Script) executortest.Bench {
					return bench(tb, kind, plan, script)
				}})
		})
	}
}

func bench(tb testing.TB, kind httpx.Kind, plan scheduler.Plan, script executortest.Script) executortest.Bench {
	f := newFake(tb, onServer(kind, plan.Models)...)
	f.memory, f.refuses = script.Memory, true
	cfg := f.serve(kind)
	if script.Fault == executortest.Hang {
		cfg.LoadTimeout, cfg.RunTimeout, cfg.UnloadTimeout = time.Second, time.Second, 8*time.Second
	} // else nobody waits for a timeout, and a busy machine may take longer than that
	if kind != httpx.VLLM {
		cfg.Names = map[string]string{}
		for i := range plan.Models {
			cfg.Names[plan.Models[i].Name] = onServer(kind, plan.Models[i:i+1])[0].Name
		}
	}
	e, err := httpx.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return executortest.Bench{Executor: &scripted{Executor: e, f: f, script: script}, Held: f.inUse, Left: func() string {
		if err := f.quiet(); err != nil {
			return err.Error()
		}
		for _, s := range f.servers {
			s.Close()
		}
		return ""
	}}
}

// onServer gives models other names where a server is one of several models.
func onServer(kind httpx.Kind, models []scheduler.Model) []scheduler.Model {
	suffix := map[httpx.Kind]string{httpx.Triton: "_onnx", httpx.Ollama: ":7b", httpx.LlamaSwap: "/q4 k"}[kind]
	renamed := make([]scheduler.Model, len(models))
	for i := range models {
		renamed[i] = models[i]
		renamed[i].Name += suffix
	}
	return renamed
}
