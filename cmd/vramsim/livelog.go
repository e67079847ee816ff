package main

import (
	"errors"
	"os"
	"sync"
	"time"

	"github.com/vramsim/vramsim/results/eventlog"
	"github.com/vramsim/vramsim/scheduler"
)

// liveLog is a log of what really happens: what an effect was started for is
// with the system before it starts, and on the disk a second later.
type liveLog struct {
	*eventlog.Writer
	file    *os.File
	quit    chan struct{}
	stopped sync.Once
	syncing sync.WaitGroup
}

const syncEvery = time.Second

func createLiveLog(path string, h eventlog.Header, o eventlog.Options) (*liveLog, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	w, err := eventlog.NewWriter(f, h, o)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	l := &liveLog{Writer: w, file: f, quit: make(chan struct{})}
	l.syncing.Go(l.sync)
	return l, nil
}

// sync makes the file durable now and then, beside its writer: a slow disk
// must not hold up the run. What fails is found when the log is closed.
func (l *liveLog) sync() {
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = l.file.Sync()
		case <-l.quit:
			return
		}
	}
}

func (l *liveLog) stop() {
	l.stopped.Do(func() { close(l.quit) })
	l.syncing.Wait()
}

// Append hands the events of a step to the system.
func (l *liveLog) Append(events []scheduler.Event) error {
	if err := l.Writer.Append(events); err != nil {
		return err
	}
	return l.Flush()
}
