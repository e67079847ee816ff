package scheduler

import "math/bits"

// maxBuckets is how many distinct priorities a queue keeps as lists of their
// own; with more it becomes an ordered queue.
const maxBuckets = 64

// queue holds the ready items of one model: by key, where there is an Order,
// then priority, then order of becoming ready. Without a key and with up to
// maxBuckets priorities in use it is a list per priority and constant in time;
// otherwise one list in order with a search tree (a treap) over it.
type queue struct {
	n       int
	blocked int    // items that wait for dependencies
	near    int    // of those, for one last
	work    int64  // of the ready items
	odd     int    // ready items of other than ordinary work
	readied uint64 // when the ready items became ready, summed modulo 2⁶⁴

	arrivals                  int64
	firstArrival, lastArrival Time

	buckets []bucket // by descending priority
	top     int      // no bucket before it has items

	ordered          bool
	head             slotID // in order
	root             slotID
	ageHead, ageTail slotID
}

type bucket struct {
	priority   int32
	head, tail slotID
}

func (q *queue) init(ordered bool) {
	q.ordered, q.head, q.root, q.ageHead, q.ageTail = ordered, -1, -1, -1, -1
}

func (q *queue) plainWork() bool { return q.odd == 0 }

func (q *queue) first(t *itemTable) slotID {
	switch {
	case q.n == 0:
		return -1
	case q.ordered:
		return q.head
	}
	return q.buckets[q.top].head
}

func (q *queue) next(t *itemTable, s slotID) slotID {
	it := t.at(s)
	if it.next >= 0 || q.ordered {
		return it.next
	}
	for i := q.find(it.priority) + 1; i < len(q.buckets); i++ {
		if q.buckets[i].head >= 0 {
			return q.buckets[i].head
		}
	}
	return -1
}

// oldest returns the item that became ready first.
func (q *queue) oldest(t *itemTable) slotID {
	if q.ordered || q.n == 0 {
		return q.ageHead
	}
	best := q.buckets[q.top].head
	for i := q.top + 1; i < len(q.buckets); i++ {
		if s := q.buckets[i].head; s >= 0 && t.at(s).seq < t.at(best).seq {
			best = s
		}
	}
	return best
}

// push inserts a ready item at the place its key, priority and seq give it:
// at the end for new items, at the front for those of a failed batch.
func (q *queue) push(t *itemTable, s slotID) {
	it := t.at(s)
	q.n++
	q.work += it.work
	q.readied += uint64(it.readyAt)
	if it.work != WorkUnit {
		q.odd++
	}
	if !q.ordered {
		if len(q.buckets) == 1 && q.buckets[0].priority == it.priority {
			q.buckets[0].push(t, s)
			q.top = 0
			return
		}
		i := q.find(it.priority)
		if i == len(q.buckets) || q.buckets[i].priority != it.priority {
			if !q.addBucket(i, it.priority) {
				q.order(t)
				q.insert(t, s)
				return
			}
			i = q.find(it.priority)
		}
		q.buckets[i].push(t, s)
		if i < q.top || q.n == 1 {
			q.top = i
		}
		return
	}
	q.insert(t, s)
}

// remove takes an item out from wherever it stands.
func (q *queue) remove(t *itemTable, s slotID) {
	it := t.at(s)
	q.uncount(it)
	if q.ordered {
		q.extract(t, s)
		return
	}
	i := q.find(it.priority)
	q.buckets[i].remove(t, s)
	q.skip()
}

func (q *queue) uncount(it *item) {
	q.n--
	q.work -= it.work
	q.readied -= uint64(it.readyAt)
	if it.work != WorkUnit {
		q.odd--
	}
}

// pop takes s, the first item, out.
func (q *queue) pop(t *itemTable, s slotID) {
	it := t.at(s)
	q.uncount(it)
	if q.ordered {
		q.extract(t, s)
		return
	}
	b := &q.buckets[q.top]
	if b.head = it.next; b.head >= 0 {
		t.at(b.head).prev = -1
		return
	}
	b.tail = -1
	q.skip()
}

// skip passes over the priorities that have no items before those that do.
func (q *queue) skip() {
	for q.n > 0 && q.buckets[q.top].head < 0 {
		q.top++
	}
}

// find returns the place of a priority among the buckets.
func (q *queue) find(priority int32) int {
	if len(q.buckets) == 1 && q.buckets[0].priority == priority {
		return 0
	}
	lo, hi := 0, len(q.buckets)
	for lo < hi {
		mid := (lo + hi) / 2
		if q.buckets[mid].priority > priority {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// addBucket makes room for one more priority, or reports that there are too
// many with items in them.
func (q *queue) addBucket(i int, priority int32) bool {
	if len(q.buckets) >= maxBuckets {
		kept := q.buckets[:0]
		for _, b := range q.buckets {
			if b.head >= 0 {
				kept = append(kept, b)
			}
		}
		q.buckets = kept
		if len(kept) >= maxBuckets {
			return false
		}
		i, q.top = q.find(priority), 0
	}
	q.buckets = append(q.buckets, bucket{})
	copy(q.buckets[i+1:], q.buckets[i:])
	q.buckets[i] = bucket{priority: priority, head: -1, tail: -1}
	if i <= q.top && q.n > 1 {
		q.top++
	}
	for q.n > 1 && q.buckets[q.top].head < 0 {
		q.top++
	}
	return true
}

func (b *bucket) push(t *itemTable, s slotID) {
	it := t.at(s)
	before := b.tail // the item after which s goes
	if before < 0 {
		it.prev, it.next, b.head, b.tail = -1, -1, s, s
		return
	}
	if last := t.at(before); last.seq < it.seq {
		last.next, it.prev, it.next, b.tail = s, before, -1, s
		return
	}
	before = -1
	for n := b.head; n >= 0 && t.at(n).seq < it.seq; n = t.at(n).next {
		before = n
	}
	it.prev = before
	if before < 0 {
		it.next = b.head
		b.head = s
	} else {
		it.next = t.at(before).next
		t.at(before).next = s
	}
	if it.next < 0 {
		b.tail = s
	} else {
		t.at(it.next).prev = s
	}
}

func (b *bucket) remove(t *itemTable, s slotID) {
	it := t.at(s)
	if it.prev < 0 {
		b.head = it.next
	} else {
		t.at(it.prev).next = it.next
	}
	if it.next < 0 {
		b.tail = it.prev
	} else {
		t.at(it.next).prev = it.prev
	}
	it.next, it.prev = -1, -1
}

// order turns the lists into one ordered queue.
func (q *queue) order(t *itemTable) {
	q.ordered, q.head, q.root, q.ageHead, q.ageTail = true, -1, -1, -1, -1
	for _, b := range q.buckets {
		for s := b.head; s >= 0; {
			next := t.at(s).next
			q.insert(t, s)
			s = next
		}
	}
	q.buckets, q.top = nil, 0
}

// precedes is the order of an ordered queue.
func precedes(a, b *item) bool {
	if a.key != b.key {
		return a.key < b.key
	}
	if a.priority != b.priority {
		return a.priority > b.priority
	}
	return a.seq < b.seq
}

// heapRank is the treap's pseudo-random rank, a bijective mix of seq.
func heapRank(it *item) uint64 {
	x := uint64(it.seq) * 0x9e3779b97f4a7c15
	x ^= x >> 29
	return bits.Reverse64(x * 0xbf58476d1ce4e5b9)
}

func (q *queue) insert(t *itemTable, s slotID) {
	it := t.at(s)
	it.left, it.right = -1, -1
	before, after := slotID(-1), slotID(-1)
	for n := q.root; n >= 0; {
		if precedes(it, t.at(n)) {
			after, n = n, t.at(n).left
		} else {
			before, n = n, t.at(n).right
		}
	}
	it.prev, it.next = before, after
	if before < 0 {
		q.head = s
	} else {
		t.at(before).next = s
	}
	if after >= 0 {
		t.at(after).prev = s
	}
	q.root = treapInsert(t, q.root, s)
	// The age list: new items are the youngest, returned ones near the front.
	older := q.ageTail
	if older >= 0 && t.at(older).seq > it.seq {
		older = -1
		for n := q.ageHead; n >= 0 && t.at(n).seq < it.seq; n = t.at(n).ageNext {
			older = n
		}
	}
	it.agePrev = older
	if older < 0 {
		it.ageNext = q.ageHead
		q.ageHead = s
	} else {
		it.ageNext = t.at(older).ageNext
		t.at(older).ageNext = s
	}
	if it.ageNext < 0 {
		q.ageTail = s
	} else {
		t.at(it.ageNext).agePrev = s
	}
}

func (q *queue) extract(t *itemTable, s slotID) {
	it := t.at(s)
	if it.prev < 0 {
		q.head = it.next
	} else {
		t.at(it.prev).next = it.next
	}
	if it.next >= 0 {
		t.at(it.next).prev = it.prev
	}
	if it.agePrev < 0 {
		q.ageHead = it.ageNext
	} else {
		t.at(it.agePrev).ageNext = it.ageNext
	}
	if it.ageNext < 0 {
		q.ageTail = it.agePrev
	} else {
		t.at(it.ageNext).agePrev = it.agePrev
	}
	q.root = treapRemove(t, q.root, s)
	it.next, it.prev = -1, -1
}

func treapInsert(t *itemTable, root, s slotID) slotID {
	if root < 0 {
		return s
	}
	r, it := t.at(root), t.at(s)
	if heapRank(it) > heapRank(r) {
		it.left, it.right = treapSplit(t, root, it)
		return s
	}
	if precedes(it, r) {
		r.left = treapInsert(t, r.left, s)
	} else {
		r.right = treapInsert(t, r.right, s)
	}
	return root
}

// treapSplit parts a tree into what precedes it and what follows.
func treapSplit(t *itemTable, root slotID, it *item) (left, right slotID) {
	if root < 0 {
		return -1, -1
	}
	r := t.at(root)
	if precedes(r, it) {
		r.right, right = treapSplit(t, r.right, it)
		return root, right
	}
	left, r.left = treapSplit(t, r.left, it)
	return left, root
}

func treapMerge(t *itemTable, a, b slotID) slotID {
	switch {
	case a < 0:
		return b
	case b < 0:
		return a
	case heapRank(t.at(a)) > heapRank(t.at(b)):
		t.at(a).right = treapMerge(t, t.at(a).right, b)
		return a
	}
	t.at(b).left = treapMerge(t, a, t.at(b).left)
	return b
}

func treapRemove(t *itemTable, root, s slotID) slotID {
	if root == s {
		return treapMerge(t, t.at(s).left, t.at(s).right)
	}
	if root < 0 {
		return -1
	}
	r := t.at(root)
	if precedes(t.at(s), r) {
		r.left = treapRemove(t, r.left, s)
	} else {
		r.right = treapRemove(t, r.right, s)
	}
	return root
}

// next returns the first member from m on, or NoModel.
func (s modelSet) next(m ModelID) ModelID {
	i := int(m >> 6)
	if i >= len(s) {
		return NoModel
	}
	if w := s[i] >> (m & 63) << (m & 63); w != 0 {
		return ModelID(i<<6 + bits.TrailingZeros64(w))
	}
	for i++; i < len(s); i++ {
		if s[i] != 0 {
			return ModelID(i<<6 + bits.TrailingZeros64(s[i]))
		}
	}
	return NoModel
}
