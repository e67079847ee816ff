package policies

import "github.com/vramsim/vramsim/scheduler"

// Batcher says how many items run together.
type Batcher interface {
	// Size returns how many items of m the next batch should have, of at most
	// limit ≥ 1 that it may and at least one that is ready; or 0 and when to
	// ask again, a time after now. It does not look at the ledger.
	Size(v *scheduler.View, m scheduler.ModelID, limit int) (n int, again scheduler.Time)
}

// waited returns whether the oldest item of m has waited for t, else when.
func waited(v *scheduler.View, m scheduler.ModelID, t scheduler.Time) (bool, scheduler.Time) {
	at, _ := scheduler.AddTime(v.Oldest(m), t)
	return at <= v.Now(), at
}

// delay starts at once what reaches the largest preferred size, else waits a
// little (Triton's dynamic batcher).
type delay struct {
	wait   scheduler.Time
	prefer []int64
}

func (b *delay) Size(v *scheduler.View, m scheduler.ModelID, limit int) (int, scheduler.Time) {
	n := min(v.Ready(m), limit)
	if n == limit {
		return n, scheduler.Never
	}
	fitting, largest := 0, 0
	for _, p := range b.prefer {
		if int(p) <= limit {
			largest = max(largest, int(p))
		}
		if int(p) <= n {
			fitting = max(fitting, int(p))
		}
	}
	if fitting > 0 && fitting == largest {
		return fitting, scheduler.Never
	}
	if ok, at := waited(v, m, b.wait); !ok {
		return 0, at
	}
	return n, scheduler.Never
}

// accumulate waits for a number of items, but not for ever.
type accumulate struct {
	items   int
	timeout scheduler.Time
}

func (b *accumulate) Size(v *scheduler.View, m scheduler.ModelID, limit int) (int, scheduler.Time) {
	n := min(v.Ready(m), limit)
	if n >= min(b.items, limit) {
		return n, scheduler.Never
	}
	if ok, at := waited(v, m, b.timeout); !ok {
		return 0, at
	}
	return n, scheduler.Never
}

// sloLargest takes the largest batch with which the head meets its deadline.
type sloLargest struct{}

func (sloLargest) Size(v *scheduler.View, m scheduler.ModelID, limit int) (int, scheduler.Time) {
	head, _ := v.Head(m)
	n := min(v.Ready(m), limit)
	for n > 1 && v.BatchEstimate(m, n) > head.Deadline-v.Now() {
		n--
	}
	return n, scheduler.Never
}

// deferred waits as long as one more item could still join without the head
// missing its deadline (Symphony's instant). A head without a deadline is not
// held back, nor one that is late.
type deferred struct{}

func (deferred) Size(v *scheduler.View, m scheduler.ModelID, limit int) (int, scheduler.Time) {
	head, _ := v.Head(m)
	n := min(v.Ready(m), limit)
	if head.Deadline == scheduler.Never {
		return n, scheduler.Never
	}
	for n > 1 && v.BatchEstimate(m, n) > head.Deadline-v.Now() {
		n--
	}
	if fire := head.Deadline - v.BatchEstimate(m, n+1); n < limit && n == v.Ready(m) && fire > v.Now() {
		return 0, fire
	}
	return n, scheduler.Never
}
