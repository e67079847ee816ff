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

// item is one in flight. What every item needs comes first; the rest is
// untouched by items that have no use for it.
type item struct {
	id       ItemID
	arrival  Time
	readyAt  Time
	seq      int64 // place in the order of becoming ready
	work     int64
	model    ModelID
	priority int32

	next, prev slotID // queue order; members of a batch; free slots
	waiting    int32  // unfinished dependencies
	state      itemState
	cancelled  bool // while running: ends with its batch
	tagged     bool // tags below are set; else it has none

	attempts       int32
	dependants     int32 // first and last edge to items that wait for this one
	dependantsTail int32

	tags             tags
	ageNext, agePrev slotID // order of seq, in ordered queues
	left, right      slotID // search tree, in ordered queues
	key              int64  // place in an ordered queue, before priority
}

// tags are what few items have.
type tags struct {
	job      JobID
	tenant   int64
	deadline Time
}

func noTags() tags { return tags{job: -1, tenant: -1, deadline: Never} }

// tag returns the tags of an item for changing.
func (it *item) tag() *tags {
	if !it.tagged {
		it.tagged, it.tags = true, noTags()
	}
	return &it.tags
}

func (it *item) tagsOrNone() tags {
	if it.tagged {
		return it.tags
	}
	return noTags()
}

func (it *item) view() Item {
	g := it.tagsOrNone()
	return Item{ID: it.id, Model: it.model, Job: g.job, Tenant: g.tenant, Priority: it.priority, Arrival: it.arrival,
		ReadyAt: it.readyAt, Deadline: g.deadline, Work: it.work, Seq: it.seq, Attempts: int(it.attempts)}
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
	if len(t.placeholders) == 0 {
		s = t.alloc(id, itemArriving)
	} else if waitedFor, ok := t.placeholders[id]; ok {
		s = waitedFor
		delete(t.placeholders, id)
		t.slots[s].state = itemArriving
	} else {
		s = t.alloc(id, itemArriving)
	}
	p := id>>pageBits - t.first
	if p >= ItemID(len(t.pages)) || t.pages[p] == nil {
		p = t.newPage(p)
	}
	pg := t.pages[p]
	pg.slots[id&(pageSize-1)] = s + 1
	pg.live++
	t.inFlight++
	return s
}

// newPage begins page p of the ids and returns where it is.
func (t *itemTable) newPage(p ItemID) ItemID {
	for p >= ItemID(len(t.pages)) {
		t.pages = append(t.pages, nil)
	}
	pg := (*page)(nil)
	if n := len(t.freePages); n > 0 {
		pg, t.freePages = t.freePages[n-1], t.freePages[:n-1]
	} else {
		pg = new(page)
	}
	t.pages[p] = pg
	if p > 0 && t.pages[p-1] != nil && t.pages[p-1].live == 0 {
		first := t.first
		t.freePage(p - 1)
		p -= t.first - first
	}
	return p
}

func (t *itemTable) alloc(id ItemID, state itemState) slotID {
	s := t.free
	if s >= 0 {
		t.free = t.slots[s].next
	} else {
		s = slotID(len(t.slots))
		t.slots = append(t.slots, item{dependants: -1, dependantsTail: -1})
	}
	it := &t.slots[s] // its dependants were taken and its attempts reset when it ended
	it.id, it.readyAt, it.seq, it.work, it.next, it.prev, it.waiting = id, 0, 0, WorkUnit, -1, -1, 0
	it.state, it.cancelled, it.tagged, it.key = state, false, false, 0
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
	it.state, it.attempts = itemFree, 0
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
