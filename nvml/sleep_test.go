package nvml_test

import (
	"testing"
	"time"

	"github.com/vramsim/vramsim/nvml"
	"github.com/vramsim/vramsim/nvml/executortest"
	"github.com/vramsim/vramsim/scheduler"
)

// TestSleeperKeepsTheContract runs the contract of executors on the one that
// sleeps.
func TestSleeperKeepsTheContract(t *testing.T) {
	executortest.Test(t, executortest.Fixture{
		Faults:   []executortest.Fault{executortest.OOM, executortest.Failure, executortest.Lost},
		Patience: 10 * time.Second, Slots: 3, Host: true,
		New: func(_ testing.TB, _ scheduler.Plan, script executortest.Script) executortest.Bench {
			started := -1
			s := nvml.NewSleeper(nvml.SleeperConfig{Memory: script.Memory,
				Took: func(c scheduler.Command) scheduler.Time { return c.Estimate / 10 },
				Fail: func(scheduler.Command) *scheduler.CommandError {
					if started++; started != script.At {
						return nil
					}
					if script.Fault == executortest.Lost {
						return &scheduler.CommandError{Code: scheduler.FailureLost, Text: "off the bus"}
					}
					return &scheduler.CommandError{Code: scheduler.FailureFault, Text: "as the script says"}
				}})
			return executortest.Bench{Executor: s, Held: func() (scheduler.Bytes, error) { return s.Held(), nil }}
		}})
}
