package metrics

import "math/bits"

// pageBits is the logarithm of a page's length; a page's live set is one word.
const pageBits = 6

type page struct {
	live  uint64
	items [1 << pageBits]item
}

// itemTable holds the items in flight by their dense ids. Pages are recycled,
// so that memory follows what is in flight.
type itemTable struct {
	pages []*page // nil where nothing is in flight
	first int64   // number of pages[0]
	free  []*page
	n     int64
}

// at returns the item, nil if it is not in flight.
func (t *itemTable) at(id int64) *item {
	p := uint64(id>>pageBits - t.first)
	if p >= uint64(len(t.pages)) {
		return nil
	}
	pg := t.pages[p]
	if pg == nil || pg.live>>(id&(1<<pageBits-1))&1 == 0 {
		return nil
	}
	return &pg.items[id&(1<<pageBits-1)]
}

// add returns the slot of the next item, which the caller overwrites. Ids
// ascend by one from call to call.
func (t *itemTable) add(id int64) *item {
	p := id>>pageBits - t.first
	if p == int64(len(t.pages)) {
		t.pages = append(t.pages, t.blank())
		t.trim()
		p = int64(len(t.pages)) - 1
	}
	pg := t.pages[p]
	pg.live |= 1 << (id & (1<<pageBits - 1))
	t.n++
	return &pg.items[id&(1<<pageBits-1)]
}

func (t *itemTable) blank() *page {
	if n := len(t.free); n > 0 {
		pg := t.free[n-1]
		t.free = t.free[:n-1]
		return pg
	}
	return new(page)
}

// remove forgets an item that ended.
func (t *itemTable) remove(id int64) {
	p := id>>pageBits - t.first
	pg := t.pages[p]
	pg.live &^= 1 << (id & (1<<pageBits - 1))
	t.n--
	if pg.live == 0 && p < int64(len(t.pages))-1 {
		t.free = append(t.free, pg)
		t.pages[p] = nil
		t.trim()
	}
}

// trim drops empty pages from the front; the last stays, for ids are still
// being given out there.
func (t *itemTable) trim() {
	drop := 0
	for drop < len(t.pages)-1 && (t.pages[drop] == nil || t.pages[drop].live == 0) {
		if t.pages[drop] != nil {
			t.free = append(t.free, t.pages[drop])
		}
		drop++
	}
	if drop > 0 {
		t.first += int64(drop)
		t.pages = append(t.pages[:0], t.pages[drop:]...)
	}
}

// each calls f for every item in flight, in the order of ids.
func (t *itemTable) each(f func(id int64, it *item)) {
	for p, pg := range t.pages {
		if pg == nil {
			continue
		}
		for live := pg.live; live != 0; live &= live - 1 {
			i := bits.TrailingZeros64(live)
			f((t.first+int64(p))<<pageBits+int64(i), &pg.items[i])
		}
	}
}
