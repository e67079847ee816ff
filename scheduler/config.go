package scheduler

import (
	"fmt"
	"math"
)

// Model is one entry of the catalogue: what the core may know about a model.
// True durations are the world's.
type Model struct {
	Name  string
	Bytes Bytes // resident weights
	Batch BatchCost
	// Load is the declared (mean) load time from each tier, Unload the time
	// an eviction takes.
	Load   [Tiers]Time
	Unload Time
	Group  string // for group and pin rules; may be empty
}

// BatchCost says how many items of a model run together and what they are
// expected to cost.
type BatchCost struct {
	Max     int   // largest batch, 1..MaxBatch
	Memory  Bytes // activation memory per item of a batch
	Base    Time  // expected time of a batch of n: Base + PerItem·(work of its items),
	PerItem Time
	Times   []Time // or, if given, Times[n-1], of which what exceeds Base scales with work
	// Sizes are the sizes that Times were given for, ascending from 1, where
	// those between were filled in; nil: all. Batches of any size may run.
	Sizes []int
}

// Time returns the expected duration of a batch of n items that together have
// the given work in millionths (n·WorkUnit for ordinary items), MaxTime if it
// is longer.
func (c *BatchCost) Time(n int, work int64) Time {
	variable, base := Time(0), c.Base
	switch {
	case n <= 0:
		return 0
	case n <= len(c.Times):
		base = min(base, c.Times[n-1])
		variable = c.Times[n-1] - base
		if work == int64(n)*WorkUnit {
			return base + variable
		}
		return later(base, scaleTime(variable, work, int64(n)*WorkUnit))
	}
	if work == int64(n)*WorkUnit {
		return later(base, times(c.PerItem, int64(n)))
	}
	return later(base, scaleTime(c.PerItem, work, WorkUnit))
}

// Device is one GPU.
type Device struct {
	Name   string
	Memory Bytes
	Budget Bytes // bytes the device may use: see BudgetOf
	Slots  int   // batches at once, at least 1
	// Down is true for a device that comes up only with a DeviceUp fact.
	Down bool
}

// BudgetOf returns ⌊memory × safety⌋ for a safety factor in (0, 1] given in
// billionths, exactly.
func BudgetOf(memory Bytes, safetyBillionths int64) Bytes {
	return Bytes(scaleTime(Time(memory), safetyBillionths, 1e9))
}

// Estimator predicts load times. It is fed every finished load by the core and
// is part of its state: a pure fold without clock or randomness of its own.
type Estimator interface {
	// Load returns the expected duration of the ordinal-th load (from 0) of m
	// from tier t.
	Load(m ModelID, t Tier, ordinal int64) Time
	// Observe tells that the ordinal-th load of m from t took so long.
	Observe(m ModelID, t Tier, ordinal int64, took Time)
}

// Order gives items a place in their queue by a key instead of their priority:
// smaller keys first, of equal keys the higher priority, then first in, first
// out. An order that wants priorities to count for more puts them in the key.
// Nil is priority, then first in, first out.
type Order interface {
	// Key returns the key of an item that becomes ready now. It is called once
	// per item: what returns to its queue after a failed batch keeps its key.
	Key(item Item) int64
}

// OrderFunc is an Order that depends on the item alone.
type OrderFunc func(item Item) int64

// Key implements Order.
func (f OrderFunc) Key(item Item) int64 { return f(item) }

// DispatchObserver is implemented by orders whose keys depend on what was
// dispatched before. Their state is a fold of these calls and those of Key; the
// core makes them as it applies events, in replays too.
type DispatchObserver interface {
	// Dispatched tells that an item with this key leaves its queue in a batch.
	Dispatched(item Item, key int64)
}

// Config is what a Core is made of. The core keeps the slices; they must not
// change.
type Config struct {
	Models  []Model
	Devices []Device
	// HostMemory is the capacity of the host tier, in which evicted weights
	// stay warm; 0 turns it off.
	HostMemory Bytes
	// Attempts is how often an item is tried whose batch fails, and how many
	// failed loads in a row a model's ready items survive. 0 means DefaultAttempts.
	Attempts  int
	Policy    Policy
	Evictor   Evictor   // nil: a load never evicts of itself
	Estimator Estimator // nil: the declared times
	Order     Order
	// Waits is the policy's declaration that it may leave work and devices
	// idle without a timer: lost wake-ups (invariant 9) are then no error.
	Waits bool
	// KeepFailed bounds how many ids of failed, rejected and cancelled items
	// are remembered for dependants still to come; 0 keeps all.
	KeepFailed int
	// KeepDone, if positive, bounds how far below the arrival counter a
	// dependency may lie: older ids are unknown. Live services set it.
	KeepDone int64
	// Checked verifies every invariant after each step, at a cost.
	Checked bool
}

// DefaultAttempts is how often an item is tried unless Config says otherwise.
const DefaultAttempts = 3

// ConfigError says which part of a Config is wrong.
type ConfigError struct {
	Field string // like "Models[2].Bytes"
	What  string
}

func (e *ConfigError) Error() string { return e.Field + ": " + e.What }

func (c *Config) validate() error {
	fail := func(field, format string, args ...any) error {
		return &ConfigError{Field: field, What: fmt.Sprintf(format, args...)}
	}
	if len(c.Models) == 0 {
		return fail("Models", "there are no models")
	}
	if len(c.Devices) == 0 {
		return fail("Devices", "there are no devices")
	}
	if len(c.Devices) > math.MaxInt16 {
		return fail("Devices", "%d devices; at most %d", len(c.Devices), math.MaxInt16)
	}
	if c.Policy == nil {
		return fail("Policy", "there is no policy")
	}
	var largest Bytes
	for i, d := range c.Devices {
		field := fmt.Sprintf("Devices[%d]", i)
		switch {
		case d.Budget <= 0:
			return fail(field+".Budget", "%d bytes; must be positive", d.Budget)
		case d.Slots < 1 || d.Slots > 1<<16:
			return fail(field+".Slots", "%d; must be between 1 and 65536", d.Slots)
		}
		largest = max(largest, d.Budget)
	}
	for i, m := range c.Models {
		field := fmt.Sprintf("Models[%d]", i)
		switch {
		case m.Bytes <= 0:
			return fail(field+".Bytes", "model %q has %d bytes; must be positive", m.Name, m.Bytes)
		case m.Batch.Max < 1 || m.Batch.Max > MaxBatch:
			return fail(field+".Batch.Max", "model %q has a largest batch of %d; must be between 1 and %d", m.Name, m.Batch.Max, MaxBatch)
		case m.Batch.Memory < 0:
			return fail(field+".Batch.Memory", "model %q has negative batch memory", m.Name)
		case m.Batch.Base < 0 || m.Batch.PerItem < 0 || m.Unload < 0 || m.Load[TierDisk] < 0 || m.Load[TierHost] < 0:
			return fail(field, "model %q has a negative duration", m.Name)
		case m.Bytes > largest || m.Batch.Memory > largest-m.Bytes:
			return &TooBigError{Model: m.Name, Need: m.Bytes + m.Batch.Memory, Budget: largest}
		}
		for n, t := range m.Batch.Times {
			if t < 0 {
				return fail(fmt.Sprintf("%s.Batch.Times[%d]", field, n), "model %q has a negative duration", m.Name)
			}
		}
		for i, n := range m.Batch.Sizes {
			if i == 0 && n != 1 || i > 0 && n <= m.Batch.Sizes[i-1] || n > m.Batch.Max {
				return fail(fmt.Sprintf("%s.Batch.Sizes[%d]", field, i), "model %q has a batch of %d; sizes must ascend from 1 to at most %d", m.Name, n, m.Batch.Max)
			}
		}
	}
	if c.Attempts < 0 {
		return fail("Attempts", "%d; must not be negative", c.Attempts)
	}
	if c.HostMemory < 0 {
		return fail("HostMemory", "%d; must not be negative", c.HostMemory)
	}
	return nil
}
