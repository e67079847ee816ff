package worker

import (
	"os"
	"syscall"
)

// attributes make a group of its own, that a terminal's signals do not reach,
// and have the kernel kill the child when this process dies.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// awaitExit returns when the process has exited but is not reaped, so that its
// id is still its own.
func awaitExit(pid int) bool {
	const onePID = 1 // P_PID
	for {
		_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, onePID, uintptr(pid), 0, syscall.WEXITED|syscall.WNOWAIT, 0, 0)
		if errno != syscall.EINTR {
			return errno == 0
		}
	}
}

func afterExit(*os.Process) {}
