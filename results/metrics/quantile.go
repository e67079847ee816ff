package metrics

import (
	"math"
	"math/bits"
	"slices"
)

// Buckets of the logarithmic-linear scale: 128 to an octave, exact below 256.
const (
	octaveBits = 7
	octave     = 1 << octaveBits
	octaves    = 63 - octaveBits
	buckets    = octave * (octaves + 1)
)

// bucketOf returns the bucket of a non-negative value.
func bucketOf(v int64) int {
	e := bits.Len64(uint64(v)|(2*octave-1)) - octaveBits - 1
	return e<<octaveBits + int(v>>(e&63))
}

// bucketRange returns the least and the largest value of a bucket.
func bucketRange(b int) (low, high int64) {
	if b < 2*octave {
		return int64(b), int64(b)
	}
	e := b>>octaveBits - 1
	low = int64(b-e<<octaveBits) << e
	return low, low + 1<<e - 1
}

// wide is a sum that does not overflow.
type wide struct{ high, low uint64 }

func (w *wide) add(v uint64) {
	var carry uint64
	w.low, carry = bits.Add64(w.low, v, 0)
	w.high += carry
}

// mean returns the sum of n values divided by n.
func (w wide) mean(n int64) float64 {
	if n == 0 {
		return 0
	}
	q, r := bits.Div64(w.high, w.low, uint64(n))
	return float64(q) + float64(r)/float64(n)
}

// percentiles are what a Stat lists.
var percentiles = [...]int64{50, 90, 95, 99}

// rank returns the 1-based number of the order statistic ⌈p·n/100⌉.
func rank(p, n int64) int64 { return max(1, n/100*p+(n%100*p+99)/100) }

// values is a multiset of times: f is called with all of them, some at a
// time, as often as it takes.
type values func(f func([]int64))

// digest is what one look at all values finds.
type digest struct {
	n      int64
	sum    wide
	max    int64
	low    int     // no value lies in a bucket below
	counts []int64 // by bucket
}

func newDigest() *digest { return &digest{counts: make([]int64, buckets), low: buckets} }

// look counts all values.
func (d *digest) look(all values) { all(d.count) }

func (d *digest) count(vs []int64) {
	sum, least, largest := d.sum.low, int64(math.MaxInt64), d.max
	counts := d.counts[:buckets]
	for _, v := range vs {
		if sum += uint64(v); sum < uint64(v) {
			d.sum.high++
		}
		least, largest = min(least, v), max(largest, v)
		counts[bucketOf(v)]++
	}
	d.sum.low, d.max = sum, largest
	d.low = min(d.low, bucketOf(least))
	d.n += int64(len(vs))
}

// merge adds what another digest found.
func (d *digest) merge(o *digest) {
	d.n += o.n
	d.max = max(d.max, o.max)
	d.sum.high += o.sum.high
	d.sum.add(o.sum.low)
	d.low = min(d.low, o.low)
	for b := o.low; b <= bucketOf(o.max); b++ {
		d.counts[b] += o.counts[b]
	}
}

func (d *digest) stat() Stat {
	return Stat{N: d.n, Mean: d.sum.mean(d.n) / 1e9, Max: float64(d.max) / 1e9}
}

// find returns the bucket that holds the k-th smallest value and how many
// values lie below that bucket.
func (d *digest) find(k int64) (bucket int, below int64) {
	for b := d.low; b < buckets; b++ {
		n := d.counts[b]
		if below+n >= k {
			return b, below
		}
		below += n
	}
	panic("bug: fewer values than counted")
}

func (s *Stat) set(q [len(percentiles)]float64) {
	s.P50, s.P90, s.P95, s.P99 = q[0]/1e9, q[1]/1e9, q[2]/1e9, q[3]/1e9
}

// smallBucket is how many values of a bucket are gathered.
const smallBucket = 1 << 17

// fewValues is up to how many values are sorted rather than counted by bucket.
const fewValues = 1000

// one makes values of a slice.
func one(vs []int64) values { return func(f func([]int64)) { f(vs) } }

// exactStat returns the distribution of values in order.
func exactStat(sorted []int64) Stat {
	n := int64(len(sorted))
	if n == 0 {
		return Stat{}
	}
	var sum wide
	for _, v := range sorted {
		sum.add(uint64(v))
	}
	s := Stat{N: n, Mean: sum.mean(n) / 1e9, Max: float64(sorted[n-1]) / 1e9}
	var q [len(percentiles)]float64
	for i, p := range percentiles {
		q[i] = float64(sorted[rank(p, n)-1])
	}
	s.set(q)
	return s
}

// finder gathers the values of the buckets that hold the percentiles of a
// digest.
type finder struct {
	*digest
	found []bucket
	of    [len(percentiles)]int   // which of found holds each percentile
	ranks [len(percentiles)]int64 // its rank there
}

func (d *digest) finder(spare *buffers) *finder {
	f := &finder{digest: d}
	if d.n == 0 {
		return f
	}
	for i, p := range percentiles {
		k := rank(p, d.n)
		b, below := d.find(k)
		if last := len(f.found) - 1; last < 0 || f.found[last].number != b {
			f.found = append(f.found, newBucket(b, d.counts[b], spare))
		}
		f.of[i], f.ranks[i] = len(f.found)-1, k-below
	}
	return f
}

// gather looks at values for two finders at once; part may be nil.
func gather(all values, part, total *finder) {
	s := &sieve{total: total.found}
	for i := range s.total {
		s.marks[s.total[i].number] = uint8(i+1) << totalShift
	}
	if part != nil {
		s.part = part.found
		for i := range s.part {
			s.marks[s.part[i].number] |= uint8(i + 1)
		}
	}
	all(s.sift)
}

// sieve sorts out the values of the buckets of two finders.
type sieve struct {
	part, total []bucket
	marks       [buckets]uint8 // by bucket: place among the part's from 1, and among the total's times 1<<totalShift
}

const totalShift = 4

func (s *sieve) sift(vs []int64) {
	marks := &s.marks
	for _, v := range vs {
		m := marks[bucketOf(v)]
		if m == 0 {
			continue
		}
		if i := m & (1<<totalShift - 1); i > 0 {
			s.part[i-1].add(v)
		}
		if i := m >> totalShift; i > 0 {
			s.total[i-1].add(v)
		}
	}
}

// stat returns the distribution once its values were gathered; all is asked
// again where too many of them share a bucket.
func (f *finder) stat(all values) Stat {
	s := f.digest.stat()
	if f.n == 0 {
		return s
	}
	for i := range f.found {
		f.found[i].close()
	}
	var q [len(percentiles)]float64
	for i := range q {
		q[i] = float64(f.found[f.of[i]].find(f.ranks[i], all))
	}
	s.set(q)
	return s
}

// buffers are what finders gathered values in, for the next ones.
type buffers struct{ free [][]int64 }

// take returns a buffer for n values.
func (s *buffers) take(n int64) []int64 {
	for i, b := range s.free {
		if int64(cap(b)) >= n {
			s.free = slices.Delete(s.free, i, i+1)
			return b[:0]
		}
	}
	return make([]int64, 0, n)
}

// give takes the buffers of a finder back, which is of no more use.
func (s *buffers) give(f *finder) {
	for i := range f.found {
		if values := f.found[i].values; values != nil {
			s.free = append(s.free, values)
		}
	}
}

// bucket is what is known of the values of one bucket.
type bucket struct {
	number    int
	n         int64
	values    []int64 // all of them, or none where there are more than smallBucket
	low, high int64   // of those that are not in values; once closed, of all
}

func newBucket(number int, n int64, spare *buffers) bucket {
	b := bucket{number: number, n: n, low: math.MaxInt64}
	if n <= smallBucket {
		b.values = spare.take(n)
	}
	return b
}

func (b *bucket) add(v int64) {
	if len(b.values) < cap(b.values) {
		b.values = append(b.values, v)
	} else {
		b.low, b.high = min(b.low, v), max(b.high, v)
	}
}

// close makes the bucket ready for find: all values are there.
func (b *bucket) close() {
	if b.n <= fewValues {
		slices.Sort(b.values)
		return
	}
	low, high := b.low, b.high
	for _, v := range b.values {
		low, high = min(low, v), max(high, v)
	}
	b.low, b.high = low, high
}

// find returns the k-th smallest value; all is asked again where too many of
// them share the bucket.
func (b *bucket) find(k int64, all values) int64 {
	switch {
	case b.n <= fewValues:
		return b.values[k-1]
	case b.n <= smallBucket:
		all = one(b.values)
	}
	return narrow(all, b.low, b.high, k)
}

// narrow returns the k-th smallest of the values between low and high, by
// dividing that range into equal parts again and again.
func narrow(all values, low, high, k int64) int64 {
	const parts = 10
	for low < high {
		shift := max(0, bits.Len64(uint64(high-low))-parts)
		var counts [1 << parts]int64
		all(func(vs []int64) {
			for _, v := range vs {
				if d := uint64(v - low); d <= uint64(high-low) {
					counts[d>>shift]++
				}
			}
		})
		for i, n := range counts {
			if k > n {
				k -= n
				continue
			}
			low += int64(i) << shift
			high = low + 1<<shift - 1
			break
		}
	}
	return low
}

// ccdfPoints bounds the points of a CCDF.
const ccdfPoints = 400

// ccdf returns the shares of values above the upper ends of buckets, at
// most one for each of ccdfPoints steps of the logarithm.
func (d *digest) ccdf() []Point {
	lowest, highest := -1, -1
	for b, n := range d.counts {
		if n > 0 {
			if lowest < 0 {
				lowest = b
			}
			highest = b
		}
	}
	if lowest < 0 {
		return nil
	}
	start := math.Log(float64(edge(lowest)))
	step := (math.Log(float64(edge(highest))) - start) / (ccdfPoints - 2)
	var points []Point
	above, next := d.n, math.Inf(-1)
	for b := lowest; b <= highest; b++ {
		above -= d.counts[b]
		at := math.Log(float64(edge(b)))
		if d.counts[b] == 0 || at < next && b < highest {
			continue
		}
		next = at + step
		_, high := bucketRange(b)
		points = append(points, Point{X: float64(min(high, d.max)) / 1e9, Y: float64(above) / float64(d.n)})
	}
	return points
}

// edge returns the upper end of a bucket, at least 1.
func edge(b int) int64 {
	_, high := bucketRange(b)
	return max(1, high)
}

// sketch counts values by bucket, keeping only the octaves that occur.
type sketch struct {
	n      int64
	sum    wide
	max    int64
	counts [octaves + 1]*[octave]int64
}

func (s *sketch) add(v, times int64) {
	b := bucketOf(v)
	page := s.counts[b>>octaveBits]
	if page == nil {
		page = new([octave]int64)
		s.counts[b>>octaveBits] = page
	}
	page[b&(octave-1)] += times
	s.n += times
	s.max = max(s.max, v)
	high, low := bits.Mul64(uint64(v), uint64(times))
	s.sum.high += high
	s.sum.add(low)
}

// addTo adds what s counted to d.
func (s *sketch) addTo(d *digest) {
	d.n += s.n
	d.max = max(d.max, s.max)
	d.sum.high += s.sum.high
	d.sum.add(s.sum.low)
	for o, page := range s.counts {
		if page == nil {
			continue
		}
		d.low = min(d.low, o<<octaveBits)
		for i, n := range page {
			d.counts[o<<octaveBits+i] += n
		}
	}
}

// sketched returns the distribution that d's buckets tell.
func (d *digest) sketched() Stat {
	s := d.stat()
	s.Sketched = true
	if d.n == 0 {
		return s
	}
	var q [len(percentiles)]float64
	for i, p := range percentiles {
		b, _ := d.find(rank(p, d.n))
		low, high := bucketRange(b)
		q[i] = float64(min(low+(high-low)/2, d.max))
	}
	s.set(q)
	return s
}
