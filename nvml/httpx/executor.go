package httpx

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/vramsim/vramsim/scheduler"
)

// Executor carries out commands on a running inference server.
//
// At Open, and after a loss, the models of the experiment that are resident
// are unloaded; those of others are left alone. Close unloads what is
// resident. A batch of a model that no command has loaded is refused, although
// some servers would load it.
//
// Cancel ends batches. One that was given up may still reach the server; those
// that load on demand may then load again what has been evicted meanwhile. Loads and evictions run to their end: a server goes on
// with a load whose client has left, and nobody would know where the model is.
// One that has no end in time loses the device, as do a connection that breaks
// off or is refused and an answer that is none of the API.
type Executor struct {
	cfg      Config
	server   server
	outcomes chan scheduler.Outcome
	deserted chan struct{} // closed when nobody reads outcomes any more

	// What follows is set by Open.
	models []scheduler.Model
	keys   []string
	warm   bool // evicted models are wanted in host memory

	mu      sync.Mutex
	opened  bool
	closed  bool
	life    *life
	flying  map[uint64]*flight
	loaded  map[scheduler.ModelID]bool // by our commands
	seen    map[scheduler.ModelID]bool // in the index, last
	moves   int
	changes int // begins and ends of loads and evictions
	version string
}

// life lasts until the server is lost or the executor is closed.
type life struct {
	ctx   context.Context // of batches
	end   context.CancelCauseFunc
	moves context.Context // of loads and evictions; ends a grace later
	abort context.CancelCauseFunc
	calls sync.WaitGroup
}

// lossGrace is how long loads and evictions may go on after a loss. A server
// that is gone ends them at once; one that only talked nonsense gets the time to
// end them, so that none begins when Restart has already looked.
const lossGrace = time.Second

func newLife() *life {
	l := &life{}
	l.ctx, l.end = context.WithCancelCause(context.Background())
	l.moves, l.abort = context.WithCancelCause(context.Background())
	context.AfterFunc(l.ctx, func() {
		_ = wait(l.moves, lossGrace)
		l.abort(context.Cause(l.ctx))
	})
	return l
}

// lost returns why the server is lost, nil if it is not.
func (l *life) lost() *lossError {
	e, _ := errors.AsType[*lossError](context.Cause(l.ctx))
	return e
}

// flight is a command that has no outcome yet.
type flight struct {
	command scheduler.Command
	ctx     context.Context
	cancel  context.CancelCauseFunc
}

// New returns an executor that has to be opened. It returns a *ServerError, a
// *RemoteError or a *NameError for a configuration that is wrong.
func New(cfg Config) (*Executor, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	e := &Executor{cfg: cfg, outcomes: make(chan scheduler.Outcome), deserted: make(chan struct{}), life: newLife(),
		flying: map[uint64]*flight{}, loaded: map[scheduler.ModelID]bool{}, seen: map[scheduler.ModelID]bool{}}
	var err error
	e.server, err = newServer(&e.cfg)
	return e, err
}

// ObserveOnly reports whether the server moves models unasked: the run is to
// be labelled and never ranked.
func (e *Executor) ObserveOnly() bool { return e.cfg.Servers[0].Kind.ObserveOnly() }

// Version returns what the server said that it is, once it is open.
func (e *Executor) Version() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.version
}

// Moves returns how many times a model of the experiment was found to have
// come or gone unasked. Only servers that are observe-only are watched.
func (e *Executor) Moves() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.moves
}

// Open finds the models of the plan on the server and unloads those that are
// resident. It returns a *MissingError if the server lacks some.
func (e *Executor) Open(ctx context.Context, plan scheduler.Plan) (scheduler.Capabilities, error) {
	names := make([]string, len(plan.Models))
	for i := range plan.Models {
		names[i] = plan.Models[i].Name
	}
	version, err := e.server.version(ctx)
	if err != nil {
		return scheduler.Capabilities{}, err
	}
	keys, err := e.server.resolve(ctx, names)
	if err != nil {
		return scheduler.Capabilities{}, err
	}
	e.mu.Lock()
	e.models, e.keys, e.warm, e.version, e.opened = plan.Models, keys, plan.HostMemory > 0, version, true
	e.mu.Unlock()
	return scheduler.Capabilities{Name: "http " + string(e.cfg.Servers[0].Kind)}, e.empty(ctx)
}

// Start sends a command's requests on a goroutine of its own.
func (e *Executor) Start(c scheduler.Command) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.closed || !e.opened:
		return &scheduler.CommandError{Code: scheduler.FailureLost, Text: "the executor is not open"}
	case e.life.lost() != nil:
		return failure(e.life.lost())
	}
	f := &flight{command: c}
	if c.Op == scheduler.OpRun {
		f.ctx, f.cancel = context.WithCancelCause(e.life.ctx)
	} else {
		f.ctx, f.cancel = context.WithCancelCause(e.life.moves)
		e.changes++
	}
	e.flying[c.Seq] = f
	l := e.life
	l.calls.Go(func() { e.carryOut(l, f) })
	return nil
}

// Outcomes returns the channel of outcomes.
func (e *Executor) Outcomes() <-chan scheduler.Outcome { return e.outcomes }

// Cancel ends a batch; loads and evictions go on.
func (e *Executor) Cancel(seq uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if f := e.flying[seq]; f != nil && f.command.Op == scheduler.OpRun {
		f.cancel(errCancelled)
	}
}

// limit returns when a command is given up.
func (e *Executor) limit(c *scheduler.Command) time.Duration {
	estimate := min(time.Duration(c.Estimate), 24*time.Hour)
	switch c.Op {
	case scheduler.OpLoad:
		return max(e.cfg.LoadTimeout, 10*estimate)
	case scheduler.OpRun:
		return max(e.cfg.RunTimeout, 10*estimate)
	default:
		return e.cfg.UnloadTimeout
	}
}

// carryOut is one command.
func (e *Executor) carryOut(l *life, f *flight) {
	c := &f.command
	limit := e.limit(c)
	ctx, stop := context.WithTimeoutCause(f.ctx, limit, fmt.Errorf("%v %w after %v", c.Op, errTimeout, limit))
	defer stop()
	o := scheduler.Outcome{Seq: c.Seq}
	err := e.command(ctx, c, &o)
	if loses(err) {
		l.end(&lossError{err})
	}
	e.mu.Lock()
	if lost := l.lost(); lost != nil {
		err = lost // whatever became of it
	}
	delete(e.flying, c.Seq)
	if c.Op != scheduler.OpRun {
		e.changes++
		if err == nil {
			e.loaded[c.Model] = c.Op == scheduler.OpLoad
		}
	}
	e.mu.Unlock()
	f.cancel(nil)
	o.Failure = failure(err)
	select {
	case e.outcomes <- o:
	case <-e.deserted:
	}
}

// command carries out a command and asks the index what became of it.
func (e *Executor) command(ctx context.Context, c *scheduler.Command, o *scheduler.Outcome) error {
	if err := e.legal(c); err != nil {
		return err
	}
	key := e.keys[c.Model]
	began := time.Now()
	phase := func(name string) {
		now := time.Now()
		o.Phases = append(o.Phases, scheduler.Phase{Name: name, Took: scheduler.Time(now.Sub(began))})
		began = now
	}
	var err error
	switch c.Op {
	case scheduler.OpLoad:
		err = e.server.load(ctx, key, c.Tier)
	case scheduler.OpEvict:
		err = e.server.unload(ctx, key, e.warm)
	case scheduler.OpRun:
		o.DeviceTime, err = e.server.run(ctx, key, c.Items)
	}
	phase("request")
	switch {
	case err == nil:
		err = e.verify(ctx, c, o)
	case c.Op != scheduler.OpRun && !loses(err) && ctx.Err() == nil:
		err = e.afterFailure(ctx, c, err)
	}
	phase("index")
	if c.Op != scheduler.OpRun && ctx.Err() != nil && err != nil && !has[*disagreement](err) {
		err = &stuckError{err}
	}
	return err
}

// legal refuses what no server needs to be asked.
func (e *Executor) legal(c *scheduler.Command) error {
	if c.Model < 0 || int(c.Model) >= len(e.keys) {
		return &scheduler.CommandError{Text: fmt.Sprintf("there is no model %d", c.Model)}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if loaded := e.loaded[c.Model]; loaded != (c.Op != scheduler.OpLoad) {
		what := map[bool]string{false: "not loaded", true: "loaded already"}[loaded]
		return &scheduler.CommandError{Text: fmt.Sprintf("model %s is %s", e.models[c.Model].Name, what)}
	}
	if c.Op == scheduler.OpRun && len(c.Items) == 0 {
		return &scheduler.CommandError{Text: "a batch of nothing"}
	}
	return nil
}

// verify waits until the index has settled and returns what it denies. Memory
// that an eviction promised may come back late; it is waited for.
func (e *Executor) verify(ctx context.Context, c *scheduler.Command, o *scheduler.Outcome) error {
	key, want := e.keys[c.Model], resident
	if c.Op == scheduler.OpEvict {
		want = absent
	}
	found, err := e.settled(ctx, key, func(s state) bool { return s == want || s == absent })
	if found == nil {
		return err
	}
	it := found.of(key)
	o.Memory, o.Bytes = memory(found.index), it.bytes
	e.watch(found)
	switch {
	case it.state == want:
		return nil
	case c.Op == scheduler.OpRun && e.ObserveOnly():
		return nil // it has run; that the server evicted it since is a move
	case it.state == moving:
		return err // where it will end is not known
	}
	return &disagreement{fmt.Sprintf("the server answered that the %v of %s is done", c.Op, e.models[c.Model].Name), it.said}
}

// reading is an index, and how many changes of ours there had been when it was
// asked for.
type reading struct {
	index
	changes int
}

func (e *Executor) read(ctx context.Context, key string) (*reading, error) {
	e.mu.Lock()
	r := &reading{changes: e.changes}
	e.mu.Unlock()
	var err error
	r.index, err = e.server.index(ctx, []string{key})
	return r, err
}

// settled asks the index until it says of a key what is wanted, or the context
// ends: then it returns what it said last, nil if it said nothing, with the
// context's cause.
func (e *Executor) settled(ctx context.Context, key string, wanted func(state) bool) (*reading, error) {
	const first, most = time.Millisecond, 50 * time.Millisecond
	var last *reading
	for pause := first; ; pause = min(2*pause, most) {
		found, err := e.read(ctx, key)
		switch {
		case err != nil && ctx.Err() != nil:
			return last, err
		case err != nil:
			return nil, err
		case wanted(found.of(key).state):
			return found, nil
		}
		last = found
		if err := wait(ctx, pause); err != nil {
			return last, err
		}
	}
}

// wait returns after a pause, or earlier with the context's cause.
func wait(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// memory adds up what the models of an index occupy.
func memory(found index) (m scheduler.DeviceMemory) {
	for _, e := range found {
		m.Allocated += e.bytes
	}
	return m
}

// watch counts the models that came or went although no command moved them, on
// servers that may do that. An index that commands have overtaken says nothing.
func (e *Executor) watch(found *reading) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.ObserveOnly() || found.changes != e.changes {
		return
	}
	ours := map[scheduler.ModelID]bool{}
	for _, f := range e.flying {
		if f.command.Op != scheduler.OpRun {
			ours[f.command.Model] = true
		}
	}
	for i, key := range e.keys {
		m, it := scheduler.ModelID(i), found.of(key)
		here := it.state == resident
		if it.state == moving || here == e.seen[m] {
			continue
		}
		if !ours[m] {
			e.moves++
		}
		e.seen[m] = here
	}
}

// afterFailure makes sure that a load or an eviction that the server refused
// had no effect: a model that is resident after all is unloaded again, one that
// left has been evicted. It returns why the command failed, nil if it did not.
func (e *Executor) afterFailure(ctx context.Context, c *scheduler.Command, why error) error {
	key := e.keys[c.Model]
	if c.Op == scheduler.OpLoad {
		if err := e.expel(ctx, key); err != nil {
			return &stuckError{fmt.Errorf("%w; and it cannot be unloaded: %w", why, err)}
		}
		return why
	}
	found, err := e.settled(ctx, key, func(s state) bool { return s != moving })
	switch {
	case err != nil:
		return err
	case found.of(key).state == absent:
		return nil
	}
	return why
}

// expel unloads a model if the index says that it is there, and waits until it
// says that it is not.
func (e *Executor) expel(ctx context.Context, key string) error {
	found, err := e.settled(ctx, key, func(s state) bool { return s != moving })
	if err != nil || found.of(key).state == absent {
		return err
	}
	if err := e.server.unload(ctx, key, false); err != nil {
		return err
	}
	_, err = e.settled(ctx, key, func(s state) bool { return s == absent })
	return err
}

// empty unloads all models of the plan, each within the time of an eviction.
func (e *Executor) empty(ctx context.Context) error {
	for i, key := range e.keys {
		one, stop := context.WithTimeoutCause(ctx, e.cfg.UnloadTimeout, fmt.Errorf("unload %w after %v", errTimeout, e.cfg.UnloadTimeout))
		err := e.expel(one, key)
		stop()
		if err != nil {
			return fmt.Errorf("model %s cannot be unloaded: %w", e.models[i].Name, err)
		}
	}
	return nil
}

// Restart waits until the server answers again, as long as the context allows,
// and unloads what is resident.
func (e *Executor) Restart(ctx context.Context) error {
	e.mu.Lock()
	l := e.life
	e.mu.Unlock()
	l.end(&lossError{errors.New("it is restarted")}) // ends what is in flight; a loss before it keeps its reason
	l.calls.Wait()
	l.abort(nil)
	if err := e.answered(ctx); err != nil {
		return err
	}
	if err := e.empty(ctx); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return errClosed
	}
	clear(e.loaded)
	clear(e.seen)
	e.life = newLife()
	return nil
}

// answered waits until the server answers.
func (e *Executor) answered(ctx context.Context) error {
	const first, most = 10 * time.Millisecond, time.Second
	for pause := first; ; pause = min(2*pause, most) {
		_, err := e.server.index(ctx, e.keys)
		if err == nil {
			return nil
		}
		if e := wait(ctx, pause); e != nil {
			return fmt.Errorf("%w: %w", e, err)
		}
	}
}

// Close ends batches, gives loads and evictions half of the time that the
// context leaves, and unloads what is resident.
func (e *Executor) Close(ctx context.Context) error {
	e.mu.Lock()
	again := e.closed
	e.closed = true
	l := e.life
	for _, f := range e.flying {
		if f.command.Op == scheduler.OpRun {
			f.cancel(errClosed)
		}
	}
	e.mu.Unlock()
	if again {
		return nil
	}
	err := e.finish(ctx, l)
	if l.lost() != nil && has[*connectionError](err) {
		err = nil // a server that is gone holds nothing
	}
	return err
}

// finish waits for what is in flight and empties the server.
func (e *Executor) finish(ctx context.Context, l *life) error {
	ended := make(chan struct{})
	go func() {
		l.calls.Wait()
		close(ended)
	}()
	grace := e.cfg.UnloadTimeout
	if until, ok := ctx.Deadline(); ok {
		grace = min(grace, time.Until(until)/2)
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	case <-ctx.Done():
	}
	l.end(errClosed)
	l.abort(errClosed)
	select {
	case <-ended:
	case <-ctx.Done():
		close(e.deserted)
		<-ended
	}
	return e.empty(ctx)
}

var _ scheduler.Restarter = (*Executor)(nil)
