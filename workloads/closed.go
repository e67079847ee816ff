package workloads

import (
	"io"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/random"
)

// closed is a source of clients that wait for the end of their job, think and
// submit the next. It implements scheduler.Reactive.
type closed struct {
	named
	keys    keys
	think   random.Dist
	until   scheduler.Time
	clients []client
	due     dueHeap
	at      [1]scheduler.Time // of the job being made
	follower
}

type client struct {
	entity  uint64
	ordinal uint64 // jobs submitted
	left    int    // items of its job that have not ended
}

func newClosed(c *Config, m maker, k keys) *closed {
	s := &closed{named: newNamed(c, m), keys: k, think: c.Arrivals.Think, until: c.Duration,
		clients: make([]client, c.Arrivals.Clients)}
	s.follower = newFollower(s.end)
	for i := range s.clients {
		s.clients[i].entity = random.Key(random.Hash("client"), uint64(i))
		s.due.push(due{0, int32(i)})
	}
	return s
}

// NextAt returns when the next client has thought enough.
func (c *closed) NextAt() (scheduler.Time, bool) {
	if len(c.due) == 0 || c.out.left() == 0 {
		return 0, false
	}
	return c.due[0].at, true
}

// Next returns the items of all clients that submit at NextAt.
func (c *closed) Next() ([]scheduler.Event, error) {
	at, ok := c.NextAt()
	if !ok {
		return nil, io.EOF
	}
	c.out.turn()
	for {
		next, ok := c.NextAt()
		if !ok || next != at {
			return c.out.events, nil
		}
		if err := c.submit(at, c.due.pop().client); err != nil {
			return nil, err
		}
	}
}

// submit starts a client's job. A job of which nothing happens has ended at
// once; to keep time moving, the client then thinks at least a nanosecond.
func (c *closed) submit(at scheduler.Time, who int32) error {
	cl := &c.clients[who]
	first := c.out.nextItem
	c.at[0] = at
	if err := c.maker.jobs(c.at[:], cl.entity, cl.ordinal, &c.out); err != nil {
		return err
	}
	cl.ordinal++
	cl.left = int(c.out.nextItem - first)
	for id := first; id < c.out.nextItem; id++ {
		c.owner[id] = who
	}
	if cl.left == 0 {
		c.rest(at+1, who)
	}
	return nil
}

// rest lets a client think from at on, until its next job.
func (c *closed) rest(at scheduler.Time, who int32) {
	cl := &c.clients[who]
	if c.think != nil {
		u := random.Uniform(random.Key(c.keys.of(cl.entity, forThink), cl.ordinal))
		at = after(at, c.think.Quantile(u))
	}
	if at < scheduler.MaxTime && (c.until == 0 || at <= c.until) {
		c.due.push(due{at, who})
	}
}

// end is told that an item of a client has ended.
func (c *closed) end(at scheduler.Time, who int32) {
	if cl := &c.clients[who]; cl.left > 0 {
		if cl.left--; cl.left == 0 {
			c.rest(at, who)
		}
	}
}
