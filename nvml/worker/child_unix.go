//go:build unix && !linux

package worker

import (
	"os"
	"syscall"
)

// attributes make a group of its own, that a terminal's signals do not reach.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// awaitExit does nothing: a process cannot be waited for without reaping it
// in a way that these systems share.
func awaitExit(int) bool { return false }

// afterExit ends what is left of the group. Its id cannot be another's while
// somebody is left.
func afterExit(p *os.Process) { killGroup(p) }

// living is not known here. What is orphaned is reaped by the system, so that
// the group goes with its last process.
func living(int) bool { return true }
