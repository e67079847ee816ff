package metrics

// ExactItems is up to how many finished items quantiles are exact.
const ExactItems = 10_000_000

// column says which time of an item is meant.
type column int

const (
	latency column = iota
	wait
	service
)

const (
	firstChunk = 64
	lastChunk  = 4096
)

// samples keeps the times of finished items in chunks that are never copied.
// The service is what latency and wait differ by, unless an item was blocked:
// only chunks with such items store it.
type samples struct {
	chunks []chunk
	cur    chunk // the last
	used   int   // of cur
	single bool  // only latencies
}

type chunk struct{ latency, wait, service []int64 }

func (s *samples) add(took, waited, served int64) {
	if s.used == len(s.cur.latency) {
		s.grow()
	}
	s.cur.latency[s.used] = took
	if !s.single {
		s.cur.wait[s.used] = waited
		if s.cur.service != nil || took-waited != served {
			s.addService(served)
		}
	}
	s.used++
}

func (s *samples) addService(served int64) {
	if s.cur.service == nil {
		s.cur.service = make([]int64, len(s.cur.latency))
		s.chunks[len(s.chunks)-1].service = s.cur.service
		for i := range s.used {
			s.cur.service[i] = s.cur.latency[i] - s.cur.wait[i]
		}
	}
	s.cur.service[s.used] = served
}

func (s *samples) grow() {
	n := min(lastChunk, max(firstChunk, 2*len(s.cur.latency)))
	s.cur = chunk{latency: make([]int64, n)}
	if !s.single {
		s.cur.wait = make([]int64, n)
	}
	s.chunks = append(s.chunks, s.cur)
	s.used = 0
}

// len returns how many items there are.
func (s *samples) len() int {
	n := s.used - len(s.cur.latency)
	for i := range s.chunks {
		n += len(s.chunks[i].latency)
	}
	return n
}

// each calls f with the values of one column, some at a time; scratch holds
// at least lastChunk values.
func (s *samples) each(c column, scratch []int64, f func([]int64)) {
	for i, ch := range s.chunks {
		n := len(ch.latency)
		if i == len(s.chunks)-1 {
			n = s.used
		}
		switch {
		case c == latency:
			f(ch.latency[:n])
		case c == wait:
			f(ch.wait[:n])
		case ch.service != nil:
			f(ch.service[:n])
		default:
			served, wait := scratch[:n], ch.wait[:n]
			for j, took := range ch.latency[:n] {
				served[j] = took - wait[j]
			}
			f(served)
		}
	}
}
