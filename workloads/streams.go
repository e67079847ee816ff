package workloads

import (
	"strconv"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/random"
)

// streams makes jobs of one item.
type streams struct {
	cfg     *Streams
	keys    keys
	key     random.Prefix // of the models of an open loop
	base    picker
	windows []picker

	last    int // model drawn last
	started bool
}

func newStreams(s *Streams, k keys) *streams {
	m := &streams{cfg: s, keys: k, key: random.NewPrefix(k.of(0, forModel)), base: newPicker(s.Popularity.weights(len(s.Models)))}
	for _, w := range s.Popularity.Windows {
		m.windows = append(m.windows, newPicker(w))
	}
	return m
}

func (s *streams) whole() bool { return true }

func (s *streams) job(at scheduler.Time, who, ordinal uint64, out *batch) error {
	key := s.key
	if who != 0 {
		key = random.NewPrefix(s.keys.of(who, forModel))
	}
	p := &s.base
	if n := len(s.windows); n > 0 {
		p = &s.windows[min(int64(at/s.cfg.Popularity.Window), int64(n-1))]
	}
	sticky := s.cfg.Popularity.Sticky
	if sticky == 0 || !s.started || random.Uniform(key.Prefix(ordinal).Key(uint64(forBranch))) >= sticky {
		s.last, s.started = p.pick(random.Uniform(key.Key(ordinal))), true
	}
	out.arrive(at, s.cfg.Models[s.last], 0, 0)
	return nil
}

// addRates takes all windows as equally long.
func (s *streams) addRates(jobs float64, rates []float64) {
	pickers := s.windows
	if len(pickers) == 0 {
		pickers = []picker{s.base}
	}
	for _, p := range pickers {
		for i, m := range s.cfg.Models {
			rates[m] += jobs * p.share(i) / float64(len(pickers))
		}
	}
}

func (s *streams) itemName(_ *made, item scheduler.ItemID) string {
	return strconv.FormatInt(int64(item), 10)
}

func (s *streams) jobName(job scheduler.JobID) string { return strconv.FormatInt(int64(job), 10) }
