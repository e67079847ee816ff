package workloads

import "github.com/vramsim/vramsim/scheduler"

// follower learns from events when the items of clients have ended.
type follower struct {
	owner   map[scheduler.ItemID]int32 // client of each item that has not ended
	ended   func(at scheduler.Time, who int32)
	members []scheduler.ItemID // dispatched to the batch that will start next
	batches map[int64]batchMembers
	spare   [][]scheduler.ItemID
}

type batchMembers struct {
	device scheduler.DeviceID
	items  []scheduler.ItemID
}

// newFollower returns one that calls ended for each item that ends, however
// that is, with its client.
func newFollower(ended func(at scheduler.Time, who int32)) follower {
	return follower{owner: map[scheduler.ItemID]int32{}, batches: map[int64]batchMembers{}, ended: ended}
}

// Append follows the items to their ends.
func (f *follower) Append(events []scheduler.Event) error {
	for i := range events {
		ev := &events[i]
		switch ev.Kind {
		case scheduler.MemberDispatched:
			f.members = append(f.members, ev.Item())
		case scheduler.BatchStarted:
			f.batches[ev.ID] = batchMembers{ev.Device, f.members}
			f.members = nil
			if n := len(f.spare); n > 0 {
				f.members, f.spare = f.spare[n-1][:0], f.spare[:n-1]
			}
		case scheduler.BatchFinished, scheduler.BatchFailed:
			f.endBatch(ev)
		case scheduler.DeviceDown:
			for id, b := range f.batches {
				if b.device == ev.Device {
					delete(f.batches, id)
				}
			}
		case scheduler.ItemFailed, scheduler.ItemRejected, scheduler.ItemCancelled, scheduler.DependantCancelled:
			f.end(ev.At, ev.Item())
		}
	}
	return nil
}

// endBatch ends the members of a finished batch; those of a failed one are
// tried again or fail in an event of their own.
func (f *follower) endBatch(ev *scheduler.Event) {
	b, ok := f.batches[ev.ID]
	if !ok {
		return
	}
	delete(f.batches, ev.ID)
	if ev.Kind == scheduler.BatchFinished {
		for _, id := range b.items {
			f.end(ev.At, id)
		}
	}
	f.spare = append(f.spare, b.items)
}

func (f *follower) end(at scheduler.Time, item scheduler.ItemID) {
	if who, ok := f.owner[item]; ok {
		delete(f.owner, item)
		f.ended(at, who)
	}
}
