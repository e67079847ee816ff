package sim

import "github.com/vramsim/vramsim/scheduler"

// batchClass is the class of the ends of batches.
const batchClass = 0

// devices is what a world knows of its devices beside the future: nothing,
// unless some cost depends on it.
type devices struct {
	models  int
	uses    bool                       // some model has a first use
	runs    bool                       // some model leaves a busy device otherwise than an idle one
	used    [][]bool                   // by device and model, since the device came up
	running map[scheduler.DeviceID]int // batches
}

// expect is told of each model of the catalogue.
func (s *devices) expect(c *Cost) {
	s.models++
	s.uses = s.uses || c.FirstUse > 0
	if c.UnloadBusy != nil && !s.runs {
		s.runs, s.running = true, map[scheduler.DeviceID]int{}
	}
}

// first reports whether a model has not been loaded since the device came up,
// and notes that now it has.
func (s *devices) first(d scheduler.DeviceID, m scheduler.ModelID) bool {
	if !s.uses {
		return false
	}
	for int(d) >= len(s.used) {
		s.used = append(s.used, make([]bool, s.models))
	}
	was := s.used[d][m]
	s.used[d][m] = true
	return !was
}

func (s *devices) busy(d scheduler.DeviceID) bool { return s.running[d] > 0 }

// ran notes that batches began or, if n is negative, ended.
func (s *devices) ran(d scheduler.DeviceID, n int) {
	if s.runs {
		s.running[d] += n
	}
}

// lose forgets a device with all that ran and was used there.
func (s *devices) lose(d scheduler.DeviceID) {
	if int(d) < len(s.used) {
		clear(s.used[d])
	}
	delete(s.running, d)
}
