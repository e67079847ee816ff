package scheduler

// slotID addresses an item in flight; -1 is none.
type slotID = int32

type itemState uint8

const (
	itemFree        itemState = iota
	itemPlaceholder           // a dependency that has yet to arrive
	itemArriving              // its attributes follow
	itemBlocked
	itemReady
	itemRunning
)

type item struct {
	id       ItemID
	job      JobID
	tenant   int64
	arrival  Time
	readyAt  Time
	deadline Time
	work     int64
	key      int64 // place within its priority in an ordered queue
	seq      int64 // place in the order of becoming ready

	next, prev       slotID // queue order; members of a batch; free slots
	ageNext, agePrev slotID // order of seq, in ordered queues
	left, right      slotID // search tree, in ordered queues

	dependants     int32 // first and last edge to items that wait for this one
	dependantsTail int32
	waiting        int32 // unfinished dependencies
	model          ModelID
	priority       int32
	attempts       int32
	state          itemState
	cancelled      bool // while running: ends with its batch
}

func (it *item) view() Item {
	return Item{ID: it.id, Model: it.model, Job: it.job, Tenant: it.tenant, Priority: it.priority, Arrival: it.arrival,
		ReadyAt: it.readyAt, Deadline: it.deadline, Work: it.work, Seq: it.seq, Attempts: int(it.attempts)}
}

type edge struct {
	to   ItemID
	next int32
}

const (
	pageBits = 10
	pageSize = 1 << pageBits
)

type page struct {
	slots [pageSize]slotID // slot + 1; 0: not in flight
	live  int
}

// itemTable holds the items in flight. Slots, edges and the pages of the id
// table are recycled, so that memory follows what is in flight.
type itemTable struct {
	slots    []item
	free     slotID
	inFlight int

	pages     []*page // of ids from first<<pageBits on; nil where nothing is in flight
	first     ItemID
	freePages []*page

	// placeholders are the dependencies that have not arrived.
	placeholders map[ItemID]slotID

	edges    []edge
	freeEdge int32
}

func (t *itemTable) init() { t.free, t.freeEdge = -1, -1 }

func (t *itemTable) at(s slotID) *item { return &t.slots[s] }

func (t *itemTable) lookup(id ItemID) (slotID, bool) {
	p := id>>pageBits - t.first
	if p >= 0 && p < ItemID(len(t.pages)) {
		if page := t.pages[p]; page != nil {
			s := page.slots[id&(pageSize-1)] - 1
			return s, s >= 0
		}
	}
	return -1, false
}

// add gives an arriving item a slot, its placeholder's if it has one.
func (t *itemTable) add(id ItemID) slotID {
	var s slotID
	if waitedFor, ok := t.placeholders[id]; ok && len(t.placeholders) > 0 {
		s = waitedFor
		delete(t.placeholders, id)
		it := &t.slots[s]
		it.state = itemArriving
	} else {
		s = t.alloc(id, itemArriving)
	}
	p := id>>pageBits - t.first
	for p >= ItemID(len(t.pages)) {
		t.pages = append(t.pages, nil)
	}
	pg := t.pages[p]
	if pg == nil {
		if n := len(t.freePages); n > 0 {
			pg, t.freePages = t.freePages[n-1], t.freePages[:n-1]
		} else {
			pg = new(page)
		}
		t.pages[p] = pg
		if p > 0 && t.pages[p-1] != nil && t.pages[p-1].live == 0 {
			t.freePage(p - 1)
		}
	}
	pg.slots[id&(pageSize-1)] = s + 1
	pg.live++
	t.inFlight++
	return s
}

func (t *itemTable) alloc(id ItemID, state itemState) slotID {
	s := t.free
	if s >= 0 {
		t.free = t.slots[s].next
	} else {
		s = slotID(len(t.slots))
		t.slots = append(t.slots, item{})
	}
	t.slots[s] = item{id: id, job: -1, tenant: -1, deadline: Never, work: WorkUnit, next: -1, prev: -1,
		dependants: -1, dependantsTail: -1, state: state}
	return s
}

// placeholder returns the slot that stands for an item yet to arrive.
func (t *itemTable) placeholder(id ItemID) slotID {
	if s, ok := t.placeholders[id]; ok {
		return s
	}
	if t.placeholders == nil {
		t.placeholders = map[ItemID]slotID{}
	}
	s := t.alloc(id, itemPlaceholder)
	t.placeholders[id] = s
	return s
}

// remove forgets an item that ended; its dependants must have been taken.
func (t *itemTable) remove(s slotID) {
	it := &t.slots[s]
	p := it.id>>pageBits - t.first
	pg := t.pages[p]
	pg.slots[it.id&(pageSize-1)] = 0
	pg.live--
	if pg.live == 0 && p < ItemID(len(t.pages))-1 {
		t.freePage(p)
	}
	t.inFlight--
	it.state = itemFree
	it.next = t.free
	t.free = s
}

// freePage recycles a page on which nothing is in flight; the last page stays,
// for ids are still being given out there.
func (t *itemTable) freePage(p ItemID) {
	t.freePages = append(t.freePages, t.pages[p])
	t.pages[p] = nil
	drop := 0
	for t.pages[drop] == nil {
		drop++
	}
	if drop > 0 {
		t.first += ItemID(drop)
		t.pages = append(t.pages[:0], t.pages[drop:]...)
	}
}

// depend makes dependant wait for the item in slot s, once: it reports false
// if dependant, the last to arrive, does so already.
func (t *itemTable) depend(s slotID, dependant ItemID) bool {
	if last := t.slots[s].dependantsTail; last >= 0 && t.edges[last].to == dependant {
		return false
	}
	e := t.freeEdge
	if e >= 0 {
		t.freeEdge = t.edges[e].next
	} else {
		e = int32(len(t.edges))
		t.edges = append(t.edges, edge{})
	}
	t.edges[e] = edge{to: dependant, next: -1}
	it := &t.slots[s]
	if it.dependants < 0 {
		it.dependants = e
	} else {
		t.edges[it.dependantsTail].next = e
	}
	it.dependantsTail = e
	return true
}

// takeDependants calls f with each dependant of the item in slot s, in the
// order in which they came to depend on it, and forgets them.
func (t *itemTable) takeDependants(s slotID, f func(ItemID)) {
	for e := t.slots[s].dependants; e >= 0; {
		to, next := t.edges[e].to, t.edges[e].next
		t.edges[e].next = t.freeEdge
		t.freeEdge = e
		f(to)
		e = next
	}
	t.slots[s].dependants, t.slots[s].dependantsTail = -1, -1
}

// modelSet is a set of models that finds the next member quickly.
type modelSet []uint64

func (s modelSet) add(m ModelID)    { s[m>>6] |= 1 << (m & 63) }
func (s modelSet) remove(m ModelID) { s[m>>6] &^= 1 << (m & 63) }
