package workloads

import (
	"slices"
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

	last  scheduler.ModelID // drawn last; NoModel: none yet
	draws []float64
}

func newStreams(s *Streams, k keys) *streams {
	m := &streams{cfg: s, keys: k, key: random.NewPrefix(k.of(0, forModel)), last: scheduler.NoModel,
		base: newPicker(s.Popularity.weights(len(s.Models)))}
	for _, w := range s.Popularity.Windows {
		m.windows = append(m.windows, newPicker(w))
	}
	return m
}

func (s *streams) whole() bool { return true }

func (s *streams) jobs(at []scheduler.Time, who, ordinal uint64, out *batch) error {
	key := s.key
	if who != 0 {
		key = random.NewPrefix(s.keys.of(who, forModel))
	}
	at = at[:min(int64(len(at)), out.left())]
	s.draws = slices.Grow(s.draws[:0], len(at))[:len(at)]
	random.Uniforms(s.draws, key, ordinal)
	events, models, windowed, p := out.arrivals(at), s.cfg.Models, len(s.windows) > 0, &s.base
	for i, u := range s.draws[:len(events)] {
		if windowed {
			p = s.during(at[i])
		}
		events[i].Model = models[p.pick(u)]
	}
	if s.cfg.Popularity.Sticky > 0 {
		s.stick(events, key, ordinal)
	}
	return nil
}

// during returns what draws the models of jobs that arrive at a time.
func (s *streams) during(at scheduler.Time) *picker {
	return &s.windows[min(int64(at/s.cfg.Popularity.Window), int64(len(s.windows)-1))]
}

// stick lets some of the jobs, the first with the ordinal, be of the same model
// as the one before.
func (s *streams) stick(jobs []scheduler.Event, key random.Prefix, ordinal uint64) {
	for i := range jobs {
		if s.last != scheduler.NoModel && random.Uniform(key.Prefix(ordinal+uint64(i)).Key(uint64(forBranch))) < s.cfg.Popularity.Sticky {
			jobs[i].Model = s.last
		}
		s.last = jobs[i].Model
	}
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
