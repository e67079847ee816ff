package worker

import (
	"fmt"
	"slices"
	"time"

	"github.com/vramsim/vramsim/scheduler"
)

// hostTier follows the core's host tier, as far as one device sees it: which
// models the core holds there, and which are staged in pinned memory. All that
// fits is staged from the start; later a model is staged when its eviction
// makes it enter the tier, and what the core has thrown out makes room.
//
// Of several devices each has an executor and a tier of its own here; a load
// from the tier of a model that another device evicted stages it first.
type hostTier struct {
	models []scheduler.Model
	room   scheduler.Bytes
	order  []scheduler.ModelID // in the tier, the least recently used first
	staged map[scheduler.ModelID]bool
}

func (h *hostTier) open(p *scheduler.Plan) {
	h.models, h.room, h.staged = p.Models, p.HostMemory, map[scheduler.ModelID]bool{}
}

// wanted returns what to stage in a fresh worker: what is in the tier, and of
// the others what fits beside it.
func (h *hostTier) wanted() []scheduler.ModelID {
	all := slices.Clone(h.order)
	used := h.bytes(all)
	for m := range h.models {
		if id := scheduler.ModelID(m); !slices.Contains(all, id) && h.models[m].Bytes <= h.room-used {
			all = append(all, id)
			used += h.models[m].Bytes
		}
	}
	return all
}

func (h *hostTier) bytes(models []scheduler.ModelID) (sum scheduler.Bytes) {
	for _, m := range models {
		sum += h.models[m].Bytes
	}
	return sum
}

// touch makes a model of the tier the most recently used.
func (h *hostTier) touch(m scheduler.ModelID) {
	if i := slices.Index(h.order, m); i >= 0 {
		h.order = append(slices.Delete(h.order, i, i+1), m)
	}
}

// enters puts an evicted model into the tier and reports whether it has to be
// staged for that.
func (h *hostTier) enters(m scheduler.ModelID) bool {
	if h.models[m].Bytes > h.room {
		return false
	}
	if slices.Contains(h.order, m) {
		h.touch(m)
	} else {
		for h.bytes(h.order)+h.models[m].Bytes > h.room {
			h.order = h.order[1:]
		}
		h.order = append(slices.Clone(h.order), m)
	}
	return !h.staged[m]
}

// inTheWay returns what has to be unstaged so that m fits: models that are not
// in the tier, as few as will do.
func (h *hostTier) inTheWay(m scheduler.ModelID) (out []scheduler.ModelID) {
	var used scheduler.Bytes
	for s := range h.staged {
		used += h.models[s].Bytes
	}
	for i := range h.models {
		if s := scheduler.ModelID(i); used+h.models[m].Bytes > h.room && h.staged[s] && !slices.Contains(h.order, s) {
			out = append(out, s)
			used -= h.models[s].Bytes
		}
	}
	return out
}

// staging reports whether there are pinned copies at all.
func (e *Executor) staging() bool {
	return e.cfg.HostTier == Pinned && slices.Contains(e.plan.Tiers, scheduler.TierHost)
}

// stageAll stages what a fresh worker has to hold.
func (e *Executor) stageAll(s *session) error {
	e.tier.Lock()
	defer e.tier.Unlock()
	e.host.open(&e.plan)
	for _, m := range e.host.wanted() {
		if _, err := s.do(Request{Op: OpStage, Model: e.name(m)}, e.cfg.Timeouts.Stage); err != nil {
			return fmt.Errorf("model %s cannot be staged: %w", e.name(m), err)
		}
		e.host.staged[m] = true
	}
	return nil
}

// enterHost stages a model that its eviction puts into the host tier.
func (e *Executor) enterHost(c *call) error {
	e.tier.Lock()
	defer e.tier.Unlock()
	if !e.host.enters(c.Model) {
		return nil
	}
	return e.stage(c)
}

// stageLate sees to it that a load from the host tier finds its model there.
func (e *Executor) stageLate(c *call) error {
	e.tier.Lock()
	defer e.tier.Unlock()
	e.host.touch(c.Model)
	if e.host.staged[c.Model] {
		return nil
	}
	e.cfg.notice(Notice{Kind: StagedLate, Seq: c.Seq, Model: e.name(c.Model), PID: c.session.child.pid()})
	return e.stage(c)
}

// stage stages the model of a call and makes room for it. tier is held.
func (e *Executor) stage(c *call) error {
	began := time.Now()
	for _, m := range e.host.inTheWay(c.Model) {
		if _, err := e.ask(c, Request{Op: OpUnstage, Model: e.name(m)}, e.cfg.Timeouts.Stage); err != nil {
			return err
		}
		delete(e.host.staged, m)
	}
	if _, err := e.ask(c, Request{Op: OpStage}, e.cfg.Timeouts.Stage); err != nil {
		return err
	}
	e.host.staged[c.Model] = true
	c.phase(PhaseStage, time.Since(began))
	return nil
}
