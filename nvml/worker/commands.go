package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vramsim/vramsim/scheduler"
)

// The phases that are not the worker's own.
const (
	PhaseWait  = "wait"  // for the worker to be free
	PhaseSpawn = "spawn" // of a process for the model
	PhaseStage = "stage" // in pinned memory
	PhaseReply = "reply" // from when the worker answered until it was read
	PhaseFirst = "first" // no time: marks the first use in a worker's life
)

// Start begins a command, or queues it if the worker is busy. After a loss or
// Close it returns a *scheduler.CommandError of FailureLost.
func (e *Executor) Start(c scheduler.Command) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.refusal(); err != nil {
		return commandError(err)
	}
	m := c.Model
	if e.cfg.Mode == Shared {
		m = everything
	}
	l := e.lanes[m]
	if l == nil {
		l = &lane{free: e.width}
		e.lanes[m] = l
	}
	call := &call{Command: c, begun: time.Now(), lane: l, outcome: scheduler.Outcome{Seq: c.Seq}}
	e.calls[c.Seq] = call
	e.running.Add(1)
	if l.free == 0 {
		l.waiting = append(l.waiting, call)
		return nil
	}
	l.free--
	go e.carryOut(call)
	return nil
}

// carryOut carries out a call that has its place in its lane, and gives the
// place to the next one.
func (e *Executor) carryOut(c *call) {
	c.phase(PhaseWait, time.Since(c.begun))
	var err error
	switch c.Op {
	case scheduler.OpLoad:
		err = e.load(c)
	case scheduler.OpRun:
		err = e.run(c)
	case scheduler.OpEvict:
		err = e.evict(c)
	default:
		err = &ReplyError{Code: CodeBadOp, Message: fmt.Sprintf("%v is nothing that a worker does", c.Op)}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if l := c.lane; len(l.waiting) > 0 {
		next := l.waiting[0]
		l.waiting = l.waiting[1:]
		go e.carryOut(next)
	} else {
		l.free++
	}
	e.end(c, err)
}

// end makes the outcome of a call. The lock is held.
func (e *Executor) end(c *call, err error) {
	delete(e.calls, c.Seq)
	if err != nil {
		c.outcome.Failure = commandError(err)
	}
	go func() {
		defer e.running.Done()
		select {
		case e.outcomes <- c.outcome:
		case <-e.deserted:
		}
	}()
}

// commandError says in scheduler's words why a command failed.
func commandError(err error) *scheduler.CommandError {
	if lost, ok := errors.AsType[*LostError](err); ok {
		return &scheduler.CommandError{Code: scheduler.FailureLost, Retryable: true, Text: lost.Error()}
	}
	reply, ok := errors.AsType[*ReplyError](err)
	if !ok {
		return &scheduler.CommandError{Text: err.Error()}
	}
	f := &scheduler.CommandError{Retryable: reply.Retryable, Text: err.Error()}
	switch reply.Code {
	case CodeOOM:
		f.Code, f.Retryable = scheduler.FailureOOM, true
	case CodeTimeout:
		f.Code = scheduler.FailureTimeout
	}
	return f
}

// ask sends one request of a call, about its model if about none, and waits
// for the answer.
func (e *Executor) ask(c *call, r Request, timeout time.Duration) (*Reply, error) {
	if r.Model == "" {
		r.Model = e.name(c.Model)
	}
	e.mu.Lock()
	if c.cancelled {
		e.mu.Unlock()
		return nil, errCancelled()
	}
	c.now = c.session.send(r, timeout)
	e.mu.Unlock()
	<-c.now.done
	if c.now.err != nil {
		return nil, c.now.err
	}
	reply := &c.now.reply
	e.distrust(c, reply)
	return reply, nil
}

func errCancelled() error { return &ReplyError{Code: CodeCancelled, Message: "before it was begun"} }

// slack is what two clocks may differ by in a duration.
func slack(took time.Duration) int64 { return int64(took + took/100 + time.Millisecond) }

// distrust drops durations that cannot be: negative ones and such that are
// longer than the request took by our clock.
func (e *Executor) distrust(c *call, r *Reply) {
	durations := []*int64{&r.Wall, &r.Device}
	if p := r.Phases; p != nil {
		durations = append(durations, &p.Build, &p.Read, &p.Copy, &p.Bind, &p.Warmup)
	}
	for _, d := range durations {
		if *d < 0 || *d > slack(c.now.took) {
			e.cfg.notice(Notice{Kind: WorkerTime, Seq: c.Seq, Model: e.name(c.Model), PID: c.session.child.pid(), Reported: *d,
				Seen: int64(c.now.took), Text: fmt.Sprintf("%s tells of %v where %v passed", c.now.Op, time.Duration(*d), c.now.took)})
			*d = 0
		}
	}
}

// phase adds a phase that took time.
func (c *call) phase(name string, took time.Duration) {
	if took > 0 || name == PhaseFirst {
		c.outcome.Phases = append(c.outcome.Phases, scheduler.Phase{Name: name, Took: scheduler.Time(took)})
	}
}

// note takes the side data of the main answer of a call.
func (e *Executor) note(c *call, r *Reply) {
	o := &c.outcome
	if p := r.Phases; p != nil {
		for _, part := range []struct {
			name string
			took int64
		}{{"build", p.Build}, {"read", p.Read}, {"h2d", p.Copy}, {"bind", p.Bind}, {"warmup", p.Warmup}} {
			c.phase(part.name, time.Duration(part.took))
		}
	}
	c.phase(PhaseReply, c.now.lag)
	if r.First {
		c.phase(PhaseFirst, 0)
	}
	o.DeviceTime, o.Bytes = scheduler.Time(r.Device), scheduler.Bytes(r.Bytes)
	if m := r.Memory; m != nil {
		o.Memory = scheduler.DeviceMemory{Free: scheduler.Bytes(m.Free), Total: scheduler.Bytes(m.Total), Allocated: scheduler.Bytes(m.Allocated),
			Reserved: scheduler.Bytes(m.Reserved), PeakAllocated: scheduler.Bytes(m.PeakAllocated), PeakReserved: scheduler.Bytes(m.PeakReserved)}
		e.addOthers(c, m)
		e.compare(c)
	}
}

// addOthers adds what the workers of other models told last: each knows of its
// own memory only, an outcome is about the device.
func (e *Executor) addOthers(c *call, m *Memory) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c.session.told = *m
	o := &c.outcome.Memory
	for _, s := range e.sessions {
		if s != c.session {
			allocated, reserved := scheduler.Bytes(s.told.Allocated), scheduler.Bytes(s.told.Reserved)
			o.Allocated, o.PeakAllocated = o.Allocated+allocated, o.PeakAllocated+allocated
			o.Reserved, o.PeakReserved = o.Reserved+reserved, o.PeakReserved+reserved
		}
	}
}

// mismatch is how many bytes a worker may tell too few.
const mismatch = 64 << 20

// compare holds the memory that a worker tells against what the driver sees,
// which counts.
func (e *Executor) compare(c *call) {
	if e.cfg.Observed == nil {
		return
	}
	seen, err := e.cfg.Observed()
	m := &c.outcome.Memory
	if used := m.Total - m.Free; err == nil && seen > used+mismatch {
		e.cfg.notice(Notice{Kind: VRAMMismatch, Seq: c.Seq, Model: e.name(c.Model), PID: c.session.child.pid(), Reported: int64(used),
			Seen: int64(seen), Text: fmt.Sprintf("the worker tells of %v in use, the driver of %v", used, seen)})
		// The framework's own figures are no better than that one.
		*m = scheduler.DeviceMemory{Free: max(0, m.Total-seen), Total: m.Total}
	}
}

// load brings a model to the device, in a process of its own if that is the
// mode.
func (e *Executor) load(c *call) error {
	if e.cfg.Mode == Isolated {
		if err := e.isolate(c); err != nil {
			return err
		}
	} else if err := e.attach(c, everything); err != nil {
		return err
	}
	r := Request{Op: OpLoad, Tier: FromDisk, Warmup: !e.cfg.SkipWarmup}
	if c.Tier == scheduler.TierHost {
		r.Tier = string(e.cfg.HostTier)
	}
	if r.Tier == FromPinned {
		if err := e.stageLate(c); err != nil {
			return err
		}
	}
	reply, err := e.ask(c, r, atLeast(e.cfg.Timeouts.Load, c.Estimate))
	if err != nil {
		if e.cfg.Mode == Isolated {
			e.detach(c)
		}
		return err
	}
	e.note(c, reply)
	return nil
}

// atLeast returns a timeout for a command with an estimate.
func atLeast(floor time.Duration, estimate scheduler.Time) time.Duration {
	const most = 24 * time.Hour
	if estimate > scheduler.Time(most)/TimeoutFactor {
		return most
	}
	return max(floor, TimeoutFactor*time.Duration(estimate))
}

// attach finds the worker of a call.
func (e *Executor) attach(c *call, m scheduler.ModelID) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.refusal(); err != nil {
		return err
	}
	if c.session = e.sessions[m]; c.session == nil {
		return &ReplyError{Code: CodeNotLoaded, Message: "no process has model " + e.name(c.Model)}
	}
	return nil
}

// isolate starts a process for the model of a load.
func (e *Executor) isolate(c *call) error {
	e.mu.Lock()
	cancelled, there := c.cancelled, e.sessions[c.Model] != nil
	e.mu.Unlock()
	switch {
	case cancelled:
		return errCancelled()
	case there:
		return &ReplyError{Code: CodeBadArg, Message: "model " + e.name(c.Model) + " is loaded already"}
	}
	began := time.Now()
	s, err := greet(e.ctx, &e.cfg, e.dir, e.started, e.lose)
	if err != nil {
		return err
	}
	if err := e.adopt(c.Model, s); err != nil {
		return err
	}
	c.session = s
	if err := e.prepare(s, c.Model); err != nil {
		e.detach(c)
		return err
	}
	c.phase(PhaseSpawn, time.Since(began))
	return nil
}

// detach ends the process of a call's model.
func (e *Executor) detach(c *call) {
	e.mu.Lock()
	if e.sessions[c.Model] == c.session {
		delete(e.sessions, c.Model)
	}
	e.mu.Unlock()
	e.discard(c.session)
}

// home returns under which model the worker of a call is found.
func (e *Executor) home(c *call) scheduler.ModelID {
	if e.cfg.Mode == Isolated {
		return c.Model
	}
	return everything
}

// run runs a batch.
func (e *Executor) run(c *call) error {
	if err := e.attach(c, e.home(c)); err != nil {
		return err
	}
	r := Request{Op: OpRun, Items: make([]Item, len(c.Items))}
	for i, item := range c.Items {
		r.Items[i] = Item{ID: int64(item.ID), Work: item.Work, Seed: int64(item.Seed >> 1)}
	}
	reply, err := e.ask(c, r, atLeast(e.cfg.Timeouts.Run, c.Estimate))
	if err != nil {
		return err
	}
	if reply.N != int64(len(c.Items)) {
		return &ReplyError{Code: CodeFailed, Message: fmt.Sprintf("the worker ran %d of %d items", reply.N, len(c.Items))}
	}
	e.note(c, reply)
	return nil
}

// evict makes a model leave the device; what enters the host tier by that is
// staged first.
func (e *Executor) evict(c *call) error {
	if err := e.attach(c, e.home(c)); err != nil {
		return err
	}
	if e.staging() {
		if err := e.enterHost(c); err != nil {
			return err
		}
	}
	reply, err := e.ask(c, Request{Op: OpUnload}, atLeast(e.cfg.Timeouts.Unload, c.Estimate))
	if err != nil {
		return err
	}
	e.note(c, reply)
	if e.cfg.Mode == Isolated {
		e.detach(c)
	}
	return nil
}

// Cancel ends a command that waits for its turn and asks the worker to end one
// that is carried out.
func (e *Executor) Cancel(seq uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.calls[seq]
	if c == nil || c.cancelled {
		return
	}
	c.cancelled = true
	for i, w := range c.lane.waiting {
		if w == c {
			c.lane.waiting = append(c.lane.waiting[:i:i], c.lane.waiting[i+1:]...)
			e.end(c, errCancelled())
			return
		}
	}
	if c.now != nil {
		c.session.cancel(c.now)
	}
}

// Close ends the workers, politely where nothing is in flight, and removes the
// temporary folder. What was in flight fails.
func (e *Executor) Close(ctx context.Context) error {
	e.mu.Lock()
	again := e.closed
	e.closed = true
	e.mu.Unlock()
	e.stop()
	e.life.Lock()
	defer e.life.Unlock()
	if again {
		return nil
	}
	var errs []error
	if e.busy() {
		e.lose(&LostError{Reason: Closed, Text: "the executor is closed"})
	}
	if err := e.clear(ctx); err != nil {
		close(e.deserted)
		errs = append(errs, err, e.force())
	}
	return errors.Join(append(errs, e.temp.Remove())...)
}

// busy reports whether commands are in flight.
func (e *Executor) busy() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.calls) > 0
}

// force kills every worker, for when the time to close is over.
func (e *Executor) force() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var errs []error
	for _, s := range e.sessions {
		s.lose(Closed, "the executor is closed")
		s.child.kill()
		<-s.over
		if !s.child.gone(0) {
			errs = append(errs, fmt.Errorf("worker %d cannot be killed", s.child.pid()))
		}
	}
	return errors.Join(errs...)
}

var _ scheduler.Restarter = (*Executor)(nil)
