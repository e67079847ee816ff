package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/vramsim/vramsim/nvml"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/nearest"
	"github.com/vramsim/vramsim/workloads"
)

// Exit codes, as EXPERIMENT.md and the help of the command state them.
const (
	exitOK          = 0
	exitInternal    = 1
	exitUsage       = 2
	exitThreshold   = 3
	exitInvariant   = 4
	exitInvalid     = 5
	exitHardware    = 6
	exitInterrupted = 130
)

// exits lists the codes that the command ends with, for the manual and the help.
func exits() []struct {
	code  int
	means string
} {
	return []struct {
		code  int
		means string
	}{
		{exitOK, "done, and the thresholds hold"},
		{exitInternal, "internal error"},
		{exitUsage, "error of usage, configuration, input or output"},
		{exitThreshold, "a threshold failed, or fidelity missed a target"},
		{exitInvariant, "an invariant broken, a replay or closure that differs, a corrupt log"},
		{exitInvalid, "the run is INVALID: its baseline somewhere, or every policy of a cell"},
		{exitHardware, "needed hardware, driver or library is missing"},
		{exitInterrupted, "interrupted; partial results are saved"},
	}
}

// exitError carries the exit code of an error and a hint for who reads it.
type exitError struct {
	code int
	err  error
	hint string
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// unknown is the error for a name that is none of those there are.
func unknown(what, name string, names []string) error {
	err := usagef("there is no %s %q; it is one of %s", what, name, strings.Join(names, ", "))
	if near := nearest.To(name, names); near != "" {
		return withHint(err, fmt.Sprintf("did you mean %s?", near))
	}
	return err
}

func withHint(err error, hint string) error {
	return &exitError{code: codeOf(err), err: err, hint: hint}
}

// codeOf returns the exit code of an error. What is not marked otherwise comes
// from what the user gave: a file, a flag, a name, an output path.
func codeOf(err error) int {
	var marked *exitError
	var illegal *scheduler.IllegalDecision
	var livelock *scheduler.LivelockError
	var lost *scheduler.LostWakeupError
	var invariant *scheduler.InvariantError
	var divergence *scheduler.Divergence
	var fact *scheduler.FactError
	var unable *scheduler.CapabilityError
	var executor *scheduler.ExecutorError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &marked):
		return marked.code
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &illegal), errors.As(err, &livelock), errors.As(err, &lost), errors.As(err, &invariant),
		errors.As(err, &divergence), errors.As(err, &fact):
		return exitInvariant
	case errors.Is(err, nvml.ErrUnavailable), errors.Is(err, nvml.ErrNoDevice), errors.As(err, &unable):
		return exitHardware
	case errors.Is(err, nvml.ErrDeviceLost), errors.Is(err, nvml.ErrLost), errors.Is(err, nvml.ErrHung), errors.As(err, &executor):
		return exitInvalid
	}
	return exitUsage
}

// exit prints an error and its hint and returns its code.
func (a *app) exit(err error) int {
	if err == nil {
		return exitOK
	}
	var marked *exitError
	hint := ""
	var unavailable *nvml.UnavailableError
	switch {
	case errors.As(err, &marked):
		hint = marked.hint
	case errors.As(err, &unavailable):
		hint = unavailable.Advice
	}
	if text := message(err); text != "" {
		fmt.Fprintf(a.stderr, "error: %s\n", strings.TrimRight(printable(text), "\n"))
	}
	var trace *workloads.TraceError
	if errors.As(err, &trace) && trace.Text != "" {
		fmt.Fprintf(a.stderr, "  %s\n", printable(strings.ReplaceAll(trace.Text, "\n", "\n  ")))
	}
	if hint != "" {
		fmt.Fprintf(a.stderr, "hint: %s\n", printable(hint))
	}
	return codeOf(err)
}

// message is what an error says to a person.
func message(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) && err.Error() == path.Error() && errors.Is(err, fs.ErrNotExist) && path.Op == "stat" {
		return "there is no file or folder " + path.Path
	}
	return err.Error()
}

// printable shows control characters other than line breaks and tabs as
// escapes, so that no input can drive the terminal.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		if (r < ' ' && r != '\n' && r != '\t') || r == 0x7f || r >= 0x80 && r < 0xa0 {
			fmt.Fprintf(&b, `\x%02x`, r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}
