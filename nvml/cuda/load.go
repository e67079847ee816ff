//go:build linux && cgo && nvml

package cuda

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/vramsim/vramsim/scheduler"
)

// stopwatch notes the phases of a command.
type stopwatch struct {
	o    *scheduler.Outcome
	last time.Time
}

func watch(o *scheduler.Outcome) *stopwatch { return &stopwatch{o: o, last: time.Now()} }

// lap ends a phase that began where the last one ended, and returns what it took.
func (w *stopwatch) lap(name string) {
	now := time.Now()
	w.o.Phases = append(w.o.Phases, scheduler.Phase{Name: name, Took: scheduler.Time(now.Sub(w.last))})
	w.last = now
}

// split moves a part of the last phase into one of its own before it.
func (w *stopwatch) split(name string, took time.Duration) {
	last := len(w.o.Phases) - 1
	w.o.Phases[last].Took -= scheduler.Time(took)
	w.o.Phases = slices.Insert(w.o.Phases, last, scheduler.Phase{Name: name, Took: scheduler.Time(took)})
}

// load allocates a model, copies its bytes and, the first time, sums them.
func (e *Executor) load(c *command, o *scheduler.Outcome) error {
	s, w := c.session, watch(o)
	m, err := s.arrive(c.Model)
	if err != nil {
		return err
	}
	if err = s.bring(c, m, o, w); err == nil && !e.hasSummed(c.Model) {
		if err = s.checksum(c, m, o); err == nil {
			e.setSummed(c.Model)
		}
		w.lap("checksum")
	}
	if err != nil {
		return s.abandon(c.Model, m, err)
	}
	s.mu.Lock()
	m.moving = false
	s.mu.Unlock()
	return nil
}

func (e *Executor) hasSummed(m scheduler.ModelID) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.summed[m]
}

func (e *Executor) setSummed(m scheduler.ModelID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.summed[m] = true
}

// arrive enters a model that is on its way.
func (s *session) arrive(id scheduler.ModelID) (*resident, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.models[id] != nil {
		return nil, &scheduler.CommandError{Text: fmt.Sprintf("model %s is loaded already", s.plan.Models[id].Name)}
	}
	m := &resident{size: s.weights.sizes[id], moving: true}
	s.models[id] = m
	return m, nil
}

// abandon takes back a load that went wrong; what may still be copied is waited
// for. It returns why the load failed in the end.
func (s *session) abandon(id scheduler.ModelID, m *resident, err error) error {
	if m.address != 0 && !fatal(err) {
		if left := s.release(m.address, m.size); left != nil {
			err = left
		}
	}
	if !fatal(err) {
		s.mu.Lock()
		delete(s.models, id)
		s.mu.Unlock()
	}
	return err
}

// allocate takes device memory for a command.
func (s *session) allocate(n int64, o *scheduler.Outcome) (address, error) {
	a, err := s.drv.alloc(n)
	if isOutOfMemory(err) {
		free, total, failed := s.drv.memory()
		if failed != nil {
			return 0, failed
		}
		o.Memory.Free, o.Memory.Total = scheduler.Bytes(free), scheduler.Bytes(total)
		return 0, &scheduler.CommandError{Code: scheduler.FailureOOM, Retryable: true,
			Text: fmt.Sprintf("%v wanted, %v free", scheduler.Bytes(n), scheduler.Bytes(free))}
	}
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	s.held += n
	o.Memory.PeakAllocated = scheduler.Bytes(s.held)
	s.mu.Unlock()
	return a, nil
}

func (s *session) release(a address, n int64) error {
	if err := s.drv.free(a); err != nil {
		return err
	}
	s.mu.Lock()
	s.held -= n
	s.mu.Unlock()
	return nil
}

// bring allocates a model and copies its bytes from their tier.
func (s *session) bring(c *command, m *resident, o *scheduler.Outcome, w *stopwatch) (err error) {
	if m.address, err = s.allocate(m.size, o); err != nil {
		return err
	}
	w.lap("alloc")
	s.copying.Lock()
	defer s.copying.Unlock()
	if c.Tier == scheduler.TierDisk {
		if err = s.weights.drop(int(c.Model)); err != nil {
			return err
		}
		w.lap("drop")
	}
	var reading time.Duration
	if c.Tier == scheduler.TierHost && int64(len(s.arena)) >= m.size {
		err = s.copyPinned(c, m, o)
	} else {
		reading, err = s.copyFile(c, m, o)
		s.dropLater(c.Model)
	}
	if err == nil { // the last slots may take as long as the load
		err = s.emptyRing(&c.tolerance, o)
	}
	if err != nil && !fatal(err) {
		if left := s.settleRing(o); left != nil {
			err = left
		}
	}
	w.lap("h2d")
	if reading > 0 {
		w.split("read", reading)
	}
	return err
}

// dropLater puts a file out of the page cache beside the commands, if no load
// wants it there: the next one from disk then has less to drop.
func (s *session) dropLater(id scheduler.ModelID) {
	if s.cfg.HostTier == PageCache && s.plan.HostMemory > 0 {
		return
	}
	go func() {
		_ = s.weights.drop(int(id)) // the load drops again, and tells
	}()
}

// copyPinned copies a model from the pinned stream, a few pieces at a time so
// that it can be cancelled.
func (s *session) copyPinned(c *command, m *resident, o *scheduler.Outcome) error {
	slot := int64(s.cfg.Slot)
	for at, k := int64(0), 0; at < m.size; at, k = at+slot, k+1 {
		p := s.ring[k%len(s.ring)]
		if err := s.reuse(p, &c.tolerance, o); err != nil {
			return err
		}
		if err := s.send(p, m.address+uint64(at), s.arena[at:min(at+slot, m.size)], o); err != nil {
			return err
		}
	}
	return nil
}

// copyFile reads a model's file slot by slot and copies each as soon as it is
// full. It returns how long was spent on reading.
func (s *session) copyFile(c *command, m *resident, o *scheduler.Outcome) (reading time.Duration, err error) {
	file := s.weights.files[c.Model]
	slot := int64(s.cfg.Slot)
	for at, k := int64(0), 0; at < m.size; at, k = at+slot, k+1 {
		p := s.ring[k%len(s.ring)]
		if err := s.reuse(p, &c.tolerance, o); err != nil {
			return reading, err
		}
		part := p.memory[:min(slot, m.size-at)]
		begin := time.Now()
		n, err := s.read(file, part, at)
		reading += time.Since(begin)
		if err != nil && !(err == io.EOF && n == len(part)) {
			return reading, fmt.Errorf("weights: %w", err)
		}
		if err := s.send(p, m.address+uint64(at), part, o); err != nil {
			return reading, err
		}
	}
	return reading, nil
}

// read fills pinned memory, unless that is about to go or gone.
func (s *session) read(file *os.File, part []byte, at int64) (int, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	if s.isLost() {
		return 0, errLost
	}
	return file.ReadAt(part, at)
}

// send copies a slot to the device.
func (s *session) send(p *piece, to address, from []byte, o *scheduler.Outcome) error {
	stream := s.link().stream
	if err := s.drv.record(p.begin, stream); err != nil {
		return err
	}
	if err := s.drv.copyIn(to, from, stream); err != nil {
		return err
	}
	p.used = true
	o.Bytes += scheduler.Bytes(len(from))
	return s.drv.record(p.end, stream)
}

// reuse waits until a slot has been copied, adds the copy's time on the device
// and looks whether the command goes on.
func (s *session) reuse(p *piece, t *tolerance, o *scheduler.Outcome) error {
	if !p.used {
		return t.over(s)
	}
	if err := s.wait(p.end, t); err != nil {
		return err
	}
	took, err := s.drv.elapsed(p.begin, p.end)
	if err != nil {
		return err
	}
	o.DeviceTime += took
	p.used = false
	return t.over(s)
}

// emptyRing waits for the copies in flight and leaves all slots unused.
func (s *session) emptyRing(t *tolerance, o *scheduler.Outcome) error {
	for _, p := range s.ring {
		if err := s.reuse(p, t, o); err != nil {
			return err
		}
	}
	return nil
}

// settleRing does the same for a load that has failed: soon, or the device has
// stopped.
func (s *session) settleRing(o *scheduler.Outcome) error {
	if err := s.drain(s.link()); err != nil {
		return err
	}
	t := within(s.cfg.drainLimit())
	return s.emptyRing(&t, o)
}

// checksum sums a model on the device, piece by piece, and compares it with the
// stream.
func (s *session) checksum(c *command, m *resident, o *scheduler.Outcome) error {
	s.copying.Lock()
	defer s.copying.Unlock()
	l, want := s.link(), s.weights.sums[c.Model]
	took, err := s.sumPieces(l, c, m, len(want))
	if err != nil {
		if !fatal(err) {
			if left := s.drain(l); left != nil {
				err = left
			}
		}
		return err
	}
	o.DeviceTime += took
	for k, sum := range want {
		if got := binary.LittleEndian.Uint64(l.result[8*k:]); got != sum {
			return &scheduler.CommandError{Text: fmt.Sprintf("the device has other contents than the weights of %s from %v on: sum %#x instead of %#x",
				s.plan.Models[c.Model].Name, scheduler.Bytes(int64(k)*pieceBytes), got, sum)}
		}
	}
	return nil
}

func (s *session) sumPieces(l *lane, c *command, m *resident, pieces int) (scheduler.Time, error) {
	if err := s.begin(l); err != nil {
		return 0, err
	}
	for k := range pieces {
		at := int64(k) * pieceBytes
		err := s.launch(l, &c.tolerance, func() error {
			return s.sum(l, m.address+uint64(at), min(pieceBytes, m.size-at), 1, 8*k)
		})
		if err != nil {
			return 0, err
		}
	}
	return s.finish(l, &c.tolerance)
}

// evict gives a model's memory back.
func (s *session) evict(c *command, o *scheduler.Outcome) error {
	w := watch(o)
	m, err := s.depart(c.Model)
	if err != nil {
		return err
	}
	err = s.release(m.address, m.size)
	w.lap("free")
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		m.moving = false
		return err
	}
	delete(s.models, c.Model)
	return nil
}

// depart marks a model that is about to leave: an idle one that is resident.
func (s *session) depart(id scheduler.ModelID) (*resident, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, err := s.here(id)
	if err == nil && m.users > 0 {
		err = &scheduler.CommandError{Text: fmt.Sprintf("model %s is in use", s.plan.Models[id].Name)}
	}
	if err != nil {
		return nil, err
	}
	m.moving = true
	return m, nil
}

// here returns a model that is resident. The lock is held.
func (s *session) here(id scheduler.ModelID) (*resident, error) {
	m := s.models[id]
	if m == nil || m.moving {
		return nil, &scheduler.CommandError{Text: fmt.Sprintf("model %s is not loaded", s.plan.Models[id].Name)}
	}
	return m, nil
}
