package workloads

import "github.com/vramsim/vramsim/scheduler"

// due is a time at which something is to happen, for a client or not.
type due struct {
	at     scheduler.Time
	client int32
}

func (d due) before(o due) bool { return d.at < o.at || d.at == o.at && d.client < o.client }

// dueHeap is a heap of dues, the earliest first and among equals the first client.
type dueHeap []due

func (h *dueHeap) push(d due) {
	s := append(*h, d)
	i := len(s) - 1
	for i > 0 && d.before(s[(i-1)/2]) {
		s[i] = s[(i-1)/2]
		i = (i - 1) / 2
	}
	s[i] = d
	*h = s
}

func (h *dueHeap) pop() due {
	s := *h
	top, last := s[0], s[len(s)-1]
	s = s[:len(s)-1]
	*h = s
	for i := 0; len(s) > 0; {
		c := 2*i + 1
		if c+1 < len(s) && s[c+1].before(s[c]) {
			c++
		}
		if c >= len(s) || !s[c].before(last) {
			s[i] = last
			break
		}
		s[i] = s[c]
		i = c
	}
	return top
}
