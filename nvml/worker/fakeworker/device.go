package fakeworker

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Device is a GPU that is not there: a ledger of memory and a script of what
// goes wrong. Processes reach it over a loopback socket; what one holds is free
// again when its connection ends, as a driver frees what a dead process held.
type Device struct {
	total    int64
	fault    Fault
	at       int
	acceptor Acceptor
	serving  sync.WaitGroup

	mu      sync.Mutex
	changed *sync.Cond
	begun   int
	held    map[*account]int64
}

// Fault is something that goes wrong at one command.
type Fault string

// The faults.
const (
	None         Fault = "-"
	Failure      Fault = "failure"       // op_failed
	Hang         Fault = "hang"          // no answer, but heartbeats
	Crash        Fault = "crash"         // the process exits
	Killed       Fault = "killed"        // the process is killed, as when the host is out of memory
	Garbage      Fault = "garbage"       // a line that is no JSON
	Partial      Fault = "partial"       // half a line, then the process exits
	HugeLine     Fault = "huge line"     // a line without end
	Lost         Fault = "lost"          // fatal: the context is gone
	DoubleID     Fault = "double id"     // two answers
	WrongID      Fault = "wrong id"      // an answer to what was not asked
	WrongEvent   Fault = "wrong event"   // an answer of another kind
	DoubleKey    Fault = "double key"    // a line whose id stands twice
	SecondHello  Fault = "second hello"  // in the midst of it
	Silent       Fault = "silent"        // no heartbeats any more
	NegativeTime Fault = "negative time" // durations below 0
	LongTime     Fault = "long time"     // durations ten times as long as it took
	FewBytes     Fault = "few bytes"     // tells of no memory in use
	Oversized    Fault = "oom"           // out of memory
)

// NewDevice returns a device of so many bytes (0: 1 TB) on which the fault
// happens at the given command, counted from 0 over loads, batches and unloads;
// at -1 never.
func NewDevice(total int64, fault Fault, at int) *Device {
	if total <= 0 {
		total = 1e12
	}
	d := &Device{total: total, fault: fault, at: at, held: map[*account]int64{}}
	d.changed = sync.NewCond(&d.mu)
	return d
}

// Acceptor is a listener of package net. Tests open it: nothing that is not a
// test opens a listening socket.
type Acceptor interface {
	Accept() (net.Conn, error)
	Addr() net.Addr
	Close() error
}

// Serve lets processes reach the device through a, which Close closes, and
// returns the address for the option device of Main.
func (d *Device) Serve(a Acceptor) string {
	d.acceptor = a
	d.serving.Go(func() {
		for {
			c, err := a.Accept()
			if err != nil {
				return
			}
			d.serving.Go(func() { d.serve(c) })
		}
	})
	return a.Addr().String()
}

// Close ends Serve. Processes that are still connected keep their connection
// until they end.
func (d *Device) Close() error {
	if d.acceptor == nil {
		return nil
	}
	return d.acceptor.Close()
}

// serve answers one process.
func (d *Device) serve(c net.Conn) {
	defer c.Close()
	a := d.open()
	defer d.close(a)
	lines := bufio.NewScanner(c)
	for lines.Scan() {
		var what, name string
		var n int64
		fmt.Sscanf(lines.Text(), "%s %d %s", &what, &n, &name)
		var answer string
		switch what {
		case "pid":
			d.mu.Lock()
			a.pid = int(n)
			d.mu.Unlock()
			answer = "ok"
		case "begin":
			answer = string(a.begin())
		case "alloc":
			answer = map[bool]string{true: "ok", false: "oom"}[a.alloc(n)]
		case "free":
			a.free(n)
			answer = "ok"
		}
		free, total := a.memory()
		if _, err := fmt.Fprintf(c, "%d %d %s\n", free, total, answer); err != nil {
			return
		}
	}
}

// account is what one process has on the device.
type account struct {
	d   *Device
	pid int
}

func (d *Device) open() *account {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := &account{d: d}
	d.held[a] = 0
	return a
}

func (d *Device) close(a *account) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.held, a)
	d.changed.Broadcast()
}

func (a *account) begin() Fault {
	a.d.mu.Lock()
	defer a.d.mu.Unlock()
	a.d.begun++
	if a.d.begun-1 == a.d.at {
		return a.d.fault
	}
	return None
}

func (a *account) alloc(n int64) bool {
	a.d.mu.Lock()
	defer a.d.mu.Unlock()
	if n > a.d.total-a.d.used() {
		return false
	}
	a.d.held[a] += n
	return true
}

func (a *account) free(n int64) {
	a.d.mu.Lock()
	defer a.d.mu.Unlock()
	a.d.held[a] -= n
}

func (a *account) memory() (free, total int64) {
	a.d.mu.Lock()
	defer a.d.mu.Unlock()
	return a.d.total - a.d.used(), a.d.total
}

// used returns what all processes hold. The lock is held.
func (d *Device) used() (sum int64) {
	for _, n := range d.held {
		sum += n
	}
	return sum
}

// Begun returns how many loads, batches and unloads there have been.
func (d *Device) Begun() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.begun
}

// Held returns what living processes hold. It waits, at most that long, until
// the connections of dead ones have ended.
func (d *Device) Held(within time.Duration) (int64, error) {
	expired := false
	timer := time.AfterFunc(within, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		expired = true
		d.changed.Broadcast()
	})
	defer timer.Stop()
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.ghosts() {
		if expired {
			return d.used(), errors.New("a process that is dead holds memory")
		}
		d.changed.Wait()
	}
	return d.used(), nil
}

// ghosts reports whether a dead process has a connection. The lock is held.
func (d *Device) ghosts() bool {
	for a := range d.held {
		p, err := os.FindProcess(a.pid)
		if a.pid != 0 && (err != nil || errors.Is(p.Signal(syscall.Signal(0)), os.ErrProcessDone)) {
			return true
		}
	}
	return false
}

// ledger is a device as a worker sees it.
type ledger interface {
	begin() Fault
	alloc(n int64) bool
	free(n int64)
	memory() (free, total int64)
}

// remote is a device in another process.
type remote struct {
	mu    sync.Mutex
	conn  net.Conn
	lines *bufio.Reader
}

func dial(address string) (*remote, error) {
	c, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return nil, err
	}
	r := &remote{conn: c, lines: bufio.NewReader(c)}
	r.ask("pid %d", os.Getpid())
	return r, nil
}

// ask returns zeros and nothing when the device is gone.
func (r *remote) ask(format string, args ...any) (free, total int64, answer string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(r.conn, format+"\n", args...)
	line, err := r.lines.ReadString('\n')
	if err != nil {
		return 0, 0, ""
	}
	var at int
	fmt.Sscanf(line, "%d %d", &free, &total)
	for spaces := 0; at < len(line) && spaces < 2; at++ {
		if line[at] == ' ' {
			spaces++
		}
	}
	return free, total, line[at : len(line)-1]
}

func (r *remote) begin() Fault {
	_, _, answer := r.ask("begin")
	return Fault(answer)
}

func (r *remote) alloc(n int64) bool {
	_, _, answer := r.ask("alloc %d", n)
	return answer == "ok"
}

func (r *remote) free(n int64) { r.ask("free %d", n) }

func (r *remote) memory() (free, total int64) {
	free, total, _ = r.ask("memory")
	return free, total
}

var (
	_ ledger = (*account)(nil)
	_ ledger = (*remote)(nil)
)
