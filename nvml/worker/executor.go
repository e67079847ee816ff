package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vramsim/vramsim/nvml/scratch"
	"github.com/vramsim/vramsim/scheduler"
)

// Executor carries out commands in a worker, or in one for each resident
// model. After a loss everything of it is ended, and nothing goes on before
// Restart.
//
// Commands of one worker are carried out in the order of Start, as many at
// once as it says it can. An outcome's phases are those that the worker tells
// ("build", "read", "h2d", "bind", "warmup" of a load), and around them "wait"
// for its turn, "spawn", "stage" and "reply"; a phase "first" of no length
// marks the first use of a model in a worker's life.
type Executor struct {
	cfg      Config
	plan     scheduler.Plan
	outcomes chan scheduler.Outcome
	deserted chan struct{} // closed when nobody reads outcomes any more
	ctx      context.Context
	stop     context.CancelFunc
	running  sync.WaitGroup // calls whose outcome has not been taken
	life     sync.Mutex     // held by Open, Restart and Close
	dir      string
	temp     *scratch.Folder // which dir is if it is temporary, else nil
	free     int64           // bytes of device memory after the last start

	tier sync.Mutex // held while something is staged; guards host
	host hostTier

	mu       sync.Mutex
	closed   bool
	lost     *LostError // why commands fail, nil if they do not
	sessions map[scheduler.ModelID]*session
	children []*child // that have been started and may still be there
	lanes    map[scheduler.ModelID]*lane
	calls    map[uint64]*call
	hello    *Hello
	width    int
}

// everything is the model that stands for all of them in Shared mode.
const everything = scheduler.NoModel

// lane is the queue of a worker.
type lane struct {
	free    int
	waiting []*call
}

// call is a command on its way.
type call struct {
	scheduler.Command
	begun     time.Time
	lane      *lane
	cancelled bool
	session   *session
	now       *request
	outcome   scheduler.Outcome
}

// New returns an executor that has to be opened, or what is wrong with the
// configuration; that wraps ErrConfig.
func New(cfg Config) (*Executor, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	e := &Executor{cfg: cfg, outcomes: make(chan scheduler.Outcome), deserted: make(chan struct{}),
		sessions: map[scheduler.ModelID]*session{}, lanes: map[scheduler.ModelID]*lane{}, calls: map[uint64]*call{}}
	e.ctx, e.stop = context.WithCancel(context.Background())
	return e, nil
}

// Hello returns what the worker said when it was last started, nil before.
func (e *Executor) Hello() *Hello {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.hello
}

// Pids returns the processes of the workers, from their start on and until they
// are gone, for telling their memory from that of others. What they started is
// not among them.
func (e *Executor) Pids() (pids []int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.children = slices.DeleteFunc(e.children, func(c *child) bool { return c.gone(0) })
	for _, c := range e.children {
		pids = append(pids, c.pid())
	}
	slices.Sort(pids)
	return pids
}

// started takes note of a worker's process before it can have any memory.
func (e *Executor) started(c *child) {
	e.mu.Lock()
	e.children = append(slices.DeleteFunc(e.children, func(c *child) bool { return c.gone(0) }), c)
	e.mu.Unlock()
	e.cfg.notice(Notice{Kind: Started, PID: c.pid()})
}

// Outcomes returns the channel of outcomes.
func (e *Executor) Outcomes() <-chan scheduler.Outcome { return e.outcomes }

// folder makes the folder of weights, a temporary one if none was given.
func (e *Executor) folder() (err error) {
	if e.dir = e.cfg.Dir; e.dir != "" {
		return os.MkdirAll(e.dir, 0o777)
	}
	if e.temp, err = scratch.Make("", folderPrefix); err == nil {
		e.dir = e.temp.Path()
	}
	return err
}

// Open starts a worker and prepares every model of the plan in it. The error
// may be a *LostError, a *ReplyError, a *scheduler.CapabilityError or one that
// wraps ErrConfig.
func (e *Executor) Open(ctx context.Context, plan scheduler.Plan) (scheduler.Capabilities, error) {
	e.life.Lock()
	defer e.life.Unlock()
	if e.ctx.Err() != nil {
		return scheduler.Capabilities{}, errClosed()
	}
	e.plan = plan
	if err := e.folder(); err != nil {
		return scheduler.Capabilities{}, err
	}
	if err := e.raise(ctx); err != nil {
		return scheduler.Capabilities{}, err
	}
	able := scheduler.Capabilities{Name: "worker", Slots: e.width, Memory: scheduler.Bytes(e.hello.GPU.Total),
		Tiers: []scheduler.Tier{scheduler.TierDisk, scheduler.TierHost}}
	return able, nil
}

// raise starts a worker, has it prepare every model, reads its memory and
// makes it ready for commands. life is held.
func (e *Executor) raise(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(e.ctx, func() { cancel(errors.New("the executor is closed")) })()
	s, err := greet(ctx, &e.cfg, e.dir, e.started, e.lose)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { s.lose(Closed, context.Cause(ctx).Error()) })()
	if err := e.furnish(s); err != nil {
		e.discard(s)
		return err
	}
	e.mu.Lock()
	e.hello, e.width, e.lost = s.hello, max(1, int(min(s.hello.Concurrent, 64))), nil
	e.mu.Unlock()
	if e.cfg.Mode == Isolated {
		return s.close(ctx) // it was for the files; each load starts its own
	}
	return e.adopt(everything, s)
}

// furnish prepares and stages the models in a fresh worker.
func (e *Executor) furnish(s *session) error {
	if e.staging() && !s.able(CapStage) {
		return &scheduler.CapabilityError{Device: e.plan.Name, Executor: "worker", What: "cannot stage models in pinned memory"}
	}
	if err := e.known(s.hello); err != nil {
		return err
	}
	q, err := s.do(Request{Op: OpMem}, e.cfg.Timeouts.Other)
	if err != nil {
		return fmt.Errorf("memory cannot be read: %w", err)
	}
	if q.reply.Memory != nil {
		e.free = q.reply.Memory.Free
	}
	for m := range e.plan.Models {
		if err := e.prepare(s, scheduler.ModelID(m)); err != nil {
			return err
		}
	}
	if !e.staging() {
		return nil
	}
	return e.stageAll(s)
}

// known checks that the worker has the models of the plan.
func (e *Executor) known(h *Hello) error {
	var has []string
	for _, m := range h.Models {
		has = append(has, m.Name)
	}
	for i := range e.plan.Models {
		if name := e.plan.Models[i].Name; len(has) > 0 && !slices.Contains(has, name) {
			return &scheduler.CapabilityError{Device: e.plan.Name, Executor: "worker",
				What: fmt.Sprintf("has no model %q; it has %s", name, printable(shorten(strings.Join(has, ", "), 300)))}
		}
	}
	return nil
}

func (e *Executor) prepare(s *session, m scheduler.ModelID) error {
	model := &e.plan.Models[m]
	q, err := s.do(Request{Op: OpPrepare, Model: model.Name, Bytes: int64(model.Bytes), ItemBytes: int64(model.Batch.Memory),
		Seed: e.cfg.Seed}, e.cfg.Timeouts.Prepare)
	if err == nil && q.reply.SHA256 == "" {
		err = errors.New("the worker does not tell the sha256 of the weights")
	}
	if err != nil {
		return fmt.Errorf("model %s cannot be prepared: %w", model.Name, err)
	}
	return nil
}

func (e *Executor) name(m scheduler.ModelID) string { return e.plan.Models[m].Name }

// adopt makes a session the one of a model, unless it or another has been lost
// meanwhile or the executor closed: then it is ended.
func (e *Executor) adopt(m scheduler.ModelID, s *session) error {
	e.mu.Lock()
	if err := s.failure(); err != nil && e.lost == nil {
		errors.As(err, &e.lost)
	}
	err := e.refusal()
	if err == nil {
		e.sessions[m] = s
	}
	e.mu.Unlock()
	if err != nil {
		e.discard(s)
	}
	return err
}

// refusal returns why no command can be taken, nil if one can. The lock is held.
func (e *Executor) refusal() error {
	switch {
	case e.closed:
		return errClosed()
	case e.lost != nil:
		return e.lost
	}
	return nil
}

func errClosed() error { return &LostError{Reason: Closed, Text: "the executor is closed"} }

// discard ends a worker that nothing is wanted of any more.
func (e *Executor) discard(s *session) error {
	ctx, cancel := context.WithTimeout(context.Background(), e.cfg.Timeouts.Other)
	defer cancel()
	return s.close(ctx)
}

// lose fails all that waits and ends every worker: the device counts as lost
// with any of them.
func (e *Executor) lose(why *LostError) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.lost != nil {
		return
	}
	e.lost = why
	for _, l := range e.lanes {
		for _, c := range l.waiting {
			e.end(c, why)
		}
		l.waiting = nil
	}
	for _, s := range e.sessions {
		s.lose(Closed, why.Text)
	}
}

// Restart ends what is left, starts the worker again and prepares it as Open
// did; what it had staged is staged again.
func (e *Executor) Restart(ctx context.Context) error {
	e.life.Lock()
	defer e.life.Unlock()
	if e.ctx.Err() != nil {
		return errClosed()
	}
	began := time.Now()
	e.lose(&LostError{Reason: Closed, Text: "the worker is started again"})
	if err := e.clear(ctx); err != nil {
		return err
	}
	if err := e.raise(ctx); err != nil {
		return err
	}
	e.cfg.notice(Notice{Kind: Respawned, PID: int(e.Hello().PID), Took: time.Since(began), Seen: e.free})
	return nil
}

// clear waits until the calls have had their outcomes and the workers are gone.
func (e *Executor) clear(ctx context.Context) error {
	ended := make(chan struct{})
	go func() {
		e.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	e.mu.Lock()
	old := slices.Collect(maps.Values(e.sessions))
	clear(e.sessions)
	clear(e.lanes)
	e.mu.Unlock()
	for _, s := range old {
		if err := s.close(ctx); err != nil {
			return err
		}
	}
	return nil
}
