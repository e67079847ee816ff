package fidelity

// MaxDistance is up to where an edit distance is computed: beyond it two
// sequences of decisions have nothing in common worth counting.
const MaxDistance = 2000

// Distance is an edit distance.
type Distance struct {
	Edits int `json:"edits"`
	// AtLeast says that the search ended at MaxDistance: Edits is a lower bound.
	AtLeast bool `json:"at_least,omitempty"`
}

// EditDistance returns the least number of insertions and deletions that make
// b of a (Myers, "An O(ND) difference algorithm and its variations",
// Algorithmica 1986). It takes time (len(a)+len(b)) · most at worst and gives up beyond most.
func EditDistance(a, b []uint64, most int) Distance {
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	most = min(most, len(a)+len(b))
	// far[k+most] is the end, in a, of the furthest path on diagonal k.
	far := make([]int, 2*most+2)
	for d := 0; d <= most; d++ {
		for k := -d; k <= d; k += 2 {
			x := furthest(far, k+most, k == -d, k == d)
			for x < len(a) && x-k < len(b) && a[x] == b[x-k] {
				x++
			}
			far[k+most] = x
			if x >= len(a) && x-k >= len(b) {
				return Distance{Edits: d}
			}
		}
	}
	return Distance{Edits: most + 1, AtLeast: true}
}

// furthest is where a path on the diagonal at index i begins: an insertion
// from the diagonal above or a deletion from the one below, whichever is further.
func furthest(far []int, i int, lowest, highest bool) int {
	switch {
	case lowest && highest:
		return 0
	case lowest || !highest && far[i-1] < far[i+1]:
		return far[i+1]
	}
	return far[i-1] + 1
}
