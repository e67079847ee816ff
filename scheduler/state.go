package scheduler

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
)

// AppendState appends a canonical encoding of the state between two steps to
// b: two cores of one configuration are in the same state exactly if the
// encodings are equal. What an estimator, an order or a policy remembers is
// theirs; it shows in the decisions. State replay compares encodings, logs keep
// them as snapshots.
func (c *Core) AppendState(b []byte) []byte {
	b = appendInts(b, int64(c.now), c.seq, c.arrivals, int64(c.arrivedNow), c.readySeq, c.uses, c.evictions,
		int64(c.blocked), int64(c.ready), int64(c.running), c.done, c.failed, c.rejected, c.cancelled,
		int64(c.timer), int64(c.holdTimer), int64(c.lastHold), int64(c.hostUsed))
	for i := range c.devices {
		b = c.appendDevice(b, DeviceID(i))
	}
	for m := range c.queues {
		b = c.appendModel(b, ModelID(m))
	}
	b = appendInts(b, int64(len(c.hostOrder)))
	for _, m := range c.hostOrder {
		b = appendInts(b, int64(m))
	}
	return c.appendEnded(c.appendJobs(c.appendBlocked(b)))
}

func (c *Core) appendJobs(b []byte) []byte {
	b = appendInts(b, int64(len(c.jobs)))
	for _, id := range slices.Sorted(maps.Keys(c.jobs)) {
		j := c.jobs[id]
		b = appendInts(b, int64(id), int64(j.Arrival), int64(j.Deadline), int64(j.Unfinished))
	}
	return b
}

// appendEnded adds the items that ended badly: in the order in which they
// will be forgotten, or by id if they never are.
func (c *Core) appendEnded(b []byte) []byte {
	ids := c.endedIDs
	if c.cfg.KeepFailed == 0 {
		ids = slices.Sorted(maps.Keys(c.ended))
	}
	b = appendInts(b, int64(len(ids)))
	for _, id := range ids {
		b = appendInts(b, int64(id))
	}
	return b
}

// StateDigest returns the SHA-256 of AppendState.
func (c *Core) StateDigest() [32]byte { return sha256.Sum256(c.AppendState(nil)) }

func appendInts(b []byte, vs ...int64) []byte {
	for _, v := range vs {
		b = binary.AppendVarint(b, v)
	}
	return b
}

func (c *Core) appendDevice(b []byte, d DeviceID) []byte {
	dev := &c.devices[d]
	up := int64(0)
	if dev.up {
		up = 1
	}
	b = appendInts(b, up, int64(dev.reserved), int64(dev.foreign), int64(dev.evicting), int64(dev.loading),
		int64(dev.claim.model), int64(dev.claim.got), int64(dev.last), int64(dev.lastSince), dev.started, int64(len(dev.batches)))
	for i := range dev.batches {
		t := &dev.batches[i]
		b = appendInts(b, t.seq, int64(t.model), int64(t.n), int64(t.start), int64(t.estimate), int64(t.memory))
		for s := t.head; s >= 0; s = c.items.at(s).next {
			b = c.appendItem(b, c.items.at(s))
		}
	}
	b = appendInts(b, int64(len(dev.residents)))
	for _, m := range dev.residents {
		r := c.residency(d, m)
		b = appendInts(b, int64(m), int64(r.state), int64(r.running), int64(r.tier), r.batches, r.seq, r.ordinal, int64(r.since),
			int64(r.estimate), int64(r.loadedAt), int64(r.lastUsed), r.useOrder, int64(r.heldUntil))
	}
	return b
}

func (c *Core) appendModel(b []byte, m ModelID) []byte {
	q := &c.queues[m]
	b = appendInts(b, int64(q.n), int64(q.blocked), int64(q.near), q.work, q.arrivals, int64(q.firstArrival), int64(q.lastArrival),
		c.loads[m], int64(c.loadFailures[m]))
	for s := q.first(&c.items); s >= 0; s = q.next(&c.items, s) {
		b = c.appendItem(b, c.items.at(s))
	}
	return b
}

// appendBlocked adds what waits for dependencies, by id.
func (c *Core) appendBlocked(b []byte) []byte {
	if c.blocked == 0 && len(c.items.placeholders) == 0 {
		return appendInts(b, 0)
	}
	var waiting []slotID
	for s := range c.items.slots {
		if st := c.items.slots[s].state; st == itemBlocked || st == itemPlaceholder {
			waiting = append(waiting, slotID(s))
		}
	}
	slices.SortFunc(waiting, func(x, y slotID) int { return cmp.Compare(c.items.at(x).id, c.items.at(y).id) })
	b = appendInts(b, int64(len(waiting)))
	for _, s := range waiting {
		b = c.appendItem(b, c.items.at(s))
	}
	return b
}

func (c *Core) appendItem(b []byte, it *item) []byte {
	g, cancelled := it.tagsOrNone(), int64(0)
	if it.cancelled {
		cancelled = 1
	}
	b = appendInts(b, int64(it.id), int64(it.model), int64(it.state), int64(g.job), g.tenant, int64(it.priority),
		int64(it.arrival), int64(it.readyAt), int64(g.deadline), it.work, it.key, it.seq, int64(it.waiting), int64(it.attempts), cancelled)
	for e := it.dependants; e >= 0; e = c.items.edges[e].next {
		b = appendInts(b, int64(c.items.edges[e].to))
	}
	return appendInts(b, -1)
}
