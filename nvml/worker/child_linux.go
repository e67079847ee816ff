package worker

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
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

// living says whether a process of the group has not died yet: a zombie has,
// unless threads of it are still on their way. Nobody may ever reap one whose
// parent was the worker, so that the group itself can stay.
func living(group int) bool {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has just gone
		}
		// PID (NAME) STATE PPID PGRP …, the number of threads being the 20th:
		// proc_pid_stat(5). A name may have parentheses in it.
		after := bytes.LastIndexByte(text, ')')
		f := strings.Fields(string(text[after+1:]))
		if len(f) < 18 || f[2] != strconv.Itoa(group) {
			continue
		}
		dead := f[0] == "Z" || f[0] == "X"
		if threads, _ := strconv.Atoi(f[17]); !dead || threads > 1 {
			return true
		}
	}
	return false
}
