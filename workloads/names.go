package workloads

import (
	"crypto/sha256"
	"encoding/binary"
)

// digest identifies a name by 16 bytes of its SHA-256.
type digest [2]uint64

func digestOf(name []byte) digest {
	sum := sha256.Sum256(name)
	return digest{binary.LittleEndian.Uint64(sum[:8]), binary.LittleEndian.Uint64(sum[8:16])}
}

const (
	digestPageBits = 16
	digestPage     = 1 << digestPageBits
)

// Names tells which names occurred before, at about 24 bytes a name. Two names
// are taken for one if 16 bytes of their SHA-256 agree. The zero value is
// ready for use.
type Names struct{ t numbering }

// Add notes a name. It returns how many others came first before it, and
// whether it had come before.
func (n *Names) Add(name string) (number int64, old bool) { return n.t.add(digestOf([]byte(name))) }

// Len returns how many different names there are.
func (n *Names) Len() int { return n.t.n }

// numbering gives names dense numbers in the order of their first appearance,
// at 16 bytes a name and at most 8 of hash table. Reading it needs no lock.
type numbering struct {
	pages [][]digest // by number
	n     int
	slots []uint32 // number + 1; open addressing, a power of two
}

func (t *numbering) at(i uint32) digest { return t.pages[i>>digestPageBits][i&(digestPage-1)] }

// find returns the number of a name.
func (t *numbering) find(d digest) (int64, bool) {
	if len(t.slots) == 0 {
		return 0, false
	}
	mask := uint64(len(t.slots) - 1)
	for i := d[0] & mask; ; i = (i + 1) & mask {
		switch s := t.slots[i]; {
		case s == 0:
			return 0, false
		case t.at(s-1) == d:
			return int64(s - 1), true
		}
	}
}

// add numbers a name; old reports that it had a number already.
func (t *numbering) add(d digest) (number int64, old bool) {
	if number, ok := t.find(d); ok {
		return number, true
	}
	if 4*(t.n+1) > 3*len(t.slots) {
		t.grow()
	}
	if t.n&(digestPage-1) == 0 {
		size := digestPage
		if t.n == 0 {
			size = 0 // small traces start small
		}
		t.pages = append(t.pages, make([]digest, 0, size))
	}
	last := &t.pages[len(t.pages)-1]
	*last = append(*last, d)
	t.insert(uint32(t.n))
	t.n++
	return int64(t.n - 1), false
}

func (t *numbering) insert(number uint32) {
	mask := uint64(len(t.slots) - 1)
	i := t.at(number)[0] & mask
	for t.slots[i] != 0 {
		i = (i + 1) & mask
	}
	t.slots[i] = number + 1
}

func (t *numbering) grow() {
	t.slots = nil // let it go before the larger one is made
	t.slots = make([]uint32, max(64, nextPowerOfTwo(2*(t.n+1))))
	for i := range t.n {
		t.insert(uint32(i))
	}
}

func nextPowerOfTwo(n int) int {
	p := 1
	for p < n {
		p *= 2
	}
	return p
}
