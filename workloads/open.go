package workloads

import (
	"io"
	"slices"

	"github.com/vramsim/vramsim/scheduler"
)

// open is a source whose jobs arrive whatever happens. Where each item is a
// job of its own it makes those of some instants at once.
type open struct {
	named
	process process
	until   scheduler.Time // no job arrives after it; 0: no end

	times   [drawAhead]scheduler.Time // of the next jobs
	due     []scheduler.Time          // those of times that were not made
	ordinal uint64                    // of the first of them
	ended   bool                      // no others follow
	late    bool                      // because they would arrive after the end of time
	left    []scheduler.Event         // made and not told
}

// drawAhead is how many arrivals are drawn at once.
const drawAhead = 64

func newOpen(c *Config, m maker, p process) *open {
	return &open{named: newNamed(c, m), process: p, until: c.Duration}
}

// Next returns the items of all jobs of the next instant.
func (o *open) Next() ([]scheduler.Event, error) {
	for len(o.left) == 0 { // again where all jobs were skipped
		if err := o.make(); err != nil {
			return nil, err
		}
	}
	left, n := o.left, 1
	for n < len(left) && left[n].At == left[0].At {
		n++
	}
	o.left = left[n:]
	return left[:n], nil
}

// make makes the jobs of the next instant or, of single items, of some.
func (o *open) make() error {
	o.out.turn()
	switch {
	case o.out.left() == 0:
		return io.EOF
	case !o.more() && o.late:
		return wrong("items", "item %d would arrive after the end of time, 292 years", o.out.nextItem)
	case !o.more():
		return io.EOF
	}
	for at := o.due[0]; o.out.left() > 0 && o.more() && o.due[0] == at; {
		n := len(o.due)
		if !o.maker.whole() {
			n, _ = slices.BinarySearch(o.due, at+1)
		}
		if err := o.maker.jobs(o.due[:n], 0, o.ordinal, &o.out); err != nil {
			return err
		}
		at = o.due[n-1]
		o.ordinal += uint64(n)
		o.due = o.due[n:]
	}
	o.left = o.out.events
	return nil
}

// more reports whether another job arrives, drawing some if need be.
func (o *open) more() bool {
	if len(o.due) > 0 || o.ended {
		return len(o.due) > 0
	}
	n := o.process.next(o.times[:])
	last := o.until
	if last == 0 {
		last = scheduler.MaxTime - 1
	}
	o.ended = n == 0
	for n > 0 && o.times[n-1] > last {
		n--
		o.ended, o.late = true, o.until == 0
	}
	o.due = o.times[:n]
	return n > 0
}
