//go:build unix

package worker

import (
	"os"
	"syscall"
	"time"
)

func termGroup(p *os.Process) { syscall.Kill(-p.Pid, syscall.SIGTERM) }

func killGroup(p *os.Process) { syscall.Kill(-p.Pid, syscall.SIGKILL) }

// awaitGroup returns when no process of the group lives, and at the latest
// after that long.
func awaitGroup(id int, within time.Duration) {
	deadline := time.Now().Add(within)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		if syscall.Kill(-id, 0) != nil || !living(id) || !time.Now().Before(deadline) {
			return
		}
		time.Sleep(pause)
	}
}
