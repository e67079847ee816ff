package httpx

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/vramsim/vramsim/scheduler"
)

// ServerError says what is wrong with a description of servers.
type ServerError struct {
	Text string // the part of it, may be empty
	What string
}

func (e *ServerError) Error() string {
	if e.Text == "" {
		return "server: " + e.What
	}
	return fmt.Sprintf("server %q: %s", e.Text, e.What)
}

// RemoteError says that a server is not on this machine, which
// Config.AllowRemote has to allow.
type RemoteError struct{ Host string }

func (e *RemoteError) Error() string {
	return fmt.Sprintf("server %q is not on the loopback address of this machine", e.Host)
}

// NameError says that a model cannot have a name on the server.
type NameError struct {
	Model string // in the experiment
	Name  string // on the server
	What  string
}

func (e *NameError) Error() string {
	return fmt.Sprintf("model %q: its name %q on the server %s", e.Model, e.Name, e.What)
}

// Missing is a model that the server does not have.
type Missing struct {
	Model   string // in the experiment
	Name    string // that was looked for
	Nearest string // the nearest name on the server, "" if none is near
}

// MissingError says which models of the experiment the server lacks.
type MissingError struct {
	URL     string // "" if models lack a server
	Missing []Missing
	Present []string // names on the server
}

func (e *MissingError) Error() string {
	var s strings.Builder
	if e.URL == "" {
		s.WriteString("there is no server for")
	} else {
		fmt.Fprintf(&s, "server %s has no", e.URL)
	}
	for i, m := range e.Missing {
		if i > 0 {
			s.WriteByte(',')
		}
		fmt.Fprintf(&s, " model %q", m.Name)
		if m.Name != m.Model {
			fmt.Fprintf(&s, " (for %q)", m.Model)
		}
		if m.Nearest != "" {
			fmt.Fprintf(&s, " (did you mean %q?)", m.Nearest)
		}
	}
	const most = 20
	switch {
	case len(e.Present) == 0:
		s.WriteString("; there are none")
	case len(e.Present) <= most:
		fmt.Fprintf(&s, "; there are %s", join(e.Present))
	default:
		fmt.Fprintf(&s, "; there are %s and %d more", join(e.Present[:most]), len(e.Present)-most)
	}
	return s.String()
}

// connectionError says that the server cannot be reached or broke off.
type connectionError struct{ err error }

func (e *connectionError) Error() string { return "the server does not answer: " + e.err.Error() }
func (e *connectionError) Unwrap() error { return e.err }

// nonsenseError says that an answer is none of the API. What state the server
// is in is not known then.
type nonsenseError struct{ path, what string }

func (e *nonsenseError) Error() string { return fmt.Sprintf("%s answered %s", e.path, e.what) }

// statusError is an answer that says no.
type statusError struct {
	path   string
	status int
	text   string // of the server, cleaned
}

func (e *statusError) Error() string {
	if e.text == "" {
		return fmt.Sprintf("%s answered %d", e.path, e.status)
	}
	return fmt.Sprintf("%s answered %d: %s", e.path, e.status, e.text)
}

// disagreement says that the index denies an effect.
type disagreement struct{ what, said string }

func (e *disagreement) Error() string {
	return fmt.Sprintf("%s, but the index says: %s", e.what, e.said)
}

// stuckError says that a load or an eviction had no end in time.
type stuckError struct{ err error }

func (e *stuckError) Error() string { return "the state of the server is unknown: " + e.err.Error() }
func (e *stuckError) Unwrap() error { return e.err }

// The reasons for which contexts of commands end.
var (
	errCancelled = errors.New("cancelled")
	errClosed    = errors.New("the executor was closed")
	errTimeout   = errors.New("timed out")
)

// lossError is why a device is lost.
type lossError struct{ err error }

func (e *lossError) Error() string { return "the server was lost: " + e.err.Error() }
func (e *lossError) Unwrap() error { return e.err }

// loses reports whether an error leaves the server gone or in a state that is
// not known.
func loses(err error) bool {
	for _, is := range []func(error) bool{has[*connectionError], has[*nonsenseError], has[*stuckError], has[*lossError]} {
		if is(err) {
			return true
		}
	}
	return false
}

func has[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// failure makes of an error why a command failed.
func failure(err error) *scheduler.CommandError {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*scheduler.CommandError](err); ok {
		return e
	}
	f := &scheduler.CommandError{Text: err.Error()}
	status, answered := errors.AsType[*statusError](err)
	switch {
	case loses(err):
		f.Code, f.Retryable = scheduler.FailureLost, true
	case errors.Is(err, errTimeout), errors.Is(err, context.DeadlineExceeded):
		f.Code, f.Retryable = scheduler.FailureTimeout, true
	case answered && outOfMemory(status.text):
		f.Code, f.Retryable = scheduler.FailureOOM, true
	case answered:
		f.Retryable = retryable(status.status)
	case has[*disagreement](err):
		f.Retryable = true
	}
	return f
}

// retryable reports whether the same request may succeed later.
func retryable(status int) bool {
	switch status {
	case 408, 425, 429:
		return true
	case 501, 505:
		return false
	}
	return status >= 500
}

// oomTexts are how servers and what they are made of say that memory ran out,
// in lower case: PyTorch, vLLM's allocator and CUDA ("CUDA out of memory",
// "CUDA Error: out of memory"), TensorRT ("Out of memory", "OutOfMemory"),
// ONNX Runtime's arena ("Failed to allocate memory for requested buffer"),
// ggml ("cudaMalloc failed"), Vulkan, Ollama's own check of a model that is
// too big ("requires more system memory").
var oomTexts = [...]string{"out of memory", "out_of_memory", "outofmemory", "out_of_device_memory", "out of device memory",
	"failed to allocate", "cudamalloc failed", "hipmalloc failed", "insufficient memory", "not enough memory", "more system memory"}

func outOfMemory(text string) bool {
	text = strings.ToLower(text)
	for _, t := range oomTexts {
		if strings.Contains(text, t) {
			return true
		}
	}
	return false
}
