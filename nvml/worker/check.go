package worker

import (
	"context"
	"time"

	"github.com/vramsim/vramsim/nvml/scratch"
)

// Report is what Check found.
type Report struct {
	Hello Hello
	// Spawned is how long it took until hello, by our clock.
	Spawned time.Duration
	// Memory of the device with the worker's context on it; nil if it does not
	// tell.
	Memory *Memory
}

// Check starts the worker, reads what it is, its device and the versions of its
// libraries, and ends it. No model is prepared or loaded. The error is that of
// New or Open.
func Check(ctx context.Context, cfg Config) (Report, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return Report{}, err
	}
	dir := cfg.Dir
	if dir == "" {
		temp, err := scratch.Make("", folderPrefix)
		if err != nil {
			return Report{}, err
		}
		defer temp.Remove()
		dir = temp.Path()
	}
	began := time.Now()
	s, err := greet(ctx, &cfg, dir, nil, nil)
	if err != nil {
		return Report{}, err
	}
	r := Report{Hello: *s.hello, Spawned: time.Since(began)}
	q, err := s.do(Request{Op: OpMem}, cfg.Timeouts.Other)
	if err == nil {
		r.Memory = q.reply.Memory
	}
	if closing := s.close(ctx); err == nil {
		err = closing
	}
	return r, err
}
