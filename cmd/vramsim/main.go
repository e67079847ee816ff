// Command vramsim compares scheduling policies for ML models that share GPUs
// which cannot hold them all.
//
// Usage:
//
//	vramsim run [FILE]          simulate every policy in every cell of an experiment and compare them
//	vramsim sweep FILE          the same for many cells; --resume an interrupted run directory, --shard i/n
//	vramsim compare RUN RUN...  compare finished runs
//	vramsim report RUN          rebuild report and charts from a run directory
//	vramsim plot RUN            one chart
//	vramsim explain RUN         the state at a time, why an item waited, what the policy saw
//	vramsim gen FILE            write the workload of an experiment as a native trace
//	vramsim import FILE         turn a recorded trace into a native one
//	vramsim trace stats TRACE   describe a trace by numbers; trace lint: what is doubtful about it
//	vramsim check FILE...       validate without running; --policy P: test a policy by its properties
//	vramsim replay RUN          --verify: both replays and every invariant; --policy --at: what if
//	vramsim export RUN          Perfetto, CSV, JSON Lines or Go benchmark format
//	vramsim gpu doctor          examine card, driver and machine, and say what to do
//	vramsim init [DIR]          write the experiment templates
//	vramsim list WHAT           policies, workloads, metrics, charts, formats or templates
//	vramsim schema              JSON Schema of the experiment file
//	vramsim man                 the manual page
//	vramsim version             version and build
//
// Results go to standard output, messages to standard error. Exit codes: 0
// done, 1 internal error, 2 usage, configuration, input or output error, 3 a
// threshold failed, 4 an invariant or replay failed or a log is corrupt, 5 the
// run is INVALID, 6 hardware is missing, 130 interrupted.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() { os.Exit(command()) }

// command is the whole process but its end.
func command() int {
	// A closed pipe is an error of the write that meets it, not a signal.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, func() { time.AfterFunc(oneSignal, stop) }) // a second signal ends the process at once
	return run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}

// oneSignal is how soon after the first a signal is still that one: timeout(1)
// sends it to the process and then to its group.
const oneSignal = 500 * time.Millisecond

// run is the command without its process: what tests call.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	out := &errWriter{w: stdout}
	app := &app{stdin: stdin, stdout: out, stderr: stderr, args: args}
	root := newRoot(app)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(out)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil && out.err != nil {
		err = &exitError{code: exitUsage, err: out.err}
	}
	return app.exit(err)
}

// errWriter remembers the first error, so that a closed pipe or a full disk is
// reported once, at the end.
type errWriter struct {
	w   io.Writer
	err error
}

func (e *errWriter) Write(p []byte) (int, error) {
	if e.err != nil {
		return 0, e.err
	}
	n, err := e.w.Write(p)
	e.err = err
	return n, err
}
