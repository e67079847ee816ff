package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/spf13/cobra"

	"github.com/vramsim/vramsim/nvml"
	"github.com/vramsim/vramsim/nvml/cuda"
	"github.com/vramsim/vramsim/nvml/doctor"
	"github.com/vramsim/vramsim/scheduler"
)

// cardExecutor is an executor that the doctor can try on a card.
type cardExecutor struct {
	name     string
	folder   string             // for its weights; empty: it needs none
	executor doctor.NewExecutor // nil: this build has none of that name that needs nothing but a card
}

func cardExecutorOf(name, folder string) cardExecutor {
	c := cardExecutor{name: name, folder: folder}
	switch name {
	case "cuda":
		c.executor = func(d nvml.DeviceInfo) (scheduler.Executor, error) {
			return cuda.New(cuda.Config{UUID: d.UUID, HostTier: cuda.Pinned, Dir: folder, Keep: true}), nil
		}
	case "sleep":
		c.executor = func(nvml.DeviceInfo) (scheduler.Executor, error) { return nvml.NewSleeper(nvml.SleeperConfig{}), nil }
	}
	return c
}

// selfTest makes the self-test on each device that was examined, unless
// something is in its way already.
func (a *app) selfTest(ctx context.Context, probe nvml.Probe, card cardExecutor, r *doctor.Report) error {
	switch {
	case r.Status == doctor.StatusMissing || r.Status == doctor.StatusBusy:
		a.warnf("the self-test is left out: the card is not ready for it")
		return nil
	case len(r.Devices) == 0:
		r.NoSelfTest("there is no card to test", "run it where gpu doctor finds one")
		return nil
	}
	for _, d := range r.Devices {
		a.infof("self-test of GPU %d ...", d.Info.Index)
		if err := a.selfTestOf(ctx, probe, card, d.Info, r); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (a *app) selfTestOf(ctx context.Context, probe nvml.Probe, card cardExecutor, device nvml.DeviceInfo, r *doctor.Report) (err error) {
	t, err := probe.Open(device.UUID)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	test := doctor.SelfTest{Device: device, Telemetry: t, Executor: card.executor,
		Hold: func(ctx context.Context, device nvml.DeviceInfo) (doctor.Holder, error) {
			return a.hold(ctx, card, device)
		}}
	test.Add(ctx, r)
	return nil
}

// holdWord is what a holder prints when it holds its memory.
const holdWord = "held"

// newGPUHold is the other process of the self-test.
func newGPUHold(a *app) *cobra.Command {
	var executor, gpu, folder string
	cmd := &cobra.Command{
		Use:    "hold",
		Short:  "hold memory of a card until standard input ends",
		Hidden: true,
		Args:   exactly(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			card := cardExecutorOf(executor, folder)
			if card.executor == nil {
				return unknown("executor", executor, []string{"cuda", "sleep"})
			}
			device, err := deviceOf(gpu)
			if err != nil {
				return err
			}
			return doctor.Occupy(cmd.Context(), card.executor, device, func() error {
				fmt.Fprintln(a.stdout, holdWord)
				_, err := io.Copy(io.Discard, a.stdin)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&executor, "executor", "cuda", "`name` of the executor that holds it")
	cmd.Flags().StringVar(&gpu, "gpu", "", "`UUID` of the card")
	cmd.Flags().StringVar(&folder, "folder", "", "`folder` for weights")
	return cmd
}

// deviceOf finds a device by its UUID.
func deviceOf(uuid string) (_ nvml.DeviceInfo, err error) {
	probe := newProbe()
	defer func() { err = errors.Join(err, probe.Close()) }()
	list, err := probe.List()
	if err != nil {
		return nvml.DeviceInfo{}, err
	}
	for _, d := range list {
		if d.UUID == uuid {
			return d, nil
		}
	}
	return nvml.DeviceInfo{}, fmt.Errorf("%w: %q", nvml.ErrNoDevice, uuid)
}

// holdPatience bounds the start and the end of a holder.
const holdPatience = 20 * time.Second

// holder is a process that holds memory. It ends when its standard input does,
// so with this process at the latest.
type holder struct {
	process *exec.Cmd
	stdin   io.WriteCloser
	cancel  context.CancelFunc
}

// hold starts a holder and waits until it holds.
func (a *app) hold(ctx context.Context, card cardExecutor, device nvml.DeviceInfo) (_ doctor.Holder, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	h := &holder{process: exec.CommandContext(ctx, self, "gpu", "hold", "--executor", card.name, "--gpu", device.UUID, "--folder", card.folder), cancel: cancel}
	defer func() {
		if err != nil {
			cancel()
		}
	}()
	h.process.Stderr = a.stderr
	h.process.WaitDelay = holdPatience
	if h.stdin, err = h.process.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := h.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := h.process.Start(); err != nil {
		return nil, err
	}
	late := time.AfterFunc(holdPatience, cancel)
	line, err := bufio.NewReader(out).ReadString('\n')
	late.Stop()
	if line != holdWord+"\n" {
		return nil, fmt.Errorf("the process that was to hold memory did not: %w", errors.Join(err, h.Kill()))
	}
	return h, nil
}

func (h *holder) PID() int { return h.process.Process.Pid }

// Stop ends the standard input of the process and waits for its end.
func (h *holder) Stop() error {
	defer h.cancel()
	late := time.AfterFunc(holdPatience, h.cancel)
	defer late.Stop()
	return errors.Join(h.stdin.Close(), h.process.Wait())
}

// Kill kills the process, which is then no error.
func (h *holder) Kill() error {
	defer h.cancel()
	if err := h.process.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	if _, ok := errors.AsType[*exec.ExitError](h.process.Wait()); !ok {
		return errors.New("the process ended by itself")
	}
	return nil
}
