package worker

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"
)

// child is a process in a group of its own, with pipes to it. Its owner has to
// end it, also after it has exited by itself.
type child struct {
	cmd     *exec.Cmd
	in      *os.File
	out     *os.File
	stderr  *capture
	exited  chan struct{} // closed when the process is gone, and its group with it where there are groups
	drained sync.WaitGroup
	ending  sync.Once
	ended   chan struct{} // closed when end has done all it can
}

// spawn starts the worker. Its end of each pipe is closed here, so that reading
// ends with the last process that has it.
func spawn(cfg *Config, dir string) (*child, error) {
	stderr, err := newCapture(cfg)
	if err != nil {
		return nil, err
	}
	var pipes [3][2]*os.File
	for i := range pipes {
		if pipes[i][0], pipes[i][1], err = os.Pipe(); err != nil {
			closeAll(pipes[:i])
			stderr.close()
			return nil, err
		}
	}
	cmd := exec.Command(cfg.Command[0], cfg.Command[1:]...)
	cmd.Env = cfg.environment(dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = pipes[0][0], pipes[1][1], pipes[2][1]
	cmd.SysProcAttr = attributes()
	c := &child{cmd: cmd, in: pipes[0][1], out: pipes[1][0], stderr: stderr, exited: make(chan struct{}), ended: make(chan struct{})}
	started := make(chan error, 1)
	go c.parent(started)
	if err := <-started; err != nil {
		closeAll(pipes[:])
		stderr.close()
		return nil, fmt.Errorf("the worker cannot be started: %w", err)
	}
	closeAll([][2]*os.File{{pipes[0][0], pipes[1][1]}, {pipes[2][1], nil}})
	c.drained.Go(func() {
		io.Copy(stderr, pipes[2][0]) // ends with the pipe, which end closes
	})
	go func() {
		<-c.ended
		pipes[2][0].Close()
		c.drained.Wait()
		stderr.close()
	}()
	return c, nil
}

func closeAll(pipes [][2]*os.File) {
	for _, p := range pipes {
		for _, f := range p {
			if f != nil {
				f.Close()
			}
		}
	}
}

// parent is the life of the process. The kernel kills a child when the thread
// that started it ends, not the process: so this one stays with it. What is
// left of the group is killed while the dead leader still holds its id, where
// the system can wait without reaping: nobody else can have got the id by then.
func (c *child) parent(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := c.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	if awaitExit(c.pid()) {
		killGroup(c.cmd.Process)
	}
	c.cmd.Wait() // an exit status is no error here: ProcessState has it
	afterExit(c.cmd.Process)
	awaitGroup(c.pid(), settling)
	close(c.exited)
}

// settling is how long what was killed may take to be gone. A process that is
// told to die holds its memory, a device's too, until the kernel has taken it
// apart; one that hangs in a driver never is.
const settling = time.Second

func (c *child) pid() int { return c.cmd.Process.Pid }

// end ends the process group: the end of its input, TERM, and KILL after the
// grace. It returns when the group is gone, or with one that cannot be killed
// after as much time again, at least twice settling.
func (c *child) end(grace time.Duration) {
	c.ending.Do(func() {
		defer close(c.ended)
		c.in.Close()
		if !c.gone(0) {
			termGroup(c.cmd.Process)
		}
		if !c.gone(grace) {
			killGroup(c.cmd.Process)
			c.gone(max(grace, 2*settling))
		}
		c.out.Close()
	})
	<-c.ended
}

// kill shortens end.
func (c *child) kill() {
	if !c.gone(0) {
		killGroup(c.cmd.Process)
	}
}

// gone waits for the exit, at most that long.
func (c *child) gone(within time.Duration) bool {
	if within > 0 {
		timer := time.NewTimer(within)
		defer timer.Stop()
		select {
		case <-c.exited:
			return true
		case <-timer.C:
		}
	}
	select {
	case <-c.exited:
		return true
	default:
		return false
	}
}

// status says how the process ended.
func (c *child) status() string {
	if !c.gone(0) {
		return "still there"
	}
	if s := c.cmd.ProcessState; s != nil {
		return s.String()
	}
	return "gone"
}

// capture takes what a worker says on standard error: a bounded file, and the
// end of it all. It goes on reading what it does not keep, so that a worker
// that says much is not blocked.
type capture struct {
	mu   sync.Mutex
	file *os.File // may be nil
	room int64
	tail []byte
}

// tailSize is how much of the end is kept.
const tailSize = 4096

const truncation = "\n[the rest is left out: the limit of this file is reached]\n"

func newCapture(cfg *Config) (*capture, error) {
	c := &capture{}
	if cfg.Stderr == "" {
		return c, nil
	}
	f, err := os.OpenFile(cfg.Stderr, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	c.file, c.room = f, int64(cfg.StderrLimit)-info.Size()
	return c, nil
}

// Write keeps p as far as there is room.
func (c *capture) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tail = append(c.tail, p...)
	if extra := len(c.tail) - tailSize; extra > 0 {
		c.tail = append(c.tail[:0], c.tail[extra:]...)
	}
	if c.file == nil || c.room <= 0 {
		return len(p), nil
	}
	keep := p[:min(int64(len(p)), c.room)]
	c.room -= int64(len(keep))
	c.file.Write(keep) // a full disk must not end the worker
	if c.room == 0 {
		c.file.WriteString(truncation)
	}
	return len(p), nil
}

// last returns the last line that says something.
func (c *capture) last() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	lines := bytes.Split(bytes.TrimSpace(c.tail), []byte("\n"))
	return shorten(printable(string(bytes.TrimSpace(lines[len(lines)-1]))), 200)
}

func (c *capture) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file != nil {
		c.file.Close()
		c.file = nil
	}
}

// printable replaces what a terminal would obey.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\u2028' || r == '\u202e' {
			return '.'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
