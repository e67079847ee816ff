package policies

import (
	"math/bits"

	"github.com/vramsim/vramsim/scheduler"
)

// Stay is a visit of a device to a model's queue. It opens when a batch of
// another model starts or the visit before closed; batches that fill the time
// until a load ends are none of it.
type Stay struct {
	Device  scheduler.DeviceID
	Model   scheduler.ModelID
	Opened  scheduler.Time
	Since   scheduler.Time // when the first visit in a row to the model opened
	Gate    int            // items that were ready when it opened
	Items   int            // dispatched
	Batches int            // started

	forced bool
	gone   bool // its model has left the device
	policy *composed
}

// Next returns the model that the selector would choose were the visit over,
// scheduler.NoModel if no other has anything to do.
func (s *Stay) Next(v *scheduler.View) scheduler.ModelID {
	p := s.policy
	kept := p.cands
	next := p.selector.Select(v, p.others(v, s.Device))
	p.cands = kept
	return next
}

// failures are how often in a row something of a model failed.
type failures struct {
	loads, batches int
	until          scheduler.Time
}

// Observe keeps what composed policies remember: visits, targets, failures.
func (p *composed) Observe(v *scheduler.View, ev scheduler.Event) {
	switch ev.Kind {
	case scheduler.BatchStarted:
		p.sawBatch(v, ev)
	case scheduler.LoadClaimed, scheduler.LoadStarted:
		p.sawLoad(ev)
	case scheduler.EvictStarted:
		p.sawLeave(ev.Device, ev.Model)
	case scheduler.LoadFinished, scheduler.BatchFinished:
		if p.failures != nil {
			p.sawSuccess(ev)
		}
		if ev.Kind == scheduler.LoadFinished && p.pinned != nil && p.pinned[ev.Model] {
			p.countUnheld(v)
		}
	case scheduler.LoadFailed, scheduler.BatchFailed:
		p.sawFailure(v, ev)
	case scheduler.Note:
		if ev.Device >= 0 {
			p.noted[ev.Device] = ev.ID
		}
	case scheduler.ModelHeld:
		if p.pinned != nil {
			p.countUnheld(v)
		}
	case scheduler.DeviceDown:
		p.sawDown(v, ev.Device)
	}
	for _, part := range p.parts {
		part.Observe(v, ev)
	}
}

// reason returns the reason given for the decision being carried out on d.
func (p *composed) reason(d scheduler.DeviceID) int64 {
	code := p.noted[d]
	p.noted[d] = 0
	return code
}

func (p *composed) sawBatch(v *scheduler.View, ev scheduler.Event) {
	why := p.reason(ev.Device)
	if why == scheduler.ReasonFill {
		return
	}
	s, t := &p.stays[ev.Device], &p.targets[ev.Device]
	n, m := ev.Members(), ev.Model
	forced := why == scheduler.ReasonUrgent || t.model == m && t.forced
	if s.Model != m || s.gone || forced || p.left(v, s) <= 0 {
		since := ev.At
		if s.Model == m && !s.gone {
			since = s.Since
		}
		*s = Stay{Device: ev.Device, Model: m, Opened: ev.At, Since: since, Gate: n + v.Ready(m), forced: forced, policy: p}
		if p.allotter != nil {
			p.allotter.opened(s, t.model == m)
		}
	}
	s.Items += n
	s.Batches++
	t.model = noModel
}

func (p *composed) sawLoad(ev scheduler.Event) {
	d := ev.Device
	if ev.Kind == scheduler.LoadClaimed {
		if p.claimed[d] == ev.Model {
			return // more bytes for the same claim
		}
		p.claimed[d] = ev.Model
	} else if p.claimed[d] == ev.Model {
		p.claimed[d] = noModel
		return
	}
	why := p.reason(d)
	if why != scheduler.ReasonPrefetch {
		p.targets[d] = target{model: ev.Model, forced: why == scheduler.ReasonUrgent}
	}
}

func (p *composed) sawLeave(d scheduler.DeviceID, m scheduler.ModelID) {
	p.noted[d] = 0
	if p.stays[d].Model == m {
		p.stays[d].gone = true
	}
	if p.targets[d].model == m {
		p.targets[d].model = noModel
	}
}

func (p *composed) sawSuccess(ev scheduler.Event) {
	f := &p.failures[ev.Model]
	if ev.Kind == scheduler.LoadFinished {
		f.loads = 0
	} else {
		f.batches = 0
	}
}

func (p *composed) sawFailure(v *scheduler.View, ev scheduler.Event) {
	if p.failures == nil {
		p.failures = make([]failures, v.Models())
	}
	f := &p.failures[ev.Model]
	times := 0
	if ev.Kind == scheduler.LoadFailed {
		f.loads++
		times = f.loads
		if p.targets[ev.Device].model == ev.Model {
			p.targets[ev.Device].model = noModel
		}
	} else {
		f.batches++
		times = f.batches
	}
	until, _ := scheduler.AddTime(ev.At, doubled(p.backoff, times-1))
	f.until = max(f.until, until)
	p.retry = max(p.retry, until)
}

// doubled returns t·2ⁿ, saturating.
func doubled(t scheduler.Time, n int) scheduler.Time {
	if t == 0 {
		return 0
	}
	if bits.LeadingZeros64(uint64(t)) <= n+1 {
		return scheduler.MaxTime
	}
	return t << n
}

func (p *composed) sawDown(v *scheduler.View, d scheduler.DeviceID) {
	p.stays[d].gone = true
	p.targets[d].model = noModel
	p.claimed[d] = noModel
	p.noted[d] = 0
	if p.pinned != nil {
		p.countUnheld(v)
	}
}

func (p *composed) countUnheld(v *scheduler.View) {
	p.unheld = 0
	for d := range scheduler.DeviceID(len(p.stays)) {
		for _, m := range v.Residents(d) {
			if p.lacksHold(v, d, m) {
				p.unheld++
			}
		}
	}
}
