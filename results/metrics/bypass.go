package metrics

import (
	"math/bits"

	"github.com/vramsim/vramsim/scheduler"
)

const blockBits = 12

type block struct {
	words [1 << (blockBits - 6)]uint64
	n     int64 // bits set
}

// rankSet is a set of numbers that are mostly added in ascending order and
// removed soon: bits in blocks with a count each. Empty blocks at the front
// are recycled.
type rankSet struct {
	blocks []*block
	first  int64 // number of blocks[0]
	n      int64
	free   *block
}

func (s *rankSet) add(r int64) {
	b := r>>blockBits - s.first
	if b >= int64(len(s.blocks)) || b < 0 {
		b = s.cover(b)
	}
	blk := s.blocks[b]
	blk.words[r>>6&(1<<(blockBits-6)-1)] |= 1 << (r & 63)
	blk.n++
	s.n++
}

// cover makes room for block b, which lies behind the last one or, for a
// number that comes back, before the first.
func (s *rankSet) cover(b int64) int64 {
	if s.n == 0 {
		for _, blk := range s.blocks {
			s.free = blk // empty
		}
		s.blocks, s.first, b = s.blocks[:0], s.first+b, 0
	}
	for ; b < 0; b++ {
		s.blocks = append([]*block{s.blank()}, s.blocks...)
		s.first--
	}
	for b >= int64(len(s.blocks)) {
		s.blocks = append(s.blocks, s.blank())
	}
	return b
}

func (s *rankSet) blank() *block {
	if blk := s.free; blk != nil {
		s.free = nil
		return blk
	}
	return new(block)
}

// remove takes r, which is in the set, out of it.
func (s *rankSet) remove(r int64) {
	b := r>>blockBits - s.first
	blk := s.blocks[b]
	blk.words[r>>6&(1<<(blockBits-6)-1)] &^= 1 << (r & 63)
	blk.n--
	s.n--
	if blk.n == 0 && b == 0 && len(s.blocks) > 1 {
		s.trim()
	}
}

func (s *rankSet) trim() {
	drop := 0
	for drop < len(s.blocks)-1 && s.blocks[drop].n == 0 {
		s.free = s.blocks[drop]
		drop++
	}
	s.blocks = append(s.blocks[:0], s.blocks[drop:]...)
	s.first += int64(drop)
}

// forget removes what lies in blocks before that of r.
func (s *rankSet) forget(r int64) {
	drop := 0
	for drop < len(s.blocks)-1 && s.first+int64(drop) < r>>blockBits {
		s.n -= s.blocks[drop].n
		drop++
	}
	s.blocks = append(s.blocks[:0], s.blocks[drop:]...)
	s.first += int64(drop)
}

// above returns how many numbers of the set exceed r.
func (s *rankSet) above(r int64) int64 {
	b := r>>blockBits - s.first
	switch {
	case s.n == 0 || b >= int64(len(s.blocks)):
		return 0
	case b < 0:
		return s.n
	}
	blk := s.blocks[b]
	w := r >> 6 & (1<<(blockBits-6) - 1)
	n := bits.OnesCount64(blk.words[w] &^ (2<<(r&63) - 1))
	for _, word := range blk.words[w+1:] {
		n += bits.OnesCount64(word)
	}
	total := int64(n)
	for _, blk := range s.blocks[b+1:] {
		total += blk.n
	}
	return total
}

// ranks numbers items in the order in which they become ready, and knows
// which of them wait and which left without starting.
type ranks struct {
	next    int64
	waiting rankSet
	dropped *rankSet // nil: none so far
}

func (r *ranks) enter() int64 {
	n := r.next
	r.next++
	r.waiting.add(n)
	return n
}

func (r *ranks) drop(n int64) {
	r.waiting.remove(n)
	if r.dropped == nil {
		r.dropped = new(rankSet)
	}
	if r.waiting.n > 0 {
		r.dropped.forget(r.waiting.first << blockBits)
	}
	r.dropped.add(n)
}

// started returns how many items with a number above n have started.
func (r *ranks) started(n int64) int64 {
	started := r.next - n - 1 - r.waiting.above(n)
	if r.dropped != nil {
		started -= r.dropped.above(n)
	}
	return started
}

// place is an item's number among all items and among those of its model.
type place struct{ all, own int64 }

// stretch is a series of starts of one model with none of another in between.
// The items that may have overtaken its members are the same throughout.
type stretch struct {
	model   scheduler.ModelID // NoModel: nothing started since the last
	first   place             // lowest of the members that count
	some    bool              // there is such a member
	readied int64             // items of other models that were ready by its last start
	stamp   int64
	tenants []int32 // with such members
}

// started adds a start of a counted or other item to the stretch.
func (f *Fold) started(it *item) {
	if f.stretch.model != it.model {
		f.endStretch()
		f.stretch.model = it.model
	}
	if !it.counted {
		return
	}
	s := &f.stretch
	s.readied = f.ranks.next - f.models[it.model].ranks.next
	if !s.some || it.rank.all < s.first.all {
		s.first, s.some = it.rank, true
	}
	if it.tenant < 0 {
		return
	}
	t := &f.tenants[it.tenant]
	if t.stamp != s.stamp {
		t.stamp, t.first = s.stamp, it.rank
		s.tenants = append(s.tenants, it.tenant)
	} else if it.rank.all < t.first.all {
		t.first = it.rank
	}
}

// endStretch finds the most overtaken member, before the set of items that
// could have overtaken it changes.
func (f *Fold) endStretch() {
	s := &f.stretch
	if s.some {
		m := &f.models[s.model]
		m.bypass = f.overtaken(s.model, s.first, m.bypass)
		for _, i := range s.tenants {
			t := &f.tenants[i]
			t.bypass = f.overtaken(s.model, t.first, t.bypass)
		}
	}
	s.tenants = s.tenants[:0]
	s.model, s.some = scheduler.NoModel, false
	s.stamp++
}

// overtaken returns by how many items of other models the one at p was
// overtaken, most if that is more.
func (f *Fold) overtaken(model scheduler.ModelID, p place, most int64) int64 {
	if f.stretch.readied-(p.all-p.own) <= most {
		return most // not even as many became ready in between
	}
	return max(most, f.ranks.started(p.all)-f.models[model].ranks.started(p.own))
}
