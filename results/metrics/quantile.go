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
	e := max(0, bits.Len64(uint64(v))-octaveBits-1)
	return e<<octaveBits + int(v>>e)
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
	counts []int64 // by bucket
}

func digestOf(all values) *digest {
	d := &digest{counts: make([]int64, buckets)}
	all(func(vs []int64) {
		sum, largest := d.sum, d.max
		for _, v := range vs {
			sum.add(uint64(v))
			largest = max(largest, v)
			d.counts[bucketOf(v)]++
		}
		d.sum, d.max = sum, largest
		d.n += int64(len(vs))
	})
	return d
}

func (d *digest) stat() Stat {
	return Stat{N: d.n, Mean: d.sum.mean(d.n) / 1e9, Max: float64(d.max) / 1e9}
}

// find returns the bucket that holds the k-th smallest value and how many
// values lie below that bucket.
func (d *digest) find(k int64) (bucket int, below int64) {
	for b, n := range d.counts {
		if below+n >= k {
			return b, below
		}
		below += n
	}
	panic("bug: fewer values than counted")
}

// exact returns the distribution of the values and a CCDF source.
func exact(all values) (Stat, *digest) {
	d := digestOf(all)
	s := d.stat()
	if d.n > 0 {
		s.set(d.select4(all))
	}
	return s, d
}

func (s *Stat) set(q [len(percentiles)]float64) {
	s.P50, s.P90, s.P95, s.P99 = q[0]/1e9, q[1]/1e9, q[2]/1e9, q[3]/1e9
}

// smallBucket is how many values of a bucket are sorted at once.
const smallBucket = 1 << 15

// select4 looks at the values once more and gathers those of the buckets
// that hold the percentiles.
func (d *digest) select4(all values) (q [len(percentiles)]float64) {
	marks := make([]uint8, buckets)
	var found [len(percentiles)]bucket
	for i, p := range percentiles {
		b, _ := d.find(rank(p, d.n))
		if marks[b] == 0 {
			marks[b] = uint8(i + 1)
			found[i] = bucket{low: math.MaxInt64, values: make([]int64, 0, min(d.counts[b], smallBucket))}
		}
	}
	all(func(vs []int64) {
		for _, v := range vs {
			if m := marks[bucketOf(v)]; m > 0 {
				found[m-1].add(v)
			}
		}
	})
	for i := range found {
		slices.Sort(found[i].values)
	}
	for i, p := range percentiles {
		b, below := d.find(rank(p, d.n))
		f, k := &found[marks[b]-1], rank(p, d.n)-below
		if d.counts[b] <= smallBucket {
			q[i] = float64(f.values[k-1])
		} else {
			q[i] = float64(narrow(all, f.low, f.high, k))
		}
	}
	return q
}

// bucket is what is known of the values of one bucket.
type bucket struct {
	low, high int64
	values    []int64 // the first smallBucket of them
}

func (b *bucket) add(v int64) {
	b.low, b.high = min(b.low, v), max(b.high, v)
	if len(b.values) < smallBucket {
		b.values = append(b.values, v)
	}
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
				if v >= low && v <= high {
					counts[(v-low)>>shift]++
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
