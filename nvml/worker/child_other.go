//go:build !unix

package worker

import (
	"os"
	"syscall"
	"time"
)

func attributes() *syscall.SysProcAttr { return nil }

func awaitExit(int) bool { return false }

func afterExit(*os.Process) {}

// termGroup does nothing: there is no polite signal here, and the end of its
// input has told the worker already.
func termGroup(*os.Process) {}

func killGroup(p *os.Process) { p.Kill() }

func awaitGroup(int, time.Duration) {}
