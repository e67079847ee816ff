package policies

import (
	"math"
	"math/bits"

	"github.com/vramsim/vramsim/scheduler"
)

// byDeadline runs the earliest deadline first, byWork the least work.
func byDeadline(item scheduler.Item) int64 { return int64(item.Deadline) }

func byWork(item scheduler.Item) int64 { return item.Work }

// aging makes a wait of this length worth one level of priority: an item of
// priority p stands where one of priority 0 would that became ready p times as
// long before, so that what waits is overtaken by what comes with a higher
// priority for a while only.
type aging scheduler.Time

// Key implements scheduler.Order.
func (step aging) Key(item scheduler.Item) int64 {
	head := int64(times(scheduler.Time(step), int64(magnitude(item.Priority))))
	if item.Priority < 0 {
		head = -head
	}
	key := int64(item.ReadyAt) - head
	if head < 0 && key < 0 {
		return math.MaxInt64
	}
	return key
}

// magnitude returns |p|, exact for the least int32 too.
func magnitude(p int32) uint32 {
	if p < 0 {
		return -uint32(p)
	}
	return uint32(p)
}

// tenantRounds is deficit round robin among the tenants of each queue: in a
// round a tenant is served for a quantum, however many items it has waiting.
// The key of an item is the round in which its tenant's account pays for it;
// items without a tenant share one. Within a round priority decides.
type tenantRounds struct {
	quantum scheduler.Time
	models  []scheduler.Model
	queues  []tenantQueue // by model
}

// tenantQueue is what is known of one queue.
type tenantQueue struct {
	served   int64                    // the latest round of which an item was dispatched
	accounts map[int64]scheduler.Time // by tenant: the time for which its items have entered
	limit    int                      // of accounts before some are forgotten
}

// leastAccounts is how many accounts a queue may always keep.
const leastAccounts = 16

func newTenantRounds(env *Env, quantum scheduler.Time) *tenantRounds {
	o := &tenantRounds{quantum: quantum, models: env.Models, queues: make([]tenantQueue, len(env.Models))}
	for i := range o.queues {
		o.queues[i] = tenantQueue{accounts: map[int64]scheduler.Time{}, limit: leastAccounts}
	}
	return o
}

// Key implements scheduler.Order: it puts the time of one item on its
// tenant's account. A tenant with nothing queued has saved no rounds: its
// account first moves up to the round being served, where those of tenants
// with items queued are anyway.
func (o *tenantRounds) Key(item scheduler.Item) int64 {
	q := &o.queues[item.Model]
	used := max(q.accounts[item.Tenant], o.start(q))
	used, _ = scheduler.AddTime(used, o.models[item.Model].Batch.Time(1, item.Work))
	q.accounts[item.Tenant] = used
	if len(q.accounts) > q.limit {
		o.forget(q)
	}
	return max(1, int64(used/o.quantum)+min(1, int64(used%o.quantum)))
}

// start returns what an account at the beginning of the round being served has used.
func (o *tenantRounds) start(q *tenantQueue) scheduler.Time { return times(o.quantum, q.served-1) }

// Dispatched implements scheduler.DispatchObserver.
func (o *tenantRounds) Dispatched(item scheduler.Item, key int64) {
	q := &o.queues[item.Model]
	q.served = max(q.served, key)
}

// forget drops the accounts that would move up to the round being served.
func (o *tenantRounds) forget(q *tenantQueue) {
	start := o.start(q)
	for tenant, used := range q.accounts {
		if used <= start {
			delete(q.accounts, tenant)
		}
	}
	q.limit = max(2*len(q.accounts), leastAccounts)
}

// times returns t·k for k ≥ 0, saturating; 0 for a negative k.
func times(t scheduler.Time, k int64) scheduler.Time {
	hi, lo := bits.Mul64(uint64(t), uint64(max(0, k)))
	if hi > 0 || lo > uint64(scheduler.MaxTime) {
		return scheduler.MaxTime
	}
	return scheduler.Time(lo)
}
