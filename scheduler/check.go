package scheduler

import "fmt"

// Check verifies the numbered invariants of the package documentation against
// the whole state and returns the first that does not hold, as an
// *InvariantError. It costs time in proportion to what is in flight.
func (c *Core) Check() error {
	for _, check := range []func() error{c.checkItems, c.checkQueues, c.checkDevices, c.checkHost} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func broken(number int, format string, args ...any) error {
	return &InvariantError{Number: number, What: fmt.Sprintf(format, args...)}
}

// checkItems: 1 conservation, 4 dependencies.
func (c *Core) checkItems() error {
	var states [itemRunning + 1]int
	blocked, near := make([]int, len(c.queues)), make([]int, len(c.queues))
	for i := range c.items.slots {
		it := &c.items.slots[i]
		states[it.state]++
		if it.state == itemBlocked {
			blocked[it.model]++
			switch it.waiting {
			case 0:
				return broken(4, "item %d is blocked by nothing", it.id)
			case 1:
				near[it.model]++
			}
		}
		if (it.state == itemReady || it.state == itemRunning) && it.waiting != 0 {
			return broken(4, "item %d is ready or running with %d unfinished dependencies", it.id, it.waiting)
		}
		if it.state == itemReady && int(it.attempts) >= c.cfg.Attempts {
			return broken(7, "item %d is ready after %d attempts", it.id, it.attempts)
		}
	}
	for m := range c.queues {
		if q := &c.queues[m]; blocked[m] != q.blocked || near[m] != q.near {
			return broken(4, "model %d has %d items blocked, %d by one dependency, expected %d and %d", m, blocked[m], near[m], q.blocked, q.near)
		}
	}
	counts := c.Counts()
	sum := counts.Blocked + counts.Ready + counts.Running + counts.Done + counts.Failed + counts.Rejected + counts.Cancelled
	if sum != counts.Arrived {
		return broken(1, "%d arrived, but blocked + ready + running + done + failed + rejected + cancelled = %d: %+v", counts.Arrived, sum, counts)
	}
	if states[itemBlocked] != c.blocked || states[itemReady] != c.ready || states[itemRunning] != c.running {
		return broken(1, "counted %v items by state, expected %d blocked, %d ready, %d running", states, c.blocked, c.ready, c.running)
	}
	if c.items.inFlight != c.blocked+c.ready+c.running {
		return broken(1, "%d ids in flight, expected %d", c.items.inFlight, c.blocked+c.ready+c.running)
	}
	return nil
}

// checkQueues: 8 order, and the sums that queues keep.
func (c *Core) checkQueues() error {
	for m := range c.queues {
		q := &c.queues[m]
		n, work, readied, oldest := 0, int64(0), uint64(0), int64(Never)
		var before *item
		for s := q.first(&c.items); s >= 0; s = q.next(&c.items, s) {
			it := c.items.at(s)
			if it.state != itemReady || it.model != ModelID(m) {
				return broken(8, "item %d of model %d stands ready in the queue of model %d in state %d", it.id, it.model, m, it.state)
			}
			if before != nil && !precedes(before, it) {
				return broken(8, "item %d stands before item %d", before.id, it.id)
			}
			before, n, work, readied, oldest = it, n+1, work+it.work, readied+uint64(it.readyAt), min(oldest, it.seq)
		}
		if n != q.n || work != q.work {
			return broken(8, "model %d has %d items of work %d in its queue, expected %d of %d", m, n, work, q.n, q.work)
		}
		if readied != q.readied {
			return broken(8, "the items of model %d became ready at %d together, expected %d", m, readied, q.readied)
		}
		if n > 0 && c.items.at(q.oldest(&c.items)).seq != oldest {
			return broken(8, "the oldest item of model %d is not its oldest", m)
		}
		if (c.active.next(ModelID(m)) == ModelID(m)) != (n > 0) {
			return broken(9, "model %d with %d ready items is wrongly listed", m, n)
		}
	}
	return nil
}

// checkDevices: 2 budget, 5 slots and link, 6 residency, 12 one load.
func (c *Core) checkDevices() error {
	claims := 0
	for i := range c.devices {
		if err := c.checkDevice(DeviceID(i)); err != nil {
			return err
		}
		if c.devices[i].claim.active() {
			claims++
		}
	}
	if claims != c.claims {
		return broken(5, "%d devices have a claim, expected %d", claims, c.claims)
	}
	return nil
}

func (c *Core) checkDevice(d DeviceID) error {
	dev := &c.devices[d]
	reserved, evicting, loading, running := dev.claim.got, Bytes(0), 0, make(map[ModelID]int32)
	for i := range dev.batches {
		b := &dev.batches[i]
		reserved += b.memory
		running[b.model]++
		if c.residency(d, b.model).state != Resident {
			return broken(6, "model %d runs on device %d and is %v", b.model, d, c.residency(d, b.model).state)
		}
	}
	present, claims := 0, 0
	for m := range c.cfg.Models {
		r := c.residency(d, ModelID(m))
		switch r.state {
		case Claimed:
			claims++
		case Evicting:
			evicting += c.cfg.Models[m].Bytes
			reserved += c.cfg.Models[m].Bytes
		case Loading:
			loading++
			reserved += c.cfg.Models[m].Bytes
		case Resident:
			reserved += c.cfg.Models[m].Bytes
		}
		if r.state != Absent {
			present++
		}
		if r.running != running[ModelID(m)] {
			return broken(6, "model %d runs %d batches on device %d, expected %d", m, running[ModelID(m)], d, r.running)
		}
		if r.promised {
			return broken(6, "model %d is still promised on device %d", m, d)
		}
	}
	switch {
	case reserved != dev.reserved || evicting != dev.evicting:
		return broken(2, "device %d has %d bytes reserved and %d evicting, expected %d and %d", d, reserved, evicting, dev.reserved, dev.evicting)
	case reserved > dev.budget:
		return broken(2, "device %d has %d bytes reserved of a budget of %d", d, reserved, dev.budget)
	case len(dev.batches) > dev.slots:
		return broken(5, "device %d runs %d batches in %d slots", d, len(dev.batches), dev.slots)
	case loading > 1 || loading == 1 && dev.claim.active() || (loading == 1) != (dev.loading != NoModel):
		return broken(5, "device %d has %d loads and a claim of model %d on its link", d, loading, dev.claim.model)
	case claims > 1 || (claims == 1) != dev.claim.active() || claims == 1 && c.residency(d, dev.claim.model).state != Claimed:
		return broken(12, "device %d has %d models with a claim and the claim of model %d", d, claims, dev.claim.model)
	case dev.claim.active() && (dev.claim.got < 0 || dev.claim.got > c.cfg.Models[dev.claim.model].Bytes):
		return broken(2, "the claim of model %d on device %d holds %d bytes", dev.claim.model, d, dev.claim.got)
	case !dev.up && present+len(dev.batches) > 0:
		return broken(6, "device %d is down and holds %d models and %d batches", d, present, len(dev.batches))
	case present != len(dev.residents):
		return broken(12, "device %d lists %d of %d models", d, len(dev.residents), present)
	}
	return nil
}

func (c *Core) checkHost() error {
	used := Bytes(0)
	for _, m := range c.hostOrder {
		used += c.cfg.Models[m].Bytes
		if !c.inHost[m] {
			return broken(2, "model %d is wrongly in the order of the host tier", m)
		}
	}
	if used != c.hostUsed || used > c.cfg.HostMemory {
		return broken(2, "the host tier holds %d bytes, expected %d of at most %d", used, c.hostUsed, c.cfg.HostMemory)
	}
	return nil
}
