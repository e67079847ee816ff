//go:build linux && cgo && nvml

package cuda

import (
	"fmt"
	"slices"

	"github.com/vramsim/vramsim/scheduler"
)

// rates are how fast the kernels are on the device alone.
type rates struct {
	stream []float64 // bytes per ns that sum_u32 reads of each model; 0: could not be measured
	burn   float64   // iterations of burn_fma per ns
}

// repeats is how often each rate is measured; the median counts.
const repeats = 5

// calibrate measures the rates once, for Fit.
func (s *session) calibrate() error {
	if s.cfg.Work != Fit || s.rates.burn > 0 {
		return nil
	}
	burn, err := s.rate(s.burn)
	if err != nil {
		return fmt.Errorf("measuring burn_fma: %w", err)
	}
	stream := make([]float64, len(s.weights.sizes))
	for i, size := range s.weights.sizes {
		if stream[i], err = s.streamRate(min(size, pieceBytes)); err != nil {
			return fmt.Errorf("measuring sum_u32: %w", err)
		}
	}
	s.rates.burn, s.rates.stream = burn, stream
	return nil
}

// streamRate returns the bytes per ns of passes over so many.
func (s *session) streamRate(bytes int64) (float64, error) {
	a, err := s.drv.alloc(bytes)
	if isOutOfMemory(err) {
		return 0, nil // nor will the model ever be loaded
	}
	if err != nil {
		return 0, err
	}
	passes, err := s.rate(func(l *lane, n int64) error { return s.sum(l, a, bytes, n, atSum) })
	if err != nil {
		return 0, err
	}
	return passes * float64(bytes), s.drv.free(a)
}

// rate returns how many of a kernel's rounds there are in a ns: launches are
// made longer until they take a fifth of a quantum.
func (s *session) rate(start func(l *lane, rounds int64) error) (float64, error) {
	enough := scheduler.Time(s.cfg.Quantum) / 5
	const most = 1 << 32
	for rounds := int64(1); ; {
		took, err := s.time(start, rounds)
		if err != nil {
			return 0, err
		}
		if took >= enough || rounds >= most {
			return s.median(start, rounds)
		}
		rounds *= min(max(2, int64(enough/max(took, 1))), 16)
	}
}

func (s *session) median(start func(l *lane, rounds int64) error, rounds int64) (float64, error) {
	var took []scheduler.Time
	for range repeats {
		t, err := s.time(start, rounds)
		if err != nil {
			return 0, err
		}
		took = append(took, t)
	}
	slices.Sort(took)
	return float64(rounds) / float64(max(took[repeats/2], 1)), nil
}

// time returns the device's time of one launch.
func (s *session) time(start func(l *lane, rounds int64) error, rounds int64) (scheduler.Time, error) {
	l, t := s.link(), within(openLimit)
	if err := s.begin(l); err != nil {
		return 0, err
	}
	if err := s.launch(l, &t, func() error { return start(l, rounds) }); err != nil {
		return 0, err
	}
	return s.finish(l, &t)
}
