// Package fakeworker is a worker without a device, for tests and rehearsals: it
// keeps a ledger of memory, sleeps, and goes wrong as it is told. It is a
// program in a package, which a test binary becomes when it executes itself.
// Its figures are no hardware figures.
package fakeworker

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vramsim/vramsim/nvml/worker"
)

// sleeper is the argument that makes the process only wait to be killed.
const sleeper = "sleeper"

// Main is the worker. It returns the exit code when its input ends, it is told
// to shut down, or it crashes as it was told to.
func Main(args []string, stdin io.Reader, stdout io.Writer, environ []string) int {
	if len(args) == 2 && args[0] == sleeper {
		return sleep(args[1], stdout)
	}
	began := time.Now()
	o, err := parse(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 2
	}
	w := &fake{o: o, began: began, out: stdout, quit: make(chan int, 1), models: map[string]*model{}, cancels: map[int64]chan struct{}{}}
	if w.device, err = w.find(); err != nil {
		fmt.Fprintln(os.Stderr, "error: the device does not answer:", err)
		return 1
	}
	if o.deaf {
		signal.Ignore(syscall.SIGTERM, syscall.SIGPIPE)
		time.AfterFunc(time.Minute, func() { w.quit <- 4 }) // bounded, should a test fail to end it
	}
	if o.offspring {
		if err := w.breed(); err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			return 1
		}
	}
	os.Stderr.Write(bytes.Repeat([]byte("noise\n"), int(o.print/6)))
	time.Sleep(o.hello)
	w.greet(environ)
	go w.beat()
	go w.read(stdin)
	return <-w.quit
}

// fake is the state of a worker.
type fake struct {
	o      options
	began  time.Time
	device ledger
	quit   chan int

	writing sync.Mutex
	out     io.Writer

	mu      sync.Mutex
	last    int64
	silent  bool
	models  map[string]*model
	cancels map[int64]chan struct{} // of what is carried out
}

// model is one that was prepared.
type model struct {
	bytes, itemBytes     int64
	staged, loaded, used bool
	busy                 int // requests that use it
}

func (w *fake) find() (ledger, error) {
	if w.o.device != "" {
		return dial(w.o.device)
	}
	return NewDevice(w.o.memory, w.o.fault, w.o.at).open(), nil
}

// breed starts a process in the same group.
func (w *fake) breed() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	c := exec.Command(self, Argument, sleeper, strconv.FormatInt(w.o.ballast, 10))
	ready, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	_, err = ready.Read(make([]byte, 1))
	return err
}

// sleep is the life of that process.
func sleep(ballast string, ready io.Writer) int {
	signal.Ignore(syscall.SIGTERM, syscall.SIGHUP)
	n, err := strconv.Atoi(ballast)
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 2
	}
	memory := make([]byte, n)
	for i := 0; i < n; i += 4096 {
		memory[i] = 1
	}
	ready.Write([]byte{1})
	time.Sleep(time.Minute) // bounded, should a test fail to end it
	runtime.KeepAlive(memory)
	return 0
}

// say writes a reply.
func (w *fake) say(r worker.Reply) {
	r.At = int64(time.Since(w.began))
	line, err := r.Line()
	if err != nil {
		panic("bug: " + err.Error())
	}
	w.writing.Lock()
	defer w.writing.Unlock()
	w.out.Write(line)
}

func (w *fake) greet(environ []string) {
	_, total := w.device.memory()
	h := &worker.Hello{Proto: w.o.proto, Worker: "fake", Version: "1", PID: int64(os.Getpid()), Concurrent: w.o.concurrent,
		GPU:      worker.Device{UUID: w.o.uuid, Name: "no device (figures are no hardware figures)", Total: total},
		Caps:     []string{worker.CapCancel},
		Versions: map[string]string{"fake": "1"}, Spawn: worker.Spawn{Total: int64(time.Since(w.began))}}
	if !w.o.noStage {
		h.Caps = append(h.Caps, worker.CapStage)
	}
	for _, name := range w.o.models {
		h.Models = append(h.Models, worker.Model{Name: name, DType: "none"})
	}
	if w.o.environ {
		var names []string
		for _, v := range environ {
			name, _, _ := strings.Cut(v, "=")
			names = append(names, name)
		}
		slices.Sort(names)
		h.Versions["environ"] = strings.Join(names, " ")
	}
	w.say(worker.Reply{Event: worker.EventHello, Hello: h, Memory: w.memory(0)})
}

func (w *fake) memory(peak int64) *worker.Memory {
	free, total := w.device.memory()
	var held int64
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.models {
		if m.loaded {
			held += m.bytes
		}
	}
	return &worker.Memory{Free: free, Total: total, Allocated: held, Reserved: held, PeakAllocated: held + peak, PeakReserved: held + peak}
}

func (w *fake) beat() {
	for range time.Tick(w.o.heartbeat) {
		w.mu.Lock()
		silent, busy := w.silent, int64(0)
		for id := range w.cancels {
			busy = max(busy, id)
		}
		w.mu.Unlock()
		if !silent {
			w.say(worker.Reply{Event: worker.EventHeartbeat, Busy: busy})
		}
	}
}

func (w *fake) read(stdin io.Reader) {
	lines := bufio.NewScanner(stdin)
	lines.Buffer(nil, worker.MaxLine+1)
	for lines.Scan() {
		r, err := worker.ParseRequest(lines.Bytes())
		if err != nil {
			fmt.Fprintln(os.Stderr, "error: a bad request:", err)
			break
		}
		if w.take(r) {
			break
		}
	}
	if !w.o.deaf {
		w.quit <- 0
	}
}

// take begins a request; it reports whether that was the last one.
func (w *fake) take(r worker.Request) (last bool) {
	w.mu.Lock()
	rises := r.ID > w.last
	w.last = max(w.last, r.ID)
	busy := int64(len(w.cancels)) >= w.o.concurrent
	w.mu.Unlock()
	switch {
	case !rises:
		w.fail(r, worker.CodeBadArg, "ids rise")
	case r.Op == worker.OpShutdown:
		w.say(worker.Reply{Event: r.Op.Answer(), ID: r.ID})
		return true
	case r.Op == worker.OpCancel:
		w.mu.Lock()
		if c := w.cancels[r.Target]; c != nil && !isClosed(c) {
			close(c)
		}
		w.mu.Unlock()
		w.say(worker.Reply{Event: r.Op.Answer(), ID: r.ID})
	case busy:
		w.fail(r, worker.CodeBusy, "one at a time")
	default:
		c := make(chan struct{})
		w.mu.Lock()
		w.cancels[r.ID] = c
		w.mu.Unlock()
		go w.carryOut(r, c)
	}
	return false
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (w *fake) fail(r worker.Request, code, text string) {
	w.say(worker.Reply{Event: worker.EventError, ID: r.ID, Code: code, Retryable: code == worker.CodeOOM, Message: text, Memory: w.memory(0)})
}

// carryOut does a request and answers it.
func (w *fake) carryOut(r worker.Request, cancel chan struct{}) {
	began := time.Now()
	answer := worker.Reply{Event: r.Op.Answer(), ID: r.ID}
	fault := None
	switch r.Op {
	case worker.OpLoad, worker.OpRun, worker.OpUnload:
		fault = w.device.begin()
	}
	if fault == Hang {
		return
	}
	code, text := w.do(r, cancel, &answer)
	answer.Wall = int64(time.Since(began))
	w.mu.Lock()
	delete(w.cancels, r.ID)
	w.mu.Unlock()
	if code == "" && (fault == Failure || fault == Oversized) {
		w.undo(r)
		code, text = map[Fault]string{Failure: worker.CodeFailed, Oversized: worker.CodeOOM}[fault], "as it was told"
	}
	if w.misbehave(fault, &answer) {
		return
	}
	if code != "" {
		w.fail(r, code, text)
		return
	}
	w.say(answer)
	if fault == DoubleID {
		w.say(answer)
	}
}

// misbehave carries out the faults that concern the answer; it reports
// whether there is none any more.
func (w *fake) misbehave(fault Fault, answer *worker.Reply) (instead bool) {
	switch fault {
	case Crash:
		w.quit <- 3
	case Killed:
		if self, err := os.FindProcess(os.Getpid()); err == nil {
			self.Kill()
		}
	case Partial:
		w.writing.Lock() // for ever: no heartbeat comes after
		io.WriteString(w.out, `{"ev":"ran","id":`)
		w.quit <- 0
	case Garbage:
		w.raw("}{ no json \x1b[31m\n")
	case DoubleKey:
		w.raw(fmt.Sprintf(`{"ev":"%s","id":%d,"id":%d,"t_ns":1}`+"\n", answer.Event, answer.ID, answer.ID))
	case HugeLine:
		w.writing.Lock() // for ever: nothing comes between
		for err := error(nil); err == nil; {
			_, err = w.out.Write(bytes.Repeat([]byte("x"), 1<<20))
		}
	case Lost:
		w.say(worker.Reply{Event: worker.EventError, ID: answer.ID, Code: worker.CodeFatal, Message: "off the bus"})
	case SecondHello:
		w.greet(nil)
	case Silent:
		w.mu.Lock()
		w.silent = true
		w.mu.Unlock()
	case WrongID:
		answer.ID += 1000
		w.say(*answer)
	case WrongEvent:
		answer.Event = "staged"
		w.say(*answer)
	default:
		w.bend(fault, answer)
		return false
	}
	return true
}

// bend makes an answer say what is not so.
func (w *fake) bend(fault Fault, answer *worker.Reply) {
	switch fault {
	case NegativeTime:
		answer.Wall, answer.Device = -answer.Wall-1, -5
		answer.Phases = &worker.LoadPhases{Build: -1, Copy: 1}
	case LongTime:
		answer.Wall = 10*answer.Wall + int64(time.Hour)
		answer.Device = answer.Wall
	case FewBytes:
		if answer.Memory != nil {
			answer.Memory.Free = answer.Memory.Total
		}
	}
}

func (w *fake) raw(text string) {
	w.writing.Lock()
	defer w.writing.Unlock()
	io.WriteString(w.out, text)
}

// do carries out a request; it returns the code and text of an error.
func (w *fake) do(r worker.Request, cancel chan struct{}, answer *worker.Reply) (code, text string) {
	if r.Op == worker.OpMem {
		answer.Memory = w.memory(0)
		return "", ""
	}
	if r.Op == worker.OpPrepare {
		return w.prepare(r, answer)
	}
	w.mu.Lock()
	m := w.models[r.Model]
	if m != nil {
		m.busy++
		defer func() {
			w.mu.Lock()
			m.busy--
			w.mu.Unlock()
		}()
	}
	w.mu.Unlock()
	if m == nil && r.Op.Answer() != "" {
		return worker.CodeNoModel, "no such model was prepared"
	}
	switch r.Op {
	case worker.OpStage, worker.OpUnstage:
		w.mu.Lock()
		defer w.mu.Unlock()
		m.staged, answer.Bytes = r.Op == worker.OpStage, m.bytes
		return "", ""
	case worker.OpLoad:
		return w.load(r, m, cancel, answer)
	case worker.OpRun:
		return w.run(r, m, cancel, answer)
	case worker.OpUnload:
		return w.unload(m, answer)
	}
	return worker.CodeBadOp, "there is no such operation"
}

func (w *fake) prepare(r worker.Request, answer *worker.Reply) (code, text string) {
	if r.Model == "" || len(w.o.models) > 0 && !slices.Contains(w.o.models, r.Model) {
		return worker.CodeNoModel, "there is no such model"
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.models[r.Model] == nil {
		w.models[r.Model] = &model{bytes: r.Bytes, itemBytes: r.ItemBytes}
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %d", r.Model, r.Bytes, r.Seed))
	answer.Bytes, answer.Path, answer.SHA256 = r.Bytes, r.Model+".none", hex.EncodeToString(sum[:])
	return "", ""
}

// pause sleeps; it reports whether it was cancelled.
func pause(d time.Duration, cancel chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return false
	case <-cancel:
		return true
	}
}

func (w *fake) load(r worker.Request, m *model, cancel chan struct{}, answer *worker.Reply) (code, text string) {
	w.mu.Lock()
	loaded, staged := m.loaded, m.staged
	w.mu.Unlock()
	switch {
	case loaded:
		return worker.CodeBadArg, "the model is loaded already"
	case r.Tier == worker.FromPinned && !staged:
		return worker.CodeBadArg, "the model is not staged"
	case !slices.Contains([]string{worker.FromDisk, worker.FromPageCache, worker.FromPinned}, r.Tier):
		return worker.CodeBadArg, "there is no such tier"
	case !w.device.alloc(m.bytes):
		free, _ := w.device.memory()
		return worker.CodeOOM, fmt.Sprintf("%d bytes wanted, %d free", m.bytes, free)
	}
	began := time.Now()
	if pause(w.o.load, cancel) {
		w.device.free(m.bytes)
		return worker.CodeCancelled, "while it was copied"
	}
	w.mu.Lock()
	answer.First = !m.used
	m.loaded, m.used = true, true
	w.mu.Unlock()
	answer.Bytes, answer.Memory = m.bytes, w.memory(0)
	answer.Phases = &worker.LoadPhases{Copy: int64(time.Since(began))}
	return "", ""
}

func (w *fake) run(r worker.Request, m *model, cancel chan struct{}, answer *worker.Reply) (code, text string) {
	w.mu.Lock()
	loaded := m.loaded
	w.mu.Unlock()
	need := m.itemBytes * int64(len(r.Items))
	switch {
	case !loaded:
		return worker.CodeNotLoaded, "the model is not loaded"
	case len(r.Items) == 0:
		return worker.CodeBadArg, "there are no items"
	case !w.device.alloc(need):
		free, _ := w.device.memory()
		return worker.CodeOOM, fmt.Sprintf("%d bytes wanted, %d free", need, free)
	}
	answer.Memory = w.memory(need)
	began := time.Now()
	cancelled := pause(w.o.item*time.Duration(len(r.Items)), cancel)
	w.device.free(need)
	if cancelled {
		return worker.CodeCancelled, "while it ran"
	}
	answer.N, answer.Device = int64(len(r.Items)), int64(time.Since(began))
	return "", ""
}

func (w *fake) unload(m *model, answer *worker.Reply) (code, text string) {
	w.mu.Lock()
	loaded, busy := m.loaded, m.busy > 1
	w.mu.Unlock()
	switch {
	case !loaded:
		return worker.CodeNotLoaded, "the model is not loaded"
	case busy:
		return worker.CodeBusy, "the model is in use"
	}
	time.Sleep(w.o.unload)
	w.mu.Lock()
	m.loaded = false
	w.mu.Unlock()
	w.device.free(m.bytes)
	answer.Memory = w.memory(0)
	return "", ""
}

// undo takes back what a request did that is said to have failed.
func (w *fake) undo(r worker.Request) {
	w.mu.Lock()
	m := w.models[r.Model]
	w.mu.Unlock()
	if m == nil {
		return
	}
	switch r.Op {
	case worker.OpLoad:
		w.device.free(m.bytes)
	case worker.OpUnload:
		w.device.alloc(m.bytes)
	default:
		return
	}
	w.mu.Lock()
	m.loaded = r.Op == worker.OpUnload
	w.mu.Unlock()
}
