package workloads

import (
	"io"

	"github.com/vramsim/vramsim/scheduler"
)

// open is a source whose jobs arrive whatever happens.
type open struct {
	named
	process process
	until   scheduler.Time
	items   int64

	ordinal uint64
	at      scheduler.Time // of the next job
	pending bool           // there is a next job
}

func newOpen(c *Config, m maker, p process) *open {
	o := &open{named: named{maker: m}, process: p, until: c.Duration, items: c.Items}
	o.advance()
	return o
}

// advance learns when the next job arrives.
func (o *open) advance() {
	o.pending = false
	if o.items > 0 && int64(o.out.nextItem) >= o.items {
		return
	}
	at, ok := o.process.next()
	o.at, o.pending = at, ok && (o.until == 0 || at <= o.until)
}

// Next returns the items of all jobs of the next instant.
func (o *open) Next() ([]scheduler.Event, error) {
	o.out.turn()
	for o.pending {
		if err := o.instant(); err != nil {
			return nil, err
		}
		if len(o.out.events) > 0 { // else all jobs of the instant were skipped
			return o.out.events, nil
		}
	}
	return nil, io.EOF
}

// instant makes the jobs of the next instant.
func (o *open) instant() error {
	if o.at == scheduler.MaxTime {
		return wrong("items", "item %d would arrive after the end of time, 292 years", o.out.nextItem)
	}
	for at := o.at; o.pending && o.at == at; o.advance() {
		if err := o.maker.job(at, 0, o.ordinal, &o.out); err != nil {
			return err
		}
		o.ordinal++
	}
	return nil
}
