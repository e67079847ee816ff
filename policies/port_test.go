package policies_test

import (
	"fmt"
	"math"
	"math/rand"
	"time"
)

// port is the seed document's scheduler, translated line by line: maps in no
// order, floats, wall clock, queues from which items are taken before a load.
type port struct {
	queues  map[string]*portQueue
	current string
	loads   map[string]time.Duration // the last one
	scans   int                      // items looked at to resolve dependencies
}

type portItem struct {
	id        string
	model     string
	priority  uint32
	after     []string
	submitted time.Time
	resolved  map[string]bool
}

type portQueue struct {
	ready, waiting []*portItem
	scans          int // items looked at to insert others
}

var portModels = []string{"whisper", "videomae", "clap", "qwen3", "dinov3"}

func newPort() *port {
	p := &port{queues: map[string]*portQueue{}, loads: map[string]time.Duration{}}
	for _, m := range portModels {
		p.queues[m] = &portQueue{}
	}
	return p
}

// portNew is WorkItem::new: the id is known only once the item exists.
func portNew(model string, priority uint32, after ...string) *portItem {
	return &portItem{id: fmt.Sprintf("%s_%016x", model, rand.Uint64()), model: model, priority: priority, after: after,
		submitted: time.Now(), resolved: map[string]bool{}}
}

func (i *portItem) isReady() bool {
	for _, dep := range i.after {
		if !i.resolved[dep] {
			return false
		}
	}
	return true
}

func (q *portQueue) push(i *portItem) {
	if !i.isReady() {
		q.waiting = append(q.waiting, i)
		return
	}
	at := len(q.ready)
	for k, other := range q.ready {
		q.scans++
		if other.priority < i.priority {
			at = k
			break
		}
	}
	q.ready = append(q.ready[:at], append([]*portItem{i}, q.ready[at:]...)...)
}

// resolve is resolve_dependency with its swap_remove.
func (q *portQueue) resolve(dep string) (scans int) {
	for i := 0; i < len(q.waiting); {
		scans++
		item := q.waiting[i]
		item.resolved[dep] = true
		if !item.isReady() {
			i++
			continue
		}
		q.waiting[i] = q.waiting[len(q.waiting)-1]
		q.waiting = q.waiting[:len(q.waiting)-1]
		q.push(item)
	}
	return scans
}

func (p *port) submit(i *portItem) string {
	if q := p.queues[i.model]; q != nil {
		q.push(i)
	}
	return i.id
}

func (p *port) resolve(dep string) {
	for _, q := range p.queues {
		p.scans += q.resolve(dep)
	}
}

func (p *port) nextBatch(max int) (string, []*portItem) {
	if q := p.queues[p.current]; q != nil && len(q.ready) > 0 {
		if batch := q.take(max); len(batch) > 0 {
			return p.current, batch
		}
	}
	best, most := "", 0
	for m, q := range p.queues { // in no order, and of equals the last
		if len(q.ready) > 0 && len(q.ready) >= most {
			best, most = m, len(q.ready)
		}
	}
	if best == "" {
		return "", nil
	}
	if batch := p.queues[best].take(max); len(batch) > 0 {
		return best, batch
	}
	return "", nil
}

func (q *portQueue) take(max int) []*portItem {
	n := min(max, len(q.ready))
	batch := q.ready[:n:n]
	q.ready = q.ready[n:]
	return batch
}

func (p *port) pending() int {
	n := 0
	for _, q := range p.queues {
		n += len(q.ready) + len(q.waiting)
	}
	return n
}

func (p *port) estimate(m string) time.Duration { return p.loads[m] }

// portConfig is VramConfig.
type portConfig struct{ total, safety float64 }

func (c portConfig) usable() float64       { return c.total * c.safety }
func (c portConfig) fits(gb float64) bool  { return gb <= c.usable() }
func portUnits(gb float64, per uint32) int { return int(uint32(math.Max(0, gb*float64(per)))) }
