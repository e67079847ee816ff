package worker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// Reason is why a worker was ended.
type Reason string

// The reasons.
const (
	Exited   Reason = "it ended"             // by itself, or something killed it
	TimedOut Reason = "timeout"              // a request took too long
	Silent   Reason = "no heartbeat"         // for Timeouts.Heartbeat
	BadLine  Reason = "protocol"             // it said what it may not
	Fatal    Reason = "the context was lost" // it says so itself
	Closed   Reason = "closed"               // by this process
)

// LostError says why a worker was ended.
type LostError struct {
	Reason Reason
	Text   string
	Stderr string // the last that it said there
}

func (e *LostError) Error() string {
	text := fmt.Sprintf("worker lost (%s): %s", e.Reason, e.Text)
	if e.Stderr != "" {
		text += "; its last words: " + e.Stderr
	}
	return text
}

// ReplyError is an error that a worker answered with; it goes on.
type ReplyError struct {
	Code      string
	Retryable bool
	Message   string
}

func (e *ReplyError) Error() string { return e.Code + ": " + e.Message }

// session is the conversation with one worker.
type session struct {
	cfg   *Config
	child *child
	began time.Time

	told   Memory // with the last outcome; guarded by the executor's lock
	hello  *Hello
	offset time.Duration // of the clock of this process, since began, against the worker's
	first  chan struct{} // closed when hello is there or never will be
	outbox chan []byte
	over   chan struct{} // closed when the worker has been ended and all requests have failed
	onLost func(*LostError)

	mu    sync.Mutex
	id    int64
	open  map[int64]*request
	lost  *LostError
	leave bool        // it is being closed: the end of its output is no loss
	watch *time.Timer // of heartbeats
}

// request is one that was sent.
type request struct {
	Request
	timer *time.Timer
	sent  time.Time
	took  time.Duration // by our clock
	lag   time.Duration // from when the worker says that it answered until it was read
	reply Reply
	err   error // a *ReplyError or a *LostError
	done  chan struct{}
}

// greet spawns a worker and waits for its hello. onStart, if not nil, is called
// as soon as the process is there. onLost is called once if the worker is lost
// before it is closed, and must not wait for the session.
func greet(ctx context.Context, cfg *Config, dir string, onStart func(*child), onLost func(*LostError)) (*session, error) {
	began := time.Now()
	c, err := spawn(cfg, dir)
	if err != nil {
		return nil, err
	}
	if onStart != nil {
		onStart(c)
	}
	told := make(chan struct{}) // closed when nothing more is told of its beginning
	defer close(told)
	s := &session{cfg: cfg, child: c, began: began, first: make(chan struct{}), over: make(chan struct{}),
		outbox: make(chan []byte, 64), open: map[int64]*request{}, onLost: onLost}
	go s.write()
	go s.read()
	go s.tellGone(told)
	timer := time.NewTimer(cfg.Timeouts.Hello)
	defer timer.Stop()
	select {
	case <-s.first:
	case <-timer.C:
		s.lose(TimedOut, fmt.Sprintf("no hello in %v", cfg.Timeouts.Hello))
	case <-ctx.Done():
		s.lose(Closed, context.Cause(ctx).Error())
	}
	if err := s.failure(); err != nil {
		<-s.over
		return nil, s.failure()
	}
	cfg.notice(Notice{Kind: Spawned, PID: int(s.hello.PID), Took: time.Since(began), Text: s.hello.Worker + " " + s.hello.Version})
	return s, nil
}

// tellGone tells that the worker is gone, under each PID that it was told of by.
func (s *session) tellGone(told <-chan struct{}) {
	<-s.child.exited
	<-told
	s.mu.Lock()
	said := s.child.pid()
	if s.hello != nil {
		said = int(s.hello.PID)
	}
	s.mu.Unlock()
	s.cfg.notice(Notice{Kind: Gone, PID: s.child.pid()})
	if said != s.child.pid() {
		s.cfg.notice(Notice{Kind: Gone, PID: said})
	}
}

// failure returns why the worker is lost, nil if it is not.
func (s *session) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost == nil {
		return nil
	}
	return s.lost
}

// able reports whether the worker can do something.
func (s *session) able(capability string) bool { return slices.Contains(s.hello.Caps, capability) }

// send begins a request; its done is closed when it has been answered or has
// failed. It never blocks on the worker.
func (s *session) send(r Request, timeout time.Duration) *request {
	q := &request{Request: r, done: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost != nil {
		q.fail(s.lost)
		return q
	}
	s.id++
	q.ID, q.TimeoutMS = s.id, max(1, timeout.Milliseconds())
	line, err := q.Line()
	if err != nil {
		q.fail(&ReplyError{Code: CodeBadArg, Message: err.Error()})
		return q
	}
	q.sent = time.Now()
	select {
	case s.outbox <- line:
	default:
		q.fail(&ReplyError{Code: CodeBusy, Message: "the worker does not read its requests"})
		return q
	}
	s.open[q.ID] = q
	q.timer = time.AfterFunc(timeout, func() { s.expire(q, timeout) })
	return q
}

func (q *request) fail(err error) {
	q.err = err
	close(q.done)
}

// do sends a request and waits for the answer.
func (s *session) do(r Request, timeout time.Duration) (*request, error) {
	q := s.send(r, timeout)
	<-q.done
	return q, q.err
}

func (s *session) expire(q *request, timeout time.Duration) {
	s.mu.Lock()
	waits := s.open[q.ID] == q
	s.mu.Unlock()
	if waits {
		s.lose(TimedOut, fmt.Sprintf("%s %s had no answer in %v", q.Op, q.Model, timeout))
	}
}

// cancel asks the worker to end a request early. One that cannot is left alone.
func (s *session) cancel(q *request) {
	s.mu.Lock()
	waits := s.open[q.ID] == q
	s.mu.Unlock()
	if waits && s.able(CapCancel) {
		s.send(Request{Op: OpCancel, Target: q.ID}, s.cfg.Timeouts.Other)
	}
}

// write sends lines until the session is over. A worker that does not read
// blocks it until its pipe is closed.
func (s *session) write() {
	for {
		select {
		case line := <-s.outbox:
			if _, err := s.child.in.Write(line); err != nil {
				return // the reader learns of it, too
			}
		case <-s.over:
			return
		}
	}
}

// read takes lines until there are no more or one is bad.
func (s *session) read() {
	lines := bufio.NewReaderSize(s.child.out, 64<<10)
	for {
		line, err := readLine(lines)
		switch {
		case errors.Is(err, ErrLineTooLong):
			s.lose(BadLine, err.Error())
			return
		case err != nil:
			s.ended()
			return
		}
		if what := s.receive(line, time.Now()); what != nil {
			s.lose(what.Reason, what.Text)
			return
		}
	}
}

// ended is the end of the worker's output. Its exit status follows at once, if
// it has ended.
func (s *session) ended() {
	s.child.gone(s.cfg.Timeouts.Kill)
	s.lose(Exited, s.child.status())
}

// readLine returns the next line without its line feed; the error is
// ErrLineTooLong as soon as there are more than MaxLine bytes. What is cut
// off by the end of the output is no line.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > MaxLine+1 {
			return nil, ErrLineTooLong
		}
		line = append(line, part...)
		switch err {
		case nil:
			return line[:len(line)-1], nil
		case bufio.ErrBufferFull:
		case io.EOF:
			return nil, io.ErrUnexpectedEOF
		default:
			return nil, err
		}
	}
}

// receive takes a line; it returns why the worker has to be ended.
func (s *session) receive(line []byte, now time.Time) *LostError {
	r, err := ParseReply(line)
	if err != nil {
		return badLine(line, err.Error())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.lost != nil:
		return nil // what a worker says while it is ended
	case s.hello == nil:
		return s.welcome(&r, line, now)
	case r.ID == 0 && r.Event == EventHeartbeat:
		s.watch.Reset(s.cfg.Timeouts.Heartbeat)
		return nil
	}
	q := s.open[r.ID]
	switch {
	case q == nil:
		return badLine(line, fmt.Sprintf("no request %d is open", r.ID))
	case r.Event == EventError && r.Code == CodeFatal:
		return &LostError{Reason: Fatal, Text: printable(r.Message)}
	case r.Event == EventError:
		q.err = &ReplyError{Code: r.Code, Retryable: r.Retryable, Message: printable(r.Message)}
	case r.Event != q.Op.answers():
		return badLine(line, fmt.Sprintf("%s is no answer to %s", printable(shorten(r.Event, 40)), q.Op))
	}
	delete(s.open, r.ID)
	q.timer.Stop()
	q.reply, q.took = r, now.Sub(q.sent)
	q.lag = min(q.took, max(0, now.Sub(s.began)-time.Duration(r.At)-s.offset))
	close(q.done)
	return nil
}

// welcome takes the first line. The lock is held.
func (s *session) welcome(r *Reply, line []byte, now time.Time) *LostError {
	switch {
	case r.Event != EventHello || r.ID != 0:
		return badLine(line, "the first line is no hello")
	case r.Hello.Proto != Protocol:
		return badLine(line, fmt.Sprintf("it speaks version %d of the protocol, not %d", r.Hello.Proto, Protocol))
	case s.cfg.Device != "" && r.Hello.GPU.UUID != s.cfg.Device:
		return badLine(line, fmt.Sprintf("it computes on %q, not on %q", printable(shorten(r.Hello.GPU.UUID, 60)), s.cfg.Device))
	}
	s.hello, s.offset = r.Hello, now.Sub(s.began)-time.Duration(r.At)
	s.watch = time.AfterFunc(s.cfg.Timeouts.Heartbeat, func() {
		s.lose(Silent, fmt.Sprintf("none in %v", s.cfg.Timeouts.Heartbeat))
	})
	close(s.first)
	return nil
}

func badLine(line []byte, what string) *LostError {
	return &LostError{Reason: BadLine, Text: fmt.Sprintf("%s, in the line %q", what, printable(shorten(string(line), 80)))}
}

// lose ends the worker; only the first call counts. What is open fails once
// the process group is gone, and what it held with it. It does not wait for that.
func (s *session) lose(why Reason, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost != nil {
		return
	}
	if s.leave {
		why = Closed
	}
	s.lost = &LostError{Reason: why, Text: text}
	if s.watch != nil {
		s.watch.Stop()
	} else {
		defer close(s.first)
	}
	go s.bury(*s.lost)
}

// bury ends the process and fails what is open.
func (s *session) bury(why LostError) {
	s.child.end(s.cfg.Timeouts.Kill)
	lost := &why
	if lost.Reason != Closed {
		lost.Stderr = s.child.stderr.last()
		if s.onLost != nil {
			s.onLost(lost)
		}
		s.cfg.notice(Notice{Kind: WentLost, PID: s.child.pid(), Text: lost.Error()})
	}
	s.mu.Lock()
	s.lost = lost
	for id, q := range s.open {
		q.timer.Stop()
		delete(s.open, id)
		q.fail(lost)
	}
	s.mu.Unlock()
	close(s.over)
}

// close ends the worker: politely if nothing is open, and at the latest when
// the context ends.
func (s *session) close(ctx context.Context) error {
	stop := context.AfterFunc(ctx, s.child.kill)
	defer stop()
	s.mu.Lock()
	idle := len(s.open) == 0 && s.lost == nil
	s.leave = true
	s.mu.Unlock()
	if idle {
		q := s.send(Request{Op: OpShutdown}, s.cfg.Timeouts.Other)
		select {
		case <-q.done:
			s.child.gone(s.cfg.Timeouts.Kill)
		case <-ctx.Done():
		}
	}
	s.lose(Closed, "the executor is closed")
	<-s.over
	if !s.child.gone(0) {
		return fmt.Errorf("worker %d cannot be killed", s.child.pid())
	}
	return nil
}
