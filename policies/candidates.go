package policies

import "github.com/vramsim/vramsim/scheduler"

// Candidates are the models that a selector may choose from for one device:
// those with ready items that are placed there, in the order of their ids. It
// is valid during the call it is passed to.
//
//	for m := c.Next(0); m != scheduler.NoModel; m = c.Next(m + 1)
type Candidates struct {
	policy   *composed
	view     *scheduler.View
	device   scheduler.DeviceID
	resident bool // only those that are resident and have a batch that fits
	plain    bool // every model with ready items is a candidate
	except   scheduler.ModelID
}

// Device returns the device for which a model is sought.
func (c *Candidates) Device() scheduler.DeviceID { return c.device }

// Current returns the model of the device's last visit, open or closed,
// scheduler.NoModel before the first.
func (c *Candidates) Current() scheduler.ModelID { return c.policy.stays[c.device].Model }

// Since returns since when the device has been at Current, visits to it in a
// row taken together, and whether it still is: false before the first visit and
// once the model has left.
func (c *Candidates) Since() (scheduler.Time, bool) {
	s := &c.policy.stays[c.device]
	return s.Since, s.Model != noModel && !s.gone
}

// Next returns the first candidate from m on, or scheduler.NoModel.
func (c *Candidates) Next(m scheduler.ModelID) scheduler.ModelID {
	m = c.view.NextReady(m)
	if c.plain {
		return m
	}
	for m != noModel && !c.takes(m) {
		m = c.view.NextReady(m + 1)
	}
	return m
}

// Has reports whether m is a candidate.
func (c *Candidates) Has(m scheduler.ModelID) bool {
	return m != noModel && c.view.Ready(m) > 0 && (c.plain || c.takes(m))
}

// Resident reports whether m is resident and has a batch that fits.
func (c *Candidates) Resident(m scheduler.ModelID) bool { return c.view.Fits(c.device, m) > 0 }

// Startable reports whether choosing m would lead to something now: a batch,
// an eviction that it needs, or its load.
func (c *Candidates) Startable(m scheduler.ModelID) bool {
	v, d, p := c.view, c.device, c.policy
	switch v.State(d, m) {
	case scheduler.Resident:
		return v.Fits(d, m) > 0
	case scheduler.Absent:
	default:
		return false
	}
	if p.limiter != nil {
		switch _, verdict := p.limit(v, d, m); verdict {
		case mustEvict:
			return true
		case mustWait:
			return false
		}
	}
	return v.Loadable(d, m)
}

// Here reports whether m, with ready items or without, is placed on the device.
func (c *Candidates) Here(m scheduler.ModelID) bool {
	return m != c.except && c.policy.here(c.view, c.device, m)
}

func (c *Candidates) takes(m scheduler.ModelID) bool {
	if m == c.except || c.policy.failed(c.view, m) {
		return false
	}
	if c.resident {
		return c.Resident(m)
	}
	return c.policy.here(c.view, c.device, m)
}

// here reports whether m is placed on d, or already there.
func (p *composed) here(v *scheduler.View, d scheduler.DeviceID, m scheduler.ModelID) bool {
	if p.placer == nil {
		return true
	}
	switch v.State(d, m) {
	case scheduler.Claimed, scheduler.Loading:
		return true
	case scheduler.Resident:
		return takes(v, d, m)
	}
	return p.place(v, m) == d
}

// candidates returns who may be chosen for d; there is one at a time.
func (p *composed) candidates(v *scheduler.View, d scheduler.DeviceID) *Candidates {
	p.cands = Candidates{policy: p, view: v, device: d, except: noModel, plain: p.placer == nil && v.Now() >= p.retry}
	return &p.cands
}

// others returns the candidates without the model of d's visit.
func (p *composed) others(v *scheduler.View, d scheduler.DeviceID) *Candidates {
	c := p.candidates(v, d)
	c.except, c.plain = p.stays[d].Model, false
	return c
}
